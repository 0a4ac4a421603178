/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wait.c - to wait for descriptors and for time
 *
 * The kernel waits with copies of ours, so that a sleeper holds no frame. Sets of descriptors
 * and times are written back only where the kernel changed them: the program may use the rest
 * meanwhile, or have it where it cannot be written.
 *
 * No state. Signal context: see call.h. futex(2) is in futex.c.
 * Source: poll(2), select(2), epoll_wait(2), nanosleep(2); fs/select.c of Linux.
 */
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>

#include "compiler.h"
#include "handlers.h"
#include "host.h"
#include "rlimit.h"
#include "syscall.h"
#include "table.h"

static long execute(struct guest_call *call, const long value[6])
{
	return guest_execute(call, call->number, value[0], value[1], value[2], value[3], value[4],
	                     value[5]);
}

/* ---- Limits of time and masks ---------------------------------------------------------- */

/* A limit of time of which the kernel writes back what is left of it. */
struct limit {
	void *theirs;
	struct timespec *ours, before; /* ours: NULL: not paged */
};

/* Return: false: no memory. */
static bool take_limit(struct guest_call *call, long *value, struct limit *limit)
{
	limit->theirs = (void *)*value;
	limit->ours = NULL;
	if (!guest_take_copy(call, value, sizeof(limit->before)))
		return false;
	if (*value != (long)limit->theirs) {
		limit->ours = (struct timespec *)*value;
		limit->before = *limit->ours;
	}
	return true;
}

/* That it cannot be written is no failure: the kernel has it so. */
static void give_limit(const struct limit *limit, long result)
{
	if (limit->ours != NULL && result != GUEST_RESTART &&
	    memcmp(limit->ours, &limit->before, sizeof(limit->before)) != 0)
		guest_copy_out(limit->theirs, limit->ours, sizeof(limit->before));
}

/* The signal mask for the time of the wait. */
static void take_mask(struct guest_call *call, long *value, long size)
{
	uint64_t mask;
	if (*value != 0 && size == (long)sizeof(mask) &&
	    guest_copy_in(&mask, (const void *)*value, sizeof(mask)) == 0)
		*value = (long)guest_temporary_mask(call, mask);
}

/* ---- poll(2) --------------------------------------------------------------------------- */

#define POLL_MOST ((size_t)8 << 20) /* descriptors: far above what there may be of them */

static long poll_with(struct guest_call *call, long value[6])
{
	struct pollfd *theirs = (struct pollfd *)value[0], *ours;
	size_t count = (unsigned)value[1];
	if (count > POLL_MOST || !guest_is_paged(theirs, count * sizeof(*theirs)))
		return execute(call, value);
	if (!guest_take_copy(call, &value[0], count * sizeof(*theirs)))
		return -ENOMEM;
	ours = (struct pollfd *)value[0];
	long result = execute(call, value);
	/* A signal does not keep the kernel from writing back. */
	if (ours == theirs || (result < 0 && result != -EINTR))
		return result;
	for (size_t i = 0; i < count; i++)
		if (guest_copy_out(&theirs[i].revents, &ours[i].revents, sizeof(short)) != 0)
			return -EFAULT;
	return result;
}

long guest_poll(struct guest_call *call)
{
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	return poll_with(call, value);
}

long guest_ppoll(struct guest_call *call)
{
	struct limit limit;
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	if (!take_limit(call, &value[2], &limit))
		return -ENOMEM;
	take_mask(call, &value[3], value[4]);
	long result = poll_with(call, value);
	give_limit(&limit, result);
	return result;
}

/* ---- select(2) ------------------------------------------------------------------------- */

#define SELECT_MOST (1 << 24) /* descriptors: likewise */
#define SELECT_USUAL 1024     /* that every set has room for */
#define OURS_END (2 * RLIMIT_DESCRIPTORS_END) /* our own are below: host_keep() */

