/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crowded.c - a program that takes all the mappings that the host allows, and uses its memory then: run by
 * check-mapping-limit.sh, natively and by `upage run`
 *
 *      crowded THREADS pages       used, or "no limit"
 *
 * What it maps for that is shared, and so the kernel's in a whole program, too: nearly as many as natively, whatever its
 * own memory takes, which lies apart, and was touched in part before. Then there are threads that write and read that,
 * beside one that takes any mapping that becomes free; parts of it are protected and unmapped, and it forks twice.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define CROWD_MAX ((size_t)1 << 18)

static char *memory;
static size_t pages;
static volatile int enough;
static pthread_barrier_t barrier;

#define need(condition)                                                                       \
	do {                                                                                  \
		if (!(condition)) {                                                           \
			fprintf(stderr, "crowded: line %d: %s\n", __LINE__, #condition);      \
			_exit(1);                                                             \
		}                                                                             \
	} while (0)

static char *map(size_t length, int prot, int flags)
{
	char *made = mmap(NULL, length * PAGE, prot, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	need(made != MAP_FAILED);
	return made;
}

static volatile uint64_t *word(size_t page, size_t number)
{
	return (volatile uint64_t *)(void *)(memory + page * PAGE) + 8 * number;
}

/* Return: how many they were; 0: there is no limit. */
static size_t crowd(void)
{
	char *made = map(2 * CROWD_MAX, PROT_NONE, MAP_SHARED);
	size_t i = 1;
	while (i < 2 * CROWD_MAX && mprotect(made + i * PAGE, PAGE, PROT_READ) == 0)
		i += 2;
	for (int last = 0; last < 4; last++)
		if (mmap(NULL, PAGE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			return i < 2 * CROWD_MAX ? i : 0;
	return 0;
}

static void *grow_crowd(void *argument)
{
	char *more = argument;
	pthread_barrier_wait(&barrier);
	for (size_t i = 1; !enough && i < CROWD_MAX;)
		i += mprotect(more + i * PAGE, PAGE, PROT_READ) == 0 ? 2 : 0;
	return NULL;
}

/* Word @number of each page is this thread's. */
static void use(size_t number, uint64_t add)
{
	for (size_t page = number % 3; page < pages; page += 3)
		*word(page, number) = page + number + add;
	for (size_t page = number % 3; page < pages; page += 3)
		need(*word(page, number) == page + number + add);
}

static void *work(void *argument)
{
	size_t number = (size_t)(uintptr_t)argument;
	pthread_barrier_wait(&barrier);
	use(number, 1);
	use(number, 2);
	return NULL;
}

static void fork_and_use(void)
{
	pid_t child = fork();
	need(child >= 0);
	use(1, child == 0 ? 4 : 3);
	if (child == 0)
		_exit(0);
	int status;
	need(waitpid(child, &status, 0) == child && status == 0);
	use(1, 5);
}

int main(int count, char **arguments)
{
	pthread_t thread[64], grower;
	need(count == 3);
	size_t threads = (size_t)atoi(arguments[1]);
	pages = (size_t)atoi(arguments[2]);
	need(threads > 0 && threads <= 64 && pages > 20);
	memory = map(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (size_t page = 0; page < pages / 2; page += 2)
		*word(page, 63) = page + 1;
	pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
	for (uintptr_t i = 1; i < threads; i++)
		need(pthread_create(&thread[i], NULL, work, (void *)i) == 0);
	need(pthread_create(&grower, NULL, grow_crowd, map(CROWD_MAX, PROT_NONE, MAP_SHARED)) == 0);
	size_t taken = crowd();
	if (taken == 0) {
		puts("no limit");
		fflush(stdout);
		_exit(0);
	}
	work((void *)(uintptr_t)0);
	for (size_t i = 1; i < threads; i++)
		need(pthread_join(thread[i], NULL) == 0);
	enough = 1;
	need(pthread_join(grower, NULL) == 0);
	fork_and_use();
	/* All of it, and its end: natively that needs no mapping either. */
	need(mprotect(memory, pages * PAGE, PROT_READ) == 0);
	for (size_t page = 0; page < pages / 2; page += 2)
		need(*word(page, 63) == page + 1);
	need(mprotect(memory, pages * PAGE, PROT_READ | PROT_WRITE) == 0);
	need(madvise(memory, 5 * PAGE, MADV_DONTNEED) == 0 && *word(0, 63) == 0 && *word(6, 63) == 7);
	need(munmap(memory + pages / 2 * PAGE, (pages - pages / 2) * PAGE) == 0);
	printf("used beside %zu thousand\n", (taken + 3000) / 10000 * 10);
	return 0;
}
