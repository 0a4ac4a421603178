/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loader.h - a program from its file into the space: ELF, interpreters, scripts, the first stack
 *
 * Signal context: no; before the program runs.
 * Source: execve(2), elf(5), getauxval(3); fs/binfmt_elf.c and fs/binfmt_script.c of Linux; System V
 * ABI, AMD64 supplement, 3.4 (process initialization).
 */
#ifndef UPAGE_GUEST_LOADER_H
#define UPAGE_GUEST_LOADER_H

#include <stddef.h>
#include <stdint.h>

#include "program.h"

/* What a program is started with. */
struct loader {
	struct program program;
	const char *name;       /* as it was executed: its path                            */
	char **arguments;       /* NULL-terminated                                         */
	char **environment;
	uintptr_t entry, stack; /* out: where it begins                                    */
	uintptr_t *auxiliary;   /* out: its vector, of so many words                       */
	size_t auxiliary_words;
	char message[256];      /* out: why not                                            */
};

/* Puts it into whole_space. Return: 0, or a negated errno value: message says why. */
int loader_load(struct loader *loader);

/* Has /proc show the arguments and the vector as the program's, to others too. */
void loader_present(const struct loader *loader);

#endif
