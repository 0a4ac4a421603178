/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * threads.c - page faults of several threads at a time
 *
 * Question   How many more faults a second are there with 2, 4 and 8 threads than with one, when each
 *            has pages of its own, and when all touch the same pages in the same order?
 * Unit       page faults a second, all threads together; of shared pages, pages a second.
 * Baseline   The same with one thread. Of separate-1 and shared-1: the kernel's anonymous memory with one
 *            thread; kernel-… is how the kernel's own faults scale, in the same run.
 * Target     separate-2: at least 1.7 times as many as with one thread, and no fewer with 4 or 8 (on
 *            two processors).
 * Repeat     make bench, or bench/threads [--quick] [--json FILE]. All processors, quiet machine.
 *
 * First touches, one page a fault, mapped as the library chooses (guard-…: by mapping=guard); memory is ample.
 * Threads begin together; a round ends with the last.
 */
#include "bench.h"

#include <pthread.h>

#include "paged.h"

#define THREADS_MAX 8

static size_t region = 16384; /* pages that a round touches, a multiple of THREADS_MAX */

static struct {
	const char *mapping; /* NULL: the kernel's own memory */
	bool shared;
	unsigned threads;
} how;

static char *memory;
static pthread_barrier_t barrier;

/* One that touches; times are of its own clock, since whoever waits for it may wake up late. */
struct toucher {
	pthread_t thread;
	char *memory;
	size_t pages;
	double start, end;
};

static void *touch(void *argument)
{
	struct toucher *toucher = argument;
	pthread_barrier_wait(&barrier);
	toucher->start = bench_now();
	bench_touch(toucher->memory, toucher->pages);
	toucher->end = bench_now();
	return NULL;
}

/* Return: pages a second, from when the first begins until the last ends. */
static double touch_all(void)
{
	struct toucher touchers[THREADS_MAX];
	double start = INFINITY, end = 0;
	pthread_barrier_init(&barrier, NULL, how.threads);
	for (unsigned i = 0; i < how.threads; i++) {
		size_t pages = how.shared ? region : region / how.threads;
		touchers[i].memory = memory + (how.shared ? 0 : i * pages * PAGE);
		touchers[i].pages = pages;
		if (pthread_create(&touchers[i].thread, NULL, touch, &touchers[i]) != 0)
			bench_fail("no thread");
	}
	for (unsigned i = 0; i < how.threads; i++) {
		pthread_join(touchers[i].thread, NULL);
		start = fmin(start, touchers[i].start);
		end = fmax(end, touchers[i].end);
	}
	pthread_barrier_destroy(&barrier);
	return (double)region / (end - start) * 1e9;
}

static double ours(void)
{
	struct paged paged;
	paged_make(&paged, region, "memory=%zu,prefetch=off,mapping=%s", region * PAGE, how.mapping);
	memory = paged.memory;
	double rate = touch_all();
	paged_expect("zero-fill", paged_stats(&paged).zero_fill, region);
	paged_end(&paged);
	return rate;
}

static double kernels(void)
{
	memory = bench_anonymous(region);
	double rate = touch_all();
	munmap(memory, region * PAGE);
	return rate;
}

static double round_of(unsigned threads)
{
	unsigned before = how.threads;
	how.threads = threads;
	double rate = how.mapping != NULL ? ours() : kernels();
	how.threads = before;
	return rate;
}

static double many(void)
{
	return round_of(how.threads);
}

static double one(void)
{
	return round_of(1);
}

static double one_of_kernel(void)
{
	const char *before = how.mapping;
	how.mapping = NULL;
	double rate = round_of(1);
	how.mapping = before;
	return rate;
}

static void cases(const struct bench *bench, const char *prefix)
{
	/* What has a target is of the library's own choice, and of separate pages. */
	const struct bench of_kind = *prefix == '\0' && !how.shared ? *bench : bench_in_short(bench, 2);
	for (how.threads = how.mapping != NULL ? 1 : 2; how.threads <= THREADS_MAX; how.threads *= 2) {
		char whole[40];
		snprintf(whole, sizeof(whole), "%s%s-%u", prefix, how.shared ? "shared" : "separate", how.threads);
		if (how.threads == 1)
			bench_case(bench, whole, many, "kernel, one thread", one_of_kernel);
		else
			bench_case(&of_kind, whole, many, "one thread", one);
	}
}

int main(int argc, char **argv)
{
	struct bench bench = bench_open("threads", "faults/s", NULL, argc, argv);
	region /= bench.divisor;
	for (unsigned shared = 0; shared < 2; shared++) {
		how.shared = shared != 0;
		how.mapping = "auto";
		cases(&bench, "");
		how.mapping = NULL;
		cases(&bench, "kernel-");
	}
	how.shared = false;
	how.mapping = "guard";
	if (paged_accepts("mapping=guard"))
		cases(&bench, "guard-");
	else
		bench_skip("guard-separate-1", "this library or kernel has no mapping=guard");
	bench_end(&bench);
	return 0;
}
