/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "loader.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"
#include "whole.h"

#define HEADERS_MAX 64
#define SCRIPTS_MAX 5
#define STACK_DEFAULT ((size_t)8 << 20)
#define STACK_MOST ((size_t)1 << 30)

/* One ELF file. */
struct image {
	int descriptor;
	Elf64_Ehdr header;
	Elf64_Phdr segment[HEADERS_MAX];
	uintptr_t bias;        /* what is added to its addresses */
	uintptr_t start, end;  /* of its segments, as in the file, whole pages */
};

static int refuse(struct loader *loader, int code, const char *why)
{
	snprintf(loader->message, sizeof(loader->message), "%.150s: %s", loader->path, why);
	return code;
}

/* ---- What can be run -------------------------------------------------------------------------- */

static int open_file(struct loader *loader, const char *path, int *descriptor)
{
	struct stat status;
	if (stat(path, &status) < 0)
		return refuse(loader, -errno, strerrordesc_np(errno));
	if (!S_ISREG(status.st_mode) || access(path, X_OK) < 0)
		return refuse(loader, -EACCES, S_ISDIR(status.st_mode) ? "it is a directory"
		                                                       : "permission denied");
	if (geteuid() != 0 && status.st_mode & (S_ISUID | S_ISGID))
		return refuse(loader, -EPERM, "it is set-uid: its rights would be those of upage, which has none");
	*descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (*descriptor < 0)
		return refuse(loader, -errno, strerrordesc_np(errno));
	return 0;
}

