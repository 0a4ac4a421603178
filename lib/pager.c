/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pager.h"

#include "host.h"

#define RANGE_BATCH 512 /* pages that are hidden by one call */
#define UNCOVER_LEAST 8 /* a run that is worth a call, which its pages may not need */
#define WAIT_LIMIT_NS UINT64_C(10000000000) /* for frames that others are about to free */

static size_t page_size(const struct upage_pool *pool)
{
	return frame_size(&pool->frames);
}

/* ---- Buffers ------------------------------------------------------------------------- */

static char *buffer_take(struct upage_pool *pool)
{
	uint64_t free = atomic_load(&pool->buffers.free);
	for (;;) {
		if (free == 0) { /* 64 transfers under way: one of them ends soon */
			host_yield();
			free = atomic_load(&pool->buffers.free);
		} else if (atomic_compare_exchange_weak(&pool->buffers.free, &free, free & (free - 1))) {
			size_t index = (size_t)__builtin_ctzll(free);
			return pool->buffers.memory + index * page_size(pool);
		}
	}
}

static void buffer_give(struct upage_pool *pool, char *buffer)
{
	size_t index = (size_t)(buffer - pool->buffers.memory) / page_size(pool);
	atomic_fetch_or(&pool->buffers.free, UINT64_C(1) << index);
}

static bool buffer_is_zero(const char *buffer, size_t bytes)
{
	const uint64_t *words = (const uint64_t *)(const void *)buffer;
	for (size_t i = 0; i < bytes / sizeof(*words); i += 8)
		if (words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] |
		    words[i + 5] | words[i + 6] | words[i + 7])
			return false;
	return true;
}

/* ---- What the host shows, and how many mappings that takes ---------------------------- */

/* The host joins two neighbours if neither is shown, or both are, with the same protection
 * and from frames beside each other. */
static bool host_joins(uint64_t left, uint64_t right)
{
	if ((left & PTE_ACCESS) != (right & PTE_ACCESS))
		return false;
	return !(left & PTE_ACCESS) || pte_number(left) + 1 == pte_number(right);
}

/* Entries that lie beside each other in a leaf, or in a part of a larger one, by address. */
#define LEAF_PAGES (1u << PAGE_TABLE_NODE_BITS)

static size_t pte_index(const pte_t *pte)
{
	return (uintptr_t)pte / sizeof(*pte) % LEAF_PAGES;
}

/* Seams of a page with its neighbours. Beyond the leaf nothing is looked up: the neighbour
 * counts as hidden, so that the sum is an upper bound. */
static unsigned seams(pte_t *pte, uint64_t value)
{
	size_t index = pte_index(pte);
	uint64_t left = index > 0 ? atomic_load(pte - 1) : 0;
	uint64_t right = index + 1 < LEAF_PAGES ? atomic_load(pte + 1) : 0;
	return !host_joins(left, value) + !host_joins(value, right);
}

unsigned pager_seams_owned(pte_t *pte, uint64_t value)
{
	if (!(value & PTE_ACCESS))
		return 0;
	size_t index = pte_index(pte);
	uint64_t left = index > 0 ? atomic_load(pte - 1) : 0;
	uint64_t right = index + 1 < LEAF_PAGES ? atomic_load(pte + 1) : 0;
	return !host_joins(left, value) + !(right & PTE_ACCESS);
}

/* Changes a locked PTE's access bits (and number) and keeps the count. */
static void record(struct upage_pool *pool, pte_t *pte, uint64_t before, uint64_t after)
{
	lock_acquire(&pool->mapping_lock);
	pool->mappings += seams(pte, after);
	pool->mappings -= seams(pte, before);
	if (pool->mappings > pool->mappings_peak)
		pool->mappings_peak = pool->mappings;
	pte_set_locked(pte, after);
	lock_release(&pool->mapping_lock);
}

/* Locks the PTE that frame @pfn says it has, if it is that frame's and free. Only a word that
 * is seen to be this frame's entry is ever written to. */
static bool frame_trylock(struct upage_pool *pool, uint32_t pfn, pte_t **pte, uint64_t *value)
{
	*pte = atomic_load(&pool->frames.frame[pfn].pte);
	if (*pte == NULL)
		return false;
	*value = atomic_load(*pte);
	do {
		if ((*value & PTE_LOCKED) || !(*value & PTE_PRESENT) || pte_number(*value) != pfn)
			return false;
	} while (!atomic_compare_exchange_weak(*pte, value, *value | PTE_LOCKED));
	return true;
}

