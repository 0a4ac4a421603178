/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_frame.c - is every frame somewhere, once, and does it hold what was put there?
 */
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frame.h"
#include "host.h"
#include "support.h"

static struct frame_table table;

static void begin(uint64_t frames, unsigned page_shift)
{
	ck_assert_ok(frame_table_init(&table, frames, page_shift));
	ck_assert(frame_table_is_valid(&table));
}

/* Every frame is free again, and the runs are as large as they were. */
static void end(uint64_t frames)
{
	ck_assert(frame_table_is_valid(&table));
	ck_assert_uint_eq(atomic_load(&table.free), frames);
	ck_assert_uint_eq(frame_largest_run(&table), frames);
	frame_table_destroy(&table);
}

/* ---- Runs against a model -------------------------------------------------------------- */

#define RUNS 4096

struct model {
	uint64_t frames, free, free_least, random;
	bool *used; /* [frames] */
	size_t runs;
	struct {
		uint32_t pfn, count;
	} run[RUNS];
};

/* The largest aligned block with @pfn in it that is free and inside the pool; -1: none. */
static int model_order(const struct model *model, uint64_t pfn)
{
	int order = -1;
	for (int wider = 0; wider < 32; wider++) {
		uint64_t head = pfn >> wider << wider, past = head + (UINT64_C(1) << wider);
		if (past > model->frames)
			break;
		for (uint64_t p = head; p < past; p++)
			if (model->used[p])
				return order;
		order = wider;
	}
	return order;
}

/* The smallest order of a free block from @least on, -1: none; and the largest of all. */
static int model_fit(const struct model *model, int least, int *largest)
{
	int best = -1;
	*largest = -1;
	for (uint64_t p = 0; p < model->frames;) {
		int order = model_order(model, p);
		if (order > *largest)
			*largest = order;
		if (order >= least && (best < 0 || order < best))
			best = order;
		p += order >= 0 ? UINT64_C(1) << order : 1;
	}
	return best;
}

/* Free frames beside each other, aligned or not. */
static uint64_t model_longest(const struct model *model)
{
	uint64_t longest = 0, length = 0;
	for (uint64_t p = 0; p < model->frames; p++) {
		length = model->used[p] ? 0 : length + 1;
		longest = length > longest ? length : longest;
	}
	return longest;
}

static void model_take(struct model *model, uint32_t pfn, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		must(pfn + i < model->frames);
		must(!model->used[pfn + i]);
		model->used[pfn + i] = true;
	}
	model->run[model->runs].pfn = pfn;
	model->run[model->runs++].count = count;
	model->free -= count;
	if (model->free < model->free_least)
		model->free_least = model->free;
}

static void model_allocate(struct model *model, bool look_closely)
{
	uint32_t count = 1 + (uint32_t)(random_number(&model->random) % 70);
	if (random_number(&model->random) % 3 == 0)
		count = 1;
	int largest, least = (int)log2_ceiling(count), fit = 0;
	if (look_closely)
		fit = model_fit(model, least, &largest);
	uint32_t pfn = frame_allocate(&table, count);
	if (pfn == FRAME_NONE) {
		must(model_fit(model, least, &largest) < 0);
		return;
	}
	if (look_closely && fit >= 0)
		must(model_order(model, pfn) == fit);
	model_take(model, pfn, count);
}

static void model_allocate_at(struct model *model)
{
	uint64_t pfn = random_number(&model->random) % (model->frames + 2);
	bool is_free = pfn < model->frames && !model->used[pfn];
	must(frame_allocate_at(&table, pfn) == is_free);
	if (is_free)
		model_take(model, (uint32_t)pfn, 1);
}

/* A whole run, or a part of it from either side. */
static void model_free(struct model *model)
{
	size_t i = random_number(&model->random) % model->runs;
	uint32_t pfn = model->run[i].pfn, count = model->run[i].count;
	if (count > 1 && random_number(&model->random) % 2 == 0) {
		uint32_t part = 1 + (uint32_t)(random_number(&model->random) % (count - 1));
		model->run[i].count -= part;
		if (random_number(&model->random) % 2 == 0)
			model->run[i].pfn += part;
		else
			pfn += count - part;
		count = part;
	} else {
		model->run[i] = model->run[--model->runs];
	}
	for (uint32_t p = pfn; p < pfn + count; p++)
		model->used[p] = false;
	model->free += count;
	frame_free(&table, pfn, count);
}

