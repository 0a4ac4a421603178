/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_options.c - do words mean what they say, and is a wrong one named?
 */
#include "options.h"
#include "support.h"

static struct upage_config parsed(const char *words)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	int result = upage_config_parse(&config, words);
	ck_assert_msg(result == 0, "%s: %s", words, config.message);
	return config;
}

/* @words are refused, the message has each of @named, and nothing else has changed. */
static void expect_refused(const char *words, const char *named, const char *right)
{
	struct upage_config config = UPAGE_CONFIG_INIT, before;
	config = parsed("memory=3M,policy=fifo,seed=9,store=file:x,stats");
	strcpy(config.message, "an older one");
	before = config;
	ck_assert_msg(upage_config_parse(&config, words) == UPAGE_EOPTION, "'%s' is taken", words);
	ck_assert_msg(strstr(config.message, named) != NULL, "'%s' is not named: %s", named,
	              config.message);
	ck_assert_msg(strstr(config.message, right) != NULL, "'%s' is not named: %s", right,
	              config.message);
	ck_assert_mem_eq(&config, &before, offsetof(struct upage_config, message));
}

/* ---- Sizes ----------------------------------------------------------------------------- */

START_TEST(a_size_is_bytes_or_has_a_suffix)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {
		{ "0", 0 },
		{ "1", 1 },
		{ "4096", 4096 },
		{ "64K", 65536 },
		{ "16M", 16777216 },
		{ "2G", UINT64_C(2) << 30 },
		{ "1T", UINT64_C(1) << 40 },
		{ "0004K", 4096 },
		{ "18446744073709551615", UINT64_MAX },
		{ "18014398509481983K", UINT64_MAX - 1023 },
		{ "17592186044415M", UINT64_MAX - 1048575 },
		{ "17179869183G", UINT64_MAX - 1073741823 },
		{ "16777215T", UINT64_MAX - UINT64_C(1099511627775) },
	};
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		uint64_t bytes = 77;
		ck_assert_msg(options_size(sizes[i].text, &bytes) == 0, "%s", sizes[i].text);
		ck_assert_msg(bytes == sizes[i].bytes, "%s", sizes[i].text);
	}
}
END_TEST

START_TEST(what_is_no_size_is_refused)
{
	static const char *const texts[] = {
		"", "K", "-1", "+1", " 1", "1 ", "1 K", "64KB", "64KiB", "64P", "0x10", "1.5G",
		"1e6", "K64", "1,000", "1\xd0", "99999999999999999999999999",
		"18446744073709551616", "18446744073709551616K", "18014398509481984K",
		"17592186044416M", "17179869184G", "16777216T",
	};
	for (size_t i = 0; i < LENGTH(texts); i++) {
		uint64_t bytes = 77;
		ck_assert_msg(options_size(texts[i], &bytes) == UPAGE_EOPTION, "%s", texts[i]);
		ck_assert_uint_eq(bytes, 77);
	}
}
END_TEST

/* ---- Words ----------------------------------------------------------------------------- */

START_TEST(every_word_goes_to_its_own_field)
{
	struct upage_config config, expected;
#define EXPECT(words, change)                                                                 \
	config = parsed(words);                                                               \
	expected = (struct upage_config)UPAGE_CONFIG_INIT;                                    \
	change;                                                                               \
	ck_assert_mem_eq(&config, &expected, sizeof(config))
	EXPECT("memory=64M", expected.memory = 64 << 20);
	EXPECT("page-size=64K", expected.page_size = 65536);
	EXPECT("swap-size=1G", expected.swap_size = 1 << 30);
	EXPECT("mapping-budget=1000", expected.mapping_budget = 1000);
	EXPECT("seed=42", expected.seed = 42);
	EXPECT("stats", expected.stats = 1);
	EXPECT("direct", expected.direct = 1);
	EXPECT("policy=random", strcpy(expected.policy, "random"));
	EXPECT("store=file:/a/b=c", strcpy(expected.store, "file:/a/b=c"));
	EXPECT("mapping=remap", strcpy(expected.mapping, "remap"));
	EXPECT("mapping=guard", strcpy(expected.mapping, "guard"));
	EXPECT("patch=on", strcpy(expected.patch, "on"));
	EXPECT("stats-json=%p.json", strcpy(expected.stats_json, "%p.json"));
#undef EXPECT
}
END_TEST

