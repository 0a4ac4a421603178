/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "host.h"
#include "space.h"

size_t guest_copy(void *to, const void *from, size_t length); /* memory.S */
extern const uintptr_t guest_fixups[][2];

bool guest_is_paged(const void *address, size_t length)
{
	uintptr_t start = (uintptr_t)address, end;
	const upage_space *space = space_find_next(start);
	if (space == NULL || length == 0)
		return false;
	if (__builtin_add_overflow(start, length, &end))
		end = UINTPTR_MAX;
	return space->base < end;
}

bool guest_is_foreign(const void *address)
{
	upage_space *space = space_find((uintptr_t)address);
	if (space == NULL)
		return true;
	space_read(space);
	const struct mapping *mapping = mapping_find(&space->mappings, (uintptr_t)address);
	bool foreign = mapping != NULL && mapping->backing->foreign;
	space_read_end(space);
	return foreign;
}

/* Page by page: what is not there is brought in, which spares a trap. Where that fails, or the page
 * has gone again, the copy finds out. With a guard, looking costs more than the traps. */
static size_t copy(char *to, const char *from, size_t length, uintptr_t theirs, int access)
{
	upage_space *space = guard_is_on ? NULL : space_find(theirs);
	while (space != NULL && length > 0) {
		size_t part = HOST_PAGE_SIZE - theirs % HOST_PAGE_SIZE;
		part = part < length ? part : length;
		if (theirs - space->base < space->length)
			space_bring_in(space, theirs, access);
		size_t left = guest_copy(to, from, part);
		length -= part - left;
		if (left > 0)
			return length;
		to += part;
		from += part;
		theirs += part;
	}
	return guest_copy(to, from, length);
}

size_t guest_copy_in(void *ours, const void *theirs, size_t length)
{
	return copy(ours, theirs, length, (uintptr_t)theirs, PROT_READ);
}

size_t guest_copy_out(void *theirs, const void *ours, size_t length)
{
	return copy(theirs, ours, length, (uintptr_t)theirs, PROT_WRITE);
}

/* Up to the end of a host page at a time: what lies behind the end of the string may not be
 * the program's to read. */
long guest_copy_string(char *ours, const char *theirs, size_t size)
{
	size_t done = 0;
	while (done < size) {
		size_t part = 4096 - ((uintptr_t)(theirs + done) & 4095);
		if (part > size - done)
			part = size - done;
		size_t copied = part - guest_copy_in(ours + done, theirs + done, part);
		const char *end = memchr(ours + done, '\0', copied);
		if (end != NULL)
			return end - ours;
		if (copied < part)
			return -EFAULT;
		done += part;
	}
	return -ENAMETOOLONG;
}

/* How far the mappings of @space allow @prot, from @at on, up to @end or behind it. */
static uintptr_t accessible_to(upage_space *space, uintptr_t at, uintptr_t end, int prot,
                               bool may_grow)
{
	space_read(space);
	const struct mapping *mapping = NULL;
	bool allowed = true;
	while (at < end && allowed && (mapping = mapping_find(&space->mappings, at)) != NULL) {
		allowed = !(mapping->flags & MAPPING_GUARD) &&
		          (effective_prot(mapping->prot) & prot) == prot;
		at = allowed ? mapping->end : at;
	}
	bool hole = at < end && mapping == NULL;
	space_read_end(space);
	/* The kernel's own references let a stack grow, too. */
	return hole && prot != PROT_NONE && may_grow && space_grow(space, at)
	               ? accessible_to(space, at, end, prot, false)
	               : at;
}

size_t guest_accessible(const void *address, size_t length, int prot)
{
	uintptr_t start = (uintptr_t)address, at = start, end;
	if (__builtin_add_overflow(start, length, &end))
		end = UINTPTR_MAX;
	while (at < end) {
		upage_space *space = space_find_next(at);
		if (space == NULL || space->base >= end)
			return length;
		if (at < space->base)
			at = space->base;
		uintptr_t reached = accessible_to(space, at, end, prot, true);
		if (reached < end && reached < space->base + space->length)
			return reached - start;
		at = reached;
	}
	return length;
}

uintptr_t guest_fixup(uintptr_t instruction)
{
	for (size_t i = 0; guest_fixups[i][0] != 0; i++)
		if (guest_fixups[i][0] == instruction)
			return guest_fixups[i][1];
	return 0;
}
