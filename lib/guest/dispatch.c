/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dispatch.h"

#include <linux/audit.h>

#include "alone.h"
#include "direct.h"
#include "handlers.h"
#include "host.h"
#include "late.h"
#include "patch.h"
#include "region.h"
#include "relocate.h"
#include "self.h"
#include "signal.h"
#include "syscall.h"
#include "table.h"
#include "verbose.h"
#include "whole.h"

struct stats **dispatch_stats;

#define SYS_USER_DISPATCH 2

/* ---- What handlers use --------------------------------------------------------------------- */

struct guest_buffer {
	struct guest_buffer *next;
	size_t bytes; /* with this */
};

#define SCRATCH_PIECE ((size_t)32 << 10)

/* Pieces that nobody uses just now: to map one, touch it and unmap it costs more than most calls. */
#define PIECES_KEPT 4
static _Atomic(struct guest_buffer *) pieces[PIECES_KEPT];

static struct guest_buffer *piece_take(void)
{
	for (unsigned i = 0; i < PIECES_KEPT; i++) {
		struct guest_buffer *piece = atomic_load(&pieces[i]) != NULL
		                                     ? atomic_exchange(&pieces[i], NULL)
		                                     : NULL;
		if (piece != NULL)
			return piece;
	}
	return NULL;
}

static bool piece_keep(struct guest_buffer *piece)
{
	for (unsigned i = 0; i < PIECES_KEPT; i++) {
		struct guest_buffer *none = NULL;
		if (atomic_compare_exchange_strong(&pieces[i], &none, piece))
			return true;
	}
	return false;
}

void *guest_buffer(struct guest_call *call, size_t bytes)
{
	struct guest_thread *thread = call->thread;
	size_t rounded = (bytes + 15) & ~(size_t)15;
	if (rounded < bytes)
		return NULL;
	if (rounded < SCRATCH_PIECE && thread->scratch_used + rounded <= REGION_SCRATCH) {
		void *memory = (void *)(region_scratch(thread) + thread->scratch_used);
		thread->scratch_used += rounded;
		return memory;
	}
	if (rounded > SIZE_MAX / 2)
		return NULL;
	struct guest_buffer *buffer = rounded <= GUEST_PIECE ? piece_take() : NULL;
	if (buffer == NULL) {
		/* The head has a page of its own, so that the buffer is page-aligned. */
		size_t whole = (rounded < GUEST_PIECE ? GUEST_PIECE : rounded) + HOST_PAGE_SIZE;
		buffer = host_metadata(whole);
		if (buffer == NULL)
			return NULL;
		buffer->bytes = whole;
	}
	buffer->next = call->buffers;
	call->buffers = buffer;
	return (char *)buffer + HOST_PAGE_SIZE;
}

static void release_buffers(struct guest_call *call)
{
	while (call->buffers != NULL) {
		struct guest_buffer *buffer = call->buffers;
		call->buffers = buffer->next;
		if (buffer->bytes != GUEST_PIECE + HOST_PAGE_SIZE || !piece_keep(buffer))
			host_metadata_release(buffer, buffer->bytes);
	}
	call->thread->scratch_used = 0;
}

long guest_execute(struct guest_call *call, long number, long a, long b, long c, long d, long e,
                   long f)
{
	const long words[7] = { number, a, b, c, d, e, f };
	return call->late ? late_execute(call, words)
	                  : gate_interruptible(words, &call->thread->caught);
}

/* ---- The way ---------------------------------------------------------------------------------- */

static long dispatch(struct guest_call *call)
{
	const struct guest_entry *entry = guest_table_find(call->number);
	if (dispatch_stats != NULL)
		stats_count(*dispatch_stats, COUNT_INTERCEPTED);
	if (entry == NULL || entry->refused) {
		verbose_refused(call->number, entry != NULL ? entry->name : NULL);
		return -ENOSYS;
	}
	long result;
	bool alone = alone_begin(call, entry);
	if (whole_space == NULL || !self_answer(call, entry, &result))
		result = entry->handler != NULL ? entry->handler(call) : guest_generic(call, entry);
	if (alone)
		alone_end();
	if (whole_space != NULL) {
		whole_call_done(call, result);
		whole_files_idle();
	}
	relocate_tick();
	return result;
}

/* What is left to do where nothing more may be done for the call. */
static long call_end(struct guest_call *call, long result)
{
	struct guest_thread *thread = call->thread;
	release_buffers(call);
	if (thread->has_temporary || atomic_load(&thread->caught) != 0)
		result = guest_signal_call_end(thread, result);
	return result;
}

/* By direct_enter, on the thread's region. */
long direct_call(const long *frame, long number);
long direct_call(const long *frame, long number)
{
	struct guest_thread *thread = region_self();
	const long *a = frame + 1;
	struct guest_call call = { .thread = thread,
		                   .number = number,
		                   .argument = { a[0], a[1], a[2], a[3], a[4], a[5] } };
	thread->has_temporary = false;
	thread->tries = 0;
	long result = call_end(&call, dispatch(&call));
	thread->direct.by_trap = result == GUEST_RESTART;
	return result;
}

void guest_sigsys(int number, siginfo_t *info, void *context)
{
	guest_signal_relax(context);
	struct guest_thread *thread = region_self();
	greg_t *r = ((struct guest_context *)context)->machine.gregs;
	(void)number;
	if (late_is_timer(thread, info))
		guest_signal_timer(context);
	enum direct_settled settled = direct_settle(thread, context);
	if (info->si_code != SYS_USER_DISPATCH)
		guest_signal_sigsys(info, context);
	if (settled == DIRECT_OVER) { /* it trapped to get here */
		thread->has_temporary = false;
		region_return(thread, context);
	}
	guest_signal_open_sigsys();
	if (region_has(thread, (uintptr_t)r[REG_RSP])) {
		r[REG_RAX] = gate_syscall(r[REG_RAX], r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10],
		                          r[REG_R8], r[REG_R9]);
		r[REG_RCX] = 0;
		region_return(thread, context);
	}
	struct guest_call call = { .thread = thread,
		                   .context = context,
		                   .number = (int)r[REG_RAX], /* as the kernel does */
		                   .argument = { r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10],
		                                 r[REG_R8], r[REG_R9] } };
	thread->has_temporary = false;
	uintptr_t back = (uintptr_t)r[REG_RIP];
	bool late = late_begin(&call);
	long result = -ENOSYS;
	if (late && atomic_load(&thread->caught) != 0)
		result = GUEST_RESTART; /* before anything is copied */
	else if (back == (uintptr_t)gate_hypercall_end)
		result = ((long (*)(void *))call.argument[0])((void *)call.argument[1]);
	else if (info->si_arch == AUDIT_ARCH_X86_64)
		result = dispatch(&call);
	else
		verbose_refused(call.number, "of 32-bit code (int $0x80)");
	if (late)
		late_end(&call);
	result = call_end(&call, result);
	if (result == GUEST_RESTART) {
		r[REG_RIP] -= SYSCALL_BYTES;
		late_give_way(&call);
	} else if (call.number != SYS_rt_sigreturn) { /* else all are those of the frame */
		r[REG_RAX] = result;
		r[REG_RCX] = 0; /* spoiled by the instruction: guest_signal_sigsys() says how */
		r[REG_R11] = r[REG_EFL];
		patch_seen(back, call.number);
	}
	direct_refresh(thread);
	region_return(thread, context);
}
