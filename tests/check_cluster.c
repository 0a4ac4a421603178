/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_cluster.c - pages that come in with their neighbours: fewer faults, nothing else changed
 */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support.h"

#define MANY 400 /* pages */

/* ---- Anonymous memory --------------------------------------------------------------------- */

START_TEST(in_order_there_are_few_faults_and_each_page_comes_once)
{
	struct machine m = machine_make("memory=4M,prefetch=auto");
	char *memory = machine_map(m, MANY, RW);
	for (size_t i = 0; i < MANY; i++) {
		for (size_t k = 0; k < PAGE; k += 8)
			ck_assert_uint_eq(*(volatile uint64_t *)(void *)(memory + i * PAGE + k), 0);
		memset(memory + i * PAGE, (int)i + 1, PAGE);
	}
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.faults, stats.zero_fill + stats.major + stats.soft + stats.write_upgrade);
	ck_assert_uint_eq(stats.zero_fill + stats.prefetched, MANY);
	ck_assert_uint_lt(stats.zero_fill, MANY / 8);
	ck_assert_uint_eq(machine_resident(m), MANY);
	for (size_t i = 0; i < MANY * PAGE; i += 512)
		ck_assert_int_eq(memory[i], (char)(i / PAGE + 1));
	machine_end(m);
}
END_TEST

START_TEST(a_stack_that_grows_down_does_so_too)
{
	struct machine m = machine_make("memory=4M,prefetch=auto");
	volatile char *memory = machine_map(m, MANY, RW);
	for (size_t i = MANY; i-- > 0;)
		memory[i * PAGE] = 1;
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_lt(stats.faults, MANY / 8);
	ck_assert_uint_eq(stats.zero_fill + stats.prefetched, MANY);
	machine_end(m);
}
END_TEST

/* Loop: levels of the page table. Five have leaves of eight entries, behind which there are no others. */
START_TEST(a_cluster_ends_with_its_leaf)
{
	struct machine m = machine_make("memory=4M,prefetch=auto");
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	upage_space *space;
	void *memory = NULL;
	config.length = (size_t)1 << 30;
	config.levels = (unsigned)_i;
	ck_assert_ok(upage_space_create(&space, m.pool, &config));
	ck_assert_ok(upage_map(space, &memory, MANY * PAGE, RW, 0, NULL, 0));
	for (unsigned round = 1; round < 4; round++) {
		for (size_t i = 0; i < MANY; i++)
			memset((char *)memory + i * PAGE, (int)(i + round), PAGE);
		ck_assert_uint_eq(machine_resident(m), MANY);
		ck_assert_ok(upage_advise(space, memory, MANY * PAGE, UPAGE_PAGEOUT));
		ck_assert_uint_eq(machine_resident(m), 0);
		for (size_t i = 0; i < MANY; i++)
			must(((volatile char *)memory)[i * PAGE + round] == (char)(i + round));
		ck_assert_ok(upage_pool_verify(m.pool));
	}
	ck_assert_ok(upage_space_destroy(space));
	machine_end(m);
}
END_TEST

/* In memory that the window is a small part of. */
static uint64_t faults_in_order(const char *prefetch, size_t pages, bool backwards)
{
	char words[64];
	snprintf(words, sizeof(words), "memory=%zu,prefetch=%s", 4 * pages * PAGE, prefetch);
	struct machine m = machine_make(words);
	volatile char *memory = machine_map(m, pages, RW);
	for (size_t i = 0; i < pages; i++)
		memory[(backwards ? pages - 1 - i : i) * PAGE] = 1;
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.zero_fill + stats.prefetched, pages);
	machine_end(m);
	return stats.faults;
}

START_TEST(a_long_run_grows_its_window)
{
	ck_assert_uint_eq(faults_in_order("1", 4096, _i), 4096);
	ck_assert_uint_lt(faults_in_order("16", 4096, _i), 4096 / 16 + 8);
	ck_assert_uint_ge(faults_in_order("16", 4096, _i), 4096 / 16);
	/* It begins anew neither at the end of a leaf of the page table, nor before the memory is half full. */
	ck_assert_uint_lt(faults_in_order("64", 4096, _i), 4096 / 64 + 24);
	ck_assert_uint_lt(faults_in_order("256", 16384, _i), 16384 / 256 + 48);
	ck_assert_uint_lt(faults_in_order("auto", 16384, _i), 16384 / 256 + 48);
}
END_TEST

