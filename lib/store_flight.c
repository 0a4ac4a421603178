/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "store_flight.h"

#include <string.h>

_Static_assert(2 * FLIGHTS <= BUFFER_RUNS, "as many buffers are for those who wait");

/* ---- One flight; its lock is held ------------------------------------------------------------ */

static size_t page_bytes(const struct flights *flights)
{
	return (size_t)1 << flights->page_shift;
}

static char *page_in(const struct flights *flights, const struct flight *flight, unsigned i)
{
	return flight->buffer + i * page_bytes(flights);
}

static bool is_within(off_t at, const struct store_request *request)
{
	return at != FLIGHT_NOWHERE && at >= request->offset && at < request->offset + (off_t)request->length;
}

static void release(struct flights *flights, struct flight *flight)
{
	if (flight->state == FLIGHT_KEPT)
		atomic_fetch_sub(&flights->keeping, 1);
	flight->state = FLIGHT_NONE;
	buffer_give_run(flight->buffers, flight->buffer, flight->pages);
	atomic_fetch_sub(&flights->flying, 1);
}

/* Those pages that are somewhere are kept; if none is, there is nothing. */
static void keep(struct flights *flights, struct flight *flight)
{
	bool any = false;
	for (unsigned i = 0; i < flight->pages; i++)
		any = any || flight->at[i] != FLIGHT_NOWHERE;
	if (!any) {
		release(flights, flight);
	} else if (flight->state != FLIGHT_KEPT) {
		flight->state = FLIGHT_KEPT;
		atomic_fetch_add(&flights->keeping, 1);
	}
}

/* The pages of a request are nowhere from now on. */
static void forget(struct flight *flight, const struct store_request *request)
{
	for (unsigned i = 0; i < flight->pages; i++)
		if (is_within(flight->at[i], request))
			flight->at[i] = FLIGHT_NOWHERE;
}

/* Counted before anyone looks whether it is in his way. */
static void make(struct flights *flights, struct flight *flight, const struct store_request *requests, unsigned count,
                 struct buffers *buffers, char *buffer, unsigned pages)
{
	atomic_fetch_add(&flights->flying, 1);
	flight->buffers = buffers;
	flight->buffer = buffer;
	flight->pages = pages;
	flight->count = count;
	memcpy(flight->requests, requests, count * sizeof(requests[0]));
	for (unsigned i = 0; i < pages; i++)
		flight->at[i] = FLIGHT_NOWHERE;
	for (unsigned k = 0; k < count; k++) {
		unsigned first = (unsigned)(((char *)requests[k].buffer - buffer) >> flights->page_shift);
		for (unsigned i = 0; i < requests[k].length >> flights->page_shift; i++)
			flight->at[first + i] = requests[k].offset + (off_t)(i * page_bytes(flights));
	}
}

/* Return: how many requests are under way; 0: the flight is as before. */
static unsigned begin(struct flights *flights, struct flight *flight)
{
	flight->way = flights->store->ops->begin_all(flights->store, flight->requests, flight->count);
	if (flight->way == NULL)
		return 0;
	flight->state = FLIGHT_UNDER_WAY;
	return flight->count;
}

/* Waits for what is under way. A read is as it was; of a write nothing is left, or what has to be kept. */
static void end(struct flights *flights, struct flight *flight)
{
	flights->store->ops->end_all(flights->store, flight->way, flight->requests, flight->count);
	if (flight->requests[0].operation == STORE_READ)
		return;
	for (unsigned i = 0; i < flight->count; i++)
		if (flight->requests[i].result == 0)
			forget(flight, &flight->requests[i]);
	keep(flights, flight);
}

/* Until there is nothing, or what is kept. */
static void clear(struct flights *flights, struct flight *flight)
{
	if (flight->state != FLIGHT_UNDER_WAY)
		return;
	end(flights, flight);
	if (flight->state == FLIGHT_UNDER_WAY)
		release(flights, flight);
}

