/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_fork_calls.c - pool_fork.h by direct calls, as they are made where fork(2) is
 * intercepted: failures are told, tables of descriptors may be shared; and descriptors of ours
 * that give way to the program's
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "host.h"
#include "map.h"
#include "pool_fork.h"
#include "signals.h"
#include "support_fork.h"

static size_t ours(void)
{
	size_t count = 0;
	for (int at = -1; (at = host_next_descriptor(at + 1)) >= 0;)
		count++;
	return count;
}

/* A fork as an interceptor makes it. Return: as of fork(2). */
static pid_t fork_by_calls(bool threads, unsigned long flags)
{
	signal_mask mask = signals_block();
	int failure = pool_fork_begin(threads);
	if (failure < 0) {
		signals_set(mask);
		return failure;
	}
	pid_t child = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		pool_fork_child(flags & CLONE_FILES);
	else
		pool_fork_parent(child < 0, flags & CLONE_FILES);
	signals_set(mask);
	return child;
}

/* ---- Forks ------------------------------------------------------------------------------- */

START_TEST(handlers_of_fork_leave_it_to_a_guest)
{
	struct machine m = machine_make(MEMORY);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	atomic_store(&pool_fork_by_guest, true);
	pid_t child = fork(); /* not intercepted: nobody makes a copy */
	if (child == 0) {
		child_must(upage_pin(m.space, memory, PAGE, RW) == UPAGE_ENOTSUP);
		_exit(0);
	}
	must_end_well(child);
	child = fork_by_calls(false, 0);
	if (child == 0) {
		child_must(holds(memory, PAGES, 1));
		fill(memory, PAGES, 2);
		child_must(holds(memory, PAGES, 2));
		child_must(upage_pool_verify(m.pool) == 0);
		_exit(0);
	}
	must_end_well(child);
	atomic_store(&pool_fork_by_guest, false);
	ck_assert(holds(memory, PAGES, 1));
	machine_end(m);
}
END_TEST

/* Two pages are held by calls, one of them by the program too, once. */
START_TEST(pins_of_system_calls_are_not_the_childs)
{
	struct machine m = machine_make(MEMORY);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(map_hold(m.space, memory + 5, RW), 0);
	ck_assert_int_eq(map_hold(m.space, memory + PAGE, RW), 0);
	ck_assert_int_eq(upage_unpin(m.space, memory, PAGE), UPAGE_EINVAL);
	ck_assert_ok(upage_pin(m.space, memory, PAGE, RW));
	pid_t child = fork_by_calls(false, 0);
	if (child == 0) {
		child_must(machine_stats(m).frames_pinned == 1);
		child_must(upage_pool_verify(m.pool) == 0);
		child_must(upage_unpin(m.space, memory, PAGE) == 0);
		child_must(upage_unpin(m.space, memory, PAGE) == UPAGE_EINVAL);
		child_must(machine_stats(m).frames_pinned == 0);
		fill(memory, PAGES, 2);
		child_must(upage_unmap(m.space, memory, PAGES * PAGE) == 0);
		_exit(0);
	}
	must_end_well(child);
	ck_assert_uint_eq(machine_stats(m).frames_pinned, 2);
	ck_assert_ok(upage_unpin(m.space, memory, PAGE));
	ck_assert_uint_eq(machine_stats(m).frames_pinned, 2);
	for (int i = 0; i < 3; i++)
		map_release(m.space, memory);
	map_release(m.space, memory + 2 * PAGE - 1);
	ck_assert_uint_eq(machine_stats(m).frames_pinned, 0);
	ck_assert(holds(memory, PAGES, 1));
	machine_end(m);
}
END_TEST

