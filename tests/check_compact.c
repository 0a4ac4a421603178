/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_compact.c - pages that move to other frames: nothing is lost, what is pinned stays, and free
 * memory is one run afterwards
 */
#include <fcntl.h>
#include <sys/uio.h>

#include "compact.h"
#include "host.h"
#include "signals.h"
#include "store.h"
#include "support_fork.h"

#define FRAMES 1024 /* of most pools */
/* Where frames are taken one by one, and no more than that are free. */
#define ALONE ",prefetch=off,reclaimers=0"
#define POOL "memory=4M" ALONE
#define SMALL "memory=1M" ALONE

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

/* Memory is full, and for each page some page elsewhere gives its frame: those of neighbours are
 * anywhere, and what is free in the end is, too. */
static char *scattered(struct machine m, size_t pages, uint64_t seed)
{
	size_t size = upage_pool_page_size(m.pool), frames = machine_stats(m).frames;
	size_t *order = malloc(frames * sizeof(*order));
	char *memory = machine_map(m, pages, RW), *other = machine_map(m, frames, RW);
	shuffle(order, frames, seed);
	for (size_t i = 0; i < frames; i++)
		other[i * size] = 1;
	for (size_t i = 0; i < pages; i++) {
		ck_assert_ok(upage_unmap(m.space, other + order[i] * size, size));
		write_page(memory, i, size, seed);
	}
	for (size_t i = pages; i < frames; i++)
		ck_assert_ok(upage_unmap(m.space, other + order[i] * size, size));
	free(order);
	ck_assert_uint_eq(machine_stats(m).frames_free, frames - pages);
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
	struct machine m = machine_make(POOL ",mapping=remap");
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
	ck_assert_uint_gt(before, 250);
	/* In order, nothing is to be done. */
	ck_assert_uint_eq(compact(m, 0).moves, 0);
	machine_end(m);
}
END_TEST


/* Every second page goes; the others are in order, each beside a free frame. */
static char *every_second(struct machine m, size_t pages, uint64_t seed)
{
	size_t size = upage_pool_page_size(m.pool);
	char *memory = machine_map(m, pages, RW);
	for (size_t i = 0; i < pages; i++)
		write_page(memory, i, size, seed);
	for (size_t i = 1; i < pages; i += 2)
		ck_assert_ok(upage_unmap(m.space, memory + i * size, size));
	return memory;
}

static void must_hold_every_second(const char *memory, size_t pages, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < pages; i += 2)
		must(page_holds(memory, i, size, seed));
}

static const char *const page_sizes[] = { POOL, "memory=16M,page-size=16K" ALONE, "memory=64M,page-size=64K" ALONE,
	                                  "memory=64M,page-size=2M" ALONE };

START_TEST(pages_of_any_size_move_with_their_content)
{
	struct machine m = machine_make(page_sizes[_i]);
	size_t size = upage_pool_page_size(m.pool), pages = machine_stats(m).frames / 2;
	char *memory = every_second(m, pages, 2);
	struct upage_compaction c = compact(m, 0);
	ck_assert_uint_eq(c.largest_free_run_after, c.frames_free);
	ck_assert_uint_gt(c.moves, 0);
	must_hold_every_second(memory, pages, size, 2);
	ck_assert_ok(upage_unmap(m.space, memory, size));
	machine_end(m);
}
END_TEST

/* All shift by three frames: the new ones are old ones of the same pages. */
START_TEST(a_long_row_shifts_over_itself)
{
	struct machine m = machine_make(POOL);
	char *memory = machine_map(m, 600, RW);
	for (size_t i = 0; i < 600; i++)
		write_page(memory, i, PAGE, 3);
	struct upage_compaction c = compact(m, 0);
	ck_assert_ok(upage_unmap(m.space, memory, 3 * PAGE));
	c = compact(m, 0);
	ck_assert_uint_eq(c.moves, 597);
	ck_assert_uint_eq(c.largest_free_run_after, FRAMES - 597);
	for (size_t i = 3; i < 600; i++)
		must(page_holds(memory, i, PAGE, 3));
	ck_assert_ok(upage_pool_verify(m.pool));
	/* They were written to: what was hidden for the move can be written to again. */
	for (size_t i = 3; i < 600; i++)
		write_page(memory, i, PAGE, 4);
	must_hold(memory + 3 * PAGE, 597, PAGE, 3004); /* as page 0 and on */
	machine_end(m);
}
END_TEST

