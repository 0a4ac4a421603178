/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shard.h - words that all threads write, spread so that each writes on cache lines of its own
 *
 * A line that several processors write wanders between them, at a hundred nanoseconds a time. What is
 * only added up can be kept in parts: a thread adds to its own, and who reads adds the parts. Which
 * is a thread's own, its stack says: a handler may look neither at thread-local storage nor ask
 * the kernel. Two threads may have the same part, and one thread now this one and then the next: the
 * parts are atomic, and only their sum means anything.
 *
 * Signal context: yes.
 */
#ifndef UPAGE_SHARD_H
#define UPAGE_SHARD_H

#include <stdint.h>

#define CACHE_LINE 64
#define SHARDS_LOG2 3
#define SHARDS (1u << SHARDS_LOG2)

/* Multiplicative hashing (Knuth, TAOCP vol. 3, 6.4) of the stack's address in units of 64 KiB. Stacks lie
 * a power of two apart: times any of 1, 2, 4 ... 128, for 8 MiB, the factor is far from a whole multiple
 * of 2^32, so that threads made one after the other have different parts. */
#define SHARD_FACTOR 2570874611u

static inline unsigned shard_here(void)
{
	uintptr_t stack = (uintptr_t)__builtin_frame_address(0);
	return ((uint32_t)(stack >> 16) * SHARD_FACTOR) >> (32 - SHARDS_LOG2);
}

#endif
