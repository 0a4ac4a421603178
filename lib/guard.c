/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guard.h"

#include "host.h"
#include "lock.h"
#include "upage.h"

/* Bytes of addresses. Where they are limited (ulimit -v), spaces need them, too. */
#define ARENA_MOST ((size_t)1 << 40)
#define ARENA_LEAST ((size_t)1 << 30)

/* The arena grows by the host's large pages: what it changes to open and to close it is a word for
 * each page that is there, large or small. */
#define STEP ((size_t)2 << 20)
#define REGIONS_MAX ((size_t)1 << 16)

_Atomic bool guard_is_on;

static enum { UNDECIDED, WITHOUT, WITH } decision;

static uintptr_t arena;
static size_t arena_bytes;

static struct lock inside_lock;      /* held while inside becomes 0, or is not 0 any more */
static _Atomic uint32_t inside;
static _Atomic size_t used;          /* bytes of the arena that are opened and closed; grows inside */

/* What the arena is made of: in order, without gaps, and without two FREE ones beside each other. The
 * list itself is the first. What lies behind the last was never used. */
struct region {
	uint32_t start, pages; /* host pages, from the beginning of the arena */
	enum guarded what;
};

static struct lock regions_lock; /* guards what follows; never held when a bracket begins or ends but its own */
static struct region *regions;
static size_t region_count;

/* ---- Open, closed -------------------------------------------------------------------------- */

/* It is one mapping of the host's, so that this takes no memory, and does not fail. */
static void protect(int prot)
{
	if (host_protect(arena, atomic_load(&used), prot) < 0)
		host_die();
}

void guard_enter(void)
{
	uint32_t now = atomic_load(&inside);
	while (now > 0)
		if (atomic_compare_exchange_weak(&inside, &now, now + 1))
			return;
	lock_acquire(&inside_lock);
	if (atomic_load(&inside) == 0)
		protect(PROT_READ | PROT_WRITE);
	atomic_fetch_add(&inside, 1);
	lock_release(&inside_lock);
}

void guard_leave(void)
{
	uint32_t now = atomic_load(&inside);
	while (now > 1)
		if (atomic_compare_exchange_weak(&inside, &now, now - 1))
			return;
	lock_acquire(&inside_lock);
	if (atomic_fetch_sub(&inside, 1) == 1)
		protect(PROT_NONE);
	lock_release(&inside_lock);
}

/* ---- The arena: regions_lock is held, in a bracket ------------------------------------------ */

static void *region_memory(const struct region *region)
{
	return (void *)(arena + region->start * HOST_PAGE_SIZE);
}

static void insert(size_t i, struct region region)
{
	for (size_t j = region_count; j > i; j--)
		regions[j] = regions[j - 1];
	regions[i] = region;
	region_count++;
}

static void cut(size_t i)
{
	region_count--;
	for (; i < region_count; i++)
		regions[i] = regions[i + 1];
}

/* The first free one that is large enough, or what was never used. NULL: there is none. */
static struct region *find_room(size_t pages)
{
	struct region *last = &regions[region_count - 1];
	if (region_count + 1 >= REGIONS_MAX)
		return NULL;
	for (struct region *region = regions; region <= last; region++)
		if (region->what == GUARDED_FREE && region->pages >= pages)
			return region;
	uint32_t end = last->start + last->pages;
	if (arena_bytes / HOST_PAGE_SIZE - end < pages)
		return NULL;
	insert(region_count, (struct region){ .start = end, .pages = (uint32_t)pages });
	return &regions[region_count - 1];
}

/* Free ones beside each other become one. */
static void join(size_t i)
{
	if (i + 1 < region_count && regions[i + 1].what == GUARDED_FREE) {
		regions[i].pages += regions[i + 1].pages;
		cut(i + 1);
	}
	if (i > 0 && regions[i - 1].what == GUARDED_FREE) {
		regions[i - 1].pages += regions[i].pages;
		cut(i);
	}
}

/* Up to @end at least. Return: whether the host could. */
static bool grow(size_t end)
{
	size_t now = atomic_load(&used);
	end = round_up(end, STEP);
	if (end <= now)
		return true;
	if (host_commit(arena + now, end - now) < 0)
		return false;
	atomic_store(&used, end);
	return true;
}

