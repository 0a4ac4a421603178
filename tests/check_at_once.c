/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_at_once.c - requests to swap that are under way at once: does each move its own pages, whatever becomes of
 * the others, of the process, and of the host's ability?
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "host.h"
#include "store.h"
#include "support_direct.h"
#include "support_directory.h"
#include "support_filter.h"
#include "support_fork.h"

#define MANY STORE_MANY
#define DIRECT "memory=4M,direct,policy=clock"
#define FRAMES 1024

static struct swap *swap_at(uint64_t slots)
{
	const struct swap_config config = { .direct = true, .path = directory, .bytes = slots * PAGE, .page_shift = 12 };
	struct swap *swap = NULL;
	const char *used;
	return swap_create(&swap, &config, &used) == 0 ? swap : NULL;
}

/* @count slots, every second one of what is free: no two lie side by side. */
static void take_apart(struct swap *swap, uint32_t *slots, unsigned count)
{
	uint32_t between;
	for (unsigned i = 0; i < count; i++) {
		slots[i] = swap_allocate(swap, SWAP_NONE);
		between = swap_allocate(swap, SWAP_NONE);
		must(slots[i] != SWAP_NONE && between != SWAP_NONE);
	}
}

static void free_all(struct swap *swap)
{
	for (uint32_t slot = 0; swap_used(swap) > 0; slot++)
		swap_free(swap, slot);
}

/* Return: how many were under way at once. */
static unsigned move_all(struct swap *swap, enum store_operation operation, const uint32_t *slots, unsigned count,
                         char *pages)
{
	struct store_request requests[MANY];
	for (unsigned i = 0; i < count; i++)
		requests[i] = swap_request(swap, operation, slots[i], 1, pages + i * PAGE);
	unsigned at_once = swap_transfer_all(swap, requests, count);
	for (unsigned i = 0; i < count; i++)
		must(requests[i].result == 0);
	return at_once;
}

/* ---- What is moved ------------------------------------------------------------------------- */

START_TEST(requests_at_once_move_each_its_own_pages)
{
	static _Alignas(PAGE) char written[MANY * PAGE], found[MANY * PAGE];
	struct swap *swap = swap_at(0);
	uint32_t slots[MANY], backwards[MANY];
	ck_assert(swap_gains_by_many(swap));
	take_apart(swap, slots, MANY);
	for (unsigned i = 0; i < MANY; i++)
		backwards[i] = slots[MANY - 1 - i];
	for (unsigned count = 1; count <= MANY; count++) {
		random_bytes(written, sizeof(written), count);
		memset(found, 0, sizeof(found));
		ck_assert_uint_eq(move_all(swap, STORE_WRITE, slots, count, written), count > 1 ? count : 0);
		ck_assert_uint_eq(move_all(swap, STORE_READ, backwards + MANY - count, count, found), count > 1 ? count : 0);
		for (unsigned i = 0; i < count; i++)
			ck_assert_mem_eq(found + i * PAGE, written + (count - 1 - i) * PAGE, PAGE);
	}
	free_all(swap);
	swap_destroy(swap);
}
END_TEST

START_TEST(one_that_fails_leaves_the_others_alone)
{
	static _Alignas(PAGE) char written[MANY * PAGE], found[(MANY + 1) * PAGE];
	struct swap *swap = swap_at(0);
	struct store_request requests[MANY];
	uint32_t slots[MANY];
	take_apart(swap, slots, MANY);
	random_bytes(written, sizeof(written), 1);
	for (unsigned i = 0; i < MANY; i++) /* what is in no multiple of a sector cannot be written */
		requests[i] = swap_request(swap, STORE_WRITE, slots[i], 1, written + i * PAGE + (i == 5 ? 1 : 0));
	ck_assert_uint_gt(swap_transfer_all(swap, requests, MANY - 1), 1);
	for (unsigned i = 0; i < MANY - 1; i++)
		ck_assert_int_eq(requests[i].result, i == 5 ? -EINVAL : 0);
	for (unsigned i = 0; i < MANY; i++) /* the last was never written: it is past the end */
		requests[i] = swap_request(swap, STORE_READ, slots[i], 1, found + i * PAGE);
	swap_transfer_all(swap, requests, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert_int_eq(requests[i].result, i == MANY - 1 ? -EIO : 0);
		if (i != 5 && i != MANY - 1)
			ck_assert_mem_eq(found + i * PAGE, written + i * PAGE, PAGE);
	}
	free_all(swap);
	swap_destroy(swap);
}
END_TEST

