/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "space.h"

#include "host.h"
#include "options.h"
#include "signals.h"
#include "view.h"

#define SPACES_MAX 1024
#define SPACE_SHIFT 21 /* spaces start at multiples of 2 MiB where they may choose */
#define LENGTH_DEFAULT ((size_t)1 << 40)

static _Atomic(upage_space *) spaces[SPACES_MAX];
static _Atomic unsigned space_count; /* entries of spaces that were ever used */
struct lock space_shared_lock;       /* see space.h, both */
struct lock spaces_lock;
static _Atomic uint64_t *fork_word;  /* the process that made the newest space; 0: forked since */

/* ---- Look-up --------------------------------------------------------------------------- */

/* Whether the addresses of a space are its own at present. */
static bool is_current(const upage_space *space)
{
	return atomic_load(&space->place.displacement) == 0;
}

upage_space *space_find(uintptr_t address)
{
	unsigned count = atomic_load(&space_count);
	for (unsigned i = 0; i < count; i++) {
		upage_space *space = atomic_load(&spaces[i]);
		uintptr_t base = atomic_load(&space->base);
		if (base != 0 && address - base < atomic_load(&space->length) && is_current(space))
			return space;
	}
	return NULL;
}

upage_space *space_find_next(uintptr_t address)
{
	unsigned count = atomic_load(&space_count);
	upage_space *next = NULL;
	for (unsigned i = 0; i < count; i++) {
		upage_space *space = atomic_load(&spaces[i]);
		uintptr_t base = atomic_load(&space->base);
		if (base != 0 && (address < base || address - base < atomic_load(&space->length)) &&
		    is_current(space) && (next == NULL || base < next->base))
			next = space;
	}
	return next;
}

bool space_nearest(upage_space *space, uintptr_t address, uintptr_t *start, uintptr_t *end)
{
	space_read(space);
	bool any = mapping_nearest(&space->mappings, address, start, end);
	space_read_end(space);
	return any;
}

/* ---- Passes over the pages of a range ---------------------------------------------------- */

int space_each_run(upage_space *space, uintptr_t start, uintptr_t end, run_visitor *visit,
                    void *argument)
{
	upage_vpn vpn = space_vpn(space, start), last = space_vpn(space, end - 1) + 1;
	size_t count;
	pte_t *ptes;
	int result = 0;
	while (result == 0 && (ptes = page_table_run(&space->table, &vpn, last, &count)) != NULL) {
		result = visit(space, ptes, count, space_address(space, vpn), argument);
		vpn += count;
	}
	return result;
}

int space_visit_pinned(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                        void *argument)
{
	(void)address;
	(void)argument;
	for (size_t i = 0; i < count; i++)
		if (atomic_load(&ptes[i]) != 0 && pager_is_pinned(space->pool, &ptes[i]))
			return UPAGE_EBUSY;
	return 0;
}

int space_visit_hide(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                     void *argument)
{
	(void)argument;
	return pager_hide(space->pool, ptes, count, address);
}

static int visit_discard(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                         void *argument)
{
	(void)address;
	(void)argument;
	pager_discard(space->pool, ptes, count);
	return 0;
}

int space_empty_range(upage_space *space, uintptr_t start, uintptr_t end)
{
	if (!space_is_paged(space))
		return contiguous_refill(&space->runs, &space->mappings, start, end);
	int result = space_each_run(space, start, end, space_visit_pinned, NULL);
	if (result == 0)
		result = space_sync_range(space, start, end);
	/* All that may fail comes before anything is lost. */
	if (result == 0)
		result = space_each_run(space, start, end, space_visit_hide, NULL);
	if (result == 0)
		space_each_run(space, start, end, visit_discard, NULL);
	return result;
}

/* The first failure is kept, and the others are tried. */
static int visit_sync(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                      void *argument)
{
	int *failure = argument;
	for (size_t i = 0; i < count; i++) {
		if (atomic_load(&ptes[i]) == 0)
			continue;
		uintptr_t at = address + i * space_page_size(space);
		const struct mapping *mapping = mapping_find(&space->mappings, at);
		if (mapping == NULL || !mapping->backing->shared)
			continue;
		const struct page page = { .pte = &ptes[i],
			                   .address = at,
			                   .prot = effective_prot(mapping->prot),
			                   .backing = mapping->backing };
		int result = pager_sync(space->pool, &page);
		if (*failure == 0)
			*failure = result;
	}
	return 0;
}

