/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_translate.c - does every scheme of translation say what its definition says?
 *
 * Two models, neither of which splits an address into bits. Small spaces have a map with one line
 * for each byte, drawn by walking over memory byte by byte. Large ones, up to all of 2^64 bytes,
 * are lists of pieces, searched from the beginning, in numbers of 128 bits, which cannot wrap.
 */
#include <stdlib.h>

#include "base_bounds.h"
#include "inverted_table.h"
#include "linear_table.h"
#include "page_table.h"
#include "segment.h"
#include "support.h"

typedef unsigned __int128 wide;

#define UNTOUCHED 0xdeadbeefu
#define SPACES 4 /* that share an inverted table */

static const char *const kinds[] = { "base-bounds", "segment", "linear", "radix", "inverted" };
enum kind { BASE_BOUNDS, SEGMENT, LINEAR, RADIX, INVERTED, KINDS };

static uint64_t seed;

/* In [0, limit). */
static uint64_t below(uint64_t limit)
{
	return random_number(&seed) % limit;
}

static size_t table_bytes;
static unsigned refuse_after = UINT32_MAX; /* calls of allocate */

static void *allocate(size_t bytes)
{
	if (refuse_after == 0)
		return NULL;
	refuse_after--;
	void *memory = aligned_alloc(PAGE, round_up(bytes, PAGE));
	if (memory != NULL)
		memset(memory, 0, round_up(bytes, PAGE));
	table_bytes += memory != NULL ? bytes : 0;
	return memory;
}

static void release(void *memory, size_t bytes)
{
	free(memory);
	table_bytes -= bytes;
}

/* ---- A machine of any kind -------------------------------------------------------------- */

struct any {
	enum kind kind;
	unsigned page_shift; /* of those that have pages */
	struct table_memory memory;
	struct base_bounds base_bounds;
	struct segment_table segments;
	struct segment segment[8];
	struct linear_table linear;
	struct page_table radix;
	struct inverted_table inverted;
	struct inverted_space space[SPACES];
};

static const struct translator *translator_of(const struct any *any, unsigned space)
{
	switch (any->kind) {
	case BASE_BOUNDS:
		return &any->base_bounds.translator;
	case SEGMENT:
		return &any->segments.translator;
	case LINEAR:
		return &any->linear.paging.translator;
	case RADIX:
		return &any->radix.paging.translator;
	default:
		return &any->space[space].paging.translator;
	}
}

static unsigned spaces_of(enum kind kind)
{
	return kind == INVERTED ? SPACES : 1;
}

/* ASIDs that differ in their low and in their high bits. */
static const uint32_t asids[SPACES] = { 0, 1, 0x80000000, UINT32_MAX };

static void tables_begin(struct any *any, enum kind kind, uint64_t pages, unsigned page_shift,
                         unsigned levels, uint64_t capacity)
{
	any->kind = kind;
	any->page_shift = page_shift;
	table_memory_init(&any->memory, allocate, release);
	if (kind == LINEAR) {
		ck_assert_ok(linear_table_init(&any->linear, &any->memory, pages, page_shift));
	} else if (kind == RADIX) {
		ck_assert_ok(page_table_init(&any->radix, &any->memory, pages, page_shift, levels));
	} else {
		ck_assert_ok(inverted_table_init(&any->inverted, &any->memory, capacity));
		for (unsigned i = 0; i < SPACES; i++)
			ck_assert_ok(inverted_space_init(&any->space[i], &any->inverted, asids[i], pages,
			                                 page_shift));
	}
}

static pte_t *make_entry(struct any *any, unsigned space, upage_vpn vpn)
{
	pte_t *pte = any->kind == LINEAR  ? linear_table_entry(&any->linear, vpn)
	             : any->kind == RADIX ? page_table_make(&any->radix, vpn)
	                                  : inverted_table_make(&any->inverted, asids[space], vpn);
	ck_assert_ptr_nonnull(pte);
	return pte;
}

static void clear_entry(struct any *any, unsigned space, upage_vpn vpn)
{
	if (any->kind == INVERTED)
		inverted_table_remove(&any->inverted, asids[space], vpn);
	else
		atomic_store(make_entry(any, space, vpn), 0);
}