START_TEST(words_add_up_and_the_last_of_two_counts)
{
	struct upage_config config = parsed("memory=1M,policy=fifo,seed=3,memory=2M,stats");
	ck_assert_uint_eq(config.memory, 2 << 20);
	ck_assert_str_eq(config.policy, "fifo");
	ck_assert_uint_eq(config.seed, 3);
	ck_assert_uint_eq(config.stats, 1);
	ck_assert_ok(upage_config_parse(&config, "policy=random"));
	ck_assert_str_eq(config.policy, "random");
	ck_assert_uint_eq(config.memory, 2 << 20);
}
END_TEST

START_TEST(empty_words_and_commas_too_many_mean_nothing)
{
	static const char *const words[] = { "",        ",",       ",,,",
		                             "seed=7,", ",seed=7", "seed=7,,stats,," };
	struct upage_config init = UPAGE_CONFIG_INIT;
	for (size_t i = 0; i < LENGTH(words); i++) {
		struct upage_config config = parsed(words[i]);
		ck_assert_uint_eq(config.seed, strstr(words[i], "seed") != NULL ? 7 : 0);
		ck_assert_uint_eq(config.stats, strstr(words[i], "stats") != NULL);
		config.seed = config.stats = 0;
		ck_assert_mem_eq(&config, &init, sizeof(config));
	}
}
END_TEST

START_TEST(a_seed_has_all_of_its_64_bits)
{
	ck_assert_uint_eq(parsed("seed=18446744073709551615").seed, UINT64_MAX);
	ck_assert_uint_eq(parsed("seed=0").seed, 0);
	expect_refused("seed=18446744073709551616", "seed=18446744073709551616", "a number");
	expect_refused("seed=-1", "seed=-1", "a number");
	expect_refused("seed=1K", "seed=1K", "a number");
	expect_refused("seed=", "seed=", "a number");
	expect_refused("seed", "seed", "a number");
}
END_TEST

START_TEST(an_unknown_word_is_named_with_those_that_there_are)
{
	static const char *const there_are[] = { "memory", "page-size", "policy",
		                                 "store", "swap-size", "mapping",
		                                 "mapping-budget", "seed", "stats",
		                                 "stats-json" };
	static const char *const words[] = { "memry=1M", "Memory=1M", " memory=1M",
		                             "memory =1M", "mem=1M", "memorys=1M",
		                             "=1M", "--seed=1", "statsjson=x" };
	for (size_t i = 0; i < LENGTH(words); i++)
		for (size_t j = 0; j < LENGTH(there_are); j++)
			expect_refused(words[i], words[i], there_are[j]);
}
END_TEST

START_TEST(a_value_that_is_none_is_named_with_what_would_be_right)
{
	expect_refused("memory=64X", "memory=64X", "64M");
	expect_refused("memory=", "memory=", "64M");
	expect_refused("memory", "memory", "64M");
	expect_refused("memory=0", "memory=0", "64M");
	expect_refused("memory=18446744073709551616", "memory=18446744073709551616", "64M");
	expect_refused("memory=16777216T", "memory=16777216T", "64M");
	expect_refused("memory=18446744073709551615", "memory=18446744073709551615", "64M");
	expect_refused("page-size=big", "page-size=big", "4K to 2M");
	expect_refused("swap-size=1M1", "swap-size=1M1", "1G");
	expect_refused("mapping-budget=many", "mapping-budget=many", "host mappings");
	expect_refused("stats=1", "stats=1", "no value");
	expect_refused("stats=", "stats=", "no value");
	expect_refused("policy=", "policy=", "policy");
	expect_refused("policy", "policy", "policy");
	expect_refused("store=", "store=", "file:PATH");
	expect_refused("mapping=", "mapping=", "auto, remap or guard");
	expect_refused("patch=", "patch=", "auto, on or off");
	expect_refused("stats-json=", "stats-json=", "file");
}
END_TEST

START_TEST(one_wrong_word_undoes_the_right_ones_before_it)
{
	expect_refused("memory=1M,policy=clock,seed=1,nonsense", "nonsense", "memory");
	expect_refused("memory=1M,stats-json=a,swap-size=x,seed=1", "swap-size=x", "1G");
}
END_TEST

