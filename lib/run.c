/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run.h"

#include "compact.h"
#include "evict.h"
#include "host.h"

static size_t pages_of(const struct runs *runs, uintptr_t start, uintptr_t end)
{
	return (end - start) >> runs->pool->frames.page_shift;
}

static uint32_t frames_of(const struct runs *runs, const struct run *run)
{
	return runs->out ? 0 : (uint32_t)pages_of(runs, run->start, run->end);
}

/* Of those that share frames, one counts them. */
static bool counts(const struct run *run)
{
	for (const struct run *other = run->sharer; other != NULL && other != run; other = other->sharer)
		if (other < run)
			return false;
	return true;
}

uint64_t runs_frames(const struct runs *runs)
{
	uint64_t frames = 0;
	for (unsigned i = 0; i < runs->count; i++)
		frames += counts(&runs->run[i]) ? frames_of(runs, &runs->run[i]) : 0;
	return frames;
}

struct run *run_of(struct runs *runs, uintptr_t address)
{
	for (unsigned i = 0; i < runs->count; i++)
		if (address >= runs->run[i].low && address < runs->run[i].high)
			return &runs->run[i];
	return NULL;
}

static uint32_t frame_at(const struct runs *runs, const struct run *run, uintptr_t address)
{
	return (uint32_t)(run->frame + pages_of(runs, run->start, address));
}

bool run_is_pinned(const struct runs *runs, const struct run *run, uintptr_t start, uintptr_t end)
{
	const struct frame *frame = runs->pool->frames.frame;
	if (atomic_load(&runs->pool->pinned) == 0 || runs->out || start >= end)
		return false;
	for (uint32_t pfn = frame_at(runs, run, start); start < end; start += page_size(runs->pool), pfn++)
		if (frame[pfn].pins > 0)
			return true;
	return false;
}

/* ---- Registers ----------------------------------------------------------------------------- */

/* What the hardware would be told: the runs as they are now. */
static void publish(struct runs *runs)
{
	unsigned shift = runs->pool->frames.page_shift;
	for (unsigned i = 0; i < runs->count; i++) {
		const struct run *run = &runs->run[i];
		uint64_t bytes = runs->out ? 0 : run->end - run->start, first = run->frame << shift;
		runs->segment[i] = (struct segment){ .base = first + (run->grows_down ? bytes : 0),
			                             .bounds = bytes,
			                             .prot = run->prot != PROT_NONE ? run->prot | PROT_READ
			                                                            : PROT_NONE,
			                             .present = bytes > 0,
			                             .grows_down = run->grows_down };
	}
	if (runs->count == 1)
		base_bounds_init(&runs->registers, runs->segment[0].base, runs->segment[0].bounds);
}

/* ---- What the host shows --------------------------------------------------------------------- */

#define SEAMS 2 /* of a run, with what is beside it */

unsigned runs_seams(const struct runs *runs)
{
	unsigned seams = 0;
	for (unsigned i = 0; i < runs->count; i++)
		seams += frames_of(runs, &runs->run[i]) > 0 ? SEAMS : 0;
	return seams;
}

/* How many there were before something changed, and are now. */
static void count_seams(struct runs *runs, unsigned before)
{
	struct upage_pool *pool = runs->pool;
	lock_acquire(&pool->mapping_lock);
	pool->mappings += runs_seams(runs);
	pool->mappings -= before;
	if (pool->mappings > pool->mappings_peak)
		pool->mappings_peak = pool->mappings;
	lock_release(&pool->mapping_lock);
}

/* Of [start, end) of a run, all that may be shown. */
static int show(const struct runs *runs, const struct run *run, uintptr_t start, uintptr_t end)
{
	const struct frame_table *frames = &runs->pool->frames;
	start = start > runs->lowest ? start : runs->lowest;
	if (runs->out || start >= end || run->prot == PROT_NONE)
		return 0;
	uintptr_t displacement = window_enter(runs->place);
	int result = host_show_lazily(frames->memory, start + displacement,
	                              frame_offset(frames, frame_at(runs, run, start)), end - start,
	                              run->prot | PROT_READ);
	window_exit(runs->place);
	return result;
}

