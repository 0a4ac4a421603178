/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_stats_text.c - can what is written of the counters be read, by programs and by people?
 */
#include "stats.h"
#include "support_json.h"

START_TEST(does_the_reader_know_json_from_what_is_none)
{
	static const char *const right[] = { "{}", "[]", "{\"a\": [1, {\"b\": \"\\u00e4\\n\"}]}",
		                             "-0.5e+3", "[1,2]", " {\"a\":0} " };
	static const char *const wrong[] = { "",        "{",        "{\"a\":}",   "{\"a\" 1}",
		                             "[1,]",    "{,}",      "{\"a\":1,}", "01",
		                             "1,5",     "\"\n\"",   "\"\\x\"",    "\"\\u00g0\"",
		                             "{\"a\":1", "[1 2]",   "nan",        "1.",
		                             "{a:1}",   "{\"a\":1}}" };
	for (size_t i = 0; i < LENGTH(right); i++)
		ck_assert_msg(json_is_valid(right[i]), "%s", right[i]);
	for (size_t i = 0; i < LENGTH(wrong); i++)
		ck_assert_msg(!json_is_valid(wrong[i]), "%s", wrong[i]);
	ck_assert_str_eq(json_find("{\"a\": {\"b\": 7}, \"b\": 8}", "a.b"), "7");
	ck_assert_ptr_null(json_find("{\"a\": {\"b\": 7}}", "b"));
	ck_assert_str_eq(json_find("{\"a\": [{\"b\": [5, 6]}, {\"b\": 8}]}", "a[0].b[1]"), "6");
	ck_assert_str_eq(json_find("{\"a\": [{\"b\": [5, 6]}, {\"b\": 8}]}", "a[1].b"), "8");
}
END_TEST

/* ---- What is written ------------------------------------------------------------------- */

static const struct stats_labels labels = { .program = "program",
	                                    .scheme = "paging",
	                                    .policy = "clock",
	                                    .store = "file:/tmp",
	                                    .mapping = "guard",
	                                    .wall_ns = 12250000000,
	                                    .process = 4711,
	                                    .parent = 4710,
	                                    .ended = "exit" };

/* One object, as a text. Return: its length. */
static size_t json_text(const struct upage_stats *stats, const struct stats_labels *of, char *text,
                        size_t size)
{
	struct stream out = { text, size, 0, STREAM_KEEP, 0 };
	stats_json_begin(&out, stats, of);
	stats_json_end(&out, 0);
	ck_assert_int_eq(stream_end(&out), 0);
	return out.length;
}

static size_t table_text(const struct upage_stats *stats, const struct stats_labels *of, char *text,
                         size_t size)
{
	struct stream out = { text, size, 0, STREAM_KEEP, 0 };
	stats_table(&out, stats, of);
	ck_assert_int_eq(stream_end(&out), 0);
	return out.length;
}

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
	N("memory.shared_bytes", shared_bytes),
	N("memory.shared_bytes_peak", shared_bytes_peak),
	N("faults.total", faults),
	N("faults.zero_fill", zero_fill),
	N("faults.major", major),
	N("faults.soft", soft),
	N("faults.write_upgrade", write_upgrade),
	N("faults.copied", copied),
	N("faults.protection", protection),
	N("faults.bounds", bounds),
	N("evictions", evictions),
	N("writebacks", writebacks),
	N("prefetched", prefetched),
	N("prefetch_used", prefetch_used),
	N("reclaimed", reclaimed),
	N("zeroed_ahead", zeroed_ahead),
	N("store_at_once", store_at_once),
	N("switches", switches),
	N("host.mappings", host_mappings),
	N("host.mappings_peak", host_mappings_peak),
	N("host.mapping_budget", mapping_budget),
	N("syscalls.intercepted", intercepted),
	N("syscalls.pinned_pages", pinned_pages),
	N("syscalls.unenforced", unenforced),
	N("syscalls.patched_sites", patched_sites),
	N("compaction.runs", compactions),
	N("compaction.moves", moves),
	N("compaction.max_pause_ns", pause_ns_max),
	N("fault_ns.p50", fault_ns_p50),
	N("fault_ns.p99", fault_ns_p99),
	N("fault_ns.max", fault_ns_max),
