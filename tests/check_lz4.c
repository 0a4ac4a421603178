/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_lz4.c - does compressed swap give back each page, keep to its limit, and give up its memory?
 */
#include <pthread.h>

#include "host.h"
#include "store.h"
#include "support_fork.h"
#include "tls.h"

static struct swap *swap_make(uint64_t bytes, unsigned page_shift)
{
	const struct swap_config config = { .lz4 = true, .path = "", .bytes = bytes, .page_shift = page_shift };
	struct swap *swap = NULL;
	const char *used;
	ck_assert_ok(swap_create(&swap, &config, &used));
	return swap;
}

/* A page whose first @noise bytes say nothing about each other: it is compressed to about as many. */
static void page_fill(char *page, size_t size, size_t noise, uint64_t seed)
{
	memset(page, (int)(seed % 7), size);
	random_bytes(page, noise / 8 * 8, seed);
}

/* ---- Content --------------------------------------------------------------------------- */

START_TEST(a_page_of_any_kind_comes_back)
{
	static const unsigned shifts[] = { 12, 16, 21 };
	unsigned shift = shifts[_i];
	size_t size = (size_t)1 << shift, step = size / 64;
	char *written = malloc(size), *found = malloc(size);
	struct swap *swap = swap_make(80 * size, shift);
	for (uint32_t slot = 0; slot <= 64; slot++) {
		ck_assert_uint_eq(swap_allocate(swap, slot), slot);
		page_fill(written, size, slot * step, slot);
		ck_assert_ok(swap_transfer(swap, STORE_WRITE, slot, written));
	}
	for (uint32_t slot = 65; slot-- > 0;) {
		page_fill(written, size, slot * step, slot);
		ck_assert_ok(swap_transfer(swap, slot % 2 == 0 ? STORE_READ : STORE_READ_CACHED, slot, found));
		ck_assert_mem_eq(found, written, size);
		swap_free(swap, slot);
	}
	swap_destroy(swap);
	free(written);
	free(found);
}
END_TEST

START_TEST(a_run_of_pages_is_one_request)
{
	enum { RUN = 16 };
	static char written[RUN * PAGE], found[RUN * PAGE];
	struct swap *swap = swap_make(64 * PAGE, 12);
	uint32_t first;
	ck_assert_uint_eq(swap_allocate_run(swap, 3, RUN, &first), RUN);
	for (size_t i = 0; i < RUN; i++)
		page_fill(written + i * PAGE, PAGE, i * 256, i);
	ck_assert_ok(swap_transfer_run(swap, STORE_WRITE, first, RUN, written));
	for (uint32_t i = 0; i < RUN; i++) {
		ck_assert_ok(swap_transfer(swap, STORE_READ, first + i, found));
		ck_assert_mem_eq(found, written + i * PAGE, PAGE);
	}
	ck_assert_ok(swap_transfer_run(swap, STORE_READ, first, RUN, found));
	ck_assert_mem_eq(found, written, sizeof(written));
	for (uint32_t i = 0; i < RUN; i++)
		swap_free(swap, first + i);
	swap_destroy(swap);
}
END_TEST

#define SLOTS 256

/* Slots [first, first + count) are ours: written to, again, freed, at random, and read to compare. */
static uint64_t live(struct swap *swap, uint32_t first, uint32_t count, unsigned steps, uint64_t random)
{
	struct { uint64_t seed, noise; } content[SLOTS] = { 0 };
	char page[PAGE], found[PAGE];
	uint64_t wrong = 0;
	for (unsigned step = 1; step <= steps; step++) {
		uint32_t i = (uint32_t)(random_number(&random) % count);
		uint64_t what = random_number(&random) % 4;
		if (content[i].seed != 0) {
			page_fill(page, PAGE, content[i].noise, content[i].seed);
			wrong += swap_transfer(swap, STORE_READ, first + i, found) != 0 ||
			         memcmp(page, found, PAGE) != 0;
		}
		if (what == 0 && content[i].seed != 0) {
			swap_free(swap, first + i);
			content[i].seed = 0;
			continue;
		}
		if (content[i].seed == 0)
			wrong += swap_allocate(swap, first + i) != first + i;
		/* Now of few classes, now of all. */
		content[i].seed = step;
		content[i].noise = step / 1000 % 2 == 0 ? random_number(&random) % PAGE : step / 100 % 8 * 512;
		page_fill(page, PAGE, content[i].noise, content[i].seed);
		wrong += swap_transfer(swap, STORE_WRITE, first + i, page) != 0;
	}
	for (uint32_t i = 0; i < count; i++)
		if (content[i].seed != 0)
			swap_free(swap, first + i);
	return wrong;
}

