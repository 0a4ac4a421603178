/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "writeback.h"

#include <errno.h>
#include <string.h>

#include "store_flight.h"

/* A comparison with a slot costs a third of what it saves when the page is as it was: it need not be
 * written, nor be expected to be the next time. */
#define COMPARE_CHANGED_MAX 192 /* of 256 */
#define COMPARE_EACH 8

/* A copy in memory saves compressing the page again, for a comparison: in its place there could be a part of a frame. */
#define COPY_CHANGED_MAX 96 /* of 256 */

/* An upgrade costs about what writing a page does between others. */
#define EXPECT_CHANGED_LEAST 96 /* of 256 */

/* What is past the page cache takes as long to begin as so many pages more. */
#define GAP_MAX 3

/* ---- Slots ------------------------------------------------------------------------------- */

/* The slot of the page to the left, plus one, if that is known: pages that lie side by side
 * should lie so in swap. */
static uint32_t slot_near(struct upage_pool *pool, pte_t *pte)
{
	uint64_t left = pte_left(pte);
	if (left & PTE_SWAPPED)
		return (uint32_t)pte_number(left) + 1;
	if (left & PTE_PRESENT) {
		/* A hint: its page may be leaving just now. */
		uint32_t *kept = &pool->frames.frame[pte_number(left)].slot;
		uint32_t slot = __atomic_load_n(kept, __ATOMIC_RELAXED);
		return slot != 0 ? slot : SWAP_NONE; /* kept plus one */
	}
	return SWAP_NONE;
}

/* Swap is full: a slot whose page is resident, and so holds only a copy, serves the page of
 * frame @needy. Each frame is looked at, whoever else is looking. */
static uint32_t slot_reclaim(struct upage_pool *pool, uint32_t needy, struct search *search)
{
	uint64_t frames = pool->frames.frames;
	uint64_t start = atomic_load(&pool->slot_hand);
	bool busy = false;
	for (uint64_t i = 0; i < frames && !search->no_slots; i++) {
		uint32_t pfn = (uint32_t)((start + i) % frames);
		struct frame *frame = &pool->frames.frame[pfn];
		pte_t *pte;
		uint64_t value;
		if (pfn == search->own || frame_seems_shared(frame)) /* and has no slot */
			continue;
		if (!frame_trylock(pool, pfn, &pte, &value)) {
			busy = busy || (pfn != needy && frame->state == FRAME_USED);
			continue;
		}
		uint32_t slot = frame->slot;
		if (slot != 0) {
			frame->slot = 0;
			value = (value & ~(uint64_t)(PTE_EXPECTED | PTE_PREFETCHED)) | PTE_DIRTY;
		}
		pte_unlock(pte, value);
		if (slot != 0) {
			atomic_store(&pool->slot_hand, pfn + UINT64_C(1));
			return slot - 1;
		}
	}
	search->busy = search->busy || busy;
	search->no_slots = true; /* for the rest of this pass: looking costs O(frames) */
	return SWAP_NONE;
}

bool writeback_has_slot(struct upage_pool *pool, uint64_t *value, struct search *search)
{
	uint32_t pfn = (uint32_t)pte_number(*value);
	struct frame *frame = &pool->frames.frame[pfn];
	if (!(*value & PTE_DIRTY) || frame->slot != 0 || share_first_backing(frame)->shared)
		return true;
	if (frame->at_home) /* it may have been only read; and of zeros it needs none */
		return true;
	if (search->no_slots)
		return false;
	if (frame_seems_shared(frame) || !swap_is_full(pool->swap)) /* a shared frame keeps none */
		return true;
	uint32_t slot = slot_reclaim(pool, pfn, search);
	if (slot == SWAP_NONE && !search->asked && swap_used(pool->swap) < swap_slots(pool->swap)) {
		search->asked = true; /* the medium may have room by now */
		return true;
	}
	if (slot == SWAP_NONE)
		return false;
	frame->slot = slot + 1;
	*value &= ~(uint64_t)PTE_EXPECTED; /* there is nothing in it to compare with */
	return true;
}

