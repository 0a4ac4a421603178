/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame.h - physical memory: the frame table over one memfd, in contiguous runs
 *
 * Frame p is the bytes [p, p + 1) * page size of the memfd. There is no lasting mapping of
 * it but the pages that a space shows: frames are filled and read by pwrite(2) and pread(2)
 * on the memfd. That is cheaper than an alias mapping (no fault and no TLB entry for the
 * alias, bench/fault prints both), does not count every frame twice in RssShmem, and leaves
 * no address through which a wild store of the program could reach a frame.
 *
 * A used frame may be AT HOME: its page's content then lies at the page's own address in a second
 * file, a sparse one, so that the host can show a whole space by one mapping (home.h). The frame has
 * no memory meanwhile; it counts for the page's. In that file there is nothing but the pages of
 * frames at home: what was there is a hole when the page goes, and the next one finds zeros.
 *
 * Runs are kept by the buddy system: a free run of 2^k frames starts at a multiple of 2^k. Memory is
 * cut into zones, a power of two of frames each, with lists and a lock of their own; no run of the lists
 * is longer. A thread takes frames from a zone that few others take from, and goes on to the next where
 * that has nothing as good. Frames beside each other may be of several zones: who looks for many, or
 * wants just some, goes from zone to zone, or holds all the locks.
 *
 *      FREE_BODY   free, inside a run that starts before it; all of a fresh table but heads
 *      FREE_HEAD   free, first of a run of 2^order frames
 *      USED        taken; page, pte and backing say by whom once it is published
 *      RUN         taken, and part of a run: run.h says whose, nothing here does
 *
 * Invariants (frame_table_is_valid):  the runs of all lists, the USED and the RUN frames add up to
 * all frames;  free == the sum of the runs;  no run's buddy is a free run of the same order;  a frame
 * that is stained is made.
 *
 * Fields of a used frame are guarded by the lock bit of its PTE (where there are several: share.h),
 * the lists by the lock of their zone (rank 3; all of them in order, by one who holds no other leaf).
 * Signal context: yes, but frame_table_init and _destroy.
 * Source: OSTEP ch. 17 (buddy allocation); Knuth, TAOCP vol. 1, 2.5; memfd_create(2).
 */
#ifndef UPAGE_FRAME_H
#define UPAGE_FRAME_H

#include "compiler.h"
#include "lock.h"
#include "page_table.h"
#include "shard.h"
#include "upage.h"

#define FRAMES_MIN 16
#define FRAMES_MAX (UINT64_C(1) << 31)
#define FRAME_ORDERS 32
#define FRAME_NONE UINT32_MAX

enum frame_state { FRAME_FREE_BODY, FRAME_FREE_HEAD, FRAME_USED, FRAME_RUN };

struct backing; /* what a page's content comes from: store.h */
struct share;   /* one of the pages that share a frame: share.h */

struct frame {
	_Atomic(pte_t *) pte;    /* the entry that maps it; NULL: none yet, or none any more */
	union {
		uintptr_t page;  /* USED: address of the page                             */
		struct {
			uint32_t next, previous; /* FREE_HEAD: its list; frame numbers    */
		};
	};
	union {
		struct backing *backing; /* USED: of the page, if there is one            */
		struct share *shares;    /* USED: all the pages, if there are several     */
	};
	uint32_t slot;           /* USED: the page's swap slot plus 1; 0: none            */
	uint16_t pins;           /* USED: upage_pin() and system calls that hold it       */
	uint16_t calls;          /* USED: of the pins, those of system calls under way    */
	uint16_t references;     /* PTEs that map it: which of backing and shares it has  */
	uint8_t state, order;
	bool stained;            /* has been written to: not the host's zeros any more    */
	bool at_home;            /* USED: the content is at its page's address            */
	bool made;               /* or zeros that the host has a page for                 */
};

/* With the policy's share, and that is at most 8 bytes, 48 for each frame. */
_Static_assert(sizeof(struct frame) == 40, "a frame's record has grown");

/* Small memories have one zone. */
#define FRAME_ZONES SHARDS
#define FRAME_ZONE_LEAST 4096

struct frame_zone {
	_Alignas(CACHE_LINE) struct lock lock; /* guards the rest; orders and fresh are also read without it */
	_Atomic uint32_t orders; /* bit k: list[k] is not empty */
	_Atomic uint64_t fresh;  /* frames from here on are free, and in no list yet */
	uint64_t start, end;
	uint32_t list[FRAME_ORDERS];
};

struct frame_table {
	_Atomic int memory;      /* the memfd           */
	_Atomic int copy;        /* around a fork: the child's memfd; else -1 */
	_Atomic int home;        /* the sparse file, where it is needed; else -1 */
	_Atomic int home_copy;   /* around a fork: the child's                */
	_Atomic bool home_stained; /* a hole could not be made in it: pages are zeroed */
	unsigned page_shift;
	uint64_t frames;
	struct frame *frame;     /* [frames]            */
	unsigned zone_shift;     /* a zone has 2^zone_shift frames, the last one perhaps less */
	unsigned zones;
	/* The first zone is that of the thread that comes first, so that what one thread takes lies together. */
	_Atomic uint8_t own_zone[SHARDS]; /* the number of the zone plus 1; 0: none yet */
	_Atomic unsigned owners;
	struct frame_zone zone[FRAME_ZONES];
	_Alignas(CACHE_LINE) _Atomic uint64_t free;
	_Atomic uint64_t free_least;
	_Atomic uint64_t in_runs; /* frames that are FRAME_RUN */
};

/* Return: 0, or the host's negated errno. */
int frame_table_init(struct frame_table *table, uint64_t frames, unsigned page_shift);
void frame_table_destroy(struct frame_table *table);
bool frame_table_is_valid(struct frame_table *table);

