/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_refusal.h - for the tests of what cannot be done: is it refused, with the right code,
 * and is all then as it was?
 *
 * Most of them run in the same scene: sixteen pages, of which the first eight and the last four
 * are mapped and have content, and four between them are not mapped. "refused" means: this
 * code, errno untouched, the same statistics, tables that agree; and when a test is over all
 * pages of the scene have their content and can be written.
 */
#ifndef UPAGE_TESTS_SUPPORT_REFUSAL_H
#define UPAGE_TESTS_SUPPORT_REFUSAL_H

#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

#include "support.h"

/* ---- The scene ------------------------------------------------------------------------- */

#define LEFT 8   /* pages [0, 8) are mapped   */
#define RIGHT 12 /* pages [12, 16) are mapped */
#define SCENE 16

static struct machine machine;
static char *scene;

static inline char *page_at(size_t index)
{
	return scene + index * PAGE;
}

static inline bool in_scene(size_t index)
{
	return index < LEFT || index >= RIGHT;
}

static inline void map_at(void *address, size_t pages, int prot)
{
	ck_assert_ok(upage_map(machine.space, &address, pages * PAGE, prot, UPAGE_MAP_FIXED, NULL,
	                       0));
}

static inline void scene_make(void)
{
	machine = machine_make("memory=256K");
	scene = (char *)upage_space_base(machine.space) + 64 * PAGE;
	map_at(page_at(0), LEFT, RW);
	map_at(page_at(RIGHT), SCENE - RIGHT, RW);
	for (size_t i = 0; i < SCENE; i++)
		if (in_scene(i))
			memset(page_at(i), 'a' + (int)i, PAGE);
}

static inline void scene_end(void)
{
	for (size_t i = 0; i < SCENE; i++) {
		if (!in_scene(i))
			continue;
		ck_assert_int_eq(page_at(i)[0], 'a' + (int)i);
		ck_assert_int_eq(page_at(i)[PAGE - 1], 'a' + (int)i);
		page_at(i)[PAGE / 2] = 1;
	}
	machine_end(machine);
}

/* Of tests in the scene. */
static inline TCase *tcase_in_scene(Suite *suite)
{
	TCase *tcase = tcase_create("in the scene");
	tcase_add_checked_fixture(tcase, scene_make, scene_end);
	tcase_set_timeout(tcase, 30);
	suite_add_tcase(suite, tcase);
	return tcase;
}

/* ---- Refusals -------------------------------------------------------------------------- */

/* Of the statistics, what a refused call must not move: not what it tried in vain. */
static inline struct upage_stats snapshot(struct machine of)
{
	struct upage_stats stats = machine_stats(of);
	stats.frames_peak = stats.pinned_pages = 0;
	stats.fault_ns_p50 = stats.fault_ns_p99 = stats.fault_ns_max = 0;
	return stats;
}

#define ERRNO_MARK 12345

/* The code, and nothing of errno. */
#define ck_assert_code(expression, code)                                                      \
	do {                                                                                  \
		errno = ERRNO_MARK;                                                           \
		int code_ = (expression), errno_ = errno;                                     \
		ck_assert_msg(code_ == (code), "%s: \"%s\" (%d), not \"%s\"", #expression,    \
		              upage_strerror(code_), code_, upage_strerror(code));            \
		ck_assert_msg(errno_ == ERRNO_MARK, "%s: errno is %d", #expression, errno_);  \
	} while (0)

#define ck_assert_refused_in(where, expression, code)                                         \
	do {                                                                                  \
		struct upage_stats before_ = snapshot(where);                                 \
		ck_assert_code(expression, code);                                             \
		struct upage_stats after_ = snapshot(where);                                  \
		ck_assert_mem_eq(&before_, &after_, sizeof(before_));                         \
		ck_assert_ok(upage_pool_verify((where).pool));                                \
	} while (0)

#define ck_assert_refused(expression, code) ck_assert_refused_in(machine, expression, code)

/* No pool, no space and no store, and so not what any call may have written. */
#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

static inline void refused_map(void *wanted, size_t length, int prot, unsigned flags,
                               upage_store *store, off_t offset, int code)
{
	void *address = wanted;
	ck_assert_refused(
	        upage_map(machine.space, &address, length, prot, flags, store, offset), code);
	ck_assert_ptr_eq(address, wanted);
}

/* ---- Stores ---------------------------------------------------------------------------- */

/* A file for one test, that nobody has to remove. */
static inline void temporary_name(char *path, size_t size)
{
	const char *directory = getenv("TMPDIR");
	snprintf(path, size, "%s/upage-check-XXXXXX", directory != NULL ? directory : "/tmp");
}

/* A medium in memory that fails when told to. */
#define MEDIUM 8
static struct medium {
	char bytes[MEDIUM * 4096];
	int read_result, write_result, sync_result;
	int closed;
} medium;

static inline int medium_read(void *context, void *page, size_t length, off_t offset)
{
	struct medium *m = context;
	if (m->read_result == 0)
		memcpy(page, m->bytes + offset, length);
	return m->read_result;
}

static inline int medium_write(void *context, const void *page, size_t length, off_t offset)
{
	struct medium *m = context;
	if (m->write_result == 0)
		memcpy(m->bytes + offset, page, length);
	return m->write_result;
}

static inline int medium_sync(void *context)
{
	return ((struct medium *)context)->sync_result;
}

static inline void medium_close(void *context)
{
	((struct medium *)context)->closed++;
}

static const struct upage_store_ops medium_ops = { sizeof(medium_ops), medium_read, medium_write,
	                                           medium_sync, medium_close };

static inline upage_store *medium_store(bool writable)
{
	struct upage_store_ops ops = medium_ops;
	upage_store *store;
	if (!writable)
		ops.write = NULL;
	ck_assert_ok(upage_store_create(&store, &ops, &medium));
	return store;
}

static inline char *map_store(upage_store *store, size_t pages, int prot, unsigned flags)
{
	void *address = NULL;
	ck_assert_ok(upage_map(machine.space, &address, pages * PAGE, prot, flags, store, 0));
	return address;
}

/* A file of @bytes with the content 'f', gone by name. */
static inline upage_store *file_store(off_t bytes, unsigned flags)
{
	char path[200];
	temporary_name(path, sizeof(path));
	int file = mkstemp(path);
	for (off_t i = 0; i < bytes; i++)
		ck_assert_int_eq(write(file, "f", 1), 1);
	upage_store *store;
	ck_assert_ok(upage_store_open(&store, path, flags));
	unlink(path);
	close(file);
	return store;
}

#endif
