/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lock.h - locks that may be taken in signal context, and their ranks
 *
 * Invariant: a thread that holds a lock has every signal blocked (a page fault has, by the
 * trap's signal mask; public calls block them by signals_block()) and does not touch paged
 * memory. So no holder can be interrupted by code that wants the same lock.
 *
 * Ranks, in the order of acquisition; a thread may only take a lock of a higher rank:
 *   0  spaces_lock             spaces are made, ended, switched, copied (space.h)
 *   1  upage_space.lock         mappings of a space (readers: page faults); of several at once under
 *                               the lock that spaces are made by, for a fork or a clone
 *   -  upage_pool.runs_lock     the list of runs. Who holds it only tries the locks of spaces
 *      compaction.lock, then    one pass over the frames at a time; and while pages move, which
 *      compaction.moving        a fork keeps from happening. Whoever holds these waits for no
 *                               lock of rank 1, and only tries those of rank 2
 *   2  the lock bit of a PTE    one page: where it is, what the host shows of it. Whoever
 *                               holds one never blocks on rank 1, nor on a second PTE (it
 *                               may try one), so a holder of rank 1 may wait for rank 2
 *  2.2 sharers_lock            pools that hide pages for each other (view.c); its holder only tries
 *                               locks of rank 2
 *  2.5 window.lock             where the host has the pages of a window (readers: calls on
 *                               pages); its holder waits for nothing but a leaf
 *      home.lock               which pages are at home, and where guards are laid; the same
 *   3  access bits of a leaf, choice of the policy, a zone of frames (or all of them, in order),
 *      slots, page-table memory: leaves, held for tens of nanoseconds, one at a time
 *
 * Signal context: yes. Cost: one atomic operation if free, else futex(2).
 * Source: Ulrich Drepper, "Futexes Are Tricky", 2011 (the three-state mutex).
 */
#ifndef UPAGE_LOCK_H
#define UPAGE_LOCK_H

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shard.h"
#include "syscall.h"

static inline void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
	syscall_4(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL);
}

static inline void futex_wake(_Atomic uint32_t *word, int count)
{
	syscall_3(SYS_futex, word, FUTEX_WAKE_PRIVATE, count);
}

/* Before a thread sleeps it looks so often whether it has to: what it waits for mostly takes a few
 * microseconds, if the holder is running and waits for no store, and to sleep and be woken takes more. */
#define LOCK_LOOKS 100

static inline void lock_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield");
#endif
}

struct lock {
	_Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody may wait */
};

static inline void lock_acquire(struct lock *lock)
{
	for (unsigned looks = 0; looks < LOCK_LOOKS; looks++) {
		uint32_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);
		if (word == 0 && atomic_compare_exchange_strong(&lock->word, &word, 1))
			return;
		if (word == 2) /* others sleep already */
			break;
		lock_pause();
	}
	while (atomic_exchange(&lock->word, 2) != 0)
		futex_wait(&lock->word, 2);
}

static inline bool lock_try(struct lock *lock)
{
	uint32_t word = 0;
	return atomic_compare_exchange_strong(&lock->word, &word, 1);
}

static inline void lock_release(struct lock *lock)
{
	if (atomic_exchange(&lock->word, 0) == 2)
		futex_wake(&lock->word, 1);
}

/* Many readers or one writer; a waiting writer keeps new readers out. Readers that are many and quick
 * (rwlock_read_part) count themselves in parts, each on a line of its own, while no writer is about:
 * who becomes the writer waits until all parts are 0. Of a reader that comes to its part, and then
 * looks for a writer, and a writer that says so, and then looks at the parts, one sees the other. */
#define RWLOCK_WRITER 0x80000000u
#define RWLOCK_WANTED 0x40000000u
#define RWLOCK_READERS 0x3fffffffu

struct rwlock {
	_Atomic uint32_t word;
	_Atomic uint32_t waiters; /* threads in rwlock_wait */
	struct {
		_Alignas(CACHE_LINE) _Atomic uint32_t readers;
	} part[SHARDS];
};

