/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_pager.c - which faults happen, how many, and what they cost in stores and mappings
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support.h"
#include "view.h"

static void touch(const char *place)
{
	(void)*(const volatile char *)place;
}

/* ---- Kinds of fault ---------------------------------------------------------------------- */

START_TEST(each_kind_is_counted_once_and_as_what_it_is)
{
	struct machine m = machine_make("memory=64K,mapping=remap,prefetch=off");
	char *memory = machine_map(m, 64, RW);
	touch(memory);
	touch(memory + 8);
	ck_assert_uint_eq(machine_stats(m).zero_fill, 1);
	ck_assert_uint_eq(machine_stats(m).faults, 1);
	memory[0] = 1;
	memory[1] = 1;
	ck_assert_uint_eq(machine_stats(m).write_upgrade, 1);
	((volatile char *)memory)[PAGE] = 1; /* a write at first needs no upgrade */
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.zero_fill, 2);
	ck_assert_uint_eq(stats.write_upgrade, 1);
	ck_assert_uint_eq(stats.major + stats.soft, 0);
	memset(memory, 2, 64 * PAGE);
	ck_assert_uint_eq(machine_stats(m).major, 0);
	touch(memory);
	ck_assert_uint_eq(machine_stats(m).major, 1);
	stats = machine_stats(m);
	ck_assert_uint_eq(stats.faults,
	                  stats.zero_fill + stats.major + stats.soft + stats.write_upgrade);
	machine_end(m);
}
END_TEST

/* The second time the process has no descriptor left to ask the host by. */
START_TEST(clock_samples_references_and_keeps_what_is_used)
{
	struct machine m = machine_make("memory=128K,policy=clock");
	char *memory = machine_map(m, 256, RW);
	const struct rlimit none = { 0, 0 };
	if (_i == 1)
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	memset(memory, 1, 4 * PAGE);
	for (size_t i = 4; i < 256; i++) {
		((volatile char *)memory)[i * PAGE] = 1; /* a scan … */
		for (size_t hot = 0; hot < 4; hot++)
			touch(memory + hot * PAGE); /* … beside four pages in steady use */
	}
	struct upage_stats stats = machine_stats(m);
	if (_i == 0)
		ck_assert_uint_eq(stats.soft, 0);
	else
		ck_assert_uint_gt(stats.soft, 4);
	ck_assert_uint_le(stats.major, 8); /* the hot ones never had to come back, but for luck */
	machine_end(m);
}
END_TEST

START_TEST(fifo_does_not)
{
	struct machine m = machine_make("memory=128K,policy=fifo");
	char *memory = machine_map(m, 256, RW);
	memset(memory, 1, 4 * PAGE);
	for (size_t i = 4; i < 256; i++) {
		((volatile char *)memory)[i * PAGE] = 1;
		for (size_t hot = 0; hot < 4; hot++)
			touch(memory + hot * PAGE);
	}
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.soft, 0);
	ck_assert_uint_gt(stats.major, 20);
	machine_end(m);
}
END_TEST

/* ---- What is written ----------------------------------------------------------------------- */

static const char *const stores[] = { "memory=64K,policy=fifo", "memory=64K,policy=fifo,direct,mapping=remap",
#ifdef HAVE_LZ4
	                              "memory=64K,policy=fifo,store=lz4"
#endif
};

/* Where their slots cannot be looked at, nobody guesses that they will be written to. */
START_TEST(clean_pages_keep_their_slot_and_are_not_written_again)
{
	if (!machine_can_be(stores[_i]))
		return;
	struct machine m = machine_make(stores[_i]);
	char *memory = machine_map(m, 64, RW);
	memset(memory, 1, 64 * PAGE);
	for (size_t i = 0; i < 64; i++) /* the last sixteen are written out now */
		touch(memory + i * PAGE);
	uint64_t written = machine_stats(m).writebacks;
	ck_assert_uint_eq(written, 64);
	for (int round = 0; round < 5; round++)
		for (size_t i = 0; i < 64; i++)
			touch(memory + i * PAGE);
	ck_assert_uint_eq(machine_stats(m).writebacks, written);
	ck_assert_uint_eq(machine_stats(m).swap_slots, 64);
	machine_end(m);
}
END_TEST

