/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "self.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include "host.h"
#include "print.h"
#include "program.h"
#include "syscall.h"
#include "table.h"
#include "whole.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

/* The part of @path behind "/proc/self/", under any name that this process has there; or NULL. */
static const char *name_in_self(const char *path)
{
	if (strncmp(path, "/proc/", 6) != 0)
		return NULL;
	path += 6;
	if (strncmp(path, "self/", 5) == 0)
		return path + 5;
	if (strncmp(path, "thread-self/", 12) == 0)
		return path + 12;
	long number = 0;
	while (*path >= '0' && *path <= '9' && number < 1 << 24)
		number = number * 10 + (*path++ - '0');
	bool ours = number != 0 && (number == syscall_1(SYS_getpid, 0) || number == syscall_1(SYS_gettid, 0));
	return ours && *path == '/' ? path + 1 : NULL;
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

bool self_is_program(const char *path)
{
	const char *name = name_in_self(path);
	return name != NULL && strcmp(name, "exe") == 0 && atomic_load(&program_file) >= 0;
}

#define NAME_MOST 64 /* bytes of any of the names that are ours to answer */

void self_redirect(struct guest_call *call, const struct guest_entry *entry)
{
	for (unsigned i = 0; i < 6; i++) {
		char path[NAME_MOST];
		const struct guest_argument *a = &entry->argument[i];
		if (a->kind != GUEST_STRING || call->argument[i] == 0 ||
		    guest_copy_string(path, (const char *)call->argument[i], sizeof(path)) < 0 ||
		    !self_is_program(path))
			continue;
		char *name = guest_buffer(call, PROGRAM_LINK);
		if (name == NULL)
			return;
		self_name(name);
		call->argument[i] = (long)name;
	}
}

/* ---- /proc/self/maps -------------------------------------------------------------------------- */

/* The list as a file: as in /proc, what is read is of the time when it was begun. */
static long open_maps(struct guest_call *call, int flags)
{
	char *text = guest_buffer(call, 4096);
	if (text == NULL)
		return -ENOMEM;
	if ((flags & O_ACCMODE) != O_RDONLY)
		return -EACCES;
	long file = syscall_2(SYS_memfd_create, "maps", flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
	if (file < 0)
		return file;
	struct stream stream = { .text = text, .size = 4096, .descriptor = (int)file };
	whole_list(&stream);
	int result = stream_end(&stream);
	if (result < 0) {
		syscall_1(SYS_close, file);
		return result;
	}
	syscall_3(SYS_lseek, file, 0, SEEK_SET);
	return file;
}

bool self_answer(struct guest_call *call, long *result)
{
	const long *a = call->argument;
	if (call->number != SYS_open && call->number != SYS_openat)
		return false;
	unsigned at = call->number == SYS_openat;
	char path[NAME_MOST];
	if (guest_copy_string(path, (const char *)a[at], sizeof(path)) < 0)
		return false;
	const char *name = name_in_self(path);
	if (name == NULL || strcmp(name, "maps") != 0)
		return false;
	*result = open_maps(call, (int)a[at + 1]);
	return true;
}
