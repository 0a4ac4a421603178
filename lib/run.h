/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run.h - contiguous runs of frames: what spaces without paging lie in
 *
 * A space in runs has one (base and bounds) or several (segments). Of each, neighbouring pages are in
 * neighbouring frames, all of its pages have frames, and no policy ever takes one. The host shows a
 * run by one mapping. What may happen to it is that it grows, in place or elsewhere, shrinks, moves to
 * another base, and leaves memory with its whole space.
 *
 *      address - run.start == bytes from the beginning of frame run.frame      (start <= address < end)
 *
 * That is what the registers say, too, and only they are asked for a translation: base_bounds.h,
 * segment.h. run_publish() makes them of the runs.
 *
 * A run moves under running threads: it is hidden, copied, and shown at its other base. Who references
 * it meanwhile traps, and waits for the space's lock, which the mover has for writing; so there is no
 * other way to stop threads, and none is needed.
 *
 * Invariants (upage_pool_verify):  the frames of all runs are FRAME_RUN, and no others are;
 * they do not overlap;  low <= start <= end <= high, and a run that grows up starts at low, one that
 * grows down ends at high;  while `out` there are no frames: what was in them is in slots, named by
 * the entries of the space's page table, which has no others.
 *
 * A segment that nobody may write to can be shared by several spaces: their runs have the same frames.
 * It neither grows nor shrinks then, and moves for all of them at once.
 *
 * Locking: `lock` is the space's (rank 1), held for writing by who changes its runs. runs_lock of the
 * pool (between ranks 1 and 2) guards the list of them, and who shares what; who has it only tries the
 * locks of spaces. A run moves under it.
 * Signal context: yes. Source: OSTEP ch. 15 and 16; Knuth, TAOCP vol. 1, 2.5 (compacting).
 */
#ifndef UPAGE_RUN_H
#define UPAGE_RUN_H

#include "base_bounds.h"
#include "mapping.h"
#include "physical.h"
#include "segment.h"
#include "window.h"

/* Of a segmented space, picked by the top two bits of an address. */
enum {
	SEGMENT_CODE = UPAGE_SEGMENT_CODE,
	SEGMENT_HEAP = UPAGE_SEGMENT_HEAP,
	SEGMENT_AREA = UPAGE_SEGMENT_AREA,
	SEGMENT_STACK = UPAGE_SEGMENT_STACK,
	SEGMENTS
};
#define SEGMENT_BITS 2

struct run {
	uintptr_t low, high;  /* the addresses that it may come to have   */
	uintptr_t start, end; /* that it has, page multiples; equal: none */
	uint64_t frame;       /* of start                                 */
	int prot;             /* of all of it                             */
	bool grows_down;
	bool fixed;           /* it has all that it may ever have         */
	struct runs *of;      /* whose it is                              */
	struct run *sharer;   /* the next with these frames, in a ring; NULL: it has them alone */
};

struct runs {
	union {
		struct translator translator;
		struct base_bounds registers;  /* of one run      */
		struct segment_table segments; /* of SEGMENTS     */
	};
	struct segment segment[SEGMENTS];
	struct run run[SEGMENTS];
	unsigned count;        /* 0: the space is paged, 1: base and bounds */
	bool out;              /* the space is swapped out                  */
	uintptr_t origin;      /* the address that is translated as 0       */
	uintptr_t lowest;      /* below it the host shows nothing           */
	upage_pool *pool;
	struct rwlock *lock;
	struct page_table *table; /* for what is swapped out */
	const struct place *place; /* in a window that others share; NULL: none */
	struct runs *next;     /* of the pool */
};

/**
 * runs_init - runs for a space, without any frames yet
 * @origin: address 0 of the translation
 * @length: bytes from there on; for segments four times a power of two
 * @bounds: of base and bounds: frames for as much at once, and never more; 0: as it grows
 *
 * Return: 0, or UPAGE_EINVAL, UPAGE_ENOMEM, a host's error.
 */
bool runs_can_be_segments(size_t length, size_t page_size);
int runs_init(struct runs *runs, upage_pool *pool, bool segments, uintptr_t origin, size_t length,
              uintptr_t lowest, size_t bounds);
void runs_end(struct runs *runs);

/* Which way a run grows that is empty: the part it is in has not been used. */
void run_turn(struct run *run, bool grows_down);

/* Else there is one run, which allows all. */
static inline bool runs_are_segments(const struct runs *runs)
{
	return runs->count == SEGMENTS;
}

/* The run whose part of the space an address is in; NULL: none. */
struct run *run_of(struct runs *runs, uintptr_t address);

/**
 * run_resize - a run gets or loses pages at the end that moves
 *
 * New pages are zero. Where the frames beside it are not free, the run goes where it has room, and
 * where there is none, other runs and pages of the pool make room; with too few free, pages are evicted.
 * Return: 0, or UPAGE_ENOMEM (not as much can be free, or not in one place, and what is in the way is
 *         pinned or shared), UPAGE_EBUSY (it would have to move, and is pinned), a host's error:
 *         nothing has changed.
 */