static inline void rwlock_wait(struct rwlock *lock, uint32_t word)
{
	atomic_fetch_add(&lock->waiters, 1);
	futex_wait(&lock->word, word);
	atomic_fetch_sub(&lock->waiters, 1);
}

/* The word is changed before waiters is read, and a waiter counts itself before the kernel
 * compares the word: one of the two sees the other. */
static inline void rwlock_wake(struct rwlock *lock)
{
	if (atomic_load(&lock->waiters) > 0)
		futex_wake(&lock->word, INT_MAX);
}

static inline void rwlock_read(struct rwlock *lock)
{
	uint32_t word = atomic_load(&lock->word);
	for (;;) {
		if ((word & (RWLOCK_WRITER | RWLOCK_WANTED)) == 0) {
			if (atomic_compare_exchange_weak(&lock->word, &word, word + 1))
				return;
		} else {
			rwlock_wait(lock, word);
			word = atomic_load(&lock->word);
		}
	}
}

static inline void rwlock_read_release(struct rwlock *lock)
{
	uint32_t before = atomic_fetch_sub(&lock->word, 1);
	if ((before & RWLOCK_READERS) == 1)
		rwlock_wake(lock);
}

static inline void rwlock_read_part_release(struct rwlock *lock, unsigned part)
{
	if (part == SHARDS)
		rwlock_read_release(lock);
	else if (atomic_fetch_sub(&lock->part[part].readers, 1) == 1 &&
	         (atomic_load(&lock->word) & RWLOCK_WRITER))
		futex_wake(&lock->part[part].readers, 1);
}

/* Return: what rwlock_read_part_release() is to be given. */
static inline unsigned rwlock_read_part(struct rwlock *lock)
{
	unsigned part = shard_here();
	atomic_fetch_add(&lock->part[part].readers, 1);
	if ((atomic_load(&lock->word) & (RWLOCK_WRITER | RWLOCK_WANTED)) == 0)
		return part;
	rwlock_read_part_release(lock, part);
	rwlock_read(lock);
	return SHARDS;
}

/* There is a writer: no reader comes to a part and stays. */
static inline void rwlock_drain(struct rwlock *lock)
{
	uint32_t readers;
	for (unsigned i = 0; i < SHARDS; i++)
		while ((readers = atomic_load(&lock->part[i].readers)) != 0)
			futex_wait(&lock->part[i].readers, readers);
}

static inline void rwlock_write(struct rwlock *lock)
{
	uint32_t word = atomic_load(&lock->word);
	for (;;) {
		if ((word & (RWLOCK_WRITER | RWLOCK_READERS)) == 0) {
			if (atomic_compare_exchange_weak(&lock->word, &word, RWLOCK_WRITER))
				break;
		} else if ((word & RWLOCK_WANTED) == 0) {
			atomic_compare_exchange_weak(&lock->word, &word, word | RWLOCK_WANTED);
			word = atomic_load(&lock->word);
		} else {
			rwlock_wait(lock, word);
			word = atomic_load(&lock->word);
		}
	}
	rwlock_drain(lock);
}

static inline void rwlock_write_release(struct rwlock *lock)
{
	atomic_fetch_and(&lock->word, ~RWLOCK_WRITER);
	rwlock_wake(lock);
}

static inline bool rwlock_trywrite(struct rwlock *lock)
{
	uint32_t word = atomic_load(&lock->word);
	do {
		if ((word & (RWLOCK_WRITER | RWLOCK_READERS)) != 0)
			return false;
	} while (!atomic_compare_exchange_weak(&lock->word, &word, word | RWLOCK_WRITER));
	for (unsigned i = 0; i < SHARDS; i++) {
		if (atomic_load(&lock->part[i].readers) != 0) {
			rwlock_write_release(lock);
			return false;
		}
	}
	return true;
}

#endif
