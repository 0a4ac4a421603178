/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * call.c - what a system call costs that is intercepted
 *
 * Question   A call of a program whose system calls we intercept traps (SIGSYS, Syscall User
 *            Dispatch). How much of its cost is the trap's, and how much ours?
 * Unit       nanoseconds a call, one thread.
 * Baseline   A bare SIGSYS handler in this program that makes the same call and nothing else.
 *            Second baseline: the same call natively.
 * Ratio      As bench.h says. Each round is a process of its own, since none can go back.
 * Target     ours: at most 2 of the bare handler.
 * Repeat     make bench, or bench/call [--quick] [--json FILE]. One processor, quiet machine.
 *
 * Cases
 *   getppid    a call without pointers
 *   read       of 4 KiB of /dev/zero, into memory that is not paged
 */
#define BENCH_UNIT "ns/call"
#include "bench.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "upage.h"

#if defined(__x86_64__)

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif

enum way { NATIVE, BARE, OURS };

static unsigned calls = 200000;
static int zeros;
static char buffer[4096];

/* ---- The bare handler -------------------------------------------------------------------- */

/* The one instruction from which calls pass, for calls and for the way back. */
long pass(long number, long a, long b, long c);
void restore(void);
extern const char pass_start[], pass_end[];
__asm__(".text\n"
        "pass_start:\n"
        "pass:	mov %rdi, %rax\n	mov %rsi, %rdi\n	mov %rdx, %rsi\n	mov %rcx, %rdx\n"
        "	syscall\n	ret\n"
        "restore:	mov $15, %eax\n	syscall\n	nop\n"
        "pass_end:\n");

static void on_call(int number, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	(void)number, (void)info;
	r[REG_RAX] = pass(r[REG_RAX], r[REG_RDI], r[REG_RSI], r[REG_RDX]);
}

/* The C library's sigaction has a way back of its own, which would trap. */
static void intercept_barely(void)
{
	struct {
		void (*handler)(int, siginfo_t *, void *);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = { on_call, SA_SIGINFO | SA_NODEFER | 0x04000000, restore, 0 };
	if (syscall(SYS_rt_sigaction, SIGSYS, &action, NULL, 8) < 0 ||
	    prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, pass_start,
	          pass_end - pass_start, NULL) < 0)
		bench_fail("no Syscall User Dispatch (Linux 5.11): %s", strerror(errno));
}

/* ---- Rounds --------------------------------------------------------------------------------- */

static long call_getppid(void)
{
	return syscall(SYS_getppid);
}

static long call_read(void)
{
	return syscall(SYS_read, zeros, buffer, sizeof(buffer));
}

static double measure(long (*call)(void), enum way way)
{
	int channel[2], status;
	double time;
	if (pipe(channel) < 0)
		bench_fail("pipe: %s", strerror(errno));
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		if (way == BARE)
			intercept_barely();
		if (way == OURS && upage_intercept(NULL) < 0)
			bench_fail("system calls cannot be intercepted here");
		call();
		time = bench_now();
		for (unsigned i = 0; i < calls; i++)
			if (call() < 0)
				_exit(1);
		time = (bench_now() - time) / calls;
		_exit(write(channel[1], &time, sizeof(time)) != sizeof(time));
	}
	close(channel[1]);
	if (child < 0 || read(channel[0], &time, sizeof(time)) != sizeof(time) ||
	    waitpid(child, &status, 0) < 0 || status != 0)
		bench_fail("a round failed");
	close(channel[0]);
	return time;
}

#define CASE(name)                                                                            \
	static double name##_native(void) { return measure(call_##name, NATIVE); }            \
	static double name##_bare(void) { return measure(call_##name, BARE); }                \
	static double name##_ours(void) { return measure(call_##name, OURS); }
CASE(getppid)
CASE(read)
#undef CASE

int main(int argc, char **argv)
{
	struct bench bench = bench_begin("call", argc, argv);
	calls /= bench.divisor;
	zeros = open("/dev/zero", O_RDONLY);
	bench_case(&bench, "getppid", getppid_ours, "bare SIGSYS handler", getppid_bare);
	bench_case(&bench, "getppid native", getppid_ours, "native", getppid_native);
	bench_case(&bench, "read", read_ours, "bare SIGSYS handler", read_bare);
	bench_case(&bench, "read native", read_ours, "native", read_native);
	bench_end(&bench);
	return 0;
}

#else

int main(void)
{
	puts("call: system calls are intercepted on x86-64 only");
	return 0;
}

#endif
