/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "reclaim.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "evict.h"
#include "guard.h"
#include "host.h"
#include "signals.h"
#include "syscall.h"

_Atomic unsigned reclaim_threads, reclaim_pools, reclaim_held;

#if defined(__x86_64__)

/* A thread's memory: | guard | stack <-- | thread-local storage | struct |. The C library's string
 * functions use none; the compiler's stack protector, where it is on, reads a word. */
#define STACK_BYTES ((size_t)64 << 10)
#define TLS_BYTES ((size_t)1 << 10)

struct reclaimer {
	struct upage_pool *pool;
	_Atomic uint32_t alive; /* the kernel clears it when the stack is free */
	long id;                /* of the thread */
};

/* ---- Work -------------------------------------------------------------------------------- */

static uint64_t free_frames(struct upage_pool *pool)
{
	return atomic_load(&pool->frames.free);
}

/* Between the two a fork waits. */
static void step_begin(struct upage_pool *pool)
{
	rwlock_read(&pool->compaction.moving);
	guard_open();
}

static void step_end(struct upage_pool *pool)
{
	guard_close();
	rwlock_read_release(&pool->compaction.moving);
}

/* The last slots are for who needs a frame: where slots of resident pages have to be used again, each
 * eviction looks at all frames, and those who look at once are in each other's way. Where most frames are
 * pinned, or of runs, a reserve would take the few that pages are left with. */
static bool is_welcome(struct upage_pool *pool)
{
	uint64_t high = pool->reclaim.high;
	uint64_t taken = atomic_load(&pool->pinned) + atomic_load(&pool->frames.in_runs);
	return taken + 8 * high <= pool->frames.frames && !swap_is_full(pool->swap) &&
	       swap_slots(pool->swap) - swap_used(pool->swap) > high;
}

static bool evict_step(struct upage_pool *pool)
{
	if (!is_welcome(pool))
		return false;
	step_begin(pool);
	unsigned evicted = evict_ahead(pool, NULL);
	stats_count_many(pool->stats, COUNT_RECLAIMED, evicted);
	step_end(pool);
	return evicted > 0;
}

/* Return: whether all that was wanted is there. */
static bool evict(struct upage_pool *pool)
{
	struct reclaim *r = &pool->reclaim;
	while (free_frames(pool) < r->high && !atomic_load(&r->stopping))
		if (!evict_step(pool))
			return false;
	return true;
}

#define ZERO_EACH 16u      /* frames that are taken at a time */
#define ZERO_FOR_EACH 16u  /* frames, for each zero fill that came too late */
#define ZERO_LOOKS 16u     /* in vain */

/* As many frames as were missed lately, and more; but no more than a part of memory. */
static void zero(struct upage_pool *pool)
{
	struct reclaim *r = &pool->reclaim;
	uint64_t late = atomic_exchange(&r->zeroed_late, 0), hand = atomic_load(&r->zero_from);
	uint64_t wanted = late < RECLAIM_ZERO_LATE ? 0 : late * ZERO_FOR_EACH;
	unsigned looks = 0;
	wanted = wanted < pool->frames.frames / 4 ? wanted : pool->frames.frames / 4;
	for (uint64_t done = 0; done < wanted && looks < ZERO_LOOKS && !atomic_load(&r->stopping);) {
		if (free_frames(pool) < r->low && !evict(pool))
			return;
		step_begin(pool);
		int zeroed = frame_zero_ahead(&pool->frames, &hand, ZERO_EACH);
		step_end(pool);
		if (zeroed < 0)
			return;
		looks += zeroed == 0;
		done += (uint64_t)zeroed;
		stats_count_many(pool->stats, COUNT_ZEROED_AHEAD, (uint64_t)zeroed);
	}
}

/* ---- Sleep ------------------------------------------------------------------------------- */

#define NAP_FIRST_NS 1000000
#define NAP_LONGEST_NS 512000000
#define LINGER_NS 100000000

static void wait_for(_Atomic uint32_t *word, long nanoseconds)
{
	const struct timespec time = { .tv_nsec = nanoseconds };
	syscall_4(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, &time);
}

