/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guests_storm.c - tests of guests.c: signals without end, and more threads than memory
 *
 * All of them are to come to an end in 16 frames.
 */
#include "guests.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int taken;

static void note(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
	(void)context;
	taken++;
}

/* ---- Transfers that take longer than the next signal ------------------------------------------------ */

#define LARGE ((size_t)65536)

/* Many segments, each in a page of its own, and the rest of the bytes. */
static ssize_t write_scattered(int to, char *from)
{
	struct iovec vector[16];
	for (size_t i = 0; i < 16; i++)
		vector[i] = (struct iovec){ from + i * PAGE, PAGE };
	return writev(to, vector, 16);
}

static void transfers(void)
{
	int ends[2], pair[2], wrong = 0, bytes = 4 * (int)LARGE;
	char *memory = NULL;
	FILE *stream = tmpfile();
	MUST_BE(posix_memalign((void **)&memory, PAGE, 2 * LARGE) == 0 && stream != NULL);
	MUST(pipe(ends));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	MUST(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)));
	for (size_t i = 0; i < LARGE; i++)
		memory[i] = (char)(i * 7 + i / PAGE);
	handle(SIGUSR1, note, SA_RESTART);
	taken = 0;
	timer_t timer = timer_begin(SIGUSR1, 100);
	for (int round = 0; round < 10 || taken == 0; round++) {
		char *other = memory + LARGE;
		wrong += pwrite(fileno(stream), memory, LARGE, 0) != (ssize_t)LARGE;
		wrong += pread(fileno(stream), other, LARGE, 0) != (ssize_t)LARGE;
		wrong += memcmp(memory, other, LARGE) != 0;
		wrong += write_scattered(ends[1], memory) != (ssize_t)LARGE;
		wrong += read(ends[0], other, LARGE) != (ssize_t)LARGE;
		wrong += memcmp(memory, other, LARGE) != 0;
		wrong += send(pair[0], memory, LARGE, 0) != (ssize_t)LARGE;
		wrong += recv(pair[1], other, LARGE, MSG_WAITALL) != (ssize_t)LARGE;
		wrong += memcmp(memory, other, LARGE) != 0;
	}
	timer_delete(timer);
	signal(SIGUSR1, SIG_IGN);
	say("wrong %d, signals %s", wrong, taken > 0 ? "came" : "never came");
	for (int i = 0; i < 2; i++) {
		close(ends[i]);
		close(pair[i]);
	}
	fclose(stream);
	free(memory);
}

/* A list that takes longer to copy than the next signal takes to come: poll is interrupted all the
 * same, and does not sleep on. */
static void lists(void)
{
	const size_t count = 7000;
	struct pollfd *list = calloc(count, sizeof(*list));
	int ends[2], ready = 0, interrupted = 0, slept = 0;
	MUST_BE(list != NULL);
	MUST(pipe(ends));
	handle(SIGUSR1, note, SA_RESTART);
	timer_t timer = timer_begin(SIGUSR1, 300);
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < count; i++)
			list[i].fd = -1;
		while (interrupted % 3 < 2) {
			int result = poll(list, (nfds_t)count, 2000);
			interrupted += result < 0 && errno == EINTR;
			slept += result == 0;
		}
		interrupted++;
		/* At once, since what is ready counts more than a signal. */
		list[count - 1] = (struct pollfd){ .fd = ends[1], .events = POLLOUT };
		ready += poll(list, (nfds_t)count, 10000) == 1;
	}
	timer_delete(timer);
	signal(SIGUSR1, SIG_IGN);
	say("ready %d, interrupted %d, slept %d", ready, interrupted, slept);
	close(ends[0]);
	close(ends[1]);
	free(list);
}

/* ---- Traps that are sent ------------------------------------------------------------------------------ */

static atomic_bool *stop; /* shared with other processes */
static pid_t target;
static int trap;

static void *send_trap(void *argument)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	while (!*stop)
		syscall(SYS_tgkill, getpid(), target, trap);
	return argument;
}

static pid_t send_trap_from_outside(void)
{
	pid_t receiver = getpid(), child = (pid_t)MUST(fork());
	if (child != 0)
		return child;
	signal(trap, SIG_DFL);
	while (!*stop && kill(receiver, trap) == 0)
		;
	_exit(0);
}

