/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guests.h - what the files of guests.c share
 */
#ifndef UPAGE_TESTS_GUESTS_H
#define UPAGE_TESTS_GUESTS_H

#include <signal.h>
#include <time.h>

#include "transcript.h"

extern const struct test fault_tests[], blocking_tests[], storm_tests[], job_tests[];

void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags);

/* A timer that sends @signal to the process every @microseconds. */
timer_t timer_begin(int signal, long microseconds);

/* A new directory, where temporary files go. Return: its path, until the next call. */
char *make_directory(void);

/* What became of a child, as a line. */
void say_status(const char *what, int status);

#endif
