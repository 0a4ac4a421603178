/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_store.c - does a page come back from where it was put, and touch nothing else?
 *
 * File stores, stores of the program's own, backings, swap slots.
 */
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"
#include "store.h"
#include "support.h"

/* ---- A directory for each test, and what lies in it ------------------------------------ */

static char base[256], directory[300];

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	(void)status, (void)kind, (void)place;
	return remove(path);
}

/* Of a whole test case, in the process that forks: so it is taken away after a crash too. */
static void base_make(void)
{
	const char *parent = getenv("TMPDIR");
	if (parent == NULL || parent[0] == '\0')
		parent = "/tmp";
	snprintf(base, sizeof(base), "%.200s/upage-check-XXXXXX", parent);
	if (mkdtemp(base) == NULL)
		abort();
}

static void base_remove(void)
{
	nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void directory_make(void)
{
	snprintf(directory, sizeof(directory), "%s/XXXXXX", base);
	ck_assert_ptr_nonnull(mkdtemp(directory));
}

static const char *in_directory(const char *name)
{
	static char path[2][512];
	static unsigned turn;
	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", directory, name);
	return path[turn];
}

static char file_byte(size_t offset)
{
	return (char)(offset % 251 + 1); /* never zero */
}

static const char *file_make(const char *name, size_t bytes)
{
	const char *path = in_directory(name);
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	for (size_t i = 0; i < bytes; i++)
		fputc(file_byte(i), file);
	ck_assert_int_eq(fclose(file), 0);
	return path;
}

static size_t file_read_all(const char *name, char *bytes, size_t size)
{
	FILE *file = fopen(in_directory(name), "r");
	ck_assert_ptr_nonnull(file);
	size_t length = fread(bytes, 1, size, file);
	fclose(file);
	return length;
}

static upage_store *store_on(size_t bytes, unsigned flags)
{
	upage_store *store = NULL;
	ck_assert_ok(upage_store_open(&store, file_make("file", bytes), flags));
	ck_assert_ptr_nonnull(store);
	return store;
}

/* ---- Files ----------------------------------------------------------------------------- */

static char page[PAGE];

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

/* ---- Swap: where ----------------------------------------------------------------------- */

/* The descriptor that was opened last: what the swap file has. */
static int newest_descriptor(const bool *before, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!before[i] && fcntl((int)i, F_GETFD) >= 0)
			return (int)i;
	ck_abort_msg("no descriptor was opened");
	return -1;
}

static struct swap *swap_with_descriptor(const char *path, uint64_t bytes, unsigned page_shift,
                                         int *descriptor)
{
	bool before[4096];
	for (int i = 0; i < 4096; i++)
		before[i] = fcntl(i, F_GETFD) >= 0;
	struct swap *swap = NULL;
	const char *used;
	ck_assert_ok(swap_create(&swap, path, bytes, page_shift, &used));
	ck_assert_ptr_nonnull(swap);
	*descriptor = newest_descriptor(before, 4096);
	return swap;
}

static struct swap *swap_make(uint64_t slots)
{
	struct swap *swap = NULL;
	const char *used;
	ck_assert_ok(swap_create(&swap, directory, slots * PAGE, 12, &used));
	return swap;
}