/* Gives up mappings of isolated pages until a sixteenth of the budget is free. The pages stay
 * resident: their next reference is a soft fault. */
static void mappings_relieve(struct upage_pool *pool)
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
		if (frame->pins == 0 && after != value && seams(pte, value) > 0 &&
		    host_hide(frame->page, page_size(pool)) == 0) {
			record(pool, pte, value, after);
			value = after;
		}
		pte_unlock(pte, value);
	}
}

/* Before anything that can make two more of them: a page shown alone, a hole in a run. */
static void mappings_make_room(struct upage_pool *pool)
{
	if (pool->mappings + 2 > atomic_load(&pool->mapping_budget))
		mappings_relieve(pool);
}

static int page_hide(struct upage_pool *pool, pte_t *pte, uintptr_t address, uint64_t *value)
{
	if (!(*value & PTE_ACCESS))
		return 0;
	mappings_make_room(pool);
	int result = host_hide(address, page_size(pool));
	if (result < 0)
		return result;
	record(pool, pte, *value, *value & ~(uint64_t)PTE_ACCESS);
	*value &= ~(uint64_t)PTE_ACCESS;
	return 0;
}

/* Lets the host show a resident page, all of @access and no more. */
static int page_show(struct upage_pool *pool, const struct page *page, uint64_t *value,
                     uint64_t access)
{
	uint64_t after = (*value & ~(uint64_t)PTE_ACCESS) | access;
	off_t offset = frame_offset(&pool->frames, pte_number(*value));
	mappings_make_room(pool);
	for (int attempt = 0;; attempt++) {
		int result;
		record(pool, page->pte, *value, after);
		if (*value & PTE_ACCESS)
			result = host_protect(page->address, page_size(pool), pte_prot(after));
		else
			result = host_show(pool->frames.memory, page->address, offset,
			                   page_size(pool), pte_prot(after));
		if (result == 0)
			break;
		record(pool, page->pte, after, *value);
		if (result != -ENOMEM || attempt == 4)
			return result;
		/* The process has more mappings of its own than was thought: make do with less. */
		uint64_t less = pool->mappings - pool->mappings / 8;
		atomic_store(&pool->mapping_budget, less > MAPPING_BUDGET_MIN ? less : MAPPING_BUDGET_MIN);
		mappings_relieve(pool);
	}
	*value = after;
	return 0;
}

/* ---- Eviction ------------------------------------------------------------------------ */

/* One pass over the candidates, and what stood in its way. */
struct search {
	bool busy;     /* something was locked by another thread, who is about to finish */
	bool no_slots; /* swap is full, and no resident page has a slot to spare */
	int failure;   /* why a page could not be saved */
};

struct locked_page {
	pte_t *pte;
	uintptr_t address;
	uint64_t value;
};

/* Revokes access to the frames whose reference the policy forgot. Pages beside each other
 * are hidden by one call: with another thread running that is all the difference. */
static void hide_aged(struct upage_pool *pool, struct aged *aged)
{
	struct locked_page pages[REPLACE_AGED_MAX];
	unsigned count = 0;
	for (unsigned i = 0; i < aged->count; i++) {
		uint32_t pfn = (uint32_t)aged->frames[i];
		struct frame *frame = &pool->frames.frame[pfn];
		struct locked_page page;
		if (!frame_trylock(pool, pfn, &page.pte, &page.value))
			continue;
		if (frame->pins > 0 || !(page.value & PTE_ACCESS)) {
			pte_unlock(page.pte, page.value);
			continue;
		}
		page.address = frame->page;
		unsigned place = count++;
		for (; place > 0 && pages[place - 1].address > page.address; place--)
			pages[place] = pages[place - 1];
		pages[place] = page;
	}
	aged->count = 0;
	for (unsigned first = 0, end; first < count; first = end) {
		for (end = first + 1; end < count; end++)
			if (pages[end].address != pages[end - 1].address + page_size(pool))
				break;
		mappings_make_room(pool);
		bool hidden = host_hide(pages[first].address, (end - first) * page_size(pool)) == 0;
		for (unsigned i = first; i < end; i++) {
			uint64_t after = pages[i].value & ~(uint64_t)PTE_ACCESS;
			if (hidden)
				record(pool, pages[i].pte, pages[i].value, after);
			pte_unlock(pages[i].pte, hidden ? after : pages[i].value);
		}
	}
}

