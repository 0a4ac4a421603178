/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_errors.c - cases of calls.c: bad descriptors before bad addresses, memory that ends,
 * memory that may only be read
 *
 * The results are the kernel's own; what is asked is that nobody finds another.
 */
#include "calls.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void bad_descriptors(void)
{
	void *nowhere = unmapped();
	CALL("read", read(-1, nowhere, 100));
	CALL("write", write(999, nowhere, 100));
	CALL("pread", pread(-1, nowhere, 100, 0));
	CALL("pread at a negative offset", pread(-1, nowhere, 100, -1));
	CALL("readv", readv(-1, nowhere, 3));
	CALL("writev of too many", writev(-1, nowhere, 5000));
	CALL("preadv2", preadv2(-1, nowhere, 3, 0, 0));
	CALL("getdents64", syscall(SYS_getdents64, -1, nowhere, 100L));
	CALL("fstat", syscall(SYS_fstat, -1, nowhere));
	CALL("ioctl", syscall(SYS_ioctl, -1, 0x541bL, nowhere));
	CALL("fcntl", syscall(SYS_fcntl, -1, (long)F_SETLK, nowhere));
	CALL("recvfrom", syscall(SYS_recvfrom, -1, nowhere, 100L, 0L, nowhere, nowhere));
	CALL("recvfrom of a file", syscall(SYS_recvfrom, 1, nowhere, 100L, 0L, nowhere, nowhere));
	CALL("sendto", syscall(SYS_sendto, -1, nowhere, 100L, 0L, nowhere, 10L));
	CALL("sendmsg", syscall(SYS_sendmsg, -1, nowhere, 0L));
	CALL("recvmsg", syscall(SYS_recvmsg, -1, nowhere, 0L));
	CALL("recvmmsg of a file", syscall(SYS_recvmmsg, 1, nowhere, 3L, 0L, NULL));
	CALL("bind", syscall(SYS_bind, -1, nowhere, 10L));
	CALL("accept", syscall(SYS_accept, -1, nowhere, nowhere));
	CALL("getsockname", syscall(SYS_getsockname, -1, nowhere, nowhere));
	CALL("epoll_ctl", syscall(SYS_epoll_ctl, -1, 1L, -1L, nowhere));
	CALL("timerfd_settime", syscall(SYS_timerfd_settime, -1, 0L, nowhere, NULL));
	CALL("sendfile", syscall(SYS_sendfile, -1, -1, nowhere, 10L));
	CALL("copy_file_range", syscall(SYS_copy_file_range, -1, nowhere, -1, nowhere, 1L, 0L));
	CALL("splice", syscall(SYS_splice, -1, nowhere, -1, nowhere, 1L, 0L));
	CALL("inotify_add_watch", syscall(SYS_inotify_add_watch, -1, nowhere, 1L));
	CALL("openat", syscall(SYS_openat, -1, nowhere, 0L));
	CALL("fstatfs", syscall(SYS_fstatfs, -1, nowhere));
	CALL("fgetxattr", syscall(SYS_fgetxattr, -1, nowhere, nowhere, 10L));
	CALL("mq_timedsend", syscall(SYS_mq_timedsend, -1, nowhere, 10L, 0L, NULL));
	CALL("read of nothing", read(-1, nowhere, 0));
}

