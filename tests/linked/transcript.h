/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transcript.h - what calls.c, processes.c and stacks.c share: tests that say what came of them
 *
 * A test says it in lines that are the same on every run; the scripts compare those of a native
 * program with those of a paged one (compare.sh). None of it needs memory of malloc's: only the
 * test itself meets an absent page.
 */
#ifndef UPAGE_TESTS_TRANSCRIPT_H
#define UPAGE_TESTS_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#define PAGE ((size_t)4096)

/* Of functions that do on purpose what no program may: a sanitizer would end them before it is done. */
#define UNSANITIZED __attribute__((no_sanitize("undefined")))

/* ---- Lines ----------------------------------------------------------------------------- */

/* What stands before each line. */
extern const char *test_name;

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line "what ok", or "what WRONG". */
void check(const char *what, bool right);

/* The setting up of a test: ends the program, with a line, if @value is -1. Return: @value. */
long must(const char *what, long value);
/* A call that returns -1 when it fails; and whatever else has to be so. */
#define MUST(expression) must(#expression, (long)(expression))
#define MUST_BE(condition) ((void)must(#condition, (condition) ? 0 : -1))

/* ---- Tests ----------------------------------------------------------------------------- */

struct test {
	const char *name; /* NULL: the end of the list */
	void (*run)(void);
};

/* Runs the one named @only, or all of them if that is NULL. One that hangs ends the program. */
void run_tests(const struct test *list, const char *only);

/* ---- Shorthands ------------------------------------------------------------------------ */

/* The path of this program. */
const char *self_path(void);

void pause_ms(long milliseconds);

/* How many descriptors of the program's are open. */
int count_descriptors(void);

#endif
