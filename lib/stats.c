/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stats.h"

#include <string.h>

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

static void raise_to(_Atomic uint64_t *most, uint64_t value)
{
	uint64_t known = atomic_load_explicit(most, memory_order_relaxed);
	while (value > known && !atomic_compare_exchange_weak(most, &known, value))
		;
}

bool stats_time(struct stats *stats, uint64_t ticks)
{
	struct stats_part *part = &stats->part[shard_here()];
	uint64_t before = atomic_fetch_add_explicit(&part->times[time_class(ticks)], 1,
	                                            memory_order_relaxed);
	raise_to(&part->ticks_max, ticks);
	atomic_store_explicit(&part->ticks_last, host_ticks(), memory_order_relaxed);
	return before % 1024 == 1023;
}

void stats_pause(struct stats *stats, uint64_t nanoseconds)
{
	raise_to(&stats->pause_ns_max, nanoseconds);
}

/* Most are 0, and need no write. */
static void add_to(_Atomic uint64_t *sum, uint64_t part)
{
	if (part != 0)
		atomic_fetch_add(sum, part);
}

/* The parts added up, all at about the same time. */
static void add_up(struct stats *stats, struct stats_part *sum)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		struct stats_part *part = &stats->part[i];
		for (unsigned counter = 0; counter < COUNTERS; counter++)
			add_to(&sum->counters[counter], atomic_load(&part->counters[counter]));
		for (unsigned class = 0; class < TIME_CLASSES; class++)
			add_to(&sum->times[class], atomic_load(&part->times[class]));
		raise_to(&sum->ticks_max, atomic_load(&part->ticks_max));
		raise_to(&sum->ticks_last, atomic_load(&part->ticks_last));
	}
}

static uint64_t time_quantile(const struct stats_part *sum, unsigned percent)
{
	uint64_t total = 0, seen = 0;
	for (unsigned class = 0; class < TIME_CLASSES; class++)
		total += atomic_load(&sum->times[class]);
	for (unsigned class = 0; class < TIME_CLASSES && total > 0; class++) {
		seen += atomic_load(&sum->times[class]);
		if (seen * 100 >= percent * total)
			return time_class_limit(class);
	}
	return 0;
}

/* The rate of ticks is learnt from what both clocks did since the start. */
__extension__ typedef unsigned __int128 uint128;
struct rate {
	uint64_t ticks, nanoseconds;
};

static struct rate rate_now(const struct stats *stats)
{
	return (struct rate){ host_ticks() - stats->ticks_start,
		              host_nanoseconds() - stats->nanoseconds_start };
}

static uint64_t nanoseconds(struct rate rate, uint64_t ticks)
{
	return rate.ticks > 0 ? (uint64_t)((uint128)ticks * rate.nanoseconds / rate.ticks) : 0;
}

uint64_t stats_active_ns(struct stats *stats)
{
	uint64_t last = 0;
	for (unsigned i = 0; i < SHARDS; i++)
		last = larger(last, atomic_load(&stats->part[i].ticks_last));
	return last > stats->ticks_start ? nanoseconds(rate_now(stats), last - stats->ticks_start)
	                                 : 0;
}

/* ---- Reading ------------------------------------------------------------------------- */

