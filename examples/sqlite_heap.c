/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sqlite_heap.c - an unchanged SQLite whose heap is four times as large as memory
 *
 * libsqlite3 keeps an in-memory database of what this machine's package manager knows, and
 * answers queries: indices, joins, big sorts, window functions, updates, an integrity check.
 * It does so twice, each time in a fresh process: natively, and with its allocator replaced,
 * through SQLite's own hook for that, by a heap of paged memory a quarter as large as what
 * the native run needed. Both runs must write the same results, byte for byte.
 *
 * Run:    ./sqlite_heap            two runs at 256 MiB of tables
 *         ./sqlite_heap --quick    at 48 MiB
 *         UPAGE_OPTIONS=policy=fifo,stats ./sqlite_heap --fraction 8
 * Build:  cc -std=c11 -D_GNU_SOURCE sqlite_heap.c sqlite_workload.c compare_runs.c
 *            -lupage -lsqlite3 -pthread
 *
 * All that has to do with paging is in this file. sqlite_workload.c only talks to SQLite and
 * knows nothing of paging; compare_runs.c starts the two runs and compares them.
 *
 * The one rule that paged memory brings: the kernel does not take our faults, so no system
 * call may be handed an address of SQLite's heap. SQLite makes none of its own on its heap as
 * long as it needs no file and waits for no lock (see open_database()); the workload copies
 * what SQLite returns before it writes it (see put()).
 */
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include "compare_runs.h"
#include "sqlite_workload.h"
#include "upage.h"

static upage_pool *pool;   /* physical memory */
static upage_space *space; /* virtual memory over it */
static upage_heap *heap;   /* malloc() in that */

static void check(int result, const char *what)
{
	if (result)
		die("%s: %s", what, upage_strerror(result));
}

static void open_heap(uint64_t memory, struct report *report)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	char words[64];

	snprintf(words, sizeof(words), "memory=%" PRIu64, memory);
	check(upage_config_parse(&config, words), config.message);
	check(upage_config_environment(&config), config.message); /* the user has the last word */
	check(upage_pool_create(&pool, &config), config.message);
	check(upage_space_create(&space, pool, NULL), "upage_space_create");
	check(upage_heap_create(&heap, space), "upage_heap_create");
	report->memory = config.memory;
	report->stats.size = sizeof(report->stats);
}

static void close_heap(void)
{
	check(upage_heap_destroy(heap), "upage_heap_destroy");
	check(upage_space_destroy(space), "upage_space_destroy");
	check(upage_pool_destroy(pool), "upage_pool_destroy");
}

/* ---- SQLite's allocator: seven functions in front of the heap -------------------------- */

static void *paged_malloc(int size)
{
	return upage_heap_allocate(heap, (size_t)size);
}

static void paged_free(void *block)
{
	upage_heap_free(heap, block);
}

static void *paged_realloc(void *block, int size)
{
	return upage_heap_resize(heap, block, (size_t)size);
}

static int paged_size(void *block)
{
	size_t size = upage_heap_block_size(heap, block);

	return size > INT_MAX ? INT_MAX : (int)size;
}

static int paged_roundup(int size)
{
	return (size + 7) & ~7;
}

static int paged_init(void *unused)
{
	(void)unused;
	return SQLITE_OK;
}

static void paged_shutdown(void *unused)
{
	(void)unused;
}

static void replace_allocator(void)
{
	static const sqlite3_mem_methods methods = {
		.xMalloc = paged_malloc,
		.xFree = paged_free,
		.xRealloc = paged_realloc,
		.xSize = paged_size,
		.xRoundup = paged_roundup,
		.xInit = paged_init,
		.xShutdown = paged_shutdown,
	};

	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
		die("sqlite3_config(SQLITE_CONFIG_MALLOC) failed");
}

/* ---- The two runs ---------------------------------------------------------------------- */

static struct report *paged_report;

static void sample(const struct work_report *work, uint64_t heap_bytes, const char *what)
{
	struct report *report = paged_report;

	check(upage_stats_get(pool, &report->stats), "upage_stats_get");
	if (report->stats.swap_slots > report->swap_peak)
		report->swap_peak = report->stats.swap_slots;
	if (upage_heap_mapped(heap) > report->heap_mapped)
		report->heap_mapped = upage_heap_mapped(heap);
	show_progress(work, heap_bytes, what);
}

static void work(const struct run *run, struct report *report)
{
	if (!run->paged) {
		run_workload(&run->work, &report->work, show_progress);
		return;
	}
	paged_report = report;
	open_heap(run->memory, report);
	replace_allocator();
	run_workload(&run->work, &report->work, sample);
	sample(&report->work, 0, "closing");
	close_heap();
}

int main(int argc, char **argv)
{
	return compare_runs("sqlite_heap", work, argc, argv);
}
