/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guests_jobs.c - tests of guests.c: a terminal's keys, jobs that stop and go on, groups
 */
#include "guests.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* ---- A terminal ------------------------------------------------------------------------------- */

static void await(const char *what, pid_t child, int options)
{
	int status;
	while (waitpid(child, &status, options) < 0) {
		if (errno != EINTR) {
			say("%s: no child", what);
			return;
		}
	}
	say_status(what, status);
}

/* What a shell does, on its terminal. */
static void be_a_shell(int keyboard, const char *terminal_name)
{
	MUST(setsid());
	int terminal = (int)MUST(open(terminal_name, O_RDWR));
	ioctl(terminal, TIOCSCTTY, 0);
	signal(SIGTTOU, SIG_IGN);
	MUST(tcsetpgrp(terminal, getpgrp()));
	int ready[2];
	char c;
	MUST(pipe(ready));
	pid_t job = (pid_t)MUST(fork());
	if (job == 0) {
		setpgid(0, 0);
		tcsetpgrp(terminal, getpgrp());
		signal(SIGTTOU, SIG_DFL);
		MUST(write(ready[1], "r", 1));
		char *memory = calloc(50, PAGE);
		for (volatile unsigned i = 0;; i++)
			memory[i % 50 * PAGE]++;
	}
	MUST(read(ready[0], &c, 1));
	MUST(write(keyboard, "\032", 1));
	await("Ctrl-Z", job, WUNTRACED);
	check("ours again", tcsetpgrp(terminal, getpgrp()) == 0);
	MUST(kill(-job, SIGCONT));
	await("bg", job, WCONTINUED);
	tcsetpgrp(terminal, job);
	MUST(kill(-job, SIGSTOP));
	await("stopped for good", job, WUNTRACED);
	MUST(kill(-job, SIGCONT));
	await("fg", job, WCONTINUED);
	MUST(write(keyboard, "\003", 1));
	await("Ctrl-C", job, WUNTRACED);
	/* One that reads from the background. */
	tcsetpgrp(terminal, getpgrp());
	job = (pid_t)MUST(fork());
	if (job == 0) {
		setpgid(0, 0);
		read(terminal, &c, 1);
		_exit(9);
	}
	await("read from the background", job, WUNTRACED);
	MUST(kill(-job, SIGKILL));
	await("killed", job, 0);
	_exit(0);
}

static void terminal_keys(void)
{
	int keyboard = (int)MUST(posix_openpt(O_RDWR | O_NOCTTY));
	MUST(grantpt(keyboard));
	MUST(unlockpt(keyboard));
	pid_t shell = (pid_t)MUST(fork());
	if (shell == 0)
		be_a_shell(keyboard, ptsname(keyboard));
	await("shell", shell, 0);
	close(keyboard);
}

/* ---- What a parent is told ------------------------------------------------------------------------ */

static volatile struct {
	int count, code, status;
	pid_t child;
} told;

static void on_child(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	told.count++;
	told.code = info->si_code;
	told.status = info->si_status;
	told.child = info->si_pid;
}

static void children(void)
{
	siginfo_t info;
	sigset_t set, before;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (int flags = 0; flags < 2; flags++) {
		handle(SIGCHLD, on_child, flags ? SA_NOCLDSTOP : 0);
		sigprocmask(SIG_BLOCK, &set, &before);
		told.count = 0;
		pid_t child = (pid_t)MUST(fork());
		if (child == 0) {
			raise(SIGSTOP);
			_exit(5);
		}
		MUST(waitid(P_PID, (id_t)child, &info, WSTOPPED | WNOWAIT));
		say("stopped: code %d, status %d", info.si_code, info.si_status);
		MUST(waitid(P_PID, (id_t)child, &info, WSTOPPED));
		sigset_t open = before;
		sigdelset(&open, SIGCHLD);
		if (!flags)
			sigsuspend(&open);
		say("told %d times, code %d, status %d, the child %d", told.count, told.code,
		    told.status, told.child == child || flags);
		kill(child, SIGCONT);
		MUST(waitid(P_PID, (id_t)child, &info, WEXITED));
		say("left: code %d, status %d", info.si_code, info.si_status);
		sigprocmask(SIG_SETMASK, &before, NULL);
		say("told in the end: code %d, status %d", told.code, told.status);
	}
	signal(SIGCHLD, SIG_DFL);
}

