/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * trap.h - SIGSEGV: from the signal to the space, or to the program's own handler
 *
 *      front            ours? a page fault (trap 14) at an address of a space
 *       |- libsigsegv   -> dispatch -> serve -> space_fault
 *       '- own          everything else, and what space_fault refuses: the program's own
 *                       action, with its mask and the true si_addr and si_code; without one
 *                       a line on stderr and death by the signal, at the true instruction
 *
 * libsigsegv's handler passes an address and nothing else, so the front notes what the
 * hardware said of the access, and hands it the address of that note. Its dispatcher knows
 * one area, all addresses, registered once: its tree has no lock.
 *
 * The front runs with every signal blocked, SIGSEGV included: a fault in here is a bug, and
 * ends the process at once.
 *
 * Signal context: all but trap_install.
 * Source: libsigsegv's manual (sigsegv.h); sigaction(2); Intel SDM vol. 3, 4.7 (error code
 * of a page fault); Arm ARM, ESR_EL1.
 */
#ifndef UPAGE_TRAP_H
#define UPAGE_TRAP_H

#include <signal.h>
#include <stdint.h>

#include "turn.h"

/* Installs the front, once a process. Return: 0 or an error. Not in signal context. */
int trap_install(void);

/* What becomes of a SIGSEGV. */
enum trap_verdict {
	TRAP_SERVED,
	TRAP_FOREIGN, /* no reference into a space: a signal of the program's        */
	TRAP_REFUSED, /* the same, of guarded metadata: reported                     */
	TRAP_SIGSEGV, /* the program's own reference; si_code says why               */
	TRAP_SIGBUS,  /* past the end of a mapped file, or it could not be served    */
};

/**
 * trap_take - serve a SIGSEGV, for a handler that is not the front (guest/signal.c)
 * @private_tls: what libsigsegv may take for thread-local storage; 0: the thread's own will do
 * @thread:      what is kept of its faults
 *
 * A fault that could not be served is reported on stderr, and a reference to guarded metadata.
 */
enum trap_verdict trap_take(int number, siginfo_t *info, void *context, uintptr_t private_tls,
                            struct turn_thread *thread);

#endif
