/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * touch.c - first touches of memory, in order
 *
 * Question   A program walks through memory that it has not touched before. Does it get along
 *            faster than with the kernel's own page faults?
 * Unit       nanoseconds a page of 4 KiB, one thread, a byte is stored in each.
 * Baseline   The kernel's anonymous memory, without transparent huge pages.
 * Target     recycled: at most 0.6 of the kernel.
 * Repeat     make bench, or bench/touch [--quick] [--json FILE]. One processor, quiet machine.
 *
 * Cases: fresh, in frames that were never used, and recycled, in frames that other pages had before,
 * which have to be zeroed; in clusters as large as the library makes them, and (-auto) with
 * prefetch=auto. Neighbours come along while a quarter of the frames is free: so there are half as
 * many more frames than pages.
 */
#include "bench.h"

#include "paged.h"

static size_t region = 32768; /* pages */
static const char *prefetch;
static struct paged paged;

static void make(void)
{
	paged_make(&paged, region / 2 * 3, "memory=%zu,prefetch=%s", region / 2 * 3 * PAGE, prefetch);
}

static double touch(void)
{
	struct upage_stats before = paged_stats(&paged);
	double time = bench_touch(paged.memory, region);
	struct upage_stats after = paged_stats(&paged);
	uint64_t came = after.zero_fill + after.prefetched - before.zero_fill - before.prefetched;
	if (came < region || after.evictions != 0)
		bench_fail("%llu pages came in, of %zu", (unsigned long long)came, region);
	for (size_t i = 0; i < region; i++)
		for (size_t byte = 1; byte < PAGE; byte += 511)
			if (paged.memory[i * PAGE + byte] != 0)
				bench_fail("page %zu was not zero", i);
	return time;
}

static double fresh(void)
{
	make();
	double time = touch();
	paged_end(&paged);
	return time;
}

/* Every frame had a page before. */
static double recycled(void)
{
	size_t length = region / 2 * 3 * PAGE;
	void *address = paged.memory;
	memset(address, 1, length);
	need(upage_unmap(paged.space, address, length), "upage_unmap");
	need(upage_map(paged.space, &address, length, RW, UPAGE_MAP_FIXED, NULL, 0), "upage_map");
	return touch();
}

static double kernel(void)
{
	char *memory = bench_anonymous(region);
	double time = bench_touch(memory, region);
	munmap(memory, region * PAGE);
	return time;
}

static void cases(const struct bench *bench, const char *words, const char *fresh_name,
                  const char *recycled_name)
{
	prefetch = words;
	bench_case(bench, fresh_name, fresh, "kernel, anonymous memory", kernel);
	make();
	bench_case(bench, recycled_name, recycled, "kernel, anonymous memory", kernel);
	paged_end(&paged);
}

int main(int argc, char **argv)
{
	struct bench bench = bench_begin("touch", "ns/page", argc, argv);
	region /= bench.divisor;
	cases(&bench, paged_accepts("prefetch=256") ? "256" : "64", "fresh", "recycled");
	cases(&bench, "auto", "fresh-auto", "recycled-auto");
	bench_end(&bench);
	return 0;
}
