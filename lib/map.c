/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "map.h"

#include "signals.h"

/* ---- Arguments of public functions -------------------------------------------------------- */

/* [address, address + length) rounded to pages: out to both sides if @outward, else address
 * must be a page multiple. */
static int take_range(const upage_space *space, const void *address, size_t length, bool outward,
                      uintptr_t *start, uintptr_t *end)
{
	uintptr_t mask = space_page_size(space) - 1, from = (uintptr_t)address, to;
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

int map_take_own_range(const upage_space *space, const void *address, size_t length,
                          bool outward, uintptr_t *start, uintptr_t *end)
{
	if (space == NULL)
		return UPAGE_EINVAL;
	int result = take_range(space, address, length, outward, start, end);
	return result == 0 && space_is_lost(space) ? UPAGE_ENOTSUP : result;
}

static bool is_prot(int prot)
{
	return (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) == 0;
}

/* Whether a mapping's pages may come to need frames or slots that no store of its own has. */
static bool needs_room(int prot, bool shared)
{
	return !shared && (prot & PROT_WRITE);
}

/* ---- Map ---------------------------------------------------------------------------------- */

/* Where a mapping goes: in segments, that of a heap, or of all else. Return: 0, UPAGE_EEXIST or
 * UPAGE_ENOMEM. */
static int place(const upage_space *space, uintptr_t wanted, size_t length, bool fixed, bool heap,
                 uintptr_t *start)
{
	const struct run *part = &space->runs.run[heap ? SEGMENT_HEAP : SEGMENT_AREA];
	uintptr_t limit = space->base + space->length, low = space->base, high = limit;
	if (runs_are_segments(&space->runs)) {
		low = part->low;
		high = part->high;
	}
	bool inside = wanted >= space->base && wanted < limit && length <= limit - wanted;
	if (inside && mapping_is_free(&space->mappings, wanted, wanted + length)) {
		*start = wanted;
		return 0;
	}
	if (fixed)
		return UPAGE_EEXIST;
	*start = length <= high - low ? mapping_gap(&space->mappings, low, high, length) : 0;
	return *start != 0 ? 0 : UPAGE_ENOMEM;
}

/* Frames, or the promise of some. In runs nothing is promised: all is there. */
static int make_room(upage_space *space, struct mapping *mapping)
{
	if (space_is_paged(space))
		return !mapping->committed || pager_commit(space->pool, space_pages(space, mapping->end - mapping->start))
		               ? 0
		               : UPAGE_ENOMEM;
	mapping->committed = false;
	return contiguous_map(&space->runs, &space->mappings, mapping);
}

int map_add(upage_space *space, const struct mapping *added)
{
	struct mapping mapping = *added;
	if (space->mappings.count + 2 > MAPPINGS_MAX)
		return UPAGE_ENOMEM;
	int result = make_room(space, &mapping);
	if (result < 0)
		return result;
	size_t i = mapping_index(&space->mappings, mapping.start);
	backing_reference(mapping.backing);
	mapping_insert(&space->mappings, i, mapping);
	if (mapping.backing->foreign)
		physical_count_foreign(space->pool, (int64_t)(mapping.end - mapping.start));
	mapping_join(&space->mappings, i, i);
	return 0;
}

/* @backing: of anonymous pages; with a store the mapping gets one of its own. */
static int map_locked(upage_space *space, uintptr_t wanted, size_t length, int prot, unsigned flags,
                      struct backing *backing, upage_store *store, int64_t offset,
                      uintptr_t *start)
{
	bool shared = flags & UPAGE_MAP_SHARED;
	bool heap = store == NULL && backing != space->anonymous;
	int result = place(space, wanted, length, flags & UPAGE_MAP_FIXED, heap, start);
	if (result < 0)
		return result;
	if (store == NULL)
		backing_reference(backing);
	else
		backing = space_backing(space, store, offset - (int64_t)*start, shared);
	if (backing == NULL)
		return UPAGE_ENOMEM;
	const struct mapping mapping = { .start = *start,
		                         .end = *start + length,
		                         .prot = prot,
		                         .advice = UPAGE_NORMAL,
		                         .committed = needs_room(prot, shared),
		                         .backing = backing };
	result = map_add(space, &mapping);
	backing_release(backing);
	return result;
}

PUBLIC int upage_map(upage_space *space, void **address, size_t length, int prot, unsigned flags,
                     upage_store *store, off_t offset)
{
	if (space == NULL || address == NULL || length == 0 || !is_prot(prot) || offset < 0 ||
	    (flags & ~(UPAGE_MAP_FIXED | UPAGE_MAP_SHARED)) != 0)
		return UPAGE_EINVAL;
	bool fixed = flags & UPAGE_MAP_FIXED, shared = flags & UPAGE_MAP_SHARED;
	uintptr_t wanted = (uintptr_t)*address, mask = space_page_size(space) - 1, start = 0;
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
		lock_acquire(&space_shared_lock);
	int result = shared && space_any_shares(store, offset, length) ? UPAGE_EBUSY : 0;
	if (result == 0) {
		space_write(space);
		result = map_locked(space, wanted, length, prot, flags, space->anonymous, store,
		                    offset, &start);
		space_write_end(space);
	}
	if (shared)
		lock_release(&space_shared_lock);
	signals_set(saved);
	if (result == 0)
		*address = (void *)start;
	return result;
}

int map_backing(upage_space *space, void **address, size_t length, unsigned flags,
                      struct backing *backing)
{
	uintptr_t start = 0;
	if (space_is_lost(space))
		return UPAGE_ENOTSUP;
	signal_mask saved = signals_block();
	space_write(space);
	int result = map_locked(space, (uintptr_t)*address, length, PROT_READ | PROT_WRITE, flags,
	                        backing, NULL, 0, &start);
	space_write_end(space);
	signals_set(saved);
	if (result == 0)
		*address = (void *)start;
	return result;
}

static int check_pins(upage_space *space, uintptr_t start, uintptr_t end)
{
	return space_is_paged(space) ? space_each_run(space, start, end, space_visit_pinned, NULL)
	                             : contiguous_check_pins(&space->runs, start, end);
}

int unmap_backing(upage_space *space, const struct backing *backing)
{
	int result = 0;
	if (space_is_lost(space))
		return 0;
	signal_mask saved = signals_block();
	space_write(space);
	/* Nothing goes unless everything can. */
	for (size_t i = 0; i < space->mappings.count && result == 0; i++)
		if (space->mappings.mapping[i].backing == backing)
			result = check_pins(space, space->mappings.mapping[i].start,
			                    space->mappings.mapping[i].end);
	for (size_t i = 0; i < space->mappings.count && result == 0;) {
		const struct mapping *m = &space->mappings.mapping[i];
		if (m->backing == backing)
			result = space_unmap_range(space, m->start, m->end);
		else
			i++;
	}
	space_write_end(space);
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
	int result = map_take_own_range(space, address, length, false, &start, &end);
	if (result < 0)
		return result;
	signal_mask saved = signals_block();
	space_write(space);
	if (!mapping_covers(&space->mappings, start, end))
		result = UPAGE_ENOTMAPPED;
	else if (space->mappings.count + 2 > MAPPINGS_MAX)
		result = UPAGE_ENOMEM; /* a change in the middle makes two more */
	else
		result = action(space, start, end, argument);
	space_write_end(space);
	signals_set(saved);
	return result;
}

static int unmap_action(upage_space *space, uintptr_t start, uintptr_t end, int argument)
{
	(void)argument;
	return space_unmap_range(space, start, end);
}

PUBLIC int upage_unmap(upage_space *space, void *address, size_t length)
{
	return with_range(space, address, length, unmap_action, 0);
}

/* Pages of a range that would need room if they became writable, and have none promised. */
static uint64_t uncommitted_pages(const upage_space *space, uintptr_t start, uintptr_t end)
{
	uint64_t pages = 0;
	for (size_t i = mapping_index(&space->mappings, start);
	     i < space->mappings.count && space->mappings.mapping[i].start < end; i++) {
		const struct mapping part = mapping_part(&space->mappings.mapping[i], start, end);
		if (!part.committed && !part.backing->shared)
			pages += space_pages(space, part.end - part.start);
	}
	return pages;
}

static bool stores_are_writable(const upage_space *space, uintptr_t start, uintptr_t end)
{
	for (size_t i = mapping_index(&space->mappings, start);
	     i < space->mappings.count && space->mappings.mapping[i].start < end; i++) {
		const struct backing *backing = space->mappings.mapping[i].backing;
		if (backing->shared && !backing->store->writable)
			return false;
	}
	return true;
}

static int visit_restrict(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                          void *argument)
{
	return pager_restrict(space->pool, ptes, count, address, *(const int *)argument);
}

/* What a run does not enforce is counted. */
static void protect_in_runs(upage_space *space, uintptr_t address, int prot)
{
	contiguous_settle(&space->runs, &space->mappings);
	if (!contiguous_enforces(&space->runs, address, prot))
		stats_count(space->pool->stats, COUNT_UNENFORCED);
}

static int protect_action(upage_space *space, uintptr_t start, uintptr_t end, int prot)
{
	bool writable = prot & PROT_WRITE;
	if (writable && (!stores_are_writable(space, start, end) || contiguous_is_shared(&space->runs, start, end)))
		return UPAGE_EACCES;
	bool paged = space_is_paged(space);
	uint64_t pages = writable && paged ? uncommitted_pages(space, start, end) : 0;
	if (pages > 0 && !pager_commit(space->pool, pages))
		return UPAGE_ENOMEM;
	int allowed = effective_prot(prot);
	int result = space_each_run(space, start, end, visit_restrict, &allowed);
	if (result < 0) {
		pager_uncommit(space->pool, pages);
		return result;
	}
	mapping_split(&space->mappings, start);
	mapping_split(&space->mappings, end);
	size_t first = mapping_index(&space->mappings, start), last = first;
	for (; last < space->mappings.count && space->mappings.mapping[last].start < end; last++) {
		struct mapping *m = &space->mappings.mapping[last];
		m->prot = prot;
		m->committed = m->committed || (paged && needs_room(prot, m->backing->shared));
	}
	mapping_join(&space->mappings, first, last - 1);
	if (!paged)
		protect_in_runs(space, start, prot);
	return 0;
}

PUBLIC int upage_protect(upage_space *space, void *address, size_t length, int prot)
{
	return is_prot(prot) ? with_range(space, address, length, protect_action, prot)
	                     : UPAGE_EINVAL;
}

static int visit_order(upage_space *space, struct mapping *mapping, void *argument)
{
	(void)space;
	mapping->advice = *(enum upage_advice *)argument;
	return 0;
}

static int order_action(upage_space *space, uintptr_t start, uintptr_t end, int argument)
{
	enum upage_advice advice = (enum upage_advice)argument;
	return map_visit(space, start, end, false, visit_order, &advice);
}

static int visit_page_out(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                          void *argument)
{
	int *failure = argument;
	int result = pager_page_out(space->pool, ptes, count, address);
	if (*failure == 0)
		*failure = result;
	return 0;
}

static int page_out_action(upage_space *space, uintptr_t start, uintptr_t end, int argument)
{
	int failure = 0;
	(void)argument;
	space_each_run(space, start, end, visit_page_out, &failure);
	return failure;
}

static int drop_action(upage_space *space, uintptr_t start, uintptr_t end, int argument)
{
	(void)argument;
	return space_empty_range(space, start, end);
}

/* Brings in what has content in a store or in swap, as far as free frames go. */
static int visit_need(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                      void *argument)
{
	const struct mapping *mapping = argument;
	for (size_t i = 0; i < count; i++) {
		const struct page page = { .pte = &ptes[i],
			                   .address = address + i * space_page_size(space),
			                   .prot = effective_prot(mapping->prot),
			                   .backing = mapping->backing };
		uint64_t value = atomic_load(&ptes[i]);
		bool empty = value == 0 && mapping->backing->store == NULL;
		if (!empty && pte_trylock(&ptes[i], &value) &&
		    !pager_prefetch(space->pool, &page, value))
			return UPAGE_ENOMEM;
	}
	return 0;
}

void map_need(upage_space *space, struct mapping *mapping)
{
	if (mapping->prot == PROT_NONE || mapping->backing->foreign || !space_is_paged(space))
		return;
	/* What a file has may never have been touched: there are no entries for it yet. */
	uint64_t most = atomic_load(&space->pool->frames.free);
	if (mapping->backing->store != NULL)
		for (uintptr_t at = mapping->start; at < mapping->end && most > 0;
		     at += space_page_size(space), most--)
			page_table_make(&space->table, space_vpn(space, at));
	space_each_run(space, mapping->start, mapping->end, visit_need, mapping);
}

static int need_action(upage_space *space, uintptr_t start, uintptr_t end, int argument)
{
	(void)argument;
	for (size_t i = mapping_index(&space->mappings, start);
	     i < space->mappings.count && space->mappings.mapping[i].start < end; i++) {
		struct mapping part = mapping_part(&space->mappings.mapping[i], start, end);
		map_need(space, &part);
	}
	return 0;
}

/* ---- For guest/ ---------------------------------------------------------------------------- */

int map_visit(upage_space *space, uintptr_t start, uintptr_t end, bool past_holes,
              map_visitor *visit, void *argument)
{
	struct mappings *all = &space->mappings;
	int result = 0;
	bool hole = false;
	if (all->count + 2 > MAPPINGS_MAX)
		return UPAGE_ENOMEM;
	mapping_split(all, start);
	mapping_split(all, end);
	size_t first = mapping_index(all, start);
	uintptr_t at = start;
	for (size_t i = first; result == 0 && i < all->count && all->mapping[i].start < end; i++) {
		hole = hole || all->mapping[i].start > at;
		if (hole && !past_holes)
			break;
		at = all->mapping[i].end;
		result = visit(space, &all->mapping[i], argument);
	}
	hole = hole || at < end;
	size_t last = mapping_index(all, end);
	if (first < all->count)
		mapping_join(all, first, last < all->count ? last : all->count - 1);
	return result == 0 && hole ? UPAGE_ENOTMAPPED : result;
}

bool map_needs_room(const struct mapping *mapping)
{
	return (mapping->prot & PROT_WRITE) && !mapping->backing->shared &&
	       !mapping->backing->foreign && !(mapping->flags & MAPPING_NORESERVE);
}

int map_protect(upage_space *space, struct mapping *mapping, int prot)
{
	struct mapping after = *mapping;
	uint64_t pages = space_pages(space, mapping->end - mapping->start);
	after.prot = prot;
	if (!space_is_paged(space)) {
		if (prot & PROT_WRITE && contiguous_is_shared(&space->runs, mapping->start, mapping->end))
			return UPAGE_EACCES;
		mapping->prot = prot;
		protect_in_runs(space, mapping->start, prot);
		return 0;
	}
	bool commit = !mapping->committed && map_needs_room(&after);
	if (commit && !pager_commit(space->pool, pages))
		return UPAGE_ENOMEM;
	int allowed = effective_prot(prot);
	int result = space_each_run(space, mapping->start, mapping->end, visit_restrict, &allowed);
	if (result < 0 && commit)
		pager_uncommit(space->pool, pages);
	if (result == 0) {
		mapping->prot = prot;
		mapping->committed = mapping->committed || commit;
	}
	return result;
}

void map_page_out(upage_space *space, uintptr_t start, uintptr_t end)
{
	page_out_action(space, start, end, 0);
}

/* ---- Pages that change their addresses ------------------------------------------------------ */

/* Pages on their way: what is at @from + x goes to @to + x. */
struct moving {
	uintptr_t from, to;
	struct backing *backing;
};

static int visit_make_room(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                           void *argument)
{
	const struct moving *moving = argument;
	for (size_t i = 0; i < count; i++) {
		uintptr_t at = address + i * space_page_size(space) - moving->from + moving->to;
		if (atomic_load(&ptes[i]) != 0 &&
		    page_table_make(&space->table, space_vpn(space, at)) == NULL)
			return UPAGE_ENOMEM;
	}
	return 0;
}

static int visit_move(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                      void *argument)
{
	const struct moving *moving = argument;
	for (size_t i = 0; i < count; i++) {
		uintptr_t at = address + i * space_page_size(space) - moving->from + moving->to;
		if (atomic_load(&ptes[i]) != 0)
			pager_move(space->pool, &ptes[i],
			           page_table_walk(&space->table, space_vpn(space, at)), at,
			           moving->backing);
	}
	return 0;
}

int map_move_pages(upage_space *space, uintptr_t from, uintptr_t to, size_t length,
                   struct backing *backing)
{
	struct moving moving = { from, to, backing };
	uintptr_t end = from + length;
	if (!space_is_paged(space))
		return contiguous_move(&space->runs, from, to, length);
	int result = space_each_run(space, from, end, space_visit_pinned, NULL);
	if (result == 0)
		result = space_each_run(space, from, end, visit_make_room, &moving);
	if (result == 0)
		result = space_each_run(space, from, end, space_visit_hide, NULL);
	if (result == 0)
		space_each_run(space, from, end, visit_move, &moving);
	return result;
}

/* ---- Advice, sync --------------------------------------------------------------------------- */

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
	case UPAGE_PAGEOUT:
		return with_range(space, address, length, page_out_action, 0);
	}
	return UPAGE_EINVAL;
}

