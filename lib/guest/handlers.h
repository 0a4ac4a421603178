/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handlers.h - the system calls that need more than the table says, by file
 *
 * What they do is what their manual pages say; comments in the files say how it differs for us.
 */
#ifndef UPAGE_GUEST_HANDLERS_H
#define UPAGE_GUEST_HANDLERS_H

#include "call.h"

/* transfer.c: read(2), write(2) and their families, process_vm_readv(2) */
guest_handler guest_read, guest_write, guest_pread64, guest_pwrite64, guest_readv, guest_writev,
        guest_preadv, guest_pwritev, guest_preadv2, guest_pwritev2, guest_process_vm_readv,
        guest_process_vm_writev, guest_getrandom, guest_vmsplice;

/* message.c: send(2), recv(2) and their families */
guest_handler guest_sendto, guest_recvfrom, guest_sendmsg, guest_recvmsg, guest_sendmmsg,
        guest_recvmmsg;

/* control.c: what a request word decides: ioctl(2), fcntl(2), prctl(2), ... */
guest_handler guest_ioctl, guest_fcntl, guest_prctl, guest_getsockopt, guest_setsockopt,
        guest_keyctl, guest_semctl, guest_shmat, guest_shmdt, guest_shmctl, guest_msgctl, guest_msgsnd,
        guest_msgrcv, guest_quotactl;

/* wait.c: poll(2), select(2), epoll_wait(2), nanosleep(2) and their families; futex.c: futex(2) */
guest_handler guest_poll, guest_ppoll, guest_select, guest_pselect6, guest_epoll_wait,
        guest_epoll_pwait, guest_epoll_pwait2, guest_futex, guest_futex_waitv, guest_futex_wait,
        guest_futex_wake, guest_futex_requeue, guest_nanosleep, guest_clock_nanosleep;

/* signal.c: sigaction(2), sigreturn(2); signal_frame.c: sigaltstack(2); signal_mask.c: the others */
guest_handler guest_rt_sigaction, guest_rt_sigprocmask, guest_rt_sigreturn, guest_rt_sigqueueinfo, guest_rt_sigsuspend,
        guest_rt_sigpending, guest_rt_sigtimedwait, guest_sigaltstack;

/* thread.c: clone(2), exit(2), set_tid_address(2), set_robust_list(2), rseq */
guest_handler guest_clone, guest_clone3, guest_fork, guest_vfork, guest_exit,
        guest_set_tid_address, guest_set_robust_list, guest_get_robust_list, guest_rseq,
        guest_arch_prctl;

/* limit.c: of the process itself, and of others */
guest_handler limit_getrlimit, limit_setrlimit, limit_prlimit64;

/* process.c: execve(2), exit_group(2) */
guest_handler guest_execve, guest_execveat, guest_exit_group;

/* area.c: mmap(2), mprotect(2), madvise(2) and their families on paged memory */
guest_handler guest_brk, guest_mmap, guest_munmap, guest_mprotect, guest_mremap, guest_madvise,
        guest_mincore, guest_mlock, guest_munlock, guest_msync, guest_pkey_mprotect,
        guest_process_madvise, guest_mlockall, guest_munlockall, guest_remap_file_pages;

/* descriptor.c: close(2), dup2(2) and their families, which must not meet ours, and getdents(2),
 * which must not name them; for all others by the table, of a descriptor in argument 0 */
guest_handler guest_close, guest_close_range, guest_dup2, guest_getdents,
        guest_getdents64, guest_of_descriptor;

/* The process is about to end: who waits for a mutex of one of its threads, in memory that it shares
 * with others, is told, as the kernel would; thread.c. It cannot be done for a SIGKILL. */
void guest_abandon_mutexes(struct guest_thread *self);

/* The temporary signal mask of ppoll(2), pselect(2), epoll_pwait(2), for the call to come;
 * signal_mask.c. @mask: the program's. Return: what the kernel may be given instead; valid until the
 * call ends. */
const uint64_t *guest_temporary_mask(struct guest_call *call, uint64_t mask);

#endif
