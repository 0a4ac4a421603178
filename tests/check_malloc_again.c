/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_malloc_again.c - libupage-malloc under options of many kinds, and with its memory full
 *
 * Each test runs this file again, with a word that says what for.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "support_malloc.h"

/* Runs this program with @word under @options. Return: its wait status; what it wrote on stderr
 * is in @text. */
static int run_again(const char *word, const char *options, char *text, size_t size)
{
	char variable[300];
	int ends[2];
	pid_t child;
	posix_spawn_file_actions_t actions;
	const char *with = getenv("UPAGE_WITH");
	snprintf(variable, sizeof(variable), "UPAGE_OPTIONS=%s,%s", with != NULL ? with : "", options);
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(posix_spawn_file_actions_init(&actions), 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
	posix_spawn_file_actions_addclose(&actions, ends[0]);
	char *arguments[] = { (char *)"check_malloc_again", (char *)word, NULL };
	char *environment[] = { variable, NULL };
	ck_assert_int_eq(posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environment), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	drain(ends[0], text, size);
	close(ends[0]);
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

static void *exhaust_half(void *unused)
{
	static char *block[400];
	for (int i = 0; i < 400; i++)
		if ((block[i] = calloc(1, 10000)) == NULL)
			return &block;
	for (int i = 0; i < 400; i++)
		free(block[i]);
	return unused;
}

/* Memory and swap are full: NULL and ENOMEM, never a signal; and all is well after a free. */
static int exhaust(void)
{
	enum { MOST = 4096 };
	static char *block[MOST];
	for (int turn = 0; turn < 3; turn++) {
		int n = 0;
		errno = 0;
		while (n < MOST && (block[n] = malloc(10000)) != NULL)
			fill(block[n], 10000, (uint64_t)n), n++;
		fprintf(stderr, "turn %d: %d blocks, then %s\n", turn, n, strerror(errno));
		if (n == MOST || n < 100 || errno != ENOMEM)
			return 1;
		for (int i = 0; i < n; i++)
			if (!is_filled(block[i], 10000, (uint64_t)i))
				return 2;
		if (realloc(block[0], 100 * MIB) != NULL || calloc(100, MIB) != NULL)
			return 3;
		for (int i = 0; i < n; i++)
			free(block[i]);
		char *half = malloc(2 * MIB);
		if (half == NULL)
			return 4;
		fill(half, 2 * MIB, 9);
		if (!is_filled(half, 2 * MIB, 9))
			return 5;
		free(half);
	}
	/* Other threads find what this one has freed. */
	for (int i = 0; i < 4; i++) {
		pthread_t thread;
		void *result;
		if (pthread_create(&thread, NULL, exhaust_half, NULL) != 0 ||
		    pthread_join(thread, &result) != 0 || result != NULL)
			return 6;
	}
	return 0;
}

START_TEST(test_exhaustion)
{
	char text[2000];
	int status = run_again("exhaust", "memory=1M,swap-size=7M,store=file", text, sizeof(text));
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x: %s", status, text);
}
END_TEST

START_TEST(test_bad_options)
{
	static const char *const bad[][2] = {
		{ "memory=64M,nonsense", "nonsense" },
		{ "memory=1", "memory=1" },
		{ "policy=no-such", "policy" },
		{ "store=file:/no/such/directory/file", "/no/such/directory" },
	};
	for (size_t i = 0; i < LENGTH(bad); i++) {
		char text[2000];
		int status = run_again("nothing", bad[i][0], text, sizeof(text));
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 125, "%s: %#x", bad[i][0],
		              status);
		ck_assert_msg(strncmp(text, "upage: UPAGE_OPTIONS: ", 22) == 0 &&
		                      strstr(text, bad[i][1]) != NULL && strchr(text, '\n')[1] == '\0',
		              "%s: %s", bad[i][0], text);
	}
}
END_TEST

/* With pages of 2 MiB most of jemalloc's extents are parts of one. */
START_TEST(test_large_pages)
{
	char text[2000];
	int status = run_again("trim", "memory=32M,page-size=64K", text, sizeof(text));
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x: %s", status, text);
	status = run_again("trim", "memory=64M,page-size=2M", text, sizeof(text));
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x: %s", status, text);
}
END_TEST

static int trim_large_pages(void)
{
	size_t size = 100 * MIB, page = upage_pool_page_size(upage_malloc_pool());
	char *block = malloc(size);
	fill(block, size, 1);
	if (!is_filled(block, size, 1))
		return 1;
	uint64_t full = pages_held();
	free(block);
	if (malloc_trim(0) != 1)
		return 2;
	if (full - pages_held() < size / page - 2)
		return 3;
	return is_zero(calloc(1, size), size) ? 0 : 4;
}

/* ---- adopt-data -------------------------------------------------------------------------------- */

/* 8 MiB to be used, and more than anybody has that is not; and what the linker wrote. */
static uint64_t table[MIB];
static char desert[1024 * MIB];
#define FOUR(n) n, n + 1, n + 2, n + 3
#define SIXTEEN(n) FOUR(n), FOUR(n + 4), FOUR(n + 8), FOUR(n + 12)
#define SIXTY_FOUR(n) SIXTEEN(n), SIXTEEN(n + 16), SIXTEEN(n + 32), SIXTEEN(n + 48)
#define DATA 2048
static volatile unsigned data[DATA] = {
	SIXTY_FOUR(1), SIXTY_FOUR(65), SIXTY_FOUR(129), [1000] = 77, [DATA - 1] = 99,
};
static char *own_name = (char *)data; /* relocated by the loader */

/* Before main(), after the data was taken over. */
__attribute__((constructor)) static void touch_data(void)
{
	table[5]++;
	desert[512 * MIB] = 6;
}

static int use_adopted_data(void)
{
	volatile uint64_t *words = table;
	for (unsigned i = 0; i < 192; i++)
		if (data[i] != i + 1)
			return 1;
	if (data[1000] != 77 || data[DATA - 1] != 99 || data[1500] != 0 || own_name != (char *)data)
		return 2;
	if (words[5] != 1 || ((volatile char *)desert)[512 * MIB] != 6)
		return 3;
	words[5] = 0;
	for (size_t i = 0; i < MIB; i++)
		if (words[i] != 0)
			return 4;
	for (size_t i = 0; i < MIB; i++)
		words[i] = i * i;
	for (size_t i = 0; i < MIB; i++)
		if (words[i] != i * i)
			return 5;
	if (getenv("UPAGE_OPTIONS") == NULL) /* environ may be a copy in our data */
		return 6;
	/* 2,048 pages of it were written in 256 frames. */
	struct upage_stats stats = { .size = sizeof(stats) };
	upage_stats_get(upage_malloc_pool(), &stats);
	if (stats.frames != 256 || stats.writebacks < 1700)
		return 7;
	return upage_pool_verify(upage_malloc_pool()) == 0 ? 0 : 8;
}

START_TEST(test_adopted_data)
{
	char text[2000];
	int status = run_again("data", "memory=1M,adopt-data", text, sizeof(text));
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x: %s", status, text);
	status = run_again("data", "memory=1M,page-size=64K,adopt-data", text, sizeof(text));
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 125, "status %#x: %s", status, text);
	ck_assert_ptr_nonnull(strstr(text, "adopt-data"));
}
END_TEST

