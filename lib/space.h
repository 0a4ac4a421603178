/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * space.h - an address space: its reserved range, its mappings, the look-up by address
 *
 * Spaces are found by address through a table that grows and never shrinks; their structs
 * are used again, but never given back, so that a late look-up reads a struct.
 *
 * Locking: `lock` (rank 1) guards mappings; page faults read, changes write.
 * Signal context: space_find, space_fault.
 * Source: OSTEP ch. 13; mmap(2).
 */
#ifndef UPAGE_SPACE_H
#define UPAGE_SPACE_H

#include "contiguous.h"
#include "guard.h"
#include "mapping.h"
#include "page_table.h"
#include "pager.h"
#include "view.h"
#include "window.h"

struct upage_space {
	_Atomic uintptr_t base;   /* 0: not in use */
	_Atomic size_t length;    /* bytes */
	upage_pool *pool;
	struct place place;       /* where the host has its pages */
	struct page_table table;
	struct runs runs;         /* that it lies in, if it is not paged: run.h */
	struct rwlock lock;
	struct mappings mappings;
	struct backing *anonymous; /* of all anonymous mappings */
	struct backing *foreign;   /* of all that the host maps itself, in place of the reservation */
	_Atomic unsigned heaps;   /* that live here */
	uint64_t process;         /* that it belongs to, by host_fork_word() */
	bool frozen;              /* around a fork: its lock is held for it  */
	bool covered;             /* and the host does not show what entries say is shown */
	enum view_cover cover;    /* what it shows, then */
};

/**
 * space_create - upage_space_create(), and what comes into a new space before anybody else is let in
 * @fill: called with every signal blocked, while no other space is made or ends, and no fork begins;
 *        if it fails the space is ended, with what it has mapped so far. NULL: nothing
 */
typedef int space_filler(upage_space *space, void *argument);
int space_create(upage_space **out, upage_pool *pool, const struct upage_space_config *config,
                 space_filler *fill, void *argument);

/* The space that has @address in its range, or NULL: of several at the same addresses the current one. */
upage_space *space_find(uintptr_t address);

/* The same, or if there is none the next above it. */
upage_space *space_find_next(uintptr_t address);

enum fault_outcome {
	FAULT_SERVED,
	FAULT_BOUNDS,     /* in no mapping: the program's own */
	FAULT_PROTECTION, /* against the mapping's protection: the program's own */
	FAULT_PAST_END,   /* past the end of a mapped file: the program's own, SIGBUS */
	FAULT_FOREIGN,    /* in memory that the host maps: the program's own, as the host said */
	FAULT_FAILED,     /* could not be served */
};

/**
 * space_fault - serve a reference that trapped
 * @address: in @space
 * @access:  PROT_READ, PROT_WRITE or PROT_EXEC
 * @failure: out: the error, for FAULT_FAILED
 *
 * Context: signal context, every signal blocked, no lock held.
 */
enum fault_outcome space_fault(upage_space *space, uintptr_t address, int access, int *failure);

/* The page of @address is there for @access afterwards, if it may be and nothing fails. For who is
 * about to make the reference, and would otherwise trap. No lock is held. */
bool space_bring_in(upage_space *space, uintptr_t address, int access);

/* Other bytes in place of @before in the code of a private file mapping, which may not be @forbidden
 * (PROT_* bits); all lie in one page. As pager_change(); UPAGE_EBUSY too if it is none. No lock is held. */
int space_change_code(upage_space *space, uintptr_t address, int forbidden, const void *before,
                      const void *after, size_t count);

/* Lets the mapping above @address, which is in none, grow down to it if that is one that grows, as
 * far as the limit of stacks allows. Return: whether it did. No lock is held. */
bool space_grow(upage_space *space, uintptr_t address);

/* The mapping nearest to an address, for reports. Return: whether there is any. */
bool space_nearest(upage_space *space, uintptr_t address, uintptr_t *start, uintptr_t *end);

/* The pages of all spaces of a pool, counted from their page tables while nothing runs. */
struct space_pages {
	uint64_t present, swapped, seams, committed, in_runs;
};
/* Return: whether every PTE and every array of mappings is valid. */
bool space_count_pages(upage_pool *pool, struct space_pages *pages);

/* Whether we are the child of a fork without a copy of @space: the memory behind it is the
 * parent's, and nothing of it is served here. The word of host_fork_word() says so before any
 * code of the child runs. */
bool space_is_lost(const upage_space *space);

/* Around a fork: nobody else makes, ends, changes or looks up anything, from the beginning to the
 * end. In between, in this order: what is dirty and shared is written; all work on pages has
 * ended, and none can be referenced but pinned ones (0, or the host's error). */
void space_fork_begin(void);

/* Before that, for a guest: whether memory has room for a second run of each space that is one, as the
 * child's would need on a machine with base and bounds. */
