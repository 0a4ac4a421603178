/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_bad_calls.c - are ranges, mappings, pins and questions that cannot be refused?
 */
#include "support_refusal.h"

/* ---- Calls with a range: what they have in common -------------------------------------- */

static int call_protect(upage_space *space, void *address, size_t length)
{
	return upage_protect(space, address, length, PROT_NONE);
}

static int call_sequential(upage_space *space, void *address, size_t length)
{
	return upage_advise(space, address, length, UPAGE_SEQUENTIAL);
}

static int call_need(upage_space *space, void *address, size_t length)
{
	return upage_advise(space, address, length, UPAGE_WILLNEED);
}

static int call_drop(upage_space *space, void *address, size_t length)
{
	return upage_advise(space, address, length, UPAGE_DONTNEED);
}

static unsigned char residency[SCENE];

static int call_residency(upage_space *space, void *address, size_t length)
{
	memset(residency, 7, sizeof(residency));
	int result = upage_residency(space, address, length, residency);
	if (result != 0)
		for (size_t i = 0; i < SCENE; i++)
			ck_assert_uint_eq(residency[i], 7);
	return result;
}

static int call_pin(upage_space *space, void *address, size_t length)
{
	return upage_pin(space, address, length, RW);
}

static int call_unpin(upage_space *space, void *address, size_t length)
{
	return upage_unpin(space, address, length);
}

typedef int range_call(upage_space *space, void *address, size_t length);

/* The first six are refused for a hole; the first seven for an address within a page. */
static range_call *const range_calls[] = { upage_unmap,    call_protect, call_sequential,
	                                   call_need,      call_drop,    upage_sync,
	                                   call_residency, call_pin,     call_unpin };
#define CALLS_OF_MAPPED 6
#define CALLS_OF_PAGES 7

START_TEST(a_range_of_no_space_is_refused)
{
	ck_assert_refused(range_calls[_i](NULL, page_at(0), PAGE), UPAGE_EINVAL);
}
END_TEST

START_TEST(an_empty_range_is_refused)
{
	ck_assert_refused(range_calls[_i](machine.space, page_at(0), 0), UPAGE_EINVAL);
}
END_TEST

START_TEST(a_range_from_half_a_page_is_refused)
{
	ck_assert_refused(range_calls[_i](machine.space, page_at(0) + 8, PAGE), UPAGE_EINVAL);
}
END_TEST

START_TEST(a_range_that_overflows_is_refused)
{
	range_call *call = range_calls[_i];
	char *last = (char *)(UINTPTR_MAX - PAGE + 1);
	ck_assert_refused(call(machine.space, page_at(0), SIZE_MAX), UPAGE_EOVERFLOW);
	ck_assert_refused(call(machine.space, page_at(0), SIZE_MAX - (uintptr_t)page_at(0)),
	                  UPAGE_EOVERFLOW); /* only when rounded up */
	ck_assert_refused(call(machine.space, last, PAGE + 1), UPAGE_EOVERFLOW);
}
END_TEST

START_TEST(a_range_outside_the_space_is_refused)
{
	range_call *call = range_calls[_i];
	char *base = upage_space_base(machine.space);
	char *end = base + upage_space_length(machine.space);
	ck_assert_refused(call(machine.space, base - PAGE, 2 * PAGE), UPAGE_EBOUNDS);
	ck_assert_refused(call(machine.space, end - PAGE, PAGE + 1), UPAGE_EBOUNDS);
	ck_assert_refused(call(machine.space, end, PAGE), UPAGE_EBOUNDS);
	ck_assert_refused(call(machine.space, NULL, PAGE), UPAGE_EBOUNDS);
	ck_assert_refused(call(machine.space, page_at(0), SIZE_MAX / 4), UPAGE_EBOUNDS);
}
END_TEST

