/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guests_blocking.c - tests of guests.c: what a signal does to calls that sleep, and cancellation
 *
 * Each call sleeps, is sent a signal with and without SA_RESTART, and then given what it waits
 * for: whether it fails with EINTR is the kernel's to say, call by call (signal(7)).
 */
#include "guests.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int ends[2], pair[2], full[2], listener, epoll, event, file, queue, semaphores;
static pid_t waited;
static char *large;
static uint32_t word;
static struct sockaddr_un name;

/* ---- The calls, and what lets them go on ------------------------------------------------------ */

static long do_read(void)
{
	char c;
	return read(ends[0], &c, 1);
}

static void let_read(void)
{
	MUST(write(ends[1], "x", 1));
}

static long do_write(void)
{
	return write(full[1], large, 3000);
}

static void fill_up(void)
{
	MUST(fcntl(full[1], F_SETFL, O_NONBLOCK));
	while (write(full[1], large, 4096) > 0)
		;
	MUST(fcntl(full[1], F_SETFL, 0));
}

static void let_write(void)
{
	MUST(read(full[0], large + 4096, 65536));
}

static long do_recv(void)
{
	char c[20];
	return recv(pair[0], c, sizeof(c), 0);
}

static long do_recvmsg(void)
{
	char c[20];
	struct iovec vector = { c, sizeof(c) };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
	return recvmsg(pair[0], &message, 0);
}

static void let_recv(void)
{
	MUST(send(pair[1], "abc", 3, 0));
}

static long do_accept(void)
{
	int peer = accept(listener, NULL, NULL);
	return peer < 0 ? -1 : close(peer);
}

static void let_accept(void)
{
	int from = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	MUST(connect(from, (struct sockaddr *)&name, sizeof(name)));
	close(from);
}

static long do_poll(void)
{
	struct pollfd set = { .fd = ends[0], .events = POLLIN };
	return poll(&set, 1, 5000);
}

static long do_ppoll(void)
{
	struct pollfd set = { .fd = ends[0], .events = POLLIN };
	struct timespec limit = { 5, 0 };
	sigset_t mask;
	sigemptyset(&mask);
	return ppoll(&set, 1, &limit, &mask);
}

static long do_select(void)
{
	fd_set set;
	struct timeval limit = { 5, 0 };
	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	return select(ends[0] + 1, &set, NULL, NULL, &limit);
}

static long do_epoll(void)
{
	struct epoll_event events[4];
	return epoll_wait(epoll, events, 4, 5000);
}

static void drain(void)
{
	char c;
	MUST(write(ends[1], "x", 1));
	while (read(ends[0], &c, 1) != 1)
		;
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	while (read(ends[0], &c, 1) == 1)
		;
	fcntl(ends[0], F_SETFL, 0);
}

/* Longer than the one who disturbs it can take to come: a handler ends it, with SA_RESTART too. */
static long do_sleep(void)
{
	struct timespec time = { 60, 0 }, left = { 0, 0 };
	long result = nanosleep(&time, &left);
	return result == -1 && left.tv_sec > 0 && left.tv_sec < 60 ? -1 : result;
}

static long do_clock(void)
{
	struct timespec time = { 60, 0 }, left = { 0, 0 };
	int result = clock_nanosleep(CLOCK_REALTIME, 0, &time, &left);
	errno = result;
	return result == 0 ? 0 : -1;
}

static long do_wait(void)
{
	int status;
	return waitpid(waited, &status, 0) == waited ? 0 : -1;
}

static long do_waitid(void)
{
	siginfo_t info;
	return waitid(P_PID, (id_t)waited, &info, WEXITED);
}

static void prepare_wait(void)
{
	waited = (pid_t)MUST(fork());
	if (waited == 0) {
		for (;;)
			pause();
	}
}

static void let_wait(void)
{
	MUST(kill(waited, SIGKILL));
}

static void reap(void)
{
	kill(waited, SIGKILL);
	waitpid(waited, NULL, 0);
}

static long do_futex(void)
{
	struct timespec limit = { 5, 0 };
	return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &limit, NULL, 0);
}

static void let_futex(void)
{
	__atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &word, FUTEX_WAKE, 10, NULL, NULL, 0);
}

static void prepare_futex(void)
{
	word = 0;
}

static long do_event(void)
{
	uint64_t value;
	return read(event, &value, sizeof(value));
}

static void let_event(void)
{
	uint64_t one = 1;
	MUST(write(event, &one, sizeof(one)));
}

static void drain_event(void)
{
	let_event();
	do_event();
}

