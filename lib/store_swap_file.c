/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store_swap_file.c - a sparse file as the medium of swap
 *
 * A child of a fork gets a file of its own, in the same directory (the default one if swap is a
 * block device), copied before the fork. If there is nothing to copy it makes the file when
 * it first writes: most children never do.
 *
 * A direct one is read and written past the host's page cache (O_DIRECT): every slot is at a multiple of a
 * host page, and so is the buffer. Nothing can be read without waiting then, but many requests can wait at once.
 *
 * Locking: `lock` (rank 3) guards the making of a file. Signal context: all but swap_file_create.
 */
#include "store_medium.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host.h"
#include "rlimit.h"
#include "store_aio.h"

#define SLOTS_UNLIMITED (UINT64_C(1) << 30) /* of address space for the bitmap: 128 MiB */

struct swap_file {
	struct medium medium;
	_Atomic int descriptor;  /* -1: not made yet */
	_Atomic int copy;        /* around a fork: the child's; else -1 */
	struct lock lock;        /* guards making it */
	char directory[PATH_MAX]; /* absolute: where children's are made */
};

/* ---- The file ---------------------------------------------------------------------------- */

static const char *default_directory(void)
{
	const char *path = getenv("TMPDIR");
	struct stat status;
	bool usable = path != NULL && path[0] != '\0' &&
	              syscall_4(SYS_newfstatat, AT_FDCWD, path, &status, 0) == 0 &&
	              S_ISDIR(status.st_mode);
	return usable ? path : "/tmp";
}

static int open_exclusive(const char *path)
{
	int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
	int descriptor = host_descriptor(SYS_openat, AT_FDCWD, (long)path, flags, 0600);
	if (descriptor >= 0)
		syscall_3(SYS_unlinkat, AT_FDCWD, path, 0);
	return descriptor;
}

/* Not by mkostemp: also called where no function of the C library may be. By itself, so that only who needs it has the
 * path on his stack. */
__attribute__((noinline)) static int open_and_unlink(const char *directory)
{
	static const char prefix[] = "/upage-swap-";
	char path[PATH_MAX];
	size_t length = strlen(directory);
	if (length + sizeof(prefix) + 16 > sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, directory, length);
	memcpy(path + length, prefix, sizeof(prefix) - 1);
	length += sizeof(prefix) - 1;
	int descriptor = -EEXIST;
	for (int attempt = 0; attempt < 100 && descriptor == -EEXIST; attempt++) {
		uint64_t number = host_ticks() * 0x9e3779b97f4a7c15u ^ (uint64_t)host_thread_id();
		for (unsigned i = 0; i < 16; i++)
			path[length + i] = "0123456789abcdef"[number >> 4 * i & 15];
		path[length + 16] = '\0';
		descriptor = open_exclusive(path);
	}
	return descriptor;
}

static int open_in_directory(const char *directory)
{
	int flags = O_RDWR | O_TMPFILE | O_CLOEXEC;
	int descriptor = host_descriptor(SYS_openat, AT_FDCWD, (long)directory, flags, 0600);
	bool has_none = descriptor == -EOPNOTSUPP || descriptor == -EISDIR || descriptor == -EINVAL;
	return has_none ? open_and_unlink(directory) : descriptor;
}

/* Return: 0, or UPAGE_ENOTSUP: not in that file system. Not by a flag of open(2), which may have made a file
 * when it finds out. */
static int set_direct(int descriptor)
{
	long flags = syscall_2(SYS_fcntl, descriptor, F_GETFL);
	long result = flags < 0 ? flags : syscall_3(SYS_fcntl, descriptor, F_SETFL, flags | O_DIRECT);
	return result == -EINVAL ? UPAGE_ENOTSUP : (int)result;
}

/* For a child of a fork. If that is another file system, which cannot, it is not direct. */
static int open_for_child(const struct swap_file *file)
{
	int descriptor = open_in_directory(file->directory);
	if (descriptor >= 0 && !file->medium.reads_cached)
		set_direct(descriptor);
	return descriptor;
}