START_TEST(a_jump_ends_the_window)
{
	struct machine m = machine_make("memory=64M,prefetch=64");
	volatile char *memory = machine_map(m, 8192, RW);
	for (size_t i = 0; i < 2048; i++)
		memory[i * PAGE] = 1;
	uint64_t before = machine_resident(m), faults = machine_stats(m).faults;
	ck_assert_uint_le(before, 2048 + 64);
	for (size_t i = 4096; i < 8192; i += 64)
		memory[i * PAGE] = 1;
	ck_assert_uint_eq(machine_resident(m), before + 64);
	ck_assert_uint_eq(machine_stats(m).faults, faults + 64);
	machine_end(m);
}
END_TEST

/* Far from each other; or, of the rest, more than an eighth of the frames. */
START_TEST(scattered_pages_come_alone)
{
	struct machine m = machine_make("memory=4M,prefetch=auto");
	volatile char *far = machine_map(m, 200 * 64, RW), *memory = machine_map(m, MANY + 1, RW);
	for (size_t i = 0; i < 200; i++)
		far[(i * 64 + 32) * PAGE] = 1;
	for (size_t i = 1; i <= MANY; i += 2)
		memory[i * PAGE] = 1;
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.zero_fill, 200 + MANY / 2);
	ck_assert_uint_eq(stats.prefetched, 0);
	machine_end(m);
}
END_TEST

/* Of the aligned eight pages that page @i of @memory is among, those that are pages of @memory's @count, too. */
static uint64_t pages_of_block(volatile char *memory, size_t i, size_t count)
{
	size_t index = (uintptr_t)memory / PAGE + i, first = (uintptr_t)memory / PAGE;
	size_t from = index / 8 * 8, to = from + 8;
	return (to < first + count ? to : first + count) - (from > first ? from : first);
}

START_TEST(a_block_comes_in_where_something_is_near_while_frames_are_ample)
{
	struct machine m = machine_make("memory=4M,prefetch=auto");
	volatile char *memory = machine_map(m, MANY, RW), *small = (char *)machine_map(m, 4, RW) + PAGE;
	ck_assert_ok(upage_unmap(m.space, (char *)small - PAGE, PAGE)); /* or the two are one mapping */
	uint64_t resident = pages_of_block(memory, 0, MANY);
	memory[0] = 1; /* a mapping begins */
	ck_assert_uint_eq(machine_resident(m), resident);
	small[0] = 1;
	resident += pages_of_block(small, 0, 3);
	ck_assert_uint_eq(machine_resident(m), resident);
	size_t there = 100 - (uintptr_t)(memory + 100 * PAGE) / PAGE % 8;
	memory[there * PAGE] = 1; /* nothing is near */
	ck_assert_uint_eq(machine_resident(m), resident + 1);
	memory[(there + 12) * PAGE] = 1; /* what came before is in the block on the left */
	ck_assert_uint_eq(machine_resident(m), resident + 1 + 8);
	memory[(there + 3) * PAGE] = 1; /* in its own; and on the right */
	ck_assert_uint_eq(machine_resident(m), resident + 8 + 8);
	memory[(there - 8) * PAGE] = 1;
	ck_assert_uint_ge(machine_resident(m), resident + 8 + 8 + 8);
	memory[(there + 32) * PAGE] = 1; /* again nothing */
	uint64_t before = machine_resident(m);
	memory[(there + 64) * PAGE] = 1;
	ck_assert_uint_eq(machine_resident(m), before + 1);
	machine_end(m);
}
END_TEST

START_TEST(a_mapping_begins_with_one_page_while_frames_are_not_ample)
{
	struct machine m = machine_make("memory=4M,prefetch=auto");
	volatile char *memory = machine_map(m, 200 * 64, RW);
	for (size_t i = 0; i < 200; i++) /* more than an eighth of the frames */
		memory[(i * 64 + 32) * PAGE] = 1;
	ck_assert_uint_eq(machine_resident(m), 200);
	volatile char *late = machine_map(m, 3, RW);
	late[0] = 1;
	ck_assert_uint_eq(machine_resident(m), 201);
	machine_end(m);
}
END_TEST

