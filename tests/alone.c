/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alone.c - what a program sees of its own threads, of signals and of ends, while frames are short
 *
 * Writes a transcript. check-reclaim.sh runs it natively, and paged with reclaimers in little memory:
 * there must be no difference.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES ((size_t)2048)

static volatile unsigned char *memory;

/* Twice as much as there is: reclaimers are at work afterwards. */
static void storm(void)
{
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < PAGES; i++) {
			volatile uint32_t *words = (volatile uint32_t *)(uintptr_t)(memory + i * PAGE);
			if (words[1] != 0 && words[1] != (uint32_t)i + 1)
				printf("WRONG: page %zu has %u\n", i, words[1]);
			words[1] = (uint32_t)i + 1;
		}
	}
}

static int line_number(const char *path, const char *name)
{
	char line[300];
	int number = -1;
	FILE *file = fopen(path, "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			number = atoi(line + strlen(name));
	if (file != NULL)
		fclose(file);
	return number;
}

/* The number of threads, as a word of stat. */
static int stat_threads(void)
{
	char text[1000] = "";
	FILE *file = fopen("/proc/self/stat", "r");
	if (file == NULL || fgets(text, sizeof(text), file) == NULL)
		return -1;
	fclose(file);
	char *word = strrchr(text, ')');
	for (int i = 2; i < 20 && word != NULL; i++)
		word = strchr(word + 1, ' ');
	return word != NULL ? atoi(word) : -1;
}

static unsigned listed(const char *path)
{
	unsigned count = 0;
	DIR *directory = opendir(path);
	while (directory != NULL && readdir(directory) != NULL)
		count++;
	if (directory != NULL)
		closedir(directory);
	return count;
}

static void count_threads(const char *when)
{
	char path[64];
	struct stat status;
	for (int i = 0; i < 5; i++) {
		storm();
		unsigned self = listed("/proc/self/task");
		storm();
		snprintf(path, sizeof(path), "/proc/%d/task", getpid());
		unsigned by_id = listed(path);
		storm();
		int threads = line_number("/proc/self/status", "Threads:");
		storm();
		int in_stat = stat_threads();
		storm();
		int links = stat("/proc/self/task", &status) == 0 ? (int)status.st_nlink : -1;
		printf("%s: %u and %u entries, %d threads, %d in stat, %d links\n", when, self, by_id, threads, in_stat,
		       links);
	}
}

/* ---- Signals ------------------------------------------------------------------------------ */

static volatile sig_atomic_t taken, elsewhere;

static void on_signal(int number)
{
	(void)number;
	taken = taken + 1;
	elsewhere = elsewhere + (syscall(SYS_gettid) != getpid());
}

static void signals(void)
{
	const int numbers[] = { SIGUSR1, SIGRTMIN, SIGRTMAX };
	sigset_t set;
	sigemptyset(&set);
	for (int i = 0; i < 3; i++) {
		sigaction(numbers[i], &(struct sigaction){ .sa_handler = on_signal }, NULL);
		sigaddset(&set, numbers[i]);
	}
	for (int round = 0; round < 10; round++) {
		storm();
		sigprocmask(SIG_BLOCK, &set, NULL);
		int before = taken;
		for (int i = 0; i < 3; i++)
			kill(getpid(), numbers[i]);
		if (taken != before)
			puts("WRONG: one was taken though it was blocked");
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	printf("%d signals, %d elsewhere\n", (int)taken, (int)elsewhere);
}

/* ---- Ends, and what takes a process of one thread ------------------------------------------- */

static void in_child(const char *what, void (*body)(void))
{
	int status = 0;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		storm();
		body();
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("%s: status %x\n", what, status);
}

static void say(const char *what, long result)
{
	printf("%s: %ld, %s\n", what, result, result < 0 ? strerrorname_np(errno) : "no error");
}

static void unshare_user(void)
{
	for (int i = 0; i < 3; i++) {
		storm();
		say("unshare", unshare(CLONE_NEWUSER));
	}
}

static void unshare_files(void)
{
	storm();
	say("unshare", unshare(CLONE_FS | CLONE_FILES));
	storm();
}

static void rights(void)
{
	storm();
	say("setgroups", syscall(SYS_setgroups, 0, NULL));
	storm();
	say("setresgid", syscall(SYS_setresgid, 65534, 65534, 65534));
	storm();
	say("setresuid", syscall(SYS_setresuid, 65534, 65534, 65534));
	storm();
	/* All threads have the same, and none is left that has more. */
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	while (tasks != NULL && (task = readdir(tasks)) != NULL) {
		char path[300];
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", task->d_name);
		if (task->d_name[0] != '.')
			printf("a thread of user %d\n", line_number(path, "Uid:"));
	}
}

static void exit_alone(void)
{
	storm();
	syscall(SYS_exit, 7);
}

static void *exit_later(void *argument)
{
	(void)argument;
	sleep(2); /* the other one has ended */
	storm();
	syscall(SYS_exit, 5);
	return NULL;
}

static void exit_one_after_the_other(void)
{
	pthread_t thread;
	pthread_create(&thread, NULL, exit_later, NULL);
	storm();
	syscall(SYS_exit, 3);
}

static void *end_later(void *argument)
{
	usleep(20000);
	storm();
	return argument;
}

static void end_by_pthread_exit(void)
{
	pthread_t thread;
	for (int i = 0; i < 3; i++)
		pthread_create(&thread, NULL, end_later, NULL);
	pthread_exit(NULL);
}

static void be_killed(void)
{
	storm();
	kill(getpid(), SIGTERM);
}

static void execute(void)
{
	storm();
	execl("/proc/self/exe", "alone", "again", (char *)NULL);
}

static void spawn(void)
{
	for (int i = 0; i < 3; i++) {
		int status = -1;
		storm();
		pid_t child = vfork();
		if (child == 0) {
			storm();
			execl("/bin/true", "true", (char *)NULL);
			_exit(1);
		}
		waitpid(child, &status, 0);
		printf("spawned: status %x\n", status);
	}
}

static void *wait_there(void *argument)
{
	pthread_barrier_wait(argument);
	pthread_barrier_wait(argument);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_barrier_t barrier;
	pthread_t thread;
	memory = calloc(PAGES, PAGE);
	if (argc > 1) {
		count_threads(argv[1]);
		return 0;
	}
	count_threads("alone");
	signals();
	in_child("user namespace", unshare_user);
	in_child("files", unshare_files);
	in_child("rights", rights);
	in_child("one thread", exit_alone);
	in_child("two threads", exit_one_after_the_other);
	in_child("pthread_exit", end_by_pthread_exit);
	in_child("killed", be_killed);
	in_child("executes", execute);
	in_child("spawns", spawn);
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, wait_there, &barrier);
	pthread_barrier_wait(&barrier);
	count_threads("with another");
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	count_threads("alone again");
	return 0;
}
