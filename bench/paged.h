/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * paged.h - a pool, a space and a mapping in it, made as the words of UPAGE_OPTIONS say
 *
 * Words that a library does not know are no failure of a benchmark: it asks before, and skips.
 */
#ifndef UPAGE_BENCH_PAGED_H
#define UPAGE_BENCH_PAGED_H

#include "bench.h"

struct paged {
	upage_pool *pool;
	upage_space *space;
	char *memory;
};

/* Return: whether such a pool can be made here. */
static inline bool paged_accepts(const char *words)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	upage_pool *pool;
	config.memory = (size_t)1 << 20;
	return upage_config_parse(&config, words) == 0 && upage_pool_create(&pool, &config) == 0 &&
	       upage_pool_destroy(pool) == 0;
}

/* With @pages mapped. */
__attribute__((format(printf, 3, 4))) static inline void paged_make(struct paged *paged, size_t pages,
                                                                    const char *format, ...)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	char words[1024];
	void *address = NULL;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	if (upage_config_parse(&config, words) < 0 || upage_pool_create(&paged->pool, &config) < 0)
		bench_fail("a pool with %s: %s", words, config.message);
	need(upage_space_create(&paged->space, paged->pool, NULL), "upage_space_create");
	need(upage_map(paged->space, &address, pages * PAGE, RW, 0, NULL, 0), "upage_map");
	paged->memory = address;
}

static inline struct upage_stats paged_stats(const struct paged *paged)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	need(upage_stats_get(paged->pool, &stats), "upage_stats_get");
	return stats;
}

static inline void paged_end(struct paged *paged)
{
	need(upage_space_destroy(paged->space), "upage_space_destroy");
	need(upage_pool_destroy(paged->pool), "upage_pool_destroy");
}

/* A figure is only one if just this kind of fault happened, so often. */
static inline void paged_expect(const char *kind, uint64_t count, uint64_t wanted)
{
	if (count != wanted)
		bench_fail("%llu %s faults where there should be %llu", (unsigned long long)count, kind,
		           (unsigned long long)wanted);
}

#endif
