/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store_aio.h - requests of one file that are under way at once
 *
 * A disk serves sixteen requests in little more time than one. Past the page cache (O_DIRECT) the host's
 * asynchronous I/O takes them all by one system call, and a second one waits for all, at once or later (store_flight.h). In the page cache it would
 * do them one after another: there is nothing to be gained.
 *
 * Not by io_uring, which is as fast, but gives what cannot be done without waiting (each write to a hole of a
 * file is) to threads, which are the process's: they can be seen and counted, and some system calls
 * refuse a process that has any. A ring of it is a descriptor, too. Here is neither, only a page of memory that
 * belongs to the address space: it ends with it, after the requests that are under way.
 *
 * Whoever has requests takes a ring of his own for as long as they are under way, and gets what completes
 * in it: nobody waits for what another may have fetched, and no wake-up can be lost. There are few rings, made when as
 * many are needed at once, and kept. Who finds none, or a host that makes none, has his requests done
 * one after another.
 *
 * A child of a fork has no rings of its parent's: they are not mapped there.
 *
 * Locking: none; a ring is taken by compare and swap. Signal context: yes, with all signals blocked.
 * Source: io_submit(2), io_getevents(2); Linux, fs/aio.c.
 */
#ifndef UPAGE_STORE_AIO_H
#define UPAGE_STORE_AIO_H

#include "store.h"

/* Whether there is a ring, or there can be one. */
bool store_aio_is_available(void);

/* Begins up to STORE_MANY requests, in or out of a file that is open with O_DIRECT, which stay where they are until
 * the end. Return: what that wants; NULL: nothing is under way. */
struct aio_ring *store_aio_begin(int descriptor, struct store_request *requests, unsigned count);

/* Waits for them, and ends those that could be done whole. The rest are for the caller to do, by themselves: they tell
 * him then what is wrong. Return: how many were under way at once. */
unsigned store_aio_end(struct aio_ring *ring);

/* In the child of a fork. */
void store_aio_fork_child(void);

#endif
