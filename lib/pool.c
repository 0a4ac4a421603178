/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pool.c - a physical memory: its parts put together, its statistics, its end
 *
 * The struct is the pager's (pager.h); this file makes and ends it.
 *
 * Locking: `pools_lock` guards the list of pools and the first installation of the trap.
 * Signal context: upage_stats_get alone.
 */
#include "pager.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "options.h"
#include "print.h"
#include "signals.h"
#include "space.h"
#include "trap.h"

static struct lock pools_lock;
static upage_pool *pools; /* all of this process, newest first */

/* ---- Making ---------------------------------------------------------------------------- */

static size_t replace_bytes(const upage_pool *pool)
{
	return pool->replace.ops->state_size(pool->frames.frames);
}

static size_t buffers_bytes(const upage_pool *pool)
{
	return BUFFERS * frame_size(&pool->frames);
}

static const char *swap_path(const struct upage_config *config)
{
	return strncmp(config->store, "file:", 5) == 0 ? config->store + 5 : "";
}

static int pool_init(upage_pool *pool, struct upage_config *config)
{
	unsigned page_shift = log2_floor(config->page_size);
	const struct replace_ops *policy = replace_by_name(config->policy);
	uint64_t frames = config->memory >> page_shift;
	const char *path;
	int result = swap_create(&pool->swap, swap_path(config), config->swap_size, page_shift, &path);
	if (result < 0) {
		snprintf(config->message, sizeof(config->message),
		         "store=file:%.150s: no swap file can be made there: %s", path,
		         result == -EEXIST ? "the file exists; a directory or a new name is right"
		                           : strerrordesc_np(-result));
		return result;
	}
	result = frame_table_init(&pool->frames, frames, page_shift);
	if (result < 0) {
		snprintf(config->message, sizeof(config->message), "memory=%zu: %s",
		         config->memory, upage_strerror(result));
		swap_destroy(pool->swap);
		return result;
	}
	void *state = host_metadata(policy->state_size(frames));
	pool->buffers.memory = host_metadata(buffers_bytes(pool));
	if (state == NULL || pool->buffers.memory == NULL) {
		if (state != NULL)
			host_metadata_release(state, policy->state_size(frames));
		if (pool->buffers.memory != NULL)
			host_metadata_release(pool->buffers.memory, buffers_bytes(pool));
		frame_table_destroy(&pool->frames);
		swap_destroy(pool->swap);
		return UPAGE_ENOMEM;
	}
	pool->buffers.free = UINT64_MAX;
	replace_init(&pool->replace, policy, state, frames, config->seed);
	table_memory_init(&pool->tables, host_metadata, host_metadata_release);
	stats_init(&pool->stats);
	pool->mappings = 1;
	pool->mapping_budget_whole =
	        config->mapping_budget != 0 ? config->mapping_budget : host_mapping_budget();
	pool->mapping_budget = pool->mapping_budget_whole;
	pool->process = getpid();
	pool->born = host_nanoseconds();
	pool->config = *config;
	return 0;
}

static void write_statistics(upage_pool *pool)
{
	if (pool->config.stats)
		upage_stats_print(pool, 2);
	if (pool->config.stats_json[0] != '\0') {
		int result = upage_stats_json(pool, pool->config.stats_json);
		if (result < 0)
			fprintf(stderr, "upage: stats-json=%s: %s\n", pool->config.stats_json,
			        upage_strerror(result));
	}
}

/* Pools that the program never destroyed. A child of a fork leaves its parent's alone. */
static void write_all_statistics(void)
{
	for (upage_pool *pool = pools; pool != NULL; pool = pool->next)
		if (pool->process == getpid())
			write_statistics(pool);
}

/* Whatever other threads are at, the child gets the tables that all pools share in order. What
 * belongs to one pool or space is the parent's, and is not used again. */
static signal_mask fork_mask;

