/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_replace.c - who has to leave, and is it always somebody who is there?
 */
#include <pthread.h>

#include "replace.h"
#include "support.h"

static const struct replace_ops *const policies[] = { &replace_fifo, &replace_clock,
	                                              &replace_random };
#define POLICIES 3

static struct replace policy;

/* The state is just as large as the policy asked for: a sanitizer sees a step past it. */
static void begin(const struct replace_ops *ops, uint64_t frames, uint64_t seed)
{
	void *state = calloc(1, ops->state_size(frames));
	ck_assert_ptr_nonnull(state);
	replace_init(&policy, ops, state, frames, seed);
}

static void end(void)
{
	free(policy.state);
}

/* A candidate as the pager gets it: the frames to revoke are taken note of, then it asks
 * again. */
static upage_pfn ask(void)
{
	struct aged aged;
	enum look look;
	for (;;) {
		upage_pfn pfn = replace_candidate(&policy, &aged, &look);
		must(aged.count <= REPLACE_AGED_MAX);
		if (pfn != REPLACE_NONE || aged.count == 0)
			return pfn;
	}
}

/* ---- Reference strings ----------------------------------------------------------------- */

#define FRAMES_MOST 16

struct simulation {
	unsigned frames, misses, victims;
	int page[FRAMES_MOST]; /* in each frame; -1: none */
	int victim[64];
};

static void refer(struct simulation *s, int page)
{
	unsigned frame = 0;
	while (frame < s->frames && s->page[frame] != page)
		frame++;
	if (frame < s->frames) {
		replace_touch(&policy, frame);
		return;
	}
	s->misses++;
	for (frame = 0; frame < s->frames && s->page[frame] != -1;)
		frame++;
	if (frame == s->frames) {
		frame = (unsigned)ask();
		ck_assert_uint_lt(frame, s->frames);
		s->victim[s->victims++] = s->page[frame];
		replace_remove(&policy, frame);
	}
	s->page[frame] = page;
	replace_insert(&policy, frame);
}

static void simulate(struct simulation *s, const struct replace_ops *ops, unsigned frames,
                     const int *string)
{
	*s = (struct simulation){ .frames = frames };
	for (unsigned i = 0; i < frames; i++)
		s->page[i] = -1;
	begin(ops, frames, 1);
	for (; *string != 0; string++)
		refer(s, *string);
	end();
}

static void expect_victims(const struct simulation *s, const int *victims)
{
	unsigned count = 0;
	for (; victims[count] != 0; count++) {
		ck_assert_uint_lt(count, s->victims);
		ck_assert_int_eq(s->victim[count], victims[count]);
	}
	ck_assert_uint_eq(s->victims, count);
}

/* Belady, Nelson and Shedler, 1969: more frames, more misses. */
START_TEST(does_fifo_show_beladys_anomaly)
{
	static const int string[] = { 1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5, 0 };
	static const int victims_of_3[] = { 1, 2, 3, 4, 1, 2, 0 };
	static const int victims_of_4[] = { 1, 2, 3, 4, 5, 1, 0 };
	struct simulation s;
	simulate(&s, &replace_fifo, 3, string);
	ck_assert_uint_eq(s.misses, 9);
	expect_victims(&s, victims_of_3);
	simulate(&s, &replace_fifo, 4, string);
	ck_assert_uint_eq(s.misses, 10);
	expect_victims(&s, victims_of_4);
}
END_TEST

/* OSTEP ch. 22: 0 1 2 0 1 3 0 3 1 2 1 in three frames (pages plus one here). */
START_TEST(does_fifo_follow_the_textbook_trace)
{
	static const int string[] = { 1, 2, 3, 1, 2, 4, 1, 4, 2, 3, 2, 0 };
	static const int victims[] = { 1, 2, 3, 4, 0 };
	struct simulation s;
	simulate(&s, &replace_fifo, 3, string);
	ck_assert_uint_eq(s.misses, 7);
	expect_victims(&s, victims);
}
END_TEST

/*
 * By hand, three frames, a bit is set on placement. 1 2 3 fill them: bits 111, hand at 0.
 * 4: clears all, comes round to 0: victim 1; bits 100, hand 1. 1: frame 1 is clear: victim 2;
 * bits 110, hand 2. 3: a hit, bits 111. 5: clears 2, 0, 1, comes round to 2: victim 3; bits
 * 001, hand 0. 4: a hit, bits 101. 2: clears 0; frame 1 is clear: victim 1.
 */
