/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * malloc_extent.c - the extents of malloc.c's arenas: mappings of one space
 *
 * The addresses of an extent are never given back: jemalloc (with retain) knows where one begins
 * that came from another call, but not where a hole is. So each new one lies above all others.
 * What jemalloc has no use for is dropped by UPAGE_DONTNEED, so that dead pages have no frame
 * and are not written to swap; or, where mappings are counted against memory and swap, unmapped
 * until it is needed again (decommit and commit, in jemalloc's words).
 *
 * The hooks run on whatever stack the program has, and that may be paged memory (a coroutine's,
 * from malloc), while upage_map() and its like hold locks: they go by way of a stack of ours.
 *
 *      next == the end of all extents of the heap arenas
 *      mapped == bytes of them that are mapped
 *
 * Locking: jemalloc's own; no lock of ours. Signal context: no, as malloc natively.
 * Source: jemalloc(3), arena.<i>.extent_hooks.
 */
#include "malloc_extent.h"

#include <stdatomic.h>

#include "adopt.h"
#include "compiler.h"

static struct {
	upage_space *space;
	size_t page_size;
	uintptr_t end;            /* of the space */
	_Atomic uintptr_t next;   /* address that no extent has had */
	_Atomic size_t mapped;    /* bytes */
	_Atomic uint64_t dropped; /* bytes, ever: what was given back */
} extents;

enum wish { WISH_MAP, WISH_UNMAP, WISH_DROP };

struct request {
	enum wish wish;
	uintptr_t start, end;
	int result;
};

/* @argument lies on the program's stack, which may be paged: it is read before, and written
 * after libupage holds a lock. */
static long serve(void *argument)
{
	struct request *request = argument;
	void *start = (void *)request->start;
	size_t size = request->end - request->start;
	int result = UPAGE_EINVAL;
	switch (request->wish) {
	case WISH_MAP:
		result = upage_map(extents.space, &start, size, PROT_READ | PROT_WRITE, UPAGE_MAP_FIXED,
		                   NULL, 0);
		break;
	case WISH_UNMAP:
		result = upage_unmap(extents.space, start, size);
		break;
	case WISH_DROP:
		result = upage_advise(extents.space, start, size, UPAGE_DONTNEED);
		break;
	}
	request->result = result;
	return 0;
}

/* Return: whether it was done. */
static bool wish(enum wish wish, uintptr_t start, uintptr_t end)
{
	struct request request = { .wish = wish, .start = start, .end = end };
	upage_on_handler_stack(serve, &request);
	return request.result == 0;
}

/* Addresses that nobody has had. Return: the first, or 0. */
static uintptr_t take_addresses(size_t size, size_t alignment)
{
	uintptr_t next = atomic_load(&extents.next), start;
	do {
		start = round_up(next, alignment);
		if (start < next || start > extents.end || size > extents.end - start)
			return 0;
	} while (!atomic_compare_exchange_weak(&extents.next, &next, start + size));
	return start;
}

static void *extent_allocate(extent_hooks_t *hooks, void *address, size_t size, size_t alignment,
                             bool *zero, bool *commit, unsigned arena)
{
	(void)hooks, (void)arena;
	size = round_up(size, extents.page_size);
	if (address != NULL || size == 0)
		return NULL;
	uintptr_t start = take_addresses(size, alignment > extents.page_size ? alignment : extents.page_size);
	if (start == 0)
		return NULL;
	uintptr_t end = start + size;
	if (!wish(WISH_MAP, start, end)) {
		/* If they are still the last, they have not been anybody's. */
		atomic_compare_exchange_strong(&extents.next, &end, start);
		return NULL;
	}
	atomic_fetch_add(&extents.mapped, size);
	*zero = true;
	*commit = true;
	return (void *)start;
}

/* Not done: the extent is kept, and purged. */
static bool extent_free(extent_hooks_t *hooks, void *address, size_t size, bool committed,
                        unsigned arena)
{
	(void)hooks, (void)address, (void)size, (void)committed, (void)arena;
	return true;
}

static bool extent_commit(extent_hooks_t *hooks, void *address, size_t size, size_t offset,
                          size_t length, unsigned arena)
{
	(void)hooks, (void)size, (void)arena;
	uintptr_t start = (uintptr_t)address + offset;
	if (!wish(WISH_MAP, start, start + length))
		return true;
	atomic_fetch_add(&extents.mapped, length);
	return false;
}

static bool extent_decommit(extent_hooks_t *hooks, void *address, size_t size, size_t offset,
                            size_t length, unsigned arena)
{
	(void)hooks, (void)size, (void)arena;
	uintptr_t start = (uintptr_t)address + offset;
	if (!wish(WISH_UNMAP, start, start + length))
		return true;
	atomic_fetch_sub(&extents.mapped, length);
	atomic_fetch_add(&extents.dropped, length);
	return false;
}

static bool drop(uintptr_t start, uintptr_t end)
{
	if (!wish(WISH_DROP, start, end))
		return false;
	atomic_fetch_add(&extents.dropped, end - start);
	return true;
}

/* All of the range must be zero afterwards. Only pages larger than jemalloc's can be in part. */
static bool extent_purge_forced(extent_hooks_t *hooks, void *address, size_t size, size_t offset,
                                size_t length, unsigned arena)
{
	(void)hooks, (void)size, (void)arena;
	uintptr_t start = (uintptr_t)address + offset, end = start + length;
	if (((start | end) & (extents.page_size - 1)) != 0)
		return true;
	return !drop(start, end);
}

/* What remains of the range does not matter: the whole pages in it go. */
static bool extent_purge_lazy(extent_hooks_t *hooks, void *address, size_t size, size_t offset,
                              size_t length, unsigned arena)
{
	(void)hooks, (void)size, (void)arena;
	uintptr_t start = round_up((uintptr_t)address + offset, extents.page_size);
	uintptr_t end = ((uintptr_t)address + offset + length) & ~(extents.page_size - 1);
	return start >= end || !drop(start, end);
}

/* Any two extents that touch are one mapping, or as good as one. */
static bool extent_split(extent_hooks_t *hooks, void *address, size_t size, size_t size_a,
                         size_t size_b, bool committed, unsigned arena)
{
	(void)hooks, (void)address, (void)size, (void)size_a, (void)size_b, (void)committed,
	        (void)arena;
	return false;
}

static bool extent_merge(extent_hooks_t *hooks, void *a, size_t size_a, void *b, size_t size_b,
                         bool committed, unsigned arena)
{
	(void)hooks, (void)a, (void)size_a, (void)b, (void)size_b, (void)committed, (void)arena;
	return false;
}

extent_hooks_t malloc_extent_hooks = { .alloc = extent_allocate,
	                               .dalloc = extent_free,
	                               .purge_forced = extent_purge_forced,
	                               .purge_lazy = extent_purge_lazy,
	                               .split = extent_split,
	                               .merge = extent_merge };

void malloc_extent_init(upage_pool *pool, upage_space *space, bool commit)
{
	extents.space = space;
	extents.page_size = upage_pool_page_size(pool);
	extents.next = (uintptr_t)upage_space_base(space);
	extents.end = extents.next + upage_space_length(space);
	if (commit) {
		malloc_extent_hooks.commit = extent_commit;
		malloc_extent_hooks.decommit = extent_decommit;
	}
}

size_t malloc_extent_mapped(void)
{
	return atomic_load(&extents.mapped);
}

uint64_t malloc_extent_dropped(void)
{
	return atomic_load(&extents.dropped);
}
