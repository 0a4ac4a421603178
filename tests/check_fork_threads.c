/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_fork_threads.c - a fork while other threads are at work: the copy is of one instant, and
 * nobody waits for a thread that the child has not
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "support_fork.h"

#define PAIRS 24 /* of each writer */
#define WRITERS 4
static char *pairs;
static _Atomic bool stop;

static volatile uint64_t *pair_word(unsigned writer, unsigned pair, unsigned which)
{
	return (volatile uint64_t *)(void *)(pairs + ((writer * PAIRS + pair) * 2 + which) * PAGE);
}

/* In each pair first A, then B, in another page: a B that is newer than its A was never there. */
static void *write_pairs(void *argument)
{
	unsigned writer = *(unsigned *)argument;
	for (uint64_t n = 1; !atomic_load(&stop); n++) {
		for (unsigned pair = 0; pair < PAIRS; pair++) {
			*pair_word(writer, pair, 0) = n;
			*pair_word(writer, pair, 1) = n;
		}
	}
	return NULL;
}

static void start(pthread_t *threads, void *(*body)(void *))
{
	static unsigned numbers[WRITERS] = { 0, 1, 2, 3 };
	atomic_store(&stop, false);
	for (int i = 0; i < WRITERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, body, &numbers[i]), 0);
}

static void finish(pthread_t *threads)
{
	atomic_store(&stop, true);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
}

START_TEST(the_copy_is_of_one_instant)
{
	static const char *const memories[] = { "memory=64K", "memory=4M" };
	struct machine m = machine_make(memories[_i]);
	pthread_t threads[WRITERS];
	pairs = machine_map(m, WRITERS * PAIRS * 2, RW);
	start(threads, write_pairs);
	for (int i = 0; i < 60; i++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			child_must(upage_pool_verify(m.pool) == 0);
			for (unsigned writer = 0; writer < WRITERS; writer++) {
				for (unsigned pair = 0; pair < PAIRS; pair++) {
					uint64_t a = *pair_word(writer, pair, 0);
					uint64_t b = *pair_word(writer, pair, 1);
					child_must(b <= a && a <= b + 1);
					*pair_word(writer, pair, 0) = UINT64_MAX;
				}
			}
			child_must(upage_pool_verify(m.pool) == 0);
			_exit(0);
		}
		must_end_well(child);
	}
	finish(threads);
	for (unsigned writer = 0; writer < WRITERS; writer++)
		for (unsigned pair = 0; pair < PAIRS; pair++)
			ck_assert_uint_eq(*pair_word(writer, pair, 0), *pair_word(writer, pair, 1));
	machine_end(m);
}
END_TEST

#define LARGE 16384 /* pages: 64 MiB, four times the frames */

struct half {
	char *memory;
	uint64_t seed;
	bool write, good;
};

static void *work_on_half(void *argument)
{
	struct half *half = argument;
	if (half->write)
		fill(half->memory, LARGE / 2, half->seed);
	half->good = holds(half->memory, LARGE / 2, half->seed);
	return NULL;
}

/* Two threads write and check, or only check, a half each. */
static bool work(char *memory, uint64_t seed, bool write)
{
	struct half halves[2] = { { memory, seed, write, false },
		                  { memory + LARGE / 2 * PAGE, seed, write, false } };
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, work_on_half, &halves[i]) != 0)
			return false;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	return halves[0].good && halves[1].good;
}

/* All five write theirs at the same time, and look again when all have written. */
START_TEST(a_parent_and_four_children_with_threads)
{
	struct machine m = machine_make("memory=16M");
	char *memory = machine_map(m, LARGE, RW), byte;
	int done[2], again[2];
	pid_t children[4];
	ck_assert(pipe(done) == 0 && pipe(again) == 0);
	ck_assert(work(memory, 1, true));
	for (unsigned i = 0; i < 4; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			alarm(100);
			child_must(work(memory, 1, false));
			child_must(work(memory, 2 + i, true));
			child_must(write(done[1], "", 1) == 1 && read(again[0], &byte, 1) == 1);
			child_must(work(memory, 2 + i, false));
			child_must(upage_pool_verify(m.pool) == 0);
			_exit(0);
		}
	}
	ck_assert(work(memory, 10, true));
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(read(done[0], &byte, 1), 1);
	ck_assert_int_eq(write(again[1], "1234", 4), 4);
	ck_assert(work(memory, 10, false));
	for (int i = 0; i < 4; i++)
		must_end_well(children[i]);
	for (int i = 0; i < 2; i++) {
		close(done[i]);
		close(again[i]);
	}
	machine_end(m);
}
END_TEST

static upage_pool *busy_pool;
static upage_space *busy_space;

/* Keeps every lock of the library in somebody's hands. */
static void *keep_busy(void *kind)
{
	while (!atomic_load(&stop)) {
		void *memory = NULL;
		upage_space *space;
		struct sigaction action = { .sa_handler = SIG_DFL };
		struct upage_stats stats = { .size = sizeof(stats) };
		if (*(unsigned *)kind == 0 &&
		    upage_map(busy_space, &memory, 64 * PAGE, RW, 0, NULL, 0) == 0) {
			memset(memory, 1, 64 * PAGE);
			upage_unmap(busy_space, memory, 64 * PAGE);
		} else if (*(unsigned *)kind == 1 &&
		           upage_space_create(&space, busy_pool, NULL) == 0) {
			upage_space_destroy(space);
		} else if (*(unsigned *)kind == 2) {
			upage_stats_get(busy_pool, &stats);
		} else {
			sigaction(SIGSEGV, &action, NULL);
		}
	}
	return NULL;
}

