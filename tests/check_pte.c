/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_pte.c - the word of a page: what it may say, and who may write it
 */
#include <pthread.h>

#include "pte.h"
#include "support.h"

/* ---- Entries --------------------------------------------------------------------------- */

START_TEST(the_check_allows_what_the_entry_says_and_nothing_else)
{
	for (int allowed = 0; allowed < 8; allowed++) {
		for (int access = 1; access < 8; access++) {
			uint64_t flags = PTE_PRESENT | (allowed & PROT_READ ? PTE_READ : 0) |
			                 (allowed & PROT_WRITE ? PTE_WRITE | PTE_DIRTY : 0) |
			                 (allowed & PROT_EXEC ? PTE_EXEC : 0);
			bool passes = true;
			if (access & PROT_READ)
				passes = passes && (allowed & PROT_READ);
			if (access & PROT_WRITE)
				passes = passes && (allowed & PROT_WRITE);
			if (access & PROT_EXEC)
				passes = passes && (allowed & PROT_EXEC);
			ck_assert_int_eq(pte_check(pte_make(9, flags), access),
			                 passes ? UPAGE_CAUSE_NONE : UPAGE_CAUSE_PROTECTION);
			ck_assert_int_eq(pte_prot(pte_make(9, flags)), allowed);
			ck_assert_int_eq(pte_check(pte_make(9, PTE_SWAPPED), access),
			                 UPAGE_CAUSE_NOT_MAPPED);
			ck_assert_int_eq(pte_check(0, access), UPAGE_CAUSE_NOT_MAPPED);
		}
	}
}
END_TEST

START_TEST(an_entry_keeps_the_largest_number_beside_all_flags)
{
	uint64_t flags = PTE_PRESENT | PTE_ACCESS | PTE_DIRTY;
	uint64_t pte = pte_make(PTE_NUMBER_MAX, flags);
	ck_assert_uint_eq(pte_number(pte), PTE_NUMBER_MAX);
	ck_assert_uint_eq(pte & ((1 << PTE_NUMBER_SHIFT) - 1), flags);
	ck_assert_uint_eq(pte_number(pte_make(0, flags)), 0);
}
END_TEST

START_TEST(an_entry_that_contradicts_itself_is_not_valid)
{
	ck_assert(pte_is_valid(0));
	ck_assert(pte_is_valid(PTE_PRESENT));
	ck_assert(pte_is_valid(PTE_SWAPPED));
	ck_assert(pte_is_valid(PTE_PRESENT | PTE_READ));
	ck_assert(pte_is_valid(PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_DIRTY));
	ck_assert(pte_is_valid(PTE_PRESENT | PTE_PREFETCHED));
	ck_assert(pte_is_valid(PTE_PRESENT | PTE_PREFETCHED | PTE_READ));
	ck_assert(!pte_is_valid(PTE_PRESENT | PTE_SWAPPED));
	ck_assert(!pte_is_valid(PTE_READ));
	ck_assert(!pte_is_valid(PTE_SWAPPED | PTE_EXEC));
	ck_assert(!pte_is_valid(PTE_DIRTY));
	ck_assert(!pte_is_valid(PTE_PREFETCHED));
	ck_assert(!pte_is_valid(PTE_PRESENT | PTE_READ | PTE_WRITE));
}
END_TEST

/* ---- The lock of a page ---------------------------------------------------------------- */

#define THREADS 4
#define TURNS 30000

static struct {
	pte_t pte;
	uint64_t counter; /* plain: the lock is all that guards it */
	_Atomic unsigned ready;
} shared;

static void *increment(void *unused)
{
	for (unsigned i = 0; i < TURNS; i++) {
		uint64_t value = pte_lock(&shared.pte);
		shared.counter++;
		/* The entry counts too: what is published is what the next one gets. */
		pte_unlock(&shared.pte, pte_make(pte_number(value) + 1, PTE_SWAPPED));
	}
	return unused;
}

