/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * patch.h - system calls that trapped often get another way to us: the places where they are made
 *
 * A trap costs ten times what a short system call does. Unless patch=off, where a whole program
 * has made so many calls at one place by `mov $number, %eax; syscall` (b8 .. .. .. .. 0f 05), the first
 * of the two becomes a jump (e9) to a stub of that place (direct.h). The second stays what it is:
 * whoever stands between the two, or jumps there, traps as before, and is right. In two places of the
 * C library it is an instruction further ahead, of five bytes at least; all behind it stays.
 *
 *  - The bytes are changed while nobody can execute them: the page is hidden, and locked, and whoever
 *    comes there waits (pager_change()). So no thread ever is inside of the five bytes.
 *  - That they are an instruction, and not the end of another one, is seen from what trapped behind
 *    them, with their number in its register, and from the byte before them (is_instruction()).
 *  - Only code of private file mappings that may not be written to is changed, while frames are
 *    ample; it is then a dirty page as any other, to be swapped, copied by forks and unmapped. What
 *    is read from the file again is as in the file.
 *  - Before the program may write to such a page, or has it elsewhere, all is put back. But what it
 *    reads of its own code meanwhile is not what is in the file.
 *
 * Stubs lie just below where mappings begin, where the program has nothing and gets nothing
 * (mapping_is_kept()). They are never given up, for threads may be in them.
 *
 * Locking: `lock` (rank 0, before the space's), of stubs and changes. Signal context: all.
 */
#ifndef UPAGE_GUEST_PATCH_H
#define UPAGE_GUEST_PATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "upage.h"

/* From now on, unless its options forbid it, where the machine can. The calling thread is no guest yet. */
void patch_begin(upage_pool *pool);

/* A call of @number has trapped, by the instruction before @back. It is over. */
extern _Atomic bool patch_is_on;
void patch_count(uintptr_t back, long number);
static inline void patch_seen(uintptr_t back, long number)
{
	if (patch_is_on)
		patch_count(back, number);
}

/* Around a change of [start, end): nothing is patched there. Return: 0, or why that cannot be, as a
 * negated errno value; then there is no end to it. */
int patch_hold(uintptr_t start, uintptr_t end);
void patch_release(void);

/* In the child of a fork. */
void patch_fork_child(void);

#endif
