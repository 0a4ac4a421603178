/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_mapping_limit.c - a process that has all the mappings that the host allows
 *
 * Other mappings than the pool's crowd the process, until the host refuses every call of mmap(2). Memory is free, and
 * pages come, go and change as before: nothing fails, hangs, or has another page's content. What a process needs to do
 * anything else (threads, files) is made before.
 *
 * Or the program takes each mapping that becomes free, as soon as it has the processor.
 *
 * Loops are over both ways of mapping; what only one of them has says so itself.
 */
#include <pthread.h>
#include <time.h>

#include "support_fork.h"

#define SPREAD 3000 /* pages of which none has a neighbour: 6,000 mappings, in frames */
#define BUDGET ",mapping-budget=8000"

static const char *const ways[] = { "mapping=remap", "mapping=guard" };

/* A pool as @words say, mapped in one of the ways; a host that has none is told by the first. */
static struct machine machine_in_way(int way, const char *words)
{
	char all[200];
	snprintf(all, sizeof(all), "%s,%s", words, ways[way]);
	return machine_make(machine_can_be(all) ? all : words);
}

static uint64_t *word_of(char *memory, size_t page)
{
	return (uint64_t *)(void *)(memory + page * PAGE);
}

static void write_each(char *memory, size_t from, size_t end, size_t step, uint64_t add)
{
	for (size_t page = from; page < end; page += step)
		*(volatile uint64_t *)word_of(memory, page) = page + add;
}

static void expect_each(char *memory, size_t from, size_t end, size_t step, uint64_t add)
{
	for (size_t page = from; page < end; page += step)
		must(*(volatile uint64_t *)word_of(memory, page) == page + add);
}

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Without it there is nothing to be tested here. */
static void must_crowd(struct crowd *crowd)
{
	ck_assert(crowd_begin(crowd));
}

/* ---- Pages that come and go ----------------------------------------------------------------- */

/* Some that lie apart are there already. Twice: what was given up for the first time is there for the second. */
START_TEST(pages_come_in_beside_a_crowd)
{
	struct machine m = machine_in_way(_i, "memory=64M,prefetch=off" BUDGET);
	char *memory = machine_map(m, 8 * SPREAD, RW);
	struct crowd crowd;
	write_each(memory, 0, 2 * SPREAD, 2, 1);
	for (size_t round = 1; round < 3; round++) {
		size_t from = 2 * round * SPREAD, end = from + 2 * SPREAD;
		must_crowd(&crowd);
		write_each(memory, from, end, 2, 1);
		expect_each(memory, 0, end, 2, 1);
		crowd_end(&crowd);
		expect_each(memory, 0, end, 2, 1);
		ck_assert_ok(upage_pool_verify(m.pool));
	}
	ck_assert_uint_eq(machine_stats(m).failed, 0);
	ck_assert_uint_eq(machine_stats(m).evictions, 0);
	machine_end(m);
}
END_TEST

/* Nothing is, or one run, which takes a mapping or two: there is nothing to be hidden that would make room. */
START_TEST(the_first_pages_come_in_beside_a_crowd)
{
	for (size_t run = 0; run <= 2000; run += 2000) {
		struct machine m = machine_in_way(_i, "memory=64M" BUDGET);
		char *memory = machine_map(m, 8 * SPREAD, RW), *apart = memory + 4000 * PAGE;
		struct crowd crowd;
		write_each(memory, 0, run, 1, 1);
		must_crowd(&crowd);
		write_each(apart, 0, 2 * SPREAD, 2, 1);
		expect_each(apart, 0, 2 * SPREAD, 2, 1);
		expect_each(memory, 0, run, 1, 1);
		write_each(memory, 0, run, 3, 2);
		crowd_end(&crowd);
		ck_assert_uint_eq(machine_stats(m).failed, 0);
		machine_end(m);
	}
}
END_TEST

