/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * page_table.h - page-table entries, and the radix tree that finds them
 *
 * A PTE is one atomic word:
 *
 *      63            24 23 11  10    9     8      7      6      5   4   3    2       1       0
 *     |  frame or slot |  0  | FILE| EXP | PREF |DIRTY|SWAPPED|   X   W   R |PRESENT|WAITERS| LOCKED |
 *
 *   PRESENT            the page is resident, the number is its frame
 *   SWAPPED            it is not, the number is its slot in swap
 *   neither            its content is its mapping's: zero, or what the store has
 *   R W X              what the host's mapping of the page allows now. Resident and none of
 *                      them: access is revoked, until a soft fault ends it
 *   DIRTY              the frame differs from the slot or store
 *   PREFETCHED         brought in ahead of the first reference
 *   EXPECTED           it was written to when it was last resident, so it will be again: it is
 *                      shown writable, and DIRTY, when it is read. Until it leaves, and is
 *                      compared with its slot, nobody knows whether it was written to
 *   FILE               what is shown is the host's own page of the file: nobody has written to
 *                      it, and the frame, which is taken all the same, has no content
 *   LOCKED             one thread works on this page and no other changes anything of it
 *   WAITERS            somebody waits on a futex for the end of LOCKED
 *
 * Invariants (pte_is_valid):  not (PRESENT and SWAPPED);  R, W, X, DIRTY, PREFETCHED imply
 * PRESENT;  EXPECTED implies PRESENT or SWAPPED;  W implies DIRTY;  PREFETCHED implies none of
 * R, W, X;  FILE implies PRESENT and not DIRTY.
 *
 * The tree: `levels` levels, the root's index from the top bits of the page number, each
 * node an array of 2^bits words. Nodes are made by whoever needs them first (compare and
 * swap) and live as long as the table; leaves are never used as anything else, in the whole
 * life of a pool, so that a stale pointer to a PTE always points to a PTE.
 *
 * Locking: walks take none. Signal context: yes, but page_table_init and _destroy.
 * Source: OSTEP ch. 18 and 20; Intel SDM vol. 3 ch. 4 for the form of an entry.
 */
#ifndef UPAGE_PAGE_TABLE_H
#define UPAGE_PAGE_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "compiler.h"
#include "lock.h"
#include "translate.h"

typedef _Atomic uint64_t pte_t;

#define PTE_LOCKED (1u << 0)
#define PTE_WAITERS (1u << 1)
#define PTE_PRESENT (1u << 2)
#define PTE_READ (1u << 3)
#define PTE_WRITE (1u << 4)
#define PTE_EXEC (1u << 5)
#define PTE_SWAPPED (1u << 6)
#define PTE_DIRTY (1u << 7)
#define PTE_PREFETCHED (1u << 8)
#define PTE_EXPECTED (1u << 9)
#define PTE_FILE (1u << 10)
#define PTE_ACCESS (PTE_READ | PTE_WRITE | PTE_EXEC)
#define PTE_NUMBER_SHIFT 24
#define PTE_NUMBER_MAX ((UINT64_C(1) << 40) - 1)

static inline uint64_t pte_number(uint64_t pte)
{
	return pte >> PTE_NUMBER_SHIFT;
}

static inline uint64_t pte_make(uint64_t number, uint64_t flags)
{
	return number << PTE_NUMBER_SHIFT | flags;
}

/* PROT_READ, WRITE and EXEC are the bits 0 to 2 on every Linux. */
static inline uint64_t pte_access_of(int prot)
{
	return (uint64_t)(prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) * PTE_READ;
}

static inline int pte_prot(uint64_t pte)
{
	return (int)((pte & PTE_ACCESS) / PTE_READ);
}

static inline bool pte_is_valid(uint64_t pte)
{
	return !((pte & PTE_PRESENT) && (pte & PTE_SWAPPED)) &&
	       ((pte & PTE_PRESENT) || !(pte & (PTE_ACCESS | PTE_DIRTY | PTE_PREFETCHED))) &&
	       (!(pte & PTE_EXPECTED) || (pte & (PTE_PRESENT | PTE_SWAPPED))) &&
	       (!(pte & PTE_WRITE) || (pte & PTE_DIRTY)) &&
	       (!(pte & PTE_PREFETCHED) || !(pte & PTE_ACCESS)) &&
	       (!(pte & PTE_FILE) || ((pte & PTE_PRESENT) && !(pte & PTE_DIRTY)));
}

/* What a reference would find: the check that the hardware makes. As on x86-64, what may be
 * written or executed may be read. */
static inline enum upage_cause pte_check(uint64_t pte, int access)
{
	if (!(pte & PTE_PRESENT))
		return UPAGE_CAUSE_NOT_MAPPED;
	uint64_t allowed = pte & PTE_ACCESS;
	if (allowed != 0)
		allowed |= PTE_READ;
	return (pte_access_of(access) & ~allowed) == 0 ? UPAGE_CAUSE_NONE : UPAGE_CAUSE_PROTECTION;
}

/* ---- The lock of a page -------------------------------------------------------------- */

static inline _Atomic uint32_t *pte_futex(pte_t *pte)
{
	return (_Atomic uint32_t *)(void *)pte; /* the low half: both machines are little-endian */
}

/* Returns whether the lock was free; *value is then the entry without LOCKED. */
static inline bool pte_trylock(pte_t *pte, uint64_t *value)
{
	*value = atomic_load(pte);
	while (!(*value & PTE_LOCKED))
		if (atomic_compare_exchange_weak(pte, value, *value | PTE_LOCKED))
			return true;
	return false;
}