static void write_kept(struct flights *flights, struct flight *flight)
{
	for (unsigned i = 0; i < flight->pages && flight->state == FLIGHT_KEPT; i++)
		if (flight->at[i] != FLIGHT_NOWHERE &&
		    store_transfer(flights->store, STORE_WRITE, page_in(flights, flight, i), page_bytes(flights),
		                   flight->at[i]) == 0)
			flight->at[i] = FLIGHT_NOWHERE;
	keep(flights, flight);
}

/* One of @count from @first on that nobody holds, with nothing in it any more, locked; NULL: there is none. */
static struct flight *take_one(struct flights *flights, unsigned first, unsigned count)
{
	unsigned turn = atomic_fetch_add_explicit(&flights->turn, 1, memory_order_relaxed);
	for (unsigned i = 0; i < count; i++) {
		struct flight *flight = &flights->flight[first + (turn + i) % count];
		if (!lock_try(&flight->lock))
			continue;
		clear(flights, flight);
		if (flight->state == FLIGHT_NONE)
			return flight;
		lock_release(&flight->lock);
	}
	return NULL;
}

/* ---- What is in the way ---------------------------------------------------------------------- */

static bool meets(const struct flight *flight, const struct store_request *request)
{
	bool any = false;
	for (unsigned i = 0; i < flight->pages && !any; i++)
		any = is_within(flight->at[i], request);
	return any;
}

static void settle(struct flights *flights, struct flight *flight, const struct store_request *request)
{
	bool writes = request->operation == STORE_WRITE;
	if (flight->state == FLIGHT_UNDER_WAY && (writes || flight->requests[0].operation == STORE_WRITE) &&
	    meets(flight, request))
		clear(flights, flight);
	if (flight->state == FLIGHT_KEPT && writes) {
		forget(flight, request);
		keep(flights, flight);
	}
}

static void settle_some(struct flights *flights, unsigned many, const struct store_request *requests, unsigned count)
{
	for (unsigned i = 0; i < many; i++) {
		struct flight *flight = &flights->flight[i];
		lock_acquire(&flight->lock);
		for (unsigned k = 0; k < count && flight->state != FLIGHT_NONE; k++)
			settle(flights, flight, &requests[k]);
		lock_release(&flight->lock);
	}
}

void flights_settle(struct flights *flights, const struct store_request *requests, unsigned count)
{
	atomic_fetch_add(&flights->transfers, 1);
	if (atomic_load(&flights->flying) > 0)
		settle_some(flights, FLIGHTS, requests, count);
}

/* A request of one page cannot fail then; one of several may be made again page by page. */
static void patch(struct flights *flights, const struct flight *flight, struct store_request *request)
{
	for (unsigned i = 0; i < flight->pages; i++) {
		if (!is_within(flight->at[i], request))
			continue;
		memcpy((char *)request->buffer + (flight->at[i] - request->offset), page_in(flights, flight, i),
		       page_bytes(flights));
		if (request->length == page_bytes(flights))
			request->result = 0;
	}
}

void flights_patch(struct flights *flights, struct store_request *requests, unsigned count)
{
	for (unsigned i = 0; i < FLIGHTS_BEHIND && flights_keep_any(flights); i++) {
		struct flight *flight = &flights->flight[i];
		lock_acquire(&flight->lock);
		for (unsigned k = 0; k < count && flight->state == FLIGHT_KEPT; k++)
			if (requests[k].operation != STORE_WRITE)
				patch(flights, flight, &requests[k]);
		lock_release(&flight->lock);
	}
	atomic_fetch_sub(&flights->transfers, 1);
}

void flights_forget(struct flights *flights, const struct store_request *request)
{
	for (unsigned i = 0; i < FLIGHTS_BEHIND && flights_keep_any(flights); i++) {
		struct flight *flight = &flights->flight[i];
		lock_acquire(&flight->lock);
		if (flight->state == FLIGHT_KEPT) {
			forget(flight, request);
			keep(flights, flight);
		}
		lock_release(&flight->lock);
	}
}

/* ---- Writes behind, reads ahead -------------------------------------------------------------- */

