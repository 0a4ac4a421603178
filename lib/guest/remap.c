/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remap.c - mremap(2) in a whole program
 *
 * Pages are moved, not copied: their entries go to other addresses, with their frames and slots.
 * The kernel moves its own. What the kernel has as one mapping may be several of ours; several of
 * the kernel's may be moved at once, as they are, to a fixed place (Linux 6.17).
 *
 * Locks: the space's, from the beginning to the end. Signal context: that of guest/call.h.
 * Source: mremap(2); mm/mremap.c of Linux.
 */
#include <sys/mman.h>

#include "handlers.h"
#include "host.h"
#include "limit.h"
#include "map.h"
#include "patch.h"
#include "syscall.h"
#include "whole.h"

#define PLACED (MREMAP_FIXED | MREMAP_DONTUNMAP)

struct remap {
	uintptr_t from, to;
	size_t old_length, new_length;
	int flags;
};

/* The end of what the kernel has as one mapping, from @mapping on. */
static uintptr_t end_of(const struct mapping *mapping)
{
	const struct mappings *all = &whole_space->mappings;
	const struct mapping *last = &all->mapping[all->count - 1];
	while (mapping < last && mapping_is_one(mapping, mapping + 1))
		mapping++;
	return mapping->end;
}

static long kernel_remap(const struct remap *r, int flags)
{
	return whole_kernel_maps(SYS_mremap, (long)r->from, (long)r->old_length, (long)r->new_length, flags,
	                         (long)r->to, 0);
}

/* A mapping like @like at [start, end), of @backing there. What is @new has no guards. */
static long add_like(const struct mapping *like, uintptr_t start, uintptr_t end,
                     struct backing *backing, bool new)
{
	struct mapping mapping = *like;
	mapping.flags &= new ? ~MAPPING_GUARD : ~0u;
	mapping.start = start;
	mapping.end = end;
	mapping.backing = backing;
	return guest_errno(map_add(whole_space, &mapping));
}

/* ---- In place ------------------------------------------------------------------------------------ */

/* Behind @last, which ends where the range does. */
static long grow(const struct remap *r, const struct mapping *last)
{
	const struct mapping like = *last;
	size_t more = r->new_length - r->old_length;
	long result = add_like(&like, like.end, like.end + more, like.backing, true);
	if (result < 0 || !like.backing->foreign)
		return result < 0 ? result : (long)r->from;
	result = kernel_remap(r, 0);
	if (guest_is_error(result))
		space_unmap_range(whole_space, like.end, like.end + more);
	return result;
}

/* ---- Elsewhere ----------------------------------------------------------------------------------- */

/* What stays where all pages have gone (MREMAP_DONTUNMAP) is neither locked nor guarded. */
static int visit_left(upage_space *space, struct mapping *mapping, void *argument)
{
	(void)space, (void)argument;
	mapping->flags &= ~(MAPPING_LOCKED | MAPPING_ONFAULT | MAPPING_GUARD);
	return 0;
}

static void leave(const struct remap *r)
{
	uintptr_t end = r->from + r->old_length;
	if (r->flags & MREMAP_DONTUNMAP)
		map_visit(whole_space, r->from, end, true, visit_left, NULL);
	else if (r->old_length > 0)
		space_unmap_range(whole_space, r->from, end);
}

static long move_foreign(const struct remap *r, const struct mapping *mapping)
{
	const struct mapping like = *mapping;
	long result = add_like(&like, r->to, r->to + r->new_length, like.backing, true);
	if (result < 0)
		return result;
	result = kernel_remap(r, (r->flags & MREMAP_DONTUNMAP) | MREMAP_MAYMOVE | MREMAP_FIXED);
	if (guest_is_error(result))
		space_unmap_range(whole_space, r->to, r->to + r->new_length);
	else
		leave(r);
	return result;
}

/* One mapping, or the end of it, with what is in its pages: @length bytes, and then empty pages. */
static long move_part(const struct mapping *mapping, uintptr_t from, uintptr_t to, size_t length,
                      size_t new_length)
{
	const struct mapping like = *mapping;
	struct backing *backing = like.backing;
	if (backing->store != NULL)
		backing = backing_create(backing->store, backing->delta + (int64_t)(from - to),
		                         backing->shared);
	else
		backing_reference(backing);
	if (backing == NULL)
		return -ENOMEM;
	long result = add_like(&like, to, to + length, backing, false);
	if (result == 0 && new_length > length)
		result = add_like(&like, to + length, to + new_length, backing, true);
	if (result == 0)
		result = guest_errno(map_move_pages(whole_space, from, to, length, backing));
	if (result < 0)
		space_unmap_range(whole_space, to, to + new_length);
	backing_release(backing);
	return result;
}

/* What is one mapping to the kernel goes to where nothing is. */
static long move(const struct remap *r, const struct mapping *mapping)
{
	if (mapping->backing->foreign)
		return move_foreign(r, mapping);
	size_t common = r->old_length < r->new_length ? r->old_length : r->new_length;
	uintptr_t end = r->from + common;
	for (uintptr_t at = r->from; at < end;) {
		const struct mapping *part = mapping_find(&whole_space->mappings, at);
		uintptr_t to = part->end < end ? part->end : end;
		size_t more = to == end ? r->new_length - common : 0;
		long result = move_part(part, at, at - r->from + r->to, to - at, to - at + more);
		if (result < 0)
			return result;
		at = to;
	}
	leave(r);
	return (long)r->to;
}

/* ---- The call ------------------------------------------------------------------------------------ */

