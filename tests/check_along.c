/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_along.c - pages that came along with others: which were used, and do those that were not leave first?
 */
#include <unistd.h>

#include "support_clone.h"

#define FRAMES 256
/* Frames are taken by the test alone, and given up by the clock alone. */
#define EXACT "memory=1M,prefetch=auto,policy=clock,reclaimers=0"

static const char *const pools[] = { EXACT ",mapping=remap", EXACT ",mapping=guard" };

/* Pages that come one by one, since their mapping is used at random. */
static volatile char *map_alone(struct machine m, size_t pages)
{
	char *memory = machine_map(m, pages, RW);
	ck_assert_ok(upage_advise(m.space, memory, pages * PAGE, UPAGE_RANDOM));
	return memory;
}

/* ---- Files: blocks, whoever is asked for ---------------------------------------------------- */

#define FILE_PAGES 128
#define ASKED 8 /* of so many pages one: no block is longer */

static upage_store *make_file(void)
{
	char name[] = "/tmp/check-along-XXXXXX", page[PAGE];
	int descriptor = mkstemp(name);
	upage_store *store;
	ck_assert_int_ge(descriptor, 0);
	for (size_t i = 0; i < FILE_PAGES; i++) {
		memset(page, (int)i + 1, sizeof(page));
		ck_assert_int_eq(write(descriptor, page, sizeof(page)), sizeof(page));
	}
	ck_assert_ok(upage_store_open(&store, name, 0));
	unlink(name);
	close(descriptor);
	return store;
}

static void read_asked(const volatile char *file)
{
	for (size_t i = 0; i < FILE_PAGES; i += ASKED)
		must(file[i * PAGE] == (char)(i + 1));
}

/* Memory is full: of a file of which every eighth page was asked for, and of pages that were all asked for. Half as
 * many more as came along are needed. */
START_TEST(what_nobody_asked_for_leaves_before_what_somebody_did)
{
	if (!machine_can_be(pools[_i]))
		return;
	struct machine m = machine_make(pools[_i]);
	upage_store *store = make_file();
	void *file = NULL;
	ck_assert_ok(upage_map(m.space, &file, FILE_PAGES * PAGE, PROT_READ, 0, store, 0));
	volatile char *memory = map_alone(m, FRAMES);
	read_asked(file);
	uint64_t resident = machine_resident(m), along = resident - FILE_PAGES / ASKED;
	ck_assert_uint_gt(along, FILE_PAGES / 4);
	size_t pages = 0;
	while (pages < FRAMES - resident + along / 2)
		memory[pages++ * PAGE] = 1;
	struct upage_stats before = machine_stats(m);
	ck_assert_uint_ge(before.evictions, along / 2);
	read_asked(file);
	for (size_t i = 0; i < pages; i++)
		must(memory[i * PAGE] == 1);
	struct upage_stats after = machine_stats(m);
	ck_assert_uint_eq(after.major, before.major);
	ck_assert_uint_eq(after.prefetch_used, 0);
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_ok(upage_unmap(m.space, file, FILE_PAGES * PAGE));
	ck_assert_ok(upage_store_close(store));
	machine_end(m);
}
END_TEST

