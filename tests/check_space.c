/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_space.c - mappings: what a program sees in them, whatever happens to their frames
 */
#include <fcntl.h>
#include <unistd.h>

#include "support.h"

#define PAGES 64 /* in memory of 16 or 32 frames */

/* ---- Anonymous memory --------------------------------------------------------------------- */

static const char *const page_sizes[] = { "memory=64K", "memory=512K,page-size=32K",
	                                  "memory=32M,page-size=2M" };

START_TEST(content_survives_eviction_at_every_page_size)
{
	struct machine m = machine_make(page_sizes[_i]);
	size_t page = upage_pool_page_size(m.pool);
	char *memory = machine_map(m, PAGES, RW);
	ck_assert_uint_eq((uintptr_t)memory % page, 0);
	for (size_t i = 0; i < PAGES; i++)
		memset(memory + i * page, (int)i + 1, page);
	for (size_t i = 0; i < PAGES * page; i += 64)
		ck_assert_int_eq(memory[i], (char)(i / page + 1));
	ck_assert_uint_gt(machine_stats(m).evictions, PAGES);
	machine_end(m);
}
END_TEST

START_TEST(memory_is_zero_at_first_whoever_had_the_frame)
{
	struct machine m = machine_make("memory=64K");
	for (int round = 0; round < 4; round++) {
		char *memory = machine_map(m, PAGES, RW);
		for (size_t i = 0; i < PAGES * PAGE; i += 8)
			ck_assert_uint_eq(*(uint64_t *)(void *)(memory + i), 0);
		memset(memory, 0xff, PAGES * PAGE);
		if (round % 2 == 0)
			ck_assert_ok(upage_unmap(m.space, memory, PAGES * PAGE));
		else
			ck_assert_ok(upage_advise(m.space, memory, PAGES * PAGE, UPAGE_DONTNEED));
	}
	machine_end(m);
}
END_TEST

START_TEST(another_space_of_the_pool_sees_nothing_of_it)
{
	struct machine m = machine_make("memory=64K");
	upage_space *other;
	void *theirs = NULL;
	ck_assert_ok(upage_space_create(&other, m.pool, NULL));
	char *mine = machine_map(m, PAGES, RW);
	ck_assert_ok(upage_map(other, &theirs, PAGES * PAGE, RW, 0, NULL, 0));
	memset(mine, 0x55, PAGES * PAGE);
	for (size_t i = 0; i < PAGES * PAGE; i += 8)
		ck_assert_uint_eq(*(uint64_t *)(void *)((char *)theirs + i), 0);
	memset(theirs, 0xaa, PAGES * PAGE);
	for (size_t i = 0; i < PAGES * PAGE; i++)
		ck_assert_int_eq(mine[i], 0x55);
	ck_assert_ok(upage_space_destroy(other));
	for (size_t i = 0; i < PAGES * PAGE; i++)
		ck_assert_int_eq(mine[i], 0x55);
	machine_end(m);
}
END_TEST

START_TEST(protection_holds_for_resident_and_evicted_pages)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, PAGES, RW);
	memset(memory, 3, PAGES * PAGE);
	ck_assert_ok(upage_protect(m.space, memory + 8 * PAGE, 48 * PAGE, PROT_READ));
	for (size_t i = 0; i < PAGES; i++) {
		ck_assert_int_eq(memory[i * PAGE], 3);
		int expected = i >= 8 && i < 56 ? UPAGE_EACCES : 0;
		int result = upage_pin(m.space, memory + i * PAGE, 1, RW);
		ck_assert_int_eq(result, expected);
		if (result == 0)
			ck_assert_ok(upage_unpin(m.space, memory + i * PAGE, 1));
	}
	ck_assert_ok(upage_protect(m.space, memory, PAGES * PAGE, RW));
	memset(memory, 4, PAGES * PAGE);
	machine_end(m);
}
END_TEST

