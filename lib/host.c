/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "compiler.h"
#include "rlimit.h"
#include "syscall.h"

/* As many at the end of what the program may have, where ours are then. */
#define NUMBERS_OURS 64

#define RESERVATION (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

static _Atomic size_t metadata_bytes;

static long map(uintptr_t address, size_t length, int prot, int flags, int descriptor, off_t offset)
{
	return host_mapping_call(SYS_mmap, (long)address, (long)length, prot, flags, descriptor, (long)offset);
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
	return (int)host_hiding_call(SYS_munmap, (long)base, (long)length, 0, 0, 0, 0);
}

int host_reserve_aligned(size_t length, size_t alignment, size_t offset, void **base)
{
	void *start;
	if (length > SIZE_MAX - alignment)
		return -ENOMEM;
	int result = host_reserve(NULL, length + alignment, &start);
	if (result < 0)
		return result;
	size_t before = (offset - (uintptr_t)start) & (alignment - 1);
	if (before > 0)
		host_release(start, before);
	*base = (char *)start + before;
	host_release((char *)*base + length, alignment - before);
	return 0;
}

/* ---- Moving what is shown ------------------------------------------------------------- */

int host_move(uintptr_t from, uintptr_t to, size_t length)
{
	long result = host_mapping_call(SYS_mremap, (long)from, (long)length, (long)length,
	                                MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, (long)to, 0);
	return is_failure(result) ? (int)result : 0;
}

/* Tried with two mappings of our own that the host cannot join. */
bool host_can_move(void)
{
	const size_t length = 2 * HOST_PAGE_SIZE;
	void *start;
	if (host_reserve(NULL, 2 * length, &start) < 0)
		return false;
	uintptr_t from = (uintptr_t)start, to = from + length;
	bool can = host_protect(from, HOST_PAGE_SIZE, PROT_READ) == 0 && host_move(from, to, length) == 0;
	host_release(start, 2 * length);
	return can;
}

bool host_counts_addresses(void)
{
	struct rlimit limit;
	long result = syscall_4(SYS_prlimit64, 0, RLIMIT_AS, NULL, &limit);
	return result < 0 || limit.rlim_cur != RLIM_INFINITY;
}

/* ---- Showing --------------------------------------------------------------------------- */

int host_show(int memory, uintptr_t page, off_t offset, size_t length, int prot)
{
	long result = map(page, length, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, memory, offset);
	return is_failure(result) ? (int)result : 0;
}

int host_show_file(int file, uintptr_t page, off_t offset, size_t length, int prot)
{
	long result = map(page, length, prot, MAP_PRIVATE | MAP_FIXED, file, offset);
	return is_failure(result) ? (int)result : 0;
}

int host_show_lazily(int memory, uintptr_t page, off_t offset, size_t length, int prot)
{
	long result = map(page, length, prot, MAP_SHARED | MAP_FIXED, memory, offset);
	return is_failure(result) ? (int)result : 0;
}

static uintptr_t holes_start, holes_end;

void host_leave_holes(uintptr_t start, uintptr_t end)
{
	holes_start = start;
	holes_end = end;
	atomic_store(&host_spares_from, HOST_SPARES_LATE);
}

int host_hide(uintptr_t page, size_t length)
{
	if (page >= holes_start && page < holes_end)
		return host_release((void *)page, length);
	long result = host_hiding_call(SYS_mmap, (long)page, (long)length, PROT_NONE, RESERVATION | MAP_FIXED, -1, 0);
	return is_failure(result) ? (int)result : 0;
}

int host_borrow(int memory, off_t offset, size_t length, void **at)
{
	long result = map(0, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memory, offset);
	if (is_failure(result))
		return (int)result;
	/* Whether all are there is only said here. Before Linux 5.14 it is not known. */
	*at = (void *)result;
	result = syscall_3(SYS_madvise, *at, length, MADV_POPULATE_WRITE);
	if (result == 0 || result == -EINVAL)
		return 0;
	host_release(*at, length);
	return (int)result;
}

int host_show_borrowed(void *at, uintptr_t page, size_t length)
{
	long result = host_mapping_call(SYS_mremap, (long)at, (long)length, (long)length,
	                                MREMAP_MAYMOVE | MREMAP_FIXED, (long)page, 0);
	return is_failure(result) ? (int)result : 0;
}

