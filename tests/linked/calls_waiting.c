/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_waiting.c - cases of calls.c: calls that wait for descriptors, for time, for a word
 */
#include "calls.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int ends[2];
static volatile sig_atomic_t signals_seen;

static void count_signal(int signal)
{
	(void)signal;
	signals_seen++;
}

static void catch_signal(int signal, int flags)
{
	struct sigaction action = { .sa_handler = count_signal, .sa_flags = flags };
	signals_seen = 0;
	MUST(sigaction(signal, &action, NULL));
}

/* SIGUSR1 in @milliseconds, and again and again, lest the first come before the call. Return: the
 * timer, to be deleted. */
static timer_t signal_in(long milliseconds)
{
	timer_t timer;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
	struct itimerspec when = { .it_value = time, .it_interval = time };
	MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
	MUST(timer_settime(timer, 0, &when, NULL));
	return timer;
}

static void *write_late(void *argument)
{
	(void)argument;
	pause_ms(60);
	MUST(write(ends[1], "x", 1));
	return NULL;
}

static pthread_t start_late(void)
{
	pthread_t writer;
	MUST(-pthread_create(&writer, NULL, write_late, NULL));
	return writer;
}

static void end_late(pthread_t writer)
{
	char byte;
	pthread_join(writer, NULL);
	MUST(read(ends[0], &byte, 1));
}

static void close_ends(void)
{
	close(ends[0]);
	close(ends[1]);
}

/* ---- poll, select ---------------------------------------------------------------------- */

static void say_polled(const struct pollfd *list)
{
	say("events %x %x %x, as asked %x %x", (unsigned)list[0].revents,
	    (unsigned)list[1].revents, (unsigned)list[2].revents, (unsigned)list[0].events,
	    (unsigned)list[1].events);
}

static void poll_list(void)
{
	struct pollfd *list = evicted(600 * sizeof(*list));
	MUST(pipe(ends));
	for (int i = 0; i < 600; i++)
		list[i] = (struct pollfd){ -1, POLLIN, 0x7777 };
	list[0].fd = ends[0];
	list[1] = (struct pollfd){ ends[1], POLLOUT, 0 };
	list[2].fd = 999;
	CALL("poll", poll(list, 3, 1000));
	say_polled(list);
	CALL("poll of one", poll(list, 1, 20));
	say_polled(list);
	pthread_t writer = start_late();
	CALL("poll that sleeps", poll(list, 1, 10000));
	say_polled(list);
	CALL("poll of many", poll(list, 600, 1000));
	say_polled(list);
	dump("list, from the fourth on", list + 3, 597 * sizeof(*list));
	end_late(writer);
	CALL("poll of none", poll(unmapped(), 0, 10));
	CALL("poll of a bad list", poll(unmapped(), 1, 10));
	CALL("poll of too many", poll(BAD, 1u << 30, 10));
	close_ends();
}

static void ppoll_mask(void)
{
	struct pollfd *list = EVICTED_ARRAY(struct pollfd, 2);
	struct timespec *timeout = EVICTED(struct timespec);
	sigset_t *mask = EVICTED(sigset_t), block;
	MUST(pipe(ends));
	list[0] = (struct pollfd){ ends[0], POLLIN, 0 };
	timeout->tv_nsec = 20000000;
	CALL("ppoll that times out", syscall(SYS_ppoll, list, 1L, timeout, mask, 8L));
	say("time left %ld.%09ld", (long)timeout->tv_sec, (long)timeout->tv_nsec);
	catch_signal(SIGUSR1, 0);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	raise(SIGUSR1);
	say("seen while blocked: %d", (int)signals_seen);
	timeout->tv_sec = 100;
	CALL("ppoll with the signal open", syscall(SYS_ppoll, list, 1L, timeout, mask, 8L));
	say("seen: %d", (int)signals_seen);
	check("time left", timeout->tv_sec >= 99 - 5);
	*mask = block;
	raise(SIGUSR1);
	pthread_t writer = start_late();
	timeout->tv_sec = 100;
	CALL("ppoll with the signal blocked", syscall(SYS_ppoll, list, 1L, timeout, mask, 8L));
	say("seen: %d", (int)signals_seen);
	say_polled(list);
	end_late(writer);
	sigprocmask(SIG_UNBLOCK, &block, NULL);
	say("seen after: %d", (int)signals_seen);
	CALL("ppoll with a mask of 7 bytes", syscall(SYS_ppoll, list, 1L, timeout, mask, 7L));
	timeout->tv_nsec = -1;
	CALL("ppoll with a bad time", syscall(SYS_ppoll, list, 1L, timeout, mask, 8L));
	signal(SIGUSR1, SIG_DFL);
	close_ends();
}

