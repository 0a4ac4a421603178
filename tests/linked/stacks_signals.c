/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stacks_signals.c - tests of stacks.c: flags, masks, queues and interrupted calls
 *
 * All handlers run on an alternate stack of malloc's that is evicted all the time.
 */
#include "stacks.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_SIZE ((size_t)262144)
static char *stack;
static int *volatile nowhere = (int *)24;

static void begin(void)
{
	stack = alternate_begin(STACK_SIZE);
}

static void end(void)
{
	alternate_end();
	signal(SIGUSR1, SIG_DFL);
	signal(SIGUSR2, SIG_DFL);
}

static void block(int signal, int how)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal);
	MUST_BE(pthread_sigmask(how, &set, NULL) == 0);
}

static bool is_blocked(int signal)
{
	sigset_t set;
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	return sigismember(&set, signal) == 1;
}

/* ---- Flags ----------------------------------------------------------------------------- */

static volatile int depth, deepest, calls, off_stack;

static void nesting(int signal, siginfo_t *info, void *context)
{
	char here;
	(void)info;
	(void)context;
	calls++;
	off_stack += &here < stack || &here >= stack + STACK_SIZE;
	if (++depth > deepest)
		deepest = depth;
	if (calls < 5)
		raise(signal);
	depth--;
}

static void nodefer(void)
{
	begin();
	depth = deepest = calls = off_stack = 0;
	catch_signal(SIGUSR1, nesting, SA_ONSTACK | SA_NODEFER);
	raise(SIGUSR1);
	say("with SA_NODEFER: depth %d, calls %d, not on the stack %d", deepest, calls, off_stack);
	depth = deepest = calls = 0;
	catch_signal(SIGUSR1, nesting, SA_ONSTACK);
	raise(SIGUSR1);
	say("without: depth %d, calls %d, not on the stack %d", deepest, calls, off_stack);
	end();
}

static void once(int signal, siginfo_t *info, void *context)
{
	struct sigaction now;
	(void)info;
	(void)context;
	calls++;
	sigaction(signal, NULL, &now);
	deepest = now.sa_handler == SIG_DFL;
}

static void resethand(void)
{
	begin();
	calls = deepest = 0;
	catch_signal(SIGCHLD, once, SA_ONSTACK | (int)SA_RESETHAND);
	raise(SIGCHLD);
	raise(SIGCHLD);
	say("calls %d, the default within: %d", calls, deepest);
	end();
}

/* ---- Interrupted calls ----------------------------------------------------------------- */

static int ends[2];
static volatile bool reader_done;
static _Atomic int handled;

static void count(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
	(void)context;
	handled++;
}

static void *disturb(void *argument)
{
	pthread_t *target = argument;
	for (int i = 0; i < 20; i++) {
		pause_ms(5);
		pthread_kill(*target, SIGUSR1);
	}
	MUST_BE(write(ends[1], "bytes", 5) == 5);
	/* One more and another, until it was seen. */
	while (!reader_done) {
		pthread_kill(*target, SIGUSR2);
		pause_ms(20);
	}
	return NULL;
}

static void restart(void)
{
	char buffer[100];
	pthread_t self = pthread_self(), other;
	begin();
	MUST_BE(pipe(ends) == 0);
	handled = 0;
	reader_done = false;
	catch_signal(SIGUSR1, count, SA_ONSTACK | SA_RESTART);
	catch_signal(SIGUSR2, count, SA_ONSTACK);
	MUST_BE(pthread_create(&other, NULL, disturb, &self) == 0);
	errno = 0;
	long got = read(ends[0], buffer, sizeof(buffer));
	say("read with SA_RESTART: %ld, errno %d", got, errno);
	check("handlers ran meanwhile", handled > 0);
	got = read(ends[0], buffer, sizeof(buffer));
	say("read without: %ld, EINTR %d", got, errno == EINTR);
	reader_done = true;
	pthread_join(other, NULL);
	close(ends[0]);
	close(ends[1]);
	end();
}

static void *send_many(void *argument)
{
	pthread_t *target = argument;
	while (!reader_done) {
		pthread_kill(*target, SIGUSR1);
		pause_ms(1);
	}
	return NULL;
}

