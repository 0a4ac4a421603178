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
#include "table.h"
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
#ifndef SA_EXPOSE_TAGBITS
#define SA_EXPOSE_TAGBITS 0x00000800
#endif
/* Linux forgets all others, so that programs can ask which it knows. */
#define KNOWN_FLAGS                                                                              \
	((unsigned long)(SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART |    \
	                 SA_NODEFER | SA_EXPOSE_TAGBITS | SA_RESTORER) |                         \
	 SA_RESETHAND)
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
	if (stack->ss_flags & (int)SS_AUTODISARM)
		return false;
	uintptr_t start = (uintptr_t)stack->ss_sp;
	return sp > start && sp - start <= stack->ss_size;
}

static int altstack_flags(const struct guest_thread *thread, uintptr_t sp)
{
	if (thread->altstack.ss_size == 0)
		return SS_DISABLE;
	return on_altstack(thread, sp) ? SS_ONSTACK : 0;
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
	return 0;
}

long guest_sigaltstack(struct guest_call *call)
{
	struct guest_thread *thread = call->thread;
	uintptr_t sp = (uintptr_t)registers(call->context)[REG_RSP];
	stack_t wanted, old = thread->altstack;
	old.ss_flags = altstack_flags(thread, sp) | (old.ss_flags & (int)SS_AUTODISARM);
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

/* The mask of the program where it was interrupted, as it knows it. */
static signal_mask program_mask(const struct guest_thread *thread, void *context)
{
	return *guest_signal_mask(context) | thread->traps_blocked;
}

/* The same, or that of the call which a signal has just ended. */
static signal_mask mask_in_force(const struct guest_thread *thread, void *context)
{
	return thread->has_temporary ? thread->temporary : program_mask(thread, context);
}

/* Makes @context enter the handler of @action, whose frame says to go back to where the program
 * was, and with which mask. Return: false if the program's stack does not take it. */
static bool frame_push(struct guest_thread *thread, void *context, const siginfo_t *info,
                       const struct host_action *action)
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
	local.context.link = NULL;
	local.context.stack = thread->altstack;
	local.context.machine.fpregs = state > 0 ? (void *)fpstate : NULL;
	local.context.mask = program_mask(thread, context);
	memcpy(local.info, info, SIGINFO_BYTES);
	if ((state > 0 && guest_copy_out((void *)fpstate, interrupted->machine.fpregs, state)) ||
	    guest_copy_out((void *)frame, &local, sizeof(local)) != 0)
		return false;

	int number = info->si_signo;
	signal_mask mask = mask_in_force(thread, context) | action->mask;
	thread->has_temporary = false;
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
	interrupted->machine.fpregs = NULL; /* a fresh state */
	return true;
}

/* ---- Actions ------------------------------------------------------------------------------------ */

static signals_handler catch_signal, catch_trap, *sigsys_handler;

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

/* Three are ours whatever the program asks for. SIGSYS leaves the mask as the program has it:
 * what it does not block interrupts its system calls. */
#define TRAPS_HANDLED (SIGNAL_TRAPS | SIGNAL_BIT(SIGBUS))

static void install_trap(int number, const struct host_action *action)
{
	unsigned long flags = SA_NODEFER | (action->flags & SA_RESTART);
	if (number == SIGSYS)
		signals_install(number, sigsys_handler, flags, 0);
	else
		signals_install(number, catch_trap, flags, ~SIGNAL_TRAPS);
}

/* What the kernel does where the program asked for @action. */
static void action_to_host(int number, const struct host_action *action)
{
	const unsigned long kept = SA_RESTART | SA_NOCLDSTOP | SA_NOCLDWAIT;
	if (SIGNAL_BIT(number) & TRAPS_HANDLED) {
		install_trap(number, action);
		return;
	}
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
		wanted.flags &= KNOWN_FLAGS;
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

/* The program receives a signal that it does not block. @forced: it cannot go on without:
 * neither ignored nor blocked. */
static void receive(struct guest_thread *thread, void *context, const siginfo_t *info, bool forced)
{
	int number = info->si_signo;
	struct host_action action;
	action_get(thread->actions, number, &action);
	bool blocked = SIGNAL_BIT(number) & program_mask(thread, context);
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
	if (frame_push(thread, context, info, &action))
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
		    frame_push(thread, context, &fault, &action))
			return;
	}
	default_action(context, SIGSEGV, &fault);
}