static void *end_at_once(void *argument)
{
	return argument;
}

/* None of the calls and references is lost for a trap that somebody sends just then, and no thread
 * that begins. */
static void sent(int number)
{
	pthread_t threads[3];
	int status;
	long wrong = 0, parent = getppid();
	stop = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int *memory = calloc(40, PAGE), each = PAGE / sizeof(int);
	MUST_BE(stop != MAP_FAILED && memory != NULL);
	trap = number;
	handle(number, note, 0);
	taken = 0;
	target = (pid_t)syscall(SYS_gettid);
	pid_t child = send_trap_from_outside();
	for (int i = 0; i < 3; i++)
		MUST_BE(pthread_create(&threads[i], NULL, send_trap, NULL) == 0);
	for (int i = 0; i < 5000 || taken < 100; i++) {
		wrong += syscall(SYS_getppid) != parent;
		memory[i % 40 * each]++;
		pthread_t thread;
		if (i % 50 == 0 && pthread_create(&thread, NULL, end_at_once, NULL) == 0)
			pthread_join(thread, NULL);
	}
	*stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	signal(number, SIG_DFL);
	for (int i = 1; i < 40; i++)
		wrong += memory[i * each] != memory[0] && memory[i * each] != memory[0] - 1;
	say("wrong %ld, signals %s, sender %x", wrong, taken > 0 ? "came" : "never came", (unsigned)status);
	free(memory);
	munmap(stop, PAGE);
}

static void sent_sigsys(void)
{
	sent(SIGSYS);
}

static void sent_sigsegv(void)
{
	sent(SIGSEGV);
}

/* ---- Instructions that need several pages ------------------------------------------------------------------ */

#define AREA ((size_t)24 * PAGE)

static void *straddle(void *argument)
{
	char *m = argument;
	long wrong = 0;
	for (uint64_t round = 1; round <= 40; round++) {
		char *from = m + PAGE - 4, *to = m + 3 * PAGE - 4;
		uint64_t value = round * 0x9e3779b97f4a7c15u;
		memcpy(from, &value, 8);
		const void *source = from;
		void *destination = to;
		__asm__ volatile("movsq" : "+S"(source), "+D"(destination) : : "memory");
		wrong += memcmp(from, to, 8) != 0;
		size_t length = 9000;
		source = m + 100;
		destination = m + 16 * PAGE - 50;
		__asm__ volatile("rep movsb"
		                 : "+S"(source), "+D"(destination), "+c"(length) : : "memory");
		wrong += memcmp(m + 100, m + 16 * PAGE - 50, 9000) != 0;
		uint32_t *across = (uint32_t *)(void *)(m + 10 * PAGE - 2);
		__asm__ volatile("lock incl %0" : "+m"(*across));
		uint32_t counted;
		memcpy(&counted, across, 4);
		wrong += counted != round;
	}
	return (void *)wrong;
}

static void working_sets(void)
{
	pthread_t threads[12];
	long wrong = 0;
	handle(SIGUSR1, note, SA_RESTART);
	timer_t timer = timer_begin(SIGUSR1, 1000);
	char *memory = mmap(NULL, 12 * AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST_BE(memory != MAP_FAILED);
	for (int i = 0; i < 12; i++)
		MUST_BE(pthread_create(&threads[i], NULL, straddle, memory + (size_t)i * AREA) == 0);
	for (int i = 0; i < 12; i++) {
		void *result;
		pthread_join(threads[i], &result);
		wrong += (long)result;
	}
	timer_delete(timer);
	signal(SIGUSR1, SIG_IGN);
	say("wrong %ld", wrong);
	munmap(memory, 12 * AREA);
}

/* ---- Sleepers ------------------------------------------------------------------------------------------------ */

#define SLEEPERS 200

static int gate[2];
static atomic_int asleep;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static bool opened;

static void *sleeper(void *argument)
{
	char buffer[3000];
	struct pollfd wanted = { .fd = gate[0], .events = POLLHUP };
	long how = (long)argument;
	asleep++;
	if (how % 3 == 0) {
		read(gate[0], buffer, sizeof(buffer));
	} else if (how % 3 == 1) {
		poll(&wanted, 1, -1);
	} else {
		pthread_mutex_lock(&mutex);
		while (!opened)
			pthread_cond_wait(&condition, &mutex);
		pthread_mutex_unlock(&mutex);
	}
	return argument;
}

/* Who sleeps holds no memory: the others go on. */
static void sleepers(void)
{
	static pthread_t threads[SLEEPERS];
	pthread_attr_t attributes;
	long ended = 0, wrong = 0;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 65536);
	MUST(pipe(gate));
	asleep = 0;
	opened = false;
	for (long i = 0; i < SLEEPERS; i++)
		MUST_BE(pthread_create(&threads[i], &attributes, sleeper, (void *)i) == 0);
	while (asleep < SLEEPERS)
		pause_ms(1);
	char *memory = calloc(40, PAGE);
	MUST_BE(memory != NULL);
	for (int round = 1; round <= 5; round++)
		for (size_t i = 0; i < 40; i++)
			wrong += ++memory[i * PAGE] != round;
	pthread_mutex_lock(&mutex);
	opened = true;
	pthread_cond_broadcast(&condition);
	pthread_mutex_unlock(&mutex);
	close(gate[1]);
	for (long i = 0; i < SLEEPERS; i++) {
		void *result;
		pthread_join(threads[i], &result);
		ended += result == (void *)i;
	}
	close(gate[0]);
	free(memory);
	pthread_attr_destroy(&attributes);
	say("ended %ld, wrong %ld", ended, wrong);
}

