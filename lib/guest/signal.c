/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "signal.h"

#include <stddef.h>
#include <string.h>

#include "compiler.h"
#include "handlers.h"
#include "host.h"
#include "print.h"
#include "report.h"
#include "syscall.h"
#include "trap.h"

#define SIGINFO_BYTES 128
#define RED_ZONE 128
#define SIGNALS 64

#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000
#endif
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
#define UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))

/* What the kernel puts on the stack of a program: the state of the floating-point unit above. */
struct signal_frame {
	void *restorer;
	struct guest_context context;
	char info[SIGINFO_BYTES];
};

static greg_t *registers(void *context)
{
	return ((struct guest_context *)context)->machine.gregs;
}

signal_mask *guest_signal_mask(void *context)
{
	return &((struct guest_context *)context)->mask;
}

signal_mask guest_signal_hold(void)
{
	const signal_mask all = ~SIGNAL_TRAPS;
	signal_mask before = 0;
	syscall_4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(before));
	return before;
}

void guest_signal_release(signal_mask before)
{
	syscall_4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
}

/* ---- The state of the floating-point unit --------------------------------------------------- */

/* Its end is told by words that Linux keeps in what the hardware leaves free. */
#define FXSAVE_BYTES 512
#define EXTENDED_MAGIC 0x46505853u
struct extended {
	uint32_t magic, size;
};

static const struct extended *extended(const void *fpstate)
{
	return (const struct extended *)((const char *)fpstate + 464);
}

size_t guest_signal_fpstate(const void *context)
{
	const void *fpstate = ((const struct guest_context *)context)->machine.fpregs;
	if (fpstate == NULL)
		return 0;
	const struct extended *words = extended(fpstate);
	return words->magic == EXTENDED_MAGIC ? words->size : FXSAVE_BYTES;
}

/* ---- The program's alternate stack ------------------------------------------------------------ */

static bool on_altstack(const struct guest_thread *thread, uintptr_t sp)
{
	const stack_t *stack = &thread->altstack;
	if (stack->ss_flags & (int)(SS_AUTODISARM | SS_DISABLE))
		return false;
	uintptr_t start = (uintptr_t)stack->ss_sp;
	return sp > start && sp - start <= stack->ss_size;
}

static int altstack_flags(const struct guest_thread *thread, uintptr_t sp)
{
	if (thread->altstack.ss_size == 0 || thread->altstack.ss_flags & SS_DISABLE)
		return SS_DISABLE;
	return on_altstack(thread, sp) ? SS_ONSTACK : 0;
}

static stack_t altstack_as_seen(const struct guest_thread *thread, uintptr_t sp)
{
	stack_t seen = thread->altstack;
	seen.ss_flags = altstack_flags(thread, sp) | (seen.ss_flags & (int)SS_AUTODISARM);
	return seen;
}

/* Return: 0 or a negated errno value, as the kernel's. */
static int altstack_set(struct guest_thread *thread, const stack_t *wanted, uintptr_t sp)
{
	int mode = wanted->ss_flags & ~(int)SS_AUTODISARM;
	if (on_altstack(thread, sp))
		return -EPERM;
	if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
		return -EINVAL;
	if (mode == SS_DISABLE) {
		thread->altstack = (stack_t){ .ss_flags = wanted->ss_flags };
		return 0;
	}
	if (wanted->ss_size < 2048) /* the kernel's MINSIGSTKSZ */
		return -ENOMEM;
	thread->altstack = *wanted;
	thread->altstack.ss_flags &= (int)SS_AUTODISARM;
	return 0;
}

long guest_sigaltstack(struct guest_call *call)
{
	struct guest_thread *thread = call->thread;
	uintptr_t sp = (uintptr_t)registers(call->context)[REG_RSP];
	stack_t wanted, old = altstack_as_seen(thread, sp);
	if (call->argument[0] != 0) {
		if (guest_copy_in(&wanted, (const void *)call->argument[0], sizeof(wanted)) != 0)
			return -EFAULT;
		int result = altstack_set(thread, &wanted, sp);
		if (result < 0)
			return result;
	}
	if (call->argument[1] != 0 &&
	    guest_copy_out((void *)call->argument[1], &old, sizeof(old)) != 0)
		return -EFAULT;
	return 0;
}

