/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replace_clock.c - CLOCK, or second chance: the default
 *
 * Frames are a circle in the order of their numbers, each with a reference bit that is set when
 * a page is placed and when a reference shows. The hand clears the bits it meets (and has the
 * host forget them) and offers the first frame whose bit is clear already. If that turns out to
 * have been referenced since, its bit is set again, and the hand goes on.
 *
 *      state[p] == 0          no page in frame p
 *      state[p] == HELD       not referenced since the hand passed: a candidate
 *      state[p] == HELD|REF   referenced
 *
 * With the bit set on placement the hand sees just what it would see in hardware reference bits.
 * What a look at them costs is bounded where candidates are taken (evict.c): when nearly all pages
 * are in use, finding one that is not would cost more than it saves.
 * Source: Corbato, "A Paging Experiment with the Multics System", 1968; OSTEP ch. 22.
 */
#include "replace.h"

#define HELD 1u
#define REFERENCED 2u

struct clock {
	uint64_t frames;
	uint64_t end;  /* past the highest frame ever held: what the hand goes round */
	uint64_t hand;
	uint8_t state[];
};

static size_t clock_state_size(uint64_t frames)
{
	return sizeof(struct clock) + frames;
}

static void clock_init(void *state, uint64_t frames, uint64_t seed)
{
	struct clock *clock = state;
	(void)seed;
	clock->frames = frames;
}

static void clock_insert(void *state, upage_pfn pfn)
{
	struct clock *clock = state;
	INVARIANT(pfn < clock->frames && clock->state[pfn] == 0);
	clock->state[pfn] = HELD | REFERENCED;
	if (pfn >= clock->end)
		clock->end = pfn + 1;
}

static void clock_touch(void *state, upage_pfn pfn)
{
	struct clock *clock = state;
	if (clock->state[pfn] & HELD)
		clock->state[pfn] |= REFERENCED;
}

static void clock_remove(void *state, upage_pfn pfn)
{
	struct clock *clock = state;
	INVARIANT(clock->state[pfn] & HELD);
	clock->state[pfn] = 0;
}

static upage_pfn clock_candidate(void *state, struct aged *aged)
{
	struct clock *clock = state;
	/* Two rounds: the first may do nothing but clear every bit. */
	for (uint64_t steps = 2 * clock->end; steps > 0; steps--) {
		if (clock->hand >= clock->end)
			clock->hand = 0;
		upage_pfn pfn = clock->hand;
		uint8_t *frame = &clock->state[pfn];
		if (*frame & REFERENCED) {
			if (aged->count == REPLACE_AGED_MAX)
				return REPLACE_NONE;
			*frame &= (uint8_t)~REFERENCED;
			aged->frames[aged->count++] = pfn;
		} else if (*frame & HELD) {
			clock->hand++;
			return pfn;
		}
		clock->hand++;
	}
	return REPLACE_NONE;
}

const struct replace_ops replace_clock = { .name = "clock",
	                                   .state_size = clock_state_size,
	                                   .init = clock_init,
	                                   .insert = clock_insert,
	                                   .touch = clock_touch,
	                                   .remove = clock_remove,
	                                   .candidate = clock_candidate };
