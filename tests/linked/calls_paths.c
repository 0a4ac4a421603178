/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_paths.c - cases of calls.c: names of files
 */
#include "calls.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

static void open_paths(void)
{
	char *name = evicted_string("a file"), *absent = evicted_string("absent/file");
	int before = count_descriptors();
	int file = (int)CALL_OPAQUE("open to create", open(name, O_RDWR | O_CREAT, 0640));
	close(file);
	file = (int)CALL_OPAQUE("openat", openat(AT_FDCWD, name, O_RDONLY));
	close(file);
	CALL("open of an existing one, exclusively", open(name, O_CREAT | O_EXCL, 0600));
	CALL("open of an absent one", open(absent, O_RDONLY));
	CALL("open of a file as a directory", open(name, O_DIRECTORY));
	CALL("openat in a bad descriptor", openat(-5, name, O_RDONLY));
	file = (int)CALL_OPAQUE("creat", creat(name, 0600));
	close(file);
	say("descriptors left: %d", count_descriptors() - before);
	CALL("unlink", unlink(name));
}

static void openat2_structure(void)
{
	struct open_how *how = evicted_zero(sizeof(*how) + 16);
	char *name = evicted_string("made by openat2");
	how->flags = O_CREAT | O_RDWR;
	how->mode = 0604;
	int file = (int)CALL_OPAQUE("openat2", syscall(SYS_openat2, AT_FDCWD, name, how,
	                                               sizeof(*how)));
	if (file >= 0)
		close(file);
	long larger = CALL_OPAQUE("with a larger structure",
	                          syscall(SYS_openat2, AT_FDCWD, name, how, sizeof(*how) + 16));
	if (larger >= 0)
		close((int)larger);
	((char *)how)[sizeof(*how) + 3] = 1;
	CALL("that is not zero", syscall(SYS_openat2, AT_FDCWD, name, how, sizeof(*how) + 16));
	CALL("with too small a one", syscall(SYS_openat2, AT_FDCWD, name, how, 8));
	how->resolve = 1u << 30;
	CALL("with an unknown bit", syscall(SYS_openat2, AT_FDCWD, name, how, sizeof(*how)));
	CALL("unlink", unlink(name));
}

/* "./././...//name", of a length. */
static char *path_of(size_t length)
{
	static char text[6000];
	memset(text, '/', length);
	for (size_t i = 0; i < length - 7; i += 2)
		text[i] = '.';
	memcpy(text + length - 4, "name", 5);
	return evicted_string(text);
}

static void long_paths(void)
{
	char text[301];
	/* As long as may be, and a byte more. */
	char *longest = path_of(PATH_MAX - 1), *too_long = path_of(PATH_MAX);
	memset(text, 'n', 300);
	text[300] = 0;
	char *long_name = evicted_string(text);
	int file = make_file("name", 10, 40);
	say("lengths %zu and %zu", strlen(longest), strlen(too_long));
	CALL("access of the longest path", access(longest, R_OK));
	CALL("access of too long a path", access(too_long, R_OK));
	CALL("access of too long a name", access(long_name, R_OK));
	CALL("access of no name", access(evicted_string(""), R_OK));
	close(file);
	MUST(unlink("name"));
}

static void bad_paths(void)
{
	char *unended = evicted_edge(20), *ended = evicted_edge(5);
	memset(unended, 'u', 20);
	memcpy(ended, "name", 5);
	CALL("a path that runs into nothing", access(unended, R_OK));
	CALL("a path that ends just before", access(ended, R_OK));
	CALL("a path that is not there", access(unmapped(), R_OK));
	CALL("a bad pointer", access(BAD, R_OK));
	CALL("the kernel's memory", access(KERNEL, R_OK));
	CALL("NULL", syscall(SYS_access, NULL, R_OK));
	CALL("rename with a bad first", rename(BAD, ended));
	CALL("rename with a bad second", rename(ended, BAD));
	CALL("a bad descriptor and a bad path", openat(-7, BAD, O_RDONLY));
	CALL("bad flags and a bad path", unlinkat(AT_FDCWD, BAD, 0x100000));
	CALL("readlink into nothing", readlink(ended, BAD, 10));
	CALL("readlink of -1 bytes", syscall(SYS_readlink, ended, BAD, -1L));
	CALL("readlink of a bad path", readlink(unended, BAD, 10));
	CALL("getcwd into nothing", syscall(SYS_getcwd, unmapped(), 4096L));
	CALL("getcwd of no length", syscall(SYS_getcwd, ended, 0L));
}

