/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "paging.h"

int paging_init(struct paging *paging, const struct translator_ops *ops, uint64_t pages,
                unsigned page_shift)
{
	if (pages == 0 || page_shift >= 64 || pages - 1 > UINT64_MAX >> page_shift)
		return UPAGE_EINVAL;
	/* Not pages << page_shift, less 1: a space may have all addresses there are. */
	*paging = (struct paging){ .translator = { ops },
		                   .last = (pages - 1) << page_shift |
		                           ((UINT64_C(1) << page_shift) - 1),
		                   .page_shift = page_shift };
	return 0;
}
