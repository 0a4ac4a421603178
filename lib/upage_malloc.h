/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * upage_malloc.h - what libupage-malloc adds to upage.h
 *
 * A program that is linked with libupage-malloc (pkg-config upage-malloc) has its whole heap in
 * paged memory: malloc and its family, C++ new, and what the C library allocates. It need not
 * include this header, which is for those who want to look at that memory, or to pin it.
 */
#ifndef UPAGE_MALLOC_H
#define UPAGE_MALLOC_H

#include <upage.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * upage_malloc_pool - the physical memory of the program's heap
 *
 * Made from UPAGE_OPTIONS before any code of the program runs; there until its end. For
 * upage_stats_get() and its like; not to be destroyed. NULL inside `upage run`, which pages the heap
 * as all other memory.
 */
upage_pool *upage_malloc_pool(void);

/**
 * upage_malloc_space - the space that the blocks of malloc lie in
 *
 * For upage_pin() and its like; malloc has all of it, for mappings of its own a program makes a
 * space of its own. NULL inside `upage run`.
 */
upage_space *upage_malloc_space(void);

#ifdef __cplusplus
}
#endif
#endif /* UPAGE_MALLOC_H */