int space_sync_range(upage_space *space, uintptr_t start, uintptr_t end)
{
	int failure = 0;
	for (size_t i = mapping_index(&space->mappings, start);
	     i < space->mappings.count && space->mappings.mapping[i].start < end; i++) {
		const struct mapping part = mapping_part(&space->mappings.mapping[i], start, end);
		if (part.backing->shared)
			space_each_run(space, part.start, part.end, visit_sync, &failure);
	}
	return failure;
}

static int visit_count(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                       void *argument)
{
	struct space_pages *pages = argument;
	for (size_t i = 0; i < count; i++) {
		uint64_t value = atomic_load(&ptes[i]);
		if (value == 0)
			continue;
		/* Of a space in runs there may be, in a slot, what no mapping has: it was written to between. */
		bool right = space_is_paged(space)
		                     ? mapping_find(&space->mappings, address + i * space_page_size(space)) != NULL
		                     : !(value & PTE_PRESENT);
		if (!pte_is_valid(value) || (value & PTE_LOCKED) || !right)
			return UPAGE_EIO;
		if ((value & PTE_PRESENT) && space->pool->frames.frame[pte_number(value)].at_home !=
		                                     home_has(&space->home, address + i * space_page_size(space)))
			return UPAGE_EIO;
		pages->present += (value & PTE_PRESENT) != 0;
		pages->swapped += (value & PTE_SWAPPED) != 0;
		pages->seams += view_seams_owned(space->pool, &ptes[i], value);
	}
	return 0;
}

static bool mappings_are_valid(const upage_space *space, uint64_t *committed)
{
	uintptr_t end = space->base;
	for (size_t i = 0; i < space->mappings.count; i++) {
		const struct mapping *m = &space->mappings.mapping[i];
		if (m->start < end || m->start >= m->end || m->backing->references == 0)
			return false;
		end = m->end;
		*committed += m->committed ? space_pages(space, m->end - m->start) : 0;
	}
	return end <= space->base + space->length && window_place_is_valid(&space->place);
}

bool space_count_pages(upage_pool *pool, struct space_pages *pages)
{
	for (unsigned i = 0; i < atomic_load(&space_count); i++) {
		upage_space *space = spaces[i];
		if (space->base == 0 || space->pool != pool || space_is_lost(space))
			continue;
		if (!mappings_are_valid(space, &pages->committed) ||
		    space_each_run(space, space->base, space->base + space->length, visit_count, pages) != 0)
			return false;
		pages->seams += runs_seams(&space->runs) + atomic_load(&space->home.seams);
		pages->in_runs += runs_frames(&space->runs);
	}
	return true;
}

bool space_any_shares(const upage_store *store, int64_t offset, size_t length)
{
	for (unsigned s = 0; s < atomic_load(&space_count); s++) {
		upage_space *space = spaces[s];
		bool found = false;
		if (space->base == 0 || space_is_lost(space)) /* its lock may be held for ever */
			continue;
		space_read(space);
		for (size_t i = 0; space->base != 0 && i < space->mappings.count && !found; i++) {
			const struct mapping *m = &space->mappings.mapping[i];
			int64_t from = (int64_t)m->start + m->backing->delta;
			int64_t to = (int64_t)m->end + m->backing->delta;
			found = m->backing->shared && store_is_same(m->backing->store, store) &&
			        from < offset + (int64_t)length && offset < to;
		}
		space_read_end(space);
		if (found)
			return true;
	}
	return false;
}

/* ---- Making and ending spaces ------------------------------------------------------------ */

