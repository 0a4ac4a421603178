/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * limit.h - limits that would stop us instead of the program
 *
 * RLIMIT_AS and RLIMIT_DATA: a whole program's space is reserved at its start, which the kernel counts
 * whole, and of what is mapped in it the kernel counts what is shown. So the program's limits of these are
 * kept here, and never become the kernel's: getrlimit(2), setrlimit(2) and prlimit(2) of the process
 * itself are answered, and who maps for it asks limit_allows(). What the program executes gets them
 * handed on.
 *
 * RLIMIT_FSIZE: the kernel applies the soft limit to what the program writes, so it is the kernel's;
 * what we write is beyond it (rlimit.h), up to the hard limit. So only the program's hard limit is
 * kept here, and the kernel's stays what it was.
 *
 * Locking: none; each value is atomic. Signal context: all. Source: getrlimit(2); kernel/sys.c.
 */
#ifndef UPAGE_GUEST_LIMIT_H
#define UPAGE_GUEST_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "call.h"

enum limit { LIMIT_AREAS, LIMIT_DATA, LIMIT_FILE, LIMITS };

/* Of the program whose space it is, and whose stack ends at @stack. */
void limit_watch(upage_space *space, uintptr_t stack);

/* The program begins with these, which need not be the kernel's any more; of files only the hard
 * one counts. */
void limit_begin(enum limit limit, uint64_t soft, uint64_t hard);

void limit_get(enum limit limit, uint64_t *soft, uint64_t *hard);

/* Around a vfork, whose child has limits of its own, but our memory: its are in force here
 * meanwhile. */
struct limit_values {
	uint64_t soft[LIMITS], hard[LIMITS];
};
void limit_save(struct limit_values *values);
void limit_restore(const struct limit_values *values);

/* Before and after an execve by the kernel: it shall know the soft ones. */
void limit_to_kernel(bool begins);

/* Whether @length more bytes of the space may be mapped with @prot. At @start, in place of what is
 * mapped there; 0: beside all else. The space's lock is free. */
bool limit_allows(uintptr_t start, size_t length, int prot);

/* The same of who holds that lock. */
bool limit_allows_locked(uintptr_t start, size_t length, int prot);

/* Whether limits do not hold for the program: CAP_IPC_LOCK, CAP_SYS_RESOURCE. */
bool limit_has_capability(unsigned capability);

#endif
