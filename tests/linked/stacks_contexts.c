/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stacks_contexts.c - tests of stacks.c: handlers that read and change what they interrupted
 *
 * x86-64 only: the instructions that are skipped and the registers that are changed are its own.
 */
#include "stacks.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#undef SS_AUTODISARM /* the kernel's header shifts a signed 1 */
#define SS_AUTODISARM (1U << 31)

#define STACK_SIZE ((size_t)65536)

#if defined(__x86_64__)

static char *stack;

static void begin(void)
{
	stack = alternate_begin(STACK_SIZE);
}

static void end(void)
{
	alternate_end();
	static const int used[] = { SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGUSR1, SIGUSR2 };
	for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++)
		signal(used[i], SIG_DFL);
}

/* ---- Faults of the program's own ------------------------------------------------------- */

static volatile int caught, code, trap, error;
static void *volatile address;

static void skip(int signal, siginfo_t *info, void *argument)
{
	ucontext_t *context = argument;
	caught = signal;
	code = info->si_code;
	address = info->si_addr;
	trap = (int)context->uc_mcontext.gregs[REG_TRAPNO];
	/* Without the bit for "was present": whether it was is ours to choose. */
	error = (int)context->uc_mcontext.gregs[REG_ERR] & ~1;
	/* Each of the instructions below is followed by the address to go on at in rbx. */
	if (signal != SIGTRAP)
		context->uc_mcontext.gregs[REG_RIP] = context->uc_mcontext.gregs[REG_RBX];
	context->uc_mcontext.gregs[REG_RAX] = 0x1234;
	context->uc_mcontext.fpregs->_xmm[5].element[1] = 0x5678;
}

/* Runs one instruction with rdx = @value. Return: whether the handler's registers came back. */
#define TRY(instruction, value)                                                              \
	({                                                                                   \
		long rax_ = 1, rdx_ = (long)(value);                                         \
		unsigned xmm_[4] = { 0, 0, 0, 0 };                                           \
		caught = code = trap = error = 0;                                            \
		address = NULL;                                                              \
		__asm__ volatile("lea 1f(%%rip), %%rbx\n\t" instruction "\n1:\n\t"           \
		                 "movdqu %%xmm5, (%2)"                                       \
		                 : "+a"(rax_), "+d"(rdx_) : "r"(xmm_)                        \
		                 : "rbx", "rcx", "xmm5", "memory", "cc");                    \
		rax_ == 0x1234 && xmm_[1] == 0x5678;                                         \
	})

static void say_fault(const char *what, bool changed)
{
	say("%s: signal %d, code %d, trap %d, error %d, registers %d", what, caught, code, trap,
	    error, changed);
}

static void faults(void)
{
	char *page = pages(2);
	begin();
	catch_signal(SIGSEGV, skip, SA_ONSTACK);
	catch_signal(SIGILL, skip, SA_ONSTACK);
	catch_signal(SIGFPE, skip, SA_ONSTACK);
	catch_signal(SIGTRAP, skip, SA_ONSTACK);
	say_fault("a write to nowhere", TRY("movl $1, (%%rdx)", 24));
	check("address", address == (void *)24);
	say_fault("a read of nowhere", TRY("movl (%%rdx), %%ecx", 4096));
	say_fault("a bad address", TRY("movl (%%rdx), %%ecx", (long)0x8000000000000000));
	MUST_BE(mprotect(page, PAGE, PROT_READ) == 0);
	say_fault("a write to memory to be read", TRY("movl $1, (%%rdx)", page + 100));
	check("address", address == page + 100);
	madvise(page, PAGE, MADV_PAGEOUT);
	say_fault("the same, evicted", TRY("movl $1, (%%rdx)", page + 104));
	MUST_BE(mprotect(page, PAGE, PROT_NONE) == 0);
	say_fault("a read of memory without access", TRY("movl (%%rdx), %%ecx", page + 200));
	check("address", address == page + 200);
	say_fault("an unknown instruction", TRY("ud2", 0));
	say_fault("a division by 0", TRY("xor %%rcx, %%rcx\n\tdiv %%rcx", 0));
	say_fault("a breakpoint", TRY("int3", 0));
	MUST_BE(mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0);
	check("memory unchanged", page[100] == 0x5a && page[104] == 0x5a && page[200] == 0x5a);
	end();
	free(page);
}

