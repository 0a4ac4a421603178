/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * process.h - the pages of a real program: of a native sqlite3 with a table of 100,000 rows in memory
 *
 * It is asked for a sum over the table, and while it waits for the next question /proc says which of
 * its pages are resident: maps has the ranges of addresses, pagemap a word for each page of them, whose
 * top bit says whether it is there. The page of the kernel's above 2^47 (vsyscall) is none of its own.
 */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <fcntl.h>
#include <inttypes.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PROCESS_ADDRESS_BITS 47
#define PROCESS_PAGE_SHIFT 12
#define PROCESS_SQL                                                                              \
	"CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, value INTEGER);\n"                       \
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"           \
	" INSERT INTO t SELECT i, 'row number ' || i, i % 7 FROM n;\n"                               \
	"SELECT sum(id) FROM t;\n"
#define PROCESS_ANSWER "5000050000\n"

/* In order of their numbers. */
struct process_pages {
	uint64_t *vpn;
	size_t count;
};

/* What is resident of the pages [@first, @end). */
static inline void process_add(struct process_pages *pages, int pagemap, uint64_t first, uint64_t end)
{
	uint64_t words[512];
	while (first < end) {
		size_t want = end - first < 512 ? (size_t)(end - first) : 512;
		ssize_t got = pread(pagemap, words, want * sizeof(*words), (off_t)(first * sizeof(*words)));
		if (got < (ssize_t)sizeof(*words))
			bench_fail("pagemap: %s", got < 0 ? strerror(errno) : "it ends");
		size_t n = (size_t)got / sizeof(*words);
		pages->vpn = realloc(pages->vpn, (pages->count + n) * sizeof(*pages->vpn));
		if (pages->vpn == NULL)
			bench_fail("no memory");
		for (size_t i = 0; i < n; i++)
			if (words[i] >> 63)
				pages->vpn[pages->count++] = first + i;
		first += n;
	}
}

static inline void process_read(struct process_pages *pages, pid_t process)
{
	char name[64], line[4096];
	uint64_t start, end;
	snprintf(name, sizeof(name), "/proc/%d/maps", (int)process);
	FILE *maps = fopen(name, "r");
	snprintf(name, sizeof(name), "/proc/%d/pagemap", (int)process);
	int pagemap = open(name, O_RDONLY | O_CLOEXEC);
	if (maps == NULL || pagemap < 0)
		bench_fail("%s: %s", name, strerror(errno));
	while (fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2 && start >> PROCESS_ADDRESS_BITS == 0)
			process_add(pages, pagemap, start >> PROCESS_PAGE_SHIFT, end >> PROCESS_PAGE_SHIFT);
	fclose(maps);
	close(pagemap);
}

/* With its questions in @input, which are there before it begins. Return: its process id. */
static inline pid_t process_start(const int input[2], const int output[2])
{
	if (write(input[1], PROCESS_SQL, strlen(PROCESS_SQL)) != (ssize_t)strlen(PROCESS_SQL))
		bench_fail("a pipe: %s", strerror(errno));
	pid_t process = fork();
	if (process < 0)
		bench_fail("fork: %s", strerror(errno));
	if (process > 0)
		return process;
	dup2(input[0], 0);
	dup2(output[1], 1);
	execlp("sqlite3", "sqlite3", "-batch", ":memory:", (char *)NULL);
	_exit(127);
}

/* Return: the pages; none: sqlite3 is not installed. */
static inline struct process_pages process_pages(void)
{
	struct process_pages pages = { NULL, 0 };
	int input[2], output[2], status;
	char answer[64] = "";
	size_t length = 0;
	ssize_t n;
	if (pipe2(input, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0)
		bench_fail("a pipe: %s", strerror(errno));
	pid_t process = process_start(input, output);
	close(output[1]);
	while (length < sizeof(answer) - 1 && strchr(answer, '\n') == NULL &&
	       (n = read(output[0], answer + length, sizeof(answer) - 1 - length)) > 0)
		length += (size_t)n;
	bool right = strcmp(answer, PROCESS_ANSWER) == 0;
	if (right)
		process_read(&pages, process);
	close(input[0]);
	close(input[1]);
	close(output[0]);
	waitpid(process, &status, 0);
	if (!right && !(WIFEXITED(status) && WEXITSTATUS(status) == 127))
		bench_fail("sqlite3: a wrong answer: %s", answer);
	if (right && pages.count == 0)
		bench_fail("pagemap shows no page of sqlite3");
	return pages;
}

#endif
