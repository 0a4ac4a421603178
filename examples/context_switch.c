/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * context_switch.c - three programs at the same addresses, timeshared by one scheduler
 *
 * A compressor (zlib), a database (SQLite, unchanged) and a multiplication of matrices have each a
 * space with a stack and a heap, all three at the same addresses. They give way now and then; the
 * scheduler, whose own stack is outside, takes the next one's registers (swapcontext) and the next
 * one's memory (upage_switch). Memory is smaller than what the three need together. Their results
 * are compared with native ones, and it is shown that none sees or changes another's memory.
 *
 * Run:    ./context_switch              UPAGE_OPTIONS=memory=4M,policy=fifo,stats ./context_switch
 * Build:  cc -std=c11 -D_GNU_SOURCE context_switch.c sqlite_workload.c -lupage -lsqlite3 -lz
 *
 * Two rules come with this. The kernel does not take our faults, and puts the frames of signals on the
 * stack: so stacks are pinned, as a kernel's own are, and no system call gets an address of a heap.
 * And to switch is privileged: a program that tries it itself is refused.
 */
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <zlib.h>
#include "sqlite_workload.h"
#include "upage.h"

#define STACK ((size_t)256 << 10)
#define SPACE ((size_t)1 << 30)
#define TEXT ((size_t)3 << 20)
#define MATRIX 384
#define COLUMNS 64 /* of the timeline */

enum state { READY, RUNNING, DONE };

struct program {
	const char *name;
	uint64_t (*run)(void); /* returns what is compared */
	uint64_t native, result;
	enum state state;
	upage_space *space; /* NULL: natively */
	upage_heap *heap;
	ucontext_t registers;
	uint64_t *secret; /* a word of its heap */
	unsigned slices, refused;
	char line[COLUMNS + 1];
};

static struct program *current; /* who runs */
static ucontext_t scheduler;
static upage_pool *pool;

void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("context_switch: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

static void check(int result, const char *what)
{
	if (result < 0)
		die("%s: %s", what, upage_strerror(result));
}

/* ---- What a program gets from the system: memory, and the way to give way -------------------- */

static void *allocate(size_t size)
{
	void *block = current->heap ? upage_heap_allocate(current->heap, size) : malloc(size);

	if (!block)
		die("%s: out of memory", current->name);
	return block;
}

static void release(void *block)
{
	if (current->heap)
		upage_heap_free(current->heap, block);
	else
		free(block);
}

static void give_way(void)
{
	uint64_t secret;

	if (!current->space)
		return;
	secret = *current->secret;
	swapcontext(&current->registers, &scheduler);
	if (*current->secret != secret || secret != (uint64_t)(uintptr_t)current)
		die("%s: another program changed its memory", current->name);
}

/* ---- The programs ------------------------------------------------------------------------------ */

static uint64_t checksum(const void *data, size_t size, uint64_t value) /* FNV-1a */
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)
		value = (value ^ bytes[i]) * 1099511628211u;
	return value;
}

static void *zlib_allocate(void *unused, unsigned count, unsigned size)
{
	(void)unused;
	return allocate((size_t)count * size);
}

static void zlib_release(void *unused, void *block)
{
	(void)unused;
	release(block);
}

/* There and back. */
static uint64_t compressor(void)
{
	z_stream out = { .zalloc = zlib_allocate, .zfree = zlib_release }, in = out;
	size_t room = compressBound(TEXT);
	unsigned char *text = allocate(TEXT), *packed = allocate(room), *again = allocate(TEXT);
	uint64_t result, number = 1;
	int state = Z_OK;

	for (size_t i = 0; i < TEXT; i++) {
		number = number * 6364136223846793005u + 1442695040888963407u;
		text[i] = (unsigned char)"etaoin shrdlu cmfwyp"[(number >> 60) + (i / 4096 % 5)];
	}
	if (deflateInit(&out, 6) != Z_OK || inflateInit(&in) != Z_OK)
		die("zlib cannot start");
	out.next_in = text;
	out.next_out = packed;
	out.avail_out = (unsigned)room;
	for (size_t done = 0; state == Z_OK; done += 64 * KIB, give_way()) {
		out.avail_in = 64 * KIB;
		state = deflate(&out, done + 64 * KIB == TEXT ? Z_FINISH : Z_NO_FLUSH);
	}
	in.next_in = packed;
	in.avail_in = (unsigned)out.total_out;
	in.next_out = again;
	for (state = Z_OK; state == Z_OK; give_way()) {
		in.avail_out = 256 * KIB;
		state = inflate(&in, Z_NO_FLUSH);
	}
	result = checksum(packed, out.total_out, 14695981039346656037u);
	if (in.total_out != TEXT || memcmp(text, again, TEXT) != 0)
		die("zlib: the text is another now");
	deflateEnd(&out);
	inflateEnd(&in);
	release(text);
	release(packed);
	release(again);
	return result;
}

