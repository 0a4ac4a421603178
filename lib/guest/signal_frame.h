/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * signal_frame.h - what a handler of the program finds on its stack, and where that is
 *
 * The frame is the kernel's, made by hand: registers, the mask, the state of the floating-point
 * unit, the alternate stack. It may lie in paged memory, as the kernel's could not. The state of
 * the floating-point unit is handed on as it is, whatever it holds: only its size is looked at.
 *
 * Locking: none; all belongs to the thread. Signal context: all, on the region's stack.
 * Source: sigaltstack(2), sigreturn(2); arch/x86/kernel/signal_64.c of Linux.
 */
#ifndef UPAGE_GUEST_SIGNAL_FRAME_H
#define UPAGE_GUEST_SIGNAL_FRAME_H

#include "region.h"

/* The size of the state of the floating-point unit that @context points to; 0: none. */
size_t guest_signal_fpstate(const void *context);

/* Makes @context enter the handler of @action, whose frame says to go back to where the program
 * was, and with which mask. Return: false if the program's stack does not take it. */
bool frame_push(struct guest_thread *thread, void *context, const siginfo_t *info,
                const struct host_action *action);

/* The way back: @context becomes what the frame at its stack pointer says. */
enum frame_popped {
	FRAME_POPPED,
	FRAME_BAD,   /* it cannot be read */
	FRAME_LATER, /* a signal came that its mask keeps out: that one first */
};
enum frame_popped frame_pop(struct guest_thread *thread, void *context);

/* The program is about to make a call that gave way to signals @tries times (255 at most). That
 * goes with it in a register which the instruction spoils, through the frames of the handlers: so
 * they may make calls of their own. */
void frame_set_tries(struct guest_thread *thread, void *context, unsigned tries);

#endif
