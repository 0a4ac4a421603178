/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scattered.c - memory larger than the limit of host mappings
 *
 * Question   A mapping of 8 GiB is touched at random with 512 MiB of memory: how many of the
 *            pages stay resident, how many can be reached without a fault, and what does the
 *            limit cost?
 * Unit       nanoseconds a touch; in lines of their own: pages, and faults a touch
 * Baseline   the same touches of so few pages, none beside another, that the budget can show
 *            them all at once
 * Repeat     make bench, or bench/scattered [--quick] [--json FILE]
 *
 * Every isolated page takes two host mappings: itself, and the rest of the reservation behind
 * it. Past the budget, pages are hidden but stay resident, and their next touch is a soft fault.
 */
#include "bench.h"

#include "paged.h"

#define SPAN ((size_t)8 << 30)

static struct paged paged;
static size_t touches = 100000;
static size_t most; /* pages that are made resident */

/* Touches random ones of the pages that are @stride apart. Return: ns a touch. */
static double touch(size_t pages, size_t stride)
{
	uint64_t random = 1;
	double start = bench_now();
	for (size_t i = 0; i < touches; i++)
		paged.memory[bench_random(&random) % pages * stride * PAGE]++;
	return (bench_now() - start) / (double)touches;
}

/* Each of the pages once, in no order (their number is no multiple of the factor, a prime); or as many as fill
 * all frames. */
static void fill(size_t pages, size_t stride)
{
	for (size_t i = 0; i < pages && i < most; i++)
		paged.memory[i * 2654435761u % pages * stride * PAGE]++;
}

/* Touches of frames that are as full of scattered pages as they get. */
static double steady(size_t pages, size_t stride)
{
	void *address = paged.memory;
	need(upage_unmap(paged.space, address, SPAN), "unmap");
	need(upage_map(paged.space, &address, SPAN, RW, UPAGE_MAP_FIXED, NULL, 0), "map");
	fill(pages, stride);
	struct upage_stats before = paged_stats(&paged);
	double ns = touch(pages, stride);
	struct upage_stats after = paged_stats(&paged);
	printf("%24s of %zu pages %llu are resident, in %llu mappings; soft faults a touch %.2f, major %.2f\n",
	       "", pages, (unsigned long long)(after.frames - after.frames_free),
	       (unsigned long long)after.host_mappings,
	       (double)(after.soft - before.soft) / (double)touches,
	       (double)(after.major - before.major) / (double)touches);
	return ns;
}

int main(int argc, char **argv)
{
	struct bench bench = bench_begin("scattered", "ns/touch", argc, argv);
	touches /= bench.divisor;
	paged_make(&paged, SPAN / PAGE, "memory=512M,mapping=remap");
	most = paged_stats(&paged).frames / 8 * 9 / bench.divisor;
	size_t budget = paged_stats(&paged).mapping_budget;

	/* Strides that leave no two pages beside each other, but in the last. */
	double fitting = steady(budget / 2 - 100, 64);
	bench_figure(&bench, "more-than-fit", steady(100000, 20), "as many as fit", fitting);
	bench_figure(&bench, "all-of-8G", steady(SPAN / PAGE, 1), "as many as fit", fitting);
	struct upage_stats stats = paged_stats(&paged);
	if (stats.failed > 0)
		bench_fail("a fault failed");
	bench.unit = "mappings";
	bench_figure(&bench, "mappings", (double)stats.host_mappings_peak, "the budget", (double)budget);
	if (stats.host_mappings_peak > budget)
		bench_fail("the budget was exceeded");
	paged_end(&paged);
	bench_end(&bench);
	return 0;
}
