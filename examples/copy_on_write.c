/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy_on_write.c - which page is in which frame, before and after writes to a clone of a space
 *
 * Four pages, a clone of their space and a clone of that: three page tables, and four frames. Who
 * then writes to a page gets a frame of its own with a copy; who is left alone with one needs none.
 * Run: ./copy_on_write
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "upage.h"

enum { SOURCE, CLONE, SECOND, SPACES, PAGES = 4 };

static const char *const names[SPACES] = { "source", "clone", "its clone" };
static upage_space *spaces[SPACES];
static char expected[SPACES][PAGES]; /* the bytes of each page */
static upage_pool *pool;
static size_t page_size, offset; /* of the first page, in each space */

static void check(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "copy_on_write: %s: %s\n", what, upage_strerror(result));
	exit(1);
}

static void must(int condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "copy_on_write: it is not so that %s\n", what);
	exit(1);
}

static char *page(int space, int number)
{
	return (char *)upage_space_base(spaces[space]) + offset + (size_t)number * page_size;
}

static void write_to(int space, int number, char byte)
{
	memset(page(space, number), byte, page_size);
	expected[space][number] = byte;
}

static void clone(int from, int to)
{
	check(upage_space_clone(&spaces[to], spaces[from], NULL), "upage_space_clone");
	memcpy(expected[to], expected[from], sizeof(expected[to]));
}

/* Of a page, which is referenced first: until then a clone's page table does not let it be read. */
static upage_pfn frame_of(int space, int number)
{
	const volatile char *bytes = page(space, number);
	upage_pfn pfn = 0;
	must(bytes[0] == expected[space][number] && bytes[page_size - 1] == bytes[0],
	     "each space has what was written there");
	must(upage_translate(spaces[space], page(space, number), PROT_READ, &pfn) == UPAGE_CAUSE_NONE,
	     "a page that was read can be read");
	return pfn;
}

static uint64_t frames_in_use(void)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	check(upage_stats_get(pool, &stats), "upage_stats_get");
	return stats.frames - stats.frames_free;
}

static void draw(const char *title, uint64_t frames)
{
	printf("%s\n             ", title);
	for (int i = 0; i < PAGES; i++)
		printf("  page %d  ", i);
	for (int s = 0; s < SPACES; s++) {
		if (spaces[s] == NULL)
			continue;
		printf("\n  %-10s ", names[s]);
		for (int i = 0; i < PAGES; i++)
			printf("  frame %-2" PRIu64, frame_of(s, i));
	}
	printf("\n  %" PRIu64 " frames in use\n\n", frames_in_use());
	must(frames_in_use() == frames, "as many frames are in use as should be");
}

int main(void)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct upage_stats stats = { .size = sizeof(stats) };
	void *memory = NULL;

	check(upage_config_parse(&config, "memory=64K"), config.message);
	check(upage_pool_create(&pool, &config), config.message);
	check(upage_space_create(&spaces[SOURCE], pool, NULL), "upage_space_create");
	page_size = upage_pool_page_size(pool);
	check(upage_map(spaces[SOURCE], &memory, PAGES * page_size, PROT_READ | PROT_WRITE, 0, NULL, 0),
	      "upage_map");
	offset = (size_t)((char *)memory - (char *)upage_space_base(spaces[SOURCE]));
	for (int i = 0; i < PAGES; i++)
		write_to(SOURCE, i, (char)('a' + i));
	draw("Four pages:", 4);

	clone(SOURCE, CLONE);
	clone(CLONE, SECOND);
	draw("A clone, and a clone of that: nothing was copied.", 4);

	upage_pfn shared = frame_of(SOURCE, 1);
	write_to(CLONE, 1, 'x');
	draw("The clone wrote to page 1: it has a copy.", 5);
	must(frame_of(CLONE, 1) != shared && frame_of(SECOND, 1) == shared, "who writes is who leaves");

	write_to(SOURCE, 1, 'y');
	draw("The source wrote to page 1 too.", 6);
	must(frame_of(SECOND, 1) == shared, "who does not write stays");

	write_to(SECOND, 1, 'z');
	draw("The second clone wrote to page 1: it was alone in the frame, and nothing was copied.", 6);
	must(frame_of(SECOND, 1) == shared, "the last one keeps the frame");

	check(upage_space_destroy(spaces[SOURCE]), "upage_space_destroy");
	spaces[SOURCE] = NULL;
	draw("The source is gone: what others have of it stays.", 5);

	check(upage_stats_get(pool, &stats), "upage_stats_get");
	printf("Of %" PRIu64 " page faults, %" PRIu64 " copied a page.\n", stats.faults, stats.copied);
	must(stats.copied == 2, "two pages were copied");
	for (int s = CLONE; s < SPACES; s++)
		check(upage_space_destroy(spaces[s]), "upage_space_destroy");
	must(frames_in_use() == 0, "all frames are free in the end");
	check(upage_pool_destroy(pool), "upage_pool_destroy");
	return 0;
}
