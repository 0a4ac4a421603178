/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mapping.h"

size_t mapping_index(const struct mappings *all, uintptr_t address)
{
	size_t low = 0, high = all->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (all->mapping[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct mapping *mapping_find(const struct mappings *all, uintptr_t address)
{
	size_t i = mapping_index(all, address);
	return i < all->count && all->mapping[i].start <= address ? &all->mapping[i] : NULL;
}

bool mapping_nearest(const struct mappings *all, uintptr_t address, uintptr_t *start, uintptr_t *end)
{
	size_t i = mapping_index(all, address);
	if (all->count == 0)
		return false;
	if (i == all->count || (i > 0 && address < all->mapping[i].start &&
	                        address - all->mapping[i - 1].end < all->mapping[i].start - address))
		i--;
	*start = all->mapping[i].start;
	*end = all->mapping[i].end;
	return true;
}

static bool can_join(const struct mapping *left, const struct mapping *right)
{
	return left->end == right->start && left->prot == right->prot &&
	       left->advice == right->advice && left->flags == right->flags &&
	       left->committed == right->committed && left->backing == right->backing;
}

bool mapping_is_one(const struct mapping *left, const struct mapping *right)
{
	const struct backing *a = left->backing, *b = right->backing;
	bool alike = a == b || (a->store != NULL && a->store == b->store && a->delta == b->delta &&
	                        a->shared == b->shared);
	return left->end == right->start && left->prot == right->prot &&
	       left->advice == right->advice && ((left->flags ^ right->flags) & ~MAPPING_GUARD) == 0 &&
	       left->committed == right->committed && alike;
}

void mapping_cut(struct mappings *all, size_t first, size_t end)
{
	for (size_t i = end; i < all->count; i++)
		all->mapping[first + i - end] = all->mapping[i];
	all->count -= end - first;
}

void mapping_insert(struct mappings *all, size_t i, struct mapping mapping)
{
	for (size_t j = all->count; j > i; j--)
		all->mapping[j] = all->mapping[j - 1];
	all->mapping[i] = mapping;
	all->count++;
}

void mapping_join(struct mappings *all, size_t first, size_t last)
{
	for (size_t i = last + 1; i-- > first && i < all->count;) {
		if (i + 1 >= all->count || !can_join(&all->mapping[i], &all->mapping[i + 1]))
			continue;
		all->mapping[i].end = all->mapping[i + 1].end;
		backing_release(all->mapping[i + 1].backing);
		mapping_cut(all, i + 1, i + 2);
	}
	if (first > 0 && first < all->count &&
	    can_join(&all->mapping[first - 1], &all->mapping[first])) {
		all->mapping[first - 1].end = all->mapping[first].end;
		backing_release(all->mapping[first].backing);
		mapping_cut(all, first, first + 1);
	}
}

void mapping_split(struct mappings *all, uintptr_t address)
{
	size_t i = mapping_index(all, address);
	if (i == all->count || all->mapping[i].start >= address)
		return;
	struct mapping right = all->mapping[i];
	right.start = address;
	all->mapping[i].end = address;
	backing_reference(right.backing);
	mapping_insert(all, i + 1, right);
}

bool mapping_covers(const struct mappings *all, uintptr_t start, uintptr_t end)
{
	size_t i = mapping_index(all, start);
	for (; start < end; i++) {
		if (i == all->count || all->mapping[i].start > start)
			return false;
		start = all->mapping[i].end;
	}
	return true;
}

static uintptr_t gap(const struct mappings *all, uintptr_t start, uintptr_t limit, size_t length)
{
	for (size_t i = mapping_index(all, start); i < all->count; i++) {
		const struct mapping *m = &all->mapping[i];
		uintptr_t below = m->flags & MAPPING_GROWS ? m->start - MAPPING_GROWTH_GAP : m->start;
		if (start >= limit)
			break;
		if (below > start && below < m->end && below - start >= length)
			return start <= limit && limit - start >= length ? start : 0;
		start = m->end;
	}
	return start <= limit && limit - start >= length ? start : 0;
}

uintptr_t mapping_gap(const struct mappings *all, uintptr_t start, uintptr_t limit, size_t length)
{
	uintptr_t found = 0;
	if (!mapping_is_kept(all, start, limit))
		return gap(all, start, limit, length);
	if (start < all->kept)
		found = gap(all, start, all->kept, length);
	return found != 0 ? found : gap(all, all->kept_end, limit, length);
}

bool mapping_is_free(const struct mappings *all, uintptr_t start, uintptr_t end)
{
	size_t i = mapping_index(all, start);
	if (mapping_is_kept(all, start, end))
		return false;
	return i == all->count || all->mapping[i].start >= end;
}