/* Returns once the lock may be free. */
static inline void pte_wait(pte_t *pte)
{
	uint64_t value = atomic_load(pte);
	if (!(value & PTE_LOCKED))
		return;
	if (!(value & PTE_WAITERS) &&
	    !atomic_compare_exchange_strong(pte, &value, value | PTE_WAITERS))
		return;
	futex_wait(pte_futex(pte), (uint32_t)(value | PTE_WAITERS));
}

static inline uint64_t pte_lock(pte_t *pte)
{
	uint64_t value;
	while (!pte_trylock(pte, &value))
		pte_wait(pte);
	return value;
}

/* Publishes @value (without LOCKED and WAITERS) and lets the next one in. */
static inline void pte_unlock(pte_t *pte, uint64_t value)
{
	INVARIANT(pte_is_valid(value) && !(value & (PTE_LOCKED | PTE_WAITERS)));
	if (atomic_exchange(pte, value) & PTE_WAITERS)
		futex_wake(pte_futex(pte), INT_MAX);
}

/* Changes an entry whose lock is held and stays held. */
static inline void pte_set_locked(pte_t *pte, uint64_t value)
{
	uint64_t before = atomic_load(pte);
	while (!atomic_compare_exchange_weak(pte, &before,
	                                     value | PTE_LOCKED | (before & PTE_WAITERS)))
		;
}

/* ---- Neighbours ----------------------------------------------------------------------- */

/* Entries that lie beside each other in a leaf, or in a part of a larger one, by address. */
#define PAGE_TABLE_NODE_BITS 9
#define PAGE_TABLE_NODE_ENTRIES (1u << PAGE_TABLE_NODE_BITS)

static inline size_t pte_index(const pte_t *pte)
{
	return (uintptr_t)pte / sizeof(*pte) % PAGE_TABLE_NODE_ENTRIES;
}

/* The entries of the pages on both sides, as they are now. Beyond the leaf nothing is looked up:
 * there seems to be no page. */
static inline uint64_t pte_left(const pte_t *pte)
{
	return pte_index(pte) > 0 ? atomic_load(pte - 1) : 0;
}

static inline uint64_t pte_right(const pte_t *pte)
{
	return pte_index(pte) + 1 < PAGE_TABLE_NODE_ENTRIES ? atomic_load(pte + 1) : 0;
}

/* ---- The radix tree ------------------------------------------------------------------ */

#define PAGE_TABLE_LEVELS_MAX 5
#define PAGE_TABLE_BITS_MAX 52 /* of a page number */

/* Where nodes come from, shared by the tables of a pool. Each starts a page of its own. A node
 * that was given back waits for another of its size, and for a leaf if it was one. */
struct table_memory {
	void *(*allocate)(size_t bytes); /* zeroed, page aligned; NULL: none left */
	void (*release)(void *memory, size_t bytes);
	struct lock lock;             /* guards the rest                               */
	char *chunk;                  /* what is left of the newest chunk              */
	size_t chunk_left;            /* bytes                                         */
	void *chunks;                 /* list of all, by their first word              */
	void *free_nodes[2][PAGE_TABLE_BITS_MAX + 1]; /* [is a leaf][bits]: by the first word */
	size_t bytes;                 /* of nodes in use                               */
};

void table_memory_init(struct table_memory *memory, void *(*allocate)(size_t),
                       void (*release)(void *, size_t));
void table_memory_destroy(struct table_memory *memory);

struct page_table {
	struct translator translator; /* first: a page table is a translator          */
	struct table_memory *memory;
	unsigned vpn_bits;            /* pages: 2^vpn_bits                            */
	unsigned page_shift;          /* page size: 2^page_shift bytes                */
	unsigned levels;
	unsigned shift[PAGE_TABLE_LEVELS_MAX]; /* of the index of each level, root first */
	unsigned bits[PAGE_TABLE_LEVELS_MAX];
	_Atomic(void *) root;
};

/**
 * page_table_init - an empty table
 * @pages:  how many page numbers; rounded up to a power of two
 * @levels: 1 to PAGE_TABLE_LEVELS_MAX, the bits spread evenly; 0: nine bits a level
 * Return: 0, UPAGE_EINVAL (too many levels), UPAGE_ENOMEM.
 */
int page_table_init(struct page_table *table, struct table_memory *memory, uint64_t pages,
                    unsigned page_shift, unsigned levels);

/* Every entry must be zero. */
void page_table_destroy(struct page_table *table);

/* The entry of a page; NULL if its leaf was never made. O(levels). */
pte_t *page_table_walk(const struct page_table *table, upage_vpn vpn);

/* The same, making what is missing; NULL if there is no memory. */
pte_t *page_table_make(struct page_table *table, upage_vpn vpn);

/**
 * page_table_run - entries beside each other, for a pass over a range
 * @vpn:   in: where to look from; out: the first page of the run
 * @end:   past the last page
 * @count: out: entries in the run, to the end of the leaf or of the range
 * Return: the entry of *vpn, or NULL if no leaf of [*vpn, end) was ever made.
 * Cost: O(levels) a call; parts of the tree that were never made are stepped over whole.
 */
pte_t *page_table_run(const struct page_table *table, upage_vpn *vpn, upage_vpn end,
                      size_t *count);

/* Entries of a leaf: a run of page_table_run is inside one. */
static inline uint64_t page_table_leaf_pages(const struct page_table *table)
{
	return UINT64_C(1) << table->bits[table->levels - 1];
}

#endif
