/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "segment.h"

static enum upage_cause segment_translate(const struct translator *translator, uint64_t address,
                                          int access, uint64_t *physical)
{
	const struct segment_table *table = (const struct segment_table *)translator;
	uint64_t number = segment_number(table, address);
	if (number >> table->number_bits != 0)
		return UPAGE_CAUSE_BOUNDS;
	const struct segment *segment = &table->segments[number];
	if (!segment->present)
		return UPAGE_CAUSE_NO_SEGMENT;
	uint64_t last = segment_last_offset(table->offset_bits), offset = address & last;
	/* From the end that does not move: 0 is its first byte, whichever way it grows. */
	uint64_t distance = segment->grows_down ? last - offset : offset;
	if (distance >= segment->bounds)
		return UPAGE_CAUSE_BOUNDS;
	enum upage_cause cause = translate_check(segment->prot, access);
	if (cause == UPAGE_CAUSE_NONE)
		*physical = segment->grows_down ? segment->base - 1 - distance
		                                : segment->base + distance;
	return cause;
}

static const struct translator_ops segment_ops = { "segmentation", segment_translate };

int segment_table_init(struct segment_table *table, const struct segment *segments,
                       unsigned number_bits, unsigned offset_bits)
{
	if (number_bits >= 64 || offset_bits > 64 || number_bits + offset_bits > 64)
		return UPAGE_EINVAL;
	for (uint64_t i = 0; i >> number_bits == 0; i++)
		if (segments[i].present && !segment_is_valid(&segments[i], offset_bits))
			return UPAGE_EINVAL;
	*table = (struct segment_table){ { &segment_ops }, segments, number_bits, offset_bits };
	return 0;
}
