/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_host.c - does the host do what we ask of it, and do we say so when it does not?
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host.h"
#include "support.h"
#include "support_crowd.h"
#include "support_filter.h"

/* ---- What may be done with an address, without a trap: the kernel says EFAULT ---------- */

static int channel[2];

static bool can_read(const void *address)
{
	char byte;
	if (write(channel[1], address, 1) != 1)
		return false;
	ck_assert_int_eq(read(channel[0], &byte, 1), 1);
	return true;
}

static bool can_write(void *address)
{
	char byte = 'w';
	ck_assert_int_eq(write(channel[1], &byte, 1), 1);
	if (read(channel[0], address, 1) == 1)
		return true;
	ck_assert_int_eq(read(channel[0], &byte, 1), 1); /* it is still in there */
	return false;
}

static char *reserve(size_t pages)
{
	void *base = NULL;
	ck_assert_ok(host_reserve(NULL, pages * PAGE, &base));
	ck_assert_ptr_nonnull(base);
	return base;
}

static int memory_of(size_t pages)
{
	int memory = host_memory_create(pages * PAGE);
	ck_assert_int_ge(memory, 0);
	return memory;
}

static void begin(void)
{
	ck_assert_int_eq(pipe(channel), 0);
}

static void end(void)
{
	ck_assert_int_eq(close(channel[0]) | close(channel[1]), 0);
}

/* ---- Address space --------------------------------------------------------------------- */

START_TEST(a_reservation_can_neither_be_read_nor_written)
{
	char *base = reserve(16);
	for (size_t i = 0; i < 16; i++) {
		ck_assert(!can_read(base + i * PAGE));
		ck_assert(!can_write(base + i * PAGE));
	}
	ck_assert_ok(host_release(base, 16 * PAGE));
}
END_TEST

START_TEST(a_reservation_at_an_address_is_there_or_nowhere)
{
	char *base = reserve(16);
	void *again = NULL;
	ck_assert_int_eq(host_reserve(base, PAGE, &again), -EEXIST);
	ck_assert_int_eq(host_reserve(base + 15 * PAGE, 4 * PAGE, &again), -EEXIST);
	ck_assert_int_eq(host_reserve(base - PAGE, 2 * PAGE, &again), -EEXIST);
	ck_assert_ptr_null(again);
	ck_assert_ok(host_release(base, 16 * PAGE));
	ck_assert_ok(host_reserve(base, 16 * PAGE, &again));
	ck_assert_ptr_eq(again, base);
	ck_assert_ok(host_release(base, 16 * PAGE));
}
END_TEST

START_TEST(a_program_mapping_is_never_reserved_over)
{
	char *theirs = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(theirs, MAP_FAILED);
	void *base = NULL;
	*theirs = 'x';
	ck_assert_int_eq(host_reserve(theirs, PAGE, &base), -EEXIST);
	ck_assert_int_eq(*theirs, 'x');
	munmap(theirs, PAGE);
}
END_TEST

START_TEST(a_reservation_that_cannot_be_says_why)
{
	void *base = NULL;
	ck_assert_int_eq(host_reserve(NULL, 0, &base), -EINVAL);
	ck_assert_int_eq(host_reserve(NULL, (size_t)1 << 62, &base), -ENOMEM);
	ck_assert_ptr_null(base);
}
END_TEST

START_TEST(a_terabyte_can_be_reserved)
{
	void *base = NULL;
	ck_assert_ok(host_reserve(NULL, (size_t)1 << 40, &base));
	ck_assert_ok(host_release(base, (size_t)1 << 40));
}
END_TEST

/* ---- Pages ----------------------------------------------------------------------------- */

