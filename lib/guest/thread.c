/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * thread.c - clone(2) and exit(2): threads, vfork children, and processes of their own
 *
 * A child comes back from a clone in our code, not in the program's: on a region of its own if it
 * shares our memory, else where its parent was. It asks for its system calls to be intercepted,
 * and then returns into the program from a copy of its parent's frame.
 *
 * Signal context: all, on a region's stack.
 * Source: clone(2), futex(2), get_robust_list(2); kernel/fork.c and kernel/futex of Linux.
 */
#include <linux/rseq.h>
#include <linux/sched.h>
#include <stddef.h>
#include <string.h>

#include "compiler.h"
#include "direct.h"
#include "handlers.h"
#include "host.h"
#include "limit.h"
#include "pager.h"
#include "patch.h"
#include "pool_fork.h"
#include "region.h"
#include "report.h"
#include "signal.h"
#include "signal_frame.h"
#include "syscall.h"
#include "whole.h"

/* ---- Clone ---------------------------------------------------------------------------------- */

/* What both system calls ask for. */
struct birth {
	uint64_t flags;
	uint64_t stack;    /* where the child's stack pointer begins; 0: where its parent's is */
	int *parent_tid, *child_tid, *pidfd;
	uint64_t tls;
	uint64_t exit_signal;
	bool clears;       /* it handles no signals: CLONE_CLEAR_SIGHAND, of which the kernel is not told:
	                      it would clear ours, too */
	const struct clone_args *more; /* of clone3; NULL: clone */
	size_t more_size;
};

/* The kernel would write the child's id for its parent before the child runs. We can only do so
 * in one of the two, whichever comes first; the other waits: the parent may look at the id as
 * soon as it is back, and the child may have cleared it again by then. */
static void announce(struct guest_thread *child, int tid)
{
	uint32_t none = 0;
	if (child->parent_tid == NULL)
		return;
	if (atomic_compare_exchange_strong(&child->announced, &none, 1)) {
		guest_store(child->parent_tid, tid);
		atomic_store(&child->announced, 2);
	}
	while (atomic_load(&child->announced) != 2)
		host_yield();
}

/* A child that shares our memory begins here, on its own region. */
static void begin(void *argument)
{
	struct guest_thread *thread = argument;
	region_adopt(thread);
	if (thread->gs_is_free)
		direct_adopt(thread);
	if (thread->clears_actions)
		guest_signal_clear(thread->actions);
	int tid = host_thread_id();
	announce(thread, tid);
	if (thread->child_tid != NULL)
		guest_store(thread->child_tid, tid);
	region_return(thread, thread->start_context);
}

/* The frame from which the child returns into the program, on its own region. Return: where
 * its stack may begin, below. */
static uintptr_t copy_frame(struct guest_thread *child, const struct guest_context *parent, uint64_t stack)
{
	size_t state = guest_signal_fpstate(parent);
	uintptr_t fpstate = (region_scratch(child) - state) & ~(uintptr_t)63;
	uintptr_t frame = (fpstate - sizeof(struct guest_context)) & ~(uintptr_t)63;
	struct guest_context *context = (struct guest_context *)frame;
	if (state > 0)
		memcpy((void *)fpstate, parent->machine.fpregs, state);
	memcpy(context, parent, sizeof(struct guest_context));
	context->machine.fpregs = state > 0 ? (void *)fpstate : NULL;
	context->machine.gregs[REG_RAX] = 0;
	context->machine.gregs[REG_RCX] = 0; /* or the call seems lost: guest_signal_sigsys() */
	if (stack != 0)
		context->machine.gregs[REG_RSP] = (greg_t)stack;
	/* rt_sigreturn restores the alternate stack too. */
	context->stack = region_stack(child);
	child->start_context = context;
	return frame - 128;
}

/* What a child thinks of signals that the kernel does not know. */
static void inherit(struct guest_thread *child, struct guest_thread *parent, uint64_t flags)
{
	child->actions = parent->actions;
	child->traps_blocked = parent->traps_blocked;
	if (!(flags & CLONE_SIGHAND)) {
		lock_acquire(&parent->actions->lock);
		child->own_actions = *parent->actions;
		lock_release(&parent->actions->lock);
		child->own_actions.lock = (struct lock){ 0 };
		child->actions = &child->own_actions;
	}
	/* As natively: a new thread has none; one that has its parent's stack keeps it. */
	if ((flags & (CLONE_VM | CLONE_VFORK)) != CLONE_VM)
		child->altstack = parent->altstack;
}

