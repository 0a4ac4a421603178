/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_runs.c - spaces in contiguous runs of frames: base and bounds, segments; growing, moving, swapping
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "support.h"

/* A space of its own scheme in the pool of @m. */
static upage_space *make_space(struct machine m, enum upage_scheme scheme, size_t length, size_t bounds)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	upage_space *space = NULL;
	config.scheme = scheme;
	config.length = length;
	config.bounds = bounds;
	ck_assert_ok(upage_space_create(&space, m.pool, &config));
	return space;
}

static char *map_at(upage_space *space, size_t offset, size_t pages, int prot)
{
	void *address = (char *)upage_space_base(space) + offset;
	ck_assert_ok(upage_map(space, &address, pages * PAGE, prot, UPAGE_MAP_FIXED, NULL, 0));
	return address;
}

static upage_pfn frame_of(upage_space *space, const void *address)
{
	upage_pfn pfn = UINT64_MAX;
	ck_assert_int_eq(upage_translate(space, address, PROT_READ, &pfn), UPAGE_CAUSE_NONE);
	return pfn;
}

static void must_be_beside_each_other(upage_space *space, const char *memory, size_t pages)
{
	upage_pfn first = frame_of(space, memory);
	for (size_t i = 0; i < pages; i++)
		ck_assert_uint_eq(frame_of(space, memory + i * PAGE), first + i);
}

static void must_be_zero(const char *memory, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		must(((volatile const char *)memory)[i] == 0);
}

static sigjmp_buf escape;
static volatile int code;

static void on_segv(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	code = info->si_code;
	siglongjmp(escape, 1);
}

/* The si_code of the SIGSEGV that a reference ends in; 0: none. */
static int trap_of(volatile char *at, bool write)
{
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO }, before;
	sigaction(SIGSEGV, &action, &before);
	code = 0;
	if (sigsetjmp(escape, 1) == 0) {
		if (write)
			*at = 1;
		else
			(void)*at;
	}
	sigaction(SIGSEGV, &before, NULL);
	return code;
}

START_TEST(base_and_bounds_is_one_run_without_page_faults)
{
	struct machine m = machine_make("memory=1M,scheme=base-bounds");
	char *memory = machine_map(m, 100, RW);
	random_bytes(memory, 100 * PAGE, 1);
	must_be_beside_each_other(m.space, memory, 100);
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.faults, 0);
	ck_assert_uint_eq(stats.frames_free, stats.frames - 100);
	ck_assert_uint_eq(stats.host_mappings, 3);
	/* The first byte past the bounds traps, and the last within does not. */
	ck_assert_int_eq(trap_of(memory + 100 * PAGE - 1, true), 0);
	ck_assert_int_eq(trap_of(memory + 100 * PAGE, true), SEGV_MAPERR);
	ck_assert_int_eq(upage_translate(m.space, memory + 100 * PAGE, PROT_READ, NULL), UPAGE_CAUSE_BOUNDS);
	ck_assert_uint_eq(machine_stats(m).bounds, 1);
	machine_end(m);
}
END_TEST

START_TEST(protection_within_bounds_is_not_enforced_but_counted)
{
	struct machine m = machine_make("memory=1M,scheme=base-bounds");
	char *memory = machine_map(m, 8, RW);
	ck_assert_ok(upage_protect(m.space, memory, 4 * PAGE, PROT_READ));
	ck_assert_int_eq(trap_of(memory, true), 0);
	ck_assert_uint_eq(machine_stats(m).unenforced, 1);
	machine_end(m);
}
END_TEST

