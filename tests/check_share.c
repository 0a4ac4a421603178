/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_share.c - the reverse map by itself; and shared pages where only insides lead: pages that move,
 * pages that are shown from their file
 */
#include "host.h"
#include "map.h"
#include "share.h"
#include "signals.h"
#include "support_fork.h"

/* ---- Lists ---------------------------------------------------------------------------------- */

#define ENTRIES 6
#define PFN 3

static struct table_memory memory;
static struct shares shares;
static struct frame frame;
static pte_t ptes[ENTRIES];
static struct backing *const backing = (struct backing *)&memory; /* only compared */

/* A frame with @count pages, at 0x1000, 0x2000, ...; the entries are unlocked. */
static void make(unsigned count)
{
	table_memory_init(&memory, host_metadata, host_metadata_release);
	shares = (struct shares){ .free = NULL };
	frame = (struct frame){ .state = FRAME_USED, .references = 1, .page = 0x1000, .backing = backing };
	frame.pte = &ptes[0];
	ck_assert(share_reserve(&shares, &memory, ENTRIES));
	for (unsigned i = 0; i < ENTRIES; i++)
		ptes[i] = pte_make(PFN, PTE_PRESENT | PTE_SHARED | PTE_READ);
	for (unsigned i = 1; i < count; i++)
		share_join(&shares, &frame, &ptes[i], (i + 1) * 0x1000, backing);
}

static size_t listed(void)
{
	size_t count = 0;
	for (const struct share *share = share_list(&frame); share != NULL; share = share->next)
		count++;
	return count;
}

START_TEST(pages_leave_in_any_order_and_the_last_is_alone)
{
	for (unsigned last = 0; last < 4; last++) {
		make(4);
		size_t spare = shares.spare;
		ck_assert_uint_eq(listed(), 4);
		ck_assert(share_is_valid(&frame, PFN));
		for (unsigned step = 1; step < 4; step++) {
			unsigned i = (last + step) % 4;
			ck_assert(!share_is_alone(&shares, &frame));
			ck_assert(share_leave(&shares, &frame, &ptes[i]));
			ptes[i] = 0;
			ck_assert(share_is_valid(&frame, PFN));
		}
		ck_assert(share_is_alone(&shares, &frame));
		ck_assert_ptr_eq(frame.pte, &ptes[last]);
		ck_assert_uint_eq(frame.page, (last + 1) * 0x1000);
		ck_assert_uint_eq(shares.spare, spare + 4);
		ck_assert(!share_leave(&shares, &frame, &ptes[last]));
		ck_assert_uint_eq(frame.references, 1);
	}
}
END_TEST

START_TEST(one_that_is_busy_keeps_none_locked)
{
	uint64_t value;
	pte_t *busy;
	for (unsigned other = 1; other < 4; other++) {
		make(4);
		ck_assert(pte_trylock(&ptes[0], &value));
		ck_assert(pte_trylock(&ptes[other], &value));
		ck_assert(!share_trylock(&shares, &frame, &ptes[0], &busy));
		ck_assert_ptr_eq(busy, &ptes[other]);
		for (unsigned i = 0; i < 4; i++)
			ck_assert_int_eq(ptes[i] & PTE_LOCKED, i == 0 || i == other);
		pte_unlock(&ptes[other], value);
		ck_assert(share_trylock(&shares, &frame, &ptes[0], &busy));
		for (unsigned i = 0; i < 4; i++)
			ck_assert_int_eq(ptes[i] & PTE_LOCKED, 1);
		share_unlock(&shares, &frame, &ptes[0]);
		for (unsigned i = 0; i < 4; i++)
			ck_assert_int_eq(ptes[i] & PTE_LOCKED, i == 0);
	}
}
END_TEST

START_TEST(all_entries_change_together_in_the_end)
{
	uint64_t value;
	pte_t *busy;
	make(3);
	ck_assert(pte_trylock(&ptes[1], &value));
	ck_assert(share_trylock(&shares, &frame, &ptes[1], &busy));
	share_end(&shares, &frame, &ptes[1], pte_make(9, PTE_SWAPPED));
	ck_assert_uint_eq(listed(), 0);
	ck_assert_uint_eq(ptes[0], pte_make(9, PTE_SWAPPED));
	ck_assert_uint_eq(ptes[2], pte_make(9, PTE_SWAPPED));
	ck_assert_uint_eq(ptes[1] & PTE_LOCKED, 1); /* its holder's */
}
END_TEST

