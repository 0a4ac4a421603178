/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "signal_mask.h"

#include <string.h>
#include <time.h>

#include "handlers.h"
#include "syscall.h"

signal_mask *guest_signal_mask(void *context)
{
	return &((struct guest_context *)context)->mask;
}

signal_mask guest_signal_hold(void)
{
	return signals_set(~SIGNAL_TRAPS);
}

signal_mask mask_of_program(const struct guest_thread *thread, void *context)
{
	return *guest_signal_mask(context) | thread->traps_blocked;
}

signal_mask mask_in_force(const struct guest_thread *thread, void *context)
{
	return thread->has_temporary ? thread->temporary : mask_of_program(thread, context);
}

/* ---- Masks ------------------------------------------------------------------------------------- */

bool mask_set(struct guest_thread *thread, void *context, signal_mask mask)
{
	signal_mask *real = guest_signal_mask(context), blocked = mask & ~SIGNAL_TRAPS;
	if (blocked & ~*real) {
		/* None of these may come from here on; one that did is from before. */
		signal_mask held = guest_signal_hold();
		if (atomic_load(&thread->caught) & CAUGHT_SIGNAL)
			return false;
		signals_set(held | blocked);
	}
	*real = blocked;
	thread->traps_blocked = mask & SIGNAL_TRAPS;
	if (atomic_load(&thread->trap_pending) != 0)
		atomic_fetch_or(&thread->caught, CAUGHT_TRAP);
	return true;
}

long guest_rt_sigprocmask(struct guest_call *call)
{
	struct guest_thread *thread = call->thread;
	signal_mask old = mask_of_program(thread, call->context), set, mask = old;
	if (call->argument[3] != sizeof(signal_mask))
		return -EINVAL;
	if (call->argument[1] != 0) {
		if (guest_copy_in(&set, (const void *)call->argument[1], sizeof(set)) != 0)
			return -EFAULT;
		set &= ~SIGNAL_UNBLOCKABLE;
		switch (call->argument[0]) {
		case SIG_BLOCK:
			mask = old | set;
			break;
		case SIG_UNBLOCK:
			mask = old & ~set;
			break;
		case SIG_SETMASK:
			mask = set;
			break;
		default:
			return -EINVAL;
		}
	}
	if (!mask_set(thread, call->context, mask))
		return GUEST_RESTART;
	if (call->argument[2] != 0 &&
	    guest_copy_out((void *)call->argument[2], &old, sizeof(old)) != 0)
		return -EFAULT;
	return 0;
}

const uint64_t *guest_temporary_mask(struct guest_call *call, uint64_t mask)
{
	struct guest_thread *thread = call->thread;
	thread->temporary = mask & ~SIGNAL_UNBLOCKABLE;
	thread->temporary_given = thread->temporary & ~SIGNAL_TRAPS;
	thread->has_temporary = true;
	thread->traps_before = thread->traps_blocked;
	thread->traps_blocked = mask & SIGNAL_TRAPS;
	if (atomic_load(&thread->trap_pending) & ~thread->traps_blocked)
		atomic_fetch_or(&thread->caught, CAUGHT_TRAP);
	return &thread->temporary_given;
}

long guest_rt_sigsuspend(struct guest_call *call)
{
	signal_mask mask;
	if (call->argument[1] != sizeof(mask))
		return -EINVAL;
	if (guest_copy_in(&mask, (const void *)call->argument[0], sizeof(mask)) != 0)
		return -EFAULT;
	return guest_execute(call, call->number, (long)guest_temporary_mask(call, mask), sizeof(mask),
	                     0, 0, 0, 0);
}

long guest_rt_sigpending(struct guest_call *call)
{
	signal_mask pending = 0;
	size_t size = (size_t)call->argument[1];
	long result = guest_execute(call, call->number, (long)&pending, (long)size, 0, 0, 0, 0);
	if (result < 0)
		return result;
	pending |= atomic_load(&call->thread->trap_pending);
	return guest_copy_out((void *)call->argument[0], &pending, size) != 0 ? -EFAULT : result;
}

long guest_rt_sigtimedwait(struct guest_call *call)
{
	signal_mask set;
	siginfo_t info;
	struct timespec limit;
	bool wants_info = call->argument[1] != 0, has_limit = call->argument[2] != 0;
	if (call->argument[3] != sizeof(set))
		return -EINVAL;
	if (guest_copy_in(&set, (const void *)call->argument[0], sizeof(set)) != 0 ||
	    (has_limit && guest_copy_in(&limit, (const void *)call->argument[2], sizeof(limit)) != 0))
		return -EFAULT;
	for (unsigned i = 0; i < 2; i++) {
		int number = i == 0 ? SIGSEGV : SIGSYS;
		if (!(atomic_load(&call->thread->trap_pending) & set & SIGNAL_BIT(number)))
			continue;
		atomic_fetch_and(&call->thread->trap_pending, ~SIGNAL_BIT(number));
		info = call->thread->trap_waiting[i];
		bool bad = wants_info &&
		           guest_copy_out((void *)call->argument[1], &info, SIGINFO_BYTES) != 0;
		return bad ? -EFAULT : number;
	}
	long result = guest_execute(call, call->number, (long)&set, wants_info ? (long)&info : 0,
	                            has_limit ? (long)&limit : 0, sizeof(set), 0, 0);
	if (result > 0 && wants_info &&
	    guest_copy_out((void *)call->argument[1], &info, SIGINFO_BYTES) != 0)
		return -EFAULT;
	return result;
}

/* ---- The end of a call ------------------------------------------------------------------------- */

long guest_signal_call_end(struct guest_thread *thread, long result)
{
	int caught = atomic_load(&thread->caught);
	/* What the program blocks natively ends no call of its. */
	if (result == -EINTR && caught == CAUGHT_BLOCKED)
		result = GUEST_RESTART;
	if (!thread->has_temporary)
		return result;
	/* What is open only meanwhile ends the call, even if it came before. */
	if (result == GUEST_RESTART && caught == CAUGHT_TRAP)
		result = -EINTR;
	thread->traps_blocked = thread->traps_before;
	thread->has_temporary = result == -EINTR;
	return result;
}