/* In a child of its own: the limit is the process's. */
static void write_past_the_limit(void)
{
	static _Alignas(PAGE) char written[MANY * PAGE], found[MANY * PAGE];
	struct rlimit limit;
	sigset_t blocked;
	uint32_t slots[MANY];
	struct swap *swap = swap_at(0);
	child_must(swap != NULL && getrlimit(RLIMIT_FSIZE, &limit) == 0);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGXFSZ);
	sigprocmask(SIG_BLOCK, &blocked, NULL); /* as in a page fault */
	take_apart(swap, slots, MANY);
	random_bytes(written, sizeof(written), 1);
	for (int known = 0; known < 2; known++) { /* a limit that nobody told us of, and one that was seen */
		limit.rlim_cur = 4 * PAGE;
		child_must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
		move_all(swap, STORE_WRITE, slots, MANY, written);
		child_must(sigpending(&blocked) == 0 && !sigismember(&blocked, SIGXFSZ));
		move_all(swap, STORE_READ, slots, MANY, found);
		child_must(memcmp(written, found, sizeof(found)) == 0);
	}
}

START_TEST(the_limit_of_files_is_no_limit_of_ours)
{
	char said[500];
	struct rlimit limit;
	getrlimit(RLIMIT_FSIZE, &limit);
	if (limit.rlim_max == RLIM_INFINITY)
		ck_assert_msg(in_child(write_past_the_limit, said, sizeof(said)) == 0, "%s", said);
}
END_TEST

/* ---- Beside each other ------------------------------------------------------------------------ */

#define THREADS 20 /* more than there are rings */
static struct swap *common;
static _Atomic bool stop;

static void *move_again_and_again(void *argument)
{
	uint64_t seed = (uint64_t)(uintptr_t)argument;
	uint32_t slots[MANY];
	char *written = aligned_alloc(PAGE, MANY * PAGE), *found = aligned_alloc(PAGE, MANY * PAGE);
	take_apart(common, slots, MANY);
	for (unsigned round = 0; round < 30 || atomic_load(&stop); round++) {
		unsigned count = 1 + (unsigned)(random_number(&seed) % MANY);
		random_bytes(written, count * PAGE, seed);
		move_all(common, STORE_WRITE, slots, count, written);
		move_all(common, STORE_READ, slots, count, found);
		must(memcmp(written, found, count * PAGE) == 0);
	}
	free(written);
	free(found);
	return NULL;
}

static void on_alarm(int number)
{
	(void)number;
}

/* The signals interrupt calls that wait: where it matters they are blocked, but nothing depends on it. */
START_TEST(threads_get_what_is_theirs_whatever_interrupts_them)
{
	const struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { { 0, 0 }, { 0, 0 } };
	pthread_t threads[THREADS];
	const struct sigaction action = { .sa_handler = on_alarm };
	sigaction(SIGALRM, &action, NULL);
	common = swap_at(0);
	setitimer(ITIMER_REAL, &often, NULL);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, move_again_and_again, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	setitimer(ITIMER_REAL, &never, NULL);
	free_all(common);
	swap_destroy(common);
}
END_TEST

/* Mappings of rings in this process. */
static unsigned rings_mapped(void)
{
	char line[512];
	unsigned count = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL)
		count += strstr(line, "[aio]") != NULL;
	if (maps != NULL)
		fclose(maps);
	return count;
}

