/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_bus_error.c - faults that cannot be served: is it said why, is nothing lost, and can a
 * program go on?
 */
#include <fcntl.h>

#include "support_refusal.h"

struct ending {
	int status;
	char text[4096]; /* what it wrote on stderr */
};

static struct ending run(void (*body)(void))
{
	struct ending ending;
	ending.status = in_child(body, ending.text, sizeof(ending.text));
	return ending;
}

static void killed_by_bus_error(const struct ending *ending)
{
	ck_assert_msg(WIFSIGNALED(ending->status) && WTERMSIG(ending->status) == SIGBUS,
	              "status 0x%x, stderr '%s'", (unsigned)ending->status, ending->text);
}

/* One line, with these words in it. */
static void one_clear_line(const struct ending *ending, const char *words)
{
	static const char start[] = "upage: bus error";
	ck_assert_msg(strncmp(ending->text, start, sizeof(start) - 1) == 0, "'%s'", ending->text);
	const char *newline = strchr(ending->text, '\n');
	ck_assert_msg(newline != NULL && newline[1] == '\0', "'%s'", ending->text);
	ck_assert_msg(strstr(ending->text, words) != NULL, "'%s' lacks '%s'", ending->text, words);
}

/* Memory and swap together have room for 32 pages, and one is needed to move others about.
 * Twice as many are mapped, before they are full. */
#define HELD 31
static char *first, *second;

static void tiny_make(void)
{
	machine = machine_make("memory=64K,swap-size=64K,overcommit,store=file");
	first = machine_map(machine, HELD, RW);
	second = machine_map(machine, HELD, RW);
}

static char *volatile touching;

static void fill(char *pages, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		touching = pages + i * PAGE + 24;
		*(volatile uint64_t *)touching = i + 1;
	}
}

static void run_out_of_swap(void)
{
	tiny_make();
	fill(first, HELD);
	fill(second, HELD);
}

START_TEST(full_swap_ends_in_one_line_and_a_bus_error)
{
	struct ending ending = run(run_out_of_swap);
	killed_by_bus_error(&ending);
	one_clear_line(&ending, upage_strerror(UPAGE_ENOSPC));
}
END_TEST

static void run_out_with_signal_ignored(void)
{
	signal(SIGBUS, SIG_IGN);
	run_out_of_swap();
}

static void run_out_with_signal_blocked(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	sigprocmask(SIG_BLOCK, &set, NULL);
	run_out_of_swap();
}

/* As the kernel has it for its own: to go on would be to trap for ever. */
START_TEST(a_bus_error_is_neither_ignored_nor_blocked)
{
	struct ending ending =
	        run(_i == 0 ? run_out_with_signal_ignored : run_out_with_signal_blocked);
	killed_by_bus_error(&ending);
	one_clear_line(&ending, upage_strerror(UPAGE_ENOSPC));
}
END_TEST

static sigjmp_buf out;
static siginfo_t caught;
static volatile int catches;

static void catch_bus_error(int number, siginfo_t *info, void *context)
{
	(void)context;
	ck_assert_int_eq(number, SIGBUS);
	caught = *info;
	catches++;
	siglongjmp(out, 1);
}

/* From here on; the lines on stderr are no news then. */
static void handle_bus_errors(void)
{
	int nowhere = open("/dev/null", O_WRONLY);
	dup2(nowhere, 2);
	close(nowhere);
	struct sigaction action = { .sa_sigaction = catch_bus_error, .sa_flags = SA_SIGINFO };
	sigemptyset(&action.sa_mask);
	ck_assert_int_eq(sigaction(SIGBUS, &action, NULL), 0);
}

/* Fills until it fails. */
static void fill_all(void)
{
	handle_bus_errors();
	tiny_make();
	if (sigsetjmp(out, 1) == 0) {
		fill(first, HELD);
		fill(second, HELD);
	}
	ck_assert_int_eq(catches, 1);
}

START_TEST(the_handler_of_a_bus_error_is_told_the_address)
{
	fill_all();
	ck_assert_int_eq(caught.si_signo, SIGBUS);
	ck_assert_int_eq(caught.si_code, BUS_ADRERR);
	ck_assert_ptr_eq(caught.si_addr, touching);
	machine_end(machine);
}
END_TEST

