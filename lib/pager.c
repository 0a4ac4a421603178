/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pager.h"

#include <string.h>

#include "cluster.h"
#include "evict.h"
#include "home.h"
#include "host.h"
#include "readahead.h"
#include "reclaim.h"
#include "view.h"
#include "writeback.h"

#define RANGE_BATCH 512 /* pages that are hidden by one call */

/* ---- Bringing a page in --------------------------------------------------------------- */

/* A free frame, if there is any: beside the frame of a neighbouring page, or where there is
 * room for the frames of neighbours to come. */
static uint32_t take_free_frame(struct upage_pool *pool, const struct page *page)
{
	if (atomic_load(&pool->frames.free) == 0)
		return FRAME_NONE;
	uint64_t left = pte_left(page->pte);
	if ((left & PTE_PRESENT) && frame_allocate_at(&pool->frames, pte_number(left) + 1))
		return (uint32_t)pte_number(left) + 1;
	uint64_t right = pte_right(page->pte);
	if ((right & PTE_PRESENT) && pte_number(right) > 0 &&
	    frame_allocate_at(&pool->frames, pte_number(right) - 1))
		return (uint32_t)pte_number(right) - 1;
	return frame_allocate_placed(&pool->frames, page->address >> pool->frames.page_shift,
	                             FRAME_PLACE_ORDER);
}

/* The content of a page that is not resident, into a frame. */
static int fill(struct upage_pool *pool, const struct page *page, uint64_t value, uint32_t pfn)
{
	const struct backing *backing = page->backing;
	if (!(value & PTE_SWAPPED) && backing->store == NULL)
		return reclaim_zero(pool, pfn, 1);
	char *buffer = buffer_take(&pool->buffers);
	int result;
	if (value & PTE_SWAPPED)
		result = swap_transfer(pool->swap, STORE_READ, (uint32_t)pte_number(value), buffer);
	else
		result = store_transfer(backing->store, STORE_READ, buffer, page_size(pool),
		                        backing_offset(backing, page->address));
	if (result == 0)
		result = frame_write(&pool->frames, pfn, buffer);
	buffer_give(&pool->buffers, buffer);
	return result;
}

/* Whether a page is in its file. Return: 0 or STORE_PAST_END, or the host's error. */
static int find_in_file(const struct page *page)
{
	int64_t size = host_file_size(*page->backing->store->descriptor);
	return size < 0 ? (int)size : backing_offset(page->backing, page->address) < size ? 0 : STORE_PAST_END;
}

/* The frame that was taken for a page is at home, if the page is. Return: whether it is. */
static bool page_go_home(struct upage_pool *pool, const struct page *page, uint32_t pfn)
{
	bool at_home = home_takes(page);
	if (at_home)
		frame_go_home(&pool->frames, pfn, 1, page->address);
	return at_home;
}

/* Makes the page resident in frame @pfn, hidden, with its content unless that is shown from a file.
 * On failure the frame is free. */
static int page_place(struct upage_pool *pool, const struct page *page, uint64_t *value,
                      uint32_t pfn, int access)
{
	bool at_home = page_go_home(pool, page, pfn);
	bool shows_file = !at_home && !(*value & PTE_SWAPPED) && page_shows_file(page, access);
	int result = shows_file ? find_in_file(page) : fill(pool, page, *value, pfn);
	if (result != 0) {
		frame_free(&pool->frames, pfn, 1);
		return result;
	}
	uint32_t slot = *value & PTE_SWAPPED ? (uint32_t)pte_number(*value) : SWAP_NONE;
	uint64_t flags = *value & PTE_EXPECTED;
	if (slot != SWAP_NONE && swap_leave(pool->swap, slot)) {
		slot = SWAP_NONE;
		flags = PTE_DIRTY;
	}
	*value = page_settle(pool, page, pfn, slot) | flags | (shows_file ? PTE_FILE : 0);
	return 0;
}

/* A frame for a page, free or taken from another page. @own: as evict_any(). */
static int take_frame(struct upage_pool *pool, const struct page *page, uint32_t own, uint32_t *pfn)
{
	*pfn = take_free_frame(pool, page);
	return *pfn != FRAME_NONE ? 0 : evict_any(pool, own, pfn);
}

