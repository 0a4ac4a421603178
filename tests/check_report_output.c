/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_report_output.c - what is said at the end: to where, once, and whatever is in the way
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "report.h"
#include "support_report.h"

/* Who reads stderr to its end must not wait for a child that has closed it. */
START_TEST(a_child_does_not_keep_stderr_open)
{
	int pipes[2], saved = dup(2);
	ck_assert_int_eq(pipe(pipes), 0);
	dup2(pipes[1], 2);
	close(pipes[1]);
	upage_pool *pool = pool_make("stats");
	pid_t child = fork();
	if (child == 0) {
		alarm(50);
		dup2(saved, 2);
		stay(pool);
	}
	dup2(saved, 2);
	ck_assert_ok(upage_pool_destroy(pool));
	ck_assert_uint_gt(drain(pipes[0], text, sizeof(text)), 0);
	kill(child, SIGKILL);
	wait_for(child);
}
END_TEST

static pthread_barrier_t barrier;
static char raced[sizeof(directory) + 8];
static _Atomic unsigned incomplete;

static void *exit_and_look(void *unused)
{
	static _Thread_local char mine[8192];
	pthread_barrier_wait(&barrier);
	report_exit();
	int file = open(raced, O_RDONLY);
	if (file < 0 || drain(file, mine, sizeof(mine)) == 0 || !json_is_valid(mine))
		incomplete++;
	close(file);
	return unused;
}

START_TEST(threads_that_end_at_once_write_once_and_wait_for_it)
{
	enum { RACERS = 8 };
	snprintf(raced, sizeof(raced), "%s/out", directory);
	for (unsigned round = 0; round < 100; round++) {
		pthread_t threads[RACERS];
		int pipes[2];
		ck_assert_int_eq(pipe(pipes), 0);
		/* The file must be whole for whoever returns; the pipe counts who wrote. */
		upage_pool *counted = pool_make("stats-json=/proc/self/fd/%d", pipes[1]);
		upage_pool *pool = pool_make("stats-json=%s", raced);
		pthread_barrier_init(&barrier, NULL, RACERS);
		for (unsigned i = 0; i < RACERS; i++)
			ck_assert_int_eq(pthread_create(&threads[i], NULL, exit_and_look, NULL), 0);
		for (unsigned i = 0; i < RACERS; i++)
			ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert_uint_eq(incomplete, 0);
		ck_assert_int_eq(truncate(raced, 0), 0);
		report_exit();
		ck_assert_ok(upage_pool_destroy(pool));
		ck_assert_ok(upage_pool_destroy(counted));
		ck_assert_int_eq(content("out"), 0);
		close(pipes[1]);
		drain(pipes[0], text, sizeof(text));
		close(pipes[0]);
		ck_assert(json_is_valid(text)); /* one object, so written once */
		pthread_barrier_destroy(&barrier);
	}
}
END_TEST

static int aside(void (*body)(void))
{
	return in_child(body, text, sizeof(text));
}

static void onto_a_full_disk(void)
{
	pool_make("stats-json=/dev/full");
	report_exit();
	report_exit();
}

static void past_the_limit_of_files(void)
{
	struct rlimit limit = { 100, 100 };
	upage_pool *pool = pool_make("stats-json=%s/out", directory);
	setrlimit(RLIMIT_FSIZE, &limit);
	(void)pool;
	report_exit();
}

static void into_no_directory(void)
{
	pool_make("stats-json=/no/such/directory/out");
	report_exit();
}

START_TEST(a_failure_to_write_is_one_line_and_no_more)
{
	static const struct {
		void (*body)(void);
		const char *line;
	} refusals[] = {
		{ onto_a_full_disk, "upage: stats-json=/dev/full: No space left on device\n" },
		{ past_the_limit_of_files, "/out: File too large\n" },
		{ into_no_directory,
		  "upage: stats-json=/no/such/directory/out: No such file or directory\n" },
	};
	for (size_t i = 0; i < LENGTH(refusals); i++) {
		ck_assert_int_eq(aside(refusals[i].body), 0);
		unsigned lines = 0;
		for (const char *c = text; *c != '\0'; c++)
			lines += *c == '\n';
		ck_assert_msg(lines == 1, "stderr: %s", text);
		ck_assert_msg(strstr(text, refusals[i].line) != NULL, "stderr: %s", text);
	}
}
END_TEST

/* Whether stderr may not be written to, and that was not the program's end. */
static void into_a_broken_pipe(void)
{
	int pipes[2];
	if (pipe(pipes) < 0 || dup2(pipes[1], 2) < 0)
		_exit(1);
	pool_make("stats");
	close(pipes[0]);
	report_exit();
	sigset_t pending;
	sigpending(&pending);
	if (sigismember(&pending, SIGPIPE))
		_exit(2);
}

/* Nobody reads, and the descriptor does not block. */
static void into_a_full_pipe(void)
{
	int pipes[2];
	char bytes[4096] = { 0 };
	if (pipe(pipes) < 0 || fcntl(pipes[1], F_SETFL, O_NONBLOCK) < 0 || dup2(pipes[1], 2) < 0)
		_exit(1);
	while (write(2, bytes, sizeof(bytes)) > 0)
		;
	pool_make("stats");
	report_exit();
}

START_TEST(a_stderr_that_takes_nothing_is_not_the_end)
{
	ck_assert_int_eq(aside(into_a_broken_pipe), 0);
	ck_assert_int_eq(aside(into_a_full_pipe), 0);
}
END_TEST

static void without_stderr(void)
{
	const char *path = in_directory("data");
	pool_make("stats");
	close(2);
	if (open(path, O_WRONLY | O_CREAT, 0666) != 2)
		_exit(1);
	report_exit();
}

