/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host_guard.c - guards: pages of a mapping that trap, without a mapping of their own
 *
 * A guard is an entry of the host's page table. It outlives all that happens to the file: holes made
 * in it, truncation; and MADV_DONTNEED. Installing one takes the page out of the table by the same
 * call, with the host's lock of mappings held for reading, so that threads do it side by side.
 *
 * What is locked in memory (mlock(2)) takes none; so a page is unlocked that is about to have one,
 * as it is by mapping something else over it.
 *
 * Signal context: yes. Source: madvise(2); Linux, mm/madvise.c, is_valid_guard_vma().
 */
#include <errno.h>

#include "host.h"
#include "syscall.h"

static int advise(uintptr_t start, size_t length, long advice)
{
	return (int)syscall_3(SYS_madvise, start, length, advice);
}

/* Fewer may have been advised: a signal was about to be delivered, or a page to come in. */
static bool is_passing(int result)
{
	return result == -EINTR || result == -ERESTART || result == -EAGAIN;
}

static int advise_whole(uintptr_t start, size_t length, long advice)
{
	int result;
	do {
		result = advise(start, length, advice);
	} while (is_passing(result));
	return result;
}

int host_guard(uintptr_t page, size_t length)
{
	int result = advise_whole(page, length, MADV_GUARD_INSTALL);
	if (result == -EINVAL && syscall_2(SYS_munlock, page, length) == 0)
		result = advise_whole(page, length, MADV_GUARD_INSTALL);
	return result;
}

int host_unguard(uintptr_t page, size_t length, bool writable, bool lazily)
{
	int result = advise_whole(page, length, MADV_GUARD_REMOVE);
	if (result < 0 || lazily)
		return result;
	result = advise_whole(page, length, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	if (result < 0)
		host_guard(page, length);
	return result;
}

/* It is made where nobody knows of it, and moved: the host joins it with what lies beside it then. Nothing
 * can be referenced before it has its guards, not even by the host, which would bring in all of
 * what is to be locked. */
int host_lay_guards(int file, uintptr_t start, size_t length)
{
	long made = host_mapping_call(SYS_mmap, 0, (long)length, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file,
	                              (long)start);
	if (made < 0 && made > -4096)
		return (int)made;
	/* Or a machine that prefers large pages gives 2 MiB for each that is touched. */
	advise((uintptr_t)made, length, MADV_NOHUGEPAGE);
	int result = host_guard((uintptr_t)made, length);
	if (result == 0)
		result = host_protect((uintptr_t)made, length, PROT_READ | PROT_WRITE);
	if (result == 0)
		result = host_show_borrowed((void *)made, start, length);
	if (result < 0)
		host_release((void *)made, length);
	return result;
}

/* Tried with a file of our own. Return: as host_has_guards(). */
static int try_guards(void)
{
	int file = host_memory_create(HOST_PAGE_SIZE), has = 0;
	if (file < 0)
		return file;
	long at = syscall_6(SYS_mmap, 0, HOST_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (at < 0 && at > -4096) {
		has = (int)at;
	} else {
		has = host_guard((uintptr_t)at, HOST_PAGE_SIZE) == 0 &&
		      host_populate((uintptr_t)at, HOST_PAGE_SIZE, true) < 0 &&
		      host_unguard((uintptr_t)at, HOST_PAGE_SIZE, true, false) == 0;
		host_release((void *)at, HOST_PAGE_SIZE);
	}
	host_close(file);
	return has;
}

int host_has_guards(void)
{
	enum { UNKNOWN, YES, NO };
	static _Atomic int known;
	if (atomic_load(&known) == UNKNOWN) {
		int has = try_guards();
		if (has < 0)
			return has;
		atomic_store(&known, has ? YES : NO);
	}
	return atomic_load(&known) == YES;
}
