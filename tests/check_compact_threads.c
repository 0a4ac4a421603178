/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_compact_threads.c - pages move while other threads read and write them, evict them, fork
 */
#include <stdatomic.h>

#include "support_fork.h"

#define THREADS 4

static struct machine machine;
static char *shared;    /* pages that all threads write to, each its own words */
static size_t pages;
static size_t page_size;
static _Atomic bool stop;
static _Atomic uint64_t rounds;

static volatile uint64_t *word(size_t page, unsigned thread)
{
	return (volatile uint64_t *)(void *)(shared + page * page_size + thread * 72);
}

/* Word by word against what it wrote itself. */
static void *write_and_check(void *argument)
{
	unsigned thread = *(unsigned *)argument;
	uint64_t *shadow = calloc(pages, sizeof(*shadow)), random = thread;
	for (uint64_t n = 1; !atomic_load_explicit(&stop, memory_order_relaxed); n++) {
		size_t page = random_number(&random) % pages;
		must(*word(page, thread) == shadow[page]);
		if (random & 1)
			*word(page, thread) = shadow[page] = n;
		atomic_fetch_add_explicit(&rounds, 1, memory_order_relaxed);
	}
	for (size_t page = 0; page < pages; page++)
		must(*word(page, thread) == shadow[page]);
	free(shadow);
	return NULL;
}

static struct upage_compaction compact(uint64_t max_moves)
{
	struct upage_compaction result = UPAGE_COMPACTION_INIT;
	result.max_moves = max_moves;
	ck_assert_ok(upage_compact(machine.pool, &result));
	return result;
}

static void begin(const char *words, size_t count)
{
	machine = machine_make(words);
	page_size = upage_pool_page_size(machine.pool);
	pages = count;
	shared = machine_map(machine, pages, RW);
}

/* Writes to @holes pages in disorder, and takes them away again: what moves has somewhere to go. */
static void make_holes(size_t holes, uint64_t *random)
{
	char *memory = machine_map(machine, holes, RW);
	for (size_t i = 0; i < holes; i++)
		memory[random_number(random) % holes * page_size] = 1;
	ck_assert_ok(upage_unmap(machine.space, memory, holes * page_size));
}

static void run(void *(*work)(void *), unsigned passes)
{
	pthread_t threads[THREADS];
	unsigned numbers[THREADS];
	uint64_t random = passes, moves = 0;
	for (unsigned i = 0; i < THREADS; i++) {
		numbers[i] = i;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &numbers[i]), 0);
	}
	/* Of sixteen frames the threads may leave none free for long, while this one waits for a processor. */
	for (unsigned i = 0; i < passes || atomic_load(&rounds) == 0 || moves == 0; i++) {
		uint64_t limit = random_number(&random) % 4 == 0 ? 1 + random % 100 : 0;
		uint64_t moved = compact(limit).moves;
		must(limit == 0 || moved <= limit);
		moves += moved;
		make_holes(1 + random_number(&random) % (pages / 2), &random);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_gt(moves, 0);
	ck_assert_uint_gt(rounds, 0);
	ck_assert_uint_eq(machine_stats(machine).failed, 0);
	machine_end(machine);
}

START_TEST(what_threads_write_meanwhile_is_not_lost)
{
	begin("memory=4M", 400);
	run(write_and_check, 300);
}
END_TEST

START_TEST(with_larger_pages_neither)
{
	begin("memory=16M,page-size=64K", 100);
	run(write_and_check, 100);
}
END_TEST

static const char *const tight[] = { "memory=64K,policy=clock", "memory=64K,policy=fifo",
	                             "memory=256K,policy=random", "memory=1M,policy=clock",
	                             "memory=1M,policy=clock,mapping=remap,mapping-budget=64" };

START_TEST(with_eviction_and_swap_neither)
{
	size_t frames[] = { 16, 16, 64, 256, 256 };
	begin(tight[_i], frames[_i] * 2);
	run(write_and_check, 300);
}
END_TEST

/* Pages that are only read are never out of sight: no fault is taken. */
static void *read_only(void *argument)
{
	uint64_t random = *(unsigned *)argument;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		size_t page = random_number(&random) % pages;
		must(*word(page, 0) == page + 1);
		atomic_fetch_add_explicit(&rounds, 1, memory_order_relaxed);
	}
	return NULL;
}

/* @pages lie above @steps times @step pages of the same mapping, which are unmapped step by step, and
 * follow them down, while threads read them. */
static void follow_down(unsigned steps, size_t step, size_t count)
{
	pthread_t threads[THREADS];
	unsigned numbers[THREADS];
	uint64_t moves = 0;
	begin("memory=16M", steps * step + count);
	char *below = shared;
	for (size_t page = 0; page < pages; page++)
		*word(page, 0) = 1;
	compact(0);
	shared += steps * step * PAGE;
	pages = count;
	for (size_t page = 0; page < pages; page++)
		*word(page, 0) = page + 1;
	for (unsigned i = 0; i < THREADS; i++) {
		numbers[i] = i;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_only, &numbers[i]), 0);
	}
	while (atomic_load(&rounds) == 0)
		sched_yield();
	for (unsigned i = 0; i < steps; i++) {
		ck_assert_ok(upage_unmap(machine.space, below + i * step * PAGE, step * PAGE));
		moves += compact(0).moves;
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_ge(moves, steps * count);
	ck_assert_uint_gt(rounds, 0);
}

