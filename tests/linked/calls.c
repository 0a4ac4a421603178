/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls.c - system calls whose every argument in memory is absent when the call is made
 *
 *     calls                 runs all cases
 *     calls --list          names them, those that need interception with a "+" before
 *     calls --case NAME     runs one
 *     calls --without NAME,NAME...    all others
 *
 * CALLS_LIMIT=SECONDS   after which a case is taken for hung (60)
 * CALLS_FLOOD=1         forces memory out by writing to a lot of other memory as well: for the
 *                       run without interception, where madvise says nothing to the pager
 *
 * The cases are in the other files of this name; calls.h says how they are made.
 */
#include "calls.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARGIN 64
#define MARGIN_BYTE 0xa5
#define BLOCKS_MAX 256

static const struct call_case *const all_cases[] = {
	file_cases, descriptor_cases, path_cases, socket_cases, message_cases, wait_cases,
	time_cases, signal_cases, thread_cases, process_cases, ipc_cases, error_cases,
};
#define CASE_TABLES (sizeof(all_cases) / sizeof(all_cases[0]))

static struct block {
	unsigned char *base;
	size_t pages, offset, size;
	bool is_protected; /* partly or wholly, and has no margin */
} blocks[BLOCKS_MAX];
static int block_count;

static unsigned limit_seconds = 60;
static bool flooding;
static unsigned char *flood;
static int probe[2] = { -1, -1 };
#define FLOOD_PAGES 256

/* Unknown to the compiler, which would warn. */
void *const volatile bad_address = (void *)8;
void *const volatile kernel_address = (void *)0xffff800000000000;

/* ---- The transcript -------------------------------------------------------------------- */

long result(const char *what, long value)
{
	int error = errno;
	const char *name = strerrorname_np(error);
	if (value == -1)
		say("%s = -1 %s", what, name ? name : "?");
	else
		say("%s = %ld", what, value);
	errno = error;
	return value;
}

uint64_t hash(const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	uint64_t sum = 14695981039346656037u;
	for (size_t i = 0; i < length; i++)
		sum = (sum ^ at[i]) * 1099511628211u;
	return sum;
}

void dump(const char *what, const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	char text[49] = "";
	for (size_t i = 0; i < length && i < 16; i++)
		snprintf(text + 3 * i, sizeof(text) - 3 * i, " %02x", at[i]);
	say("%s: %zu bytes, hash %016llx,%s", what, length, (unsigned long long)hash(at, length),
	    text);
}

/* ---- Memory ---------------------------------------------------------------------------- */

void fill(void *memory, size_t length, unsigned seed)
{
	unsigned char *at = memory;
	uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
	for (size_t i = 0; i < length; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		at[i] = (unsigned char)(state >> 56);
	}
}

static struct block *new_block(size_t pages)
{
	void *memory = NULL;
	if (block_count == BLOCKS_MAX || posix_memalign(&memory, PAGE, pages * PAGE) != 0) {
		say("cannot set up: no memory");
		_exit(99);
	}
	struct block *block = &blocks[block_count++];
	*block = (struct block){ .base = memory, .pages = pages, .size = pages * PAGE };
	memset(memory, MARGIN_BYTE, pages * PAGE);
	return block;
}

static void *placed(size_t size, size_t alignment)
{
	size_t offset = PAGE - (size / 2 < PAGE - MARGIN ? size / 2 : PAGE - MARGIN) / alignment *
	                               alignment;
	struct block *block = new_block((offset + size + MARGIN + PAGE - 1) / PAGE);
	block->offset = offset;
	block->size = size;
	memset(block->base + offset, 0x5a, size);
	return block->base + offset;
}

void *evicted(size_t size)
{
	return placed(size, 8);
}

void *evicted_zero(size_t size)
{
	return memset(evicted(size), 0, size);
}

void *evicted_copy(const void *from, size_t size)
{
	return memcpy(evicted(size), from, size);
}

char *evicted_string(const char *text)
{
	size_t size = strlen(text) + 1;
	return memcpy(placed(size, 1), text, size);
}

