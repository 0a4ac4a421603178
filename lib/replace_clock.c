/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replace_clock.c - CLOCK, or second chance, with fewer looks at what is always in use: the default
 *
 * Frames are a circle in the order of their numbers, each with a reference bit that is set when
 * a page is placed and when a reference shows. The hand clears the bits it meets (and has the
 * host forget them) and offers the first frame whose bit is clear already. If that turns out to
 * have been referenced since, its bit is set again, and the hand goes on.
 *
 * A look at a page that is in use costs more than one that evicts: the host forgets the reference,
 * and makes it again. So each look that finds a page in use adds a step, each that finds it idle takes one
 * away, and on step 1, 2, 3 ... 6 the hand passes by for the next 0, 1, 3 ... 31 rounds. What is idle on the
 * lowest loses its frame. That also tells pages that are in use more often from those that happen to
 * be: xz in half of its memory takes a third fewer major faults than by the plain clock, and as many looks.
 *
 *      held == false              no page in the frame
 *      passes > 0                 as often the hand passes by, leaving the bit as it is
 *      referenced == false        not referenced since it was cleared: a candidate
 *      looked                     what a look ahead of the hand, not long ago, has found
 *      doubted                    the page came along for no reason, and no reference has been seen
 *
 * What is doubted meets a second hand, an eighth of the circle ahead, which clears its bit: the first one offers it when
 * it comes, a round before those that were asked for. For these alone: all by two hands took a quarter more faults,
 * since what is seen in a short time says too little. Eight programs in 0.4 to 0.75 of their memory take 7 % fewer major
 * faults so (geometric mean); xz -0 and gzip in a half, 30 %.
 *
 * With the bit set on placement the hand sees just what it would see in hardware reference bits.
 * What a look at them costs is bounded where candidates are taken (evict.c): when nearly all pages
 * are in use, finding one that is not would cost more than it saves.
 * Source: Corbato, "A Paging Experiment with the Multics System", 1968; OSTEP ch. 22; Smith,
 * "Sequentiality and Prefetching in Database Systems", TODS 1978 (the generalized clock); Leffler et al., "The Design
 * and Implementation of the 4.3BSD UNIX Operating System", 1989, ch. 5 (two hands).
 */
#include "replace.h"

/* Until the hand has gone round as often as a frame may be passed by, it offers none more often than
 * there are steps, and once: REPLACE_OFFERS. One step more saves xz nothing, and costs perl, which
 * fills a table, sorts it, and looks things up in it, a tenth more faults in a quarter of its memory. */
#define STEP_MAX 6
#define PASSES_MAX ((1u << (STEP_MAX - 1)) - 1)

/* The host is made to forget many references by one call, but before the hand has gone an eighth of the
 * circle: what is looked at then had nearly a round to be referenced in. */
#define PATIENCE 8

/* How far ahead of the hand what is doubted is aged: so much of the circle. Half of that is left to be referenced in. */
#define FRONT 8
#define PATIENCE_DOUBTED (2 * FRONT)

/* How far ahead of the hand frames are looked at: a sixteenth of the circle, but so many at most. What
 * they know grows old until the hand comes. */
#define AHEAD 16
#define AHEAD_MAX 256

/* One atomic word: whoever has the frame's page locked changes it, and the hand meanwhile. */
struct clock_frame {
	uint8_t held : 1;
	uint8_t referenced : 1;
	uint8_t step : 3; /* looks that found it in use, less those that did not */
	uint8_t looked : 2; /* enum look */
	uint8_t doubted : 1;
	uint8_t passes;
};

struct clock {
	uint64_t frames;
	_Atomic uint64_t end; /* past the highest frame ever held: what the hand goes round */
	/* The policy's lock guards the hand's way. */
	_Atomic uint64_t hand;
	uint64_t patience; /* steps of the hand until the host has to forget what is aged */
	_Atomic(struct clock_frame) frame[];
};

static size_t clock_state_size(uint64_t frames)
{
	return sizeof(struct clock) + frames * sizeof(struct clock_frame);
}

static void clock_init(void *state, uint64_t frames, uint64_t seed)
{
	struct clock *clock = state;
	(void)seed;
	clock->frames = frames;
}

