/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_reclaim.c - the option reclaimers: frames free, and zero, ahead of need, by threads of ours
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

#include "support.h"

#define POOL_PAGES ((size_t)1024) /* memory=4M: 8 free frames are few, 16 enough */
#define LOW 8
#define HIGH 16

static void fill(char *memory, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		random_bytes(memory + i * PAGE, 64, i);
}

static bool has_filled(const char *memory, size_t pages)
{
	char expected[64];
	for (size_t i = 0; i < pages; i++) {
		random_bytes(expected, sizeof(expected), i);
		if (memcmp(memory + i * PAGE, expected, sizeof(expected)) != 0)
			return false;
	}
	return true;
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* Waits until the process has so many threads, for up to ten seconds. */
static bool comes_to_threads(size_t count)
{
	for (int i = 0; i < 1000 && entries("/proc/self/task") != count; i++)
		sleep_ms(10);
	return entries("/proc/self/task") == count;
}

static bool comes_to_free(struct machine m, uint64_t least)
{
	for (int i = 0; i < 1000 && machine_stats(m).frames_free < least; i++)
		sleep_ms(10);
	return machine_stats(m).frames_free >= least;
}

/* ---- Watermarks -------------------------------------------------------------------------- */

START_TEST(frames_are_freed_while_nobody_asks)
{
	struct machine m = machine_make("memory=4M,reclaimers=1");
	char *memory = machine_map(m, 3 * POOL_PAGES, RW);
	fill(memory, 3 * POOL_PAGES);
	struct upage_stats before = machine_stats(m);
	ck_assert(comes_to_free(m, LOW)); /* if there were that many, nobody rang */
	struct upage_stats after = machine_stats(m);
	ck_assert_uint_eq(after.faults, before.faults);
	ck_assert_uint_gt(after.reclaimed, 0);
	ck_assert_uint_ge(after.evictions, after.reclaimed);
	ck_assert_uint_ge(after.evictions, 2 * POOL_PAGES);
	/* Once few were free when they were looked at, many come. */
	for (size_t i = 0; machine_stats(m).frames_free < HIGH; i++, sleep_ms(1))
		(void)((volatile char *)memory)[i % (3 * POOL_PAGES) * PAGE];
	sleep_ms(50);
	ck_assert_uint_lt(machine_stats(m).frames_free, 2 * HIGH);
	must(has_filled(memory, 3 * POOL_PAGES));
	machine_end(m);
}
END_TEST

/* Those of the process that are named as ours are. */
static size_t reclaimers_running(void)
{
	size_t count = 0;
	DIR *tasks = opendir("/proc/self/task");
	for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
		char path[300], name[32] = "";
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
		FILE *file = fopen(path, "r");
		if (file == NULL)
			continue;
		count += fgets(name, sizeof(name), file) != NULL && strcmp(name, "upage-reclaim\n") == 0;
		fclose(file);
	}
	closedir(tasks);
	return count;
}

START_TEST(threads_are_as_many_as_asked_for_and_end)
{
	static const struct {
		const char *words;
		size_t threads;
	} cases[] = { { "memory=4M,reclaimers=auto", 0 },
		      { "memory=4M,reclaimers=0", 0 },
		      { "memory=512K,reclaimers=2", 0 }, /* too small for a reserve */
		      { "memory=4M,reclaimers=1", 1 },
		      { "memory=4M,reclaimers=3", 3 } };
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct machine m = machine_make(cases[i].words);
		char *memory = machine_map(m, 2 * POOL_PAGES, RW);
		ck_assert_uint_eq(entries("/proc/self/task"), 1); /* none is needed yet */
		fill(memory, 2 * POOL_PAGES);
		size_t most = 0;
		for (int k = 0; k < 100 && most < cases[i].threads; k++) {
			must(has_filled(memory, 2 * POOL_PAGES));
			most = reclaimers_running();
		}
		ck_assert_uint_eq(most, cases[i].threads);
		ck_assert_uint_eq(machine_stats(m).reclaimed > 0, cases[i].threads > 0);
		/* Nobody needs them. */
		ck_assert(comes_to_threads(1));
		must(has_filled(memory, 2 * POOL_PAGES));
		machine_end(m);
		ck_assert_uint_eq(entries("/proc/self/task"), 1);
	}
}
END_TEST

START_TEST(other_numbers_are_refused)
{
	static const char *const words[] = { "reclaimers=9", "reclaimers=-1", "reclaimers=one", "reclaimers=1x" };
	for (size_t i = 0; i < LENGTH(words); i++) {
		struct upage_config config = UPAGE_CONFIG_INIT;
		ck_assert_int_eq(upage_config_parse(&config, words[i]), UPAGE_EOPTION);
		ck_assert_ptr_nonnull(strstr(config.message, "there are auto, and 0 to 8"));
	}
}
END_TEST

