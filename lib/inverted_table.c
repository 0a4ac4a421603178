/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "inverted_table.h"

#define CAPACITY_MAX (UINT64_C(1) << 31)

static pte_t *find(const struct paging *paging, upage_vpn vpn)
{
	const struct inverted_space *space = (const struct inverted_space *)paging;
	return inverted_table_find(space->table, space->asid, vpn);
}

static enum upage_cause inverted_table_translate(const struct translator *translator, uint64_t address,
                                                 int access, uint64_t *physical)
{
	return paging_translate(translator, address, access, physical, find);
}

static const struct translator_ops inverted_ops = { "inverted", inverted_table_translate };

static size_t buckets_bytes(const struct inverted_table *table)
{
	return sizeof(*table->buckets) << table->bucket_bits;
}

static size_t entries_bytes(const struct inverted_table *table)
{
	return sizeof(*table->entries) * table->capacity;
}

int inverted_table_init(struct inverted_table *table, struct table_memory *memory, uint64_t capacity)
{
	if (capacity == 0 || capacity > CAPACITY_MAX)
		return UPAGE_EINVAL;
	*table = (struct inverted_table){ .memory = memory,
		                          .capacity = (uint32_t)capacity,
		                          .bucket_bits = log2_ceiling(capacity) };
	table->buckets = table_memory_array(memory, buckets_bytes(table));
	if (table->buckets == NULL)
		return UPAGE_ENOMEM;
	table->entries = table_memory_array(memory, entries_bytes(table));
	if (table->entries != NULL)
		return 0;
	table_memory_give_array(memory, table->buckets, buckets_bytes(table));
	return UPAGE_ENOMEM;
}

void inverted_table_destroy(struct inverted_table *table)
{
	table_memory_give_array(table->memory, table->entries, entries_bytes(table));
	table_memory_give_array(table->memory, table->buckets, buckets_bytes(table));
}

int inverted_space_init(struct inverted_space *space, const struct inverted_table *table,
                        uint32_t asid, uint64_t pages, unsigned page_shift)
{
	int result = paging_init(&space->paging, &inverted_ops, pages, page_shift);
	if (result < 0)
		return result;
	space->table = table;
	space->asid = asid;
	return 0;
}

/* Multiplicative hashing (Knuth, vol. 3, 6.4), twice: the top bits of a product depend on all of
 * what was multiplied, but for pages a large power of two apart one product is not even enough. */
uint32_t inverted_table_hash(const struct inverted_table *table, uint32_t asid, upage_vpn vpn)
{
	const uint64_t golden = 0x9e3779b97f4a7c15u;
	uint64_t mixed = (vpn + asid * UINT64_C(0xbf58476d1ce4e5b9)) * golden;
	mixed = (mixed ^ mixed >> 32) * golden;
	return (uint32_t)(mixed >> 32 >> (32 - table->bucket_bits));
}

/* Where the number of a page's entry stands, or, of one that has none, the end of its chain. */
static uint32_t *link_to(const struct inverted_table *table, uint32_t asid, upage_vpn vpn)
{
	uint32_t *link = &table->buckets[inverted_table_hash(table, asid, vpn)];
	while (*link != 0) {
		struct inverted_entry *entry = &table->entries[*link - 1];
		if (entry->vpn == vpn && entry->asid == asid)
			break;
		link = &entry->next;
	}
	return link;
}

pte_t *inverted_table_find(const struct inverted_table *table, uint32_t asid, upage_vpn vpn)
{
	uint32_t number = *link_to(table, asid, vpn);
	return number != 0 ? &table->entries[number - 1].pte : NULL;
}

pte_t *inverted_table_make(struct inverted_table *table, uint32_t asid, upage_vpn vpn)
{
	uint32_t *link = link_to(table, asid, vpn);
	if (*link != 0)
		return &table->entries[*link - 1].pte;
	if (table->free != 0) {
		*link = table->free;
		table->free = table->entries[*link - 1].next;
	} else if (table->fresh < table->capacity) {
		*link = ++table->fresh;
	} else {
		return NULL;
	}
	struct inverted_entry *entry = &table->entries[*link - 1];
	*entry = (struct inverted_entry){ .vpn = vpn, .asid = asid };
	return &entry->pte;
}

void inverted_table_remove(struct inverted_table *table, uint32_t asid, upage_vpn vpn)
{
	uint32_t *link = link_to(table, asid, vpn), number = *link;
	INVARIANT(number != 0);
	struct inverted_entry *entry = &table->entries[number - 1];
	*link = entry->next;
	entry->next = table->free;
	table->free = number;
}