/* The hand goes as far as there is a frame. */
static void note_held(struct clock *clock, upage_pfn pfn)
{
	INVARIANT(pfn < clock->frames && !atomic_load(&clock->frame[pfn]).held);
	uint64_t end = atomic_load_explicit(&clock->end, memory_order_relaxed);
	while (pfn >= end && !atomic_compare_exchange_weak(&clock->end, &end, pfn + 1))
		;
}

static void clock_insert(void *state, upage_pfn pfn)
{
	struct clock *clock = state;
	note_held(clock, pfn);
	atomic_store_explicit(&clock->frame[pfn], ((struct clock_frame){ .held = true, .referenced = true }),
	                      memory_order_release);
}

static void clock_doubt(void *state, upage_pfn pfn)
{
	struct clock *clock = state;
	struct clock_frame seen = atomic_load(&clock->frame[pfn]), next;
	do {
		next = seen;
		next.doubted = true;
	} while (!atomic_compare_exchange_weak(&clock->frame[pfn], &seen, next));
}

static void pass_by(struct clock_frame *frame)
{
	frame->passes = (uint8_t)((1u << (frame->step - 1)) - 1);
}

static void clock_touch(void *state, upage_pfn pfn)
{
	struct clock *clock = state;
	struct clock_frame seen = atomic_load(&clock->frame[pfn]), next;
	do {
		if (!seen.held || (seen.referenced && !seen.doubted))
			return;
		next = seen;
		next.doubted = false;
		if (!seen.referenced) {
			next.referenced = true;
			next.looked = LOOK_NONE;
			if (next.step < STEP_MAX)
				next.step++;
			pass_by(&next);
		}
	} while (!atomic_compare_exchange_weak(&clock->frame[pfn], &seen, next));
}

static bool clock_idle(void *state, upage_pfn pfn)
{
	struct clock *clock = state;
	struct clock_frame seen = atomic_load(&clock->frame[pfn]), next;
	do {
		if (!seen.held || seen.step <= 1)
			return false;
		next = seen;
		next.step--;
		pass_by(&next);
	} while (!atomic_compare_exchange_weak(&clock->frame[pfn], &seen, next));
	return true;
}

static bool is_candidate(struct clock_frame frame)
{
	return frame.held && frame.passes == 0 && !frame.referenced;
}

/* If the hand is just before it, and a look would take it off the lowest step. */
static bool clock_follows(void *state, upage_pfn pfn)
{
	struct clock *clock = state;
	struct clock_frame seen = atomic_load(&clock->frame[pfn]), next;
	do {
		if (atomic_load(&clock->hand) != pfn || !is_candidate(seen) || seen.step > 1)
			return false;
		next = seen;
		next.looked = LOOK_NONE;
	} while (!atomic_compare_exchange_weak(&clock->frame[pfn], &seen, next));
	atomic_store(&clock->hand, pfn + 1);
	return true;
}

static unsigned clock_ahead(void *state, upage_pfn *frames)
{
	struct clock *clock = state;
	uint64_t end = atomic_load(&clock->end);
	uint64_t far = end / AHEAD < AHEAD_MAX ? end / AHEAD : AHEAD_MAX;
	unsigned count = 0;
	for (upage_pfn pfn = atomic_load(&clock->hand); far > 0 && pfn < end; far--, pfn++) {
		struct clock_frame frame = atomic_load(&clock->frame[pfn]);
		if (count < REPLACE_AHEAD_MAX && is_candidate(frame) && frame.looked == LOOK_NONE)
			frames[count++] = pfn;
	}
	return count;
}

/* Nothing else changes before the hand comes: that would make its next round shorter. */
static void clock_note(void *state, upage_pfn pfn, enum look look)
{
	struct clock *clock = state;
	struct clock_frame seen = atomic_load(&clock->frame[pfn]), next;
	do {
		if (!is_candidate(seen))
			return;
		next = seen;
		next.looked = look & 3;
	} while (!atomic_compare_exchange_weak(&clock->frame[pfn], &seen, next));
}

static void clock_remove(void *state, upage_pfn pfn)
{
	struct clock *clock = state;
	struct clock_frame before = atomic_exchange(&clock->frame[pfn], (struct clock_frame){ .held = false });
	INVARIANT(before.held != 0);
	(void)before;
}

