/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * linear_table.h - the page table that is an array: the entry of a page is the one with its VPN
 *
 * One load a look-up; memory for every page that a space could have, used or not.
 *
 * Locking: none. Signal context: yes, but linear_table_init and _destroy, after which no entry
 * may be looked at. Source: OSTEP ch. 18.
 */
#ifndef UPAGE_LINEAR_TABLE_H
#define UPAGE_LINEAR_TABLE_H

#include "paging.h"
#include "table_memory.h"

struct linear_table {
	struct paging paging; /* first: a page table is a translator */
	struct table_memory *memory;
	pte_t *entries;       /* by VPN                              */
};

/**
 * linear_table_init - an empty table of @pages pages of 2^page_shift bytes
 * Return: 0, UPAGE_EINVAL (as paging_init; or an array longer than addresses are), UPAGE_ENOMEM.
 */
int linear_table_init(struct linear_table *table, struct table_memory *memory, uint64_t pages,
                      unsigned page_shift);
void linear_table_destroy(struct linear_table *table);

static inline pte_t *linear_table_entry(const struct linear_table *table, upage_vpn vpn)
{
	INVARIANT(vpn <= paging_last_vpn(&table->paging));
	return &table->entries[vpn];
}

#endif
