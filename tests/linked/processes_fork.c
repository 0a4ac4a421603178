/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * processes_fork.c - tests of processes.c: who has which memory after fork(2)
 */
#include "processes.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- Parent and four children ---------------------------------------------------------- */

#define CHILDREN 4
#define THREADS 2

/* In memory that all share, and that is not malloc's. */
static struct {
	atomic_int written, checked;
	atomic_size_t wrong;
} *common;

static struct part {
	uint64_t *memory;
	size_t bytes;
	unsigned who;
	size_t wrong;
} parts[THREADS];

static void *write_part(void *argument)
{
	struct part *part = argument;
	write_memory(part->memory, part->bytes, part->who);
	return NULL;
}

static void *check_part(void *argument)
{
	struct part *part = argument;
	part->wrong = wrong_words(part->memory, part->bytes, part->who);
	/* The heap as well. */
	for (unsigned i = 0; i < 500; i++) {
		size_t bytes = 16 + i * 37 % 3000;
		unsigned char *block = malloc(bytes);
		memset(block, (int)(part->who + i), bytes);
		part->wrong += block[bytes - 1] != (unsigned char)(part->who + i);
		free(block);
	}
	return NULL;
}

static void in_threads(uint64_t *memory, unsigned who, void *(*function)(void *))
{
	pthread_t threads[THREADS];
	for (size_t i = 0; i < THREADS; i++) {
		size_t bytes = size / THREADS / PAGE * PAGE;
		parts[i] = (struct part){ memory + i * bytes / sizeof(*memory), bytes,
			                  who * THREADS + (unsigned)i, 0 };
		MUST_BE(pthread_create(&threads[i], NULL, function, &parts[i]) == 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS; i++)
		common->wrong += parts[i].wrong;
}

static void all_have(atomic_int *counter)
{
	++*counter;
	while (*counter < CHILDREN + 1)
		pause_ms(1);
}

static void live(uint64_t *memory, unsigned who, unsigned before)
{
	common->wrong += wrong_words(memory, size, before);
	in_threads(memory, who, write_part);
	all_have(&common->written);
	in_threads(memory, who, check_part);
	all_have(&common->checked);
}

static void family(void)
{
	pid_t children[CHILDREN];
	common = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST_BE(common != MAP_FAILED);
	uint64_t *memory = new_memory(size, 77);
	for (unsigned i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		MUST_BE(children[i] >= 0);
		if (children[i] == 0) {
			live(memory, 100 + i, 77);
			free(memory);
			_exit(0);
		}
	}
	live(memory, 99, 77);
	for (int i = 0; i < CHILDREN; i++)
		say("child: status %x", (unsigned)wait_for(children[i]));
	say("wrong words: %zu", common->wrong);
	in_threads(memory, 99, check_part);
	say("after they have ended: %zu", common->wrong);
	free(memory);
	munmap(common, PAGE);
}

/* Children of children, each with what its parent had at that moment. */
static void generations(void)
{
	size_t bytes = 64 * PAGE;
	uint64_t *memory = new_memory(bytes, 0);
	unsigned depth = 0;
	pid_t child;
	int status = 0;
	while (depth < 6 && (child = fork()) == 0) {
		if (wrong_words(memory, bytes, depth) != 0)
			_exit(100);
		write_memory(memory, bytes, ++depth);
		madvise(memory, bytes, MADV_PAGEOUT);
	}
	if (depth < 6)
		status = wait_for(child);
	if (wrong_words(memory, bytes, depth) != 0)
		_exit(101);
	if (depth > 0)
		_exit(status == 0 ? 0 : 102);
	say("the youngest of six and all others: status %x", (unsigned)status);
	free(memory);
}

/* What is written after a fork is seen by the writer alone. */
static void separate(void)
{
	int ends[2], back[2];
	char byte = 0;
	size_t bytes = 200 * PAGE;
	uint64_t *memory = new_memory(bytes, 1);
	MUST_BE(pipe(ends) == 0 && pipe(back) == 0);
	pid_t child = fork();
	if (child == 0) {
		MUST_BE(read(ends[0], &byte, 1) == 1);
		int status = wrong_words(memory, bytes, 1) != 0;
		write_memory(memory, bytes, 3);
		MUST_BE(write(back[1], "x", 1) == 1);
		MUST_BE(read(ends[0], &byte, 1) == 1);
		_exit(status | (wrong_words(memory, bytes, 3) != 0) << 1);
	}
	write_memory(memory, bytes, 2);
	MUST_BE(write(ends[1], "x", 1) == 1 && read(back[0], &byte, 1) == 1);
	say("wrong here: %zu", wrong_words(memory, bytes, 2));
	MUST_BE(write(ends[1], "x", 1) == 1);
	say("child: status %x", (unsigned)wait_for(child));
	for (int i = 0; i < 2; i++) {
		close(ends[i]);
		close(back[i]);
	}
	free(memory);
}

/* ---- fork among threads ---------------------------------------------------------------- */

static atomic_bool stop;
static atomic_size_t wrong_blocks;

static void *allocate_always(void *argument)
{
	unsigned char *blocks[64] = { 0 };
	unsigned who = (unsigned)(uintptr_t)argument;
	for (unsigned i = 0; !stop; i = i * 5 + 7) {
		unsigned at = i / 16 % 64;
		if (blocks[at] && blocks[at][0] != (unsigned char)(who + at))
			wrong_blocks++;
		free(blocks[at]);
		size_t bytes = 1 + i % 20000;
		blocks[at] = malloc(bytes);
		memset(blocks[at], (int)(who + at), bytes);
	}
	for (int i = 0; i < 64; i++)
		free(blocks[i]);
	return NULL;
}

static int child_that_allocates(uint64_t *memory, size_t bytes)
{
	size_t wrong = wrong_words(memory, bytes, 5);
	for (unsigned i = 0; i < 50; i++) {
		unsigned char *block = calloc(1, 100 + i * 300);
		wrong += block[50] != 0;
		block[50] = 1;
		free(block);
	}
	return wrong != 0;
}

static void among_threads(void)
{
	pthread_t threads[3];
	size_t bytes = 32 * PAGE;
	uint64_t *memory = new_memory(bytes, 5);
	int good = 0;
	stop = false;
	wrong_blocks = 0;
	for (uintptr_t i = 0; i < 3; i++)
		MUST_BE(pthread_create(&threads[i], NULL, allocate_always, (void *)(i * 50)) == 0);
	for (int i = 0; i < 60; i++) {
		pid_t child = fork();
		MUST_BE(child >= 0);
		if (child == 0)
			_exit(child_that_allocates(memory, bytes));
		good += wait_for(child) == 0;
	}
	stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	say("children that ended well: %d of 60, wrong blocks %zu", good, wrong_blocks);
	free(memory);
}

/* Threads that fork at the same time. */
static void *fork_often(void *argument)
{
	size_t good = 0;
	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		if (child == 0) {
			void *block = malloc(5000);
			memset(block, 1, 5000);
			free(block);
			_exit(3);
		}
		good += wait_for(child) == 3 << 8;
	}
	(void)argument;
	return (void *)good;
}

