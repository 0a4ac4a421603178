/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_signals.c - cases of calls.c: actions, masks, waiting for signals
 */
#include "calls.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SET_SIZE 8L

/* As the kernel has it on x86-64; the C library's differs. */
struct kernel_action {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static volatile sig_atomic_t seen[65];

static void note(int signal)
{
	seen[signal]++;
}

static uint64_t bit(int signal)
{
	return (uint64_t)1 << (signal - 1);
}

static void actions(void)
{
	struct kernel_action *new = EVICTED(struct kernel_action);
	struct kernel_action *old = EVICTED(struct kernel_action);
	struct sigaction *library = EVICTED(struct sigaction), *before =
	                                                               EVICTED(struct sigaction);
	library->sa_handler = note;
	library->sa_flags = SA_RESTART;
	sigaddset(&library->sa_mask, SIGTERM);
	memset((void *)seen, 0, sizeof(seen));
	CALL("sigaction of the C library", sigaction(SIGUSR1, library, before));
	check("before it the default", before->sa_handler == SIG_DFL);
	CALL("rt_sigaction to ask", syscall(SYS_rt_sigaction, SIGUSR1, NULL, old, SET_SIZE));
	say("mask %llx, flags %lx", (unsigned long long)old->mask, old->flags);
	check("handler", old->handler == note);
	/* The same for another signal, without its flag. */
	*new = *old;
	new->flags &= ~(unsigned long)SA_RESTART;
	new->mask = bit(SIGHUP);
	memset(old, 0x5a, sizeof(*old));
	CALL("rt_sigaction to set", syscall(SYS_rt_sigaction, SIGUSR2, new, old, SET_SIZE));
	check("before it the default", old->handler == SIG_DFL && old->mask == 0);
	raise(SIGUSR1);
	raise(SIGUSR2);
	say("seen: %d and %d", (int)seen[SIGUSR1], (int)seen[SIGUSR2]);
	new->handler = SIG_IGN;
	CALL("into its own argument", syscall(SYS_rt_sigaction, SIGUSR2, new, new, SET_SIZE));
	check("the one before", new->handler == note && new->mask == bit(SIGHUP));
	raise(SIGUSR2);
	say("seen: %d and %d", (int)seen[SIGUSR1], (int)seen[SIGUSR2]);
	CALL("for SIGKILL", syscall(SYS_rt_sigaction, SIGKILL, new, old, SET_SIZE));
	CALL("for SIGKILL to ask", syscall(SYS_rt_sigaction, SIGKILL, NULL, old, SET_SIZE));
	CALL("for signal 65", syscall(SYS_rt_sigaction, 65, NULL, old, SET_SIZE));
	CALL("for signal 65 from nowhere", syscall(SYS_rt_sigaction, 65, BAD, old, SET_SIZE));
	CALL("with masks of 4 bytes", syscall(SYS_rt_sigaction, SIGUSR1, BAD, old, 4L));
	CALL("from nowhere", syscall(SYS_rt_sigaction, SIGUSR1, BAD, NULL, SET_SIZE));
	new->handler = SIG_DFL;
	CALL("to nowhere", syscall(SYS_rt_sigaction, SIGUSR1, new, BAD, SET_SIZE));
	CALL("what it then is", syscall(SYS_rt_sigaction, SIGUSR1, NULL, old, SET_SIZE));
	check("set before the failure", old->handler == SIG_DFL);
	signal(SIGUSR1, SIG_DFL);
	signal(SIGUSR2, SIG_DFL);
}

static void masks(void)
{
	uint64_t *set = EVICTED(uint64_t), *old = EVICTED(uint64_t);
	sigset_t *library = EVICTED(sigset_t);
	memset((void *)seen, 0, sizeof(seen));
	signal(SIGUSR1, note);
	*set = bit(SIGUSR1) | bit(SIGKILL) | bit(SIGSEGV) | bit(SIGSYS);
	*old = 99;
	CALL("block", syscall(SYS_rt_sigprocmask, SIG_BLOCK, set, old, SET_SIZE));
	say("old mask %llx", (unsigned long long)*old);
	CALL("to ask", syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, old, SET_SIZE));
	say("mask %llx", (unsigned long long)*old);
	raise(SIGUSR1);
	say("seen: %d", (int)seen[SIGUSR1]);
	CALL("pending", syscall(SYS_rt_sigpending, old, SET_SIZE));
	say("pending %llx", (unsigned long long)*old);
	CALL("pending of the C library", sigpending(library));
	say("member %d", sigismember(library, SIGUSR1));
	*set = bit(SIGUSR1);
	CALL("unblock", syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, set, set, SET_SIZE));
	say("old mask %llx, seen: %d", (unsigned long long)*set, (int)seen[SIGUSR1]);
	*set = 0;
	CALL("set to none", syscall(SYS_rt_sigprocmask, SIG_SETMASK, set, old, SET_SIZE));
	say("old mask %llx", (unsigned long long)*old);
	CALL("pending", syscall(SYS_rt_sigpending, old, SET_SIZE));
	say("pending %llx", (unsigned long long)*old);
	CALL("pending, 4 bytes", syscall(SYS_rt_sigpending, old, 4L));
	CALL("pending, 9 bytes", syscall(SYS_rt_sigpending, old, 9L));
	CALL("an unknown way", syscall(SYS_rt_sigprocmask, 17, set, old, SET_SIZE));
	CALL("an unknown way, to ask", syscall(SYS_rt_sigprocmask, 17, NULL, old, SET_SIZE));
	CALL("a bad size and a bad set", syscall(SYS_rt_sigprocmask, SIG_BLOCK, BAD, old, 7L));
	CALL("from nowhere", syscall(SYS_rt_sigprocmask, SIG_BLOCK, BAD, old, SET_SIZE));
	*set = bit(SIGUSR2);
	CALL("to nowhere", syscall(SYS_rt_sigprocmask, SIG_BLOCK, set, BAD, SET_SIZE));
	CALL("to ask", syscall(SYS_rt_sigprocmask, 0, NULL, old, SET_SIZE));
	say("mask %llx", (unsigned long long)*old);
	*set = 0;
	CALL("set to none", syscall(SYS_rt_sigprocmask, SIG_SETMASK, set, NULL, SET_SIZE));
	CALL("sigprocmask of the C library", sigprocmask(SIG_BLOCK, NULL, library));
	signal(SIGUSR1, SIG_DFL);
}