START_TEST(what_comes_for_nothing_is_no_more_than_what_was_wanted)
{
	struct machine m = machine_make("memory=64M,prefetch=auto");
	volatile char *memory = machine_map(m, 16 * MANY, RW);
	uint64_t wanted = 0;
	for (size_t i = 0; i < 16 * MANY; i += 64) /* beginnings of arrays, of 1 to 16 pages */
		for (size_t k = 0; k <= i / 64 % 16; k++, wanted++)
			memory[(i + k) * PAGE] = 1;
	ck_assert_uint_lt(machine_resident(m), 2 * wanted);
	machine_end(m);
}
END_TEST

START_TEST(off_and_one_page_mean_a_fault_a_page)
{
	static const char *const words[] = { "memory=4M,prefetch=off", "memory=4M,prefetch=1",
		                             "memory=32M,prefetch=auto,page-size=64K" };
	struct machine m = machine_make(words[_i]);
	size_t page = upage_pool_page_size(m.pool);
	volatile char *memory = machine_map(m, 100, RW);
	for (size_t i = 0; i < 100; i++)
		memory[i * page] = 1;
	ck_assert_uint_eq(machine_stats(m).zero_fill, 100);
	ck_assert_uint_eq(machine_stats(m).prefetched, 0);
	machine_end(m);
}
END_TEST

START_TEST(advice_of_random_references_is_heard)
{
	struct machine m = machine_make("memory=4M,prefetch=auto");
	volatile char *memory = machine_map(m, 100, RW);
	ck_assert_ok(upage_advise(m.space, (void *)memory, 100 * PAGE, UPAGE_RANDOM));
	for (size_t i = 0; i < 100; i++)
		memory[i * PAGE] = 1;
	ck_assert_uint_eq(machine_stats(m).zero_fill, 100);
	machine_end(m);
}
END_TEST

START_TEST(nothing_is_evicted_for_a_neighbour)
{
	struct machine m = machine_make("memory=1M,prefetch=auto"); /* 256 frames */
	volatile char *memory = machine_map(m, MANY, RW);
	for (size_t i = 0; i < 250; i++)
		memory[i * PAGE] = 1;
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.evictions, 0);
	ck_assert_uint_le(stats.prefetched, 192); /* until a quarter is left */
	ck_assert_uint_ge(machine_resident(m), 250);
	for (size_t i = 250; i < MANY; i++)
		memory[i * PAGE] = 1;
	ck_assert_uint_eq(machine_stats(m).prefetched, stats.prefetched);
	for (size_t i = 0; i < MANY; i++)
		ck_assert_int_eq(memory[i * PAGE], 1);
	machine_end(m);
}
END_TEST

START_TEST(a_cluster_ends_with_its_mapping_and_its_protection)
{
	struct machine m = machine_make("memory=4M,prefetch=auto");
	char *memory = machine_map(m, 64, RW);
	ck_assert_ok(upage_protect(m.space, memory + 20 * PAGE, 10 * PAGE, PROT_READ));
	ck_assert_ok(upage_unmap(m.space, memory + 50 * PAGE, 14 * PAGE));
	for (volatile char *p = memory; p < memory + 20 * PAGE; p += PAGE)
		*p = 1;
	ck_assert_uint_eq(machine_resident(m), 20);
	for (volatile char *p = memory + 30 * PAGE; p < memory + 50 * PAGE; p += PAGE)
		*p = 1;
	ck_assert_uint_eq(machine_resident(m), 40);
	/* Read-only pages came for reading, and are upgraded one by one. */
	for (size_t i = 20; i < 30; i++)
		ck_assert_int_eq(*(volatile char *)(memory + i * PAGE), 0);
	ck_assert_uint_eq(machine_resident(m), 50);
	ck_assert_ok(upage_protect(m.space, memory, 50 * PAGE, RW));
	for (volatile char *p = memory; p < memory + 50 * PAGE; p += PAGE)
		*p = 2;
	ck_assert_uint_eq(machine_resident(m), 50);
	machine_end(m);
}
END_TEST

