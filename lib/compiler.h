/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compiler.h - what every file of the library may use: visibility, invariants, bits
 *
 * Invariants are never error codes: INVARIANT() says what must hold whatever a caller does,
 * is checked in builds with --enable-debug, and ends the process where it is broken.
 */
#ifndef UPAGE_COMPILER_H
#define UPAGE_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUBLIC __attribute__((visibility("default")))

#ifdef UPAGE_DEBUG
_Noreturn void invariant_broken(const char *file, int line, const char *what);
#define INVARIANT(condition)                                                                  \
	((condition) ? (void)0 : invariant_broken(__FILE__, __LINE__, #condition))
#else
#define INVARIANT(condition) ((void)sizeof(condition))
#endif

static inline bool is_power_of_two(uint64_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static inline uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline unsigned log2_floor(uint64_t n)
{
	return 63u - (unsigned)__builtin_clzll(n);
}

static inline unsigned log2_ceiling(uint64_t n)
{
	return n <= 1 ? 0 : log2_floor(n - 1) + 1;
}

static inline uint64_t round_up(uint64_t n, uint64_t power_of_two)
{
	return (n + power_of_two - 1) & ~(power_of_two - 1);
}

static inline uint64_t round_down(uint64_t n, uint64_t power_of_two)
{
	return n & ~(power_of_two - 1);
}

#endif