/* Every entry of a tree is zero. */
static void tables_end(struct any *any)
{
	if (any->kind == LINEAR)
		linear_table_destroy(&any->linear);
	if (any->kind == RADIX)
		page_table_destroy(&any->radix);
	if (any->kind == INVERTED)
		inverted_table_destroy(&any->inverted);
	ck_assert_uint_eq(any->memory.bytes, 0);
	table_memory_destroy(&any->memory);
	ck_assert_uint_eq(table_bytes, 0);
}

static uint64_t present(upage_pfn pfn, int prot)
{
	return pte_make(pfn, PTE_PRESENT | pte_access_of(prot) | (prot & PROT_WRITE ? PTE_DIRTY : 0));
}

/* What was asked, in all, and how often each answer was the right one. */
static uint64_t asked, answered[UPAGE_CAUSE_PROTECTION + 1];

static void ask(const struct any *any, unsigned space, uint64_t address, int access,
                enum upage_cause expected, uint64_t expected_physical)
{
	uint64_t physical = UNTOUCHED;
	enum upage_cause cause = translate(translator_of(any, space), address, access, &physical);
	asked++;
	answered[expected]++;
	if (expected != UPAGE_CAUSE_NONE)
		expected_physical = UNTOUCHED;
	if (cause != expected || physical != expected_physical)
		ck_abort_msg("%s, space %u: address %#llx, access %d: cause %d, physical %#llx instead of %d, %#llx",
		             kinds[any->kind], space, (unsigned long long)address, access, cause,
		             (unsigned long long)physical, expected,
		             (unsigned long long)expected_physical);
}

/* ---- Small machines, byte by byte --------------------------------------------------------- */

#define SMALL 1024   /* bytes of a space, at most */
#define MEMORY 4096  /* bytes of memory           */

struct byte {
	enum upage_cause cause; /* without looking at the protection */
	uint64_t physical;
	int prot;
};

struct map {
	uint64_t size;
	struct byte byte[SMALL];
};

static void map_clear(struct map *map, uint64_t size, enum upage_cause cause)
{
	map->size = size;
	for (uint64_t i = 0; i < size; i++)
		map->byte[i] = (struct byte){ .cause = cause };
}

static void draw_base_bounds(struct any *any, struct map *map)
{
	uint64_t bounds = below(SMALL + 1), base = below(MEMORY - bounds + 1);
	any->kind = BASE_BOUNDS;
	ck_assert_ok(base_bounds_init(&any->base_bounds, base, bounds));
	map_clear(map, bounds, UPAGE_CAUSE_NONE);
	for (uint64_t i = 0; i < bounds; i++)
		map->byte[i] = (struct byte){ .physical = base++, .prot = 7 };
}

static void draw_segments(struct any *any, struct map *map)
{
	unsigned number_bits = (unsigned)below(4), offset_bits = (unsigned)below(8);
	uint64_t parts = 1, part = 1;
	for (unsigned i = 0; i < number_bits; i++)
		parts *= 2;
	for (unsigned i = 0; i < offset_bits; i++)
		part *= 2;
	any->kind = SEGMENT;
	map_clear(map, parts * part, UPAGE_CAUSE_NO_SEGMENT);
	for (uint64_t s = 0; s < parts; s++) {
		uint64_t bounds = below(4) == 0 ? part : below(part + 1);
		bool down = below(2);
		uint64_t base = below(MEMORY - bounds + 1) + (down ? bounds : 0);
		int prot = (int)below(8);
		bool is_there = below(4) != 0;
		any->segment[s] = (struct segment){ base, bounds, prot, is_there, down };
		struct byte *first = &map->byte[s * part], *end = first + part;
		if (!is_there)
			continue;
		for (struct byte *byte = first; byte < end; byte++)
			byte->cause = UPAGE_CAUSE_BOUNDS;
		while (bounds-- > 0)
			*(down ? --end : first++) =
			        (struct byte){ .physical = down ? --base : base++, .prot = prot };
	}
	ck_assert_ok(segment_table_init(&any->segments, any->segment, number_bits, offset_bits));
}