bool space_fork_has_room(void);
void space_fork_sync(void);
int space_fork_hide(void);
void space_fork_end(void);

/* In the child, instead of the last: hides what the parent's spaces show. Those that stood still
 * are ours from now on (their pools are adopted before), or else lost. */
void space_fork_child(bool adopt);

static inline bool space_is_paged(const upage_space *space)
{
	return space->runs.count == 0;
}

/* What translates its addresses, and the offset by which it knows @address. */
static inline const struct translator *space_translator(const upage_space *space, uintptr_t address,
                                                        uint64_t *offset)
{
	*offset = address - (space_is_paged(space) ? space->base : space->runs.origin);
	return space_is_paged(space) ? &space->table.paging.translator : &space->runs.translator;
}

/* Makes a space, in which nothing is mapped, one of @scheme, whose addresses are translated from @origin
 * on. @bounds: of base and bounds. Return: as of runs_init(). */
int space_set_scheme(upage_space *space, enum upage_scheme scheme, uintptr_t origin, size_t bounds);

/* Returns when all work on pages that was under way has ended. No lock is held. */
void space_wait_all(void);

/* Held while spaces are made, ended, switched or copied by a fork. Before any space's lock. */
extern struct lock spaces_lock;

/* Held while a part of a store is looked for in all spaces and then mapped shared: it may be so
 * mapped once at a time. Rank 0: taken before any space's lock. */
extern struct lock space_shared_lock;

/* Whether a shared mapping, in any space, has a byte of [offset, offset + length) of a store. */
bool space_any_shares(const upage_store *store, int64_t offset, size_t length);

/* ---- The space's lock: in a bracket of the guard, for what it guards is guarded so, too --------- */

static inline void space_read(upage_space *space)
{
	guard_open();
	rwlock_read(&space->lock);
}

static inline void space_read_end(upage_space *space)
{
	rwlock_read_release(&space->lock);
	guard_close();
}

/* The same of page faults, which are many at once: rwlock_read_part(). */
static inline unsigned space_read_part(upage_space *space)
{
	guard_open();
	return rwlock_read_part(&space->lock);
}

static inline void space_read_part_end(upage_space *space, unsigned part)
{
	rwlock_read_part_release(&space->lock, part);
	guard_close();
}

static inline void space_write(upage_space *space)
{
	guard_open();
	rwlock_write(&space->lock);
}

static inline void space_write_end(upage_space *space)
{
	rwlock_write_release(&space->lock);
	guard_close();
}

/* ---- For map.c: one page, and passes over ranges ------------------------------------------ */

static inline size_t space_page_size(const upage_space *space)
{
	return (size_t)1 << space->table.paging.page_shift;
}

static inline uint64_t space_pages(const upage_space *space, size_t length)
{
	return length >> space->table.paging.page_shift;
}

static inline upage_vpn space_vpn(const upage_space *space, uintptr_t address)
{
	return (address - space->base) >> space->table.paging.page_shift;
}

static inline uintptr_t space_address(const upage_space *space, upage_vpn vpn)
{
	return space->base + (vpn << space->table.paging.page_shift);
}

static inline bool space_shares_addresses(const upage_space *space)
{
	return space->place.window != NULL;
}

/* A backing of this space's pages, as backing_create(). */
static inline struct backing *space_backing(const upage_space *space, upage_store *store,
                                            int64_t delta, bool shared)
{
	struct backing *backing = backing_create(store, delta, shared);
	if (backing != NULL && space_shares_addresses(space))
		backing->place = &space->place;
	return backing;
}

/* Locks the PTE of an address that may be accessed so, with what its mapping says. The space's
 * lock is only held for the look-up: who waits for the page, or works on it, holds nothing else. */
enum fault_outcome space_lock_page(upage_space *space, uintptr_t address, int access,
                                   struct page *page, uint64_t *value, enum upage_advice *advice,
                                   int *failure);

/* Calls @visit for each run of PTEs that exist in [start, end), and stops at the first failure,
 * which is the result. The space's lock is held, here and below. */
typedef int run_visitor(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                        void *argument);
int space_each_run(upage_space *space, uintptr_t start, uintptr_t end, run_visitor *visit,
                   void *argument);
run_visitor space_visit_pinned; /* UPAGE_EBUSY if a page is pinned */
run_visitor space_visit_hide;   /* pager_hide() */

/* The pages of [start, end) lose frames, slots and content; what is dirty and shared is written
 * first. Return: 0, or UPAGE_EBUSY (a page is pinned), or a store's or the host's error: all
 * content is there still. */
int space_empty_range(upage_space *space, uintptr_t start, uintptr_t end);

/* Writes what is dirty in the shared mappings of a range. Return: the first failure. */
int space_sync_range(upage_space *space, uintptr_t start, uintptr_t end);

/* Unmaps [start, end), which may have gaps. */
int space_unmap_range(upage_space *space, uintptr_t start, uintptr_t end);

#endif
