/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * phases.c - where the time of a page fault goes, and how many system calls it makes
 *
 * Question   A first touch of one page, in a frame that has to be zeroed: how long do the trap, the look-up, the
 *            frame, its filling and its mapping take, in the middle (p50) and in the worst hundredth (p99)?
 *            And how many system calls does the handler make?
 * Unit       nanoseconds; system calls a fault.
 * Baseline   The whole fault. Of calls: those of a bare handler (bare.h).
 * Target     none.
 * Repeat     make bench, or bench/phases [--quick] [--json FILE]. One processor, quiet machine.
 *
 * The library is not slowed by clocks: each phase is measured by itself, and the whole by itself.
 *   trap       a SIGSEGV whose handler does no more than let the instruction go on elsewhere
 *   look-up    upage_translate() of a page that is not there: mapping and page table
 *   fill       pwrite(2) of a page of zeros to a frame
 *   map        mmap(MAP_FIXED | MAP_POPULATE) of that frame
 *   frame      what is left of the whole: a frame is found, entries, lists and counts are written
 * Phases are of mapping=remap. The p99 of a sum is not the sum of p99s: that of frame is at least nought.
 *
 * Calls are counted by ptrace(2), in a process of its own, between two calls that do not exist, which mark the beginning and the
 * end; the return from the handler (rt_sigreturn) is one of them.
 */
#include "bench.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "bare.h"
#include "paged.h"

#define COUNTED 512  /* faults, under ptrace */
#define MARK 0xfffff /* the number of no system call */

static size_t region = 16384; /* pages */
static struct paged paged;

/* ---- Times ------------------------------------------------------------------------------------------ */

static double *samples;

/* Of @samples, sorted, less what the clock itself takes. */
struct spread {
	double p50, p99;
};

static struct spread spread(void)
{
	static double clock_time;
	struct spread result;
	if (clock_time == 0) {
		double reads[1001];
		for (unsigned i = 0; i < 1001; i++) {
			reads[i] = bench_now();
			reads[i] = bench_now() - reads[i];
		}
		clock_time = bench_median(reads, 1001);
	}
	qsort(samples, region, sizeof(*samples), bench_compare);
	result.p50 = fmax(samples[region / 2] - clock_time, 0);
	result.p99 = fmax(samples[region / 100 * 99] - clock_time, 0);
	return result;
}

#define SAMPLE(i, action)                                                                         \
	do {                                                                                      \
		double start = bench_now();                                                       \
		action;                                                                           \
		samples[i] = bench_now() - start;                                                 \
	} while (0)

static char elsewhere;

#if defined(__x86_64__)
static inline void store(char *address)
{
	__asm__ volatile("movb $1, (%%rdi)" : "+D"(address) : : "memory");
}
#define ADDRESS_REGISTER(context) ((context)->uc_mcontext.gregs[REG_RDI])
#elif defined(__aarch64__)
static inline void store(char *address)
{
	register char *x0 __asm__("x0") = address;
	__asm__ volatile("strb wzr, [x0]" : "+r"(x0) : : "memory");
}
#define ADDRESS_REGISTER(context) ((context)->uc_mcontext.regs[0])
#endif

static void on_trap(int number, siginfo_t *info, void *context)
{
	(void)number, (void)info;
	ADDRESS_REGISTER((ucontext_t *)context) = (intptr_t)&elsewhere;
}

static struct spread trap(void)
{
	bare_install(on_trap);
	for (size_t i = 0; i < region; i++)
		SAMPLE(i, store(bare.arena + i * PAGE));
	bare_remove();
	return spread();
}

static struct spread fill(void)
{
	for (size_t i = 0; i < region; i++)
		SAMPLE(i, bare_zero(i));
	return spread();
}

static struct spread map(void)
{
	for (size_t i = 0; i < region; i++)
		SAMPLE(i, bare_show(i, i, RW));
	return spread();
}

static struct spread look_up(void)
{
	upage_pfn pfn;
	for (size_t i = 0; i < region; i++)
		SAMPLE(i, upage_translate(paged.space, paged.memory + i * PAGE, PROT_WRITE, &pfn));
	return spread();
}

static void make(size_t frames, size_t pages)
{
	paged_make(&paged, pages, "memory=%zu,prefetch=off,mapping=remap", frames * PAGE);
}

/* All pages are new, all frames used. */
static void recycle(size_t pages)
{
	void *address = paged.memory;
	memset(address, 1, pages * PAGE);
	need(upage_unmap(paged.space, address, pages * PAGE), "upage_unmap");
	need(upage_map(paged.space, &address, pages * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0), "upage_map");
}

