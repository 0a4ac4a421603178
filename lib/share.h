/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * share.h - frames that several pages share: the reverse map from a frame to its entries
 *
 * A frame that one page has names it itself (frame.pte, page, backing). Clones share frames: then
 * all the pages stand in a list of the frame's, in place of the backing, and the page that it names
 * itself is the first of them.
 * Entries of such pages have PTE_SHARED. It stays with the last that is left, which finds itself
 * alone when it is written to.
 *
 * Invariants, of a frame in a list:  references == its length > 1;  no pins, no slot;  its entries
 * are PRESENT with its number, SHARED, all DIRTY or none, and never WRITE, EXPECTED or FILE.
 *
 * Locks: a page leaves a list while its own PTE is locked, and joins it while that of another page
 * of the list is. So who holds one knows that the frame stays, and who holds all of them that the
 * list does: that is needed to move the content, or to take the frame. `lock` (rank 3) guards the
 * lists and references otherwise; PTEs are only tried while it is held.
 * Signal context: yes, but share_reserve. Source: Linux, mm/rmap.c; OSTEP ch. 23 (copy-on-write).
 */
#ifndef UPAGE_SHARE_H
#define UPAGE_SHARE_H

#include "frame.h"
#include "table_memory.h"

struct share {
	pte_t *pte;
	uintptr_t page; /* its address */
	struct backing *backing;
	struct share *next;
};

/* Of a pool. */
struct shares {
	struct lock lock;
	struct share *free; /* records that are in no list */
	size_t spare;       /* how many */
};

/* All the pages of a frame, if there are several; else NULL. Who reads the list holds them, or the lock. */
static inline struct share *share_list(const struct frame *frame)
{
	return __atomic_load_n(&frame->references, __ATOMIC_ACQUIRE) > 1 ? frame->shares : NULL;
}

/* What the page that a frame names itself is of: for who reads the list. */
static inline struct backing *share_first_backing(const struct frame *frame)
{
	const struct share *list = share_list(frame);
	return list != NULL ? list->backing : frame->backing;
}

/* At least @count records are free then, for who alone takes some. Return: whether they are. */
bool share_reserve(struct shares *shares, struct table_memory *memory, size_t count);

/* The page at @page is in the frame too. A page that is in it, and this one, are locked; two records
 * are reserved. */
void share_join(struct shares *shares, struct frame *frame, pte_t *pte, uintptr_t page,
                struct backing *backing);

/* The page of a locked entry is no more in the frame. Return: whether others are; else nothing has
 * changed, and the frame is its own. */
bool share_leave(struct shares *shares, struct frame *frame, const pte_t *pte);

/* Whether a locked page with PTE_SHARED is the only one that is left. It stays so. */
bool share_is_alone(struct shares *shares, const struct frame *frame);

/* What the page of a locked entry with PTE_SHARED is of. */
const struct backing *share_backing(struct shares *shares, const struct frame *frame, const pte_t *pte);

/* The page has another entry and address, and is of another backing. Both entries are locked. */
void share_move(struct shares *shares, struct frame *frame, const pte_t *from, pte_t *to,
                uintptr_t page, struct backing *backing);

/* Locks the other pages of a frame that the page of @own, which is locked, is in.
 * Return: whether that went; else *@busy is an entry that somebody else holds. */
bool share_trylock(struct shares *shares, const struct frame *frame, const pte_t *own, pte_t **busy);

/* Unlocks them again, as their entries are. */
void share_unlock(struct shares *shares, const struct frame *frame, const pte_t *own);

/* The frame has no page any more: all are locked, and the entries but @own, whose the frame is now,
 * become @value. */
void share_end(struct shares *shares, struct frame *frame, const pte_t *own, uint64_t value);

/* Whether frame @pfn and the entries of its pages agree, while nothing runs. */
bool share_is_valid(const struct frame *frame, uint64_t pfn);

#endif