void stats_read(struct stats *stats, struct upage_stats *out)
{
	struct stats_part sum = { .ticks_max = 0 };
	const _Atomic uint64_t *c = sum.counters;
	add_up(stats, &sum);
	out->zero_fill = c[COUNT_ZERO_FILL];
	out->major = c[COUNT_MAJOR];
	out->soft = c[COUNT_SOFT];
	out->write_upgrade = c[COUNT_WRITE_UPGRADE];
	out->copied = c[COUNT_COPIED];
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
	out->intercepted = c[COUNT_INTERCEPTED];
	out->unenforced = c[COUNT_UNENFORCED];
	out->compactions = c[COUNT_COMPACTIONS];
	out->moves = c[COUNT_MOVES];
	out->pause_ns_max = atomic_load(&stats->pause_ns_max);
	out->switches = c[COUNT_SWITCHES];
	out->reclaimed = c[COUNT_RECLAIMED];
	out->zeroed_ahead = c[COUNT_ZEROED_AHEAD];
	out->patched_sites = c[COUNT_PATCHED];
	out->store_at_once = c[COUNT_AT_ONCE];

	struct rate rate = rate_now(stats);
	out->fault_ns_p50 = nanoseconds(rate, time_quantile(&sum, 50));
	out->fault_ns_p99 = nanoseconds(rate, time_quantile(&sum, 99));
	out->fault_ns_max = nanoseconds(rate, atomic_load(&sum.ticks_max));
	/* A class is known by its upper end, which nothing in it need have reached. */
	if (out->fault_ns_p99 > out->fault_ns_max)
		out->fault_ns_p99 = out->fault_ns_max;
	if (out->fault_ns_p50 > out->fault_ns_p99)
		out->fault_ns_p50 = out->fault_ns_p99;
}

void stats_add(struct stats *sum, struct stats *part)
{
	add_up(part, &sum->part[0]);
	raise_to(&sum->pause_ns_max, atomic_load(&part->pause_ns_max));
}

/* ---- JSON ---------------------------------------------------------------------------- */

struct number {
	const char *before; /* what stands before it */
	size_t offset;      /* in struct upage_stats */
};

static void add_numbers(struct stream *out, const struct upage_stats *stats,
                        const struct number *numbers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		stream_text(out, numbers[i].before);
		stream_decimal(out, *(const uint64_t *)(const void *)((const char *)stats +
		                                                      numbers[i].offset));
	}
}

static void add_string(struct stream *out, const char *before, const char *string)
{
	stream_text(out, before);
	stream_quoted(out, string);
}

static void add_number(struct stream *out, const char *before, uint64_t number)
{
	stream_text(out, before);
	stream_decimal(out, number);
}

#define N(text, field) { text, offsetof(struct upage_stats, field) }
static const struct number counts[] = {
	N(", \"page_size\": ", page_size),
	N(",\n \"memory\": {\"frames\": ", frames),
	N(", \"frames_peak\": ", frames_peak),
	N(", \"free_frames\": ", frames_free),
	N(", \"largest_free_run\": ", largest_free_run),
	N(", \"table_bytes\": ", table_bytes),
	N(", \"metadata_bytes\": ", metadata_bytes),
	N(", \"shared_bytes\": ", shared_bytes),
	N(", \"shared_bytes_peak\": ", shared_bytes_peak),
	N("},\n \"faults\": {\"total\": ", faults),
	N(", \"zero_fill\": ", zero_fill),
	N(", \"major\": ", major),
	N(", \"soft\": ", soft),
	N(", \"write_upgrade\": ", write_upgrade),
	N(", \"copied\": ", copied),
	N(", \"protection\": ", protection),
	N(", \"bounds\": ", bounds),
	N(", \"failed\": ", failed),
	N("},\n \"evictions\": ", evictions),
	N(", \"writebacks\": ", writebacks),
	N(", \"writeback_failures\": ", writeback_failures),
	N(", \"swap_slots\": ", swap_slots),
	N(", \"store_bytes\": ", store_bytes),
	N(", \"store_at_once\": ", store_at_once),
	N(", \"prefetched\": ", prefetched),
	N(", \"prefetch_used\": ", prefetch_used),
	N(", \"reclaimed\": ", reclaimed),
	N(", \"zeroed_ahead\": ", zeroed_ahead),
	N(",\n \"switches\": ", switches),
	N(",\n \"host\": {\"mappings\": ", host_mappings),
	N(", \"mappings_peak\": ", host_mappings_peak),
	N(", \"mapping_budget\": ", mapping_budget),
	N("},\n \"compaction\": {\"runs\": ", compactions),
	N(", \"moves\": ", moves),
	N(", \"max_pause_ns\": ", pause_ns_max),
	N("},\n \"syscalls\": {\"intercepted\": ", intercepted),
	N(", \"pinned_pages\": ", pinned_pages),
	N(", \"unenforced\": ", unenforced),
	N(", \"patched_sites\": ", patched_sites),
};
static const struct number times[] = {
	N(", \"fault_ns\": {\"p50\": ", fault_ns_p50),
	N(", \"p99\": ", fault_ns_p99),
	N(", \"max\": ", fault_ns_max),
};
#undef N
#define ADD(numbers) add_numbers(out, stats, numbers, sizeof(numbers) / sizeof(numbers[0]))