START_TEST(a_page_shows_its_frame_and_no_other)
{
	char *base = reserve(8);
	int memory = memory_of(8);
	ck_assert_ok(host_show(memory, (uintptr_t)base + 2 * PAGE, 5 * PAGE, PAGE, RW));
	strcpy(base + 2 * PAGE, "frame five");
	ck_assert(!can_read(base + PAGE));
	ck_assert(!can_read(base + 3 * PAGE));
	static char found[PAGE];
	ck_assert_int_eq(pread(memory, found, PAGE, 5 * PAGE), PAGE);
	ck_assert_str_eq(found, "frame five");
	ck_assert_int_eq(pread(memory, found, PAGE, 4 * PAGE), PAGE);
	ck_assert_str_eq(found, "");
	/* and what is written to the frame is seen in the page */
	ck_assert_int_eq(pwrite(memory, "again", 6, 5 * PAGE), 6);
	ck_assert_str_eq(base + 2 * PAGE, "again");
	ck_assert_ok(host_release(base, 8 * PAGE));
	host_close(memory);
}
END_TEST

START_TEST(a_hidden_page_keeps_its_frames_content)
{
	char *base = reserve(4);
	int memory = memory_of(4);
	ck_assert_ok(host_show(memory, (uintptr_t)base, 0, 4 * PAGE, RW));
	memset(base, 'a', 4 * PAGE);
	ck_assert_ok(host_hide((uintptr_t)base + PAGE, 2 * PAGE));
	ck_assert(can_read(base));
	ck_assert(!can_read(base + PAGE));
	ck_assert(!can_write(base + 2 * PAGE));
	ck_assert(can_read(base + 3 * PAGE));
	ck_assert_ok(host_show(memory, (uintptr_t)base + PAGE, PAGE, 2 * PAGE, PROT_READ));
	for (size_t i = 0; i < 4 * PAGE; i++)
		must(base[i] == 'a');
	/* A hidden page is still reserved: nobody else is put there. */
	void *other = NULL;
	ck_assert_ok(host_hide((uintptr_t)base, 4 * PAGE));
	ck_assert_int_eq(host_reserve(base, PAGE, &other), -EEXIST);
	ck_assert_ok(host_release(base, 4 * PAGE));
	host_close(memory);
}
END_TEST

START_TEST(a_protection_is_what_it_was_asked_to_be)
{
	char *base = reserve(3);
	int memory = memory_of(3);
	ck_assert_ok(host_show(memory, (uintptr_t)base, 0, 3 * PAGE, PROT_READ));
	ck_assert(can_read(base + PAGE) && !can_write(base + PAGE));
	ck_assert_ok(host_protect((uintptr_t)base + PAGE, PAGE, RW));
	ck_assert(can_read(base + PAGE) && can_write(base + PAGE));
	ck_assert(!can_write(base) && !can_write(base + 2 * PAGE));
	ck_assert_ok(host_protect((uintptr_t)base + PAGE, PAGE, PROT_NONE));
	ck_assert(!can_read(base + PAGE) && !can_write(base + PAGE));
	ck_assert_ok(host_protect((uintptr_t)base + PAGE, PAGE, PROT_READ));
	ck_assert_int_eq(base[PAGE], 'w'); /* can_write's */
	ck_assert_ok(host_release(base, 3 * PAGE));
	host_close(memory);
}
END_TEST

START_TEST(a_frame_may_hold_code)
{
#if defined(__x86_64__)
	static const unsigned char code[] = { 0xb8, 0x2a, 0, 0, 0, 0xc3 }; /* mov $42, %eax; ret */
#else
	static const unsigned char code[] = { 0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6 };
#endif
	char *base = reserve(1);
	int memory = memory_of(1);
	ck_assert_ok(host_write(memory, code, sizeof(code), 0));
	ck_assert_ok(host_show(memory, (uintptr_t)base, 0, PAGE, PROT_READ | PROT_EXEC));
	int (*function)(void);
	memcpy(&function, &base, sizeof(function));
	ck_assert_int_eq(function(), 42);
	ck_assert_ok(host_release(base, PAGE));
	host_close(memory);
}
END_TEST