/* A text of @length bytes behind @prefix. */
static const char *long_word(const char *prefix, size_t length)
{
	static char word[16384];
	snprintf(word, sizeof(word), "%s", prefix);
	memset(word + strlen(prefix), 'x', length);
	word[strlen(prefix) + length] = '\0';
	return word;
}

START_TEST(a_text_fits_its_field_or_is_refused)
{
	static const struct {
		const char *word;
		size_t field;
	} texts[] = {
		{ "stats-json=", sizeof(((struct upage_config *)0)->stats_json) },
	};
	for (size_t i = 0; i < LENGTH(texts); i++) {
		parsed(long_word(texts[i].word, texts[i].field - 1));
		expect_refused(long_word(texts[i].word, texts[i].field), texts[i].word, "takes");
	}
	char path[300]; /* long_word() has one buffer */
	snprintf(path, sizeof(path), "file:%s", long_word("", 250));
	ck_assert_str_eq(parsed(long_word("store=file:", 250)).store, path);
	expect_refused(long_word("store=file:", 251), "store=file:", "takes");
}
END_TEST

START_TEST(a_word_of_any_length_is_refused_in_order)
{
	static const size_t lengths[] = { 100, 292, 293, 294, 295, 300, 1000, 8000 };
	for (size_t i = 0; i < LENGTH(lengths); i++) {
		expect_refused(long_word("nonsens", lengths[i]), "nonsensxxxx", "'");
		expect_refused(long_word("store=", lengths[i] + 200), "store=xxxx", "'");
	}
}
END_TEST

START_TEST(parsing_into_nothing_is_refused)
{
	struct upage_config config = UPAGE_CONFIG_INIT, none = { 0 };
	ck_assert_int_eq(upage_config_parse(NULL, "stats"), UPAGE_EINVAL);
	ck_assert_int_eq(upage_config_parse(&config, NULL), UPAGE_EINVAL);
	ck_assert_int_eq(upage_config_parse(&none, "stats"), UPAGE_EINVAL);
	ck_assert_uint_eq(config.stats, 0);
}
END_TEST

/* ---- Structures of other versions ------------------------------------------------------ */

START_TEST(an_older_program_gets_its_fields_and_is_not_written_past)
{
	/* Its structure ended before each of the fields in turn. */
	static const size_t sizes[] = {
		offsetof(struct upage_config, mapping_budget),
		offsetof(struct upage_config, policy),
		offsetof(struct upage_config, mapping),
		offsetof(struct upage_config, message),
	};
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		char *memory = malloc(sizes[i]); /* just that much: a sanitizer sees the rest */
		struct upage_config *config = (struct upage_config *)(void *)memory;
		memset(memory, 0, sizes[i]);
		memcpy(memory, &sizes[i], sizeof(sizes[i]));
		ck_assert_ok(upage_config_parse(config, "memory=1M,page-size=8K,swap-size=3M"));
		ck_assert_uint_eq(config->memory, 1 << 20);
		ck_assert_uint_eq(config->page_size, 8192);
		ck_assert_uint_eq(config->swap_size, 3 << 20);
		ck_assert_uint_eq(config->size, sizes[i]);
		ck_assert_int_eq(upage_config_parse(config, "memory=2M,nonsense"), UPAGE_EOPTION);
		ck_assert_uint_eq(config->memory, 1 << 20);
		free(memory);
	}
}
END_TEST

START_TEST(the_byte_behind_an_older_structure_stays_as_it_is)
{
	struct upage_config config;
	size_t size = offsetof(struct upage_config, policy);
	memset(&config, 0x5a, sizeof(config));
	memset(&config, 0, size);
	config.size = size;
	ck_assert_ok(upage_config_parse(&config, "memory=1M,seed=5,stats"));
	ck_assert_int_eq(upage_config_parse(&config, "nonsense"), UPAGE_EOPTION);
	ck_assert_uint_eq(config.stats, 1);
	for (size_t i = size; i < sizeof(config); i++)
		ck_assert_int_eq(((unsigned char *)&config)[i], 0x5a);
}
END_TEST

START_TEST(a_newer_program_is_told_so)
{
	struct {
		struct upage_config config;
		char more[8];
	} newer = { .config = UPAGE_CONFIG_INIT };
	newer.config.size = sizeof(newer);
	ck_assert_int_eq(upage_config_parse(&newer.config, "seed=1"), UPAGE_E2BIG);
	ck_assert_uint_eq(newer.config.seed, 0);
}
END_TEST