static void model_compare(struct model *model)
{
	int largest;
	must(frame_table_is_valid(&table));
	must(table.free == model->free);
	must(table.free_least == model->free_least);
	model_fit(model, 0, &largest);
	uint64_t run = frame_largest_run(&table);
	must(run >= (largest < 0 ? 0 : UINT64_C(1) << largest) && run <= model_longest(model));
	must(model->frames > 64 || run == model_longest(model));
}

START_TEST(a_long_life_of_runs_agrees_with_a_model)
{
	static const uint64_t pools[] = { 16, 17, 64, 1000, 65537 };
	uint64_t frames = pools[_i];
	static struct model model;
	model = (struct model){ .frames = frames, .free = frames, .free_least = frames };
	model.random = frames;
	model.used = calloc(frames, sizeof(*model.used));
	begin(frames, 12);
	bool small = frames <= 1000;
	unsigned steps = frames == 1000 ? 6000 : 20000;
	for (unsigned step = 0; step < steps; step++) {
		/* Tides: mostly taking, then mostly giving back. */
		bool take = random_number(&model.random) % 8 < (step / 1000 % 2 == 0 ? 6 : 2);
		if (model.runs == 0 || (take && model.runs < RUNS)) {
			if (random_number(&model.random) % 4 == 0)
				model_allocate_at(&model);
			else
				model_allocate(&model, small);
		} else {
			model_free(&model);
		}
		if (step % 100 == 99)
			model_compare(&model);
	}
	while (model.runs > 0)
		model_free(&model);
	end(frames);
	free(model.used);
}
END_TEST

/* ---- Runs ------------------------------------------------------------------------------ */

START_TEST(a_fresh_table_is_free_in_its_largest_runs)
{
	static const uint64_t pools[] = { 1, 2, 16, 17, 1000, 1023, 1024, 65537 };
	uint64_t frames = pools[_i];
	begin(frames, 12);
	ck_assert_uint_eq(atomic_load(&table.free), frames);
	ck_assert_uint_eq(table.free_least, frames);
	/* 1000 = 512 + 256 + 128 + 64 + 32 + 8: a run for each bit */
	uint64_t left = frames;
	for (unsigned order = 32; order-- > 0;) {
		if (!(frames >> order & 1))
			continue;
		ck_assert_uint_eq(frame_largest_run(&table), left);
		ck_assert_uint_eq(frame_allocate(&table, UINT32_C(1) << order), frames - left);
		left -= UINT64_C(1) << order;
	}
	ck_assert_uint_eq(frame_largest_run(&table), 0);
	ck_assert_uint_eq(frame_allocate(&table, 1), FRAME_NONE);
	ck_assert_uint_eq(table.free_least, 0);
	frame_free(&table, 0, (uint32_t)frames);
	end(frames);
}
END_TEST

START_TEST(a_freed_run_joins_its_buddies)
{
	begin(64, 12);
	for (uint32_t i = 0; i < 64; i++)
		ck_assert_uint_ne(frame_allocate(&table, 1), FRAME_NONE);
	static const uint32_t order[] = { 5, 4, 7, 6, 1, 0, 2, 3 };
	static const uint64_t largest[] = { 1, 2, 2, 4, 4, 4, 4, 8 };
	for (unsigned i = 0; i < 8; i++) {
		frame_free(&table, order[i], 1);
		ck_assert_uint_eq(frame_largest_run(&table), largest[i]);
	}
	frame_free(&table, 8, 56);
	end(64);
}
END_TEST

START_TEST(neighbours_that_are_no_buddies_do_not_join_but_are_found_together)
{
	begin(16, 12);
	ck_assert_uint_eq(frame_allocate(&table, 16), 0);
	frame_free(&table, 3, 2); /* 3 and 4: buddies are 2-3 and 4-5 */
	ck_assert(frame_table_is_valid(&table));
	ck_assert_uint_eq(frame_largest_run(&table), 2);
	ck_assert_uint_eq(frame_allocate(&table, 3), FRAME_NONE);
	ck_assert_uint_eq(frame_allocate(&table, 2), 3);
	frame_free(&table, 0, 16);
	end(16);
}
END_TEST

