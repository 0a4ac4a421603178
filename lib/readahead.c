/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "readahead.h"

#include "evict.h"
#include "home.h"
#include "store_flight.h"
#include "view.h"
#include "writeback.h"

#define WINDOW_MAX BUFFER_RUN_MAX
#define WINDOW_PART 32 /* of the frames */

/* Frames that pages left one by one would cut each window to a page or two, for good: a window goes into so many runs. */
#define RUNS_MOST 4

/* Of so many pages on the next ones are read while the program uses these. */
#define NEXT_LEAST 8

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
	page->before = page->after = page->next = 0;
	if (most <= 1)
		return;
	uint64_t window;
	_Atomic uint64_t *stream = find_stream(&pool->readahead, page->address, most, &window);
	uint64_t there = smaller(PAGE_TABLE_NODE_ENTRIES - pte_index(page->pte),
	                         (end - page->address) / page_size(pool));
	bool anywhere = swap_gains_by_many(pool->swap);
	for (uint64_t i = 1; i < smaller(window, there); i++) {
		uint64_t next = atomic_load(&page->pte[i]);
		bool comes = (next & (PTE_SWAPPED | PTE_LOCKED)) == PTE_SWAPPED &&
		             (anywhere || pte_number(next) == pte_number(value) + i);
		if (!comes || !atomic_compare_exchange_strong(&page->pte[i], &next, next | PTE_LOCKED))
			break;
		page->after++;
	}
	/* Pages that are resident take no fault when references go on over them. */
	uint64_t next = page->after + UINT64_C(1), skipped = next + WINDOW_MAX;
	while (next < smaller(skipped, there) && (atomic_load(&page->pte[next]) & PTE_PRESENT))
		next++;
	atomic_store_explicit(stream, (page->address + next * page_size(pool)) | window, memory_order_relaxed);
	/* The whole window comes, and what follows is for the next one. */
	if (anywhere && window >= NEXT_LEAST && next == window)
		page->next = (uint16_t)smaller(smaller(2 * window, most), there - window);
}

/* ---- Reading them -------------------------------------------------------------------------- */

/* Those from @from on stay where they are. */
static void give_up(const struct page *page, unsigned from, unsigned count)
{
	for (unsigned i = from > 0 ? from : 1; i < count; i++)
		pte_unlock(&page->pte[i], pte_value(&page->pte[i]));
}

/* Frames, side by side as far as they can be, the first behind that of the page before them. Where pages one by one are
 * not much dearer, in few runs: each is shown by a call of its own. Return: how many; fewer than two are none. */
static unsigned take_frames(struct upage_pool *pool, const struct page *page, unsigned count, uint32_t *frames)
{
	uint64_t left = pte_left(page->pte);
	uint64_t near = left & PTE_PRESENT ? pte_number(left) + 1 : FRAME_NONE;
	unsigned got = 0, most = swap_gains_by_many(pool->swap) ? count : RUNS_MOST;
	for (unsigned runs = 0; runs < most && got < count; runs++) {
		unsigned n = near != FRAME_NONE ? frame_allocate_from(&pool->frames, near, count - got) : 0;
		uint32_t pfn = (uint32_t)near;
		for (unsigned part = count - got; n == 0 && part > 0; part /= 2) {
			pfn = frame_allocate(&pool->frames, part);
			n = pfn != FRAME_NONE ? part : 0;
		}
		if (n == 0)
			break;
		for (unsigned i = 0; i < n; i++)
			frames[got++] = pfn + i;
		near = pfn + n;
	}
	if (got != 1)
		return got;
	frame_free(&pool->frames, frames[0], 1);
	return 0;
}

/* How many of these numbers, from the first on, follow each other. */
static unsigned row(const uint32_t *numbers, unsigned count)
{
	unsigned n = 1;
	while (n < count && numbers[n] == numbers[0] + n)
		n++;
	return n;
}

