/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gate.h - the only instructions of ours that enter the kernel
 *
 * Syscall User Dispatch lets system calls through that are made from one range of addresses,
 * and turns all others into SIGSYS. This section is that range: system calls of our own, the
 * restorer of our signal handlers, and the way back from a handler. A program cannot jump into
 * it by accident: nothing here is exported.
 *
 * One stands outside of the range: a system call of ours that shall trap.
 *
 * Two places are windows: a signal that arrives between the look at `caught` and the system
 * call would be slept through, or stay behind. The handler of signals knows them by these
 * addresses, and sends whoever is inside back to look again (guest/signal.c).
 *
 * Source: Documentation/admin-guide/syscall-user-dispatch.rst of Linux.
 */
#ifndef UPAGE_GATE_H
#define UPAGE_GATE_H

#include <stdatomic.h>
#include <stdint.h>

#if defined(__x86_64__)

extern const char gate_start[], gate_end[]; /* the range */

/* A system call. Return: the result, or a negated errno value. */
long gate_syscall(long number, long a, long b, long c, long d, long e, long f);

/* The same for a guest's system call: made only if *@caught is 0, and not made again by the
 * kernel once a signal has come. @call: the number, then six arguments.
 * Return: the result, or GATE_RESTART: not made, or to be made anew after the signal. */
#define GATE_RESTART (-512L)
long gate_interruptible(const long call[7], const _Atomic int *caught);
extern const char gate_interruptible_start[], gate_interruptible_end[],
        gate_interruptible_redirect[];

/* clone or clone3; a child with a stack of its own runs @function(@argument), which must not
 * return; one without returns 0 from here. @call: the number, then five arguments. */
long gate_clone(const long call[6], void (*function)(void *), void *argument);

/* What a signal handler returns to. */
void gate_restorer(void);

/* rt_sigreturn to the interrupted code of @context, a frame that the kernel made on this stack,
 * if *@caught is 0; else guest_signal_leave(@context), which comes back here. */
_Noreturn void gate_leave(void *context, const _Atomic int *caught);
extern const char gate_leave_start[], gate_leave_end[], gate_leave_redirect[];

/* Ends this thread. */
_Noreturn void gate_exit(long status);

/* Has @function(@argument) called by the handler of SIGSYS, on the stack of handlers. It is told
 * from a program's system calls by where it comes from. Return: what the function returns. */
long gate_hypercall(long (*function)(void *), void *argument);
extern const char gate_hypercall_end[];

#endif
#endif
