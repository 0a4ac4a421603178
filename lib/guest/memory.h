/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory.h - the program's memory, as seen from a system call or a signal
 *
 * Addresses come from the program and may be anything. A page that is not resident is brought
 * in by an ordinary page fault of ours; a reference that the program's mapping does not allow
 * ends the copy (the trap finds the instruction in guest_copy and sends it to its end).
 *
 * Signal context: all. They may block for a page to be read, never for a lock of the program.
 */
#ifndef UPAGE_GUEST_MEMORY_H
#define UPAGE_GUEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether a byte of [address, address + length) is in a space: the kernel may not have it. */
bool guest_is_paged(const void *address, size_t length);

/* Whether the kernel itself maps the memory at @address, in a space or elsewhere: it is known to the
 * kernel, and to other processes, by its address (futexes). */
bool guest_is_foreign(const void *address);

/* Copies between the program's memory, paged or not, and ours. Return: bytes NOT copied, 0 if
 * all were; what could be copied was, from the lowest address up. */
size_t guest_copy_in(void *ours, const void *theirs, size_t length);
size_t guest_copy_out(void *theirs, const void *ours, size_t length);

/* A string with its end into @ours. Return: its length without the end, -EFAULT, or
 * -ENAMETOOLONG (no end within @size bytes). */
long guest_copy_string(char *ours, const char *theirs, size_t size);

/* How many bytes from @address on the program may access so (PROT_READ or PROT_WRITE), up to
 * @length, by its mappings: nothing is brought in. Memory outside of spaces counts as accessible,
 * since the kernel will say if it is not. */
size_t guest_accessible(const void *address, size_t length, int prot);

/* One aligned word, whole. Return: whether the program may access it. */
bool guest_store(int *theirs, int value);
bool guest_exchange(uint32_t *theirs, uint32_t *expected, uint32_t value);

/* Where to go on when the instruction at @instruction may not do what it wants; 0: it is none
 * of the above. */
uintptr_t guest_fixup(uintptr_t instruction);

#endif
