/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "relocate.h"

#include "compact.h"
#include "evict.h"
#include "host.h"
#include "space.h"

#define INTERVAL_NS UINT64_C(100000000)
#define STIRRED 64 /* pages at a time */

static upage_space *relocated; /* NULL: nothing is */
static _Atomic uint64_t due;
static unsigned turn; /* which of its runs; guarded by its lock */

void relocate_begin(upage_space *space)
{
	atomic_store(&due, host_nanoseconds() + INTERVAL_NS);
	relocated = space;
}

/* The next run that has any frames. */
static void relocate_run(void)
{
	if (!rwlock_trywrite(&relocated->lock))
		return;
	for (unsigned i = 0; i < relocated->runs.count; i++)
		if (runs_relocate(&relocated->runs, turn++) > 0)
			break;
	rwlock_write_release(&relocated->lock);
}

/* One free frame is enough for any number of moves: where there is none, somebody has to leave. */
static void relocate_pages(void)
{
	struct upage_pool *pool = relocated->pool;
	uint32_t pfn;
	if (atomic_load(&pool->frames.free) == 0 && evict_any(pool, FRAME_NONE, &pfn) == 0)
		frame_free(&pool->frames, pfn, 1);
	compact_stir(pool, STIRRED);
}

void relocate_tick(void)
{
	if (relocated == NULL)
		return;
	uint64_t now = host_nanoseconds(), then = atomic_load(&due);
	if (now < then || !atomic_compare_exchange_strong(&due, &then, now + INTERVAL_NS))
		return;
	guard_open();
	if (space_is_paged(relocated))
		relocate_pages();
	else
		relocate_run();
	guard_close();
}
