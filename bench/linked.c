/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * linked.c - what linking with libupage-malloc costs a whole program
 *
 * Question   How much longer does a program run whose heap is paged, when memory is ample: no
 *            page is ever evicted, so that all that is left are the first touches of pages,
 *            another malloc, and system calls that trap?
 * Unit       milliseconds of wall time a run, from fork to the end of the process.
 * Baseline   The same source, linked with the C library's malloc, run by turns with ours.
 * Ratio      Of the two medians. Beside it the least and the largest of single rounds.
 * Target     None yet.
 * Repeat     make bench, or bench/linked [--quick] [--json FILE] [NAME]..., quiet machine. The
 *            programs are tests/linked/NAME-native and NAME-linked: "make check" builds them.
 */
#include "bench.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define AMPLE "memory=512M" /* more than any of them touches */

static const struct workload {
	const char *name;
	int mib, quick_mib;  /* of heap, about */
	const char *script;  /* second argument: a file beside the program's source */
} workloads[] = {
	{ "sqlite", 40, 10, NULL },
	{ "zlib", 40, 16, NULL },
	{ "zstd", 48, 20, NULL },
	{ "lua", 40, 15, "workloads.lua" },
	{ "containers", 40, 10, NULL },
	{ "hash_join", 40, 20, NULL },
};

#define WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))

static unsigned rounds = 11;
static bool quick;
static FILE *json;
static char directory[PATH_MAX - 64]; /* of the programs */

/* The programs are found from where we are ourselves: build/bench, build/tests/linked. */
static void find_directory(void)
{
	ssize_t length = readlink("/proc/self/exe", directory, sizeof(directory) - 32);
	if (length < 0)
		bench_fail("/proc/self/exe: %s", strerror(errno));
	directory[length] = '\0';
	char *slash = strrchr(directory, '/');
	strcpy(slash, "/../tests/linked");
}

static void program_path(char *path, size_t size, const char *name, const char *suffix)
{
	if ((size_t)snprintf(path, size, "%s/%s-%s", directory, name, suffix) >= size)
		bench_fail("the path of %s-%s is too long", name, suffix);
}

/* One run to its end. Return: milliseconds. */
static double run(const char *path, const struct workload *workload)
{
	char size[16], script[PATH_MAX];
	char *arguments[] = { (char *)path, size, NULL, NULL };
	posix_spawn_file_actions_t actions;
	int status, result;
	pid_t pid;

	snprintf(size, sizeof(size), "%d", quick ? workload->quick_mib : workload->mib);
	if (workload->script != NULL) {
		snprintf(script, sizeof(script), "%s/%s", LINKED_SOURCES, workload->script);
		arguments[2] = script;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	double start = bench_now();
	result = posix_spawn(&pid, path, &actions, NULL, arguments, environ);
	if (result != 0)
		bench_fail("%s: %s", path, strerror(result));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	double time = (bench_now() - start) / 1e6;
	posix_spawn_file_actions_destroy(&actions);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		bench_fail("%s %s: it failed, status %#x", path, size, status);
	return time;
}

static void compare(const struct workload *workload)
{
	char native[PATH_MAX], linked[PATH_MAX];
	double our[BENCH_ROUNDS_MAX], their[BENCH_ROUNDS_MAX], ratio[BENCH_ROUNDS_MAX];

	program_path(native, sizeof(native), workload->name, "native");
	program_path(linked, sizeof(linked), workload->name, "linked");
	if (access(linked, X_OK) != 0) {
		printf("%-18s not built: \"make check\" builds it, if its library was found\n",
		       workload->name);
		return;
	}
	run(linked, workload);
	run(native, workload);
	for (unsigned i = 0; i < rounds; i++) {
		if (i % 2 == 0) {
			our[i] = run(linked, workload);
			their[i] = run(native, workload);
		} else {
			their[i] = run(native, workload);
			our[i] = run(linked, workload);
		}
		ratio[i] = our[i] / their[i];
	}
	double value = bench_median(our, rounds), base = bench_median(their, rounds);
	bench_median(ratio, rounds);
	printf("%-18s %9.1f   %-30s %9.1f   %6.2f   %.2f to %.2f\n", workload->name, value,
	       "native", base, value / base, ratio[0], ratio[rounds - 1]);
	fflush(stdout);
	if (json != NULL)
		fprintf(json,
		        "{\"bench\": \"linked\", \"case\": \"%s\", \"value\": %.3f, \"unit\": \"ms\", "
		        "\"against\": \"native\", \"baseline\": %.3f, \"ratio\": %.3f}\n",
		        workload->name, value, base, value / base);
}

__attribute__((noreturn)) static void usage(void)
{
	fprintf(stderr, "usage: linked [--quick] [--json FILE] [NAME]...\n");
	exit(2);
}

static const struct workload *find(const char *name)
{
	for (size_t i = 0; i < WORKLOADS; i++)
		if (strcmp(workloads[i].name, name) == 0)
			return &workloads[i];
	usage();
}

static int options(int argc, char **argv)
{
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--quick") == 0) {
			quick = true;
			rounds = 5;
		} else if (strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
			json = fopen(argv[++i], "w");
			if (json == NULL)
				bench_fail("%s: %s", argv[i], strerror(errno));
		} else {
			usage();
		}
	}
	for (int name = i; name < argc; name++)
		find(argv[name]);
	return i;
}

int main(int argc, char **argv)
{
	int first = options(argc, argv);

	find_directory();
	setenv("UPAGE_OPTIONS", AMPLE, 1); /* the native ones do not look at it */
	printf("%-18s %9s   %-30s %9s   %6s   %s\n", "linked", "ms/run", "against", "ms/run", "ratio",
	       "of single rounds");
	for (int i = first; i < argc; i++)
		compare(find(argv[i]));
	for (size_t i = 0; i < WORKLOADS && first == argc; i++)
		compare(&workloads[i]);
	if (json != NULL && fclose(json) != 0)
		bench_fail("--json: %s", strerror(errno));
	return 0;
}
