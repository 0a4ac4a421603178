/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "page_table.h"

#define CHUNK_BYTES ((size_t)1 << 20) /* address space; touched node by node */
#define NODE_ALIGNMENT 4096

/* ---- Memory of nodes ----------------------------------------------------------------- */

void table_memory_init(struct table_memory *memory, void *(*allocate)(size_t),
                       void (*release)(void *, size_t))
{
	*memory = (struct table_memory){ .allocate = allocate, .release = release };
}

static size_t node_bytes(unsigned bits)
{
	return sizeof(uint64_t) << bits;
}

/* What a node takes: whole pages, so that entries of two nodes never share one. */
static size_t node_room(unsigned bits)
{
	return round_up(node_bytes(bits), NODE_ALIGNMENT);
}

/* Small nodes come from chunks, a flat table's huge ones from the host. */
static bool node_is_huge(unsigned bits)
{
	return node_room(bits) > CHUNK_BYTES / 16;
}

/* All nodes were given back before. */
void table_memory_destroy(struct table_memory *memory)
{
	for (unsigned i = 0; i < 2 * (PAGE_TABLE_BITS_MAX + 1); i++) {
		unsigned bits = i / 2;
		void **list = &memory->free_nodes[i % 2][bits];
		while (node_is_huge(bits) && *list != NULL) {
			void *node = *list;
			*list = *(void **)node;
			memory->release(node, node_room(bits));
		}
	}
	while (memory->chunks != NULL) {
		void *next = *(void **)memory->chunks;
		memory->release(memory->chunks, CHUNK_BYTES);
		memory->chunks = next;
	}
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
	void **node = (void **)(void *)memory->chunk;
	*node = NULL; /* to read it first would take the host two faults */
	memory->chunk += bytes;
	memory->chunk_left -= bytes;
	return node;
}

static void **free_list(const struct page_table *table, unsigned level)
{
	return &table->memory->free_nodes[level == table->levels - 1][table->bits[level]];
}

static void *node_allocate(const struct page_table *table, unsigned level)
{
	struct table_memory *memory = table->memory;
	unsigned bits = table->bits[level];
	void *node;
	lock_acquire(&memory->lock);
	void **list = free_list(table, level);
	if (*list != NULL) {
		node = *list;
		*list = *(void **)node;
		*(void **)node = NULL;
	} else if (node_is_huge(bits)) {
		node = memory->allocate(node_room(bits));
	} else {
		node = chunk_take(memory, node_room(bits));
	}
	if (node != NULL)
		memory->bytes += node_bytes(bits);
	lock_release(&memory->lock);
	return node;
}

/* The node must be all zero. It is kept: a stale pointer to an entry may still be read. */
static void node_release(const struct page_table *table, unsigned level, void *node)
{
	struct table_memory *memory = table->memory;
	lock_acquire(&memory->lock);
	void **list = free_list(table, level);
	*(void **)node = *list;
	*list = node;
	memory->bytes -= node_bytes(table->bits[level]);
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
	if (vpn_bits > PAGE_TABLE_BITS_MAX)
		return UPAGE_EINVAL;
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

/* The first child from that of *@at on, which moves to its beginning; NULL: behind the node. */
static void *next_child(const struct page_table *table, unsigned level, void *node, upage_vpn *at)
{
	_Atomic(void *) *children = node;
	size_t first = node_index(table, level, *at), i = first;
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
		return (pte_t *)node + node_index(table, level, at);
	}
	return NULL;
}