/* Writes to what it has read, or only reads, pages of which few fit. Return: how many were written back. */
static uint64_t round_of_reads(struct machine m, char *memory, size_t pages, bool writes)
{
	uint64_t before = machine_stats(m).writebacks;
	for (size_t i = 0; i < pages; i++) {
		touch(memory + i * PAGE);
		if (writes)
			((volatile char *)memory)[i * PAGE]++;
	}
	return machine_stats(m).writebacks - before;
}

/* Where comparing never paid it is hardly done any more; but what is only read now is found out. */
START_TEST(comparing_with_swap_is_given_up_and_taken_up_again)
{
	enum { PAGES = 256 };
	struct machine m = machine_make("memory=64K,policy=fifo,store=file");
	char *memory = machine_map(m, PAGES, RW);
	for (unsigned round = 0; round < 4; round++)
		round_of_reads(m, memory, PAGES, true);
	uint64_t written = round_of_reads(m, memory, PAGES, false);
	ck_assert_uint_gt(written, 16 + 20); /* what was in memory, and what one look of eight did not show */
	ck_assert_uint_lt(written, PAGES / 2);
	round_of_reads(m, memory, PAGES, false);
	ck_assert_uint_eq(round_of_reads(m, memory, PAGES, false), 0);
	for (size_t i = 0; i < PAGES; i++)
		must(memory[i * PAGE] == 4);
	machine_end(m);
}
END_TEST

static void page_out(struct machine m, void *memory, size_t pages)
{
	ck_assert_ok(upage_advise(m.space, memory, pages * PAGE, UPAGE_PAGEOUT));
}

START_TEST(a_page_that_was_written_to_when_it_was_last_here_needs_no_upgrade)
{
	struct machine m = machine_make("memory=64K,store=file");
	char *memory = machine_map(m, 8, RW);
	memset(memory, 1, 8 * PAGE);
	for (int round = 0; round < 3; round++) {
		page_out(m, memory, 8);
		for (size_t i = 0; i < 8; i++)
			memory[i * PAGE] = (char)(((volatile char *)memory)[i * PAGE] + 1);
	}
	ck_assert_uint_eq(machine_stats(m).major, 24);
	ck_assert_uint_eq(machine_stats(m).write_upgrade, 0);
	page_out(m, memory, 8);
	ck_assert_uint_eq(machine_stats(m).writebacks, 4 * 8);
	for (size_t i = 0; i < 8; i++)
		ck_assert_int_eq(memory[i * PAGE], 4);
	machine_end(m);
}
END_TEST

/* Written to in one stay out of three: expected in the one after it, and not in the next. */
START_TEST(a_page_that_was_only_read_is_not_expected_to_be_written_to)
{
	struct machine m = machine_make("memory=64K,mapping=remap");
	char *memory = machine_map(m, 8, RW);
	for (unsigned round = 0; round < 9; round++) {
		for (size_t i = 0; i < 8; i++) {
			ck_assert_int_eq(((volatile char *)memory)[i * PAGE + 9], (char)((round + 2) / 3));
			if (round % 3 == 0)
				((volatile char *)memory)[i * PAGE + 9]++;
		}
		page_out(m, memory, 8);
		ck_assert_uint_eq(machine_stats(m).writebacks, (round / 3 + 1) * 8);
		ck_assert_uint_eq(machine_stats(m).write_upgrade, (round / 3 + 1) * 8);
	}
	ck_assert_uint_eq(machine_stats(m).swap_slots, 8);
	machine_end(m);
}
END_TEST

/* What is expected does not make a page writable that may not be written to. */
START_TEST(an_expected_write_gives_no_right_to_write)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, 1, RW);
	int channel[2];
	ck_assert_int_eq(pipe(channel), 0);
	memset(memory, 1, PAGE);
	page_out(m, memory, 1);
	ck_assert_ok(upage_protect(m.space, memory, PAGE, PROT_READ));
	touch(memory);
	ck_assert_int_eq(write(channel[1], "x", 1), 1);
	ck_assert_int_eq(read(channel[0], memory, 1), -1); /* the kernel says what a trap would */
	page_out(m, memory, 1);
	ck_assert_uint_eq(machine_stats(m).writebacks, 1);
	machine_end(m);
}
END_TEST

