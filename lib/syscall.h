/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * syscall.h - system calls without the C library
 *
 * The C library's wrappers write errno, which is thread-local storage: a page fault may
 * happen where that storage is itself not reachable, and must leave errno alone anyway.
 * These return the result, or a negated errno value.
 *
 * Signal context: yes. Source: syscall(2), "Architecture calling conventions".
 */
#ifndef UPAGE_SYSCALL_H
#define UPAGE_SYSCALL_H

#include <sys/syscall.h>

#if defined(__x86_64__)
#include "gate.h" /* the one place from which system calls are let through */

static inline long syscall_6(long number, long a, long b, long c, long d, long e, long f)
{
	return gate_syscall(number, a, b, c, d, e, f);
}
#elif defined(__aarch64__)
static inline long syscall_6(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0"
	                 : "+r"(x0)
	                 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
	                 : "memory");
	return x0;
}
#else
#error "upage runs on x86-64 and aarch64"
#endif

#define syscall_1(n, a) syscall_6(n, (long)(a), 0, 0, 0, 0, 0)
#define syscall_2(n, a, b) syscall_6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define syscall_3(n, a, b, c) syscall_6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define syscall_4(n, a, b, c, d) syscall_6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

#endif