/* ---- The environment ------------------------------------------------------------------- */

START_TEST(the_environment_is_parsed_like_words)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	ck_assert_int_eq(setenv("UPAGE_OPTIONS", "memory=5M,policy=random", 1), 0);
	ck_assert_ok(upage_config_environment(&config));
	ck_assert_uint_eq(config.memory, 5 << 20);
	ck_assert_str_eq(config.policy, "random");
	ck_assert_int_eq(setenv("UPAGE_OPTIONS", "memory=6M,nonsense", 1), 0);
	ck_assert_int_eq(upage_config_environment(&config), UPAGE_EOPTION);
	ck_assert_uint_eq(config.memory, 5 << 20);
	ck_assert_ptr_nonnull(strstr(config.message, "nonsense"));
	ck_assert_int_eq(setenv("UPAGE_OPTIONS", "", 1), 0);
	ck_assert_ok(upage_config_environment(&config));
	ck_assert_uint_eq(config.memory, 5 << 20);
	ck_assert_int_eq(upage_config_environment(NULL), UPAGE_EINVAL);
}
END_TEST

START_TEST(without_the_variable_nothing_changes)
{
	struct upage_config config = parsed("seed=4"), before = config;
	ck_assert_int_eq(unsetenv("UPAGE_OPTIONS"), 0);
	ck_assert_ok(upage_config_environment(&config));
	ck_assert_mem_eq(&config, &before, sizeof(config));
	ck_assert_int_eq(upage_config_environment(NULL), UPAGE_EINVAL);
}
END_TEST

/* ---- What one word alone cannot show --------------------------------------------------- */

static int check(struct upage_config *config, size_t memory, size_t page_size)
{
	*config = (struct upage_config)UPAGE_CONFIG_INIT;
	config->memory = memory;
	config->page_size = page_size;
	return options_check(config);
}

START_TEST(the_defaults_are_256_mebibytes_in_pages_of_4096)
{
	struct upage_config config;
	ck_assert_ok(check(&config, 0, 0));
	ck_assert_uint_eq(config.memory, (size_t)256 << 20);
	ck_assert_uint_eq(config.page_size, 4096);
}
END_TEST

START_TEST(nothing_is_done_ahead_and_pages_go_to_a_file_by_default)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct store_choice store;
	ck_assert_uint_eq(options_prefetch(&config), 1);
	ck_assert_uint_eq(options_reclaimers(&config), 0);
	ck_assert_ok(options_store(&config, &store));
	ck_assert(!store.lz4 && !store.direct);
}
END_TEST

START_TEST(a_page_is_a_power_of_two_from_4096_to_2_mebibytes)
{
	static const size_t wrong[] = { 1, 512, 2048, 4095, 4097, 5000, 12288, 3 << 20, 4 << 20,
		                        (size_t)1 << 40, SIZE_MAX };
	struct upage_config config;
	for (size_t size = 4096; size <= 2 << 20; size *= 2)
		ck_assert_ok(check(&config, 256 << 20, size));
	for (size_t i = 0; i < LENGTH(wrong); i++) {
		ck_assert_int_eq(check(&config, (size_t)256 << 20, wrong[i]), UPAGE_EPAGESIZE);
		char text[64];
		snprintf(text, sizeof(text), "page-size=%zu", wrong[i]);
		ck_assert_ptr_nonnull(strstr(config.message, text));
		ck_assert_uint_eq(config.page_size, wrong[i]);
	}
}
END_TEST

START_TEST(memory_is_from_16_frames_to_two_to_the_31)
{
	struct upage_config config;
	for (size_t page_size = 4096; page_size <= 2 << 20; page_size *= 2) {
		ck_assert_ok(check(&config, 16 * page_size, page_size));
		ck_assert_int_eq(check(&config, 16 * page_size - 1, page_size), UPAGE_EFRAMES);
		ck_assert_ok(check(&config, page_size << 31, page_size));
		ck_assert_int_eq(check(&config, (page_size << 31) + page_size, page_size),
		                 UPAGE_EFRAMES);
	}
	ck_assert_int_eq(check(&config, 1, 0), UPAGE_EFRAMES);
	ck_assert_ptr_nonnull(strstr(config.message, "memory=1"));
	ck_assert_ptr_nonnull(strstr(config.message, "65536"));
	ck_assert_ok(check(&config, 16 * 4096 + 4095, 0)); /* a part of a page is no frame */
}
END_TEST