START_TEST(pages_of_zeros_need_no_slot)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, 256, RW);
	memset(memory, 0, 256 * PAGE);
	for (size_t i = 0; i < 256; i++)
		touch(memory + i * PAGE);
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_ge(stats.evictions, 240);
	ck_assert_uint_eq(stats.writebacks, 0);
	ck_assert_uint_eq(stats.swap_slots, 0);
	memset(memory, 1, 256 * PAGE);
	memset(memory, 0, 256 * PAGE); /* and those that had one give it back */
	for (size_t i = 0; i < 256; i++)
		touch(memory + i * PAGE);
	ck_assert_uint_eq(machine_stats(m).swap_slots, 0);
	machine_end(m);
}
END_TEST

START_TEST(pages_only_read_cost_no_write)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, 256, RW);
	for (size_t i = 0; i < 256; i++)
		touch(memory + i * PAGE);
	ck_assert_uint_eq(machine_stats(m).writebacks, 0);
	machine_end(m);
}
END_TEST

/* What was idle beside a page that leaves goes with it: by one write, and only while memory is large. */
START_TEST(pages_leave_in_runs)
{
	struct machine m = machine_make(_i == 0 ? "memory=8M,prefetch=off,reclaimers=0" : "memory=256K,prefetch=off,reclaimers=0");
	size_t pages = 2 * machine_stats(m).frames;
	volatile char *memory = machine_map(m, pages, RW);
	uint64_t before = calls_made("syscw"), most = 0;
	for (size_t i = 0; i < pages; i++)
		memory[i * PAGE + i % 1000] = (char)(i % 100 + 1);
	uint64_t calls = calls_made("syscw") - before;
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.writebacks, stats.evictions);
	ck_assert_uint_ge(stats.evictions, pages / 2);
	ck_assert_uint_le(stats.evictions, pages / 2 + (_i == 0 ? 32 : 1));
	if (_i == 0) /* and one for each frame that is zeroed */
		ck_assert_uint_le(calls, stats.zero_fill - pages / 2 + stats.writebacks / 8);
	ck_assert_ok(upage_pool_verify(m.pool));
	for (size_t i = 0; i < pages; i++) {
		ck_assert_int_eq(memory[i * PAGE + i % 1000], (char)(i % 100 + 1));
		most = machine_stats(m).frames_free > most ? machine_stats(m).frames_free : most;
	}
	ck_assert_uint_le(most, _i == 0 ? 32 : 0);
	machine_end(m);
}
END_TEST

/* Whatever runs the slots come in, each page has one of the two. */
START_TEST(runs_that_find_too_few_slots_stay_in_part)
{
	struct machine m = machine_make("memory=4M,swap-size=900K");
	const size_t pages = 1024 + 224; /* one slot is for the page that makes room */
	uint64_t random = 1;
	unsigned version[1024 + 224];
	volatile uint64_t *memory = (volatile uint64_t *)(void *)machine_map(m, pages, RW);
	for (size_t i = 0; i < 8 * pages; i++) {
		size_t page = i < pages ? i : i < 4 * pages ? random_number(&random) % pages : (i * 3) % pages;
		must(i < pages || memory[page * 512 + 77] == version[page]);
		version[page] = (unsigned)i + 1;
		memory[page * 512 + 77] = version[page];
	}
	for (size_t i = 0; i < pages; i++)
		ck_assert_uint_eq(memory[i * 512 + 77], version[i]);
	ck_assert_ok(upage_pool_verify(m.pool));
	machine_end(m);
}
END_TEST

START_TEST(full_swap_lends_the_slots_of_resident_pages)
{
	/* 16 frames and 32 slots hold 48 pages; kept slots must not count twice. */
	struct machine m = machine_make("memory=64K,swap-size=128K,store=file");
	char *memory = machine_map(m, 46, RW);
	for (int round = 0; round < 20; round++)
		for (size_t i = 0; i < 46; i++) {
			if (round > 0 && i % 3 != 0)
				ck_assert_int_eq(memory[i * PAGE + 8], (char)(i + 1));
			else
				memset(memory + i * PAGE, (int)i + 1, PAGE);
		}
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.failed, 0);
	ck_assert_uint_le(stats.swap_slots, 32);
	machine_end(m);
}
END_TEST

