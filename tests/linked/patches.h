/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * patches.h - what the files of patches.c share
 */
#ifndef UPAGE_TESTS_PATCHES_H
#define UPAGE_TESTS_PATCHES_H

#include <stddef.h>

#include "transcript.h"

extern const struct test patch_code_tests[], patch_signal_tests[];

/* A place of its own where a system call is made, as a function of its arguments. */
typedef long place(long a, long b, long c);
#define PLACE_BYTES 16
#define PLACES (PAGE / PLACE_BYTES - 1)

/* A page of code of a file, at @address or anywhere (NULL): in each place a call of @number, and then
 * @end, of 4 bytes at most. */
char *map_places(char *address, long number, const char *end);
#define RETURN "\xc3"

static inline char *place_at(char *code, unsigned i)
{
	return code + PLACE_BYTES * (i + 1);
}

/* Often enough that it is no more than a jump. */
#define OFTEN 100

/* Calls the place, often. Return: how often that was not @right. */
int call_often(char *at, long a, long b, long c, long right);

/* Whether what a program sees there is as in its file. */
bool is_whole(const char *code, long number, const char *end);

#endif