/* ---- Zeros ------------------------------------------------------------------------------- */

START_TEST(recycled_frames_are_zeroed_ahead)
{
	struct machine m = machine_make("memory=4M,reclaimers=1,mapping=remap");
	static const char zeros[PAGE];
	uint64_t ahead = 0;
	for (unsigned round = 0; round < 50 && (round < 10 || ahead == 0); round++) {
		char *memory = machine_map(m, POOL_PAGES / 2, RW);
		for (size_t i = 0; i < POOL_PAGES / 2; i++) {
			must(memcmp(memory + i * PAGE, zeros, PAGE) == 0);
			memset(memory + i * PAGE, (int)round + 1, PAGE);
		}
		sleep_ms(5);
		ahead = machine_stats(m).zeroed_ahead;
		for (size_t i = 0; i < POOL_PAGES / 2; i++)
			must(memory[i * PAGE] == (char)(round + 1) && memory[(i + 1) * PAGE - 1] == (char)(round + 1));
		ck_assert_ok(upage_unmap(m.space, memory, POOL_PAGES / 2 * PAGE));
	}
	ck_assert_uint_gt(ahead, 0);
	ck_assert_uint_eq(machine_stats(m).reclaimed, 0);
	ck_assert_uint_le(machine_stats(m).frames_peak, POOL_PAGES / 2 + 16); /* those on their way */
	machine_end(m);
}
END_TEST

/* ---- Swap that is full ------------------------------------------------------------------- */

static double thread_seconds(void)
{
	double all = 0;
	DIR *tasks = opendir("/proc/self/task");
	for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
		char path[300];
		unsigned long long ran = 0;
		snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", task->d_name);
		bool other = task->d_name[0] != '.' && strtol(task->d_name, NULL, 10) != getpid();
		FILE *file = other ? fopen(path, "r") : NULL; /* task/.. has a schedstat too: the first thread's */
		if (file == NULL)
			continue;
		if (fscanf(file, "%llu", &ran) == 1)
			all += (double)ran / 1e9;
		fclose(file);
	}
	closedir(tasks);
	return all;
}

/* As much as frames and slots can hold is held, whoever else evicts. */
START_TEST(all_that_was_promised_is_there)
{
	for (unsigned i = 0; i < 20; i++) {
		struct machine m = machine_make(i % 2 == 0 ? "memory=4M,swap-size=1M,reclaimers=1"
		                                           : "memory=4M,swap-size=1M,reclaimers=4");
		size_t pages = POOL_PAGES + 256 - 1;
		char *memory = machine_map(m, pages, RW);
		fill(memory, pages);
		must(has_filled(memory, pages));
		machine_end(m);
	}
}
END_TEST

START_TEST(who_can_evict_nothing_does_not_spin)
{
	struct machine m = machine_make("memory=4M,swap-size=1M,store=file,overcommit,reclaimers=1");
	char *memory = machine_map(m, POOL_PAGES, RW), *last = machine_map(m, POOL_PAGES, RW);
	fill(memory, POOL_PAGES);
	for (size_t i = 0; i < POOL_PAGES; i++)
		if (is_bus_error(last + i * PAGE, true))
			break;
	/* References go on, and each rings: but frames stay few. */
	double before = thread_seconds(), end = 0;
	for (int i = 0; i < 100; i++) {
		ck_assert(is_bus_error(last + (POOL_PAGES - 1) * PAGE, true));
		sleep_ms(10);
		double now = thread_seconds();
		end = now > end ? now : end;
	}
	ck_assert_msg(end - before < 0.25, "%f seconds of one", end - before);
	/* Room again: it goes on. */
	uint64_t reclaimed = machine_stats(m).reclaimed;
	ck_assert_ok(upage_unmap(m.space, memory, POOL_PAGES / 2 * PAGE));
	sleep_ms(700); /* it stays away for half a second */
	char *more = machine_map(m, POOL_PAGES, PROT_READ);
	for (size_t i = 0; i < 1000 * POOL_PAGES && machine_stats(m).reclaimed == reclaimed; i++)
		must(((volatile char *)more)[i % POOL_PAGES * PAGE] == 0);
	ck_assert_uint_gt(machine_stats(m).reclaimed, reclaimed);
	machine_end(m);
}
END_TEST