/* ---- What need not be written -------------------------------------------------------------- */

/* Whether of the last pages that were looked at more than @most of 256 had been written to. These are estimates:
 * threads need not agree. */
static bool many_changed(struct upage_pool *pool, uint32_t most)
{
	return atomic_load_explicit(&pool->changed, memory_order_relaxed) > most;
}

/* One of eight: what is done with it shows whether that is still so. */
static bool is_sample(_Atomic uint32_t *others)
{
	return atomic_fetch_add_explicit(others, 1, memory_order_relaxed) % COMPARE_EACH == 0;
}

/* Whether it is worth reading a slot to compare a page with it. Not while nearly all of those that are
 * expected to be written to are. */
static bool comparing_pays(struct upage_pool *pool)
{
	return swap_can_compare(pool->swap) &&
	       (!many_changed(pool, COMPARE_CHANGED_MAX) || is_sample(&pool->not_compared));
}

bool writeback_copy_pays(struct upage_pool *pool)
{
	return !swap_takes_memory(pool->swap) || !many_changed(pool, COPY_CHANGED_MAX) || is_sample(&pool->not_kept);
}

bool writeback_expects_writes(struct upage_pool *pool)
{
	return !swap_can_compare(pool->swap) && swap_gains_by_many(pool->swap) &&
	       many_changed(pool, EXPECT_CHANGED_LEAST) && !is_sample(&pool->not_compared);
}

/* Of the last sixteen or so. */
static void note_changed(struct upage_pool *pool, bool is)
{
	int changed = (int)atomic_load_explicit(&pool->changed, memory_order_relaxed);
	changed += ((is ? 256 : 0) - changed) / 16;
	atomic_store_explicit(&pool->changed, (uint32_t)changed, memory_order_relaxed);
}

/* Whether @slot has what is in @buffer, as far as that can be seen without waiting, and is looked at. */
static bool slot_has(struct upage_pool *pool, uint32_t slot, const char *buffer)
{
	if (!comparing_pays(pool))
		return false;
	char *other = buffer_take_run(&pool->buffers, 1); /* who has one does not wait */
	if (other == NULL)
		return false;
	bool same = swap_transfer(pool->swap, STORE_READ_CACHED, slot, other) == 0 &&
	            buffers_are_equal(buffer, other, page_size(pool));
	buffer_give(&pool->buffers, other);
	note_changed(pool, !same);
	return same;
}

_Static_assert(LEAVING_MAX + BUFFER_RUN_MAX <= STORE_MANY, "each may be a request of its own, and reads beside them");

/* ---- Saving them ------------------------------------------------------------------------- */

static const struct backing *backing_of(struct upage_pool *pool, const struct leaving *pages, unsigned i)
{
	return share_first_backing(leaving_frame(pool, pages, i));
}

/* The stretch of set bits from bit *@i on, or from the first behind it. Return: its length, or 0. */
static unsigned next_stretch(uint64_t bits, unsigned *i)
{
	bits = *i < 64 ? bits >> *i << *i : 0;
	if (bits == 0)
		return 0;
	*i = (unsigned)__builtin_ctzll(bits);
	return (unsigned)__builtin_ctzll(~(bits >> *i));
}

/* @count of them, from @i on, failed. Return: the bits that are left. */
static uint64_t fail(struct leaving *pages, uint64_t bits, unsigned i, unsigned count, int result)
{
	for (unsigned end = i + count; i < end; i++) {
		pages->results[i] = result;
		bits &= ~(UINT64_C(1) << i);
	}
	return bits;
}

/* Whether page @i is the one behind the page before it, in one leaf. */
static bool is_neighbour(struct upage_pool *pool, const struct leaving *pages, unsigned i)
{
	return pages->ptes[i] == pages->ptes[i - 1] + 1 &&
	       leaving_frame(pool, pages, i)->page == leaving_frame(pool, pages, i - 1)->page + page_size(pool);
}