/* Nobody evicts any more, so that it stays as it is: all frames are taken, and all slots, some by copies of what is
 * resident. */
START_TEST(where_copies_fill_swap_there_is_room_for_what_was_promised)
{
	struct machine m = machine_make("memory=64K,swap-size=128K,store=file,mapping=remap,prefetch=off");
	char *memory = machine_map(m, 46, RW);
	for (size_t i = 0; i < 46; i++)
		memset(memory + i * PAGE, (int)i + 1, PAGE);
	for (unsigned round = 1; round < 6; round++) {
		void *again = memory + round * PAGE;
		ck_assert_ok(upage_unmap(m.space, again, PAGE));
		for (size_t i = 0; i < 2 * 46; i++)
			if (i % 46 > round)
				must(memory[i % 46 * PAGE] == (char)(i % 46 + 1));
		ck_assert_uint_eq(machine_stats(m).frames_free, 0);
		ck_assert_uint_eq(machine_stats(m).swap_slots, 32);
		ck_assert_ok(upage_map(m.space, &again, PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
		memset(again, 7, PAGE);
	}
	for (size_t i = 0; i < 46; i++)
		must(memory[i * PAGE + 9] == (char)(i > 0 && i < 6 ? 7 : i + 1));
	ck_assert_uint_eq(machine_stats(m).failed, 0);
	machine_end(m);
}
END_TEST

/* Pages in use are passed by for many rounds, in which those that cannot be saved come round again and
 * again: swap is full, and all the others are dirty at last. */
START_TEST(a_page_in_use_can_go_where_no_other_can)
{
	struct machine m = machine_make("memory=64K,swap-size=16K,store=file,overcommit");
	memset(machine_map(m, 4, RW), 1, 4 * PAGE);
	char *used = machine_map(m, 4, RW), *read = machine_map(m, 16, RW);
	char *others = machine_map(m, 12, RW);
	for (size_t i = 0; i < 1000; i++) {
		touch(read + i % 16 * PAGE);
		for (size_t k = 0; k < 4; k++)
			touch(used + k * PAGE);
	}
	memset(others, 1, 12 * PAGE);
	usleep(20000); /* nothing stays for its turn any more (turn.h) */
	touch(read);
	ck_assert_uint_eq(machine_stats(m).swap_slots, 4);
	machine_end(m);
}
END_TEST

/* ---- Several threads ------------------------------------------------------------------------ */

#define THREADS 8

static struct {
	_Atomic int reads, running, most_running, finished;
	int delay_us;
} slow;

static int slow_read(void *context, void *page, size_t length, off_t offset)
{
	(void)context;
	atomic_fetch_add(&slow.reads, 1);
	int running = atomic_fetch_add(&slow.running, 1) + 1;
	int most = atomic_load(&slow.most_running);
	while (running > most && !atomic_compare_exchange_weak(&slow.most_running, &most, running))
		;
	usleep((useconds_t)slow.delay_us);
	memset(page, (int)(offset / (off_t)PAGE) + 1, length);
	atomic_fetch_sub(&slow.running, 1);
	atomic_fetch_add(&slow.finished, 1);
	return 0;
}

static pthread_barrier_t barrier;

struct reader {
	pthread_t thread;
	const char *place;
	char found;
};

static void *read_together(void *argument)
{
	struct reader *reader = argument;
	pthread_barrier_wait(&barrier);
	reader->found = *(const volatile char *)reader->place;
	return NULL;
}

/* Eight threads read, each at its own stride, in a mapping of a slow store. */
static void read_slowly(struct machine m, size_t stride, struct reader *readers)
{
	struct upage_store_ops ops = { .size = sizeof(ops), .read = slow_read };
	upage_store *store;
	void *memory = NULL;
	ck_assert_ok(upage_store_create(&store, &ops, NULL));
	ck_assert_ok(upage_map(m.space, &memory, THREADS * PAGE, PROT_READ, 0, store, 0));
	slow.delay_us = 50000;
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (size_t i = 0; i < THREADS; i++) {
		readers[i].place = (char *)memory + i * stride;
		pthread_create(&readers[i].thread, NULL, read_together, &readers[i]);
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(readers[i].thread, NULL);
	ck_assert_ok(upage_unmap(m.space, memory, THREADS * PAGE));
	ck_assert_ok(upage_store_close(store));
}

START_TEST(threads_that_fault_on_one_page_read_it_once)
{
	struct machine m = machine_make("memory=64K");
	struct reader readers[THREADS];
	read_slowly(m, 0, readers);
	ck_assert_int_eq(slow.reads, 1);
	ck_assert_uint_eq(machine_stats(m).major, 1);
	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(readers[i].found, 1);
	machine_end(m);
}
END_TEST

START_TEST(faults_on_different_pages_do_not_wait_for_each_other)
{
	struct machine m = machine_make("memory=64K");
	struct reader readers[THREADS];
	read_slowly(m, PAGE, readers);
	ck_assert_int_eq(slow.reads, THREADS);
	ck_assert_int_eq(slow.most_running, THREADS);
	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(readers[i].found, (char)(i + 1));
	machine_end(m);
}
END_TEST

static struct machine dropped;
static void *dropped_memory;

static struct {
	int running, finished; /* of the reads, just before the drop */
	int dropped, later;    /* its result; reads that had finished then */
} seen;

/* Not by ck_assert: libcheck's word is for one thread. */
static void *drop_soon(void *argument)
{
	(void)argument;
	pthread_barrier_wait(&barrier);
	usleep(20000); /* the read is under way */
	seen.running = slow.running;
	seen.finished = slow.finished;
	seen.dropped = upage_advise(dropped.space, dropped_memory, PAGE, UPAGE_DONTNEED);
	seen.later = slow.finished;
	return NULL;
}

START_TEST(a_drop_waits_for_a_fault_under_way)
{
	struct upage_store_ops ops = { .size = sizeof(ops), .read = slow_read };
	upage_store *store;
	pthread_t thread;
	dropped = machine_make("memory=64K");
	ck_assert_ok(upage_store_create(&store, &ops, NULL));
	ck_assert_ok(upage_map(dropped.space, &dropped_memory, PAGE, RW, 0, store, 0));
	slow.delay_us = 100000;
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, drop_soon, NULL);
	pthread_barrier_wait(&barrier);
	slow.delay_us = 200000;
	touch(dropped_memory);
	pthread_join(thread, NULL);
	ck_assert_int_eq(seen.running, 1);
	ck_assert_int_eq(seen.finished, 0);
	ck_assert_ok(seen.dropped);
	ck_assert_int_ge(seen.later, 1); /* the reader may already be at it again */
	ck_assert_ok(upage_unmap(dropped.space, dropped_memory, PAGE));
	ck_assert_ok(upage_store_close(store));
	machine_end(dropped);
}
END_TEST

static _Atomic bool enough;

static void *touch_everywhere(void *argument)
{
	volatile char *memory = argument;
	uint64_t random = (uint64_t)(uintptr_t)&random;
	while (!atomic_load(&enough))
		memory[random_number(&random) % 64 * PAGE]++;
	return NULL;
}

START_TEST(pins_beyond_memory_fail_while_faults_go_on)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, 64, RW), *mine = machine_map(m, 64, RW);
	pthread_t threads[4];
	atomic_store(&enough, false);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, touch_everywhere, memory);
	for (int i = 0; i < 2000; i++) {
		size_t pages = 1 + (size_t)i % 12;
		int result = upage_pin(m.space, mine, pages * PAGE, RW);
		ck_assert_int_eq(result, pages <= 8 ? 0 : UPAGE_EPINS);
		if (result == 0)
			ck_assert_ok(upage_unpin(m.space, mine, pages * PAGE));
		ck_assert_uint_eq(machine_stats(m).frames_pinned, 0);
	}
	atomic_store(&enough, true);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	machine_end(m);
}
END_TEST

