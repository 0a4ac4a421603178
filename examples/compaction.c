/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compaction.c - external fragmentation, and what it takes to be rid of it
 *
 * Memory is full of programs in runs of frames, and every second one ends. Half of memory is free
 * then, and yet no program of a third of it can be started: no hole is that long. Programs that
 * are paged do with any holes. Compaction makes one of them.
 *
 * A base register makes a program easy to move, but not while a device has been told its physical
 * addresses: so here each is pinned at first. Otherwise the library, asked for a run that there is
 * no hole for, compacts by itself.
 *
 * Run: ./compaction          Source: OSTEP ch. 16 and 17.
 */
#include "textbook.h"

#define PROGRAMS 8
#define SIZE (FRAMES / PROGRAMS) /* pages of each */
#define LARGE 20                 /* of the one that is started then */

static upage_space *programs[PROGRAMS];

static int start(upage_space **space, enum upage_scheme scheme, size_t pages)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.scheme = scheme;
	config.length = FRAMES * page_size;
	config.bounds = scheme == UPAGE_SCHEME_BASE_BOUNDS ? pages * page_size : 0;
	return upage_space_create(space, pool, &config);
}

static char letter_of(int program)
{
	return (char)('a' + program);
}

/* 1 - the longest run of free frames / all free frames, in percent; printed, too. */
static unsigned fragmentation(void)
{
	struct upage_stats stats = stats_now();
	printf("  %" PRIu64 " frames free, %" PRIu64 " beside each other: ", stats.frames_free,
	       stats.largest_free_run);
	unsigned percent = (unsigned)(100 - 100 * stats.largest_free_run / stats.frames_free);
	printf("external fragmentation %u %%\n\n", percent);
	return percent;
}

/* All programs that there are, and @large, of capital letters. */
static void draw(const char *title, upage_space *large)
{
	for (int i = 0; i < PROGRAMS; i++) {
		if (programs[i] == NULL)
			continue;
		must(is_intact(address_of(programs[i], 0), SIZE, letter_of(i)), "a program has what it wrote");
		picture_mark(programs[i], 0, SIZE, letter_of(i));
	}
	if (large != NULL) {
		must(is_intact(address_of(large, 0), LARGE, 'L'), "so has the large one");
		picture_mark(large, 0, LARGE, 'L');
	}
	picture_draw(title);
}

static void fill_memory(void)
{
	for (int i = 0; i < PROGRAMS; i++) {
		check(start(&programs[i], UPAGE_SCHEME_BASE_BOUNDS, SIZE), "upage_space_create");
		fill(map_at(programs[i], 0, SIZE, RW), SIZE, letter_of(i));
		check(upage_pin(programs[i], upage_space_base(programs[i]), page_size, PROT_READ), "upage_pin");
	}
	draw("Eight programs:", NULL);
	for (int i = 0; i < PROGRAMS; i += 2) {
		check(upage_unpin(programs[i], upage_space_base(programs[i]), page_size), "upage_unpin");
		check(upage_space_destroy(programs[i]), "upage_space_destroy");
		programs[i] = NULL;
	}
	draw("Every second one has ended:", NULL);
	must(fragmentation() == 75, "a quarter of what is free is in one place");
}

int main(void)
{
	struct upage_compaction result = UPAGE_COMPACTION_INIT;
	upage_space *large = NULL;
	make_pool(FRAMES * (size_t)4 * KIB);
	fill_memory();

	must(start(&large, UPAGE_SCHEME_BASE_BOUNDS, LARGE) == UPAGE_ENOMEM, "no hole is long enough");
	printf("A program of %d frames in a row is refused: %s\n\n", LARGE, upage_strerror(UPAGE_ENOMEM));
	check(start(&large, UPAGE_SCHEME_PAGING, LARGE), "upage_space_create");
	fill(map_at(large, 0, LARGE, RW), LARGE, 'L');
	draw("Paged, it needs no neighbours:", large);
	check(upage_space_destroy(large), "upage_space_destroy");

	for (int i = 1; i < PROGRAMS; i += 2)
		check(upage_unpin(programs[i], upage_space_base(programs[i]), page_size), "upage_unpin");
	check(upage_compact(pool, &result), "upage_compact");
	draw("After compaction:", NULL);
	must(fragmentation() == 0, "all that is free is in one place");
	printf("  %" PRIu64 " frames were copied. The longest hole had %" PRIu64 " frames, and has %" PRIu64 ".\n\n",
	       result.moves, result.largest_free_run_before, result.largest_free_run_after);
	must(result.largest_free_run_before == SIZE && result.largest_free_run_after == FRAMES / 2,
	     "four holes became one");

	check(start(&large, UPAGE_SCHEME_BASE_BOUNDS, LARGE), "upage_space_create");
	fill(map_at(large, 0, LARGE, RW), LARGE, 'L');
	draw("The same program is started now:", large);

	check(upage_space_destroy(large), "upage_space_destroy");
	for (int i = 1; i < PROGRAMS; i += 2)
		check(upage_space_destroy(programs[i]), "upage_space_destroy");
	check(upage_pool_destroy(pool), "upage_pool_destroy");
	return 0;
}
