/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * machine.c - reads the description of a machine
 *
 * In three steps: lines become values, each in error for itself; the values are checked against
 * each other; the tables are made and filled. Lines may stand in any order.
 */
#include "machine.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "error.h"
#include "host.h"
#include "options.h"

#define WORDS_MAX 16

/* A line, cut into words. */
struct line {
	unsigned number;
	size_t count;
	char *word[WORDS_MAX];
};

/* What one word said, and where. */
struct value {
	unsigned line; /* 0: it was not said */
	uint64_t n;
};

struct segment_line {
	unsigned line;
	uint64_t number;
	struct segment segment;
};

struct page_line {
	unsigned line;
	upage_vpn vpn;
	upage_pfn pfn;
	int prot;
	struct value asid;
};

/* All that a file said. */
struct description {
	const char *file;
	unsigned lines;
	struct value scheme, space_size, memory_size, base, bounds, segment_bits, page_size, table, levels,
	        asid;
	struct value segment, page; /* the first of each */
	struct segment_line *segments;
	struct page_line *pages;
	size_t segment_count, page_count, page_room;
};

/* The first line is no 0: what has none is wrong as a whole. */
__attribute__((format(printf, 3, 4))) _Noreturn static void refuse(const struct description *d,
                                                                   unsigned line,
                                                                   const char *format, ...)
{
	char text[400];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fail(EXIT_WRONG, "%s:%u: %s", d->file, line, text);
}

typedef unsigned long long ull; /* what printf takes everywhere */

/* ---- Values ---------------------------------------------------------------------------------- */

int machine_number(const char *text, uint64_t *number)
{
	bool hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *digits = hexadecimal ? text + 2 : text;
	const char *all = hexadecimal ? "0123456789abcdefABCDEF" : "0123456789";
	if (digits[0] == '\0' || digits[strspn(digits, all)] != '\0')
		return UPAGE_EOPTION;
	errno = 0;
	uint64_t n = strtoull(digits, NULL, hexadecimal ? 16 : 10);
	if (errno != 0)
		return UPAGE_EOVERFLOW;
	*number = n;
	return 0;
}

bool machine_prot(const char *text, int *prot)
{
	static const char letters[] = "rwx"; /* PROT_READ, WRITE and EXEC are 1, 2 and 4 */
	int all = 0;
	if (text[0] == '\0')
		return false;
	for (; *text != '\0'; text++) {
		const char *letter = strchr(letters, *text);
		if (letter == NULL && *text != '-')
			return false;
		int bit = letter != NULL ? 1 << (letter - letters) : 0;
		if (all & bit)
			return false;
		all |= bit;
	}
	*prot = all;
	return true;
}

enum kind { NUMBER, SIZE, SCHEME, TABLE, PROT, GROWS };

static const char *const forms[] = {
	[NUMBER] = "a number, decimal or 0x",
	[SIZE] = "bytes: a number, decimal or 0x, or one with K, M, G or T",
	[SCHEME] = "base-bounds, segmentation or paging",
	[TABLE] = "linear, radix or inverted",
	[PROT] = "letters of rwx, or - for none",
	[GROWS] = "up or down",
};

static const char *const names[][4] = {
	[SCHEME] = { "base-bounds", "segmentation", "paging", NULL },
	[TABLE] = { "linear", "radix", "inverted", NULL },
	[GROWS] = { "up", "down", NULL },
};