/* 5 to 11 are 5, 6-7, 8-11; 13 to 15 are shorter. */
START_TEST(a_long_stretch_of_short_runs_is_the_largest)
{
	begin(16, 12);
	ck_assert_uint_eq(frame_allocate(&table, 16), 0);
	frame_free(&table, 5, 7);
	frame_free(&table, 13, 3);
	ck_assert_uint_eq(frame_largest_run(&table), 7);
	ck_assert_uint_eq(frame_allocate(&table, 8), FRAME_NONE);
	ck_assert_uint_eq(frame_allocate(&table, 6), 5);
	ck_assert_uint_eq(frame_largest_run(&table), 3);
	frame_free(&table, 0, 5);
	frame_free(&table, 5, 6);
	frame_free(&table, 12, 1);
	end(16);
}
END_TEST

START_TEST(a_run_that_does_not_fit_changes_nothing)
{
	begin(1000, 12);
	ck_assert_uint_eq(frame_allocate(&table, 1001), FRAME_NONE);
	ck_assert_uint_eq(frame_allocate(&table, UINT32_C(1) << 31), FRAME_NONE);
	ck_assert_uint_eq(table.free_least, 1000);
	end(1000);
}
END_TEST

START_TEST(the_rest_of_a_run_stays_free)
{
	begin(16, 12);
	ck_assert_uint_eq(frame_allocate(&table, 5), 0);
	ck_assert_uint_eq(atomic_load(&table.free), 11);
	ck_assert_uint_eq(frame_largest_run(&table), 11);
	/* 5 = 4 + 1 of 8: the rest is 5, and 6 to 7 */
	ck_assert_uint_eq(frame_allocate(&table, 2), 6);
	ck_assert_uint_eq(frame_allocate(&table, 1), 5);
	ck_assert_uint_eq(frame_allocate(&table, 8), 8);
	frame_free(&table, 0, 16);
	end(16);
}
END_TEST

START_TEST(the_least_that_was_free_is_remembered)
{
	begin(100, 12);
	uint32_t first = frame_allocate(&table, 30), second = frame_allocate(&table, 20);
	frame_free(&table, first, 30);
	ck_assert(frame_allocate_at(&table, first));
	ck_assert_uint_eq(table.free_least, 50);
	frame_free(&table, first, 1);
	frame_free(&table, second, 20);
	ck_assert_uint_eq(table.free_least, 50);
	end(100);
}
END_TEST

START_TEST(a_frame_asked_for_by_number_is_taken_alone)
{
	for (uint64_t wanted = 0; wanted < 17; wanted++) {
		begin(17, 12);
		ck_assert(frame_allocate_at(&table, wanted));
		ck_assert(frame_table_is_valid(&table));
		ck_assert_uint_eq(atomic_load(&table.free), 16);
		for (uint64_t other = 0; other < 17; other++)
			ck_assert_int_eq(frame_allocate_at(&table, other), other != wanted);
		frame_free(&table, 0, 17);
		end(17);
	}
}
END_TEST

START_TEST(a_frame_past_the_end_cannot_be_asked_for)
{
	begin(17, 12);
	ck_assert(!frame_allocate_at(&table, 17));
	ck_assert(!frame_allocate_at(&table, 31));
	ck_assert(!frame_allocate_at(&table, UINT32_MAX));
	ck_assert(!frame_allocate_at(&table, UINT64_C(1) << 32));
	ck_assert(!frame_allocate_at(&table, UINT64_MAX));
	end(17);
}
END_TEST

START_TEST(a_frame_handed_out_has_no_page_backing_or_slot)
{
	struct backing *const backing = (struct backing *)(void *)&table;
	begin(16, 12);
	for (uint32_t p = 0; p < 16; p++)
		ck_assert(frame_allocate_at(&table, p));
	for (uint32_t p = 0; p < 16; p++) {
		table.frame[p].page = 0x123000;
		table.frame[p].backing = backing;
		table.frame[p].slot = 77;
	}
	frame_free(&table, 0, 16);
	ck_assert_uint_eq(frame_allocate(&table, 16), 0);
	for (uint32_t p = 0; p < 16; p++) {
		ck_assert_uint_eq(table.frame[p].page, 0);
		ck_assert_ptr_null(table.frame[p].backing);
		ck_assert_uint_eq(table.frame[p].slot, 0);
		ck_assert_int_eq(table.frame[p].state, FRAME_USED);
	}
	frame_free(&table, 0, 16);
	end(16);
}
END_TEST

START_TEST(a_table_that_lost_a_frame_is_not_valid)
{
	begin(64, 12);
	uint32_t pfn = frame_allocate(&table, 1);
	table.frame[pfn].state = FRAME_FREE_BODY; /* neither used nor in a run */
	ck_assert(!frame_table_is_valid(&table));
	table.frame[pfn].state = FRAME_USED;
	ck_assert(frame_table_is_valid(&table));
	table.free++; /* counted wrongly */
	ck_assert(!frame_table_is_valid(&table));
	table.free--;
	frame_free(&table, pfn, 1);
	end(64);
}
END_TEST

