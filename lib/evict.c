/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "evict.h"

#include <string.h>

#include "host.h"
#include "view.h"

#define WAIT_LIMIT_NS UINT64_C(10000000000) /* for frames that others are about to free */

/* Looking for a page that was not referenced may cost as much as reading one in: about this many
 * looks. Then the next has to go. */
#define SPARED_MAX 8

/* A comparison with a slot costs a third of what it saves when the page is as it was: it need not be
 * written, nor be expected to be the next time. */
#define COMPARE_CHANGED_MAX 192 /* of 256 */
#define COMPARE_EACH 8

/* One pass over the candidates, and what stood in its way. */
struct search {
	bool busy;     /* something was locked by another thread, who is about to finish */
	bool no_slots; /* swap is full, and no resident page has a slot to spare */
	int failure;   /* why a page could not be saved */
	unsigned spared; /* candidates that had been referenced */
	uint32_t own;  /* frame: locked by ourselves, and no candidate */
};

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
			value = (value & ~(uint64_t)PTE_EXPECTED) | PTE_DIRTY;
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

/* A slot for the page of frame @pfn, whose PTE is locked; SWAP_NONE: there is none now. */
static uint32_t slot_take(struct upage_pool *pool, uint32_t pfn, pte_t *pte, struct search *search)
{
	uint32_t slot = swap_allocate(pool->swap, slot_near(pool, pte));
	return slot != SWAP_NONE ? slot : slot_reclaim(pool, pfn, search);
}

/* ---- Saving a page ----------------------------------------------------------------------- */

/* Whether it is worth reading a slot to compare a page with it. Not while nearly all of those that are
 * expected to be written to are: then one of eight is compared, in case that has changed. These are
 * estimates: threads need not agree. */
static bool comparing_pays(struct upage_pool *pool)
{
	if (atomic_load_explicit(&pool->changed, memory_order_relaxed) <= COMPARE_CHANGED_MAX)
		return true;
	return atomic_fetch_add_explicit(&pool->not_compared, 1, memory_order_relaxed) % COMPARE_EACH == 0;
}

/* Of the last sixteen or so. */
static void note_comparison(struct upage_pool *pool, bool same)
{
	int changed = (int)atomic_load_explicit(&pool->changed, memory_order_relaxed);
	changed += ((same ? 0 : 256) - changed) / 16;
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
	            memcmp(buffer, other, page_size(pool)) == 0;
	buffer_give(&pool->buffers, other);
	note_comparison(pool, same);
	return same;
}

int evict_write_back(struct upage_pool *pool, uint32_t pfn, uint64_t *value, uint32_t *slot)
{
	struct frame *frame = &pool->frames.frame[pfn];
	struct backing *backing = frame->backing;
	char *buffer = buffer_take(&pool->buffers);
	int result = frame_read(&pool->frames, pfn, buffer);
	bool written = false;
	if (result < 0) {
		/* fall through to the buffer's return */
	} else if (backing->shared) {
		result = store_transfer(backing->store, STORE_WRITE, buffer, page_size(pool),
		                        backing_offset(backing, frame->page));
		written = true;
	} else if (backing->store == NULL && buffer_is_zero(buffer, page_size(pool))) {
		if (*slot != SWAP_NONE)
			swap_free(pool->swap, *slot);
		*slot = SWAP_NONE;
	} else if ((*value & PTE_EXPECTED) && slot_has(pool, *slot, buffer)) {
		*value &= ~(uint64_t)(PTE_DIRTY | PTE_EXPECTED);
	} else if (*slot == SWAP_NONE) {
		result = UPAGE_ENOSPC;
	} else {
		result = swap_transfer(pool->swap, STORE_WRITE, *slot, buffer);
		written = true;
	}
	buffer_give(&pool->buffers, buffer);
	if (written)
		stats_count(pool->stats, result < 0 ? COUNT_WRITEBACK_FAILURES : COUNT_WRITEBACKS);
	return result;
}

/* What the PTE of a page becomes that leaves its frame with its content in @slot. What is shared has
 * not been written to for long. */
