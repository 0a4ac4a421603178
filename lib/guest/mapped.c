/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mapped.c - the files that a whole program maps: one store each, and when its descriptor may be closed
 *
 * Locks of two kinds end with descriptors. Those of flock(2), and leases, end with the last one: so a store goes
 * as soon as nothing is mapped from it. Record locks (fcntl(2), POSIX) end with the first one that the process
 * closes: so of a file that it may have locked none of ours is ever closed, and it is copied to a high number
 * at once. An execve leaves them open, and the successor takes them over. The child of a fork has no locks.
 *
 * What is not covered: a descriptor of ours that has to move, because the program wants its number or raises its
 * limit of them.
 *
 * Locks: whole.h's. Signal context: that of guest/call.h.
 * Source: fcntl(2), flock(2); filp_close() in fs/open.c and fs/locks.c of Linux.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "host.h"
#include "map.h"
#include "syscall.h"
#include "whole.h"

/* ---- Stores ---------------------------------------------------------------------------------- */

/* One store a file, however often it is mapped: each holds a descriptor. */
#define FILES_MAX 65536
static upage_store *files[FILES_MAX];
static unsigned files_end; /* all after it are NULL */

upage_store *whole_store(uint64_t device, uint64_t inode)
{
	for (unsigned i = 0; i < files_end; i++)
		if (files[i] != NULL && files[i]->device == device && files[i]->inode == inode)
			return files[i];
	return NULL;
}

/* ---- Record locks ---------------------------------------------------------------------------- */

/* Files of which this process may have record locks. */
static struct {
	uint64_t device, inode;
	int descriptor; /* the program's: while there is a lock it is open */
} locked[WHOLE_LOCKED_MAX];
static _Atomic unsigned locked_count; /* WHOLE_LOCKED_MAX: it may be any */
static _Atomic unsigned locking;      /* calls under way that may lock: none is forgotten meanwhile */

/* Its place in the list; if it is not there, the end. */
static unsigned locked_find(uint64_t device, uint64_t inode)
{
	unsigned i = 0;
	while (i < locked_count && (locked[i].device != device || locked[i].inode != inode))
		i++;
	return i;
}

static bool is_locked(uint64_t device, uint64_t inode)
{
	return locked_count == WHOLE_LOCKED_MAX || locked_find(device, inode) < locked_count;
}

static void note(const struct stat *status, int descriptor)
{
	unsigned i = locked_find(status->st_dev, status->st_ino);
	if (i == WHOLE_LOCKED_MAX)
		return;
	locked[i].device = status->st_dev;
	locked[i].inode = status->st_ino;
	locked[i].descriptor = descriptor;
	locked_count = i == locked_count ? i + 1 : locked_count;
}

void whole_file_locked(int descriptor)
{
	struct stat status;
	atomic_fetch_add(&locking, 1);
	if (syscall_2(SYS_fstat, descriptor, &status) < 0)
		return;
	whole_lock();
	note(&status, descriptor);
	whole_unlock();
}

void whole_file_locked_end(void)
{
	atomic_fetch_sub(&locking, 1);
}

void whole_file_closes(int descriptor)
{
	struct stat status;
	if (whole_space == NULL || atomic_load(&locked_count) == 0 || host_process_borrows())
		return;
	long mode = syscall_3(SYS_fcntl, descriptor, F_GETFL, 0);
	if (mode < 0 || mode & O_PATH || syscall_2(SYS_fstat, descriptor, &status) < 0)
		return;
	whole_lock();
	unsigned i = locked_find(status.st_dev, status.st_ino);
	if (i < locked_count && locked_count < WHOLE_LOCKED_MAX && atomic_load(&locking) == 0) {
		locked[i] = locked[--locked_count];
		atomic_store(&store_was_left, true);
	}
	whole_unlock();
}

void whole_files_unlocked(void)
{
	locked_count = 0;
	locking = 0;
	atomic_store(&store_was_left, true); /* what was kept for a lock of the parent's */
}

/* ---- When they come and go ------------------------------------------------------------------- */

/* Closes the stores that nothing is mapped from any more. */
static void close_idle(void)
{
	for (unsigned i = 0; i < files_end; i++)
		if (files[i] != NULL && !is_locked(files[i]->device, files[i]->inode) &&
		    upage_store_close(files[i]) == 0)
			files[i] = NULL;
}

void whole_files_idle(void)
{
	if (!atomic_load(&store_was_left) || host_process_borrows())
		return;
	whole_lock();
	atomic_store(&store_was_left, false);
	close_idle();
	whole_unlock();
}

