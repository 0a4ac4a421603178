/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_trap.c - whose fault is it, and does it arrive there as natively?
 *
 * Tests of death run in forked children (check's own, CK_FORK) that make their pools after
 * the fork.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include "support.h"

static sigjmp_buf back;
static volatile sig_atomic_t caught;
static siginfo_t seen;
static int seen_errno;

static void on_segv(int number, siginfo_t *info, void *context)
{
	(void)context;
	caught = number;
	seen = *info;
	seen_errno = errno;
	siglongjmp(back, 1);
}

static void catch_segv(void)
{
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	sigemptyset(&action.sa_mask);
	ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
	caught = 0;
}

static volatile char sink;

/* Opaque to the compiler, which knows that nothing is there. */
static volatile char *volatile wild_base;

#define EXPECT_SEGV(statement)                                                                \
	do {                                                                                  \
		caught = 0;                                                                   \
		if (sigsetjmp(back, 1) == 0) {                                                \
			statement;                                                            \
			ck_abort_msg("%s did not trap", #statement);                          \
		}                                                                             \
		ck_assert_int_eq(caught, SIGSEGV);                                            \
	} while (0)

/* ---- The program's own handler ----------------------------------------------------------- */

START_TEST(a_wild_reference_reaches_a_handler_installed_after_us)
{
	struct machine m = machine_make("memory=64K");
	volatile char *memory = machine_map(m, 4, RW);
	memory[0] = 1;
	catch_segv();
	EXPECT_SEGV(sink = wild_base[16]);
	ck_assert_ptr_eq(seen.si_addr, (void *)16);
	ck_assert_int_eq(seen.si_code, SEGV_MAPERR);
	memory[PAGE] = 2; /* and page faults are still ours */
	ck_assert_int_eq(memory[0] + memory[PAGE], 3);
	machine_end(m);
}
END_TEST

START_TEST(a_handler_installed_before_us_is_kept)
{
	catch_segv();
	struct machine m = machine_make("memory=64K");
	EXPECT_SEGV(sink = wild_base[24]);
	ck_assert_ptr_eq(seen.si_addr, (void *)24);
	struct sigaction action;
	sigaction(SIGSEGV, NULL, &action);
	ck_assert_ptr_eq((void *)action.sa_sigaction, (void *)on_segv);
	machine_end(m);
}
END_TEST

START_TEST(an_unmapped_page_of_a_space_is_maperr_at_the_exact_address)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, 4, RW);
	catch_segv();
	/* The host sees a reservation there, and would say ACCERR. */
	volatile char *wild = memory + 4 * PAGE + 123;
	EXPECT_SEGV(*wild = 1);
	ck_assert_ptr_eq(seen.si_addr, (void *)(uintptr_t)wild);
	ck_assert_int_eq(seen.si_code, SEGV_MAPERR);
	ck_assert_uint_eq(machine_stats(m).bounds, 1);
	machine_end(m);
}
END_TEST

START_TEST(a_write_to_read_only_memory_is_accerr)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, 4, RW);
	memory[77] = 5;
	ck_assert_ok(upage_protect(m.space, memory, PAGE, PROT_READ));
	catch_segv();
	volatile char *place = memory + 77;
	EXPECT_SEGV(*place = 6);
	ck_assert_ptr_eq(seen.si_addr, memory + 77);
	ck_assert_int_eq(seen.si_code, SEGV_ACCERR);
	ck_assert_int_eq(memory[77], 5);
	ck_assert_uint_eq(machine_stats(m).protection, 1);
	machine_end(m);
}
END_TEST