/* A child of a fork, made at any moment of what its parent's threads do, has its own memory and its own rings. */
START_TEST(a_child_has_rings_of_its_own)
{
	struct machine m = machine_make(DIRECT ",reclaimers=0");
	volatile char *memory = machine_map(m, 2 * FRAMES, RW);
	pthread_t threads[THREADS];
	common = swap_at(0);
	for (size_t i = 0; i < 2 * FRAMES; i++)
		memory[i * PAGE] = (char)(i % 100);
	atomic_store(&stop, true);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, move_again_and_again, (void *)(i + 1)), 0);
	for (int round = 0; round < 8; round++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			child_must(rings_mapped() == 0);
			uint64_t before = machine_stats(m).store_at_once, random = (uint64_t)round;
			for (size_t i = 0; i < 4 * FRAMES; i++) {
				size_t page = random_number(&random) % (2 * FRAMES);
				child_must(memory[page * PAGE] == (char)(page % 100));
				memory[page * PAGE + 1]++;
			}
			child_must(machine_stats(m).store_at_once > before && rings_mapped() >= 1);
			child_must(upage_pool_verify(m.pool) == 0);
			_exit(0);
		}
		must_end_well(child);
	}
	atomic_store(&stop, false);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_gt(rings_mapped(), 1);
	free_all(common);
	swap_destroy(common);
	machine_end(m);
}
END_TEST

/* As some runtimes do it: nobody hears of such a fork. */
START_TEST(a_child_that_nobody_was_told_of_has_them_too)
{
	static _Alignas(PAGE) char written[MANY * PAGE], found[MANY * PAGE];
	struct swap *swap = swap_at(0);
	uint32_t slots[MANY];
	take_apart(swap, slots, MANY);
	random_bytes(written, sizeof(written), 1);
	ck_assert_uint_eq(move_all(swap, STORE_WRITE, slots, MANY, written), MANY);
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		child_must(rings_mapped() == 0);
		child_must(move_all(swap, STORE_READ, slots, MANY, found) == MANY);
		child_must(memcmp(written, found, sizeof(found)) == 0);
		_exit(0);
	}
	must_end_well(child);
	free_all(swap);
	swap_destroy(swap);
}
END_TEST

/* ---- Where the host cannot ---------------------------------------------------------------------- */

static const struct {
	unsigned number, error;
	bool at_first; /* when swap is made; else later */
} refusals[] = { { SYS_io_setup, ENOSYS, true }, { SYS_io_setup, EAGAIN, true }, { SYS_io_submit, EAGAIN, false },
	         { SYS_io_submit, ENOSYS, false }, { SYS_io_getevents, EFAULT, false } };
static unsigned refusal;

static void move_where_it_is_refused(void)
{
	static _Alignas(PAGE) char written[MANY * PAGE], found[MANY * PAGE];
	uint32_t slots[MANY];
	if (refusals[refusal].at_first && refuse_call(refusals[refusal].number, refusals[refusal].error) != 0)
		_exit(0); /* where there are no filters */
	struct swap *swap = swap_at(0);
	child_must(swap != NULL && swap_gains_by_many(swap) == !refusals[refusal].at_first);
	if (!refusals[refusal].at_first && refuse_call(refusals[refusal].number, refusals[refusal].error) != 0)
		_exit(0);
	take_apart(swap, slots, MANY);
	for (uint64_t round = 1; round < 20; round++) {
		random_bytes(written, sizeof(written), round);
		unsigned at_once = move_all(swap, STORE_WRITE, slots, MANY, written);
		child_must(refusals[refusal].number == SYS_io_getevents || at_once == 0);
		move_all(swap, STORE_READ, slots, MANY, found);
		child_must(memcmp(written, found, sizeof(found)) == 0);
	}
	free_all(swap);
	swap_destroy(swap);
}

START_TEST(what_the_host_refuses_is_done_one_after_another)
{
	char said[500];
	refusal = (unsigned)_i;
	ck_assert_msg(in_child(move_where_it_is_refused, said, sizeof(said)) == 0, "%s", said);
}
END_TEST

/* ---- Pages ------------------------------------------------------------------------------------------ */

static void write_at_random(volatile char *memory, uint8_t *shadow, size_t pages, size_t accesses, uint64_t seed)
{
	for (size_t i = 0; i < accesses; i++) {
		size_t page = random_number(&seed) % pages;
		must(memory[page * PAGE] == (char)shadow[page]);
		must(memory[page * PAGE + PAGE - 1] == (char)shadow[page]);
		shadow[page] = (uint8_t)(i % 250 + 1);
		memory[page * PAGE] = memory[page * PAGE + PAGE - 1] = (char)shadow[page];
	}
}

