/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "signals.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "compiler.h"
#include "host.h"
#include "lock.h"

static struct lock action_lock;
static struct sigaction program_action; /* for SIGSEGV; guarded by action_lock */
static _Atomic bool taken_over;

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

signal_mask signals_block(void)
{
	signal_mask all = ~UINT64_C(0), before = 0;
	syscall_4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(before));
	return before;
}

void signals_set(signal_mask mask)
{
	syscall_4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

int signals_host_action(int number, const struct sigaction *action, struct sigaction *old)
{
	find_host_functions();
	return host_sigaction(number, action, old);
}

void signals_take_over(const struct sigaction *before)
{
	program_action = *before;
	atomic_store(&taken_over, true);
}

void signals_program_action(struct sigaction *action)
{
	lock_acquire(&action_lock);
	*action = program_action;
	if (program_action.sa_flags & SA_RESETHAND)
		program_action.sa_handler = SIG_DFL;
	lock_release(&action_lock);
}

void signals_fork_begin(void)
{
	lock_acquire(&action_lock);
}

void signals_fork_end(void)
{
	lock_release(&action_lock);
}

/* The kernel's struct sigaction, on both machines. */
struct host_action {
	void *handler;
	unsigned long flags;
	void *restorer;
	signal_mask mask;
};

static void host_action_get(int number, struct host_action *action)
{
	syscall_4(SYS_rt_sigaction, number, NULL, action, sizeof(signal_mask));
}

static void host_action_set(int number, const struct host_action *action)
{
	syscall_4(SYS_rt_sigaction, number, action, NULL, sizeof(signal_mask));
}

void signals_block_all_in_handler(int number)
{
	struct host_action action = { 0 };
	host_action_get(number, &action);
	action.mask = ~UINT64_C(0);
	host_action_set(number, &action);
}

void signals_force(int number, int code, const void *address, void *context)
{
	struct host_action action = { 0 };
	signal_mask *mask = (signal_mask *)(void *)&((ucontext_t *)context)->uc_sigmask;
	host_action_get(number, &action);
	bool blocked = *mask & SIGNAL_BIT(number);
	if (number == SIGSEGV || blocked || action.handler == (void *)SIG_IGN) {
		action = (struct host_action){ .handler = (void *)SIG_DFL };
		host_action_set(number, &action);
	}
	*mask &= ~SIGNAL_BIT(number);
	siginfo_t info;
	memset(&info, 0, sizeof(info));
	info.si_signo = number;
	info.si_code = code;
	info.si_addr = (void *)(uintptr_t)address;
	long process = syscall_6(SYS_getpid, 0, 0, 0, 0, 0, 0);
	syscall_4(SYS_rt_tgsigqueueinfo, process, host_thread_id(), number, &info);
}

/* ---- Before the C library's ------------------------------------------------------------ */

PUBLIC int sigaction(int number, const struct sigaction *restrict action,
                     struct sigaction *restrict old)
{
	/* Copies: what the program hands us may be in paged memory. */
	struct sigaction wanted, before;
	if (action != NULL) {
		wanted = *action;
		sigdelset(&wanted.sa_mask, SIGSEGV);
	}
	int result = 0;
	if (number == SIGSEGV && atomic_load(&taken_over)) {
		signal_mask mask = signals_block();
		lock_acquire(&action_lock);
		before = program_action;
		if (action != NULL)
			program_action = wanted;
		lock_release(&action_lock);
		signals_set(mask);
	} else {
		result = signals_host_action(number, action != NULL ? &wanted : NULL, &before);
	}
	if (result == 0 && old != NULL)
		*old = before;
	return result;
}

PUBLIC signal_handler signal(int number, signal_handler handler)
{
	if (number != SIGSEGV || !atomic_load(&taken_over)) {
		find_host_functions();
		return host_signal(number, handler);
	}
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART }, old;
	sigemptyset(&action.sa_mask);
	sigaction(SIGSEGV, &action, &old);
	return old.sa_handler;
}

static int set_mask(mask_function *host, int how, const sigset_t *set, sigset_t *old)
{
	sigset_t without;
	if (set != NULL && how != SIG_UNBLOCK && atomic_load(&taken_over)) {
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
