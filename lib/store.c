/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store.c - what all stores share, and the store of the program's own
 */
#include "store.h"

#include <string.h>

#include "host.h"

#define BACKING_SLAB HOST_PAGE_SIZE

static struct lock store_lock; /* guards what follows, references and mappings */
static struct backing *free_backings;
_Atomic bool store_was_left;

int store_transfer(upage_store *store, enum store_operation operation, void *buffer,
                   size_t length, off_t offset)
{
	struct store_request request = {
		.operation = operation, .buffer = buffer, .length = length, .offset = offset
	};
	store_submit(store, &request);
	return store_complete(&request);
}

unsigned store_transfer_all(upage_store *store, struct store_request *requests, unsigned count)
{
	const struct store_ops *ops = store->ops;
	unsigned at_once = 0;
	if (ops->end_all != NULL)
		at_once = ops->end_all(store, count > 1 ? ops->begin_all(store, requests, count) : NULL, requests, count);
	else
		for (unsigned i = 0; i < count; i++)
			store_submit(store, &requests[i]);
	for (unsigned i = 0; i < count; i++)
		store_complete(&requests[i]);
	return at_once > 1 ? at_once : 0;
}

/* ---- Backings ------------------------------------------------------------------------ */

/* In the library's own memory: a page fault reads it, and malloc's may be paged. */
static struct backing *backing_allocate(void)
{
	if (free_backings == NULL) {
		struct backing *slab = host_metadata(BACKING_SLAB);
		for (size_t i = 0; slab != NULL && i < BACKING_SLAB / sizeof(*slab); i++) {
			slab[i].next_free = free_backings;
			free_backings = &slab[i];
		}
	}
	struct backing *backing = free_backings;
	if (backing != NULL)
		free_backings = backing->next_free;
	return backing;
}

struct backing *backing_create(upage_store *store, int64_t delta, bool shared)
{
	lock_acquire(&store_lock);
	struct backing *backing = backing_allocate();
	if (backing != NULL) {
		*backing = (struct backing){
			.store = store, .delta = delta, .shared = shared, .references = 1
		};
		if (store != NULL)
			store->mappings++;
	}
	lock_release(&store_lock);
	return backing;
}

void backing_reference(struct backing *backing)
{
	lock_acquire(&store_lock);
	backing->references++;
	lock_release(&store_lock);
}

void backing_release(struct backing *backing)
{
	lock_acquire(&store_lock);
	INVARIANT(backing->references > 0);
	if (--backing->references == 0) {
		if (backing->store != NULL && --backing->store->mappings == 0)
			atomic_store(&store_was_left, true);
		backing->next_free = free_backings;
		free_backings = backing;
	}
	lock_release(&store_lock);
}

void backing_fork_begin(void)
{
	lock_acquire(&store_lock);
}

void backing_fork_end(void)
{
	lock_release(&store_lock);
}

PUBLIC int upage_store_close(upage_store *store)
{
	if (store == NULL)
		return 0;
	lock_acquire(&store_lock);
	bool mapped = store->mappings > 0;
	lock_release(&store_lock);
	if (mapped)
		return UPAGE_EBUSY;
	store->ops->close(store);
	return 0;
}

/* ---- The program's own store --------------------------------------------------------- */

struct user_store {
	struct upage_store store;
	struct upage_store_ops ops;
	void *context;
};

static void user_submit(upage_store *store, struct store_request *request)
{
	struct user_store *user = (struct user_store *)store;
	int result;
	if (request->operation == STORE_READ) {
		/* What it leaves out must not be what the buffer had before: another page's. */
		memset(request->buffer, 0, request->length);
		result = user->ops.read(user->context, request->buffer, request->length,
		                        request->offset);
	} else {
		result = user->ops.write(user->context, request->buffer, request->length,
		                         request->offset);
	}
	store_done(request, result == 0 ? 0 : UPAGE_EIO);
}

static int user_sync(upage_store *store)
{
	struct user_store *user = (struct user_store *)store;
	if (user->ops.sync == NULL)
		return 0;
	return user->ops.sync(user->context) == 0 ? 0 : UPAGE_EIO;
}

static void user_close(upage_store *store)
{
	struct user_store *user = (struct user_store *)store;
	if (user->ops.close != NULL)
		user->ops.close(user->context);
	host_metadata_release(user, sizeof(*user));
}

static const struct store_ops user_ops = {
	.name = "user", .submit = user_submit, .sync = user_sync, .close = user_close
};

PUBLIC int upage_store_create(upage_store **out, const struct upage_store_ops *ops, void *context)
{
	if (out == NULL || ops == NULL || ops->size == 0)
		return UPAGE_EINVAL;
	if (ops->size > sizeof(*ops))
		return UPAGE_E2BIG;
	struct upage_store_ops copy = { 0 };
	memcpy(&copy, ops, ops->size);
	if (copy.read == NULL)
		return UPAGE_EINVAL;
	struct user_store *user = host_metadata(sizeof(*user));
	if (user == NULL)
		return UPAGE_ENOMEM;
	user->store.ops = &user_ops;
	user->store.writable = copy.write != NULL;
	user->ops = copy;
	user->context = context;
	*out = &user->store;
	return 0;
}