static void links(void)
{
	char *first = evicted_string("first"), *second = evicted_string("second"),
	     *third = evicted_string("third"), *target = evicted_string("where/it/leads/to");
	char *buffer = evicted(100);
	close(make_file("first", 10, 41));
	CALL("link", link(first, second));
	CALL("link again", link(first, second));
	CALL("rename", rename(second, third));
	CALL("rename of an absent one", rename(second, third));
	CALL("symlink", symlink(target, second));
	long length = CALL("readlink", readlink(second, buffer, 100));
	dump("buffer", buffer, 100);
	CALL("readlink with little room", readlink(second, buffer + 50, 5));
	dump("buffer", buffer, 100);
	CALL("readlink of a file", readlink(third, buffer, 100));
	say("length %ld", length);
	CALL("renameat2 in exchange",
	     renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE));
	CALL("readlinkat", readlinkat(AT_FDCWD, first, buffer, 100));
	CALL("unlink", unlink(first));
	CALL("unlinkat", unlinkat(AT_FDCWD, second, 0));
	CALL("linkat and unlink", linkat(AT_FDCWD, third, AT_FDCWD, first, 0));
	CALL("unlink", unlink(first));
	CALL("unlink", unlink(third));
}

static void directories(void)
{
	char *name = evicted_string("directory"), *buffer = evicted(PATH_MAX);
	char *up = evicted_string("..");
	static char start[PATH_MAX];
	MUST_BE(getcwd(start, sizeof(start)) != NULL);
	CALL("mkdir", mkdir(name, 0711));
	CALL("mkdir again", mkdir(name, 0711));
	CALL("chdir", chdir(name));
	long length = CALL_OPAQUE("getcwd", syscall(SYS_getcwd, buffer, PATH_MAX));
	check("the directory", length == (long)strlen(start) + 11 &&
	                               strncmp(buffer, start, strlen(start)) == 0 &&
	                               strcmp(buffer + strlen(start), "/directory") == 0);
	CALL("getcwd with little room", syscall(SYS_getcwd, buffer, 3L));
	push_out();
	check("getcwd of the C library", getcwd(buffer, PATH_MAX) == buffer);
	CALL("chdir", chdir(up));
	CALL("rmdir", rmdir(name));
	CALL("rmdir again", rmdir(name));
}

static void stat_paths(void)
{
	struct stat *status = EVICTED(struct stat);
	struct statx *extended = EVICTED(struct statx);
	struct statfs *system = EVICTED(struct statfs);
	char *name = evicted_string("file"), *alias = evicted_string("alias");
	char *empty = evicted_string("");
	close(make_file("file", 4321, 42));
	MUST(symlink("file", "alias"));
	CALL("stat", stat(alias, status));
	say("size %ld, mode %o", (long)status->st_size, status->st_mode);
	CALL("lstat", lstat(alias, status));
	say("size %ld, mode %o", (long)status->st_size, status->st_mode);
	CALL("fstatat", fstatat(AT_FDCWD, alias, status, AT_SYMLINK_NOFOLLOW));
	CALL("stat of an absent one", stat(empty, status));
	CALL("statx", statx(AT_FDCWD, name, 0, STATX_BASIC_STATS, extended));
	say("size %ld, mode %o, links %u", (long)extended->stx_size, extended->stx_mode,
	    extended->stx_nlink);
	CALL("statx of a descriptor", statx(1, empty, AT_EMPTY_PATH, STATX_TYPE, extended));
	CALL("statfs", statfs(name, system));
	say("blocks of %ld, names of %ld", (long)system->f_bsize, (long)system->f_namelen);
	CALL("stat into nothing", syscall(SYS_stat, name, unmapped()));
	CALL("stat of an absent one into nothing", syscall(SYS_stat, empty, unmapped()));
	MUST(unlink("alias"));
	MUST(unlink("file"));
}

