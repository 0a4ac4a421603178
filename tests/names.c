/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * names.c - what /proc says of a program, asked by each of the names that its files there have
 *
 * Writes a transcript, which is the same natively and under `upage run`.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char text[1 << 16];

static int read_all(int file)
{
	size_t length = 0;
	ssize_t n;
	while (file >= 0 && (n = read(file, text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)n;
	text[length] = '\0';
	if (file >= 0)
		close(file);
	return file;
}

static const char *who(long number)
{
	return number == getpid() ? "the process" : number == syscall(SYS_gettid) ? "the thread" : "another";
}

/* Whether the line of maps that main() lies in is named as the program is; the others are no matter. */
static void tell_maps(const char *how)
{
	const char *found = "no line", *line = text;
	for (; *line != '\0'; line = strchr(line, '\n') + 1) {
		uintptr_t at = (uintptr_t)tell_maps;
		char *dash;
		uintptr_t start = strtoull(line, &dash, 16), end = strtoull(dash + 1, NULL, 16);
		if (at >= start && at < end)
			found = strncmp(strchr(line, '\n') - 6, "/names", 6) == 0 ? "the program" : "other";
	}
	printf("maps %s: %s\n", how, found);
}

static void tell_status(const char *how)
{
	const char *line = strstr(text, "\nPid:");
	printf("status %s: %s, %.11s\n", how, line != NULL ? who(atol(line + 6)) : "none", text);
}

/* Whose time it is; each thread has had more than 0.2 s. */
static const char *whose(long ticks)
{
	struct timespec all, own;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &all);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own);
	double seconds = (double)ticks / (double)sysconf(_SC_CLK_TCK);
	return seconds > (double)all.tv_sec + (double)all.tv_nsec / 1e9 - 0.1   ? "the process"
	       : seconds > (double)own.tv_sec + (double)own.tv_nsec / 1e9 - 0.1 ? "the thread"
	                                                                        : "nobody";
}

static void tell_stat(const char *how)
{
	const char *end = strrchr(text, ')');
	long user = 0, system = 0, size = 0;
	if (end != NULL)
		sscanf(end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld %*d %*d %*d %*d %*d %*d %*u %ld",
		       &user, &system, &size);
	printf("stat %s: %s, %.*s, the time of %s, %s\n", how, who(atol(text)),
	       end != NULL ? (int)(end + 1 - strchr(text, '(')) : 0, strchr(text, '('), whose(user + system),
	       size < (long)1 << 31 ? "small" : "large");
}

/* Each name under which the directory of this process, or of a thread, can be had; # is the number of either. */
static const char directories[][52] = {
	"/proc/self/", "/proc/self/../self/", "//proc/self/", "/proc//self/", "/proc/./self/", "/proc/self/fd/../",
	"/proc/self//", "/../proc/self/", "/proc/self/task/../", "/proc/self/cwd/../../../../../../../../proc/self/", "/dev/fd/../",
	"/dev/../proc/self/", "/proc/thread-self/", "/proc/thread-self/../../", "/proc/#/", "/proc/self/task/#/",
	"/proc/#/../../proc/self/", "/proc/self/../#/",
};

static char *join(const char *directory, int number, const char *name)
{
	static char path[PATH_MAX];
	const char *mark = strchr(directory, '#');
	if (mark == NULL)
		snprintf(path, sizeof(path), "%s%s", directory, name);
	else
		snprintf(path, sizeof(path), "%.*s%d%s%s", (int)(mark - directory), directory, number, mark + 1, name);
	return path;
}

static void each_directory(int number)
{
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
		const char *name = directories[i];
		read_all(open(join(name, number, "maps"), O_RDONLY));
		tell_maps(name);
		read_all(openat(-1, join(name, number, "status"), O_RDONLY));
		tell_status(name);
		read_all(open(join(name, number, "stat"), O_RDONLY | O_CLOEXEC));
		tell_stat(name);
		ssize_t n = readlink(join(name, number, "exe"), text, sizeof(text) - 1);
		text[n > 0 ? n : 0] = '\0';
		printf("exe %s: %s\n", name, n > 0 ? strrchr(text, '/') : "none");
	}
}

