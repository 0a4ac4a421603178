/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_file_pages.c - pages of a private file that are shown from the file until they are written
 * to: each takes a frame, without content, and shows what the file has
 */
#include <fcntl.h>

#include "store.h"
#include "support_fork.h"

#define LENGTH_PAGES 40

static int file = -1;
static upage_store *store;

static char byte_of(size_t offset)
{
	return (char)(offset / PAGE * 3 + offset % 241 + 1);
}

static volatile char *file_map(struct machine m, size_t bytes, int prot)
{
	char name[] = "/tmp/check-file-pages-XXXXXX";
	char *content = malloc(bytes);
	void *address = NULL;
	file = mkstemp(name);
	ck_assert_int_ge(file, 0);
	unlink(name);
	for (size_t i = 0; i < bytes; i++)
		content[i] = byte_of(i);
	ck_assert_int_eq(write(file, content, bytes), bytes);
	free(content);
	ck_assert_ok(store_open_descriptor(&store, file));
	ck_assert_ok(upage_map(m.space, &address, LENGTH_PAGES * PAGE, prot, 0, store, 0));
	return address;
}

static void file_unmap(struct machine m, volatile char *memory)
{
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_ok(upage_unmap(m.space, (void *)memory, LENGTH_PAGES * PAGE));
	ck_assert_ok(upage_store_close(store));
	close(file);
}

/* Return: false, so that children of forks can say it. */
static bool is_file(volatile const char *memory, size_t from, size_t pages)
{
	for (size_t i = from * PAGE; i < (from + pages) * PAGE; i += 13)
		if (memory[i] != byte_of(i))
			return false;
	return true;
}

/* Kilobytes of shared memory that the process shows: of frames. */
static long shown_frames(void)
{
	char line[200];
	long value = -1;
	FILE *status = fopen("/proc/self/status", "r");
	while (status != NULL && fgets(line, sizeof(line), status) != NULL)
		if (sscanf(line, "RssShmem: %ld", &value) == 1)
			break;
	fclose(status);
	return value;
}

static const char *const memories[] = { "memory=4M,prefetch=auto", "memory=4M,prefetch=off" };

START_TEST(what_is_only_read_takes_frames_but_not_their_memory)
{
	struct machine m = machine_make(memories[_i]);
	volatile char *memory = file_map(m, LENGTH_PAGES * PAGE, RW);
	long before = shown_frames();
	ck_assert(is_file(memory, 0, LENGTH_PAGES));
	ck_assert_uint_eq(machine_resident(m), LENGTH_PAGES);
	ck_assert_int_eq(shown_frames(), before);
	ck_assert_uint_eq(machine_stats(m).major + machine_stats(m).prefetched, LENGTH_PAGES);
	ck_assert_uint_lt(machine_stats(m).host_mappings, 8);
	file_unmap(m, memory);
	machine_end(m);
}
END_TEST

START_TEST(what_is_written_is_the_programs_and_no_files)
{
	struct machine m = machine_make(memories[_i]);
	volatile char *memory = file_map(m, LENGTH_PAGES * PAGE, RW);
	long before = shown_frames();
	char byte;
	ck_assert(is_file(memory, 0, LENGTH_PAGES));
	for (size_t i = 1; i < LENGTH_PAGES; i += 4)
		memory[i * PAGE + 7] = '!';
	ck_assert_int_eq(shown_frames() - before, LENGTH_PAGES / 4 * 4);
	ck_assert_uint_eq(machine_resident(m), LENGTH_PAGES);
	for (size_t i = 0; i < LENGTH_PAGES * PAGE; i++)
		ck_assert_int_eq(memory[i], i / PAGE % 4 == 1 && i % PAGE == 7 ? '!' : byte_of(i));
	ck_assert_int_eq(pread(file, &byte, 1, PAGE + 7), 1);
	ck_assert_int_eq(byte, byte_of(PAGE + 7));
	file_unmap(m, memory);
	machine_end(m);
}
END_TEST