static void without_stderr_from_the_start(void)
{
	close(2);
	without_stderr();
}

static void without_any_descriptor(void)
{
	enum { NUMBERS_ALL = 1024 };
	struct rlimit limit = { NUMBERS_ALL, NUMBERS_ALL };
	setrlimit(RLIMIT_NOFILE, &limit);
	pool_make("stats");
	const char *path = in_directory("data");
	for (int i = 2; i < NUMBERS_ALL; i++)
		close(i);
	while (open(path, O_WRONLY | O_CREAT, 0666) >= 0)
		; /* whatever the number was, it is the program's file now */
	if (fcntl(NUMBERS_ALL - 1, F_GETFD) < 0)
		_exit(1);
	report_exit();
}

START_TEST(a_closed_stderr_is_neither_lost_nor_taken_for_another_file)
{
	ck_assert_int_eq(aside(without_stderr), 0);
	ck_assert_int_eq(strncmp(text, "upage: ", 7), 0);
	ck_assert_int_eq(content("data"), 0);
	ck_assert_int_eq(aside(without_stderr_from_the_start), 0);
	ck_assert_int_eq(content("data"), 0);
	ck_assert_int_eq(aside(without_any_descriptor), 0);
	ck_assert_str_eq(text, "");
	ck_assert_int_eq(content("data"), 0);
}
END_TEST

START_TEST(a_relative_name_is_one_of_where_the_program_began)
{
	ck_assert_int_eq(chdir(directory), 0);
	upage_pool *pool = pool_make("stats-json=out");
	ck_assert_int_eq(chdir("/"), 0);
	report_exit();
	ck_assert_int_gt(content("out"), 0);
	ck_assert(json_is_valid(text));
	ck_assert_ok(upage_pool_destroy(pool));
	/* What the program itself asks for is relative to where it is. */
	ck_assert_int_eq(chdir(directory), 0);
	pool = pool_make("seed=1");
	ck_assert_ok(upage_stats_json(pool, "asked-%p"));
	ck_assert_int_gt(content("asked-%d", getpid()), 0);
	ck_assert_str_eq(json_find(text, "ended"), "\"running\"");
	ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(a_name_that_grows_too_long_is_refused)
{
	char name[8192];
	upage_pool *pool = pool_make("seed=1");
	memset(name, 0, sizeof(name));
	memset(name, '/', 4095);
	ck_assert_int_eq(upage_stats_json(pool, name), -ENAMETOOLONG);
	for (unsigned i = 0; i < 4094; i += 2)
		memcpy(name + i, "%p", 2);
	memcpy(name + 4094, "%p", 3);
	ck_assert_int_eq(upage_stats_json(pool, name), -ENAMETOOLONG);
	ck_assert_int_eq(upage_stats_json(pool, ""), -ENOENT);
	ck_assert_ok(upage_pool_destroy(pool));
}
END_TEST

#ifndef __SANITIZE_THREAD__
static void leave_from_handler(int number)
{
	(void)number;
	report_exit();
	_exit(7);
}

static void interrupted_while_it_writes(void)
{
	int pipes[2];
	char bytes[4096] = { 0 };
	if (pipe(pipes) < 0 || fcntl(pipes[1], F_SETFL, O_NONBLOCK) < 0)
		_exit(1);
	while (write(pipes[1], bytes, sizeof(bytes)) > 0)
		;
	fcntl(pipes[1], F_SETFL, 0);
	pool_make("stats-json=/proc/self/fd/%d", pipes[1]);
	signal(SIGALRM, leave_from_handler);
	ualarm(200000, 0);
	report_exit(); /* blocks in the pipe */
}

START_TEST(a_handler_may_end_what_writes)
{
	int status = aside(interrupted_while_it_writes);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 7);
}
END_TEST

static upage_pool *written;
static _Atomic bool enough;
static _Atomic unsigned failures;

static void *write_all_the_time(void *unused)
{
	/* Not by ck_assert: a child could inherit the lock that it takes. */
	while (!atomic_load(&enough))
		failures += upage_stats_json(written, "/dev/null") != 0;
	return unused;
}

/* One with a copy, or one with a pool of its own: neither waits for a thread that it has not. */
START_TEST(a_child_of_a_process_that_writes_does_not_hang)
{
	pthread_t threads[2];
	written = pool_make("stats-json=/dev/null");
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_all_the_time, NULL), 0);
	for (unsigned i = 0; i < 200; i++) {
		pid_t child = fork();
		ck_assert_int_ge(child, 0);
		if (child == 0) {
			alarm(10);
			if (i % 2)
				pool_make("stats-json=/dev/null");
			report_exit();
			_exit(0);
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
	}
	atomic_store(&enough, true);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(failures, 0);
}
END_TEST
#endif

int main(void)
{
	Suite *suite = suite_create("report_output");
	TCase *tests = tcase_with_directory(suite, "report_output");
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_child_does_not_keep_stderr_open);
	tcase_add_test(tests, threads_that_end_at_once_write_once_and_wait_for_it);
	tcase_add_test(tests, a_failure_to_write_is_one_line_and_no_more);
	tcase_add_test(tests, a_stderr_that_takes_nothing_is_not_the_end);
	tcase_add_test(tests, a_closed_stderr_is_neither_lost_nor_taken_for_another_file);
	tcase_add_test(tests, a_relative_name_is_one_of_where_the_program_began);
	tcase_add_test(tests, a_name_that_grows_too_long_is_refused);
#ifndef __SANITIZE_THREAD__
	/* It holds signals back until a call of the C library, and is not told of our lock. */
	tcase_add_test(tests, a_handler_may_end_what_writes);
	tcase_add_test(tests, a_child_of_a_process_that_writes_does_not_hang);
#endif
	return run_suite(suite);
}
