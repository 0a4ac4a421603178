/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * evict.h - takes frames from pages: asks the policy, hides, saves, frees
 *
 * The order is: lock the PTE, hide the page, write it back, free the frame, unlock. A page that
 * is dirty goes to its store or a slot of swap; one that is clean, or anonymous and all zero,
 * goes nowhere. When swap is full, slots of resident pages, which hold only copies, are used.
 *
 * Whether a page was referenced is asked when the policy offers it. A look costs less than a
 * tenth of a page's way out and in again; so after a number of candidates that had been
 * referenced the next one goes, whatever it was: looking never costs more than it can save. This also ends the
 * search while other threads reference everything.
 *
 * Pages leave in batches: those behind a victim in frames and addresses, as far as they would be the next to go; and where
 * swap gains by many requests at once, those that the policy offers next, wherever they lie. No more than one of
 * 64 frames at a time.
 *
 * A frame that several pages share is taken from all of them at once: all are locked and hidden, the
 * content is written once, and they share the slot. It was referenced if one of them was.
 *
 * Other pages' locks are only tried, so that faults cannot wait in a circle: a page that is
 * locked or pinned is passed over for the next candidate.
 *
 * Signal context: yes. Locks: those of the pages it takes frames from, one frame at a time, or a batch
 * that is being hidden, while the caller holds the PTE of the page that needs the frame.
 * Source: OSTEP ch. 21-22.
 */
#ifndef UPAGE_EVICT_H
#define UPAGE_EVICT_H

#include "physical.h"

/* A frame that some page had to give up. Waits, for a bounded time, while what could be taken
 * is locked by others, or was when we looked. @own: the frame that the caller's page is in, which
 * stays there; or FRAME_NONE. Return: 0, UPAGE_ENOMEM (every frame is pinned), or why no page could
 * be saved. */
int evict_any(struct upage_pool *pool, uint32_t own, uint32_t *out);

/* For who needs no frame, and never waits: one pass over the candidates, until one page has left, and those
 * that leave with it: their frames are free. Locks are only tried. @beside: what is to be read beside what is written; NULL: nothing.
 * Return: how many; 0: none can now. */
struct beside; /* writeback.h */
unsigned evict_ahead(struct upage_pool *pool, struct beside *beside);

/* The page's frame is free, if it had one, and is not pinned; whoever shared it. Return: 0, or why
 * it could not be saved: it stays. No other PTE is locked: may wait for those that share it. */
int evict_page(struct upage_pool *pool, pte_t *pte);

/* So for @count pages beside each other, in one leaf: those that go together are saved together. */
int evict_range(struct upage_pool *pool, pte_t *ptes, size_t count);

#endif