START_TEST(swap_in_a_directory_has_no_name)
{
	int descriptor;
	struct swap *swap = swap_with_descriptor(directory, 64 * PAGE, 12, &descriptor);
	struct stat status, parent;
	ck_assert_uint_eq(entries(directory), 0);
	ck_assert_int_eq(fstat(descriptor, &status), 0);
	ck_assert_int_eq(stat(directory, &parent), 0);
	ck_assert_uint_eq(status.st_nlink, 0);
	ck_assert_uint_eq(status.st_dev, parent.st_dev);
	ck_assert_uint_eq(status.st_mode & 0777, 0600);
	ck_assert_int_ne(fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
	swap_destroy(swap);
	ck_assert_uint_eq(entries(directory), 0);
}
END_TEST

START_TEST(swap_of_a_new_name_loses_it_at_once)
{
	int descriptor;
	struct stat status;
	struct swap *swap = swap_with_descriptor(in_directory("file"), 64 * PAGE, 12, &descriptor);
	ck_assert_uint_eq(entries(directory), 0);
	ck_assert_int_eq(fstat(descriptor, &status), 0);
	ck_assert_uint_eq(status.st_nlink, 0);
	ck_assert_uint_eq(status.st_mode & 0777, 0600);
	ck_assert_int_ne(fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
	swap_destroy(swap);
}
END_TEST

START_TEST(swap_without_a_path_goes_to_tmpdir)
{
	int descriptor;
	char link[64], name[512] = "";
	ck_assert_int_eq(setenv("TMPDIR", directory, 1), 0);
	struct swap *swap = swap_with_descriptor("", 64 * PAGE, 12, &descriptor);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
	ck_assert_int_gt(readlink(link, name, sizeof(name) - 1), 0);
	ck_assert_int_eq(strncmp(name, directory, strlen(directory)), 0);
	swap_destroy(swap);
	const char *used = NULL;
	ck_assert_int_eq(setenv("TMPDIR", "", 1), 0);
	ck_assert_ok(swap_create(&swap, "", 64 * PAGE, 12, &used));
	ck_assert_str_eq(used, "/tmp");
	swap_destroy(swap);
	ck_assert_int_eq(unsetenv("TMPDIR"), 0);
	ck_assert_ok(swap_create(&swap, "", 64 * PAGE, 12, &used));
	ck_assert_str_eq(used, "/tmp");
	swap_destroy(swap);
}
END_TEST

/* Swap at @path is refused with @expected, says which path, and leaves nothing behind. */
static void expect_refused(const char *path, int expected)
{
	struct swap *const untouched = (struct swap *)(void *)page;
	struct swap *swap = untouched;
	const char *used = NULL;
	size_t descriptors = open_descriptors();
	size_t metadata = host_metadata_bytes();
	errno = 1234;
	ck_assert_int_eq(swap_create(&swap, path, 64 * PAGE, 12, &used), expected);
	ck_assert_int_eq(errno, 1234);
	ck_assert_str_eq(used, path);
	ck_assert_ptr_eq(swap, untouched);
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
}

START_TEST(swap_never_overwrites_a_file)
{
	expect_refused(file_make("file", 5000), -EEXIST);
	static char found[8192];
	ck_assert_uint_eq(file_read_all("file", found, sizeof(found)), 5000);
	for (size_t i = 0; i < 5000; i++)
		must(found[i] == file_byte(i));
	ck_assert_uint_eq(entries(directory), 1);
}
END_TEST

START_TEST(swap_in_a_directory_that_is_missing_is_refused)
{
	expect_refused(in_directory("none/file"), -ENOENT);
	file_make("file", 1);
	expect_refused(in_directory("file/file"), -ENOTDIR);
	ck_assert_uint_eq(entries(directory), 1);
}
END_TEST

START_TEST(swap_does_not_follow_a_link_to_nowhere)
{
	ck_assert_int_eq(symlink("other", in_directory("link")), 0);
	expect_refused(in_directory("link"), -EEXIST);
	ck_assert_int_eq(access(in_directory("other"), F_OK), -1);
}
END_TEST

/* None of the machine's devices here: a library that is broken would unlink it. */
START_TEST(swap_on_what_is_neither_disk_nor_directory_is_refused)
{
	ck_assert_int_eq(mkfifo(in_directory("fifo"), 0600), 0);
	expect_refused(in_directory("fifo"), -EEXIST);
	ck_assert_int_eq(access(in_directory("fifo"), F_OK), 0);
}
END_TEST

START_TEST(swap_that_was_destroyed_leaves_nothing)
{
	size_t descriptors = open_descriptors();
	size_t metadata = host_metadata_bytes();
	struct swap *swap = swap_make(1000);
	ck_assert_uint_eq(open_descriptors(), descriptors + 1);
	swap_destroy(swap);
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
	ck_assert_uint_eq(entries(directory), 0);
}
END_TEST

/* The map of unlimited swap is 128 MiB of address space; the rest fits into 16 MiB. */
START_TEST(swap_without_room_for_its_map_leaves_nothing)
{
	size_t descriptors = open_descriptors();
	size_t metadata = host_metadata_bytes();
	struct rlimit saved, low;
	ck_assert_int_eq(getrlimit(RLIMIT_AS, &saved), 0);
	low = saved;
	low.rlim_cur = process_size().address_space * PAGE + (16 << 20);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &low), 0);
	struct swap *swap = NULL;
	const char *used;
	int result = swap_create(&swap, directory, 0, 12, &used);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &saved), 0);
	ck_assert_int_eq(result, UPAGE_ENOMEM);
	ck_assert_ptr_null(swap);
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
}
END_TEST

