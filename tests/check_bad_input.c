/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_bad_input.c - is whatever cannot be done refused, with the right code, and is all
 * then as it was?
 *
 * Most tests run in the same scene: sixteen pages, of which the first eight and the last four
 * are mapped and have content, and four between them are not mapped. "refused" means: this
 * code, errno untouched, the same statistics, tables that agree; and when a test is over all
 * pages of the scene have their content and can be written.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

#define ERRNO_MARK 12345

/* ---- The scene ------------------------------------------------------------------------- */

#define LEFT 8   /* pages [0, 8) are mapped   */
#define RIGHT 12 /* pages [12, 16) are mapped */
#define SCENE 16

static struct machine machine;
static char *scene;

static char *page_at(size_t index)
{
	return scene + index * PAGE;
}

static bool in_scene(size_t index)
{
	return index < LEFT || index >= RIGHT;
}

static void map_at(void *address, size_t pages, int prot)
{
	ck_assert_ok(upage_map(machine.space, &address, pages * PAGE, prot, UPAGE_MAP_FIXED, NULL,
	                       0));
}

static void scene_make(void)
{
	machine = machine_make("memory=256K");
	scene = (char *)upage_space_base(machine.space) + 64 * PAGE;
	map_at(page_at(0), LEFT, RW);
	map_at(page_at(RIGHT), SCENE - RIGHT, RW);
	for (size_t i = 0; i < SCENE; i++)
		if (in_scene(i))
			memset(page_at(i), 'a' + (int)i, PAGE);
}

static void scene_end(void)
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

/* Of the statistics, what a refused call must not move: not what it tried in vain. */
static struct upage_stats snapshot(struct machine of)
{
	struct upage_stats stats = machine_stats(of);
	stats.frames_peak = stats.pinned_pages = 0;
	stats.fault_ns_p50 = stats.fault_ns_p99 = stats.fault_ns_max = 0;
	return stats;
}

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

/* ---- Texts ----------------------------------------------------------------------------- */

static const int codes[] = {
	UPAGE_OK,
#define X(name, value, text) value,
	UPAGE_ERROR_MAP(X)
#undef X
};

START_TEST(every_code_has_a_text_of_its_own)
{
	for (size_t i = 0; i < LENGTH(codes); i++) {
		ck_assert_str_ne(upage_strerror(codes[i]), "");
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(upage_strerror(codes[i]), upage_strerror(codes[j]));
	}
}
END_TEST

START_TEST(a_host_error_has_the_hosts_text)
{
	ck_assert_str_eq(upage_strerror(-ENOENT), strerror(ENOENT));
	ck_assert_str_eq(upage_strerror(-EMFILE), strerror(EMFILE));
}
END_TEST

START_TEST(a_number_that_is_no_code_has_a_text)
{
	static const int numbers[] = { 1, EINVAL, -4000, -19999, INT_MIN, INT_MAX };
	for (size_t i = 0; i < LENGTH(numbers); i++)
		ck_assert_str_ne(upage_strerror(numbers[i]), "");
}
END_TEST

START_TEST(the_library_is_that_of_the_header)
{
	ck_assert_str_eq(upage_version(), UPAGE_VERSION);
}
END_TEST

/* ---- Options --------------------------------------------------------------------------- */

static const struct {
	const char *words, *named, *choice; /* what the message must have */
} bad_options[] = {
	{ "memori=1M", "memori", "memory" },
	{ "memori=1M", "memori", "policy" },
	{ "memory", "memory", "size" },
	{ "memory=", "memory=", "size" },
	{ "memory=0", "memory=0", "size" },
	{ "memory=-1", "memory=-1", "size" },
	{ "memory=1X", "memory=1X", "size" },
	{ "memory=1MM", "memory=1MM", "size" },
	{ "memory= 1M", "memory= 1M", "size" },
	{ "memory=99999999999999999999", "memory=9999", "size" },
	{ "memory=18014398509481984K", "memory=1801", "size" },
	{ "page-size=x", "page-size=x", "2M" },
	{ "swap-size=lots", "swap-size=lots", "size" },
	{ "seed=abc", "seed=abc", "number" },
	{ "seed=1K", "seed=1K", "number" },
	{ "mapping-budget=", "mapping-budget=", "number" },
	{ "stats=yes", "stats=yes", "no value" },
	{ "policy=", "policy=", "policy" },
	{ "policy=a-name-that-is-longer-than-the-field-is", "policy=a-name", "policy" },
	{ "stats-json", "stats-json", "file" },
	{ "=", "=", "memory" },
	{ "memory=1M,,polici=clock", "polici", "policy" },
	{ "seed=1,stats,memory=2M,bad", "bad", "memory" },
};

START_TEST(a_bad_option_is_named_and_nothing_is_taken_in)
{
	struct upage_config config = UPAGE_CONFIG_INIT, before;
	config.memory = 4711;
	before = config;
	ck_assert_code(upage_config_parse(&config, bad_options[_i].words), UPAGE_EOPTION);
	ck_assert_ptr_nonnull(strstr(config.message, bad_options[_i].named));
	ck_assert_ptr_nonnull(strstr(config.message, bad_options[_i].choice));
	memset(config.message, 0, sizeof(config.message));
	ck_assert_mem_eq(&config, &before, sizeof(config));
}
END_TEST

START_TEST(a_word_too_long_for_any_buffer_is_refused)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	static char words[100000];
	strcpy(words, "store=file:");
	memset(words + strlen(words), 'x', sizeof(words) - strlen(words) - 1);
	ck_assert_code(upage_config_parse(&config, words), UPAGE_EOPTION);
	ck_assert_ptr_nonnull(strstr(config.message, "store=file:"));
	ck_assert_str_eq(config.store, "");
}
END_TEST

START_TEST(options_without_words_or_config_are_refused)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	ck_assert_code(upage_config_parse(NULL, "memory=1M"), UPAGE_EINVAL);
	ck_assert_code(upage_config_parse(&config, NULL), UPAGE_EINVAL);
	ck_assert_code(upage_config_environment(NULL), UPAGE_EINVAL);
}
END_TEST

START_TEST(options_into_a_config_of_wrong_size_are_refused)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	config.size = 0;
	ck_assert_code(upage_config_parse(&config, "memory=1M"), UPAGE_EINVAL);
	config.size = sizeof(config) + 1;
	ck_assert_code(upage_config_parse(&config, "memory=1M"), UPAGE_E2BIG);
	ck_assert_uint_eq(config.memory, 0);
}
END_TEST

START_TEST(a_bad_option_of_the_environment_is_refused)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	setenv("UPAGE_OPTIONS", "memory=1M,rubbish", 1);
	ck_assert_code(upage_config_environment(&config), UPAGE_EOPTION);
	ck_assert_ptr_nonnull(strstr(config.message, "rubbish"));
	ck_assert_uint_eq(config.memory, 0);
}
END_TEST

/* ---- Pools ----------------------------------------------------------------------------- */

/* Not a pool, and so not what any call may have written. */
#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

/* No pool comes of it, the message says why, and no descriptor is left open. */
static void refused_pool(struct upage_config *config, int code, const char *in_message)
{
	upage_pool *pool = UNTOUCHED;
	size_t descriptors = open_descriptors();
	ck_assert_code(upage_pool_create(&pool, config), code);
	ck_assert_ptr_eq(pool, UNTOUCHED);
	ck_assert_msg(strstr(config->message, in_message) != NULL, "'%s' lacks '%s'",
	              config->message, in_message);
	ck_assert_uint_eq(open_descriptors(), descriptors);
}

static const struct {
	size_t memory, page_size;
	int code;
	const char *in_message;
} bad_sizes[] = {
	{ 15 * 4096, 0, UPAGE_EFRAMES, "memory=61440" },
	{ 1, 0, UPAGE_EFRAMES, "memory=1" },
	{ 16 * 65536 - 1, 65536, UPAGE_EFRAMES, "16 to 2^31" },
	{ ((size_t)1 << 43) + 4096, 0, UPAGE_EFRAMES, "2^31" },
	{ SIZE_MAX, 0, UPAGE_EFRAMES, "2^31" },
	{ 0, 3000, UPAGE_EPAGESIZE, "page-size=3000" },
	{ 0, 6144, UPAGE_EPAGESIZE, "page-size=6144" },
	{ 0, 12288, UPAGE_EPAGESIZE, "power of two" },
	{ 0, 2048, UPAGE_EPAGESIZE, "4096" },
	{ 0, 1, UPAGE_EPAGESIZE, "4096" },
	{ 0, 4 << 20, UPAGE_EPAGESIZE, "2097152" },
	{ 0, (size_t)1 << 63, UPAGE_EPAGESIZE, "2097152" },
};

START_TEST(memory_and_page_sizes_that_cannot_be_are_refused)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	config.memory = bad_sizes[_i].memory;
	config.page_size = bad_sizes[_i].page_size;
	refused_pool(&config, bad_sizes[_i].code, bad_sizes[_i].in_message);
}
END_TEST

