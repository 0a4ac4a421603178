/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_directory.h - a directory for each test, and what lies in it
 */
#ifndef UPAGE_TESTS_SUPPORT_DIRECTORY_H
#define UPAGE_TESTS_SUPPORT_DIRECTORY_H

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

static char base[256], directory[300];

static inline int remove_one(const char *path, const struct stat *status, int kind,
                             struct FTW *place)
{
	(void)status, (void)kind, (void)place;
	return remove(path);
}

/* Of a whole test case, in the process that forks: so it is taken away after a crash too. */
static inline void base_make(void)
{
	const char *parent = getenv("TMPDIR");
	char real[4096]; /* as /proc tells it */
	if (parent == NULL || parent[0] != '/')
		parent = "/tmp";
	if (realpath(parent, real) == NULL)
		abort();
	snprintf(base, sizeof(base), "%.200s/upage-check-XXXXXX", real);
	if (mkdtemp(base) == NULL)
		abort();
}

static inline void base_remove(void)
{
	nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void directory_make(void)
{
	snprintf(directory, sizeof(directory), "%s/XXXXXX", base);
	ck_assert_ptr_nonnull(mkdtemp(directory));
}

static inline const char *in_directory(const char *name)
{
	static char path[2][512];
	static unsigned turn;
	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", directory, name);
	return path[turn];
}

static inline char file_byte(size_t offset)
{
	return (char)(offset % 251 + 1); /* never zero */
}

static inline const char *file_make(const char *name, size_t bytes)
{
	const char *path = in_directory(name);
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	for (size_t i = 0; i < bytes; i++)
		fputc(file_byte(i), file);
	ck_assert_int_eq(fclose(file), 0);
	return path;
}

static inline size_t file_read_all(const char *name, char *bytes, size_t size)
{
	FILE *file = fopen(in_directory(name), "r");
	ck_assert_ptr_nonnull(file);
	size_t length = fread(bytes, 1, size, file);
	fclose(file);
	return length;
}

/* Of tests each in a new directory. */
static inline TCase *tcase_with_directory(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);
	tcase_add_unchecked_fixture(tcase, base_make, base_remove);
	tcase_add_checked_fixture(tcase, directory_make, NULL);
	suite_add_tcase(suite, tcase);
	return tcase;
}

#endif
