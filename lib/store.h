/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store.h - backing stores: where pages live that are in no frame
 *
 * A store moves pages between a buffer and its medium. The interface is asynchronous: a
 * request is submitted, and completed later, by whoever needs the result. A store that works
 * at once does everything in submit. Of several requests that do not depend on each other, a store
 * may have all under way while their one caller waits (store_aio.h).
 *
 * A backing ties the pages of one mapping to a store: the page at address a has its content
 * at offset a + delta. It is shared by the pieces that a mapping is split into.
 *
 * Locking: `mappings` of a store and `references` of a backing by the lock in store.c (rank
 * 3); the rest does not change. Signal context: submit and complete, yes.
 */
#ifndef UPAGE_STORE_H
#define UPAGE_STORE_H

#include <stdatomic.h>

#include "compiler.h"
#include "lock.h"
#include "upage.h"

/* READ_CACHED: what needs no wait for the medium, or -EAGAIN; of swap only. */
enum store_operation { STORE_READ, STORE_WRITE, STORE_READ_CACHED };

/* Results beside 0 and negated errno values. */
#define STORE_PAST_END 1 /* a read wholly past the end of a file */

struct store_request {
	enum store_operation operation;
	void *buffer;   /* stays as it is until the request is complete */
	size_t length;  /* bytes */
	off_t offset;   /* bytes into the store */
	size_t moved;   /* of a read from a file, once done: before its end; the rest is zeros */
	int result;     /* valid once done */
	_Atomic uint32_t done; /* a futex: 0 under way, 2 and somebody waits, 1 done */
};

/* Requests that are submitted at once, at most. */
#define STORE_MANY 64

struct store_ops {
	const char *name;
	bool clusters; /* a read may be of several pages, and says in `moved` how many there are */
	void (*submit)(upage_store *store, struct store_request *request);
	/* Some that are independent of each other are put under way at once, as far as can be. Return: what the end
	 * wants; NULL: nothing is under way. Both NULL: a store that does one after another. */
	void *(*begin_all)(upage_store *store, struct store_request *requests, unsigned count);
	/* All are complete when it returns, with a @way or without. Return: how many were under way at once. */
	unsigned (*end_all)(upage_store *store, void *way, struct store_request *requests, unsigned count);
	int (*sync)(upage_store *store);
	void (*close)(upage_store *store); /* frees the store too */
};

struct upage_store {
	const struct store_ops *ops;
	bool writable;
	uint64_t device, inode; /* of a file: two stores of one file are one; else 0, 0 */
	const _Atomic int *descriptor; /* of a file that the host can show pages of; NULL: it is read */
	uint64_t mappings;
};

struct backing {
	upage_store *store;  /* NULL: anonymous, zero at first   */
	int64_t delta;       /* store offset - address           */
	bool shared;         /* changes go to the store, else to swap */
	const struct place *place; /* of the space it belongs to, if that shares its addresses: window.h */
	struct home *home;   /* of the space, if its pages may be at home: home.h */
	bool foreign;        /* the host maps this memory itself, and the pager has none of it */
	uint32_t references; /* mappings                         */
	struct backing *next_free;
};

static inline void store_submit(upage_store *store, struct store_request *request)
{
	store->ops->submit(store, request);
}

/* Ends a request. */
static inline void store_done(struct store_request *request, int result)
{
	request->result = result;
	if (atomic_exchange(&request->done, 1) == 2)
		futex_wake(&request->done, INT_MAX);
}

/* Waits for the result. */
static inline int store_complete(struct store_request *request)
{
	for (;;) {
		uint32_t done = 0;
		if (!atomic_compare_exchange_strong(&request->done, &done, 2) && done == 1)
			return request->result;
		futex_wait(&request->done, 2);
	}
}

int store_transfer(upage_store *store, enum store_operation operation, void *buffer,
                   size_t length, off_t offset);

/* Up to STORE_MANY requests: each has its result then. Return: how many were under way beside others. */
unsigned store_transfer_all(upage_store *store, struct store_request *requests, unsigned count);

/* The regular file of a descriptor, which stays the caller's, to be read; one that the host has mapped,
 * and can show pages of (PTE_FILE). Signal context: yes. */
int store_open_descriptor(upage_store **out, int descriptor);

/* The same of one that becomes the store's, or is closed. */
int store_take_descriptor(upage_store **out, int descriptor);

/* A store has lost its last mapping. Cleared by who looks for such stores, before he does. */
extern _Atomic bool store_was_left;

static inline bool store_is_same(const upage_store *a, const upage_store *b)
{
	return a == b || (a->inode != 0 && a->device == b->device && a->inode == b->inode);
}

/* A backing with one reference; NULL: no memory. The store cannot be closed while it lives. */
struct backing *backing_create(upage_store *store, int64_t delta, bool shared);
void backing_reference(struct backing *backing);
void backing_release(struct backing *backing);

/* Around a fork, so that the child gets the list of backings in order. */
void backing_fork_begin(void);
void backing_fork_end(void);

static inline off_t backing_offset(const struct backing *backing, uintptr_t page)
{
	return (off_t)((int64_t)page + backing->delta);
}