START_TEST(blocks_of_all_classes_keep_their_content_in_a_long_life)
{
	struct swap *swap = swap_make(SLOTS * PAGE, 12);
	ck_assert_uint_eq(live(swap, 0, SLOTS, 30000, 11), 0);
	swap_destroy(swap);
}
END_TEST

#define THREADS 4
static struct swap *shared_swap;

static void *live_beside_others(void *argument)
{
	uint32_t number = (uint32_t)(uintptr_t)argument;
	return (void *)live(shared_swap, number * (SLOTS / THREADS), SLOTS / THREADS, 10000, number);
}

START_TEST(threads_do_not_get_each_others_blocks)
{
	pthread_t threads[THREADS];
	shared_swap = swap_make(SLOTS * PAGE, 12);
	for (uintptr_t t = 0; t < THREADS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, live_beside_others, (void *)t), 0);
	for (unsigned t = 0; t < THREADS; t++) {
		void *wrong;
		ck_assert_int_eq(pthread_join(threads[t], &wrong), 0);
		ck_assert_ptr_null(wrong);
	}
	swap_destroy(shared_swap);
}
END_TEST

#if defined(__x86_64__)
/* That of a guest may be in a page that is not resident: here in none at all. */
START_TEST(thread_local_storage_is_not_looked_at)
{
	static char page[PAGE], found[PAGE];
	struct swap *swap = swap_make(64 * PAGE, 12);
	for (uint32_t slot = 0; slot < 32; slot++) {
		page_fill(page, PAGE, slot * 128, slot);
		uint32_t given = swap_allocate(swap, slot);
		uintptr_t tls = tls_exchange(PAGE);
		int written = swap_transfer(swap, STORE_WRITE, slot, page);
		int read = swap_transfer(swap, STORE_READ, slot, found);
		tls_exchange(tls);
		ck_assert_uint_eq(given, slot);
		ck_assert_ok(written);
		ck_assert_ok(read);
		ck_assert_mem_eq(found, page, PAGE);
		swap_free(swap, slot);
	}
	swap_destroy(swap);
}
END_TEST
#endif

/* ---- Room ------------------------------------------------------------------------------ */

/* Writes pages of so much noise until there is no room. Return: how many were kept. */
static uint32_t fill_up(struct swap *swap, size_t noise)
{
	static char page[PAGE];
	for (uint32_t slot = 0;; slot++) {
		ck_assert_uint_eq(swap_allocate(swap, slot), slot);
		page_fill(page, PAGE, noise, slot);
		int result = swap_transfer(swap, STORE_WRITE, slot, page);
		if (result == 0)
			continue;
		ck_assert_int_eq(result, -ENOSPC);
		ck_assert_int_eq(swap_transfer(swap, STORE_READ, slot, page), -EIO);
		ck_assert(swap_is_full(swap));
		swap_free(swap, slot);
		ck_assert(!swap_is_full(swap));
		return slot;
	}
}