START_TEST(no_child_of_a_busy_process_hangs)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, 64, RW);
	pthread_t threads[WRITERS];
	busy_pool = m.pool;
	busy_space = m.space;
	fill(memory, 64, 1);
	start(threads, keep_busy);
	for (int i = 0; i < 100; i++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(20); /* a child that hangs is killed */
			void *more = NULL;
			child_must(holds(memory, 64, 1));
			child_must(upage_map(m.space, &more, PAGE, RW, 0, NULL, 0) == 0);
			child_must(upage_protect(m.space, memory, PAGE, PROT_READ) == 0);
			_exit(0);
		}
		must_end_well(child);
	}
	finish(threads);
	machine_end(m);
}
END_TEST

#define SCATTERED 8000 /* pages of which none has a neighbour: twice the frames */

/* No more can be hidden than the host has mappings for; what is shown still, then, is not taken for hidden. */
START_TEST(a_fork_at_the_limit_of_mappings_mixes_up_no_pages)
{
	struct machine m = machine_make("memory=16M,mapping=remap");
	volatile uint64_t *memory = (volatile uint64_t *)(void *)machine_map(m, 2 * SCATTERED, RW);
	struct bystander bystander;
	struct crowd crowd;
	for (size_t i = 0; i < SCATTERED; i++)
		memory[2 * i * PAGE / sizeof(*memory)] = i;
	bystander_begin(&bystander);
	bool limited = crowd_begin(&crowd);
	pid_t child = limited ? fork() : -1;
	if (child == 0)
		_exit(0);
	crowd_end(&crowd);
	if (limited)
		must_end_well(child);
	for (size_t round = 0; limited && round < 3; round++)
		for (size_t i = 0; i < SCATTERED; i++) {
			volatile uint64_t *word = &memory[2 * i * PAGE / sizeof(*memory)];
			must(*word == i + round * SCATTERED);
			*word += SCATTERED;
		}
	bystander_end(&bystander);
	machine_end(m);
}
END_TEST

static char *text;
static FILE *null_file;

/* A file's lock is held over a page fault; and the lock of all files over a file's. */
static void *print_paged(void *number)
{
	for (size_t i = 0; !atomic_load(&stop); i++) {
		if (*(unsigned *)number % 2 == 0)
			fwrite(text + i % 60 * PAGE, 1, 4 * PAGE, null_file);
		else
			fflush(NULL);
	}
	return NULL;
}

START_TEST(a_fork_does_not_wait_for_who_waits_for_it)
{
	struct machine m = machine_make("memory=64K");
	pthread_t threads[WRITERS];
	text = machine_map(m, 64, RW);
	null_file = fopen("/dev/null", "w");
	ck_assert_ptr_nonnull(null_file);
	/* The buffer is not paged; what is written goes through it, byte by byte. */
	setvbuf(null_file, malloc(64 * PAGE), _IOFBF, 64 * PAGE);
	fill(text, 64, 1);
	start(threads, print_paged);
	for (int i = 0; i < 300; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(0);
		must_end_well(child);
	}
	finish(threads);
	fclose(null_file);
	machine_end(m);
}
END_TEST

/* ---- Heaps ------------------------------------------------------------------------------- */

static upage_heap *heap;

static void *use_heap(void *number)
{
	uint64_t random = *(unsigned *)number;
	while (!atomic_load(&stop)) {
		size_t size = 1 + random_number(&random) % 20000;
		char *block = upage_heap_allocate(heap, size);
		if (block != NULL)
			memset(block, 7, size);
		upage_heap_free(heap, block);
	}
	return NULL;
}

#define BLOCKS 300

static size_t block_size(int i)
{
	return 16 + (size_t)(i * 37 % 5000);
}

START_TEST(a_heap_goes_on_in_the_child)
{
	struct machine m = machine_make("memory=256K");
	pthread_t threads[WRITERS];
	char *blocks[BLOCKS];
	if (upage_heap_create(&heap, m.space) == UPAGE_ENOTSUP)
		return; /* built without jemalloc */
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = upage_heap_allocate(heap, block_size(i));
		ck_assert_ptr_nonnull(blocks[i]);
		memset(blocks[i], i, block_size(i));
	}
	start(threads, use_heap);
	for (int round = 0; round < 20; round++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			for (int i = 0; i < BLOCKS; i++) {
				child_must(blocks[i][block_size(i) - 1] == (char)i);
				blocks[i] = upage_heap_resize(heap, blocks[i], 2 * block_size(i));
				child_must(blocks[i] != NULL && blocks[i][0] == (char)i);
				memset(blocks[i], 99, 2 * block_size(i));
			}
			for (int i = 0; i < BLOCKS; i++)
				upage_heap_free(heap, blocks[i]);
			child_must(upage_heap_destroy(heap) == 0);
			child_must(upage_pool_verify(m.pool) == 0);
			_exit(0);
		}
		must_end_well(child);
	}
	finish(threads);
	for (int i = 0; i < BLOCKS; i++) {
		ck_assert_int_eq(blocks[i][0], (char)i);
		upage_heap_free(heap, blocks[i]);
	}
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fork_threads");
	TCase *tests = tcase_create("fork_threads");
	tcase_add_loop_test(tests, the_copy_is_of_one_instant, 0, 2);
	tcase_add_test(tests, a_parent_and_four_children_with_threads);
	tcase_add_test(tests, no_child_of_a_busy_process_hangs);
	tcase_add_test(tests, a_fork_at_the_limit_of_mappings_mixes_up_no_pages);
	tcase_add_test(tests, a_fork_does_not_wait_for_who_waits_for_it);
	tcase_add_test(tests, a_heap_goes_on_in_the_child);
	tcase_set_timeout(tests, 100);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
