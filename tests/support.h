/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support.h - what the tests share: a pool in one line, numbers that repeat, lost frames,
 * what a process has. The other support_*.h are of some tests only.
 */
#ifndef UPAGE_TESTS_SUPPORT_H
#define UPAGE_TESTS_SUPPORT_H

#include <check.h>
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_with.h"
#include "upage.h"

#define PAGE ((size_t)4096)
#define KIB ((size_t)1024)
#define MIB (KIB * 1024)
#define RW (PROT_READ | PROT_WRITE)
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ck_assert for inner loops: it says nothing to libcheck while the condition holds. */
#define must(condition)                                                                       \
	do {                                                                                  \
		if (!(condition))                                                             \
			ck_abort_msg("%s", #condition);                                       \
	} while (0)

/* splitmix64: the same numbers on every run */
static inline uint64_t random_number(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline void random_bytes(char *bytes, size_t length, uint64_t seed)
{
	for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
		uint64_t number = random_number(&seed);
		memcpy(bytes + i, &number, sizeof(number));
	}
}

static inline int run_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	bool passed = srunner_ntests_failed(runner) == 0 && srunner_ntests_run(runner) > 0;
	srunner_free(runner);
	return passed ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define ck_assert_ok(expression)                                                              \
	do {                                                                                  \
		int result_ = (expression);                                                   \
		ck_assert_msg(result_ == 0, "%s: %s", #expression, upage_strerror(result_));  \
	} while (0)

/* ---- What a process has ---------------------------------------------------------------- */

/* In a directory. Not by ck_assert: it is asked in children too. */
static inline size_t entries(const char *directory)
{
	size_t count = 0;
	DIR *opened = opendir(directory);
	if (opened == NULL)
		abort();
	while (readdir(opened) != NULL)
		count++;
	closedir(opened);
	return count - 2;
}

/* The library's too, and the one that counts. */
static inline size_t open_descriptors(void)
{
	return entries("/proc/self/fd");
}

/* What a file or the end of a pipe holds, as a text. */
static inline size_t drain(int descriptor, char *text, size_t size)
{
	size_t length = 0;
	ssize_t n;
	while (length < size - 1 && (n = read(descriptor, text + length, size - 1 - length)) > 0)
		length += (size_t)n;
	text[length] = '\0';
	return length;
}

/* Runs @body in a child that has 20 seconds, and leaves no core. Return: its wait status; what it said on stderr is in
 * @said. */
static inline int in_child(void (*body)(void), char *said, size_t size)
{
	int pipes[2], status;
	ck_assert_int_eq(pipe(pipes), 0);
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		alarm(20);
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		dup2(pipes[1], 2);
		close(pipes[0]);
		close(pipes[1]);
		body();
		_exit(0);
	}
	close(pipes[1]);
	drain(pipes[0], said, size);
	close(pipes[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

/* Calls of write(2) and its kin, or of read(2), that the process has made; UINT64_MAX: the host does not tell. */
static inline uint64_t calls_made(const char *which)
{
	char line[64];
	uint64_t count = UINT64_MAX;
	FILE *file = fopen("/proc/self/io", "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, which, 5) == 0 && line[5] == ':')
			count = strtoull(line + 6, NULL, 10);
	if (file != NULL)
		fclose(file);
	return count;
}

static sigjmp_buf bus_error_escape;

static inline void on_bus_error(int number)
{
	(void)number;
	siglongjmp(bus_error_escape, 1);
}

/* Whether a reference ends so. */
static inline bool is_bus_error(volatile char *at, bool write)
{
	const struct sigaction action = { .sa_handler = on_bus_error };
	struct sigaction before;
	volatile bool error = true;
	sigaction(SIGBUS, &action, &before);
	if (sigsetjmp(bus_error_escape, 1) == 0) {
		if (write)
			*at = 1;
		else
			(void)*at;
		error = false;
	}
	sigaction(SIGBUS, &before, NULL);
	return error;
}

/* Pages of memory. */
struct process_size {
	unsigned long address_space, resident;
};

static inline struct process_size process_size(void)
{
	struct process_size size = { 0 };
	FILE *file = fopen("/proc/self/statm", "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%lu %lu", &size.address_space, &size.resident), 2);
	fclose(file);
	return size;
}

/* ---- A pool with one space ------------------------------------------------------------- */

struct machine {
	upage_pool *pool;
	upage_space *space;
};

/* Not every file system can do without its page cache. */
static inline bool machine_can_be(const char *words)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	upage_pool *pool;
	ck_assert_ok(upage_config_parse(&config, words));
	return upage_pool_create(&pool, &config) != UPAGE_ENOTSUP && upage_pool_destroy(pool) == 0;
}

static inline struct machine machine_make(const char *words)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct machine machine;
	int result = upage_config_parse(&config, words);
	if (result == 0)
		result = upage_pool_create(&machine.pool, &config);
	ck_assert_msg(result == 0, "%s: %s", words, config.message);
	ck_assert_ok(upage_space_create(&machine.space, machine.pool, NULL));
	return machine;
}

static inline struct upage_stats machine_stats(struct machine machine)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	ck_assert_ok(upage_stats_get(machine.pool, &stats));
	return stats;
}

/* Pages. */
static inline uint64_t machine_resident(struct machine machine)
{
	struct upage_stats stats = machine_stats(machine);
	return stats.frames - stats.frames_free;
}

/* Ends both, and asks whether a frame or a slot was lost. */
static inline void machine_end(struct machine machine)
{
	ck_assert_ok(upage_pool_verify(machine.pool));
	ck_assert_ok(upage_space_destroy(machine.space));
	ck_assert_ok(upage_pool_verify(machine.pool));
	struct upage_stats stats = machine_stats(machine);
	ck_assert_uint_eq(stats.frames_free, stats.frames);
	ck_assert_uint_eq(stats.frames_pinned, 0);
	ck_assert_uint_eq(stats.swap_slots, 0);
	ck_assert_ok(upage_pool_destroy(machine.pool));
}

static inline char *machine_map(struct machine machine, size_t pages, int prot)
{
	void *address = NULL;
	ck_assert_ok(upage_map(machine.space, &address, pages * upage_pool_page_size(machine.pool),
	                       prot, 0, NULL, 0));
	return address;
}

/* Two words from one page border to another: one instruction that needs four pages at once. */
static inline void copy_over_borders(char *to, const char *from)
{
#if defined(__x86_64__)
	size_t words = 2;
	__asm__ volatile("rep movsq" : "+S"(from), "+D"(to), "+c"(words) : : "memory");
#else
	memcpy(to, from, 16);
#endif
}

#endif
