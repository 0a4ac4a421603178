/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * heap.c - heaps: jemalloc arenas whose extents are mappings of a space
 *
 * The jemalloc inside this library is a private copy: the program's own malloc is untouched.
 * Each heap has a few arenas, so that threads seldom meet; a thread takes one by its number.
 * Extents are mappings with a backing of the heap's own, by which all are found at its end.
 * What jemalloc has no use for is dropped by UPAGE_DONTNEED, so that dead pages are not written
 * to swap: it keeps its addresses, but no frame and no slot. jemalloc's metadata comes from its
 * default hooks, outside of paged memory: its headers must not fault while it holds its locks.
 *
 * jemalloc knows extents by their addresses, which must differ. In spaces that have the same addresses
 * they do not; their parks do (window.h). So what it is told is an address there: @apart from the block's
 * own, always, whether the space is current or not. It never touches a block itself, but in rallocx().
 *
 *      mapped == bytes of all mappings with the heap's backing
 *      address that jemalloc knows == address + apart
 *
 * Locking: jemalloc's own. `lock` guards the making of heaps. Signal context: no.
 * Source: jemalloc(3), "arena.<i>.extent_hooks".
 */
#include "map.h"

#ifdef HAVE_JEMALLOC

#include <jemalloc/jemalloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

#define ARENAS_MAX 8

/* Of our private jemalloc. All arenas but ours stay empty: one is enough. oversize_threshold:
 * no arena of its own for large blocks. Thread caches would keep blocks of dead heaps. */
const char *malloc_conf =
        "narenas:1,tcache:false,oversize_threshold:0,background_thread:false,"
        "dirty_decay_ms:1000,muzzy_decay_ms:0";

struct upage_heap {
	extent_hooks_t hooks; /* first: jemalloc hands its address back to us */
	upage_space *space;
	struct backing *backing;
	_Atomic size_t mapped; /* bytes */
	size_t apart;          /* from an address to what jemalloc has for it */
	bool ended; /* its extents are unmapped: the hooks have nothing to do */
	unsigned arenas;
	unsigned arena[ARENAS_MAX];
};

/* ---- Extents ---------------------------------------------------------------------------- */

static struct upage_heap *heap_of(extent_hooks_t *hooks)
{
	return (struct upage_heap *)hooks;
}

static size_t to_pages(const struct upage_heap *heap, size_t size)
{
	return round_up(size, frame_size(&heap->space->pool->frames));
}

/* upage_map with an alignment above a page's: maps more, gives the ends back. */
static void *map_aligned(struct upage_heap *heap, size_t size, size_t alignment)
{
	size_t page = frame_size(&heap->space->pool->frames);
	size_t slack = alignment > page ? alignment - page : 0;
	void *block = NULL;
	if (map_backing(heap->space, &block, size + slack, 0, heap->backing) < 0)
		return NULL;
	char *start = (char *)round_up((uintptr_t)block, alignment);
	size_t before = (size_t)(start - (char *)block);
	if (before > 0)
		upage_unmap(heap->space, block, before);
	if (slack > before)
		upage_unmap(heap->space, start + size, slack - before);
	return start;
}

/* An address of the space, for jemalloc; and back. */
static void *tell(const struct upage_heap *heap, void *address)
{
	return address != NULL ? (char *)address + heap->apart : NULL;
}

static void *own(const struct upage_heap *heap, void *told)
{
	return told != NULL ? (char *)told - heap->apart : NULL;
}

static void *extent_allocate(extent_hooks_t *hooks, void *address, size_t size, size_t alignment,
                             bool *zero, bool *commit, unsigned arena)
{
	struct upage_heap *heap = heap_of(hooks);
	void *extent = own(heap, address);
	(void)arena;
	size = to_pages(heap, size);
	if (address == NULL)
		extent = map_aligned(heap, size, alignment);
	else if (map_backing(heap->space, &extent, size, UPAGE_MAP_FIXED, heap->backing) < 0)
		extent = NULL;
	if (extent == NULL)
		return NULL;
	atomic_fetch_add(&heap->mapped, size);
	*zero = true;
	*commit = true;
	return tell(heap, extent);
}

/* Returns true for "not done": jemalloc then purges the extent and keeps it for later. It must,
 * because it tells the extents of different arenas apart only by where they begin: an extent
 * of another arena in a hole in the middle of one would be joined with what lies behind. */
static bool extent_free(extent_hooks_t *hooks, void *address, size_t size, bool committed,
                        unsigned arena)
{
	(void)address, (void)size, (void)committed, (void)arena;
	return !heap_of(hooks)->ended;
}