/* What pins leave is for the program. */
START_TEST(where_most_is_pinned_nothing_is_reserved)
{
	struct machine m = machine_make("memory=4M,reclaimers=1");
	char *pinned = machine_map(m, POOL_PAGES - 24, RW), *memory = machine_map(m, 64, RW);
	fill(memory, 64);
	ck_assert_ok(upage_pin(m.space, pinned, (POOL_PAGES - 24) * PAGE, RW));
	uint64_t reclaimed = machine_stats(m).reclaimed;
	for (int i = 0; i < 100; i++) {
		must(has_filled(memory, 64));
		sleep_ms(1);
	}
	ck_assert_uint_eq(machine_stats(m).reclaimed, reclaimed);
	ck_assert_ok(upage_unpin(m.space, pinned, (POOL_PAGES - 24) * PAGE));
	machine_end(m);
}
END_TEST

/* ---- Signals ----------------------------------------------------------------------------- */

static _Atomic unsigned taken, taken_elsewhere;

static void on_signal(int number)
{
	(void)number;
	atomic_fetch_add(&taken, 1);
	if (syscall(SYS_gettid) != getpid())
		atomic_fetch_add(&taken_elsewhere, 1);
}

START_TEST(signals_to_the_process_are_the_programs)
{
	struct machine m = machine_make("memory=4M,reclaimers=2");
	char *memory = machine_map(m, 2 * POOL_PAGES, RW);
	const int numbers[] = { SIGUSR1, SIGRTMIN, SIGRTMAX };
	unsigned sent = 0;
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < LENGTH(numbers); i++) {
		sigaction(numbers[i], &(struct sigaction){ .sa_handler = on_signal }, NULL);
		sigaddset(&set, numbers[i]);
	}
	fill(memory, 2 * POOL_PAGES);
	for (unsigned round = 0; round < 50; round++) {
		must(has_filled(memory, 2 * POOL_PAGES)); /* reclaimers are there */
		/* Blocked here: another thread that does not block it would take it. */
		sigprocmask(SIG_BLOCK, &set, NULL);
		unsigned before = atomic_load(&taken);
		for (size_t i = 0; i < LENGTH(numbers); i++, sent++)
			kill(getpid(), numbers[i]);
		must(((volatile char *)memory)[round * PAGE] == memory[round * PAGE]);
		ck_assert_uint_eq(atomic_load(&taken), before);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	ck_assert_uint_eq(atomic_load(&taken), sent);
	ck_assert_uint_eq(atomic_load(&taken_elsewhere), 0);
	machine_end(m);
}
END_TEST

/* ---- Processes --------------------------------------------------------------------------- */