/* Whether the content of page @i lies behind that of the page before it. */
static bool content_goes_on(struct upage_pool *pool, const struct leaving *pages, unsigned i)
{
	const struct frame *before = leaving_frame(pool, pages, i - 1), *frame = leaving_frame(pool, pages, i);
	return frame == before + 1 && frame->at_home == before->at_home &&
	       (!frame->at_home || is_neighbour(pool, pages, i));
}

/* What the frames of dirty pages have; of frames beside each other by one call. Return: those that are read. */
static uint64_t read_frames(struct upage_pool *pool, struct leaving *pages, uint64_t dirty, char *buffer)
{
	uint64_t left = dirty;
	for (unsigned i = 0, n; (n = next_stretch(dirty, &i)) > 0; i += n) {
		uint32_t pfn = (uint32_t)pte_number(pages->values[i]);
		for (unsigned k = 1; k < n; k++)
			if (!content_goes_on(pool, pages, i + k))
				n = k;
		int result = frame_read_run(&pool->frames, pfn, n, buffer + i * page_size(pool));
		if (result < 0)
			left = fail(pages, left, i, n, result);
	}
	return left;
}

/* Whether a page that has been read need not be written: then its slot, or none, is what it needs. */
static bool is_saved(struct upage_pool *pool, struct leaving *pages, unsigned i, const char *content)
{
	const struct backing *backing = backing_of(pool, pages, i);
	if (backing->shared)
		return false;
	if (backing->store == NULL && buffer_is_zero(content, page_size(pool))) {
		if (pages->slots[i] != SWAP_NONE)
			swap_free(pool->swap, pages->slots[i]);
		leaving_frame(pool, pages, i)->slot = 0;
		pages->slots[i] = SWAP_NONE;
		return true;
	}
	if (backing->store == NULL && pages->slots[i] == SWAP_NONE) /* it came as zeros, and was written to */
		page_note_used(pool, &pages->values[i]);
	if (!(pages->values[i] & PTE_EXPECTED) || !slot_has(pool, pages->slots[i], content))
		return false;
	pages->values[i] &= ~(uint64_t)(PTE_DIRTY | PTE_EXPECTED);
	return true;
}

/* Behind the slot of the page before it, if that is its neighbour; else where its own neighbours have theirs, or
 * with those that leave together with it. */
static uint32_t slot_for(struct upage_pool *pool, const struct leaving *pages, unsigned i)
{
	uint32_t before = i > 0 && pages->slots[i - 1] != SWAP_NONE ? pages->slots[i - 1] + 1 : SWAP_NONE;
	uint32_t near = before != SWAP_NONE && is_neighbour(pool, pages, i) ? before : slot_near(pool, pages->ptes[i]);
	return near != SWAP_NONE ? near : before;
}

/* Slots for those that need one and have none. Return: the bits of those that can be written. */
static uint64_t take_slots(struct upage_pool *pool, struct leaving *pages, uint64_t dirty, struct search *search)
{
	uint64_t none = 0, left = dirty;
	for (unsigned i = 0; i < pages->count; i++)
		if ((dirty >> i & 1) && pages->slots[i] == SWAP_NONE && !backing_of(pool, pages, i)->shared)
			none |= UINT64_C(1) << i;
	for (unsigned i = 0, n, got; (n = next_stretch(none, &i)) > 0; i += got) {
		uint32_t slot;
		for (unsigned k = 1; k < n; k++)
			if (!is_neighbour(pool, pages, i + k))
				n = k;
		got = swap_allocate_run(pool->swap, slot_for(pool, pages, i), n, &slot);
		if (got == 0) {
			got = 1;
			slot = slot_reclaim(pool, (uint32_t)pte_number(pages->values[i]), search);
		}
		if (slot == SWAP_NONE)
			left = fail(pages, left, i, got, UPAGE_ENOSPC);
		for (unsigned k = i; k < i + got && slot != SWAP_NONE; k++, slot++) {
			pages->slots[k] = slot;
			pages->new_slots |= UINT64_C(1) << k;
			pages->values[k] &= ~(uint64_t)PTE_EXPECTED; /* there is nothing in it to compare with */
		}
	}
	return left;
}

