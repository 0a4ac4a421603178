/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * patches_signals.c - tests of patches.c: signals at any instruction of a call
 */
#include "patches.h"

#include <errno.h>
#include <link.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile sig_atomic_t taken, outside;
static char *code, *writes, *reads; /* of getppid, write, read */

/* ---- Where a handler sees the program ------------------------------------------------------------ */

/* Found out before: the list of libraries has a lock. */
#define RANGES 32
static uintptr_t ranges[RANGES][2];
static unsigned ranges_count;

static int add_ranges(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size, (void)unused;
	for (int i = 0; i < info->dlpi_phnum && ranges_count < RANGES; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
			ranges[ranges_count][0] = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
			ranges[ranges_count++][1] = info->dlpi_phdr[i].p_memsz;
		}
	return 0;
}

static void find_program(void)
{
	ranges_count = 0;
	dl_iterate_phdr(add_ranges, NULL);
}

static bool is_program(uintptr_t at)
{
	char *const pages[] = { code, writes, reads };
	uintptr_t offset = at % PLACE_BYTES;
	for (unsigned i = 0; i < 3; i++)
		if (pages[i] != NULL && at - (uintptr_t)pages[i] < PAGE)
			return offset == 0 || offset == 5 || offset == 7;
	for (unsigned i = 0; i < ranges_count; i++)
		if (at - ranges[i][0] < ranges[i][1])
			return true;
	return false;
}

static void look(int signal, siginfo_t *info, void *context)
{
	greg_t at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	(void)signal, (void)info;
	if (!is_program((uintptr_t)at))
		outside++;
	taken++;
	if (((place *)place_at(code, 1))(0, 0, 0) <= 0) /* with calls of its own */
		outside++;
}

static void handle_by(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
	MUST(sigaction(signal, &action, NULL));
}

static timer_t begin_timer(int signal, long nanoseconds)
{
	timer_t timer;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal };
	struct itimerspec when = { { 0, nanoseconds }, { 0, nanoseconds } };
	MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
	MUST(timer_settime(timer, 0, &when, NULL));
	return timer;
}

/* ---- Storms ----------------------------------------------------------------------------------------- */

#define SIGNALS 4000

/* Of more kinds than one, so that one comes while another is on its way. */
static void storm(void)
{
	int ends[2], wrong = 0;
	long parent = getppid();
	sigset_t now;
	writes = map_places(NULL, SYS_write, RETURN);
	reads = map_places(NULL, SYS_read, RETURN);
	code = map_places(NULL, SYS_getppid, RETURN);
	find_program();
	MUST(pipe(ends));
	handle_by(SIGUSR1, look, SA_RESTART);
	handle_by(SIGUSR2, look, SA_RESTART | SA_NODEFER);
	taken = outside = 0;
	timer_t one = begin_timer(SIGUSR1, 37000), two = begin_timer(SIGUSR2, 53000);
	while (taken < SIGNALS) {
		char byte = (char)taken, got = 0;
		for (int i = 0; i < 50; i++)
			wrong += ((place *)place_at(code, 2))(0, 0, 0) != parent;
		wrong += ((place *)place_at(writes, 2))(ends[1], (long)&byte, 1) != 1;
		wrong += ((place *)place_at(reads, 2))(ends[0], (long)&got, 1) != 1 || got != byte;
	}
	timer_delete(one);
	timer_delete(two);
	sigprocmask(SIG_SETMASK, NULL, &now);
	for (int i = 1; i < 32; i++)
		wrong += sigismember(&now, i) != 0;
	say("wrong %d, outside %d", wrong, (int)outside);
}

static sigjmp_buf again;

static void leap(int signal, siginfo_t *info, void *context)
{
	greg_t at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	(void)signal, (void)info;
	taken++;
	if ((uintptr_t)at - (uintptr_t)code < PAGE) /* anywhere else it may hold something */
		siglongjmp(again, 1);
}

/* Handlers that do not return. */
static void leaps(void)
{
	volatile int wrong = 0, leapt = 0;
	long parent = getppid();
	code = map_places(NULL, SYS_getppid, RETURN);
	call_often(place_at(code, 2), 0, 0, 0, parent);
	handle_by(SIGUSR1, leap, 0);
	taken = 0;
	timer_t timer = begin_timer(SIGUSR1, 41000);
	if (sigsetjmp(again, 1) != 0)
		leapt++;
	while (leapt < 500)
		wrong += ((place *)place_at(code, 2))(0, 0, 0) != parent;
	timer_delete(timer);
	signal(SIGUSR1, SIG_IGN);
	say("wrong %d", wrong);
}