static int hide(const struct runs *runs, uintptr_t start, uintptr_t end)
{
	start = start > runs->lowest ? start : runs->lowest;
	uintptr_t displacement = window_enter(runs->place);
	int result = start < end ? host_hide(start + displacement, end - start) : 0;
	window_exit(runs->place);
	return result;
}

int runs_hide(struct runs *runs)
{
	int result = 0;
	for (unsigned i = 0; i < runs->count && result == 0; i++)
		result = hide(runs, runs->run[i].start, runs->run[i].end);
	return result;
}

int runs_show(struct runs *runs)
{
	int result = 0;
	for (unsigned i = 0; i < runs->count && result == 0; i++)
		result = show(runs, &runs->run[i], runs->run[i].start, runs->run[i].end);
	return result;
}

int run_protect(struct runs *runs, struct run *run, int prot)
{
	int before = run->prot;
	if (prot == before)
		return 0;
	run->prot = prot;
	int result = prot == PROT_NONE ? hide(runs, run->start, run->end)
	                               : show(runs, run, run->start, run->end);
	if (result < 0)
		run->prot = before;
	publish(runs);
	return result;
}

/* ---- Moving ---------------------------------------------------------------------------------- */

/* The lock of a space is tried, unless it is @held. */
static bool enter(struct runs *runs, const struct runs *held)
{
	return runs == held || rwlock_trywrite(runs->lock);
}

static void leave(struct runs *runs, const struct runs *held)
{
	if (runs != held)
		rwlock_write_release(runs->lock);
}

/* Of the others that share a run, up to @end, which has not been entered. */
static void leave_others(struct run *run, const struct run *end, const struct runs *held)
{
	for (struct run *other = run->sharer; other != NULL && other != end; other = other->sharer)
		leave(other->of, held);
}

/* All that share it can be moved, too: their locks are held, beside @held and the run's own. */
static bool enter_others(struct run *run, const struct runs *held)
{
	for (struct run *other = run->sharer; other != NULL && other != run; other = other->sharer) {
		if (enter(other->of, held))
			continue;
		leave_others(run, other, held);
		return false;
	}
	return true;
}

static int hide_all(struct run *run)
{
	int result = hide(run->of, run->start, run->end);
	for (struct run *other = run->sharer; other != NULL && other != run && result == 0; other = other->sharer)
		result = hide(other->of, other->start, other->end);
	return result;
}

static void show_at(struct run *run, uint64_t frame)
{
	run->frame = frame;
	publish(run->of);
	if (show(run->of, run, run->start, run->end) < 0)
		host_die(); /* what it had is there, and nobody could ever see it again */
}

static void show_all_at(struct run *run, uint64_t frame)
{
	show_at(run, frame);
	for (struct run *other = run->sharer; other != NULL && other != run; other = other->sharer)
		show_at(other, frame);
}

/* To frames of which those that are not its own already are free. A failure in the midst of a move to
 * frames that overlap the old ones would lose some: it can only be the host's memory that is at its end.
 * The pool's runs_lock is held, and the locks of the run's space and of @held. */
static int move(struct run *run, struct runs *held, uint64_t to, struct compact_result *done)
{
	struct upage_pool *pool = run->of->pool;
	uint64_t from = run->frame, count = frames_of(run->of, run);
	uint64_t distance = to < from ? from - to : to - from;
	bool overlap = distance < count, down = to < from;
	uint64_t fresh = overlap ? distance : count; /* frames that it gets, and loses */
	uint64_t gets = down || !overlap ? to : from + count, loses = down && overlap ? to + count : from;
	if (run_is_pinned(run->of, run, run->start, run->end) || !enter_others(run, held))
		return UPAGE_EBUSY;
	bool taken = frame_allocate_run_at(&pool->frames, gets, (uint32_t)fresh);
	int result = taken ? 0 : UPAGE_ENOMEM;
	uint64_t start = host_nanoseconds();
	if (result == 0)
		result = hide_all(run);
	if (result == 0)
		result = frame_move_run(&pool->frames, (uint32_t)from, (uint32_t)to, (uint32_t)count);
	if (result < 0 && taken && overlap)
		host_die();
	if (taken)
		show_all_at(run, result == 0 ? to : from);
	if (result == 0) {
		uint64_t pause = host_nanoseconds() - start;
		stats_count_many(pool->stats, COUNT_MOVES, count);
		stats_pause(pool->stats, pause);
		done->moves += count;
		done->pause_ns = done->pause_ns > pause ? done->pause_ns : pause;
	}
	leave_others(run, run, held);
	if (taken)
		frame_free_run(&pool->frames, (uint32_t)(result == 0 ? loses : gets), (uint32_t)fresh);
	return result;
}