static void fork_begin(void)
{
	signal_mask mask = signals_block();
	lock_acquire(&pools_lock);
	space_fork_begin();
	backing_fork_begin();
	signals_fork_begin();
	fork_mask = mask; /* one fork at a time: we hold pools_lock */
}

static void fork_end(void)
{
	signal_mask mask = fork_mask;
	signals_fork_end();
	backing_fork_end();
	space_fork_end();
	lock_release(&pools_lock);
	signals_set(mask);
}

static void fork_end_in_child(void)
{
	space_hide_all();
	fork_end();
}

/* Before the heap's jemalloc registers its own: handlers run last to first before a fork, so
 * that it takes its locks first, as a thread does that allocates and comes to ours from there. */
__attribute__((constructor(101))) static void register_fork(void)
{
	pthread_atfork(fork_begin, fork_end, fork_end_in_child);
}

static int install(void)
{
	static bool installed;
	if (installed)
		return 0;
	int result = trap_install();
	if (result == 0) {
		atexit(write_all_statistics);
		installed = true;
	}
	return result;
}

static int pool_create(upage_pool **out, struct upage_config *config)
{
	int result = options_check(config);
	if (result < 0)
		return result;
	upage_pool *pool = host_metadata(sizeof(*pool));
	if (pool == NULL)
		return UPAGE_ENOMEM;
	result = pool_init(pool, config);
	if (result < 0) {
		host_metadata_release(pool, sizeof(*pool));
		return result;
	}
	signal_mask mask = signals_block();
	lock_acquire(&pools_lock);
	result = install();
	pool->next = pools;
	pools = pool;
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

PUBLIC int upage_pool_destroy(upage_pool *pool)
{
	if (pool == NULL)
		return 0;
	if (atomic_load(&pool->spaces) > 0)
		return UPAGE_EBUSY;
	if (pool->process == getpid())
		write_statistics(pool);
	signal_mask mask = signals_block();
	lock_acquire(&pools_lock);
	for (upage_pool **link = &pools; *link != NULL; link = &(*link)->next) {
		if (*link == pool) {
			*link = pool->next;
			break;
		}
	}
	lock_release(&pools_lock);
	signals_set(mask);
	host_metadata_release(pool->buffers.memory, buffers_bytes(pool));
	host_metadata_release(pool->replace.state, replace_bytes(pool));
	table_memory_destroy(&pool->tables);
	frame_table_destroy(&pool->frames);
	swap_destroy(pool->swap);
	host_metadata_release(pool, sizeof(*pool));
	return 0;
}

static int disagree(const char *what, uint64_t a, uint64_t b)
{
	fprintf(stderr, "upage: %s: %llu against %llu\n", what, (unsigned long long)a,
	        (unsigned long long)b);
	return UPAGE_EIO;
}

PUBLIC int upage_pool_verify(upage_pool *pool)
{
	uint64_t used = pool->frames.frames - pool->frames.free, slots = 0, pinned = 0, known = 0;
	struct space_pages pages = { 0 };
	if (!frame_table_is_valid(&pool->frames))
		return disagree("free runs of frames", pool->frames.free, used);
	for (uint64_t pfn = 0; pfn < pool->frames.frames; pfn++) {
		const struct frame *frame = &pool->frames.frame[pfn];
		if (frame->state != FRAME_USED)
			continue;
		uint64_t pte = frame->pte != NULL ? atomic_load(frame->pte) : 0;
		known += (pte & PTE_PRESENT) && pte_number(pte) == pfn;
		pinned += frame->pins > 0;
		slots += frame->slot != 0;
	}
	if (known != used)
		return disagree("frames that know their page, frames in use", known, used);
	if (!space_count_pages(pool, &pages))
		return disagree("order of mappings, or form of a PTE", 0, 0);
	if (pages.present != used)
		return disagree("pages resident, frames in use", pages.present, used);
	if (pages.swapped + slots != swap_used(pool->swap))
		return disagree("pages and frames with a slot, slots taken", pages.swapped + slots,
		                swap_used(pool->swap));
	if (pool->replace.held != used)
		return disagree("frames that the policy holds, frames in use", pool->replace.held, used);
	if (pinned != pool->pinned)
		return disagree("frames with pins, pinned", pinned, pool->pinned);
	if (pages.committed != pool->committed)
		return disagree("pages promised room, and kept", pages.committed, pool->committed);
	if (pages.seams + 1 != pool->mappings)
		return disagree("host mappings, counted again and kept", pages.seams + 1, pool->mappings);
	return 0;
}

PUBLIC size_t upage_pool_page_size(const upage_pool *pool)
{
	return frame_size(&pool->frames);
}

/* ---- Statistics ------------------------------------------------------------------------- */

PUBLIC int upage_stats_get(upage_pool *pool, struct upage_stats *out)
{
	if (pool == NULL || out == NULL || out->size == 0)
		return UPAGE_EINVAL;
	struct upage_stats stats = { .size = out->size };
	stats_read(&pool->stats, &stats);
	stats.page_size = frame_size(&pool->frames);
	stats.frames = pool->frames.frames;
	stats.frames_peak = pool->frames.frames - pool->frames.free_least;
	stats.frames_free = atomic_load(&pool->frames.free);
	stats.frames_pinned = atomic_load(&pool->pinned);
	stats.table_bytes = pool->tables.bytes;
	stats.metadata_bytes = pool->frames.frames * sizeof(struct frame) + replace_bytes(pool) +
	                       buffers_bytes(pool);
	stats.host_mappings = atomic_load(&pool->mappings);
	stats.host_mappings_peak = pool->mappings_peak;
	stats.mapping_budget = atomic_load(&pool->mapping_budget);
	signal_mask mask = signals_block();
	stats.largest_free_run = frame_largest_run(&pool->frames);
	stats.swap_slots = swap_used(pool->swap);
	signals_set(mask);
	memcpy(out, &stats, out->size < sizeof(stats) ? out->size : sizeof(stats));
	return 0;
}

static void label(upage_pool *pool, struct stats_labels *labels)
{
	*labels = (struct stats_labels){
		.program = program_invocation_short_name,
		.scheme = "paging",
		.policy = pool->replace.ops->name,
		.store = pool->config.store[0] != '\0' ? pool->config.store : "file",
		.wall_seconds = (double)(host_nanoseconds() - pool->born) / 1e9,
	};
}

static int write_text(int descriptor, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t n = write(descriptor, text, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		length -= (size_t)n;
	}
	return 0;
}

typedef size_t formatter(const struct upage_stats *, const struct stats_labels *, char *, size_t);

static int write_stats(upage_pool *pool, formatter *format, int descriptor)
{
	char text[4096];
	struct stats_labels labels;
	struct upage_stats stats = { .size = sizeof(stats) };
	int saved = errno;
	upage_stats_get(pool, &stats);
	label(pool, &labels);
	int result = write_text(descriptor, text, format(&stats, &labels, text, sizeof(text)));
	errno = saved;
	return result;
}

PUBLIC int upage_stats_print(upage_pool *pool, int descriptor)
{
	return pool != NULL ? write_stats(pool, stats_table, descriptor) : UPAGE_EINVAL;
}

/* "%p" becomes the process id. */
static void expand_path(const char *path, char *out, size_t size)
{
	const char *p = strstr(path, "%p");
	if (p == NULL)
		snprintf(out, size, "%s", path);
	else
		snprintf(out, size, "%.*s%d%s", (int)(p - path), path, getpid(), p + 2);
}

PUBLIC int upage_stats_json(upage_pool *pool, const char *path)
{
	char expanded[4096];
	if (pool == NULL || path == NULL)
		return UPAGE_EINVAL;
	expand_path(path, expanded, sizeof(expanded));
	int saved = errno;
	int descriptor = open(expanded, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int result = descriptor < 0 ? -errno : write_stats(pool, stats_json, descriptor);
	if (descriptor >= 0)
		close(descriptor);
	errno = saved;
	return result;
}
