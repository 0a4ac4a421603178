/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "trap.h"

#include <sigsegv.h>
#include <string.h>
#include <ucontext.h>

#include "guard.h"
#include "host.h"
#include "print.h"
#include "report.h"
#include "signals.h"
#include "space.h"
#include "tls.h"

/* One reference that trapped: what libsigsegv cannot carry. */
struct trap {
	uintptr_t address;
	int access; /* PROT_READ, PROT_WRITE or PROT_EXEC */
	upage_space *space;
	enum fault_outcome outcome;
	int failure; /* for FAULT_FAILED */
};

static sigsegv_dispatcher dispatcher;
static signals_handler *libsigsegv_handler;

/* ---- What the hardware says --------------------------------------------------------------- */

#if defined(__x86_64__)
#define TRAP_PAGE_FAULT 14
#define ERROR_WRITE (1 << 1)
#define ERROR_FETCH (1 << 4)

static bool is_page_fault(const ucontext_t *context)
{
	return context->uc_mcontext.gregs[REG_TRAPNO] == TRAP_PAGE_FAULT;
}

static int access_type(const ucontext_t *context)
{
	long long error = context->uc_mcontext.gregs[REG_ERR];
	return error & ERROR_WRITE ? PROT_WRITE : error & ERROR_FETCH ? PROT_EXEC : PROT_READ;
}

static uintptr_t program_counter(const ucontext_t *context)
{
	return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
}
#else
#define ESR_CLASS(esr) ((esr) >> 26 & 0x3f)
#define ESR_CLASS_FETCH 0x20
#define ESR_WRITE (1u << 6)

static bool is_page_fault(const ucontext_t *context)
{
	(void)context;
	return true; /* the kernel gives other causes other signals or codes */
}

static int access_type(const ucontext_t *context)
{
	const unsigned char *record = context->uc_mcontext.__reserved;
	const unsigned char *end = record + sizeof(context->uc_mcontext.__reserved);
	while (record + sizeof(struct esr_context) <= end) {
		const struct _aarch64_ctx *head = (const void *)record;
		if (head->magic == 0 || head->size == 0)
			break;
		if (head->magic == ESR_MAGIC) {
			uint64_t esr = ((const struct esr_context *)(const void *)record)->esr;
			if (ESR_CLASS(esr) == ESR_CLASS_FETCH)
				return PROT_EXEC;
			return esr & ESR_WRITE ? PROT_WRITE : PROT_READ;
		}
		record += head->size;
	}
	return PROT_READ; /* not told: a write traps again, as an upgrade */
}

static uintptr_t program_counter(const ucontext_t *context)
{
	return (uintptr_t)context->uc_mcontext.pc;
}
#endif

/* ---- Reports ------------------------------------------------------------------------------- */

static const char *access_name(int access)
{
	return access == PROT_WRITE ? "write to " : access == PROT_EXEC ? "execution of " : "read of ";
}

static const char *outcome_name(enum fault_outcome outcome)
{
	switch (outcome) {
	case FAULT_PROTECTION:
	case FAULT_FOREIGN:
		return "the mapping's protection forbids it";
	case FAULT_PAST_END:
		return "past the end of the mapped file";
	case FAULT_FAILED:
		return "the page fault could not be served: ";
	default:
		return "not mapped";
	}
}

