/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rlimit.h"

#include <errno.h>
#include <linux/sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "lock.h"
#include "signals.h"
#include "syscall.h"

static struct lock rlimit_lock;

void rlimit_begin(void)
{
	lock_acquire(&rlimit_lock);
}

void rlimit_end(void)
{
	lock_release(&rlimit_lock);
}

/* ---- Descriptors ----------------------------------------------------------------------- */

long rlimit_descriptor_call(long number, long a, long b, long c, long d, bool above)
{
	struct rlimit limit;
	long result = -EMFILE;
	signal_mask mask = signals_set(SIGNALS_ALL);
	lock_acquire(&rlimit_lock);
	if (syscall_4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) == 0 &&
	    limit.rlim_cur < limit.rlim_max && !(above && limit.rlim_cur >= RLIMIT_DESCRIPTORS_END)) {
		const struct rlimit raised = { limit.rlim_max, limit.rlim_max };
		syscall_4(SYS_prlimit64, 0, RLIMIT_NOFILE, &raised, NULL);
		result = syscall_4(number, a, b, above ? (long)limit.rlim_cur : c, d);
		syscall_4(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, NULL);
	}
	lock_release(&rlimit_lock);
	signals_set(mask);
	return result;
}

/* ---- Files ------------------------------------------------------------------------------- */

static _Atomic bool lowered; /* the soft limit was seen to be finite, or is just made so */

static bool file_limit(struct rlimit *limit)
{
	if (syscall_4(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, limit) < 0)
		return false;
	if (limit->rlim_cur != RLIM_INFINITY)
		atomic_store(&lowered, true);
	return true;
}

uint64_t rlimit_file_hard(void)
{
	struct rlimit limit;
	return !file_limit(&limit) || limit.rlim_max > INT64_MAX ? INT64_MAX : limit.rlim_max;
}

void rlimit_file_lowered(void)
{
	atomic_store(&lowered, true);
}

/* Whether the program's limit is too low, and we may do better. */
static bool is_in_the_way(uint64_t end)
{
	struct rlimit limit;
	return file_limit(&limit) && limit.rlim_cur < limit.rlim_max && end > limit.rlim_cur;
}

bool rlimit_file_is_in_the_way(uint64_t end)
{
	return atomic_load(&lowered) && is_in_the_way(end);
}

static long make_call(const long call[7])
{
	return syscall_6(call[0], call[1], call[2], call[3], call[4], call[5], call[6]);
}

/* In whichever process calls it. */
static void raise_file_limit(struct rlimit *old)
{
	struct rlimit limit;
	syscall_4(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, old);
	limit = (struct rlimit){ old->rlim_max, old->rlim_max };
	syscall_4(SYS_prlimit64, 0, RLIMIT_FSIZE, &limit, NULL);
}

#define STACK_BYTES 512 /* on that of a page fault, which is small; a system call needs a part of it */
#define NOT_MADE (-4096L) /* the process was killed before */

struct beside {
	const long *call;
	_Atomic long result;
	_Alignas(16) char stack[STACK_BYTES];
};

static void run_beside(void *argument)
{
	struct beside *beside = argument;
	struct rlimit old;
	raise_file_limit(&old);
	atomic_store(&beside->result, make_call(beside->call));
	for (;;)
		syscall_1(SYS_exit, 0);
}

/* The caller waits until the child has ended; no wait of the program's finds it, without __WALL. */
static long clone_beside(struct beside *beside)
{
	const long flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_FS | CLONE_UNTRACED;
	const long top = (long)(beside->stack + STACK_BYTES);
#if defined(__x86_64__)
	const long clone[6] = { SYS_clone, flags, top, 0, 0, 0 };
	return gate_clone(clone, run_beside, beside);
#else
	register long x8 __asm__("x8") = SYS_clone;
	register long x0 __asm__("x0") = flags;
	register long x1 __asm__("x1") = top;
	register long x2 __asm__("x2") = 0;
	register long x3 __asm__("x3") = 0;
	register long x4 __asm__("x4") = 0;
	__asm__ volatile("svc 0\n\t"
	                 "cbnz x0, 1f\n\t"
	                 "mov x0, %[argument]\n\t"
	                 "blr %[function]\n\t"
	                 "brk 0\n"
	                 "1:"
	                 : "+r"(x0)
	                 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4),
	                   [function] "r"(run_beside), [argument] "r"(beside)
	                 : "x30", "cc", "memory");
	return x0;
#endif
}

/* Where no process can be made (RLIMIT_NPROC). A write of the program's at this moment may pass its
 * limit: that is less than the loss of a page. */
static long call_with_raised_limit(const long call[7])
{
	struct rlimit old;
	lock_acquire(&rlimit_lock);
	raise_file_limit(&old);
	long result = make_call(call);
	syscall_4(SYS_prlimit64, 0, RLIMIT_FSIZE, &old, NULL);
	lock_release(&rlimit_lock);
	return result;
}

static long call_beside(const long call[7])
{
	struct beside beside;
	beside.call = call;
	atomic_init(&beside.result, NOT_MADE);
	signal_mask mask = signals_set(SIGNALS_ALL);
	long child = 0;
	while (child >= 0 && atomic_load(&beside.result) == NOT_MADE) {
		child = clone_beside(&beside);
		while (child > 0 && syscall_4(SYS_wait4, child, NULL, __WALL, NULL) == -EINTR)
			;
	}
	long result = child < 0 ? call_with_raised_limit(call) : atomic_load(&beside.result);
	signals_set(mask);
	return result;
}

/* Of a call that the limit stopped although it was not known to be low: set by another thread just
 * then, or by a program whose system calls do not pass through us. */
static void take_signal(void)
{
	const signal_mask signal = SIGNAL_BIT(SIGXFSZ);
	const struct timespec none = { 0, 0 };
	syscall_4(SYS_rt_sigtimedwait, &signal, NULL, &none, sizeof(signal));
}

long rlimit_file_call(uint64_t end, const long call[7])
{
	if (rlimit_file_is_in_the_way(end))
		return call_beside(call);
	long result = make_call(call);
	if (result != -EFBIG || !is_in_the_way(end))
		return result;
	take_signal();
	return call_beside(call);
}
