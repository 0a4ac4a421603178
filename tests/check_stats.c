/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_stats.c - do the counters add up, and can what is written of them be read?
 */
#include <pthread.h>
#include <stdbool.h>

#include "host.h"
#include "stats.h"
#include "support.h"

/* ---- A reader of JSON (RFC 8259), with a path to look for ------------------------------ */

/*
 * Each takes a value from *at on and moves *at behind it; false: that is none. The value at
 * `wanted`, such as "memory.frames", is left in `found`.
 */
struct reader {
	const char *at, *wanted;
	char path[256];
	const char *found;
	size_t found_length;
};

static bool json_value(struct reader *reader);

static void json_space(struct reader *reader)
{
	reader->at += strspn(reader->at, " \t\n\r");
}

static bool json_string(struct reader *reader)
{
	if (*reader->at != '"')
		return false;
	for (reader->at++;; reader->at++) {
		unsigned char c = (unsigned char)*reader->at;
		if (c == '"')
			break;
		if (c < 0x20) /* the end of the text too */
			return false;
		if (c != '\\')
			continue;
		c = (unsigned char)*++reader->at;
		if (c == 'u') {
			for (unsigned i = 0; i < 4; i++)
				if (strchr("0123456789abcdefABCDEF", *++reader->at) == NULL ||
				    *reader->at == '\0')
					return false;
		} else if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL) {
			return false;
		}
	}
	reader->at++;
	return true;
}

static bool json_digits(struct reader *reader)
{
	size_t digits = strspn(reader->at, "0123456789");
	reader->at += digits;
	return digits > 0;
}

static bool json_number(struct reader *reader)
{
	if (*reader->at == '-')
		reader->at++;
	const char *whole = reader->at;
	if (!json_digits(reader) || (*whole == '0' && reader->at > whole + 1))
		return false;
	if (*reader->at == '.') {
		reader->at++;
		if (!json_digits(reader))
			return false;
	}
	if (*reader->at == 'e' || *reader->at == 'E') {
		reader->at++;
		if (*reader->at == '+' || *reader->at == '-')
			reader->at++;
		return json_digits(reader);
	}
	return true;
}

static bool json_member(struct reader *reader)
{
	size_t length = strlen(reader->path);
	json_space(reader);
	const char *name = reader->at + 1;
	if (!json_string(reader))
		return false;
	snprintf(reader->path + length, sizeof(reader->path) - length, "%s%.*s", length ? "." : "",
	         (int)(reader->at - 1 - name), name);
	json_space(reader);
	bool valid = *reader->at == ':';
	if (valid) {
		reader->at++;
		valid = json_value(reader);
	}
	reader->path[length] = '\0';
	return valid;
}

static bool json_list(struct reader *reader, char end, bool (*element)(struct reader *))
{
	reader->at++;
	json_space(reader);
	if (*reader->at == end) {
		reader->at++;
		return true;
	}
	for (;;) {
		if (!element(reader))
			return false;
		json_space(reader);
		if (*reader->at == end)
			break;
		if (*reader->at != ',')
			return false;
		reader->at++;
	}
	reader->at++;
	return true;
}

static bool json_value(struct reader *reader)
{
	json_space(reader);
	const char *start = reader->at;
	bool valid = *start == '{'   ? json_list(reader, '}', json_member)
	             : *start == '[' ? json_list(reader, ']', json_value)
	             : *start == '"' ? json_string(reader)
	                             : json_number(reader);
	if (valid && strcmp(reader->path, reader->wanted) == 0) {
		reader->found = start;
		reader->found_length = (size_t)(reader->at - start);
	}
	return valid;
}

/* The value at @path in @text, as it is written; NULL: none. The text must be one value. */
static const char *json_find(const char *text, const char *path)
{
	static char value[1024];
	struct reader reader = { .at = text, .wanted = path };
	ck_assert_msg(json_value(&reader), "no JSON from here on: %.40s", reader.at);
	json_space(&reader);
	ck_assert_msg(*reader.at == '\0', "behind the object: %.40s", reader.at);
	if (reader.found == NULL)
		return NULL;
	snprintf(value, sizeof(value), "%.*s", (int)reader.found_length, reader.found);
	return value;
}