static char *guarded;
static volatile int opened;

static void open_page(int signal, siginfo_t *info, void *context)
{
	char *page = (char *)((uintptr_t)info->si_addr & ~(PAGE - 1));
	(void)signal;
	(void)context;
	if (page < guarded || page >= guarded + 64 * PAGE ||
	    mprotect(page, PAGE, PROT_READ | PROT_WRITE) != 0)
		_exit(97);
	opened++;
}

/* As collectors of garbage do: memory is protected, and a handler opens it when it is used. */
static void write_barrier(void)
{
	int right = 0;
	guarded = pages(64);
	begin();
	opened = 0;
	catch_signal(SIGSEGV, open_page, SA_ONSTACK);
	for (int round = 0; round < 20; round++) {
		MUST_BE(mprotect(guarded, 64 * PAGE, round % 2 ? PROT_READ : PROT_NONE) == 0);
		for (size_t i = 0; i < 64; i++)
			((volatile char *)guarded)[i * 37 % 64 * PAGE + 5] = (char)round;
		for (size_t i = 0; i < 64; i++)
			right += guarded[i * PAGE + 5] == (char)round &&
			         guarded[i * PAGE + 6] == 0x5a;
	}
	say("opened %d, right %d", opened, right);
	end();
	free(guarded);
}

/* ---- The context ----------------------------------------------------------------------- */

static volatile bool mask_right, stack_right, on_stack;
static volatile int change_error;

static void change_mask(int signal, siginfo_t *info, void *argument)
{
	ucontext_t *context = argument;
	stack_t now, other = { .ss_sp = stack, .ss_size = STACK_SIZE };
	(void)signal;
	(void)info;
	mask_right = sigismember(&context->uc_sigmask, SIGHUP) == 1 &&
	             sigismember(&context->uc_sigmask, SIGUSR1) == 0 &&
	             sigismember(&context->uc_sigmask, SIGUSR2) == 0;
	sigaddset(&context->uc_sigmask, SIGUSR2);
	stack_right = context->uc_stack.ss_sp == stack &&
	              context->uc_stack.ss_size == STACK_SIZE && context->uc_stack.ss_flags == 0;
	sigaltstack(NULL, &now);
	on_stack = now.ss_flags == SS_ONSTACK && now.ss_sp == stack;
	change_error = sigaltstack(&other, NULL) == 0 ? 0 : errno;
}

static void masks_and_stacks(void)
{
	sigset_t set, before;
	begin();
	catch_signal(SIGUSR1, change_mask, SA_ONSTACK);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &before);
	raise(SIGUSR1);
	sigprocmask(SIG_BLOCK, NULL, &set);
	check("mask as the handler saw it", mask_right);
	check("mask as it left it", sigismember(&set, SIGUSR2) == 1 &&
	                                    sigismember(&set, SIGHUP) == 1 &&
	                                    sigismember(&set, SIGUSR1) == 0);
	check("stack", stack_right);
	say("on it: %d, to change it there: EPERM %d", on_stack, change_error == EPERM);
	sigprocmask(SIG_SETMASK, &before, NULL);
	end();
}

static volatile int disarmed_flags;

static void see_disarmed(int signal, siginfo_t *info, void *context)
{
	stack_t now;
	(void)signal;
	(void)info;
	(void)context;
	sigaltstack(NULL, &now);
	disarmed_flags = now.ss_flags;
}