static bool extent_purge(extent_hooks_t *hooks, void *address, size_t size, size_t offset,
                         size_t length, unsigned arena)
{
	struct upage_heap *heap = heap_of(hooks);
	char *start = (char *)own(heap, address) + offset;
	(void)size;
	(void)arena;
	if (heap->ended)
		return false;
	if (to_pages(heap, (uintptr_t)start) != (uintptr_t)start || to_pages(heap, length) != length)
		return true;
	return upage_advise(heap->space, start, length, UPAGE_DONTNEED) < 0;
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

/* ---- Arenas ------------------------------------------------------------------------------ */

static int arena_control(unsigned arena, const char *what, void *value, size_t size)
{
	char name[64];
	snprintf(name, sizeof(name), "arena.%u.%s", arena, what);
	return mallctl(name, NULL, NULL, value, size) == 0 ? 0 : UPAGE_ENOMEM;
}

/* The arena is made with the default hooks, which so serve its metadata; then it gets ours. */
static int arena_make(struct upage_heap *heap, unsigned *arena)
{
	size_t size = sizeof(*arena);
	extent_hooks_t *hooks = &heap->hooks;
	if (mallctl("arenas.create", arena, &size, NULL, 0) != 0)
		return UPAGE_ENOMEM;
	return arena_control(*arena, "extent_hooks", &hooks, sizeof(hooks));
}

/* The arenas forget their extents; the space already has. */
static void heap_end(struct upage_heap *heap)
{
	for (unsigned i = 0; i < heap->arenas; i++)
		arena_control(heap->arena[i], "destroy", NULL, 0);
	backing_release(heap->backing);
	host_metadata_release(heap, sizeof(*heap));
}

PUBLIC int upage_heap_create(upage_heap **out, upage_space *space)
{
	if (out == NULL || space == NULL)
		return UPAGE_EINVAL;
	struct upage_heap *heap = host_metadata(sizeof(*heap));
	if (heap == NULL)
		return UPAGE_ENOMEM;
	heap->hooks = (extent_hooks_t){ .alloc = extent_allocate,
		                        .dalloc = extent_free,
		                        .destroy = NULL,
		                        .purge_forced = extent_purge,
		                        .split = extent_split,
		                        .merge = extent_merge };
	heap->space = space;
	heap->apart = space_shares_addresses(space) ? space->place.park - space->base : 0;
	heap->backing = space_backing(space, NULL, 0, false);
	if (heap->backing == NULL) {
		host_metadata_release(heap, sizeof(*heap));
		return UPAGE_ENOMEM;
	}
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned wanted = processors < 1 ? 1 : processors > ARENAS_MAX ? ARENAS_MAX
	                                                               : (unsigned)processors;
	int result = 0;
	while (heap->arenas < wanted && result == 0) {
		result = arena_make(heap, &heap->arena[heap->arenas]);
		heap->arenas += result == 0;
	}
	if (result < 0) {
		heap_end(heap);
		return result;
	}
	atomic_fetch_add(&space->heaps, 1);
	*out = heap;
	return 0;
}

PUBLIC int upage_heap_destroy(upage_heap *heap)
{
	if (heap == NULL)
		return 0;
	int result = unmap_backing(heap->space, heap->backing);
	if (result < 0)
		return result;
	heap->ended = true;
	atomic_fetch_sub(&heap->space->heaps, 1);
	heap_end(heap);
	return 0;
}

/* ---- Blocks ------------------------------------------------------------------------------ */

static int flags_of(const struct upage_heap *heap)
{
	unsigned arena = heap->arena[(unsigned)host_thread_id() % heap->arenas];
	return (int)(MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
}

PUBLIC void *upage_heap_allocate(upage_heap *heap, size_t size)
{
	return own(heap, mallocx(size > 0 ? size : 1, flags_of(heap)));
}

PUBLIC void *upage_heap_allocate_aligned(upage_heap *heap, size_t alignment, size_t size)
{
	if (!is_power_of_two(alignment) || (heap->apart & (alignment - 1)) != 0)
		return NULL;
	return own(heap, mallocx(size > 0 ? size : 1, flags_of(heap) | (int)MALLOCX_ALIGN(alignment)));
}

/* In a window, where jemalloc cannot copy. */
static void *resize_apart(upage_heap *heap, void *block, size_t size)
{
	if (xallocx(tell(heap, block), size, 0, MALLOCX_TCACHE_NONE) >= size)
		return block;
	if (atomic_load(&heap->space->place.displacement) != 0)
		return NULL;
	void *other = upage_heap_allocate(heap, size);
	if (other != NULL) {
		size_t before = upage_heap_block_size(heap, block);
		memcpy(other, block, before < size ? before : size);
		upage_heap_free(heap, block);
	}
	return other;
}

PUBLIC void *upage_heap_resize(upage_heap *heap, void *block, size_t size)
{
	size = size > 0 ? size : 1;
	if (block == NULL)
		return upage_heap_allocate(heap, size);
	return heap->apart != 0 ? resize_apart(heap, block, size) : rallocx(block, size, flags_of(heap));
}

PUBLIC void upage_heap_free(upage_heap *heap, void *block)
{
	if (block != NULL)
		dallocx(tell(heap, block), MALLOCX_TCACHE_NONE);
}

PUBLIC size_t upage_heap_block_size(upage_heap *heap, const void *block)
{
	return sallocx((const char *)block + heap->apart, 0);
}

#else /* !HAVE_JEMALLOC */

struct upage_heap {
	_Atomic size_t mapped;
};

PUBLIC int upage_heap_create(upage_heap **out, upage_space *space)
{
	(void)out, (void)space;
	return UPAGE_ENOTSUP;
}

/* No heap can exist: these are never called with one. */
PUBLIC int upage_heap_destroy(upage_heap *heap)
{
	(void)heap;
	return 0;
}

PUBLIC void *upage_heap_allocate(upage_heap *heap, size_t size)
{
	(void)heap, (void)size;
	return NULL;
}

PUBLIC void *upage_heap_allocate_aligned(upage_heap *heap, size_t alignment, size_t size)
{
	(void)heap, (void)alignment, (void)size;
	return NULL;
}

PUBLIC void *upage_heap_resize(upage_heap *heap, void *block, size_t size)
{
	(void)heap, (void)block, (void)size;
	return NULL;
}

PUBLIC void upage_heap_free(upage_heap *heap, void *block)
{
	(void)heap, (void)block;
}

PUBLIC size_t upage_heap_block_size(upage_heap *heap, const void *block)
{
	(void)heap, (void)block;
	return 0;
}

#endif

PUBLIC size_t upage_heap_mapped(const upage_heap *heap)
{
	return atomic_load(&heap->mapped);
}