static void bad_addresses(void)
{
	int ends[2], pair[2], file = make_file("file", 10000, 100);
	void *const list[] = { BAD, unmapped(), KERNEL, NULL };
	char *page = evicted_zero(100);
	MUST(pipe2(ends, O_NONBLOCK));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	for (int i = 0; i < 4; i++) {
		say("address %d", i);
		MUST(write(ends[1], "bytes", 5));
		MUST(send(pair[0], "bytes", 5, 0));
		CALL("read of a file", syscall(SYS_read, file, list[i], 100L));
		CALL("write to a file", syscall(SYS_write, file, list[i], 100L));
		CALL("read of a pipe", syscall(SYS_read, ends[0], list[i], 100L));
		CALL("write to a pipe", syscall(SYS_write, ends[1], list[i], 100L));
		CALL("recv", syscall(SYS_recvfrom, pair[1], list[i], 100L, (long)MSG_DONTWAIT,
		                     NULL, NULL));
		CALL("recv of the next", syscall(SYS_recvfrom, pair[1], page, 100L,
		                                 (long)MSG_DONTWAIT, NULL, NULL));
		CALL("send", syscall(SYS_sendto, pair[0], list[i], 100L, 0L, NULL, 0L));
		CALL("read of no bytes", syscall(SYS_read, file, list[i], 0L));
		CALL("readv", syscall(SYS_readv, file, list[i], 2L));
		CALL("recvmsg", syscall(SYS_recvmsg, pair[1], list[i], (long)MSG_DONTWAIT));
		CALL("sendmsg", syscall(SYS_sendmsg, pair[0], list[i], 0L));
		CALL("fstat", syscall(SYS_fstat, file, list[i]));
		CALL("FIONREAD", syscall(SYS_ioctl, ends[0], 0x541bL, list[i]));
		CALL("F_GETLK", syscall(SYS_fcntl, file, (long)F_GETLK, list[i]));
		CALL("getdents64 of a file", syscall(SYS_getdents64, file, list[i], 100L));
		CALL("getrandom", syscall(SYS_getrandom, list[i], 100L, 0L));
		CALL("sigaltstack", syscall(SYS_sigaltstack, NULL, list[i]));
		CALL("futex", syscall(SYS_futex, list[i], 128L, 0L, NULL, NULL, 0L));
		CALL("read of the pipe after all", syscall(SYS_read, ends[0], page, 100L));
	}
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	for (int i = 0; i < 2; i++) {
		close(ends[i]);
		close(pair[i]);
	}
	close(file);
	MUST(unlink("file"));
}

/* Pages that may be read only, evicted, as a destination; and as a source, which they may be. */
static void read_only_memory(void)
{
	int ends[2], file = make_file("file", 10000, 101);
	char *page = evicted_protected(2, PROT_READ), *none = evicted_protected(1, PROT_NONE);
	MUST(pipe2(ends, O_NONBLOCK));
	CALL("read of a file", read(file, page + 100, 5000));
	CALL("pread", pread(file, page, 10, 0));
	CALL("fstat", syscall(SYS_fstat, file, page));
	CALL("getcwd", syscall(SYS_getcwd, page, 4096L));
	CALL("FIONREAD", syscall(SYS_ioctl, ends[0], 0x541bL, page + 8));
	CALL("getrandom", syscall(SYS_getrandom, page, 100L, 0L));
	CALL("clock_gettime", syscall(SYS_clock_gettime, 0L, page));
	CALL("pipe", pipe((int *)page));
	CALL("write from it", write(ends[1], page + 4000, 3000));
	CALL("read into it", read(ends[0], page, 100));
	CALL("read into other memory", read(ends[0], evicted(3000), 3000));
	CALL("write from memory without access", write(ends[1], none, 10));
	CALL("read into memory without access", read(file, none, 10));
	CALL("write to a file from memory without access", write(file, none, 10));
	CALL("open of a path in it", open(none, O_RDONLY));
	dump("unchanged", page, 2 * PAGE);
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	close(ends[0]);
	close(ends[1]);
	close(file);
	MUST(unlink("file"));
}

/* A hundred bytes are accessible of those that are named. */
static void memory_that_ends(void)
{
	int ends[2], pair[2], stream[2], file = make_file("file", 10000, 102);
	char *edge = evicted_edge(100), *large = evicted_edge(3 * PAGE + 100);
	char *page = evicted(5000);
	MUST(pipe2(ends, O_NONBLOCK));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, stream));
	fill(edge, 100, 103);
	CALL("write to a file", write(file, edge, 5000));
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	CALL("read of a file", read(file, edge, 5000));
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	dump("bytes", edge, 100);
	CALL("pread of four pages", pread(file, large, 4 * PAGE, 0));
	dump("bytes", large, 3 * PAGE + 100);
	CALL("pwrite of four pages", pwrite(file, large, 4 * PAGE, 20000));
	dump_file("file", "file");
	CALL("write to a pipe", write(ends[1], edge, 5000));
	MUST(write(ends[1], page, 130));
	CALL("read of a pipe", read(ends[0], edge, 5000));
	CALL("read of what is left", read(ends[0], page, 5000));
	CALL("send", send(pair[0], edge, 200, 0));
	MUST(send(pair[0], page, 300, 0));
	MUST(send(pair[0], page, 90, 0));
	CALL("recv of more than there is room for", recv(pair[1], edge, 500, MSG_DONTWAIT));
	CALL("recv of what there is room for", recv(pair[1], edge, 500, MSG_DONTWAIT));
	CALL("recv of none", recv(pair[1], edge, 500, MSG_DONTWAIT));
	MUST(send(stream[0], page, 300, 0));
	CALL("recv of a stream", recv(stream[1], edge, 500, MSG_DONTWAIT));
	CALL("recv of what is left", recv(stream[1], page, 500, MSG_DONTWAIT));
	CALL("send to a stream", send(stream[0], edge, 500, MSG_DONTWAIT));
	CALL("recv of it", recv(stream[1], page, 500, MSG_DONTWAIT));
	for (int i = 0; i < 2; i++) {
		close(ends[i]);
		close(pair[i]);
		close(stream[i]);
	}
	close(file);
	MUST(unlink("file"));
}

