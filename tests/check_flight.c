/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_flight.c - transfers of swap that nobody waits for: whoever comes there afterwards finds what he should, whatever
 * becomes of them
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "host.h"
#include "store.h"
#include "store_flight.h"
#include "support_direct.h"
#include "support_directory.h"
#include "support_filter.h"
#include "support_fork.h"

#define RUN BUFFER_RUN_MAX
#define SLOTS 128u

static struct swap *swap;
static struct buffers buffers;
static char was[SLOTS][PAGE]; /* what each slot should have */

/* With a direct file in which all slots have been written to. */
static void begin(void)
{
	static _Alignas(PAGE) char memory[BUFFERS * PAGE];
	const struct swap_config config = { .direct = true, .path = directory, .page_shift = 12 };
	const char *used;
	uint32_t first;
	must(swap_create(&swap, &config, &used) == 0);
	buffers_init(&buffers, memory, 12);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		static _Alignas(PAGE) char page[PAGE];
		must(swap_allocate_run(swap, slot, 1, &first) == 1 && first == slot);
		random_bytes(page, PAGE, slot);
		memcpy(was[slot], page, PAGE);
		must(swap_transfer(swap, STORE_WRITE, slot, page) == 0);
	}
}

static unsigned buffers_free(void)
{
	unsigned free = 0;
	for (unsigned i = 0; i < BUFFER_RUNS; i++)
		free += (unsigned)__builtin_popcount(atomic_load(&buffers.free[i]));
	return free;
}

/* Nothing is under way any more, and no buffer was lost. */
static void end(void)
{
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		swap_free(swap, slot);
	swap_destroy(swap);
	must(buffers_free() == BUFFERS);
}

/* Of random slots: as a rule they lie apart. */
static unsigned choose(uint32_t *slots, uint64_t *seed)
{
	unsigned count = 2 + (unsigned)(random_number(seed) % (RUN - 1)), start = (unsigned)random_number(seed);
	for (unsigned i = 0; i < count; i++)
		slots[i] = (start + i * 37) % SLOTS; /* odd: each is another one */
	return count;
}

static unsigned ask_for(enum store_operation operation, const uint32_t *slots, unsigned count, char *buffer,
                        struct store_request *requests)
{
	for (unsigned i = 0; i < count; i++)
		requests[i] = swap_request(swap, operation, slots[i], 1, buffer + i * PAGE);
	return count;
}

/* New content. Return: whether it was written behind. */
static bool write_behind(const uint32_t *slots, unsigned count, uint64_t *seed)
{
	struct store_request requests[RUN];
	char *buffer = buffer_take_run(&buffers, count);
	must(buffer != NULL);
	for (unsigned i = 0; i < count; i++) {
		random_bytes(buffer + i * PAGE, PAGE, random_number(seed));
		memcpy(was[slots[i]], buffer + i * PAGE, PAGE);
	}
	ask_for(STORE_WRITE, slots, count, buffer, requests);
	if (flights_write(swap_flights(swap), requests, count, &buffers, buffer, count) > 0)
		return true;
	swap_transfer_all(swap, requests, count);
	buffer_give_run(&buffers, buffer, count);
	return false;
}

/* Return: whether something is being read. */
static bool read_ahead(const uint32_t *slots, unsigned count)
{
	struct store_request requests[RUN];
	char *buffer = buffer_take_run(&buffers, count);
	must(buffer != NULL);
	ask_for(STORE_READ, slots, count, buffer, requests);
	struct flight *flight = flights_say(swap_flights(swap), requests, count, &buffers, buffer, count);
	if (flight == NULL) {
		buffer_give_run(&buffers, buffer, count);
		return false;
	}
	return flights_read(swap_flights(swap), flight, true) > 0;
}

/* Return: how many pages there were; all as they should be. */
static unsigned take(const uint32_t *slots, unsigned count)
{
	char *buffer;
	unsigned pages, n = swap_take_ahead(swap, slots, count, &buffer, &pages);
	for (unsigned i = 0; i < n; i++)
		must(memcmp(buffer + i * PAGE, was[slots[i]], PAGE) == 0);
	if (n > 0)
		buffer_give_run(&buffers, buffer, pages);
	return n;
}

