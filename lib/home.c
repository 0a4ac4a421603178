/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "home.h"

#include <errno.h>

#include "guard.h"
#include "host.h"

enum state { UNDECIDED, AWAY, BARE, LAID };

#define STATE_BITS 2u
#define STATES_EACH (64 / STATE_BITS) /* in a word */
#define GROUP 512u                    /* leaves: what the next level of a page table has */
#define PLAIN (PROT_READ | PROT_WRITE)

/* ---- States -------------------------------------------------------------------------------- */

static uint64_t leaves(const struct home *home)
{
	return ((home->end - home->start - 1) >> home->leaf_shift) + 1;
}

static size_t states_bytes(const struct home *home)
{
	return (leaves(home) / STATES_EACH + 1) * sizeof(*home->states);
}

static uint64_t leaf_of(const struct home *home, uintptr_t address)
{
	return (address - home->start) >> home->leaf_shift;
}

/* Where a leaf begins; the last one may end before its end. */
static uintptr_t leaf_start(const struct home *home, uint64_t leaf)
{
	return leaf < leaves(home) ? home->start + (leaf << home->leaf_shift) : home->end;
}

static enum state state_of(const struct home *home, uint64_t leaf)
{
	uint64_t word = atomic_load(&home->states[leaf / STATES_EACH]);
	return (enum state)(word >> leaf % STATES_EACH * STATE_BITS & 3);
}

/* Who sets one has the lock. */
static void set_state(struct home *home, uint64_t leaf, enum state state)
{
	uint64_t change = (uint64_t)(state_of(home, leaf) ^ state) << leaf % STATES_EACH * STATE_BITS;
	atomic_fetch_xor(&home->states[leaf / STATES_EACH], change);
}

int home_init(struct home *home, struct upage_pool *pool, uintptr_t start, size_t length, bool never)
{
	*home = (struct home){ .pool = pool, .start = start, .end = start + length,
		               .leaf_shift = pool->frames.page_shift + PAGE_TABLE_NODE_BITS };
	if (never)
		return 0;
	home->states = guard_metadata(states_bytes(home), GUARDED_PAGE_TABLE);
	return home->states != NULL ? 0 : UPAGE_ENOMEM;
}

/* ---- Laying guards ------------------------------------------------------------------------- */

static bool is_laid(const struct home *home, uint64_t leaf)
{
	return leaf < leaves(home) && state_of(home, leaf) == LAID;
}

static void count_seams(struct home *home, int64_t more)
{
	atomic_fetch_add(&home->seams, (uint64_t)more);
	atomic_fetch_add(&home->pool->mappings_laid, (uint64_t)more);
	physical_count_mappings(home->pool, more);
}

/* Leaves beside each other, none of which is laid, become so; or all of them are no more. */
static void set_stretch(struct home *home, uint64_t first, uint64_t end, enum state state)
{
	int64_t sign = state == LAID ? 1 : -1;
	int64_t left = first > 0 && is_laid(home, first - 1) ? -sign : sign;
	int64_t right = is_laid(home, end) ? -sign : sign;
	for (uint64_t leaf = first; leaf < end; leaf++)
		set_state(home, leaf, state);
	count_seams(home, left + right);
}

/* Those of [first, end) that are not in frames. Return: 0, or the first failure of the host's. */
static int lay(struct home *home, uint64_t first, uint64_t end)
{
	int result = 0;
	for (uint64_t leaf = first, stop; leaf < end && result == 0; leaf = stop) {
		enum state state = state_of(home, leaf);
		for (stop = leaf + 1; stop < end && state_of(home, stop) == state; stop++)
			;
		if (state != UNDECIDED && state != BARE)
			continue;
		uintptr_t start = leaf_start(home, leaf);
		result = host_lay_guards(home->pool->frames.home, start, leaf_start(home, stop) - start);
		if (result == 0)
			set_stretch(home, leaf, stop, LAID);
	}
	return result;
}

/* The ends of laid stretches in [first, end], or if @all in it are laid that can be. */
static uint64_t count_ends(const struct home *home, uint64_t first, uint64_t end, bool all)
{
	uint64_t ends = 0;
	bool before = first > 0 && is_laid(home, first - 1);
	for (uint64_t leaf = first; leaf <= end; leaf++) {
		bool laid = leaf < end && all ? state_of(home, leaf) != AWAY : is_laid(home, leaf);
		ends += laid != before;
		before = laid;
	}
	return ends;
}

/* The leaf; and where stretches are many, those of its group, if its gaps are not as many. The lock is
 * held. Return: 0, or -ENOMEM, or a failure of the host's: the leaf is not laid. */
static int lay_around(struct home *home, uint64_t leaf)
{
	uint64_t budget = atomic_load(&home->pool->mapping_budget);
	bool many = atomic_load(&home->seams) > budget / 4;
	uint64_t first = round_down(leaf, GROUP), end = smaller(first + GROUP, leaves(home));
	if (many && home->pool->mappings + count_ends(home, first, end, true) <=
	                    budget - budget / 8 + count_ends(home, first, end, false))
		lay(home, first, end);
	if (is_laid(home, leaf))
		return 0;
	return many && state_of(home, leaf) == UNDECIDED ? -ENOMEM : lay(home, leaf, leaf + 1);
}