/* How many descriptors the kernel's table has room for, up to @count. It looks at no more of a
 * set, which may be the smaller for it: so it is asked, with sets of no descriptor that end
 * before a page that it cannot read. Return: 0: no memory. */
static int find_table_size(struct guest_call *call, int count)
{
	uintptr_t memory = (uintptr_t)guest_buffer(call, SELECT_MOST / 8 + 2 * HOST_PAGE_SIZE);
	uintptr_t guard = round_up(memory + SELECT_MOST / 8, HOST_PAGE_SIZE);
	if (memory == 0 || host_protect(guard, HOST_PAGE_SIZE, PROT_NONE) < 0)
		return 0;
	for (int size = SELECT_USUAL; size < count; size *= 2) {
		struct timespec at_once = { 0, 0 };
		long set = (long)guard - size / 8;
		if (syscall_6(SYS_pselect6, count, set, 0, 0, (long)&at_once, 0) != -EFAULT)
			return size;
	}
	return count;
}

/* The highest descriptor of the program's from @from to @end; -1: it has none there. */
static int find_highest(int from, int end)
{
	struct pollfd some[128];
	const int step = sizeof(some) / sizeof(some[0]);
	int highest = -1;
	for (; from < end; from += step) {
		for (int i = 0; i < step; i++)
			some[i] = (struct pollfd){ .fd = from + i };
		if (syscall_3(SYS_poll, some, step, 0) < 0)
			break;
		for (int i = 0; i < step; i++)
			if (!(some[i].revents & POLLNVAL) && !host_owns_descriptor(from + i))
				highest = from + i;
	}
	return highest;
}

/* Of how many descriptors the kernel looks at the sets: as natively no more than its table has
 * room for, which it enlarged for ours. Programs pass the limit of descriptors, and sets of the
 * usual size. Return: 0: no memory. */
static int find_count(struct guest_call *call, int count)
{
	if (count <= SELECT_USUAL)
		return count;
	int size = find_table_size(call, count < SELECT_MOST ? count : SELECT_MOST);
	if (size <= SELECT_USUAL || size > OURS_END)
		return size;
	int highest = find_highest(SELECT_USUAL, size), needed = SELECT_USUAL;
	while (needed <= highest)
		needed *= 2;
	return needed < size ? needed : size;
}

/* One of the three sets, in whole words. */
struct set {
	uint64_t *theirs, *ours, *before; /* ours: NULL: as the program gave it */
	size_t words;
};

/* Return: false: no memory. */
static bool take_set(struct guest_call *call, long *value, size_t words, struct set *set)
{
	const size_t bytes = words * sizeof(uint64_t);
	set->theirs = (uint64_t *)*value;
	set->ours = NULL;
	set->words = words;
	if (set->theirs == NULL || words == 0 || !guest_is_paged(set->theirs, bytes))
		return true;
	uint64_t *ours = guest_buffer(call, 2 * bytes);
	if (ours == NULL)
		return false;
	if (guest_copy_in(ours, set->theirs, bytes) != 0)
		return true;
	set->ours = ours;
	set->before = ours + words;
	memcpy(set->before, ours, bytes);
	*value = (long)ours;
	return true;
}

/* The kernel wrote as many words as the process has descriptors for, one at least: so those
 * that differ. Return: whether the program's memory took them. */
static bool give_set(const struct set *set)
{
	for (size_t i = 0; set->ours != NULL && i < set->words; i++)
		if ((i == 0 || set->ours[i] != set->before[i]) &&
		    guest_copy_out(&set->theirs[i], &set->ours[i], sizeof(uint64_t)) != 0)
			return false;
	return true;
}

