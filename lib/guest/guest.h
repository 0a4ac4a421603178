/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest.h - a whole program as a guest
 *
 * Signal context: no.
 */
#ifndef UPAGE_GUEST_GUEST_H
#define UPAGE_GUEST_GUEST_H

#include <stdint.h>

#include "upage.h"

/* Runs the program that loader_load() has put into whole_space, in place of the caller.
 * Return: an error of upage_intercept(); else not at all. */
int guest_run(upage_pool *pool, uintptr_t entry, uintptr_t stack);

#endif
