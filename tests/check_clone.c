/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_clone.c - clones of a space: the same content, copied page by page as either side writes
 *
 * Frames are counted, and every clone is held against a shadow: what it should have by now.
 */
#include <fcntl.h>

#include "support_clone.h"

static uint64_t copied(struct machine m)
{
	return machine_stats(m).copied;
}

static upage_pfn frame_of(upage_space *space, const char *address)
{
	upage_pfn pfn = UINT64_MAX;
	ck_assert_int_eq(*(volatile const char *)address, *(volatile const char *)address);
	ck_assert_int_eq(upage_translate(space, address, PROT_READ, &pfn), UPAGE_CAUSE_NONE);
	return pfn;
}

/* ---- What a clone takes ------------------------------------------------------------------- */

START_TEST(a_clone_takes_no_frame_until_it_is_written_to)
{
	struct machine m = machine_make("memory=1M,mapping=remap,prefetch=off");
	char *memory = machine_map(m, 64, RW);
	fill(memory, 40, 1);
	upage_space *clone = clone_of(m.space);
	char *other = in(clone, m.space, memory);
	ck_assert_uint_eq(machine_resident(m), 40);
	ck_assert(holds(other, 40, 1));
	ck_assert(holds(memory, 40, 1));
	ck_assert_uint_eq(machine_resident(m), 40);
	ck_assert_uint_eq(copied(m), 0);
	for (size_t i = 0; i < 40; i++)
		ck_assert_uint_eq(frame_of(clone, other + i * PAGE), frame_of(m.space, memory + i * PAGE));
	ck_assert_ok(upage_pool_verify(m.pool));
	/* Pages that were never touched are each one's own. */
	fill(other + 60 * PAGE, 1, 9);
	ck_assert(is_zero(memory + 60 * PAGE, 1));
	ck_assert_uint_eq(copied(m), 0);
	end(clone, m);
	ck_assert(holds(memory, 40, 1));
	machine_end(m);
}
END_TEST

/* Loop: the clone writes first, or the source. */
START_TEST(each_write_copies_one_page_and_the_last_owner_none)
{
	struct machine m = machine_make("memory=1M,mapping=remap");
	char *memory = machine_map(m, 32, RW);
	fill(memory, 32, 1);
	upage_space *clone = clone_of(m.space);
	char *other = in(clone, m.space, memory);
	char *first = _i == 0 ? other : memory, *second = _i == 0 ? memory : other;
	upage_space *second_space = _i == 0 ? m.space : clone;
	for (size_t i = 0; i < 32; i++) {
		upage_pfn pfn = frame_of(second_space, second + i * PAGE);
		struct upage_stats before = machine_stats(m);
		((volatile char *)first)[i * PAGE + 5] = 77;
		ck_assert_uint_eq(copied(m), before.copied + 1);
		ck_assert_uint_eq(machine_resident(m), 32 + i + 1);
		ck_assert(holds(second + i * PAGE, 1, 1 + i * 1000));
		((volatile char *)second)[i * PAGE + 6] = 78;
		struct upage_stats after = machine_stats(m);
		ck_assert_uint_eq(after.copied, before.copied + 1);
		ck_assert_uint_eq(frame_of(second_space, second + i * PAGE), pfn);
		ck_assert_uint_eq(machine_resident(m), 32 + i + 1);
		ck_assert_int_eq(((volatile char *)first)[i * PAGE + 5], 77);
		ck_assert_int_ne(((volatile char *)second)[i * PAGE + 5], 77);
		ck_assert_int_ne(((volatile char *)first)[i * PAGE + 6], 78);
		ck_assert_uint_eq(after.faults,
		                  after.zero_fill + after.major + after.soft + after.write_upgrade);
	}
	ck_assert_ok(upage_pool_verify(m.pool));
	end(clone, m);
	machine_end(m);
}
END_TEST

/* ---- Against shadows ---------------------------------------------------------------------- */

