/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "late.h"

#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "host.h"
#include "signal.h"
#include "signal_frame.h"
#include "syscall.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

bool late_begin(struct guest_call *call)
{
	struct guest_thread *thread = call->thread;
	struct sigevent event;
	call->tries = thread->tries;
	thread->tries = 0;
	if (call->tries < LATE_TRIES)
		return false;
	signal_mask before = guest_signal_hold();
	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_THREAD_ID;
	event.sigev_signo = SIGSYS;
	event.sigev_value.sival_ptr = thread;
	event.sigev_notify_thread_id = host_thread_id();
	call->late = syscall_3(SYS_timer_create, CLOCK_MONOTONIC, &event, &call->timer) == 0;
	if (!call->late)
		signals_set(before);
	return call->late;
}

void late_end(struct guest_call *call)
{
	/* Its mask comes back with the program's context, and lets in what waited. */
	syscall_1(SYS_timer_delete, call->timer);
}

/* Again and again: the first may come before the call sleeps. */
static void timer_set(const struct guest_call *call, long nanoseconds)
{
	const struct timespec time = { 0, nanoseconds };
	const struct itimerspec when = { .it_value = time, .it_interval = time };
	syscall_4(SYS_timer_settime, call->timer, 0, &when, NULL);
}

/* signal(7): what handlers with SA_RESTART end, too. */
static bool is_never_restarted(const long words[7])
{
	switch (words[0]) {
	case SYS_pause:
	case SYS_rt_sigtimedwait:
	case SYS_poll:
	case SYS_select:
	case SYS_epoll_wait:
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_msgsnd:
	case SYS_msgrcv:
		return true;
	case SYS_futex:
		return words[4] != 0; /* it has a limit of time */
	default:
		return false;
	}
}

long late_execute(struct guest_call *call, const long words[7])
{
	struct guest_thread *thread = call->thread;
	signal_mask pending = 0, mask = *guest_signal_mask(call->context);
	atomic_store(&thread->timed_out, false);
	timer_set(call, LATE_LIMIT);
	long result = gate_interruptible(words, &thread->caught);
	timer_set(call, 0);
	if (!atomic_load(&thread->timed_out) || (result != -EINTR && result != GUEST_RESTART))
		return result;
	/* With a mask of its own it was open to all that may end it. */
	if (thread->has_temporary)
		return gate_interruptible(words, &thread->caught);
	syscall_2(SYS_rt_sigpending, &pending, sizeof(pending));
	switch (guest_signal_effect(thread, pending & ~mask)) {
	case SIGNAL_ENDS:
		return result;
	case SIGNAL_RESTARTS:
		return is_never_restarted(words) ? result : GUEST_RESTART;
	case SIGNAL_DEFAULT:
		return GUEST_RESTART;
	case SIGNAL_IGNORED:
		break;
	}
	call->late = false;
	signals_set(mask);
	return gate_interruptible(words, &thread->caught);
}

void late_give_way(struct guest_call *call)
{
	unsigned tries = call->tries < LATE_TRIES ? call->tries + 1 : LATE_TRIES;
	frame_set_tries(call->thread, call->context, tries);
}

bool late_is_timer(const struct guest_thread *thread, const siginfo_t *info)
{
	return info->si_code == SI_TIMER && info->si_ptr == thread;
}