START_TEST(pages_at_random_leave_together)
{
	enum { PAGES_HERE = 2 * FRAMES };
	static uint8_t shadow[PAGES_HERE];
	struct machine m = machine_make(DIRECT);
	volatile char *memory = machine_map(m, PAGES_HERE, RW);
	write_at_random(memory, shadow, PAGES_HERE, 8 * FRAMES, 1);
	ck_assert_ok(upage_pool_verify(m.pool));
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_gt(stats.writebacks, FRAMES);
	ck_assert_uint_gt(stats.store_at_once, stats.writebacks / 2);
	ck_assert_uint_eq(stats.writeback_failures, 0);
	machine_end(m);
}
END_TEST

/* The kernel may be using them: it finds them, whenever it looks. */
START_TEST(pinned_pages_do_not_leave_with_others)
{
	enum { PAGES_HERE = 2 * FRAMES, EACH = 16 };
	static uint8_t shadow[PAGES_HERE];
	char byte;
	int pipes[2];
	struct machine m = machine_make(DIRECT);
	char *memory = machine_map(m, PAGES_HERE, RW);
	ck_assert_int_eq(pipe(pipes), 0);
	for (uint64_t round = 0; round < 32; round++) {
		for (size_t page = round % EACH; page < PAGES_HERE; page += EACH)
			ck_assert_ok(upage_pin(m.space, memory + page * PAGE, PAGE, PROT_READ));
		ck_assert_ok(upage_pool_verify(m.pool));
		write_at_random(memory, shadow, PAGES_HERE, FRAMES / 2, round);
		ck_assert_ok(upage_pool_verify(m.pool));
		for (size_t page = round % EACH; page < PAGES_HERE; page += EACH) {
			ck_assert_int_eq(write(pipes[1], memory + page * PAGE, 1), 1);
			ck_assert_int_eq(read(pipes[0], &byte, 1), 1);
			ck_assert_int_eq(byte, (char)shadow[page]);
			ck_assert_ok(upage_unpin(m.space, memory + page * PAGE, PAGE));
		}
	}
	ck_assert_uint_gt(machine_stats(m).store_at_once, FRAMES);
	close(pipes[0]);
	close(pipes[1]);
	machine_end(m);
}
END_TEST

START_TEST(a_small_memory_gives_up_one_page_at_a_time)
{
	static uint8_t shadow[64];
	struct machine m = machine_make("memory=64K,direct");
	volatile char *memory = machine_map(m, 64, RW);
	write_at_random(memory, shadow, 64, 2000, 1);
	ck_assert_uint_eq(machine_stats(m).store_at_once, 0);
	machine_end(m);
}
END_TEST

START_TEST(with_swap_full_pages_still_find_their_place)
{
	enum { PAGES_HERE = FRAMES + 256 };
	static uint8_t shadow[PAGES_HERE];
	struct machine m = machine_make(DIRECT ",swap-size=1028K"); /* one slot more than pages without a frame */
	volatile char *memory = machine_map(m, PAGES_HERE, RW);
	write_at_random(memory, shadow, PAGES_HERE, 8 * FRAMES, 1);
	ck_assert_uint_gt(machine_stats(m).major, FRAMES / 2);
	machine_end(m);
}
END_TEST

/* What was written to at random lies at random in frames and slots: references in order bring it back by few faults,
 * with many requests at once, and put it in order. */
START_TEST(pages_that_lie_apart_are_read_ahead_together)
{
	enum { PAGES_HERE = 2 * FRAMES };
	static uint8_t shadow[PAGES_HERE];
	struct machine m = machine_make(DIRECT ",prefetch=auto,mapping=remap");
	volatile char *memory = machine_map(m, PAGES_HERE, RW);
	write_at_random(memory, shadow, PAGES_HERE, 16 * FRAMES, 1);
	struct upage_stats before = machine_stats(m), after;
	uint64_t mappings = before.host_mappings;
	for (int round = 0; round < 3; round++) {
		before = machine_stats(m);
		for (size_t i = 0; i < PAGES_HERE; i++)
			must(memory[i * PAGE] == (char)shadow[i] && memory[i * PAGE + PAGE - 1] == (char)shadow[i]);
		after = machine_stats(m);
		ck_assert_ok(upage_pool_verify(m.pool));
		if (round == 0)
			ck_assert_uint_gt(after.store_at_once, before.store_at_once + PAGES_HERE / 8);
	}
	ck_assert_uint_gt(after.major + after.prefetched - before.major - before.prefetched, PAGES_HERE * 3 / 4);
	ck_assert_uint_lt(after.major - before.major, PAGES_HERE / 8);
	ck_assert_uint_lt(after.host_mappings, mappings / 2);
	machine_end(m);
}
END_TEST

