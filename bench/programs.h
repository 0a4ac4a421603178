/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * programs.h - whole programs that benchmarks run, natively and paged
 *
 * A command is the shell's, in whose environment $UPAGE is the words of `upage run`, or nothing. It
 * runs in a directory of its own, with what `programs_inputs` makes there; what it prints is
 * thrown away; that its status is 0 is all that is asked of it here (the tests compare).
 */
#ifndef UPAGE_BENCH_PROGRAMS_H
#define UPAGE_BENCH_PROGRAMS_H

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define AMPLE "2G" /* more than any of them touches */

/* Of one run. */
struct times {
	double wall, processor; /* ms */
};

static char programs_upage[PATH_MAX]; /* the command */
static char programs_directory[] = "/tmp/upage-bench-XXXXXX";

static const char programs_inputs[] =
        "awk 'BEGIN { for (x = 1; i++ < 400000;) { x = (x * 69069 + 12345) % 4294967296;\n"
        "  printf \"%d line %x %d\\n\", x % 1000003, x % 65521, i } }' >lines\n"
        "cat lines lines lines lines >large; head -n 20000 lines >part\n"
        "awk 'BEGIN { for (x = 3; i++ < 2026000;) { x = (x * 69069 + 12345) % 4294967296;\n"
        "  printf \"line %d %x\\n\", x % 997, x % 65521 } }' >text\n" /* 28 MB */
        "cat >work.sql <<'E'\n"
        "create table t(a integer primary key, b, c text);\n"
        "with recursive n(x) as (select 1 union all select x + 1 from n where x < 150000)\n"
        "  insert into t select x, x * 7919 % 10007, 'text ' || x * 31 % 1009 from n;\n"
        "create index i on t(b);\n"
        "select c, avg(a) from t group by c order by 2 desc, 1 limit 3;\n"
        "E\n";

/* Runs @command to its end. Return: whether its status was 0. */
static inline bool programs_run(const char *command, struct times *times)
{
	char *arguments[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char *)command, NULL };
	posix_spawn_file_actions_t actions;
	struct rusage usage;
	int status;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	double start = bench_now();
	int result = posix_spawn(&pid, "/bin/sh", &actions, NULL, arguments, environ);
	if (result != 0)
		bench_fail("/bin/sh: %s", strerror(result));
	while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR)
		;
	times->wall = (bench_now() - start) / 1e6;
	times->processor = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
	                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
	posix_spawn_file_actions_destroy(&actions);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The same of one that has to succeed. @upage: the words for $UPAGE. */
static inline struct times programs_must_run(const char *command, const char *upage)
{
	struct times times;
	setenv("UPAGE", upage, 1);
	if (!programs_run(command, &times))
		bench_fail("failed: UPAGE='%s'; %s", upage, command);
	return times;
}

static inline bool programs_have(const char *program)
{
	struct times times;
	char command[200];
	snprintf(command, sizeof(command), "command -v %s", program);
	return programs_run(command, &times);
}

/* The frames that a run takes where they are ample, in bytes. */
static inline unsigned long long programs_footprint(const char *command)
{
	static const char field[] = "\"frames_peak\": ";
	char line[4096] = "", upage[PATH_MAX + 100];
	snprintf(upage, sizeof(upage), "%s run --stats-json footprint.json -m " AMPLE " --", programs_upage);
	programs_must_run(command, upage);
	FILE *file = fopen("footprint.json", "r");
	const char *found = NULL;
	while (found == NULL && file != NULL && fgets(line, sizeof(line), file) != NULL)
		found = strstr(line, field);
	if (found == NULL)
		bench_fail("footprint.json says nothing of frames_peak");
	fclose(file);
	return strtoull(found + sizeof(field) - 1, NULL, 10) * PAGE;
}

/* What is run is found from where we are ourselves: build/bench. */
static inline void programs_find(char here[PATH_MAX - 64])
{
	ssize_t length = readlink("/proc/self/exe", here, PATH_MAX - 65);
	need_host(length > 0, "/proc/self/exe");
	here[length] = '\0';
	*strrchr(here, '/') = '\0';
	snprintf(programs_upage, sizeof(programs_upage), "%s/../tools/upage", here);
	/* Not the wrappers of version managers, which are programs of their own. */
	setenv("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", 1);
	setenv("LC_ALL", "C", 1);
}

static inline void programs_leave(void)
{
	char command[64];
	struct times times;
	snprintf(command, sizeof(command), "rm -rf %s", programs_directory);
	if (chdir("/") == 0)
		programs_run(command, &times);
}

/* Into a new directory, which is removed at the end. */
static inline void programs_enter(void)
{
	need_host(mkdtemp(programs_directory) != NULL && chdir(programs_directory) == 0, programs_directory);
	atexit(programs_leave);
}

#endif
