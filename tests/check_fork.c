/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_fork.c - what a fork does to paged memory: the child gets a copy of all of it, and
 * neither sees what the other does then; where there can be no copy, the child has none, and
 * says so
 */
#include <signal.h>
#include <sys/resource.h>

#include "support_fork.h"

/* ---- The copy ---------------------------------------------------------------------------- */

static const char *const stores[] = { MEMORY, MEMORY ",direct",
#ifdef HAVE_LZ4
	                              MEMORY ",store=lz4"
#endif
};

START_TEST(a_child_has_all_and_neither_sees_the_others)
{
	if (!machine_can_be(stores[_i]))
		return;
	struct machine m = machine_make(stores[_i]);
	char *memory = machine_map(m, PAGES, RW), *zero = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	ck_assert(is_zero(zero, 8)); /* resident zeros, evicted ones, and pages never touched */
	ck_assert_uint_gt(machine_stats(m).swap_slots, PAGES / 2);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		child_must(upage_pool_verify(m.pool) == 0);
		child_must(holds(memory, PAGES, 1));
		child_must(is_zero(zero, PAGES));
		for (uint64_t round = 2; round < 6; round++) {
			fill(memory, PAGES, round * 77);
			child_must(holds(memory, PAGES, round * 77));
		}
		fill(zero, PAGES, 5);
		child_must(holds(zero, PAGES, 5));
		child_must(upage_pool_verify(m.pool) == 0);
		child_must(machine_stats(m).evictions > PAGES);
		child_must(upage_space_destroy(m.space) == 0);
		child_must(machine_stats(m).swap_slots == 0);
		child_must(upage_pool_destroy(m.pool) == 0);
		_exit(0);
	}
	for (uint64_t round = 2; round < 6; round++) {
		ck_assert(holds(memory, PAGES, round - 1));
		fill(memory, PAGES, round);
	}
	must_end_well(child);
	ck_assert(holds(memory, PAGES, 5));
	ck_assert(is_zero(zero, PAGES));
	machine_end(m);
}
END_TEST

START_TEST(all_pages_resident_are_copied_too)
{
	struct machine m = machine_make("memory=4M");
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 3);
	ck_assert_uint_eq(machine_stats(m).swap_slots, 0);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		child_must(holds(memory, PAGES, 3));
		fill(memory, PAGES, 4);
		child_must(upage_pool_verify(m.pool) == 0);
		_exit(0);
	}
	must_end_well(child);
	ck_assert(holds(memory, PAGES, 3));
	/* Nothing was hidden from a process without threads. */
	ck_assert_uint_eq(machine_stats(m).soft, 0);
	machine_end(m);
}
END_TEST

/* What was revoked stays so. */
START_TEST(what_was_shown_is_shown_again_in_both)
{
	struct machine m = machine_make("memory=4M");
	char *memory = machine_map(m, PAGES, RW);
	struct bystander bystander;
	fill(memory, PAGES, 3);
	ck_assert_ok(upage_protect(m.space, memory + 10 * PAGE, PAGE, PROT_NONE));
	ck_assert_ok(upage_protect(m.space, memory + 10 * PAGE, PAGE, RW));
	ck_assert_ok(upage_protect(m.space, memory + 14 * PAGE, PAGE, PROT_READ));
	if (_i == 1)
		bystander_begin(&bystander);
	struct upage_stats before = machine_stats(m);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		struct upage_stats now = machine_stats(m);
		child_must(upage_pool_verify(m.pool) == 0);
		child_must(now.host_mappings <= before.host_mappings);
		child_must(holds(memory, PAGES, 3));
		child_must(machine_stats(m).soft == 1); /* what may be read is still shown */
		child_must(upage_pool_verify(m.pool) == 0);
		_exit(0);
	}
	must_end_well(child);
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert(holds(memory, PAGES, 3));
	ck_assert_uint_eq(machine_stats(m).soft - before.soft, 1);
	if (_i == 1)
		bystander_end(&bystander);
	machine_end(m);
}
END_TEST

