/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "signals.h"

#include <string.h>
#include <ucontext.h>

#include "compiler.h"
#include "lock.h"
#include "syscall.h"

static struct lock action_lock;
static struct host_action program_action; /* for SIGSEGV; guarded by action_lock */
static _Atomic bool taken_over, handed_back;

signal_mask signals_set(signal_mask mask)
{
	signal_mask before = 0;
	syscall_4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &before, sizeof(before));
	return before;
}

signal_mask signals_block(void)
{
	/* SIGSYS stays: with interception on, what the C library does for us comes by it. */
	return signals_set(~SIGNAL_BIT(SIGSYS));
}

void signals_to_host(const struct sigaction *action, struct host_action *out)
{
	*out = (struct host_action){ .handler = (void *)action->sa_handler,
		                     .flags = (unsigned long)action->sa_flags };
	memcpy(&out->mask, &action->sa_mask, sizeof(out->mask));
}

void signals_from_host(const struct host_action *action, struct sigaction *out)
{
	memset(out, 0, sizeof(*out));
	out->sa_handler = (void (*)(int))action->handler;
	out->sa_flags = (int)action->flags;
	memcpy(&out->sa_mask, &action->mask, sizeof(action->mask));
}

void signals_get_action(int number, struct host_action *action)
{
	syscall_4(SYS_rt_sigaction, number, NULL, action, sizeof(signal_mask));
}

void signals_set_action(int number, const struct host_action *action)
{
	syscall_4(SYS_rt_sigaction, number, action, NULL, sizeof(signal_mask));
}

void signals_install(int number, signals_handler *handler, unsigned long flags, signal_mask mask)
{
	struct host_action action = { .handler = (void *)handler,
		                      .flags = flags | SA_SIGINFO | SA_ONSTACK,
		                      .mask = mask };
#if defined(__x86_64__) /* elsewhere the kernel has a restorer of its own */
	action.flags |= SA_RESTORER;
	action.restorer = (void *)gate_restorer;
#endif
	signals_set_action(number, &action);
}

void signals_force(int number, int code, const void *address, void *context)
{
	struct host_action action = { 0 };
	signal_mask *mask = (signal_mask *)(void *)&((ucontext_t *)context)->uc_sigmask;
	signals_get_action(number, &action);
	bool blocked = *mask & SIGNAL_BIT(number);
	if (number == SIGSEGV || blocked || action.handler == (void *)SIG_IGN) {
		action = (struct host_action){ .handler = (void *)SIG_DFL };
		signals_set_action(number, &action);
	}
	*mask &= ~SIGNAL_BIT(number);
	siginfo_t info;
	memset(&info, 0, sizeof(info));
	info.si_signo = number;
	info.si_code = code;
	info.si_addr = (void *)(uintptr_t)address;
	syscall_4(SYS_rt_tgsigqueueinfo, syscall_1(SYS_getpid, 0), syscall_1(SYS_gettid, 0), number, &info);
}

/* ---- The program's own action for SIGSEGV ------------------------------------------------ */

void signals_take_over(const struct host_action *before)
{
	program_action = *before;
	atomic_store(&taken_over, true);
}

void signals_hand_back(struct host_action *action)
{
	*action = program_action;
	atomic_store(&handed_back, true);
	atomic_store(&taken_over, false);
}

bool signals_are_handed_back(void)
{
	return atomic_load(&handed_back);
}

bool signals_are_taken_over(void)
{
	return atomic_load(&taken_over);
}

void signals_program_action(struct host_action *action)
{
	lock_acquire(&action_lock);
	*action = program_action;
	if (program_action.flags & SA_RESETHAND)
		program_action.handler = (void *)SIG_DFL;
	lock_release(&action_lock);
}

void signals_exchange_program_action(const struct host_action *action, struct host_action *old)
{
	signal_mask mask = signals_block();
	lock_acquire(&action_lock);
	*old = program_action;
	if (action != NULL)
		program_action = *action;
	lock_release(&action_lock);
	signals_set(mask);
}

void signals_fork_begin(void)
{
	lock_acquire(&action_lock);
}

void signals_fork_end(void)
{
	lock_release(&action_lock);
}
