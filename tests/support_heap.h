/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_heap.h - what the tests of heaps share: blocks that tell whose they are
 *
 * What was asked for is kept in a shadow (struct block, in the program's own memory) beside
 * what the heap gave, and every block carries a pattern of its own.
 */
#ifndef UPAGE_TESTS_SUPPORT_HEAP_H
#define UPAGE_TESTS_SUPPORT_HEAP_H

#include <stdbool.h>
#include <unistd.h>

#include "support.h"

struct block {
	unsigned char *start;
	size_t size;
	uint64_t seed;
};

/* Small blocks are written whole. Of large ones both ends, and a byte in each 16 KiB, so that
 * a test is not mostly memset. */
#define WHOLE ((size_t)8 * KIB)
#define STRIDE ((size_t)16 * KIB)

static inline unsigned char pattern(uint64_t seed, size_t i)
{
	return (unsigned char)(seed + i + i / 251);
}

static inline size_t next_index(size_t i, size_t size)
{
	if (size <= WHOLE || i + 1 < WHOLE / 2 || i + 1 >= size - WHOLE / 2)
		return i + 1;
	size_t next = (i / STRIDE + 1) * STRIDE;
	return next < size - WHOLE / 2 ? next : size - WHOLE / 2;
}

static inline void block_write(const struct block *block)
{
	for (size_t i = 0; i < block->size; i = next_index(i, block->size))
		block->start[i] = pattern(block->seed, i);
}

/* Of the first @size bytes. Returns whether all are as written. */
static inline bool block_is_intact_to(const struct block *block, size_t size)
{
	for (size_t i = 0; i < size; i = next_index(i, block->size))
		if (block->start[i] != pattern(block->seed, i))
			return false;
	return true;
}

static inline bool block_is_intact(const struct block *block)
{
	return block_is_intact_to(block, block->size);
}

static inline bool is_in_space(struct machine machine, const void *start, size_t size)
{
	size_t offset = (size_t)((const char *)start - (char *)upage_space_base(machine.space));
	size_t length = upage_space_length(machine.space);
	return offset < length && size <= length - offset;
}

static inline upage_heap *heap_make(struct machine machine)
{
	upage_heap *heap;
	ck_assert_ok(upage_heap_create(&heap, machine.space));
	return heap;
}

/* Mostly small, some up to 64 KiB, @large percent up to @most. */
static inline size_t random_size(uint64_t *state, size_t most, unsigned large)
{
	uint64_t dice = random_number(state) % 100;
	size_t limit = dice < large ? most : dice < large + 6 ? 64 * KIB : 4 * KIB;
	size_t size = 1;
	for (size_t power = 1; power < limit; power *= 2)
		if (random_number(state) % 16 != 0)
			size = power;
	size += random_number(state) % size;
	return size < limit ? size : limit;
}

/* In a process of its own: a pool before the tests' own processes would be in all of them. */
static inline bool is_supported(void)
{
	pid_t child = fork();
	if (child == 0) {
		upage_pool *pool;
		upage_space *space;
		upage_heap *heap;
		struct upage_config config = UPAGE_CONFIG_INIT;
		if (upage_pool_create(&pool, &config) < 0 ||
		    upage_space_create(&space, pool, NULL) < 0)
			_exit(1); /* which the tests will tell more about */
		_exit(upage_heap_create(&heap, space) == UPAGE_ENOTSUP ? 77 : 0);
	}
	int status = 0;
	waitpid(child, &status, 0);
	return !(WIFEXITED(status) && WEXITSTATUS(status) == 77);
}

static inline int run_heap_suite(Suite *suite)
{
	if (is_supported())
		return run_suite(suite);
	fputs("skipped: the library was built without jemalloc\n", stderr);
	return 77;
}

#endif