static void threads_that_fork(void)
{
	pthread_t threads[3];
	size_t good = 0;
	void *value;
	for (int i = 0; i < 3; i++)
		MUST_BE(pthread_create(&threads[i], NULL, fork_often, NULL) == 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &value);
		good += (size_t)value;
	}
	say("children that ended well: %zu of 60", good);
}

static void forks_in_a_row(void)
{
	int good = 0, descriptors = count_descriptors(), listed = list_descriptors();
	size_t bytes = 16 * PAGE;
	uint64_t *memory = new_memory(bytes, 9);
	for (int i = 0; i < 200; i++) {
		pid_t child = fork();
		MUST_BE(child >= 0);
		if (child == 0)
			_exit(wrong_words(memory, bytes, 9) != 0 ? 1 : 42);
		good += wait_for(child) == 42 << 8;
	}
	say("children that ended well: %d of 200", good);
	say("descriptors more than before: %d, listed: %d", count_descriptors() - descriptors,
	    list_descriptors() - listed);
	say("wrong here: %zu", wrong_words(memory, bytes, 9));
	free(memory);
}

#define FILE_LIMIT 10000

static void *write_past_limit(void *number)
{
	size_t passed = 0;
	while (!stop)
		passed += pwrite(*(int *)number, "x", 1, FILE_LIMIT) != -1;
	return (void *)passed;
}

