/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "view.h"

#include "host.h"

#define UNCOVER_FEW 512 /* mappings: all that is shown is shown again */
#define UNCOVER_LEAST 8 /* of many runs, one that is worth a call, which its pages may not need */

/* ---- How many mappings that takes ------------------------------------------------------- */

/* The host joins two neighbours if neither is shown, or both are, with the same protection
 * and from frames, or places in a file, beside each other. */
static bool host_joins(const struct upage_pool *pool, uint64_t left, uint64_t right)
{
	const struct frame *frame = pool->frames.frame;
	if ((left ^ right) & PTE_ACCESS)
		return false;
	if (!(left & PTE_ACCESS))
		return true;
	if ((left & PTE_FILE) && (right & PTE_FILE)) /* whose mapping is the same */
		return frame[pte_number(left)].backing == frame[pte_number(right)].backing;
	return !((left | right) & PTE_FILE) && pte_number(left) + 1 == pte_number(right);
}

/* Seams of a page with its neighbours. Beyond the leaf nothing is looked up: the neighbour
 * counts as hidden, so that the sum is an upper bound. */
static unsigned seams(const struct upage_pool *pool, pte_t *pte, uint64_t value)
{
	return !host_joins(pool, pte_left(pte), value) + !host_joins(pool, value, pte_right(pte));
}

unsigned view_seams_owned(const struct upage_pool *pool, pte_t *pte, uint64_t value)
{
	if (!(value & PTE_ACCESS))
		return 0;
	return !host_joins(pool, pte_left(pte), value) + !(pte_right(pte) & PTE_ACCESS);
}

/* Changes a locked PTE's access bits (and number) and keeps the count. */
static void record(struct upage_pool *pool, pte_t *pte, uint64_t before, uint64_t after)
{
	lock_acquire(&pool->mapping_lock);
	pool->mappings += seams(pool, pte, after);
	pool->mappings -= seams(pool, pte, before);
	if (pool->mappings > pool->mappings_peak)
		pool->mappings_peak = pool->mappings;
	pte_set_locked(pte, after);
	lock_release(&pool->mapping_lock);
}

/* Gives up mappings of isolated pages until a sixteenth of the budget is free. The pages stay
 * resident: their next reference is a soft fault. */
static void relieve(struct upage_pool *pool)
{
	/* A budget that had to be cut grows back: the shortage may have passed. */
	uint64_t budget = atomic_load(&pool->mapping_budget), whole = pool->mapping_budget_whole;
	uint64_t grown = budget + budget / 16;
	if (budget < whole)
		atomic_store(&pool->mapping_budget, grown < whole ? grown : whole);
	uint64_t goal = budget - budget / 16;
	uint64_t frames = pool->frames.frames;
	for (uint64_t i = 0; i < frames && pool->mappings > goal; i++) {
		uint32_t pfn = (uint32_t)(atomic_fetch_add(&pool->hide_hand, 1) % frames);
		struct frame *frame = &pool->frames.frame[pfn];
		pte_t *pte;
		uint64_t value;
		if (!frame_trylock(pool, pfn, &pte, &value))
			continue;
		uint64_t after = value & ~(uint64_t)PTE_ACCESS;
		if (frame->pins == 0 && after != value && seams(pool, pte, value) > 0 &&
		    !turn_keeps(&pool->turn, frame->page) &&
		    host_hide(frame->page, page_size(pool)) == 0) {
			record(pool, pte, value, after);
			value = after;
		}
		pte_unlock(pte, value);
	}
}

/* Pages from @i on that are one host mapping. */
static size_t shown_run(const struct upage_pool *pool, pte_t *ptes, size_t i, size_t count)
{
	size_t end = i + 1;
	while (end < count && host_joins(pool, atomic_load(&ptes[end - 1]), atomic_load(&ptes[end])))
		end++;
	return end - i;
}

void view_make_room(struct upage_pool *pool)
{
	if (pool->mappings + 2 > atomic_load(&pool->mapping_budget))
		relieve(pool);
}

/* ---- Hiding and showing ------------------------------------------------------------------ */

int view_hide(struct upage_pool *pool, pte_t *pte, uintptr_t address, uint64_t *value)
{
	if (!(*value & PTE_ACCESS))
		return 0;
	view_make_room(pool);
	int result = host_hide(address, page_size(pool));
	if (result < 0)
		return result;
	record(pool, pte, *value, *value & ~(uint64_t)PTE_ACCESS);
	*value &= ~(uint64_t)PTE_ACCESS;
	return 0;
}