static long do_lock(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_len = 1 };
	return fcntl(file, F_SETLKW, &lock);
}

static int locker[2];

static void prepare_lock(void)
{
	char c;
	int ready[2];
	MUST(pipe(locker));
	MUST(pipe(ready));
	waited = (pid_t)MUST(fork());
	if (waited == 0) {
		struct flock lock = { .l_type = F_WRLCK, .l_len = 1 };
		fcntl(file, F_SETLKW, &lock);
		close(locker[1]);
		MUST(write(ready[1], "r", 1));
		while (read(locker[0], &c, 1) < 0)
			;
		_exit(0);
	}
	MUST(read(ready[0], &c, 1));
	close(ready[0]);
	close(ready[1]);
	close(locker[0]);
}

static void let_lock(void)
{
	close(locker[1]);
	locker[1] = -1;
}

static void unlock(void)
{
	struct flock lock = { .l_type = F_UNLCK, .l_len = 1 };
	if (locker[1] >= 0)
		close(locker[1]);
	waitpid(waited, NULL, 0);
	fcntl(file, F_SETLK, &lock);
}

static long do_msgrcv(void)
{
	struct {
		long type;
		char text[8];
	} message;
	return msgrcv(queue, &message, 8, 1, 0);
}

static void let_msgrcv(void)
{
	const struct {
		long type;
		char text[8];
	} message = { 1, "abc" };
	MUST(msgsnd(queue, &message, 8, 0));
}

static void drain_queue(void)
{
	let_msgrcv();
	do_msgrcv();
	char rest[64];
	while (msgrcv(queue, rest, 8, 1, IPC_NOWAIT) >= 0)
		;
}

static long do_semop(void)
{
	struct sembuf take = { 0, -1, 0 };
	return semop(semaphores, &take, 1);
}

static void let_semop(void)
{
	struct sembuf give = { 0, 1, 0 };
	MUST(semop(semaphores, &give, 1));
}

static void reset_semaphore(void)
{
	MUST(semctl(semaphores, 0, SETVAL, 0));
}

static long do_pause(void)
{
	return pause();
}

static long do_suspend(void)
{
	sigset_t mask;
	sigemptyset(&mask);
	return sigsuspend(&mask);
}

static long do_timedwait(void)
{
	sigset_t set;
	struct timespec limit = { 5, 0 };
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigtimedwait(&set, NULL, &limit);
}

static pthread_t caller;

static void let_timedwait(void)
{
	pthread_kill(caller, SIGUSR2);
}

static long do_fifo(void)
{
	int opened = open("fifo", O_RDONLY);
	return opened < 0 ? -1 : close(opened);
}

static void let_fifo(void)
{
	int opened;
	while ((opened = open("fifo", O_WRONLY | O_NONBLOCK)) < 0)
		pause_ms(1);
	close(opened);
}

static void nothing(void)
{
}

static const struct {
	const char *name;
	void (*prepare)(void);
	long (*call)(void);
	void (*let)(void);   /* NULL: it ends by itself, or by the signal */
	void (*restore)(void);
} calls[] = {
	{ "read", nothing, do_read, let_read, drain },
	{ "write", fill_up, do_write, let_write, nothing },
	{ "recv", nothing, do_recv, let_recv, nothing },
	{ "recvmsg", nothing, do_recvmsg, let_recv, nothing },
	{ "accept", nothing, do_accept, let_accept, nothing },
	{ "open of a fifo", nothing, do_fifo, let_fifo, nothing },
	{ "poll", nothing, do_poll, let_read, drain },
	{ "ppoll", nothing, do_ppoll, let_read, drain },
	{ "select", nothing, do_select, let_read, drain },
	{ "epoll_wait", nothing, do_epoll, let_read, drain },
	{ "nanosleep", nothing, do_sleep, NULL, nothing },
	{ "clock_nanosleep", nothing, do_clock, NULL, nothing },
	{ "waitpid", prepare_wait, do_wait, let_wait, reap },
	{ "waitid", prepare_wait, do_waitid, let_wait, reap },
	{ "futex", prepare_futex, do_futex, let_futex, nothing },
	{ "eventfd", nothing, do_event, let_event, drain_event },
	{ "fcntl", prepare_lock, do_lock, let_lock, unlock },
	{ "msgrcv", nothing, do_msgrcv, let_msgrcv, drain_queue },
	{ "semop", nothing, do_semop, let_semop, reset_semaphore },
	{ "pause", nothing, do_pause, NULL, nothing },
	{ "sigsuspend", nothing, do_suspend, NULL, nothing },
	{ "sigtimedwait", nothing, do_timedwait, let_timedwait, nothing },
};

