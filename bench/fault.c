/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault.c - what a page fault costs
 *
 * Question   How much of a page fault is ours, and how much is the host's?
 * Unit       nanoseconds a page, one thread, pages touched in order of address by a store.
 * Baseline   A bare SIGSEGV handler in this program that does the same host calls as our
 *            page fault does with mapping=remap, and nothing else: no look-up, no tables, no policy,
 *            no counts: for a fresh page one mmap(MAP_FIXED | MAP_POPULATE).
 *            It is installed by the C library's sigaction itself, since upage stands in front
 *            of that, and only while its rounds run. Second baseline: the kernel's own fault.
 * Target     one-page: at most 1.1 of the bare handler; best-mapping: 0.8.
 * Repeat     make bench, or bench/fault [--quick] [--json FILE]. One processor, quiet machine.
 *
 * Cases (region and memory in pages, see below; mapping=remap where it is not said):
 *   one-page           first touch of a page, in a frame that was never used
 *   one-page-recycled  the same in a frame that was, and has to be zeroed
 *   mapping-NAME       as one-page, by each way of mapping that this library and host have
 *   best-mapping       the figure of the best of them
 *   soft               the page is resident; its access was revoked, and is given back
 *   major-clean        read from swap; the victim was only read, its copy in swap is good
 *   major-dirty        read from swap; the victim was written to, and is written back
 *   kernel-…           one-page, against first touch of the kernel's anonymous memory
 *   fill               zeroing a frame by pwrite(2), as frame.h says, against an alias mapping
 * What a fault is made of, and how many system calls it makes: phases.c.
 */
#include "bench.h"

#include <fcntl.h>

#include "bare.h"
#include "paged.h"

#define HIDE_BATCH 512  /* pages that the library hides by one call when it unmaps */
#define ALIAS_BATCH 256 /* frames between two MADV_DONTNEED of the alias */

static size_t region = 16384; /* pages that a round touches */

static double look(const char *memory, size_t pages)
{
	double start = bench_now();
	for (size_t i = 0; i < pages; i++)
		(void)*(const volatile char *)(memory + i * PAGE);
	return (bench_now() - start) / (double)pages;
}

/* ---- Ours ------------------------------------------------------------------------------ */

static struct paged paged;
static const char *mapping = "remap";

static void machine_make(size_t frames)
{
	paged_make(&paged, region, "memory=%zu,prefetch=off,mapping=%s", frames * PAGE, mapping);
}

static double our_fresh(void)
{
	machine_make(region);
	double time = bench_touch(paged.memory, region);
	paged_expect("zero-fill", paged_stats(&paged).zero_fill, region);
	paged_end(&paged);
	return time;
}

static double our_recycled(void)
{
	uint64_t before = paged_stats(&paged).faults;
	void *address = paged.memory;
	need(upage_unmap(paged.space, address, region * PAGE), "upage_unmap");
	need(upage_map(paged.space, &address, region * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0), "upage_map");
	double time = bench_touch(paged.memory, region);
	paged_expect("zero-fill", paged_stats(&paged).faults - before, region);
	return time;
}

static double our_soft(void)
{
	uint64_t before = paged_stats(&paged).soft;
	need(upage_protect(paged.space, paged.memory, region * PAGE, PROT_NONE), "upage_protect");
	need(upage_protect(paged.space, paged.memory, region * PAGE, RW), "upage_protect");
	double time = bench_touch(paged.memory, region);
	paged_expect("soft", paged_stats(&paged).soft - before, region);
	return time;
}

/* Twice as many pages as frames, in order: none is there any more when it is its turn. */
static double our_major_dirty(void)
{
	uint64_t before = paged_stats(&paged).major;
	double time = bench_touch(paged.memory, region);
	paged_expect("major", paged_stats(&paged).major - before, region);
	return time;
}

static double our_major_clean(void)
{
	uint64_t before = paged_stats(&paged).major, written = paged_stats(&paged).writebacks;
	double time = look(paged.memory, region);
	paged_expect("major", paged_stats(&paged).major - before, region);
	paged_expect("write-back", paged_stats(&paged).writebacks - written, 0);
	return time;
}

/* ---- The bare handler ------------------------------------------------------------------ */

/* Of major faults: frames are taken round and round. */
static struct {
	int swap;
	size_t next;     /* frame */
	size_t *page_of; /* [frames]: whose it is, plus one; 0: nobody's */
	char *buffer;
} major;

