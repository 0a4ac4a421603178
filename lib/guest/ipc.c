/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ipc.c - System V semaphores, shared memory and messages
 *
 * Locks: none. Signal context: that of guest/call.h. Source: ipc/sem.c, ipc/shm.c, ipc/msg.c of
 * Linux.
 */
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "handlers.h"
#include "request.h"
#include "syscall.h"
#include "vector.h"
#include "whole.h"


static const struct request_pointer semaphore_pointers[] = {
	{ IPC_STAT, 3, REQUEST_OUT, sizeof(struct semid_ds) },
	{ SEM_STAT, 3, REQUEST_OUT, sizeof(struct semid_ds) },
	{ SEM_STAT_ANY, 3, REQUEST_OUT, sizeof(struct semid_ds) },
	{ IPC_SET, 3, REQUEST_IN, sizeof(struct semid_ds) },
	{ IPC_INFO, 3, REQUEST_OUT, sizeof(struct seminfo) },
	{ SEM_INFO, 3, REQUEST_OUT, sizeof(struct seminfo) },
};

static const struct request_pointer segment_pointers[] = {
	{ IPC_STAT, 2, REQUEST_OUT, sizeof(struct shmid_ds) },
	{ SHM_STAT, 2, REQUEST_OUT, sizeof(struct shmid_ds) },
	{ SHM_STAT_ANY, 2, REQUEST_OUT, sizeof(struct shmid_ds) },
	{ IPC_SET, 2, REQUEST_IN, sizeof(struct shmid_ds) },
	{ IPC_INFO, 2, REQUEST_OUT, sizeof(struct shminfo) },
	{ SHM_INFO, 2, REQUEST_OUT, sizeof(struct shm_info) },
};

static const struct request_pointer queue_pointers[] = {
	{ IPC_STAT, 2, REQUEST_OUT, sizeof(struct msqid_ds) },
	{ MSG_STAT, 2, REQUEST_OUT, sizeof(struct msqid_ds) },
	{ MSG_STAT_ANY, 2, REQUEST_OUT, sizeof(struct msqid_ds) },
	{ IPC_SET, 2, REQUEST_IN, sizeof(struct msqid_ds) },
	{ IPC_INFO, 2, REQUEST_OUT, sizeof(struct msginfo) },
	{ MSG_INFO, 2, REQUEST_OUT, sizeof(struct msginfo) },
};

/* The values of all semaphores of a set. Their number is known to who may read it; who may only
 * write has as many copied as its memory holds, up to the most that a set can have. */
#define SEMAPHORES_MAX 0x7fffu

static long semaphore_values(struct guest_call *call, enum bounce_how how)
{
	struct semid_ds status;
	struct guest_bounce values;
	long result = syscall_4(SYS_semctl, call->argument[0], 0, IPC_STAT, &status);
	size_t count = result == 0 ? status.sem_nsems : SEMAPHORES_MAX;
	const void *theirs = (const void *)call->argument[3];
	size_t length = count * sizeof(unsigned short);
	int begun = result == 0 ? bounce_begin(&values, call, theirs, length, how)
	                        : bounce_begin_bounded(&values, call, theirs, length, how);
	if (begun < 0)
		return begun;
	return bounce_end(&values, request_replace(call, 3, values.ours));
}

long guest_semctl(struct guest_call *call)
{
	switch ((int)call->argument[2]) {
	case GETALL:
		return semaphore_values(call, BOUNCE_OUT);
	case SETALL:
		return semaphore_values(call, BOUNCE_IN);
	default:
		return REQUEST_EXECUTE(call, semaphore_pointers, call->argument[2]);
	}
}

/* The kernel would put a segment in the place of paged memory if it is told to (SHM_REMAP). One
 * whose length it does not tell us it does not attach either. */
long guest_shmat(struct guest_call *call)
{
	const struct shmid_ds none = { .shm_segsz = 1 };
	struct shmid_ds status;
	if (whole_space != NULL)
		return whole_shmat(call);
	if (syscall_3(SYS_shmctl, call->argument[0], IPC_STAT, &status) < 0)
		status = none;
	if (guest_is_paged((const void *)call->argument[1], status.shm_segsz))
		return -EINVAL;
	return guest_hand_on(call);
}

long guest_shmdt(struct guest_call *call)
{
	return whole_space != NULL ? whole_shmdt(call) : guest_hand_on(call);
}

long guest_shmctl(struct guest_call *call)
{
	return REQUEST_EXECUTE(call, segment_pointers, call->argument[1]);
}

long guest_msgctl(struct guest_call *call)
{
	return REQUEST_EXECUTE(call, queue_pointers, call->argument[1]);
}

/* A message is its type and then its text. The kernel refuses one that is too long before it
 * looks at the text. */
long guest_msgsnd(struct guest_call *call)
{
	size_t text = (size_t)call->argument[2];
	if (text > BOUNCE_MAX - sizeof(long))
		text = 0;
	return request_bounce(call, 1, sizeof(long) + text, BOUNCE_IN);
}

long guest_msgrcv(struct guest_call *call)
{
	char *theirs = (char *)call->argument[1];
	size_t text = (size_t)call->argument[2];
	if ((long)text < 0)
		return guest_hand_on(call);
	text = text < BOUNCE_MAX ? text : BOUNCE_MAX;
	if (!guest_is_paged(theirs, sizeof(long) + text) ||
	    guest_accessible(theirs, sizeof(long), PROT_WRITE) < sizeof(long))
		return guest_hand_on(call);
	char *ours = guest_buffer(call, sizeof(long) + text);
	if (ours == NULL)
		return -ENOMEM;
	const long *a = call->argument;
	long result = guest_execute(call, call->number, a[0], (long)ours, (long)text, a[3], a[4],
	                            0);
	if (result >= 0 && guest_copy_out(theirs, ours, sizeof(long) + (size_t)result) != 0)
		return -EFAULT;
	return result;
}