/* What is kept is written, if it can be, and nobody may be about to look for it. Return: whether nothing is kept. */
static bool keep_none(struct flights *flights)
{
	for (unsigned i = 0; i < FLIGHTS_BEHIND && flights_keep_any(flights); i++) {
		struct flight *flight = &flights->flight[i];
		if (!lock_try(&flight->lock))
			continue;
		if (flight->state == FLIGHT_KEPT && atomic_load(&flights->transfers) == 0)
			write_kept(flights, flight);
		lock_release(&flight->lock);
	}
	return !flights_keep_any(flights);
}

unsigned flights_write(struct flights *flights, const struct store_request *requests, unsigned count,
                       struct buffers *buffers, char *buffer, unsigned pages)
{
	if (atomic_load(&flights->flying) > 0)
		settle_some(flights, FLIGHTS, requests, count);
	struct flight *flight = keep_none(flights) ? take_one(flights, 0, FLIGHTS_BEHIND) : NULL;
	if (flight == NULL)
		return 0;
	make(flights, flight, requests, count, buffers, buffer, pages);
	unsigned under_way = begin(flights, flight);
	if (under_way == 0)
		atomic_fetch_sub(&flights->flying, 1);
	lock_release(&flight->lock);
	return under_way;
}

struct flight *flights_say(struct flights *flights, const struct store_request *requests, unsigned count,
                           struct buffers *buffers, char *buffer, unsigned pages)
{
	if (flights_keep_any(flights))
		return NULL;
	struct flight *flight = take_one(flights, FLIGHTS_BEHIND, FLIGHTS_AHEAD);
	if (flight != NULL)
		make(flights, flight, requests, count, buffers, buffer, pages);
	return flight;
}

unsigned flights_read(struct flights *flights, struct flight *flight, bool wanted)
{
	unsigned under_way = 0;
	if (wanted) {
		settle_some(flights, FLIGHTS_BEHIND, flight->requests, flight->count);
		if (!flights_keep_any(flights))
			under_way = begin(flights, flight);
	}
	if (under_way == 0)
		release(flights, flight);
	lock_release(&flight->lock);
	return under_way;
}

/* How many of the pages have been read, from the first on. */
static unsigned matching(const struct flight *flight, const off_t *offsets, unsigned count)
{
	unsigned n = 0;
	while (n < count && n < flight->pages && flight->at[n] == offsets[n])
		n++;
	return n;
}

static bool is_read(const struct flight *flight)
{
	bool good = true;
	for (unsigned i = 0; i < flight->count; i++)
		good = good && flight->requests[i].result == 0;
	return good;
}

unsigned flights_take(struct flights *flights, const off_t *offsets, unsigned count, char **buffer, unsigned *pages)
{
	unsigned n = 0;
	for (unsigned i = FLIGHTS_BEHIND; i < FLIGHTS && n == 0 && atomic_load(&flights->flying) > 0; i++) {
		struct flight *flight = &flights->flight[i];
		lock_acquire(&flight->lock);
		if (flight->state == FLIGHT_UNDER_WAY && matching(flight, offsets, 1) > 0) {
			end(flights, flight);
			n = is_read(flight) ? matching(flight, offsets, count) : 0;
			if (n == 0) {
				release(flights, flight);
			} else {
				*buffer = flight->buffer;
				*pages = flight->pages;
				flight->state = FLIGHT_NONE;
				atomic_fetch_sub(&flights->flying, 1);
			}
		}
		lock_release(&flight->lock);
	}
	return n;
}

/* ---- Forks, and the end ---------------------------------------------------------------------- */

void flights_stop(struct flights *flights)
{
	for (unsigned i = FLIGHTS; i-- > 0;) { /* as in flights_read() */
		struct flight *flight = &flights->flight[i];
		lock_acquire(&flight->lock);
		clear(flights, flight);
		if (flight->state == FLIGHT_KEPT)
			write_kept(flights, flight);
	}
}

void flights_go(struct flights *flights)
{
	for (unsigned i = 0; i < FLIGHTS; i++)
		lock_release(&flights->flight[i].lock);
}