/* The limit is there before the heap is; this one's is larger already, and no call may map more. */
static int limit_addresses(void)
{
	const struct rlimit limit = { (rlim_t)8 << 30, (rlim_t)8 << 30 };
	if (setrlimit(RLIMIT_AS, &limit) == 0)
		execl("/proc/self/exe", "check_malloc_again", "exhaust", NULL);
	return 6;
}

START_TEST(test_few_addresses)
{
	char text[2000];
	int status = run_again("addresses", "memory=1M,swap-size=7M,intercept=off,store=file", text,
	                       sizeof(text));
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x: %s", status, text);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("malloc_again");
	TCase *tcase = tcase_create("malloc_again");
	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, test_exhaustion);
	tcase_add_test(tcase, test_bad_options);
	tcase_add_test(tcase, test_large_pages);
	tcase_add_test(tcase, test_adopted_data);
	tcase_add_test(tcase, test_few_addresses);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(int count, char **arguments)
{
	static const struct {
		const char *word;
		int (*function)(void);
	} again[] = {
		{ "exhaust", exhaust },
		{ "addresses", limit_addresses },
		{ "data", use_adopted_data },
		{ "trim", trim_large_pages },
	};
	for (size_t i = 0; count > 1 && i < LENGTH(again); i++)
		if (strcmp(arguments[1], again[i].word) == 0)
			return again[i].function();
	return run_malloc_suite(suite, arguments);
}