/* The same of who has no runs_lock. */
static int move_alone(struct run *run, uint64_t to)
{
	struct upage_pool *pool = run->of->pool;
	struct compact_result done = { 0 };
	stats_count(pool->stats, COUNT_COMPACTIONS);
	lock_acquire(&pool->runs_lock);
	int result = move(run, run->of, to, &done);
	lock_release(&pool->runs_lock);
	return result;
}

static bool is_in_memory(const struct runs *runs, const struct run *run)
{
	return frames_of(runs, run) > 0;
}

/* Of all runs of the pool, the next in memory: above frame @after, or below it. The pool's runs_lock is
 * held. */
static struct run *next_run(upage_pool *pool, uint64_t after, bool up, struct runs **of)
{
	struct run *next = NULL;
	for (struct runs *runs = pool->runs; runs != NULL; runs = runs->next) {
		for (unsigned i = 0; i < runs->count; i++) {
			struct run *run = &runs->run[i];
			bool beyond = up ? run->frame > after || after == UINT64_MAX : run->frame < after;
			bool nearer = next == NULL || (up ? run->frame < next->frame : run->frame > next->frame);
			if (!is_in_memory(runs, run) || !beyond || !nearer)
				continue;
			next = run;
			*of = runs;
		}
	}
	return next;
}

static void move_down(upage_pool *pool, struct runs *held, uint64_t most, struct compact_result *done)
{
	uint64_t at = UINT64_MAX;
	struct runs *runs = NULL;
	struct run *run;
	lock_acquire(&pool->runs_lock);
	while ((run = next_run(pool, at, true, &runs)) != NULL) {
		at = run->frame;
		if (!enter(runs, held))
			continue;
		uint32_t count = frames_of(runs, run), room = 0;
		if (count > 0 && count <= most - done->moves)
			room = frame_free_below(&pool->frames, (uint32_t)run->frame);
		if (room > 0)
			move(run, held, run->frame - room, done);
		leave(runs, held);
	}
	lock_release(&pool->runs_lock);
}

int runs_compact(upage_pool *pool, struct runs *held, uint64_t max_moves, struct compact_result *done)
{
	uint64_t most = max_moves > 0 ? max_moves : UINT64_MAX;
	struct compact_result pages = { 0 };
	*done = pages;
	move_down(pool, held, most, done);
	uint64_t others = atomic_load(&pool->frames.free) + atomic_load(&pool->frames.in_runs);
	if (others >= pool->frames.frames || done->moves >= most) {
		stats_count(pool->stats, COUNT_COMPACTIONS);
		return 0;
	}
	int result = compact_pool(pool, max_moves > 0 ? most - done->moves : 0, &pages);
	done->moves += pages.moves;
	done->pause_ns = done->pause_ns > pages.pause_ns ? done->pause_ns : pages.pause_ns;
	if (pages.moves > 0 && done->moves < most)
		move_down(pool, held, most, done);
	return result;
}

/* Runs from frame @from on move up by @count, the highest first. */
static bool move_up(upage_pool *pool, struct runs *held, uint64_t from, uint32_t count)
{
	uint64_t at = pool->frames.frames;
	struct runs *runs = NULL;
	struct run *run;
	bool moved = true;
	struct compact_result done = { 0 };
	lock_acquire(&pool->runs_lock);
	while (moved && (run = next_run(pool, at, false, &runs)) != NULL && run->frame >= from) {
		at = run->frame;
		moved = enter(runs, held);
		if (!moved)
			break;
		if (run->frame >= from && is_in_memory(runs, run))
			moved = move(run, held, run->frame + count, &done) == 0;
		leave(runs, held);
	}
	lock_release(&pool->runs_lock);
	return moved;
}