START_TEST(does_the_clock_follow_the_example_worked_by_hand)
{
	static const int string[] = { 1, 2, 3, 4, 1, 3, 5, 4, 2, 0 };
	static const int victims[] = { 1, 2, 3, 1, 0 };
	struct simulation s;
	simulate(&s, &replace_clock, 3, string);
	ck_assert_uint_eq(s.misses, 7);
	expect_victims(&s, victims);
}
END_TEST

START_TEST(a_page_that_is_used_all_the_time_stays_with_the_clock_and_leaves_with_fifo)
{
	int string[61];
	for (int i = 0; i < 60; i++)
		string[i] = i % 2 == 0 ? 1 : 2 + i % 9; /* 1, and others in turn */
	string[60] = 0;
	struct simulation s;
	unsigned lost = 0;
	simulate(&s, &replace_clock, 4, string);
	for (unsigned i = 0; i < s.victims; i++)
		lost += s.victim[i] == 1;
	/* Only where the hand has come round with no bit left clear. */
	unsigned with_clock = lost;
	simulate(&s, &replace_fifo, 4, string);
	lost = 0;
	for (unsigned i = 0; i < s.victims; i++)
		lost += s.victim[i] == 1;
	ck_assert_uint_gt(lost, 2 * with_clock);
}
END_TEST

/* ---- The clock against a plain one ----------------------------------------------------- */

#define MODEL_FRAMES 100

struct plain {
	bool held[MODEL_FRAMES], referenced[MODEL_FRAMES];
	unsigned step[MODEL_FRAMES], passes[MODEL_FRAMES];
	unsigned hand, size;
};

static const unsigned rounds[] = { 0, 0, 1, 3, 7, 15, 31 };

static void plain_touch(struct plain *plain, unsigned at)
{
	if (!plain->held[at] || plain->referenced[at])
		return;
	plain->referenced[at] = true;
	plain->step[at] += plain->step[at] < 6;
	plain->passes[at] = rounds[plain->step[at]];
}

static bool plain_idle(struct plain *plain, unsigned at)
{
	if (!plain->held[at] || plain->step[at] < 2)
		return false;
	plain->step[at]--;
	plain->passes[at] = rounds[plain->step[at]];
	return true;
}

static upage_pfn plain_clock(struct plain *plain)
{
	for (unsigned steps = 0; steps < 33 * MODEL_FRAMES; steps++) {
		unsigned at = plain->hand;
		plain->hand = (plain->hand + 1) % plain->size;
		if (!plain->held[at])
			continue;
		if (plain->passes[at] > 0)
			plain->passes[at]--;
		else if (!plain->referenced[at])
			return at;
		else
			plain->referenced[at] = false;
	}
	return REPLACE_NONE;
}

START_TEST(the_clock_chooses_as_a_plain_one_does)
{
	struct plain plain = { .size = MODEL_FRAMES };
	uint64_t random = 11;
	begin(&replace_clock, MODEL_FRAMES, 0);
	for (unsigned i = 0; i < MODEL_FRAMES; i++) { /* all, so that the circle is whole */
		replace_insert(&policy, i);
		plain.held[i] = plain.referenced[i] = true;
	}
	for (unsigned step = 0; step < 100000; step++) {
		unsigned pfn = (unsigned)(random_number(&random) % MODEL_FRAMES);
		unsigned other = (unsigned)(random_number(&random) % MODEL_FRAMES);
		switch (random_number(&random) % 6) {
		case 0:
			must(ask() == plain_clock(&plain));
			break;
		case 5:
			if (!plain.held[pfn] || plain.held[other])
				break;
			replace_move(&policy, pfn, other);
			plain.held[other] = true;
			plain.held[pfn] = false;
			plain.referenced[other] = plain.referenced[pfn];
			plain.step[other] = plain.step[pfn];
			plain.passes[other] = plain.passes[pfn];
			plain.step[pfn] = plain.passes[pfn] = 0;
			break;
		case 1:
			must(replace_idle(&policy, pfn) == plain_idle(&plain, pfn));
			break;
		case 2:
		case 3:
			replace_touch(&policy, pfn);
			plain_touch(&plain, pfn);
			break;
		default:
			plain.step[pfn] = plain.passes[pfn] = 0;
			if (plain.held[pfn])
				replace_remove(&policy, pfn);
			else
				replace_insert(&policy, pfn);
			plain.referenced[pfn] = plain.held[pfn] = !plain.held[pfn];
		}
	}
	end();
}
END_TEST

