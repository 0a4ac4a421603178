/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * relocate.h - `upage run --compact`: something of a running program goes to another place, again and again
 *
 * Every 100 ms, at the end of the next system call or page fault, in the thread that made it. There is no
 * thread of ours that a program could count, and no timer that could interrupt it; so a program that
 * makes neither stays where it is for as long.
 *
 * Signal context: relocate_tick. Source: OSTEP ch. 15 and 17 (dynamic relocation, compaction).
 */
#ifndef UPAGE_GUEST_RELOCATE_H
#define UPAGE_GUEST_RELOCATE_H

#include "upage.h"

/* From now on, of this space. */
void relocate_begin(upage_space *space);

/* No lock is held. */
void relocate_tick(void);

#endif
