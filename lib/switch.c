/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "switch.h"

#include <stddef.h>

#include "host.h"
#include "signals.h"

/* Of a space in a window; NULL: of none. */
static upage_space *space_of(struct place *place)
{
	char *inside = (char *)place;
	return place != NULL ? (upage_space *)(void *)(inside - offsetof(upage_space, place)) : NULL;
}

/* ---- Where the host cannot move ---------------------------------------------------------- */

/* Nothing of a space is shown until its lock is given back; runs are then again. Return: 0, or UPAGE_EBUSY
 * (a page is pinned), or the host's error. What is not shown is resident. */
static int hide_begin(upage_space *space)
{
	if (space == NULL || space_is_lost(space)) /* whose lock may be held for ever, and which shows nothing */
		return 0;
	uintptr_t end = space->base + space->length;
	space_write(space);
	if (!space_is_paged(space)) {
		int pinned = contiguous_check_pins(&space->runs, space->base, end);
		return pinned < 0 ? pinned : runs_hide(&space->runs);
	}
	int result = space_each_run(space, space->base, end, space_visit_pinned, NULL);
	return result == 0 ? space_each_run(space, space->base, end, space_visit_hide, NULL) : result;
}

/* Pages are shown as they are referenced. That a run cannot be shown can only be the host's end. */
static void hide_end(upage_space *space)
{
	if (space == NULL || space_is_lost(space))
		return;
	if (runs_show(&space->runs) < 0)
		host_die();
	space_write_end(space);
}

static int switch_by_hiding(upage_space *space)
{
	upage_space *old = space_of(space->place.window->current);
	int result = hide_begin(old);
	if (result == 0) {
		result = hide_begin(space);
		if (result == 0)
			window_exchange(&space->place);
		hide_end(space);
	}
	hide_end(old);
	return result;
}

/* ---- The switch --------------------------------------------------------------------------- */

static int make_current(upage_space *space)
{
	int result = -1;
	if (space->place.window->current == &space->place)
		return 0;
	if (window_can_move())
		result = window_move(&space->place);
	if (result < 0)
		result = switch_by_hiding(space);
	if (result == 0)
		stats_count(space->pool->stats, COUNT_SWITCHES);
	return result;
}

/* Whether the caller's own stack is memory of a space. */
static bool runs_in_space(void)
{
	return space_find((uintptr_t)__builtin_frame_address(0)) != NULL;
}

PUBLIC int upage_switch(upage_space *space)
{
	if (space == NULL || !space_shares_addresses(space))
		return UPAGE_EINVAL;
	if (runs_in_space())
		return UPAGE_EPERM;
	if (space_is_lost(space))
		return UPAGE_ENOTSUP;
	signal_mask mask = signals_block();
	lock_acquire(&spaces_lock);
	int result = make_current(space);
	lock_release(&spaces_lock);
	signals_set(mask);
	return result;
}