static void say_sets(const fd_set *sets, int high)
{
	say("read %d, write %d, except %d", FD_ISSET(ends[0], &sets[0]) != 0,
	    FD_ISSET(high, &sets[1]) != 0, FD_ISSET(ends[0], &sets[2]) != 0);
}

static void set_sets(fd_set *sets, int high)
{
	for (int i = 0; i < 3; i++)
		FD_ZERO(&sets[i]);
	FD_SET(ends[0], &sets[0]);
	FD_SET(high, &sets[1]);
	FD_SET(ends[0], &sets[2]);
}

static void select_sets(void)
{
	fd_set *sets = EVICTED_ARRAY(fd_set, 3);
	struct timeval *timeout = EVICTED(struct timeval);
	MUST(pipe(ends));
	int high = (int)MUST(fcntl(ends[1], F_DUPFD, 900));
	set_sets(sets, high);
	timeout->tv_sec = 100;
	CALL("select", syscall(SYS_select, high + 1, &sets[0], &sets[1], &sets[2], timeout));
	say_sets(sets, high);
	check("time left", timeout->tv_sec >= 95 && timeout->tv_sec <= 100);
	set_sets(sets, high);
	timeout->tv_sec = 0;
	timeout->tv_usec = 20000;
	CALL("select that times out", syscall(SYS_select, ends[0] + 1, &sets[0], NULL,
	                                      &sets[2], timeout));
	say_sets(sets, high);
	say("time left %ld.%06ld", (long)timeout->tv_sec, (long)timeout->tv_usec);
	set_sets(sets, high);
	pthread_t writer = start_late();
	CALL("select that sleeps", select(ends[0] + 1, &sets[0], NULL, NULL, NULL));
	say_sets(sets, high);
	end_late(writer);
	close(high);
	CALL("select of a closed one", select(high + 1, NULL, &sets[1], NULL, timeout));
	CALL("select of -1", select(-1, &sets[0], NULL, NULL, timeout));
	CALL("select of bad sets", select(10, BAD, NULL, NULL, timeout));
	/* A set of the usual size at the end of memory: of how many descriptors, is for the kernel to say. */
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST_BE(pages != MAP_FAILED && mprotect(pages + PAGE, PAGE, PROT_NONE) == 0);
	pages[PAGE - sizeof(fd_set)] = 1 << 2;
	CALL("select of more than there are",
	     syscall(SYS_select, 1 << 20, NULL, pages + PAGE - sizeof(fd_set), NULL, timeout));
	munmap(pages, 2 * PAGE);
	timeout->tv_usec = -1;
	CALL("select with a bad time", syscall(SYS_select, -1, &sets[0], NULL, NULL, timeout));
	close_ends();
}

static void pselect_mask(void)
{
	struct {
		const sigset_t *mask;
		size_t size;
	} *argument = evicted_zero(sizeof(*argument));
	fd_set *sets = EVICTED_ARRAY(fd_set, 3);
	struct timespec *timeout = EVICTED(struct timespec);
	sigset_t *mask = EVICTED(sigset_t), block;
	MUST(pipe(ends));
	argument->mask = mask;
	argument->size = 8;
	catch_signal(SIGUSR1, SA_RESTART);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	raise(SIGUSR1);
	FD_SET(ends[0], sets);
	timeout->tv_sec = 100;
	CALL("pselect6 with the signal open",
	     syscall(SYS_pselect6, ends[0] + 1, sets, NULL, NULL, timeout, argument));
	say("seen: %d, set left %d", (int)signals_seen, FD_ISSET(ends[0], sets) != 0);
	check("time left", timeout->tv_sec >= 95);
	argument->mask = NULL;
	timeout->tv_sec = 0;
	timeout->tv_nsec = 20000000;
	CALL("pselect6 that times out",
	     syscall(SYS_pselect6, ends[0] + 1, sets, NULL, NULL, timeout, argument));
	say("set left %d", FD_ISSET(ends[0], sets) != 0);
	argument->mask = unmapped();
	CALL("pselect6 with a bad mask",
	     syscall(SYS_pselect6, ends[0] + 1, sets, NULL, NULL, timeout, argument));
	sigprocmask(SIG_UNBLOCK, &block, NULL);
	signal(SIGUSR1, SIG_DFL);
	close_ends();
}