static void must_have(uint32_t slot)
{
	static _Thread_local _Alignas(PAGE) char found[PAGE];
	must(swap_transfer(swap, STORE_READ, slot, found) == 0 && memcmp(found, was[slot], PAGE) == 0);
}

/* ---- Whoever comes afterwards -------------------------------------------------------------------- */

START_TEST(what_is_written_behind_is_there_at_once)
{
	uint32_t slots[RUN];
	uint64_t seed = 1;
	unsigned behind = 0;
	begin();
	for (unsigned round = 0; round < 500; round++) {
		unsigned count = choose(slots, &seed);
		behind += write_behind(slots, count, &seed);
		must_have(slots[random_number(&seed) % count]);
		must_have((uint32_t)random_number(&seed) % SLOTS);
	}
	ck_assert_uint_gt(behind, 400);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		must_have(slot);
	end();
}
END_TEST

START_TEST(the_last_of_several_writes_to_a_slot_is_what_it_has)
{
	static _Alignas(PAGE) char page[PAGE];
	uint32_t slots[RUN];
	uint64_t seed = 2;
	begin();
	for (unsigned round = 0; round < 300; round++) {
		write_behind(slots, choose(slots, &seed), &seed);
		unsigned slot = slots[random_number(&seed) % 2];
		random_bytes(page, PAGE, seed);
		memcpy(was[slot], page, PAGE);
		ck_assert_int_eq(swap_transfer(swap, STORE_WRITE, slot, page), 0);
		write_behind(slots, choose(slots, &seed), &seed);
		must_have(slot);
	}
	end();
}
END_TEST

START_TEST(what_is_read_ahead_is_taken_but_not_if_it_has_been_written_since)
{
	static _Alignas(PAGE) char page[PAGE];
	uint32_t slots[RUN];
	uint64_t seed = 3;
	begin();
	for (unsigned round = 0; round < 300; round++) {
		unsigned count = choose(slots, &seed), which = (unsigned)(random_number(&seed) % count);
		must(read_ahead(slots, count));
		switch (round % 4) {
		case 0: /* all of it */
			ck_assert_uint_eq(take(slots, count), count);
			break;
		case 1: /* as far as it is what is wanted */
			slots[count - 1] = (slots[count - 1] + 64) % SLOTS;
			ck_assert_uint_eq(take(slots, count), count - 1);
			break;
		case 2:
			random_bytes(page, PAGE, seed);
			memcpy(was[slots[which]], page, PAGE);
			must(swap_transfer(swap, STORE_WRITE, slots[which], page) == 0);
			ck_assert_uint_eq(take(slots, count), 0);
			break;
		default: /* nor behind */
			write_behind(slots + which, 1, &seed);
			ck_assert_uint_eq(take(slots, count), 0);
		}
		ck_assert_uint_eq(take(slots, count), 0);
	}
	end();
}
END_TEST

START_TEST(what_is_read_ahead_of_a_write_that_is_under_way_has_it)
{
	uint32_t slots[RUN];
	uint64_t seed = 4;
	begin();
	for (unsigned round = 0; round < 300; round++) {
		unsigned count = choose(slots, &seed);
		write_behind(slots, count, &seed);
		must(read_ahead(slots, count));
		ck_assert_uint_eq(take(slots, count), count);
	}
	end();
}
END_TEST

START_TEST(more_reads_ahead_than_there_is_room_for_forget_the_oldest)
{
	uint32_t slots[2 * FLIGHTS_AHEAD][RUN];
	uint64_t seed = 5;
	unsigned taken = 0;
	begin();
	for (unsigned i = 0; i < LENGTH(slots); i++) {
		for (unsigned k = 0; k < 8; k++)
			slots[i][k] = 8 * i + k;
		must(read_ahead(slots[i], 8));
	}
	write_behind(slots[0], 8, &seed);
	for (unsigned i = 0; i < LENGTH(slots); i++)
		taken += take(slots[i], 8);
	ck_assert_uint_ge(taken, 8);
	ck_assert_uint_lt(taken, LENGTH(slots) * 8);
	end();
}
END_TEST

/* ---- Failures ---------------------------------------------------------------------------------------- */

