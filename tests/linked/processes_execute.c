/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * processes_execute.c - tests of processes.c: vfork(2), posix_spawn(3), system(3), execve(2)
 */
#include "processes.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern char **environ;

/* Strings on pages that are out. */
static char *out(const char *text)
{
	void *block = NULL;
	MUST_BE(posix_memalign(&block, PAGE, PAGE) == 0);
	strcpy(block, text);
	madvise(block, PAGE, MADV_PAGEOUT);
	return block;
}

static void vforks(void)
{
	const char *program = self_path();
	volatile int changed = 1;
	uint64_t *memory = new_memory(100 * PAGE, 11);
	pid_t child = vfork();
	if (child == 0) {
		changed = 2;
		memory[5] = 12345; /* seen by the parent: the memory is one */
		_exit(17);
	}
	say("status %x, changed %d, %llu", (unsigned)wait_for(child), changed,
	    (unsigned long long)memory[5]);
	volatile int good = 0;
	for (volatile int i = 0; i < 50; i++) {
		child = vfork();
		if (child == 0) {
			execl(program, "processes", "--status", "23", (char *)NULL);
			_exit(111);
		}
		good += wait_for(child) == 23 << 8;
	}
	child = vfork();
	if (child == 0) {
		execl("/nowhere/at/all", "nothing", (char *)NULL);
		_exit(errno == ENOENT ? 24 : 25);
	}
	say("executed well: %d of 50, nothing: status %x", good, (unsigned)wait_for(child));
	memory[5] = word_of(11, 5);
	say("wrong here: %zu", wrong_words(memory, 100 * PAGE, 11));
	free(memory);
}

/* The first pages that leave the memory of a forked process do so while a child of vfork borrows it: what they are
 * written to has to be there for both. */
static void borrowers(void)
{
	pid_t forked = fork();
	if (forked == 0) {
		uint64_t *memory = malloc(size);
		MUST_BE(memory != NULL);
		pid_t child = vfork();
		if (child == 0) {
			write_memory(memory, size, 12);
			_exit(18);
		}
		int status = wait_for(child);
		size_t wrong = wrong_words(memory, size, 12);
		free(memory);
		_exit(wrong == 0 && status == 18 << 8 ? 19 : 20);
	}
	say("status %x", (unsigned)wait_for(forked));
}

static void shell(void)
{
	char line[100];
	char *command = out("exit 5"), *printing = out("echo one; echo two; exit 6"),
	     *counting = out("read first; read second; test \"$first$second\" = ab");
	say("system: %x", (unsigned)system(command));
	say("system of nothing: %d", system(NULL) != 0);
	FILE *stream = popen(printing, "r");
	MUST_BE(stream != NULL);
	while (fgets(line, sizeof(line), stream)) {
		line[strcspn(line, "\n")] = 0;
		say("popen: %s", line);
	}
	say("pclose: %x", (unsigned)pclose(stream));
	stream = popen(counting, "w");
	MUST_BE(stream != NULL);
	fputs("a\nb\n", stream);
	say("pclose: %x", (unsigned)pclose(stream));
	free(command);
	free(printing);
	free(counting);
}

static void spawns(void)
{
	int good = 0;
	pid_t child;
	char *arguments[] = { out("processes"), out("--status"), out("31"), NULL };
	char *path = out(self_path()), *shell_name = out("sh");
	for (int i = 0; i < 50; i++) {
		for (int j = 0; j < 3; j++)
			madvise(arguments[j], PAGE, MADV_PAGEOUT);
		if (posix_spawn(&child, path, NULL, NULL, arguments, environ) == 0)
			good += wait_for(child) == 31 << 8;
	}
	say("spawned well: %d of 50", good);
	char *words[] = { shell_name, out("-c"), out("exit 32"), NULL };
	MUST_BE(posix_spawnp(&child, shell_name, NULL, NULL, words, environ) == 0);
	say("posix_spawnp: status %x", (unsigned)wait_for(child));
	for (int i = 0; i < 3; i++)
		free(arguments[i]);
	free(path);
	free(shell_name);
	free(words[1]);
	free(words[2]);
}

/* A program that executes itself keeps its descriptors, its mask and its number. */
static void executes(void)
{
	sigset_t mask;
	char number[16];
	pid_t child = fork();
	if (child == 0) {
		sigemptyset(&mask);
		sigaddset(&mask, SIGUSR2);
		sigprocmask(SIG_SETMASK, &mask, NULL);
		signal(SIGHUP, SIG_IGN);
		signal(SIGUSR1, exit);
		snprintf(number, sizeof(number), "%d", (int)getpid());
		execl(self_path(), "processes", "--inherited", number, (char *)NULL);
		_exit(111);
	}
	say("status %x", (unsigned)wait_for(child));
}

int inherited(const char *number)
{
	sigset_t mask;
	struct sigaction action;
	int status = 0;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int signal = 1; signal < 65; signal++)
		if (signal != 32 && signal != 33 &&
		    sigismember(&mask, signal) != (signal == SIGUSR2))
			status |= 1;
	sigaction(SIGHUP, NULL, &action);
	status |= action.sa_handler == SIG_IGN ? 0 : 2;
	sigaction(SIGUSR1, NULL, &action);
	status |= action.sa_handler == SIG_DFL ? 0 : 4;
	status |= atoi(number) == getpid() ? 0 : 8;
	return status;
}

const struct test execute_tests[] = {
	{ "vforks", vforks },
	{ "borrowers", borrowers },
	{ "shell", shell },
	{ "spawns", spawns },
	{ "executes", executes },
	{ 0 },
};
