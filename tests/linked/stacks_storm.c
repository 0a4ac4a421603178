/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stacks_storm.c - tests of stacks.c: thousands of timer signals on stacks that go out of memory
 *
 * The handler looks at what it was told, at its mask and at its local variables, and spoils every
 * vector register; the code that it interrupts holds known values in them.
 */
#include "stacks.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>
#include <xmmintrin.h>

#define SIGNAL (SIGRTMIN + 2)
#define VALUE 31337
#define INTERVAL 100 /* microseconds */
#define ALTERNATE_SIZE ((size_t)65536)
#define CONTEXT_SIZE ((size_t)65536)
#define THREAD_SIZE ((size_t)131072)

static volatile int taken, wrong_information, wrong_mask, wrong_locals, wrong_stack;
static volatile int wrong_registers, wrong_wide, wrong_modes;
static char *volatile handler_stack; /* where handlers must be, if not NULL */
static volatile size_t handler_stack_size;

/* ---- The handler ----------------------------------------------------------------------- */

static void spoil_registers(void)
{
#if defined(__x86_64__)
	unsigned control = 0x7f80; /* round to zero */
	__asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n\tpcmpeqd %%xmm1, %%xmm1\n\t"
	                 "movdqa %%xmm0, %%xmm2\n\tmovdqa %%xmm0, %%xmm3\n\t"
	                 "movdqa %%xmm0, %%xmm4\n\tmovdqa %%xmm0, %%xmm5\n\t"
	                 "movdqa %%xmm0, %%xmm6\n\tmovdqa %%xmm0, %%xmm7\n\t"
	                 "movdqa %%xmm0, %%xmm8\n\tmovdqa %%xmm0, %%xmm9\n\t"
	                 "movdqa %%xmm0, %%xmm10\n\tmovdqa %%xmm0, %%xmm11\n\t"
	                 "movdqa %%xmm0, %%xmm12\n\tmovdqa %%xmm0, %%xmm13\n\t"
	                 "movdqa %%xmm0, %%xmm14\n\tmovdqa %%xmm0, %%xmm15\n\t"
	                 "ldmxcsr %0\n\tfldpi\n\tfldpi"
	                 : : "m"(control)
	                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
	                   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
#endif
}

/* Some depth of stack, each level with bytes of its own. */
static unsigned __attribute__((noinline)) deep(unsigned level)
{
	volatile unsigned char bytes[1500];
	for (size_t i = 0; i < sizeof(bytes); i += 100)
		bytes[i] = (unsigned char)(level + i);
	unsigned bad = level > 0 ? deep(level - 1) : 0;
	for (size_t i = 0; i < sizeof(bytes); i += 100)
		bad += bytes[i] != (unsigned char)(level + i);
	return bad;
}

static void on_timer(int signal, siginfo_t *info, void *context)
{
	const ucontext_t *interrupted = context;
	sigset_t mask;
	char here;
	if (signal != SIGNAL || info->si_signo != SIGNAL || info->si_code != SI_TIMER ||
	    info->si_value.sival_int != VALUE)
		wrong_information++;
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	if (sigismember(&mask, SIGNAL) != 1 || sigismember(&mask, SIGHUP) != 1 ||
	    sigismember(&mask, SIGUSR1) != 0 ||
	    sigismember(&interrupted->uc_sigmask, SIGNAL) != 0 ||
	    sigismember(&interrupted->uc_sigmask, SIGUSR2) != 1)
		wrong_mask++;
	if (handler_stack && (&here < handler_stack || &here >= handler_stack +
	                                                                handler_stack_size))
		wrong_stack++;
	wrong_locals += (int)deep(4);
	taken++;
	spoil_registers();
}

/* ---- What is interrupted --------------------------------------------------------------- */