/* Long runs are shown again; single pages, of which there are many, are left to soft faults. */
START_TEST(of_many_pages_apart_none_is_shown_again)
{
	struct machine m = machine_make("memory=16M,mapping=remap,prefetch=off");
	const size_t apart = 1024;
	char *memory = machine_map(m, PAGES, RW), *scattered = machine_map(m, 2 * apart + 1, RW);
	fill(memory, PAGES, 3);
	for (size_t i = 0; i < apart; i++)
		fill(scattered + (2 * i + 1) * PAGE, 1, i);
	pid_t child = fork();
	if (child == 0) {
		child_must(upage_pool_verify(m.pool) == 0);
		child_must(machine_stats(m).host_mappings < 100);
		child_must(holds(memory, PAGES, 3));
		child_must(machine_stats(m).soft == 0);
		for (size_t i = 0; i < apart; i++)
			child_must(holds(scattered + (2 * i + 1) * PAGE, 1, i));
		child_must(machine_stats(m).soft == apart);
		_exit(0);
	}
	must_end_well(child);
	ck_assert_uint_eq(machine_stats(m).soft, 0);
	machine_end(m);
}
END_TEST

START_TEST(more_pools_and_spaces_than_one)
{
	struct machine m = machine_make(MEMORY), other = machine_make("memory=256K,page-size=16K");
	upage_space *second;
	ck_assert_ok(upage_space_create(&second, m.pool, NULL));
	struct machine n = { m.pool, second };
	char *a = machine_map(m, 50, RW), *b = machine_map(n, 50, RW), *c = machine_map(other, 50, RW);
	fill(a, 50, 1);
	fill(b, 50, 2);
	fill(c, 200, 3);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		child_must(holds(a, 50, 1) && holds(b, 50, 2) && holds(c, 200, 3));
		child_must(upage_pool_verify(m.pool) == 0 && upage_pool_verify(other.pool) == 0);
		fill(a, 50, 9);
		fill(b, 50, 9);
		fill(c, 200, 9);
		_exit(0);
	}
	must_end_well(child);
	ck_assert(holds(a, 50, 1) && holds(b, 50, 2) && holds(c, 200, 3));
	ck_assert_ok(upage_space_destroy(second));
	machine_end(m);
	machine_end(other);
}
END_TEST

/* Each generation checks what its parent had, writes its own, forks, and checks again. */
static void generation(struct machine m, char *memory, unsigned depth)
{
	child_must(holds(memory, PAGES, depth));
	if (depth == 3)
		return;
	fill(memory, PAGES, depth + 1);
	int status = 0;
	pid_t child = fork();
	if (child == 0) {
		generation(m, memory, depth + 1);
		_exit(0);
	}
	fill(memory, PAGES, 100 + depth);
	child_must(waitpid(child, &status, 0) == child && status == 0);
	child_must(holds(memory, PAGES, 100 + depth));
	child_must(upage_pool_verify(m.pool) == 0);
}

START_TEST(children_of_children)
{
	struct machine m = machine_make(MEMORY);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 0);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		generation(m, memory, 0);
		_exit(0);
	}
	must_end_well(child);
	ck_assert(holds(memory, PAGES, 0));
	machine_end(m);
}
END_TEST

START_TEST(protection_and_mappings_are_the_same)
{
	struct machine m = machine_make(MEMORY);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	ck_assert_ok(upage_protect(m.space, memory, PAGE, PROT_READ));
	pid_t child = fork();
	if (child == 0) {
		struct rlimit none = { 0 };
		setrlimit(RLIMIT_CORE, &none);
		void *more = NULL;
		child_must(upage_map(m.space, &more, 9 * PAGE, RW, 0, NULL, 0) == 0);
		child_must(upage_unmap(m.space, memory + PAGE, PAGE) == 0);
		child_must(upage_advise(m.space, memory + 2 * PAGE, PAGE, UPAGE_DONTNEED) == 0);
		child_must(is_zero(memory + 2 * PAGE, 1));
		child_must(upage_pool_verify(m.pool) == 0);
		*(volatile char *)memory = 1; /* forbidden */
		_exit(2);
	}
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
	ck_assert(holds(memory, PAGES, 1));
	machine_end(m);
}
END_TEST