int run_resize(struct runs *runs, struct run *run, uintptr_t start, uintptr_t end);

/* @run, which is empty, gets the frames of @with, of the same pool and part, too. The locks of both spaces
 * are held for writing. Return: 0, UPAGE_EACCES (@with may be written to), UPAGE_EBUSY (@run is not empty),
 * UPAGE_ENOTMAPPED (@with is), or a host's error. */
int run_share(struct run *run, struct run *with);

/* The access that all of a run allows. Return: 0 or a host's error. */
int run_protect(struct runs *runs, struct run *run, int prot);

/* Moves the run after the one that was moved last to another base, if there is one. Return: frames moved. */
uint64_t runs_relocate(struct runs *runs, unsigned which);

/* Compaction of all memory: runs go down, the lowest first, as far as frames below them are free, and pages
 * as compact.h has it, until @max_moves frames have been moved; 0: no limit. A run moves whole, or not.
 * @held: of a space whose lock the caller has; NULL: of none. Return: as of compact_pool(). */
struct compact_result;
int runs_compact(upage_pool *pool, struct runs *held, uint64_t max_moves, struct compact_result *done);

/* Whether there is room in one piece for all frames of @runs once more, maybe after compaction. */
bool runs_have_room_twice(struct runs *runs);

/* Around a fork, and for switches: what the host shows. */
int runs_hide(struct runs *runs);
int runs_show(struct runs *runs);

/* Host mappings of them, an upper bound. */
unsigned runs_seams(const struct runs *runs);
uint64_t runs_frames(const struct runs *runs);

/* Whether the frame of a page in [start, end) of a run is pinned. */
bool run_is_pinned(const struct runs *runs, const struct run *run, uintptr_t start, uintptr_t end);

/* Content of [start, end), which lies in one run: zeros, or whole pages to and from a buffer. */
int run_zero(struct runs *runs, uintptr_t start, uintptr_t end);
int run_read(struct runs *runs, uintptr_t page, void *buffer);
int run_write(struct runs *runs, uintptr_t page, const void *buffer);

/**
 * runs_swap_out - the whole space leaves memory
 * Return: 0, or UPAGE_EBUSY (pinned), UPAGE_ENOSPC, UPAGE_ENOMEM, an error of the swap file:
 *         it is in memory as before.
 */
int runs_swap_out(struct runs *runs);

/* And comes back, perhaps to another base. Return: 0, or UPAGE_ENOMEM, or an error of the swap
 * file: it is out as before. */
int runs_swap_in(struct runs *runs);

/* ---- For run_move.c and run_swap.c ----------------------------------------------------------- */

static inline size_t runs_pages(const struct runs *runs, uintptr_t start, uintptr_t end)
{
	return (end - start) >> runs->pool->frames.page_shift;
}

/* Frames of one run now. */
static inline uint32_t run_frames(const struct runs *runs, const struct run *run)
{
	return runs->out ? 0 : (uint32_t)runs_pages(runs, run->start, run->end);
}

/* What the hardware would be told: the registers say what the runs are now. */
void runs_publish(struct runs *runs);

/* The pool's count of host mappings, of which so many were theirs before something changed. */
void runs_count_seams(struct runs *runs, unsigned before);

/* Of [start, end) of a run, all that may be shown. Return: 0 or a host's error, here and below. */
int run_show(const struct runs *runs, const struct run *run, uintptr_t start, uintptr_t end);
int run_hide(const struct runs *runs, uintptr_t start, uintptr_t end);

/* To frames of which those that are not its own already are free. Only the run's space's lock is held.
 * Return: 0, or UPAGE_EBUSY (pinned, or shared with a space whose lock is not to be had), UPAGE_ENOMEM (they
 * are not free), or a host's error: it is where it was. */
int run_move(struct run *run, uint64_t to);

/* Runs from frame @from on move up by @count, the highest first. Return: whether all did. */
bool runs_move_up(upage_pool *pool, struct runs *held, uint64_t from, uint32_t count);

/* Pages leave memory until @count frames are free, wherever, if so many can be. Return: whether they are. */
bool runs_make_free(upage_pool *pool, uint32_t count);

/* @count frames beside each other, zeros; after evictions and compaction where that takes them. @middle:
 * for what will grow. @held: as for runs_compact(). Return: the first, or FRAME_NONE. */
uint32_t runs_allocate(upage_pool *pool, struct runs *held, uint32_t count, bool middle);

/* The frames of @more pages at the end that moves: beside the run, which stays where it is, or moves.
 * Return: 0, UPAGE_ENOMEM, UPAGE_EBUSY. */
int run_extend(struct runs *runs, struct run *run, uint32_t more);

/* All that they have: in memory, or in swap. */
void runs_free_frames(struct runs *runs);
void runs_forget_slots(struct runs *runs);

#endif
