/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vector.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "compiler.h"
#include "syscall.h"

/* ---- Arenas ------------------------------------------------------------------------------- */

#define ARENA_FIRST ((size_t)1024)
#define HOST_PAGE ((size_t)4096)
#define DIRECT_UNIT ((size_t)512) /* the least that a transfer past the page cache moves */

/* The first place at or behind @used of the kind that @like asks for. */
static size_t arena_place(const char *base, size_t used, size_t bytes, const void *like)
{
	uintptr_t at = (uintptr_t)base + used;
	if (bytes < DIRECT_UNIT || like == NULL)
		return round_up(at, 16) - (uintptr_t)base;
	return used + (((uintptr_t)like - at) & (HOST_PAGE - 1));
}

/* A new chunk. What is large begins at a page, so that alignment costs least. */
static bool arena_grow(struct guest_arena *arena, size_t bytes, const void *like)
{
	size_t slack = bytes < DIRECT_UNIT ? 16 : (uintptr_t)like & (HOST_PAGE - 1);
	for (;;) {
		size_t size = bytes + slack < 2 * arena->size ? 2 * arena->size : bytes + slack;
		size = size < ARENA_FIRST ? ARENA_FIRST : size;
		char *base = guest_buffer(arena->call, size);
		if (base == NULL)
			return false;
		arena->base = base;
		arena->size = size;
		if (arena_place(base, 0, bytes, like) + bytes <= size)
			return true;
		slack = HOST_PAGE;
	}
}

void *arena_take(struct guest_arena *arena, size_t bytes, const void *like)
{
	size_t place = arena_place(arena->base, arena->used, bytes, like);
	if (arena->base == NULL || place > arena->size || bytes > arena->size - place) {
		if (!arena_grow(arena, bytes, like))
			return NULL;
		place = arena_place(arena->base, 0, bytes, like);
	}
	arena->used = place + bytes;
	return arena->base + place;
}

/* ---- Vectors ------------------------------------------------------------------------------ */

/* The kernel refuses an end behind the last address of a process before it looks at anything. */
#define ADDRESS_END ((uintptr_t)0x7ffffffff000)

static bool ends_nowhere(const void *base, size_t length)
{
	return length > ADDRESS_END || (uintptr_t)base > ADDRESS_END - length;
}

/* Sums, and room for the windows. A window has one segment more where the first inaccessible
 * byte divides one. */
static int vector_prepare(struct guest_vector *vector)
{
	size_t total = 0;
	vector->paged = 0;
	for (size_t i = 0; i < vector->count; i++) {
		const struct iovec *segment = &vector->all[i];
		if ((ssize_t)segment->iov_len < 0 || ends_nowhere(segment->iov_base, segment->iov_len))
			return VECTOR_BAD;
		size_t length = segment->iov_len;
		length = length < VECTOR_BYTES_MAX - total ? length : VECTOR_BYTES_MAX - total;
		if (guest_is_paged(segment->iov_base, length))
			vector->paged += length;
		total += length;
	}
	vector->total = total;
	size_t room = (vector->count + 1) * sizeof(struct iovec);
	vector->theirs = arena_take(vector->arena, room, NULL);
	vector->ours = arena_take(vector->arena, room, NULL);
	vector->mark = *vector->arena;
	return vector->theirs != NULL && vector->ours != NULL ? 0 : -ENOMEM;
}

int vector_take(struct guest_vector *vector, struct guest_arena *arena, const struct iovec *theirs,
                size_t count)
{
	*vector = (struct guest_vector){ .arena = arena, .all = theirs, .count = count };
	if (count > VECTOR_COUNT_MAX)
		return VECTOR_BAD;
	struct iovec *all = arena_take(arena, count * sizeof(*all), NULL);
	if (all == NULL)
		return -ENOMEM;
	if (guest_copy_in(all, theirs, count * sizeof(*all)) != 0)
		return VECTOR_BAD;
	vector->all = all;
	return vector_prepare(vector);
}


