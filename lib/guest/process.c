/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * process.c - execve(2) and exit_group(2)
 *
 * Signal context: all, on a region's stack.
 */
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handlers.h"
#include "report.h"
#include "self.h"
#include "signal.h"
#include "syscall.h"
#include "table.h"
#include "whole.h"

/* ---- execve: all that it reads is copied --------------------------------------------------- */

#define STRINGS_FIRST ((size_t)128 << 10)
#define STRINGS_MOST ((size_t)16 << 20) /* the kernel refuses 6 MiB */

/* Pointers from the bottom of a piece of memory up, strings from its top down. */
struct strings {
	char *memory, *top;
	size_t used; /* bytes at the bottom */
};

enum copied { COPIED, COPIED_NOT, COPIED_NO_ROOM };

static size_t room(const struct strings *to)
{
	return (size_t)(to->top - to->memory) - to->used;
}

static enum copied copy_text(struct strings *to, const char *text, char **copy)
{
	/* Where it ends is known once it is there. */
	char *start = to->memory + to->used;
	long length = guest_copy_string(start, text, room(to));
	if (length < 0)
		return length == -EFAULT ? COPIED_NOT : COPIED_NO_ROOM;
	to->top -= length + 1;
	memmove(to->top, start, (size_t)length + 1);
	*copy = to->top;
	return COPIED;
}

/* An array of strings. Its pointers are set aside first: the strings pass over what follows. */
static enum copied copy_vector(struct strings *to, char *const *theirs, char ***copy)
{
	if (theirs == NULL) {
		*copy = NULL;
		return COPIED;
	}
	size_t count = 0;
	char **ours = (char **)(void *)(to->memory + to->used);
	do {
		if (room(to) < (count + 2) * sizeof(*ours))
			return COPIED_NO_ROOM;
		if (guest_copy_in(&ours[count], &theirs[count], sizeof(*ours)) != 0)
			return COPIED_NOT;
	} while (ours[count++] != NULL);
	to->used += count * sizeof(*ours);
	for (size_t i = 0; i + 1 < count; i++) {
		enum copied result = copy_text(to, ours[i], &ours[i]);
		if (result != COPIED)
			return result;
	}
	*copy = ours;
	return COPIED;
}

/* Each of the three that cannot be read is handed on as it is, for the kernel to complain of. */
static bool copy_all(struct strings *to, long *path, long *arguments, long *environment)
{
	char *text = NULL;
	char **vector = NULL;
	enum copied result = copy_text(to, (const char *)*path, &text);
	if (result == COPIED)
		*path = (long)text;
	else if (result == COPIED_NO_ROOM)
		return false;
	long *words[2] = { arguments, environment };
	for (int i = 0; i < 2; i++) {
		result = copy_vector(to, (char *const *)*words[i], &vector);
		if (result == COPIED)
			*words[i] = (long)vector;
		else if (result == COPIED_NO_ROOM)
			return false;
	}
	return true;
}

#define SCRIPT_LINE 256
#define SCRIPTS_MOST 5

/* The interpreter that the first line of a script names, in that line; or NULL. */
static char *interpreter_of(char *line)
{
	char *name = line + 2;
	while (*name == ' ' || *name == '\t')
		name++;
	char *end = name;
	while (*end != ' ' && *end != '\t' && *end != '\n' && *end != '\0')
		end++;
	*end = '\0';
	return end > name ? name : NULL;
}

/* Whether the program at @path can be run by this command, with the kernel's errors; 1: it is
 * set-uid, and the kernel's to run. */