/* Loop: the 24 orders in which four spaces may end. */
START_TEST(chains_of_clones_end_in_any_order)
{
	struct family f;
	char words[64];
	snprintf(words, sizeof(words), SMALL ",policy=%s", policies[_i % 3]);
	family_make(&f, words, (uint64_t)_i);
	for (unsigned s = 1; s < SPACES; s++) {
		family_clone(&f, s - 1, s);
		ck_assert_ok(upage_pool_verify(f.m.pool));
		for (unsigned i = 0; i < 30; i++)
			family_step(&f, 50);
	}
	family_check(&f);
	ck_assert_ok(upage_pool_verify(f.m.pool));
	/* The source's struct is needed for addresses: it goes at its turn, and they are kept. */
	char *bases[SPACES];
	for (unsigned s = 0; s < SPACES; s++)
		bases[s] = upage_space_base(f.space[s]);
	size_t offset = (size_t)(f.memory - bases[0]);
	bool ended[SPACES] = { false };
	for (unsigned turn = 0, order = (unsigned)_i; turn < SPACES; turn++) {
		unsigned nth = order % (SPACES - turn), s = 0;
		order /= SPACES - turn;
		for (; ended[s] || nth-- > 0; s++)
			;
		ended[s] = true;
		end(f.space[s], f.m);
		for (unsigned other = 0; other < SPACES; other++) {
			for (size_t page = 0; !ended[other] && page < MANY; page++) {
				volatile uint64_t *word = (volatile uint64_t *)(void *)(bases[other] + offset +
				                                                        page * PAGE);
				must(word[0] == f.shadow[other][page][0]);
				must(word[WORDS - 1] == f.shadow[other][page][1]);
				word[0] = ++f.shadow[other][page][0];
			}
		}
	}
	struct upage_stats stats = machine_stats(f.m);
	ck_assert_uint_eq(stats.frames_free, stats.frames);
	ck_assert_uint_eq(stats.swap_slots, 0);
	ck_assert_ok(upage_pool_destroy(f.m.pool));
}
END_TEST

/* Loop: policies, with frames that are shared, and with pages at home, which are copied at once. Sixteen frames for up
 * to 160 pages. */
START_TEST(shared_pages_are_evicted_and_come_back)
{
	struct family f;
	char words[64];
	bool at_home = _i >= (int)LENGTH(policies);
	if (at_home && !machine_can_be("mapping=guard"))
		return;
	snprintf(words, sizeof(words), SMALL ",policy=%s,mapping=%s", policies[(size_t)_i % LENGTH(policies)],
	         at_home ? "guard" : "remap");
	family_make(&f, words, 42);
	for (unsigned round = 0; round < 60; round++) {
		unsigned from = (unsigned)(random_number(&f.random) % SPACES);
		unsigned to = 1 + (unsigned)(random_number(&f.random) % (SPACES - 1));
		if (f.space[to] != NULL && to != from) {
			end(f.space[to], f.m);
			f.space[to] = NULL;
		}
		if (f.space[from] != NULL && f.space[to] == NULL) {
			size_t page = random_number(&f.random) % MANY;
			must(family_holds(&f, from, page));
			family_clone(&f, from, to);
			family_write(&f, round % 2 ? from : to, page);
		}
		for (unsigned i = 0; i < 400; i++)
			family_step(&f, 10 + round % 3 * 20);
		ck_assert_ok(upage_pool_verify(f.m.pool));
	}
	family_check(&f);
	ck_assert_uint_gt(machine_stats(f.m).evictions, 1000);
	ck_assert(machine_stats(f.m).copied > 40 || at_home);
	for (unsigned s = 1; s < SPACES; s++)
		end(f.space[s], f.m);
	machine_end(f.m);
}
END_TEST

