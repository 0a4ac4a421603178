/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * range.c - mprotect(2), madvise(2), mlock(2), mincore(2), msync(2) in a whole program
 *
 * A range may have parts that are paged and parts that are foreign, and holes. Each part is worked
 * on as its mapping says, in the order and with the errors of the kernel; the foreign ones by the
 * kernel. Where it would wait, no lock is held.
 *
 * Locks: the space's. Signal context: that of guest/call.h.
 * Source: mm/mprotect.c, mm/madvise.c, mm/mlock.c, mm/mincore.c, mm/msync.c of Linux.
 */
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include "gain.h"
#include "handlers.h"
#include "host.h"
#include "limit.h"
#include "map.h"
#include "patch.h"
#include "syscall.h"
#include "whole.h"


/* ---- Ranges ------------------------------------------------------------------------------------ */

/* [start, end) of a call's first two arguments. Return: 1: there is something in it, 0: nothing,
 * -EINVAL: not aligned, @overflow: it is no range. */
static long take(const struct guest_call *call, long overflow, uintptr_t *start, uintptr_t *end)
{
	*start = (uintptr_t)call->argument[0];
	size_t length = (size_t)call->argument[1], rounded = host_page_up(length);
	if (*start % HOST_PAGE_SIZE != 0)
		return -EINVAL;
	if (rounded < length || __builtin_add_overflow(*start, rounded, end))
		return overflow;
	return *end > *start;
}

/* What of a range is where the program's memory is; whether that is all. */
static bool clip(uintptr_t *start, uintptr_t *end)
{
	uintptr_t from = *start, to = *end;
	*start = from > WHOLE_START ? from : WHOLE_START;
	*end = to < WHOLE_END ? to : WHOLE_END;
	if (*end < *start)
		*end = *start;
	return from == *start && to == *end;
}

/* map_visit() with the lock; -ENOMEM: holes. */
static long visit(uintptr_t start, uintptr_t end, bool past_holes, map_visitor *visitor, void *argument)
{
	bool whole = clip(&start, &end);
	if (start == end)
		return -ENOMEM;
	space_write(whole_space);
	long result = guest_errno(map_visit(whole_space, start, end, past_holes, visitor, argument));
	space_write_end(whole_space);
	return result == 0 && !whole ? -ENOMEM : result;
}

/* The mapping at @at, or the next before @end, cut to [at, end). For what may wait. */
static bool next_part(uintptr_t at, uintptr_t end, struct mapping *part)
{
	space_read(whole_space);
	const struct mappings *all = &whole_space->mappings;
	size_t i = mapping_index(all, at);
	bool found = i < all->count && all->mapping[i].start < end;
	if (found)
		*part = mapping_part(&all->mapping[i], at, end);
	space_read_end(whole_space);
	return found;
}

static long of_kernel(long number, const struct mapping *part, long argument)
{
	return whole_kernel_maps(number, (long)part->start, (long)(part->end - part->start), argument, 0, 0, 0);
}

/* ---- mprotect ----------------------------------------------------------------------------------- */

/* Of a file system mounted so, the host would not show a page for execution. */
static bool may_execute(const struct mapping *part)
{
	struct statfs system;
	const upage_store *store = part->backing->store;
	return store == NULL || (part->prot & PROT_EXEC) ||
	       syscall_2(SYS_fstatfs, *store->descriptor, &system) < 0 || !(system.f_flags & ST_NOEXEC);
}

static int visit_protect(upage_space *space, struct mapping *part, void *argument)
{
	int prot = *(const int *)argument;
	if (gain_is_refused(part->prot, prot))
		return -EACCES;
	if (!part->backing->foreign)
		return prot & PROT_EXEC && !may_execute(part) ? -EACCES : map_protect(space, part, prot);
	long result = of_kernel(SYS_mprotect, part, prot);
	if (result == 0)
		part->prot = prot;
	return (int)result;
}

long whole_mprotect(struct guest_call *call)
{
	const int semaphores = 0x8; /* PROT_SEM: no difference */
	int prot = (int)call->argument[2];
	int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
	uintptr_t start, end;
	if (grows == (PROT_GROWSDOWN | PROT_GROWSUP))
		return -EINVAL;
	long result = take(call, -ENOMEM, &start, &end);
	if (result <= 0)
		return result;
	prot &= ~grows;
	if (prot & ~(WHOLE_PROT | semaphores))
		return -EINVAL;
	prot &= WHOLE_PROT;
	if (grows == PROT_GROWSUP)
		return -EINVAL;
	if (grows == PROT_GROWSDOWN) {
		struct mapping part;
		if (!next_part(start, WHOLE_END, &part))
			return -ENOMEM;
		if (part.start >= end)
			return -ENOMEM;
		if (!(part.flags & MAPPING_GROWS))
			return -EINVAL;
		space_read(whole_space);
		const struct mapping *m = mapping_find(&whole_space->mappings, part.start);
		start = m != NULL && m->flags & MAPPING_GROWS ? m->start : start;
		space_read_end(whole_space);
	}
	/* Who may write there may look at what is there, too, and have it elsewhere. */
	if (!(prot & PROT_WRITE))
		return visit(start, end, false, visit_protect, &prot);
	result = patch_hold(start, end);
	if (result < 0)
		return result;
	result = visit(start, end, false, visit_protect, &prot);
	patch_release();
	return result;
}

