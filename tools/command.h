/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.h - what the words of the command have in common
 */
#ifndef UPAGE_COMMAND_H
#define UPAGE_COMMAND_H

/* One line on stderr, after "upage: "; and the end. */
__attribute__((format(printf, 2, 3))) _Noreturn void fail(int status, const char *format, ...);

/* `upage translate`: argv[0] is "translate". Return: the exit status. */
int translate_command(int argc, char **argv);

#endif
