/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * verbose.h - what `upage run --verbose` says, a line at a time, on stderr as it was at the start
 *
 * Each line begins with "upage: ", the process and the program. Signal context: all but the first.
 */
#ifndef UPAGE_GUEST_VERBOSE_H
#define UPAGE_GUEST_VERBOSE_H

#include <stdatomic.h>

/* Where to; -1: nothing is said. */
extern _Atomic int verbose_file;

/* From now on. @descriptor is ours then; @program is kept as it is. */
void verbose_begin(int descriptor, const char *program);

/* One line, of these words; NULL ends them. */
void verbose_say(const char *word, ...) __attribute__((sentinel));

/* A system call that there is none of here: each is said once. @name: NULL: it has none. */
void verbose_refused(long number, const char *name);

#endif
