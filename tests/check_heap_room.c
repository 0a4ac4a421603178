/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_heap_room.c - several heaps, their ends, and what they take: is all of it given back, and
 * is a heap without room one that says so?
 */
#include <pthread.h>
#include <stdatomic.h>

#include "support_heap.h"

/* ---- Several heaps; the end ------------------------------------------------------------ */

static void heap_fill(upage_heap *heap, struct block *blocks, size_t count, uint64_t seed)
{
	uint64_t random = seed;
	for (size_t i = 0; i < count; i++) {
		size_t size = random_size(&random, MIB, 1);
		blocks[i] = (struct block){ upage_heap_allocate(heap, size), size, seed + i };
		ck_assert_ptr_nonnull(blocks[i].start);
		block_write(&blocks[i]);
	}
}

START_TEST(the_end_of_one_heap_leaves_the_other_intact)
{
	static struct block ours[500], theirs[500];
	struct machine machine = machine_make("memory=2M");
	upage_heap *one = heap_make(machine), *two = heap_make(machine);
	heap_fill(one, ours, 250, 100);
	heap_fill(two, theirs, 250, 90000);
	heap_fill(one, ours + 250, 250, 500);
	heap_fill(two, theirs + 250, 250, 95000);
	ck_assert_ok(upage_heap_destroy(one));
	ck_assert_ok(upage_pool_verify(machine.pool));
	for (size_t i = 0; i < 500; i++)
		ck_assert(block_is_intact(&theirs[i]));
	one = heap_make(machine);
	heap_fill(one, ours, 500, 4000); /* where the old one was, perhaps */
	for (size_t i = 0; i < 500; i++) {
		ck_assert(block_is_intact(&theirs[i]));
		ck_assert(block_is_intact(&ours[i]));
		upage_heap_free(two, theirs[i].start);
	}
	ck_assert_ok(upage_heap_destroy(two));
	for (size_t i = 0; i < 500; i++)
		ck_assert(block_is_intact(&ours[i]));
	ck_assert_ok(upage_heap_destroy(one));
	machine_end(machine);
}
END_TEST

/* Blocks that nobody freed go too, and the space is as empty as when it was made. (Reclaimers have a frame now and then.) */
START_TEST(the_end_of_a_heap_gives_everything_back)
{
	static struct block blocks[1000];
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	struct machine machine = machine_make("memory=1M,reclaimers=0");
	config.length = 256 * MIB;
	ck_assert_ok(upage_space_destroy(machine.space));
	ck_assert_ok(upage_space_create(&machine.space, machine.pool, &config));
	for (unsigned i = 0; i < 20; i++) {
		upage_heap *heap = heap_make(machine);
		heap_fill(heap, blocks, i == 0 ? 1000 : 50, i);
		ck_assert_ok(upage_heap_destroy(heap));
		struct upage_stats stats = machine_stats(machine);
		ck_assert_uint_eq(stats.frames_free, stats.frames);
		ck_assert_uint_eq(stats.swap_slots, 0);
		ck_assert_ok(upage_pool_verify(machine.pool));
	}
	void *all = upage_space_base(machine.space);
	ck_assert_ok(upage_map(machine.space, &all, config.length, RW, UPAGE_MAP_FIXED, NULL, 0));
	machine_end(machine);
}
END_TEST