START_TEST(fifo_chooses_as_a_plain_queue_does)
{
	upage_pfn queue[MODEL_FRAMES];
	unsigned length = 0;
	uint64_t random = 12;
	begin(&replace_fifo, MODEL_FRAMES, 0);
	for (unsigned step = 0; step < 100000; step++) {
		upage_pfn pfn = random_number(&random) % MODEL_FRAMES;
		if (random_number(&random) % 3 == 0) {
			upage_pfn oldest = length > 0 ? queue[0] : REPLACE_NONE;
			must(ask() == oldest);
			if (length > 0) {
				memmove(queue, queue + 1, (length - 1) * sizeof(queue[0]));
				queue[length - 1] = oldest;
			}
			continue;
		}
		unsigned place = 0;
		while (place < length && queue[place] != pfn)
			place++;
		if (place == length) {
			replace_insert(&policy, pfn);
			queue[length++] = pfn;
		} else {
			replace_remove(&policy, pfn);
			memmove(queue + place, queue + place + 1,
			        (--length - place) * sizeof(queue[0]));
		}
	}
	end();
}
END_TEST

/* Of two policies one is told that pages move: they are offered in the same order. */
START_TEST(who_moves_is_offered_when_he_would_have_been)
{
	static const struct replace_ops *const in_order[] = { &replace_fifo, &replace_random };
	struct replace other;
	upage_pfn frame[MODEL_FRAMES]; /* that page i, which the other has in frame i, is in */
	bool held[MODEL_FRAMES] = { false }, taken[2 * MODEL_FRAMES] = { false };
	uint64_t random = 13;
	begin(in_order[_i], MODEL_FRAMES, 5);
	other = policy;
	begin(in_order[_i], UINT64_C(2) * MODEL_FRAMES, 5);
	for (unsigned step = 0; step < 100000; step++) {
		unsigned page = (unsigned)(random_number(&random) % MODEL_FRAMES);
		upage_pfn to = random_number(&random) % (2 * MODEL_FRAMES);
		struct aged aged = { .count = 0 };
		enum look look;
		upage_pfn offered;
		switch (random_number(&random) % 4) {
		case 0:
			offered = replace_candidate(&other, &aged, &look);
			must(ask() == (offered == REPLACE_NONE ? REPLACE_NONE : frame[offered]));
			break;
		case 1:
			if (!held[page] && !taken[to]) {
				replace_insert(&other, page);
				replace_insert(&policy, to);
				held[page] = taken[to] = true;
				frame[page] = to;
			} else if (held[page]) {
				replace_remove(&other, page);
				replace_remove(&policy, frame[page]);
				held[page] = taken[frame[page]] = false;
			}
			break;
		default:
			if (!held[page] || taken[to])
				break;
			replace_move(&policy, frame[page], to);
			taken[frame[page]] = false;
			taken[to] = true;
			frame[page] = to;
		}
	}
	end();
	free(other.state);
}
END_TEST

/* ---- What holds for every policy ------------------------------------------------------- */

START_TEST(a_policy_without_frames_has_no_candidate)
{
	struct aged aged = { .count = 0 };
	enum look look;
	begin(policies[_i], 16, 1);
	ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), REPLACE_NONE);
	replace_insert(&policy, 3);
	ck_assert_uint_eq(ask(), 3);
	replace_remove(&policy, 3);
	ck_assert_uint_eq(ask(), REPLACE_NONE);
	ck_assert_uint_eq(aged.count, 0);
	end();
}
END_TEST

START_TEST(a_candidate_is_never_a_frame_that_was_removed)
{
	static const uint64_t sizes[] = { 1, 2, 3, 16, 100, 1000 };
	for (unsigned s = 0; s < LENGTH(sizes); s++) {
		uint64_t frames = sizes[s], random = 7 + s, held = 0;
		bool *is_held = calloc(frames, sizeof(*is_held));
		begin(policies[_i], frames, 1);
		for (unsigned step = 0; step < 100000; step++) {
			upage_pfn pfn = random_number(&random) % frames;
			switch (random_number(&random) % 8) {
			case 0:
			case 1: /* an eviction, and what is brought in instead */
				pfn = ask();
				must((pfn != REPLACE_NONE) == (held > 0));
				if (held == 0)
					break;
				must(pfn < frames && is_held[pfn]);
				replace_remove(&policy, pfn);
				if (random_number(&random) % 4 != 0) {
					replace_insert(&policy, pfn);
				} else {
					is_held[pfn] = false;
					held--;
				}
				break;
			case 2:
			case 3: /* an offer that the pager cannot take */
				pfn = ask();
				must((pfn != REPLACE_NONE) == (held > 0));
				must(held == 0 || is_held[pfn]);
				break;
			case 4: /* a page that is unmapped */
				if (is_held[pfn])
					replace_remove(&policy, pfn);
				held -= is_held[pfn];
				is_held[pfn] = false;
				break;
			case 5:
				replace_touch(&policy, pfn);
				break;
			default: /* a page in a free frame */
				if (!is_held[pfn])
					replace_insert(&policy, pfn);
				held += !is_held[pfn];
				is_held[pfn] = true;
			}
			must(atomic_load(&policy.held) == held);
		}
		end();
		free(is_held);
	}
}
END_TEST