/* Pages leave memory until @count frames are free, wherever, if so many can be. Return: whether they are. */
static bool make_free(upage_pool *pool, uint32_t count)
{
	struct frame_table *frames = &pool->frames;
	uint32_t pfn;
	while (atomic_load(&frames->free) < count) {
		if (atomic_load(&frames->free) + atomic_load(&pool->replace.held) < count ||
		    evict_any(pool, FRAME_NONE, &pfn) < 0)
			return false;
		frame_free(frames, pfn, 1);
	}
	return true;
}

/* @count frames beside each other, zeros; after evictions and compaction where that takes them. */
static uint32_t allocate(upage_pool *pool, struct runs *held, uint32_t count, bool middle)
{
	uint32_t pfn = frame_allocate_run(&pool->frames, count, middle);
	if (pfn != FRAME_NONE || !make_free(pool, count))
		return pfn;
	struct compact_result done;
	runs_compact(pool, held, 0, &done);
	return frame_allocate_run(&pool->frames, count, middle);
}

bool runs_have_room_twice(struct runs *runs)
{
	for (unsigned i = 0; i < runs->count; i++) {
		uint32_t count = frames_of(runs, &runs->run[i]);
		uint32_t pfn = count > 0 ? allocate(runs->pool, runs, count, false) : FRAME_NONE;
		if (count > 0 && pfn == FRAME_NONE)
			return false;
		if (count > 0)
			frame_free_run(&runs->pool->frames, pfn, count);
	}
	return true;
}

uint64_t runs_relocate(struct runs *runs, unsigned which)
{
	struct run *run = &runs->run[which % runs->count];
	uint32_t count = frames_of(runs, run);
	if (count == 0 || run_is_pinned(runs, run, run->start, run->end))
		return 0;
	uint32_t to = frame_allocate_run(&runs->pool->frames, count, false);
	if (to != FRAME_NONE) {
		frame_free_run(&runs->pool->frames, to, count); /* move() takes it */
		return move_alone(run, to) == 0 ? count : 0;
	}
	/* Not apart from where it is: a little down, or up. */
	uint32_t below = frame_free_below(&runs->pool->frames, (uint32_t)run->frame);
	if (below > 0)
		return move_alone(run, run->frame - below) == 0 ? count : 0;
	return move_alone(run, run->frame + 1) == 0 ? count : 0;
}

/* ---- Size ------------------------------------------------------------------------------------ */

/* The frames of @more pages at the end that moves: beside the run, which stays where it is, or moves.
 * Return: 0; UPAGE_ENOMEM, UPAGE_EBUSY. */
static int extend(struct runs *runs, struct run *run, uint32_t more)
{
	struct upage_pool *pool = runs->pool;
	struct frame_table *frames = &pool->frames;
	uint32_t count = frames_of(runs, run);
	if (count == 0) {
		uint32_t pfn = allocate(pool, runs, more, !run->fixed);
		run->frame = pfn;
		return pfn != FRAME_NONE ? 0 : UPAGE_ENOMEM;
	}
	for (int attempt = 0; attempt < 3; attempt++) {
		uint64_t beside = run->grows_down ? run->frame - more : run->frame + count;
		if (beside < frames->frames && frame_allocate_run_at(frames, beside, more)) {
			run->frame -= run->grows_down ? more : 0;
			return 0;
		}
		if (run_is_pinned(runs, run, run->start, run->end))
			return UPAGE_EBUSY;
		if (!make_free(pool, more))
			return UPAGE_ENOMEM;
		if (attempt == 0) {
			/* To the middle of what is free, so that this is seldom needed again. */
			uint32_t pfn = frame_allocate_run(frames, count + more, true);
			if (pfn == FRAME_NONE)
				continue;
			frame_free_run(frames, pfn, count + more);
			int result = move_alone(run, pfn + (run->grows_down ? more : 0));
			if (result < 0 && result != UPAGE_ENOMEM)
				return result;
		} else if (attempt == 1) {
			struct compact_result done;
			runs_compact(pool, runs, 0, &done);
			move_up(pool, runs, run->grows_down ? run->frame : run->frame + 1, more);
		}
	}
	return UPAGE_ENOMEM;
}

/* ---- Sharing --------------------------------------------------------------------------------- */

