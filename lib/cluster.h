/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cluster.h - neighbours that come in with a page: fault-around
 *
 * The trap is most of what a page fault costs. While frames are plenty, the page that was
 * referenced brings neighbours with it: from the same mapping, empty as it is, into frames beside
 * its own, by one zeroing or reading and one call to the host. They are accessible at once.
 *
 * How many? As many as are resident in a row on the other side of the page, up to 16, and a quarter
 * of longer rows: what was dense so far will go on so. Touched in order, pages come in by 1, 2, 4 ... 16,
 * 20, 25 ... up to 256; what comes in for nothing is never more than what was there before it, nor more
 * than a sixteenth of what is free. Of a file, which is code more often
 * than not, at least four come together, those of an aligned block. While seven frames of eight are free blocks
 * have eight pages: of files that are shown as they are (PTE_FILE), which costs little; and of memory without a
 * file where something is resident in that block or in one beside it, or where its mapping begins. So who touches
 * memory here and there gets single pages, as well.
 *
 * Whether they are used is found out at no cost here. Their entries say PREFETCHED until a reference is seen, which
 * `prefetch_used` counts: by a fault, if they were hidden meanwhile or may only be read; by a look of the policy's, as at
 * any page; or, if they came as zeros and are none, when they leave. What is shown is in the host's page table from the
 * start, so that a look says nothing before the page was aged: of what was used before that, and not since, only content
 * tells. So it is never known of pages that were only read then, or got zeros, that leave without a look (by policies that
 * have none, or while too much is in use), or are thrown away. And where one page is read the host sets up to 15 others, of
 * the 64 KiB around it, in the same mapping: a look takes them for used if they were aged.
 *
 * Those from files, of which a block comes whether it is needed or not, are doubted (replace.h), and leave first if
 * they are not used. New memory is not: sort used three quarters and more of what follows a row.
 *
 * Only what is empty takes part: of swapped pages readahead.h decides. Under pressure empty ones come alone:
 * to evict one for another that nobody asked for is poison.
 *
 * A resident page that is hidden (it was moved to another address, or a fork copied it) is shown with
 * those beside it that are hidden in the same way, if their frames are side by side too.
 *
 * Locks: the PTEs of the neighbours are only tried, under the space's lock, like that of the page
 * itself; until they are given up nobody is waited for, but the file. Signal context: yes.
 * Source: Linux, mm/memory.c, do_fault_around(); OSTEP ch. 22 (clustering, prefetching).
 */
#ifndef UPAGE_CLUSTER_H
#define UPAGE_CLUSTER_H

#include "physical.h"

#define CLUSTER_PAGES_MAX 256
#define CLUSTER_BYTES_MAX ((size_t)1 << 20)
#define CLUSTER_PAGE_MAX ((size_t)32 << 10) /* of larger pages the trap is the least part */

/* Of pages of that size, as many of @wanted as go with each other. */
static inline unsigned cluster_pages(unsigned wanted, unsigned page_shift)
{
	if ((size_t)1 << page_shift > CLUSTER_PAGE_MAX)
		return 1;
	size_t fit = CLUSTER_BYTES_MAX >> page_shift;
	size_t most = wanted < CLUSTER_PAGES_MAX ? wanted : CLUSTER_PAGES_MAX;
	return (unsigned)(most < fit ? most : fit);
}

/* Whether so much is free that nobody will miss a few. */
bool cluster_is_ample(const struct upage_pool *pool);

/* Locks neighbours of page @vpn of @table, whose PTE is locked and was @value, in its mapping
 * [start, end), for pager_resolve(), which gives them up. The space's lock is held. */
void cluster_lock(struct upage_pool *pool, const struct page_table *table, upage_vpn vpn,
                  struct page *page, uint64_t value, int access, uintptr_t start, uintptr_t end);

/* The page and its neighbours come in, accessible for @access. Return: whether the page did; else
 * all is as before. In any case the neighbours are given up. */
bool cluster_bring_in(struct upage_pool *pool, const struct page *page, uint64_t *value, int access);

/* The page and its neighbours, all hidden, are shown with @access. Return: 0, or the host's error: they
 * are as before. In any case the neighbours are given up. */
int cluster_show(struct upage_pool *pool, const struct page *page, uint64_t *value, uint64_t access);

#endif
