/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * turn.h - an instruction whose pages are taken away before it has them all
 *
 * An instruction may need several pages at once: a movsq across page boundaries four, and two
 * for itself. Where more threads than memory has room for bring in pages by turns, each may find
 * its first page gone when it has its last, again and again. So a thread that faults on the same
 * page by the same instruction twice within a few faults gets the turn: what that instruction
 * brings in is not taken away by others. One thread of a pool has it at a time, for at most
 * TURN_PAGES pages, half of the smallest memory; the others go on with the rest.
 *
 * Nothing says that the instruction was completed. The turn ends with a page more than an
 * instruction can need, or many faults elsewhere (some may be those of a signal's handler), or
 * when its thread has not faulted so for TURN_IDLE nanoseconds and somebody looks; and somebody who
 * has waited TURN_PATIENCE in vain for a frame ends it: with pages pinned besides, it may be all
 * that there is.
 *
 * Locks: none. Who evicts has the PTE's lock bit when it asks; a page that enters the list just
 * then is about to be brought in again. A thread's own record is its own.
 * Signal context: yes.
 */
#ifndef UPAGE_TURN_H
#define UPAGE_TURN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TURN_PAGES 8
#define TURN_ELSEWHERE 32
#define TURN_IDLE 10000000
#define TURN_PATIENCE 100000000

/* The last faults of one thread. */
struct turn_thread {
	struct {
		uintptr_t instruction, page;
	} last[TURN_PAGES];
	unsigned count; /* of faults, since it gave up its turn */
	unsigned pages, elsewhere; /* while it has the turn */
	uintptr_t instruction;
};

/* Of a pool. */
struct turn {
	_Atomic(struct turn_thread *) holder; /* only compared */
	_Atomic uint64_t ends;                /* host_nanoseconds() */
	_Atomic uintptr_t page[TURN_PAGES];   /* addresses; 0: none */
};

/* Around the service of a fault of @thread at the page at @page, by @instruction. */
void turn_begin(struct turn *turn, struct turn_thread *thread, uintptr_t instruction,
                uintptr_t page);
void turn_end(struct turn *turn, struct turn_thread *thread);

/* Whether the page at @page is to be left to its instruction. */
bool turn_keeps(struct turn *turn, uintptr_t page);

/* Ends the turn of whoever has it; in the child of a fork nobody has. */
void turn_forget(struct turn *turn);

#endif