/* Return: 0, UPAGE_EOPTION, UPAGE_EOVERFLOW. */
static int parse_value(enum kind kind, const char *text, uint64_t *n)
{
	int prot;
	switch (kind) {
	case NUMBER:
	case SIZE: {
		int result = machine_number(text, n);
		/* A number with a suffix that is too large is a number all the same. */
		if (result != UPAGE_EOPTION || kind == NUMBER || options_size(text, n) == 0)
			return result != UPAGE_EOPTION ? result : kind == SIZE ? 0 : result;
		size_t digits = strspn(text, "0123456789");
		bool suffix = digits > 0 && text[digits] != '\0' &&
		              strchr("KMGTkmgt", text[digits]) != NULL && text[digits + 1] == '\0';
		return suffix ? UPAGE_EOVERFLOW : UPAGE_EOPTION;
	}
	case PROT:
		if (!machine_prot(text, &prot))
			return UPAGE_EOPTION;
		*n = (uint64_t)prot;
		return 0;
	default:
		for (uint64_t i = 0; names[kind][i] != NULL; i++) {
			if (strcmp(names[kind][i], text) == 0) {
				*n = i;
				return 0;
			}
		}
		return UPAGE_EOPTION;
	}
}

/* The value of @word, which stands behind it. */
static uint64_t take(const struct description *d, unsigned line, const char *word, enum kind kind,
                     const char *text)
{
	uint64_t n = 0;
	int result = parse_value(kind, text, &n);
	if (result == UPAGE_EOVERFLOW)
		refuse(d, line, "%s '%s': more than 64 bits can hold", word, text);
	if (result < 0)
		refuse(d, line, "%s '%s': right is %s", word, text, forms[kind]);
	return n;
}

/* ---- Lines ------------------------------------------------------------------------------------- */

/* The pairs of a line, `name value`, behind its first two words. */
struct pair {
	const char *name;
	enum kind kind;
	bool needed;
	struct value value;
};

static void take_pairs(const struct description *d, const struct line *line, const char *right,
                       struct pair *pairs)
{
	for (size_t at = 2; at < line->count; at += 2) {
		struct pair *pair = pairs;
		while (pair->name != NULL && strcmp(pair->name, line->word[at]) != 0)
			pair++;
		if (pair->name == NULL)
			refuse(d, line->number, "unknown word '%s'; right is: %s", line->word[at], right);
		if (pair->value.line != 0)
			refuse(d, line->number, "'%s' is given twice; right is: %s", pair->name, right);
		if (at + 1 == line->count)
			refuse(d, line->number, "'%s' needs a value, %s", pair->name, forms[pair->kind]);
		pair->value.n = take(d, line->number, pair->name, pair->kind, line->word[at + 1]);
		pair->value.line = line->number;
	}
	for (; pairs->name != NULL; pairs++)
		if (pairs->needed && pairs->value.line == 0)
			refuse(d, line->number, "'%s' is missing; right is: %s", pairs->name, right);
}

static void *grow(void *array, size_t count, size_t size)
{
	array = realloc(array, count * size);
	if (array == NULL)
		fail(EXIT_WRONG, "out of memory");
	return array;
}

static void take_segment(struct description *d, const struct line *line, uint64_t number)
{
	struct pair pairs[] = { { "base", SIZE, true, { 0, 0 } },
		                { "bounds", SIZE, true, { 0, 0 } },
		                { "grows", GROWS, true, { 0, 0 } },
		                { "prot", PROT, false, { 0, PROT_READ | PROT_WRITE | PROT_EXEC } },
		                { NULL, NUMBER, false, { 0, 0 } } };
	take_pairs(d, line, "segment N base B bounds L grows up|down [prot rwx]", pairs);
	if (number >> SEGMENT_BITS_MAX != 0)
		refuse(d, line->number, "segment %llu: from 0 to %d", (ull)number,
		       (1 << SEGMENT_BITS_MAX) - 1);
	for (size_t i = 0; i < d->segment_count; i++)
		if (d->segments[i].number == number)
			refuse(d, line->number, "segment %llu is given twice; line %u has it", (ull)number,
			       d->segments[i].line);
	d->segments = grow(d->segments, d->segment_count + 1, sizeof(*d->segments));
	d->segments[d->segment_count++] =
	        (struct segment_line){ line->number, number,
		                       { pairs[0].value.n, pairs[1].value.n, (int)pairs[3].value.n, true,
		                         pairs[2].value.n == 1 } };
}