/* Pages beside each other in one range, and one alone. */
START_TEST(the_host_tells_which_pages_were_referenced_since_they_were_aged)
{
	enum { PAGES = 16 };
	char *base = reserve(PAGES);
	int memory = memory_of(PAGES);
	for (unsigned i = 0; i < PAGES; i++) /* in no order that the host could join */
		ck_assert_ok(host_show(memory, (uintptr_t)base + i * PAGE,
		                       (off_t)((i * 5 + 3) % PAGES * PAGE), PAGE, RW));
	const struct iovec some[] = { { base + 2 * PAGE, 3 * PAGE }, { base + 9 * PAGE, PAGE } };
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < PAGES; i++) {
			base[i * PAGE] = (char)(i + 1);
			ck_assert(host_references((uintptr_t)base + i * PAGE, PAGE, 1));
		}
		ck_assert_ok(host_age(some, 2));
		for (unsigned i = 0; i < PAGES; i++)
			ck_assert_int_eq(host_references((uintptr_t)base + i * PAGE, PAGE, 1),
			                 !((i >= 2 && i < 5) || i == 9));
		ck_assert_uint_eq(host_references((uintptr_t)base + 2 * PAGE, 3 * PAGE, 1), 0);
		ck_assert_uint_eq(host_references((uintptr_t)base, PAGE, PAGES), 0xfde3);
		ck_assert_int_eq(((volatile char *)base)[3 * PAGE], 4);
		((volatile char *)base)[9 * PAGE] = 10;
		ck_assert_uint_eq(host_references((uintptr_t)base + 2 * PAGE, 3 * PAGE, 1), 1);
		ck_assert_uint_eq(host_references((uintptr_t)base, 4 * PAGE, PAGES / 4), 0xf);
		ck_assert_uint_eq(host_references((uintptr_t)base, PAGE, PAGES), 0xffeb);
		for (unsigned i = 0; i < PAGES; i++)
			ck_assert_int_eq(host_references((uintptr_t)base + i * PAGE, PAGE, 1),
			                 i != 2 && i != 4);
	}
	for (unsigned i = 0; i < PAGES; i++)
		ck_assert_int_eq(base[i * PAGE], (char)(i + 1));
	host_close(memory);
}
END_TEST

static bool is_refused;

/* Pages 0 2 4 ... of which 4 and 10 are aged, and 6 and 12 hidden, as far as they are shown at all. */
static void ask_of_pages_apart(void)
{
	enum { PAGES = 16 };
	static char *base;
	void *reserved;
	uintptr_t apart[PAGES / 2], large[PAGES / 4];
	if ((is_refused && refuse_call(SYS_move_pages, EPERM) != 0) ||
	    host_reserve(NULL, PAGES * PAGE, &reserved) != 0)
		_exit(77);
	base = reserved;
	int memory = host_memory_create(PAGES * PAGE);
	for (unsigned i = 0; i < PAGES; i++)
		if (host_show(memory, (uintptr_t)base + i * PAGE, (off_t)((i * 5 + 3) % PAGES * PAGE),
		              PAGE, RW) != 0)
			_exit(1);
	for (unsigned i = 0; i < PAGES / 2; i++)
		apart[PAGES / 2 - 1 - i] = (uintptr_t)base + 2 * i * PAGE;
	for (unsigned i = 0; i < PAGES / 4; i++)
		large[i] = (uintptr_t)base + 4 * i * PAGE;
	if (host_references_each(apart, PAGE, PAGES / 2) != 0xff)
		_exit(2);
	const struct iovec aged[] = { { base + 4 * PAGE, PAGE }, { base + 10 * PAGE, PAGE } };
	if (host_age(aged, 2) != 0 || host_hide((uintptr_t)base + 6 * PAGE, PAGE) != 0 ||
	    host_hide((uintptr_t)base + 12 * PAGE, 4 * PAGE) != 0)
		_exit(3);
	/* Of the pages 14 12 10 8 6 4 2 0; then of 0-3 4-7 8-11 12-15. */
	if (host_references_each(apart, PAGE, PAGES / 2) != 0xc8 ||
	    host_references_each(large, 4 * PAGE, PAGES / 4) != 0x7)
		_exit(4);
	((volatile char *)base)[10 * PAGE] = 1;
	if (host_references_each(apart, PAGE, PAGES / 2) != 0xcc)
		_exit(5);
	_exit(0);
}

START_TEST(pages_that_lie_apart_are_asked_of_whatever_the_host_allows)
{
	char said[100];
	is_refused = _i == 1;
	ck_assert_int_eq(in_child(ask_of_pages_apart, said, sizeof(said)), 0);
}
END_TEST