static void major_make(void)
{
	const char *directory = getenv("TMPDIR");
	char path[4096];
	snprintf(path, sizeof(path), "%s/bench-XXXXXX", directory ? directory : "/tmp");
	major.swap = mkostemp(path, O_CLOEXEC);
	need_host(major.swap >= 0 && unlink(path) == 0, path);
	major.page_of = calloc(bare.frames, sizeof(*major.page_of));
	major.buffer = aligned_alloc(PAGE, PAGE);
	need_host(major.page_of != NULL && major.buffer != NULL, "memory");
	memset(major.buffer, 1, PAGE);
	for (size_t i = 0; i < region; i++)
		need_host(pwrite(major.swap, major.buffer, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE,
		          "swap file");
}

static void major_end(void)
{
	close(major.swap);
	free(major.page_of);
	free(major.buffer);
}

/* The frame after the last one: its page leaves it, the page that faulted comes in. */
static void major_fault(const siginfo_t *info, bool dirty)
{
	size_t page = bare_page_of(info), frame = major.next;
	ssize_t moved = 0;
	major.next = (major.next + 1) % bare.frames;
	if (major.page_of[frame] != 0) {
		size_t victim = major.page_of[frame] - 1;
		bare_hide(victim, 1);
		if (dirty) {
			moved += pread(bare.file, major.buffer, PAGE, (off_t)(frame * PAGE));
			moved += pwrite(major.swap, major.buffer, PAGE, (off_t)(victim * PAGE));
		}
	}
	moved += pread(major.swap, major.buffer, PAGE, (off_t)(page * PAGE));
	moved += pwrite(bare.file, major.buffer, PAGE, (off_t)(frame * PAGE));
	if (moved % (ssize_t)PAGE != 0)
		_exit(3);
	major.page_of[frame] = page + 1;
	bare_show(page, frame, dirty ? RW : PROT_READ);
}

static void on_major_dirty(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	major_fault(info, true);
}

static void on_major_clean(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	major_fault(info, false);
}

static double with_handler(bare_handler *handler)
{
	bare_install(handler);
	double time = handler == on_major_clean ? look(bare.arena, region) : bench_touch(bare.arena, region);
	bare_remove();
	return time;
}

static double bare_fresh(void)
{
	bare_make(region, region);
	double time = with_handler(bare_on_fresh);
	bare_end();
	return time;
}

static double bare_recycled(void)
{
	bare_hide_all(HIDE_BATCH);
	return with_handler(bare_on_recycled);
}

static double bare_soft(void)
{
	bare_hide_all(1); /* as upage_protect() does */
	return with_handler(bare_on_fresh);
}

static double bare_major_dirty(void)
{
	return with_handler(on_major_dirty);
}

static double bare_major_clean(void)
{
	return with_handler(on_major_clean);
}

/* ---- The kernel's own, and filling ----------------------------------------------------- */

static double kernel_anonymous(void)
{
	char *fresh = bench_anonymous(region);
	double time = bench_touch(fresh, region);
	munmap(fresh, region * PAGE);
	return time;
}

static double fill_by_write(void)
{
	double start = bench_now();
	for (size_t i = 0; i < region; i++)
		bare_zero(i);
	return (bench_now() - start) / (double)region;
}

static double fill_by_alias(void)
{
	char *alias = mmap(NULL, region * PAGE, RW, MAP_SHARED, bare.file, 0);
	need_host(alias != MAP_FAILED, "mmap");
	double start = bench_now();
	for (size_t i = 0; i < region; i++) {
		memset(alias + i * PAGE, 0, PAGE);
		if ((i + 1) % ALIAS_BATCH == 0)
			madvise(alias + (i + 1 - ALIAS_BATCH) * PAGE, ALIAS_BATCH * PAGE,
			        MADV_DONTNEED);
	}
	double time = (bench_now() - start) / (double)region;
	munmap(alias, region * PAGE);
	return time;
}

/* ---- All of it ------------------------------------------------------------------------- */

/* Each way of mapping, and then the best of them once more: the least of several ratios would be luck. */
static void mapping_cases(const struct bench *bench)
{
	static const char *const mappings[] = { "remap", "guard" };
	const char *best = mappings[0];
	double least = INFINITY;
	for (size_t i = 0; i < sizeof(mappings) / sizeof(mappings[0]); i++) {
		char name[40], word[40];
		snprintf(name, sizeof(name), "mapping-%s", mappings[i]);
		snprintf(word, sizeof(word), "mapping=%s", mappings[i]);
		if (!paged_accepts(word)) {
			bench_skip(name, "this library or kernel has no %s", word);
			continue;
		}
		mapping = mappings[i];
		double ratio = bench_case(bench, name, our_fresh, "bare handler, mmap", bare_fresh);
		if (ratio < least) {
			least = ratio;
			best = mapping;
		}
	}
	mapping = best;
	bench_case(bench, "best-mapping", our_fresh, "bare handler, mmap", bare_fresh);
	mapping = mappings[0];
}

static void recycled_cases(const struct bench *bench)
{
	machine_make(region);
	bare_make(region, region);
	bench_touch(paged.memory, region);
	with_handler(bare_on_recycled);
	bench_case(bench, "one-page-recycled", our_recycled, "bare handler, same calls", bare_recycled);
	bench_case(bench, "kernel-recycled", our_recycled, "kernel, anonymous memory", kernel_anonymous);
	bench_case(bench, "soft", our_soft, "bare handler, same calls", bare_soft);
	bench_case(bench, "fill", fill_by_write, "alias mapping, memset", fill_by_alias);
	bare_end();
	paged_end(&paged);
}

static void major_cases(const struct bench *bench)
{
	machine_make(region / 2);
	bare_make(region / 2, region);
	major_make();
	bench_touch(paged.memory, region);
	bench_case(bench, "major-dirty", our_major_dirty, "bare handler, same calls", bare_major_dirty);
	/* Until each page has a good copy in swap, victims are dirty still. */
	look(paged.memory, region);
	bare_major_clean();
	bench_case(bench, "major-clean", our_major_clean, "bare handler, same calls", bare_major_clean);
	major_end();
	bare_end();
	paged_end(&paged);
}

int main(int argc, char **argv)
{
	struct bench bench = bench_begin("fault", "ns/page", argc, argv);
	region /= bench.divisor;
	bench_case(&bench, "one-page", our_fresh, "bare handler, same calls", bare_fresh);
	bench_case(&bench, "kernel-fresh", our_fresh, "kernel, anonymous memory", kernel_anonymous);
	mapping_cases(&bench);
	const struct bench shorter = bench_in_short(&bench, 1.5);
	recycled_cases(&shorter);
	major_cases(&shorter);
	bench_end(&bench);
	return 0;
}
