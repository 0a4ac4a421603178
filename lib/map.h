/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * map.h - what programs ask of the pages of a space: upage_map() and its like
 *
 * Each call checks its arguments, blocks signals, takes the space's lock, and either does all
 * of what it was asked for or leaves everything as it was.
 *
 * Locking: space_shared_lock (rank 0) while a shared mapping is made, then the space's (rank 1).
 * Signal context: no, but upage_translate and upage_residency.
 * Source: mmap(2), mprotect(2), madvise(2), msync(2), mincore(2).
 */
#ifndef UPAGE_MAP_H
#define UPAGE_MAP_H

#include "space.h"

/* Anonymous, readable and writable pages that are told apart by their backing, for a heap:
 * upage_map() with UPAGE_MAP_FIXED or 0, and the end of all of them at once (0, or UPAGE_EBUSY
 * if one is pinned: all are there still). @length: pages. Not in signal context. */
int map_backing(upage_space *space, void **address, size_t length, unsigned flags,
                      struct backing *backing);
int unmap_backing(upage_space *space, const struct backing *backing);

/* Maps private pages at [start, start + length), in place of whatever is mapped there now.
 * Return: as upage_map(); what was mapped may then be gone, as natively. */
int map_replace(upage_space *space, uintptr_t start, size_t length, int prot, upage_store *store,
                int64_t offset);

/* Unmaps what is mapped in [start, end), which may have gaps. */
int unmap_range(upage_space *space, uintptr_t start, uintptr_t end);

/* A gap of @length bytes in [low, high), the lowest; 0: there is none. */
uintptr_t map_gap(upage_space *space, uintptr_t low, uintptr_t high, size_t length);

/* For a system call of the program: holds the page of @address in its frame while the kernel may
 * use it, as upage_pin() does. But the child of a fork has no such pins: none of its threads is
 * in the call. Return of map_hold: as of upage_pin(). Signal context: yes, these two. */
int map_hold(upage_space *space, const void *address, int prot);
void map_release(upage_space *space, const void *address);

#endif