START_TEST(segments_allow_what_their_mappings_do)
{
	struct machine m = machine_make("memory=1M");
	upage_space *space = make_space(m, UPAGE_SCHEME_SEGMENTATION, 64 * MIB, 0);
	char *code = map_at(space, 0, 4, PROT_READ | PROT_EXEC), *heap = map_at(space, 16 * MIB, 4, RW);
	char *stack = map_at(space, 64 * MIB - 4 * PAGE, 4, RW);
	ck_assert_int_eq(trap_of(code, false), 0);
	ck_assert_int_eq(trap_of(code, true), SEGV_ACCERR);
	ck_assert_int_eq(trap_of(heap, true), 0);
	ck_assert_int_eq(trap_of(heap + 4 * PAGE, true), SEGV_MAPERR);
	ck_assert_int_eq(trap_of(stack + 4 * PAGE - 1, true), 0);
	ck_assert_int_eq(trap_of(stack - 1, false), SEGV_MAPERR);
	ck_assert_int_eq(upage_translate(space, (char *)upage_space_base(space) + 32 * MIB, PROT_READ, NULL),
	                 UPAGE_CAUSE_NO_SEGMENT);
	/* A segment has one permission. */
	map_at(space, 4 * PAGE, 1, RW);
	ck_assert_int_eq(trap_of(code, true), 0);
	ck_assert_ok(upage_unmap(space, code + 4 * PAGE, PAGE));
	ck_assert_int_eq(trap_of(code, true), SEGV_ACCERR);
	/* In the heap what is between two mappings is there; the stack grows down. */
	map_at(space, 16 * MIB + 6 * PAGE, 1, RW);
	must_be_beside_each_other(space, heap, 7);
	char *below = map_at(space, 64 * MIB - 8 * PAGE, 2, RW);
	must_be_beside_each_other(space, below, 8);
	ck_assert_ok(upage_space_destroy(space));
	machine_end(m);
}
END_TEST

