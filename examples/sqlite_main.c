/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sqlite_main.c - the database of sqlite_heap, in a program that knows nothing of paging
 *
 * The same workload, and nothing more: what malloc() is, the linker decides. Compared with
 * sqlite_heap.c, the pool, the space, the heap and SQLite's seven allocator functions are gone.
 *
 * Natively: cc -D_GNU_SOURCE -o sqlite_native sqlite_main.c sqlite_workload.c -lsqlite3
 * Paged:    the same line with -o sqlite_linked, and $(pkg-config --libs upage-malloc)
 * Run:      UPAGE_OPTIONS=memory=16M,stats ./sqlite_linked 64
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "sqlite_workload.h"

#define ROWS_PER_MIB 2200 /* with indices, and what the queries need */

void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("sqlite: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

int main(int argc, char **argv)
{
	int mib = argc > 1 ? atoi(argv[1]) : 40;
	const char *dpkg = argc > 2 ? argv[2] : "/var/lib/dpkg";

	if (argc > 3 || mib < 1 || mib > 65536) {
		fprintf(stderr, "usage: %s [MIB [DPKG]]: the heap's size, where dpkg keeps its"
		                " records\n", argv[0]);
		return 2;
	}
	/* As many rows, not as much heap: an allocator's own rounding must not change the results. */
	struct work work = { .rows = (uint64_t)mib * ROWS_PER_MIB, .dpkg = dpkg };
	struct work_report report = { 0 };

	run_workload(&work, &report, NULL);
	return 0;
}