START_TEST(as_many_bytes_are_held_as_the_limit_says)
{
	/* Noise of a page; of a quarter, some bytes to spare for what LZ4 adds; of an eighth. */
	static const struct { size_t noise, pages; } kinds[] = {
		{ PAGE, 64 }, { PAGE / 4 - 64, 64 * 4 }, { PAGE / 8 - 64, 64 * 8 },
	};
	static char page[PAGE], found[PAGE];
	size_t noise = kinds[_i].noise;
	struct swap *swap = swap_make(64 * PAGE, 12);
	uint32_t pages = fill_up(swap, noise);
	ck_assert_uint_eq(pages, kinds[_i].pages);
	ck_assert_uint_ge(swap_bytes(swap), 64 * PAGE);
	ck_assert_uint_le(swap_bytes(swap), 80 * PAGE);
	/* What is there stays readable; in place of one there is room for one. */
	swap_free(swap, 5);
	for (uint32_t slot = 0; slot < pages; slot++) {
		if (slot == 5)
			continue;
		page_fill(page, PAGE, noise, slot);
		ck_assert_ok(swap_transfer(swap, STORE_READ, slot, found));
		ck_assert_mem_eq(found, page, PAGE);
	}
	ck_assert_uint_eq(swap_allocate(swap, 5), 5);
	ck_assert_ok(swap_transfer(swap, STORE_WRITE, 5, page));
	/* A page may be written again, when nothing is free. */
	page_fill(page, PAGE, noise, 99);
	ck_assert_ok(swap_transfer(swap, STORE_WRITE, 0, page));
	ck_assert_ok(swap_transfer(swap, STORE_READ, 0, found));
	ck_assert_mem_eq(found, page, PAGE);
	for (uint32_t slot = 0; slot < pages; slot++)
		swap_free(swap, slot);
	swap_destroy(swap);
}
END_TEST

/* Where a page of another kind does not fit any more, the slot has no content, and says so. */
START_TEST(a_page_that_does_not_fit_leaves_no_other_in_its_slot)
{
	static char page[PAGE];
	struct swap *swap = swap_make(64 * PAGE, 12);
	uint32_t pages = fill_up(swap, PAGE / 4 - 64);
	page_fill(page, PAGE, PAGE, 1);
	ck_assert_int_eq(swap_transfer(swap, STORE_WRITE, 7, page), -ENOSPC);
	ck_assert_int_eq(swap_transfer(swap, STORE_READ, 7, page), -EIO);
	for (uint32_t slot = 0; slot < pages; slot++)
		swap_free(swap, slot);
	swap_destroy(swap);
}
END_TEST

START_TEST(memory_of_blocks_that_are_free_goes_back_to_the_host)
{
	enum { MANY = 4096 };
	static char page[PAGE];
	size_t metadata = host_metadata_bytes();
	struct swap *swap = swap_make(2 * MANY * PAGE, 12);
	unsigned long before = process_size().resident;
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t slot = 0; slot < MANY; slot++) {
			ck_assert_uint_eq(swap_allocate(swap, slot), slot);
			page_fill(page, PAGE, round == 0 ? PAGE : slot % 64 * 64, slot + round);
			ck_assert_ok(swap_transfer(swap, STORE_WRITE, slot, page));
		}
		ck_assert_uint_gt(process_size().resident, before + MANY / 3);
		ck_assert_uint_gt(swap_bytes(swap), MANY / 3 * PAGE);
		for (uint32_t slot = 0; slot < MANY; slot++)
			swap_free(swap, slot);
		ck_assert_uint_le(swap_bytes(swap), 256 * PAGE); /* 16 idle chunks */
		ck_assert_uint_lt(process_size().resident, before + 512);
	}
	swap_destroy(swap);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
}
END_TEST

/* Slots are numbers of 32 bits, and so are chunks of memory. Loop: more slots than that; more chunks, too. */
START_TEST(swap_of_any_size_has_slots_that_differ)
{
	static const uint64_t sizes[] = { (uint64_t)600 << 30, (uint64_t)128 << 40 };
	enum { MANY = 2048 };
	static char page[PAGE], found[PAGE];
	struct swap *swap = swap_make(sizes[_i], 12);
	ck_assert_uint_eq(swap_slots(swap), SWAP_NONE - 1);
	uint32_t last = SWAP_NONE - 2, first;
	ck_assert_uint_eq(swap_allocate_run(swap, last, 2, &first), 1);
	ck_assert_uint_eq(first, last);
	for (uint32_t slot = 0; slot < MANY; slot++) { /* 8 MiB */
		must(swap_allocate(swap, slot) == slot);
		page_fill(page, PAGE, PAGE, slot);
		ck_assert_ok(swap_transfer(swap, STORE_WRITE, slot, page));
	}
	for (uint32_t slot = 0; slot < MANY; slot++) {
		page_fill(page, PAGE, PAGE, slot);
		ck_assert_ok(swap_transfer(swap, STORE_READ, slot, found));
		must(memcmp(found, page, PAGE) == 0);
		swap_free(swap, slot);
	}
	swap_free(swap, last);
	swap_destroy(swap);
}
END_TEST