/* Of the file that is open and deleted: as high as descriptors go. */
static int swap_descriptor(void)
{
	for (int descriptor = 3; descriptor < 1 << 20; descriptor++) {
		char name[64], path[PATH_MAX];
		snprintf(name, sizeof(name), "/proc/self/fd/%d", descriptor);
		ssize_t length = readlink(name, path, sizeof(path) - 1);
		if (length <= 0)
			continue;
		path[length] = '\0';
		if (strstr(path, " (deleted)") != NULL && strncmp(path, directory, strlen(directory)) == 0)
			return descriptor;
	}
	return -1;
}

/* What was begun cannot be waited for, and then not be written: it is nowhere but in the buffer. */
static void lose_the_disk(void)
{
	static _Alignas(PAGE) char zeros[PAGE], found[PAGE];
	uint32_t slots[RUN], other = 0;
	uint64_t seed = 6;
	char name[64];
	begin();
	int descriptor = swap_descriptor(), good = dup(descriptor);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", descriptor);
	int bad = open(name, O_RDONLY | O_DIRECT);
	child_must(descriptor >= 0 && good >= 0 && bad >= 0);
	for (unsigned i = 0; i < RUN; i++)
		slots[i] = 3 * i;
	other = 1;
	child_must(write_behind(slots, RUN, &seed));
	if (refuse_call(SYS_io_getevents, EFAULT) != 0)
		_exit(0); /* where there are no filters */
	child_must(dup2(bad, descriptor) == descriptor);
	must_have(slots[3]);
	for (unsigned i = 0; i < RUN; i++)
		child_must(pwrite(good, zeros, PAGE, (off_t)slots[i] * PAGE) == PAGE);
	for (unsigned round = 0; round < 3; round++) { /* nothing is lost, nor anything more promised */
		for (unsigned i = 0; i < RUN; i++)
			must_have(slots[i]);
		must_have(other);
		child_must(!read_ahead(slots, RUN));
		char *buffer = buffer_take_run(&buffers, 1);
		struct store_request request = swap_request(swap, STORE_WRITE, other, 1, buffer);
		child_must(flights_write(swap_flights(swap), &request, 1, &buffers, buffer, 1) == 0);
		buffer_give_run(&buffers, buffer, 1);
	}
	swap_fork_begin(swap);
	child_must(swap_copy_begin(swap) == -EIO);
	swap_fork_end(swap);
	uint32_t again;
	swap_free(swap, slots[7]); /* whose page is nobody's then */
	child_must(swap_allocate_run(swap, slots[7], 1, &again) == 1 && again == slots[7]);
	child_must(swap_transfer(swap, STORE_READ, again, found) == 0 && memcmp(found, zeros, PAGE) == 0);
	memset(was[again], 0, PAGE);
	/* What somebody is just reading stays until he has it, though it could be written now. */
	struct store_request reading = swap_request(swap, STORE_READ, slots[3], 1, found);
	child_must(dup2(good, descriptor) == descriptor);
	flights_settle(swap_flights(swap), &reading, 1);
	memset(found, 0, PAGE);
	child_must(!write_behind(&other, 1, &seed));
	flights_patch(swap_flights(swap), &reading, 1);
	child_must(memcmp(found, was[slots[3]], PAGE) == 0);
	/* Who writes such a slot by himself is right from then on. */
	memset(was[slots[5]], 0, PAGE);
	child_must(swap_transfer(swap, STORE_WRITE, slots[5], zeros) == 0);
	must_have(slots[5]);
	child_must(write_behind(&other, 1, &seed)); /* the others are written before it */
	for (unsigned i = 0; i < RUN; i++)
		child_must(pread(good, found, PAGE, (off_t)slots[i] * PAGE) == PAGE &&
		           memcmp(found, was[slots[i]], PAGE) == 0);
	must_have(other);
	end();
}

START_TEST(what_could_not_be_written_is_kept_until_it_can)
{
	char said[500];
	ck_assert_msg(in_child(lose_the_disk, said, sizeof(said)) == 0, "%s", said);
}
END_TEST