static void take_page(struct description *d, const struct line *line, upage_vpn vpn)
{
	struct pair pairs[] = { { "frame", NUMBER, true, { 0, 0 } },
		                { "prot", PROT, false, { 0, PROT_READ | PROT_WRITE | PROT_EXEC } },
		                { "asid", NUMBER, false, { 0, 0 } },
		                { NULL, NUMBER, false, { 0, 0 } } };
	take_pairs(d, line, "page VPN frame PFN [prot rwx] [asid A]", pairs);
	if (d->page_count == d->page_room) {
		d->page_room = 2 * d->page_room + 64;
		d->pages = grow(d->pages, d->page_room, sizeof(*d->pages));
	}
	d->pages[d->page_count++] = (struct page_line){ line->number, vpn, pairs[0].value.n,
		                                        (int)pairs[1].value.n, pairs[2].value };
}

/* What the lines begin with, and the schemes that know it. */
enum { OF_BASE_BOUNDS = 1, OF_SEGMENTATION = 2, OF_PAGING = 4, OF_ALL = 7 };

static const struct word {
	const char *name;
	enum kind kind;
	unsigned schemes;
	size_t offset; /* of its struct value */
	/* Of lines of which there may be many, with more than a value; NULL: of others. */
	void (*take)(struct description *, const struct line *, uint64_t value);
} words[] = {
#define FIELD(field) offsetof(struct description, field)
	{ "scheme", SCHEME, OF_ALL, FIELD(scheme), NULL },
	{ "space-size", SIZE, OF_ALL, FIELD(space_size), NULL },
	{ "memory-size", SIZE, OF_ALL, FIELD(memory_size), NULL },
	{ "base", SIZE, OF_BASE_BOUNDS, FIELD(base), NULL },
	{ "bounds", SIZE, OF_BASE_BOUNDS, FIELD(bounds), NULL },
	{ "segment-bits", NUMBER, OF_SEGMENTATION, FIELD(segment_bits), NULL },
	{ "segment", NUMBER, OF_SEGMENTATION, FIELD(segment), take_segment },
	{ "page-size", SIZE, OF_PAGING, FIELD(page_size), NULL },
	{ "table", TABLE, OF_PAGING, FIELD(table), NULL },
	{ "levels", NUMBER, OF_PAGING, FIELD(levels), NULL },
	{ "asid", NUMBER, OF_PAGING, FIELD(asid), NULL },
	{ "page", NUMBER, OF_PAGING, FIELD(page), take_page },
#undef FIELD
};
#define WORDS (sizeof(words) / sizeof(words[0]))

static struct value *value_of(struct description *d, const struct word *word)
{
	return (struct value *)(void *)((char *)d + word->offset);
}

static void known_words(char *text, size_t size, unsigned schemes)
{
	size_t length = 0;
	text[0] = '\0';
	for (size_t i = 0; i < WORDS && length < size; i++)
		if (words[i].schemes & schemes)
			length += (size_t)snprintf(text + length, size - length, "%s%s",
			                           length > 0 ? ", " : "", words[i].name);
}

static void take_line(struct description *d, const struct line *line)
{
	const char *name = line->word[0];
	const struct word *word = words;
	while (word < words + WORDS && strcmp(word->name, name) != 0)
		word++;
	/* Of the scheme, where it was said before; the others are checked in the end. */
	if (word == words + WORDS) {
		char known[200];
		known_words(known, sizeof(known), d->scheme.line != 0 ? 1u << d->scheme.n : OF_ALL);
		refuse(d, line->number, "unknown word '%s'; there are %s", name, known);
	}
	if (line->count < 2)
		refuse(d, line->number, "'%s' needs a value, %s", name, forms[word->kind]);
	struct value *value = value_of(d, word);
	uint64_t n = take(d, line->number, name, word->kind, line->word[1]);
	if (word->take != NULL) {
		word->take(d, line, n);
	} else if (line->count > 2) {
		refuse(d, line->number, "'%s' is too much: %s has one value, %s", line->word[2], name,
		       forms[word->kind]);
	} else if (value->line != 0) {
		refuse(d, line->number, "'%s' is given twice; line %u has it", name, value->line);
	}
	if (value->line == 0)
		*value = (struct value){ line->number, n };
}