/* ---- Frames ------------------------------------------------------------------------------------ */

/* Where the frame of a handler goes, and the floating-point state above it. Return: false if
 * the alternate stack has no room. */
static bool frame_place(const struct guest_thread *thread, const struct host_action *action,
                        uintptr_t sp, size_t state, uintptr_t *frame, uintptr_t *fpstate)
{
	bool nested = on_altstack(thread, sp);
	uintptr_t top = sp - RED_ZONE;
	bool enter = action->flags & SA_ONSTACK && altstack_flags(thread, sp) == 0;
	if (enter)
		top = (uintptr_t)thread->altstack.ss_sp + thread->altstack.ss_size;
	*fpstate = state > 0 ? (top - state) & ~(uintptr_t)63 : top;
	*frame = ((*fpstate - sizeof(struct signal_frame)) & ~(uintptr_t)15) - 8;
	bool bounded = enter || nested;
	return !bounded || *frame > (uintptr_t)thread->altstack.ss_sp;
}

/* Makes @context enter the handler of @action, whose frame says to go back to where the program
 * was. @during: what the handler's mask is made from; the frame has the program's own. Return:
 * false if the program's stack does not take it. */
static bool frame_push(struct guest_thread *thread, void *context, const siginfo_t *info,
                       const struct host_action *action, signal_mask during)
{
	struct guest_context *interrupted = context;
	greg_t *r = registers(context);
	struct signal_frame local;
	uintptr_t frame, fpstate, sp = (uintptr_t)r[REG_RSP];
	size_t state = guest_signal_fpstate(context);
	if (!(action->flags & SA_RESTORER) ||
	    !frame_place(thread, action, sp, state, &frame, &fpstate))
		return false;
	local.restorer = action->restorer;
	local.context = *interrupted;
	local.context.stack = altstack_as_seen(thread, sp);
	local.context.machine.fpregs = state > 0 ? (void *)fpstate : NULL;
	local.context.mask |= thread->traps_blocked;
	memcpy(local.info, info, SIGINFO_BYTES);
	if ((state > 0 && guest_copy_out((void *)fpstate, interrupted->machine.fpregs, state)) ||
	    guest_copy_out((void *)frame, &local, sizeof(local)) != 0)
		return false;

	int number = info->si_signo;
	signal_mask mask = during | thread->traps_blocked | action->mask;
	if (!(action->flags & SA_NODEFER))
		mask |= SIGNAL_BIT(number);
	mask &= ~UNBLOCKABLE;
	thread->traps_blocked = mask & SIGNAL_TRAPS;
	*guest_signal_mask(context) = mask & ~SIGNAL_TRAPS;
	if (thread->altstack.ss_flags & (int)SS_AUTODISARM)
		thread->altstack = (stack_t){ .ss_flags = SS_DISABLE };
	r[REG_RDI] = number;
	r[REG_RSI] = (greg_t)(frame + offsetof(struct signal_frame, info));
	r[REG_RDX] = (greg_t)(frame + offsetof(struct signal_frame, context));
	r[REG_RAX] = 0;
	r[REG_RSP] = (greg_t)frame;
	r[REG_RIP] = (greg_t)action->handler;
	r[REG_EFL] &= ~0x10500; /* direction, trap, resume */
	interrupted->machine.fpregs = NULL; /* a fresh one */
	return true;
}

/* ---- Actions ------------------------------------------------------------------------------------ */

static signals_handler catch_signal, catch_trap;

/* Whether the process's end by a signal is to be seen, for its statistics. */
static bool report_deaths;

/* Whether the default action ends nothing and stops nothing. */
static bool is_harmless(int number)
{
	return number == SIGCHLD || number == SIGURG || number == SIGWINCH || number == SIGCONT;
}

static bool is_stop(int number)
{
	return number == SIGTSTP || number == SIGTTIN || number == SIGTTOU || number == SIGSTOP;
}

static bool ends_process(int number)
{
	return !is_harmless(number) && !is_stop(number) && number != SIGKILL;
}

