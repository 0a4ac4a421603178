/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scale.c - millions of resident pages
 *
 * Question   Four million pages of a space of 1 TiB are touched in random order, in a memory that holds them
 *            all: are they all served, do they stay, in how many host mappings, and what do tables take?
 * Unit       that of each figure.
 * Baseline   What is allowed: see the targets. touch: the kernel's anonymous memory, touched in the same order.
 * Target     no failure; at least 90 % of the frames in use; at most 60,000 host mappings; 48 bytes of metadata a
 *            frame, 8.1 bytes of page table a page, 1 MiB for a reserved TiB.
 * Repeat     make bench, or bench/scale [--quick] [--json FILE]. 20 GiB of free memory; with less, or
 *            --quick, or without mapping=guard, fewer pages.
 *
 * With mapping=guard where the library and the kernel have it, else remap, where pages past the budget of
 * mappings are resident, but hidden: their next touch is a soft fault. Every AGAINth page is read again, in the
 * same order: all are there, with what was written.
 */
#include "bench.h"

#include "paged.h"

#define MILLION ((size_t)1 << 20)
#define AGAIN 16

static size_t pages;
static struct paged paged;

/* A permutation of the pages: the factor is odd, and their number a power of two. */
static size_t page_at(size_t i)
{
	return (i * 2654435761u + 12345) % pages;
}

static size_t free_memory(void)
{
	char line[256];
	size_t kilobytes = 0;
	FILE *file = fopen("/proc/meminfo", "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL &&
	       sscanf(line, "MemAvailable: %zu", &kilobytes) != 1)
		;
	if (file != NULL)
		fclose(file);
	return kilobytes << 10;
}

/* Return: nanoseconds a page. */
static double touch(char *memory)
{
	double start = bench_now();
	for (size_t i = 0; i < pages; i++)
		*(volatile char *)(memory + page_at(i) * PAGE) = (char)(page_at(i) % 127 + 1);
	return (bench_now() - start) / (double)pages;
}

static void touch_again(const char *memory)
{
	for (size_t i = 0; i < pages / AGAIN; i++)
		if (memory[page_at(i) * PAGE] != (char)(page_at(i) % 127 + 1))
			bench_fail("page %zu was lost", page_at(i));
}

static double touch_kernels(void)
{
	char *memory = bench_anonymous(pages);
	double time = touch(memory);
	munmap(memory, pages * PAGE);
	return time;
}

/* KiB of this process: memory of its own, and the host's page tables. */
static double own_memory(void)
{
	char line[256];
	size_t kilobytes = 0, n;
	FILE *file = fopen("/proc/self/status", "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "RssAnon: %zu", &n) == 1 || sscanf(line, "VmPTE: %zu", &n) == 1)
			kilobytes += n;
	if (file != NULL)
		fclose(file);
	return (double)kilobytes;
}

static void reserved_figure(struct bench bench)
{
	upage_space *space;
	double before = own_memory();
	need(upage_space_create(&space, paged.pool, NULL), "upage_space_create");
	double after = own_memory();
	bench.unit = "KiB";
	bench_figure(&bench, "reserved-space", after - before, "1 MiB", 1024);
	need(upage_space_destroy(space), "upage_space_destroy");
}

static void figures(struct bench bench, const struct upage_stats *before, const struct upage_stats *after)
{
	double in_use = (double)(after->frames - after->frames_free);
	bench.unit = "mappings";
	bench_figure(&bench, "mappings", (double)after->host_mappings_peak, "60,000", 60000);
	bench.unit = "frames";
	bench_figure(&bench, "frames-in-use", in_use, "all frames", (double)after->frames);
	bench.unit = "faults";
	bench_figure(&bench, "failures", (double)after->failed, "all faults", (double)after->faults);
	bench_figure(&bench, "second-touch", (double)(after->faults - before->faults), "pages",
	             (double)(pages / AGAIN));
	bench.unit = "bytes";
	bench_figure(&bench, "metadata-a-frame", (double)after->metadata_bytes / (double)after->frames, "48", 48);
	bench_figure(&bench, "tables-a-page", (double)after->table_bytes / (double)pages, "8.1", 8.1);
}

int main(int argc, char **argv)
{
	struct bench bench = bench_begin("scale", "ns/page", argc, argv);
	bool guard = paged_accepts("mapping=guard");
	pages = bench.divisor > 1 ? MILLION / bench.divisor :
	        guard && free_memory() >> 30 >= 20 ? 4 * MILLION : MILLION;
	printf("%24s %zu pages, mapping=%s\n", "", pages, guard ? "guard" : "remap");
	paged_make(&paged, pages, "memory=%zu,prefetch=off,mapping=%s", pages * PAGE, guard ? "guard" : "remap");
	reserved_figure(bench);
	double time = touch(paged.memory);
	struct upage_stats first = paged_stats(&paged);
	touch_again(paged.memory);
	struct upage_stats second = paged_stats(&paged);
	if (second.evictions > 0 || second.major > 0)
		bench_fail("pages did not stay");
	paged_end(&paged);
	bench_figure(&bench, "touch", time, "kernel, anonymous memory", touch_kernels());
	figures(bench, &first, &second);
	bench_end(&bench);
	return second.failed > 0;
}
