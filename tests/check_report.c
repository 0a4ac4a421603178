/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_report.c - when processes end, is each counted once, and told of by the right one?
 */
#include <signal.h>
#include <sys/syscall.h>

#include "report.h"
#include "stats.h"
#include "support_report.h"

/* The value of @name of the process with @id in `text`, as it is written; "" if it has none. */
static const char *of_process(int id, const char *name)
{
	static char value[1024];
	char path[64];
	const char *found;
	for (unsigned i = 0;; i++) {
		snprintf(path, sizeof(path), "processes[%u].pid", i);
		found = json_find(text, path);
		ck_assert_msg(found != NULL, "process %d is missing in %s", id, text);
		if (atoi(found) == id)
			break;
	}
	memcpy(strrchr(path, '.') + 1, name, strlen(name) + 1);
	found = json_find(text, path);
	snprintf(value, sizeof(value), "%s", found != NULL ? found : "");
	return value;
}

static void count_times(upage_pool *pool, enum counter counter, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		stats_count(pool->stats, counter);
}

/* How a child goes. */
static void leave(upage_pool *pool)
{
	(void)pool;
	report_exit();
	_exit(0);
}

static void leave_by_signal(upage_pool *pool)
{
	(void)pool;
	report_signal(SIGSEGV);
	kill(getpid(), SIGKILL);
}

static void leave_by_exec(upage_pool *pool)
{
	(void)pool;
	report_exec(true, true);
	execl("/bin/sleep", "sleep", "100", (char *)NULL);
	_exit(1);
}

static void fail_to_exec_and_leave(upage_pool *pool)
{
	report_exec(true, true);
	execl("/no/such/program", "program", (char *)NULL);
	report_exec(false, true);
	leave(pool);
}

/* A child with a copy of the pool that counts @times; returns when it has. */
static pid_t child_make(upage_pool *pool, unsigned times, void (*end)(upage_pool *))
{
	int pipes[2];
	char byte;
	ck_assert_int_eq(pipe(pipes), 0);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		alarm(50);
		count_times(pool, COUNT_MAJOR, times);
		stats_time(pool->stats, 1000);
		close(pipes[0]);
		close(pipes[1]); /* close-on-exec would tell the same */
		end(pool);
		_exit(2);
	}
	close(pipes[1]);
	ck_assert_int_eq(read(pipes[0], &byte, 1), 0);
	close(pipes[0]);
	return child;
}

static pid_t grandchild;

static void have_a_child_and_leave(upage_pool *pool)
{
	int number = open("grandchild", O_WRONLY | O_CREAT, 0666);
	grandchild = child_make(pool, 5, leave);
	wait_for(grandchild);
	if (write(number, &grandchild, sizeof(grandchild)) != sizeof(grandchild))
		_exit(1);
	leave(pool);
}

START_TEST(the_first_of_a_tree_writes_all)
{
	ck_assert_int_eq(chdir(directory), 0);
	upage_pool *pool = pool_make("stats-json=%s/out", directory);
	count_times(pool, COUNT_MAJOR, 3);
	count_times(pool, COUNT_INTERCEPTED, 4);
	pid_t children[3] = { child_make(pool, 10, leave), child_make(pool, 20, leave) };
	children[2] = child_make(pool, 30, have_a_child_and_leave);
	for (unsigned i = 0; i < 3; i++)
		wait_for(children[i]);
	ck_assert_int_eq(content("grandchild"), sizeof(grandchild));
	memcpy(&grandchild, text, sizeof(grandchild));
	ck_assert_int_eq(content("out"), -1);
	report_exit();
	ck_assert_int_gt(content("out"), 0);
	char parent[16];
	snprintf(parent, sizeof(parent), "%d", getpid());
	ck_assert_str_eq(json_find(text, "pid"), parent);
	ck_assert_str_eq(json_find(text, "ended"), "\"exit\"");
	ck_assert_str_eq(json_find(text, "faults.major"), "3");
	ck_assert_str_eq(json_find(text, "faults.total"), "3");
	ck_assert_str_eq(json_find(text, "syscalls.intercepted"), "4");
	ck_assert_str_eq(json_find(text, "memory.frames"), "16");
	for (unsigned i = 0; i < 3; i++) {
		char major[16];
		snprintf(major, sizeof(major), "%u", 10 * (i + 1));
		ck_assert_str_eq(of_process(children[i], "faults.major"), major);
		ck_assert_str_eq(of_process(children[i], "faults.total"), major);
		ck_assert_str_eq(of_process(children[i], "syscalls.intercepted"), "0");
		ck_assert_str_eq(of_process(children[i], "memory.frames"), "16");
		ck_assert_str_eq(of_process(children[i], "parent"), parent);
		ck_assert_str_eq(of_process(children[i], "ended"), "\"exit\"");
		ck_assert_str_eq(of_process(children[i], "program"), json_find(text, "program"));
	}
	snprintf(parent, sizeof(parent), "%d", children[2]);
	ck_assert_str_eq(of_process(grandchild, "faults.major"), "5");
	ck_assert_str_eq(of_process(grandchild, "parent"), parent);
	ck_assert_ptr_null(json_find(text, "processes[4]"));
	ck_assert_str_eq(json_find(text, "processes_dropped"), "0");
	ck_assert_ok(upage_pool_destroy(pool));
}
END_TEST

