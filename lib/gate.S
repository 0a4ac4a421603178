/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See gate.h. Arguments of functions: rdi rsi rdx rcx r8 r9; of system calls: rax, then rdi
 * rsi rdx r10 r8 r9. The kernel keeps all registers but rax, rcx and r11. */

#include <sys/syscall.h>

#define FUNCTION(name)	.globl name; .hidden name; .type name, @function; .p2align 4; name:
#define LABEL(name)	.globl name; .hidden name; name:

#if defined(__x86_64__)
	.section .text.gate, "ax", @progbits

	.p2align 6
LABEL(gate_start)

FUNCTION(gate_syscall)
	.cfi_startproc
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
	mov	%r9, %r8
	mov	8(%rsp), %r9
	syscall
	ret
	.cfi_endproc

FUNCTION(gate_interruptible)
	.cfi_startproc
	mov	%rsi, %rcx
	mov	%rdi, %r11
	mov	(%r11), %rax
	mov	8(%r11), %rdi
	mov	16(%r11), %rsi
	mov	24(%r11), %rdx
	mov	32(%r11), %r10
	mov	40(%r11), %r8
	mov	48(%r11), %r9
LABEL(gate_interruptible_start)
	cmpl	$0, (%rcx)
	jne	gate_interruptible_redirect
	syscall
LABEL(gate_interruptible_end)
	ret
LABEL(gate_interruptible_redirect)
	mov	$-512, %rax
	ret
	.cfi_endproc

FUNCTION(gate_clone)
	.cfi_startproc
	push	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	mov	%rsi, %rbx
	mov	%rdx, %r9
	mov	%rdi, %rcx
	mov	(%rcx), %rax
	mov	8(%rcx), %rdi
	mov	16(%rcx), %rsi
	mov	24(%rcx), %rdx
	mov	32(%rcx), %r10
	mov	40(%rcx), %r8
	push	%rbp
	mov	%rsp, %rbp
	syscall
	test	%rax, %rax
	jnz	1f
	cmp	%rsp, %rbp
	jne	2f
1:	pop	%rbp
	pop	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	ret
2:	.cfi_undefined rip
	xor	%ebp, %ebp
	mov	%r9, %rdi
	and	$-16, %rsp
	call	*%rbx
	ud2
	.cfi_endproc

	/* No unwind information of its own: debuggers know this sequence as a signal's end. */
	nop
FUNCTION(gate_restorer)
	mov	$SYS_rt_sigreturn, %eax
	syscall

FUNCTION(gate_leave)
	.cfi_startproc
	.cfi_undefined rip
	mov	%rdi, %rsp
	mov	$SYS_rt_sigreturn, %eax
LABEL(gate_leave_start)
	cmpl	$0, (%rsi)
	jne	gate_leave_redirect
	syscall
LABEL(gate_leave_end)
LABEL(gate_leave_redirect)
	mov	%rsp, %rdi
	/* The red zone of nobody: what lies below the frame is free. */
	sub	$128, %rsp
	and	$-16, %rsp
	call	guest_signal_leave
	ud2
	.cfi_endproc

FUNCTION(gate_exit)
	.cfi_startproc
	mov	$SYS_exit, %eax
	syscall
	ud2
	.cfi_endproc

LABEL(gate_end)

	.text
FUNCTION(gate_hypercall)
	.cfi_startproc
	mov	$-1, %eax
	syscall
LABEL(gate_hypercall_end)
	ret
	.cfi_endproc
#endif
	.section .note.GNU-stack, "", @progbits
