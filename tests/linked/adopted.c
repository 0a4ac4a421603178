/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * adopted.c - large .data and .bss, handed to the kernel while most of them is out
 *
 *     adopted [FILE]
 *
 * Nothing here comes from malloc. The transcript is the same on every run; check-adopted.sh
 * compares that of a native program with that of a linked one under adopt-data. FILE gets the
 * process's memory as the kernel counts it, just before the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define DATAGRAM ((size_t)150000) /* of many pages, none of them whole */

static uint32_t table[MIB] = { 1, 2, 3, [MIB / 2] = 4, [MIB - 1] = 5 }; /* .data */
static unsigned char ring[4 * MIB], copy[4 * MIB];                      /* .bss */
static uint64_t crowd[MIB];

static void say(const char *what, bool right)
{
	char line[128];
	int length = snprintf(line, sizeof(line), "%s %s\n", what, right ? "ok" : "WRONG");
	if (write(STDOUT_FILENO, line, (size_t)length) != length)
		_exit(98);
}

/* Everything else leaves: 8 MiB are referenced. */
static void push_out(void)
{
	volatile uint64_t *words = crowd;
	for (size_t i = 0; i < MIB; i += 512)
		words[i] = words[i] + i;
}

static void fill(unsigned char *bytes, size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = (unsigned char)((i * 2654435761u + seed) >> 11);
	push_out();
}

static void what_the_linker_wrote(void)
{
	volatile uint32_t *words = table;
	uint64_t sum = 0;
	push_out();
	for (size_t i = 0; i < MIB; i++)
		sum += words[i];
	say("data: as linked", sum == 15 && words[2] == 3 && words[MIB / 2] == 4 && words[MIB - 1] == 5);
	for (size_t i = 0; i < MIB; i++)
		words[i] = (uint32_t)(i ^ i >> 3);
	push_out();
	size_t wrong = 0;
	for (size_t i = 0; i < MIB; i++)
		wrong += words[i] != (uint32_t)(i ^ i >> 3);
	say("data: as written", wrong == 0);
}

/* ---- Buffers of system calls ----------------------------------------------------------------- */

static char path[4096];
static struct stat status;
static struct iovec pieces[3];

static void files(void)
{
	const char *directory = getenv("TMPDIR");
	snprintf(path, sizeof(path), "%s/adopted-XXXXXX", directory != NULL ? directory : "/tmp");
	int file = mkstemp(path);
	fill(ring, sizeof(ring), 1);
	say("file: write", write(file, ring, sizeof(ring)) == (ssize_t)sizeof(ring));
	push_out();
	say("file: stat", stat(path, &status) == 0 && status.st_size == (off_t)sizeof(ring));
	push_out();
	say("file: pread", pread(file, copy, sizeof(copy), 0) == (ssize_t)sizeof(copy) &&
	                           memcmp(ring, copy, sizeof(copy)) == 0);
	memset(copy, 0, sizeof(copy));
	pieces[0] = (struct iovec){ copy + 1, MIB };
	pieces[1] = (struct iovec){ copy + 1 + MIB, 1 };
	pieces[2] = (struct iovec){ copy + 2 + MIB, 2 * MIB };
	push_out();
	say("file: preadv", preadv(file, pieces, 3, 7) == (ssize_t)(3 * MIB + 1) &&
	                            memcmp(copy + 1, ring + 7, 3 * MIB + 1) == 0);
	push_out();
	say("file: unlink", unlink(path) == 0 && stat(path, &status) < 0 && errno == ENOENT);
	close(file);
}

static void messages(void)
{
	static int ends[2];
	static const int room = 1 << 20;
	push_out();
	bool made = socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0;
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	fill(ring, DATAGRAM, 2);
	say("message: send", made && send(ends[0], ring + 5, DATAGRAM - 5, 0) == (ssize_t)DATAGRAM - 5);
	memset(copy, 0, DATAGRAM);
	push_out();
	say("message: receive", recv(ends[1], copy, sizeof(copy), 0) == (ssize_t)DATAGRAM - 5 &&
	                                memcmp(copy, ring + 5, DATAGRAM - 5) == 0);
	close(ends[0]);
	close(ends[1]);
}

static struct sigaction action, before;
static sigset_t mask;
static struct timespec now;
static volatile sig_atomic_t delivered;

static void count_delivery(int number)
{
	delivered += number == SIGUSR1;
}

static void signals_and_clocks(void)
{
	action.sa_handler = count_delivery;
	push_out();
	say("signal: action", sigaction(SIGUSR1, &action, &before) == 0 && before.sa_handler == SIG_DFL);
	sigaddset(&mask, SIGUSR1);
	push_out();
	sigprocmask(SIG_BLOCK, &mask, NULL);
	kill(getpid(), SIGUSR1);
	int early = delivered;
	push_out();
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	say("signal: delivered", early == 0 && delivered == 1);
	push_out();
	say("clock", clock_gettime(CLOCK_REALTIME, &now) == 0 && now.tv_sec > 0);
}

/* ---- Futexes in .bss --------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 10

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_t threads[THREADS];
static unsigned turn, turns[THREADS];

/* In turns, each of which pushes out what the others wait at. */
static void *take_turns(void *argument)
{
	unsigned self = (unsigned)(uintptr_t)argument;
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mutex);
		while (turn % THREADS != self)
			pthread_cond_wait(&turned, &mutex);
		turn++;
		turns[self]++;
		push_out();
		pthread_cond_broadcast(&turned);
		pthread_mutex_unlock(&mutex);
	}
	return NULL;
}

static void futexes(void)
{
	unsigned done = 0;
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, take_turns, (void *)i) != 0)
			_exit(97);
	for (int i = 0; i < THREADS; i++)
		done += pthread_join(threads[i], NULL) == 0 && turns[i] == ROUNDS;
	say("threads: turns", done == THREADS && turn == THREADS * ROUNDS);
}

/* ---- A child ------------------------------------------------------------------------------------- */

static int ended;

static void children(void)
{
	fill(ring, sizeof(ring), 3);
	memcpy(copy, ring, sizeof(copy));
	pid_t child = fork();
	if (child == 0) {
		bool same = memcmp(ring, copy, sizeof(copy)) == 0;
		memset(ring, 0, sizeof(ring));
		push_out();
		say("child: its memory", same && ring[MIB] == 0 && memcmp(ring, copy, sizeof(copy)) != 0);
		_exit(7);
	}
	push_out();
	say("child: status", waitpid(child, &ended, 0) == child &&
	                             WIFEXITED(ended) && WEXITSTATUS(ended) == 7);
	say("child: not the parent's", memcmp(ring, copy, sizeof(copy)) == 0);
}

static void report(const char *path)
{
	static char text[8192];
	int from = open("/proc/self/status", O_RDONLY), to = open(path, O_WRONLY | O_CREAT, 0600);
	ssize_t length = read(from, text, sizeof(text));
	if (length <= 0 || write(to, text, (size_t)length) != length)
		_exit(96);
}

int main(int argc, char **argv)
{
	alarm(120);
	what_the_linker_wrote();
	files();
	messages();
	signals_and_clocks();
	futexes();
	children();
	if (argc > 1)
		report(argv[1]);
	return 0;
}