static long execute_clone(const struct birth *birth, uint64_t flags, uint64_t stack,
                          uint64_t stack_size, int *child_tid, int *pidfd,
                          void (*function)(void *), void *argument)
{
	if (birth->more == NULL) {
		const long call[6] = { SYS_clone, (long)(flags | birth->exit_signal),
			               (long)(stack + stack_size), (long)pidfd, (long)child_tid,
			               (long)birth->tls };
		return gate_clone(call, function, argument);
	}
	struct clone_args args = *birth->more;
	args.flags = flags;
	args.stack = stack;
	args.stack_size = stack_size;
	args.child_tid = (uintptr_t)child_tid;
	args.parent_tid = 0;
	args.pidfd = (uintptr_t)pidfd;
	const long call[6] = { SYS_clone3, (long)&args, (long)birth->more_size, 0, 0, 0 };
	return gate_clone(call, function, argument);
}

/* A thread, or a vfork child: it shares our memory. */
static long clone_thread(struct guest_call *call, const struct birth *birth)
{
	struct guest_thread *child = region_make();
	int pidfd = -1;
	if (child == NULL)
		return -EAGAIN;
	atomic_store(&child->held, true);
	inherit(child, call->thread, birth->flags);
	child->gs_is_free = direct_is_free(call->thread);
	child->clears_actions = birth->clears;
	child->borrows = !(birth->flags & CLONE_THREAD);
	child->parent_tid = birth->flags & CLONE_PARENT_SETTID ? birth->parent_tid : NULL;
	child->child_tid = birth->flags & CLONE_CHILD_SETTID ? birth->child_tid : NULL;
	child->clear_child_tid = birth->flags & CLONE_CHILD_CLEARTID ? birth->child_tid : NULL;
	uintptr_t top = copy_frame(child, call->context, birth->stack);
	uintptr_t base = region_base(child) + REGION_GUARD;
	uint64_t flags = birth->flags & ~(uint64_t)(CLONE_PARENT_SETTID | CLONE_CHILD_SETTID);
	struct limit_values limits;
	limit_save(&limits);
	signal_mask mask = guest_signal_hold();
	if (child->borrows)
		pool_vfork_begin();
	long pid = execute_clone(birth, flags | CLONE_CHILD_CLEARTID, base, top - base,
	                         (int *)&child->alive, &pidfd, begin, child);
	if (!(flags & CLONE_THREAD) && flags & CLONE_VFORK)
		limit_restore(&limits); /* it has ended, or executes something */
	if (pid > 0)
		announce(child, (int)pid);
	if (pid > 0 && birth->flags & CLONE_PIDFD)
		guest_store(birth->pidfd, pidfd);
	signals_set(mask);
	if (pid < 0)
		atomic_store(&child->alive, 0);
	atomic_store(&child->held, false);
	return pid;
}

/* In the child, which is as its parent was; all signals are held. */
static void fork_child(struct guest_call *call, const struct birth *birth)
{
	struct guest_thread *self = call->thread;
	struct guest_context *context = call->context;
	if (self->actions == &self->own_actions && birth->flags & CLONE_SIGHAND)
		self->own_actions.lock = (struct lock){ 0 };
	region_forget_others(self);
	patch_fork_child();
	pool_fork_child(birth->flags & CLONE_FILES);
	whole_fork_child();
	self->clear_child_tid = birth->flags & CLONE_CHILD_CLEARTID ? birth->child_tid : NULL;
	self->robust_list = NULL;
	self->borrows = false;
	atomic_store(&self->trap_pending, 0);
	atomic_store(&self->caught, 0);
	if (birth->clears)
		guest_signal_clear(self->actions);
	region_arm(self); /* its alternate stack is as its parent's was */
	if (birth->stack != 0)
		context->machine.gregs[REG_RSP] = (greg_t)birth->stack;
	if (birth->flags & CLONE_CHILD_SETTID)
		guest_store(birth->child_tid, host_thread_id());
}

