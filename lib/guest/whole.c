/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "whole.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "gain.h"
#include "handlers.h"
#include "host.h"
#include "limit.h"
#include "map.h"
#include "options.h"
#include "print.h"
#include "syscall.h"
#include "view.h"

upage_space *whole_space;
struct whole_layout whole_layout;
unsigned whole_default_flags;

static struct lock lock;
static uintptr_t break_start, break_now, break_end; /* break_end: of its pages */

void whole_lock(void)
{
	lock_acquire(&lock);
}

void whole_unlock(void)
{
	lock_release(&lock);
}

/* ---- Where things go ------------------------------------------------------------------------- */

#define PROGRAM ((uintptr_t)0x155555554000)
#define PART (WHOLE_END / SEGMENTS)
#define STACK_GAP ((uintptr_t)0x1000)

static const struct whole_layout paged = { .program = PROGRAM,
	                                   .mappings = (uintptr_t)0x180000000000,
	                                   .end = WHOLE_END - ((uintptr_t)1 << 32),
	                                   .low = (uintptr_t)1 << 32,
	                                   .stack = WHOLE_END - STACK_GAP };

static const struct whole_layout segmented = { .program = SEGMENT_HEAP * PART,
	                                       .mappings = SEGMENT_AREA * PART,
	                                       .end = (SEGMENT_AREA + 1) * PART,
	                                       .stack = WHOLE_END };

/* All within the bounds, which are few. The stack has its room for itself from the beginning: nobody would
 * notice if it grew into something else. */
static struct whole_layout bounded(size_t bounds)
{
	const uintptr_t usual = 0x400000; /* of programs that cannot be anywhere */
	uint64_t limit = host_stack_limit();
	size_t stack = host_page_down(limit < bounds / 8 ? limit : bounds / 8);
	return (struct whole_layout){ .program = usual < bounds / 4 ? usual : WHOLE_START,
		                      .mappings = host_page_up(bounds / 2),
		                      .end = bounds - stack,
		                      .low = WHOLE_START,
		                      .stack = bounds,
		                      .stack_whole = stack };
}

static bool is_segmented(void)
{
	return runs_are_segments(&whole_space->runs);
}

bool whole_can_be_anywhere(uintptr_t alignment)
{
	return !is_segmented() || alignment == HOST_PAGE_SIZE;
}

/* Code that is followed by its data at a fixed distance ends where the part of the heap begins. */
void whole_expect_code(bool anywhere)
{
	if (is_segmented())
		run_turn(&whole_space->runs.run[SEGMENT_CODE], anywhere);
}

uintptr_t whole_place(size_t data, bool anywhere, bool alone)
{
	if (space_is_paged(whole_space) && alone)
		return whole_layout.mappings; /* as ld.so called by name: where that else stands */
	if (is_segmented())
		return anywhere ? whole_layout.program - data : WHOLE_START;
	return whole_layout.program;
}

uintptr_t whole_place_heap(uintptr_t behind, bool anywhere, bool alone)
{
	bool apart = is_segmented() ? !anywhere : space_is_paged(whole_space) && anywhere && alone;
	return apart ? whole_layout.program : behind;
}

int whole_create(upage_pool *pool)
{
	enum upage_scheme scheme = options_scheme(&pool->config);
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	size_t bounds = pool->config.bounds;
	config.address = (void *)WHOLE_START;
	config.length = WHOLE_END - WHOLE_START;
	config.scheme = UPAGE_SCHEME_PAGING;
	/* To show a page in a hole takes the kernel a third less than to cut it out of a reservation. */
	host_leave_holes(WHOLE_START, WHOLE_END);
	int result = upage_space_create(&whole_space, pool, &config);
	if (result < 0)
		return result;
	whole_layout = scheme == UPAGE_SCHEME_PAGING        ? paged
	               : scheme == UPAGE_SCHEME_BASE_BOUNDS ? bounded(bounds)
	                                                    : segmented;
	limit_watch(whole_space, whole_layout.stack);
	/* It was all free, and nothing of ours will come to lie there. */
	result = host_release((void *)WHOLE_START, WHOLE_END - WHOLE_START);
	if (result < 0)
		return result;
	space_write(whole_space);
	result = space_set_scheme(whole_space, scheme, 0, bounds);
	space_write_end(whole_space);
	return result;
}