int vector_single(struct guest_vector *vector, struct guest_arena *arena, void *base, size_t length)
{
	if (ends_nowhere(base, length))
		return VECTOR_BAD;
	struct iovec *all = arena_take(arena, sizeof(*all), NULL);
	if (all == NULL)
		return -ENOMEM;
	*all = (struct iovec){ .iov_base = base, .iov_len = length };
	*vector = (struct guest_vector){ .arena = arena, .all = all, .count = 1 };
	return vector_prepare(vector);
}

/* Adds a segment of paged memory to the window. Return: its accessible bytes, or -ENOMEM. */
static long window_bounce(struct guest_vector *vector, char *base, size_t length, int prot)
{
	int access = prot & PROT_WRITE ? PROT_WRITE : PROT_READ;
	size_t accessible = guest_accessible(base, length, access);
	if (accessible == 0)
		return 0;
	char *ours = arena_take(vector->arena, accessible, base);
	if (ours == NULL)
		return -ENOMEM;
	if (prot & PROT_READ) {
		size_t missing = guest_copy_in(ours, base, accessible);
		if (prot & PROT_WRITE)
			memset(ours + accessible - missing, 0, missing);
		else
			accessible -= missing;
	}
	vector->theirs[vector->window] = (struct iovec){ .iov_base = base, .iov_len = accessible };
	vector->ours[vector->window] = (struct iovec){ .iov_base = ours, .iov_len = accessible };
	vector->window += accessible > 0;
	return (long)accessible;
}

long vector_window(struct guest_vector *vector, size_t skip, size_t limit, int prot)
{
	size_t left = vector->total > skip ? vector->total - skip : 0;
	left = left < limit ? left : limit;
	size_t bytes = left;
	bool bad = false;
	arena_reset(vector->arena, &vector->mark);
	vector->window = 0;
	for (size_t i = 0; i < vector->count; i++) {
		char *base = vector->all[i].iov_base;
		size_t length = vector->all[i].iov_len;
		if (skip >= length && skip > 0) {
			skip -= length;
			continue;
		}
		base += skip;
		length = length - skip < left ? length - skip : left;
		skip = 0;
		left -= length;
		if (length == 0 && vector->window > 0)
			continue;
		if (!bad && guest_is_paged(base, length)) {
			long accessible = window_bounce(vector, base, length, prot);
			if (accessible < 0)
				return accessible;
			base += accessible;
			length -= (size_t)accessible;
			if (length == 0)
				continue;
			bad = true; /* the kernel comes no further than here */
		}
		struct iovec same = { .iov_base = base, .iov_len = length };
		if (vector->window < VECTOR_COUNT_MAX) {
			vector->theirs[vector->window] = same;
			vector->ours[vector->window++] = same;
		}
	}
	return (long)bytes;
}

size_t vector_scatter(const struct guest_vector *vector, size_t bytes)
{
	size_t done = 0;
	for (size_t i = 0; i < vector->window && done < bytes; i++) {
		const struct iovec *theirs = &vector->theirs[i], *ours = &vector->ours[i];
		size_t length = theirs->iov_len < bytes - done ? theirs->iov_len : bytes - done;
		size_t missing = 0;
		if (theirs->iov_base != ours->iov_base)
			missing = guest_copy_out(theirs->iov_base, ours->iov_base, length);
		done += length - missing;
		if (missing != 0)
			return done;
	}
	return bytes;
}

long vector_result(const struct guest_vector *vector, long result)
{
	if (result <= 0)
		return result;
	size_t done = vector_scatter(vector, (size_t)result);
	return done != 0 ? (long)done : -EFAULT;
}

/* ---- Bounces ------------------------------------------------------------------------------ */

