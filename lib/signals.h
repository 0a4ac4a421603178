/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * signals.h - signal masks without the C library, and the program's own SIGSEGV action
 *
 * The process's SIGSEGV action is the trap's. What the program asks for SIGSEGV is kept here
 * and carried out by the trap: this library's sigaction() and signal() stand before the C
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

/* Blocks every signal; what public functions do while they hold a lock. */
signal_mask signals_block(void);
void signals_set(signal_mask mask);

/* The C library's own sigaction: for whoever installs the trap. */
int signals_host_action(int number, const struct sigaction *action, struct sigaction *old);

/* From now on SIGSEGV is the trap's, and the program's own action is @before. */
void signals_take_over(const struct sigaction *before);

/* The program's action for SIGSEGV; one with SA_RESETHAND is the default afterwards. */
void signals_program_action(struct sigaction *action);

/* Around a fork, so that the child gets the program's action whole. */
void signals_fork_begin(void);
void signals_fork_end(void);

/* Blocks, while the front runs, the signals too that the C library's masks leave out (32 and 33,
 * by which it cancels threads: one cancelled in a page fault would leave its page locked). */
void signals_block_all_in_handler(int number);

/**
 * signals_force - a signal for this thread, as the kernel sends one for a reference
 * @number, @code, @address: as in siginfo_t
 * @context: of the handler that we are in: the signal is delivered when it returns, at the
 *           instruction that trapped. Where the signal is blocked or ignored it gets its
 *           default action, as natively.
 */
void signals_force(int number, int code, const void *address, void *context);

#endif