/* Random operations against a model of one byte a page. */
START_TEST(mappings_are_what_a_model_says)
{
	enum { SPAN = 200 };
	struct machine m = machine_make("memory=64K");
	char *base = upage_space_base(m.space);
	uint64_t random = 7;
	struct {
		bool mapped;
		int prot;
		char byte;
	} model[SPAN] = { { 0 } };
	for (int step = 0; step < 20000; step++) {
		size_t first = random_number(&random) % SPAN;
		size_t count = 1 + random_number(&random) % 20;
		count = count < SPAN - first ? count : SPAN - first;
		void *address = base + first * PAGE;
		bool all = true, none = true, readable = true;
		for (size_t i = first; i < first + count; i++) {
			all = all && model[i].mapped;
			none = none && !model[i].mapped;
		}
		switch (random_number(&random) % 4) {
		case 0:
			ck_assert_int_eq(upage_map(m.space, &address, count * PAGE, RW,
			                           UPAGE_MAP_FIXED, NULL, 0),
			                 none ? 0 : UPAGE_EEXIST);
			for (size_t i = first; none && i < first + count; i++) {
				model[i].mapped = true;
				model[i].prot = RW;
				model[i].byte = 0;
			}
			break;
		case 1:
			ck_assert_int_eq(upage_unmap(m.space, address, count * PAGE),
			                 all ? 0 : UPAGE_ENOTMAPPED);
			for (size_t i = first; all && i < first + count; i++)
				model[i].mapped = false;
			break;
		case 2: {
			static const int prots[] = { PROT_NONE, PROT_READ, RW };
			int prot = prots[random_number(&random) % 3];
			ck_assert_int_eq(upage_protect(m.space, address, count * PAGE, prot),
			                 all ? 0 : UPAGE_ENOTMAPPED);
			for (size_t i = first; all && i < first + count; i++)
				model[i].prot = prot;
			break;
		}
		case 3:
			for (size_t i = first; i < first + count; i++) {
				readable = model[i].mapped && model[i].prot != PROT_NONE;
				if (!readable)
					continue;
				ck_assert_int_eq(base[i * PAGE + 9], model[i].byte);
				if (model[i].prot == RW)
					base[i * PAGE + 9] = ++model[i].byte;
			}
			break;
		}
	}
	ck_assert_ok(upage_pool_verify(m.pool));
	machine_end(m);
}
END_TEST

START_TEST(gaps_are_used_and_hints_are_followed)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, 30, RW);
	ck_assert_ok(upage_unmap(m.space, memory + 10 * PAGE, 10 * PAGE));
	ck_assert_ptr_eq(machine_map(m, 10, RW), memory + 10 * PAGE);
	void *hint = memory + 100 * PAGE;
	ck_assert_ok(upage_map(m.space, &hint, PAGE, RW, 0, NULL, 0));
	ck_assert_ptr_eq(hint, memory + 100 * PAGE);
	void *taken = memory;
	ck_assert_ok(upage_map(m.space, &taken, PAGE, RW, 0, NULL, 0));
	ck_assert_ptr_ne(taken, memory);
	machine_end(m);
}
END_TEST

