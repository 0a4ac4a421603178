/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stats.h - counters, the distribution of fault times, and how both are written
 *
 * Counters are atomic and only grow. Times are counted in ticks of host_ticks(), four classes
 * an octave, and become nanoseconds when they are read. Threads count in parts of their own
 * (shard.h), which are added up when they are read. All of it may lie in memory that processes
 * share: nothing in it is an address.
 *
 * Invariant: a fault counts once, in one of zero_fill, major, soft, write_upgrade, protection,
 * bounds, failed.
 * Signal context: all of it.
 */
#ifndef UPAGE_STATS_H
#define UPAGE_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "print.h"
#include "shard.h"
#include "upage.h"

enum counter {
	COUNT_ZERO_FILL,
	COUNT_MAJOR,
	COUNT_SOFT,
	COUNT_WRITE_UPGRADE,
	COUNT_COPIED, /* of those and the soft ones */
	COUNT_PROTECTION,
	COUNT_BOUNDS,
	COUNT_FAILED,
	COUNT_EVICTIONS,
	COUNT_WRITEBACKS,
	COUNT_WRITEBACK_FAILURES,
	COUNT_PREFETCHED,
	COUNT_PREFETCH_USED,
	COUNT_PINNED_PAGES,
	COUNT_INTERCEPTED,
	COUNT_UNENFORCED,
	COUNT_COMPACTIONS,
	COUNT_MOVES,
	COUNT_SWITCHES,
	COUNT_RECLAIMED,    /* of the evictions */
	COUNT_ZEROED_AHEAD,
	COUNT_PATCHED,
	COUNT_AT_ONCE,      /* requests to swap that were under way beside others, or while nobody waited */
	COUNTERS,
	COUNT_NONE = COUNTERS, /* nothing to count: another thread had done the work */
};

#define TIME_CLASSES 256

struct stats_part {
	_Alignas(CACHE_LINE) _Atomic uint64_t counters[COUNTERS];
	_Atomic uint64_t ticks_max;
	_Atomic uint64_t ticks_last;             /* when the last fault ended         */
	_Atomic uint64_t times[TIME_CLASSES];
};

struct stats {
	struct stats_part part[SHARDS];
	_Atomic uint64_t pause_ns_max;           /* of compaction                     */
	uint64_t ticks_start, nanoseconds_start; /* to learn the rate of ticks        */
};

void stats_init(struct stats *stats);

static inline void stats_count_many(struct stats *stats, enum counter counter, uint64_t many)
{
	if (counter < COUNTERS)
		atomic_fetch_add_explicit(&stats->part[shard_here()].counters[counter], many,
		                          memory_order_relaxed);
}

static inline void stats_count(struct stats *stats, enum counter counter)
{
	stats_count_many(stats, counter, 1);
}

/* Pages were held for @nanoseconds, because they moved. */
void stats_pause(struct stats *stats, uint64_t nanoseconds);

/* A fault took @ticks until now. Return: whether it was one in about a thousand, for what
 * should be done now and then. */
bool stats_time(struct stats *stats, uint64_t ticks);

/* Fills the counters and times of @out; the rest is its caller's. */
void stats_read(struct stats *stats, struct upage_stats *out);

/* From the start to the end of the last fault, in nanoseconds. */
uint64_t stats_active_ns(struct stats *stats);

/* Adds what was counted in @part to @sum. */
void stats_add(struct stats *sum, struct stats *part);

/* What goes with the numbers. */
struct stats_labels {
	const char *program, *scheme, *policy, *store, *mapping;
	uint64_t wall_ns;
	int process, parent; /* ids; 0: of many, @merged in number */
	const char *ended;   /* how: a word of report.h */
	int signal;          /* 0, or which one ended it */
	uint64_t merged;
};

/* One JSON object, without a line's end. Between the two, the objects of other processes may be
 * written, separated by commas; @dropped: processes of which nothing is known. */
void stats_json_begin(struct stream *out, const struct upage_stats *stats,
                      const struct stats_labels *labels);
void stats_json_end(struct stream *out, uint64_t dropped);

/* Lines for people, of one process. */
void stats_table(struct stream *out, const struct upage_stats *stats,
                 const struct stats_labels *labels);

/* Of a tree of processes: a heading, one line each, whose counts are added to @sum, and that. */
void stats_table_heading(struct stream *out);
void stats_table_process(struct stream *out, const struct upage_stats *stats,
                         const struct stats_labels *labels, struct upage_stats *sum);
void stats_table_total(struct stream *out, const struct upage_stats *sum);

#endif