START_TEST(one_free_frame_is_enough)
{
	struct machine m = machine_make(SMALL);
	char *memory = scattered(m, 256, 4);
	ck_assert_uint_eq(free_frames(m), 0);
	ck_assert_uint_eq(compact(m, 0).moves, 0);
	ck_assert_ok(upage_advise(m.space, memory + 100 * PAGE, PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(free_frames(m), 1);
	struct upage_compaction c = compact(m, 0);
	ck_assert_uint_eq(c.frames_free, 1);
	ck_assert_uint_gt(c.moves, 250);
	ck_assert_uint_le(c.moves, 3 * 255);
	ck_assert_uint_eq(compact(m, 0).moves, 0);
	upage_pfn previous = 0;
	for (size_t i = 0; i < 256; i++) {
		upage_pfn pfn = frame_of(m, memory + i * PAGE);
		if (pfn == UINT64_MAX)
			continue;
		ck_assert(previous == 0 || pfn > previous);
		previous = pfn;
	}
	must_hold(memory, 256, PAGE, 4);
	machine_end(m);
}
END_TEST

START_TEST(pinned_pages_stay_and_others_go_round_them)
{
	struct machine m = machine_make(POOL);
	char *memory = scattered(m, 300, 6);
	upage_pfn frame[300], highest = 0;
	int pipes[2];
	ck_assert_int_eq(pipe(pipes), 0);
	for (size_t i = 0; i < 300; i += 50) {
		ck_assert_ok(upage_pin(m.space, memory + i * PAGE, 2 * PAGE, RW));
		frame[i] = frame_of(m, memory + i * PAGE);
		frame[i + 1] = frame_of(m, memory + (i + 1) * PAGE);
		highest = frame[i] > highest ? frame[i] : highest;
		highest = frame[i + 1] > highest ? frame[i + 1] : highest;
	}
	ck_assert_uint_gt(compact(m, 0).moves, 0);
	for (size_t i = 0; i < 300; i++) {
		upage_pfn now = frame_of(m, memory + i * PAGE);
		if (i % 50 < 2)
			ck_assert_uint_eq(now, frame[i]);
		else
			ck_assert_uint_lt(now, 300);
	}
	/* The kernel reaches them. */
	ck_assert_int_eq(write(pipes[1], memory + 50 * PAGE, 2 * PAGE), 2 * PAGE);
	must_hold(memory, 300, PAGE, 6);
	ck_assert_ok(upage_pool_verify(m.pool));
	for (size_t i = 0; i < 300; i += 50)
		ck_assert_ok(upage_unpin(m.space, memory + i * PAGE, 2 * PAGE));
	struct upage_compaction c = compact(m, 0);
	ck_assert_uint_eq(c.largest_free_run_after, c.frames_free);
	must_hold(memory, 300, PAGE, 6);
	close(pipes[0]);
	close(pipes[1]);
	machine_end(m);
}
END_TEST

START_TEST(no_more_pages_move_than_are_allowed)
{
	static const uint64_t limits[] = { 1, 1, 2, 7, 63, 64, 65 };
	struct machine m = machine_make(POOL);
	char *memory = scattered(m, 400, 7);
	uint64_t all = 0;
	for (size_t i = 0; i < LENGTH(limits); i++) {
		ck_assert_uint_eq(compact(m, limits[i]).moves, limits[i]);
		all += limits[i];
		ck_assert_uint_eq(machine_stats(m).moves, all);
		ck_assert_uint_eq(machine_stats(m).compactions, i + 1);
		ck_assert_ok(upage_pool_verify(m.pool));
		must_hold(memory, 400, PAGE, 7);
	}
	/* Step by step it comes to an end, too. */
	unsigned steps = 0;
	while (compact(m, 50).moves > 0)
		ck_assert_uint_lt(++steps, 3 * 400 / 50 + 2);
	ck_assert_uint_eq(compact(m, 0).largest_free_run_after, FRAMES - 400);
	ck_assert_uint_gt(machine_stats(m).pause_ns_max, 0);
	must_hold(memory, 400, PAGE, 7);
	machine_end(m);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
	struct machine m = machine_make(SMALL);
	struct upage_compaction c = UPAGE_COMPACTION_INIT;
	struct {
		struct upage_compaction known;
		uint64_t more;
	} larger = { .known = { .size = sizeof(larger) } };
	ck_assert_int_eq(upage_compact(NULL, &c), UPAGE_EINVAL);
	c.moves = 77;
	c.size = 0;
	ck_assert_int_eq(upage_compact(m.pool, &c), UPAGE_EINVAL);
	ck_assert_uint_eq(c.moves, 77);
	ck_assert_int_eq(upage_compact(m.pool, &larger.known), UPAGE_E2BIG);
	ck_assert_ok(upage_compact(m.pool, NULL));
	/* A caller of an older library gets what he knows of. */
	c.size = offsetof(struct upage_compaction, frames_free);
	c.frames_free = 77;
	ck_assert_ok(upage_compact(m.pool, &c));
	ck_assert_uint_eq(c.moves, 0);
	ck_assert_uint_eq(c.frames_free, 77);
	machine_end(m);
}
END_TEST

/* ---- Requests for frames beside each other --------------------------------------------------- */

static uint32_t allocate(struct machine m, uint32_t count)
{
	signal_mask mask = signals_block();
	struct compact_result done;
	uint32_t pfn = frame_allocate(&m.pool->frames, count);
	if (pfn == FRAME_NONE && count <= m.pool->frames.free && compact_make_run(m.pool, count, &done) == 0)
		pfn = frame_allocate(&m.pool->frames, count);
	signals_set(mask);
	return pfn;
}

START_TEST(a_fragmented_memory_has_no_run_until_it_is_compacted)
{
	struct machine m = machine_make(POOL);
	char *memory = every_second(m, FRAMES, 8);
	ck_assert_uint_eq(free_frames(m), FRAMES / 2);
	ck_assert_uint_eq(frame_allocate(&m.pool->frames, 100), FRAME_NONE);
	uint32_t pfn = allocate(m, 100);
	ck_assert_uint_ne(pfn, FRAME_NONE);
	/* No more moved than that took. */
	ck_assert_uint_lt(machine_stats(m).moves, FRAMES / 2);
	must_hold_every_second(memory, FRAMES, PAGE, 8);
	/* Those are nobody's to move: the rest goes round them. */
	struct upage_compaction c = compact(m, 0);
	ck_assert_uint_gt(c.moves, 0);
	for (size_t i = 0; i < FRAMES; i += 2)
		ck_assert(frame_of(m, memory + i * PAGE) - pfn >= 100);
	uint32_t rest = allocate(m, FRAMES / 2 - 100);
	ck_assert_uint_ne(rest, FRAME_NONE);
	ck_assert_uint_eq(allocate(m, 1), FRAME_NONE);
	must_hold_every_second(memory, FRAMES, PAGE, 8);
	frame_free(&m.pool->frames, rest, FRAMES / 2 - 100);
	ck_assert_uint_eq(allocate(m, FRAMES / 2), FRAME_NONE); /* evicts nobody */
	frame_free(&m.pool->frames, pfn, 100);
	ck_assert_uint_eq(machine_stats(m).evictions, 0);
	must_hold_every_second(memory, FRAMES, PAGE, 8);
	machine_end(m);
}
END_TEST

START_TEST(pins_that_are_in_the_way_are_said_to_be)
{
	struct machine m = machine_make(SMALL);
	char *memory = every_second(m, 256, 9);
	for (size_t i = 0; i < 256; i += 16)
		ck_assert_ok(upage_pin(m.space, memory + i * PAGE, PAGE, PROT_READ));
	ck_assert_uint_eq(allocate(m, 16), FRAME_NONE);
	uint32_t pfn = allocate(m, 15);
	ck_assert_uint_ne(pfn, FRAME_NONE);
	frame_free(&m.pool->frames, pfn, 15);
	for (size_t i = 0; i < 256; i += 16)
		ck_assert_ok(upage_unpin(m.space, memory + i * PAGE, PAGE));
	pfn = allocate(m, 128);
	ck_assert_uint_ne(pfn, FRAME_NONE);
	frame_free(&m.pool->frames, pfn, 128);
	must_hold_every_second(memory, 256, PAGE, 9);
	machine_end(m);
}
END_TEST

/* ---- What is known of a page goes with it ----------------------------------------------------- */

/* Which pages are resident after more memory was touched than fits, whether or not pages moved before. */
static void residents(const char *words, bool moves, unsigned char *vector)
{
	struct machine m = machine_make(words);
	char *memory = scattered(m, 200, 10);
	if (moves)
		ck_assert_uint_gt(compact(m, 0).moves, 100);
	char *more = machine_map(m, 150, RW);
	for (size_t i = 0; i < 150; i++)
		write_page(more, i, PAGE, 11);
	ck_assert_ok(upage_residency(m.space, memory, 200 * PAGE, vector));
	must_hold(memory, 200, PAGE, 10);
	machine_end(m);
}

START_TEST(a_policy_takes_the_same_pages_as_if_none_had_moved)
{
	static const char *const words[] = { SMALL ",policy=fifo", SMALL ",policy=random,seed=3" };
	unsigned char moved[200], left[200];
	residents(words[_i], true, moved);
	residents(words[_i], false, left);
	ck_assert_mem_eq(moved, left, sizeof(left));
	ck_assert_ptr_nonnull(memchr(left, 0, sizeof(left)));
	ck_assert_ptr_nonnull(memchr(left, 1, sizeof(left)));
}
END_TEST

/* None is forgotten. The host may find more: what is read to be moved brings neighbours with it. */
START_TEST(what_was_referenced_is_known_after_a_move)
{
	struct machine m = machine_make(POOL ",mapping=remap,policy=clock");
	char *memory = scattered(m, 320, 12);
	struct iovec all = { memory, 320 * PAGE };
	uint64_t before[5];
	int idle = 0, still = 0;
	if (host_age(&all, 1) < 0)
		exit(0); /* the host cannot tell */
	for (size_t i = 0; i < 320; i++)
		if (i % 7 < 3)
			must(page_holds(memory, i, PAGE, 12));
	for (size_t i = 0; i < 5; i++)
		before[i] = host_references((uintptr_t)memory + i * 64 * PAGE, PAGE, 64);
	ck_assert_uint_gt(compact(m, 0).moves, 100);
	for (size_t i = 0; i < 5; i++) {
		uint64_t after = host_references((uintptr_t)memory + i * 64 * PAGE, PAGE, 64);
		ck_assert_uint_ne(before[i], 0);
		ck_assert_uint_eq(after & before[i], before[i]);
		idle += __builtin_popcountll(~before[i]);
		still += __builtin_popcountll(~after);
	}
	ck_assert_int_gt(idle, 100);
	ck_assert_int_gt(still, idle / 2);
	must_hold(memory, 320, PAGE, 12);
	machine_end(m);
}
END_TEST

/* Read back from swap and not written to since: their slots hold copies. */
START_TEST(slots_stay_with_their_pages)
{
	struct machine m = machine_make(POOL ",swap-size=4M");
	char *memory = scattered(m, 300, 13);
	ck_assert_ok(upage_advise(m.space, memory, 300 * PAGE, UPAGE_PAGEOUT));
	must_hold(memory, 300, PAGE, 13);
	ck_assert_ok(upage_unmap(m.space, memory, 7 * PAGE));
	uint64_t written = machine_stats(m).writebacks;
	ck_assert_uint_gt(compact(m, 0).moves, 0);
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_ok(upage_advise(m.space, memory + 7 * PAGE, 293 * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(machine_stats(m).writebacks, written);
	for (size_t i = 7; i < 300; i++)
		must(page_holds(memory, i, PAGE, 13));
	machine_end(m);
}
END_TEST

/* Those are shown as their protection says, before and after. */
START_TEST(protections_are_as_they_were)
{
	struct machine m = machine_make(POOL);
	char *memory = scattered(m, 300, 14);
	ck_assert_ok(upage_protect(m.space, memory, 100 * PAGE, PROT_READ));
	ck_assert_ok(upage_protect(m.space, memory + 100 * PAGE, 100 * PAGE, PROT_READ | PROT_EXEC));
	ck_assert_ok(upage_protect(m.space, memory + 290 * PAGE, 10 * PAGE, PROT_NONE));
	ck_assert_uint_gt(compact(m, 0).moves, 0);
	upage_pfn pfn;
	for (size_t i = 0; i < 300; i++) {
		const char *page = memory + i * PAGE;
		enum upage_cause read = upage_translate(m.space, page, PROT_READ, &pfn);
		enum upage_cause write = upage_translate(m.space, page, PROT_WRITE, &pfn);
		enum upage_cause execute = upage_translate(m.space, page, PROT_EXEC, &pfn);
		ck_assert_int_eq(read == UPAGE_CAUSE_NONE, i < 290);
		ck_assert_int_eq(write == UPAGE_CAUSE_NONE, i >= 200 && i < 290);
		ck_assert_int_eq(execute == UPAGE_CAUSE_NONE, i >= 100 && i < 200);
	}
	must_hold(memory, 290, PAGE, 14);
	ck_assert_ok(upage_protect(m.space, memory, 300 * PAGE, RW));
	must_hold(memory, 300, PAGE, 14);
	machine_end(m);
}
END_TEST

/* Pages that are shown from their file have frames without content: nothing is copied. */
START_TEST(pages_of_files_change_their_frames_and_show_the_file)
{
	char name[] = "/tmp/check-compact-XXXXXX";
	static char content[200 * PAGE];
	struct machine m = machine_make(POOL);
	upage_store *store;
	void *address = NULL;
	size_t order[200];
	int file = mkstemp(name);
	unlink(name);
	for (size_t i = 0; i < 200; i++)
		write_page(content, i, PAGE, 15);
	ck_assert_int_eq(write(file, content, sizeof(content)), sizeof(content));
	ck_assert_ok(store_open_descriptor(&store, file));
	ck_assert_ok(upage_map(m.space, &address, 200 * PAGE, RW, 0, store, 0));
	char *shown = address, *memory = machine_map(m, 200, RW);
	shuffle(order, 200, 15);
	for (size_t i = 0; i < 200; i++) {
		write_page(memory, order[i], PAGE, 16);
		must(page_holds(shown, order[i], PAGE, 15));
	}
	write_page(shown, 60, PAGE, 17); /* its own from now on */
	ck_assert_ok(upage_unmap(m.space, memory, 100 * PAGE));
	struct upage_compaction c = compact(m, 0);
	ck_assert_uint_gt(c.moves, 0);
	ck_assert_uint_eq(c.largest_free_run_after, c.frames_free);
	ck_assert_ok(upage_pool_verify(m.pool));
	for (size_t i = 0; i < 200; i++)
		must(page_holds(shown, i, PAGE, i == 60 ? 17 : 15));
	for (size_t i = 100; i < 200; i++)
		must(page_holds(memory, i, PAGE, 16));
	for (size_t i = 0; i < 200; i++) /* the content comes now */
		((volatile char *)shown)[i * PAGE + 8] = 1;
	for (size_t i = 0; i < 200; i++)
		must(page_holds(shown, i, PAGE, i == 60 ? 17 : 15));
	ck_assert_ok(upage_unmap(m.space, shown, 200 * PAGE));
	ck_assert_ok(upage_store_close(store));
	close(file);
	machine_end(m);
}
END_TEST

/* ---- Host mappings ----------------------------------------------------------------------------- */

static uint64_t faults_of_a_round(struct machine m, const char *memory, size_t pages, uint64_t seed)
{
	uint64_t before = machine_stats(m).faults;
	must_hold(memory, pages, PAGE, seed);
	return machine_stats(m).faults - before;
}

/* Each page alone takes a mapping, and there are fewer of those: without compaction every round over
 * them takes faults for ever. */
START_TEST(where_mappings_run_short_pages_move_together_by_and_by)
{
	struct machine m = machine_make(POOL ",mapping=remap,mapping-budget=256");
	char *memory = scattered(m, 500, 18);
	uint64_t first = faults_of_a_round(m, memory, 500, 18), last = first;
	for (unsigned round = 0; round < 200 && last > 0; round++)
		last = faults_of_a_round(m, memory, 500, 18);
	ck_assert_uint_gt(first, 100);
	ck_assert_uint_eq(last, 0);
	ck_assert_uint_gt(machine_stats(m).moves, 100);
	/* One that is hidden between two pages, joined to one of them, takes one more at first. */
	ck_assert_uint_le(machine_stats(m).host_mappings_peak, 256 + 4);
	machine_end(m);
}
END_TEST

/* Every page has free pages on both sides: no order of frames saves a mapping. */
START_TEST(where_no_mapping_would_be_given_back_nothing_moves)
{
	struct machine m = machine_make(POOL ",mapping=remap,mapping-budget=128");
	char *memory = every_second(m, 1000, 19);
	for (unsigned round = 0; round < 20; round++)
		must_hold_every_second(memory, 1000, PAGE, 19);
	ck_assert_uint_gt(machine_stats(m).soft, 1000);
	ck_assert_uint_eq(machine_stats(m).moves, 0);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("compact");
	TCase *one = tcase_create("layout");
	tcase_set_timeout(one, 60);
	tcase_add_test(one, free_memory_becomes_one_run_and_neighbours_get_neighbouring_frames);
	tcase_add_loop_test(one, pages_of_any_size_move_with_their_content, 0, LENGTH(page_sizes));
	tcase_add_test(one, a_long_row_shifts_over_itself);
	tcase_add_test(one, one_free_frame_is_enough);
	tcase_add_test(one, pinned_pages_stay_and_others_go_round_them);
	tcase_add_test(one, no_more_pages_move_than_are_allowed);
	tcase_add_test(one, wrong_arguments_are_refused);
	tcase_add_test(one, a_fragmented_memory_has_no_run_until_it_is_compacted);
	tcase_add_test(one, pins_that_are_in_the_way_are_said_to_be);
	suite_add_tcase(suite, one);

	TCase *known = tcase_create("what goes with a page");
	tcase_set_timeout(known, 60);
	tcase_add_loop_test(known, a_policy_takes_the_same_pages_as_if_none_had_moved, 0, 2);
	tcase_add_test(known, what_was_referenced_is_known_after_a_move);
	tcase_add_test(known, slots_stay_with_their_pages);
	tcase_add_test(known, protections_are_as_they_were);
	tcase_add_test(known, pages_of_files_change_their_frames_and_show_the_file);
	suite_add_tcase(suite, known);

	TCase *mappings = tcase_create("host mappings");
	tcase_set_timeout(mappings, 60);
	tcase_add_test(mappings, where_mappings_run_short_pages_move_together_by_and_by);
	tcase_add_test(mappings, where_no_mapping_would_be_given_back_nothing_moves);
	suite_add_tcase(suite, mappings);
	return run_suite(suite);
}