/* The slot of the page to the left, plus one, if that is known: pages that lie side by side
 * should lie so in swap. */
static uint32_t slot_near(struct upage_pool *pool, pte_t *pte)
{
	if (pte_index(pte) == 0)
		return SWAP_NONE;
	uint64_t left = atomic_load(pte - 1);
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
		if (!frame_trylock(pool, pfn, &pte, &value)) {
			busy = busy || (pfn != needy && frame->state == FRAME_USED);
			continue;
		}
		uint32_t slot = frame->slot;
		if (slot != 0) {
			frame->slot = 0;
			value |= PTE_DIRTY;
		}
		pte_unlock(pte, value);
		if (slot != 0) {
			atomic_store(&pool->slot_hand, pfn + UINT64_C(1));
			return slot - 1;
		}
	}
	search->busy = search->busy || busy;
	search->no_slots = !busy; /* for the rest of this pass: looking costs O(frames) */
	return SWAP_NONE;
}

/* Saves a dirty page, which nobody can reach now, to its store or its slot. On success
 * *slot is where it is: SWAP_NONE for a shared page, and for an anonymous one of zeros. */
static int write_back(struct upage_pool *pool, uint32_t pfn, uint32_t *slot)
{
	struct frame *frame = &pool->frames.frame[pfn];
	struct backing *backing = frame->backing;
	char *buffer = buffer_take(pool);
	int result = frame_read(&pool->frames, pfn, buffer);
	bool written = false;
	if (result < 0) {
		/* fall through to the buffer's return */
	} else if (backing->shared) {
		result = store_transfer(backing->store, STORE_WRITE, buffer, page_size(pool),
		                        backing_offset(backing, frame->page));
		written = true;
	} else if (backing->store == NULL && buffer_is_zero(buffer, page_size(pool))) {
		swap_free(pool->swap, *slot);
		*slot = SWAP_NONE;
	} else {
		result = swap_transfer(pool->swap, STORE_WRITE, *slot, buffer);
		written = true;
	}
	buffer_give(pool, buffer);
	if (written)
		stats_count(pool->stats, result < 0 ? COUNT_WRITEBACK_FAILURES : COUNT_WRITEBACKS);
	return result;
}

/* What the PTE of a page becomes that leaves its frame with its content in @slot. */
static uint64_t pte_evicted(uint32_t slot)
{
	return slot != SWAP_NONE ? pte_make(slot, PTE_SWAPPED) : 0;
}

/* A slot for the page of frame @pfn, whose PTE is locked; SWAP_NONE: there is none now. */
static uint32_t slot_take(struct upage_pool *pool, uint32_t pfn, pte_t *pte, struct search *search)
{
	uint32_t slot = swap_allocate(pool->swap, slot_near(pool, pte));
	return slot != SWAP_NONE ? slot : slot_reclaim(pool, pfn, search);
}

/* Saves the page of frame @pfn, whose PTE is locked, as far as it has to be, and hides it. On
 * success *slot is where it is. Return: 0, or what stood in the way; the page is resident then. */
static int evict_save(struct upage_pool *pool, pte_t *pte, uint64_t *value, uint32_t *slot,
                      struct search *search)
{
	uint32_t pfn = (uint32_t)pte_number(*value);
	struct frame *frame = &pool->frames.frame[pfn];
	bool dirty = *value & PTE_DIRTY, new_slot = false;
	int result = 0;
	*slot = frame->slot - 1; /* 0 becomes SWAP_NONE */
	if (dirty && !frame->backing->shared && *slot == SWAP_NONE) {
		*slot = slot_take(pool, pfn, pte, search);
		new_slot = *slot != SWAP_NONE;
		result = new_slot ? 0 : UPAGE_ENOSPC;
	}
	if (result == 0)
		result = page_hide(pool, pte, frame->page, value);
	if (result == 0 && dirty)
		result = write_back(pool, pfn, slot);
	if (result < 0 && new_slot)
		swap_free(pool->swap, *slot);
	return result;
}