/* Those of SIGSEGV and SIGSYS that were sent, and are not blocked. */
static void deliver_traps(struct guest_thread *thread, void *context)
{
	for (unsigned i = 0; i < 2; i++) {
		int number = i == 0 ? SIGSEGV : SIGSYS;
		if (!(atomic_load(&thread->trap_pending) & ~mask_in_force(thread, context) &
		      SIGNAL_BIT(number)))
			continue;
		atomic_fetch_and(&thread->trap_pending, ~SIGNAL_BIT(number));
		siginfo_t info = thread->trap_waiting[i];
		receive(thread, context, &info, false);
	}
}

/* All signals are blocked: what a handler's mask keeps out must not come in before it. */
static void deliver(struct guest_thread *thread, void *context)
{
	int caught = atomic_exchange(&thread->caught, 0);
	if (caught & CAUGHT_SIGNAL) {
		siginfo_t info = thread->waiting;
		receive(thread, context, &info, false);
	}
	if (caught & CAUGHT_TRAP)
		deliver_traps(thread, context);
	thread->has_temporary = false;
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

/* Where gate_leave() goes when something was caught: before, or in its window. All handlers of
 * ours end by it, so that nothing stays behind that came while they ran. */
_Noreturn void guest_signal_leave(void *context);
void guest_signal_leave(void *context)
{
	static const _Atomic int nothing;
	struct guest_thread *thread = region_self();
	greg_t *r = registers(context);
	if (!(atomic_load(&thread->caught) & CAUGHT_SIGNAL))
		guest_signal_hold();
	if (!region_has(thread, (uintptr_t)r[REG_RSP])) {
		deliver(thread, context);
		gate_leave(context, &thread->caught);
	}
	/* It was we who were interrupted, and will find it. Until then there is no place for another. */
	if (atomic_load(&thread->caught) & CAUGHT_SIGNAL)
		*guest_signal_mask(context) = ~SIGNAL_TRAPS;
	leave_window(r);
	gate_leave(context, &nothing);
}

/* Keeps a signal until the program is gone back to. */
static void keep(struct guest_thread *thread, const siginfo_t *info)
{
	thread->waiting = *info;
	atomic_fetch_or(&thread->caught, CAUGHT_SIGNAL);
}

/* The same for a SIGSEGV or SIGSYS, which is never blocked for real. */
static void keep_trap(struct guest_thread *thread, const siginfo_t *info)
{
	signal_mask bit = SIGNAL_BIT(info->si_signo);
	if (!(atomic_load(&thread->trap_pending) & bit)) {
		thread->trap_waiting[info->si_signo == SIGSEGV ? 0 : 1] = *info;
		atomic_fetch_or(&thread->trap_pending, bit);
	}
	bool blocked = thread->traps_blocked & bit;
	atomic_fetch_or(&thread->caught, blocked ? CAUGHT_BLOCKED : CAUGHT_TRAP);
}

static void catch_signal(int number, siginfo_t *info, void *context)
{
	struct guest_thread *thread = region_self();
	(void)number;
	if (region_has(thread, (uintptr_t)registers(context)[REG_RSP]))
		keep(thread, info);
	else
		receive(thread, context, info, false);
	gate_leave(context, &thread->caught);
}

/* A reference of ours that cannot be made. */
static void own_fault(const siginfo_t *info, void *context)
{
	greg_t *r = registers(context);
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
	default_action(context, info->si_signo, info);
}

/* SIGSEGV, SIGBUS. */
static void catch_trap(int number, siginfo_t *info, void *context)
{
	struct guest_thread *thread = region_self();
	enum trap_verdict verdict = TRAP_FOREIGN;
	if (number == SIGSEGV)
		verdict = trap_take(number, info, context, region_tls(thread));
	bool ours = region_has(thread, (uintptr_t)registers(context)[REG_RSP]);
	bool sent = info->si_code <= 0;
	if (verdict == TRAP_SIGBUS) {
		info->si_signo = SIGBUS;
		info->si_code = BUS_ADRERR;
	}
	if (verdict == TRAP_SERVED)
		; /* the reference is made again */
	else if (!ours && !sent && guest_trace_begin())
		; /* this one too, now that its tracer sees it */
	else if (ours && !sent)
		own_fault(info, context);
	else if (sent && number == SIGSEGV)
		keep_trap(thread, info);
	else if (ours)
		keep(thread, info);
	else
		receive(thread, context, info, !sent);
	gate_leave(context, &thread->caught);
}

void guest_signal_sigsys(const siginfo_t *info, void *context)
{
	struct guest_thread *thread = region_self();
	keep_trap(thread, info);
	gate_leave(context, &thread->caught);
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

/* ---- Masks ------------------------------------------------------------------------------------- */

/* The mask of the program once the call is over. Return: false: a signal came that is blocked from
 * then on. It is delivered first. */
static bool set_program_mask(struct guest_thread *thread, void *context, signal_mask mask)
{
	signal_mask *real = guest_signal_mask(context), blocked = mask & ~SIGNAL_TRAPS;
	if (blocked & ~*real) {
		/* None of these may come from here on; one that did is from before. */
		signal_mask held = guest_signal_hold();
		if (atomic_load(&thread->caught) & CAUGHT_SIGNAL)
			return false;
		guest_signal_release(held | blocked);
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
	signal_mask old = program_mask(thread, call->context), set, mask = old;
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
	if (!set_program_mask(thread, call->context, mask))
		return GUEST_RESTART;
	if (call->argument[2] != 0 &&
	    guest_copy_out((void *)call->argument[2], &old, sizeof(old)) != 0)
		return -EFAULT;
	return 0;
}

const uint64_t *guest_temporary_mask(struct guest_call *call, uint64_t mask)
{
	struct guest_thread *thread = call->thread;
	thread->temporary = mask & ~UNBLOCKABLE;
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

/* ---- Return from a handler --------------------------------------------------------------------- */

/* The floating-point state of the program's frame into ours, whose place is of the same size. */
static bool restore_fpstate(struct guest_context *ours, void *place, size_t room, const void *theirs)
{
	ours->machine.fpregs = NULL;
	if (theirs == NULL || place == NULL)
		return true;
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
	bool bad = guest_copy_in(&theirs, (const void *)frame, sizeof(theirs)) != 0;
	if (!bad && !set_program_mask(thread, ours, theirs.mask & ~UNBLOCKABLE))
		return GUEST_RESTART;
	if (bad ||
	    !restore_fpstate(ours, place, room, theirs.machine.fpregs)) {
		siginfo_t info;
		memset(&info, 0, sizeof(info));
		info.si_signo = SIGSEGV;
		info.si_code = SI_KERNEL;
		receive(thread, ours, &info, true);
		return 0;
	}
	struct _libc_fpstate *fpregs = ours->machine.fpregs;
	ours->machine = theirs.machine;
	ours->machine.fpregs = fpregs;
	altstack_set(thread, &theirs.stack, (uintptr_t)r[REG_RSP]);
	return 0;
}

/* ---- Start, and execve -------------------------------------------------------------------------- */

void guest_signal_start(struct guest_actions *actions, signals_handler *sigsys, bool report)
{
	sigsys_handler = sigsys;
	report_deaths = report;
	for (int number = 1; number <= SIGNALS; number++) {
		struct host_action *action = &actions->action[number - 1];
		signals_get_action(number, action);
		if (number == SIGSEGV)
			signals_hand_back(action);
		action_to_host(number, action);
	}
}

static const int handled[] = { SIGSEGV, SIGBUS, SIGSYS };
#define HANDLED (sizeof(handled) / sizeof(handled[0]))

void guest_signal_exec_begin(struct guest_thread *thread, void *context)
{
	const struct host_action ignore = { .handler = (void *)SIG_IGN };
	for (unsigned i = 0; i < HANDLED; i++)
		if (thread->actions->action[handled[i] - 1].handler == (void *)SIG_IGN)
			signals_set_action(handled[i], &ignore);
	/* One that waits already leaves no place for another, and comes first. */
	guest_signal_hold();
	if (atomic_load(&thread->caught) == 0)
		guest_signal_release(program_mask(thread, context));
}

void guest_signal_exec_failed(struct guest_thread *thread)
{
	for (unsigned i = 0; i < HANDLED; i++)
		install_trap(handled[i], &thread->actions->action[handled[i] - 1]);
}
