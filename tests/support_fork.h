/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_fork.h - what the tests of forks share: memory that is known again, children, other threads
 */
#ifndef UPAGE_TESTS_SUPPORT_FORK_H
#define UPAGE_TESTS_SUPPORT_FORK_H

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support_crowd.h"

#define MEMORY "memory=128K"
#define PAGES 256 /* of most mappings: eight times the frames */

/* libcheck's own assertions go by its pipe: a child of a test says what was wrong by its status. */
#define child_must(condition)                                                                 \
	do {                                                                                  \
		if (!(condition)) {                                                           \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);       \
			_exit(1);                                                             \
		}                                                                             \
	} while (0)

static inline void must_end_well(pid_t child)
{
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
}

/* A thread that does nothing: what is shown is hidden for a fork then. */
struct bystander {
	pthread_t thread;
	int pipes[2];
};

static inline void *bystander_wait(void *argument)
{
	struct bystander *bystander = argument;
	char byte;
	return read(bystander->pipes[0], &byte, 1) == 1 ? NULL : argument;
}

static inline void bystander_begin(struct bystander *bystander)
{
	ck_assert_int_eq(pipe(bystander->pipes), 0);
	ck_assert_int_eq(pthread_create(&bystander->thread, NULL, bystander_wait, bystander), 0);
}

static inline void bystander_end(struct bystander *bystander)
{
	ck_assert_int_eq(write(bystander->pipes[1], "", 1), 1);
	pthread_join(bystander->thread, NULL);
	close(bystander->pipes[0]);
	close(bystander->pipes[1]);
}

static inline void fill(char *memory, size_t pages, uint64_t seed)
{
	for (size_t i = 0; i < pages; i++)
		for (size_t k = 0; k < PAGE / sizeof(uint64_t); k++)
			((volatile uint64_t *)(void *)(memory + i * PAGE))[k] = seed + i * 1000 + k;
}

static inline bool holds(const char *memory, size_t pages, uint64_t seed)
{
	for (size_t i = 0; i < pages; i++)
		for (size_t k = 0; k < PAGE / sizeof(uint64_t); k++)
			if (((const volatile uint64_t *)(const void *)(memory + i * PAGE))[k] !=
			    seed + i * 1000 + k)
				return false;
	return true;
}

static inline bool is_zero(const char *memory, size_t pages)
{
	for (size_t i = 0; i < pages * PAGE; i++)
		if (((const volatile char *)memory)[i] != 0)
			return false;
	return true;
}

#endif
