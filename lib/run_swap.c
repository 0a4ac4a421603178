/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run_swap.c - a space in runs leaves memory, whole, and comes back
 *
 * Locks: run.h. Signal context: yes. Source: OSTEP ch. 15; the swapping of early time-sharing systems.
 */
#include "host.h"
#include "run.h"

/* The entry of a page, in the space's table: its first page is number 0. */
static upage_vpn vpn_of(const struct runs *runs, uintptr_t page)
{
	return (page - runs->lowest) >> runs->pool->frames.page_shift;
}

static int swap_out_page(struct runs *runs, uintptr_t page, char *buffer)
{
	struct upage_pool *pool = runs->pool;
	int result = run_read(runs, page, buffer);
	if (result < 0 || buffer_is_zero(buffer, page_size(pool)))
		return result;
	pte_t *pte = page_table_make(runs->table, vpn_of(runs, page));
	uint32_t slot = pte != NULL ? swap_allocate(pool->swap, SWAP_NONE) : SWAP_NONE;
	if (slot == SWAP_NONE)
		return pte != NULL ? UPAGE_ENOSPC : UPAGE_ENOMEM;
	result = swap_transfer(pool->swap, STORE_WRITE, slot, buffer);
	stats_count(pool->stats, result < 0 ? COUNT_WRITEBACK_FAILURES : COUNT_WRITEBACKS);
	if (result == 0)
		atomic_store(pte, pte_make(slot, PTE_SWAPPED));
	else
		swap_free(pool->swap, slot);
	return result;
}

/* Each page that has a slot: gives it up, with @buffer after it was read into its frame. */
static int each_slot(struct runs *runs, char *buffer, bool give_up)
{
	struct upage_pool *pool = runs->pool;
	int result = 0;
	for (unsigned i = 0; i < runs->count; i++) {
		uintptr_t start = runs->run[i].start > runs->lowest ? runs->run[i].start : runs->lowest;
		for (uintptr_t page = start; page < runs->run[i].end && result == 0; page += page_size(pool)) {
			pte_t *pte = page_table_walk(runs->table, vpn_of(runs, page));
			uint64_t value = pte != NULL ? atomic_load(pte) : 0;
			if (!(value & PTE_SWAPPED))
				continue;
			uint32_t slot = (uint32_t)pte_number(value);
			if (buffer != NULL)
				result = swap_transfer(pool->swap, STORE_READ, slot, buffer);
			if (buffer != NULL && result == 0)
				result = run_write(runs, page, buffer);
			if (give_up) {
				swap_free(pool->swap, slot);
				atomic_store(pte, 0);
			}
		}
	}
	return result;
}

int runs_swap_out(struct runs *runs)
{
	unsigned seams = runs_seams(runs);
	if (runs->out)
		return 0;
	int result = 0;
	for (unsigned i = 0; i < runs->count && result == 0; i++)
		if (runs->run[i].sharer != NULL ||
		    run_is_pinned(runs, &runs->run[i], runs->run[i].start, runs->run[i].end))
			result = UPAGE_EBUSY;
	if (result < 0)
		return result;
	result = runs_hide(runs);
	char *buffer = buffer_take(&runs->pool->buffers);
	for (unsigned i = 0; i < runs->count && result == 0; i++) {
		uintptr_t start = runs->run[i].start > runs->lowest ? runs->run[i].start : runs->lowest;
		for (uintptr_t page = start; page < runs->run[i].end && result == 0; page += page_size(runs->pool))
			result = swap_out_page(runs, page, buffer);
	}
	buffer_give(&runs->pool->buffers, buffer);
	if (result < 0) {
		each_slot(runs, NULL, true);
		if (runs_show(runs) < 0)
			host_die();
		return result;
	}
	runs_free_frames(runs);
	runs->out = true;
	runs_publish(runs);
	runs_count_seams(runs, seams);
	return 0;
}

int runs_swap_in(struct runs *runs)
{
	if (!runs->out)
		return 0;
	int result = 0;
	unsigned done = 0;
	unsigned seams = runs_seams(runs);
	for (; done < runs->count && result == 0; done++) {
		struct run *run = &runs->run[done];
		uint32_t pages = (uint32_t)runs_pages(runs, run->start, run->end);
		uint32_t pfn = pages > 0 ? runs_allocate(runs->pool, runs, pages, !run->fixed) : 0;
		result = pfn == FRAME_NONE ? UPAGE_ENOMEM : 0;
		if (result < 0)
			break;
		run->frame = pfn;
	}
	runs->out = false;
	if (result == 0) {
		char *buffer = buffer_take(&runs->pool->buffers);
		result = each_slot(runs, buffer, false);
		buffer_give(&runs->pool->buffers, buffer);
	}
	if (result == 0)
		result = runs_show(runs);
	if (result < 0) {
		runs_hide(runs);
		for (unsigned i = 0; i < done; i++)
			if (run_frames(runs, &runs->run[i]) > 0)
				frame_free_run(&runs->pool->frames, (uint32_t)runs->run[i].frame,
				               run_frames(runs, &runs->run[i]));
		runs->out = true;
		return result;
	}
	each_slot(runs, NULL, true);
	runs_publish(runs);
	runs_count_seams(runs, seams);
	return 0;
}

void runs_forget_slots(struct runs *runs)
{
	each_slot(runs, NULL, true);
}
