/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_heap.c - is a heap in paged memory an allocator like any other?
 *
 * What was asked for is kept in a shadow (struct block, in the program's own memory) beside
 * what the heap gave, and every block carries a pattern of its own. Memory is mostly an eighth
 * of the live data, so that nearly every block has been in swap before it is looked at again.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)

/* ---- Blocks ---------------------------------------------------------------------------- */

struct block {
	unsigned char *start;
	size_t size;
	uint64_t seed;
};

/* Small blocks are written whole. Of large ones both ends, and a byte in each 16 KiB, so that
 * a test is not mostly memset. */
#define WHOLE ((size_t)8 * KIB)
#define STRIDE ((size_t)16 * KIB)

static unsigned char pattern(uint64_t seed, size_t i)
{
	return (unsigned char)(seed + i + i / 251);
}

static size_t next_index(size_t i, size_t size)
{
	if (size <= WHOLE || i + 1 < WHOLE / 2 || i + 1 >= size - WHOLE / 2)
		return i + 1;
	size_t next = (i / STRIDE + 1) * STRIDE;
	return next < size - WHOLE / 2 ? next : size - WHOLE / 2;
}

static void block_write(const struct block *block)
{
	for (size_t i = 0; i < block->size; i = next_index(i, block->size))
		block->start[i] = pattern(block->seed, i);
}

/* Of the first @size bytes. Returns whether all are as written. */
static bool block_is_intact_to(const struct block *block, size_t size)
{
	for (size_t i = 0; i < size; i = next_index(i, block->size))
		if (block->start[i] != pattern(block->seed, i))
			return false;
	return true;
}

static bool block_is_intact(const struct block *block)
{
	return block_is_intact_to(block, block->size);
}

static bool is_in_space(struct machine machine, const void *start, size_t size)
{
	size_t offset = (size_t)((const char *)start - (char *)upage_space_base(machine.space));
	size_t length = upage_space_length(machine.space);
	return offset < length && size <= length - offset;
}

static upage_heap *heap_make(struct machine machine)
{
	upage_heap *heap;
	ck_assert_ok(upage_heap_create(&heap, machine.space));
	return heap;
}

/* Mostly small, some up to 64 KiB, @large percent up to @most. */
static size_t random_size(uint64_t *state, size_t most, unsigned large)
{
	uint64_t dice = random_number(state) % 100;
	size_t limit = dice < large ? most : dice < large + 6 ? 64 * KIB : 4 * KIB;
	size_t size = 1;
	for (size_t power = 1; power < limit; power *= 2)
		if (random_number(state) % 16 != 0)
			size = power;
	size += random_number(state) % size;
	return size < limit ? size : limit;
}

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

/* Blocks that nobody freed go too, and the space is as empty as when it was made. */
START_TEST(the_end_of_a_heap_gives_everything_back)
{
	static struct block blocks[1000];
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	struct machine machine = machine_make("memory=1M");
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
	struct machine machine = machine_make("memory=256K,swap-size=256K,overcommit");
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
	struct machine machine = machine_make("memory=8M,swap-size=24M");
	upage_heap *heap = heap_make(machine);
	size_t size = full_sizes[_i];
	size_t count = allocate_all(heap, blocks, 400000, size);
	ck_assert_uint_ge(count * size, 16 * MIB);
	full_heap_works(machine, heap, blocks, count, size);
}
END_TEST

/* ---- All of it ------------------------------------------------------------------------- */

static struct {
	upage_heap *heap;
	pthread_mutex_t lock[512];
	struct block block[512];
} crowded;

static void *allocate_crowded(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;
	for (unsigned i = 0; i < 6000; i++) {
		size_t slot = random_number(&random) % 512;
		struct block *block = &crowded.block[slot];
		pthread_mutex_lock(&crowded.lock[slot]);
		if (block->start != NULL) {
			wrong += !block_is_intact(block); /* libcheck's word is for one thread */
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
	ck_assert_uint_eq(wrong, 0);
	ck_assert_ok(upage_heap_destroy(crowded.heap));
	ck_assert_ok(upage_space_destroy(space));
	machine_end(machine);
}
END_TEST

/* In a process of its own: a pool before the tests' own processes would be in all of them. */
static bool is_supported(void)
{
	pid_t child = fork();
	if (child == 0) {
		upage_pool *pool;
		upage_space *space;
		upage_heap *heap;
		struct upage_config config = UPAGE_CONFIG_INIT;
		if (upage_pool_create(&pool, &config) < 0 ||
		    upage_space_create(&space, pool, NULL) < 0)
			_exit(1); /* which the tests will tell more about */
		_exit(upage_heap_create(&heap, space) == UPAGE_ENOTSUP ? 77 : 0);
	}
	int status = 0;
	waitpid(child, &status, 0);
	return !(WIFEXITED(status) && WEXITSTATUS(status) == 77);
}

int main(void)
{
	if (!is_supported()) {
		fputs("skipped: the library was built without jemalloc\n", stderr);
		return 77;
	}
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
	return run_suite(suite);
}
