/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_bad_stores.c - are stores that cannot be refused, and what of those that fail?
 */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "support_refusal.h"

static void refused_open(const char *path, unsigned flags, int code)
{
	upage_store *store = UNTOUCHED;
	size_t descriptors = open_descriptors();
	ck_assert_code(upage_store_open(&store, path, flags), code);
	ck_assert_ptr_eq(store, UNTOUCHED);
	ck_assert_uint_eq(open_descriptors(), descriptors);
}

START_TEST(a_file_that_is_not_there_is_refused)
{
	refused_open("/no/such/file", 0, -ENOENT);
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused)
{
	refused_open("/", 0, UPAGE_EINVAL);
	refused_open("/dev/zero", 0, UPAGE_EINVAL);
	refused_open("/dev/zero", UPAGE_STORE_WRITABLE, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_pipe_is_refused_without_waiting_for_a_writer)
{
	char path[200];
	temporary_name(path, sizeof(path));
	close(mkstemp(path));
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	pid_t guard = fork(); /* who waits would wait forever */
	if (guard == 0) {
		signal(SIGALRM, SIG_DFL); /* libcheck's own would end the test itself */
		alarm(5);
		upage_store *store;
		_exit(upage_store_open(&store, path, 0) == UPAGE_EINVAL ? 0 : 1);
	}
	int status;
	waitpid(guard, &status, 0);
	unlink(path);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(unknown_flags_of_a_store_are_refused)
{
	refused_open("/proc/self/exe", 1u << 1, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_file_store_without_path_or_place_is_refused)
{
	refused_open(NULL, 0, UPAGE_EINVAL);
	ck_assert_code(upage_store_open(NULL, "/proc/self/exe", 0), UPAGE_EINVAL);
}
END_TEST

START_TEST(a_store_of_functions_that_lacks_some_is_refused)
{
	struct upage_store_ops ops = medium_ops;
	upage_store *store = UNTOUCHED;
	ops.read = NULL;
	ck_assert_code(upage_store_create(&store, &ops, NULL), UPAGE_EINVAL);
	ck_assert_code(upage_store_create(&store, NULL, NULL), UPAGE_EINVAL);
	ck_assert_code(upage_store_create(NULL, &medium_ops, NULL), UPAGE_EINVAL);
	ck_assert_ptr_eq(store, UNTOUCHED);
}
END_TEST

START_TEST(a_store_of_functions_of_wrong_size_is_refused)
{
	struct upage_store_ops ops = medium_ops;
	upage_store *store = UNTOUCHED;
	ops.size = sizeof(ops) + 1;
	ck_assert_code(upage_store_create(&store, &ops, NULL), UPAGE_E2BIG);
	ops.size = 0;
	ck_assert_code(upage_store_create(&store, &ops, NULL), UPAGE_EINVAL);
	ck_assert_ptr_eq(store, UNTOUCHED);
}
END_TEST

START_TEST(an_offset_that_is_no_page_is_refused)
{
	upage_store *store = medium_store(true);
	refused_map(NULL, PAGE, RW, 0, store, 100, UPAGE_EINVAL);
	refused_map(NULL, PAGE, RW, 0, store, -(off_t)PAGE, UPAGE_EINVAL);
	ck_assert_ok(upage_store_close(store)); /* and it is not held */
}
END_TEST

START_TEST(an_offset_that_overflows_is_refused)
{
	upage_store *store = medium_store(true);
	off_t last = (off_t)(INT64_MAX - (int64_t)PAGE + 1);
	refused_map(NULL, PAGE, RW, 0, store, last, UPAGE_EOVERFLOW);
	refused_map(NULL, 2 * PAGE, RW, UPAGE_MAP_SHARED, store, last, UPAGE_EOVERFLOW);
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_read_only_store_is_not_mapped_writable_and_shared)
{
	upage_store *store = _i == 0 ? medium_store(false) : file_store(4096, 0);
	refused_map(NULL, PAGE, RW, UPAGE_MAP_SHARED, store, 0, UPAGE_EACCES);
	char *private = map_store(store, 1, RW, 0);
	*private = 1; /* which is no business of the store's */
	ck_assert_ok(upage_unmap(machine.space, private, PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_read_only_shared_mapping_is_not_made_writable)
{
	upage_store *store = medium_store(false);
	char *shared = map_store(store, 4, PROT_READ, UPAGE_MAP_SHARED);
	ck_assert_refused(upage_protect(machine.space, shared + PAGE, PAGE, RW), UPAGE_EACCES);
	enum upage_cause cause = upage_translate(machine.space, shared, PROT_READ, NULL);
	ck_assert_int_eq(cause, UPAGE_CAUSE_NOT_MAPPED); /* not brought in */
	ck_assert_ok(upage_unmap(machine.space, shared, 4 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_part_of_a_store_is_not_shared_mapped_twice)
{
	upage_store *store = medium_store(true);
	char *shared = map_store(store, 4, RW, UPAGE_MAP_SHARED);
	refused_map(NULL, PAGE, RW, UPAGE_MAP_SHARED, store, 0, UPAGE_EBUSY);
	refused_map(NULL, 2 * PAGE, PROT_READ, UPAGE_MAP_SHARED, store, 3 * (off_t)PAGE,
	            UPAGE_EBUSY);
	void *behind = NULL;
	ck_assert_ok(upage_map(machine.space, &behind, PAGE, RW, UPAGE_MAP_SHARED, store,
	                       4 * (off_t)PAGE));
	ck_assert_ok(upage_unmap(machine.space, behind, PAGE));
	ck_assert_ok(upage_unmap(machine.space, shared, 4 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_file_opened_twice_is_not_shared_mapped_twice)
{
	char path[200];
	upage_store *first, *second;
	temporary_name(path, sizeof(path));
	int file = mkstemp(path);
	ck_assert_int_eq(ftruncate(file, 8192), 0);
	ck_assert_ok(upage_store_open(&first, path, UPAGE_STORE_WRITABLE));
	ck_assert_ok(upage_store_open(&second, path, UPAGE_STORE_WRITABLE));
	char *shared = map_store(first, 2, RW, UPAGE_MAP_SHARED);
	refused_map(NULL, PAGE, RW, UPAGE_MAP_SHARED, second, (off_t)PAGE, UPAGE_EBUSY);
	ck_assert_ok(upage_unmap(machine.space, shared, 2 * PAGE));
	shared = map_store(second, 2, RW, UPAGE_MAP_SHARED);
	ck_assert_ok(upage_unmap(machine.space, shared, 2 * PAGE));
	ck_assert_ok(upage_store_close(first));
	ck_assert_ok(upage_store_close(second));
	unlink(path);
	close(file);
}
END_TEST

START_TEST(a_mapped_store_is_not_closed)
{
	upage_store *store = medium_store(true);
	char *pages = map_store(store, 4, RW, 0);
	ck_assert_refused(upage_store_close(store), UPAGE_EBUSY);
	ck_assert_ok(upage_unmap(machine.space, pages, 2 * PAGE));
	ck_assert_refused(upage_store_close(store), UPAGE_EBUSY);
	ck_assert_int_eq(medium.closed, 0);
	ck_assert_ok(upage_unmap(machine.space, pages + 2 * PAGE, 2 * PAGE));
	ck_assert_ok(upage_store_close(store));
	ck_assert_int_eq(medium.closed, 1);
}
END_TEST

static int drop(upage_space *space, void *address, size_t length)
{
	return upage_advise(space, address, length, UPAGE_DONTNEED);
}

static int destroy_space(upage_space *space, void *address, size_t length)
{
	(void)address, (void)length;
	return upage_space_destroy(space);
}

/* What cannot be written is neither lost nor called clean. */
START_TEST(a_store_that_cannot_write_keeps_the_data_mapped)
{
	static int (*const calls[])(upage_space *, void *, size_t) = { upage_sync, upage_unmap, drop,
		                                                       destroy_space };
	upage_store *store = medium_store(true);
	char *shared = map_store(store, 4, RW, UPAGE_MAP_SHARED);
	memset(shared, 's', 4 * PAGE);
	medium.write_result = -EIO;
	ck_assert_code(calls[_i](machine.space, shared, 4 * PAGE), UPAGE_EIO);
	ck_assert_ok(upage_pool_verify(machine.pool));
	ck_assert_int_eq(medium.bytes[0], 0);
	ck_assert_int_eq(shared[3 * PAGE], 's');
	shared[PAGE] = 't';
	medium.write_result = 0;
	ck_assert_ok(upage_unmap(machine.space, shared, 4 * PAGE));
	ck_assert_int_eq(medium.bytes[0], 's');
	ck_assert_int_eq(medium.bytes[PAGE], 't');
	ck_assert_int_eq(medium.bytes[4 * PAGE - 1], 's');
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_medium_that_cannot_be_flushed_is_reported)
{
	upage_store *store = medium_store(true);
	char *shared = map_store(store, 1, RW, UPAGE_MAP_SHARED);
	*shared = 's';
	medium.sync_result = -EIO;
	ck_assert_code(upage_sync(machine.space, shared, PAGE), UPAGE_EIO);
	medium.sync_result = 0;
	ck_assert_ok(upage_sync(machine.space, shared, PAGE));
	ck_assert_ok(upage_unmap(machine.space, shared, PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_page_that_cannot_be_read_is_not_pinned)
{
	upage_store *store = medium_store(true);
	char *pages = map_store(store, 4, RW, 0);
	pages[0] = 1; /* one is resident, the next cannot be */
	medium.read_result = -EIO;
	ck_assert_refused(upage_pin(machine.space, pages, 2 * PAGE, RW), UPAGE_EIO);
	medium.read_result = 0;
	ck_assert_ok(upage_pin(machine.space, pages, 2 * PAGE, RW));
	ck_assert_ok(upage_unpin(machine.space, pages, 2 * PAGE));
	ck_assert_ok(upage_unmap(machine.space, pages, 4 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_page_past_the_end_of_a_file_is_not_pinned)
{
	upage_store *store = file_store(100, 0);
	char *pages = map_store(store, 2, PROT_READ, 0);
	ck_assert_code(upage_pin(machine.space, pages, 2 * PAGE, PROT_READ), UPAGE_EIO);
	ck_assert_uint_eq(machine_stats(machine).frames_pinned, 0);
	ck_assert_ok(upage_unmap(machine.space, pages, 2 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bad_stores");
	TCase *in_scene = tcase_in_scene(suite);
	tcase_add_test(in_scene, a_file_that_is_not_there_is_refused);
	tcase_add_test(in_scene, what_is_no_regular_file_is_refused);
	tcase_add_test(in_scene, a_pipe_is_refused_without_waiting_for_a_writer);
	tcase_add_test(in_scene, unknown_flags_of_a_store_are_refused);
	tcase_add_test(in_scene, a_file_store_without_path_or_place_is_refused);
	tcase_add_test(in_scene, a_store_of_functions_that_lacks_some_is_refused);
	tcase_add_test(in_scene, a_store_of_functions_of_wrong_size_is_refused);
	tcase_add_test(in_scene, an_offset_that_is_no_page_is_refused);
	tcase_add_test(in_scene, an_offset_that_overflows_is_refused);
	tcase_add_loop_test(in_scene, a_read_only_store_is_not_mapped_writable_and_shared, 0, 2);
	tcase_add_test(in_scene, a_read_only_shared_mapping_is_not_made_writable);
	tcase_add_test(in_scene, a_part_of_a_store_is_not_shared_mapped_twice);
	tcase_add_test(in_scene, a_file_opened_twice_is_not_shared_mapped_twice);
	tcase_add_test(in_scene, a_mapped_store_is_not_closed);
	tcase_add_loop_test(in_scene, a_store_that_cannot_write_keeps_the_data_mapped, 0, 4);
	tcase_add_test(in_scene, a_medium_that_cannot_be_flushed_is_reported);
	tcase_add_test(in_scene, a_page_that_cannot_be_read_is_not_pinned);
	tcase_add_test(in_scene, a_page_past_the_end_of_a_file_is_not_pinned);
	return run_suite(suite);
}