START_TEST(a_shared_table_of_descriptors_serves_both)
{
	struct machine m = machine_make(MEMORY ",mapping=remap,store=file");
	char *memory = machine_map(m, PAGES, RW);
	int pipes[2], status = 0;
	fill(memory, PAGES, 1); /* more than there are frames: all descriptors are there */
	size_t before = open_descriptors(), our = ours();
	ck_assert_int_eq(pipe(pipes), 0);
	pid_t child = fork_by_calls(false, CLONE_FILES);
	if (child == 0) {
		child_must(holds(memory, PAGES, 1));
		fill(memory, PAGES, 2);
		/* Of its own fork, with a table of its own, the grandchild keeps only its own. */
		pid_t grandchild = fork_by_calls(false, 0);
		if (grandchild == 0) {
			child_must(holds(memory, PAGES, 2));
			child_must(ours() == our && open_descriptors() == before + 2);
			_exit(0);
		}
		child_must(waitpid(grandchild, &status, 0) == grandchild && status == 0);
		child_must(holds(memory, PAGES, 2));
		child_must(write(pipes[1], "", 1) == 1);
		_exit(0);
	}
	/* Both at a time: the child's descriptors are ours to leave alone, and open. */
	ck_assert_uint_eq(ours(), our + 2);
	for (int i = 0; i < 10; i++)
		ck_assert(holds(memory, PAGES, 1));
	must_end_well(child);
	fill(memory, PAGES, 3);
	ck_assert(holds(memory, PAGES, 3));
	ck_assert_uint_eq(ours(), our + 2);
	for (int at = -1; (at = host_next_descriptor(at + 1)) >= 0;)
		ck_assert_int_ge(fcntl(at, F_GETFD), 0);
	machine_end(m);
}
END_TEST

START_TEST(a_fork_that_fails_changes_nothing)
{
	struct machine m = machine_make(MEMORY);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	size_t before = open_descriptors();
	for (int i = 0; i < 50; i++) {
		/* Flags that clone(2) refuses. */
		pid_t child = fork_by_calls(i % 2, CLONE_SIGHAND | (i % 3 ? CLONE_FILES : 0));
		ck_assert_int_eq(child, -1);
		ck_assert_uint_eq(open_descriptors(), before);
	}
	ck_assert(holds(memory, PAGES, 1));
	machine_end(m);
}
END_TEST

static char *shared_memory;
static _Atomic bool stop;
static _Atomic unsigned mistakes;

/* Each thread its own pages; reads what it wrote a round before. */
static void *use_memory(void *argument)
{
	unsigned number = *(unsigned *)argument;
	char *mine = shared_memory + number * 64 * PAGE;
	for (uint64_t round = 1; !atomic_load(&stop); round++) {
		for (size_t i = 0; i < 64; i++) {
			volatile uint64_t *word = (volatile uint64_t *)(void *)(mine + i * PAGE);
			if (*word != round - 1)
				atomic_fetch_add(&mistakes, 1);
			*word = round;
		}
	}
	return NULL;
}

#define THREADS 4
static pthread_t threads[THREADS];

static void start(void)
{
	static unsigned numbers[THREADS] = { 0, 1, 2, 3 };
	atomic_store(&stop, false);
	atomic_store(&mistakes, 0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, use_memory, &numbers[i]), 0);
}

static void finish(void)
{
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(mistakes, 0);
}

START_TEST(swap_is_copied_to_where_it_is)
{
	char directory[] = "check_fork_calls-XXXXXX", words[128], *here = getcwd(NULL, 0);
	ck_assert(here != NULL && mkdtemp(directory) != NULL);
	snprintf(words, sizeof(words), MEMORY ",store=file:%s%s", directory, _i ? "/name" : "");
	struct machine m = machine_make(words);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	ck_assert_int_eq(chdir("/"), 0);
	pid_t child = fork_by_calls(false, 0);
	if (child == 0) {
		char link[4200], name[64], wanted[4200];
		bool found = false;
		snprintf(wanted, sizeof(wanted), "%s/%s/", here, directory);
		for (int at = -1; (at = host_next_descriptor(at + 1)) >= 0;) {
			snprintf(name, sizeof(name), "/proc/self/fd/%d", at);
			ssize_t n = readlink(name, link, sizeof(link) - 1);
			link[n > 0 ? n : 0] = '\0';
			found = found || strncmp(link, wanted, strlen(wanted)) == 0;
		}
		child_must(found);
		child_must(holds(memory, PAGES, 1));
		_exit(0);
	}
	must_end_well(child);
	ck_assert_int_eq(chdir(here), 0);
	machine_end(m);
	ck_assert_int_eq(rmdir(directory), 0);
	free(here);
}
END_TEST