static volatile bool on_stack;
static char *stack_memory;
#define STACK_SIZE (64 * 1024)

static void note_stack(int signal)
{
	char here;
	seen[signal]++;
	on_stack = &here > stack_memory && &here < stack_memory + STACK_SIZE;
}

static void alternate_stack(void)
{
	stack_t *new = EVICTED(stack_t), *old = EVICTED(stack_t);
	struct sigaction action = { .sa_handler = note_stack, .sa_flags = SA_ONSTACK };
	stack_memory = evicted(STACK_SIZE);
	memset((void *)seen, 0, sizeof(seen));
	new->ss_sp = stack_memory;
	new->ss_size = STACK_SIZE;
	memset(old, 0x5a, sizeof(*old));
	CALL("sigaltstack", sigaltstack(new, old));
	say("old flags %d, size %zu", old->ss_flags, old->ss_size);
	CALL("sigaltstack to ask", sigaltstack(NULL, old));
	check("stack", old->ss_sp == stack_memory && old->ss_size == STACK_SIZE);
	MUST(sigaction(SIGUSR1, &action, NULL));
	for (int i = 0; i < 20; i++) {
		push_out();
		raise(SIGUSR1);
	}
	say("seen: %d, on it: %d", (int)seen[SIGUSR1], on_stack);
	new->ss_size = 100;
	CALL("too small a stack", sigaltstack(new, old));
	new->ss_flags = 0x77;
	CALL("unknown flags", sigaltstack(new, old));
	CALL("from nowhere", sigaltstack(BAD, old));
	CALL("to nowhere", sigaltstack(NULL, BAD));
	new->ss_flags = SS_DISABLE;
	CALL("none", sigaltstack(new, old));
	say("old size %zu", old->ss_size);
	CALL("to ask", sigaltstack(NULL, old));
	say("flags %d", old->ss_flags);
	signal(SIGUSR1, SIG_DFL);
}

