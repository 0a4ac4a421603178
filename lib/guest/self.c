/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "self.h"

#include <fcntl.h>
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
		if (*path++ != '/' ||
		    (number != syscall_1(SYS_getpid, 0) && number != syscall_1(SYS_gettid, 0)))
			return NULL;
	}
	if (strncmp(path, "task/", 5) != 0)
		return path;
	const char *name = path + 5;
	bool thread = number_of(&name) == syscall_1(SYS_gettid, 0);
	return thread && *name == '/' ? name + 1 : path;
}

/* ---- The program's file ---------------------------------------------------------------------- */

static _Atomic int program_file = -1;

void self_begin(int descriptor)
{
	if (host_keep(&program_file, descriptor) < 0)
		atomic_store(&program_file, -1);
}

void self_name(char *name)
{
	program_link(name, "/proc/self/fd/", atomic_load(&program_file));
}

static bool is_program(const char *name)
{
	return name != NULL && strcmp(name, "exe") == 0 && atomic_load(&program_file) >= 0;
}

bool self_is_program(const char *path)
{
	return is_program(name_in_self(path));
}

/* ---- What it is told of its memory ------------------------------------------------------------ */

/* One as a file: as in /proc, what is read is of the time when it was begun. */
static long open_proc(struct guest_call *call, proc_writer *writer, const char *name, int flags)
{
	char *text = guest_buffer(call, 4096), *scratch = guest_buffer(call, PROC_SCRATCH);
	if (text == NULL || scratch == NULL)
		return -ENOMEM;
	if (flags & (O_WRONLY | O_RDWR))
		return -EACCES;
	long file = syscall_2(SYS_memfd_create, name, flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
	if (file < 0)
		return file;
	struct stream stream = { .text = text, .size = 4096, .descriptor = (int)file };
	int result = writer(&stream, scratch);
	if (result == 0)
		result = stream_end(&stream);
	if (result < 0) {
		syscall_1(SYS_close, file);
		return result;
	}
	syscall_3(SYS_lseek, file, 0, SEEK_SET);
	return file;
}

#define NAME_MOST 64 /* bytes of any of the names that are ours to answer */

bool self_answer(struct guest_call *call, const struct guest_entry *entry, long *result)
{
	bool opens = call->number == SYS_open || call->number == SYS_openat;
	for (unsigned i = 0; i < 6; i++) {
		long *argument = &call->argument[i];
		char path[NAME_MOST];
		if (entry->argument[i].kind != GUEST_STRING || *argument == 0 ||
		    guest_copy_string(path, (const char *)*argument, sizeof(path)) < 0)
			continue;
		const char *name = name_in_self(path);
		proc_writer *writer = name != NULL && opens ? proc_find(name) : NULL;
		if (writer != NULL) {
			*result = open_proc(call, writer, name, (int)argument[1]);
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
