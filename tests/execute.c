/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * execute.c - every way to execute a program, and what goes along: for check-execute.sh
 *
 * What it prints must be the same natively and under `upage run`. Programs that it executes are
 * itself, as "--say WORD...", scripts, and damaged files in the working directory.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define must(condition)                                                              \
	do {                                                                         \
		if (!(condition)) {                                                  \
			printf("%s: %s\n", #condition, strerror(errno));             \
			exit(99);                                                    \
		}                                                                    \
	} while (0)

extern char **environ;
static char self[4096];

#define SAY(...) (printf(__VA_ARGS__), putchar('\n'), fflush(stdout))

/* ---- The second program ---------------------------------------------------------------------- */

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

static size_t read_file(const char *path, char *text, size_t size)
{
	int file = open(path, O_RDONLY);
	ssize_t n = file >= 0 ? read(file, text, size - 1) : -1;
	close(file);
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

static void say_names(int count, char **arguments)
{
	static char text[1 << 20], again[1 << 20];
	struct stat own, exe;
	size_t bytes = 0;
	for (int i = 0; i < count; i++) {
		memcpy(text + bytes, arguments[i], strlen(arguments[i]) + 1);
		bytes += strlen(arguments[i]) + 1;
	}
	size_t shown = read_file("/proc/self/cmdline", again, sizeof(again));
	SAY("  cmdline %s", shown == bytes && memcmp(text, again, bytes) == 0 ? "right" : again);
	prctl(PR_GET_NAME, text);
	SAY("  name %s, executed as %s", text, base((const char *)getauxval(AT_EXECFN)));
	ssize_t n = readlink("/proc/self/exe", text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	SAY("  file %s", base(text));
	snprintf(again, sizeof(again), "/proc/%d/exe", (int)getpid());
	must(stat("/proc/self/exe", &exe) == 0 && stat(again, &own) == 0);
	SAY("  link %s, size %s", exe.st_ino == own.st_ino ? "right" : "wrong",
	    exe.st_size > 4096 && access("/proc/self/exe", X_OK) == 0 ? "right" : "wrong");
	uint64_t *vector = (uint64_t *)(void *)again;
	shown = read_file("/proc/self/auxv", again, sizeof(again));
	for (size_t i = 0; i + 1 < shown / 8; i += 2)
		if (vector[i] == AT_ENTRY || vector[i] == AT_PHNUM || vector[i] == AT_RANDOM)
			SAY("  vector %d %s", (int)vector[i],
			    vector[i + 1] == getauxval(vector[i]) ? "right" : "wrong");
}

static void say_state(void)
{
	sigset_t mask, pending;
	struct itimerval timer;
	struct rlimit limit;
	char directory[4096];
	sigprocmask(SIG_BLOCK, NULL, &mask);
	sigpending(&pending);
	printf("  blocked");
	for (int i = 1; i < 65; i++)
		if (i != 32 && i != 33 && sigismember(&mask, i))
			printf(" %d%s", i, sigismember(&pending, i) ? " (pending)" : "");
	printf("; not default");
	for (int i = 1; i < 65; i++) {
		struct sigaction action;
		if (sigaction(i, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
			printf(" %d%s", i, action.sa_handler == SIG_IGN ? " (ignored)" : "");
	}
	getitimer(ITIMER_REAL, &timer);
	SAY("; alarm in %d", timer.it_value.tv_sec > 90);
	mode_t before = umask(0);
	getrlimit(RLIMIT_CORE, &limit);
	SAY("  umask %o, cores %d, group %s, parent %s, directory %s", before, (int)limit.rlim_cur,
	    getpgrp() == getpid() ? "own" : "given", getsid(0) == getpid() ? "none" : "some",
	    base(getcwd(directory, sizeof(directory))));
	getrlimit(RLIMIT_STACK, &limit);
	printf("  stack %llu, descriptors", (unsigned long long)limit.rlim_cur);
	for (int i = 3; i < 8192; i++)
		if (fcntl(i, F_GETFD) >= 0)
			printf(" %d", i);
	printf("\n");
}

static int second(int count, char **arguments)
{
	size_t bytes = 0, variables = 0;
	unsigned sum = 0;
	for (; environ[variables] != NULL; variables++)
		for (const char *c = strncmp(environ[variables], "PARENT=", 7) == 0 ? "" : environ[variables];
		     *c != '\0'; c++)
			sum = sum * 31 + (unsigned char)*c;
	printf("  %d words:", count);
	for (int i = 0; i < count; i++) {
		if (i < 8)
			printf(" %s", strlen(arguments[i]) < 40 ? base(arguments[i]) : "(long)");
		bytes += strlen(arguments[i]) + 1;
	}
	SAY("; %zu variables, sum %u; pid %s", variables, sum,
	    getenv("PARENT") != NULL && atoi(getenv("PARENT")) == getpid() ? "same" : "another");
	SAY("  %s", bytes > 4096 ? "many bytes" : "few bytes");
	say_names(count, arguments);
	say_state();
	return 33;
}

/* ---- The first --------------------------------------------------------------------------------- */

/* What a child does, which executes something; and how it ended. */
static void child_of(const char *title, void (*execute)(void *), void *argument)
{
	int status;
	SAY("%s", title);
	pid_t child = fork();
	if (child == 0) {
		char parent[16];
		snprintf(parent, sizeof(parent), "%d", (int)getpid());
		setenv("PARENT", "0", 1);
		execute(argument);
		SAY("  error %s", strerrorname_np(errno));
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child);
	SAY("  status %x", (unsigned)status);
}

struct way {
	int directory;
	const char *path;
	int flags;
};

static char *words[] = { "second", "--say", "one", "", "two words", NULL };

static void by_execveat(void *argument)
{
	const struct way *way = argument;
	syscall(SYS_execveat, way->directory, way->path, words, environ, way->flags);
}

static void execute_at(const char *title, int directory, const char *path, int flags)
{
	struct way way = { directory, path, flags };
	child_of(title, by_execveat, &way);
}

static void execute(const char *path)
{
	execute_at(path[0] == '/' ? base(path) : path, AT_FDCWD, path, 0);
}

static void write_file(const char *path, const void *bytes, size_t length, mode_t mode)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
	must(file >= 0 && write(file, bytes, length) == (ssize_t)length && fchmod(file, mode) == 0);
	close(file);
}

static void write_text(const char *path, const char *text)
{
	write_file(path, text, strlen(text), 0755);
}

static void copy_self(int file)
{
	static char bytes[1 << 20];
	int own = open(self, O_RDONLY);
	ssize_t n;
	while ((n = read(own, bytes, sizeof(bytes))) > 0)
		must(write(file, bytes, (size_t)n) == n);
	close(own);
}

static void by_number(void *unused)
{
	char path[64];
	(void)unused;
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)getpid());
	execv(path, words);
}

static void names(void)
{
	child_of("/proc/PID/exe", by_number, NULL);
	execute(self);
	execute("/proc/self/exe");
	execute("/proc/thread-self/exe");
	must(symlink(self, "link") == 0);
	execute("./link");
	execute_at("a link, not followed", AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW);
	execute_at("unknown flags", AT_FDCWD, "link", 0x4);
}

static void descriptors(void)
{
	int file = open(self, O_RDONLY | O_CLOEXEC), place = open(self, O_PATH | O_CLOEXEC);
	int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), open_file = open(self, O_RDONLY);
	int memory = memfd_create("in memory", MFD_CLOEXEC);
	char path[64];
	copy_self(memory);
	execute_at("a descriptor that closes", file, "", AT_EMPTY_PATH);
	execute_at("a descriptor that stays", open_file, "", AT_EMPTY_PATH);
	execute_at("O_PATH", place, "", AT_EMPTY_PATH);
	execute_at("a memfd", memory, "", AT_EMPTY_PATH);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	execute_at("/proc/self/fd", AT_FDCWD, path, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	execute_at("/proc/self/fd of a memfd", AT_FDCWD, path, 0);
	execute_at("below a directory", directory, "link", 0);
	execute_at("absolute, and a bad descriptor", 99, self, 0);
	execute_at("a bad descriptor", 99, "", AT_EMPTY_PATH);
	execute_at("relative to a file", file, "link", 0);
	execute_at("no path", file, "", 0);
	close(open_file);
	write_text("shell", "#!/bin/sh\necho script ${0%/[0-9]*} $#\n");
	file = open("shell", O_RDONLY);
	execute_at("a script's descriptor", file, "", AT_EMPTY_PATH);
	fcntl(file, F_SETFD, FD_CLOEXEC);
	execute_at("one that closes", file, "", AT_EMPTY_PATH);
	execute_at("a script below a directory that closes", directory, "shell", 0);
	fcntl(directory, F_SETFD, 0);
	execute_at("a script below a directory", directory, "shell", 0);
	close(directory);
	close(place);
	close(memory);
	close(file);
}

static void scripts(void)
{
	char text[600];
	execute("./shell");
	snprintf(text, sizeof(text), "#! \t%.500s \t--say and \t more \t\n", self);
	write_text("again", text);
	execute("./again");
	for (int i = 1; i <= 6; i++) {
		char name[16];
		snprintf(name, sizeof(name), "nested%d", i);
		snprintf(text, sizeof(text), i > 1 ? "#!./nested%d -%d\n" : "#!./again -%d%d\n", i - 1, i);
		write_text(name, text);
	}
	execute("./nested4");
	execute("./nested6");
	write_text("itself", "#!./itself\n");
	execute("./itself");
	write_text("lost", "#!/no/such/interpreter\n");
	execute("./lost");
	write_text("nameless", "#! \t\necho no\n");
	execute("./nameless");
	write_text("unended", "#!/bin/sh -e");
	execute("./unended");
	memset(text, 'x', 400);
	memcpy(text, "#!/", 3);
	write_file("endless", text, 400, 0755);
	execute("./endless");
	text[200] = ' ';
	write_file("truncated", text, 400, 0755);
	execute("./truncated");
	write_text("directory-script", "#!/\n");
	execute("./directory-script");
}

static void errors(void)
{
	Elf64_Ehdr header;
	char name[5000];
	int file = open(self, O_RDONLY);
	must(read(file, &header, sizeof(header)) == sizeof(header));
	close(file);
	execute("./no-such-file");
	execute("./again/below");
	execute("/");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	execute_at("a long name", AT_FDCWD, name, 0);
	write_file("plain", "text\n", 5, 0755);
	execute("./plain");
	write_file("empty", "", 0, 0755);
	execute("./empty");
	write_file("locked", "#!/bin/sh\n", 10, 0644);
	execute("./locked");
	must(mkfifo("pipe", 0755) == 0);
	execute("./pipe");
	write_file("cut", &header, 40, 0755);
	execute("./cut");
	write_file("headless", &header, sizeof(header), 0755);
	execute("./headless");
	header.e_machine = EM_AARCH64;
	write_file("foreign", &header, sizeof(header), 0755);
	execute("./foreign");
	execute_at("no address", AT_FDCWD, (const char *)16, 0);
}

/* ---- Arguments --------------------------------------------------------------------------------- */

static void with_nothing(void *unused)
{
	(void)unused;
	syscall(SYS_execve, self, NULL, environ);
}

static void with_none(void *unused)
{
	char *none[] = { NULL };
	(void)unused;
	syscall(SYS_execve, self, none, environ);
}

static void with_bad_words(void *unused)
{
	(void)unused;
	syscall(SYS_execve, self, (char **)8, environ);
}

static void with_bad_environment(void *unused)
{
	char *bad[] = { "A=1", (char *)8, NULL };
	(void)unused;
	syscall(SYS_execve, self, words, bad);
}

static void with_no_environment(void *unused)
{
	(void)unused;
	syscall(SYS_execve, self, words, NULL);
}

static void with_many(void *bytes)
{
	static char *many[3002];
	for (int i = 0; i < 3000; i++) {
		many[i] = malloc((size_t)bytes + 1);
		memset(many[i], 'a' + i % 26, (size_t)bytes);
		many[i][(size_t)bytes] = '\0';
	}
	many[0] = "many";
	many[1] = "--say";
	execve(self, many, many);
}

static void with_one(void *bytes)
{
	char *long_word = calloc(1, (size_t)bytes + 1), *one[] = { "long", "--say", long_word, NULL };
	memset(long_word, 'l', (size_t)bytes);
	execv(self, one);
}

static void arguments(void)
{
	child_of("no words at all", with_nothing, NULL);
	child_of("an empty list of words", with_none, NULL);
	child_of("words nowhere", with_bad_words, NULL);
	child_of("a variable nowhere", with_bad_environment, NULL);
	child_of("no environment", with_no_environment, NULL);
	child_of("3000 words and variables", with_many, (void *)(size_t)200);
	child_of("more than fits", with_many, (void *)(size_t)1200);
	child_of("a long word", with_one, (void *)(size_t)130000);
	child_of("too long a word", with_one, (void *)(size_t)131072);
}

/* ---- From where, and with what --------------------------------------------------------------- */

static void *thread_main(void *unused)
{
	execv(self, words);
	return unused;
}

static void sleep_on(void)
{
	for (;;)
		pause();
}

static void *sleeper(void *unused)
{
	sleep_on();
	return unused;
}

static void from_a_thread(void *unused)
{
	pthread_t thread;
	char parent[16];
	(void)unused;
	snprintf(parent, sizeof(parent), "%d", (int)getpid());
	setenv("PARENT", parent, 1);
	for (int i = 0; i < 3; i++)
		must(pthread_create(&thread, NULL, sleeper, NULL) == 0);
	must(pthread_create(&thread, NULL, thread_main, NULL) == 0);
	sleep_on();
}

static void from_vfork(void *unused)
{
	int status = 0;
	(void)unused;
	for (volatile int i = 0; i < 2; i++) {
		pid_t child = vfork();
		if (child == 0) {
			execv(i == 0 ? "./lost" : self, words);
			_exit(errno);
		}
		waitpid(child, &status, 0);
		SAY("  child %x", (unsigned)status);
	}
	_exit(0);
}

static void from_spawn(void *unused)
{
	int status = 0;
	pid_t child;
	(void)unused;
	SAY("  spawn %d", posix_spawn(&child, "./lost", NULL, NULL, words, environ));
	must(posix_spawn(&child, self, NULL, NULL, words, environ) == 0);
	waitpid(child, &status, 0);
	SAY("  child %x", (unsigned)status);
	_exit(0);
}

static void handler(int number)
{
	(void)number;
}

static void with_state(void *unused)
{
	const struct itimerval timer = { .it_value = { .tv_sec = 100 } };
	struct rlimit none = { 0, 0 }, stack;
	sigset_t mask;
	(void)unused;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigaddset(&mask, SIGRTMIN); /* to another C library one of its own */
	sigaddset(&mask, SIGRTMIN + 3);
	sigaddset(&mask, SIGSEGV);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	signal(SIGHUP, SIG_IGN);
	signal(SIGSEGV, SIG_IGN);
	signal(SIGBUS, SIG_IGN);
	signal(SIGUSR1, handler);
	signal(SIGSYS, handler);
	kill(getpid(), SIGUSR2);
	kill(getpid(), SIGRTMIN);
	setitimer(ITIMER_REAL, &timer, NULL);
	umask(027);
	setrlimit(RLIMIT_CORE, &none);
	getrlimit(RLIMIT_STACK, &stack);
	stack.rlim_cur = 3 << 20;
	setrlimit(RLIMIT_STACK, &stack);
	must(setsid() >= 0 && mkdir("below", 0755) == 0 && chdir("below") == 0);
	fcntl(0, F_DUPFD, 100);
	fcntl(0, F_DUPFD_CLOEXEC, 200);
	execv(self, words);
}

static int count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int count = 0;
	must(directory != NULL);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

/* One that the kernel itself refuses, when all else has been done for it, with a trap ignored. */
static void after_too_much(void)
{
	struct rlimit before, after;
	int open_before = count_descriptors(), zeros = 0;
	getrlimit(RLIMIT_STACK, &before);
	signal(SIGSEGV, SIG_IGN);
	with_many((void *)(size_t)1200);
	SAY("  error %s", strerrorname_np(errno));
	char *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 1 << 20; i += 4096)
		zeros += memory[i] == 0;
	getrlimit(RLIMIT_STACK, &after);
	SAY("  %d descriptors more, stack limit %s, pages %d", count_descriptors() - open_before,
	    before.rlim_cur == after.rlim_cur ? "the same" : "another", zeros);
}

/* One that fails changes nothing. */
static void after_a_failure(void *unused)
{
	sigset_t mask;
	after_too_much();
	signal(SIGUSR1, handler);
	signal(SIGSEGV, handler);
	execv("./lost", words);
	execv("./plain", words);
	kill(getpid(), SIGUSR1);
	raise(SIGSEGV);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	SAY("  still here: %d", sigisemptyset(&mask));
	with_state(unused);
}

static void conditions(void)
{
	child_of("from a thread", from_a_thread, NULL);
	child_of("after vfork", from_vfork, NULL);
	child_of("by posix_spawn", from_spawn, NULL);
	child_of("after a failure, with all that goes along", after_a_failure, NULL);
}

/* A chain: each executes the next. */
static int count_down(int left)
{
	char number[16], *next[] = { "chain", "--count", number, NULL };
	if (left == 0)
		return 44;
	snprintf(number, sizeof(number), "%d", left - 1);
	execv("/proc/self/exe", next);
	return 45;
}

static void by_chain(void *length)
{
	_exit(count_down((int)(size_t)length));
}

/* The file goes on behind the data, but memory does not. */
static void say_zeros(void)
{
	extern const char __bss_start[];
	const char *at = __bss_start + 256; /* before it is what the loader has filled */
	size_t others = 0;
	for (; (uintptr_t)at % 4096 != 0; at++)
		others += *at != 0;
	if (others != 0)
		SAY("%zu bytes of what is uninitialized are not zero", others);
}

int main(int count, char **arguments_of)
{
	say_zeros();
	if (count == 1 && arguments_of[0][0] == '\0') /* executed with no words */
		return second(count, arguments_of);
	if (count > 1 && strcmp(arguments_of[1], "--say") == 0)
		return second(count, arguments_of);
	if (count > 2 && strcmp(arguments_of[1], "--count") == 0)
		return count_down(atoi(arguments_of[2]));
	must(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	setenv("PARENT", "0", 1);
	if (count > 1) { /* a longer chain, and nothing else */
		by_chain((void *)(size_t)atoi(arguments_of[1]));
		return 1;
	}
	names();
	descriptors();
	scripts();
	errors();
	arguments();
	conditions();
	child_of("a chain", by_chain, (void *)(size_t)20);
	return 0;
}
