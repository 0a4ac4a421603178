/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_descriptors.c - cases of calls.c: what is asked of and told to a descriptor
 */
#include "calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void fstat_file(void)
{
	int file = make_file("file", 12345, 30);
	struct stat *status = EVICTED(struct stat);
	struct statfs *system = EVICTED(struct statfs);
	CALL("fstat", fstat(file, status));
	say("size %ld, mode %o, links %ld, blocks of %ld", (long)status->st_size,
	    status->st_mode, (long)status->st_nlink, (long)status->st_blksize);
	CALL("fstatfs", fstatfs(file, system));
	say("blocks of %ld, names of %ld", (long)system->f_bsize, (long)system->f_namelen);
	close(file);
	MUST(unlink("file"));
}

static void ioctl_fionread(void)
{
	int ends[2];
	int *count = evicted_int(-1);
	MUST(pipe(ends));
	MUST(write(ends[1], "thirty-seven bytes are in this pipe!!", 37));
	CALL("FIONREAD", ioctl(ends[0], FIONREAD, count));
	say("%d bytes", *count);
	*count = 1;
	CALL("FIONBIO", ioctl(ends[0], FIONBIO, count));
	say("non-blocking: %d", (fcntl(ends[0], F_GETFL) & O_NONBLOCK) != 0);
	CALL("TIOCGWINSZ of a pipe", ioctl(ends[0], TIOCGWINSZ, count));
	CALL("an unknown request", ioctl(ends[0], 0x1234, count));
	close(ends[0]);
	close(ends[1]);
}

