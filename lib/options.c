/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "replace.h"
#include "view.h"

enum kind { KIND_SIZE, KIND_NUMBER, KIND_FLAG, KIND_TEXT };

static const struct option {
	const char *name;
	enum kind kind;
	size_t offset, size; /* of the field in struct upage_config */
	const char *value;   /* what is right, for messages */
} options[] = {
#define FIELD(field) offsetof(struct upage_config, field), sizeof(((struct upage_config *)0)->field)
	{ "memory", KIND_SIZE, FIELD(memory), "a size such as 64M" },
	{ "page-size", KIND_SIZE, FIELD(page_size), "a power of two from 4K to 2M" },
	{ "policy", KIND_TEXT, FIELD(policy), "the name of a policy" },
	{ "store", KIND_TEXT, FIELD(store), "file, file:PATH or lz4" },
	{ "swap-size", KIND_SIZE, FIELD(swap_size), "a size such as 1G" },
	{ "mapping", KIND_TEXT, FIELD(mapping), "auto or remap" },
	{ "mapping-budget", KIND_NUMBER, FIELD(mapping_budget), "a number of host mappings" },
	{ "scheme", KIND_TEXT, FIELD(scheme), "paging, segmentation or base-bounds" },
	{ "bounds", KIND_SIZE, FIELD(bounds), "a size such as 32M" },
	{ "compact", KIND_FLAG, FIELD(compact), "no value" },
	{ "prefetch", KIND_TEXT, FIELD(prefetch), "auto, off, or a number of pages" },
	{ "overcommit", KIND_FLAG, FIELD(overcommit), "no value" },
	{ "seed", KIND_NUMBER, FIELD(seed), "a number" },
	{ "stats", KIND_FLAG, FIELD(stats), "no value" },
	{ "stats-json", KIND_TEXT, FIELD(stats_json), "the name of a file" },
	{ "intercept", KIND_TEXT, FIELD(intercept), "on or off" },
	{ "adopt-data", KIND_FLAG, FIELD(adopt_data), "no value" },
	{ "direct", KIND_FLAG, FIELD(direct), "no value" },
	{ "guard-metadata", KIND_FLAG, FIELD(guard_metadata), "no value" },
	{ "reclaimers", KIND_TEXT, FIELD(reclaimers), "auto, or a number of threads" },
	{ "patch", KIND_TEXT, FIELD(patch), "auto, on or off" },
#undef FIELD
};
#define OPTIONS (sizeof(options) / sizeof(options[0]))

enum option_form options_form(const char *name)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (strcmp(options[i].name, name) == 0)
			return options[i].kind == KIND_FLAG ? OPTION_FLAG : OPTION_WITH_VALUE;
	return OPTION_UNKNOWN;
}

__attribute__((format(printf, 3, 4))) static int refuse(struct upage_config *config, int code,
                                                        const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(config->message, sizeof(config->message), format, arguments);
	va_end(arguments);
	return code;
}

static int parse_number(const char *text, uint64_t *number, const char **end)
{
	uint64_t n = 0;
	const char *c = text;
	for (; *c >= '0' && *c <= '9'; c++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*c - '0'), &n))
			return UPAGE_EOPTION;
	if (c == text)
		return UPAGE_EOPTION;
	*number = n;
	*end = c;
	return 0;
}

int options_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	uint64_t n;
	const char *end;
	if (parse_number(text, &n, &end) < 0)
		return UPAGE_EOPTION;
	if (*end != '\0') {
		const char upper = (char)(*end >= 'a' ? *end - 'a' + 'A' : *end);
		const char *suffix = strchr(suffixes, upper);
		unsigned shift = suffix != NULL ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
		if (suffix == NULL || end[1] != '\0' || n > UINT64_MAX >> shift)
			return UPAGE_EOPTION;
		n <<= shift;
	}
	*bytes = n;
	return 0;
}

static void option_names(char *text, size_t size)
{
	size_t length = 0;
	text[0] = '\0';
	for (size_t i = 0; i < OPTIONS && length < size; i++)
		length += (size_t)snprintf(text + length, size - length, "%s%s", i ? ", " : "",
		                           options[i].name);
}

static int take_value(struct upage_config *config, const struct option *option, const char *value)
{
	char *field = (char *)config + option->offset;
	uint64_t n;
	const char *end;
	switch (option->kind) {
	case KIND_FLAG:
		*(unsigned *)(void *)field = 1;
		return 0;
	case KIND_SIZE:
		if (options_size(value, &n) < 0 || n == 0 || n > SIZE_MAX / 2)
			return UPAGE_EOPTION;
		*(size_t *)(void *)field = (size_t)n;
		return 0;
	case KIND_NUMBER:
		if (parse_number(value, &n, &end) < 0 || *end != '\0')
			return UPAGE_EOPTION;
		*(uint64_t *)(void *)field = n;
		return 0;
	case KIND_TEXT:
		if (value[0] == '\0' || strlen(value) >= option->size)
			return UPAGE_EOPTION;
		strcpy(field, value);
		return 0;
	}
	return UPAGE_EOPTION;
}

