/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_secrets.c - no byte of a former owner is ever read: not of a frame, a slot, or a buffer
 *
 * In one space, secrets are written and given up, in all the ways that there are; in another one of
 * the same pool everything that can be read is searched for them. That the search would find them is
 * seen where frames are not zeroed: the linker has calls of host_zero() and host_punch() come here
 * (--wrap), in this program alone.
 */
#include <fcntl.h>

#include "host.h"
#include "support_fork.h"

#define SECRET UINT64_C(0x5ec2e75e)
#define MANY 48 /* pages, in 16 frames */
#define WORDS (PAGE / sizeof(uint64_t))

static bool zeroing;

int __real_host_zero(int descriptor, off_t offset, size_t length);
int __wrap_host_zero(int descriptor, off_t offset, size_t length);

int __wrap_host_zero(int descriptor, off_t offset, size_t length)
{
	return zeroing ? __real_host_zero(descriptor, offset, length) : 0;
}

int __real_host_punch(int descriptor, off_t offset, size_t length);
int __wrap_host_punch(int descriptor, off_t offset, size_t length);

int __wrap_host_punch(int descriptor, off_t offset, size_t length)
{
	return zeroing ? __real_host_punch(descriptor, offset, length) : 0;
}

/* ---- Writing and searching ------------------------------------------------------------------ */

static void tell(void *memory, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
		((volatile uint64_t *)memory)[i] = SECRET << 32 | i;
}

static size_t search(const void *memory, size_t bytes)
{
	size_t found = 0;
	for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
		found += ((const volatile uint64_t *)memory)[i] >> 32 == SECRET;
	return found;
}

static char *map(upage_space *space, size_t pages)
{
	void *address = NULL;
	ck_assert_ok(upage_map(space, &address, pages * PAGE, RW, 0, NULL, 0));
	return address;
}

/* One pool, the space that has the secrets, and the one that should not see them. */
struct scene {
	struct machine m;
	upage_space *stranger;
};