/* Who rings has taken a frame before it looks at `awake`; we write that before we look at the frames: one
 * of the two sees the other. @in_vain: they are few, and that is no news. Return: whether there is work. */
static bool sleep_until_rung(struct upage_pool *pool, bool in_vain)
{
	struct reclaim *r = &pool->reclaim;
	atomic_store(&r->awake, 0);
	if (!in_vain && free_frames(pool) < r->low)
		atomic_store(&r->awake, 1);
	else if (!atomic_load(&r->stopping))
		wait_for(&r->awake, LINGER_NS);
	return atomic_load(&r->awake) != 0;
}

/* Nobody rang for long: without us the process is as the program made it. Who rings after that makes us
 * anew, or we see that it rang. Return: whether we end. */
static bool leave(struct reclaim *r)
{
	if (!lock_try(&r->lock))
		return false;
	atomic_fetch_sub(&r->running, 1);
	bool ends = atomic_load(&r->awake) == 0;
	if (ends)
		atomic_fetch_sub(&reclaim_threads, 1);
	else
		atomic_fetch_add(&r->running, 1);
	lock_release(&r->lock);
	return ends;
}

static void begin(void *argument)
{
	struct reclaimer *self = argument;
	struct upage_pool *pool = self->pool;
	struct reclaim *r = &pool->reclaim;
	long nap = NAP_FIRST_NS;
	syscall_2(SYS_prctl, PR_SET_NAME, "upage-reclaim");
	while (!atomic_load(&r->stopping)) {
		bool evicted = evict(pool);
		zero(pool);
		if (!evicted)
			wait_for(&r->stopping, nap);
		nap = evicted ? NAP_FIRST_NS : nap < NAP_LONGEST_NS ? 2 * nap : NAP_LONGEST_NS;
		if (!sleep_until_rung(pool, !evicted) && leave(r))
			break;
	}
	/* If no other is left, this becomes the status of the process, which the first thread's would be. */
	gate_exit(host_first_thread_status());
}

/* ---- Threads ----------------------------------------------------------------------------- */

static struct reclaimer *reclaimer(const struct reclaim *r, unsigned i)
{
	return (struct reclaimer *)(void *)(r->stacks + (i + 1) * STACK_BYTES - sizeof(struct reclaimer));
}

static bool make(struct upage_pool *pool, struct reclaimer *self)
{
	char *storage = (char *)self - TLS_BYTES;
	void *own = storage + TLS_BYTES / 2;
	const unsigned long flags = CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS |
	                            CLONE_CHILD_CLEARTID;
	const long call[6] = { SYS_clone, (long)flags, (long)storage, 0, (long)&self->alive, (long)own };
	memcpy(own, &own, sizeof(own)); /* as the machine's ABI has it */
	self->pool = pool;
	atomic_store(&self->alive, 1);
	self->id = gate_clone(call, begin, self);
	if (self->id < 0)
		atomic_store(&self->alive, 0);
	return self->id > 0;
}

#else
struct reclaimer {
	_Atomic uint32_t alive;
	long id;
};

static struct reclaimer *reclaimer(const struct reclaim *r, unsigned i)
{
	return &((struct reclaimer *)(void *)r->stacks)[i];
}

static bool make(struct upage_pool *pool, struct reclaimer *self)
{
	(void)pool;
	(void)self;
	return false;
}
#define STACK_BYTES HOST_PAGE_SIZE
#endif

/* A process that borrows this memory (vfork), or has a copy that we know nothing of, has none. */
static bool is_ours(void)
{
	return !host_process_borrows();
}

/* As many as can be. The lock is held, and every signal blocked: so they are in the threads. */
static void make_all(struct upage_pool *pool)
{
	struct reclaim *r = &pool->reclaim;
	if (!is_ours() || atomic_load(&reclaim_held) > 0)
		return;
	atomic_store(&r->stopping, 0);
	for (unsigned i = 0; i < r->threads; i++) {
		if (atomic_load(&reclaimer(r, i)->alive) == 0 && make(pool, reclaimer(r, i))) {
			atomic_fetch_add(&r->running, 1);
			atomic_fetch_add(&reclaim_threads, 1);
		}
	}
}