/* A bad piece after good ones. */
static void vectors_that_end(void)
{
	int ends[2], pair[2], file = make_file("file", 10000, 104);
	struct iovec *vector = EVICTED_ARRAY(struct iovec, 3);
	struct msghdr *message = EVICTED(struct msghdr);
	char *page = evicted(5000);
	MUST(pipe2(ends, O_NONBLOCK));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	vector[0] = (struct iovec){ page, 50 };
	vector[1] = (struct iovec){ unmapped(), 60 };
	vector[2] = (struct iovec){ page + 100, 70 };
	CALL("readv of a file", readv(file, vector, 3));
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	CALL("writev to a file", writev(file, vector, 3));
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	CALL("writev to a pipe", writev(ends[1], vector, 3));
	CALL("read of the pipe", read(ends[0], page, 5000));
	message->msg_iov = vector;
	message->msg_iovlen = 3;
	CALL("sendmsg", sendmsg(pair[0], message, 0));
	CALL("recv of it", recv(pair[1], page, 5000, MSG_DONTWAIT));
	MUST(send(pair[0], page, 150, 0));
	MUST(send(pair[0], page, 40, 0));
	CALL("recvmsg of more than the first", recvmsg(pair[1], message, MSG_DONTWAIT));
	CALL("recvmsg of less", recvmsg(pair[1], message, MSG_DONTWAIT));
	CALL("recvmsg of none", recvmsg(pair[1], message, MSG_DONTWAIT));
	vector[1].iov_base = KERNEL;
	CALL("readv, the kernel's memory", readv(file, vector, 3));
	vector[1].iov_base = page;
	vector[1].iov_len = (size_t)-1;
	CALL("readv, a negative length", readv(file, vector, 3));
	vector[1].iov_len = (size_t)1 << 62;
	vector[2].iov_len = (size_t)1 << 62;
	CALL("readv, a sum too large", readv(file, vector, 3));
	message->msg_name = unmapped();
	message->msg_namelen = 10;
	vector[1].iov_len = 10;
	vector[2].iov_len = 10;
	CALL("sendmsg to a name that is nowhere", sendmsg(pair[0], message, 0));
	MUST(send(pair[0], page, 20, 0));
	CALL("recvmsg with a name that is nowhere", recvmsg(pair[1], message, MSG_DONTWAIT));
	for (int i = 0; i < 2; i++) {
		close(ends[i]);
		close(pair[i]);
	}
	close(file);
	MUST(unlink("file"));
}

/* Numbers that are no system call's. Where they come in registers of 64 bits, 32 count. */
static void unknown_numbers(void)
{
	static const long numbers[] = { -1, 512, 1000, 1L << 31, 0x40000000L + SYS_getpid,
		                        0x75706167 };
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		CALL("an unknown number", syscall(numbers[i], 1L, 2L, 3L));
	check("the upper half does not count", syscall((1L << 32) + SYS_getpid) == getpid());
}

const struct call_case error_cases[] = {
	EASY_CASE(unknown_numbers),
	EASY_CASE(bad_descriptors),
	EASY_CASE(bad_addresses),
	CASE(read_only_memory),
	CASE(memory_that_ends),
	CASE(vectors_that_end),
	{ 0 },
};
