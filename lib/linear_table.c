/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "linear_table.h"

static pte_t *find(const struct paging *paging, upage_vpn vpn)
{
	return linear_table_entry((const struct linear_table *)paging, vpn);
}

static enum upage_cause linear_table_translate(const struct translator *translator, uint64_t address,
                                               int access, uint64_t *physical)
{
	return paging_translate(translator, address, access, physical, find);
}

static const struct translator_ops linear_ops = { "linear", linear_table_translate };

int linear_table_init(struct linear_table *table, struct table_memory *memory, uint64_t pages,
                      unsigned page_shift)
{
	int result = paging_init(&table->paging, &linear_ops, pages, page_shift);
	if (result == 0 && pages > SIZE_MAX / sizeof(pte_t))
		result = UPAGE_EINVAL;
	if (result < 0)
		return result;
	table->memory = memory;
	table->entries = table_memory_array(memory, pages * sizeof(pte_t));
	return table->entries != NULL ? 0 : UPAGE_ENOMEM;
}

void linear_table_destroy(struct linear_table *table)
{
	table_memory_give_array(table->memory, table->entries,
	                        (paging_last_vpn(&table->paging) + 1) * sizeof(pte_t));
}
