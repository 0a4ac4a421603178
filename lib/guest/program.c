/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "host.h"
#include "syscall.h"
#include "whole.h"

static int refuse(struct program *program, long code, const char *culprit, const char *why)
{
	program->culprit = culprit;
	program->why = why;
	return (int)code;
}

char *program_link(char text[PROGRAM_LINK], const char *directory, int descriptor)
{
	char digits[12];
	size_t at = sizeof(digits), length = strlen(directory);
	digits[--at] = '\0';
	do
		digits[--at] = (char)('0' + descriptor % 10);
	while ((descriptor /= 10) > 0);
	memcpy(text, directory, length);
	memcpy(text + length, digits + at, sizeof(digits) - at);
	return text + length + sizeof(digits) - at - 1;
}

/* ---- Files ---------------------------------------------------------------------------------- */

/* What @descriptor stands for, to be read: it may be one that cannot be (O_PATH). */
static long open_again(int descriptor)
{
	char link[PROGRAM_LINK];
	program_link(link, "/proc/self/fd/", descriptor);
	long file = syscall_4(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
	if (file == -ENOENT) /* there is no /proc here */
		file = syscall_3(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC, 0);
	return file;
}

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000
#endif

/* What execve would say of a file. Since Linux 6.14 the kernel tells, also that it is being written to. */
static long check(int directory, const char *path, int flags)
{
	static const char *const words[] = { "", NULL };
	long result = syscall_6(SYS_execveat, directory, (long)path, (long)words, (long)&words[1],
	                        flags | AT_EXECVE_CHECK, 0);
	if (result != -EINVAL)
		return result;
	result = syscall_4(SYS_faccessat2, directory, path, X_OK, flags | AT_EACCESS);
	return result == -ENOSYS ? 0 : result;
}

static int open_file(struct program *program, int directory, const char *path, int flags,
                     int *descriptor)
{
	struct stat status;
	long result = syscall_4(SYS_newfstatat, directory, path, &status, flags);
	if (result < 0)
		return refuse(program, result, path, NULL);
	if (S_ISLNK(status.st_mode))
		return refuse(program, -ELOOP, path, "it is a symbolic link");
	if (!S_ISREG(status.st_mode))
		return refuse(program, -EACCES, path, S_ISDIR(status.st_mode) ? "it is a directory"
		                                                              : "it is no file");
	result = check(directory, path, flags);
	if (result < 0)
		return refuse(program, result, path, result == -EACCES ? "permission denied" : NULL);
	*descriptor = whole_locked_file(&status);
	if (*descriptor >= 0)
		return 0;
	bool empty = flags & AT_EMPTY_PATH && path[0] == '\0';
	long file = empty ? open_again(directory)
	                  : syscall_4(SYS_openat, directory, path, O_RDONLY | O_CLOEXEC, 0);
	if (file == -EACCES)
		return refuse(program, file, path, "it may be executed, but not read");
	if (file < 0)
		return refuse(program, file, path, NULL);
	*descriptor = host_raise((int)file);
	return 0;
}

/* One that whole_locked_file() gave is not ours to close. */
static void image_close(struct image *image)
{
	if (image->descriptor >= 0 && !host_owns_descriptor(image->descriptor))
		syscall_1(SYS_close, image->descriptor);
	image->descriptor = -1;
}

static ssize_t read_at(int descriptor, void *buffer, size_t bytes, uint64_t offset)
{
	return offset > INT64_MAX ? -EINVAL : host_read_file(descriptor, buffer, bytes, (off_t)offset);
}

/* ---- ELF ------------------------------------------------------------------------------------ */

static const char *headers_read(struct image *image)
{
	Elf64_Ehdr *header = &image->header;
	ssize_t n = read_at(image->descriptor, header, sizeof(*header), 0);
	if (n < EI_NIDENT || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
		return "it is neither an ELF program nor a script";
	if (header->e_ident[EI_CLASS] == ELFCLASS32)
		return "it is a 32-bit program; 64-bit ones can be run";
	if (n < (ssize_t)sizeof(*header))
		return "its header is damaged";
	if (header->e_machine != EM_X86_64)
		return "it is for another machine; programs for x86-64 can be run";
	if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
		return "it is no program";
	size_t bytes = header->e_phnum * sizeof(image->segment[0]);
	if (header->e_phnum == 0 || header->e_phnum > PROGRAM_HEADERS ||
	    header->e_phentsize != sizeof(image->segment[0]) ||
	    read_at(image->descriptor, image->segment, bytes, header->e_phoff) != (ssize_t)bytes)
		return "its program headers are damaged";
	return NULL;
}

static const char *segments_check(struct image *image)
{
	image->start = UINTPTR_MAX;
	image->end = 0;
	for (unsigned i = 0; i < image->header.e_phnum; i++) {
		const Elf64_Phdr *s = &image->segment[i];
		if (s->p_type != PT_LOAD)
			continue;
		if (s->p_memsz < s->p_filesz || s->p_vaddr > WHOLE_END || s->p_memsz > WHOLE_END ||
		    s->p_vaddr % HOST_PAGE_SIZE != s->p_offset % HOST_PAGE_SIZE)
			return "its segments are damaged";
		uintptr_t start = host_page_down(s->p_vaddr), end = host_page_up(s->p_vaddr + s->p_memsz);
		image->start = start < image->start ? start : image->start;
		image->end = end > image->end ? end : image->end;
	}
	return image->end > image->start ? NULL : "it has no segments to load";
}

static int image_read(struct program *program, struct image *image, const char *path, int error)
{
	const char *why = headers_read(image);
	if (why == NULL)
		why = segments_check(image);
	return why == NULL ? 0 : refuse(program, error, path, why);
}

/* The interpreter that the program asks for, if any. */
static int interpreter_open(struct program *program, const char *path)
{
	const struct image *image = &program->image;
	unsigned i = 0;
	while (i < image->header.e_phnum && image->segment[i].p_type != PT_INTERP)
		i++;
	if (i == image->header.e_phnum)
		return 0;
	size_t bytes = image->segment[i].p_filesz;
	if (bytes < 2 || bytes > PATH_MAX ||
	    read_at(image->descriptor, program->path, bytes, image->segment[i].p_offset) !=
	            (ssize_t)bytes ||
	    program->path[bytes - 1] != '\0')
		return refuse(program, -ENOEXEC, path, "the name of its interpreter is damaged");
	int result = open_file(program, AT_FDCWD, program->path, 0, &program->interpreter.descriptor);
	if (result < 0)
		return result;
	return image_read(program, &program->interpreter, program->path, -ELIBBAD);
}

static int elf_open(struct program *program, const char *path)
{
	int result = image_read(program, &program->image, path, -ENOEXEC);
	if (result == 0)
		result = interpreter_open(program, path);
	if (result < 0)
		program_close(program);
	return result;
}

/* ---- Scripts --------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* "#!NAME [ARGUMENT]" at the start of a file, of which @line has the first bytes, and zeros where it
 * ends before. Return: false: it names nothing, or its name does not end in there. */
static bool script_parse(char *line, char **name, char **argument)
{
	char *end = line + 2, *limit = line + PROGRAM_LINE - 1;
	while (end < limit && *end != '\n' && *end != '\0')
		end++;
	bool whole = *end == '\n';
	char *start = line + 2;
	while (start < end && is_blank(*start))
		start++;
	char *stop = start;
	while (stop < end && !is_blank(*stop))
		stop++;
	if (stop == start || (stop == end && !whole && *end != '\0' && !is_blank(*end)))
		return false;
	while (end > stop && is_blank(end[-1]))
		end--;
	*end = '\0';
	char *next = stop;
	while (next < end && is_blank(*next))
		next++;
	*stop = '\0';
	*name = start;
	*argument = next < end ? next : NULL;
	return true;
}

/* The innermost script's own name was the first word, and is now the last. */
static void words_prepend(struct program *program, const char *word)
{
	memmove(program->word + 1, program->word, program->words * sizeof(program->word[0]));
	program->word[0] = word;
	program->words++;
}

/* Return: 1: the file in program->image was a script, and is its interpreter now; 0: it is none. */
static int script_take(struct program *program, unsigned depth, const char **path,
                       const char *name)
{
	char *line = program->line[depth], *interpreter, *argument;
	memset(line, 0, PROGRAM_LINE + 1);
	ssize_t n = read_at(program->image.descriptor, line, PROGRAM_LINE, 0);
	if (n < 2 || line[0] != '#' || line[1] != '!')
		return 0;
	if (!script_parse(line, &interpreter, &argument))
		return refuse(program, -ENOEXEC, *path, "its #! line names no interpreter");
	if (name == NULL)
		return refuse(program, -ENOENT, *path, "its interpreter could not open it");
	if (depth == 0)
		words_prepend(program, name);
	if (argument != NULL)
		words_prepend(program, argument);
	words_prepend(program, interpreter);
	image_close(&program->image);
	int result = open_file(program, AT_FDCWD, interpreter, 0, &program->image.descriptor);
	if (result < 0)
		return result;
	*path = interpreter;
	return depth < PROGRAM_SCRIPTS ? 1 : refuse(program, -ELOOP, interpreter,
	                                            "scripts run by scripts, without end");
}

/* ---- What is asked for ------------------------------------------------------------------------ */

static void program_begin(struct program *program)
{
	program->image.descriptor = program->interpreter.descriptor = -1;
	program->words = 0;
	program->culprit = program->why = NULL;
}

int program_find(struct program *program, int directory, const char *path, int flags,
                 const char *name)
{
	program_begin(program);
	int result = open_file(program, directory, path, flags, &program->image.descriptor);
	if (result < 0)
		return result;
	unsigned depth = 0;
	while ((result = script_take(program, depth, &path, name)) > 0)
		depth++;
	if (result < 0)
		program_close(program);
	return result < 0 ? result : elf_open(program, path);
}

int program_take(struct program *program, int descriptor)
{
	program_begin(program);
	program->image.descriptor = descriptor;
	return elf_open(program, "the program");
}

void program_close(struct program *program)
{
	image_close(&program->image);
	image_close(&program->interpreter);
}

/* ---- Rights ------------------------------------------------------------------------------------- */

#define MOUNT_NOSUID 2 /* statfs(2): ST_NOSUID */

bool program_is_privileged(const struct program *program)
{
	static const char capabilities[] = "security.capability";
	int file = program->image.descriptor;
	struct stat status;
	struct statfs mount;
	if (syscall_2(SYS_fstat, file, &status) < 0 ||
	    syscall_6(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0, 0) == 1 ||
	    (syscall_2(SYS_fstatfs, file, &mount) == 0 && mount.f_flags & MOUNT_NOSUID))
		return false;
	uid_t user = (uid_t)syscall_1(SYS_geteuid, 0);
	gid_t group = (gid_t)syscall_1(SYS_getegid, 0);
	if (status.st_mode & S_ISUID && status.st_uid != user)
		return true;
	/* Without the group's right to execute, the bit is one of locking. */
	if (status.st_mode & S_ISGID && status.st_mode & S_IXGRP && status.st_gid != group)
		return true;
	return user != 0 && syscall_4(SYS_fgetxattr, file, capabilities, NULL, 0) > 0;
}
