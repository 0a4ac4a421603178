/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * process.c - execve(2) and exit_group(2)
 *
 * Signal context: all, on a region's stack.
 */
#include "process.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gain.h"
#include "handlers.h"
#include "host.h"
#include "limit.h"
#include "print.h"
#include "program.h"
#include "report.h"
#include "self.h"
#include "signal.h"
#include "syscall.h"
#include "table.h"
#include "verbose.h"
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

/* ---- The successor ------------------------------------------------------------------------------ */

_Atomic int process_command = -1;
const char *const *process_words;

/* One execve under way: its words, all in our memory. */
struct execution {
	int directory, flags;
	const char *path;
	char **arguments;
	long environment;
	const char *file;        /* the path, or another to the same file for us     */
	char own[PROGRAM_LINK];
	const char *name;        /* what the kernel would call the program           */
	struct program *program;
	uint64_t stack_limit;    /* the program's, while another is set; RESUME_NONE */
};

/* As the kernel names what has no name from its root or working directory. */
static const char *name_of(struct guest_call *call, const struct execution *e)
{
	char *name = guest_buffer(call, PROGRAM_LINK + strlen(e->path) + 2);
	if (e->directory == AT_FDCWD || e->path[0] == '/' || name == NULL)
		return name != NULL ? e->path : NULL;
	char *end = program_link(name, "/dev/fd/", e->directory);
	if (e->path[0] != '\0') {
		*end++ = '/';
		memcpy(end, e->path, strlen(e->path) + 1);
	}
	return name;
}

/* Whether the path is that of a link to /proc/self/exe, which for the kernel is our command. */
static bool links_to_program(const struct execution *e)
{
	char target[64];
	if (e->flags & AT_SYMLINK_NOFOLLOW)
		return false;
	long length = syscall_4(SYS_readlinkat, e->directory, e->path, target, sizeof(target) - 1);
	if (length <= 0 || target[0] != '/')
		return false;
	target[length] = '\0';
	return self_is_program(AT_FDCWD, target);
}

/* Return: 0, or the error that execve has. */
static int find(struct guest_call *call, struct execution *e)
{
	e->file = e->path;
	if (self_is_program(e->directory, e->path) || links_to_program(e)) {
		self_name(e->own);
		e->file = e->own;
	}
	e->name = name_of(call, e);
	e->program = guest_buffer(call, sizeof(*e->program));
	if (e->name == NULL || e->program == NULL)
		return -ENOMEM;
	bool by_descriptor = e->name != e->path;
	if (by_descriptor && host_owns_descriptor(e->directory))
		return -EBADF;
	/* What a script's interpreter could not open by that name any more. */
	bool closes = by_descriptor && syscall_2(SYS_fcntl, e->directory, F_GETFD) == FD_CLOEXEC;
	return program_find(e->program, e->directory, e->file, e->flags, closes ? NULL : e->name);
}

/* "--resume=" and the numbers, and then the descriptors of locked files. */
static void print_resume(char *text, size_t size, const uint64_t number[RESUMES], const int *locked, size_t count)
{
	struct stream stream = { .text = text, .size = size, .descriptor = STREAM_KEEP };
	stream_text(&stream, "--resume=");
	for (unsigned i = 0; i < RESUMES; i++) {
		stream_text(&stream, i > 0 ? "," : "");
		stream_decimal(&stream, number[i]);
	}
	for (size_t i = 0; i < count; i++) {
		stream_text(&stream, ",");
		stream_decimal(&stream, (uint64_t)locked[i]);
	}
}

static uint64_t number_of(int descriptor)
{
	return descriptor >= 0 ? (uint64_t)descriptor : RESUME_NONE;
}

/* A successor needs the stack to have an end, and gives the program its own limit again. */
static void limit_stack(struct execution *e, bool begins)
{
	struct rlimit limit;
	if (begins)
		e->stack_limit = RESUME_NONE;
	else if (e->stack_limit == RESUME_NONE)
		return;
	syscall_4(SYS_prlimit64, 0, RLIMIT_STACK, NULL, &limit);
	if (begins && limit.rlim_cur <= STACK_LIMIT_MOST)
		return;
	uint64_t own = begins ? limit.rlim_cur : RESUME_NONE;
	limit.rlim_cur = begins ? STACK_LIMIT_USUAL : e->stack_limit;
	syscall_4(SYS_prlimit64, 0, RLIMIT_STACK, &limit, NULL);
	e->stack_limit = own;
}

/* What is left open for the successor; or, @begins false, is not any longer. */
static void hand_over(struct execution *e, uint64_t number[RESUMES], bool begins)
{
	struct report_legacy legacy;
	int log = atomic_load(&verbose_file), flag = begins ? 0 : FD_CLOEXEC;
	report_hand_over(&legacy, begins);
	syscall_3(SYS_fcntl, e->program->image.descriptor, F_SETFD, flag);
	syscall_3(SYS_fcntl, atomic_load(&process_command), F_SETFD, flag);
	if (log >= 0)
		syscall_3(SYS_fcntl, log, F_SETFD, flag);
	limit_stack(e, begins);
	number[RESUME_PROGRAM] = number_of(e->program->image.descriptor);
	number[RESUME_COMMAND] = number_of(atomic_load(&process_command));
	number[RESUME_AREA] = number_of(legacy.area);
	number[RESUME_TERMINAL] = number_of(legacy.terminal);
	number[RESUME_FIRST] = legacy.first;
	number[RESUME_VERBOSE] = number_of(log);
	number[RESUME_STACK] = e->stack_limit;
	number[RESUME_GAIN] = gain_inherited();
	limit_get(LIMIT_AREAS, &number[RESUME_AREAS], &number[RESUME_AREAS_HARD]);
	limit_get(LIMIT_DATA, &number[RESUME_DATA], &number[RESUME_DATA_HARD]);
	limit_get(LIMIT_FILE, &number[RESUME_FILE], &number[RESUME_FILE_HARD]);
}

