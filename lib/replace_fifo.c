/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replace_fifo.c - first in, first out
 *
 * A queue threaded through an array of links, one pair a frame. The frame that is offered
 * goes to the tail, so that the next question offers another; nothing else changes an order.
 *
 *      next[HEAD] is the oldest frame, previous[HEAD] the newest; HEAD is link number 0,
 *      frame p is link p + 1; next[i] == 0 for a frame that is not in the queue (HEAD apart:
 *      links are stored plus one, so that all-zero memory is a queue without frames)
 *
 * Source: Belady, Nelson and Shedler, "An Anomaly in Space-Time Characteristics of Certain
 * Programs Running in a Paging Machine", CACM 1969.
 */
#include "replace.h"

struct link {
	uint32_t next, previous; /* link number + 1; 0: not in the queue */
};

struct fifo {
	uint64_t frames;
	struct link links[]; /* 0 is the head, which is never offered */
};

static size_t fifo_state_size(uint64_t frames)
{
	return sizeof(struct fifo) + (frames + 1) * sizeof(struct link);
}

static void fifo_init(void *state, uint64_t frames, uint64_t seed)
{
	struct fifo *fifo = state;
	(void)seed;
	fifo->frames = frames;
	fifo->links[0] = (struct link){ 1, 1 };
}

static void fifo_append(struct fifo *fifo, uint32_t link)
{
	uint32_t last = fifo->links[0].previous - 1;
	fifo->links[link] = (struct link){ .next = 1, .previous = last + 1 };
	fifo->links[last].next = link + 1;
	fifo->links[0].previous = link + 1;
}

static void fifo_take_out(struct fifo *fifo, uint32_t link)
{
	struct link *l = &fifo->links[link];
	fifo->links[l->previous - 1].next = l->next;
	fifo->links[l->next - 1].previous = l->previous;
	*l = (struct link){ 0, 0 };
}

static void fifo_insert(void *state, upage_pfn pfn)
{
	struct fifo *fifo = state;
	INVARIANT(pfn < fifo->frames && fifo->links[pfn + 1].next == 0);
	fifo_append(fifo, (uint32_t)pfn + 1);
}

static void fifo_remove(void *state, upage_pfn pfn)
{
	struct fifo *fifo = state;
	INVARIANT(fifo->links[pfn + 1].next != 0);
	fifo_take_out(fifo, (uint32_t)pfn + 1);
}

/* It keeps its place in the queue. */
static void fifo_move(void *state, upage_pfn from, upage_pfn to)
{
	struct fifo *fifo = state;
	struct link *l = &fifo->links[from + 1];
	INVARIANT(l->next != 0 && fifo->links[to + 1].next == 0);
	fifo->links[to + 1] = *l;
	fifo->links[l->previous - 1].next = (uint32_t)to + 2;
	fifo->links[l->next - 1].previous = (uint32_t)to + 2;
	*l = (struct link){ 0, 0 };
}

static upage_pfn fifo_candidate(void *state, struct aged *aged, enum look *look)
{
	struct fifo *fifo = state;
	uint32_t oldest = fifo->links[0].next - 1;
	(void)aged;
	(void)look;
	if (oldest == 0)
		return REPLACE_NONE;
	fifo_take_out(fifo, oldest);
	fifo_append(fifo, oldest);
	return oldest - 1;
}

const struct replace_ops replace_fifo = { .name = "fifo",
	                                  .state_size = fifo_state_size,
	                                  .init = fifo_init,
	                                  .insert = fifo_insert,
	                                  .remove = fifo_remove,
	                                  .move = fifo_move,
	                                  .candidate = fifo_candidate };