/* Holds 16 values in the vector registers for some microseconds. */
static void hold_registers(unsigned seed)
{
#if defined(__x86_64__)
	uint64_t before[32], after[32];
	for (unsigned i = 0; i < 32; i++)
		before[i] = (uint64_t)(seed + i) * 0x9e3779b97f4a7c15u;
#define EACH(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) \
	        op(13) op(14) op(15)
#define LOAD(n) "movdqu 16*" #n "(%1), %%xmm" #n "\n\t"
#define STORE(n) "movdqu %%xmm" #n ", 16*" #n "(%2)\n\t"
	unsigned long rounds = 2000;
	__asm__ volatile(EACH(LOAD) "1: pause\n\tdec %0\n\tjnz 1b\n\t" EACH(STORE)
	                 : "+r"(rounds)
	                 : "r"(before), "r"(after)
	                 : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
	                   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	wrong_registers += memcmp(before, after, sizeof(before)) != 0;
#else
	(void)seed;
#endif
}

#if defined(__x86_64__)
/* The same with the upper halves of wide registers. */
static void __attribute__((target("avx"))) hold_wide(unsigned seed)
{
	uint64_t before[8], after[8];
	for (unsigned i = 0; i < 8; i++)
		before[i] = (uint64_t)(seed + i) * 0xbf58476d1ce4e5b9u;
	unsigned long rounds = 1000;
	__asm__ volatile("vmovdqu (%1), %%ymm3\n\tvmovdqu 32(%1), %%ymm12\n\t"
	                 "1: pause\n\tdec %0\n\tjnz 1b\n\t"
	                 "vmovdqu %%ymm3, (%2)\n\tvmovdqu %%ymm12, 32(%2)\n\tvzeroupper"
	                 : "+r"(rounds) : "r"(before), "r"(after)
	                 : "memory", "xmm3", "xmm12");
	wrong_wide += memcmp(before, after, sizeof(before)) != 0;
}
#endif

static void work(unsigned round)
{
	long double third = 1.0L / (long double)(round + 3);
	volatile double sum = 0.5;
	hold_registers(round);
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx"))
		hold_wide(round);
#endif
	for (int i = 0; i < 100; i++)
		sum = sum * 1.000001 + (double)i;
	if (third * (long double)(round + 3) < 0.999L || sum < 4000 ||
	    (_mm_getcsr() & 0x6000) != 0)
		wrong_modes++;
	wrong_locals += (int)deep(round % 8);
}

static void begin(void)
{
	sigset_t mask;
	struct sigaction action = { .sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	taken = 0;
	wrong_information = wrong_mask = wrong_locals = wrong_stack = 0;
	wrong_registers = wrong_wide = wrong_modes = 0;
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGHUP);
	MUST_BE(sigaction(SIGNAL, &action, NULL) == 0);
	/* A signal that is blocked in what is interrupted, to be seen in its context. */
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
}

static void end(void)
{
	sigset_t mask;
	handler_stack = NULL;
	signal(SIGNAL, SIG_IGN);
	sigemptyset(&mask);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	say("enough signals: %d", taken >= timer_signals);
	say("wrong: information %d, masks %d, locals %d, stacks %d", wrong_information, wrong_mask,
	    wrong_locals, wrong_stack);
	say("wrong: registers %d, wide ones %d, modes %d", wrong_registers, wrong_wide,
	    wrong_modes);
}

/* ---- The stacks ------------------------------------------------------------------------ */

static void set_alternate(void *memory)
{
	stack_t stack = { .ss_sp = memory, .ss_size = ALTERNATE_SIZE };
	if (!memory)
		stack.ss_flags = SS_DISABLE;
	MUST_BE(sigaltstack(&stack, NULL) == 0);
	handler_stack = memory;
	handler_stack_size = ALTERNATE_SIZE;
}

static void until_enough(void)
{
	timer_t timer = timer_begin(SIGNAL, INTERVAL, VALUE);
	for (unsigned round = 0; taken < timer_signals; round++)
		work(round);
	timer_delete(timer);
}

static void alternate_stack(void)
{
	char *memory = pages(ALTERNATE_SIZE / PAGE);
	begin();
	set_alternate(memory);
	evict_begin(memory, ALTERNATE_SIZE);
	until_enough();
	evict_end();
	end();
	set_alternate(NULL);
	free(memory);
}

/* Three coroutines that hand on to one another, the handler on the stack of whichever runs. */
#define CONTEXTS 3
static ucontext_t contexts[CONTEXTS], main_context;
static int finished_contexts;
static timer_t context_timer;

static void coroutine(int self)
{
	unsigned char own[3000];
	memset(own, self + 1, sizeof(own));
	/* Not before: one that waited would come as soon as the mask opens, on the stack of main. */
	if (self == 0)
		context_timer = timer_begin(SIGNAL, INTERVAL, VALUE);
	for (unsigned round = 0; taken < timer_signals; round++) {
		work(round);
		swapcontext(&contexts[self], &contexts[(self + 1) % CONTEXTS]);
		for (size_t i = 0; i < sizeof(own); i += 64)
			wrong_locals += own[i] != self + 1;
	}
	/* The others see the same, each when it is its turn. */
	if (++finished_contexts < CONTEXTS)
		swapcontext(&contexts[self], &contexts[(self + 1) % CONTEXTS]);
	setcontext(&main_context);
}

static void context_stacks(void)
{
	char *memory = pages(CONTEXTS * CONTEXT_SIZE / PAGE);
	begin();
	finished_contexts = 0;
	handler_stack = memory;
	handler_stack_size = CONTEXTS * CONTEXT_SIZE;
	for (int i = 0; i < CONTEXTS; i++) {
		getcontext(&contexts[i]);
		contexts[i].uc_stack.ss_sp = memory + (size_t)i * CONTEXT_SIZE;
		contexts[i].uc_stack.ss_size = CONTEXT_SIZE;
		contexts[i].uc_link = &main_context;
		makecontext(&contexts[i], (void (*)(void))coroutine, 1, i);
	}
	evict_begin(memory, CONTEXTS * CONTEXT_SIZE);
	sigset_t mask, before;
	sigemptyset(&mask);
	sigaddset(&mask, SIGNAL);
	/* Blocked while this runs on its own stack, open in the contexts. */
	sigprocmask(SIG_BLOCK, &mask, &before);
	swapcontext(&main_context, &contexts[0]);
	timer_delete(context_timer);
	signal(SIGNAL, SIG_IGN);
	sigprocmask(SIG_SETMASK, &before, NULL);
	evict_end();
	say("coroutines that ended: %d", finished_contexts);
	end();
	free(memory);
}

static void *thread_on_stack(void *argument)
{
	unsigned char own[10000];
	memset(own, 0x77, sizeof(own));
	until_enough();
	for (size_t i = 0; i < sizeof(own); i++)
		wrong_locals += own[i] != 0x77;
	return argument;
}

static void run_thread(char *memory, void *(*function)(void *))
{
	pthread_attr_t attributes;
	pthread_t thread;
	void *value = NULL;
	pthread_attr_init(&attributes);
	MUST_BE(pthread_attr_setstack(&attributes, memory, THREAD_SIZE) == 0);
	MUST_BE(pthread_create(&thread, &attributes, function, memory) == 0);
	pthread_join(thread, &value);
	pthread_attr_destroy(&attributes);
	check("joined", value == memory);
}

static void thread_stack(void)
{
	char *memory = pages(THREAD_SIZE / PAGE);
	begin();
	handler_stack = memory;
	handler_stack_size = THREAD_SIZE;
	evict_begin(memory, THREAD_SIZE);
	run_thread(memory, thread_on_stack);
	evict_end();
	end();
	free(memory);
}

static char *alternate_of_thread;

static void *thread_with_alternate(void *argument)
{
	set_alternate(alternate_of_thread);
	return thread_on_stack(argument);
}

/* Both the thread's stack and its alternate one. */
static void thread_and_alternate(void)
{
	char *memory = pages((THREAD_SIZE + ALTERNATE_SIZE) / PAGE);
	begin();
	alternate_of_thread = memory + THREAD_SIZE;
	evict_begin(memory, THREAD_SIZE + ALTERNATE_SIZE);
	run_thread(memory, thread_with_alternate);
	evict_end();
	end();
	free(memory);
}

const struct test storm_tests[] = {
	{ "alternate_stack", alternate_stack },
	{ "context_stacks", context_stacks },
	{ "thread_stack", thread_stack },
	{ "thread_and_alternate", thread_and_alternate },
	{ 0 },
};