/* ---- epoll ----------------------------------------------------------------------------- */

static void epoll_events(void)
{
	struct epoll_event *events = evicted(300 * sizeof(*events));
	struct epoll_event *one = EVICTED(struct epoll_event);
	int set = (int)MUST(epoll_create1(EPOLL_CLOEXEC));
	MUST(pipe(ends));
	one->events = EPOLLIN;
	one->data.u64 = 0x1122334455667788;
	CALL("EPOLL_CTL_ADD", epoll_ctl(set, EPOLL_CTL_ADD, ends[0], one));
	one->events = EPOLLOUT;
	one->data.u64 = 77;
	CALL("EPOLL_CTL_ADD", epoll_ctl(set, EPOLL_CTL_ADD, ends[1], one));
	CALL("EPOLL_CTL_ADD again", epoll_ctl(set, EPOLL_CTL_ADD, ends[1], one));
	CALL("epoll_wait", epoll_wait(set, events, 300, 1000));
	dump("events", events, 100);
	one->events = 0;
	CALL("EPOLL_CTL_MOD", epoll_ctl(set, EPOLL_CTL_MOD, ends[1], one));
	CALL("epoll_wait that times out", epoll_wait(set, events, 300, 20));
	pthread_t writer = start_late();
	memset(events, 0x5a, 200);
	CALL("epoll_wait that sleeps", epoll_wait(set, events, 300, 10000));
	dump("events", events, 100);
	CALL("epoll_wait to nowhere", epoll_wait(set, unmapped(), 10, 1000));
	CALL("epoll_wait again, nothing lost", epoll_wait(set, events, 1, 1000));
	end_late(writer);
	CALL("EPOLL_CTL_DEL", epoll_ctl(set, EPOLL_CTL_DEL, ends[0], one));
	CALL("EPOLL_CTL_DEL without", epoll_ctl(set, EPOLL_CTL_DEL, ends[1], NULL));
	CALL("EPOLL_CTL_ADD from nowhere", epoll_ctl(set, EPOLL_CTL_ADD, ends[0], BAD));
	CALL("epoll_wait of 0", epoll_wait(set, events, 0, 10));
	CALL("epoll_wait of no set", epoll_wait(ends[0], events, 10, 10));
	CALL("epoll_wait of a bad one", epoll_wait(-1, BAD, 10, 10));
	close(set);
	close_ends();
}

static void epoll_masks(void)
{
	struct epoll_event *events = EVICTED_ARRAY(struct epoll_event, 3);
	struct timespec *timeout = EVICTED(struct timespec);
	sigset_t *mask = EVICTED(sigset_t), block;
	int set = (int)MUST(epoll_create1(EPOLL_CLOEXEC));
	MUST(pipe(ends));
	struct epoll_event one = { .events = EPOLLIN, .data.u32 = 5 };
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &one));
	catch_signal(SIGUSR1, SA_RESTART);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	raise(SIGUSR1);
	CALL("epoll_pwait with the signal open",
	     syscall(SYS_epoll_pwait, set, events, 3L, 10000L, mask, 8L));
	say("seen: %d", (int)signals_seen);
	raise(SIGUSR1);
	*mask = block;
	CALL("epoll_pwait with the signal blocked",
	     syscall(SYS_epoll_pwait, set, events, 3L, 20L, mask, 8L));
	timeout->tv_nsec = 20000000;
	CALL("epoll_pwait2 that times out",
	     syscall(441 /* epoll_pwait2 */, set, events, 3L, timeout, mask, 8L));
	say("seen: %d", (int)signals_seen);
	CALL("epoll_pwait with a mask of 9 bytes",
	     syscall(SYS_epoll_pwait, set, events, 3L, 20L, mask, 9L));
	sigprocmask(SIG_UNBLOCK, &block, NULL);
	say("seen: %d", (int)signals_seen);
	signal(SIGUSR1, SIG_DFL);
	close(set);
	close_ends();
}

/* ---- Sleeping -------------------------------------------------------------------------- */

