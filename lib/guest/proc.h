/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * proc.h - what /proc shows of a whole program's memory
 *
 * The kernel knows frames here and there. What it says of that is replaced
 * by what the space's mappings and entries say; of foreign mappings, and of all that has nothing to
 * do with memory, its own words are handed on.
 *
 * Locking: whole.h's. Signal context: that of guest/call.h.
 * Source: proc(5); fs/proc/task_mmu.c of Linux.
 */
#ifndef UPAGE_GUEST_PROC_H
#define UPAGE_GUEST_PROC_H

#include <stdbool.h>
#include <stddef.h>

#include "print.h"

#define PROC_SCRATCH 16384 /* bytes that a writer needs beside the stream */

/* Writes a file of /proc/self, or of a thread there, which the kernel has at @path. Return: 0 or a
 * negated errno value. */
typedef int proc_writer(struct stream *stream, const char *path, char *scratch);

/* The writer of a file, by its name under /proc/self; NULL: it is the kernel's. */
proc_writer *proc_find(const char *name);

#endif