static int page_bring_in(struct upage_pool *pool, const struct page *page, uint64_t *value,
                         int access)
{
	bool others = page->before + page->after > 0;
	if (others && (*value & PTE_SWAPPED ? readahead_bring_in(pool, page, value)
	                                    : cluster_bring_in(pool, page, value, access)))
		return 0;
	uint32_t pfn;
	int result = take_frame(pool, page, FRAME_NONE, &pfn);
	return result == 0 ? page_place(pool, page, value, pfn, access) : result;
}

/* Nobody has the frame of a locked page any more. */
static void release_frame(struct upage_pool *pool, uint32_t pfn)
{
	struct frame *frame = &pool->frames.frame[pfn];
	uint32_t slot = frame->slot;
	frame->slot = 0;
	frame->references = 0;
	atomic_store(&frame->pte, NULL);
	replace_remove(&pool->replace, pfn);
	frame_free(&pool->frames, pfn, 1);
	if (slot != 0)
		swap_free(pool->swap, slot - 1);
}

/* ---- Copies on writes ------------------------------------------------------------------ */

/* A frame for @page, with the content of frame @from. Return: as evict_any(), or the host's error. */
static int copy_frame(struct upage_pool *pool, const struct page *page, uint32_t from, uint32_t *to)
{
	int result = take_frame(pool, page, from, to);
	if (result < 0)
		return result;
	page_go_home(pool, page, *to);
	char *buffer = buffer_take(&pool->buffers);
	result = frame_read(&pool->frames, from, buffer);
	if (result == 0)
		result = frame_write(&pool->frames, *to, buffer);
	buffer_give(&pool->buffers, buffer);
	if (result < 0)
		frame_free(&pool->frames, *to, 1);
	return result;
}

/* A page that may share its frame gets one of its own: a copy, or if nobody else is left the same.
 * What is shown of it meanwhile is right: none of those that share it can write. */
static int page_split(struct upage_pool *pool, const struct page *page, uint64_t *value, int access)
{
	uint32_t from = (uint32_t)pte_number(*value), to;
	if (share_is_alone(&pool->shares, &pool->frames.frame[from])) {
		*value &= ~(uint64_t)PTE_SHARED;
		return 0;
	}
	int result = copy_frame(pool, page, from, &to);
	if (result < 0)
		return result;
	bool dirty = (*value & PTE_DIRTY) || (access & PROT_WRITE), ahead = *value & PTE_PREFETCHED;
	uint64_t after = pte_make(to, PTE_PRESENT | (dirty ? PTE_DIRTY : 0));
	result = view_replace(pool, page, value, after | page_access(page, after));
	if (result < 0) {
		frame_free(&pool->frames, to, 1);
		return result;
	}
	if (!share_leave(&pool->shares, &pool->frames.frame[from], page->pte))
		release_frame(pool, from);
	page_settle(pool, page, to, SWAP_NONE);
	stats_count(pool->stats, COUNT_COPIED);
	if (ahead)
		stats_count(pool->stats, COUNT_PREFETCH_USED);
	return 0;
}

/* ---- Resolving ------------------------------------------------------------------------- */

/* Takes a pin on a resident page, if the limits allow. */
int pager_pin_frame(struct upage_pool *pool, uint32_t pfn, enum pin pin)
{
	struct frame *frame = &pool->frames.frame[pfn];
	if (frame->pins == UINT16_MAX)
		return UPAGE_EPINS;
	if (frame->pins == 0 &&
	    atomic_fetch_add(&pool->pinned, 1) + FRAMES_NEVER_PINNED >= pool->frames.frames) {
		atomic_fetch_sub(&pool->pinned, 1);
		return UPAGE_EPINS;
	}
	frame->pins++;
	if (pin == PIN_CALL) {
		frame->calls++;
		atomic_fetch_add(&pool->calls, 1);
	}
	stats_count(pool->stats, COUNT_PINNED_PAGES);
	return 0;
}

