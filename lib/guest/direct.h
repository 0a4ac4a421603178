/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * direct.h - system calls that come to us without a trap
 *
 * Where a patched program (patch.h) makes a system call it jumps to a *stub*, one a place. That
 * finds the thread's region by GS, which programs leave alone, goes to the region's stack, and has
 * the call carried out as the handler of SIGSYS would; then it goes back behind the instruction.
 * So what runs is the same code on the same stack, but nothing of the kernel's lies below it: no
 * frame, and no registers but those that the call's caller may change.
 *
 *      the program's stack                 | the region's                        | the program's
 *      stub: is GS ours?  to the region -->| direct_enter, direct_call, look --->| jmp back
 *        no: to the instruction, to trap   |     signal caught, or to be made    |
 *                                          |     again: all is put back -------->| trap
 *
 * A signal may come at any instruction. On the region's stack it is kept, as in any call, and
 * direct_look is the window in which it is seen: whoever was behind that goes back to it. On the
 * program's stack direct_settle() says where the program is: before the call, at its instruction;
 * or behind it. It never sees an address of a stub's. What must be delivered on the way back, or
 * made again, is left to a trap: then there is a frame, and all goes on as in guest_sigsys().
 *
 * The program's own GS is respected: where it is not ours, however it got there, each call traps.
 *
 * Locking: none; all belongs to the thread. Signal context: all.
 * Source: Intel SDM vol. 1 ch. 13 (XSAVEC), vol. 2 (FSGSBASE).
 */
#ifndef UPAGE_GUEST_DIRECT_H
#define UPAGE_GUEST_DIRECT_H

#include "region.h"

/* What is patched, and what with: `b8 NUMBER`, which is `mov $NUMBER, %eax`, before `0f 05`. */
#define DIRECT_SITE_BYTES 5

/* Where the place at @site goes for call @number. Its own place is at most 2 GiB from there. */
struct direct_stub {
	unsigned char code[80];
	void (*enter)(void);
	uintptr_t site;
	long number;
	char unused[24];
};
void direct_make_stub(struct direct_stub *stub, uintptr_t site, long number);

/* What the program has there without and with the stub. Return: whether it is near enough. */
bool direct_site(const struct direct_stub *stub, unsigned char before[DIRECT_SITE_BYTES],
                 unsigned char after[DIRECT_SITE_BYTES]);

/* Whether the processor and the kernel can: once, before anything else here. And where stubs are. */
bool direct_start(struct direct_stub *stubs, size_t count);

/* Whether the calling thread has no GS of the program's own; and that it have ours from now on. */
bool direct_is_free(const struct guest_thread *self);
void direct_adopt(struct guest_thread *thread);

/* At the beginning of each handler of ours. */
enum direct_settled {
	DIRECT_NONE,      /* it interrupted something else               */
	DIRECT_NOT_BEGUN, /* a stub: now the program's instruction       */
	DIRECT_OVER,      /* the way back, or its trap: now the program's */
};
enum direct_settled direct_settle(struct guest_thread *thread, void *context);

/* Signals that come in [direct_look, direct_last) send whoever is there back to direct_look. */
extern const char direct_look[], direct_last[];

#endif
