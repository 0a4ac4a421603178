/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clone.c - upage_space_clone(): a space with the same content, of which nothing is copied yet
 *
 * The mappings are made again, at the same offsets. Then the entries of the source are gone through,
 * and what they have is shared (pager_share). Page faults in the source wait meanwhile, since its
 * lock is held for writing, and what is shared already can be written to by nobody. So the clone is of
 * one moment: who would write to such a page has to wait until all the others are shared too.
 *
 * Locking: that under which spaces are made, then those of both spaces; nobody else holds two, but
 * a fork, which holds the first. Signal context: no.
 * Source: OSTEP ch. 23 (copy-on-write); mm/memory.c of Linux, copy_page_range().
 */
#include "map.h"

struct cloning {
	upage_space *source, *clone;
	const struct backing *of; /* of the source's last mapping */
	struct backing *backing;  /* and what is that in the clone */
};

static uintptr_t place_in_clone(const struct cloning *cloning, uintptr_t address)
{
	return address - cloning->source->base + cloning->clone->base;
}

static int visit_share(upage_space *source, pte_t *ptes, size_t count, uintptr_t address,
                       void *argument)
{
	const struct cloning *cloning = argument;
	upage_space *clone = cloning->clone;
	uint64_t leaf = page_table_leaf_pages(&clone->table);
	int result = 0;
	/* The leaves of its table may be shorter. */
	for (size_t done = 0, n; done < count && result == 0; done += n) {
		uintptr_t from = address + done * space_page_size(source);
		uintptr_t to = place_in_clone(cloning, from);
		upage_vpn vpn = space_vpn(clone, to);
		pte_t *copies = page_table_make(&clone->table, vpn);
		n = leaf - vpn % leaf < count - done ? leaf - vpn % leaf : count - done;
		result = copies != NULL ? pager_share(source->pool, &ptes[done], n, from, copies, to,
		                                      cloning->backing)
		                        : UPAGE_ENOMEM;
	}
	return result;
}

/* What the host maps itself stays out, and what a heap has, which knows its blocks by address. */
static bool is_cloned(const upage_space *source, const struct backing *backing)
{
	return backing->store != NULL || backing == source->anonymous;
}

/* Parts of what was one mapping have one backing in the clone too, and can be joined. */
static bool find_backing(struct cloning *cloning, const struct backing *of)
{
	int64_t shift = (int64_t)(cloning->clone->base - cloning->source->base);
	if (of == cloning->of)
		return true;
	if (cloning->backing != NULL)
		backing_release(cloning->backing);
	cloning->of = of;
	cloning->backing = cloning->clone->anonymous;
	if (of->store == NULL)
		backing_reference(cloning->backing);
	else
		cloning->backing = space_backing(cloning->clone, of->store, of->delta - shift, false);
	return cloning->backing != NULL;
}

static int clone_mapping(struct cloning *cloning, const struct mapping *mapping)
{
	upage_space *clone = cloning->clone;
	struct mapping copy = *mapping;
	if (mapping->end - cloning->source->base > clone->length)
		return UPAGE_EBOUNDS;
	if (!find_backing(cloning, mapping->backing))
		return UPAGE_ENOMEM;
	copy.start = place_in_clone(cloning, mapping->start);
	copy.end = place_in_clone(cloning, mapping->end);
	copy.backing = cloning->backing;
	int result = map_add(clone, &copy);
	return result < 0 ? result
	                  : space_each_run(cloning->source, mapping->start, mapping->end, visit_share,
	                                   cloning);
}

static int fill_clone(upage_space *clone, void *source)
{
	struct cloning cloning = { .source = source, .clone = clone };
	if (space_is_lost(source))
		return UPAGE_ENOTSUP;
	int result = swap_share_begin(clone->pool->swap);
	space_write(cloning.source);
	space_write(clone);
	const struct mappings *all = &cloning.source->mappings;
	for (size_t i = 0; i < all->count && result == 0; i++)
		if (all->mapping[i].backing->shared)
			result = UPAGE_ENOTSUP;
	for (size_t i = 0; i < all->count && result == 0; i++)
		if (is_cloned(source, all->mapping[i].backing))
			result = clone_mapping(&cloning, &all->mapping[i]);
	space_write_end(clone);
	space_write_end(cloning.source);
	if (cloning.backing != NULL)
		backing_release(cloning.backing);
	return result;
}

PUBLIC int upage_space_clone(upage_space **out, upage_space *source,
                             const struct upage_space_config *given)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	if (out == NULL || source == NULL || (given != NULL && given->size == 0))
		return UPAGE_EINVAL;
	if (given != NULL && given->size > sizeof(config))
		return UPAGE_E2BIG;
	for (size_t i = 0; given != NULL && i < given->size; i++)
		((char *)&config)[i] = ((const char *)given)[i];
	if (!space_is_paged(source) || (config.scheme != UPAGE_SCHEME_POOLS && config.scheme != UPAGE_SCHEME_PAGING))
		return UPAGE_ENOTSUP;
	config.size = sizeof(config);
	config.scheme = UPAGE_SCHEME_PAGING;
	if (config.length == 0)
		config.length = source->length;
	return space_create(out, source->pool, &config, fill_clone, source);
}