static void free_frames(struct upage_pool *pool, const uint32_t *frames, unsigned count)
{
	for (unsigned i = 0, n; i < count; i += n) {
		n = row(frames + i, count - i);
		frame_free(&pool->frames, frames[i], n);
	}
}

/* What reads slots into a buffer, those side by side by one request. Return: how many requests. */
static unsigned requests_for(struct upage_pool *pool, const uint32_t *slots, unsigned count, char *buffer,
                             struct store_request *requests)
{
	unsigned many = 0;
	for (unsigned i = 0, n; i < count; i += n) {
		n = row(slots + i, count - i);
		requests[many++] = swap_request(pool->swap, STORE_READ, slots[i], n, buffer + i * page_size(pool));
	}
	return many;
}

/* Until so many are free, if that can be. Who has buffers does not wait for others: without any it is for somebody else.
 * Return: whether there were any. */
static bool make_room(struct upage_pool *pool, unsigned count, struct beside *beside)
{
	bool more = true;
	while (more && atomic_load(&pool->frames.free) < count) {
		if (beside->buffer == NULL)
			beside->buffer = buffer_take_run(&pool->buffers, LEAVING_MAX);
		if (beside->buffer == NULL)
			return false;
		more = evict_ahead(pool, beside) > 0;
	}
	if (beside->buffer != NULL)
		buffer_give_run(&pool->buffers, beside->buffer, LEAVING_MAX);
	return true;
}

/* The content of slots into a buffer, unless it is @there; and as many frames are free then, if that can be: where they
 * are short the reads are under way beside the writes of pages that leave. Return: whether it is there. */
static bool read_slots(struct upage_pool *pool, const uint32_t *slots, unsigned count, char *buffer, bool there)
{
	struct store_request requests[WINDOW_MAX];
	unsigned many = there ? 0 : requests_for(pool, slots, count, buffer, requests);
	struct beside beside = { .reads = requests, .count = many };
	if (!make_room(pool, count, &beside))
		return false;
	if (beside.count > 0)
		stats_count_many(pool->stats, COUNT_AT_ONCE, swap_transfer_all(pool->swap, requests, many));
	for (unsigned i = 0; i < many; i++)
		if (requests[i].result != 0)
			return false;
	return true;
}

static bool write_frames(struct upage_pool *pool, const uint32_t *frames, unsigned count, const char *buffer)
{
	bool good = true;
	for (unsigned i = 0, n; i < count && good; i += n) {
		n = row(frames + i, count - i);
		good = frame_write_run(&pool->frames, frames[i], n, buffer + i * page_size(pool)) == 0;
	}
	return good;
}

/* A page whose content is in frame @pfn, and in @slot. @writes: are expected of all. Return: its entry, hidden. */
static uint64_t settle(struct upage_pool *pool, const struct page *page, uint64_t value, uint32_t pfn,
                       uint32_t slot, bool writes)
{
	uint64_t flags = value & PTE_EXPECTED;
	if (swap_leave(pool->swap, slot)) { /* to others that share it */
		slot = SWAP_NONE;
		flags = PTE_DIRTY;
	} else if (pool->frames.frame[pfn].at_home && page->backing->store == NULL && page->prot & PROT_WRITE) {
		flags = PTE_EXPECTED; /* pager.c: at home all are */
	} else if (writes && page->prot & PROT_WRITE) {
		flags = PTE_EXPECTED;
	}
	if (flags == PTE_EXPECTED && !writeback_copy_pays(pool)) {
		swap_free(pool->swap, slot);
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
		for (end = i + 1; end < count && access_of(page, values[end]) == access &&
		                  pte_number(values[end]) == pte_number(values[end - 1]) + 1;)
			end++;
		view_show_run(pool, &page->pte[i], &values[i], end - i, page->address + i * page_size(pool), access,
		              NULL);
		for (unsigned k = i; k < end; k++)
			pte_unlock(&page->pte[k], values[k]);
	}
	stats_count_many(pool->stats, COUNT_PREFETCHED, count - 1);
}

