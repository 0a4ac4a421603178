/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compare_runs.h - runs a workload twice, natively and in paged memory, and compares the two
 *
 * The program is its own worker: compare_runs() starts it again for each run, in a fresh
 * process that calls work(), and reads in /proc how much memory the process has. The run's
 * results, which it writes to standard output, go to a file. After both runs it compares the
 * files byte by byte and prints a summary.
 */
#ifndef COMPARE_RUNS_H
#define COMPARE_RUNS_H

#include <stdbool.h>
#include <stdint.h>
#include "upage.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define WALK_ROOT "/usr/share" /* where data comes from if there is no dpkg */

/* What a run is to do. */
struct run {
	bool paged;       /* else natively */
	uint64_t memory;  /* of the paged run: bytes of frames */
	uint64_t heap;    /* bytes that SQLite's heap is to have, tables and indices together */
	uint64_t rows;    /* file rows to load: the native run's; 0: go by heap */
	const char *dpkg; /* where dpkg keeps its records */
};

/* What a run has done. */
struct report {
	bool from_dpkg;                    /* the source of the data; else WALK_ROOT */
	uint64_t packages, depends, files; /* rows of the source */
	uint64_t copies, rows, file_rows;  /* loaded in all: the source, several times */
	uint64_t loaded, highwater;        /* bytes of SQLite's heap: after loading, at most */
	uint64_t ns;                       /* set by compare_runs() */
	/* of the paged run */
	uint64_t memory;                 /* bytes of frames that it really had */
	uint64_t heap_mapped, swap_peak; /* at most: bytes of its heap, slots of swap */
	struct upage_stats stats;        /* at the end */
};

typedef void work_function(const struct run *run, struct report *report);

/* The whole of main(): parses the options, runs, compares. Returns the exit status. */
int compare_runs(const char *program_name, work_function *work, int argc, char **argv);

/* For work(): a line on stderr, then exit status 1. Arguments may lie in paged memory. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* For work(): says on stderr, if it is a terminal, what is being done now. */
void show_progress(const struct report *report, uint64_t heap_bytes, const char *what);

#endif /* COMPARE_RUNS_H */
