/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_malloc.h - what the tests of libupage-malloc share
 *
 * They are linked with it: libcheck's own blocks are paged, too. They run in the memory that
 * run_malloc_suite() sets, mostly much less than is allocated.
 */
#ifndef UPAGE_TESTS_SUPPORT_MALLOC_H
#define UPAGE_TESTS_SUPPORT_MALLOC_H

#include <stdbool.h>
#include <unistd.h>

#include "support.h"
#include "upage_malloc.h"

/* A compiler leaves out allocations of which only the address is looked at: where that would
 * change what is tested, the pointer is volatile. */
static inline bool is_inside(const void *block, size_t size)
{
	size_t offset = (size_t)((const char *)block - (char *)upage_space_base(upage_malloc_space()));
	size_t length = upage_space_length(upage_malloc_space());
	return offset < length && size <= length - offset;
}

/* Frames and slots that hold something. */
static inline uint64_t pages_held(void)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	if (upage_stats_get(upage_malloc_pool(), &stats) < 0)
		return UINT64_MAX;
	return stats.frames - stats.frames_free + stats.swap_slots;
}

/* libcheck writes to a file at each assertion: what looks at every byte returns a bool. */
static inline void fill(void *block, size_t size, uint64_t seed)
{
	unsigned char *bytes = block;
	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)(seed + i + i / 251);
}

static inline bool is_filled(const void *block, size_t size, uint64_t seed)
{
	const volatile unsigned char *bytes = block;
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != (unsigned char)(seed + i + i / 251))
			return false;
	return true;
}

static inline bool is_zero(const void *block, size_t size)
{
	const volatile unsigned char *bytes = block;
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* The suite that @make makes, in little memory; @arguments are main's. */
static inline int run_malloc_suite(Suite *(*make)(void), char **arguments)
{
	if (getenv("UPAGE_OPTIONS") == NULL) {
		char options[300];
		const char *with = getenv("UPAGE_WITH");
		snprintf(options, sizeof(options), "%s,memory=16M", with != NULL ? with : "");
		setenv("UPAGE_OPTIONS", options, 1);
		execv("/proc/self/exe", arguments);
		perror(arguments[0]);
		return 99;
	}
	/* A failed test ends the run: it may have left the heap in any state. */
	SRunner *runner = srunner_create(make());
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