/* Once there is room again, it is used: nothing is hidden any more. */
START_TEST(when_the_crowd_has_gone_all_is_shown_again)
{
	struct machine m = machine_in_way(_i, "memory=64M,prefetch=off" BUDGET);
	char *memory = machine_map(m, 2 * SPREAD, RW);
	struct crowd crowd;
	must_crowd(&crowd);
	write_each(memory, 0, 2 * SPREAD, 2, 1);
	crowd_end(&crowd);
	for (size_t round = 0; round < 100; round++)
		expect_each(memory, 0, 2 * SPREAD, 2, 1);
	uint64_t soft = machine_stats(m).soft;
	expect_each(memory, 0, 2 * SPREAD, 2, 1);
	ck_assert_uint_eq(machine_stats(m).soft, soft);
	machine_end(m);
}
END_TEST

/* Sixteen frames; many that lie beside each other, or apart. */
START_TEST(pages_leave_beside_a_crowd)
{
	static const char *const memories[] = { "memory=64K", "memory=4M" };
	for (size_t i = 0; i < LENGTH(memories); i++) {
		struct machine m = machine_in_way(_i, memories[i]);
		char *memory = machine_map(m, 4000, RW);
		struct crowd crowd;
		uint64_t random = 1;
		write_each(memory, 0, 4000, 1, 1);
		must_crowd(&crowd);
		expect_each(memory, 0, 4000, 1, 1);
		for (size_t n = 0; n < 20000; n++) {
			size_t page = random_number(&random) % 4000;
			must(*(volatile uint64_t *)word_of(memory, page) == page + 1);
			*(volatile uint64_t *)word_of(memory, page) = page + 1;
		}
		crowd_end(&crowd);
		ck_assert_uint_gt(machine_stats(m).evictions, 1000);
		ck_assert_uint_eq(machine_stats(m).failed, 0);
		machine_end(m);
	}
}
END_TEST

/* ---- Threads -------------------------------------------------------------------------------- */

#define THREADS 4

static struct {
	pthread_barrier_t barrier;
	char *memory;
	size_t pages;
	_Atomic bool wrong;
} common;

/* Word @number of each page is this thread's. */
static void *work(void *argument)
{
	uint64_t number = (uint64_t)(uintptr_t)argument, random = number;
	pthread_barrier_wait(&common.barrier);
	for (unsigned i = 0; i < 5000; i++) {
		size_t page = random_number(&random) % (common.pages / 2) * 2;
		volatile uint64_t *word = word_of(common.memory, page) + 8 * number;
		if (*word != 0 && *word != page + number + 1)
			common.wrong = true;
		*word = page + number + 1;
	}
	return NULL;
}

START_TEST(threads_go_on_beside_a_crowd)
{
	for (int few = 0; few < 2; few++) {
		struct machine m = machine_in_way(_i, few ? "memory=64K" : "memory=64M,prefetch=off" BUDGET);
		pthread_t threads[THREADS];
		struct crowd crowd;
		common.pages = few ? 500 : 2 * SPREAD;
		common.memory = machine_map(m, common.pages, RW);
		pthread_barrier_init(&common.barrier, NULL, THREADS + 1);
		for (uintptr_t i = 0; i < THREADS; i++)
			ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *)i), 0);
		must_crowd(&crowd);
		pthread_barrier_wait(&common.barrier);
		for (size_t i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		crowd_end(&crowd);
		ck_assert(!common.wrong);
		ck_assert_uint_eq(machine_stats(m).failed, 0);
		machine_end(m);
	}
}
END_TEST

static void *copy(void *argument)
{
	size_t number = (size_t)(uintptr_t)argument;
	pthread_barrier_wait(&common.barrier);
	for (size_t i = number; i < number + 2000; i++)
		copy_over_borders(common.memory + (1 + i * 7 % 127) * PAGE - 8, common.memory + (1 + i * 31 % 127) * PAGE - 8);
	return NULL;
}

