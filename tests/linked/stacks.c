/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stacks.c - signals on stacks that malloc gave, while another thread evicts them
 *
 *     stacks [--signals N] [NAME]
 *
 * N timer signals (10,000) for each kind of stack. The transcript is the same on every run;
 * check-stacks.sh compares that of a native program with that of a linked one.
 */
#include "stacks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

int timer_signals = 10000;

void *pages(size_t count)
{
	void *memory = NULL;
	MUST_BE(posix_memalign(&memory, PAGE, count * PAGE) == 0);
	return memset(memory, 0x5a, count * PAGE);
}

/* ---- Eviction -------------------------------------------------------------------------- */

static struct {
	pthread_t thread;
	void *memory;
	size_t length;
	atomic_bool stop;
} evictor;

static void *evict(void *argument)
{
	(void)argument;
	/* A microsecond or so between rounds, so that the others get on in a small memory. */
	for (unsigned round = 0; !evictor.stop; round++) {
		madvise(evictor.memory, evictor.length, MADV_PAGEOUT);
		if (round % 4 == 0) {
			struct timespec pause = { 0, 20000 };
			nanosleep(&pause, NULL);
		}
	}
	return NULL;
}

void evict_begin(void *memory, size_t length)
{
	sigset_t all, before;
	evictor.memory = memory;
	evictor.length = length;
	evictor.stop = false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	MUST_BE(pthread_create(&evictor.thread, NULL, evict, NULL) == 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void evict_end(void)
{
	evictor.stop = true;
	pthread_join(evictor.thread, NULL);
}

void *alternate_begin(size_t size)
{
	const stack_t alternate = { .ss_sp = pages(size / PAGE), .ss_size = size };
	MUST_BE(sigaltstack(&alternate, NULL) == 0);
	evict_begin(alternate.ss_sp, size);
	return alternate.ss_sp;
}

void alternate_end(void)
{
	const stack_t none = { .ss_flags = SS_DISABLE };
	evict_end();
	MUST_BE(sigaltstack(&none, NULL) == 0);
	free(evictor.memory);
}

/* ---- Shorthands ------------------------------------------------------------------------ */

timer_t timer_begin(int signal, long microseconds, int value)
{
	timer_t timer;
	struct sigevent event = {
		.sigev_notify = SIGEV_SIGNAL | SIGEV_THREAD_ID,
		.sigev_signo = signal,
		.sigev_value.sival_int = value,
	};
	struct timespec time = { 0, microseconds * 1000 };
	struct itimerspec when = { .it_interval = time, .it_value = time };
	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	MUST_BE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	MUST_BE(timer_settime(timer, 0, &when, NULL) == 0);
	return timer;
}

void catch_signal(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
	MUST_BE(sigaction(signal, &action, NULL) == 0);
}

int main(int argc, char **argv)
{
	int first = 1;
	if (argc > 2 && strcmp(argv[1], "--signals") == 0) {
		timer_signals = atoi(argv[2]);
		first = 3;
	}
	const char *only = first < argc ? argv[first] : NULL;
	run_tests(storm_tests, only);
	run_tests(signal_tests, only);
	run_tests(context_tests, only);
	return 0;
}
