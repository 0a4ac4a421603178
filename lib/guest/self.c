/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "self.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include "host.h"
#include "print.h"
#include "proc.h"
#include "program.h"
#include "syscall.h"
#include "table.h"
#include "whole.h"

static long number_of(const char **path)
{
	long number = 0;
	while (**path >= '0' && **path <= '9' && number < 1 << 24)
		number = number * 10 + (*(*path)++ - '0');
	return number;
}

static bool is_own(long number)
{
	long process = syscall_1(SYS_getpid, 0);
	return number == process || syscall_3(SYS_tgkill, process, number, 0) == 0;
}

/* The part of @path behind "/proc/self/", under any name that this process or a thread of it has
 * there; or NULL. */
static const char *name_in_self(const char *path)
{
	if (strncmp(path, "/proc/", 6) != 0)
		return NULL;
	path += 6;
	if (strncmp(path, "self/", 5) == 0) {
		path += 5;
	} else if (strncmp(path, "thread-self/", 12) == 0) {
		path += 12;
	} else {
		long number = number_of(&path);
		if (*path++ != '/' || !is_own(number))
			return NULL;
	}
	if (strncmp(path, "task/", 5) != 0)
		return path;
	const char *name = path + 5;
	long number = number_of(&name);
	return *name == '/' && is_own(number) ? name + 1 : path;
}

#define NAME_MOST 64 /* bytes of any of the names that are ours to answer */

static bool is_special(const char *name)
{
	bool begins = *name == 'a' || *name == 'e' || *name == 'm' || *name == 's'; /* as they all do */
	return begins && (strcmp(name, "exe") == 0 || proc_find(name) != NULL);
}

/* Replaces a path by that which the kernel has for its directory, followed by its last part. */
static bool resolve(int directory, char path[NAME_MOST], const char *name)
{
	char parent[NAME_MOST] = ".", link[PROGRAM_LINK], whole[NAME_MOST];
	size_t bytes = (size_t)(name - path), last = strlen(name) + 1;
	if (bytes > 0) {
		memcpy(parent, path, bytes);
		parent[bytes] = '\0';
	}
	int file = host_descriptor(SYS_openat, directory, (long)parent, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (file < 0)
		return false;
	program_link(link, "/proc/self/fd/", file);
	long length = syscall_3(SYS_readlink, link, whole, sizeof(whole));
	syscall_1(SYS_close, file);
	if (length <= 0 || (size_t)length + 1 + last > sizeof(whole))
		return false;
	whole[length] = '/';
	memcpy(whole + length + 1, name, last);
	memcpy(path, whole, sizeof(whole));
	return true;
}

/* The name in /proc/self of what @path from @directory leads to, if that is ours to answer; then @path
 * is one by which the kernel has it. NULL: it is not, which costs no system call where the last part is
 * not called so, nor where the way to it cannot lead there, but for links. */
static const char *special_name(int directory, char path[NAME_MOST], size_t length)
{
	const char *name = path + length;
	while (name > path && name[-1] != '/')
		name--;
	if (!is_special(name))
		return NULL;
	const char *found = name_in_self(path);
	if (found != NULL && is_special(found))
		return found;
	if (path[0] == '/' && strstr(path, "proc") == NULL && strstr(path, "..") == NULL)
		return NULL;
	found = resolve(directory, path, name) ? name_in_self(path) : NULL;
	return found != NULL && is_special(found) ? found : NULL;
}

/* ---- The program's file ---------------------------------------------------------------------- */

static _Atomic int program_file = -1;

void self_begin(int descriptor)
{
	if (host_keep(&program_file, descriptor) < 0)
		atomic_store(&program_file, -1);
}

int self_file(void)
{
	return atomic_load(&program_file);
}

void self_name(char *name)
{
	program_link(name, "/proc/self/fd/", atomic_load(&program_file));
}

static bool is_program(const char *name)
{
	return name != NULL && strcmp(name, "exe") == 0 && atomic_load(&program_file) >= 0;
}

bool self_is_program(int directory, const char *path)
{
	char copy[NAME_MOST];
	size_t length = strlen(path);
	if (length >= sizeof(copy))
		return false;
	return is_program(special_name(directory, strcpy(copy, path), length));
}

/* ---- What it is told of its memory ------------------------------------------------------------ */

/* One as a file: as in /proc, what is read is of the time when it was begun. */
static long open_proc(struct guest_call *call, const char *path, const char *name, int flags)
{
	char *text = guest_buffer(call, 4096), *scratch = guest_buffer(call, PROC_SCRATCH);
	if (text == NULL || scratch == NULL)
		return -ENOMEM;
	/* The kernel finds the errors; root may open it for writing, which leads to nothing, and for both. */
	long file = syscall_4(SYS_openat, AT_FDCWD, (long)path, flags, 0);
	if (file < 0 || (flags & O_ACCMODE) == O_WRONLY)
		return file;
	syscall_1(SYS_close, file);
	file = syscall_2(SYS_memfd_create, name, flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
	if (file < 0)
		return file;
	struct stream stream = { .text = text, .size = 4096, .descriptor = (int)file };
	int result = proc_find(name)(&stream, path, scratch);
	if (result == 0)
		result = stream_end(&stream);
	if (result < 0) {
		syscall_1(SYS_close, file);
		return result;
	}
	syscall_3(SYS_lseek, file, 0, SEEK_SET);
	return file;
}

/* Whether a call opens what it has a path of, to look into it; @flags are behind that. */
static bool opens(const struct guest_call *call, long *flags)
{
	struct {
		uint64_t flags, mode, resolve;
	} how;
	if (call->number == SYS_openat2) {
		/* What is wrong with these the kernel says. */
		if ((unsigned long)call->argument[3] < sizeof(how) ||
		    guest_copy_in(&how, (const void *)*flags, sizeof(how)) != 0 || how.resolve != 0 ||
		    how.mode != 0 || how.flags > INT_MAX)
			return false;
		*flags = (long)how.flags;
	} else if (call->number != SYS_open && call->number != SYS_openat) {
		return false;
	}
	return !(*flags & O_PATH);
}

/* What a path among the arguments begins at. */
static int directory_of(const struct guest_call *call, const struct guest_entry *entry, unsigned at)
{
	return at > 0 && entry->argument[at - 1].kind == GUEST_VALUE ? (int)call->argument[at - 1] : AT_FDCWD;
}

bool self_answer(struct guest_call *call, const struct guest_entry *entry, long *result)
{
	/* A link says what it is told. */
	bool links = call->number == SYS_symlink || call->number == SYS_symlinkat;
	for (unsigned i = links ? 1 : 0; i < 6; i++) {
		long *argument = &call->argument[i];
		char path[NAME_MOST];
		if (entry->argument[i].kind != GUEST_STRING || *argument == 0)
			continue;
		long length = guest_copy_string(path, (const char *)*argument, sizeof(path));
		if (length < 0)
			continue;
		const char *name = special_name(directory_of(call, entry, i), path, (size_t)length);
		long flags = i < 5 ? argument[1] : 0;
		if (name == NULL)
			continue;
		if (proc_find(name) != NULL && opens(call, &flags)) {
			*result = open_proc(call, path, name, (int)flags);
			return true;
		}
		char *link = is_program(name) ? guest_buffer(call, PROGRAM_LINK) : NULL;
		if (link != NULL) {
			self_name(link);
			*argument = (long)link;
		}
	}
	return false;
}
