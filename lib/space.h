/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * space.h - an address space: its reserved range, its mappings, the look-up by address
 *
 * Mappings are a sorted array without gaps in memory (there may be gaps in addresses):
 *
 *      base <= mapping[i].start < mapping[i].end <= mapping[i + 1].start,  end <= base + length
 *
 * all page multiples (space_is_valid). Neighbours that agree in everything are joined.
 * The array has address space for as many mappings as a process may have, and takes memory
 * as it grows, so that it never moves under a reader.
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

#include "page_table.h"
#include "pager.h"

#define MAPPINGS_MAX (1u << 20)

struct mapping {
	uintptr_t start, end; /* [start, end) */
	int prot;             /* as asked for */
	enum upage_advice advice; /* normal, sequential or random */
	bool committed;           /* room for it was promised: it is, or was, private and writable */
	struct backing *backing;
};

struct upage_space {
	_Atomic uintptr_t base;   /* 0: not in use */
	_Atomic size_t length;    /* bytes */
	upage_pool *pool;
	struct page_table table;
	struct rwlock lock;
	struct mapping *mappings; /* [count] */
	size_t count;
	struct backing *anonymous; /* of all anonymous mappings */
	_Atomic unsigned heaps;   /* that live here */
	uint64_t process;         /* that made it; see space_is_lost()           */
};

/* The space that has @address in its range, or NULL. */
upage_space *space_find(uintptr_t address);

enum fault_outcome {
	FAULT_SERVED,
	FAULT_BOUNDS,     /* in no mapping: the program's own */
	FAULT_PROTECTION, /* against the mapping's protection: the program's own */
	FAULT_PAST_END,   /* past the end of a mapped file: the program's own, SIGBUS */
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

/* The mapping nearest to an address, for reports. Return: whether there is any. */
bool space_nearest(upage_space *space, uintptr_t address, uintptr_t *start, uintptr_t *end);

/* Anonymous, readable and writable pages that are told apart by their backing, for a heap:
 * upage_map() with UPAGE_MAP_FIXED or 0, and the end of all of them at once (0, or UPAGE_EBUSY
 * if one is pinned: all are there still). @length: pages. Not in signal context. */
int space_map_backing(upage_space *space, void **address, size_t length, unsigned flags,
                      struct backing *backing);
int space_unmap_backing(upage_space *space, const struct backing *backing);

/* The pages of all spaces of a pool, counted from their page tables while nothing runs. */
struct space_pages {
	uint64_t present, swapped, seams, committed;
};
/* Return: whether every PTE and every array of mappings is valid. */
bool space_count_pages(upage_pool *pool, struct space_pages *pages);

/* Whether we are the child of a fork: the memory behind @space is the parent's, and nothing of
 * it is served here. The word of host_fork_word() says so before any code of the child runs. */
bool space_is_lost(const upage_space *space);

/* In the child of a fork: hide what the parent's spaces showed. */
void space_hide_all(void);

#endif