/* What the kernel does where the program asked for @action. */
static void action_to_host(int number, const struct host_action *action)
{
	const unsigned long kept = SA_RESTART | SA_NOCLDSTOP | SA_NOCLDWAIT;
	if (SIGNAL_BIT(number) & (SIGNAL_TRAPS | SIGNAL_BIT(SIGBUS)))
		return; /* ours for good */
	bool watched = report_deaths && action->handler == (void *)SIG_DFL && ends_process(number);
	if (!watched &&
	    (action->handler == (void *)SIG_DFL || action->handler == (void *)SIG_IGN)) {
		struct host_action plain = { .handler = action->handler,
			                     .flags = action->flags & kept };
		signals_set_action(number, &plain);
	} else {
		signals_install(number, catch_signal, action->flags & kept, ~SIGNAL_TRAPS);
	}
}

static void action_get(struct guest_actions *actions, int number, struct host_action *action)
{
	lock_acquire(&actions->lock);
	*action = actions->action[number - 1];
	if (action->flags & SA_RESETHAND && action->handler != (void *)SIG_DFL &&
	    action->handler != (void *)SIG_IGN) {
		actions->action[number - 1].handler = (void *)SIG_DFL;
		action_to_host(number, &actions->action[number - 1]);
	}
	lock_release(&actions->lock);
}

long guest_rt_sigaction(struct guest_call *call)
{
	struct guest_actions *actions = call->thread->actions;
	long number = call->argument[0];
	struct host_action wanted, old;
	if (call->argument[3] != sizeof(signal_mask))
		return -EINVAL;
	if (call->argument[1] != 0 &&
	    guest_copy_in(&wanted, (const void *)call->argument[1], sizeof(wanted)) != 0)
		return -EFAULT;
	if (number < 1 || number > SIGNALS ||
	    (call->argument[1] != 0 && SIGNAL_BIT(number) & UNBLOCKABLE))
		return -EINVAL;
	lock_acquire(&actions->lock);
	old = actions->action[number - 1];
	if (call->argument[1] != 0) {
		wanted.mask &= ~UNBLOCKABLE;
		actions->action[number - 1] = wanted;
		action_to_host((int)number, &wanted);
	}
	lock_release(&actions->lock);
	if (call->argument[2] != 0 &&
	    guest_copy_out((void *)call->argument[2], &old, sizeof(old)) != 0)
		return -EFAULT;
	return 0;
}

/* ---- Delivery ------------------------------------------------------------------------------------ */

/* The signal's default action, by the kernel, when the thread goes back to where it was. */
static void default_action(void *context, int number, const siginfo_t *info)
{
	const struct host_action plain = { .handler = (void *)SIG_DFL };
	report_signal(number);
	signals_set_action(number, &plain);
	*guest_signal_mask(context) &= ~SIGNAL_BIT(number);
	/* Held until the frame's mask lets it through, so that a core shows where it happened. */
	const signal_mask all = ~(SIGNAL_TRAPS & ~SIGNAL_BIT(number));
	guest_signal_release(all);
	long process = syscall_6(SYS_getpid, 0, 0, 0, 0, 0, 0);
	if (syscall_4(SYS_rt_tgsigqueueinfo, process, host_thread_id(), number, info) < 0)
		syscall_3(SYS_tgkill, process, host_thread_id(), number);
}

/* The program receives a signal that it does not block. @during: as for frame_push(). @forced:
 * it cannot go on without: neither ignored nor blocked. */
