/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * table.c - the table itself: one line a system call, by number; see table.h
 *
 * Constant data. Arguments that are left out at the end are numbers.
 * Source: syscalls(2), and the kernel's functions for what the manual pages leave open.
 */
#include "table.h"

#include <linux/stat.h>
#include <linux/sysinfo.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <utime.h>

#include "handlers.h"

/* Structs of the kernel's that the headers lack, or of which a C library has a longer form. */
struct ustat {
	int free;
	unsigned long inodes;
	char name[6], pack[6];
};
struct cachestat_range {
	uint64_t offset, length;
};
struct cachestat {
	uint64_t cache, dirty, writeback, evicted, recently_evicted;
};
typedef uint64_t kernel_sigset;
typedef struct {
	struct timeval time[2];
	long count[14];
} kernel_rusage;

/* One argument. COUNTED ones: so many of a type as argument n says; above `most` bytes the
 * kernel does not look at them. */
#define V { .kind = GUEST_VALUE }
#define PATH { .kind = GUEST_STRING, .size = 4096 } /* or what else has this limit */
#define NAME { .kind = GUEST_STRING, .size = 256 }
#define TEXT { .kind = GUEST_STRING, .size = 128 << 10 }
#define IN(type) { .kind = GUEST_IN, .size = sizeof(type) }
#define OUT(type) { .kind = GUEST_OUT, .size = sizeof(type) }
#define INOUT(type) { .kind = GUEST_INOUT, .size = sizeof(type) }
/* Written, in part maybe, even when the call fails. */
#define ALWAYS(type) { .kind = GUEST_OUT, .flags = GUEST_ALWAYS, .size = sizeof(type) }
#define INOUT_ALWAYS(type) { .kind = GUEST_INOUT, .flags = GUEST_ALWAYS, .size = sizeof(type) }

#define COUNTED(k, f, type, n, m)                                                              \
	{ .kind = (k), .flags = (f), .count = (n), .size = sizeof(type), .most = (m) }
#define IN_LONG(type, n, most) COUNTED(GUEST_IN, GUEST_COUNT_LONG, type, n, most)
#define IN_INT(type, n, most) COUNTED(GUEST_IN, GUEST_COUNT_INT, type, n, most)
#define IN_BITS(n) COUNTED(GUEST_IN, GUEST_COUNT_BITS, char, n, 4096)
/* A struct that grows with time; the kernel knows none of above a page. */
#define IN_GROWING(n) IN_LONG(char, n, 4096)
#define OUT_GROWING(n) COUNTED(GUEST_INOUT, GUEST_COUNT_LONG, char, n, 4096)
/* The same with its size in itself: 32 bits at @offset, where 0 means @first. */
#define IN_SIZED(offset, first)                                                                \
	{ .kind = GUEST_IN, .flags = GUEST_COUNT_INSIDE, .count = (offset), .size = (first),   \
	  .most = 4096 }
/* As many as the result says; a longer buffer than `most` is of no use. */
#define RESULT_LONG(type, n, most)                                                             \
	COUNTED(GUEST_OUT, GUEST_COUNT_LONG | GUEST_RESULT | GUEST_CLAMP, type, n, most)
#define RESULT_INT(type, n, most)                                                              \
	COUNTED(GUEST_OUT, GUEST_COUNT_INT | GUEST_RESULT | GUEST_CLAMP, type, n, most)
/* The same where the result may say something else, too. */
#define INOUT_RESULT(type, n, most)                                                            \
	COUNTED(GUEST_INOUT, GUEST_COUNT_INT | GUEST_RESULT | GUEST_CLAMP, type, n, most)
#define OUT_POINTER(n, most) COUNTED(GUEST_OUT, GUEST_COUNT_POINTER, char, n, most)
/* An address and, in argument n, the length of a range of memory that the kernel would change. */
#define RANGE(n, error) COUNTED(GUEST_RANGE, GUEST_COUNT_LONG, char, n, error)

