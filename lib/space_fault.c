/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * space_fault.c - page faults in a space: which mapping is it in, what does that allow, who serves it?
 *
 * The space's lock is held while its mappings are looked at; the page is then held by its PTE.
 * Signal context: all. Source: OSTEP ch. 21; mm/memory.c and expand_stack() of Linux.
 */
#include "cluster.h"
#include "compact.h"
#include "host.h"
#include "space.h"

#define READ_AHEAD 16 /* pages, for UPAGE_SEQUENTIAL */

/* Without an entry where there is no memory for one. */
static struct page page_at(upage_space *space, const struct mapping *mapping, uintptr_t address)
{
	return (struct page){ .pte = page_table_make(&space->table, space_vpn(space, address)),
		              .address = address & ~(space_page_size(space) - 1),
		              .prot = effective_prot(mapping->prot),
		              .backing = mapping->backing };
}

enum fault_outcome space_lock_page(upage_space *space, uintptr_t address, int access,
                                   struct page *page, uint64_t *value, enum upage_advice *advice,
                                   int *failure)
{
	for (;;) {
		unsigned part = space_read_part(space);
		const struct mapping *mapping = mapping_find(&space->mappings, address);
		enum fault_outcome outcome = FAULT_SERVED;
		bool locked = false;
		if (mapping == NULL) {
			outcome = FAULT_BOUNDS;
		} else if (mapping->backing->foreign) {
			*failure = access & ~effective_prot(mapping->prot) ? UPAGE_EACCES : 0;
			outcome = FAULT_FOREIGN;
		} else if (access & ~effective_prot(mapping->prot)) {
			outcome = FAULT_PROTECTION;
		} else if (mapping->flags & MAPPING_GUARD) {
			outcome = FAULT_BOUNDS;
		} else {
			*page = page_at(space, mapping, address);
			*advice = mapping->advice;
			if (page->pte == NULL) {
				*failure = UPAGE_ENOMEM;
				outcome = FAULT_FAILED;
			} else {
				locked = pte_trylock(page->pte, value);
			}
			if (locked && mapping->advice != UPAGE_RANDOM)
				cluster_lock(space->pool, &space->table, space_vpn(space, address), page, *value,
				             access, mapping->start, mapping->end);
		}
		space_read_part_end(space, part);
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
		uintptr_t next = address + i * space_page_size(space);
		struct page page;
		uint64_t value;
		space_read(space);
		const struct mapping *mapping = mapping_find(&space->mappings, next);
		bool locked = false;
		if (mapping != NULL && mapping->advice == UPAGE_SEQUENTIAL &&
		    mapping->prot != PROT_NONE && !mapping->backing->foreign) {
			page = page_at(space, mapping, next);
			locked = page.pte != NULL && pte_trylock(page.pte, &value);
		}
		space_read_end(space);
		if (!locked || !pager_prefetch(space->pool, &page, value))
			break;
	}
}

/* What lies between the pages of mappings that keep their distance, where it may be referenced. */
static uintptr_t lowest_start(const struct mappings *all, size_t i)
{
	const struct mapping *before = i > 0 ? &all->mapping[i - 1] : NULL;
	if (before == NULL)
		return 0;
	bool apart = before->prot != PROT_NONE && !(before->flags & MAPPING_GROWS);
	return before->end + (apart ? MAPPING_GROWTH_GAP : 0);
}

/* Frames for what a mapping grows by. The lock is held for writing. */
static bool grow_into(upage_space *space, const struct mapping *mapping, uintptr_t start)
{
	struct mapping more = *mapping;
	more.start = start;
	more.end = mapping->start;
	if (space_is_paged(space))
		return !more.committed || pager_commit(space->pool, space_pages(space, more.end - start));
	return contiguous_map(&space->runs, &space->mappings, &more) == 0;
}

bool space_grow(upage_space *space, uintptr_t address)
{
	bool grown = false;
	space_write(space);
	size_t i = mapping_index(&space->mappings, address);
	struct mapping *m = i < space->mappings.count ? &space->mappings.mapping[i] : NULL;
	uintptr_t start = address & ~(space_page_size(space) - 1);
	if (m != NULL && m->start <= address) {
		grown = true; /* another thread was faster */
	} else if (m != NULL && m->flags & MAPPING_GROWS && start >= space->base &&
	           !mapping_is_kept(&space->mappings, start, m->start) && m->end - start <= host_stack_limit() && start >= lowest_start(&space->mappings, i) &&
	           grow_into(space, m, start)) {
		m->start = start;
		mapping_join(&space->mappings, i, i);
		grown = true;
	}
	space_write_end(space);
	return grown;
}

/* ---- Spaces in runs ------------------------------------------------------------------------- */

/* What the registers say of a reference that trapped. If they allow it, the run was on the move. */
static enum fault_outcome ask_registers(upage_space *space, uintptr_t address, int access, bool *out)
{
	uint64_t offset, physical;
	space_read(space);
	const struct translator *translator = space_translator(space, address, &offset);
	enum upage_cause cause = translate(translator, offset, access, &physical);
	*out = space->runs.out;
	space_read_end(space);
	return cause == UPAGE_CAUSE_NONE         ? FAULT_SERVED
	       : cause == UPAGE_CAUSE_PROTECTION ? FAULT_PROTECTION
	                                         : FAULT_BOUNDS;
}