/* ---- Threads --------------------------------------------------------------------------- */

#define THREADS 4
#define POOL 512

static _Atomic unsigned owner[POOL];

static void *take_and_give(void *argument)
{
	uint64_t random = (uintptr_t)argument, clashes = 0;
	struct {
		uint32_t pfn, count;
	} mine[8];
	unsigned held = 0;
	for (unsigned i = 0; i < 10000 || held > 0; i++) {
		if (i < 10000 && held < 8 && random_number(&random) % 2 == 0) {
			uint32_t count = 1 + (uint32_t)(random_number(&random) % 20);
			uint32_t pfn = frame_allocate(&table, count);
			if (pfn == FRAME_NONE && count != 1)
				continue;
			if (pfn == FRAME_NONE) {
				pfn = (uint32_t)(random_number(&random) % POOL);
				if (!frame_allocate_at(&table, pfn))
					continue;
			}
			for (uint32_t p = pfn; p < pfn + count; p++)
				clashes += atomic_exchange(&owner[p], 1) != 0;
			mine[held].pfn = pfn;
			mine[held++].count = count;
		} else if (held > 0) {
			unsigned which = (unsigned)(random_number(&random) % held);
			uint32_t pfn = mine[which].pfn, count = mine[which].count;
			for (uint32_t p = pfn; p < pfn + count; p++)
				clashes += atomic_exchange(&owner[p], 0) != 1;
			frame_free(&table, pfn, count);
			mine[which] = mine[--held];
		}
	}
	return (void *)(uintptr_t)clashes;
}

START_TEST(no_two_threads_get_the_same_frame)
{
	pthread_t threads[THREADS];
	begin(POOL, 12);
	for (uintptr_t t = 0; t < THREADS; t++) {
		void *seed = (void *)(t + 1);
		ck_assert_int_eq(pthread_create(&threads[t], NULL, take_and_give, seed), 0);
	}
	for (unsigned t = 0; t < THREADS; t++) {
		void *clashes;
		ck_assert_int_eq(pthread_join(threads[t], &clashes), 0);
		ck_assert_ptr_null(clashes);
	}
	end(POOL);
}
END_TEST

/* ---- Zones ----------------------------------------------------------------------------- */

#define ZONE 4096u
#define ZONED (5 * ZONE + 100) /* frames: the last zone is short */

/* Nearly all frames are free, and in one run; each thread takes one and gives it back. Loop: by either call. */
static int way;

static void *take_again_and_again(void *unused)
{
	uintptr_t missed = 0;
	(void)unused;
	for (unsigned i = 0; i < 300000; i++) {
		uint32_t pfn = way == 0 ? frame_allocate(&table, 1) : frame_allocate_placed(&table, i, FRAME_PLACE_ORDER);
		if (pfn == FRAME_NONE)
			missed++;
		else
			frame_free(&table, pfn, 1);
	}
	return (void *)missed;
}

START_TEST(while_frames_are_free_one_is_found)
{
	pthread_t threads[THREADS];
	void *missed;
	way = _i;
	begin(1024, 12);
	for (size_t t = 0; t < THREADS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, take_again_and_again, NULL), 0);
	for (size_t t = 0; t < THREADS; t++) {
		ck_assert_int_eq(pthread_join(threads[t], &missed), 0);
		ck_assert_uint_eq((uintptr_t)missed, 0);
	}
	end(1024);
}
END_TEST

START_TEST(what_one_thread_takes_lies_together)
{
	begin(ZONED, 12);
	ck_assert_uint_eq(table.zones, 6);
	for (uint32_t i = 0; i < 5 * ZONE; i += 512) { /* from run to run, and from zone to zone */
		ck_assert_uint_eq(frame_allocate_placed(&table, i, FRAME_PLACE_ORDER), i);
		ck_assert_uint_eq(frame_allocate_from(&table, i + 1, 511), 511);
	}
	for (uint32_t i = 5 * ZONE; i < ZONED; i++)
		ck_assert_uint_ge(frame_allocate_placed(&table, 0, FRAME_PLACE_ORDER), 5 * ZONE);
	ck_assert_uint_eq(frame_allocate_placed(&table, 0, FRAME_PLACE_ORDER), FRAME_NONE);
	ck_assert_uint_eq(frame_allocate(&table, 1), FRAME_NONE);
	ck_assert_uint_eq(frame_largest_run(&table), 0);
	frame_free(&table, 0, ZONED);
	end(ZONED);
}
END_TEST

