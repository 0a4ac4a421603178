/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * explain.c - what the translators do, said
 *
 * The steps are those of base_bounds.c, segment.c and paging.c, with the numbers that their own
 * functions find. A step that ends in a fault is the last.
 */
#include "explain.h"

#include <inttypes.h>
#include <stdarg.h>

static bool in_hex;

/* One of the last 8 numbers, as text. */
static const char *number(uint64_t n)
{
	static char texts[8][24];
	static unsigned next;
	char *text = texts[next++ % 8];
	snprintf(text, sizeof(texts[0]), in_hex ? "0x%" PRIx64 : "%" PRIu64, n);
	return text;
}

__attribute__((format(printf, 2, 3))) static void step(const char *what, const char *format, ...)
{
	va_list arguments;
	printf("  %-10s ", what);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

/* The lowest @bits of @n in binary, behind a space if there are any. */
static const char *binary(char text[66], uint64_t n, unsigned bits)
{
	char *end = text;
	if (bits > 0)
		*end++ = ' ';
	while (bits > 0)
		*end++ = n >> --bits & 1 ? '1' : '0';
	*end = '\0';
	return text;
}

/* An address is two fields. */
static void explain_split(uint64_t address, const char *what, uint64_t top, unsigned top_bits,
                          uint64_t offset, unsigned offset_bits)
{
	char high[66], low[66];
	step("address", "%s =%s%s in binary: the top %u bits are the %s, %s; the low %u the offset, %s",
	     number(address), binary(high, top, top_bits), binary(low, offset, offset_bits), top_bits,
	     what, number(top), offset_bits, number(offset));
}

static void explain_outside(uint64_t address, uint64_t last)
{
	step("address", "%s is past the end of the space, whose last address is %s", number(address),
	     number(last));
}

static const char *prot_text(char text[4], int prot)
{
	snprintf(text, 4, "%c%c%c", prot & PROT_READ ? 'r' : '-', prot & PROT_WRITE ? 'w' : '-',
	         prot & PROT_EXEC ? 'x' : '-');
	return text;
}

/* Return: whether it goes on. */
static bool explain_access(int prot, int access)
{
	char is[4];
	bool allowed = translate_check(prot, access) == UPAGE_CAUSE_NONE;
	step("access", "%s%s%s under prot %s: %s", access & PROT_READ ? "r" : "",
	     access & PROT_WRITE ? "w" : "", access & PROT_EXEC ? "x" : "", prot_text(is, prot),
	     allowed ? "allowed" : "not allowed");
	return allowed;
}

static void explain_base_bounds(const struct base_bounds *registers, uint64_t address)
{
	bool inside = address < registers->bounds;
	step("bounds", "%s %s %s: %s", number(address), inside ? "<" : ">=", number(registers->bounds),
	     inside ? "inside" : "outside");
	if (inside)
		step("physical", "base %s + %s = %s", number(registers->base), number(address),
		     number(registers->base + address));
}

/* ---- Segments ---------------------------------------------------------------------------------- */

static void explain_segment(const struct segment *segment, uint64_t offset, uint64_t part, int access)
{
	uint64_t below = part - offset, base = segment->base, bounds = segment->bounds;
	bool down = segment->grows_down, inside = down ? below <= bounds : offset < bounds;
	if (down) {
		step("offset", "%s - %s, the part of a segment = -%s", number(offset), number(part),
		     number(below));
		step("bounds", "%s %s %s: %s", number(below), inside ? "<=" : ">", number(bounds),
		     inside ? "inside" : "outside");
	} else {
		step("bounds", "%s %s %s: %s", number(offset), inside ? "<" : ">=", number(bounds),
		     inside ? "inside" : "outside");
	}
	if (!inside || !explain_access(segment->prot, access))
		return;
	if (down)
		step("physical", "base %s - %s = %s", number(base), number(below), number(base - below));
	else
		step("physical", "base %s + %s = %s", number(base), number(offset), number(base + offset));
}

static void explain_segments(const struct segment_table *table, uint64_t address, int access)
{
	char label[24], prot[4];
	uint64_t n = segment_number(table, address);
	uint64_t offset = address & segment_last_offset(table->offset_bits);
	if (n >> table->number_bits != 0) {
		explain_outside(address, segment_last_offset(table->number_bits + table->offset_bits));
		return;
	}
	explain_split(address, "segment", n, table->number_bits, offset, table->offset_bits);
	const struct segment *segment = &table->segments[n];
	snprintf(label, sizeof(label), "segment %s", number(n));
	if (!segment->present) {
		step(label, "there is none");
		return;
	}
	step(label, "base %s, bounds %s, grows %s, prot %s", number(segment->base),
	     number(segment->bounds), segment->grows_down ? "down" : "up",
	     prot_text(prot, segment->prot));
	explain_segment(segment, offset, segment_last_offset(table->offset_bits) + 1, access);
}

/* ---- Page tables ------------------------------------------------------------------------------- */

/* Of a page table each function returns the entry that it found, or 0. */

static uint64_t explain_entry(const char *label, const char *where, uint64_t pte)
{
	char prot[4];
	if (pte & PTE_PRESENT)
		step(label, "%sframe %s, prot %s", where, number(pte_number(pte)),
		     prot_text(prot, pte_prot(pte)));
	else
		step(label, "%sempty: no frame", where);
	return pte;
}

static uint64_t explain_linear(const struct linear_table *table, upage_vpn vpn)
{
	char label[32];
	snprintf(label, sizeof(label), "entry %s", number(vpn));
	return explain_entry(label, "", atomic_load(linear_table_entry(table, vpn)));
}

static uint64_t explain_radix(const struct page_table *table, upage_vpn vpn)
{
	unsigned depth = page_table_depth(table, vpn);
	for (unsigned level = 0; level < depth; level++) {
		char label[24], where[160], bits[66];
		size_t index = page_table_index(table, level, vpn);
		snprintf(label, sizeof(label), "level %u", level + 1);
		snprintf(where, sizeof(where), "VPN bits%s, index %s: ",
		         binary(bits, index, table->bits[level]), number(index));
		if (level == table->levels - 1)
			return explain_entry(label, where, atomic_load(page_table_walk(table, vpn)));
		step(label, "%s%s", where, level + 1 < depth ? "a table" : "empty: no table");
	}
	return 0;
}

static uint64_t explain_inverted(const struct inverted_space *space, upage_vpn vpn)
{
	const struct inverted_table *table = space->table;
	uint32_t bucket = inverted_table_hash(table, space->asid, vpn);
	step("hash", "of asid %s and VPN %s: bucket %s of %s", number(space->asid), number(vpn),
	     number(bucket), number(UINT64_C(1) << table->bucket_bits));
	for (uint32_t at = table->buckets[bucket]; at != 0; at = table->entries[at - 1].next) {
		const struct inverted_entry *entry = &table->entries[at - 1];
		char label[24], where[80];
		snprintf(label, sizeof(label), "entry %s", number(at - 1));
		snprintf(where, sizeof(where), "asid %s, VPN %s: ", number(entry->asid),
		         number(entry->vpn));
		if (entry->asid == space->asid && entry->vpn == vpn)
			return explain_entry(label, where, atomic_load(&entry->pte));
		step(label, "%sanother page's", where);
	}
	step("chain", "ends: no frame");
	return 0;
}

static void explain_paging(const struct machine *machine, uint64_t address, int access)
{
	const struct paging *paging = machine->paging;
	upage_vpn vpn = paging_vpn(paging, address);
	uint64_t offset = paging_offset(paging, address), size = UINT64_C(1) << paging->page_shift;
	if (address > paging->last) {
		explain_outside(address, paging->last);
		return;
	}
	explain_split(address, "VPN", vpn, log2_ceiling(paging_last_vpn(paging) + 1), offset,
	              paging->page_shift);
	uint64_t value = machine->table == TABLE_LINEAR  ? explain_linear(&machine->linear, vpn)
	                 : machine->table == TABLE_RADIX ? explain_radix(&machine->radix, vpn)
	                                                 : explain_inverted(&machine->space, vpn);
	if (!(value & PTE_PRESENT) || !explain_access(pte_prot(value), access))
		return;
	step("physical", "frame %s x page size %s + offset %s = %s", number(pte_number(value)),
	     number(size), number(offset), number(pte_number(value) * size + offset));
}

void explain(const struct machine *machine, uint64_t address, int access, bool hex)
{
	in_hex = hex;
	if (machine->scheme == SCHEME_BASE_BOUNDS)
		explain_base_bounds(&machine->base_bounds, address);
	else if (machine->scheme == SCHEME_SEGMENTATION)
		explain_segments(&machine->segments, address, access);
	else
		explain_paging(machine, address, access);
}
