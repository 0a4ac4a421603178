/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pool_fork.h - all pools of the process, and what a fork does to them
 *
 * Frames are shown from a memfd, which a fork does not copy: the parent's and the child's would
 * be the same. So the child gets a memory and a swap file of its own, with the content of all
 * used frames and slots, made while nothing can change; the numbers of frames and slots stay,
 * and with them the page tables, which are ordinary memory that the kernel copies when one of
 * the two writes to it.
 *
 *      begin     takes all locks in the order of their ranks, waits for work under way, hides
 *                all pages if there are other threads (who then wait in their next page fault),
 *                makes the copies
 *      (fork)
 *      parent    lets go of the copies, shows pages again, lets go of the locks
 *      child     takes the copies for its own, shows these in place of what is the parent's
 *
 * Shown again is what was shown before, in runs of frames beside each other. Where there are many,
 * pages that would take a call each are left hidden: the next reference is a soft fault.
 *
 * The child keeps the program's own pins (upage_pin), and none of system calls under way.
 *
 * What a fork does not keep apart: a pinned page stays shown while it is copied, since the kernel
 * may be using it, and may change meanwhile. Pages of a shared mapping of a file are written to
 * it before; from then on the parent's and the child's frames are two copies of that part of the
 * file, and whichever is written back last stays.
 *
 * Programs call fork(3), whose handlers do it; where system calls are intercepted, whoever makes
 * the call does. If the copies cannot be made, a caller is told; after fork(3), which has no way
 * to say so, the child has no paged memory (space_is_lost).
 *
 * Locking: `pools_lock` guards the list, and is held from begin to parent or child: one fork at
 * a time. Rank 0, before space_shared_lock. Signal context: all but pool_list_add and
 * pool_list_remove; every signal is blocked, from begin to parent or child.
 */
#ifndef UPAGE_POOL_FORK_H
#define UPAGE_POOL_FORK_H

#include "physical.h"

/* All pools of the process, newest first; lost ones too (pool_is_lost). */
extern struct lock pools_lock;
extern upage_pool *pools;

void pool_list_add(upage_pool *pool);
void pool_list_remove(upage_pool *pool);

/* Whether the pool is a parent's, and nothing of it may be used here. */
bool pool_is_lost(const upage_pool *pool);

/* The handlers of fork(3), once. Not in signal context. */
void pool_fork_register(void);

/* Set once system calls are intercepted: the handlers of fork(3) leave all to their caller. */
extern _Atomic bool pool_fork_by_guest;

/**
 * pool_fork_begin - before a fork, in the thread that makes it
 * @other_threads: others run on the memory of this process; without them nothing need be hidden
 * Return: 0, or -EAGAIN (no descriptor is left for the child's files) or -ENOMEM (no room, in memory
 *         or where swap is): everything is as before, and no fork is under way.
 * Cost: of 64 MiB resident, about as much as a memcpy of that to fresh memory (bench/fork).
 */
int pool_fork_begin(bool other_threads);

/* Before a child that borrows this memory (vfork): what evictions may need is opened now, since the child can open
 * nothing for us (host_process_borrows). Where that fails, what cannot be saved stays. */
void pool_vfork_begin(void);

/* @failed: there is no child. @share_files: the child has the same table of descriptors. */
void pool_fork_parent(bool failed, bool share_files);
void pool_fork_child(bool share_files);

/* The reclaimers of all pools end, and none begins until pool_reclaimers_go(), as often as there was a
 * pool_reclaimers_hold(). For who must be seen with the program's own threads alone. */
void pool_reclaimers_hold(void);
void pool_reclaimers_go(void);

/**
 * pool_move_descriptor - make room for the program at the number of a descriptor of ours
 * @descriptor: host_owns_descriptor() says yes
 * Return: 0: nothing uses the number any more, and it is free; else a negated errno, and it is
 *         in use as before (-EBADF: it belongs to another process with the same table).
 * Cost: a pass over all page tables.
 */
int pool_move_descriptor(int descriptor);

/* The program's limit of descriptors was raised: ours make room, as far as they can. */
void pool_raise_descriptors(void);

#endif