bool whole_has(uintptr_t address, size_t length)
{
	return address >= WHOLE_START && address < WHOLE_END && length <= WHOLE_END - address &&
	       !mapping_is_kept(&whole_space->mappings, address, address + length);
}

/* ---- Where a mapping goes -------------------------------------------------------------------- */

#define FIXED (MAP_FIXED | MAP_FIXED_NOREPLACE)

uintptr_t whole_find_place(uintptr_t hint, size_t length, size_t alignment, int flags)
{
	const struct mappings *all = &whole_space->mappings;
	const struct whole_layout *in = &whole_layout;
	bool paged = space_is_paged(whole_space), hinted = hint != 0 && whole_has(hint, length);
	size_t room = length + alignment - HOST_PAGE_SIZE;
	uintptr_t place;
	hint = round_down(hint, alignment);
	if (room < length)
		return 0;
	if (flags & MAP_32BIT && (paged || in->stack > (uintptr_t)1 << 31))
		place = mapping_gap(all, (uintptr_t)1 << 30, (uintptr_t)1 << 31, room);
	else if (hinted && (paged || (hint >= in->mappings && hint + length <= in->end)) &&
	         mapping_gap(all, hint, hint + length, length) == hint)
		return hint;
	else
		place = mapping_gap(all, in->mappings, in->end, room);
	if (place == 0 && in->low != 0)
		place = mapping_gap(all, in->low, in->mappings, room);
	return place != 0 ? round_up(place, alignment) : 0;
}

/* The kernel's complaints of an address that is fixed. */
static long check_fixed(uintptr_t address, size_t length, size_t alignment, int flags)
{
	if (!(flags & FIXED))
		return 0;
	if (address >= WHOLE_END || length > WHOLE_END - address ||
	    mapping_is_kept(&whole_space->mappings, address, address + length))
		return -ENOMEM;
	if (address % alignment != 0)
		return -EINVAL;
	return address < WHOLE_START ? -EPERM : 0;
}

/* The space's lock is held from here to the insertion. */
static long choose(uintptr_t address, size_t length, size_t alignment, int prot, int flags,
                   uintptr_t *place)
{
	bool keeps = (flags & FIXED) != 0 && (flags & FIXED) != MAP_FIXED;
	*place = flags & FIXED ? address : whole_find_place(address, length, alignment, flags);
	if (keeps && !mapping_is_free(&whole_space->mappings, address, address + length))
		return -EEXIST;
	if (*place == 0)
		return -ENOMEM;
	return gain_is_refused(prot, prot) ? -EACCES : 0;
}

long whole_kernel_maps(long number, long a, long b, long c, long d, long e, long f)
{
	for (unsigned attempt = 0;; attempt++) {
		bool spared = !host_spares_are_wanted(whole_space->mappings.count) || host_spares_lay();
		long result = spared ? syscall_6(number, a, b, c, d, e, f) : -ENOMEM;
		if (result != -ENOMEM || attempt == 8)
			return result;
		guard_open();
		bool gave = view_give_way(whole_space->pool);
		guard_close();
		if (!gave)
			return result;
	}
}

/* ---- mmap ------------------------------------------------------------------------------------ */

static unsigned flags_of(int flags)
{
	return whole_default_flags | (flags & MAP_GROWSDOWN ? MAPPING_GROWS : 0) |
	       (flags & MAP_LOCKED ? MAPPING_LOCKED : 0) |
	       (flags & MAP_NORESERVE ? MAPPING_NORESERVE : 0);
}

/* Asks the kernel what it thinks of a mapping of this file, in its words. */
static long probe(size_t length, int prot, int flags, int descriptor, int64_t offset)
{
	long result = whole_kernel_maps(SYS_mmap, 0, (long)length, prot, flags & (MAP_TYPE | MAP_GROWSDOWN),
	                                descriptor, (long)offset);
	if (guest_is_error(result))
		return result;
	syscall_2(SYS_munmap, result, length);
	return 0;
}