int *evicted_int(int value)
{
	return evicted_copy(&value, sizeof(value));
}

char *evicted_pages(size_t pages)
{
	struct block *block = new_block(pages);
	memset(block->base, 0x5a, block->size);
	return (char *)block->base;
}

char *evicted_protected(size_t pages, int protection)
{
	char *memory = evicted_pages(pages);
	blocks[block_count - 1].is_protected = true;
	MUST(mprotect(memory, pages * PAGE, protection));
	return memory;
}

char *evicted_edge(size_t length)
{
	size_t pages = (length + PAGE - 1) / PAGE;
	char *memory = evicted_pages(pages + 1);
	blocks[block_count - 1].is_protected = true;
	MUST(mprotect(memory + pages * PAGE, PAGE, PROT_NONE));
	return memory + pages * PAGE - length;
}

void *unmapped(void)
{
	/* Inside of an unmapped range that is too large to be filled by chance. */
	char *range = mmap(NULL, 64 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (range == MAP_FAILED || munmap(range, 64 * MIB) < 0) {
		say("cannot set up: no address");
		_exit(99);
	}
	return range + MIB;
}

void push_out_range(void *address, size_t length)
{
	uintptr_t first = (uintptr_t)address & ~(PAGE - 1);
	uintptr_t end = ((uintptr_t)address + length + PAGE - 1) & ~(PAGE - 1);
	madvise((void *)first, end - first, MADV_PAGEOUT);
}

/* Whether the kernel can read this page: without interception, whether it is resident. */
static bool kernel_sees(const unsigned char *page)
{
	char byte;
	if (write(probe[1], page, 1) != 1)
		return false;
	return read(probe[0], &byte, 1) == 1;
}

static bool any_resident(void)
{
	for (int i = 0; i < block_count; i++)
		for (size_t page = 0; page < blocks[i].pages && !blocks[i].is_protected; page++)
			if (kernel_sees(blocks[i].base + page * PAGE))
				return true;
	return false;
}

void push_out(void)
{
	for (int i = 0; i < block_count; i++)
		push_out_range(blocks[i].base, blocks[i].pages * PAGE);
	for (int round = 0; flooding && round < 8 && (round == 0 || any_resident()); round++)
		for (size_t page = 0; page < FLOOD_PAGES; page++)
			((volatile unsigned char *)flood)[page * PAGE]++;
}

void churn(int milliseconds)
{
	for (int i = 0; i < milliseconds; i++) {
		push_out();
		pause_ms(1);
		for (int block = 0; block < block_count; block++)
			for (size_t page = 0; page < blocks[block].pages; page++)
				if (!blocks[block].is_protected)
					(void)((volatile unsigned char *)
					               blocks[block].base)[page * PAGE];
	}
	push_out();
}

static void look_at_margins(const struct block *block)
{
	size_t end = block->offset + block->size;
	for (size_t i = 0; i < block->pages * PAGE; i++)
		if ((i < block->offset || i >= end) && block->base[i] != MARGIN_BYTE) {
			say("a byte at %ld of a block of %zu was CHANGED to %02x",
			    (long)i - (long)block->offset, block->size, block->base[i]);
			return;
		}
}

static void end_blocks(void)
{
	for (int i = 0; i < block_count; i++) {
		if (blocks[i].is_protected)
			MUST(mprotect(blocks[i].base, blocks[i].pages * PAGE,
			              PROT_READ | PROT_WRITE));
		else
			look_at_margins(&blocks[i]);
		free(blocks[i].base);
	}
	block_count = 0;
}

/* ---- Shorthands ------------------------------------------------------------------------ */

static unsigned char scratch[4 * MIB];

int make_file(const char *name, size_t size, unsigned seed)
{
	int file = (int)MUST(open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
	fill(scratch, size, seed);
	MUST_BE(write(file, scratch, size) == (ssize_t)size);
	MUST(lseek(file, 0, SEEK_SET));
	return file;
}

void dump_file(const char *what, const char *name)
{
	int file = (int)MUST(open(name, O_RDONLY | O_CLOEXEC));
	size_t length = 0;
	ssize_t got;
	while ((got = read(file, scratch + length, sizeof(scratch) - length)) > 0)
		length += (size_t)got;
	close(file);
	dump(what, scratch, length);
}

int in_child(void (*function)(void))
{
	int status = 0;
	pid_t child = (pid_t)MUST(fork());
	if (child == 0) {
		function();
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* ---- Running --------------------------------------------------------------------------- */

static const char *excluded = "";

static bool is_excluded(const char *name)
{
	size_t length = strlen(name);
	for (const char *at = excluded; (at = strstr(at, name)) != NULL; at++)
		if ((at == excluded || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
			return true;
	return false;
}

static void run_case(const struct call_case *one)
{
	if (is_excluded(one->name))
		return;
	test_name = one->name;
	alarm(limit_seconds);
	one->run();
	end_blocks();
	say("ended, margins seen");
	alarm(0);
}

/* Makes a directory for the files of the cases and goes there. */
static char directory[256];

static void enter_directory(void)
{
	const char *parent = getenv("TMPDIR");
	snprintf(directory, sizeof(directory), "%s/calls-XXXXXX", parent ? parent : "/tmp");
	MUST_BE(mkdtemp(directory) != NULL);
	MUST(chdir(directory));
}

static void leave_directory(void)
{
	test_name = "-";
	MUST(chdir("/"));
	result("rmdir of the directory of the cases", rmdir(directory));
}

static const struct call_case *find_case(const char *name)
{
	for (size_t table = 0; table < CASE_TABLES; table++)
		for (const struct call_case *one = all_cases[table]; one->name; one++)
			if (strcmp(one->name, name) == 0)
				return one;
	return NULL;
}

static void for_each_case(void (*what)(const struct call_case *))
{
	for (size_t table = 0; table < CASE_TABLES; table++)
		for (const struct call_case *one = all_cases[table]; one->name; one++)
			what(one);
}

static void list_case(const struct call_case *one)
{
	dprintf(STDOUT_FILENO, "%s%s\n", one->needed ? "+" : " ", one->name);
}

/* The child of the cases that execute: its arguments and environment, a line each. */
extern char **environ;

static int print_arguments(int argc, char **argv)
{
	size_t total = 0;
	dprintf(STDOUT_FILENO, "%d arguments\n", argc);
	for (int i = 1; i < argc; i++)
		if (strlen(argv[i]) < 64)
			dprintf(STDOUT_FILENO, "argument %s\n", argv[i]);
		else
			total += hash(argv[i], strlen(argv[i])) % 1000000;
	for (char **at = environ; *at; at++)
		if (strlen(*at) < 64)
			dprintf(STDOUT_FILENO, "environment %s\n", *at);
		else
			total += hash(*at, strlen(*at)) % 1000000;
	dprintf(STDOUT_FILENO, "long ones: %zu\n", total);
	return 7;
}

static void start_flood(void)
{
	void *memory = NULL;
	MUST_BE(posix_memalign(&memory, PAGE, FLOOD_PAGES * PAGE) == 0);
	memset(memory, 1, FLOOD_PAGES * PAGE);
	flood = memory;
	MUST(pipe2(probe, O_CLOEXEC));
	flooding = true;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--print-arguments") == 0)
		return print_arguments(argc, argv);
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for_each_case(list_case);
		return 0;
	}
	if (getenv("CALLS_LIMIT"))
		limit_seconds = (unsigned)atoi(getenv("CALLS_LIMIT"));
	if (getenv("CALLS_FLOOD"))
		start_flood();
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	enter_directory();
	if (argc == 3 && strcmp(argv[1], "--case") == 0) {
		const struct call_case *one = find_case(argv[2]);
		if (!one) {
			dprintf(STDERR_FILENO, "calls: no case '%s'\n", argv[2]);
			leave_directory();
			return 2;
		}
		run_case(one);
	} else {
		if (argc == 3 && strcmp(argv[1], "--without") == 0)
			excluded = argv[2];
		for_each_case(run_case);
	}
	leave_directory();
	return 0;
}