/* One line: access, address, instruction, cause, space, nearest mapping. */
static void report(const char *signal_name, const struct trap *trap, const ucontext_t *context)
{
	struct line line = { 0 };
	uintptr_t start, end;
	print_text(&line, "upage: ");
	print_text(&line, signal_name);
	print_text(&line, ": ");
	print_text(&line, access_name(trap->access));
	print_hex(&line, trap->address);
	print_text(&line, " by the instruction at ");
	print_hex(&line, program_counter(context));
	print_text(&line, " in thread ");
	print_decimal(&line, (uint64_t)host_thread_id());
	print_text(&line, ": ");
	print_text(&line, outcome_name(trap->outcome));
	if (trap->outcome == FAULT_FAILED && space_is_lost(trap->space))
		print_text(&line, "no copy of paged memory could be made at the fork");
	else if (trap->outcome == FAULT_FAILED)
		print_text(&line, upage_strerror(trap->failure));
	print_text(&line, "; space ");
	print_hex(&line, trap->space->base);
	print_text(&line, "-");
	print_hex(&line, trap->space->base + trap->space->length);
	/* Of a parent's space not even the lock can be relied on. */
	if (!space_is_lost(trap->space) &&
	    space_nearest(trap->space, trap->address, &start, &end)) {
		print_text(&line, ", nearest mapping ");
		print_hex(&line, start);
		print_text(&line, "-");
		print_hex(&line, end);
	}
	print_flush(&line, 2);
}

/* The same of what is nobody's but ours, at an instruction of the program's. */
static void report_guarded(const char *name, const struct trap *trap, const ucontext_t *context)
{
	struct line line = { 0 };
	print_text(&line, "upage: ");
	print_text(&line, access_name(trap->access));
	print_text(&line, "the ");
	print_text(&line, name);
	print_text(&line, " (metadata of upage) at ");
	print_hex(&line, trap->address);
	print_text(&line, " by the instruction at ");
	print_hex(&line, program_counter(context));
	print_text(&line, " in thread ");
	print_decimal(&line, (uint64_t)host_thread_id());
	print_text(&line, ", refused");
	print_flush(&line, 2);
}

/* ---- The program's own ---------------------------------------------------------------------- */

/* Calls the program's handler as the kernel would: with its mask. SIGSEGV alone stays open,
 * since the handler may touch evicted pages. */
static void call_program(const struct host_action *action, int number, siginfo_t *info,
                         ucontext_t *context)
{
	signal_mask before;
	memcpy(&before, &context->uc_sigmask, sizeof(before));
	signals_set((action->mask | before) & ~SIGNAL_BIT(SIGSEGV));
	if (action->flags & SA_SIGINFO)
		((signals_handler *)action->handler)(number, info, context);
	else
		((void (*)(int))action->handler)(number);
	signals_block();
}

/* @reported: what it was has been said. */
static void own(int number, siginfo_t *info, ucontext_t *context, const struct trap *trap,
                bool reported)
{
	struct host_action action;
	signals_program_action(&action);
	bool sent = info->si_code <= 0; /* by kill(2) and the like, which may be ignored */
	if (action.handler == (void *)SIG_IGN && sent)
		return;
	if (action.handler != (void *)SIG_DFL && action.handler != (void *)SIG_IGN) {
		call_program(&action, number, info, context);
		return;
	}
	if (trap->space != NULL) {
		report("segmentation fault", trap, context);
	} else if (!sent && !reported) {
		struct line line = { 0 };
		print_text(&line, "upage: segmentation fault outside paged memory, at address ");
		print_hex(&line, (uintptr_t)info->si_addr);
		print_text(&line, ", by the instruction at ");
		print_hex(&line, program_counter(context));
		print_text(&line, " in thread ");
		print_decimal(&line, (uint64_t)host_thread_id());
		print_flush(&line, 2);
	}
	report_signal(SIGSEGV);
	signals_force(SIGSEGV, info->si_code > 0 ? info->si_code : SI_USER, info->si_addr, context);
}

/* ---- The way in ------------------------------------------------------------------------------ */

static int serve(void *note, void *unused)
{
	struct trap *trap = note;
	(void)unused;
	trap->outcome = space_fault(trap->space, trap->address, trap->access, &trap->failure);
	return 1; /* never declined: libsigsegv would reset SIGSEGV for the whole process */
}

static int dispatch(void *note, int serious)
{
	(void)serious;
	return sigsegv_dispatch(&dispatcher, note);
}

/* A reference to what is guarded is counted with the faults of the lowest space's pool: the address
 * does not say whose it is, and there are seldom two. */