/* ---- Who is at home ------------------------------------------------------------------------ */

/* Pages will leave, to memory, and come back: it is calls of the host that this takes most of its time for. A
 * transfer to a disk takes more, and what was only read need not be written there if it is clean. */
static bool come_and_go(struct upage_pool *pool)
{
	return swap_takes_memory(pool->swap) && atomic_load(&pool->committed) > pool->frames.frames;
}

/* While host mappings are plenty, frames do: clones can share them, and what was only read is clean. */
static bool is_wanted(const struct home *home, const struct page *page)
{
	struct upage_pool *pool = home->pool;
	if (page->backing->store != NULL)
		return false;
	bool scarce = pool->mappings > atomic_load(&pool->mapping_budget) / 4;
	return pool->always_home || ((scarce || come_and_go(pool)) && host_has_guards() > 0);
}

static void decide(struct home *home, const struct page *page)
{
	uint64_t leaf = leaf_of(home, page->address);
	lock_acquire(&home->lock);
	if (state_of(home, leaf) == UNDECIDED) {
		bool laid = is_wanted(home, page) && frame_open_home(&home->pool->frames) == 0 &&
		            lay_around(home, leaf) == 0;
		if (!laid)
			set_state(home, leaf, AWAY);
	}
	lock_release(&home->lock);
}

bool home_takes(const struct page *page)
{
	struct home *home = page->backing->home;
	if (home == NULL)
		return false;
	uint64_t leaf = leaf_of(home, page->address);
	if (state_of(home, leaf) == UNDECIDED)
		decide(home, page);
	return state_of(home, leaf) >= BARE;
}

bool home_has(const struct home *home, uintptr_t address)
{
	return home->states != NULL && state_of(home, leaf_of(home, address)) >= BARE;
}

/* ---- Showing and hiding -------------------------------------------------------------------- */

static int lay_all(struct home *home, uintptr_t address, size_t length)
{
	int result = 0;
	for (uint64_t leaf = leaf_of(home, address); leaf <= leaf_of(home, address + length - 1); leaf++) {
		if (state_of(home, leaf) == LAID)
			continue;
		lock_acquire(&home->lock);
		int failure = lay_around(home, leaf);
		lock_release(&home->lock);
		result = failure < 0 ? failure : result;
	}
	return result;
}

int home_protect(struct home *home, uintptr_t address, size_t length, int prot)
{
	if (prot != PLAIN)
		atomic_store(&home->protects, true);
	return host_protect(address, length, prot);
}

int home_show(struct home *home, uintptr_t address, size_t length, int prot, bool lazily)
{
	int result = lay_all(home, address, length);
	if (result == 0 && (prot != PLAIN || atomic_load(&home->protects)))
		result = home_protect(home, address, length, prot);
	return result == 0 ? host_unguard(address, length, prot & PROT_WRITE, lazily) : result;
}

/* It has the protection of all others again, if the host lets us: who shows it makes sure. */
int home_hide(struct home *home, uintptr_t address, size_t length)
{
	int result = host_guard(address, length);
	if (result == 0 && atomic_load(&home->protects))
		host_protect(address, length, PLAIN);
	return result;
}

/* ---- Giving up ----------------------------------------------------------------------------- */

void home_forget(struct home *home, uintptr_t start, uintptr_t end)
{
	if (home->states == NULL)
		return;
	uint64_t first = leaf_of(home, start + ((uintptr_t)1 << home->leaf_shift) - 1);
	uint64_t last = end == home->end ? leaves(home) : leaf_of(home, end);
	lock_acquire(&home->lock);
	for (uint64_t leaf = first, stop; leaf < last; leaf = stop) {
		enum state state = state_of(home, leaf);
		stop = round_down(leaf, STATES_EACH) + STATES_EACH;
		if (atomic_load(&home->states[leaf / STATES_EACH]) == 0) /* most of a large space */
			continue;
		for (stop = leaf + 1; stop < last && state_of(home, stop) == state; stop++)
			;
		uintptr_t from = leaf_start(home, leaf);
		if (state == LAID && host_hide(from, leaf_start(home, stop) - from) == 0)
			set_stretch(home, leaf, stop, UNDECIDED);
		for (uint64_t i = leaf; i < stop && (state == AWAY || state == BARE); i++)
			set_state(home, i, UNDECIDED);
	}
	lock_release(&home->lock);
}

void home_bare(struct home *home)
{
	home->lock = (struct lock){ 0 }; /* in a child, who held it may not be here */
	if (home->states == NULL || atomic_load(&home->seams) == 0)
		return;
	for (uint64_t leaf = 0; leaf < leaves(home); leaf++)
		if (is_laid(home, leaf))
			set_state(home, leaf, BARE);
	atomic_fetch_sub(&home->pool->mappings_laid, atomic_exchange(&home->seams, 0));
}

void home_end(struct home *home)
{
	if (home->states == NULL)
		return;
	count_seams(home, -(int64_t)atomic_load(&home->seams));
	guard_metadata_release(home->states, states_bytes(home));
	home->states = NULL;
}
