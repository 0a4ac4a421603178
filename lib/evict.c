/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "evict.h"

#include <errno.h>

#include "host.h"
#include "view.h"
#include "writeback.h"

#define WAIT_LIMIT_NS UINT64_C(10000000000) /* for frames that others are about to free */

/* Looking for a page that was not referenced may cost as much as reading one in: about this many
 * looks. Then the next has to go. */
#define SPARED_MAX 8

/* No more than one of so many frames are taken at once, nor more bytes: they are copied. */
#define BATCH_PART 64
#define BATCH_BYTES ((size_t)512 << 10)

/* ---- Leaving ------------------------------------------------------------------------------- */

/* What the PTE of a page becomes that leaves its frame with its content in @slot. What is shared has
 * not been written to for long. Where an expectation cannot be put to the test when the page leaves again,
 * there is none: a write too many is dearer than an upgrade. */
static uint64_t pte_evicted(struct upage_pool *pool, uint64_t value, uint32_t slot)
{
	if (slot == SWAP_NONE)
		return 0;
	bool expected = (value & (PTE_DIRTY | PTE_SHARED)) == PTE_DIRTY && swap_can_compare(pool->swap);
	return pte_make(slot, PTE_SWAPPED | (expected ? PTE_EXPECTED : 0));
}

/* Hides all the pages of a frame. *@value is of the one that it names itself. */
static int hide(struct upage_pool *pool, pte_t *pte, const struct frame *frame, uint64_t *value)
{
	int result = view_hide(pool, pte, frame->page, value);
	for (struct share *share = share_list(frame); share != NULL && result == 0; share = share->next) {
		uint64_t other = pte_value(share->pte);
		result = view_hide(pool, share->pte, share->page, &other);
	}
	return result;
}

/* A page that is saved leaves its frame, which nobody has then. */
static void leave_frame(struct upage_pool *pool, const struct leaving *pages, unsigned i)
{
	struct frame *frame = leaving_frame(pool, pages, i);
	if (frame->references > 1 && pages->slots[i] != SWAP_NONE)
		swap_share(pool->swap, pages->slots[i], frame->references - 1u);
	frame->slot = 0;
	atomic_store(&frame->pte, NULL);
	replace_remove(&pool->replace, pte_number(pages->values[i]));
	stats_count(pool->stats, COUNT_EVICTIONS);
}

static void unlock_leaving(struct upage_pool *pool, const struct leaving *pages, unsigned i)
{
	struct frame *frame = leaving_frame(pool, pages, i);
	pte_t *pte = pages->ptes[i];
	if (pages->results[i] < 0) {
		frame_unlock_all(pool, pte, pages->values[i]);
		return;
	}
	uint64_t evicted = pte_evicted(pool, pages->values[i], pages->slots[i]);
	if (pages->values[i] & PTE_SHARED)
		share_end(&pool->shares, frame, pte, evicted);
	frame->references = 0;
	pte_unlock(pte, evicted);
}

/* Pages from @i on that are saved and lie in frames beside each other. Return: how many. */
static unsigned saved_run(const struct leaving *pages, unsigned i)
{
	unsigned n = 0;
	while (i + n < pages->count && pages->results[i + n] == 0 &&
	       pte_number(pages->values[i + n]) == pte_number(pages->values[i]) + n)
		n++;
	return n;
}

/* Takes the frames of pages that are locked, hidden and not pinned, and unlocks them. All frames but the
 * first's are free then. Return: whether it was had; else that page is resident as before, and *search says
 * what stood in the way. */
static bool evict_run(struct upage_pool *pool, struct leaving *pages, struct search *search)
{
	atomic_fetch_add(&pool->evicting, 1);
	writeback(pool, pages, search);
	for (unsigned i = 0, n; i < pages->count; i += n > 0 ? n : 1)
		if ((n = saved_run(pages, i)) > 0) /* while nobody else can bring one in again */
			frame_leave_home(&pool->frames, (uint32_t)pte_number(pages->values[i]), n);
	for (unsigned i = 0; i < pages->count; i++)
		if (pages->results[i] == 0) {
			leave_frame(pool, pages, i);
			search->pages++;
		}
	atomic_fetch_sub(&pool->evicting, 1);
	if (pages->results[0] < 0)
		search->failure = pages->results[0];
	for (unsigned i = 0; i < pages->count; i++)
		unlock_leaving(pool, pages, i);
	for (unsigned i = 1, n; i < pages->count; i += n > 0 ? n : 1)
		if ((n = saved_run(pages, i)) > 0)
			frame_free(&pool->frames, (uint32_t)pte_number(pages->values[i]), n);
	return pages->results[0] == 0;
}

