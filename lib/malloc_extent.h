/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * malloc_extent.h - the extents of malloc.c's arenas: where jemalloc gets the heap's memory
 */
#ifndef UPAGE_MALLOC_EXTENT_H
#define UPAGE_MALLOC_EXTENT_H

#include <jemalloc/jemalloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "upage.h"

/* Of each arena whose extents are to be mappings of the space. */
extern extent_hooks_t malloc_extent_hooks;

/* Before any of that. @space has nothing else in it; @commit: unused parts are unmapped, and
 * mapped again, because what is mapped is counted. */
void malloc_extent_init(upage_pool *pool, upage_space *space, bool commit);

/* Bytes of the arenas' extents that are mapped. */
size_t malloc_extent_mapped(void);

/* Bytes that were ever given back. */
uint64_t malloc_extent_dropped(void);

#endif
