/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest.c - interception switched on: the program becomes a guest
 *
 * Source: prctl(2), PR_SET_SYSCALL_USER_DISPATCH.
 */
#include "compiler.h"
#include "upage.h"

#if defined(__x86_64__)

#include <sys/prctl.h>
#include <sys/stat.h>

#include "direct.h"
#include "dispatch.h"
#include "guest.h"
#include "host.h"
#include "pager.h"
#include "patch.h"
#include "pool_fork.h"
#include "region.h"
#include "signal.h"
#include "syscall.h"
#include "trap.h"

static struct guest_actions actions;
static _Atomic bool started;

/* Directories of threads: one link each, beside "." and "..". */
static bool is_single_threaded(void)
{
	struct stat status;
	return stat("/proc/self/task", &status) < 0 || status.st_nlink <= 3;
}

/* What the kernel keeps for a thread, and is from now on kept here. */
static int take_over_thread(struct guest_thread *thread, bool report)
{
	size_t length;
	stack_t altstack;
	syscall_3(SYS_get_robust_list, 0, &thread->robust_list, &length);
	syscall_6(SYS_prctl, PR_GET_TID_ADDRESS, (long)&thread->clear_child_tid, 0, 0, 0, 0);
	syscall_2(SYS_sigaltstack, NULL, &altstack);
	if (!(altstack.ss_flags & SS_DISABLE))
		thread->altstack = altstack;
	thread->actions = &actions;
	signal_mask before = guest_signal_hold();
	thread->traps_blocked = before & SIGNAL_TRAPS;
	guest_signal_start(&actions, guest_sigsys, report);
	int result = region_adopt(thread);
	signals_set(before & ~SIGNAL_TRAPS);
	return result;
}

/* Return: the thread's region, or NULL: *result says why. */
static struct guest_thread *start(upage_pool *pool, int *result)
{
	/* A kernel that can switch it on can switch it off. */
	if (syscall_6(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0, 0) < 0) {
		*result = UPAGE_ENOTSUP;
		return NULL;
	}
	*result = trap_install();
	struct guest_thread *thread = *result == 0 ? region_make() : NULL;
	if (*result == 0 && thread == NULL)
		*result = UPAGE_ENOMEM;
	if (*result < 0)
		return NULL;
	bool report = pool != NULL && (pool->config.stats || pool->config.stats_json[0] != '\0');
	dispatch_stats = pool != NULL ? &pool->stats : NULL;
	*result = take_over_thread(thread, report);
	if (*result < 0)
		return NULL;
	if (pool != NULL)
		atomic_fetch_add(&pool->spaces, 1); /* it stays */
	atomic_store(&started, true);
	atomic_store(&pool_fork_by_guest, true);
	return thread;
}

PUBLIC int upage_intercept(upage_pool *pool)
{
	int result = 0;
	if (atomic_load(&started))
		return 0;
	pool_reclaimers_hold();
	if (is_single_threaded())
		start(pool, &result);
	else
		result = UPAGE_EBUSY;
	pool_reclaimers_go();
	return result;
}

/* What the kernel gives a new program: no registers but two, a fresh floating-point unit. */
int guest_run(upage_pool *pool, uintptr_t entry, uintptr_t stack)
{
	int result = 0;
	struct guest_thread *thread = start(pool, &result);
	if (thread == NULL)
		return result;
	thread->clear_child_tid = NULL;
	thread->robust_list = NULL;
	thread->altstack = (stack_t){ .ss_flags = SS_DISABLE };
	patch_begin(pool);
	if (direct_is_free(thread))
		direct_adopt(thread);
	region_begin(thread, entry, stack);
}

PUBLIC long upage_on_handler_stack(long (*function)(void *), void *argument)
{
	if (!atomic_load(&started))
		return function(argument);
	return gate_hypercall(function, argument);
}

#else

PUBLIC int upage_intercept(upage_pool *pool)
{
	(void)pool;
	return UPAGE_ENOTSUP;
}

PUBLIC long upage_on_handler_stack(long (*function)(void *), void *argument)
{
	return function(argument);
}

#endif