static char *lonely; /* a page that is shown */

static void ask_without_descriptors(void)
{
	const struct iovec page = { lonely, PAGE };
	const struct rlimit none = { 0, 0 };
	if (setrlimit(RLIMIT_NOFILE, &none) != 0 || host_age(&page, 1) != -ENOTSUP ||
	    host_references((uintptr_t)lonely, PAGE, 1) != 0)
		_exit(1);
}

/* In a child: a sanitizer needs descriptors at a process's end. */
START_TEST(where_the_host_cannot_be_asked_it_is_not)
{
	char said[100];
	lonely = reserve(1);
	ck_assert_ok(host_show(memory_of(1), (uintptr_t)lonely, 0, PAGE, RW));
	ck_assert_int_eq(in_child(ask_without_descriptors, said, sizeof(said)), 0);
}
END_TEST

START_TEST(an_impossible_wish_is_an_error_and_not_errno)
{
	char *base = reserve(1);
	ck_assert_int_eq(host_show(-1, (uintptr_t)base, 0, PAGE, RW), -EBADF);
	ck_assert_int_eq(host_show(0, (uintptr_t)base + 1, 0, PAGE, RW), -EINVAL);
	ck_assert_int_eq(host_hide((uintptr_t)base, 0), -EINVAL);
	ck_assert_int_eq(host_protect((uintptr_t)base + 1, PAGE, RW), -EINVAL);
	ck_assert_int_eq(host_release(base + 1, PAGE), -EINVAL);
	ck_assert(!can_read(base)); /* it is as it was */
	ck_assert_ok(host_release(base, PAGE));
	ck_assert_int_eq(host_protect((uintptr_t)base, PAGE, RW), -ENOMEM);
	ck_assert_int_eq(host_write(-1, "", 1, 0), -EBADF);
	ck_assert_int_eq(host_punch(-1, 0, PAGE), -EBADF);
	ck_assert_int_eq(host_sync(-1), -EBADF);
	ck_assert_int_eq(host_file_size(-1), -EBADF);
}
END_TEST

START_TEST(no_call_touches_errno)
{
	char byte;
	void *base = NULL;
	errno = 4321;
	ck_assert_int_lt(host_reserve(NULL, 0, &base), 0);
	ck_assert_int_lt(host_read(-1, &byte, 1, 0), 0);
	ck_assert_int_lt(host_read_file(-1, &byte, 1, 0), 0);
	ck_assert_int_lt(host_write(-1, &byte, 1, 0), 0);
	ck_assert_int_lt(host_zero(-1, 0, 1), 0);
	ck_assert_int_lt(host_punch(-1, 0, 1), 0);
	ck_assert_int_lt(host_sync(-1), 0);
	ck_assert_int_lt(host_file_size(-1), 0);
	host_close(-1);
	ck_assert_ptr_null(host_metadata((size_t)1 << 62));
	ck_assert_int_eq(errno, 4321);
}
END_TEST

/* ---- Descriptors ----------------------------------------------------------------------- */

START_TEST(physical_memory_is_as_large_as_asked_for_and_all_zero)
{
	static const uint64_t sizes[] = { PAGE, 17 * PAGE, UINT64_C(1) << 40 };
	for (unsigned i = 0; i < 3; i++) {
		static char found[PAGE], zeros[PAGE];
		struct stat status;
		int memory = host_memory_create(sizes[i]);
		ck_assert_int_ge(memory, 0);
		ck_assert_int_eq(host_file_size(memory), (int64_t)sizes[i]);
		memset(found, 1, PAGE);
		ck_assert_ok(host_read(memory, found, PAGE, (off_t)(sizes[i] - PAGE)));
		ck_assert_mem_eq(found, zeros, PAGE);
		ck_assert_int_eq(fstat(memory, &status), 0);
		ck_assert_int_eq(status.st_blocks, 0); /* nothing is taken before it is used */
		ck_assert_int_ne(fcntl(memory, F_GETFD) & FD_CLOEXEC, 0);
		host_close(memory);
		ck_assert_int_eq(fcntl(memory, F_GETFD), -1);
	}
}
END_TEST