void stats_json_begin(struct stream *out, const struct upage_stats *stats,
                      const struct stats_labels *labels)
{
	add_string(out, "{\"program\": ", labels->program);
	add_string(out, ", \"scheme\": ", labels->scheme);
	add_string(out, ", \"policy\": ", labels->policy);
	add_string(out, ", \"store\": ", labels->store);
	add_string(out, ", \"mapping\": ", labels->mapping);
	ADD(counts);
	stream_text(out, "}, \"injected\": {},\n \"wall_seconds\": ");
	stream_fixed(out, labels->wall_ns, 1000000000, 6);
	ADD(times);
	add_number(out, "},\n \"pid\": ", (uint64_t)labels->process);
	add_number(out, ", \"parent\": ", (uint64_t)labels->parent);
	add_string(out, ", \"ended\": ", labels->ended != NULL ? labels->ended : "");
	if (labels->signal != 0)
		add_number(out, ", \"signal\": ", (uint64_t)labels->signal);
	if (labels->merged != 0)
		add_number(out, ", \"merged\": ", labels->merged);
	stream_text(out, ",\n \"processes\": [");
}

void stats_json_end(struct stream *out, uint64_t dropped)
{
	add_number(out, "], \"processes_dropped\": ", dropped);
	stream_text(out, "}");
}

/* ---- The table ----------------------------------------------------------------------- */

static void add_size(struct stream *out, uint64_t bytes)
{
	if (bytes >= UINT64_C(10) << 30) {
		stream_fixed(out, bytes, 1 << 30, 1);
		stream_text(out, " GiB");
	} else if (bytes >= 1 << 20) {
		stream_fixed(out, bytes, 1 << 20, 1);
		stream_text(out, " MiB");
	} else {
		stream_fixed(out, bytes, 1024, 0);
		stream_text(out, " KiB");
	}
}

static void add_seconds(struct stream *out, uint64_t ns)
{
	stream_fixed(out, ns, 1000000000, 2);
	stream_text(out, " s");
}

#define N(text, field) add_number(out, text, stats->field)

static void add_other_traps(struct stream *out, const struct upage_stats *stats)
{
	if (stats->protection + stats->bounds + stats->failed == 0)
		return;
	N("\n  other traps   ", protection);
	N(" protection, ", bounds);
	N(" bounds, ", failed);
	stream_text(out, " that failed");
}

static void add_copies(struct stream *out, const struct upage_stats *stats)
{
	if (stats->copied == 0)
		return;
	N("\n  copied        ", copied);
	stream_text(out, " pages that were shared");
}

static void add_read_ahead(struct stream *out, const struct upage_stats *stats)
{
	if (stats->prefetched == 0)
		return;
	N("\n  read ahead    ", prefetched);
	stream_text(out, " pages");
	if (stats->prefetch_used > 0) { /* else nobody may have looked: cluster.h */
		N(", ", prefetch_used);
		stream_text(out, " of them used");
	}
}

static void add_ahead_of_need(struct stream *out, const struct upage_stats *stats)
{
	if (stats->reclaimed + stats->zeroed_ahead == 0)
		return;
	N("\n  ahead of need ", reclaimed);
	N(" of the evictions, ", zeroed_ahead);
	stream_text(out, " frames zeroed");
}

