/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * late.h - system calls that would never be made for all the signals that come first
 *
 * A signal that comes while a call's memory is being copied in is delivered before the call,
 * which is then made anew. If the next one always comes before the copies are there again, the
 * call never is made. So it is counted how often it gave way, and one that did so LATE_TRIES
 * times has the signals held back from its beginning: they stay with the kernel, and are late.
 *
 * One that sleeps must not be slept through: a timer of ours interrupts it after LATE_LIMIT
 * nanoseconds. If no signal waits by then that would have, it goes to sleep again with signals
 * open. Else it ends as the signal's action says.
 *
 * The timer's signal is SIGSYS, which is never blocked, and which no call of ours can bring.
 *
 * Locking: none; all belongs to the thread. Signal context: all, on the region's stack.
 */
#ifndef UPAGE_GUEST_LATE_H
#define UPAGE_GUEST_LATE_H

#include "call.h"
#include "region.h"

#define LATE_TRIES 3
#define LATE_LIMIT 1000000

/* At the beginning of each call. Return: whether it is a late one: late_end() follows then. */
bool late_begin(struct guest_call *call);
void late_end(struct guest_call *call);

/* guest_execute() of a late call. */
long late_execute(struct guest_call *call, const long words[7]);

/* The call is to be made anew. */
void late_give_way(struct guest_call *call);

/* Whether a SIGSYS is the timer's. */
bool late_is_timer(const struct guest_thread *thread, const siginfo_t *info);

#endif
