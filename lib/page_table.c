/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "page_table.h"

#define CHUNK_BYTES (1u << 20) /* address space; touched node by node */

/* ---- Memory of nodes ----------------------------------------------------------------- */

void table_memory_init(struct table_memory *memory, void *(*allocate)(size_t),
                       void (*release)(void *, size_t))
{
	*memory = (struct table_memory){ .allocate = allocate, .release = release };
}

void table_memory_destroy(struct table_memory *memory)
{
	while (memory->chunks != NULL) {
		void *next = *(void **)memory->chunks;
		memory->release(memory->chunks, CHUNK_BYTES);
		memory->chunks = next;
	}
}

static size_t node_bytes(const struct page_table *table, unsigned level)
{
	return sizeof(uint64_t) << table->bits[level];
}

/* Nodes of the usual size come from chunks and lists; a flat table's huge ones from the host. */
static bool node_is_listed(const struct page_table *table, unsigned level)
{
	return table->bits[level] == PAGE_TABLE_NODE_BITS;
}

static void **free_list(const struct page_table *table, unsigned level)
{
	bool leaf = level == table->levels - 1;
	return leaf ? &table->memory->free_leaves : &table->memory->free_nodes;
}

static void *chunk_take(struct table_memory *memory, size_t bytes)
{
	if (memory->chunk_left < bytes) {
		void **chunk = memory->allocate(CHUNK_BYTES);
		if (chunk == NULL)
			return NULL;
		/* The link takes the place of a node, which keeps nodes on page bounds. */
		*chunk = memory->chunks;
		memory->chunks = chunk;
		memory->chunk = (char *)chunk + bytes;
		memory->chunk_left = CHUNK_BYTES - bytes;
	}
	void *node = memory->chunk;
	memory->chunk += bytes;
	memory->chunk_left -= bytes;
	return node;
}

static void *node_allocate(const struct page_table *table, unsigned level)
{
	struct table_memory *memory = table->memory;
	size_t bytes = node_bytes(table, level);
	void *node;
	lock_acquire(&memory->lock);
	if (!node_is_listed(table, level)) {
		node = memory->allocate(round_up(bytes, 4096));
	} else if (*free_list(table, level) != NULL) {
		node = *free_list(table, level);
		*free_list(table, level) = *(void **)node;
		*(void **)node = NULL;
	} else {
		node = chunk_take(memory, bytes);
	}
	if (node != NULL)
		memory->bytes += bytes;
	lock_release(&memory->lock);
	return node;
}

/* The node must be all zero. */
static void node_release(const struct page_table *table, unsigned level, void *node)
{
	struct table_memory *memory = table->memory;
	size_t bytes = node_bytes(table, level);
	lock_acquire(&memory->lock);
	if (node_is_listed(table, level)) {
		*(void **)node = *free_list(table, level);
		*free_list(table, level) = node;
	} else {
		memory->release(node, round_up(bytes, 4096));
	}
	memory->bytes -= bytes;
	lock_release(&memory->lock);
}

/* ---- The tree ------------------------------------------------------------------------ */

static enum upage_cause page_table_translate(const struct translator *translator,
                                             uint64_t address, int access, uint64_t *physical)
{
	const struct page_table *table = (const struct page_table *)translator;
	upage_vpn vpn = address >> table->page_shift;
	if (vpn >> table->vpn_bits != 0)
		return UPAGE_CAUSE_BOUNDS;
	const pte_t *pte = page_table_walk(table, vpn);
	if (pte == NULL)
		return UPAGE_CAUSE_NOT_MAPPED;
	uint64_t value = atomic_load(pte);
	enum upage_cause cause = pte_check(value, access);
	if (cause == UPAGE_CAUSE_NONE) {
		uint64_t offset = address & ((UINT64_C(1) << table->page_shift) - 1);
		*physical = pte_number(value) << table->page_shift | offset;
	}
	return cause;
}

static const struct translator_ops radix_ops = { "radix", page_table_translate };

int page_table_init(struct page_table *table, struct table_memory *memory, uint64_t pages,
                    unsigned page_shift, unsigned levels)
{
	unsigned vpn_bits = log2_ceiling(pages);
	if (vpn_bits == 0)
		vpn_bits = 1;
	bool automatic = levels == 0;
	if (automatic)
		levels = (vpn_bits + PAGE_TABLE_NODE_BITS - 1) / PAGE_TABLE_NODE_BITS;
	if (levels > PAGE_TABLE_LEVELS_MAX || levels > vpn_bits)
		return UPAGE_EINVAL;
	*table = (struct page_table){ .translator = { &radix_ops },
		                      .memory = memory,
		                      .vpn_bits = vpn_bits,
		                      .page_shift = page_shift,
		                      .levels = levels };
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

static size_t node_index(const struct page_table *table, unsigned level, upage_vpn vpn)
{
	return (vpn >> table->shift[level]) & ((UINT64_C(1) << table->bits[level]) - 1);
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

pte_t *page_table_walk(const struct page_table *table, upage_vpn vpn)
{
	INVARIANT(vpn >> table->vpn_bits == 0);
	void *node = atomic_load(&table->root);
	for (unsigned level = 0; level < table->levels - 1; level++) {
		_Atomic(void *) *children = node;
		node = atomic_load(&children[node_index(table, level, vpn)]);
		if (node == NULL)
			return NULL;
	}
	return (pte_t *)node + node_index(table, table->levels - 1, vpn);
}

pte_t *page_table_make(struct page_table *table, upage_vpn vpn)
{
	INVARIANT(vpn >> table->vpn_bits == 0);
	void *node = atomic_load(&table->root);
	for (unsigned level = 0; level < table->levels - 1; level++) {
		_Atomic(void *) *child = (_Atomic(void *) *)node + node_index(table, level, vpn);
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
	return (pte_t *)node + node_index(table, table->levels - 1, vpn);
}

pte_t *page_table_run(const struct page_table *table, upage_vpn *vpn, upage_vpn end, size_t *count)
{
	upage_vpn at = *vpn;
	while (at < end) {
		void *node = atomic_load(&table->root);
		unsigned level = 0;
		while (level < table->levels - 1 && node != NULL) {
			_Atomic(void *) *children = node;
			node = atomic_load(&children[node_index(table, level, at)]);
			level++;
		}
		/* The part of the page numbers that this node, or its absence, stands for. */
		unsigned covered = node != NULL || level == 0 ? table->shift[level] + table->bits[level]
		                                              : table->shift[level - 1];
		upage_vpn next = (at | ((UINT64_C(1) << covered) - 1)) + 1;
		if (node != NULL) {
			*vpn = at;
			*count = (size_t)((next < end ? next : end) - at);
			return (pte_t *)node + node_index(table, level, at);
		}
		at = next;
	}
	return NULL;
}
