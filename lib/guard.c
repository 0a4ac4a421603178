/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guard.h"

#include "host.h"
#include "lock.h"
#include "upage.h"

/* Bytes of addresses. Where they are limited (ulimit -v), spaces need them, too. */
#define ARENA_MOST ((size_t)1 << 40)
#define ARENA_LEAST ((size_t)1 << 30)

/* To open and to close the arena the host changes a word for each page that is there, large or small.
 * Few are there at first. In a process that opens it often they become large ones, a step each time:
 * not from the beginning, for after a fork a large one is 512 small ones. */
#define STEP HOST_LARGE_PAGE
#define OPENINGS_A_STEP 256
#define REGIONS_MAX ((size_t)1 << 16)

_Atomic bool guard_is_on;

static enum { UNDECIDED, WITHOUT, WITH } decision;

/* From the middle up lies what is put in use from its beginning, down what is large and sparse. */
static uintptr_t arena, middle;
static size_t arena_bytes;

static struct lock inside_lock;      /* held while inside becomes 0, or is not 0 any more */
static _Atomic uint32_t inside;
static uint64_t openings;
static _Atomic uintptr_t used, used_end; /* the part that is opened and closed; grows inside */

/* What is in use of the arena: in order, without gaps; none has the middle inside, and two FREE ones
 * are beside each other at most there. */
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
	uintptr_t start = atomic_load(&used);
	if (host_protect(start, atomic_load(&used_end) - start, prot) < 0)
		host_die();
}

/* One step after the other, round and round. */
static void enlarge(uint64_t turn)
{
	uint64_t steps = (atomic_load(&used_end) - middle) / STEP;
	if (steps > 0)
		host_collapse(middle + turn % steps * STEP, STEP);
}

void guard_enter(void)
{
	uint32_t now = atomic_load(&inside);
	while (now > 0)
		if (atomic_compare_exchange_weak(&inside, &now, now + 1))
			return;
	lock_acquire(&inside_lock);
	if (atomic_load(&inside) == 0) {
		protect(PROT_READ | PROT_WRITE);
		if (++openings % OPENINGS_A_STEP == 0)
			enlarge(openings / OPENINGS_A_STEP);
	}
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

/* Joins two free ones that follow each other, on one side of the middle. */
static void join(size_t i)
{
	if (i + 1 < region_count && regions[i].what == GUARDED_FREE &&
	    regions[i + 1].what == GUARDED_FREE &&
	    (uintptr_t)region_memory(&regions[i + 1]) != middle) {
		regions[i].pages += regions[i + 1].pages;
		cut(i + 1);
	}
}

/* Steps of the arena come into use. Return: whether the host could. */
static bool grow_up(size_t bytes)
{
	uintptr_t end = atomic_load(&used_end), more = round_up(bytes, STEP);
	if (arena + arena_bytes - end < more || host_commit(end, more, false) < 0)
		return false;
	atomic_store(&used_end, end + more);
	insert(region_count, (struct region){ .start = (uint32_t)((end - arena) / HOST_PAGE_SIZE),
		                              .pages = (uint32_t)(more / HOST_PAGE_SIZE) });
	join(region_count - 2);
	return true;
}

static bool grow_down(size_t bytes)
{
	uintptr_t start = atomic_load(&used), more = round_up(bytes, STEP);
	if (start - arena < more || host_commit(start - more, more, true) < 0)
		return false;
	atomic_store(&used, start - more);
	insert(0, (struct region){ .start = (uint32_t)((start - more - arena) / HOST_PAGE_SIZE),
		                   .pages = (uint32_t)(more / HOST_PAGE_SIZE) });
	join(0);
	return true;
}

/* The first that is free and large enough. NULL: none. */
static struct region *find_room(size_t pages, bool sparse)
{
	for (size_t i = 0; i < region_count; i++)
		if (regions[i].what == GUARDED_FREE && regions[i].pages >= pages &&
		    ((uintptr_t)region_memory(&regions[i]) < middle) == sparse)
			return &regions[i];
	return NULL;
}

static void *take(size_t pages, enum guarded what)
{
	const bool sparse = what == GUARDED_SLOTS || what == GUARDED_MAPPINGS;
	if (region_count + 2 >= REGIONS_MAX)
		return NULL;
	struct region *region = find_room(pages, sparse);
	if (region == NULL && (sparse ? grow_down : grow_up)(pages * HOST_PAGE_SIZE))
		region = find_room(pages, sparse);
	if (region == NULL)
		return NULL;
	if (region->pages > pages)
		insert((size_t)(region - regions) + 1,
		       (struct region){ .start = region->start + (uint32_t)pages,
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
	if (i > 0)
		join(i - 1);
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
	enum guarded what = GUARDED_FREE;
	if (address >= atomic_load(&used) && address < atomic_load(&used_end))
		what = regions[find((uint32_t)((address - arena) / HOST_PAGE_SIZE))].what;
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
	middle = round_down(arena + bytes / 4 * 3, STEP);
	if (host_commit(middle - list, list, true) < 0) {
		host_release(base, bytes);
		return UPAGE_ENOMEM;
	}
	regions = (struct region *)(middle - list);
	regions[0] = (struct region){ .start = (uint32_t)((middle - list - arena) / HOST_PAGE_SIZE),
		                      .pages = (uint32_t)(list / HOST_PAGE_SIZE),
		                      .what = GUARDED_LIST };
	region_count = 1;
	atomic_store(&used, middle - list);
	atomic_store(&used_end, middle);
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
	openings = 0;
	protect(PROT_READ | PROT_WRITE);
}