START_TEST(frames_beside_each_other_may_be_of_several_zones)
{
	begin(ZONED, 12);
	ck_assert_uint_eq(frame_allocate_from(&table, ZONE - 10, 2 * ZONE), 2 * ZONE);
	ck_assert_uint_eq(frame_largest_run(&table), ZONED - (3 * ZONE - 10));
	ck_assert_uint_eq(frame_free_below(&table, ZONE - 10), ZONE - 10);
	ck_assert_uint_eq(frame_allocate_from(&table, ZONE - 20, 20), 10);
	frame_free(&table, ZONE - 20, ZONE);
	ck_assert(frame_table_is_valid(&table));
	ck_assert_uint_eq(frame_allocate_run(&table, 2 * ZONE - 20, false), 0);
	ck_assert_uint_eq(frame_allocate_run(&table, ZONE, false), 3 * ZONE - 10);
	ck_assert(!frame_allocate_run_at(&table, ZONED - 2 * ZONE, 2 * ZONE));
	ck_assert(frame_table_is_valid(&table));
	ck_assert_uint_eq(frame_allocate(&table, ZONE + 110), 4 * ZONE - 10);
	ck_assert_uint_eq(atomic_load(&table.free), 0);
	frame_free_run(&table, 0, 2 * ZONE - 20);
	frame_free_run(&table, 3 * ZONE - 10, ZONE);
	frame_free(&table, 2 * ZONE - 20, ZONE + 10);
	frame_free(&table, 4 * ZONE - 10, ZONE + 110);
	ck_assert_uint_eq(frame_allocate_run(&table, 4 * ZONE, false), 0);
	frame_free_run(&table, 0, 4 * ZONE);
	end(ZONED);
}
END_TEST

START_TEST(what_was_never_taken_is_part_of_what_is_free_beside_it)
{
	begin(ZONED, 12);
	ck_assert_uint_eq(frame_table_end(&table), 0);
	ck_assert(frame_allocate_at(&table, 3 * ZONE + 7));
	ck_assert_uint_eq(frame_table_end(&table), 4 * ZONE);
	ck_assert_uint_eq(frame_next(&table, 0), ZONE);
	ck_assert_uint_eq(frame_next(&table, 3 * ZONE + 7), 3 * ZONE + 8);
	ck_assert_uint_eq(frame_largest_run(&table), 3 * ZONE + 7);
	ck_assert_uint_eq(frame_free_below(&table, 3 * ZONE + 7), 3 * ZONE + 7);
	ck_assert_uint_eq(frame_allocate_run(&table, 3 * ZONE + 8, false), FRAME_NONE);
	ck_assert_uint_eq(frame_allocate_run(&table, 3 * ZONE + 7, true), 0);
	frame_free_run(&table, 0, 3 * ZONE + 7);
	frame_free(&table, 3 * ZONE + 7, 1);
	end(ZONED);
}
END_TEST

START_TEST(what_is_zeroed_ahead_may_be_in_any_zone)
{
	static const uint32_t stained[] = { 3, ZONE - 1, ZONE, 3 * ZONE + 9, ZONED - 1 };
	static char bytes[PAGE];
	uint64_t hand = 0;
	int zeroed = 0;
	begin(ZONED, 12);
	memset(bytes, 1, PAGE);
	for (size_t i = 0; i < LENGTH(stained); i++) {
		ck_assert(frame_allocate_at(&table, stained[i]));
		ck_assert_ok(frame_write(&table, stained[i], bytes));
		frame_free(&table, stained[i], 1);
	}
	for (unsigned i = 0; i < 2 * ZONED / FRAME_ZERO_LOOK; i++)
		zeroed += frame_zero_ahead(&table, &hand, 16);
	ck_assert_int_eq(zeroed, LENGTH(stained));
	for (size_t i = 0; i < LENGTH(stained); i++) {
		ck_assert(frame_is_zero_run(&table, stained[i], 1));
		ck_assert_ok(frame_read(&table, stained[i], bytes));
		ck_assert_int_eq(bytes[0] | bytes[PAGE - 1], 0);
	}
	end(ZONED);
}
END_TEST

static _Atomic unsigned zone_owner[ZONED];
static _Atomic bool runs_are_over;