START_TEST(what_does_not_agree_is_seen)
{
	make(3);
	ck_assert(share_is_valid(&frame, PFN));
	ck_assert(!share_is_valid(&frame, PFN + 1));
	for (unsigned i = 0; i < 3; i++) {
		const uint64_t wrong[] = { 0, pte_make(PFN + 1, PTE_PRESENT | PTE_SHARED),
			                   pte_make(PFN, PTE_PRESENT | PTE_READ),
			                   pte_make(PFN, PTE_PRESENT | PTE_SHARED | PTE_DIRTY) };
		for (size_t k = 0; k < LENGTH(wrong); k++) {
			uint64_t right = atomic_exchange(&ptes[i], wrong[k]);
			ck_assert_msg(!share_is_valid(&frame, PFN), "entry %u, value %zu", i, k);
			ptes[i] = right;
		}
	}
	frame.references = 2;
	ck_assert(!share_is_valid(&frame, PFN));
	frame.references = 3;
	frame.pins = 1;
	ck_assert(!share_is_valid(&frame, PFN));
	frame.pins = 0;
	frame.slot = 1;
	ck_assert(!share_is_valid(&frame, PFN));
	frame.slot = 0;
	ck_assert(share_is_valid(&frame, PFN));
}
END_TEST

/* ---- Pages that move ------------------------------------------------------------------------- */

/* Loop: those of the source, which the frames name, or those of the clone. */
START_TEST(shared_pages_may_move)
{
	struct machine m = machine_make("memory=1M,mapping=remap,prefetch=off");
	char *from = machine_map(m, 16, RW), *to = machine_map(m, 16, RW);
	size_t gap = (size_t)(to - from);
	upage_space *clone;
	fill(from, 16, 1);
	ck_assert_ok(upage_space_clone(&clone, m.space, NULL));
	char *copy = (char *)upage_space_base(clone) + (from - (char *)upage_space_base(m.space));
	upage_space *space = _i == 0 ? m.space : clone;
	char *moving = _i == 0 ? from : copy, *standing = _i == 0 ? copy : from;
	ck_assert(holds(copy, 16, 1));
	signal_mask mask = signals_block();
	rwlock_write(&space->lock);
	ck_assert_ok(map_move_pages(space, (uintptr_t)moving, (uintptr_t)moving + gap, 16 * PAGE,
	                            space->anonymous));
	rwlock_write_release(&space->lock);
	signals_set(mask);
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert(holds(moving + gap, 16, 1));
	ck_assert(is_zero(moving, 16));
	/* They leave, and come back to where they are now. */
	ck_assert_ok(upage_advise(clone, copy + (_i == 0 ? 0 : gap), 16 * PAGE, UPAGE_PAGEOUT));
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert(holds(standing, 16, 1));
	fill(moving + gap, 16, 2);
	ck_assert(holds(standing, 16, 1));
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_ok(upage_space_destroy(clone));
	machine_end(m);
}
END_TEST

/* ---- Pages of files --------------------------------------------------------------------------- */

START_TEST(what_is_shown_from_its_file_is_so_in_a_clone)
{
	char name[] = "check_share-XXXXXX", page[PAGE];
	struct machine m = machine_make("memory=1M");
	upage_store *store;
	upage_space *clone;
	void *address = NULL;
	int file = mkstemp(name);
	unlink(name);
	for (size_t i = 0; i < 16; i++) {
		fill(page, 1, i * 1000);
		ck_assert_int_eq(write(file, page, PAGE), PAGE);
	}
	ck_assert_ok(store_open_descriptor(&store, file));
	ck_assert_ok(upage_map(m.space, &address, 16 * PAGE, RW, 0, store, 0));
	char *memory = address;
	ck_assert(holds(memory, 16, 0));
	fill(memory, 4, 7);
	ck_assert_ok(upage_pin(m.space, memory + 8 * PAGE, PAGE, PROT_READ));
	ck_assert_ok(upage_space_clone(&clone, m.space, NULL));
	char *copy = (char *)upage_space_base(clone) + (memory - (char *)upage_space_base(m.space));
	ck_assert_uint_eq(machine_resident(m), 16);
	ck_assert(holds(copy, 4, 7));
	ck_assert(holds(copy + 4 * PAGE, 12, 4000));
	ck_assert_uint_eq(machine_resident(m), 28); /* each its own, but those that were written to */
	ck_assert_ok(upage_pool_verify(m.pool));
	fill(copy + 4 * PAGE, 12, 8);
	ck_assert(holds(memory + 4 * PAGE, 12, 4000));
	ck_assert_uint_eq(machine_stats(m).copied, 0);
	ck_assert_ok(upage_unpin(m.space, memory + 8 * PAGE, PAGE));
	ck_assert_ok(upage_space_destroy(clone));
	ck_assert_ok(upage_unmap(m.space, memory, 16 * PAGE));
	ck_assert_ok(upage_store_close(store));
	close(file);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("share");
	TCase *tests = tcase_create("share");
	tcase_add_test(tests, pages_leave_in_any_order_and_the_last_is_alone);
	tcase_add_test(tests, one_that_is_busy_keeps_none_locked);
	tcase_add_test(tests, all_entries_change_together_in_the_end);
	tcase_add_test(tests, what_does_not_agree_is_seen);
	tcase_add_loop_test(tests, shared_pages_may_move, 0, 2);
	tcase_add_test(tests, what_is_shown_from_its_file_is_so_in_a_clone);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