START_TEST(a_run_grows_in_place_or_moves_with_what_is_in_it)
{
	struct machine m = machine_make("memory=1M"); /* 256 frames */
	upage_space *a = make_space(m, UPAGE_SCHEME_BASE_BOUNDS, 16 * MIB, 0);
	upage_space *b = make_space(m, UPAGE_SCHEME_BASE_BOUNDS, 16 * MIB, 0);
	char *first = map_at(a, 0, 60, RW);
	upage_pfn base = frame_of(a, first);
	random_bytes(first, 60 * PAGE, 1);
	map_at(a, 60 * PAGE, 10, RW);
	ck_assert_uint_eq(frame_of(a, first), base); /* there was room behind it */
	must_be_zero(first + 60 * PAGE, 10 * PAGE);
	/* All else is another's: what is free is not beside it. */
	char *second = map_at(b, 0, 100, RW);
	random_bytes(second, 100 * PAGE, 2);
	for (size_t pages = 70; pages < 150; pages += 10)
		map_at(a, pages * PAGE, 10, RW);
	must_be_beside_each_other(a, first, 150);
	must_be_beside_each_other(b, second, 100);
	char expected[PAGE * 100];
	random_bytes(expected, 60 * PAGE, 1);
	ck_assert_mem_eq(first, expected, 60 * PAGE);
	must_be_zero(first + 60 * PAGE, 90 * PAGE);
	random_bytes(expected, 100 * PAGE, 2);
	ck_assert_mem_eq(second, expected, 100 * PAGE);
	ck_assert_uint_gt(machine_stats(m).moves, 0);
	/* 6 are free. */
	void *more = first + 150 * PAGE;
	ck_assert_int_eq(upage_map(a, &more, 7 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0), UPAGE_ENOMEM);
	ck_assert_ok(upage_map(a, &more, 6 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_mem_eq(second, expected, 100 * PAGE);
	ck_assert_ok(upage_space_destroy(a));
	ck_assert_ok(upage_space_destroy(b));
	machine_end(m);
}
END_TEST

START_TEST(a_stack_grows_down_though_others_are_in_the_way)
{
	struct machine m = machine_make("memory=1M");
	upage_space *space = make_space(m, UPAGE_SCHEME_SEGMENTATION, 64 * MIB, 0);
	char *heap = map_at(space, 16 * MIB, 100, RW), *area = map_at(space, 32 * MIB, 60, RW);
	random_bytes(heap, 100 * PAGE, 3);
	random_bytes(area, 60 * PAGE, 4);
	for (size_t pages = 1; pages <= 90; pages++) {
		char *page = map_at(space, 64 * MIB - pages * PAGE, 1, RW);
		must_be_zero(page, PAGE);
		memset(page, (int)pages, PAGE);
	}
	for (size_t pages = 1; pages <= 90; pages++)
		ck_assert_int_eq(((volatile char *)upage_space_base(space))[64 * MIB - pages * PAGE], (char)pages);
	char expected[100 * PAGE];
	random_bytes(expected, 100 * PAGE, 3);
	ck_assert_mem_eq(heap, expected, 100 * PAGE);
	random_bytes(expected, 60 * PAGE, 4);
	ck_assert_mem_eq(area, expected, 60 * PAGE);
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_ok(upage_space_destroy(space));
	machine_end(m);
}
END_TEST

START_TEST(files_are_copied_in_and_not_written_to)
{
	char name[] = "check-runs-XXXXXX", content[3 * PAGE];
	int file = mkstemp(name);
	upage_store *store;
	struct machine m = machine_make("memory=1M,scheme=base-bounds");
	void *address = NULL;
	random_bytes(content, sizeof(content), 5);
	ck_assert_int_eq(write(file, content, 2 * PAGE + 100), 2 * PAGE + 100);
	ck_assert_ok(upage_store_open(&store, name, UPAGE_STORE_WRITABLE));
	ck_assert_ok(upage_map(m.space, &address, 4 * PAGE, RW, 0, store, 0));
	ck_assert_mem_eq(address, content, 2 * PAGE + 100);
	must_be_zero((char *)address + 2 * PAGE + 100, 2 * PAGE - 100);
	memset(address, 1, 4 * PAGE);
	ck_assert_ok(upage_advise(m.space, address, 4 * PAGE, UPAGE_DONTNEED));
	ck_assert_mem_eq(address, content, 2 * PAGE + 100);
	must_be_zero((char *)address + 2 * PAGE + 100, 2 * PAGE - 100);
	address = NULL;
	ck_assert_int_eq(upage_map(m.space, &address, PAGE, RW, UPAGE_MAP_SHARED, store, 0), UPAGE_ENOTSUP);
	ck_assert_ok(upage_map(m.space, &address, PAGE, PROT_READ, UPAGE_MAP_SHARED, store, 0));
	ck_assert_mem_eq(address, content, PAGE);
	ck_assert_ok(upage_unmap(m.space, address, PAGE));
	machine_end(m);
	ck_assert_ok(upage_store_close(store));
	close(file);
	unlink(name);
}
END_TEST

START_TEST(nothing_of_a_former_owner_is_seen)
{
	struct machine m = machine_make("memory=1M");
	upage_space *space = make_space(m, UPAGE_SCHEME_BASE_BOUNDS, 16 * MIB, 0);
	/* All frames have been another's, of a page and of a run. */
	char *paged = machine_map(m, 256, RW);
	memset(paged, 0x55, 256 * PAGE);
	ck_assert_ok(upage_unmap(m.space, paged, 256 * PAGE));
	char *memory = map_at(space, 0, 200, RW);
	must_be_zero(memory, 200 * PAGE);
	memset(memory, 0x66, 200 * PAGE);
	/* What is unmapped at the end, in the middle, and mapped again. */
	ck_assert_ok(upage_unmap(space, memory + 100 * PAGE, 20 * PAGE));
	ck_assert_ok(upage_unmap(space, memory + 180 * PAGE, 20 * PAGE));
	must_be_zero(map_at(space, 100 * PAGE, 20, RW), 20 * PAGE);
	must_be_zero(map_at(space, 180 * PAGE, 60, RW), 60 * PAGE);
	/* Within bounds the program may have written to what it has not mapped. */
	ck_assert_ok(upage_unmap(space, memory + 100 * PAGE, 20 * PAGE));
	memset(memory + 100 * PAGE, 0x77, 20 * PAGE);
	must_be_zero(map_at(space, 100 * PAGE, 20, RW), 20 * PAGE);
	ck_assert_ok(upage_space_destroy(space));
	paged = machine_map(m, 256, RW);
	must_be_zero(paged, 256 * PAGE);
	machine_end(m);
}
END_TEST

START_TEST(a_space_is_swapped_out_whole_and_comes_in_at_another_base)
{
	struct machine m = machine_make("memory=1M");
	upage_space *space = make_space(m, UPAGE_SCHEME_SEGMENTATION, 64 * MIB, 0);
	char *heap = map_at(space, 16 * MIB, 60, RW), *stack = map_at(space, 64 * MIB - 40 * PAGE, 40, RW);
	char expected[60 * PAGE];
	random_bytes(heap, 60 * PAGE, 6);
	memset(stack, 7, PAGE); /* and 39 pages of zeros, which take no slot */
	upage_pfn before = frame_of(space, heap);
	ck_assert_ok(upage_pin(space, heap + 10 * PAGE, 1, PROT_READ));
	ck_assert_int_eq(upage_space_swap_out(space), UPAGE_EBUSY);
	ck_assert_ok(upage_unpin(space, heap + 10 * PAGE, 1));
	ck_assert_ok(upage_space_swap_out(space));
	ck_assert_ok(upage_space_swap_out(space));
	ck_assert_ok(upage_pool_verify(m.pool));
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.frames_free, stats.frames);
	ck_assert_uint_eq(stats.swap_slots, 61);
	/* Another has all of memory meanwhile, and it cannot come back. */
	upage_space *other = make_space(m, UPAGE_SCHEME_BASE_BOUNDS, 16 * MIB, 0);
	char *all = map_at(other, 0, 200, RW);
	memset(all, 8, 200 * PAGE);
	ck_assert_int_eq(upage_space_swap_in(space), UPAGE_ENOMEM);
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_ok(upage_unmap(other, all + 100 * PAGE, 100 * PAGE));
	/* A reference brings it in. */
	ck_assert_int_eq(((volatile char *)stack)[0], 7);
	must_be_zero(stack + PAGE, 39 * PAGE);
	random_bytes(expected, 60 * PAGE, 6);
	ck_assert_mem_eq(heap, expected, 60 * PAGE);
	ck_assert_uint_ne(frame_of(space, heap), before);
	ck_assert_uint_eq(machine_stats(m).swap_slots, 0);
	ck_assert_uint_eq(machine_stats(m).major, 1);
	/* One that is out can be destroyed without coming in. */
	ck_assert_ok(upage_space_swap_out(space));
	ck_assert_ok(upage_space_destroy(space));
	ck_assert_ok(upage_space_destroy(other));
	ck_assert_int_eq(upage_space_swap_out(m.space), UPAGE_ENOTSUP);
	machine_end(m);
}
END_TEST

START_TEST(without_room_in_swap_a_space_stays)
{
	struct machine m = machine_make("memory=1M,swap-size=64K");
	upage_space *space = make_space(m, UPAGE_SCHEME_BASE_BOUNDS, 16 * MIB, 0);
	char *memory = map_at(space, 0, 60, RW), expected[60 * PAGE];
	random_bytes(memory, 60 * PAGE, 9);
	ck_assert_int_eq(upage_space_swap_out(space), UPAGE_ENOSPC);
	random_bytes(expected, 60 * PAGE, 9);
	ck_assert_mem_eq(memory, expected, 60 * PAGE);
	ck_assert_uint_eq(machine_stats(m).swap_slots, 0);
	ck_assert_ok(upage_space_destroy(space));
	machine_end(m);
}
END_TEST

START_TEST(a_pinned_run_does_not_move)
{
	struct machine m = machine_make("memory=1M");
	upage_space *space = make_space(m, UPAGE_SCHEME_BASE_BOUNDS, 16 * MIB, 0);
	upage_space *other = make_space(m, UPAGE_SCHEME_BASE_BOUNDS, 16 * MIB, 0);
	upage_space *third = make_space(m, UPAGE_SCHEME_BASE_BOUNDS, 16 * MIB, 0);
	char *memory = map_at(space, 0, 10, RW);
	void *more = memory + 10 * PAGE;
	ck_assert_ok(upage_pin(space, memory, 3 * PAGE, PROT_READ | PROT_WRITE));
	upage_pfn pinned = frame_of(space, memory);
	/* 46 frames are free, but not behind it. */
	map_at(other, 0, 100, RW);
	map_at(third, 0, 100, RW);
	ck_assert_int_eq(upage_map(space, &more, 30 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0), UPAGE_EBUSY);
	ck_assert_uint_eq(frame_of(space, memory), pinned);
	ck_assert_int_eq(upage_unmap(space, memory + 2 * PAGE, PAGE), UPAGE_EBUSY);
	ck_assert_int_eq(upage_unpin(space, memory, 4 * PAGE), UPAGE_EINVAL);
	ck_assert_ok(upage_unpin(space, memory, 3 * PAGE));
	ck_assert_ok(upage_map(space, &more, 30 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
	ck_assert_ok(upage_space_destroy(space));
	ck_assert_ok(upage_space_destroy(other));
	ck_assert_ok(upage_space_destroy(third));
	machine_end(m);
}
END_TEST

/* Threads that write to runs, while these move. */
static atomic_bool stop;
static char *shared_pages;

static void *write_numbers(void *argument)
{
	size_t self = *(size_t *)argument;
	uint64_t round = 0;
	for (; !atomic_load(&stop); round++) {
		for (size_t page = 0; page < 20; page++) {
			volatile uint64_t *word = (volatile uint64_t *)(void *)(shared_pages + page * PAGE) + self;
			if (*word != round)
				return (void *)1;
			*word = round + 1;
		}
	}
	return NULL;
}

START_TEST(runs_move_under_running_threads)
{
	struct machine m = machine_make("memory=1M");
	upage_space *space = make_space(m, UPAGE_SCHEME_SEGMENTATION, 64 * MIB, 0);
	pthread_t threads[4];
	size_t numbers[4] = { 0, 1, 2, 3 };
	shared_pages = map_at(space, 16 * MIB, 20, RW);
	atomic_store(&stop, false);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_numbers, &numbers[i]), 0);
	/* The two push each other about. */
	for (int i = 0; i < 300; i++) {
		char *area = map_at(space, 32 * MIB, 100, RW);
		char *heap = map_at(space, 16 * MIB + 20 * PAGE, 110, RW);
		memset(area, i, PAGE);
		ck_assert_ok(upage_unmap(space, heap, 110 * PAGE));
		ck_assert_ok(upage_space_swap_out(space));
		ck_assert_ok(upage_unmap(space, area, 100 * PAGE));
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 4; i++) {
		void *result;
		pthread_join(threads[i], &result);
		ck_assert_ptr_null(result);
	}
	ck_assert_ok(upage_space_destroy(space));
	machine_end(m);
}
END_TEST

#define FRAGMENTS 30
#define FRAGMENT 8 /* pages; 240 of 256 frames */

/* Who writes to one of the spaces that stay, and finds what he wrote. */
static void *write_fragment(void *argument)
{
	volatile uint64_t *words = argument;
	for (uint64_t round = 1; !atomic_load(&stop); round++) {
		for (size_t i = 0; i < FRAGMENT * PAGE / sizeof(*words); i += 97) {
			if (words[i] != (round == 1 ? 0 : round - 1 + i))
				return (void *)1;
			words[i] = round + i;
		}
	}
	return NULL;
}

START_TEST(a_fragmented_memory_has_room_once_it_is_compacted)
{
	struct machine m = machine_make("memory=1M");
	upage_space *spaces[FRAGMENTS], *large = NULL;
	pthread_t threads[4];
	atomic_store(&stop, false);
	for (size_t i = 0; i < FRAGMENTS; i++) {
		spaces[i] = make_space(m, UPAGE_SCHEME_BASE_BOUNDS, MIB, FRAGMENT * PAGE);
		void *address = NULL;
		ck_assert_ok(upage_map(spaces[i], &address, FRAGMENT * PAGE, RW, 0, NULL, 0));
		if (i >= 8)
			memset(address, (int)i, FRAGMENT * PAGE);
	}
	for (size_t i = 0; i < FRAGMENTS; i += 2)
		ck_assert_ok(upage_space_destroy(spaces[i]));
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_fragment, upage_space_base(spaces[2 * i + 1])), 0);
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.frames_free, 256 - 120);
	ck_assert_uint_le(stats.largest_free_run, 16 + FRAGMENT);
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.scheme = UPAGE_SCHEME_BASE_BOUNDS;
	config.length = MIB;
	config.bounds = 100 * PAGE;
	/* As long as none may be moved there is no room in one place. */
	for (size_t i = 1; i < FRAGMENTS; i += 2)
		ck_assert_ok(upage_pin(spaces[i], upage_space_base(spaces[i]), 1, PROT_READ));
	ck_assert_int_eq(upage_space_create(&large, m.pool, &config), UPAGE_ENOMEM);
	ck_assert_uint_eq(machine_stats(m).moves, 0);
	for (size_t i = 1; i < FRAGMENTS; i += 2)
		ck_assert_ok(upage_unpin(spaces[i], upage_space_base(spaces[i]), 1));
	ck_assert_ok(upage_space_create(&large, m.pool, &config));
	void *address = NULL;
	ck_assert_ok(upage_map(large, &address, 100 * PAGE, RW, 0, NULL, 0));
	must_be_zero(address, 100 * PAGE);
	must_be_beside_each_other(large, address, 100);
	ck_assert_uint_gt(machine_stats(m).moves, 0);
	/* On demand, too. */
	ck_assert_ok(upage_space_destroy(large));
	ck_assert_ok(upage_space_destroy(spaces[FRAGMENTS - 1]));
	ck_assert_ok(upage_space_destroy(spaces[9]));
	struct upage_compaction result = UPAGE_COMPACTION_INIT;
	ck_assert_ok(upage_compact(m.pool, &result));
	ck_assert_uint_eq(result.largest_free_run_after, result.frames_free);
	atomic_store(&stop, true);
	for (size_t i = 0; i < 4; i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		ck_assert_ptr_null(wrong);
	}
	for (size_t i = 11; i < FRAGMENTS - 1; i += 2)
		for (size_t at = 0; at < FRAGMENT * PAGE; at += 61)
			must(((volatile char *)upage_space_base(spaces[i]))[at] == (char)i);
	for (size_t i = 1; i < FRAGMENTS - 1; i += 2)
		if (i != 9)
			ck_assert_ok(upage_space_destroy(spaces[i]));
	machine_end(m);
}
END_TEST