static struct {
	char *memory;
	size_t pages;
} promised;

struct writer {
	pthread_t thread;
	size_t number;
	uint64_t writes;
};

static void *write_at_random(void *argument)
{
	struct writer *w = argument;
	uint64_t random = w->number;
	for (; !atomic_load(&enough); w->writes++) {
		char *page = promised.memory + random_number(&random) % promised.pages * PAGE;
		((volatile uint64_t *)(void *)page)[w->number]++;
	}
	return NULL;
}

/* One page less than frames and slots, all dirty: there is always just one slot to spare, and
 * mostly it is in another thread's hands. */
START_TEST(promised_room_is_there_however_many_threads_want_it)
{
	static const char *const words[] = { "memory=64K,swap-size=16K", "memory=64K,swap-size=64K",
		                             "memory=64K,swap-size=256K,policy=fifo" };
	struct machine m = machine_make(words[_i]);
	struct writer writers[THREADS];
	promised.pages = (size_t[]){ 19, 31, 79 }[_i];
	promised.memory = machine_map(m, promised.pages, RW);
	memset(promised.memory, 1, promised.pages * PAGE);
	atomic_store(&enough, false);
	for (size_t i = 0; i < THREADS; i++) {
		writers[i] = (struct writer){ .number = i };
		ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, write_at_random, &writers[i]), 0);
	}
	usleep(700000);
	atomic_store(&enough, true);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(writers[i].thread, NULL);
		uint64_t written = 0;
		for (size_t page = 0; page < promised.pages; page++)
			written += ((volatile uint64_t *)(void *)(promised.memory + page * PAGE))[i] - 0x0101010101010101;
		ck_assert_uint_eq(written, writers[i].writes);
	}
	ck_assert_uint_eq(machine_stats(m).failed, 0);
	machine_end(m);
}
END_TEST

