/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster.h"

#include <string.h>

#include "home.h"
#include "host.h"
#include "reclaim.h"
#include "view.h"

/* Pages of a file that come in together, whoever is asked for; and of all memory, where so much is free that
 * nobody will miss it. */
#define BLOCK 4u
#define BLOCK_AMPLE 8u

/* Of the pages before it as many follow, up to so many; then one for so many. */
#define FOLLOW_ALL 16u
#define FOLLOW_PART 4u

/* No more come at once than one of so many free frames, where that is more than FOLLOW_ALL. */
#define FREE_PART 16

/* From so many pages on frames are filled at an address of ours, and that mapping is moved to the pages:
 * bench/fault, "fill". */
#define BORROW_LEAST 32

/* ---- Who takes part ----------------------------------------------------------------------- */

/* Frames are plenty while a quarter of them is free. */
static bool is_plenty(const struct upage_pool *pool)
{
	return atomic_load(&pool->frames.free) > pool->frames.frames / 4;
}

bool cluster_is_ample(const struct upage_pool *pool)
{
	uint64_t frames = pool->frames.frames;
	return frames - atomic_load(&pool->frames.free) < frames / 8;
}

/* Whether a page is near others: something is resident in its block or in one beside it, or its mapping begins
 * there. */
static bool is_near(const struct upage_pool *pool, const struct page *page, size_t index, uintptr_t start,
                    size_t entries)
{
	size_t block = index - index % BLOCK_AMPLE;
	size_t first = block - smaller(block, BLOCK_AMPLE), end = smaller(block + 2 * BLOCK_AMPLE, entries);
	bool near = page->address - start <= (index - block) * page_size(pool);
	for (size_t i = first; i < end && !near; i++)
		near = atomic_load(page->pte - index + i) & PTE_PRESENT;
	return near;
}

/* The aligned pages of its mapping of which at least those that are empty come in with a page. Who touches memory
 * here and there gets single pages. */
static size_t block_of(const struct upage_pool *pool, const struct page *page, size_t index, uintptr_t start,
                       size_t entries)
{
	const upage_store *store = page->backing->store;
	bool ample = cluster_is_ample(pool);
	if (store == NULL)
		ample = ample && is_near(pool, page, index, start, entries);
	if (ample && (store == NULL || store->descriptor != NULL))
		return BLOCK_AMPLE;
	return store == NULL ? 1 : BLOCK;
}

/* Whether the neighbours of a page in a mapping with this content may come in with it. Of a file
 * that is written to, each page will differ from the file, or none. */
static bool is_suitable(const struct backing *backing, int access)
{
	if (backing->store == NULL)
		return true;
	return backing->store->ops->clusters && !backing->shared && !(access & PROT_WRITE);
}

/* Entries that lie beside each other. Behind a small leaf there is memory in which nothing is a page's. */
static size_t entries_of(const struct page_table *table)
{
	return smaller(PAGE_TABLE_NODE_ENTRIES, page_table_leaf_pages(table));
}

/* Resident pages in a row beside page @vpn, which has the entry @pte: on the left of it by -1, on the
 * right by 1. */
static size_t resident_run(const struct page_table *table, upage_vpn vpn, const pte_t *pte, int direction,
                           size_t most)
{
	size_t edge = direction < 0 ? 0 : entries_of(table) - 1, run = 0;
	for (; run < most; run++) {
		bool inside = pte_index(pte) != edge;
		vpn += (upage_vpn)direction;
		if (inside)
			pte += direction;
		else /* below the first page is past the last one */
			pte = vpn >> table->vpn_bits == 0 ? page_table_walk(table, vpn) : NULL;
		if (pte == NULL || !(atomic_load(pte) & PTE_PRESENT))
			break;
	}
	return run;
}

/* How many pages follow a run of resident ones that lies on that side, as long as the next one is empty. */
static size_t followers(const struct page_table *table, upage_vpn vpn, const pte_t *pte, int direction,
                        size_t most)
{
	if (most == 0 || atomic_load(pte - direction) != 0)
		return 0;
	size_t run = resident_run(table, vpn, pte, direction, FOLLOW_PART * most);
	return smaller(run <= FOLLOW_ALL ? run : larger(FOLLOW_ALL, run / FOLLOW_PART), most);
}

/* Locks empty entries beside @pte, up to @most. */
static unsigned lock_empty(pte_t *pte, int direction, size_t most)
{
	unsigned locked = 0;
	for (uint64_t empty = 0; locked < most; empty = 0, locked++) {
		pte += direction;
		if (!atomic_compare_exchange_strong(pte, &empty, PTE_LOCKED))
			break;
	}
	return locked;
}

/* Whether all that a reference changes about a resident page is that it is shown. (What is clean at home is
 * dirty then: pte_referenced().) */
static bool is_just_hidden(const struct upage_pool *pool, uint64_t value, int access)
{
	if (!(value & PTE_PRESENT) ||
	    (value & (PTE_ACCESS | PTE_EXPECTED | PTE_FILE | PTE_SHARED)))
		return false;
	bool stays_clean = !(access & PROT_WRITE) && !pool->frames.frame[pte_number(value)].at_home;
	return (value & PTE_DIRTY) || stays_clean;
}