static uint64_t pte_evicted(uint64_t value, uint32_t slot)
{
	if (slot == SWAP_NONE)
		return 0;
	bool expected = (value & (PTE_DIRTY | PTE_SHARED)) == PTE_DIRTY;
	return pte_make(slot, PTE_SWAPPED | (expected ? PTE_EXPECTED : 0));
}

/* Hides all the pages of a frame. *@value is of the one that it names itself. */
static int hide(struct upage_pool *pool, pte_t *pte, const struct frame *frame, uint64_t *value)
{
	int result = view_hide(pool, pte, frame->page, value);
	for (struct share *share = frame->shares; share != NULL && result == 0; share = share->next) {
		uint64_t other = pte_value(share->pte);
		result = view_hide(pool, share->pte, share->page, &other);
	}
	return result;
}

/* Saves the page of frame @pfn, whose PTE is locked, as far as it has to be, and hides it. On
 * success *slot is where it is. Return: 0, or what stood in the way; the page is resident then. */
static int save(struct upage_pool *pool, pte_t *pte, uint64_t *value, uint32_t *slot,
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
		/* At home a page is dirty that was only read: of zeros, it needs none. */
		result = new_slot || frame->at_home ? 0 : UPAGE_ENOSPC;
	}
	if (result == 0)
		result = hide(pool, pte, frame, value);
	if (new_slot)
		*value &= ~(uint64_t)PTE_EXPECTED; /* there is nothing in it to compare with */
	if (result == 0 && dirty)
		result = evict_write_back(pool, pfn, value, slot);
	if (result < 0 && new_slot)
		swap_free(pool->swap, *slot);
	return result;
}

/* Takes the frame of a page whose PTE is locked, and those of all that share it (frame_trylock_all),
 * and unlocks them. Return: whether it could; else the page is resident as before, but perhaps
 * hidden, and *search says what stood in the way. */
static bool evict_locked(struct upage_pool *pool, pte_t *pte, uint64_t value, struct search *search)
{
	uint32_t pfn = (uint32_t)pte_number(value), slot;
	struct frame *frame = &pool->frames.frame[pfn];
	if (frame->pins > 0) {
		pte_unlock(pte, value);
		return false;
	}
	atomic_fetch_add(&pool->evicting, 1);
	int result = save(pool, pte, &value, &slot, search);
	if (result < 0) {
		search->failure = result;
		atomic_fetch_sub(&pool->evicting, 1);
		frame_unlock_all(pool, pte, value);
		return false;
	}
	uint64_t evicted = pte_evicted(value, slot);
	if (frame->references > 1 && slot != SWAP_NONE)
		swap_share(pool->swap, slot, frame->references - 1u);
	frame->slot = 0;
	frame->references = 0;
	frame_leave_home(&pool->frames, pfn, 1);
	atomic_store(&frame->pte, NULL);
	replace_remove(&pool->replace, pfn);
	atomic_fetch_sub(&pool->evicting, 1);
	stats_count(pool->stats, COUNT_EVICTIONS);
	if (value & PTE_SHARED)
		share_end(&pool->shares, frame, pte, evicted);
	pte_unlock(pte, evicted);
	return true;
}

int evict_page(struct upage_pool *pool, pte_t *pte)
{
	struct search search = { .own = FRAME_NONE };
	for (;;) {
		uint64_t value = pte_lock(pte);
		if (!(value & PTE_PRESENT)) {
			pte_unlock(pte, value);
			return 0;
		}
		const struct frame *frame = &pool->frames.frame[pte_number(value)];
		pte_t *busy;
		if (!(value & PTE_SHARED) || share_trylock(&pool->shares, frame, pte, &busy)) {
			pte_t *first = atomic_load(&frame->pte);
			if (evict_locked(pool, first, pte_value(first), &search))
				frame_free(&pool->frames, (uint32_t)pte_number(value), 1);
			return search.failure;
		}
		pte_unlock(pte, value);
		pte_wait(busy);
	}
}

