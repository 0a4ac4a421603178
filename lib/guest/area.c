/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * area.c - mprotect(2) and the like on paged memory, which the kernel knows nothing of: of linked
 * programs here, of whole ones in whole.c, range.c and remap.c
 *
 * The kernel's page is the unit for the program; where ours are larger, a part of a page keeps
 * its access when some is taken away, and is given what is given.
 *
 * Signal context: all, on a stack of ours.
 */
#include <string.h>
#include <sys/mman.h>

#include "handlers.h"
#include "host.h"
#include "space.h"
#include "syscall.h"
#include "whole.h"

/* A range in host pages, and in those of its space: whole ones inside, touched ones outside. */
struct area {
	upage_space *space;
	uintptr_t start, end;
	uintptr_t inner_start, inner_end; /* inner_start >= inner_end: none */
	uintptr_t outer_start, outer_end;
};

/* The first two arguments of these calls, as the kernel takes them. Return: whether there is an
 * area of ours to work on; else the call is done, and *result is what it returns. */
static bool take(struct guest_call *call, struct area *area, long *result)
{
	uintptr_t start = (uintptr_t)call->argument[0];
	size_t length = (size_t)call->argument[1];
	if (!guest_is_paged((const void *)start, length)) {
		*result = guest_hand_on(call);
		return false;
	}
	*result = -EINVAL;
	if (start % HOST_PAGE_SIZE != 0)
		return false;
	*result = -ENOMEM;
	length = host_page_up(length);
	*area = (struct area){ .space = space_find(start), .start = start };
	if (__builtin_add_overflow(start, length, &area->end) || area->space == NULL ||
	    area->end > area->space->base + area->space->length)
		return false;
	uintptr_t page_size = space_page_size(area->space);
	area->inner_start = round_up(start, page_size);
	area->inner_end = round_down(area->end, page_size);
	area->outer_start = round_down(start, page_size);
	area->outer_end = round_up(area->end, page_size);
	return true;
}

static long on_inner(const struct area *area, enum upage_advice advice)
{
	if (area->inner_start >= area->inner_end)
		return 0;
	return guest_errno(upage_advise(area->space, (void *)area->inner_start,
	                             area->inner_end - area->inner_start, advice));
}

/* ---- Calls ---------------------------------------------------------------------------------- */

long guest_mmap(struct guest_call *call)
{
	if (whole_space != NULL)
		return whole_mmap(call);
	int flags = (int)call->argument[3];
	bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	if (fixed && guest_is_paged((const void *)call->argument[0], (size_t)call->argument[1]))
		return flags & MAP_FIXED_NOREPLACE ? -EEXIST : -ENOMEM;
	return guest_hand_on(call);
}

long guest_munmap(struct guest_call *call)
{
	if (whole_space != NULL)
		return whole_munmap(call);
	bool paged = guest_is_paged((const void *)call->argument[0], (size_t)call->argument[1]);
	struct area area;
	long result;
	if (!take(call, &area, &result))
		return paged ? -EINVAL : result;
	if (area.inner_start >= area.inner_end)
		return 0;
	int code = upage_unmap(area.space, (void *)area.inner_start, area.inner_end - area.inner_start);
	return code == UPAGE_ENOTMAPPED ? 0 : guest_errno(code);
}

static long protect(struct guest_call *call, int prot)
{
	struct area area;
	long result;
	if (!take(call, &area, &result))
		return result;
	if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC))
		return -EINVAL;
	/* Parts of larger pages are given what is given, and lose nothing. */
	bool gives = (prot & (PROT_READ | PROT_WRITE)) == (PROT_READ | PROT_WRITE);
	uintptr_t start = gives ? area.outer_start : area.inner_start;
	uintptr_t end = gives ? area.outer_end : area.inner_end;
	if (start >= end)
		return 0;
	return guest_errno(upage_protect(area.space, (void *)start, end - start, prot));
}

