/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pager.h - resolves page faults: zero fill, read, upgrade, evict, wait, or refuse
 *
 * The one place that decides what happens to a page. Whatever is done to a page is done by
 * the thread that holds the lock bit of its PTE; a second thread that faults on it waits for
 * the bit, looks again, and finds the work done.
 *
 * Two orders keep programs and frames apart:
 *   publish  fill the frame, show it at the page's address, unlock the PTE
 *   evict    lock the PTE, hide the page, write it back, free the frame, unlock
 * Eviction only tries the locks of other pages, so that faults cannot wait in a circle; a
 * page that is locked or pinned is passed over for the next candidate.
 *
 * Invariants (upage_pool_verify, when no fault is under way):
 *   frame f is USED  <=>  exactly one PTE is PRESENT with number f, and frame[f].pte is it
 *   a slot is taken  <=>  one PTE is SWAPPED with it, or one used frame has it
 *   the policy holds exactly the USED frames;  pinned == frames with pins > 0
 *   calls == the sum of the frames' calls;  of a frame, calls <= pins
 *   mappings == sum over pages of the seams between pages that the host cannot join
 *
 * Signal context: yes. errno and thread-local storage are not used.
 * Source: OSTEP ch. 21-22; Appel and Li, "Virtual Memory Primitives for User Programs",
 * ASPLOS 1991.
 */
#ifndef UPAGE_PAGER_H
#define UPAGE_PAGER_H

#include "frame.h"
#include "page_table.h"
#include "replace.h"
#include "stats.h"
#include "store.h"

/* Buffers of one page each, for content on its way between a frame and a store. */
#define BUFFERS 64
struct buffers {
	_Atomic uint64_t free; /* a bit each */
	char *memory;          /* BUFFERS pages, touched from the lowest up */
};

struct upage_pool {
	struct frame_table frames;
	struct replace replace;
	struct swap *swap;
	struct table_memory tables;
	struct buffers buffers;
	struct stats *stats;            /* in the record of this process: report.c       */
	struct report *report;
	_Atomic uint64_t pinned;        /* frames with pins                              */
	_Atomic uint64_t calls;         /* pins of system calls under way                */
	struct lock mapping_lock;       /* guards the access bits of PTEs, and mappings  */
	_Atomic uint64_t mappings;      /* of spaces: an upper bound                     */
	uint64_t mappings_peak;
	_Atomic uint64_t mapping_budget; /* now; it is cut when the host refuses        */
	uint64_t mapping_budget_whole;
	_Atomic uint64_t placed;        /* pages given frames, and pages resolved: does anything move */
	_Atomic uint32_t evicting;      /* threads that save a page, maybe with a slot in hand */
	_Atomic uint64_t hide_hand;     /* frame where the search for mappings to give up goes on */
	_Atomic uint64_t slot_hand;     /* the same for slots                            */
	_Atomic uint64_t committed;     /* pages of private mappings that may be written  */
	_Atomic uint32_t spaces;        /* that use this pool                            */
	uint64_t process;               /* that it belongs to, by host_fork_word()       */
	bool frozen;                    /* around a fork: its locks are held for it      */
	bool copied;                    /* around a fork: there is a copy for the child  */
	struct upage_config config;
	struct upage_pool *next;        /* of all pools: pool_fork.c                     */
};

/* A page as its mapping has it; the PTE is locked. */
struct page {
	pte_t *pte;
	uintptr_t address;
	int prot;                /* of the mapping; what may be written or executed may be read */
	struct backing *backing;
};

/* What a few threads' instructions need at once. */
#define MAPPING_BUDGET_MIN 64

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
 * May wait for a store, and for other faults.
 * Return: 0, or UPAGE_ENOMEM (every frame is pinned), UPAGE_ENOSPC (swap is full and nothing
 *         clean is left), UPAGE_EIO, STORE_PAST_END, UPAGE_EPINS, or a host's error. On
 *         failure the page is as before.
 */
int pager_resolve(struct upage_pool *pool, const struct page *page, uint64_t value, int access,
                  enum pin pin, enum counter *kind);

/* The page's content into a free frame, not yet accessible: nothing is evicted for it.
 * Return: whether there was a free frame. Unlocks the page. */
bool pager_prefetch(struct upage_pool *pool, const struct page *page, uint64_t value);

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

/* They may from now on be accessed as @prot says: what has more is revoked. */
int pager_restrict(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address, int prot);

/* Writes a dirty page of a shared mapping to its store. Return: 0 or the store's error. */
int pager_sync(struct upage_pool *pool, const struct page *page);

/* Of the seams between host mappings that a shown page has, those that count as its own when
 * all pages are gone through: the left one, and the right one if nothing is shown there. */
unsigned pager_seams_owned(pte_t *pte, uint64_t value);

/* Around a fork, while nobody works on any page: hides what is shown, but pinned pages, though
 * entries say that it is; and then makes it so again, in the parent or the child, as far as
 * that takes few calls (else pages are hidden, and the entries say that), and counts mappings,
 * from where pool->mappings stands. Return: 0, or the host's error. */
int pager_cover(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address);
void pager_uncover(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address);

/* Promises room for private pages that may be written. With a limit to swap, no more is promised
 * than frames and slots can hold (one slot is for the page that makes room for another), so that
 * a page fault never finds both full; without one, or with the option overcommit, whatever is
 * asked for, until both are full. Return: whether there is room. */
bool pager_commit(struct upage_pool *pool, uint64_t pages);
void pager_uncommit(struct upage_pool *pool, uint64_t pages);

#endif