void reclaim_ring(struct upage_pool *pool)
{
	struct reclaim *r = &pool->reclaim;
	if (r->threads == 0 || atomic_load(&reclaim_held) > 0 || atomic_exchange(&r->awake, 1) != 0)
		return;
	futex_wake(&r->awake, INT_MAX);
	if (atomic_load(&r->running) == r->threads)
		return;
	signal_mask mask = signals_set(SIGNALS_ALL);
	if (lock_try(&r->lock)) {
		make_all(pool);
		lock_release(&r->lock);
	}
	if (atomic_load(&r->running) == 0)
		atomic_store(&r->awake, 0); /* there are none: the next ring tries again */
	signals_set(mask);
}

#define GONE_NS 100000000

static void wait_for_end(struct reclaimer *self, int process)
{
	for (uint32_t alive; (alive = atomic_load(&self->alive)) != 0;)
		syscall_4(SYS_futex, &self->alive, FUTEX_WAIT, alive, NULL); /* the kernel's wake is a shared one */
	/* A moment later it is no thread of the process any more; but another may have its number by then. */
	uint64_t start = host_nanoseconds();
	while (self->id > 0 && syscall_3(SYS_tgkill, process, self->id, 0) == 0 &&
	       host_nanoseconds() - start < GONE_NS)
		host_yield();
	self->id = 0;
}

void reclaim_stop(struct upage_pool *pool)
{
	struct reclaim *r = &pool->reclaim;
	if (r->threads == 0 || !is_ours())
		return;
	signal_mask mask = signals_block();
	lock_acquire(&r->lock);
	atomic_fetch_sub(&reclaim_threads, r->running);
	atomic_store(&r->stopping, 1);
	atomic_store(&r->awake, 1);
	futex_wake(&r->stopping, INT_MAX);
	futex_wake(&r->awake, INT_MAX);
	for (unsigned i = 0; i < r->threads; i++)
		wait_for_end(reclaimer(r, i), r->process);
	atomic_store(&r->running, 0);
	atomic_store(&r->awake, 0);
	lock_release(&r->lock);
	signals_set(mask);
}

int reclaim_init(struct upage_pool *pool, unsigned threads)
{
	struct reclaim *r = &pool->reclaim;
	uint64_t frames = pool->frames.frames;
	r->process = (int)syscall_1(SYS_getpid, 0);
	if (threads == 0 || frames < RECLAIM_FRAMES_LEAST)
		return 0;
	r->stacks = host_metadata(threads * STACK_BYTES);
	if (r->stacks == NULL)
		return UPAGE_ENOMEM;
	for (unsigned i = 0; i < threads; i++)
		host_protect((uintptr_t)r->stacks + i * STACK_BYTES, HOST_PAGE_SIZE, PROT_NONE);
	r->threads = threads;
	atomic_fetch_add(&reclaim_pools, 1);
	r->low = frames / 128 < 256 ? frames / 128 : 256;
	r->high = 2 * r->low;
	return 0;
}

void reclaim_fork_child(struct upage_pool *pool)
{
	struct reclaim *r = &pool->reclaim;
	r->process = (int)syscall_1(SYS_getpid, 0);
	r->lock = (struct lock){ 0 };
	r->running = 0;
	for (unsigned i = 0; i < r->threads; i++)
		atomic_store(&reclaimer(r, i)->alive, 0);
	atomic_store(&r->stopping, 0);
	atomic_store(&r->awake, 0);
}

void reclaim_destroy(struct upage_pool *pool)
{
	struct reclaim *r = &pool->reclaim;
	if (r->threads == 0)
		return;
	reclaim_stop(pool);
	host_metadata_release(r->stacks, r->threads * STACK_BYTES);
	atomic_fetch_sub(&reclaim_pools, 1);
	r->threads = 0;
}
