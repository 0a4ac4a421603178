/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "view.h"

#include <string.h>

#include "home.h"
#include "host.h"
#include "window.h"

#define UNCOVER_FEW 512 /* mappings: all that is shown is shown again */
#define UNCOVER_LEAST 8 /* of many runs, one that is worth a call, which its pages may not need */
#define ATTEMPTS 4 /* for which nobody waits */
#define SPARES_LOW (HOST_SPARES / 4)

/* Pools, which share the host's limit. */
static struct lock sharers_lock;
static struct upage_pool *sharers;

/* ---- How many mappings that takes ------------------------------------------------------- */

/* Whether a page is shown, or hidden, at home. Of those that are not resident nothing is known. */
static bool is_at_home(const struct upage_pool *pool, uint64_t value)
{
	return (value & PTE_PRESENT) && pool->frames.frame[pte_number(value)].at_home;
}

/* At home the host joins what is hidden with what may be read and written. */
static bool home_joins(bool left_at_home, uint64_t left, bool right_at_home, uint64_t right)
{
	const uint64_t plain = PTE_READ | PTE_WRITE;
	if (((left & PTE_ACCESS) && !left_at_home) || ((right & PTE_ACCESS) && !right_at_home))
		return false;
	return (left & PTE_ACCESS ? left & PTE_ACCESS : plain) == (right & PTE_ACCESS ? right & PTE_ACCESS : plain);
}

/* The host joins two neighbours if neither is shown, or both are, with the same protection
 * and from frames, or places in a file, beside each other. */
static bool host_joins(const struct upage_pool *pool, uint64_t left, uint64_t right)
{
	const struct frame *frame = pool->frames.frame;
	bool left_at_home = (left & PTE_ACCESS) && is_at_home(pool, left);
	bool right_at_home = (right & PTE_ACCESS) && is_at_home(pool, right);
	if (left_at_home || right_at_home)
		return home_joins(left_at_home, left, right_at_home, right);
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
	uint64_t right = pte_right(pte);
	return !host_joins(pool, pte_left(pte), value) + (!(right & PTE_ACCESS) && !host_joins(pool, value, right));
}

/* What neighbours are is looked up within a leaf, or a part of a larger one: so is who may change them. */
static struct lock *leaf_lock(struct upage_pool *pool, const pte_t *pte)
{
	uintptr_t leaf = (uintptr_t)pte / (PAGE_TABLE_NODE_ENTRIES * sizeof(*pte));
	return &pool->leaf_locks[leaf % LEAF_LOCKS].lock;
}

/* Where the process has nearly all mappings, few pages are shown, in any of many frames: these were, last. */
static void note_shown(struct upage_pool *pool, uint64_t value)
{
	if (atomic_load_explicit(&pool->mapping_budget, memory_order_relaxed) < pool->mapping_budget_whole)
		atomic_store(&pool->shown_last[atomic_fetch_add(&pool->shown, 1) % SHOWN_LAST], (uint32_t)pte_number(value));
}

/* Changes a locked PTE's access bits (and number) and keeps the count. */
static void record(struct upage_pool *pool, pte_t *pte, uint64_t before, uint64_t after)
{
	if ((after & PTE_ACCESS) && !(before & PTE_ACCESS) && !is_at_home(pool, after))
		note_shown(pool, after);
	struct lock *leaf = leaf_lock(pool, pte);
	lock_acquire(leaf);
	physical_count_mappings(pool, (int)seams(pool, pte, after) - (int)seams(pool, pte, before));
	pte_set_locked(pte, after);
	lock_release(leaf);
}

/* ---- Where the host has a page -------------------------------------------------------------- */

/* Of a resident page; NULL: at its address. Those that share a frame may be of several spaces. */
static const struct place *place_of(struct upage_pool *pool, const pte_t *pte, uint64_t value)
{
	const struct frame *frame = &pool->frames.frame[pte_number(value)];
	return value & PTE_SHARED ? share_backing(&pool->shares, frame, pte)->place : frame->backing->place;
}

/* Of a resident page: NULL if its content is in its frame. */
static struct home *home_of(const struct upage_pool *pool, uint64_t value)
{
	return is_at_home(pool, value) ? pool->frames.frame[pte_number(value)].backing->home : NULL;
}