/* As many mappings as one of them needs; or more, which are taken away by turns. */
START_TEST(instructions_have_their_pages_beside_a_crowd)
{
	for (size_t others = 0; others < THREADS; others += THREADS - 1) {
		struct machine m = machine_in_way(_i, "memory=1M,prefetch=off" BUDGET);
		pthread_t threads[THREADS];
		struct crowd crowd;
		common.memory = machine_map(m, 128, RW);
		pthread_barrier_init(&common.barrier, NULL, (unsigned)others + 1);
		for (uintptr_t i = 0; i < others; i++)
			ck_assert_int_eq(pthread_create(&threads[i], NULL, copy, (void *)i), 0);
		must_crowd(&crowd);
		copy((void *)(uintptr_t)THREADS);
		for (size_t i = 0; i < others; i++)
			pthread_join(threads[i], NULL);
		crowd_end(&crowd);
		ck_assert_uint_eq(machine_stats(m).failed, 0);
		machine_end(m);
	}
}
END_TEST

/* ---- Calls ---------------------------------------------------------------------------------- */

/* What is done to single pages of a run needs mappings, natively too; but not of the program's. */
START_TEST(mappings_change_beside_a_crowd)
{
	struct machine m = machine_in_way(_i, "memory=64M" BUDGET);
	char *memory = machine_map(m, 4000, RW);
	struct crowd crowd;
	write_each(memory, 0, 4000, 1, 1);
	must_crowd(&crowd);
	for (size_t page = 0; page < 1000; page += 5) {
		ck_assert_ok(upage_protect(m.space, memory + page * PAGE, PAGE, PROT_READ));
		ck_assert_ok(upage_advise(m.space, memory + (page + 1000) * PAGE, PAGE, UPAGE_DONTNEED));
		ck_assert_ok(upage_advise(m.space, memory + (page + 2000) * PAGE, PAGE, UPAGE_PAGEOUT));
		ck_assert_ok(upage_unmap(m.space, memory + (page + 3000) * PAGE, PAGE));
	}
	expect_each(memory, 0, 1000, 1, 1);
	expect_each(memory, 2000, 3000, 1, 1);
	for (size_t page = 1000; page < 2000; page++)
		must(*(volatile uint64_t *)word_of(memory, page) == (page % 5 == 0 ? 0 : page + 1));
	for (size_t page = 0; page < 1000; page++)
		ck_assert_ok(upage_protect(m.space, memory + page * PAGE, PAGE, RW));
	write_each(memory, 0, 1000, 1, 2);
	expect_each(memory, 0, 1000, 1, 2);
	for (size_t page = 3001; page < 4000; page++)
		must(page % 5 == 0 || *(volatile uint64_t *)word_of(memory, page) == page + 1);
	ck_assert_ok(upage_unmap(m.space, memory, 3000 * PAGE));
	crowd_end(&crowd);
	ck_assert_uint_eq(machine_stats(m).failed, 0);
	for (size_t page = 3001; page < 4000; page++)
		if (page % 5 != 0)
			ck_assert_ok(upage_unmap(m.space, memory + page * PAGE, PAGE));
	machine_end(m);
}
END_TEST

/* Of a file, pages are shown as the file's, read ahead, copied when they are written to, and then of a run. */
START_TEST(pages_of_files_come_in_beside_a_crowd)
{
	enum { FILE_PAGES = 600 };
	struct machine m = machine_in_way(_i, "memory=4M");
	char path[] = "/tmp/check_mapping_limit-XXXXXX", page[PAGE] = { 0 };
	int file = mkstemp(path);
	for (uint64_t i = 0; i < FILE_PAGES; i++) {
		i++, memcpy(page, &i, sizeof(i)), i--;
		ck_assert_int_eq(pwrite(file, page, PAGE, (off_t)(i * PAGE)), PAGE);
	}
	upage_store *store;
	struct crowd crowd;
	void *address = NULL;
	ck_assert_ok(upage_store_open(&store, path, 0));
	ck_assert_ok(upage_map(m.space, &address, FILE_PAGES * PAGE, RW, 0, store, 0));
	char *memory = address;
	expect_each(memory, 0, FILE_PAGES / 2, 1, 1);
	must_crowd(&crowd);
	write_each(memory, 0, FILE_PAGES / 2, 3, 2);
	expect_each(memory, FILE_PAGES / 2, FILE_PAGES, 7, 1);
	write_each(memory, FILE_PAGES / 2, FILE_PAGES, 2, 2);
	expect_each(memory, 0, FILE_PAGES / 2, 3, 2);
	expect_each(memory, 1, FILE_PAGES / 2, 3, 1);
	expect_each(memory, FILE_PAGES / 2, FILE_PAGES, 2, 2);
	expect_each(memory, FILE_PAGES / 2 + 1, FILE_PAGES, 2, 1);
	crowd_end(&crowd);
	ck_assert_uint_eq(machine_stats(m).failed, 0);
	ck_assert_ok(upage_unmap(m.space, memory, FILE_PAGES * PAGE));
	ck_assert_ok(upage_store_close(store));
	close(file);
	unlink(path);
	machine_end(m);
}
END_TEST

