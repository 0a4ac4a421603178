/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * descriptor.c - close(2), dup2(2) and their families, which must not meet our descriptors
 *
 * For the program ours are not there: to close one is EBADF, a range is closed around them, and
 * where the program wants the number of one, ours gets another.
 *
 * Signal context: all, on a region's stack.
 */
#include <linux/close_range.h>
#include <limits.h>

#include "handlers.h"
#include "host.h"
#include "pool_fork.h"
#include "syscall.h"

static long as_it_is(struct guest_call *call)
{
	const long *a = call->argument;
	return guest_execute(call, call->number, a[0], a[1], a[2], 0, 0, 0);
}

long guest_close(struct guest_call *call)
{
	return host_owns_descriptor((int)call->argument[0]) ? -EBADF : as_it_is(call);
}

long guest_close_range(struct guest_call *call)
{
	unsigned first = (unsigned)call->argument[0], last = (unsigned)call->argument[1];
	unsigned flags = (unsigned)call->argument[2];
	/* Ours are closed by execve anyway. */
	if (first > last || flags & ~(unsigned)CLOSE_RANGE_UNSHARE)
		return as_it_is(call);
	long result = 0;
	for (int own; (own = host_next_descriptor((int)first)) >= 0 && (unsigned)own <= last &&
	              result == 0;
	     first = (unsigned)own + 1)
		if ((unsigned)own > first)
			result = guest_execute(call, call->number, first, own - 1, flags, 0, 0, 0);
	if (result == 0 && first <= last)
		result = guest_execute(call, call->number, first, last, flags, 0, 0, 0);
	return result;
}

/* dup2 and dup3: argument 0 is copied to the number that is argument 1. */
static long duplicate(struct guest_call *call)
{
	int from = (int)call->argument[0], to = (int)call->argument[1];
	if (host_owns_descriptor(from))
		return -EBADF;
	/* A bad one is found before anything is moved for it. */
	if (from != to && host_owns_descriptor(to) && syscall_2(SYS_fcntl, from, 1 /* F_GETFD */) >= 0 &&
	    pool_move_descriptor(to) < 0)
		return -EBADF;
	return as_it_is(call);
}

long guest_dup2(struct guest_call *call)
{
	return duplicate(call);
}

long guest_dup3(struct guest_call *call)
{
	return duplicate(call);
}
