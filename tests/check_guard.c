/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_guard.c - guard-metadata: is metadata out of reach of all but us, whenever the program runs?
 *
 * Whether the arena is open is asked of the kernel, which says EFAULT where it may not read. Each test
 * is a process of its own (CK_FORK): whether there is a guard is decided with its first pool.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/time.h>

#include "guard.h"
#include "space.h"
#include "support_fork.h"

#define GUARDED MEMORY ",guard-metadata"

static int probe[2]; /* a pipe */
static volatile char *volatile target;

/* Async-signal-safe. */
static bool is_closed_at(const volatile void *address)
{
	char byte;
	bool closed = write(probe[1], (const void *)address, 1) < 0;
	if (!closed && read(probe[0], &byte, 1) != 1)
		_exit(3);
	return closed;
}

static bool is_closed(void)
{
	return is_closed_at(target);
}

static volatile char *frame_table(struct machine m)
{
	return (volatile char *)m.pool->frames.frame;
}

static struct machine guarded_machine(const char *words)
{
	struct machine m = machine_make(words);
	ck_assert_int_eq(pipe(probe), 0);
	target = frame_table(m);
	return m;
}

static volatile char *page_table(struct machine m, const char *page)
{
	guard_open();
	pte_t *pte = page_table_walk(&m.space->table, space_vpn(m.space, (uintptr_t)page));
	guard_close();
	return (volatile char *)pte;
}

/* ---- An attempt --------------------------------------------------------------------------- */

static sigjmp_buf back;
static volatile sig_atomic_t caught;
static siginfo_t seen;
static volatile char sink;

static void on_segv(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	seen = *info;
	caught++;
	siglongjmp(back, 1);
}

/* Before the first pool: these tests are linked with the insides, and sigaction is the C library's. */
static void catch_segv(void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
}

/* The program's own SIGSEGV at @at, and what upage says of it. */
static void must_be_refused(volatile char *at, bool write, const char *said)
{
	int pipes[2], standard_error = dup(2);
	char text[1000], line[1000];
	caught = 0;
	ck_assert_int_eq(pipe(pipes), 0);
	dup2(pipes[1], 2);
	if (sigsetjmp(back, 1) == 0) {
		if (write)
			*at = 1;
		else
			sink = *at;
		ck_abort_msg("%p was in reach", (void *)(uintptr_t)at);
	}
	dup2(standard_error, 2);
	close(standard_error);
	close(pipes[1]);
	drain(pipes[0], text, sizeof(text));
	close(pipes[0]);
	ck_assert_int_eq(caught, 1);
	ck_assert_ptr_eq(seen.si_addr, (void *)(uintptr_t)at);
	ck_assert_int_eq(seen.si_code, SEGV_ACCERR);
	snprintf(line, sizeof(line), "upage: %s (metadata of upage) at %#lx by the instruction at ", said,
	         (unsigned long)at);
	ck_assert_msg(strncmp(text, line, strlen(line)) == 0, "said %s, not %s", text, line);
	ck_assert_ptr_nonnull(strstr(text, ", refused\n"));
	ck_assert_ptr_eq(strchr(text, '\n') + 1, strchr(text, '\0'));
}

START_TEST(tables_can_neither_be_read_nor_written)
{
	catch_segv(on_segv);
	struct machine m = guarded_machine(GUARDED);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	volatile char *pte = page_table(m, memory + (PAGES - 1) * PAGE);
	volatile char *last = (volatile char *)(m.pool->frames.frame + m.pool->frames.frames) - 1;
	volatile char *mappings = (volatile char *)m.space->mappings.mapping;
	volatile char *policy = m.pool->replace.state;
	must_be_refused(pte, false, "read of the page table");
	must_be_refused(pte, true, "write to the page table");
	must_be_refused(frame_table(m) + 5, false, "read of the frame table");
	must_be_refused(last, true, "write to the frame table");
	must_be_refused(mappings, true, "write to the list of mappings");
	must_be_refused(policy, true, "write to the replacement policy's state");
	ck_assert_uint_eq(machine_stats(m).protection, 6);
	/* After all those jumps out of handlers all goes on, and nothing has changed. */
	ck_assert(holds(memory, PAGES, 1));
	ck_assert(is_closed());
	machine_end(m);
}
END_TEST

START_TEST(what_was_given_back_or_never_used_is_out_of_reach_too)
{
	catch_segv(on_segv);
	struct machine m = guarded_machine(GUARDED), other = machine_make(MEMORY);
	volatile char *table = frame_table(other);
	machine_end(other);
	must_be_refused(table, true, "write to the unused part of the guarded arena");
	must_be_refused(table + ((size_t)512 << 20), true, "write to the unused part of the guarded arena");
	machine_end(m);
}
END_TEST

