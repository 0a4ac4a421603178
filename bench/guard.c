/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guard.c - what it costs that metadata is out of reach (guard-metadata)
 *
 * Question   How much longer does a page fault take when the arena of page tables and frame table is
 *            opened for it and closed again? The host changes as many of its own entries as pages
 *            of the arena were ever touched: how much does that grow with memory, and with pages
 *            that lie apart, each of which has a leaf of its own in the page table?
 * Unit       nanoseconds a fault, one thread, first touches and (major) in half of the memory.
 * Baseline   The same without guard-metadata. Each round is a process: there the first pool decides.
 * Repeat     make bench, or bench/guard [--quick] [--json FILE].
 */
#include "bench.h"

#include <sys/wait.h>
#include <unistd.h>

static struct workload {
	size_t frames, pages; /* pages touched in a round */
	size_t apart;         /* of them, in pages         */
	unsigned passes;
} workload;

static double touch(char *memory)
{
	double start = bench_now();
	for (unsigned pass = 0; pass < workload.passes; pass++)
		for (size_t i = 0; i < workload.pages; i++)
			*(volatile char *)(memory + i * workload.apart * PAGE) = 1;
	return (bench_now() - start) / (double)(workload.pages * workload.passes);
}

static double run(bool guarded)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	upage_pool *pool;
	upage_space *space;
	void *memory = NULL;
	config.memory = workload.frames * PAGE;
	config.guard_metadata = guarded;
	if (upage_pool_create(&pool, &config) < 0)
		bench_fail("upage_pool_create: %s", config.message);
	if (upage_space_create(&space, pool, NULL) < 0 ||
	    upage_map(space, &memory, workload.pages * workload.apart * PAGE, PROT_READ | PROT_WRITE, 0,
	              NULL, 0) < 0)
		bench_fail("no space");
	double time = touch(memory);
	struct upage_stats stats = { .size = sizeof(stats) };
	upage_stats_get(pool, &stats);
	if (stats.faults != workload.pages * workload.passes)
		bench_fail("%llu faults", (unsigned long long)stats.faults);
	return time;
}

static double in_child(bool guarded)
{
	int pipes[2];
	double time = 0;
	if (pipe(pipes) < 0)
		bench_fail("pipe: %s", strerror(errno));
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		time = run(guarded);
		_exit(write(pipes[1], &time, sizeof(time)) != (ssize_t)sizeof(time));
	}
	close(pipes[1]);
	if (child < 0 || read(pipes[0], &time, sizeof(time)) != (ssize_t)sizeof(time))
		bench_fail("a child: %s", strerror(errno));
	close(pipes[0]);
	waitpid(child, NULL, 0);
	return time;
}

static double with(void)
{
	return in_child(true);
}

static double without(void)
{
	return in_child(false);
}

int main(int argc, char **argv)
{
	struct bench bench = bench_begin("guard", "ns/page", argc, argv);
	static const struct {
		const char *name;
		struct workload workload;
	} cases[] = {
		{ "fresh-4M", { 1024, 1024, 1, 1 } },
		{ "fresh-64M", { 16384, 16384, 1, 1 } },
		{ "major-4M", { 1024, 2048, 1, 4 } },
		{ "major-64M", { 16384, 32768, 1, 1 } },
		{ "apart-4M", { 1024, 1024, 512, 1 } },
		{ "apart-16M", { 4096, 4096, 512, 1 } },
	};
	const struct bench shorter = bench_in_short(&bench, 1.5);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		workload = cases[i].workload;
		if (bench.divisor > 1 && workload.frames > 1024)
			continue;
		bench_case(&shorter, cases[i].name, with, "without", without);
	}
	bench_end(&bench);
	return 0;
}