static void *take(size_t pages, enum guarded what)
{
	struct region *region = find_room(pages);
	if (region == NULL)
		return NULL;
	size_t i = (size_t)(region - regions);
	if (!grow((region->start + pages) * HOST_PAGE_SIZE)) {
		region_count--; /* it is the last one, and new */
		return NULL;
	}
	if (region->pages > pages)
		insert(i + 1, (struct region){ .start = region->start + (uint32_t)pages,
			                       .pages = region->pages - (uint32_t)pages });
	region->pages = (uint32_t)pages;
	region->what = what;
	return region_memory(region);
}

/* The index of the region that has a page. */
static size_t find(uint32_t page)
{
	size_t low = 0, high = region_count - 1;
	while (low < high) {
		size_t middle = low + (high - low + 1) / 2;
		if (regions[middle].start > page)
			high = middle - 1;
		else
			low = middle;
	}
	return low;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static bool is_guarded(uintptr_t address)
{
	return guard_is_on && address - arena < arena_bytes;
}

static void begin(void)
{
	guard_enter();
	lock_acquire(&regions_lock);
}

static void end(void)
{
	lock_release(&regions_lock);
	guard_leave();
}

void *guard_metadata(size_t bytes, enum guarded what)
{
	if (!guard_is_on)
		return host_metadata(bytes);
	if (bytes == 0 || bytes > arena_bytes)
		return NULL;
	signal_mask mask = signals_block();
	begin();
	void *memory = take(host_page_up(bytes) / HOST_PAGE_SIZE, what);
	end();
	signals_set(mask);
	return memory;
}

void guard_metadata_release(void *memory, size_t bytes)
{
	if (!is_guarded((uintptr_t)memory)) {
		host_metadata_release(memory, bytes);
		return;
	}
	signal_mask mask = signals_block();
	begin();
	size_t i = find((uint32_t)(((uintptr_t)memory - arena) / HOST_PAGE_SIZE));
	INVARIANT(region_memory(&regions[i]) == memory &&
	          regions[i].pages * HOST_PAGE_SIZE == host_page_up(bytes));
	host_empty(memory, host_page_up(bytes));
	regions[i].what = GUARDED_FREE;
	join(i);
	end();
	signals_set(mask);
}

const char *guard_name(uintptr_t address)
{
	static const char *const names[] = {
#define X(name, text) [GUARDED_##name] = (text),
		GUARDED_MAP(X)
#undef X
	};
	if (!is_guarded(address))
		return NULL;
	begin();
	uintptr_t offset = address - arena;
	enum guarded what = GUARDED_FREE;
	const struct region *region = &regions[find((uint32_t)(offset / HOST_PAGE_SIZE))];
	if (offset / HOST_PAGE_SIZE < region->start + region->pages) /* else it is behind the last */
		what = region->what;
	end();
	return names[what];
}

/* ---- The beginning --------------------------------------------------------------------------- */

static int arena_make(void)
{
	const size_t list = host_page_up(REGIONS_MAX * sizeof(struct region));
	size_t bytes = ARENA_MOST;
	void *base = NULL;
	if (host_reserve(NULL, bytes, &base) < 0) {
		bytes = ARENA_LEAST;
		if (host_reserve(NULL, bytes, &base) < 0)
			return UPAGE_ENOMEM;
	}
	arena = round_up((uintptr_t)base, STEP);
	arena_bytes = bytes - STEP;
	if (!grow(list)) {
		host_release(base, bytes);
		return UPAGE_ENOMEM;
	}
	regions = (struct region *)arena;
	regions[0] = (struct region){ .start = 0,
		                      .pages = (uint32_t)(list / HOST_PAGE_SIZE),
		                      .what = GUARDED_LIST };
	region_count = 1;
	protect(PROT_NONE);
	return 0;
}

int guard_decide(bool wanted)
{
	int result = 0;
	if (decision == UNDECIDED && wanted)
		result = arena_make();
	if (decision == UNDECIDED && result == 0) {
		decision = wanted ? WITH : WITHOUT;
		atomic_store(&guard_is_on, wanted);
	} else if (decision == WITHOUT && wanted) {
		result = UPAGE_EBUSY;
	}
	return result;
}

/* ---- Forks ------------------------------------------------------------------------------------ */

void guard_fork_begin(void)
{
	lock_acquire(&regions_lock);
}

void guard_fork_end(void)
{
	lock_release(&regions_lock);
}

/* Others, who are not here, may have been about to open or to close it. */
void guard_fork_child(void)
{
	if (!guard_is_on)
		return;
	inside_lock = (struct lock){ 0 };
	atomic_store(&inside, 1);
	protect(PROT_READ | PROT_WRITE);
}
