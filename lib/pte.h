/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pte.h - page-table entries, whatever table they are in
 *
 * A PTE is one atomic word:
 *
 *      63            24 23 12   11    10    9     8      7      6      5   4   3    2       1       0
 *     |  frame or slot |  0  |SHARED| FILE| EXP | PREF |DIRTY|SWAPPED|   X   W   R |PRESENT|WAITERS| LOCKED |
 *
 *   PRESENT            the page is resident, the number is its frame
 *   SWAPPED            it is not, the number is its slot in swap
 *   neither            its content is its mapping's: zero, or what the store has
 *   R W X              what the host's mapping of the page allows now. Resident and none of
 *                      them: access is revoked, until a soft fault ends it
 *   DIRTY              the frame differs from the slot or store
 *   PREFETCHED         brought in with another page, or ahead of its first reference; and none has been seen yet
 *   EXPECTED           it was written to when it was last resident, so it will be again: it is
 *                      shown writable, and DIRTY, when it is read. Until it leaves, and is
 *                      compared with its slot, nobody knows whether it was written to
 *   FILE               what is shown is the host's own page of the file: nobody has written to
 *                      it, and the frame, which is taken all the same, has no content
 *   SHARED             other pages may be in the same frame (share.h): before this one is written
 *                      to, it gets one of its own
 *   LOCKED             one thread works on this page and no other changes anything of it
 *   WAITERS            somebody waits on a futex for the end of LOCKED
 *
 * Invariants (pte_is_valid):  not (PRESENT and SWAPPED);  R, W, X, DIRTY, PREFETCHED imply
 * PRESENT;  EXPECTED implies PRESENT or SWAPPED;  W implies DIRTY;  FILE implies PRESENT and not
 * DIRTY;  SHARED implies PRESENT, and none of W, EXPECTED and FILE.
 *
 * Locking: LOCKED. Signal context: yes.
 * Source: OSTEP ch. 18; Intel SDM vol. 3 ch. 4 for the form of an entry.
 */
#ifndef UPAGE_PTE_H
#define UPAGE_PTE_H

#include <limits.h>
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
#define PTE_SHARED (1u << 11)
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

static inline uint64_t pte_with_number(uint64_t pte, uint64_t number)
{
	return pte_make(number, pte & ((UINT64_C(1) << PTE_NUMBER_SHIFT) - 1));
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
	       (!(pte & PTE_FILE) || ((pte & PTE_PRESENT) && !(pte & PTE_DIRTY))) &&
	       (!(pte & PTE_SHARED) ||
	        ((pte & PTE_PRESENT) && !(pte & (PTE_WRITE | PTE_EXPECTED | PTE_FILE))));
}

/* What the entry of a page becomes whose content was read in ahead. One that is dirty at once, since its slot is
 * others' too, would look like one that came as zeros and was written to: that is how writeback.c knows of those. */
static inline uint64_t pte_prefetched(uint64_t pte)
{
	return pte & PTE_DIRTY ? pte : pte | PTE_PREFETCHED;
}

/* An entry whose lock is held, without the bits of that. */
static inline uint64_t pte_value(const pte_t *pte)
{
	return atomic_load(pte) & ~(uint64_t)(PTE_LOCKED | PTE_WAITERS);
}

/* What a reference would find: the check that the hardware makes. */
static inline enum upage_cause pte_check(uint64_t pte, int access)
{
	return pte & PTE_PRESENT ? translate_check(pte_prot(pte), access) : UPAGE_CAUSE_NOT_MAPPED;
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
	for (unsigned looks = 0; looks < LOCK_LOOKS && (value & PTE_LOCKED); looks++) {
		lock_pause();
		value = atomic_load_explicit(pte, memory_order_relaxed);
	}
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
 * there seems to be no page; nor is there behind one that has fewer entries, where all is zero for ever. */
static inline uint64_t pte_left(const pte_t *pte)
{
	return pte_index(pte) > 0 ? atomic_load(pte - 1) : 0;
}

static inline uint64_t pte_right(const pte_t *pte)
{
	return pte_index(pte) + 1 < PAGE_TABLE_NODE_ENTRIES ? atomic_load(pte + 1) : 0;
}

#endif