/* Pages beside each other, all at home or none. @pte and @value are one's. */
static int hide(struct upage_pool *pool, const pte_t *pte, uint64_t value, uintptr_t address, size_t length)
{
	struct home *home = home_of(pool, value);
	if (home != NULL)
		return home_hide(home, address, length);
	const struct place *place = place_of(pool, pte, value);
	int result = host_hide(address + window_enter(place), length);
	window_exit(place);
	return result;
}

static int protect(struct upage_pool *pool, const pte_t *pte, uint64_t value, uintptr_t address, size_t length,
                   int prot)
{
	struct home *home = home_of(pool, value);
	if (home != NULL)
		return home_protect(home, address, length, prot);
	const struct place *place = place_of(pool, pte, value);
	int result = host_protect(address + window_enter(place), length, prot);
	window_exit(place);
	return result;
}

/* The frames of pages beside each other, or the part of the file: @value is the first's. Guards come off one page
 * never lazily, since the host then says whether it has memory for it; of a mapping it does not say. */
static int show(const struct upage_pool *pool, const struct place *place, uint64_t value,
                uintptr_t address, size_t pages, bool lazily)
{
	uint64_t pfn = pte_number(value);
	const struct backing *backing = pool->frames.frame[pfn].backing;
	size_t length = pages * page_size(pool);
	int prot = pte_prot(value), result;
	if (is_at_home(pool, value))
		return home_show(backing->home, address, length, prot, lazily && pages > 1);
	uintptr_t at = address + window_enter(place);
	off_t offset = frame_offset(&pool->frames, pfn);
	if (value & PTE_FILE)
		result = host_show_file(*backing->store->descriptor, at, backing_offset(backing, address),
		                        length, prot);
	else if (lazily)
		result = host_show_lazily(pool->frames.memory, at, offset, length, prot);
	else
		result = host_show(pool->frames.memory, at, offset, length, prot);
	window_exit(place);
	return result;
}

static const struct place *place_of_locked(struct upage_pool *pool, const struct locked_page *page)
{
	return place_of(pool, page->pte, page->value);
}

/* ---- Making room ---------------------------------------------------------------------------- */

/* Hides a locked page, if that saves a mapping. */
static void relieve_page(struct upage_pool *pool, const struct frame *frame, pte_t *pte,
                         uintptr_t address, uint64_t *value)
{
	uint64_t after = *value & ~(uint64_t)PTE_ACCESS;
	if (frame->pins == 0 && after != *value && seams(pool, pte, *value) > 0 &&
	    !turn_keeps(&pool->turn, address) &&
	    hide(pool, pte, *value, address, page_size(pool)) == 0) {
		record(pool, pte, *value, after);
		*value = after;
	}
}

/* Some are for pages in frames, whatever those at home have. */
static uint64_t budget_of(const struct upage_pool *pool, uint64_t laid)
{
	uint64_t budget = atomic_load(&pool->mapping_budget);
	return budget > laid + MAPPINGS_LEAST ? budget : laid + MAPPINGS_LEAST;
}

/* The host has fewer mappings for us than was thought, since the process has more of its own: make do with less,
 * by as many at least as the spares take. */
static void cut_budget(struct upage_pool *pool)
{
	uint64_t mappings = pool->mappings, laid = pool->mappings_laid;
	uint64_t hidden = mappings > laid ? (mappings - laid) / 8 : 0, spares = HOST_SPARES + 2;
	uint64_t cut = hidden > spares ? hidden : spares;
	uint64_t less = mappings > cut ? mappings - cut : 0;
	if (less < atomic_load(&pool->mapping_budget))
		atomic_store(&pool->mapping_budget, less > MAPPINGS_LEAST ? less : MAPPINGS_LEAST);
}