int host_protect(uintptr_t page, size_t length, int prot)
{
	return (int)host_mapping_call(SYS_mprotect, (long)page, (long)length, prot, 0, 0, 0);
}

/* ---- References ---------------------------------------------------------------------- */

#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_BATCH 64 /* host pages, a word each */
#define THIS_PROCESS (-10001) /* PIDFD_SELF_THREAD_GROUP, since Linux 6.14 */

static _Atomic int pagemap = -1;
static _Atomic bool pagemap_tried;

/* Of this process's address space; -1: there is none yet, or another thread is just opening it. */
static int pagemap_descriptor(void)
{
	if (atomic_load(&pagemap) < 0 && !atomic_load(&pagemap_tried) && !host_process_borrows() &&
	    !atomic_exchange(&pagemap_tried, true)) {
		long opened = syscall_4(SYS_openat, AT_FDCWD, "/proc/self/pagemap",
		                        O_RDONLY | O_CLOEXEC, 0);
		if (opened >= 0)
			host_keep(&pagemap, (int)opened); /* or it is closed */
	}
	return atomic_load(&pagemap);
}

int host_age(const struct iovec *ranges, unsigned count)
{
	if (pagemap_descriptor() < 0)
		return -ENOTSUP;
	/* One call where the kernel can, so that it interrupts other processors once. */
	size_t bytes = 0;
	for (unsigned i = 0; i < count; i++)
		bytes += ranges[i].iov_len;
	if (syscall_6(SYS_process_madvise, THIS_PROCESS, (long)ranges, count, MADV_DONTNEED, 0, 0) ==
	    (long)bytes)
		return 0;
	long result = 0;
	for (unsigned i = 0; i < count && result == 0; i++)
		result = syscall_3(SYS_madvise, ranges[i].iov_base, ranges[i].iov_len, MADV_DONTNEED);
	return (int)result;
}

uint64_t host_references(uintptr_t page, size_t length, unsigned count)
{
	uint64_t words[PAGEMAP_BATCH], first = page / HOST_PAGE_SIZE, each = length / HOST_PAGE_SIZE;
	uint64_t references = 0;
	for (uint64_t done = 0, all = each * count; done < all;) {
		size_t n = all - done < PAGEMAP_BATCH ? (size_t)(all - done) : PAGEMAP_BATCH;
		if (host_read(pagemap_descriptor(), words, n * sizeof(words[0]),
		              (off_t)((first + done) * sizeof(words[0]))) < 0)
			return 0;
		for (size_t i = 0; i < n; i++, done++)
			references |= (words[i] & PAGEMAP_PRESENT ? UINT64_C(1) : 0) << done / each;
	}
	return references;
}

/* By move_pages, which moves none if it is not told where to: it says on which node each one is, or
 * that the page table has none. Return: whether the host can. */
static bool ask_nodes(const uintptr_t *pages, size_t length, unsigned count, uint64_t *references)
{
	uintptr_t asked[PAGEMAP_BATCH];
	int nodes[PAGEMAP_BATCH];
	uint64_t each = length / HOST_PAGE_SIZE, all = each * count;
	*references = 0;
	for (uint64_t done = 0, n; done < all; done += n) {
		n = all - done < PAGEMAP_BATCH ? all - done : PAGEMAP_BATCH;
		for (uint64_t i = 0; i < n; i++)
			asked[i] = pages[(done + i) / each] + (done + i) % each * HOST_PAGE_SIZE;
		if (syscall_6(SYS_move_pages, 0, (long)n, (long)asked, 0, (long)nodes, 0) != 0)
			return false;
		for (uint64_t i = 0; i < n; i++)
			*references |= (nodes[i] >= 0 ? UINT64_C(1) : 0) << (done + i) / each;
	}
	return true;
}

uint64_t host_references_each(const uintptr_t *pages, size_t length, unsigned count)
{
	static _Atomic bool refused; /* a kernel without NUMA, or a filter */
	uint64_t references = 0;
	if (!atomic_load(&refused) && ask_nodes(pages, length, count, &references))
		return references;
	atomic_store(&refused, true);
	for (unsigned i = 0; i < count; i++)
		references |= (host_references(pages[i], length, 1) & 1) << i;
	return references;
}

