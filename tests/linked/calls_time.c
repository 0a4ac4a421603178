/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_time.c - cases of calls.c: clocks and timers
 *
 * Past the vDSO, which reads the clock without the kernel, go system calls made by number.
 */
#include "calls.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static void clocks(void)
{
	struct timespec *now = EVICTED(struct timespec), before, after;
	clock_gettime(CLOCK_MONOTONIC, &before);
	CALL("clock_gettime", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, now));
	clock_gettime(CLOCK_MONOTONIC, &after);
	check("between two readings",
	      (now->tv_sec > before.tv_sec ||
	       (now->tv_sec == before.tv_sec && now->tv_nsec >= before.tv_nsec)) &&
	              (now->tv_sec < after.tv_sec ||
	               (now->tv_sec == after.tv_sec && now->tv_nsec <= after.tv_nsec)));
	CALL("clock_gettime of the vDSO", clock_gettime(CLOCK_MONOTONIC, now));
	CALL("clock_getres", syscall(SYS_clock_getres, CLOCK_MONOTONIC, now));
	say("resolution %ld.%09ld", (long)now->tv_sec, (long)now->tv_nsec);
	CALL("clock_gettime of an unknown clock", syscall(SYS_clock_gettime, 99, now));
	CALL("clock_gettime of an unknown clock to nowhere",
	     syscall(SYS_clock_gettime, 99, BAD));
	CALL("clock_gettime to nowhere", syscall(SYS_clock_gettime, CLOCK_MONOTONIC,
	                                         unmapped()));
	CALL("clock_getres to nowhere", syscall(SYS_clock_getres, CLOCK_MONOTONIC, NULL));
	CALL("clock_settime of a clock that cannot be",
	     syscall(SYS_clock_settime, CLOCK_MONOTONIC, now));
}

static void time_of_day(void)
{
	struct timeval *now = EVICTED(struct timeval);
	struct timezone *zone = EVICTED(struct timezone);
	time_t *seconds = EVICTED(time_t), before = time(NULL);
	CALL("gettimeofday", syscall(SYS_gettimeofday, now, zone));
	check("the time", now->tv_sec >= before && now->tv_sec <= before + 5);
	say("zone %d %d", zone->tz_minuteswest, zone->tz_dsttime);
	now->tv_sec = 0;
	CALL("gettimeofday without a zone", syscall(SYS_gettimeofday, now, NULL));
	check("the time", now->tv_sec >= before && now->tv_sec <= before + 5);
	long value = CALL_OPAQUE("time", syscall(SYS_time, seconds));
	check("the time", value == *seconds && value >= before);
	CALL("time to nowhere", syscall(SYS_time, BAD));
	CALL("gettimeofday to nowhere", syscall(SYS_gettimeofday, BAD, NULL));
}

static void times_used(void)
{
	struct tms *used = EVICTED(struct tms);
	struct timex *state = EVICTED(struct timex);
	memset(used, 0x5a, sizeof(*used));
	long ticks = CALL_OPAQUE("times", times(used));
	check("ticks", ticks > 0 && used->tms_utime < 100000 && used->tms_cstime < 100000);
	long clock_state = CALL_OPAQUE("adjtimex", adjtimex(state));
	check("state", clock_state >= 0 && state->tick > 0 && state->time.tv_sec > 1000000);
}

static void interval_timers(void)
{
	struct itimerval *new = EVICTED(struct itimerval), *old = EVICTED(struct itimerval);
	new->it_value.tv_sec = 1000;
	new->it_interval.tv_sec = 77;
	CALL("setitimer", syscall(SYS_setitimer, ITIMER_VIRTUAL, new, old));
	say("old one %ld.%06ld", (long)old->it_value.tv_sec, (long)old->it_value.tv_usec);
	memset(old, 0x5a, sizeof(*old));
	CALL("getitimer", syscall(SYS_getitimer, ITIMER_VIRTUAL, old));
	check("value", old->it_value.tv_sec >= 990 && old->it_value.tv_sec <= 1000 &&
	                       old->it_interval.tv_sec == 77);
	memset(new, 0, sizeof(*new));
	memset(old, 0, sizeof(*old));
	CALL("setitimer to none", syscall(SYS_setitimer, ITIMER_VIRTUAL, new, old));
	check("value", old->it_value.tv_sec >= 990 && old->it_interval.tv_sec == 77);
	CALL("setitimer of an unknown one", syscall(SYS_setitimer, 9, new, old));
	new->it_value.tv_usec = 1000000;
	CALL("setitimer with a bad time", syscall(SYS_setitimer, ITIMER_VIRTUAL, new, old));
	CALL("setitimer from nowhere", syscall(SYS_setitimer, ITIMER_VIRTUAL, BAD, old));
	CALL("getitimer to nowhere", syscall(SYS_getitimer, ITIMER_VIRTUAL, BAD));
	CALL("getitimer of an unknown one, to nowhere", syscall(SYS_getitimer, 9, BAD));
}