/* Return: whether a frame was somebody else's. */
static bool own_all(uint32_t pfn, uint32_t count, unsigned before, unsigned after)
{
	bool clash = false;
	for (uint32_t p = pfn; p < pfn + count; p++)
		clash = atomic_exchange(&zone_owner[p], after) != before || clash;
	return clash;
}

#define HELD 6u /* pieces, by each thread */

/* As page faults do: a frame somewhere, frames behind it, and all of them back. */
static void *take_beside(void *argument)
{
	uint64_t random = (uintptr_t)argument, clashes = 0;
	unsigned me = (unsigned)(uintptr_t)argument;
	uint32_t first[HELD] = { 0 }, count[HELD] = { 0 };
	while (!atomic_load(&runs_are_over)) {
		unsigned i = (unsigned)(random_number(&random) % HELD);
		if (count[i] > 0) {
			clashes += own_all(first[i], count[i], me, 0);
			frame_free(&table, first[i], count[i]);
			count[i] = 0;
			continue;
		}
		uint64_t number = random_number(&random);
		first[i] = number % 4 == 0 ? frame_allocate(&table, 1) :
		                             frame_allocate_placed(&table, number, FRAME_PLACE_ORDER);
		if (first[i] == FRAME_NONE)
			continue;
		count[i] = 1 + frame_allocate_from(&table, first[i] + UINT64_C(1), (uint32_t)(number / 4 % 40));
		clashes += own_all(first[i], count[i], 0, me);
	}
	for (unsigned i = 0; i < HELD; i++) {
		clashes += own_all(first[i], count[i], me, 0);
		frame_free(&table, first[i], count[i]);
	}
	return (void *)(uintptr_t)clashes;
}

START_TEST(runs_across_zones_are_found_while_threads_take_from_all)
{
	pthread_t threads[THREADS];
	unsigned across = 0, clashes = 0;
	begin(ZONED, 12);
	for (uintptr_t t = 0; t < THREADS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, take_beside, (void *)(t + 1)), 0);
	for (unsigned i = 0; i < 2 * ZONE; i++) {
		uint32_t count = 100 + i % ZONE;
		uint32_t pfn = i % 3 == 0 ? frame_allocate(&table, count) : frame_allocate_run(&table, count, i % 3 == 1);
		if (pfn == FRAME_NONE)
			continue;
		across += pfn / ZONE != (pfn + count - 1) / ZONE;
		clashes += own_all(pfn, count, 0, THREADS + 1);
		clashes += own_all(pfn, count, THREADS + 1, 0);
		if (i % 3 == 0)
			frame_free(&table, pfn, count);
		else
			frame_free_run(&table, pfn, count);
		ck_assert_uint_le(frame_largest_run(&table), ZONED);
	}
	atomic_store(&runs_are_over, true);
	for (unsigned t = 0; t < THREADS; t++) {
		void *theirs;
		ck_assert_int_eq(pthread_join(threads[t], &theirs), 0);
		ck_assert_ptr_null(theirs);
	}
	ck_assert_uint_eq(clashes, 0);
	ck_assert_uint_gt(across, 0);
	end(ZONED);
}
END_TEST

/* ---- Content --------------------------------------------------------------------------- */

START_TEST(a_frame_gives_back_what_was_written)
{
	static const unsigned shifts[] = { 12, 16, 21 };
	unsigned shift = shifts[_i];
	size_t size = (size_t)1 << shift;
	char *expected = malloc(size), *found = malloc(size);
	begin(17, shift);
	ck_assert_uint_eq(frame_size(&table), size);
	for (uint32_t pfn = 0; pfn < 17; pfn++) {
		random_bytes(expected, size, pfn);
		ck_assert_ok(frame_write(&table, pfn, expected));
	}
	for (uint32_t pfn = 17; pfn-- > 0;) {
		random_bytes(expected, size, pfn);
		ck_assert_ok(frame_read(&table, pfn, found));
		ck_assert_mem_eq(found, expected, size);
	}
	end(17);
	free(expected);
	free(found);
}
END_TEST

START_TEST(a_frame_past_four_gibibytes_is_no_other_frame)
{
	static char expected[PAGE], found[PAGE];
	uint32_t high = (UINT32_C(1) << 20) + 3; /* 4 GiB and 3 pages: 3, if an offset is cut */
	begin((UINT32_C(1) << 20) + 16, 12);
	random_bytes(expected, PAGE, 1);
	ck_assert_ok(frame_write(&table, high, expected));
	ck_assert_ok(frame_read(&table, 3, found));
	for (size_t i = 0; i < PAGE; i++)
		must(found[i] == 0);
	ck_assert_ok(frame_read(&table, high, found));
	ck_assert_mem_eq(found, expected, PAGE);
	frame_table_destroy(&table);
}
END_TEST