/* ---- Host mappings --------------------------------------------------------------------------- */

static size_t maps_lines(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	size_t lines = 0;
	for (int c; (c = fgetc(maps)) != EOF;)
		lines += c == '\n';
	fclose(maps);
	return lines;
}

START_TEST(neighbouring_pages_get_neighbouring_frames)
{
	struct machine m = machine_make("memory=16M");
	char *memory = machine_map(m, 4096, RW);
	size_t before = maps_lines();
	for (size_t i = 0; i < 2048; i++)
		((volatile char *)memory)[i * PAGE] = 1;
	for (size_t i = 4096; i-- > 2048;) /* downwards too */
		((volatile char *)memory)[i * PAGE] = 1;
	ck_assert_uint_le(maps_lines() - before, 8); /* a leaf of the page table at a time */
	ck_assert_uint_le(machine_stats(m).host_mappings, 40); /* an upper bound: leaves count */
	machine_end(m);
}
END_TEST

START_TEST(the_budget_of_mappings_is_kept_by_revoking_not_evicting)
{
	struct machine m = machine_make("memory=16M,mapping=remap,mapping-budget=200,prefetch=off");
	char *memory = machine_map(m, 8192, RW);
	size_t before = maps_lines(), most = 0;
	for (size_t i = 0; i < 4000; i++) { /* every second page: none can be joined */
		((volatile char *)memory)[i * 2 * PAGE] = (char)i;
		if (i % 50 == 0 && maps_lines() > most)
			most = maps_lines();
	}
	for (size_t i = 0; i < 4000; i++)
		ck_assert_int_eq(memory[i * 2 * PAGE], (char)i);
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_le(stats.host_mappings_peak, 200);
	ck_assert_uint_le(most - before, 200);
	ck_assert_uint_gt(stats.soft, 3000);
	ck_assert_uint_eq(stats.evictions, 0);
	machine_end(m);
}
END_TEST

/* Not of a direct store, whose rings are mappings too. */
START_TEST(the_count_of_mappings_is_an_upper_bound_of_the_truth)
{
	struct machine m = machine_make("memory=1M,reclaimers=0,store=file");
	char *memory = machine_map(m, 1000, RW);
	uint64_t random = 3;
	size_t before = maps_lines();
	for (int i = 0; i < 20000; i++) {
		char *place = memory + random_number(&random) % 1000 * PAGE;
		if (i % 3)
			touch(place);
		else
			*(volatile char *)place = 1;
		if (i % 1000 == 0)
			ck_assert_uint_le(maps_lines() - before, machine_stats(m).host_mappings);
	}
	machine_end(m);
}
END_TEST

