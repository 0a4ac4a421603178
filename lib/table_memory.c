/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "table_memory.h"

#include "compiler.h"

#define CHUNK_BYTES ((size_t)1 << 20) /* address space; touched node by node */
#define NODE_ALIGNMENT 4096

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

void table_memory_destroy(struct table_memory *memory)
{
	for (unsigned i = 0; i < 2 * (TABLE_NODE_BITS_MAX + 1); i++) {
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

void *table_memory_node(struct table_memory *memory, unsigned bits, bool leaf)
{
	void *node;
	lock_acquire(&memory->lock);
	void **list = &memory->free_nodes[leaf][bits];
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

void table_memory_give_node(struct table_memory *memory, void *node, unsigned bits, bool leaf)
{
	lock_acquire(&memory->lock);
	void **list = &memory->free_nodes[leaf][bits];
	*(void **)node = *list;
	*list = node;
	memory->bytes -= node_bytes(bits);
	lock_release(&memory->lock);
}

void *table_memory_array(struct table_memory *memory, size_t bytes)
{
	lock_acquire(&memory->lock);
	void *array = memory->allocate(bytes);
	if (array != NULL)
		memory->bytes += bytes;
	lock_release(&memory->lock);
	return array;
}

void table_memory_give_array(struct table_memory *memory, void *array, size_t bytes)
{
	lock_acquire(&memory->lock);
	memory->release(array, bytes);
	memory->bytes -= bytes;
	lock_release(&memory->lock);
}
