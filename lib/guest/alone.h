/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alone.h - system calls that must find none but the program's own threads
 *
 * Threads of ours (reclaim.h) end before a call that counts or lists threads, that wants to be made by
 * the only one, or that changes the rights of one thread: made anew, ours have those of the program's
 * thread that needed them. None begins while such a call is under way.
 *
 * What is not covered: a directory or a file of /proc that is known by a descriptor alone, but for the
 * entries of directories.
 *
 * Signal context: all. Source: unshare(2), setns(2), credentials(7), proc_pid_task(5).
 */
#ifndef UPAGE_GUEST_ALONE_H
#define UPAGE_GUEST_ALONE_H

#include "table.h"

/* Return: whether it is such a call; then alone_end() follows it. One load where nobody has reclaimers. */
bool alone_begin(const struct guest_call *call, const struct guest_entry *entry);
void alone_end(void);

#endif
