/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * truncate.c - a file that is mapped privately becomes shorter: what lies past its new end is gone
 *
 * Pages that were never written are the page cache's own (PTE_FILE): the kernel sees to them. Natively
 * those that were written go, too, where the file ends before them. So after each call of the program
 * that may have made a file shorter they are emptied here; where another process does it, they stay.
 *
 * Locks: whole.h's. Signal context: that of guest/call.h.
 * Source: mmap(2); mm/truncate.c of Linux.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"
#include "map.h"
#include "syscall.h"
#include "whole.h"

/* A file ends at @size now. */
static void ended(const upage_store *store, int64_t size)
{
	space_write(whole_space);
	for (size_t i = 0; i < whole_space->mappings.count; i++) {
		const struct mapping *m = &whole_space->mappings.mapping[i];
		if (m->backing->store != store)
			continue;
		int64_t start = (int64_t)host_page_up((uintptr_t)size) - m->backing->delta;
		if (start < (int64_t)m->end)
			space_empty_range(whole_space,
			                  start > (int64_t)m->start ? (uintptr_t)start : m->start, m->end);
	}
	space_write_end(whole_space);
}

static bool how_truncates(const void *how)
{
	uint64_t flags;
	return guest_copy_in(&flags, how, sizeof(flags)) == 0 && flags & O_TRUNC;
}

/* The descriptor of the file that a call may have made shorter; -1: none. */
static int descriptor_of(const struct guest_call *call, long result)
{
	const long *a = call->argument;
	switch (call->number) {
	case SYS_ftruncate:
	case SYS_fallocate:
		return (int)a[0];
	case SYS_open:
		return a[1] & O_TRUNC ? (int)result : -1;
	case SYS_openat:
		return a[2] & O_TRUNC ? (int)result : -1;
	case SYS_openat2:
		return how_truncates((const void *)a[2]) ? (int)result : -1;
	case SYS_creat:
		return (int)result;
	default:
		return -1;
	}
}

void whole_call_done(struct guest_call *call, long result)
{
	struct stat status;
	char path[4096];
	if (result < 0)
		return;
	if (call->number == SYS_truncate) {
		if (guest_copy_string(path, (const char *)call->argument[0], sizeof(path)) < 0 ||
		    syscall_4(SYS_newfstatat, AT_FDCWD, path, &status, 0) < 0)
			return;
	} else {
		int descriptor = descriptor_of(call, result);
		if (descriptor < 0 || syscall_2(SYS_fstat, descriptor, &status) < 0 ||
		    !S_ISREG(status.st_mode))
			return;
	}
	whole_lock();
	const upage_store *store = whole_store(status.st_dev, status.st_ino);
	if (store != NULL)
		ended(store, status.st_size);
	whole_unlock();
}