/* After any history, as many offers as are promised reach every frame: none is lost to eviction. */
START_TEST(no_frame_is_forgotten)
{
	enum { FRAMES = 48 };
	uint64_t random = 5;
	bool is_held[FRAMES] = { false };
	unsigned held = 0;
	begin(policies[_i], FRAMES, 1);
	for (unsigned step = 0; step < 20000; step++) {
		upage_pfn pfn = random_number(&random) % FRAMES;
		if (is_held[pfn])
			replace_remove(&policy, pfn);
		else
			replace_insert(&policy, pfn);
		is_held[pfn] = !is_held[pfn];
		held += is_held[pfn] ? 1 : -1u;
		bool all = random_number(&random) % 4 == 0;
		unsigned offers = all ? REPLACE_OFFERS * held : 1;
		bool offered[FRAMES] = { false };
		unsigned seen = 0;
		for (unsigned i = 0; i < offers; i++) {
			pfn = ask();
			if (held == 0)
				break;
			must(pfn < FRAMES && is_held[pfn]);
			seen += !offered[pfn];
			offered[pfn] = true;
			replace_touch(&policy, pfn); /* it cannot go */
		}
		must(!all || seen == held);
	}
	end();
}
END_TEST

/* ---- Threads --------------------------------------------------------------------------------- */

#define STORM_THREADS 4
#define STORM_FRAMES 64 /* neighbours are of different threads */
#define STORM_TURNS 300000

static bool storm_held[STORM_FRAMES]; /* each written by one thread */

static _Atomic bool storm_is_over;

static void *choose(void *unused)
{
	struct aged aged;
	enum look look;
	(void)unused;
	while (!atomic_load(&storm_is_over))
		replace_candidate(&policy, &aged, &look);
	return NULL;
}

static void *storm(void *argument)
{
	uint64_t first = (uintptr_t)argument, random = first + 1;
	bool has_steps = policy.ops->touch != NULL;
	for (unsigned i = 0; i < STORM_TURNS; i++) {
		uint64_t number = random_number(&random);
		upage_pfn pfn = first + number / 32 % (STORM_FRAMES / STORM_THREADS) * STORM_THREADS, ahead[REPLACE_AHEAD_MAX];
		if (number % 32 == 0 && storm_held[pfn]) {
			replace_remove(&policy, pfn);
			storm_held[pfn] = false;
		} else if (!storm_held[pfn]) {
			/* Nor has the hand, which was passing by, brought it back. */
			must(!has_steps || !replace_idle(&policy, pfn));
			replace_insert(&policy, pfn);
			storm_held[pfn] = true;
		} else if (has_steps && number % 8 == 1) {
			must(replace_ahead(&policy, ahead) <= REPLACE_AHEAD_MAX);
			replace_note(&policy, pfn, LOOK_IN_USE);
		} else {
			replace_touch(&policy, pfn);
		}
	}
	return NULL;
}

/* However many say what becomes of their frames while others choose, in the end just those that are
 * held are offered. */
START_TEST(threads_lose_no_frame_and_bring_none_back)
{
	pthread_t threads[STORM_THREADS], chooser;
	unsigned held = 0, seen = 0;
	bool offered[STORM_FRAMES] = { false };
	begin(policies[_i], STORM_FRAMES, 1);
	ck_assert_int_eq(pthread_create(&chooser, NULL, choose, NULL), 0);
	for (uintptr_t i = 0; i < STORM_THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, storm, (void *)i), 0);
	for (unsigned i = 0; i < STORM_THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	atomic_store(&storm_is_over, true);
	ck_assert_int_eq(pthread_join(chooser, NULL), 0);
	for (unsigned i = 0; i < STORM_FRAMES; i++)
		held += storm_held[i];
	ck_assert_uint_gt(held, 0);
	ck_assert_uint_eq(atomic_load(&policy.held), held);
	for (unsigned i = 0; i < REPLACE_OFFERS * held; i++) {
		upage_pfn pfn = ask();
		must(pfn < STORM_FRAMES && storm_held[pfn]);
		seen += !offered[pfn];
		offered[pfn] = true;
		replace_touch(&policy, pfn);
	}
	ck_assert_uint_eq(seen, held);
	end();
}
END_TEST