/* Timers by number: the C library copies the structures to its stack first. */
static void posix_timers(void)
{
	struct sigevent *event = EVICTED(struct sigevent);
	int *timer = evicted_int(-1), id;
	struct itimerspec *new = EVICTED(struct itimerspec), *old = EVICTED(struct itimerspec);
	siginfo_t *info = EVICTED(siginfo_t);
	sigset_t *set = EVICTED(sigset_t);
	sigemptyset(set);
	sigaddset(set, SIGRTMIN + 1);
	CALL("block", syscall(SYS_rt_sigprocmask, SIG_BLOCK, set, NULL, 8L));
	event->sigev_notify = SIGEV_SIGNAL;
	event->sigev_signo = SIGRTMIN + 1;
	event->sigev_value.sival_int = 4242;
	CALL("timer_create", syscall(SYS_timer_create, CLOCK_MONOTONIC, event, timer));
	id = *timer;
	check("a timer", id >= 0);
	new->it_value.tv_sec = 500;
	new->it_interval.tv_nsec = 1000;
	CALL("timer_settime", syscall(SYS_timer_settime, id, 0, new, old));
	memset(old, 0x5a, sizeof(*old));
	CALL("timer_gettime", syscall(SYS_timer_gettime, id, old));
	check("value", old->it_value.tv_sec >= 490 && old->it_interval.tv_nsec == 1000);
	memset(new, 0, sizeof(*new));
	new->it_value.tv_nsec = 5000000;
	memset(old, 0, sizeof(*old));
	CALL("timer_settime again", syscall(SYS_timer_settime, id, 0, new, old));
	check("old value", old->it_value.tv_sec >= 490 && old->it_interval.tv_nsec == 1000);
	long signal = CALL("the signal", syscall(SYS_rt_sigtimedwait, set, info, NULL, 8L));
	say("signal %ld: code %d, value %d, overruns %ld", signal, info->si_code,
	    info->si_value.sival_int, syscall(SYS_timer_getoverrun, id));
	new->it_value.tv_nsec = -1;
	CALL("timer_settime to a bad time", syscall(SYS_timer_settime, id, 0, new, old));
	CALL("timer_settime from nowhere", syscall(SYS_timer_settime, id, 0, BAD, old));
	CALL("timer_gettime to nowhere", syscall(SYS_timer_gettime, id, BAD));
	CALL("timer_gettime of an unknown one", syscall(SYS_timer_gettime, 9999, BAD));
	CALL("timer_delete", syscall(SYS_timer_delete, id));
	event->sigev_signo = 99;
	CALL("timer_create of a bad signal", syscall(SYS_timer_create, CLOCK_MONOTONIC, event,
	                                             timer));
	CALL("timer_create of an unknown clock", syscall(SYS_timer_create, 99, event, timer));
	CALL("timer_create from nowhere", syscall(SYS_timer_create, CLOCK_MONOTONIC, BAD,
	                                          timer));
	CALL("unblock", syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, set, NULL, 8L));
}

static void timer_descriptors(void)
{
	struct itimerspec *new = EVICTED(struct itimerspec), *old = EVICTED(struct itimerspec);
	uint64_t *count = EVICTED(uint64_t);
	int timer = (int)MUST(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
	new->it_value.tv_sec = 500;
	CALL("timerfd_settime", timerfd_settime(timer, 0, new, old));
	CALL("timerfd_gettime", timerfd_gettime(timer, old));
	check("value", old->it_value.tv_sec >= 490 && old->it_value.tv_sec <= 500);
	new->it_value.tv_sec = 0;
	new->it_value.tv_nsec = 1000000;
	memset(old, 0, sizeof(*old));
	CALL("timerfd_settime", timerfd_settime(timer, 0, new, old));
	check("old value", old->it_value.tv_sec >= 490 && old->it_value.tv_sec <= 500);
	CALL("read that sleeps", read(timer, count, 8));
	say("count %llu", (unsigned long long)*count);
	CALL("read of 4 bytes", read(timer, count, 4));
	new->it_value.tv_nsec = 1000000000;
	CALL("timerfd_settime to a bad time", timerfd_settime(timer, 0, new, old));
	CALL("timerfd_gettime of no timer", timerfd_gettime(1, old));
	CALL("timerfd_gettime of nothing, to nowhere", timerfd_gettime(-1, BAD));
	close(timer);
}

const struct call_case time_cases[] = {
	CASE(clocks),
	CASE(time_of_day),
	CASE(times_used),
	CASE(interval_timers),
	CASE(posix_timers),
	CASE(timer_descriptors),
	{ 0 },
};