static size_t count_words(const char *const *words)
{
	size_t count = 0;
	while (words[count] != NULL)
		count++;
	return count;
}

/* All words of the successor but its --resume, which is @resume. */
static const char **vector_of(struct guest_call *call, const struct execution *e, const char *resume)
{
	static const char *const none[] = { "", NULL };
	const char *const *arguments = (const char *const *)e->arguments;
	if (arguments == NULL || arguments[0] == NULL)
		arguments = none; /* as the kernel since Linux 5.18 */
	size_t words = count_words(process_words), count = count_words(arguments), at = 0;
	const char **vector = guest_buffer(call, (words + e->program->words + count + 3) * sizeof(*vector));
	if (vector == NULL)
		return NULL;
	for (size_t i = 0; i < words; i++)
		vector[at++] = process_words[i];
	vector[at++] = resume;
	vector[at++] = e->name;
	for (size_t i = 0; i < e->program->words; i++)
		vector[at++] = e->program->word[i];
	for (size_t i = e->program->words > 0 ? 1 : 0; i < count; i++)
		vector[at++] = arguments[i];
	vector[at] = NULL;
	return vector;
}

#define RESUME_TEXT (16 + 21 * (RESUMES + WHOLE_LOCKED_MAX))

static long succeed(struct guest_call *call, struct execution *e)
{
	uint64_t number[RESUMES];
	int locked[WHOLE_LOCKED_MAX];
	char *resume = guest_buffer(call, RESUME_TEXT);
	const char **vector = resume != NULL ? vector_of(call, e, resume) : NULL;
	if (vector == NULL)
		return -ENOMEM;
	verbose_say("executes ", e->name, NULL);
	hand_over(e, number, true);
	print_resume(resume, RESUME_TEXT, number, locked, whole_files_leave(self_file(), locked, true));
	long result = guest_execute(call, SYS_execveat, atomic_load(&process_command), (long)"",
	                            (long)vector, e->environment, AT_EMPTY_PATH, 0);
	whole_files_leave(self_file(), locked, false);
	hand_over(e, number, false);
	return result;
}

/* ---- execve ------------------------------------------------------------------------------------ */

/* Who carries an execve out: a successor; or the kernel, and after that nothing is known of this
 * process any more; or the kernel has nothing to execute, as far as we can tell. */
enum carrier { BY_SUCCESSOR, BY_KERNEL, BY_KERNEL_IN_VAIN };

static long carry_out(struct guest_call *call, struct execution *e, enum carrier carrier,
                      const long words[6])
{
	guest_trace_begin();
	report_exec(true, carrier != BY_KERNEL);
	guest_signal_exec_begin(call->thread, call->context);
	if (carrier != BY_SUCCESSOR)
		limit_to_kernel(true);
	long result = carrier == BY_SUCCESSOR
	                      ? succeed(call, e)
	                      : guest_execute(call, call->number, words[0], words[1], words[2],
	                                      words[3], words[4], words[5]);
	if (carrier != BY_SUCCESSOR)
		limit_to_kernel(false);
	guest_signal_exec_failed(call->thread);
	report_exec(false, carrier != BY_KERNEL);
	return result;
}

static long exec_copied(struct guest_call *call, long words[6], unsigned at)
{
	bool follows = atomic_load(&process_command) >= 0;
	struct execution e = { .directory = at == 1 ? (int)words[0] : AT_FDCWD,
		               .flags = at == 1 ? (int)words[4] : 0,
		               .path = (const char *)words[at],
		               .arguments = (char **)words[at + 1],
		               .environment = words[at + 2] };
	/* Others are an error, or ask whether it could be executed. */
	if (e.flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return carry_out(call, NULL, BY_KERNEL_IN_VAIN, words);
	int found = find(call, &e);
	words[at] = (long)(e.file != NULL ? e.file : e.path);
	if (found < 0)
		return follows ? found : carry_out(call, NULL, BY_KERNEL_IN_VAIN, words);
	bool privileged = follows && program_is_privileged(e.program);
	if (privileged)
		verbose_say("executes natively, because it has rights of its own: ", e.name, NULL);
	long result = carry_out(call, &e, privileged || !follows ? BY_KERNEL : BY_SUCCESSOR, words);
	program_close(e.program);
	return result;
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
	return copied ? exec_copied(call, words, at) : carry_out(call, NULL, BY_KERNEL_IN_VAIN, words);
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
	guest_abandon_mutexes(call->thread);
	syscall_1(SYS_exit_group, call->argument[0]);
	return 0;
}
