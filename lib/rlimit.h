/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rlimit.h - the program's limits of descriptors and files, and calls of ours beyond them
 *
 * The soft limits of the process are the program's own, and the kernel applies them to us as well.
 * What we need beyond them we take as far as the hard ones let us.
 *
 * For a descriptor the soft limit is raised around the call. With that of files (RLIMIT_FSIZE) a
 * thread of the program could write past its limit meanwhile; so our call is made beside the
 * program: by a process that has the same memory and descriptors, but limits of its own, and ends at
 * once. That costs some tens of microseconds, and only where the limit is in the way.
 *
 * Locking: one lock, held while a soft limit is not the program's, with all signals blocked.
 * Signal context: all. Source: getrlimit(2), clone(2); generic_write_checks() of Linux, which asks
 * for the limit of the process that calls, for files of memory, too.
 */
#ifndef UPAGE_RLIMIT_H
#define UPAGE_RLIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* Descriptors of ours under this number have all the room that they need; a higher one would make the
 * kernel's table of descriptors large, which every fork copies. */
#define RLIMIT_DESCRIPTORS_END 4096

/* Around a fork, in the child too, and around changes by the program: the limits are its own. All
 * signals are blocked. */
void rlimit_begin(void);
void rlimit_end(void);

/* A call that makes a descriptor, while the soft limit is the hard one. @above: its argument @c
 * is the program's own limit, at or above which the number is to be, if that is not high. Return:
 * -EMFILE: there is no more to be had. */
long rlimit_descriptor_call(long number, long a, long b, long c, long d, bool above);

/* The longest file that we may write: past it, a write kills. */
uint64_t rlimit_file_hard(void);

/* The soft limit is finite from now on, or may be. */
void rlimit_file_lowered(void);

/* Whether the soft limit is known to be under @end, and the hard one not. */
bool rlimit_file_is_in_the_way(uint64_t end);

/* A call that writes a file of ours as far as @end, or makes it as long. It is made by @call: the
 * number and six arguments. SIGXFSZ is blocked. */
long rlimit_file_call(uint64_t end, const long call[7]);

#endif