/* Puts memory that the kernel maps at @made in its place. On failure it is still at @made. */
static long settle(uintptr_t made, uintptr_t place, size_t length, int prot, unsigned flags)
{
	const struct mapping mapping = { .start = place, .end = place + length, .prot = prot,
		                         .flags = flags, .backing = whole_space->foreign };
	long result = guest_errno(space_unmap_range(whole_space, place, place + length));
	if (result == 0)
		result = guest_errno(map_add(whole_space, &mapping));
	if (result < 0)
		return result;
	result = whole_kernel_maps(SYS_mremap, (long)made, (long)length, (long)length,
	                           MREMAP_MAYMOVE | MREMAP_FIXED, (long)place, 0);
	if (guest_is_error(result)) {
		space_unmap_range(whole_space, place, place + length);
		return result;
	}
	return (long)place;
}

/* Shared with others, or a device: the kernel's business. It makes it where it likes, so that its
 * complaints come before anything is lost. */
static long map_foreign(uintptr_t address, size_t length, size_t alignment, int prot, int flags,
                        int descriptor, int64_t offset)
{
	const int apart = FIXED | MAP_32BIT | MAP_LOCKED;
	length = round_up(length, alignment);
	long result = check_fixed(address, length, alignment, flags);
	if (result < 0)
		return result;
	long made = whole_kernel_maps(SYS_mmap, 0, (long)length, prot, flags & ~apart, descriptor, (long)offset);
	if (guest_is_error(made))
		return made;
	uintptr_t place;
	space_write(whole_space);
	result = choose(address, length, alignment, prot, flags, &place);
	if (result == 0)
		result = settle((uintptr_t)made, place, length, prot & WHOLE_PROT, flags_of(flags));
	space_write_end(whole_space);
	if (result < 0)
		syscall_2(SYS_munmap, made, length);
	return result;
}

/* @store: NULL for anonymous memory. */
static long map_paged(uintptr_t address, size_t length, int prot, int flags, upage_store *store,
                      int64_t offset)
{
	uintptr_t place;
	space_write(whole_space);
	long result = choose(address, length, HOST_PAGE_SIZE, prot, flags, &place);
	if (result == 0 && flags & FIXED)
		result = guest_errno(space_unmap_range(whole_space, place, place + length));
	if (result == 0) {
		struct mapping mapping = { .start = place, .end = place + length,
			                   .prot = prot & WHOLE_PROT, .advice = UPAGE_NORMAL,
			                   .flags = flags_of(flags), .backing = whole_space->anonymous };
		if (store != NULL)
			mapping.backing = backing_create(store, offset - (int64_t)place, false);
		mapping.committed = mapping.backing != NULL && map_needs_room(&mapping);
		result = mapping.backing != NULL ? guest_errno(map_add(whole_space, &mapping)) : -ENOMEM;
		if (store != NULL && mapping.backing != NULL)
			backing_release(mapping.backing);
	}
	space_write_end(whole_space);
	return result < 0 ? result : (long)place;
}

enum file_kind { FILE_PAGED, FILE_ZERO, FILE_FOREIGN };

#define HUGETLBFS 0x958458f6
#define ZERO_DEVICE makedev(1, 5)

static enum file_kind kind_of_file(int descriptor, struct stat *status, size_t *alignment)
{
	struct statfs system;
	if (syscall_2(SYS_fstat, descriptor, status) < 0)
		return FILE_FOREIGN;
	if (S_ISCHR(status->st_mode) && status->st_rdev == ZERO_DEVICE)
		return FILE_ZERO;
	bool huge = syscall_2(SYS_fstatfs, descriptor, &system) == 0 && system.f_type == HUGETLBFS;
	if (huge)
		*alignment = (size_t)status->st_blksize;
	return S_ISREG(status->st_mode) && !huge ? FILE_PAGED : FILE_FOREIGN;
}

/* Whether the kernel would say nothing new: a part of the file is mapped, and all is well with the
 * descriptor. Of execution it depends on the way that led to the file (MS_NOEXEC). */