START_TEST(who_only_reads_takes_no_fault)
{
	follow_down(10, 300, 256);
	ck_assert_uint_eq(machine_stats(machine).soft, 0);
	machine_end(machine);
}
END_TEST

/* Pages that move onto frames of others of the same row are out of sight meanwhile, not wrong. */
START_TEST(a_row_that_shifts_over_itself_is_never_seen_wrong)
{
	follow_down(60, 3, 300);
	machine_end(machine);
}
END_TEST

static void *compact_on(void *argument)
{
	uint64_t random = *(unsigned *)argument;
	while (!atomic_load(&stop)) {
		struct upage_compaction result = UPAGE_COMPACTION_INIT;
		result.max_moves = random_number(&random) % 300;
		must(upage_compact(machine.pool, &result) == 0);
		must(result.max_moves == 0 || result.moves <= result.max_moves);
		atomic_fetch_add(&rounds, result.moves);
	}
	return NULL;
}

/* A child has what was there, in a memory that is in order, and can go on compacting it. */
START_TEST(a_fork_meets_no_page_on_its_way)
{
	pthread_t threads[2];
	unsigned numbers[2] = { 1, 2 };
	uint64_t random = 5;
	begin("memory=4M", 300);
	fill(shared, pages, 7);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, compact_on, &numbers[i]), 0);
	for (unsigned i = 0; i < 60 || atomic_load(&rounds) <= 100; i++) { /* they may begin late */
		make_holes(200, &random);
		/* Some pages get other frames. */
		size_t first = random_number(&random) % (pages - 64);
		ck_assert_ok(upage_advise(machine.space, shared + first * PAGE, 64 * PAGE, UPAGE_PAGEOUT));
		must(holds(shared, pages, 7));
		pid_t child = fork();
		if (child == 0) {
			struct upage_compaction result = UPAGE_COMPACTION_INIT;
			alarm(20);
			child_must(upage_pool_verify(machine.pool) == 0);
			child_must(upage_compact(machine.pool, &result) == 0);
			child_must(result.largest_free_run_after == result.frames_free);
			child_must(upage_pool_verify(machine.pool) == 0);
			child_must(holds(shared, pages, 7));
			_exit(0);
		}
		must_end_well(child);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ck_assert(holds(shared, pages, 7));
	ck_assert_uint_gt(rounds, 100);
	machine_end(machine);
}
END_TEST

/* All that changes a mapping, beside it. */
START_TEST(mappings_change_meanwhile)
{
	pthread_t threads[2];
	unsigned numbers[2] = { 1, 2 };
	uint64_t random = 6;
	begin("memory=2M", 200);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, compact_on, &numbers[i]), 0);
	fill(shared, pages, 8);
	for (unsigned i = 0; i < 1500 || atomic_load(&rounds) <= 100; i++) {
		size_t first = random_number(&random) % pages, count = 1 + random_number(&random) % 60;
		count = count < pages - first ? count : pages - first;
		void *part = shared + first * PAGE;
		switch (i % 5) {
		case 0:
			ck_assert_ok(upage_unmap(machine.space, part, count * PAGE));
			ck_assert_ok(upage_map(machine.space, &part, count * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
			must(is_zero(part, count));
			break;
		case 1:
			ck_assert_ok(upage_protect(machine.space, part, count * PAGE, PROT_READ));
			must(holds(part, count, 8 + first * 1000));
			ck_assert_ok(upage_protect(machine.space, part, count * PAGE, RW));
			break;
		case 2:
			ck_assert_ok(upage_advise(machine.space, part, count * PAGE, UPAGE_DONTNEED));
			must(is_zero(part, count));
			break;
		case 3:
			ck_assert_ok(upage_advise(machine.space, part, count * PAGE, UPAGE_PAGEOUT));
			break;
		default:
			ck_assert_ok(upage_pin(machine.space, part, count * PAGE, RW));
			ck_assert_ok(upage_unpin(machine.space, part, count * PAGE));
		}
		fill(part, count, 8 + first * 1000);
		must(holds(part, count, 8 + first * 1000));
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ck_assert(holds(shared, pages, 8));
	ck_assert_uint_gt(rounds, 100);
	machine_end(machine);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("compact with threads");
	TCase *tests = tcase_create("threads");
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, what_threads_write_meanwhile_is_not_lost);
	tcase_add_test(tests, with_larger_pages_neither);
	tcase_add_loop_test(tests, with_eviction_and_swap_neither, 0, LENGTH(tight));
	tcase_add_test(tests, who_only_reads_takes_no_fault);
	tcase_add_test(tests, a_row_that_shifts_over_itself_is_never_seen_wrong);
	tcase_add_test(tests, a_fork_meets_no_page_on_its_way);
	tcase_add_test(tests, mappings_change_meanwhile);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
