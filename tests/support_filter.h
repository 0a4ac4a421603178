/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_filter.h - system calls that the host refuses from now on, to this process, by a filter
 */
#ifndef SUPPORT_FILTER_H
#define SUPPORT_FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "support.h"

/* Return: 0; else there are no filters here. */
static inline int filter_install(struct sock_filter *filter, unsigned short length)
{
	const struct sock_fprog program = { length, filter };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* One call. Return: as filter_install(). */
static inline int refuse_call(unsigned number, unsigned error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	return filter_install(filter, LENGTH(filter));
}

#endif