/* The slot of a page that is in swap, and that nobody works on; SWAP_NONE: it is not. */
static uint32_t resting_slot(pte_t *pte)
{
	uint64_t value = atomic_load(pte);
	return (value & (PTE_SWAPPED | PTE_LOCKED)) == PTE_SWAPPED ? (uint32_t)pte_number(value) : SWAP_NONE;
}

/* Begins to read what the stream will want next, page @from on of those behind the page. They are nobody's, and have to
 * be where they were once it has been said that they are read: store_flight.h. */
static void read_next(struct upage_pool *pool, const struct page *page, unsigned from)
{
	uint32_t slots[WINDOW_MAX];
	struct store_request requests[WINDOW_MAX];
	pte_t *ptes = page->pte + from;
	unsigned count = 0;
	while (count < page->next && (slots[count] = resting_slot(&ptes[count])) != SWAP_NONE)
		count++;
	char *buffer = count >= NEXT_LEAST ? buffer_take_run(&pool->buffers, count) : NULL;
	if (buffer == NULL)
		return;
	struct flights *flights = swap_flights(pool->swap);
	unsigned many = requests_for(pool, slots, count, buffer, requests);
	struct flight *flight = flights_say(flights, requests, many, &pool->buffers, buffer, count);
	if (flight == NULL) {
		buffer_give_run(&pool->buffers, buffer, count);
		return;
	}
	bool there = true;
	for (unsigned i = 0; i < count && there; i++)
		there = resting_slot(&ptes[i]) == slots[i];
	stats_count_many(pool->stats, COUNT_AT_ONCE, flights_read(flights, flight, there));
}

/* Frames with the content of the page and those behind it, at home where pages are. Return: how many; 0: as before. */
static unsigned fill_frames(struct upage_pool *pool, const struct page *page, const uint32_t *slots, unsigned wanted,
                            uint32_t *frames)
{
	char *buffer;
	unsigned buffers = wanted, ahead = swap_take_ahead(pool->swap, slots, wanted, &buffer, &buffers);
	if (ahead > 0)
		wanted = ahead;
	else
		buffer = buffer_take_run(&pool->buffers, buffers);
	if (buffer == NULL)
		return 0;
	read_next(pool, page, wanted);
	unsigned count = read_slots(pool, slots, wanted, buffer, ahead > 0) ? take_frames(pool, page, wanted, frames) : 0;
	bool at_home = home_takes(page);
	for (unsigned i = 0, n; i < count && at_home; i += n) {
		n = row(frames + i, count - i);
		frame_go_home(&pool->frames, frames[i], n, page->address + i * page_size(pool));
	}
	if (count > 0 && !write_frames(pool, frames, count, buffer)) {
		free_frames(pool, frames, count);
		count = 0;
	}
	buffer_give_run(&pool->buffers, buffer, buffers);
	return count;
}

bool readahead_bring_in(struct upage_pool *pool, const struct page *page, uint64_t *value)
{
	unsigned wanted = page->after + 1u;
	uint32_t slots[WINDOW_MAX], frames[WINDOW_MAX];
	uint64_t values[WINDOW_MAX];
	for (unsigned i = 0; i < wanted; i++)
		slots[i] = (uint32_t)pte_number(i == 0 ? *value : pte_value(&page->pte[i]));
	unsigned count = fill_frames(pool, page, slots, wanted, frames);
	give_up(page, count, wanted);
	bool writes = writeback_expects_writes(pool);
	for (unsigned i = 0; i < count; i++) {
		struct page one = *page;
		one.pte += i;
		one.address += i * page_size(pool);
		values[i] = settle(pool, &one, i == 0 ? *value : pte_value(one.pte), frames[i], slots[i], writes);
		if (i > 0)
			values[i] = pte_prefetched(values[i]);
	}
	if (count == 0)
		return false;
	show_behind(pool, page, values, count);
	*value = values[0];
	return true;
}
