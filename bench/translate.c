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
 *   … 16 MiB     the entries in use, 32 KiB, are in the caches
 *   … 1 GiB      they are 2 MiB
 *   radix 2      two levels in a space of 1 GiB; radix 4: the form of x86-64
 *   inverted     a hash and a chain, of 262,144 entries
 *
 * The memory of the tables is that of three spaces which are made up, and of the pages of a native
 * sqlite3 (process.h). Of the last, linear tables are calculated: of all 47 bits of address, as the
 * others, and of no more than what is from its lowest to its highest page.
 */
#define BENCH_UNIT "ns/look"
#define BENCH_DIGITS 1
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
static struct table_memory memory;

/* What a case looks at. */
static const struct translator *subject;
static pte_t *bare;

static void need(int result, const char *what)
{
	if (result < 0)
		bench_fail("%s: %s", what, upage_strerror(result));
}

/* splitmix64 */
static uint64_t random_number(void)
{
	static uint64_t state;
	uint64_t z = (state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

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
	} parts[] = { { "16 MiB", 4096 }, { "1 GiB", GIB_PAGES } };
	for (unsigned part = 0; part < 2; part++) {
		char whole[40];
		snprintf(whole, sizeof(whole), "%s %s", name, parts[part].name);
		for (unsigned i = 0; i < ADDRESSES; i++)
			addresses[i] = random_number() % (parts[part].pages << PAGE_SHIFT);
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
	measure(bench, "radix 2", &radix[0].paging.translator);
	measure(bench, "radix 4", &radix[1].paging.translator);
	measure(bench, "inverted", &space.paging.translator);
	measure(bench, "segment", &segmentation.translator);
	measure(bench, "base-bounds", &registers.translator);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

enum layout { ALL_OF_IT, DENSE, SCATTERED, PROCESS, LAYOUTS };

static const char *const layouts[] = { "all of a space of 1 GiB", "1 GiB at the start of 1 TiB",
	                               "1 GiB scattered over 1 TiB", "sqlite3, in 128 TiB" };

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

static void json_bytes(const struct bench *bench, const char *table, const char *layout, size_t bytes)
{
	if (bench->json != NULL)
		fprintf(bench->json,
		        "{\"bench\": \"translate\", \"case\": \"%s, %s\", \"value\": %zu, "
		        "\"unit\": \"bytes\"}\n",
		        table, layout, bytes);
}

/* What the table of all layouts has no room for. */
static void count_process(const struct bench *bench)
{
	if (process.count == 0) {
		printf("sqlite3 is not installed: nothing is known of its address space.\n");
		return;
	}
	uint64_t span = process.vpn[process.count - 1] - process.vpn[0] + 1;
	printf("sqlite3: %zu pages are resident, %zu KiB; "
	       "a linear table from its lowest to its highest page: %zu KiB\n",
	       process.count, process.count << PAGE_SHIFT >> 10, span * sizeof(pte_t) >> 10);
	json_bytes(bench, "linear, its span", layouts[PROCESS], span * sizeof(pte_t));
}

static void count_memory(const struct bench *bench)
{
	static const struct {
		const char *name;
		size_t (*bytes)(enum layout layout);
	} tables[] = { { "linear", linear_bytes }, { "radix", radix_bytes }, { "inverted", inverted_bytes } };
	process = process_pages();
	unsigned shown = process.count > 0 ? LAYOUTS : PROCESS;
	printf("\n%-10s", "KiB");
	for (unsigned layout = 0; layout < shown; layout++)
		printf("   %28s", layouts[layout]);
	putchar('\n');
	for (unsigned t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		printf("%-10s", tables[t].name);
		for (unsigned layout = 0; layout < shown; layout++) {
			table_memory_init(&memory, host_metadata, host_metadata_release);
			size_t bytes = tables[t].bytes((enum layout)layout);
			table_memory_destroy(&memory);
			printf("   %28zu", bytes >> 10);
			json_bytes(bench, tables[t].name, layouts[layout], bytes);
		}
		putchar('\n');
	}
	count_process(bench);
	free(process.vpn);
}

int main(int argc, char **argv)
{
	struct bench bench = bench_begin("translate", argc, argv);
	looks /= bench.divisor;
	table_memory_init(&memory, host_metadata, host_metadata_release);
	measure_all(&bench);
	count_memory(&bench);
	bench_end(&bench);
	return 0;
}
