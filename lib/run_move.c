/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run_move.c - runs go to other frames: to grow, to make room, and because they are told to
 *
 * Locks: run.h. Signal context: yes.
 * Source: OSTEP ch. 15 and 17 (relocation, compaction); Knuth, TAOCP vol. 1, 2.5.
 */
#include "compact.h"
#include "evict.h"
#include "host.h"
#include "run.h"

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
	int result = run_hide(run->of, run->start, run->end);
	for (struct run *other = run->sharer; other != NULL && other != run && result == 0; other = other->sharer)
		result = run_hide(other->of, other->start, other->end);
	return result;
}

static void show_at(struct run *run, uint64_t frame)
{
	run->frame = frame;
	runs_publish(run->of);
	if (run_show(run->of, run, run->start, run->end) < 0)
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
	uint64_t from = run->frame, count = run_frames(run->of, run);
	uint64_t distance = to < from ? from - to : to - from;
	bool overlap = distance < count, down = to < from;
	uint64_t fresh = overlap ? distance : count; /* frames that it gets, and loses */
	uint64_t gets = down || !overlap ? to : from + count, loses = down && overlap ? to + count : from;
	if (!enter_others(run, held))
		return UPAGE_EBUSY;
	bool pinned = run_is_pinned(run->of, run, run->start, run->end);
	bool taken = !pinned && frame_allocate_run_at(&pool->frames, gets, (uint32_t)fresh);
	int result = taken ? 0 : pinned ? UPAGE_EBUSY : UPAGE_ENOMEM;
	uint64_t start = host_nanoseconds();
	if (result == 0)
		result = hide_all(run);
	if (result == 0) {
		result = frame_move_run(&pool->frames, (uint32_t)from, (uint32_t)to, (uint32_t)count);
		if (result < 0 && overlap)
			host_die();
	}
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

int run_move(struct run *run, uint64_t to)
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
	return run_frames(runs, run) > 0;
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
		uint32_t count = run_frames(runs, run), room = 0;
		if (count > 0 && count <= most - done->moves)
			room = frame_free_below(&pool->frames, (uint32_t)run->frame);
		if (room > 0)
			move(run, held, run->frame - room, done);
		leave(runs, held);
	}
	lock_release(&pool->runs_lock);
}

/* @wanted: frames beside each other that are enough; 0: none are. */
static int compact(upage_pool *pool, struct runs *held, uint64_t max_moves, uint32_t wanted,
                   struct compact_result *done)
{
	uint64_t most = max_moves > 0 ? max_moves : UINT64_MAX;
	struct compact_result pages = { 0 };
	*done = pages;
	move_down(pool, held, most, done);
	uint64_t others = atomic_load(&pool->frames.free) + atomic_load(&pool->frames.in_runs);
	bool enough = wanted > 0 && frame_largest_run(&pool->frames) >= wanted;
	if (enough || others >= pool->frames.frames || done->moves >= most) {
		stats_count(pool->stats, COUNT_COMPACTIONS);
		return 0;
	}
	int result = wanted > 0 ? compact_make_run(pool, wanted, &pages)
	                        : compact_pool(pool, max_moves > 0 ? most - done->moves : 0, &pages);
	done->moves += pages.moves;
	done->pause_ns = done->pause_ns > pages.pause_ns ? done->pause_ns : pages.pause_ns;
	if (pages.moves > 0 && done->moves < most)
		move_down(pool, held, most, done);
	return result;
}

int runs_compact(upage_pool *pool, struct runs *held, uint64_t max_moves, struct compact_result *done)
{
	return compact(pool, held, max_moves, 0, done);
}

bool runs_move_up(upage_pool *pool, struct runs *held, uint64_t from, uint32_t count)
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

bool runs_make_free(upage_pool *pool, uint32_t count)
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

uint32_t runs_allocate(upage_pool *pool, struct runs *held, uint32_t count, bool middle)
{
	uint32_t pfn = frame_allocate_run(&pool->frames, count, middle);
	if (pfn != FRAME_NONE || !runs_make_free(pool, count))
		return pfn;
	struct compact_result done;
	compact(pool, held, 0, count, &done);
	return frame_allocate_run(&pool->frames, count, middle);
}

bool runs_have_room_twice(struct runs *runs)
{
	for (unsigned i = 0; i < runs->count; i++) {
		uint32_t count = run_frames(runs, &runs->run[i]);
		uint32_t pfn = count > 0 ? runs_allocate(runs->pool, runs, count, false) : FRAME_NONE;
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
	uint32_t count = run_frames(runs, run);
	if (count == 0 || run_is_pinned(runs, run, run->start, run->end))
		return 0;
	uint32_t to = frame_allocate_run(&runs->pool->frames, count, false);
	if (to != FRAME_NONE) {
		frame_free_run(&runs->pool->frames, to, count); /* move() takes it */
		return run_move(run, to) == 0 ? count : 0;
	}
	/* Not apart from where it is: a little down, or up. */
	uint32_t below = frame_free_below(&runs->pool->frames, (uint32_t)run->frame);
	if (below > 0)
		return run_move(run, run->frame - below) == 0 ? count : 0;
	return run_move(run, run->frame + 1) == 0 ? count : 0;
}

int run_extend(struct runs *runs, struct run *run, uint32_t more)
{
	struct upage_pool *pool = runs->pool;
	struct frame_table *frames = &pool->frames;
	uint32_t count = run_frames(runs, run);
	if (count == 0) {
		uint32_t pfn = runs_allocate(pool, runs, more, !run->fixed);
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
		if (!runs_make_free(pool, more))
			return UPAGE_ENOMEM;
		if (attempt == 0) {
			/* To the middle of what is free, so that this is seldom needed again. */
			uint32_t pfn = frame_allocate_run(frames, count + more, true);
			if (pfn == FRAME_NONE)
				continue;
			frame_free_run(frames, pfn, count + more);
			int result = run_move(run, pfn + (run->grows_down ? more : 0));
			if (result < 0 && result != UPAGE_ENOMEM)
				return result;
		} else if (attempt == 1) {
			struct compact_result done;
			runs_compact(pool, runs, 0, &done);
			runs_move_up(pool, runs, run->grows_down ? run->frame : run->frame + 1, more);
		}
	}
	return UPAGE_ENOMEM;
}