/* Clean pages between two that are written to swap, if all their slots lie beside each other: one request that writes
 * them again takes less time than several that leave them out. */
static uint64_t gaps(struct upage_pool *pool, const struct leaving *pages, uint64_t dirty)
{
	uint64_t between = 0, gap = 0;
	unsigned length = GAP_MAX + 1; /* there is nothing before the first */
	for (unsigned i = 0; i < pages->count && swap_gains_by_many(pool->swap); i++) {
		bool follows = i > 0 && pages->slots[i] != SWAP_NONE && pages->slots[i] == pages->slots[i - 1] + 1;
		if (dirty >> i & 1) {
			between |= follows && length <= GAP_MAX ? gap : 0;
			gap = 0;
			length = pages->slots[i] != SWAP_NONE ? 0 : GAP_MAX + 1;
		} else {
			gap |= UINT64_C(1) << i;
			length = follows ? length + 1 : GAP_MAX + 1;
		}
	}
	return between;
}

/* Whether page @i lies behind the one before it, where both are written to. */
static bool goes_on(struct upage_pool *pool, const struct leaving *pages, unsigned i)
{
	const struct backing *before = backing_of(pool, pages, i - 1), *backing = backing_of(pool, pages, i);
	if (before->shared || backing->shared)
		return before == backing && backing->store->ops->clusters && is_neighbour(pool, pages, i);
	return pages->slots[i] == pages->slots[i - 1] + 1;
}

/* Of a failure nobody knows what is in the slots now: that of a clean page, too, is no copy any more. */
static void note_written(struct upage_pool *pool, struct leaving *pages, unsigned i, unsigned count, int result)
{
	stats_count_many(pool->stats, result < 0 ? COUNT_WRITEBACK_FAILURES : COUNT_WRITEBACKS, count);
	if (result >= 0)
		return;
	fail(pages, 0, i, count, result);
	for (unsigned k = i; k < i + count; k++)
		pages->values[k] |= PTE_DIRTY;
}

/* All of them, and the reads that are to be under way beside them. By itself: only who has some has that on his stack. */
__attribute__((noinline)) static void transfer_beside(struct upage_pool *pool, struct store_request *requests,
                                                      unsigned count, struct beside *beside)
{
	struct store_request all[STORE_MANY];
	memcpy(all, requests, count * sizeof(all[0]));
	memcpy(all + count, beside->reads, beside->count * sizeof(all[0]));
	stats_count_many(pool->stats, COUNT_AT_ONCE, swap_transfer_all(pool->swap, all, count + beside->count));
	memcpy(requests, all, count * sizeof(all[0]));
	memcpy(beside->reads, all + count, beside->count * sizeof(all[0]));
	beside->count = 0;
}

/* Of a run of buffers, which are not the caller's any more then: see writeback.h. Not where the first page stays, and
 * so the caller goes on: he would need others, and may not wait for them. */
static bool write_behind(struct upage_pool *pool, const struct leaving *pages, const struct store_request *requests,
                         unsigned count, char *buffer, unsigned buffers)
{
	if (buffers <= 1 || pages->new_slots != 0 || pages->results[0] < 0 || !swap_gains_by_many(pool->swap))
		return false;
	unsigned under_way = flights_write(swap_flights(pool->swap), requests, count, &pool->buffers, buffer, buffers);
	stats_count_many(pool->stats, COUNT_AT_ONCE, under_way);
	return under_way > 0;
}