/* A write to a page that may only be read is a fault, so that it is known at once. */
START_TEST(a_page_of_a_file_that_is_written_to_counts)
{
	struct machine m = machine_make(EXACT ",mapping=remap");
	upage_store *store = make_file();
	void *address = NULL;
	ck_assert_ok(upage_map(m.space, &address, FILE_PAGES * PAGE, RW, 0, store, 0));
	volatile char *file = address;
	must(file[0] == 1);
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_ge(stats.prefetched, 3);
	ck_assert_uint_eq(stats.prefetch_used, 0);
	file[0] = file[1 * PAGE] = file[2 * PAGE] = 'x';
	ck_assert_uint_eq(machine_stats(m).prefetch_used, 2);
	file[0] = file[1 * PAGE] = file[2 * PAGE] = 'y';
	ck_assert_ok(upage_advise(m.space, address, FILE_PAGES * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(machine_stats(m).prefetch_used, 2);
	ck_assert_ok(upage_unmap(m.space, address, FILE_PAGES * PAGE));
	ck_assert_ok(upage_store_close(store));
	machine_end(m);
}
END_TEST

/* ---- New memory: as many as were used before them --------------------------------------------- */

/* No more in all than pages in use that one search spares: evict.c. */
#define GROUPS 2
#define APART 32
#define USED 4

/* In each group the first pages; those that came along behind them are left alone. Return: how many of these
 * pages had come along. */
static uint64_t write_groups(struct machine m, volatile char *memory, char byte)
{
	uint64_t asked = machine_stats(m).zero_fill;
	for (size_t group = 0; group < GROUPS; group++)
		for (size_t i = 0; i < USED; i++)
			memory[(group * APART + i) * PAGE] = byte;
	return GROUPS * USED - (machine_stats(m).zero_fill - asked);
}

/* What has content was used; of what has none nobody knows. */
START_TEST(a_page_that_has_been_written_to_counts_when_it_leaves)
{
	if (!machine_can_be(pools[_i % 2]))
		return;
	struct machine m = machine_make(pools[_i % 2]);
	char byte = _i / 2 ? 1 : 0;
	volatile char *memory = machine_map(m, GROUPS * APART, RW);
	uint64_t used = write_groups(m, memory, byte);
	ck_assert_uint_ge(used, GROUPS);
	ck_assert_uint_gt(machine_stats(m).prefetched, used);
	ck_assert_uint_eq(machine_stats(m).prefetch_used, 0);
	ck_assert_ok(upage_advise(m.space, (void *)memory, GROUPS * APART * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(machine_stats(m).prefetch_used, byte ? used : 0);
	machine_end(m);
}
END_TEST

START_TEST(what_is_thrown_away_does_not_count)
{
	struct machine m = machine_make(pools[0]);
	volatile char *memory = machine_map(m, GROUPS * APART, RW);
	write_groups(m, memory, 1);
	ck_assert_ok(upage_unmap(m.space, (void *)memory, GROUPS * APART * PAGE));
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_gt(stats.prefetched, 0);
	ck_assert_uint_eq(stats.prefetch_used, 0);
	machine_end(m);
}
END_TEST

/* Zeros are written, so that only looks tell. Each group lies in the clock's circle behind pages that leave first. */
START_TEST(a_page_that_is_in_use_counts_when_it_is_looked_at)
{
	if (!machine_can_be(pools[_i]))
		return;
	struct machine m = machine_make(pools[_i]);
	volatile char *others = map_alone(m, 4 * FRAMES);
	volatile char *memory = machine_map(m, GROUPS * APART, RW);
	for (size_t i = 0; i < FRAMES / 4; i++)
		others[i * PAGE] = 1;
	uint64_t used = write_groups(m, memory, 0);
	struct upage_stats before = machine_stats(m);
	ck_assert_uint_ge(used, GROUPS);
	ck_assert_uint_gt(before.prefetched, used);
	for (size_t i = FRAMES / 4; i < 16 * FRAMES; i++) {
		others[i % (4 * FRAMES) * PAGE] = 1;
		write_groups(m, memory, 0);
	}
	struct upage_stats after = machine_stats(m);
	ck_assert_uint_eq(after.prefetched, before.prefetched);
	ck_assert_uint_eq(after.zero_fill - before.zero_fill, 4 * FRAMES - FRAMES / 4); /* they never left */
	ck_assert_uint_eq(after.prefetch_used, used);
	machine_end(m);
}
END_TEST

/* ---- Swap: a stream's window ------------------------------------------------------------------- */

/* A look tells of what was read ahead, too. What shares its slot, or gave it up when it was shared, is dirty: it is not
 * taken for new memory that was written to. Loop: no clone, one before, one afterwards. */
START_TEST(of_what_was_read_ahead_only_looks_tell)
{
	struct machine m = machine_make("memory=4M,prefetch=auto,policy=clock,reclaimers=0,mapping=remap,store=file");
	volatile char *others = map_alone(m, 4096);
	for (size_t i = 0; i < 256; i++) /* which leave first */
		others[i * PAGE] = 1;
	volatile char *memory = machine_map(m, 64, RW);
	for (size_t i = 0; i < 64; i++)
		memory[i * PAGE] = 1;
	ck_assert_ok(upage_advise(m.space, (void *)memory, 64 * PAGE, UPAGE_PAGEOUT));
	uint64_t along = machine_stats(m).prefetched, used = machine_stats(m).prefetch_used;
	upage_space *clone = _i == 1 ? clone_of(m.space) : NULL;
	for (size_t i = 0; i < 32; i++)
		must(memory[i * PAGE] == 1);
	clone = _i == 2 ? clone_of(m.space) : clone;
	ck_assert_uint_gt(machine_stats(m).prefetched, along + 16);
	along = machine_stats(m).prefetched - along;
	for (size_t i = 256; i < 4096 && _i == 0; i++) {
		others[i * PAGE] = 1;
		for (size_t k = 16; k < 20; k++)
			memory[k * PAGE] = 2;
	}
	ck_assert_ok(upage_advise(m.space, (void *)memory, 64 * PAGE, UPAGE_PAGEOUT));
	uint64_t seen = machine_stats(m).prefetch_used - used;
	ck_assert_uint_ge(seen, _i == 0 ? 3 : 0); /* one of four may have been asked for */
	ck_assert_uint_le(seen, _i == 0 ? 4 : 0);
	if (clone != NULL)
		ck_assert_ok(upage_space_destroy(clone));
	machine_end(m);
}
END_TEST

/* When swap is full, pages that are resident give up their slots: nor are they taken for new memory then. */
START_TEST(what_gave_up_its_slot_is_not_taken_for_used)
{
	enum { COUNT = 64, SLOTS = 80, OTHERS = FRAMES + SLOTS - COUNT - 4, FIRST = 160 };
	char words[100];
	snprintf(words, sizeof(words), "%s,swap-size=%zu", pools[0], SLOTS * PAGE);
	struct machine m = machine_make(words);
	volatile char *others = map_alone(m, OTHERS), *memory = machine_map(m, COUNT, RW);
	for (size_t i = 0; i < FIRST; i++) /* and to leave */
		others[i * PAGE] = 1;
	for (size_t i = 0; i < COUNT; i++)
		memory[i * PAGE] = 1;
	ck_assert_ok(upage_advise(m.space, (void *)memory, COUNT * PAGE, UPAGE_PAGEOUT));
	uint64_t used = machine_stats(m).prefetch_used, along = machine_stats(m).prefetched;
	for (size_t i = 0; i < COUNT; i++)
		must(memory[i * PAGE] == 1);
	ck_assert_uint_gt(machine_stats(m).prefetched, along + COUNT / 2);
	for (size_t i = FIRST; i < OTHERS; i++)
		others[i * PAGE] = 1;
	ck_assert_ok(upage_unmap(m.space, (void *)others, OTHERS * PAGE));
	ck_assert_ok(upage_advise(m.space, (void *)memory, COUNT * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(machine_stats(m).prefetch_used, used);
	machine_end(m);
}
END_TEST

/* ---- Hidden meanwhile --------------------------------------------------------------------------- */

/* Every second page came along. Hidden and shown again, by twos, it is still not known whether they were used. */
START_TEST(what_came_along_is_shown_again_with_its_neighbours)
{
	enum { COUNT = 128 };
	struct machine m = machine_make("memory=4M,prefetch=2,policy=clock,reclaimers=0,mapping=remap");
	volatile char *memory = machine_map(m, COUNT, RW);
	for (size_t i = 0; i < COUNT; i++)
		memory[i * PAGE] = 1;
	ck_assert_uint_eq(machine_stats(m).prefetched, COUNT / 2);
	ck_assert_ok(upage_protect(m.space, (void *)memory, COUNT * PAGE, PROT_NONE));
	ck_assert_ok(upage_protect(m.space, (void *)memory, COUNT * PAGE, RW));
	for (size_t i = 0; i < COUNT; i++)
		must(memory[i * PAGE] == 1);
	ck_assert_uint_eq(machine_stats(m).soft, COUNT / 2);
	ck_assert_uint_eq(machine_stats(m).prefetch_used, 0);
	ck_assert_ok(upage_advise(m.space, (void *)memory, COUNT * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(machine_stats(m).prefetch_used, COUNT / 2);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("along");
	TCase *tcase = tcase_create("along");
	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, what_nobody_asked_for_leaves_before_what_somebody_did, 0, 2);
	tcase_add_test(tcase, a_page_of_a_file_that_is_written_to_counts);
	tcase_add_loop_test(tcase, a_page_that_has_been_written_to_counts_when_it_leaves, 0, 4);
	tcase_add_test(tcase, what_is_thrown_away_does_not_count);
	tcase_add_loop_test(tcase, a_page_that_is_in_use_counts_when_it_is_looked_at, 0, 2);
	tcase_add_loop_test(tcase, of_what_was_read_ahead_only_looks_tell, 0, 3);
	tcase_add_test(tcase, what_gave_up_its_slot_is_not_taken_for_used);
	tcase_add_test(tcase, what_came_along_is_shown_again_with_its_neighbours);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