/* ---- One instruction at a time ---------------------------------------------------------------------- */

#define STEPS 64
static volatile int steps, traced[STEPS];

static void step(int signal, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	(void)signal, (void)info;
	taken++;
	if (!is_program(at))
		outside++;
	if (at - (uintptr_t)code < PAGE && steps < STEPS)
		traced[steps++] = (int)((at - (uintptr_t)code) % PLACE_BYTES);
}

static long call_stepped(char *at)
{
	long result;
	__asm__ volatile("pushfq\n	orl $0x100, (%%rsp)\n	popfq\n	call *%[at]\n"
	                 "	pushfq\n	andl $~0x100, (%%rsp)\n	popfq\n"
	                 : "=a"(result)
	                 : [at] "b"(at), "D"(0), "S"(0), "d"(0)
	                 : "rcx", "r11", "r10", "r8", "r9", "memory", "cc");
	return result;
}

static void stepped(void)
{
	long parent = getppid();
	code = map_places(NULL, SYS_getppid, RETURN);
	int wrong = call_often(place_at(code, 2), 0, 0, 0, parent);
	find_program();
	handle_by(SIGTRAP, step, 0);
	taken = outside = 0;
	bool right = true;
	for (int i = 0; i < OFTEN; i++) {
		steps = 0;
		wrong += call_stepped(place_at(code, 2)) != parent;
		right = right && steps >= 2 && traced[0] == 0 && traced[1] == 5;
	}
	signal(SIGTRAP, SIG_DFL);
	say("wrong %d, outside %d, at the two instructions %d", wrong, (int)outside, right);
}

/* ---- Calls that sleep -------------------------------------------------------------------------------- */

static int pipe_ends[2];
static char *sleeping; /* of read */

static void feed(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)info, (void)context;
	taken++;
	MUST_BE(write(pipe_ends[1], "x", 1) == 1);
}

static void once(timer_t timer, long microseconds)
{
	struct itimerspec when = { .it_value = { 0, microseconds * 1000 } };
	MUST(timer_settime(timer, 0, &when, NULL));
}

/* One signal each, anywhere before or in a call that sleeps until it comes. With @flags SA_RESTART,
 * and if it comes before, what the handler writes is read by the same call. */
static int sleep_and_wake(int flags)
{
	int interrupted = 0;
	timer_t timer;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	int wrong = 0;
	MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
	handle_by(SIGUSR1, feed, flags);
	for (int i = 0; i < 2 * OFTEN; i++) {
		char byte = 0;
		taken = 0;
		once(timer, 300 + i);
		long result = ((place *)place_at(sleeping, 1))(pipe_ends[0], (long)&byte, 1);
		wrong += (result != 1 && result != -EINTR) || taken != 1;
		interrupted += result == -EINTR;
		if (result == -EINTR)
			wrong += read(pipe_ends[0], &byte, 1) != 1;
		wrong += byte != 'x';
	}
	timer_delete(timer);
	signal(SIGUSR1, SIG_IGN);
	return wrong + ((flags & SA_RESTART) ? interrupted : interrupted < OFTEN / 10);
}

static void sleepers(void)
{
	char *polls = map_places(NULL, SYS_poll, RETURN);
	struct pollfd none = { .fd = -1 };
	sleeping = map_places(NULL, SYS_read, RETURN);
	MUST(pipe(pipe_ends));
	say("interrupted: wrong %d", sleep_and_wake(0));
	say("restarted: wrong %d", sleep_and_wake(SA_RESTART));
	say("a limit of time: wrong %d", call_often(place_at(polls, 1), (long)&none, 1, 1, 0));
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

/* ---- Faults: what a call reads is not there ----------------------------------------------------------- */

static void bad_addresses(void)
{
	int ends[2];
	writes = map_places(NULL, SYS_write, RETURN);
	MUST(pipe(ends));
	int wrong = call_often(place_at(writes, 1), ends[1], 8, 1, -EFAULT);
	wrong += call_often(place_at(writes, 2), -1, (long)&ends, 1, -EBADF);
	say("wrong %d", wrong);
	close(ends[0]);
	close(ends[1]);
}

const struct test patch_signal_tests[] = {
	{ "storm", storm },         { "leaps", leaps },
	{ "stepped", stepped },     { "sleepers", sleepers },
	{ "bad_addresses", bad_addresses }, { NULL, NULL },
};