static int image_read(struct loader *loader, struct image *image)
{
	Elf64_Ehdr *header = &image->header;
	ssize_t n = pread(image->descriptor, header, sizeof(*header), 0);
	if (n < EI_NIDENT || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
		return refuse(loader, -ENOEXEC, "it is neither an ELF program nor a script");
	if (header->e_ident[EI_CLASS] != ELFCLASS64)
		return refuse(loader, -ENOEXEC, "it is a 32-bit program; 64-bit ones can be run");
	if (n < (ssize_t)sizeof(*header) || header->e_machine != EM_X86_64)
		return refuse(loader, -ENOEXEC, "it is for another machine; programs for x86-64 can be run");
	if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
		return refuse(loader, -ENOEXEC, "it is no program");
	size_t bytes = header->e_phnum * sizeof(image->segment[0]);
	if (header->e_phnum == 0 || header->e_phnum > HEADERS_MAX ||
	    header->e_phentsize != sizeof(image->segment[0]) ||
	    pread(image->descriptor, image->segment, bytes, (off_t)header->e_phoff) != (ssize_t)bytes)
		return refuse(loader, -ENOEXEC, "its program headers are damaged");
	image->start = UINTPTR_MAX;
	image->end = 0;
	for (unsigned i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *s = &image->segment[i];
		if (s->p_type != PT_LOAD)
			continue;
		if (s->p_memsz < s->p_filesz || s->p_vaddr > WHOLE_END || s->p_memsz > WHOLE_END ||
		    s->p_vaddr % HOST_PAGE_SIZE != s->p_offset % HOST_PAGE_SIZE)
			return refuse(loader, -ENOEXEC, "its segments are damaged");
		uintptr_t start = host_page_down(s->p_vaddr), end = host_page_up(s->p_vaddr + s->p_memsz);
		image->start = start < image->start ? start : image->start;
		image->end = end > image->end ? end : image->end;
	}
	return image->end > image->start ? 0 : refuse(loader, -ENOEXEC, "it has no segments to load");
}

/* The name of the interpreter that an image asks for; "": none. */
static int image_interpreter(struct loader *loader, const struct image *image, char *path)
{
	path[0] = '\0';
	for (unsigned i = 0; i < image->header.e_phnum; i++) {
		const Elf64_Phdr *s = &image->segment[i];
		if (s->p_type != PT_INTERP)
			continue;
		if (s->p_filesz < 2 || s->p_filesz > PATH_MAX ||
		    pread(image->descriptor, path, s->p_filesz, (off_t)s->p_offset) !=
		            (ssize_t)s->p_filesz ||
		    path[s->p_filesz - 1] != '\0')
			return refuse(loader, -ENOEXEC, "the name of its interpreter is damaged");
	}
	return 0;
}

/* ---- Scripts ------------------------------------------------------------------------------------ */

/* "#!INTERPRETER [ARGUMENT]" at the start of a file: the interpreter runs with the argument, the
 * name of the script, and the script's arguments but its own name. */
static int script_take(struct loader *loader, char *line)
{
	char *name = line + 2 + strspn(line + 2, " \t");
	char *end = name + strcspn(name, " \t");
	char *argument = end + strspn(end, " \t");
	size_t length = strlen(argument);
	while (length > 0 && (argument[length - 1] == ' ' || argument[length - 1] == '\t'))
		argument[--length] = '\0';
	*end = '\0';
	if (name[0] == '\0')
		return refuse(loader, -ENOEXEC, "its #! line names no interpreter");
	size_t count = 0;
	while (loader->arguments[count] != NULL)
		count++;
	char **arguments = calloc(count + 4, sizeof(*arguments));
	size_t at = 0;
	if (arguments == NULL)
		return -ENOMEM;
	arguments[at++] = strdup(name);
	if (argument[0] != '\0')
		arguments[at++] = strdup(argument);
	arguments[at++] = strdup(loader->path);
	for (size_t i = 1; i < count; i++)
		arguments[at++] = loader->arguments[i];
	loader->arguments = arguments;
	snprintf(loader->path, sizeof(loader->path), "%s", name);
	return 0;
}

/* Opens the program, going from scripts to their interpreters. */
static int program_open(struct loader *loader, struct image *image)
{
	for (int depth = 0;; depth++) {
		char line[256];
		int result = open_file(loader, loader->path, &image->descriptor);
		if (result < 0)
			return result;
		ssize_t n = pread(image->descriptor, line, sizeof(line) - 1, 0);
		if (n < 2 || line[0] != '#' || line[1] != '!') {
			result = image_read(loader, image);
			if (result < 0)
				close(image->descriptor);
			return result;
		}
		close(image->descriptor);
		if (depth == SCRIPTS_MAX)
			return refuse(loader, -ELOOP, "scripts run by scripts, without end");
		line[n] = '\0';
		line[strcspn(line, "\n")] = '\0';
		result = script_take(loader, line);
		if (result < 0)
			return result;
	}
}

/* The program and its interpreter; the interpreter's descriptor is -1 if there is none. */
static int open_both(struct loader *loader, struct image *program, struct image *interpreter)
{
	char path[PATH_MAX + 1];
	interpreter->descriptor = -1;
	int result = program_open(loader, program);
	if (result < 0)
		return result;
	if (realpath(loader->path, loader->real_path) == NULL)
		snprintf(loader->real_path, sizeof(loader->real_path), "%s", loader->path);
	result = image_interpreter(loader, program, path);
	if (result == 0 && path[0] != '\0') {
		result = open_file(loader, path, &interpreter->descriptor);
		if (result == 0)
			result = image_read(loader, interpreter);
	}
	if (result < 0) {
		close(program->descriptor);
		if (interpreter->descriptor >= 0)
			close(interpreter->descriptor);
	}
	return result;
}

int loader_check(struct loader *loader)
{
	struct image program, interpreter;
	int result = open_both(loader, &program, &interpreter);
	if (result < 0)
		return result;
	close(program.descriptor);
	if (interpreter.descriptor >= 0)
		close(interpreter.descriptor);
	return 0;
}

/* ---- Segments ------------------------------------------------------------------------------------ */

static int segment_load(const struct image *image, const Elf64_Phdr *s)
{
	uintptr_t start = image->bias + s->p_vaddr, data_end = start + s->p_filesz;
	uintptr_t end = start + s->p_memsz, page = host_page_down(start);
	int prot = (s->p_flags & PF_R ? PROT_READ : 0) | (s->p_flags & PF_W ? PROT_WRITE : 0) |
	           (s->p_flags & PF_X ? PROT_EXEC : 0);
	int flags = MAP_PRIVATE | MAP_FIXED;
	long result = 0;
	if (s->p_filesz > 0)
		result = whole_map(page, host_page_up(data_end) - page, prot, flags, image->descriptor,
		                   (int64_t)(s->p_offset - (start - page)));
	uintptr_t rest = s->p_filesz > 0 ? host_page_up(data_end) : page;
	if (result >= 0 && host_page_up(end) > rest)
		result = whole_map(rest, host_page_up(end) - rest, prot, flags | MAP_ANONYMOUS, -1, 0);
	/* All that follows the data in its last page is zero: loaders use what is left of it. */
	if (result >= 0 && end > data_end && prot & PROT_WRITE && s->p_filesz > 0) {
		static const char zeros[HOST_PAGE_SIZE];
		if (guest_copy_out((void *)data_end, zeros, host_page_up(data_end) - data_end) != 0)
			result = -EFAULT;
	}
	return result < 0 ? (int)result : 0;
}

/* @place: where, for one that can be anywhere. */
static int image_load(struct image *image, uintptr_t place)
{
	image->bias = image->header.e_type == ET_DYN ? place - image->start : 0;
	for (unsigned i = 0; i < image->header.e_phnum; i++) {
		if (image->segment[i].p_type != PT_LOAD)
			continue;
		int result = segment_load(image, &image->segment[i]);
		if (result < 0)
			return result;
	}
	return 0;
}

/* ---- The first stack ----------------------------------------------------------------------------- */

struct stack {
	uintptr_t top;
	bool failed;
};

static uintptr_t push(struct stack *stack, const void *bytes, size_t length)
{
	stack->top -= length;
	if (guest_copy_out((void *)stack->top, bytes, length) != 0)
		stack->failed = true;
	return stack->top;
}

static uintptr_t push_string(struct stack *stack, const char *string)
{
	return push(stack, string, strlen(string) + 1);
}

static size_t count_strings(char **strings)
{
	size_t count = 0;
	while (strings[count] != NULL)
		count++;
	return count;
}

static bool executable_stack(const struct image *image)
{
	for (unsigned i = 0; i < image->header.e_phnum; i++)
		if (image->segment[i].p_type == PT_GNU_STACK)
			return image->segment[i].p_flags & PF_X;
	return true; /* as of old */
}

static int stack_map(const struct image *program)
{
	struct rlimit limit;
	size_t bytes = STACK_DEFAULT;
	if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		bytes = limit.rlim_cur < STACK_MOST ? host_page_up(limit.rlim_cur) : STACK_MOST;
	if (bytes < (size_t)1 << 20)
		bytes = (size_t)1 << 20;
	int prot = PROT_READ | PROT_WRITE | (executable_stack(program) ? PROT_EXEC : 0);
	long result = whole_map(WHOLE_STACK - bytes, bytes, prot,
	                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return result < 0 ? (int)result : 0;
}

/* Where the program headers are in memory. */
static uintptr_t headers_address(const struct image *image)
{
	for (unsigned i = 0; i < image->header.e_phnum; i++)
		if (image->segment[i].p_type == PT_PHDR)
			return image->bias + image->segment[i].p_vaddr;
	for (unsigned i = 0; i < image->header.e_phnum; i++) {
		const Elf64_Phdr *s = &image->segment[i];
		if (s->p_type == PT_LOAD && image->header.e_phoff >= s->p_offset &&
		    image->header.e_phoff < s->p_offset + s->p_filesz)
			return image->bias + s->p_vaddr + image->header.e_phoff - s->p_offset;
	}
	return 0;
}

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static int stack_fill(struct loader *loader, const struct image *program,
                      const struct image *interpreter)
{
	struct stack stack = { .top = WHOLE_STACK - 16 };
	size_t arguments = count_strings(loader->arguments);
	size_t variables = count_strings(loader->environment), at = 0;
	uintptr_t *words = calloc(arguments + variables + 64, sizeof(*words));
	char random[16];
	if (words == NULL)
		return -ENOMEM;
	uintptr_t name = push_string(&stack, loader->path);
	words[at++] = arguments;
	at += arguments + 1 + variables + 1;
	for (size_t i = variables; i-- > 0;)
		words[1 + arguments + 1 + i] = push_string(&stack, loader->environment[i]);
	for (size_t i = arguments; i-- > 0;)
		words[1 + i] = push_string(&stack, loader->arguments[i]);
	const char *platform = (const char *)getauxval(AT_PLATFORM);
	uintptr_t machine = platform != NULL ? push_string(&stack, platform) : 0;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		memcpy(random, (const void *)getauxval(AT_RANDOM), sizeof(random));
	uintptr_t seed = push(&stack, random, sizeof(random));

	bool has_interpreter = interpreter->descriptor >= 0;
	static const unsigned long handed_on[] = { AT_SYSINFO_EHDR, AT_HWCAP,   AT_PAGESZ, AT_CLKTCK,
		                                   AT_UID,          AT_EUID,    AT_GID,    AT_EGID,
		                                   AT_HWCAP2,       AT_MINSIGSTKSZ };
#define AUXILIARY(type, value) (words[at++] = (type), words[at++] = (value))
	for (size_t i = 0; i < sizeof(handed_on) / sizeof(handed_on[0]); i++)
		AUXILIARY(handed_on[i], getauxval(handed_on[i]));
	AUXILIARY(AT_PHDR, headers_address(program));
	AUXILIARY(AT_PHENT, sizeof(Elf64_Phdr));
	AUXILIARY(AT_PHNUM, program->header.e_phnum);
	AUXILIARY(AT_BASE, has_interpreter ? interpreter->bias : 0);
	AUXILIARY(AT_FLAGS, 0);
	AUXILIARY(AT_ENTRY, program->bias + program->header.e_entry);
	AUXILIARY(AT_SECURE, 0);
	AUXILIARY(AT_RANDOM, seed);
	AUXILIARY(AT_EXECFN, name);
	if (machine != 0)
		AUXILIARY(AT_PLATFORM, machine);
	AUXILIARY(AT_NULL, 0);
#undef AUXILIARY
	stack.top = (stack.top - at * sizeof(*words)) & ~(uintptr_t)15;
	stack.top += at * sizeof(*words);
	loader->stack = push(&stack, words, at * sizeof(*words));
	free(words);
	return stack.failed ? -E2BIG : 0;
}

int loader_load(struct loader *loader)
{
	struct image program, interpreter;
	int result = open_both(loader, &program, &interpreter);
	if (result < 0)
		return result;
	bool has_interpreter = interpreter.descriptor >= 0;
	/* One without an interpreter is one itself, as ld.so called by name: it stands elsewhere. */
	result = image_load(&program, has_interpreter ? WHOLE_PROGRAM : WHOLE_MAPPINGS);
	if (result == 0 && has_interpreter)
		result = image_load(&interpreter, WHOLE_MAPPINGS);
	if (result == 0)
		result = stack_map(&program);
	if (result == 0)
		result = stack_fill(loader, &program, &interpreter);
	const struct image *first = has_interpreter ? &interpreter : &program;
	loader->entry = first->bias + first->header.e_entry;
	bool apart = !has_interpreter && program.header.e_type == ET_DYN;
	whole_set_break(apart ? WHOLE_PROGRAM : program.bias + program.end);
	close(program.descriptor);
	if (has_interpreter)
		close(interpreter.descriptor);
	if (result < 0 && loader->message[0] == '\0')
		refuse(loader, result, strerrordesc_np(-result));
	return result;
}