/* What a reference makes of a resident page. One that is expected to be written to is dirty from
 * its first reading on: that saves the upgrade, which costs more than comparing it in the end. A
 * pin is no reference of the program's, and says what it is for. At home all are that no store has and that
 * may be: what can only be read takes a host mapping of its own. */
static uint64_t pte_referenced(const struct upage_pool *pool, const struct page *page, uint64_t value, int access,
                               enum pin pin)
{
	const struct frame *frame = &pool->frames.frame[pte_number(value)];
	value &= ~(uint64_t)PTE_PREFETCHED;
	if (access & PROT_WRITE)
		return (value & ~(uint64_t)PTE_EXPECTED) | PTE_DIRTY;
	if (!(page->prot & PROT_WRITE))
		return value;
	if (frame->at_home && !(value & PTE_DIRTY) && page->backing->store == NULL)
		return value | PTE_DIRTY | (frame->slot != 0 ? PTE_EXPECTED : 0);
	return (value & PTE_EXPECTED) && pin == PIN_NONE ? value | PTE_DIRTY : value;
}

static enum counter kind_of_fault(const struct page *page, uint64_t value, int access)
{
	if (value & PTE_PRESENT) {
		if (pte_check(value, access) == UPAGE_CAUSE_NONE)
			return COUNT_NONE;
		bool readable = value & PTE_ACCESS;
		return readable && (access & PROT_WRITE) ? COUNT_WRITE_UPGRADE : COUNT_SOFT;
	}
	return value & PTE_SWAPPED || page->backing->store != NULL ? COUNT_MAJOR : COUNT_ZERO_FILL;
}

/* With its hidden neighbours, if it has any, by a @soft fault; where that fails, alone. */
static int show(struct upage_pool *pool, const struct page *page, uint64_t *value, uint64_t access, bool soft)
{
	if (soft && page->before + page->after > 0 && cluster_show(pool, page, value, access) == 0)
		return 0;
	return view_show(pool, page, value, access);
}

/* A page is written to, or taken to be. In a file its slot is kept for the next time. */
static uint64_t drop_old_copy(struct upage_pool *pool, uint64_t value)
{
	struct frame *frame = &pool->frames.frame[pte_number(value)];
	if (frame->slot == 0 || !swap_takes_memory(pool->swap))
		return value;
	swap_free(pool->swap, frame->slot - 1);
	frame->slot = 0;
	return value & ~(uint64_t)PTE_EXPECTED; /* there is nothing to compare it with */
}

int pager_resolve(struct upage_pool *pool, const struct page *page, uint64_t value, int access,
                  enum pin pin, enum counter *kind)
{
	enum counter counter = kind_of_fault(page, value, access);
	int result = 0;
	if (!(value & PTE_PRESENT))
		result = page_bring_in(pool, page, &value, access);
	else if ((value & PTE_SHARED) && ((access & PROT_WRITE) || pin != PIN_NONE))
		result = page_split(pool, page, &value, access);
	if (result == 0 && counter != COUNT_NONE) {
		/* The entry changes only with what the host shows: a failure leaves it. */
		uint64_t after = pte_referenced(pool, page, value, access, pin);
		uint64_t shown = after, give = page_access(page, after);
		if (after & PTE_FILE && after & PTE_DIRTY)
			result = fill(pool, page, after, (uint32_t)pte_number(after));
		if (result == 0 && (after & PTE_ACCESS) != give)
			result = show(pool, page, &shown, give, counter == COUNT_SOFT);
		if (result == 0) {
			page_note_used(pool, &value);
			value = shown;
			if (counter == COUNT_SOFT)
				replace_touch(&pool->replace, pte_number(value));
			const uint64_t taken_to_be = PTE_DIRTY | PTE_EXPECTED;
			if (access & PROT_WRITE || (counter == COUNT_MAJOR && (value & taken_to_be) == taken_to_be &&
			                            !writeback_copy_pays(pool)))
				value = drop_old_copy(pool, value);
		}
	}
	if (result == 0 && pin != PIN_NONE)
		result = pager_pin_frame(pool, (uint32_t)pte_number(value), pin);
	if (result == 0)
		stats_count(pool->stats, counter);
	if (kind != NULL)
		*kind = counter;
	physical_note_placed(pool, 1);
	pte_unlock(page->pte, value);
	reclaim_look(pool);
	return result;
}