static void draw_page(struct map *map, uint64_t vpn, uint64_t page, uint64_t pfn, int prot)
{
	uint64_t from = pfn * page;
	for (uint64_t at = vpn * page; at < (vpn + 1) * page; at++)
		map->byte[at] = (struct byte){ .physical = from++, .prot = prot };
}

static void draw_pages(struct any *any, struct map *maps, enum kind kind, unsigned levels)
{
	/* A tree may have no more levels than a VPN has bits. */
	unsigned vpn_bits = (unsigned)below(4) + (levels > 1 ? levels : 0);
	unsigned page_shift = (unsigned)below(11 - vpn_bits);
	uint64_t pages = 1, page = 1;
	for (unsigned i = 0; i < vpn_bits; i++)
		pages *= 2;
	for (unsigned i = 0; i < page_shift; i++)
		page *= 2;
	/* A space need not be a power of two. */
	if (below(2) == 0 && pages > 2)
		pages -= below(pages / 2);
	tables_begin(any, kind, pages, page_shift, levels, SPACES * pages);
	for (unsigned s = 0; s < spaces_of(kind); s++) {
		struct map *map = &maps[s];
		map_clear(map, pages * page, UPAGE_CAUSE_NOT_MAPPED);
		for (uint64_t i = 0; i < pages * 3; i++) {
			uint64_t vpn = below(pages), pfn = below(MEMORY / page);
			int prot = (int)below(8);
			uint64_t other = below(4) == 0 ? pte_make(pfn, PTE_SWAPPED) : 0;
			bool is_there = below(2);
			atomic_store(make_entry(any, s, vpn), is_there ? present(pfn, prot) : other);
			draw_page(map, vpn, page, pfn, prot);
			if (is_there)
				continue;
			for (uint64_t at = vpn * page; at < (vpn + 1) * page; at++)
				map->byte[at].cause = UPAGE_CAUSE_NOT_MAPPED;
			if (other == 0)
				clear_entry(any, s, vpn);
		}
	}
}

static void ask_all(const struct any *any, const struct map *map, unsigned space)
{
	for (uint64_t address = 0; address < map->size; address++) {
		const struct byte *byte = &map->byte[address];
		int access = 1 + (int)below(7);
		enum upage_cause cause = byte->cause;
		for (int bit = 1; bit < 8; bit *= 2)
			if (cause == UPAGE_CAUSE_NONE && (access & bit) && !(byte->prot & bit))
				cause = UPAGE_CAUSE_PROTECTION;
		ask(any, space, address, access, cause, byte->physical);
	}
	/* Past its end, and where a sum that wraps would be inside again. */
	const uint64_t beyond[] = { map->size, map->size + 1, 2 * map->size + below(SMALL),
		                    UINT64_C(1) << 32, (UINT64_C(1) << 32) + below(SMALL),
		                    UINT64_C(1) << 63, UINT64_MAX - below(MEMORY), UINT64_MAX };
	for (size_t i = 0; i < LENGTH(beyond); i++)
		if (beyond[i] >= map->size)
			ask(any, space, beyond[i], PROT_READ, UPAGE_CAUSE_BOUNDS, 0);
}

static void clear_all(struct any *any, const struct map *map)
{
	for (uint64_t vpn = 0; any->kind == RADIX && vpn < map->size >> any->page_shift; vpn++)
		clear_entry(any, 0, vpn);
	tables_end(any);
}

