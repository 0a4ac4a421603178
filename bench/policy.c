/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy.c - what it costs to know which pages are in use, and what it is good for
 *
 * Question   The clock policy looks at references, and may revoke access to see them. How much of the time
 *            of page faults is that, how many soft faults a second does it make, and how many major
 *            faults does it save?
 * Unit       nanoseconds a major fault; soft faults a second; major faults an access.
 * Baseline   policy=fifo, which looks at nothing, with the same accesses. Of soft-faults: all page faults a second.
 * Target     none; share is the part of the time that goes to the policy.
 * Repeat     make bench, or bench/policy [--quick] [--json FILE]. One processor, quiet machine.
 *
 * Cases (memory is half of the pages; a page an access, every second one is written to)
 *   fault-time   any page: here no policy is better than another, and a fault differs by its cost alone
 *   share        1 - fifo ÷ clock, of these times, in percent
 *   soft-faults  of clock, with a half of the accesses to an eighth of the pages
 *   misses       there, against fifo
 */
#include "bench.h"

#include "paged.h"

static size_t pages = 16384;
static struct paged clock_pool, fifo_pool;
static bool skewed;
static double soft_rate, fault_rate; /* of the last round of clock */

/* What a round counted. */
struct round {
	double seconds, major, soft, faults;
};

static struct round accesses(const struct paged *paged)
{
	static uint64_t random = 1;
	struct upage_stats before = paged_stats(paged);
	double start = bench_now();
	for (size_t i = 0; i < pages; i++) {
		size_t page = bench_random(&random) % pages;
		if (skewed && i % 2 == 0)
			page /= 8;
		volatile char *byte = paged->memory + page * PAGE;
		if (i % 4 < 2)
			*byte = 1;
		else
			(void)*byte;
	}
	double seconds = (bench_now() - start) / 1e9;
	struct upage_stats after = paged_stats(paged);
	return (struct round){ seconds, (double)(after.major - before.major), (double)(after.soft - before.soft),
		               (double)(after.faults - before.faults) };
}

static double measure(const struct paged *paged)
{
	struct round round = accesses(paged);
	if (round.major == 0)
		bench_fail("no page fault in half of the memory");
	if (paged == &clock_pool) {
		soft_rate = round.soft / round.seconds;
		fault_rate = round.faults / round.seconds;
	}
	return skewed ? round.major / (double)pages : round.seconds * 1e9 / round.major;
}

static double with_clock(void)
{
	return measure(&clock_pool);
}

static double with_fifo(void)
{
	return measure(&fifo_pool);
}

static void make(struct paged *paged, const char *policy)
{
	paged_make(paged, pages, "memory=%zu,policy=%s", pages / 2 * PAGE, policy);
	for (size_t i = 0; i < pages; i++)
		memset(paged->memory + i * PAGE, 1 + (int)(i % 100), PAGE);
}

int main(int argc, char **argv)
{
	const struct bench all = bench_begin("policy", "ns/fault", argc, argv);
	struct bench bench = bench_in_short(&all, 2);
	pages /= bench.divisor;
	make(&clock_pool, "clock");
	make(&fifo_pool, "fifo");
	double ratio = bench_case(&bench, "fault-time", with_clock, "fifo", with_fifo);
	bench.unit = "percent";
	bench_figure(&bench, "share", 100 * (1 - 1 / ratio), "all of the time", 100);
	skewed = true;
	bench.unit = "majors";
	bench_case(&bench, "misses", with_clock, "fifo", with_fifo);
	bench.unit = "1/s";
	bench_figure(&bench, "soft-faults", soft_rate, "all faults", fault_rate);
	paged_end(&clock_pool);
	paged_end(&fifo_pool);
	bench_end(&bench);
	return 0;
}