static int swap_in(upage_space *space)
{
	space_write(space);
	int result = runs_swap_in(&space->runs);
	space_write_end(space);
	return result;
}

static enum fault_outcome serve_in_runs(upage_space *space, uintptr_t address, int access, int *failure)
{
	bool out;
	enum fault_outcome outcome = ask_registers(space, address, access, &out);
	enum counter kind = COUNT_SOFT;
	while (out) { /* it may be sent out again meanwhile */
		*failure = swap_in(space);
		if (*failure < 0)
			return FAULT_FAILED;
		kind = COUNT_MAJOR;
		outcome = ask_registers(space, address, access, &out);
	}
	if (outcome == FAULT_BOUNDS && space_grow(space, address)) {
		kind = COUNT_ZERO_FILL;
		outcome = ask_registers(space, address, access, &out);
	}
	if (outcome == FAULT_SERVED)
		stats_count(space->pool->stats, kind);
	return outcome;
}

static enum fault_outcome serve_page(upage_space *space, uintptr_t address, int access, int *failure)
{
	struct page page;
	uint64_t value;
	enum upage_advice advice;
	if (atomic_load_explicit(&space->pool->compaction.wanted, memory_order_relaxed))
		compact_relieve(space->pool);
	enum fault_outcome outcome =
	        space_lock_page(space, address, access, &page, &value, &advice, failure);
	if (outcome == FAULT_BOUNDS && space_grow(space, address))
		outcome = space_lock_page(space, address, access, &page, &value, &advice, failure);
	/* It may have come to be there since. */
	if (outcome == FAULT_FOREIGN && *failure == 0 &&
	    host_populate(address & ~(HOST_PAGE_SIZE - 1), HOST_PAGE_SIZE, access & PROT_WRITE) == 0)
		return FAULT_SERVED;
	if (outcome != FAULT_SERVED)
		return outcome;
	enum counter kind;
	*failure = pager_resolve(space->pool, &page, value, access, PIN_NONE, &kind);
	if (*failure == STORE_PAST_END)
		return FAULT_PAST_END;
	if (*failure < 0)
		return FAULT_FAILED;
	if (kind == COUNT_MAJOR && advice == UPAGE_SEQUENTIAL)
		read_ahead(space, address);
	return FAULT_SERVED;
}

enum fault_outcome space_fault(upage_space *space, uintptr_t address, int access, int *failure)
{
	if (space_is_lost(space)) {
		*failure = UPAGE_ENOTSUP;
		return FAULT_FAILED;
	}
	enum fault_outcome outcome = space_is_paged(space)
	                                     ? serve_page(space, address, access, failure)
	                                     : serve_in_runs(space, address, access, failure);
	if (outcome != FAULT_SERVED && outcome != FAULT_PAST_END)
		stats_count(space->pool->stats, outcome == FAULT_BOUNDS   ? COUNT_BOUNDS
		                                : outcome == FAULT_FAILED ? COUNT_FAILED
		                                                          : COUNT_PROTECTION);
	return outcome;
}

static bool bring_in(upage_space *space, uintptr_t address, int access)
{
	if (!space_is_paged(space))
		return true; /* or the reference traps: it is none of a page's */
	const pte_t *pte = page_table_walk(&space->table, space_vpn(space, address));
	struct page page;
	uint64_t value;
	enum upage_advice advice;
	int failure;
	if (pte != NULL && pte_check(atomic_load(pte), access) == UPAGE_CAUSE_NONE)
		return true;
	return !space_is_lost(space) &&
	       space_lock_page(space, address, access, &page, &value, &advice, &failure) == FAULT_SERVED &&
	       pager_resolve(space->pool, &page, value, access, PIN_NONE, NULL) == 0;
}

bool space_bring_in(upage_space *space, uintptr_t address, int access)
{
	guard_open();
	bool there = bring_in(space, address, access);
	guard_close();
	return there;
}

/* ---- Changes of code ------------------------------------------------------------------------- */

/* As space_lock_page(), of a page of a private file mapping that lacks @forbidden. */
static int lock_code(upage_space *space, uintptr_t address, int forbidden, struct page *page,
                     uint64_t *value)
{
	for (;;) {
		bool locked = false;
		space_read(space);
		const struct mapping *mapping = mapping_find(&space->mappings, address);
		const struct backing *backing = mapping != NULL ? mapping->backing : NULL;
		bool meant = backing != NULL && backing->store != NULL && !backing->shared &&
		             !backing->foreign && !(mapping->flags & MAPPING_GUARD) &&
		             !(mapping->prot & forbidden);
		if (meant)
			*page = page_at(space, mapping, address);
		if (meant && page->pte != NULL)
			locked = pte_trylock(page->pte, value);
		space_read_end(space);
		if (!meant || page->pte == NULL)
			return meant ? UPAGE_ENOMEM : UPAGE_EBUSY;
		if (locked)
			return 0;
		pte_wait(page->pte);
	}
}

int space_change_code(upage_space *space, uintptr_t address, int forbidden, const void *before,
                      const void *after, size_t count)
{
	struct page page;
	uint64_t value;
	guard_open();
	int result = lock_code(space, address, forbidden, &page, &value);
	if (result == 0)
		result = pager_change(space->pool, &page, value, address - page.address, before, after,
		                      count);
	guard_close();
	return result;
}