/* In a child, as hard limits are for ever. The limit is the program's files' alone, and always. */
static void with_limited_files(int file)
{
	const struct rlimit low = { FILE_LIMIT, FILE_LIMIT }, high = { FILE_LIMIT, FILE_LIMIT + 1 };
	struct rlimit now;
	pthread_t writer;
	void *passed = NULL;
	size_t bytes = 200 * PAGE, wrong = 0;
	int good = 0;
	uint64_t *memory = new_memory(bytes, 1);
	signal(SIGXFSZ, SIG_IGN);
	MUST_BE(setrlimit(RLIMIT_FSIZE, &low) == 0 && getrlimit(RLIMIT_FSIZE, &now) == 0);
	say("limit %ld %ld", (long)now.rlim_cur, (long)now.rlim_max);
	stop = false;
	MUST_BE(pthread_create(&writer, NULL, write_past_limit, &file) == 0);
	for (unsigned who = 1; who < 6; who++) {
		wrong += wrong_words(memory, bytes, who);
		write_memory(memory, bytes, who + 1);
		madvise(memory, bytes, MADV_PAGEOUT);
		pid_t child = fork();
		if (child == 0)
			_exit(wrong_words(memory, bytes, who + 1) != 0 ? 1 : 42);
		good += wait_for(child) == 42 << 8;
	}
	stop = true;
	pthread_join(writer, &passed);
	say("wrong: %zu, children that ended well: %d, writes past the limit: %zu", wrong, good,
	    (size_t)passed);
	ssize_t first = pwrite(file, memory, 9000, 0), second = pwrite(file, memory, 9000, 9000);
	say("written %zd and %zd", first, second);
	if (geteuid() != 0)
		say("raised: %d", setrlimit(RLIMIT_FSIZE, &high));
	free(memory);
}

static void limited_files(void)
{
	char name[] = "processes-XXXXXX";
	const struct rlimit low = { FILE_LIMIT, FILE_LIMIT };
	struct rlimit before, now;
	int file = mkstemp(name);
	MUST_BE(file >= 0 && unlink(name) == 0 && getrlimit(RLIMIT_FSIZE, &before) == 0);
	pid_t child = vfork();
	if (child == 0)
		_exit(setrlimit(RLIMIT_FSIZE, &low) != 0);
	MUST_BE(wait_for(child) == 0 && getrlimit(RLIMIT_FSIZE, &now) == 0);
	say("limits as before its vfork child's: %d",
	    now.rlim_cur == before.rlim_cur && now.rlim_max == before.rlim_max);
	child = fork();
	if (child == 0) {
		with_limited_files(file);
		fflush(NULL);
		_exit(0);
	}
	say("status %x", (unsigned)wait_for(child));
	close(file);
}

static char order[64];

static void prepare_one(void) { strcat(order, "p1 "); }
static void parent_one(void) { strcat(order, "a1 "); }
static void child_one(void) { strcat(order, "c1 "); }
static void prepare_two(void) { strcat(order, "p2 "); }
static void parent_two(void) { strcat(order, "a2 "); }
static void child_two(void) { free(malloc(70000)); strcat(order, "c2 "); }

static void fork_handlers(void)
{
	int ends[2];
	char text[64] = "";
	MUST_BE(pipe(ends) == 0);
	MUST_BE(pthread_atfork(prepare_one, parent_one, child_one) == 0);
	MUST_BE(pthread_atfork(prepare_two, parent_two, child_two) == 0);
	order[0] = 0;
	pid_t child = fork();
	if (child == 0) {
		MUST_BE(write(ends[1], order, strlen(order)) > 0);
		_exit(0);
	}
	say("status %x", (unsigned)wait_for(child));
	MUST_BE(read(ends[0], text, sizeof(text) - 1) > 0);
	say("parent: %s, child: %s", order, text);
	close(ends[0]);
	close(ends[1]);
}

const struct test fork_tests[] = {
	{ "family", family },
	{ "generations", generations },
	{ "separate", separate },
	{ "among_threads", among_threads },
	{ "threads_that_fork", threads_that_fork },
	{ "forks_in_a_row", forks_in_a_row },
	{ "limited_files", limited_files },
	{ "fork_handlers", fork_handlers },
	{ 0 },
};