/* @directory: out: where the file is, absolute. */
static int open_swap(const char *path, char *directory)
{
	struct stat status;
	long found = syscall_4(SYS_newfstatat, AT_FDCWD, path, &status, 0);
	if (found < 0 && found != -ENOENT)
		return (int)found;
	bool is_directory = found == 0 && S_ISDIR(status.st_mode);
	const char *place = path;
	size_t length = strlen(path), start = 0;
	if (found == 0 && S_ISBLK(status.st_mode)) {
		place = default_directory();
		length = strlen(place);
	} else if (!is_directory) {
		while (length > 0 && path[length - 1] != '/')
			length--;
	}
	if (place[0] != '/') {
		long n = syscall_2(SYS_getcwd, directory, PATH_MAX);
		start = n > 0 ? (size_t)n - 1 : 0;
		directory[start++] = '/';
	}
	if (start + length >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(directory + start, place, length);
	directory[start + length] = '\0';
	if (is_directory)
		return open_in_directory(path);
	if (found == 0 && S_ISBLK(status.st_mode))
		return (int)syscall_4(SYS_openat, AT_FDCWD, path, O_RDWR | O_EXCL | O_CLOEXEC, 0);
	return open_exclusive(path); /* refuses what exists: nobody's file is overwritten */
}

/* ---- Transfers ------------------------------------------------------------------------- */

/* The file; made now if there is none yet. Return: a descriptor or a negated errno value. */
static int swap_file_open(struct swap_file *file)
{
	lock_acquire(&file->lock);
	int descriptor = file->descriptor;
	if (descriptor < 0) {
		descriptor = host_process_borrows() ? -EMFILE : open_for_child(file);
		int result = descriptor < 0 ? descriptor : host_keep(&file->descriptor, descriptor);
		descriptor = result < 0 ? result : file->descriptor;
	}
	lock_release(&file->lock);
	return descriptor;
}

static void swap_file_submit(upage_store *store, struct store_request *request)
{
	struct swap_file *file = (struct swap_file *)store;
	int descriptor = file->descriptor;
	if (descriptor < 0)
		descriptor = swap_file_open(file);
	if (descriptor < 0)
		store_done(request, descriptor);
	else if (request->operation == STORE_READ)
		store_done(request, host_read(descriptor, request->buffer, request->length,
		                              request->offset));
	else if (request->operation == STORE_READ_CACHED && !file->medium.reads_cached)
		store_done(request, -EAGAIN);
	else if (request->operation == STORE_READ_CACHED)
		store_done(request, host_read_cached(descriptor, request->buffer, request->length,
		                                     request->offset));
	else
		store_done(request, host_write(descriptor, request->buffer, request->length,
		                               request->offset));
}

static void *swap_file_begin_all(upage_store *store, struct store_request *requests, unsigned count)
{
	const struct swap_file *file = (struct swap_file *)store;
	int descriptor = file->descriptor;
	return file->medium.gains_by_many && descriptor >= 0 ? store_aio_begin(descriptor, requests, count) : NULL;
}

/* What is not done then is done by itself. */
static unsigned swap_file_end_all(upage_store *store, void *way, struct store_request *requests, unsigned count)
{
	unsigned at_once = way != NULL ? store_aio_end(way) : 0;
	for (unsigned i = 0; i < count; i++)
		if (atomic_load(&requests[i].done) == 0)
			swap_file_submit(store, &requests[i]);
	return at_once;
}

static int swap_file_prepare(struct medium *medium)
{
	int descriptor = swap_file_open((struct swap_file *)medium);
	return descriptor < 0 ? descriptor : 0;
}

static int swap_file_sync(upage_store *store)
{
	(void)store; /* nobody reads it after us */
	return 0;
}

static void swap_file_discard(struct medium *medium, off_t offset, size_t length)
{
	int descriptor = ((struct swap_file *)medium)->descriptor;
	if (descriptor >= 0)
		host_punch(descriptor, offset, length);
}

/* ---- Copies for forks ------------------------------------------------------------------ */

static int swap_file_copy_begin(struct medium *medium)
{
	struct swap_file *file = (struct swap_file *)medium;
	int descriptor = open_for_child(file);
	return descriptor < 0 ? descriptor : host_keep(&file->copy, descriptor);
}

static int swap_file_copy(struct medium *medium, off_t offset, size_t length)
{
	struct swap_file *file = (struct swap_file *)medium;
	if ((uint64_t)offset + length > rlimit_file_hard())
		return -EFBIG; /* a write would say it by SIGXFSZ */
	return host_copy(file->descriptor, file->copy, offset, length);
}

static void swap_file_copy_end(struct medium *medium, bool shared)
{
	struct swap_file *file = (struct swap_file *)medium;
	if (shared)
		host_abandon(&file->copy);
	else
		host_drop(&file->copy);
}

static void swap_file_copy_adopt(struct medium *medium)
{
	struct swap_file *file = (struct swap_file *)medium;
	host_exchange(&file->descriptor, &file->copy);
}

/* ---- Life ---------------------------------------------------------------------------- */

static void swap_file_close(upage_store *store)
{
	host_drop(&((struct swap_file *)store)->descriptor);
	host_metadata_release(store, sizeof(struct swap_file));
}

static const struct store_ops swap_file_store = { .name = "file",
	                                          .submit = swap_file_submit,
	                                          .begin_all = swap_file_begin_all,
	                                          .end_all = swap_file_end_all,
	                                          .sync = swap_file_sync,
	                                          .close = swap_file_close };
static const struct medium_ops swap_file_medium = { .discard = swap_file_discard,
	                                            .prepare = swap_file_prepare,
	                                            .copy_begin = swap_file_copy_begin,
	                                            .copy = swap_file_copy,
	                                            .copy_end = swap_file_copy_end,
	                                            .copy_adopt = swap_file_copy_adopt };

static int create_at(struct swap_file **out, const char *path, bool direct)
{
	struct swap_file *file = host_metadata(sizeof(*file));
	if (file == NULL)
		return UPAGE_ENOMEM;
	file->medium.store = (struct upage_store){ .ops = &swap_file_store, .writable = true };
	file->medium.ops = &swap_file_medium;
	file->descriptor = file->copy = -1;
	file->medium.reads_cached = !direct;
	file->medium.gains_by_many = direct && store_aio_is_available();
	int descriptor = open_swap(path, file->directory);
	int failure = descriptor < 0 ? descriptor : host_keep(&file->descriptor, descriptor);
	if (failure == 0 && direct)
		failure = set_direct(file->descriptor);
	if (failure < 0) {
		host_drop(&file->descriptor);
		host_metadata_release(file, sizeof(*file));
		return failure;
	}
	*out = file;
	return 0;
}

int swap_file_create(struct medium **out, const struct swap_config *config, const char **used)
{
	const char *path = config->path[0] != '\0' ? config->path : default_directory();
	struct swap_file *file;
	int failure = create_at(&file, path, config->direct);
	if (failure < 0 && config->path[0] == '\0') { /* nobody meant that directory for us */
		path = "/tmp";
		failure = create_at(&file, path, config->direct);
	}
	*used = path;
	if (failure < 0)
		return failure;
	uint64_t slots = config->bytes >> config->page_shift;
	if (config->bytes == 0 || slots > SLOTS_UNLIMITED)
		slots = SLOTS_UNLIMITED;
	if (slots > rlimit_file_hard() >> config->page_shift)
		slots = rlimit_file_hard() >> config->page_shift;
	if (slots == 0) { /* of less than a page, or the hard limit of files is */
		swap_file_close(&file->medium.store);
		return -EFBIG;
	}
	file->medium.slots = slots;
	*out = &file->medium;
	return 0;
}