START_TEST(swap_without_memory_for_its_tables_leaves_nothing)
{
	size_t metadata = host_metadata_bytes();
	struct rlimit saved, low;
	ck_assert_int_eq(getrlimit(RLIMIT_AS, &saved), 0);
	low = saved;
	low.rlim_cur = process_size().address_space * PAGE + (512 << 20);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &low), 0);
	struct swap *swap = NULL;
	const char *used;
	const struct swap_config config = { .lz4 = true, .path = "", .bytes = 1 << 30, .page_shift = 12 };
	int result = swap_create(&swap, &config, &used);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &saved), 0);
	ck_assert_int_eq(result, UPAGE_ENOMEM);
	ck_assert_ptr_null(swap);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
}
END_TEST

/* ---- As a pool's ----------------------------------------------------------------------- */

#define LZ4 MEMORY ",store=lz4"

START_TEST(pages_come_back_from_compressed_memory)
{
	size_t descriptors = open_descriptors();
	struct machine m = machine_make(LZ4 ",mapping=remap");
	ck_assert_uint_eq(open_descriptors(), descriptors + 1); /* frames; there is no file for swap */
	char *memory = machine_map(m, PAGES, RW);
	for (uint64_t round = 1; round < 4; round++) {
		for (size_t i = 0; i < PAGES; i++)
			page_fill(memory + i * PAGE, PAGE, i * 16, i + round);
		static char page[PAGE];
		for (size_t i = 0; i < PAGES; i++) {
			page_fill(page, PAGE, i * 16, i + round);
			must(memcmp(memory + i * PAGE, page, PAGE) == 0);
		}
	}
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_gt(stats.swap_slots, PAGES / 2);
	ck_assert_uint_gt(stats.store_bytes, 0);
	ck_assert_uint_lt(stats.store_bytes, PAGES * PAGE * 3 / 4);
	ck_assert_uint_gt(stats.major, PAGES);
	machine_end(m);
}
END_TEST

