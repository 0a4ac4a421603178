/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stacks.h - what the files of stacks.c share
 */
#ifndef UPAGE_TESTS_STACKS_H
#define UPAGE_TESTS_STACKS_H

#include <signal.h>
#include <time.h>

#include "transcript.h"

extern const struct test storm_tests[], signal_tests[], context_tests[];

extern int timer_signals; /* that a storm has to bring */

/* Pages of malloc's, full of 0x5a. */
void *pages(size_t count);

/* A thread that forces memory out, over and over, until it is told to stop. */
void evict_begin(void *memory, size_t length);
void evict_end(void);

/* The same with an alternate stack, from pages(). */
void *alternate_begin(size_t size);
void alternate_end(void);

/* A timer that sends @signal to the calling thread every @microseconds. */
timer_t timer_begin(int signal, long microseconds, int value);

void catch_signal(int signal, void (*handler)(int, siginfo_t *, void *), int flags);

#endif
