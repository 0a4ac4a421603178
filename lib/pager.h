/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pager.h - resolves page faults: zero fill, read, upgrade, evict, wait, or refuse
 *
 * The one place that decides what happens to a page: how it comes into a frame, who holds it
 * there, and what becomes of whole ranges. A second thread that faults on a page waits for the
 * lock bit of its PTE, looks again, and finds the work done.
 *
 * The order in which a page appears: fill the frame, show it at the page's address, unlock the
 * PTE. evict.h has the other one.
 *
 * Invariants: those of physical.h. Signal context: yes. errno and thread-local storage are not used.
 * Source: OSTEP ch. 21-22; Appel and Li, "Virtual Memory Primitives for User Programs",
 * ASPLOS 1991.
 */
#ifndef UPAGE_PAGER_H
#define UPAGE_PAGER_H

#include "physical.h"

/* Frames that no pin may take: what one instruction can need at once, and one more. */
#define FRAMES_NEVER_PINNED 8

/* Who holds a page: upage_pin(), or a system call under way. */
enum pin { PIN_NONE, PIN_PROGRAM, PIN_CALL };

/**
 * pager_resolve - make a locked page accessible, and unlock it
 * @value:  its PTE, as pte_trylock() gave it
 * @access: PROT_* bits, which page->prot allows
 * @pin:    whether to hold the page until pager_unpin(), and for whom
 * @kind:   out: what had to be done, for the statistics; may be NULL
 *
 * Context: a page fault, or a public call with signals blocked; no lock but this PTE's.
 * May wait for a store, and for other faults. Neighbours of the page that are locked with it
 * (cluster_lock) are unlocked too, whatever becomes of it.
 * Return: 0, or UPAGE_ENOMEM (every frame is pinned), UPAGE_ENOSPC (swap is full and nothing
 *         clean is left), UPAGE_EIO, STORE_PAST_END, UPAGE_EPINS, or a host's error. On
 *         failure the page is as before.
 */
int pager_resolve(struct upage_pool *pool, const struct page *page, uint64_t value, int access,
                  enum pin pin, enum counter *kind);

/**
 * pager_change - other bytes in a locked page, private and of a file; it is unlocked
 * @offset: of them, in the page
 * @before: what has to be there
 *
 * Nobody can reference the page meanwhile: who tries waits, as for a page that is being read. It is
 * hidden afterwards, and dirty. For code: each processor learns of a page that is hidden and shown
 * again by an interrupt or a trap, so that none goes on with instructions that it had read.
 *
 * Return: 0, UPAGE_EBUSY (something else is there, or it is pinned), UPAGE_ENOMEM (no room could be
 *         promised, or this was done with PAGER_CHANGED_MOST pages), or as pager_resolve().
 */
#define PAGER_CHANGED_MOST 256
int pager_change(struct upage_pool *pool, const struct page *page, uint64_t value, size_t offset,
                 const void *before, const void *after, size_t count);

/* The page's content into a free frame, not yet accessible: nothing is evicted for it.
 * Return: whether there was a free frame. Unlocks the page. */
bool pager_prefetch(struct upage_pool *pool, const struct page *page, uint64_t value);

/* The frame of a page that is no business of the pager's: run.h. Return: 0 or UPAGE_EPINS; whether there
 * was a pin to release. */
int pager_pin_frame(struct upage_pool *pool, uint32_t pfn, enum pin pin);
bool pager_unpin_frame(struct upage_pool *pool, uint32_t pfn, enum pin pin);
bool pager_frame_is_pinned_by_program(const struct upage_pool *pool, uint32_t pfn);

/* Release one pin. The space's lock is held. Return: 0, or UPAGE_EINVAL if there is none. */
int pager_unpin(struct upage_pool *pool, pte_t *pte, enum pin pin);
bool pager_is_pinned(struct upage_pool *pool, pte_t *pte);
/* Whether the program itself holds the page. */
bool pager_is_pinned_by_program(struct upage_pool *pool, pte_t *pte);
/* In the child of a fork: pins of system calls go, since the threads that made them are not here. */
void pager_drop_call_pins(struct upage_pool *pool);

/* @count PTEs beside each other, of the pages from @address on: no page stays shown but pinned
 * ones. Waits for work under way on them. Return: 0, or a host's error (all content is there). */
int pager_hide(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address);

/* Waits for work under way on them. */
void pager_wait(pte_t *ptes, size_t count);

/* Evicts all but pinned ones: their frames are free. Return: the first failure to save a page,
 * which stays. */
int pager_page_out(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address);

/* They become empty: frames, slots and content are given up. All were hidden by pager_hide(),
 * and no fault could come since. Cannot fail. */
void pager_discard(struct upage_pool *pool, pte_t *ptes, size_t count);

/* The page of @from becomes that of @to, which is empty, at @address and of @backing. It is hidden,
 * unpinned, and no fault can come: the space's lock is held for writing. */
void pager_move(struct upage_pool *pool, pte_t *from, pte_t *to, uintptr_t address,
                struct backing *backing);

/* @count pages beside each other, of one private mapping, become those of @copies, empty entries, at
 * @copy_address and of @backing, too: frames and slots are shared, and nobody can write to them. But
 * what is shown from its file stays empty, and what is pinned is copied. The locks of both spaces are
 * held for writing. Return: 0, UPAGE_ENOMEM or as pager_resolve(): a part may be shared. */
int pager_share(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address, pte_t *copies,
                uintptr_t copy_address, struct backing *backing);

/* They may from now on be accessed as @prot says: what has more is revoked. */
int pager_restrict(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address, int prot);

/* Writes a dirty page of a shared mapping to its store. Return: 0 or the store's error. */
int pager_sync(struct upage_pool *pool, const struct page *page);

/* Promises room for private pages that may be written. With a limit to swap, no more is promised
 * than frames and slots can hold (one slot is for the page that makes room for another), so that
 * a page fault never finds both full; without one, or with the option overcommit, whatever is
 * asked for, until both are full. Return: whether there is room. */
bool pager_commit(struct upage_pool *pool, uint64_t pages);
void pager_uncommit(struct upage_pool *pool, uint64_t pages);

#endif