START_TEST(a_frame_that_was_removed_after_a_full_round_stays_away)
{
	for (unsigned order = 0; order < 6; order++) {
		upage_pfn gone = order % 3, next = (gone + 1 + order / 3) % 3;
		upage_pfn last = 3 - gone - next;
		begin(policies[_i], 3, 1);
		for (upage_pfn pfn = 0; pfn < 3; pfn++)
			replace_insert(&policy, pfn);
		for (unsigned i = 0; i < 3; i++) /* everyone has been offered, nobody could go */
			ask();
		replace_remove(&policy, gone);
		replace_remove(&policy, next);
		for (unsigned i = 0; i < 6; i++)
			ck_assert_uint_eq(ask(), last);
		replace_remove(&policy, last);
		ck_assert_uint_eq(ask(), REPLACE_NONE);
		end();
	}
}
END_TEST

START_TEST(a_touch_of_a_frame_without_a_page_places_none)
{
	struct aged aged = { .count = 0 };
	enum look look;
	begin(policies[_i], 16, 1);
	for (upage_pfn pfn = 0; pfn < 16; pfn++)
		replace_touch(&policy, pfn);
	ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), REPLACE_NONE);
	replace_insert(&policy, 7);
	replace_remove(&policy, 7);
	replace_touch(&policy, 7);
	ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), REPLACE_NONE);
	ck_assert_uint_eq(aged.count, 0); /* nothing to revoke either */
	ck_assert_uint_eq(atomic_load(&policy.held), 0);
	end();
}
END_TEST

/* ---- Random ---------------------------------------------------------------------------- */

START_TEST(a_round_of_random_offers_each_frame_once)
{
	enum { FRAMES = 257 };
	begin(&replace_random, FRAMES, 42);
	for (upage_pfn pfn = 0; pfn < FRAMES; pfn++)
		replace_insert(&policy, pfn);
	unsigned in_order = 0;
	for (unsigned round = 0; round < 20; round++) {
		bool offered[FRAMES] = { false };
		upage_pfn before = REPLACE_NONE;
		for (unsigned i = 0; i < FRAMES; i++) {
			upage_pfn pfn = ask();
			must(pfn < FRAMES && !offered[pfn]);
			offered[pfn] = true;
			in_order += pfn == before + 1;
			before = pfn;
		}
	}
	ck_assert_uint_lt(in_order, 20 * FRAMES / 16); /* about one a round by chance */
	end();
}
END_TEST

static void random_sequence(uint64_t seed, upage_pfn *sequence, unsigned length)
{
	begin(&replace_random, 64, seed);
	for (upage_pfn pfn = 0; pfn < 64; pfn++)
		replace_insert(&policy, pfn);
	for (unsigned i = 0; i < length; i++) {
		sequence[i] = ask();
		replace_remove(&policy, sequence[i]);
		replace_insert(&policy, sequence[i]);
	}
	end();
}

START_TEST(the_same_seed_chooses_the_same_frames_and_another_does_not)
{
	upage_pfn first[200], again[200], other[200];
	random_sequence(7, first, 200);
	random_sequence(7, again, 200);
	random_sequence(8, other, 200);
	ck_assert_mem_eq(first, again, sizeof(first));
	ck_assert_mem_ne(first, other, sizeof(first));
}
END_TEST

START_TEST(every_frame_has_its_chance_with_random)
{
	enum { FRAMES = 16, CHOICES = 16000 };
	unsigned chosen[FRAMES] = { 0 };
	begin(&replace_random, FRAMES, 3);
	for (upage_pfn pfn = 0; pfn < FRAMES; pfn++)
		replace_insert(&policy, pfn);
	for (unsigned i = 0; i < CHOICES; i++) {
		upage_pfn pfn = ask();
		must(pfn < FRAMES);
		chosen[pfn]++;
		replace_remove(&policy, pfn);
		replace_insert(&policy, pfn);
	}
	for (unsigned i = 0; i < FRAMES; i++) { /* 1000 each; the deviation is about 31 */
		ck_assert_uint_gt(chosen[i], 800);
		ck_assert_uint_lt(chosen[i], 1200);
	}
	end();
}
END_TEST

/* ---- Reference bits -------------------------------------------------------------------- */

START_TEST(every_reference_that_the_clock_forgets_is_named_once_and_few_at_a_time)
{
	enum { FRAMES = 16 * REPLACE_AGED_MAX };
	struct aged aged;
	enum look look;
	upage_pfn next = 0, offered = 0;
	begin(&replace_clock, FRAMES, 0);
	for (upage_pfn pfn = 0; pfn < FRAMES; pfn++)
		replace_insert(&policy, pfn);
	while (next < FRAMES) {
		upage_pfn pfn = replace_candidate(&policy, &aged, &look);
		if (pfn != REPLACE_NONE)
			ck_assert_uint_eq(pfn, offered++);
		ck_assert_uint_eq(aged.count, pfn == REPLACE_NONE ? REPLACE_AGED_MAX : 0);
		for (unsigned i = 0; i < aged.count; i++)
			ck_assert_uint_eq(aged.frames[i], next++);
	}
	for (unsigned i = 0; i < FRAMES; i++) { /* nothing was referenced since: nothing to forget */
		ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), (offered + i) % FRAMES);
		ck_assert_uint_eq(aged.count, 0);
	}
	end();
}
END_TEST

