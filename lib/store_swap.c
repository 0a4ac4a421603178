/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store_swap.c - swap: slots for anonymous and private pages
 *
 * A bitmap says which slots are taken. A search looks first behind the slot of the page's
 * neighbour, then at a cursor that goes round by whole words, so that pages evicted one after
 * another lie one after another. When the 64 slots of a word are all free again, the medium is told
 * to give up that part: a file is never much larger than what it holds.
 *
 *      used == the number of bits set in map;  shared == the sum of more
 *
 * Locking: `lock` (rank 3) guards map, more and the counts. Signal context: all but swap_create and
 * swap_destroy.
 */
#include "store_medium.h"

#include <errno.h>

#include "guard.h"
#include "host.h"
#include "store_flight.h"

#define SLOTS_A_WORD 64

struct swap {
	struct medium *medium;
	unsigned page_shift;
	uint64_t slots;    /* how many there may be                       */
	struct lock lock;
	uint64_t used;
	uint64_t words;    /* of map                                      */
	uint64_t cursor;   /* word where the next search begins           */
	uint64_t *map;     /* [words]; a set bit is a slot taken          */
	uint16_t *more;    /* [slots]: pages that have it beside the first; NULL: nobody shares */
	uint64_t shared;   /* how many such there are                     */
	_Atomic bool refused; /* the medium had no room for the last write */
	struct flights flights;
};

/* ---- Life ---------------------------------------------------------------------------- */

static int medium_create(struct medium **out, const struct swap_config *config, const char **used)
{
#ifdef HAVE_LZ4
	if (config->lz4)
		return swap_lz4_create(out, config);
#endif
	return swap_file_create(out, config, used);
}

int swap_create(struct swap **out, const struct swap_config *config, const char **used)
{
	struct medium *medium;
	int failure = medium_create(&medium, config, used);
	if (failure < 0)
		return failure;
	struct swap *swap = host_metadata(sizeof(*swap));
	uint64_t words = (medium->slots + SLOTS_A_WORD - 1) / SLOTS_A_WORD;
	uint64_t *map = guard_metadata(words * sizeof(*map), GUARDED_SLOTS);
	if (swap == NULL || map == NULL) {
		if (swap != NULL)
			host_metadata_release(swap, sizeof(*swap));
		if (map != NULL)
			guard_metadata_release(map, words * sizeof(*map));
		medium->store.ops->close(&medium->store);
		return UPAGE_ENOMEM;
	}
	*swap = (struct swap){ .medium = medium,
		               .page_shift = config->page_shift,
		               .slots = medium->slots,
		               .words = words,
		               .map = map,
		               .flights = { .store = &medium->store, .page_shift = config->page_shift } };
	*out = swap;
	return 0;
}

void swap_destroy(struct swap *swap)
{
	INVARIANT(swap->used == 0);
	flights_stop(&swap->flights);
	swap->medium->store.ops->close(&swap->medium->store);
	guard_metadata_release(swap->map, swap->words * sizeof(*swap->map));
	if (swap->more != NULL)
		host_metadata_release(swap->more, swap->slots * sizeof(*swap->more));
	host_metadata_release(swap, sizeof(*swap));
}

/* ---- Slots --------------------------------------------------------------------------- */

static bool slot_is_free(const struct swap *swap, uint64_t slot)
{
	return slot < swap->slots &&
	       !(swap->map[slot / SLOTS_A_WORD] >> (slot % SLOTS_A_WORD) & 1);
}

/* How many slots are free from @slot on, at most @count. */
static unsigned free_run(const struct swap *swap, uint64_t slot, unsigned count)
{
	unsigned run = 0;
	while (run < count && slot_is_free(swap, slot + run))
		run++;
	return run;
}

/* The longest stretch of free slots that begins in a word, or the first of @count. */
static unsigned longest_in_word(const struct swap *swap, uint64_t index, unsigned count, uint64_t *first)
{
	unsigned longest = 0, run = 1;
	for (uint64_t free = ~swap->map[index]; free != 0 && run > 0 && longest < count;) {
		unsigned bit = (unsigned)__builtin_ctzll(free);
		uint64_t slot = index * SLOTS_A_WORD + bit;
		run = free_run(swap, slot, count); /* 0: past the last slot */
		if (run > longest) {
			longest = run;
			*first = slot;
		}
		free = bit + run < SLOTS_A_WORD ? free & (~UINT64_C(0) << (bit + run)) : 0;
	}
	return longest;
}

/* Free slots at or behind the cursor, beside each other: words that are free whole are preferred,
 * so that a run can grow there. */
