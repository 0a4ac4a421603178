/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store_file.c - a mapped file as a backing store
 *
 * As with mmap(2): the part of the last page past the end of the file reads as zero and is
 * never written, so that a mapping does not lengthen a file; a page wholly past the end has
 * no content at all.
 */
#include "store.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"
#include "syscall.h"

struct file_store {
	struct upage_store store;
	_Atomic int descriptor;
};

static int file_read(struct file_store *file, struct store_request *request)
{
	ssize_t n = host_read_file(file->descriptor, request->buffer, request->length,
	                           request->offset);
	if (n <= 0)
		return n < 0 ? (int)n : STORE_PAST_END;
	request->moved = (size_t)n;
	/* No memset: it may be bound lazily, or instrumented, where we are. */
	for (char *c = (char *)request->buffer + n; c < (char *)request->buffer + request->length;)
		*c++ = 0;
	return 0;
}

static int file_write(struct file_store *file, struct store_request *request)
{
	int64_t size = host_file_size(file->descriptor);
	if (size < 0)
		return (int)size;
	if (request->offset >= size)
		return 0;
	size_t length = request->length;
	if ((int64_t)length > size - request->offset)
		length = (size_t)(size - request->offset);
	return host_write(file->descriptor, request->buffer, length, request->offset);
}

static void file_submit(upage_store *store, struct store_request *request)
{
	struct file_store *file = (struct file_store *)store;
	store_done(request, request->operation == STORE_READ ? file_read(file, request)
	                                                     : file_write(file, request));
}

static int file_sync(upage_store *store)
{
	return host_sync(((struct file_store *)store)->descriptor);
}

static void file_close(upage_store *store)
{
	struct file_store *file = (struct file_store *)store;
	host_drop(&file->descriptor);
	host_metadata_release(file, sizeof(*file));
}

static const struct store_ops file_ops = {
	.name = "file", .clusters = true, .submit = file_submit, .sync = file_sync, .close = file_close
};

/* @descriptor becomes the store's, or is closed. */
static int file_create(upage_store **out, int descriptor, bool writable)
{
	struct stat status;
	struct file_store *file = NULL;
	int failure = (int)syscall_2(SYS_fstat, descriptor, &status);
	if (failure == 0 && !S_ISREG(status.st_mode))
		failure = UPAGE_EINVAL;
	if (failure == 0 && (file = host_metadata(sizeof(*file))) == NULL)
		failure = UPAGE_ENOMEM;
	if (failure < 0) {
		host_close(descriptor);
		return failure;
	}
	file->store = (struct upage_store){ .ops = &file_ops,
		                            .writable = writable,
		                            .device = status.st_dev,
		                            .inode = status.st_ino };
	failure = host_keep(&file->descriptor, descriptor);
	if (failure < 0) {
		host_metadata_release(file, sizeof(*file));
		return failure;
	}
	*out = &file->store;
	return 0;
}

int store_take_descriptor(upage_store **out, int descriptor)
{
	int result = file_create(out, descriptor, false);
	if (result == 0)
		(*out)->descriptor = &((struct file_store *)*out)->descriptor;
	return result;
}

int store_open_descriptor(upage_store **out, int descriptor)
{
	int copy = host_copy_descriptor(descriptor);
	return copy < 0 ? copy : store_take_descriptor(out, copy);
}

PUBLIC int upage_store_open(upage_store **out, const char *path, unsigned flags)
{
	if (out == NULL || path == NULL || (flags & ~UPAGE_STORE_WRITABLE) != 0)
		return UPAGE_EINVAL;
	char name[PATH_MAX]; /* the kernel must not be handed paged memory */
	if (strlen(path) >= sizeof(name))
		return -ENAMETOOLONG;
	strcpy(name, path);
	bool writable = flags & UPAGE_STORE_WRITABLE;
	int saved = errno;
	/* O_NONBLOCK: not to wait for the other end of a pipe, only to refuse it then. */
	int flag = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int descriptor = open(name, flag);
	int failure = descriptor < 0 ? -errno : 0;
	errno = saved;
	if (failure < 0)
		return failure;
	return file_create(out, descriptor, writable);
}