/* ---- Swap: slots ----------------------------------------------------------------------- */

START_TEST(a_limit_gives_just_so_many_slots)
{
	static const uint64_t limits[] = { 1, 63, 64, 65, 1000, 4097 };
	uint64_t limit = limits[_i];
	bool *taken = calloc(limit, sizeof(*taken));
	struct swap *swap = swap_make(limit);
	ck_assert_uint_eq(swap_slots(swap), limit);
	ck_assert_uint_eq(swap_used(swap), 0);
	for (uint64_t i = 0; i < limit; i++) {
		must(!swap_is_full(swap));
		uint32_t slot = swap_allocate(swap, SWAP_NONE);
		must(slot < limit && !taken[slot]);
		taken[slot] = true;
		must(swap_used(swap) == i + 1);
	}
	ck_assert(swap_is_full(swap));
	ck_assert_uint_eq(swap_allocate(swap, SWAP_NONE), SWAP_NONE);
	ck_assert_uint_eq(swap_allocate(swap, 0), SWAP_NONE);
	ck_assert_uint_eq(swap_used(swap), limit);
	/* The one that comes free is the one that is had. */
	uint32_t middle = (uint32_t)(limit / 2);
	swap_free(swap, middle);
	ck_assert(!swap_is_full(swap));
	ck_assert_uint_eq(swap_allocate(swap, SWAP_NONE), middle);
	for (uint32_t slot = 0; slot < limit; slot++)
		swap_free(swap, slot);
	swap_destroy(swap);
	free(taken);
}
END_TEST

START_TEST(a_part_of_a_page_is_no_slot)
{
	struct swap *swap = NULL;
	const char *used;
	ck_assert_ok(swap_create(&swap, directory, 3 * PAGE + PAGE - 1, 12, &used));
	ck_assert_uint_eq(swap_slots(swap), 3);
	swap_destroy(swap);
	ck_assert_ok(swap_create(&swap, directory, 3 << 21, 21, &used));
	ck_assert_uint_eq(swap_slots(swap), 3);
	swap_destroy(swap);
}
END_TEST

START_TEST(swap_without_a_limit_goes_on_past_a_million_slots)
{
	struct swap *swap = NULL;
	const char *used;
	ck_assert_ok(swap_create(&swap, directory, 0, 12, &used));
	ck_assert_uint_gt(swap_slots(swap), 1 << 20);
	ck_assert_uint_lt(swap_slots(swap), SWAP_NONE);
	uint32_t far = swap_allocate(swap, (1 << 20) + 5);
	ck_assert_uint_eq(far, (1 << 20) + 5);
	ck_assert(!swap_is_full(swap));
	swap_free(swap, far);
	swap_destroy(swap);
}
END_TEST