START_TEST(the_largest_mapping_can_be_written_and_read)
{
	tiny_make();
	for (unsigned round = 0; round < 3; round++) {
		fill(first, HELD);
		for (size_t i = 0; i < HELD; i++)
			ck_assert_uint_eq(*(uint64_t *)(void *)(first + i * PAGE + 24), i + 1);
	}
	machine_end(machine);
}
END_TEST

START_TEST(a_bus_error_leaves_resident_memory_intact)
{
	unsigned char resident[HELD];
	fill_all();
	ck_assert_ok(upage_pool_verify(machine.pool));
	ck_assert_ok(upage_residency(machine.space, first, HELD * PAGE, resident));
	unsigned count = 0;
	for (size_t i = 0; i < HELD; i++) {
		if (!resident[i])
			continue;
		ck_assert_uint_eq(*(uint64_t *)(void *)(first + i * PAGE + 24), i + 1);
		count++;
	}
	ck_assert_uint_ge(count, 15);
	ck_assert_int_eq(catches, 1);
	machine_end(machine);
}
END_TEST

/* One page too many was asked for, and given up again: now all that was there is in reach. */
START_TEST(after_a_bus_error_and_some_room_all_data_is_there)
{
	fill_all();
	ck_assert_ok(upage_unmap(machine.space, second, HELD * PAGE));
	ck_assert_ok(upage_unmap(machine.space, first + (HELD - 1) * PAGE, PAGE));
	for (size_t i = 0; i + 1 < HELD; i++)
		ck_assert_uint_eq(*(uint64_t *)(void *)(first + i * PAGE + 24), i + 1);
	ck_assert_int_eq(catches, 1);
	machine_end(machine);
}
END_TEST

START_TEST(a_bus_error_is_counted_as_a_failed_fault)
{
	fill_all();
	ck_assert_uint_eq(machine_stats(machine).failed, 1);
	machine_end(machine);
}
END_TEST

START_TEST(the_same_page_may_fail_again_and_again)
{
	fill_all();
	for (volatile int i = 0; i < 100; i++)
		if (sigsetjmp(out, 1) == 0)
			fill(second, HELD);
	ck_assert_int_eq(catches, 101);
	ck_assert_ok(upage_pool_verify(machine.pool));
	machine_end(machine);
}
END_TEST

START_TEST(a_map_is_refused_while_memory_and_swap_are_full)
{
	void *address = NULL;
	fill_all();
	ck_assert_refused(upage_map(machine.space, &address, PAGE, RW, 0, NULL, 0), UPAGE_ENOMEM);
	ck_assert_ptr_null(address);
	ck_assert_ok(upage_unmap(machine.space, first, 4 * PAGE));
	ck_assert_ok(upage_map(machine.space, &address, PAGE, RW, 0, NULL, 0));
	machine_end(machine);
}
END_TEST

/* Ours of a file that has lost its name. */
static int descriptor_of(const char *name)
{
	char path[64], file[256];
	for (int descriptor = 0; descriptor < 1 << 16; descriptor++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
		ssize_t length = readlink(path, file, sizeof(file) - 1);
		file[length > 0 ? length : 0] = '\0';
		if (strstr(file, name) != NULL)
			return descriptor;
	}
	ck_abort_msg("no descriptor of %s", name);
	return -1;
}

