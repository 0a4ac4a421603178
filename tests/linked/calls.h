/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls.h - what the cases of calls.c share: evicted memory, and calls that are told of
 *
 * A case makes system calls whose buffers, structures, vectors and strings all come from
 * malloc and were forced out of memory right before the call. It says what came of it in lines
 * that are the same on every run; check-calls.sh compares those of a program with an ordinary
 * malloc and of one whose malloc lives in paged memory.
 *
 * What the harness itself needs lies in static memory or on the stack, so that only the call
 * in question meets an absent page.
 */
#ifndef UPAGE_TESTS_CALLS_H
#define UPAGE_TESTS_CALLS_H

#include <errno.h>
#include <stdint.h>
#include <sys/types.h>

#include "transcript.h"

#define MIB ((size_t)1 << 20)

struct call_case {
	const char *name;
	void (*run)(void);
	bool needed; /* cannot give what it gives natively without interception */
};

#define CASE(function) { #function, function, true }
/* One that may pass without interception too: errors found before any memory is looked at. */
#define EASY_CASE(function) { #function, function, false }

/* Each ends with one without a name. */
extern const struct call_case file_cases[], descriptor_cases[], path_cases[], socket_cases[],
        message_cases[], wait_cases[], time_cases[], signal_cases[], thread_cases[],
        process_cases[], ipc_cases[], error_cases[];

/* ---- The transcript -------------------------------------------------------------------- */

/* A line with a result, and errno's name if it is -1. Return: the result; errno unchanged. */
long result(const char *what, long value);

/* Forces all of the case's memory out, makes a call, and says its result. The expression must
 * not read that memory itself. */
#define CALL(what, expression) \
	({                                                  \
		push_out();                                 \
		errno = 0;                                  \
		result(what, (long)(expression));           \
	})

/* The same with a result that differs from run to run: only whether it is -1. */
#define CALL_OPAQUE(what, expression) \
	({                                                  \
		push_out();                                 \
		errno = 0;                                  \
		long value_ = (long)(expression);           \
		result(what, value_ == -1 ? -1 : 0);        \
		value_;                                     \
	})

/* A line with a hash and the first bytes. */
void dump(const char *what, const void *bytes, size_t length);

uint64_t hash(const void *bytes, size_t length);

/* ---- Memory ---------------------------------------------------------------------------- */

/* Fills memory with bytes that differ from place to place and from seed to seed. */
void fill(void *memory, size_t length, unsigned seed);

/* A block of malloc's with pages of its own, laid across a page boundary where it is long
 * enough; 0x5a in it, and around it a margin that is looked at when the case ends. Freed by the
 * harness when the case has ended. */
void *evicted(size_t size);
void *evicted_zero(size_t size);
void *evicted_copy(const void *from, size_t size);
char *evicted_string(const char *text);
#define EVICTED(type) ((type *)evicted_zero(sizeof(type)))
#define EVICTED_ARRAY(type, count) ((type *)evicted_zero(sizeof(type) * (count)))

/* A word of four bytes, as for the lengths of addresses. */
int *evicted_int(int value);

/* Whole pages of malloc's. */
char *evicted_pages(size_t pages);

/* The last @length bytes before memory that may not be accessed; with @protection too. */
char *evicted_edge(size_t length);
char *evicted_protected(size_t pages, int protection);

/* Addresses where nothing is. */
void *unmapped(void);
extern void *const volatile bad_address, *const volatile kernel_address;
#define BAD bad_address
#define KERNEL kernel_address

/* Forces every block of this case out of memory; or any memory, in whole pages. */
void push_out(void);
void push_out_range(void *address, size_t length);

/* Pushes the case's memory out, touches it and pushes it out once more, for @milliseconds. */
void churn(int milliseconds);

/* ---- Shorthands ------------------------------------------------------------------------ */

/* A file in the current directory, which is a new one, with bytes of fill(). */
int make_file(const char *name, size_t size, unsigned seed);

/* A line with the hash of a whole file, read into static memory. */
void dump_file(const char *what, const char *name);

/* Runs @function in a child. Return: what wait gives. */
int in_child(void (*function)(void));

#endif