START_TEST(physical_memory_beyond_measure_is_refused)
{
	int lowest = dup(0);
	close(lowest);
	ck_assert_int_lt(host_memory_create(UINT64_MAX), 0);
	int after = dup(0);
	ck_assert_int_eq(after, lowest); /* no descriptor was left open */
	close(after);
}
END_TEST

static int file_of(size_t bytes)
{
	int descriptor = memory_of(0);
	for (size_t i = 0; i < bytes; i++) {
		char byte = (char)('a' + i % 26);
		must(pwrite(descriptor, &byte, 1, (off_t)i) == 1);
	}
	return descriptor;
}

START_TEST(a_read_of_a_file_says_how_many_bytes_there_were)
{
	static char buffer[PAGE];
	int file = file_of(100);
	memset(buffer, '#', PAGE);
	ck_assert_int_eq(host_read_file(file, buffer, PAGE, 0), 100);
	ck_assert_int_eq(buffer[99], 'a' + 99 % 26);
	ck_assert_int_eq(host_read_file(file, buffer, PAGE, 90), 10);
	ck_assert_int_eq(buffer[0], 'a' + 90 % 26);
	ck_assert_int_eq(host_read_file(file, buffer, PAGE, 100), 0);
	ck_assert_int_eq(host_read_file(file, buffer, PAGE, 1 << 30), 0);
	ck_assert_int_eq(host_read_file(file, buffer, 50, 10), 50);
	ck_assert_int_eq(host_read_file(file, buffer, PAGE, -1), -EINVAL);
	host_close(file);
}
END_TEST

START_TEST(a_whole_read_of_a_file_that_is_too_short_fails)
{
	static char buffer[PAGE];
	int file = file_of(100);
	ck_assert_ok(host_read(file, buffer, 100, 0));
	ck_assert_int_eq(buffer[99], 'a' + 99 % 26);
	ck_assert_int_eq(host_read(file, buffer, 101, 0), -EIO);
	ck_assert_int_eq(host_read(file, buffer, 1, 100), -EIO);
	host_close(file);
}
END_TEST

START_TEST(a_write_reaches_just_its_bytes)
{
	char found[8] = "";
	int file = file_of(6);
	ck_assert_ok(host_write(file, "XY", 2, 2));
	ck_assert_int_eq(pread(file, found, 8, 0), 6);
	ck_assert_str_eq(found, "abXYef");
	ck_assert_int_eq(host_file_size(file), 6);
	host_close(file);
}
END_TEST

START_TEST(a_write_to_a_file_that_is_full_says_so)
{
	int full = open("/dev/full", O_RDWR);
	ck_assert_int_ge(full, 0);
	ck_assert_int_eq(host_write(full, "x", 1, 0), -ENOSPC);
	close(full);
}
END_TEST

START_TEST(zeroing_reaches_just_its_bytes)
{
	static const size_t lengths[] = { 1, PAGE, 65536, 65537, 200000 };
	for (unsigned i = 0; i < 5; i++) {
		size_t size = lengths[i] + 2;
		char *bytes = malloc(size);
		memset(bytes, 'x', size);
		int file = memory_of(0);
		ck_assert_ok(host_write(file, bytes, size, 0));
		ck_assert_ok(host_zero(file, 1, lengths[i]));
		ck_assert_ok(host_read(file, bytes, size, 0));
		must(bytes[0] == 'x' && bytes[size - 1] == 'x');
		for (size_t j = 1; j < size - 1; j++)
			must(bytes[j] == 0);
		host_close(file);
		free(bytes);
	}
}
END_TEST

START_TEST(a_punched_hole_is_zero_and_gives_its_memory_back)
{
	static char bytes[4 * PAGE];
	struct stat before, after;
	int file = memory_of(4);
	memset(bytes, 'x', sizeof(bytes));
	ck_assert_ok(host_write(file, bytes, sizeof(bytes), 0));
	ck_assert_int_eq(fstat(file, &before), 0);
	ck_assert_ok(host_punch(file, PAGE, 2 * PAGE));
	ck_assert_int_eq(fstat(file, &after), 0);
	ck_assert_int_eq(after.st_blocks, before.st_blocks / 2);
	ck_assert_int_eq(after.st_size, before.st_size);
	ck_assert_ok(host_read(file, bytes, sizeof(bytes), 0));
	for (size_t i = 0; i < sizeof(bytes); i++)
		must(bytes[i] == (i / PAGE == 1 || i / PAGE == 2 ? 0 : 'x'));
	host_close(file);
}
END_TEST