static void suspended(void)
{
	sigset_t mask;
	pthread_t self = pthread_self(), other;
	begin();
	handled = 0;
	reader_done = false;
	catch_signal(SIGUSR1, count, SA_ONSTACK);
	block(SIGUSR1, SIG_BLOCK);
	MUST_BE(pthread_create(&other, NULL, send_many, &self) == 0);
	sigemptyset(&mask);
	int interrupted = 0, exactly = 0;
	for (int i = 0; i < 200; i++) {
		int before = handled;
		interrupted += sigsuspend(&mask) == -1 && errno == EINTR;
		exactly += handled == before + 1;
	}
	say("sigsuspend: %d interrupted, %d by one signal each", interrupted, exactly);
	check("blocked again", is_blocked(SIGUSR1));
	sigaddset(&mask, SIGUSR1);
	int received = 0, signal_got = 0;
	for (int i = 0; i < 200; i++)
		received += sigwait(&mask, &signal_got) == 0 && signal_got == SIGUSR1;
	say("sigwait: %d received", received);
	reader_done = true;
	pthread_join(other, NULL);
	struct timespec none = { 0, 0 };
	while (sigtimedwait(&mask, NULL, &none) > 0)
		;
	block(SIGUSR1, SIG_UNBLOCK);
	end();
}

/* ---- Out of a handler ------------------------------------------------------------------ */

static sigjmp_buf back;

static void jump(int signal, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	siglongjmp(back, signal);
}

static void jumps(void)
{
	volatile int jumped = 0, still_blocked = 0;
	begin();
	catch_signal(SIGUSR1, jump, SA_ONSTACK);
	catch_signal(SIGSEGV, jump, SA_ONSTACK);
	for (volatile int i = 0; i < 1000; i++) {
		int signal = sigsetjmp(back, 1);
		if (signal == 0) {
			if (i % 2)
				raise(SIGUSR1);
			else
				*nowhere = 1;
		} else {
			jumped++;
		}
		still_blocked += is_blocked(SIGUSR1) || is_blocked(SIGSEGV);
	}
	say("jumped %d times, still blocked %d times", jumped, still_blocked);
	signal(SIGSEGV, SIG_DFL);
	end();
}

/* ---- Queues ---------------------------------------------------------------------------- */

#define QUEUED 1000
static volatile int next_value, out_of_order, wrong_code;

static void queued(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	out_of_order += info->si_value.sival_int != next_value;
	wrong_code += info->si_code != SI_QUEUE || info->si_pid != getpid();
	next_value++;
}

static void *queue_all(void *argument)
{
	pthread_t *target = argument;
	union sigval value = { 0 };
	for (; value.sival_int < QUEUED; value.sival_int++)
		while (pthread_sigqueue(*target, SIGRTMIN + 1, value) == EAGAIN)
			pause_ms(1);
	return NULL;
}

static void realtime(void)
{
	pthread_t self = pthread_self(), other;
	union sigval value = { 0 };
	begin();
	next_value = out_of_order = wrong_code = 0;
	catch_signal(SIGRTMIN + 1, queued, SA_ONSTACK);
	block(SIGRTMIN + 1, SIG_BLOCK);
	for (; value.sival_int < QUEUED; value.sival_int++)
		MUST_BE(sigqueue(getpid(), SIGRTMIN + 1, value) == 0);
	say("before: %d", next_value);
	block(SIGRTMIN + 1, SIG_UNBLOCK);
	say("queued while blocked: %d, out of order %d, wrong %d", next_value, out_of_order,
	    wrong_code);
	next_value = out_of_order = 0;
	MUST_BE(pthread_create(&other, NULL, queue_all, &self) == 0);
	char *memory = pages(8);
	for (unsigned i = 0; next_value < QUEUED; i++) {
		/* Page faults and system calls, for the signals to come into. */
		((volatile char *)memory)[i % 8 * PAGE]++;
		if (i % 50 == 0)
			getppid();
	}
	pthread_join(other, NULL);
	say("queued while open: %d, out of order %d, wrong %d", next_value, out_of_order,
	    wrong_code);
	free(memory);
	signal(SIGRTMIN + 1, SIG_DFL);
	end();
}

