/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gain.h - a program that shall execute nothing new (PR_SET_MDWE)
 *
 * It is refused memory that is written to and executed, and execution of what was mapped without. The
 * kernel is not told: it would refuse us, who map what the program had before anew with each page fault
 * and fork. What it was told before this program began holds for us too, but refuses nothing more.
 *
 * An execve by the kernel (set-uid programs, --no-follow) hands nothing on.
 *
 * Locking: none, it is one atomic word. Signal context: all but gain_begin.
 * Source: PR_SET_MDWE(2const); include/linux/mman.h and kernel/sys.c of Linux.
 */
#ifndef UPAGE_GUEST_GAIN_H
#define UPAGE_GUEST_GAIN_H

#include "call.h"

#ifndef PR_SET_MDWE /* since Linux 6.3 */
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif

/* The program begins so: @flags of PR_SET_MDWE. Negative: as the kernel says. */
void gain_begin(long flags);

/* Whether memory of protection @before must not get @after; of a new mapping both are the same. */
bool gain_is_refused(int before, int after);

/* The flags that a successor begins with, and of the child of a fork, which begins so here. */
unsigned gain_inherited(void);
void gain_fork_child(void);

/* prctl(2) of PR_SET_MDWE and PR_GET_MDWE. */
guest_handler gain_prctl;

#endif