START_TEST(it_is_told_how_each_process_ended)
{
	upage_pool *pool = pool_make("stats-json=%s/out", directory);
	pid_t running = child_make(pool, 1, stay), zombie = child_make(pool, 2, stay);
	pid_t killed = child_make(pool, 3, stay), signalled = child_make(pool, 4, leave_by_signal);
	pid_t executed = child_make(pool, 5, leave_by_exec);
	pid_t not_executed = child_make(pool, 6, fail_to_exec_and_leave);
	siginfo_t info;
	kill(zombie, SIGKILL);
	kill(killed, SIGKILL);
	ck_assert_int_eq(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT), 0);
	wait_for(killed);
	wait_for(signalled);
	wait_for(not_executed);
	ck_assert_ok(upage_pool_destroy(pool)); /* which writes too */
	ck_assert_int_gt(content("out"), 0);
	const struct {
		pid_t id;
		const char *ended, *major;
	} children[] = {
		{ running, "\"running\"", "1" },  { zombie, "\"killed\"", "2" },
		{ killed, "\"killed\"", "3" },    { signalled, "\"signal\"", "4" },
		{ executed, "\"exec\"", "5" },    { not_executed, "\"exit\"", "6" },
	};
	for (size_t i = 0; i < LENGTH(children); i++) {
		ck_assert_str_eq(of_process(children[i].id, "ended"), children[i].ended);
		ck_assert_str_eq(of_process(children[i].id, "faults.major"), children[i].major);
		ck_assert_str_eq(of_process(children[i].id, "memory.frames"), "16");
	}
	ck_assert_str_eq(of_process(signalled, "signal"), "11");
	ck_assert_str_eq(of_process(killed, "signal"), "");
	ck_assert_ptr_null(json_find(text, "processes[6]"));
	kill(running, SIGKILL);
	kill(executed, SIGKILL);
}
END_TEST

START_TEST(the_time_of_a_killed_process_is_that_until_its_last_fault)
{
	upage_pool *pool = pool_make("stats-json=%s/out", directory);
	pid_t child = child_make(pool, 1, stay);
	usleep(300000);
	kill(child, SIGKILL);
	wait_for(child);
	report_exit();
	ck_assert_int_gt(content("out"), 0);
	ck_assert(strtod(json_find(text, "wall_seconds"), NULL) >= 0.3);
	ck_assert(strtod(of_process(child, "wall_seconds"), NULL) < 0.3);
	ck_assert(strtod(of_process(child, "wall_seconds"), NULL) > 0);
}
END_TEST

START_TEST(with_a_process_id_in_the_name_each_writes_its_own)
{
	upage_pool *pool = pool_make("stats-json=%s/%%p-%%p", directory);
	count_times(pool, COUNT_MAJOR, 3);
	pid_t child = child_make(pool, 10, leave), killed = child_make(pool, 20, leave_by_signal);
	wait_for(child);
	wait_for(killed);
	ck_assert_int_gt(content("%d-%d", child, child), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "10");
	ck_assert_str_eq(json_find(text, "processes"), "[]");
	ck_assert_int_gt(content("%d-%d", killed, killed), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "20");
	ck_assert_str_eq(json_find(text, "ended"), "\"signal\"");
	report_exit();
	ck_assert_int_gt(content("%d-%d", getpid(), getpid()), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "3");
	ck_assert_str_eq(of_process(child, "faults.major"), "10");
}
END_TEST

START_TEST(the_table_has_a_line_for_each_process)
{
	int pipes[2], saved = dup(2);
	char line[100];
	ck_assert_int_eq(pipe(pipes), 0);
	dup2(pipes[1], 2);
	upage_pool *pool = pool_make("stats");
	dup2(saved, 2);
	pid_t child = child_make(pool, 12, leave);
	wait_for(child); /* it writes none itself */
	report_exit();
	report_exit();
	ck_assert_ok(upage_pool_destroy(pool)); /* which has stderr's other end */
	close(pipes[1]);
	drain(pipes[0], text, sizeof(text));
	ck_assert_int_eq(strncmp(text, "upage: ", 7), 0);
	ck_assert_ptr_null(strstr(text + 7, "upage: "));
	snprintf(line, sizeof(line), "\n%9d%11d%10d", child, 0, 0);
	ck_assert_ptr_null(strstr(text, line));
	snprintf(line, sizeof(line), "\n%9d%11d%10d", child, 12, 12);
	ck_assert_ptr_nonnull(strstr(text, line));
}
END_TEST