int run_share(struct run *run, struct run *with)
{
	struct runs *runs = run->of;
	unsigned seams = runs_seams(runs);
	if (run->start < run->end)
		return UPAGE_EBUSY;
	if (frames_of(with->of, with) == 0)
		return UPAGE_ENOTMAPPED;
	if (with->prot & PROT_WRITE)
		return UPAGE_EACCES;
	const struct run before = *run;
	run->grows_down = with->grows_down;
	run->start = run->low + (with->start - with->low);
	run->end = run->low + (with->end - with->low);
	run->frame = with->frame;
	run->prot = with->prot;
	int result = show(runs, run, run->start, run->end);
	if (result < 0) {
		*run = before;
		return result;
	}
	lock_acquire(&runs->pool->runs_lock);
	run->sharer = with->sharer != NULL ? with->sharer : with;
	with->sharer = run;
	lock_release(&runs->pool->runs_lock);
	publish(runs);
	count_seams(runs, seams);
	return 0;
}

/* Return: whether others have the frames still. */
static bool unshare(struct run *run)
{
	struct upage_pool *pool = run->of->pool;
	lock_acquire(&pool->runs_lock);
	bool shared = run->sharer != NULL;
	if (shared) {
		struct run *before = run->sharer;
		while (before->sharer != run)
			before = before->sharer;
		before->sharer = run->sharer != before ? run->sharer : NULL;
		run->sharer = NULL;
	}
	lock_release(&pool->runs_lock);
	return shared;
}

/* All that may fail comes before anything is given up. */
static int grow(struct runs *runs, struct run *run, uintptr_t start, uintptr_t end)
{
	if (run->sharer != NULL)
		return UPAGE_EBUSY;
	uint32_t more = (uint32_t)(pages_of(runs, start, end) - frames_of(runs, run));
	int result = runs->out ? 0 : extend(runs, run, more);
	if (result < 0)
		return result;
	uintptr_t old_start = run->start, old_end = run->end;
	run->start = start;
	run->end = end;
	result = run->grows_down ? show(runs, run, start, old_start) : show(runs, run, old_end, end);
	if (result < 0) {
		uint64_t pfn = run->grows_down ? run->frame : run->frame + pages_of(runs, old_start, old_end);
		run->start = old_start;
		run->end = old_end;
		run->frame += run->grows_down ? more : 0;
		frame_free_run(&runs->pool->frames, (uint32_t)pfn, more);
	}
	return result;
}

static int shrink(struct runs *runs, struct run *run, uintptr_t start, uintptr_t end)
{
	uint32_t less = (uint32_t)(frames_of(runs, run) - pages_of(runs, start, end));
	uint64_t pfn = run->grows_down ? run->frame : run->frame + pages_of(runs, start, end);
	if (run->sharer != NULL && start < end)
		return UPAGE_EBUSY;
	int result = run->grows_down ? hide(runs, run->start, start) : hide(runs, end, run->end);
	if (result < 0)
		return result;
	bool shared = unshare(run);
	run->frame += run->grows_down ? less : 0;
	run->start = start;
	run->end = end;
	if (!shared)
		frame_free_run(&runs->pool->frames, (uint32_t)pfn, less);
	return 0;
}

int run_resize(struct runs *runs, struct run *run, uintptr_t start, uintptr_t end)
{
	unsigned seams = runs_seams(runs);
	if (start == run->start && end == run->end)
		return 0;
	if (start < run->low || end > run->high)
		return UPAGE_ENOMEM;
	int result = end - start > run->end - run->start ? grow(runs, run, start, end)
	                                                 : shrink(runs, run, start, end);
	publish(runs);
	count_seams(runs, seams);
	return result;
}

/* ---- Content --------------------------------------------------------------------------------- */

int run_zero(struct runs *runs, uintptr_t start, uintptr_t end)
{
	const struct frame_table *frames = &runs->pool->frames;
	const struct run *run = run_of(runs, start);
	return host_punch(frames->memory, frame_offset(frames, frame_at(runs, run, start)), end - start);
}

int run_read(struct runs *runs, uintptr_t page, void *buffer)
{
	return frame_read(&runs->pool->frames, frame_at(runs, run_of(runs, page), page), buffer);
}