/* The host is told of many at a time, but within an eighth of the circle: else what is offered next
 * would have had no time to be referenced. */
START_TEST(what_the_clock_forgets_is_named_while_the_hand_is_near)
{
	enum { FRAMES = 64, NEAR = FRAMES / 8 };
	struct aged aged;
	enum look look;
	begin(&replace_clock, FRAMES, 0);
	for (upage_pfn pfn = 0; pfn < FRAMES; pfn++)
		replace_insert(&policy, pfn);
	for (upage_pfn pfn = 0; pfn <= FRAMES; pfn++) /* a round, in which nothing is referenced */
		ck_assert_uint_eq(ask(), pfn % FRAMES);
	replace_touch(&policy, 1);
	replace_touch(&policy, 4);
	replace_touch(&policy, FRAMES - 1);
	for (upage_pfn pfn = 2; pfn <= NEAR + 1; pfn += pfn == 3 ? 2 : 1) {
		ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), pfn);
		ck_assert_uint_eq(aged.count, 0);
	}
	ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), REPLACE_NONE);
	ck_assert_uint_eq(aged.count, 2);
	ck_assert_uint_eq(aged.frames[0], 1);
	ck_assert_uint_eq(aged.frames[1], 4);
	for (upage_pfn pfn = NEAR + 2; pfn < FRAMES - 1; pfn++)
		ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), pfn);
	ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), 0); /* the hand came round */
	for (upage_pfn pfn = 1; pfn < NEAR; pfn++)
		ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), pfn);
	ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), REPLACE_NONE);
	ck_assert_uint_eq(aged.count, 1);
	ck_assert_uint_eq(aged.frames[0], FRAMES - 1);
	end();
}
END_TEST

/* A second hand, an eighth of the circle ahead, ages what is doubted; and the host is told while half of that is left. */
START_TEST(what_is_doubted_is_aged_ahead_of_the_hand_and_leaves_first)
{
	enum { FRAMES = 64, DOUBTED = 44, OTHER = 50, AHEAD = FRAMES / 8 };
	struct aged aged;
	enum look look;
	upage_pfn pfn, hand = 0, hand_then = FRAMES;
	begin(&replace_clock, FRAMES, 0);
	for (pfn = 0; pfn < FRAMES; pfn++)
		replace_insert(&policy, pfn);
	replace_doubt(&policy, DOUBTED);
	replace_doubt(&policy, OTHER);
	while ((pfn = replace_candidate(&policy, &aged, &look)) == REPLACE_NONE) {
		bool is_aged = false;
		ck_assert_uint_gt(aged.count, 0);
		for (unsigned i = 0; i < aged.count; i++) {
			is_aged = is_aged || aged.frames[i] == DOUBTED;
			hand = aged.frames[i] != DOUBTED ? aged.frames[i] : hand;
		}
		ck_assert(!is_aged || hand_then == FRAMES); /* once */
		hand_then = is_aged ? hand : hand_then;
	}
	ck_assert_uint_eq(pfn, DOUBTED);
	ck_assert_uint_le(hand_then, DOUBTED - AHEAD / 2);
	replace_touch(&policy, DOUBTED); /* a look found it in use: it is like all others */
	ck_assert_uint_eq(ask(), OTHER);
	replace_remove(&policy, OTHER);
	for (pfn = 0; pfn < FRAMES; pfn++)
		if (pfn != DOUBTED && pfn != OTHER)
			ck_assert_uint_eq(ask(), pfn);
	ck_assert_uint_eq(ask(), 0);
	end();
}
END_TEST

/* By those that ask nobody, too, and it changes nothing. */
START_TEST(policies_that_do_not_look_do_not_doubt)
{
	upage_pfn plain[100], doubted[100];
	for (unsigned round = 0; round < 2; round++) {
		upage_pfn *offers = round == 0 ? plain : doubted;
		begin(_i == 0 ? &replace_fifo : &replace_random, 16, 5);
		for (upage_pfn pfn = 0; pfn < 16; pfn++) {
			replace_insert(&policy, pfn);
			if (round == 1 && pfn % 3 != 0)
				replace_doubt(&policy, pfn);
		}
		for (unsigned i = 0; i < 100; i++)
			offers[i] = ask();
		end();
	}
	ck_assert_mem_eq(plain, doubted, sizeof(plain));
}
END_TEST

