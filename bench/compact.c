/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compact.c - moving pages under running threads
 *
 * Question   16 MiB of pages are compacted in a memory of 32 MiB, while two threads write to them: how
 *            long does that take for each page that moves, how long are pages held, and how many host
 *            mappings does it save?
 * Unit       nanoseconds a page; bandwidth: MB a second; -pause: microseconds, the median of the rounds' longest pauses; mappings
 * Baseline   memcpy of as many, from and to memory that is touched, in the same rounds and beside the same
 *            threads
 * Target     bandwidth: half of memcpy's; pauses: a millisecond
 * Repeat     bench/compact [--quick] [--json FILE], on a busy machine: chrt -f 1 bench/compact
 *
 * Cases: every second run of so many pages was unmapped, so that all that is left slides (of 256: bandwidth);
 * pages whose frames are anywhere, each alone, so that they are brought in order on their way. A space in base
 * and bounds of as many moves whole, by its own length or by 1 MiB: its threads wait for all of it. The threads
 * have the other processors to themselves; where there is only one, pauses are those of the scheduler.
 */
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 4096 /* that are compacted, or a quarter of them */
#define THREADS 2

static upage_pool *pool;
static upage_space *space;
static char *memory, *from, *to;
static size_t pages, span;  /* pages in use; and of the mapping that they are in */
static size_t run;          /* pages beside each other */
static _Atomic bool stop;
static _Atomic unsigned running; /* threads */
static double pauses[BENCH_ROUNDS_MAX], before[BENCH_ROUNDS_MAX], after[BENCH_ROUNDS_MAX],
        moves[BENCH_ROUNDS_MAX];
static unsigned rounds;

static uint64_t mappings(void)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	need(upage_stats_get(pool, &stats), "stats");
	return stats.host_mappings;
}

/* ---- The threads -------------------------------------------------------------------------- */

/* On the processors that the compaction is not on. */
static void *write_on(void *argument)
{
	uint64_t random = (uintptr_t)argument;
	cpu_set_t others, all;
	int processors = sched_getaffinity(0, sizeof(all), &all) == 0 ? 64 : 0;
	CPU_ZERO(&others);
	for (int i = 0; i < processors; i++)
		if (!CPU_ISSET((size_t)i, &all))
			CPU_SET((size_t)i, &others);
	sched_setaffinity(0, sizeof(others), &others); /* or, if there is none, here */
	/* With chrt the compaction alone is in real time: a busy machine does not hold it up. */
	sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){ 0 });
	atomic_fetch_add(&running, 1);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		size_t page = bench_random(&random) % pages;
		memory[(page / run * 2 * run + page % run) * PAGE] = 1;
	}
	return NULL;
}

static pthread_t threads[THREADS];

static void threads_begin(void)
{
	atomic_store(&stop, false);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, write_on, (void *)i) != 0)
			bench_fail("no thread");
	while (atomic_load(&running) < THREADS)
		usleep(1000);
	atomic_store(&running, 0);
}

