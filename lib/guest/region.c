/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "region.h"

#include <asm/prctl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "host.h"
#include "syscall.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif

#define REGIONS_KEPT 32

static struct lock regions_lock;
static struct guest_thread *regions; /* all, in use or not */

/* ---- Regions ------------------------------------------------------------------------------ */

static struct guest_thread *region_map(void)
{
	char *memory = host_metadata(2 * REGION_SIZE);
	if (memory == NULL)
		return NULL;
	uintptr_t base = ((uintptr_t)memory + REGION_SIZE - 1) & ~(REGION_SIZE - 1);
	uintptr_t end = (uintptr_t)memory + 2 * REGION_SIZE;
	if (base > (uintptr_t)memory)
		host_metadata_release(memory, base - (uintptr_t)memory);
	if (end > base + REGION_SIZE)
		host_metadata_release((void *)(base + REGION_SIZE), end - base - REGION_SIZE);
	host_protect(base, REGION_GUARD, PROT_NONE);
	return region_thread(base);
}

/* A region whose thread is gone, which the kernel has said last of all. Of those that come after
 * it so many are kept; the rest is given back, for each takes two of the host's mappings. */
static struct guest_thread *region_reuse(void)
{
	struct guest_thread *found = NULL;
	unsigned kept = 0;
	for (struct guest_thread **at = &regions; *at != NULL;) {
		struct guest_thread *thread = *at;
		bool used = atomic_load(&thread->alive) != 0 || atomic_load(&thread->held);
		if (!used && found == NULL) {
			found = thread;
		} else if (!used && ++kept > REGIONS_KEPT) {
			*at = thread->next;
			host_metadata_release((void *)region_base(thread), REGION_SIZE);
			continue;
		}
		at = &thread->next;
	}
	return found;
}

struct guest_thread *region_make(void)
{
	lock_acquire(&regions_lock);
	struct guest_thread *thread = region_reuse();
	if (thread == NULL) {
		thread = region_map();
		if (thread != NULL) {
			thread->next = regions;
			regions = thread;
		}
	}
	if (thread != NULL) {
		struct guest_thread *next = thread->next;
		memset(thread, 0, sizeof(*thread));
		thread->next = next;
		thread->altstack.ss_flags = SS_DISABLE;
		atomic_store(&thread->alive, 1);
	}
	lock_release(&regions_lock);
	return thread;
}

bool region_others(void)
{
	const struct guest_thread *self = region_self();
	bool others = false;
	lock_acquire(&regions_lock);
	for (struct guest_thread *thread = regions; thread != NULL; thread = thread->next)
		others = others || (thread != self && atomic_load(&thread->alive) != 0);
	lock_release(&regions_lock);
	return others;
}

unsigned region_robust(unsigned from, struct robust *out, unsigned most)
{
	unsigned count = 0, place = 0;
	lock_acquire(&regions_lock);
	for (struct guest_thread *thread = regions; thread != NULL && count < most; thread = thread->next) {
		uint32_t owner = atomic_load(&thread->alive);
		if (owner != 0 && !thread->borrows && thread->robust_list != NULL && place++ >= from)
			out[count++] = (struct robust){ thread->robust_list, owner };
	}
	lock_release(&regions_lock);
	return count;
}

bool region_leave(void)
{
	struct guest_thread *self = region_self();
	bool others = false;
	lock_acquire(&regions_lock);
	self->leaving = true;
	for (struct guest_thread *thread = regions; thread != NULL; thread = thread->next)
		others = others || (!thread->leaving && atomic_load(&thread->alive) != 0);
	lock_release(&regions_lock);
	return !others;
}

void region_fork_begin(void)
{
	lock_acquire(&regions_lock);
}

void region_fork_end(void)
{
	lock_release(&regions_lock);
}

void region_forget_others(struct guest_thread *self)
{
	for (struct guest_thread *thread = regions; thread != NULL; thread = thread->next)
		if (thread != self) {
			atomic_store(&thread->alive, 0);
			atomic_store(&thread->held, false);
		}
}

int region_arm(struct guest_thread *thread)
{
	atomic_store(&thread->alive, (uint32_t)syscall_1(SYS_set_tid_address, &thread->alive));
	return (int)syscall_6(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON,
	                      (long)gate_start, gate_end - gate_start, 0, 0);
}

int region_adopt(struct guest_thread *thread)
{
	const stack_t stack = region_stack(thread);
	long result = syscall_2(SYS_sigaltstack, &stack, NULL);
	return result < 0 ? (int)result : region_arm(thread);
}

#define SEGMENTS 0x002b000000000033 /* code and stack, of 64-bit programs */
#define INTERRUPTS 0x202
#define CONTEXT_SEGMENTS 6          /* UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */

void region_begin(struct guest_thread *thread, uintptr_t entry, uintptr_t stack)
{
	struct guest_context *context =
	        (struct guest_context *)((region_scratch(thread) - sizeof(*context)) & ~(uintptr_t)63);
	memset(context, 0, sizeof(*context));
	context->flags = CONTEXT_SEGMENTS;
	context->stack = region_stack(thread);
	context->machine.gregs[REG_RIP] = (greg_t)entry;
	context->machine.gregs[REG_RSP] = (greg_t)stack;
	context->machine.gregs[REG_CSGSFS] = SEGMENTS;
	context->machine.gregs[REG_EFL] = INTERRUPTS;
	syscall_4(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &context->mask, sizeof(context->mask));
	syscall_2(SYS_arch_prctl, ARCH_SET_FS, 0);
	region_return(thread, context);
}