START_TEST(a_policy_that_there_is_not_is_named_with_those_that_there_are)
{
	static const char *const names[] = { "", "clock", "fifo", "random" };
	for (size_t i = 0; i < 4; i++) {
		struct upage_config config = UPAGE_CONFIG_INIT;
		strcpy(config.policy, names[i]);
		ck_assert_ok(options_check(&config));
		ck_assert_str_eq(config.policy, names[i]);
	}
	struct upage_config config = parsed("seed=1");
	strcpy(config.policy, "lru");
	ck_assert_int_eq(options_check(&config), UPAGE_EOPTION);
	ck_assert_ptr_nonnull(strstr(config.message, "lru"));
	for (size_t i = 1; i < 4; i++)
		ck_assert_ptr_nonnull(strstr(config.message, names[i]));
}
END_TEST

static struct store_choice choice_of(const char *words, const char *store)
{
	struct upage_config config = parsed(words);
	struct store_choice choice;
	if (store != NULL)
		strcpy(config.store, store);
	ck_assert_ok(options_store(&config, &choice));
	return choice;
}

START_TEST(direct_is_a_word_of_its_own_or_of_the_store)
{
	static const struct {
		const char *words, *store, *path;
		bool direct;
	} cases[] = {
		{ "", NULL, "", false },
		{ "store=file", NULL, "", false },
		{ "store=file,direct", NULL, "", true }, /* two words */
		{ "direct,store=file:/tmp", NULL, "/tmp", true },
		{ "direct", NULL, "", true },
		{ "", "file,direct", "", true }, /* one, as on the command line */
		{ "", "file:/tmp,direct", "/tmp", true },
		{ "", "file:/tmp/a,directory", "/tmp/a,directory", false },
		{ "", "file:,direct", "", true },
	};
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct store_choice choice = choice_of(cases[i].words, cases[i].store);
		ck_assert_msg(choice.direct == cases[i].direct, "case %zu", i);
		ck_assert_str_eq(choice.path, cases[i].path);
		ck_assert(!choice.lz4);
	}
	expect_refused("direct=yes", "direct=yes", "no value");
#ifdef HAVE_LZ4
	ck_assert(choice_of("store=lz4", NULL).lz4);
	expect_refused("store=lz4,direct", "direct", "lz4");
#else
	expect_refused("store=lz4", "store=lz4", "without liblz4");
#endif
}
END_TEST

START_TEST(a_store_is_one_that_there_is)
{
	static const char *const right[] = { "", "file", "file:/tmp", "file:x:y", "file,direct", "file:/tmp,direct",
#ifdef HAVE_LZ4
		                             "lz4"
#endif
	};
	static const char *const wrong[] = { "ram", "files", "File", "/tmp", "fil", "file/tmp", "lz", "lz44", "lz4:",
		                             "files,direct", "lz4:x,direct" };
	for (size_t i = 0; i < LENGTH(right); i++) {
		struct upage_config config = UPAGE_CONFIG_INIT;
		strcpy(config.store, right[i]);
		ck_assert_ok(options_check(&config));
	}
	for (size_t i = 0; i < LENGTH(wrong); i++) {
		struct upage_config config = UPAGE_CONFIG_INIT;
		strcpy(config.store, wrong[i]);
		ck_assert_msg(options_check(&config) == UPAGE_EOPTION, "%s", wrong[i]);
		ck_assert_ptr_nonnull(strstr(config.message, wrong[i]));
		ck_assert_ptr_nonnull(strstr(config.message, "file:PATH"));
		ck_assert_ptr_nonnull(strstr(config.message, ",direct"));
		ck_assert_ptr_nonnull(strstr(config.message, "lz4"));
	}
}
END_TEST