/* As natively: until a page is written to it is the file's. */
START_TEST(what_others_write_to_the_file_shows_where_the_program_wrote_nothing)
{
	struct machine m = machine_make(memories[_i]);
	volatile char *memory = file_map(m, LENGTH_PAGES * PAGE, RW);
	ck_assert(is_file(memory, 0, LENGTH_PAGES));
	memory[3 * PAGE] = '!';
	ck_assert_int_eq(pwrite(file, "new", 3, 2 * PAGE), 3);
	ck_assert_int_eq(pwrite(file, "new", 3, 3 * PAGE), 3);
	ck_assert_int_eq(memory[2 * PAGE + 1], 'e');
	ck_assert_int_eq(memory[3 * PAGE], '!');
	ck_assert_int_eq(memory[3 * PAGE + 1], byte_of(3 * PAGE + 1));
	file_unmap(m, memory);
	machine_end(m);
}
END_TEST

START_TEST(small_memories_evict_them_and_read_them_again)
{
	struct machine m = machine_make("memory=64K"); /* 16 frames */
	volatile char *memory = file_map(m, LENGTH_PAGES * PAGE, RW);
	for (int round = 0; round < 5; round++) {
		for (size_t i = 0; i < LENGTH_PAGES; i++) {
			ck_assert_int_eq(memory[i * PAGE], i % 3 == 0 && round > 0 ? round : byte_of(i * PAGE));
			ck_assert_int_eq(memory[i * PAGE + 1], byte_of(i * PAGE + 1));
			if (i % 3 == 0)
				memory[i * PAGE] = (char)(round + 1);
		}
		ck_assert_ok(upage_pool_verify(m.pool));
	}
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_gt(stats.evictions, 100);
	ck_assert_uint_le(stats.writebacks, 5 * (LENGTH_PAGES / 3 + 1));
	file_unmap(m, memory);
	machine_end(m);
}
END_TEST

START_TEST(a_file_ends_where_it_ends_now)
{
	struct machine m = machine_make(memories[_i]);
	const size_t bytes = 20 * PAGE + 100;
	volatile char *memory = file_map(m, bytes, RW);
	for (size_t i = 0; i < 21 * PAGE; i++)
		ck_assert_int_eq(memory[i], i < bytes ? byte_of(i) : 0);
	ck_assert_uint_eq(machine_resident(m), 21);
	ck_assert(is_bus_error(memory + 21 * PAGE, false));
	ck_assert(is_bus_error(memory + 22 * PAGE, true));
	/* Resident pages that the file has lost are lost, but what was written. */
	memory[12 * PAGE] = '!';
	ck_assert_int_eq(ftruncate(file, 10 * PAGE), 0);
	ck_assert(is_bus_error(memory + 11 * PAGE, false));
	ck_assert(is_bus_error(memory + 11 * PAGE, true));
	ck_assert_int_eq(memory[12 * PAGE], '!');
	ck_assert(is_file(memory, 0, 10));
	file_unmap(m, memory);
	machine_end(m);
}
END_TEST

START_TEST(protection_and_its_return)
{
	struct machine m = machine_make(memories[_i]);
	volatile char *memory = file_map(m, LENGTH_PAGES * PAGE, PROT_READ);
	ck_assert(is_file(memory, 0, LENGTH_PAGES));
	ck_assert_ok(upage_protect(m.space, (void *)memory, 10 * PAGE, PROT_NONE));
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_ok(upage_protect(m.space, (void *)memory, LENGTH_PAGES * PAGE, RW));
	ck_assert(is_file(memory, 0, LENGTH_PAGES));
	for (size_t i = 0; i < LENGTH_PAGES; i += 2)
		memory[i * PAGE] = 'w';
	ck_assert_ok(upage_protect(m.space, (void *)memory, LENGTH_PAGES * PAGE, PROT_READ));
	for (size_t i = 0; i < LENGTH_PAGES; i++)
		ck_assert_int_eq(memory[i * PAGE], i % 2 == 0 ? 'w' : byte_of(i * PAGE));
	file_unmap(m, memory);
	machine_end(m);
}
END_TEST