/* Swap is memory: a copy that is out of date is given up, one that is good is kept. */
START_TEST(a_page_that_is_written_to_has_no_copy)
{
	struct machine m = machine_make("memory=4M,store=lz4,prefetch=off");
	char *memory = machine_map(m, 64, RW);
	for (size_t i = 0; i < 64; i++)
		page_fill(memory + i * PAGE, PAGE, 1024, i + 1);
	ck_assert_ok(upage_advise(m.space, memory, 64 * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(machine_stats(m).swap_slots, 64);
	for (size_t i = 0; i < 32; i++)
		memory[i * PAGE] = 1;
	ck_assert_uint_eq(machine_stats(m).swap_slots, 32);
	uint64_t written = machine_stats(m).writebacks;
	for (size_t i = 32; i < 64; i++)
		(void)*(volatile char *)(memory + i * PAGE);
	ck_assert_uint_eq(machine_stats(m).swap_slots, 32);
	ck_assert_ok(upage_advise(m.space, memory, 64 * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(machine_stats(m).writebacks, written + 32);
	machine_end(m);
}
END_TEST

/* A reading shows a page for writing where it is expected to be written to, or, at home, always. Loop: each. */
START_TEST(copies_are_kept_while_few_pages_turn_out_to_be_changed)
{
	static const char *const ways[] = { LZ4 ",mapping=remap", LZ4 ",mapping=auto" };
	enum { FRAMES = 32, ROUNDS = 40 };
	if (!machine_can_be(ways[_i]))
		return;
	struct machine m = machine_make(ways[_i]);
	volatile uint32_t *words = (volatile uint32_t *)machine_map(m, PAGES, RW);
	size_t step = PAGE / sizeof(*words);
	for (size_t page = 0; page < PAGES; page++)
		page_fill((char *)(words + page * step), PAGE, 1000, page);
	for (size_t page = 0; page < PAGES; page++)
		words[page * step] = 0;
	/* Each is read, and written to without another fault. */
	for (uint32_t round = 0; round < ROUNDS; round++)
		for (size_t page = 0; page < PAGES; page++) {
			must(words[page * step] == round);
			words[page * step] = round + 1;
		}
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_le(stats.swap_slots, PAGES - FRAMES + FRAMES / 2);
	/* When they are only read, it is noticed that none is. */
	for (uint32_t round = 0; round < ROUNDS; round++) {
		stats = machine_stats(m);
		for (size_t page = 0; page < PAGES; page++)
			must(words[page * step] == ROUNDS);
	}
	ck_assert_uint_lt(machine_stats(m).writebacks - stats.writebacks, PAGES / 8);
	ck_assert_uint_gt(machine_stats(m).swap_slots, PAGES - FRAMES / 2);
	ck_assert_ok(upage_pool_verify(m.pool));
	machine_end(m);
}
END_TEST

START_TEST(pages_of_zeros_take_no_slot)
{
	struct machine m = machine_make(LZ4);
	volatile char *memory = machine_map(m, PAGES, RW);
	for (size_t i = 0; i < PAGES; i++)
		memory[i * PAGE] = 0;
	ck_assert_uint_eq(machine_stats(m).swap_slots, 0);
	ck_assert_uint_eq(machine_stats(m).store_bytes, 0);
	machine_end(m);
}
END_TEST

static _Atomic bool stop;

static void *write_all_the_time(void *memory)
{
	for (uint64_t round = 1; !atomic_load(&stop); round++) {
		fill(memory, PAGES / 2, round);
		if (!holds(memory, PAGES / 2, round))
			return memory;
	}
	return NULL;
}

/* Other threads compress and free meanwhile: a child must not get a lock that is held, or half of a block. */
START_TEST(a_fork_beside_threads_that_write_keeps_blocks_whole)
{
	struct machine m = machine_make(LZ4);
	char *memory = machine_map(m, PAGES, RW), *theirs[2] = { NULL, NULL };
	pthread_t threads[2];
	void *wrong;
	fill(memory, PAGES, 7);
	for (int t = 0; t < 2; t++) {
		theirs[t] = machine_map(m, PAGES / 2, RW);
		ck_assert_int_eq(pthread_create(&threads[t], NULL, write_all_the_time, theirs[t]), 0);
	}
	for (int round = 0; round < 10; round++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			child_must(holds(memory, PAGES, 7));
			fill(theirs[0], PAGES / 2, 9);
			child_must(holds(theirs[0], PAGES / 2, 9));
			_exit(0);
		}
		must_end_well(child);
	}
	atomic_store(&stop, true);
	for (int t = 0; t < 2; t++) {
		ck_assert_int_eq(pthread_join(threads[t], &wrong), 0);
		ck_assert_ptr_null(wrong);
	}
	ck_assert(holds(memory, PAGES, 7));
	machine_end(m);
}
END_TEST

/* What cannot be kept stays resident: the page that has no place then is refused, no other is lost. */
START_TEST(a_reference_that_finds_no_room_is_a_bus_error)
{
	struct machine m = machine_make("memory=64K,store=lz4,swap-size=64K,overcommit");
	char *memory = machine_map(m, PAGES, RW);
	size_t kept = 0;
	static char page[PAGE];
	for (; kept < PAGES; kept++) {
		if (is_bus_error(memory + kept * PAGE, true))
			break;
		page_fill(memory + kept * PAGE, PAGE, PAGE, kept);
	}
	ck_assert_uint_ge(kept, 16);
	ck_assert_uint_le(kept, 32);
	/* With room for a few, all others can be had again. */
	ck_assert_ok(upage_advise(m.space, memory, 4 * PAGE, UPAGE_DONTNEED));
	for (size_t i = 4; i < kept; i++) {
		page_fill(page, PAGE, PAGE, i);
		must(memcmp(memory + i * PAGE, page, PAGE) == 0);
	}
	ck_assert(!is_bus_error(memory + kept * PAGE, true));
	machine_end(m);
}
END_TEST

/* There are slots, of which nothing could be put into another. */
START_TEST(nothing_is_promised_while_memory_and_swap_are_full)
{
	struct machine m = machine_make("memory=64K,store=lz4,swap-size=1M");
	char *memory = machine_map(m, 2 * PAGES, RW);
	static char page[PAGE];
	void *more = NULL;
	size_t kept = 0;
	for (; kept < 2 * PAGES; kept++) {
		if (is_bus_error(memory + kept * PAGE, true))
			break;
		page_fill(memory + kept * PAGE, PAGE, PAGE, kept);
	}
	ck_assert_uint_le(kept, 16 + PAGES);
	ck_assert_int_eq(upage_map(m.space, &more, 16 * PAGE, RW, 0, NULL, 0), UPAGE_ENOMEM);
	ck_assert_int_eq(upage_map(m.space, &more, PAGE, RW, 0, NULL, 0), UPAGE_ENOMEM);
	ck_assert_ptr_null(more);
	ck_assert(is_bus_error(memory + kept * PAGE, true));
	ck_assert_ok(upage_pool_verify(m.pool));
	/* Of those that are in swap. */
	ck_assert_ok(upage_advise(m.space, memory, 32 * PAGE, UPAGE_DONTNEED));
	more = machine_map(m, 16, RW);
	for (size_t i = 0; i < 16; i++)
		page_fill((char *)more + i * PAGE, PAGE, PAGE, kept + i);
	for (size_t i = 32; i < kept + 16; i++) {
		page_fill(page, PAGE, PAGE, i);
		must(memcmp(i < kept ? memory + i * PAGE : (char *)more + (i - kept) * PAGE, page, PAGE) == 0);
	}
	machine_end(m);
}
END_TEST

static Suite *lz4_suite(void)
{
	Suite *suite = suite_create("lz4");
	TCase *content = tcase_create("content");
	tcase_set_timeout(content, 120);
	tcase_add_loop_test(content, a_page_of_any_kind_comes_back, 0, 3);
	tcase_add_test(content, a_run_of_pages_is_one_request);
	tcase_add_test(content, blocks_of_all_classes_keep_their_content_in_a_long_life);
	tcase_add_test(content, threads_do_not_get_each_others_blocks);
#if defined(__x86_64__)
	tcase_add_test(content, thread_local_storage_is_not_looked_at);
#endif
	suite_add_tcase(suite, content);

	TCase *room = tcase_create("room");
	tcase_set_timeout(room, 60);
	tcase_add_loop_test(room, as_many_bytes_are_held_as_the_limit_says, 0, 3);
	tcase_add_test(room, a_page_that_does_not_fit_leaves_no_other_in_its_slot);
	tcase_add_test(room, memory_of_blocks_that_are_free_goes_back_to_the_host);
	tcase_add_loop_test(room, swap_of_any_size_has_slots_that_differ, 0, 2);
	tcase_add_test(room, swap_without_memory_for_its_tables_leaves_nothing);
	suite_add_tcase(suite, room);

	TCase *pools = tcase_create("pools");
	tcase_set_timeout(pools, 120);
	tcase_add_test(pools, pages_come_back_from_compressed_memory);
	tcase_add_test(pools, a_page_that_is_written_to_has_no_copy);
	tcase_add_loop_test(pools, copies_are_kept_while_few_pages_turn_out_to_be_changed, 0, 2);
	tcase_add_test(pools, pages_of_zeros_take_no_slot);
	tcase_add_test(pools, a_fork_beside_threads_that_write_keeps_blocks_whole);
	tcase_add_test(pools, a_reference_that_finds_no_room_is_a_bus_error);
	tcase_add_test(pools, nothing_is_promised_while_memory_and_swap_are_full);
	suite_add_tcase(suite, pools);
	return suite;
}

int main(void)
{
	return run_suite(lz4_suite());
}
