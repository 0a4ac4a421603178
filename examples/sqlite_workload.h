/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sqlite_workload.h - an in-memory SQLite database of what this machine has installed
 */
#ifndef SQLITE_WORKLOAD_H
#define SQLITE_WORKLOAD_H

#include "compare_runs.h"

/*
 * Loads copies of the data until SQLite's heap is as large as run->heap, makes indices, and
 * writes the answers of queries to standard output. SQLite has been shut down on return, so
 * that nothing of it is left in its heap. @sample, if not NULL, is called now and then.
 */
void run_workload(const struct run *run, struct report *report,
                  void (*sample)(struct report *report));

#endif /* SQLITE_WORKLOAD_H */
