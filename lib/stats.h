/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stats.h - counters, the distribution of fault times, and how both are written
 *
 * Counters are atomic and only grow. Times are counted in ticks of host_ticks(), four classes
 * an octave, and become nanoseconds when they are read.
 *
 * Invariant: a fault counts once, in one of zero_fill, major, soft, write_upgrade, protection,
 * bounds, failed.
 * Signal context: stats_count and stats_time, yes; the writers, no.
 */
#ifndef UPAGE_STATS_H
#define UPAGE_STATS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "upage.h"

enum counter {
	COUNT_ZERO_FILL,
	COUNT_MAJOR,
	COUNT_SOFT,
	COUNT_WRITE_UPGRADE,
	COUNT_PROTECTION,
	COUNT_BOUNDS,
	COUNT_FAILED,
	COUNT_EVICTIONS,
	COUNT_WRITEBACKS,
	COUNT_WRITEBACK_FAILURES,
	COUNT_PREFETCHED,
	COUNT_PREFETCH_USED,
	COUNT_PINNED_PAGES,
	COUNTERS,
	COUNT_NONE = COUNTERS, /* nothing to count: another thread had done the work */
};

#define TIME_CLASSES 256

struct stats {
	_Atomic uint64_t counters[COUNTERS];
	_Atomic uint64_t times[TIME_CLASSES];
	_Atomic uint64_t ticks_max;
	uint64_t ticks_start, nanoseconds_start; /* to learn the rate of ticks */
};

void stats_init(struct stats *stats);

static inline void stats_count(struct stats *stats, enum counter counter)
{
	if (counter < COUNTERS)
		atomic_fetch_add_explicit(&stats->counters[counter], 1, memory_order_relaxed);
}

void stats_time(struct stats *stats, uint64_t ticks);

/* Fills the counters and times of @out; the rest is its caller's. */
void stats_read(struct stats *stats, struct upage_stats *out);

/* Names that go with the numbers. */
struct stats_labels {
	const char *program, *scheme, *policy, *store;
	double wall_seconds;
};

/* Writes to @text; returns the length, which is under @size. */
size_t stats_json(const struct upage_stats *stats, const struct stats_labels *labels, char *text,
                  size_t size);
size_t stats_table(const struct upage_stats *stats, const struct stats_labels *labels, char *text,
                   size_t size);

#endif
