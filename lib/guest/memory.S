/* SPDX-License-Identifier: GPL-2.0-or-later */
/* References to the program's memory that may fail: see memory.h. Where the trap finds that one
 * of the instructions at the left of guest_fixups may not do what it wants, it goes on at the
 * right. */

#define FUNCTION(name)	.globl name; .hidden name; .type name, @function; .p2align 4; name:

#if defined(__x86_64__)
	.text

/* size_t guest_copy(void *to, const void *from, size_t length): bytes not copied */
FUNCTION(guest_copy)
	mov	%rdx, %rcx
.Lcopy:	rep movsb
.Lcopy_end:
	mov	%rcx, %rax
	ret

/* bool guest_store(int *to, int value): whether it could */
FUNCTION(guest_store)
	xor	%eax, %eax
.Lstore:
	mov	%esi, (%rdi)
	mov	$1, %eax
.Lstore_end:
	ret

/* bool guest_exchange(uint32_t *word, uint32_t *expected, uint32_t value): whether it could be
 * reached; *expected becomes what was there */
FUNCTION(guest_exchange)
	xor	%r8d, %r8d
	mov	(%rsi), %eax
.Lexchange:
	lock cmpxchg %edx, (%rdi)
	mov	%eax, (%rsi)
	mov	$1, %r8d
.Lexchange_end:
	mov	%r8d, %eax
	ret

	.section .data.rel.ro, "aw"
	.p2align 3
	.globl guest_fixups
	.hidden guest_fixups
guest_fixups:
	.quad	.Lcopy, .Lcopy_end
	.quad	.Lstore, .Lstore_end
	.quad	.Lexchange, .Lexchange_end
	.quad	0, 0
#endif
	.section .note.GNU-stack, "", @progbits