static long select_with(struct guest_call *call, long value[6])
{
	struct set sets[3];
	struct limit limit;
	int count = (int)value[0];
	if (count > 0)
		value[0] = find_count(call, count);
	if (count > 0 && value[0] == 0)
		return -ENOMEM;
	size_t words = count > 0 ? ((size_t)value[0] + 63) / 64 : 0;
	for (int i = 0; i < 3; i++)
		if (!take_set(call, &value[1 + i], words, &sets[i]))
			return -ENOMEM;
	if (!take_limit(call, &value[4], &limit))
		return -ENOMEM;
	long result = execute(call, value);
	for (int i = 0; i < 3; i++)
		if (result >= 0 && !give_set(&sets[i]))
			result = -EFAULT;
	give_limit(&limit, result);
	return result;
}

long guest_select(struct guest_call *call)
{
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	return select_with(call, value);
}

/* Argument 5: a pointer to a mask and its size. */
long guest_pselect6(struct guest_call *call)
{
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	if (value[5] != 0) {
		struct {
			long mask, size;
		} *pack = guest_buffer(call, sizeof(*pack));
		if (pack == NULL)
			return -ENOMEM;
		if (guest_copy_in(pack, (const void *)value[5], sizeof(*pack)) == 0) {
			take_mask(call, &pack->mask, pack->size);
			value[5] = (long)pack;
		}
	}
	return select_with(call, value);
}

/* ---- epoll_wait(2) --------------------------------------------------------------------- */

/* Events stay with the kernel if there is no room for them: room is what can be written. */
static long epoll_with(struct guest_call *call, long value[6])
{
	const size_t most = GUEST_PIECE / sizeof(struct epoll_event);
	void *theirs = (void *)value[1];
	int count = (int)value[2];
	size_t bytes;
	if (count <= 0 || count > INT_MAX / (int)sizeof(struct epoll_event))
		return execute(call, value);
	bytes = ((size_t)count < most ? (size_t)count : most) * sizeof(struct epoll_event);
	if (!guest_is_paged(theirs, bytes))
		return execute(call, value);
	size_t room = guest_accessible(theirs, bytes, PROT_WRITE) / sizeof(struct epoll_event);
	if (room == 0)
		return execute(call, value);
	void *ours = guest_buffer(call, room * sizeof(struct epoll_event));
	if (ours == NULL)
		return -ENOMEM;
	value[1] = (long)ours;
	value[2] = (long)room;
	long result = execute(call, value);
	if (result > 0 &&
	    guest_copy_out(theirs, ours, (size_t)result * sizeof(struct epoll_event)) != 0)
		return -EFAULT;
	return result;
}

long guest_epoll_wait(struct guest_call *call)
{
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	return epoll_with(call, value);
}

long guest_epoll_pwait(struct guest_call *call)
{
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	take_mask(call, &value[4], value[5]);
	return epoll_with(call, value);
}

long guest_epoll_pwait2(struct guest_call *call)
{
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	if (!guest_take_copy(call, &value[3], sizeof(struct timespec)))
		return -ENOMEM;
	take_mask(call, &value[4], value[5]);
	return epoll_with(call, value);
}

/* ---- nanosleep(2) ---------------------------------------------------------------------- */

/* @time: the argument with the time. The next gets what is left, if a signal interrupts. */
static long sleep_with(struct guest_call *call, int time, bool absolute)
{
	const size_t bytes = sizeof(struct timespec);
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	void *theirs = (void *)value[time + 1], *ours = NULL;
	if (!guest_take_copy(call, &value[time], bytes))
		return -ENOMEM;
	if (theirs != NULL && !absolute && guest_is_paged(theirs, bytes) &&
	    guest_accessible(theirs, bytes, PROT_WRITE) == bytes) {
		ours = guest_buffer(call, bytes);
		if (ours == NULL)
			return -ENOMEM;
		value[time + 1] = (long)ours;
	}
	long result = execute(call, value);
	if (result == -EINTR && ours != NULL && guest_copy_out(theirs, ours, bytes) != 0)
		return -EFAULT;
	return result;
}

long guest_nanosleep(struct guest_call *call)
{
	return sleep_with(call, 0, false);
}

long guest_clock_nanosleep(struct guest_call *call)
{
	return sleep_with(call, 2, call->argument[1] & TIMER_ABSTIME);
}
