/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base_bounds.c - dynamic relocation: programs in one memory, with a base and a bounds register each
 *
 * A program has addresses from 0 up to its bounds, and lies in one run of frames that begins at its
 * base: physical = virtual + base. One of them reaches too far, grows until it has to be relocated,
 * and is swapped out and comes back elsewhere. It never sees any of that.
 *
 * Run: ./base_bounds          Source: OSTEP ch. 15.
 */
#include "textbook.h"

struct program {
	upage_space *space;
	size_t pages;
	char letter;
};

static size_t base(const struct program *program)
{
	return physical(program->space, 0);
}

/* New pages, behind the others. */
static void grow(struct program *program, size_t pages)
{
	char *memory = map_at(program->space, program->pages * page_size, pages, RW);
	fill(memory, pages, (char)(program->letter + (char)program->pages));
	program->pages += pages;
}

static struct program start(char letter, size_t pages)
{
	struct program program = { .letter = letter };
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.scheme = UPAGE_SCHEME_BASE_BOUNDS;
	config.length = FRAMES * page_size;
	check(upage_space_create(&program.space, pool, &config), "upage_space_create");
	grow(&program, pages);
	return program;
}

static void registers(const struct program *program)
{
	printf("  %c: base %3zu KiB, bounds %2zu KiB\n", program->letter, base(program) / KIB,
	       program->pages * page_size / KIB);
	must(is_intact(address_of(program->space, 0), program->pages, program->letter),
	     "a program finds all that it wrote");
	picture_mark(program->space, 0, program->pages, program->letter);
}

/* One that is within the bounds, and its sum. */
static void translate(const struct program *program, size_t virtual)
{
	size_t address = physical(program->space, virtual);
	printf("  %5zu  ->  %6zu  =  %5zu + %zu\n", virtual, address, virtual, base(program));
	must(address == virtual + base(program), "a physical address is the virtual one plus base");
}

int main(void)
{
	make_pool(FRAMES * (size_t)4 * KIB);
	struct program b = start('B', 20), a = start('A', 4);
	size_t bounds = a.pages * page_size;
	registers(&a);
	registers(&b);
	picture_draw("Two programs, a letter a frame:");

	printf("Addresses of A, virtual and physical:\n");
	translate(&a, 0);
	translate(&a, 1000);
	translate(&a, bounds - 1);
	upage_pfn pfn;
	must(upage_translate(a.space, address_of(a.space, bounds), PROT_READ, &pfn) == UPAGE_CAUSE_BOUNDS,
	     "the address that equals the bounds is out of bounds");
	must(!traps(address_of(a.space, bounds - 1), false), "the last byte within the bounds can be read");
	must(traps(address_of(a.space, bounds), false), "a reference out of bounds traps");
	printf("  %5zu  ->  trap: out of bounds\n\n", bounds);

	size_t before = base(&a), grown = 0;
	while (base(&a) == before && grown < FRAMES) {
		grow(&a, 1);
		grown++;
	}
	must(base(&a) != before, "a program that finds no room behind it is relocated");
	printf("A grew by %zu pages; for the last there was no room: base was %zu KiB.\n", grown, before / KIB);
	registers(&a);
	registers(&b);
	picture_draw("All of A was copied, and its base register set:");

	before = base(&a);
	check(upage_space_swap_out(a.space), "upage_space_swap_out");
	struct program c = start('C', 40);
	registers(&b);
	registers(&c);
	picture_draw("A is swapped out, whole, and C is started. It needs all that is free in one piece: B moved.");

	must(upage_space_swap_in(a.space) == UPAGE_ENOMEM, "there is no room for A beside B and C");
	check(upage_space_destroy(b.space), "upage_space_destroy");
	check(upage_space_swap_in(a.space), "upage_space_swap_in");
	must(base(&a) != before, "another has the place where it was");
	registers(&a);
	registers(&c);
	picture_draw("B has ended, and A is back, at another base:");

	check(upage_space_destroy(a.space), "upage_space_destroy");
	check(upage_space_destroy(c.space), "upage_space_destroy");
	picture_draw("All have ended:");
	check(upage_pool_destroy(pool), "upage_pool_destroy");
	return 0;
}