/* Cuts @text up. */
static struct line cut_line(const struct description *d, char *text)
{
	struct line line = { .number = d->lines };
	text[strcspn(text, "#\n")] = '\0';
	char *rest = NULL;
	for (char *word = strtok_r(text, " \t\r\f\v", &rest); word != NULL;
	     word = strtok_r(NULL, " \t\r\f\v", &rest)) {
		if (line.count == WORDS_MAX)
			refuse(d, line.number, "'%s': a line has at most %d words", word, WORDS_MAX);
		line.word[line.count++] = word;
	}
	return line;
}

static void read_lines(struct description *d, FILE *file)
{
	char *text = NULL;
	size_t room = 0;
	ssize_t length;
	while ((length = getline(&text, &room, file)) >= 0) {
		d->lines++;
		if (memchr(text, '\0', (size_t)length) != NULL)
			refuse(d, d->lines, "a byte 0: this is no text");
		struct line line = cut_line(d, text);
		if (line.count > 0)
			take_line(d, &line);
	}
	if (ferror(file))
		fail(EXIT_WRONG, "%s: %s", d->file, error_words(errno));
	free(text);
}

/* ---- What goes together ----------------------------------------------------------------------- */

static void check_words(struct description *d)
{
	unsigned scheme = 1u << d->scheme.n;
	const char *name = names[SCHEME][d->scheme.n];
	char known[200];
	known_words(known, sizeof(known), scheme);
	for (size_t i = 0; i < WORDS; i++) {
		unsigned line = value_of(d, &words[i])->line;
		if (line != 0 && !(words[i].schemes & scheme))
			refuse(d, line, "'%s' is no word of scheme %s, which has %s", words[i].name, name,
			       known);
	}
}

static void need(const struct description *d, const struct value *value, const char *line)
{
	if (value->line == 0)
		refuse(d, d->scheme.line, "scheme %s needs a line '%s'", names[SCHEME][d->scheme.n], line);
}

static void need_size(const struct description *d, const struct value *value, const char *word)
{
	if (value->line != 0 && value->n == 0)
		refuse(d, value->line, "%s 0: at least 1", word);
}

static void need_power(const struct description *d, const struct value *value, const char *word,
                       const char *why)
{
	uint64_t n = value->n;
	if (!is_power_of_two(n))
		refuse(d, value->line, "%s %llu: no power of two, %s; the next ones are %llu and %llu", word,
		       (ull)n, why, 1ull << log2_floor(n), 2ull << log2_floor(n));
}

static void make_base_bounds(struct machine *machine, const struct description *d)
{
	uint64_t base = d->base.n, bounds = d->bounds.n, memory = d->memory_size.n;
	need(d, &d->base, "base ADDRESS");
	need(d, &d->bounds, "bounds BYTES");
	if (base > memory)
		refuse(d, d->base.line, "base %llu: past the end of memory, which has %llu bytes",
		       (ull)base, (ull)memory);
	if (bounds > memory - base)
		refuse(d, d->bounds.line,
		       "bounds %llu: past the end of memory, which has %llu bytes; from base %llu at most %llu",
		       (ull)bounds, (ull)memory, (ull)base, (ull)(memory - base));
	if (d->space_size.line != 0 && bounds > d->space_size.n)
		refuse(d, d->bounds.line, "bounds %llu: more than the space, which has %llu bytes",
		       (ull)bounds, (ull)d->space_size.n);
	base_bounds_init(&machine->base_bounds, base, bounds);
	machine->translator = &machine->base_bounds.translator;
}

