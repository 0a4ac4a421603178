/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host_file.c - the files that memory, swap and mappings lie in: made, read, written, copied
 *
 * What we write is beyond the program's RLIMIT_FSIZE (rlimit.h). errno is never touched.
 * Signal context: yes. Source: memfd_create(2), pread(2), fallocate(2), copy_file_range(2), lseek(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"
#include "rlimit.h"
#include "syscall.h"

/* Newer than Debian 12's headers. */
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

/* Of a file that is copied through memory. */
#define COPY_PIECE ((size_t)256 << 10)

int host_descriptor(long number, long a, long b, long c, long d)
{
	long result = syscall_4(number, a, b, c, d);
	return (int)(result == -EMFILE ? rlimit_descriptor_call(number, a, b, c, d, false) : result);
}

int host_memory_create(uint64_t bytes)
{
	if (bytes > rlimit_file_hard())
		return -EFBIG; /* ftruncate would say it by SIGXFSZ */
	/* Frames may hold code; kernels before 6.3 do not know the word for it. */
	const long name = (long)"upage";
	int memory = host_descriptor(SYS_memfd_create, name, MFD_CLOEXEC | MFD_EXEC, 0, 0);
	if (memory == -EINVAL)
		memory = host_descriptor(SYS_memfd_create, name, MFD_CLOEXEC, 0, 0);
	if (memory < 0)
		return memory;
	const long lengthen[7] = { SYS_ftruncate, memory, (long)bytes };
	long result = rlimit_file_call(bytes, lengthen);
	if (result < 0) {
		host_close(memory);
		return (int)result;
	}
	return memory;
}

ssize_t host_read_file(int descriptor, void *buffer, size_t length, off_t offset)
{
	size_t done = 0;
	while (done < length) {
		long n = syscall_4(SYS_pread64, descriptor, (char *)buffer + done, length - done,
		                   offset + (off_t)done);
		if (n == -EINTR)
			continue;
		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int host_read(int descriptor, void *buffer, size_t length, off_t offset)
{
	ssize_t n = host_read_file(descriptor, buffer, length, offset);
	return n < 0 ? (int)n : (size_t)n == length ? 0 : -EIO;
}

int host_read_cached(int descriptor, void *buffer, size_t length, off_t offset)
{
	struct iovec whole = { buffer, length };
	long n = syscall_6(SYS_preadv2, descriptor, (long)&whole, 1, (long)offset, 0, RWF_NOWAIT);
	if (n == -EOPNOTSUPP) /* not every file system can say */
		return host_read(descriptor, buffer, length, offset);
	return n == (long)length ? 0 : n < 0 ? (int)n : -EAGAIN;
}

int host_write(int descriptor, const void *buffer, size_t length, off_t offset)
{
	size_t done = 0;
	while (done < length) {
		const long call[7] = { SYS_pwrite64, descriptor, (long)buffer + (long)done,
			               (long)(length - done), (long)offset + (long)done };
		long n = rlimit_file_call((uint64_t)offset + length, call);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* One page, again and again: an array of as many would be a part of each program's file. */
#define ZEROS_MOST 64

int host_zero(int descriptor, off_t offset, size_t length)
{
	static const char zeros[HOST_PAGE_SIZE];
	struct iovec pages[ZEROS_MOST];
	while (length > 0) {
		size_t part = 0, count = 0;
		for (; count < ZEROS_MOST && part < length; part += pages[count++].iov_len) {
			size_t left = length - part;
			pages[count] = (struct iovec){ (void *)zeros, left < sizeof(zeros) ? left : sizeof(zeros) };
		}
		const long call[7] = { SYS_pwritev, descriptor, (long)pages, (long)count, (long)offset, 0 };
		long n = rlimit_file_call((uint64_t)offset + part, call);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		offset += (off_t)n;
		length -= (size_t)n;
	}
	return 0;
}

int host_punch(int descriptor, off_t offset, size_t length)
{
	return (int)syscall_4(SYS_fallocate, descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	                      offset, length);
}

int host_sync(int descriptor)
{
	return (int)syscall_1(SYS_fdatasync, descriptor);
}

int64_t host_file_size(int descriptor)
{
	struct stat status;
	long result = syscall_2(SYS_fstat, descriptor, &status);
	return result < 0 ? result : (int64_t)status.st_size;
}

void host_close(int descriptor)
{
	syscall_1(SYS_close, descriptor);
}

/* For what the host will not copy itself: not every kernel does between all file systems. */
static int copy_through_memory(int from, int to, off_t offset, size_t length)
{
	void *buffer = host_metadata(COPY_PIECE);
	if (buffer == NULL)
		return -ENOMEM;
	int result = 0;
	while (length > 0 && result == 0) {
		size_t part = length < COPY_PIECE ? length : COPY_PIECE;
		ssize_t n = host_read_file(from, buffer, part, offset);
		if (n > 0)
			result = host_write(to, buffer, (size_t)n, offset);
		else
			result = (int)n;
		if (n < (ssize_t)part)
			break; /* the rest was never written */
		offset += (off_t)part;
		length -= part;
	}
	host_metadata_release(buffer, COPY_PIECE);
	return result;
}

static int copy_whole(int from, int to, off_t offset, size_t length)
{
	int64_t in = offset, out = offset;
	while (length > 0) {
		const long call[7] = { SYS_copy_file_range, from, (long)&in, to, (long)&out,
			               (long)length };
		long n = rlimit_file_call((uint64_t)out + length, call);
		if (n == -EINTR)
			continue;
		if (n == -ENOSPC || n == -EDQUOT || n == -EFBIG || n == -EIO || n == -ENOMEM)
			return (int)n;
		if (n <= 0)
			return copy_through_memory(from, to, (off_t)in, length);
		length -= (size_t)n;
	}
	return 0;
}

/* From which on a file is searched for holes in it: that takes two calls. */
#define HOLES_WORTH ((size_t)256 << 10)

int host_copy(int from, int to, off_t offset, size_t length)
{
	const off_t end = offset + (off_t)length;
	int result = 0;
	while (length >= HOLES_WORTH && result == 0 && offset < end) {
		off_t data = (off_t)syscall_3(SYS_lseek, from, offset, SEEK_DATA);
		if (data == -ENXIO || data >= end)
			return 0;
		/* Of a device it is told something else, or nothing. */
		data = data < offset ? offset : data;
		off_t hole = (off_t)syscall_3(SYS_lseek, from, data, SEEK_HOLE);
		hole = hole <= data || hole > end ? end : hole;
		result = copy_whole(from, to, data, (size_t)(hole - data));
		offset = hole;
	}
	return length < HOLES_WORTH ? copy_whole(from, to, offset, length) : result;
}

/* ---- Moving inside a file of memory ------------------------------------------------------ */

#define MOVE_PIECE ((off_t)1 << 20)

static bool is_hole(int memory, off_t offset, off_t length)
{
	off_t data = (off_t)syscall_3(SYS_lseek, memory, offset, SEEK_DATA);
	return data == -ENXIO || data >= offset + length;
}

/* Two pieces that do not overlap. The buffer is for kernels that do not copy inside a file. */
static int move_piece(int memory, off_t from, off_t to, off_t length, void **buffer)
{
	if (is_hole(memory, from, length))
		return host_punch(memory, to, (size_t)length);
	while (length > 0) {
		const long copy[7] = { SYS_copy_file_range, memory, (long)&from, memory, (long)&to,
			               (long)length };
		long n = *buffer != NULL ? -ENOSYS : rlimit_file_call((uint64_t)(to + length), copy);
		if (n == -EINTR)
			continue;
		if (n <= 0 && *buffer == NULL)
			*buffer = host_metadata(COPY_PIECE);
		if (n <= 0) {
			size_t part = length < (off_t)COPY_PIECE ? (size_t)length : COPY_PIECE;
			int result = *buffer == NULL ? -ENOMEM : host_read(memory, *buffer, part, from);
			if (result == 0)
				result = host_write(memory, *buffer, part, to);
			if (result < 0)
				return result;
			n = (long)part;
			from += n;
			to += n;
		}
		length -= n;
	}
	return 0;
}

/* From the end that the other place does not overlap. */
int host_memory_move(int memory, off_t from, off_t to, size_t length)
{
	off_t distance = from > to ? from - to : to - from;
	off_t piece = distance < MOVE_PIECE ? distance : MOVE_PIECE;
	void *buffer = NULL;
	int result = 0;
	for (off_t left = (off_t)length, part; left > 0 && result == 0; left -= part) {
		part = left < piece ? left : piece;
		off_t at = to < from ? (off_t)length - left : left - part;
		result = move_piece(memory, from + at, to + at, part, &buffer);
	}
	if (buffer != NULL)
		host_metadata_release(buffer, COPY_PIECE);
	return result;
}
