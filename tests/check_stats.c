/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_stats.c - do the counters add up, and can what is written of them be read?
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"
#include "report.h"
#include "stats.h"
#include "support.h"

/* ---- A reader of JSON (RFC 8259), with a path to look for ------------------------------ */

/*
 * Each takes a value from *at on and moves *at behind it; false: that is none. The value at
 * `wanted`, such as "memory.frames" or "processes[2].pid", is left in `found`.
 */
struct reader {
	const char *at, *wanted;
	char path[256];
	size_t index; /* of the next element, in an array */
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

static bool json_element(struct reader *reader)
{
	size_t length = strlen(reader->path), next = reader->index + 1;
	snprintf(reader->path + length, sizeof(reader->path) - length, "[%zu]", reader->index);
	bool valid = json_value(reader);
	reader->path[length] = '\0';
	reader->index = next;
	return valid;
}

static bool json_value(struct reader *reader)
{
	json_space(reader);
	const char *start = reader->at;
	reader->index = 0;
	bool valid = *start == '{'   ? json_list(reader, '}', json_member)
	             : *start == '[' ? json_list(reader, ']', json_element)
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
	N("syscalls.intercepted", intercepted),
	N("syscalls.pinned_pages", pinned_pages),
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
		{ "wall_seconds", "12.250000" },
		{ "compaction.runs", "0" },
		{ "compaction.moves", "0" },
		{ "compaction.max_pause_ns", "0" },
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
		struct stats_labels strange = { name, name, name, name, .wall_ns = 0 };
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
	        "\"store\": \"file:/tmp\", \"page_size\": 1000002,\n"
	        " \"memory\": {\"frames\": 1000003, \"frames_peak\": 1000004, "
	        "\"free_frames\": 1000005, \"largest_free_run\": 1000007, "
	        "\"table_bytes\": 1000008, \"metadata_bytes\": 1000009},\n"
	        " \"faults\": {\"total\": 1000010, \"zero_fill\": 1000011, \"major\": 1000012, "
	        "\"soft\": 1000013, \"write_upgrade\": 1000014, \"protection\": 1000015, "
	        "\"bounds\": 1000016, \"failed\": 1000017},\n"
	        " \"evictions\": 1000018, \"writebacks\": 1000019, "
	        "\"writeback_failures\": 1000020, \"swap_slots\": 1000023, "
	        "\"prefetched\": 1000021, \"prefetch_used\": 1000022,\n"
	        " \"host\": {\"mappings\": 1000024, \"mappings_peak\": 1000025, "
	        "\"mapping_budget\": 1000026},\n"
	        " \"compaction\": {\"runs\": 0, \"moves\": 0, \"max_pause_ns\": 0},\n"
	        " \"syscalls\": {\"intercepted\": 1000031, \"pinned_pages\": 1000027}, "
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
	        "  page faults   1000010: 1000011 zero fill, 1000012 major, 1000013 soft, "
	        "1000014 write upgrade\n"
	        "  other traps   1000015 protection, 1000016 bounds, 1000017 that failed\n"
	        "  evictions     1000018, 1000019 written back (1000020 failed), "
	        "1000023 slots in use\n"
	        "  read ahead    1000021 pages, 1000022 of them used\n"
	        "  system calls  1000031 intercepted, 1000027 pages pinned\n"
	        "  host mappings 1000024, most 1000025, budget 1000026\n"
	        "  fault time    median 1000.0 us, 99th percentile 1000.0 us, longest 1000.0 us\n";
	static char text[8192];
	struct upage_stats stats = distinct_stats();
	table_text(&stats, &labels, text, sizeof(text));
	ck_assert_str_eq(text, golden);
}
END_TEST

START_TEST(another_process_is_one_line_of_the_table)
{
	static char text[8192];
	struct upage_stats stats = distinct_stats();
	struct stats_labels of = labels;
	struct stream out = { text, sizeof(text), 0, STREAM_KEEP, 0 };
	stats_table_process(&out, &stats, &of);
	of.ended = "signal";
	of.signal = 11;
	stats_table_process(&out, &stats, &of);
	of.signal = 0;
	of.merged = 7;
	of.ended = "exit";
	stats_table_process(&out, &stats, &of);
	ck_assert_str_eq(text, "  process 4711: 1000010 page faults (1000012 major), 1000018 evictions, "
	                       "1000019 written back, 12.25 s, exit\n"
	                       "  process 4711: 1000010 page faults (1000012 major), 1000018 evictions, "
	                       "1000019 written back, 12.25 s, signal 11\n"
	                       "  more processes 7: 1000010 page faults (1000012 major), 1000018 "
	                       "evictions, 1000019 written back, 12.25 s, exit\n");
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

/* What @pipe_end holds, as a text. */
static size_t drain(int pipe_end, char *text, size_t size)
{
	size_t length = 0;
	ssize_t n;
	while (length < size - 1 && (n = read(pipe_end, text + length, size - 1 - length)) > 0)
		length += (size_t)n;
	text[length] = '\0';
	return length;
}

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
		C(INTERCEPTED, intercepted, false),
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

/* ---- The end of processes ---------------------------------------------------------------- */

#define TEXT ((size_t)4 << 20)

static char directory[] = "/tmp/check_stats.XXXXXX";
static char text[TEXT];

static void directory_make(void)
{
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void directory_remove(void)
{
	char command[64];
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}

__attribute__((format(printf, 1, 2))) static upage_pool *pool_make(const char *format, ...)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	upage_pool *pool;
	char words[300];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	ck_assert_ok(upage_config_parse(&config, "memory=64K"));
	ck_assert_ok(upage_config_parse(&config, words));
	ck_assert_ok(upage_pool_create(&pool, &config));
	return pool;
}

/* The content of a file of ours in `text`. Return: its length, or -1 if there is none. */
__attribute__((format(printf, 1, 2))) static ssize_t content(const char *format, ...)
{
	char path[300];
	size_t length = (size_t)snprintf(path, sizeof(path), "%s/", directory);
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(path + length, sizeof(path) - length, format, arguments);
	va_end(arguments);
	int file = open(path, O_RDONLY);
	if (file < 0)
		return -1;
	length = drain(file, text, sizeof(text));
	close(file);
	return (ssize_t)length;
}

/* The value of @name of the process with @id in `text`, as it is written; "" if it has none. */
static const char *of_process(int id, const char *name)
{
	static char value[64];
	char path[64];
	const char *found;
	for (unsigned i = 0;; i++) {
		snprintf(path, sizeof(path), "processes[%u].pid", i);
		found = json_find(text, path);
		ck_assert_msg(found != NULL, "process %d is missing in %s", id, text);
		if (atoi(found) == id)
			break;
	}
	memcpy(strrchr(path, '.') + 1, name, strlen(name) + 1);
	found = json_find(text, path);
	snprintf(value, sizeof(value), "%s", found != NULL ? found : "");
	return value;
}

static void count_times(upage_pool *pool, enum counter counter, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		stats_count(pool->stats, counter);
}

/* How a child goes. */
static void leave(upage_pool *pool)
{
	(void)pool;
	report_exit();
	_exit(0);
}

static void leave_by_signal(upage_pool *pool)
{
	(void)pool;
	report_signal(SIGSEGV);
	kill(getpid(), SIGKILL);
}

static void leave_by_exec(upage_pool *pool)
{
	(void)pool;
	report_exec(true);
	execl("/bin/sleep", "sleep", "100", (char *)NULL);
	_exit(1);
}

static void fail_to_exec_and_leave(upage_pool *pool)
{
	report_exec(true);
	execl("/no/such/program", "program", (char *)NULL);
	report_exec(false);
	leave(pool);
}

static void stay(upage_pool *pool)
{
	(void)pool;
	for (;;)
		pause();
}

/* A child with a copy of the pool that counts @times; returns when it has. */
static pid_t child_make(upage_pool *pool, unsigned times, void (*end)(upage_pool *))
{
	int pipes[2];
	char byte;
	ck_assert_int_eq(pipe(pipes), 0);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		alarm(50);
		count_times(pool, COUNT_MAJOR, times);
		stats_time(pool->stats, 1000);
		close(pipes[0]);
		close(pipes[1]); /* close-on-exec would tell the same */
		end(pool);
		_exit(2);
	}
	close(pipes[1]);
	ck_assert_int_eq(read(pipes[0], &byte, 1), 0);
	close(pipes[0]);
	return child;
}

static void wait_for(pid_t child)
{
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

static pid_t grandchild;

static void have_a_child_and_leave(upage_pool *pool)
{
	int number = open("grandchild", O_WRONLY | O_CREAT, 0666);
	grandchild = child_make(pool, 5, leave);
	wait_for(grandchild);
	if (write(number, &grandchild, sizeof(grandchild)) != sizeof(grandchild))
		_exit(1);
	leave(pool);
}

START_TEST(the_first_of_a_tree_writes_all)
{
	directory_make();
	ck_assert_int_eq(chdir(directory), 0);
	upage_pool *pool = pool_make("stats-json=%s/out", directory);
	count_times(pool, COUNT_MAJOR, 3);
	count_times(pool, COUNT_INTERCEPTED, 4);
	pid_t children[3] = { child_make(pool, 10, leave), child_make(pool, 20, leave) };
	children[2] = child_make(pool, 30, have_a_child_and_leave);
	for (unsigned i = 0; i < 3; i++)
		wait_for(children[i]);
	ck_assert_int_eq(content("grandchild"), sizeof(grandchild));
	memcpy(&grandchild, text, sizeof(grandchild));
	ck_assert_int_eq(content("out"), -1);
	report_exit();
	ck_assert_int_gt(content("out"), 0);
	char parent[16];
	snprintf(parent, sizeof(parent), "%d", getpid());
	ck_assert_str_eq(json_find(text, "pid"), parent);
	ck_assert_str_eq(json_find(text, "ended"), "\"exit\"");
	ck_assert_str_eq(json_find(text, "faults.major"), "3");
	ck_assert_str_eq(json_find(text, "faults.total"), "3");
	ck_assert_str_eq(json_find(text, "syscalls.intercepted"), "4");
	ck_assert_str_eq(json_find(text, "memory.frames"), "16");
	for (unsigned i = 0; i < 3; i++) {
		char major[16];
		snprintf(major, sizeof(major), "%u", 10 * (i + 1));
		ck_assert_str_eq(of_process(children[i], "faults.major"), major);
		ck_assert_str_eq(of_process(children[i], "faults.total"), major);
		ck_assert_str_eq(of_process(children[i], "syscalls.intercepted"), "0");
		ck_assert_str_eq(of_process(children[i], "memory.frames"), "16");
		ck_assert_str_eq(of_process(children[i], "parent"), parent);
		ck_assert_str_eq(of_process(children[i], "ended"), "\"exit\"");
		ck_assert_str_eq(of_process(children[i], "program"), json_find(text, "program"));
	}
	snprintf(parent, sizeof(parent), "%d", children[2]);
	ck_assert_str_eq(of_process(grandchild, "faults.major"), "5");
	ck_assert_str_eq(of_process(grandchild, "parent"), parent);
	ck_assert_ptr_null(json_find(text, "processes[4]"));
	ck_assert_str_eq(json_find(text, "processes_dropped"), "0");
	ck_assert_ok(upage_pool_destroy(pool));
	directory_remove();
}
END_TEST

START_TEST(it_is_told_how_each_process_ended)
{
	directory_make();
	upage_pool *pool = pool_make("stats-json=%s/out", directory);
	pid_t running = child_make(pool, 1, stay), zombie = child_make(pool, 2, stay);
	pid_t killed = child_make(pool, 3, stay), signalled = child_make(pool, 4, leave_by_signal);
	pid_t executed = child_make(pool, 5, leave_by_exec);
	pid_t not_executed = child_make(pool, 6, fail_to_exec_and_leave);
	siginfo_t info;
	kill(zombie, SIGKILL);
	kill(killed, SIGKILL);
	ck_assert_int_eq(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT), 0);
	wait_for(killed);
	wait_for(signalled);
	wait_for(not_executed);
	ck_assert_ok(upage_pool_destroy(pool)); /* which writes too */
	ck_assert_int_gt(content("out"), 0);
	const struct {
		pid_t id;
		const char *ended, *major;
	} children[] = {
		{ running, "\"running\"", "1" },  { zombie, "\"killed\"", "2" },
		{ killed, "\"killed\"", "3" },    { signalled, "\"signal\"", "4" },
		{ executed, "\"exec\"", "5" },    { not_executed, "\"exit\"", "6" },
	};
	for (size_t i = 0; i < LENGTH(children); i++) {
		ck_assert_str_eq(of_process(children[i].id, "ended"), children[i].ended);
		ck_assert_str_eq(of_process(children[i].id, "faults.major"), children[i].major);
		ck_assert_str_eq(of_process(children[i].id, "memory.frames"), "16");
	}
	ck_assert_str_eq(of_process(signalled, "signal"), "11");
	ck_assert_str_eq(of_process(killed, "signal"), "");
	ck_assert_ptr_null(json_find(text, "processes[6]"));
	kill(running, SIGKILL);
	kill(executed, SIGKILL);
	directory_remove();
}
END_TEST

START_TEST(the_time_of_a_killed_process_is_that_until_its_last_fault)
{
	directory_make();
	upage_pool *pool = pool_make("stats-json=%s/out", directory);
	pid_t child = child_make(pool, 1, stay);
	usleep(300000);
	kill(child, SIGKILL);
	wait_for(child);
	report_exit();
	ck_assert_int_gt(content("out"), 0);
	ck_assert(strtod(json_find(text, "wall_seconds"), NULL) >= 0.3);
	ck_assert(strtod(of_process(child, "wall_seconds"), NULL) < 0.3);
	ck_assert(strtod(of_process(child, "wall_seconds"), NULL) > 0);
	directory_remove();
}
END_TEST

START_TEST(with_a_process_id_in_the_name_each_writes_its_own)
{
	directory_make();
	upage_pool *pool = pool_make("stats-json=%s/%%p-%%p", directory);
	count_times(pool, COUNT_MAJOR, 3);
	pid_t child = child_make(pool, 10, leave), killed = child_make(pool, 20, leave_by_signal);
	wait_for(child);
	wait_for(killed);
	ck_assert_int_gt(content("%d-%d", child, child), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "10");
	ck_assert_str_eq(json_find(text, "processes"), "[]");
	ck_assert_int_gt(content("%d-%d", killed, killed), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "20");
	ck_assert_str_eq(json_find(text, "ended"), "\"signal\"");
	report_exit();
	ck_assert_int_gt(content("%d-%d", getpid(), getpid()), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "3");
	ck_assert_str_eq(of_process(child, "faults.major"), "10");
	directory_remove();
}
END_TEST

START_TEST(the_table_has_a_line_for_each_other_process)
{
	int pipes[2], saved = dup(2);
	char line[100];
	ck_assert_int_eq(pipe(pipes), 0);
	dup2(pipes[1], 2);
	upage_pool *pool = pool_make("stats");
	dup2(saved, 2);
	pid_t child = child_make(pool, 12, leave);
	wait_for(child); /* it writes none itself */
	report_exit();
	report_exit();
	ck_assert_ok(upage_pool_destroy(pool)); /* which has stderr's other end */
	close(pipes[1]);
	drain(pipes[0], text, sizeof(text));
	ck_assert_int_eq(strncmp(text, "upage: ", 7), 0);
	ck_assert_ptr_null(strstr(text + 7, "upage: "));
	snprintf(line, sizeof(line), "\n  process %d: 0 page faults", child);
	ck_assert_ptr_null(strstr(text, line));
	snprintf(line, sizeof(line), "\n  process %d: 12 page faults (12 major)", child);
	ck_assert_ptr_nonnull(strstr(text, line));
}
END_TEST

START_TEST(a_full_table_of_processes_loses_no_count)
{
	enum { ALL = 1040, TOLD = 1022 };
	directory_make();
	upage_pool *pool = pool_make("stats-json=%s/out", directory);
	for (unsigned i = 0; i < ALL; i++) {
		pid_t child = fork();
		if (child == 0) {
			stats_count(pool->stats, COUNT_SOFT);
			struct upage_stats own = { .size = sizeof(own) };
			upage_stats_get(pool, &own);
			_exit((report_exit(), own.soft == 1 ? 0 : 1));
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
	}
	pid_t lost = child_make(pool, 1, stay);
	kill(lost, SIGKILL);
	wait_for(lost);
	report_exit();
	ck_assert_int_gt(content("out"), 0);
	unsigned objects = 0, told = 0;
	for (const char *at = text; (at = strstr(at, "\"soft\": ")) != NULL; at++, objects++)
		told += (unsigned)atoi(at + 8);
	ck_assert_uint_eq(objects, 1 + TOLD + 1);
	ck_assert_uint_eq(told, ALL);
	char path[64], number[16];
	snprintf(path, sizeof(path), "processes[%u].merged", TOLD);
	snprintf(number, sizeof(number), "%u", ALL - TOLD);
	ck_assert_str_eq(json_find(text, path), number);
	snprintf(path, sizeof(path), "processes[%u].faults.soft", TOLD);
	ck_assert_str_eq(json_find(text, path), number);
	ck_assert_str_eq(json_find(text, "processes_dropped"), "1");
	directory_remove();
}
END_TEST

/* Who reads stderr to its end must not wait for a child that has closed it. */
START_TEST(a_child_does_not_keep_stderr_open)
{
	int pipes[2], saved = dup(2);
	ck_assert_int_eq(pipe(pipes), 0);
	dup2(pipes[1], 2);
	close(pipes[1]);
	upage_pool *pool = pool_make("stats");
	pid_t child = fork();
	if (child == 0) {
		alarm(50);
		dup2(saved, 2);
		stay(pool);
	}
	dup2(saved, 2);
	ck_assert_ok(upage_pool_destroy(pool));
	ck_assert_uint_gt(drain(pipes[0], text, sizeof(text)), 0);
	kill(child, SIGKILL);
	wait_for(child);
}
END_TEST

static pthread_barrier_t barrier;
static char raced[64];
static _Atomic unsigned incomplete;

static void *exit_and_look(void *unused)
{
	static _Thread_local char mine[8192];
	pthread_barrier_wait(&barrier);
	report_exit();
	int file = open(raced, O_RDONLY);
	if (file < 0 || drain(file, mine, sizeof(mine)) == 0 || !json_is_valid(mine))
		incomplete++;
	close(file);
	return unused;
}

START_TEST(threads_that_end_at_once_write_once_and_wait_for_it)
{
	enum { RACERS = 8 };
	directory_make();
	snprintf(raced, sizeof(raced), "%s/out", directory);
	for (unsigned round = 0; round < 100; round++) {
		pthread_t threads[RACERS];
		int pipes[2];
		ck_assert_int_eq(pipe(pipes), 0);
		/* The file must be whole for whoever returns; the pipe counts who wrote. */
		upage_pool *counted = pool_make("stats-json=/proc/self/fd/%d", pipes[1]);
		upage_pool *pool = pool_make("stats-json=%s", raced);
		pthread_barrier_init(&barrier, NULL, RACERS);
		for (unsigned i = 0; i < RACERS; i++)
			ck_assert_int_eq(pthread_create(&threads[i], NULL, exit_and_look, NULL), 0);
		for (unsigned i = 0; i < RACERS; i++)
			ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert_uint_eq(incomplete, 0);
		ck_assert_int_eq(truncate(raced, 0), 0);
		report_exit();
		ck_assert_ok(upage_pool_destroy(pool));
		ck_assert_ok(upage_pool_destroy(counted));
		ck_assert_int_eq(content("out"), 0);
		close(pipes[1]);
		drain(pipes[0], text, sizeof(text));
		close(pipes[0]);
		ck_assert(json_is_valid(text)); /* one object, so written once */
		pthread_barrier_destroy(&barrier);
	}
	directory_remove();
}
END_TEST

/* Runs @body in a process of its own. Return: its status; `text` has what it said on stderr. */
static int aside(void (*body)(void))
{
	int pipes[2], status;
	ck_assert_int_eq(pipe(pipes), 0);
	pid_t child = fork();
	if (child == 0) {
		alarm(20);
		dup2(pipes[1], 2);
		close(pipes[0]);
		close(pipes[1]);
		body();
		_exit(0);
	}
	close(pipes[1]);
	drain(pipes[0], text, sizeof(text));
	close(pipes[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

static void onto_a_full_disk(void)
{
	pool_make("stats-json=/dev/full");
	report_exit();
	report_exit();
}

static void past_the_limit_of_files(void)
{
	struct rlimit limit = { 100, 100 };
	upage_pool *pool = pool_make("stats-json=%s/out", directory);
	setrlimit(RLIMIT_FSIZE, &limit);
	(void)pool;
	report_exit();
}

static void into_no_directory(void)
{
	pool_make("stats-json=/no/such/directory/out");
	report_exit();
}

START_TEST(a_failure_to_write_is_one_line_and_no_more)
{
	static const struct {
		void (*body)(void);
		const char *line;
	} refusals[] = {
		{ onto_a_full_disk, "upage: stats-json=/dev/full: No space left on device\n" },
		{ past_the_limit_of_files, "/out: File too large\n" },
		{ into_no_directory,
		  "upage: stats-json=/no/such/directory/out: No such file or directory\n" },
	};
	directory_make();
	for (size_t i = 0; i < LENGTH(refusals); i++) {
		ck_assert_int_eq(aside(refusals[i].body), 0);
		unsigned lines = 0;
		for (const char *c = text; *c != '\0'; c++)
			lines += *c == '\n';
		ck_assert_msg(lines == 1, "stderr: %s", text);
		ck_assert_msg(strstr(text, refusals[i].line) != NULL, "stderr: %s", text);
	}
	directory_remove();
}
END_TEST

/* Whether stderr may not be written to, and that was not the program's end. */
static void into_a_broken_pipe(void)
{
	int pipes[2];
	if (pipe(pipes) < 0 || dup2(pipes[1], 2) < 0)
		_exit(1);
	pool_make("stats");
	close(pipes[0]);
	report_exit();
	sigset_t pending;
	sigpending(&pending);
	if (sigismember(&pending, SIGPIPE))
		_exit(2);
}

/* Nobody reads, and the descriptor does not block. */
static void into_a_full_pipe(void)
{
	int pipes[2];
	char bytes[4096] = { 0 };
	if (pipe(pipes) < 0 || fcntl(pipes[1], F_SETFL, O_NONBLOCK) < 0 || dup2(pipes[1], 2) < 0)
		_exit(1);
	while (write(2, bytes, sizeof(bytes)) > 0)
		;
	pool_make("stats");
	report_exit();
}

START_TEST(a_stderr_that_takes_nothing_is_not_the_end)
{
	ck_assert_int_eq(aside(into_a_broken_pipe), 0);
	ck_assert_int_eq(aside(into_a_full_pipe), 0);
}
END_TEST

static void without_stderr(void)
{
	char path[64];
	snprintf(path, sizeof(path), "%s/data", directory);
	pool_make("stats");
	close(2);
	if (open(path, O_WRONLY | O_CREAT, 0666) != 2)
		_exit(1);
	report_exit();
}

static void without_stderr_from_the_start(void)
{
	close(2);
	without_stderr();
}

static void without_any_descriptor(void)
{
	enum { NUMBERS_ALL = 1024 };
	struct rlimit limit = { NUMBERS_ALL, NUMBERS_ALL };
	setrlimit(RLIMIT_NOFILE, &limit);
	pool_make("stats");
	char path[64];
	snprintf(path, sizeof(path), "%s/data", directory);
	for (int i = 2; i < NUMBERS_ALL; i++)
		close(i);
	while (open(path, O_WRONLY | O_CREAT, 0666) >= 0)
		; /* whatever the number was, it is the program's file now */
	if (fcntl(NUMBERS_ALL - 1, F_GETFD) < 0)
		_exit(1);
	report_exit();
}

START_TEST(a_closed_stderr_is_neither_lost_nor_taken_for_another_file)
{
	directory_make();
	ck_assert_int_eq(aside(without_stderr), 0);
	ck_assert_int_eq(strncmp(text, "upage: ", 7), 0);
	ck_assert_int_eq(content("data"), 0);
	ck_assert_int_eq(aside(without_stderr_from_the_start), 0);
	ck_assert_int_eq(content("data"), 0);
	ck_assert_int_eq(aside(without_any_descriptor), 0);
	ck_assert_str_eq(text, "");
	ck_assert_int_eq(content("data"), 0);
	directory_remove();
}
END_TEST

START_TEST(a_relative_name_is_one_of_where_the_program_began)
{
	directory_make();
	ck_assert_int_eq(chdir(directory), 0);
	upage_pool *pool = pool_make("stats-json=out");
	ck_assert_int_eq(chdir("/"), 0);
	report_exit();
	ck_assert_int_gt(content("out"), 0);
	ck_assert(json_is_valid(text));
	ck_assert_ok(upage_pool_destroy(pool));
	/* What the program itself asks for is relative to where it is. */
	ck_assert_int_eq(chdir(directory), 0);
	pool = pool_make("seed=1");
	ck_assert_ok(upage_stats_json(pool, "asked-%p"));
	ck_assert_int_gt(content("asked-%d", getpid()), 0);
	ck_assert_str_eq(json_find(text, "ended"), "\"running\"");
	ck_assert_int_eq(chdir("/"), 0);
	directory_remove();
}
END_TEST

START_TEST(a_name_that_grows_too_long_is_refused)
{
	char name[8192];
	upage_pool *pool = pool_make("seed=1");
	memset(name, 0, sizeof(name));
	memset(name, '/', 4095);
	ck_assert_int_eq(upage_stats_json(pool, name), -ENAMETOOLONG);
	for (unsigned i = 0; i < 4094; i += 2)
		memcpy(name + i, "%p", 2);
	memcpy(name + 4094, "%p", 3);
	ck_assert_int_eq(upage_stats_json(pool, name), -ENAMETOOLONG);
	ck_assert_int_eq(upage_stats_json(pool, ""), -ENOENT);
	ck_assert_ok(upage_pool_destroy(pool));
}
END_TEST

START_TEST(a_child_without_a_copy_writes_nothing)
{
	directory_make();
	upage_pool *pool = pool_make("stats-json=%s/%%p", directory);
	count_times(pool, COUNT_MAJOR, 3);
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); /* past fork(3)'s handlers */
	if (child == 0) {
		report_exit();
		ck_assert_ok(upage_pool_destroy(pool));
		/* It may make its own, and is the first then. */
		upage_pool *own = pool_make("stats-json=%s/own", directory);
		count_times(own, COUNT_MAJOR, 8);
		report_exit();
		_exit(0);
	}
	wait_for(child);
	ck_assert_int_eq(content("%d", child), -1);
	ck_assert_int_gt(content("own"), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "8");
#ifndef __SANITIZE_THREAD__ /* makes a fork of it */
	pid_t borrower = vfork();
	if (borrower == 0) {
		report_exit();
		_exit(0);
	}
	wait_for(borrower);
	ck_assert_int_eq(content("%d", borrower), -1);
#endif
	ck_assert_int_eq(content("%d", getpid()), -1);
	report_exit();
	ck_assert_int_gt(content("%d", getpid()), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "3");
	ck_assert_str_eq(json_find(text, "processes"), "[]");
	directory_remove();
}
END_TEST

#ifndef __SANITIZE_THREAD__
static void leave_from_handler(int number)
{
	(void)number;
	report_exit();
	_exit(7);
}

static void interrupted_while_it_writes(void)
{
	int pipes[2];
	char bytes[4096] = { 0 };
	if (pipe(pipes) < 0 || fcntl(pipes[1], F_SETFL, O_NONBLOCK) < 0)
		_exit(1);
	while (write(pipes[1], bytes, sizeof(bytes)) > 0)
		;
	fcntl(pipes[1], F_SETFL, 0);
	pool_make("stats-json=/proc/self/fd/%d", pipes[1]);
	signal(SIGALRM, leave_from_handler);
	ualarm(200000, 0);
	report_exit(); /* blocks in the pipe */
}

START_TEST(a_handler_may_end_what_writes)
{
	int status = aside(interrupted_while_it_writes);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 7);
}
END_TEST

static upage_pool *written;
static _Atomic bool enough;
static _Atomic unsigned failures;

static void *write_all_the_time(void *unused)
{
	/* Not by ck_assert: a child could inherit the lock that it takes. */
	while (!atomic_load(&enough))
		failures += upage_stats_json(written, "/dev/null") != 0;
	return unused;
}

/* One with a copy, or one with a pool of its own: neither waits for a thread that it has not. */
START_TEST(a_child_of_a_process_that_writes_does_not_hang)
{
	pthread_t threads[2];
	written = pool_make("stats-json=/dev/null");
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_all_the_time, NULL), 0);
	for (unsigned i = 0; i < 200; i++) {
		pid_t child = fork();
		ck_assert_int_ge(child, 0);
		if (child == 0) {
			alarm(10);
			if (i % 2)
				pool_make("stats-json=/dev/null");
			report_exit();
			_exit(0);
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
	}
	atomic_store(&enough, true);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(failures, 0);
}
END_TEST
#endif

START_TEST(every_pool_writes_its_own)
{
	directory_make();
	upage_pool *a = pool_make("stats-json=%s/a", directory);
	upage_pool *b = pool_make("stats-json=%s/b", directory);
	upage_pool *quiet = pool_make("seed=1");
	count_times(a, COUNT_MAJOR, 1);
	count_times(b, COUNT_MAJOR, 2);
	count_times(quiet, COUNT_MAJOR, 4);
	ck_assert_ok(upage_pool_destroy(a));
	ck_assert_int_gt(content("a"), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "1");
	ck_assert_int_eq(content("b"), -1);
	pid_t child = fork();
	if (child == 0) {
		struct upage_stats own = { .size = sizeof(own) };
		upage_stats_get(quiet, &own);
		count_times(b, COUNT_MAJOR, 5);
		report_exit();
		_exit(own.major == 0 ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	report_exit();
	ck_assert_int_gt(content("b"), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "2");
	ck_assert_str_eq(of_process(child, "faults.major"), "5");
	struct upage_stats stats = { .size = sizeof(stats) };
	ck_assert_ok(upage_stats_get(quiet, &stats));
	ck_assert_uint_eq(stats.major, 4);
	directory_remove();
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
	tcase_add_test(written, the_object_is_written_as_it_always_was);
	tcase_add_test(written, the_table_is_written_as_it_always_was);
	tcase_add_test(written, another_process_is_one_line_of_the_table);
	tcase_add_test(written, fixed_point_is_rounded_and_carried);
	tcase_add_test(written, a_text_in_pieces_is_the_text_in_one);
	tcase_add_test(written, a_stream_stops_at_the_first_failure);
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
	TCase *processes = tcase_create("processes");
	tcase_set_timeout(processes, 60);
	tcase_add_test(processes, the_first_of_a_tree_writes_all);
	tcase_add_test(processes, it_is_told_how_each_process_ended);
	tcase_add_test(processes, the_time_of_a_killed_process_is_that_until_its_last_fault);
	tcase_add_test(processes, with_a_process_id_in_the_name_each_writes_its_own);
	tcase_add_test(processes, the_table_has_a_line_for_each_other_process);
	tcase_add_test(processes, a_child_does_not_keep_stderr_open);
	tcase_add_test(processes, a_full_table_of_processes_loses_no_count);
	tcase_add_test(processes, threads_that_end_at_once_write_once_and_wait_for_it);
	tcase_add_test(processes, a_failure_to_write_is_one_line_and_no_more);
	tcase_add_test(processes, a_stderr_that_takes_nothing_is_not_the_end);
	tcase_add_test(processes, a_closed_stderr_is_neither_lost_nor_taken_for_another_file);
	tcase_add_test(processes, a_relative_name_is_one_of_where_the_program_began);
	tcase_add_test(processes, a_name_that_grows_too_long_is_refused);
	tcase_add_test(processes, a_child_without_a_copy_writes_nothing);
#ifndef __SANITIZE_THREAD__
	/* It holds signals back until a call of the C library, and is not told of our lock. */
	tcase_add_test(processes, a_handler_may_end_what_writes);
	tcase_add_test(processes, a_child_of_a_process_that_writes_does_not_hang);
#endif
	tcase_add_test(processes, every_pool_writes_its_own);
	suite_add_tcase(suite, processes);
	return run_suite(suite);
}