long guest_mprotect(struct guest_call *call)
{
	if (whole_space != NULL)
		return whole_mprotect(call);
	return protect(call, (int)call->argument[2]);
}

long guest_pkey_mprotect(struct guest_call *call)
{
	bool paged = guest_is_paged((const void *)call->argument[0], (size_t)call->argument[1]);
	if (paged && (int)call->argument[3] != -1)
		return -EINVAL; /* a key would be the frame's, for whoever has it next */
	return whole_space != NULL ? whole_mprotect(call) : protect(call, (int)call->argument[2]);
}

long guest_brk(struct guest_call *call)
{
	return whole_space != NULL ? whole_brk(call) : guest_hand_on(call);
}

long guest_mremap(struct guest_call *call)
{
	if (whole_space != NULL)
		return whole_mremap(call);
	if (guest_is_paged((const void *)call->argument[0], (size_t)call->argument[1]))
		return -EINVAL;
	if (call->argument[3] & MREMAP_FIXED &&
	    guest_is_paged((const void *)call->argument[4], (size_t)call->argument[2]))
		return -ENOMEM;
	return guest_hand_on(call);
}

/* Host pages that are zero from now on: whole pages are dropped, parts of them are written to. */
static long drop(const struct area *area)
{
	static const char zeros[HOST_PAGE_SIZE];
	for (uintptr_t at = area->start; at < area->end; at += HOST_PAGE_SIZE) {
		if (at >= area->inner_start && at < area->inner_end)
			at = area->inner_end;
		if (at < area->end && guest_copy_out((void *)at, zeros, sizeof(zeros)) != 0)
			return -ENOMEM;
	}
	return on_inner(area, UPAGE_DONTNEED);
}

static long populate(const struct area *area, bool write)
{
	for (uintptr_t at = area->start; at < area->end; at += HOST_PAGE_SIZE) {
		char byte;
		if (guest_copy_in(&byte, (const void *)at, 1) != 0)
			return -EFAULT;
		uint32_t word = 0;
		if (write && !guest_exchange((uint32_t *)at, &word, word))
			return -EFAULT;
	}
	return 0;
}

long guest_madvise(struct guest_call *call)
{
	if (whole_space != NULL)
		return whole_madvise(call);
	struct area area;
	long result;
	if (!take(call, &area, &result))
		return result;
	switch (call->argument[2]) {
	case MADV_NORMAL:
		return on_inner(&area, UPAGE_NORMAL);
	case MADV_SEQUENTIAL:
		return on_inner(&area, UPAGE_SEQUENTIAL);
	case MADV_RANDOM:
		return on_inner(&area, UPAGE_RANDOM);
	case MADV_WILLNEED:
		return on_inner(&area, UPAGE_WILLNEED);
	case MADV_DONTNEED:
		return drop(&area);
	case MADV_FREE:
		return on_inner(&area, UPAGE_DONTNEED);
	case MADV_PAGEOUT:
		return on_inner(&area, UPAGE_PAGEOUT);
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
		return populate(&area, call->argument[2] == MADV_POPULATE_WRITE);
	case MADV_COLD:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_MERGEABLE:
	case MADV_UNMERGEABLE:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_DOFORK:
	case MADV_KEEPONFORK:
		return guest_accessible((void *)area.start, area.end - area.start, 0) ==
		                       area.end - area.start
		               ? 0
		               : -ENOMEM;
	default:
		return -EINVAL;
	}
}

/* Of memory that is not paged; the answer may go into memory that is. */
static long mincore_elsewhere(struct guest_call *call)
{
	size_t pages = host_page_up((size_t)call->argument[1]) / HOST_PAGE_SIZE;
	if (!guest_is_paged((const void *)call->argument[2], pages))
		return guest_hand_on(call);
	unsigned char *vector = guest_buffer(call, pages);
	if (vector == NULL)
		return -EAGAIN;
	long result = guest_execute(call, call->number, call->argument[0], call->argument[1],
	                            (long)vector, 0, 0, 0);
	bool bad = result == 0 && guest_copy_out((void *)call->argument[2], vector, pages) != 0;
	return bad ? -EFAULT : result;
}