static void timed_waits(void)
{
	uint64_t *set = EVICTED(uint64_t);
	siginfo_t *info = EVICTED(siginfo_t), *queued = EVICTED(siginfo_t);
	struct timespec *timeout = EVICTED(struct timespec);
	union sigval value = { .sival_int = 77 };
	int signal = SIGRTMIN + 2;
	*set = bit(signal) | bit(SIGUSR1);
	CALL("block", syscall(SYS_rt_sigprocmask, SIG_BLOCK, set, NULL, SET_SIZE));
	timeout->tv_nsec = 20000000;
	CALL("that times out", syscall(SYS_rt_sigtimedwait, set, info, timeout, SET_SIZE));
	MUST(sigqueue(getpid(), signal, value));
	memset(info, 0x5a, sizeof(*info));
	CALL("with information", syscall(SYS_rt_sigtimedwait, set, info, timeout, SET_SIZE));
	say("signal %d, code %d, errno %d, value %d", info->si_signo, info->si_code,
	    info->si_errno, info->si_value.sival_int);
	check("sender", info->si_pid == getpid() && info->si_uid == getuid());
	MUST(kill(getpid(), SIGUSR1));
	CALL("without information", syscall(SYS_rt_sigtimedwait, set, NULL, NULL, SET_SIZE));
	queued->si_signo = signal;
	queued->si_code = -60;
	queued->si_value.sival_ptr = (void *)0x123456789;
	CALL("rt_sigqueueinfo", syscall(SYS_rt_sigqueueinfo, getpid(), signal, queued));
	CALL("sigwaitinfo", sigwaitinfo((sigset_t *)set, info));
	say("signal %d, code %d, value %p", info->si_signo, info->si_code,
	    info->si_value.sival_ptr);
	CALL("rt_tgsigqueueinfo", syscall(SYS_rt_tgsigqueueinfo, getpid(),
	                                  syscall(SYS_gettid), signal, queued));
	CALL("sigtimedwait", sigtimedwait((sigset_t *)set, info, timeout));
	MUST(sigqueue(getpid(), signal, value));
	int *number = evicted_int(-1);
	CALL("sigwait", sigwait((sigset_t *)set, number));
	say("signal %d", *number);
	CALL("from nowhere", syscall(SYS_rt_sigtimedwait, BAD, info, timeout, SET_SIZE));
	CALL("a bad size from nowhere", syscall(SYS_rt_sigtimedwait, BAD, info, timeout, 7L));
	timeout->tv_nsec = -1;
	CALL("a bad time", syscall(SYS_rt_sigtimedwait, set, info, timeout, SET_SIZE));
	CALL("rt_sigqueueinfo from nowhere", syscall(SYS_rt_sigqueueinfo, getpid(), signal,
	                                             BAD));
	CALL("unblock", syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, set, NULL, SET_SIZE));
}

static void *raise_late(void *argument)
{
	pthread_t *target = argument;
	pause_ms(60);
	pthread_kill(*target, SIGUSR1);
	return NULL;
}