/* ---- madvise ------------------------------------------------------------------------------------ */

/* The kernel's answer for memory of a kind that we have: whether it knows the advice. */
static bool is_known(long advice)
{
	return syscall_3(SYS_madvise, WHOLE_START, 0, advice) == 0;
}

static void set(struct mapping *part, unsigned off, unsigned on)
{
	part->flags = (part->flags & ~off) | on;
}

/* Advice that is kept as a flag. Return: whether it was one. */
static bool advise_flags(struct mapping *part, long advice)
{
	const unsigned huge = MAPPING_HUGE | MAPPING_NOHUGE;
	switch (advice) {
	case MADV_NORMAL:
		part->advice = UPAGE_NORMAL;
		return true;
	case MADV_RANDOM:
		part->advice = UPAGE_RANDOM;
		return true;
	case MADV_SEQUENTIAL:
		part->advice = UPAGE_SEQUENTIAL;
		return true;
	case MADV_DONTFORK:
		set(part, 0, MAPPING_DONTFORK);
		return true;
	case MADV_DOFORK:
		set(part, MAPPING_DONTFORK, 0);
		return true;
	case MADV_DONTDUMP:
		set(part, 0, MAPPING_DONTDUMP);
		return true;
	case MADV_DODUMP:
		set(part, MAPPING_DONTDUMP, 0);
		return true;
	case MADV_KEEPONFORK:
		set(part, MAPPING_WIPEFORK, 0);
		return true;
	case MADV_MERGEABLE:
		set(part, 0, MAPPING_MERGEABLE);
		return true;
	case MADV_UNMERGEABLE:
		set(part, MAPPING_MERGEABLE, 0);
		return true;
	case MADV_HUGEPAGE:
		set(part, huge, MAPPING_HUGE);
		return true;
	case MADV_NOHUGEPAGE:
		set(part, huge, MAPPING_NOHUGE);
		return true;
	default:
		return false;
	}
}

/* Advice on the content of paged memory. */
static int advise_content(upage_space *space, struct mapping *part, long advice)
{
	bool file = part->backing->store != NULL, locked = part->flags & MAPPING_LOCKED;
	switch (advice) {
	case MADV_WILLNEED:
		map_need(space, part);
		return 0;
	case MADV_DONTNEED:
	case MADV_FREE: /* at any time from now on: now */
		if (locked || (advice == MADV_FREE && file))
			return -EINVAL;
		return space_empty_range(space, part->start, part->end);
	case MADV_DONTNEED_LOCKED:
		return space_empty_range(space, part->start, part->end);
	case MADV_PAGEOUT:
		if (!locked)
			map_page_out(space, part->start, part->end);
		return locked ? -EINVAL : 0;
	case MADV_COLD:
		return locked ? -EINVAL : 0;
	case MADV_REMOVE:
		return file && !locked ? -EACCES : -EINVAL;
	case MADV_WIPEONFORK:
		if (!file)
			set(part, 0, MAPPING_WIPEFORK);
		return file ? -EINVAL : 0;
	case MADV_GUARD_INSTALL: {
		int result = locked ? -EINVAL : space_empty_range(space, part->start, part->end);
		if (result == 0)
			set(part, 0, MAPPING_GUARD);
		return result;
	}
	case MADV_GUARD_REMOVE:
		set(part, MAPPING_GUARD, 0);
		return 0;
	default: /* of huge pages, of broken memory: we have none */
		return -EINVAL;
	}
}

static int visit_advise(upage_space *space, struct mapping *part, void *argument)
{
	long advice = *(const long *)argument;
	if (part->backing->foreign) {
		/* The kernel does not know what is locked. */
		bool drops = advice == MADV_DONTNEED || advice == MADV_REMOVE || advice == MADV_FREE ||
		             advice == MADV_PAGEOUT || advice == MADV_COLD ||
		             advice == MADV_GUARD_INSTALL;
		if (drops && part->flags & MAPPING_LOCKED)
			return -EINVAL;
		long result = of_kernel(SYS_madvise, part, advice);
		if (result == 0 && (advice == MADV_DONTFORK || advice == MADV_DOFORK))
			advise_flags(part, advice);
		return (int)result;
	}
	return advise_flags(part, advice) ? 0 : advise_content(space, part, advice);
}

