/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "print.h"

#include <stdlib.h>

#include "compiler.h"
#include "syscall.h"

void print_text(struct line *line, const char *text)
{
	while (*text != '\0' && line->length < sizeof(line->text) - 1)
		line->text[line->length++] = *text++;
}

static void print_number(struct line *line, uint64_t n, unsigned base)
{
	char digits[24];
	size_t i = sizeof(digits);
	digits[--i] = '\0';
	do {
		digits[--i] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n != 0);
	print_text(line, digits + i);
}

void print_decimal(struct line *line, uint64_t n)
{
	print_number(line, n, 10);
}

void print_hex(struct line *line, uint64_t n)
{
	print_text(line, "0x");
	print_number(line, n, 16);
}

void print_flush(struct line *line, int descriptor)
{
	line->text[line->length] = '\n';
	syscall_3(SYS_write, descriptor, line->text, line->length + 1);
	line->length = 0;
}

#ifdef UPAGE_DEBUG
void invariant_broken(const char *file, int line_number, const char *what)
{
	struct line line = { 0 };
	print_text(&line, "upage: broken invariant: ");
	print_text(&line, what);
	print_text(&line, " at ");
	print_text(&line, file);
	print_text(&line, ":");
	print_decimal(&line, (uint64_t)line_number);
	print_flush(&line, 2);
	abort();
}
#endif