/* Locks pages beside @pte, whose entry was @value, that are as it is and its neighbours in frames too. */
static unsigned lock_hidden(pte_t *pte, uint64_t value, int direction, size_t most)
{
	unsigned locked = 0;
	for (; locked < most; locked++) {
		pte += direction;
		value = pte_with_number(value, pte_number(value) + (uint64_t)(int64_t)direction);
		uint64_t found = atomic_load(pte);
		if (((found ^ value) & ~(uint64_t)PTE_PREFETCHED) != 0 ||
		    !atomic_compare_exchange_strong(pte, &found, found | PTE_LOCKED))
			break;
	}
	return locked;
}

void cluster_lock(struct upage_pool *pool, const struct page_table *table, upage_vpn vpn,
                  struct page *page, uint64_t value, int access, uintptr_t start, uintptr_t end)
{
	page->before = page->after = 0;
	if (pool->cluster_pages == 1 || !is_plenty(pool))
		return;
	size_t most = smaller(pool->cluster_pages - 1,
	                      larger(FOLLOW_ALL, atomic_load(&pool->frames.free) / FREE_PART));
	size_t index = pte_index(page->pte);
	size_t on_left = smaller(index, (page->address - start) / page_size(pool));
	size_t on_right = smaller(entries_of(table), index + (end - page->address) / page_size(pool)) - index - 1;
	if (is_just_hidden(pool, value, access)) {
		page->after = (uint16_t)lock_hidden(page->pte, value, 1, smaller(most, on_right));
		page->before = (uint16_t)lock_hidden(page->pte, value, -1, smaller(most - page->after, on_left));
	}
	if (value != 0 || !is_suitable(page->backing, access))
		return;
	size_t block = smaller(block_of(pool, page, index, start, entries_of(table)), most + 1);
	size_t after = larger(followers(table, vpn, page->pte, -1, smaller(most, on_right)), block - 1 - index % block);
	size_t before = larger(followers(table, vpn, page->pte, 1, smaller(most, on_left)), index % block);
	page->after = (uint16_t)lock_empty(page->pte, 1, smaller(after, on_right));
	before = smaller(before, most - page->after);
	page->before = (uint16_t)lock_empty(page->pte, -1, smaller(before, on_left));
}

/* ---- Bringing them in ----------------------------------------------------------------------- */

/* Pages beside each other, their entries, and frames beside each other for them. */
struct cluster {
	pte_t *ptes;
	uintptr_t address;
	uint32_t count;  /* of pages */
	uint32_t own;    /* which of them was referenced */
	uint32_t pfn;    /* of the first */
	void *filled;    /* where the frames are mapped meanwhile; NULL: nowhere */
};

/* Gives up the entries from @from on, but the page's own: they stay empty. */
static void give_up(struct cluster *c, uint32_t from)
{
	for (uint32_t i = from; i < c->count; i++)
		if (i != c->own)
			pte_unlock(&c->ptes[i], 0);
	c->count = from;
}

/* Frames beside those of the pages on one of the sides, or where there is room for more. Those
 * pages that get none are given up. Return: whether the page's own gets one. */
static bool take_frames(struct upage_pool *pool, struct cluster *c, bool shows_file)
{
	uint64_t left = pte_left(c->ptes), right = pte_right(c->ptes + c->count - 1);
	uint32_t got = 0;
	if (left & PTE_PRESENT) {
		c->pfn = (uint32_t)pte_number(left) + 1;
		got = frame_allocate_from(&pool->frames, c->pfn, c->count);
	} else if (right & PTE_PRESENT && pte_number(right) >= c->count) {
		c->pfn = (uint32_t)pte_number(right) - c->count;
		got = frame_allocate_from(&pool->frames, c->pfn, c->count);
	}
	if (got == 0) {
		c->pfn = frame_allocate_placed(&pool->frames, c->address >> pool->frames.page_shift,
		                               shows_file ? FRAME_PLACE_ORDER_FILE : FRAME_PLACE_ORDER);
		if (c->pfn == FRAME_NONE)
			return false;
		got = 1 + frame_allocate_from(&pool->frames, c->pfn + UINT64_C(1), c->count - 1);
	}
	if (got > c->own) {
		give_up(c, got);
		return true;
	}
	frame_free(&pool->frames, c->pfn, got);
	return false;
}

/* A file may end before the last of them. Return: whether there is anything of the page's own. */
static bool end_with_file(struct upage_pool *pool, struct cluster *c, uint64_t bytes)
{
	uint64_t there = (bytes + page_size(pool) - 1) / page_size(pool);
	if (there <= c->own)
		return false;
	if (there < c->count) {
		frame_free(&pool->frames, c->pfn + (uint32_t)there, c->count - (uint32_t)there);
		give_up(c, (uint32_t)there);
	}
	return true;
}

/* Nothing is read of what the host shows from the file. */
static bool find_end(struct upage_pool *pool, struct cluster *c, const struct backing *backing)
{
	int64_t bytes = host_file_size(*backing->store->descriptor) - backing_offset(backing, c->address);
	return bytes > 0 && end_with_file(pool, c, (uint64_t)bytes);
}

