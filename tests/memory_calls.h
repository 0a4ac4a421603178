/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory_calls.h - what the parts of memory_calls share: a transcript, and a reservation */
#ifndef MEMORY_CALLS_H
#define MEMORY_CALLS_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* As in lib/host.h, which a native program is not to know. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

#define PAGE ((size_t)4096)
#define PAGES ((size_t)256)
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

struct world {
	unsigned number;
	uint64_t random;
	char *base;          /* of the reservation */
	int file, other, memory, scratch; /* of file no shared mapping is made at random */
	int segment;
	char *text;          /* of this world's transcript */
	size_t length, size;
	sigjmp_buf escape;
	volatile sig_atomic_t trapped, code;
	uintptr_t volatile where;
};

/* Of the calling thread. */
extern _Thread_local struct world *self;

void world_make(struct world *world, unsigned number, uint64_t seed);
int make_file(size_t bytes);

__attribute__((format(printf, 1, 2))) void tell(const char *format, ...);
void publish(struct world *world);

/* Reads 8 bytes, or writes them. Return: 0, or the signal. */
int reference(char *address, uint64_t *value, bool write);
void tell_reference(const char *what, char *address, uint64_t value, bool write);
void tell_result(long result, int failure);

/* Several pages of a range: each tells, or is given, its first word. */
void survey(const char *name, size_t first, size_t count);
void stamp(size_t first, size_t count, uint64_t value);

#define LOOK(address) tell_reference("r", (char *)(address), 0, false)

#define STORE(address, value) tell_reference("w", (char *)(address), (value), true)

#define T(call)                                                                                \
	do {                                                                                   \
		errno = 0;                                                                     \
		long result_ = (long)(call);                                                   \
		int failure_ = errno;                                                          \
		tell("%s:", #call);                                                            \
		tell_result(result_, failure_);                                                \
		tell("\n");                                                                    \
	} while (0)

#define AT(page) (self->base + (size_t)(page) * PAGE)

/* Nothing is in the reservation any more. */
void clear(void);

/* A part whose world is not to be this process's. */
void in_child(void (*part)(void));

void each_call(void);
void each_call_of_files(void);
void each_call_of_gains(void);
void what_gains(void);
#define LOCKED_FILES 4
void what_is_locked(int locked[LOCKED_FILES], int rounds);
void refused_calls(void);
int random_calls(uint64_t seed, unsigned count, unsigned threads);

#endif