/* ---- Swap: the store of anonymous and private pages ---------------------------------- */

/*
 * Slots are page-sized places in a store, its medium (store_medium.h), given out in runs: a page asks for
 * the slot behind its neighbour's, else for the next free stretch.
 * Several pages may have one slot, which counts them; it is written to by who alone has it.
 */
struct swap;

struct swap_config {
	bool lz4;            /* in memory, compressed, if the library was built so; else in a file */
	const char *path;    /* of a file: a directory (an unnamed file in it), a name (created, then unlinked
	                        at once), a block device, or "": $TMPDIR or /tmp */
	bool direct;         /* past the host's page cache: buffers of transfers are aligned to host pages then */
	uint64_t bytes;      /* the most that it may hold; 0: as much as the disk; of memory, half of the
	                        machine's */
	unsigned page_shift;
};

/**
 * swap_create - make a swap
 * @used: out: the path that was meant, for messages, if it is a file
 * Return: 0, or a negated errno value; UPAGE_ENOTSUP: there is no O_DIRECT in that file system.
 */
int swap_create(struct swap **out, const struct swap_config *config, const char **used);
void swap_destroy(struct swap *swap);

/* Before others use this memory who can open no file for us (pool_vfork_begin). Return: 0, or why the first
 * page that leaves will not be saved, as a negated errno value. */
int swap_prepare(struct swap *swap);

/* Around a fork: keeps the slots as they are, and a medium of the child's own with the content of
 * all that are taken, as frame_copy_begin() and its like. If none is, the child makes its file
 * when it needs one. */
void swap_fork_begin(struct swap *swap);
void swap_fork_end(struct swap *swap);
int swap_copy_begin(struct swap *swap);
void swap_copy_end(struct swap *swap, bool shared);
void swap_copy_adopt(struct swap *swap, bool shared);

#define SWAP_NONE UINT32_MAX

/* Up to @count slots beside each other, at most SWAP_RUN_MAX: from @near on, if that is free, else where
 * the search finds as many, or the most. Return: how many; *first is the first of them. 0: full. */
#define SWAP_RUN_MAX 64
unsigned swap_allocate_run(struct swap *swap, uint32_t near, unsigned count, uint32_t *first);

/* One; SWAP_NONE: full. */
static inline uint32_t swap_allocate(struct swap *swap, uint32_t near)
{
	uint32_t slot;
	return swap_allocate_run(swap, near, 1, &slot) != 0 ? slot : SWAP_NONE;
}

void swap_free(struct swap *swap, uint32_t slot); /* once a page that has it */

/* One that no page has had: what was to be in it could not be written. The medium has no more room than before. */
void swap_give_back(struct swap *swap, uint32_t slot);
uint64_t swap_used(struct swap *swap);

/* Slots may be shared from now on. Return: 0 or UPAGE_ENOMEM. Not in signal context. */
int swap_share_begin(struct swap *swap);

/* @more pages have a slot. */
void swap_share(struct swap *swap, uint32_t slot, unsigned more);

/* A page that has been read leaves its slot to the others that have it. Return: whether there are
 * any; else the slot is its own. */
bool swap_leave(struct swap *swap, uint32_t slot);

/* Whether what leaves can be compared with what its slot has, without waiting for the medium. */
bool swap_can_compare(const struct swap *swap);

/* Whether what slots hold takes memory: a copy that is out of date is not worth that. */
bool swap_takes_memory(const struct swap *swap);

/* The slots in use, each as often as it is had. */
uint64_t swap_references(struct swap *swap);
uint64_t swap_slots(struct swap *swap);

/* Bytes that their content takes, on the disk or in memory. */
uint64_t swap_bytes(struct swap *swap);

/* Whether another page would find no slot: all taken, or the medium refused the last write, which it had no
 * room for. */
bool swap_is_full(struct swap *swap);
bool swap_was_refused(struct swap *swap);

/* Moves the pages of @count slots beside each other by one request. Return: 0 or a negated errno value:
 * some of them may have been moved. */
int swap_transfer_run(struct swap *swap, enum store_operation operation, uint32_t slot, unsigned count,
                      void *buffer);

/* What is to be moved so, for swap_transfer_all(). */
struct store_request swap_request(const struct swap *swap, enum store_operation operation, uint32_t slot,
                                  unsigned count, void *buffer);

/* Up to STORE_MANY such requests, each with a result of its own. Return: how many were under way beside others. */
unsigned swap_transfer_all(struct swap *swap, struct store_request *requests, unsigned count);

/* Whether that takes less time than one after another; and may be done while nobody waits. */
bool swap_gains_by_many(const struct swap *swap);

/* Its transfers that nobody waits for; where many gain nothing there are none. */
struct flights *swap_flights(struct swap *swap);

/* flights_take() of the pages of some slots. */
unsigned swap_take_ahead(struct swap *swap, const uint32_t *slots, unsigned count, char **buffer, unsigned *pages);

static inline int swap_transfer(struct swap *swap, enum store_operation operation, uint32_t slot,
                                void *buffer)
{
	return swap_transfer_run(swap, operation, slot, 1, buffer);
}

#endif
