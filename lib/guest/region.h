/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * region.h - the stack that each thread of the program has with us, and what we know of it
 *
 * A thread's region is an aligned piece of our memory: the stack on which all signal handlers of
 * ours run (its real alternate stack), buffers for system calls, and what we know of the thread.
 * Whoever runs on it finds all that from the stack pointer: the program's thread-local storage
 * may not be resident, or not be there yet.
 *
 *      base                                                       base + REGION_SIZE
 *      | guard | stack  <--                | scratch | thread-local storage | struct |
 *
 * A region is used again, or given back, once the kernel has cleared `alive`, as it does when a
 * thread has ended or has left this memory by execve.
 *
 * Locking: the list of regions by a lock (rank 3). A struct belongs to its thread.
 * Signal context: all. Source: clone(2), set_tid_address(2), get_robust_list(2).
 */
#ifndef UPAGE_GUEST_REGION_H
#define UPAGE_GUEST_REGION_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#include "gate.h"
#include "lock.h"
#include "signals.h"
#include "turn.h"

#define REGION_SIZE ((uintptr_t)256 << 10)
#define REGION_GUARD ((uintptr_t)4 << 10)
#define REGION_SCRATCH ((uintptr_t)64 << 10)
#define REGION_TLS ((uintptr_t)4 << 10) /* of ours, for libsigsegv: its stack protector */

/* What the kernel keeps of interrupted code: its struct ucontext, which the C library's
 * ucontext_t only begins with. */
struct guest_context {
	unsigned long flags;
	void *link;
	stack_t stack;      /* the alternate one                                  */
	mcontext_t machine; /* registers, and where the floating-point state lies */
	signal_mask mask;
};

static inline greg_t *guest_registers(void *context)
{
	return ((struct guest_context *)context)->machine.gregs;
}

/* Shared by the threads that share their actions (CLONE_SIGHAND). */
struct guest_actions {
	struct lock lock;
	struct host_action action[64]; /* the program's, of signal n at n - 1 */
};

/* Why a thread may not go back to its program yet: bits of `caught`. */
#define CAUGHT_SIGNAL 1 /* `waiting` is to be delivered; nothing else will come before */
#define CAUGHT_TRAP 2   /* a SIGSEGV or SIGSYS that somebody sent, in `trap_waiting`   */
#define CAUGHT_BLOCKED 4 /* one of them that the program blocks: it may have ended a call */

/* Of calls that come without a trap: direct.h. direct.S knows the places. */
struct direct {
	uintptr_t self, check;         /* of the struct guest_thread: that it is one      */
	uintptr_t stack;               /* where they begin                                */
	uintptr_t sp;                  /* the program's                                   */
	long result;
	uintptr_t back;                /* where the program goes on                       */
	int number;
	int by_trap;                   /* it cannot just go back                          */
	signal_mask mask;              /* of the program when it was last gone back to    */
};

struct guest_thread {
	_Atomic int caught;
	_Atomic uint32_t alive;        /* its thread id, 1 at first; the kernel clears it */
	struct direct direct;
	struct guest_thread *next;     /* of all regions                                */
	struct guest_actions *actions;
	struct guest_actions own_actions; /* of a vfork child                           */
	siginfo_t waiting;             /* for CAUGHT_SIGNAL                             */
	siginfo_t trap_waiting[2];     /* SIGSEGV, SIGSYS: sent, not delivered          */
	_Atomic signal_mask trap_pending; /* which of them are there                    */
	signal_mask traps_blocked;     /* of SIGSEGV and SIGSYS: the program thinks so  */
	signal_mask temporary;         /* mask of the call under way: guest_temporary_mask */
	signal_mask temporary_given;   /* the same, as the kernel may have it           */
	signal_mask traps_before;      /* traps_blocked outside of that call            */
	bool has_temporary;
	_Atomic bool timed_out;        /* a late call: late.h                           */
	unsigned tries;                /* of the call about to be made: frame_set_tries */
	bool leaving;                  /* guarded by the lock of all regions            */
	bool borrows;                  /* a process in the memory of another: a vfork child */
	stack_t altstack;              /* the program's                                 */
	int *clear_child_tid;          /* the program's                                 */
	void *robust_list;             /* the program's                                 */
	long rseq[3];                  /* its address, size and signature; 0: none      */
	size_t scratch_used;
	struct turn_thread faults;
	void *start_context;           /* of a new thread                               */
	int *parent_tid, *child_tid;   /* where a new thread's id goes; NULL: nowhere   */
	_Atomic uint32_t announced;    /* the id is at parent_tid: 1 under way, 2 done  */
	_Atomic bool held;             /* by the parent, who looks at these             */
	bool clears_actions;           /* it begins with none (CLONE_CLEAR_SIGHAND)     */
	bool gs_is_free;               /* the program has set none: direct.h            */
};