/* ---- Choosing one ------------------------------------------------------------------------ */

/* Whether none of the pages of a shared frame was referenced since it was aged. All are locked. */
static bool are_idle(struct upage_pool *pool, const struct frame *frame)
{
	bool idle = true;
	for (const struct share *share = frame->shares; share != NULL && idle; share = share->next) {
		const struct locked_page page = { share->pte, share->page, pte_value(share->pte) };
		idle = !(page.value & PTE_ACCESS) || view_references_each(pool, &page, 1) == 0;
	}
	return idle;
}

static bool turn_keeps_one(struct upage_pool *pool, const struct frame *frame)
{
	bool keeps = turn_keeps(&pool->turn, frame->page);
	for (const struct share *share = frame->shares; share != NULL && !keeps; share = share->next)
		keeps = turn_keeps(&pool->turn, share->page);
	return keeps;
}

/* Locks the pages in some frames, but those that cannot be hidden, are not shown, or share theirs.
 * Return: of how many. */
static unsigned lock_shown(struct upage_pool *pool, const upage_pfn *frames, unsigned count,
                           struct locked_page *pages)
{
	unsigned locked = 0;
	for (unsigned i = 0; i < count; i++) {
		const struct frame *frame = &pool->frames.frame[frames[i]];
		struct locked_page *page = &pages[locked];
		if (frame_seems_shared(frame) || !frame_trylock(pool, (uint32_t)frames[i], &page->pte, &page->value))
			continue;
		page->address = frame->page;
		if (frame->shares == NULL && frame->pins == 0 && (page->value & PTE_ACCESS) &&
		    !turn_keeps(&pool->turn, frame->page))
			locked++;
		else
			pte_unlock(page->pte, page->value);
	}
	return locked;
}

static void sort_by_address(struct locked_page *pages, unsigned count)
{
	for (unsigned i = 1; i < count; i++) {
		const struct locked_page page = pages[i];
		unsigned place = i;
		for (; place > 0 && pages[place - 1].address > page.address; place--)
			pages[place] = pages[place - 1];
		pages[place] = page;
	}
}

/* Of the pages of a frame, if it is shared, one by one. */
static void age_shared(struct upage_pool *pool, uint32_t pfn)
{
	const struct frame *frame = &pool->frames.frame[pfn];
	pte_t *pte;
	uint64_t value;
	if (!frame_seems_shared(frame) || !frame_trylock_all(pool, pfn, &pte, &value))
		return;
	for (const struct share *share = frame->shares; share != NULL; share = share->next) {
		struct locked_page page = { share->pte, share->page, pte_value(share->pte) };
		if ((page.value & PTE_ACCESS) && !turn_keeps(&pool->turn, page.address))
			view_age_each(pool, &page, 1);
	}
	frame_unlock_all(pool, pte, pte_value(pte));
}

/* Forgets the references of the frames that the policy has aged. */
static void age(struct upage_pool *pool, const struct aged *aged)
{
	struct locked_page pages[REPLACE_AGED_MAX];
	for (unsigned i = 0; i < aged->count; i++)
		age_shared(pool, (uint32_t)aged->frames[i]);
	unsigned count = lock_shown(pool, aged->frames, aged->count, pages);
	sort_by_address(pages, count);
	view_age_each(pool, pages, count);
	for (unsigned i = 0; i < count; i++)
		pte_unlock(pages[i].pte, pages[i].value);
}

/* Looks at a page, and by the same call at others that the policy will offer soon. Return: whether it
 * was referenced. */
static bool look(struct upage_pool *pool, struct locked_page page)
{
	upage_pfn ahead[REPLACE_AHEAD_MAX];
	struct locked_page pages[1 + REPLACE_AHEAD_MAX] = { page };
	unsigned count = 1 + lock_shown(pool, ahead, replace_ahead(&pool->replace, ahead), pages + 1);
	uint64_t references = view_references_each(pool, pages, count);
	for (unsigned i = 1; i < count; i++) {
		replace_note(&pool->replace, pte_number(pages[i].value),
		             references >> i & 1 ? LOOK_IN_USE : LOOK_IDLE);
		pte_unlock(pages[i].pte, pages[i].value);
	}
	return references & 1;
}

