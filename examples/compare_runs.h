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
#include "sqlite_workload.h"
#include "upage.h"

/* What a run is to do. */
struct run {
	bool paged;      /* else natively */
	uint64_t memory; /* of the paged run: bytes of frames */
	struct work work;
};

/* What a run has done. */
struct report {
	struct work_report work;
	uint64_t ns; /* set by compare_runs() */
	/* of the paged run */
	uint64_t memory;                 /* bytes of frames that it really had */
	uint64_t heap_mapped, swap_peak; /* at most: bytes of its heap, slots of swap */
	struct upage_stats stats;        /* at the end */
};

/* It may call die(); the arguments may lie in paged memory. */
typedef void work_function(const struct run *run, struct report *report);

/* The whole of main(): parses the options, runs, compares. Returns the exit status. */
int compare_runs(const char *program_name, work_function *work, int argc, char **argv);

/* For work(): says on stderr, if it is a terminal, what is being done now. */
work_progress show_progress;

#endif /* COMPARE_RUNS_H */
