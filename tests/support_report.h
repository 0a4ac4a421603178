/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_report.h - what the tests of what is said at the end share: pools that say it, and
 * what was said
 */
#ifndef UPAGE_TESTS_SUPPORT_REPORT_H
#define UPAGE_TESTS_SUPPORT_REPORT_H

#include <fcntl.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_directory.h"
#include "support_json.h"

static char text[(size_t)4 << 20]; /* what was said */

__attribute__((format(printf, 1, 2))) static inline upage_pool *pool_make(const char *format, ...)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	upage_pool *pool;
	char words[300];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	ck_assert_ok(upage_config_parse(&config, "memory=64K"));
	ck_assert_ok(upage_config_parse(&config, words));
	ck_assert_ok(upage_pool_create(&pool, &config));
	return pool;
}

/* The content of a file of ours in `text`. Return: its length, or -1 if there is none. */
__attribute__((format(printf, 1, 2))) static inline ssize_t content(const char *format, ...)
{
	char name[64];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(name, sizeof(name), format, arguments);
	va_end(arguments);
	int file = open(in_directory(name), O_RDONLY);
	if (file < 0)
		return -1;
	size_t length = drain(file, text, sizeof(text));
	close(file);
	return (ssize_t)length;
}

/* In a child, for ever. */
static inline void stay(upage_pool *pool)
{
	(void)pool;
	for (;;)
		pause();
}

static inline void wait_for(pid_t child)
{
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

#endif
