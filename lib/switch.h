/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * switch.h - the context switch: upage_switch()
 *
 * Of the spaces of a window (window.h) another becomes current. What moves is where the host has
 * their pages: no page table of ours is touched, no frame, no mapping.
 *
 *      mremap   window -> the old one's park
 *      mremap   the new one's park -> window
 *      mmap     the reservation over the new one's park
 *
 * It is privileged: code that runs in a space, which is to say on a stack there, is refused, as a
 * program is that would load another page table. Where the host cannot move, nothing of both spaces
 * stays shown, and soft faults bring their pages back.
 *
 * Locking: spaces_lock, then the window's for writing; without moves the locks of both spaces.
 * Page faults in other spaces go on; their evictions wait for the moves. Signal context: yes.
 * Source: OSTEP ch. 6 (limited direct execution), 13, 15.
 */
#ifndef UPAGE_SWITCH_H
#define UPAGE_SWITCH_H

#include "space.h"

#endif