static void suspend(void)
{
	uint64_t *set = EVICTED(uint64_t), *mask = EVICTED(uint64_t);
	pthread_t self = pthread_self(), other;
	memset((void *)seen, 0, sizeof(seen));
	signal(SIGUSR1, note);
	*set = bit(SIGUSR1);
	CALL("block", syscall(SYS_rt_sigprocmask, SIG_BLOCK, set, NULL, SET_SIZE));
	raise(SIGUSR1);
	*mask = bit(SIGUSR2);
	CALL("rt_sigsuspend with one pending", syscall(SYS_rt_sigsuspend, mask, SET_SIZE));
	say("seen: %d", (int)seen[SIGUSR1]);
	MUST(-pthread_create(&other, NULL, raise_late, &self));
	CALL("rt_sigsuspend that sleeps", sigsuspend((sigset_t *)mask));
	pthread_join(other, NULL);
	say("seen: %d", (int)seen[SIGUSR1]);
	CALL("to ask", syscall(SYS_rt_sigprocmask, 0, NULL, mask, SET_SIZE));
	say("mask %llx", (unsigned long long)*mask);
	CALL("rt_sigsuspend from nowhere", syscall(SYS_rt_sigsuspend, BAD, SET_SIZE));
	CALL("rt_sigsuspend of 7 bytes", syscall(SYS_rt_sigsuspend, BAD, 7L));
	CALL("unblock", syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, set, NULL, SET_SIZE));
	signal(SIGUSR1, SIG_DFL);
}

static void signal_descriptors(void)
{
	uint64_t *set = EVICTED(uint64_t);
	struct signalfd_siginfo *list = evicted(4 * sizeof(*list));
	union sigval value = { .sival_int = 11 };
	int signal = SIGRTMIN + 3;
	*set = bit(signal);
	CALL("block", syscall(SYS_rt_sigprocmask, SIG_BLOCK, set, NULL, SET_SIZE));
	int file = (int)CALL_OPAQUE("signalfd4", syscall(SYS_signalfd4, -1, set, SET_SIZE,
	                                                 SFD_NONBLOCK | SFD_CLOEXEC));
	CALL("read of none", read(file, list, 4 * sizeof(*list)));
	for (; value.sival_int < 14; value.sival_int++)
		MUST(sigqueue(getpid(), signal, value));
	CALL("read of two", read(file, list, 2 * sizeof(*list) + 5));
	CALL("read of too little", read(file, list, 100));
	CALL("read of the last", read(file, list + 2, 2 * sizeof(*list)));
	for (int i = 0; i < 3; i++)
		say("signal %u, code %d, value %d", list[i].ssi_signo, list[i].ssi_code,
		    list[i].ssi_int);
	dump("the fourth", list + 3, sizeof(*list));
	*set |= bit(SIGUSR2);
	CALL("signalfd4 to change", syscall(SYS_signalfd4, file, set, SET_SIZE, 0) == file);
	CALL("signalfd4 from nowhere", syscall(SYS_signalfd4, -1, BAD, SET_SIZE, 0));
	CALL("signalfd4 of 7 bytes", syscall(SYS_signalfd4, -1, BAD, 7L, 0));
	CALL("signalfd4 of another kind", syscall(SYS_signalfd4, 1, set, SET_SIZE, 0));
	close(file);
	CALL("unblock", syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, set, NULL, SET_SIZE));
}

/* A handler that has everything pushed out under itself, and returns through it. */
static int *handler_calls;
static volatile bool reader_done;

static void pushing_handler(int signal, siginfo_t *info, void *context)
{
	(void)context;
	seen[signal] += info->si_value.sival_int;
	push_out();
	++*handler_calls;
}

static void *handler_thread(void *argument)
{
	pthread_t *target = argument;
	union sigval value = { .sival_int = 3 };
	for (int i = 0; i < 50; i++) {
		pthread_sigqueue(*target, SIGUSR1, value);
		pause_ms(2);
	}
	/* More than one: the first may come while the reader is not in its call. */
	while (!reader_done) {
		pthread_sigqueue(*target, SIGUSR2, value);
		pause_ms(50);
	}
	return NULL;
}