START_TEST(a_list_of_aged_frames_that_is_full_is_not_written_past)
{
	struct {
		struct aged aged;
		upage_pfn guard[8];
	} box;
	enum look look;
	memset(&box, 0x55, sizeof(box));
	box.aged.count = REPLACE_AGED_MAX - 1;
	begin(policies[_i], 64, 1);
	for (upage_pfn pfn = 0; pfn < 64; pfn++)
		replace_insert(&policy, pfn);
	for (unsigned i = 0; i < 200; i++)
		policy.ops->candidate(policy.state, &box.aged, &look);
	ck_assert_uint_le(box.aged.count, REPLACE_AGED_MAX);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(box.guard[i], 0x5555555555555555u);
	for (unsigned i = 0; i < REPLACE_AGED_MAX - 1; i++)
		ck_assert_uint_eq(box.aged.frames[i], 0x5555555555555555u);
	end();
}
END_TEST

START_TEST(a_frame_referenced_after_the_hand_passed_is_spared)
{
	begin(&replace_clock, 4, 0);
	for (upage_pfn pfn = 0; pfn < 4; pfn++)
		replace_insert(&policy, pfn);
	ck_assert_uint_eq(ask(), 0); /* all bits are clear now */
	replace_touch(&policy, 1);
	replace_touch(&policy, 2);
	ck_assert_uint_eq(ask(), 3);
	ck_assert_uint_eq(ask(), 0);
	ck_assert_uint_eq(ask(), 1);
	end();
}
END_TEST

/* Frame 0 is in use all the time, and frame 1 evicted: the hand meets frame 0 twice each time. By hand,
 * offered at meetings 2, 4, 7, 12, 21, 38 and from then on every 33rd. When it is idle, it takes a look
 * for each of the six steps. */
START_TEST(what_a_look_ahead_found_is_told_once)
{
	enum { FRAMES = 64 };
	upage_pfn ahead[REPLACE_AHEAD_MAX];
	struct aged aged;
	enum look look;
	begin(&replace_clock, FRAMES, 0);
	for (upage_pfn pfn = 0; pfn < FRAMES; pfn++)
		replace_insert(&policy, pfn);
	for (upage_pfn pfn = 0; pfn <= FRAMES; pfn++)
		ck_assert_uint_eq(ask(), pfn % FRAMES);
	/* A sixteenth of the circle; what is in use is not among them. */
	replace_touch(&policy, 2);
	ck_assert_uint_eq(replace_ahead(&policy, ahead), 3);
	ck_assert_uint_eq(ahead[0], 1);
	ck_assert_uint_eq(ahead[1], 3);
	ck_assert_uint_eq(ahead[2], 4);
	replace_note(&policy, 1, LOOK_IDLE);
	replace_note(&policy, 2, LOOK_IDLE); /* was referenced meanwhile: that counts */
	replace_note(&policy, 3, LOOK_IDLE);
	ck_assert_uint_eq(replace_ahead(&policy, ahead), 1);
	ck_assert_uint_eq(ahead[0], 4);
	replace_note(&policy, 4, LOOK_IN_USE);
	static const struct {
		upage_pfn pfn;
		enum look look;
	} offers[] = { { 1, LOOK_IDLE }, { 3, LOOK_IDLE }, { 4, LOOK_IN_USE }, { 5, LOOK_NONE } };
	for (unsigned i = 0; i < LENGTH(offers); i++) {
		ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), offers[i].pfn);
		ck_assert_uint_eq(look, offers[i].look);
	}
	for (upage_pfn pfn = 6; pfn <= FRAMES; pfn++)
		must(ask() == pfn % FRAMES);
	ck_assert_uint_eq(replace_candidate(&policy, &aged, &look), 1); /* it could not be taken */
	ck_assert_uint_eq(look, LOOK_NONE);
	end();
}
END_TEST

START_TEST(what_is_always_in_use_is_looked_at_less_and_less)
{
	unsigned looks = 0;
	upage_pfn pfn;
	begin(&replace_clock, 2, 0);
	replace_insert(&policy, 0);
	for (unsigned evictions = 0; evictions < 100; evictions++) {
		replace_insert(&policy, 1);
		while ((pfn = ask()) == 0) {
			replace_touch(&policy, 0);
			looks++;
		}
		must(pfn == 1);
		replace_remove(&policy, 1);
	}
	ck_assert_uint_eq(looks, 10);
	looks = 0;
	for (unsigned evictions = 0; pfn != 0; evictions++) {
		ck_assert_uint_lt(evictions, 100);
		replace_insert(&policy, 1);
		while ((pfn = ask()) == 0 && replace_idle(&policy, 0))
			looks++;
		looks += pfn == 0;
		replace_remove(&policy, pfn);
	}
	ck_assert_uint_eq(looks, 6);
	end();
}
END_TEST