START_TEST(a_range_with_a_hole_is_refused)
{
	range_call *call = range_calls[_i];
	ck_assert_refused(call(machine.space, page_at(LEFT - 2), 8 * PAGE), UPAGE_ENOTMAPPED);
	ck_assert_refused(call(machine.space, page_at(0), SCENE * PAGE), UPAGE_ENOTMAPPED);
	ck_assert_refused(call(machine.space, page_at(RIGHT - 1), 2 * PAGE), UPAGE_ENOTMAPPED);
}
END_TEST

START_TEST(a_range_that_is_not_mapped_is_refused)
{
	range_call *call = range_calls[_i];
	char *far = (char *)upage_space_base(machine.space) + upage_space_length(machine.space) / 2;
	ck_assert_refused(call(machine.space, page_at(LEFT), PAGE), UPAGE_ENOTMAPPED);
	ck_assert_refused(call(machine.space, far, PAGE), UPAGE_ENOTMAPPED);
}
END_TEST

START_TEST(a_range_unmapped_already_is_refused)
{
	map_at(page_at(LEFT), 2, RW);
	memset(page_at(LEFT), 1, 2 * PAGE);
	ck_assert_ok(upage_unmap(machine.space, page_at(LEFT), 2 * PAGE));
	ck_assert_refused(upage_unmap(machine.space, page_at(LEFT), 2 * PAGE), UPAGE_ENOTMAPPED);
}
END_TEST

START_TEST(a_range_with_a_pinned_page_is_neither_unmapped_nor_dropped)
{
	range_call *call = _i == 0 ? upage_unmap : call_drop;
	ck_assert_ok(upage_pin(machine.space, page_at(5), 1, PROT_READ));
	ck_assert_refused(call(machine.space, page_at(0), LEFT * PAGE), UPAGE_EBUSY);
	ck_assert_ok(upage_unpin(machine.space, page_at(5), 1));
}
END_TEST

/* ---- Map ------------------------------------------------------------------------------- */

START_TEST(a_map_without_a_space_or_a_place_is_refused)
{
	void *address = NULL;
	ck_assert_refused(upage_map(NULL, &address, PAGE, RW, 0, NULL, 0), UPAGE_EINVAL);
	ck_assert_refused(upage_map(machine.space, NULL, PAGE, RW, 0, NULL, 0), UPAGE_EINVAL);
	ck_assert_ptr_null(address);
}
END_TEST