START_TEST(an_unknown_policy_is_named_with_the_choices)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	strcpy(config.policy, "oracle");
	refused_pool(&config, UPAGE_EOPTION, "oracle");
	refused_pool(&config, UPAGE_EOPTION, "clock");
	refused_pool(&config, UPAGE_EOPTION, "fifo");
	refused_pool(&config, UPAGE_EOPTION, "random");
}
END_TEST

START_TEST(an_unknown_store_is_named_with_the_choices)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	strcpy(config.store, "tape:0");
	refused_pool(&config, UPAGE_EOPTION, "tape:0");
	refused_pool(&config, UPAGE_EOPTION, "file:PATH");
}
END_TEST

START_TEST(an_unknown_mapping_is_named_with_the_choices)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	strcpy(config.mapping, "magic");
	refused_pool(&config, UPAGE_EOPTION, "magic");
	refused_pool(&config, UPAGE_EOPTION, "remap");
}
END_TEST

START_TEST(swap_that_holds_no_page_is_refused)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	config.swap_size = 4095;
	refused_pool(&config, UPAGE_EOPTION, "swap-size=4095");
}
END_TEST

START_TEST(a_swap_path_that_cannot_be_made_is_in_the_message)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	strcpy(config.store, "file:/no/such/directory/swap");
	refused_pool(&config, -ENOENT, "/no/such/directory/swap");
}
END_TEST

/* A file for one test, that nobody has to remove. */
static void temporary_name(char *path, size_t size)
{
	const char *directory = getenv("TMPDIR");
	snprintf(path, size, "%s/upage-check-XXXXXX", directory != NULL ? directory : "/tmp");
}

START_TEST(a_file_that_exists_is_not_taken_for_swap)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	char path[200], content[8] = "";
	temporary_name(path, sizeof(path));
	int file = mkstemp(path);
	ck_assert_int_eq(write(file, "precious", 8), 8);
	snprintf(config.store, sizeof(config.store), "file:%s", path);
	refused_pool(&config, -EEXIST, path);
	ck_assert_int_eq(pread(file, content, 8, 0), 8);
	ck_assert_mem_eq(content, "precious", 8);
	ck_assert_int_eq(access(path, F_OK), 0);
	unlink(path);
	close(file);
}
END_TEST

START_TEST(a_pool_config_of_wrong_size_is_refused)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	upage_pool *pool = UNTOUCHED;
	config.size = 0;
	ck_assert_code(upage_pool_create(&pool, &config), UPAGE_EINVAL);
	config.size = sizeof(config) + 8;
	ck_assert_code(upage_pool_create(&pool, &config), UPAGE_E2BIG);
	ck_assert_ptr_eq(pool, UNTOUCHED);
}
END_TEST

START_TEST(a_pool_without_a_place_for_it_is_refused)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	ck_assert_code(upage_pool_create(NULL, &config), UPAGE_EINVAL);
}
END_TEST

START_TEST(a_pool_config_of_an_older_program_is_taken)
{
	struct upage_config config = { .size = offsetof(struct upage_config, policy) };
	config.memory = 1 << 20;
	memset(config.policy, 'x', sizeof(config) - offsetof(struct upage_config, policy));
	upage_pool *pool;
	ck_assert_ok(upage_pool_create(&pool, &config));
	ck_assert_ok(upage_pool_destroy(pool));
	config.memory = 1;
	ck_assert_code(upage_pool_create(&pool, &config), UPAGE_EFRAMES);
	ck_assert_int_eq(config.message[0], 'x'); /* not a byte past what it said it had */
}
END_TEST

/* However few descriptors there are, a pool is made whole or not at all. */
START_TEST(too_few_descriptors_refuse_a_pool_and_none_is_lost)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct rlimit limit, before;
	upage_pool *pool = UNTOUCHED;
	size_t descriptors = open_descriptors();
	int lowest = dup(0), result = -EMFILE;
	close(lowest);
	getrlimit(RLIMIT_NOFILE, &before);
	for (unsigned spare = 0; spare < 8 && result != 0; spare++) {
		limit = before;
		limit.rlim_cur = (rlim_t)lowest + spare;
		setrlimit(RLIMIT_NOFILE, &limit);
		result = upage_pool_create(&pool, &config);
		setrlimit(RLIMIT_NOFILE, &before);
		if (spare == 0)
			ck_assert_int_eq(result, -EMFILE);
		if (result != 0)
			ck_assert_uint_eq(open_descriptors(), descriptors);
	}
	ck_assert_ok(result);
	ck_assert_ok(upage_pool_destroy(pool));
	ck_assert_uint_eq(open_descriptors(), descriptors);
}
END_TEST

START_TEST(too_little_host_memory_refuses_a_pool_and_none_is_lost)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct rlimit limit, before;
	getrlimit(RLIMIT_AS, &before);
	config.memory = (size_t)1 << 40;
	config.swap_size = 1 << 20;
	size_t virtual = process_size().address_space * PAGE;
	limit = before;
	limit.rlim_cur = virtual + (64 << 20);
	setrlimit(RLIMIT_AS, &limit);
	refused_pool(&config, UPAGE_ENOMEM, "");
	for (unsigned i = 0; i < 20; i++) /* what one of them leaves behind would add up */
		refused_pool(&config, UPAGE_ENOMEM, "");
	ck_assert_uint_le(process_size().address_space * PAGE, virtual + PAGE * 40);
	config.memory = 1 << 20;
	upage_pool *pool;
	ck_assert_ok(upage_pool_create(&pool, &config));
	ck_assert_ok(upage_pool_destroy(pool));
}
END_TEST

START_TEST(a_pool_with_a_space_is_not_destroyed)
{
	ck_assert_refused(upage_pool_destroy(machine.pool), UPAGE_EBUSY);
}
END_TEST

START_TEST(no_pool_space_heap_or_store_may_be_ended)
{
	ck_assert_ok(upage_pool_destroy(NULL));
	ck_assert_ok(upage_space_destroy(NULL));
	ck_assert_ok(upage_heap_destroy(NULL));
	ck_assert_ok(upage_store_close(NULL));
}
END_TEST

/* ---- Spaces ---------------------------------------------------------------------------- */

static void refused_space(const struct upage_space_config *config, int code)
{
	upage_space *space = UNTOUCHED;
	ck_assert_refused(upage_space_create(&space, machine.pool, config), code);
	ck_assert_ptr_eq(space, UNTOUCHED);
}

START_TEST(a_space_at_half_a_page_is_refused)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.length = 1 << 20;
	config.address = (char *)0x200000000000 + 512;
	refused_space(&config, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_space_with_six_levels_is_refused)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.levels = 6;
	refused_space(&config, UPAGE_EINVAL);
	config.levels = UINT_MAX;
	refused_space(&config, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_space_config_of_wrong_size_is_refused)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.size = sizeof(config) + 1;
	refused_space(&config, UPAGE_E2BIG);
	config.size = 0;
	refused_space(&config, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_space_without_pool_or_place_is_refused)
{
	upage_space *space = UNTOUCHED;
	ck_assert_refused(upage_space_create(NULL, machine.pool, NULL), UPAGE_EINVAL);
	ck_assert_refused(upage_space_create(&space, NULL, NULL), UPAGE_EINVAL);
	ck_assert_ptr_eq(space, UNTOUCHED);
}
END_TEST

START_TEST(a_space_over_the_programs_memory_is_refused)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	char *own = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*own = 42;
	config.address = own - 16 * PAGE;
	config.length = 32 * PAGE;
	refused_space(&config, UPAGE_EEXIST);
	ck_assert_int_eq(*own, 42);
	config.address = upage_space_base(machine.space);
	refused_space(&config, UPAGE_EEXIST);
}
END_TEST

START_TEST(a_space_longer_than_the_host_has_is_refused)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.length = (size_t)1 << 56;
	refused_space(&config, UPAGE_ENOMEM);
}
END_TEST

START_TEST(a_space_under_a_limit_of_addresses_is_refused)
{
	struct rlimit limit;
	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = (rlim_t)1 << 41;
	setrlimit(RLIMIT_AS, &limit);
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.length = (size_t)1 << 41;
	refused_space(&config, UPAGE_ENOMEM);
}
END_TEST

START_TEST(a_space_with_a_pinned_page_is_not_destroyed)
{
	ck_assert_ok(upage_pin(machine.space, page_at(3), 1, PROT_READ));
	ck_assert_refused(upage_space_destroy(machine.space), UPAGE_EBUSY);
	ck_assert_ok(upage_unpin(machine.space, page_at(3), 1));
}
END_TEST

/* ---- Calls with a range: what they have in common -------------------------------------- */

static int call_unmap(upage_space *space, char *address, size_t length)
{
	return upage_unmap(space, address, length);
}

static int call_protect(upage_space *space, char *address, size_t length)
{
	return upage_protect(space, address, length, PROT_NONE);
}

static int call_sequential(upage_space *space, char *address, size_t length)
{
	return upage_advise(space, address, length, UPAGE_SEQUENTIAL);
}

static int call_need(upage_space *space, char *address, size_t length)
{
	return upage_advise(space, address, length, UPAGE_WILLNEED);
}

