/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replace_random.c - any frame, by a seeded generator: the baseline, and the shortest policy
 *
 * The frames that hold pages are kept dense in one array, with each frame's place in it, so
 * that a choice is one random number. The first `offered` places have been offered in this
 * round; an offer swaps the chosen frame in among them, so that a round offers each frame
 * once, in random order.
 *
 *      order[place[p] - 1] == p  for each of the `held` frames p;  place[p] == 0 for others
 *
 * Source: OSTEP ch. 22; Fisher and Yates's shuffle; Vigna's splitmix64 for the numbers.
 */
#include "replace.h"

struct random {
	uint64_t frames, held, offered, seed;
	uint32_t tables[]; /* order, then place; one word a frame each */
};

static uint32_t *order_of(struct random *random)
{
	return random->tables;
}

static uint32_t *place_of(struct random *random)
{
	return random->tables + random->frames;
}

static size_t random_state_size(uint64_t frames)
{
	return sizeof(struct random) + 2 * frames * sizeof(uint32_t);
}

static void random_init(void *state, uint64_t frames, uint64_t seed)
{
	struct random *random = state;
	random->frames = frames;
	random->seed = seed;
}

static uint64_t random_next(struct random *random)
{
	uint64_t z = (random->seed += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void random_put(struct random *random, uint64_t index, uint32_t pfn)
{
	order_of(random)[index] = pfn;
	place_of(random)[pfn] = (uint32_t)index + 1;
}

static void random_insert(void *state, upage_pfn pfn)
{
	struct random *random = state;
	INVARIANT(pfn < random->frames && place_of(random)[pfn] == 0);
	random_put(random, random->held++, (uint32_t)pfn);
}

static void random_remove(void *state, upage_pfn pfn)
{
	struct random *random = state;
	uint64_t hole = place_of(random)[pfn] - 1;
	INVARIANT(place_of(random)[pfn] != 0);
	/* The last of those offered fills the hole, and the last of all fills its place. */
	if (hole < random->offered) {
		random_put(random, hole, order_of(random)[--random->offered]);
		hole = random->offered;
	}
	if (hole != --random->held)
		random_put(random, hole, order_of(random)[random->held]);
	place_of(random)[pfn] = 0;
}

static void random_move(void *state, upage_pfn from, upage_pfn to)
{
	struct random *random = state;
	INVARIANT(place_of(random)[from] != 0 && place_of(random)[to] == 0);
	random_put(random, place_of(random)[from] - 1, (uint32_t)to);
	place_of(random)[from] = 0;
}

static upage_pfn random_candidate(void *state, struct aged *aged, enum look *look)
{
	struct random *random = state;
	(void)aged;
	(void)look;
	if (random->held == 0)
		return REPLACE_NONE;
	if (random->offered >= random->held)
		random->offered = 0;
	uint64_t left = random->held - random->offered;
	uint64_t chosen = random->offered + random_next(random) % left;
	uint32_t pfn = order_of(random)[chosen];
	random_put(random, chosen, order_of(random)[random->offered]);
	random_put(random, random->offered++, pfn);
	return pfn;
}

const struct replace_ops replace_random = { .name = "random",
	                                    .state_size = random_state_size,
	                                    .init = random_init,
	                                    .insert = random_insert,
	                                    .remove = random_remove,
	                                    .move = random_move,
	                                    .candidate = random_candidate };