/* Takes the frame of a page whose PTE is locked, and those of all that share it (frame_trylock_all),
 * and unlocks them. Return: whether it could; else the page is resident as before, but perhaps
 * hidden, and *search says what stood in the way. */
static bool evict_locked(struct upage_pool *pool, pte_t *pte, uint64_t value, struct search *search)
{
	const struct frame *frame = &pool->frames.frame[pte_number(value)];
	if (frame->pins > 0) {
		pte_unlock(pte, value);
		return false;
	}
	int result = writeback_has_slot(pool, &value, search) ? hide(pool, pte, frame, &value) : UPAGE_ENOSPC;
	if (result < 0) {
		search->failure = result;
		frame_unlock_all(pool, pte, value);
		return false;
	}
	struct leaving page = { .count = 1, .ptes = { pte }, .values = { value } };
	return evict_run(pool, &page, search);
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

/* Locks pages from the first on, as far as they can leave together. Return: how many. */
static unsigned lock_leaving(struct upage_pool *pool, pte_t *ptes, size_t count, struct leaving *pages)
{
	unsigned n = 0;
	for (; n < count && n < LEAVING_MAX && pte_trylock(&ptes[n], &pages->values[n]); n++) {
		uint64_t value = pages->values[n];
		if (!(value & PTE_PRESENT) || (value & PTE_SHARED) || leaving_frame(pool, pages, n)->pins > 0) {
			pte_unlock(&ptes[n], value);
			break;
		}
		pages->ptes[n] = &ptes[n];
	}
	pages->count = n;
	return n;
}

/* Those that are locked leave; the others of @results are as they were. */
static void evict_together(struct upage_pool *pool, struct leaving *pages)
{
	struct search search = { .own = FRAME_NONE };
	uint32_t first = (uint32_t)pte_number(pages->values[0]);
	int result = view_hide_run(pool, pages->ptes[0], pages->values, pages->count,
	                           leaving_frame(pool, pages, 0)->page);
	for (unsigned i = 0; i < pages->count && result < 0; i++) {
		pages->results[i] = result;
		pte_unlock(pages->ptes[i], pages->values[i]);
	}
	if (result == 0 && evict_run(pool, pages, &search))
		frame_free(&pool->frames, first, 1);
}

int evict_range(struct upage_pool *pool, pte_t *ptes, size_t count)
{
	int result = 0;
	for (size_t i = 0, n; i < count; i += n) {
		struct leaving pages = { .results = { -EAGAIN } };
		n = (atomic_load(&ptes[i]) & PTE_PRESENT) && !swap_is_full(pool->swap)
		            ? lock_leaving(pool, &ptes[i], count - i, &pages)
		            : 0;
		if (n > 0)
			evict_together(pool, &pages);
		else
			n = 1;
		for (size_t k = 0; k < n; k++) {
			/* Who works on an empty one may be bringing it in. */
			bool any = atomic_load(&ptes[i + k]) & (PTE_PRESENT | PTE_LOCKED);
			int failure = pages.results[k] < 0 && any ? evict_page(pool, &ptes[i + k]) : 0;
			result = result == 0 ? failure : result;
		}
	}
	return result;
}

/* ---- Choosing one ------------------------------------------------------------------------ */

/* A look found that a page has been referenced. */
static void note_in_use(struct upage_pool *pool, uint64_t *value)
{
	replace_touch(&pool->replace, pte_number(*value));
	page_note_used(pool, value);
}

/* Whether none of the pages of a shared frame was referenced since it was aged. All are locked. */
static bool are_idle(struct upage_pool *pool, const struct frame *frame)
{
	bool idle = true;
	for (const struct share *share = share_list(frame); share != NULL && idle; share = share->next) {
		const struct locked_page page = { share->pte, share->page, pte_value(share->pte) };
		idle = !(page.value & PTE_ACCESS) || view_references_each(pool, &page, 1) == 0;
	}
	return idle;
}

static bool turn_keeps_one(struct upage_pool *pool, const struct frame *frame)
{
	bool keeps = turn_keeps(&pool->turn, frame->page);
	for (const struct share *share = share_list(frame); share != NULL && !keeps; share = share->next)
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
		if (!frame_seems_shared(frame) && frame->pins == 0 && (page->value & PTE_ACCESS) &&
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
	for (const struct share *share = share_list(frame); share != NULL; share = share->next) {
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

/* How many pages may leave at once: fewer frames are free then than would be missed, and slots. */
static unsigned batch_of(struct upage_pool *pool)
{
	uint64_t most = smaller(smaller(pool->frames.frames / BATCH_PART, LEAVING_MAX), BATCH_BYTES / page_size(pool));
	return most > 1 && pool->replace.ops->follows != NULL && !swap_is_full(pool->swap) ? (unsigned)most : 1;
}

/* Hides a page that leaves, and by the same call those behind it, in frames behind its own, that would be the next to
 * go. @idle: so many are known not to be in use; of hidden ones nobody is. Return: whether the host did; then they are
 * @pages, no more than @most. Else the page is locked as before. */
static bool add_idle(struct upage_pool *pool, struct locked_page *page, size_t idle, unsigned most,
                     struct leaving *pages)
{
	uint64_t values[IDLE_RUN_MAX] = { page->value };
	size_t count = page->value & PTE_ACCESS
	                       ? idle : smaller(most, PAGE_TABLE_NODE_ENTRIES - pte_index(page->pte));
	count = view_hide_idle(pool, page->pte, page->address, values, count);
	page->value = values[0];
	bool hidden = most > 0 && !(values[0] & PTE_ACCESS);
	for (size_t i = 0; i < count; i++) {
		bool follows = hidden && pages->count == i && i < most && !(values[i] & PTE_ACCESS) &&
		               (i == 0 || replace_follows(&pool->replace, pte_number(values[i])));
		if (follows) {
			pages->ptes[pages->count] = page->pte + i;
			pages->values[pages->count++] = values[i];
		} else if (i > 0) {
			pte_unlock(page->pte + i, values[i]);
		}
	}
	return hidden;
}

/* Locks a candidate that can leave beside others, if it is not in use: for at least *@idle pages. */
static bool lock_next(struct upage_pool *pool, uint32_t pfn, enum look known, const struct search *search,
                      struct locked_page *page, size_t *idle)
{
	const struct frame *frame = &pool->frames.frame[pfn];
	if (pfn == search->own || frame_seems_shared(frame) || !frame_trylock(pool, pfn, &page->pte, &page->value))
		return false;
	page->address = frame->page;
	if (frame->pins == 0 && !(page->value & PTE_SHARED) && !turn_keeps(&pool->turn, page->address)) {
		*idle = idle_pages(pool, page, known);
		if (*idle == 0)
			note_in_use(pool, &page->value);
		else if (!replace_idle(&pool->replace, pfn))
			return true;
	}
	pte_unlock(page->pte, page->value);
	return false;
}

/* Whether a page is the @n-th behind another in its leaf. By the address alone it might be another space's. */
static bool follow_in_leaf(const struct upage_pool *pool, const struct locked_page *first,
                           const struct locked_page *page, unsigned n)
{
	return pte_index(page->pte) >= n && page->pte == first->pte + n &&
	       page->address == first->address + n * page_size(pool);
}

/* Pages that are locked, by their addresses: hidden, those beside each other by one call, they leave too. */
static void add_locked(struct upage_pool *pool, const struct locked_page *locked, unsigned count,
                       struct leaving *pages)
{
	for (unsigned i = 0, n; i < count; i += n) {
		pte_t **ptes = &pages->ptes[pages->count];
		uint64_t *values = &pages->values[pages->count];
		for (n = 0; i + n < count && follow_in_leaf(pool, &locked[i], &locked[i + n], n); n++) {
			ptes[n] = locked[i + n].pte;
			values[n] = locked[i + n].value;
		}
		if (view_hide_run(pool, ptes[0], values, n, locked[i].address) == 0)
			pages->count += n;
		else
			for (unsigned k = 0; k < n; k++)
				pte_unlock(ptes[k], values[k]);
	}
}

/* Those that would be the next to go, wherever they are: what is written at once takes less time each. The policy is
 * asked no more than twice as often as pages are wanted. By itself: only who needs it has that on his stack. */
__attribute__((noinline)) static void gather(struct upage_pool *pool, unsigned most, const struct search *search, struct leaving *pages)
{
	struct aged aged;
	struct locked_page locked[LEAVING_MAX], page;
	unsigned count = 0, wanted = most - pages->count;
	for (unsigned questions = 2 * wanted; count < wanted && questions > 0; questions--) {
		enum look known;
		size_t idle;
		upage_pfn pfn = replace_candidate(&pool->replace, &aged, &known);
		if (pfn == REPLACE_NONE) {
			age(pool, &aged);
			continue;
		}
		if (!lock_next(pool, (uint32_t)pfn, known, search, &page, &idle))
			continue;
		uint64_t values[IDLE_RUN_MAX] = { page.value };
		idle = view_lock_behind(pool, page.pte, values, smaller(idle, wanted - count));
		bool goes = true;
		for (size_t i = 0; i < idle; i++) {
			goes = goes && (i == 0 || replace_follows(&pool->replace, pfn + i));
			if (goes)
				locked[count++] = (struct locked_page){ page.pte + i, page.address + i * page_size(pool), values[i] };
			else
				pte_unlock(page.pte + i, values[i]);
		}
	}
	sort_by_address(locked, count);
	add_locked(pool, locked, count, pages);
}

/* A page that leaves, and others that are saved together with it. */
static bool evict_idle(struct upage_pool *pool, struct locked_page *page, size_t idle, struct search *search)
{
	struct leaving pages = { .count = 0 };
	unsigned most = writeback_has_slot(pool, &page->value, search) ? batch_of(pool) : 0;
	if (!add_idle(pool, page, idle, most, &pages))
		return evict_locked(pool, page->pte, page->value, search);
	if (swap_gains_by_many(pool->swap) && (pages.values[0] & PTE_DIRTY))
		gather(pool, most, search, &pages);
	bool gone = evict_run(pool, &pages, search);
	for (unsigned i = 1; i < pages.count; i++)
		if (pages.results[i] < 0)
			replace_touch(&pool->replace, pte_number(pages.values[i]));
	return gone;
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
		size_t idle = frame_seems_shared(frame) ? are_idle(pool, frame) : idle_pages(pool, &page, known);
		if (idle == 0)
			note_in_use(pool, &page.value);
		if (idle == 0 || replace_idle(&pool->replace, pfn)) {
			search->spared++;
			frame_unlock_all(pool, page.pte, page.value);
			return false;
		}
		if (frame->pins == 0 && !(page.value & PTE_SHARED)) {
			if (evict_idle(pool, &page, idle, search))
				return true;
			replace_touch(&pool->replace, pfn);
			return false;
		}
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

unsigned evict_ahead(struct upage_pool *pool, struct beside *beside)
{
	struct search search = { .own = FRAME_NONE, .beside = beside };
	uint32_t pfn;
	if (!pass(pool, &search, &pfn))
		return 0;
	frame_free(&pool->frames, pfn, 1);
	return search.pages;
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

/* Nothing could be taken at the first look: until something can, or nobody is left to wait for. */
static int search_on(struct upage_pool *pool, uint32_t own, uint32_t *out)
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

int evict_any(struct upage_pool *pool, uint32_t own, uint32_t *out)
{
	struct search search = { .own = own };
	if (pass(pool, &search, out))
		return 0;
	atomic_fetch_add(&pool->searching, 1); /* others say from now on what they do */
	int result = search_on(pool, own, out);
	atomic_fetch_sub(&pool->searching, 1);
	return result;
}
