/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "window.h"

#include "host.h"
#include "upage.h"

/* Whole tables of tables are moved where both sides begin at a multiple of this. */
#define TABLE_BYTES ((size_t)1 << 30)

static struct window *windows; /* guarded by the caller's lock, as all but struct window's own */

static struct window *window_allocate(void)
{
	for (struct window *window = windows; window != NULL; window = window->next)
		if (window->places == 0)
			return window;
	struct window *window = host_metadata(sizeof(*window));
	if (window != NULL) {
		window->next = windows;
		windows = window;
	}
	return window;
}

/* Parks lie as the window does among tables. */
static size_t alignment_of(size_t length)
{
	return length < TABLE_BYTES ? WINDOW_ALIGNMENT : TABLE_BYTES;
}

static int window_make(struct window **out, void *address, size_t length)
{
	struct window *window = window_allocate();
	void *base = NULL;
	if (window == NULL)
		return UPAGE_ENOMEM;
	int result = address != NULL ? host_reserve(address, length, &base)
	                             : host_reserve_aligned(length, alignment_of(length), 0, &base);
	if (result < 0)
		return result;
	window->base = (uintptr_t)base;
	window->length = length;
	window->current = NULL;
	*out = window;
	return 0;
}

static struct window *window_at(const void *address)
{
	struct window *window = windows;
	while (window != NULL && (window->places == 0 || window->base != (uintptr_t)address))
		window = window->next;
	return window;
}

static void window_end_if_empty(struct window *window)
{
	if (window->places == 0)
		host_release((void *)window->base, window->length);
}

int window_join(struct place *place, void *address, size_t length, uintptr_t *base)
{
	struct window *window = address != NULL ? window_at(address) : NULL;
	int result = 0;
	void *park = NULL;
	if (window != NULL && window->length != length)
		return UPAGE_EEXIST;
	if (window == NULL)
		result = window_make(&window, address, length);
	if (result < 0)
		return result;
	size_t alignment = alignment_of(length);
	result = host_reserve_aligned(length, alignment, window->base & (alignment - 1), &park);
	if (result < 0) {
		window_end_if_empty(window);
		return result;
	}
	window->places++;
	place->window = window;
	place->park = (uintptr_t)park;
	atomic_store(&place->displacement, place->park - window->base);
	*base = window->base;
	return 0;
}

void window_leave(struct place *place)
{
	struct window *window = place->window;
	if (window->current == place)
		window->current = NULL;
	host_release((void *)place->park, window->length);
	window->places--;
	window_end_if_empty(window);
	place->window = NULL;
}

/* ---- Moving ---------------------------------------------------------------------------------- */

bool window_can_move(void)
{
	static int can; /* 1: yes, -1: no */
	if (can == 0)
		can = host_can_move() ? 1 : -1;
	/* Where addresses are counted, a move that fails half-way could leave a hole. */
	return can > 0 && !host_counts_addresses();
}

static void park(struct window *window)
{
	struct place *old = window->current;
	if (old != NULL)
		atomic_store(&old->displacement, old->park - window->base);
	window->current = NULL;
}

static void make_current(struct place *place)
{
	place->window->current = place;
	atomic_store(&place->displacement, 0);
}

/* What is moved leaves mappings behind, in which the host would find the same frames again. So
 * nothing is ever a hole that another thread's mmap could take, and of a move that failed all
 * is still there; what is left behind is replaced by the next move, or reserved again. */
int window_move(struct place *place)
{
	struct window *window = place->window;
	struct place *old = window->current;
	int result = 0;
	rwlock_write(&window->lock);
	if (old != NULL) {
		result = host_move(window->base, old->park, window->length);
		if (result == 0)
			park(window);
		else
			host_hide(old->park, window->length);
	}
	if (result == 0) {
		result = host_move(place->park, window->base, window->length);
		if (result == 0)
			make_current(place);
		host_hide(result == 0 ? place->park : window->base, window->length);
	}
	rwlock_write_release(&window->lock);
	return result;
}

void window_exchange(struct place *place)
{
	struct window *window = place->window;
	rwlock_write(&window->lock);
	park(window);
	make_current(place);
	rwlock_write_release(&window->lock);
}

bool window_place_is_valid(const struct place *place)
{
	const struct window *window = place->window;
	uintptr_t displacement = atomic_load(&place->displacement);
	if (window == NULL)
		return displacement == 0;
	return displacement == (window->current == place ? 0 : place->park - window->base);
}

void window_fork_child(void)
{
	for (struct window *window = windows; window != NULL; window = window->next)
		window->lock = (struct rwlock){ 0 };
}