static inline uintptr_t guest_stack_pointer(void)
{
	uintptr_t sp;
	__asm__("mov %%rsp, %0" : "=r"(sp));
	return sp;
}

static inline uintptr_t region_base(const struct guest_thread *thread)
{
	return (uintptr_t)thread & ~(REGION_SIZE - 1);
}

/* The structs stand at the end of their regions. */
#define THREAD_BYTES ((sizeof(struct guest_thread) + 63) & ~(uintptr_t)63)

static inline struct guest_thread *region_thread(uintptr_t base)
{
	return (struct guest_thread *)(base + REGION_SIZE - THREAD_BYTES);
}

/* Of the caller, who runs on a region's stack. */
static inline struct guest_thread *region_self(void)
{
	return region_thread(guest_stack_pointer() & ~(REGION_SIZE - 1));
}

static inline uintptr_t region_scratch(const struct guest_thread *thread)
{
	return (uintptr_t)thread - REGION_TLS - REGION_SCRATCH;
}

/* Where thread-local storage of ours is said to be: offsets from it may be negative. */
static inline uintptr_t region_tls(const struct guest_thread *thread)
{
	return (uintptr_t)thread - REGION_TLS / 2;
}

/* The alternate stack. */
static inline stack_t region_stack(const struct guest_thread *thread)
{
	uintptr_t start = region_base(thread) + REGION_GUARD;
	return (stack_t){ .ss_sp = (void *)start, .ss_size = region_scratch(thread) - start };
}

/* Whether @address is on the thread's region: it is we who run there. */
static inline bool region_has(const struct guest_thread *thread, uintptr_t address)
{
	return address - region_base(thread) < REGION_SIZE;
}

/* The end of a handler of ours: back to what it interrupted, which has been given @context. */
_Noreturn static inline void region_return(struct guest_thread *thread, void *context)
{
	const struct guest_context *interrupted = context;
	if (!region_has(thread, (uintptr_t)interrupted->machine.gregs[REG_RSP]))
		thread->direct.mask = interrupted->mask;
	gate_leave(context, &thread->caught);
}

/* A region for a thread to be; NULL: no memory. */
struct guest_thread *region_make(void);

/* The calling thread's handlers run on the region from now on; and its end and its system calls
 * are told to us. Return: 0 or a negated errno value. */
int region_adopt(struct guest_thread *thread);

/* The second half of that, for the child of a fork: it has its parent's alternate stack. */
int region_arm(struct guest_thread *thread);

/* Goes to @entry, as a new program on @stack. */
_Noreturn void region_begin(struct guest_thread *thread, uintptr_t entry, uintptr_t stack);

/* The calling thread is about to end. Return: whether it is the last that does. */
bool region_leave(void);

/* Whether the memory of this process has other threads than the caller's. */
bool region_others(void);

/* The robust lists of this process's threads, from the @from-th on. Return: how many, @most at most. */
struct robust {
	void *list;
	uint32_t owner;
};
unsigned region_robust(unsigned from, struct robust *out, unsigned most);

/* Around a fork; and in its child, which has the caller's thread alone. */
void region_fork_begin(void);
void region_fork_end(void);
void region_forget_others(struct guest_thread *self);

#endif
