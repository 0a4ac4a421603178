/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See direct.h. Stubs come here on the thread's region, rsp 8 bytes above a struct direct_frame,
 * with the number in rax and the address behind the system call in rcx; all else is the program's.
 * GS is at the thread's struct. */

#define FUNCTION(name)	.globl name; .hidden name; .type name, @function; .p2align 4; name:
#define LABEL(name)	.globl name; .hidden name; name:

#if defined(__x86_64__)

/* Of struct guest_thread: direct.c checks them. */
#define CAUGHT	0
#define STACK	24
#define SP	32
#define RESULT	40
#define BACK	48
#define NUMBER	56
#define BY_TRAP	60

/* Of struct direct_frame. What the processor saves: the registers of SSE, AVX and AVX-512, which
 * are all that C code may use beside the general ones. */
#define STATE	64
#define HEADER	(STATE + 512)
#define PARTS	0xe6

/* What a look at `caught` may be followed by as often as signals come: all is in memory still. */
.macro restore
	mov	$PARTS, %eax
	xor	%edx, %edx
	xrstor64 STATE(%rsp)
	mov	8(%rsp), %rdi
	mov	16(%rsp), %rsi
	mov	24(%rsp), %rdx
	mov	32(%rsp), %r10
	mov	40(%rsp), %r8
	mov	48(%rsp), %r9
	mov	(%rsp), %r11
	mov	%gs:RESULT, %rax
	mov	$0, %ecx
	popfq
	mov	%gs:SP, %rsp
.endm

	.text
FUNCTION(direct_enter)
	.cfi_startproc
	.cfi_undefined rip
	pushfq
	testl	$0x40000, (%rsp)	/* AC: see guest_signal_relax() */
	jnz	3f
2:	cld
	mov	%rdi, 8(%rsp)
	mov	%rsi, 16(%rsp)
	mov	%rdx, 24(%rsp)
	mov	%r10, 32(%rsp)
	mov	%r8, 40(%rsp)
	mov	%r9, 48(%rsp)
	mov	%rcx, %gs:BACK
	mov	%eax, %gs:NUMBER
	mov	%rsp, %rdi
	mov	%rax, %rsi
	xor	%edx, %edx
	mov	%rdx, HEADER + 16(%rsp)
	mov	%rdx, HEADER + 24(%rsp)
	mov	%rdx, HEADER + 32(%rsp)
	mov	%rdx, HEADER + 40(%rsp)
	mov	%rdx, HEADER + 48(%rsp)
	mov	%rdx, HEADER + 56(%rsp)
	mov	$PARTS, %eax
	xsavec64 STATE(%rsp)
	call	direct_call
	mov	%rax, %gs:RESULT
LABEL(direct_look)
	mov	%gs:STACK, %rsp
	lea	-8(%rsp), %rsp
	mov	%gs:CAUGHT, %eax
	or	%gs:BY_TRAP, %eax
	jnz	1f
	restore
LABEL(direct_last)
	jmp	*%gs:BACK
1:	restore
LABEL(direct_trap)
	mov	$-1, %eax
	syscall
LABEL(direct_trap_end)
	ud2
3:	pushq	$2
	popfq
	jmp	2b
	.cfi_endproc
#endif
	.section .note.GNU-stack, "", @progbits