static int sync_action(upage_space *space, uintptr_t start, uintptr_t end, int argument)
{
	(void)argument;
	int result = space_sync_range(space, start, end);
	for (size_t i = mapping_index(&space->mappings, start);
	     result == 0 && i < space->mappings.count && space->mappings.mapping[i].start < end; i++) {
		upage_store *store = space->mappings.mapping[i].backing->store;
		if (space->mappings.mapping[i].backing->shared)
			result = store->ops->sync(store);
	}
	return result;
}

PUBLIC int upage_sync(upage_space *space, void *address, size_t length)
{
	return with_range(space, address, length, sync_action, 0);
}

/* ---- Questions ----------------------------------------------------------------------------- */

PUBLIC enum upage_cause upage_translate(upage_space *space, const void *address, int prot,
                                        upage_pfn *pfn)
{
	uint64_t physical, offset;
	signal_mask saved = guard_open_alone();
	const struct translator *translator = space_translator(space, (uintptr_t)address, &offset);
	enum upage_cause cause = translate(translator, offset, prot, &physical);
	guard_close_alone(saved);
	if (cause == UPAGE_CAUSE_NONE && pfn != NULL)
		*pfn = physical >> space->table.paging.page_shift;
	return cause;
}

static bool is_resident(upage_space *space, uintptr_t address)
{
	if (!space_is_paged(space))
		return contiguous_pfn(&space->runs, address) != FRAME_NONE;
	signal_mask saved = guard_open_alone();
	const pte_t *pte = page_table_walk(&space->table, space_vpn(space, address));
	bool resident = pte != NULL && (atomic_load(pte) & PTE_PRESENT);
	guard_close_alone(saved);
	return resident;
}

PUBLIC int upage_residency(upage_space *space, const void *address, size_t length,
                           unsigned char *vector)
{
	uintptr_t start, end;
	if (space == NULL || vector == NULL)
		return UPAGE_EINVAL;
	int result = take_range(space, address, length, false, &start, &end);
	for (uintptr_t at = start; result == 0 && at < end; at += space_page_size(space))
		*vector++ = is_resident(space, at); /* the vector is the caller's: see guard.h */
	return result;
}