START_TEST(execution_of_data_is_accerr_and_of_code_works)
{
	struct machine m = machine_make("memory=64K");
	unsigned char *memory = (unsigned char *)machine_map(m, 1, RW);
#if defined(__x86_64__)
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov $42, %eax; ret */
#else
	static const unsigned char code[] = { 0x40, 5, 0x80, 0x52, 0xc0, 3, 0x5f, 0xd6 };
#endif
	memcpy(memory, code, sizeof(code));
	int (*function)(void);
	memcpy(&function, &memory, sizeof(function));
	catch_segv();
	EXPECT_SEGV(function());
	ck_assert_int_eq(seen.si_code, SEGV_ACCERR);
	ck_assert_ok(upage_protect(m.space, memory, PAGE, PROT_READ | PROT_EXEC));
	__builtin___clear_cache((char *)memory, (char *)memory + sizeof(code));
	ck_assert_int_eq(function(), 42);
	machine_end(m);
}
END_TEST

#if defined(__x86_64__)
START_TEST(a_general_protection_fault_is_the_programs_own)
{
	struct machine m = machine_make("memory=64K");
	volatile char *wild = (volatile char *)0x8000000000000123u; /* not canonical */
	catch_segv();
	EXPECT_SEGV(*wild = 1);
	ck_assert_int_eq(seen.si_code, SI_KERNEL);
	ck_assert_ptr_null(seen.si_addr);
	machine_end(m);
}
END_TEST
#endif

static volatile sig_atomic_t returns;
static upage_space *repaired;

static void repair_and_return(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	returns++;
	uintptr_t page = (uintptr_t)info->si_addr & ~(PAGE - 1);
	upage_protect(repaired, (void *)page, PAGE, RW);
}

START_TEST(a_handler_may_repair_and_return_to_the_instruction)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, 40, RW);
	memset(memory, 7, 40 * PAGE);
	ck_assert_ok(upage_protect(m.space, memory, 40 * PAGE, PROT_NONE));
	repaired = m.space;
	struct sigaction action = { .sa_sigaction = repair_and_return, .sa_flags = SA_SIGINFO };
	sigemptyset(&action.sa_mask);
	sigaction(SIGSEGV, &action, NULL);
	for (size_t i = 0; i < 40; i++)
		ck_assert_int_eq(((volatile char *)memory)[i * PAGE], 7);
	ck_assert_int_eq(returns, 40);
	machine_end(m);
}
END_TEST

static char *handler_memory;
static volatile int handler_sum;

static void touches_paged_memory(int number)
{
	(void)number;
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	handler_sum = sigismember(&mask, SIGUSR1) + 2 * sigismember(&mask, SIGUSR2);
	for (size_t i = 0; i < 64; i++)
		handler_sum += handler_memory[i * PAGE];
	siglongjmp(back, 1);
}

START_TEST(the_handler_has_its_mask_and_may_touch_evicted_pages)
{
	struct machine m = machine_make("memory=64K");
	handler_memory = machine_map(m, 64, RW);
	memset(handler_memory, 1, 64 * PAGE);
	struct sigaction action = { .sa_handler = touches_paged_memory };
	sigfillset(&action.sa_mask);
	sigdelset(&action.sa_mask, SIGUSR2);
	sigaction(SIGSEGV, &action, NULL);
	if (sigsetjmp(back, 1) == 0)
		sink = wild_base[8];
	ck_assert_int_eq(handler_sum, 1 + 64);
	machine_end(m);
}
END_TEST

START_TEST(resethand_gives_the_default_back)
{
	struct machine m = machine_make("memory=64K");
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_RESETHAND };
	sigemptyset(&action.sa_mask);
	sigaction(SIGSEGV, &action, NULL);
	EXPECT_SEGV(sink = wild_base[8]);
	sigaction(SIGSEGV, NULL, &action);
	ck_assert_ptr_eq((void *)action.sa_handler, (void *)SIG_DFL);
	machine_end(m);
}
END_TEST

