/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guests.c - what programs do with signals: faults of their own, storms, blocking calls, jobs
 *
 *     guests [NAME]
 *
 * The transcript is the same on every run; check-guests.sh compares that of a native program with
 * those of a linked one and of one in `upage run`.
 */
#include "guests.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
	MUST(sigaction(signal, &action, NULL));
}

timer_t timer_begin(int signal, long microseconds)
{
	timer_t timer;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal };
	struct timespec time = { 0, microseconds * 1000 };
	struct itimerspec when = { .it_interval = time, .it_value = time };
	MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
	MUST(timer_settime(timer, 0, &when, NULL));
	return timer;
}

char *make_directory(void)
{
	static char path[4096];
	const char *parent = getenv("TMPDIR");
	snprintf(path, sizeof(path), "%s/guests-XXXXXX", parent ? parent : "/tmp");
	MUST_BE(mkdtemp(path) != NULL);
	return path;
}

void say_status(const char *what, int status)
{
	if (WIFEXITED(status))
		say("%s: exit %d", what, WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		say("%s: killed by %d%s", what, WTERMSIG(status), WCOREDUMP(status) ? ", core" : "");
	else if (WIFSTOPPED(status))
		say("%s: stopped by %d", what, WSTOPSIG(status));
	else
		say("%s: continued %d", what, WIFCONTINUED(status) != 0);
}

int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : NULL;
	run_tests(fault_tests, only);
	run_tests(blocking_tests, only);
	run_tests(storm_tests, only);
	run_tests(job_tests, only);
	return 0;
}