static void agree_on_small_machines(enum kind kind, unsigned levels)
{
	static struct any any;
	static struct map maps[SPACES];
	asked = 0;
	memset(answered, 0, sizeof(answered));
	seed = 10 * kind + levels;
	for (unsigned round = 0; round < 500 || asked < 100000; round++) {
		memset(&any, 0, sizeof(any));
		if (kind == BASE_BOUNDS)
			draw_base_bounds(&any, &maps[0]);
		else if (kind == SEGMENT)
			draw_segments(&any, &maps[0]);
		else
			draw_pages(&any, maps, kind, levels);
		for (unsigned s = 0; s < spaces_of(kind); s++)
			ask_all(&any, &maps[s], s);
		if (kind >= LINEAR)
			clear_all(&any, &maps[0]);
	}
	/* The model itself has every answer that there is to this kind. */
	ck_assert_uint_gt(answered[UPAGE_CAUSE_NONE], 1000);
	ck_assert_uint_gt(answered[UPAGE_CAUSE_BOUNDS], 1000);
	ck_assert_int_eq(answered[UPAGE_CAUSE_NO_SEGMENT] > 1000, kind == SEGMENT);
	ck_assert_int_eq(answered[UPAGE_CAUSE_NOT_MAPPED] > 1000, kind >= LINEAR);
	ck_assert_int_eq(answered[UPAGE_CAUSE_PROTECTION] > 1000, kind != BASE_BOUNDS);
}

START_TEST(small_machines_agree_with_a_map_of_every_byte)
{
	agree_on_small_machines((enum kind)_i, _i == RADIX ? 0 : 1);
}
END_TEST

START_TEST(trees_of_any_depth_agree_with_a_map_of_every_byte)
{
	agree_on_small_machines(RADIX, (unsigned)_i);
}
END_TEST

/* ---- Large machines, in numbers that cannot wrap -------------------------------------------- */

#define PIECES 256

struct piece {
	wide first, end; /* addresses          */
	wide physical;   /* of the first       */
	int prot;
};

struct list {
	wide size;       /* of the space               */
	size_t count;
	struct piece piece[PIECES];
	wide part;       /* bytes of each segment's    */
	bool segmented, present[8];
};

static void ask_list(const struct any *any, const struct list *list, unsigned space, wide address)
{
	int access = 1 + (int)below(7);
	enum upage_cause cause = list->segmented ? UPAGE_CAUSE_NO_SEGMENT : UPAGE_CAUSE_NOT_MAPPED;
	wide physical = 0;
	if (address > UINT64_MAX)
		return;
	if (list->segmented && address < list->size && list->present[(int)(address / list->part)])
		cause = UPAGE_CAUSE_BOUNDS;
	for (size_t i = 0; i < list->count; i++) {
		const struct piece *piece = &list->piece[i];
		if (address < piece->first || address >= piece->end)
			continue;
		cause = access & ~piece->prot ? UPAGE_CAUSE_PROTECTION : UPAGE_CAUSE_NONE;
		physical = piece->physical + (address - piece->first);
		must(physical <= UINT64_MAX);
		break;
	}
	if (address >= list->size)
		cause = UPAGE_CAUSE_BOUNDS;
	ask(any, space, (uint64_t)address, access, cause, (uint64_t)physical);
}

static void ask_edges(const struct any *any, const struct list *list, unsigned space)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct piece *piece = &list->piece[i];
		wide inside = piece->first + below(UINT64_MAX) % (piece->end - piece->first);
		ask_list(any, list, space, piece->first - 1); /* of 0: no address */
		ask_list(any, list, space, piece->first);
		ask_list(any, list, space, inside);
		ask_list(any, list, space, piece->end - 1);
		ask_list(any, list, space, piece->end);
	}
	const wide edges[] = { 0, 1, list->size - 1, list->size, list->size + 1, UINT64_MAX,
		               UINT64_MAX - 1, (wide)1 << 63, ((wide)1 << 63) - 1 };
	for (size_t i = 0; i < LENGTH(edges); i++)
		ask_list(any, list, space, edges[i]);
	for (unsigned i = 0; i < 32; i++)
		ask_list(any, list, space, random_number(&seed) >> below(64));
}

/* In [0, most]: often an edge, else of any size. */
static uint64_t up_to(wide most)
{
	uint64_t chosen[] = { 0, 1, (uint64_t)most, (uint64_t)most / 2, random_number(&seed) >> below(64) };
	uint64_t n = chosen[below(5)];
	return n <= most ? n : (uint64_t)(n % (most + 1));
}