/* In order again and again, and each second page is written to: what comes and what leaves are two requests, one beside
 * the other, and of what leaves the clean pages are written too. */
START_TEST(in_order_reads_are_under_way_beside_writes)
{
	enum { PAGES_HERE = 4 * FRAMES, ROUNDS = 4 };
	static uint8_t shadow[PAGES_HERE];
	struct machine m = machine_make("memory=8M,direct,policy=clock,prefetch=auto,mapping=remap,reclaimers=0");
	volatile char *memory = machine_map(m, PAGES_HERE, RW);
	for (size_t i = 0; i < PAGES_HERE; i++)
		memory[i * PAGE] = (char)(shadow[i] = (uint8_t)(i % 250 + 1));
	struct upage_stats before = machine_stats(m);
	for (size_t i = 0; i < ROUNDS * PAGES_HERE; i++) {
		size_t page = i % PAGES_HERE;
		must(memory[page * PAGE] == (char)shadow[page]);
		if (page % 2 == 1)
			memory[page * PAGE] = (char)++shadow[page];
	}
	struct upage_stats after = machine_stats(m);
	uint64_t written = after.writebacks - before.writebacks, batches = ROUNDS * PAGES_HERE / 32;
	ck_assert_uint_gt(written, ROUNDS * PAGES_HERE / 2 * 3 / 2);
	ck_assert_uint_gt(after.store_at_once - before.store_at_once, batches);
	ck_assert_uint_lt(after.store_at_once - before.store_at_once, 6 * batches);
	ck_assert_ok(upage_pool_verify(m.pool));
	machine_end(m);
}
END_TEST

/* The descriptor of the swap file: of the files without a name the one that the program would not get. */
static int swap_descriptor(void)
{
	char path[40], name[PATH_MAX];
	for (int descriptor = 5000; descriptor > 2; descriptor--) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
		ssize_t length = readlink(path, name, sizeof(name) - 1);
		name[length > 0 ? length : 0] = '\0';
		if (name[0] == '/' && strncmp(name, "/memfd:", 7) != 0 && strstr(name, "(deleted)") != NULL)
			return descriptor;
	}
	return -1;
}

/* From now on nothing can be written to a descriptor. */
static int refuse_writes(int descriptor)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_submit, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwrite64, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)descriptor, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	return filter_install(filter, LENGTH(filter));
}

/* Clean pages, between dirty ones, that were written to their slots once more, in vain: the slots may have anything now,
 * so the pages cannot leave without being written. */
static void fail_to_write_a_gap(void)
{
	enum { PAGES_HERE = 16 };
	struct machine m = machine_make(DIRECT ",mapping=remap,prefetch=off,reclaimers=0");
	volatile char *memory = machine_map(m, PAGES_HERE, RW);
	for (size_t i = 0; i < PAGES_HERE; i++)
		memory[i * PAGE] = (char)(i + 1);
	for (int again = 0; again < 2; again++) {
		child_must(upage_advise(m.space, (void *)memory, PAGES_HERE * PAGE, UPAGE_PAGEOUT) == 0);
		for (size_t i = 0; i < PAGES_HERE; i++)
			child_must(memory[i * PAGE] == (char)(i + 1));
	}
	/* Clean ones leave as they are. */
	uint64_t written = machine_stats(m).writebacks;
	child_must(upage_advise(m.space, (void *)(memory + PAGE), PAGE, UPAGE_PAGEOUT) == 0);
	child_must(machine_stats(m).writebacks == written && memory[PAGE] == 2);
	for (size_t i = 0; i < PAGES_HERE; i += 2)
		memory[i * PAGE + 1] = 1;
	int descriptor = swap_descriptor();
	child_must(descriptor >= 0);
	if (refuse_writes(descriptor) != 0)
		_exit(0); /* where there are no filters */
	child_must(upage_advise(m.space, (void *)memory, PAGES_HERE * PAGE, UPAGE_PAGEOUT) == -EIO);
	for (size_t i = 1; i < PAGES_HERE - 1; i += 2)
		child_must(upage_advise(m.space, (void *)(memory + i * PAGE), PAGE, UPAGE_PAGEOUT) == -EIO);
	for (size_t i = 0; i < PAGES_HERE; i++)
		child_must(memory[i * PAGE] == (char)(i + 1));
	child_must(upage_pool_verify(m.pool) == 0);
}