static void add_system_calls(struct stream *out, const struct upage_stats *stats)
{
	if (stats->intercepted == 0)
		return;
	N("\n  system calls  ", intercepted);
	stream_text(out, " intercepted");
	if (stats->pinned_pages > 0) {
		N(", ", pinned_pages);
		stream_text(out, " pages pinned");
	}
	if (stats->patched_sites > 0) {
		N(", ", patched_sites);
		stream_text(out, " places patched");
	}
}

static void add_unenforced(struct stream *out, const struct upage_stats *stats)
{
	if (stats->unenforced == 0)
		return;
	N("\n  protection    ", unenforced);
	stream_text(out, " changes of it are not enforced");
}

static void add_switches(struct stream *out, const struct upage_stats *stats)
{
	if (stats->switches == 0)
		return;
	N("\n  switches      ", switches);
	stream_text(out, " of spaces at the same addresses");
}

static void add_shared(struct stream *out, const struct upage_stats *stats)
{
	if (stats->shared_bytes_peak == 0)
		return;
	stream_text(out, "\n  shared        ");
	add_size(out, stats->shared_bytes);
	stream_text(out, " mapped by the host, most ");
	add_size(out, stats->shared_bytes_peak);
}

static void add_evictions(struct stream *out, const struct upage_stats *stats)
{
	N("\n  evictions     ", evictions);
	if (stats->evictions == 0)
		return;
	N(", ", writebacks);
	stream_text(out, " written back");
	if (stats->writeback_failures > 0) {
		N(" (", writeback_failures);
		stream_text(out, " failed)");
	}
	N(", ", swap_slots);
	stream_text(out, " slots in use, ");
	add_size(out, stats->store_bytes);
	if (stats->store_at_once > 0) {
		N("; ", store_at_once);
		stream_text(out, " requests at once");
	}
}

/* A long one was spent waiting: for a store, or for a processor. */
static void add_fault_time(struct stream *out, const char *before, uint64_t ns)
{
	bool is_long = ns >= 10000000;
	stream_text(out, before);
	stream_fixed(out, ns, is_long ? 1000000 : 1000, 1);
	stream_text(out, is_long ? " ms" : " us");
}

static void add_compaction(struct stream *out, const struct upage_stats *stats)
{
	if (stats->compactions == 0)
		return;
	N("\n  compaction    ", compactions);
	N(" runs, ", moves);
	stream_text(out, " moves");
	add_fault_time(out, ", longest pause ", stats->pause_ns_max);
}

void stats_table(struct stream *out, const struct upage_stats *stats,
                 const struct stats_labels *labels)
{
	const char *const header[] = { "upage: ", labels->program, ", ", labels->scheme,
		                       ", policy ", labels->policy, ", store ", labels->store, ", " };
	for (size_t i = 0; i < sizeof(header) / sizeof(header[0]); i++)
		stream_text(out, header[i]);
	add_seconds(out, labels->wall_ns);
	N("\n  memory        ", frames);
	stream_text(out, " frames of ");
	add_size(out, stats->page_size);
	stream_text(out, " = ");
	add_size(out, stats->frames * stats->page_size);
	N("; most in use ", frames_peak);
	N(", now free ", frames_free);
	stream_text(out, "\n  tables        ");
	add_size(out, stats->table_bytes);
	stream_text(out, " of page tables");
	add_shared(out, stats);
	N("\n  page faults   ", faults);
	N(": ", zero_fill);
	N(" zero fill, ", major);
	N(" major, ", soft);
	N(" soft, ", write_upgrade);
	stream_text(out, " write upgrade");
	add_copies(out, stats);
	add_other_traps(out, stats);
	add_evictions(out, stats);
	add_ahead_of_need(out, stats);
	add_read_ahead(out, stats);
	add_unenforced(out, stats);
	add_switches(out, stats);
	add_system_calls(out, stats);
	N("\n  host mappings ", host_mappings);
	N(", most ", host_mappings_peak);
	N(", budget ", mapping_budget);
	stream_text(out, ", by ");
	stream_text(out, labels->mapping);
	add_compaction(out, stats);
	add_fault_time(out, "\n  fault time    median ", stats->fault_ns_p50);
	add_fault_time(out, ", 99th percentile ", stats->fault_ns_p99);
	add_fault_time(out, ", longest ", stats->fault_ns_max);
	stream_text(out, "\n");
}