/* As some runtimes do it: nobody hears of such a fork. What its parent has under way is not the child's to do. */
START_TEST(a_child_that_nobody_was_told_of_leaves_the_file_alone)
{
	static _Alignas(PAGE) char page[PAGE];
	uint32_t slots[RUN];
	uint64_t seed = 7;
	begin();
	for (unsigned i = 0; i < RUN; i++)
		slots[i] = i;
	must(write_behind(slots, RUN, &seed));
	int pipes[2];
	ck_assert_int_eq(pipe(pipes), 0);
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		child_must(read(pipes[0], page, 1) == 1);
		child_must(swap_transfer(swap, STORE_READ, slots[0], page) == 0); /* waits for what is under way */
		_exit(0);
	}
	for (unsigned i = 0; i < RUN; i++) { /* the parent goes on */
		random_bytes(page, PAGE, 1000 + i);
		memcpy(was[i], page, PAGE);
		must(swap_transfer(swap, STORE_WRITE, i, page) == 0);
	}
	ck_assert_int_eq(write(pipes[1], page, 1), 1);
	must_end_well(child);
	for (unsigned i = 0; i < RUN; i++)
		must_have(i);
	end();
}
END_TEST

/* ---- Pages ------------------------------------------------------------------------------------------- */

#define FRAMES 1024u
#define THREADS 4u
#define PART (FRAMES / 2) /* pages of a thread: together twice as many as there are frames */

static volatile char *memory;

/* In order, again and again; every second page is written to, and now and then one anywhere. */
static void *go_round(void *argument)
{
	size_t first = (uintptr_t)argument * PART;
	static unsigned char value[THREADS * PART];
	uint64_t seed = first;
	for (unsigned round = 0; round < 30; round++)
		for (size_t i = first; i < first + PART; i++) {
			size_t page = random_number(&seed) % 16 == 0 ? first + random_number(&seed) % PART : i;
			must(memory[page * PAGE] == (char)value[page] && memory[page * PAGE + PAGE - 8] == (char)value[page]);
			if ((i + round) % 2 == 0)
				memory[page * PAGE] = memory[page * PAGE + PAGE - 8] = (char)++value[page];
		}
	return NULL;
}

/* While forks stop everything, and their children go on with what was under way. */
START_TEST(streams_of_several_threads_and_their_children_lose_nothing)
{
	struct machine m = machine_make("memory=4M,direct,policy=clock,prefetch=auto");
	pthread_t threads[THREADS];
	memory = machine_map(m, THREADS * PART + 256, RW);
	for (size_t i = 0; i < 256; i++) /* nobody's */
		memory[(THREADS * PART + i) * PAGE] = (char)(i % 100 + 1);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, go_round, (void *)i), 0);
	for (int round = 0; round < 6; round++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			for (int again = 0; again < 2; again++)
				for (size_t i = 0; i < 256; i++)
					child_must(memory[(THREADS * PART + i) * PAGE] == (char)(i % 100 + 1));
			for (size_t i = 0; i < THREADS * PART; i++)
				child_must(memory[i * PAGE] == memory[i * PAGE + PAGE - 8] ||
				           memory[i * PAGE] - memory[i * PAGE + PAGE - 8] == 1);
			child_must(upage_pool_verify(m.pool) == 0);
			_exit(0);
		}
		must_end_well(child);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_gt(machine_stats(m).store_at_once, THREADS * PART);
	ck_assert_ok(upage_pool_verify(m.pool));
	machine_end(m);
}
END_TEST

static Suite *flight_suite(void)
{
	Suite *suite = suite_create("flight");
	TCase *slots = tcase_with_directory(suite, "slots");
	tcase_set_timeout(slots, 60);
	tcase_add_test(slots, what_is_written_behind_is_there_at_once);
	tcase_add_test(slots, the_last_of_several_writes_to_a_slot_is_what_it_has);
	tcase_add_test(slots, what_is_read_ahead_is_taken_but_not_if_it_has_been_written_since);
	tcase_add_test(slots, what_is_read_ahead_of_a_write_that_is_under_way_has_it);
	tcase_add_test(slots, more_reads_ahead_than_there_is_room_for_forget_the_oldest);
	tcase_add_test(slots, what_could_not_be_written_is_kept_until_it_can);
	tcase_add_test(slots, a_child_that_nobody_was_told_of_leaves_the_file_alone);

	TCase *pages = tcase_create("pages");
	suite_add_tcase(suite, pages);
	tcase_set_timeout(pages, 60);
	tcase_add_test(pages, streams_of_several_threads_and_their_children_lose_nothing);
	return suite;
}

int main(void)
{
	return has_direct_store() ? run_suite(flight_suite()) : 77;
}