/* Return: whether the buffers are still the caller's. */
static bool write_all(struct upage_pool *pool, struct leaving *pages, uint64_t dirty, char *buffer, unsigned buffers,
                      struct beside *beside)
{
	struct store_request requests[LEAVING_MAX];
	unsigned first[LEAVING_MAX], length[LEAVING_MAX], many = 0;
	for (unsigned i = 0, n; (n = next_stretch(dirty, &i)) > 0; i += n) {
		const struct backing *backing = backing_of(pool, pages, i);
		char *content = buffer + i * page_size(pool);
		for (unsigned k = 1; k < n; k++)
			if (!goes_on(pool, pages, i + k))
				n = k;
		if (backing->shared) {
			off_t offset = backing_offset(backing, leaving_frame(pool, pages, i)->page);
			note_written(pool, pages, i, n, store_transfer(backing->store, STORE_WRITE, content,
			                                               n * page_size(pool), offset));
			continue;
		}
		requests[many] = swap_request(pool->swap, STORE_WRITE, pages->slots[i], n, content);
		first[many] = i;
		length[many++] = n;
	}
	if (many == 0)
		return true;
	bool behind = write_behind(pool, pages, requests, many, buffer, buffers);
	if (!behind && beside != NULL && beside->count > 0)
		transfer_beside(pool, requests, many, beside);
	else if (!behind)
		stats_count_many(pool->stats, COUNT_AT_ONCE, swap_transfer_all(pool->swap, requests, many));
	for (unsigned k = 0; k < many; k++)
		note_written(pool, pages, first[k], length[k], behind ? 0 : requests[k].result);
	return !behind;
}

void writeback(struct upage_pool *pool, struct leaving *pages, struct search *search)
{
	uint64_t dirty = 0;
	pages->new_slots = 0;
	for (unsigned i = 0; i < pages->count; i++) {
		pages->results[i] = 0;
		pages->slots[i] = leaving_frame(pool, pages, i)->slot - 1; /* 0 becomes SWAP_NONE */
		if (pages->values[i] & PTE_DIRTY)
			dirty |= UINT64_C(1) << i;
		/* Where nothing can be compared, those that nothing was expected of tell. */
		if (pages->slots[i] != SWAP_NONE && !swap_can_compare(pool->swap) && !(pages->values[i] & PTE_EXPECTED))
			note_changed(pool, pages->values[i] & PTE_DIRTY);
	}
	if (dirty == 0)
		return;
	char *own = search->beside != NULL ? search->beside->buffer : NULL, *buffer = own;
	unsigned buffers = own != NULL ? LEAVING_MAX : pages->count;
	if (buffer == NULL && buffers > 1)
		buffer = buffer_take_run(&pool->buffers, buffers);
	if (buffer == NULL) {
		for (unsigned i = 1; i < pages->count; i++)
			if (dirty >> i & 1)
				dirty = fail(pages, dirty, i, 1, -EAGAIN);
		buffers = 1;
		buffer = buffer_take(&pool->buffers);
	}
	uint64_t clean = gaps(pool, pages, dirty);
	uint64_t read = read_frames(pool, pages, dirty | clean, buffer);
	dirty &= read;
	for (unsigned i = 0; i < pages->count; i++)
		if ((dirty >> i & 1) && is_saved(pool, pages, i, buffer + i * page_size(pool)))
			dirty &= ~(UINT64_C(1) << i);
	dirty = take_slots(pool, pages, dirty, search);
	dirty |= gaps(pool, pages, dirty) & clean & read;
	bool ours = write_all(pool, pages, dirty, buffer, buffers, search->beside);
	if (own == NULL && ours)
		buffer_give_run(&pool->buffers, buffer, buffers);
	else if (own != NULL && !ours)
		search->beside->buffer = NULL;
	for (unsigned i = 0; i < pages->count; i++)
		if (pages->results[i] < 0 && (pages->new_slots >> i & 1))
			swap_give_back(pool->swap, pages->slots[i]);
}
