/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * print.h - one line of text, put together without stdio
 *
 * Signal context: yes; the line is one write(2), so that lines of threads do not mix. Text
 * past the end of the line is dropped.
 */
#ifndef UPAGE_PRINT_H
#define UPAGE_PRINT_H

#include <stddef.h>
#include <stdint.h>

struct line {
	size_t length;
	char text[512];
};

void print_text(struct line *line, const char *text);
void print_decimal(struct line *line, uint64_t n);
void print_hex(struct line *line, uint64_t n); /* with 0x */
void print_flush(struct line *line, int descriptor);

#endif