static void nanosleep_remainder(void)
{
	struct timespec *wait = EVICTED(struct timespec), *left = EVICTED(struct timespec);
	catch_signal(SIGUSR1, 0);
	wait->tv_sec = 100;
	left->tv_sec = -7;
	timer_t timer = signal_in(50);
	CALL("nanosleep, interrupted", syscall(SYS_nanosleep, wait, left));
	check("time left", left->tv_sec >= 95 && left->tv_sec < 100);
	timer_delete(timer);
	timer = signal_in(50);
	CALL("nanosleep into its own argument", syscall(SYS_nanosleep, wait, wait));
	check("time left", wait->tv_sec >= 95 && wait->tv_sec < 100);
	timer_delete(timer);
	catch_signal(SIGUSR1, SA_RESTART);
	wait->tv_sec = 100;
	timer = signal_in(50);
	CALL("nanosleep is never restarted", syscall(SYS_nanosleep, wait, NULL));
	timer_delete(timer);
	wait->tv_sec = 0;
	wait->tv_nsec = 1000000;
	left->tv_sec = -7;
	CALL("nanosleep to its end", syscall(SYS_nanosleep, wait, left));
	say("left as it was: %ld", (long)left->tv_sec);
	wait->tv_nsec = 1000000000;
	CALL("nanosleep of a bad time", syscall(SYS_nanosleep, wait, left));
	CALL("nanosleep of none", syscall(SYS_nanosleep, unmapped(), left));
	signal(SIGUSR1, SIG_DFL);
}

static void clock_nanosleep_remainder(void)
{
	struct timespec *wait = EVICTED(struct timespec), *left = EVICTED(struct timespec);
	catch_signal(SIGUSR1, 0);
	wait->tv_sec = 100;
	timer_t timer = signal_in(50);
	CALL("clock_nanosleep, interrupted",
	     syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, wait, left));
	check("time left", left->tv_sec >= 95 && left->tv_sec < 100);
	timer_delete(timer);
	clock_gettime(CLOCK_REALTIME, wait);
	wait->tv_sec += 100;
	left->tv_sec = -7;
	timer = signal_in(50);
	CALL("until a time, interrupted",
	     syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, wait, left));
	say("left as it was: %ld", (long)left->tv_sec);
	timer_delete(timer);
	wait->tv_sec -= 200;
	CALL("until a time gone by",
	     syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, wait, NULL));
	CALL("on an unknown clock", syscall(SYS_clock_nanosleep, 99, 0, wait, NULL));
	CALL("on an unknown clock, for none", syscall(SYS_clock_nanosleep, 99, 0, BAD, NULL));
	CALL("for none", syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, BAD, NULL));
	signal(SIGUSR1, SIG_DFL);
}

/* ---- futex ----------------------------------------------------------------------------- */

static long futex(void *word, int operation, unsigned value, void *timeout, void *second,
                  unsigned third)
{
	return syscall(SYS_futex, word, operation, value, timeout, second, third);
}

static void futex_words(void)
{
	_Atomic unsigned *words = EVICTED_ARRAY(_Atomic unsigned, 2);
	struct timespec *timeout = EVICTED(struct timespec);
	words[0] = 7;
	words[1] = 9;
	timeout->tv_nsec = 20000000;
	for (int private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
		say("private: %d", private);
		CALL("FUTEX_WAIT for another value",
		     futex(words, FUTEX_WAIT | private, 8, timeout, NULL, 0));
		CALL("FUTEX_WAIT that times out",
		     futex(words, FUTEX_WAIT | private, 7, timeout, NULL, 0));
		CALL("FUTEX_WAIT_BITSET for another value",
		     futex(words, FUTEX_WAIT_BITSET | private, 8, NULL, NULL, 1));
		CALL("FUTEX_WAIT_BITSET until a time gone by",
		     futex(words, FUTEX_WAIT_BITSET | private, 7, timeout, NULL, 1));
		CALL("FUTEX_WAIT_BITSET of no bits",
		     futex(words, FUTEX_WAIT_BITSET | private, 7, timeout, NULL, 0));
		CALL("FUTEX_WAKE", futex(words, FUTEX_WAKE | private, 1, NULL, NULL, 0));
		CALL("FUTEX_CMP_REQUEUE of another value",
		     futex(words, FUTEX_CMP_REQUEUE | private, 1, (void *)1, words + 1, 8));
		CALL("FUTEX_CMP_REQUEUE",
		     futex(words, FUTEX_CMP_REQUEUE | private, 1, (void *)1, words + 1, 7));
		CALL("FUTEX_WAKE_OP",
		     futex(words, FUTEX_WAKE_OP | private, 1, (void *)1, words + 1,
		           FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 9)));
		say("words %u %u", words[0], words[1]);
		words[1] = 9;
	}
	CALL("FUTEX_WAIT of a word not aligned",
	     futex((char *)words + 1, FUTEX_WAIT, 7, NULL, NULL, 0));
	CALL("FUTEX_WAIT of no word", futex(unmapped(), FUTEX_WAIT_PRIVATE, 7, NULL, NULL, 0));
	timeout->tv_nsec = -1;
	CALL("FUTEX_WAIT with a bad time", futex(words, FUTEX_WAIT, 8, timeout, NULL, 0));
	CALL("an unknown operation", futex(words, 100, 0, NULL, NULL, 0));
}

