/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_lock.c - does a writer have it alone, and does everybody get it?
 */
#include <pthread.h>

#include "lock.h"
#include "support.h"

#define READERS 4
#define WRITERS 2
#define TURNS 200000

static struct rwlock lock;
static volatile uint64_t one, other; /* equal while nobody writes */
static _Atomic uint64_t torn, writes;

static void look(void)
{
	uint64_t before = one;
	for (volatile int i = 0; i < 20; i++)
		;
	if (before != other)
		atomic_fetch_add(&torn, 1);
}

/* The even ones count themselves in parts. */
static void *read_often(void *argument)
{
	for (unsigned i = 0; i < TURNS; i++) {
		if ((uintptr_t)argument % 2 == 0) {
			unsigned part = rwlock_read_part(&lock);
			look();
			rwlock_read_part_release(&lock, part);
		} else {
			rwlock_read(&lock);
			look();
			rwlock_read_release(&lock);
		}
	}
	return NULL;
}

/* The even ones only try. */
static void *write_often(void *argument)
{
	for (unsigned i = 0; i < TURNS / 4; i++) {
		if ((uintptr_t)argument % 2 == 1)
			rwlock_write(&lock);
		else if (!rwlock_trywrite(&lock))
			continue;
		atomic_fetch_add(&writes, 1);
		one = one + 1;
		for (volatile int k = 0; k < 20; k++)
			;
		other = other + 1;
		rwlock_write_release(&lock);
	}
	return NULL;
}

START_TEST(readers_never_see_a_writer_at_work)
{
	pthread_t readers[READERS], writers[WRITERS];
	for (uintptr_t i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&readers[i], NULL, read_often, (void *)i), 0);
	for (uintptr_t i = 0; i < WRITERS; i++)
		ck_assert_int_eq(pthread_create(&writers[i], NULL, write_often, (void *)i), 0);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	ck_assert_uint_eq(atomic_load(&torn), 0);
	ck_assert_uint_eq(one, other);
	ck_assert_uint_eq(one, atomic_load(&writes)); /* nor do two writers */
	ck_assert_uint_ge(one, TURNS / 4);
	ck_assert_uint_eq(atomic_load(&lock.word), 0);
	for (unsigned i = 0; i < SHARDS; i++)
		ck_assert_uint_eq(atomic_load(&lock.part[i].readers), 0);
}
END_TEST

static _Atomic bool has_written, has_read;

static void *read_once(void *unused)
{
	(void)unused;
	unsigned part = rwlock_read_part(&lock);
	atomic_store(&has_read, true);
	rwlock_read_part_release(&lock, part);
	return NULL;
}

static void *write_once(void *unused)
{
	(void)unused;
	rwlock_write(&lock);
	atomic_store(&has_written, true);
	rwlock_write_release(&lock);
	return NULL;
}

START_TEST(a_writer_waits_for_a_reader_in_a_part_and_keeps_later_ones_out)
{
	pthread_t writer, reader;
	unsigned part = rwlock_read_part(&lock);
	ck_assert_uint_lt(part, SHARDS);
	ck_assert(!rwlock_trywrite(&lock));
	ck_assert_uint_eq(atomic_load(&lock.word), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_once, NULL), 0);
	while (!(atomic_load(&lock.word) & RWLOCK_WRITER))
		usleep(100);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_once, NULL), 0);
	usleep(50000); /* both sleep by now */
	ck_assert(!atomic_load(&has_written) && !atomic_load(&has_read));
	ck_assert(!rwlock_trywrite(&lock));
	rwlock_read_part_release(&lock, part);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	ck_assert(atomic_load(&has_written) && atomic_load(&has_read));
	ck_assert(rwlock_trywrite(&lock));
	rwlock_write_release(&lock);
}
END_TEST

START_TEST(readers_of_both_kinds_keep_writers_out)
{
	unsigned part = rwlock_read_part(&lock), again = rwlock_read_part(&lock);
	ck_assert_uint_lt(part, SHARDS);
	rwlock_read_part_release(&lock, part);
	ck_assert(!rwlock_trywrite(&lock));
	rwlock_read_part_release(&lock, again);
	rwlock_read(&lock);
	ck_assert(!rwlock_trywrite(&lock));
	rwlock_read_part_release(&lock, SHARDS);
	ck_assert(rwlock_trywrite(&lock));
	rwlock_write_release(&lock);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lock");
	TCase *tests = tcase_create("rwlock");
	tcase_add_test(tests, readers_never_see_a_writer_at_work);
	tcase_add_test(tests, a_writer_waits_for_a_reader_in_a_part_and_keeps_later_ones_out);
	tcase_add_test(tests, readers_of_both_kinds_keep_writers_out);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