static upage_space *space_allocate(void)
{
	unsigned count = atomic_load(&space_count);
	for (unsigned i = 0; i < count; i++)
		if (atomic_load(&spaces[i]->base) == 0)
			return spaces[i];
	if (count == SPACES_MAX)
		return NULL;
	upage_space *space = host_metadata(sizeof(*space));
	struct mapping *mappings = guard_metadata(MAPPINGS_MAX * sizeof(*mappings), GUARDED_MAPPINGS);
	if (space == NULL || mappings == NULL) {
		if (space != NULL)
			host_metadata_release(space, sizeof(*space));
		if (mappings != NULL)
			guard_metadata_release(mappings, MAPPINGS_MAX * sizeof(*mappings));
		return NULL;
	}
	space->mappings.mapping = mappings;
	atomic_store(&spaces[count], space);
	atomic_store(&space_count, count + 1);
	return space;
}

/* Takes the addresses of a space. Leaves of its page table should be aligned in address too, for
 * mappings that the host joins and tables that it moves. */
static int take_addresses(upage_space *space, const struct upage_space_config *config, size_t length,
                          unsigned page_shift, uintptr_t *start)
{
	size_t alignment = (size_t)1 << (page_shift > SPACE_SHIFT ? page_shift : SPACE_SHIFT);
	void *base = NULL;
	if (host_spares_are_wanted(0))
		host_spares_lay();
	if (config->flags & UPAGE_SPACE_WINDOW)
		return window_join(&space->place, config->address, length, start);
	atomic_store(&space->place.displacement, 0);
	int result = config->address != NULL ? host_reserve(config->address, length, &base)
	                                     : host_reserve_aligned(length, alignment, 0, &base);
	*start = (uintptr_t)base;
	return result;
}

/* With its addresses taken. Return: 0, or UPAGE_ENOMEM: nothing is left. */
static int make_backings(upage_space *space)
{
	space->anonymous = space_backing(space, NULL, 0, false);
	space->foreign = space_backing(space, NULL, 0, false);
	if (space->anonymous != NULL && space->foreign != NULL) {
		space->foreign->foreign = true;
		return 0;
	}
	if (space->anonymous != NULL)
		backing_release(space->anonymous);
	if (space->foreign != NULL)
		backing_release(space->foreign);
	return UPAGE_ENOMEM;
}

static void give_addresses(upage_space *space, uintptr_t start, size_t length)
{
	if (space_shares_addresses(space))
		window_leave(&space->place);
	else
		host_release((void *)start, length);
}

static int space_make(upage_space **out, upage_pool *pool, const struct upage_space_config *config)
{
	fork_word = host_fork_word();
	if (fork_word == NULL)
		return UPAGE_ENOMEM;
	unsigned page_shift = pool->frames.page_shift;
	size_t length = config->length != 0 ? config->length : LENGTH_DEFAULT;
	size_t unit = config->flags & UPAGE_SPACE_WINDOW ? WINDOW_ALIGNMENT : (size_t)1 << page_shift;
	uintptr_t start;
	if (length > SIZE_MAX - unit)
		return UPAGE_EOVERFLOW;
	length = round_up(length, unit);
	upage_space *space = space_allocate();
	if (space == NULL)
		return UPAGE_ENOMEM;
	int result = page_table_init(&space->table, &pool->tables, length >> page_shift, page_shift,
	                             config->levels);
	if (result < 0)
		return result;
	result = take_addresses(space, config, length, page_shift, &start);
	if (result == 0) {
		/* What moves to other addresses cannot be at home. */
		result = home_init(&space->home, pool, start, length,
		                   pool->never_home || space_shares_addresses(space));
		if (result == 0)
			result = make_backings(space);
		if (result < 0) {
			home_end(&space->home);
			give_addresses(space, start, length);
		}
	}
	if (result < 0) {
		page_table_destroy(&space->table);
		return result;
	}
	space->pool = pool;
	space->runs.count = 0;
	space->lock = (struct rwlock){ 0 }; /* a parent's thread may have held it at a fork */
	space->mappings.count = 0;
	space->process = atomic_load(fork_word);
	atomic_store(&space->length, length);
	atomic_store(&space->base, start);
	atomic_fetch_add(&pool->spaces, 1);
	*out = space;
	return 0;
}