static void list_base_bounds(struct any *any, struct list *list)
{
	const wide memory = (wide)1 << 64;
	uint64_t bounds = up_to(UINT64_MAX), base = up_to(bounds == 0 ? UINT64_MAX : memory - bounds);
	any->kind = BASE_BOUNDS;
	ck_assert_ok(base_bounds_init(&any->base_bounds, base, bounds));
	list->size = bounds;
	if (bounds > 0)
		list->piece[list->count++] = (struct piece){ 0, bounds, base, 7 };
}

static void list_segments(struct any *any, struct list *list)
{
	unsigned number_bits = (unsigned)below(4);
	unsigned bits = below(2) ? 64 : 8 + (unsigned)below(57);
	wide parts = (wide)1 << number_bits, part = ((wide)1 << bits) / parts;
	any->kind = SEGMENT;
	list->size = parts * part;
	list->part = part;
	list->segmented = true;
	for (unsigned s = 0; s < parts; s++) {
		bool down = below(2);
		uint64_t bounds = up_to(part > UINT64_MAX ? UINT64_MAX : part);
		/* Up to the last byte of memory; one that grows down cannot have 2^64 as its base. */
		uint64_t base = down ? bounds + up_to(UINT64_MAX - bounds)
		                     : up_to(((wide)1 << 64) - (bounds > 0 ? bounds : 1));
		any->segment[s] = (struct segment){ base, bounds, (int)below(8), below(5) != 0, down };
		list->present[s] = any->segment[s].present;
		if (!list->present[s] || bounds == 0)
			continue;
		wide first = down ? part * (s + 1) - bounds : part * s;
		list->piece[list->count++] = (struct piece){ first, first + bounds,
			                                     down ? (wide)base - bounds : base,
			                                     any->segment[s].prot };
	}
	ck_assert_ok(segment_table_init(&any->segments, any->segment, number_bits, bits - number_bits));
}

/* The most bits that a VPN may have: an array must fit, and a flat tree is one. */
static unsigned vpn_bits_most(enum kind kind, unsigned levels)
{
	if (kind == LINEAR)
		return 14;
	if (kind == INVERTED)
		return 64;
	return levels == 0 || levels * 14 > PAGE_TABLE_BITS_MAX - 7 ? PAGE_TABLE_BITS_MAX - 7 : levels * 14;
}

static void list_pages(struct any *any, struct list *lists, enum kind kind, unsigned levels)
{
	unsigned most = vpn_bits_most(kind, levels), least = levels > 1 ? levels : 0;
	unsigned vpn_bits = below(3) == 0 ? most : least + (unsigned)below(most - least + 1);
	unsigned page_shift = (unsigned)below(65 - vpn_bits);
	if (page_shift > 63)
		page_shift = 63;
	/* Half of the time all addresses that there are. */
	if (below(2) == 0 && vpn_bits > 0)
		page_shift = 64 - vpn_bits;
	if (vpn_bits == 64)
		vpn_bits = 63; /* the number of pages is one of 64 bits itself */
	uint64_t pages = UINT64_C(1) << vpn_bits, page = UINT64_C(1) << page_shift;
	if (below(4) == 0)
		pages -= below((pages + 1) / 2);
	wide frames = ((wide)1 << 64) / page;
	tables_begin(any, kind, pages, page_shift, levels, 16 * SPACES);
	for (unsigned s = 0; s < spaces_of(kind); s++) {
		struct list *list = &lists[s];
		list->size = (wide)pages * page;
		for (unsigned i = 0; i < 16; i++) {
			upage_vpn vpn = up_to(pages - 1);
			upage_pfn pfn = up_to(frames - 1 < PTE_NUMBER_MAX ? frames - 1 : PTE_NUMBER_MAX);
			int prot = (int)below(8);
			pte_t *pte = make_entry(any, s, vpn);
			if (atomic_load(pte) != 0)
				continue;
			atomic_store(pte, present(pfn, prot));
			wide first = (wide)vpn * page;
			list->piece[list->count++] = (struct piece){ first, first + page, (wide)pfn * page,
				                                     prot };
		}
	}
}