START_TEST(a_pinned_page_is_pinned_and_shown_in_the_child)
{
	struct machine m = machine_make(MEMORY);
	char *memory = machine_map(m, PAGES, RW);
	int pipes[2];
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_ok(upage_pin(m.space, memory + 3 * PAGE, 2 * PAGE, RW));
	fill(memory, PAGES, 1);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		child_must(machine_stats(m).frames_pinned == 2);
		/* The kernel reaches it: it takes no page fault of ours. */
		child_must(write(pipes[1], memory, 1) == -1);
		child_must(write(pipes[1], memory + 4 * PAGE, 100) == 100);
		child_must(read(pipes[0], memory + 4 * PAGE - 50, 100) == 100);
		uint64_t first;
		memcpy(&first, memory + 4 * PAGE - 50, sizeof(first)); /* is now what page 4 begins with */
		child_must(first == 1 + 4 * 1000);
		child_must(upage_pool_verify(m.pool) == 0);
		child_must(upage_unpin(m.space, memory + 3 * PAGE, 2 * PAGE) == 0);
		fill(memory, PAGES, 2);
		child_must(holds(memory, PAGES, 2));
		_exit(0);
	}
	must_end_well(child);
	ck_assert(holds(memory, PAGES, 1));
	ck_assert_ok(upage_unpin(m.space, memory + 3 * PAGE, 2 * PAGE));
	close(pipes[0]);
	close(pipes[1]);
	machine_end(m);
}
END_TEST

START_TEST(what_is_shared_with_a_file_is_written_before)
{
	char name[] = "check_fork-XXXXXX", byte = 0;
	struct machine m = machine_make(MEMORY);
	int file = mkstemp(name);
	ck_assert_int_eq(ftruncate(file, 8 * PAGE), 0);
	upage_store *store;
	void *shared = NULL;
	ck_assert_ok(upage_store_open(&store, name, UPAGE_STORE_WRITABLE));
	ck_assert_ok(upage_map(m.space, &shared, 8 * PAGE, RW, UPAGE_MAP_SHARED, store, 0));
	unlink(name);
	memset(shared, 'p', 8 * PAGE);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		child_must(pread(file, &byte, 1, 5 * PAGE) == 1 && byte == 'p');
		memset(shared, 'c', PAGE);
		child_must(upage_sync(m.space, shared, PAGE) == 0);
		child_must(((volatile char *)shared)[7 * PAGE] == 'p');
		_exit(0);
	}
	must_end_well(child);
	ck_assert(pread(file, &byte, 1, 0) == 1 && byte == 'c');
	close(file);
	ck_assert_ok(upage_space_destroy(m.space));
	ck_assert_ok(upage_store_close(store));
	ck_assert_ok(upage_pool_destroy(m.pool));
}
END_TEST

/* ---- Where there can be no copy ----------------------------------------------------------- */

/* Frames could be copied, but swap cannot: its directory is gone. */
static struct machine lost;
static char *lost_memory;

static void make_without_copies(void)
{
	char directory[] = "check_fork-XXXXXX", words[128];
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(words, sizeof(words), MEMORY ",store=file:%s", directory);
	lost = machine_make(words);
	lost_memory = machine_map(lost, PAGES, RW);
	fill(lost_memory, PAGES, 1);
	ck_assert_int_eq(rmdir(directory), 0);
}

static void write_all(void)
{
	memset(lost_memory, 0xee, 64 * PAGE);
}

START_TEST(a_child_without_a_copy_cannot_harm_its_parents_memory)
{
	char said[1024];
	make_without_copies();
	int status = in_child(write_all, said, sizeof(said));
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGBUS);
	ck_assert_msg(strncmp(said, "upage: bus error: write to ", 27) == 0, "stderr: %s", said);
	ck_assert(holds(lost_memory, 64, 1));
	machine_end(lost);
}
END_TEST

static void call_all(void)
{
	void *address = NULL;
	child_must(upage_map(lost.space, &address, PAGE, RW, 0, NULL, 0) == UPAGE_ENOTSUP);
	child_must(upage_unmap(lost.space, lost_memory, PAGE) == UPAGE_ENOTSUP);
	child_must(upage_pin(lost.space, lost_memory, PAGE, RW) == UPAGE_ENOTSUP);
	child_must(upage_advise(lost.space, lost_memory, PAGE, UPAGE_DONTNEED) == UPAGE_ENOTSUP);
	child_must(upage_advise(lost.space, lost_memory, PAGE, UPAGE_PAGEOUT) == UPAGE_ENOTSUP);
}

