/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base_bounds.h - dynamic relocation: an address space is one run of physical memory
 *
 *      physical = base + address,  if address < bounds
 *
 * Two registers, exact to the byte; one permission for all, as the hardware of that time had.
 *
 * Invariant: base + bounds <= 2^64. Signal context: yes. Source: OSTEP ch. 15.
 */
#ifndef UPAGE_BASE_BOUNDS_H
#define UPAGE_BASE_BOUNDS_H

#include "translate.h"

struct base_bounds {
	struct translator translator; /* first */
	uint64_t base;   /* physical address of address 0 */
	uint64_t bounds; /* bytes                         */
};

/* Return: 0, UPAGE_EOVERFLOW (base + bounds > 2^64). */
int base_bounds_init(struct base_bounds *registers, uint64_t base, uint64_t bounds);

#endif
