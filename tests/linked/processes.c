/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * processes.c - fork and its relatives, with memory that is mostly out
 *
 *     processes [--size BYTES] [NAME]
 *
 * BYTES (1 MiB) is what each of five processes has of its own. The transcript is the same on
 * every run; check-processes.sh compares that of a native program with that of a linked one.
 * The tests are in the other files of this name.
 */
#include "processes.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

size_t size = 1 << 20;

int wait_for(pid_t child)
{
	int status = -1;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

int list_descriptors(void)
{
	int count = 0;
	DIR *list = opendir("/proc/self/fd");
	MUST_BE(list != NULL);
	while (readdir(list) != NULL)
		count++;
	closedir(list);
	return count;
}

/* ---- Memory that tells whose it is ----------------------------------------------------- */

uint64_t word_of(unsigned who, size_t i)
{
	uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u + who * 0xbf58476d1ce4e5b9u;
	return z ^ (z >> 31);
}

void write_memory(uint64_t *memory, size_t bytes, unsigned who)
{
	for (size_t i = 0; i < bytes / sizeof(*memory); i++)
		memory[i] = word_of(who, i);
}

size_t wrong_words(const uint64_t *memory, size_t bytes, unsigned who)
{
	size_t wrong = 0;
	for (size_t i = 0; i < bytes / sizeof(*memory); i++)
		wrong += memory[i] != word_of(who, i);
	return wrong;
}

uint64_t *new_memory(size_t bytes, unsigned who)
{
	void *memory = NULL;
	MUST_BE(posix_memalign(&memory, PAGE, bytes) == 0);
	write_memory(memory, bytes, who);
	return memory;
}

int main(int argc, char **argv)
{
	int first = 1;
	if (argc == 3 && strcmp(argv[1], "--status") == 0)
		return atoi(argv[2]);
	if (argc == 3 && strcmp(argv[1], "--inherited") == 0)
		return inherited(argv[2]);
	if (argc > 2 && strcmp(argv[1], "--size") == 0) {
		size = (size_t)strtoul(argv[2], NULL, 0) / (2 * PAGE) * (2 * PAGE);
		first = 3;
	}
	const char *only = first < argc ? argv[first] : NULL;
	run_tests(fork_tests, only);
	run_tests(execute_tests, only);
	run_tests(end_tests, only);
	return 0;
}
