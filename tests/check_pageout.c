/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_pageout.c - UPAGE_PAGEOUT: what it evicts, what it leaves, and that nothing is lost
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support.h"

#define PAGES 64

static size_t resident(struct machine m, const char *memory, size_t pages)
{
	unsigned char vector[PAGES];
	size_t count = 0;
	ck_assert_uint_le(pages, PAGES);
	ck_assert_ok(upage_residency(m.space, memory, pages * PAGE, vector));
	for (size_t i = 0; i < pages; i++)
		count += vector[i];
	return count;
}

static void fill(char *memory, size_t pages, char seed)
{
	for (size_t i = 0; i < pages; i++)
		memset(memory + i * PAGE, seed + (char)i, PAGE);
}

static void must_hold(const char *memory, size_t pages, char seed)
{
	for (size_t i = 0; i < pages; i++)
		for (size_t k = 0; k < PAGE; k += 100)
			ck_assert_int_eq(((volatile const char *)memory)[i * PAGE + k], (char)(seed + (char)i));
}

START_TEST(all_of_a_range_is_evicted_and_comes_back)
{
	struct machine m = machine_make("memory=1M,prefetch=off");
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	ck_assert_uint_eq(resident(m, memory, PAGES), PAGES);
	ck_assert_ok(upage_advise(m.space, memory + 8 * PAGE, 40 * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(resident(m, memory, 8), 8);
	ck_assert_uint_eq(resident(m, memory + 8 * PAGE, 40), 0);
	ck_assert_uint_eq(resident(m, memory + 48 * PAGE, 16), 16);
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.evictions, 40);
	ck_assert_uint_eq(stats.writebacks, 40);
	ck_assert_uint_eq(stats.swap_slots, 40);
	ck_assert_uint_eq(stats.frames_free, stats.frames - 24);
	must_hold(memory, PAGES, 1);
	ck_assert_uint_eq(machine_stats(m).major, 40);
	/* They were only read since: nothing is written again. */
	ck_assert_ok(upage_advise(m.space, memory, PAGES * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(machine_stats(m).writebacks, 40 + 24);
	ck_assert_uint_eq(resident(m, memory, PAGES), 0);
	ck_assert_ok(upage_advise(m.space, memory, PAGES * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(machine_stats(m).evictions, 40 + 64);
	must_hold(memory, PAGES, 1);
	machine_end(m);
}
END_TEST

START_TEST(zeros_and_pages_never_touched_take_no_slot)
{
	struct machine m = machine_make("memory=1M");
	char *memory = machine_map(m, PAGES, RW);
	memset(memory, 0, 10 * PAGE);
	ck_assert_ok(upage_advise(m.space, memory, PAGES * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(resident(m, memory, PAGES), 0);
	ck_assert_uint_eq(machine_stats(m).swap_slots, 0);
	ck_assert_int_eq(memory[3 * PAGE], 0);
	machine_end(m);
}
END_TEST

/* Pages beside each other take slots beside each other, and few writes. */
START_TEST(pages_beside_each_other_are_written_together)
{
	struct machine m = machine_make("memory=1M");
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	uint64_t before = calls_made("syscw");
	ck_assert_ok(upage_advise(m.space, memory, PAGES * PAGE, UPAGE_PAGEOUT));
	uint64_t calls = calls_made("syscw") - before;
	ck_assert_uint_eq(machine_stats(m).writebacks, PAGES);
	ck_assert_uint_le(calls, PAGES / 8);
	ck_assert_uint_eq(machine_stats(m).frames_free, machine_stats(m).frames);
	must_hold(memory, PAGES, 1);
	/* Of some only: every third is zero, every fourth as it was. */
	for (size_t i = 0; i < PAGES; i++)
		if (i % 3 == 0)
			memset(memory + i * PAGE, 0, PAGE);
		else if (i % 4 != 0)
			memset(memory + i * PAGE, 7, PAGE);
	ck_assert_ok(upage_advise(m.space, memory, PAGES * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(resident(m, memory, PAGES), 0);
	ck_assert_uint_eq(machine_stats(m).swap_slots, PAGES - (PAGES + 2) / 3);
	ck_assert_ok(upage_pool_verify(m.pool));
	for (size_t i = 0; i < PAGES; i++)
		ck_assert_int_eq(memory[i * PAGE + 9], i % 3 == 0 ? 0 : i % 4 != 0 ? 7 : (char)(1 + (char)i));
	machine_end(m);
}
END_TEST

START_TEST(a_shared_file_is_written_to_in_runs)
{
	char name[] = "check_pageout-XXXXXX", byte = 0;
	struct machine m = machine_make("memory=1M");
	int file = mkstemp(name);
	upage_store *store;
	void *shared = NULL;
	ck_assert_int_eq(ftruncate(file, (off_t)(31 * PAGE + 5)), 0); /* the last is not lengthened */
	ck_assert_ok(upage_store_open(&store, name, UPAGE_STORE_WRITABLE));
	unlink(name);
	ck_assert_ok(upage_map(m.space, &shared, 32 * PAGE, RW, UPAGE_MAP_SHARED, store, 0));
	fill(shared, 32, 1);
	uint64_t before = calls_made("syscw");
	ck_assert_ok(upage_advise(m.space, shared, 32 * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_le(calls_made("syscw") - before, 4);
	for (size_t i = 0; i < 32; i++)
		ck_assert(pread(file, &byte, 1, (off_t)(i * PAGE + 4)) == 1 && byte == (char)(i + 1));
	ck_assert_int_eq(pread(file, &byte, 1, (off_t)(31 * PAGE + 5)), 0);
	close(file);
	ck_assert_ok(upage_space_destroy(m.space));
	ck_assert_ok(upage_store_close(store));
	ck_assert_ok(upage_pool_destroy(m.pool));
}
END_TEST

START_TEST(a_pinned_page_stays)
{
	struct machine m = machine_make("memory=1M");
	char *memory = machine_map(m, PAGES, RW);
	int pipes[2];
	ck_assert_int_eq(pipe(pipes), 0);
	fill(memory, PAGES, 1);
	ck_assert_ok(upage_pin(m.space, memory + 5 * PAGE, 3 * PAGE, RW));
	ck_assert_ok(upage_advise(m.space, memory, PAGES * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(resident(m, memory, PAGES), 3);
	ck_assert_uint_eq(resident(m, memory + 5 * PAGE, 3), 3);
	/* Shown all the while: the kernel reaches it. */
	ck_assert_int_eq(write(pipes[1], memory + 5 * PAGE, PAGE), PAGE);
	ck_assert_int_eq(write(pipes[1], memory + 4 * PAGE, 1), -1);
	ck_assert_ok(upage_unpin(m.space, memory + 5 * PAGE, 3 * PAGE));
	must_hold(memory, PAGES, 1);
	close(pipes[0]);
	close(pipes[1]);
	machine_end(m);
}
END_TEST

START_TEST(files_are_written_to_or_read_again)
{
	char name[] = "check_pageout-XXXXXX", byte = 0;
	struct machine m = machine_make("memory=1M");
	int file = mkstemp(name);
	upage_store *store;
	void *shared = NULL, *private = NULL;
	ck_assert_int_eq(ftruncate(file, 16 * PAGE), 0);
	ck_assert_ok(upage_store_open(&store, name, UPAGE_STORE_WRITABLE));
	unlink(name);
	ck_assert_ok(upage_map(m.space, &shared, 8 * PAGE, RW, UPAGE_MAP_SHARED, store, 0));
	ck_assert_ok(upage_map(m.space, &private, 8 * PAGE, RW, 0, store, (off_t)(8 * PAGE)));
	memset(shared, 's', 8 * PAGE);
	ck_assert_int_eq(*(volatile char *)private, 0);
	((char *)private)[PAGE] = 'p';
	ck_assert_ok(upage_advise(m.space, shared, 8 * PAGE, UPAGE_PAGEOUT));
	ck_assert_ok(upage_advise(m.space, private, 8 * PAGE, UPAGE_PAGEOUT));
	ck_assert(pread(file, &byte, 1, 7 * PAGE) == 1 && byte == 's');
	ck_assert(pread(file, &byte, 1, 9 * PAGE) == 1 && byte == 0);
	ck_assert_uint_eq(machine_stats(m).swap_slots, 1);
	ck_assert_uint_eq(machine_stats(m).frames_free, machine_stats(m).frames);
	ck_assert_int_eq(((volatile char *)private)[PAGE], 'p');
	ck_assert_int_eq(((volatile char *)shared)[PAGE], 's');
	close(file);
	ck_assert_ok(upage_space_destroy(m.space));
	ck_assert_ok(upage_store_close(store));
	ck_assert_ok(upage_pool_destroy(m.pool));
}
END_TEST

/* As many pages leave as there are slots; the rest stays, and is said not to have gone. */
START_TEST(without_room_in_swap_pages_stay)
{
	struct machine m = machine_make("memory=1M,swap-size=64K,store=file");
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	ck_assert_int_eq(upage_advise(m.space, memory, PAGES * PAGE, UPAGE_PAGEOUT), UPAGE_ENOSPC);
	ck_assert_uint_eq(machine_stats(m).swap_slots, 16);
	ck_assert_uint_eq(resident(m, memory, PAGES), PAGES - 16);
	ck_assert_ok(upage_pool_verify(m.pool));
	must_hold(memory, PAGES, 1);
	machine_end(m);
}
END_TEST

START_TEST(wrong_ranges_are_refused)
{
	struct machine m = machine_make("memory=1M");
	char *memory = machine_map(m, PAGES, RW);
	ck_assert_int_eq(upage_advise(m.space, memory + 1, PAGE, UPAGE_PAGEOUT), UPAGE_EINVAL);
	ck_assert_int_eq(upage_advise(m.space, memory, 0, UPAGE_PAGEOUT), UPAGE_EINVAL);
	ck_assert_int_eq(upage_advise(m.space, memory, (PAGES + 1) * PAGE, UPAGE_PAGEOUT),
	                 UPAGE_ENOTMAPPED);
	machine_end(m);
}
END_TEST

static _Atomic bool stop;
static char *busy;

struct toucher {
	pthread_t thread;
	unsigned offset, touches;
};

static void *touch(void *argument)
{
	struct toucher *t = argument;
	for (; !atomic_load(&stop); t->touches++) {
		volatile char *byte = busy + t->touches % PAGES * PAGE + t->offset;
		*byte = (char)(*byte + 1);
	}
	return NULL;
}

/* Threads that bring pages back, and count on them. */
START_TEST(pages_in_use_may_be_evicted_at_any_time)
{
	struct machine m = machine_make("memory=128K");
	struct toucher touchers[3] = { { .offset = 0 }, { .offset = 64 }, { .offset = 128 } };
	busy = machine_map(m, PAGES, RW);
	char *kept = machine_map(m, PAGES, RW);
	fill(kept, PAGES, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&touchers[i].thread, NULL, touch, &touchers[i]), 0);
	for (int i = 0; i < 2000; i++)
		ck_assert_ok(upage_advise(m.space, i % 2 ? busy : kept, PAGES * PAGE, UPAGE_PAGEOUT));
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++) {
		pthread_join(touchers[i].thread, NULL);
		ck_assert_uint_gt(touchers[i].touches, 0);
		for (unsigned page = 0; page < PAGES; page++)
			ck_assert_int_eq(busy[page * PAGE + touchers[i].offset],
			                 (char)((touchers[i].touches + PAGES - 1 - page) / PAGES));
	}
	must_hold(kept, PAGES, 3);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pageout");
	TCase *tests = tcase_create("pageout");
	tcase_add_test(tests, all_of_a_range_is_evicted_and_comes_back);
	tcase_add_test(tests, zeros_and_pages_never_touched_take_no_slot);
	tcase_add_test(tests, pages_beside_each_other_are_written_together);
	tcase_add_test(tests, a_shared_file_is_written_to_in_runs);
	tcase_add_test(tests, a_pinned_page_stays);
	tcase_add_test(tests, files_are_written_to_or_read_again);
	tcase_add_test(tests, without_room_in_swap_pages_stay);
	tcase_add_test(tests, wrong_ranges_are_refused);
	tcase_add_test(tests, pages_in_use_may_be_evicted_at_any_time);
	tcase_set_timeout(tests, 100);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
