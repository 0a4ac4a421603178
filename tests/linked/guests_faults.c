/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guests_faults.c - tests of guests.c: traps that are the program's own
 *
 * What virtual machines, collectors of garbage and debuggers do: handlers that look at what trapped,
 * change registers, give access and leave by a jump.
 */
#include "guests.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* ---- What a handler is told ---------------------------------------------------------------- */

/* What compilers shall not know. */
static volatile char *volatile nowhere = (volatile char *)8;
static volatile char *volatile no_address = (volatile char *)0x8000000000000000;

static sigjmp_buf escape;
static volatile struct {
	int signal, code;
	uintptr_t address, instruction;
	long error, trap, cr2;
} told;

static void note_and_leave(int signal, siginfo_t *info, void *context)
{
	const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	told.signal = signal;
	told.code = info->si_code;
	told.address = (uintptr_t)info->si_addr;
	told.instruction = (uintptr_t)r[REG_RIP];
	told.error = r[REG_ERR];
	told.trap = r[REG_TRAPNO];
	told.cr2 = r[REG_CR2];
	siglongjmp(escape, 1);
}

/* @address: what the test says it is; @offset into it is what is expected. */
static void say_told(const char *what, const void *address)
{
	/* Whether the page was there (bit 0) is the one thing that paging changes: it says by
	 * whom the program was refused. si_code tells the same, and is right. */
	say("%s: signal %d, code %d, address %s, trap %ld, error %lx, cr2 %s", what, told.signal,
	    told.code, told.address == (uintptr_t)address ? "right" : "other", told.trap,
	    (unsigned long)told.error & ~1ul,
	    told.trap != 14 ? "-" : told.cr2 == (long)(uintptr_t)address ? "right" : "other");
}

UNSANITIZED static void attempt(const char *what, volatile char *address, int access)
{
	memset((void *)&told, 0, sizeof(told));
	if (sigsetjmp(escape, 1) == 0) {
		if (access == PROT_READ)
			(void)*address;
		else if (access == PROT_WRITE)
			*address = 1;
		else
			((void (*)(void))(uintptr_t)address)();
		say("%s: no signal", what);
		return;
	}
	say_told(what, (void *)(uintptr_t)address);
	if (access == PROT_EXEC)
		check("at that instruction", told.instruction == (uintptr_t)address);
}

static void own_faults(void)
{
	char *memory = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST_BE(memory != MAP_FAILED);
	memset(memory, 0xc3, 8 * PAGE);
	MUST(mprotect(memory + PAGE, PAGE, PROT_NONE));
	MUST(mprotect(memory + 2 * PAGE, PAGE, PROT_READ));
	MUST(munmap(memory + 4 * PAGE, PAGE));
	handle(SIGSEGV, note_and_leave, 0);
	handle(SIGBUS, note_and_leave, 0);
	attempt("read without access", memory + PAGE + 5, PROT_READ);
	attempt("write without access", memory + PAGE + 5, PROT_WRITE);
	attempt("write to what is read-only", memory + 2 * PAGE + 7, PROT_WRITE);
	attempt("read of a hole", memory + 4 * PAGE + 9, PROT_READ);
	attempt("write to a hole", memory + 4 * PAGE + 9, PROT_WRITE);
	attempt("execution of data", memory + 11, PROT_EXEC);
	attempt("execution of a hole", memory + 4 * PAGE, PROT_EXEC);
	attempt("read of nothing", NULL, PROT_READ);
	attempt("write to a member of nothing", (char *)24, PROT_WRITE);
	attempt("a call of nothing", NULL, PROT_EXEC);
	memset((void *)&told, 0, sizeof(told));
	if (sigsetjmp(escape, 1) == 0)
		(void)*no_address;
	say_told("read of no address at all", NULL);
	FILE *stream = tmpfile();
	MUST_BE(stream != NULL);
	int file = fileno(stream);
	MUST(ftruncate(file, (off_t)PAGE));
	char *mapped = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	char *shared = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	MUST_BE(mapped != MAP_FAILED && shared != MAP_FAILED);
	attempt("read past the end of a private file", mapped + PAGE + 1, PROT_READ);
	attempt("write past the end of a shared file", shared + PAGE + 1, PROT_WRITE);
	fclose(stream);
	munmap(mapped, 3 * PAGE);
	munmap(shared, 3 * PAGE);
	munmap(memory, 8 * PAGE);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
}