void host_references_fork_child(bool share_files)
{
	bool open = atomic_load(&pagemap) >= 0;
	if (share_files)
		host_abandon(&pagemap); /* and none of our own, which the parent would not know of */
	else
		host_drop(&pagemap);
	atomic_store(&pagemap_tried, share_files);
	if (open)
		pagemap_descriptor();
}

int host_populate(uintptr_t page, size_t length, bool write)
{
	return (int)syscall_3(SYS_madvise, page, length,
	                      write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

uint64_t host_stack_limit(void)
{
	struct rlimit limit;
	long result = syscall_4(SYS_prlimit64, 0, RLIMIT_STACK, NULL, &limit);
	return result < 0 ? 0 : limit.rlim_cur;
}

/* ---- Descriptors of the library's own -------------------------------------------------- */

/* A slot of the table. Whoever changes a number makes it BUSY first; slots are never given
 * back, so that a look needs no lock. */
struct kept {
	_Atomic int number; /* plus one; 0: the slot is free; KEPT_BUSY: it changes just now */
	_Atomic(_Atomic int *) holder; /* NULL: nobody's here */
};

#define KEPT_BUSY (-1)

static struct kept kept[HOST_DESCRIPTORS_MAX];
static _Atomic unsigned kept_end; /* slots that were ever used */

int host_descriptors_begin(void)
{
	struct rlimit limit;
	if (syscall_4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) < 0)
		limit.rlim_cur = limit.rlim_max = 1024;
	if (limit.rlim_cur < limit.rlim_max && limit.rlim_cur < RLIMIT_DESCRIPTORS_END)
		return (int)limit.rlim_cur;
	uint64_t end = limit.rlim_cur < RLIMIT_DESCRIPTORS_END ? limit.rlim_cur : RLIMIT_DESCRIPTORS_END;
	return (int)(end > 2 * NUMBERS_OURS ? end - NUMBERS_OURS : end / 2);
}

/* A copy of @descriptor out of the program's way. */
static long copy_high(int descriptor)
{
	long high = rlimit_descriptor_call(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC, 0, 0, true);
	return high >= 0 ? high : syscall_3(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC, host_descriptors_begin());
}

int host_copy_descriptor(int descriptor)
{
	long high = copy_high(descriptor);
	return high >= 0 ? (int)high : (int)syscall_3(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC, 0);
}

int host_raise(int descriptor)
{
	if (descriptor >= host_descriptors_begin())
		return descriptor;
	long high = copy_high(descriptor);
	if (high < 0) /* it stays where it is: the program has taken all the others */
		return descriptor;
	host_close(descriptor);
	return (int)high;
}

static struct kept *kept_take(void)
{
	for (unsigned i = 0; i < HOST_DESCRIPTORS_MAX; i++) {
		int number = 0;
		if (!atomic_compare_exchange_strong(&kept[i].number, &number, KEPT_BUSY))
			continue;
		unsigned end = atomic_load(&kept_end);
		while (end <= i && !atomic_compare_exchange_weak(&kept_end, &end, i + 1))
			;
		return &kept[i];
	}
	return NULL;
}

static _Atomic int owner; /* of the memory, and of our descriptors: a process id; 0: nobody yet */

void host_process_begin(void)
{
	atomic_store(&owner, (int)syscall_1(SYS_getpid, 0));
}

bool host_process_borrows(void)
{
	int process = atomic_load(&owner);
	return process != 0 && syscall_1(SYS_getpid, 0) != process;
}

int host_keep(_Atomic int *holder, int descriptor)
{
	descriptor = host_raise(descriptor);
	struct kept *slot = kept_take();
	if (slot == NULL) {
		host_close(descriptor);
		return -EMFILE;
	}
	atomic_store(holder, descriptor);
	atomic_store(&slot->holder, holder);
	atomic_store(&slot->number, descriptor + 1);
	return 0;
}

/* Makes a slot busy. Return: its number, or -1: it has none. */
static int kept_begin(struct kept *slot)
{
	int number = atomic_load(&slot->number);
	for (;;) {
		if (number == 0)
			return -1;
		if (number == KEPT_BUSY) {
			host_yield();
			number = atomic_load(&slot->number);
		} else if (atomic_compare_exchange_weak(&slot->number, &number, KEPT_BUSY)) {
			return number - 1;
		}
	}
}

static struct kept *kept_by(const _Atomic int *holder)
{
	unsigned end = atomic_load(&kept_end);
	for (unsigned i = 0; i < end; i++)
		if (atomic_load(&kept[i].holder) == holder)
			return &kept[i];
	return NULL;
}

void host_drop(_Atomic int *holder)
{
	struct kept *slot = atomic_load(holder) >= 0 ? kept_by(holder) : NULL;
	if (slot == NULL)
		return;
	int descriptor = kept_begin(slot);
	atomic_store(&slot->holder, NULL);
	atomic_store(holder, -1);
	host_close(descriptor);
	atomic_store(&slot->number, 0);
}

void host_abandon(_Atomic int *holder)
{
	struct kept *slot = atomic_load(holder) >= 0 ? kept_by(holder) : NULL;
	if (slot == NULL)
		return;
	int descriptor = kept_begin(slot);
	atomic_store(&slot->holder, NULL);
	atomic_store(holder, -1);
	atomic_store(&slot->number, descriptor + 1);
}

void host_drop_abandoned(void)
{
	unsigned end = atomic_load(&kept_end);
	for (unsigned i = 0; i < end; i++) {
		int number = atomic_load(&kept[i].number);
		if (number > 0 && atomic_load(&kept[i].holder) == NULL) {
			host_close(number - 1);
			atomic_store(&kept[i].number, 0);
		}
	}
}

void host_exchange(_Atomic int *a, _Atomic int *b)
{
	struct kept *of_a = atomic_load(a) >= 0 ? kept_by(a) : NULL;
	struct kept *of_b = atomic_load(b) >= 0 ? kept_by(b) : NULL;
	int number = atomic_load(a);
	atomic_store(a, atomic_load(b));
	atomic_store(b, number);
	if (of_a != NULL)
		atomic_store(&of_a->holder, b);
	if (of_b != NULL)
		atomic_store(&of_b->holder, a);
}

bool host_owns_descriptor(int descriptor)
{
	unsigned end = atomic_load(&kept_end);
	for (unsigned i = 0; i < end && descriptor >= 0; i++)
		if (atomic_load(&kept[i].number) == descriptor + 1)
			return true;
	return false;
}

int host_next_descriptor(int from)
{
	unsigned end = atomic_load(&kept_end);
	int next = -1;
	for (unsigned i = 0; i < end; i++) {
		int number = atomic_load(&kept[i].number) - 1;
		if (number >= 0 && number >= from && (next < 0 || number < next))
			next = number;
	}
	return next;
}

int host_renumber(int descriptor)
{
	unsigned end = atomic_load(&kept_end);
	for (unsigned i = 0; i < end && descriptor >= 0; i++) {
		struct kept *slot = &kept[i];
		int number = descriptor + 1;
		if (!atomic_compare_exchange_strong(&slot->number, &number, KEPT_BUSY))
			continue;
		_Atomic int *holder = atomic_load(&slot->holder);
		long other = -EBADF;
		if (holder != NULL)
			other = copy_high(descriptor);
		if (other >= 0)
			atomic_store(holder, (int)other);
		atomic_store(&slot->number, other >= 0 ? (int)other + 1 : descriptor + 1);
		return other >= 0 ? 0 : (int)other;
	}
	return -EBADF;
}

/* ---- Metadata ------------------------------------------------------------------------ */

/* It is not in a core, where it would be much larger than what is the program's. */
static void *map_own(size_t bytes, int flags, int descriptor)
{
	long result = map(0, bytes, PROT_READ | PROT_WRITE, flags, descriptor, 0);
	if (is_failure(result))
		return NULL;
	syscall_3(SYS_madvise, result, bytes, MADV_DONTDUMP);
	return (void *)result;
}

/* The first small pieces come from one mapping, in order: few processes need more. */
#define PIECES_BYTES ((size_t)256 << 10)
#define PIECE_MAX ((size_t)16 << 10)

static _Atomic uintptr_t pieces;
static _Atomic size_t pieces_used;

static void *take_piece(size_t bytes)
{
	uintptr_t start = atomic_load(&pieces);
	if (start == 0) {
		void *made = map_own(PIECES_BYTES, RESERVATION, -1);
		if (made != NULL && atomic_compare_exchange_strong(&pieces, &start, (uintptr_t)made))
			start = (uintptr_t)made;
		else if (made != NULL)
			host_release(made, PIECES_BYTES);
	}
	size_t used = atomic_load(&pieces_used);
	do {
		if (start == 0 || bytes > PIECES_BYTES - used)
			return NULL;
	} while (!atomic_compare_exchange_weak(&pieces_used, &used, used + bytes));
	return (void *)(start + used);
}

void *host_metadata(size_t bytes)
{
	bytes = round_up(bytes, HOST_PAGE_SIZE);
	void *memory = bytes > 0 && bytes <= PIECE_MAX ? take_piece(bytes) : NULL;
	if (memory == NULL)
		memory = map_own(bytes, RESERVATION, -1);
	if (memory != NULL)
		atomic_fetch_add(&metadata_bytes, bytes);
	return memory;
}

void host_metadata_release(void *memory, size_t bytes)
{
	bytes = round_up(bytes, HOST_PAGE_SIZE);
	host_release(memory, bytes);
	atomic_fetch_sub(&metadata_bytes, bytes);
}

int host_commit(uintptr_t start, size_t bytes, bool sparse)
{
	int result = host_protect(start, bytes, PROT_READ | PROT_WRITE);
	if (result == 0) {
		syscall_3(SYS_madvise, start, bytes, MADV_DONTDUMP);
		if (sparse)
			syscall_3(SYS_madvise, start, bytes, MADV_NOHUGEPAGE);
	}
	return result;
}

void host_collapse(uintptr_t start, size_t length)
{
	syscall_3(SYS_madvise, start, length, MADV_COLLAPSE);
}

void host_empty(void *memory, size_t bytes)
{
	syscall_3(SYS_madvise, memory, bytes, MADV_DONTNEED);
}

void host_keep_from_children(void *start, size_t bytes)
{
	syscall_3(SYS_madvise, start, bytes, MADV_DONTFORK);
}

size_t host_metadata_bytes(void)
{
	return atomic_load(&metadata_bytes);
}

void *host_shared(size_t bytes)
{
	return map_own(round_up(bytes, HOST_PAGE_SIZE), MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

void *host_share(int descriptor, size_t bytes)
{
	return map_own(bytes, MAP_SHARED, descriptor);
}

_Atomic uint64_t *host_fork_word(void)
{
	static _Atomic(_Atomic uint64_t *) made;
	_Atomic uint64_t *word = atomic_load(&made);
	if (word == NULL) {
		word = map_own(HOST_PAGE_SIZE, RESERVATION, -1); /* apart: it has an advice of its own */
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

bool host_has_threads(unsigned ours)
{
	/* A directory has two links and one for each thread in it. */
	struct stat status;
	long result = syscall_4(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &status, 0);
	return result < 0 || status.st_nlink != 3 + ours;
}

int host_first_thread_status(void)
{
	char text[1024];
	int file = (int)syscall_4(SYS_openat, AT_FDCWD, "/proc/self/stat", O_RDONLY | O_CLOEXEC, 0);
	long length = file >= 0 ? syscall_3(SYS_read, file, text, sizeof(text) - 1) : 0;
	if (file >= 0)
		syscall_1(SYS_close, file);
	text[length > 0 ? length : 0] = '\0';
	/* Behind the name, which may have anything in it: the state, ...; the last word is the status. */
	const char *state = strrchr(text, ')'), *last = strrchr(text, ' ');
	int status = 0;
	if (state == NULL || strncmp(state, ") Z", 3) != 0 || last == NULL)
		return 0;
	for (last++; *last >= '0' && *last <= '9'; last++)
		status = 10 * status + (*last - '0');
	return status >> 8 & 0xff;
}

bool host_is_paged(void)
{
	return syscall_6(SYS_prctl, HOST_IS_PAGED, 0, 0, 0, 0, 0) == 1;
}

_Noreturn void host_die(void)
{
	for (;;) {
		syscall_2(SYS_kill, syscall_6(SYS_getpid, 0, 0, 0, 0, 0, 0), SIGKILL);
		syscall_1(SYS_exit_group, 128 + SIGKILL);
	}
}
