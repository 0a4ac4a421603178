/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guard.h - metadata that is out of reach while program code runs: the option guard-metadata
 *
 * Page tables, frame tables, policies' state, swap maps and arrays of mappings come from one arena of
 * addresses, so that one mprotect(2) opens or closes all of it. Whoever of us touches them stands
 * between guard_open() and guard_close(); the first thread in opens, the last one out closes:
 *
 *      inside == threads in a bracket (each as often as it is in one);  the arena is open <=> inside > 0
 *
 * Closed is PROT_NONE: readers have brackets too, and a stray read is a bug that is worth knowing.
 * For one thread that is exact. Beside others there is a window: while one of them serves a fault, or
 * changes a mapping, program code of another could reach the arena.
 *
 * Not by protection keys, which would have no window, since a key's rights are a register of each
 * thread: they go on in frames of signals (which the guest layer makes by hand), in threads and
 * children that are made, and are the kernel's default in each handler. A mistake there would show
 * on processors that have keys, and on no other.
 *
 * In reach stay the structs of pools, spaces, stores and the report, which have accessors of a few
 * instructions, and the buffers of transfers. Whether there is a guard is decided once, with the
 * first pool of the process; without one, a bracket is a branch, and the memory is host_metadata()'s.
 *
 * Where brackets are: whoever has a space's lock is in one (space_lock_read and space_lock_write);
 * pages are worked on without it in page faults (trap.c), pins, forks, and a few other public calls.
 * None is held while the program's memory is touched, or its code runs.
 *
 * What the kernel is told to write there by a program's system call is EFAULT, as it is closed then.
 * A child that shares this memory (vfork) and is killed inside a bracket leaves the arena open.
 *
 * Locking: two of its own, the last that are taken; signals as in lock.h. Signal context: yes, but
 * guard_decide. Source: mprotect(2), madvise(2), pkeys(7).
 */
#ifndef UPAGE_GUARD_H
#define UPAGE_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "signals.h"

#define GUARDED_MAP(X)                                                                        \
	X(FREE, "unused part of the guarded arena")                                             \
	X(LIST, "list of guarded memory")                                                     \
	X(PAGE_TABLE, "page table")                                                           \
	X(FRAME_TABLE, "frame table")                                                         \
	X(POLICY, "replacement policy's state")                                               \
	X(SLOTS, "map of swap slots")                                                         \
	X(MAPPINGS, "list of mappings")

enum guarded {
#define X(name, text) GUARDED_##name,
	GUARDED_MAP(X)
#undef X
};

/* Whether there is a guard; it stays so. */
extern _Atomic bool guard_is_on;

void guard_enter(void);
void guard_leave(void);

static inline void guard_open(void)
{
	if (__builtin_expect(atomic_load_explicit(&guard_is_on, memory_order_relaxed), 0))
		guard_enter();
}

static inline void guard_close(void)
{
	if (__builtin_expect(atomic_load_explicit(&guard_is_on, memory_order_relaxed), 0))
		guard_leave();
}

/* The same where signals are open, and need not be blocked but for this. */
static inline signal_mask guard_open_alone(void)
{
	signal_mask mask = 0;
	if (__builtin_expect(atomic_load_explicit(&guard_is_on, memory_order_relaxed), 0)) {
		mask = signals_block();
		guard_enter();
	}
	return mask;
}

static inline void guard_close_alone(signal_mask mask)
{
	if (__builtin_expect(atomic_load_explicit(&guard_is_on, memory_order_relaxed), 0)) {
		guard_leave();
		signals_set(mask);
	}
}

/* Before a pool is made, with pools_lock. What the first one wants is what there is.
 * Return: 0, UPAGE_EBUSY (it is wanted, and there are pools without), or UPAGE_ENOMEM. */
int guard_decide(bool wanted);

/* host_metadata() and host_metadata_release(), guarded if there is a guard. No bracket is needed,
 * only to touch it. */
void *guard_metadata(size_t bytes, enum guarded what);
void guard_metadata_release(void *memory, size_t bytes);

/* What a part of the arena is, in words; NULL: @address is not in it. */
const char *guard_name(uintptr_t address);

/* Around a fork: nothing is taken or given back. The child begins in one bracket, whoever else was
 * in one: guard_fork_child comes first there, and guard_close last. */
void guard_fork_begin(void);
void guard_fork_end(void);
void guard_fork_child(void);

#endif
