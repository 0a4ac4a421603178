/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * process.h - what an execve of a whole program becomes: this command again, its successor
 *
 * The program is found, and all its errors are, before the kernel is asked for anything. The
 * kernel then executes the command, by a descriptor of it, with the words
 *
 *      upage run OPTION... --resume=NUMBER,... NAME ARGUMENT...
 *
 * where NUMBERs are what only this process knows (enum process_resume), most of them descriptors
 * that are left open, the last of them any number of descriptors of files with record locks; NAME is what the program was executed as, and ARGUMENTs are the program's.
 */
#ifndef UPAGE_GUEST_PROCESS_H
#define UPAGE_GUEST_PROCESS_H

#include <stdatomic.h>
#include <stdint.h>

enum process_resume {
	RESUME_PROGRAM,  /* its ELF file, open                             */
	RESUME_COMMAND,  /* that of this command: there may be no /proc    */
	RESUME_AREA,     /* of statistics                                  */
	RESUME_TERMINAL, /* of the first process                           */
	RESUME_FIRST,    /* 1: it is that one                              */
	RESUME_VERBOSE,  /* where the log goes                             */
	RESUME_STACK,    /* the program's soft limit of it, if it was changed */
	RESUME_AREAS,    /* its limits of limit.h: soft, hard              */
	RESUME_AREAS_HARD,
	RESUME_DATA,
	RESUME_DATA_HARD,
	RESUME_FILE,
	RESUME_FILE_HARD,
	RESUME_GAIN,     /* what gain.h says of a successor                */
	RESUMES
};
#define RESUME_NONE (UINT64_MAX - 1)

/* With a larger stack than this the kernel puts the command where its program goes. */
#define STACK_LIMIT_MOST ((uint64_t)1 << 40)
#define STACK_LIMIT_USUAL ((uint64_t)64 << 20)

/* The file of the command; -1: what the program executes is the kernel's. Its words. */
extern _Atomic int process_command;
extern const char *const *process_words;

#endif
