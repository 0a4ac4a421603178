/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * processes.h - what the files of processes.c share
 */
#ifndef UPAGE_TESTS_PROCESSES_H
#define UPAGE_TESTS_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#define PAGE ((size_t)4096)

struct process_test {
	const char *name;
	void (*run)(void);
};
extern const struct process_test fork_tests[], execute_tests[], end_tests[];

extern size_t size; /* bytes that each of five processes has */
extern char self_path[];

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void must(const char *what, bool right);
#define MUST(condition) must(#condition, (condition))

void pause_ms(long milliseconds);
int wait_for(pid_t child); /* Return: its status */
int count_descriptors(void); /* those that are the program's */
int list_descriptors(void);  /* the library's too */

/* Memory that tells whose it is. */
uint64_t word_of(unsigned who, size_t i);
void write_memory(uint64_t *memory, size_t bytes, unsigned who);
size_t wrong_words(const uint64_t *memory, size_t bytes, unsigned who);
uint64_t *new_memory(size_t bytes, unsigned who);

int inherited(const char *number); /* what the executed program of a test does */

#endif
