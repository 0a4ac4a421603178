/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "whole.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "handlers.h"
#include "host.h"
#include "limit.h"
#include "map.h"
#include "print.h"
#include "syscall.h"

upage_space *whole_space;

static struct lock whole_lock;
static uintptr_t break_start, break_now, break_end; /* break_end: of its pages */

void whole_fork_begin(void)
{
	lock_acquire(&whole_lock);
}

void whole_fork_end(void)
{
	lock_release(&whole_lock);
}

int whole_create(upage_pool *pool)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.address = (void *)WHOLE_START;
	config.length = WHOLE_END - WHOLE_START;
	int result = upage_space_create(&whole_space, pool, &config);
	limit_watch(whole_space, WHOLE_STACK);
	return result;
}

static bool is_inside(uintptr_t address, size_t length)
{
	return address >= WHOLE_START && address < WHOLE_END && length <= WHOLE_END - address;
}

/* ---- Files ---------------------------------------------------------------------------------- */

/* One store a file, however often it is mapped: each holds a descriptor. */
#define FILES_MAX 1024
static upage_store *files[FILES_MAX];
static char *names[FILES_MAX]; /* of NAME_BYTES each */
#define NAME_BYTES 4096

static void remember_name(unsigned i, int descriptor)
{
	char link[40] = "/proc/self/fd/";
	struct stream stream = { .text = link + 14, .size = sizeof(link) - 14,
		                 .descriptor = STREAM_KEEP };
	if (names[i] == NULL)
		names[i] = host_metadata(NAME_BYTES);
	if (names[i] == NULL)
		return;
	stream_decimal(&stream, (uint64_t)descriptor);
	long length = syscall_3(SYS_readlink, link, names[i], NAME_BYTES - 1);
	names[i][length > 0 ? length : 0] = '\0';
}

/* The store of a file. Closes those that nothing is mapped from any more. */
static int file_of(int descriptor, upage_store **out)
{
	struct stat status;
	long result = syscall_2(SYS_fstat, descriptor, &status);
	if (result < 0)
		return (int)result;
	unsigned free = FILES_MAX;
	for (unsigned i = 0; i < FILES_MAX; i++) {
		upage_store *store = files[i];
		if (store != NULL && store->device == status.st_dev && store->inode == status.st_ino) {
			*out = store;
			return 0;
		}
		if (store != NULL && upage_store_close(store) == 0)
			files[i] = store = NULL;
		if (store == NULL)
			free = i;
	}
	if (free == FILES_MAX)
		return -ENFILE;
	result = store_open_descriptor(&files[free], descriptor);
	if (result == 0)
		remember_name(free, descriptor);
	*out = files[free];
	return (int)result;
}

/* ---- mmap ------------------------------------------------------------------------------------ */

/* Asks the kernel what it thinks of a mapping of this file, in its words. */
static long probe(size_t length, int prot, int flags, int descriptor, int64_t offset)
{
	long result = syscall_6(SYS_mmap, 0, (long)length, prot, flags & (MAP_TYPE | MAP_ANONYMOUS),
	                        descriptor, (long)offset);
	if (result < 0 && result > -4096)
		return result;
	syscall_2(SYS_munmap, result, length);
	return 0;
}

/* Where a mapping without MAP_FIXED goes. */
static uintptr_t find_place(uintptr_t hint, size_t length, int flags)
{
	hint = host_page_down(hint);
	if (flags & MAP_32BIT)
		return map_gap(whole_space, (uintptr_t)1 << 30, (uintptr_t)1 << 31, length);
	if (hint != 0 && is_inside(hint, length) &&
	    map_gap(whole_space, hint, hint + length, length) == hint)
		return hint;
	uintptr_t place = map_gap(whole_space, WHOLE_MAPPINGS, WHOLE_END - ((uintptr_t)1 << 32), length);
	return place != 0 ? place : map_gap(whole_space, (uintptr_t)1 << 32, WHOLE_MAPPINGS, length);
}

