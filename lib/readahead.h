/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * readahead.h - swapped pages that come in with the one before them, while references go on in order
 *
 * A major fault notes where its stream would go on: behind the page, or behind those that came with it. A
 * fault just there proves it right: the window doubles, up to 32 pages and a 32nd of memory. Anywhere else
 * a new stream begins with one page; of 16 the oldest is forgotten. So references at random bring nothing
 * with them, whatever the memory; several streams may go on at once, beside them; and what comes for nothing
 * is never more than what was used before it. Pages that are resident take no fault: a stream goes on over them.
 *
 * Those pages come that lie side by side in swap, as they do if they left together (writeback.h), by one request; where
 * many requests take less time at once, also those that lie apart, and into frames that do. Else their frames are in
 * few runs, each of which is shown by one call. Where frames are short, others are evicted: so what lay apart in frames
 * comes together again as references go on in order. What is read is under way beside what they have to write. Slots
 * stay as they are.
 *
 * Where many requests take less time at once the next window is being read while the program uses this one: into a
 * buffer, of which it is taken when its first page is wanted (store_flight.h).
 *
 * They count as used when a look finds them so, or a fault (cluster.h), while they keep their slots. A stream that goes
 * on is no proof: strides go on in it, too.
 *
 * Locks: the PTEs of the pages behind are only tried, under the space's lock, like that of the page itself.
 * The streams are hints: threads need not agree. Signal context: yes.
 * Source: Linux, mm/swap_state.c (swap_vma_readahead) and mm/readahead.c (ondemand_readahead).
 */
#ifndef UPAGE_READAHEAD_H
#define UPAGE_READAHEAD_H

#include "physical.h"

/* Locks pages behind a swapped one, whose PTE is locked and was @value, in its mapping, which ends at @end, for
 * readahead_bring_in(), or whoever gives them up. The space's lock is held. */
void readahead_lock(struct upage_pool *pool, struct page *page, uint64_t value, uintptr_t end);

/* The page comes in, hidden, and those behind it, accessible. Return: whether the page did; else all is as before.
 * In any case the others are given up. */
bool readahead_bring_in(struct upage_pool *pool, const struct page *page, uint64_t *value);

#endif