/* ---- Forks ---------------------------------------------------------------------------------- */

/* The crowd is in the child, too. Both write to what they share no more; pages lie apart, or in a run. */
START_TEST(both_go_on_after_a_fork_beside_a_crowd)
{
	for (size_t step = 1; step <= 2; step++) {
		struct machine m = machine_in_way(_i, "memory=64M" BUDGET);
		char *memory = machine_map(m, 2 * SPREAD + 1000, RW);
		struct bystander bystander;
		struct crowd crowd;
		write_each(memory, 0, 2 * SPREAD, step, 1);
		bystander_begin(&bystander);
		must_crowd(&crowd);
		pid_t child = fork();
		for (uint64_t round = 1; round < 4; round++)
			for (size_t page = 0; page < 2 * SPREAD + 1000; page += step) {
				volatile uint64_t *word = word_of(memory, page);
				uint64_t before = round > 1 ? page + round + (child == 0) : page < 2 * SPREAD ? page + 1 : 0;
				if (child == 0)
					child_must(*word == before);
				else
					must(*word == before);
				*word = page + round + 1 + (child == 0);
			}
		if (child == 0) {
			struct upage_stats stats = { .size = sizeof(stats) };
			child_must(upage_stats_get(m.pool, &stats) == 0 && stats.failed == 0);
			child_must(upage_pool_verify(m.pool) == 0);
			_exit(0);
		}
		must_end_well(child);
		crowd_end(&crowd);
		bystander_end(&bystander);
		ck_assert_uint_eq(machine_stats(m).failed, 0);
		machine_end(m);
	}
}
END_TEST

/* ---- Who takes what becomes free ------------------------------------------------------------- */

/* Every mapping that the host still gives is the program's, until it gives them back. */
static struct {
	void *page[1 << 17];
	size_t count;
} taken;