static int call_drop(upage_space *space, char *address, size_t length)
{
	return upage_advise(space, address, length, UPAGE_DONTNEED);
}

static int call_sync(upage_space *space, char *address, size_t length)
{
	return upage_sync(space, address, length);
}

static unsigned char residency[SCENE];

static int call_residency(upage_space *space, char *address, size_t length)
{
	memset(residency, 7, sizeof(residency));
	int result = upage_residency(space, address, length, residency);
	if (result != 0)
		for (size_t i = 0; i < SCENE; i++)
			ck_assert_uint_eq(residency[i], 7);
	return result;
}

static int call_pin(upage_space *space, char *address, size_t length)
{
	return upage_pin(space, address, length, RW);
}

static int call_unpin(upage_space *space, char *address, size_t length)
{
	return upage_unpin(space, address, length);
}

typedef int range_call(upage_space *space, char *address, size_t length);

/* The first six are refused for a hole; the first seven for an address within a page. */
static range_call *const range_calls[] = { call_unmap,     call_protect, call_sequential,
	                                   call_need,      call_drop,    call_sync,
	                                   call_residency, call_pin,     call_unpin };
#define CALLS_OF_MAPPED 6
#define CALLS_OF_PAGES 7

START_TEST(a_range_of_no_space_is_refused)
{
	ck_assert_refused(range_calls[_i](NULL, page_at(0), PAGE), UPAGE_EINVAL);
}
END_TEST

START_TEST(an_empty_range_is_refused)
{
	ck_assert_refused(range_calls[_i](machine.space, page_at(0), 0), UPAGE_EINVAL);
}
END_TEST

START_TEST(a_range_from_half_a_page_is_refused)
{
	ck_assert_refused(range_calls[_i](machine.space, page_at(0) + 8, PAGE), UPAGE_EINVAL);
}
END_TEST

START_TEST(a_range_that_overflows_is_refused)
{
	range_call *call = range_calls[_i];
	char *last = (char *)(UINTPTR_MAX - PAGE + 1);
	ck_assert_refused(call(machine.space, page_at(0), SIZE_MAX), UPAGE_EOVERFLOW);
	ck_assert_refused(call(machine.space, page_at(0), SIZE_MAX - (uintptr_t)page_at(0)),
	                  UPAGE_EOVERFLOW); /* only when rounded up */
	ck_assert_refused(call(machine.space, last, PAGE + 1), UPAGE_EOVERFLOW);
}
END_TEST

START_TEST(a_range_outside_the_space_is_refused)
{
	range_call *call = range_calls[_i];
	char *base = upage_space_base(machine.space);
	char *end = base + upage_space_length(machine.space);
	ck_assert_refused(call(machine.space, base - PAGE, 2 * PAGE), UPAGE_EBOUNDS);
	ck_assert_refused(call(machine.space, end - PAGE, PAGE + 1), UPAGE_EBOUNDS);
	ck_assert_refused(call(machine.space, end, PAGE), UPAGE_EBOUNDS);
	ck_assert_refused(call(machine.space, NULL, PAGE), UPAGE_EBOUNDS);
	ck_assert_refused(call(machine.space, page_at(0), SIZE_MAX / 4), UPAGE_EBOUNDS);
}
END_TEST

START_TEST(a_range_with_a_hole_is_refused)
{
	range_call *call = range_calls[_i];
	ck_assert_refused(call(machine.space, page_at(LEFT - 2), 8 * PAGE), UPAGE_ENOTMAPPED);
	ck_assert_refused(call(machine.space, page_at(0), SCENE * PAGE), UPAGE_ENOTMAPPED);
	ck_assert_refused(call(machine.space, page_at(RIGHT - 1), 2 * PAGE), UPAGE_ENOTMAPPED);
}
END_TEST

START_TEST(a_range_that_is_not_mapped_is_refused)
{
	range_call *call = range_calls[_i];
	char *far = (char *)upage_space_base(machine.space) + upage_space_length(machine.space) / 2;
	ck_assert_refused(call(machine.space, page_at(LEFT), PAGE), UPAGE_ENOTMAPPED);
	ck_assert_refused(call(machine.space, far, PAGE), UPAGE_ENOTMAPPED);
}
END_TEST

START_TEST(a_range_unmapped_already_is_refused)
{
	map_at(page_at(LEFT), 2, RW);
	memset(page_at(LEFT), 1, 2 * PAGE);
	ck_assert_ok(upage_unmap(machine.space, page_at(LEFT), 2 * PAGE));
	ck_assert_refused(upage_unmap(machine.space, page_at(LEFT), 2 * PAGE), UPAGE_ENOTMAPPED);
}
END_TEST

START_TEST(a_range_with_a_pinned_page_is_neither_unmapped_nor_dropped)
{
	range_call *call = _i == 0 ? call_unmap : call_drop;
	ck_assert_ok(upage_pin(machine.space, page_at(5), 1, PROT_READ));
	ck_assert_refused(call(machine.space, page_at(0), LEFT * PAGE), UPAGE_EBUSY);
	ck_assert_ok(upage_unpin(machine.space, page_at(5), 1));
}
END_TEST

/* ---- Map ------------------------------------------------------------------------------- */

static void refused_map(void *wanted, size_t length, int prot, unsigned flags, upage_store *store,
                        off_t offset, int code)
{
	void *address = wanted;
	ck_assert_refused(
	        upage_map(machine.space, &address, length, prot, flags, store, offset), code);
	ck_assert_ptr_eq(address, wanted);
}

START_TEST(a_map_without_a_space_or_a_place_is_refused)
{
	void *address = NULL;
	ck_assert_refused(upage_map(NULL, &address, PAGE, RW, 0, NULL, 0), UPAGE_EINVAL);
	ck_assert_refused(upage_map(machine.space, NULL, PAGE, RW, 0, NULL, 0), UPAGE_EINVAL);
	ck_assert_ptr_null(address);
}
END_TEST