/* ---- Other traps ------------------------------------------------------------------------------ */

static volatile unsigned steps;

static void count_step(int signal, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	(void)signal;
	if (steps == 0)
		say("first step: code %d, trap %ld", info->si_code, (long)r[REG_TRAPNO]);
	if (++steps == 100)
		r[REG_EFL] &= ~0x100; /* the trap flag */
}

static void other_traps(void)
{
	static const char *const names[] = { "division", "no instruction", "breakpoint" };
	handle(SIGFPE, note_and_leave, 0);
	handle(SIGILL, note_and_leave, 0);
	handle(SIGTRAP, note_and_leave, 0);
	for (int i = 0; i < 3; i++) {
		int here = sigsetjmp(escape, 1);
		if (here == 0 && i == 0)
			__asm__ volatile("xor %%edx, %%edx\n\txor %%ecx, %%ecx\n\tdiv %%ecx"
			                 : : : "eax", "ecx", "edx", "cc");
		else if (here == 0 && i == 1)
			__asm__ volatile("ud2");
		else if (here == 0)
			__asm__ volatile("int3");
		say("%s: signal %d, code %d, trap %ld, address %s", names[i], told.signal, told.code,
		    told.trap, told.address == told.instruction ? "its own" : "other");
	}
	/* Step by step through whatever comes, system calls included. */
	handle(SIGTRAP, count_step, 0);
	steps = 0;
	__asm__ volatile("pushf\n\torq $0x100, (%%rsp)\n\tpopf" : : : "cc", "memory");
	for (volatile int i = 0; i < 50; i++)
		getppid();
	say("steps: %u", steps);
	signal(SIGFPE, SIG_DFL);
	signal(SIGILL, SIG_DFL);
	signal(SIGTRAP, SIG_DFL);
}

/* ---- Handlers that mend what trapped ---------------------------------------------------------------- */

static volatile unsigned mended, elsewhere;
static char *volatile barrier;
static volatile size_t barrier_pages;

/* mov (%rdi), %eax with a check for nothing: the result is -1. */
static int __attribute__((noinline, naked)) load_or_trap(const int *from)
{
	(void)from;
	__asm__("mov (%rdi), %eax\n\tret");
}

static void skip(int signal, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	(void)signal;
	elsewhere += info->si_addr != (void *)(uintptr_t)nowhere || r[REG_RDI] != 8;
	r[REG_RAX] = -1;
	r[REG_RIP] += 2;
	mended++;
}

static void null_checks(void)
{
	unsigned wrong = 0;
	int value = 7;
	handle(SIGSEGV, skip, 0);
	mended = elsewhere = 0;
	for (int i = 0; i < 3000; i++)
		wrong += load_or_trap(i % 3 == 0 ? &value : (int *)(uintptr_t)nowhere) != (i % 3 == 0 ? 7 : -1);
	say("mended %u, elsewhere %u, wrong %u", mended, elsewhere, wrong);
	signal(SIGSEGV, SIG_DFL);
}

static void open_barrier(int signal, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr - (uintptr_t)barrier;
	const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	(void)signal;
	if (at >= barrier_pages * PAGE || info->si_code != SEGV_ACCERR || !(r[REG_ERR] & 2))
		_exit(3);
	mprotect(barrier + at / PAGE * PAGE, PAGE, PROT_READ | PROT_WRITE);
	mended++;
}

static void write_barriers(void)
{
	const size_t pages = 300;
	unsigned wrong = 0;
	barrier_pages = pages;
	barrier = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST_BE(barrier != MAP_FAILED);
	handle(SIGSEGV, open_barrier, 0);
	mended = 0;
	for (unsigned round = 0; round < 5; round++) {
		MUST(mprotect(barrier, pages * PAGE, PROT_READ));
		for (size_t i = 0; i < pages; i++) {
			unsigned *word = (unsigned *)(void *)(barrier + i * PAGE + 40);
			wrong += *word != round * 1000 + (round > 0 ? (unsigned)i : 0);
			*word = (round + 1) * 1000 + (unsigned)i;
		}
	}
	say("barriers opened: %u, wrong %u", mended, wrong);
	munmap(barrier, pages * PAGE);
	signal(SIGSEGV, SIG_DFL);
}

