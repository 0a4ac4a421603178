/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * window.h - several spaces at the same addresses: where the host has the pages of each
 *
 *      window    [base, base + length)   what programs see: the pages of the current space
 *      park      [park, park + length)   one for each space: its pages, while it is not current
 *
 *      host address of a page == its address + the displacement of its space
 *      displacement           == 0 if the space is current, else park - base
 *
 * The addresses of a space stay those of the window, wherever its pages are: only the host's calls
 * are made elsewhere (view.c). A space that has its addresses for itself has no window, no park,
 * and displacement 0.
 *
 * Invariant (window_place_is_valid): at most one place of a window has displacement 0, and it is
 * window->current. All of a window and of each park is reserved, always: nothing else can come to lie
 * there, whatever other threads map meanwhile.
 *
 * Locking: making, ending and moving places by the caller (spaces_lock). A window's own lock is
 * held for reading around each call that tells the host where a page is, for writing while pages are
 * moved: of rank 2.5, below a PTE's lock bit and above the leaves. Who has one waits for nothing.
 * Signal context: window_enter, window_exit.
 * Source: mremap(2); the segment registers of a context switch, OSTEP ch. 15, 16.
 */
#ifndef UPAGE_WINDOW_H
#define UPAGE_WINDOW_H

#include <stdbool.h>

#include "lock.h"

/* Tables of the host's that are moved as they are, and not entry by entry, begin and end here. */
#define WINDOW_ALIGNMENT ((size_t)2 << 20)

struct window {
	struct rwlock lock;
	uintptr_t base;
	size_t length;
	struct place *current; /* or NULL: nothing is there but the reservation */
	unsigned places;       /* 0: not in use */
	struct window *next;   /* of all that ever were */
};

/* Of a space. */
struct place {
	struct window *window; /* NULL: it has its addresses for itself */
	uintptr_t park;
	_Atomic uintptr_t displacement;
};

static inline uintptr_t window_displacement(const struct place *place)
{
	return place != NULL ? atomic_load(&place->displacement) : 0;
}

/* The pages of all spaces of the window stay where the host has them, until window_exit().
 * Return: the displacement of @place, which may be NULL. */
static inline uintptr_t window_enter(const struct place *place)
{
	if (place != NULL)
		rwlock_read(&place->window->lock);
	return window_displacement(place);
}

static inline void window_exit(const struct place *place)
{
	if (place != NULL)
		rwlock_read_release(&place->window->lock);
}

/**
 * window_join - a place in the window at @address, which is made if there is none
 * @address: a multiple of WINDOW_ALIGNMENT; NULL: in a new window, anywhere
 * @length:  bytes, a multiple of it
 * @base:    out: the first address of the window
 *
 * The place is parked. Return: 0; UPAGE_EEXIST (a window with another length, or something else is
 * there); or the host's error.
 */
int window_join(struct place *place, void *address, size_t length, uintptr_t *base);

/* Nothing of it is shown any more. With the last place goes the window. The displacement stays: nobody
 * must find it in the place of the current one. */
void window_leave(struct place *place);

/* Whether the host can move what a window shows, in a fixed number of calls. */
bool window_can_move(void);

/* Moves the current place's pages to its park, and the pages of @place into the window. Return: 0, or
 * the host's error: @place is parked, and either the current one still is, or there is none. */
int window_move(struct place *place);

/* The same, where nothing of both is shown: no call is made, none fails. */
void window_exchange(struct place *place);

bool window_place_is_valid(const struct place *place);

/* In the child of a fork: those who held locks are not here. */
void window_fork_child(void);

#endif
