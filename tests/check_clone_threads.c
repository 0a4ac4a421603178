/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_clone_threads.c - clones that are made, written to and ended while threads run; and forks
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "support_clone.h"

#define THREADS 4
#define THREAD_PAGES 12

static _Atomic bool stop;

/* A thread has pages of its own in each of some spaces, and knows what is in them. */
struct writer {
	pthread_t thread;
	_Atomic(char *) clone; /* the memory in a clone that is its own to write to; NULL: none */
	_Atomic bool idle;     /* it uses none now */
	char *memory;
	unsigned number;
	uint64_t random, writes;
	uint64_t shadow[THREAD_PAGES];
};

static volatile uint64_t *writer_word(const struct writer *w, char *memory, size_t page)
{
	return (volatile uint64_t *)(void *)(memory + (w->number * THREAD_PAGES + page) * PAGE);
}

static void *write_on(void *argument)
{
	struct writer *w = argument;
	while (!atomic_load(&stop)) {
		size_t page = random_number(&w->random) % THREAD_PAGES;
		volatile uint64_t *word = writer_word(w, w->memory, page);
		if (word[0] != w->shadow[page] || word[WORDS - 1] != w->shadow[page])
			abort();
		w->shadow[page] = random_number(&w->random);
		word[0] = w->shadow[page];
		word[WORDS - 1] = w->shadow[page];
		w->writes++;
		/* In the clone: of one moment, and what is written there stays there. */
		atomic_store(&w->idle, false);
		char *clone = atomic_load(&w->clone);
		if (clone != NULL) {
			word = writer_word(w, clone, page);
			word[1] = word[1] + 1;
			word[2] = word[2] + 1;
			if (word[1] != word[2] || writer_word(w, w->memory, page)[1] != 0)
				abort();
		}
		atomic_store(&w->idle, true);
	}
	return NULL;
}

/* Loop: policies, and frames for all or for few. */
START_TEST(threads_write_while_clones_are_made_and_ended)
{
	char words[64];
	snprintf(words, sizeof(words), "memory=%s,policy=%s", _i < 3 ? "64K" : "1M", policies[_i % 3]);
	struct machine m = machine_make(words);
	char *memory = machine_map(m, THREADS * THREAD_PAGES, RW);
	static struct writer writers[THREADS];
	atomic_store(&stop, false);
	for (unsigned i = 0; i < THREADS; i++) {
		writers[i] = (struct writer){ .memory = memory, .number = i, .random = i, .idle = true };
		pthread_create(&writers[i].thread, NULL, write_on, &writers[i]);
	}
	for (unsigned round = 0; round < 150; round++) {
		upage_space *clone = clone_of(m.space), *second = clone_of(clone);
		char *other = in(clone, m.space, memory), *still = in(second, m.space, memory);
		for (unsigned i = 0; i < THREADS; i++)
			atomic_store(&writers[i].clone, other);
		/* Nobody writes to the second one: it stays as it is, and its pages are whole. */
		uint64_t sum[2] = { 0 };
		for (unsigned pass = 0; pass < 2; pass++) {
			for (size_t page = 0; page < THREADS * THREAD_PAGES; page++) {
				volatile uint64_t *word = (volatile uint64_t *)(void *)(still + page * PAGE);
				sum[pass] += word[0] * (page + 1) + word[WORDS - 1] * page;
				must(word[1] == 0 && word[2] == 0);
			}
		}
		must(sum[0] == sum[1]);
		for (unsigned i = 0; i < THREADS; i++) {
			atomic_store(&writers[i].clone, NULL);
			while (!atomic_load(&writers[i].idle))
				sched_yield();
		}
		ck_assert_ok(upage_space_destroy(round % 2 ? clone : second));
		ck_assert_ok(upage_space_destroy(round % 2 ? second : clone));
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(writers[i].thread, NULL);
		ck_assert_uint_gt(writers[i].writes, 100);
		for (size_t page = 0; page < THREAD_PAGES; page++)
			must(*writer_word(&writers[i], memory, page) == writers[i].shadow[page]);
	}
	machine_end(m);
}
END_TEST

static char *ordered;
#define ORDERED 48

/* Writes the same number to all pages, one after another. */
static void *write_in_order(void *argument)
{
	uint64_t *number = argument;
	while (!atomic_load(&stop)) {
		++*number;
		for (size_t page = 0; page < ORDERED; page++)
			*(volatile uint64_t *)(void *)(ordered + page * PAGE) = *number;
	}
	return NULL;
}