static void take_all(void)
{
	while (taken.count < LENGTH(taken.page)) {
		void *page = mmap(NULL, PAGE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (page == MAP_FAILED)
			return;
		taken.page[taken.count++] = page;
	}
	must(false); /* there is no limit */
}

static void give_back(void)
{
	while (taken.count > 0)
		munmap(taken.page[--taken.count], PAGE);
}

/* Before each page fault, so that it has what pages and spare mappings have, and what it frees is gone after it. */
START_TEST(pages_come_and_go_while_all_that_becomes_free_is_taken)
{
	static const char *const memories[] = { "memory=64K", "memory=2M", "memory=64M,prefetch=off" };
	for (size_t i = 0; i < LENGTH(memories); i++) {
		struct machine m = machine_in_way(_i, memories[i]);
		char *memory = machine_map(m, 2000, RW);
		uint64_t random = 1;
		write_each(memory, 0, 1000, 2, 1);
		for (size_t n = 0; n < 20000; n++) {
			size_t page = random_number(&random) % 1000 * 2;
			volatile uint64_t *word = word_of(memory, page);
			take_all();
			must(*word == page + 1 || (*word == 0 && page >= 1000));
			take_all();
			*word = page + 1;
		}
		give_back();
		ck_assert_uint_eq(machine_stats(m).failed, 0);
		machine_end(m);
	}
}
END_TEST

/* Of three spaces at the same addresses, each by another scheme in the three rounds. */
START_TEST(spaces_are_switched_while_all_that_becomes_free_is_taken)
{
	enum { SPACES = 3, EACH = 200 };
	for (unsigned scheme = UPAGE_SCHEME_PAGING; scheme <= UPAGE_SCHEME_SEGMENTATION; scheme++) {
		struct machine m = machine_in_way(_i, "memory=8M,prefetch=off");
		struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
		upage_space *space[SPACES];
		char *memory[SPACES];
		config.flags = UPAGE_SPACE_WINDOW;
		config.scheme = scheme;
		config.length = (size_t)64 << 20;
		for (size_t i = 0; i < SPACES; i++) {
			void *address = NULL;
			ck_assert_ok(upage_space_create(&space[i], m.pool, &config));
			ck_assert_ok(upage_map(space[i], &address, EACH * PAGE, RW, 0, NULL, 0));
			ck_assert_ok(upage_switch(space[i]));
			config.address = upage_space_base(space[i]);
			memory[i] = address;
			write_each(memory[i], 0, EACH, 1, i + 1);
		}
		for (size_t n = 0; n < 60; n++) {
			take_all();
			ck_assert_ok(upage_switch(space[n % SPACES]));
			take_all();
			expect_each(memory[n % SPACES], 0, EACH, 1 + n % 2, n % SPACES + 1);
		}
		give_back();
		ck_assert_ok(upage_pool_verify(m.pool));
		for (size_t i = 0; i < SPACES; i++)
			ck_assert_ok(upage_space_destroy(space[i]));
		machine_end(m);
	}
}
END_TEST

/* ---- Several pools -------------------------------------------------------------------------- */

enum { POOLS = 5, APART = 300 };

static struct machine machines[POOLS];
static char *memories[POOLS];

static void *use_pool(void *argument)
{
	size_t i = (size_t)(uintptr_t)argument;
	for (uint64_t round = 1; round < 6; round++) {
		write_each(memories[i], 0, 2 * APART, 2, round);
		expect_each(memories[i], 0, 2 * APART, 2, round);
	}
	return NULL;
}

static void *use_pool_at_once(void *argument)
{
	pthread_barrier_wait(&common.barrier);
	return use_pool(argument);
}

/* The first has its pages before, or none has any; one after the other, or all at once. */
START_TEST(each_pool_has_its_pages_beside_a_crowd)
{
	for (unsigned how = 0; how < 4; how++) {
		pthread_t threads[POOLS];
		struct crowd crowd;
		pthread_barrier_init(&common.barrier, NULL, POOLS + 1);
		for (uintptr_t i = 0; i < POOLS; i++) {
			machines[i] = machine_in_way(_i, "memory=4M,prefetch=off" BUDGET);
			memories[i] = machine_map(machines[i], 2 * APART, RW);
			if (how & 2)
				ck_assert_int_eq(pthread_create(&threads[i], NULL, use_pool_at_once, (void *)i), 0);
		}
		if (how & 1)
			write_each(memories[0], 0, 2 * APART, 2, 1);
		must_crowd(&crowd);
		if (how & 2)
			pthread_barrier_wait(&common.barrier);
		for (uintptr_t i = 0; i < POOLS; i++) {
			if (how & 2)
				pthread_join(threads[i], NULL);
			else
				use_pool((void *)i);
		}
		crowd_end(&crowd);
		for (size_t i = 0; i < POOLS; i++) {
			expect_each(memories[i], 0, 2 * APART, 2, 5);
			ck_assert_uint_eq(machine_stats(machines[i]).failed, 0);
			machine_end(machines[i]);
		}
	}
}
END_TEST

/* ---- Time ----------------------------------------------------------------------------------- */

/* A page fault is slower there, by so much and no more: it looks for what to hide, and does not wait. */
START_TEST(no_fault_takes_long_beside_a_crowd)
{
	struct machine m = machine_in_way(_i, "memory=256M,prefetch=off");
	char *memory = machine_map(m, 60000, RW);
	struct crowd crowd;
	write_each(memory, 0, 60000, 1, 1);
	must_crowd(&crowd);
	double before = seconds();
	write_each(memory, 0, 60000, 17, 2);
	expect_each(memory, 0, 60000, 17, 2);
	expect_each(memory, 1, 60000, 17, 1);
	double taken = seconds() - before;
	crowd_end(&crowd);
	ck_assert_msg(taken < 15, "%.1f s", taken);
	machine_end(m);
}
END_TEST

/* Of pages at home no hiding gives up mappings: nobody looks among them for any. Others come in, in frames, a few at a
 * time of half a million. */
START_TEST(leaves_at_home_are_no_burden_beside_a_crowd)
{
	enum { LEAVES = 2000, LEAF = 512 };
	struct machine m = machine_in_way(1, "memory=2G,prefetch=off");
	char *memory = machine_map(m, 4 * LEAVES * LEAF, RW), *apart = memory + 2 * LEAVES * LEAF * PAGE;
	struct crowd crowd;
	for (size_t page = 0; page < 10; page += 2)
		write_each(memory, page, 2 * LEAVES * LEAF, 2 * LEAF, 1);
	must_crowd(&crowd);
	double before = seconds();
	write_each(apart, LEAF, 2 * LEAVES * LEAF, 2 * LEAF, 1);
	for (size_t round = 0; round < 4; round++)
		expect_each(apart, LEAF, 2 * LEAVES * LEAF, 2 * LEAF, 1);
	write_each(memory, 10, 2 * LEAVES * LEAF, 2 * LEAF, 1);
	double taken = seconds() - before;
	crowd_end(&crowd);
	for (size_t page = 0; page < 12; page += 2)
		expect_each(memory, page, 2 * LEAVES * LEAF, 2 * LEAF, 1);
	ck_assert_msg(taken < 5, "%.1f s", taken);
	ck_assert_uint_eq(machine_stats(m).failed, 0);
	machine_end(m);
}
END_TEST

int main(void)
{
	struct crowd crowd;
	bool limited = crowd_begin(&crowd);
	crowd_end(&crowd);
	if (!limited)
		return 77;
	Suite *suite = suite_create("mapping limit");
	TCase *tcase = tcase_create("mapping limit");
	tcase_add_loop_test(tcase, pages_come_in_beside_a_crowd, 0, 2);
	tcase_add_loop_test(tcase, the_first_pages_come_in_beside_a_crowd, 0, 2);
	tcase_add_loop_test(tcase, when_the_crowd_has_gone_all_is_shown_again, 0, 2);
	tcase_add_loop_test(tcase, pages_leave_beside_a_crowd, 0, 2);
	tcase_add_loop_test(tcase, threads_go_on_beside_a_crowd, 0, 2);
	tcase_add_loop_test(tcase, instructions_have_their_pages_beside_a_crowd, 0, 2);
	tcase_add_loop_test(tcase, mappings_change_beside_a_crowd, 0, 2);
	tcase_add_loop_test(tcase, pages_of_files_come_in_beside_a_crowd, 0, 2);
	tcase_add_loop_test(tcase, both_go_on_after_a_fork_beside_a_crowd, 0, 2);
	tcase_add_loop_test(tcase, pages_come_and_go_while_all_that_becomes_free_is_taken, 0, 2);
	tcase_add_loop_test(tcase, spaces_are_switched_while_all_that_becomes_free_is_taken, 0, 2);
	tcase_add_loop_test(tcase, no_fault_takes_long_beside_a_crowd, 0, 2);
	tcase_add_test(tcase, leaves_at_home_are_no_burden_beside_a_crowd);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("several pools");
	tcase_add_loop_test(tcase, each_pool_has_its_pages_beside_a_crowd, 0, 2);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