int options_word(struct upage_config *config, const char *word)
{
	size_t length = strcspn(word, "=");
	for (size_t i = 0; i < OPTIONS; i++) {
		const struct option *option = &options[i];
		if (strlen(option->name) != length || strncmp(option->name, word, length) != 0)
			continue;
		if (option->offset + option->size > config->size)
			return refuse(config, UPAGE_EOPTION,
			              "'%.80s': this program was built before %s was known", word,
			              option->name);
		bool has_value = word[length] == '=';
		if (has_value == (option->kind == KIND_FLAG) ||
		    take_value(config, option, has_value ? word + length + 1 : "") < 0)
			return refuse(config, UPAGE_EOPTION, "'%.80s': %s takes %s", word,
			              option->name, option->value);
		return 0;
	}
	char names[300];
	option_names(names, sizeof(names));
	return refuse(config, UPAGE_EOPTION, "unknown option '%.60s'; there are %s", word, names);
}

static bool is_one_of(const char *text, const char *a, const char *b)
{
	return text[0] == '\0' || strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

unsigned options_prefetch(const struct upage_config *config)
{
	uint64_t n;
	const char *end;
	if (config->prefetch[0] == '\0' || strcmp(config->prefetch, "off") == 0)
		return 1;
	if (strcmp(config->prefetch, "auto") == 0)
		return PREFETCH_AUTO;
	if (parse_number(config->prefetch, &n, &end) < 0 || *end != '\0' || n > PREFETCH_AUTO)
		return 0;
	return (unsigned)n;
}

unsigned options_reclaimers(const struct upage_config *config)
{
	uint64_t n;
	const char *end;
	if (config->reclaimers[0] == '\0' || strcmp(config->reclaimers, "auto") == 0)
		return RECLAIMERS_AUTO;
	if (parse_number(config->reclaimers, &n, &end) < 0 || *end != '\0' || n > RECLAIMERS_MAX)
		return RECLAIMERS_MAX + 1;
	return (unsigned)n;
}

#define DIRECT ",direct"

int options_store(const struct upage_config *config, struct store_choice *out)
{
	*out = (struct store_choice){ .direct = config->direct != 0 };
	size_t length = strlen(config->store), end = strlen(DIRECT);
	if (length >= end && strcmp(config->store + length - end, DIRECT) == 0) {
		out->direct = true;
		length -= end;
	}
	if (length == 3 && strncmp(config->store, "lz4", 3) == 0) {
		out->lz4 = true;
		return out->direct ? UPAGE_EOPTION : 0;
	}
	if (length == 0 || (length == 4 && strncmp(config->store, "file", 4) == 0))
		return 0;
	if (strncmp(config->store, "file:", 5) != 0)
		return UPAGE_EOPTION;
	memcpy(out->path, config->store + 5, length - 5);
	return 0;
}

static int check_store(struct upage_config *config)
{
	struct store_choice choice;
	int result = options_store(config, &choice);
	if (choice.lz4 && choice.direct)
		return refuse(config, UPAGE_EOPTION, "direct: is of files, and store=%.80s is none", config->store);
	if (result < 0)
		return refuse(config, UPAGE_EOPTION, "store=%.80s: there are file and file:PATH, each also "
		              "with %s behind it, and lz4", config->store, DIRECT);
#ifndef HAVE_LZ4
	if (choice.lz4)
		return refuse(config, UPAGE_EOPTION, "store=lz4: this library was built without liblz4; "
		              "there are file and file:PATH");
#endif
	return 0;
}

static const char *const schemes[] = { [UPAGE_SCHEME_POOLS] = "",
	                               [UPAGE_SCHEME_PAGING] = "paging",
	                               [UPAGE_SCHEME_BASE_BOUNDS] = "base-bounds",
	                               [UPAGE_SCHEME_SEGMENTATION] = "segmentation" };
#define SCHEMES (sizeof(schemes) / sizeof(schemes[0]))

/* SCHEMES: there is none of that name. */
static size_t scheme_by_name(const char *name)
{
	size_t i = 0;
	while (i < SCHEMES && strcmp(schemes[i], name) != 0)
		i++;
	return i;
}

enum upage_scheme options_scheme(const struct upage_config *config)
{
	size_t scheme = scheme_by_name(config->scheme);
	return scheme == UPAGE_SCHEME_POOLS || scheme == SCHEMES ? UPAGE_SCHEME_PAGING
	                                                         : (enum upage_scheme)scheme;
}

const char *options_scheme_name(enum upage_scheme scheme)
{
	return schemes[scheme];
}

/* What each value must be for itself. */
static int check_values(struct upage_config *config)
{
	size_t page_size = config->page_size;
	if (page_size != 0 &&
	    (!is_power_of_two(page_size) || page_size < 4096 || page_size > 2u << 20))
		return refuse(config, UPAGE_EPAGESIZE,
		              "page-size=%zu: it must be a power of two from 4096 to 2097152",
		              page_size);
	if (replace_by_name(config->policy) == NULL) {
		char names[100];
		replace_names(names, sizeof(names));
		return refuse(config, UPAGE_EOPTION, "policy=%s: there are %s", config->policy, names);
	}
	int result = check_store(config);
	if (result < 0)
		return result;
	if (!is_one_of(config->mapping, "auto", "remap"))
		return refuse(config, UPAGE_EOPTION, "mapping=%s: there are auto and remap",
		              config->mapping);
	if (scheme_by_name(config->scheme) == SCHEMES)
		return refuse(config, UPAGE_EOPTION, "scheme=%s: there are paging, segmentation and base-bounds",
		              config->scheme);
	if (!is_one_of(config->intercept, "on", "off"))
		return refuse(config, UPAGE_EOPTION, "intercept=%s: there are on and off",
		              config->intercept);
	if (!is_one_of(config->patch, "on", "off") && strcmp(config->patch, "auto") != 0)
		return refuse(config, UPAGE_EOPTION, "patch=%s: there are auto, on and off",
		              config->patch);
	if (options_prefetch(config) == 0)
		return refuse(config, UPAGE_EOPTION, "prefetch=%s: there are auto, off, and 1 to %d",
		              config->prefetch, PREFETCH_AUTO);
	if (options_reclaimers(config) > RECLAIMERS_MAX)
		return refuse(config, UPAGE_EOPTION, "reclaimers=%s: there are auto, and 0 to %d",
		              config->reclaimers, RECLAIMERS_MAX);
	if (config->mapping_budget != 0 && config->mapping_budget < MAPPING_BUDGET_MIN)
		return refuse(config, UPAGE_EOPTION, "mapping-budget=%llu: it must be at least %d",
		              (unsigned long long)config->mapping_budget, MAPPING_BUDGET_MIN);
	return 0;
}

int options_check(struct upage_config *config)
{
	int result = check_values(config);
	if (result < 0)
		return result;
	size_t page_size = config->page_size != 0 ? config->page_size : 4096;
	size_t memory = config->memory != 0 ? config->memory : (size_t)256 << 20;
	if (memory / page_size < 16 || memory / page_size > UINT64_C(1) << 31)
		return refuse(config, UPAGE_EFRAMES,
		              "memory=%zu: with pages of %zu bytes it must be from %zu to %zu (16 to 2^31 frames)",
		              memory, page_size, 16 * page_size, page_size << 31);
	if (config->swap_size != 0 && config->swap_size < page_size)
		return refuse(config, UPAGE_EOPTION, "swap-size=%zu: it must hold one page, %zu bytes",
		              config->swap_size, page_size);
	if (config->bounds != 0 && options_scheme(config) != UPAGE_SCHEME_BASE_BOUNDS)
		return refuse(config, UPAGE_EOPTION, "bounds=%zu: only scheme=base-bounds has bounds, and this is %s",
		              config->bounds, options_scheme_name(options_scheme(config)));
	if (config->bounds > memory || (config->bounds != 0 && config->bounds % page_size != 0))
		return refuse(config, UPAGE_EOPTION, "bounds=%zu: it must be a multiple of the page size, %zu, "
		              "and at most memory, %zu", config->bounds, page_size, memory);
	config->page_size = page_size;
	config->memory = memory;
	return 0;
}

PUBLIC int upage_config_parse(struct upage_config *config, const char *words)
{
	if (config == NULL || words == NULL || config->size == 0)
		return UPAGE_EINVAL;
	if (config->size > sizeof(*config))
		return UPAGE_E2BIG;
	struct upage_config changed = { 0 };
	memcpy(&changed, config, config->size);
	int result = 0;
	while (*words != '\0' && result == 0) {
		char word[300];
		size_t length = strcspn(words, ",");
		snprintf(word, sizeof(word), "%.*s", (int)length, words);
		if (length >= sizeof(word))
			result = refuse(&changed, UPAGE_EOPTION, "'%.60s...' is too long", word);
		else if (length > 0)
			result = options_word(&changed, word);
		words += length + (words[length] == ',');
	}
	if (result == 0)
		result = check_values(&changed);
	if (result == 0)
		memcpy(config, &changed, config->size);
	else if (config->size == sizeof(*config))
		memcpy(config->message, changed.message, sizeof(config->message));
	return result;
}

PUBLIC int upage_config_environment(struct upage_config *config)
{
	const char *words = getenv("UPAGE_OPTIONS");
	return words != NULL ? upage_config_parse(config, words) : config == NULL ? UPAGE_EINVAL : 0;
}
