/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * physical.h - a physical memory: frames, who is in them, and who has to leave
 *
 * What the files of the fault path share: pager.c brings pages in, evict.c takes their frames,
 * view.c has the host show them. pool.c makes it and ends it.
 *
 * Whatever is done to a page is done by the thread that holds the lock bit of its PTE. From a
 * frame to its page leads frame_trylock(), and to its pages frame_trylock_all(); they never wait.
 *
 * Invariants (upage_pool_verify, when no fault is under way):
 *   frame f is RUN   <=>  a run has it: run.h
 *   frame f is USED  <=>  one PTE is PRESENT with number f, and frame[f].pte is it; or several
 *                         are, which are frame[f].shares
 *   a slot's count   ==   the PTEs that are SWAPPED with it, or one used frame has it alone
 *   the policy holds exactly the USED frames;  pinned == frames with pins > 0
 *   calls == the sum of the frames' calls;  of a frame, calls <= pins
 *
 * Signal context: yes.
 */
#ifndef UPAGE_PHYSICAL_H
#define UPAGE_PHYSICAL_H

#include "buffer.h"
#include "frame.h"
#include "page_table.h"
#include "replace.h"
#include "shard.h"
#include "share.h"
#include "stats.h"
#include "store.h"
#include "turn.h"

/* Of compact.c. */
struct compaction {
	_Atomic bool wanted;       /* mappings ran short: the next page fault does a step */
	struct rwlock moving;      /* read while pages move; a fork writes, so that none does */
	struct lock lock;          /* one pass at a time; guards what follows                */
	struct movement *movement; /* made when first needed                                 */
	uint32_t hand;             /* frame where the steps of page faults go on             */
	uint64_t stirred;          /* frame where compact_stir() goes on                     */
	uint64_t rest;             /* host_nanoseconds() until when they do not              */
};

/* Of reclaim.c. */
struct reclaim {
	unsigned threads;             /* that there may be; 0: none                      */
	uint64_t low, high;           /* free frames: who rings, and what is enough      */
	_Atomic uint32_t awake;       /* 0: the next ring wakes them                     */
	_Atomic uint32_t stopping;    /* they shall end                                  */
	_Atomic uint32_t zeroed_late; /* frames that page faults had to zero, since last */
	_Atomic uint64_t zero_from;   /* behind the last of those                        */
	struct lock lock;             /* guards what follows                             */
	_Atomic unsigned running;     /* the first of them                               */
	int process;                  /* the id of the process that they belong to       */
	char *stacks;
};

#define SHOWN_LAST 64 /* pages that are known to be shown, where so few can be */

/* Guards the access bits of the PTEs in a leaf: two neighbours may change at once. A lock is that of
 * many leaves, but of few that are used at once. */
#define LEAF_LOCKS 32
struct leaf_lock {
	_Alignas(CACHE_LINE) struct lock lock;
};

/* Of readahead.c. */
#define READAHEAD_STREAMS 16
struct readahead {
	_Atomic uint64_t streams[READAHEAD_STREAMS];
	_Atomic unsigned oldest;
};

