/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * contiguous.h - what the mappings of a space mean that lies in runs: base and bounds, or segments
 *
 * There are no pages that come and go: what is mapped gets its frames, and its content, at once, and
 * keeps them until it is unmapped. A run covers all mappings in its part of the space, and what is
 * between them. So there are no page faults but those of a reference that found the run on the move.
 *
 * One permission holds for a whole run: under base and bounds everything may be done, in a segment
 * what any of its mappings allows. What a mapping forbids beyond that is not enforced.
 *
 * Locking: the space's lock is held for writing. Signal context: yes. Source: OSTEP ch. 15 and 16.
 */
#ifndef UPAGE_CONTIGUOUS_H
#define UPAGE_CONTIGUOUS_H

#include "run.h"

/**
 * contiguous_map - frames and content for a mapping that is about to be inserted
 * Return: 0, or UPAGE_ENOMEM (no room behind or before its run, or not in its part of the space),
 *         UPAGE_ENOTSUP (it is to be written to its store), UPAGE_EBUSY (the run would have to move, and
 *         is pinned; or it is shared), or an error of the store or the host: nothing has changed.
 */
int contiguous_map(struct runs *runs, const struct mappings *all, const struct mapping *mapping);

/* What is in [start, end) goes: zeros. Return: 0, or UPAGE_EBUSY: a page is pinned, or the host's error. */
int contiguous_clear(struct runs *runs, uintptr_t start, uintptr_t end);

/* What is in [start, end) becomes what it was when it was mapped. Return: as above, or the store's error. */
int contiguous_refill(struct runs *runs, const struct mappings *all, uintptr_t start, uintptr_t end);

/* Mappings have changed: runs are no longer than they need be, and allow what they should. */
void contiguous_settle(struct runs *runs, const struct mappings *all);

/* Whether a run enforces just @prot at @address. */
bool contiguous_enforces(struct runs *runs, uintptr_t address, int prot);

/* Whether a run that has a byte of [start, end) is another space's, too: nobody may write to it. */
bool contiguous_is_shared(const struct runs *runs, uintptr_t start, uintptr_t end);

/* What is at @from goes to @to, where something is mapped, too. Return: 0, or UPAGE_EBUSY or the host's error. */
int contiguous_move(struct runs *runs, uintptr_t from, uintptr_t to, size_t length);

/* The frame of an address; FRAME_NONE: it is in no run, or swapped out. */
uint32_t contiguous_pfn(struct runs *runs, uintptr_t address);

/* Whether a page of [start, end) is pinned: UPAGE_EBUSY, or 0. */
int contiguous_check_pins(struct runs *runs, uintptr_t start, uintptr_t end);

#endif
