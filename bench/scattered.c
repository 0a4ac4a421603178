/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scattered.c - memory larger than the limit of host mappings
 *
 * Question   A mapping of 8 GiB is touched at random with 512 MiB of memory: how many of the
 *            pages stay resident, how many can be reached without a fault, and what does the
 *            limit cost?
 * Unit       pages; faults a touch; and nanoseconds a touch, as a ratio
 * Baseline   the same touches of so few pages, none beside another, that the budget can show
 *            them all at once
 * Repeat     bench/scattered [--quick]
 *
 * Every isolated page takes two host mappings: itself, and the rest of the reservation behind
 * it. Past the budget, pages are hidden but stay resident, and their next touch is a soft fault.
 */
#include "bench.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "upage.h"

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)

static upage_pool *pool;

static void need(int result, const char *what)
{
	if (result < 0)
		bench_fail("%s: %s", what, upage_strerror(result));
}

static uint64_t random_number(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static struct upage_stats stats_now(void)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	need(upage_stats_get(pool, &stats), "stats");
	return stats;
}

/* Touches `touches` random ones of the pages that are `stride` apart. Returns ns a touch. */
static double touch(char *memory, size_t pages, size_t stride, size_t touches)
{
	uint64_t random = 1;
	double start = bench_now();
	for (size_t i = 0; i < touches; i++)
		memory[random_number(&random) % pages * stride * PAGE]++;
	return (bench_now() - start) / (double)touches;
}

/* Frames as full of scattered pages as they get; then the same touches again. */
static double steady(char *memory, size_t pages, size_t stride, size_t touches, const char *name)
{
	touch(memory, pages, stride, touches);
	struct upage_stats before = stats_now();
	double ns = touch(memory, pages, stride, touches);
	struct upage_stats after = stats_now();
	printf("%-28s %9zu %10llu %10llu %8.2f %8.2f\n", name, pages,
	       (unsigned long long)(after.frames - after.frames_free),
	       (unsigned long long)after.host_mappings,
	       (double)(after.soft - before.soft) / (double)touches,
	       (double)(after.major - before.major) / (double)touches);
	return ns;
}

static char *fresh(upage_space *space, void *memory, size_t span)
{
	need(upage_unmap(space, memory, span), "unmap");
	need(upage_map(space, &memory, span, RW, 0, NULL, 0), "map");
	return memory;
}

int main(int argc, char **argv)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	upage_space *space;
	void *memory = NULL;
	size_t span = (size_t)8 << 30, touches = 400000;
	if (argc == 2 && strcmp(argv[1], "--quick") == 0)
		touches = 100000;
	else if (argc > 1)
		return fprintf(stderr, "usage: scattered [--quick]\n"), 2;
	need(upage_config_parse(&config, "memory=512M"), config.message);
	need(upage_pool_create(&pool, &config), config.message);
	need(upage_space_create(&space, pool, NULL), "space");
	need(upage_map(space, &memory, span, RW, 0, NULL, 0), "map");
	size_t budget = stats_now().mapping_budget;

	printf("512 MiB of memory (131072 frames), a budget of %zu host mappings\n", budget);
	printf("%-28s %9s %10s %10s %8s %8s\n", "random touches of", "pages", "resident", "mappings",
	       "soft", "major");
	/* Strides that leave no two pages beside each other, but in the last. */
	double baseline = steady(memory, budget / 2 - 100, 64, touches, "isolated, as many as fit");
	double over = steady(fresh(space, memory, span), 100000, 20, touches, "isolated, far more");
	double all = steady(fresh(space, memory, span), span / PAGE, 1, touches, "all of 8 GiB");
	printf("a touch costs %.1f and %.1f times as much as in the first line\n", over / baseline,
	       all / baseline);
	struct upage_stats stats = stats_now();
	if (stats.failed > 0 || stats.host_mappings_peak > stats.mapping_budget)
		bench_fail("a fault failed, or the budget was exceeded");
	return 0;
}
