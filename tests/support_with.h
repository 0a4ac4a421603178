/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_with.h - any test under other defaults: words of the environment's UPAGE_WITH, in the form of UPAGE_OPTIONS,
 * are for what the configuration of a pool leaves open
 *
 * A test that depends on one of these options states it, even where it is the library's default: see modes.sh.
 */
#ifndef UPAGE_TESTS_SUPPORT_WITH_H
#define UPAGE_TESTS_SUPPORT_WITH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upage.h"

/* What a configuration of a test becomes. What a test says of a store is all about it, and so of mappings. */
static inline struct upage_config with_defaults(struct upage_config config)
{
	const char *words = getenv("UPAGE_WITH");
	struct upage_config with = UPAGE_CONFIG_INIT;
	if (words != NULL && upage_config_parse(&with, words) < 0) {
		fprintf(stderr, "UPAGE_WITH: %s\n", with.message);
		abort();
	}
#define OPEN_TEXT(field)                                                                      \
	if (config.field[0] == '\0')                                                          \
		memcpy(config.field, with.field, sizeof(config.field))
	if (config.mapping_budget == 0 && config.mapping[0] == '\0')
		config.mapping_budget = with.mapping_budget;
	if (config.mapping_budget == with.mapping_budget)
		OPEN_TEXT(mapping);
	OPEN_TEXT(prefetch);
	OPEN_TEXT(reclaimers);
	OPEN_TEXT(policy);
	if (config.direct == 0 && config.store[0] == '\0')
		config.direct = with.direct;
	if (config.direct == with.direct)
		OPEN_TEXT(store);
#undef OPEN_TEXT
	return config;
}

static inline int with_pool_create(upage_pool **pool, struct upage_config *given)
{
	if (given == NULL || given->size != sizeof(*given))
		return upage_pool_create(pool, given);
	struct upage_config config = with_defaults(*given);
	int result = upage_pool_create(pool, &config);
	memcpy(given->message, config.message, sizeof(given->message));
	return result;
}

#define upage_pool_create with_pool_create

#endif