/* What the host maps itself in [start, end) goes. */
static int end_foreign(upage_space *space, uintptr_t start, uintptr_t end)
{
	int result = 0;
	for (size_t i = mapping_index(&space->mappings, start);
	     result == 0 && i < space->mappings.count && space->mappings.mapping[i].start < end; i++) {
		const struct mapping part = mapping_part(&space->mappings.mapping[i], start, end);
		if (part.backing->foreign)
			result = host_hide(part.start, part.end - part.start);
	}
	return result;
}

int space_unmap_range(upage_space *space, uintptr_t start, uintptr_t end)
{
	int result = space_each_run(space, start, end, space_visit_pinned, NULL);
	if (result == 0)
		result = end_foreign(space, start, end);
	if (result == 0)
		result = space_is_paged(space) ? space_empty_range(space, start, end)
		                               : contiguous_clear(&space->runs, start, end);
	if (result < 0)
		return result;
	mapping_split(&space->mappings, start);
	mapping_split(&space->mappings, end);
	size_t first = mapping_index(&space->mappings, start), last = first;
	for (; last < space->mappings.count && space->mappings.mapping[last].start < end; last++) {
		const struct mapping *m = &space->mappings.mapping[last];
		if (m->committed)
			pager_uncommit(space->pool, space_pages(space, m->end - m->start));
		if (m->backing->foreign)
			physical_count_foreign(space->pool, (int64_t)(m->start - m->end));
		backing_release(m->backing);
	}
	mapping_cut(&space->mappings, first, last);
	home_forget(&space->home, start, end);
	contiguous_settle(&space->runs, &space->mappings);
	return 0;
}

static int space_end(upage_space *space)
{
	if (atomic_load(&space->heaps) > 0)
		return UPAGE_EBUSY;
	int result = 0;
	if (!space_is_lost(space)) {
		space_write(space);
		if (space->runs.out)
			runs_end(&space->runs); /* nothing of it is in memory, nor need be */
		result = space_unmap_range(space, space->base, space->base + space->length);
		space_write_end(space);
	}
	if (result < 0)
		return result;
	give_addresses(space, space->base, space->length);
	if (!space_is_lost(space)) { /* else they are not in order, and go with the process */
		home_end(&space->home);
		runs_end(&space->runs);
		page_table_destroy(&space->table);
		backing_release(space->anonymous);
		backing_release(space->foreign);
	}
	atomic_fetch_sub(&space->pool->spaces, 1);
	atomic_store(&space->base, 0);
	return 0;
}

int space_create(upage_space **out, upage_pool *pool, const struct upage_space_config *given,
                 space_filler *fill, void *argument)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	if (given != NULL) {
		if (given->size == 0)
			return UPAGE_EINVAL;
		if (given->size > sizeof(config))
			return UPAGE_E2BIG;
		for (size_t i = 0; i < given->size; i++)
			((char *)&config)[i] = ((const char *)given)[i];
	}
	size_t unit = config.flags & UPAGE_SPACE_WINDOW ? WINDOW_ALIGNMENT : frame_size(&pool->frames);
	if (((uintptr_t)config.address & (unit - 1)) || (config.flags & ~UPAGE_SPACE_WINDOW) ||
	    config.scheme > UPAGE_SCHEME_SEGMENTATION)
		return UPAGE_EINVAL;
	upage_space *space = NULL;
	signal_mask mask = signals_block();
	lock_acquire(&spaces_lock);
	guard_open();
	int result = space_make(&space, pool, &config);
	if (result == 0) {
		enum upage_scheme scheme = config.scheme;
		if (scheme == UPAGE_SCHEME_POOLS)
			scheme = options_scheme(&pool->config);
		/* What cannot be cut into four is one segment. */
		if (config.scheme == UPAGE_SCHEME_POOLS && scheme == UPAGE_SCHEME_SEGMENTATION &&
		    !runs_can_be_segments(space->length, frame_size(&pool->frames)))
			scheme = UPAGE_SCHEME_BASE_BOUNDS;
		result = space_set_scheme(space, scheme, space->base,
		                          round_up(config.bounds, frame_size(&pool->frames)));
	}
	if (result == 0 && fill != NULL)
		result = fill(space, argument);
	if (result < 0 && space != NULL)
		space_end(space); /* none of its pages is shown or pinned: nothing can stand in the way */
	guard_close();
	lock_release(&spaces_lock);
	signals_set(mask);
	if (result == 0)
		*out = space;
	return result;
}