START_TEST(a_map_of_nothing_is_refused)
{
	refused_map(NULL, 0, RW, 0, NULL, 0, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_map_at_half_a_page_is_refused)
{
	refused_map(page_at(LEFT) + 8, PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EINVAL);
	refused_map(page_at(LEFT) + 8, PAGE, RW, 0, NULL, 0, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_map_with_unknown_bits_is_refused)
{
	refused_map(NULL, PAGE, RW, 1u << 2, NULL, 0, UPAGE_EINVAL);
	refused_map(NULL, PAGE, RW, 1u << 31, NULL, 0, UPAGE_EINVAL);
	refused_map(NULL, PAGE, 8, 0, NULL, 0, UPAGE_EINVAL);
	refused_map(NULL, PAGE, -1, 0, NULL, 0, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_shared_map_of_no_store_is_refused)
{
	refused_map(NULL, PAGE, RW, UPAGE_MAP_SHARED, NULL, 0, UPAGE_EINVAL);
}
END_TEST

START_TEST(an_offset_into_no_store_is_refused)
{
	refused_map(NULL, PAGE, RW, 0, NULL, (off_t)PAGE, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_map_that_overflows_is_refused)
{
	refused_map(NULL, SIZE_MAX, RW, 0, NULL, 0, UPAGE_EOVERFLOW);
	refused_map(page_at(LEFT), SIZE_MAX - PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EOVERFLOW);
	refused_map((void *)(UINTPTR_MAX - PAGE + 1), 2 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0,
	            UPAGE_EOVERFLOW);
}
END_TEST

START_TEST(a_fixed_map_outside_the_space_is_refused)
{
	char *base = upage_space_base(machine.space);
	char *end = base + upage_space_length(machine.space);
	refused_map(base - PAGE, 2 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EBOUNDS);
	refused_map(end - PAGE, 2 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EBOUNDS);
	refused_map(NULL, PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EBOUNDS);
}
END_TEST

START_TEST(a_fixed_map_over_a_mapping_is_refused)
{
	refused_map(page_at(0), PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EEXIST);
	refused_map(page_at(LEFT - 1), 2 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EEXIST);
	refused_map(page_at(LEFT), 5 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EEXIST);
	refused_map(page_at(0) - PAGE, 32 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0, UPAGE_EEXIST);
}
END_TEST

START_TEST(a_map_longer_than_any_gap_is_refused)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.length = 8 * PAGE;
	struct machine small = { .pool = machine.pool };
	ck_assert_ok(upage_space_create(&small.space, machine.pool, &config));
	void *address = (char *)upage_space_base(small.space) + 4 * PAGE;
	ck_assert_ok(upage_map(small.space, &address, PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
	void *untouched = NULL;
	ck_assert_refused(upage_map(small.space, &untouched, 5 * PAGE, RW, 0, NULL, 0),
	                  UPAGE_ENOMEM);
	ck_assert_refused(upage_map(small.space, &untouched, 9 * PAGE, RW, 0, NULL, 0),
	                  UPAGE_ENOMEM);
	ck_assert_ptr_null(untouched);
	ck_assert_ok(upage_map(small.space, &untouched, 4 * PAGE, RW, 0, NULL, 0));
	ck_assert_ok(upage_space_destroy(small.space));
}
END_TEST

START_TEST(a_map_that_memory_and_swap_could_never_hold_is_refused)
{
	struct machine tiny = machine_make(_i == 0 ? "memory=64K,swap-size=64K"
	                                           : "memory=64K,swap-size=64K,overcommit");
	void *address = NULL;
	ck_assert_refused_in(tiny, upage_map(tiny.space, &address, 33 * PAGE, RW, 0, NULL, 0),
	                     UPAGE_ENOMEM);
	ck_assert_ptr_null(address);
	ck_assert_ok(upage_map(tiny.space, &address, 31 * PAGE, RW, 0, NULL, 0));
	machine_end(tiny);
}
END_TEST

/* Without overcommit the sum counts, of what is private and may be written. */
START_TEST(more_than_memory_and_swap_hold_in_all_is_refused)
{
	struct machine tiny = machine_make("memory=64K,swap-size=64K");
	void *address = NULL;
	char *half = machine_map(tiny, 20, RW);
	ck_assert_refused_in(tiny, upage_map(tiny.space, &address, 12 * PAGE, RW, 0, NULL, 0),
	                     UPAGE_ENOMEM);
	ck_assert_ptr_null(address);
	char *rest = machine_map(tiny, 11, RW);
	machine_map(tiny, 1000, PROT_READ);
	memset(half, 1, 20 * PAGE);
	memset(rest, 2, 11 * PAGE);
	ck_assert_int_eq(half[0] + rest[0], 3);
	ck_assert_ok(upage_unmap(tiny.space, half, 12 * PAGE));
	ck_assert_ok(upage_map(tiny.space, &address, 12 * PAGE, RW, 0, NULL, 0));
	machine_end(tiny);
}
END_TEST

START_TEST(a_protection_for_more_than_they_hold_is_refused)
{
	struct machine tiny = machine_make("memory=64K,swap-size=64K");
	machine_map(tiny, 20, RW);
	char *pages = machine_map(tiny, 40, PROT_READ);
	ck_assert_refused_in(tiny, upage_protect(tiny.space, pages, 12 * PAGE, RW), UPAGE_ENOMEM);
	ck_assert_int_eq(pages[5 * PAGE], 0);
	ck_assert_int_eq(upage_translate(tiny.space, pages + 5 * PAGE, PROT_WRITE, NULL),
	                 UPAGE_CAUSE_PROTECTION);
	ck_assert_ok(upage_protect(tiny.space, pages, 11 * PAGE, RW));
	memset(pages, 1, 11 * PAGE);
	machine_end(tiny);
}
END_TEST

START_TEST(unknown_bits_of_a_protection_are_refused)
{
	ck_assert_refused(upage_protect(machine.space, page_at(0), PAGE, 8), UPAGE_EINVAL);
	ck_assert_refused(upage_protect(machine.space, page_at(0), PAGE, -1), UPAGE_EINVAL);
}
END_TEST

START_TEST(unknown_advice_is_refused)
{
	ck_assert_refused(upage_advise(machine.space, page_at(0), PAGE, (enum upage_advice)99),
	                  UPAGE_EINVAL);
}
END_TEST

/* ---- Stores ---------------------------------------------------------------------------- */

/* A medium in memory that fails when told to. */
#define MEDIUM 8
static struct medium {
	char bytes[MEDIUM * 4096];
	int read_result, write_result, sync_result;
	int closed;
} medium;

static int medium_read(void *context, void *page, size_t length, off_t offset)
{
	struct medium *m = context;
	if (m->read_result == 0)
		memcpy(page, m->bytes + offset, length);
	return m->read_result;
}

static int medium_write(void *context, const void *page, size_t length, off_t offset)
{
	struct medium *m = context;
	if (m->write_result == 0)
		memcpy(m->bytes + offset, page, length);
	return m->write_result;
}

static int medium_sync(void *context)
{
	return ((struct medium *)context)->sync_result;
}

static void medium_close(void *context)
{
	((struct medium *)context)->closed++;
}

static const struct upage_store_ops medium_ops = { sizeof(medium_ops), medium_read, medium_write,
	                                           medium_sync, medium_close };

static upage_store *medium_store(bool writable)
{
	struct upage_store_ops ops = medium_ops;
	upage_store *store;
	if (!writable)
		ops.write = NULL;
	ck_assert_ok(upage_store_create(&store, &ops, &medium));
	return store;
}

static char *map_store(upage_store *store, size_t pages, int prot, unsigned flags)
{
	void *address = NULL;
	ck_assert_ok(upage_map(machine.space, &address, pages * PAGE, prot, flags, store, 0));
	return address;
}

/* A file of @bytes with the content 'f', gone by name. */
static upage_store *file_store(off_t bytes, unsigned flags)
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

static void refused_open(const char *path, unsigned flags, int code)
{
	upage_store *store = UNTOUCHED;
	size_t descriptors = open_descriptors();
	ck_assert_code(upage_store_open(&store, path, flags), code);
	ck_assert_ptr_eq(store, UNTOUCHED);
	ck_assert_uint_eq(open_descriptors(), descriptors);
}

START_TEST(a_file_that_is_not_there_is_refused)
{
	refused_open("/no/such/file", 0, -ENOENT);
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused)
{
	refused_open("/", 0, UPAGE_EINVAL);
	refused_open("/dev/zero", 0, UPAGE_EINVAL);
	refused_open("/dev/zero", UPAGE_STORE_WRITABLE, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_pipe_is_refused_without_waiting_for_a_writer)
{
	char path[200];
	temporary_name(path, sizeof(path));
	close(mkstemp(path));
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	pid_t guard = fork(); /* who waits would wait forever */
	if (guard == 0) {
		signal(SIGALRM, SIG_DFL); /* libcheck's own would end the test itself */
		alarm(5);
		upage_store *store;
		_exit(upage_store_open(&store, path, 0) == UPAGE_EINVAL ? 0 : 1);
	}
	int status;
	waitpid(guard, &status, 0);
	unlink(path);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(unknown_flags_of_a_store_are_refused)
{
	refused_open("/proc/self/exe", 1u << 1, UPAGE_EINVAL);
}
END_TEST

START_TEST(a_file_store_without_path_or_place_is_refused)
{
	refused_open(NULL, 0, UPAGE_EINVAL);
	ck_assert_code(upage_store_open(NULL, "/proc/self/exe", 0), UPAGE_EINVAL);
}
END_TEST

START_TEST(a_store_of_functions_that_lacks_some_is_refused)
{
	struct upage_store_ops ops = medium_ops;
	upage_store *store = UNTOUCHED;
	ops.read = NULL;
	ck_assert_code(upage_store_create(&store, &ops, NULL), UPAGE_EINVAL);
	ck_assert_code(upage_store_create(&store, NULL, NULL), UPAGE_EINVAL);
	ck_assert_code(upage_store_create(NULL, &medium_ops, NULL), UPAGE_EINVAL);
	ck_assert_ptr_eq(store, UNTOUCHED);
}
END_TEST

START_TEST(a_store_of_functions_of_wrong_size_is_refused)
{
	struct upage_store_ops ops = medium_ops;
	upage_store *store = UNTOUCHED;
	ops.size = sizeof(ops) + 1;
	ck_assert_code(upage_store_create(&store, &ops, NULL), UPAGE_E2BIG);
	ops.size = 0;
	ck_assert_code(upage_store_create(&store, &ops, NULL), UPAGE_EINVAL);
	ck_assert_ptr_eq(store, UNTOUCHED);
}
END_TEST

START_TEST(an_offset_that_is_no_page_is_refused)
{
	upage_store *store = medium_store(true);
	refused_map(NULL, PAGE, RW, 0, store, 100, UPAGE_EINVAL);
	refused_map(NULL, PAGE, RW, 0, store, -(off_t)PAGE, UPAGE_EINVAL);
	ck_assert_ok(upage_store_close(store)); /* and it is not held */
}
END_TEST

START_TEST(an_offset_that_overflows_is_refused)
{
	upage_store *store = medium_store(true);
	off_t last = (off_t)(INT64_MAX - (int64_t)PAGE + 1);
	refused_map(NULL, PAGE, RW, 0, store, last, UPAGE_EOVERFLOW);
	refused_map(NULL, 2 * PAGE, RW, UPAGE_MAP_SHARED, store, last, UPAGE_EOVERFLOW);
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_read_only_store_is_not_mapped_writable_and_shared)
{
	upage_store *store = _i == 0 ? medium_store(false) : file_store(4096, 0);
	refused_map(NULL, PAGE, RW, UPAGE_MAP_SHARED, store, 0, UPAGE_EACCES);
	char *private = map_store(store, 1, RW, 0);
	*private = 1; /* which is no business of the store's */
	ck_assert_ok(upage_unmap(machine.space, private, PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_read_only_shared_mapping_is_not_made_writable)
{
	upage_store *store = medium_store(false);
	char *shared = map_store(store, 4, PROT_READ, UPAGE_MAP_SHARED);
	ck_assert_refused(upage_protect(machine.space, shared + PAGE, PAGE, RW), UPAGE_EACCES);
	enum upage_cause cause = upage_translate(machine.space, shared, PROT_READ, NULL);
	ck_assert_int_eq(cause, UPAGE_CAUSE_NOT_MAPPED); /* not brought in */
	ck_assert_ok(upage_unmap(machine.space, shared, 4 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_part_of_a_store_is_not_shared_mapped_twice)
{
	upage_store *store = medium_store(true);
	char *shared = map_store(store, 4, RW, UPAGE_MAP_SHARED);
	refused_map(NULL, PAGE, RW, UPAGE_MAP_SHARED, store, 0, UPAGE_EBUSY);
	refused_map(NULL, 2 * PAGE, PROT_READ, UPAGE_MAP_SHARED, store, 3 * (off_t)PAGE,
	            UPAGE_EBUSY);
	void *behind = NULL;
	ck_assert_ok(upage_map(machine.space, &behind, PAGE, RW, UPAGE_MAP_SHARED, store,
	                       4 * (off_t)PAGE));
	ck_assert_ok(upage_unmap(machine.space, behind, PAGE));
	ck_assert_ok(upage_unmap(machine.space, shared, 4 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_file_opened_twice_is_not_shared_mapped_twice)
{
	char path[200];
	upage_store *first, *second;
	temporary_name(path, sizeof(path));
	int file = mkstemp(path);
	ck_assert_int_eq(ftruncate(file, 8192), 0);
	ck_assert_ok(upage_store_open(&first, path, UPAGE_STORE_WRITABLE));
	ck_assert_ok(upage_store_open(&second, path, UPAGE_STORE_WRITABLE));
	char *shared = map_store(first, 2, RW, UPAGE_MAP_SHARED);
	refused_map(NULL, PAGE, RW, UPAGE_MAP_SHARED, second, (off_t)PAGE, UPAGE_EBUSY);
	ck_assert_ok(upage_unmap(machine.space, shared, 2 * PAGE));
	shared = map_store(second, 2, RW, UPAGE_MAP_SHARED);
	ck_assert_ok(upage_unmap(machine.space, shared, 2 * PAGE));
	ck_assert_ok(upage_store_close(first));
	ck_assert_ok(upage_store_close(second));
	unlink(path);
	close(file);
}
END_TEST

START_TEST(a_mapped_store_is_not_closed)
{
	upage_store *store = medium_store(true);
	char *pages = map_store(store, 4, RW, 0);
	ck_assert_refused(upage_store_close(store), UPAGE_EBUSY);
	ck_assert_ok(upage_unmap(machine.space, pages, 2 * PAGE));
	ck_assert_refused(upage_store_close(store), UPAGE_EBUSY);
	ck_assert_int_eq(medium.closed, 0);
	ck_assert_ok(upage_unmap(machine.space, pages + 2 * PAGE, 2 * PAGE));
	ck_assert_ok(upage_store_close(store));
	ck_assert_int_eq(medium.closed, 1);
}
END_TEST

static int destroy_space(upage_space *space, char *address, size_t length)
{
	(void)address, (void)length;
	return upage_space_destroy(space);
}

/* What cannot be written is neither lost nor called clean. */
START_TEST(a_store_that_cannot_write_keeps_the_data_mapped)
{
	static range_call *const calls[] = { call_sync, call_unmap, call_drop, destroy_space };
	upage_store *store = medium_store(true);
	char *shared = map_store(store, 4, RW, UPAGE_MAP_SHARED);
	memset(shared, 's', 4 * PAGE);
	medium.write_result = -EIO;
	ck_assert_code(calls[_i](machine.space, shared, 4 * PAGE), UPAGE_EIO);
	ck_assert_ok(upage_pool_verify(machine.pool));
	ck_assert_int_eq(medium.bytes[0], 0);
	ck_assert_int_eq(shared[3 * PAGE], 's');
	shared[PAGE] = 't';
	medium.write_result = 0;
	ck_assert_ok(upage_unmap(machine.space, shared, 4 * PAGE));
	ck_assert_int_eq(medium.bytes[0], 's');
	ck_assert_int_eq(medium.bytes[PAGE], 't');
	ck_assert_int_eq(medium.bytes[4 * PAGE - 1], 's');
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_medium_that_cannot_be_flushed_is_reported)
{
	upage_store *store = medium_store(true);
	char *shared = map_store(store, 1, RW, UPAGE_MAP_SHARED);
	*shared = 's';
	medium.sync_result = -EIO;
	ck_assert_code(upage_sync(machine.space, shared, PAGE), UPAGE_EIO);
	medium.sync_result = 0;
	ck_assert_ok(upage_sync(machine.space, shared, PAGE));
	ck_assert_ok(upage_unmap(machine.space, shared, PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

/* ---- Pins ------------------------------------------------------------------------------ */

START_TEST(a_pin_for_anything_but_reading_or_both_is_refused)
{
	static const int prots[] = { PROT_NONE, PROT_WRITE, PROT_EXEC, PROT_READ | PROT_EXEC,
		                     RW | PROT_EXEC, -1 };
	for (size_t i = 0; i < LENGTH(prots); i++)
		ck_assert_refused(upage_pin(machine.space, page_at(0), 1, prots[i]), UPAGE_EINVAL);
}
END_TEST

START_TEST(a_pin_against_the_protection_is_refused)
{
	ck_assert_ok(upage_protect(machine.space, page_at(4), PAGE, PROT_READ));
	ck_assert_refused(upage_pin(machine.space, page_at(2), 4 * PAGE, RW), UPAGE_EACCES);
	ck_assert_ok(upage_protect(machine.space, page_at(4), PAGE, PROT_NONE));
	ck_assert_refused(upage_pin(machine.space, page_at(2), 4 * PAGE, PROT_READ), UPAGE_EACCES);
	ck_assert_ok(upage_protect(machine.space, page_at(4), PAGE, RW));
}
END_TEST

/* Memory less eight frames can be pinned, and not one more. */
START_TEST(more_pins_than_memory_are_refused_and_none_is_left)
{
	struct machine tiny = machine_make("memory=64K");
	char *pages = machine_map(tiny, 32, RW);
	ck_assert_code(upage_pin(tiny.space, pages, 9 * PAGE, RW), UPAGE_EPINS);
	ck_assert_uint_eq(machine_stats(tiny).frames_pinned, 0);
	ck_assert_code(upage_unpin(tiny.space, pages, PAGE), UPAGE_EINVAL);
	ck_assert_ok(upage_pin(tiny.space, pages, 8 * PAGE, RW));
	ck_assert_code(upage_pin(tiny.space, pages + 20 * PAGE, 1, PROT_READ), UPAGE_EPINS);
	ck_assert_uint_eq(machine_stats(tiny).frames_pinned, 8);
	ck_assert_ok(upage_pool_verify(tiny.pool));
	memset(pages, 1, 32 * PAGE); /* the rest of memory still serves all other pages */
	ck_assert_ok(upage_unpin(tiny.space, pages, 8 * PAGE));
	machine_end(tiny);
}
END_TEST

START_TEST(more_pins_than_a_page_can_count_are_refused)
{
	for (unsigned i = 0; i < 65535; i++)
		ck_assert_ok(upage_pin(machine.space, page_at(1), 1, PROT_READ));
	/* The page before it is pinned first, and let go again. */
	ck_assert_refused(upage_pin(machine.space, page_at(0), 2 * PAGE, PROT_READ), UPAGE_EPINS);
	ck_assert_uint_eq(machine_stats(machine).frames_pinned, 1);
	for (unsigned i = 0; i < 65535; i++)
		ck_assert_ok(upage_unpin(machine.space, page_at(1), 1));
	ck_assert_refused(upage_unpin(machine.space, page_at(1), 1), UPAGE_EINVAL);
}
END_TEST

START_TEST(an_unpin_of_what_is_not_all_pinned_is_refused)
{
	ck_assert_refused(upage_unpin(machine.space, page_at(0), 1), UPAGE_EINVAL);
	ck_assert_refused(upage_unpin(machine.space, page_at(LEFT), 1), UPAGE_EINVAL);
	ck_assert_ok(upage_pin(machine.space, page_at(0), 2 * PAGE, PROT_READ));
	ck_assert_refused(upage_unpin(machine.space, page_at(0), 3 * PAGE), UPAGE_EINVAL);
	ck_assert_ok(upage_unpin(machine.space, page_at(0), 2 * PAGE));
}
END_TEST

START_TEST(a_page_that_cannot_be_read_is_not_pinned)
{
	upage_store *store = medium_store(true);
	char *pages = map_store(store, 4, RW, 0);
	pages[0] = 1; /* one is resident, the next cannot be */
	medium.read_result = -EIO;
	ck_assert_refused(upage_pin(machine.space, pages, 2 * PAGE, RW), UPAGE_EIO);
	medium.read_result = 0;
	ck_assert_ok(upage_pin(machine.space, pages, 2 * PAGE, RW));
	ck_assert_ok(upage_unpin(machine.space, pages, 2 * PAGE));
	ck_assert_ok(upage_unmap(machine.space, pages, 4 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

START_TEST(a_page_past_the_end_of_a_file_is_not_pinned)
{
	upage_store *store = file_store(100, 0);
	char *pages = map_store(store, 2, PROT_READ, 0);
	ck_assert_code(upage_pin(machine.space, pages, 2 * PAGE, PROT_READ), UPAGE_EIO);
	ck_assert_uint_eq(machine_stats(machine).frames_pinned, 0);
	ck_assert_ok(upage_unmap(machine.space, pages, 2 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

/* ---- Questions ------------------------------------------------------------------------- */

START_TEST(a_translation_without_a_frame_has_a_cause)
{
	char *base = upage_space_base(machine.space);
	upage_pfn pfn = 4711;
	ck_assert_ok(upage_protect(machine.space, page_at(1), PAGE, PROT_READ));
	upage_space *s = machine.space;
	ck_assert_int_eq(upage_translate(s, base - 1, PROT_READ, &pfn), UPAGE_CAUSE_BOUNDS);
	ck_assert_int_eq(upage_translate(s, base + upage_space_length(s), PROT_READ, &pfn),
	                 UPAGE_CAUSE_BOUNDS);
	ck_assert_int_eq(upage_translate(s, page_at(LEFT), PROT_READ, &pfn),
	                 UPAGE_CAUSE_NOT_MAPPED);
	ck_assert_int_eq(upage_translate(s, page_at(1), PROT_WRITE, &pfn), UPAGE_CAUSE_PROTECTION);
	ck_assert_uint_eq(pfn, 4711);
	ck_assert_ok(upage_protect(machine.space, page_at(1), PAGE, RW));
}
END_TEST

START_TEST(a_residency_without_a_place_is_refused)
{
	ck_assert_refused(upage_residency(machine.space, page_at(0), PAGE, NULL), UPAGE_EINVAL);
}
END_TEST

START_TEST(statistics_of_no_size_or_no_pool_are_refused)
{
	struct upage_stats stats = { .size = 0, .frames = 4711 };
	ck_assert_refused(upage_stats_get(machine.pool, &stats), UPAGE_EINVAL);
	ck_assert_refused(upage_stats_get(machine.pool, NULL), UPAGE_EINVAL);
	stats.size = sizeof(stats);
	ck_assert_refused(upage_stats_get(NULL, &stats), UPAGE_EINVAL);
	ck_assert_uint_eq(stats.frames, 4711);
}
END_TEST

START_TEST(statistics_of_an_older_program_fill_no_more_than_it_has)
{
	struct upage_stats stats;
	memset(&stats, 0x5a, sizeof(stats));
	stats.size = offsetof(struct upage_stats, faults);
	ck_assert_ok(upage_stats_get(machine.pool, &stats));
	ck_assert_uint_eq(stats.frames, 64);
	ck_assert_uint_eq(stats.faults, UINT64_C(0x5a5a5a5a5a5a5a5a));
	ck_assert_uint_eq(stats.fault_ns_max, UINT64_C(0x5a5a5a5a5a5a5a5a));
}
END_TEST

START_TEST(statistics_that_cannot_be_written_are_refused)
{
	ck_assert_refused(upage_stats_json(machine.pool, "/no/such/directory/x"), -ENOENT);
	ck_assert_refused(upage_stats_json(machine.pool, "/dev/full"), -ENOSPC);
	ck_assert_refused(upage_stats_print(machine.pool, -1), -EBADF);
}
END_TEST

/* ---- Faults that cannot be served ------------------------------------------------------ */

struct ending {
	int status;
	char text[4096]; /* what it wrote on stderr */
};

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Runs @body in a process of its own, whose pools are its own. One that does not end is a
 * failure of the test. */
static struct ending run(void (*body)(void))
{
	struct ending ending = { 0 };
	int ends[2];
	size_t length = 0;
	ck_assert_int_eq(pipe(ends), 0);
	fflush(NULL);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		body();
		_exit(0);
	}
	close(ends[1]);
	struct pollfd ready = { .fd = ends[0], .events = POLLIN };
	for (double limit = seconds() + 10;;) {
		int wait = (int)((limit - seconds()) * 1000);
		ssize_t n = -1;
		if (wait > 0 && poll(&ready, 1, wait) > 0)
			n = read(ends[0], ending.text + length, sizeof(ending.text) - 1 - length);
		if (n <= 0) {
			if (n < 0)
				kill(child, SIGKILL);
			break;
		}
		length += (size_t)n;
	}
	waitpid(child, &ending.status, 0);
	close(ends[0]);
	return ending;
}

static void killed_by_bus_error(const struct ending *ending)
{
	ck_assert_msg(WIFSIGNALED(ending->status) && WTERMSIG(ending->status) == SIGBUS,
	              "status 0x%x, stderr '%s'", (unsigned)ending->status, ending->text);
}

/* One line, with these words in it. */
static void one_clear_line(const struct ending *ending, const char *words)
{
	static const char start[] = "upage: bus error";
	ck_assert_msg(strncmp(ending->text, start, sizeof(start) - 1) == 0, "'%s'", ending->text);
	const char *newline = strchr(ending->text, '\n');
	ck_assert_msg(newline != NULL && newline[1] == '\0', "'%s'", ending->text);
	ck_assert_msg(strstr(ending->text, words) != NULL, "'%s' lacks '%s'", ending->text, words);
}

/* Memory and swap together have room for 32 pages, and one is needed to move others about.
 * Twice as many are mapped, before they are full. */
#define HELD 31
static char *first, *second;

static void tiny_make(void)
{
	machine = machine_make("memory=64K,swap-size=64K,overcommit");
	first = machine_map(machine, HELD, RW);
	second = machine_map(machine, HELD, RW);
}

static char *volatile touching;

static void fill(char *pages, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		touching = pages + i * PAGE + 24;
		*(volatile uint64_t *)touching = i + 1;
	}
}

static void run_out_of_swap(void)
{
	tiny_make();
	fill(first, HELD);
	fill(second, HELD);
}

START_TEST(full_swap_ends_in_one_line_and_a_bus_error)
{
	struct ending ending = run(run_out_of_swap);
	killed_by_bus_error(&ending);
	one_clear_line(&ending, upage_strerror(UPAGE_ENOSPC));
}
END_TEST

static void run_out_with_signal_ignored(void)
{
	signal(SIGBUS, SIG_IGN);
	run_out_of_swap();
}

static void run_out_with_signal_blocked(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	sigprocmask(SIG_BLOCK, &set, NULL);
	run_out_of_swap();
}

/* As the kernel has it for its own: to go on would be to trap for ever. */
START_TEST(a_bus_error_is_neither_ignored_nor_blocked)
{
	struct ending ending =
	        run(_i == 0 ? run_out_with_signal_ignored : run_out_with_signal_blocked);
	killed_by_bus_error(&ending);
	one_clear_line(&ending, upage_strerror(UPAGE_ENOSPC));
}
END_TEST

static sigjmp_buf out;
static siginfo_t caught;
static volatile int catches;

static void catch_bus_error(int number, siginfo_t *info, void *context)
{
	(void)context;
	ck_assert_int_eq(number, SIGBUS);
	caught = *info;
	catches++;
	siglongjmp(out, 1);
}

/* From here on; the lines on stderr are no news then. */
static void handle_bus_errors(void)
{
	int nowhere = open("/dev/null", O_WRONLY);
	dup2(nowhere, 2);
	close(nowhere);
	struct sigaction action = { .sa_sigaction = catch_bus_error, .sa_flags = SA_SIGINFO };
	sigemptyset(&action.sa_mask);
	ck_assert_int_eq(sigaction(SIGBUS, &action, NULL), 0);
}

/* Fills until it fails. */
static void fill_all(void)
{
	handle_bus_errors();
	tiny_make();
	if (sigsetjmp(out, 1) == 0) {
		fill(first, HELD);
		fill(second, HELD);
	}
	ck_assert_int_eq(catches, 1);
}

START_TEST(the_handler_of_a_bus_error_is_told_the_address)
{
	fill_all();
	ck_assert_int_eq(caught.si_signo, SIGBUS);
	ck_assert_int_eq(caught.si_code, BUS_ADRERR);
	ck_assert_ptr_eq(caught.si_addr, touching);
	machine_end(machine);
}
END_TEST

START_TEST(the_largest_mapping_can_be_written_and_read)
{
	tiny_make();
	for (unsigned round = 0; round < 3; round++) {
		fill(first, HELD);
		for (size_t i = 0; i < HELD; i++)
			ck_assert_uint_eq(*(uint64_t *)(void *)(first + i * PAGE + 24), i + 1);
	}
	machine_end(machine);
}
END_TEST

START_TEST(a_bus_error_leaves_resident_memory_intact)
{
	unsigned char resident[HELD];
	fill_all();
	ck_assert_ok(upage_pool_verify(machine.pool));
	ck_assert_ok(upage_residency(machine.space, first, HELD * PAGE, resident));
	unsigned count = 0;
	for (size_t i = 0; i < HELD; i++) {
		if (!resident[i])
			continue;
		ck_assert_uint_eq(*(uint64_t *)(void *)(first + i * PAGE + 24), i + 1);
		count++;
	}
	ck_assert_uint_ge(count, 15);
	ck_assert_int_eq(catches, 1);
	machine_end(machine);
}
END_TEST

/* One page too many was asked for, and given up again: now all that was there is in reach. */
START_TEST(after_a_bus_error_and_some_room_all_data_is_there)
{
	fill_all();
	ck_assert_ok(upage_unmap(machine.space, second, HELD * PAGE));
	ck_assert_ok(upage_unmap(machine.space, first + (HELD - 1) * PAGE, PAGE));
	for (size_t i = 0; i + 1 < HELD; i++)
		ck_assert_uint_eq(*(uint64_t *)(void *)(first + i * PAGE + 24), i + 1);
	ck_assert_int_eq(catches, 1);
	machine_end(machine);
}
END_TEST

START_TEST(a_bus_error_is_counted_as_a_failed_fault)
{
	fill_all();
	ck_assert_uint_eq(machine_stats(machine).failed, 1);
	machine_end(machine);
}
END_TEST

START_TEST(the_same_page_may_fail_again_and_again)
{
	fill_all();
	for (volatile int i = 0; i < 100; i++)
		if (sigsetjmp(out, 1) == 0)
			fill(second, HELD);
	ck_assert_int_eq(catches, 101);
	ck_assert_ok(upage_pool_verify(machine.pool));
	machine_end(machine);
}
END_TEST

START_TEST(a_map_is_refused_while_memory_and_swap_are_full)
{
	void *address = NULL;
	fill_all();
	ck_assert_refused(upage_map(machine.space, &address, PAGE, RW, 0, NULL, 0), UPAGE_ENOMEM);
	ck_assert_ptr_null(address);
	ck_assert_ok(upage_unmap(machine.space, first, 4 * PAGE));
	ck_assert_ok(upage_map(machine.space, &address, PAGE, RW, 0, NULL, 0));
	machine_end(machine);
}
END_TEST

START_TEST(a_pin_is_refused_while_memory_and_swap_are_full)
{
	fill_all();
	ck_assert_code(upage_pin(machine.space, second, 2 * PAGE, RW), UPAGE_ENOSPC);
	ck_assert_uint_eq(machine_stats(machine).frames_pinned, 0);
	ck_assert_ok(upage_pool_verify(machine.pool));
	machine_end(machine);
}
END_TEST

/* Two words from one page border to another: four pages at once. */
static void copy_over_borders(char *to, const char *from)
{
#if defined(__x86_64__)
	size_t words = 2;
	__asm__ volatile("rep movsq" : "+S"(from), "+D"(to), "+c"(words) : : "memory");
#else
	memcpy(to, from, 16);
#endif
}

static uint64_t small_budget;

static void use_small_budget(void)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	config.memory = 1 << 20;
	config.mapping_budget = small_budget;
	int result = upage_pool_create(&machine.pool, &config);
	if (result == UPAGE_EOPTION)
		_exit(0);
	ck_assert_ok(result);
	ck_assert_ok(upage_space_create(&machine.space, machine.pool, NULL));
	first = machine_map(machine, 64, RW);
	for (size_t i = 0; i < 1000; i++)
		copy_over_borders(first + (1 + i * 7 % 63) * PAGE - 8,
		                  first + (1 + i * 31 % 63) * PAGE - 8);
}

/* It may be refused, and it may be used; it may not trap for ever. */
START_TEST(a_budget_of_mappings_too_small_does_not_hang)
{
	small_budget = (uint64_t)_i;
	struct ending ending = run(use_small_budget);
	ck_assert_int_eq(ending.status, 0);
}
END_TEST

/* A store that fails. */
static void read_from_a_bad_store(void)
{
	machine = machine_make("memory=64K");
	medium.read_result = -EIO;
	char *pages = map_store(medium_store(true), 4, RW, 0);
	(void)*(volatile char *)(pages + PAGE);
}

START_TEST(a_store_that_cannot_be_read_ends_in_one_line_and_a_bus_error)
{
	struct ending ending = run(read_from_a_bad_store);
	killed_by_bus_error(&ending);
	one_clear_line(&ending, upage_strerror(UPAGE_EIO));
}
END_TEST

START_TEST(a_page_that_could_not_be_read_is_read_once_the_store_can)
{
	handle_bus_errors();
	upage_store *store = medium_store(true);
	memset(medium.bytes, 'm', sizeof(medium.bytes));
	char *pages = map_store(store, 4, RW, 0);
	ck_assert_int_eq(pages[2 * PAGE], 'm');
	pages[2 * PAGE] = 'x';
	medium.read_result = -EIO;
	touching = pages + PAGE + 5;
	if (sigsetjmp(out, 1) == 0)
		(void)*(volatile char *)touching;
	ck_assert_int_eq(catches, 1);
	ck_assert_int_eq(caught.si_code, BUS_ADRERR);
	ck_assert_ptr_eq(caught.si_addr, touching);
	ck_assert_int_eq(pages[2 * PAGE], 'x');
	medium.read_result = 0;
	ck_assert_int_eq(*touching, 'm');
	ck_assert_ok(upage_unmap(machine.space, pages, 4 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

/* Shared pages that cannot be written back fill memory: nothing else can come in. */
static void write_to_a_bad_store(void)
{
	machine = machine_make("memory=64K");
	upage_store *store = medium_store(true);
	char *shared = map_store(store, MEDIUM, RW, UPAGE_MAP_SHARED);
	first = machine_map(machine, HELD, RW);
	ck_assert_ok(upage_pin(machine.space, first, 8 * PAGE, RW));
	medium.write_result = -EIO;
	for (size_t i = 0; i < MEDIUM; i++)
		shared[i * PAGE] = 's';
	touching = first + 8 * PAGE;
	*touching = 1;
}

START_TEST(a_store_that_cannot_be_written_ends_in_one_line_and_a_bus_error)
{
	struct ending ending = run(write_to_a_bad_store);
	killed_by_bus_error(&ending);
	one_clear_line(&ending, upage_strerror(UPAGE_EIO));
}
END_TEST

static void read_past_the_end(void)
{
	machine = machine_make("memory=64K");
	char *pages = map_store(file_store(5000, 0), 4, PROT_READ, 0);
	if (pages[4999] != 'f' || pages[5000] != 0 || pages[2 * PAGE - 1] != 0)
		_exit(1);
	(void)*(volatile char *)(pages + 2 * PAGE);
}

START_TEST(a_page_past_the_end_of_a_file_is_a_bus_error)
{
	struct ending ending = run(read_past_the_end);
	killed_by_bus_error(&ending);
}
END_TEST

START_TEST(the_handler_past_the_end_of_a_file_is_told_the_address)
{
	handle_bus_errors();
	upage_store *store = file_store(5000, UPAGE_STORE_WRITABLE);
	char *pages = map_store(store, 4, RW, UPAGE_MAP_SHARED);
	touching = pages + 3 * PAGE + 17;
	if (sigsetjmp(out, 1) == 0)
		*(volatile char *)touching = 1;
	ck_assert_int_eq(catches, 1);
	ck_assert_int_eq(caught.si_code, BUS_ADRERR);
	ck_assert_ptr_eq(caught.si_addr, touching);
	ck_assert_int_eq(pages[4999], 'f');
	ck_assert_ok(upage_unmap(machine.space, pages, 4 * PAGE));
	ck_assert_ok(upage_store_close(store));
}
END_TEST

/* ---- All of it ------------------------------------------------------------------------- */

static void add_texts(Suite *suite)
{
	TCase *texts = tcase_create("texts and options");
	tcase_add_test(texts, every_code_has_a_text_of_its_own);
	tcase_add_test(texts, a_host_error_has_the_hosts_text);
	tcase_add_test(texts, a_number_that_is_no_code_has_a_text);
	tcase_add_test(texts, the_library_is_that_of_the_header);
	tcase_add_loop_test(texts, a_bad_option_is_named_and_nothing_is_taken_in, 0,
	                    LENGTH(bad_options));
	tcase_add_test(texts, a_word_too_long_for_any_buffer_is_refused);
	tcase_add_test(texts, options_without_words_or_config_are_refused);
	tcase_add_test(texts, options_into_a_config_of_wrong_size_are_refused);
	tcase_add_test(texts, a_bad_option_of_the_environment_is_refused);
	suite_add_tcase(suite, texts);
}

static void add_pools(Suite *suite)
{
	TCase *pools = tcase_create("pools");
	tcase_add_loop_test(pools, memory_and_page_sizes_that_cannot_be_are_refused, 0,
	                    LENGTH(bad_sizes));
	tcase_add_test(pools, an_unknown_policy_is_named_with_the_choices);
	tcase_add_test(pools, an_unknown_store_is_named_with_the_choices);
	tcase_add_test(pools, an_unknown_mapping_is_named_with_the_choices);
	tcase_add_test(pools, swap_that_holds_no_page_is_refused);
	tcase_add_test(pools, a_swap_path_that_cannot_be_made_is_in_the_message);
	tcase_add_test(pools, a_file_that_exists_is_not_taken_for_swap);
	tcase_add_test(pools, a_pool_config_of_wrong_size_is_refused);
	tcase_add_test(pools, a_pool_without_a_place_for_it_is_refused);
	tcase_add_test(pools, a_pool_config_of_an_older_program_is_taken);
	tcase_add_test(pools, too_few_descriptors_refuse_a_pool_and_none_is_lost);
	tcase_add_test(pools, too_little_host_memory_refuses_a_pool_and_none_is_lost);
	tcase_add_test(pools, no_pool_space_heap_or_store_may_be_ended);
	tcase_add_loop_test(pools, a_map_that_memory_and_swap_could_never_hold_is_refused, 0, 2);
	tcase_add_test(pools, more_than_memory_and_swap_hold_in_all_is_refused);
	tcase_add_test(pools, a_protection_for_more_than_they_hold_is_refused);
	tcase_add_test(pools, more_pins_than_memory_are_refused_and_none_is_left);
	suite_add_tcase(suite, pools);
}

static void add_spaces(TCase *in_scene)
{
	tcase_add_test(in_scene, a_pool_with_a_space_is_not_destroyed);
	tcase_add_test(in_scene, a_space_at_half_a_page_is_refused);
	tcase_add_test(in_scene, a_space_with_six_levels_is_refused);
	tcase_add_test(in_scene, a_space_config_of_wrong_size_is_refused);
	tcase_add_test(in_scene, a_space_without_pool_or_place_is_refused);
	tcase_add_test(in_scene, a_space_over_the_programs_memory_is_refused);
	tcase_add_test(in_scene, a_space_longer_than_the_host_has_is_refused);
	tcase_add_test(in_scene, a_space_under_a_limit_of_addresses_is_refused);
	tcase_add_test(in_scene, a_space_with_a_pinned_page_is_not_destroyed);
}

static void add_ranges(TCase *in_scene)
{
	const int all = LENGTH(range_calls);
	tcase_add_loop_test(in_scene, a_range_of_no_space_is_refused, 0, all);
	tcase_add_loop_test(in_scene, an_empty_range_is_refused, 0, all);
	tcase_add_loop_test(in_scene, a_range_from_half_a_page_is_refused, 0, CALLS_OF_PAGES);
	tcase_add_loop_test(in_scene, a_range_that_overflows_is_refused, 0, all);
	tcase_add_loop_test(in_scene, a_range_outside_the_space_is_refused, 0, all);
	tcase_add_loop_test(in_scene, a_range_with_a_hole_is_refused, 0, CALLS_OF_MAPPED);
	tcase_add_loop_test(in_scene, a_range_that_is_not_mapped_is_refused, 0, CALLS_OF_MAPPED);
	/* and of those that take pages one by one, pinning */
	tcase_add_loop_test(in_scene, a_range_with_a_hole_is_refused, 7, 8);
	tcase_add_loop_test(in_scene, a_range_that_is_not_mapped_is_refused, 7, 8);
	tcase_add_test(in_scene, a_range_unmapped_already_is_refused);
	tcase_add_loop_test(in_scene, a_range_with_a_pinned_page_is_neither_unmapped_nor_dropped, 0,
	                    2);
}

static void add_maps(TCase *in_scene)
{
	tcase_add_test(in_scene, a_map_without_a_space_or_a_place_is_refused);
	tcase_add_test(in_scene, a_map_of_nothing_is_refused);
	tcase_add_test(in_scene, a_map_at_half_a_page_is_refused);
	tcase_add_test(in_scene, a_map_with_unknown_bits_is_refused);
	tcase_add_test(in_scene, a_shared_map_of_no_store_is_refused);
	tcase_add_test(in_scene, an_offset_into_no_store_is_refused);
	tcase_add_test(in_scene, a_map_that_overflows_is_refused);
	tcase_add_test(in_scene, a_fixed_map_outside_the_space_is_refused);
	tcase_add_test(in_scene, a_fixed_map_over_a_mapping_is_refused);
	tcase_add_test(in_scene, a_map_longer_than_any_gap_is_refused);
	tcase_add_test(in_scene, unknown_bits_of_a_protection_are_refused);
	tcase_add_test(in_scene, unknown_advice_is_refused);
}

static void add_stores(TCase *in_scene)
{
	tcase_add_test(in_scene, a_file_that_is_not_there_is_refused);
	tcase_add_test(in_scene, what_is_no_regular_file_is_refused);
	tcase_add_test(in_scene, a_pipe_is_refused_without_waiting_for_a_writer);
	tcase_add_test(in_scene, unknown_flags_of_a_store_are_refused);
	tcase_add_test(in_scene, a_file_store_without_path_or_place_is_refused);
	tcase_add_test(in_scene, a_store_of_functions_that_lacks_some_is_refused);
	tcase_add_test(in_scene, a_store_of_functions_of_wrong_size_is_refused);
	tcase_add_test(in_scene, an_offset_that_is_no_page_is_refused);
	tcase_add_test(in_scene, an_offset_that_overflows_is_refused);
	tcase_add_loop_test(in_scene, a_read_only_store_is_not_mapped_writable_and_shared, 0, 2);
	tcase_add_test(in_scene, a_read_only_shared_mapping_is_not_made_writable);
	tcase_add_test(in_scene, a_part_of_a_store_is_not_shared_mapped_twice);
	tcase_add_test(in_scene, a_file_opened_twice_is_not_shared_mapped_twice);
	tcase_add_test(in_scene, a_mapped_store_is_not_closed);
	tcase_add_loop_test(in_scene, a_store_that_cannot_write_keeps_the_data_mapped, 0, 4);
	tcase_add_test(in_scene, a_medium_that_cannot_be_flushed_is_reported);
}

static void add_pins_and_questions(TCase *in_scene)
{
	tcase_add_test(in_scene, a_pin_for_anything_but_reading_or_both_is_refused);
	tcase_add_test(in_scene, a_pin_against_the_protection_is_refused);
	tcase_add_test(in_scene, more_pins_than_a_page_can_count_are_refused);
	tcase_add_test(in_scene, an_unpin_of_what_is_not_all_pinned_is_refused);
	tcase_add_test(in_scene, a_page_that_cannot_be_read_is_not_pinned);
	tcase_add_test(in_scene, a_page_past_the_end_of_a_file_is_not_pinned);
	tcase_add_test(in_scene, a_translation_without_a_frame_has_a_cause);
	tcase_add_test(in_scene, a_residency_without_a_place_is_refused);
	tcase_add_test(in_scene, statistics_of_no_size_or_no_pool_are_refused);
	tcase_add_test(in_scene, statistics_of_an_older_program_fill_no_more_than_it_has);
	tcase_add_test(in_scene, statistics_that_cannot_be_written_are_refused);
	tcase_add_test(in_scene, a_page_that_could_not_be_read_is_read_once_the_store_can);
	tcase_add_test(in_scene, the_handler_past_the_end_of_a_file_is_told_the_address);
}

static void add_bus_errors(Suite *suite)
{
	TCase *faults = tcase_create("faults that cannot be served");
	tcase_add_test(faults, full_swap_ends_in_one_line_and_a_bus_error);
	tcase_add_loop_test(faults, a_bus_error_is_neither_ignored_nor_blocked, 0, 2);
	tcase_add_test(faults, the_handler_of_a_bus_error_is_told_the_address);
	tcase_add_test(faults, the_largest_mapping_can_be_written_and_read);
	tcase_add_test(faults, a_bus_error_leaves_resident_memory_intact);
	tcase_add_test(faults, after_a_bus_error_and_some_room_all_data_is_there);
	tcase_add_test(faults, a_bus_error_is_counted_as_a_failed_fault);
	tcase_add_test(faults, the_same_page_may_fail_again_and_again);
	tcase_add_test(faults, a_map_is_refused_while_memory_and_swap_are_full);
	tcase_add_test(faults, a_pin_is_refused_while_memory_and_swap_are_full);
	tcase_add_loop_test(faults, a_budget_of_mappings_too_small_does_not_hang, 1, 12);
	tcase_add_test(faults, a_store_that_cannot_be_read_ends_in_one_line_and_a_bus_error);
	tcase_add_test(faults, a_store_that_cannot_be_written_ends_in_one_line_and_a_bus_error);
	tcase_add_test(faults, a_page_past_the_end_of_a_file_is_a_bus_error);
	tcase_set_timeout(faults, 30);
	suite_add_tcase(suite, faults);
}

int main(void)
{
	Suite *suite = suite_create("bad_input");
	add_texts(suite);
	add_pools(suite);
	TCase *in_scene = tcase_create("in the scene");
	tcase_add_checked_fixture(in_scene, scene_make, scene_end);
	tcase_set_timeout(in_scene, 30);
	add_spaces(in_scene);
	add_ranges(in_scene);
	add_maps(in_scene);
	add_stores(in_scene);
	add_pins_and_questions(in_scene);
	suite_add_tcase(suite, in_scene);
	add_bus_errors(suite);
	return run_suite(suite);
}
