/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inverted_table.h - one page table for all address spaces, as long as memory, not as they are
 *
 * An entry says whose page it is (ASID and VPN) and where. A hash of the two picks a bucket,
 * whose chain of entries is compared, one by one:
 *
 *      buckets[hash(asid, vpn)] -> entry -> entry -> end
 *
 * Entries are taken in order, then as they come free; there is one for each page that is in a
 * frame, so that a table needs as many as there are frames, and more only where spaces share
 * some.
 *
 * Invariants: an entry is in the chain of its hash or in the list of free ones; no two of a
 * chain have the same ASID and VPN; 2^bucket_bits >= capacity, so that chains are short.
 *
 * Locking: the caller's; looking up beside a change is not allowed. Signal context: yes, but
 * inverted_table_init and _destroy. Source: OSTEP ch. 20; Chang and Mergen, 801 Storage, 1988
 * (IBM System/38 and its successors).
 */
#ifndef UPAGE_INVERTED_TABLE_H
#define UPAGE_INVERTED_TABLE_H

#include "paging.h"
#include "table_memory.h"

struct inverted_entry {
	pte_t pte;
	upage_vpn vpn;
	uint32_t asid;
	uint32_t next; /* in its chain: number + 1; 0: it is the last */
};

struct inverted_table {
	struct table_memory *memory;
	uint32_t *buckets;              /* number + 1 of the first of a chain, or 0 */
	struct inverted_entry *entries; /* [capacity]                               */
	uint32_t capacity;
	uint32_t fresh;                 /* entries from here on were never used     */
	uint32_t free;                  /* number + 1 of one that was, or 0         */
	unsigned bucket_bits;           /* 2^bucket_bits buckets                    */
};

/* An address space in it. */
struct inverted_space {
	struct paging paging; /* first: it is a translator */
	const struct inverted_table *table;
	uint32_t asid;
};

/* @capacity: entries, 1 to 2^31. Return: 0, UPAGE_EINVAL, UPAGE_ENOMEM. */
int inverted_table_init(struct inverted_table *table, struct table_memory *memory, uint64_t capacity);
void inverted_table_destroy(struct inverted_table *table);

/* As paging_init, of which it has the errors. */
int inverted_space_init(struct inverted_space *space, const struct inverted_table *table,
                        uint32_t asid, uint64_t pages, unsigned page_shift);

/* The bucket of a page. */
uint32_t inverted_table_hash(const struct inverted_table *table, uint32_t asid, upage_vpn vpn);

/* The entry of a page, or NULL. O(1) on average. */
pte_t *inverted_table_find(const struct inverted_table *table, uint32_t asid, upage_vpn vpn);

/* The same, taking a zero one if there is none; NULL if all are in use. */
pte_t *inverted_table_make(struct inverted_table *table, uint32_t asid, upage_vpn vpn);

/* Frees the entry of a page, which has one. */
void inverted_table_remove(struct inverted_table *table, uint32_t asid, upage_vpn vpn);

#endif
