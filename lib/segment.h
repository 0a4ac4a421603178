/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * segment.h - segmentation: several base and bounds pairs, picked by the top bits of an address
 *
 *      address = segment number, offset      the space is cut into 2^number_bits equal parts
 *      grows up:    physical = base + offset,            if offset < bounds
 *      grows down:  physical = base - (part - offset),   if part - offset <= bounds
 *
 * A segment that grows down ends at the top of its part, and its base is the physical address
 * just past its end: the first byte below the top is just below the base.
 *
 * Invariants (segment_is_valid): bounds <= part; a segment lies within 2^64 bytes of memory.
 *
 * Signal context: yes. Source: OSTEP ch. 16.
 */
#ifndef UPAGE_SEGMENT_H
#define UPAGE_SEGMENT_H

#include <stdbool.h>

#include "translate.h"

struct segment {
	uint64_t base;   /* physical address of its first byte, or just past its last if it grows down */
	uint64_t bounds; /* bytes                            */
	int prot;        /* PROT_*                           */
	bool present;    /* or there is none of this number  */
	bool grows_down;
};

struct segment_table {
	struct translator translator; /* first                     */
	const struct segment *segments; /* [2^number_bits], the caller's */
	unsigned number_bits;
	unsigned offset_bits;
};

/**
 * segment_table_init - a space of 2^(number_bits + offset_bits) bytes, cut into 2^number_bits parts
 * Return: 0, UPAGE_EINVAL (more than 64 bits of address, or a segment that is not valid).
 */
int segment_table_init(struct segment_table *table, const struct segment *segments,
                       unsigned number_bits, unsigned offset_bits);

/* Of 2^bits bytes, the offset of the last; there may be 64 bits. */
static inline uint64_t segment_last_offset(unsigned bits)
{
	return bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX;
}

/* Which segment an address is in; 2^number_bits and more: none, it is outside the space. */
static inline uint64_t segment_number(const struct segment_table *table, uint64_t address)
{
	return table->offset_bits < 64 ? address >> table->offset_bits : 0;
}

/* The physical address of its first byte. */
static inline uint64_t segment_start(const struct segment *segment)
{
	return segment->grows_down ? segment->base - segment->bounds : segment->base;
}

static inline bool segment_is_valid(const struct segment *segment, unsigned offset_bits)
{
	if (segment->bounds == 0)
		return true;
	return segment->bounds - 1 <= segment_last_offset(offset_bits) &&
	       (segment->grows_down ? segment->bounds <= segment->base
	                            : segment->base <= UINT64_MAX - (segment->bounds - 1));
}

#endif
