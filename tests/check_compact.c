/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_compact.c - pages that move to other frames: nothing is lost, what is pinned stays, and free
 * memory is one run afterwards
 */
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>

#include "compact.h"
#include "signals.h"
#include "store.h"
#include "support_fork.h"

#define FRAMES 1024 /* of most pools */
#define POOL "memory=4M"

/* ---- Memory in disorder -------------------------------------------------------------------- */

static void write_page(char *memory, size_t page, size_t size, uint64_t seed)
{
	volatile uint64_t *words = (volatile uint64_t *)(void *)(memory + page * size);
	for (size_t i = 0; i < size / sizeof(*words); i += 37)
		words[i] = seed + page * 1000 + i;
}

static bool page_holds(const char *memory, size_t page, size_t size, uint64_t seed)
{
	const volatile uint64_t *words = (const volatile uint64_t *)(const void *)(memory + page * size);
	for (size_t i = 0; i < size / sizeof(*words); i += 37)
		if (words[i] != seed + page * 1000 + i)
			return false;
	return true;
}

static void shuffle(size_t *order, size_t count, uint64_t seed)
{
	for (size_t i = 0; i < count; i++)
		order[i] = i;
	for (size_t i = count - 1; i > 0; i--) {
		size_t other = random_number(&seed) % (i + 1), kept = order[i];
		order[i] = order[other];
		order[other] = kept;
	}
}

/* @pages of two mappings are written to in disorder, by turns, and then the other mapping goes: frames of
 * neighbours are anywhere, with free ones between. */
static char *scattered(struct machine m, size_t pages, uint64_t seed)
{
	size_t size = upage_pool_page_size(m.pool);
	size_t *order = malloc(2 * pages * sizeof(*order));
	char *memory = machine_map(m, pages, RW), *other = machine_map(m, pages, RW);
	shuffle(order, 2 * pages, seed);
	/* Each alone in a leaf is placed anew: 512 frames apart, then beside those. */
	for (size_t i = 0; i < 2 * pages; i++)
		write_page(order[i] % 2 ? other : memory, order[i] / 2, size, seed);
	ck_assert_ok(upage_unmap(m.space, other, pages * size));
	/* Neighbours were placed beside each other where they could: what comes back from swap is not. */
	free(order);
	return memory;
}

static void must_hold(const char *memory, size_t pages, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < pages; i++)
		must(page_holds(memory, i, size, seed));
}

static struct upage_compaction compact(struct machine m, uint64_t max_moves)
{
	struct upage_compaction result = UPAGE_COMPACTION_INIT;
	result.max_moves = max_moves;
	ck_assert_ok(upage_compact(m.pool, &result));
	return result;
}

static upage_pfn frame_of(struct machine m, const char *address)
{
	upage_pfn pfn = UINT64_MAX;
	upage_translate(m.space, address, PROT_READ, &pfn);
	return pfn;
}

static uint64_t free_frames(struct machine m)
{
	return machine_stats(m).frames_free;
}

/* ---- One thread ------------------------------------------------------------------------------ */

START_TEST(free_memory_becomes_one_run_and_neighbours_get_neighbouring_frames)
{
	struct machine m = machine_make(POOL);
	char *memory = scattered(m, 300, 1);
	uint64_t before = machine_stats(m).host_mappings;
	struct upage_compaction c = compact(m, 0);
	ck_assert_uint_lt(c.largest_free_run_before, c.frames_free);
	ck_assert_uint_eq(c.largest_free_run_after, c.frames_free);
	ck_assert_uint_eq(c.frames_free, FRAMES - 300);
	ck_assert_uint_gt(c.moves, 0);
	ck_assert_uint_le(c.moves, 3 * 300);
	ck_assert_ok(upage_pool_verify(m.pool));
	must_hold(memory, 300, PAGE, 1);
	for (size_t i = 1; i < 300; i++)
		ck_assert(frame_of(m, memory + i * PAGE) == frame_of(m, memory + (i - 1) * PAGE) + 1 ||
		          (uintptr_t)(memory + i * PAGE) % (512 * PAGE) == 0);
	ck_assert_uint_lt(machine_stats(m).host_mappings, 8);
	ck_assert_uint_gt(before, 50);
	/* In order, nothing is to be done. */
	ck_assert_uint_eq(compact(m, 0).moves, 0);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("compact");
	TCase *one = tcase_create("one thread");
	tcase_add_test(one, free_memory_becomes_one_run_and_neighbours_get_neighbouring_frames);
	suite_add_tcase(suite, one);
	return run_suite(suite);
}
