/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_stats.c - do the counters add up, and are times what they were?
 */
#include <pthread.h>

#include "compiler.h"
#include "host.h"
#include "page_table.h"
#include "replace.h"
#include "stats.h"
#include "support.h"

/* ---- Counters -------------------------------------------------------------------------- */

START_TEST(every_counter_goes_to_its_own_field)
{
	static const struct {
		enum counter counter;
		size_t offset;
		bool is_fault;
	} counters[] = {
#define C(name, field, is_fault) { COUNT_##name, offsetof(struct upage_stats, field), is_fault }
		C(ZERO_FILL, zero_fill, true),
		C(MAJOR, major, true),
		C(SOFT, soft, true),
		C(WRITE_UPGRADE, write_upgrade, true),
		C(COPIED, copied, false),
		C(PROTECTION, protection, false),
		C(BOUNDS, bounds, false),
		C(FAILED, failed, false),
		C(EVICTIONS, evictions, false),
		C(WRITEBACKS, writebacks, false),
		C(WRITEBACK_FAILURES, writeback_failures, false),
		C(PREFETCHED, prefetched, false),
		C(PREFETCH_USED, prefetch_used, false),
		C(PINNED_PAGES, pinned_pages, false),
		C(INTERCEPTED, intercepted, false),
		C(UNENFORCED, unenforced, false),
		C(COMPACTIONS, compactions, false),
		C(MOVES, moves, false),
		C(SWITCHES, switches, false),
		C(RECLAIMED, reclaimed, false),
		C(ZEROED_AHEAD, zeroed_ahead, false),
		C(PATCHED, patched_sites, false),
		C(AT_ONCE, store_at_once, false),
#undef C
	};
	ck_assert_uint_eq(LENGTH(counters), COUNTERS);
	for (size_t i = 0; i < COUNTERS; i++) {
		static struct stats stats;
		stats_init(&stats);
		struct upage_stats found = { .size = sizeof(found) }, expected = found;
		for (unsigned n = 0; n < 3; n++)
			stats_count(&stats, counters[i].counter);
		stats_read(&stats, &found);
		*(uint64_t *)(void *)((char *)&expected + counters[i].offset) = 3;
		expected.faults = counters[i].is_fault ? 3 : 0;
		ck_assert_mem_eq(&found, &expected, sizeof(found));
	}
}
END_TEST

START_TEST(faults_are_the_sum_of_those_that_were_served)
{
	static struct stats stats;
	struct upage_stats found = { .size = sizeof(found) };
	stats_init(&stats);
	for (unsigned counter = 0; counter < COUNTERS; counter++)
		for (unsigned n = 0; n < 1u << counter; n++)
			stats_count(&stats, (enum counter)counter);
	stats_count(&stats, COUNT_NONE); /* counts nothing */
	stats_read(&stats, &found);
	ck_assert_uint_eq(found.faults,
	                  found.zero_fill + found.major + found.soft + found.write_upgrade);
	ck_assert_uint_eq(found.faults, 15);
}
END_TEST

START_TEST(the_longest_pause_is_kept_and_that_of_two_is_the_longer_one)
{
	static struct stats stats, other;
	struct upage_stats found = { .size = sizeof(found) };
	stats_init(&stats);
	stats_init(&other);
	stats_pause(&stats, 70);
	stats_pause(&stats, 50);
	stats_count_many(&stats, COUNT_MOVES, 40);
	stats_read(&stats, &found);
	ck_assert_uint_eq(found.pause_ns_max, 70);
	stats_pause(&other, 90);
	stats_count_many(&other, COUNT_MOVES, 2);
	stats_add(&stats, &other);
	stats_read(&stats, &found);
	ck_assert_uint_eq(found.pause_ns_max, 90);
	ck_assert_uint_eq(found.moves, 42);
}
END_TEST

#define THREADS 4
#define TURNS 100000

static struct stats shared;

static void *count(void *argument)
{
	for (uint64_t i = 0; i < TURNS; i++) {
		stats_count(&shared, COUNT_MAJOR);
		stats_time(&shared, (uintptr_t)argument + i);
	}
	return NULL;
}

START_TEST(threads_that_count_lose_nothing)
{
	pthread_t threads[THREADS];
	stats_init(&shared);
	for (uintptr_t t = 0; t < THREADS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, count, (void *)(t * TURNS)), 0);
	for (unsigned t = 0; t < THREADS; t++)
		ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
	uint64_t times = 0, counted = 0, most = 0;
	unsigned parts = 0;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct stats_part *part = &shared.part[i];
		for (unsigned class = 0; class < TIME_CLASSES; class++)
			times += atomic_load(&part->times[class]);
		counted += atomic_load(&part->counters[COUNT_MAJOR]);
		parts += atomic_load(&part->counters[COUNT_MAJOR]) > 0;
		most = larger(most, atomic_load(&part->ticks_max));
	}
	ck_assert_uint_eq(counted, THREADS * TURNS);
	ck_assert_uint_eq(times, THREADS * TURNS);
	ck_assert_uint_eq(most, THREADS * TURNS - 1);
	ck_assert_uint_ge(parts, THREADS / 2); /* or all would write the same lines */
	struct upage_stats found = { .size = sizeof(found) };
	stats_read(&shared, &found);
	ck_assert_uint_eq(found.major, THREADS * TURNS);
}
END_TEST