#undef N
};
#define NUMBERS LENGTH(numbers)

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
	size_t length = json_text(&stats, &labels, text, sizeof(text));
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
		{ "mapping", "\"guard\"" },
		{ "wall_seconds", "12.250000" },
		{ "injected", "{}" },
		{ "pid", "4711" },
		{ "parent", "4710" },
		{ "ended", "\"exit\"" },
		{ "processes", "[]" },
		{ "processes_dropped", "0" },
	};
	static char text[8192];
	struct upage_stats stats = distinct_stats();
	json_text(&stats, &labels, text, sizeof(text));
	for (size_t i = 0; i < LENGTH(keys); i++) {
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
	json_text(&stats, &labels, text, sizeof(text));
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
	for (size_t i = 0; i < LENGTH(names); i++) {
		const char *name = names[i].name;
		struct stats_labels strange = { name, name, name, name, name, .wall_ns = 0 };
		json_text(&stats, &strange, text, sizeof(text));
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
	static writer *const writers[] = { json_text, table_text };
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
	size_t length = table_text(&stats, &labels, text, sizeof(text));
	ck_assert_uint_eq(length, strlen(text));
	ck_assert_int_eq(text[length - 1], '\n');
	static const char *const parts[] = { "program", "paging", "policy clock", "store file:/tmp",
		                             "12.25 s", "16384 frames of 4 KiB = 64.0 MiB",
		                             "20 KiB", "1.5 us", "23.4 us", "1234.6 us" };
	for (size_t i = 0; i < LENGTH(parts); i++)
		ck_assert_msg(strstr(text, parts[i]) != NULL, "%s is missing:\n%s", parts[i], text);
	const uint64_t counts[] = { stats.faults, stats.zero_fill, stats.major, stats.soft,
		                    stats.write_upgrade, stats.evictions, stats.writebacks,
		                    stats.protection, stats.bounds, stats.failed, stats.prefetched,
		                    stats.host_mappings, stats.mapping_budget, stats.swap_slots };
	for (size_t i = 0; i < LENGTH(counts); i++) {
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
	table_text(&stats, &labels, text, sizeof(text));
	ck_assert_ptr_null(strstr(text, "other traps"));
	ck_assert_ptr_null(strstr(text, "read ahead"));
	ck_assert_ptr_null(strstr(text, "system calls"));
	ck_assert_ptr_null(strstr(text, "shared"));
	ck_assert_ptr_null(strstr(text, "copied"));
	ck_assert_ptr_null(strstr(text, "ahead of need"));
	stats.bounds = stats.prefetched = 1;
	table_text(&stats, &labels, text, sizeof(text));
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
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		struct upage_stats stats = { .page_size = 4096, .frames = sizes[i].frames };
		table_text(&stats, &labels, text, sizeof(text));
		ck_assert_msg(strstr(text, sizes[i].told) != NULL, "not %s:\n%s", sizes[i].told,
		              text);
	}
}
END_TEST

/* ---- The texts themselves --------------------------------------------------------------- */

START_TEST(the_object_is_written_as_it_always_was)
{
	static const char *const golden =
	        "{\"program\": \"program\", \"scheme\": \"paging\", \"policy\": \"clock\", "
	        "\"store\": \"file:/tmp\", \"mapping\": \"guard\", \"page_size\": 1000002,\n"
	        " \"memory\": {\"frames\": 1000003, \"frames_peak\": 1000004, "
	        "\"free_frames\": 1000005, \"largest_free_run\": 1000007, "
	        "\"table_bytes\": 1000008, \"metadata_bytes\": 1000009, "
	        "\"shared_bytes\": 1000032, \"shared_bytes_peak\": 1000033},\n"
	        " \"faults\": {\"total\": 1000010, \"zero_fill\": 1000011, \"major\": 1000012, "
	        "\"soft\": 1000013, \"write_upgrade\": 1000014, \"copied\": 1000039, \"protection\": 1000015, "
	        "\"bounds\": 1000016, \"failed\": 1000017},\n"
	        " \"evictions\": 1000018, \"writebacks\": 1000019, "
	        "\"writeback_failures\": 1000020, \"swap_slots\": 1000023, \"store_bytes\": 1000042, \"store_at_once\": 1000044, "
	        "\"prefetched\": 1000021, \"prefetch_used\": 1000022, "
	        "\"reclaimed\": 1000040, \"zeroed_ahead\": 1000041,\n"
	        " \"switches\": 1000038,\n"
	        " \"host\": {\"mappings\": 1000024, \"mappings_peak\": 1000025, "
	        "\"mapping_budget\": 1000026},\n"
	        " \"compaction\": {\"runs\": 1000035, \"moves\": 1000036, \"max_pause_ns\": 1000037},\n"
	        " \"syscalls\": {\"intercepted\": 1000031, \"pinned_pages\": 1000027, "
	        "\"unenforced\": 1000034, \"patched_sites\": 1000043}, "
	        "\"injected\": {},\n"
	        " \"wall_seconds\": 12.250000, \"fault_ns\": {\"p50\": 1000028, "
	        "\"p99\": 1000029, \"max\": 1000030},\n"
	        " \"pid\": 4711, \"parent\": 4710, \"ended\": \"exit\",\n"
	        " \"processes\": [], \"processes_dropped\": 0}";
	static char text[8192];
	struct upage_stats stats = distinct_stats();
	json_text(&stats, &labels, text, sizeof(text));
	ck_assert_str_eq(text, golden);
}
END_TEST

START_TEST(the_table_is_written_as_it_always_was)
{
	static const char *const golden =
	        "upage: program, paging, policy clock, store file:/tmp, 12.25 s\n"
	        "  memory        1000003 frames of 977 KiB = 931.3 GiB; most in use 1000004, "
	        "now free 1000005\n"
	        "  tables        977 KiB of page tables\n"
	        "  shared        977 KiB mapped by the host, most 977 KiB\n"
	        "  page faults   1000010: 1000011 zero fill, 1000012 major, 1000013 soft, "
	        "1000014 write upgrade\n"
	        "  copied        1000039 pages that were shared\n"
	        "  other traps   1000015 protection, 1000016 bounds, 1000017 that failed\n"
	        "  evictions     1000018, 1000019 written back (1000020 failed), "
	        "1000023 slots in use, 977 KiB; 1000044 requests at once\n"
	        "  ahead of need 1000040 of the evictions, 1000041 frames zeroed\n"
	        "  read ahead    1000021 pages, 1000022 of them used\n"
	        "  protection    1000034 changes of it are not enforced\n"
	        "  switches      1000038 of spaces at the same addresses\n"
	        "  system calls  1000031 intercepted, 1000027 pages pinned, 1000043 places patched\n"
	        "  host mappings 1000024, most 1000025, budget 1000026, by guard\n"
	        "  compaction    1000035 runs, 1000036 moves, longest pause 1000.0 us\n"
	        "  fault time    median 1000.0 us, 99th percentile 1000.0 us, longest 1000.0 us\n";
	static char text[8192];
	struct upage_stats stats = distinct_stats();
	table_text(&stats, &labels, text, sizeof(text));
	ck_assert_str_eq(text, golden);
}
END_TEST

START_TEST(a_tree_is_a_line_each_and_their_sum)
{
	static char text[8192];
	struct upage_stats stats = distinct_stats(), sum = { .size = 0 };
	struct stats_labels of = labels;
	struct stream out = { text, sizeof(text), 0, STREAM_KEEP, 0 };
	stats_table_heading(&out);
	stats_table_process(&out, &stats, &of, &sum);
	of.program = "a-program-with-a-name-that-is-long";
	of.ended = "signal";
	of.signal = 11;
	of.wall_ns = 0;
	stats_table_process(&out, &stats, &of, &sum);
	of.signal = 0;
	of.merged = 7;
	of.ended = "exit";
	stats_table_process(&out, &stats, &of, &sum);
	stats_table_total(&out, &sum);
	ck_assert_str_eq(
	        text,
	        "  process     faults     major  evictions  written back   seconds  ended      program\n"
	        "     4711    1000010   1000012    1000018       1000019     12.25  exit       program\n"
	        "     4711    1000010   1000012    1000018       1000019      0.00  signal 11  "
	        "a-program-with-a-name-that-is-long\n"
	        "        7    1000010   1000012    1000018       1000019      0.00  exit       (so many more)\n"
	        "    total    3000030   3000036    3000054       3000057\n");
}
END_TEST

START_TEST(fixed_point_is_rounded_and_carried)
{
	static const struct {
		uint64_t n, unit;
		unsigned places;
		const char *text;
	} numbers_[] = {
		{ 0, 1000, 1, "0.0" },
		{ 49, 1000, 1, "0.0" },
		{ 50, 1000, 1, "0.1" },
		{ 949, 1000, 1, "0.9" },
		{ 950, 1000, 1, "1.0" },
		{ 1234567, 1000, 1, "1234.6" },
		{ 1005, 1000, 2, "1.01" },
		{ 999999999, 1000000000, 2, "1.00" },
		{ 7, 1000000, 6, "0.000007" },
		{ 12250000000, 1000000000, 6, "12.250000" },
		{ 1536, 1024, 0, "2" },
		{ 1535, 1024, 0, "1" },
		{ UINT64_MAX, 1 << 30, 1, "17179869184.0" },
		{ UINT64_MAX, 1, 2, "18446744073709551615.00" },
		{ (UINT64_C(1) << 40) - 1, UINT64_C(1) << 40, 6, "1.000000" },
	};
	for (size_t i = 0; i < LENGTH(numbers_); i++) {
		char text[64];
		struct stream out = { text, sizeof(text), 0, STREAM_KEEP, 0 };
		stream_fixed(&out, numbers_[i].n, numbers_[i].unit, numbers_[i].places);
		ck_assert_str_eq(text, numbers_[i].text);
	}
}
END_TEST

START_TEST(a_text_in_pieces_is_the_text_in_one)
{
	static char whole[8192], pieces[8192];
	struct upage_stats stats = distinct_stats();
	json_text(&stats, &labels, whole, sizeof(whole));
	for (size_t size = 2; size < 100; size++) {
		int pipes[2];
		char buffer[100];
		ck_assert_int_eq(pipe(pipes), 0);
		struct stream out = { buffer, size, 0, pipes[1], 0 };
		stats_json_begin(&out, &stats, &labels);
		stats_json_end(&out, 0);
		ck_assert_int_eq(stream_end(&out), 0);
		close(pipes[1]);
		drain(pipes[0], pieces, sizeof(pieces));
		close(pipes[0]);
		ck_assert_str_eq(pieces, whole);
	}
}
END_TEST

START_TEST(a_stream_stops_at_the_first_failure)
{
	char buffer[16];
	struct stream out = { buffer, sizeof(buffer), 0, -1, 0 };
	for (unsigned i = 0; i < 100; i++)
		stream_text(&out, "twenty bytes of text");
	ck_assert_int_eq(stream_end(&out), -EBADF);
	out.descriptor = 2; /* would work, but what came before is lost */
	ck_assert_int_eq(stream_end(&out), -EBADF);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stats_text");
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
	tcase_add_test(written, the_object_is_written_as_it_always_was);
	tcase_add_test(written, the_table_is_written_as_it_always_was);
	tcase_add_test(written, a_tree_is_a_line_each_and_their_sum);
	tcase_add_test(written, fixed_point_is_rounded_and_carried);
	tcase_add_test(written, a_text_in_pieces_is_the_text_in_one);
	tcase_add_test(written, a_stream_stops_at_the_first_failure);
	suite_add_tcase(suite, written);
	return run_suite(suite);
}