static void futex_owned(void)
{
	_Atomic unsigned *word = EVICTED(_Atomic unsigned);
	for (int private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
		say("private: %d", private);
		*word = 0;
		CALL("FUTEX_LOCK_PI", futex(word, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
		check("owner", *word == (unsigned)syscall(SYS_gettid));
		CALL("FUTEX_LOCK_PI again", futex(word, FUTEX_LOCK_PI | private, 0, NULL, NULL,
		                                  0));
		CALL("FUTEX_TRYLOCK_PI", futex(word, FUTEX_TRYLOCK_PI | private, 0, NULL, NULL,
		                               0));
		CALL("FUTEX_UNLOCK_PI", futex(word, FUTEX_UNLOCK_PI | private, 0, NULL, NULL,
		                              0));
		say("word %u", *word);
		*word = 12345678;
		CALL("FUTEX_LOCK_PI of nobody's",
		     futex(word, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
	}
}

static struct {
	_Atomic unsigned *word;
	int operation;
	atomic_int waiting, woken;
} sleepers;

static void *futex_sleeper(void *argument)
{
	(void)argument;
	sleepers.waiting++;
	while (*sleepers.word == 1)
		if (futex(sleepers.word, sleepers.operation, 1, NULL, NULL, 0) == 0)
			sleepers.woken++;
	return NULL;
}

/* The word's page goes out and comes back in another frame while four threads sleep on it. */
static void wake_sleepers(int private)
{
	pthread_t threads[4];
	sleepers.word = EVICTED(_Atomic unsigned);
	sleepers.operation = FUTEX_WAIT | private;
	sleepers.waiting = sleepers.woken = 0;
	*sleepers.word = 1;
	for (int i = 0; i < 4; i++)
		MUST(-pthread_create(&threads[i], NULL, futex_sleeper, NULL));
	while (sleepers.waiting < 4)
		pause_ms(1);
	churn(100);
	*sleepers.word = 2;
	int woken = 0;
	for (int i = 0; i < 100 && woken < 4; i++) {
		push_out();
		woken += (int)futex(sleepers.word, FUTEX_WAKE | private, 100, NULL, NULL, 0);
		pause_ms(1);
	}
	say("woken: %d", woken);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	say("sleepers that were woken: %d", sleepers.woken);
}

static void futex_moved(void)
{
	wake_sleepers(FUTEX_PRIVATE_FLAG);
}

static void futex_moved_shared(void)
{
	wake_sleepers(0);
}

static void futex_vector(void)
{
	struct waiter {
		uint64_t value, address;
		uint32_t flags, reserved;
	} *waiters = EVICTED_ARRAY(struct waiter, 3);
	unsigned *words = EVICTED_ARRAY(unsigned, 3);
	struct timespec *timeout = EVICTED(struct timespec);
	for (unsigned i = 0; i < 3; i++)
		waiters[i] = (struct waiter){ i + 1, (uintptr_t)&words[i], 2 | 128, 0 };
	words[0] = 1;
	words[1] = 2;
	words[2] = 4;
	CALL("futex_waitv for another value",
	     syscall(449 /* futex_waitv */, waiters, 3L, 0L, timeout, (long)CLOCK_MONOTONIC));
	words[2] = 3;
	CALL("futex_waitv until a time gone by",
	     syscall(449, waiters, 3L, 0L, timeout, (long)CLOCK_MONOTONIC));
	waiters[2].reserved = 1;
	CALL("futex_waitv with a bad waiter",
	     syscall(449, waiters, 3L, 0L, timeout, (long)CLOCK_MONOTONIC));
}

const struct call_case wait_cases[] = {
	CASE(poll_list),
	CASE(ppoll_mask),
	CASE(select_sets),
	CASE(pselect_mask),
	CASE(epoll_events),
	CASE(epoll_masks),
	CASE(nanosleep_remainder),
	CASE(clock_nanosleep_remainder),
	CASE(futex_words),
	CASE(futex_owned),
	EASY_CASE(futex_moved),
	CASE(futex_moved_shared),
	CASE(futex_vector),
	{ 0 },
};