bool pager_prefetch(struct upage_pool *pool, const struct page *page, uint64_t value)
{
	bool has_content = value & PTE_SWAPPED || page->backing->store != NULL;
	bool room = true;
	if (!(value & PTE_PRESENT) && has_content) {
		uint32_t pfn = take_free_frame(pool, page);
		room = pfn != FRAME_NONE;
		if (room && page_place(pool, page, &value, pfn, PROT_READ) == 0) {
			value = pte_prefetched(value);
			stats_count(pool->stats, COUNT_PREFETCHED);
		}
	}
	pte_unlock(page->pte, value);
	return room;
}

/* ---- Changes that the program does not make ------------------------------------------------ */

/* A page of the program's that it may not write to becomes dirty: room for it was not promised. */
static bool promise_changed(struct upage_pool *pool)
{
	uint64_t changed = atomic_fetch_add(&pool->changed_pages, 1) + 1;
	uint64_t most = pool->frames.frames + swap_slots(pool->swap) - 1;
	bool promised = pool->config.overcommit || atomic_load(&pool->committed) + changed <= most;
	if (!promised || changed > PAGER_CHANGED_MOST)
		atomic_fetch_sub(&pool->changed_pages, 1);
	return promised && changed <= PAGER_CHANGED_MOST;
}

/* Content of its own, which nobody refers to any more; *value stays what it is until that is so. */
static int take_out(struct upage_pool *pool, const struct page *page, uint64_t *value)
{
	int result = 0;
	if (!(*value & PTE_PRESENT))
		result = page_bring_in(pool, page, value, PROT_WRITE);
	else if (*value & PTE_SHARED)
		result = page_split(pool, page, value, PROT_WRITE);
	if (result == 0 && pool->frames.frame[pte_number(*value)].pins > 0)
		result = UPAGE_EBUSY;
	if (result == 0 && *value & PTE_FILE)
		result = fill(pool, page, *value, (uint32_t)pte_number(*value));
	return result < 0 ? result : view_hide(pool, page->pte, page->address, value);
}

int pager_change(struct upage_pool *pool, const struct page *page, uint64_t value, size_t offset,
                 const void *before, const void *after, size_t count)
{
	int result = take_out(pool, page, &value);
	uint32_t pfn = (uint32_t)pte_number(value);
	char *buffer = buffer_take(&pool->buffers);
	if (result == 0)
		result = frame_read(&pool->frames, pfn, buffer);
	if (result == 0 && memcmp(buffer + offset, before, count) != 0)
		result = UPAGE_EBUSY;
	if (result == 0 && !(value & PTE_DIRTY) && !promise_changed(pool))
		result = UPAGE_ENOMEM;
	if (result == 0) {
		memcpy(buffer + offset, after, count);
		result = frame_write(&pool->frames, pfn, buffer);
	}
	if (result == 0)
		value = (value & ~(uint64_t)(PTE_FILE | PTE_PREFETCHED | PTE_EXPECTED)) | PTE_DIRTY;
	buffer_give(&pool->buffers, buffer);
	pte_unlock(page->pte, value);
	return result;
}

/* ---- Pins ----------------------------------------------------------------------------- */

static unsigned pins_of(const struct frame *frame, enum pin pin)
{
	return pin == PIN_CALL ? frame->calls : (unsigned)frame->pins - frame->calls;
}

bool pager_unpin_frame(struct upage_pool *pool, uint32_t pfn, enum pin pin)
{
	struct frame *frame = &pool->frames.frame[pfn];
	if (pins_of(frame, pin) == 0)
		return false;
	if (pin == PIN_CALL) {
		frame->calls--;
		atomic_fetch_sub(&pool->calls, 1);
	}
	if (--frame->pins == 0)
		atomic_fetch_sub(&pool->pinned, 1);
	return true;
}

bool pager_frame_is_pinned_by_program(const struct upage_pool *pool, uint32_t pfn)
{
	return pins_of(&pool->frames.frame[pfn], PIN_PROGRAM) > 0;
}

