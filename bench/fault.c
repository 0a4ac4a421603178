/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault.c - what a page fault costs
 *
 * Question   How much of a page fault is ours, and how much is the host's?
 * Unit       nanoseconds a page, one thread, pages touched in order of address by a store.
 * Baseline   A bare SIGSEGV handler in this program that does the same host calls as our
 *            page fault does, and nothing else: no look-up, no tables, no policy, no counts.
 *            It is installed by the C library's sigaction itself, since upage stands in front
 *            of that, and only while its rounds run. Second baseline: the kernel's own fault.
 * Target     one-page: at most 1.3 of the bare handler.
 * Repeat     make bench, or bench/fault [--quick] [--json FILE]. One processor, quiet machine.
 *
 * Cases (region and memory in pages, see below):
 *   one-page fresh     first touch of a page, in a frame that was never used
 *   one-page recycled  the same in a frame that was, and has to be zeroed
 *   soft               the page is resident; its access was revoked, and is given back
 *   major clean        read from swap; the victim was only read, its copy in swap is good
 *   major dirty        read from swap; the victim was written to, and is written back
 *   clusters fresh     first touch with neighbours that come along (prefetch=auto)
 *   kernel …           one-page, against first touch of the kernel's anonymous memory
 *   fill               zeroing a frame by pwrite(2), as frame.h says, against an alias mapping
 */
#include "bench.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "upage.h"

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)
#define HIDE_BATCH 512  /* pages that the library hides by one call when it unmaps */
#define ALIAS_BATCH 256 /* frames between two MADV_DONTNEED of the alias */

static size_t region = 16384; /* pages that a round touches; a power of two */

static size_t largest_power(size_t n)
{
	size_t power = 1;
	while (power <= n / 2)
		power *= 2;
	return power;
}

static void need(int result, const char *what)
{
	if (result < 0)
		bench_fail("%s: %s", what, upage_strerror(result));
}

static void need_host(bool good, const char *what)
{
	if (!good)
		bench_fail("%s: %s", what, strerror(errno));
}

/* Nanoseconds a page to store a byte in each page. */
static double touch(char *memory, size_t pages)
{
	double start = bench_now();
	for (size_t i = 0; i < pages; i++)
		*(volatile char *)(memory + i * PAGE) = 1;
	return (bench_now() - start) / (double)pages;
}

static double look(const char *memory, size_t pages)
{
	double start = bench_now();
	for (size_t i = 0; i < pages; i++)
		(void)*(const volatile char *)(memory + i * PAGE);
	return (bench_now() - start) / (double)pages;
}

/* ---- Ours ------------------------------------------------------------------------------ */

static upage_pool *pool;
static upage_space *space;
static char *memory;
static const char *prefetch = "off"; /* of pools that are made from now on */

static void machine_make(size_t frames, size_t pages)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	config.memory = frames * PAGE;
	strcpy(config.prefetch, prefetch);
	int result = upage_pool_create(&pool, &config);
	if (result < 0)
		bench_fail("upage_pool_create: %s", config.message);
	need(upage_space_create(&space, pool, NULL), "upage_space_create");
	void *address = NULL;
	need(upage_map(space, &address, pages * PAGE, RW, 0, NULL, 0), "upage_map");
	memory = address;
}

static void machine_end(void)
{
	need(upage_space_destroy(space), "upage_space_destroy");
	need(upage_pool_destroy(pool), "upage_pool_destroy");
}

/* A figure is only one if just this kind of fault happened, once for each page. */
static struct upage_stats counts(void)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	need(upage_stats_get(pool, &stats), "upage_stats_get");
	return stats;
}

static void expect(const char *kind, uint64_t count, uint64_t wanted)
{
	if (count != wanted)
		bench_fail("%llu %s faults where there should be %llu", (unsigned long long)count,
		           kind, (unsigned long long)wanted);
}

static double our_fresh(void)
{
	machine_make(region, region);
	double time = touch(memory, region);
	expect("zero-fill", counts().zero_fill, region);
	machine_end();
	return time;
}

/* Neighbours come along, but when a quarter of the frames is left: there are half as many more. */
static double our_clusters(void)
{
	prefetch = "auto";
	machine_make(region / 2 * 3, region);
	prefetch = "off";
	double time = touch(memory, region);
	expect("zero-fill and prefetched", counts().zero_fill + counts().prefetched, region);
	machine_end();
	return time;
}

