/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pool_fork.h"

#include <errno.h>
#include <pthread.h>

#include "host.h"
#include "reclaim.h"
#include "report.h"
#include "rlimit.h"
#include "signals.h"
#include "space.h"
#include "store_aio.h"

struct lock pools_lock;
upage_pool *pools;
_Atomic bool pool_fork_by_guest;

/* ---- All pools ---------------------------------------------------------------------------- */

void pool_list_add(upage_pool *pool)
{
	pool->next = pools;
	pools = pool;
	view_share(pool);
}

void pool_list_remove(upage_pool *pool)
{
	signal_mask mask = signals_block();
	lock_acquire(&pools_lock);
	for (upage_pool **link = &pools; *link != NULL; link = &(*link)->next) {
		if (*link == pool) {
			*link = pool->next;
			view_share_no_more(pool);
			break;
		}
	}
	lock_release(&pools_lock);
	signals_set(mask);
}

bool pool_is_lost(const upage_pool *pool)
{
	const _Atomic uint64_t *word = host_fork_word();
	return word == NULL || atomic_load(word) != pool->process;
}

/* ---- Standing still ------------------------------------------------------------------------ */

/* The leaves: whoever holds one waits for no other, so that several may be held in any order. */
static void leaves_take(void)
{
	for (upage_pool *pool = pools; pool != NULL; pool = pool->next) {
		if (pool_is_lost(pool))
			continue;
		lock_acquire(&pool->runs_lock);
		lock_acquire(&pool->shares.lock);
		for (unsigned i = 0; i < LEAF_LOCKS; i++)
			lock_acquire(&pool->leaf_locks[i].lock);
		lock_acquire(&pool->replace.lock);
		frame_table_lock(&pool->frames);
		lock_acquire(&pool->tables.lock);
		swap_fork_begin(pool->swap);
		pool->frozen = true;
	}
	backing_fork_begin();
	signals_fork_begin();
	guard_fork_begin();
}

static void leaves_give(void)
{
	guard_fork_end();
	signals_fork_end();
	backing_fork_end();
	for (upage_pool *pool = pools; pool != NULL; pool = pool->next) {
		if (!pool->frozen)
			continue;
		pool->frozen = false;
		swap_fork_end(pool->swap);
		lock_release(&pool->tables.lock);
		frame_table_unlock(&pool->frames);
		lock_release(&pool->replace.lock);
		for (unsigned i = 0; i < LEAF_LOCKS; i++)
			lock_release(&pool->leaf_locks[i].lock);
		lock_release(&pool->shares.lock);
		lock_release(&pool->runs_lock);
	}
}

/* No page moves to another frame: a pass that is under way waits. */
static void movers_stop(void)
{
	for (upage_pool *pool = pools; pool != NULL; pool = pool->next)
		if (!pool_is_lost(pool))
			rwlock_write(&pool->compaction.moving);
}

static void movers_go(void)
{
	for (upage_pool *pool = pools; pool != NULL; pool = pool->next)
		if (!pool_is_lost(pool))
			rwlock_write_release(&pool->compaction.moving);
}

/* In the child: whoever made a pass is not here, nor who evicted ahead of need. */
static void movers_forget(void)
{
	atomic_store(&reclaim_held, 0);
	atomic_store(&reclaim_threads, 0);
	for (upage_pool *pool = pools; pool != NULL; pool = pool->next) {
		reclaim_fork_child(pool);
		pool->compaction.lock = (struct lock){ 0 };
		pool->compaction.moving = (struct rwlock){ 0 };
	}
}

/* Return: 0, or why what other threads write cannot be held up. The locks are held, but no bracket of
 * the guard: handlers of the program's may run before the child is made. */
static int freeze(bool other_threads)
{
	report_fork_begin();
	lock_acquire(&pools_lock);
	guard_open();
	space_fork_begin();
	movers_stop();
	space_fork_sync();
	int result = other_threads ? space_fork_hide() : 0;
	leaves_take();
	guard_close();
	return result;
}

static void thaw(void)
{
	guard_open();
	leaves_give();
	space_fork_end();
	movers_go(); /* not before what entries say is shown, is */
	guard_close();
	lock_release(&pools_lock);
	report_fork_end();
}

/* ---- Copies -------------------------------------------------------------------------------- */

static void copies_end(bool shared)
{
	for (upage_pool *pool = pools; pool != NULL; pool = pool->next) {
		if (!pool->copied)
			continue;
		pool->copied = false;
		frame_copy_end(&pool->frames, shared);
		swap_copy_end(pool->swap, shared);
	}
}

/* All or none. */
static int copies_begin(void)
{
	int result = 0;
	guard_open();
	for (upage_pool *pool = pools; pool != NULL && result == 0; pool = pool->next) {
		if (pool_is_lost(pool))
			continue;
		result = frame_copy_begin(&pool->frames);
		if (result < 0)
			break;
		pool->copied = true;
		result = swap_copy_begin(pool->swap);
	}
	guard_close();
	if (result < 0)
		copies_end(false);
	return result;
}

static void copies_adopt(bool shared)
{
	uint64_t process = atomic_load(host_fork_word());
	for (upage_pool *pool = pools; pool != NULL; pool = pool->next) {
		if (!pool->copied)
			continue;
		pool->copied = false;
		frame_copy_adopt(&pool->frames, shared);
		swap_copy_adopt(pool->swap, shared);
		pool->process = process;
	}
}