/* Of a device, which the host does not copy by itself; and no more than there is. */
START_TEST(what_the_host_does_not_copy_goes_through_memory)
{
	const size_t length = (600 << 10) + 123;
	int memory = host_memory_create(1 << 20), zero = open("/dev/zero", O_RDONLY);
	char *bytes = malloc(1 << 20), name[] = "check_fork_calls-XXXXXX";
	memset(bytes, 7, 1 << 20);
	ck_assert(memory >= 0 && zero >= 0);
	ck_assert_ok(host_write(memory, bytes, 1 << 20, 0));
	ck_assert_ok(host_copy(zero, memory, 1000, length));
	ck_assert_ok(host_read(memory, bytes, 1 << 20, 0));
	for (size_t i = 0; i < 1 << 20; i++)
		ck_assert_int_eq(bytes[i], i < 1000 || i >= 1000 + length ? 7 : 0);
	int file = mkstemp(name);
	unlink(name);
	ck_assert_int_eq(write(file, "12345", 5), 5);
	ck_assert_ok(host_copy(file, memory, 0, 100));
	ck_assert_ok(host_read(memory, bytes, 6, 0));
	ck_assert_int_eq(memcmp(bytes, "12345\7", 6), 0);
	ck_assert_int_eq(host_copy(-1, memory, 0, 100), -EBADF);
	free(bytes);
	close(file);
	close(zero);
	close(memory);
}
END_TEST

/* Too little for a memory; or enough for that, but not for swap. */
START_TEST(files_that_may_not_be_so_long_are_an_error)
{
	static const rlim_t limits[] = { 16 * PAGE, 40 * PAGE };
	struct machine m = machine_make(MEMORY ",store=file");
	char *memory = machine_map(m, PAGES, RW);
	const struct rlimit low = { limits[_i], limits[_i] };
	struct rlimit saved;
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &saved), 0);
	fill(memory, PAGES, 1);
	size_t before = open_descriptors();
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
	pid_t child = fork_by_calls(false, 0);
	ck_assert_int_eq(child, -ENOMEM);
	ck_assert_uint_eq(open_descriptors(), before);
	ck_assert_ok(upage_pool_verify(m.pool));
	if (setrlimit(RLIMIT_FSIZE, &saved) == 0) /* only the privileged may */
		ck_assert(holds(memory, PAGES, 1));
	machine_end(m);
}
END_TEST

/* Without one more, to look with. */
static size_t numbers_in_use(void)
{
	size_t count = 0;
	for (int i = 0; i < 8192; i++)
		count += fcntl(i, F_GETFD) >= 0;
	return count;
}

static int fill_descriptors(int taken[], int most)
{
	int count = 0;
	while (count < most && (taken[count] = dup(2)) >= 0)
		count++;
	ck_assert_int_eq(errno, EMFILE);
	return count;
}

static void must_fork_well(struct machine m)
{
	pid_t child = fork_by_calls(true, 0);
	if (child == 0) {
		child_must(upage_pool_verify(m.pool) == 0);
		fill(shared_memory, PAGES, 1);
		child_must(holds(shared_memory, PAGES, 1));
		_exit(0);
	}
	must_end_well(child);
}

/* No descriptor for a memory; or one for that, but none for swap. Threads go on meanwhile. Above its
 * own limit, but under the hard one, there is always one. */
START_TEST(descriptors_that_cannot_be_had_are_an_error)
{
	struct machine m = machine_make(MEMORY ",store=file");
	struct rlimit limit;
	int taken[300];
	shared_memory = machine_map(m, PAGES, RW);
	start();
	while (machine_stats(m).swap_slots < PAGES / 2)
		sched_yield();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 300;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	int count = fill_descriptors(taken, 300);
	size_t before = numbers_in_use();
	must_fork_well(m);
	ck_assert_uint_eq(numbers_in_use(), before);
	limit.rlim_max = limit.rlim_cur;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int i = 0; i < 40; i++) {
		if (i % 2)
			close(taken[count - 1]);
		before = numbers_in_use();
		ck_assert_int_eq(fork_by_calls(true, 0), -EAGAIN);
		ck_assert_uint_eq(numbers_in_use(), before);
		if (i % 2)
			taken[count - 1] = dup(2);
	}
	while (count > 0)
		close(taken[--count]);
	must_fork_well(m);
	finish();
	machine_end(m);
}
END_TEST