static bool is_probed(int prot, int flags, size_t length, int descriptor, int64_t offset,
                      const struct stat *status)
{
	const uint64_t far = (uint64_t)1 << 31; /* on every file system a file may end there */
	long mode = syscall_2(SYS_fcntl, descriptor, F_GETFL);
	if (mode < 0 || mode & O_PATH || (mode & (O_WRONLY | O_RDWR)) == O_WRONLY || prot & PROT_EXEC ||
	    flags & MAP_GROWSDOWN || (uint64_t)offset + length >= far)
		return false;
	whole_lock();
	bool known = whole_store(status->st_dev, status->st_ino) != NULL;
	whole_unlock();
	return known;
}

/* Private pages of a file. */
static long map_file(uintptr_t address, size_t length, int prot, int flags, int descriptor,
                     int64_t offset)
{
	size_t alignment = HOST_PAGE_SIZE;
	upage_store *store = NULL;
	struct stat status;
	enum file_kind kind = kind_of_file(descriptor, &status, &alignment);
	if (kind == FILE_FOREIGN && !space_is_paged(whole_space))
		return -ENODEV;
	if (kind == FILE_FOREIGN)
		return map_foreign(address, length, alignment, prot, flags, descriptor, offset);
	long result = 0;
	if (kind == FILE_ZERO || !is_probed(prot, flags, length, descriptor, offset, &status))
		result = probe(length, prot, flags, descriptor, offset);
	if (result < 0)
		return result;
	if (kind == FILE_ZERO)
		return map_paged(address, length, prot, flags, NULL, 0);
	/* Who borrows this memory has descriptors of its own: a store's would be none of those who stay. */
	if (host_process_borrows())
		return map_foreign(address, length, alignment, prot, flags, descriptor, offset);
	whole_lock(); /* a store that nothing is mapped from may be closed */
	result = whole_file(descriptor, &status, &store);
	if (result == 0)
		result = map_paged(address, length, prot, flags, store, offset);
	whole_unlock();
	if (result > 0 && (flags & MAP_POPULATE || flags_of(flags) & MAPPING_LOCKED))
		whole_populate((uintptr_t)result, (uintptr_t)result + length);
	return result;
}

long whole_map(uintptr_t address, size_t length, int prot, int flags, int descriptor,
               int64_t offset)
{
	bool anonymous = flags & MAP_ANONYMOUS, shared = (flags & MAP_TYPE) != MAP_PRIVATE;
	size_t alignment = HOST_PAGE_SIZE;
	if (offset % (int64_t)HOST_PAGE_SIZE != 0)
		return -EINVAL;
	if (!anonymous && syscall_2(SYS_fcntl, descriptor, F_GETFD) < 0)
		return -EBADF;
	if (length == 0)
		return -EINVAL;
	length = host_page_up(length);
	if (length == 0)
		return -ENOMEM;
	if (!(flags & FIXED) && address >= HOST_PAGE_SIZE && address < WHOLE_START)
		address = WHOLE_START;
	if (!anonymous && (uint64_t)offset + length < length)
		return -EOVERFLOW;
	if (length > WHOLE_END)
		return -ENOMEM;
	space_read(whole_space);
	long result = whole_check_locks(length, flags_of(flags));
	space_read_end(whole_space);
	if (result == 0)
		result = check_fixed(address, length, alignment, flags);
	if (result < 0)
		return result;
	if (flags & MAP_HUGETLB) {
		unsigned shift = (unsigned)flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
		alignment = (size_t)1 << (shift != 0 ? shift : 21);
	}
	struct stat status;
	if (shared && !anonymous)
		kind_of_file(descriptor, &status, &alignment);
	/* Of a run no part can be another's memory: what is only read is copied in. */
	if (!space_is_paged(whole_space) && (flags & MAP_HUGETLB || (shared && (anonymous || prot & PROT_WRITE))))
		return flags & MAP_HUGETLB ? -ENOMEM : -ENODEV;
	if (!space_is_paged(whole_space))
		shared = false;
	if (shared || flags & MAP_HUGETLB)
		return map_foreign(address, length, alignment, prot, flags, descriptor, offset);
	return anonymous ? map_paged(address, length, prot, flags, NULL, 0)
	                 : map_file(address, length, prot, flags, descriptor, offset);
}

