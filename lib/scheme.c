/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scheme.c - spaces without paging, as programs ask for them: made, swapped out and in, segments shared
 *
 * What happens to their frames is in run.h, what their mappings mean in contiguous.h.
 *
 * Locking: the space's, for writing; of two spaces at once under that by which spaces are made.
 * Signal context: no. Source: OSTEP ch. 15 and 16.
 */
#include "signals.h"
#include "space.h"

int space_set_scheme(upage_space *space, enum upage_scheme scheme, uintptr_t origin, size_t bounds)
{
	uintptr_t end = space->base + space->length;
	if (scheme == UPAGE_SCHEME_PAGING)
		return 0;
	if (scheme == UPAGE_SCHEME_SEGMENTATION ? bounds != 0 : bounds > end - origin)
		return UPAGE_EINVAL;
	space->runs.lock = &space->lock;
	space->runs.table = &space->table;
	space->runs.place = space_shares_addresses(space) ? &space->place : NULL;
	return runs_init(&space->runs, space->pool, scheme == UPAGE_SCHEME_SEGMENTATION, origin,
	                 end - origin, space->base, bounds);
}

static int swap(upage_space *space, int (*way)(struct runs *))
{
	if (space == NULL)
		return UPAGE_EINVAL;
	if (space_is_paged(space) || space_is_lost(space))
		return UPAGE_ENOTSUP;
	signal_mask mask = signals_block();
	space_write(space);
	int result = way(&space->runs);
	space_write_end(space);
	signals_set(mask);
	return result;
}

PUBLIC int upage_space_swap_out(upage_space *space)
{
	return swap(space, runs_swap_out);
}

PUBLIC int upage_space_swap_in(upage_space *space)
{
	return swap(space, runs_swap_in);
}

/* The mappings of a segment of @from, at the same distance in @to, whose is empty. */
static int copy_mappings(upage_space *to, upage_space *from, const struct run *of)
{
	struct mappings *all = &to->mappings;
	const struct mappings *theirs = &from->mappings;
	size_t first = mapping_index(theirs, of->low), count = 0;
	while (first + count < theirs->count && theirs->mapping[first + count].start < of->high)
		count++;
	if (all->count + count + 2 > MAPPINGS_MAX)
		return UPAGE_ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct mapping mapping = mapping_part(&theirs->mapping[first + i], of->low, of->high);
		mapping.start += to->base - from->base;
		mapping.end += to->base - from->base;
		mapping.backing = to->anonymous; /* its content is in the frames */
		backing_reference(mapping.backing);
		mapping_insert(all, mapping_index(all, mapping.start), mapping);
	}
	return 0;
}

PUBLIC int upage_segment_share(upage_space *space, upage_space *with, unsigned segment)
{
	if (space == NULL || with == NULL || space == with || segment >= SEGMENTS || space->pool != with->pool ||
	    space->length != with->length || !runs_are_segments(&space->runs) || !runs_are_segments(&with->runs))
		return UPAGE_EINVAL;
	signal_mask mask = signals_block();
	lock_acquire(&spaces_lock); /* who has it may have the locks of several spaces */
	space_write(space);
	space_write(with);
	struct run *run = &space->runs.run[segment], *theirs = &with->runs.run[segment];
	int result = run_share(run, theirs);
	if (result == 0)
		result = copy_mappings(space, with, theirs);
	if (result < 0 && run->sharer != NULL)
		contiguous_settle(&space->runs, &space->mappings);
	space_write_end(with);
	space_write_end(space);
	lock_release(&spaces_lock);
	signals_set(mask);
	return result;
}

PUBLIC int upage_space_create(upage_space **out, upage_pool *pool,
                              const struct upage_space_config *config)
{
	if (out == NULL || pool == NULL)
		return UPAGE_EINVAL;
	return space_create(out, pool, config, NULL, NULL);
}