/* ---- Traps that are sent ---------------------------------------------------------------------------- */

static volatile unsigned received;
static volatile siginfo_t last;

/* As if it had happened: a code above 0. Only to oneself. */
static int queue_trap(int signal, int code, const void *address)
{
	siginfo_t info = { .si_signo = signal, .si_code = code };
	if (signal != SIGSYS)
		info.si_addr = (void *)(uintptr_t)address;
	return (int)syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), signal, &info);
}

static void note(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	last.si_code = info->si_code;
	last.si_addr = info->si_addr;
	received++;
}

static void say_received(const char *what, int signal, const void *address)
{
	say("%s: %u, code %d, address %s", what, received, last.si_code,
	    signal == SIGSYS ? "-" : last.si_addr == address ? "right" : "other");
}

static void sent_traps(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGSYS };
	static int there;
	for (int i = 0; i < 3; i++) {
		const int number = signals[i];
		sigset_t mask;
		received = 0;
		handle(number, note, 0);
		say("signal %d", number);
		for (int code = 1; code <= 3; code++) {
			MUST(queue_trap(number, code, NULL));
			say_received("nowhere", number, NULL);
			MUST(queue_trap(number, code, &there));
			say_received("somewhere", number, &there);
		}
		MUST(queue_trap(number, SI_KERNEL, NULL));
		say_received("of the kernel", number, NULL);
		siginfo_t info = { .si_signo = number, .si_code = 2 };
		MUST(syscall(SYS_rt_sigqueueinfo, getpid(), number, &info));
		say_received("to the process", number, NULL);
		sigemptyset(&mask);
		sigaddset(&mask, number);
		MUST(sigprocmask(SIG_BLOCK, &mask, NULL));
		MUST(queue_trap(number, 1, &there));
		say("blocked: %u", received);
		MUST(sigprocmask(SIG_UNBLOCK, &mask, NULL));
		say_received("afterwards", number, &there);
		signal(number, SIG_IGN);
		MUST(queue_trap(number, 1, &there));
		say("ignored: %u", received);
		signal(number, SIG_DFL);
	}
}

/* ---- Alignment -------------------------------------------------------------------------------------- */

/* What is not aligned traps while this bit of the flags is set; where somebody has set another one, of the
 * processor's, as Linux does. */
static inline void check_alignment(void)
{
	__asm__ volatile("pushf\n\torl $0x40000, (%%rsp)\n\tpopf" : : : "memory", "cc");
}

static inline void check_no_alignment(void)
{
	__asm__ volatile("pushf\n\tandl $~0x40000, (%%rsp)\n\tpopf" : : : "memory", "cc");
}

static inline long call_aligned(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

static void alignment(void)
{
	const size_t pages = 300;
	unsigned wrong = 0;
	volatile char *memory = calloc(pages, PAGE);
	const pid_t parent = getppid(), process = getpid(), thread = (pid_t)syscall(SYS_gettid);
	MUST_BE(memory != NULL);
	received = 0;
	handle(SIGUSR1, note, 0);
	check_alignment();
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < pages; i++)
			memory[i * PAGE] = (char)(memory[i * PAGE] + 1);
		for (unsigned i = 0; i < 100; i++)
			wrong += call_aligned(SYS_getppid, 0, 0, 0) != parent;
		wrong += call_aligned(SYS_access, (long)"/", F_OK, 0) != 0;
		wrong += call_aligned(SYS_tgkill, process, thread, SIGUSR1) != 0;
	}
	check_no_alignment();
	const unsigned sent = received;
	timer_t timer = timer_begin(SIGUSR1, 1000);
	check_alignment();
	while (received < 20)
		;
	check_no_alignment();
	MUST(timer_delete(timer));
	for (size_t i = 0; i < pages; i++)
		wrong += memory[i * PAGE] != 3;
	say("wrong %u, received %u", wrong, sent);
	signal(SIGUSR1, SIG_DFL);
	free((void *)(uintptr_t)memory);
}

/* ---- Jumps ---------------------------------------------------------------------------------------------- */

