/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * processes.h - what the files of processes.c share
 */
#ifndef UPAGE_TESTS_PROCESSES_H
#define UPAGE_TESTS_PROCESSES_H

#include <stdint.h>
#include <sys/types.h>

#include "transcript.h"

extern const struct test fork_tests[], execute_tests[], end_tests[];

extern size_t size; /* bytes that each of five processes has */

int wait_for(pid_t child);  /* Return: its status */
int list_descriptors(void); /* as count_descriptors, and the library's too */

/* Memory that tells whose it is. */
uint64_t word_of(unsigned who, size_t i);
void write_memory(uint64_t *memory, size_t bytes, unsigned who);
size_t wrong_words(const uint64_t *memory, size_t bytes, unsigned who);
uint64_t *new_memory(size_t bytes, unsigned who);

int inherited(const char *number); /* what the executed program of a test does */

#endif