/* Loop: with another thread, whose pages are hidden while it is copied. */
START_TEST(a_child_shows_the_file_and_has_what_was_written)
{
	struct machine m = machine_make("memory=4M,prefetch=auto");
	volatile char *memory = file_map(m, LENGTH_PAGES * PAGE, RW);
	struct bystander bystander;
	ck_assert(is_file(memory, 0, LENGTH_PAGES));
	for (size_t i = 0; i < LENGTH_PAGES; i += 5)
		memory[i * PAGE] = 'p';
	if (_i == 1)
		bystander_begin(&bystander);
	uint64_t faults = machine_stats(m).faults;
	pid_t child = fork();
	if (child == 0) {
		child_must(upage_pool_verify(m.pool) == 0);
		for (size_t i = 0; i < LENGTH_PAGES; i++)
			child_must(memory[i * PAGE] == (i % 5 == 0 ? 'p' : byte_of(i * PAGE)) &&
			           memory[i * PAGE + 1] == byte_of(i * PAGE + 1));
		child_must(machine_stats(m).faults == 0);
		for (size_t i = 0; i < LENGTH_PAGES; i++)
			memory[i * PAGE] = 'c';
		child_must(upage_pool_verify(m.pool) == 0);
		_exit(0);
	}
	must_end_well(child);
	for (size_t i = 0; i < LENGTH_PAGES; i++)
		ck_assert_int_eq(memory[i * PAGE], i % 5 == 0 ? 'p' : byte_of(i * PAGE));
	ck_assert_uint_eq(machine_stats(m).faults, faults);
	if (_i == 1)
		bystander_end(&bystander);
	file_unmap(m, memory);
	machine_end(m);
}
END_TEST

/* Two files side by side are two mappings of the host's, however their frames lie. */
START_TEST(mappings_of_the_host_are_counted)
{
	struct machine m = machine_make(memories[_i]);
	volatile char *memory = file_map(m, LENGTH_PAGES * PAGE, RW);
	void *beside = (void *)(memory + LENGTH_PAGES * PAGE);
	ck_assert_ok(upage_map(m.space, &beside, LENGTH_PAGES * PAGE, RW, 0, store, 0));
	ck_assert(is_file(memory, 0, LENGTH_PAGES));
	ck_assert(is_file(beside, 0, LENGTH_PAGES));
	ck_assert_ok(upage_pool_verify(m.pool));
	uint64_t counted = machine_stats(m).host_mappings, there = 0;
	char line[4200];
	FILE *maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof(line), maps) != NULL) {
		uintptr_t start = strtoull(line, NULL, 16);
		there += start >= (uintptr_t)memory && start < (uintptr_t)beside + LENGTH_PAGES * PAGE;
	}
	fclose(maps);
	ck_assert_uint_eq(there, 2);
	ck_assert_uint_ge(counted, there);
	ck_assert_ok(upage_unmap(m.space, beside, LENGTH_PAGES * PAGE));
	file_unmap(m, memory);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("file_pages");
	TCase *tests = tcase_create("file_pages");
	tcase_add_loop_test(tests, what_is_only_read_takes_frames_but_not_their_memory, 0, 2);
	tcase_add_loop_test(tests, what_is_written_is_the_programs_and_no_files, 0, 2);
	tcase_add_loop_test(tests, what_others_write_to_the_file_shows_where_the_program_wrote_nothing, 0, 2);
	tcase_add_test(tests, small_memories_evict_them_and_read_them_again);
	tcase_add_loop_test(tests, a_file_ends_where_it_ends_now, 0, 2);
	tcase_add_loop_test(tests, protection_and_its_return, 0, 2);
	tcase_add_loop_test(tests, a_child_shows_the_file_and_has_what_was_written, 0, 2);
	tcase_add_loop_test(tests, mappings_of_the_host_are_counted, 0, 2);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