static void clear_list(struct any *any, const struct list *list)
{
	for (size_t i = 0; any->kind == RADIX && i < list->count; i++)
		clear_entry(any, 0, (upage_vpn)(list->piece[i].first >> any->page_shift));
	tables_end(any);
}

static void agree_on_large_machines(enum kind kind, unsigned levels)
{
	static struct any any;
	static struct list lists[SPACES];
	asked = 0;
	memset(answered, 0, sizeof(answered));
	seed = 1000 + 10 * kind + levels;
	for (unsigned round = 0; round < 500; round++) {
		memset(&any, 0, sizeof(any));
		memset(lists, 0, sizeof(lists));
		if (kind == BASE_BOUNDS)
			list_base_bounds(&any, &lists[0]);
		else if (kind == SEGMENT)
			list_segments(&any, &lists[0]);
		else
			list_pages(&any, lists, kind, levels);
		for (unsigned s = 0; s < spaces_of(kind); s++)
			ask_edges(&any, &lists[s], s);
		if (kind >= LINEAR)
			clear_list(&any, &lists[0]);
	}
	ck_assert_uint_ge(asked, 15000);
	ck_assert_uint_gt(answered[UPAGE_CAUSE_NONE], 500);
	ck_assert_uint_gt(answered[UPAGE_CAUSE_BOUNDS], 500);
}

START_TEST(large_machines_agree_with_a_list_of_pieces)
{
	agree_on_large_machines((enum kind)_i, _i == RADIX ? 0 : 1);
}
END_TEST

START_TEST(large_trees_of_any_depth_agree_with_a_list_of_pieces)
{
	agree_on_large_machines(RADIX, (unsigned)_i);
}
END_TEST

/* ---- The textbook's ------------------------------------------------------------------------- */

START_TEST(a_stack_that_grows_down_is_where_the_book_has_it)
{
	/* OSTEP ch. 16: 16 KiB of addresses, code at 32K, heap at 34K, the stack below 28K. */
	static const struct segment segments[4] = {
		[0] = { 32 * KIB, 2 * KIB, PROT_READ | PROT_EXEC, true, false },
		[1] = { 34 * KIB, 3 * KIB, RW, true, false },
		[3] = { 28 * KIB, 2 * KIB, RW, true, true },
	};
	static struct any any = { .kind = SEGMENT };
	ck_assert_ok(segment_table_init(&any.segments, segments, 2, 12));
	ask(&any, 0, 100, PROT_EXEC, UPAGE_CAUSE_NONE, 32868);
	ask(&any, 0, 4200, PROT_READ, UPAGE_CAUSE_NONE, 34920);
	ask(&any, 0, 7 * KIB, PROT_READ, UPAGE_CAUSE_BOUNDS, 0);
	ask(&any, 0, 7 * KIB - 1, PROT_READ, UPAGE_CAUSE_NONE, 37 * KIB - 1);
	ask(&any, 0, 15 * KIB, PROT_WRITE, UPAGE_CAUSE_NONE, 27 * KIB);
	ask(&any, 0, 16 * KIB - 1, PROT_WRITE, UPAGE_CAUSE_NONE, 28 * KIB - 1);
	ask(&any, 0, 14 * KIB, PROT_WRITE, UPAGE_CAUSE_NONE, 26 * KIB);
	ask(&any, 0, 14 * KIB - 1, PROT_WRITE, UPAGE_CAUSE_BOUNDS, 0);
	ask(&any, 0, 8 * KIB, PROT_READ, UPAGE_CAUSE_NO_SEGMENT, 0);
	ask(&any, 0, 16 * KIB, PROT_READ, UPAGE_CAUSE_BOUNDS, 0);
	ask(&any, 0, 100, PROT_WRITE, UPAGE_CAUSE_PROTECTION, 0);
	/* Where it would also be out of bounds, it is that. */
	ask(&any, 0, 2 * KIB, PROT_WRITE, UPAGE_CAUSE_BOUNDS, 0);
}
END_TEST

/* ---- What cannot be --------------------------------------------------------------------------- */