/* ---- A signal while it sleeps --------------------------------------------------------------------- */

static atomic_int handled;
static atomic_bool entered, ended;
static pid_t caller_id;

static atomic_uint masks;

static void note(int signal, siginfo_t *info, void *context)
{
	sigset_t mask;
	(void)signal;
	(void)info;
	(void)context;
	/* That of the call, if it has one, is in force until the handler returns. */
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	masks = (unsigned)sigismember(&mask, SIGUSR1) * 10 + (unsigned)sigismember(&mask, SIGUSR2);
	handled++;
}

/* Waits until the caller sleeps, or is through. */
static void until_asleep(void)
{
	char path[64], text[512];
	int asleep = 0;
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)caller_id);
	while (asleep < 5 && !ended) {
		int from = (int)MUST(open(path, O_RDONLY));
		ssize_t n = read(from, text, sizeof(text) - 1);
		close(from);
		text[n > 0 ? n : 0] = '\0';
		const char *state = strrchr(text, ')');
		asleep = entered && state && state[2] == 'S' ? asleep + 1 : 0;
		pause_ms(2);
	}
}

static void *disturb(void *argument)
{
	void (*let)(void) = argument ? *(void (**)(void))argument : NULL;
	until_asleep();
	pthread_kill(caller, SIGUSR1);
	while (handled == 0)
		pause_ms(1);
	until_asleep();
	if (let && !ended)
		let();
	return NULL;
}

static void interrupted_calls(void)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		for (int restart = 0; restart < 2; restart++) {
			pthread_t thread;
			void (*let)(void) = calls[i].let;
			sigset_t set, before;
			handle(SIGUSR1, note, restart ? SA_RESTART : 0);
			handled = 0;
			entered = ended = false;
			calls[i].prepare();
			sigemptyset(&set);
			sigaddset(&set, SIGUSR1);
			sigaddset(&set, SIGUSR2);
			pthread_sigmask(SIG_BLOCK, &set, &before);
			MUST_BE(pthread_create(&thread, NULL, disturb, let ? &let : NULL) == 0);
			sigdelset(&set, SIGUSR1);
			sigorset(&before, &before, &set);
			pthread_sigmask(SIG_SETMASK, &before, NULL);
			entered = true;
			errno = 0;
			long result = calls[i].call();
			int error = errno;
			ended = true;
			pthread_join(thread, NULL);
			sigdelset(&before, SIGUSR2);
			signal(SIGUSR2, SIG_IGN);
			pthread_sigmask(SIG_SETMASK, &before, NULL);
			say("%s%s: %ld%s, handled %d, masks %u", calls[i].name,
			    restart ? ", SA_RESTART" : "", result,
			    result >= 0 ? "" : error == EINTR ? " EINTR" : " another error", handled, masks);
			calls[i].restore();
		}
	}
	signal(SIGUSR1, SIG_DFL);
	signal(SIGUSR2, SIG_DFL);
}

static void blocking_begin(void)
{
	char *directory = make_directory();
	MUST(chdir(directory));
	caller = pthread_self();
	caller_id = (pid_t)syscall(SYS_gettid);
	large = calloc(1, 65536 + 4096);
	MUST(pipe(ends));
	MUST(pipe(full));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	listener = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	name.sun_family = AF_UNIX;
	strcpy(name.sun_path, "socket");
	MUST(bind(listener, (struct sockaddr *)&name, sizeof(name)));
	MUST(listen(listener, 5));
	MUST(mkfifo("fifo", 0600));
	epoll = (int)MUST(epoll_create1(0));
	struct epoll_event wanted = { .events = EPOLLIN };
	MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &wanted));
	event = (int)MUST(eventfd(0, 0));
	file = (int)MUST(open("file", O_RDWR | O_CREAT, 0600));
	queue = (int)MUST(msgget(IPC_PRIVATE, 0600));
	semaphores = (int)MUST(semget(IPC_PRIVATE, 1, 0600));
	interrupted_calls();
	MUST(msgctl(queue, IPC_RMID, NULL));
	MUST(semctl(semaphores, 0, IPC_RMID));
	unlink("socket");
	unlink("fifo");
	unlink("file");
	MUST(chdir("/"));
	MUST(rmdir(directory));
	free(large);
}

/* ---- Cancellation --------------------------------------------------------------------------------------- */

static atomic_int cleaned;

static void clean(void *argument)
{
	(void)argument;
	cleaned++;
}

