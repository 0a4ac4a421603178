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

/* What else distinguishes the mappings of a whole program, as a kernel's do: flags of a mapping. */
#define MAPPING_GROWS 0x001u     /* down, where what lies below is referenced */
#define MAPPING_DONTFORK 0x002u  /* not in the child of a fork */
#define MAPPING_WIPEFORK 0x004u  /* empty there */
#define MAPPING_LOCKED 0x008u    /* as mlock(2) was told; nothing is held */
#define MAPPING_ONFAULT 0x010u
#define MAPPING_NORESERVE 0x020u
#define MAPPING_DONTDUMP 0x040u
#define MAPPING_HUGE 0x080u
#define MAPPING_NOHUGE 0x100u
#define MAPPING_MERGEABLE 0x200u
#define MAPPING_GUARD 0x400u     /* may not be referenced, until it is taken back */

/* What stays free below a mapping that grows, where the program does not say where: 1 MiB. */
#define MAPPING_GROWTH_GAP ((uintptr_t)256 << 12)

struct mapping {
	uintptr_t start, end;     /* [start, end) */
	int prot;                 /* as asked for */
	enum upage_advice advice; /* normal, sequential or random */
	unsigned flags;           /* MAPPING_* */
	bool committed;           /* room for it was promised: it is, or was, private and writable */
	struct backing *backing;
};

/* What the machine allows where @prot was asked for: x86-64 has no memory that may be
 * written or executed but not read. */
static inline int effective_prot(int prot)
{
	return prot != PROT_NONE ? prot | PROT_READ : PROT_NONE;
}

struct mappings {
	struct mapping *mapping; /* [count] */
	size_t count;
	uintptr_t kept, kept_end; /* where none may be: what is ours there */
};

static inline bool mapping_is_kept(const struct mappings *all, uintptr_t start, uintptr_t end)
{
	return start < all->kept_end && end > all->kept;
}

/* The first mapping that ends past @address: the one that has it, or the next; or count. */
size_t mapping_index(const struct mappings *all, uintptr_t address);

/* The mapping that has @address, or NULL. */
struct mapping *mapping_find(const struct mappings *all, uintptr_t address);

/* The one that lies nearest to @address. Return: whether there is any. */
bool mapping_nearest(const struct mappings *all, uintptr_t address, uintptr_t *start,
                     uintptr_t *end);

/* Whether a kernel would have the two, of which the right one follows the left one, as one: they may
 * be of one file by several backings, and guards are marks on pages. */
bool mapping_is_one(const struct mapping *left, const struct mapping *right);

/* Whether every address of [start, end) has a mapping; or none has. */
bool mapping_covers(const struct mappings *all, uintptr_t start, uintptr_t end);
bool mapping_is_free(const struct mappings *all, uintptr_t start, uintptr_t end);

/* The lowest gap of @length bytes in [start, limit), not where a mapping may grow; 0: none. */
uintptr_t mapping_gap(const struct mappings *all, uintptr_t start, uintptr_t limit, size_t length);

void mapping_insert(struct mappings *all, size_t i, struct mapping mapping);

/* Takes [first, end) out of the array. Their backings are the caller's business. */
void mapping_cut(struct mappings *all, size_t first, size_t end);

/* The part of a mapping in [start, end); none: its end is not above its start. */
static inline struct mapping mapping_part(const struct mapping *mapping, uintptr_t start,
                                          uintptr_t end)
{
	struct mapping part = *mapping;
	part.start = part.start > start ? part.start : start;
	part.end = part.end < end ? part.end : end;
	return part;
}

/* Makes a border between mappings at @address, if it is inside one. */
void mapping_split(struct mappings *all, uintptr_t address);

/* Joins the mappings from index @first to @last with their neighbours where they agree. */
void mapping_join(struct mappings *all, size_t first, size_t last);

#endif
