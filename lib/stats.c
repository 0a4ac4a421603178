/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stats.h"

#include <stdarg.h>
#include <stdio.h>

#include "compiler.h"
#include "host.h"

void stats_init(struct stats *stats)
{
	*stats = (struct stats){ .ticks_start = host_ticks(),
		                 .nanoseconds_start = host_nanoseconds() };
}

/* ---- Times --------------------------------------------------------------------------- */

static unsigned time_class(uint64_t ticks)
{
	if (ticks < 4)
		return (unsigned)ticks;
	unsigned octave = log2_floor(ticks);
	return octave * 4 + (unsigned)(ticks >> (octave - 2) & 3);
}

/* The largest number of ticks that is still in a class. */
static uint64_t time_class_limit(unsigned class)
{
	if (class < 8)
		return class;
	unsigned octave = class / 4;
	return ((UINT64_C(4 + 1) + class % 4) << (octave - 2)) - 1; /* of the last: all ones */
}

void stats_time(struct stats *stats, uint64_t ticks)
{
	atomic_fetch_add_explicit(&stats->times[time_class(ticks)], 1, memory_order_relaxed);
	uint64_t max = atomic_load_explicit(&stats->ticks_max, memory_order_relaxed);
	while (ticks > max && !atomic_compare_exchange_weak(&stats->ticks_max, &max, ticks))
		;
}

static uint64_t time_quantile(const struct stats *stats, double quantile)
{
	uint64_t total = 0, seen = 0;
	for (unsigned class = 0; class < TIME_CLASSES; class++)
		total += atomic_load(&stats->times[class]);
	for (unsigned class = 0; class < TIME_CLASSES && total > 0; class++) {
		seen += atomic_load(&stats->times[class]);
		if ((double)seen >= quantile * (double)total)
			return time_class_limit(class);
	}
	return 0;
}

/* ---- Reading ------------------------------------------------------------------------- */

void stats_read(struct stats *stats, struct upage_stats *out)
{
	uint64_t c[COUNTERS];
	for (unsigned i = 0; i < COUNTERS; i++)
		c[i] = atomic_load(&stats->counters[i]);
	out->zero_fill = c[COUNT_ZERO_FILL];
	out->major = c[COUNT_MAJOR];
	out->soft = c[COUNT_SOFT];
	out->write_upgrade = c[COUNT_WRITE_UPGRADE];
	out->faults = out->zero_fill + out->major + out->soft + out->write_upgrade;
	out->protection = c[COUNT_PROTECTION];
	out->bounds = c[COUNT_BOUNDS];
	out->failed = c[COUNT_FAILED];
	out->evictions = c[COUNT_EVICTIONS];
	out->writebacks = c[COUNT_WRITEBACKS];
	out->writeback_failures = c[COUNT_WRITEBACK_FAILURES];
	out->prefetched = c[COUNT_PREFETCHED];
	out->prefetch_used = c[COUNT_PREFETCH_USED];
	out->pinned_pages = c[COUNT_PINNED_PAGES];

	uint64_t ticks = host_ticks() - stats->ticks_start;
	uint64_t nanoseconds = host_nanoseconds() - stats->nanoseconds_start;
	double rate = ticks > 0 ? (double)nanoseconds / (double)ticks : 0;
	out->fault_ns_p50 = (uint64_t)((double)time_quantile(stats, 0.50) * rate);
	out->fault_ns_p99 = (uint64_t)((double)time_quantile(stats, 0.99) * rate);
	out->fault_ns_max = (uint64_t)((double)atomic_load(&stats->ticks_max) * rate);
	/* A class is known by its upper end, which nothing in it need have reached. */
	if (out->fault_ns_p99 > out->fault_ns_max)
		out->fault_ns_p99 = out->fault_ns_max;
	if (out->fault_ns_p50 > out->fault_ns_p99)
		out->fault_ns_p50 = out->fault_ns_p99;
}

/* ---- Writing ------------------------------------------------------------------------- */

struct text {
	char *text;
	size_t size, length;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *out, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(out->text + out->length, out->size - out->length, format, arguments);
	va_end(arguments);
	if (n > 0)
		out->length += (size_t)n;
	if (out->length >= out->size)
		out->length = out->size - 1;
}

static void add_string(struct text *out, const char *string)
{
	add(out, "\"");
	for (const unsigned char *c = (const unsigned char *)string; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			add(out, "\\%c", *c);
		else if (*c < 0x20)
			add(out, "\\u%04x", *c);
		else
			add(out, "%c", *c);
	}
	add(out, "\"");
}

#define N(field) (unsigned long long)stats->field

