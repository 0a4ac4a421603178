/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "paging.h"

int paging_init(struct paging *paging, const struct translator_ops *ops,
                pte_t *(*find)(const struct paging *, upage_vpn), uint64_t pages,
                unsigned page_shift)
{
	if (pages == 0 || page_shift >= 64 || pages - 1 > UINT64_MAX >> page_shift)
		return UPAGE_EINVAL;
	*paging = (struct paging){ .translator = { ops }, .find = find, .page_shift = page_shift };
	/* Not pages << page_shift, less 1: a space may have all addresses there are. */
	paging->last = (pages - 1) << page_shift | ((UINT64_C(1) << page_shift) - 1);
	return 0;
}

enum upage_cause paging_translate(const struct translator *translator, uint64_t address, int access,
                                  uint64_t *physical)
{
	const struct paging *paging = (const struct paging *)translator;
	if (address > paging->last)
		return UPAGE_CAUSE_BOUNDS;
	const pte_t *pte = paging->find(paging, paging_vpn(paging, address));
	if (pte == NULL)
		return UPAGE_CAUSE_NOT_MAPPED;
	uint64_t value = atomic_load(pte);
	enum upage_cause cause = pte_check(value, access);
	if (cause == UPAGE_CAUSE_NONE)
		*physical = pte_number(value) << paging->page_shift | paging_offset(paging, address);
	return cause;
}
