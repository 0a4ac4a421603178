/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store_flight.h - transfers of swap that nobody waits for: writes behind, reads ahead
 *
 * A fault that needs frames has to have pages written, but not to wait until they are: their content is in
 * a buffer already, and there it stays until it has been written, while the frames serve others. What a
 * stream of references will want next is read into a buffer, and handed over there when it is wanted. So the disk works
 * while the program does.
 *
 * Only slots that have been written to before are written behind: then the disk has room for them, and the
 * host need not wait to begin.
 *
 * Whoever transfers a slot himself comes here first. A write that is under way to it is waited for; a
 * read ahead of it is forgotten if he writes. Nobody else transfers it meanwhile: he has the page, or pages, whose
 * it is. Who reads ahead has not: he says what he will read, then looks whether the pages are still
 * there, and only then begins; who takes such a page afterwards, and writes it, finds the read here.
 *
 * A write that fails is tried once more by itself; if that fails, its pages are KEPT: reads of their slots find
 * them in the buffer, until they are written anew. Before anything is written behind again, they are. They have been
 * counted as written: only writes that are waited for, as all are while something is kept, count as failures.
 *
 *      NONE        nothing; no buffer
 *      UNDER_WAY   the buffer belongs to the requests
 *      KEPT        a write that failed; the pages that are somewhere are nowhere else
 *
 * Invariant: flying == the flights that are not NONE, and those that are being made; keeping == those that are KEPT.
 * Locking: the lock of each flight, a leaf that is held while the disk is waited for. Its holder takes no other but,
 * having one of a read, those of writes, and those of a medium. Signal context: yes.
 * Source: OSTEP ch. 36-37 and 40 (overlap, write buffering); Linux, mm/page_io.c and mm/readahead.c.
 */
#ifndef UPAGE_STORE_FLIGHT_H
#define UPAGE_STORE_FLIGHT_H

#include "buffer.h"
#include "store.h"

#define FLIGHTS_BEHIND 2
#define FLIGHTS_AHEAD 4
#define FLIGHTS (FLIGHTS_BEHIND + FLIGHTS_AHEAD)

#define FLIGHT_NOWHERE (-1)

enum flight_state { FLIGHT_NONE, FLIGHT_UNDER_WAY, FLIGHT_KEPT };

struct flight {
	struct lock lock; /* guards the rest */
	enum flight_state state;
	void *way;        /* of the store's begin_all */
	struct buffers *buffers;
	char *buffer;     /* of `pages` pages */
	unsigned pages;
	off_t at[BUFFER_RUN_MAX]; /* of each page, in the store; FLIGHT_NOWHERE: it is not there */
	unsigned count;
	struct store_request requests[BUFFER_RUN_MAX];
};

struct flights {
	upage_store *store;
	unsigned page_shift;
	_Atomic unsigned flying;
	_Atomic unsigned keeping;    /* flights that are KEPT */
	_Atomic unsigned transfers;  /* that have been settled, and not patched: what is kept stays until then */
	_Atomic unsigned turn;       /* which is used first, of each kind */
	struct flight flight[FLIGHTS]; /* writes first */
};

/* Begins to write @count requests, of pages in a buffer of @pages. Return: how many are under way, and the
 * buffer is not the caller's any more; 0: it is, and nothing was begun. */
unsigned flights_write(struct flights *flights, const struct store_request *requests, unsigned count,
                       struct buffers *buffers, char *buffer, unsigned pages);

/* Says what will be read: requests that fill a buffer of @pages, in order. Return: what flights_read() wants, and
 * the buffer is not the caller's any more; NULL: it is. */
struct flight *flights_say(struct flights *flights, const struct store_request *requests, unsigned count,
                           struct buffers *buffers, char *buffer, unsigned pages);

/* Begins to read what was said; or forgets it. Return: how many requests are under way. */
unsigned flights_read(struct flights *flights, struct flight *flight, bool begin);

/* What was read ahead of the pages at @offsets into the store, or of the first of them; waits for it. Return: of
 * how many. *buffer, which is the caller's then, of *pages, has them in order. */
unsigned flights_take(struct flights *flights, const off_t *offsets, unsigned count, char **buffer, unsigned *pages);

/* Before requests are made: what is in their way. After they were, always: what they should have found. */
void flights_settle(struct flights *flights, const struct store_request *requests, unsigned count);
void flights_patch(struct flights *flights, struct store_request *requests, unsigned count);

/* Nobody will want the pages of this request any more: their slots are about to be free. */
void flights_forget(struct flights *flights, const struct store_request *request);

/* Ends all; nothing is begun between these two: around a fork. */
void flights_stop(struct flights *flights);
void flights_go(struct flights *flights);

static inline bool flights_keep_any(struct flights *flights)
{
	return atomic_load(&flights->keeping) > 0;
}

#endif