START_TEST(a_space_may_lie_where_it_is_told_with_any_levels)
{
	struct machine m = machine_make("memory=64K");
	upage_space *space;
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.address = (void *)0x123400000000;
	config.length = (size_t)1 << 30;
	config.levels = (unsigned)_i;
	ck_assert_ok(upage_space_create(&space, m.pool, &config));
	ck_assert_ptr_eq(upage_space_base(space), config.address);
	ck_assert_uint_eq(upage_space_length(space), config.length);
	void *end = (char *)config.address + config.length - 64 * PAGE;
	ck_assert_ok(upage_map(space, &end, 64 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
	memset(end, 1, 64 * PAGE);
	for (size_t i = 0; i < 64 * PAGE; i++)
		ck_assert_int_eq(((char *)end)[i], 1);
	upage_space *other;
	ck_assert_int_eq(upage_space_create(&other, m.pool, &config), UPAGE_EEXIST);
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_ok(upage_space_destroy(space));
	machine_end(m);
}
END_TEST

/* ---- Files ---------------------------------------------------------------------------------- */

struct file {
	int descriptor;
	upage_store *store;
	size_t size;
};

static char file_byte(size_t offset)
{
	return (char)(offset * 131 + offset / PAGE);
}

static struct file file_make(size_t size, unsigned flags)
{
	char name[] = "/tmp/upage-space-XXXXXX";
	struct file file = { .descriptor = mkstemp(name), .size = size };
	char *content = malloc(size);
	for (size_t i = 0; i < size; i++)
		content[i] = file_byte(i);
	ck_assert_int_eq(write(file.descriptor, content, size), (ssize_t)size);
	free(content);
	ck_assert_ok(upage_store_open(&file.store, name, flags));
	unlink(name);
	return file;
}

static char file_read(struct file file, size_t offset)
{
	char byte;
	ck_assert_int_eq(pread(file.descriptor, &byte, 1, (off_t)offset), 1);
	return byte;
}

static void file_end(struct file file)
{
	ck_assert_ok(upage_store_close(file.store));
	ck_assert_int_eq(lseek(file.descriptor, 0, SEEK_END), (off_t)file.size);
	close(file.descriptor);
}

START_TEST(a_private_file_is_read_and_never_written)
{
	struct machine m = machine_make("memory=64K");
	struct file file = file_make(40 * PAGE + 100, 0);
	void *address = NULL;
	ck_assert_ok(upage_map(m.space, &address, 38 * PAGE, RW, 0, file.store, 3 * (off_t)PAGE));
	char *memory = address;
	for (size_t i = 0; i < 37 * PAGE; i += 11)
		ck_assert_int_eq(memory[i], file_byte(i + 3 * PAGE));
	ck_assert_uint_eq(machine_stats(m).writebacks, 0); /* clean pages go without a word */
	for (size_t i = 0; i < 37; i += 2)
		memory[i * PAGE] = 99;
	for (size_t i = 0; i < 37; i++)
		ck_assert_int_eq(memory[i * PAGE], i % 2 == 0 ? 99 : file_byte((i + 3) * PAGE));
	ck_assert_int_eq(memory[37 * PAGE + 99], file_byte(40 * PAGE + 99));
	ck_assert_int_eq(memory[37 * PAGE + 100], 0); /* behind the end, in its last page */
	ck_assert_ok(upage_advise(m.space, memory, 38 * PAGE, UPAGE_DONTNEED));
	ck_assert_int_eq(memory[0], file_byte(3 * PAGE));
	ck_assert_ok(upage_unmap(m.space, memory, 38 * PAGE));
	for (size_t i = 0; i < 40; i++)
		ck_assert_int_eq(file_read(file, i * PAGE), file_byte(i * PAGE));
	file_end(file);
	machine_end(m);
}
END_TEST

START_TEST(a_private_page_that_was_zeroed_stays_zero)
{
	struct machine m = machine_make("memory=64K");
	struct file file = file_make(4 * PAGE, 0);
	void *address = NULL;
	ck_assert_ok(upage_map(m.space, &address, 4 * PAGE, RW, 0, file.store, 0));
	memset(address, 0, 4 * PAGE); /* all zero: but the file is not */
	char *other = machine_map(m, PAGES, RW);
	memset(other, 1, PAGES * PAGE); /* evicts */
	for (size_t i = 0; i < 4 * PAGE; i++)
		ck_assert_int_eq(((char *)address)[i], 0);
	ck_assert_ok(upage_unmap(m.space, address, 4 * PAGE));
	file_end(file);
	machine_end(m);
}
END_TEST

START_TEST(a_shared_file_gets_what_was_written_and_grows_not)
{
	struct machine m = machine_make("memory=64K");
	struct file file = file_make(40 * PAGE + 100, UPAGE_STORE_WRITABLE);
	void *address = NULL;
	ck_assert_ok(upage_map(m.space, &address, 41 * PAGE, RW, UPAGE_MAP_SHARED, file.store, 0));
	char *memory = address;
	memory[5] = 42;
	ck_assert_int_eq(file_read(file, 5), file_byte(5));
	ck_assert_ok(upage_sync(m.space, memory, 41 * PAGE));
	ck_assert_int_eq(file_read(file, 5), 42);
	memory[5] = 43; /* again dirty after the sync */
	memset(memory + PAGE, 7, 39 * PAGE + 300);
	ck_assert_int_eq(memory[5], 43); /* it was evicted: through the file */
	ck_assert_uint_eq(machine_stats(m).swap_slots, 0);
	ck_assert_ok(upage_unmap(m.space, memory, 41 * PAGE));
	ck_assert_int_eq(file_read(file, 5), 43);
	for (size_t i = PAGE; i < 40 * PAGE + 100; i += 50)
		ck_assert_int_eq(file_read(file, i), 7);
	file_end(file);
	machine_end(m);
}
END_TEST

START_TEST(dropped_shared_pages_are_written_first)
{
	struct machine m = machine_make("memory=64K");
	struct file file = file_make(4 * PAGE, UPAGE_STORE_WRITABLE);
	void *address = NULL;
	unsigned char resident[4];
	ck_assert_ok(upage_map(m.space, &address, 4 * PAGE, RW, UPAGE_MAP_SHARED, file.store, 0));
	memset(address, 9, 4 * PAGE);
	ck_assert_ok(upage_advise(m.space, address, 4 * PAGE, UPAGE_DONTNEED));
	ck_assert_ok(upage_residency(m.space, address, 4 * PAGE, resident));
	ck_assert_mem_eq(resident, "\0\0\0\0", 4);
	ck_assert_int_eq(((char *)address)[PAGE], 9);
	ck_assert_ok(upage_unmap(m.space, address, 4 * PAGE));
	file_end(file);
	machine_end(m);
}
END_TEST

START_TEST(a_part_of_a_file_mapping_still_knows_its_place)
{
	struct machine m = machine_make("memory=64K");
	struct file file = file_make(40 * PAGE, 0);
	void *address = NULL;
	ck_assert_ok(upage_map(m.space, &address, 40 * PAGE, PROT_READ, 0, file.store, 0));
	char *memory = address;
	ck_assert_ok(upage_unmap(m.space, memory + 10 * PAGE, 20 * PAGE));
	ck_assert_ok(upage_protect(m.space, memory + 35 * PAGE, PAGE, RW));
	for (size_t i = 0; i < 40; i++)
		if (i < 10 || i >= 30)
			ck_assert_int_eq(memory[i * PAGE + 1], file_byte(i * PAGE + 1));
	ck_assert_int_eq(upage_store_close(file.store), UPAGE_EBUSY);
	ck_assert_ok(upage_unmap(m.space, memory, 10 * PAGE));
	ck_assert_ok(upage_unmap(m.space, memory + 30 * PAGE, 10 * PAGE));
	file_end(file);
	machine_end(m);
}
END_TEST

/* ---- Advice ---------------------------------------------------------------------------------- */

START_TEST(sequential_mappings_are_read_ahead)
{
	struct machine m = machine_make("memory=1M,prefetch=off");
	struct file file = file_make(200 * PAGE, 0);
	void *address = NULL;
	ck_assert_ok(upage_map(m.space, &address, 200 * PAGE, PROT_READ, 0, file.store, 0));
	ck_assert_ok(upage_advise(m.space, address, 200 * PAGE, UPAGE_SEQUENTIAL));
	for (size_t i = 0; i < 200; i++)
		ck_assert_int_eq(((char *)address)[i * PAGE], file_byte(i * PAGE));
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_gt(stats.prefetched, 150);
	ck_assert_uint_eq(stats.prefetch_used, stats.prefetched);
	ck_assert_uint_lt(stats.major, 50);
	ck_assert_ok(upage_unmap(m.space, address, 200 * PAGE));
	file_end(file);
	machine_end(m);
}
END_TEST

START_TEST(needed_pages_come_in_as_far_as_frames_are_free)
{
	struct machine m = machine_make("memory=256K");
	char *memory = machine_map(m, 100, RW);
	unsigned char resident[100];
	memset(memory, 1, 100 * PAGE);
	ck_assert_ok(upage_unmap(m.space, memory + 50 * PAGE, 50 * PAGE));
	ck_assert_ok(upage_residency(m.space, memory, 100 * PAGE, resident));
	ck_assert_uint_eq(resident[0], 0);
	ck_assert_ok(upage_advise(m.space, memory, 50 * PAGE, UPAGE_WILLNEED));
	ck_assert_ok(upage_residency(m.space, memory, 100 * PAGE, resident));
	for (size_t i = 0; i < 100; i++)
		ck_assert_uint_eq(resident[i], i < 50);
	uint64_t evictions = machine_stats(m).evictions;
	for (size_t i = 0; i < 50; i++)
		ck_assert_int_eq(memory[i * PAGE], 1);
	ck_assert_uint_eq(machine_stats(m).evictions, evictions);
	machine_end(m);
}
END_TEST

/* ---- Pins -------------------------------------------------------------------------------------- */

START_TEST(the_kernel_can_use_pinned_memory_and_no_other)
{
	struct machine m = machine_make("memory=128K");
	char *memory = machine_map(m, PAGES, RW);
	int pipes[2];
	ck_assert_int_eq(pipe(pipes), 0);
	memset(memory, 'x', PAGES * PAGE);
	/* Page 0 was evicted: what the kernel says then is why pins are there. */
	ck_assert_int_eq(write(pipes[1], memory, 8), -1);
	ck_assert_int_eq(errno, EFAULT);
	ck_assert_ok(upage_pin(m.space, memory + PAGE - 4, 8, RW));
	ck_assert_int_eq(write(pipes[1], memory + PAGE - 4, 8), 8);
	memset(memory + 2 * PAGE, 'y', (PAGES - 2) * PAGE); /* would evict it */
	ck_assert_int_eq(read(pipes[0], memory + PAGE - 4, 8), 8);
	ck_assert_int_eq(upage_unmap(m.space, memory, PAGE), UPAGE_EBUSY);
	ck_assert_ok(upage_pin(m.space, memory, 1, PROT_READ));
	ck_assert_ok(upage_unpin(m.space, memory + PAGE - 4, 8));
	ck_assert_int_eq(upage_unmap(m.space, memory, PAGE), UPAGE_EBUSY); /* once more pinned */
	ck_assert_ok(upage_unpin(m.space, memory, 1));
	ck_assert_ok(upage_unmap(m.space, memory, PAGE));
	close(pipes[0]);
	close(pipes[1]);
	machine_end(m);
}
END_TEST

START_TEST(a_pin_for_reading_leaves_the_page_clean)
{
	struct machine m = machine_make("memory=64K,mapping=remap");
	char *memory = machine_map(m, PAGES, RW);
	memset(memory, 1, PAGES * PAGE);
	upage_pfn pfn;
	ck_assert_ok(upage_pin(m.space, memory, PAGE, PROT_READ)); /* in from swap */
	ck_assert_int_eq(upage_translate(m.space, memory, PROT_READ, &pfn), UPAGE_CAUSE_NONE);
	ck_assert_int_eq(upage_translate(m.space, memory, PROT_WRITE, &pfn),
	                 UPAGE_CAUSE_PROTECTION);
	ck_assert_ok(upage_unpin(m.space, memory, PAGE));
	ck_assert_ok(upage_pin(m.space, memory, PAGE, RW));
	ck_assert_int_eq(upage_translate(m.space, memory, PROT_WRITE, &pfn), UPAGE_CAUSE_NONE);
	ck_assert_ok(upage_unpin(m.space, memory, PAGE));
	machine_end(m);
}
END_TEST

/* ---- Questions --------------------------------------------------------------------------------- */

START_TEST(translation_says_what_a_reference_would_find)
{
	struct machine m = machine_make("memory=64K,mapping=remap");
	char *memory = machine_map(m, PAGES, RW);
	upage_pfn pfn = 4711, other = 4711;
	ck_assert_int_eq(upage_translate(m.space, memory, PROT_READ, &pfn), UPAGE_CAUSE_NOT_MAPPED);
	ck_assert_uint_eq(pfn, 4711);
	ck_assert_int_eq(((volatile char *)memory)[0], 0);
	ck_assert_int_eq(upage_translate(m.space, memory + 7, PROT_READ, &pfn), UPAGE_CAUSE_NONE);
	ck_assert_uint_lt(pfn, 16);
	ck_assert_int_eq(upage_translate(m.space, memory, PROT_WRITE, &other),
	                 UPAGE_CAUSE_PROTECTION);
	memory[0] = 1;
	ck_assert_int_eq(upage_translate(m.space, memory, PROT_WRITE, &other), UPAGE_CAUSE_NONE);
	ck_assert_uint_eq(pfn, other);
	char *end = (char *)upage_space_base(m.space) + upage_space_length(m.space);
	ck_assert_int_eq(upage_translate(m.space, end, PROT_READ, &pfn), UPAGE_CAUSE_BOUNDS);
	ck_assert_int_eq(upage_translate(m.space, (char *)upage_space_base(m.space) - 1, PROT_READ,
	                                 &pfn),
	                 UPAGE_CAUSE_BOUNDS);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("space");
	TCase *tests = tcase_create("space");
	tcase_add_loop_test(tests, content_survives_eviction_at_every_page_size, 0, 3);
	tcase_add_test(tests, memory_is_zero_at_first_whoever_had_the_frame);
	tcase_add_test(tests, another_space_of_the_pool_sees_nothing_of_it);
	tcase_add_test(tests, protection_holds_for_resident_and_evicted_pages);
	tcase_add_test(tests, mappings_are_what_a_model_says);
	tcase_add_test(tests, gaps_are_used_and_hints_are_followed);
	tcase_add_loop_test(tests, a_space_may_lie_where_it_is_told_with_any_levels, 0, 6);
	tcase_add_test(tests, a_private_file_is_read_and_never_written);
	tcase_add_test(tests, a_private_page_that_was_zeroed_stays_zero);
	tcase_add_test(tests, a_shared_file_gets_what_was_written_and_grows_not);
	tcase_add_test(tests, dropped_shared_pages_are_written_first);
	tcase_add_test(tests, a_part_of_a_file_mapping_still_knows_its_place);
	tcase_add_test(tests, sequential_mappings_are_read_ahead);
	tcase_add_test(tests, needed_pages_come_in_as_far_as_frames_are_free);
	tcase_add_test(tests, the_kernel_can_use_pinned_memory_and_no_other);
	tcase_add_test(tests, a_pin_for_reading_leaves_the_page_clean);
	tcase_add_test(tests, translation_says_what_a_reference_would_find);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