START_TEST(registers_that_would_wrap_are_refused)
{
	struct base_bounds registers;
	struct segment segment = { UINT64_MAX, 2, RW, true, false };
	struct segment_table segments;
	ck_assert_int_eq(base_bounds_init(&registers, UINT64_MAX, 2), UPAGE_EOVERFLOW);
	ck_assert_int_eq(base_bounds_init(&registers, 2, UINT64_MAX), UPAGE_EOVERFLOW);
	ck_assert_ok(base_bounds_init(&registers, UINT64_MAX, 1));
	ck_assert_ok(base_bounds_init(&registers, UINT64_MAX, 0));
	ck_assert_int_eq(segment_table_init(&segments, &segment, 0, 12), UPAGE_EINVAL);
	segment = (struct segment){ 4095, 4096, RW, true, true };
	ck_assert_int_eq(segment_table_init(&segments, &segment, 0, 12), UPAGE_EINVAL);
	segment = (struct segment){ 4096, 4096, RW, true, true };
	ck_assert_ok(segment_table_init(&segments, &segment, 0, 12));
	ck_assert_int_eq(segment_table_init(&segments, &segment, 0, 11), UPAGE_EINVAL);
	ck_assert_int_eq(segment_table_init(&segments, &segment, 1, 64), UPAGE_EINVAL);
	ck_assert_int_eq(segment_table_init(&segments, &segment, 64, 0), UPAGE_EINVAL);
}
END_TEST

START_TEST(spaces_of_more_than_64_bits_are_refused)
{
	static struct any any;
	table_memory_init(&any.memory, allocate, release);
	ck_assert_int_eq(linear_table_init(&any.linear, &any.memory, 0, 12), UPAGE_EINVAL);
	ck_assert_int_eq(linear_table_init(&any.linear, &any.memory, 3, 63), UPAGE_EINVAL);
	ck_assert_int_eq(linear_table_init(&any.linear, &any.memory, 1, 64), UPAGE_EINVAL);
	/* 2^61 entries of 8 bytes are none, modulo 2^64. */
	ck_assert_int_eq(linear_table_init(&any.linear, &any.memory, UINT64_C(1) << 61, 0), UPAGE_EINVAL);
	ck_assert_int_eq(page_table_init(&any.radix, &any.memory, 0, 12, 1), UPAGE_EINVAL);
	ck_assert_int_eq(page_table_init(&any.radix, &any.memory, 4097, 52, 1), UPAGE_EINVAL);
	ck_assert_int_eq(inverted_table_init(&any.inverted, &any.memory, 0), UPAGE_EINVAL);
	ck_assert_int_eq(inverted_table_init(&any.inverted, &any.memory, (UINT64_C(1) << 31) + 1),
	                 UPAGE_EINVAL);
	ck_assert_int_eq(inverted_space_init(&any.space[0], &any.inverted, 1, 0, 12), UPAGE_EINVAL);
	ck_assert_uint_eq(table_bytes, 0);
}
END_TEST

/* ---- The inverted table ----------------------------------------------------------------------- */

START_TEST(a_full_inverted_table_has_room_again_where_an_entry_was_removed)
{
	static struct any any;
	pte_t *entries[7];
	tables_begin(&any, INVERTED, 1 << 20, 12, 0, LENGTH(entries));
	for (upage_vpn vpn = 0; vpn < LENGTH(entries); vpn++) {
		entries[vpn] = make_entry(&any, vpn % 2, vpn);
		ck_assert_uint_eq(atomic_load(entries[vpn]), 0);
		atomic_store(entries[vpn], present(100 + vpn, RW));
	}
	ck_assert_ptr_null(inverted_table_make(&any.inverted, asids[0], 99));
	ck_assert_ptr_null(inverted_table_find(&any.inverted, asids[0], 99));
	ck_assert_ptr_null(inverted_table_find(&any.inverted, asids[0], 1));
	ck_assert_ptr_eq(make_entry(&any, 1, 3), entries[3]);
	clear_entry(&any, 1, 3);
	clear_entry(&any, 0, 4);
	ck_assert_ptr_null(inverted_table_find(&any.inverted, asids[1], 3));
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(atomic_load(make_entry(&any, 2, 50 + i)), 0);
	ck_assert_ptr_null(inverted_table_make(&any.inverted, asids[0], 4));
	for (upage_vpn vpn = 0; vpn < LENGTH(entries); vpn++)
		if (vpn != 3 && vpn != 4)
			ask(&any, vpn % 2, vpn * PAGE + 7, PROT_READ, UPAGE_CAUSE_NONE,
			    (100 + vpn) * PAGE + 7);
	tables_end(&any);
}
END_TEST