int pager_unpin(struct upage_pool *pool, pte_t *pte, enum pin pin)
{
	uint64_t value = pte_lock(pte);
	bool unpinned = (value & PTE_PRESENT) && pager_unpin_frame(pool, (uint32_t)pte_number(value), pin);
	pte_unlock(pte, value);
	return unpinned ? 0 : UPAGE_EINVAL;
}

bool pager_is_pinned(struct upage_pool *pool, pte_t *pte)
{
	uint64_t value = pte_lock(pte);
	bool pinned = (value & PTE_PRESENT) && pool->frames.frame[pte_number(value)].pins > 0;
	pte_unlock(pte, value);
	return pinned;
}

bool pager_is_pinned_by_program(struct upage_pool *pool, pte_t *pte)
{
	uint64_t value = pte_lock(pte);
	bool pinned = (value & PTE_PRESENT) &&
	              pager_frame_is_pinned_by_program(pool, (uint32_t)pte_number(value));
	pte_unlock(pte, value);
	return pinned;
}

void pager_drop_call_pins(struct upage_pool *pool)
{
	for (uint64_t pfn = 0; pfn < pool->frames.frames && pool->calls > 0; pfn++) {
		struct frame *frame = &pool->frames.frame[pfn];
		if (frame->state < FRAME_USED || frame->calls == 0)
			continue;
		pool->calls -= frame->calls;
		frame->pins = (uint16_t)(frame->pins - frame->calls);
		frame->calls = 0;
		if (frame->pins == 0)
			pool->pinned--;
	}
}

/* ---- Ranges --------------------------------------------------------------------------- */

static bool is_at_home(const struct upage_pool *pool, uint64_t value)
{
	return (value & PTE_PRESENT) && pool->frames.frame[pte_number(value)].at_home;
}

static void discard_one(struct upage_pool *pool, pte_t *pte, uint64_t value)
{
	if (value & PTE_PRESENT) {
		uint32_t pfn = (uint32_t)pte_number(value);
		struct frame *frame = &pool->frames.frame[pfn];
		INVARIANT(frame->pins == 0 && !(value & PTE_ACCESS));
		frame->at_home = false; /* pager_discard() has seen to its content */
		if (!(value & PTE_SHARED) || !share_leave(&pool->shares, frame, pte))
			release_frame(pool, pfn);
	} else if (value & PTE_SWAPPED) {
		swap_free(pool->swap, (uint32_t)pte_number(value));
	}
	pte_unlock(pte, 0);
}

/* Locks PTEs from @ptes on as far as nobody else has them. Empty ones are not locked: the
 * space's lock keeps new faults away. Return: how many pages that covers. */
static size_t lock_run(pte_t *ptes, size_t count, uint64_t *values)
{
	size_t n = 0;
	while (n < count) {
		values[n] = atomic_load(&ptes[n]);
		if (values[n] != 0 && !pte_trylock(&ptes[n], &values[n]))
			break;
		n++;
	}
	return n;
}

int pager_hide(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address)
{
	uint64_t values[RANGE_BATCH];
	int result = 0;
	for (size_t done = 0; done < count && result == 0;) {
		size_t left = count - done < RANGE_BATCH ? count - done : RANGE_BATCH;
		view_make_room(pool);
		size_t n = lock_run(ptes + done, left, values);
		if (n == 0) { /* nothing is held while we wait */
			pte_wait(&ptes[done]);
			continue;
		}
		result = view_hide_run(pool, ptes + done, values, n,
		                     address + done * page_size(pool));
		for (size_t i = 0; i < n; i++)
			if (values[i] != 0)
				pte_unlock(&ptes[done + i], values[i]);
		done += n;
	}
	return result;
}

void pager_wait(pte_t *ptes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		while (atomic_load(&ptes[i]) & PTE_LOCKED)
			pte_wait(&ptes[i]);
}

int pager_page_out(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address)
{
	int result = pager_hide(pool, ptes, count, address);
	int failure = evict_range(pool, ptes, count);
	return result == 0 ? failure : result;
}

