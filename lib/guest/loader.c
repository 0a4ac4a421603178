/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "loader.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cluster.h"
#include "error.h"
#include "host.h"
#include "space.h"
#include "whole.h"

#define STACK_FIRST ((size_t)132 << 10) /* what a new program's stack has before it grows */

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

/* That of its most aligned segment, which static data may rely on. */
static uintptr_t alignment_of(const struct image *image)
{
	uintptr_t most = HOST_PAGE_SIZE;
	for (unsigned i = 0; i < image->header.e_phnum; i++) {
		uintptr_t align = image->segment[i].p_type == PT_LOAD ? image->segment[i].p_align : 0;
		if (align > most && (align & (align - 1)) == 0 && align <= (uintptr_t)1 << 30)
			most = align;
	}
	return most;
}

/* @place: where, or behind that, for one that can be anywhere. */
static int image_load(struct image *image, uintptr_t place)
{
	image->bias = image->header.e_type == ET_DYN
	                      ? round_up(place - image->start, alignment_of(image))
	                      : 0;
	for (unsigned i = 0; i < image->header.e_phnum; i++) {
		if (image->segment[i].p_type != PT_LOAD)
			continue;
		int result = segment_load(image, &image->segment[i]);
		if (result < 0)
			return result;
	}
	return 0;
}

/* ld.so goes through most of itself at every start: while nobody will miss the frames it comes in at
 * once, without a trap for every few pages of it. */