static void check_segment(const struct description *d, size_t i, uint64_t part)
{
	const struct segment_line *line = &d->segments[i];
	const struct segment *segment = &line->segment;
	uint64_t base = segment->base, bounds = segment->bounds, memory = d->memory_size.n;
	if (bounds > part)
		refuse(d, line->line, "bounds %llu: segment %llu has a part of %llu bytes of the space",
		       (ull)bounds, (ull)line->number, (ull)part);
	if (base > memory)
		refuse(d, line->line, "base %llu: past the end of memory, which has %llu bytes",
		       (ull)base, (ull)memory);
	if (segment->grows_down && bounds > base)
		refuse(d, line->line,
		       "bounds %llu: the segment grows down from base %llu, below which there are %llu bytes",
		       (ull)bounds, (ull)base, (ull)base);
	if (!segment->grows_down && bounds > memory - base)
		refuse(d, line->line,
		       "bounds %llu: past the end of memory, which has %llu bytes; from base %llu at most %llu",
		       (ull)bounds, (ull)memory, (ull)base, (ull)(memory - base));
	uint64_t start = segment_start(segment);
	for (size_t j = 0; j < i && bounds > 0; j++) {
		const struct segment *other = &d->segments[j].segment;
		uint64_t begin = segment_start(other);
		/* Neither ends before the other begins. */
		if (start - begin < other->bounds || (begin - start < bounds && other->bounds > 0))
			refuse(d, line->line,
			       "segment %llu: physical %llu to %llu overlaps segment %llu of line %u, %llu to %llu",
			       (ull)line->number, (ull)start, (ull)(start + bounds - 1),
			       (ull)d->segments[j].number, d->segments[j].line, (ull)begin,
			       (ull)(begin + other->bounds - 1));
	}
}

static void make_segments(struct machine *machine, const struct description *d)
{
	uint64_t largest = 0;
	unsigned line = 0;
	need(d, &d->space_size, "space-size BYTES");
	need_power(d, &d->space_size, "space-size", "whose top bits would pick a segment");
	for (size_t i = 0; i < d->segment_count; i++) {
		if (line == 0 || d->segments[i].number > largest) {
			largest = d->segments[i].number;
			line = d->segments[i].line;
		}
	}
	unsigned bits = log2_ceiling(largest + 1), space_bits = log2_floor(d->space_size.n);
	if (d->segment_bits.line != 0) {
		uint64_t most = space_bits < SEGMENT_BITS_MAX ? space_bits : SEGMENT_BITS_MAX;
		if (d->segment_bits.n > most)
			refuse(d, d->segment_bits.line, "segment-bits %llu: from 0 to %llu",
			       (ull)d->segment_bits.n, (ull)most);
		bits = (unsigned)d->segment_bits.n;
		if (largest >> bits != 0)
			refuse(d, line, "segment %llu: with segment-bits %u from 0 to %u", (ull)largest, bits,
			       (1u << bits) - 1);
	}
	if (bits > space_bits)
		refuse(d, line, "segment %llu: its number has %u bits, an address of the space only %u",
		       (ull)largest, bits, space_bits);
	for (size_t i = 0; i < d->segment_count; i++) {
		check_segment(d, i, d->space_size.n >> bits);
		machine->segment[d->segments[i].number] = d->segments[i].segment;
	}
	segment_table_init(&machine->segments, machine->segment, bits, space_bits - bits);
	machine->translator = &machine->segments.translator;
}

/* ---- Paging ------------------------------------------------------------------------------------- */