int run_write(struct runs *runs, uintptr_t page, const void *buffer)
{
	return frame_write(&runs->pool->frames, frame_at(runs, run_of(runs, page), page), buffer);
}

/* ---- Swapping whole spaces ------------------------------------------------------------------- */

/* The entry of a page, in the space's table: its first page is number 0. */
static upage_vpn vpn_of(const struct runs *runs, uintptr_t page)
{
	return (page - runs->lowest) >> runs->pool->frames.page_shift;
}

static int swap_out_page(struct runs *runs, uintptr_t page, char *buffer)
{
	struct upage_pool *pool = runs->pool;
	int result = run_read(runs, page, buffer);
	if (result < 0 || buffer_is_zero(buffer, page_size(pool)))
		return result;
	pte_t *pte = page_table_make(runs->table, vpn_of(runs, page));
	uint32_t slot = pte != NULL ? swap_allocate(pool->swap, SWAP_NONE) : SWAP_NONE;
	if (slot == SWAP_NONE)
		return pte != NULL ? UPAGE_ENOSPC : UPAGE_ENOMEM;
	result = swap_transfer(pool->swap, STORE_WRITE, slot, buffer);
	stats_count(pool->stats, result < 0 ? COUNT_WRITEBACK_FAILURES : COUNT_WRITEBACKS);
	if (result == 0)
		atomic_store(pte, pte_make(slot, PTE_SWAPPED));
	else
		swap_free(pool->swap, slot);
	return result;
}

/* Each page that has a slot: gives it up, with @buffer after it was read into its frame. */
static int each_slot(struct runs *runs, char *buffer, bool give_up)
{
	struct upage_pool *pool = runs->pool;
	int result = 0;
	for (unsigned i = 0; i < runs->count; i++) {
		uintptr_t start = runs->run[i].start > runs->lowest ? runs->run[i].start : runs->lowest;
		for (uintptr_t page = start; page < runs->run[i].end && result == 0; page += page_size(pool)) {
			pte_t *pte = page_table_walk(runs->table, vpn_of(runs, page));
			uint64_t value = pte != NULL ? atomic_load(pte) : 0;
			if (!(value & PTE_SWAPPED))
				continue;
			uint32_t slot = (uint32_t)pte_number(value);
			if (buffer != NULL)
				result = swap_transfer(pool->swap, STORE_READ, slot, buffer);
			if (buffer != NULL && result == 0)
				result = run_write(runs, page, buffer);
			if (give_up) {
				swap_free(pool->swap, slot);
				atomic_store(pte, 0);
			}
		}
	}
	return result;
}

static void free_frames(struct runs *runs)
{
	for (unsigned i = 0; i < runs->count; i++)
		if (frames_of(runs, &runs->run[i]) > 0 && !unshare(&runs->run[i]))
			frame_free_run(&runs->pool->frames, (uint32_t)runs->run[i].frame,
			               frames_of(runs, &runs->run[i]));
}

int runs_swap_out(struct runs *runs)
{
	unsigned seams = runs_seams(runs);
	if (runs->out)
		return 0;
	int result = 0;
	for (unsigned i = 0; i < runs->count && result == 0; i++)
		if (runs->run[i].sharer != NULL ||
		    run_is_pinned(runs, &runs->run[i], runs->run[i].start, runs->run[i].end))
			result = UPAGE_EBUSY;
	if (result < 0)
		return result;
	result = runs_hide(runs);
	char *buffer = buffer_take(&runs->pool->buffers);
	for (unsigned i = 0; i < runs->count && result == 0; i++) {
		uintptr_t start = runs->run[i].start > runs->lowest ? runs->run[i].start : runs->lowest;
		for (uintptr_t page = start; page < runs->run[i].end && result == 0; page += page_size(runs->pool))
			result = swap_out_page(runs, page, buffer);
	}
	buffer_give(&runs->pool->buffers, buffer);
	if (result < 0) {
		each_slot(runs, NULL, true);
		if (runs_show(runs) < 0)
			host_die();
		return result;
	}
	free_frames(runs);
	runs->out = true;
	publish(runs);
	count_seams(runs, seams);
	return 0;
}