START_TEST(pages_that_were_discarded_are_zero_again)
{
	struct machine m = machine_make("memory=1M,prefetch=auto");
	char *memory = machine_map(m, 128, RW);
	for (int round = 0; round < 6; round++) {
		for (size_t i = 0; i < 128; i++) {
			for (size_t k = 0; k < PAGE; k += 64)
				ck_assert_int_eq(*(volatile char *)(memory + i * PAGE + k), 0);
			memset(memory + i * PAGE, 0xff, PAGE);
		}
		ck_assert_ok(upage_advise(m.space, memory, 128 * PAGE, UPAGE_DONTNEED));
		ck_assert_uint_eq(machine_resident(m), 0);
	}
	machine_end(m);
}
END_TEST

/* Long runs, which are filled before they are at their addresses: for writing, and for reading. */
START_TEST(long_runs_are_zero_again_too)
{
	struct machine m = machine_make("memory=64M,prefetch=auto");
	for (int round = 0; round < 3; round++) {
		char *memory = machine_map(m, 8192, RW);
		ck_assert_ok(upage_protect(m.space, memory + 4096 * PAGE, 4096 * PAGE, PROT_READ));
		for (size_t i = 0; i < 8192 * PAGE; i += 64)
			must(*(volatile char *)(memory + i) == 0);
		ck_assert_ok(upage_protect(m.space, memory, 8192 * PAGE, RW));
		memset(memory, 0xff, 8192 * PAGE);
		for (size_t i = 0; i < 8192 * PAGE; i += 64)
			must(*(volatile char *)(memory + i) == -1);
		ck_assert_uint_eq(machine_resident(m), 8192);
		ck_assert_ok(upage_pool_verify(m.pool));
		ck_assert_ok(upage_unmap(m.space, memory, 8192 * PAGE));
		ck_assert_uint_eq(machine_resident(m), 0);
	}
	machine_end(m);
}
END_TEST

/* ---- Hidden pages ---------------------------------------------------------------------------- */

#define CLEAN_FROM 100 /* of MANY pages: these were only read */
#define CLEAN_TO 140

/* Return: soft faults of reading every @step-th page once they all were hidden. */
static uint64_t show_again(struct machine m, volatile char *memory, size_t step)
{
	uint64_t before = machine_stats(m).soft;
	ck_assert_ok(upage_protect(m.space, (void *)(uintptr_t)memory, MANY * PAGE, PROT_NONE));
	ck_assert_ok(upage_protect(m.space, (void *)(uintptr_t)memory, MANY * PAGE, RW));
	for (size_t i = 0; i < MANY; i += step)
		ck_assert_int_eq(memory[i * PAGE], i >= CLEAN_FROM && i < CLEAN_TO ? 0 : (char)(i + 1));
	ck_assert_ok(upage_pool_verify(m.pool));
	return machine_stats(m).soft - before;
}

START_TEST(hidden_pages_are_shown_with_their_neighbours)
{
	struct machine m = machine_make("memory=4M,prefetch=auto,mapping=remap");
	volatile char *memory = machine_map(m, MANY, RW);
	for (size_t i = CLEAN_FROM; i < CLEAN_TO; i++)
		(void)memory[i * PAGE];
	for (size_t i = 0; i < MANY; i++)
		if (i < CLEAN_FROM || i >= CLEAN_TO)
			memory[i * PAGE] = (char)(i + 1);
	uint64_t upgrades = machine_stats(m).write_upgrade;
	ck_assert_uint_lt(show_again(m, memory, 1), MANY / 8);
	memory[(CLEAN_FROM + 9) * PAGE] = 0;
	ck_assert_uint_eq(machine_stats(m).write_upgrade, upgrades + 1);
	memory[(CLEAN_TO + 20) * PAGE] = (char)(CLEAN_TO + 21);
	ck_assert_uint_eq(machine_stats(m).write_upgrade, upgrades + 1);
	/* While frames are short each comes alone. */
	volatile char *more = machine_map(m, 500, RW);
	for (size_t i = 0; i < 500; i++)
		more[i * PAGE] = 1;
	ck_assert_uint_eq(show_again(m, memory, 3), (MANY + 2) / 3);
	machine_end(m);
}
END_TEST

