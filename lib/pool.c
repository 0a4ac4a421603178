/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pool.c - a physical memory: its parts put together, and its end
 *
 * The struct is in physical.h; this file makes and ends it.
 *
 * Locking: pools_lock (pool_fork.h) guards the list of pools and the first installation of the
 * trap.
 * Signal context: no.
 */
#include "physical.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster.h"
#include "compact.h"
#include "error.h"
#include "guard.h"
#include "host.h"
#include "options.h"
#include "pool_fork.h"
#include "reclaim.h"
#include "report.h"
#include "signals.h"
#include "space.h"
#include "trap.h"

/* ---- Making ---------------------------------------------------------------------------- */

static size_t replace_bytes(const upage_pool *pool)
{
	return pool->replace.ops->state_size(pool->frames.frames);
}

/* In words of the store's. */
static void refuse_swap(struct upage_config *config, const struct store_choice *store, const char *path,
                        int failure)
{
	if (store->lz4)
		snprintf(config->message, sizeof(config->message), "store=lz4: no memory for its tables: %s",
		         error_words(-failure));
	else if (store->direct && failure == UPAGE_ENOTSUP)
		snprintf(config->message, sizeof(config->message),
		         "direct: the file system of %.150s cannot do without its page cache (O_DIRECT)", path);
	else
		snprintf(config->message, sizeof(config->message),
		         "store=file:%.150s: no swap file can be made there: %s", path,
		         failure == -EEXIST ? "the file exists; a directory or a new name is right"
		                            : error_words(-failure));
}

static int swap_init(struct swap **out, struct upage_config *config, unsigned page_shift)
{
	struct store_choice store;
	const char *path = "";
	int result = options_store(config, &store);
	const struct swap_config swap = { .lz4 = store.lz4,
		                          .direct = store.direct,
		                          .path = store.path,
		                          .bytes = config->swap_size,
		                          .page_shift = page_shift };
	if (result == 0)
		result = swap_create(out, &swap, &path);
	if (result < 0)
		refuse_swap(config, &store, path, result);
	return result;
}

/* With so many frames for each host mapping, mapping=auto does not wait until mappings are short. Frames
 * of the default size stay under that: clones share them. */
#define HOME_FROM 2

static void *table_metadata(size_t bytes)
{
	return guard_metadata(bytes, GUARDED_PAGE_TABLE);
}

static int pool_init(upage_pool *pool, struct upage_config *config)
{
	unsigned page_shift = log2_floor(config->page_size);
	const struct replace_ops *policy = replace_by_name(config->policy);
	uint64_t frames = config->memory >> page_shift;
	const _Atomic uint64_t *word = host_fork_word();
	bool always_home = strcmp(config->mapping, "guard") == 0;
	if (word == NULL)
		return UPAGE_ENOMEM;
	int result = swap_init(&pool->swap, config, page_shift);
	if (result < 0)
		return result;
	result = frame_table_init(&pool->frames, frames, page_shift);
	if (result == 0 && always_home) {
		result = frame_open_home(&pool->frames);
		if (result < 0)
			frame_table_destroy(&pool->frames);
	}
	if (result < 0) {
		snprintf(config->message, sizeof(config->message), "memory=%zu: %s%s",
		         config->memory, upage_strerror(result),
		         result == -EFBIG ? " (RLIMIT_FSIZE, ulimit -f)" : "");
		swap_destroy(pool->swap);
		return result;
	}
	void *state = guard_metadata(policy->state_size(frames), GUARDED_POLICY);
	char *buffers = host_metadata(buffers_bytes(page_shift));
	if (state == NULL || buffers == NULL) {
		if (state != NULL)
			guard_metadata_release(state, policy->state_size(frames));
		if (buffers != NULL)
			host_metadata_release(buffers, buffers_bytes(page_shift));
		frame_table_destroy(&pool->frames);
		swap_destroy(pool->swap);
		return UPAGE_ENOMEM;
	}
	buffers_init(&pool->buffers, buffers, page_shift);
	replace_init(&pool->replace, policy, state, frames, config->seed);
	table_memory_init(&pool->tables, table_metadata, guard_metadata_release);
	pool->mappings = 1;
	pool->mapping_budget_whole =
	        config->mapping_budget != 0 ? config->mapping_budget : host_mapping_budget();
	pool->mapping_budget = pool->mapping_budget_whole;
	pool->process = atomic_load(word);
	pool->never_home = strcmp(config->mapping, "remap") == 0;
	pool->always_home = always_home || (!pool->never_home && frames > HOME_FROM * pool->mapping_budget &&
	                                    host_has_guards() > 0);
	pool->cluster_pages = cluster_pages(options_prefetch(config), page_shift);
	pool->config = *config;
	return 0;
}