START_TEST(a_sigsegv_sent_by_kill_reaches_the_handler_as_sent)
{
	struct machine m = machine_make("memory=64K");
	catch_segv();
	if (sigsetjmp(back, 1) == 0)
		raise(SIGSEGV);
	ck_assert_int_eq(caught, SIGSEGV);
	ck_assert_int_eq(seen.si_code, SI_TKILL);
	ck_assert_int_eq(seen.si_pid, getpid());
	ck_assert_ptr_ne((void *)signal(SIGSEGV, SIG_IGN), (void *)SIG_DFL);
	raise(SIGSEGV); /* ignored, as sent ones can be */
	machine_end(m);
}
END_TEST

/* ---- Transparency of page faults ------------------------------------------------------------ */

START_TEST(a_page_fault_leaves_errno_and_registers_alone)
{
	struct machine m = machine_make("memory=64K");
	volatile char *memory = machine_map(m, 64, RW);
	errno = 4711;
	double x = 1.0 / 3;
	for (size_t i = 0; i < 64; i++) {
		memory[i * PAGE] = (char)i;
		x = x * 3 / 3;
	}
	for (size_t i = 0; i < 64; i++)
		ck_assert_int_eq(memory[i * PAGE], (char)i);
	ck_assert_int_eq(errno, 4711);
	ck_assert(x > 0.33 && x < 0.34);
	machine_end(m);
}
END_TEST

#if defined(__x86_64__)
START_TEST(one_instruction_may_need_four_pages_of_sixteen_frames)
{
	struct machine m = machine_make("memory=64K");
	char *memory = machine_map(m, 64, RW);
	for (size_t i = 0; i < 64 * PAGE; i += 8)
		*(volatile uint64_t *)(void *)(memory + i) = i;
	/* movsq across two page boundaries, from every pair of pages in turn */
	for (size_t i = 1; i + 40 < 64; i++) {
		char *from = memory + i * PAGE - 4, *to = memory + (i + 40) * PAGE - 4;
		uint64_t before;
		memcpy(&before, from, 8);
		__asm__ volatile("movsq" : "+S"(from), "+D"(to) : : "memory");
		ck_assert_mem_eq(to - 8, &before, 8);
	}
	machine_end(m);
}
END_TEST
#endif

START_TEST(a_thread_that_blocks_all_signals_still_pages)
{
	struct machine m = machine_make("memory=64K");
	volatile char *memory = machine_map(m, 64, RW);
	sigset_t all, before;
	sigfillset(&all);
	ck_assert_int_eq(sigprocmask(SIG_SETMASK, &all, &before), 0);
	for (size_t i = 0; i < 64; i++)
		memory[i * PAGE] = 1;
	ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
	machine_end(m);
}
END_TEST

static void reads_paged_memory(int number)
{
	(void)number;
	for (size_t i = 0; i < 64; i++)
		handler_sum += handler_memory[i * PAGE];
}

START_TEST(a_handler_that_blocks_sigsegv_in_its_mask_still_pages)
{
	struct machine m = machine_make("memory=64K");
	handler_memory = machine_map(m, 64, RW);
	memset(handler_memory, 1, 64 * PAGE);
	struct sigaction action = { .sa_handler = reads_paged_memory };
	sigfillset(&action.sa_mask);
	sigaction(SIGUSR1, &action, NULL);
	handler_sum = 0;
	raise(SIGUSR1);
	ck_assert_int_eq(handler_sum, 64);
	machine_end(m);
}
END_TEST

static void *page_for_ever(void *argument)
{
	volatile char *memory = argument;
	uint64_t random = (uint64_t)(uintptr_t)&random;
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;)
		memory[random_number(&random) % 64 * PAGE]++;
	return NULL;
}

START_TEST(a_thread_cancelled_while_it_pages_leaves_no_page_locked)
{
	struct machine m = machine_make("memory=64K");
	volatile char *memory = machine_map(m, 64, RW);
	for (int round = 0; round < 50; round++) {
		pthread_t threads[4];
		for (int i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, page_for_ever, (void *)(uintptr_t)memory);
		usleep(2000);
		for (int i = 0; i < 4; i++)
			pthread_cancel(threads[i]);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		for (size_t i = 0; i < 64; i++)
			memory[i * PAGE]++;
		ck_assert_ok(upage_pool_verify(m.pool));
	}
	machine_end(m);
}
END_TEST