long whole_mmap(struct guest_call *call)
{
	const long *a = call->argument;
	if (!limit_allows(a[3] & MAP_FIXED ? (uintptr_t)a[0] : 0, (size_t)a[1], (int)a[2]))
		return -ENOMEM;
	return whole_map((uintptr_t)a[0], (size_t)a[1], (int)a[2], (int)a[3], (int)a[4], a[5]);
}

/* ---- shmat, shmdt ----------------------------------------------------------------------------- */

long whole_shmat(struct guest_call *call)
{
	uintptr_t address = (uintptr_t)call->argument[1], place = 0;
	int flags = (int)call->argument[2];
	struct shmid_ds status;
	if (address != 0 && flags & SHM_RND)
		address = host_page_down(address);
	if (address % HOST_PAGE_SIZE != 0 || (address == 0 && flags & SHM_REMAP))
		return -EINVAL;
	if (!space_is_paged(whole_space))
		return -ENOMEM;
	long made = whole_kernel_maps(SYS_shmat, call->argument[0], 0, flags & ~(SHM_RND | SHM_REMAP), 0, 0, 0);
	if (guest_is_error(made))
		return made;
	long result = syscall_3(SYS_shmctl, call->argument[0], IPC_STAT, &status);
	size_t length = host_page_up(status.shm_segsz);
	if (result == 0 && address != 0 && !whole_has(address, length))
		result = -EINVAL;
	if (result == 0) {
		int prot = PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) |
		           (flags & SHM_EXEC ? PROT_EXEC : 0);
		int how = address == 0 ? 0 : flags & SHM_REMAP ? MAP_FIXED : FIXED;
		space_write(whole_space);
		result = choose(address, length, HOST_PAGE_SIZE, prot, how, &place);
		if (result == 0)
			result = settle((uintptr_t)made, place, length, prot, whole_default_flags);
		space_write_end(whole_space);
	}
	if (result < 0)
		syscall_1(SYS_shmdt, made);
	return result == -EEXIST ? -EINVAL : result;
}

static bool is_foreign(uintptr_t address)
{
	const struct mapping *mapping = mapping_find(&whole_space->mappings, address);
	return mapping != NULL && mapping->backing->foreign;
}

/* What the kernel has unmapped from @address on is no mapping any more. */
long whole_shmdt(struct guest_call *call)
{
	uintptr_t address = (uintptr_t)call->argument[0], end = address;
	unsigned char resident;
	if (!whole_has(address, HOST_PAGE_SIZE))
		return -EINVAL;
	space_write(whole_space);
	long result = syscall_1(SYS_shmdt, address);
	if (result == 0)
		while (is_foreign(end) &&
		       syscall_3(SYS_mincore, end, HOST_PAGE_SIZE, &resident) == -ENOMEM)
			end += HOST_PAGE_SIZE;
	if (end > address)
		space_unmap_range(whole_space, address, end);
	space_write_end(whole_space);
	return result;
}

/* ---- munmap, brk ------------------------------------------------------------------------------ */

long whole_unmap(uintptr_t address, size_t length)
{
	size_t rounded = host_page_up(length);
	uintptr_t end;
	if (address % HOST_PAGE_SIZE != 0 || rounded == 0 ||
	    __builtin_add_overflow(address, rounded, &end) || end > WHOLE_LIMIT)
		return -EINVAL;
	/* Nothing of the program's lies outside. */
	address = address > WHOLE_START ? address : WHOLE_START;
	end = end < WHOLE_END ? end : WHOLE_END;
	if (address >= end)
		return 0;
	space_write(whole_space);
	int result = whole_space->mappings.count + 2 > MAPPINGS_MAX
	                     ? UPAGE_ENOMEM
	                     : space_unmap_range(whole_space, address, end);
	space_write_end(whole_space);
	return guest_errno(result);
}

long whole_munmap(struct guest_call *call)
{
	return whole_unmap((uintptr_t)call->argument[0], (size_t)call->argument[1]);
}

