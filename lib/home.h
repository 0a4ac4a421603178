/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * home.h - pages at home: shown by one host mapping, however scattered they are
 *
 * Frames are shown by mapping them, and pages that lie apart take two host mappings each. The other
 * way is one mapping of a sparse file over a whole space, in which a page's content lies at the
 * page's own address (frame.h); what is not to be referenced has a guard (host_guard.c). A fault
 * costs less so, and there is no limit to it; but what is read counts as written, and no two pages can
 * be in one place.
 *
 * It is decided once for the pages of a leaf of the page table, 512 beside each other, when the first of
 * them comes in:
 *
 *      UNDECIDED   no page of it is resident
 *      AWAY        its pages are in their frames: they are of a store, or mapping=auto and host mappings
 *                  are plenty, and no more pages promised than there are frames, or they are swapped to a disk; or the
 *                  host lays no guards
 *      BARE        its pages are at home, and none is shown: the host has the reservation there
 *      LAID        its pages are at home, and the host has the file there, with guards on those
 *                  that are not shown
 *
 * Guards cost the host page tables, and so they are laid a leaf at a time; but leaves that lie apart
 * take mappings, too, and where those are many, a group of leaves is laid that fills the gaps.
 *
 * What is shown with less than all access (or to be executed) has another protection than the rest, and
 * so a host mapping of its own.
 *
 * Invariants:  a frame is at_home  <=>  its page's leaf is BARE or LAID;  a page of such a leaf is shown
 * =>  LAID;  seams == the ends of laid stretches of leaves, which are counted in pool->mappings.
 *
 * Locks: `lock` (rank 2.5) guards changes of states, and seams. A state that is read by who has the
 * lock bit of a PTE of the leaf stays, but that BARE may become LAID.
 * Signal context: yes, but home_init and home_end.
 */
#ifndef UPAGE_HOME_H
#define UPAGE_HOME_H

#include "physical.h"

/* Of a space. */
struct home {
	_Atomic uint64_t *states; /* two bits a leaf; NULL: no page is ever at home */
	struct upage_pool *pool;
	uintptr_t start, end;
	unsigned leaf_shift;      /* bytes of a leaf */
	struct lock lock;
	_Atomic uint64_t seams;
	_Atomic bool protects;    /* something was shown with another protection */
};

/* For a space that may have pages at home, or else @never. Return: 0 or UPAGE_ENOMEM. */
int home_init(struct home *home, struct upage_pool *pool, uintptr_t start, size_t length, bool never);

/* Once it shows nothing. */
void home_end(struct home *home);

/* Whether a page that comes in is at home: decides it for those around. Its PTE is locked. */
bool home_takes(const struct page *page);

/* Whether the page of an address would be, as it is decided now. */
bool home_has(const struct home *home, uintptr_t address);

/* Pages of one leaf, or of several that are at home. Return: 0, or the host's error: nothing changed. */
int home_show(struct home *home, uintptr_t address, size_t length, int prot, bool lazily);
int home_hide(struct home *home, uintptr_t address, size_t length);
int home_protect(struct home *home, uintptr_t address, size_t length, int prot);

/* What is wholly in [start, end), where no page is, is undecided again. The space's lock is held for
 * writing. */
void home_forget(struct home *home, uintptr_t start, uintptr_t end);

/* Around a fork: the host has the reservation again, everywhere. */
void home_bare(struct home *home);

#endif