/* Takes the frame of a page whose PTE is locked, and unlocks it. Return: whether it could; else
 * the page is resident as before, but perhaps hidden, and *search says what stood in the way. */
static bool evict_locked(struct upage_pool *pool, pte_t *pte, uint64_t value, struct search *search)
{
	uint32_t pfn = (uint32_t)pte_number(value), slot;
	struct frame *frame = &pool->frames.frame[pfn];
	if (frame->pins > 0) {
		pte_unlock(pte, value);
		return false;
	}
	atomic_fetch_add(&pool->evicting, 1);
	int result = evict_save(pool, pte, &value, &slot, search);
	if (result < 0) {
		search->failure = result;
		atomic_fetch_sub(&pool->evicting, 1);
		pte_unlock(pte, value);
		return false;
	}
	frame->slot = 0;
	frame->references = 0;
	atomic_store(&frame->pte, NULL);
	replace_remove(&pool->replace, pfn);
	atomic_fetch_sub(&pool->evicting, 1);
	stats_count(pool->stats, COUNT_EVICTIONS);
	pte_unlock(pte, pte_evicted(slot));
	return true;
}

/* Takes frame @pfn from its page, if nobody else works on that. */
static bool evict_frame(struct upage_pool *pool, uint32_t pfn, struct search *search)
{
	pte_t *pte;
	uint64_t value;
	if (frame_trylock(pool, pfn, &pte, &value))
		return evict_locked(pool, pte, value, search);
	search->busy = true;
	return false;
}

/* Asks the policy until a candidate's frame could be taken, or each was offered. */
static bool evict_pass(struct upage_pool *pool, struct search *search, uint32_t *out)
{
	struct aged aged = { .count = 0 };
	uint64_t offers = 2 * atomic_load(&pool->replace.held) + 2;
	for (uint64_t i = 0; i < offers; i++) {
		upage_pfn pfn = replace_candidate(&pool->replace, &aged);
		bool revoked = aged.count > 0;
		if (revoked)
			hide_aged(pool, &aged);
		if (pfn == REPLACE_NONE && revoked)
			continue;
		if (pfn == REPLACE_NONE)
			break;
		*out = (uint32_t)pfn;
		if (evict_frame(pool, (uint32_t)pfn, search))
			return true;
	}
	return false;
}

/* Whether another thread has, or had since pool->placed was @placed, what a pass over the
 * candidates cannot see: a slot in hand, which it has while it evicts; a frame on its way out of
 * the policy and in again; a page that came to rest meanwhile, and may be one that can go. In
 * this order, which is theirs (evict_locked, page_place): at no time is it none of the three. */
static bool others_move(struct upage_pool *pool, uint64_t placed)
{
	if (atomic_load(&pool->evicting) > 0)
		return true;
	uint64_t held = atomic_load(&pool->replace.held), free = atomic_load(&pool->frames.free);
	if (free > 0 || held < pool->frames.frames)
		return true;
	return atomic_load(&pool->placed) != placed;
}

/* A frame that some page had to give up. Waits, for a bounded time, while what could be taken
 * is locked by others, or was when we looked. */
static int evict(struct upage_pool *pool, uint32_t *out)
{
	for (uint64_t start = 0;;) {
		struct search search = { .busy = false };
		uint64_t placed = atomic_load(&pool->placed);
		if (evict_pass(pool, &search, out))
			return 0;
		*out = frame_allocate(&pool->frames, 1);
		if (*out != FRAME_NONE)
			return 0;
		bool wait = search.busy || others_move(pool, placed);
		uint64_t now = host_nanoseconds();
		start = start != 0 ? start : now;
		if (!wait || now - start > WAIT_LIMIT_NS)
			return search.failure != 0 ? search.failure : UPAGE_ENOMEM;
		host_yield();
	}
}

/* ---- Bringing a page in --------------------------------------------------------------- */

/* A free frame, if there is any: beside the frame of a neighbouring page, or where there is
 * room for the frames of neighbours to come. */