static char order[16];
static volatile int order_length;

static void note_order(int signal, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	order[order_length++] = signal == SIGUSR1 ? '1' : signal == SIGUSR2 ? '2' : 'r';
}

/* Several that wait are delivered at once, each handler on top of the one before. */
static void order_of_delivery(void)
{
	sigset_t all, none;
	begin();
	order_length = 0;
	catch_signal(SIGUSR1, note_order, SA_ONSTACK);
	catch_signal(SIGUSR2, note_order, SA_ONSTACK);
	catch_signal(SIGRTMIN + 1, note_order, SA_ONSTACK);
	sigemptyset(&none);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	raise(SIGRTMIN + 1);
	raise(SIGUSR2);
	raise(SIGUSR1);
	raise(SIGUSR1);
	raise(SIGRTMIN + 1);
	sigprocmask(SIG_SETMASK, &none, NULL);
	order[order_length] = 0;
	say("order %s", order);
	signal(SIGRTMIN + 1, SIG_DFL);
	end();
}

/* ---- One upon another ------------------------------------------------------------------ */

static volatile int next_of[2], wrong_order;

static void numbered(int signal, siginfo_t *info, void *context)
{
	(void)context;
	volatile int *next = &next_of[signal - SIGRTMIN - 1];
	wrong_order += info->si_value.sival_int != *next;
	++*next;
}

/* Two kinds in turn, so that one comes while another is on its way; and some that nobody counts. */
static void *number_all(void *argument)
{
	pthread_t *target = argument;
	union sigval value = { 0 };
	for (; value.sival_int < QUEUED; value.sival_int++) {
		for (int i = 0; i < 2; i++)
			while (pthread_sigqueue(*target, SIGRTMIN + 1 + i, value) == EAGAIN)
				pause_ms(1);
		if (value.sival_int % 2 == 0)
			pthread_kill(*target, SIGSEGV);
	}
	return NULL;
}