START_TEST(zeroing_a_frame_reaches_all_of_it_and_no_neighbour)
{
	static const unsigned shifts[] = { 12, 16, 21 };
	unsigned shift = shifts[_i];
	size_t size = (size_t)1 << shift;
	char *bytes = malloc(size), *zeros = calloc(1, size);
	begin(16, shift);
	memset(bytes, 0x5a, size);
	for (uint32_t pfn = 3; pfn < 6; pfn++)
		ck_assert_ok(frame_write(&table, pfn, bytes));
	ck_assert_ok(frame_zero(&table, 4));
	char *found = malloc(size);
	ck_assert_ok(frame_read(&table, 4, found));
	ck_assert_mem_eq(found, zeros, size);
	ck_assert_ok(frame_read(&table, 3, found));
	ck_assert_mem_eq(found, bytes, size);
	ck_assert_ok(frame_read(&table, 5, found));
	ck_assert_mem_eq(found, bytes, size);
	end(16);
	free(bytes);
	free(zeros);
	free(found);
}
END_TEST

/* The pager writes to frames through the pages that the host shows, past frame_write. */
START_TEST(a_frame_stained_behind_the_tables_back_is_zeroed_for_the_next_owner)
{
	static char bytes[PAGE], zeros[PAGE], found[PAGE];
	memset(bytes, 0x77, PAGE);
	begin(16, 12);
	for (unsigned owner_number = 0; owner_number < 3; owner_number++) {
		ck_assert(frame_allocate_at(&table, 9));
		ck_assert_ok(frame_zero(&table, 9));
		ck_assert_ok(frame_read(&table, 9, found));
		ck_assert_mem_eq(found, zeros, PAGE);
		ck_assert_int_eq(pwrite(table.memory, bytes, PAGE, frame_offset(&table, 9)), PAGE);
		frame_free(&table, 9, 1);
	}
	end(16);
}
END_TEST

START_TEST(zeroing_a_frame_that_was_never_written_costs_no_memory)
{
	static char bytes[PAGE];
	struct stat status;
	begin(64, 12);
	for (uint32_t pfn = 0; pfn < 64; pfn++)
		ck_assert_ok(frame_zero(&table, pfn));
	ck_assert_int_eq(fstat(table.memory, &status), 0);
	ck_assert_int_eq(status.st_blocks, 0);
	ck_assert_ok(frame_write(&table, 1, bytes)); /* st_blocks would show it */
	ck_assert_int_eq(fstat(table.memory, &status), 0);
	ck_assert_int_gt(status.st_blocks, 0);
	end(64);
}
END_TEST

/* ---- Cost, and refusal ----------------------------------------------------------------- */

/* The smaller pool goes first: a table that is touched shows there, before 2^28 frames of it
 * take the machine's memory. */
START_TEST(a_huge_pool_costs_little_until_it_is_used)
{
	static const uint64_t pools[] = { UINT64_C(1) << 20, UINT64_C(1) << 28 };
	static char bytes[PAGE], found[PAGE];
	memset(bytes, 1, PAGE);
	for (unsigned i = 0; i < 2; i++) {
		size_t before = process_size().resident;
		ck_assert_ok(frame_table_init(&table, pools[i], 12));
		ck_assert_uint_eq(frame_largest_run(&table), pools[i]);
		uint32_t last = (uint32_t)pools[i] - 1;
		ck_assert(frame_allocate_at(&table, last));
		ck_assert_uint_ne(frame_allocate(&table, 100), FRAME_NONE);
		ck_assert_ok(frame_write(&table, last, bytes));
		ck_assert_ok(frame_read(&table, last, found));
		ck_assert_mem_eq(found, bytes, PAGE);
		size_t after = process_size().resident;
		ck_assert_uint_lt(after, before + ((size_t)2 << 20) / PAGE);
		frame_table_destroy(&table);
	}
}
END_TEST

static int init_under(int resource, rlim_t limit, uint64_t frames)
{
	struct rlimit saved, low;
	ck_assert_int_eq(getrlimit(resource, &saved), 0);
	low = saved;
	low.rlim_cur = limit;
	ck_assert_int_eq(setrlimit(resource, &low), 0);
	int result = frame_table_init(&table, frames, 12);
	ck_assert_int_eq(setrlimit(resource, &saved), 0);
	return result;
}

