/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_turn.c - instructions that need several pages, in more threads than memory has room for
 *
 * The store is slow, so that the threads bring in their pages by turns: each would find its
 * first page taken when it has its last, for ever.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "support.h"

#define THREADS 16
#define ROUNDS 2
#define PAGES_EACH ((size_t)16)

static int read_slowly(void *context, void *page, size_t length, off_t offset)
{
	const struct timespec time = { 0, 1000000 };
	(void)context;
	memset(page, (int)(offset / (off_t)PAGE), length);
	nanosleep(&time, NULL);
	return 0;
}

struct worker {
	pthread_t thread;
	unsigned char *memory;
	unsigned number, wrong;
};

/* One instruction that reads two pages and writes two. */
static void move(unsigned char *to, const unsigned char *from)
{
#if defined(__x86_64__)
	__asm__ volatile("movsq" : "+S"(from), "+D"(to) : : "memory");
#else
	memcpy(to, from, 8);
#endif
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t first = round * 4;
		unsigned char *to = worker->memory + (first + 3) * PAGE - 4;
		move(to, worker->memory + (first + 1) * PAGE - 4);
		unsigned page = worker->number * (unsigned)PAGES_EACH + (unsigned)first;
		for (unsigned i = 0; i < 8; i++)
			worker->wrong += to[i] != (unsigned char)(page + i / 4);
	}
	return NULL;
}

static const char *const policies[] = { "clock", "fifo", "random" };

START_TEST(threads_that_take_each_others_pages_advance)
{
	char words[64];
	struct worker workers[THREADS] = { 0 };
	struct upage_store_ops ops = { .size = sizeof(ops), .read = read_slowly };
	upage_store *store;
	void *memory = NULL;
	snprintf(words, sizeof(words), "memory=64K,policy=%s", policies[_i]);
	struct machine m = machine_make(words);
	ck_assert_ok(upage_store_create(&store, &ops, NULL));
	ck_assert_ok(upage_map(m.space, &memory, THREADS * PAGES_EACH * PAGE, RW, 0, store, 0));
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].number = i;
		workers[i].memory = (unsigned char *)memory + i * PAGES_EACH * PAGE;
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		ck_assert_uint_eq(workers[i].wrong, 0);
	}
	ck_assert_ok(upage_unmap(m.space, memory, THREADS * PAGES_EACH * PAGE));
	ck_assert_ok(upage_store_close(store));
	machine_end(m);
}
END_TEST

/* What was kept for an instruction is not kept from others for ever. */
START_TEST(all_of_memory_is_there_afterwards)
{
	struct machine m = machine_make("memory=64K,policy=fifo");
	unsigned char *memory = (unsigned char *)machine_map(m, 64, RW);
	unsigned char vector[64];
	/* A page goes, by hand, between two references of one instruction: it gets the turn. */
	volatile unsigned char *first = memory;
	for (int i = 0; i < 4; i++) {
		for (size_t k = 0; k < 2; k++)
			first[k * PAGE] = 1;
		ck_assert_ok(upage_advise(m.space, memory, 2 * PAGE, UPAGE_PAGEOUT));
	}
	for (size_t k = 0; k < 2; k++)
		first[k * PAGE] = 1;
	const struct timespec longer = { 0, 50000000 };
	nanosleep(&longer, NULL);
	for (size_t i = 32; i < 64; i++)
		((volatile unsigned char *)memory)[i * PAGE] = 2;
	ck_assert_ok(upage_residency(m.space, memory, 64 * PAGE, vector));
	for (size_t i = 0; i < 32; i++)
		ck_assert_uint_eq(vector[i], 0);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("turn");
	TCase *tcase = tcase_create("threads");
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, threads_that_take_each_others_pages_advance, 0, LENGTH(policies));
	tcase_add_test(tcase, all_of_memory_is_there_afterwards);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