static void change_files(void)
{
	struct stat status;
	char *name = evicted_string("file");
	struct timespec *times = EVICTED_ARRAY(struct timespec, 2);
	struct timeval *old_times = EVICTED_ARRAY(struct timeval, 2);
	close(make_file("file", 4321, 43));
	CALL("chmod", chmod(name, 0604));
	CALL("access", access(name, F_OK));
	CALL("faccessat", faccessat(AT_FDCWD, name, R_OK, AT_EACCESS));
	CALL("chown", chown(name, (uid_t)-1, (gid_t)-1));
	CALL("truncate", truncate(name, 99));
	CALL("truncate to -1", truncate(name, -1));
	times[0].tv_sec = 1000000;
	times[1].tv_sec = 2000000;
	times[1].tv_nsec = 500000000;
	CALL("utimensat", utimensat(AT_FDCWD, name, times, 0));
	MUST(stat("file", &status));
	say("size %ld, mode %o, times %ld and %ld.%09ld", (long)status.st_size, status.st_mode,
	    (long)status.st_atime, (long)status.st_mtime, (long)status.st_mtim.tv_nsec);
	old_times[1].tv_sec = 3000000;
	CALL("utimes", syscall(SYS_utimes, name, old_times));
	MUST(stat("file", &status));
	say("time %ld", (long)status.st_mtime);
	times[1].tv_nsec = 2000000000;
	CALL("utimensat with a bad time", utimensat(AT_FDCWD, name, times, 0));
	CALL("utimensat with the time of day", utimensat(AT_FDCWD, name, NULL, 0));
	CALL("unlink", unlink(name));
	CALL("mknod of a FIFO", mknod(name, S_IFIFO | 0600, 0));
	CALL("unlink", unlink(name));
}

static void extended_attributes(void)
{
	char *file = evicted_string("file"), *name = evicted_string("user.upage"),
	     *value = evicted(3000), *buffer = evicted(4000);
	int descriptor = make_file("file", 10, 44);
	fill(value, 3000, 45);
	if (CALL("setxattr", setxattr(file, name, value, 1000, 0)) == 0) {
		CALL("setxattr of a new one", setxattr(file, name, value, 10, XATTR_CREATE));
		CALL("getxattr for the length", getxattr(file, name, NULL, 0));
		CALL("getxattr", getxattr(file, name, buffer, 4000));
		dump("buffer", buffer, 4000);
		CALL("getxattr with little room", getxattr(file, name, buffer, 10));
		CALL("fsetxattr", fsetxattr(descriptor, name, value + 1000, 20, XATTR_REPLACE));
		CALL("fgetxattr", fgetxattr(descriptor, name, buffer, 4000));
		dump("buffer", buffer, 30);
		memset(buffer, 0x5a, 4000);
		CALL("listxattr", listxattr(file, buffer, 4000));
		dump("buffer", buffer, 30);
		CALL("removexattr", removexattr(file, name));
		CALL("lgetxattr of an absent one", lgetxattr(file, name, buffer, 4000));
	}
	close(descriptor);
	MUST(unlink("file"));
}

/* What the C library makes of paths, in memory of its own. */
static void library_paths(void)
{
	static char start[PATH_MAX];
	char *name = evicted_string("./directory/../directory/.");
	MUST(mkdir("directory", 0700));
	MUST_BE(getcwd(start, sizeof(start)) != NULL);
	push_out();
	char *real = realpath(name, NULL);
	check("realpath", real && strncmp(real, start, strlen(start)) == 0 &&
	                          strcmp(real + strlen(start), "/directory") == 0);
	free(real);
	char *made = getcwd(NULL, 0);
	check("getcwd", made && strcmp(made, start) == 0);
	free(made);
	char *template = evicted_string("temporary-XXXXXX");
	int file = (int)CALL_OPAQUE("mkstemp", mkstemp(template));
	close(file);
	CALL("unlink", unlink(template));
	MUST(rmdir("directory"));
}

const struct call_case path_cases[] = {
	CASE(open_paths),
	CASE(openat2_structure),
	CASE(long_paths),
	EASY_CASE(bad_paths),
	CASE(links),
	CASE(directories),
	CASE(stat_paths),
	CASE(change_files),
	CASE(extended_attributes),
	CASE(library_paths),
	{ 0 },
};
