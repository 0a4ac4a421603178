/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * process.c - execve(2) and exit_group(2)
 *
 * Signal context: all, on a region's stack.
 */
#include <string.h>

#include "handlers.h"
#include "report.h"
#include "signal.h"
#include "syscall.h"
#include "table.h"

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
	guest_trace_begin();
	report_exec(true);
	guest_signal_exec_begin(call->thread, call->context);
	long result = guest_execute(call, call->number, words[0], words[1], words[2], words[3],
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
