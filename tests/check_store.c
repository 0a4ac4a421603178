/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_store.c - does a page come back from where it was put, and touch nothing else?
 *
 * File stores, stores of the program's own, backings. Swap is check_swap.c's.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"
#include "store.h"
#include "support_directory.h"

static char page[PAGE];

/* ---- Files ----------------------------------------------------------------------------- */

static upage_store *store_on(size_t bytes, unsigned flags)
{
	upage_store *store = NULL;
	ck_assert_ok(upage_store_open(&store, file_make("file", bytes), flags));
	ck_assert_ptr_nonnull(store);
	return store;
}

START_TEST(a_page_inside_a_file_is_its_bytes)
{
	upage_store *store = store_on(3 * PAGE, 0);
	ck_assert_ok(store_transfer(store, STORE_READ, page, PAGE, PAGE));
	for (size_t i = 0; i < PAGE; i++)
		must(page[i] == file_byte(PAGE + i));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(the_rest_of_a_page_at_the_end_of_a_file_is_zero)
{
	static const size_t lengths[] = { 1, 100, PAGE - 1, PAGE + 1, 2 * PAGE - 1 };
	size_t length = lengths[_i], start = length > PAGE ? PAGE : 0;
	upage_store *store = store_on(length, 0);
	memset(page, 0xee, PAGE);
	ck_assert_ok(store_transfer(store, STORE_READ, page, PAGE, (off_t)start));
	for (size_t i = 0; i < PAGE; i++)
		must(page[i] == (start + i < length ? file_byte(start + i) : 0));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_page_wholly_past_the_end_of_a_file_has_no_content)
{
	static const size_t lengths[] = { 0, 1, PAGE };
	size_t length = lengths[_i];
	upage_store *store = store_on(length, UPAGE_STORE_WRITABLE);
	off_t past = (off_t)((length + PAGE - 1) / PAGE * PAGE);
	ck_assert_int_eq(store_transfer(store, STORE_READ, page, PAGE, past), STORE_PAST_END);
	ck_assert_int_eq(store_transfer(store, STORE_READ, page, PAGE, past + (off_t)(1 << 30)),
	                 STORE_PAST_END);
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_write_does_not_lengthen_a_file)
{
	static const size_t lengths[] = { 0, 1, PAGE, PAGE + 100, 2 * PAGE };
	size_t length = lengths[_i];
	static char found[4 * PAGE];
	upage_store *store = store_on(length, UPAGE_STORE_WRITABLE);
	memset(page, 0x5a, PAGE);
	for (size_t offset = 0; offset < 4 * PAGE; offset += PAGE)
		ck_assert_ok(store_transfer(store, STORE_WRITE, page, PAGE, (off_t)offset));
	ck_assert_ok(upage_store_close(store));
	ck_assert_uint_eq(file_read_all("file", found, sizeof(found)), length);
	for (size_t i = 0; i < length; i++)
		must(found[i] == 0x5a);
}
END_TEST

START_TEST(a_write_changes_its_page_and_no_other)
{
	static char found[4 * PAGE];
	upage_store *store = store_on(3 * PAGE, UPAGE_STORE_WRITABLE);
	memset(page, 0x5a, PAGE);
	ck_assert_ok(store_transfer(store, STORE_WRITE, page, PAGE, PAGE));
	ck_assert_ok(store->ops->sync(store));
	ck_assert_ok(upage_store_close(store));
	ck_assert_uint_eq(file_read_all("file", found, sizeof(found)), 3 * PAGE);
	for (size_t i = 0; i < 3 * PAGE; i++)
		must(found[i] == (i / PAGE == 1 ? 0x5a : file_byte(i)));
}
END_TEST

START_TEST(a_file_that_grew_is_read_to_its_new_end)
{
	upage_store *store = store_on(10, 0);
	file_make("file", PAGE + 10); /* the same file, written again */
	ck_assert_ok(store_transfer(store, STORE_READ, page, PAGE, PAGE));
	ck_assert_int_eq(page[9], file_byte(PAGE + 9));
	ck_assert_int_eq(page[10], 0);
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_store_opened_for_reading_writes_nothing)
{
	upage_store *store = store_on(PAGE, 0);
	ck_assert(!store->writable);
	memset(page, 0x5a, PAGE);
	ck_assert_int_lt(store_transfer(store, STORE_WRITE, page, PAGE, 0), 0);
	ck_assert_ok(upage_store_close(store));
	ck_assert_uint_eq(file_read_all("file", page, PAGE), PAGE);
	ck_assert_int_eq(page[0], file_byte(0));
	ck_assert_ok(upage_store_open(&store, in_directory("file"), UPAGE_STORE_WRITABLE));
	ck_assert(store->writable);
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused)
{
	upage_store *const untouched = (upage_store *)(void *)page;
	upage_store *store = untouched;
	const char *path = file_make("file", 1);
	size_t descriptors = open_descriptors();
	errno = 1234;
	ck_assert_int_eq(upage_store_open(&store, directory, 0), UPAGE_EINVAL);
	ck_assert_int_eq(upage_store_open(&store, "/dev/null", 0), UPAGE_EINVAL);
	ck_assert_int_eq(upage_store_open(&store, directory, UPAGE_STORE_WRITABLE), -EISDIR);
	ck_assert_int_eq(upage_store_open(&store, in_directory("none"), 0), -ENOENT);
	ck_assert_int_eq(upage_store_open(&store, path, 2), UPAGE_EINVAL);
	ck_assert_int_eq(upage_store_open(&store, path, 0x80000001), UPAGE_EINVAL);
	ck_assert_int_eq(upage_store_open(&store, NULL, 0), UPAGE_EINVAL);
	ck_assert_int_eq(upage_store_open(NULL, path, 0), UPAGE_EINVAL);
	ck_assert_int_eq(errno, 1234);
	ck_assert_ptr_eq(store, untouched);
	ck_assert_uint_eq(open_descriptors(), descriptors);
}
END_TEST

/* A plain open(2) of a pipe for reading waits until somebody writes. */
START_TEST(a_named_pipe_is_refused_at_once)
{
	upage_store *store = NULL;
	ck_assert_int_eq(mkfifo(in_directory("fifo"), 0600), 0);
	ck_assert_int_eq(upage_store_open(&store, in_directory("fifo"), 0), UPAGE_EINVAL);
}
END_TEST

START_TEST(two_stores_of_one_file_are_the_same)
{
	upage_store *first = store_on(PAGE, 0), *second, *third;
	ck_assert_int_eq(symlink("file", in_directory("link")), 0);
	ck_assert_ok(upage_store_open(&second, in_directory("link"), UPAGE_STORE_WRITABLE));
	ck_assert_ok(upage_store_open(&third, file_make("other", PAGE), 0));
	ck_assert(store_is_same(first, second));
	ck_assert(store_is_same(first, first));
	ck_assert(!store_is_same(first, third));
	ck_assert_ok(upage_store_close(first));
	ck_assert_ok(upage_store_close(second));
	ck_assert_ok(upage_store_close(third));
}
END_TEST

START_TEST(a_closed_store_leaves_nothing_open)
{
	file_make("file", PAGE);
	size_t descriptors = open_descriptors();
	size_t metadata = host_metadata_bytes();
	upage_store *store;
	ck_assert_ok(upage_store_open(&store, in_directory("file"), 0));
	ck_assert_uint_eq(open_descriptors(), descriptors + 1);
	ck_assert_ok(upage_store_close(store));
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
	ck_assert_ok(upage_store_close(NULL));
}
END_TEST

/* ---- The program's own store ----------------------------------------------------------- */

static struct {
	void *context;
	const void *page;
	size_t length;
	off_t offset;
	unsigned reads, writes, syncs, closes;
	int answer;
} called;

static int user_read(void *context, void *buffer, size_t length, off_t offset)
{
	called.context = context;
	called.page = buffer;
	called.length = length;
	called.offset = offset;
	called.reads++;
	memset(buffer, 0x42, length);
	return called.answer;
}

static int user_write(void *context, const void *buffer, size_t length, off_t offset)
{
	called.context = context;
	called.page = buffer;
	called.length = length;
	called.offset = offset;
	called.writes++;
	return called.answer;
}

static int user_sync(void *context)
{
	called.context = context;
	called.syncs++;
	return called.answer;
}

static void user_close(void *context)
{
	called.context = context;
	called.closes++;
}

static upage_store *user_store(void)
{
	/* Written over once it is handed in: the library must have a copy. */
	struct upage_store_ops ops = { sizeof(ops), user_read, user_write, user_sync, user_close };
	upage_store *store = NULL;
	memset(&called, 0, sizeof(called));
	ck_assert_ok(upage_store_create(&store, &ops, &called));
	memset(&ops, 0xff, sizeof(ops));
	return store;
}

START_TEST(a_store_of_the_programs_own_is_asked_for_just_the_page)
{
	upage_store *store = user_store();
	ck_assert(store->writable);
	ck_assert_ok(store_transfer(store, STORE_READ, page, PAGE, 7 * (off_t)PAGE));
	ck_assert_ptr_eq(called.context, &called);
	ck_assert_ptr_eq(called.page, page);
	ck_assert_uint_eq(called.length, PAGE);
	ck_assert_int_eq(called.offset, 7 * (off_t)PAGE);
	ck_assert_int_eq(page[PAGE - 1], 0x42);
	ck_assert_ok(store_transfer(store, STORE_WRITE, page, 2 * PAGE, (off_t)1 << 40));
	ck_assert_ptr_eq(called.context, &called);
	ck_assert_ptr_eq(called.page, page);
	ck_assert_uint_eq(called.length, 2 * PAGE);
	ck_assert_int_eq(called.offset, (off_t)1 << 40);
	ck_assert_uint_eq(called.reads, 1);
	ck_assert_uint_eq(called.writes, 1);
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(whatever_a_store_of_the_programs_own_says_becomes_an_io_error)
{
	static const int answers[] = { -EIO, -ENOSPC, -ENOMEM, -1, 1, 4096, INT_MIN };
	upage_store *store = user_store();
	called.answer = answers[_i];
	ck_assert_int_eq(store_transfer(store, STORE_READ, page, PAGE, 0), UPAGE_EIO);
	ck_assert_int_eq(store_transfer(store, STORE_WRITE, page, PAGE, 0), UPAGE_EIO);
	ck_assert_int_eq(store->ops->sync(store), UPAGE_EIO);
	called.answer = 0;
	ck_assert_ok(store_transfer(store, STORE_READ, page, PAGE, 0));
	ck_assert_ok(store_transfer(store, STORE_WRITE, page, PAGE, 0));
	ck_assert_ok(store->ops->sync(store));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_store_of_the_programs_own_is_closed_once)
{
	size_t metadata = host_metadata_bytes();
	upage_store *store = user_store();
	ck_assert_ok(upage_store_close(store));
	ck_assert_uint_eq(called.closes, 1);
	ck_assert_ptr_eq(called.context, &called);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
}
END_TEST

START_TEST(a_store_that_can_only_read_is_a_store)
{
	/* As a program has it that was built when the structure ended there. */
	struct upage_store_ops ops = { offsetof(struct upage_store_ops, write), user_read,
		                       user_write, user_sync, user_close };
	upage_store *store = NULL;
	memset(&called, 0, sizeof(called));
	ck_assert_ok(upage_store_create(&store, &ops, NULL));
	ck_assert(!store->writable);
	ck_assert_ok(store_transfer(store, STORE_READ, page, PAGE, 0));
	ck_assert_uint_eq(called.reads, 1);
	ck_assert_ok(store->ops->sync(store));
	ck_assert_ok(upage_store_close(store));
	ck_assert_uint_eq(called.syncs + called.closes, 0);
}
END_TEST

START_TEST(a_store_without_sense_is_refused)
{
	upage_store *const untouched = (upage_store *)(void *)page;
	upage_store *store = untouched;
	struct upage_store_ops ops = { sizeof(ops), NULL, user_write, NULL, NULL };
	ck_assert_int_eq(upage_store_create(&store, &ops, NULL), UPAGE_EINVAL);
	ops.read = user_read;
	ops.size = 0;
	ck_assert_int_eq(upage_store_create(&store, &ops, NULL), UPAGE_EINVAL);
	ops.size = sizeof(ops) + 1;
	ck_assert_int_eq(upage_store_create(&store, &ops, NULL), UPAGE_E2BIG);
	ops.size = offsetof(struct upage_store_ops, read);
	ck_assert_int_eq(upage_store_create(&store, &ops, NULL), UPAGE_EINVAL);
	ck_assert_int_eq(upage_store_create(&store, NULL, NULL), UPAGE_EINVAL);
	ops.size = sizeof(ops);
	ck_assert_int_eq(upage_store_create(NULL, &ops, NULL), UPAGE_EINVAL);
	ck_assert_ptr_eq(store, untouched);
}
END_TEST

START_TEST(two_stores_of_the_programs_own_are_never_the_same)
{
	upage_store *first = user_store(), *second = user_store();
	ck_assert(store_is_same(first, first));
	ck_assert(!store_is_same(first, second));
	ck_assert_ok(upage_store_close(first));
	ck_assert_ok(upage_store_close(second));
}
END_TEST

/* ---- Backings -------------------------------------------------------------------------- */

START_TEST(a_store_cannot_be_closed_while_a_backing_lives)
{
	upage_store *store = user_store();
	struct backing *first = backing_create(store, 0, true);
	struct backing *second = backing_create(store, 4096, false);
	backing_reference(first);
	ck_assert_int_eq(upage_store_close(store), UPAGE_EBUSY);
	backing_release(second);
	ck_assert_int_eq(upage_store_close(store), UPAGE_EBUSY);
	backing_release(first);
	ck_assert_int_eq(upage_store_close(store), UPAGE_EBUSY); /* one reference is left */
	ck_assert_uint_eq(called.closes, 0);
	backing_release(first);
	ck_assert_ok(upage_store_close(store));
	ck_assert_uint_eq(called.closes, 1);
}
END_TEST

START_TEST(a_backing_keeps_what_it_was_made_of)
{
	upage_store *store = user_store();
	struct backing *backing = backing_create(store, -0x7000, true);
	struct backing *anonymous = backing_create(NULL, 0, false);
	ck_assert_ptr_eq(backing->store, store);
	ck_assert(backing->shared);
	ck_assert_int_eq(backing_offset(backing, 0x9000), 0x2000);
	ck_assert_ptr_null(anonymous->store);
	ck_assert(!anonymous->shared);
	backing_release(anonymous);
	/* An offset above the address: delta is positive. */
	struct backing *ahead = backing_create(store, (int64_t)1 << 50, false);
	ck_assert_int_eq(backing_offset(ahead, 0x1000), ((off_t)1 << 50) + 0x1000);
	backing_release(ahead);
	backing_release(backing);
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(no_two_backings_are_one)
{
	enum { BACKINGS = 10000 };
	static struct backing *backings[BACKINGS];
	for (int i = 0; i < BACKINGS; i++) {
		backings[i] = backing_create(NULL, i, false);
		must(backings[i] != NULL);
	}
	for (int i = 0; i < BACKINGS; i++)
		must(backings[i]->delta == i);
	for (int i = 0; i < BACKINGS; i++)
		backing_release(backings[i]);
}
END_TEST

START_TEST(a_backing_that_was_released_is_used_again)
{
	backing_release(backing_create(NULL, 0, false));
	size_t metadata = host_metadata_bytes();
	for (int i = 0; i < 100000; i++)
		backing_release(backing_create(NULL, i, false));
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
}
END_TEST

static Suite *store_suite(void)
{
	Suite *suite = suite_create("store");
	TCase *file = tcase_with_directory(suite, "file");
	tcase_add_test(file, a_page_inside_a_file_is_its_bytes);
	tcase_add_loop_test(file, the_rest_of_a_page_at_the_end_of_a_file_is_zero, 0, 5);
	tcase_add_loop_test(file, a_page_wholly_past_the_end_of_a_file_has_no_content, 0, 3);
	tcase_add_loop_test(file, a_write_does_not_lengthen_a_file, 0, 5);
	tcase_add_test(file, a_write_changes_its_page_and_no_other);
	tcase_add_test(file, a_file_that_grew_is_read_to_its_new_end);
	tcase_add_test(file, a_store_opened_for_reading_writes_nothing);
	tcase_add_test(file, what_is_no_regular_file_is_refused);
	tcase_add_test(file, two_stores_of_one_file_are_the_same);
	tcase_add_test(file, a_closed_store_leaves_nothing_open);
	TCase *pipe = tcase_with_directory(suite, "pipe");
	tcase_set_timeout(pipe, 2); /* for opening a file */
	tcase_add_test(pipe, a_named_pipe_is_refused_at_once);

	TCase *user = tcase_with_directory(suite, "user");
	tcase_add_test(user, a_store_of_the_programs_own_is_asked_for_just_the_page);
	tcase_add_loop_test(user, whatever_a_store_of_the_programs_own_says_becomes_an_io_error, 0,
	                    7);
	tcase_add_test(user, a_store_of_the_programs_own_is_closed_once);
	tcase_add_test(user, a_store_that_can_only_read_is_a_store);
	tcase_add_test(user, a_store_without_sense_is_refused);
	tcase_add_test(user, two_stores_of_the_programs_own_are_never_the_same);

	TCase *backing = tcase_with_directory(suite, "backing");
	tcase_add_test(backing, a_store_cannot_be_closed_while_a_backing_lives);
	tcase_add_test(backing, a_backing_keeps_what_it_was_made_of);
	tcase_add_test(backing, no_two_backings_are_one);
	tcase_add_test(backing, a_backing_that_was_released_is_used_again);
	return suite;
}

int main(void)
{
	return run_suite(store_suite());
}
