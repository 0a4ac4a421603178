/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * futex.c - futexes whose words are in paged memory
 *
 * A futex is found again by its address only if it is private. One that is not would be known
 * by the place of its frame, and be lost when the page moves: so each call on a word in paged
 * memory is made a private one. (A call that names one word there and one elsewhere is private
 * as a whole: who waits for the latter with a shared call is not found by it.)
 *
 * To wait for a private futex the kernel needs its page only while it sets up. So the page is
 * brought in before, and nothing is held while asleep; if it went again in between the kernel
 * says EFAULT, has done nothing, and is asked again. A word that the kernel may write after it
 * slept (of priority inheritance) is pinned for that time.
 *
 * No state. Signal context: see call.h.
 * Source: futex(2); kernel/futex of Linux.
 */
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "handlers.h"
#include "host.h"
#include "map.h"
#include "space.h"
#include "table.h"

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif
#define FLAG_NUMA 0x04 /* of the newer calls: a node's number follows the word */

enum access {
	NONE,  /* not an address */
	NAMED, /* only by its address */
	READ,
	WRITE,
	HELD, /* written, maybe after a sleep */
};

struct word {
	uint32_t *address;
	enum access access;
	bool pinned;
};

/* Brings a word's page in as the kernel needs it. Return: whether the program may do that. */
static bool touch(const struct word *word)
{
	uint32_t value;
	if (word->access <= NAMED)
		return true;
	if ((uintptr_t)word->address % sizeof(value) != 0 ||
	    guest_copy_in(&value, word->address, sizeof(value)) != 0)
		return false;
	/* Written with what it is, at once. */
	return word->access == READ || guest_exchange(word->address, &value, value);
}

static void pin(struct word *word)
{
	upage_space *space = space_find((uintptr_t)word->address);
	word->pinned = word->access == HELD && space != NULL && !guest_is_foreign(word->address) &&
	               (uintptr_t)word->address % sizeof(*word->address) == 0 &&
	               map_hold(space, word->address, PROT_READ | PROT_WRITE) == 0;
}

static void unpin(const struct word *word)
{
	if (word->pinned)
		map_release(space_find((uintptr_t)word->address), word->address);
}

/* Makes a call on words of which one or more are paged. @retry: nothing else can be the cause
 * of an EFAULT. Where there is no pin to be had the word is only brought in. */
static long execute(struct guest_call *call, const long value[6], struct word *words, size_t count,
                    bool retry)
{
	long result;
	for (size_t i = 0; i < count; i++)
		pin(&words[i]);
	for (;;) {
		bool there = true;
		for (size_t i = 0; i < count; i++)
			there = touch(&words[i]) && there;
		result = guest_execute(call, call->number, value[0], value[1], value[2], value[3],
		                       value[4], value[5]);
		if (result != -EFAULT || !there || !retry)
			break;
		host_yield();
	}
	for (size_t i = 0; i < count; i++)
		unpin(&words[i]);
	return result;
}

/* A limit of time, paged or not: once it is copied it is not the cause of an EFAULT.
 * Return: 1 if so, 0: the kernel will find it bad, -ENOMEM. */
static int take_time(struct guest_call *call, long *value)
{
	if (*value == 0)
		return 1;
	void *ours = guest_buffer(call, sizeof(struct timespec));
	if (ours == NULL)
		return -ENOMEM;
	if (guest_copy_in(ours, (const void *)*value, sizeof(struct timespec)) != 0)
		return 0;
	*value = (long)ours;
	return 1;
}

static bool is_paged_word(const struct word *word)
{
	return word->access != NONE && guest_is_paged(word->address, sizeof(uint32_t)) &&
	       !guest_is_foreign(word->address);
}

/* ---- futex(2) -------------------------------------------------------------------------- */

/* What each operation does with its addresses, and whether it has a limit of time. */
static const struct {
	uint8_t first, second;
	bool timed;
} operations[] = {
	[FUTEX_WAIT] = { READ, NONE, true },
	[FUTEX_WAKE] = { NAMED, NONE, false },
	[FUTEX_REQUEUE] = { NAMED, NAMED, false },
	[FUTEX_CMP_REQUEUE] = { READ, NAMED, false },
	[FUTEX_WAKE_OP] = { NAMED, WRITE, false },
	[FUTEX_LOCK_PI] = { HELD, NONE, true },
	[FUTEX_UNLOCK_PI] = { HELD, NONE, false },
	[FUTEX_TRYLOCK_PI] = { HELD, NONE, false },
	[FUTEX_WAIT_BITSET] = { READ, NONE, true },
	[FUTEX_WAKE_BITSET] = { NAMED, NONE, false },
	[FUTEX_WAIT_REQUEUE_PI] = { READ, HELD, true },
	[FUTEX_CMP_REQUEUE_PI] = { READ, HELD, false },
	[FUTEX_LOCK_PI2] = { HELD, NONE, true },
};