/* What @backing has of the pages, in memory of ours. Return: whether all is well. */
static bool read_pages(struct upage_pool *pool, struct cluster *c, const struct backing *backing, void *at)
{
	struct store_request request = { .operation = STORE_READ,
		                         .buffer = at,
		                         .length = c->count * page_size(pool),
		                         .offset = backing_offset(backing, c->address) };
	store_submit(backing->store, &request);
	return store_complete(&request) == 0 && end_with_file(pool, c, request.moved);
}

/* The frames are filled where they are mapped. */
static bool fill_borrowed(struct upage_pool *pool, struct cluster *c, const struct backing *backing)
{
	size_t bytes = c->count * page_size(pool);
	void *at;
	if (frame_borrow(&pool->frames, c->pfn, c->count, &at) < 0)
		return false;
	bool good = true;
	if (backing->store == NULL)
		memset(at, 0, bytes);
	else
		good = read_pages(pool, c, backing, at);
	size_t used = good ? c->count * page_size(pool) : 0; /* its file may have ended before */
	if (used < bytes)
		host_release((char *)at + used, bytes - used);
	c->filled = good ? at : NULL;
	return good;
}

/* Their content. Return: whether all is well. */
static bool fill(struct upage_pool *pool, struct cluster *c, const struct backing *backing)
{
	bool at_home = pool->frames.frame[c->pfn].at_home;
	if (backing->store == NULL) {
		bool borrow = !at_home && c->count >= BORROW_LEAST &&
		              !frame_is_zero_run(&pool->frames, c->pfn, c->count);
		return borrow ? fill_borrowed(pool, c, backing)
		              : reclaim_zero(pool, c->pfn, c->count) == 0;
	}
	if (c->count > BUFFER_RUN_MAX)
		return !at_home && fill_borrowed(pool, c, backing);
	char *buffer = buffer_take_run(&pool->buffers, c->count);
	if (buffer == NULL)
		return false;
	uint32_t count = c->count;
	bool good = read_pages(pool, c, backing, buffer) &&
	            frame_write_run(&pool->frames, c->pfn, c->count, buffer) == 0;
	buffer_give_run(&pool->buffers, buffer, count);
	return good;
}

bool cluster_bring_in(struct upage_pool *pool, const struct page *page, uint64_t *value, int access)
{
	struct cluster c = { .ptes = page->pte - page->before,
		             .address = page->address - page->before * page_size(pool),
		             .count = page->before + 1u + page->after,
		             .own = page->before };
	bool at_home = home_takes(page);
	bool shows_file = !at_home && page_shows_file(page, access);
	bool taken = take_frames(pool, &c, shows_file);
	if (taken && at_home)
		frame_go_home(&pool->frames, c.pfn, c.count, c.address);
	if (!taken || !(shows_file ? find_end(pool, &c, page->backing) : fill(pool, &c, page->backing))) {
		if (taken)
			frame_free(&pool->frames, c.pfn, c.count);
		give_up(&c, 0);
		return false;
	}
	uint64_t values[CLUSTER_PAGES_MAX];
	bool writes = access & PROT_WRITE || (at_home && page->backing->store == NULL && page->prot & PROT_WRITE);
	uint64_t dirty = writes ? PTE_DIRTY : 0; /* pte_referenced() says the same of one page */
	for (uint32_t i = 0; i < c.count; i++) {
		const struct page one = { .pte = c.ptes + i,
			                  .address = c.address + i * page_size(pool),
			                  .backing = page->backing };
		values[i] = page_settle(pool, &one, c.pfn + i, SWAP_NONE) | (shows_file ? PTE_FILE : 0);
		if (i != c.own && page->backing->store != NULL)
			replace_doubt(&pool->replace, c.pfn + i);
	}
	/* What the host does not show is resident nevertheless. */
	view_show_run(pool, c.ptes, values, c.count, c.address, page_access(page, dirty) | dirty, c.filled);
	for (uint32_t i = 0; i < c.count; i++) {
		if (i != c.own)
			pte_unlock(&c.ptes[i], values[i] | PTE_PREFETCHED);
	}
	stats_count_many(pool->stats, COUNT_PREFETCHED, c.count - 1);
	*value = values[c.own];
	return true;
}

/* ---- Showing them --------------------------------------------------------------------------- */

int cluster_show(struct upage_pool *pool, const struct page *page, uint64_t *value, uint64_t access)
{
	uint64_t values[CLUSTER_PAGES_MAX];
	unsigned own = page->before, count = own + 1u + page->after;
	pte_t *ptes = page->pte - own;
	for (unsigned i = 0; i < count; i++)
		values[i] = pte_with_number(*value, pte_number(*value) - own + i) |
		            (i != own ? atomic_load(&ptes[i]) & PTE_PREFETCHED : 0);
	int result = view_show_run(pool, ptes, values, count, page->address - own * page_size(pool),
	                           access, NULL);
	for (unsigned i = 0; i < count; i++)
		if (i != own)
			pte_unlock(&ptes[i], values[i]);
	*value = values[own];
	return result;
}
