/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "compiler.h"
#include "syscall.h"

/* Newer than Debian 12's headers. */
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#define RESERVATION (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

static _Atomic size_t metadata_bytes;

static long map(uintptr_t address, size_t length, int prot, int flags, int descriptor, off_t offset)
{
	return syscall_6(SYS_mmap, (long)address, (long)length, prot, flags, descriptor,
	                 (long)offset);
}

static bool is_failure(long result)
{
	return result < 0 && result > -4096;
}

/* ---- Address space ------------------------------------------------------------------- */

int host_reserve(void *address, size_t length, void **base)
{
	int fixed = address != NULL ? MAP_FIXED_NOREPLACE : 0;
	long result = map((uintptr_t)address, length, PROT_NONE, RESERVATION | fixed, -1, 0);
	if (is_failure(result))
		return (int)result;
	if (address != NULL && (void *)result != address) { /* before Linux 4.17: a hint only */
		host_release((void *)result, length);
		return -EEXIST;
	}
	*base = (void *)result;
	return 0;
}

int host_release(void *base, size_t length)
{
	return (int)syscall_2(SYS_munmap, base, length);
}

int host_show(int memory, uintptr_t page, off_t offset, size_t length, int prot)
{
	long result = map(page, length, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, memory, offset);
	return is_failure(result) ? (int)result : 0;
}

int host_hide(uintptr_t page, size_t length)
{
	long result = map(page, length, PROT_NONE, RESERVATION | MAP_FIXED, -1, 0);
	return is_failure(result) ? (int)result : 0;
}

int host_protect(uintptr_t page, size_t length, int prot)
{
	return (int)syscall_3(SYS_mprotect, page, length, prot);
}

/* ---- Descriptors --------------------------------------------------------------------- */

uint64_t host_file_limit(void)
{
	struct rlimit limit;
	long result = syscall_4(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit);
	return result < 0 || limit.rlim_cur > INT64_MAX ? INT64_MAX : limit.rlim_cur;
}

int host_memory_create(uint64_t bytes)
{
	if (bytes > host_file_limit())
		return -EFBIG; /* ftruncate would say it by SIGXFSZ */
	/* Frames may hold code; kernels before 6.3 do not know the word for it. */
	long memory = syscall_2(SYS_memfd_create, "upage", MFD_CLOEXEC | MFD_EXEC);
	if (memory == -EINVAL)
		memory = syscall_2(SYS_memfd_create, "upage", MFD_CLOEXEC);
	if (memory < 0)
		return (int)memory;
	long result = syscall_2(SYS_ftruncate, memory, bytes);
	if (result < 0) {
		host_close((int)memory);
		return (int)result;
	}
	return (int)memory;
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

int host_write(int descriptor, const void *buffer, size_t length, off_t offset)
{
	size_t done = 0;
	while (done < length) {
		long n = syscall_4(SYS_pwrite64, descriptor, (const char *)buffer + done,
		                   length - done, offset + (off_t)done);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		done += (size_t)n;
	}
	return 0;
}

int host_zero(int descriptor, off_t offset, size_t length)
{
	static const char zeros[16 * 4096]; /* the kernel's one zero page, many times */
	while (length > 0) {
		size_t part = length < sizeof(zeros) ? length : sizeof(zeros);
		int result = host_write(descriptor, zeros, part, offset);
		if (result < 0)
			return result;
		offset += (off_t)part;
		length -= part;
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

/* ---- Metadata ------------------------------------------------------------------------ */

void *host_metadata(size_t bytes)
{
	bytes = round_up(bytes, HOST_PAGE_SIZE);
	long result = map(0, bytes, PROT_READ | PROT_WRITE, RESERVATION, -1, 0);
	if (is_failure(result))
		return NULL;
	atomic_fetch_add(&metadata_bytes, bytes);
	return (void *)result;
}

void host_metadata_release(void *memory, size_t bytes)
{
	bytes = round_up(bytes, HOST_PAGE_SIZE);
	host_release(memory, bytes);
	atomic_fetch_sub(&metadata_bytes, bytes);
}

size_t host_metadata_bytes(void)
{
	return atomic_load(&metadata_bytes);
}

_Atomic uint64_t *host_fork_word(void)
{
	static _Atomic(_Atomic uint64_t *) made;
	_Atomic uint64_t *word = atomic_load(&made);
	if (word == NULL) {
		word = host_metadata(HOST_PAGE_SIZE);
		if (word == NULL)
			return NULL;
		syscall_3(SYS_madvise, word, HOST_PAGE_SIZE, MADV_WIPEONFORK);
		atomic_store(&made, word);
	}
	if (atomic_load(word) == 0)
		atomic_store(word, host_ticks() | 1);
	return word;
}

/* ---- The mapping limit --------------------------------------------------------------- */

static uint64_t count_bytes(const char *path, char wanted, uint64_t *number)
{
	char buffer[4096];
	uint64_t count = 0;
	long n, file = syscall_4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (file < 0)
		return 0;
	while ((n = syscall_3(SYS_read, file, buffer, sizeof(buffer))) > 0) {
		for (long i = 0; i < n; i++) {
			count += buffer[i] == wanted;
			if (number != NULL && buffer[i] >= '0' && buffer[i] <= '9')
				*number = *number * 10 + (uint64_t)(buffer[i] - '0');
		}
	}
	host_close((int)file);
	return count;
}

uint64_t host_mapping_budget(void)
{
	uint64_t limit = 0;
	count_bytes("/proc/sys/vm/max_map_count", '\n', &limit);
	if (limit == 0)
		limit = 65530;
	uint64_t present = count_bytes("/proc/self/maps", '\n', NULL);
	/* An eighth for the program's own later mappings: libraries, stacks, its malloc. */
	uint64_t reserve = present + limit / 8;
	return reserve + 64 < limit ? limit - reserve : 64;
}

/* ---- Clocks and threads -------------------------------------------------------------- */

uint64_t host_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	uint64_t ticks;
	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
#endif
}

uint64_t host_nanoseconds(void)
{
	struct timespec now;
	syscall_2(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void host_yield(void)
{
	syscall_6(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

int host_thread_id(void)
{
	return (int)syscall_6(SYS_gettid, 0, 0, 0, 0, 0, 0);
}