static unsigned slot_search(struct swap *swap, unsigned count, uint64_t *first)
{
	unsigned longest = 0;
	for (uint64_t i = 0; i < swap->words; i++) {
		uint64_t index = (swap->cursor + i) % swap->words, slot = 0;
		bool settles = swap->map[index] == 0 || i == 0;
		unsigned run = settles || longest < count ? longest_in_word(swap, index, count, &slot) : 0;
		if (run > longest || (settles && run == count)) {
			longest = run;
			*first = slot;
		}
		if (settles && run == count)
			break;
		if (longest > 0 && i >= 1024)
			break; /* a slot in hand is worth more than a long search */
	}
	if (longest > 0)
		swap->cursor = *first / SLOTS_A_WORD;
	return longest;
}

unsigned swap_allocate_run(struct swap *swap, uint32_t near, unsigned count, uint32_t *first)
{
	INVARIANT(count > 0 && count <= SWAP_RUN_MAX);
	lock_acquire(&swap->lock);
	uint64_t slot = near;
	unsigned run = near != SWAP_NONE ? free_run(swap, near, count) : 0;
	if (run == 0 && swap->used < swap->slots)
		run = slot_search(swap, count, &slot);
	for (uint64_t i = slot; i < slot + run; i++)
		swap->map[i / SLOTS_A_WORD] |= UINT64_C(1) << (i % SLOTS_A_WORD);
	swap->used += run;
	lock_release(&swap->lock);
	*first = (uint32_t)slot;
	return run;
}

bool swap_leave(struct swap *swap, uint32_t slot)
{
	lock_acquire(&swap->lock);
	INVARIANT(!slot_is_free(swap, slot));
	bool others = swap->more != NULL && swap->more[slot] > 0;
	if (others) {
		swap->more[slot]--;
		swap->shared--;
	}
	lock_release(&swap->lock);
	return others;
}

/* The lock is held. */
static void release(struct swap *swap, uint32_t slot)
{
	uint64_t *word = &swap->map[slot / SLOTS_A_WORD];
	*word &= ~(UINT64_C(1) << (slot % SLOTS_A_WORD));
	swap->used--;
	if (*word == 0 && swap->medium->ops->discard != NULL) {
		/* Before anyone can take one of them again: under the lock. */
		off_t first = (off_t)(slot / SLOTS_A_WORD * SLOTS_A_WORD) << swap->page_shift;
		swap->medium->ops->discard(swap->medium, first, (size_t)SLOTS_A_WORD << swap->page_shift);
	}
}

void swap_give_back(struct swap *swap, uint32_t slot)
{
	if (flights_keep_any(&swap->flights)) {
		const struct store_request gone = swap_request(swap, STORE_WRITE, slot, 1, NULL);
		flights_forget(&swap->flights, &gone);
	}
	if (swap->medium->ops->forget != NULL)
		swap->medium->ops->forget(swap->medium, slot);
	lock_acquire(&swap->lock);
	release(swap, slot);
	lock_release(&swap->lock);
}

void swap_free(struct swap *swap, uint32_t slot)
{
	if (swap_leave(swap, slot))
		return;
	swap_give_back(swap, slot);
	atomic_store(&swap->refused, false);
}

int swap_share_begin(struct swap *swap)
{
	lock_acquire(&swap->lock);
	if (swap->more == NULL)
		swap->more = host_metadata(swap->slots * sizeof(*swap->more));
	int result = swap->more != NULL ? 0 : UPAGE_ENOMEM;
	lock_release(&swap->lock);
	return result;
}

void swap_share(struct swap *swap, uint32_t slot, unsigned more)
{
	lock_acquire(&swap->lock);
	INVARIANT(!slot_is_free(swap, slot) && swap->more[slot] + more <= UINT16_MAX);
	swap->more[slot] = (uint16_t)(swap->more[slot] + more);
	swap->shared += more;
	lock_release(&swap->lock);
}

uint64_t swap_references(struct swap *swap)
{
	lock_acquire(&swap->lock);
	uint64_t references = swap->used + swap->shared;
	lock_release(&swap->lock);
	return references;
}

uint64_t swap_used(struct swap *swap)
{
	lock_acquire(&swap->lock);
	uint64_t used = swap->used;
	lock_release(&swap->lock);
	return used;
}

bool swap_can_compare(const struct swap *swap)
{
	return swap->medium->reads_cached;
}

bool swap_takes_memory(const struct swap *swap)
{
	return swap->medium->ops->bytes != NULL;
}

uint64_t swap_slots(struct swap *swap)
{
	return swap->slots;
}