/* The stretches of pages that lie beside each other. Return: how many. */
static unsigned stretches(const struct upage_pool *pool, const struct locked_page *pages,
                          size_t count, struct iovec *ranges)
{
	unsigned n = 0;
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || pages[i].address != pages[i - 1].address + page_size(pool))
			ranges[n++] = (struct iovec){ (void *)pages[i].address, 0 };
		ranges[n - 1].iov_len += page_size(pool);
	}
	return n;
}

void view_age_each(struct upage_pool *pool, struct locked_page *pages, size_t count)
{
	struct iovec ranges[REPLACE_AGED_MAX];
	unsigned n = stretches(pool, pages, count, ranges);
	if (n == 0 || host_age(ranges, n) == 0)
		return;
	for (unsigned r = 0; r < n; r++) {
		size_t within = ranges[r].iov_len / page_size(pool);
		view_make_room(pool);
		bool hidden = host_hide((uintptr_t)ranges[r].iov_base, ranges[r].iov_len) == 0;
		for (; within > 0; within--, pages++) {
			uint64_t after = pages->value & ~(uint64_t)PTE_ACCESS;
			if (hidden)
				record(pool, pages->pte, pages->value, after);
			pages->value = hidden ? after : pages->value;
		}
	}
}

/* Whether a page is shown, and may be hidden: the kernel may be using what is pinned. */
static bool may_hide(const struct upage_pool *pool, uint64_t value)
{
	return (value & PTE_ACCESS) && pool->frames.frame[pte_number(value)].pins == 0;
}

int view_hide_run(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                  uintptr_t address)
{
	for (size_t i = 0; i < count; i++) {
		if (!may_hide(pool, values[i]))
			continue;
		size_t first = i, end = i + 1;
		for (; i < count && (!(values[i] & PTE_ACCESS) || may_hide(pool, values[i])); i++)
			end = values[i] & PTE_ACCESS ? i + 1 : end;
		view_make_room(pool);
		int result = host_hide(address + first * page_size(pool),
		                       (end - first) * page_size(pool));
		if (result < 0)
			return result;
		for (size_t k = first; k < end; k++) {
			uint64_t after = values[k] & ~(uint64_t)PTE_ACCESS;
			if (after != values[k])
				record(pool, &ptes[k], values[k], after);
			values[k] = after;
		}
	}
	return 0;
}

/* Locks the pages behind a locked one that are its neighbours in frames, too, and may be hidden.
 * Return: how many, the first one included. */
static size_t lock_behind(struct upage_pool *pool, pte_t *pte, uint64_t *values, size_t count)
{
	uint32_t pfn = (uint32_t)pte_number(values[0]);
	size_t n = 1;
	for (; n < count; n++) {
		pte_t *other;
		if (!frame_trylock(pool, pfn + (uint32_t)n, &other, &values[n]))
			break;
		if (other == pte + n && may_hide(pool, values[n]) &&
		    !turn_keeps(&pool->turn, pool->frames.frame[pfn + n].page))
			continue;
		pte_unlock(other, values[n]);
		break;
	}
	return n;
}

uint64_t view_references_each(struct upage_pool *pool, const struct locked_page *pages, unsigned count)
{
	uintptr_t addresses[64];
	for (unsigned i = 0; i < count; i++)
		addresses[i] = pages[i].address;
	return host_references_each(addresses, page_size(pool), count);
}

size_t view_run(const struct upage_pool *pool, pte_t *pte)
{
	size_t behind = PAGE_TABLE_NODE_ENTRIES - pte_index(pte);
	return shown_run(pool, pte, 0, behind < IDLE_RUN_MAX ? behind : IDLE_RUN_MAX);
}

size_t view_idle(struct upage_pool *pool, uintptr_t address, size_t run)
{
	uint64_t references = host_references(address, page_size(pool), (unsigned)run);
	return references != 0 ? (size_t)__builtin_ctzll(references) : run;
}

void view_hide_idle(struct upage_pool *pool, pte_t *pte, uintptr_t address, uint64_t *value,
                    size_t count)
{
	uint64_t values[IDLE_RUN_MAX] = { *value };
	count = lock_behind(pool, pte, values, count);
	if (count > 1)
		view_hide_run(pool, pte, values, count, address);
	*value = values[0];
	for (size_t i = 1; i < count; i++)
		pte_unlock(pte + i, values[i]);
}

