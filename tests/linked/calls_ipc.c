/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_ipc.c - cases of calls.c: POSIX message queues, System V messages, semaphores, memory
 */
#include "calls.h"

#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void posix_queues(void)
{
	char name[64];
	snprintf(name, sizeof(name), "upage-calls-%d", (int)getpid());
	char *path = evicted_string(name), *buffer = evicted(9000);
	struct mq_attr *attributes = EVICTED(struct mq_attr), *old = EVICTED(struct mq_attr);
	struct timespec *timeout = EVICTED(struct timespec);
	struct sigevent *event = EVICTED(struct sigevent);
	unsigned *priority = EVICTED(unsigned);
	attributes->mq_maxmsg = 3;
	attributes->mq_msgsize = 5000;
	int queue = (int)CALL_OPAQUE("mq_open", syscall(SYS_mq_open, path, O_RDWR | O_CREAT,
	                                                0600, attributes));
	if (queue < 0)
		return;
	fill(buffer, 9000, 90);
	CALL("mq_timedsend", syscall(SYS_mq_timedsend, queue, buffer, 5000L, 3L, NULL));
	CALL("mq_timedsend", syscall(SYS_mq_timedsend, queue, buffer + 1, 77L, 9L, timeout));
	CALL("mq_timedsend of too much", syscall(SYS_mq_timedsend, queue, buffer, 5001L, 3L,
	                                         NULL));
	CALL("mq_timedsend", syscall(SYS_mq_timedsend, queue, buffer, 0L, 0L, NULL));
	CALL("mq_timedsend until a time gone by",
	     syscall(SYS_mq_timedsend, queue, buffer, 10L, 3L, timeout));
	CALL("mq_getsetattr", syscall(SYS_mq_getsetattr, queue, NULL, old));
	say("%ld messages of %ld, of up to %ld bytes", old->mq_curmsgs, old->mq_maxmsg,
	    old->mq_msgsize);
	for (int i = 0; i < 3; i++) {
		memset(buffer, 0x5a, 9000);
		CALL("mq_timedreceive", syscall(SYS_mq_timedreceive, queue, buffer, 9000L,
		                                priority, NULL));
		dump("buffer", buffer, 9000);
		say("priority %u", *priority);
	}
	CALL("mq_timedreceive until a time gone by",
	     syscall(SYS_mq_timedreceive, queue, buffer, 9000L, priority, timeout));
	CALL("mq_timedreceive with little room",
	     syscall(SYS_mq_timedreceive, queue, buffer, 10L, priority, timeout));
	attributes->mq_flags = O_NONBLOCK;
	CALL("mq_getsetattr", syscall(SYS_mq_getsetattr, queue, attributes, old));
	say("old flags %lx", old->mq_flags);
	CALL("mq_timedreceive of none",
	     syscall(SYS_mq_timedreceive, queue, buffer, 9000L, NULL, NULL));
	event->sigev_notify = SIGEV_NONE;
	CALL("mq_notify", syscall(SYS_mq_notify, queue, event));
	CALL("mq_notify again", syscall(SYS_mq_notify, queue, event));
	CALL("mq_unlink", syscall(SYS_mq_unlink, path));
	CALL("mq_unlink again", syscall(SYS_mq_unlink, path));
	close(queue);
}

static void messages(void)
{
	struct text {
		long type;
		char text[6000];
	} *message = evicted(sizeof(*message));
	struct msqid_ds *state = EVICTED(struct msqid_ds);
	int queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
	if (queue < 0) {
		say("no queues");
		return;
	}
	message->type = 5;
	fill(message->text, 6000, 91);
	CALL("msgsnd", msgsnd(queue, message, 6000, 0));
	message->type = 6;
	CALL("msgsnd", msgsnd(queue, message, 10, 0));
	message->type = 0;
	CALL("msgsnd of a bad type", msgsnd(queue, message, 10, 0));
	CALL("IPC_STAT", msgctl(queue, IPC_STAT, state));
	say("%lu messages, %lu bytes", state->msg_qnum, (unsigned long)state->__msg_cbytes);
	state->msg_perm.mode = 0640;
	CALL("IPC_SET", msgctl(queue, IPC_SET, state));
	memset(message, 0x5a, sizeof(*message));
	CALL("msgrcv of a type", msgrcv(queue, message, 6000, 6, 0));
	dump("message", message, 40);
	CALL("msgrcv with little room", msgrcv(queue, message, 1000, 0, 0));
	CALL("msgrcv, cut", msgrcv(queue, message, 1000, 0, MSG_NOERROR));
	dump("message", message, sizeof(*message));
	CALL("msgrcv of none", msgrcv(queue, message, 1000, 0, IPC_NOWAIT));
	CALL("msgsnd from nowhere", msgsnd(queue, BAD, 10, 0));
	CALL("IPC_STAT to nowhere", msgctl(queue, IPC_STAT, BAD));
	CALL("IPC_RMID", msgctl(queue, IPC_RMID, NULL));
	CALL("msgrcv of a removed one", msgrcv(queue, BAD, 1000, 0, IPC_NOWAIT));
}