/* ---- Death ------------------------------------------------------------------------------------ */

static void ck_assert_one_line(const char *text, const char *start)
{
	ck_assert_msg(strncmp(text, start, strlen(start)) == 0, "stderr is \"%s\"", text);
	ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
}

static void wild_in_space(void)
{
	struct machine m = machine_make("memory=64K");
	volatile char *memory = machine_map(m, 4, RW);
	memory[4 * PAGE] = 1;
}

START_TEST(without_a_handler_one_line_and_death_by_sigsegv)
{
	char text[2048];
	int status = in_child(wild_in_space, text, sizeof(text));
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
	ck_assert_one_line(text, "upage: segmentation fault: write to 0x");
	ck_assert_ptr_nonnull(strstr(text, "not mapped"));
	ck_assert_ptr_nonnull(strstr(text, "nearest mapping 0x"));
}
END_TEST

static void wild_elsewhere(void)
{
	machine_make("memory=64K");
	sink = wild_base[32];
}

START_TEST(outside_of_spaces_too)
{
	char text[2048];
	int status = in_child(wild_elsewhere, text, sizeof(text));
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
	ck_assert_one_line(text, "upage: segmentation fault outside paged memory, at address 0x20");
}
END_TEST

static void wild_while_ignored(void)
{
	struct machine m = machine_make("memory=64K");
	volatile char *memory = machine_map(m, 4, RW);
	sigset_t all;
	sigfillset(&all);
	signal(SIGSEGV, SIG_IGN);
	sigprocmask(SIG_SETMASK, &all, NULL);
	memory[4 * PAGE] = 1;
}

START_TEST(ignoring_or_blocking_does_not_save_from_a_wild_reference)
{
	char text[2048];
	int status = in_child(wild_while_ignored, text, sizeof(text));
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
}
END_TEST

static volatile int endless = INT32_MAX;

__attribute__((noinline)) static int recurse(volatile char *memory, int depth)
{
	volatile char frame[1024];
	frame[depth % 1024] = memory[(size_t)depth % 64 * PAGE];
	return depth < endless ? recurse(memory, depth + 1) + frame[depth % 1024] : 0;
}

static void overflow_the_stack(void)
{
	struct machine m = machine_make("memory=64K");
	recurse(machine_map(m, 64, RW), 0);
}

START_TEST(a_stack_overflow_is_the_programs_own_crash)
{
	char text[2048];
	int status = in_child(overflow_the_stack, text, sizeof(text));
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
}
END_TEST

static char alternate[65536];

static void overflow_with_a_handler(void)
{
	struct machine m = machine_make("memory=64K");
	stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	sigaltstack(&stack, NULL);
	sigemptyset(&action.sa_mask);
	sigaction(SIGSEGV, &action, NULL);
	if (sigsetjmp(back, 1) == 0)
		recurse(machine_map(m, 64, RW), 0);
	_exit(caught == SIGSEGV ? 3 : 4);
}

START_TEST(a_stack_overflow_reaches_a_handler_on_its_alternate_stack)
{
	char text[2048];
	int status = in_child(overflow_with_a_handler, text, sizeof(text));
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 3);
}
END_TEST

/* ---- The stack ------------------------------------------------------------------------------ */