START_TEST(one_thread_at_a_time_holds_a_page)
{
	pthread_t threads[THREADS];
	for (unsigned t = 0; t < THREADS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, increment, NULL), 0);
	for (unsigned t = 0; t < THREADS; t++)
		ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
	ck_assert_uint_eq(shared.counter, THREADS * TURNS);
	ck_assert_uint_eq(atomic_load(&shared.pte), pte_make(THREADS * TURNS, PTE_SWAPPED));
}
END_TEST

static void *lock_once(void *unused)
{
	atomic_fetch_add(&shared.ready, 1);
	uint64_t value = pte_lock(&shared.pte);
	shared.counter++;
	pte_unlock(&shared.pte, value);
	return unused;
}

START_TEST(every_thread_that_waits_for_a_page_gets_it)
{
	pthread_t threads[THREADS];
	for (unsigned round = 0; round < 50; round++) {
		shared.ready = 0;
		uint64_t value = pte_lock(&shared.pte);
		for (unsigned t = 0; t < THREADS; t++)
			ck_assert_int_eq(pthread_create(&threads[t], NULL, lock_once, NULL), 0);
		while (atomic_load(&shared.ready) < THREADS ||
		       !(atomic_load(&shared.pte) & PTE_WAITERS))
			sched_yield();
		ck_assert_uint_eq(shared.counter, round * THREADS);
		pte_unlock(&shared.pte, value);
		for (unsigned t = 0; t < THREADS; t++)
			ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
		ck_assert_uint_eq(shared.counter, (round + 1) * THREADS);
	}
	ck_assert_uint_eq(atomic_load(&shared.pte), 0);
}
END_TEST

START_TEST(a_page_that_is_locked_cannot_be_tried)
{
	pte_t pte = pte_make(8, PTE_PRESENT | PTE_READ);
	uint64_t value = 0, again;
	ck_assert(pte_trylock(&pte, &value));
	ck_assert_uint_eq(value, pte_make(8, PTE_PRESENT | PTE_READ));
	ck_assert(!pte_trylock(&pte, &again));
	pte_unlock(&pte, value);
	ck_assert(pte_trylock(&pte, &again));
	ck_assert_uint_eq(again, value);
}
END_TEST

START_TEST(waiting_for_a_free_page_returns_at_once)
{
	pte_t pte = pte_make(8, PTE_PRESENT | PTE_READ);
	pte_wait(&pte);
	ck_assert_uint_eq(atomic_load(&pte), pte_make(8, PTE_PRESENT | PTE_READ));
}
END_TEST

START_TEST(a_change_under_the_lock_keeps_the_lock_and_those_who_wait)
{
	pte_t pte = 0;
	pte_lock(&pte);
	pte_set_locked(&pte, pte_make(6, PTE_PRESENT));
	ck_assert_uint_eq(atomic_load(&pte), pte_make(6, PTE_PRESENT | PTE_LOCKED));
	atomic_fetch_or(&pte, PTE_WAITERS);
	pte_set_locked(&pte, pte_make(7, PTE_SWAPPED));
	ck_assert_uint_eq(atomic_load(&pte), pte_make(7, PTE_SWAPPED | PTE_LOCKED | PTE_WAITERS));
	pte_unlock(&pte, 0);
	ck_assert_uint_eq(atomic_load(&pte), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pte");
	TCase *entry = tcase_create("entry");
	tcase_set_timeout(entry, 20);
	tcase_add_test(entry, the_check_allows_what_the_entry_says_and_nothing_else);
	tcase_add_test(entry, an_entry_keeps_the_largest_number_beside_all_flags);
	tcase_add_test(entry, an_entry_that_contradicts_itself_is_not_valid);
	tcase_add_test(entry, one_thread_at_a_time_holds_a_page);
	tcase_add_test(entry, every_thread_that_waits_for_a_page_gets_it);
	tcase_add_test(entry, a_page_that_is_locked_cannot_be_tried);
	tcase_add_test(entry, waiting_for_a_free_page_returns_at_once);
	tcase_add_test(entry, a_change_under_the_lock_keeps_the_lock_and_those_who_wait);
	suite_add_tcase(suite, entry);
	return run_suite(suite);
}
