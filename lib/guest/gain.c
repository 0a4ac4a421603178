/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gain.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "syscall.h"

#define REFUSE_GAIN 1u /* PR_MDWE_REFUSE_EXEC_GAIN */
#define NO_INHERIT 2u  /* PR_MDWE_NO_INHERIT       */

static _Atomic unsigned gain_flags;

/* What this process had before; negative: the kernel has no such thing. */
static long kernel_flags(void)
{
	return syscall_6(SYS_prctl, PR_GET_MDWE, 0, 0, 0, 0, 0);
}

void gain_begin(long flags)
{
	if (flags < 0)
		flags = kernel_flags();
	atomic_store(&gain_flags, flags > 0 ? (unsigned)flags : 0);
}

bool gain_is_refused(int before, int after)
{
	return after & PROT_EXEC && atomic_load(&gain_flags) & REFUSE_GAIN &&
	       (after & PROT_WRITE || !(before & PROT_EXEC));
}

unsigned gain_inherited(void)
{
	unsigned flags = atomic_load(&gain_flags);
	return flags & NO_INHERIT ? 0 : flags;
}

void gain_fork_child(void)
{
	atomic_store(&gain_flags, gain_inherited());
}

long gain_prctl(struct guest_call *call)
{
	const long *a = call->argument;
	bool sets = (int)a[0] == PR_SET_MDWE;
	unsigned none = 0, flags = (unsigned)a[1];
	if (kernel_flags() < 0 || a[2] != 0 || a[3] != 0 || a[4] != 0 || (!sets && a[1] != 0))
		return -EINVAL;
	if (!sets)
		return atomic_load(&gain_flags);
	if ((unsigned long)a[1] & ~(unsigned long)(REFUSE_GAIN | NO_INHERIT) || flags == NO_INHERIT)
		return -EINVAL;
	bool same = atomic_compare_exchange_strong(&gain_flags, &none, flags) || none == flags;
	return same ? 0 : -EPERM; /* once said it stays */
}