/* Before anything is looked at. */
static long check(const struct remap *r)
{
	if (r->flags & ~(MREMAP_MAYMOVE | PLACED) || r->from % HOST_PAGE_SIZE != 0 ||
	    r->new_length == 0 || r->new_length > WHOLE_LIMIT)
		return -EINVAL;
	if (!(r->flags & PLACED))
		return 0;
	bool overlaps = r->to < r->from + r->old_length && r->from < r->to + r->new_length;
	if (r->to > WHOLE_LIMIT - r->new_length || r->to % HOST_PAGE_SIZE != 0 ||
	    !(r->flags & MREMAP_MAYMOVE) ||
	    (r->flags & MREMAP_DONTUNMAP && r->old_length != r->new_length) || overlaps)
		return -EINVAL;
	return 0;
}

/* Of one mapping to the kernel: whether so much of it can become as much. */
static long check_length(const struct remap *r, const struct mapping *mapping)
{
	if (r->old_length == 0 && !mapping->backing->foreign)
		return -EINVAL;
	if (r->old_length > end_of(mapping) - r->from)
		return -EFAULT;
	if (r->new_length <= r->old_length)
		return 0;
	size_t more = r->new_length - r->old_length;
	return limit_allows_locked(0, more, mapping->prot) ? whole_check_locks(more, mapping->flags)
	                                                   : -ENOMEM;
}

/* One mapping of the kernel's to a given place, in which something may be. */
static long place(const struct remap *r, const struct mapping *mapping)
{
	struct remap moved = *r;
	long result = check_length(r, mapping);
	if (result == 0 && r->flags & MREMAP_FIXED) {
		if (!whole_has(r->to, r->new_length))
			return -EINVAL;
		result = guest_errno(space_unmap_range(whole_space, r->to, r->to + r->new_length));
	} else if (result == 0) {
		moved.to = whole_find_place(r->to, r->new_length, HOST_PAGE_SIZE, 0);
		result = moved.to != 0 ? 0 : -ENOMEM;
	}
	if (result == 0 && r->old_length > r->new_length) {
		result = guest_errno(space_unmap_range(whole_space, r->from + r->new_length,
		                                       r->from + r->old_length));
		moved.old_length = r->new_length;
	}
	mapping = mapping_find(&whole_space->mappings, r->from);
	return result < 0 ? result : move(&moved, mapping);
}

/* Several mappings that keep their distances and lengths. */
static long place_each(const struct remap *r)
{
	const struct mappings *all = &whole_space->mappings;
	uintptr_t end = r->from + r->old_length;
	for (uintptr_t at = r->from; at < end;) {
		size_t i = mapping_index(all, at);
		if (i == all->count || all->mapping[i].start >= end)
			break;
		const struct mapping *mapping = &all->mapping[i];
		at = mapping->start > at ? mapping->start : at;
		uintptr_t to = end_of(mapping) < end ? end_of(mapping) : end;
		const struct remap one = { at, at - r->from + r->to, to - at, to - at, r->flags };
		long result = place(&one, mapping);
		if (guest_is_error(result))
			return result;
		at = to;
	}
	return (long)r->to;
}

static long remap(struct remap *r)
{
	const struct mapping *mapping = mapping_find(&whole_space->mappings, r->from);
	if (mapping == NULL)
		return -EFAULT;
	if (whole_space->mappings.count + 8 > MAPPINGS_MAX)
		return -ENOMEM;
	if (r->flags & MREMAP_FIXED && r->old_length == r->new_length)
		return place_each(r);
	if (r->flags & PLACED)
		return place(r, mapping);
	uintptr_t end = r->from + r->old_length;
	long result = 0;
	if (r->new_length <= r->old_length) {
		if (r->new_length < r->old_length)
			result = guest_errno(space_unmap_range(whole_space, r->from + r->new_length, end));
		return result < 0 ? result : (long)r->from;
	}
	result = check_length(r, mapping);
	if (result < 0)
		return result;
	size_t more = r->new_length - r->old_length;
	if (r->old_length > 0 && end_of(mapping) == end && whole_has(end, more) &&
	    mapping_is_free(&whole_space->mappings, end, end + more))
		return grow(r, mapping_find(&whole_space->mappings, end - 1));
	if (!(r->flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	r->to = whole_find_place(0, r->new_length, HOST_PAGE_SIZE, 0);
	return r->to == 0 ? -ENOMEM : move(r, mapping);
}

long whole_mremap(struct guest_call *call)
{
	const long *a = call->argument;
	struct remap r = { (uintptr_t)a[0], (uintptr_t)a[4], host_page_up((size_t)a[1]),
		           host_page_up((size_t)a[2]), (int)a[3] };
	long result = check(&r);
	if (result < 0)
		return result;
	if (!whole_has(r.from, r.old_length > 0 ? r.old_length : 1))
		return -EFAULT;
	/* What is patched goes to a place of ours by its distance. */
	result = patch_hold(r.from, r.from + r.old_length);
	if (result < 0)
		return result;
	space_write(whole_space);
	result = remap(&r);
	space_write_end(whole_space);
	patch_release();
	return result;
}

/* The kernel maps its own anew, where they are. */
long whole_remap_file_pages(struct guest_call *call)
{
	uintptr_t start = host_page_down((uintptr_t)call->argument[0]);
	size_t length = round_down((size_t)call->argument[1], HOST_PAGE_SIZE);
	if (length == 0 || !whole_has(start, length))
		return -EINVAL;
	space_write(whole_space);
	const struct mapping *mapping = mapping_find(&whole_space->mappings, start);
	bool foreign = mapping != NULL && mapping->backing->foreign && mapping->end >= start + length;
	long result = foreign ? syscall_6(SYS_remap_file_pages, (long)start, (long)length,
	                                  call->argument[2], call->argument[3], call->argument[4], 0)
	                      : -EINVAL;
	space_write_end(whole_space);
	return result;
}