static void under_numbers(const char *what, void (*work)(unsigned round))
{
	pthread_t self = pthread_self(), other;
	begin();
	next_of[0] = next_of[1] = wrong_order = 0;
	handled = 0;
	catch_signal(SIGRTMIN + 1, numbered, SA_ONSTACK | SA_RESTART);
	catch_signal(SIGRTMIN + 2, numbered, SA_ONSTACK | SA_RESTART);
	catch_signal(SIGSEGV, count, SA_ONSTACK | SA_RESTART);
	MUST_BE(pthread_create(&other, NULL, number_all, &self) == 0);
	for (unsigned i = 0; next_of[0] < QUEUED || next_of[1] < QUEUED; i++)
		work(i);
	pthread_join(other, NULL);
	say("%s: %d and %d, out of order %d", what, next_of[0], next_of[1], wrong_order);
	check("others came too", handled > 0);
	signal(SIGRTMIN + 1, SIG_DFL);
	signal(SIGRTMIN + 2, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
	end();
}

static void allocate(unsigned round)
{
	size_t bytes = 100000 + round % 7 * 300000;
	volatile char *memory = malloc(bytes);
	MUST_BE(memory != NULL);
	memory[bytes / 2] = 1;
	free((void *)memory);
}

static void compute(unsigned round)
{
	for (volatile unsigned i = 0; i < 1000; i++)
		round += i;
}

static void execute_nothing(unsigned round)
{
	char *arguments[] = { (char *)"nothing", NULL };
	(void)round;
	execv("/nonexistent/nothing", arguments);
}

static void none_lost(void)
{
	under_numbers("in allocations", allocate);
	under_numbers("in computations", compute);
	under_numbers("in execve that fails", execute_nothing);
}

/* What sigsuspend opens is closed again when it is over, whatever came while a handler ended. */
static _Atomic int came_first, came; /* one may come while another is counted */

/* One is the first in each call: it has the mask from before it. The others come upon it. */
static void note_first(int signal, siginfo_t *info, void *context)
{
	const ucontext_t *interrupted = context;
	(void)signal;
	(void)info;
	came++;
	came_first += sigismember(&interrupted->uc_sigmask, SIGUSR1) == 1 &&
	              sigismember(&interrupted->uc_sigmask, SIGUSR2) == 1;
}

static void *send_both(void *argument)
{
	pthread_t *target = argument;
	for (int round = 0; !reader_done; round++) {
		int before = came;
		pthread_kill(*target, SIGUSR1);
		while (came == before && !reader_done)
			sched_yield();
		for (volatile int i = 0; i < round * 7 % 1500; i++)
			;
		pthread_kill(*target, SIGUSR2);
	}
	return NULL;
}

static void closed_again(void)
{
	sigset_t mask;
	pthread_t self = pthread_self(), other;
	begin();
	came = came_first = 0;
	reader_done = false;
	catch_signal(SIGUSR1, note_first, SA_ONSTACK);
	catch_signal(SIGUSR2, note_first, SA_ONSTACK);
	block(SIGUSR1, SIG_BLOCK);
	block(SIGUSR2, SIG_BLOCK);
	MUST_BE(pthread_create(&other, NULL, send_both, &self) == 0);
	sigemptyset(&mask);
	int calls = 0; /* on a busy machine the second of two may always be late */
	for (; calls < 1000 || (came == calls && calls < 100000); calls++) {
		sigsuspend(&mask);
		compute(0);
	}
	bool nested = came > calls;
	reader_done = true;
	pthread_join(other, NULL);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	block(SIGUSR1, SIG_UNBLOCK);
	block(SIGUSR2, SIG_UNBLOCK);
	check("one upon another", nested);
	say("first in a call, each time: %d", came_first == calls);
	end();
}

/* ---- SIGSEGV and SIGSYS like any other ------------------------------------------------- */

static void *kill_reader(void *argument)
{
	pthread_t *target = argument;
	for (int i = 0; i < 3; i++) {
		pause_ms(10);
		pthread_kill(*target, i == 1 ? SIGSYS : SIGSEGV);
	}
	MUST_BE(write(ends[1], "bytes", 5) == 5);
	return NULL;
}

static void read_meanwhile(const char *what)
{
	char buffer[10];
	pthread_t self = pthread_self(), other;
	MUST_BE(pthread_create(&other, NULL, kill_reader, &self) == 0);
	long got = read(ends[0], buffer, sizeof(buffer));
	pthread_join(other, NULL);
	say("read, %s: %ld, handled %d", what, got, (int)handled);
}

static void sent_traps(void)
{
	static const int numbers[] = { SIGSEGV, SIGSYS, SIGBUS };
	sigset_t none;
	begin();
	sigemptyset(&none);
	MUST_BE(pipe(ends) == 0);
	for (int i = 0; i < 3; i++) {
		catch_signal(numbers[i], count, SA_ONSTACK | SA_RESTART);
		block(numbers[i], SIG_BLOCK);
		handled = 0;
		raise(numbers[i]);
		say("%d blocked: %d", i, (int)handled);
		int result = sigsuspend(&none);
		say("%d in sigsuspend: %d, %d, blocked %d", i, result, (int)handled,
		    is_blocked(numbers[i]));
	}
	handled = 0;
	read_meanwhile("blocked");
	for (int i = 0; i < 3; i++)
		block(numbers[i], SIG_UNBLOCK);
	say("handled then %d", (int)handled);
	handled = 0;
	read_meanwhile("restarted");
	for (int i = 0; i < 3; i++)
		signal(numbers[i], SIG_DFL);
	close(ends[0]);
	close(ends[1]);
	end();
}

/* ---- What frames tell ------------------------------------------------------------------ */

static volatile int without_state, wrong_flags, wrong_control;

static void look(int signal, siginfo_t *info, void *context)
{
	const ucontext_t *interrupted = context;
	(void)signal;
	(void)info;
	wrong_flags += interrupted->uc_stack.ss_flags != 0 ||
	               interrupted->uc_stack.ss_sp != stack || interrupted->uc_link != NULL;
#if defined(__x86_64__)
	without_state += interrupted->uc_mcontext.fpregs == NULL;
	if (interrupted->uc_mcontext.fpregs != NULL)
		wrong_control += interrupted->uc_mcontext.fpregs->cwd != 0x37f ||
		                 interrupted->uc_mcontext.fpregs->mxcsr != 0x1f80;
#endif
	calls++;
}

static void frames(void)
{
	sigset_t all, none;
	begin();
	calls = without_state = wrong_flags = wrong_control = 0;
	catch_signal(SIGUSR1, look, SA_ONSTACK);
	catch_signal(SIGUSR2, look, SA_ONSTACK);
	sigemptyset(&none);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	raise(SIGUSR1);
	raise(SIGUSR2);
	sigprocmask(SIG_SETMASK, &none, NULL);
	say("frames %d, without state %d, with wrong modes %d, with wrong stacks %d", calls,
	    without_state, wrong_control, wrong_flags);
	end();
}

/* ---- Threads and processes ------------------------------------------------------------- */

static atomic_int ready, got_it;
static _Thread_local volatile int mine;

static void count_mine(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
	(void)context;
	mine++;
}

static void *wait_for_mine(void *argument)
{
	ready++;
	while (mine == 0)
		pause_ms(1);
	got_it++;
	return argument;
}

static void to_threads(void)
{
	pthread_t threads[4];
	begin();
	ready = got_it = 0;
	catch_signal(SIGUSR1, count_mine, 0);
	for (int i = 0; i < 4; i++)
		MUST_BE(pthread_create(&threads[i], NULL, wait_for_mine, NULL) == 0);
	while (ready < 4)
		pause_ms(1);
	for (int i = 0; i < 4; i++)
		pthread_kill(threads[i], SIGUSR1);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	say("threads that got theirs: %d, here %d", got_it, mine);
	say("pthread_kill with signal 0: %d, with 99: %d", pthread_kill(pthread_self(), 0),
	    pthread_kill(pthread_self(), 99) == EINVAL);
	end();
}

static int status_of(void (*function)(void))
{
	int status = 0;
	pid_t child = fork();
	MUST_BE(child >= 0);
	if (child == 0) {
		function();
		_exit(0);
	}
	MUST_BE(waitpid(child, &status, 0) == child);
	return status;
}

static void die_of_abort(void)
{
	abort();
}

static void die_though_caught(void)
{
	catch_signal(SIGABRT, count, 0);
	abort();
}

static void die_of_fault(void)
{
	*nowhere = 1;
}

static void die_of_blocked_fault(void)
{
	catch_signal(SIGSEGV, count, 0);
	block(SIGSEGV, SIG_BLOCK);
	*nowhere = 1;
}

static void die_of_ignored_fault(void)
{
	signal(SIGSEGV, SIG_IGN);
	*nowhere = 1;
}

static void die_of_raise(void)
{
	raise(SIGTERM);
}

static void die_of_alarm(void)
{
	alarm(1);
	for (;;)
		pause();
}

static void deaths(void)
{
	/* Without the bit that tells of a core: limits differ. */
	say("abort: %x", (unsigned)status_of(die_of_abort) & ~0x80u);
	say("abort, caught: %x", (unsigned)status_of(die_though_caught) & ~0x80u);
	say("a fault: %x", (unsigned)status_of(die_of_fault) & ~0x80u);
	say("a fault, blocked: %x", (unsigned)status_of(die_of_blocked_fault) & ~0x80u);
	say("a fault, ignored: %x", (unsigned)status_of(die_of_ignored_fault) & ~0x80u);
	say("raise: %x", (unsigned)status_of(die_of_raise));
	say("alarm: %x", (unsigned)status_of(die_of_alarm));
}

const struct test signal_tests[] = {
	{ "nodefer", nodefer },
	{ "resethand", resethand },
	{ "restart", restart },
	{ "suspended", suspended },
	{ "jumps", jumps },
	{ "realtime", realtime },
	{ "order_of_delivery", order_of_delivery },
	{ "none_lost", none_lost },
	{ "closed_again", closed_again },
	{ "sent_traps", sent_traps },
	{ "frames", frames },
	{ "to_threads", to_threads },
	{ "deaths", deaths },
	{ 0 },
};
