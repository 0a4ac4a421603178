/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dispatch.c - runs a command, if the kernel has Syscall User Dispatch; else exits 77: skipped
 *
 *     dispatch COMMAND [ARGUMENT]...
 *     dispatch --without COMMAND [ARGUMENT]...   runs it as on a kernel that has it not
 *
 * The latter by a seccomp filter: prctl answers EINVAL, as it does to a word that it does not
 * know. Natively built.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

enum { SKIPPED = 77, BROKEN = 99 };

/* Arguments are looked at by their low halves: the machine is little-endian. */
static int take_away(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_SYSCALL_USER_DISPATCH, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	int first = 1;
	if (argc > 1 && strcmp(argv[1], "--without") == 0) {
		first = 2;
		if (take_away() < 0) {
			perror("dispatch: no seccomp filter");
			return SKIPPED;
		}
	} else if (prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0) < 0) {
		printf("this kernel has no Syscall User Dispatch\n");
		return SKIPPED;
	}
	if (first >= argc)
		return BROKEN;
	execvp(argv[first], argv + first);
	perror(argv[first]);
	return BROKEN;
}
