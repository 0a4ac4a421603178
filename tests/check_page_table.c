/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_page_table.c - does the radix tree find what was put there, and no more?
 */
#include <pthread.h>

#include "page_table.h"
#include "support.h"

/* ---- Memory for nodes, counted and limited --------------------------------------------- */

#define RELEASES 4096

static struct {
	size_t bytes;  /* given out and not given back    */
	size_t calls;  /* of allocate, the failed ones too */
	size_t limit;  /* calls that succeed              */
	uintptr_t released[RELEASES];
	size_t released_bytes[RELEASES], releases;
} host;

static void *host_allocate(size_t bytes)
{
	if (host.calls++ >= host.limit)
		return NULL;
	void *memory = mmap(NULL, bytes, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	host.bytes += bytes;
	return memory;
}

static void host_release_nodes(void *memory, size_t bytes)
{
	if (host.releases < RELEASES) {
		host.released[host.releases] = (uintptr_t)memory;
		host.released_bytes[host.releases++] = bytes;
	}
	munmap(memory, bytes);
	host.bytes -= bytes;
}

static void memory_begin(struct table_memory *memory)
{
	memset(&host, 0, sizeof(host));
	host.limit = SIZE_MAX;
	table_memory_init(memory, host_allocate, host_release_nodes);
}

static void memory_end(struct table_memory *memory)
{
	ck_assert_uint_eq(memory->bytes, 0);
	table_memory_destroy(memory);
	ck_assert_uint_eq(host.bytes, 0);
}

/* ---- The tree against a model ---------------------------------------------------------- */

#define PLACES 512 /* page numbers that a model knows of */

struct model {
	struct page_table table;
	uint64_t pages, random;
	unsigned leaf_bits;
	size_t count;
	upage_vpn vpn[PLACES];
	uint64_t value[PLACES];
	bool made[PLACES];
};

/* Page numbers in clusters, so that leaves are shared; the first and the last one too. */
static void model_choose(struct model *model)
{
	model->count = 0;
	upage_vpn cluster = 0;
	while (model->count < PLACES) {
		upage_vpn vpn;
		if (model->count % 16 == 0)
			cluster = random_number(&model->random) % model->pages;
		if (model->count < 2)
			vpn = model->count == 0 ? 0 : model->pages - 1;
		else
			vpn = (cluster + random_number(&model->random) % 700) % model->pages;
		bool known = false;
		for (size_t i = 0; i < model->count; i++)
			known = known || model->vpn[i] == vpn;
		if (!known)
			model->vpn[model->count++] = vpn;
		else if (model->count >= model->pages || model->pages < 4 * PLACES)
			break;
	}
	memset(model->value, 0, sizeof(model->value));
	memset(model->made, 0, sizeof(model->made));
}

static bool model_leaf_is_made(const struct model *model, upage_vpn vpn)
{
	for (size_t i = 0; i < model->count; i++)
		if (model->made[i] && model->vpn[i] >> model->leaf_bits == vpn >> model->leaf_bits)
			return true;
	return model->table.levels == 1; /* the root is the leaf */
}

/* The first page of [from, end) whose leaf was made, or @end. */
static upage_vpn model_run(const struct model *model, upage_vpn from, upage_vpn end)
{
	upage_vpn first = model->table.levels == 1 ? from : end;
	for (size_t i = 0; i < model->count; i++) {
		upage_vpn start = model->vpn[i] >> model->leaf_bits << model->leaf_bits;
		upage_vpn past = start + (UINT64_C(1) << model->leaf_bits);
		if (!model->made[i] || past <= from)
			continue;
		if (start < from)
			start = from;
		if (start < first)
			first = start;
	}
	return first < end ? first : end;
}

static void model_check_run(struct model *model)
{
	upage_vpn from = model->vpn[random_number(&model->random) % model->count];
	upage_vpn end = model->vpn[random_number(&model->random) % model->count] + 1;
	if (random_number(&model->random) % 4 == 0)
		end = model->pages;
	upage_vpn expected = from < end ? model_run(model, from, end) : end;
	upage_vpn at = from;
	size_t count = 0;
	pte_t *ptes = page_table_run(&model->table, &at, end, &count);
	if (from >= end || expected == end) {
		must(ptes == NULL);
		return;
	}
	upage_vpn leaf_end = ((expected >> model->leaf_bits) + 1) << model->leaf_bits;
	must(at == expected);
	must(count == (leaf_end < end ? leaf_end : end) - expected);
	must(ptes == page_table_walk(&model->table, expected));
	must(ptes + count - 1 == page_table_walk(&model->table, expected + count - 1));
}

static void model_check_translation(struct model *model, size_t i)
{
	static const int accesses[] = { PROT_READ, PROT_WRITE, PROT_EXEC, RW };
	int access = accesses[random_number(&model->random) % 4];
	unsigned shift = model->table.paging.page_shift;
	uint64_t offset = random_number(&model->random) & ((UINT64_C(1) << shift) - 1);
	uint64_t physical = 12345, value = model->value[i];
	enum upage_cause cause = translate(&model->table.paging.translator,
	                                   model->vpn[i] << shift | offset, access, &physical);
	must(cause == pte_check(value, access));
	if (cause == UPAGE_CAUSE_NONE)
		must(physical == (value >> PTE_NUMBER_SHIFT << shift) + offset);
	else
		must(physical == 12345);
}

static uint64_t random_pte(uint64_t *state)
{
	static const uint64_t flags[] = {
		0,
		PTE_PRESENT,
		PTE_PRESENT | PTE_READ,
		PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_DIRTY,
		PTE_PRESENT | PTE_EXEC,
		PTE_PRESENT | PTE_PREFETCHED,
		PTE_SWAPPED,
	};
	uint64_t flag = flags[random_number(state) % LENGTH(flags)];
	return flag != 0 ? pte_make(random_number(state) % (UINT64_C(1) << 31), flag) : 0;
}

static void model_step(struct model *model)
{
	size_t i = random_number(&model->random) % model->count;
	pte_t *pte;
	switch (random_number(&model->random) % 8) {
	case 0:
	case 1:
	case 2:
		pte = page_table_make(&model->table, model->vpn[i]);
		must(pte != NULL);
		must(atomic_load(pte) == model->value[i]);
		model->made[i] = true;
		model->value[i] = random_pte(&model->random);
		atomic_store(pte, model->value[i]);
		break;
	case 3:
		model_check_run(model);
		break;
	case 4:
		model_check_translation(model, i);
		break;
	default:
		pte = page_table_walk(&model->table, model->vpn[i]);
		must((pte != NULL) == model_leaf_is_made(model, model->vpn[i]));
		if (pte != NULL)
			must(atomic_load(pte) == model->value[i]);
	}
}

static void model_clear(struct model *model)
{
	for (size_t i = 0; i < model->count; i++) {
		pte_t *pte = page_table_walk(&model->table, model->vpn[i]);
		must((pte != NULL) == model_leaf_is_made(model, model->vpn[i]));
		if (pte != NULL)
			must(atomic_exchange(pte, 0) == model->value[i]);
	}
	page_table_destroy(&model->table);
}

START_TEST(a_tree_of_any_shape_agrees_with_a_model)
{
	static const uint64_t sizes[] = { 2, 16, 64, 512, 1024, 65536, 1 << 20, 1 << 27,
		                          UINT64_C(1) << 36, UINT64_C(1) << 45 };
	static const unsigned shifts[] = { 12, 0, 16, 21, 3 };
	unsigned levels = (unsigned)_i;
	struct table_memory memory;
	static struct model model;
	memory_begin(&memory);
	model.random = 100 + levels;
	unsigned shapes = 0;
	for (size_t s = 0; s < LENGTH(sizes); s++) {
		model.pages = sizes[s];
		unsigned bits = log2_ceiling(model.pages);
		/* Nodes of at most 2^18 entries, so that a flat table does not take the machine. */
		if (levels != 0 && (bits < levels || bits > 18 * levels))
			continue;
		unsigned shift = shifts[s % 5];
		ck_assert_ok(page_table_init(&model.table, &memory, model.pages, shift, levels));
		model.leaf_bits = log2_floor(page_table_leaf_pages(&model.table));
		model_choose(&model);
		for (unsigned step = 0; step < 4000; step++)
			model_step(&model);
		model_clear(&model);
		ck_assert_uint_eq(memory.bytes, 0);
		shapes++;
	}
	ck_assert_uint_ge(shapes, 5);
	memory_end(&memory);
}
END_TEST

/* ---- Shapes ---------------------------------------------------------------------------- */

START_TEST(the_bits_of_the_levels_make_up_the_page_number)
{
	struct table_memory memory;
	struct page_table table;
	memory_begin(&memory);
	for (unsigned bits = 1; bits <= 45; bits++) {
		for (unsigned levels = 0; levels <= PAGE_TABLE_LEVELS_MAX; levels++) {
			if (levels > bits || (levels != 0 && bits > 20 * levels))
				continue;
			uint64_t pages = UINT64_C(1) << bits;
			ck_assert_ok(page_table_init(&table, &memory, pages, 12, levels));
			unsigned shift = bits, least = 64, most = 0;
			for (unsigned level = 0; level < table.levels; level++) {
				shift -= table.bits[level];
				ck_assert_uint_eq(table.shift[level], shift);
				ck_assert_uint_ge(table.bits[level], 1);
				if (table.bits[level] < least)
					least = table.bits[level];
				if (table.bits[level] > most)
					most = table.bits[level];
			}
			ck_assert_uint_eq(shift, 0);
			ck_assert_uint_eq(table.levels, levels != 0 ? levels : (bits + 8) / 9);
			if (levels != 0)
				ck_assert_uint_le(most - least, 1);
			page_table_destroy(&table);
		}
	}
	memory_end(&memory);
}
END_TEST

START_TEST(too_many_levels_are_refused)
{
	struct table_memory memory;
	struct page_table table;
	memory_begin(&memory);
	ck_assert_int_eq(page_table_init(&table, &memory, 1 << 20, 12, 6), UPAGE_EINVAL);
	ck_assert_int_eq(page_table_init(&table, &memory, 4, 12, 3), UPAGE_EINVAL);
	ck_assert_int_eq(page_table_init(&table, &memory, UINT64_C(1) << 46, 12, 0), UPAGE_EINVAL);
	ck_assert_uint_eq(host.calls, 0);
	memory_end(&memory);
}
END_TEST

START_TEST(a_walk_makes_nothing)
{
	struct table_memory memory;
	struct page_table table;
	memory_begin(&memory);
	ck_assert_ok(page_table_init(&table, &memory, UINT64_C(1) << 36, 12, 0));
	size_t bytes = memory.bytes, count;
	upage_vpn vpn = 0;
	for (upage_vpn v = 0; v < UINT64_C(1) << 36; v += 123456789)
		ck_assert_ptr_null(page_table_walk(&table, v));
	ck_assert_ptr_null(page_table_run(&table, &vpn, UINT64_C(1) << 36, &count));
	ck_assert_uint_eq(vpn, 0);
	ck_assert_uint_eq(memory.bytes, bytes);
	page_table_destroy(&table);
	memory_end(&memory);
}
END_TEST

START_TEST(making_an_entry_twice_gives_the_same_one)
{
	struct table_memory memory;
	struct page_table table;
	memory_begin(&memory);
	ck_assert_ok(page_table_init(&table, &memory, 1 << 20, 12, 3));
	pte_t *pte = page_table_make(&table, 77777);
	size_t bytes = memory.bytes;
	ck_assert_ptr_nonnull(pte);
	ck_assert_ptr_eq(page_table_make(&table, 77777), pte);
	ck_assert_ptr_eq(page_table_walk(&table, 77777), pte);
	ck_assert_ptr_eq(page_table_make(&table, 77778), pte + 1);
	ck_assert_uint_eq(memory.bytes, bytes);
	page_table_destroy(&table);
	memory_end(&memory);
}
END_TEST

START_TEST(the_runs_of_a_whole_table_are_its_leaves_in_order)
{
	static const upage_vpn touched[] = { 3, 511, 512, 70000, 262143, 262144, 1048575 };
	static const upage_vpn starts[] = { 0, 512, 69632, 261632, 262144, 1048064 };
	struct table_memory memory;
	struct page_table table;
	memory_begin(&memory);
	ck_assert_ok(page_table_init(&table, &memory, 1 << 20, 12, 0));
	for (size_t i = 0; i < LENGTH(touched); i++)
		ck_assert_ptr_nonnull(page_table_make(&table, touched[i]));
	upage_vpn vpn = 0;
	size_t count, run = 0;
	while (page_table_run(&table, &vpn, 1 << 20, &count) != NULL) {
		ck_assert_uint_lt(run, LENGTH(starts));
		ck_assert_uint_eq(vpn, starts[run++]);
		ck_assert_uint_eq(count, 512);
		vpn += count;
	}
	ck_assert_uint_eq(run, LENGTH(starts));
	page_table_destroy(&table);
	memory_end(&memory);
}
END_TEST

/* ---- Translation ----------------------------------------------------------------------- */

START_TEST(the_last_byte_translates_and_the_next_is_out_of_bounds)
{
	static const unsigned shifts[] = { 0, 1, 12, 16, 21 };
	struct table_memory memory;
	struct page_table table;
	const struct translator *translator = &table.paging.translator;
	memory_begin(&memory);
	for (size_t s = 0; s < LENGTH(shifts); s++) {
		unsigned shift = shifts[s];
		uint64_t pages = 1 << 13, size = UINT64_C(1) << shift, end = pages * size;
		uint64_t physical = 0;
		ck_assert_ok(page_table_init(&table, &memory, pages, shift, 0));
		pte_t *pte = page_table_make(&table, pages - 1);
		atomic_store(pte, pte_make(5, PTE_PRESENT | PTE_READ));
		ck_assert_int_eq(translate(translator, end - 1, PROT_READ, &physical),
		                 UPAGE_CAUSE_NONE);
		ck_assert_uint_eq(physical, 6 * size - 1);
		ck_assert_int_eq(translate(translator, end - size, PROT_READ, &physical),
		                 UPAGE_CAUSE_NONE);
		ck_assert_uint_eq(physical, 5 * size);
		ck_assert_int_eq(translate(translator, end, PROT_READ, &physical),
		                 UPAGE_CAUSE_BOUNDS);
		ck_assert_int_eq(translate(translator, UINT64_MAX, PROT_READ, &physical),
		                 UPAGE_CAUSE_BOUNDS);
		ck_assert_uint_eq(physical, 5 * size);
		atomic_store(pte, 0);
		page_table_destroy(&table);
	}
	memory_end(&memory);
}
END_TEST

START_TEST(the_largest_frame_number_translates_without_loss)
{
	struct table_memory memory;
	struct page_table table;
	uint64_t physical = 0;
	memory_begin(&memory);
	ck_assert_ok(page_table_init(&table, &memory, 1024, 21, 0));
	pte_t *pte = page_table_make(&table, 1);
	atomic_store(pte, pte_make((UINT64_C(1) << 31) - 1, PTE_PRESENT | PTE_READ));
	ck_assert_int_eq(translate(&table.paging.translator, (2 << 20) + 0x1fffff, PROT_READ, &physical),
	                 UPAGE_CAUSE_NONE);
	ck_assert_uint_eq(physical, (UINT64_C(1) << 52) - 1);
	atomic_store(pte, 0);
	page_table_destroy(&table);
	memory_end(&memory);
}
END_TEST

START_TEST(an_address_without_a_frame_is_not_mapped)
{
	struct table_memory memory;
	struct page_table table;
	uint64_t physical = 99;
	memory_begin(&memory);
	ck_assert_ok(page_table_init(&table, &memory, 1 << 20, 12, 0));
	/* no leaf; then an empty entry; then a page that is in swap */
	ck_assert_int_eq(translate(&table.paging.translator, 7 * PAGE, PROT_READ, &physical),
	                 UPAGE_CAUSE_NOT_MAPPED);
	pte_t *pte = page_table_make(&table, 7);
	ck_assert_int_eq(translate(&table.paging.translator, 7 * PAGE, PROT_READ, &physical),
	                 UPAGE_CAUSE_NOT_MAPPED);
	atomic_store(pte, pte_make(3, PTE_SWAPPED));
	ck_assert_int_eq(translate(&table.paging.translator, 7 * PAGE, PROT_READ, &physical),
	                 UPAGE_CAUSE_NOT_MAPPED);
	ck_assert_uint_eq(physical, 99);
	atomic_store(pte, 0);
	page_table_destroy(&table);
	memory_end(&memory);
}
END_TEST

START_TEST(a_lock_does_not_change_a_translation)
{
	struct table_memory memory;
	struct page_table table;
	uint64_t physical = 0;
	memory_begin(&memory);
	ck_assert_ok(page_table_init(&table, &memory, 512, 12, 0));
	pte_t *pte = page_table_make(&table, 9);
	atomic_store(pte, pte_make(4, PTE_PRESENT | PTE_READ));
	uint64_t value = pte_lock(pte);
	ck_assert_int_eq(translate(&table.paging.translator, 9 * PAGE + 5, PROT_READ, &physical),
	                 UPAGE_CAUSE_NONE);
	ck_assert_uint_eq(physical, 4 * PAGE + 5);
	pte_unlock(pte, value);
	atomic_store(pte, 0);
	page_table_destroy(&table);
	memory_end(&memory);
}
END_TEST

/* ---- Threads that make the same leaves ------------------------------------------------- */

#define LEAVES 64
#define THREADS 4

static struct page_table shared_table;

static _Atomic unsigned arrived;

static void *make_leaves(void *unused)
{
	uintptr_t failed = 0;
	for (unsigned leaf = 0; leaf < LEAVES; leaf++) {
		/* All at once: who comes second gives his node back. */
		atomic_fetch_add(&arrived, 1);
		while (atomic_load(&arrived) < (leaf + 1) * THREADS)
			sched_yield();
		pte_t *pte = page_table_make(&shared_table, (upage_vpn)leaf << 18 | 17);
		if (pte == NULL)
			failed++;
		else
			atomic_fetch_add(pte, pte_make(1, 0));
	}
	(void)unused;
	return (void *)failed;
}

START_TEST(threads_that_make_a_leaf_at_once_share_one)
{
	struct table_memory memory;
	pthread_t threads[THREADS];
	for (unsigned round = 0; round < 30; round++) {
		memory_begin(&memory);
		ck_assert_ok(page_table_init(&shared_table, &memory, UINT64_C(1) << 27, 12, 0));
		arrived = 0;
		for (unsigned t = 0; t < THREADS; t++)
			ck_assert_int_eq(pthread_create(&threads[t], NULL, make_leaves, NULL), 0);
		for (unsigned t = 0; t < THREADS; t++) {
			void *failed;
			ck_assert_int_eq(pthread_join(threads[t], &failed), 0);
			ck_assert_ptr_null(failed);
		}
		for (upage_vpn leaf = 0; leaf < LEAVES; leaf++) {
			pte_t *pte = page_table_walk(&shared_table, leaf << 18 | 17);
			ck_assert_uint_eq(pte_number(atomic_exchange(pte, 0)), THREADS);
		}
		/* the root, and for each a node and a leaf */
		ck_assert_uint_eq(memory.bytes, (2 * LEAVES + 1) * PAGE);
		page_table_destroy(&shared_table);
		memory_end(&memory);
	}
}
END_TEST

/* ---- Memory ---------------------------------------------------------------------------- */

START_TEST(the_bytes_of_a_table_are_those_of_its_nodes)
{
	struct table_memory memory;
	struct page_table table;
	memory_begin(&memory);
	ck_assert_ok(page_table_init(&table, &memory, UINT64_C(1) << 36, 12, 0));
	ck_assert_uint_eq(memory.bytes, PAGE);
	page_table_make(&table, 0);
	ck_assert_uint_eq(memory.bytes, 4 * PAGE);
	page_table_make(&table, 511);
	ck_assert_uint_eq(memory.bytes, 4 * PAGE);
	page_table_make(&table, 512);
	ck_assert_uint_eq(memory.bytes, 5 * PAGE);
	page_table_make(&table, (UINT64_C(1) << 36) - 1);
	ck_assert_uint_eq(memory.bytes, 8 * PAGE);
	page_table_destroy(&table);
	memory_end(&memory);
}
END_TEST

START_TEST(a_leaf_that_was_given_back_is_zero_and_used_again)
{
	struct table_memory memory;
	struct page_table table;
	memory_begin(&memory);
	size_t calls = 0;
	for (unsigned round = 0; round < 20; round++) {
		ck_assert_ok(page_table_init(&table, &memory, 1 << 18, 12, 0));
		for (upage_vpn leaf = 0; leaf < 400; leaf++) {
			pte_t *ptes = page_table_make(&table, leaf << 9);
			ck_assert_ptr_nonnull(ptes);
			for (unsigned i = 0; i < 512; i++)
				must(atomic_load(&ptes[i]) == 0);
			atomic_store(&ptes[round], pte_make(leaf, PTE_SWAPPED));
		}
		for (upage_vpn leaf = 0; leaf < 400; leaf++)
			atomic_store(page_table_walk(&table, leaf << 9 | round), 0);
		page_table_destroy(&table);
		ck_assert_uint_eq(memory.bytes, 0);
		if (round == 0)
			calls = host.calls;
	}
	ck_assert_uint_eq(host.calls, calls);
	memory_end(&memory);
}
END_TEST

START_TEST(a_node_is_never_used_as_a_leaf)
{
	struct table_memory memory;
	struct page_table table;
	uintptr_t nodes[4];
	memory_begin(&memory);
	ck_assert_ok(page_table_init(&table, &memory, UINT64_C(1) << 36, 12, 0));
	uintptr_t leaf = (uintptr_t)page_table_make(&table, 0);
	void *node = table.root;
	for (unsigned level = 0; level < 4; level++) {
		nodes[level] = (uintptr_t)node;
		node = *(void **)node;
	}
	ck_assert_uint_eq(nodes[3], leaf);
	page_table_destroy(&table);
	/* The next table takes every node that was given back, and more. */
	ck_assert_ok(page_table_init(&table, &memory, UINT64_C(1) << 36, 12, 0));
	bool again = false;
	for (upage_vpn i = 0; i < 8; i++) {
		uintptr_t entry = (uintptr_t)page_table_make(&table, i << 9);
		again = again || entry == leaf;
		for (unsigned level = 0; level < 3; level++)
			ck_assert_uint_ne(entry, nodes[level]);
	}
	ck_assert(again);
	page_table_destroy(&table);
	memory_end(&memory);
}
END_TEST

/* A thread may hold a pointer to an entry of a table that another one destroys. */
START_TEST(a_stale_pointer_to_an_entry_still_points_to_one)
{
	static const struct {
		uint64_t pages;
		unsigned levels;
	} shapes[] = { { 1 << 18, 0 }, { 1 << 20, 0 }, { 256, 0 }, { 16, 0 }, { 1 << 20, 2 } };
	struct table_memory memory;
	struct page_table table;
	memory_begin(&memory);
	ck_assert_ok(page_table_init(&table, &memory, shapes[_i].pages, 12, shapes[_i].levels));
	uintptr_t pte = (uintptr_t)page_table_make(&table, shapes[_i].pages - 1);
	page_table_destroy(&table);
	for (size_t i = 0; i < host.releases; i++)
		ck_assert_msg(pte - host.released[i] >= host.released_bytes[i],
		              "the leaf of a table of %llu pages and %u levels is unmapped",
		              (unsigned long long)shapes[_i].pages, shapes[_i].levels);
	memory_end(&memory);
}
END_TEST

START_TEST(a_table_without_memory_fails_and_leaks_nothing)
{
	struct table_memory memory;
	struct page_table table;
	unsigned levels = (unsigned)_i;
	uint64_t pages = UINT64_C(1) << 36;
	bool made = false;
	for (size_t limit = 0; !made; limit++) {
		ck_assert_uint_lt(limit, 10);
		memory_begin(&memory);
		host.limit = limit;
		int result = page_table_init(&table, &memory, pages, 12, levels);
		if (result < 0) {
			ck_assert_int_eq(result, UPAGE_ENOMEM);
			ck_assert_uint_eq(limit, 0);
		} else {
			pte_t *pte = page_table_make(&table, 12345678);
			made = pte != NULL;
			/* Whatever was refused is made once there is memory again. */
			host.limit = SIZE_MAX;
			if (!made)
				ck_assert_ptr_nonnull(page_table_make(&table, 12345678));
			ck_assert_ptr_nonnull(page_table_walk(&table, 12345678));
			page_table_destroy(&table);
		}
		memory_end(&memory);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("page_table");
	TCase *tree = tcase_create("tree");
	tcase_set_timeout(tree, 60);
	tcase_add_loop_test(tree, a_tree_of_any_shape_agrees_with_a_model, 0,
	                    PAGE_TABLE_LEVELS_MAX + 1);
	tcase_add_test(tree, the_bits_of_the_levels_make_up_the_page_number);
	tcase_add_test(tree, too_many_levels_are_refused);
	tcase_add_test(tree, a_walk_makes_nothing);
	tcase_add_test(tree, making_an_entry_twice_gives_the_same_one);
	tcase_add_test(tree, the_runs_of_a_whole_table_are_its_leaves_in_order);
	tcase_add_test(tree, threads_that_make_a_leaf_at_once_share_one);
	suite_add_tcase(suite, tree);

	TCase *translation = tcase_create("translation");
	tcase_add_test(translation, the_last_byte_translates_and_the_next_is_out_of_bounds);
	tcase_add_test(translation, the_largest_frame_number_translates_without_loss);
	tcase_add_test(translation, an_address_without_a_frame_is_not_mapped);
	tcase_add_test(translation, a_lock_does_not_change_a_translation);
	suite_add_tcase(suite, translation);

	TCase *memory = tcase_create("memory");
	tcase_add_test(memory, the_bytes_of_a_table_are_those_of_its_nodes);
	tcase_add_test(memory, a_leaf_that_was_given_back_is_zero_and_used_again);
	tcase_add_test(memory, a_node_is_never_used_as_a_leaf);
	tcase_add_loop_test(memory, a_stale_pointer_to_an_entry_still_points_to_one, 0, 5);
	tcase_add_loop_test(memory, a_table_without_memory_fails_and_leaks_nothing, 2, 6);
	suite_add_tcase(suite, memory);
	return run_suite(suite);
}
