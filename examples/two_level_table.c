/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * two_level_table.c - a page table in two levels, and one in a single level, of the same references
 *
 * 32 bits of address, pages of 4 KiB: 20 bits of page number. The linear table (one level) has an
 * entry for each of 2^20 pages, used or not. In two levels the upper ten bits index a directory of
 * 2^10 entries, and the lower ten a page of the table, which is only there if one of its 2^10 pages
 * was used. Where that saves memory, and where it does not, is counted.
 *
 * Run: ./two_level_table          Source: OSTEP ch. 18 and 20.
 */
#include "textbook.h"

#define SPACE ((size_t)4096 * KIB * KIB)
#define INDEX_BITS 10
#define PAGES ((size_t)1 << 2 * INDEX_BITS)
#define NODE_PAGES ((size_t)1 << INDEX_BITS)           /* that a page of the table has entries for */
#define NODE_BYTES (NODE_PAGES * sizeof(uint64_t))
#define FRAMES_BYTES ((size_t)16 * KIB * KIB)

/* A pool, and a space of 2^20 pages with a table of so many levels, all mapped: nothing of it is used yet. */
static upage_space *begin(unsigned levels)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	upage_space *space;
	make_pool(FRAMES_BYTES);
	config.length = SPACE;
	config.levels = levels;
	check(upage_space_create(&space, pool, &config), "upage_space_create");
	map_at(space, 0, PAGES, RW);
	return space;
}

static void end(upage_space *space)
{
	check(upage_space_destroy(space), "upage_space_destroy");
	check(upage_pool_destroy(pool), "upage_pool_destroy");
}

static void touch(upage_space *space, size_t page)
{
	address_of(space, page * page_size)[0] = 1;
	must(physical(space, page * page_size) < FRAMES_BYTES, "a page that was touched is in a frame");
}

static void print_bits(size_t value)
{
	for (unsigned bit = INDEX_BITS; bit-- > 0;)
		putchar(value >> bit & 1 ? '1' : '0');
}

/* Each reference, its indices, and whether it took a new page of the table. */
static void show_indices(void)
{
	const size_t addresses[] = { 0x00000000, 0x003ff000, 0x00400000, 0x12345678, 0xfffff000, 0x00001000 };
	bool used[NODE_PAGES] = { false };
	upage_space *space = begin(2);
	uint64_t bytes = stats_now().table_bytes;
	must(bytes == NODE_BYTES, "at first there is a directory, of 2^10 entries");
	printf("address      directory    table        offset\n");
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		size_t page = addresses[i] / page_size, directory = page / NODE_PAGES;
		touch(space, page);
		uint64_t now = stats_now().table_bytes;
		printf("0x%08zx   ", addresses[i]);
		print_bits(directory);
		printf("   ");
		print_bits(page % NODE_PAGES);
		printf("   0x%03zx   %s\n", addresses[i] % page_size,
		       now > bytes ? "a new page of the table" : "its page of the table is there");
		must(now == bytes + (used[directory] ? 0 : NODE_BYTES),
		     "a page of the table comes with the first use of its directory entry");
		used[directory] = true;
		bytes = now;
	}
	end(space);
}

/* Every so many pages of some are used, from the beginning and from the end of the space on. */
struct use {
	const char *name;
	size_t low, high, stride; /* pages */
};

static uint64_t table_bytes(const struct use *use, unsigned levels)
{
	upage_space *space = begin(levels);
	for (size_t page = 0; page < use->low; page += use->stride)
		touch(space, page);
	for (size_t page = 0; page < use->high; page += use->stride)
		touch(space, PAGES - 1 - page);
	uint64_t bytes = stats_now().table_bytes;
	end(space);
	return bytes;
}

int main(void)
{
	static const struct use uses[] = {
		{ "nothing", 0, 0, 1 },
		{ "sparse: 16 pages of code, 4 of stack", 16, 4, 1 },
		{ "dense: 8 MiB, every page", 2048, 0, 1 },
		{ "scattered: a page of every 1,024", PAGES, 0, NODE_PAGES },
	};
	show_indices();
	printf("\n%-40s %10s %10s\n", "KiB of tables", "one level", "two levels");
	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
		uint64_t linear = table_bytes(&uses[i], 1), radix = table_bytes(&uses[i], 2);
		size_t nodes = (uses[i].low + NODE_PAGES - 1) / NODE_PAGES + (uses[i].high + NODE_PAGES - 1) / NODE_PAGES;
		printf("%-40s %10" PRIu64 " %10" PRIu64 "\n", uses[i].name, linear / KIB, radix / KIB);
		must(linear == PAGES * sizeof(uint64_t), "a linear table has an entry for each page of the space");
		must(radix == (1 + nodes) * NODE_BYTES, "two levels are a directory and the pages in use of the table");
	}
	printf("\nA space of which every part is used is where one level is smaller: by the directory.\n");
	return 0;
}