/* A process of its own memory. */
static long clone_process(struct guest_call *call, const struct birth *birth)
{
	const uint64_t ours = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
	bool share_files = birth->flags & CLONE_FILES;
	int pidfd = -1;
	signal_mask mask = guest_signal_hold();
	/* One that came late would be delivered to both. */
	if (atomic_load(&call->thread->caught) != 0)
		return GUEST_RESTART;
	whole_lock(); /* before the locks of spaces, as everywhere */
	long result = pool_fork_begin(region_others());
	if (result < 0) {
		whole_unlock();
		signals_set(mask);
		return result == -ENOSPC ? -ENOMEM : result;
	}
	lock_acquire(&call->thread->actions->lock);
	region_fork_begin();
	result = execute_clone(birth, birth->flags & ~ours, 0, 0, NULL, &pidfd, NULL, NULL);
	region_fork_end();
	lock_release(&call->thread->actions->lock);
	if (result == 0) {
		fork_child(call, birth);
	} else {
		pool_fork_parent(result < 0, share_files);
		if (result > 0 && birth->flags & CLONE_PARENT_SETTID)
			guest_store(birth->parent_tid, (int)result);
		if (result > 0 && birth->flags & CLONE_PIDFD)
			guest_store(birth->pidfd, pidfd);
	}
	whole_unlock();
	signals_set(mask);
	return result;
}

static long clone_any(struct guest_call *call, const struct birth *birth)
{
	/* Nothing has been done yet: what came first is delivered first. */
	if (atomic_load(&call->thread->caught) != 0)
		return GUEST_RESTART;
	return birth->flags & CLONE_VM ? clone_thread(call, birth) : clone_process(call, birth);
}

long guest_clone(struct guest_call *call)
{
	uint64_t flags = (uint64_t)call->argument[0];
	const struct birth birth = { .flags = flags & ~(uint64_t)CSIGNAL,
		                     .stack = (uint64_t)call->argument[1],
		                     .parent_tid = (int *)call->argument[2],
		                     .child_tid = (int *)call->argument[3],
		                     .pidfd = (int *)call->argument[2],
		                     .tls = (uint64_t)call->argument[4],
		                     .exit_signal = flags & CSIGNAL };
	/* The kernel would find no room for both: it says so before we lose one. */
	if ((flags & CLONE_PIDFD) && (flags & CLONE_PARENT_SETTID))
		return -EINVAL;
	return clone_any(call, &birth);
}

long guest_clone3(struct guest_call *call)
{
	struct clone_args args = { 0 };
	size_t size = (size_t)call->argument[1];
	if (size > HOST_PAGE_SIZE)
		return -E2BIG;
	if (size < CLONE_ARGS_SIZE_VER0)
		return -EINVAL;
	if (guest_copy_in(&args, (const void *)call->argument[0],
	                  size < sizeof(args) ? size : sizeof(args)) != 0)
		return -EFAULT;
	/* What the kernel has learnt since we were written must be left at zero. */
	for (size_t at = sizeof(args); at < size; at++) {
		char byte;
		if (guest_copy_in(&byte, (const char *)call->argument[0] + at, 1) != 0)
			return -EFAULT;
		if (byte != 0)
			return -E2BIG;
	}
	if (size > sizeof(args))
		size = sizeof(args);
	if (args.set_tid_size > 0) {
		size_t bytes = args.set_tid_size * sizeof(pid_t);
		pid_t *ids = args.set_tid_size <= 32 ? guest_buffer(call, bytes) : NULL;
		if (ids != NULL && guest_copy_in(ids, (const void *)args.set_tid, bytes) == 0)
			args.set_tid = (uintptr_t)ids;
	}
	const uint64_t clears = CLONE_CLEAR_SIGHAND;
	bool valid = !(args.flags & CLONE_SIGHAND); /* else the kernel refuses it */
	const struct birth birth = { .flags = valid ? args.flags & ~clears : args.flags,
		                     .clears = valid && args.flags & clears,
		                     .stack = args.stack != 0 ? args.stack + args.stack_size : 0,
		                     .parent_tid = (int *)args.parent_tid,
		                     .child_tid = (int *)args.child_tid,
		                     .pidfd = (int *)args.pidfd,
		                     .tls = args.tls,
		                     .more = &args,
		                     .more_size = size };
	if ((args.stack == 0) != (args.stack_size == 0))
		return -EINVAL;
	return clone_any(call, &birth);
}