START_TEST(a_slot_has_one_owner_in_a_long_life)
{
	static const uint64_t limits[] = { 100, 1000, 8192 };
	uint64_t limit = limits[_i], random = 3, count = 0;
	bool *taken = calloc(limit, sizeof(*taken));
	uint32_t *slots = calloc(limit, sizeof(*slots));
	struct swap *swap = swap_make(limit);
	for (unsigned step = 0; step < 100000; step++) {
		bool take = random_number(&random) % 8 < (step / 10000 % 2 == 0 ? 6 : 2);
		if (count == 0 || (take && random_number(&random) % 50 != 0)) {
			uint32_t near = random_number(&random) % 2 == 0
			                        ? SWAP_NONE
			                        : (uint32_t)(random_number(&random) % (limit + 10));
			uint32_t slot = swap_allocate(swap, near);
			must((slot == SWAP_NONE) == (count == limit));
			if (slot == SWAP_NONE)
				continue;
			must(slot < limit && !taken[slot]);
			must(near >= limit || taken[near] || slot == near);
			taken[slot] = true;
			slots[count++] = slot;
		} else {
			uint64_t which = random_number(&random) % count;
			uint32_t slot = slots[which];
			slots[which] = slots[--count];
			taken[slot] = false;
			swap_free(swap, slot);
		}
		must(swap_used(swap) == count);
	}
	while (count > 0)
		swap_free(swap, slots[--count]);
	ck_assert_uint_eq(swap_used(swap), 0);
	swap_destroy(swap);
	free(taken);
	free(slots);
}
END_TEST

START_TEST(the_slot_that_is_wanted_is_given_if_it_is_free)
{
	struct swap *swap = swap_make(1000);
	ck_assert_uint_eq(swap_allocate(swap, 777), 777);
	ck_assert_uint_eq(swap_allocate(swap, 778), 778);
	uint32_t other = swap_allocate(swap, 777);
	ck_assert_uint_lt(other, 1000);
	ck_assert_uint_ne(other, 777);
	ck_assert_uint_ne(other, 778);
	uint32_t past = swap_allocate(swap, 1000); /* of the last slot's neighbour */
	ck_assert_uint_lt(past, 1000);
	swap_free(swap, 777);
	swap_free(swap, 778);
	swap_free(swap, other);
	swap_free(swap, past);
	swap_destroy(swap);
}
END_TEST

START_TEST(pages_that_leave_one_after_another_lie_one_after_another)
{
	struct swap *swap = swap_make(1000);
	uint32_t first = swap_allocate(swap, SWAP_NONE);
	for (uint32_t i = 1; i < 200; i++)
		ck_assert_uint_eq(swap_allocate(swap, SWAP_NONE), first + i);
	for (uint32_t i = 0; i < 200; i++)
		swap_free(swap, first + i);
	swap_destroy(swap);
}
END_TEST

#define THREADS 4

static struct swap *shared_swap;
static _Atomic unsigned owner[512];

static void *take_and_give(void *argument)
{
	uint64_t random = (uintptr_t)argument, clashes = 0;
	uint32_t mine[100];
	unsigned held = 0;
	for (unsigned i = 0; i < 5000 || held > 0; i++) {
		if (i < 5000 && held < 100 && random_number(&random) % 2 == 0) {
			uint32_t near = held > 0 ? mine[held - 1] + 1 : SWAP_NONE;
			uint32_t slot = swap_allocate(shared_swap, near);
			clashes += slot >= 512 || atomic_exchange(&owner[slot], 1) != 0;
			mine[held++] = slot;
		} else if (held > 0) {
			unsigned which = (unsigned)(random_number(&random) % held);
			uint32_t slot = mine[which];
			mine[which] = mine[--held];
			atomic_store(&owner[slot], 0);
			swap_free(shared_swap, slot);
		}
	}
	return (void *)(uintptr_t)clashes;
}

START_TEST(no_two_threads_get_the_same_slot)
{
	pthread_t threads[THREADS];
	shared_swap = swap_make(512);
	for (uintptr_t t = 0; t < THREADS; t++) {
		void *seed = (void *)(t + 1);
		ck_assert_int_eq(pthread_create(&threads[t], NULL, take_and_give, seed), 0);
	}
	for (unsigned t = 0; t < THREADS; t++) {
		void *clashes;
		ck_assert_int_eq(pthread_join(threads[t], &clashes), 0);
		ck_assert_ptr_null(clashes);
	}
	ck_assert_uint_eq(swap_used(shared_swap), 0);
	swap_destroy(shared_swap);
}
END_TEST

/* ---- Swap: content --------------------------------------------------------------------- */