/* ---- Neighbours that change at once ---------------------------------------------------------- */

static _Alignas(4096) pte_t leaf[2 * PAGE_TABLE_NODE_ENTRIES];
static upage_pool *counting;
#define CHANGES 400000

static uint64_t seams_of_leaf(void)
{
	uint64_t seams = 0;
	for (size_t i = 0; i < LENGTH(leaf); i++)
		seams += view_seams_owned(counting, &leaf[i], pte_value(&leaf[i]));
	return seams;
}

/* Entries that go on beside each other, each of another thread, become frames that join and do not. */
static void *renumber(void *argument)
{
	size_t first = (size_t)(uintptr_t)argument;
	uint64_t random = first, values[2];
	for (unsigned i = 0; i < CHANGES; i++) {
		size_t at = i % 2 == 0 ? first : PAGE_TABLE_NODE_ENTRIES + first;
		values[0] = pte_value(&leaf[at]);
		view_renumber(counting, &leaf[at], values, 1, (uint32_t)(at + random_number(&random) % 2 * 4096));
	}
	return NULL;
}

START_TEST(neighbours_that_change_at_once_are_counted_right)
{
	struct machine m = machine_make("memory=64M");
	pthread_t threads[THREADS];
	counting = m.pool;
	for (size_t i = 0; i < LENGTH(leaf); i++)
		leaf[i] = pte_make(i, PTE_PRESENT | PTE_READ | PTE_LOCKED);
	m.pool->mappings = 1 + seams_of_leaf();
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, renumber, (void *)(100 + i)), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(m.pool->mappings, 1 + seams_of_leaf());
	m.pool->mappings = 1;
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pager");
	TCase *tests = tcase_create("pager");
	tcase_add_test(tests, each_kind_is_counted_once_and_as_what_it_is);
	tcase_add_loop_test(tests, clock_samples_references_and_keeps_what_is_used, 0, 2);
	tcase_add_test(tests, fifo_does_not);
	tcase_add_loop_test(tests, clean_pages_keep_their_slot_and_are_not_written_again, 0, LENGTH(stores));
	tcase_add_test(tests, a_page_that_was_written_to_when_it_was_last_here_needs_no_upgrade);
	tcase_add_test(tests, a_page_that_was_only_read_is_not_expected_to_be_written_to);
	tcase_add_test(tests, comparing_with_swap_is_given_up_and_taken_up_again);
	tcase_add_test(tests, an_expected_write_gives_no_right_to_write);
	tcase_add_test(tests, pages_of_zeros_need_no_slot);
	tcase_add_test(tests, pages_only_read_cost_no_write);
	tcase_add_loop_test(tests, pages_leave_in_runs, 0, 2);
	tcase_add_test(tests, runs_that_find_too_few_slots_stay_in_part);
	tcase_add_test(tests, full_swap_lends_the_slots_of_resident_pages);
	tcase_add_test(tests, where_copies_fill_swap_there_is_room_for_what_was_promised);
	tcase_add_test(tests, a_page_in_use_can_go_where_no_other_can);
	tcase_add_test(tests, threads_that_fault_on_one_page_read_it_once);
	tcase_add_test(tests, faults_on_different_pages_do_not_wait_for_each_other);
	tcase_add_test(tests, a_drop_waits_for_a_fault_under_way);
	tcase_add_test(tests, pins_beyond_memory_fail_while_faults_go_on);
	tcase_add_loop_test(tests, promised_room_is_there_however_many_threads_want_it, 0, 3);
	tcase_add_test(tests, neighbouring_pages_get_neighbouring_frames);
	tcase_add_test(tests, the_budget_of_mappings_is_kept_by_revoking_not_evicting);
	tcase_add_test(tests, the_count_of_mappings_is_an_upper_bound_of_the_truth);
	tcase_add_test(tests, neighbours_that_change_at_once_are_counted_right);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