static void die_by_a_wild_store(void)
{
	struct machine m = guarded_machine(GUARDED);
	machine_map(m, 4, RW)[0] = 1;
	*target = 1;
}

START_TEST(without_a_handler_it_is_death_with_one_line)
{
	char said[1000];
	int status = in_child(die_by_a_wild_store, said, sizeof(said));
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	ck_assert_int_eq(strncmp(said, "upage: write to the frame table (metadata of upage) at 0x", 57), 0);
	ck_assert_ptr_eq(strchr(said, '\n') + 1, strchr(said, '\0'));
}
END_TEST

static char *paged;

/* Its own references fault, are served, and are refused, as anywhere. */
static void on_segv_again(int number, siginfo_t *info, void *context)
{
	(void)number, (void)info, (void)context;
	if (caught++ == 0) {
		fill(paged, PAGES, 3);
		if (is_closed())
			*target = 1;
	}
	siglongjmp(back, 1);
}

START_TEST(a_handler_of_the_programs_cannot_reach_it_either)
{
	catch_segv(on_segv_again);
	struct machine m = guarded_machine(GUARDED);
	paged = machine_map(m, PAGES, RW);
	if (sigsetjmp(back, 1) == 0)
		*target = 1;
	ck_assert_int_eq(caught, 2);
	ck_assert(is_closed());
	ck_assert(holds(paged, PAGES, 3));
	machine_end(m);
}
END_TEST

/* ---- Closed whenever the program runs --------------------------------------------------- */