void pager_discard(struct upage_pool *pool, pte_t *ptes, size_t count)
{
	bool cleared = false;
	for (size_t i = 0; i < count; i++) {
		if (atomic_load(&ptes[i]) == 0)
			continue;
		uint64_t value = pte_lock(&ptes[i]);
		/* Those that are at home go by one call, with what another thread is just saving. */
		if (is_at_home(pool, value) && !cleared) {
			uintptr_t page = pool->frames.frame[pte_number(value)].page;
			frame_clear_home(&pool->frames, page, (count - i) * page_size(pool));
			cleared = true;
		}
		discard_one(pool, &ptes[i], value);
	}
}

void pager_move(struct upage_pool *pool, pte_t *from, pte_t *to, uintptr_t address,
                struct backing *backing)
{
	uint64_t value = pte_lock(from);
	INVARIANT(!(value & PTE_ACCESS) && atomic_load(to) == 0 && !is_at_home(pool, value));
	pte_set_locked(to, value); /* known to nobody yet */
	if (value & PTE_PRESENT) {
		struct frame *frame = &pool->frames.frame[pte_number(value)];
		share_move(&pool->shares, frame, from, to, address, backing);
	}
	pte_unlock(from, 0);
	pte_unlock(to, value);
}

/* What the entry of a copy of a locked page becomes; 0: there is nothing, or none can be shared. */
static uint64_t share_one(struct upage_pool *pool, uint64_t *value, const struct page *copy)
{
	struct frame *frame = &pool->frames.frame[*value & PTE_PRESENT ? pte_number(*value) : 0];
	if (*value & PTE_SWAPPED)
		swap_share(pool->swap, (uint32_t)pte_number(*value), 1);
	if (!(*value & PTE_PRESENT))
		return *value;
	if ((*value & PTE_FILE) || frame->pins > 0 || frame->at_home || home_takes(copy))
		return 0;
	if (frame->slot != 0) { /* which one page alone may keep */
		swap_free(pool->swap, frame->slot - 1);
		frame->slot = 0;
		*value = (*value & ~(uint64_t)PTE_PREFETCHED) | PTE_DIRTY;
	}
	*value = (*value & ~(uint64_t)PTE_EXPECTED) | PTE_SHARED;
	uint64_t shared = pte_make(pte_number(*value), PTE_PRESENT | PTE_SHARED | (*value & PTE_DIRTY));
	pte_set_locked(copy->pte, shared);
	share_join(&pool->shares, frame, copy->pte, copy->address, copy->backing);
	return shared;
}

/* A pinned page, which the kernel may be using, is copied as it is now; and what is, or would be, at home,
 * where two pages cannot be in one place. That may have left its frame for that of another copy. */
static int copy_one(struct upage_pool *pool, pte_t *pte, const struct page *copy)
{
	uint64_t value = pte_lock(pte);
	int result = 0;
	if (value & PTE_SWAPPED) {
		swap_share(pool->swap, (uint32_t)pte_number(value), 1);
		pte_set_locked(copy->pte, value);
		pte_unlock(copy->pte, value);
	} else if ((value & PTE_PRESENT) && !(value & PTE_FILE)) {
		uint32_t from = (uint32_t)pte_number(value), to;
		bool dirty = (value & PTE_DIRTY) || pool->frames.frame[from].slot != 0;
		result = copy_frame(pool, copy, from, &to);
		if (result == 0) {
			pte_set_locked(copy->pte, 0);
			pte_unlock(copy->pte, page_settle(pool, copy, to, SWAP_NONE) |
			                              (dirty ? PTE_DIRTY : 0));
		}
	}
	pte_unlock(pte, value);
	return result;
}

/* As many of them as nobody works on; *@done: of those before. What is pinned, or at home, is left out. */
static int share_some(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address,
                      struct page copy, size_t *done)
{
	uint64_t values[RANGE_BATCH];
	count = count < RANGE_BATCH ? count : RANGE_BATCH;
	if (!share_reserve(&pool->shares, &pool->tables, 2 * count))
		return UPAGE_ENOMEM;
	view_make_room(pool);
	size_t n = lock_run(ptes, count, values);
	if (n == 0) /* nothing is held while we wait */
		pte_wait(ptes);
	int result = view_freeze_run(pool, ptes, values, n, address);
	for (size_t i = 0; i < n; i++, copy.pte++, copy.address += page_size(pool)) {
		if (values[i] == 0)
			continue;
		uint64_t shared = result == 0 ? share_one(pool, &values[i], &copy) : 0;
		if (shared != 0)
			pte_unlock(copy.pte, shared);
		pte_unlock(&ptes[i], values[i]);
	}
	*done += n;
	return result;
}