static void clock_move(void *state, upage_pfn from, upage_pfn to)
{
	struct clock *clock = state;
	note_held(clock, to);
	struct clock_frame moving = atomic_exchange(&clock->frame[from], (struct clock_frame){ .held = false });
	INVARIANT(moving.held != 0);
	atomic_store(&clock->frame[to], moving);
}

static void add_aged(struct clock *clock, struct aged *aged, upage_pfn pfn, uint64_t patience)
{
	if (aged->count == 0 || clock->patience > patience)
		clock->patience = patience;
	aged->frames[aged->count++] = pfn;
}

/* What the front hand does. Return: whether the hands go on; else the list has to be emptied first. */
static bool age_doubted(struct clock *clock, upage_pfn hand, uint64_t end, struct aged *aged)
{
	upage_pfn pfn = hand + end / FRONT;
	pfn = pfn < end ? pfn : pfn - end;
	struct clock_frame seen = atomic_load(&clock->frame[pfn]), next;
	do {
		if (!seen.doubted || !seen.referenced)
			return true;
		if (aged->count == REPLACE_AGED_MAX)
			return false;
		next = seen;
		next.referenced = false;
	} while (!atomic_compare_exchange_weak(&clock->frame[pfn], &seen, next));
	add_aged(clock, aged, pfn, end / PATIENCE_DOUBTED);
	return true;
}

/* What the hand does at a frame. Return: whether it goes on; else this is a candidate, or, with @aged
 * full, the list has to be emptied first. */
enum step { STEP_ON, STEP_OFFER, STEP_FULL };

static enum step step_at(struct clock *clock, upage_pfn pfn, struct aged *aged, enum look *look)
{
	struct clock_frame seen = atomic_load(&clock->frame[pfn]), next;
	do {
		if (!seen.held)
			return STEP_ON;
		next = seen;
		if (seen.passes > 0)
			next.passes--;
		else if (!seen.referenced)
			next.looked = LOOK_NONE;
		else if (aged->count == REPLACE_AGED_MAX)
			return STEP_FULL;
		else
			next.referenced = false;
	} while (!atomic_compare_exchange_weak(&clock->frame[pfn], &seen, next));
	if (seen.passes > 0)
		return STEP_ON;
	if (!seen.referenced) {
		*look = (enum look)seen.looked;
		return STEP_OFFER;
	}
	add_aged(clock, aged, pfn, atomic_load(&clock->end) / PATIENCE);
	return STEP_ON;
}

static upage_pfn clock_candidate(void *state, struct aged *aged, enum look *look)
{
	struct clock *clock = state;
	/* Rounds that pass by, one that clears every bit, and one that offers. */
	for (uint64_t steps = (PASSES_MAX + 2) * atomic_load(&clock->end); steps > 0; steps--) {
		upage_pfn pfn = atomic_load_explicit(&clock->hand, memory_order_relaxed);
		uint64_t end = atomic_load(&clock->end);
		if (pfn >= end)
			pfn = 0;
		atomic_store_explicit(&clock->hand, pfn, memory_order_relaxed);
		if (aged->count > 0 && clock->patience-- == 0)
			return REPLACE_NONE;
		if (!age_doubted(clock, pfn, end, aged))
			return REPLACE_NONE;
		enum step step = step_at(clock, pfn, aged, look);
		if (step == STEP_FULL)
			return REPLACE_NONE;
		atomic_store_explicit(&clock->hand, pfn + 1, memory_order_relaxed);
		if (step == STEP_OFFER)
			return pfn;
	}
	return REPLACE_NONE;
}

const struct replace_ops replace_clock = { .name = "clock",
	                                   .concurrent = true,
	                                   .state_size = clock_state_size,
	                                   .init = clock_init,
	                                   .insert = clock_insert,
	                                   .doubt = clock_doubt,
	                                   .touch = clock_touch,
	                                   .idle = clock_idle,
	                                   .follows = clock_follows,
	                                   .ahead = clock_ahead,
	                                   .note = clock_note,
	                                   .remove = clock_remove,
	                                   .move = clock_move,
	                                   .candidate = clock_candidate };