void whole_set_break(uintptr_t start)
{
	break_start = break_now = start;
	break_end = host_page_up(start);
}

/* Moves the end of the data segment's pages. */
static bool move_break(uintptr_t end)
{
	struct mapping more = { .start = break_end, .end = end, .prot = PROT_READ | PROT_WRITE,
		                .advice = UPAGE_NORMAL, .flags = whole_default_flags,
		                .committed = true, .backing = whole_space->anonymous };
	if (end < break_end)
		return space_unmap_range(whole_space, end, break_end) == 0;
	if (end == break_end)
		return true;
	return mapping_gap(&whole_space->mappings, break_end, end, end - break_end) == break_end &&
	       limit_allows_locked(0, end - break_end, more.prot) &&
	       whole_check_locks(end - break_end, more.flags) == 0 &&
	       map_add(whole_space, &more) == 0;
}

long whole_brk(struct guest_call *call)
{
	uintptr_t wanted = (uintptr_t)call->argument[0];
	whole_lock();
	if (wanted >= break_start && wanted < WHOLE_END) {
		space_write(whole_space);
		bool moved = move_break(host_page_up(wanted));
		space_write_end(whole_space);
		if (moved) {
			break_now = wanted;
			break_end = host_page_up(wanted);
		}
	}
	long now = (long)break_now;
	whole_unlock();
	return now;
}

/* ---- Forks ------------------------------------------------------------------------------------ */

/* What madvise(2) said of the children of forks. Locks are not inherited. */
void whole_fork_child(void)
{
	if (whole_space == NULL)
		return;
	struct mappings *all = &whole_space->mappings;
	whole_default_flags = 0;
	gain_fork_child();
	whole_files_unlocked();
	space_write(whole_space);
	for (size_t i = 0; i < all->count; i++) {
		struct mapping *m = &all->mapping[i];
		m->flags &= ~(MAPPING_LOCKED | MAPPING_ONFAULT);
		if (m->flags & MAPPING_DONTFORK) {
			space_unmap_range(whole_space, m->start, m->end);
			i--;
		} else if (m->flags & MAPPING_WIPEFORK) {
			space_empty_range(whole_space, m->start, m->end);
		}
	}
	if (all->count > 0)
		mapping_join(all, 0, all->count - 1);
	space_write_end(whole_space);
}

/* ---- Names ------------------------------------------------------------------------------------- */

/* As the kernel names it now: it may have been moved, or removed. */
static const char *file_name(const upage_store *store)
{
	static char name[4096]; /* whole_lock is held */
	char link[40] = "/proc/self/fd/";
	struct stream stream = { .text = link + 14, .size = sizeof(link) - 14,
		                 .descriptor = STREAM_KEEP };
	stream_decimal(&stream, (uint64_t)atomic_load(store->descriptor));
	long length = syscall_3(SYS_readlink, link, name, sizeof(name) - 1);
	name[length > 0 ? length : 0] = '\0';
	return name;
}

const char *whole_name(const struct mapping *mapping)
{
	if (mapping->backing->store != NULL)
		return file_name(mapping->backing->store);
	if (mapping->backing->foreign)
		return NULL;
	if (mapping->start < whole_layout.stack && mapping->end >= whole_layout.stack)
		return "[stack]";
	if (mapping->start < break_end && mapping->end > host_page_down(break_start))
		return "[heap]";
	return NULL;
}

/* ---- What was there at the start -------------------------------------------------------------- */

static uintptr_t first_stack;
static uint64_t auxiliary[128];
static size_t auxiliary_bytes;

void whole_set_stack(uintptr_t stack, const void *words, size_t bytes)
{
	first_stack = stack;
	auxiliary_bytes = bytes < sizeof(auxiliary) ? bytes : sizeof(auxiliary);
	memcpy(auxiliary, words, auxiliary_bytes);
}

uintptr_t whole_stack(void)
{
	return first_stack;
}

uintptr_t whole_break(void)
{
	return break_start;
}

const void *whole_auxiliary(size_t *bytes)
{
	*bytes = auxiliary_bytes;
	return auxiliary;
}
