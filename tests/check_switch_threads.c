/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_switch_threads.c - switches while other threads map, fault and evict; and forks
 */
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "support_switch.h"

/* ---- Other threads ---------------------------------------------------------------------------- */

static atomic_bool stop;

struct mapper {
	uintptr_t base, end; /* where nothing of its may come to lie */
	atomic_ulong maps;
};

/* Maps memory of the sizes that holes in a window would have, all the time. */
static void *map_all_the_time(void *argument)
{
	struct mapper *mapper = argument;
	uint64_t seed = 5;
	while (!atomic_load(&stop)) {
		char *taken[8];
		for (unsigned i = 0; i < 8; i++) {
			size_t length = (size_t)PAGE << random_number(&seed) % 15;
			taken[i] = mmap(NULL, length, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
			if (taken[i] == MAP_FAILED)
				return "mmap failed";
			if ((uintptr_t)taken[i] < mapper->end && (uintptr_t)taken[i] + length > mapper->base)
				return "a hole in the window was taken";
			*(volatile char **)(void *)taken[i] = taken[i];
			*(volatile size_t *)(void *)(taken[i] + 8) = length;
		}
		for (unsigned i = 0; i < 8; i++) {
			if (*(char *volatile *)(void *)taken[i] != taken[i])
				return "what it mapped is gone";
			munmap(taken[i], *(volatile size_t *)(void *)(taken[i] + 8));
		}
		atomic_fetch_add(&mapper->maps, 8);
	}
	return NULL;
}

START_TEST(no_other_mapping_comes_between)
{
	struct process all = filled_processes("memory=4M");
	uintptr_t base = (uintptr_t)upage_space_base(all.space[0]);
	struct mapper mapper = { .base = base, .end = base + 64 * MIB };
	pthread_t threads[2];
	void *said[2];
	atomic_store(&stop, false);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, map_all_the_time, &mapper), 0);
	for (unsigned n = 0; n < 3000; n++) {
		ck_assert_ok(upage_switch(all.space[n % SPACES]));
		must(*(volatile uint64_t *)(void *)all.memory[0] == n % SPACES);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(threads[i], &said[i]);
		ck_assert_msg(said[i] == NULL, "%s", (const char *)said[i]);
	}
	ck_assert_uint_gt(atomic_load(&mapper.maps), 100);
	switch_and_look(&all, SPACES);
	processes_end(&all);
}
END_TEST

struct worker {
	upage_space *space; /* of its own, not in the window */
	char *memory;
	uint64_t seed;
};

/* Faults, and evicts what is the window's, too. */
static void *fault_all_the_time(void *argument)
{
	struct worker *worker = argument;
	volatile uint64_t *words = (void *)worker->memory;
	uint64_t written[96] = { 0 };
	while (!atomic_load(&stop)) {
		size_t i = random_number(&worker->seed) % 96;
		if (words[i * PAGE / 8] != written[i])
			return worker;
		words[i * PAGE / 8] = written[i] = random_number(&worker->seed);
	}
	return NULL;
}

static void among_faults(const char *words)
{
	struct process all = processes_make(words, 64 * MIB, 40);
	volatile uint64_t *memory = (void *)all.memory[0];
	struct worker workers[3];
	pthread_t threads[LENGTH(workers)];
	static uint64_t written[SPACES][40];
	uint64_t seed = 23;
	memset(written, 0, sizeof(written));
	atomic_store(&stop, false);
	for (unsigned i = 0; i < LENGTH(workers); i++) {
		ck_assert_ok(upage_space_create(&workers[i].space, all.machine.pool, NULL));
		workers[i].memory = map(workers[i].space, NULL, 96);
		workers[i].seed = i;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, fault_all_the_time, &workers[i]), 0);
	}
	for (unsigned n = 0; n < 1500; n++) {
		unsigned now = (unsigned)(random_number(&seed) % SPACES);
		ck_assert_ok(upage_switch(all.space[now]));
		for (unsigned k = 0; k < 6; k++) {
			unsigned i = (unsigned)(random_number(&seed) % 40);
			must(memory[i * PAGE / 8] == written[now][i]);
			if (k % 2 == 0)
				memory[i * PAGE / 8] = written[now][i] = random_number(&seed);
		}
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < LENGTH(workers); i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		ck_assert_ptr_null(wrong);
		ck_assert_ok(upage_space_destroy(workers[i].space));
	}
	processes_end(&all);
}

START_TEST(other_spaces_fault_and_evict_meanwhile)
{
	static const char *const words[] = { "memory=256K", "memory=512K,policy=fifo" };
	among_faults(words[_i]);
}
END_TEST

/* The same where pages are hidden. */
START_TEST(other_spaces_fault_and_evict_while_pages_are_hidden)
{
	struct rlimit limit;
	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = (rlim_t)1 << 46; /* none in effect, but a limit */
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	among_faults("memory=256K");
}
END_TEST

