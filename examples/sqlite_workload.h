/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sqlite_workload.h - an in-memory SQLite database of what this machine has installed
 */
#ifndef SQLITE_WORKLOAD_H
#define SQLITE_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define WALK_ROOT "/usr/share" /* where data comes from if there is no dpkg */

/* What is to be done. */
struct work {
	uint64_t heap;    /* bytes that SQLite's heap is to have, tables and indices together */
	uint64_t rows;    /* file rows to load; 0: go by heap */
	const char *dpkg; /* where dpkg keeps its records */
};

/* What was done. */
struct work_report {
	bool from_dpkg;                    /* the source of the data; else WALK_ROOT */
	uint64_t packages, depends, files; /* rows of the source */
	uint64_t copies, rows, file_rows;  /* loaded in all: the source, several times */
	uint64_t loaded, highwater;        /* bytes of SQLite's heap: after loading, at most */
};

/* Called now and then: bytes of SQLite's heap, and what is being done with it. */
typedef void work_progress(const struct work_report *report, uint64_t heap_bytes,
                           const char *what);

/*
 * Loads copies of the data until there are enough, makes indices, and writes the answers of
 * queries to standard output. SQLite has been shut down on return, so that nothing of it is
 * left in its heap. @progress may be NULL.
 */
void run_workload(const struct work *work, struct work_report *report, work_progress *progress);

/* Of the program: called when the workload fails. A line on stderr, then exit status 1. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif /* SQLITE_WORKLOAD_H */