START_TEST(a_way_of_mapping_is_auto_remap_or_guard)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	ck_assert_ok(options_check(&config));
	strcpy(config.mapping, "auto");
	ck_assert_ok(options_check(&config));
	strcpy(config.mapping, "remap");
	ck_assert_ok(options_check(&config));
	strcpy(config.mapping, "guard");
	ck_assert_ok(options_check(&config));
	strcpy(config.mapping, "maps");
	ck_assert_int_eq(options_check(&config), UPAGE_EOPTION);
	ck_assert_ptr_nonnull(strstr(config.message, "guard"));
	ck_assert_ptr_nonnull(strstr(config.message, "remap"));
}
END_TEST

START_TEST(swap_holds_a_page_at_least)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	config.page_size = 65536;
	config.swap_size = 65535;
	ck_assert_int_eq(options_check(&config), UPAGE_EOPTION);
	ck_assert_ptr_nonnull(strstr(config.message, "swap-size=65535"));
	ck_assert_ptr_nonnull(strstr(config.message, "65536"));
	config.swap_size = 65536;
	ck_assert_ok(options_check(&config));
	config.swap_size = 0; /* no limit */
	ck_assert_ok(options_check(&config));
}
END_TEST

/* ---- Errors ---------------------------------------------------------------------------- */

START_TEST(every_code_has_a_text_of_its_own)
{
#define X(name, value, text)                                                                  \
	ck_assert_str_eq(upage_strerror(UPAGE_##name), text);                                 \
	ck_assert_int_lt(UPAGE_##name, 0);
	UPAGE_ERROR_MAP(X)
#undef X
	ck_assert_str_eq(upage_strerror(0), "success");
	ck_assert_str_eq(upage_strerror(-ENOENT), "No such file or directory");
	ck_assert_str_eq(upage_strerror(1), "unknown error");
	ck_assert_str_eq(upage_strerror(-19999), "unknown error");
	ck_assert_str_eq(upage_strerror(INT32_MIN + 1), "unknown error");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("options");
	TCase *words = tcase_create("words");
	tcase_add_test(words, a_size_is_bytes_or_has_a_suffix);
	tcase_add_test(words, what_is_no_size_is_refused);
	tcase_add_test(words, every_word_goes_to_its_own_field);
	tcase_add_test(words, words_add_up_and_the_last_of_two_counts);
	tcase_add_test(words, empty_words_and_commas_too_many_mean_nothing);
	tcase_add_test(words, a_seed_has_all_of_its_64_bits);
	tcase_add_test(words, an_unknown_word_is_named_with_those_that_there_are);
	tcase_add_test(words, a_value_that_is_none_is_named_with_what_would_be_right);
	tcase_add_test(words, one_wrong_word_undoes_the_right_ones_before_it);
	tcase_add_test(words, a_text_fits_its_field_or_is_refused);
	tcase_add_test(words, a_word_of_any_length_is_refused_in_order);
	tcase_add_test(words, parsing_into_nothing_is_refused);
	suite_add_tcase(suite, words);

	TCase *versions = tcase_create("versions and environment");
	tcase_add_test(versions, an_older_program_gets_its_fields_and_is_not_written_past);
	tcase_add_test(versions, the_byte_behind_an_older_structure_stays_as_it_is);
	tcase_add_test(versions, a_newer_program_is_told_so);
	tcase_add_test(versions, the_environment_is_parsed_like_words);
	tcase_add_test(versions, without_the_variable_nothing_changes);
	suite_add_tcase(suite, versions);

	TCase *checks = tcase_create("check");
	tcase_add_test(checks, the_defaults_are_256_mebibytes_in_pages_of_4096);
	tcase_add_test(checks, nothing_is_done_ahead_and_pages_go_to_a_file_by_default);
	tcase_add_test(checks, a_page_is_a_power_of_two_from_4096_to_2_mebibytes);
	tcase_add_test(checks, memory_is_from_16_frames_to_two_to_the_31);
	tcase_add_test(checks, a_policy_that_there_is_not_is_named_with_those_that_there_are);
	tcase_add_test(checks, a_store_is_one_that_there_is);
	tcase_add_test(checks, direct_is_a_word_of_its_own_or_of_the_store);
	tcase_add_test(checks, a_way_of_mapping_is_auto_remap_or_guard);
	tcase_add_test(checks, swap_holds_a_page_at_least);
	tcase_add_test(checks, every_code_has_a_text_of_its_own);
	suite_add_tcase(suite, checks);
	return run_suite(suite);
}