#define SOCKET_ADDRESS 128
#define XATTR_MOST 65536
#define LARGE (512u << 20) /* more memory than a program hands over in one call */

/* One call. */
#define ARGUMENTS(...) (const struct guest_argument[6]){ __VA_ARGS__ }
#define PLAIN(call) { .name = #call, .argument = numbers }
#define CALL(call, ...) { .name = #call, .argument = ARGUMENTS(__VA_ARGS__) }
#define HANDLED(call) SAME(call, call)
#define SAME(call, other) { .name = #call, .handler = guest_##other, .argument = numbers }
#define REFUSED(call) { .name = #call, .refused = true, .argument = numbers }
/* Of the descriptor that is argument 0, where programs look at what may not be open. */
#define DESCRIPTOR(call, ...)                                                                  \
	{ .name = #call, .handler = guest_of_descriptor, .argument = ARGUMENTS(__VA_ARGS__) }
#define LIMIT(call, ...)                                                                       \
	{ .name = #call, .handler = limit_##call, .argument = ARGUMENTS(__VA_ARGS__) }
#define LISTING(call)                                                                          \
	{ .name = #call, .handler = guest_##call,                                              \
	  .argument = ARGUMENTS(V, RESULT_INT(char, 2, GUEST_PIECE)) }

static const struct guest_argument numbers[6];

static const struct guest_entry table[] = {
	[0] = HANDLED(read),
	[1] = HANDLED(write),
	[2] = CALL(open, PATH),
	[3] = HANDLED(close),
	[4] = CALL(stat, PATH, OUT(struct stat)),
	[5] = DESCRIPTOR(fstat, V, OUT(struct stat)),
	[6] = CALL(lstat, PATH, OUT(struct stat)),
	[7] = HANDLED(poll),
	[8] = DESCRIPTOR(lseek, V),
	[9] = HANDLED(mmap),
	[10] = HANDLED(mprotect),
	[11] = HANDLED(munmap),
	[12] = HANDLED(brk),
	[13] = HANDLED(rt_sigaction),
	[14] = HANDLED(rt_sigprocmask),
	[15] = HANDLED(rt_sigreturn),
	[16] = HANDLED(ioctl),
	[17] = HANDLED(pread64),
	[18] = HANDLED(pwrite64),
	[19] = HANDLED(readv),
	[20] = HANDLED(writev),
	[21] = CALL(access, PATH),
	[22] = CALL(pipe, OUT(int[2])),
	[23] = HANDLED(select),
	[24] = PLAIN(sched_yield),
	[25] = HANDLED(mremap),
	[26] = HANDLED(msync),
	[27] = HANDLED(mincore),
	[28] = HANDLED(madvise),
	[29] = PLAIN(shmget),
	[30] = HANDLED(shmat),
	[31] = HANDLED(shmctl),
	[32] = DESCRIPTOR(dup, V),
	[33] = HANDLED(dup2),
	[34] = PLAIN(pause),
	[35] = HANDLED(nanosleep),
	[36] = CALL(getitimer, V, OUT(struct itimerval)),
	[37] = PLAIN(alarm),
	[38] = CALL(setitimer, V, IN(struct itimerval), OUT(struct itimerval)),
	[39] = PLAIN(getpid),
	[40] = CALL(sendfile, V, V, INOUT(off_t)),
	[41] = PLAIN(socket),
	[42] = CALL(connect, V, IN_INT(char, 2, SOCKET_ADDRESS)),
	[43] = CALL(accept, V, OUT_POINTER(2, SOCKET_ADDRESS), INOUT_ALWAYS(int)),
	[44] = HANDLED(sendto),
	[45] = HANDLED(recvfrom),
	[46] = HANDLED(sendmsg),
	[47] = HANDLED(recvmsg),
	[48] = PLAIN(shutdown),
	[49] = CALL(bind, V, IN_INT(char, 2, SOCKET_ADDRESS)),
	[50] = PLAIN(listen),
	[51] = CALL(getsockname, V, OUT_POINTER(2, SOCKET_ADDRESS), INOUT_ALWAYS(int)),
	[52] = CALL(getpeername, V, OUT_POINTER(2, SOCKET_ADDRESS), INOUT_ALWAYS(int)),
	[53] = CALL(socketpair, V, V, V, OUT(int[2])),
	[54] = HANDLED(setsockopt),
	[55] = HANDLED(getsockopt),
	[56] = HANDLED(clone),
	[57] = HANDLED(fork),
	[58] = HANDLED(vfork),
	[59] = HANDLED(execve),
	[60] = HANDLED(exit),
	[61] = CALL(wait4, V, INOUT(int), V, INOUT(kernel_rusage)),
	[62] = HANDLED(kill),
	[63] = CALL(uname, OUT(struct utsname)),
	[64] = PLAIN(semget),
	[65] = CALL(semop, V, IN_INT(struct sembuf, 2, 16 << 20)),
	[66] = HANDLED(semctl),
	[67] = HANDLED(shmdt),
	[68] = PLAIN(msgget),
	[69] = HANDLED(msgsnd),
	[70] = HANDLED(msgrcv),
	[71] = HANDLED(msgctl),
	[72] = HANDLED(fcntl),
	[73] = PLAIN(flock),
	[74] = PLAIN(fsync),
	[75] = PLAIN(fdatasync),
	[76] = CALL(truncate, PATH),
	[77] = DESCRIPTOR(ftruncate, V),
	[78] = LISTING(getdents),
	[79] = CALL(getcwd, RESULT_LONG(char, 1, 16384)),
	[80] = CALL(chdir, PATH),
	[81] = PLAIN(fchdir),
	[82] = CALL(rename, PATH, PATH),
	[83] = CALL(mkdir, PATH),
	[84] = CALL(rmdir, PATH),
	[85] = CALL(creat, PATH),
	[86] = CALL(link, PATH, PATH),
	[87] = CALL(unlink, PATH),
	[88] = CALL(symlink, PATH, PATH),
	[89] = CALL(readlink, PATH, RESULT_INT(char, 2, 65536)),
	[90] = CALL(chmod, PATH),
	[91] = PLAIN(fchmod),
	[92] = CALL(chown, PATH),
	[93] = PLAIN(fchown),
	[94] = CALL(lchown, PATH),
	[95] = PLAIN(umask),
	[96] = CALL(gettimeofday, OUT(struct timeval), OUT(struct timezone)),
	[97] = LIMIT(getrlimit, V, OUT(struct rlimit)),
	[98] = CALL(getrusage, V, OUT(kernel_rusage)),
	[99] = CALL(sysinfo, OUT(struct sysinfo)),
	[100] = CALL(times, OUT(struct tms)),
	[101] = HANDLED(ptrace),
	[102] = PLAIN(getuid),
	[103] = CALL(syslog, V, INOUT_RESULT(char, 2, 64 << 20)),
	[104] = PLAIN(getgid),
	[105] = PLAIN(setuid),
	[106] = PLAIN(setgid),
	[107] = PLAIN(geteuid),
	[108] = PLAIN(getegid),
	[109] = PLAIN(setpgid),
	[110] = PLAIN(getppid),
	[111] = PLAIN(getpgrp),
	[112] = PLAIN(setsid),
	[113] = PLAIN(setreuid),
	[114] = PLAIN(setregid),
	[115] = CALL(getgroups, V, RESULT_INT(gid_t, 0, 65536 * sizeof(gid_t))),
	[116] = CALL(setgroups, V, IN_INT(gid_t, 0, 65536 * sizeof(gid_t))),
	[117] = PLAIN(setresuid),
	[118] = CALL(getresuid, ALWAYS(uid_t), ALWAYS(uid_t), ALWAYS(uid_t)),
	[119] = PLAIN(setresgid),
	[120] = CALL(getresgid, ALWAYS(gid_t), ALWAYS(gid_t), ALWAYS(gid_t)),
	[121] = PLAIN(getpgid),
	[122] = PLAIN(setfsuid),
	[123] = PLAIN(setfsgid),
	[124] = PLAIN(getsid),
	[125] = HANDLED(capget),
	[126] = HANDLED(capset),
	[127] = HANDLED(rt_sigpending),
	[128] = HANDLED(rt_sigtimedwait),
	[129] = { .name = "rt_sigqueueinfo", .handler = guest_rt_sigqueueinfo, .argument = ARGUMENTS(V, V, IN(siginfo_t)) },
	[130] = HANDLED(rt_sigsuspend),
	[131] = HANDLED(sigaltstack),
	[132] = CALL(utime, PATH, IN(struct utimbuf)),
	[133] = CALL(mknod, PATH),
	[134] = REFUSED(uselib),
	[135] = PLAIN(personality),
	[136] = CALL(ustat, V, OUT(struct ustat)),
	[137] = CALL(statfs, PATH, OUT(struct statfs)),
	[138] = DESCRIPTOR(fstatfs, V, OUT(struct statfs)),
	[139] = HANDLED(sysfs),
	[140] = PLAIN(getpriority),
	[141] = PLAIN(setpriority),
	[142] = CALL(sched_setparam, V, IN(int)),
	[143] = CALL(sched_getparam, V, OUT(int)),
	[144] = CALL(sched_setscheduler, V, V, IN(int)),
	[145] = PLAIN(sched_getscheduler),
	[146] = PLAIN(sched_get_priority_max),
	[147] = PLAIN(sched_get_priority_min),
	[148] = CALL(sched_rr_get_interval, V, OUT(struct timespec)),
	[149] = HANDLED(mlock),
	[150] = HANDLED(munlock),
	[151] = HANDLED(mlockall),
	[152] = HANDLED(munlockall),
	[153] = PLAIN(vhangup),
	[154] = HANDLED(modify_ldt),
	[155] = CALL(pivot_root, PATH, PATH),
	[156] = REFUSED(_sysctl),
	[157] = HANDLED(prctl),
	[158] = HANDLED(arch_prctl),
	[159] = CALL(adjtimex, INOUT_ALWAYS(struct timex)),
	[160] = LIMIT(setrlimit, V, IN(struct rlimit)),
	[161] = CALL(chroot, PATH),
	[162] = PLAIN(sync),
	[163] = CALL(acct, PATH),
	[164] = CALL(settimeofday, IN(struct timeval), IN(struct timezone)),
	[165] = HANDLED(mount),
	[166] = CALL(umount2, PATH),
	[167] = CALL(swapon, PATH),
	[168] = CALL(swapoff, PATH),
	[169] = CALL(reboot, V, V, V, NAME),
	[170] = CALL(sethostname, IN_INT(char, 1, 64)),
	[171] = CALL(setdomainname, IN_INT(char, 1, 64)),
	[172] = PLAIN(iopl),
	[173] = PLAIN(ioperm),
	[174] = REFUSED(create_module),
	[175] = CALL(init_module, IN_LONG(char, 1, LARGE), V, TEXT),
	[176] = CALL(delete_module, NAME),
	[177] = REFUSED(get_kernel_syms),
	[178] = REFUSED(query_module),
	[179] = HANDLED(quotactl),
	[180] = REFUSED(nfsservctl),
	[181] = REFUSED(getpmsg),
	[182] = REFUSED(putpmsg),
	[183] = REFUSED(afs_syscall),
	[184] = REFUSED(tuxcall),
	[185] = REFUSED(security),
	[186] = PLAIN(gettid),
	[187] = PLAIN(readahead),
	[188] = CALL(setxattr, PATH, NAME, IN_LONG(char, 3, XATTR_MOST)),
	[189] = CALL(lsetxattr, PATH, NAME, IN_LONG(char, 3, XATTR_MOST)),
	[190] = CALL(fsetxattr, V, NAME, IN_LONG(char, 3, XATTR_MOST)),
	[191] = CALL(getxattr, PATH, NAME, RESULT_LONG(char, 3, XATTR_MOST)),
	[192] = CALL(lgetxattr, PATH, NAME, RESULT_LONG(char, 3, XATTR_MOST)),
	[193] = CALL(fgetxattr, V, NAME, RESULT_LONG(char, 3, XATTR_MOST)),
	[194] = CALL(listxattr, PATH, RESULT_LONG(char, 2, XATTR_MOST)),
	[195] = CALL(llistxattr, PATH, RESULT_LONG(char, 2, XATTR_MOST)),
	[196] = CALL(flistxattr, V, RESULT_LONG(char, 2, XATTR_MOST)),
	[197] = CALL(removexattr, PATH, NAME),
	[198] = CALL(lremovexattr, PATH, NAME),
	[199] = CALL(fremovexattr, V, NAME),
	[200] = SAME(tkill, kill),
	[201] = CALL(time, OUT(time_t)),
	[202] = HANDLED(futex),
	[203] = CALL(sched_setaffinity, V, V,
		     COUNTED(GUEST_IN, GUEST_COUNT_INT | GUEST_CLAMP, char, 1, 8192)),
	[204] = CALL(sched_getaffinity, V, V,
		     COUNTED(GUEST_OUT, GUEST_COUNT_INT | GUEST_RESULT, char, 1, 1 << 20)),
	[205] = REFUSED(set_thread_area),
	[206] = REFUSED(io_setup),
	[207] = REFUSED(io_destroy),
	[208] = REFUSED(io_getevents),
	[209] = REFUSED(io_submit),
	[210] = REFUSED(io_cancel),
	[211] = REFUSED(get_thread_area),
	[212] = REFUSED(lookup_dcookie),
	[213] = PLAIN(epoll_create),
	[214] = REFUSED(epoll_ctl_old),
	[215] = REFUSED(epoll_wait_old),
	[216] = HANDLED(remap_file_pages),
	[217] = LISTING(getdents64),
	[218] = HANDLED(set_tid_address),
	[219] = PLAIN(restart_syscall),
	[220] = CALL(semtimedop, V, IN_INT(struct sembuf, 2, 16 << 20), V, IN(struct timespec)),
	[221] = PLAIN(fadvise64),
	[222] = CALL(timer_create, V, IN(struct sigevent), OUT(int)),
	[223] = CALL(timer_settime, V, V, IN(struct itimerspec), OUT(struct itimerspec)),
	[224] = CALL(timer_gettime, V, OUT(struct itimerspec)),
	[225] = PLAIN(timer_getoverrun),
	[226] = PLAIN(timer_delete),
	[227] = CALL(clock_settime, V, IN(struct timespec)),
	[228] = CALL(clock_gettime, V, OUT(struct timespec)),
	[229] = CALL(clock_getres, V, OUT(struct timespec)),
	[230] = HANDLED(clock_nanosleep),
	[231] = HANDLED(exit_group),
	[232] = HANDLED(epoll_wait),
	[233] = CALL(epoll_ctl, V, V, V, IN(struct epoll_event)),
	[234] = SAME(tgkill, kill),
	[235] = CALL(utimes, PATH, IN(struct timeval[2])),
	[236] = REFUSED(vserver),
	[237] = CALL(mbind, RANGE(1, ENOSYS), V, V, IN_BITS(4)),
	[238] = CALL(set_mempolicy, V, IN_BITS(2)),
	[239] = HANDLED(get_mempolicy),
	[240] = CALL(mq_open, PATH, V, V, IN(struct mq_attr)),
	[241] = CALL(mq_unlink, PATH),
	[242] = CALL(mq_timedsend, V, IN_LONG(char, 2, 16 << 20), V, V, IN(struct timespec)),
	[243] = CALL(mq_timedreceive, V, RESULT_LONG(char, 2, 16 << 20), V, OUT(unsigned),
		     IN(struct timespec)),
	[244] = HANDLED(mq_notify),
	[245] = CALL(mq_getsetattr, V, IN(struct mq_attr), OUT(struct mq_attr)),
	[246] = REFUSED(kexec_load),
	[247] = CALL(waitid, V, V, ALWAYS(char[28]), V, INOUT(kernel_rusage)),
	[248] = CALL(add_key, NAME, PATH, IN_LONG(char, 3, 1 << 20)),
	[249] = CALL(request_key, NAME, PATH, PATH),
	[250] = HANDLED(keyctl),
	[251] = PLAIN(ioprio_set),
	[252] = PLAIN(ioprio_get),
	[253] = PLAIN(inotify_init),
	[254] = CALL(inotify_add_watch, V, PATH),
	[255] = PLAIN(inotify_rm_watch),
	[256] = CALL(migrate_pages, V, V, IN_BITS(1), IN_BITS(1)),
	[257] = CALL(openat, V, PATH),
	[258] = CALL(mkdirat, V, PATH),
	[259] = CALL(mknodat, V, PATH),
	[260] = CALL(fchownat, V, PATH),
	[261] = CALL(futimesat, V, PATH, IN(struct timeval[2])),
	[262] = DESCRIPTOR(newfstatat, V, PATH, OUT(struct stat)),
	[263] = CALL(unlinkat, V, PATH),
	[264] = CALL(renameat, V, PATH, V, PATH),
	[265] = CALL(linkat, V, PATH, V, PATH),
	[266] = CALL(symlinkat, PATH, V, PATH),
	[267] = CALL(readlinkat, V, PATH, RESULT_INT(char, 3, 65536)),
	[268] = CALL(fchmodat, V, PATH),
	[269] = CALL(faccessat, V, PATH),
	[270] = HANDLED(pselect6),
	[271] = HANDLED(ppoll),
	[272] = PLAIN(unshare),
	[273] = HANDLED(set_robust_list),
	[274] = HANDLED(get_robust_list),
	[275] = CALL(splice, V, INOUT(off_t), V, INOUT(off_t)),
	[276] = PLAIN(tee),
	[277] = PLAIN(sync_file_range),
	[278] = HANDLED(vmsplice),
	[279] = CALL(move_pages, V, V, IN_LONG(void *, 1, LARGE), IN_LONG(int, 1, LARGE),
		     COUNTED(GUEST_INOUT, GUEST_COUNT_LONG | GUEST_ALWAYS, int, 1, LARGE)),
	[280] = CALL(utimensat, V, PATH, IN(struct timespec[2])),
	[281] = HANDLED(epoll_pwait),
	[282] = CALL(signalfd, V, IN(kernel_sigset)),
	[283] = PLAIN(timerfd_create),
	[284] = PLAIN(eventfd),
	[285] = PLAIN(fallocate),
	[286] = CALL(timerfd_settime, V, V, IN(struct itimerspec), OUT(struct itimerspec)),
	[287] = CALL(timerfd_gettime, V, OUT(struct itimerspec)),
	[288] = CALL(accept4, V, OUT_POINTER(2, SOCKET_ADDRESS), INOUT_ALWAYS(int)),
	[289] = CALL(signalfd4, V, IN(kernel_sigset)),
	[290] = PLAIN(eventfd2),
	[291] = PLAIN(epoll_create1),
	[292] = SAME(dup3, dup2),
	[293] = CALL(pipe2, OUT(int[2])),
	[294] = PLAIN(inotify_init1),
	[295] = HANDLED(preadv),
	[296] = HANDLED(pwritev),
	[297] = { .name = "rt_tgsigqueueinfo", .handler = guest_rt_sigqueueinfo, .argument = ARGUMENTS(V, V, V, IN(siginfo_t)) },
	[298] = CALL(perf_event_open, IN_SIZED(4, 64)),
	[299] = HANDLED(recvmmsg),
	[300] = PLAIN(fanotify_init),
	[301] = CALL(fanotify_mark, V, V, V, V, PATH),
	[302] = LIMIT(prlimit64, V, V, IN(struct rlimit), OUT(struct rlimit)),
	[303] = HANDLED(name_to_handle_at),
	[304] = HANDLED(open_by_handle_at),
	[305] = CALL(clock_adjtime, V, INOUT(struct timex)),
	[306] = PLAIN(syncfs),
	[307] = HANDLED(sendmmsg),
	[308] = PLAIN(setns),
	[309] = CALL(getcpu, OUT(unsigned), OUT(unsigned)),
	[310] = HANDLED(process_vm_readv),
	[311] = HANDLED(process_vm_writev),
	[312] = PLAIN(kcmp),
	[313] = CALL(finit_module, V, TEXT),
	[314] = CALL(sched_setattr, V, IN_SIZED(0, 48)),
	[315] = CALL(sched_getattr, V, COUNTED(GUEST_INOUT, GUEST_COUNT_INT, char, 2, 4096)),
	[316] = CALL(renameat2, V, PATH, V, PATH),
	[317] = REFUSED(seccomp),
	[318] = HANDLED(getrandom),
	[319] = CALL(memfd_create, { .kind = GUEST_STRING, .size = 250 }),
	[320] = CALL(kexec_file_load, V, V, V, IN_LONG(char, 2, 1 << 20)),
	[321] = HANDLED(bpf),
	[322] = HANDLED(execveat),
	[323] = REFUSED(userfaultfd),
	[324] = PLAIN(membarrier),
	[325] = SAME(mlock2, mlock),
	[326] = CALL(copy_file_range, V, INOUT(off_t), V, INOUT(off_t)),
	[327] = HANDLED(preadv2),
	[328] = HANDLED(pwritev2),
	[329] = HANDLED(pkey_mprotect),
	[330] = PLAIN(pkey_alloc),
	[331] = PLAIN(pkey_free),
	[332] = DESCRIPTOR(statx, V, PATH, V, V, OUT(struct statx)),
	[333] = REFUSED(io_pgetevents),
	[334] = HANDLED(rseq),
	[335] = REFUSED(uretprobe),
	[336] = REFUSED(uprobe),

	[424] = CALL(pidfd_send_signal, V, V, IN(siginfo_t)),
	[425] = REFUSED(io_uring_setup),
	[426] = REFUSED(io_uring_enter),
	[427] = REFUSED(io_uring_register),
	[428] = CALL(open_tree, V, PATH),
	[429] = CALL(move_mount, V, PATH, V, PATH),
	[430] = CALL(fsopen, PATH),
	[431] = HANDLED(fsconfig),
	[432] = PLAIN(fsmount),
	[433] = CALL(fspick, V, PATH),
	[434] = PLAIN(pidfd_open),
	[435] = HANDLED(clone3),
	[436] = HANDLED(close_range),
	[437] = CALL(openat2, V, PATH, IN_GROWING(3)),
	[438] = PLAIN(pidfd_getfd),
	[439] = CALL(faccessat2, V, PATH),
	[440] = HANDLED(process_madvise),
	[441] = HANDLED(epoll_pwait2),
	[442] = CALL(mount_setattr, V, PATH, V, IN_GROWING(4)),
	[443] = SAME(quotactl_fd, quotactl),
	[444] = CALL(landlock_create_ruleset, IN_GROWING(1)),
	[445] = HANDLED(landlock_add_rule),
	[446] = PLAIN(landlock_restrict_self),
	[447] = PLAIN(memfd_secret),
	[448] = PLAIN(process_mrelease),
	[449] = HANDLED(futex_waitv),
	[450] = PLAIN(set_mempolicy_home_node),
	[451] = CALL(cachestat, V, IN(struct cachestat_range), OUT(struct cachestat)),
	[452] = CALL(fchmodat2, V, PATH),
	[453] = PLAIN(map_shadow_stack),
	[454] = HANDLED(futex_wake),
	[455] = HANDLED(futex_wait),
	[456] = HANDLED(futex_requeue),
	[457] = CALL(statmount, IN_SIZED(0, 0),
		     COUNTED(GUEST_INOUT, GUEST_COUNT_LONG | GUEST_CLAMP, char, 2, 1 << 20)),
	[458] = CALL(listmount, IN_SIZED(0, 0),
		     COUNTED(GUEST_OUT, GUEST_COUNT_LONG | GUEST_RESULT, uint64_t, 2, 16 << 20)),
	[459] = CALL(lsm_get_self_attr, V,
		     COUNTED(GUEST_INOUT, GUEST_COUNT_POINTER, char, 2, 65536), INOUT_ALWAYS(int)),
	[460] = CALL(lsm_set_self_attr, V, IN_INT(char, 2, 4096)),
	[461] = CALL(lsm_list_modules, OUT_POINTER(1, 65536), INOUT_ALWAYS(int)),
	[462] = CALL(mseal, RANGE(1, ENOSYS)),
	[463] = HANDLED(setxattrat),
	[464] = HANDLED(getxattrat),
	[465] = CALL(listxattrat, V, PATH, V, RESULT_LONG(char, 4, XATTR_MOST)),
	[466] = CALL(removexattrat, V, PATH, V, NAME),
	[467] = CALL(open_tree_attr, V, PATH, V, IN_GROWING(4)),
	[468] = CALL(file_getattr, V, PATH, OUT_GROWING(3)),
	[469] = CALL(file_setattr, V, PATH, IN_GROWING(3)),
};

/* Those that programs make often. Signals and what they interrupt, threads and processes are not
 * among them, nor what ends any. */
static const short direct[] = {
	SYS_read, SYS_write, SYS_open, SYS_close, SYS_stat, SYS_fstat, SYS_lstat, SYS_poll, SYS_lseek,
	SYS_mmap, SYS_mprotect, SYS_munmap, SYS_brk, SYS_ioctl, SYS_pread64, SYS_pwrite64, SYS_readv,
	SYS_writev, SYS_access, SYS_pipe, SYS_select, SYS_sched_yield, SYS_mremap, SYS_madvise, SYS_dup,
	SYS_dup2, SYS_getpid, SYS_sendfile, SYS_socket, SYS_connect, SYS_accept, SYS_sendto,
	SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_setsockopt, SYS_getsockopt, SYS_fcntl, SYS_fsync,
	SYS_fdatasync, SYS_ftruncate, SYS_getcwd, SYS_rename, SYS_mkdir, SYS_rmdir, SYS_unlink,
	SYS_readlink, SYS_gettimeofday, SYS_getrusage, SYS_times, SYS_getuid, SYS_getgid, SYS_geteuid,
	SYS_getegid, SYS_getppid, SYS_getpgrp, SYS_gettid, SYS_futex, SYS_getdents64, SYS_fadvise64,
	SYS_clock_gettime, SYS_clock_nanosleep, SYS_epoll_wait, SYS_epoll_ctl, SYS_openat,
	SYS_newfstatat, SYS_unlinkat, SYS_readlinkat, SYS_faccessat, SYS_timerfd_settime, SYS_accept4,
	SYS_dup3, SYS_pipe2, SYS_getrandom, SYS_copy_file_range, SYS_statx, SYS_faccessat2,
};

bool guest_table_is_direct(long number)
{
	for (size_t i = 0; i < sizeof(direct) / sizeof(direct[0]); i++)
		if (direct[i] == number)
			return true;
	return false;
}

const struct guest_entry *guest_table_find(long number)
{
	const long count = sizeof(table) / sizeof(table[0]);
	if (number < 0 || number >= count || table[number].name == NULL)
		return NULL;
	return &table[number];
}