static long populate_paged(const struct mapping *part, bool write)
{
	for (uintptr_t at = part->start; at < part->end; at += HOST_PAGE_SIZE) {
		uint32_t word = 0;
		if (guest_copy_in(&word, (const void *)at, sizeof(word)) != 0 ||
		    (write && !guest_exchange((uint32_t *)at, &word, word)))
			return -EFAULT;
	}
	return 0;
}

/* It may wait for files: without the lock. */
static long populate(uintptr_t start, uintptr_t end, bool write)
{
	struct mapping part;
	while (start < end) {
		if (!next_part(start, end, &part) || part.start > start)
			return -ENOMEM;
		int needed = write ? PROT_WRITE : PROT_READ;
		if ((effective_prot(part.prot) & needed) == 0)
			return -EINVAL;
		long result = part.flags & MAPPING_GUARD ? -EFAULT
		              : part.backing->foreign    ? host_populate(part.start, part.end - part.start, write)
		                                         : populate_paged(&part, write);
		if (result < 0)
			return result;
		start = part.end;
	}
	return 0;
}

long whole_madvise(struct guest_call *call)
{
	long advice = (int)call->argument[2];
	uintptr_t start, end;
	if (!is_known(advice))
		return -EINVAL;
	long result = take(call, -EINVAL, &start, &end);
	if (result <= 0)
		return result;
	if (advice == MADV_HWPOISON || advice == MADV_SOFT_OFFLINE)
		return -EPERM; /* it would be the memory of whoever has the frame next */
	if (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE)
		return populate(start, end, advice == MADV_POPULATE_WRITE);
	return visit(start, end, true, visit_advise, &advice);
}

/* ---- mlock -------------------------------------------------------------------------------------- */

/* Nothing is held: a lock is a promise of time, which paging breaks. It is counted, and limited. */

static size_t locked_bytes(uintptr_t start, uintptr_t end)
{
	const struct mappings *all = &whole_space->mappings;
	size_t bytes = 0;
	for (size_t i = mapping_index(all, start); i < all->count && all->mapping[i].start < end; i++) {
		const struct mapping part = mapping_part(&all->mapping[i], start, end);
		bytes += part.flags & MAPPING_LOCKED ? part.end - part.start : 0;
	}
	return bytes;
}

static size_t whole_locked(void)
{
	return locked_bytes(WHOLE_START, WHOLE_END);
}

static uint64_t lock_limit(void)
{
	struct rlimit limit;
	if (limit_has_capability(CAP_IPC_LOCK) || syscall_4(SYS_prlimit64, 0, RLIMIT_MEMLOCK, NULL, &limit) < 0)
		return UINT64_MAX;
	return limit.rlim_cur;
}

long whole_check_locks(size_t length, unsigned flags)
{
	if (!(flags & MAPPING_LOCKED))
		return 0;
	uint64_t limit = lock_limit(), locked = whole_locked();
	if (limit == 0)
		return flags & ~whole_default_flags & MAPPING_LOCKED ? -EPERM : -EAGAIN;
	return locked <= limit && length <= limit - locked ? 0 : -EAGAIN;
}

static int visit_lock(upage_space *space, struct mapping *part, void *argument)
{
	(void)space;
	set(part, MAPPING_LOCKED | MAPPING_ONFAULT, *(const unsigned *)argument);
	return 0;
}

/* Locking, and MAP_POPULATE, bring all of it in. What can be seen of that is where a file ends, and
 * that private pages of a file which may be written are copies from then on. */
bool whole_populate(uintptr_t start, uintptr_t end)
{
	struct mapping part;
	bool can = true;
	for (; can && start < end && next_part(start, end, &part); start = part.end) {
		char byte;
		if (part.backing->foreign)
			can = host_populate(part.start, part.end - part.start, false) == 0;
		else if (part.backing->store != NULL && part.prot & PROT_WRITE)
			can = populate_paged(&part, true) == 0;
		else
			can = guest_copy_in(&byte, (const void *)(part.end - 1), 1) == 0;
	}
	return can;
}

static long lock(struct guest_call *call, unsigned flags)
{
	uintptr_t start = (uintptr_t)call->argument[0], end;
	size_t length = (size_t)call->argument[1] + start % HOST_PAGE_SIZE;
	uint64_t limit = lock_limit();
	if (flags != 0 && limit == 0)
		return -EPERM;
	start = host_page_down(start);
	length = host_page_up(length);
	if (__builtin_add_overflow(start, length, &end))
		end = 0;
	if (flags != 0 && limit != UINT64_MAX) {
		space_read(whole_space);
		size_t others = whole_locked() - locked_bytes(start, end > start ? end : start);
		space_read_end(whole_space);
		if (others > limit || length > limit - others)
			return -ENOMEM;
	}
	if (end < start)
		return -EINVAL;
	if (end == start)
		return 0;
	long result = visit(start, end, false, visit_lock, &flags);
	return result == 0 && flags == MAPPING_LOCKED && !whole_populate(start, end) ? -ENOMEM : result;
}