/* What all page faults write is on lines of its own, apart from what they only read. */
struct upage_pool {
	struct frame_table frames;
	struct replace replace;
	struct swap *swap;
	struct table_memory tables;
	struct shares shares;
	struct buffers buffers;
	struct stats *stats;            /* in the record of this process: report.c       */
	struct report *report;
	struct compaction compaction;
	struct reclaim reclaim;
	struct readahead readahead;
	struct turn turn;               /* of threads whose instructions need several pages */
	_Atomic uint64_t pinned;        /* frames with pins                              */
	_Atomic uint64_t calls;         /* pins of system calls under way                */
	struct leaf_lock leaf_locks[LEAF_LOCKS];
	_Alignas(CACHE_LINE) _Atomic uint64_t mappings; /* of spaces: an upper bound     */
	_Atomic uint64_t mappings_peak;
	_Alignas(CACHE_LINE) _Atomic uint64_t placed; /* see physical_note_placed()      */
	_Alignas(CACHE_LINE) _Atomic uint32_t searching; /* threads that find no frame   */
	_Atomic uint64_t mapping_budget; /* now; it is cut when the host refuses */
	uint64_t mapping_budget_whole;
	_Atomic uint64_t mappings_laid; /* of mappings, those at home: hiding gives up none */
	_Alignas(CACHE_LINE) _Atomic uint32_t evicting; /* threads that save a page, maybe with a slot in hand */
	_Atomic uint64_t hide_hand;     /* frame where the search for mappings to give up goes on */
	_Atomic uint64_t shown;         /* pages, while the budget is cut; the last have the frames */
	_Atomic uint32_t shown_last[SHOWN_LAST];
	_Atomic uint64_t slot_hand;     /* the same for slots                            */
	_Atomic uint32_t changed;       /* of 256 pages compared with their slots lately, or sampled */
	_Atomic uint32_t not_compared;  /* pages that could have been                    */
	_Atomic uint32_t not_kept;      /* copies in memory that these could have been compared with */
	_Alignas(CACHE_LINE) _Atomic uint64_t committed; /* pages of private mappings that may be written  */
	_Atomic uint64_t changed_pages; /* others that are dirty: pager_change()         */
	_Atomic uint64_t foreign_bytes; /* in mappings that are the host's own            */
	_Atomic uint64_t foreign_bytes_peak;
	_Atomic uint32_t spaces;        /* that use this pool                            */
	struct lock runs_lock;          /* guards: run.h                                 */
	struct runs *runs;              /* of its spaces that are not paged              */
	uint64_t process;               /* that it belongs to, by host_fork_word()       */
	unsigned cluster_pages;         /* that one fault may bring in: cluster.h        */
	bool never_home, always_home;   /* what is decided of pages beforehand: home.h   */
	bool frozen;                    /* around a fork: its locks are held for it      */
	bool copied;                    /* around a fork: there is a copy for the child  */
	struct upage_config config;
	struct upage_pool *next;        /* of all pools: pool_fork.c                     */
	struct upage_pool *sharer;      /* the next that shares the host's limit: view.c */
};

/* A page as its mapping has it; the PTE is locked. */
struct page {
	pte_t *pte;
	uintptr_t address;
	int prot;                /* of the mapping; what may be written or executed may be read */
	struct backing *backing;
	uint16_t before, after;  /* neighbours, locked, that come in or are shown with it: cluster.h */
	uint16_t next;           /* pages behind those that a stream will want: readahead.h */
};

/* The lock of the space that has them is held for writing. */
static inline void physical_count_foreign(struct upage_pool *pool, int64_t bytes)
{
	uint64_t now = atomic_fetch_add(&pool->foreign_bytes, (uint64_t)bytes) + (uint64_t)bytes;
	if (now > atomic_load(&pool->foreign_bytes_peak))
		atomic_store(&pool->foreign_bytes_peak, now);
}

/* Pages get frames, or were resolved and are about to be unlocked. Who searches all frames for one that
 * can be taken, and finds none, has to know whether anything moved meanwhile; nobody else asks. */
static inline void physical_note_placed(struct upage_pool *pool, uint64_t pages)
{
	if (atomic_load(&pool->searching) > 0)
		atomic_fetch_add(&pool->placed, pages);
}

/* Several threads at once; or while nothing runs, around a fork. */
static inline void physical_count_mappings(struct upage_pool *pool, int64_t change)
{
	if (change == 0)
		return;
	uint64_t now = atomic_fetch_add(&pool->mappings, (uint64_t)change) + (uint64_t)change;
	uint64_t most = atomic_load_explicit(&pool->mappings_peak, memory_order_relaxed);
	while (now > most && !atomic_compare_exchange_weak(&pool->mappings_peak, &most, now))
		;
}

static inline size_t page_size(const struct upage_pool *pool)
{
	return frame_size(&pool->frames);
}

/* Locks the PTE that frame @pfn says it has, if it is that frame's and free. Only a word that
 * is seen to be this frame's entry is ever written to. */
