/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * buffer.h - buffers of one page each, for content on its way between a frame and a store
 *
 * A fixed set, so that a page fault allocates nothing. As many transfers can be under way at a
 * time; who finds them all taken waits for one to end, which needs nothing of his. Those that nobody waits for never
 * have more than half of them.
 *
 * Invariant: bit i % BUFFER_RUN_MAX of free[i / BUFFER_RUN_MAX] is set <=> buffer i is nobody's.
 * Signal context: yes. Locking: none, free is changed by compare and swap.
 */
#ifndef UPAGE_BUFFER_H
#define UPAGE_BUFFER_H

#include <stdatomic.h>

#include "compiler.h"

#define BUFFER_RUN_MAX 32
#define BUFFER_RUNS 12
#define BUFFERS (BUFFER_RUN_MAX * BUFFER_RUNS)

struct buffers {
	_Atomic uint32_t free[BUFFER_RUNS]; /* a bit each */
	char *memory;                       /* BUFFERS pages, touched from the lowest up */
	unsigned page_shift;
};

static inline size_t buffers_bytes(unsigned page_shift)
{
	return (size_t)BUFFERS << page_shift;
}

/* @memory: buffers_bytes(), its owner's. */
static inline void buffers_init(struct buffers *buffers, char *memory, unsigned page_shift)
{
	for (unsigned i = 0; i < BUFFER_RUNS; i++)
		buffers->free[i] = UINT32_MAX;
	buffers->memory = memory;
	buffers->page_shift = page_shift;
}

char *buffer_take(struct buffers *buffers);
void buffer_give(struct buffers *buffers, char *buffer);

/* @count buffers beside each other, at most BUFFER_RUN_MAX; NULL: there are none now. */
char *buffer_take_run(struct buffers *buffers, unsigned count);
void buffer_give_run(struct buffers *buffers, char *buffer, unsigned count);

/* Of whole pages. */
bool buffer_is_zero(const char *buffer, size_t bytes);
bool buffers_are_equal(const char *one, const char *other, size_t bytes);

#endif