/* ---- Files ---------------------------------------------------------------------------------- */

static upage_store *file_of(size_t bytes)
{
	char name[] = "/tmp/check-cluster-XXXXXX";
	int descriptor = mkstemp(name);
	upage_store *store;
	ck_assert_int_ge(descriptor, 0);
	for (size_t i = 0; i < bytes; i++) {
		char c = (char)(i / PAGE + i % 7 + 1);
		ck_assert_int_eq(pwrite(descriptor, &c, 1, (off_t)i), 1);
	}
	ck_assert_ok(upage_store_open(&store, name, 0));
	unlink(name);
	close(descriptor);
	return store;
}

START_TEST(a_file_comes_by_clusters_and_ends_where_it_ends)
{
	struct machine m = machine_make("memory=4M,prefetch=auto");
	upage_store *store = file_of(37 * PAGE + 100);
	void *address = NULL;
	ck_assert_ok(upage_map(m.space, &address, 64 * PAGE, RW, 0, store, 0));
	const volatile char *memory = address;
	for (size_t i = 0; i < 38 * PAGE; i++)
		ck_assert_int_eq(memory[i], i < 37 * PAGE + 100 ? (char)(i / PAGE + i % 7 + 1) : 0);
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.major + stats.prefetched, 38);
	ck_assert_uint_lt(stats.major, 10);
	ck_assert_uint_eq(machine_resident(m), 38); /* and none behind the end */
	ck_assert(is_bus_error((char *)address + 38 * PAGE, false));
	/* What is written stays the program's. */
	for (size_t i = 0; i < 38; i++)
		((volatile char *)address)[i * PAGE] = 'x';
	for (size_t i = 0; i < 38; i++) {
		ck_assert_int_eq(memory[i * PAGE], 'x');
		ck_assert_int_eq(memory[i * PAGE + 1], (char)(i + (i * PAGE + 1) % 7 + 1));
	}
	ck_assert_ok(upage_unmap(m.space, address, 64 * PAGE));
	ck_assert_ok(upage_store_close(store));
	machine_end(m);
}
END_TEST

START_TEST(a_long_file_comes_by_long_clusters_and_ends_where_it_ends)
{
	struct machine m = machine_make("memory=64M,prefetch=auto");
	upage_store *store = file_of(300 * PAGE + 100);
	for (int round = 0; round < 2; round++) {
		void *address = NULL;
		ck_assert_ok(upage_map(m.space, &address, 400 * PAGE, RW, 0, store, 0));
		const volatile char *memory = address;
		uint64_t before = machine_stats(m).major;
		for (size_t i = 0; i < 301 * PAGE; i++)
			must(memory[i] == (i < 300 * PAGE + 100 ? (char)(i / PAGE + i % 7 + 1) : 0));
		ck_assert_uint_lt(machine_stats(m).major - before, 300 / 16);
		ck_assert_uint_eq(machine_resident(m), 301);
		ck_assert(is_bus_error((char *)address + 301 * PAGE, false));
		ck_assert_ok(upage_pool_verify(m.pool));
		ck_assert_ok(upage_unmap(m.space, address, 400 * PAGE));
	}
	ck_assert_ok(upage_store_close(store));
	machine_end(m);
}
END_TEST

/* As many as there are buffers, and some more. */
START_TEST(the_ends_of_files_keep_no_buffers)
{
	struct machine m = machine_make("memory=4M,prefetch=16");
	upage_store *store = file_of(2 * PAGE);
	for (int i = 0; i < 100; i++) {
		void *address = NULL;
		ck_assert_ok(upage_map(m.space, &address, 4 * PAGE, RW, 0, store, 0));
		ck_assert_int_eq(*(volatile char *)address, 1);
		ck_assert_uint_eq(machine_resident(m), 2);
		ck_assert_ok(upage_unmap(m.space, address, 4 * PAGE));
	}
	ck_assert_ok(upage_store_close(store));
	machine_end(m);
}
END_TEST

