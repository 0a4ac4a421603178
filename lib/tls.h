/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tls.h - thread-local storage, out of the way
 *
 * Ours has none, but libraries that are linked into it were compiled with a stack protector, which reads
 * a word of it where a function begins and where it ends. That of a thread of a guest, or of one whose
 * stack is paged, may be in paged memory, not resident: the look would trap, and again, without end.
 *
 * Signal context: only there, or with every signal blocked: a handler would have the wrong storage.
 * Source: arch_prctl(2); System V ABI, AMD64 supplement, "Thread-Local Storage".
 */
#ifndef UPAGE_TLS_H
#define UPAGE_TLS_H

#include <stdint.h>

#include "syscall.h"

#if defined(__x86_64__)
#include <asm/hwcap2.h>
#include <asm/prctl.h>
#include <sys/auxv.h>

/* The thread's storage begins at @tls from now on. Return: where it began. Cost: a few ns; without the
 * instructions two system calls. */
static inline uintptr_t tls_exchange(uintptr_t tls)
{
	static _Atomic int can; /* 1: by instruction, 2: by system call */
	uintptr_t before = 0;
	if (can == 0)
		can = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE ? 1 : 2;
	if (can == 1) {
		__asm__ volatile("rdfsbase %0" : "=r"(before) : : "memory");
		__asm__ volatile("wrfsbase %0" : : "r"(tls) : "memory");
	} else {
		syscall_2(SYS_arch_prctl, ARCH_GET_FS, &before);
		syscall_2(SYS_arch_prctl, ARCH_SET_FS, tls);
	}
	return before;
}
#else
/* The stack protector's word is a global one. */
static inline uintptr_t tls_exchange(uintptr_t tls)
{
	return tls;
}
#endif

#endif
