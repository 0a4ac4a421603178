/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * signals.h - signal masks without the C library, and the program's own SIGSEGV action
 *
 * The process's SIGSEGV action is the trap's. What the program asks for SIGSEGV is kept here
 * and carried out by the trap: sigaction() and signal() of interpose.c stand before the C
 * library's and pass on all other signals. A reference to an evicted page must trap whatever
 * the program is doing, so SIGSEGV is also left out of the masks that it sets with
 * sigprocmask() and pthread_sigmask(), and of those of its handlers.
 *
 * Locking: the program's action, by a lock of its own (rank 3). Signal context: yes.
 */
#ifndef UPAGE_SIGNALS_H
#define UPAGE_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* The kernel's form of a signal mask: bit n - 1 is signal n. */
typedef uint64_t signal_mask;

#define SIGNAL_BIT(number) (UINT64_C(1) << ((number) - 1))
#define SIGNALS_ALL (~UINT64_C(0))

/* Blocks @mask, and no other. Return: what was blocked before. */
signal_mask signals_set(signal_mask mask);

/* Blocks every signal but SIGSYS; what public functions do while they hold a lock. */
signal_mask signals_block(void);

#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000 /* the kernel's; the C library hides it */
#endif

/* The kernel's struct sigaction, on both machines. */
struct host_action {
	void *handler;
	unsigned long flags;
	void *restorer;
	signal_mask mask;
};

/* Without a restorer, which C libraries have each of their own. */
void signals_to_host(const struct sigaction *action, struct host_action *out);
void signals_from_host(const struct host_action *action, struct sigaction *out);

void signals_get_action(int number, struct host_action *action);
void signals_set_action(int number, const struct host_action *action);

/* A handler of ours: on the alternate stack, with the kernel's form of @mask blocked. The C
 * library's masks leave out 32 and 33, by which it cancels threads: one cancelled in a page
 * fault would leave its page locked. */
typedef void signals_handler(int, siginfo_t *, void *);
void signals_install(int number, signals_handler *handler, unsigned long flags, signal_mask mask);

/* From now on SIGSEGV is the trap's, and the program's own action is @before. With system calls
 * intercepted it is handed back: the guest layer keeps it with those for all other signals. */
void signals_take_over(const struct host_action *before);
bool signals_are_taken_over(void);
void signals_hand_back(struct host_action *action);
bool signals_are_handed_back(void);

/* The program's action for SIGSEGV; one with SA_RESETHAND is the default afterwards. */
void signals_program_action(struct host_action *action);
void signals_exchange_program_action(const struct host_action *action, struct host_action *old);

/* Around a fork, so that the child gets the program's action whole. */
void signals_fork_begin(void);
void signals_fork_end(void);

/**
 * signals_force - a signal for this thread, as the kernel sends one for a reference
 * @number, @code, @address: as in siginfo_t
 * @context: of the handler that we are in: the signal is delivered when it returns, at the
 *           instruction that trapped. Where the signal is blocked or ignored it gets its
 *           default action, as natively.
 */
void signals_force(int number, int code, const void *address, void *context);

#endif
