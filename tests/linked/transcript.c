/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transcript.c - what transcript.h says
 */
#include "transcript.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 120 /* after which a test is taken for hung; so many times as many as modes.sh says */

const char *test_name = "-";

/* ---- Lines ----------------------------------------------------------------------------- */

void say(const char *format, ...)
{
	char line[1024];
	va_list arguments;
	int length = snprintf(line, sizeof(line), "%s: ", test_name);
	va_start(arguments, format);
	length += vsnprintf(line + length, sizeof(line) - (size_t)length - 1, format, arguments);
	va_end(arguments);
	if (length > (int)sizeof(line) - 2)
		length = (int)sizeof(line) - 2;
	line[length++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)length) != length)
		_exit(98);
}

void check(const char *what, bool right)
{
	say("%s %s", what, right ? "ok" : "WRONG");
}

long must(const char *what, long value)
{
	if (value == -1) {
		const char *error = strerrorname_np(errno);
		say("cannot set up: %s: %s", what, error ? error : "?");
		_exit(99);
	}
	return value;
}

/* ---- Tests ----------------------------------------------------------------------------- */

static unsigned seconds(void)
{
	const char *times = getenv("CK_TIMEOUT_MULTIPLIER");
	int n = times != NULL ? atoi(times) : 1;
	return SECONDS * (n > 0 ? (unsigned)n : 1);
}

void run_tests(const struct test *list, const char *only)
{
	for (; list->name; list++) {
		if (only && strcmp(only, list->name) != 0)
			continue;
		test_name = list->name;
		alarm(seconds());
		list->run();
		alarm(0);
		say("ended");
	}
}

/* ---- Shorthands ------------------------------------------------------------------------ */

const char *self_path(void)
{
	static char path[4096];
	if (!path[0])
		MUST_BE(realpath("/proc/self/exe", path) != NULL);
	return path;
}

void pause_ms(long milliseconds)
{
	struct timespec wait = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
	while (nanosleep(&wait, &wait) < 0 && errno == EINTR)
		;
}

int count_descriptors(void)
{
	int count = 0;
	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}