static void receive(struct guest_thread *thread, void *context, const siginfo_t *info,
                    signal_mask during, bool forced)
{
	int number = info->si_signo;
	struct host_action action;
	action_get(thread->actions, number, &action);
	bool blocked = SIGNAL_BIT(number) & (*guest_signal_mask(context) | thread->traps_blocked);
	if (forced && (blocked || action.handler == (void *)SIG_IGN))
		action.handler = (void *)SIG_DFL;
	if (action.handler == (void *)SIG_IGN)
		return;
	if (action.handler == (void *)SIG_DFL) {
		if (is_harmless(number))
			return;
		if (is_stop(number)) { /* it had a handler when it came */
			syscall_3(SYS_tgkill, syscall_6(SYS_getpid, 0, 0, 0, 0, 0, 0),
			          host_thread_id(), SIGSTOP);
			return;
		}
		default_action(context, number, info);
		return;
	}
	if (frame_push(thread, context, info, &action, during))
		return;
	/* Its stack is no good: a reference of its own, as natively. */
	siginfo_t fault;
	memset(&fault, 0, sizeof(fault));
	fault.si_signo = SIGSEGV;
	fault.si_code = SI_KERNEL;
	if (number != SIGSEGV) {
		action_get(thread->actions, SIGSEGV, &action);
		if (action.handler != (void *)SIG_DFL && action.handler != (void *)SIG_IGN &&
		    !(thread->traps_blocked & SIGNAL_BIT(SIGSEGV)) &&
		    frame_push(thread, context, &fault, &action, *guest_signal_mask(context)))
			return;
	}
	default_action(context, SIGSEGV, &fault);
}

/* One of SIGSEGV and SIGSYS that was sent, and is not blocked. */
static void deliver_trap(struct guest_thread *thread, void *context)
{
	for (unsigned i = 0; i < 2; i++) {
		int number = i == 0 ? SIGSEGV : SIGSYS;
		if (!(thread->trap_pending & 1u << i) || thread->traps_blocked & SIGNAL_BIT(number))
			continue;
		thread->trap_pending &= ~(1u << i);
		siginfo_t info = thread->trap_waiting[i];
		receive(thread, context, &info, *guest_signal_mask(context), false);
	}
}

void guest_signal_deliver(struct guest_thread *thread, void *context)
{
	int caught = atomic_exchange(&thread->caught, 0);
	if (caught & CAUGHT_TRAP)
		deliver_trap(thread, context);
	if (caught & CAUGHT_SIGNAL) {
		siginfo_t info = thread->waiting;
		signal_mask during = *guest_signal_mask(context);
		if (thread->has_temporary)
			during = thread->temporary;
		thread->has_temporary = false;
		receive(thread, context, &info, during, false);
	}
}

/* Where gate_leave() goes when something came in its window. */
_Noreturn void guest_signal_leave(void *context);
void guest_signal_leave(void *context)
{
	struct guest_thread *thread = region_self();
	guest_signal_deliver(thread, context);
	gate_leave(context, &thread->caught);
}

/* A thread that is about to go on, in one of the windows of the gate, goes back and looks. */
static void leave_window(greg_t *r)
{
	uintptr_t at = (uintptr_t)r[REG_RIP];
	if (at >= (uintptr_t)gate_interruptible_start && at < (uintptr_t)gate_interruptible_end)
		r[REG_RIP] = (greg_t)gate_interruptible_redirect;
	else if (at >= (uintptr_t)gate_leave_start && at < (uintptr_t)gate_leave_end)
		r[REG_RIP] = (greg_t)gate_leave_redirect;
}

static void catch_signal(int number, siginfo_t *info, void *context)
{
	struct guest_thread *thread = region_self();
	greg_t *r = registers(context);
	(void)number;
	if (region_has(thread, (uintptr_t)r[REG_RSP])) {
		thread->waiting = *info;
		*guest_signal_mask(context) = ~SIGNAL_TRAPS;
		atomic_fetch_or(&thread->caught, CAUGHT_SIGNAL);
		leave_window(r);
		return;
	}
	receive(thread, context, info, *guest_signal_mask(context), false);
}