START_TEST(compaction_stops_where_it_is_told_to)
{
	struct machine m = machine_make("memory=1M");
	upage_space *spaces[6];
	for (size_t i = 0; i < 6; i++)
		spaces[i] = make_space(m, UPAGE_SCHEME_BASE_BOUNDS, MIB, 10 * PAGE);
	ck_assert_ok(upage_space_destroy(spaces[0]));
	struct upage_compaction result = UPAGE_COMPACTION_INIT;
	result.max_moves = 25; /* runs move whole */
	ck_assert_ok(upage_compact(m.pool, &result));
	ck_assert_uint_eq(result.moves, 20);
	ck_assert_uint_gt(result.max_pause_ns, 0);
	result.max_moves = 0;
	ck_assert_ok(upage_compact(m.pool, &result));
	ck_assert_uint_eq(result.moves, 30);
	for (size_t i = 1; i < 6; i++)
		ck_assert_ok(upage_space_destroy(spaces[i]));
	machine_end(m);
}
END_TEST

START_TEST(a_fork_has_a_copy)
{
	struct machine m = machine_make("memory=1M");
	upage_space *space = make_space(m, UPAGE_SCHEME_SEGMENTATION, 64 * MIB, 0);
	upage_space *out = make_space(m, UPAGE_SCHEME_BASE_BOUNDS, 16 * MIB, 0);
	char *heap = map_at(space, 16 * MIB, 20, RW), *away = map_at(out, 0, 10, RW);
	int status;
	memset(heap, 1, 20 * PAGE);
	memset(away, 2, 10 * PAGE);
	ck_assert_ok(upage_space_swap_out(out));
	pid_t child = fork();
	if (child == 0) {
		bool right = heap[0] == 1 && away[10 * PAGE - 1] == 2;
		memset(heap, 3, 20 * PAGE);
		memset(away, 3, 10 * PAGE);
		void *more = heap + 20 * PAGE;
		right = right && upage_map(space, &more, 100 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0) == 0 &&
		        upage_pool_verify(m.pool) == 0;
		_exit(right ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	for (size_t i = 0; i < 20 * PAGE; i += PAGE / 2)
		ck_assert_int_eq(((volatile char *)heap)[i], 1);
	for (size_t i = 0; i < 10 * PAGE; i += PAGE / 2)
		ck_assert_int_eq(((volatile char *)away)[i], 2);
	ck_assert_ok(upage_space_destroy(out));
	ck_assert_ok(upage_space_destroy(space));
	machine_end(m);
}
END_TEST

START_TEST(a_segment_of_code_is_shared_by_several_spaces)
{
	struct machine m = machine_make("memory=1M");
	upage_space *spaces[3];
	char *codes[3], expected[10 * PAGE];
	for (int i = 0; i < 3; i++) {
		spaces[i] = make_space(m, UPAGE_SCHEME_SEGMENTATION, 64 * MIB, 0);
		codes[i] = upage_space_base(spaces[i]);
	}
	ck_assert_int_eq(upage_segment_share(spaces[1], spaces[0], UPAGE_SEGMENT_CODE), UPAGE_ENOTMAPPED);
	map_at(spaces[0], 0, 10, RW);
	random_bytes(codes[0], 10 * PAGE, 11);
	random_bytes(expected, 10 * PAGE, 11);
	ck_assert_int_eq(upage_segment_share(spaces[1], spaces[0], UPAGE_SEGMENT_CODE), UPAGE_EACCES);
	ck_assert_ok(upage_protect(spaces[0], codes[0], 10 * PAGE, PROT_READ | PROT_EXEC));
	ck_assert_ok(upage_segment_share(spaces[1], spaces[0], UPAGE_SEGMENT_CODE));
	ck_assert_ok(upage_segment_share(spaces[2], spaces[1], UPAGE_SEGMENT_CODE));
	ck_assert_int_eq(upage_segment_share(spaces[2], spaces[0], UPAGE_SEGMENT_CODE), UPAGE_EBUSY);
	ck_assert_int_eq(upage_segment_share(spaces[2], m.space, UPAGE_SEGMENT_CODE), UPAGE_EINVAL);
	ck_assert_int_eq(upage_segment_share(spaces[2], spaces[0], UPAGE_SEGMENT_STACK + 1), UPAGE_EINVAL);
	ck_assert_uint_eq(machine_resident(m), 10);
	for (int i = 0; i < 3; i++) {
		ck_assert_mem_eq(codes[i], expected, 10 * PAGE);
		ck_assert_uint_eq(frame_of(spaces[i], codes[i]), frame_of(spaces[0], codes[0]));
		ck_assert_int_eq(trap_of(codes[i], true), SEGV_ACCERR);
		ck_assert_int_eq(upage_protect(spaces[i], codes[i], PAGE, RW), UPAGE_EACCES);
		void *more = codes[i] + 10 * PAGE;
		ck_assert_int_eq(upage_map(spaces[i], &more, PAGE, PROT_READ, UPAGE_MAP_FIXED, NULL, 0), UPAGE_EBUSY);
		ck_assert_int_eq(upage_space_swap_out(spaces[i]), UPAGE_EBUSY);
	}
	ck_assert_ok(upage_pool_verify(m.pool));
	/* Another's heap, with no room but where the code is, makes it move for all. */
	upage_pfn before = frame_of(spaces[0], codes[0]);
	char *heap = map_at(spaces[1], 16 * MIB, 240, RW);
	memset(heap, 1, 240 * PAGE);
	ck_assert_uint_ne(frame_of(spaces[0], codes[0]), before);
	for (int i = 0; i < 3; i++) {
		ck_assert_mem_eq(codes[i], expected, 10 * PAGE);
		ck_assert_uint_eq(frame_of(spaces[i], codes[i]), frame_of(spaces[0], codes[0]));
	}
	/* The first owner goes, and another gives up a part, and then all. */
	ck_assert_ok(upage_space_destroy(spaces[0]));
	ck_assert_ok(upage_unmap(spaces[1], codes[1] + 5 * PAGE, 5 * PAGE));
	ck_assert_mem_eq(codes[2], expected, 10 * PAGE);
	ck_assert_ok(upage_unmap(spaces[1], codes[1], 5 * PAGE));
	ck_assert_int_eq(trap_of(codes[1], false), SEGV_MAPERR);
	ck_assert_mem_eq(codes[2], expected, 10 * PAGE);
	ck_assert_ok(upage_pool_verify(m.pool));
	/* It is alone again, and may do as it likes. */
	ck_assert_ok(upage_protect(spaces[2], codes[2], PAGE, RW));
	codes[2][0] = 1;
	ck_assert_ok(upage_space_destroy(spaces[1]));
	ck_assert_ok(upage_space_destroy(spaces[2]));
	machine_end(m);
}
END_TEST

START_TEST(spaces_in_runs_take_turns_at_the_same_addresses)
{
	struct machine m = machine_make("memory=1M");
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	upage_space *spaces[3];
	char *memory = NULL;
	config.flags = UPAGE_SPACE_WINDOW;
	config.length = 64 * MIB;
	for (size_t i = 0; i < 3; i++) {
		static const enum upage_scheme schemes[] = { UPAGE_SCHEME_BASE_BOUNDS, UPAGE_SCHEME_SEGMENTATION,
			                                     UPAGE_SCHEME_PAGING };
		config.scheme = schemes[i];
		ck_assert_ok(upage_space_create(&spaces[i], m.pool, &config));
		config.address = upage_space_base(spaces[0]);
	}
	for (size_t i = 0; i < 3; i++) {
		ck_assert_ok(upage_switch(spaces[i]));
		memory = map_at(spaces[i], 0, 20, RW);
		must_be_zero(memory, 20 * PAGE);
		random_bytes(memory, 20 * PAGE, i);
	}
	char expected[30 * PAGE];
	for (size_t round = 0; round < 200; round++) {
		size_t turn = round % 3, parked = (turn + 1) % 3;
		ck_assert_ok(upage_switch(spaces[turn]));
		random_bytes(expected, 20 * PAGE, turn);
		ck_assert_mem_eq(memory, expected, 20 * PAGE);
		/* What is parked grows, moves, and goes out meanwhile. */
		if (round % 7 == 0)
			map_at(spaces[parked], 20 * PAGE, 10, RW);
		if (round % 7 == 0 && parked < 2)
			ck_assert_ok(upage_space_swap_out(spaces[parked]));
		if (round % 5 == 0)
			ck_assert_ok(upage_compact(m.pool, NULL));
		ck_assert_mem_eq(memory, expected, 20 * PAGE);
		if (round % 7 == 0)
			ck_assert_ok(upage_unmap(spaces[parked], memory + 20 * PAGE, 10 * PAGE));
		ck_assert_ok(upage_pool_verify(m.pool));
	}
	ck_assert_uint_eq(machine_stats(m).switches, 203);
	for (size_t i = 0; i < 3; i++)
		ck_assert_ok(upage_space_destroy(spaces[i]));
	machine_end(m);
}
END_TEST

START_TEST(wrong_configurations_are_refused)
{
	struct machine m = machine_make("memory=1M");
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	upage_space *space = NULL;
	config.scheme = UPAGE_SCHEME_SEGMENTATION + 1;
	ck_assert_int_eq(upage_space_create(&space, m.pool, &config), UPAGE_EINVAL);
	config.scheme = UPAGE_SCHEME_SEGMENTATION;
	config.length = 3 * MIB;
	ck_assert_int_eq(upage_space_create(&space, m.pool, &config), UPAGE_EINVAL);
	config.length = 4 * MIB;
	config.bounds = MIB;
	ck_assert_int_eq(upage_space_create(&space, m.pool, &config), UPAGE_EINVAL);
	config.scheme = UPAGE_SCHEME_BASE_BOUNDS;
	config.bounds = 5 * MIB;
	ck_assert_int_eq(upage_space_create(&space, m.pool, &config), UPAGE_EINVAL);
	config.bounds = 2 * MIB; /* more than memory */
	ck_assert_int_eq(upage_space_create(&space, m.pool, &config), UPAGE_ENOMEM);
	config.bounds = MIB / 2;
	ck_assert_ok(upage_space_create(&space, m.pool, &config));
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.frames_free, stats.frames / 2);
	void *address = NULL;
	ck_assert_int_eq(upage_map(space, &address, MIB / 2 + 1, RW, 0, NULL, 0), UPAGE_ENOMEM);
	ck_assert_ok(upage_map(space, &address, MIB / 2, RW, 0, NULL, 0));
	ck_assert_ok(upage_space_destroy(space));
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("runs");
	TCase *tests = tcase_create("runs");
	tcase_add_test(tests, base_and_bounds_is_one_run_without_page_faults);
	tcase_add_test(tests, protection_within_bounds_is_not_enforced_but_counted);
	tcase_add_test(tests, segments_allow_what_their_mappings_do);
	tcase_add_test(tests, a_run_grows_in_place_or_moves_with_what_is_in_it);
	tcase_add_test(tests, a_stack_grows_down_though_others_are_in_the_way);
	tcase_add_test(tests, files_are_copied_in_and_not_written_to);
	tcase_add_test(tests, nothing_of_a_former_owner_is_seen);
	tcase_add_test(tests, a_space_is_swapped_out_whole_and_comes_in_at_another_base);
	tcase_add_test(tests, without_room_in_swap_a_space_stays);
	tcase_add_test(tests, a_pinned_run_does_not_move);
	tcase_add_test(tests, runs_move_under_running_threads);
	tcase_add_test(tests, a_fragmented_memory_has_room_once_it_is_compacted);
	tcase_add_test(tests, compaction_stops_where_it_is_told_to);
	tcase_add_test(tests, a_fork_has_a_copy);
	tcase_add_test(tests, a_segment_of_code_is_shared_by_several_spaces);
	tcase_add_test(tests, spaces_in_runs_take_turns_at_the_same_addresses);
	tcase_add_test(tests, wrong_configurations_are_refused);
	tcase_set_timeout(tests, 100);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
