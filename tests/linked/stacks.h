/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stacks.h - what the files of stacks.c share
 */
#ifndef UPAGE_TESTS_STACKS_H
#define UPAGE_TESTS_STACKS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define PAGE ((size_t)4096)

struct stack_test {
	const char *name;
	void (*run)(void);
};
extern const struct stack_test storm_tests[], signal_tests[], context_tests[];

extern int timer_signals; /* that a storm has to bring */

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check(const char *what, bool right);
void must(const char *what, bool right);
#define MUST(condition) must(#condition, (condition))

/* Pages of malloc's, full of 0x5a. */
void *pages(size_t count);

/* A thread that forces memory out, over and over, until it is told to stop. */
void evict_begin(void *memory, size_t length);
void evict_end(void);

void pause_ms(long milliseconds);

/* A timer that sends @signal to the calling thread every @microseconds. */
timer_t timer_begin(int signal, long microseconds, int value);

void catch_signal(int signal, void (*handler)(int, siginfo_t *, void *), int flags);

#endif