/* How many pages from this one on, beside each other in frames too, were not referenced since they were
 * aged; 0: it was itself. @known: what a look ahead found. */
static size_t idle_pages(struct upage_pool *pool, const struct locked_page *page, enum look known)
{
	if (!(page->value & PTE_ACCESS))
		return 1;
	size_t run = view_run(pool, page->pte);
	if (run > 1)
		return view_idle(pool, page, run);
	return known == LOOK_NONE ? !look(pool, *page) : known == LOOK_IDLE;
}

/* Takes frame @pfn from its page, or pages, if nobody else works on that, and it was not referenced. */
static bool take_frame(struct upage_pool *pool, uint32_t pfn, enum look known, struct search *search)
{
	const struct frame *frame = &pool->frames.frame[pfn];
	struct locked_page page;
	if (pfn == search->own) {
		replace_touch(&pool->replace, pfn);
		return false;
	}
	if (!frame_trylock_all(pool, pfn, &page.pte, &page.value)) {
		search->busy = true;
		return false;
	}
	page.address = frame->page;
	if (turn_keeps_one(pool, frame)) {
		search->busy = true;
		frame_unlock_all(pool, page.pte, page.value);
		return false;
	}
	if (search->spared < SPARED_MAX && pool->replace.ops->touch != NULL) {
		size_t idle = frame->shares != NULL ? are_idle(pool, frame) : idle_pages(pool, &page, known);
		if (idle == 0)
			replace_touch(&pool->replace, pfn);
		if (idle == 0 || replace_idle(&pool->replace, pfn)) {
			search->spared++;
			frame_unlock_all(pool, page.pte, page.value);
			return false;
		}
		if (idle > 1)
			view_hide_idle(pool, page.pte, page.address, &page.value, idle);
	}
	if (evict_locked(pool, page.pte, page.value, search))
		return true;
	replace_touch(&pool->replace, pfn); /* or it is offered again before all others are */
	return false;
}

/* Asks the policy until a candidate's frame could be taken, or each was offered. */
static bool pass(struct upage_pool *pool, struct search *search, uint32_t *out)
{
	struct aged aged;
	/* Between two offers of a frame it may be aged once. */
	uint64_t questions = 2 * REPLACE_OFFERS * (atomic_load(&pool->replace.held) + 1) + SPARED_MAX;
	for (uint64_t i = 0; i < questions; i++) {
		enum look known;
		upage_pfn pfn = replace_candidate(&pool->replace, &aged, &known);
		*out = (uint32_t)pfn;
		if (pfn != REPLACE_NONE && take_frame(pool, (uint32_t)pfn, known, search))
			return true;
		if (pfn == REPLACE_NONE && aged.count == 0)
			break;
		age(pool, &aged);
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
	uint64_t held = atomic_load(&pool->replace.held) + atomic_load(&pool->frames.in_runs);
	if (atomic_load(&pool->frames.free) > 0 || held < pool->frames.frames)
		return true;
	return atomic_load(&pool->placed) != placed;
}

int evict_any(struct upage_pool *pool, uint32_t own, uint32_t *out)
{
	for (uint64_t start = 0;;) {
		struct search search = { .own = own };
		uint64_t placed = atomic_load(&pool->placed);
		if (pass(pool, &search, out))
			return 0;
		*out = frame_allocate(&pool->frames, 1);
		if (*out != FRAME_NONE)
			return 0;
		bool wait = search.busy || others_move(pool, placed);
		uint64_t now = host_nanoseconds();
		start = start != 0 ? start : now;
		if (now - start > TURN_PATIENCE)
			turn_forget(&pool->turn);
		if (!wait || now - start > WAIT_LIMIT_NS)
			return search.failure != 0 ? search.failure : UPAGE_ENOMEM;
		host_yield();
	}
}
