/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_readahead.c - swapped pages that come in with the one before them: in order many, at random none
 */
#include <pthread.h>
#include <stdatomic.h>

#include "support_clone.h"

#define FRAMES 1024
/* Faults and reads are counted: nobody else evicts, and what is written to is expected to be. */
#define EXACT "memory=4M,reclaimers=0,policy=clock,mapping=remap,store=file"
#define COUNT (2 * FRAMES)

static void fill_in(volatile char *memory, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		memory[i * PAGE] = memory[i * PAGE + PAGE - 1] = (char)(i % 120 + 1);
}

static void must_hold(const volatile char *memory, size_t page)
{
	must(memory[page * PAGE] == (char)(page % 120 + 1));
	must(memory[page * PAGE + PAGE - 1] == (char)(page % 120 + 1));
}

/* Faults and pages read ahead since @before. */
static struct upage_stats since(struct machine m, struct upage_stats before)
{
	struct upage_stats now = machine_stats(m);
	now.major -= before.major;
	now.faults -= before.faults;
	now.prefetched -= before.prefetched;
	now.evictions -= before.evictions;
	now.writebacks -= before.writebacks;
	return now;
}

START_TEST(in_order_few_faults_and_few_reads_bring_all)
{
	struct machine m = machine_make(EXACT ",prefetch=auto");
	volatile char *memory = machine_map(m, COUNT, RW);
	fill_in(memory, COUNT);
	for (int round = 0; round < 4; round++) {
		struct upage_stats before = machine_stats(m);
		uint64_t reads = calls_made("syscr");
		for (size_t i = 0; i < COUNT; i++)
			must_hold(memory, i);
		reads = calls_made("syscr") - reads;
		struct upage_stats stats = since(m, before);
		ck_assert_uint_eq(stats.major + stats.prefetched, COUNT);
		ck_assert_uint_le(stats.faults, COUNT / 8);
		if (round > 1) { /* none is expected to be written to any more: read are swap, and what is in use */
			ck_assert_uint_eq(stats.writebacks, 0);
			ck_assert_uint_le(reads, stats.major + COUNT / 8);
		}
		ck_assert_ok(upage_pool_verify(m.pool));
	}
	machine_end(m);
}
END_TEST

/* Pages that are written to again and again need no upgrade, whoever brought them. */
START_TEST(what_is_written_in_order_is_expected_to_be)
{
	struct machine m = machine_make(EXACT ",prefetch=64");
	volatile char *memory = machine_map(m, COUNT, RW);
	fill_in(memory, COUNT);
	for (unsigned round = 1; round <= 4; round++) {
		struct upage_stats before = machine_stats(m);
		for (size_t i = 0; i < COUNT; i++) {
			must_hold(memory, i);
			must(memory[i * PAGE + 1] == (char)(round - 1));
			memory[i * PAGE + 1] = (char)round;
		}
		ck_assert_uint_le(since(m, before).faults, round == 1 ? COUNT : COUNT / 8);
		ck_assert_ok(upage_pool_verify(m.pool));
	}
	machine_end(m);
}
END_TEST

START_TEST(at_random_pages_come_alone)
{
	struct machine m = machine_make(EXACT ",prefetch=64");
	volatile char *memory = machine_map(m, COUNT, RW);
	uint64_t random = 7;
	fill_in(memory, COUNT);
	struct upage_stats before = machine_stats(m);
	for (size_t i = 0; i < 4 * COUNT; i++)
		must_hold(memory, random_number(&random) % COUNT);
	struct upage_stats stats = since(m, before);
	ck_assert_uint_gt(stats.major, COUNT);
	ck_assert_uint_lt(stats.prefetched, stats.major / 32);
	machine_end(m);
}
END_TEST

START_TEST(a_jump_brings_one_page)
{
	struct machine m = machine_make(EXACT ",prefetch=64");
	volatile char *memory = machine_map(m, COUNT, RW);
	fill_in(memory, COUNT);
	for (size_t i = 0; i < 500; i++)
		must_hold(memory, i);
	struct upage_stats before = machine_stats(m);
	for (size_t i = 900; i > 500 + 64; i -= 64)
		must_hold(memory, i);
	ck_assert_uint_eq(since(m, before).prefetched, 0);
	machine_end(m);
}
END_TEST

START_TEST(several_streams_go_on_beside_each_other)
{
	struct machine m = machine_make(EXACT ",prefetch=64");
	volatile char *memory = machine_map(m, COUNT, RW);
	fill_in(memory, COUNT);
	struct upage_stats before = machine_stats(m);
	for (size_t i = 0; i < COUNT / 4; i++)
		for (size_t stream = 0; stream < 4; stream++)
			must_hold(memory, stream * (COUNT / 4) + i);
	struct upage_stats stats = since(m, before);
	ck_assert_uint_lt(stats.major, COUNT / 4);
	machine_end(m);
}
END_TEST