static double our_recycled(void)
{
	uint64_t before = counts().faults;
	need(upage_unmap(space, memory, region * PAGE), "upage_unmap");
	void *address = memory;
	need(upage_map(space, &address, region * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0), "upage_map");
	double time = touch(memory, region);
	expect("zero-fill", counts().faults - before, region);
	return time;
}

static double our_soft(void)
{
	uint64_t before = counts().soft;
	need(upage_protect(space, memory, region * PAGE, PROT_NONE), "upage_protect");
	need(upage_protect(space, memory, region * PAGE, RW), "upage_protect");
	double time = touch(memory, region);
	expect("soft", counts().soft - before, region);
	return time;
}

/* Twice as many pages as frames, in order: none is there any more when it is its turn. */
static double our_major_dirty(void)
{
	uint64_t before = counts().major;
	double time = touch(memory, region);
	expect("major", counts().major - before, region);
	return time;
}

static double our_major_clean(void)
{
	uint64_t before = counts().major, written = counts().writebacks;
	double time = look(memory, region);
	expect("major", counts().major - before, region);
	expect("write-back", counts().writebacks - written, 0);
	return time;
}

/* ---- The bare handler ------------------------------------------------------------------ */

static int (*libc_sigaction)(int, const struct sigaction *, struct sigaction *);

static struct bare {
	char *arena;     /* [pages] of reserved addresses */
	size_t pages;
	int file;        /* the memfd */
	size_t frames;   /* of it */
	int swap;
	size_t next;     /* frame, round and round */
	size_t *page_of; /* [frames]: whose it is, plus one; 0: nobody's */
	struct sigaction before;
} bare;

static const char zeros[4096];
static char *buffer;