static void image_bring_in(const struct image *image)
{
	for (unsigned i = 0; i < image->header.e_phnum; i++) {
		const Elf64_Phdr *s = &image->segment[i];
		uintptr_t start = image->bias + s->p_vaddr;
		int access = s->p_flags & PF_W ? PROT_WRITE : PROT_READ;
		if (s->p_type != PT_LOAD || !cluster_is_ample(whole_space->pool))
			continue;
		for (uintptr_t at = host_page_down(start); at < start + s->p_filesz; at += HOST_PAGE_SIZE)
			space_bring_in(whole_space, at, access);
	}
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

/* As large as its limit lets it become. */
static int stack_map(const struct image *program)
{
	uint64_t limit = host_stack_limit();
	size_t bytes = limit < STACK_FIRST ? host_page_up(limit + 1) : STACK_FIRST;
	int grows = whole_layout.stack_whole == 0 ? MAP_GROWSDOWN : 0;
	bytes = grows ? bytes : whole_layout.stack_whole;
	int prot = PROT_READ | PROT_WRITE | (executable_stack(program) ? PROT_EXEC : 0);
	long result = whole_map(whole_layout.stack - bytes, bytes, prot,
	                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | grows, -1, 0);
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


static int stack_fill(struct loader *loader)
{
	const struct image *program = &loader->program.image;
	const struct image *interpreter = &loader->program.interpreter;
	struct stack stack = { .top = whole_layout.stack - 16 };
	size_t arguments = count_strings(loader->arguments);
	size_t variables = count_strings(loader->environment), at = 0;
	uintptr_t *words = calloc(arguments + variables + 64, sizeof(*words));
	char random[16];
	if (words == NULL)
		return -ENOMEM;
	uintptr_t name = push_string(&stack, loader->name);
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
	size_t auxiliary = at;
	static const unsigned long handed_on[] = { AT_SYSINFO_EHDR, AT_HWCAP,   AT_PAGESZ, AT_CLKTCK,
		                                   AT_UID,          AT_EUID,    AT_GID,    AT_EGID,
		                                   AT_HWCAP2,       AT_MINSIGSTKSZ };
#define AUXILIARY(type, value) (words[at++] = (type), words[at++] = (value))
	/* The first is the vDSO, which is no part of the run that a space in runs is. */
	for (size_t i = space_is_paged(whole_space) ? 0 : 1; i < sizeof(handed_on) / sizeof(handed_on[0]); i++)
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
	loader->auxiliary = words + auxiliary;
	loader->auxiliary_words = at - auxiliary;
	whole_set_stack(loader->stack, words + auxiliary, (at - auxiliary) * sizeof(*words));
	return stack.failed ? -E2BIG : 0;
}

/* How far behind the beginning of an image what may be written begins; all of it: nothing does. */
static size_t data_offset(const struct image *image)
{
	uintptr_t data = image->end;
	for (unsigned i = 0; i < image->header.e_phnum; i++) {
		const Elf64_Phdr *s = &image->segment[i];
		if (s->p_type == PT_LOAD && s->p_flags & PF_W && s->p_vaddr < data)
			data = host_page_down(s->p_vaddr);
	}
	return data - image->start;
}

static const char *why_not(int error)
{
	if (error != -ENOMEM)
		return error_words(-error);
	return space_is_paged(whole_space)
	               ? "memory and swap together cannot hold it (-m, --swap-size, ulimit -f)"
	       : whole_space->runs.count == 1 ? "it does not fit within its bounds (--bounds, -m)"
	                                      : "memory cannot hold its segments (-m)";
}

int loader_load(struct loader *loader)
{
	struct image *program = &loader->program.image, *interpreter = &loader->program.interpreter;
	bool has_interpreter = interpreter->descriptor >= 0;
	bool anywhere = program->header.e_type == ET_DYN && whole_can_be_anywhere(alignment_of(program));
	/* One without an interpreter is one itself, as ld.so called by name: it stands elsewhere. */
	whole_expect_code(anywhere);
	int result = image_load(program, whole_place(data_offset(program), anywhere, !has_interpreter));
	if (result == 0 && has_interpreter)
		result = image_load(interpreter, whole_layout.mappings);
	if (result == 0 && has_interpreter)
		image_bring_in(interpreter);
	if (result == 0)
		result = stack_map(program);
	if (result == 0)
		result = stack_fill(loader);
	const struct image *first = has_interpreter ? interpreter : program;
	loader->entry = first->bias + first->header.e_entry;
	whole_set_break(whole_place_heap(program->bias + program->end, anywhere, !has_interpreter));
	if (result < 0)
		snprintf(loader->message, sizeof(loader->message), "%.150s: %s", loader->name,
		         why_not(result));
	return result;
}

/* ---- What others see of it ---------------------------------------------------------------------- */

/* The numbers of /proc/self/stat from @first on, of fields numbered as in proc(5). */
static bool read_fields(unsigned long *field, unsigned first, unsigned last)
{
	char text[2048];
	int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = file >= 0 ? read(file, text, sizeof(text) - 1) : -1;
	if (file >= 0)
		close(file);
	text[n > 0 ? n : 0] = '\0';
	char *at = strrchr(text, ')'); /* the second field ends */
	unsigned number = 2;
	while (at != NULL && number < last) {
		at = strchr(at, ' ');
		if (at != NULL && ++number >= first)
			field[number] = strtoul(at, NULL, 10);
		at = at != NULL ? at + 1 : NULL;
	}
	return number == last && at != NULL;
}

/* It is the kernel that answers, from anonymous memory: a copy of the words in memory of ours. */
void loader_present(const struct loader *loader)
{
	unsigned long field[52] = { 0 };
	size_t bytes = 0, at = 0;
	for (char **argument = loader->arguments; *argument != NULL; argument++)
		bytes += strlen(*argument) + 1;
	char *copy = host_metadata(bytes);
	if (copy == NULL || !read_fields(field, 26, 51))
		return;
	for (char **argument = loader->arguments; *argument != NULL; argument++)
		at = (size_t)(stpcpy(copy + at, *argument) - copy) + 1;
	const struct prctl_mm_map map = {
		.start_code = field[26],
		.end_code = field[27],
		.start_stack = field[28],
		.start_data = field[45],
		.end_data = field[46],
		.start_brk = field[47],
		.brk = (uintptr_t)sbrk(0),
		.arg_start = (uintptr_t)copy,
		.arg_end = (uintptr_t)copy + bytes,
		.env_start = field[50],
		.env_end = field[51],
		.auxv = (void *)loader->auxiliary,
		.auxv_size = (unsigned)(loader->auxiliary_words * sizeof(*loader->auxiliary)),
		.exe_fd = (unsigned)-1,
	};
	prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0); /* as without, if it is refused */
}