/* Names from a directory: its descriptor, or the working directory. */
static void each_relative(const char *directory, const char *maps, const char *exe)
{
	const struct {
		uint64_t flags, mode, resolve;
	} how = { O_RDONLY, 0, 0 };
	int file = open(directory, O_PATH | O_DIRECTORY);
	read_all(openat(file, maps, O_RDONLY));
	tell_maps("by openat");
	read_all((int)syscall(SYS_openat2, file, maps, &how, sizeof(how)));
	tell_maps("by openat2");
	ssize_t n = readlinkat(file, exe, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	printf("exe by readlinkat: %s\n", n > 0 ? strrchr(text, '/') : "none");
	close(file);
	if (chdir(directory) != 0)
		printf("no directory %s\n", directory);
	read_all(open(maps, O_RDONLY));
	tell_maps("by its relative name");
	n = readlink(exe, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	printf("exe by its relative name: %s\n", n > 0 ? strrchr(text, '/') : "none");
	file = openat(file, "maps", O_RDONLY);
	printf("a descriptor that is closed: %d %d\n", file, errno);
}

/* What is wrong with an open. */
static void errors(void)
{
	static const int flags[] = { O_RDONLY | O_DIRECTORY, O_RDONLY | O_CREAT | O_EXCL, O_RDONLY | O_TRUNC, O_RDWR };
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		int file = open("/proc/self/maps", flags[i], 0600);
		printf("opened with %x: %d, errno %d\n", (unsigned)flags[i], file >= 0, file < 0 ? errno : 0);
		if (file >= 0)
			close(file);
	}
}

/* Files that are only called so. */
static void others(void)
{
	char directory[] = "/tmp/namesXXXXXX";
	if (mkdtemp(directory) == NULL || chdir(directory) != 0)
		exit(1);
	int file = open("maps", O_RDWR | O_CREAT, 0600);
	printf("written: %zd\n", write(file, "0-0 nothing\n", 12));
	close(file);
	read_all(open("maps", O_RDONLY));
	printf("read: %s", text);
	printf("link: %d\n", symlink("/proc/self/exe", "exe"));
	ssize_t n = readlink("exe", text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	printf("it says: %s\n", text);
	unlink("maps");
	unlink("exe");
	chdir("/");
	rmdir(directory);
}

static void be_busy(void)
{
	struct timespec used;
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	while (used.tv_sec == 0 && used.tv_nsec < 220000000);
}

static void *other(void *argument)
{
	(void)argument;
	be_busy();
	prctl(PR_SET_NAME, "other");
	each_directory(getpid());
	each_directory((int)syscall(SYS_gettid));
	return NULL;
}

/* Once more, by a link to the name that the process has itself. */
static int execute_link(const char *before)
{
	char link[40];
	sprintf(link, "/tmp/names-%d", getpid());
	unlink(link);
	if (strcmp(before, "linked") == 0)
		return 0;
	fflush(stdout);
	if (symlink("/proc/self/exe", link) == 0)
		execl(link, "names", "linked", (char *)NULL);
	return 1;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	if (argc > 1) { /* executed by another name of its file */
		printf("again: %s\n", argv[1]);
		return execute_link(argv[1]);
	}
	be_busy();
	each_directory(getpid());
	pthread_create(&thread, NULL, other, NULL);
	pthread_join(thread, NULL);
	each_relative("/proc/self", "maps", "exe");
	each_relative("/proc", "self/maps", "self/exe");
	each_relative("/proc/self/fd", "../maps", "../exe");
	errors();
	others();
	fflush(stdout);
	if (chdir("/proc/self") == 0)
		execl("exe", "names", "yes", (char *)NULL);
	return 1;
}
