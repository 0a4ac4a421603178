/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base_bounds.h"

static enum upage_cause base_bounds_translate(const struct translator *translator, uint64_t address,
                                              int access, uint64_t *physical)
{
	const struct base_bounds *registers = (const struct base_bounds *)translator;
	(void)access;
	if (address >= registers->bounds)
		return UPAGE_CAUSE_BOUNDS;
	*physical = registers->base + address;
	return UPAGE_CAUSE_NONE;
}

static const struct translator_ops base_bounds_ops = { "base-bounds", base_bounds_translate };

int base_bounds_init(struct base_bounds *registers, uint64_t base, uint64_t bounds)
{
	if (bounds > 0 && base > UINT64_MAX - (bounds - 1))
		return UPAGE_EOVERFLOW;
	*registers = (struct base_bounds){ { &base_bounds_ops }, base, bounds };
	return 0;
}
