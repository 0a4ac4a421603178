/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dispatch.h - the way of a system call: from SIGSYS to its handler and back
 *
 * The handler of SIGSYS runs on the thread's region with the program's own signal mask, carries
 * the call out, writes the result into the frame, and leaves by the gate. What the C library does
 * for us on that stack traps too, and is let through as it is.
 *
 * Signal context: all. Source: Documentation/admin-guide/syscall-user-dispatch.rst of Linux.
 */
#ifndef UPAGE_GUEST_DISPATCH_H
#define UPAGE_GUEST_DISPATCH_H

#include "signals.h"
#include "stats.h"

signals_handler guest_sigsys;

/* Where system calls are counted; NULL: nowhere. */
extern struct stats **dispatch_stats;

#endif