/* ---- Threads and processes in a storm ------------------------------------------------------------------------- */

static pthread_t storming[8];
static atomic_int running;

static void *send_to_others(void *argument)
{
	long self = (long)argument;
	running++;
	while (running < 8)
		sched_yield();
	for (int i = 0; i < 300; i++)
		pthread_kill(storming[(self + i) % 8], SIGUSR1);
	running++;
	while (running < 16)
		sched_yield();
	return argument;
}

static void killing_each_other(void)
{
	handle(SIGUSR1, note, SA_RESTART);
	taken = running = 0;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	for (long i = 0; i < 8; i++)
		MUST_BE(pthread_create(&storming[i], NULL, send_to_others, (void *)i) == 0);
	for (int i = 0; i < 8; i++)
		pthread_join(storming[i], NULL);
	check("signals came, and none that was not sent", taken > 0 && taken <= 2400);
	signal(SIGUSR1, SIG_IGN);
}

static void *add_one(void *argument)
{
	atomic_int *count = argument;
	(*count)++;
	return NULL;
}

static void processes_in_a_storm(void)
{
	atomic_int threads = 0;
	int forked = 0, left = 0;
	handle(SIGUSR1, note, SA_RESTART);
	timer_t timer = timer_begin(SIGUSR1, 500);
	for (int i = 0; i < 200; i++) {
		pthread_t thread;
		MUST_BE(pthread_create(&thread, NULL, add_one, &threads) == 0);
		pthread_join(thread, NULL);
	}
	for (int i = 0; i < 15; i++) {
		int status;
		pid_t child = fork();
		if (child == 0) {
			timer_begin(SIGUSR1, 200);
			char *memory = calloc(10, PAGE);
			for (size_t k = 0; k < 10; k++)
				memory[k * PAGE] = 1;
			if (i % 2 == 0)
				_exit(i);
			syscall(SYS_exit_group, i);
		}
		forked += child > 0;
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		left += WIFEXITED(status) && WEXITSTATUS(status) == i;
	}
	timer_delete(timer);
	signal(SIGUSR1, SIG_IGN);
	say("threads %d, forked %d, left %d", threads, forked, left);
}

static void many_threads(void)
{
	int made = 0;
	for (int round = 0; round < 40; round++) {
		pthread_t threads[25];
		for (int i = 0; i < 25; i++)
			made += pthread_create(&threads[i], NULL, end_at_once, NULL) == 0;
		for (int i = 0; i < 25; i++)
			pthread_join(threads[i], NULL);
	}
	say("threads %d", made);
}

const struct test storm_tests[] = {
	{ "transfers", transfers },
	{ "lists", lists },
	{ "sent_sigsys", sent_sigsys },
	{ "sent_sigsegv", sent_sigsegv },
	{ "working_sets", working_sets },
	{ "sleepers", sleepers },
	{ "killing_each_other", killing_each_other },
	{ "processes_in_a_storm", processes_in_a_storm },
	{ "many_threads", many_threads },
	{ 0 },
};
