/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watch.c - runs a program and notes how much memory it had resident, at most
 *
 * usage: watch REPORT PROGRAM [ARG]...
 *
 * Reads /proc/PID/status every 5 ms until the program ends, and then writes to the file REPORT,
 * in KiB and milliseconds:
 *      shmem=N anon=N hwm=N samples=N wall=N
 * RssShmem is where frames count, RssAnon where an ordinary heap does; VmHWM is the kernel's own
 * peak of everything. The program has our stdin, stdout and stderr; its exit status becomes ours,
 * a signal N that ended it 128 + N. 125: watch itself failed; 127: PROGRAM cannot be executed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 5000000

static struct resident {
	unsigned long shmem, anon, hwm, samples;
} most;

static void fail(const char *what)
{
	fprintf(stderr, "watch: %s: %s\n", what, strerror(errno));
	exit(125);
}

static void take_sample(pid_t pid)
{
	char name[64], line[256];
	unsigned long kib;
	int seen = 0;
	FILE *file;

	snprintf(name, sizeof(name), "/proc/%d/status", (int)pid);
	file = fopen(name, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "RssShmem: %lu", &kib) == 1) {
			most.shmem = kib > most.shmem ? kib : most.shmem;
			seen = 1;
		} else if (sscanf(line, "RssAnon: %lu", &kib) == 1) {
			most.anon = kib > most.anon ? kib : most.anon;
		} else if (sscanf(line, "VmHWM: %lu", &kib) == 1) {
			most.hwm = kib > most.hwm ? kib : most.hwm;
		}
	}
	fclose(file);
	most.samples += (unsigned long)seen; /* a process that has ended has no such line */
}

/* Until the program has ended. Return: its status as waitpid() gives it. */
static int watch(pid_t pid, const sigset_t *child)
{
	const struct timespec period = { 0, PERIOD_NS };
	int status;
	pid_t ended;

	while ((ended = waitpid(pid, &status, WNOHANG)) == 0) {
		take_sample(pid);
		sigtimedwait(child, NULL, &period);
	}
	if (ended < 0)
		fail("waitpid");
	return status;
}

static pid_t start(char **command, const sigset_t *mask)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* the program does not outlive us */
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(command[0], command);
	fprintf(stderr, "watch: %s: %s\n", command[0], strerror(errno));
	_exit(127);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	sigset_t child, before;
	double started;
	FILE *report;
	int status;

	if (argc < 3) {
		fprintf(stderr, "usage: watch REPORT PROGRAM [ARG]...\n");
		return 125;
	}
	report = fopen(argv[1], "we");
	if (!report)
		fail(argv[1]);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &before); /* sigtimedwait() takes it */
	started = now_ms();
	status = watch(start(argv + 2, &before), &child);
	fprintf(report, "shmem=%lu anon=%lu hwm=%lu samples=%lu wall=%.0f\n", most.shmem, most.anon,
	        most.hwm, most.samples, now_ms() - started);
	if (fclose(report))
		fail(argv[1]);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