PUBLIC int upage_space_destroy(upage_space *space)
{
	if (space == NULL)
		return 0;
	signal_mask mask = signals_block();
	lock_acquire(&spaces_lock);
	guard_open();
	int result = space_end(space);
	guard_close();
	lock_release(&spaces_lock);
	signals_set(mask);
	return result;
}

PUBLIC void *upage_space_base(const upage_space *space)
{
	return (void *)space->base;
}

PUBLIC size_t upage_space_length(const upage_space *space)
{
	return space->length;
}

bool space_is_lost(const upage_space *space)
{
	return atomic_load(fork_word) != space->process;
}

/* ---- Forks ------------------------------------------------------------------------------- */

static int visit_wait(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                      void *argument)
{
	(void)space, (void)address, (void)argument;
	pager_wait(ptes, count);
	return 0;
}

static int visit_cover(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                       void *argument)
{
	(void)argument;
	return view_cover(space->pool, ptes, count, address);
}

static int visit_uncover(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                         void *argument)
{
	int *failure = argument;
	int result = view_uncover(space->pool, ptes, count, address, space->cover);
	*failure = result < 0 ? result : *failure;
	return 0;
}

static int each_run_of_all(upage_space *space, run_visitor *visit, void *argument)
{
	return space_each_run(space, space->base, space->base + space->length, visit, argument);
}

bool space_fork_has_room(void)
{
	bool room = true;
	lock_acquire(&spaces_lock);
	for (unsigned i = 0; i < atomic_load(&space_count) && room; i++) {
		upage_space *space = spaces[i];
		if (space->base == 0 || space_is_lost(space) || space->runs.count != 1)
			continue;
		space_write(space);
		room = runs_have_room_twice(&space->runs);
		space_write_end(space);
	}
	lock_release(&spaces_lock);
	return room;
}

/* Who takes the locks of several spaces has spaces_lock: here, in the order of the table, and in
 * switch.c. */
void space_fork_begin(void)
{
	lock_acquire(&space_shared_lock);
	lock_acquire(&spaces_lock);
	for (unsigned i = 0; i < atomic_load(&space_count); i++) {
		upage_space *space = spaces[i];
		if (space->base == 0 || space_is_lost(space))
			continue;
		rwlock_write(&space->lock); /* and no bracket: see pool_fork.c */
		space->frozen = true;
	}
}

/* Between two mappings of the host's own, but what is kept. */
static int hide_between(const struct mappings *all, uintptr_t start, uintptr_t end)
{
	int result = 0;
	if (mapping_is_kept(all, start, end)) {
		result = start < all->kept ? host_hide(start, all->kept - start) : 0;
		start = all->kept_end;
	}
	return result == 0 && end > start ? host_hide(start, end - start) : result;
}

/* Hides all that is shown, and nothing that the host maps itself: its mappings stand still, here
 * or where we come from. */
static int hide_all(upage_space *space)
{
	uintptr_t start = space->base + atomic_load(&space->place.displacement);
	uintptr_t end = start + space->length;
	int result = 0;
	home_bare(&space->home);
	for (size_t i = 0; i < space->mappings.count && result == 0; i++) {
		const struct mapping *m = &space->mappings.mapping[i];
		if (!m->backing->foreign) /* never in a window */
			continue;
		result = hide_between(&space->mappings, start, m->start);
		start = m->end;
	}
	return result == 0 ? hide_between(&space->mappings, start, end) : result;
}

static bool hidden_in_part; /* around a fork: hiding failed, and pages may be shown still */

/* Who works on a page got its entry while he had the space's lock, which he has given back: once
 * each entry was seen unlocked, nobody works on any. */
