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

/* A place of the program's: some instructions, the last of which sets eax, and then `0f 05`. The first
 * of them, of five bytes or more, is what is changed; the stub begins with all of them. They only load
 * registers, eax last, so that it does not matter if some are executed again. */
#define DIRECT_SITE_BYTES 5
#define DIRECT_COPY_BYTES 16

struct direct_stub {
	unsigned char code[88];
	unsigned char before[DIRECT_SITE_BYTES]; /* what the program has there            */
	unsigned char copied, longer;            /* bytes of `code` that are copied; by so many they are
	                                            more than the program's, behind the first of them */
	void (*enter)(void);
	uintptr_t site, instruction;             /* the first and the last of them        */
	uintptr_t unused;
};

/* @copied: what it begins with, in place of [site, instruction) */
void direct_make_stub(struct direct_stub *stub, uintptr_t site, uintptr_t instruction,
                      const unsigned char *copied, size_t count);

/* The jump at its place. Return: whether that is near enough. */
bool direct_jump(const struct direct_stub *stub, unsigned char jump[DIRECT_SITE_BYTES]);

/* Whether the processor and the kernel can: once, before anything else here. And where stubs are. */
bool direct_start(struct direct_stub *stubs, size_t count);

/* Whether the calling thread has no GS of the program's own; and that it have ours from now on. */
bool direct_is_free(const struct guest_thread *self);
void direct_adopt(struct guest_thread *thread);

/* That a GS is this thread's is seen from the FS beside it: programs may have copied it from another one.
 * After each call that has trapped: the program may have another FS now. */
void direct_refresh(struct guest_thread *thread);

/* At the beginning of each handler of ours. */
enum direct_settled {
	DIRECT_NONE,      /* it interrupted something else               */
	DIRECT_BEFORE,    /* what a stub has copied: now the program's   */
	DIRECT_NOT_BEGUN, /* the rest of it: now at the program's `0f 05` */
	DIRECT_OVER,      /* the way back, or its trap: now the program's */
};
enum direct_settled direct_settle(struct guest_thread *thread, void *context);

/* Whether it is the end of a single step from the program to a stub. That is none: the one within the
 * stub that follows is. */
bool direct_is_step(const siginfo_t *info, void *context);

/* Signals that come in [direct_look, direct_last) send whoever is there back to direct_look. */
extern const char direct_look[], direct_last[];

#endif