/* Shared with others: the kernel's business, outside of the space. */
static long map_shared(uintptr_t address, size_t length, int prot, int flags, int descriptor,
                       int64_t offset)
{
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) && address < WHOLE_END)
		return -ENOMEM;
	if (address < WHOLE_END)
		address = 0;
	return syscall_6(SYS_mmap, (long)address, (long)length, prot, flags, descriptor, (long)offset);
}

static bool is_regular(int descriptor)
{
	struct stat status;
	return syscall_2(SYS_fstat, descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

static long map_private(uintptr_t address, size_t length, int prot, int flags, int descriptor,
                        int64_t offset)
{
	bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	upage_store *store = NULL;
	long result;
	if (fixed && (address % HOST_PAGE_SIZE != 0))
		return -EINVAL;
	if (fixed && !is_inside(address, length))
		return -ENOMEM;
	lock_acquire(&whole_lock);
	result = descriptor >= 0 ? file_of(descriptor, &store) : 0;
	uintptr_t place = fixed ? address : find_place(address, length, flags);
	if (result == 0 && place == 0)
		result = -ENOMEM;
	if (result == 0 && flags & MAP_FIXED_NOREPLACE && !(flags & MAP_FIXED) &&
	    map_gap(whole_space, place, place + length, length) == 0)
		result = -EEXIST;
	if (result == 0)
		result = map_replace(whole_space, place, length, prot, store, offset);
	lock_release(&whole_lock);
	return result < 0 ? guest_errno((int)result) : (long)place;
}

long whole_map(uintptr_t address, size_t length, int prot, int flags, int descriptor,
               int64_t offset)
{
	int type = flags & MAP_TYPE;
	bool anonymous = flags & MAP_ANONYMOUS;
	if (offset % (int64_t)HOST_PAGE_SIZE != 0)
		return -EINVAL;
	if (length == 0)
		return -EINVAL;
	length = host_page_up(length);
	if (length == 0 || length > WHOLE_END)
		return -ENOMEM;
	if (type != MAP_PRIVATE || (flags & MAP_HUGETLB))
		return map_shared(address, length, prot, flags, descriptor, offset);
	if (!anonymous) {
		long result = probe(length, prot, flags, descriptor, offset);
		if (result < 0)
			return result;
		if (!is_regular(descriptor)) /* a device: its memory is none of ours */
			return map_shared(address, length, prot, flags, descriptor, offset);
	}
	prot &= PROT_READ | PROT_WRITE | PROT_EXEC;
	return map_private(address, length, prot, flags, anonymous ? -1 : descriptor,
	                   anonymous ? 0 : offset);
}

long whole_mmap(struct guest_call *call)
{
	const long *a = call->argument;
	if (!limit_allows(a[3] & MAP_FIXED ? (uintptr_t)a[0] : 0, (size_t)a[1], (int)a[2]))
		return -ENOMEM;
	return whole_map((uintptr_t)a[0], (size_t)a[1], (int)a[2], (int)a[3], (int)a[4], a[5]);
}

/* ---- munmap, mremap, brk ---------------------------------------------------------------------- */

long whole_unmap(uintptr_t address, size_t length)
{
	if (address % HOST_PAGE_SIZE != 0 || length == 0)
		return -EINVAL;
	length = host_page_up(length);
	if (!is_inside(address, length))
		return address >= WHOLE_END ? syscall_2(SYS_munmap, address, length) : -EINVAL;
	return guest_errno(unmap_range(whole_space, address, address + length));
}

long whole_munmap(struct guest_call *call)
{
	return whole_unmap((uintptr_t)call->argument[0], (size_t)call->argument[1]);
}

/* The mapping that has all of [start, start + length). */
static bool mapping_of(uintptr_t start, size_t length, struct mapping *out)
{
	rwlock_read(&whole_space->lock);
	const struct mapping *mapping = mapping_find(&whole_space->mappings, start);
	bool found = mapping != NULL && length <= mapping->end - start;
	if (found)
		*out = *mapping;
	rwlock_read_release(&whole_space->lock);
	return found;
}

static int map_like(const struct mapping *mapping, uintptr_t start, size_t length, uintptr_t as)
{
	upage_store *store = mapping->backing->store;
	int64_t offset = store != NULL ? (int64_t)as + mapping->backing->delta : 0;
	return map_replace(whole_space, start, length, mapping->prot, store, offset);
}

/* Pages that were ever touched: the others are the same at any address. */
static bool was_touched(uintptr_t page)
{
	const pte_t *pte = page_table_walk(&whole_space->table, space_vpn(whole_space, page));
	return pte != NULL && atomic_load(pte) != 0;
}

static long move(struct guest_call *call, const struct mapping *mapping, uintptr_t from,
                 size_t old_length, uintptr_t to, size_t new_length, bool keep)
{
	char *buffer = guest_buffer(call, HOST_PAGE_SIZE);
	struct mapping open = *mapping;
	size_t common = old_length < new_length ? old_length : new_length;
	if (buffer == NULL)
		return -ENOMEM;
	open.prot = PROT_READ | PROT_WRITE;
	int result = map_like(&open, to, new_length, from);
	for (size_t at = 0; result == 0 && at < common; at += HOST_PAGE_SIZE) {
		if (!was_touched(from + at))
			continue;
		if (mapping->prot == PROT_NONE)
			upage_protect(whole_space, (void *)(from + at), HOST_PAGE_SIZE, PROT_READ);
		if (guest_copy_in(buffer, (void *)(from + at), HOST_PAGE_SIZE) == 0)
			guest_copy_out((void *)(to + at), buffer, HOST_PAGE_SIZE);
	}
	if (result == 0 && mapping->prot != open.prot)
		result = upage_protect(whole_space, (void *)to, new_length, mapping->prot);
	if (result == 0)
		result = keep ? map_like(mapping, from, old_length, from)
		              : unmap_range(whole_space, from, from + old_length);
	return result < 0 ? guest_errno(result) : (long)to;
}

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

long whole_mremap(struct guest_call *call)
{
	uintptr_t from = (uintptr_t)call->argument[0], to = (uintptr_t)call->argument[4];
	size_t old_length = host_page_up((size_t)call->argument[1]);
	size_t new_length = host_page_up((size_t)call->argument[2]);
	int flags = (int)call->argument[3];
	struct mapping mapping;
	if (from >= WHOLE_END)
		return syscall_6(SYS_mremap, (long)from, call->argument[1], call->argument[2],
		                 flags & ~MREMAP_FIXED, 0, 0);
	if (from % HOST_PAGE_SIZE != 0 || new_length == 0 || old_length == 0 ||
	    flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) ||
	    (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(flags & MREMAP_MAYMOVE)) ||
	    (flags & MREMAP_DONTUNMAP && old_length != new_length))
		return -EINVAL;
	if (!mapping_of(from, old_length, &mapping))
		return -EFAULT;
	bool keep = flags & MREMAP_DONTUNMAP;
	if (flags & MREMAP_FIXED) {
		if (to % HOST_PAGE_SIZE != 0 || !is_inside(to, new_length) ||
		    (to < from + old_length && from < to + new_length))
			return -EINVAL;
		return move(call, &mapping, from, old_length, to, new_length, keep);
	}
	if (new_length <= old_length && !keep) {
		long result = new_length < old_length
		                      ? whole_unmap(from + new_length, old_length - new_length)
		                      : 0;
		return result < 0 ? result : (long)from;
	}
	size_t more = new_length - old_length;
	if (!limit_allows(0, more, mapping.prot))
		return -ENOMEM;
	uintptr_t end = from + old_length;
	if (!keep && mapping.end == end && is_inside(from, new_length) &&
	    map_gap(whole_space, end, end + more, more) == end) {
		int result = map_like(&mapping, end, more, end);
		return result < 0 ? guest_errno(result) : (long)from;
	}
	if (!(flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	to = find_place(0, new_length, 0);
	return to == 0 ? -ENOMEM : move(call, &mapping, from, old_length, to, new_length, keep);
}

void whole_set_break(uintptr_t start)
{
	break_start = break_now = start;
	break_end = host_page_up(start);
}

long whole_brk(struct guest_call *call)
{
	uintptr_t wanted = (uintptr_t)call->argument[0];
	lock_acquire(&whole_lock);
	if (wanted >= break_start && wanted < WHOLE_END) {
		uintptr_t end = host_page_up(wanted);
		int result = 0;
		if (end > break_end && !limit_allows(0, end - break_end, PROT_READ | PROT_WRITE))
			result = UPAGE_ENOMEM;
		else if (end > break_end)
			result = map_gap(whole_space, break_end, end, end - break_end) == break_end
			                 ? map_replace(whole_space, break_end, end - break_end,
			                               PROT_READ | PROT_WRITE, NULL, 0)
			                 : UPAGE_ENOMEM;
		else if (end < break_end)
			result = unmap_range(whole_space, end, break_end);
		if (result == 0) {
			break_now = wanted;
			break_end = end;
		}
	}
	long now = (long)break_now;
	lock_release(&whole_lock);
	return now;
}

/* ---- /proc/self/maps ------------------------------------------------------------------------- */

static void list_hex(struct stream *stream, uint64_t n, unsigned least)
{
	char digits[17];
	unsigned at = sizeof(digits);
	digits[--at] = '\0';
	while (n != 0 || sizeof(digits) - 1 - at < least) {
		digits[--at] = "0123456789abcdef"[n & 15];
		n >>= 4;
	}
	stream_text(stream, digits + at);
}

static const char *name_of(const struct mapping *mapping)
{
	for (unsigned i = 0; mapping->backing->store != NULL && i < FILES_MAX; i++)
		if (files[i] == mapping->backing->store)
			return names[i];
	if (mapping->end == WHOLE_STACK)
		return "[stack]";
	if (mapping->start < break_end && mapping->end > host_page_down(break_start) &&
	    mapping->backing->store == NULL)
		return "[heap]";
	return NULL;
}

static void list_mapping(struct stream *stream, const struct mapping *m)
{
	const upage_store *store = m->backing->store;
	uint64_t device = store != NULL ? store->device : 0;
	const char *name = name_of(m);
	list_hex(stream, m->start, 8);
	stream_text(stream, "-");
	list_hex(stream, m->end, 8);
	const char access[] = { ' ', m->prot & PROT_READ ? 'r' : '-', m->prot & PROT_WRITE ? 'w' : '-',
		                m->prot & PROT_EXEC ? 'x' : '-', 'p', ' ', '\0' };
	stream_text(stream, access);
	list_hex(stream, store != NULL ? (uint64_t)((int64_t)m->start + m->backing->delta) : 0, 8);
	stream_text(stream, " ");
	list_hex(stream, (device >> 8 & 0xfff) | (device >> 32 & ~0xfffull), 2);
	stream_text(stream, ":");
	list_hex(stream, (device & 0xff) | (device >> 12 & 0xfff00), 2);
	stream_text(stream, " ");
	stream_decimal(stream, store != NULL ? store->inode : 0);
	if (name != NULL) {
		stream_text(stream, "                          ");
		stream_text(stream, name);
	}
	stream_text(stream, "\n");
}

void whole_list(struct stream *stream)
{
	lock_acquire(&whole_lock);
	rwlock_read(&whole_space->lock);
	for (size_t i = 0; i < whole_space->mappings.count; i++)
		list_mapping(stream, &whole_space->mappings.mapping[i]);
	rwlock_read_release(&whole_space->lock);
	lock_release(&whole_lock);
}