START_TEST(a_copy_that_may_be_spoilt_is_none)
{
	char said[500];
	ck_assert_msg(in_child(fail_to_write_a_gap, said, sizeof(said)) == 0, "%s", said);
}
END_TEST

/* In order, over twice as many pages as there are frames. */
static void go_over(volatile char *memory, unsigned rounds, bool write)
{
	for (unsigned round = 0; round < rounds; round++)
		for (size_t i = 0; i < 2 * FRAMES; i++) {
			must(memory[i * PAGE] != 0);
			if (write)
				memory[i * PAGE + 1]++;
		}
}

/* Nothing can be compared there: some tell what is to be expected of the others. */
START_TEST(pages_that_come_in_order_are_expected_to_be_written_to_while_some_are)
{
	struct machine m = machine_make(DIRECT ",mapping=remap,prefetch=auto,reclaimers=0");
	volatile char *memory = machine_map(m, 2 * FRAMES, RW);
	for (size_t i = 0; i < 2 * FRAMES; i++)
		memory[i * PAGE] = 1;
	go_over(memory, 3, true);
	struct upage_stats before = machine_stats(m);
	go_over(memory, 3, true);
	struct upage_stats after = machine_stats(m);
	ck_assert_uint_lt(after.write_upgrade - before.write_upgrade, 3 * 2 * FRAMES / 3);
	go_over(memory, 3, false);
	before = machine_stats(m);
	go_over(memory, 3, false);
	after = machine_stats(m);
	ck_assert_uint_gt(after.evictions - before.evictions, 3 * FRAMES);
	ck_assert_uint_lt(after.writebacks - before.writebacks, FRAMES / 8);
	machine_end(m);
}
END_TEST

/* ---- What is there to be asked -------------------------------------------------------------------------- */

static Suite *at_once_suite(void)
{
	Suite *suite = suite_create("at once");
	TCase *moves = tcase_with_directory(suite, "moves");
	tcase_set_timeout(moves, 60);
	tcase_add_test(moves, requests_at_once_move_each_its_own_pages);
	tcase_add_test(moves, one_that_fails_leaves_the_others_alone);
	tcase_add_test(moves, the_limit_of_files_is_no_limit_of_ours);
	tcase_add_test(moves, threads_get_what_is_theirs_whatever_interrupts_them);
	tcase_add_test(moves, a_child_has_rings_of_its_own);
	tcase_add_test(moves, a_child_that_nobody_was_told_of_has_them_too);
	tcase_add_loop_test(moves, what_the_host_refuses_is_done_one_after_another, 0, LENGTH(refusals));

	TCase *pages = tcase_create("pages");
	suite_add_tcase(suite, pages);
	tcase_set_timeout(pages, 60);
	tcase_add_test(pages, pages_at_random_leave_together);
	tcase_add_test(pages, pinned_pages_do_not_leave_with_others);
	tcase_add_test(pages, a_small_memory_gives_up_one_page_at_a_time);
	tcase_add_test(pages, with_swap_full_pages_still_find_their_place);
	tcase_add_test(pages, pages_that_lie_apart_are_read_ahead_together);
	tcase_add_test(pages, in_order_reads_are_under_way_beside_writes);
	tcase_add_test(pages, pages_that_come_in_order_are_expected_to_be_written_to_while_some_are);
	tcase_add_test(pages, a_copy_that_may_be_spoilt_is_none);
	return suite;
}

int main(void)
{
	return has_direct_store() ? run_suite(at_once_suite()) : 77;
}