/* A place in the list, and a store in it. @open: of a descriptor, or of a copy of it. */
static int file_add(int descriptor, int open(upage_store **out, int descriptor), upage_store **out)
{
	unsigned free = 0;
	close_idle();
	while (free < files_end && files[free] != NULL)
		free++;
	if (free == FILES_MAX)
		return -ENFILE;
	int result = open(&files[free], descriptor);
	if (result == 0)
		files_end = free == files_end ? free + 1 : files_end;
	*out = files[free];
	return result;
}

int whole_file(int descriptor, const struct stat *status, upage_store **out)
{
	*out = whole_store(status->st_dev, status->st_ino);
	return *out != NULL ? 0 : file_add(descriptor, store_open_descriptor, out);
}

/* ---- Executing ------------------------------------------------------------------------------- */

/* Whether the program's descriptor still leads to a file that is locked, and what mode it has. */
static bool leads(unsigned at, long *mode, struct stat *status)
{
	*mode = syscall_3(SYS_fcntl, locked[at].descriptor, F_GETFL, 0);
	return *mode >= 0 && !(*mode & O_PATH) && syscall_2(SYS_fstat, locked[at].descriptor, status) == 0 &&
	       status->st_dev == locked[at].device && status->st_ino == locked[at].inode;
}

/* The descriptor of ours of a file that is locked, by the program's; -1: that does not lead to it any more, or it
 * cannot be read by it, or be mapped: a copy that is no store's would have to be closed. Nor does one get a store who
 * borrows the memory that it were in: its descriptors are its own. */
static int own_descriptor(unsigned at)
{
	long mode;
	struct stat status;
	upage_store *store = whole_store(locked[at].device, locked[at].inode);
	if (store == NULL && !host_process_borrows() && leads(at, &mode, &status) &&
	    (mode & O_ACCMODE) != O_WRONLY && S_ISREG(status.st_mode))
		whole_file(locked[at].descriptor, &status, &store);
	return store != NULL ? atomic_load(store->descriptor) : -1;
}

int whole_locked_file(const struct stat *status)
{
	if (locked_count == 0)
		return -1;
	whole_lock();
	unsigned i = locked_find(status->st_dev, status->st_ino);
	int descriptor = i < locked_count ? own_descriptor(i) : -1;
	whole_unlock();
	return descriptor;
}

/* Whether a lock of a file may outlive an execve: none does that closes one of its descriptors. */
static bool outlives(uint64_t device, uint64_t inode)
{
	long mode;
	struct stat status;
	unsigned i = locked_find(device, inode);
	if (i == locked_count)
		return locked_count == WHOLE_LOCKED_MAX;
	return host_owns_descriptor(locked[i].descriptor) || !leads(i, &mode, &status) ||
	       syscall_2(SYS_fcntl, locked[i].descriptor, F_GETFD) != FD_CLOEXEC;
}

size_t whole_files_leave(int program, int numbers[WHOLE_LOCKED_MAX], bool begins)
{
	struct stat status;
	size_t count = 0;
	if (host_process_borrows()) /* the locks are another's */
		return 0;
	whole_lock();
	for (unsigned i = 0; locked_count > 0 && i < files_end; i++)
		if (files[i] != NULL && outlives(files[i]->device, files[i]->inode) && count < WHOLE_LOCKED_MAX - 1)
			numbers[count++] = atomic_load(files[i]->descriptor);
	/* Not more than can be told of: the execve would close them. */
	for (unsigned i = 0; begins && i < locked_count && count < WHOLE_LOCKED_MAX - 1; i++) {
		bool kept = whole_store(locked[i].device, locked[i].inode) != NULL ||
		            syscall_2(SYS_fcntl, locked[i].descriptor, F_GETFD) != 0;
		int own = kept ? -1 : own_descriptor(i);
		if (own >= 0)
			numbers[count++] = own;
	}
	if (locked_count > 0 && syscall_2(SYS_fstat, program, &status) == 0 &&
	    is_locked(status.st_dev, status.st_ino))
		numbers[count++] = program;
	for (size_t i = 0; i < count; i++)
		syscall_3(SYS_fcntl, numbers[i], F_SETFD, begins ? 0 : FD_CLOEXEC);
	whole_unlock();
	return count;
}

void whole_file_take(int descriptor)
{
	upage_store *store;
	struct stat status;
	if (syscall_2(SYS_fstat, descriptor, &status) < 0)
		return;
	syscall_3(SYS_fcntl, descriptor, F_SETFD, FD_CLOEXEC);
	whole_lock();
	note(&status, descriptor);
	file_add(descriptor, store_take_descriptor, &store);
	whole_unlock();
}
