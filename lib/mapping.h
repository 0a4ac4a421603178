/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mapping.h - what the addresses of a space mean: its mappings, a sorted array
 *
 *      mapping[i].start < mapping[i].end <= mapping[i + 1].start
 *
 * all page multiples (mappings_are_valid in space.c). Neighbours that agree in everything are
 * joined. The array has address space for as many mappings as a process may have, and takes
 * memory as it grows, so that it never moves under a reader.
 *
 * Locking: the space's. Signal context: look-ups, yes. Cost: look-ups O(log mappings), changes
 * O(mappings).
 */
#ifndef UPAGE_MAPPING_H
#define UPAGE_MAPPING_H

#include "store.h"

#define MAPPINGS_MAX (1u << 20)

struct mapping {
	uintptr_t start, end;     /* [start, end) */
	int prot;                 /* as asked for */
	enum upage_advice advice; /* normal, sequential or random */
	bool committed;           /* room for it was promised: it is, or was, private and writable */
	struct backing *backing;
};

struct mappings {
	struct mapping *mapping; /* [count] */
	size_t count;
};

/* The first mapping that ends past @address: the one that has it, or the next; or count. */
size_t mapping_index(const struct mappings *all, uintptr_t address);

/* The mapping that has @address, or NULL. */
struct mapping *mapping_find(const struct mappings *all, uintptr_t address);

/* The one that lies nearest to @address. Return: whether there is any. */
bool mapping_nearest(const struct mappings *all, uintptr_t address, uintptr_t *start,
                     uintptr_t *end);

/* Whether every address of [start, end) has a mapping; or none has. */
bool mapping_covers(const struct mappings *all, uintptr_t start, uintptr_t end);
bool mapping_is_free(const struct mappings *all, uintptr_t start, uintptr_t end);

/* The lowest gap of @length bytes in [start, limit); 0: none. */
uintptr_t mapping_gap(const struct mappings *all, uintptr_t start, uintptr_t limit, size_t length);

void mapping_insert(struct mappings *all, size_t i, struct mapping mapping);

/* Takes [first, end) out of the array. Their backings are the caller's business. */
void mapping_cut(struct mappings *all, size_t first, size_t end);

/* Makes a border between mappings at @address, if it is inside one. */
void mapping_split(struct mappings *all, uintptr_t address);

/* Joins the mappings from index @first to @last with their neighbours where they agree. */
void mapping_join(struct mappings *all, size_t first, size_t last);

#endif