/* ---- Names ----------------------------------------------------------------------------- */

START_TEST(a_policy_is_found_by_its_whole_name_only)
{
	ck_assert_ptr_eq(replace_by_name("fifo"), &replace_fifo);
	ck_assert_ptr_eq(replace_by_name("clock"), &replace_clock);
	ck_assert_ptr_eq(replace_by_name("random"), &replace_random);
	ck_assert_ptr_eq(replace_by_name(""), &replace_clock);
	ck_assert_ptr_null(replace_by_name("lru"));
	ck_assert_ptr_null(replace_by_name("clo"));
	ck_assert_ptr_null(replace_by_name("clocks"));
	ck_assert_ptr_null(replace_by_name("CLOCK"));
	ck_assert_ptr_null(replace_by_name(" fifo"));
}
END_TEST

START_TEST(the_names_fit_any_buffer)
{
	static const char all[] = "clock, fifo, random";
	for (size_t size = 1; size < sizeof(all) + 4; size++) {
		char text[64];
		memset(text, '#', sizeof(text));
		replace_names(text, size);
		ck_assert_int_eq(text[size], '#');
		size_t length = size < sizeof(all) ? size - 1 : sizeof(all) - 1;
		ck_assert_uint_eq(strlen(text), length);
		ck_assert_int_eq(strncmp(text, all, length), 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("replace");
	TCase *choice = tcase_create("choice");
	tcase_set_timeout(choice, 60);
	tcase_add_test(choice, does_fifo_show_beladys_anomaly);
	tcase_add_test(choice, does_fifo_follow_the_textbook_trace);
	tcase_add_test(choice, does_the_clock_follow_the_example_worked_by_hand);
	tcase_add_test(
	        choice, a_page_that_is_used_all_the_time_stays_with_the_clock_and_leaves_with_fifo);
	tcase_add_test(choice, the_clock_chooses_as_a_plain_one_does);
	tcase_add_test(choice, fifo_chooses_as_a_plain_queue_does);
	tcase_add_loop_test(choice, who_moves_is_offered_when_he_would_have_been, 0, 2);
	suite_add_tcase(suite, choice);

	TCase *every = tcase_create("every policy");
	tcase_set_timeout(every, 60);
	tcase_add_loop_test(every, a_policy_without_frames_has_no_candidate, 0, POLICIES);
	tcase_add_loop_test(every, a_candidate_is_never_a_frame_that_was_removed, 0, POLICIES);
	tcase_add_loop_test(every, no_frame_is_forgotten, 0, POLICIES);
	tcase_add_loop_test(every, threads_lose_no_frame_and_bring_none_back, 0, POLICIES);
	tcase_add_loop_test(every, a_frame_that_was_removed_after_a_full_round_stays_away, 0,
	                    POLICIES);
	tcase_add_loop_test(every, a_touch_of_a_frame_without_a_page_places_none, 0, POLICIES);
	tcase_add_loop_test(every, a_list_of_aged_frames_that_is_full_is_not_written_past, 0,
	                    POLICIES);
	suite_add_tcase(suite, every);

	TCase *chance = tcase_create("random");
	tcase_add_test(chance, a_round_of_random_offers_each_frame_once);
	tcase_add_test(chance, the_same_seed_chooses_the_same_frames_and_another_does_not);
	tcase_add_test(chance, every_frame_has_its_chance_with_random);
	suite_add_tcase(suite, chance);

	TCase *bits = tcase_create("reference bits");
	tcase_add_test(bits,
	               every_reference_that_the_clock_forgets_is_named_once_and_few_at_a_time);
	tcase_add_test(bits, what_the_clock_forgets_is_named_while_the_hand_is_near);
	tcase_add_test(bits, what_is_doubted_is_aged_ahead_of_the_hand_and_leaves_first);
	tcase_add_loop_test(bits, policies_that_do_not_look_do_not_doubt, 0, 2);
	tcase_add_test(bits, a_frame_referenced_after_the_hand_passed_is_spared);
	tcase_add_test(bits, what_a_look_ahead_found_is_told_once);
	tcase_add_test(bits, what_is_always_in_use_is_looked_at_less_and_less);
	suite_add_tcase(suite, bits);

	TCase *names = tcase_create("names");
	tcase_add_test(names, a_policy_is_found_by_its_whole_name_only);
	tcase_add_test(names, the_names_fit_any_buffer);
	suite_add_tcase(suite, names);
	return run_suite(suite);
}