static bool json_is_valid(const char *text)
{
	struct reader reader = { .at = text, .wanted = "?" };
	if (!json_value(&reader))
		return false;
	json_space(&reader);
	return *reader.at == '\0';
}

START_TEST(does_the_reader_know_json_from_what_is_none)
{
	static const char *const right[] = { "{}", "[]", "{\"a\": [1, {\"b\": \"\\u00e4\\n\"}]}",
		                             "-0.5e+3", "[1,2]", " {\"a\":0} " };
	static const char *const wrong[] = { "",        "{",        "{\"a\":}",   "{\"a\" 1}",
		                             "[1,]",    "{,}",      "{\"a\":1,}", "01",
		                             "1,5",     "\"\n\"",   "\"\\x\"",    "\"\\u00g0\"",
		                             "{\"a\":1", "[1 2]",   "nan",        "1.",
		                             "{a:1}",   "{\"a\":1}}" };
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		ck_assert_msg(json_is_valid(right[i]), "%s", right[i]);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(!json_is_valid(wrong[i]), "%s", wrong[i]);
	ck_assert_str_eq(json_find("{\"a\": {\"b\": 7}, \"b\": 8}", "a.b"), "7");
	ck_assert_ptr_null(json_find("{\"a\": {\"b\": 7}}", "b"));
}
END_TEST

/* ---- What is written ------------------------------------------------------------------- */

static const struct stats_labels labels = { .program = "program",
	                                    .scheme = "paging",
	                                    .policy = "clock",
	                                    .store = "file:/tmp",
	                                    .wall_seconds = 12.25 };

static const struct {
	const char *path; /* in the JSON; NULL: it is only in the structure */
	size_t offset;
} numbers[] = {
#define N(path, field) { path, offsetof(struct upage_stats, field) }
	N("page_size", page_size),
	N("memory.frames", frames),
	N("memory.frames_peak", frames_peak),
	N("memory.free_frames", frames_free),
	N("memory.largest_free_run", largest_free_run),
	N("memory.table_bytes", table_bytes),
	N("memory.metadata_bytes", metadata_bytes),
	N("faults.total", faults),
	N("faults.zero_fill", zero_fill),
	N("faults.major", major),
	N("faults.soft", soft),
	N("faults.write_upgrade", write_upgrade),
	N("faults.protection", protection),
	N("faults.bounds", bounds),
	N("evictions", evictions),
	N("writebacks", writebacks),
	N("prefetched", prefetched),
	N("prefetch_used", prefetch_used),
	N("host.mappings", host_mappings),
	N("host.mappings_peak", host_mappings_peak),
	N("host.mapping_budget", mapping_budget),
	N("syscalls.pinned_pages", pinned_pages),
	N("fault_ns.p50", fault_ns_p50),
	N("fault_ns.p99", fault_ns_p99),
	N("fault_ns.max", fault_ns_max),
#undef N
};
#define NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

/* Every number another. */
static struct upage_stats distinct_stats(void)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	for (size_t i = 0; i < sizeof(stats) / sizeof(uint64_t); i++)
		((uint64_t *)(void *)&stats)[i] = 1000001 + i;
	stats.size = sizeof(stats);
	return stats;
}

START_TEST(every_number_is_under_its_own_key)
{
	static char text[8192];
	struct upage_stats stats = distinct_stats();
	size_t length = stats_json(&stats, &labels, text, sizeof(text));
	ck_assert_uint_eq(length, strlen(text));
	for (size_t i = 0; i < NUMBERS; i++) {
		char expected[32];
		uint64_t number = *(uint64_t *)(void *)((char *)&stats + numbers[i].offset);
		snprintf(expected, sizeof(expected), "%llu", (unsigned long long)number);
		const char *value = json_find(text, numbers[i].path);
		ck_assert_msg(value != NULL, "%s is missing", numbers[i].path);
		ck_assert_msg(strcmp(value, expected) == 0, "%s is %s, not %s", numbers[i].path,
		              value, expected);
	}
}
END_TEST

