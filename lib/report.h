/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.h - the statistics at the end: of a pool, and of the processes that it was forked to
 *
 * Where statistics were asked for, every process of the tree counts in a record of its own, in
 * memory that all share: what a process counted is there even after SIGKILL. The process that
 * made the pool is the first; it writes the records of all when it ends, once. The others write
 * only where the name of the file has %p in it, each its own numbers. A file's relative name is
 * relative to the directory in which the pool was made. A program that is executed inside `upage
 * run` has a record of its own, in the same area; what the first process executes is written by
 * the last program in it, beginning with the first one's record.
 *
 * There is room for RECORDS processes. Those that come later count for themselves, and are added
 * to one more record when they end, as "merged" in number; those of them that had not ended so
 * are "processes_dropped".
 *
 * What became of a process ("ended"):
 *   exit     it ended by exit or _exit, or gave the pool up
 *   signal   by the signal "signal", which we saw
 *   exec     it runs another program now, or did when it ended
 *   killed   it is gone, without a word
 *   running  it has not ended yet
 * Of one that was killed, memory and host are as they were up to a thousand page faults ago, and
 * its time is that until its last one.
 *
 * Locking: one lock around whatever is written and around the list of reports, held with signals
 * as they are, since a file may be a pipe. It knows its thread: a signal handler that comes while
 * its thread writes, and ends the process, is not held up.
 * Signal context: all but report_open and report_close. Nothing of the C library but memcpy and
 * strlen.
 */
#ifndef UPAGE_REPORT_H
#define UPAGE_REPORT_H

#include "physical.h"

/* For a new pool whose configuration is set: counting starts. Return: 0 or UPAGE_ENOMEM. */
int report_open(upage_pool *pool);

/* Writes what is due, and forgets the pool. */
void report_close(upage_pool *pool);

/* Notes the state of memory for others to read: now and then. */
void report_sample(upage_pool *pool);

/* This process ends, by exit or by a signal: writes what is due of every pool. Any number of calls,
 * from any threads: the first one writes, and the others return when it has. A process that
 * only borrows the memory (vfork) has nothing to write. */
void report_exit(void);
void report_signal(int number);

/* This process is about to run another program, which counts in this tree too if it is @followed;
 * or, @begins false, could not. */
void report_exec(bool begins, bool followed);

/* What that program takes over of this one. */
struct report_legacy {
	int area, terminal; /* descriptors, or -1 */
	bool first;         /* it is that of the first process */
};

/* Leaves these descriptors open over an execve, or, @begins false, does not any longer. */
void report_hand_over(struct report_legacy *out, bool begins);

/* Before the pool is made: it is of the tree from which these came. */
void report_inherit(const struct report_legacy *from);

/* Around a fork; in the child too. Rank: outside of all locks of pools and spaces. */
void report_fork_begin(void);
void report_fork_end(void);

/* In a child with a copy of the pool, as its only thread: counts from 0, as a process of its own.
 * The locks of the pool are free. Leaves a descriptor to host_drop_abandoned(). */
void report_fork_child(upage_pool *pool);

#endif
