/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * call.h - a system call of the program, while we carry it out
 *
 * It runs in the SIGSYS handler, on a stack of ours, in the program's thread. What it may use:
 * nothing of the C library but memcpy, memset, memmove, memcmp and strlen; no thread-local
 * storage, no errno, no malloc, no floating point, no pthread; system calls by guest_execute()
 * for the program's own, by syscall_N() of syscall.h for ours. Signals may arrive meanwhile, and
 * only leave a note (guest/signal.c): no lock need be guarded against them.
 *
 * The rule that all this exists for: the kernel is never handed an address of paged memory.
 * What it reads is copied in first, what it writes is copied out afterwards. Addresses outside
 * of paged memory are handed on as they are. Where an address is bad, the program's own is
 * handed on too, so that the kernel finds the errors, and in its own order.
 */
#ifndef UPAGE_GUEST_CALL_H
#define UPAGE_GUEST_CALL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "upage.h"

struct guest_thread;

struct guest_call {
	struct guest_thread *thread;
	void *context;            /* struct guest_context: the program's registers */
	long number;
	long argument[6];
	struct guest_buffer *buffers; /* to give back at the end */
	unsigned tries;           /* how often it gave way to signals: late.h */
	bool late;                /* it does no more */
	int timer;                /* of a late one */
};

/* Carries out one system call. Return: its result, a negated errno value, or GUEST_RESTART. */
typedef long guest_handler(struct guest_call *call);

/* Not made, because a signal is to be delivered first: the program makes it anew afterwards.
 * Nothing may have been changed by then; who has made a part returns that part. */
#define GUEST_RESTART (-512L)

/**
 * guest_execute - make a system call for the program
 * @number: and its arguments, of which no address is paged
 *
 * Signals that the program does not block interrupt it, as natively.
 * Return: the kernel's result (a negated errno value for a failure; -EINTR where a signal
 *         interrupted it and the kernel would not restart it), or GUEST_RESTART.
 */
long guest_execute(struct guest_call *call, long number, long a, long b, long c, long d, long e,
                   long f);

/* Makes the call as the program made it. */
static inline long guest_hand_on(struct guest_call *call)
{
	const long *a = call->argument;
	return guest_execute(call, call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#define SYSCALL_BYTES 2 /* of the instruction */

/* Of the kernel's results, some of which are addresses. */
static inline bool guest_is_error(long result)
{
	return result < 0 && result >= -4095;
}

/* What the library's functions return, in the kernel's words. */
static inline long guest_errno(int result)
{
	switch (result) {
	case UPAGE_ENOTMAPPED:
	case UPAGE_EBOUNDS:
		return -ENOMEM;
	case UPAGE_EBUSY:
	case UPAGE_EPINS:
		return -EAGAIN;
	default:
		return result <= -4096 ? -EINVAL : result;
	}
}

/**
 * guest_buffer - memory for the kernel to read or write instead of the program's
 * @bytes: any number; small ones cost nothing, from 32 KiB on they cost an mmap
 * Return: 16-byte aligned, content undefined, valid until the call ends; NULL: no memory
 *         (then the result of the call should be -ENOMEM).
 */
void *guest_buffer(struct guest_call *call, size_t bytes);

/* The most that is carried in one piece where it may be carried in several. */
#define GUEST_PIECE ((size_t)256 << 10)

#include "memory.h"

#endif