START_TEST(every_key_of_the_contract_is_there)
{
	static const struct {
		const char *path, *value;
	} keys[] = {
		{ "program", "\"program\"" },
		{ "scheme", "\"paging\"" },
		{ "policy", "\"clock\"" },
		{ "store", "\"file:/tmp\"" },
		{ "wall_seconds", "12.250000" },
		{ "compaction.runs", "0" },
		{ "compaction.moves", "0" },
		{ "compaction.max_pause_ns", "0" },
		{ "syscalls.intercepted", "0" },
		{ "injected", "{}" },
		{ "processes", "[]" },
	};
	static char text[8192];
	struct upage_stats stats = distinct_stats();
	stats_json(&stats, &labels, text, sizeof(text));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = json_find(text, keys[i].path);
		ck_assert_msg(value != NULL, "%s is missing", keys[i].path);
		ck_assert_str_eq(value, keys[i].value);
	}
}
END_TEST

START_TEST(the_largest_numbers_are_written_whole)
{
	static char text[8192];
	struct upage_stats stats;
	memset(&stats, 0xff, sizeof(stats));
	stats_json(&stats, &labels, text, sizeof(text));
	for (size_t i = 0; i < NUMBERS; i++)
		ck_assert_str_eq(json_find(text, numbers[i].path), "18446744073709551615");
}
END_TEST

START_TEST(a_strange_name_is_escaped)
{
	static const struct {
		const char *name, *written;
	} names[] = {
		{ "", "\"\"" },
		{ "a\"b", "\"a\\\"b\"" },
		{ "a\\b", "\"a\\\\b\"" },
		{ "\\\"", "\"\\\\\\\"\"" },
		{ "a\nb\tc", "\"a\\u000ab\\u0009c\"" },
		{ "\001\037", "\"\\u0001\\u001f\"" },
		{ "%s%n%p", "\"%s%n%p\"" },
		{ "\xc3\xa4", "\"\xc3\xa4\"" },
		{ "\", \"scheme\": \"x", "\"\\\", \\\"scheme\\\": \\\"x\"" },
	};
	static char text[8192];
	struct upage_stats stats = distinct_stats();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *name = names[i].name;
		struct stats_labels strange = { name, name, name, name, 0 };
		stats_json(&stats, &strange, text, sizeof(text));
		ck_assert_str_eq(json_find(text, "program"), names[i].written);
		ck_assert_str_eq(json_find(text, "scheme"), names[i].written);
		ck_assert_str_eq(json_find(text, "policy"), names[i].written);
		ck_assert_str_eq(json_find(text, "store"), names[i].written);
	}
}
END_TEST

typedef size_t writer(const struct upage_stats *, const struct stats_labels *, char *, size_t);

START_TEST(a_small_buffer_is_filled_and_not_overrun)
{
	static writer *const writers[] = { stats_json, stats_table };
	static char whole[8192];
	struct upage_stats stats = distinct_stats();
	size_t length = writers[_i](&stats, &labels, whole, sizeof(whole));
	ck_assert_uint_eq(length, strlen(whole));
	ck_assert_uint_gt(length, 500);
	for (size_t size = 1; size <= length + 2; size++) {
		char *text = malloc(size); /* just that much: a sanitizer sees the rest */
		size_t written = writers[_i](&stats, &labels, text, size);
		size_t expected = size <= length ? size - 1 : length;
		if (written != expected || text[written] != '\0' ||
		    memcmp(text, whole, written) != 0)
			ck_abort_msg("%zu bytes in a buffer of %zu", written, size);
		free(text);
	}
}
END_TEST

START_TEST(the_table_has_the_numbers_that_people_look_for)
{
	static char text[8192];
	struct upage_stats stats = distinct_stats();
	stats.page_size = 4096;
	stats.frames = 16384;
	stats.table_bytes = 20480;
	stats.fault_ns_p50 = 1500;
	stats.fault_ns_p99 = 23400;
	stats.fault_ns_max = 1234567;
	size_t length = stats_table(&stats, &labels, text, sizeof(text));
	ck_assert_uint_eq(length, strlen(text));
	ck_assert_int_eq(text[length - 1], '\n');
	static const char *const parts[] = { "program", "paging", "policy clock", "store file:/tmp",
		                             "12.25 s", "16384 frames of 4 KiB = 64.0 MiB",
		                             "20 KiB", "1.5 us", "23.4 us", "1234.6 us" };
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		ck_assert_msg(strstr(text, parts[i]) != NULL, "%s is missing:\n%s", parts[i], text);
	const uint64_t counts[] = { stats.faults, stats.zero_fill, stats.major, stats.soft,
		                    stats.write_upgrade, stats.evictions, stats.writebacks,
		                    stats.protection, stats.bounds, stats.failed, stats.prefetched,
		                    stats.host_mappings, stats.mapping_budget, stats.swap_slots };
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		char number[32];
		snprintf(number, sizeof(number), "%llu", (unsigned long long)counts[i]);
		ck_assert_msg(strstr(text, number) != NULL, "%s is missing:\n%s", number, text);
	}
}
END_TEST