/* Pages in order, pages far apart, the same ones of many spaces. */
START_TEST(chains_of_an_inverted_table_are_short)
{
	static const struct {
		unsigned spaces;
		uint64_t stride;
	} patterns[] = { { 1, 1 }, { 1, 512 }, { 1, 1 << 18 }, { 64, 1 }, { 1024, 4096 } };
	enum { ENTRIES = 1 << 16 };
	static struct any any;
	static unsigned char used[ENTRIES];
	tables_begin(&any, INVERTED, 1 << 20, 12, 0, ENTRIES);
	unsigned spaces = patterns[_i].spaces, longest = 0;
	uint64_t cost = 0;
	memset(used, 0, sizeof(used));
	for (unsigned i = 0; i < ENTRIES; i++) {
		uint32_t bucket = inverted_table_hash(&any.inverted, i % spaces,
		                                      i / spaces * patterns[_i].stride);
		ck_assert_uint_lt(bucket, ENTRIES);
		cost += ++used[bucket]; /* comparisons to find this one */
		longest = used[bucket] > longest ? used[bucket] : longest;
	}
	ck_assert_msg(cost < 2 * ENTRIES, "%llu comparisons for %u entries", (unsigned long long)cost,
	              ENTRIES);
	ck_assert_uint_le(longest, 16);
	tables_end(&any);
}
END_TEST

START_TEST(a_table_without_memory_is_refused_and_leaks_nothing)
{
	static struct any any;
	table_memory_init(&any.memory, allocate, release);
	refuse_after = 0;
	ck_assert_int_eq(linear_table_init(&any.linear, &any.memory, 64, 4), UPAGE_ENOMEM);
	ck_assert_uint_eq(any.memory.bytes, 0);
	for (unsigned calls = 0; calls < 2; calls++) { /* buckets, then entries */
		refuse_after = calls;
		ck_assert_int_eq(inverted_table_init(&any.inverted, &any.memory, 64), UPAGE_ENOMEM);
		ck_assert_uint_eq(any.memory.bytes, 0);
	}
	ck_assert_uint_eq(table_bytes, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("translate");
	TCase *models = tcase_create("models");
	tcase_set_timeout(models, 120);
	tcase_add_loop_test(models, small_machines_agree_with_a_map_of_every_byte, 0, KINDS);
	tcase_add_loop_test(models, trees_of_any_depth_agree_with_a_map_of_every_byte, 1,
	                    PAGE_TABLE_LEVELS_MAX + 1);
	tcase_add_loop_test(models, large_machines_agree_with_a_list_of_pieces, 0, KINDS);
	tcase_add_loop_test(models, large_trees_of_any_depth_agree_with_a_list_of_pieces, 1,
	                    PAGE_TABLE_LEVELS_MAX + 1);
	suite_add_tcase(suite, models);

	TCase *cases = tcase_create("cases");
	tcase_add_test(cases, a_stack_that_grows_down_is_where_the_book_has_it);
	tcase_add_test(cases, registers_that_would_wrap_are_refused);
	tcase_add_test(cases, spaces_of_more_than_64_bits_are_refused);
	tcase_add_test(cases, a_full_inverted_table_has_room_again_where_an_entry_was_removed);
	tcase_add_loop_test(cases, chains_of_an_inverted_table_are_short, 0, 5);
	tcase_add_test(cases, a_table_without_memory_is_refused_and_leaks_nothing);
	suite_add_tcase(suite, cases);
	return run_suite(suite);
}