#define closed_after(call)                                                                    \
	do {                                                                                  \
		ck_assert_ok(call);                                                           \
		ck_assert_msg(is_closed(), "open after %s", #call);                           \
	} while (0)

static int translated(upage_space *space, const void *address)
{
	return upage_translate(space, address, PROT_READ, NULL) == UPAGE_CAUSE_NONE ? 0 : UPAGE_EIO;
}

START_TEST(it_is_closed_after_every_call)
{
	struct machine m = guarded_machine(GUARDED), other;
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct upage_stats stats = { .size = sizeof(stats) };
	unsigned char resident[PAGES];
	void *address = NULL;
	const size_t length = PAGES * PAGE;
	closed_after(upage_map(m.space, &address, length, RW, 0, NULL, 0));
	char *memory = address;
	fill(memory, PAGES, 1);
	ck_assert(is_closed());
	closed_after(upage_pin(m.space, memory, 4 * PAGE, RW));
	closed_after(translated(m.space, memory));
	closed_after(upage_unpin(m.space, memory, 4 * PAGE));
	ck_assert_int_eq(upage_pin(m.space, memory, length, RW), UPAGE_EPINS);
	ck_assert(is_closed());
	closed_after(upage_residency(m.space, memory, length, resident));
	for (int advice = UPAGE_NORMAL; advice <= UPAGE_PAGEOUT; advice++)
		if (advice != UPAGE_DONTNEED)
			closed_after(upage_advise(m.space, memory, length, (enum upage_advice)advice));
	closed_after(upage_sync(m.space, memory, length));
	closed_after(upage_protect(m.space, memory, PAGE, PROT_READ));
	closed_after(upage_stats_get(m.pool, &stats));
	closed_after(upage_pool_verify(m.pool));
	ck_assert(holds(memory, PAGES, 1));
	closed_after(upage_unmap(m.space, memory, length));
	closed_after(upage_pool_create(&other.pool, &config));
	closed_after(upage_space_create(&other.space, other.pool, NULL));
	closed_after(upage_space_destroy(other.space));
	closed_after(upage_pool_destroy(other.pool));
	machine_end(m);
}
END_TEST

static volatile sig_atomic_t ticks, open_ticks;

/* Wherever it interrupts, it finds it closed; and may leave for good. */
static void on_tick(int number)
{
	(void)number;
	ticks++;
	open_ticks += !is_closed();
	if (ticks % 3 == 0)
		siglongjmp(back, 1);
}

START_TEST(a_signal_finds_it_closed_and_may_jump_out)
{
	struct machine m = guarded_machine(GUARDED);
	char *memory = machine_map(m, PAGES, RW);
	const struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { { 0, 0 }, { 0, 0 } };
	unsigned char resident[PAGES];
	volatile uint64_t i = 0;
	signal(SIGALRM, on_tick);
	setitimer(ITIMER_REAL, &often, NULL);
	sigsetjmp(back, 1);
	while (ticks < 400) {
		char *page = memory + i++ * 7 % PAGES * PAGE;
		*(volatile char *)page = 1;
		upage_translate(m.space, page, PROT_READ, NULL);
		upage_residency(m.space, memory, PAGES * PAGE, resident);
		upage_advise(m.space, page, PAGE, UPAGE_PAGEOUT);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	ck_assert_int_eq(open_ticks, 0);
	ck_assert(is_closed());
	machine_end(m);
}
END_TEST

/* ---- Threads, forks ------------------------------------------------------------------------ */

#define THREADS 4

struct worker {
	pthread_t thread;
	char *memory;
	uint64_t seed;
	bool wrong;
};

static _Atomic bool stop;

static void *work(void *argument)
{
	struct worker *worker = argument;
	do {
		fill(worker->memory, PAGES / 4, ++worker->seed);
		worker->wrong = worker->wrong || !holds(worker->memory, PAGES / 4, worker->seed);
	} while (!atomic_load(&stop));
	return NULL;
}

static void work_begin(struct worker *worker, struct machine m)
{
	atomic_store(&stop, false);
	for (unsigned i = 0; i < THREADS; i++) {
		worker[i] = (struct worker){ .memory = machine_map(m, PAGES / 4, RW), .seed = i << 20 };
		ck_assert_int_eq(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
	}
}

static void work_end(struct worker *worker)
{
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(worker[i].thread, NULL);
		ck_assert(!worker[i].wrong);
	}
}

START_TEST(threads_open_and_close_it_together)
{
	struct worker worker[THREADS];
	struct machine m = guarded_machine(GUARDED);
	work_begin(worker, m);
	char *memory = machine_map(m, 16, RW);
	for (unsigned i = 0; i < 300; i++) {
		ck_assert_ok(upage_pin(m.space, memory, 8 * PAGE, RW));
		ck_assert_ok(upage_protect(m.space, memory + 8 * PAGE, PAGE, i % 2 ? RW : PROT_READ));
		ck_assert_ok(upage_unpin(m.space, memory, 8 * PAGE));
	}
	work_end(worker);
	ck_assert(is_closed());
	machine_end(m);
}
END_TEST

START_TEST(a_child_has_its_own_and_the_parent_keeps_its)
{
	struct machine m = guarded_machine(GUARDED);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	pid_t child = fork();
	if (child == 0) {
		child_must(is_closed());
		child_must(holds(memory, PAGES, 1));
		fill(memory, PAGES, 2);
		child_must(is_closed());
		child_must(upage_pool_verify(m.pool) == 0);
		_exit(0);
	}
	ck_assert(is_closed());
	must_end_well(child);
	ck_assert(holds(memory, PAGES, 1));
	machine_end(m);
}
END_TEST

/* The parent's other threads are in brackets, or about to open or close: the child has none of them. */
START_TEST(a_fork_beside_threads_in_faults_leaves_the_child_closed)
{
	struct worker worker[THREADS];
	struct machine m = guarded_machine(GUARDED);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	work_begin(worker, m);
	for (unsigned i = 0; i < 30; i++) {
		pid_t child = fork();
		if (child == 0) {
			child_must(is_closed());
			child_must(holds(memory, PAGES, 1));
			child_must(is_closed());
			_exit(0);
		}
		must_end_well(child);
	}
	work_end(worker);
	ck_assert(is_closed());
	machine_end(m);
}
END_TEST

/* ---- Whether there is one ------------------------------------------------------------------- */

START_TEST(without_the_option_nothing_is_guarded)
{
	struct machine m = guarded_machine(MEMORY);
	machine_map(m, 4, RW)[0] = 1;
	ck_assert(!guard_is_on);
	ck_assert(!is_closed());
	ck_assert_ptr_null(guard_name((uintptr_t)target));
	sink = *target;
	machine_end(m);
}
END_TEST

START_TEST(the_first_pool_decides)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	upage_pool *pool = NULL;
	struct machine m = guarded_machine(MEMORY);
	config.guard_metadata = 1;
	ck_assert_int_eq(upage_pool_create(&pool, &config), UPAGE_EBUSY);
	ck_assert_ptr_null(pool);
	ck_assert_ptr_nonnull(strstr(config.message, "guard-metadata"));
	ck_assert(!guard_is_on);
	machine_end(m);
}
END_TEST

START_TEST(what_the_first_pool_has_all_have)
{
	struct machine m = guarded_machine(GUARDED), other = machine_make(MEMORY);
	ck_assert(is_closed_at(frame_table(m)));
	ck_assert(is_closed_at(frame_table(other)));
	ck_assert_uint_eq(other.pool->config.guard_metadata, 0);
	machine_end(other);
	ck_assert(is_closed());
	machine_end(m);
}
END_TEST

START_TEST(where_addresses_are_few_it_takes_few_or_refuses)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct rlimit limit;
	upage_pool *pool = NULL;
	config.memory = MIB;
	config.swap_size = MIB;
	config.guard_metadata = 1;
	getrlimit(RLIMIT_AS, &limit);
	size_t now = process_size().address_space * PAGE;
	limit.rlim_cur = now + 900 * MIB;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(upage_pool_create(&pool, &config), UPAGE_ENOMEM);
	ck_assert_uint_le(process_size().address_space * PAGE, now + MIB);
	limit.rlim_cur = now + 2048 * MIB;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	ck_assert_ok(upage_pool_create(&pool, &config));
	ck_assert(guard_is_on);
	ck_assert_ok(upage_pool_destroy(pool));
}
END_TEST

