/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate.c - what a translation costs, in time and in tables
 *
 * Question   How long does it take to find where an address is, and how much memory do the
 *            tables take that say so?
 * Unit       nanoseconds a look-up, one thread. Each address waits for the translation before
 *            it, so that look-ups do not overlap. Bytes of tables.
 * Baseline   The same addresses in a loop of this program that has the least there is to do: an
 *            array, an entry, its check, the sum, all written out in the loop.
 * Target     linear: at most 5 ns, radix: at most 20 ns, on tables that are in the caches.
 * Repeat     make bench, or bench/translate [--quick] [--json FILE]. One processor, quiet machine.
 *
 * Cases (pages of 4 KiB, at random; 48 bits of address but for the linear table's 1 GiB)
 *   …-16M        the entries in use, 32 KiB, are in the caches
 *   …-1G         they are 2 MiB
 *   radix-2      two levels in a space of 1 GiB; radix-4: the form of x86-64
 *   inverted     a hash and a chain, of 262,144 entries
 *
 * The memory of the tables is that of three spaces which are made up, and of the pages of a native
 * sqlite3 (process.h). Of the last, linear tables are calculated: of all 47 bits of address, as the
 * others, and of no more than what is from its lowest to its highest page.
 */
#include "bench.h"

#include "base_bounds.h"
#include "host.h"
#include "inverted_table.h"
#include "linear_table.h"
#include "page_table.h"
#include "process.h"
#include "segment.h"

#define PAGE_SHIFT 12
#define GIB_PAGES (UINT64_C(1) << 18)
#define TIB_PAGES (UINT64_C(1) << 28)
#define ADDRESSES 4096
#define ENTRY (PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_DIRTY)

static uint64_t addresses[ADDRESSES];
static unsigned looks = 4000000;
static uint64_t state; /* of the random numbers */
static struct table_memory memory;

/* What a case looks at. */
static const struct translator *subject;
static pte_t *bare;

/* ---- Rounds -------------------------------------------------------------------------------- */

/* No physical address here has its top bit set: it adds nothing, but has to be waited for, as the
 * compiler is not to know. */
static uint64_t next_address(unsigned i, uint64_t physical)
{
	__asm__("" : "+r"(physical));
	return addresses[i % ADDRESSES] + (physical >> 63);
}

static double look_up(void)
{
	uint64_t physical = 0, sum = 0;
	double start = bench_now();
	for (unsigned i = 0; i < looks; i++) {
		uint64_t address = next_address(i, physical);
		if (translate(subject, address, PROT_READ, &physical) != UPAGE_CAUSE_NONE)
			bench_fail("%s: a page is not there", subject->ops->name);
		sum += physical;
	}
	double time = (bench_now() - start) / looks;
	return sum == 0 ? -1 : time;
}

static double look_up_bare(void)
{
	uint64_t physical = 0, sum = 0;
	double start = bench_now();
	for (unsigned i = 0; i < looks; i++) {
		uint64_t address = next_address(i, physical);
		uint64_t pte = atomic_load(&bare[address >> PAGE_SHIFT]);
		if ((pte & (PTE_PRESENT | PTE_READ)) != (PTE_PRESENT | PTE_READ))
			bench_fail("a page is not there");
		physical = pte_number(pte) << PAGE_SHIFT | (address & ((1 << PAGE_SHIFT) - 1));
		sum += physical;
	}
	double time = (bench_now() - start) / looks;
	return sum == 0 ? -1 : time;
}

static void measure(const struct bench *bench, const char *name, const struct translator *translator)
{
	static const struct {
		const char *name;
		uint64_t pages;
	} parts[] = { { "16M", 4096 }, { "1G", GIB_PAGES } };
	for (unsigned part = 0; part < 2; part++) {
		char whole[40];
		snprintf(whole, sizeof(whole), "%s-%s", name, parts[part].name);
		for (unsigned i = 0; i < ADDRESSES; i++)
			addresses[i] = bench_random(&state) % (parts[part].pages << PAGE_SHIFT);
		subject = translator;
		for (unsigned i = 0; i < ADDRESSES; i++) {
			uint64_t physical = 0;
			translate(subject, addresses[i], PROT_READ, &physical);
			if (physical != addresses[i] + (1 << PAGE_SHIFT))
				bench_fail("%s: a wrong translation", name);
		}
		bench_case(bench, whole, look_up, "array, written out", look_up_bare);
	}
}

/* Page n is in frame n + 1, in all tables. */
static void measure_all(const struct bench *bench)
{
	static struct base_bounds registers;
	static struct linear_table linear;
	static struct page_table radix[2];
	static struct inverted_table inverted;
	static struct inverted_space space;
	const unsigned levels[] = { 2, 4 };
	const uint64_t pages[] = { GIB_PAGES, UINT64_C(1) << 36 };
	const struct segment all = { 1 << PAGE_SHIFT, UINT64_C(1) << 30, PROT_READ, true, false };
	static struct segment segments[4];
	static struct segment_table segmentation;
	need(base_bounds_init(&registers, 1 << PAGE_SHIFT, UINT64_C(1) << 30), "base and bounds");
	segments[0] = all;
	need(segment_table_init(&segmentation, segments, 2, 30), "segments");
	need(linear_table_init(&linear, &memory, GIB_PAGES, PAGE_SHIFT), "a linear table");
	for (unsigned i = 0; i < 2; i++)
		need(page_table_init(&radix[i], &memory, pages[i], PAGE_SHIFT, levels[i]), "a radix table");
	need(inverted_table_init(&inverted, &memory, GIB_PAGES), "an inverted table");
	need(inverted_space_init(&space, &inverted, 7, UINT64_C(1) << 36, PAGE_SHIFT), "a space");
	for (upage_vpn vpn = 0; vpn < GIB_PAGES; vpn++) {
		uint64_t pte = pte_make(vpn + 1, ENTRY);
		atomic_store(linear_table_entry(&linear, vpn), pte);
		for (unsigned i = 0; i < 2; i++)
			atomic_store(page_table_make(&radix[i], vpn), pte);
		atomic_store(inverted_table_make(&inverted, 7, vpn), pte);
	}
	bare = linear.entries;
	measure(bench, "linear", &linear.paging.translator);
	measure(bench, "radix-2", &radix[0].paging.translator);
	measure(bench, "radix-4", &radix[1].paging.translator);
	measure(bench, "inverted", &space.paging.translator);
	measure(bench, "segment", &segmentation.translator);
	measure(bench, "base-bounds", &registers.translator);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

enum layout { ALL_OF_IT, DENSE, SCATTERED, PROCESS, LAYOUTS };

/* All of a space of 1 GiB; 1 GiB at the start of 1 TiB; 1 GiB scattered over 1 TiB; sqlite3, in 128 TiB. */
static const char *const layouts[] = { "all-of-1G", "dense-in-1T", "scattered-in-1T", "sqlite3" };

static struct process_pages process;

static uint64_t count_of(enum layout layout)
{
	return layout == PROCESS ? process.count : GIB_PAGES;
}

/* The page of number @i, of count_of(): scattered one by one, in no order, each once. */
static upage_vpn page_at(enum layout layout, uint64_t i)
{
	if (layout == PROCESS)
		return process.vpn[i];
	return layout == SCATTERED ? i * UINT64_C(0x9e3779b1) % TIB_PAGES : i;
}

static uint64_t pages_of(enum layout layout)
{
	if (layout == PROCESS)
		return UINT64_C(1) << (PROCESS_ADDRESS_BITS - PAGE_SHIFT);
	return layout == ALL_OF_IT ? GIB_PAGES : TIB_PAGES;
}

static size_t linear_bytes(enum layout layout)
{
	static struct linear_table table;
	if (layout == PROCESS)
		return pages_of(layout) * sizeof(pte_t); /* more than some hosts would reserve */
	need(linear_table_init(&table, &memory, pages_of(layout), PAGE_SHIFT), "a linear table");
	size_t bytes = memory.bytes;
	linear_table_destroy(&table);
	return bytes;
}

static size_t radix_bytes(enum layout layout)
{
	static struct page_table table;
	need(page_table_init(&table, &memory, pages_of(layout), PAGE_SHIFT, 0), "a radix table");
	for (uint64_t i = 0; i < count_of(layout); i++)
		if (page_table_make(&table, page_at(layout, i)) == NULL)
			bench_fail("no memory for a radix table");
	size_t bytes = memory.bytes;
	page_table_destroy(&table);
	return bytes;
}

/* As many entries as frames are needed. */
static size_t inverted_bytes(enum layout layout)
{
	static struct inverted_table table;
	need(inverted_table_init(&table, &memory, count_of(layout)), "an inverted table");
	for (uint64_t i = 0; i < count_of(layout); i++)
		if (inverted_table_make(&table, 7, page_at(layout, i)) == NULL)
			bench_fail("no entry left: a page is there twice");
	if (inverted_table_make(&table, 7, pages_of(layout)) != NULL)
		bench_fail("pages are missing");
	size_t bytes = memory.bytes;
	inverted_table_destroy(&table);
	return bytes;
}

/* Against the least there can be: an entry for each page that is there. */
static void figure_bytes(const struct bench *bench, const char *table, enum layout layout, size_t bytes)
{
	char name[40];
	snprintf(name, sizeof(name), "%s-%s", table, layouts[layout]);
	bench_figure(bench, name, (double)bytes, "an entry a page", (double)(count_of(layout) * sizeof(pte_t)));
}

static void count_memory(struct bench *bench)
{
	static const struct {
		const char *name;
		size_t (*bytes)(enum layout layout);
	} tables[] = { { "linear", linear_bytes }, { "radix", radix_bytes }, { "inverted", inverted_bytes } };
	process = process_pages();
	bench->unit = "bytes";
	if (process.count == 0)
		bench_skip("linear-span-sqlite3", "sqlite3 is not installed");
	for (unsigned layout = 0; layout < (process.count > 0 ? LAYOUTS : PROCESS); layout++)
		for (unsigned t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
			table_memory_init(&memory, host_metadata, host_metadata_release);
			size_t bytes = tables[t].bytes((enum layout)layout);
			table_memory_destroy(&memory);
			figure_bytes(bench, tables[t].name, (enum layout)layout, bytes);
		}
	/* From its lowest to its highest page. */
	if (process.count > 0)
		figure_bytes(bench, "linear-span", PROCESS,
		             (process.vpn[process.count - 1] - process.vpn[0] + 1) * sizeof(pte_t));
	free(process.vpn);
}

int main(int argc, char **argv)
{
	const struct bench all = bench_begin("translate", "ns/look", argc, argv);
	struct bench bench = bench_in_short(&all, 0.5);
	looks /= bench.divisor;
	table_memory_init(&memory, host_metadata, host_metadata_release);
	measure_all(&bench);
	count_memory(&bench);
	bench_end(&bench);
	return 0;
}
