/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * table_memory.h - where the memory of page tables comes from, and how much of it there is
 *
 * Nodes of trees are arrays of 2^bits words, each of which starts a page of its own. A node that
 * was given back waits for another of its size, and for a leaf if it was one: leaves are never
 * used as anything else, in the whole life of a pool, so that a stale pointer to a PTE always
 * points to a PTE. Arrays are of any size; they come from the host, and go back there at once.
 *
 * Invariant: bytes == the sum of what is in use. Locking: its own. Signal context: yes, but
 * table_memory_init and _destroy.
 */
#ifndef UPAGE_TABLE_MEMORY_H
#define UPAGE_TABLE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "lock.h"

#define TABLE_NODE_BITS_MAX 52

struct table_memory {
	void *(*allocate)(size_t bytes); /* zeroed, page aligned; NULL: none left */
	void (*release)(void *memory, size_t bytes);
	struct lock lock;             /* guards the rest                               */
	char *chunk;                  /* what is left of the newest chunk              */
	size_t chunk_left;            /* bytes                                         */
	void *chunks;                 /* list of all, by their first word              */
	void *free_nodes[2][TABLE_NODE_BITS_MAX + 1]; /* [is a leaf][bits]: by the first word */
	size_t bytes;                 /* in use                                        */
};

void table_memory_init(struct table_memory *memory, void *(*allocate)(size_t),
                       void (*release)(void *, size_t));

/* All was given back before. */
void table_memory_destroy(struct table_memory *memory);

/* A zeroed node of 2^bits words, or NULL. */
void *table_memory_node(struct table_memory *memory, unsigned bits, bool leaf);

/* The node must be all zero. It is kept: a stale pointer to an entry may still be read. */
void table_memory_give_node(struct table_memory *memory, void *node, unsigned bits, bool leaf);

/* A zeroed array, or NULL; @bytes > 0. */
void *table_memory_array(struct table_memory *memory, size_t bytes);
void table_memory_give_array(struct table_memory *memory, void *array, size_t bytes);

#endif