long guest_fork(struct guest_call *call)
{
	const struct birth birth = { .exit_signal = SIGCHLD };
	return clone_any(call, &birth);
}

long guest_vfork(struct guest_call *call)
{
	const struct birth birth = { .flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD };
	return clone_any(call, &birth);
}

/* ---- The end of a thread --------------------------------------------------------------------- */

static void wake(int *word, int count)
{
	/* The kernel knows a word of paged memory by its address, all others as they may be shared. */
	int operation = guest_is_foreign(word) ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE;
	syscall_3(SYS_futex, word, operation, count);
}

/* A mutex whose owner is @tid: the next one to lock it learns that the owner has died. */
static void mutex_abandon(uint32_t *word, uint32_t tid)
{
	uint32_t value;
	if (guest_copy_in(&value, word, sizeof(value)) != 0)
		return;
	while ((value & FUTEX_TID_MASK) == tid) {
		uint32_t seen = value;
		if (!guest_exchange(word, &seen, (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED))
			return;
		if (seen == value) {
			if (value & FUTEX_WAITERS)
				wake((int *)word, 1);
			return;
		}
		value = seen;
	}
}

#define ROBUST_LIST_HEAD_BYTES 24
#define ROBUST_LIMIT 2048 /* the kernel's own: the list may be a circle */

static void robust_list_walk(void *list, uint32_t tid)
{
	struct {
		uintptr_t next;
		long offset;
		uintptr_t pending;
	} head;
	if (list == NULL || guest_copy_in(&head, list, sizeof(head)) != 0)
		return;
	/* The lowest bit says that the mutex inherits priority: the kernel knows its owner. */
	uintptr_t entry = head.next;
	for (int i = 0; i < ROBUST_LIMIT && (entry & ~(uintptr_t)1) != (uintptr_t)list;
	     i++) {
		uintptr_t next;
		bool last = guest_copy_in(&next, (const void *)(entry & ~(uintptr_t)1), sizeof(next)) != 0;
		if (entry != head.pending)
			mutex_abandon((uint32_t *)((entry & ~(uintptr_t)1) + (uintptr_t)head.offset), tid);
		if (last)
			break;
		entry = next;
	}
	if (head.pending != 0)
		mutex_abandon((uint32_t *)((head.pending & ~(uintptr_t)1) + (uintptr_t)head.offset), tid);
}

void guest_abandon_mutexes(struct guest_thread *self)
{
	struct robust lists[32];
	const unsigned most = sizeof(lists) / sizeof(lists[0]);
	/* A vfork child has none: those are its parent's. */
	for (unsigned from = 0, count = most; !self->borrows && count == most; from += count) {
		count = region_robust(from, lists, most);
		for (unsigned i = 0; i < count; i++)
			robust_list_walk(lists[i].list, lists[i].owner);
	}
}

static void farewell(struct guest_thread *thread)
{
	robust_list_walk(thread->robust_list, (uint32_t)host_thread_id());
	/* Whoever waits for this thread may unmap its stack, where the kernel would still look. */
	syscall_2(SYS_set_robust_list, NULL, ROBUST_LIST_HEAD_BYTES);
	if (thread->rseq[0] != 0)
		syscall_4(SYS_rseq, thread->rseq[0], thread->rseq[1], RSEQ_FLAG_UNREGISTER,
		          thread->rseq[2]);
	if (thread->clear_child_tid != NULL && guest_store(thread->clear_child_tid, 0))
		wake(thread->clear_child_tid, 1);
	thread->clear_child_tid = NULL;
}

long guest_exit(struct guest_call *call)
{
	guest_signal_hold();
	/* One that was sent to the process would be lost with us. */
	if (atomic_load(&call->thread->caught) != 0)
		return GUEST_RESTART;
	if (region_leave()) {
		report_exit();
		pool_reclaimers_hold(); /* or the process would not end with us */
	}
	farewell(call->thread);
	gate_exit(call->argument[0]);
}

/* ---- What a thread tells the kernel of itself -------------------------------------------------- */

long guest_set_tid_address(struct guest_call *call)
{
	call->thread->clear_child_tid = (int *)call->argument[0];
	return host_thread_id();
}

/* The kernel gets the list too, for the mutexes that are not in paged memory: a thread that is
 * killed comes by no code of ours. What it cannot read it leaves. */
long guest_set_robust_list(struct guest_call *call)
{
	if (call->argument[1] != ROBUST_LIST_HEAD_BYTES)
		return -EINVAL;
	call->thread->robust_list = (void *)call->argument[0];
	if (guest_is_paged(call->thread->robust_list, ROBUST_LIST_HEAD_BYTES))
		return 0;
	return guest_execute(call, call->number, call->argument[0], call->argument[1], 0, 0, 0, 0);
}

long guest_get_robust_list(struct guest_call *call)
{
	void *list = call->thread->robust_list;
	size_t length = ROBUST_LIST_HEAD_BYTES;
	if (call->argument[0] != 0 && call->argument[0] != host_thread_id()) {
		long got[2] = { 0 };
		long result = guest_execute(call, call->number, call->argument[0], (long)&got[0],
		                            (long)&got[1], 0, 0, 0);
		if (result < 0)
			return result;
		list = (void *)got[0];
		length = (size_t)got[1];
	}
	if (guest_copy_out((void *)call->argument[2], &length, sizeof(length)) != 0 ||
	    guest_copy_out((void *)call->argument[1], &list, sizeof(list)) != 0)
		return -EFAULT;
	return 0;
}

/* The kernel writes there whenever it likes, and kills who has it elsewhere than in memory. So one
 * in paged memory is not registered: its processor stays "not known", as where rseq is missing,
 * and is asked for by system call. But it is not refused: the C library registered its first
 * thread before we were there, and ends a process in which a later one fails. */
long guest_rseq(struct guest_call *call)
{
	if (whole_space != NULL)
		return -ENOSYS; /* from the first thread on */
	if (guest_is_paged((const void *)call->argument[0], (size_t)(uint32_t)call->argument[1]))
		return 0;
	const long *a = call->argument;
	long result = guest_execute(call, call->number, a[0], a[1], a[2], a[3], 0, 0);
	if (result == 0) {
		bool registers = !(a[2] & RSEQ_FLAG_UNREGISTER);
		call->thread->rseq[0] = registers ? a[0] : 0;
		call->thread->rseq[1] = a[1];
		call->thread->rseq[2] = a[3];
	}
	return result;
}

#define ARCH_SET_GS 0x1001
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004

/* Whether it has a word to store: FS, GS, ARCH_GET_XCOMP_*, ARCH_GET_UNTAG_MASK,
 * ARCH_GET_MAX_TAG_BITS, ARCH_SHSTK_STATUS. */
static bool gets_word(int option)
{
	return option == ARCH_GET_FS || option == ARCH_GET_GS || option == 0x1021 ||
	       option == 0x1022 || option == 0x1024 || option == 0x4001 || option == 0x4003 ||
	       option == 0x5005;
}

/* A GS of ours is none of the program's. */
long guest_arch_prctl(struct guest_call *call)
{
	const long *a = call->argument;
	bool free = direct_is_free(call->thread);
	if (!gets_word((int)a[0])) {
		long result = guest_execute(call, call->number, a[0], a[1], 0, 0, 0, 0);
		if (a[0] == ARCH_SET_GS && result == 0 && direct_is_free(call->thread))
			direct_adopt(call->thread);
		return result;
	}
	uintptr_t base;
	long result = guest_execute(call, call->number, a[0], (long)&base, 0, 0, 0, 0);
	if (a[0] == ARCH_GET_GS && free)
		base = 0;
	if (result == 0 && guest_copy_out((void *)a[1], &base, sizeof(base)) != 0)
		return -EFAULT;
	return result;
}
