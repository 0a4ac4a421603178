/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_threads.c - cases of calls.c: what threads wait on, evicted and moved while they wait
 *
 * The shared kinds are the hard ones: the kernel knows a shared word by the place of its frame.
 */
#include "calls.h"

#include <linux/rseq.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS 300

/* Each object in a block of its own, so that each lies across a page boundary. */
static struct {
	pthread_mutex_t *mutex;
	pthread_cond_t *condition;
	pthread_barrier_t *barrier;
	pthread_rwlock_t *lock;
	sem_t *semaphore, *answer;
	long *counter;
} shared;
static atomic_int waiting, finished;

static void make_mutex(int sharing, int protocol, int robustness)
{
	pthread_mutexattr_t attributes;
	shared.mutex = EVICTED(pthread_mutex_t);
	pthread_mutexattr_init(&attributes);
	MUST(-pthread_mutexattr_setpshared(&attributes, sharing));
	MUST(-pthread_mutexattr_setprotocol(&attributes, protocol));
	MUST(-pthread_mutexattr_setrobust(&attributes, robustness));
	MUST(-pthread_mutex_init(shared.mutex, &attributes));
	pthread_mutexattr_destroy(&attributes);
	shared.counter = EVICTED(long);
	waiting = finished = 0;
}

static void make_condition(int sharing)
{
	pthread_condattr_t attributes;
	shared.condition = EVICTED(pthread_cond_t);
	pthread_condattr_init(&attributes);
	MUST(-pthread_condattr_setpshared(&attributes, sharing));
	MUST(-pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
	MUST(-pthread_cond_init(shared.condition, &attributes));
	pthread_condattr_destroy(&attributes);
}

/* The time in 50 milliseconds. */
static void soon(clockid_t clock, struct timespec *time)
{
	clock_gettime(clock, time);
	time->tv_nsec += 50000000;
	time->tv_sec += time->tv_nsec / 1000000000;
	time->tv_nsec %= 1000000000;
}

/* Runs threads; meanwhile their memory goes out again and again. */
static void run_threads(void *(*function)(void *))
{
	pthread_t threads[THREADS];
	for (long i = 0; i < THREADS; i++)
		MUST(-pthread_create(&threads[i], NULL, function, (void *)i));
	while (finished < THREADS) {
		push_out();
		pause_ms(1);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* ---- Mutexes --------------------------------------------------------------------------- */

static void *count_up(void *argument)
{
	(void)argument;
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(shared.mutex);
		long before = *shared.counter;
		if (i % 16 == 0)
			push_out();
		*shared.counter = before + 1;
		pthread_mutex_unlock(shared.mutex);
	}
	finished++;
	return NULL;
}

static void count_under_mutex(int sharing, int protocol)
{
	make_mutex(sharing, protocol, PTHREAD_MUTEX_STALLED);
	run_threads(count_up);
	say("counted %ld", *shared.counter);
}

static void mutex_private(void)
{
	count_under_mutex(PTHREAD_PROCESS_PRIVATE, PTHREAD_PRIO_NONE);
}

static void mutex_shared(void)
{
	count_under_mutex(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE);
}

static void mutex_inheriting(void)
{
	count_under_mutex(PTHREAD_PROCESS_PRIVATE, PTHREAD_PRIO_INHERIT);
	count_under_mutex(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_INHERIT);
}

static void *lock_once(void *argument)
{
	(void)argument;
	waiting++;
	int error = pthread_mutex_lock(shared.mutex);
	++*shared.counter;
	pthread_mutex_unlock(shared.mutex);
	return (void *)(long)error;
}

/* Threads sleep on the mutex; it is moved; then it is unlocked. */
static void mutex_moved(void)
{
	pthread_t threads[THREADS];
	make_mutex(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	pthread_mutex_lock(shared.mutex);
	for (int i = 0; i < THREADS; i++)
		MUST(-pthread_create(&threads[i], NULL, lock_once, NULL));
	while (waiting < THREADS)
		pause_ms(1);
	churn(100);
	say("counted while locked: %ld", *shared.counter);
	push_out();
	pthread_mutex_unlock(shared.mutex);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	say("counted %ld", *shared.counter);
}

static void mutex_timed(void)
{
	struct timespec *until = EVICTED(struct timespec);
	make_mutex(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	pthread_mutex_lock(shared.mutex);
	soon(CLOCK_REALTIME, until);
	CALL("pthread_mutex_timedlock", pthread_mutex_timedlock(shared.mutex, until));
	CALL("pthread_mutex_trylock", pthread_mutex_trylock(shared.mutex));
	CALL("pthread_mutex_unlock", pthread_mutex_unlock(shared.mutex));
	CALL("pthread_mutex_timedlock", pthread_mutex_timedlock(shared.mutex, until));
}

/* ---- Robust mutexes -------------------------------------------------------------------- */

/* Dies with the mutex in its hands, without having touched it again. */
static void *die_locked(void *argument)
{
	(void)argument;
	pthread_mutex_lock(shared.mutex);
	waiting++;
	while (!finished)
		pause_ms(1);
	return NULL;
}

static void *recover(void *argument)
{
	(void)argument;
	waiting++;
	int error = pthread_mutex_lock(shared.mutex);
	if (error == EOWNERDEAD) {
		pthread_mutex_consistent(shared.mutex);
		pthread_mutex_unlock(shared.mutex);
	}
	return (void *)(long)error;
}

static void start_dying(pthread_t *owner, int protocol)
{
	make_mutex(PTHREAD_PROCESS_PRIVATE, protocol, PTHREAD_MUTEX_ROBUST);
	MUST(-pthread_create(owner, NULL, die_locked, NULL));
	while (waiting < 1)
		pause_ms(1);
}

static void owner_dies(int protocol)
{
	pthread_t owner, heir;
	void *error;
	start_dying(&owner, protocol);
	push_out();
	finished = 1;
	pthread_join(owner, NULL);
	CALL("pthread_mutex_trylock", pthread_mutex_trylock(shared.mutex) == EOWNERDEAD);
	CALL("pthread_mutex_consistent", pthread_mutex_consistent(shared.mutex));
	CALL("pthread_mutex_unlock", pthread_mutex_unlock(shared.mutex));
	CALL("pthread_mutex_lock", pthread_mutex_lock(shared.mutex));
	CALL("pthread_mutex_unlock", pthread_mutex_unlock(shared.mutex));
	/* Somebody waits meanwhile. */
	start_dying(&owner, protocol);
	MUST(-pthread_create(&heir, NULL, recover, NULL));
	while (waiting < 2)
		pause_ms(1);
	churn(50);
	finished = 1;
	pthread_join(owner, NULL);
	pthread_join(heir, &error);
	check("the heir was told", (long)error == EOWNERDEAD);
	/* Nobody mends it. */
	start_dying(&owner, protocol);
	push_out();
	finished = 1;
	pthread_join(owner, NULL);
	CALL("pthread_mutex_lock", pthread_mutex_lock(shared.mutex) == EOWNERDEAD);
	CALL("pthread_mutex_unlock", pthread_mutex_unlock(shared.mutex));
	CALL("pthread_mutex_lock", pthread_mutex_lock(shared.mutex) == ENOTRECOVERABLE);
}

static void robust(void)
{
	owner_dies(PTHREAD_PRIO_NONE);
}

static void robust_inheriting(void)
{
	owner_dies(PTHREAD_PRIO_INHERIT);
}

/* Several in the hands of one: the whole list is walked, each on a page of its own. */
static pthread_mutex_t *several[8];

static void *die_with_several(void *argument)
{
	for (int i = 0; i < 8; i++)
		pthread_mutex_lock(several[i]);
	pthread_mutex_unlock(several[3]);
	return die_locked(argument);
}

static void robust_several(void)
{
	pthread_t owner;
	for (int i = 0; i < 8; i++) {
		make_mutex(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
		several[i] = shared.mutex;
	}
	make_mutex(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
	MUST(-pthread_create(&owner, NULL, die_with_several, NULL));
	while (waiting < 1)
		pause_ms(1);
	push_out();
	finished = 1;
	pthread_join(owner, NULL);
	for (int i = 0; i < 8; i++)
		say("number %d: owner died: %d", i,
		    pthread_mutex_trylock(several[i]) == EOWNERDEAD);
}

/* ---- Condition variables --------------------------------------------------------------- */

static void *take_turns(void *argument)
{
	long self = (long)argument;
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(shared.mutex);
		while (*shared.counter % THREADS != self)
			pthread_cond_wait(shared.condition, shared.mutex);
		++*shared.counter;
		pthread_cond_broadcast(shared.condition);
		pthread_mutex_unlock(shared.mutex);
	}
	finished++;
	return NULL;
}

static void condition_turns(void)
{
	for (int sharing = 0; sharing < 2; sharing++) {
		make_mutex(sharing, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
		make_condition(sharing);
		run_threads(take_turns);
		say("turns %ld", *shared.counter);
	}
}

static void *wait_once(void *argument)
{
	(void)argument;
	pthread_mutex_lock(shared.mutex);
	waiting++;
	while (*shared.counter == 0)
		pthread_cond_wait(shared.condition, shared.mutex);
	pthread_mutex_unlock(shared.mutex);
	finished++;
	return NULL;
}

static void condition_moved(int sharing)
{
	pthread_t threads[THREADS];
	make_mutex(sharing, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	make_condition(sharing);
	for (int i = 0; i < THREADS; i++)
		MUST(-pthread_create(&threads[i], NULL, wait_once, NULL));
	while (waiting < THREADS)
		pause_ms(1);
	churn(100);
	pthread_mutex_lock(shared.mutex);
	*shared.counter = 1;
	push_out();
	pthread_cond_broadcast(shared.condition);
	pthread_mutex_unlock(shared.mutex);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	say("went on: %d", finished);
}

static void condition_moved_private(void)
{
	condition_moved(PTHREAD_PROCESS_PRIVATE);
}

static void condition_moved_shared(void)
{
	condition_moved(PTHREAD_PROCESS_SHARED);
}

static void condition_timed(void)
{
	struct timespec *until = EVICTED(struct timespec);
	make_mutex(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
	make_condition(PTHREAD_PROCESS_SHARED);
	soon(CLOCK_MONOTONIC, until);
	pthread_mutex_lock(shared.mutex);
	CALL("pthread_cond_timedwait",
	     pthread_cond_timedwait(shared.condition, shared.mutex, until) == ETIMEDOUT);
	pthread_mutex_unlock(shared.mutex);
}

/* ---- Barriers, readers and writers, semaphores ----------------------------------------- */

static void *meet(void *argument)
{
	(void)argument;
	for (int i = 0; i < ROUNDS; i++)
		if (pthread_barrier_wait(shared.barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			++*shared.counter;
	finished++;
	return NULL;
}

static void *meet_once(void *argument)
{
	(void)argument;
	waiting++;
	pthread_barrier_wait(shared.barrier);
	return NULL;
}

static void barriers(void)
{
	pthread_barrierattr_t attributes;
	pthread_t threads[THREADS];
	pthread_barrierattr_init(&attributes);
	for (int sharing = 0; sharing < 2; sharing++) {
		shared.barrier = EVICTED(pthread_barrier_t);
		shared.counter = EVICTED(long);
		waiting = finished = 0;
		MUST(-pthread_barrierattr_setpshared(&attributes, sharing));
		MUST(-pthread_barrier_init(shared.barrier, &attributes, THREADS));
		run_threads(meet);
		say("met %ld times", *shared.counter);
		MUST(-pthread_barrier_destroy(shared.barrier));
		MUST(-pthread_barrier_init(shared.barrier, &attributes, THREADS + 1));
		for (int i = 0; i < THREADS; i++)
			MUST(-pthread_create(&threads[i], NULL, meet_once, NULL));
		while (waiting < THREADS)
			pause_ms(1);
		churn(100);
		pthread_barrier_wait(shared.barrier);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		say("met after it was moved");
	}
}

static void *read_and_write(void *argument)
{
	long self = (long)argument;
	for (int i = 0; i < ROUNDS; i++) {
		if (i % THREADS == self) {
			pthread_rwlock_wrlock(shared.lock);
			++shared.counter[0];
			if (i % 16 == 0)
				push_out();
			++shared.counter[1];
		} else {
			pthread_rwlock_rdlock(shared.lock);
			if (shared.counter[0] != shared.counter[1])
				shared.counter[2] = 1;
		}
		pthread_rwlock_unlock(shared.lock);
	}
	finished++;
	return NULL;
}

static void *write_once(void *argument)
{
	(void)argument;
	waiting++;
	pthread_rwlock_wrlock(shared.lock);
	++shared.counter[0];
	pthread_rwlock_unlock(shared.lock);
	return NULL;
}

static void readers_and_writers(void)
{
	pthread_rwlockattr_t attributes;
	pthread_t threads[THREADS];
	pthread_rwlockattr_init(&attributes);
	for (int sharing = 0; sharing < 2; sharing++) {
		shared.lock = EVICTED(pthread_rwlock_t);
		shared.counter = EVICTED_ARRAY(long, 3);
		waiting = finished = 0;
		MUST(-pthread_rwlockattr_setpshared(&attributes, sharing));
		MUST(-pthread_rwlock_init(shared.lock, &attributes));
		run_threads(read_and_write);
		say("written %ld, torn %ld", shared.counter[0], shared.counter[2]);
		pthread_rwlock_rdlock(shared.lock);
		for (int i = 0; i < THREADS; i++)
			MUST(-pthread_create(&threads[i], NULL, write_once, NULL));
		while (waiting < THREADS)
			pause_ms(1);
		churn(100);
		pthread_rwlock_unlock(shared.lock);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		say("written %ld", shared.counter[0]);
	}
}

static void *answer(void *argument)
{
	(void)argument;
	for (int i = 0; i < ROUNDS; i++) {
		sem_wait(shared.semaphore);
		++*shared.counter;
		sem_post(shared.answer);
	}
	return NULL;
}

static void semaphores(void)
{
	pthread_t thread;
	struct timespec *until = EVICTED(struct timespec);
	for (int sharing = 0; sharing < 2; sharing++) {
		shared.semaphore = EVICTED(sem_t);
		shared.answer = EVICTED(sem_t);
		shared.counter = EVICTED(long);
		MUST(sem_init(shared.semaphore, sharing, 0));
		MUST(sem_init(shared.answer, sharing, 0));
		MUST(-pthread_create(&thread, NULL, answer, NULL));
		churn(100);
		for (int i = 0; i < ROUNDS; i++) {
			push_out();
			sem_post(shared.semaphore);
			while (sem_wait(shared.answer) != 0)
				;
		}
		pthread_join(thread, NULL);
		say("answers %ld", *shared.counter);
		soon(CLOCK_REALTIME, until);
		CALL("sem_timedwait", sem_timedwait(shared.semaphore, until));
		CALL("sem_trywait", sem_trywait(shared.semaphore));
	}
}

/* ---- Joining --------------------------------------------------------------------------- */

/* A thread on a stack of malloc's: its control block is there too, with the word that the
 * kernel clears when it ends. */
static void *sleep_on_stack(void *argument)
{
	char deep[20000];
	fill(deep, sizeof(deep), (unsigned)(long)argument);
	for (int i = 0; i < 10; i++) {
		push_out();
		pause_ms(5);
	}
	return (void *)hash(deep, sizeof(deep));
}

static void joins(void)
{
	pthread_t threads[THREADS];
	pthread_attr_t attributes;
	void *value;
	char *stacks = evicted_pages(THREADS * 32);
	pthread_attr_init(&attributes);
	for (long i = 0; i < THREADS; i++) {
		MUST(-pthread_attr_setstack(&attributes, stacks + i * 32 * (long)PAGE,
		                            32 * PAGE));
		MUST(-pthread_create(&threads[i], &attributes, sleep_on_stack, (void *)i));
	}
	for (int i = 0; i < THREADS; i++) {
		push_out();
		say("pthread_join = %d", pthread_join(threads[i], &value));
		say("value %016lx", (unsigned long)value);
	}
	pthread_attr_destroy(&attributes);
}

static void *end_soon(void *argument)
{
	pause_ms(3);
	return argument;
}

/* Many, one after another, each with a key's value in malloc'ed memory. */
static pthread_key_t key;
static atomic_int destroyed;

static void destroy(void *value)
{
	destroyed += *(int *)value;
	free(value);
}

static void *with_key(void *argument)
{
	int *value = malloc(sizeof(int));
	*value = 1;
	pthread_setspecific(key, value);
	push_out_range(value, sizeof(int));
	return end_soon(argument);
}

static void many_threads(void)
{
	pthread_t threads[THREADS];
	long sum = 0;
	void *value;
	destroyed = 0;
	MUST(-pthread_key_create(&key, destroy));
	for (int round = 0; round < 25; round++) {
		for (long i = 0; i < THREADS; i++)
			MUST(-pthread_create(&threads[i], NULL, with_key, (void *)(i + round)));
		for (int i = 0; i < THREADS; i++) {
			pthread_join(threads[i], &value);
			sum += (long)value;
		}
	}
	say("sum %ld, destroyed %d", sum, destroyed);
	pthread_key_delete(key);
}

/* ---- Restartable sequences -------------------------------------------------------------- */

#define RSEQ_BYTES 32
#define RSEQ_SIGNATURE 0x53053053 /* the C library's */

/* The kernel would write into the area of a thread that comes back to a processor, and kill who has
 * it elsewhere than in memory. The C library's own area gives way first. */
static void register_sequences(void)
{
	char *own = (char *)__builtin_thread_pointer() + __rseq_offset;
	long ended = -1;
	for (unsigned bytes = RSEQ_BYTES; __rseq_size > 0 && ended < 0 && bytes <= 512; bytes += RSEQ_BYTES)
		ended = syscall(SYS_rseq, own, bytes, RSEQ_FLAG_UNREGISTER, RSEQ_SIGNATURE);
	char *area = memset(evicted_pages(1), 0, PAGE);
	push_out();
	long registered = syscall(SYS_rseq, area, RSEQ_BYTES, 0, RSEQ_SIGNATURE);
	check("registered, or there are none", registered == 0 || errno == ENOSYS);
	churn(50);
	say("alive");
}

static void sequences(void)
{
	say("status %x", (unsigned)in_child(register_sequences));
}

const struct call_case thread_cases[] = {
	EASY_CASE(mutex_private),
	EASY_CASE(mutex_shared),
	EASY_CASE(mutex_inheriting),
	CASE(mutex_moved),
	EASY_CASE(mutex_timed),
	CASE(robust),
	CASE(robust_inheriting),
	CASE(robust_several),
	EASY_CASE(condition_turns),
	EASY_CASE(condition_moved_private),
	CASE(condition_moved_shared),
	EASY_CASE(condition_timed),
	CASE(barriers),
	CASE(readers_and_writers),
	CASE(semaphores),
	CASE(joins),
	EASY_CASE(many_threads),
	CASE(sequences),
	{ 0 },
};
