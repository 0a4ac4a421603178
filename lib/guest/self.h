/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * self.h - what /proc tells a whole program about itself: its own memory and file, not ours
 *
 * /proc/self/exe is the program's file, and /proc/self/maps lists its mappings as the kernel would
 * if it had made them. Signal context: all, on a region's stack. Source: proc(5).
 */
#ifndef UPAGE_GUEST_SELF_H
#define UPAGE_GUEST_SELF_H

#include "call.h"

/* The program's file is open in @descriptor, which is ours from now on. */
void self_begin(int descriptor);

/* That; -1: there is none. */
int self_file(void);

/* Whether @path from @directory, in our memory, is /proc/self/exe by any of its names; and what is to be
 * said to the kernel instead, of PROGRAM_LINK bytes: another link to the same file. */
bool self_is_program(int directory, const char *path);
void self_name(char *name);

/* The paths among a call's arguments, as the table has them: that of the program's file is replaced
 * as above; an open of a file that is ours to write is carried out. Return: whether it was. */
struct guest_entry;
bool self_answer(struct guest_call *call, const struct guest_entry *entry, long *result);

#endif
