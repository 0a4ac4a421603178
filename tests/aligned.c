/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * aligned.c - a program that can be anywhere, with static data that is aligned to more than a page: for check-execute.sh
 */
#include <stdint.h>
#include <stdio.h>

#define SOME (1 << 16)
#define MOST (1 << 21)

static char some[100] __attribute__((aligned(SOME)));
static char most[100] __attribute__((aligned(MOST)));

int main(void)
{
	const char *volatile at[] = { some, most }; /* else compilers say what it should be */
	printf("%d and %d past where they should be\n", (int)((uintptr_t)at[0] % SOME), (int)((uintptr_t)at[1] % MOST));
	return 0;
}