/* ---- Descriptors --------------------------------------------------------------------------- */

START_TEST(ours_are_high_and_known)
{
	size_t before = open_descriptors(), our = ours();
	struct machine m = machine_make(MEMORY ",mapping=remap,store=file");
	ck_assert_uint_eq(ours(), our + 2);
	ck_assert_uint_eq(open_descriptors(), before + 2);
	int first = host_next_descriptor(0), second = host_next_descriptor(first + 1);
	ck_assert_int_gt(first, 255);
	ck_assert_int_gt(second, first);
	ck_assert_int_eq(host_next_descriptor(second + 1), -1);
	ck_assert(host_owns_descriptor(first) && host_owns_descriptor(second));
	ck_assert_int_eq(fcntl(first, F_GETFD), FD_CLOEXEC);
	for (int i = -2; i < 300; i++)
		ck_assert(!host_owns_descriptor(i));
	ck_assert_int_eq(pool_move_descriptor(2), -EBADF);
	ck_assert_int_eq(pool_move_descriptor(-1), -EBADF);
	machine_end(m);
	ck_assert(!host_owns_descriptor(first) && !host_owns_descriptor(second));
	ck_assert_uint_eq(ours(), our);
}
END_TEST

START_TEST(a_process_of_few_descriptors)
{
	struct rlimit limit = { 40, 200 };
	int taken[40];
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	struct machine m = machine_make(MEMORY);
	ck_assert_int_ge(host_next_descriptor(0), 40); /* above all that the program may have */
	machine_end(m);
	limit.rlim_max = 40;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	m = machine_make(MEMORY);
	ck_assert_int_ge(host_next_descriptor(0), 20);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	int count = fill_descriptors(taken, 40);
	ck_assert_int_eq(pool_move_descriptor(host_next_descriptor(0)), -EMFILE);
	ck_assert(holds(memory, PAGES, 1));
	while (count > 0)
		close(taken[--count]);
	machine_end(m);
}
END_TEST

/* The number is taken at once by a file of the program's, which nobody may write to. */
START_TEST(ours_give_way_while_they_are_in_use)
{
	struct machine m = machine_make("memory=64K");
	char name[] = "check_fork_calls-XXXXXX", byte;
	int file = mkstemp(name);
	ck_assert_int_ge(file, 0);
	unlink(name);
	shared_memory = machine_map(m, PAGES, RW);
	start();
	while (machine_stats(m).evictions == 0) /* that opens one */
		sched_yield();
	for (int i = 0; i < 3000; i++) {
		int own = host_next_descriptor(0);
		if (i % 2)
			own = host_next_descriptor(own + 1);
		ck_assert_int_ge(own, 0);
		ck_assert_int_eq(pool_move_descriptor(own), 0);
		ck_assert(!host_owns_descriptor(own));
		ck_assert_int_eq(fcntl(own, F_GETFD), -1);
		ck_assert_int_eq(dup2(file, own), own);
		sched_yield();
		ck_assert_int_eq(close(own), 0);
	}
	finish();
	ck_assert_int_eq(pread(file, &byte, 1, 0), 0); /* still empty */
	close(file);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fork_calls");
	TCase *tests = tcase_create("fork_calls");
	tcase_add_test(tests, handlers_of_fork_leave_it_to_a_guest);
	tcase_add_test(tests, pins_of_system_calls_are_not_the_childs);
	tcase_add_test(tests, a_shared_table_of_descriptors_serves_both);
	tcase_add_test(tests, a_fork_that_fails_changes_nothing);
	tcase_add_loop_test(tests, swap_is_copied_to_where_it_is, 0, 2);
	tcase_add_test(tests, what_the_host_does_not_copy_goes_through_memory);
	tcase_add_loop_test(tests, files_that_may_not_be_so_long_are_an_error, 0, 2);
	tcase_add_test(tests, descriptors_that_cannot_be_had_are_an_error);
	tcase_add_test(tests, ours_are_high_and_known);
	tcase_add_test(tests, a_process_of_few_descriptors);
	tcase_add_test(tests, ours_give_way_while_they_are_in_use);
	tcase_set_timeout(tests, 100);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