/* Nothing of ours comes free: others make room on the disk. */
START_TEST(a_disk_that_was_full_is_written_to_as_soon_as_it_has_room)
{
	char name[40], words[128];
	snprintf(name, sizeof(name), "check_bus_error-%d", (int)getpid());
	snprintf(words, sizeof(words), "memory=64K,store=file:%s,mapping=remap,prefetch=off,reclaimers=0", name);
	struct machine m = machine_make(words);
	int swap = descriptor_of(name), disk = dup(swap), full = open("/dev/full", O_RDWR | O_CLOEXEC);
	char *memory = machine_map(m, 64, RW);
	void *more = NULL;
	ck_assert(disk >= 0 && full >= 0);
	fill(memory, 24);
	ck_assert_int_eq(dup2(full, swap), swap);
	size_t written = 24;
	while (written < 64 && !is_bus_error(memory + written * PAGE, true))
		written++;
	ck_assert_uint_le(written, 40);
	ck_assert_int_eq(upage_map(m.space, &more, PAGE, RW, 0, NULL, 0), UPAGE_ENOMEM);
	ck_assert(is_bus_error(memory + written * PAGE, true));
	ck_assert_int_eq(upage_map(m.space, &more, PAGE, RW, 0, NULL, 0), UPAGE_ENOMEM);
	ck_assert_ok(upage_pool_verify(m.pool));
	ck_assert_int_eq(dup2(disk, swap), swap);
	fill(memory + written * PAGE, 64 - written);
	for (size_t i = 0; i < 64; i++)
		if (i < 24 || i >= written)
			must(*(volatile uint64_t *)(void *)(memory + i * PAGE + 24) == 1 + (i < 24 ? i : i - written));
	machine_map(m, 1, RW);
	close(disk);
	close(full);
	machine_end(m);
}
END_TEST

START_TEST(a_pin_is_refused_while_memory_and_swap_are_full)
{
	fill_all();
	ck_assert_code(upage_pin(machine.space, second, 2 * PAGE, RW), UPAGE_ENOSPC);
	ck_assert_uint_eq(machine_stats(machine).frames_pinned, 0);
	ck_assert_ok(upage_pool_verify(machine.pool));
	machine_end(machine);
}
END_TEST

static uint64_t small_budget;

static void use_small_budget(void)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	config.memory = 1 << 20;
	config.mapping_budget = small_budget;
	int result = upage_pool_create(&machine.pool, &config);
	if (result == UPAGE_EOPTION)
		_exit(0);
	ck_assert_ok(result);
	ck_assert_ok(upage_space_create(&machine.space, machine.pool, NULL));
	first = machine_map(machine, 64, RW);
	for (size_t i = 0; i < 1000; i++)
		copy_over_borders(first + (1 + i * 7 % 63) * PAGE - 8,
		                  first + (1 + i * 31 % 63) * PAGE - 8);
}

/* It may be refused, and it may be used; it may not trap for ever. */
START_TEST(a_budget_of_mappings_too_small_does_not_hang)
{
	small_budget = (uint64_t)_i;
	struct ending ending = run(use_small_budget);
	ck_assert_int_eq(ending.status, 0);
}
END_TEST

/* A store that fails. */
static void read_from_a_bad_store(void)
{
	machine = machine_make("memory=64K");
	medium.read_result = -EIO;
	char *pages = map_store(medium_store(true), 4, RW, 0);
	(void)*(volatile char *)(pages + PAGE);
}

START_TEST(a_store_that_cannot_be_read_ends_in_one_line_and_a_bus_error)
{
	struct ending ending = run(read_from_a_bad_store);
	killed_by_bus_error(&ending);
	one_clear_line(&ending, upage_strerror(UPAGE_EIO));
}
END_TEST

