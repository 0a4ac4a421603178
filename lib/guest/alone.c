/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "alone.h"

#include <string.h>

#include "pool_fork.h"
#include "reclaim.h"
#include "syscall.h"

static bool is_by_threads(long number)
{
	switch (number) {
	case SYS_unshare:
	case SYS_setns:
	case SYS_getdents:
	case SYS_getdents64:
	case SYS_setuid:
	case SYS_setgid:
	case SYS_setreuid:
	case SYS_setregid:
	case SYS_setresuid:
	case SYS_setresgid:
	case SYS_setfsuid:
	case SYS_setfsgid:
	case SYS_setgroups:
	case SYS_capset:
	case SYS_prctl:
	case SYS_landlock_restrict_self:
		return true;
	default:
		return false;
	}
}

static bool names_proc(const struct guest_call *call, const struct guest_entry *entry)
{
	static const char proc[6] = "/proc/";
	for (unsigned i = 0; i < 6; i++) {
		char begin[sizeof(proc)];
		if (entry->argument[i].kind == GUEST_STRING && call->argument[i] != 0 &&
		    guest_copy_in(begin, (const void *)call->argument[i], sizeof(begin)) == 0 &&
		    memcmp(begin, proc, sizeof(proc)) == 0)
			return true;
	}
	return false;
}

bool alone_begin(const struct guest_call *call, const struct guest_entry *entry)
{
	if (atomic_load_explicit(&reclaim_pools, memory_order_relaxed) == 0)
		return false;
	if (!is_by_threads(call->number) && !names_proc(call, entry))
		return false;
	pool_reclaimers_hold();
	return true;
}

void alone_end(void)
{
	pool_reclaimers_go();
}