static void relieve_frame(struct upage_pool *pool, uint32_t pfn)
{
	const struct frame *frame = &pool->frames.frame[pfn];
	pte_t *pte;
	uint64_t value;
	if (!frame_trylock_all(pool, pfn, &pte, &value))
		return;
	relieve_page(pool, frame, pte, frame->page, &value);
	for (struct share *share = share_list(frame); share != NULL; share = share->next) {
		uint64_t other = pte_value(share->pte);
		relieve_page(pool, frame, share->pte, share->page, &other);
	}
	frame_unlock_all(pool, pte, value);
}

/* Gives up mappings of isolated pages until there are no more than @goal. The pages stay resident: their next
 * reference is a soft fault. @few: not many pages are shown, and they were last. */
static void relieve_to(struct upage_pool *pool, uint64_t goal, bool few)
{
	uint64_t frames = frame_table_end(&pool->frames), shown = pool->shown, pfn;
	atomic_store(&pool->compaction.wanted, true);
	for (uint64_t i = 0; i < SHOWN_LAST && few && pool->mappings > goal; i++)
		relieve_frame(pool, pool->shown_last[(shown + i) % SHOWN_LAST]);
	for (uint64_t looked = 0, next; looked < frames && pool->mappings > goal; looked += next - pfn) {
		pfn = atomic_load(&pool->hide_hand) % frames;
		next = frame_next(&pool->frames, pfn);
		atomic_store(&pool->hide_hand, next);
		relieve_frame(pool, (uint32_t)pfn);
	}
}

/* Until a sixteenth of the budget is free. */
static void relieve(struct upage_pool *pool)
{
	/* A budget that had to be cut grows back: the shortage may have passed. */
	uint64_t laid = pool->mappings_laid, budget = budget_of(pool, laid), whole = pool->mapping_budget_whole;
	uint64_t grown = budget + (budget - laid) / 16;
	if (budget < whole)
		atomic_store(&pool->mapping_budget, grown < whole ? grown : whole);
	relieve_to(pool, budget - (budget - laid) / 16, budget - laid <= SHOWN_LAST);
}

/* The host's limit is that of all pools. Where one has nothing left to hide, and no spare mappings are left, the
 * others give up half of theirs; and their turns, if somebody @waits, since those of a few pools may keep all there are. */
static void relieve_others(const struct upage_pool *pool, bool waits)
{
	lock_acquire(&sharers_lock);
	for (struct upage_pool *other = sharers; other != NULL; other = other->sharer) {
		uint64_t least = other->mappings_laid + 1, mappings = other->mappings;
		if (other == pool || other->process != pool->process || mappings <= least)
			continue;
		cut_budget(other);
		if (waits)
			turn_forget(&other->turn);
		relieve_to(other, least + (mappings - least) / 2, mappings - least <= SHOWN_LAST);
	}
	lock_release(&sharers_lock);
}

/* The host has refused. */
static void make_do_with_less(struct upage_pool *pool, bool waits)
{
	cut_budget(pool);
	if (pool->mappings + 2 > budget_of(pool, pool->mappings_laid))
		relieve(pool);
	if (host_spares_left() < SPARES_LOW)
		relieve_others(pool, waits);
}

void view_share(struct upage_pool *pool)
{
	lock_acquire(&sharers_lock);
	pool->sharer = sharers;
	sharers = pool;
	lock_release(&sharers_lock);
}

void view_share_no_more(struct upage_pool *pool)
{
	lock_acquire(&sharers_lock);
	struct upage_pool **link = &sharers;
	while (*link != pool)
		link = &(*link)->sharer;
	*link = pool->sharer;
	lock_release(&sharers_lock);
}

/* Pages from @i on that are one host mapping. */
static size_t shown_run(const struct upage_pool *pool, pte_t *ptes, size_t i, size_t count)
{
	size_t end = i + 1;
	while (end < count && (atomic_load(&ptes[end]) & PTE_ACCESS) &&
	       host_joins(pool, atomic_load(&ptes[end - 1]), atomic_load(&ptes[end])))
		end++;
	return end - i;
}

void view_make_room(struct upage_pool *pool)
{
	if (host_spares_are_wanted(pool->mappings) && !host_spares_lay())
		make_do_with_less(pool, false);
	else if (pool->mappings + 2 > budget_of(pool, pool->mappings_laid))
		relieve(pool);
}

