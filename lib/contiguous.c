/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "contiguous.h"

uint32_t contiguous_pfn(struct runs *runs, uintptr_t address)
{
	const struct run *run = run_of(runs, address);
	if (run == NULL || runs->out || address < run->start || address >= run->end)
		return FRAME_NONE;
	return (uint32_t)(run->frame + ((address - run->start) >> runs->pool->frames.page_shift));
}

/* ---- What all mappings of a run have in common ------------------------------------------------- */

/* The part of the run that is mapped, from its lowest to its highest mapping, and what they allow. */
struct extent {
	uintptr_t start, end;
	int prot;
};

static struct extent extent_of(const struct run *run, const struct mappings *all)
{
	struct extent extent = { UINTPTR_MAX, 0, PROT_NONE };
	for (size_t i = mapping_index(all, run->low); i < all->count; i++) {
		const struct mapping part = mapping_part(&all->mapping[i], run->low, run->high);
		if (part.start >= run->high)
			break;
		extent.start = smaller(extent.start, part.start);
		extent.end = larger(extent.end, part.end);
		extent.prot |= effective_prot(part.prot);
	}
	return extent;
}

/* To be covered so: the other end stays where it is. */
static int cover(struct runs *runs, struct run *run, uintptr_t start, uintptr_t end)
{
	return run->grows_down ? run_resize(runs, run, start, run->high)
	                       : run_resize(runs, run, run->low, end);
}

void contiguous_settle(struct runs *runs, const struct mappings *all)
{
	for (unsigned i = 0; i < runs->count; i++) {
		struct run *run = &runs->run[i];
		struct extent extent = extent_of(run, all);
		/* What cannot be taken back now stays. */
		if (!run->fixed && run->start < run->end)
			cover(runs, run, smaller(extent.start, run->high), larger(extent.end, run->low));
		if (runs_are_segments(runs) && run->sharer == NULL)
			run_protect(runs, run, extent.prot);
	}
}

bool contiguous_enforces(struct runs *runs, uintptr_t address, int prot)
{
	const struct run *run = run_of(runs, address);
	return run != NULL && run->prot == effective_prot(prot);
}

bool contiguous_is_shared(const struct runs *runs, uintptr_t start, uintptr_t end)
{
	for (unsigned i = 0; i < runs->count; i++)
		if (runs->run[i].sharer != NULL && start < runs->run[i].end && end > runs->run[i].start)
			return true;
	return false;
}

/* ---- Content --------------------------------------------------------------------------------- */

/* Pages of a store, into the frames of [start, end). What is past its end stays as it is: zeros. */
static int fill(struct runs *runs, const struct backing *backing, uintptr_t start, uintptr_t end)
{
	struct upage_pool *pool = runs->pool;
	unsigned count = backing->store->ops->clusters ? BUFFER_RUN_MAX : 1;
	char *buffer = NULL;
	while (count > 1 && (buffer = buffer_take_run(&pool->buffers, count)) == NULL)
		count /= 2;
	if (buffer == NULL)
		buffer = buffer_take(&pool->buffers);
	int result = 0;
	for (uintptr_t at = start; at < end && result == 0; at += count * page_size(pool)) {
		uintptr_t to = smaller(at + count * page_size(pool), end);
		result = store_transfer(backing->store, STORE_READ, buffer, to - at, backing_offset(backing, at));
		for (uintptr_t page = at; page < to && result == 0; page += page_size(pool))
			result = run_write(runs, page, buffer + (page - at));
	}
	if (count > 1)
		buffer_give_run(&pool->buffers, buffer, count);
	else
		buffer_give(&pool->buffers, buffer);
	return result == STORE_PAST_END ? 0 : result;
}

/* Of one run. */
static int begin(struct runs *runs, const struct backing *backing, uintptr_t start, uintptr_t end)
{
	int result = run_zero(runs, start, end);
	return result == 0 && backing->store != NULL ? fill(runs, backing, start, end) : result;
}

int contiguous_map(struct runs *runs, const struct mappings *all, const struct mapping *mapping)
{
	int result = runs_swap_in(runs);
	if (mapping->backing->shared && (mapping->prot & PROT_WRITE))
		return UPAGE_ENOTSUP;
	for (uintptr_t at = mapping->start, end; at < mapping->end && result == 0; at = end) {
		struct run *run = run_of(runs, at);
		if (run == NULL) {
			result = UPAGE_ENOMEM;
			break;
		}
		if (run->sharer != NULL) {
			result = UPAGE_EBUSY;
			break;
		}
		end = smaller(mapping->end, run->high);
		bool was_empty = run->start == run->end;
		int prot = run->prot | effective_prot(mapping->prot);
		if (was_empty && runs_are_segments(runs))
			run_protect(runs, run, prot); /* nothing is shown yet */
		result = cover(runs, run, smaller(run->start, at), larger(run->end, end));
		if (result == 0)
			result = begin(runs, mapping->backing, at, end);
		if (result == 0)
			result = run_protect(runs, run, prot);
	}
	if (result < 0)
		contiguous_settle(runs, all);
	return result;
}

/* The part of [start, end) that a run has. Return: whether there is any. */
static bool part_of_run(const struct run *run, uintptr_t *start, uintptr_t *end)
{
	*start = larger(*start, run->start);
	*end = smaller(*end, run->end);
	return *start < *end;
}

int contiguous_check_pins(struct runs *runs, uintptr_t start, uintptr_t end)
{
	int result = 0;
	for (unsigned i = 0; i < runs->count && result == 0; i++) {
		uintptr_t from = start, to = end;
		if (part_of_run(&runs->run[i], &from, &to) && run_is_pinned(runs, &runs->run[i], from, to))
			result = UPAGE_EBUSY;
	}
	return result;
}

int contiguous_clear(struct runs *runs, uintptr_t start, uintptr_t end)
{
	int result = runs_swap_in(runs);
	if (result == 0)
		result = contiguous_check_pins(runs, start, end);
	for (unsigned i = 0; i < runs->count && result == 0; i++) {
		uintptr_t from = start, to = end;
		if (runs->run[i].sharer == NULL && part_of_run(&runs->run[i], &from, &to))
			result = run_zero(runs, from, to);
	}
	return result;
}

int contiguous_refill(struct runs *runs, const struct mappings *all, uintptr_t start, uintptr_t end)
{
	int result = runs_swap_in(runs);
	if (result == 0)
		result = contiguous_check_pins(runs, start, end);
	for (size_t m = mapping_index(all, start); m < all->count && result == 0; m++) {
		const struct mapping part = mapping_part(&all->mapping[m], start, end);
		if (part.start >= end)
			break;
		for (unsigned i = 0; i < runs->count && result == 0; i++) {
			uintptr_t from = part.start, to = part.end;
			if (runs->run[i].sharer == NULL && part_of_run(&runs->run[i], &from, &to))
				result = begin(runs, part.backing, from, to);
		}
	}
	return result;
}

int contiguous_move(struct runs *runs, uintptr_t from, uintptr_t to, size_t length)
{
	int result = runs_swap_in(runs);
	if (result == 0)
		result = contiguous_check_pins(runs, from, from + length);
	while (length > 0 && result == 0) {
		const struct run *source = run_of(runs, from), *target = run_of(runs, to);
		size_t part = smaller(length, smaller(source->end - from, target->end - to));
		result = frame_move_run(&runs->pool->frames, contiguous_pfn(runs, from), contiguous_pfn(runs, to),
		                        (uint32_t)(part >> runs->pool->frames.page_shift));
		from += part;
		to += part;
		length -= part;
	}
	return result;
}
