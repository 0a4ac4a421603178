/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * page_table.h - the page table that is a radix tree: the pager's
 *
 * `levels` levels, the root's index from the top bits of the page number, each node an array of
 * 2^bits words. Nodes are made by whoever needs them first (compare and swap) and live as long as
 * the table; what becomes of them then is said in table_memory.h.
 *
 * Locking: walks take none. Signal context: yes, but page_table_init and _destroy.
 * Source: OSTEP ch. 20.
 */
#ifndef UPAGE_PAGE_TABLE_H
#define UPAGE_PAGE_TABLE_H

#include "paging.h"
#include "table_memory.h"

#define PAGE_TABLE_LEVELS_MAX 5
#define PAGE_TABLE_BITS_MAX TABLE_NODE_BITS_MAX /* of a page number */

struct page_table {
	struct paging paging; /* first: a page table is a translator */
	struct table_memory *memory;
	unsigned vpn_bits;    /* of the indices together: room for 2^vpn_bits pages */
	unsigned levels;
	unsigned shift[PAGE_TABLE_LEVELS_MAX]; /* of the index of each level, root first */
	unsigned bits[PAGE_TABLE_LEVELS_MAX];
	_Atomic(void *) root;
};

/**
 * page_table_init - an empty table
 * @pages:  how many pages; the tree has room for the next power of two
 * @levels: 1 to PAGE_TABLE_LEVELS_MAX, the bits spread evenly; 0: nine bits a level
 * Return: 0, UPAGE_EINVAL (as paging_init; or too many levels), UPAGE_ENOMEM.
 */
int page_table_init(struct page_table *table, struct table_memory *memory, uint64_t pages,
                    unsigned page_shift, unsigned levels);

/* Every entry must be zero. */
void page_table_destroy(struct page_table *table);

/* The entry of a page; NULL if its leaf was never made. O(levels). */
pte_t *page_table_walk(const struct page_table *table, upage_vpn vpn);

/* How many nodes there are on the way to the entry of a page: table->levels if it has one. */
unsigned page_table_depth(const struct page_table *table, upage_vpn vpn);

/* The entry of a page, making what is missing; NULL if there is no memory. */
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

/* Which word of its node at @level leads to a page. */
static inline size_t page_table_index(const struct page_table *table, unsigned level, upage_vpn vpn)
{
	return (vpn >> table->shift[level]) & ((UINT64_C(1) << table->bits[level]) - 1);
}

/* Entries of a leaf: a run of page_table_run is inside one. */
static inline uint64_t page_table_leaf_pages(const struct page_table *table)
{
	return UINT64_C(1) << table->bits[table->levels - 1];
}

#endif