START_TEST(a_map_of_nothing_is_refused)
{
	refused_map(NULL, 0, RW, 0, NULL, 0, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_map_at_half_a_page_is_refused)
{
	refused_map(page_at(LEFT) + 8, PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EINVAL);
	refused_map(page_at(LEFT) + 8, PAGE, RW, 0, NULL, 0, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_map_with_unknown_bits_is_refused)
{
	refused_map(NULL, PAGE, RW, 1u << 2, NULL, 0, UPAGE_EINVAL);
	refused_map(NULL, PAGE, RW, 1u << 31, NULL, 0, UPAGE_EINVAL);
	refused_map(NULL, PAGE, 8, 0, NULL, 0, UPAGE_EINVAL);
	refused_map(NULL, PAGE, -1, 0, NULL, 0, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_shared_map_of_no_store_is_refused)
{
	refused_map(NULL, PAGE, RW, UPAGE_MAP_SHARED, NULL, 0, UPAGE_EINVAL);
}
END_TEST

START_TEST(an_offset_into_no_store_is_refused)
{
	refused_map(NULL, PAGE, RW, 0, NULL, (off_t)PAGE, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_map_that_overflows_is_refused)
{
	refused_map(NULL, SIZE_MAX, RW, 0, NULL, 0, UPAGE_EOVERFLOW);
	refused_map(page_at(LEFT), SIZE_MAX - PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EOVERFLOW);
	refused_map((void *)(UINTPTR_MAX - PAGE + 1), 2 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0,
	            UPAGE_EOVERFLOW);
}
END_TEST

START_TEST(a_fixed_map_outside_the_space_is_refused)
{
	char *base = upage_space_base(machine.space);
	char *end = base + upage_space_length(machine.space);
	refused_map(base - PAGE, 2 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EBOUNDS);
	refused_map(end - PAGE, 2 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EBOUNDS);
	refused_map(NULL, PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EBOUNDS);
}
END_TEST

START_TEST(a_fixed_map_over_a_mapping_is_refused)
{
	refused_map(page_at(0), PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EEXIST);
	refused_map(page_at(LEFT - 1), 2 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EEXIST);
	refused_map(page_at(LEFT), 5 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EEXIST);
	refused_map(page_at(0) - PAGE, 32 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EEXIST);
}
END_TEST

START_TEST(a_map_longer_than_any_gap_is_refused)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.length = 8 * PAGE;
	struct machine small = { .pool = machine.pool };
	ck_assert_ok(upage_space_create(&small.space, machine.pool, &config));
	void *address = (char *)upage_space_base(small.space) + 4 * PAGE;
	ck_assert_ok(upage_map(small.space, &address, PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
	void *untouched = NULL;
	ck_assert_refused(upage_map(small.space, &untouched, 5 * PAGE, RW, 0, NULL, 0),
	                  UPAGE_ENOMEM);
	ck_assert_refused(upage_map(small.space, &untouched, 9 * PAGE, RW, 0, NULL, 0),
	                  UPAGE_ENOMEM);
	ck_assert_ptr_null(untouched);
	ck_assert_ok(upage_map(small.space, &untouched, 4 * PAGE, RW, 0, NULL, 0));
	ck_assert_ok(upage_space_destroy(small.space));
}
END_TEST

START_TEST(a_map_that_memory_and_swap_could_never_hold_is_refused)
{
	struct machine tiny = machine_make(_i == 0 ? "memory=64K,swap-size=64K,store=file"
	                                           : "memory=64K,swap-size=64K,overcommit,store=file");
	void *address = NULL;
	ck_assert_refused_in(tiny, upage_map(tiny.space, &address, 33 * PAGE, RW, 0, NULL, 0),
	                     UPAGE_ENOMEM);
	ck_assert_ptr_null(address);
	ck_assert_ok(upage_map(tiny.space, &address, 31 * PAGE, RW, 0, NULL, 0));
	machine_end(tiny);
}
END_TEST

/* Without overcommit the sum counts, of what is private and may be written. */
START_TEST(more_than_memory_and_swap_hold_in_all_is_refused)
{
	struct machine tiny = machine_make("memory=64K,swap-size=64K,store=file");
	void *address = NULL;
	char *half = machine_map(tiny, 20, RW);
	ck_assert_refused_in(tiny, upage_map(tiny.space, &address, 12 * PAGE, RW, 0, NULL, 0),
	                     UPAGE_ENOMEM);
	ck_assert_ptr_null(address);
	char *rest = machine_map(tiny, 11, RW);
	machine_map(tiny, 1000, PROT_READ);
	memset(half, 1, 20 * PAGE);
	memset(rest, 2, 11 * PAGE);
	ck_assert_int_eq(half[0] + rest[0], 3);
	ck_assert_ok(upage_unmap(tiny.space, half, 12 * PAGE));
	ck_assert_ok(upage_map(tiny.space, &address, 12 * PAGE, RW, 0, NULL, 0));
	machine_end(tiny);
}
END_TEST

START_TEST(a_protection_for_more_than_they_hold_is_refused)
{
	struct machine tiny = machine_make("memory=64K,swap-size=64K,store=file");
	machine_map(tiny, 20, RW);
	char *pages = machine_map(tiny, 40, PROT_READ);
	ck_assert_refused_in(tiny, upage_protect(tiny.space, pages, 12 * PAGE, RW), UPAGE_ENOMEM);
	ck_assert_int_eq(pages[5 * PAGE], 0);
	ck_assert_int_eq(upage_translate(tiny.space, pages + 5 * PAGE, PROT_WRITE, NULL),
	                 UPAGE_CAUSE_PROTECTION);
	ck_assert_ok(upage_protect(tiny.space, pages, 11 * PAGE, RW));
	memset(pages, 1, 11 * PAGE);
	machine_end(tiny);
}
END_TEST

START_TEST(unknown_bits_of_a_protection_are_refused)
{
	ck_assert_refused(upage_protect(machine.space, page_at(0), PAGE, 8), UPAGE_EINVAL);
	ck_assert_refused(upage_protect(machine.space, page_at(0), PAGE, -1), UPAGE_EINVAL);
}
END_TEST

START_TEST(unknown_advice_is_refused)
{
	ck_assert_refused(upage_advise(machine.space, page_at(0), PAGE, (enum upage_advice)99),
	                  UPAGE_EINVAL);
}
END_TEST

/* ---- Pins ------------------------------------------------------------------------------ */

START_TEST(a_pin_for_anything_but_reading_or_both_is_refused)
{
	static const int prots[] = { PROT_NONE, PROT_WRITE, PROT_EXEC, PROT_READ | PROT_EXEC,
		                     RW | PROT_EXEC, -1 };
	for (size_t i = 0; i < LENGTH(prots); i++)
		ck_assert_refused(upage_pin(machine.space, page_at(0), 1, prots[i]), UPAGE_EINVAL);
}
END_TEST

START_TEST(a_pin_against_the_protection_is_refused)
{
	ck_assert_ok(upage_protect(machine.space, page_at(4), PAGE, PROT_READ));
	ck_assert_refused(upage_pin(machine.space, page_at(2), 4 * PAGE, RW), UPAGE_EACCES);
	ck_assert_ok(upage_protect(machine.space, page_at(4), PAGE, PROT_NONE));
	ck_assert_refused(upage_pin(machine.space, page_at(2), 4 * PAGE, PROT_READ), UPAGE_EACCES);
	ck_assert_ok(upage_protect(machine.space, page_at(4), PAGE, RW));
}
END_TEST

/* Memory less eight frames can be pinned, and not one more. */
START_TEST(more_pins_than_memory_are_refused_and_none_is_left)
{
	struct machine tiny = machine_make("memory=64K");
	char *pages = machine_map(tiny, 32, RW);
	ck_assert_code(upage_pin(tiny.space, pages, 9 * PAGE, RW), UPAGE_EPINS);
	ck_assert_uint_eq(machine_stats(tiny).frames_pinned, 0);
	ck_assert_code(upage_unpin(tiny.space, pages, PAGE), UPAGE_EINVAL);
	ck_assert_ok(upage_pin(tiny.space, pages, 8 * PAGE, RW));
	ck_assert_code(upage_pin(tiny.space, pages + 20 * PAGE, 1, PROT_READ), UPAGE_EPINS);
	ck_assert_uint_eq(machine_stats(tiny).frames_pinned, 8);
	ck_assert_ok(upage_pool_verify(tiny.pool));
	memset(pages, 1, 32 * PAGE); /* the rest of memory still serves all other pages */
	ck_assert_ok(upage_unpin(tiny.space, pages, 8 * PAGE));
	machine_end(tiny);
}
END_TEST

START_TEST(more_pins_than_a_page_can_count_are_refused)
{
	for (unsigned i = 0; i < 65535; i++)
		ck_assert_ok(upage_pin(machine.space, page_at(1), 1, PROT_READ));
	/* The page before it is pinned first, and let go again. */
	ck_assert_refused(upage_pin(machine.space, page_at(0), 2 * PAGE, PROT_READ), UPAGE_EPINS);
	ck_assert_uint_eq(machine_stats(machine).frames_pinned, 1);
	for (unsigned i = 0; i < 65535; i++)
		ck_assert_ok(upage_unpin(machine.space, page_at(1), 1));
	ck_assert_refused(upage_unpin(machine.space, page_at(1), 1), UPAGE_EINVAL);
}
END_TEST

START_TEST(an_unpin_of_what_is_not_all_pinned_is_refused)
{
	ck_assert_refused(upage_unpin(machine.space, page_at(0), 1), UPAGE_EINVAL);
	ck_assert_refused(upage_unpin(machine.space, page_at(LEFT), 1), UPAGE_EINVAL);
	ck_assert_ok(upage_pin(machine.space, page_at(0), 2 * PAGE, PROT_READ));
	ck_assert_refused(upage_unpin(machine.space, page_at(0), 3 * PAGE), UPAGE_EINVAL);
	ck_assert_ok(upage_unpin(machine.space, page_at(0), 2 * PAGE));
}
END_TEST

/* ---- Questions ------------------------------------------------------------------------- */

START_TEST(a_translation_without_a_frame_has_a_cause)
{
	char *base = upage_space_base(machine.space);
	upage_pfn pfn = 4711;
	ck_assert_ok(upage_protect(machine.space, page_at(1), PAGE, PROT_READ));
	upage_space *s = machine.space;
	ck_assert_int_eq(upage_translate(s, base - 1, PROT_READ, &pfn), UPAGE_CAUSE_BOUNDS);
	ck_assert_int_eq(upage_translate(s, base + upage_space_length(s), PROT_READ, &pfn),
	                 UPAGE_CAUSE_BOUNDS);
	ck_assert_int_eq(upage_translate(s, page_at(LEFT), PROT_READ, &pfn),
	                 UPAGE_CAUSE_NOT_MAPPED);
	ck_assert_int_eq(upage_translate(s, page_at(1), PROT_WRITE, &pfn), UPAGE_CAUSE_PROTECTION);
	ck_assert_uint_eq(pfn, 4711);
	ck_assert_ok(upage_protect(machine.space, page_at(1), PAGE, RW));
}
END_TEST

START_TEST(a_residency_without_a_place_is_refused)
{
	ck_assert_refused(upage_residency(machine.space, page_at(0), PAGE, NULL), UPAGE_EINVAL);
}
END_TEST

START_TEST(statistics_of_no_size_or_no_pool_are_refused)
{
	struct upage_stats stats = { .size = 0, .frames = 4711 };
	ck_assert_refused(upage_stats_get(machine.pool, &stats), UPAGE_EINVAL);
	ck_assert_refused(upage_stats_get(machine.pool, NULL), UPAGE_EINVAL);
	stats.size = sizeof(stats);
	ck_assert_refused(upage_stats_get(NULL, &stats), UPAGE_EINVAL);
	ck_assert_uint_eq(stats.frames, 4711);
}
END_TEST

START_TEST(statistics_of_an_older_program_fill_no_more_than_it_has)
{
	struct upage_stats stats;
	memset(&stats, 0x5a, sizeof(stats));
	stats.size = offsetof(struct upage_stats, faults);
	ck_assert_ok(upage_stats_get(machine.pool, &stats));
	ck_assert_uint_eq(stats.frames, 64);
	ck_assert_uint_eq(stats.faults, UINT64_C(0x5a5a5a5a5a5a5a5a));
	ck_assert_uint_eq(stats.fault_ns_max, UINT64_C(0x5a5a5a5a5a5a5a5a));
}
END_TEST

START_TEST(statistics_that_cannot_be_written_are_refused)
{
	ck_assert_refused(upage_stats_json(machine.pool, "/no/such/directory/x"), -ENOENT);
	ck_assert_refused(upage_stats_json(machine.pool, "/dev/full"), -ENOSPC);
	ck_assert_refused(upage_stats_print(machine.pool, -1), -EBADF);
}
END_TEST

/* ---- All of it ------------------------------------------------------------------------- */

static void add_ranges(TCase *in_scene)
{
	const int all = LENGTH(range_calls);
	tcase_add_loop_test(in_scene, a_range_of_no_space_is_refused, 0, all);
	tcase_add_loop_test(in_scene, an_empty_range_is_refused, 0, all);
	tcase_add_loop_test(in_scene, a_range_from_half_a_page_is_refused, 0, CALLS_OF_PAGES);
	tcase_add_loop_test(in_scene, a_range_that_overflows_is_refused, 0, all);
	tcase_add_loop_test(in_scene, a_range_outside_the_space_is_refused, 0, all);
	tcase_add_loop_test(in_scene, a_range_with_a_hole_is_refused, 0, CALLS_OF_MAPPED);
	tcase_add_loop_test(in_scene, a_range_with_a_hole_is_refused, 7, 8);
	tcase_add_loop_test(in_scene, a_range_that_is_not_mapped_is_refused, 0, CALLS_OF_MAPPED);
	tcase_add_loop_test(in_scene, a_range_that_is_not_mapped_is_refused, 7, 8);
	tcase_add_test(in_scene, a_range_unmapped_already_is_refused);
	tcase_add_loop_test(in_scene, a_range_with_a_pinned_page_is_neither_unmapped_nor_dropped, 0,
	                    2);
}

static void add_maps(TCase *in_scene)
{
	tcase_add_test(in_scene, a_map_without_a_space_or_a_place_is_refused);
	tcase_add_test(in_scene, a_map_of_nothing_is_refused);
	tcase_add_test(in_scene, a_map_at_half_a_page_is_refused);
	tcase_add_test(in_scene, a_map_with_unknown_bits_is_refused);
	tcase_add_test(in_scene, a_shared_map_of_no_store_is_refused);
	tcase_add_test(in_scene, an_offset_into_no_store_is_refused);
	tcase_add_test(in_scene, a_map_that_overflows_is_refused);
	tcase_add_test(in_scene, a_fixed_map_outside_the_space_is_refused);
	tcase_add_test(in_scene, a_fixed_map_over_a_mapping_is_refused);
	tcase_add_test(in_scene, a_map_longer_than_any_gap_is_refused);
	tcase_add_test(in_scene, unknown_bits_of_a_protection_are_refused);
	tcase_add_test(in_scene, unknown_advice_is_refused);
}

static void add_pins_and_questions(TCase *in_scene)
{
	tcase_add_test(in_scene, a_pin_for_anything_but_reading_or_both_is_refused);
	tcase_add_test(in_scene, a_pin_against_the_protection_is_refused);
	tcase_add_test(in_scene, more_pins_than_a_page_can_count_are_refused);
	tcase_add_test(in_scene, an_unpin_of_what_is_not_all_pinned_is_refused);
	tcase_add_test(in_scene, a_translation_without_a_frame_has_a_cause);
	tcase_add_test(in_scene, a_residency_without_a_place_is_refused);
	tcase_add_test(in_scene, statistics_of_no_size_or_no_pool_are_refused);
	tcase_add_test(in_scene, statistics_of_an_older_program_fill_no_more_than_it_has);
	tcase_add_test(in_scene, statistics_that_cannot_be_written_are_refused);
}

static void add_full(Suite *suite)
{
	TCase *full = tcase_create("more than there is");
	suite_add_tcase(suite, full);
	tcase_add_loop_test(full, a_map_that_memory_and_swap_could_never_hold_is_refused, 0, 2);
	tcase_add_test(full, more_than_memory_and_swap_hold_in_all_is_refused);
	tcase_add_test(full, a_protection_for_more_than_they_hold_is_refused);
	tcase_add_test(full, more_pins_than_memory_are_refused_and_none_is_left);
}

int main(void)
{
	Suite *suite = suite_create("bad_calls");
	TCase *in_scene = tcase_in_scene(suite);
	add_ranges(in_scene);
	add_maps(in_scene);
	add_pins_and_questions(in_scene);
	add_full(suite);
	return run_suite(suite);
}