int bounce_begin(struct guest_bounce *bounce, struct guest_call *call, const void *theirs,
                 size_t length, enum bounce_how how)
{
	char *address = (char *)(uintptr_t)theirs;
	*bounce = (struct guest_bounce){ .theirs = address, .ours = address, .length = length };
	if (length == 0 || length > BOUNCE_MAX || !guest_is_paged(address, length))
		return 0;
	/* What is read first may be refused for what it says. */
	if (how == BOUNCE_OUT && guest_accessible(address, length, PROT_WRITE) < length)
		return 0;
	char *ours = guest_buffer(call, how & BOUNCE_OUT ? 2 * length : length);
	if (ours == NULL)
		return -ENOMEM;
	size_t missing = guest_copy_in(ours, address, length);
	if (missing != 0 && (how & BOUNCE_IN))
		return 0;
	memset(ours + length - missing, 0, missing);
	if (how & BOUNCE_OUT)
		bounce->before = memcpy(ours + length, ours, length);
	bounce->ours = ours;
	return 0;
}

int bounce_begin_bounded(struct guest_bounce *bounce, struct guest_call *call, const void *theirs,
                         size_t length, enum bounce_how how)
{
	length = length < BOUNCE_MAX ? length : BOUNCE_MAX;
	if (guest_is_paged(theirs, length)) {
		size_t accessible = guest_accessible(theirs, length, PROT_READ);
		size_t writable = 0;
		if (how & BOUNCE_OUT)
			writable = guest_accessible(theirs, length, PROT_WRITE);
		/* Constants are given to requests of which one cannot tell that they write. */
		if (writable == 0)
			how = how == BOUNCE_BOTH ? BOUNCE_IN : how;
		else
			accessible = writable;
		length = accessible;
	}
	return bounce_begin(bounce, call, theirs, length, how);
}

int bounce_begin_string(struct guest_bounce *bounce, struct guest_call *call, const void *theirs,
                        size_t size)
{
	char *address = (char *)(uintptr_t)theirs;
	*bounce = (struct guest_bounce){ .theirs = address, .ours = address };
	if (address == NULL || !guest_is_paged(address, size))
		return 0;
	char *ours = guest_buffer(call, size);
	if (ours == NULL)
		return -ENOMEM;
	/* The end may stand right before memory that is not the program's. */
	size_t copied = size - guest_copy_in(ours, address, size);
	for (size_t i = 0; i < copied; i++)
		if (ours[i] == '\0')
			copied = size;
	if (copied == size)
		bounce->ours = ours;
	return 0;
}

long bounce_end(const struct guest_bounce *bounce, long result)
{
	if (bounce->before == NULL || result == GUEST_RESTART)
		return result;
	size_t first = 0, end = bounce->length;
	while (first < end && bounce->ours[first] == bounce->before[first])
		first++;
	while (end > first && bounce->ours[end - 1] == bounce->before[end - 1])
		end--;
	if (first == end)
		return result;
	size_t missing = guest_copy_out(bounce->theirs + first, bounce->ours + first, end - first);
	return missing != 0 && result >= 0 ? -EFAULT : result;
}

/* ---- Descriptors -------------------------------------------------------------------------- */

/* The devices of memory: they take and give any number of bytes, and never wait. */
static bool is_endless(dev_t device)
{
	unsigned number = minor(device);
	return major(device) == 1 && (number == 3 || number == 5 || number == 7 || number == 8 ||
	                              number == 9); /* null, zero, full, random, urandom */
}

enum descriptor_kind descriptor_kind(long descriptor)
{
	struct stat status;
	if (syscall_2(SYS_fstat, descriptor, &status) < 0)
		return DESCRIPTOR_WHOLE;
	if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode) ||
	    (S_ISCHR(status.st_mode) && is_endless(status.st_rdev)))
		return DESCRIPTOR_FILE;
	if (S_ISFIFO(status.st_mode)) {
		long flags = syscall_2(SYS_fcntl, descriptor, F_GETFL);
		return flags < 0 || (flags & O_DIRECT) ? DESCRIPTOR_WHOLE : DESCRIPTOR_PIPE;
	}
	if (S_ISSOCK(status.st_mode)) {
		int type = 0, length = sizeof(type);
		long result = syscall_6(SYS_getsockopt, descriptor, SOL_SOCKET, SO_TYPE,
		                        (long)&type, (long)&length, 0);
		return result == 0 && type == SOCK_STREAM ? DESCRIPTOR_SOCKET : DESCRIPTOR_WHOLE;
	}
	return DESCRIPTOR_WHOLE;
}