/* ---- Memory of the arena -------------------------------------------------------------------- */

#define PIECES 64

/* Pieces of all sizes, taken and given back in any order: zero, none on another, and none lost. */
START_TEST(memory_is_zero_apart_and_comes_back)
{
	struct machine m = guarded_machine(GUARDED ",store=file");
	struct { char *memory; size_t bytes; } piece[PIECES] = { { NULL, 0 } };
	uint64_t random = 5;
	uintptr_t low = UINTPTR_MAX, high = 0;
	guard_open();
	for (unsigned i = 0; i < 4000; i++) {
		unsigned k = (unsigned)(random_number(&random) % PIECES);
		if (piece[k].memory != NULL) {
			for (size_t at = 0; at < piece[k].bytes; at += PAGE)
				must(piece[k].memory[at] == (char)k);
			guard_metadata_release(piece[k].memory, piece[k].bytes);
			piece[k].memory = NULL;
			continue;
		}
		size_t bytes = 1 + (size_t)(random_number(&random) % (64 * PAGE));
		char *memory = guard_metadata(bytes, GUARDED_SLOTS);
		must(memory != NULL && ((uintptr_t)memory & (PAGE - 1)) == 0);
		for (size_t at = 0; at < bytes; at++)
			must(memory[at] == 0);
		memset(memory, (int)k, bytes);
		must(strcmp(guard_name((uintptr_t)memory + bytes - 1), "map of swap slots") == 0);
		piece[k].memory = memory;
		piece[k].bytes = bytes;
		low = (uintptr_t)memory < low ? (uintptr_t)memory : low;
		high = (uintptr_t)memory + bytes > high ? (uintptr_t)memory + bytes : high;
	}
	/* In 2,000 times half of 64 pages, no more than what was in use at once, and gaps. */
	ck_assert_uint_le(high - low, PIECES * 64 * PAGE + 64 * MIB);
	for (unsigned k = 0; k < PIECES; k++)
		if (piece[k].memory != NULL)
			guard_metadata_release(piece[k].memory, piece[k].bytes);
	char *whole = guard_metadata(high - low, GUARDED_SLOTS);
	ck_assert_ptr_nonnull(whole);
	ck_assert_uint_le((uintptr_t)whole, high);
	guard_metadata_release(whole, high - low);
	ck_assert_ptr_null(guard_metadata((size_t)1 << 62, GUARDED_SLOTS));
	guard_close();
	ck_assert(is_closed());
	machine_end(m);
}
END_TEST

START_TEST(pools_come_and_go_in_the_same_place)
{
	struct machine m = guarded_machine(GUARDED);
	uintptr_t highest = 0;
	for (unsigned i = 0; i < 100; i++) {
		struct machine other = machine_make(MEMORY);
		machine_map(other, PAGES, RW)[0] = 1;
		uintptr_t table = (uintptr_t)frame_table(other);
		ck_assert(i < 2 || table <= highest);
		highest = table > highest ? table : highest;
		machine_end(other);
	}
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guard");
	TCase *tests = tcase_create("guard");
	tcase_add_test(tests, tables_can_neither_be_read_nor_written);
	tcase_add_test(tests, what_was_given_back_or_never_used_is_out_of_reach_too);
	tcase_add_test(tests, without_a_handler_it_is_death_with_one_line);
	tcase_add_test(tests, a_handler_of_the_programs_cannot_reach_it_either);
	tcase_add_test(tests, it_is_closed_after_every_call);
	tcase_add_test(tests, a_signal_finds_it_closed_and_may_jump_out);
	tcase_add_test(tests, threads_open_and_close_it_together);
	tcase_add_test(tests, a_child_has_its_own_and_the_parent_keeps_its);
	tcase_add_test(tests, a_fork_beside_threads_in_faults_leaves_the_child_closed);
	tcase_add_test(tests, without_the_option_nothing_is_guarded);
	tcase_add_test(tests, the_first_pool_decides);
	tcase_add_test(tests, what_the_first_pool_has_all_have);
	tcase_add_test(tests, where_addresses_are_few_it_takes_few_or_refuses);
	tcase_add_test(tests, memory_is_zero_apart_and_comes_back);
	tcase_add_test(tests, pools_come_and_go_in_the_same_place);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
