/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "signal.h"

#include <string.h>

#include "direct.h"
#include "handlers.h"
#include "host.h"
#include "print.h"
#include "relocate.h"
#include "report.h"
#include "signal_frame.h"
#include "signal_mask.h"
#include "syscall.h"
#include "table.h"
#include "trap.h"

#define SIGNALS 64

#ifndef SA_EXPOSE_TAGBITS
#define SA_EXPOSE_TAGBITS 0x00000800
#endif
/* Linux forgets all others, so that programs can ask which it knows. */
#define KNOWN_FLAGS                                                                              \
	((unsigned long)(SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART |    \
	                 SA_NODEFER | SA_EXPOSE_TAGBITS | SA_RESTORER) |                         \
	 SA_RESETHAND)

/* ---- Actions ------------------------------------------------------------------------------------ */

static signals_handler catch_signal, catch_trap, *sigsys_handler;

/* Whether the process's end by a signal is to be seen, for its statistics. */
static bool report_deaths;

/* Whether the default action ends nothing and stops nothing. */
static bool is_harmless(int number)
{
	return number == SIGCHLD || number == SIGURG || number == SIGWINCH || number == SIGCONT;
}

static bool is_caught(const struct host_action *action)
{
	return action->handler != (void *)SIG_DFL && action->handler != (void *)SIG_IGN;
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

static _Atomic bool sigsys_closed;

/* Sent faster than our handlers can begin, they would pile up. So SIGSEGV is closed while its handler
 * runs: serving a page fault touches no paged memory. And SIGSYS is, where a program takes or ignores
 * it: a system call opens it again. */
static void install_trap(int number, const struct host_action *action)
{
	unsigned long flags = action->flags & SA_RESTART;
	if (number == SIGSYS && action->handler != (void *)SIG_DFL)
		atomic_store(&sigsys_closed, true);
	if (number == SIGSYS)
		signals_install(number, sigsys_handler, flags | SA_NODEFER,
		                atomic_load(&sigsys_closed) ? SIGNAL_BIT(SIGSYS) : 0);
	else
		signals_install(number, catch_trap, flags, ~SIGNAL_TRAPS);
}

/* Whether more is to be done for @action than the kernel does by itself. */
static bool needs_us(int number, const struct host_action *action)
{
	bool watched = report_deaths && action->handler == (void *)SIG_DFL && ends_process(number);
	return watched || is_caught(action) || SIGNAL_BIT(number) & TRAPS_HANDLED;
}

/* What the kernel does where the program asked for @action. */
static void action_to_host(int number, const struct host_action *action)
{
	const unsigned long kept = SA_RESTART | SA_NOCLDSTOP | SA_NOCLDWAIT;
	if (SIGNAL_BIT(number) & TRAPS_HANDLED) {
		install_trap(number, action);
	} else if (!needs_us(number, action)) {
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
	if (action->flags & SA_RESETHAND && is_caught(action)) {
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
	    (call->argument[1] != 0 && SIGNAL_BIT(number) & SIGNAL_UNBLOCKABLE))
		return -EINVAL;
	lock_acquire(&actions->lock);
	old = actions->action[number - 1];
	if (call->argument[1] != 0) {
		wanted.mask &= ~SIGNAL_UNBLOCKABLE;
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

void guest_signal_clear(struct guest_actions *actions)
{
	lock_acquire(&actions->lock);
	for (int number = 1; number <= SIGNALS; number++) {
		struct host_action *action = &actions->action[number - 1];
		bool changes = is_caught(action) || action->flags != 0;
		*action = (struct host_action){ .handler = is_caught(action) ? (void *)SIG_DFL : action->handler };
		if (changes)
			action_to_host(number, action);
	}
	lock_release(&actions->lock);
}

/* ---- Delivery ------------------------------------------------------------------------------------ */

/* The signal's default action, by the kernel, when the thread goes back to where it was. */
static void default_action(void *context, int number, const siginfo_t *info)
{
	const struct host_action plain = { .handler = (void *)SIG_DFL };
	report_signal(number);
	guest_abandon_mutexes(region_self());
	signals_set_action(number, &plain);
	*guest_signal_mask(context) &= ~SIGNAL_BIT(number);
	/* Held until the frame's mask lets it through, so that a core shows where it happened. */
	signals_set(~(SIGNAL_TRAPS & ~SIGNAL_BIT(number)));
	long process = syscall_1(SYS_getpid, 0);
	if (syscall_4(SYS_rt_tgsigqueueinfo, process, host_thread_id(), number, info) < 0)
		syscall_3(SYS_tgkill, process, host_thread_id(), number);
}

/* What a program gets whose frame cannot be written or read. */
static siginfo_t bad_frame(void)
{
	siginfo_t info;
	memset(&info, 0, sizeof(info));
	info.si_signo = SIGSEGV;
	info.si_code = SI_KERNEL;
	return info;
}

/* The program receives a signal that it does not block. @forced: it cannot go on without:
 * neither ignored nor blocked. */
static void receive(struct guest_thread *thread, void *context, const siginfo_t *info, bool forced)
{
	int number = info->si_signo;
	struct host_action action;
	action_get(thread->actions, number, &action);
	bool blocked = SIGNAL_BIT(number) & mask_of_program(thread, context);
	if (forced && (blocked || action.handler == (void *)SIG_IGN))
		action.handler = (void *)SIG_DFL;
	if (action.handler == (void *)SIG_IGN)
		return;
	if (action.handler == (void *)SIG_DFL) {
		if (is_harmless(number))
			return;
		if (is_stop(number)) { /* it had a handler when it came */
			syscall_3(SYS_tgkill, syscall_1(SYS_getpid, 0), host_thread_id(), SIGSTOP);
			return;
		}
		default_action(context, number, info);
		return;
	}
	if (frame_push(thread, context, info, &action))
		return;
	/* Its stack is no good: a reference of its own, as natively. */
	const siginfo_t fault = bad_frame();
	if (number != SIGSEGV) {
		action_get(thread->actions, SIGSEGV, &action);
		if (is_caught(&action) && !(thread->traps_blocked & SIGNAL_BIT(SIGSEGV)) &&
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

/* What follows may touch paged memory. */
static void open_sigsegv(void)
{
	const signal_mask bit = SIGNAL_BIT(SIGSEGV);
	syscall_4(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, NULL, sizeof(bit));
}

/* A thread that is about to go on, in one of the windows of the gate or behind a
 * direct call, goes back and looks. */
static void leave_window(greg_t *r)
{
	uintptr_t at = (uintptr_t)r[REG_RIP];
	if (at >= (uintptr_t)gate_interruptible_start && at < (uintptr_t)gate_interruptible_end)
		r[REG_RIP] = (greg_t)gate_interruptible_redirect;
	else if (at >= (uintptr_t)gate_leave_start && at < (uintptr_t)gate_leave_end)
		r[REG_RIP] = (greg_t)gate_leave_redirect;
	else if (at >= (uintptr_t)direct_look && at < (uintptr_t)direct_last)
		r[REG_RIP] = (greg_t)direct_look;
}

/* Where gate_leave() goes when something was caught: before, or in its window. All handlers of
 * ours end by it, so that nothing stays behind that came while they ran. */
_Noreturn void guest_signal_leave(void *context);
void guest_signal_leave(void *context)
{
	static const _Atomic int nothing;
	struct guest_thread *thread = region_self();
	greg_t *r = guest_registers(context);
	/* All but what keep_trap() has closed, too. */
	const signal_mask all = ~SIGNAL_TRAPS;
	if (!(atomic_load(&thread->caught) & CAUGHT_SIGNAL))
		syscall_4(SYS_rt_sigprocmask, SIG_BLOCK, &all, NULL, sizeof(all));
	if (!region_has(thread, (uintptr_t)r[REG_RSP])) {
		open_sigsegv();
		deliver(thread, context);
		region_return(thread, context);
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
static void keep_trap(struct guest_thread *thread, const siginfo_t *info, void *context)
{
	signal_mask bit = SIGNAL_BIT(info->si_signo);
	/* Handlers of ours would pile up, where they are sent faster than they leave. What is left to
	 * do here neither traps nor touches paged memory. */
	if (info->si_signo == SIGSYS && region_has(thread, (uintptr_t)guest_registers(context)[REG_RSP]))
		syscall_4(SYS_rt_sigprocmask, SIG_BLOCK, &bit, NULL, sizeof(bit));
	if (!(atomic_load(&thread->trap_pending) & bit)) {
		thread->trap_waiting[info->si_signo == SIGSEGV ? 0 : 1] = *info;
		atomic_fetch_or(&thread->trap_pending, bit);
	}
	bool blocked = thread->traps_blocked & bit;
	atomic_fetch_or(&thread->caught, blocked ? CAUGHT_BLOCKED : CAUGHT_TRAP);
}

/* What checks the alignment of a program's references (AC) is left on in its handlers, and ours, which
 * are compiled as most code is, make some that are not aligned. */
void guest_signal_relax(void *context)
{
	const greg_t alignment_check = 0x40000;
	if (guest_registers(context)[REG_EFL] & alignment_check)
		__asm__ volatile("lea -128(%%rsp), %%rsp; push $2; popf; lea 128(%%rsp), %%rsp" : : : "memory", "cc");
}

static void catch_signal(int number, siginfo_t *info, void *context)
{
	guest_signal_relax(context);
	struct guest_thread *thread = region_self();
	(void)number;
	if (direct_is_step(info, context))
		region_return(thread, context);
	direct_settle(thread, context);
	if (region_has(thread, (uintptr_t)guest_registers(context)[REG_RSP]))
		keep(thread, info);
	else
		receive(thread, context, info, false);
	region_return(thread, context);
}

/* A reference of ours that cannot be made. */
static void own_fault(const siginfo_t *info, void *context)
{
	greg_t *r = guest_registers(context);
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
	open_sigsegv();
	default_action(context, info->si_signo, info);
}

/* A program may queue to itself what looks like a fault of its own: a code above 0, as where a handler
 * wants to end the process by it. That it is sent is seen from a code that nobody else has. */
#define SENT_MARK (-0x55504100)
#define SENT_CODES 0xff

static void sent_restore(siginfo_t *info)
{
	if (info->si_code < SENT_MARK && info->si_code >= SENT_MARK - SENT_CODES)
		info->si_code = SENT_MARK - info->si_code;
}

/* And rt_tgsigqueueinfo. */
long guest_rt_sigqueueinfo(struct guest_call *call)
{
	const long *a = call->argument;
	unsigned at = call->number == SYS_rt_sigqueueinfo ? 2 : 3;
	long number = a[at - 1];
	bool trap = number >= 1 && number <= SIGNALS && SIGNAL_BIT(number) & TRAPS_HANDLED;
	siginfo_t info;
	if (!trap || a[0] != syscall_1(SYS_getpid, 0) ||
	    guest_copy_in(&info, (const void *)a[at], sizeof(info)) != 0 || info.si_code <= 0 ||
	    info.si_code > SENT_CODES)
		return guest_generic(call, guest_table_find(call->number));
	info.si_code = SENT_MARK - info.si_code;
	return at == 2 ? guest_execute(call, call->number, a[0], number, (long)&info, 0, 0, 0)
	               : guest_execute(call, call->number, a[0], a[1], number, (long)&info, 0, 0);
}

/* SIGSEGV, SIGBUS. */
static void catch_trap(int number, siginfo_t *info, void *context)
{
	guest_signal_relax(context);
	struct guest_thread *thread = region_self();
	enum trap_verdict verdict = TRAP_FOREIGN;
	/* What a stub found at GS was not ours, or nothing, as where the program has loaded a selector. */
	if (direct_settle(thread, context) == DIRECT_NOT_BEGUN && info->si_code > 0) {
		if (direct_is_free(thread))
			direct_adopt(thread);
		region_return(thread, context);
	}
	if (number == SIGSEGV)
		verdict = trap_take(number, info, context, region_tls(thread), &thread->faults);
	bool ours = region_has(thread, (uintptr_t)guest_registers(context)[REG_RSP]);
	bool sent = info->si_code <= 0;
	sent_restore(info);
	if (verdict == TRAP_SIGBUS) {
		info->si_signo = SIGBUS;
		info->si_code = BUS_ADRERR;
	}
	if (verdict == TRAP_SERVED) {
		relocate_tick(); /* and the reference is made again */
	} else if (!ours && !sent && guest_trace_begin()) {
		/* this one too, now that its tracer sees it */
	} else if (ours && !sent) {
		own_fault(info, context);
	} else if (sent && number == SIGSEGV) {
		keep_trap(thread, info, context);
	} else if (ours) {
		keep(thread, info);
	} else {
		open_sigsegv();
		receive(thread, context, info, !sent);
	}
	region_return(thread, context);
}

void guest_signal_open_sigsys(void)
{
	const signal_mask bit = SIGNAL_BIT(SIGSYS);
	if (atomic_load(&sigsys_closed))
		syscall_4(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, NULL, sizeof(bit));
}

void guest_signal_sigsys(siginfo_t *info, void *context)
{
	struct guest_thread *thread = region_self();
	greg_t *r = guest_registers(context);
	char code[SYSCALL_BYTES];
	/* The kernel drops that of a system call if another is on its way to the thread, and leaves
	 * it behind the instruction. We never leave it there with this in the register. */
	if (r[REG_RCX] == r[REG_RIP] && !region_has(thread, (uintptr_t)r[REG_RSP]) &&
	    guest_copy_in(code, (const void *)(r[REG_RIP] - SYSCALL_BYTES), sizeof(code)) == 0 &&
	    memcmp(code, "\x0f\x05", sizeof(code)) == 0)
		r[REG_RIP] -= SYSCALL_BYTES;
	sent_restore(info);
	keep_trap(thread, info, context);
	region_return(thread, context);
}

_Noreturn void guest_signal_timer(void *context)
{
	static const _Atomic int nothing;
	struct guest_thread *thread = region_self();
	atomic_store(&thread->timed_out, true);
	leave_window(guest_registers(context));
	gate_leave(context, &nothing);
}

/* The lowest decides, being delivered first. */
enum signal_effect guest_signal_effect(struct guest_thread *thread, signal_mask set)
{
	enum signal_effect effect = SIGNAL_IGNORED;
	lock_acquire(&thread->actions->lock);
	for (; set != 0 && effect == SIGNAL_IGNORED; set &= set - 1) {
		int number = __builtin_ctzll(set) + 1;
		const struct host_action *action = &thread->actions->action[number - 1];
		if (action->handler == (void *)SIG_DFL)
			effect = is_harmless(number) ? SIGNAL_IGNORED : SIGNAL_DEFAULT;
		else if (action->handler != (void *)SIG_IGN)
			effect = action->flags & SA_RESTART ? SIGNAL_RESTARTS : SIGNAL_ENDS;
	}
	lock_release(&thread->actions->lock);
	return effect;
}

/* ---- Return from a handler ---------------------------------------------------------------------- */

long guest_rt_sigreturn(struct guest_call *call)
{
	const siginfo_t info = bad_frame();
	switch (frame_pop(call->thread, call->context)) {
	case FRAME_LATER:
		return GUEST_RESTART;
	case FRAME_BAD:
		receive(call->thread, call->context, &info, true);
		break;
	case FRAME_POPPED:
		break;
	}
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
		if (needs_us(number, action))
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
		signals_set(mask_of_program(thread, context));
}

void guest_signal_exec_failed(struct guest_thread *thread)
{
	for (unsigned i = 0; i < HANDLED; i++)
		install_trap(handled[i], &thread->actions->action[handled[i] - 1]);
}
