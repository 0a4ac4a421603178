/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * signal.h - signals of the program: its actions, masks, alternate stacks, frames
 *
 * The kernel delivers every signal for which the program has a handler to ours, on the thread's
 * region, whatever stack the program is on: its own need not be resident. Ours then makes the
 * frame that the kernel would have made, where it would have made it, as a page-fault-taking
 * program may, and returns into the program's handler. rt_sigreturn(2) is ours likewise.
 *
 *  - The mask is the kernel's: what the program blocks stays pending there, in its order, with its
 *    rules about threads. SIGSEGV and SIGSYS alone are never blocked for real; that the program
 *    thinks so is kept in traps_blocked, and one that is *sent* meanwhile is kept here.
 *  - A signal that comes while a thread runs our code is kept in `waiting`, and all others are
 *    blocked until it has been delivered, on the way back to the program: so a queue of one
 *    loses nothing. A system call for which it came too late to interrupt is made anew after
 *    the handler. Whether one that it did interrupt is restarted (SA_RESTART, time limits of
 *    sockets) the kernel decides, because our handlers have the program's flags: it shows by
 *    where it leaves the thread (gate.h).
 *  - All handlers of ours end by gate_leave(), which looks once more: a signal may come while
 *    another is on its way to the program, or while a handler runs upon another of ours. The
 *    mask of whatever of ours it interrupted is closed then, up to the program.
 *  - During sigsuspend and the like the kernel has the temporary mask, and shows the old one as
 *    that of the interrupted code; the handler's mask is made from the temporary one.
 *
 * Locking: a table of actions has a lock (rank 3). Signal context: all.
 * Source: sigaction(2), sigreturn(2), sigaltstack(2); arch/x86/kernel/signal_64.c of Linux for
 * the form of a frame.
 */
#ifndef UPAGE_GUEST_SIGNAL_H
#define UPAGE_GUEST_SIGNAL_H

#include "region.h"

/* Takes over the actions that the process has. Once, before any system call is intercepted.
 * @sigsys: the handler of those. @report: deaths by a signal are to be seen (process_end). */
void guest_signal_start(struct guest_actions *actions, signals_handler *sigsys, bool report);

/* A SIGSYS that is no system call of the program: somebody sent it. */
_Noreturn void guest_signal_sigsys(const siginfo_t *info, void *context);

/* What the program is told of a call that had @result, given what was caught meanwhile. */
long guest_signal_call_end(struct guest_thread *thread, long result);

/* Around an execve: the mask and the ignored signals that the program thinks it has. */
void guest_signal_exec_begin(struct guest_thread *thread, void *context);
void guest_signal_exec_failed(struct guest_thread *thread);

/* Blocks and unblocks what may be blocked, for us. Return: the mask before. */
signal_mask guest_signal_hold(void);
void guest_signal_release(signal_mask before);

/* The mask of the program where it was interrupted. */
signal_mask *guest_signal_mask(void *context);

#define SIGNAL_TRAPS (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGSYS))

/* The size of the state of the floating-point unit that @context points to; 0: none. */
size_t guest_signal_fpstate(const void *context);

#endif