static void ioctl_terminal(void)
{
	struct winsize *size = EVICTED(struct winsize);
	struct termios *modes = EVICTED(struct termios);
	int *number = evicted_int(0);
	int master = (int)MUST(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
	CALL("TIOCSPTLCK", ioctl(master, TIOCSPTLCK, number));
	*number = -1;
	CALL("TIOCGPTN", ioctl(master, TIOCGPTN, number));
	check("its number", *number >= 0);
	size->ws_row = 33;
	size->ws_col = 77;
	CALL("TIOCSWINSZ", ioctl(master, TIOCSWINSZ, size));
	memset(size, 0x5a, sizeof(*size));
	CALL("TIOCGWINSZ", ioctl(master, TIOCGWINSZ, size));
	say("%d rows, %d columns", size->ws_row, size->ws_col);
	memset(modes, 0x5a, sizeof(*modes));
	CALL("TCGETS", ioctl(master, TCGETS, modes));
	dump("modes of the kernel's size", modes, 36);
	modes->c_lflag &= ~(tcflag_t)ECHO;
	CALL("TCSETS", ioctl(master, TCSETS, modes));
	memset(modes, 0, sizeof(*modes));
	CALL("TCGETS", ioctl(master, TCGETS, modes));
	say("echo %d", (modes->c_lflag & ECHO) != 0);
	CALL("tcgetattr", tcgetattr(master, modes));
	CALL("TIOCGPGRP of another's terminal", ioctl(master, TIOCGPGRP, number));
	close(master);
}

/* The structure has a pointer in it. */
static void ioctl_nested(void)
{
	struct ifconf *list = EVICTED(struct ifconf);
	struct ifreq *requests = EVICTED_ARRAY(struct ifreq, 64), *one = EVICTED(struct ifreq);
	int peer = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
	list->ifc_len = (int)(sizeof(struct ifreq) * 64);
	list->ifc_req = requests;
	CALL("SIOCGIFCONF", ioctl(peer, SIOCGIFCONF, list));
	dump("list", requests, (size_t)list->ifc_len);
	list->ifc_req = NULL;
	CALL("SIOCGIFCONF for the length", ioctl(peer, SIOCGIFCONF, list));
	say("length %d", list->ifc_len);
	strcpy(one->ifr_name, "lo");
	CALL("SIOCGIFINDEX", ioctl(peer, SIOCGIFINDEX, one));
	say("index %d", one->ifr_ifindex);
	close(peer);
}

/* ---- Locks ----------------------------------------------------------------------------- */

static int lock_file;

static void hold_lock(void)
{
	static struct flock lock = { .l_type = F_WRLCK, .l_start = 100, .l_len = 50 };
	MUST(fcntl(lock_file, F_SETLK, &lock));
	raise(SIGSTOP);
}

static void lock_of_a_process(void)
{
	struct flock *lock = EVICTED(struct flock);
	int status;
	lock_file = make_file("file", 1000, 31);
	pid_t child = (pid_t)MUST(fork());
	if (child == 0) {
		hold_lock();
		_exit(0);
	}
	MUST(waitpid(child, &status, WUNTRACED));
	lock->l_type = F_WRLCK;
	CALL("F_GETLK", fcntl(lock_file, F_GETLK, lock));
	say("type %d, from %ld, length %ld", lock->l_type, (long)lock->l_start,
	    (long)lock->l_len);
	check("owner", lock->l_pid == child);
	*lock = (struct flock){ .l_type = F_RDLCK, .l_start = 120, .l_len = 1 };
	CALL("F_SETLK of what is locked", fcntl(lock_file, F_SETLK, lock));
	lock->l_start = 10;
	CALL("F_SETLK elsewhere", fcntl(lock_file, F_SETLK, lock));
	lock->l_type = 77;
	CALL("F_SETLK of an unknown type", fcntl(lock_file, F_SETLK, lock));
	kill(child, SIGCONT);
	*lock = (struct flock){ .l_type = F_RDLCK, .l_start = 120, .l_len = 1 };
	CALL("F_SETLKW", fcntl(lock_file, F_SETLKW, lock));
	MUST(waitpid(child, &status, 0));
	close(lock_file);
	MUST(unlink("file"));
}

static void lock_of_a_description(void)
{
	struct flock *lock = EVICTED(struct flock);
	int first = make_file("file", 1000, 32);
	int second = (int)MUST(open("file", O_RDWR));
	lock->l_type = F_WRLCK;
	lock->l_start = 3;
	lock->l_len = 4;
	CALL("F_OFD_SETLK", fcntl(first, F_OFD_SETLK, lock));
	*lock = (struct flock){ .l_type = F_RDLCK };
	CALL("F_OFD_GETLK", fcntl(second, F_OFD_GETLK, lock));
	say("type %d, from %ld, length %ld, owner %d", lock->l_type, (long)lock->l_start,
	    (long)lock->l_len, lock->l_pid);
	lock->l_pid = 0;
	CALL("F_OFD_SETLK of what is locked", fcntl(second, F_OFD_SETLK, lock));
	close(first);
	close(second);
	MUST(unlink("file"));
}

static void fcntl_owner(void)
{
	struct f_owner_ex *owner = EVICTED(struct f_owner_ex);
	uint64_t *hint = EVICTED(uint64_t);
	int file = make_file("file", 10, 33), ends[2];
	MUST(pipe(ends));
	owner->type = F_OWNER_PID;
	owner->pid = getpid();
	CALL("F_SETOWN_EX", fcntl(ends[0], F_SETOWN_EX, owner));
	memset(owner, 0, sizeof(*owner));
	CALL("F_GETOWN_EX", fcntl(ends[0], F_GETOWN_EX, owner));
	check("owner", owner->type == F_OWNER_PID && owner->pid == getpid());
	*hint = 2;
	CALL("F_SET_RW_HINT", fcntl(file, F_SET_RW_HINT, hint));
	*hint = 0;
	CALL("F_GET_RW_HINT", fcntl(file, F_GET_RW_HINT, hint));
	say("hint %llu", (unsigned long long)*hint);
	close(ends[0]);
	close(ends[1]);
	close(file);
	MUST(unlink("file"));
}

/* ---- Descriptors that are made, or carry structures ------------------------------------ */

static void pipe2_array(void)
{
	int *ends = evicted_copy((int[]){ -1, -1 }, 2 * sizeof(int));
	int before = count_descriptors();
	CALL("pipe2", pipe2(ends, O_CLOEXEC));
	check("two descriptors", ends[0] >= 0 && ends[1] == ends[0] + 1 &&
	                                 fcntl(ends[0], F_GETFD) == FD_CLOEXEC);
	close(ends[0]);
	close(ends[1]);
	CALL("pipe", pipe(ends));
	close(ends[0]);
	close(ends[1]);
	CALL("pipe2 with unknown flags", pipe2(ends, 0x1234));
	CALL("pipe2 to a bad address", pipe2(unmapped(), 0));
	say("descriptors left: %d", count_descriptors() - before);
}

static void socketpair_array(void)
{
	int *ends = evicted_copy((int[]){ -1, -1 }, 2 * sizeof(int));
	int before = count_descriptors();
	CALL("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
	check("two descriptors", ends[0] >= 0 && ends[1] >= 0 && ends[1] != ends[0]);
	close(ends[0]);
	close(ends[1]);
	CALL("socketpair of an unknown family", socketpair(999, SOCK_STREAM, 0, ends));
	CALL("socketpair to a bad address",
	     socketpair(AF_UNIX, SOCK_STREAM, 0, unmapped()));
	say("descriptors left: %d", count_descriptors() - before);
}

static void eventfd_value(void)
{
	uint64_t *value = EVICTED(uint64_t);
	int event = (int)MUST(eventfd(3, EFD_NONBLOCK));
	*value = 39;
	CALL("write", write(event, value, 8));
	*value = 0;
	CALL("read", read(event, value, 8));
	say("value %llu", (unsigned long long)*value);
	CALL("read of nothing", read(event, value, 8));
	CALL("read of 7 bytes", read(event, value, 7));
	*value = UINT64_MAX;
	CALL("write of too much", write(event, value, 8));
	close(event);
}

static void inotify_events(void)
{
	char *name = evicted_string("watched"), *buffer = evicted(1000);
	const struct inotify_event *event;
	int file, notify = (int)MUST(inotify_init1(IN_NONBLOCK));
	MUST(mkdir("watched", 0755));
	CALL("inotify_add_watch", inotify_add_watch(notify, name, IN_CREATE | IN_DELETE));
	file = make_file("watched/with a longer name", 10, 34);
	close(file);
	MUST(unlink("watched/with a longer name"));
	CALL("read with little room", read(notify, buffer, 20));
	long got = CALL("read", read(notify, buffer, 1000));
	for (long at = 0; at < got; at += (long)sizeof(*event) + event->len) {
		event = (void *)(buffer + at);
		say("mask %x, name %s", event->mask, event->name);
	}
	dump("after them", buffer + (got > 0 ? got : 0), 100);
	MUST(rmdir("watched"));
	close(notify);
}

static void memfd_name(void)
{
	char *name = evicted_string("a name for memory"), *link = evicted(200);
	char path[64];
	int file = (int)CALL_OPAQUE("memfd_create", memfd_create(name, MFD_CLOEXEC));
	if (file < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	long length = CALL("readlink", readlink(path, link, 200));
	say("%.*s", (int)length, link);
	close(file);
}

/* Descriptors that belong to nobody but upage are not there, however a program looks for them. */
static void listing_of_descriptors(void)
{
	const struct dirent64 *entry;
	char *buffer = evicted(8192), *path = evicted_string("/proc/self/fd");
	int directory = (int)CALL_OPAQUE("open", open(path, O_RDONLY | O_DIRECTORY));
	long got;
	int listed = 0, open_ones = 0, states = 0, copies = 0;
	struct stat status;
	while ((got = CALL_OPAQUE("getdents64", syscall(SYS_getdents64, directory, buffer, 8192))) > 0)
		for (long at = 0; at < got; at += entry->d_reclen) {
			entry = (const void *)(buffer + at);
			listed += entry->d_name[0] != '.' && atoi(entry->d_name) != directory;
		}
	close(directory);
	for (int fd = 0; fd < 8192; fd++) {
		int copy = dup(fd);
		open_ones += fcntl(fd, F_GETFD) >= 0;
		states += fstat(fd, &status) == 0;
		copies += copy >= 0;
		close(copy);
	}
	say("%d open", open_ones);
	check("all are listed", listed == open_ones);
	check("they have states", states == open_ones);
	check("they can be copied", copies == open_ones);
}

const struct call_case descriptor_cases[] = {
	CASE(fstat_file),
	CASE(ioctl_fionread),
	CASE(ioctl_terminal),
	CASE(ioctl_nested),
	CASE(lock_of_a_process),
	CASE(lock_of_a_description),
	CASE(fcntl_owner),
	CASE(pipe2_array),
	CASE(socketpair_array),
	CASE(eventfd_value),
	CASE(inotify_events),
	CASE(memfd_name),
	CASE(listing_of_descriptors),
	{ 0 },
};
