/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wild.c - a program with a stray pointer: looks above its own memory for where access is denied, and
 * writes to where the frame table begins in that. Run by check-upage.sh.
 *
 *      wild catch    says what its handler of SIGSEGV is told
 *      wild call     has a system call read into it
 *      wild          dies of it
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOWEST ((uintptr_t)1 << 45) /* where programs under `upage run` have nothing */
#define HIGHEST ((uintptr_t)1 << 47)
#define STEP ((uintptr_t)1 << 36)
#define NEAR ((uintptr_t)1 << 20)

static sigjmp_buf back;
static volatile siginfo_t seen;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	seen.si_code = number == SIGSEGV ? info->si_code : -1;
	seen.si_addr = info->si_addr;
	siglongjmp(back, 1);
}

/* What a reference to @at is told: 0: nothing, -1: SIGBUS (the kernel's page of clocks that there are not),
 * else a code of SIGSEGV. */
static int look(volatile char *at, int write)
{
	if (sigsetjmp(back, 1) != 0)
		return seen.si_code;
	if (write)
		*at = 1;
	else
		(void)*at;
	return 0;
}

static int is_denied(uintptr_t at)
{
	return look((volatile char *)at, 0) == SEGV_ACCERR;
}

/* Where it begins not to be, to NEAR bytes: @denied is, @step from it, or a multiple, is not. */
static uintptr_t edge(uintptr_t denied, intptr_t step)
{
	for (; step >= (intptr_t)NEAR || -step >= (intptr_t)NEAR; step /= 2)
		while (is_denied(denied + (uintptr_t)step))
			denied += (uintptr_t)step;
	return denied;
}

/* The middle of guard.c, and some frames. Return: LOWEST: there is none. */
static uintptr_t find(void)
{
	uintptr_t at = HIGHEST - STEP;
	while (at > LOWEST && !is_denied(at))
		at -= STEP;
	if (at <= LOWEST)
		return LOWEST;
	uintptr_t start = edge(at, -(intptr_t)STEP), end = edge(at, (intptr_t)STEP);
	return start + (end - start) / 4 * 3 + 5 * NEAR;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, before;
	sigaction(SIGSEGV, &action, &before);
	sigaction(SIGBUS, &action, NULL);
	uintptr_t at = find();
	if (at == LOWEST) {
		puts("there is nothing");
		return 3;
	}
	if (argc > 1 && strcmp(argv[1], "catch") == 0) {
		int code = look((volatile char *)at, 1);
		printf("refused: %d %d\n", code == SEGV_ACCERR, seen.si_addr == (void *)at);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "call") == 0) {
		int pipes[2], failed = pipe(pipes) < 0 || write(pipes[1], "x", 1) != 1;
		ssize_t n = read(pipes[0], (void *)at, 1);
		printf("read: %d %d %d\n", failed, (int)n, n < 0 && errno == EFAULT);
		return 0;
	}
	sigaction(SIGSEGV, &before, NULL);
	*(volatile char *)at = 1;
	return 4;
}
