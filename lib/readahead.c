/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "readahead.h"

#include "evict.h"
#include "view.h"

#define WINDOW_MAX BUFFER_RUN_MAX
#define WINDOW_PART 32 /* of the frames */

/* ---- Streams ------------------------------------------------------------------------------- */

/* A word: the address of the page that is expected next, which the size of the window is added to. */
static const uint64_t window_mask = 4095;

/* The stream that expects a page, or one for it to begin. @window: how many pages it is to bring. */
static _Atomic uint64_t *find_stream(struct readahead *readahead, uintptr_t address, uint64_t most, uint64_t *window)
{
	for (unsigned i = 0; i < READAHEAD_STREAMS; i++) {
		uint64_t stream = atomic_load_explicit(&readahead->streams[i], memory_order_relaxed);
		if ((stream & ~window_mask) == address) {
			*window = smaller(2 * (stream & window_mask), most);
			return &readahead->streams[i];
		}
	}
	*window = 1;
	unsigned oldest = atomic_fetch_add_explicit(&readahead->oldest, 1, memory_order_relaxed);
	return &readahead->streams[oldest % READAHEAD_STREAMS];
}

void readahead_lock(struct upage_pool *pool, struct page *page, uint64_t value, uintptr_t end)
{
	uint64_t most = smaller(smaller(pool->cluster_pages, WINDOW_MAX), pool->frames.frames / WINDOW_PART);
	page->before = page->after = 0;
	if (most <= 1)
		return;
	uint64_t window;
	_Atomic uint64_t *stream = find_stream(&pool->readahead, page->address, most, &window);
	uint64_t there = smaller(PAGE_TABLE_NODE_ENTRIES - pte_index(page->pte),
	                         (end - page->address) / page_size(pool));
	for (uint64_t i = 1; i < smaller(window, there); i++) {
		uint64_t next = atomic_load(&page->pte[i]);
		bool behind = (next & (PTE_SWAPPED | PTE_LOCKED)) == PTE_SWAPPED &&
		              pte_number(next) == pte_number(value) + i;
		if (!behind || !atomic_compare_exchange_strong(&page->pte[i], &next, next | PTE_LOCKED))
			break;
		page->after++;
	}
	uintptr_t expected = page->address + (page->after + 1u) * page_size(pool);
	atomic_store_explicit(stream, expected | window, memory_order_relaxed);
}

/* ---- Reading them -------------------------------------------------------------------------- */

/* Those from @from on stay where they are. */
static void give_up(const struct page *page, unsigned from, unsigned count)
{
	for (unsigned i = from > 0 ? from : 1; i < count; i++)
		pte_unlock(&page->pte[i], pte_value(&page->pte[i]));
}

/* Frames side by side, behind that of the page before them if they can be. Return: how many; fewer than two
 * are none. */
static unsigned take_frames(struct upage_pool *pool, const struct page *page, unsigned count, uint32_t *pfn)
{
	while (atomic_load(&pool->frames.free) < count && evict_ahead(pool) > 0)
		;
	uint64_t left = pte_left(page->pte);
	if (left & PTE_PRESENT) {
		*pfn = (uint32_t)pte_number(left) + 1;
		unsigned got = frame_allocate_from(&pool->frames, *pfn, count);
		if (got > 1)
			return got;
		if (got == 1)
			frame_free(&pool->frames, *pfn, 1);
	}
	for (; count > 1; count /= 2) {
		*pfn = frame_allocate(&pool->frames, count);
		if (*pfn != FRAME_NONE)
			return count;
	}
	return 0;
}

static bool read_slots(struct upage_pool *pool, uint32_t slot, unsigned count, uint32_t pfn)
{
	char *buffer = buffer_take_run(&pool->buffers, count);
	if (buffer == NULL)
		return false;
	bool good = swap_transfer_run(pool->swap, STORE_READ, slot, count, buffer) == 0 &&
	            frame_write_run(&pool->frames, pfn, count, buffer) == 0;
	buffer_give_run(&pool->buffers, buffer, count);
	return good;
}

/* A page whose content is in frame @pfn, and in @slot. Return: its entry, hidden. */
static uint64_t settle(struct upage_pool *pool, const struct page *page, uint64_t value, uint32_t pfn,
                       uint32_t slot)
{
	uint64_t flags = value & PTE_EXPECTED;
	if (swap_leave(pool->swap, slot)) { /* to others that share it */
		slot = SWAP_NONE;
		flags = PTE_DIRTY;
	}
	return page_settle(pool, page, pfn, slot) | flags;
}

/* What a reading would make of a page. */
static uint64_t access_of(const struct page *page, uint64_t value)
{
	bool writes = (value & PTE_DIRTY) || ((value & PTE_EXPECTED) && (page->prot & PROT_WRITE));
	uint64_t dirty = writes ? PTE_DIRTY : 0;
	return page_access(page, dirty) | dirty;
}

/* Pages from the second on; what the host does not show is resident nevertheless. */
static void show_behind(struct upage_pool *pool, const struct page *page, uint64_t *values, unsigned count)
{
	for (unsigned i = 1, end; i < count; i = end) {
		uint64_t access = access_of(page, values[i]);
		for (end = i + 1; end < count && access_of(page, values[end]) == access;)
			end++;
		bool shown = view_show_run(pool, &page->pte[i], &values[i], end - i,
		                           page->address + i * page_size(pool), access, NULL) == 0;
		for (unsigned k = i; k < end; k++)
			pte_unlock(&page->pte[k], shown ? values[k] : values[k] | PTE_PREFETCHED);
	}
	stats_count_many(pool->stats, COUNT_PREFETCHED, count - 1);
}

bool readahead_bring_in(struct upage_pool *pool, const struct page *page, uint64_t *value)
{
	unsigned wanted = page->after + 1u;
	uint32_t slot = (uint32_t)pte_number(*value), pfn;
	unsigned count = take_frames(pool, page, wanted, &pfn);
	give_up(page, count, wanted);
	if (count == 0)
		return false;
	if (!read_slots(pool, slot, count, pfn)) {
		frame_free(&pool->frames, pfn, count);
		give_up(page, 1, count);
		return false;
	}
	uint64_t values[WINDOW_MAX];
	for (unsigned i = 0; i < count; i++) {
		struct page one = *page;
		one.pte += i;
		one.address += i * page_size(pool);
		values[i] = settle(pool, &one, i == 0 ? *value : pte_value(one.pte), pfn + i, slot + i);
	}
	show_behind(pool, page, values, count);
	*value = values[0];
	return true;
}