long whole_mlock(struct guest_call *call)
{
	unsigned how = call->number == SYS_mlock2 ? (unsigned)call->argument[2] : 0;
	if (how & ~(unsigned)MLOCK_ONFAULT)
		return -EINVAL;
	return lock(call, MAPPING_LOCKED | (how & MLOCK_ONFAULT ? MAPPING_ONFAULT : 0));
}

long whole_munlock(struct guest_call *call)
{
	return lock(call, 0);
}

static size_t mapped_bytes(void)
{
	const struct mappings *all = &whole_space->mappings;
	size_t bytes = 0;
	for (size_t i = 0; i < all->count; i++)
		bytes += all->mapping[i].end - all->mapping[i].start;
	return bytes;
}

long whole_mlockall(struct guest_call *call)
{
	int how = (int)call->argument[0];
	unsigned flags = MAPPING_LOCKED | (how & MCL_ONFAULT ? MAPPING_ONFAULT : 0);
	uint64_t limit = lock_limit();
	if (how == 0 || how == MCL_ONFAULT || how & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		return -EINVAL;
	if (limit == 0)
		return -EPERM;
	space_write(whole_space);
	bool too_much = how & MCL_CURRENT && mapped_bytes() > limit;
	if (!too_much) {
		whole_default_flags = how & MCL_FUTURE ? flags : 0;
		if (how & MCL_CURRENT)
			map_visit(whole_space, WHOLE_START, WHOLE_END, true, visit_lock, &flags);
	}
	space_write_end(whole_space);
	return too_much ? -ENOMEM : 0;
}

long whole_munlockall(struct guest_call *call)
{
	unsigned flags = 0;
	(void)call;
	space_write(whole_space);
	whole_default_flags = 0;
	map_visit(whole_space, WHOLE_START, WHOLE_END, true, visit_lock, &flags);
	space_write_end(whole_space);
	return 0;
}

/* ---- mincore ------------------------------------------------------------------------------------ */

#define VECTOR_PAGES ((size_t)4096)

/* Which pages of a part are resident: at most VECTOR_PAGES. */
static long resident(const struct mapping *part, unsigned char *vector)
{
	if (part->backing->foreign)
		return of_kernel(SYS_mincore, part, (long)vector);
	return guest_errno(upage_residency(whole_space, (const void *)part->start,
	                                   part->end - part->start, vector));
}

long whole_mincore(struct guest_call *call)
{
	unsigned char *theirs = (unsigned char *)call->argument[2];
	unsigned char *vector = guest_buffer(call, VECTOR_PAGES);
	uintptr_t start, end;
	long result = take(call, -ENOMEM, &start, &end);
	if (result <= 0)
		return result;
	if (end > WHOLE_LIMIT)
		return -ENOMEM;
	if ((uintptr_t)theirs > WHOLE_LIMIT)
		return -EFAULT;
	if (vector == NULL)
		return -EAGAIN;
	while (start < end) {
		struct mapping part;
		if (!next_part(start, end, &part) || part.start > start)
			return -ENOMEM;
		if (part.end - start > VECTOR_PAGES * HOST_PAGE_SIZE)
			part.end = start + VECTOR_PAGES * HOST_PAGE_SIZE;
		size_t pages = (part.end - start) / HOST_PAGE_SIZE;
		result = resident(&part, vector);
		if (result < 0)
			return result;
		if (guest_copy_out(theirs, vector, pages) != 0)
			return -EFAULT;
		theirs += pages;
		start = part.end;
	}
	return 0;
}

/* ---- msync -------------------------------------------------------------------------------------- */

long whole_msync(struct guest_call *call)
{
	long flags = call->argument[2], all = MS_ASYNC | MS_INVALIDATE | MS_SYNC;
	uintptr_t start, end;
	if (flags & ~all)
		return -EINVAL;
	if (((uintptr_t)call->argument[0]) % HOST_PAGE_SIZE != 0)
		return -EINVAL;
	if (flags & MS_ASYNC && flags & MS_SYNC)
		return -EINVAL;
	long result = take(call, -ENOMEM, &start, &end);
	if (result <= 0)
		return result;
	bool hole = false;
	struct mapping part;
	for (; start < end && next_part(start, end, &part); start = part.end) {
		hole = hole || part.start > start;
		if (flags & MS_INVALIDATE && part.flags & MAPPING_LOCKED)
			return -EBUSY;
		result = part.backing->foreign ? of_kernel(SYS_msync, &part, flags) : 0;
		if (result < 0)
			return result;
	}
	return hole || start < end ? -ENOMEM : 0;
}