static void check_page(const struct description *d, const struct page_line *page, uint64_t pages,
                       uint64_t frames)
{
	if (page->vpn >= pages)
		refuse(d, page->line, "page %llu: the space has %llu, from 0 to %llu", (ull)page->vpn,
		       (ull)pages, (ull)pages - 1);
	if (frames == 0)
		refuse(d, page->line, "frame %llu: memory has none, %llu bytes are less than a page",
		       (ull)page->pfn, (ull)d->memory_size.n);
	if (page->pfn >= frames)
		refuse(d, page->line, "frame %llu: memory has %llu, from 0 to %llu", (ull)page->pfn,
		       (ull)frames, (ull)frames - 1);
	if (page->pfn > PTE_NUMBER_MAX)
		refuse(d, page->line, "frame %llu: an entry holds numbers up to %llu", (ull)page->pfn,
		       (ull)PTE_NUMBER_MAX);
	if (page->asid.line != 0 && d->table.n != TABLE_INVERTED)
		refuse(d, page->line, "'asid' is of inverted tables; this one is %s",
		       names[TABLE][d->table.n]);
	if (page->asid.n > UINT32_MAX)
		refuse(d, page->line, "asid %llu: from 0 to %u", (ull)page->asid.n, UINT32_MAX);
}

/* Whose page: a line of its own says which space runs, and a page without `asid` is of that. */
static uint32_t asid_of(const struct description *d, const struct page_line *page)
{
	return (uint32_t)(page->asid.line != 0 ? page->asid.n : d->asid.n);
}

static pte_t *make_entry(struct machine *machine, uint32_t asid, upage_vpn vpn)
{
	switch (machine->table) {
	case TABLE_LINEAR:
		return linear_table_entry(&machine->linear, vpn);
	case TABLE_RADIX:
		return page_table_make(&machine->radix, vpn);
	case TABLE_INVERTED:
		break;
	}
	return inverted_table_make(&machine->inverted, asid, vpn);
}

static void fill_table(struct machine *machine, const struct description *d, uint64_t pages)
{
	uint64_t frames = d->memory_size.n / d->page_size.n;
	for (size_t i = 0; i < d->page_count; i++) {
		const struct page_line *page = &d->pages[i], *other = d->pages;
		check_page(d, page, pages, frames);
		pte_t *pte = make_entry(machine, asid_of(d, page), page->vpn);
		if (pte == NULL)
			fail(EXIT_WRONG, "out of memory");
		if (atomic_load(pte) != 0) {
			while (other->vpn != page->vpn || asid_of(d, other) != asid_of(d, page))
				other++;
			refuse(d, page->line, "page %llu is given twice; line %u has it", (ull)page->vpn,
			       other->line);
		}
		atomic_store(pte, pte_make(page->pfn, PTE_PRESENT | pte_access_of(page->prot) |
		                                              (page->prot & PROT_WRITE ? PTE_DIRTY : 0)));
	}
}

/* The space that runs: the line's, else that of the first page. */
static uint32_t running(const struct description *d)
{
	if (d->asid.line != 0 || d->page_count == 0)
		return (uint32_t)d->asid.n;
	return asid_of(d, &d->pages[0]);
}

static int make_table(struct machine *machine, const struct description *d, uint64_t pages,
                      unsigned page_shift)
{
	struct table_memory *memory = &machine->memory;
	table_memory_init(memory, host_metadata, host_metadata_release);
	int result;
	switch (machine->table) {
	case TABLE_LINEAR:
		machine->paging = &machine->linear.paging;
		return linear_table_init(&machine->linear, memory, pages, page_shift);
	case TABLE_RADIX:
		machine->paging = &machine->radix.paging;
		return page_table_init(&machine->radix, memory, pages, page_shift, (unsigned)d->levels.n);
	case TABLE_INVERTED:
		break;
	}
	machine->paging = &machine->space.paging;
	result = inverted_table_init(&machine->inverted, memory, d->page_count > 0 ? d->page_count : 1);
	if (result < 0)
		return result;
	return inverted_space_init(&machine->space, &machine->inverted, running(d), pages, page_shift);
}

