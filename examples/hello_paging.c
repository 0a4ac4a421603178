/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hello_paging.c - the smallest complete program: 64 MiB of data in 1 MiB of memory
 *
 * Writes a mapping 64 times as large as memory, reads all of it back, and says what that took.
 * Run: ./hello_paging   (UPAGE_OPTIONS=policy=fifo ./hello_paging for another policy)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "upage.h"

static void check(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "hello_paging: %s: %s\n", what, upage_strerror(result));
	exit(1);
}

int main(void)
{
	const size_t length = (size_t)64 << 20, count = length / sizeof(uint64_t);
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct upage_stats stats = { .size = sizeof(stats) };
	upage_pool *pool;
	upage_space *space;
	void *memory = NULL;
	size_t wrong = 0;

	check(upage_config_parse(&config, "memory=1M"), config.message);
	check(upage_config_environment(&config), config.message);
	check(upage_pool_create(&pool, &config), config.message);
	check(upage_space_create(&space, pool, NULL), "upage_space_create");
	check(upage_map(space, &memory, length, PROT_READ | PROT_WRITE, 0, NULL, 0), "upage_map");

	uint64_t *word = memory;
	for (size_t i = 0; i < count; i++) /* plain stores: each first touch of a page traps */
		word[i] = i * 0x9e3779b97f4a7c15u;
	for (size_t i = 0; i < count; i++) /* plain loads: most pages come back from swap */
		wrong += word[i] != i * 0x9e3779b97f4a7c15u;

	check(upage_stats_get(pool, &stats), "upage_stats_get");
	printf("%zu MiB were written and read back in %" PRIu64 " frames of %" PRIu64 " bytes.\n",
	       length >> 20, stats.frames, stats.page_size);
	printf("%" PRIu64 " page faults were served:\n", stats.faults);
	printf("%10" PRIu64 " zero fills: a page's first touch\n", stats.zero_fill);
	printf("%10" PRIu64 " major faults: the page was in swap\n", stats.major);
	printf("%10" PRIu64 " soft faults: its frame still held it\n", stats.soft);
	printf("%10" PRIu64 " write upgrades: the first write to a page only read so far\n",
	       stats.write_upgrade);
	printf("%" PRIu64 " evictions made room; %" PRIu64 " pages were written to swap.\n",
	       stats.evictions, stats.writebacks);
	printf("%zu of %zu words were wrong.\n", wrong, count);

	check(upage_space_destroy(space), "upage_space_destroy");
	check(upage_pool_destroy(pool), "upage_pool_destroy");
	return wrong ? 1 : 0;
}