/* ---- Forks -------------------------------------------------------------------------------------- */

static void look_in_child(struct process *all)
{
	child_must(holds(all->memory[0], 64, SPACES - 1));
	for (unsigned n = 0; n < 2 * SPACES; n++) {
		unsigned now = n % SPACES;
		child_must(upage_switch(all->space[now]) == 0);
		child_must(holds(all->memory[now], 64, now + (n < SPACES ? 0 : 77)));
		fill(all->memory[now], 64, now + 77);
	}
	child_must(upage_pool_verify(all->machine.pool) == 0);
	_exit(0);
}

START_TEST(a_child_has_all_spaces_current_and_parked)
{
	static const char *const words[] = { "memory=4M", "memory=128K", "memory=4M", "memory=128K" };
	struct process all = filled_processes(words[_i]);
	struct bystander bystander;
	bool threads = _i >= 2;
	if (threads)
		bystander_begin(&bystander);
	if (_i % 2 == 0) /* around pages that are pinned other ways are gone */
		ck_assert_ok(upage_pin(all.space[1], all.memory[1], PAGE, PROT_READ));
	fflush(NULL);
	pid_t child = fork();
	if (child == 0)
		look_in_child(&all);
	switch_and_look(&all, 2 * SPACES); /* the parent goes on meanwhile */
	must_end_well(child);
	switch_and_look(&all, SPACES);
	if (_i % 2 == 0)
		ck_assert_ok(upage_unpin(all.space[1], all.memory[1], PAGE));
	if (threads)
		bystander_end(&bystander);
	processes_end(&all);
}
END_TEST

/* Every other page: so many mappings that most are not shown again, but by faults. */
static void fill_scattered(struct process *all, uint64_t seed)
{
	for (unsigned i = 0; i < 2; i++) {
		child_must(upage_switch(all->space[i]) == 0);
		for (unsigned k = 0; k < 800; k += 2)
			fill(all->memory[0] + k * PAGE, 1, seed + i);
	}
}

static bool holds_scattered(struct process *all, uint64_t seed)
{
	bool good = true;
	for (unsigned i = 0; i < 2; i++) {
		good = good && upage_switch(all->space[i]) == 0;
		for (unsigned k = 0; k < 800; k += 2)
			good = good && holds(all->memory[0] + k * PAGE, 1, seed + i);
	}
	return good;
}

START_TEST(a_child_never_has_its_parents_parked_pages)
{
	struct process all = processes_make("memory=8M", 64 * MIB, 800);
	struct bystander bystander;
	if (_i == 1)
		bystander_begin(&bystander);
	fill_scattered(&all, 1);
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		child_must(holds_scattered(&all, 1));
		fill_scattered(&all, 7);
		child_must(holds_scattered(&all, 7));
		child_must(upage_pool_verify(all.machine.pool) == 0);
		_exit(0);
	}
	must_end_well(child);
	ck_assert(holds_scattered(&all, 1));
	if (_i == 1)
		bystander_end(&bystander);
	processes_end(&all);
}
END_TEST

START_TEST(forks_beside_threads_that_fault)
{
	struct process all = filled_processes("memory=512K");
	struct worker worker = { .seed = 3 };
	pthread_t thread;
	void *wrong;
	ck_assert_ok(upage_space_create(&worker.space, all.machine.pool, NULL));
	worker.memory = map(worker.space, NULL, 96);
	atomic_store(&stop, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, fault_all_the_time, &worker), 0);
	for (unsigned n = 0; n < 20; n++) {
		ck_assert_ok(upage_switch(all.space[SPACES - 1]));
		fflush(NULL);
		pid_t child = fork();
		if (child == 0)
			look_in_child(&all);
		switch_and_look(&all, SPACES);
		must_end_well(child);
	}
	atomic_store(&stop, true);
	pthread_join(thread, &wrong);
	ck_assert_ptr_null(wrong);
	ck_assert_ok(upage_space_destroy(worker.space));
	processes_end(&all);
}
END_TEST

/* ------------------------------------------------------------------------------------------------ */

int main(void)
{
	Suite *suite = suite_create("switch_threads");
	TCase *tests = tcase_create("switch_threads");
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, no_other_mapping_comes_between);
	tcase_add_loop_test(tests, other_spaces_fault_and_evict_meanwhile, 0, 2);
	tcase_add_test(tests, other_spaces_fault_and_evict_while_pages_are_hidden);
	tcase_add_loop_test(tests, a_child_has_all_spaces_current_and_parked, 0, 4);
	tcase_add_loop_test(tests, a_child_never_has_its_parents_parked_pages, 0, 2);
	tcase_add_test(tests, forks_beside_threads_that_fault);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
