/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "page_table.h"

static void *node_allocate(const struct page_table *table, unsigned level)
{
	return table_memory_node(table->memory, table->bits[level], level == table->levels - 1);
}

static void node_release(const struct page_table *table, unsigned level, void *node)
{
	table_memory_give_node(table->memory, node, table->bits[level], level == table->levels - 1);
}

static pte_t *find(const struct paging *paging, upage_vpn vpn)
{
	return page_table_walk((const struct page_table *)paging, vpn);
}

static enum upage_cause page_table_translate(const struct translator *translator, uint64_t address,
                                             int access, uint64_t *physical)
{
	return paging_translate(translator, address, access, physical, find);
}

static const struct translator_ops radix_ops = { "radix", page_table_translate };

int page_table_init(struct page_table *table, struct table_memory *memory, uint64_t pages,
                    unsigned page_shift, unsigned levels)
{
	unsigned vpn_bits = log2_ceiling(pages);
	if (vpn_bits == 0)
		vpn_bits = 1;
	if (vpn_bits > PAGE_TABLE_BITS_MAX)
		return UPAGE_EINVAL;
	bool automatic = levels == 0;
	if (automatic)
		levels = (vpn_bits + PAGE_TABLE_NODE_BITS - 1) / PAGE_TABLE_NODE_BITS;
	if (levels > PAGE_TABLE_LEVELS_MAX || levels > vpn_bits)
		return UPAGE_EINVAL;
	*table = (struct page_table){ .memory = memory, .vpn_bits = vpn_bits, .levels = levels };
	int result = paging_init(&table->paging, &radix_ops, pages, page_shift);
	if (result < 0)
		return result;
	/* From the leaves up: nine bits, or an even share of what is left. */
	unsigned shift = 0;
	for (unsigned level = levels; level-- > 0;) {
		unsigned left = vpn_bits - shift;
		unsigned bits = automatic ? PAGE_TABLE_NODE_BITS : left / (level + 1);
		if (level == 0 || bits > left)
			bits = left;
		table->bits[level] = bits;
		table->shift[level] = shift;
		shift += bits;
	}
	void *root = node_allocate(table, 0);
	if (root == NULL)
		return UPAGE_ENOMEM;
	atomic_store(&table->root, root);
	return 0;
}

static void subtree_release(const struct page_table *table, unsigned level, void *node)
{
	if (level < table->levels - 1) {
		void **children = node;
		for (size_t i = 0; i < (size_t)1 << table->bits[level]; i++) {
			if (children[i] == NULL)
				continue;
			subtree_release(table, level + 1, children[i]);
			children[i] = NULL;
		}
	}
	node_release(table, level, node);
}

void page_table_destroy(struct page_table *table)
{
	void *root = atomic_exchange(&table->root, NULL);
	if (root != NULL)
		subtree_release(table, 0, root);
}

/* Goes down as far as there are nodes. Return: the leaf, or NULL; *level: of the leaf, or of the
 * first node that is missing. */
static inline void *descend(const struct page_table *table, upage_vpn vpn, unsigned *level)
{
	void *node = atomic_load(&table->root);
	*level = 0;
	while (*level < table->levels - 1 && node != NULL) {
		_Atomic(void *) *children = node;
		node = atomic_load(&children[page_table_index(table, *level, vpn)]);
		++*level;
	}
	return node;
}

pte_t *page_table_walk(const struct page_table *table, upage_vpn vpn)
{
	INVARIANT(vpn >> table->vpn_bits == 0);
	unsigned level;
	void *leaf = descend(table, vpn, &level);
	return leaf != NULL ? (pte_t *)leaf + page_table_index(table, level, vpn) : NULL;
}

unsigned page_table_depth(const struct page_table *table, upage_vpn vpn)
{
	unsigned level;
	const void *leaf = descend(table, vpn, &level);
	return leaf != NULL ? level + 1 : level;
}

pte_t *page_table_make(struct page_table *table, upage_vpn vpn)
{
	INVARIANT(vpn >> table->vpn_bits == 0);
	void *node = atomic_load(&table->root);
	for (unsigned level = 0; level < table->levels - 1; level++) {
		_Atomic(void *) *child = (_Atomic(void *) *)node + page_table_index(table, level, vpn);
		node = atomic_load(child);
		if (node != NULL)
			continue;
		void *made = node_allocate(table, level + 1);
		if (made == NULL)
			return NULL;
		if (atomic_compare_exchange_strong(child, &node, made))
			node = made;
		else
			node_release(table, level + 1, made);
	}
	return (pte_t *)node + page_table_index(table, table->levels - 1, vpn);
}

/* The first child from that of *@at on, which moves to its beginning; NULL: behind the node. */
static void *next_child(const struct page_table *table, unsigned level, void *node, upage_vpn *at)
{
	_Atomic(void *) *children = node;
	size_t first = page_table_index(table, level, *at), i = first;
	void *child = NULL;
	for (; i < (size_t)1 << table->bits[level]; i++)
		if ((child = atomic_load(&children[i])) != NULL)
			break;
	if (i > first)
		*at = ((*at >> table->shift[level]) + (i - first)) << table->shift[level];
	return child;
}

pte_t *page_table_run(const struct page_table *table, upage_vpn *vpn, upage_vpn end, size_t *count)
{
	upage_vpn at = *vpn;
	while (at < end) {
		unsigned level = 0;
		void *node = atomic_load(&table->root);
		if (node == NULL)
			break;
		for (; level < table->levels - 1 && node != NULL; level++)
			node = next_child(table, level, node, &at);
		if (node == NULL || at >= end)
			continue;
		upage_vpn next = (at | ((UINT64_C(1) << table->bits[level]) - 1)) + 1;
		*vpn = at;
		*count = (size_t)((next < end ? next : end) - at);
		return (pte_t *)node + page_table_index(table, level, at);
	}
	return NULL;
}