/* Faults of this thread have what upage.h says that they need, and below it there is nothing. */
static void take_small_stack(void)
{
	const size_t size = 16 * KIB, guard = 64 * KIB;
	char *place = mmap(NULL, guard + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(place, MAP_FAILED);
	ck_assert_int_eq(mprotect(place + guard, size, RW), 0);
	const stack_t stack = { .ss_sp = place + guard, .ss_size = size };
	ck_assert_int_eq(sigaltstack(&stack, NULL), 0);
}

/* Four times the frames, of content of all kinds; in order, and not. */
static void page_all(char *memory)
{
	uint64_t random = 1;
	for (size_t i = 0; i < 8192; i++) {
		size_t page = i < 4096 ? i : random_number(&random) % 4096;
		random_bytes(memory + page * PAGE, page % 8 * 512, i);
		*(volatile char *)(memory + page * PAGE + PAGE - 1) = (char)i;
	}
}

static const char *const deep[] = {
	"memory=4M,store=file,policy=clock,prefetch=off",
	"memory=4M,store=file,policy=random,prefetch=64",
	"memory=4M,store=file,direct,policy=random,prefetch=64",
#ifdef HAVE_LZ4
	"memory=4M,store=lz4,policy=clock,prefetch=64",
#endif
};

/* First in a child, which has to make its swap file, and to write it beside a low limit of files. */
START_TEST(a_page_fault_fits_on_a_stack_of_16_kib)
{
	struct rlimit limit;
	int status;
	if (!machine_can_be(deep[_i]))
		return;
	struct machine m = machine_make(deep[_i]);
	char *memory = machine_map(m, 4096, RW);
	memory[0] = 1;
	take_small_stack();
	pid_t child = fork();
	if (child == 0) {
		getrlimit(RLIMIT_FSIZE, &limit);
		limit.rlim_cur = PAGE;
		setrlimit(RLIMIT_FSIZE, &limit);
		page_all(memory);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	page_all(memory);
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trap");
	TCase *own = tcase_create("own"), *fault = tcase_create("fault"), *death = tcase_create("death");
	tcase_add_test(own, a_wild_reference_reaches_a_handler_installed_after_us);
	tcase_add_test(own, a_handler_installed_before_us_is_kept);
	tcase_add_test(own, an_unmapped_page_of_a_space_is_maperr_at_the_exact_address);
	tcase_add_test(own, a_write_to_read_only_memory_is_accerr);
	tcase_add_test(own, execution_of_data_is_accerr_and_of_code_works);
	tcase_add_test(own, a_handler_may_repair_and_return_to_the_instruction);
	tcase_add_test(own, the_handler_has_its_mask_and_may_touch_evicted_pages);
	tcase_add_test(own, resethand_gives_the_default_back);
	tcase_add_test(own, a_sigsegv_sent_by_kill_reaches_the_handler_as_sent);
	tcase_add_test(fault, a_page_fault_leaves_errno_and_registers_alone);
	tcase_add_test(fault, a_thread_that_blocks_all_signals_still_pages);
	tcase_add_test(fault, a_thread_cancelled_while_it_pages_leaves_no_page_locked);
	tcase_set_timeout(fault, 60);
	tcase_add_test(fault, a_handler_that_blocks_sigsegv_in_its_mask_still_pages);
	tcase_add_loop_test(fault, a_page_fault_fits_on_a_stack_of_16_kib, 0, (int)LENGTH(deep));
#if defined(__x86_64__)
	tcase_add_test(own, a_general_protection_fault_is_the_programs_own);
	tcase_add_test(fault, one_instruction_may_need_four_pages_of_sixteen_frames);
#endif
	tcase_add_test(death, without_a_handler_one_line_and_death_by_sigsegv);
	tcase_add_test(death, outside_of_spaces_too);
	tcase_add_test(death, ignoring_or_blocking_does_not_save_from_a_wild_reference);
	tcase_add_test(death, a_stack_overflow_is_the_programs_own_crash);
	tcase_add_test(death, a_stack_overflow_reaches_a_handler_on_its_alternate_stack);
	tcase_set_timeout(death, 60);
	suite_add_tcase(suite, own);
	suite_add_tcase(suite, fault);
	suite_add_tcase(suite, death);
	return run_suite(suite);
}
