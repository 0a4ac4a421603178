/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * processes_end.c - tests of processes.c: how processes end, signal one another, and close
 * descriptors that are not theirs
 */
#include "processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Ends ------------------------------------------------------------------------------ */

static int *volatile nowhere = (int *)24; /* volatile: the compiler would warn */
static void by_fault(void) { *nowhere = 1; }
static void by_abort(void) { abort(); }
static void by_exit(void) { exit(3); }
static void by_quick_exit(void) { _exit(3); }
static void by_kill(void) { kill(getpid(), SIGKILL); }
static void by_term(void) { raise(SIGTERM); }
static void by_return(void) { }

static void *exit_here(void *argument)
{
	exit(*(int *)argument);
}

static void by_thread(void)
{
	pthread_t thread;
	int status = 4;
	pthread_create(&thread, NULL, exit_here, &status);
	pthread_join(thread, NULL);
}

static void by_last_thread(void)
{
	pthread_exit(NULL);
}

static void ends(void)
{
	static const struct {
		const char *name;
		void (*function)(void);
	} list[] = {
		{ "a fault", by_fault }, { "abort", by_abort }, { "exit", by_exit },
		{ "_exit", by_quick_exit }, { "SIGKILL", by_kill }, { "SIGTERM", by_term },
		{ "return", by_return }, { "exit of a thread", by_thread },
		{ "the end of the last thread", by_last_thread },
	};
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		uint64_t *memory = new_memory(100 * PAGE, 20);
		pid_t child = fork();
		MUST_BE(child >= 0);
		if (child == 0) {
			write_memory(memory, 100 * PAGE, 21);
			list[i].function();
			_exit(0);
		}
		say("%s: status %x", list[i].name, (unsigned)wait_for(child) & ~0x80u);
		say("wrong here: %zu", wrong_words(memory, 100 * PAGE, 20));
		free(memory);
	}
}

static volatile sig_atomic_t received, children_ended;
static volatile int value_received;

static void receive(int signal, siginfo_t *info, void *context)
{
	(void)context;
	if (signal == SIGCHLD) {
		children_ended++;
		return;
	}
	received++;
	value_received += info->si_value.sival_int;
}

/* Back and forth between two processes; and SIGCHLD. */
static void between_processes(void)
{
	struct sigaction action = { .sa_sigaction = receive, .sa_flags = SA_SIGINFO };
	sigset_t set, before, open;
	pid_t parent = getpid();
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &before);
	open = before;
	sigaction(SIGRTMIN + 1, &action, NULL);
	sigaction(SIGCHLD, &action, NULL);
	received = children_ended = 0;
	value_received = 0;
	pid_t child = fork();
	pid_t other = child ? child : parent;
	union sigval value = { .sival_int = 1 };
	for (int i = 0; i < 300; i++) {
		uint64_t *memory = new_memory(4 * PAGE, 30);
		if (child)
			sigqueue(other, SIGRTMIN + 1, value);
		while (received <= i)
			sigsuspend(&open);
		if (!child)
			sigqueue(other, SIGRTMIN + 1, value);
		if (wrong_words(memory, 4 * PAGE, 30) != 0)
			_exit(100);
		free(memory);
	}
	if (!child)
		_exit(received == 300 && value_received == 300 ? 0 : 1);
	say("signals %d, sum %d", received, value_received);
	while (children_ended == 0)
		sigsuspend(&open);
	say("child: status %x", (unsigned)wait_for(child));
	sigprocmask(SIG_SETMASK, &before, NULL);
	signal(SIGRTMIN + 1, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
}

/* Stopped in a call that sleeps, it sleeps on when it is continued. */
static void stops(void)
{
	int status;
	struct timespec *wait = (void *)new_memory(PAGE, 50);
	*wait = (struct timespec){ 0, 300000000 };
	pid_t child = fork();
	MUST_BE(child >= 0);
	if (child == 0) {
		madvise(wait, PAGE, MADV_PAGEOUT);
		_exit(nanosleep(wait, NULL) == 0 ? 0 : errno);
	}
	pause_ms(50);
	kill(child, SIGSTOP);
	MUST_BE(waitpid(child, &status, WUNTRACED) == child);
	say("stopped: status %x", (unsigned)status);
	kill(child, SIGCONT);
	MUST_BE(waitpid(child, &status, WCONTINUED) == child);
	say("continued: status %x", (unsigned)status);
	say("ended: status %x", (unsigned)wait_for(child));
	free(wait);
}

/* ---- Descriptors ----------------------------------------------------------------------- */

static size_t work_after(void)
{
	/* More than memory, so that pages go out and come in. */
	uint64_t *memory = new_memory(200 * PAGE, 40);
	size_t wrong = wrong_words(memory, 200 * PAGE, 40);
	pid_t child = fork();
	if (child == 0)
		_exit(wrong_words(memory, 200 * PAGE, 40) != 0);
	wrong += wait_for(child) != 0;
	free(memory);
	return wrong;
}

/* Whatever the system says is open. */
static void close_listed(void)
{
	int listed[1024], count = 0;
	const struct dirent *entry;
	DIR *list = opendir("/proc/self/fd");
	MUST_BE(list != NULL);
	while ((entry = readdir(list)) != NULL)
		if (atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(list))
			listed[count++] = atoi(entry->d_name);
	closedir(list);
	while (count > 0)
		close(listed[--count]);
}

/* As daemons do. */
static void closing(void)
{
	uint64_t *memory = new_memory(200 * PAGE, 41);
	for (int how = 0; how < 5; how++) {
		pid_t child = fork();
		MUST_BE(child >= 0);
		if (child == 0) {
			int highest = how == 3 ? 512 : 1024;
			if (how == 4)
				close_listed();
			else if (how == 1)
				syscall(436 /* close_range */, 3, ~0u, 0);
			else if (how == 2)
				syscall(436, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
			else
				for (int fd = 3; fd < highest; fd++)
					how == 3 ? dup2(1, fd) : close(fd);
			_exit(wrong_words(memory, 200 * PAGE, 41) != 0 || work_after() != 0);
		}
		say("way %d: status %x", how, (unsigned)wait_for(child));
	}
	free(memory);
}

/* The numbers of new descriptors are the lowest that are free, and theirs alone. */
static void numbers(void)
{
	int first = dup(1), second = dup(1), third = dup(1);
	say("one after another: %d %d", second - first, third - second);
	close(second);
	int again = dup(1);
	say("the lowest free one: %d", again == second);
	close(first);
	close(again);
	close(third);
	int closed = close(third);
	say("close of a closed one: %d, EBADF %d", closed, errno == EBADF);
}

const struct test end_tests[] = {
	{ "ends", ends },
	{ "between_processes", between_processes },
	{ "stops", stops },
	{ "closing", closing },
	{ "numbers", numbers },
	{ 0 },
};
