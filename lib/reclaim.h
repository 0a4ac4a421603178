/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reclaim.h - frames made free, and zero, ahead of need, by threads of ours: the option reclaimers
 *
 *      free frames      who takes them
 *        > high         nobody has to: reclaimers sleep
 *        < low          the page fault that sees it rings. Reclaimers evict until high are free
 *        == 0           page faults evict for themselves, as without reclaimers
 *
 * A zero fill that finds its frame stained (frame.h) counts itself; after a number of them reclaimers
 * zero free frames from there on, where the next pages of a row find theirs. Who has no zero fills
 * in used memory pays nothing.
 *
 * A reclaimer is a thread that the C library, the program and its signals do not know: made by clone(2),
 * on a stack of ours, with every signal blocked, for good, and without the program's thread-local storage.
 * It touches no paged memory. /proc and the kernel know it. It begins with the first ring, and ends when
 * nobody rang for a tenth of a second: so a process whose last thread ends, ends. A child of a fork has
 * none, until its first ring.
 *
 * A step evicts one page, or zeroes a few frames, with compaction.moving held for reading: a fork, which
 * holds it for writing, finds no reclaimer at work, nor any lock or bracket of one. Where nothing can be
 * evicted (swap is full, all is pinned) it stays away for a time that doubles, and then until the next
 * ring: it does not look again and again.
 *
 *      awake == 0  =>  the next ring wakes those that sleep, and makes those that are not there
 *
 * Signal context: reclaim_look, reclaim_ring and reclaim_zero. Locks: its own, for beginning and ending
 * threads, whose holder waits for no page fault.
 * Source: Linux, mm/vmscan.c (kswapd and its watermarks); OSTEP ch. 21.5 (the swap daemon).
 */
#ifndef UPAGE_RECLAIM_H
#define UPAGE_RECLAIM_H

#include "physical.h"

#define RECLAIM_FRAMES_LEAST 256u /* smaller memories have no reserve, and so no reclaimers */
#define RECLAIM_ZERO_LATE 32u     /* zero fills of stained frames that ring */

/* Of this process: reclaimers that run, pools that may have some, and who wants that there are none. */
extern _Atomic unsigned reclaim_threads, reclaim_pools, reclaim_held;

/* For a new pool: it may have @threads. Return: 0 or UPAGE_ENOMEM. */
int reclaim_init(struct upage_pool *pool, unsigned threads);

/* Frames are short, or zeros are: makes or wakes the reclaimers. Holds no lock but a space's. */
void reclaim_ring(struct upage_pool *pool);

/* At the end of a page fault, with no page's lock. */
static inline void reclaim_look(struct upage_pool *pool)
{
	const struct reclaim *r = &pool->reclaim;
	bool wanted = atomic_load_explicit(&pool->frames.free, memory_order_relaxed) < r->low ||
	              atomic_load_explicit(&r->zeroed_late, memory_order_relaxed) >= RECLAIM_ZERO_LATE;
	if (__builtin_expect(wanted, 0) && atomic_load_explicit(&r->awake, memory_order_relaxed) == 0)
		reclaim_ring(pool);
}

/* frame_zero_run() for a page fault. */
static inline int reclaim_zero(struct upage_pool *pool, uint32_t pfn, uint32_t count)
{
	struct reclaim *r = &pool->reclaim;
	if (r->threads > 0 && pool->frames.frame[pfn].stained) {
		atomic_fetch_add_explicit(&r->zeroed_late, count, memory_order_relaxed);
		atomic_store_explicit(&r->zero_from, pfn + UINT64_C(1), memory_order_relaxed);
	}
	return frame_zero_run(&pool->frames, pfn, count);
}

/* The threads end, and are waited for; the next ring makes them anew. Not in signal context, and with no
 * lock that a fork takes. */
void reclaim_stop(struct upage_pool *pool);

/* They were the parent's. */
void reclaim_fork_child(struct upage_pool *pool);

/* With the pool, which nobody uses any more. */
void reclaim_destroy(struct upage_pool *pool);

#endif