START_TEST(a_page_that_could_not_be_read_is_read_once_the_store_can)
{
	handle_bus_errors();
	upage_store *store = medium_store(true);
	memset(medium.bytes, 'm', sizeof(medium.bytes));
	char *pages = map_store(store, 4, RW, 0);
	ck_assert_int_eq(pages[2 * PAGE], 'm');
	pages[2 * PAGE] = 'x';
	medium.read_result = -EIO;
	touching = pages + PAGE + 5;
	if (sigsetjmp(out, 1) == 0)
		(void)*(volatile char *)touching;
	ck_assert_int_eq(catches, 1);
	ck_assert_int_eq(caught.si_code, BUS_ADRERR);
	ck_assert_ptr_eq(caught.si_addr, touching);
	ck_assert_int_eq(pages[2 * PAGE], 'x');
	medium.read_result = 0;
	ck_assert_int_eq(*touching, 'm');
	ck_assert_ok(upage_unmap(machine.space, pages, 4 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

/* Shared pages that cannot be written back fill memory: nothing else can come in. */
static void write_to_a_bad_store(void)
{
	machine = machine_make("memory=64K");
	upage_store *store = medium_store(true);
	char *shared = map_store(store, MEDIUM, RW, UPAGE_MAP_SHARED);
	first = machine_map(machine, HELD, RW);
	ck_assert_ok(upage_pin(machine.space, first, 8 * PAGE, RW));
	medium.write_result = -EIO;
	for (size_t i = 0; i < MEDIUM; i++)
		shared[i * PAGE] = 's';
	touching = first + 8 * PAGE;
	*touching = 1;
}

START_TEST(a_store_that_cannot_be_written_ends_in_one_line_and_a_bus_error)
{
	struct ending ending = run(write_to_a_bad_store);
	killed_by_bus_error(&ending);
	one_clear_line(&ending, upage_strerror(UPAGE_EIO));
}
END_TEST

static void read_past_the_end(void)
{
	machine = machine_make("memory=64K");
	char *pages = map_store(file_store(5000, 0), 4, PROT_READ, 0);
	if (pages[4999] != 'f' || pages[5000] != 0 || pages[2 * PAGE - 1] != 0)
		_exit(1);
	(void)*(volatile char *)(pages + 2 * PAGE);
}

START_TEST(a_page_past_the_end_of_a_file_is_a_bus_error)
{
	struct ending ending = run(read_past_the_end);
	killed_by_bus_error(&ending);
}
END_TEST

START_TEST(the_handler_past_the_end_of_a_file_is_told_the_address)
{
	handle_bus_errors();
	upage_store *store = file_store(5000, UPAGE_STORE_WRITABLE);
	char *pages = map_store(store, 4, RW, UPAGE_MAP_SHARED);
	touching = pages + 3 * PAGE + 17;
	if (sigsetjmp(out, 1) == 0)
		*(volatile char *)touching = 1;
	ck_assert_int_eq(catches, 1);
	ck_assert_int_eq(caught.si_code, BUS_ADRERR);
	ck_assert_ptr_eq(caught.si_addr, touching);
	ck_assert_int_eq(pages[4999], 'f');
	ck_assert_ok(upage_unmap(machine.space, pages, 4 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bus_error");
	TCase *faults = tcase_create("faults that cannot be served");
	tcase_set_timeout(faults, 30);
	suite_add_tcase(suite, faults);
	tcase_add_test(faults, full_swap_ends_in_one_line_and_a_bus_error);
	tcase_add_loop_test(faults, a_bus_error_is_neither_ignored_nor_blocked, 0, 2);
	tcase_add_test(faults, the_handler_of_a_bus_error_is_told_the_address);
	tcase_add_test(faults, the_largest_mapping_can_be_written_and_read);
	tcase_add_test(faults, a_bus_error_leaves_resident_memory_intact);
	tcase_add_test(faults, after_a_bus_error_and_some_room_all_data_is_there);
	tcase_add_test(faults, a_bus_error_is_counted_as_a_failed_fault);
	tcase_add_test(faults, the_same_page_may_fail_again_and_again);
	tcase_add_test(faults, a_map_is_refused_while_memory_and_swap_are_full);
	tcase_add_test(faults, a_disk_that_was_full_is_written_to_as_soon_as_it_has_room);
	tcase_add_test(faults, a_pin_is_refused_while_memory_and_swap_are_full);
	tcase_add_loop_test(faults, a_budget_of_mappings_too_small_does_not_hang, 1, 12);
	tcase_add_test(faults, a_store_that_cannot_be_read_ends_in_one_line_and_a_bus_error);
	tcase_add_test(faults, a_store_that_cannot_be_written_ends_in_one_line_and_a_bus_error);
	tcase_add_test(faults, a_page_past_the_end_of_a_file_is_a_bus_error);

	TCase *in_scene = tcase_in_scene(suite);
	tcase_add_test(in_scene, a_page_that_could_not_be_read_is_read_once_the_store_can);
	tcase_add_test(in_scene, the_handler_past_the_end_of_a_file_is_told_the_address);
	return run_suite(suite);
}