/* ---- Times ----------------------------------------------------------------------------- */

/* As if it had begun long ago, with a tick a nanosecond: the two clocks' own steps since then
 * are nothing against that. */
static void stats_begin(struct stats *stats)
{
	stats_init(stats);
	stats->ticks_start = host_ticks() - UINT64_C(1000000000000000);
	stats->nanoseconds_start = host_nanoseconds() - UINT64_C(1000000000000000);
}

/* @found is in the class of @ticks, which is a quarter of it wide, or the next one's start. */
static void expect_within_a_class(uint64_t found, uint64_t ticks)
{
	double low = (double)ticks * 0.999 - 1, high = (double)ticks * 1.251 + 1;
	ck_assert_msg((double)found >= low && (double)found <= high, "%llu instead of %llu",
	              (unsigned long long)found, (unsigned long long)ticks);
}

START_TEST(without_a_fault_every_time_is_zero)
{
	static struct stats stats;
	struct upage_stats found = { .fault_ns_p50 = 1, .fault_ns_p99 = 1, .fault_ns_max = 1 };
	stats_begin(&stats);
	stats_read(&stats, &found);
	ck_assert_uint_eq(found.fault_ns_p50, 0);
	ck_assert_uint_eq(found.fault_ns_p99, 0);
	ck_assert_uint_eq(found.fault_ns_max, 0);
}
END_TEST

START_TEST(the_quantiles_of_one_time_are_that_time)
{
	static const uint64_t times[] = { 1,     2,       3,          4,
		                          5,     7,       8,          1000,
		                          1023,  1024,    1025,       1500000,
		                          1u << 30, 3u << 30, UINT64_C(5) << 40 };
	for (size_t i = 0; i < LENGTH(times); i++) {
		static struct stats stats;
		struct upage_stats found;
		stats_begin(&stats);
		for (unsigned n = 0; n < 5; n++)
			stats_time(&stats, times[i]);
		stats_read(&stats, &found);
		expect_within_a_class(found.fault_ns_p50, times[i]);
		expect_within_a_class(found.fault_ns_p99, times[i]);
		/* the longest is kept exactly, and no quantile is longer */
		ck_assert_msg((double)found.fault_ns_max >= (double)times[i] * 0.999 - 1 &&
		              (double)found.fault_ns_max <= (double)times[i] * 1.001 + 1,
		              "%llu", (unsigned long long)found.fault_ns_max);
		ck_assert_uint_le(found.fault_ns_p50, found.fault_ns_p99);
		ck_assert_uint_le(found.fault_ns_p99, found.fault_ns_max);
	}
}
END_TEST

START_TEST(the_quantiles_of_even_times_are_the_half_and_the_last_hundredth)
{
	static struct stats stats;
	struct upage_stats found;
	stats_begin(&stats);
	for (uint64_t i = 1; i <= 1000; i++)
		stats_time(&stats, i * 1000);
	stats_read(&stats, &found);
	expect_within_a_class(found.fault_ns_p50, 500000);
	expect_within_a_class(found.fault_ns_p99, 990000);
}
END_TEST

START_TEST(the_quantiles_of_random_times_are_within_a_class)
{
	enum { TIMES = 2000 };
	static uint64_t times[TIMES];
	uint64_t random = 21;
	for (unsigned round = 0; round < 50; round++) {
		static struct stats stats;
		struct upage_stats found;
		stats_begin(&stats);
		for (unsigned i = 0; i < TIMES; i++) { /* all lengths from 2^10 to 2^40 */
			unsigned shift = (unsigned)(random_number(&random) % 30);
			uint64_t time = ((random_number(&random) & 1023) + 1024) << shift;
			unsigned place = i;
			stats_time(&stats, time);
			for (; place > 0 && times[place - 1] > time; place--)
				times[place] = times[place - 1];
			times[place] = time;
		}
		stats_read(&stats, &found);
		expect_within_a_class(found.fault_ns_p50, times[TIMES / 2 - 1]);
		expect_within_a_class(found.fault_ns_p99, times[TIMES * 99 / 100 - 1]);
	}
}
END_TEST

START_TEST(one_slow_fault_in_a_hundred_is_the_longest_and_two_are_the_99th_percentile)
{
	static struct stats stats;
	struct upage_stats found;
	stats_begin(&stats);
	for (unsigned i = 0; i < 99; i++)
		stats_time(&stats, 2000);
	stats_time(&stats, 9000000);
	stats_read(&stats, &found);
	expect_within_a_class(found.fault_ns_p99, 2000);
	expect_within_a_class(found.fault_ns_max, 9000000);
	stats_begin(&stats);
	for (unsigned i = 0; i < 98; i++)
		stats_time(&stats, 2000);
	stats_time(&stats, 9000000);
	stats_time(&stats, 9000000);
	stats_read(&stats, &found);
	expect_within_a_class(found.fault_ns_p50, 2000);
	expect_within_a_class(found.fault_ns_p99, 9000000);
}
END_TEST

