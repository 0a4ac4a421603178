/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_heap.c - is a heap in paged memory an allocator like any other?
 *
 * Memory is mostly an eighth of the live data, so that nearly every block has been in swap before
 * it is looked at again.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "support_heap.h"

/* ---- Against the shadow ---------------------------------------------------------------- */

#define SLOTS 4096

struct shadow {
	struct machine machine;
	upage_heap *heap;
	uint64_t random;
	size_t most;  /* bytes of a block */
	unsigned large; /* percent of blocks that are up to that */
	size_t live;  /* bytes, now */
	size_t live_most;
	unsigned slots;
	struct block block[SLOTS];
};

static void shadow_check_place(const struct shadow *shadow, const struct block *block)
{
	ck_assert_ptr_nonnull(block->start);
	ck_assert(is_in_space(shadow->machine, block->start, block->size));
	ck_assert_uint_eq((uintptr_t)block->start % (block->size >= 16 ? 16 : 8), 0);
	ck_assert_uint_ge(upage_heap_block_size(shadow->heap, block->start), block->size);
}

static void shadow_allocate(struct shadow *shadow, struct block *block)
{
	block->size = random_size(&shadow->random, shadow->most, shadow->large);
	block->seed = random_number(&shadow->random);
	if (random_number(&shadow->random) % 8 == 0) {
		size_t alignment = (size_t)1 << random_number(&shadow->random) % 17;
		block->start = upage_heap_allocate_aligned(shadow->heap, alignment, block->size);
		ck_assert_uint_eq((uintptr_t)block->start % alignment, 0);
	} else {
		block->start = upage_heap_allocate(shadow->heap, block->size);
	}
	shadow_check_place(shadow, block);
	block_write(block);
	shadow->live += block->size;
	if (shadow->live > shadow->live_most)
		shadow->live_most = shadow->live;
}

static void shadow_free(struct shadow *shadow, struct block *block)
{
	ck_assert_msg(block_is_intact(block), "%zu bytes at %p", block->size,
	              (void *)block->start);
	upage_heap_free(shadow->heap, block->start);
	shadow->live -= block->size;
	block->start = NULL;
}

static void shadow_resize(struct shadow *shadow, struct block *block)
{
	struct block next = *block;
	next.size = random_size(&shadow->random, shadow->most, shadow->large);
	/* What survives is looked at by the old block's pattern: it must be there densely. */
	size_t kept = block->size < next.size ? block->size : next.size;
	next.start = upage_heap_resize(shadow->heap, block->start, next.size);
	shadow_check_place(shadow, &next);
	struct block old = *block;
	old.start = next.start;
	ck_assert_msg(block_is_intact_to(&old, kept), "from %zu to %zu bytes", old.size, next.size);
	shadow->live += next.size - block->size;
	*block = next;
	block_write(block);
}

static void shadow_step(struct shadow *shadow)
{
	struct block *block = &shadow->block[random_number(&shadow->random) % shadow->slots];
	uint64_t dice = random_number(&shadow->random) % 8;
	if (block->start == NULL)
		shadow_allocate(shadow, block);
	else if (dice < 3)
		shadow_free(shadow, block);
	else if (dice < 5)
		shadow_resize(shadow, block);
	else
		ck_assert_msg(block_is_intact(block), "%zu bytes", block->size);
}

/* @times: memory must be no more than live data / @times at the peak. */
static void shadow_run(const char *words, unsigned operations, unsigned slots, size_t most,
                       unsigned large, unsigned times)
{
	static struct shadow shadow;
	memset(&shadow, 0, sizeof(shadow));
	shadow.machine = machine_make(words);
	shadow.heap = heap_make(shadow.machine);
	shadow.random = 20240607;
	shadow.slots = slots;
	shadow.most = most;
	shadow.large = large;
	for (unsigned i = 0; i < operations; i++)
		shadow_step(&shadow);
	struct upage_stats stats = machine_stats(shadow.machine);
	ck_assert_uint_ge(shadow.live_most, times * stats.frames * stats.page_size);
	ck_assert_uint_ge(upage_heap_mapped(shadow.heap), shadow.live);
	ck_assert_ok(upage_pool_verify(shadow.machine.pool));
	for (unsigned i = 0; i < slots; i++)
		if (shadow.block[i].start != NULL)
			shadow_free(&shadow, &shadow.block[i]);
	ck_assert_ok(upage_heap_destroy(shadow.heap));
	machine_end(shadow.machine);
}

START_TEST(blocks_keep_their_content_in_an_eighth_of_the_memory)
{
	shadow_run("memory=1536K", 100000, 2048, 4 * MIB, 1, 8);
}
END_TEST