static uint64_t matrix(void)
{
	const size_t n = MATRIX;
	double *a = allocate(n * n * sizeof(*a)), *b = allocate(n * n * sizeof(*b)),
	       *c = allocate(n * n * sizeof(*c));
	uint64_t result;

	for (size_t i = 0; i < n * n; i++) {
		a[i] = (double)(i * 7919 % 1009) / 64;
		b[i] = (double)(i * 104729 % 997) / 32;
		c[i] = 0;
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < n; k++)
			for (size_t j = 0; j < n; j++)
				c[i * n + j] += a[i * n + k] * b[k * n + j];
		if (i % 12 == 11)
			give_way();
	}
	result = checksum(c, n * n * sizeof(*c), 14695981039346656037u);
	release(a);
	release(b);
	release(c);
	return result;
}

/* SQLite's allocator is one for the process: the heap is that of whoever runs, and only one program
 * here uses it. It gives way within it, wherever SQLite just is. */
static void *sqlite_allocate(int size)
{
	static unsigned calls;

	if (++calls % 65536 == 0)
		give_way();
	return upage_heap_allocate(current->heap, (size_t)size);
}

static void sqlite_release(void *block)
{
	upage_heap_free(current->heap, block);
}

static void *sqlite_resize(void *block, int size)
{
	return upage_heap_resize(current->heap, block, (size_t)size);
}

static int sqlite_size(void *block)
{
	return (int)upage_heap_block_size(current->heap, block);
}

static int sqlite_round(int size)
{
	return (size + 7) & ~7;
}

static int sqlite_start(void *unused)
{
	(void)unused;
	return SQLITE_OK;
}

static void sqlite_stop(void *unused)
{
	(void)unused;
}

static uint64_t rows; /* of the native run: as many for the other */

static void on_progress(const struct work_report *report, uint64_t heap_bytes, const char *what)
{
	(void)report, (void)heap_bytes, (void)what;
	give_way();
}

/* The workload writes to stdout: into a file of memory here, which is then read. */
static uint64_t database(void)
{
	static char piece[64 * KIB];
	struct work work = { .heap = 6 * MIB, .rows = rows, .dpkg = "/var/lib/dpkg" };
	struct work_report report = { .rows = 0 };
	static const sqlite3_mem_methods methods = {
		.xMalloc = sqlite_allocate, .xFree = sqlite_release, .xRealloc = sqlite_resize,
		.xSize = sqlite_size, .xRoundup = sqlite_round, .xInit = sqlite_start,
		.xShutdown = sqlite_stop,
	};
	int out = dup(STDOUT_FILENO), file = memfd_create("results", 0);
	uint64_t result = 14695981039346656037u;
	ssize_t n;

	if (current->heap && sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
		die("sqlite3_config(SQLITE_CONFIG_MALLOC) failed");
	if (out < 0 || file < 0 || dup2(file, STDOUT_FILENO) < 0)
		die("no descriptor for the results");
	run_workload(&work, &report, on_progress);
	dup2(out, STDOUT_FILENO);
	close(out);
	rows = report.file_rows;
	lseek(file, 0, SEEK_SET);
	while ((n = read(file, piece, sizeof(piece))) > 0)
		result = checksum(piece, (size_t)n, result);
	close(file);
	return result;
}

static struct program programs[] = {
	{ .name = "compressor", .run = compressor },
	{ .name = "sqlite", .run = database },
	{ .name = "matrix", .run = matrix },
};
#define PROGRAMS (sizeof(programs) / sizeof(programs[0]))

/* ---- The scheduler -------------------------------------------------------------------------------- */

/* In the program's own space, on its own stack. */
static void begin(void)
{
	current->secret = allocate(sizeof(*current->secret));
	*current->secret = (uint64_t)(uintptr_t)current;
	current->refused = upage_switch(programs[0].space) == UPAGE_EPERM;
	current->result = current->run();
	current->state = DONE;
	swapcontext(&current->registers, &scheduler);
}

/* A space at the addresses of the first, with a stack at its beginning. */
static void load(struct program *program)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	void *stack;

	config.length = SPACE;
	config.flags = UPAGE_SPACE_WINDOW;
	config.address = program == programs ? NULL : upage_space_base(programs[0].space);
	check(upage_space_create(&program->space, pool, &config), "upage_space_create");
	stack = upage_space_base(program->space);
	check(upage_map(program->space, &stack, STACK, PROT_READ | PROT_WRITE, UPAGE_MAP_FIXED, NULL, 0),
	      "upage_map");
	check(upage_pin(program->space, stack, STACK, PROT_READ | PROT_WRITE), "upage_pin");
	check(upage_heap_create(&program->heap, program->space), "upage_heap_create");
	getcontext(&program->registers);
	program->registers.uc_stack.ss_sp = stack;
	program->registers.uc_stack.ss_size = STACK;
	program->registers.uc_link = NULL;
	check(upage_switch(program->space), "upage_switch"); /* makecontext() writes to the stack */
	makecontext(&program->registers, begin, 0);
}