int pager_share(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address, pte_t *copies,
                uintptr_t copy_address, struct backing *backing)
{
	struct page copy = { .backing = backing };
	int result = 0;
	for (size_t done = 0; done < count && result == 0;) {
		copy.pte = &copies[done];
		copy.address = copy_address + done * page_size(pool);
		result = share_some(pool, &ptes[done], count - done, address + done * page_size(pool),
		                    copy, &done);
	}
	for (size_t i = 0; i < count && result == 0; i++) {
		copy.pte = &copies[i];
		copy.address = copy_address + i * page_size(pool);
		if (atomic_load(copy.pte) == 0 && atomic_load(&ptes[i]) != 0)
			result = copy_one(pool, &ptes[i], &copy);
	}
	return result;
}

/* One page: more access than @prot allows goes. */
static int restrict_one(struct upage_pool *pool, pte_t *pte, uintptr_t address, int prot)
{
	uint64_t value = pte_lock(pte);
	uint64_t allowed = pte_access_of(prot);
	int result = 0;
	if ((value & PTE_ACCESS) & ~allowed) {
		const struct page page = { .pte = pte, .address = address, .prot = prot };
		if (allowed != 0)
			result = view_show(pool, &page, &value, page_access(&page, value));
		else
			result = view_hide(pool, pte, address, &value);
	}
	pte_unlock(pte, value);
	return result;
}

int pager_restrict(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address, int prot)
{
	int result = 0;
	for (size_t i = 0; i < count && result == 0; i++)
		if (atomic_load(&ptes[i]) != 0)
			result = restrict_one(pool, &ptes[i], address + i * page_size(pool), prot);
	return result;
}

int pager_sync(struct upage_pool *pool, const struct page *page)
{
	uint64_t value = pte_lock(page->pte);
	int result = 0;
	if ((value & PTE_PRESENT) && (value & PTE_DIRTY)) {
		bool pinned = pool->frames.frame[pte_number(value)].pins > 0;
		/* The kernel may write to a pinned page now: it stays writable, and dirty. */
		if ((value & PTE_WRITE) && !pinned)
			result = view_show(pool, page, &value, (value & PTE_ACCESS) & ~(uint64_t)PTE_WRITE);
		if (result == 0) {
			struct leaving one = { .count = 1, .ptes = { page->pte }, .values = { value } };
			writeback(pool, &one, &(struct search){ .own = FRAME_NONE });
			result = one.results[0];
		}
		if (result == 0 && !pinned)
			value &= ~(uint64_t)PTE_DIRTY;
	}
	pte_unlock(page->pte, value);
	return result;
}

/* ---- Promises --------------------------------------------------------------------------- */

bool pager_commit(struct upage_pool *pool, uint64_t pages)
{
	/* Slots of resident pages are lent. So where what may be written to is counted, only the count says what there
	 * is room for, while the medium holds what it promised. */
	bool full = pool->config.overcommit ? swap_is_full(pool->swap) : swap_was_refused(pool->swap);
	if (full && atomic_load(&pool->frames.free) == 0)
		return false;
	uint64_t most = pool->frames.frames + swap_slots(pool->swap) - 1 -
	                atomic_load(&pool->changed_pages);
	uint64_t committed = atomic_load(&pool->committed);
	do {
		uint64_t promised = pool->config.overcommit ? 0 : committed;
		if (promised > most || pages > most - promised)
			return false;
	} while (!atomic_compare_exchange_weak(&pool->committed, &committed, committed + pages));
	return true;
}

void pager_uncommit(struct upage_pool *pool, uint64_t pages)
{
	INVARIANT(atomic_load(&pool->committed) >= pages);
	atomic_fetch_sub(&pool->committed, pages);
}