static uint32_t take_free_frame(struct upage_pool *pool, const struct page *page)
{
	const pte_t *pte = page->pte;
	if (atomic_load(&pool->frames.free) == 0)
		return FRAME_NONE;
	size_t index = pte_index(pte);
	uint64_t left = index > 0 ? atomic_load(pte - 1) : 0;
	if ((left & PTE_PRESENT) && frame_allocate_at(&pool->frames, pte_number(left) + 1))
		return (uint32_t)pte_number(left) + 1;
	uint64_t right = index + 1 < LEAF_PAGES ? atomic_load(pte + 1) : 0;
	if ((right & PTE_PRESENT) && pte_number(right) > 0 &&
	    frame_allocate_at(&pool->frames, pte_number(right) - 1))
		return (uint32_t)pte_number(right) - 1;
	return frame_allocate_placed(&pool->frames, page->address >> pool->frames.page_shift);
}

/* The content of a page that is not resident, into a frame. */
static int fill(struct upage_pool *pool, const struct page *page, uint64_t value, uint32_t pfn)
{
	const struct backing *backing = page->backing;
	if (!(value & PTE_SWAPPED) && backing->store == NULL)
		return frame_zero(&pool->frames, pfn);
	char *buffer = buffer_take(pool);
	int result;
	if (value & PTE_SWAPPED)
		result = swap_transfer(pool->swap, STORE_READ, (uint32_t)pte_number(value), buffer);
	else
		result = store_transfer(backing->store, STORE_READ, buffer, page_size(pool),
		                        backing_offset(backing, page->address));
	if (result == 0)
		result = frame_write(&pool->frames, pfn, buffer);
	buffer_give(pool, buffer);
	return result;
}

/* Fills frame @pfn and makes the page resident there, hidden. On failure the frame is free. */
static int page_place(struct upage_pool *pool, const struct page *page, uint64_t *value,
                      uint32_t pfn)
{
	struct frame *frame = &pool->frames.frame[pfn];
	int result = fill(pool, page, *value, pfn);
	if (result != 0) {
		frame_free(&pool->frames, pfn, 1);
		return result;
	}
	frame->page = page->address;
	frame->backing = page->backing;
	frame->slot = *value & PTE_SWAPPED ? (uint32_t)pte_number(*value) + 1 : 0;
	frame->references = 1;
	*value = pte_make(pfn, PTE_PRESENT);
	atomic_store(&frame->pte, page->pte);
	atomic_fetch_add(&pool->placed, 1);
	replace_insert(&pool->replace, pfn);
	return 0;
}

static int page_bring_in(struct upage_pool *pool, const struct page *page, uint64_t *value)
{
	uint32_t pfn = take_free_frame(pool, page);
	if (pfn == FRAME_NONE) {
		int result = evict(pool, &pfn);
		if (result < 0)
			return result;
	}
	return page_place(pool, page, value, pfn);
}

/* Takes a pin on a resident page, if the limits allow. */
static int page_pin(struct upage_pool *pool, uint32_t pfn, enum pin pin)
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

/* The access that a page is given: all that its mapping allows, but writing only once it is
 * dirty, so that what was never written need not be saved. */
