/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "space.h"

#include <unistd.h>

#include "host.h"
#include "signals.h"

#define SPACES_MAX 1024
#define SPACE_SHIFT 21 /* spaces start at multiples of 2 MiB where they may choose */
#define READ_AHEAD 16 /* pages, for UPAGE_SEQUENTIAL */
#define LENGTH_DEFAULT ((size_t)1 << 40)

static _Atomic(upage_space *) spaces[SPACES_MAX];
static _Atomic unsigned space_count; /* entries of spaces that were ever used */
static struct lock spaces_lock;      /* guards making and ending spaces */
static _Atomic uint64_t *fork_word;  /* the process that made the newest space; 0: forked since */

/* One shared mapping of a part of a store at a time: held while it is looked for and made. */
static struct lock shared_lock; /* rank 0 */

/* ---- Look-up --------------------------------------------------------------------------- */

upage_space *space_find(uintptr_t address)
{
	unsigned count = atomic_load(&space_count);
	for (unsigned i = 0; i < count; i++) {
		upage_space *space = atomic_load(&spaces[i]);
		uintptr_t base = atomic_load(&space->base);
		if (base != 0 && address - base < atomic_load(&space->length))
			return space;
	}
	return NULL;
}

/* The first mapping that ends past @address: the one that has it, or the next. */
static size_t mapping_index(const upage_space *space, uintptr_t address)
{
	size_t low = 0, high = space->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (space->mappings[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct mapping *mapping_find(const upage_space *space, uintptr_t address)
{
	size_t i = mapping_index(space, address);
	return i < space->count && space->mappings[i].start <= address ? &space->mappings[i] : NULL;
}

bool space_nearest(upage_space *space, uintptr_t address, uintptr_t *start, uintptr_t *end)
{
	rwlock_read(&space->lock);
	size_t i = mapping_index(space, address);
	bool any = space->count > 0;
	if (any) {
		if (i == space->count ||
		    (i > 0 && address < space->mappings[i].start &&
		     address - space->mappings[i - 1].end < space->mappings[i].start - address))
			i--;
		*start = space->mappings[i].start;
		*end = space->mappings[i].end;
	}
	rwlock_read_release(&space->lock);
	return any;
}

static size_t page_bytes(const upage_space *space)
{
	return (size_t)1 << space->table.page_shift;
}

static upage_vpn vpn_of(const upage_space *space, uintptr_t address)
{
	return (address - space->base) >> space->table.page_shift;
}

static uintptr_t address_of(const upage_space *space, upage_vpn vpn)
{
	return space->base + (vpn << space->table.page_shift);
}

/* ---- Page faults ------------------------------------------------------------------------ */

/* What the machine allows where @prot was asked for: x86-64 has no memory that may be
 * written or executed but not read. */
static int effective_prot(int prot)
{
	return prot != PROT_NONE ? prot | PROT_READ : PROT_NONE;
}

/* Locks the PTE of an address, with what its mapping says. The space's lock is only held for
 * the look-up: who waits for the page, or works on it, holds nothing else. */
static enum fault_outcome page_lock(upage_space *space, uintptr_t address, int access,
                                    struct page *page, uint64_t *value,
                                    enum upage_advice *advice, int *failure)
{
	for (;;) {
		rwlock_read(&space->lock);
		const struct mapping *mapping = mapping_find(space, address);
		enum fault_outcome outcome = FAULT_SERVED;
		bool locked = false;
		if (mapping == NULL) {
			outcome = FAULT_BOUNDS;
		} else if (access & ~effective_prot(mapping->prot)) {
			outcome = FAULT_PROTECTION;
		} else {
			page->pte = page_table_make(&space->table, vpn_of(space, address));
			page->address = address & ~(page_bytes(space) - 1);
			page->prot = effective_prot(mapping->prot);
			page->backing = mapping->backing;
			*advice = mapping->advice;
			if (page->pte == NULL) {
				*failure = UPAGE_ENOMEM;
				outcome = FAULT_FAILED;
			} else {
				locked = pte_trylock(page->pte, value);
			}
		}
		rwlock_read_release(&space->lock);
		if (locked || outcome != FAULT_SERVED)
			return outcome;
		pte_wait(page->pte);
	}
}

/* After a read from a store in a sequential mapping: the pages behind it too, as long as
 * there are free frames. */
static void read_ahead(upage_space *space, uintptr_t address)
{
	for (unsigned i = 1; i <= READ_AHEAD; i++) {
		uintptr_t next = address + i * page_bytes(space);
		struct page page;
		uint64_t value;
		rwlock_read(&space->lock);
		const struct mapping *mapping = mapping_find(space, next);
		bool locked = false;
		if (mapping != NULL && mapping->advice == UPAGE_SEQUENTIAL && mapping->prot != PROT_NONE) {
			page = (struct page){ page_table_make(&space->table, vpn_of(space, next)),
				              next & ~(page_bytes(space) - 1),
				              effective_prot(mapping->prot), mapping->backing };
			locked = page.pte != NULL && pte_trylock(page.pte, &value);
		}
		rwlock_read_release(&space->lock);
		if (!locked || !pager_prefetch(space->pool, &page, value))
			break;
	}
}

enum fault_outcome space_fault(upage_space *space, uintptr_t address, int access, int *failure)
{
	struct stats *stats = &space->pool->stats;
	struct page page;
	uint64_t value;
	enum upage_advice advice;
	if (space_is_lost(space)) {
		*failure = UPAGE_ENOTSUP;
		return FAULT_FAILED;
	}
	enum fault_outcome outcome =
	        page_lock(space, address, access, &page, &value, &advice, failure);
	if (outcome == FAULT_SERVED) {
		enum counter kind;
		*failure = pager_resolve(space->pool, &page, value, access, false, &kind);
		if (*failure == STORE_PAST_END)
			return FAULT_PAST_END;
		if (*failure < 0)
			outcome = FAULT_FAILED;
		else if (kind == COUNT_MAJOR && advice == UPAGE_SEQUENTIAL)
			read_ahead(space, address);
	}
	if (outcome != FAULT_SERVED)
		stats_count(stats, outcome == FAULT_BOUNDS       ? COUNT_BOUNDS
		                   : outcome == FAULT_PROTECTION ? COUNT_PROTECTION
		                                                 : COUNT_FAILED);
	return outcome;
}

/* ---- Promises of room --------------------------------------------------------------------- */

/* Whether a mapping's pages may come to need frames or slots that no store of its own has. */
static bool needs_room(int prot, bool shared)
{
	return !shared && (prot & PROT_WRITE);
}

static uint64_t pages_of(const upage_space *space, size_t length)
{
	return length >> space->table.page_shift;
}

/* ---- The array of mappings: the lock is held for writing --------------------------------- */

static bool can_join(const struct mapping *left, const struct mapping *right)
{
	return left->end == right->start && left->prot == right->prot &&
	       left->advice == right->advice && left->committed == right->committed &&
	       left->backing == right->backing;
}

static void mapping_remove(upage_space *space, size_t i)
{
	for (size_t j = i + 1; j < space->count; j++)
		space->mappings[j - 1] = space->mappings[j];
	space->count--;
}

static void mapping_insert(upage_space *space, size_t i, struct mapping mapping)
{
	for (size_t j = space->count; j > i; j--)
		space->mappings[j] = space->mappings[j - 1];
	space->mappings[i] = mapping;
	space->count++;
}

/* Joins the mappings from index @first to @last with their neighbours where they agree. */
static void mappings_join(upage_space *space, size_t first, size_t last)
{
	for (size_t i = last + 1; i-- > first && i < space->count;) {
		if (i + 1 >= space->count || !can_join(&space->mappings[i], &space->mappings[i + 1]))
			continue;
		space->mappings[i].end = space->mappings[i + 1].end;
		backing_release(space->mappings[i + 1].backing);
		mapping_remove(space, i + 1);
	}
	if (first > 0 && first < space->count &&
	    can_join(&space->mappings[first - 1], &space->mappings[first])) {
		space->mappings[first - 1].end = space->mappings[first].end;
		backing_release(space->mappings[first].backing);
		mapping_remove(space, first);
	}
}

/* Makes a border between mappings at @address, if it is inside one. */
static void mapping_split(upage_space *space, uintptr_t address)
{
	size_t i = mapping_index(space, address);
	if (i == space->count || space->mappings[i].start >= address)
		return;
	struct mapping right = space->mappings[i];
	right.start = address;
	space->mappings[i].end = address;
	backing_reference(right.backing);
	mapping_insert(space, i + 1, right);
}

static bool is_wholly_mapped(const upage_space *space, uintptr_t start, uintptr_t end)
{
	size_t i = mapping_index(space, start);
	for (; start < end; i++) {
		if (i == space->count || space->mappings[i].start > start)
			return false;
		start = space->mappings[i].end;
	}
	return true;
}

/* The lowest gap of @length bytes in the space at or behind @from; 0: none. */
static uintptr_t gap_find(const upage_space *space, uintptr_t from, size_t length)
{
	uintptr_t limit = space->base + space->length;
	uintptr_t start = from;
	for (size_t i = mapping_index(space, from); i < space->count; i++) {
		if (space->mappings[i].start > start && space->mappings[i].start - start >= length)
			return start;
		start = space->mappings[i].end;
	}
	return limit - start >= length && start <= limit ? start : 0;
}

static bool is_free(const upage_space *space, uintptr_t start, uintptr_t end)
{
	size_t i = mapping_index(space, start);
	return i == space->count || space->mappings[i].start >= end;
}

/* ---- Passes over the pages of a range ---------------------------------------------------- */

/* Calls `visit` for each run of PTEs that exist in [start, end); stops at the first failure. */
typedef int run_visitor(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                        void *argument);

static int each_run(upage_space *space, uintptr_t start, uintptr_t end, run_visitor *visit,
                    void *argument)
{
	upage_vpn vpn = vpn_of(space, start), last = vpn_of(space, end - 1) + 1;
	size_t count;
	pte_t *ptes;
	int result = 0;
	while (result == 0 && (ptes = page_table_run(&space->table, &vpn, last, &count)) != NULL) {
		result = visit(space, ptes, count, address_of(space, vpn), argument);
		vpn += count;
	}
	return result;
}

static int visit_pinned(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                        void *argument)
{
	(void)address;
	(void)argument;
	for (size_t i = 0; i < count; i++)
		if (atomic_load(&ptes[i]) != 0 && pager_is_pinned(space->pool, &ptes[i]))
			return UPAGE_EBUSY;
	return 0;
}

static int visit_discard(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                         void *argument)
{
	(void)argument;
	return pager_discard(space->pool, ptes, count, address);
}

static int visit_restrict(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                          void *argument)
{
	return pager_restrict(space->pool, ptes, count, address, *(const int *)argument);
}

/* The first failure is kept, and the others are tried. */
static int visit_sync(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                      void *argument)
{
	int *failure = argument;
	for (size_t i = 0; i < count; i++) {
		if (atomic_load(&ptes[i]) == 0)
			continue;
		uintptr_t at = address + i * page_bytes(space);
		const struct mapping *mapping = mapping_find(space, at);
		if (mapping == NULL || !mapping->backing->shared)
			continue;
		const struct page page = { &ptes[i], at, effective_prot(mapping->prot),
			                   mapping->backing };
		int result = pager_sync(space->pool, &page);
		if (*failure == 0)
			*failure = result;
	}
	return 0;
}

/* Writes what is dirty in the shared mappings of a range. The lock is held. */
static int sync_range(upage_space *space, uintptr_t start, uintptr_t end)
{
	int failure = 0;
	for (size_t i = mapping_index(space, start);
	     i < space->count && space->mappings[i].start < end; i++) {
		const struct mapping *m = &space->mappings[i];
		if (!m->backing->shared)
			continue;
		each_run(space, m->start > start ? m->start : start, m->end < end ? m->end : end,
		         visit_sync, &failure);
	}
	return failure;
}

static int visit_count(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                       void *argument)
{
	struct space_pages *pages = argument;
	for (size_t i = 0; i < count; i++) {
		uint64_t value = atomic_load(&ptes[i]);
		if (value == 0)
			continue;
		if (!pte_is_valid(value) || (value & PTE_LOCKED) ||
		    mapping_find(space, address + i * page_bytes(space)) == NULL)
			return UPAGE_EIO;
		pages->present += (value & PTE_PRESENT) != 0;
		pages->swapped += (value & PTE_SWAPPED) != 0;
		pages->seams += pager_seams_owned(&ptes[i], value);
	}
	return 0;
}

static bool mappings_are_valid(const upage_space *space, uint64_t *committed)
{
	uintptr_t end = space->base;
	for (size_t i = 0; i < space->count; i++) {
		const struct mapping *m = &space->mappings[i];
		if (m->start < end || m->start >= m->end || m->backing->references == 0)
			return false;
		end = m->end;
		*committed += m->committed ? pages_of(space, m->end - m->start) : 0;
	}
	return end <= space->base + space->length;
}

bool space_count_pages(upage_pool *pool, struct space_pages *pages)
{
	for (unsigned i = 0; i < atomic_load(&space_count); i++) {
		upage_space *space = spaces[i];
		if (space->base == 0 || space->pool != pool || space_is_lost(space))
			continue;
		if (!mappings_are_valid(space, &pages->committed) ||
		    each_run(space, space->base, space->base + space->length, visit_count, pages) != 0)
			return false;
	}
	return true;
}

/* ---- Making and ending spaces ------------------------------------------------------------ */

static upage_space *space_allocate(void)
{
	unsigned count = atomic_load(&space_count);
	for (unsigned i = 0; i < count; i++)
		if (atomic_load(&spaces[i]->base) == 0)
			return spaces[i];
	if (count == SPACES_MAX)
		return NULL;
	upage_space *space = host_metadata(sizeof(*space));
	struct mapping *mappings = host_metadata(MAPPINGS_MAX * sizeof(*mappings));
	if (space == NULL || mappings == NULL)
		return NULL;
	space->mappings = mappings;
	atomic_store(&spaces[count], space);
	atomic_store(&space_count, count + 1);
	return space;
}

static int space_make(upage_space **out, upage_pool *pool, const struct upage_space_config *config)
{
	fork_word = host_fork_word((uint64_t)getpid());
	if (fork_word == NULL)
		return UPAGE_ENOMEM;
	unsigned page_shift = pool->frames.page_shift;
	size_t length = config->length != 0 ? config->length : LENGTH_DEFAULT;
	if (length > SIZE_MAX - ((size_t)1 << page_shift))
		return UPAGE_EOVERFLOW;
	length = round_up(length, (uint64_t)1 << page_shift);
	upage_space *space = space_allocate();
	if (space == NULL)
		return UPAGE_ENOMEM;
	/* Leaves of the page table should be aligned in address too, for mappings that the host
	 * joins and tables that it moves: reserve more, give the ends back. */
	size_t alignment = (size_t)1 << (page_shift > SPACE_SHIFT ? page_shift : SPACE_SHIFT);
	size_t slack = config->address == NULL ? alignment : 0;
	void *base;
	int result = page_table_init(&space->table, &pool->tables, length >> page_shift, page_shift,
	                             config->levels);
	if (result < 0)
		return result;
	space->anonymous = backing_create(NULL, 0, false);
	result = space->anonymous != NULL ? host_reserve(config->address, length + slack, &base)
	                                  : UPAGE_ENOMEM;
	if (result < 0) {
		if (space->anonymous != NULL)
			backing_release(space->anonymous);
		page_table_destroy(&space->table);
		return result;
	}
	uintptr_t start = slack > 0 ? round_up((uintptr_t)base, alignment) : (uintptr_t)base;
	if (start > (uintptr_t)base)
		host_release(base, start - (uintptr_t)base);
	if ((uintptr_t)base + slack > start)
		host_release((void *)(start + length), (uintptr_t)base + slack - start);
	space->pool = pool;
	space->count = 0;
	space->process = atomic_load(fork_word);
	atomic_store(&space->length, length);
	atomic_store(&space->base, start);
	atomic_fetch_add(&pool->spaces, 1);
	*out = space;
	return 0;
}

PUBLIC int upage_space_create(upage_space **out, upage_pool *pool,
                              const struct upage_space_config *given)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	if (out == NULL || pool == NULL)
		return UPAGE_EINVAL;
	if (given != NULL) {
		if (given->size == 0)
			return UPAGE_EINVAL;
		if (given->size > sizeof(config))
			return UPAGE_E2BIG;
		for (size_t i = 0; i < given->size; i++)
			((char *)&config)[i] = ((const char *)given)[i];
	}
	if ((uintptr_t)config.address & (frame_size(&pool->frames) - 1))
		return UPAGE_EINVAL;
	upage_space *space = NULL;
	signal_mask mask = signals_block();
	lock_acquire(&spaces_lock);
	int result = space_make(&space, pool, &config);
	lock_release(&spaces_lock);
	signals_set(mask);
	if (result == 0)
		*out = space;
	return result;
}

/* Unmaps [start, end), which may have gaps. The lock is held. */
static int unmap_range(upage_space *space, uintptr_t start, uintptr_t end)
{
	int result = each_run(space, start, end, visit_pinned, NULL);
	if (result == 0)
		result = sync_range(space, start, end);
	if (result == 0)
		result = each_run(space, start, end, visit_discard, NULL);
	if (result < 0)
		return result;
	mapping_split(space, start);
	mapping_split(space, end);
	size_t first = mapping_index(space, start), last = first;
	for (; last < space->count && space->mappings[last].start < end; last++) {
		const struct mapping *m = &space->mappings[last];
		if (m->committed)
			pager_uncommit(space->pool, pages_of(space, m->end - m->start));
		backing_release(m->backing);
	}
	for (size_t i = last; i < space->count; i++)
		space->mappings[first + i - last] = space->mappings[i];
	space->count -= last - first;
	return 0;
}

static int space_end(upage_space *space)
{
	if (atomic_load(&space->heaps) > 0)
		return UPAGE_EBUSY;
	int result = 0;
	if (!space_is_lost(space)) {
		rwlock_write(&space->lock);
		result = unmap_range(space, space->base, space->base + space->length);
		rwlock_write_release(&space->lock);
	}
	if (result < 0)
		return result;
	host_release((void *)space->base, space->length);
	page_table_destroy(&space->table);
	backing_release(space->anonymous);
	atomic_fetch_sub(&space->pool->spaces, 1);
	atomic_store(&space->base, 0);
	return 0;
}

PUBLIC int upage_space_destroy(upage_space *space)
{
	if (space == NULL)
		return 0;
	signal_mask mask = signals_block();
	lock_acquire(&spaces_lock);
	int result = space_end(space);
	lock_release(&spaces_lock);
	signals_set(mask);
	return result;
}

PUBLIC void *upage_space_base(const upage_space *space)
{
	return (void *)space->base;
}

PUBLIC size_t upage_space_length(const upage_space *space)
{
	return space->length;
}

bool space_is_lost(const upage_space *space)
{
	return atomic_load(fork_word) != space->process;
}

void space_hide_all(void)
{
	for (unsigned i = 0; i < atomic_load(&space_count); i++) {
		upage_space *space = spaces[i];
		if (space->base != 0 && space_is_lost(space))
			host_hide(space->base, space->length);
	}
}

/* ---- Arguments of public functions -------------------------------------------------------- */

/* [address, address + length) rounded to pages: out to both sides if @outward, else address
 * must be a page multiple. */
static int take_range(const upage_space *space, const void *address, size_t length, bool outward,
                      uintptr_t *start, uintptr_t *end)
{
	uintptr_t mask = page_bytes(space) - 1, from = (uintptr_t)address, to;
	if (length == 0 || (!outward && (from & mask)))
		return UPAGE_EINVAL;
	if (__builtin_add_overflow(from, length, &to) || to > UINTPTR_MAX - mask)
		return UPAGE_EOVERFLOW;
	from &= ~mask;
	to = (to + mask) & ~mask;
	if (from < space->base || to > space->base + space->length)
		return UPAGE_EBOUNDS;
	*start = from;
	*end = to;
	return 0;
}

static bool is_prot(int prot)
{
	return (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) == 0;
}

/* ---- Map ---------------------------------------------------------------------------------- */

/* Whether [offset, offset + length) of a store is shared-mapped anywhere. */
static bool is_shared_already(const upage_store *store, int64_t offset, size_t length)
{
	for (unsigned s = 0; s < atomic_load(&space_count); s++) {
		upage_space *space = spaces[s];
		bool found = false;
		rwlock_read(&space->lock);
		for (size_t i = 0; space->base != 0 && i < space->count && !found; i++) {
			const struct mapping *m = &space->mappings[i];
			int64_t from = (int64_t)m->start + m->backing->delta;
			int64_t to = (int64_t)m->end + m->backing->delta;
			found = m->backing->shared && store_is_same(m->backing->store, store) &&
			        from < offset + (int64_t)length && offset < to;
		}
		rwlock_read_release(&space->lock);
		if (found)
			return true;
	}
	return false;
}

/* Where a mapping goes. Return: 0, UPAGE_EEXIST or UPAGE_ENOMEM. */
static int place(const upage_space *space, uintptr_t wanted, size_t length, bool fixed,
                 uintptr_t *start)
{
	uintptr_t limit = space->base + space->length;
	bool inside = wanted >= space->base && wanted < limit && length <= limit - wanted;
	if (inside && is_free(space, wanted, wanted + length)) {
		*start = wanted;
		return 0;
	}
	if (fixed)
		return UPAGE_EEXIST;
	*start = length <= space->length ? gap_find(space, space->base, length) : 0;
	return *start != 0 ? 0 : UPAGE_ENOMEM;
}

/* @backing: of anonymous pages; with a store the mapping gets one of its own. */
static int insert_locked(upage_space *space, uintptr_t wanted, size_t length, int prot, unsigned flags,
                      struct backing *backing, upage_store *store, int64_t offset,
                      uintptr_t *start)
{
	int result = place(space, wanted, length, flags & UPAGE_MAP_FIXED, start);
	if (result < 0)
		return result;
	if (space->count + 2 > MAPPINGS_MAX)
		return UPAGE_ENOMEM;
	if (store == NULL)
		backing_reference(backing);
	else
		backing = backing_create(store, offset - (int64_t)*start, flags & UPAGE_MAP_SHARED);
	if (backing == NULL)
		return UPAGE_ENOMEM;
	size_t i = mapping_index(space, *start);
	mapping_insert(space, i,
	               (struct mapping){ .start = *start,
	                                 .end = *start + length,
	                                 .prot = prot,
	                                 .advice = UPAGE_NORMAL,
	                                 .committed = needs_room(prot, flags & UPAGE_MAP_SHARED),
	                                 .backing = backing });
	mappings_join(space, i, i);
	return 0;
}

static int map_locked(upage_space *space, uintptr_t wanted, size_t length, int prot, unsigned flags,
                      struct backing *backing, upage_store *store, int64_t offset,
                      uintptr_t *start)
{
	bool commit = needs_room(prot, flags & UPAGE_MAP_SHARED);
	if (commit && !pager_commit(space->pool, pages_of(space, length)))
		return UPAGE_ENOMEM;
	int result = insert_locked(space, wanted, length, prot, flags, backing, store, offset, start);
	if (commit && result < 0)
		pager_uncommit(space->pool, pages_of(space, length));
	return result;
}

PUBLIC int upage_map(upage_space *space, void **address, size_t length, int prot, unsigned flags,
                     upage_store *store, off_t offset)
{
	if (space == NULL || address == NULL || length == 0 || !is_prot(prot) || offset < 0 ||
	    (flags & ~(UPAGE_MAP_FIXED | UPAGE_MAP_SHARED)) != 0)
		return UPAGE_EINVAL;
	bool fixed = flags & UPAGE_MAP_FIXED, shared = flags & UPAGE_MAP_SHARED;
	uintptr_t wanted = (uintptr_t)*address, mask = page_bytes(space) - 1, start = 0;
	if (space_is_lost(space))
		return UPAGE_ENOTSUP;
	if ((wanted & mask) || ((uint64_t)offset & mask) || (store == NULL && (shared || offset != 0)))
		return UPAGE_EINVAL;
	uintptr_t end;
	if (length > SIZE_MAX - mask)
		return UPAGE_EOVERFLOW;
	length = (length + mask) & ~mask;
	if (__builtin_add_overflow(wanted, length, &end) || (int64_t)length < 0 ||
	    offset > INT64_MAX - (int64_t)length)
		return UPAGE_EOVERFLOW;
	if (fixed && (wanted < space->base || end > space->base + space->length))
		return UPAGE_EBOUNDS;
	if (shared && (prot & PROT_WRITE) && !store->writable)
		return UPAGE_EACCES;
	signal_mask saved = signals_block();
	if (shared)
		lock_acquire(&shared_lock);
	int result = shared && is_shared_already(store, offset, length) ? UPAGE_EBUSY : 0;
	if (result == 0) {
		rwlock_write(&space->lock);
		result = map_locked(space, wanted, length, prot, flags, space->anonymous, store,
		                    offset, &start);
		rwlock_write_release(&space->lock);
	}
	if (shared)
		lock_release(&shared_lock);
	signals_set(saved);
	if (result == 0)
		*address = (void *)start;
	return result;
}

int space_map_backing(upage_space *space, void **address, size_t length, unsigned flags,
                      struct backing *backing)
{
	uintptr_t start = 0;
	if (space_is_lost(space))
		return UPAGE_ENOTSUP;
	signal_mask saved = signals_block();
	rwlock_write(&space->lock);
	int result = map_locked(space, (uintptr_t)*address, length, PROT_READ | PROT_WRITE, flags,
	                        backing, NULL, 0, &start);
	rwlock_write_release(&space->lock);
	signals_set(saved);
	if (result == 0)
		*address = (void *)start;
	return result;
}

int space_unmap_backing(upage_space *space, const struct backing *backing)
{
	int result = 0;
	if (space_is_lost(space))
		return 0;
	signal_mask saved = signals_block();
	rwlock_write(&space->lock);
	/* Nothing goes unless everything can. */
	for (size_t i = 0; i < space->count && result == 0; i++)
		if (space->mappings[i].backing == backing)
			result = each_run(space, space->mappings[i].start, space->mappings[i].end,
			                  visit_pinned, NULL);
	for (size_t i = 0; i < space->count && result == 0;) {
		const struct mapping *m = &space->mappings[i];
		if (m->backing == backing)
			result = unmap_range(space, m->start, m->end);
		else
			i++;
	}
	rwlock_write_release(&space->lock);
	signals_set(saved);
	return result;
}

/* ---- Unmap, protect, advise, sync ---------------------------------------------------------- */

/* What these have in common: a wholly mapped range, and the lock held for writing. */
typedef int range_action(upage_space *space, uintptr_t start, uintptr_t end, int argument);

static int with_range(upage_space *space, void *address, size_t length, range_action *action,
                      int argument)
{
	uintptr_t start, end;
	if (space == NULL)
		return UPAGE_EINVAL;
	int result = take_range(space, address, length, false, &start, &end);
	if (result < 0)
		return result;
	if (space_is_lost(space))
		return UPAGE_ENOTSUP;
	signal_mask saved = signals_block();
	rwlock_write(&space->lock);
	if (!is_wholly_mapped(space, start, end))
		result = UPAGE_ENOTMAPPED;
	else if (space->count + 2 > MAPPINGS_MAX)
		result = UPAGE_ENOMEM; /* a change in the middle makes two more */
	else
		result = action(space, start, end, argument);
	rwlock_write_release(&space->lock);
	signals_set(saved);
	return result;
}

static int unmap_action(upage_space *space, uintptr_t start, uintptr_t end, int argument)
{
	(void)argument;
	return unmap_range(space, start, end);
}

PUBLIC int upage_unmap(upage_space *space, void *address, size_t length)
{
	return with_range(space, address, length, unmap_action, 0);
}

/* Pages of a range that would need room if they became writable, and have none promised. */
static uint64_t uncommitted_pages(const upage_space *space, uintptr_t start, uintptr_t end)
{
	uint64_t pages = 0;
	for (size_t i = mapping_index(space, start);
	     i < space->count && space->mappings[i].start < end; i++) {
		const struct mapping *m = &space->mappings[i];
		if (m->committed || m->backing->shared)
			continue;
		uintptr_t from = m->start > start ? m->start : start;
		uintptr_t to = m->end < end ? m->end : end;
		pages += pages_of(space, to - from);
	}
	return pages;
}

static bool stores_are_writable(const upage_space *space, uintptr_t start, uintptr_t end)
{
	for (size_t i = mapping_index(space, start);
	     i < space->count && space->mappings[i].start < end; i++) {
		const struct backing *backing = space->mappings[i].backing;
		if (backing->shared && !backing->store->writable)
			return false;
	}
	return true;
}

static int protect_action(upage_space *space, uintptr_t start, uintptr_t end, int prot)
{
	bool writable = prot & PROT_WRITE;
	if (writable && !stores_are_writable(space, start, end))
		return UPAGE_EACCES;
	uint64_t pages = writable ? uncommitted_pages(space, start, end) : 0;
	if (pages > 0 && !pager_commit(space->pool, pages))
		return UPAGE_ENOMEM;
	int allowed = effective_prot(prot);
	int result = each_run(space, start, end, visit_restrict, &allowed);
	if (result < 0) {
		pager_uncommit(space->pool, pages);
		return result;
	}
	mapping_split(space, start);
	mapping_split(space, end);
	size_t first = mapping_index(space, start), last = first;
	for (; last < space->count && space->mappings[last].start < end; last++) {
		struct mapping *m = &space->mappings[last];
		m->prot = prot;
		m->committed = m->committed || needs_room(prot, m->backing->shared);
	}
	mappings_join(space, first, last - 1);
	return 0;
}

PUBLIC int upage_protect(upage_space *space, void *address, size_t length, int prot)
{
	return is_prot(prot) ? with_range(space, address, length, protect_action, prot)
	                     : UPAGE_EINVAL;
}

static int order_action(upage_space *space, uintptr_t start, uintptr_t end, int advice)
{
	mapping_split(space, start);
	mapping_split(space, end);
	size_t first = mapping_index(space, start), last = first;
	for (; last < space->count && space->mappings[last].start < end; last++)
		space->mappings[last].advice = (enum upage_advice)advice;
	mappings_join(space, first, last - 1);
	return 0;
}

static int drop_action(upage_space *space, uintptr_t start, uintptr_t end, int argument)
{
	(void)argument;
	int result = each_run(space, start, end, visit_pinned, NULL);
	if (result == 0)
		result = sync_range(space, start, end);
	if (result == 0)
		result = each_run(space, start, end, visit_discard, NULL);
	return result;
}

/* Brings in what has content in a store or in swap, as far as free frames go. */
static int need_action(upage_space *space, uintptr_t start, uintptr_t end, int argument)
{
	(void)argument;
	for (uintptr_t at = start; at < end; at += page_bytes(space)) {
		const struct mapping *mapping = mapping_find(space, at);
		bool file = mapping->backing->store != NULL;
		upage_vpn vpn = vpn_of(space, at);
		pte_t *pte = file ? page_table_make(&space->table, vpn)
		                  : page_table_walk(&space->table, vpn);
		uint64_t value;
		if (mapping->prot == PROT_NONE || pte == NULL || !pte_trylock(pte, &value))
			continue;
		const struct page page = { pte, at, effective_prot(mapping->prot), mapping->backing };
		if (!pager_prefetch(space->pool, &page, value))
			break;
	}
	return 0;
}

PUBLIC int upage_advise(upage_space *space, void *address, size_t length, enum upage_advice advice)
{
	switch (advice) {
	case UPAGE_NORMAL:
	case UPAGE_SEQUENTIAL:
	case UPAGE_RANDOM:
		return with_range(space, address, length, order_action, advice);
	case UPAGE_WILLNEED:
		return with_range(space, address, length, need_action, 0);
	case UPAGE_DONTNEED:
		return with_range(space, address, length, drop_action, 0);
	}
	return UPAGE_EINVAL;
}

static int sync_action(upage_space *space, uintptr_t start, uintptr_t end, int argument)
{
	(void)argument;
	int result = sync_range(space, start, end);
	for (size_t i = mapping_index(space, start);
	     result == 0 && i < space->count && space->mappings[i].start < end; i++) {
		upage_store *store = space->mappings[i].backing->store;
		if (space->mappings[i].backing->shared)
			result = store->ops->sync(store);
	}
	return result;
}

PUBLIC int upage_sync(upage_space *space, void *address, size_t length)
{
	return with_range(space, address, length, sync_action, 0);
}

/* ---- Pins ---------------------------------------------------------------------------------- */

/* Releases the pins of [start, end). They are there. */
static void unpin_range(upage_space *space, uintptr_t start, uintptr_t end)
{
	for (uintptr_t at = start; at < end; at += page_bytes(space))
		pager_unpin(space->pool, page_table_walk(&space->table, vpn_of(space, at)));
}

static int pin_one(upage_space *space, uintptr_t at, int prot)
{
	struct page page;
	uint64_t value;
	enum upage_advice advice;
	int failure = 0;
	switch (page_lock(space, at, prot, &page, &value, &advice, &failure)) {
	case FAULT_BOUNDS:
		return UPAGE_ENOTMAPPED;
	case FAULT_PROTECTION:
		return UPAGE_EACCES;
	case FAULT_SERVED:
		failure = pager_resolve(space->pool, &page, value, prot, true, NULL);
		return failure == STORE_PAST_END ? UPAGE_EIO : failure;
	default:
		return failure;
	}
}

PUBLIC int upage_pin(upage_space *space, const void *address, size_t length, int prot)
{
	uintptr_t start, end;
	if (space == NULL || (prot != PROT_READ && prot != (PROT_READ | PROT_WRITE)))
		return UPAGE_EINVAL;
	int result = take_range(space, address, length, true, &start, &end);
	if (result < 0)
		return result;
	if (space_is_lost(space))
		return UPAGE_ENOTSUP;
	signal_mask saved = signals_block();
	for (uintptr_t at = start; at < end && result == 0; at += page_bytes(space)) {
		result = pin_one(space, at, prot);
		if (result < 0)
			unpin_range(space, start, at);
	}
	signals_set(saved);
	return result;
}

PUBLIC int upage_unpin(upage_space *space, const void *address, size_t length)
{
	uintptr_t start, end;
	if (space == NULL)
		return UPAGE_EINVAL;
	int result = take_range(space, address, length, true, &start, &end);
	if (result < 0)
		return result;
	if (space_is_lost(space))
		return UPAGE_ENOTSUP;
	signal_mask saved = signals_block();
	rwlock_read(&space->lock);
	for (uintptr_t at = start; at < end && result == 0; at += page_bytes(space)) {
		pte_t *pte = page_table_walk(&space->table, vpn_of(space, at));
		if (pte == NULL || !pager_is_pinned(space->pool, pte))
			result = UPAGE_EINVAL;
	}
	if (result == 0)
		unpin_range(space, start, end);
	rwlock_read_release(&space->lock);
	signals_set(saved);
	return result;
}

/* ---- Questions ----------------------------------------------------------------------------- */

PUBLIC enum upage_cause upage_translate(upage_space *space, const void *address, int prot,
                                        upage_pfn *pfn)
{
	uint64_t physical;
	uintptr_t offset = (uintptr_t)address - space->base;
	if (offset >= space->length)
		return UPAGE_CAUSE_BOUNDS;
	enum upage_cause cause = translate(&space->table.translator, offset, prot, &physical);
	if (cause == UPAGE_CAUSE_NONE && pfn != NULL)
		*pfn = physical >> space->table.page_shift;
	return cause;
}

PUBLIC int upage_residency(upage_space *space, const void *address, size_t length,
                           unsigned char *vector)
{
	uintptr_t start, end;
	if (space == NULL || vector == NULL)
		return UPAGE_EINVAL;
	int result = take_range(space, address, length, false, &start, &end);
	for (uintptr_t at = start; result == 0 && at < end; at += page_bytes(space)) {
		const pte_t *pte = page_table_walk(&space->table, vpn_of(space, at));
		*vector++ = pte != NULL && (atomic_load(pte) & PTE_PRESENT) ? 1 : 0;
	}
	return result;
}