START_TEST(a_page_that_is_written_first_comes_alone)
{
	struct machine m = machine_make("memory=4M,prefetch=auto");
	upage_store *store = file_of(32 * PAGE);
	void *address = NULL;
	ck_assert_ok(upage_map(m.space, &address, 32 * PAGE, RW, 0, store, 0));
	for (size_t i = 0; i < 32; i++)
		((volatile char *)address)[i * PAGE] = 'x';
	ck_assert_uint_eq(machine_stats(m).major, 32);
	ck_assert_uint_eq(machine_stats(m).faults, 32);
	ck_assert_ok(upage_unmap(m.space, address, 32 * PAGE));
	ck_assert_ok(upage_store_close(store));
	machine_end(m);
}
END_TEST

/* ---- Threads ---------------------------------------------------------------------------------- */

#define THREADS 4
static char *common;

static void *touch_in_order(void *argument)
{
	size_t number = (size_t)argument;
	for (size_t i = 0; i < 4 * MANY; i++) {
		char *page = common + (number % 2 ? 4 * MANY - 1 - i : i) * PAGE;
		atomic_fetch_add((_Atomic uint32_t *)(void *)page, 1);
	}
	return NULL;
}

START_TEST(threads_that_meet_do_the_work_once)
{
	struct machine m = machine_make("memory=16M,prefetch=auto,reclaimers=0");
	for (int round = 0; round < 20; round++) {
		pthread_t threads[THREADS];
		common = machine_map(m, 4 * MANY, RW);
		for (size_t i = 0; i < THREADS; i++)
			ck_assert_int_eq(pthread_create(&threads[i], NULL, touch_in_order, (void *)i), 0);
		for (size_t i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		for (size_t i = 0; i < 4 * MANY; i++)
			ck_assert_uint_eq(*(uint32_t *)(void *)(common + i * PAGE), THREADS);
		ck_assert_uint_eq(machine_resident(m), 4 * MANY);
		ck_assert_ok(upage_pool_verify(m.pool));
		ck_assert_ok(upage_unmap(m.space, common, 4 * MANY * PAGE));
	}
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.zero_fill + stats.prefetched, 20 * 4 * MANY);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cluster");
	TCase *tcase = tcase_create("cluster");
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, in_order_there_are_few_faults_and_each_page_comes_once);
	tcase_add_test(tcase, a_stack_that_grows_down_does_so_too);
	tcase_add_loop_test(tcase, a_cluster_ends_with_its_leaf, 0, 6);
	tcase_add_loop_test(tcase, a_long_run_grows_its_window, 0, 2);
	tcase_add_test(tcase, a_jump_ends_the_window);
	tcase_add_test(tcase, scattered_pages_come_alone);
	tcase_add_test(tcase, a_block_comes_in_where_something_is_near_while_frames_are_ample);
	tcase_add_test(tcase, a_mapping_begins_with_one_page_while_frames_are_not_ample);
	tcase_add_test(tcase, what_comes_for_nothing_is_no_more_than_what_was_wanted);
	tcase_add_loop_test(tcase, off_and_one_page_mean_a_fault_a_page, 0, 3);
	tcase_add_test(tcase, advice_of_random_references_is_heard);
	tcase_add_test(tcase, nothing_is_evicted_for_a_neighbour);
	tcase_add_test(tcase, a_cluster_ends_with_its_mapping_and_its_protection);
	tcase_add_test(tcase, pages_that_were_discarded_are_zero_again);
	tcase_add_test(tcase, long_runs_are_zero_again_too);
	tcase_add_test(tcase, hidden_pages_are_shown_with_their_neighbours);
	tcase_add_test(tcase, a_file_comes_by_clusters_and_ends_where_it_ends);
	tcase_add_test(tcase, a_long_file_comes_by_long_clusters_and_ends_where_it_ends);
	tcase_add_test(tcase, the_ends_of_files_keep_no_buffers);
	tcase_add_test(tcase, a_page_that_is_written_first_comes_alone);
	tcase_add_test(tcase, threads_that_meet_do_the_work_once);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
