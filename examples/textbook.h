/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * textbook.h - what the examples of translation share: checks, traps, and a drawing of memory
 *
 * A drawing is a row with a letter for each frame. Each frame that is in use must have been marked by
 * its owner, and none that is free: picture_draw() checks that against the pool's own figures.
 */
#ifndef TEXTBOOK_H
#define TEXTBOOK_H

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "upage.h"

#define FRAMES 64
#define KIB 1024
#define RW (PROT_READ | PROT_WRITE)

static upage_pool *pool;
static size_t page_size;

static inline void check(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, upage_strerror(result));
	exit(1);
}

static inline void must(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "it is not so that %s\n", what);
	exit(1);
}

/* ---- Memory, and programs in it --------------------------------------------------------------- */

static inline void make_pool(size_t bytes)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	config.memory = bytes;
	check(upage_pool_create(&pool, &config), config.message);
	page_size = upage_pool_page_size(pool);
}

static inline struct upage_stats stats_now(void)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	check(upage_stats_get(pool, &stats), "upage_stats_get");
	return stats;
}

/* @offset: from the beginning of the space, which is virtual address 0 of the program in it. */
static inline char *address_of(upage_space *space, size_t offset)
{
	return (char *)upage_space_base(space) + offset;
}

static inline char *map_at(upage_space *space, size_t offset, size_t pages, int prot)
{
	void *address = address_of(space, offset);
	check(upage_map(space, &address, pages * page_size, prot, UPAGE_MAP_FIXED, NULL, 0), "upage_map");
	return address;
}

/* The physical address of a virtual one that has one. */
static inline size_t physical(upage_space *space, size_t offset)
{
	upage_pfn pfn = 0;
	must(upage_translate(space, address_of(space, offset), PROT_READ, &pfn) == UPAGE_CAUSE_NONE,
	     "the address can be translated");
	return (size_t)pfn * page_size + offset % page_size;
}

/* ---- Content: each page has bytes of its own ---------------------------------------------------- */

static inline void fill(char *memory, size_t pages, char letter)
{
	for (size_t i = 0; i < pages; i++)
		memset(memory + i * page_size, letter + (char)i, page_size);
}

static inline bool is_intact(const char *memory, size_t pages, char letter)
{
	for (size_t i = 0; i < pages * page_size; i++)
		if (((const volatile char *)memory)[i] != (char)(letter + (char)(i / page_size)))
			return false;
	return true;
}

/* ---- Traps ------------------------------------------------------------------------------------ */

static sigjmp_buf trap_return;
static const volatile void *volatile trap_address;

static inline void trap_taken(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	trap_address = info->si_addr;
	siglongjmp(trap_return, 1);
}

/* Whether a reference traps: ends in SIGSEGV, at its address. */
static inline bool traps(volatile char *address, bool write)
{
	struct sigaction action = { .sa_sigaction = trap_taken, .sa_flags = SA_SIGINFO }, before;
	trap_address = NULL;
	sigaction(SIGSEGV, &action, &before);
	if (sigsetjmp(trap_return, 1) == 0) {
		if (write)
			*address = 1;
		else
			(void)*address;
	}
	sigaction(SIGSEGV, &before, NULL);
	return trap_address == address;
}

/* ---- The drawing ------------------------------------------------------------------------------ */

static char picture[FRAMES];

/* The frames of the pages from @offset on; several owners may have one if they are of one @letter. */
static inline void picture_mark(upage_space *space, size_t offset, size_t pages, char letter)
{
	for (size_t i = 0; i < pages; i++) {
		char *frame = &picture[physical(space, offset + i * page_size) / page_size];
		must(*frame == 0 || *frame == letter, "nobody has another's frame");
		*frame = letter;
	}
}

static inline void picture_draw(const char *title)
{
	uint64_t used = 0;
	printf("%s\n   ", title);
	for (int frame = 0; frame < FRAMES; frame += 8)
		printf("%-8d", frame);
	printf("\n  [");
	for (int frame = 0; frame < FRAMES; frame++) {
		used += picture[frame] != 0;
		putchar(picture[frame] != 0 ? picture[frame] : '.');
	}
	printf("]\n\n");
	must(used == FRAMES - stats_now().frames_free, "the frames in use are those drawn");
	memset(picture, 0, sizeof(picture));
}

#endif