/* Of three frames two are free: a window of many is not one of two. */
START_TEST(free_frames_apart_do_not_cut_the_window)
{
	enum { READ = 200, RUN = 3 };
	struct machine m = machine_make(EXACT ",prefetch=64");
	volatile char *memory = machine_map(m, READ, RW), *others = machine_map(m, FRAMES, RW);
	fill_in(memory, READ);
	ck_assert_ok(upage_advise(m.space, (void *)memory, READ * PAGE, UPAGE_PAGEOUT));
	fill_in(others, FRAMES);
	for (size_t i = 0; i + RUN <= FRAMES; i += RUN)
		ck_assert_ok(upage_unmap(m.space, (void *)&others[i * PAGE], (RUN - 1) * PAGE));
	struct upage_stats before = machine_stats(m);
	for (size_t i = 0; i < READ; i++)
		must_hold(memory, i);
	struct upage_stats stats = since(m, before);
	ck_assert_uint_eq(stats.evictions, 0);
	ck_assert_uint_eq(stats.major + stats.prefetched, READ);
	ck_assert_uint_le(stats.major, READ / 2);
	for (size_t i = RUN - 1; i < FRAMES; i += RUN)
		must_hold(others, i);
	machine_end(m);
}
END_TEST

START_TEST(where_it_is_off_or_memory_small_pages_come_alone)
{
	static const char *const words[] = { "memory=1M,prefetch=off", "memory=1M,prefetch=1", "memory=64K,prefetch=64",
		                             "memory=64M,prefetch=64,page-size=64K" };
	struct machine m = machine_make(words[_i]);
	size_t page = upage_pool_page_size(m.pool), pages = 2 * machine_stats(m).frames;
	volatile char *memory = machine_map(m, pages * page / PAGE, RW);
	struct upage_stats before = machine_stats(m);
	for (size_t round = 0; round < 2; round++) {
		before = machine_stats(m);
		for (size_t i = 0; i < pages; i++)
			memory[i * page] = 1;
	}
	ck_assert_uint_gt(since(m, before).major, pages / 4);
	ck_assert_uint_eq(since(m, before).prefetched, 0);
	machine_end(m);
}
END_TEST

/* Slots that two spaces have are read ahead by both, and stay right for the other one. */
START_TEST(clones_read_ahead_what_they_share)
{
	struct machine m = machine_make(EXACT ",prefetch=64");
	char *memory = machine_map(m, 700, RW);
	fill_in(memory, 700);
	ck_assert_ok(upage_advise(m.space, memory, 700 * PAGE, UPAGE_PAGEOUT));
	upage_space *clone = clone_of(m.space);
	volatile char *other = in(clone, m.space, memory);
	struct upage_stats before = machine_stats(m);
	for (size_t i = 0; i < 700; i++) {
		must_hold(memory, i);
		((volatile char *)memory)[i * PAGE + 5] = 'x';
	}
	for (size_t i = 0; i < 700; i++) {
		must_hold(other, i);
		must(other[i * PAGE + 5] == 0);
		other[i * PAGE + 5] = 'y';
	}
	ck_assert_uint_gt(since(m, before).prefetched, 1000);
	for (size_t i = 0; i < 700; i++)
		must(((volatile char *)memory)[i * PAGE + 5] == 'x' && other[i * PAGE + 5] == 'y');
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_ok(upage_space_destroy(clone));
	machine_end(m);
}
END_TEST

/* ---- Threads, and no room in swap ------------------------------------------------------------ */

#define THREADS 4
static volatile uint64_t *common;
static size_t common_pages;

static void *add_in_order(void *argument)
{
	size_t number = (size_t)argument;
	for (size_t round = 0; round < 6; round++)
		for (size_t i = 0; i < common_pages; i++) {
			size_t page = (i + number * common_pages / 7 * (round % 2)) % common_pages;
			atomic_fetch_add((_Atomic uint64_t *)(uintptr_t)&common[page * PAGE / sizeof(uint64_t) + number],
			                 page + 1);
		}
	return NULL;
}

START_TEST(threads_that_read_ahead_lose_nothing)
{
	static const char *const words[] = { "memory=1M,prefetch=64", "memory=4M,prefetch=64,swap-size=3M" };
	struct machine m = machine_make(words[_i]);
	common_pages = _i == 0 ? 3 * 256 : 1024 + 700;
	common = (volatile uint64_t *)(void *)machine_map(m, common_pages, RW);
	pthread_t threads[THREADS];
	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, add_in_order, (void *)i), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (size_t page = 0; page < common_pages; page++)
		for (size_t i = 0; i < THREADS; i++)
			ck_assert_uint_eq(common[page * PAGE / sizeof(uint64_t) + i], 6 * (page + 1));
	ck_assert_uint_gt(machine_stats(m).prefetched, 0);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("readahead");
	TCase *tests = tcase_create("readahead");
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, in_order_few_faults_and_few_reads_bring_all);
	tcase_add_test(tests, what_is_written_in_order_is_expected_to_be);
	tcase_add_test(tests, at_random_pages_come_alone);
	tcase_add_test(tests, a_jump_brings_one_page);
	tcase_add_test(tests, several_streams_go_on_beside_each_other);
	tcase_add_test(tests, free_frames_apart_do_not_cut_the_window);
	tcase_add_loop_test(tests, where_it_is_off_or_memory_small_pages_come_alone, 0, 4);
	tcase_add_test(tests, clones_read_ahead_what_they_share);
	tcase_add_loop_test(tests, threads_that_read_ahead_lose_nothing, 0, 2);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
