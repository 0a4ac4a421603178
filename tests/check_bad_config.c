/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_bad_config.c - are options, pools and spaces that cannot be refused?
 */
#include <limits.h>
#include <stddef.h>
#include <sys/resource.h>

#include "support_refusal.h"

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
	static const char unknown[] = "Unknown error"; /* glibc's, which has a number behind it */
	for (int number = 1; number < 200; number++) {
		bool ours = false;
		for (size_t i = 0; i < LENGTH(codes); i++)
			ours = ours || codes[i] == -number;
		if (ours)
			continue;
		const char *expected = strerror(number);
		ck_assert_str_eq(upage_strerror(-number),
		                 strncmp(expected, unknown, strlen(unknown)) == 0 ? "unknown error" : expected);
	}
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

/* However few descriptors there are, a pool is made whole or not at all. The hard limit is the same:
 * above the soft one alone there would be some. Loop: pools that have one more, for pages at home, where the kernel
 * has what they need; who has no descriptor cannot find that out, and may later. */
START_TEST(too_few_descriptors_refuse_a_pool_and_none_is_lost)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	if (_i == 1)
		strcpy(config.mapping, "guard");
	const struct rlimit limit = { 64, 64 };
	upage_pool *pool = UNTOUCHED;
	size_t descriptors = open_descriptors();
	int taken[64], count = 0, result = -EMFILE;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((taken[count] = dup(0)) >= 0)
		count++;
	for (unsigned spare = 0; spare < 8 && result != 0; spare++) {
		result = upage_pool_create(&pool, &config);
		if (spare == 0)
			ck_assert_int_eq(result, -EMFILE);
		if (result != 0)
			close(taken[--count]);
	}
	if (_i == 0 || result != UPAGE_ENOTSUP) {
		ck_assert_ok(result);
		ck_assert_ok(upage_pool_destroy(pool));
	}
	while (count > 0)
		close(taken[--count]);
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

/* ---- All of it ------------------------------------------------------------------------- */

static void add_texts(Suite *suite)
{
	TCase *texts = tcase_create("texts and options");
	suite_add_tcase(suite, texts);
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
}

static void add_pools(Suite *suite)
{
	TCase *pools = tcase_create("pools");
	suite_add_tcase(suite, pools);
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
	tcase_add_loop_test(pools, too_few_descriptors_refuse_a_pool_and_none_is_lost, 0, 2);
	tcase_add_test(pools, too_little_host_memory_refuses_a_pool_and_none_is_lost);
	tcase_add_test(pools, no_pool_space_heap_or_store_may_be_ended);
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

int main(void)
{
	Suite *suite = suite_create("bad_config");
	add_texts(suite);
	add_pools(suite);
	add_spaces(tcase_in_scene(suite));
	return run_suite(suite);
}
