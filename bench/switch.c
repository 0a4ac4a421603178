/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * switch.c - the context switch
 *
 * Question   Two spaces at the same addresses take turns: does a switch cost more with 65,536
 *            pages resident in each than with 16?
 * Unit       nanoseconds a switch
 * Baseline   the same with 16 pages; and what a switch by plain mapping would begin with: an mmap
 *            over as many populated pages of a file of memory
 * Target     at most ten times as much as with 16, where frames lie beside each other
 * Repeat     bench/switch [--quick] [--json FILE]
 *
 * Pages lie in frames beside each other, as far as the pool gives them so. "scattered" is the other
 * end: every other page of 2,048, each a host mapping of its own, which the host moves one by one. In
 * base and bounds all pages of a space are one mapping.
 */
#include "bench.h"

#include <sys/mman.h>
#include <unistd.h>

#define FEW 16
#define SWITCHES 64 /* a round */

static size_t many = 65536;

/* Two spaces, with pages in frames. */
struct pair {
	upage_pool *pool;
	upage_space *space[2];
};
static struct pair few_pages, many_pages, scattered_pages, short_runs, long_runs;

static void pair_make(struct pair *pair, enum upage_scheme scheme, size_t pages, size_t stride)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct upage_space_config window = UPAGE_SPACE_CONFIG_INIT;
	window.flags = UPAGE_SPACE_WINDOW;
	window.scheme = scheme;
	window.length = (size_t)1 << 30;
	config.memory = (2 * pages + 512) * PAGE;
	need(upage_pool_create(&pair->pool, &config), config.message);
	for (unsigned i = 0; i < 2; i++) {
		void *memory = NULL;
		need(upage_space_create(&pair->space[i], pair->pool, &window), "space");
		window.address = upage_space_base(pair->space[0]);
		need(upage_map(pair->space[i], &memory, pages * stride * PAGE, RW, 0, NULL, 0), "map");
		need(upage_switch(pair->space[i]), "switch");
		for (size_t k = 0; k < pages; k++)
			((volatile char *)memory)[k * stride * PAGE] = 1;
	}
}

static void pair_end(const struct pair *pair)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	need(upage_stats_get(pair->pool, &stats), "stats");
	if (stats.evictions > 0 || stats.soft > 0)
		bench_fail("pages did not stay");
	for (unsigned i = 0; i < 2; i++)
		need(upage_space_destroy(pair->space[i]), "destroy");
	need(upage_pool_destroy(pair->pool), "destroy");
}

/* With a reference to a page of each, as after any switch. */
static double switches(const struct pair *pair)
{
	volatile char *memory = upage_space_base(pair->space[0]);
	double start = bench_now();
	for (unsigned i = 0; i < SWITCHES; i++) {
		need(upage_switch(pair->space[i % 2]), "switch");
		*memory = 1;
	}
	return (bench_now() - start) / SWITCHES;
}

static double with_few(void)
{
	return switches(&few_pages);
}

static double with_many(void)
{
	return switches(&many_pages);
}

static double scattered(void)
{
	return switches(&scattered_pages);
}

static double with_short_runs(void)
{
	return switches(&short_runs);
}

static double with_long_runs(void)
{
	return switches(&long_runs);
}

static double plain_mmap(void)
{
	static int file = -1;
	if (file < 0)
		file = memfd_create("bench", 0);
	if (file < 0 || ftruncate(file, (off_t)(many * PAGE)) < 0)
		bench_fail("no file of memory");
	char *memory = mmap(NULL, many * PAGE, RW, MAP_SHARED | MAP_POPULATE, file, 0);
	if (memory == MAP_FAILED)
		bench_fail("no memory");
	for (size_t i = 0; i < many; i++)
		((volatile char *)memory)[i * PAGE] = 1;
	double start = bench_now();
	mmap(memory, many * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	double took = bench_now() - start;
	munmap(memory, many * PAGE);
	return took;
}

int main(int argc, char **argv)
{
	const struct bench all = bench_begin("switch", "ns/switch", argc, argv);
	struct bench bench = bench_in_short(&all, 1);
	char name[32], against[32];
	many /= bench.divisor;
	pair_make(&few_pages, UPAGE_SCHEME_PAGING, FEW, 1);
	pair_make(&many_pages, UPAGE_SCHEME_PAGING, many, 1);
	pair_make(&scattered_pages, UPAGE_SCHEME_PAGING, 1024, 2);
	pair_make(&short_runs, UPAGE_SCHEME_BASE_BOUNDS, FEW, 1);
	pair_make(&long_runs, UPAGE_SCHEME_BASE_BOUNDS, many, 1);
	snprintf(name, sizeof(name), "%zu-pages", many);
	snprintf(against, sizeof(against), "mmap over %zu pages", many);
	bench_case(&bench, name, with_many, "16 pages each", with_few);
	bench_case(&bench, "many-against-mmap", with_many, against, plain_mmap);
	bench_case(&bench, "1024-scattered", scattered, "16 pages each", with_few);
	snprintf(name, sizeof(name), "%zu-in-a-run", many);
	bench_case(&bench, name, with_long_runs, "16 in a run", with_short_runs);
	pair_end(&few_pages);
	pair_end(&many_pages);
	pair_end(&scattered_pages);
	pair_end(&short_runs);
	pair_end(&long_runs);
	bench_end(&bench);
	return 0;
}