START_TEST(its_calls_on_the_parents_space_are_refused)
{
	char said[1024];
	make_without_copies();
	int status = in_child(call_all, said, sizeof(said));
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", said);
	machine_end(lost);
}
END_TEST

/* Its own pool is its child's too; its parent's is nobody's. */
static void make_own(void)
{
	struct machine own = machine_make("memory=64K");
	char *mine = machine_map(own, 64, RW);
	int status = 0;
	fill(mine, 64, 2);
	child_must(holds(mine, 64, 2));
	pid_t child = fork();
	if (child == 0) {
		child_must(holds(mine, 64, 2));
		call_all();
		_exit(0);
	}
	child_must(waitpid(child, &status, 0) == child && status == 0);
	machine_end(own);
}

START_TEST(it_may_make_its_own)
{
	char said[1024];
	make_without_copies();
	int status = in_child(make_own, said, sizeof(said));
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", said);
	ck_assert(holds(lost_memory, 64, 1));
	machine_end(lost);
}
END_TEST

START_TEST(all_or_nothing_is_copied)
{
	make_without_copies();
	size_t descriptors = open_descriptors();
	for (int i = 0; i < 10; i++) {
		pid_t child = fork();
		if (child == 0) {
			call_all();
			_exit(0);
		}
		must_end_well(child);
	}
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert(holds(lost_memory, PAGES, 1));
	machine_end(lost);
}
END_TEST

/* ---- Descriptors and files ------------------------------------------------------------------ */

START_TEST(two_hundred_forks_leak_nothing)
{
	char directory[] = "check_fork-XXXXXX", words[128];
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(words, sizeof(words), MEMORY ",store=file:%s", directory);
	struct machine m = machine_make(words);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	size_t descriptors = open_descriptors(), maps = 0;
	for (int i = 0; i < 200; i++) {
		pid_t child = fork();
		if (child == 0) {
			child_must(open_descriptors() == descriptors);
			child_must(entries(directory) == 0);
			if (i % 2)
				kill(getpid(), SIGKILL);
			_exit(0);
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, i % 2 ? SIGKILL : 0);
		struct upage_stats stats = machine_stats(m);
		ck_assert(maps == 0 || stats.host_mappings == maps);
		maps = stats.host_mappings;
	}
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert_uint_eq(entries(directory), 0);
	ck_assert(holds(memory, PAGES, 1));
	machine_end(m);
	ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

START_TEST(a_child_that_never_evicts_makes_no_swap_file)
{
	struct machine m = machine_make(MEMORY ",store=file,mapping=remap,policy=clock");
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, 4, 1);
	size_t descriptors = open_descriptors();
	pid_t child = fork();
	if (child == 0) {
		child_must(holds(memory, 4, 1));
		child_must(open_descriptors() == descriptors - 1);
		fill(memory, PAGES, 2);
		child_must(open_descriptors() == descriptors + 1); /* and the pagemap */
		child_must(holds(memory, PAGES, 2));
		_exit(0);
	}
	must_end_well(child);
	machine_end(m);
}
END_TEST

START_TEST(system_and_exec_work)
{
	struct machine m = machine_make(MEMORY);
	char *memory = machine_map(m, 64, RW);
	fill(memory, 64, 1);
	ck_assert_int_eq(system("exit 3"), 3 << 8);
	ck_assert(holds(memory, 64, 1));
	machine_end(m);
}
END_TEST

START_TEST(descriptors_are_closed_on_exec)
{
	struct machine m = machine_make(MEMORY);
	char *memory = machine_map(m, 64, RW);
	fill(memory, 64, 1);
	/* The memfd and the unnamed swap file, which is called #INODE, are not the shell's. */
	ck_assert_int_eq(system("! ls -l /proc/$$/fd | grep -E 'memfd:upage|/#[0-9]+'"), 0);
	ck_assert_int_eq(system("ls -l /proc/$PPID/fd | grep -q -E 'memfd:upage'"), 0);
	pid_t child = fork();
	if (child == 0) {
		fill(memory, 64, 2);
		execl("/bin/sh", "sh", "-c", "! ls -l /proc/$$/fd | grep -E 'memfd:upage|/#[0-9]+'",
		      (char *)NULL);
		_exit(2);
	}
	must_end_well(child);
	machine_end(m);
}
END_TEST