static void pattern(char *bytes, size_t length, uint64_t seed)
{
	for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
		uint64_t number = random_number(&seed);
		memcpy(bytes + i, &number, sizeof(number));
	}
}

START_TEST(a_slot_gives_back_its_page)
{
	static const unsigned shifts[] = { 12, 16, 21 };
	size_t size = (size_t)1 << shifts[_i];
	char *written = malloc(size), *found = malloc(size);
	struct swap *swap = NULL;
	const char *used;
	ck_assert_ok(swap_create(&swap, directory, 16 * size, shifts[_i], &used));
	for (uint32_t slot = 0; slot < 8; slot++) {
		ck_assert_uint_eq(swap_allocate(swap, slot), slot);
		pattern(written, size, slot);
		ck_assert_ok(swap_transfer(swap, STORE_WRITE, slot, written));
	}
	for (uint32_t slot = 8; slot-- > 0;) {
		pattern(written, size, slot);
		ck_assert_ok(swap_transfer(swap, STORE_READ, slot, found));
		ck_assert_mem_eq(found, written, size);
		swap_free(swap, slot);
	}
	swap_destroy(swap);
	free(written);
	free(found);
}
END_TEST

/* Slots come free in random order, stretches are punched out: what is still owned stays. */
START_TEST(a_page_in_swap_outlives_the_punching_around_it)
{
	enum { SLOTS = 320 };
	uint64_t random = 9, seeds[SLOTS] = { 0 };
	static char found[PAGE];
	struct swap *swap = swap_make(SLOTS);
	for (unsigned step = 0; step < 20000; step++) {
		uint32_t slot = (uint32_t)(random_number(&random) % SLOTS);
		if (seeds[slot] == 0) {
			/* Few stretches are in use at a time, so that most empty out often. */
			if (slot / 64 != step / 100 % 5 && random_number(&random) % 40 != 0)
				continue;
			must(swap_allocate(swap, slot) == slot);
			seeds[slot] = step + 1;
			pattern(page, PAGE, seeds[slot]);
			must(swap_transfer(swap, STORE_WRITE, slot, page) == 0);
		} else {
			pattern(page, PAGE, seeds[slot]);
			must(swap_transfer(swap, STORE_READ, slot, found) == 0);
			must(memcmp(found, page, PAGE) == 0);
			seeds[slot] = 0;
			swap_free(swap, slot);
		}
	}
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		if (seeds[slot] != 0)
			swap_free(swap, slot);
	swap_destroy(swap);
}
END_TEST

static blkcnt_t blocks_of(int descriptor)
{
	struct stat status;
	ck_assert_int_eq(fsync(descriptor), 0);
	ck_assert_int_eq(fstat(descriptor, &status), 0);
	return status.st_blocks;
}

/* Whether the file system can: tried where nothing is. */
static bool can_punch(int descriptor)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	return fallocate(descriptor, mode, 1 << 30, 4096) == 0;
}

START_TEST(a_stretch_of_slots_that_is_all_free_gives_its_medium_back)
{
	int descriptor;
	struct swap *swap = swap_with_descriptor(directory, 1000 * PAGE, 12, &descriptor);
	static char found[PAGE];
	pattern(page, PAGE, 1);
	for (uint32_t slot = 0; slot < 192; slot++) {
		ck_assert_uint_eq(swap_allocate(swap, slot), slot);
		ck_assert_ok(swap_transfer(swap, STORE_WRITE, slot, page));
	}
	blkcnt_t full = blocks_of(descriptor);
	for (uint32_t slot = 64; slot < 127; slot++)
		swap_free(swap, slot);
	ck_assert_int_eq(blocks_of(descriptor), full); /* one slot of the stretch is still taken */
	swap_free(swap, 127);
	if (can_punch(descriptor)) /* or it is a file system that cannot */
		ck_assert_int_le(blocks_of(descriptor), full - 64 * 8 + 16);
	for (uint32_t slot = 0; slot < 192; slot++) {
		if (slot / 64 == 1)
			continue;
		ck_assert_ok(swap_transfer(swap, STORE_READ, slot, found));
		ck_assert_mem_eq(found, page, PAGE);
	}
	for (uint32_t slot = 0; slot < 192; slot++)
		if (slot / 64 != 1)
			swap_free(swap, slot);
	swap_destroy(swap);
}
END_TEST