/* SIGSEGV, SIGBUS. */
static void catch_trap(int number, siginfo_t *info, void *context)
{
	struct guest_thread *thread = region_self();
	greg_t *r = registers(context);
	enum trap_verdict verdict = TRAP_FOREIGN;
	if (number == SIGSEGV)
		verdict = trap_take(number, info, context, region_tls(thread));
	if (verdict == TRAP_SERVED)
		return;
	bool ours = region_has(thread, (uintptr_t)r[REG_RSP]);
	bool sent = info->si_code <= 0;
	if (!sent && ours) {
		uintptr_t fixup = guest_fixup((uintptr_t)r[REG_RIP]);
		if (fixup != 0) {
			r[REG_RIP] = (greg_t)fixup;
			return;
		}
		struct line line = { 0 };
		print_text(&line, "upage: a fault of its own at ");
		print_hex(&line, (uintptr_t)r[REG_RIP]);
		print_text(&line, ", address ");
		print_hex(&line, (uintptr_t)info->si_addr);
		print_flush(&line, 2);
		default_action(context, number, info);
		return;
	}
	if (verdict == TRAP_SIGBUS) {
		info->si_signo = SIGBUS;
		info->si_code = BUS_ADRERR;
	}
	if (sent && number == SIGSEGV) { /* never blocked for real, so here it waits */
		if (!(thread->trap_pending & 1)) {
			thread->trap_waiting[0] = *info;
			thread->trap_pending |= 1;
		}
		if (thread->traps_blocked & SIGNAL_BIT(SIGSEGV))
			return;
		if (ours) {
			atomic_fetch_or(&thread->caught, CAUGHT_TRAP);
			leave_window(r);
		} else {
			deliver_trap(thread, context);
		}
		return;
	}
	if (ours) { /* a SIGBUS that was sent */
		thread->waiting = *info;
		*guest_signal_mask(context) = ~SIGNAL_TRAPS;
		atomic_fetch_or(&thread->caught, CAUGHT_SIGNAL);
		leave_window(r);
		return;
	}
	receive(thread, context, info, *guest_signal_mask(context), !sent);
}

/* A SIGSYS that is no system call of the program. */
void guest_signal_sigsys(siginfo_t *info, void *context)
{
	struct guest_thread *thread = region_self();
	if (!(thread->trap_pending & 2)) {
		thread->trap_waiting[1] = *info;
		thread->trap_pending |= 2;
	}
	if (thread->traps_blocked & SIGNAL_BIT(SIGSYS))
		return;
	if (region_has(thread, (uintptr_t)registers(context)[REG_RSP])) {
		atomic_fetch_or(&thread->caught, CAUGHT_TRAP);
		leave_window(registers(context));
	} else {
		deliver_trap(thread, context);
	}
}

/* ---- Masks ------------------------------------------------------------------------------------- */

