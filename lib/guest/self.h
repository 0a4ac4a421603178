/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * self.h - what /proc tells a whole program about itself: its own memory and file, not ours
 *
 * /proc/self/exe is the program's file, and /proc/self/maps lists its mappings as the kernel would
 * if it had made them. Signal context: all, on a region's stack. Source: proc(5).
 */
#ifndef UPAGE_GUEST_SELF_H
#define UPAGE_GUEST_SELF_H

#include "call.h"

/* Whether @path, in our memory, is /proc/self/exe by any of its names. */
bool self_is_program(const char *path);

/* Carries out an open or readlink of such a name. Return: false: it is another call, or name. */
bool self_answer(struct guest_call *call, long *result);

#endif
