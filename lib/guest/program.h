/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * program.h - which program an execve means, and whether it can be run here
 *
 * From a name, by way of scripts, to an ELF file and its interpreter (ld.so), with the kernel's
 * errors in the kernel's order: all of them are found before anything is lost. The command looks
 * so at the program that it is to run, and a program inside at the one that it executes.
 *
 * Locks: none. Signal context: all.
 * Source: execve(2), execveat(2), elf(5), capabilities(7); fs/exec.c, fs/binfmt_elf.c and
 * fs/binfmt_script.c of Linux.
 */
#ifndef UPAGE_GUEST_PROGRAM_H
#define UPAGE_GUEST_PROGRAM_H

#include <elf.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRAM_SCRIPTS 5 /* that run one another, as the kernel allows */
#define PROGRAM_LINE 256  /* bytes of a script that the kernel looks at */
#define PROGRAM_HEADERS 64

/* One ELF file. */
struct image {
	int descriptor; /* -1: there is none                                       */
	Elf64_Ehdr header;
	Elf64_Phdr segment[PROGRAM_HEADERS];
	uintptr_t bias;       /* what is added to its addresses                    */
	uintptr_t start, end; /* of its segments, as in the file, whole pages      */
};

struct program {
	struct image image, interpreter;
	/* Of scripts: what stands in place of argument 0. */
	const char *word[2 * (PROGRAM_SCRIPTS + 1) + 1];
	size_t words;
	const char *culprit, *why; /* what cannot be run, and why; why NULL: as the error says */
	char line[PROGRAM_SCRIPTS + 1][PROGRAM_LINE + 1];
	char path[PATH_MAX + 1];   /* of the interpreter */
};

/**
 * program_find - open a program and see whether it can be run
 * @directory: and
 * @path: in our memory; and
 * @flags: as execveat's
 * @name: what it is called in the arguments of a script's interpreter; NULL: nothing by which
 *        that could open it
 *
 * Descriptors have high numbers, and are closed by execve. Return: 0, then program_close() is
 * due; or a negated errno value, as execve's, and culprit and why.
 */
int program_find(struct program *program, int directory, const char *path, int flags,
                 const char *name);

/* The same where the ELF file is open already. */
int program_take(struct program *program, int descriptor);

void program_close(struct program *program);

/* Whether the kernel would give the file rights that this process does not have: set-uid, set-gid,
 * capabilities. */
bool program_is_privileged(const struct program *program);

/* "/proc/self/fd/N" or "/dev/fd/N". Return: the end. */
#define PROGRAM_LINK 32
char *program_link(char text[PROGRAM_LINK], const char *directory, int descriptor);

#endif