static long check_program(int directory, const char *path, long flags, int depth)
{
	char head[SCRIPT_LINE];
	struct stat status;
	long at_flags = flags & (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
	long result = syscall_4(SYS_newfstatat, directory, path, &status, at_flags);
	if (result < 0)
		return result;
	if (!S_ISREG(status.st_mode))
		return -EACCES;
	result = syscall_4(SYS_faccessat2, directory, path, X_OK, at_flags | AT_EACCESS);
	if (result < 0 && result != -ENOSYS)
		return result;
	if (status.st_mode & (S_ISUID | S_ISGID) && syscall_1(SYS_geteuid, 0) != 0)
		return 1;
	long file = flags & AT_EMPTY_PATH && path[0] == '\0'
	                    ? syscall_3(SYS_fcntl, directory, F_DUPFD_CLOEXEC, 0)
	                    : syscall_4(SYS_openat, directory, path, O_RDONLY | O_CLOEXEC, 0);
	if (file < 0)
		return file;
	long n = syscall_4(SYS_pread64, file, head, sizeof(head) - 1, 0);
	syscall_1(SYS_close, file);
	head[n > 0 ? n : 0] = '\0';
	if (n >= 2 && head[0] == '#' && head[1] == '!') {
		const char *interpreter = interpreter_of(head);
		if (interpreter == NULL)
			return -ENOEXEC;
		return depth == SCRIPTS_MOST ? -ELOOP
		                             : check_program(AT_FDCWD, interpreter, 0, depth + 1);
	}
	bool is_elf = n >= 20 && memcmp(head, ELFMAG, SELFMAG) == 0;
	return is_elf && head[EI_CLASS] == ELFCLASS64 && head[18] == EM_X86_64 ? 0 : -ENOEXEC;
}

static void print_path(char *out, int descriptor)
{
	char digits[12];
	size_t at = sizeof(digits);
	digits[--at] = '\0';
	do
		digits[--at] = (char)('0' + descriptor % 10);
	while ((descriptor /= 10) > 0);
	memcpy(out, "/proc/self/fd/", 14);
	memcpy(out + 14, digits + at, sizeof(digits) - at);
}

/* execve of @path by this command: its words, the program's name for itself, the program. */
static long exec_whole(struct guest_call *call, int directory, char *path, char **arguments,
                       long environment, long flags)
{
	static const char *const none[] = { "", NULL };
	size_t count = 0, words = 0, at = 0, length = strlen(path);
	if (arguments == NULL || arguments[0] == NULL)
		arguments = (char **)(uintptr_t)none;
	while (arguments[count] != NULL)
		count++;
	while (whole_words[words] != NULL)
		words++;
	char *name = guest_buffer(call, length + 64);
	const char **vector = guest_buffer(call, (words + count + 4) * sizeof(*vector));
	if (name == NULL || vector == NULL)
		return -ENOMEM;
	/* A path below a directory's descriptor: by way of /proc. */
	if (directory != AT_FDCWD && path[0] != '/') {
		print_path(name, directory);
		size_t end = strlen(name);
		if (length > 0)
			name[end++] = '/';
		memcpy(name + end, path, length + 1);
		path = name;
	}
	(void)flags;
	for (size_t i = 0; i < words; i++)
		vector[at++] = whole_words[i];
	vector[at++] = arguments[0];
	vector[at++] = path;
	for (size_t i = 1; i < count; i++)
		vector[at++] = arguments[i];
	vector[at] = NULL;
	return guest_execute(call, SYS_execve, (long)whole_command, (long)vector, environment, 0, 0, 0);
}

/* @at: which argument is the path; its vectors follow. */
static long exec(struct guest_call *call, unsigned at)
{
	long words[6];
	for (size_t bytes = STRINGS_FIRST;; bytes *= 4) {
		struct strings strings = { .memory = guest_buffer(call, bytes) };
		if (strings.memory == NULL)
			return -ENOMEM;
		strings.top = strings.memory + bytes;
		memcpy(words, call->argument, sizeof(words));
		if (copy_all(&strings, &words[at], &words[at + 1], &words[at + 2]))
			break;
		if (bytes >= STRINGS_MOST)
			return -E2BIG;
	}
	bool copied = words[at] != call->argument[at] &&
	              (call->argument[at + 1] == 0 || words[at + 1] != call->argument[at + 1]);
	int directory = at == 1 ? (int)words[0] : AT_FDCWD;
	long flags = at == 1 ? words[4] : 0, native = 0, result;
	if (whole_command != NULL && copied) {
		if (self_is_program((const char *)words[at]))
			words[at] = (long)whole_program;
		native = check_program(directory, (const char *)words[at], flags, 0);
		if (native < 0)
			return native;
	}
	guest_trace_begin();
	report_exec(true);
	guest_signal_exec_begin(call->thread, call->context);
	if (whole_command != NULL && copied && native == 0)
		result = exec_whole(call, directory, (char *)words[at], (char **)words[at + 1],
		                    words[at + 2], flags);
	else
		result = guest_execute(call, call->number, words[0], words[1], words[2], words[3],
		                       words[4], words[5]);
	guest_signal_exec_failed(call->thread);
	report_exec(false);
	return result;
}

long guest_execve(struct guest_call *call)
{
	return exec(call, 0);
}

long guest_execveat(struct guest_call *call)
{
	return exec(call, 1);
}

/* ---- The end ----------------------------------------------------------------------------------- */

long guest_exit_group(struct guest_call *call)
{
	guest_signal_hold();
	/* A vfork child is no end of the process whose memory it borrows. */
	if (!call->thread->borrows)
		report_exit();
	syscall_1(SYS_exit_group, call->argument[0]);
	return 0;
}
