/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * coherence.c - a file that is mapped privately changes: pages that were never written show it
 *
 * Natively such a page is the page cache's own, and shows what is written to the file until it is
 * written itself. Here it is a copy. So after each call of the program that writes to a file, copies
 * of what has changed are given up, to be read anew; and what lies past a file's new end is gone.
 * What other processes write, or this one through a shared mapping, is seen when a page is next read
 * from the file only.
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

/* Gives up copies in [start, end). */
static int visit_forget(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                        void *argument)
{
	const size_t page = space_page_size(space);
	(void)argument;
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i; end < count && pager_is_copy(space->pool, &ptes[end]);)
			end++;
		if (end > i)
			space_empty_range(space, address + i * page, address + end * page);
		else
			end++;
	}
	return 0;
}

/* Of a mapping, what shows [from, to) of its file. Return: whether there is any. */
static bool part_of(const struct mapping *m, int64_t from, int64_t to, uintptr_t *start, uintptr_t *end)
{
	int64_t first = (int64_t)m->start + m->backing->delta, last = (int64_t)m->end + m->backing->delta;
	from = from > first ? from : first;
	to = to < last ? to : last;
	if (from >= to)
		return false;
	*start = host_page_down((uintptr_t)(from - m->backing->delta));
	*end = host_page_up((uintptr_t)(to - m->backing->delta));
	return true;
}

/* Bytes [from, to) of a file may be others than before; its end is at @size. */
static void changed(const upage_store *store, int64_t from, int64_t to, int64_t size)
{
	rwlock_write(&whole_space->lock);
	for (size_t i = 0; i < whole_space->mappings.count; i++) {
		const struct mapping *m = &whole_space->mappings.mapping[i];
		uintptr_t start, end;
		if (m->backing->store != store)
			continue;
		if (part_of(m, from, to, &start, &end))
			space_each_run(whole_space, start, end, visit_forget, NULL);
		if (part_of(m, (int64_t)host_page_up((uintptr_t)size), INT64_MAX, &start, &end))
			space_empty_range(whole_space, start, end);
	}
	rwlock_write_release(&whole_space->lock);
}

/* The range of a file that a write has changed. */
static void find_range(const struct guest_call *call, long result, int64_t *from, int64_t *to)
{
	int64_t at;
	*from = 0;
	*to = INT64_MAX;
	switch (call->number) {
	case SYS_pwrite64:
	case SYS_pwritev:
	case SYS_pwritev2:
		at = call->argument[3];
		if (at < 0)
			return;
		break;
	case SYS_write:
	case SYS_writev:
		at = syscall_3(SYS_lseek, call->argument[0], 0, SEEK_CUR) - result;
		if (at < 0)
			return;
		break;
	default:
		return;
	}
	*from = at;
	*to = at + result;
}

/* The descriptor of the file that a call may have changed; -1: none. */
static int descriptor_of(const struct guest_call *call, long result)
{
	const long *a = call->argument;
	switch (call->number) {
	case SYS_write:
	case SYS_writev:
	case SYS_pwrite64:
	case SYS_pwritev:
	case SYS_pwritev2:
	case SYS_sendfile:
		return result > 0 ? (int)a[0] : -1;
	case SYS_ftruncate:
	case SYS_fallocate:
		return (int)a[0];
	case SYS_splice:
	case SYS_copy_file_range:
		return result > 0 ? (int)a[2] : -1;
	case SYS_open:
		return a[1] & O_TRUNC ? (int)result : -1;
	case SYS_openat:
		return a[2] & O_TRUNC ? (int)result : -1;
	case SYS_creat:
		return (int)result;
	default:
		return -1;
	}
}

void whole_call_done(struct guest_call *call, long result)
{
	struct stat status;
	char path[512];
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
	if (store != NULL) {
		int64_t from, to;
		find_range(call, result, &from, &to);
		changed(store, from, to, status.st_size);
	}
	whole_unlock();
}