size_t stats_json(const struct upage_stats *stats, const struct stats_labels *labels, char *text,
                  size_t size)
{
	struct text out = { text, size, 0 };
	add(&out, "{\"program\": ");
	add_string(&out, labels->program);
	add(&out, ", \"scheme\": ");
	add_string(&out, labels->scheme);
	add(&out, ", \"policy\": ");
	add_string(&out, labels->policy);
	add(&out, ", \"store\": ");
	add_string(&out, labels->store);
	add(&out, ", \"page_size\": %llu,\n \"memory\": ", N(page_size));
	add(&out, "{\"frames\": %llu, \"frames_peak\": %llu, \"free_frames\": %llu, ", N(frames),
	    N(frames_peak), N(frames_free));
	add(&out, "\"largest_free_run\": %llu, \"table_bytes\": %llu, \"metadata_bytes\": %llu},\n",
	    N(largest_free_run), N(table_bytes), N(metadata_bytes));
	add(&out, " \"faults\": {\"total\": %llu, \"zero_fill\": %llu, \"major\": %llu, ", N(faults),
	    N(zero_fill), N(major));
	add(&out, "\"soft\": %llu, \"write_upgrade\": %llu, \"protection\": %llu, \"bounds\": %llu, ",
	    N(soft), N(write_upgrade), N(protection), N(bounds));
	add(&out, "\"failed\": %llu},\n", N(failed));
	add(&out, " \"evictions\": %llu, \"writebacks\": %llu, \"writeback_failures\": %llu, ",
	    N(evictions), N(writebacks), N(writeback_failures));
	add(&out, "\"swap_slots\": %llu, \"prefetched\": %llu, \"prefetch_used\": %llu,\n",
	    N(swap_slots), N(prefetched), N(prefetch_used));
	add(&out, " \"host\": {\"mappings\": %llu, \"mappings_peak\": %llu, \"mapping_budget\": %llu},\n",
	    N(host_mappings), N(host_mappings_peak), N(mapping_budget));
	add(&out, " \"compaction\": {\"runs\": 0, \"moves\": 0, \"max_pause_ns\": 0},\n");
	add(&out, " \"syscalls\": {\"intercepted\": 0, \"pinned_pages\": %llu}, \"injected\": {},\n",
	    N(pinned_pages));
	/* Not %f: a locale may write a comma. */
	uint64_t microseconds = (uint64_t)(labels->wall_seconds * 1e6);
	add(&out, " \"wall_seconds\": %llu.%06llu, ", (unsigned long long)microseconds / 1000000,
	    (unsigned long long)microseconds % 1000000);
	add(&out, "\"fault_ns\": {\"p50\": %llu, \"p99\": %llu, \"max\": %llu},\n", N(fault_ns_p50),
	    N(fault_ns_p99), N(fault_ns_max));
	add(&out, " \"processes\": []}\n");
	return out.length;
}

static void add_size(struct text *out, uint64_t bytes)
{
	if (bytes >= UINT64_C(10) << 30)
		add(out, "%.1f GiB", (double)bytes / (1 << 30));
	else if (bytes >= 1 << 20)
		add(out, "%.1f MiB", (double)bytes / (1 << 20));
	else
		add(out, "%.0f KiB", (double)bytes / 1024);
}

size_t stats_table(const struct upage_stats *stats, const struct stats_labels *labels, char *text,
                   size_t size)
{
	struct text out = { text, size, 0 };
	add(&out, "upage: %s, %s, policy %s, store %s, %.2f s\n", labels->program, labels->scheme,
	    labels->policy, labels->store, labels->wall_seconds);
	add(&out, "  memory        %llu frames of ", N(frames));
	add_size(&out, stats->page_size);
	add(&out, " = ");
	add_size(&out, stats->frames * stats->page_size);
	add(&out, "; most in use %llu, now free %llu\n", N(frames_peak), N(frames_free));
	add(&out, "  tables        ");
	add_size(&out, stats->table_bytes);
	add(&out, " of page tables\n");
	add(&out, "  page faults   %llu: %llu zero fill, %llu major, %llu soft, %llu write upgrade\n",
	    N(faults), N(zero_fill), N(major), N(soft), N(write_upgrade));
	if (stats->protection + stats->bounds + stats->failed > 0)
		add(&out, "  other traps   %llu protection, %llu bounds, %llu that failed\n",
		    N(protection), N(bounds), N(failed));
	add(&out, "  evictions     %llu, %llu written back (%llu failed), %llu slots in use\n",
	    N(evictions), N(writebacks), N(writeback_failures), N(swap_slots));
	if (stats->prefetched > 0)
		add(&out, "  read ahead    %llu pages, %llu of them used\n", N(prefetched),
		    N(prefetch_used));
	add(&out, "  host mappings %llu, most %llu, budget %llu\n", N(host_mappings),
	    N(host_mappings_peak), N(mapping_budget));
	add(&out, "  fault time    median %.1f us, 99th percentile %.1f us, longest %.1f us\n",
	    (double)stats->fault_ns_p50 / 1e3, (double)stats->fault_ns_p99 / 1e3,
	    (double)stats->fault_ns_max / 1e3);
	return out.length;
}