static void unload(struct program *program)
{
	void *stack = upage_space_base(program->space);

	check(upage_unpin(program->space, stack, STACK), "upage_unpin");
	check(upage_heap_destroy(program->heap), "upage_heap_destroy");
	check(upage_space_destroy(program->space), "upage_space_destroy");
}

static double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static const char *state_mark[] = { [READY] = ".", [RUNNING] = "#", [DONE] = " " };

static void draw(unsigned slice)
{
	for (size_t i = 0; i < PROGRAMS && slice < COLUMNS; i++)
		programs[i].line[slice] = *state_mark[programs[i].state];
}

/* Round robin, until all are done. Return: how many slices that took; in *@switching: ms. */
static unsigned schedule(double *switching)
{
	unsigned slice = 0;

	for (size_t next = 0, idle = 0; idle < PROGRAMS; next = (next + 1) % PROGRAMS) {
		double start = milliseconds();

		current = &programs[next];
		idle = current->state == DONE ? idle + 1 : 0;
		if (current->state == DONE)
			continue;
		check(upage_switch(current->space), "upage_switch"); /* its memory */
		*switching += milliseconds() - start;
		current->state = RUNNING;
		draw(slice++);
		current->slices++;
		swapcontext(&scheduler, &current->registers); /* its registers, and run */
		if (current->state == RUNNING)
			current->state = READY;
	}
	return slice;
}

/* The same address in each space. */
static bool tell_of_isolation(void)
{
	bool apart = true;

	for (size_t i = 0; i < PROGRAMS; i++) {
		const struct program *p = &programs[i];
		upage_pfn frame = 0;

		check(upage_switch(p->space), "upage_switch");
		apart = apart && *p->secret == (uint64_t)(uintptr_t)p && p->refused;
		upage_translate(p->space, p->secret, PROT_READ, &frame);
		printf("  %-12s %p holds %#" PRIx64 ", in frame %" PRIu64 "; to switch itself: %s\n", p->name,
		       (void *)p->secret, *p->secret, frame, p->refused ? "refused" : "allowed");
		for (size_t k = 0; k < i; k++) /* same place, other memory */
			apart = apart && programs[k].secret == p->secret;
	}
	return apart;
}

static bool tell_of_results(void)
{
	bool same = true;

	for (size_t i = 0; i < PROGRAMS; i++) {
		const struct program *p = &programs[i];

		same = same && p->native == p->result;
		printf("  %-12s native %016" PRIx64 ", timeshared %016" PRIx64 ": %s\n", p->name, p->native,
		       p->result, p->native == p->result ? "the same" : "DIFFERENT");
	}
	return same;
}

int main(void)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct upage_stats stats = { .size = sizeof(stats) };
	double switching = 0;
	unsigned slices;

	for (current = programs; current < programs + PROGRAMS; current++)
		current->native = current->run();
	check(upage_config_parse(&config, "memory=8M"), config.message);
	check(upage_config_environment(&config), config.message); /* the user has the last word */
	check(upage_pool_create(&pool, &config), config.message);
	for (size_t i = 0; i < PROGRAMS; i++)
		load(&programs[i]);
	slices = schedule(&switching);
	check(upage_stats_get(pool, &stats), "upage_stats_get");

	printf("Three programs at the same addresses (# runs, . is ready)\n");
	for (size_t i = 0; i < PROGRAMS; i++)
		printf("  %-12s %s%s %u slices\n", programs[i].name, programs[i].line,
		       slices > COLUMNS ? "..." : "", programs[i].slices);
	printf("One address, three memories\n");
	bool apart = tell_of_isolation();
	printf("Results\n");
	bool same = tell_of_results();
	printf("Memory         %.1f MiB; %" PRIu64 " page faults, %" PRIu64 " evictions, %" PRIu64
	       " switches of %.0f us each\n", (double)config.memory / (double)MIB, stats.faults,
	       stats.evictions, stats.switches, switching * 1e3 / (double)stats.switches);
	for (size_t i = 0; i < PROGRAMS; i++)
		unload(&programs[i]);
	check(upage_pool_destroy(pool), "upage_pool_destroy");
	puts(apart && same ? "PASSED" : "FAILED");
	return apart && same ? 0 : 1;
}