START_TEST(the_table_leaves_out_what_did_not_happen)
{
	static char text[8192];
	struct upage_stats stats = { .size = sizeof(stats), .page_size = 4096, .frames = 16 };
	stats_table(&stats, &labels, text, sizeof(text));
	ck_assert_ptr_null(strstr(text, "other traps"));
	ck_assert_ptr_null(strstr(text, "read ahead"));
	stats.bounds = stats.prefetched = 1;
	stats_table(&stats, &labels, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "other traps"));
	ck_assert_ptr_nonnull(strstr(text, "read ahead"));
}
END_TEST

START_TEST(a_size_is_told_in_a_unit_that_suits_it)
{
	static const struct {
		uint64_t frames;
		const char *told;
	} sizes[] = {
		{ 16, "= 64 KiB;" },
		{ 255, "= 1020 KiB;" },
		{ 256, "= 1.0 MiB;" },
		{ 65536, "= 256.0 MiB;" },
		{ 2621440, "= 10.0 GiB;" },
		{ UINT64_C(1) << 31, "= 8192.0 GiB;" },
	};
	static char text[8192];
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct upage_stats stats = { .page_size = 4096, .frames = sizes[i].frames };
		stats_table(&stats, &labels, text, sizeof(text));
		ck_assert_msg(strstr(text, sizes[i].told) != NULL, "not %s:\n%s", sizes[i].told,
		              text);
	}
}
END_TEST

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
		C(PROTECTION, protection, false),
		C(BOUNDS, bounds, false),
		C(FAILED, failed, false),
		C(EVICTIONS, evictions, false),
		C(WRITEBACKS, writebacks, false),
		C(WRITEBACK_FAILURES, writeback_failures, false),
		C(PREFETCHED, prefetched, false),
		C(PREFETCH_USED, prefetch_used, false),
		C(PINNED_PAGES, pinned_pages, false),
#undef C
	};
	ck_assert_uint_eq(sizeof(counters) / sizeof(counters[0]), COUNTERS);
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
	uint64_t times = 0;
	for (unsigned class = 0; class < TIME_CLASSES; class++)
		times += atomic_load(&shared.times[class]);
	ck_assert_uint_eq(atomic_load(&shared.counters[COUNT_MAJOR]), THREADS * TURNS);
	ck_assert_uint_eq(times, THREADS * TURNS);
	ck_assert_uint_eq(atomic_load(&shared.ticks_max), THREADS * TURNS - 1);
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
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
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

int main(void)
{
	Suite *suite = suite_create("stats");
	TCase *written = tcase_create("written");
	tcase_add_test(written, does_the_reader_know_json_from_what_is_none);
	tcase_add_test(written, every_number_is_under_its_own_key);
	tcase_add_test(written, every_key_of_the_contract_is_there);
	tcase_add_test(written, the_largest_numbers_are_written_whole);
	tcase_add_test(written, a_strange_name_is_escaped);
	tcase_add_loop_test(written, a_small_buffer_is_filled_and_not_overrun, 0, 2);
	tcase_add_test(written, the_table_has_the_numbers_that_people_look_for);
	tcase_add_test(written, the_table_leaves_out_what_did_not_happen);
	tcase_add_test(written, a_size_is_told_in_a_unit_that_suits_it);
	suite_add_tcase(suite, written);

	TCase *counters = tcase_create("counters");
	tcase_add_test(counters, every_counter_goes_to_its_own_field);
	tcase_add_test(counters, faults_are_the_sum_of_those_that_were_served);
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
	return run_suite(suite);
}