START_TEST(a_table_without_room_for_its_frames_leaves_nothing_behind)
{
	size_t descriptors = open_descriptors(), metadata = host_metadata_bytes();
	rlim_t limit = process_size().address_space * PAGE + ((rlim_t)64 << 20);
	ck_assert_int_eq(init_under(RLIMIT_AS, limit, UINT64_C(1) << 28), UPAGE_ENOMEM);
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
}
END_TEST

static void init_without_descriptors(void)
{
	const struct rlimit none = { 0, 0 }; /* the hard limit too: above the soft one we find numbers */
	size_t metadata = host_metadata_bytes();
	if (setrlimit(RLIMIT_NOFILE, &none) != 0 || frame_table_init(&table, 64, 12) != -EMFILE ||
	    host_metadata_bytes() != metadata)
		_exit(1);
}

/* In a child: a sanitizer needs descriptors at a process's end. */
START_TEST(a_table_without_a_descriptor_says_so)
{
	char said[100];
	ck_assert_int_eq(in_child(init_without_descriptors, said, sizeof(said)), 0);
}
END_TEST

START_TEST(a_table_gives_back_what_it_took)
{
	size_t descriptors = open_descriptors(), metadata = host_metadata_bytes();
	begin(1000, 12);
	ck_assert_uint_ge(host_metadata_bytes(), metadata + 1000 * sizeof(struct frame));
	end(1000);
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("frame");
	TCase *runs = tcase_create("runs");
	tcase_set_timeout(runs, 60);
	tcase_add_loop_test(runs, a_long_life_of_runs_agrees_with_a_model, 0, 5);
	tcase_add_loop_test(runs, a_fresh_table_is_free_in_its_largest_runs, 0, 8);
	tcase_add_test(runs, a_freed_run_joins_its_buddies);
	tcase_add_test(runs, neighbours_that_are_no_buddies_do_not_join_but_are_found_together);
	tcase_add_test(runs, a_long_stretch_of_short_runs_is_the_largest);
	tcase_add_test(runs, a_run_that_does_not_fit_changes_nothing);
	tcase_add_test(runs, the_rest_of_a_run_stays_free);
	tcase_add_test(runs, the_least_that_was_free_is_remembered);
	tcase_add_test(runs, a_frame_asked_for_by_number_is_taken_alone);
	tcase_add_test(runs, a_frame_past_the_end_cannot_be_asked_for);
	tcase_add_test(runs, a_frame_handed_out_has_no_page_backing_or_slot);
	tcase_add_test(runs, a_table_that_lost_a_frame_is_not_valid);
	tcase_add_test(runs, no_two_threads_get_the_same_frame);
	tcase_add_loop_test(runs, while_frames_are_free_one_is_found, 0, 2);
	tcase_add_test(runs, what_one_thread_takes_lies_together);
	tcase_add_test(runs, frames_beside_each_other_may_be_of_several_zones);
	tcase_add_test(runs, what_is_zeroed_ahead_may_be_in_any_zone);
	tcase_add_test(runs, what_was_never_taken_is_part_of_what_is_free_beside_it);
	tcase_add_test(runs, runs_across_zones_are_found_while_threads_take_from_all);
	suite_add_tcase(suite, runs);

	TCase *content = tcase_create("content");
	tcase_set_timeout(content, 60);
	tcase_add_loop_test(content, a_frame_gives_back_what_was_written, 0, 3);
	tcase_add_test(content, a_frame_past_four_gibibytes_is_no_other_frame);
	tcase_add_loop_test(content, zeroing_a_frame_reaches_all_of_it_and_no_neighbour, 0, 3);
	tcase_add_test(content,
	               a_frame_stained_behind_the_tables_back_is_zeroed_for_the_next_owner);
	tcase_add_test(content, zeroing_a_frame_that_was_never_written_costs_no_memory);
	suite_add_tcase(suite, content);

	TCase *cost = tcase_create("cost");
	tcase_add_test(cost, a_huge_pool_costs_little_until_it_is_used);
	tcase_add_test(cost, a_table_without_room_for_its_frames_leaves_nothing_behind);
	tcase_add_test(cost, a_table_without_a_descriptor_says_so);
	tcase_add_test(cost, a_table_gives_back_what_it_took);
	suite_add_tcase(suite, cost);
	return run_suite(suite);
}