int runs_swap_in(struct runs *runs)
{
	if (!runs->out)
		return 0;
	int result = 0;
	unsigned done = 0;
	unsigned seams = runs_seams(runs);
	for (; done < runs->count && result == 0; done++) {
		struct run *run = &runs->run[done];
		uint32_t pages = (uint32_t)pages_of(runs, run->start, run->end);
		uint32_t pfn = pages > 0 ? allocate(runs->pool, runs, pages, !run->fixed) : 0;
		result = pfn == FRAME_NONE ? UPAGE_ENOMEM : 0;
		if (result < 0)
			break;
		run->frame = pfn;
	}
	runs->out = false;
	if (result == 0) {
		char *buffer = buffer_take(&runs->pool->buffers);
		result = each_slot(runs, buffer, false);
		buffer_give(&runs->pool->buffers, buffer);
	}
	if (result == 0)
		result = runs_show(runs);
	if (result < 0) {
		runs_hide(runs);
		for (unsigned i = 0; i < done; i++)
			if (frames_of(runs, &runs->run[i]) > 0)
				frame_free_run(&runs->pool->frames, (uint32_t)runs->run[i].frame,
				               frames_of(runs, &runs->run[i]));
		runs->out = true;
		return result;
	}
	each_slot(runs, NULL, true);
	publish(runs);
	count_seams(runs, seams);
	return 0;
}

/* ---- Making and ending ------------------------------------------------------------------------- */

static void set_part(struct runs *runs, struct run *run, uintptr_t low, uintptr_t high, bool grows_down)
{
	uintptr_t at = grows_down ? high : low;
	*run = (struct run){
		.low = low, .high = high, .start = at, .end = at, .grows_down = grows_down, .of = runs
	};
}

void run_turn(struct run *run, bool grows_down)
{
	if (run->start == run->end)
		set_part(run->of, run, run->low, run->high, grows_down);
}

bool runs_can_be_segments(size_t length, size_t page_size)
{
	return is_power_of_two(length) && length >> SEGMENT_BITS >= page_size;
}

int runs_init(struct runs *runs, upage_pool *pool, bool segments, uintptr_t origin, size_t length,
              uintptr_t lowest, size_t bounds)
{
	uint64_t part = length >> SEGMENT_BITS;
	int result = 0;
	if (segments && !runs_can_be_segments(length, frame_size(&pool->frames)))
		return UPAGE_EINVAL;
	runs->count = segments ? SEGMENTS : 1;
	runs->origin = origin;
	runs->lowest = lowest;
	runs->pool = pool;
	runs->out = false;
	for (unsigned i = 0; i < SEGMENTS && segments; i++) {
		runs->segment[i] = (struct segment){ 0 };
		set_part(runs, &runs->run[i], origin + i * part, origin + (i + 1) * part,
		         i == SEGMENT_STACK);
	}
	if (segments)
		result = segment_table_init(&runs->segments, runs->segment, SEGMENT_BITS, log2_floor(part));
	else
		set_part(runs, &runs->run[0], origin, origin + length, false);
	if (!segments)
		runs->run[0].prot = PROT_READ | PROT_WRITE | PROT_EXEC;
	publish(runs);
	if (result == 0 && bounds > 0) {
		runs->run[0].high = origin + bounds;
		runs->run[0].fixed = true;
		result = run_resize(runs, &runs->run[0], origin, origin + bounds);
	}
	if (result < 0) {
		runs->count = 0;
		return result;
	}
	lock_acquire(&pool->runs_lock);
	runs->next = pool->runs;
	pool->runs = runs;
	lock_release(&pool->runs_lock);
	return 0;
}

void runs_end(struct runs *runs)
{
	struct upage_pool *pool = runs->pool;
	unsigned seams = runs_seams(runs);
	if (runs->count == 0)
		return;
	lock_acquire(&pool->runs_lock);
	for (struct runs **link = &pool->runs; *link != NULL; link = &(*link)->next) {
		if (*link == runs) {
			*link = runs->next;
			break;
		}
	}
	lock_release(&pool->runs_lock);
	if (runs->out)
		each_slot(runs, NULL, true);
	else
		free_frames(runs);
	runs->out = true;
	count_seams(runs, seams);
	runs->count = 0;
}
