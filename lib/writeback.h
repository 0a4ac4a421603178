/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * writeback.h - saves pages that leave: slots for them, and what of them has to be written
 *
 * Pages that leave together are saved together: they get slots beside each other, and those that lie so are
 * written by one request; so neighbours can come back by one. All requests to swap are under way at once, where that
 * takes less time; nobody waits for them if all slots have been written to before (store_flight.h). A page that is clean goes nowhere, unless it lies between two that are written there, nor does one that is
 * anonymous and all zero, or as it is in its slot. When swap is full, slots of resident pages, which hold only
 * copies, are used.
 *
 * Signal context: yes. Locks: the pages are the caller's; those of others are only tried.
 * Source: Linux, mm/vmscan.c (pageout) and mm/page_io.c; OSTEP ch. 21-22 (clustering).
 */
#ifndef UPAGE_WRITEBACK_H
#define UPAGE_WRITEBACK_H

#include "physical.h"

/* Reads of swap that are under way beside the first writes to it, of one who needs frames for them. He has
 * buffers, and so may not wait for one: here is that of the pages that leave, too. */
struct beside {
	struct store_request *reads;
	unsigned count; /* at most BUFFER_RUN_MAX; 0: they are done */
	char *buffer;   /* LEAVING_MAX of them; NULL afterwards: they are written behind */
};

/* One pass over pages that could go, and what stood in its way. */
struct search {
	bool busy;     /* something was locked by another thread, who is about to finish */
	bool no_slots; /* swap is full, and no resident page has a slot to spare */
	bool asked;    /* the medium, although it had refused a write */
	int failure;   /* why a page could not be saved */
	unsigned spared; /* candidates that had been referenced */
	unsigned pages;  /* that left their frames */
	uint32_t own;  /* frame: locked by ourselves, and no candidate */
	struct beside *beside; /* NULL: nothing */
};

/* Pages anywhere that are locked and that nobody can write to now. Those that lie beside each other, by
 * address, are in order. */
#define LEAVING_MAX BUFFER_RUN_MAX
struct leaving {
	unsigned count;
	pte_t *ptes[LEAVING_MAX];
	uint64_t values[LEAVING_MAX];
	uint32_t slots[LEAVING_MAX]; /* out: where each is; SWAP_NONE: in its store, or nowhere: zeros */
	int results[LEAVING_MAX];    /* out: 0, or why it could not be saved: it is as before */
	uint64_t new_slots;          /* a bit for each slot that its frame does not have yet */
};

static inline struct frame *leaving_frame(struct upage_pool *pool, const struct leaving *pages, unsigned i)
{
	return &pool->frames.frame[pte_number(pages->values[i])];
}

/* Whether there may be a slot for a locked page, if it needs one; while swap is full, it gets one now. To be
 * asked before anything is hidden, or read. */
bool writeback_has_slot(struct upage_pool *pool, uint64_t *value, struct search *search);

/* Whether a page that came in and is expected to be written to, and so counts as dirty, will need the copy in its slot to be compared
 * with. Not in memory while many turn out to be changed: then one of some keeps it, in case fewer are again. */
bool writeback_copy_pays(struct upage_pool *pool);

/* Whether pages that come in together, in order, are better all taken to be written to: where nothing can be
 * compared. They leave together, too, those that were not written to between those that were. */
bool writeback_expects_writes(struct upage_pool *pool);

/* Saves those that are dirty. A page that turned out not to have been written to, though that was expected,
 * is not dirty in its value then. Of several pages those may fail for which there is no buffer. */
void writeback(struct upage_pool *pool, struct leaving *pages, struct search *search);

#endif
