/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fork.c - what a fork of paged memory costs
 *
 * Question   How long does fork(2) take, in the parent, that gives the child a copy of all pages?
 * Unit       nanoseconds a page that has content; one thread, but where it says so.
 * Baseline   memcpy of as many pages to memory that the host has yet to find, as a fork's copy has:
 *            the child's frames are new. Second baseline: to memory that is there and warm.
 * Target     64 MiB resident: at most 2 x memcpy + 2 ms.
 * Repeat     make bench, or bench/fork [--quick] [--json FILE]. One processor, quiet machine.
 *
 * Cases (64 MiB; 4 with --quick):
 *   contiguous         all resident, in the order of frames: one run is copied
 *   contiguous-warm    the same against memcpy to warm memory
 *   scattered          all resident, each page in a frame without neighbours
 *   half-in-swap       half the pages have a frame, the other half, and some of these, a slot
 *   with-a-thread      contiguous, with another thread: all is hidden first, and shown again
 *   kernel             the kernel's own fork, of as much anonymous memory: copied on write
 *   child-reads        from fork to the end of a child that reads every page
 */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t pages = 16384;

/* ---- Baselines --------------------------------------------------------------------------- */

static char *anonymous(void)
{
	char *memory = mmap(NULL, pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		bench_fail("mmap: %s", strerror(errno));
	return memory;
}

static char *source, *warm;

static double copy_fresh(void)
{
	char *fresh = anonymous();
	double start = bench_now();
	memcpy(fresh, source, pages * PAGE);
	double time = bench_now() - start;
	munmap(fresh, pages * PAGE);
	return time / (double)pages;
}

static double copy_warm(void)
{
	double start = bench_now();
	memcpy(warm, source, pages * PAGE);
	return (bench_now() - start) / (double)pages;
}

/* ---- Forks ------------------------------------------------------------------------------- */

/* Nanoseconds a page that fork takes in the parent. */
static double fork_once(void)
{
	double start = bench_now();
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	double time = bench_now() - start;
	if (child < 0 || waitpid(child, NULL, 0) != child)
		bench_fail("fork: %s", strerror(errno));
	return time / (double)pages;
}

static char *memory;
static size_t step = 1; /* pages from one to the next */

static void look(void)
{
	for (size_t i = 0; i < pages; i++)
		if (*(const volatile char *)(memory + i * step * PAGE) != 1)
			_exit(1);
}

static double fork_and_read(void)
{
	int status = 1;
	double start = bench_now();
	pid_t child = fork();
	if (child == 0) {
		look();
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status != 0)
		bench_fail("the child found other content");
	return (bench_now() - start) / (double)pages;
}

/* ---- Machines ---------------------------------------------------------------------------- */

static upage_pool *pool;
static upage_space *space;

static void machine_make(size_t frames)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	void *address = NULL;
	config.memory = frames * PAGE;
	if (upage_pool_create(&pool, &config) < 0)
		bench_fail("upage_pool_create: %s", config.message);
	need(upage_space_create(&space, pool, NULL), "upage_space_create");
	need(upage_map(space, &address, pages * PAGE, RW, 0, NULL, 0), "upage_map");
	memory = address;
	for (size_t i = 0; i < pages; i++)
		memset(memory + i * PAGE, 1, PAGE);
}

/* Half of the frames, in a chequered pattern, belong to pages that are not touched again. */
static void scatter(void)
{
	void *other = NULL;
	need(upage_map(space, &other, 2 * pages * PAGE, RW, 0, NULL, 0), "upage_map");
	need(upage_unmap(space, memory, pages * PAGE), "upage_unmap");
	memset(other, 1, 2 * pages * PAGE);
	for (size_t i = 0; i < 2 * pages; i += 2)
		need(upage_advise(space, (char *)other + i * PAGE, PAGE, UPAGE_DONTNEED), "advise");
	memory = (char *)other + PAGE;
	step = 2;
}

static void machine_end(void)
{
	need(upage_pool_verify(pool), "upage_pool_verify");
	need(upage_space_destroy(space), "upage_space_destroy");
	need(upage_pool_destroy(pool), "upage_pool_destroy");
}

static sem_t end;

static void *wait_for_end(void *unused)
{
	(void)unused;
	while (sem_wait(&end) != 0)
		;
	return NULL;
}

/* All pages are in the host's tables before, so that there is something to hide. */
static double fork_with_thread(void)
{
	look();
	return fork_once();
}

int main(int argc, char **argv)
{
	const struct bench all = bench_begin("fork", "ns/page", argc, argv);
	struct bench bench = bench_in_short(&all, 1);
	pthread_t thread;
	pages /= bench.divisor;
	source = anonymous();
	warm = anonymous();
	memset(source, 1, pages * PAGE);
	memset(warm, 1, pages * PAGE);

	bench_case(&bench, "kernel", fork_once, "memcpy, fresh memory", copy_fresh);
	machine_make(pages);
	bench_case(&bench, "contiguous", fork_once, "memcpy, fresh memory", copy_fresh);
	bench_case(&bench, "contiguous-warm", fork_once, "memcpy, warm memory", copy_warm);
	bench_case(&bench, "child-reads", fork_and_read, "memcpy, fresh memory", copy_fresh);
	double fork_ms = fork_once() * (double)pages / 1e6;
	double copy_ms = copy_fresh() * (double)pages / 1e6;
	machine_end();
	machine_make(2 * pages);
	scatter();
	bench_case(&bench, "scattered", fork_once, "memcpy, fresh memory", copy_fresh);
	machine_end();
	step = 1;
	machine_make(pages / 2);
	bench_case(&bench, "half-in-swap", fork_once, "memcpy, fresh memory", copy_fresh);
	machine_end();
	machine_make(pages);
	sem_init(&end, 0, 0);
	if (pthread_create(&thread, NULL, wait_for_end, NULL) != 0)
		bench_fail("pthread_create");
	bench_case(&bench, "with-a-thread", fork_with_thread, "memcpy, fresh memory", copy_fresh);
	sem_post(&end);
	pthread_join(thread, NULL);
	machine_end();

	printf("%zu MiB: %.1f ms; 2 x memcpy + 2 ms is %.1f ms\n", pages * PAGE >> 20, fork_ms,
	       2 * copy_ms + 2);
	bench_end(&bench);
	return 0;
}