/* ---- Groups ----------------------------------------------------------------------------------------- */

static volatile sig_atomic_t heard;

static void hear(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
	(void)context;
	heard = 1;
}

static void groups(void)
{
	pid_t leader = (pid_t)MUST(fork());
	if (leader == 0) {
		int ready[2];
		char c;
		MUST(pipe(ready));
		setpgid(0, 0);
		handle(SIGUSR1, hear, 0);
		for (int i = 0; i < 4; i++) {
			if (fork() == 0) {
				sigset_t none, usr;
				sigemptyset(&none);
				sigemptyset(&usr);
				sigaddset(&usr, SIGUSR1);
				sigprocmask(SIG_BLOCK, &usr, NULL);
				MUST(write(ready[1], "r", 1));
				while (!heard)
					sigsuspend(&none);
				_exit(3);
			}
		}
		for (int i = 0; i < 4; i++)
			MUST(read(ready[0], &c, 1));
		MUST(kill(0, SIGUSR1));
		int status, threes = 0;
		for (int i = 0; i < 4; i++) {
			while (wait(&status) < 0 && errno == EINTR)
				;
			threes += WIFEXITED(status) && WEXITSTATUS(status) == 3;
		}
		_exit(threes * 10 + heard);
	}
	int status;
	MUST(waitpid(leader, &status, 0));
	say_status("leader", status);
	say("a group of none: %d", kill(-leader, 0) < 0 && errno == ESRCH);
}

/* ---- Mutexes whose owner's process dies --------------------------------------------------------------- */

static void owners_that_die(void)
{
	pthread_mutex_t *mutex = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t attributes;
	volatile char *volatile nowhere = (volatile char *)8;
	MUST_BE(mutex != MAP_FAILED);
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(mutex, &attributes);
	/* One that is killed by SIGKILL tells nobody here, as README says. */
	for (int crashes = 0; crashes < 2; crashes++) {
		pid_t child = (pid_t)MUST(fork());
		if (child == 0) {
			pthread_mutex_lock(mutex);
			if (crashes)
				*nowhere = 1;
			_exit(0);
		}
		MUST(waitpid(child, NULL, 0));
		int result = pthread_mutex_lock(mutex);
		say("owner %s: %s", crashes ? "crashed" : "left", result == EOWNERDEAD ? "EOWNERDEAD" : "?");
		pthread_mutex_consistent(mutex);
		pthread_mutex_unlock(mutex);
	}
	munmap(mutex, PAGE);
}

/* ---- Children that share descriptors ---------------------------------------------------------------------- */

/* Of its own memory, and without an end that the C library knows of. */
static void shared_descriptors(void)
{
	unsigned wrong = 0;
	char *memory = malloc(100 * PAGE);
	MUST_BE(memory != NULL);
	int before = count_descriptors();
	for (int round = 0; round < 3; round++) {
		int status = 0;
		memset(memory, round, 100 * PAGE);
		pid_t child = (pid_t)MUST(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
		if (child == 0) {
			for (size_t i = 0; i < 100; i++)
				wrong += memory[i * PAGE + 5] != round;
			memset(memory, 77, 100 * PAGE);
			_exit((int)wrong);
		}
		MUST(waitpid(child, &status, 0));
		wrong += status != 0;
		for (size_t i = 0; i < 100; i++)
			wrong += memory[i * PAGE + 5] != round;
	}
	say("wrong %u, descriptors %s", wrong, count_descriptors() == before ? "the same" : "others");
	free(memory);
}

const struct test job_tests[] = {
	{ "terminal_keys", terminal_keys },
	{ "children", children },
	{ "groups", groups },
	{ "owners_that_die", owners_that_die },
	{ "shared_descriptors", shared_descriptors },
	{ 0 },
};