static uint64_t access_to_give(const struct page *page, uint64_t value)
{
	uint64_t access = pte_access_of(page->prot);
	return value & PTE_DIRTY ? access : access & ~(uint64_t)PTE_WRITE;
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

int pager_resolve(struct upage_pool *pool, const struct page *page, uint64_t value, int access,
                  enum pin pin, enum counter *kind)
{
	enum counter counter = kind_of_fault(page, value, access);
	int result = 0;
	if (!(value & PTE_PRESENT))
		result = page_bring_in(pool, page, &value);
	if (result == 0 && counter != COUNT_NONE) {
		/* The entry changes only with what the host shows: a failure leaves it. */
		uint64_t after = access & PROT_WRITE ? value | PTE_DIRTY : value;
		after &= ~(uint64_t)PTE_PREFETCHED;
		uint64_t shown = after;
		result = page_show(pool, page, &shown, access_to_give(page, after));
		if (result == 0) {
			if (value & PTE_PREFETCHED)
				stats_count(pool->stats, COUNT_PREFETCH_USED);
			value = shown;
			if (counter == COUNT_SOFT)
				replace_touch(&pool->replace, pte_number(value));
		}
	}
	if (result == 0 && pin != PIN_NONE)
		result = page_pin(pool, (uint32_t)pte_number(value), pin);
	if (result == 0)
		stats_count(pool->stats, counter);
	if (kind != NULL)
		*kind = counter;
	atomic_fetch_add_explicit(&pool->placed, 1, memory_order_relaxed);
	pte_unlock(page->pte, value);
	return result;
}

bool pager_prefetch(struct upage_pool *pool, const struct page *page, uint64_t value)
{
	bool has_content = value & PTE_SWAPPED || page->backing->store != NULL;
	bool room = true;
	if (!(value & PTE_PRESENT) && has_content) {
		uint32_t pfn = take_free_frame(pool, page);
		room = pfn != FRAME_NONE;
		if (room && page_place(pool, page, &value, pfn) == 0) {
			value |= PTE_PREFETCHED;
			stats_count(pool->stats, COUNT_PREFETCHED);
		}
	}
	pte_unlock(page->pte, value);
	return room;
}

/* ---- Pins ----------------------------------------------------------------------------- */

static unsigned pins_of(const struct upage_pool *pool, uint64_t value, enum pin pin)
{
	if (!(value & PTE_PRESENT))
		return 0;
	const struct frame *frame = &pool->frames.frame[pte_number(value)];
	return pin == PIN_CALL ? frame->calls : (unsigned)frame->pins - frame->calls;
}

int pager_unpin(struct upage_pool *pool, pte_t *pte, enum pin pin)
{
	uint64_t value = pte_lock(pte);
	int result = UPAGE_EINVAL;
	if (pins_of(pool, value, pin) > 0) {
		struct frame *frame = &pool->frames.frame[pte_number(value)];
		if (pin == PIN_CALL) {
			frame->calls--;
			atomic_fetch_sub(&pool->calls, 1);
		}
		if (--frame->pins == 0)
			atomic_fetch_sub(&pool->pinned, 1);
		result = 0;
	}
	pte_unlock(pte, value);
	return result;
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
	bool pinned = pins_of(pool, value, PIN_PROGRAM) > 0;
	pte_unlock(pte, value);
	return pinned;
}

void pager_drop_call_pins(struct upage_pool *pool)
{
	for (uint64_t pfn = 0; pfn < pool->frames.frames && pool->calls > 0; pfn++) {
		struct frame *frame = &pool->frames.frame[pfn];
		if (frame->state != FRAME_USED || frame->calls == 0)
			continue;
		pool->calls -= frame->calls;
		frame->pins = (uint16_t)(frame->pins - frame->calls);
		frame->calls = 0;
		if (frame->pins == 0)
			pool->pinned--;
	}
}

/* ---- Ranges --------------------------------------------------------------------------- */

static void discard_one(struct upage_pool *pool, pte_t *pte, uint64_t value)
{
	if (value & PTE_PRESENT) {
		uint32_t pfn = (uint32_t)pte_number(value);
		struct frame *frame = &pool->frames.frame[pfn];
		INVARIANT(frame->pins == 0 && !(value & PTE_ACCESS));
		uint32_t slot = frame->slot;
		frame->slot = 0;
		frame->references = 0;
		atomic_store(&frame->pte, NULL);
		replace_remove(&pool->replace, pfn);
		frame_free(&pool->frames, pfn, 1);
		if (slot != 0)
			swap_free(pool->swap, slot - 1);
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

/* Whether a page is shown, and may be hidden: the kernel may be using what is pinned. */
static bool may_hide(const struct upage_pool *pool, uint64_t value)
{
	return (value & PTE_ACCESS) && pool->frames.frame[pte_number(value)].pins == 0;
}

/* Hides those of @count locked pages that may be: as few calls as there are stretches without a
 * pinned page. @values: kept as the entries are. */
static int hide_locked(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                       uintptr_t address)
{
	for (size_t i = 0; i < count; i++) {
		if (!may_hide(pool, values[i]))
			continue;
		size_t first = i, end = i + 1;
		for (; i < count && (!(values[i] & PTE_ACCESS) || may_hide(pool, values[i])); i++)
			end = values[i] & PTE_ACCESS ? i + 1 : end;
		mappings_make_room(pool);
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

int pager_hide(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address)
{
	uint64_t values[RANGE_BATCH];
	int result = 0;
	for (size_t done = 0; done < count && result == 0;) {
		size_t left = count - done < RANGE_BATCH ? count - done : RANGE_BATCH;
		mappings_make_room(pool);
		size_t n = lock_run(ptes + done, left, values);
		if (n == 0) { /* nothing is held while we wait */
			pte_wait(&ptes[done]);
			continue;
		}
		result = hide_locked(pool, ptes + done, values, n,
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
	for (size_t i = 0; i < count; i++) {
		if ((atomic_load(&ptes[i]) & (PTE_PRESENT | PTE_LOCKED)) == 0)
			continue;
		struct search search = { .busy = false };
		uint64_t value = pte_lock(&ptes[i]);
		if (!(value & PTE_PRESENT))
			pte_unlock(&ptes[i], value);
		else if (evict_locked(pool, &ptes[i], value, &search))
			frame_free(&pool->frames, (uint32_t)pte_number(value), 1);
		if (result == 0)
			result = search.failure;
	}
	return result;
}

void pager_discard(struct upage_pool *pool, pte_t *ptes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (atomic_load(&ptes[i]) != 0)
			discard_one(pool, &ptes[i], pte_lock(&ptes[i]));
}

/* One page: more access than @prot allows goes. A pinned page keeps what is allowed, since
 * the kernel may be using it. */
static int restrict_one(struct upage_pool *pool, pte_t *pte, uintptr_t address, int prot)
{
	uint64_t value = pte_lock(pte);
	uint64_t allowed = pte_access_of(prot);
	int result = 0;
	if ((value & PTE_ACCESS) & ~allowed) {
		const struct page page = { .pte = pte, .address = address, .prot = prot };
		bool pinned = pool->frames.frame[pte_number(value)].pins > 0;
		if (pinned && allowed != 0)
			result = page_show(pool, &page, &value, access_to_give(&page, value));
		else
			result = page_hide(pool, pte, address, &value);
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
		uint32_t pfn = (uint32_t)pte_number(value);
		bool pinned = pool->frames.frame[pfn].pins > 0;
		uint32_t slot = SWAP_NONE;
		/* The kernel may write to a pinned page now: it stays writable, and dirty. */
		if ((value & PTE_WRITE) && !pinned)
			result = page_show(pool, page, &value, (value & PTE_ACCESS) & ~(uint64_t)PTE_WRITE);
		if (result == 0)
			result = write_back(pool, pfn, &slot);
		if (result == 0 && !pinned)
			value &= ~(uint64_t)PTE_DIRTY;
	}
	pte_unlock(page->pte, value);
	return result;
}

/* ---- Promises --------------------------------------------------------------------------- */

bool pager_commit(struct upage_pool *pool, uint64_t pages)
{
	if (atomic_load(&pool->frames.free) == 0 && swap_is_full(pool->swap))
		return false;
	uint64_t most = pool->frames.frames + swap_slots(pool->swap) - 1;
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

/* ---- Forks ------------------------------------------------------------------------------ */

/* Pages from @i on that one call shows: the same access, frames beside each other. */
static size_t shown_run(pte_t *ptes, size_t i, size_t count)
{
	size_t end = i + 1;
	while (end < count && host_joins(atomic_load(&ptes[end - 1]), atomic_load(&ptes[end])))
		end++;
	return end - i;
}

static bool any_is_pinned(const struct upage_pool *pool, uint64_t value, size_t count)
{
	const struct frame *frame = &pool->frames.frame[pte_number(value)];
	for (size_t i = 0; i < count && atomic_load(&pool->pinned) > 0; i++)
		if (frame[i].pins > 0)
			return true;
	return false;
}

int pager_cover(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address)
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

void pager_uncover(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address)
{
	for (size_t i = 0, run; i < count; i += run) {
		uint64_t value = atomic_load(&ptes[i]);
		run = 1;
		if (!(value & PTE_ACCESS))
			continue;
		run = shown_run(ptes, i, count);
		if ((run >= UNCOVER_LEAST || any_is_pinned(pool, value, run)) &&
		    host_show_lazily(pool->frames.memory, address + i * page_size(pool),
		                     frame_offset(&pool->frames, pte_number(value)),
		                     run * page_size(pool), pte_prot(value)) == 0)
			continue;
		for (size_t k = i; k < i + run; k++)
			atomic_store(&ptes[k], atomic_load(&ptes[k]) & ~(uint64_t)PTE_ACCESS);
		host_hide(address + i * page_size(pool), run * page_size(pool));
	}
	for (size_t i = 0; i < count; i++)
		pool->mappings += pager_seams_owned(&ptes[i], atomic_load(&ptes[i]));
}
