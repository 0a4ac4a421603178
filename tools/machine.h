/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * machine.h - the description of a machine that translates addresses, made into translators
 *
 * A file of lines, `word value...`; '#' begins a comment. What cannot be is refused, with the number
 * of the line, the word and what would be right: whatever comes out of here can translate.
 */
#ifndef UPAGE_MACHINE_H
#define UPAGE_MACHINE_H

#include <stdio.h>

#include "base_bounds.h"
#include "inverted_table.h"
#include "linear_table.h"
#include "page_table.h"
#include "segment.h"

enum { EXIT_WRONG = 2 }; /* usage, the machine, or an address is in error */

#define SEGMENT_BITS_MAX 8

enum scheme { SCHEME_BASE_BOUNDS, SCHEME_SEGMENTATION, SCHEME_PAGING };
enum table { TABLE_LINEAR, TABLE_RADIX, TABLE_INVERTED };

struct machine {
	enum scheme scheme;
	enum table table;         /* of paging                           */
	const struct translator *translator;
	const struct paging *paging;   /* of paging, whatever the table  */
	struct base_bounds base_bounds;
	struct segment_table segments;
	struct segment segment[1 << SEGMENT_BITS_MAX];
	struct linear_table linear;
	struct page_table radix;
	struct inverted_table inverted;
	struct inverted_space space;   /* the one that runs              */
	struct table_memory memory;    /* of the tables                  */
};

/* Reads @file, called @name in messages; ends the process where it is in error. */
void machine_read(struct machine *machine, FILE *file, const char *name);

/* Decimal, or hexadecimal with 0x. Return: 0, UPAGE_EOPTION (no number), UPAGE_EOVERFLOW. */
int machine_number(const char *text, uint64_t *number);

/* PROT_* of letters, in any order: r, w, x, and - for none. Return: whether they are. */
bool machine_prot(const char *text, int *prot);

#endif