uint64_t swap_bytes(struct swap *swap)
{
	const struct medium_ops *ops = swap->medium->ops;
	return ops->bytes != NULL ? ops->bytes(swap->medium) : swap_used(swap) << swap->page_shift;
}

bool swap_was_refused(struct swap *swap)
{
	return atomic_load(&swap->refused);
}

bool swap_is_full(struct swap *swap)
{
	return swap_was_refused(swap) || swap_used(swap) >= swap->slots;
}

struct store_request swap_request(const struct swap *swap, enum store_operation operation, uint32_t slot,
                                  unsigned count, void *buffer)
{
	return (struct store_request){ .operation = operation,
		                       .buffer = buffer,
		                       .length = (size_t)count << swap->page_shift,
		                       .offset = (off_t)slot << swap->page_shift };
}

unsigned swap_transfer_all(struct swap *swap, struct store_request *requests, unsigned count)
{
	bool flies = swap->medium->gains_by_many;
	if (flies)
		flights_settle(&swap->flights, requests, count);
	unsigned at_once = store_transfer_all(&swap->medium->store, requests, count);
	if (flies)
		flights_patch(&swap->flights, requests, count);
	bool writes = false, no_room = false;
	for (unsigned i = 0; i < count; i++) {
		if (requests[i].operation != STORE_WRITE)
			continue;
		writes = true;
		no_room = no_room || requests[i].result == -ENOSPC || requests[i].result == -EDQUOT;
	}
	if (writes)
		atomic_store(&swap->refused, no_room);
	return at_once;
}

int swap_transfer_run(struct swap *swap, enum store_operation operation, uint32_t slot, unsigned count,
                      void *buffer)
{
	struct store_request request = swap_request(swap, operation, slot, count, buffer);
	swap_transfer_all(swap, &request, 1);
	return request.result;
}

bool swap_gains_by_many(const struct swap *swap)
{
	return swap->medium->gains_by_many;
}

struct flights *swap_flights(struct swap *swap)
{
	return &swap->flights;
}

unsigned swap_take_ahead(struct swap *swap, const uint32_t *slots, unsigned count, char **buffer, unsigned *pages)
{
	off_t offsets[BUFFER_RUN_MAX];
	if (!swap->medium->gains_by_many)
		return 0;
	for (unsigned i = 0; i < count; i++)
		offsets[i] = (off_t)slots[i] << swap->page_shift;
	return flights_take(&swap->flights, offsets, count, buffer, pages);
}

int swap_prepare(struct swap *swap)
{
	return swap->medium->ops->prepare != NULL ? swap->medium->ops->prepare(swap->medium) : 0;
}

/* ---- Copies for forks ------------------------------------------------------------------ */

void swap_fork_begin(struct swap *swap)
{
	flights_stop(&swap->flights);
	lock_acquire(&swap->lock);
}

void swap_fork_end(struct swap *swap)
{
	lock_release(&swap->lock);
	flights_go(&swap->flights);
}

/* In runs of slots beside each other. */
static int copy_slots(const struct swap *swap)
{
	int result = 0;
	uint64_t left = swap->used;
	for (uint64_t slot = 0; left > 0 && result == 0;) {
		if (swap->map[slot / SLOTS_A_WORD] == 0) {
			slot += SLOTS_A_WORD - slot % SLOTS_A_WORD;
		} else if (slot_is_free(swap, slot)) {
			slot++;
		} else {
			uint64_t end = slot + 1;
			while (end < swap->slots && !slot_is_free(swap, end))
				end++;
			result = swap->medium->ops->copy(swap->medium, (off_t)(slot << swap->page_shift),
			                                 (size_t)(end - slot) << swap->page_shift);
			left -= end - slot;
			slot = end;
		}
	}
	return result;
}

int swap_copy_begin(struct swap *swap)
{
	const struct medium_ops *ops = swap->medium->ops;
	if (ops->copy_begin == NULL || swap->used == 0)
		return 0;
	if (flights_keep_any(&swap->flights)) /* what is nowhere on the disk cannot be copied there */
		return -EIO;
	int result = ops->copy_begin(swap->medium);
	if (result == 0)
		result = copy_slots(swap);
	if (result < 0)
		ops->copy_end(swap->medium, false);
	return result;
}

void swap_copy_end(struct swap *swap, bool shared)
{
	if (swap->medium->ops->copy_end != NULL)
		swap->medium->ops->copy_end(swap->medium, shared);
}

void swap_copy_adopt(struct swap *swap, bool shared)
{
	if (swap->medium->ops->copy_adopt != NULL)
		swap->medium->ops->copy_adopt(swap->medium);
	swap_copy_end(swap, shared);
	atomic_store(&swap->refused, false);
}
