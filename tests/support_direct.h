/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_direct.h - whether there can be a direct store here, whose requests are under way at once
 */
#ifndef UPAGE_TESTS_SUPPORT_DIRECT_H
#define UPAGE_TESTS_SUPPORT_DIRECT_H

#include "store_aio.h"
#include "support.h"

/* Not every file system can do without its page cache, nor every host has asynchronous I/O. */
static inline bool has_direct_store(void)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	upage_pool *pool;
	config.direct = true;
	return upage_pool_create(&pool, &config) == 0 && upage_pool_destroy(pool) == 0 && store_aio_is_available();
}

#endif