/* All zones stand still: around a fork. */
void frame_table_lock(struct frame_table *table);
void frame_table_unlock(struct frame_table *table);

/* @count frames beside each other, out of a shortest free run of a zone that has them, else the longest
 * stretch of runs; content undefined. Return: the first, or FRAME_NONE. O(log frames). */
uint32_t frame_allocate(struct frame_table *table, uint32_t count);

/* A frame for a page that has no neighbour in memory, in the longest run there is up to
 * 2^@place frames, the thread's zone first, and there as far from the start as page number @page is from a
 * multiple of that: so that the frames on both sides are free for the pages on both sides.
 * Return: the frame, or FRAME_NONE. O(log frames). */
#define FRAME_PLACE_ORDER 9
#define FRAME_PLACE_ORDER_FILE 6 /* where frames have no content, and need not be side by side */
uint32_t frame_allocate_placed(struct frame_table *table, uint64_t page, unsigned place);

/* Frame @pfn itself if it is free: so that neighbouring pages get neighbouring frames and
 * the host can merge their mappings. Return: whether it was. O(log frames). */
bool frame_allocate_at(struct frame_table *table, uint64_t pfn);

/* Frames from @pfn on, as far as they are free and @count goes. Return: how many. O(count log frames). */
uint32_t frame_allocate_from(struct frame_table *table, uint64_t pfn, uint32_t count);

void frame_free(struct frame_table *table, uint32_t pfn, uint32_t count);

/* For run.c: zeros in @count frames beside each other. They are the first that there are, or with
 * @middle from the middle of the longest stretch of free frames, for what will grow. Return: the first,
 * or FRAME_NONE. O(frames). */
uint32_t frame_allocate_run(struct frame_table *table, uint32_t count, bool middle);

/* Exactly [pfn, pfn + count), zeros too. Return: whether all were free. O(count log frames). */
bool frame_allocate_run_at(struct frame_table *table, uint64_t pfn, uint32_t count);
void frame_free_run(struct frame_table *table, uint32_t pfn, uint32_t count);

/* For who goes through all frames without a lock: past the last that was ever taken; and the next one to
 * look at behind @pfn, where free ones are passed by as it seems. */
uint64_t frame_table_end(const struct frame_table *table);
uint64_t frame_next(const struct frame_table *table, uint64_t pfn);

/* Free frames just below @pfn. O(their number). */
uint32_t frame_free_below(struct frame_table *table, uint32_t pfn);

/* How many free frames lie beside each other at most: exact while few runs are that long. O(log frames). */
uint64_t frame_largest_run(struct frame_table *table);

/* Makes the sparse file, if there is none. Return: 0 or the host's negated errno. */
int frame_open_home(struct frame_table *table);

/* Frames that were just taken are at home, of @count pages beside each other, from @address on. */
void frame_go_home(struct frame_table *table, uint32_t pfn, uint32_t count, uintptr_t address);

/* Those of them that are at home are no more, and have no content. frame_free() does it. */
void frame_leave_home(struct frame_table *table, uint32_t pfn, uint32_t count);

/* All pages of a range that are at home are about to go: their frames need do no more for that than
 * forget it. */
void frame_clear_home(struct frame_table *table, uintptr_t address, size_t length);

/* Content, of one frame or of frames beside each other, whose pages are so too if they are at home.
 * Return: 0 or the host's negated errno. */
int frame_move_run(struct frame_table *table, uint32_t from, uint32_t to, uint32_t count);
int frame_zero(struct frame_table *table, uint32_t pfn); /* free of cost if never written */
int frame_zero_run(struct frame_table *table, uint32_t pfn, uint32_t count);
void frame_stain(struct frame_table *table, uint32_t pfn, uint32_t count); /* written to, not by what is below */
bool frame_is_zero_run(const struct frame_table *table, uint32_t pfn, uint32_t count); /* none is stained */

/* Makes zeros of free frames that are none, up to @most beside each other, from *@hand on, which moves
 * on and goes round; the next frame_zero() of them is free of cost. They are taken for that time.
 * Return: how many; 0: there is none in the FRAME_ZERO_LOOK frames from there on, or the host's failure. */
#define FRAME_ZERO_LOOK 1024u
int frame_zero_ahead(struct frame_table *table, uint64_t *hand, uint32_t most);

/* Takes such frames, from *@first on, and no more. Return: how many. */
uint32_t frame_take_stained(struct frame_table *table, uint64_t *hand, uint32_t most, uint32_t *first);

int frame_read(const struct frame_table *table, uint32_t pfn, void *buffer);
int frame_read_run(const struct frame_table *table, uint32_t pfn, uint32_t count, void *buffer);
int frame_write(struct frame_table *table, uint32_t pfn, const void *buffer);
int frame_write_run(struct frame_table *table, uint32_t pfn, uint32_t count, const void *buffer);

/* Frames beside each other at an address of ours, which nobody else knows: to be filled there, until
 * host_release() or host_show_borrowed(). Return: 0, or the host's negated errno. */
int frame_borrow(struct frame_table *table, uint32_t pfn, uint32_t count, void **at);

/* Around a fork, while nothing changes. A memory of the child's own, which has the content of all
 * used frames: made before, and then let go in the parent and adopted in the child. @shared: the
 * two have one table of descriptors. Return: 0, or the host's negated errno: there is no copy. */
int frame_copy_begin(struct frame_table *table);
void frame_copy_end(struct frame_table *table, bool shared);
void frame_copy_adopt(struct frame_table *table, bool shared);

static inline size_t frame_size(const struct frame_table *table)
{
	return (size_t)1 << table->page_shift;
}

static inline off_t frame_offset(const struct frame_table *table, uint64_t pfn)
{
	return (off_t)(pfn << table->page_shift);
}

#endif