long guest_rt_sigprocmask(struct guest_call *call)
{
	struct guest_thread *thread = call->thread;
	signal_mask *real = guest_signal_mask(call->context);
	signal_mask old = *real | thread->traps_blocked, set, mask = old;
	if (call->argument[3] != sizeof(signal_mask))
		return -EINVAL;
	if (call->argument[1] != 0) {
		if (guest_copy_in(&set, (const void *)call->argument[1], sizeof(set)) != 0)
			return -EFAULT;
		set &= ~UNBLOCKABLE;
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
	signal_mask blocked = mask & ~SIGNAL_TRAPS;
	if (blocked & ~*real) {
		/* None of these may come from here on; one that did is from before. */
		signal_mask held = guest_signal_hold();
		if (atomic_load(&thread->caught) & CAUGHT_SIGNAL)
			return GUEST_RESTART;
		guest_signal_release(held | blocked);
	}
	*real = blocked;
	thread->traps_blocked = mask & SIGNAL_TRAPS;
	if (thread->trap_pending != 0)
		atomic_fetch_or(&thread->caught, CAUGHT_TRAP);
	if (call->argument[2] != 0 &&
	    guest_copy_out((void *)call->argument[2], &old, sizeof(old)) != 0)
		return -EFAULT;
	return 0;
}

const uint64_t *guest_temporary_mask(struct guest_call *call, uint64_t mask)
{
	struct guest_thread *thread = call->thread;
	thread->temporary = mask & ~SIGNAL_TRAPS & ~UNBLOCKABLE;
	thread->temporary_given = thread->temporary;
	thread->has_temporary = true;
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
	if (call->thread->trap_pending & 1)
		pending |= SIGNAL_BIT(SIGSEGV);
	if (call->thread->trap_pending & 2)
		pending |= SIGNAL_BIT(SIGSYS);
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
		if (!(call->thread->trap_pending & 1u << i) || !(set & SIGNAL_BIT(number)))
			continue;
		call->thread->trap_pending &= ~(1u << i);
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

/* ---- Return from a handler --------------------------------------------------------------------- */

/* The floating-point state of the program's frame into ours, whose place is of the same size. */
static bool restore_fpstate(struct guest_context *ours, void *place, size_t room, const void *theirs)
{
	if (theirs == NULL || place == NULL) {
		ours->machine.fpregs = NULL;
		return true;
	}
	if (guest_copy_in(place, theirs, FXSAVE_BYTES) != 0)
		return false;
	struct extended *words = (struct extended *)((char *)place + 464);
	if (words->magic == EXTENDED_MAGIC && words->size > FXSAVE_BYTES && words->size <= room) {
		if (guest_copy_in((char *)place + FXSAVE_BYTES, (const char *)theirs + FXSAVE_BYTES,
		                  words->size - FXSAVE_BYTES) != 0)
			return false;
	} else {
		words->magic = 0;
	}
	ours->machine.fpregs = place;
	return true;
}

long guest_rt_sigreturn(struct guest_call *call)
{
	struct guest_thread *thread = call->thread;
	struct guest_context *ours = call->context;
	greg_t *r = registers(ours);
	struct guest_context theirs;
	void *place = ours->machine.fpregs;
	size_t room = guest_signal_fpstate(ours);
	uintptr_t frame = (uintptr_t)r[REG_RSP];
	if (guest_copy_in(&theirs, (const void *)frame, sizeof(theirs)) != 0 ||
	    !restore_fpstate(ours, place, room, theirs.machine.fpregs)) {
		siginfo_t info;
		memset(&info, 0, sizeof(info));
		info.si_signo = SIGSEGV;
		info.si_code = SI_KERNEL;
		receive(thread, ours, &info, *guest_signal_mask(ours), true);
		return r[REG_RAX];
	}
	struct _libc_fpstate *fpregs = ours->machine.fpregs;
	signal_mask mask = theirs.mask & ~UNBLOCKABLE;
	ours->machine = theirs.machine;
	ours->machine.fpregs = fpregs;
	*guest_signal_mask(ours) = mask & ~SIGNAL_TRAPS;
	thread->traps_blocked = mask & SIGNAL_TRAPS;
	if (thread->trap_pending != 0)
		atomic_fetch_or(&thread->caught, CAUGHT_TRAP);
	altstack_set(thread, &theirs.stack, (uintptr_t)r[REG_RSP]);
	return r[REG_RAX];
}

/* ---- Start, and execve -------------------------------------------------------------------------- */

static signals_handler *sigsys_handler;

/* The three that are ours whatever the program asks for. SIGSYS leaves the mask as the program
 * has it: what it does not block interrupts its system calls. */
static void install(void)
{
	signals_install(SIGSEGV, catch_trap, SA_NODEFER, ~SIGNAL_TRAPS);
	signals_install(SIGBUS, catch_trap, SA_NODEFER, ~SIGNAL_TRAPS);
	signals_install(SIGSYS, sigsys_handler, SA_NODEFER, 0);
}

void guest_signal_start(struct guest_actions *actions, signals_handler *sigsys, bool report)
{
	sigsys_handler = sigsys;
	report_deaths = report;
	for (int number = 1; number <= SIGNALS; number++) {
		struct host_action *action = &actions->action[number - 1];
		signals_get_action(number, action);
		if (number == SIGSEGV)
			signals_hand_back(action);
		if (number != SIGSEGV)
			action_to_host(number, action);
	}
	install();
}

void guest_signal_exec_begin(struct guest_thread *thread, void *context)
{
	const struct host_action ignore = { .handler = (void *)SIG_IGN };
	signal_mask mask = *guest_signal_mask(context) | thread->traps_blocked;
	static const int ours[] = { SIGSEGV, SIGBUS, SIGSYS };
	for (unsigned i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (thread->actions->action[ours[i] - 1].handler == (void *)SIG_IGN)
			signals_set_action(ours[i], &ignore);
	guest_signal_release(mask);
}

void guest_signal_exec_failed(struct guest_thread *thread)
{
	(void)thread;
	install();
}