bool view_give_way(struct upage_pool *pool)
{
	uint64_t before = pool->mappings;
	if (host_has_mappings() || before <= pool->mappings_laid + MAPPING_BUDGET_MIN)
		return false;
	cut_budget(pool);
	relieve(pool);
	return pool->mappings < before;
}

/* ---- Hiding and showing ------------------------------------------------------------------ */

int view_hide(struct upage_pool *pool, pte_t *pte, uintptr_t address, uint64_t *value)
{
	if (!(*value & PTE_ACCESS))
		return 0;
	view_make_room(pool);
	int result = hide(pool, pte, *value, address, page_size(pool));
	if (result < 0)
		return result;
	record(pool, pte, *value, *value & ~(uint64_t)PTE_ACCESS);
	*value &= ~(uint64_t)PTE_ACCESS;
	return 0;
}

/* How many pages that begin a list lie beside each other, in one space, and are hidden by one call. */
static size_t stretch(struct upage_pool *pool, const struct locked_page *pages, size_t count)
{
	size_t n = 1;
	while (n < count && pages[n].address == pages[n - 1].address + page_size(pool) &&
	       place_of_locked(pool, &pages[n]) == place_of_locked(pool, &pages[0]) &&
	       is_at_home(pool, pages[n].value) == is_at_home(pool, pages[0].value))
		n++;
	return n;
}

static const struct window *window_of(const struct place *place)
{
	return place != NULL ? place->window : NULL;
}

/* Ages those pages that begin a list and are all of one window, which stands still meanwhile, or all of
 * none; by one call. Return: how many; and whether the host could. */
static size_t age(struct upage_pool *pool, const struct locked_page *pages, size_t count,
                  bool *aged)
{
	struct iovec ranges[REPLACE_AGED_MAX];
	const struct place *first = place_of_locked(pool, &pages[0]);
	unsigned n = 0;
	size_t i = 0;
	window_enter(first);
	do {
		uintptr_t at = pages[i].address + window_displacement(place_of_locked(pool, &pages[i]));
		size_t run = stretch(pool, pages + i, count - i);
		ranges[n++] = (struct iovec){ (void *)at, run * page_size(pool) };
		i += run;
	} while (i < count && window_of(place_of_locked(pool, &pages[i])) == window_of(first));
	*aged = host_age(ranges, n) == 0;
	window_exit(first);
	return i;
}

/* Pages beside each other, where the host cannot age them. */
static void hide_stretch(struct upage_pool *pool, struct locked_page *pages, size_t count)
{
	view_make_room(pool);
	if (hide(pool, pages[0].pte, pages[0].value, pages[0].address, count * page_size(pool)) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		uint64_t after = pages[i].value & ~(uint64_t)PTE_ACCESS;
		record(pool, pages[i].pte, pages[i].value, after);
		pages[i].value = after;
	}
}

void view_age_each(struct upage_pool *pool, struct locked_page *pages, size_t count)
{
	for (size_t taken, run; count > 0; count -= taken, pages += taken) {
		bool aged;
		taken = age(pool, pages, count, &aged);
		for (size_t i = 0; !aged && i < taken; i += run) {
			run = stretch(pool, pages + i, taken - i);
			hide_stretch(pool, pages + i, run);
		}
	}
}

/* Whether a page is shown, and may be hidden: the kernel may be using what is pinned. */
static bool may_hide(const struct upage_pool *pool, uint64_t value)
{
	return (value & PTE_ACCESS) && pool->frames.frame[pte_number(value)].pins == 0;
}

/* The same by the call that hides another. */
static bool may_hide_with(const struct upage_pool *pool, uint64_t value, uint64_t other)
{
	return may_hide(pool, value) && is_at_home(pool, value) == is_at_home(pool, other);
}