int space_fork_hide(void)
{
	int result = 0;
	for (unsigned i = 0; i < atomic_load(&space_count); i++) {
		spaces[i]->covered = spaces[i]->frozen;
		if (spaces[i]->frozen)
			each_run_of_all(spaces[i], visit_wait, NULL);
	}
	for (unsigned i = 0; i < atomic_load(&space_count) && result == 0; i++) {
		upage_space *space = spaces[i];
		if (!space->covered)
			continue;
		if (space_is_paged(space) && atomic_load(&space->pool->pinned) > 0)
			result = each_run_of_all(space, visit_cover, NULL);
		else
			result = hide_all(space);
	}
	hidden_in_part = result < 0;
	return result;
}

/* The pages of the spaces that are @covered are shown again. Return: 0 or a failure of the host's. */
static int uncover_all(void)
{
	int result = 0;
	for (unsigned i = 0; i < atomic_load(&space_count); i++) {
		upage_space *space = spaces[i];
		if (space->covered && space->cover != VIEW_PARENTS)
			space->cover = view_few(space->pool) || hidden_in_part ? VIEW_HIDDEN_FEW : VIEW_HIDDEN_MANY;
	}
	hidden_in_part = false;
	for (unsigned i = 0; i < atomic_load(&space_count); i++)
		if (spaces[i]->covered)
			spaces[i]->pool->mappings = 1;
	for (unsigned i = 0; i < atomic_load(&space_count); i++)
		if (spaces[i]->covered) /* and those that are to be laid count when they are */
			spaces[i]->pool->mappings += atomic_load(&spaces[i]->home.seams);
	for (unsigned i = 0; i < atomic_load(&space_count); i++) {
		upage_space *space = spaces[i];
		if (space->covered) {
			each_run_of_all(space, visit_uncover, &result);
			int shown = runs_show(&space->runs);
			result = shown < 0 ? shown : result;
			space->pool->mappings += runs_seams(&space->runs);
		}
		space->covered = false;
		space->cover = VIEW_HIDDEN_FEW;
	}
	return result;
}

/* In a child, whether what is its parent's is better replaced than hidden first. */
static bool is_replaced(const upage_space *space)
{
	return space->frozen && !space->covered && view_few(space->pool) &&
	       atomic_load(&space->home.seams) == 0;
}

/* A store's failure is no reason: the pages stay dirty, in the child too. */
void space_fork_sync(void)
{
	for (unsigned i = 0; i < atomic_load(&space_count); i++)
		if (spaces[i]->frozen)
			space_sync_range(spaces[i], spaces[i]->base,
			                 spaces[i]->base + spaces[i]->length);
}

void space_fork_end(void)
{
	uncover_all();
	for (unsigned i = 0; i < atomic_load(&space_count); i++) {
		if (spaces[i]->frozen) {
			spaces[i]->frozen = false;
			rwlock_write_release(&spaces[i]->lock);
		}
	}
	lock_release(&spaces_lock);
	lock_release(&space_shared_lock);
}

void space_fork_child(bool adopted)
{
	window_fork_child();
	for (unsigned i = 0; i < atomic_load(&space_count); i++) {
		upage_space *space = spaces[i];
		if (space->base == 0 || !space_is_lost(space))
			continue;
		if (adopted && is_replaced(space))
			space->cover = VIEW_PARENTS;
		else if (hide_all(space) < 0)
			host_die(); /* with the parent's memory open to us there is no going on */
	}
	for (unsigned i = 0; i < atomic_load(&space_count); i++) {
		upage_space *space = spaces[i];
		if (!space->frozen)
			continue;
		space->frozen = false;
		space->lock = (struct rwlock){ 0 }; /* those who waited are not here */
		space->covered = adopted;
		if (adopted)
			space->process = atomic_load(fork_word);
	}
	if (uncover_all() < 0)
		host_die();
	lock_release(&spaces_lock);
	lock_release(&space_shared_lock);
}

void space_wait_all(void)
{
	lock_acquire(&spaces_lock); /* page tables end under it */
	for (unsigned i = 0; i < atomic_load(&space_count); i++) {
		upage_space *space = spaces[i];
		if (space->base == 0 || space_is_lost(space))
			continue;
		space_write(space);
		each_run_of_all(space, visit_wait, NULL);
		space_write_end(space);
	}
	lock_release(&spaces_lock);
}