/* In the words of fork(2), which knows nothing of files. */
static int to_fork_errno(int failure)
{
	return failure == -EMFILE || failure == -ENFILE || failure == -EAGAIN ? -EAGAIN : -ENOMEM;
}

int pool_fork_begin(bool other_threads)
{
	if (!space_fork_has_room())
		return -ENOMEM;
	int result = freeze(other_threads);
	if (result == 0)
		result = copies_begin();
	rlimit_begin();
	if (result == 0)
		return 0;
	rlimit_end();
	thaw();
	return to_fork_errno(result);
}

void pool_fork_parent(bool failed, bool share_files)
{
	rlimit_end();
	copies_end(share_files && !failed);
	thaw();
}

/* @adopt: there are copies. Only this thread is left: a lock once given back stays free. */
static void begin_child(bool adopt, bool share_files)
{
	rlimit_end();
	host_process_begin();
	guard_fork_child();
	store_aio_fork_child();
	leaves_give();
	movers_forget();
	if (adopt && pools != NULL)
		copies_adopt(share_files);
	space_fork_child(adopt);
	lock_release(&pools_lock);
	for (upage_pool *pool = pools; pool != NULL; pool = pool->next) {
		if (pool_is_lost(pool))
			continue;
		pager_drop_call_pins(pool);
		turn_forget(&pool->turn);
		pool->mappings_peak = pool->mappings;
		report_fork_child(pool);
	}
	guard_close();
	host_references_fork_child(share_files);
	if (!share_files)
		host_drop_abandoned();
	report_fork_end();
}

void pool_fork_child(bool share_files)
{
	begin_child(true, share_files);
}

void pool_vfork_begin(void)
{
	lock_acquire(&pools_lock);
	for (upage_pool *pool = pools; pool != NULL; pool = pool->next)
		if (!pool_is_lost(pool))
			swap_prepare(pool->swap);
	lock_release(&pools_lock);
}

/* ---- fork(3) ------------------------------------------------------------------------------- */

/* The C library's fork() takes the lock of its list of files after our handlers have run. Whoever
 * has it may be waiting for a file, whose thread may be waiting for us in a page fault: so we
 * take it first. It is recursive. */
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

/* Of the fork under way; written while pools_lock is held. */
static struct {
	signal_mask mask;
	bool by_us, files, copied;
} this_fork;

static void before_fork(void)
{
	if (atomic_load(&pool_fork_by_guest))
		return;
	atomic_fetch_add(&reclaim_held, 1); /* none begins meanwhile; and if one ended, more may be there than seemed */
	unsigned ours = atomic_load(&reclaim_threads);
	bool threads = host_has_threads(ours) || atomic_load(&reclaim_threads) != ours;
	atomic_fetch_sub(&reclaim_held, 1);
	bool files = threads && _IO_list_lock != NULL && _IO_list_unlock != NULL &&
	             _IO_list_resetlock != NULL;
	if (files)
		_IO_list_lock();
	signal_mask mask = signals_block();
	int result = freeze(threads);
	if (result == 0)
		result = copies_begin();
	rlimit_begin();
	this_fork.mask = mask;
	this_fork.by_us = true;
	this_fork.files = files;
	this_fork.copied = result == 0;
}

static void after_fork(void)
{
	if (!this_fork.by_us)
		return;
	signal_mask mask = this_fork.mask;
	bool files = this_fork.files;
	this_fork.by_us = false;
	pool_fork_parent(false, false);
	signals_set(mask);
	if (files)
		_IO_list_unlock();
}

static void after_fork_in_child(void)
{
	if (!this_fork.by_us)
		return;
	this_fork.by_us = false;
	begin_child(this_fork.copied, false);
	signals_set(this_fork.mask);
	if (this_fork.files)
		_IO_list_resetlock();
}

/* Before any jemalloc registers its own, the heap's or that of libupage-malloc, whose constructor
 * runs before this one: handlers run last to first before a fork, so that it takes its locks first,
 * as a thread does that allocates and comes to ours from there. */
__attribute__((constructor(101))) void pool_fork_register(void)
{
	static _Atomic bool registered;
	if (!atomic_exchange(&registered, true))
		pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

/* ---- Reclaimers ---------------------------------------------------------------------------- */

void pool_reclaimers_hold(void)
{
	signal_mask mask = signals_block();
	atomic_fetch_add(&reclaim_held, 1);
	lock_acquire(&pools_lock);
	for (upage_pool *pool = pools; pool != NULL; pool = pool->next)
		reclaim_stop(pool);
	lock_release(&pools_lock);
	signals_set(mask);
}

void pool_reclaimers_go(void)
{
	atomic_fetch_sub(&reclaim_held, 1);
}

/* ---- Descriptors --------------------------------------------------------------------------- */

void pool_raise_descriptors(void)
{
	int lowest; /* asked for each time: another thread may lower the limit */
	while ((lowest = host_next_descriptor(0)) >= 0 && lowest < host_descriptors_begin())
		if (pool_move_descriptor(lowest) < 0)
			break;
}

int pool_move_descriptor(int descriptor)
{
	signal_mask mask = signals_block();
	lock_acquire(&pools_lock);
	int result = host_renumber(descriptor);
	if (result == 0) {
		/* Transfers that began with the old number end; later ones read the new one. */
		space_wait_all();
		movers_stop(); /* reclaimers write to frames that no page has */
		movers_go();
		host_close(descriptor);
	}
	lock_release(&pools_lock);
	signals_set(mask);
	return result;
}