static void disarmed(void)
{
	stack_t alternate, now;
	begin();
	alternate = (stack_t){ .ss_sp = stack, .ss_size = STACK_SIZE,
		               .ss_flags = (int)SS_AUTODISARM };
	MUST_BE(sigaltstack(&alternate, NULL) == 0);
	catch_signal(SIGUSR1, see_disarmed, SA_ONSTACK);
	raise(SIGUSR1);
	sigaltstack(NULL, &now);
	say("within: disabled %d, after: size %zu, flags %x", disarmed_flags == SS_DISABLE,
	    now.ss_size, (unsigned)now.ss_flags);
	end();
}

/* ---- The end of a stack ---------------------------------------------------------------- */

static sigjmp_buf back;
static char *thread_memory;
static volatile bool at_guard;

static void overflowed(int signal, siginfo_t *info, void *context)
{
	const char *where = info->si_addr;
	(void)signal;
	(void)context;
	at_guard = where >= thread_memory && where < thread_memory + PAGE;
	siglongjmp(back, 1);
}

static unsigned __attribute__((noinline)) descend(unsigned level)
{
	volatile char bytes[1000];
	bytes[level % 1000] = 1;
	return level > 1000000 ? level : descend(level + 1) + (unsigned)bytes[level % 1000];
}

static void *overflow_thread(void *argument)
{
	stack_t alternate = { .ss_sp = stack, .ss_size = STACK_SIZE };
	volatile int times = 0;
	MUST_BE(sigaltstack(&alternate, NULL) == 0);
	for (volatile int i = 0; i < 10; i++)
		if (sigsetjmp(back, 1) == 0)
			descend(0);
		else
			times += at_guard;
	say("overflows seen at the guard: %d", times);
	return argument;
}

/* A thread's stack of malloc's with a guard page of malloc's below. */
static void overflow(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	begin();
	thread_memory = pages(40);
	MUST_BE(mprotect(thread_memory, PAGE, PROT_NONE) == 0);
	catch_signal(SIGSEGV, overflowed, SA_ONSTACK);
	pthread_attr_init(&attributes);
	MUST_BE(pthread_attr_setstack(&attributes, thread_memory + PAGE, 39 * PAGE) == 0);
	MUST_BE(pthread_create(&thread, &attributes, overflow_thread, NULL) == 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attributes);
	MUST_BE(mprotect(thread_memory, PAGE, PROT_READ | PROT_WRITE) == 0);
	end();
	free(thread_memory);
}

/* ---- Contexts without signals ---------------------------------------------------------- */

static ucontext_t here, there;
static volatile int steps;

static void step(int first, int second)
{
	sigset_t mask;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	steps = first * 100 + second + (sigismember(&mask, SIGUSR2) == 1);
	swapcontext(&there, &here);
	steps++;
}

static void context_masks(void)
{
	char *memory = pages(16);
	sigset_t mask;
	evict_begin(memory, 16 * PAGE);
	MUST_BE(getcontext(&there) == 0);
	there.uc_stack.ss_sp = memory;
	there.uc_stack.ss_size = 16 * PAGE;
	there.uc_link = &here;
	sigaddset(&there.uc_sigmask, SIGUSR2);
	makecontext(&there, (void (*)(void))step, 2, 7, 42);
	MUST_BE(swapcontext(&here, &there) == 0);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	say("steps %d, blocked here %d", steps, sigismember(&mask, SIGUSR2));
	MUST_BE(swapcontext(&here, &there) == 0);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	say("steps %d, blocked here %d", steps, sigismember(&mask, SIGUSR2));
	evict_end();
	free(memory);
}

#endif

const struct test context_tests[] = {
#if defined(__x86_64__)
	{ "faults", faults },
	{ "write_barrier", write_barrier },
	{ "masks_and_stacks", masks_and_stacks },
	{ "disarmed", disarmed },
	{ "overflow", overflow },
	{ "context_masks", context_masks },
#endif
	{ 0 },
};