static struct spread whole(void)
{
	for (size_t i = 0; i < region; i++)
		SAMPLE(i, *(volatile char *)(paged.memory + i * PAGE) = 1);
	return spread();
}

static void figure(const struct bench *bench, const char *name, struct spread phase, struct spread all)
{
	char text[40];
	snprintf(text, sizeof(text), "%s-p50", name);
	bench_figure(bench, text, phase.p50, "whole fault", all.p50);
	snprintf(text, sizeof(text), "%s-p99", name);
	bench_figure(bench, text, phase.p99, "whole fault", all.p99);
}

static void time_phases(const struct bench *bench)
{
	samples = calloc(region, sizeof(*samples));
	need_host(samples != NULL, "memory");
	make(region, region);
	recycle(region);
	struct spread of_look_up = look_up(), all = whole();
	paged_end(&paged);
	bare_make(region, region);
	struct spread of_trap = trap();
	fill(); /* frames that were used */
	struct spread of_fill = fill(), of_map = map();
	bare_end();
	struct spread of_frame = {
		fmax(all.p50 - of_trap.p50 - of_look_up.p50 - of_fill.p50 - of_map.p50, 0),
		fmax(all.p99 - of_trap.p99 - of_look_up.p99 - of_fill.p99 - of_map.p99, 0),
	};
	figure(bench, "trap", of_trap, all);
	figure(bench, "look-up", of_look_up, all);
	figure(bench, "frame", of_frame, all);
	figure(bench, "fill", of_fill, all);
	figure(bench, "map", of_map, all);
}

/* ---- System calls ---------------------------------------------------------------------------------------- */

/* What is counted: made ready, and then touched page by page. */
enum kind { BARE, FRESH, RECYCLED, MAJOR };

static void get_ready(enum kind kind)
{
	if (kind == BARE) {
		bare_make(COUNTED, COUNTED);
		bare_install(bare_on_fresh);
		return;
	}
	make(kind == MAJOR ? COUNTED / 2 : COUNTED, COUNTED);
	if (kind == RECYCLED)
		recycle(COUNTED);
	if (kind == MAJOR)
		for (unsigned pass = 0; pass < 3; pass++)
			bench_touch(paged.memory, COUNTED);
}

__attribute__((noreturn)) static void traced(enum kind kind)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(1);
	raise(SIGSTOP);
	get_ready(kind);
	syscall(MARK);
	bench_touch(kind == BARE ? bare.arena : paged.memory, COUNTED);
	syscall(MARK);
	_exit(0);
}

/* Return: calls a fault; negative: it cannot be traced. */
static double count_calls(enum kind kind)
{
	int status, deliver = 0;
	unsigned marks = 0, calls = 0;
	fflush(NULL);
	pid_t child = fork();
	need_host(child >= 0, "fork");
	if (child == 0)
		traced(kind);
	if (waitpid(child, &status, 0) < 0 || !WIFSTOPPED(status))
		return -1;
	ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	while (ptrace(PTRACE_SYSCALL, child, NULL, deliver) == 0 && waitpid(child, &status, 0) == child &&
	       WIFSTOPPED(status)) {
		struct __ptrace_syscall_info info;
		deliver = 0;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			deliver = WSTOPSIG(status);
		else if (ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) > 0 &&
		         info.op == PTRACE_SYSCALL_INFO_ENTRY) {
			if (info.entry.nr == MARK)
				marks++;
			else if (marks == 1)
				calls++;
		}
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || marks != 2)
		return -1;
	return (double)calls / COUNTED;
}

static void count_all(struct bench bench)
{
	static const struct {
		const char *name;
		enum kind kind;
	} kinds[] = { { "calls-fresh", FRESH }, { "calls-recycled", RECYCLED }, { "calls-major", MAJOR } };
	double of_bare = count_calls(BARE);
	bench.unit = "calls";
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		double ours = of_bare < 0 ? -1 : count_calls(kinds[i].kind);
		if (ours < 0)
			bench_skip(kinds[i].name, "no process can be traced here");
		else
			bench_figure(&bench, kinds[i].name, ours, "bare handler, fresh", of_bare);
	}
}

int main(int argc, char **argv)
{
	struct bench bench = bench_begin("phases", "ns", argc, argv);
	region /= bench.divisor;
	time_phases(&bench);
	count_all(bench);
	bench_end(&bench);
	return 0;
}
