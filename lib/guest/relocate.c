/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "relocate.h"

#include "host.h"
#include "space.h"

#define INTERVAL_NS UINT64_C(100000000)

static upage_space *relocated; /* NULL: nothing is */
static _Atomic uint64_t due;
static unsigned turn; /* which of its runs; guarded by its lock */

void relocate_begin(upage_space *space)
{
	atomic_store(&due, host_nanoseconds() + INTERVAL_NS);
	relocated = space;
}

void relocate_tick(void)
{
	if (relocated == NULL)
		return;
	uint64_t now = host_nanoseconds(), then = atomic_load(&due);
	if (now < then || !atomic_compare_exchange_strong(&due, &then, now + INTERVAL_NS))
		return;
	guard_open();
	if (!rwlock_trywrite(&relocated->lock)) {
		guard_close();
		return;
	}
	/* The next that has any frames. */
	for (unsigned i = 0; i < relocated->runs.count; i++)
		if (runs_relocate(&relocated->runs, turn++) > 0)
			break;
	space_write_end(relocated);
}