long guest_futex(struct guest_call *call)
{
	const size_t known = sizeof(operations) / sizeof(operations[0]);
	unsigned operation = (unsigned)call->argument[1] & (unsigned)FUTEX_CMD_MASK;
	struct word words[2] = { { .access = NONE }, { .access = NONE } };
	long value[6];
	int timed = 1;
	memcpy(value, call->argument, sizeof(value));
	if (operation < known) {
		words[0].address = (uint32_t *)value[0];
		words[0].access = operations[operation].first;
		words[1].address = (uint32_t *)value[4];
		words[1].access = operations[operation].second;
		if (operations[operation].timed)
			timed = take_time(call, &value[3]);
		if (timed < 0)
			return timed;
	}
	if (!is_paged_word(&words[0]) && !is_paged_word(&words[1]))
		return guest_execute(call, call->number, value[0], value[1], value[2], value[3],
		                     value[4], value[5]);
	value[1] |= FUTEX_PRIVATE_FLAG;
	return execute(call, value, words, 2, timed == 1);
}

/* ---- The newer calls ------------------------------------------------------------------- */

/* Notes the word, or words, of a futex with @flags. Return: how many. */
static size_t note_words(struct word words[2], long address, uint64_t flags, enum access access)
{
	words[0] = (struct word){ .address = (uint32_t *)address, .access = access };
	words[1] = (struct word){ .address = (uint32_t *)address + 1, .access = WRITE };
	return flags & FLAG_NUMA ? 2 : 1;
}

/* futex_wait and futex_wake: one futex, with its flags in argument 3. */
static long execute_one(struct guest_call *call, enum access access, bool timed)
{
	struct word words[2];
	long value[6];
	int retry = 1;
	memcpy(value, call->argument, sizeof(value));
	if (timed)
		retry = take_time(call, &value[4]);
	if (retry < 0)
		return retry;
	size_t count = note_words(words, value[0], (uint64_t)value[3], access);
	if (!is_paged_word(&words[0]))
		return guest_execute(call, call->number, value[0], value[1], value[2], value[3],
		                     value[4], value[5]);
	value[3] |= FUTEX_PRIVATE_FLAG;
	return execute(call, value, words, count, retry == 1);
}

long guest_futex_wait(struct guest_call *call)
{
	return execute_one(call, READ, true);
}

long guest_futex_wake(struct guest_call *call)
{
	return execute_one(call, NAMED, false);
}

/* Several futexes in an array, argument 0. The values of the first @read are looked at. */
static long execute_many(struct guest_call *call, long value[6], size_t number, size_t read,
                         bool retry)
{
	struct futex_waitv *ours = guest_buffer(call, number * sizeof(*ours));
	struct word *words = guest_buffer(call, 2 * number * sizeof(*words));
	size_t count = 0;
	bool paged = false;
	if (ours == NULL || words == NULL)
		return -ENOMEM;
	if (guest_copy_in(ours, (const void *)value[0], number * sizeof(*ours)) == 0) {
		for (size_t i = 0; i < number; i++) {
			struct futex_waitv *w = &ours[i];
			size_t more = note_words(&words[count], (long)w->uaddr, w->flags,
			                         i < read ? READ : NAMED);
			if (is_paged_word(&words[count])) {
				w->flags |= FUTEX_PRIVATE_FLAG;
				paged = true;
			}
			count += more;
		}
		value[0] = (long)ours;
	}
	return execute(call, value, words, count, paged && retry);
}

long guest_futex_waitv(struct guest_call *call)
{
	size_t number = (uint32_t)call->argument[1];
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	int retry = take_time(call, &value[3]);
	if (retry < 0)
		return retry;
	if (number == 0 || number > FUTEX_WAITV_MAX) /* refused before a look at them */
		return execute(call, value, NULL, 0, false);
	return execute_many(call, value, number, number, retry == 1);
}

long guest_futex_requeue(struct guest_call *call)
{
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	return execute_many(call, value, 2, 1, true);
}