START_TEST(a_full_table_of_processes_loses_no_count)
{
	enum { ALL = 2064, TOLD = 2046 };
	upage_pool *pool = pool_make("stats-json=%s/out", directory);
	for (unsigned i = 0; i < ALL; i++) {
		pid_t child = fork();
		if (child == 0) {
			stats_count(pool->stats, COUNT_SOFT);
			struct upage_stats own = { .size = sizeof(own) };
			upage_stats_get(pool, &own);
			_exit((report_exit(), own.soft == 1 ? 0 : 1));
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
	}
	pid_t lost = child_make(pool, 1, stay);
	kill(lost, SIGKILL);
	wait_for(lost);
	report_exit();
	ck_assert_int_gt(content("out"), 0);
	unsigned objects = 0, told = 0;
	for (const char *at = text; (at = strstr(at, "\"soft\": ")) != NULL; at++, objects++)
		told += (unsigned)atoi(at + 8);
	ck_assert_uint_eq(objects, 1 + TOLD + 1);
	ck_assert_uint_eq(told, ALL);
	char path[64], number[16];
	snprintf(path, sizeof(path), "processes[%u].merged", TOLD);
	snprintf(number, sizeof(number), "%u", ALL - TOLD);
	ck_assert_str_eq(json_find(text, path), number);
	snprintf(path, sizeof(path), "processes[%u].faults.soft", TOLD);
	ck_assert_str_eq(json_find(text, path), number);
	ck_assert_str_eq(json_find(text, "processes_dropped"), "1");
}
END_TEST

START_TEST(a_child_without_a_copy_writes_nothing)
{
	upage_pool *pool = pool_make("stats-json=%s/%%p", directory);
	count_times(pool, COUNT_MAJOR, 3);
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); /* past fork(3)'s handlers */
	if (child == 0) {
		report_exit();
		ck_assert_ok(upage_pool_destroy(pool));
		/* It may make its own, and is the first then. */
		upage_pool *own = pool_make("stats-json=%s/own", directory);
		count_times(own, COUNT_MAJOR, 8);
		report_exit();
		_exit(0);
	}
	wait_for(child);
	ck_assert_int_eq(content("%d", child), -1);
	ck_assert_int_gt(content("own"), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "8");
#ifndef __SANITIZE_THREAD__ /* makes a fork of it */
	pid_t borrower = vfork();
	if (borrower == 0) {
		report_exit();
		_exit(0);
	}
	wait_for(borrower);
	ck_assert_int_eq(content("%d", borrower), -1);
#endif
	ck_assert_int_eq(content("%d", getpid()), -1);
	report_exit();
	ck_assert_int_gt(content("%d", getpid()), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "3");
	ck_assert_str_eq(json_find(text, "processes"), "[]");
}
END_TEST

START_TEST(every_pool_writes_its_own)
{
	upage_pool *a = pool_make("stats-json=%s/a", directory);
	upage_pool *b = pool_make("stats-json=%s/b", directory);
	upage_pool *quiet = pool_make("seed=1");
	count_times(a, COUNT_MAJOR, 1);
	count_times(b, COUNT_MAJOR, 2);
	count_times(quiet, COUNT_MAJOR, 4);
	ck_assert_ok(upage_pool_destroy(a));
	ck_assert_int_gt(content("a"), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "1");
	ck_assert_int_eq(content("b"), -1);
	pid_t child = fork();
	if (child == 0) {
		struct upage_stats own = { .size = sizeof(own) };
		upage_stats_get(quiet, &own);
		count_times(b, COUNT_MAJOR, 5);
		report_exit();
		_exit(own.major == 0 ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	report_exit();
	ck_assert_int_gt(content("b"), 0);
	ck_assert_str_eq(json_find(text, "faults.major"), "2");
	ck_assert_str_eq(of_process(child, "faults.major"), "5");
	struct upage_stats stats = { .size = sizeof(stats) };
	ck_assert_ok(upage_stats_get(quiet, &stats));
	ck_assert_uint_eq(stats.major, 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("report");
	TCase *tests = tcase_with_directory(suite, "report");
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, the_first_of_a_tree_writes_all);
	tcase_add_test(tests, it_is_told_how_each_process_ended);
	tcase_add_test(tests, the_time_of_a_killed_process_is_that_until_its_last_fault);
	tcase_add_test(tests, with_a_process_id_in_the_name_each_writes_its_own);
	tcase_add_test(tests, the_table_has_a_line_for_each_process);
	tcase_add_test(tests, a_full_table_of_processes_loses_no_count);
	tcase_add_test(tests, a_child_without_a_copy_writes_nothing);
	tcase_add_test(tests, every_pool_writes_its_own);
	return run_suite(suite);
}