/* Counters of two processors may differ: the end of a fault is then before its start. Half a
 * nanosecond a tick, so that the longest time fits 64 bits. */
START_TEST(the_longest_time_of_all_has_a_class_too)
{
	static struct stats stats;
	struct upage_stats found;
	stats_begin(&stats);
	stats.nanoseconds_start += UINT64_C(500000000000000);
	stats_time(&stats, UINT64_MAX);
	stats_read(&stats, &found);
	ck_assert_uint_ge(found.fault_ns_p50, UINT64_MAX / 2 / 5 * 4);
	ck_assert_uint_ge(found.fault_ns_max, UINT64_MAX / 2 / 5 * 4);
}
END_TEST

/* ---- What it all takes ------------------------------------------------------------------ */

/* What does not grow with memory (buffers) is left out. Loop: policies. */
START_TEST(a_frame_takes_at_most_48_bytes)
{
	static const char *const policies[] = { "clock", "fifo", "random" };
	uint64_t metadata[2], frames[2];
	for (int i = 0; i < 2; i++) {
		char words[64];
		snprintf(words, sizeof(words), "memory=%dM,policy=%s", 64 << i, policies[_i]);
		struct machine m = machine_make(words);
		struct upage_stats stats = machine_stats(m);
		metadata[i] = stats.metadata_bytes;
		frames[i] = stats.frames;
		machine_end(m);
	}
	ck_assert_uint_gt(metadata[0], 40 * frames[0]);
	ck_assert_uint_le(metadata[1] - metadata[0], 48 * (frames[1] - frames[0]));
}
END_TEST

START_TEST(a_mapped_page_takes_little_more_than_8_bytes)
{
	static struct table_memory memory;
	struct page_table table;
	const uint64_t pages = UINT64_C(1) << 18, reserved = UINT64_C(1) << 28;
	table_memory_init(&memory, host_metadata, host_metadata_release);
	ck_assert_ok(page_table_init(&table, &memory, reserved, 12, 0));
	for (uint64_t vpn = 0; vpn < pages; vpn++)
		must(page_table_make(&table, reserved / 2 + vpn) != NULL);
	ck_assert_uint_ge(memory.bytes * 10, 80 * pages);
	ck_assert_uint_le(memory.bytes * 10, 81 * pages);
	page_table_destroy(&table);
	table_memory_destroy(&memory);
}
END_TEST

/* Address space is set aside for more; memory is not. */
START_TEST(a_reserved_tebibyte_takes_less_than_a_mebibyte)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	struct upage_stats stats = { .size = sizeof(stats) };
	upage_pool *pool;
	upage_space *space;
	void *address = NULL;
	config.length = (size_t)1 << 40;
	ck_assert_ok(upage_pool_create(&pool, NULL));
	unsigned long resident = process_size().resident;
	ck_assert_ok(upage_space_create(&space, pool, &config));
	ck_assert_ok(upage_map(space, &address, config.length, RW, 0, NULL, 0));
	ck_assert_uint_le(process_size().resident - resident, MIB / PAGE);
	ck_assert_ok(upage_stats_get(pool, &stats));
	ck_assert_uint_le(stats.table_bytes, MIB);
	ck_assert_ok(upage_space_destroy(space));
	ck_assert_ok(upage_pool_destroy(pool));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stats");
	TCase *counters = tcase_create("counters");
	tcase_add_test(counters, every_counter_goes_to_its_own_field);
	tcase_add_test(counters, faults_are_the_sum_of_those_that_were_served);
	tcase_add_test(counters, the_longest_pause_is_kept_and_that_of_two_is_the_longer_one);
	tcase_add_test(counters, threads_that_count_lose_nothing);
	suite_add_tcase(suite, counters);

	TCase *times = tcase_create("times");
	tcase_add_test(times, without_a_fault_every_time_is_zero);
	tcase_add_test(times, the_quantiles_of_one_time_are_that_time);
	tcase_add_test(times, the_quantiles_of_even_times_are_the_half_and_the_last_hundredth);
	tcase_add_test(times, the_quantiles_of_random_times_are_within_a_class);
	tcase_add_test(
	        times, one_slow_fault_in_a_hundred_is_the_longest_and_two_are_the_99th_percentile);
	tcase_add_test(times, the_longest_time_of_all_has_a_class_too);
	suite_add_tcase(suite, times);

	TCase *bytes = tcase_create("bytes");
	tcase_add_loop_test(bytes, a_frame_takes_at_most_48_bytes, 0, 3);
	tcase_add_test(bytes, a_mapped_page_takes_little_more_than_8_bytes);
	tcase_add_test(bytes, a_reserved_tebibyte_takes_less_than_a_mebibyte);
	suite_add_tcase(suite, bytes);
	return run_suite(suite);
}
