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

/* ---- For guest/, which has the space's lock for writing here -------------------------------- */

/* Adds [mapping->start, mapping->end), where nothing is mapped; a reference to its backing is taken.
 * What it commits to is promised. Return: 0 or UPAGE_ENOMEM. */
int map_add(upage_space *space, const struct mapping *mapping);

/* Calls @visit for each mapping of [start, end), cut to it, from the lowest up, until one fails or,
 * unless @past_holes, one does not follow the other. @visit may change all but start and end.
 * Return: the failure; UPAGE_ENOTMAPPED if there are holes. */
typedef int map_visitor(upage_space *space, struct mapping *mapping, void *argument);
int map_visit(upage_space *space, uintptr_t start, uintptr_t end, bool past_holes,
              map_visitor *visit, void *argument);

/* Whether its pages may come to need frames or slots that are to be promised. */
bool map_needs_room(const struct mapping *mapping);

/* For such visits, of a mapping that is paged. */
int map_protect(upage_space *space, struct mapping *mapping, int prot);
void map_need(upage_space *space, struct mapping *mapping);
void map_page_out(upage_space *space, uintptr_t start, uintptr_t end);

/* The pages of [from, from + length) go to [to, to + length), where none are, and are of @backing
 * there. Return: 0, or UPAGE_EBUSY (one is pinned), UPAGE_ENOMEM or a host's error: all are where
 * they were. */
int map_move_pages(upage_space *space, uintptr_t from, uintptr_t to, size_t length,
                   struct backing *backing);

/* --------------------------------------------------------------------------------------------- */

/* For pin.c: the pages of [address, address + length) in a space of ours, rounded out to both sides if
 * @outward, else address must be a page multiple. Return: 0, or UPAGE_EINVAL, UPAGE_EOVERFLOW, UPAGE_EBOUNDS,
 * UPAGE_ENOTSUP. */
int map_take_own_range(const upage_space *space, const void *address, size_t length, bool outward,
                       uintptr_t *start, uintptr_t *end);

/* For a system call of the program: holds the page of @address in its frame while the kernel may
 * use it, as upage_pin() does. But the child of a fork has no such pins: none of its threads is
 * in the call. Return of map_hold: as of upage_pin(). Signal context: yes, these two. */
int map_hold(upage_space *space, const void *address, int prot);
void map_release(upage_space *space, const void *address);

#endif
