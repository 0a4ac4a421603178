/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "signal_frame.h"

#include <stddef.h>
#include <string.h>

#include "handlers.h"
#include "signal_mask.h"

#define RED_ZONE 128

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

/* What the kernel puts on the stack of a program: the state of the floating-point unit above. */
struct signal_frame {
	void *restorer;
	struct guest_context context;
	char info[SIGINFO_BYTES];
};

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
	uintptr_t sp = (uintptr_t)guest_registers(call->context)[REG_RSP];
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

bool frame_push(struct guest_thread *thread, void *context, const siginfo_t *info,
                const struct host_action *action)
{
	struct guest_context *interrupted = context;
	greg_t *r = guest_registers(context);
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
	local.context.mask = mask_of_program(thread, context);
	memcpy(local.info, info, SIGINFO_BYTES);
	if ((state > 0 && guest_copy_out((void *)fpstate, interrupted->machine.fpregs, state)) ||
	    guest_copy_out((void *)frame, &local, sizeof(local)) != 0)
		return false;

	int number = info->si_signo;
	signal_mask mask = mask_in_force(thread, context) | action->mask;
	thread->has_temporary = false;
	if (!(action->flags & SA_NODEFER))
		mask |= SIGNAL_BIT(number);
	mask &= ~SIGNAL_UNBLOCKABLE;
	thread->traps_blocked = mask & SIGNAL_TRAPS;
	*guest_signal_mask(context) = mask & ~SIGNAL_TRAPS;
	if (thread->altstack.ss_flags & (int)SS_AUTODISARM)
		thread->altstack = (stack_t){ .ss_flags = SS_DISABLE };
	thread->tries = 0; /* the handler's own calls are others */
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

/* ---- Calls that gave way -------------------------------------------------------------------------- */

/* No address that a program may have. */
#define TRIES_MARK ((greg_t)0x7550414745000000)
#define TRIES_MOST ((greg_t)0xff)

void frame_set_tries(struct guest_thread *thread, void *context, unsigned tries)
{
	thread->tries = tries;
	guest_registers(context)[REG_RCX] = TRIES_MARK | (greg_t)tries;
}

static void get_tries(struct guest_thread *thread, void *context)
{
	greg_t mark = guest_registers(context)[REG_RCX];
	thread->tries = (mark & ~TRIES_MOST) == TRIES_MARK ? (unsigned)(mark & TRIES_MOST) : 0;
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

enum frame_popped frame_pop(struct guest_thread *thread, void *context)
{
	struct guest_context *ours = context, theirs;
	void *place = ours->machine.fpregs;
	size_t room = guest_signal_fpstate(ours);
	uintptr_t frame = (uintptr_t)guest_registers(ours)[REG_RSP];
	if (guest_copy_in(&theirs, (const void *)frame, sizeof(theirs)) != 0)
		return FRAME_BAD;
	if (!mask_set(thread, ours, theirs.mask & ~SIGNAL_UNBLOCKABLE))
		return FRAME_LATER;
	if (!restore_fpstate(ours, place, room, theirs.machine.fpregs))
		return FRAME_BAD;
	theirs.machine.fpregs = ours->machine.fpregs;
	ours->machine = theirs.machine;
	get_tries(thread, ours);
	altstack_set(thread, &theirs.stack, (uintptr_t)guest_registers(ours)[REG_RSP]);
	return FRAME_POPPED;
}
