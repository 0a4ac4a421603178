/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_fork.c - what a fork does to paged memory: nothing to the parent's, and the child
 * has none, says so, and may make its own
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

static int in_child(void (*body)(struct machine, char *), struct machine m, char *memory,
                    char *text, size_t size)
{
	int pipes[2], status;
	ck_assert_int_eq(pipe(pipes), 0);
	pid_t child = fork();
	if (child == 0) {
		dup2(pipes[1], 2);
		alarm(20);
		body(m, memory);
		_exit(0);
	}
	close(pipes[1]);
	ssize_t n = read(pipes[0], text, size - 1);
	text[n > 0 ? n : 0] = '\0';
	close(pipes[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

static void write_all(struct machine m, char *memory)
{
	(void)m;
	memset(memory, 0xee, 64 * PAGE);
}

START_TEST(a_child_cannot_harm_its_parents_memory)
{
	struct machine m = machine_make("memory=128K");
	char *memory = machine_map(m, 64, RW);
	char text[1024];
	for (size_t i = 0; i < 64 * PAGE; i++)
		memory[i] = (char)(i * 7);
	int status = in_child(write_all, m, memory, text, sizeof(text));
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGBUS);
	ck_assert_msg(strncmp(text, "upage: bus error: write to ", 27) == 0, "stderr: %s", text);
	ck_assert_ptr_nonnull(strstr(text, "paged memory is not carried over a fork"));
	for (size_t i = 0; i < 64 * PAGE; i++)
		ck_assert_int_eq(memory[i], (char)(i * 7));
	machine_end(m);
}
END_TEST

static void call_all(struct machine m, char *memory)
{
	void *address = NULL;
	if (upage_map(m.space, &address, PAGE, RW, 0, NULL, 0) != UPAGE_ENOTSUP ||
	    upage_unmap(m.space, memory, PAGE) != UPAGE_ENOTSUP ||
	    upage_pin(m.space, memory, PAGE, RW) != UPAGE_ENOTSUP ||
	    upage_advise(m.space, memory, PAGE, UPAGE_DONTNEED) != UPAGE_ENOTSUP)
		_exit(1);
}

START_TEST(calls_on_the_parents_space_are_refused)
{
	struct machine m = machine_make("memory=128K");
	char *memory = machine_map(m, 64, RW);
	char text[1024];
	memset(memory, 1, 64 * PAGE);
	int status = in_child(call_all, m, memory, text, sizeof(text));
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	machine_end(m);
}
END_TEST

static void make_own(struct machine m, char *memory)
{
	(void)m;
	(void)memory;
	struct machine own = machine_make("memory=64K");
	char *mine = machine_map(own, 64, RW);
	for (size_t i = 0; i < 64; i++)
		mine[i * PAGE] = (char)i;
	for (size_t i = 0; i < 64; i++)
		if (mine[i * PAGE] != (char)i)
			_exit(1);
	machine_end(own);
}

START_TEST(a_child_may_make_its_own)
{
	struct machine m = machine_make("memory=128K");
	char *memory = machine_map(m, 64, RW);
	char text[1024];
	memset(memory, 1, 64 * PAGE);
	int status = in_child(make_own, m, memory, text, sizeof(text));
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", text);
	for (size_t i = 0; i < 64 * PAGE; i++)
		ck_assert_int_eq(memory[i], 1);
	machine_end(m);
}
END_TEST

START_TEST(system_and_exec_work)
{
	struct machine m = machine_make("memory=128K");
	char *memory = machine_map(m, 64, RW);
	memset(memory, 1, 64 * PAGE);
	ck_assert_int_eq(system("exit 3"), 3 << 8);
	ck_assert_int_eq(memory[5 * PAGE], 1);
	machine_end(m);
}
END_TEST

START_TEST(descriptors_are_closed_on_exec)
{
	struct machine m = machine_make("memory=128K");
	char *memory = machine_map(m, 64, RW);
	memset(memory, 1, 64 * PAGE);
	/* The memfd and the unnamed swap file, which is called #INODE, are not the shell's. */
	ck_assert_int_eq(system("! ls -l /proc/$$/fd | grep -E 'memfd:upage|/#[0-9]+'"), 0);
	ck_assert_int_eq(system("ls -l /proc/$PPID/fd | grep -q -E 'memfd:upage'"), 0);
	machine_end(m);
}
END_TEST

static upage_pool *busy_pool;
static upage_space *busy_space;

/* Keeps every lock of the library in somebody's hands. */
static void *keep_busy(void *kind)
{
	for (;;) {
		void *memory = NULL;
		upage_space *space;
		struct sigaction action = { .sa_handler = SIG_DFL };
		if (*(int *)kind == 0 &&
		    upage_map(busy_space, &memory, 64 * PAGE, RW, 0, NULL, 0) == 0) {
			memset(memory, 1, 64 * PAGE);
			upage_unmap(busy_space, memory, 64 * PAGE);
		} else if (*(int *)kind == 1 && upage_space_create(&space, busy_pool, NULL) == 0) {
			upage_space_destroy(space);
		} else {
			sigaction(SIGSEGV, &action, NULL);
		}
	}
	return NULL;
}

START_TEST(no_child_of_a_busy_process_hangs)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, 64, RW), text[1024];
	pthread_t threads[3];
	int kinds[3] = { 0, 1, 2 };
	busy_pool = m.pool;
	busy_space = m.space;
	memset(memory, 1, 64 * PAGE);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, keep_busy, &kinds[i]);
	for (int i = 0; i < 60; i++) {
		/* A child that hangs is killed by its alarm. */
		int status = in_child(i % 2 ? make_own : write_all, m, memory, text, sizeof(text));
		if (i % 2)
			ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", text);
		else
			ck_assert_int_eq(WIFSIGNALED(status) ? WTERMSIG(status) : 0, SIGBUS);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fork");
	TCase *tests = tcase_create("fork");
	tcase_add_test(tests, a_child_cannot_harm_its_parents_memory);
	tcase_add_test(tests, calls_on_the_parents_space_are_refused);
	tcase_add_test(tests, a_child_may_make_its_own);
	tcase_add_test(tests, system_and_exec_work);
	tcase_add_test(tests, descriptors_are_closed_on_exec);
	tcase_add_test(tests, no_child_of_a_busy_process_hangs);
	tcase_set_timeout(tests, 100);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
