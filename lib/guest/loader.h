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

#include <stdint.h>

/* What a program is started with. */
struct loader {
	char path[4096];        /* in: as found; of a script, that of its interpreter at last  */
	char real_path[4096];   /* out: what /proc/self/exe shows                              */
	char **arguments;       /* in, out: NULL-terminated; a script's has more               */
	char **environment;
	uintptr_t entry, stack; /* out: where it begins                                        */
	char message[256];      /* out: why not                                                */
};

/* Whether the file can be run. Return: 0, or a negated errno value as execve's: message says why. */
int loader_check(struct loader *loader);

/* Puts it into whole_space. Return: the same. */
int loader_load(struct loader *loader);

#endif