static enum trap_verdict refuse(const char *name, const struct trap *trap, const ucontext_t *context)
{
	const upage_space *space = space_find_next(0);
	report_guarded(name, trap, context);
	if (space != NULL && !space_is_lost(space))
		stats_count(space->pool->stats, COUNT_PROTECTION);
	return TRAP_REFUSED;
}

static enum trap_verdict take(int number, siginfo_t *info, ucontext_t *context,
                              uintptr_t private_tls, struct turn_thread *thread,
                              struct trap *trap)
{
	uint64_t start = host_ticks();
	bool reference = info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR;
	*trap = (struct trap){ .address = (uintptr_t)info->si_addr };
	if (reference && is_page_fault(context))
		trap->space = space_find(trap->address);
	trap->access = access_type(context);
	if (trap->space == NULL) {
		const char *name = reference ? guard_name(trap->address) : NULL;
		return name != NULL ? refuse(name, trap, context) : TRAP_FOREIGN;
	}
	siginfo_t note = *info;
	note.si_addr = trap;
	struct turn *turn = space_is_lost(trap->space) ? NULL : &trap->space->pool->turn;
	if (turn != NULL)
		turn_begin(turn, thread, program_counter(context),
		           space_address(trap->space, space_vpn(trap->space, trap->address)));
	uintptr_t tls = private_tls != 0 ? tls_exchange(private_tls) : 0;
	guard_open();
	libsigsegv_handler(number, &note, context);
	guard_close();
	if (private_tls != 0)
		tls_exchange(tls);
	if (turn != NULL)
		turn_end(turn, thread);
	switch (trap->outcome) {
	case FAULT_SERVED:
		if (stats_time(trap->space->pool->stats, host_ticks() - start))
			report_sample(trap->space->pool);
		return TRAP_SERVED;
	case FAULT_BOUNDS:
	case FAULT_PROTECTION:
		/* The host sees a reservation or a hole; the program has mappings. */
		info->si_code = trap->outcome == FAULT_BOUNDS ? SEGV_MAPERR : SEGV_ACCERR;
		return TRAP_SIGSEGV;
	case FAULT_FOREIGN:
		return TRAP_SIGSEGV;
	case FAULT_FAILED:
		report("bus error", trap, context);
		return TRAP_SIGBUS;
	case FAULT_PAST_END:
		break;
	}
	return TRAP_SIGBUS;
}

enum trap_verdict trap_take(int number, siginfo_t *info, void *context, uintptr_t private_tls,
                            struct turn_thread *thread)
{
	struct trap trap;
	return take(number, info, context, private_tls, thread, &trap);
}

static void front(int number, siginfo_t *info, void *context)
{
	static _Thread_local struct turn_thread thread;
	struct trap trap;
	switch (take(number, info, context, 0, &thread, &trap)) {
	case TRAP_SERVED:
		break;
	case TRAP_FOREIGN:
	case TRAP_SIGSEGV:
		own(number, info, context, &trap, false);
		break;
	case TRAP_REFUSED:
		own(number, info, context, &trap, true);
		break;
	case TRAP_SIGBUS:
		signals_force(SIGBUS, BUS_ADRERR, info->si_addr, context);
		break;
	}
}

int trap_install(void)
{
	static bool installed;
	struct host_action before, libsigsegv;
	if (installed)
		return 0;
	signals_get_action(SIGSEGV, &before);
	sigsegv_init(&dispatcher);
	/* One area: every address that a note on a stack can have. */
	if (sigsegv_register(&dispatcher, NULL, SIZE_MAX, serve, NULL) == NULL ||
	    sigsegv_install_handler(dispatch) != 0)
		return UPAGE_ENOTSUP;
	signals_get_action(SIGSEGV, &libsigsegv);
	libsigsegv_handler = (signals_handler *)libsigsegv.handler;
	signals_install(SIGSEGV, front, 0, ~SIGNAL_BIT(SIGSYS));
	signals_take_over(&before);
	installed = true;
	return 0;
}