static inline bool frame_trylock_first(struct upage_pool *pool, uint32_t pfn, pte_t **pte,
                                       uint64_t *value)
{
	struct frame *frame = &pool->frames.frame[pfn];
	*pte = atomic_load(&frame->pte);
	if (*pte == NULL)
		return false;
	*value = atomic_load(*pte);
	do {
		if ((*value & PTE_LOCKED) || !(*value & PTE_PRESENT) || pte_number(*value) != pfn)
			return false;
	} while (!atomic_compare_exchange_weak(*pte, value, *value | PTE_LOCKED));
	if (!(*value & PTE_SHARED) || atomic_load(&frame->pte) == *pte)
		return true;
	pte_unlock(*pte, *value); /* it left the frame meanwhile, and came again */
	return false;
}

/* The same, if no other page is in the frame. */
static inline bool frame_trylock(struct upage_pool *pool, uint32_t pfn, pte_t **pte,
                                 uint64_t *value)
{
	if (!frame_trylock_first(pool, pfn, pte, value))
		return false;
	if (!(*value & PTE_SHARED) || share_is_alone(&pool->shares, &pool->frames.frame[pfn]))
		return true;
	pte_unlock(*pte, *value);
	return false;
}

/* Locks the entries of all pages that are in frame @pfn. *@pte is the one that the frame names. */
static inline bool frame_trylock_all(struct upage_pool *pool, uint32_t pfn, pte_t **pte,
                                     uint64_t *value)
{
	pte_t *busy;
	if (!frame_trylock_first(pool, pfn, pte, value))
		return false;
	if (!(*value & PTE_SHARED) ||
	    share_trylock(&pool->shares, &pool->frames.frame[pfn], *pte, &busy))
		return true;
	pte_unlock(*pte, *value);
	return false;
}

static inline void frame_unlock_all(struct upage_pool *pool, pte_t *pte, uint64_t value)
{
	if (value & PTE_SHARED)
		share_unlock(&pool->shares, &pool->frames.frame[pte_number(value)], pte);
	pte_unlock(pte, value);
}

/* Whether several pages are in a frame, as far as that can be seen without a lock. */
static inline bool frame_seems_shared(const struct frame *frame)
{
	return __atomic_load_n(&frame->references, __ATOMIC_RELAXED) > 1;
}

/* The page is resident in frame @pfn from now on, which has its content; nobody can see it yet.
 * @slot: where swap has a copy, or SWAP_NONE. Return: what its PTE becomes. */
static inline uint64_t page_settle(struct upage_pool *pool, const struct page *page, uint32_t pfn,
                                   uint32_t slot)
{
	struct frame *frame = &pool->frames.frame[pfn];
	INVARIANT(frame->references == 0);
	frame->page = page->address;
	frame->backing = page->backing;
	frame->slot = slot + 1; /* SWAP_NONE becomes 0 */
	frame->references = 1;
	atomic_store(&frame->pte, page->pte);
	physical_note_placed(pool, 1);
	replace_insert(&pool->replace, pfn);
	return pte_make(pfn, PTE_PRESENT);
}

/* A reference to a page was seen, by a fault, by a look, or by what it wrote. The first to one that came along with
 * another counts. */
static inline void page_note_used(struct upage_pool *pool, uint64_t *value)
{
	if (*value & PTE_PREFETCHED) {
		*value &= ~(uint64_t)PTE_PREFETCHED;
		stats_count(pool->stats, COUNT_PREFETCH_USED);
	}
}

/* Whether a page that comes in for @access is shown from its file: a private one, until it is written
 * to. Its frame is taken, as for any page, but has no content. */
static inline bool page_shows_file(const struct page *page, int access)
{
	const struct backing *backing = page->backing;
	return backing->store != NULL && backing->store->descriptor != NULL && !backing->shared &&
	       !(access & PROT_WRITE);
}

/* The access that a page is given: all that its mapping allows, but writing only once it is
 * dirty, so that what was never written need not be saved, and never while it may be shared. */
static inline uint64_t page_access(const struct page *page, uint64_t value)
{
	uint64_t access = pte_access_of(page->prot);
	bool writable = (value & (PTE_DIRTY | PTE_SHARED)) == PTE_DIRTY;
	return writable ? access : access & ~(uint64_t)PTE_WRITE;
}

#endif
