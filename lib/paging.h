/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * paging.h - translation page by page, whatever the page table
 *
 *      address  = VPN x page size + offset      offset: the low page_shift bits
 *      entry    = what the table has for the VPN in this address space
 *      physical = PFN x page size + offset      PFN: the entry's number
 *
 * A page table (linear_table, page_table, inverted_table) only says where the entry of a page
 * is; all else is written here, once. Each address space has a struct paging: alone it has a
 * linear table or a tree, while all share an inverted table, in which it is known by its ASID.
 *
 * Locking: none; an entry is one atomic word. Signal context: yes. Source: OSTEP ch. 18 and 20.
 */
#ifndef UPAGE_PAGING_H
#define UPAGE_PAGING_H

#include "pte.h"
#include "translate.h"

struct paging {
	struct translator translator; /* first: it is a translator     */
	uint64_t last;                /* address of the space          */
	unsigned page_shift;          /* page size: 2^page_shift bytes */
};

/**
 * paging_init - a space of @pages pages of 2^page_shift bytes, page_shift < 64
 * Return: 0, UPAGE_EINVAL (no pages, or addresses of more than 64 bits).
 */
int paging_init(struct paging *paging, const struct translator_ops *ops, uint64_t pages,
                unsigned page_shift);

/* What a page table does: the entry of a page of this space, or NULL if it has none. */
typedef pte_t *paging_find(const struct paging *, upage_vpn vpn);

static inline upage_vpn paging_vpn(const struct paging *paging, uint64_t address)
{
	return address >> paging->page_shift;
}

static inline uint64_t paging_offset(const struct paging *paging, uint64_t address)
{
	return address & ((UINT64_C(1) << paging->page_shift) - 1);
}

/* The translation of every table, into which the compiler puts the table's own @find. */
static inline enum upage_cause paging_translate(const struct translator *translator, uint64_t address,
                                                int access, uint64_t *physical, paging_find *find)
{
	const struct paging *paging = (const struct paging *)translator;
	if (address > paging->last)
		return UPAGE_CAUSE_BOUNDS;
	const pte_t *pte = find(paging, paging_vpn(paging, address));
	if (pte == NULL)
		return UPAGE_CAUSE_NOT_MAPPED;
	uint64_t value = atomic_load(pte);
	enum upage_cause cause = pte_check(value, access);
	if (cause == UPAGE_CAUSE_NONE)
		*physical = pte_number(value) << paging->page_shift | paging_offset(paging, address);
	return cause;
}

static inline upage_vpn paging_last_vpn(const struct paging *paging)
{
	return paging_vpn(paging, paging->last);
}

#endif
