/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * signal.h - signals of the program: its actions, and how they reach it
 *
 * The kernel delivers every signal for which the program has a handler to ours, on the thread's
 * region, whatever stack the program is on: its own need not be resident. Ours then makes the
 * frame that the kernel would have made, where it would have made it, as a page-fault-taking
 * program may (signal_frame.h), and returns into the program's handler. rt_sigreturn(2) is ours
 * likewise. What the program blocks is in signal_mask.h.
 *
 *  - A signal that comes while a thread runs our code is kept in `waiting`, and all others are
 *    blocked until it has been delivered, on the way back to the program: so a queue of one
 *    loses nothing. A system call for which it came too late to interrupt is made anew after
 *    the handler. Whether one that it did interrupt is restarted (SA_RESTART, time limits of
 *    sockets) the kernel decides, because our handlers have the program's flags: it shows by
 *    where it leaves the thread (gate.h).
 *  - All handlers of ours end by gate_leave(), which looks once more: a signal may come while
 *    another is on its way to the program, or while a handler runs upon another of ours. The
 *    mask of whatever of ours it interrupted is closed then, up to the program.
 *
 * Locking: a table of actions has a lock (rank 3). Signal context: all.
 * Source: sigaction(2), sigreturn(2); kernel/signal.c of Linux.
 */
#ifndef UPAGE_GUEST_SIGNAL_H
#define UPAGE_GUEST_SIGNAL_H

#include "region.h"
#include "signal_mask.h"

/* Takes over the actions that the process has. Once, before any system call is intercepted.
 * @sigsys: the handler of those. @report: deaths by a signal are to be seen (process_end). */
void guest_signal_start(struct guest_actions *actions, signals_handler *sigsys, bool report);

/* At the beginning of a system call: its handler, and what it calls, may be interrupted. */
void guest_signal_open_sigsys(void);

/* At the beginning of each handler of ours. */
void guest_signal_relax(void *context);

/* A SIGSYS that is no system call of the program: somebody sent it. */
_Noreturn void guest_signal_sigsys(siginfo_t *info, void *context);

/* The timer of a late call is over (late.h). */
_Noreturn void guest_signal_timer(void *context);

/* What those of @set that wait would do to a call that sleeps. */
enum signal_effect {
	SIGNAL_IGNORED,  /* it goes on                             */
	SIGNAL_DEFAULT,  /* it is made anew, or the process ends   */
	SIGNAL_RESTARTS, /* it is made anew, where calls may be    */
	SIGNAL_ENDS,     /* EINTR                                  */
};
enum signal_effect guest_signal_effect(struct guest_thread *thread, signal_mask set);

/* The calling process, which has this table of actions to itself, handles nothing from now on. */
void guest_signal_clear(struct guest_actions *actions);

/* Around an execve: the mask and the ignored signals that the program thinks it has. */
void guest_signal_exec_begin(struct guest_thread *thread, void *context);
void guest_signal_exec_failed(struct guest_thread *thread);

#endif