START_TEST(a_child_of_a_fork_has_its_own)
{
	struct machine m = machine_make("memory=4M,reclaimers=1");
	char *memory = machine_map(m, 2 * POOL_PAGES, RW);
	fill(memory, 2 * POOL_PAGES);
	for (unsigned i = 0; i < 8; i++) {
		must(has_filled(memory, 2 * POOL_PAGES));
		fflush(NULL);
		pid_t child = fork();
		if (child == 0) {
			if (reclaimers_running() != 0)
				_exit(2);
			fill(memory, 2 * POOL_PAGES);
			if (!has_filled(memory, 2 * POOL_PAGES))
				_exit(3);
			if (!comes_to_free(m, LOW) || machine_stats(m).reclaimed == 0)
				_exit(4);
			if (upage_pool_verify(m.pool) != 0 || !comes_to_threads(1))
				_exit(5);
			_exit(0);
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
	}
	must(has_filled(memory, 2 * POOL_PAGES));
	machine_end(m);
}
END_TEST

/* A process that only borrows the memory must not have the thread: with it, it would vanish. */
START_TEST(a_vfork_child_makes_none)
{
	struct machine m = machine_make("memory=4M,reclaimers=1");
	char *memory = machine_map(m, 2 * POOL_PAGES, RW);
	pid_t child = vfork();
	if (child == 0) {
		fill(memory, 2 * POOL_PAGES);
		_exit(entries("/proc/self/task") == 1 ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	do /* here it is made, and has something to do as soon as it gets a processor */
		must(has_filled(memory, 2 * POOL_PAGES));
	while (machine_stats(m).reclaimed == 0);
	machine_end(m);
}
END_TEST

static void end_only_this_thread(void)
{
	struct machine m = machine_make("memory=4M,reclaimers=2");
	char *memory = machine_map(m, 2 * POOL_PAGES, RW);
	fill(memory, 2 * POOL_PAGES);
	for (int i = 0; i < 100 && reclaimers_running() == 0; i++)
		must(has_filled(memory, 2 * POOL_PAGES));
	syscall(SYS_exit, 7);
}

START_TEST(a_process_ends_with_its_last_thread)
{
	char said[300];
	int status = in_child(end_only_this_thread, said, sizeof(said));
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 7, "%x: %s", status, said);
}
END_TEST

/* ---- All at once ------------------------------------------------------------------------- */

struct hammer {
	pthread_t thread;
	char *memory;
	uint64_t random;
	_Atomic bool *stop;
	bool wrong;
};

#define HAMMER_PAGES ((size_t)600)

static void *hammer(void *argument)
{
	struct hammer *h = argument;
	uint32_t versions[HAMMER_PAGES] = { 0 };
	while (!atomic_load(h->stop)) {
		size_t page = random_number(&h->random) % HAMMER_PAGES;
		volatile uint32_t *words = (volatile uint32_t *)(void *)(h->memory + page * PAGE);
		h->wrong = h->wrong || words[0] != versions[page] || words[PAGE / 4 - 1] != versions[page];
		if (page % 3 != 0)
			words[0] = words[PAGE / 4 - 1] = ++versions[page];
	}
	return NULL;
}

#define HAMMERS 4

static void hammer_and_fork(const char *words)
{
	struct machine m = machine_make(words);
	struct hammer hammers[HAMMERS];
	_Atomic bool stop = false;
	char *memory = machine_map(m, 500, RW);
	fill(memory, 500);
	for (unsigned i = 0; i < HAMMERS; i++) {
		hammers[i] = (struct hammer){ .memory = machine_map(m, HAMMER_PAGES, RW), .random = i, .stop = &stop };
		pthread_create(&hammers[i].thread, NULL, hammer, &hammers[i]);
	}
	for (unsigned i = 0; i < 10; i++) {
		fflush(NULL);
		pid_t child = fork();
		if (child == 0) {
			if (!has_filled(memory, 500))
				_exit(1);
			for (unsigned k = 0; k < HAMMERS; k++)
				for (size_t page = 0; page < HAMMER_PAGES; page++)
					hammers[k].memory[page * PAGE + 100] = 1;
			_exit(has_filled(memory, 500) && upage_pool_verify(m.pool) == 0 ? 0 : 2);
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
		must(has_filled(memory, 500));
		if (i % 2 == 0)
			ck_assert_ok(upage_compact(m.pool, NULL));
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < HAMMERS; i++) {
		pthread_join(hammers[i].thread, NULL);
		ck_assert(!hammers[i].wrong);
	}
	ck_assert_uint_gt(machine_stats(m).reclaimed, 0);
	machine_end(m);
}

START_TEST(threads_forks_and_compaction)
{
	hammer_and_fork("memory=4M,reclaimers=1");
	hammer_and_fork("memory=4M,reclaimers=3,policy=fifo,prefetch=auto");
	hammer_and_fork("memory=4M,reclaimers=2,policy=random");
	hammer_and_fork("memory=1M,reclaimers=2");
}
END_TEST

START_TEST(metadata_stay_guarded)
{
	hammer_and_fork("memory=4M,reclaimers=2,guard-metadata");
}
END_TEST

/* The pool goes while its reclaimers are at work. */
START_TEST(a_pool_ends_in_the_middle)
{
	for (unsigned i = 0; i < 100; i++) {
		struct machine m = machine_make("memory=2M,reclaimers=2");
		char *memory = machine_map(m, POOL_PAGES, RW);
		for (size_t page = 0; page < 512 + i * 4; page++)
			memory[page * PAGE] = 1;
		ck_assert_ok(upage_space_destroy(m.space));
		ck_assert_ok(upage_pool_destroy(m.pool));
		ck_assert_uint_eq(entries("/proc/self/task"), 1);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reclaim");
	TCase *cases = tcase_create("reclaimers");
	tcase_set_timeout(cases, 60);
	tcase_add_test(cases, frames_are_freed_while_nobody_asks);
	tcase_add_test(cases, threads_are_as_many_as_asked_for_and_end);
	tcase_add_test(cases, other_numbers_are_refused);
	tcase_add_test(cases, recycled_frames_are_zeroed_ahead);
	tcase_add_test(cases, all_that_was_promised_is_there);
	tcase_add_test(cases, who_can_evict_nothing_does_not_spin);
	tcase_add_test(cases, where_most_is_pinned_nothing_is_reserved);
	tcase_add_test(cases, signals_to_the_process_are_the_programs);
	tcase_add_test(cases, a_child_of_a_fork_has_its_own);
	tcase_add_test(cases, a_vfork_child_makes_none);
	tcase_add_test(cases, a_process_ends_with_its_last_thread);
	tcase_add_test(cases, threads_forks_and_compaction);
	tcase_add_test(cases, metadata_stay_guarded);
	tcase_add_test(cases, a_pool_ends_in_the_middle);
	suite_add_tcase(suite, cases);
	return run_suite(suite);
}