/* ---- Metadata -------------------------------------------------------------------------- */

START_TEST(metadata_is_zero_and_counted_in_host_pages)
{
	size_t before = host_metadata_bytes();
	char *small = host_metadata(1), *large = host_metadata(3 * PAGE + 1);
	ck_assert_ptr_nonnull(small);
	ck_assert_ptr_nonnull(large);
	ck_assert_uint_eq(host_metadata_bytes(), before + 5 * PAGE);
	for (size_t i = 0; i < 4 * PAGE; i++)
		must(large[i] == 0);
	memset(small, 1, PAGE);
	memset(large, 1, 4 * PAGE);
	host_metadata_release(small, 1);
	ck_assert(!can_read(small));
	ck_assert_uint_eq(host_metadata_bytes(), before + 4 * PAGE);
	host_metadata_release(large, 3 * PAGE + 1);
	ck_assert(!can_read(large) && !can_read(large + 3 * PAGE));
	ck_assert_uint_eq(host_metadata_bytes(), before);
}
END_TEST

START_TEST(metadata_that_cannot_be_had_is_not_counted)
{
	size_t before = host_metadata_bytes();
	ck_assert_ptr_null(host_metadata((size_t)1 << 62));
	ck_assert_ptr_null(host_metadata(SIZE_MAX));
	ck_assert_uint_eq(host_metadata_bytes(), before);
}
END_TEST

/* ---- Limits, clocks, threads ----------------------------------------------------------- */

static uint64_t max_map_count(void)
{
	unsigned long long limit = 0;
	FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%llu", &limit), 1);
	fclose(file);
	return limit;
}

static uint64_t mappings_now(void)
{
	uint64_t lines = 0;
	FILE *file = fopen("/proc/self/maps", "r");
	ck_assert_ptr_nonnull(file);
	for (int c; (c = fgetc(file)) != EOF;)
		lines += c == '\n';
	fclose(file);
	return lines;
}

START_TEST(the_mapping_budget_leaves_room_under_the_limit)
{
	uint64_t budget = host_mapping_budget(), limit = max_map_count();
	ck_assert_uint_gt(budget, 0);
	ck_assert_uint_lt(budget + mappings_now(), limit);
	ck_assert_uint_gt(budget, limit / 2); /* this small program has few mappings of its own */
}
END_TEST

START_TEST(mappings_of_the_program_are_taken_off_the_budget)
{
	enum { PAGES = 4000 };
	uint64_t before = host_mapping_budget();
	char *base = reserve(PAGES);
	/* Every second page has another protection: they cannot be joined. */
	for (size_t i = 0; i < PAGES; i += 2)
		must(host_protect((uintptr_t)base + i * PAGE, PAGE, PROT_READ) == 0);
	uint64_t after = host_mapping_budget();
	ck_assert_uint_le(after, before - (PAGES - 10));
	ck_assert_uint_ge(after, before - (PAGES + 10));
	ck_assert_ok(host_release(base, PAGES * PAGE));
}
END_TEST

