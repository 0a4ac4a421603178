/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compact.h - compaction: pages move to other frames under running threads
 *
 * So that free memory becomes one run, and neighbouring pages get neighbouring frames, which the host
 * joins. Frames are filled from the bottom up:
 *
 *      floor            all frames below are final
 *      the next page    of the leaf of the page in the lowest frame from the floor on, in the order of
 *                       addresses: pages of a leaf end up beside each other, and a leaf that lies right
 *                       is left alone
 *      its new frame    the floor. A page that is there goes to a free frame first, and with it those
 *                       beside it in memory, if a free run has room for them: out of order they come
 *                       to be in order on their way
 *
 * So one free frame is enough, and no page moves more than a few times: at most MOVES_EACH times as many
 * moves as frames are in use. What cannot move is gone round: pinned pages, those that another thread
 * works on, frames that are being filled (may_move). Nothing is evicted.
 *
 * Up to 256 pages that lie beside each other in memory move at a time, 1 MiB at most and a sixteenth of
 * the frames: with other threads running, the host interrupts their processors three times for them,
 * however many they are. They are to be held for less than a millisecond: where that took long, fewer
 * come next. Of shown pages, writes are revoked, and they are read all the while (view_move_run); only
 * those that move onto frames of others of the same row are hidden. What a policy knows of a frame, and
 * whether a page was referenced, goes with it.
 *
 * Locks: compaction.lock for a pass, compaction.moving for each step, so that a fork does not wait
 * for a pass; PTEs are only tried, and nobody is waited for who holds one. Signal context: yes.
 * Source: OSTEP ch. 16-17 (compaction, external fragmentation); Linux, mm/compaction.c, which fills free
 * frames from the other end; Jones and Lins, "Garbage Collection", ch. 5 (sliding).
 */
#ifndef UPAGE_COMPACT_H
#define UPAGE_COMPACT_H

#include "physical.h"

/* What a pass did. */
struct compact_result {
	uint64_t moves;
	uint64_t pause_ns; /* the longest time that pages were held */
};

/**
 * compact_pool - one pass over the frames
 * @max_moves: stop after so many; 0: none
 * Context: signals blocked, no PTE is held; a space's lock may be.
 * Return: 0, or UPAGE_ENOMEM: no memory for the pass itself, nothing moved.
 */
int compact_pool(struct upage_pool *pool, uint64_t max_moves, struct compact_result *result);

/* The same, only until @count frames beside each other are free: no more pages move than that takes. */
int compact_make_run(struct upage_pool *pool, uint32_t count, struct compact_result *result);

/* Host mappings ran short (view.h): moves pages for up to COMPACT_STEP_NS, if that gives some back, and
 * if it was not done just now. For a thread that holds no lock at all: of the beginning of a page fault. */
#define COMPACT_STEP_NS UINT64_C(500000)
void compact_relieve(struct upage_pool *pool);

/* Pages get other frames for no reason but that they can, up to @most, from where this stopped the last
 * time on; none while another thread makes a pass. For who wants to see that nobody notices. Context: as
 * compact_pool(). Return: how many moved. */
uint64_t compact_stir(struct upage_pool *pool, uint64_t most);

/* Gives the memory of passes back, with the pool. */
void compact_destroy(struct upage_pool *pool);

#endif