/* ---- Statistics ------------------------------------------------------------------------------ */

START_TEST(a_childs_statistics_start_at_zero)
{
	struct machine m = machine_make(MEMORY);
	char *memory = machine_map(m, PAGES, RW);
	fill(memory, PAGES, 1);
	struct upage_stats before = machine_stats(m);
	pid_t child = fork();
	if (child == 0) {
		struct upage_stats stats = machine_stats(m);
		child_must(stats.faults == 0 && stats.evictions == 0 && stats.writebacks == 0);
		child_must(stats.swap_slots == before.swap_slots);
		child_must(stats.frames_free == before.frames_free);
		child_must(stats.frames_peak == before.frames - before.frames_free);
		(void)*(volatile char *)(memory + (PAGES - 1) * PAGE); /* resident, if not shown */
		stats = machine_stats(m);
		child_must(stats.faults == stats.soft && stats.soft <= 1);
		child_must(holds(memory, PAGES, 1));
		child_must(machine_stats(m).major >= PAGES - before.frames);
		_exit(0);
	}
	must_end_well(child);
	ck_assert_uint_eq(machine_stats(m).faults, before.faults);
	machine_end(m);
}
END_TEST

/* Each process a file of its own if the name says so; else only the first one writes. */
START_TEST(who_writes_statistics)
{
	static const char *const names[] = { "check_fork-stats", "check_fork-stats-%p" };
	char words[128], name[64];
	snprintf(words, sizeof(words), MEMORY ",stats-json=%s", names[_i]);
	unlink("check_fork-stats");
	pid_t parent = fork();
	if (parent == 0) {
		struct machine m = machine_make(words);
		char *memory = machine_map(m, PAGES, RW);
		fill(memory, PAGES, 1);
		pid_t child = fork();
		if (child == 0) {
			memory[0] = 1;
			exit(0);
		}
		int status;
		child_must(waitpid(child, &status, 0) == child && status == 0);
		snprintf(name, sizeof(name), "check_fork-stats-%d", child);
		child_must((unlink(name) == 0) == (_i == 1));
		child_must(access("check_fork-stats", F_OK) != 0);
		exit(0);
	}
	must_end_well(parent);
	snprintf(name, sizeof(name), "check_fork-stats-%d", parent);
	ck_assert_int_eq(unlink(_i == 1 ? name : "check_fork-stats"), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fork");
	TCase *tests = tcase_create("fork");
	tcase_add_loop_test(tests, a_child_has_all_and_neither_sees_the_others, 0, LENGTH(stores));
	tcase_add_test(tests, all_pages_resident_are_copied_too);
	tcase_add_loop_test(tests, what_was_shown_is_shown_again_in_both, 0, 2);
	tcase_add_test(tests, of_many_pages_apart_none_is_shown_again);
	tcase_add_test(tests, more_pools_and_spaces_than_one);
	tcase_add_test(tests, children_of_children);
	tcase_add_test(tests, protection_and_mappings_are_the_same);
	tcase_add_test(tests, a_pinned_page_is_pinned_and_shown_in_the_child);
	tcase_add_test(tests, what_is_shared_with_a_file_is_written_before);
	tcase_add_test(tests, a_child_without_a_copy_cannot_harm_its_parents_memory);
	tcase_add_test(tests, its_calls_on_the_parents_space_are_refused);
	tcase_add_test(tests, it_may_make_its_own);
	tcase_add_test(tests, all_or_nothing_is_copied);
	tcase_add_test(tests, two_hundred_forks_leak_nothing);
	tcase_add_test(tests, a_child_that_never_evicts_makes_no_swap_file);
	tcase_add_test(tests, system_and_exec_work);
	tcase_add_test(tests, descriptors_are_closed_on_exec);
	tcase_add_test(tests, a_childs_statistics_start_at_zero);
	tcase_add_loop_test(tests, who_writes_statistics, 0, 2);
	tcase_set_timeout(tests, 100);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