/* Each page that is shown takes two; what is free when it is hidden again, to the last one, is no program's. */
START_TEST(spare_mappings_are_laid_again_before_a_call_returns)
{
	enum { SHOWN = HOST_SPARES / 2 - 2 };
	struct crowd crowd;
	char *base = reserve(2 * SHOWN + 1);
	int memory = host_memory_create(PAGE);
	ck_assert(host_spares_lay());
	bool limited = crowd_begin(&crowd);
	for (size_t i = 0; limited && i < SHOWN; i++) {
		must(host_show_lazily(memory, (uintptr_t)base + (2 * i + 1) * PAGE, 0, PAGE, PROT_READ) == 0);
		must(host_spares_left() == HOST_SPARES - 2 * (i + 1));
	}
	for (size_t i = SHOWN; limited && i-- > 0;) {
		must(host_hide((uintptr_t)base + (2 * i + 1) * PAGE, PAGE) == 0);
		must(mmap(NULL, PAGE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
		must(host_spares_left() == HOST_SPARES - 2 * i);
	}
	must(!limited || !host_has_mappings());
	crowd_end(&crowd);
	must(host_has_mappings());
	host_close(memory);
	ck_assert_ok(host_release(base, (2 * SHOWN + 1) * PAGE));
}
END_TEST

START_TEST(the_clocks_do_not_stand_still_or_go_back)
{
	uint64_t ticks = host_ticks(), nanoseconds = host_nanoseconds();
	uint64_t ticks_before = ticks, nanoseconds_before = nanoseconds;
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t now = host_nanoseconds();
		must(now >= nanoseconds);
		nanoseconds = now;
		ticks = host_ticks();
	}
	ck_assert_uint_gt(nanoseconds, nanoseconds_before);
	ck_assert_uint_gt(ticks, ticks_before);
}
END_TEST

START_TEST(the_first_thread_is_known_by_its_process)
{
	host_yield();
	ck_assert_int_eq(host_thread_id(), getpid());
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("host");
	TCase *space = tcase_create("address space");
	tcase_add_checked_fixture(space, begin, end);
	tcase_add_test(space, a_reservation_can_neither_be_read_nor_written);
	tcase_add_test(space, a_reservation_at_an_address_is_there_or_nowhere);
	tcase_add_test(space, a_program_mapping_is_never_reserved_over);
	tcase_add_test(space, a_reservation_that_cannot_be_says_why);
	tcase_add_test(space, a_terabyte_can_be_reserved);
	tcase_add_test(space, a_page_shows_its_frame_and_no_other);
	tcase_add_test(space, a_hidden_page_keeps_its_frames_content);
	tcase_add_test(space, a_protection_is_what_it_was_asked_to_be);
	tcase_add_test(space, a_frame_may_hold_code);
	tcase_add_test(space, the_host_tells_which_pages_were_referenced_since_they_were_aged);
	tcase_add_loop_test(space, pages_that_lie_apart_are_asked_of_whatever_the_host_allows, 0, 2);
	tcase_add_test(space, where_the_host_cannot_be_asked_it_is_not);
	tcase_add_test(space, an_impossible_wish_is_an_error_and_not_errno);
	tcase_add_test(space, no_call_touches_errno);
	suite_add_tcase(suite, space);

	TCase *descriptors = tcase_create("descriptors");
	tcase_add_test(descriptors, physical_memory_is_as_large_as_asked_for_and_all_zero);
	tcase_add_test(descriptors, physical_memory_beyond_measure_is_refused);
	tcase_add_test(descriptors, a_read_of_a_file_says_how_many_bytes_there_were);
	tcase_add_test(descriptors, a_whole_read_of_a_file_that_is_too_short_fails);
	tcase_add_test(descriptors, a_write_reaches_just_its_bytes);
	tcase_add_test(descriptors, a_write_to_a_file_that_is_full_says_so);
	tcase_add_test(descriptors, zeroing_reaches_just_its_bytes);
	tcase_add_test(descriptors, a_punched_hole_is_zero_and_gives_its_memory_back);
	suite_add_tcase(suite, descriptors);

	TCase *rest = tcase_create("metadata, limits, clocks");
	tcase_add_checked_fixture(rest, begin, end);
	tcase_add_test(rest, metadata_is_zero_and_counted_in_host_pages);
	tcase_add_test(rest, metadata_that_cannot_be_had_is_not_counted);
	tcase_add_test(rest, spare_mappings_are_laid_again_before_a_call_returns);
	tcase_add_test(rest, the_mapping_budget_leaves_room_under_the_limit);
	tcase_add_test(rest, mappings_of_the_program_are_taken_off_the_budget);
	tcase_add_test(rest, the_clocks_do_not_stand_still_or_go_back);
	tcase_add_test(rest, the_first_thread_is_known_by_its_process);
	suite_add_tcase(suite, rest);
	return run_suite(suite);
}