/* ---- The lines of a tree ---------------------------------------------------------------- */

static void add_spaces(struct stream *out, size_t width, size_t taken)
{
	for (; taken < width; taken++)
		stream_text(out, " ");
}

static void add_right(struct stream *out, size_t width, const char *text)
{
	add_spaces(out, width, strlen(text));
	stream_text(out, text);
}

static void add_right_number(struct stream *out, size_t width, uint64_t number, uint64_t unit,
                             unsigned places)
{
	char digits[32];
	struct stream text = { digits, sizeof(digits), 0, STREAM_KEEP, 0 };
	stream_fixed(&text, number, unit, places);
	add_right(out, width, digits);
}

static const struct column {
	const char *name;
	size_t width, offset; /* in struct upage_stats */
} columns[] = {
	{ "faults", 11, offsetof(struct upage_stats, faults) },
	{ "major", 10, offsetof(struct upage_stats, major) },
	{ "evictions", 11, offsetof(struct upage_stats, evictions) },
	{ "written back", 14, offsetof(struct upage_stats, writebacks) },
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))
enum { WIDTH_PROCESS = 9, WIDTH_TIME = 10, WIDTH_ENDED = 9 };

static uint64_t number_of(const struct upage_stats *stats, const struct column *column)
{
	return *(const uint64_t *)(const void *)((const char *)stats + column->offset);
}

static void add_columns(struct stream *out, const struct upage_stats *stats)
{
	for (size_t i = 0; i < COLUMNS; i++)
		add_right_number(out, columns[i].width, number_of(stats, &columns[i]), 1, 0);
}

/* How it ended, and what it was: names may be long. */
static void add_end(struct stream *out, const char *ended, const char *program)
{
	stream_text(out, "  ");
	stream_text(out, ended);
	add_spaces(out, WIDTH_ENDED, strlen(ended));
	stream_text(out, "  ");
	stream_text(out, program);
	stream_text(out, "\n");
}

void stats_table_heading(struct stream *out)
{
	add_right(out, WIDTH_PROCESS, "process");
	for (size_t i = 0; i < COLUMNS; i++)
		add_right(out, columns[i].width, columns[i].name);
	add_right(out, WIDTH_TIME, "seconds");
	add_end(out, "ended", "program");
}

void stats_table_process(struct stream *out, const struct upage_stats *stats,
                         const struct stats_labels *labels, struct upage_stats *sum)
{
	char ended[32];
	struct stream end = { ended, sizeof(ended), 0, STREAM_KEEP, 0 };
	bool many = labels->merged > 0;
	add_right_number(out, WIDTH_PROCESS, many ? labels->merged : (uint64_t)labels->process, 1, 0);
	add_columns(out, stats);
	for (size_t i = 0; i < COLUMNS; i++)
		*(uint64_t *)(void *)((char *)sum + columns[i].offset) += number_of(stats, &columns[i]);
	add_right_number(out, WIDTH_TIME, labels->wall_ns, 1000000000, 2);
	stream_text(&end, labels->ended != NULL ? labels->ended : "");
	if (labels->signal != 0)
		add_number(&end, " ", (uint64_t)labels->signal);
	add_end(out, ended, many ? "(so many more)" : labels->program);
}

void stats_table_total(struct stream *out, const struct upage_stats *sum)
{
	add_right(out, WIDTH_PROCESS, "total");
	add_columns(out, sum);
	stream_text(out, "\n");
}
