/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * segments.c - two segmented programs, of which the second shares the first one's code
 *
 * A space of 256 KiB: the top two of an address's 18 bits name the segment, and the others are the
 * offset in it. Each segment lies in a run of frames of its own, so that nothing is spent on what is
 * between heap and stack. The heap grows up. The stack grows down: its offsets count from its end.
 *
 * Run: ./segments          Source: OSTEP ch. 16.
 */
#include "textbook.h"

#define SPACE ((size_t)256 * KIB)
#define SEGMENT_SHIFT 16
#define SEGMENT_SIZE ((size_t)1 << SEGMENT_SHIFT)

enum { CODE = UPAGE_SEGMENT_CODE, HEAP = UPAGE_SEGMENT_HEAP, STACK = UPAGE_SEGMENT_STACK, SEGMENTS = 4 };

struct program {
	upage_space *space;
	size_t pages[SEGMENTS];
	const char *letters; /* of the segments */
};

static const char *const names[SEGMENTS] = { "code", "heap", "", "stack" };

/* The lowest address of a segment. */
static size_t begins(const struct program *program, int segment)
{
	size_t low = (size_t)segment << SEGMENT_SHIFT;
	return segment == STACK ? low + SEGMENT_SIZE - program->pages[segment] * page_size : low;
}

static struct program start(const char *letters)
{
	struct program program = { .letters = letters };
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.scheme = UPAGE_SCHEME_SEGMENTATION;
	config.length = SPACE;
	check(upage_space_create(&program.space, pool, &config), "upage_space_create");
	return program;
}

/* By new pages, whose bytes are all the segment's letter. */
static char *grow(struct program *program, int segment, size_t pages)
{
	size_t end = begins(program, segment) + program->pages[segment] * page_size;
	program->pages[segment] += pages;
	char *memory = map_at(program->space, segment == STACK ? begins(program, STACK) : end, pages, RW);
	memset(memory, program->letters[segment], pages * page_size);
	return memory;
}

/* The segment registers, as the book has them. The base of a stack is just past its frames. */
static void table(const struct program *program)
{
	printf("  segment     base      size   grows   may be\n");
	for (int s = 0; s < SEGMENTS; s++) {
		size_t first = begins(program, s), bytes = program->pages[s] * page_size;
		if (bytes == 0)
			continue;
		bool written = upage_translate(program->space, address_of(program->space, first), PROT_WRITE,
		                               NULL) == UPAGE_CAUSE_NONE;
		printf("  %d %-6s %4zu KiB  %4zu KiB   %-5s   %s\n", s, names[s],
		       (physical(program->space, first) + (s == STACK ? bytes : 0)) / KIB, bytes / KIB,
		       s == STACK ? "down" : "up", written ? "read, written" : "read, executed");
		must(written == (s != CODE), "all but code may be written to");
		for (size_t i = 0; i < bytes; i++)
			must(address_of(program->space, first)[i] == program->letters[s],
			     "a segment has what was written to it");
		picture_mark(program->space, first, program->pages[s], program->letters[s]);
	}
}

static void translate(const struct program *program, size_t virtual)
{
	int segment = (int)(virtual >> SEGMENT_SHIFT);
	size_t offset = virtual & (SEGMENT_SIZE - 1), first = begins(program, segment);
	size_t bytes = program->pages[segment] * page_size, base = physical(program->space, first);
	long distance = segment == STACK ? (long)offset - (long)SEGMENT_SIZE : (long)offset;
	base += segment == STACK ? bytes : 0;
	size_t address = physical(program->space, virtual);
	printf("  0x%05zx:  segment %d (%s), offset 0x%04zx:  %zu %+ld = %zu\n", virtual, segment, names[segment],
	       offset, base, distance, address);
	must(address == base + (size_t)distance, "a physical address is the segment's base plus the offset");
}

int main(void)
{
	make_pool(FRAMES * (size_t)4 * KIB);
	struct program first = start("ch.s"), second = start("cH.S");
	char *code = grow(&first, CODE, 8);
	check(upage_protect(first.space, code, 8 * page_size, PROT_READ | PROT_EXEC), "upage_protect");
	grow(&first, HEAP, 4);
	grow(&first, STACK, 2);
	table(&first);
	picture_draw("A program: code, heap and stack.");

	printf("Addresses:\n");
	translate(&first, 0x01234);
	translate(&first, 0x11068);
	translate(&first, SPACE - 0x800);
	char *heap = address_of(first.space, begins(&first, HEAP));
	must(traps(heap + first.pages[HEAP] * page_size, false), "a reference beyond the heap traps");
	must(traps(address_of(first.space, begins(&first, STACK)) - 1, true), "so does one below the stack");
	must(upage_translate(first.space, address_of(first.space, 2 * SEGMENT_SIZE), PROT_READ, NULL) ==
	     UPAGE_CAUSE_NO_SEGMENT, "segment 2 is not there");
	must(traps(code, true) && !traps(code, false), "code can be read, and a write to it traps");
	printf("  0x14000:  beyond the heap: segmentation fault\n"
	       "  0x00000:  a write to code: segmentation fault\n\n");

	grow(&first, HEAP, 5);
	grow(&first, STACK, 6);
	table(&first);
	picture_draw("The heap has grown up, and the stack down:");

	uint64_t free_before = stats_now().frames_free;
	check(upage_segment_share(second.space, first.space, CODE), "upage_segment_share");
	second.pages[CODE] = first.pages[CODE];
	must(stats_now().frames_free == free_before, "shared code takes no frames");
	must(physical(second.space, 0x1234) == physical(first.space, 0x1234), "both have the same code");
	grow(&second, HEAP, 3);
	grow(&second, STACK, 2);
	must(traps(address_of(second.space, 0), true), "it is protected from both");
	table(&first);
	printf("  and\n");
	table(&second);
	picture_draw("A second program, H and S, with the first one's code:");

	check(upage_space_destroy(first.space), "upage_space_destroy");
	table(&second);
	picture_draw("The first has ended, and the code is the second one's:");
	check(upage_space_destroy(second.space), "upage_space_destroy");
	picture_draw("Both have ended:");
	check(upage_pool_destroy(pool), "upage_pool_destroy");
	return 0;
}
