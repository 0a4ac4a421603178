/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * interpose.c - sigaction() and the like, before the C library's
 *
 * Only in the shared library, and only for programs that page without upage_intercept(): there
 * the kernel's SIGSEGV action is ours, and what the program asks for is kept in signals.c.
 */
#include "signals.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "compiler.h"

typedef int sigaction_function(int, const struct sigaction *, struct sigaction *);
typedef void (*signal_handler)(int);
typedef signal_handler signal_function(int, signal_handler);
typedef int mask_function(int, const sigset_t *, sigset_t *);

static sigaction_function *host_sigaction;
static signal_function *host_signal;
static mask_function *host_sigprocmask, *host_pthread_sigmask;

/* Early: dlsym may allocate, which nobody expects of sigaction. */
__attribute__((constructor)) static void find_host_functions(void)
{
	if (host_sigaction != NULL)
		return;
	/* ISO C has no way from an object pointer to a function; POSIX says this one works. */
	*(void **)&host_signal = dlsym(RTLD_NEXT, "signal");
	*(void **)&host_sigprocmask = dlsym(RTLD_NEXT, "sigprocmask");
	*(void **)&host_pthread_sigmask = dlsym(RTLD_NEXT, "pthread_sigmask");
	*(void **)&host_sigaction = dlsym(RTLD_NEXT, "sigaction");
}

PUBLIC int sigaction(int number, const struct sigaction *restrict action,
                     struct sigaction *restrict old)
{
	find_host_functions();
	if (signals_are_handed_back())
		return host_sigaction(number, action, old);
	/* Copies: what the program hands us may be in paged memory. */
	struct sigaction wanted, before;
	struct host_action own, own_before;
	if (action != NULL) {
		wanted = *action;
		sigdelset(&wanted.sa_mask, SIGSEGV);
	}
	int result = 0;
	if (number == SIGSEGV && signals_are_taken_over()) {
		if (action != NULL)
			signals_to_host(&wanted, &own);
		signals_exchange_program_action(action != NULL ? &own : NULL, &own_before);
		signals_from_host(&own_before, &before);
	} else {
		result = host_sigaction(number, action != NULL ? &wanted : NULL, &before);
	}
	if (result == 0 && old != NULL)
		*old = before;
	return result;
}

PUBLIC signal_handler signal(int number, signal_handler handler)
{
	find_host_functions();
	if (number != SIGSEGV || !signals_are_taken_over())
		return host_signal(number, handler);
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART }, old;
	sigemptyset(&action.sa_mask);
	sigaction(SIGSEGV, &action, &old);
	return old.sa_handler;
}

static int set_mask(mask_function *host, int how, const sigset_t *set, sigset_t *old)
{
	sigset_t without;
	if (set != NULL && how != SIG_UNBLOCK && signals_are_taken_over()) {
		without = *set;
		sigdelset(&without, SIGSEGV);
		set = &without;
	}
	return host(how, set, old);
}

PUBLIC int sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
	find_host_functions();
	return set_mask(host_sigprocmask, how, set, old);
}

PUBLIC int pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
	find_host_functions();
	return set_mask(host_pthread_sigmask, how, set, old);
}