START_TEST(blocks_keep_their_content_in_pages_of_64_kib)
{
	shadow_run("memory=4M,page-size=64K", 15000, 2048, 4 * MIB, 1, 2);
}
END_TEST

START_TEST(blocks_keep_their_content_in_pages_of_2_mib)
{
	shadow_run("memory=32M,page-size=2M", 600, 256, 16 * MIB, 20, 4);
}
END_TEST

/* ---- Where blocks lie ------------------------------------------------------------------ */

static const char *const page_sizes[] = { "memory=8M", "memory=8M,page-size=64K",
	                                  "memory=32M,page-size=2M" };

START_TEST(a_block_is_aligned_as_asked_for)
{
	struct machine machine = machine_make(page_sizes[_i]);
	upage_heap *heap = heap_make(machine);
	static const size_t sizes[] = { 0, 1, 24, 4096, 5000, 70000, 3 << 20 };
	for (size_t alignment = 1; alignment <= 2 * MIB; alignment *= 2) {
		struct block blocks[LENGTH(sizes)];
		for (size_t i = 0; i < LENGTH(sizes); i++) {
			struct block *b = &blocks[i];
			*b = (struct block){ NULL, sizes[i], alignment + i };
			b->start = upage_heap_allocate_aligned(heap, alignment, sizes[i]);
			ck_assert_ptr_nonnull(b->start);
			ck_assert_uint_eq((uintptr_t)b->start % alignment, 0);
			ck_assert(is_in_space(machine, b->start, b->size));
			block_write(b);
		}
		for (size_t i = 0; i < LENGTH(sizes); i++) {
			ck_assert(block_is_intact(&blocks[i]));
			upage_heap_free(heap, blocks[i].start);
		}
	}
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

START_TEST(an_alignment_that_cannot_be_is_refused)
{
	static const size_t bad[] = { 0, 3, 24, SIZE_MAX, SIZE_MAX / 2 + 1 };
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	for (size_t i = 0; i < LENGTH(bad); i++)
		ck_assert_ptr_null(upage_heap_allocate_aligned(heap, bad[i], 100));
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

START_TEST(blocks_of_no_size_are_blocks_of_their_own)
{
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	char *a = upage_heap_allocate(heap, 0), *b = upage_heap_allocate(heap, 0);
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	ck_assert_ptr_ne(a, b);
	ck_assert_uint_ge(upage_heap_block_size(heap, a), 1);
	upage_heap_free(heap, a);
	upage_heap_free(heap, b);
	upage_heap_free(heap, NULL);
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

/* All that a heap says a block has can be used. */
START_TEST(a_block_can_be_used_to_its_size)
{
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	struct block blocks[200];
	uint64_t random = 7;
	for (size_t i = 0; i < 200; i++) {
		size_t size = random_size(&random, 64 * KIB, 1);
		blocks[i].start = upage_heap_allocate(heap, size);
		blocks[i].size = upage_heap_block_size(heap, blocks[i].start);
		blocks[i].seed = i;
		ck_assert_uint_ge(blocks[i].size, size);
		block_write(&blocks[i]);
	}
	for (size_t i = 0; i < 200; i++)
		ck_assert(block_is_intact(&blocks[i]));
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

START_TEST(the_programs_own_malloc_is_elsewhere)
{
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	for (size_t size = 1; size <= 64 * MIB; size *= 4) {
		char *own = malloc(size), *paged = upage_heap_allocate(heap, size);
		ck_assert(!is_in_space(machine, own, 1));
		ck_assert(is_in_space(machine, paged, size));
		own = realloc(own, 2 * size);
		ck_assert(!is_in_space(machine, own, 1));
		free(own);
		upage_heap_free(heap, paged);
	}
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

/* ---- Resize ---------------------------------------------------------------------------- */

START_TEST(resizing_no_block_allocates_one)
{
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	struct block block = { upage_heap_resize(heap, NULL, 5000), 5000, 3 };
	ck_assert(is_in_space(machine, block.start, block.size));
	block_write(&block);
	ck_assert(block_is_intact(&block));
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

START_TEST(resizing_to_nothing_leaves_a_block_of_a_byte)
{
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	unsigned char *block = upage_heap_allocate(heap, 100);
	block[0] = 42;
	block = upage_heap_resize(heap, block, 0);
	ck_assert_ptr_nonnull(block);
	ck_assert_uint_eq(block[0], 42);
	upage_heap_free(heap, block);
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

static const size_t absurd[] = { SIZE_MAX, SIZE_MAX - 4096, SIZE_MAX / 2, (size_t)1 << 60,
	                         (size_t)1 << 41 };
#define ABSURD LENGTH(absurd)

START_TEST(an_absurd_size_is_refused_and_the_block_is_intact)
{
	struct machine machine = machine_make("memory=1M");
	upage_heap *heap = heap_make(machine);
	struct block block = { upage_heap_allocate(heap, 9000), 9000, 5 };
	block_write(&block);
	ck_assert_ptr_null(upage_heap_allocate(heap, absurd[_i]));
	ck_assert_ptr_null(upage_heap_allocate_aligned(heap, 64, absurd[_i]));
	ck_assert_ptr_null(upage_heap_resize(heap, NULL, absurd[_i]));
	ck_assert_ptr_null(upage_heap_resize(heap, block.start, absurd[_i]));
	ck_assert(block_is_intact(&block));
	block.start = upage_heap_resize(heap, block.start, 9000);
	ck_assert(block_is_intact(&block));
	upage_heap_free(heap, block.start);
	ck_assert_ok(upage_heap_destroy(heap));
	machine_end(machine);
}
END_TEST

/* ---- Threads --------------------------------------------------------------------------- */

#define THREADS 8
#define EXCHANGE 512
#define THREAD_OPERATIONS 4000

static struct machine shared_machine;
static upage_heap *shared_heap;
static _Atomic(struct block *) exchange[EXCHANGE];
static _Atomic unsigned wrong, foreign;

/* Each puts a new block in the place of one that some thread left there, and frees that. */
static void *allocate_and_free_others(void *argument)
{
	uint64_t self = (uint64_t)(uintptr_t)argument, random = 1000 + self;
	for (unsigned i = 0; i < THREAD_OPERATIONS; i++) {
		struct block *block = malloc(sizeof(*block));
		block->size = random_size(&random, MIB / 4, 1);
		block->seed = random_number(&random) / THREADS * THREADS + self;
		block->start = upage_heap_allocate(shared_heap, block->size);
		if (block->start == NULL ||
		    !is_in_space(shared_machine, block->start, block->size)) {
			wrong++;
			return NULL;
		}
		block_write(block);
		block = atomic_exchange(&exchange[random_number(&random) % EXCHANGE], block);
		if (block == NULL)
			continue;
		foreign += block->seed % THREADS != self;
		wrong += !block_is_intact(block);
		upage_heap_free(shared_heap, block->start);
		free(block);
	}
	return NULL;
}

START_TEST(threads_free_what_others_allocated)
{
	pthread_t threads[THREADS];
	shared_machine = machine_make("memory=1M");
	shared_heap = heap_make(shared_machine);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, allocate_and_free_others, (void *)i);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_ge(foreign, THREADS * THREAD_OPERATIONS / 2);
	size_t live = 0;
	for (unsigned i = 0; i < EXCHANGE; i++) {
		struct block *block = exchange[i];
		if (block == NULL)
			continue;
		ck_assert(block_is_intact(block));
		live += block->size;
		upage_heap_free(shared_heap, block->start);
		free(block);
	}
	ck_assert_uint_ge(live, MIB); /* more than memory: they were paged meanwhile */
	ck_assert_ok(upage_heap_destroy(shared_heap));
	machine_end(shared_machine);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heap");
	TCase *blocks = tcase_create("blocks");
	tcase_set_timeout(blocks, 120);
	tcase_add_test(blocks, blocks_keep_their_content_in_an_eighth_of_the_memory);
	tcase_add_test(blocks, blocks_keep_their_content_in_pages_of_64_kib);
	tcase_add_test(blocks, blocks_keep_their_content_in_pages_of_2_mib);
	tcase_add_loop_test(blocks, a_block_is_aligned_as_asked_for, 0, 3);
	tcase_add_test(blocks, an_alignment_that_cannot_be_is_refused);
	tcase_add_test(blocks, blocks_of_no_size_are_blocks_of_their_own);
	tcase_add_test(blocks, a_block_can_be_used_to_its_size);
	tcase_add_test(blocks, the_programs_own_malloc_is_elsewhere);
	tcase_add_test(blocks, resizing_no_block_allocates_one);
	tcase_add_test(blocks, resizing_to_nothing_leaves_a_block_of_a_byte);
	tcase_add_loop_test(blocks, an_absurd_size_is_refused_and_the_block_is_intact, 0, ABSURD);
	tcase_add_test(blocks, threads_free_what_others_allocated);
	suite_add_tcase(suite, blocks);
	return run_heap_suite(suite);
}