/* What only one of the tables has. */
static void check_table(const struct description *d, unsigned vpn_bits)
{
	const char *table = names[TABLE][d->table.n];
	const unsigned most = vpn_bits < 1                      ? 1
	                      : vpn_bits < PAGE_TABLE_LEVELS_MAX ? vpn_bits
	                                                         : PAGE_TABLE_LEVELS_MAX;
	if (d->levels.line != 0 && d->table.n != TABLE_RADIX)
		refuse(d, d->levels.line, "'levels' is of radix tables; this one is %s", table);
	if (d->levels.line != 0 && (d->levels.n < 1 || d->levels.n > most))
		refuse(d, d->levels.line, "levels %llu: from 1 to %u, as a page number has %u bits",
		       (ull)d->levels.n, most, vpn_bits);
	if (d->asid.line != 0 && d->table.n != TABLE_INVERTED)
		refuse(d, d->asid.line, "'asid' is of inverted tables; this one is %s", table);
	if (d->asid.n > UINT32_MAX)
		refuse(d, d->asid.line, "asid %llu: from 0 to %u", (ull)d->asid.n, UINT32_MAX);
	const unsigned bits_most = d->levels.line != 0 || d->table.n != TABLE_RADIX
	                                   ? PAGE_TABLE_BITS_MAX
	                                   : PAGE_TABLE_LEVELS_MAX * PAGE_TABLE_NODE_BITS;
	if (d->table.n == TABLE_RADIX && vpn_bits > bits_most)
		refuse(d, d->page_size.line,
		       "page-size %llu: a page number has %u bits; a radix table takes %u%s",
		       (ull)d->page_size.n, vpn_bits, bits_most,
		       d->levels.line != 0 ? "" : ", and 52 with a line 'levels 5'");
}

static void make_paging(struct machine *machine, const struct description *d)
{
	need(d, &d->space_size, "space-size BYTES");
	need(d, &d->page_size, "page-size BYTES");
	need_size(d, &d->page_size, "page-size");
	need_power(d, &d->page_size, "page-size", "so that no bits are the offset");
	need_power(d, &d->space_size, "space-size", "so that no bits are the page number");
	if (d->page_size.n > d->space_size.n)
		refuse(d, d->page_size.line, "page-size %llu: more than the space, which has %llu bytes",
		       (ull)d->page_size.n, (ull)d->space_size.n);
	unsigned page_shift = log2_floor(d->page_size.n);
	uint64_t pages = d->space_size.n >> page_shift;
	check_table(d, log2_floor(pages));
	machine->table = (enum table)d->table.n;
	if (make_table(machine, d, pages, page_shift) < 0)
		refuse(d, d->table.line != 0 ? d->table.line : d->scheme.line,
		       "table %s: %llu entries take more memory than there is; larger pages, or another table",
		       names[TABLE][d->table.n], (ull)pages);
	machine->translator = &machine->paging->translator;
	fill_table(machine, d, pages);
}

void machine_read(struct machine *machine, FILE *file, const char *name)
{
	struct description d = { .file = name };
	read_lines(&d, file);
	if (d.scheme.line == 0)
		refuse(&d, d.lines, "the file ends without a line 'scheme %s'",
		       "base-bounds|segmentation|paging");
	check_words(&d);
	need(&d, &d.memory_size, "memory-size BYTES");
	need_size(&d, &d.memory_size, "memory-size");
	need_size(&d, &d.space_size, "space-size");
	memset(machine, 0, sizeof(*machine));
	machine->scheme = (enum scheme)d.scheme.n;
	if (machine->scheme == SCHEME_BASE_BOUNDS)
		make_base_bounds(machine, &d);
	else if (machine->scheme == SCHEME_SEGMENTATION)
		make_segments(machine, &d);
	else
		make_paging(machine, &d);
	free(d.segments);
	free(d.pages);
}