/* Loop: frames for all or for few. */
START_TEST(a_clone_is_of_one_moment)
{
	struct machine m = machine_make(_i == 0 ? "memory=1M" : SMALL);
	pthread_t thread;
	uint64_t number = 0;
	ordered = machine_map(m, ORDERED, RW);
	atomic_store(&stop, false);
	pthread_create(&thread, NULL, write_in_order, &number);
	/* And until the thread has had a processor for a while. */
	for (unsigned round = 0; round < 400 || *(volatile uint64_t *)&number <= 10; round++) {
		upage_space *clone = clone_of(m.space);
		char *other = in(clone, m.space, ordered);
		uint64_t first = *(volatile uint64_t *)(void *)other, before = first;
		for (size_t page = 1; page < ORDERED; page++) {
			uint64_t here = *(volatile uint64_t *)(void *)(other + page * PAGE);
			must(here == before || (here == first - 1 && before == first));
			before = here;
		}
		ck_assert_ok(upage_space_destroy(clone));
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	ck_assert_uint_gt(number, 10);
	machine_end(m);
}
END_TEST

static _Atomic(char *) contended;

struct adder {
	pthread_t thread;
	unsigned number, rounds;
};

static void *write_the_same(void *argument)
{
	struct adder *adder = argument;
	for (; !atomic_load(&stop); adder->rounds++) {
		char *memory = atomic_load(&contended);
		for (size_t page = 0; page < ORDERED; page++)
			((volatile unsigned *)(void *)(memory + page * PAGE))[adder->number]++;
	}
	return NULL;
}

/* All write to the same pages of a space whose clones come and go: a page is copied once, and no
 * write is lost. */
START_TEST(threads_that_split_one_page_lose_nothing)
{
	struct machine m = machine_make(_i == 0 ? "memory=1M" : SMALL);
	struct adder adders[THREADS];
	char *memory = machine_map(m, ORDERED, RW);
	atomic_store(&contended, memory);
	atomic_store(&stop, false);
	for (unsigned i = 0; i < THREADS; i++) {
		adders[i] = (struct adder){ .number = i };
		ck_assert_int_eq(pthread_create(&adders[i].thread, NULL, write_the_same, &adders[i]), 0);
	}
	for (unsigned round = 0; round < 200; round++) {
		upage_space *clone = clone_of(m.space);
		if (round % 2 == 0)
			ck_assert_ok(upage_advise(clone, in(clone, m.space, memory), ORDERED * PAGE,
			                          UPAGE_PAGEOUT));
		ck_assert_ok(upage_space_destroy(clone));
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(adders[i].thread, NULL);
		ck_assert_uint_gt(adders[i].rounds, 0);
		for (size_t page = 0; page < ORDERED; page++)
			must(((volatile unsigned *)(void *)(memory + page * PAGE))[i] == adders[i].rounds);
	}
	machine_end(m);
}
END_TEST

/* ---- Forks ---------------------------------------------------------------------------------- */

/* Loop: with another thread, pages are hidden for the fork; frames for all or for few. */
START_TEST(a_child_has_the_clones_too)
{
	struct bystander bystander;
	struct family f;
	family_make(&f, _i < 2 ? SMALL : "memory=1M", 5);
	for (unsigned s = 1; s < SPACES; s++) {
		family_clone(&f, s / 2, s);
		for (unsigned i = 0; i < 10; i++)
			family_step(&f, 100);
	}
	if (_i % 2 == 1)
		bystander_begin(&bystander);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		child_must(upage_pool_verify(f.m.pool) == 0);
		for (unsigned i = 0; i < 3000; i++) {
			unsigned s = (unsigned)(random_number(&f.random) % SPACES);
			size_t page = random_number(&f.random) % MANY;
			child_must(family_holds(&f, s, page));
			if (i % 2 == 0)
				family_write(&f, s, page);
		}
		child_must(upage_pool_verify(f.m.pool) == 0);
		upage_space *clone;
		child_must(upage_space_clone(&clone, f.space[2], NULL) == 0);
		child_must(upage_space_destroy(clone) == 0);
		for (unsigned s = 0; s < SPACES; s++)
			child_must(upage_space_destroy(f.space[s]) == 0);
		child_must(machine_stats(f.m).swap_slots == 0);
		child_must(upage_pool_destroy(f.m.pool) == 0);
		_exit(0);
	}
	for (unsigned i = 0; i < 3000; i++)
		family_step(&f, 50);
	must_end_well(child);
	family_check(&f);
	if (_i % 2 == 1)
		bystander_end(&bystander);
	for (unsigned s = 1; s < SPACES; s++)
		end(f.space[s], f.m);
	machine_end(f.m);
}
END_TEST

static void *clone_on(void *argument)
{
	const struct machine *m = argument;
	while (!atomic_load(&stop)) {
		upage_space *clone = clone_of(m->space);
		((volatile char *)in(clone, m->space, ordered))[5 * PAGE] = 1;
		ck_assert_ok(upage_space_destroy(clone));
	}
	return NULL;
}

/* A fork waits for a clone under way: the child has it whole, or not at all. Loop: frames for all or
 * for few. */
START_TEST(forks_and_clones_wait_for_each_other)
{
	struct machine m = machine_make(_i == 0 ? "memory=1M" : SMALL);
	pthread_t thread;
	ordered = machine_map(m, ORDERED, RW);
	fill(ordered, ORDERED, 1);
	atomic_store(&stop, false);
	pthread_create(&thread, NULL, clone_on, &m);
	for (unsigned round = 0; round < 40; round++) {
		pid_t child = fork();
		if (child == 0) {
			upage_space *clone;
			alarm(60);
			child_must(upage_pool_verify(m.pool) == 0);
			child_must(upage_space_clone(&clone, m.space, NULL) == 0);
			char *copy = in(clone, m.space, ordered);
			fill(copy, ORDERED, 2);
			child_must(holds(ordered, ORDERED, 1));
			child_must(upage_space_destroy(m.space) == 0);
			child_must(holds(copy, ORDERED, 2));
			child_must(upage_pool_verify(m.pool) == 0);
			_exit(0);
		}
		must_end_well(child);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	ck_assert(holds(ordered, ORDERED, 1));
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("clone_threads");
	TCase *tests = tcase_create("clone_threads");
	tcase_add_loop_test(tests, threads_write_while_clones_are_made_and_ended, 0, 6);
	tcase_add_loop_test(tests, a_clone_is_of_one_moment, 0, 2);
	tcase_add_loop_test(tests, threads_that_split_one_page_lose_nothing, 0, 2);
	tcase_add_loop_test(tests, a_child_has_the_clones_too, 0, 4);
	tcase_add_loop_test(tests, forks_and_clones_wait_for_each_other, 0, 2);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