/* The frames of pages beside each other, or the part of the file: @value is the first's. */
static int show(const struct upage_pool *pool, uint64_t value, uintptr_t address, size_t pages,
                bool lazily)
{
	uint64_t pfn = pte_number(value);
	size_t length = pages * page_size(pool);
	int prot = pte_prot(value);
	if (value & PTE_FILE) {
		const struct backing *backing = pool->frames.frame[pfn].backing;
		return host_show_file(*backing->store->descriptor, address,
		                      backing_offset(backing, address), length, prot);
	}
	off_t offset = frame_offset(&pool->frames, pfn);
	return lazily ? host_show_lazily(pool->frames.memory, address, offset, length, prot)
	              : host_show(pool->frames.memory, address, offset, length, prot);
}

int view_show(struct upage_pool *pool, const struct page *page, uint64_t *value, uint64_t access)
{
	uint64_t after = (*value & ~(uint64_t)PTE_ACCESS) | access;
	if (access & PTE_WRITE)
		after &= ~(uint64_t)PTE_FILE;
	view_make_room(pool);
	for (int attempt = 0;; attempt++) {
		int result;
		record(pool, page->pte, *value, after);
		if ((*value & PTE_ACCESS) && !((*value ^ after) & PTE_FILE))
			result = host_protect(page->address, page_size(pool), pte_prot(after));
		else
			result = show(pool, after, page->address, 1, false);
		if (result == 0)
			break;
		record(pool, page->pte, after, *value);
		if (result != -ENOMEM || attempt == 4)
			return result;
		/* The process has more mappings of its own than was thought: make do with less. */
		uint64_t less = pool->mappings - pool->mappings / 8;
		atomic_store(&pool->mapping_budget, less > MAPPING_BUDGET_MIN ? less : MAPPING_BUDGET_MIN);
		relieve(pool);
	}
	*value = after;
	return 0;
}

int view_show_run(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                  uintptr_t address, uint64_t access)
{
	view_make_room(pool);
	for (size_t i = 0; i < count; i++)
		record(pool, &ptes[i], values[i], values[i] | access);
	int result = show(pool, values[0] | access, address, count, false);
	for (size_t i = 0; i < count; i++) {
		if (result == 0)
			values[i] |= access;
		else
			record(pool, &ptes[i], values[i] | access, values[i]);
	}
	return result;
}

/* ---- Forks ------------------------------------------------------------------------------ */

static bool any_is_pinned(const struct upage_pool *pool, uint64_t value, size_t count)
{
	const struct frame *frame = &pool->frames.frame[pte_number(value)];
	for (size_t i = 0; i < count && atomic_load(&pool->pinned) > 0; i++)
		if (frame[i].pins > 0)
			return true;
	return false;
}

int view_cover(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address)
{
	int result = 0;
	for (size_t i = 0, end; i < count && result == 0; i = end) {
		for (end = i + 1; end < count && may_hide(pool, atomic_load(&ptes[i])) &&
		                  may_hide(pool, atomic_load(&ptes[end]));)
			end++;
		if (may_hide(pool, atomic_load(&ptes[i])))
			result = host_hide(address + i * page_size(pool), (end - i) * page_size(pool));
	}
	return result;
}

bool view_few(const struct upage_pool *pool)
{
	return pool->mappings <= UNCOVER_FEW;
}

int view_uncover(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address,
                 enum view_cover cover)
{
	int result = 0;
	for (size_t i = 0, run; i < count; i += run) {
		uint64_t value = atomic_load(&ptes[i]);
		run = 1;
		if (!(value & PTE_ACCESS))
			continue;
		run = shown_run(pool, ptes, i, count);
		if (cover == VIEW_PARENTS && (value & PTE_FILE))
			continue;
		uintptr_t start = address + i * page_size(pool);
		bool worth = cover != VIEW_HIDDEN_MANY || run >= UNCOVER_LEAST || any_is_pinned(pool, value, run);
		if (worth && show(pool, value, start, run, true) == 0)
			continue;
		for (size_t k = i; k < i + run; k++)
			atomic_store(&ptes[k], atomic_load(&ptes[k]) & ~(uint64_t)PTE_ACCESS);
		int failure = worth ? host_hide(start, run * page_size(pool)) : 0;
		result = failure < 0 ? failure : result;
	}
	for (size_t i = 0; i < count; i++)
		pool->mappings += view_seams_owned(pool, &ptes[i], atomic_load(&ptes[i]));
	return result;
}