/* Reads fresh pages, which then leave for slots and come back; each with one word written. */
static size_t look_around(upage_space *space)
{
	char *fresh = map(space, MANY);
	size_t found = search(fresh, MANY * PAGE);
	for (size_t i = 0; i < MANY; i++)
		((volatile uint64_t *)(void *)fresh)[i * WORDS] = i + 1;
	found += search(fresh, MANY * PAGE);
	ck_assert_ok(upage_advise(space, fresh, MANY * PAGE, UPAGE_PAGEOUT));
	found += search(fresh, MANY * PAGE);
	/* It grows, by pages beside it. */
	void *more = fresh + MANY * PAGE;
	ck_assert_ok(upage_map(space, &more, MANY * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
	return found + search(fresh, 2 * MANY * PAGE);
}

/* ---- The ways ------------------------------------------------------------------------------- */

static size_t pages_are_unmapped(struct scene *s)
{
	char *secrets = map(s->m.space, MANY);
	tell(secrets, MANY * PAGE);
	ck_assert_ok(upage_unmap(s->m.space, secrets, MANY * PAGE));
	return look_around(s->stranger) + look_around(s->m.space);
}

static size_t pages_are_dropped(struct scene *s)
{
	char *secrets = map(s->m.space, MANY);
	tell(secrets, MANY * PAGE);
	ck_assert_ok(upage_advise(s->m.space, secrets, MANY * PAGE, UPAGE_DONTNEED));
	return search(secrets, MANY * PAGE) + look_around(s->stranger);
}

static size_t pages_are_evicted(struct scene *s)
{
	char *secrets = map(s->m.space, MANY);
	tell(secrets, MANY * PAGE);
	size_t found = look_around(s->stranger);
	ck_assert_uint_eq(search(secrets, MANY * PAGE), MANY * WORDS);
	return found + look_around(s->stranger);
}

static size_t a_space_ends(struct scene *s)
{
	upage_space *owner;
	ck_assert_ok(upage_space_create(&owner, s->m.pool, NULL));
	tell(map(owner, MANY), MANY * PAGE);
	ck_assert_ok(upage_space_destroy(owner));
	return look_around(s->stranger);
}

/* The secrets are written after the clone was made, or are the clone's own. */
static size_t clones_are_written_to(struct scene *s)
{
	upage_space *clone, *second;
	char *pages = map(s->m.space, MANY), *others = map(s->m.space, MANY);
	size_t offset = (size_t)(pages - (char *)upage_space_base(s->m.space));
	for (size_t i = 0; i < MANY; i++)
		pages[i * PAGE] = others[i * PAGE] = 1;
	ck_assert_ok(upage_space_clone(&clone, s->m.space, NULL));
	ck_assert_ok(upage_space_clone(&second, clone, NULL));
	char *copy = (char *)upage_space_base(clone) + offset, *third = (char *)upage_space_base(second) + offset;
	tell(pages, MANY / 2 * PAGE);
	tell(copy + MANY / 2 * PAGE, MANY / 2 * PAGE);
	size_t found = search(pages + MANY / 2 * PAGE, MANY / 2 * PAGE) + search(copy, MANY / 2 * PAGE);
	found += search(third, MANY * PAGE) + search(others, MANY * PAGE) + look_around(second);
	ck_assert_ok(upage_space_destroy(clone));
	found += look_around(s->stranger) + search(third, MANY * PAGE);
	ck_assert_ok(upage_space_destroy(second));
	ck_assert_uint_eq(search(pages, MANY / 2 * PAGE), MANY / 2 * WORDS);
	ck_assert_ok(upage_unmap(s->m.space, pages, MANY * PAGE));
	return found + look_around(s->stranger);
}

/* They are shared by clones, in frames and slots, and given up by all. */
static size_t shared_pages_are_unmapped(struct scene *s)
{
	upage_space *clone;
	char *secrets = map(s->m.space, MANY);
	tell(secrets, MANY * PAGE);
	ck_assert_ok(upage_space_clone(&clone, s->m.space, NULL));
	ck_assert_ok(upage_unmap(s->m.space, secrets, MANY * PAGE));
	size_t found = look_around(s->stranger) + look_around(s->m.space);
	ck_assert_ok(upage_space_destroy(clone));
	return found + look_around(s->stranger);
}

static size_t heaps_end(struct scene *s)
{
	upage_heap *heap;
	static char *blocks[200];
	size_t found = 0;
	int result = upage_heap_create(&heap, s->m.space);
	if (result == UPAGE_ENOTSUP) /* pages must do */
		return pages_are_unmapped(s);
	ck_assert_ok(result);
	for (size_t i = 0; i < LENGTH(blocks); i++) {
		blocks[i] = upage_heap_allocate(heap, 500 + i * 20);
		ck_assert_ptr_nonnull(blocks[i]);
		tell(blocks[i], 500 + i * 20);
	}
	ck_assert_ok(upage_heap_destroy(heap));
	found += look_around(s->stranger);
	ck_assert_ok(upage_heap_create(&heap, s->stranger));
	for (size_t i = 0; i < LENGTH(blocks); i++) {
		blocks[i] = upage_heap_allocate(heap, 700 + i * 20);
		found += search(blocks[i], upage_heap_block_size(heap, blocks[i]));
		blocks[i] = upage_heap_resize(heap, blocks[i], 9000); /* grown */
		found += search(blocks[i], upage_heap_block_size(heap, blocks[i]));
	}
	ck_assert_ok(upage_heap_destroy(heap));
	return found;
}

static size_t a_child_looks(struct scene *s)
{
	int status;
	char *secrets = map(s->m.space, MANY);
	tell(secrets, MANY * PAGE);
	ck_assert_ok(upage_unmap(s->m.space, secrets, MANY / 2 * PAGE));
	pid_t child = fork();
	if (child == 0)
		_exit(look_around(s->stranger) > 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return (size_t)WEXITSTATUS(status);
}

/* Secrets have gone both ways through the buffers, and nothing else since. */
static void fill_buffers(struct scene *s)
{
	char *secrets = map(s->m.space, MANY);
	tell(secrets, MANY * PAGE);
	ck_assert_ok(upage_advise(s->m.space, secrets, MANY * PAGE, UPAGE_PAGEOUT));
	ck_assert_uint_eq(search(secrets, MANY * PAGE), MANY * WORDS);
}

/* What a file does not fill of its last page. */
static size_t files_end_within_a_page(struct scene *s)
{
	char name[] = "check_secrets-XXXXXX";
	int file = mkstemp(name);
	upage_store *store;
	size_t found = 0;
	ck_assert_int_eq(ftruncate(file, 8), 0);
	ck_assert_ok(upage_store_open(&store, name, 0));
	unlink(name);
	close(file);
	fill_buffers(s);
	for (unsigned i = 0; i < 8; i++) {
		void *address = NULL;
		ck_assert_ok(upage_map(s->stranger, &address, PAGE, RW, 0, store, 0));
		found += search(address, PAGE);
		ck_assert_ok(upage_unmap(s->stranger, address, PAGE));
	}
	ck_assert_ok(upage_store_close(store));
	return found;
}

static int read_nothing(void *context, void *page, size_t length, off_t offset)
{
	(void)context, (void)page, (void)length, (void)offset;
	return 0;
}

/* What a store of the program's own forgets to fill. */
static size_t a_store_fills_nothing(struct scene *s)
{
	const struct upage_store_ops ops = { .size = sizeof(ops), .read = read_nothing };
	upage_store *store;
	void *address = NULL;
	ck_assert_ok(upage_store_create(&store, &ops, NULL));
	fill_buffers(s);
	ck_assert_ok(upage_map(s->stranger, &address, 8 * PAGE, RW, 0, store, 0));
	size_t found = search(address, 8 * PAGE);
	ck_assert_ok(upage_unmap(s->stranger, address, 8 * PAGE));
	ck_assert_ok(upage_store_close(store));
	return found;
}

/* ---- Spaces in runs, and such as share addresses ------------------------------------------------ */

#define RUN 8 /* pages, in 16 frames */

static upage_space *make(struct scene *s, enum upage_scheme scheme, size_t bounds, unsigned flags)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	static void *window;
	upage_space *space;
	config.scheme = scheme;
	config.flags = flags;
	config.bounds = bounds;
	config.length = 64 * MIB;
	if (flags != 0)
		config.address = window;
	ck_assert_ok(upage_space_create(&space, s->m.pool, &config));
	if (flags != 0)
		window = upage_space_base(space);
	return space;
}

/* Maps, grows, and maps again what was unmapped in between. */
static size_t look_around_in_run(struct scene *s)
{
	upage_space *heir = make(s, UPAGE_SCHEME_BASE_BOUNDS, 0, 0);
	char *fresh = map(heir, RUN);
	size_t found = search(fresh, RUN * PAGE);
	void *more = fresh + RUN * PAGE;
	ck_assert_ok(upage_map(heir, &more, 4 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
	found += search(fresh, (RUN + 4) * PAGE);
	memset(fresh, 1, (RUN + 4) * PAGE);
	ck_assert_ok(upage_space_destroy(heir));
	return found;
}

static size_t runs_end(struct scene *s)
{
	upage_space *owner = make(s, UPAGE_SCHEME_SEGMENTATION, 0, 0);
	tell(map(owner, RUN), RUN * PAGE);
	ck_assert_ok(upage_space_destroy(owner));
	return look_around_in_run(s) + look_around(s->stranger);
}

static size_t pages_become_runs(struct scene *s)
{
	char *secrets = map(s->m.space, 16);
	tell(secrets, 16 * PAGE);
	ck_assert_ok(upage_unmap(s->m.space, secrets, 16 * PAGE));
	return look_around_in_run(s);
}

static size_t runs_shrink_and_grow(struct scene *s)
{
	upage_space *space = make(s, UPAGE_SCHEME_BASE_BOUNDS, 0, 0);
	char *secrets = map(space, RUN);
	tell(secrets, RUN * PAGE);
	ck_assert_ok(upage_unmap(space, secrets + 2 * PAGE, 2 * PAGE));
	ck_assert_ok(upage_unmap(space, secrets + 6 * PAGE, 2 * PAGE));
	ck_assert_ok(upage_compact(s->m.pool, NULL));
	void *hole = secrets + 2 * PAGE, *end = secrets + 6 * PAGE;
	ck_assert_ok(upage_map(space, &hole, 2 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
	ck_assert_ok(upage_map(space, &end, 2 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
	size_t found = search(hole, 2 * PAGE) + search(end, 2 * PAGE);
	ck_assert_uint_eq(search(secrets, RUN * PAGE) - found, 4 * WORDS);
	ck_assert_ok(upage_space_destroy(space));
	return found;
}

static size_t runs_move_away(struct scene *s)
{
	upage_space *first = make(s, UPAGE_SCHEME_BASE_BOUNDS, 4 * PAGE, 0);
	upage_space *owner = make(s, UPAGE_SCHEME_BASE_BOUNDS, 6 * PAGE, 0);
	tell(map(owner, 6), 6 * PAGE);
	ck_assert_ok(upage_space_destroy(first));
	ck_assert_ok(upage_compact(s->m.pool, NULL)); /* the frames behind it were its */
	upage_space *heir = make(s, UPAGE_SCHEME_BASE_BOUNDS, 0, 0);
	size_t found = search(map(heir, 10), 10 * PAGE); /* all there are */
	ck_assert_ok(upage_space_destroy(heir));
	ck_assert_ok(upage_space_destroy(owner));
	return found;
}

static size_t runs_are_swapped_out(struct scene *s)
{
	upage_space *owner = make(s, UPAGE_SCHEME_BASE_BOUNDS, 0, 0);
	char *secrets = map(owner, RUN);
	tell(secrets, RUN * PAGE);
	ck_assert_ok(upage_space_swap_out(owner));
	size_t found = look_around_in_run(s) + look_around(s->stranger);
	ck_assert_uint_eq(search(secrets, RUN * PAGE), RUN * WORDS);
	ck_assert_ok(upage_space_swap_out(owner));
	ck_assert_ok(upage_space_destroy(owner));
	return found + look_around_in_run(s) + look_around(s->stranger);
}

static size_t spaces_are_switched(struct scene *s)
{
	upage_space *owner = make(s, UPAGE_SCHEME_PAGING, 0, UPAGE_SPACE_WINDOW);
	upage_space *heir = make(s, UPAGE_SCHEME_PAGING, 0, UPAGE_SPACE_WINDOW);
	ck_assert_ok(upage_switch(owner));
	char *secrets = map(owner, MANY);
	tell(secrets, MANY * PAGE);
	ck_assert_ok(upage_switch(heir));
	size_t found = look_around(heir); /* at the same addresses */
	ck_assert_ok(upage_unmap(owner, secrets, MANY / 2 * PAGE));
	found += look_around(heir);
	ck_assert_ok(upage_switch(owner));
	ck_assert_uint_eq(search(secrets + MANY / 2 * PAGE, MANY / 2 * PAGE), MANY / 2 * WORDS);
	ck_assert_ok(upage_space_destroy(owner));
	ck_assert_ok(upage_switch(heir));
	found += look_around(heir);
	ck_assert_ok(upage_space_destroy(heir));
	return found;
}

static const struct way {
	const char *name;
	size_t (*take)(struct scene *);
	bool needs_zeroing; /* or what keeps the secret is something else */
} ways[] = {
#define W(name, needs_zeroing) { #name, name, needs_zeroing }
	W(pages_are_unmapped, true),
	W(pages_are_dropped, true),
	W(pages_are_evicted, true),
	W(a_space_ends, true),
	W(clones_are_written_to, true),
	W(shared_pages_are_unmapped, true),
	W(heaps_end, true),
	W(a_child_looks, true),
	W(runs_end, true),
	W(pages_become_runs, true),
	W(runs_shrink_and_grow, true),
	W(runs_move_away, true),
	W(runs_are_swapped_out, true),
	W(spaces_are_switched, true),
	W(files_end_within_a_page, false),
	W(a_store_fills_nothing, false),
#undef W
};

/* Memory for a third of it; for all of it, with pages that come in by clusters or alone. */
static const char *const pools[] = { "memory=64K", "memory=4M,prefetch=16", "memory=4M" };

static size_t take(const struct way *way, const char *words)
{
	struct scene s = { .m = machine_make(words) };
	ck_assert_ok(upage_space_create(&s.stranger, s.m.pool, NULL));
	size_t found = way->take(&s);
	ck_assert_ok(upage_pool_verify(s.m.pool));
	ck_assert_ok(upage_space_destroy(s.stranger));
	machine_end(s.m);
	return found;
}

START_TEST(nothing_is_found)
{
	const struct way *way = &ways[(size_t)_i / LENGTH(pools)];
	zeroing = true;
	size_t found = take(way, pools[(size_t)_i % LENGTH(pools)]);
	ck_assert_msg(found == 0, "%s: %zu words", way->name, found);
}
END_TEST

START_TEST(what_is_not_zeroed_is_found)
{
	const struct way *way = &ways[(size_t)_i / LENGTH(pools)];
	zeroing = false;
	char words[80]; /* a page at home is where nobody else's has been */
	snprintf(words, sizeof(words), "%s,mapping=remap", pools[(size_t)_i % LENGTH(pools)]);
	size_t found = take(way, words);
	bool evicts = (size_t)_i % LENGTH(pools) == 0; /* else each page finds a frame that nobody had */
	if (way->needs_zeroing && (evicts || way->take == pages_are_unmapped))
		ck_assert_msg(found > 0, "%s: nothing", way->name);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("secrets");
	TCase *tests = tcase_create("secrets");
	tcase_add_loop_test(tests, nothing_is_found, 0, (int)(LENGTH(ways) * LENGTH(pools)));
	tcase_add_loop_test(tests, what_is_not_zeroed_is_found, 0, (int)(LENGTH(ways) * LENGTH(pools)));
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