int view_hide_run(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                  uintptr_t address)
{
	for (size_t i = 0; i < count; i++) {
		if (!may_hide(pool, values[i]))
			continue;
		size_t first = i, end = i + 1;
		for (; i < count && (!(values[i] & PTE_ACCESS) || may_hide_with(pool, values[i], values[first])); i++)
			end = values[i] & PTE_ACCESS ? i + 1 : end;
		i = end - 1;
		view_make_room(pool);
		int result = hide(pool, &ptes[first], values[first], address + first * page_size(pool),
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

/* By what the host shows: where it was to take that back, and failed, the entry does not say so. */
static bool may_be_written_to(uint64_t value)
{
	return (value & PTE_ACCESS) && (value & (PTE_DIRTY | PTE_SHARED)) == PTE_DIRTY;
}

int view_freeze_run(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                    uintptr_t address)
{
	int result = 0;
	for (size_t i = 0, end; i < count && result == 0; i = end) {
		if (is_at_home(pool, values[i])) { /* where what cannot be written to takes a mapping */
			for (end = i + 1; end < count && is_at_home(pool, values[end]); end++)
				;
			result = view_hide_run(pool, ptes + i, values + i, end - i, address + i * page_size(pool));
			continue;
		}
		uint64_t access = values[i] & PTE_ACCESS; /* some may lack what the mapping allows by now */
		for (end = i; end < count && (values[end] & PTE_ACCESS) == access && may_be_written_to(values[end]) &&
		              may_hide_with(pool, values[end], values[i]); end++) {
			uint64_t after = values[end] & ~(uint64_t)PTE_WRITE;
			if (after != values[end])
				record(pool, &ptes[end], values[end], after);
			values[end] = after;
		}
		if (end > i)
			result = protect(pool, &ptes[i], values[i], address + i * page_size(pool),
			                 (end - i) * page_size(pool), pte_prot(values[i]));
		else
			end = i + 1;
	}
	return result;
}

size_t view_lock_behind(struct upage_pool *pool, pte_t *pte, uint64_t *values, size_t count)
{
	uint32_t pfn = (uint32_t)pte_number(values[0]);
	size_t n = 1;
	for (; n < count && pfn + n < pool->frames.frames; n++) {
		pte_t *other;
		if (!frame_trylock(pool, pfn + (uint32_t)n, &other, &values[n]))
			break;
		bool alike = !(values[n] & PTE_ACCESS) == !(values[0] & PTE_ACCESS);
		if (other == pte + n && alike && pool->frames.frame[pfn + n].pins == 0 &&
		    !turn_keeps(&pool->turn, pool->frames.frame[pfn + n].page))
			continue;
		pte_unlock(other, values[n]);
		break;
	}
	return n;
}

/* Without the locks of windows, since there may be several: of one that is switched just now the answer
 * is wrong. */
uint64_t view_references_each(struct upage_pool *pool, const struct locked_page *pages, unsigned count)
{
	uintptr_t addresses[64];
	for (unsigned i = 0; i < count; i++)
		addresses[i] = pages[i].address + window_displacement(place_of_locked(pool, &pages[i]));
	return host_references_each(addresses, page_size(pool), count);
}

size_t view_run(const struct upage_pool *pool, pte_t *pte)
{
	size_t behind = PAGE_TABLE_NODE_ENTRIES - pte_index(pte);
	return shown_run(pool, pte, 0, behind < IDLE_RUN_MAX ? behind : IDLE_RUN_MAX);
}

size_t view_idle(struct upage_pool *pool, const struct locked_page *page, size_t run)
{
	struct references references;
	view_references(pool, page->pte, page->address, page->value, run, &references);
	return references.bits[0] != 0 ? (size_t)__builtin_ctzll(references.bits[0]) : run;
}

size_t view_hide_idle(struct upage_pool *pool, pte_t *pte, uintptr_t address, uint64_t *values, size_t count)
{
	count = view_lock_behind(pool, pte, values, count);
	view_hide_run(pool, pte, values, count, address);
	return count;
}

/* A page that was referenced, and will be at once again, is left to that reference, if the host has no larger ones to
 * find: it does so under the lock of the mapping, not under that of the process, for which all threads wait. */
static bool is_found_lazily(const struct upage_pool *pool)
{
	return page_size(pool) == HOST_PAGE_SIZE;
}

/* Whether two entries have the same content to be shown. */
static bool shows_same(uint64_t a, uint64_t b)
{
	return pte_number(a) == pte_number(b) && !((a ^ b) & PTE_FILE);
}

/* What there is other threads may have just now, each for its own page, and some of those sleep. */
static bool may_try_again(unsigned attempt, uint64_t *until)
{
	if (attempt < ATTEMPTS)
		return true;
	uint64_t now = host_nanoseconds();
	if (attempt == ATTEMPTS)
		*until = now + TURN_PATIENCE;
	if (now > *until || host_has_mappings())
		return false;
	host_yield();
	return true;
}

int view_replace(struct upage_pool *pool, const struct page *page, uint64_t *value, uint64_t after)
{
	const struct place *place = place_of(pool, page->pte, *value);
	uint64_t until = 0;
	view_make_room(pool);
	for (unsigned attempt = 0;; attempt++) {
		int result;
		record(pool, page->pte, *value, after);
		if ((*value & PTE_ACCESS) && shows_same(*value, after))
			result = protect(pool, page->pte, *value, page->address, page_size(pool), pte_prot(after));
		else
			result = show(pool, place, after, page->address, 1, is_found_lazily(pool));
		if (result == 0)
			break;
		record(pool, page->pte, after, *value);
		if (result != -ENOMEM || !may_try_again(attempt, &until))
			return result;
		make_do_with_less(pool, attempt >= ATTEMPTS); /* there was no spare mapping, or it is something else */
	}
	*value = after;
	return 0;
}

int view_show(struct upage_pool *pool, const struct page *page, uint64_t *value, uint64_t access)
{
	uint64_t after = (*value & ~(uint64_t)PTE_ACCESS) | access;
	if (access & PTE_WRITE)
		after &= ~(uint64_t)PTE_FILE;
	return view_replace(pool, page, value, after);
}

/* Moves a mapping of ours, of frames for writing, to hidden pages. */
static int show_borrowed(const struct place *place, uintptr_t address, size_t length, int prot, void *borrowed)
{
	uintptr_t at = address + window_enter(place);
	int result = 0;
	if (prot != (PROT_READ | PROT_WRITE))
		result = host_protect((uintptr_t)borrowed, length, prot);
	if (result == 0) {
		result = host_show_borrowed(borrowed, at, length);
		if (result < 0) /* there may be nothing in the way of other mappings now */
			host_hide(at, length);
	}
	if (result < 0)
		host_release(borrowed, length);
	window_exit(place);
	return result;
}

int view_show_run(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                  uintptr_t address, uint64_t access, void *borrowed)
{
	const struct place *place = place_of(pool, ptes, values[0]);
	uint64_t after = values[0] | access;
	view_make_room(pool);
	for (size_t i = 0; i < count; i++)
		record(pool, &ptes[i], values[i], values[i] | access);
	int result = borrowed != NULL ? show_borrowed(place, address, count * page_size(pool),
	                                              pte_prot(after), borrowed)
	                              : show(pool, place, after, address, count, false);
	for (size_t i = 0; i < count; i++) {
		if (result == 0)
			values[i] |= access;
		else
			record(pool, &ptes[i], values[i] | access, values[i]);
	}
	return result;
}

/* ---- Other frames --------------------------------------------------------------------------- */

void view_renumber(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count, uint32_t to)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t after = pte_with_number(values[i], to + i);
		record(pool, &ptes[i], values[i], after);
		values[i] = after;
	}
}

/* Entries say no more that there is @access. */
static void withdraw(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count, uint64_t access)
{
	for (size_t i = 0; i < count; i++) {
		record(pool, &ptes[i], values[i], values[i] & ~access);
		values[i] &= ~access;
	}
}

/* The frames are filled at an address of ours, which other threads do not know, and that mapping is
 * moved to the pages: a copy by the kernel takes twice as long, and populating them again a third. */
static int move_run(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                    uintptr_t address, uint32_t to)
{
	size_t length = count * page_size(pool);
	int prot = pte_prot(values[0]);
	bool hidden = false;
	void *filled;
	int result = host_borrow(pool->frames.memory, frame_offset(&pool->frames, to), length, &filled);
	if (result < 0)
		return result;
	if (prot & PROT_WRITE)
		result = host_protect(address, length, prot & ~PROT_WRITE);
	if (result == 0) {
		memcpy(filled, (const void *)address, length);
		if (prot != (PROT_READ | PROT_WRITE))
			result = host_protect((uintptr_t)filled, length, prot);
	}
	if (result == 0) {
		result = host_show_borrowed(filled, address, length);
		/* Where that failed, the old mapping may be there or gone. */
		hidden = result < 0 && host_hide(address, length) == 0;
	}
	if (result == 0 || hidden)
		view_renumber(pool, ptes, values, count, to);
	if (result == 0)
		return 0;
	host_release(filled, length);
	if (hidden)
		withdraw(pool, ptes, values, count, PTE_ACCESS);
	else if ((prot & PROT_WRITE) && host_protect(address, length, prot) < 0)
		withdraw(pool, ptes, values, count, PTE_WRITE);
	return hidden ? 0 : result;
}

int view_move_run(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                  uintptr_t address, uint32_t to)
{
	const struct place *place = place_of(pool, ptes, values[0]);
	int result = move_run(pool, ptes, values, count, address + window_enter(place), to);
	window_exit(place);
	return result;
}

void view_references(struct upage_pool *pool, const pte_t *pte, uintptr_t address, uint64_t value, size_t count,
                     struct references *references)
{
	const struct place *place = place_of(pool, pte, value);
	address += window_enter(place);
	for (size_t i = 0; i < count; i += 64)
		references->bits[i / 64] = host_references(address + i * page_size(pool), page_size(pool),
		                                           count - i < 64 ? (unsigned)(count - i) : 64);
	window_exit(place);
}

void view_keep_references(struct upage_pool *pool, const pte_t *pte, uintptr_t address, uint64_t value,
                          size_t count, const struct references *references)
{
	const struct place *place = place_of(pool, pte, value);
	struct iovec ranges[REPLACE_AGED_MAX];
	unsigned n = 0;
	address += window_enter(place);
	for (size_t i = 0, end; i < count; i = end) {
		bool idle = !(references->bits[i / 64] >> i % 64 & 1);
		for (end = i + 1; end < count && !(references->bits[end / 64] >> end % 64 & 1) == idle;)
			end++;
		if (idle)
			ranges[n++] = (struct iovec){ (void *)(address + i * page_size(pool)),
				                      (end - i) * page_size(pool) };
		if (n == REPLACE_AGED_MAX || (end == count && n > 0)) {
			host_age(ranges, n);
			n = 0;
		}
	}
	window_exit(place);
}

/* ---- Forks ------------------------------------------------------------------------------ */

static bool any_is_pinned(const struct upage_pool *pool, const pte_t *ptes, size_t count)
{
	for (size_t i = 0; i < count && atomic_load(&pool->pinned) > 0; i++)
		if (pool->frames.frame[pte_number(atomic_load(&ptes[i]))].pins > 0)
			return true;
	return false;
}

int view_cover(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address)
{
	int result = 0;
	for (size_t i = 0, end; i < count && result == 0; i = end) {
		uint64_t value = atomic_load(&ptes[i]);
		for (end = i + 1; end < count && may_hide(pool, value) &&
		                  may_hide_with(pool, atomic_load(&ptes[end]), value);)
			end++;
		if (may_hide(pool, value))
			result = hide(pool, &ptes[i], value, address + i * page_size(pool),
			              (end - i) * page_size(pool));
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
		const struct place *place = place_of(pool, &ptes[i], value);
		bool worth = cover != VIEW_HIDDEN_MANY || run >= UNCOVER_LEAST ||
		             any_is_pinned(pool, &ptes[i], run);
		if (worth && show(pool, place, value, start, run, true) == 0)
			continue;
		int failure = worth ? hide(pool, &ptes[i], value, start, run * page_size(pool)) : 0;
		for (size_t k = i; failure == 0 && k < i + run; k++) /* else it may be shown still */
			atomic_store(&ptes[k], atomic_load(&ptes[k]) & ~(uint64_t)PTE_ACCESS);
		result = failure < 0 ? failure : result;
	}
	for (size_t i = 0; i < count; i++)
		pool->mappings += view_seams_owned(pool, &ptes[i], atomic_load(&ptes[i]));
	return result;
}