static void pool_release(upage_pool *pool)
{
	reclaim_destroy(pool);
	signal_mask saved = guard_open_alone();
	compact_destroy(pool);
	swap_destroy(pool->swap); /* some of the buffers may be under way */
	host_metadata_release(pool->buffers.memory, buffers_bytes(pool->buffers.page_shift));
	guard_metadata_release(pool->replace.state, replace_bytes(pool));
	table_memory_destroy(&pool->tables);
	frame_table_destroy(&pool->frames);
	guard_close_alone(saved);
	host_metadata_release(pool, sizeof(*pool));
}

static int install(void)
{
	static bool installed;
	if (installed)
		return 0;
	int result = trap_install();
	if (result == 0) {
		atexit(report_exit);
		installed = true;
	}
	return result;
}

/* No fork is under way meanwhile: its brackets would begin without a guard and end with one. */
static int decide_guard(struct upage_config *config)
{
	signal_mask mask = signals_block();
	lock_acquire(&pools_lock);
	int result = guard_decide(config->guard_metadata);
	lock_release(&pools_lock);
	signals_set(mask);
	if (result == UPAGE_EBUSY)
		snprintf(config->message, sizeof(config->message),
		         "guard-metadata: the first pool of the process has to ask for it");
	return result;
}

static int pool_create(upage_pool **out, struct upage_config *config)
{
	int result = options_check(config);
	if (result < 0)
		return result;
	if (host_is_paged()) {
		snprintf(config->message, sizeof(config->message),
		         "inside `upage run`, which pages all memory, there can be no other");
		return UPAGE_ENOTSUP;
	}
	pool_fork_register();
	host_process_begin();
	result = strcmp(config->mapping, "guard") == 0 ? host_has_guards() : 1;
	if (result < 0)
		return result;
	if (result == 0) {
		snprintf(config->message, sizeof(config->message),
		         "mapping=guard: the kernel has no guards for mappings of files (Linux 6.15 has)");
		return UPAGE_ENOTSUP;
	}
	result = decide_guard(config);
	if (result < 0)
		return result;
	upage_pool *pool = host_metadata(sizeof(*pool));
	if (pool == NULL)
		return UPAGE_ENOMEM;
	signal_mask saved = guard_open_alone();
	result = pool_init(pool, config);
	guard_close_alone(saved);
	if (result < 0) {
		host_metadata_release(pool, sizeof(*pool));
		return result;
	}
	result = reclaim_init(pool, options_reclaimers(config));
	if (result == 0)
		result = report_open(pool);
	if (result < 0) {
		pool_release(pool);
		return result;
	}
	signal_mask mask = signals_block();
	lock_acquire(&pools_lock);
	result = install();
	pool_list_add(pool);
	lock_release(&pools_lock);
	signals_set(mask);
	if (result < 0) {
		upage_pool_destroy(pool);
		return result;
	}
	*out = pool;
	return 0;
}

PUBLIC int upage_pool_create(upage_pool **out, struct upage_config *given)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	if (out == NULL || (given != NULL && given->size == 0))
		return UPAGE_EINVAL;
	if (given != NULL && given->size > sizeof(config))
		return UPAGE_E2BIG;
	int result = 0;
	if (given != NULL)
		memcpy(&config, given, given->size);
	else
		result = upage_config_environment(&config);
	if (result == 0)
		result = pool_create(out, &config);
	if (result < 0 && config.message[0] == '\0')
		snprintf(config.message, sizeof(config.message), "%s", upage_strerror(result));
	if (result < 0 && given == NULL)
		fprintf(stderr, "upage: UPAGE_OPTIONS: %s\n", config.message);
	else if (result < 0 && given->size == sizeof(config))
		memcpy(given->message, config.message, sizeof(config.message));
	return result;
}

