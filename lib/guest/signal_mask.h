/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * signal_mask.h - which signals the program blocks
 *
 * The mask is the kernel's: what the program blocks stays pending there, in its order, with its
 * rules about threads. SIGSEGV and SIGSYS alone are never blocked for real; that the program
 * thinks so is kept in traps_blocked, and one that is *sent* meanwhile in trap_waiting.
 *
 * During sigsuspend and the like the kernel has the temporary mask, and shows the old one as
 * that of the interrupted code; the handler's mask is made from the temporary one.
 *
 * Locking: none; all belongs to the thread. Signal context: all, on the region's stack.
 * Source: sigprocmask(2), sigsuspend(2).
 */
#ifndef UPAGE_GUEST_SIGNAL_MASK_H
#define UPAGE_GUEST_SIGNAL_MASK_H

#include "region.h"

#define SIGNAL_TRAPS (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGSYS))
#define SIGNAL_UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))

/* What programs and the kernel copy of a siginfo_t. */
#define SIGINFO_BYTES 128

/* Blocks what may be blocked, for us. Return: the mask before, for signals_set(). */
signal_mask guest_signal_hold(void);

/* The kernel's mask of the program where it was interrupted. */
signal_mask *guest_signal_mask(void *context);

/* The mask of the program where it was interrupted, as it knows it. */
signal_mask mask_of_program(const struct guest_thread *thread, void *context);

/* The same, or that of the call which a signal has just ended. */
signal_mask mask_in_force(const struct guest_thread *thread, void *context);

/* The mask of the program once the call is over. Return: false: a signal came that is blocked from
 * then on. It is delivered first. */
bool mask_set(struct guest_thread *thread, void *context, signal_mask mask);

/* What the program is told of a call that had @result, given what was caught meanwhile. */
long guest_signal_call_end(struct guest_thread *thread, long result);

#endif