static void bare_make(size_t frames, size_t pages)
{
	bare.pages = pages;
	bare.frames = frames;
	bare.next = 0;
	bare.file = memfd_create("bench", MFD_CLOEXEC);
	need_host(bare.file >= 0 && ftruncate(bare.file, (off_t)(frames * PAGE)) == 0, "memfd");
	bare.arena = mmap(NULL, pages * PAGE, PROT_NONE,
	                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	need_host(bare.arena != MAP_FAILED, "mmap");
	bare.page_of = calloc(frames, sizeof(*bare.page_of));
	need_host(bare.page_of != NULL, "calloc");
}

static void bare_end(void)
{
	munmap(bare.arena, bare.pages * PAGE);
	close(bare.file);
	free(bare.page_of);
}

static void swap_make(void)
{
	const char *directory = getenv("TMPDIR");
	char path[4096];
	snprintf(path, sizeof(path), "%s/bench-XXXXXX", directory ? directory : "/tmp");
	bare.swap = mkostemp(path, O_CLOEXEC);
	need_host(bare.swap >= 0 && unlink(path) == 0, path);
}

static void bare_install(void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	sigfillset(&action.sa_mask);
	need_host(libc_sigaction(SIGSEGV, &action, &bare.before) == 0, "sigaction");
}

static void bare_remove(void)
{
	need_host(libc_sigaction(SIGSEGV, &bare.before, NULL) == 0, "sigaction");
}

static void hide(size_t page, size_t count)
{
	mmap(bare.arena + page * PAGE, count * PAGE, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static void hide_all(size_t batch)
{
	for (size_t i = 0; i < bare.pages; i += batch)
		hide(i, batch < bare.pages - i ? batch : bare.pages - i);
}

static void show(size_t page, size_t frame, int prot)
{
	mmap(bare.arena + page * PAGE, PAGE, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, bare.file,
	     (off_t)(frame * PAGE));
}

static size_t page_of(const siginfo_t *info)
{
	size_t page = (size_t)((char *)info->si_addr - bare.arena) / PAGE;
	if (page >= bare.pages)
		_exit(3);
	return page;
}

static void on_fresh(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	size_t page = page_of(info);
	show(page, page, RW);
}

static void on_recycled(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	size_t page = page_of(info);
	if (pwrite(bare.file, zeros, PAGE, (off_t)(page * PAGE)) != (ssize_t)PAGE)
		_exit(3);
	show(page, page, RW);
}

/* The frame after the last one: its page leaves it, the page that faulted comes in. */
static void major(const siginfo_t *info, bool dirty)
{
	size_t page = page_of(info), frame = bare.next;
	ssize_t moved = 0;
	bare.next = (bare.next + 1) % bare.frames;
	if (bare.page_of[frame] != 0) {
		size_t victim = bare.page_of[frame] - 1;
		hide(victim, 1);
		if (dirty) {
			moved += pread(bare.file, buffer, PAGE, (off_t)(frame * PAGE));
			moved += pwrite(bare.swap, buffer, PAGE, (off_t)(victim * PAGE));
		}
	}
	moved += pread(bare.swap, buffer, PAGE, (off_t)(page * PAGE));
	moved += pwrite(bare.file, buffer, PAGE, (off_t)(frame * PAGE));
	if (moved % (ssize_t)PAGE != 0)
		_exit(3);
	bare.page_of[frame] = page + 1;
	show(page, frame, dirty ? RW : PROT_READ);
}

static void on_major_dirty(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	major(info, true);
}

static void on_major_clean(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	major(info, false);
}

static double bare_fresh(void)
{
	bare_make(region, region);
	bare_install(on_fresh);
	double time = touch(bare.arena, region);
	bare_remove();
	bare_end();
	return time;
}

static double bare_recycled(void)
{
	hide_all(HIDE_BATCH);
	bare_install(on_recycled);
	double time = touch(bare.arena, region);
	bare_remove();
	return time;
}

static double bare_soft(void)
{
	hide_all(1); /* as upage_protect() does */
	bare_install(on_fresh);
	double time = touch(bare.arena, region);
	bare_remove();
	return time;
}

static double bare_major_dirty(void)
{
	bare_install(on_major_dirty);
	double time = touch(bare.arena, region);
	bare_remove();
	return time;
}

static double bare_major_clean(void)
{
	bare_install(on_major_clean);
	double time = look(bare.arena, region);
	bare_remove();
	return time;
}

/* ---- The kernel's own, and filling ----------------------------------------------------- */

static double kernel_anonymous(void)
{
	char *fresh = mmap(NULL, region * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
	                   0);
	need_host(fresh != MAP_FAILED, "mmap");
	madvise(fresh, region * PAGE, MADV_NOHUGEPAGE);
	double time = touch(fresh, region);
	munmap(fresh, region * PAGE);
	return time;
}

static double fill_by_write(void)
{
	double start = bench_now();
	for (size_t i = 0; i < region; i++)
		need_host(pwrite(bare.file, zeros, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE,
		          "pwrite");
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

static void major_cases(const struct bench *bench)
{
	machine_make(region / 2, region);
	bare_make(region / 2, region);
	swap_make();
	touch(memory, region);
	for (size_t i = 0; i < region; i++) {
		memset(buffer, 1, PAGE);
		need_host(pwrite(bare.swap, buffer, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE,
		          "swap file");
	}
	bench_case(bench, "major dirty", our_major_dirty, "bare handler, same calls",
	           bare_major_dirty);
	/* Until each page has a good copy in swap, victims are dirty still. */
	look(memory, region);
	bare_major_clean();
	bench_case(bench, "major clean", our_major_clean, "bare handler, same calls",
	           bare_major_clean);
	close(bare.swap);
	bare_end();
	machine_end();
}

int main(int argc, char **argv)
{
	struct bench bench = bench_begin("fault", argc, argv);
	region = largest_power(region / bench.divisor);
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	need_host(libc != NULL, "libc.so.6");
	*(void **)&libc_sigaction = dlsym(libc, "sigaction");
	need_host(libc_sigaction != NULL, "sigaction");
	buffer = aligned_alloc(PAGE, PAGE);
	need_host(buffer != NULL, "aligned_alloc");

	bench_case(&bench, "one-page fresh", our_fresh, "bare handler, same calls", bare_fresh);
	bench_case(&bench, "kernel fresh", our_fresh, "kernel, anonymous memory", kernel_anonymous);
	bench_case(&bench, "clusters fresh", our_clusters, "kernel, anonymous memory", kernel_anonymous);
	machine_make(region, region);
	bare_make(region, region);
	touch(memory, region);
	bare_install(on_recycled);
	touch(bare.arena, region);
	bare_remove();
	bench_case(&bench, "one-page recycled", our_recycled, "bare handler, same calls",
	           bare_recycled);
	bench_case(&bench, "kernel recycled", our_recycled, "kernel, anonymous memory",
	           kernel_anonymous);
	bench_case(&bench, "soft", our_soft, "bare handler, same calls", bare_soft);
	bench_case(&bench, "fill", fill_by_write, "alias mapping, memset", fill_by_alias);
	bare_end();
	machine_end();
	major_cases(&bench);
	bench_end(&bench);
	return 0;
}