PUBLIC int upage_inside(void)
{
	return host_is_paged();
}

PUBLIC int upage_pool_destroy(upage_pool *pool)
{
	if (pool == NULL)
		return 0;
	if (atomic_load(&pool->spaces) > 0)
		return UPAGE_EBUSY;
	reclaim_destroy(pool);
	report_close(pool);
	pool_list_remove(pool);
	pool_release(pool);
	return 0;
}

static int disagree(const char *what, uint64_t a, uint64_t b)
{
	fprintf(stderr, "upage: %s: %llu against %llu\n", what, (unsigned long long)a,
	        (unsigned long long)b);
	return UPAGE_EIO;
}

static int verify(upage_pool *pool)
{
	uint64_t in_runs = atomic_load(&pool->frames.in_runs);
	uint64_t used = pool->frames.frames - pool->frames.free - in_runs, slots = 0, pinned = 0, known = 0,
	         references = 0, calls = 0, runs = 0;
	struct space_pages pages = { 0 };
	if (!frame_table_is_valid(&pool->frames))
		return disagree("free runs of frames", pool->frames.free, used + in_runs);
	for (uint64_t pfn = 0; pfn < pool->frames.frames; pfn++) {
		const struct frame *frame = &pool->frames.frame[pfn];
		if (frame->state == FRAME_RUN) {
			pinned += frame->pins > 0;
			calls += frame->calls;
			runs++;
		}
		if (frame->state != FRAME_USED)
			continue;
		known += share_is_valid(frame, pfn);
		references += frame->references;
		pinned += frame->pins > 0;
		calls += frame->calls;
		slots += frame->slot != 0;
	}
	if (known != used)
		return disagree("frames that know their pages, frames in use", known, used);
	if (!space_count_pages(pool, &pages))
		return disagree("order of mappings, or form of a PTE", 0, 0);
	if (pages.present != references)
		return disagree("pages resident, pages of frames", pages.present, references);
	if (pages.in_runs != in_runs || runs != in_runs)
		return disagree("frames in runs, counted and kept", pages.in_runs, in_runs);
	if (pages.swapped + slots != swap_references(pool->swap))
		return disagree("pages and frames with a slot, slots counted", pages.swapped + slots,
		                swap_references(pool->swap));
	if (pool->replace.held != used)
		return disagree("frames that the policy holds, frames in use", pool->replace.held, used);
	if (pinned != pool->pinned)
		return disagree("frames with pins, pinned", pinned, pool->pinned);
	if (calls != pool->calls)
		return disagree("pins of system calls, and kept", calls, pool->calls);
	if (pages.committed != pool->committed)
		return disagree("pages promised room, and kept", pages.committed, pool->committed);
	if (pages.seams + 1 != pool->mappings)
		return disagree("host mappings, counted again and kept", pages.seams + 1, pool->mappings);
	return 0;
}

PUBLIC int upage_compact(upage_pool *pool, struct upage_compaction *given)
{
	struct upage_compaction config = UPAGE_COMPACTION_INIT;
	if (pool == NULL || (given != NULL && given->size == 0))
		return UPAGE_EINVAL;
	if (given != NULL && given->size > sizeof(config))
		return UPAGE_E2BIG;
	if (pool_is_lost(pool))
		return UPAGE_ENOTSUP;
	if (given != NULL)
		memcpy(&config, given, given->size);
	struct compact_result done;
	signal_mask mask = signals_block();
	guard_open();
	config.largest_free_run_before = frame_largest_run(&pool->frames);
	int result = runs_compact(pool, NULL, config.max_moves, &done);
	config.largest_free_run_after = frame_largest_run(&pool->frames);
	guard_close();
	signals_set(mask);
	if (result < 0 || given == NULL)
		return result;
	config.moves = done.moves;
	config.max_pause_ns = done.pause_ns;
	config.frames_free = atomic_load(&pool->frames.free);
	memcpy(given, &config, given->size);
	return 0;
}

PUBLIC int upage_pool_verify(upage_pool *pool)
{
	reclaim_stop(pool);
	signal_mask saved = guard_open_alone();
	int result = verify(pool);
	guard_close_alone(saved);
	return result;
}

PUBLIC size_t upage_pool_page_size(const upage_pool *pool)
{
	return frame_size(&pool->frames);
}