static unsigned __attribute__((noinline)) recurse(unsigned depth)
{
	volatile char bytes[2000];
	bytes[depth % sizeof(bytes)] = (char)depth;
	return depth > 100000 ? 0 : recurse(depth + 1) + (unsigned)bytes[depth % sizeof(bytes)];
}

static void jumps_out(void)
{
	static volatile unsigned caught;
	caught = 0;
	handle(SIGSEGV, note_and_leave, 0);
	for (volatile int i = 0; i < 5000; i++) {
		if (sigsetjmp(escape, 1) == 0)
			*nowhere = 1;
		else
			caught++;
	}
	say("jumps: %u", caught);
	/* A stack that overflows, on an alternate one, and on again. */
	stack_t stack = { .ss_size = 16 * PAGE, .ss_sp = malloc(16 * PAGE) };
	MUST_BE(stack.ss_sp != NULL);
	MUST(sigaltstack(&stack, NULL));
	handle(SIGSEGV, note_and_leave, SA_ONSTACK);
	caught = 0;
	for (volatile int i = 0; i < 20; i++) {
		if (sigsetjmp(escape, 1) == 0)
			recurse(0);
		else
			caught++;
	}
	say("overflows: %u, code %d", caught, told.code == SEGV_MAPERR || told.code == SEGV_ACCERR);
	stack.ss_flags = SS_DISABLE;
	MUST(sigaltstack(&stack, NULL));
	free(stack.ss_sp);
	signal(SIGSEGV, SIG_DFL);
}

/* ---- Deaths ----------------------------------------------------------------------------------------------- */

/* Ends by the default action what has cleaned up, with all that is known of the trap. */
static void send_again(int number, siginfo_t *info, void *context)
{
	(void)context;
	signal(number, SIG_DFL);
	syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), number, info);
}

static void die(int how)
{
	switch (how) {
	case 0:
		abort();
	case 1:
		*nowhere = 1;
		break;
	case 2:
		raise(SIGBUS);
		break;
	case 3:
		__asm__ volatile("ud2");
		break;
	case 4:
		raise(SIGFPE);
		break;
	case 5:
		raise(SIGSYS);
		break;
	case 6:
		raise(SIGTRAP);
		break;
	case 7:
		raise(SIGKILL);
		break;
	case 8:
		raise(SIGALRM);
		break;
	case 9:
		raise(SIGRTMIN + 3);
		break;
	case 10:
		signal(SIGSEGV, SIG_IGN);
		*nowhere = 1;
		break;
	case 11: {
		sigset_t mask;
		sigfillset(&mask);
		handle(SIGSEGV, note_and_leave, 0);
		sigprocmask(SIG_SETMASK, &mask, NULL);
		*nowhere = 1;
		break;
	}
	case 12:
		queue_trap(SIGSEGV, SEGV_MAPERR, NULL);
		break;
	case 13:
		queue_trap(SIGBUS, BUS_ADRERR, &how);
		break;
	case 14:
		queue_trap(SIGSYS, 2, NULL);
		break;
	case 15:
		handle(SIGSEGV, send_again, 0);
		*nowhere = 1;
		break;
	case 16: {
		int ends[2];
		if (pipe(ends) == 0) {
			close(ends[0]);
			write(ends[1], "x", 1);
		}
		break;
	}
	}
	_exit(77);
}

static void deaths(void)
{
	char *directory = make_directory(), what[32];
	for (int how = 0; how <= 16; how++) {
		int status;
		pid_t child = (pid_t)MUST(fork());
		if (child == 0) {
			if (chdir(directory) != 0)
				_exit(78);
			die(how);
		}
		MUST(waitpid(child, &status, 0));
		strcpy(what, "way  ");
		what[4] = (char)('a' + how);
		say_status(what, status);
	}
	/* Cores, where there are some. */
	if (fork() == 0)
		execlp("rm", "rm", "-r", directory, (char *)NULL);
	wait(NULL);
}

const struct test fault_tests[] = {
	{ "own_faults", own_faults },
	{ "other_traps", other_traps },
	{ "null_checks", null_checks },
	{ "write_barriers", write_barriers },
	{ "sent_traps", sent_traps },
	{ "alignment", alignment },
	{ "jumps_out", jumps_out },
	{ "deaths", deaths },
	{ 0 },
};