START_TEST(a_heap_lives_beside_mappings)
{
	static struct block blocks[200];
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	heap_fill(heap, blocks, 100, 1);
	char *mapping = machine_map(machine, 1024, RW);
	memset(mapping, 'm', 1024 * PAGE);
	heap_fill(heap, blocks + 100, 100, 1000);
	for (size_t i = 0; i < 1024 * PAGE; i += 512)
		ck_assert_int_eq(mapping[i], 'm');
	ck_assert_ok(upage_unmap(machine.space, mapping, 1024 * PAGE));
	for (size_t i = 0; i < 200; i++)
		ck_assert(block_is_intact(&blocks[i]));
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

START_TEST(a_space_with_a_heap_is_not_destroyed)
{
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	struct block block = { upage_heap_allocate(heap, MIB), MIB, 1 };
	block_write(&block);
	ck_assert_int_eq(upage_space_destroy(machine.space), UPAGE_EBUSY);
	ck_assert(block_is_intact(&block));
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

START_TEST(a_heap_with_a_pinned_page_is_not_destroyed_and_works_on)
{
	static struct block blocks[300];
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	heap_fill(heap, blocks, 200, 1);
	size_t mapped = upage_heap_mapped(heap);
	ck_assert_ok(upage_pin(machine.space, blocks[77].start, 1, PROT_READ));
	ck_assert_int_eq(upage_heap_destroy(heap), UPAGE_EBUSY);
	ck_assert_uint_eq(upage_heap_mapped(heap), mapped);
	ck_assert_int_eq(upage_space_destroy(machine.space), UPAGE_EBUSY);
	heap_fill(heap, blocks + 200, 100, 1000);
	for (size_t i = 0; i < 300; i++)
		ck_assert(block_is_intact(&blocks[i]));
	ck_assert_ok(upage_unpin(machine.space, blocks[77].start, 1));
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

START_TEST(a_heap_without_space_or_place_is_refused)
{
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = (upage_heap *)(uintptr_t)0x5a5a;
	ck_assert_int_lt(upage_heap_create(&heap, NULL), 0);
	ck_assert_int_lt(upage_heap_create(NULL, machine.space), 0);
	ck_assert_uint_eq((uintptr_t)heap, 0x5a5a);
	machine_end(machine);
}
END_TEST

/* ---- Footprint and fullness ------------------------------------------------------------ */

START_TEST(a_new_heap_has_nothing_mapped)
{
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	ck_assert_uint_eq(upage_heap_mapped(heap), 0);
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

/* Bytes of the space that some mapping has: those that may be pinned are too many to try, so
 * by advice, which changes nothing of content. */
static size_t mapped_bytes(struct machine machine)
{
	size_t bytes = 0, step = upage_pool_page_size(machine.pool);
	char *base = upage_space_base(machine.space);
	for (size_t i = 0; i < upage_space_length(machine.space); i += step)
		if (upage_advise(machine.space, base + i, step, UPAGE_WILLNEED) == 0)
			bytes += step;
	return bytes;
}

/* What the heap says of itself, and what the space says. */
START_TEST(the_footprint_is_what_is_mapped)
{
	static struct block blocks[400];
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	struct machine machine =
	        machine_make(_i == 0 ? "memory=2M" : "memory=2M,page-size=64K");
	config.length = 256 * MIB;
	ck_assert_ok(upage_space_destroy(machine.space));
	ck_assert_ok(upage_space_create(&machine.space, machine.pool, &config));
	upage_heap *heap = heap_make(machine);
	heap_fill(heap, blocks, 400, 1);
	ck_assert_uint_eq(upage_heap_mapped(heap), mapped_bytes(machine));
	for (size_t i = 0; i < 400; i++)
		if (i % 3 != 0)
			upage_heap_free(heap, blocks[i].start);
	ck_assert_uint_eq(upage_heap_mapped(heap), mapped_bytes(machine));
	ck_assert_ok(upage_heap_destroy(heap));
	ck_assert_uint_eq(mapped_bytes(machine), 0);
	machine_end(machine);
}
END_TEST

START_TEST(freed_memory_is_used_again)
{
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	uint64_t random = 3;
	for (unsigned i = 0; i < 3000; i++) {
		size_t size = 1 + random_number(&random) % (4 * MIB);
		char *block = upage_heap_allocate(heap, size);
		ck_assert_ptr_nonnull(block);
		block[0] = block[size - 1] = 1;
		upage_heap_free(heap, block);
		ck_assert_uint_le(upage_heap_mapped(heap), 64 * MIB);
	}
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

/* Fills blocks until there are no more. Return: how many. */
static size_t allocate_all(upage_heap *heap, struct block *blocks, size_t most, size_t size)
{
	for (size_t i = 0; i < most; i++) {
		blocks[i] = (struct block){ upage_heap_allocate(heap, size), size, i + 1 };
		if (blocks[i].start == NULL)
			return i;
		memset(blocks[i].start, 0x55, size);
		block_write(&blocks[i]);
	}
	ck_abort_msg("%zu blocks, and no end", most);
}

/* What a full heap must still do: keep its blocks, and go on when half of them are freed. */
static void full_heap_works(struct machine machine, upage_heap *heap, struct block *blocks,
                            size_t count, size_t size)
{
	ck_assert_ok(upage_pool_verify(machine.pool));
	for (unsigned i = 0; i < 100; i++)
		ck_assert_ptr_null(upage_heap_allocate(heap, 64 * MIB));
	for (size_t i = 0; i < count; i += 2)
		upage_heap_free(heap, blocks[i].start);
	for (size_t i = 1; i < count; i += 2)
		ck_assert(block_is_intact(&blocks[i]));
	struct block again = { upage_heap_allocate(heap, size), size, 999 };
	ck_assert_ptr_nonnull(again.start);
	block_write(&again);
	ck_assert(block_is_intact(&again));
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}

static const size_t full_sizes[] = { 100, 4000, 60000, 1 << 20, 3 << 20 };
#define FULL_SIZES ((int)LENGTH(full_sizes))

START_TEST(a_full_space_makes_null_and_frees_make_room)
{
	static struct block blocks[400000];
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	struct machine machine = machine_make("memory=2M");
	config.length = 32 * MIB;
	ck_assert_ok(upage_space_destroy(machine.space));
	ck_assert_ok(upage_space_create(&machine.space, machine.pool, &config));
	upage_heap *heap = heap_make(machine);
	size_t size = full_sizes[_i];
	size_t count = allocate_all(heap, blocks, 400000, size);
	ck_assert_uint_ge(count * size, config.length / 2);
	full_heap_works(machine, heap, blocks, count, size);
}
END_TEST

/* Nobody's heap filled them: a mapping did, up to its last page. */
START_TEST(memory_and_swap_full_of_something_else_make_null)
{
	struct machine machine = machine_make("memory=256K,swap-size=256K,overcommit,store=file");
	size_t pages = 127; /* and a slot, to move them by */
	upage_heap *heap = heap_make(machine);
	char *first = machine_map(machine, pages, RW), *second = machine_map(machine, pages, RW);
	memset(first, 1, pages * PAGE);
	while (upage_pin(machine.space, second, 1, RW) == 0) { /* as far as it goes */
		second[0] = 1;
		ck_assert_ok(upage_unpin(machine.space, second, 1));
		second += PAGE;
	}
	for (unsigned i = 0; i < 100; i++)
		ck_assert_ptr_null(upage_heap_allocate(heap, full_sizes[i % FULL_SIZES]));
	ck_assert_ok(upage_pool_verify(machine.pool));
	ck_assert_ok(upage_unmap(machine.space, first, pages * PAGE));
	struct block block = { upage_heap_allocate(heap, 60000), 60000, 1 };
	ck_assert_ptr_nonnull(block.start);
	block_write(&block);
	ck_assert(block_is_intact(&block));
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

/* The heap alone. It may not hand out what then cannot be touched. */
START_TEST(full_memory_and_swap_make_null_and_frees_make_room)
{
	static struct block blocks[400000];
	struct machine machine = machine_make("memory=8M,swap-size=24M,store=file");
	upage_heap *heap = heap_make(machine);
	size_t size = full_sizes[_i];
	size_t count = allocate_all(heap, blocks, 400000, size);
	ck_assert_uint_ge(count * size, 16 * MIB);
	full_heap_works(machine, heap, blocks, count, size);
}
END_TEST

/* ---- Too little for many --------------------------------------------------------------- */

static struct {
	upage_heap *heap;
	pthread_mutex_t lock[512];
	struct block block[512];
	_Atomic unsigned wrong;
} crowded;

static void *allocate_crowded(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;
	for (unsigned i = 0; i < 6000; i++) {
		size_t slot = random_number(&random) % 512;
		struct block *block = &crowded.block[slot];
		pthread_mutex_lock(&crowded.lock[slot]);
		if (block->start != NULL) {
			crowded.wrong += !block_is_intact(block); /* libcheck's word is for one thread */
			upage_heap_free(crowded.heap, block->start);
			block->start = NULL;
		} else {
			size_t size = 16384 + random_number(&random) % 400000;
			*block = (struct block){ upage_heap_allocate(crowded.heap, size), size, i };
			if (block->start != NULL)
				block_write(block);
		}
		pthread_mutex_unlock(&crowded.lock[slot]);
	}
	return NULL;
}

/* Extents of several arenas then lie beside each other, and in each other's holes. */
START_TEST(arenas_that_share_a_space_too_small_keep_apart)
{
	struct machine machine = machine_make("memory=16M");
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	upage_space *space;
	pthread_t threads[4];
	config.length = 96 * MIB;
	ck_assert_ok(upage_space_create(&space, machine.pool, &config));
	ck_assert_ok(upage_heap_create(&crowded.heap, space));
	for (size_t i = 0; i < 512; i++)
		pthread_mutex_init(&crowded.lock[i], NULL);
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, allocate_crowded, (void *)(i + 1));
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(crowded.wrong, 0);
	ck_assert_ok(upage_heap_destroy(crowded.heap));
	ck_assert_ok(upage_space_destroy(space));
	machine_end(machine);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heap_room");
	TCase *heaps = tcase_create("heaps");
	tcase_set_timeout(heaps, 60);
	tcase_add_test(heaps, the_end_of_one_heap_leaves_the_other_intact);
	tcase_add_test(heaps, the_end_of_a_heap_gives_everything_back);
	tcase_add_test(heaps, a_heap_lives_beside_mappings);
	tcase_add_test(heaps, a_space_with_a_heap_is_not_destroyed);
	tcase_add_test(heaps, a_heap_with_a_pinned_page_is_not_destroyed_and_works_on);
	tcase_add_test(heaps, a_heap_without_space_or_place_is_refused);
	tcase_add_test(heaps, a_new_heap_has_nothing_mapped);
	tcase_add_loop_test(heaps, the_footprint_is_what_is_mapped, 0, 2);
	tcase_add_test(heaps, freed_memory_is_used_again);
	tcase_add_loop_test(heaps, a_full_space_makes_null_and_frees_make_room, 0, FULL_SIZES);
	tcase_add_test(heaps, memory_and_swap_full_of_something_else_make_null);
	tcase_add_test(heaps, arenas_that_share_a_space_too_small_keep_apart);
	tcase_add_loop_test(heaps, full_memory_and_swap_make_null_and_frees_make_room, 0,
	                    FULL_SIZES);
	suite_add_tcase(suite, heaps);
	return run_heap_suite(suite);
}