static void threads_end(void)
{
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* ---- Disorder ------------------------------------------------------------------------------ */

static void map(size_t count, char **address)
{
	void *mapped = NULL;
	need(upage_map(space, &mapped, count * PAGE, RW, 0, NULL, 0), "map");
	*address = mapped;
}

static void make_holes(void)
{
	span = 2 * pages;
	map(span, &memory);
	for (size_t i = 0; i < span; i++)
		memory[i * PAGE] = 1;
	for (size_t i = run; i < span; i += 2 * run)
		need(upage_unmap(space, memory + i * PAGE, run * PAGE), "unmap");
}

/* Each page takes the frame that a page anywhere has just given back. */
static void scatter(void)
{
	char *other;
	size_t *order = malloc(2 * pages * sizeof(*order));
	uint64_t random = 1;
	map(2 * pages, &other);
	run = span = pages;
	map(span, &memory);
	for (size_t i = 0; i < 2 * pages; i++) {
		size_t place = bench_random(&random) % (i + 1);
		order[i] = order[place];
		order[place] = i;
		other[i * PAGE] = 1;
	}
	for (size_t i = 0; i < 2 * pages; i++) {
		need(upage_unmap(space, other + order[i] * PAGE, PAGE), "unmap");
		if (i < pages)
			memory[i * PAGE] = 1;
	}
	free(order);
}

/* ---- Rounds -------------------------------------------------------------------------------- */

static double compact(void)
{
	struct upage_compaction result = UPAGE_COMPACTION_INIT;
	before[rounds] = (double)mappings();
	threads_begin();
	double start = bench_now();
	need(upage_compact(pool, &result), "compact");
	double ns = bench_now() - start;
	threads_end();
	after[rounds] = (double)mappings();
	pauses[rounds] = (double)result.max_pause_ns;
	moves[rounds] = (double)result.moves;
	rounds++;
	if (result.largest_free_run_after != result.frames_free)
		bench_fail("free memory is no single run");
	for (size_t i = 0; i < pages; i++)
		if (memory[(i / run * 2 * run + i % run) * PAGE] != 1)
			bench_fail("page %zu was lost", i);
	if (upage_pool_verify(pool) < 0)
		bench_fail("the tables disagree");
	for (size_t i = 0; i < span; i += 2 * run)
		need(upage_unmap(space, memory + i * PAGE, run * PAGE), "unmap");
	return ns / (double)result.moves;
}

static double slide(void)
{
	make_holes();
	return compact();
}

static double reorder(void)
{
	scatter();
	return compact();
}

/* All pages in one run of a space in base and bounds, above so many free frames. The threads wait until it
 * has moved. */
static double slide_space(size_t gap)
{
	upage_space *paged = space, *below;
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.scheme = UPAGE_SCHEME_BASE_BOUNDS;
	config.length = config.bounds = gap * PAGE;
	need(upage_space_create(&below, pool, &config), "a space below");
	config.length = config.bounds = pages * PAGE;
	need(upage_space_create(&space, pool, &config), "a space in a run");
	run = span = pages;
	map(span, &memory);
	for (size_t i = 0; i < span; i++)
		memory[i * PAGE] = 1;
	need(upage_space_destroy(below), "destroy");
	double ns = compact();
	if (moves[rounds - 1] != (double)pages)
		bench_fail("the space did not move");
	need(upage_space_destroy(space), "destroy");
	space = paged;
	return ns;
}

static double slide_far(void)
{
	return slide_space(pages);
}

static double slide_a_little(void)
{
	return slide_space(256);
}

static double copy(void)
{
	char *kept = memory;
	size_t kept_run = run;
	memory = from;
	run = pages; /* the threads write to what is copied */
	threads_begin();
	double start = bench_now();
	memcpy(to, from, pages * PAGE);
	double ns = bench_now() - start;
	threads_end();
	memory = kept;
	run = kept_run;
	return ns / (double)pages;
}

/* In MB a second. */
static double slide_bandwidth(void)
{
	return (double)PAGE * 1e3 / slide();
}

static double copy_bandwidth(void)
{
	return (double)PAGE * 1e3 / copy();
}

static void report(const struct bench *bench, const char *name)
{
	struct bench in_us = *bench;
	char case_name[40];
	double pause = bench_median(pauses, rounds) / 1e3;
	double longest = pauses[rounds - 1] / 1e3;
	printf("%24s %.0f moves; pause %.0f us, longest of all %.0f; host mappings %.0f, then %.0f\n", "",
	       bench_median(moves, rounds), pause, longest, bench_median(before, rounds),
	       bench_median(after, rounds));
	in_us.unit = "us";
	snprintf(case_name, sizeof(case_name), "%s-pause", name);
	bench_figure(&in_us, case_name, pause, "one millisecond", 1000);
	rounds = 0;
}

static char *host_memory(void)
{
	char *made = mmap(NULL, pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (made == MAP_FAILED)
		bench_fail("mmap: %s", strerror(errno));
	memset(made, 1, pages * PAGE);
	return made;
}

int main(int argc, char **argv)
{
	struct bench bench = bench_begin("compact", "ns/page", argc, argv);
	static const struct {
		const char *name;
		size_t run;
		bench_round *round;
	} cases[] = {
		{ "runs-of-64", 64, slide },
		{ "runs-of-8", 8, slide },
		{ "anywhere", 1, reorder },
		{ "space-by-its-length", 1, slide_far },
		{ "space-by-1M", 1, slide_a_little },
	};
	struct upage_config config = UPAGE_CONFIG_INIT;
	char words[64];
	pages = bench.divisor > 1 ? PAGES / 4 : PAGES;
	snprintf(words, sizeof(words), "memory=%zu,mapping=remap", 2 * pages * PAGE);
	need(upage_config_parse(&config, words), config.message);
	need(upage_pool_create(&pool, &config), config.message);
	need(upage_space_create(&space, pool, NULL), "space");
	from = host_memory();
	to = host_memory();
	bench.unit = "MB/s";
	run = 256;
	bench_case(&bench, "bandwidth", slide_bandwidth, "memcpy", copy_bandwidth);
	report(&bench, "bandwidth");
	bench.unit = "ns/page";
	const struct bench shorter = bench_in_short(&bench, 3);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run = cases[i].run;
		bench_case(&shorter, cases[i].name, cases[i].round, "memcpy", copy);
		report(&bench, cases[i].name);
	}
	bench_end(&bench);
	return 0;
}