static void *sleep_for_ever(void *argument)
{
	struct pollfd none = { .fd = -1 };
	char c[5000];
	pthread_cleanup_push(clean, NULL);
	switch ((int)(long)argument) {
	case 0:
		read(ends[0], c, sizeof(c));
		break;
	case 1:
		poll(&none, 1, -1);
		break;
	case 2:
		pause();
		break;
	case 3: {
		pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
		pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
		pthread_mutex_lock(&mutex);
		for (;;)
			pthread_cond_wait(&condition, &mutex);
	}
	case 4:
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
		for (volatile unsigned i = 0;; i++)
			c[i % sizeof(c)] = (char)i;
	default:
		for (;;) {
			pthread_testcancel();
			memset(c, 1, sizeof(c));
		}
	}
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancellation(void)
{
	unsigned cancelled = 0;
	cleaned = 0;
	MUST(pipe(ends));
	for (int round = 0; round < 5; round++) {
		for (int how = 0; how < 6; how++) {
			pthread_t thread;
			void *result = NULL;
			MUST_BE(pthread_create(&thread, NULL, sleep_for_ever, (void *)(long)how) == 0);
			pause_ms(round);
			pthread_cancel(thread);
			pthread_join(thread, &result);
			cancelled += result == PTHREAD_CANCELED;
		}
	}
	say("cancelled %u, cleaned %s", cancelled, cleaned == 0 ? "none" : "some");
	close(ends[0]);
	close(ends[1]);
}

/* ---- Times, and threads that are told ----------------------------------------------------------------------- */

static atomic_int expired;

static void on_expiry(union sigval value)
{
	expired += value.sival_int;
}

static void timers(void)
{
	uint64_t times = 0;
	timer_t timer;
	struct sigevent by_thread = { .sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 3 };
	by_thread.sigev_notify_function = on_expiry;
	struct itimerspec when = { .it_value = { 0, 3000000 }, .it_interval = { 0, 3000000 } };
	expired = 0;
	MUST(timer_create(CLOCK_MONOTONIC, &by_thread, &timer));
	MUST(timer_settime(timer, 0, &when, NULL));
	while (expired < 30)
		pause_ms(1);
	timer_delete(timer);
	check("notified by threads", expired % 3 == 0);
	int descriptor = (int)MUST(timerfd_create(CLOCK_MONOTONIC, 0));
	MUST(timerfd_settime(descriptor, 0, &when, NULL));
	pause_ms(20);
	check("timerfd", read(descriptor, &times, 8) == 8 && times >= 5);
	close(descriptor);
	sigset_t set;
	siginfo_t info;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN + 1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < 50; i++)
		MUST(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = i }));
	int wrong = 0;
	for (int i = 0; i < 25; i++)
		wrong += sigwaitinfo(&set, &info) != SIGRTMIN + 1 || info.si_value.sival_int != i ||
		         info.si_pid != getpid();
	descriptor = (int)MUST(signalfd(-1, &set, 0));
	struct signalfd_siginfo read_info;
	for (int i = 25; i < 50; i++)
		wrong += read(descriptor, &read_info, sizeof(read_info)) != sizeof(read_info) ||
		         read_info.ssi_int != i;
	say("queued and fetched: wrong %d", wrong);
	close(descriptor);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *set_and_see(void *argument)
{
	atomic_int *stop = argument;
	while (!*stop)
		pause_ms(1);
	return (void *)(long)(getegid() == 12345);
}

/* The C library has each thread do it, by a signal. */
static void identities(void)
{
	if (geteuid() != 0) {
		check("all threads changed", true);
		return;
	}
	int status;
	pid_t child = (pid_t)MUST(fork());
	if (child == 0) {
		pthread_t threads[6];
		atomic_int stop = 0;
		long changed = 0;
		for (int i = 0; i < 6; i++)
			MUST_BE(pthread_create(&threads[i], NULL, set_and_see, &stop) == 0);
		for (int i = 0; i < 50; i++)
			MUST(setegid(i % 2 == 0 ? 0 : 12345));
		stop = 1;
		for (int i = 0; i < 6; i++) {
			void *result;
			pthread_join(threads[i], &result);
			changed += (long)result;
		}
		_exit((int)changed);
	}
	MUST(waitpid(child, &status, 0));
	check("all threads changed", WIFEXITED(status) && WEXITSTATUS(status) == 6);
}

const struct test blocking_tests[] = {
	{ "interrupted", blocking_begin },
	{ "cancellation", cancellation },
	{ "timers", timers },
	{ "identities", identities },
	{ 0 },
};