static void semaphore_sets(void)
{
	struct sembuf *steps = EVICTED_ARRAY(struct sembuf, 3);
	unsigned short *values = EVICTED_ARRAY(unsigned short, 5);
	struct semid_ds *state = EVICTED(struct semid_ds);
	struct timespec *timeout = EVICTED(struct timespec);
	int set = semget(IPC_PRIVATE, 5, IPC_CREAT | 0600);
	if (set < 0) {
		say("no semaphores");
		return;
	}
	for (unsigned short i = 0; i < 5; i++)
		values[i] = (unsigned short)(i * 10);
	CALL("SETALL", semctl(set, 0, SETALL, values));
	steps[0] = (struct sembuf){ 1, -3, 0 };
	steps[1] = (struct sembuf){ 2, 5, 0 };
	steps[2] = (struct sembuf){ 0, 0, 0 };
	CALL("semop", semop(set, steps, 3));
	memset(values, 0x5a, 10);
	CALL("GETALL", semctl(set, 0, GETALL, values));
	say("values %u %u %u %u %u", values[0], values[1], values[2], values[3], values[4]);
	steps[0].sem_op = -100;
	steps[0].sem_flg = IPC_NOWAIT;
	CALL("semop that would sleep", semop(set, steps, 1));
	steps[0].sem_flg = 0;
	timeout->tv_nsec = 20000000;
	CALL("semtimedop that times out", semtimedop(set, steps, 1, timeout));
	steps[0].sem_num = 9;
	CALL("semop of an absent one", semop(set, steps, 1));
	CALL("IPC_STAT", semctl(set, 0, IPC_STAT, state));
	say("%lu semaphores", (unsigned long)state->sem_nsems);
	CALL("semop of none", semop(set, steps, 0));
	CALL("semop from nowhere", semop(set, BAD, 1));
	CALL("SETVAL", semctl(set, 3, SETVAL, 8));
	CALL("GETVAL", semctl(set, 3, GETVAL));
	CALL("GETALL to nowhere", semctl(set, 0, GETALL, BAD));
	CALL("IPC_RMID", semctl(set, 0, IPC_RMID));
}

static void shared_memory(void)
{
	struct shmid_ds *state = EVICTED(struct shmid_ds);
	int memory = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0600);
	if (memory < 0) {
		say("no shared memory");
		return;
	}
	char *address = shmat(memory, NULL, 0);
	check("shmat", address != (void *)-1);
	memset(address, 7, 10000);
	CALL("IPC_STAT", shmctl(memory, IPC_STAT, state));
	say("size %zu, attached %lu", state->shm_segsz, (unsigned long)state->shm_nattch);
	state->shm_perm.mode = 0640;
	CALL("IPC_SET", shmctl(memory, IPC_SET, state));
	CALL("shmdt", shmdt(address));
	CALL("shmdt again", shmdt(address));
	CALL("IPC_STAT to nowhere", shmctl(memory, IPC_STAT, BAD));
	CALL("IPC_RMID", shmctl(memory, IPC_RMID, NULL));
	CALL("IPC_STAT of a removed one", shmctl(memory, IPC_STAT, state));
}

const struct call_case ipc_cases[] = {
	CASE(posix_queues),
	CASE(messages),
	CASE(semaphore_sets),
	CASE(shared_memory),
	{ 0 },
};
