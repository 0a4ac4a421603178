/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbose.h"

#include <stdarg.h>
#include <stddef.h>

#include "host.h"
#include "print.h"
#include "syscall.h"

_Atomic int verbose_file = -1;
static const char *name;

void verbose_begin(int descriptor, const char *program)
{
	name = program;
	if (host_keep(&verbose_file, descriptor) < 0)
		atomic_store(&verbose_file, -1);
}

static void line_begin(struct line *line)
{
	line->length = 0;
	print_text(line, "upage: ");
	print_decimal(line, (uint64_t)syscall_1(SYS_getpid, 0));
	print_text(line, " ");
	print_text(line, name);
	print_text(line, ": ");
}

void verbose_say(const char *word, ...)
{
	struct line line;
	va_list words;
	if (atomic_load(&verbose_file) < 0)
		return;
	line_begin(&line);
	va_start(words, word);
	for (; word != NULL; word = va_arg(words, const char *))
		print_text(&line, word);
	va_end(words);
	print_flush(&line, atomic_load(&verbose_file));
}

#define CALLS_SAID 1024

void verbose_refused(long number, const char *refused)
{
	static _Atomic uint64_t said[CALLS_SAID / 64];
	struct line line;
	if (atomic_load(&verbose_file) < 0)
		return;
	unsigned long bit = (unsigned long)number < CALLS_SAID ? (unsigned long)number : CALLS_SAID - 1;
	if (atomic_fetch_or(&said[bit / 64], UINT64_C(1) << (bit % 64)) >> (bit % 64) & 1)
		return;
	line_begin(&line);
	print_text(&line, "system call ");
	if (refused != NULL)
		print_text(&line, refused);
	else
		print_decimal(&line, (uint64_t)number);
	print_text(&line, refused != NULL ? " is refused: ENOSYS" : " is unknown: ENOSYS");
	print_flush(&line, atomic_load(&verbose_file));
}
