/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * descriptor.c - close(2), dup2(2) and their families, which must not meet our descriptors
 *
 * For the program ours are not there: to close one, or to look whether it is open, is EBADF, a
 * range is closed around them, where the program wants the number of one, ours gets another, and
 * the listing of /proc/self/fd leaves them out.
 *
 * Signal context: all, on a region's stack. Source: getdents(2); proc_pid_fd(5).
 */
#include <linux/close_range.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "handlers.h"
#include "host.h"
#include "pool_fork.h"
#include "syscall.h"
#include "table.h"
#include "whole.h"

long guest_close(struct guest_call *call)
{
	if (host_owns_descriptor((int)call->argument[0]))
		return -EBADF;
	whole_file_closes((int)call->argument[0]);
	return guest_hand_on(call);
}

long guest_close_range(struct guest_call *call)
{
	unsigned first = (unsigned)call->argument[0], last = (unsigned)call->argument[1];
	unsigned flags = (unsigned)call->argument[2];
	/* Ours are closed by execve anyway. */
	if (first > last || flags & ~(unsigned)CLOSE_RANGE_UNSHARE)
		return guest_hand_on(call);
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

/* And dup3: argument 0 is copied to the number that is argument 1. */
long guest_dup2(struct guest_call *call)
{
	int from = (int)call->argument[0], to = (int)call->argument[1];
	if (host_owns_descriptor(from))
		return -EBADF;
	/* A bad one is found before anything is moved for it. */
	bool replaces = from != to && syscall_2(SYS_fcntl, from, F_GETFD) >= 0;
	if (replaces && host_owns_descriptor(to) && pool_move_descriptor(to) < 0)
		return -EBADF;
	if (replaces)
		whole_file_closes(to);
	return guest_hand_on(call);
}

long guest_of_descriptor(struct guest_call *call)
{
	if (host_owns_descriptor((int)call->argument[0]))
		return -EBADF;
	return guest_generic(call, guest_table_find(call->number));
}

/* ---- Listings ------------------------------------------------------------------------------- */

#define RECORD_LENGTH_AT 16 /* in a record, as 16 bits */

static bool names_ours(const char *name, size_t most)
{
	int number = 0;
	size_t i = 0;
	while (i < most && name[i] >= '0' && name[i] <= '9' && number < INT_MAX / 10 - 1)
		number = 10 * number + (name[i++] - '0');
	return i > 0 && i < most && name[i] == '\0' && host_owns_descriptor(number);
}

/* Whether a directory is one in which the kernel names the descriptors of this process. */
static bool lists_descriptors(int directory)
{
	static const char paths[][32] = { "/proc/self/fd", "/proc/self/fdinfo", "/proc/thread-self/fd",
		                          "/proc/thread-self/fdinfo" };
	struct stat this, other;
	if (syscall_2(SYS_fstat, directory, &this) < 0)
		return false;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (syscall_2(SYS_stat, paths[i], &other) == 0 && other.st_dev == this.st_dev &&
		    other.st_ino == this.st_ino)
			return true;
	return false;
}

/* Takes our descriptors out of the records that the program has got. Return: bytes that remain. */
static long drop_ours(struct guest_call *call, size_t bytes, size_t name_at)
{
	char *theirs = (char *)call->argument[1], *ours = guest_buffer(call, bytes);
	bool found = false;
	size_t kept = 0;
	uint16_t length;
	if (ours == NULL)
		return -ENOMEM;
	if (guest_copy_in(ours, theirs, bytes) != 0)
		return (long)bytes;
	for (size_t at = 0; at + name_at < bytes; at += length) {
		memcpy(&length, ours + at + RECORD_LENGTH_AT, sizeof(length));
		if (length <= name_at || length > bytes - at)
			return (long)bytes; /* another thread has written there */
		if (names_ours(ours + at + name_at, length - name_at)) {
			if (!found && !lists_descriptors((int)call->argument[0]))
				return (long)bytes;
			found = true;
			continue;
		}
		memmove(ours + kept, ours + at, length);
		kept += length;
	}
	if (!found)
		return (long)bytes;
	return guest_copy_out(theirs, ours, kept) == 0 ? (long)kept : -EFAULT;
}

/* None left is not the end of the directory. */
static long list(struct guest_call *call, size_t name_at)
{
	const struct guest_entry *entry = guest_table_find(call->number);
	long result;
	do {
		result = guest_generic(call, entry);
		if (result <= 0)
			break;
		result = drop_ours(call, (size_t)result, name_at);
	} while (result == 0);
	return result;
}

long guest_getdents(struct guest_call *call)
{
	return list(call, 18);
}

long guest_getdents64(struct guest_call *call)
{
	return list(call, 19);
}