START_TEST(swap_on_a_medium_without_room_is_full_until_a_slot_comes_free)
{
	int descriptor, full = open("/dev/full", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(full, 0);
	struct swap *swap = swap_with_descriptor(directory, 100 * PAGE, 12, &descriptor);
	int medium = dup(descriptor);
	uint32_t first = swap_allocate(swap, SWAP_NONE), second = swap_allocate(swap, SWAP_NONE);
	ck_assert_ok(swap_transfer(swap, STORE_WRITE, first, page));
	ck_assert(!swap_is_full(swap));
	ck_assert_int_eq(dup2(full, descriptor), descriptor);
	ck_assert_int_eq(swap_transfer(swap, STORE_WRITE, second, page), -ENOSPC);
	ck_assert(swap_is_full(swap));
	swap_free(swap, second);
	ck_assert(!swap_is_full(swap));
	second = swap_allocate(swap, SWAP_NONE);
	ck_assert_int_eq(swap_transfer(swap, STORE_WRITE, second, page), -ENOSPC);
	ck_assert(swap_is_full(swap));
	ck_assert_int_eq(dup2(medium, descriptor), descriptor); /* somebody made room */
	ck_assert_ok(swap_transfer(swap, STORE_WRITE, second, page));
	ck_assert(!swap_is_full(swap));
	swap_free(swap, first);
	swap_free(swap, second);
	swap_destroy(swap);
}
END_TEST

static TCase *tcase_with_directory(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);
	tcase_add_unchecked_fixture(tcase, base_make, base_remove);
	tcase_add_checked_fixture(tcase, directory_make, NULL);
	suite_add_tcase(suite, tcase);
	return tcase;
}

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

static void add_swap(Suite *suite)
{
	TCase *where = tcase_with_directory(suite, "where");
	tcase_add_test(where, swap_in_a_directory_has_no_name);
	tcase_add_test(where, swap_of_a_new_name_loses_it_at_once);
	tcase_add_test(where, swap_without_a_path_goes_to_tmpdir);
	tcase_add_test(where, swap_never_overwrites_a_file);
	tcase_add_test(where, swap_in_a_directory_that_is_missing_is_refused);
	tcase_add_test(where, swap_does_not_follow_a_link_to_nowhere);
	tcase_add_test(where, swap_on_what_is_neither_disk_nor_directory_is_refused);
	tcase_add_test(where, swap_that_was_destroyed_leaves_nothing);
	tcase_add_test(where, swap_without_room_for_its_map_leaves_nothing);

	TCase *slots = tcase_with_directory(suite, "slots");
	tcase_set_timeout(slots, 60);
	tcase_add_loop_test(slots, a_limit_gives_just_so_many_slots, 0, 6);
	tcase_add_test(slots, a_part_of_a_page_is_no_slot);
	tcase_add_test(slots, swap_without_a_limit_goes_on_past_a_million_slots);
	tcase_add_loop_test(slots, a_slot_has_one_owner_in_a_long_life, 0, 3);
	tcase_add_test(slots, the_slot_that_is_wanted_is_given_if_it_is_free);
	tcase_add_test(slots, pages_that_leave_one_after_another_lie_one_after_another);
	tcase_add_test(slots, no_two_threads_get_the_same_slot);

	TCase *content = tcase_with_directory(suite, "content");
	tcase_set_timeout(content, 60);
	tcase_add_loop_test(content, a_slot_gives_back_its_page, 0, 3);
	tcase_add_test(content, a_page_in_swap_outlives_the_punching_around_it);
	tcase_add_test(content, a_stretch_of_slots_that_is_all_free_gives_its_medium_back);
	tcase_add_test(content, swap_on_a_medium_without_room_is_full_until_a_slot_comes_free);
}

int main(void)
{
	Suite *suite = store_suite();
	add_swap(suite);
	return run_suite(suite);
}