START_TEST(swapped_pages_share_their_slots)
{
	struct machine m = machine_make("memory=1M,mapping=remap");
	char *memory = machine_map(m, 32, RW);
	fill(memory, 32, 1);
	ck_assert_ok(upage_advise(m.space, memory, 16 * PAGE, UPAGE_PAGEOUT));
	upage_space *clone = clone_of(m.space), *third = clone_of(clone);
	char *other = in(clone, m.space, memory), *last = in(third, m.space, memory);
	ck_assert_uint_eq(machine_stats(m).swap_slots, 16);
	/* The frames of the rest leave all three, and are written once each. */
	uint64_t written = machine_stats(m).writebacks;
	ck_assert_ok(upage_advise(clone, other, 32 * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(machine_stats(m).swap_slots, 32);
	ck_assert_uint_eq(machine_stats(m).writebacks, written + 16);
	ck_assert_uint_eq(machine_resident(m), 0);
	ck_assert_ok(upage_pool_verify(m.pool));
	/* Each gets a frame of its own as it comes in; the last keeps the slot. */
	ck_assert(holds(memory, 32, 1));
	ck_assert_uint_eq(machine_resident(m), 32);
	ck_assert_ok(upage_pool_verify(m.pool));
	fill(memory, 32, 2);
	ck_assert_ok(upage_advise(m.space, memory, 32 * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(machine_stats(m).swap_slots, 64);
	ck_assert(holds(other, 32, 1));
	ck_assert_ok(upage_advise(clone, other, 32 * PAGE, UPAGE_DONTNEED));
	ck_assert(is_zero(other, 32));
	ck_assert(holds(last, 32, 1));
	ck_assert(holds(memory, 32, 2));
	ck_assert_ok(upage_pool_verify(m.pool));
	end(clone, m);
	end(third, m);
	machine_end(m);
}
END_TEST

/* The slot of a page that came in again belongs to the others still: they never see what it writes. */
START_TEST(a_slot_that_others_have_is_not_written_to)
{
	struct machine m = machine_make("memory=1M");
	char *memory = machine_map(m, 16, RW);
	fill(memory, 16, 1);
	ck_assert_ok(upage_advise(m.space, memory, 16 * PAGE, UPAGE_PAGEOUT));
	upage_space *clone = clone_of(m.space);
	char *other = in(clone, m.space, memory);
	for (uint64_t round = 2; round < 6; round++) {
		fill(memory, 16, round);
		ck_assert_ok(upage_advise(m.space, memory, 16 * PAGE, UPAGE_PAGEOUT));
		ck_assert(holds(other + (round - 2) * 4 * PAGE, 4, 1 + (round - 2) * 4000));
		ck_assert(holds(memory, 16, round));
		ck_assert_ok(upage_pool_verify(m.pool));
	}
	end(clone, m);
	machine_end(m);
}
END_TEST

static void read_all(const char *memory, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		must(*(volatile const uint64_t *)(const void *)(memory + i * PAGE) == 1 + i * 1000);
}

/* 64 frames: 40 for pages in use, and 32 pages that two spaces have and neither looks at. */
START_TEST(shared_pages_that_nobody_uses_leave)
{
	struct machine m = machine_make("memory=256K");
	char *memory = machine_map(m, 32, RW), *used = machine_map(m, 40, RW);
	fill(memory, 32, 1);
	upage_space *clone = clone_of(m.space);
	read_all(in(clone, m.space, memory), 32);
	fill(used, 40, 1);
	for (unsigned round = 0; round < 40; round++)
		read_all(used, 40);
	uint64_t before = machine_stats(m).major;
	for (unsigned round = 0; round < 40; round++)
		read_all(used, 40);
	ck_assert_uint_lt(machine_stats(m).major - before, 20);
	end(clone, m);
	machine_end(m);
}
END_TEST

/* Loop: the page that the frame names is looked at, or the other one. What comes in is new. They are
 * shared once the policy knows them: a page that left is shared no more. */
START_TEST(shared_pages_that_one_uses_stay)
{
	struct machine m = machine_make("memory=256K,policy=clock");
	char *memory = machine_map(m, 16, RW), *new = machine_map(m, 1000, RW), *used = memory;
	upage_space *clone = NULL;
	uint64_t major = 0;
	fill(memory, 16, 1);
	for (size_t i = 0; i < 1000; i++) {
		if (i == 500) {
			clone = clone_of(m.space);
			major = machine_stats(m).major;
			read_all(in(clone, m.space, memory), 16);
			used = _i == 0 ? memory : in(clone, m.space, memory);
		}
		read_all(used, 16);
		new[i * PAGE] = 1;
	}
	ck_assert_uint_gt(machine_stats(m).evictions, 900);
	ck_assert_uint_lt(machine_stats(m).major - major, 6);
	end(clone, m);
	machine_end(m);
}
END_TEST

/* ---- Room ----------------------------------------------------------------------------------- */

/* A promise is kept, however the pages of source and clones are written to: 79 pages have room, and
 * 3 times 26 are promised. */
START_TEST(what_is_promised_never_fails)
{
	struct machine m = machine_make(SMALL ",swap-size=256K");
	uint64_t random = 7, shadow[3][26] = { { 0 } };
	char *memory[3] = { machine_map(m, 26, RW) };
	upage_space *space[3] = { m.space };
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned s = 1; s < 3; s++) {
			space[s] = clone_of(space[s - 1]);
			memory[s] = in(space[s], m.space, memory[0]);
			memcpy(shadow[s], shadow[s - 1], sizeof(shadow[s]));
		}
		for (unsigned i = 0; i < 3000; i++) {
			unsigned s = (unsigned)(random_number(&random) % 3);
			size_t page = random_number(&random) % 26;
			volatile uint64_t *word = (volatile uint64_t *)(void *)(memory[s] + page * PAGE);
			must(*word == shadow[s][page]);
			if (i % 3 != 0)
				*word = shadow[s][page] = random_number(&random);
		}
		ck_assert_ok(upage_pool_verify(m.pool));
		for (unsigned s = 1; s < 3; s++)
			end(space[s], m);
	}
	ck_assert_uint_eq(machine_stats(m).failed, 0);
	machine_end(m);
}
END_TEST

START_TEST(a_clone_without_room_is_refused_and_leaves_no_trace)
{
	struct machine m = machine_make(SMALL ",swap-size=128K,store=file,prefetch=off");
	char *memory = machine_map(m, 12, RW);
	char *more = machine_map(m, 12, RW); /* 24 of 47 */
	fill(memory, 12, 1);
	upage_space *clone = NULL;
	ck_assert_int_eq(upage_space_clone(&clone, m.space, NULL), UPAGE_ENOMEM);
	ck_assert_ptr_null(clone);
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_uint_eq(machine_stats(m).swap_slots, 0);
	ck_assert_uint_eq(machine_resident(m), 12);
	fill(memory, 12, 2);
	ck_assert_uint_eq(copied(m), 0);
	ck_assert_ok(upage_unmap(m.space, more, 12 * PAGE));
	end(clone_of(m.space), m);
	ck_assert(holds(memory, 12, 2));
	machine_end(m);
}
END_TEST

/* It needs a mapping or two, as each page that is written to does then. */
START_TEST(a_clone_at_the_limit_of_mappings_is_a_copy)
{
	enum { WRITTEN = 1000 };
	struct machine m = machine_make("memory=32M,mapping=remap,prefetch=off");
	char *memory = machine_map(m, 4096, RW);
	struct crowd crowd;
	upage_space *clone;
	fill(memory, WRITTEN, 1);
	bool limited = crowd_begin(&crowd);
	int result = upage_space_clone(&clone, m.space, NULL);
	if (limited && result == 0) {
		fill(memory, WRITTEN / 2, 2);
		ck_assert(holds(in(clone, m.space, memory), WRITTEN, 1));
	}
	crowd_end(&crowd);
	ck_assert_ok(result);
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert(holds(memory, WRITTEN / 2, limited ? 2 : 1));
	end(clone, m);
	machine_end(m);
}
END_TEST

/* Both full: the write that finds no room for its copy fails, at once, and nothing is lost. */
START_TEST(a_split_without_room_fails_and_leaves_the_page_shared)
{
	struct machine m = machine_make(SMALL ",swap-size=64K,overcommit,mapping=remap,store=file");
	char *memory = machine_map(m, 31, RW);
	fill(memory, 31, 1);
	upage_space *clone = clone_of(m.space);
	char *other = in(clone, m.space, memory);
	size_t failed = 0;
	for (size_t i = 31; i-- > 0;) /* the last are resident */
		failed += is_bus_error(other + i * PAGE, true);
	ck_assert_uint_ge(failed, 29);
	ck_assert_uint_eq(machine_stats(m).failed, failed);
	ck_assert_ok(upage_pool_verify(m.pool));
	end(clone, m);
	ck_assert(holds(memory, 31, 1));
	machine_end(m);
}
END_TEST

START_TEST(shared_mappings_and_short_spaces_are_refused)
{
	char name[] = "check_clone-XXXXXX";
	struct machine m = machine_make("memory=1M");
	char *memory = machine_map(m, 8, RW);
	upage_store *store;
	void *shared = NULL;
	upage_space *clone = NULL;
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	fill(memory, 8, 1);
	config.length = 4 * PAGE;
	ck_assert_int_eq(upage_space_clone(&clone, m.space, &config), UPAGE_EBOUNDS);
	config.length = 0;
	config.address = (void *)1;
	ck_assert_int_eq(upage_space_clone(&clone, m.space, &config), UPAGE_EINVAL);
	config.size = sizeof(config) + 1;
	ck_assert_int_eq(upage_space_clone(&clone, m.space, &config), UPAGE_E2BIG);
	config.size = 0;
	ck_assert_int_eq(upage_space_clone(&clone, m.space, &config), UPAGE_EINVAL);
	ck_assert_int_eq(upage_space_clone(NULL, m.space, NULL), UPAGE_EINVAL);
	ck_assert_int_eq(upage_space_clone(&clone, NULL, NULL), UPAGE_EINVAL);
	int file = mkstemp(name);
	ck_assert_int_eq(ftruncate(file, 4 * PAGE), 0);
	ck_assert_ok(upage_store_open(&store, name, UPAGE_STORE_WRITABLE));
	unlink(name);
	close(file);
	ck_assert_ok(upage_map(m.space, &shared, 4 * PAGE, RW, UPAGE_MAP_SHARED, store, 0));
	ck_assert_int_eq(upage_space_clone(&clone, m.space, NULL), UPAGE_ENOTSUP);
	ck_assert_ptr_null(clone);
	ck_assert_ok(upage_unmap(m.space, shared, 4 * PAGE));
	end(clone_of(m.space), m);
	ck_assert_ok(upage_store_close(store));
	fill(memory, 8, 2);
	ck_assert_uint_eq(copied(m), 0);
	machine_end(m);
}
END_TEST

/* Tables of another shape, whose leaves end elsewhere. */
START_TEST(a_clone_may_have_other_levels)
{
	struct machine m = machine_make("memory=8M");
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.length = (size_t)1 << 30;
	config.levels = 5;
	char *memory = machine_map(m, 1500, RW);
	upage_space *clone, *back;
	fill(memory, 1500, 1);
	ck_assert_ok(upage_space_clone(&clone, m.space, &config));
	ck_assert_uint_eq(upage_space_length(clone), config.length);
	ck_assert_ok(upage_space_clone(&back, clone, NULL));
	char *other = in(clone, m.space, memory), *third = in(back, m.space, memory);
	fill(memory, 1500, 2);
	ck_assert(holds(other, 1500, 1));
	ck_assert(holds(third, 1500, 1));
	end(clone, m);
	ck_assert(holds(third, 1500, 1));
	end(back, m);
	machine_end(m);
}
END_TEST

/* ---- Calls on shared pages -------------------------------------------------------------------- */

START_TEST(unmapping_and_dropping_leave_the_others_alone)
{
	struct machine m = machine_make("memory=1M,mapping=remap");
	char *memory = machine_map(m, 32, RW);
	fill(memory, 32, 1);
	upage_space *clone = clone_of(m.space);
	char *other = in(clone, m.space, memory);
	ck_assert_ok(upage_unmap(m.space, memory, 8 * PAGE)); /* those that the frames name */
	ck_assert_ok(upage_unmap(clone, other + 8 * PAGE, 8 * PAGE));
	ck_assert_ok(upage_advise(m.space, memory + 16 * PAGE, 8 * PAGE, UPAGE_DONTNEED));
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_uint_eq(machine_resident(m), 32);
	ck_assert(holds(other, 8, 1));
	ck_assert(holds(memory + 8 * PAGE, 8, 8001));
	ck_assert(is_zero(memory + 16 * PAGE, 8));
	ck_assert(holds(other + 16 * PAGE, 16, 16001));
	/* Alone again: no copies. */
	fill(other, 8, 2);
	fill(memory + 8 * PAGE, 8, 2);
	ck_assert_uint_eq(copied(m), 0);
	ck_assert_ok(upage_sync(m.space, memory + 8 * PAGE, 24 * PAGE));
	ck_assert_ok(upage_advise(clone, other + 24 * PAGE, 8 * PAGE, UPAGE_PAGEOUT));
	ck_assert_ok(upage_advise(m.space, memory + 24 * PAGE, 8 * PAGE, UPAGE_WILLNEED));
	ck_assert_ok(upage_pool_verify(m.pool));
	fill(memory + 24 * PAGE, 8, 5);
	ck_assert(holds(other + 24 * PAGE, 8, 24001));
	end(clone, m);
	machine_end(m);
}
END_TEST

START_TEST(protection_is_each_ones_own)
{
	struct machine m = machine_make("memory=1M");
	char *memory = machine_map(m, 16, RW);
	fill(memory, 16, 1);
	ck_assert_ok(upage_protect(m.space, memory, 4 * PAGE, PROT_READ));
	upage_space *clone = clone_of(m.space);
	char *other = in(clone, m.space, memory);
	ck_assert_int_eq(upage_translate(clone, other, PROT_WRITE, NULL), UPAGE_CAUSE_PROTECTION);
	ck_assert_ok(upage_protect(clone, other, 8 * PAGE, RW));
	ck_assert_ok(upage_protect(m.space, memory + 4 * PAGE, 4 * PAGE, PROT_NONE));
	fill(other, 8, 2);
	ck_assert_ok(upage_protect(m.space, memory, 16 * PAGE, PROT_READ));
	ck_assert(holds(memory, 16, 1));
	ck_assert_ok(upage_protect(m.space, memory, 16 * PAGE, RW));
	fill(memory, 16, 3);
	ck_assert(holds(other, 8, 2));
	ck_assert(holds(other + 8 * PAGE, 8, 8001));
	ck_assert_ok(upage_pool_verify(m.pool));
	end(clone, m);
	machine_end(m);
}
END_TEST

/* Of the host's mapping that has an address. */
static bool host_allows_execution(const char *address)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, past;
	char line[512], access[8] = "";
	while (fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx %7s", &start, &past, access) == 3 &&
		    start <= (uintptr_t)address && (uintptr_t)address < past)
			break;
	fclose(maps);
	return access[2] == 'x';
}

/* Pages beside each other, some of which were shown before the mapping allowed more. */
START_TEST(pages_keep_what_else_they_may_be_used_for)
{
	struct machine m = machine_make("memory=1M,mapping=remap");
	char *memory = machine_map(m, 9, RW);
	for (size_t i = 0; i < 9; i++) {
		ck_assert_ok(upage_protect(m.space, memory, 9 * PAGE, i % 2 ? RW | PROT_EXEC : RW));
		fill(memory + i * PAGE, 1, i);
	}
	ck_assert_ok(upage_protect(m.space, memory, 9 * PAGE, RW | PROT_EXEC));
	fill(memory + 8 * PAGE, 1, 8);
	for (size_t i = 1; i < 9; i += 2)
		ck_assert_ok(upage_advise(m.space, memory + i * PAGE, PAGE, UPAGE_DONTNEED));
	for (size_t i = 1; i < 9; i += 2)
		fill(memory + i * PAGE, 1, i);
	upage_space *clone = clone_of(m.space);
	for (size_t i = 0; i < 9; i++) {
		bool allowed = upage_translate(m.space, memory + i * PAGE, PROT_EXEC, NULL) == UPAGE_CAUSE_NONE;
		ck_assert_int_eq(host_allows_execution(memory + i * PAGE), allowed);
		ck_assert_int_eq(allowed, i % 2);
	}
	fill(memory, 9, 5);
	end(clone, m);
	machine_end(m);
}
END_TEST

START_TEST(pinned_pages_are_copied)
{
	struct machine m = machine_make("memory=1M,mapping=remap");
	char *memory = machine_map(m, 16, RW);
	int pipes[2];
	ck_assert_int_eq(pipe(pipes), 0);
	fill(memory, 16, 1);
	ck_assert_ok(upage_pin(m.space, memory, 4 * PAGE, RW));
	upage_space *clone = clone_of(m.space);
	char *other = in(clone, m.space, memory);
	ck_assert_uint_eq(machine_resident(m), 20);
	ck_assert_ok(upage_pool_verify(m.pool));
	/* The kernel writes to the source's, and nobody is asked. */
	ck_assert_int_eq(write(pipes[1], "kernel", 6), 6);
	ck_assert_int_eq(read(pipes[0], memory, PAGE), 6);
	ck_assert(holds(other, 16, 1));
	ck_assert(memcmp(memory, "kernel", 6) == 0);
	/* A pin makes a page the space's own, for reading too. */
	ck_assert_ok(upage_pin(clone, other + 8 * PAGE, 2 * PAGE, PROT_READ));
	ck_assert_ok(upage_pin(m.space, memory + 12 * PAGE, 2 * PAGE, RW));
	ck_assert_uint_eq(copied(m), 4);
	ck_assert_uint_eq(machine_resident(m), 24);
	ck_assert_uint_eq(machine_stats(m).frames_pinned, 8);
	fill(memory + 8 * PAGE, 8, 2);
	ck_assert_ok(upage_advise(m.space, memory, 16 * PAGE, UPAGE_PAGEOUT));
	ck_assert_ok(upage_advise(clone, other, 16 * PAGE, UPAGE_PAGEOUT));
	ck_assert(holds(other, 16, 1));
	ck_assert_int_eq(upage_space_destroy(clone), UPAGE_EBUSY);
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_ok(upage_unpin(m.space, memory, 4 * PAGE));
	ck_assert_ok(upage_unpin(m.space, memory + 12 * PAGE, 2 * PAGE));
	ck_assert_ok(upage_unpin(clone, other + 8 * PAGE, 2 * PAGE));
	end(clone, m);
	ck_assert(holds(memory + 8 * PAGE, 8, 2));
	close(pipes[0]);
	close(pipes[1]);
	machine_end(m);
}
END_TEST

/* Half of the frames pinned, and copies of them that need the rest. */
START_TEST(a_clone_makes_room_for_copies_of_pinned_pages)
{
	struct machine m = machine_make(SMALL);
	char *memory = machine_map(m, 40, RW);
	fill(memory, 40, 1);
	ck_assert_ok(upage_pin(m.space, memory + 10 * PAGE, 8 * PAGE, RW));
	upage_space *clone = clone_of(m.space);
	char *other = in(clone, m.space, memory);
	ck_assert_ok(upage_pool_verify(m.pool));
	fill(memory, 40, 2);
	ck_assert(holds(other, 40, 1));
	ck_assert_ok(upage_unpin(m.space, memory + 10 * PAGE, 8 * PAGE));
	ck_assert(holds(memory, 40, 2));
	end(clone, m);
	machine_end(m);
}
END_TEST

START_TEST(private_pages_of_a_store_are_shared_too)
{
	char name[] = "check_clone-XXXXXX", page[PAGE];
	struct machine m = machine_make(SMALL);
	int file = mkstemp(name);
	upage_store *store;
	void *address = NULL;
	for (size_t i = 0; i < 32; i++) {
		fill(page, 1, i * 1000);
		ck_assert_int_eq(write(file, page, PAGE), PAGE);
	}
	machine_map(m, 3, RW); /* so that offset and address differ */
	ck_assert_ok(upage_store_open(&store, name, 0));
	unlink(name);
	close(file);
	ck_assert_ok(upage_map(m.space, &address, 28 * PAGE, RW, 0, store, 4 * PAGE));
	char *memory = address;
	fill(memory + 20 * PAGE, 8, 7);
	ck_assert(holds(memory, 20, 4000));
	upage_space *clone = clone_of(m.space);
	char *other = in(clone, m.space, memory);
	ck_assert_int_eq(upage_store_close(store), UPAGE_EBUSY);
	fill(memory + 10 * PAGE, 5, 8);
	ck_assert(holds(other, 20, 4000));
	ck_assert(holds(other + 20 * PAGE, 8, 7));
	fill(other, 5, 9);
	ck_assert(holds(memory, 10, 4000));
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_ok(upage_space_destroy(m.space));
	ck_assert(holds(other, 5, 9));
	ck_assert(holds(other + 5 * PAGE, 15, 9000));
	m.space = clone;
	ck_assert_ok(upage_advise(clone, other, 28 * PAGE, UPAGE_DONTNEED));
	ck_assert(holds(other, 28, 4000));
	machine_end(m);
	ck_assert_ok(upage_store_close(store));
}
END_TEST

/* Shared pages are hidden as others are when host mappings run out, wherever they are shown. */
START_TEST(shared_pages_stay_in_the_budget_of_mappings)
{
	struct machine m = machine_make("memory=4M,mapping=remap,mapping-budget=64");
	char *memory = machine_map(m, 400, RW);
	fill(memory, 400, 1);
	upage_space *clone = clone_of(m.space);
	char *other = in(clone, m.space, memory);
	ck_assert(holds(other, 400, 1));
	for (size_t i = 0; i < 400; i += 2) {
		fill(other + i * PAGE, 1, i);
		must(*(volatile uint64_t *)(void *)(other + (i + 1) * PAGE) == (i + 1) * 1000 + 1);
		must(machine_stats(m).host_mappings <= 66);
	}
	for (size_t i = 1; i < 400; i += 2) /* now the rest of it is alone, each in a frame apart */
		ck_assert(holds(other + i * PAGE, 1, 1 + i * 1000));
	ck_assert_uint_le(machine_stats(m).host_mappings, 66);
	ck_assert_uint_le(machine_stats(m).host_mappings_peak, 68);
	ck_assert_uint_eq(machine_stats(m).evictions, 0);
	end(clone, m);
	ck_assert(holds(memory, 400, 1));
	machine_end(m);
}
END_TEST

/* ---- Heaps ------------------------------------------------------------------------------------- */

START_TEST(heaps_are_left_out)
{
	struct machine m = machine_make("memory=4M,mapping=remap");
	upage_heap *heap;
	int result = upage_heap_create(&heap, m.space);
	if (result == UPAGE_ENOTSUP) {
		machine_end(m);
		return;
	}
	ck_assert_ok(result);
	char *block = upage_heap_allocate(heap, 100000), *memory = machine_map(m, 8, RW);
	memset(block, 'b', 100000);
	fill(memory, 8, 1);
	uint64_t resident = machine_resident(m);
	upage_space *clone = clone_of(m.space);
	ck_assert_uint_eq(machine_resident(m), resident);
	ck_assert(holds(in(clone, m.space, memory), 8, 1));
	char *place = in(clone, m.space, block);
	ck_assert_int_eq(upage_pin(clone, place, 1, PROT_READ), UPAGE_ENOTMAPPED);
	block[5] = 'c';
	ck_assert_uint_eq(copied(m), 0);
	ck_assert_ok(upage_heap_destroy(heap));
	end(clone, m);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("clone");
	TCase *tests = tcase_create("clone");
	tcase_add_test(tests, a_clone_takes_no_frame_until_it_is_written_to);
	tcase_add_loop_test(tests, each_write_copies_one_page_and_the_last_owner_none, 0, 2);
	tcase_add_loop_test(tests, chains_of_clones_end_in_any_order, 0, 24);
	tcase_add_loop_test(tests, shared_pages_are_evicted_and_come_back, 0, 2 * (int)LENGTH(policies));
	tcase_add_test(tests, swapped_pages_share_their_slots);
	tcase_add_test(tests, a_slot_that_others_have_is_not_written_to);
	tcase_add_test(tests, shared_pages_that_nobody_uses_leave);
	tcase_add_loop_test(tests, shared_pages_that_one_uses_stay, 0, 2);
	tcase_add_test(tests, what_is_promised_never_fails);
	tcase_add_test(tests, a_clone_without_room_is_refused_and_leaves_no_trace);
	tcase_add_test(tests, a_clone_at_the_limit_of_mappings_is_a_copy);
	tcase_add_test(tests, a_split_without_room_fails_and_leaves_the_page_shared);
	tcase_add_test(tests, shared_mappings_and_short_spaces_are_refused);
	tcase_add_test(tests, a_clone_may_have_other_levels);
	tcase_add_test(tests, unmapping_and_dropping_leave_the_others_alone);
	tcase_add_test(tests, protection_is_each_ones_own);
	tcase_add_test(tests, pages_keep_what_else_they_may_be_used_for);
	tcase_add_test(tests, pinned_pages_are_copied);
	tcase_add_test(tests, a_clone_makes_room_for_copies_of_pinned_pages);
	tcase_add_test(tests, private_pages_of_a_store_are_shared_too);
	tcase_add_test(tests, shared_pages_stay_in_the_budget_of_mappings);
	tcase_add_test(tests, heaps_are_left_out);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