long guest_mincore(struct guest_call *call)
{
	if (whole_space != NULL)
		return whole_mincore(call);
	if (!guest_is_paged((const void *)call->argument[0], (size_t)call->argument[1]))
		return mincore_elsewhere(call);
	struct area area;
	long result;
	if (!take(call, &area, &result))
		return result;
	unsigned char *vector = (unsigned char *)call->argument[2];
	for (uintptr_t at = area.start; at < area.end; at += HOST_PAGE_SIZE, vector++) {
		unsigned char resident;
		uintptr_t page = round_down(at, space_page_size(area.space));
		if (guest_accessible((const void *)at, 1, 0) == 0)
			return -ENOMEM;
		int code = upage_residency(area.space, (const void *)page, 1, &resident);
		if (code < 0)
			return guest_errno(code);
		if (guest_copy_out(vector, &resident, 1) != 0)
			return -EFAULT;
	}
	return 0;
}

/* What is paged stays so: a lock is a promise of time, and that is not ours to keep. */
static long lock(struct guest_call *call)
{
	uintptr_t start = host_page_down((uintptr_t)call->argument[0]);
	size_t length = (size_t)call->argument[1];
	if (!guest_is_paged((const void *)start, length))
		return guest_hand_on(call);
	return guest_accessible((const void *)start, length, 0) == length ? 0 : -ENOMEM;
}

long guest_mlock(struct guest_call *call)
{
	if (whole_space != NULL)
		return whole_mlock(call);
	return lock(call);
}

long guest_munlock(struct guest_call *call)
{
	if (whole_space != NULL)
		return whole_munlock(call);
	return lock(call);
}

long guest_msync(struct guest_call *call)
{
	if (whole_space != NULL)
		return whole_msync(call);
	struct area area;
	long result;
	const long flags = call->argument[2], all = MS_ASYNC | MS_INVALIDATE | MS_SYNC;
	if (!take(call, &area, &result))
		return result;
	if (flags & ~all || ((flags & MS_ASYNC) && (flags & MS_SYNC)))
		return -EINVAL;
	return guest_errno(upage_sync(area.space, (void *)area.outer_start,
	                           area.outer_end - area.outer_start));
}

/* Paged memory is not in memory: refused as to a program that may lock less than it has. The
 * kernel would count, or lock, all that is reserved for it, and each frame that is shown. */
long guest_mlockall(struct guest_call *call)
{
	int flags = (int)call->argument[0];
	bool valid = flags != 0 && flags != MCL_ONFAULT &&
	             (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) == 0;
	if (whole_space != NULL)
		return whole_mlockall(call);
	return valid ? -ENOMEM : -EINVAL;
}

long guest_munlockall(struct guest_call *call)
{
	return whole_space != NULL ? whole_munlockall(call) : guest_hand_on(call);
}

long guest_remap_file_pages(struct guest_call *call)
{
	if (whole_space != NULL)
		return whole_remap_file_pages(call);
	if (guest_is_paged((const void *)call->argument[0], (size_t)call->argument[1]))
		return -EINVAL;
	return guest_hand_on(call);
}

/* Of another process, or of ours: advice on paged memory is not carried out, as is allowed. */
long guest_process_madvise(struct guest_call *call)
{
	size_t count = (size_t)call->argument[2], bytes = count * 16;
	void *vector = count <= 1024 ? guest_buffer(call, bytes) : NULL;
	long ours = call->argument[1];
	if (vector != NULL && guest_copy_in(vector, (const void *)ours, bytes) == 0)
		ours = (long)vector;
	return guest_execute(call, call->number, call->argument[0], ours, call->argument[2],
	                     call->argument[3], call->argument[4], 0);
}
