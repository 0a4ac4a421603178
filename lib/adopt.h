/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * adopt.h - the program's own data as paged memory
 *
 * Signal context: no.
 */
#ifndef UPAGE_ADOPT_H
#define UPAGE_ADOPT_H

#include "upage.h"

/**
 * upage_adopt_data - the program's .data and .bss become paged memory, where they are
 * @pool: whose pages are 4 KiB
 *
 * Taken are the writable pages of the program itself, not those of its libraries, and of them not
 * what the loader made read-only after relocation. They stay so until the process ends.
 *
 * Context: the process has one thread; before any code of the program, best, since an address
 * in its data may be nowhere for a moment. Cost: a copy of what is not zero.
 * Return: 0, or (nothing has changed)
 *         UPAGE_EINVAL     pool is NULL
 *         UPAGE_EPAGESIZE  the pool's pages are not 4 KiB
 *         UPAGE_ENOTSUP    this library was linked into the program itself, whose data is then
 *                          what page faults need; or its data is executable
 *         or another code, and the data may be gone: all that is left is to end the process
 *         UPAGE_ENOMEM     no memory for a copy; or, with swap-size, memory and swap together
 *                          could not hold the data
 */
int upage_adopt_data(upage_pool *pool);

#endif