/* Reading from a pipe under signals: restarted where asked for, and no byte lost. */
static void interrupted_reads(void)
{
	int ends[2];
	pthread_t self = pthread_self(), other;
	struct sigaction action = { .sa_sigaction = pushing_handler,
		                    .sa_flags = SA_SIGINFO | SA_RESTART };
	char *buffer = evicted(10000);
	MUST(pipe(ends));
	memset((void *)seen, 0, sizeof(seen));
	handler_calls = evicted_int(0);
	reader_done = false;
	MUST(sigaction(SIGUSR1, &action, NULL));
	action.sa_flags = SA_SIGINFO;
	MUST(sigaction(SIGUSR2, &action, NULL));
	MUST(-pthread_create(&other, NULL, handler_thread, &self));
	CALL("read that is interrupted in the end", read(ends[0], buffer, 10000));
	reader_done = true;
	pthread_join(other, NULL);
	check("signals", seen[SIGUSR1] > 0 && seen[SIGUSR1] <= 150 && seen[SIGUSR2] >= 3 &&
	                         *handler_calls * 3 == seen[SIGUSR1] + seen[SIGUSR2]);
	MUST(write(ends[1], "bytes", 5));
	CALL("read", read(ends[0], buffer, 10000));
	signal(SIGUSR1, SIG_DFL);
	signal(SIGUSR2, SIG_DFL);
	close(ends[0]);
	close(ends[1]);
}

/* ---- Calls that have done a part when a signal comes ------------------------------------ */

static timer_t signals_every(long nanoseconds)
{
	timer_t timer;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct timespec time = { 0, nanoseconds };
	struct itimerspec when = { .it_value = time, .it_interval = time };
	MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
	MUST(timer_settime(timer, 0, &when, NULL));
	return timer;
}

static void partial_transfers(void)
{
	int ends[2], pair[2];
	char *buffer = evicted(300000);
	struct sigaction action = { .sa_handler = note };
	for (int restarted = 0; restarted < 2; restarted++) {
		action.sa_flags = restarted ? SA_RESTART : 0;
		MUST(sigaction(SIGUSR1, &action, NULL));
		MUST(pipe(ends));
		MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
		MUST(send(pair[0], "some", 4, 0));
		fill(buffer, 300000, 97);
		timer_t timer = signals_every(50000000);
		say("SA_RESTART: %d", restarted);
		long written = CALL("write of more than a pipe holds",
		                    write(ends[1], buffer, 300000));
		if (!restarted)
			CALL("write to a full pipe", write(ends[1], buffer, 10));
		memset(buffer, 0, 300000);
		CALL("recv of more than has come", recv(pair[1], buffer, 1000, MSG_WAITALL));
		if (!restarted)
			CALL("recv of none", recv(pair[1], buffer, 1000, MSG_WAITALL));
		timer_delete(timer);
		check("as much is read", written > 0 &&
		                                 read(ends[0], buffer, 300000) == written);
		dump("buffer", buffer, written > 0 ? (size_t)written : 0);
		for (int i = 0; i < 2; i++) {
			close(ends[i]);
			close(pair[i]);
		}
	}
	signal(SIGUSR1, SIG_DFL);
}

/* Files are read and written to the end whatever comes. */
static void whole_transfers(void)
{
	char *buffer = evicted(MIB);
	int file = make_file("file", MIB, 98), read_whole = 0, written_whole = 0;
	struct sigaction action = { .sa_handler = note };
	memset((void *)seen, 0, sizeof(seen));
	MUST(sigaction(SIGUSR1, &action, NULL));
	timer_t timer = signals_every(300000);
	for (int i = 0; i < 20; i++) {
		push_out();
		read_whole += pread(file, buffer, MIB, 0) == (ssize_t)MIB;
		push_out();
		written_whole += pwrite(file, buffer, MIB, 0) == (ssize_t)MIB;
	}
	timer_delete(timer);
	signal(SIGUSR1, SIG_IGN);
	say("whole: %d read, %d written", read_whole, written_whole);
	check("signals came", seen[SIGUSR1] > 0);
	dump("buffer", buffer, MIB);
	dump_file("file", "file");
	close(file);
	MUST(unlink("file"));
	signal(SIGUSR1, SIG_DFL);
}

const struct call_case signal_cases[] = {
	CASE(actions),
	CASE(masks),
	CASE(alternate_stack),
	CASE(timed_waits),
	CASE(suspend),
	CASE(signal_descriptors),
	CASE(interrupted_reads),
	CASE(partial_transfers),
	CASE(whole_transfers),
	{ 0 },
};
