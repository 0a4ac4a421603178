/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pin.c - pages that are held in their frames: upage_pin(), and for the system calls of guests
 *
 * Locking: of a page the lock bit of its PTE; in a run, the space's lock for writing.
 * Signal context: map_hold, map_release.
 */
#include "map.h"
#include "signals.h"

static int pin_in_run(upage_space *space, uintptr_t at, int prot, enum pin pin)
{
	uint64_t offset, physical;
	space_write(space);
	const struct mapping *mapping = mapping_find(&space->mappings, at);
	int result = mapping == NULL ? UPAGE_ENOTMAPPED : runs_swap_in(&space->runs);
	if (result == 0) {
		const struct translator *translator = space_translator(space, at, &offset);
		result = translate(translator, offset, prot, &physical) == UPAGE_CAUSE_NONE ? 0 : UPAGE_EACCES;
	}
	if (result == 0)
		result = pager_pin_frame(space->pool, contiguous_pfn(&space->runs, at), pin);
	space_write_end(space);
	return result;
}

/* What guards pins: with a page table each entry does, once it is sure to stay. */
static void lock_pins(upage_space *space)
{
	if (space_is_paged(space))
		space_read(space);
	else
		space_write(space);
}

static void release_pins(upage_space *space)
{
	if (space_is_paged(space))
		space_read_end(space);
	else
		space_write_end(space);
}

static bool is_pinned(upage_space *space, uintptr_t at)
{
	if (space_is_paged(space)) {
		pte_t *pte = page_table_walk(&space->table, space_vpn(space, at));
		return pte != NULL && pager_is_pinned_by_program(space->pool, pte);
	}
	uint32_t pfn = contiguous_pfn(&space->runs, at);
	return pfn != FRAME_NONE && pager_frame_is_pinned_by_program(space->pool, pfn);
}

static void unpin_one(upage_space *space, uintptr_t at, enum pin pin)
{
	if (space_is_paged(space))
		pager_unpin(space->pool, page_table_walk(&space->table, space_vpn(space, at)), pin);
	else
		pager_unpin_frame(space->pool, contiguous_pfn(&space->runs, at), pin);
}

/* They are pinned. */
static void unpin_range(upage_space *space, uintptr_t start, uintptr_t end)
{
	for (uintptr_t at = start; at < end; at += space_page_size(space))
		unpin_one(space, at, PIN_PROGRAM);
}

static int pin_one(upage_space *space, uintptr_t at, int prot, enum pin pin)
{
	if (!space_is_paged(space))
		return pin_in_run(space, at, prot, pin);
	struct page page;
	uint64_t value;
	enum upage_advice advice;
	int failure = 0;
	switch (space_lock_page(space, at, prot, &page, &value, &advice, &failure)) {
	case FAULT_BOUNDS:
	case FAULT_FOREIGN:
		return UPAGE_ENOTMAPPED;
	case FAULT_PROTECTION:
		return UPAGE_EACCES;
	case FAULT_SERVED:
		failure = pager_resolve(space->pool, &page, value, prot, pin, NULL);
		return failure == STORE_PAST_END ? UPAGE_EIO : failure;
	default:
		return failure;
	}
}

PUBLIC int upage_pin(upage_space *space, const void *address, size_t length, int prot)
{
	uintptr_t start, end;
	if (prot != PROT_READ && prot != (PROT_READ | PROT_WRITE))
		return UPAGE_EINVAL;
	int result = map_take_own_range(space, address, length, true, &start, &end);
	if (result < 0)
		return result;
	signal_mask saved = signals_block();
	guard_open();
	for (uintptr_t at = start; at < end && result == 0; at += space_page_size(space)) {
		result = pin_one(space, at, prot, PIN_PROGRAM);
		if (result < 0) {
			lock_pins(space); /* a fork must not find an entry locked */
			unpin_range(space, start, at);
			release_pins(space);
		}
	}
	guard_close();
	signals_set(saved);
	return result;
}

PUBLIC int upage_unpin(upage_space *space, const void *address, size_t length)
{
	uintptr_t start, end;
	int result = map_take_own_range(space, address, length, true, &start, &end);
	if (result < 0)
		return result;
	signal_mask saved = signals_block();
	lock_pins(space);
	for (uintptr_t at = start; at < end && result == 0; at += space_page_size(space))
		result = is_pinned(space, at) ? 0 : UPAGE_EINVAL;
	if (result == 0)
		unpin_range(space, start, end);
	release_pins(space);
	signals_set(saved);
	return result;
}

static uintptr_t page_of(const upage_space *space, const void *address)
{
	return (uintptr_t)address & ~(uintptr_t)(space_page_size(space) - 1);
}

int map_hold(upage_space *space, const void *address, int prot)
{
	if (space_is_lost(space))
		return UPAGE_ENOTSUP;
	signal_mask saved = signals_block();
	guard_open();
	int result = pin_one(space, page_of(space, address), prot, PIN_CALL);
	guard_close();
	signals_set(saved);
	return result;
}

void map_release(upage_space *space, const void *address)
{
	signal_mask saved = signals_block();
	lock_pins(space);
	unpin_one(space, page_of(space, address), PIN_CALL);
	release_pins(space);
	signals_set(saved);
}
