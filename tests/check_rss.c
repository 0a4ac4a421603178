/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_rss.c - does the host see no more memory used than was ordered?
 *
 * Seen from outside: a process of its own uses paged memory, and the test reads what the
 * kernel says of that process (/proc/PID/status, /proc/PID/maps) every few milliseconds.
 * The worker tells by a byte in a pipe that it is done and waits, alive, for the last look.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

#define GIB (MIB * 1024)

/* ---- What the kernel says -------------------------------------------------------------- */

struct usage { /* bytes */
	size_t all, shared, anonymous, tables;
};

static struct usage usage_of(pid_t process)
{
	static const char *const names[] = { "VmRSS:", "RssShmem:", "RssAnon:", "VmPTE:" };
	struct usage usage = { 0 };
	size_t *const fields[] = { &usage.all, &usage.shared, &usage.anonymous, &usage.tables };
	char path[64], line[256];
	snprintf(path, sizeof(path), "/proc/%d/status", (int)process);
	FILE *file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		for (unsigned i = 0; i < 4; i++) {
			size_t length = strlen(names[i]);
			if (strncmp(line, names[i], length) == 0)
				*fields[i] = (size_t)strtoull(line + length, NULL, 10) * 1024;
		}
	}
	fclose(file);
	return usage;
}

static size_t mappings_of(pid_t process)
{
	char path[64], buffer[65536];
	size_t lines = 0, n;
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)process);
	FILE *file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	while ((n = fread(buffer, 1, sizeof(buffer), file)) > 0)
		for (size_t i = 0; i < n; i++)
			lines += buffer[i] == '\n';
	fclose(file);
	return lines;
}

static size_t mapping_limit(void)
{
	unsigned long limit = 0;
	FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%lu", &limit), 1);
	fclose(file);
	return limit;
}

/* ---- A worker, watched ----------------------------------------------------------------- */

struct work {
	const char *words; /* of the pool */
	size_t data;       /* bytes       */
	unsigned rounds;
};

struct peak {
	struct usage usage;
	size_t mappings, samples;
};

typedef void worker(const struct work *work);

/* In the worker's process nothing of libcheck's is used: it says what is wrong, and ends. */
#define need(condition)                                                                       \
	do {                                                                                  \
		if (!(condition)) {                                                           \
			fprintf(stderr, "check_rss: line %d: %s\n", __LINE__, #condition);    \
			_exit(1);                                                             \
		}                                                                             \
	} while (0)

static void raise_to(size_t *most, size_t value)
{
	if (value > *most)
		*most = value;
}

static void sample(struct peak *peak, pid_t process, bool with_mappings)
{
	struct usage now = usage_of(process);
	raise_to(&peak->usage.all, now.all);
	raise_to(&peak->usage.shared, now.shared);
	raise_to(&peak->usage.anonymous, now.anonymous);
	raise_to(&peak->usage.tables, now.tables);
	if (with_mappings)
		raise_to(&peak->mappings, mappings_of(process));
	peak->samples++;
}

static struct peak watch(worker *run, const struct work *work, bool with_mappings)
{
	struct peak peak = { .samples = 0 };
	int done[2], go[2], status;
	char byte = 0;
	ck_assert_int_eq(pipe(done), 0);
	ck_assert_int_eq(pipe(go), 0);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		close(done[0]);
		close(go[1]);
		run(work);
		need(write(done[1], &byte, 1) == 1);
		need(read(go[0], &byte, 1) >= 0);
		_exit(0);
	}
	close(done[1]);
	close(go[0]);
	struct pollfd ready = { .fd = done[0], .events = POLLIN };
	while (poll(&ready, 1, with_mappings ? 150 : 3) == 0)
		sample(&peak, child, with_mappings);
	ck_assert_msg(read(done[0], &byte, 1) == 1, "the worker ended early");
	sample(&peak, child, with_mappings);
	close(go[1]);
	close(done[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	return peak;
}

/* ---- Workers --------------------------------------------------------------------------- */

static struct machine worker_machine(const char *words)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct machine machine;
	need(upage_config_parse(&config, words) == 0);
	need(upage_pool_create(&machine.pool, &config) == 0);
	need(upage_space_create(&machine.space, machine.pool, NULL) == 0);
	return machine;
}

static void write_and_read(uint64_t *data, size_t bytes, unsigned rounds)
{
	const size_t step = 512 / sizeof(*data), count = bytes / sizeof(*data);
	for (unsigned round = 0; round < rounds; round++) {
		for (size_t i = 0; i < count; i += step)
			data[i] = i + round;
		for (size_t i = 0; i < count; i += step)
			need(data[i] == i + round);
	}
}

static void use_mapping(const struct work *work)
{
	struct machine machine = worker_machine(work->words);
	void *address = NULL;
	need(upage_map(machine.space, &address, work->data, RW, 0, NULL, 0) == 0);
	write_and_read(address, work->data, work->rounds);
}

#define BLOCK ((size_t)24 * 1024)

static void use_heap(const struct work *work)
{
	struct machine machine = worker_machine(work->words);
	upage_heap *heap;
	size_t count = work->data / BLOCK;
	uint64_t **blocks = malloc(count * sizeof(*blocks));
	int result = upage_heap_create(&heap, machine.space);
	if (result == UPAGE_ENOTSUP) { /* built without jemalloc: as much data, mapped */
		use_mapping(work);
		return;
	}
	need(result == 0 && blocks != NULL);
	for (size_t i = 0; i < count; i++) {
		blocks[i] = upage_heap_allocate(heap, BLOCK);
		need(blocks[i] != NULL);
		for (size_t j = 0; j < BLOCK / 8; j += 64)
			blocks[i][j] = i + j;
	}
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < BLOCK / 8; j += 64)
			need(blocks[i][j] == i + j);
}

/* ---- Resident memory ------------------------------------------------------------------- */

/* RssShmem counts the frames that are mapped. 2 MiB are for what the test's process had. */
static void frames_stay_in_memory(worker *run, const struct work *work, size_t memory)
{
	struct peak peak = watch(run, work, false);
	ck_assert_uint_ge(peak.samples, 5);
	ck_assert_uint_le(peak.usage.shared, memory + 2 * MIB);
	ck_assert_uint_ge(peak.usage.shared, memory / 2); /* it was measured at all */
}

START_TEST(a_mapping_has_no_more_frames_than_memory)
{
	static const struct work work[] = { { "memory=16M", 64 * MIB, 1 },
		                            { "memory=4M", 64 * MIB, 1 },
		                            { "memory=16M,policy=fifo", 64 * MIB, 1 },
		                            { "memory=16M,page-size=64K", 128 * MIB, 2 } };
	static const size_t memory[] = { 16 * MIB, 4 * MIB, 16 * MIB, 16 * MIB };
	frames_stay_in_memory(use_mapping, &work[_i], memory[_i]);
}
END_TEST

START_TEST(a_heap_has_no_more_frames_than_memory)
{
	static const struct work work[] = { { "memory=16M", 64 * MIB, 1 },
		                            { "memory=4M", 64 * MIB, 1 } };
	static const size_t memory[] = { 16 * MIB, 4 * MIB };
	frames_stay_in_memory(use_heap, &work[_i], memory[_i]);
}
END_TEST

/* What more data may cost of the host's memory beside frames: a 64th of it (page tables are 8
 * bytes a page, and a heap has records of its blocks), and 1 MiB. */
START_TEST(more_data_takes_little_more_of_other_memory)
{
	worker *run = _i == 0 ? use_mapping : use_heap;
	const struct work little = { "memory=8M,store=file", 32 * MIB, 1 };
	const struct work much = { "memory=8M,store=file", 256 * MIB, 1 };
	struct peak a = watch(run, &little, false), b = watch(run, &much, false);
	ck_assert_uint_le(b.usage.anonymous,
	                  a.usage.anonymous + (much.data - little.data) / 64 + MIB);
	ck_assert_uint_le(b.usage.shared, a.usage.shared + 2 * MIB);
}
END_TEST

/* A reservation: addresses, and nothing else. */
START_TEST(a_space_of_a_tib_costs_under_a_mib)
{
	upage_space *spaces[16];
	struct machine machine = machine_make("memory=16M");
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.length = (size_t)1 << 40;
	config.levels = _i == 0 ? 0 : 2;
	for (unsigned i = 0; i < 16; i++) {
		struct usage before = usage_of(getpid());
		ck_assert_ok(upage_space_create(&spaces[i], machine.pool, &config));
		struct usage after = usage_of(getpid());
		ck_assert_uint_lt(after.all, before.all + MIB);
		ck_assert_uint_lt(after.tables, before.tables + MIB);
	}
	for (unsigned i = 0; i < 16; i++)
		ck_assert_ok(upage_space_destroy(spaces[i]));
	machine_end(machine);
}
END_TEST

/* ---- Sparse data, and the host's limit of mappings ------------------------------------- */

#define SPARSE_PAGES ((size_t)(8 * GIB / 4096))
#define SPARSE_TOUCHES 250000

/* Distinct pages in no order: i * odd number, modulo a power of two. */
static size_t sparse_page(size_t i)
{
	return (size_t)((i * UINT64_C(0x9e3779b97f4a7c15) + 12345) % SPARSE_PAGES);
}

static void use_sparsely(const struct work *work)
{
	struct machine machine = worker_machine(work->words);
	struct upage_stats stats = { .size = sizeof(stats) };
	void *address = NULL;
	need(upage_map(machine.space, &address, work->data, RW, 0, NULL, 0) == 0);
	char *data = address;
	for (size_t i = 0; i < SPARSE_TOUCHES; i++)
		*(uint64_t *)(void *)(data + sparse_page(i) * PAGE + i % 500 * 8) = i + 1;
	for (size_t i = 0; i < SPARSE_TOUCHES; i += 17)
		need(*(uint64_t *)(void *)(data + sparse_page(i) * PAGE + i % 500 * 8) == i + 1);
	need(upage_stats_get(machine.pool, &stats) == 0);
	need(stats.zero_fill == SPARSE_TOUCHES);
	need(stats.failed == 0);
	need(stats.host_mappings_peak <= stats.mapping_budget);
	need(upage_pool_verify(machine.pool) == 0);
}

START_TEST(sparse_data_stays_under_the_hosts_limit_of_mappings)
{
	const struct work work = { "memory=512M,mapping=remap", 8 * GIB, 1 };
	struct peak peak = watch(use_sparsely, &work, true);
	ck_assert_uint_ge(peak.samples, 3);
	ck_assert_uint_lt(peak.mappings, mapping_limit());
	ck_assert_uint_ge(peak.mappings, mapping_limit() / 4); /* it came near */
	ck_assert_uint_le(peak.usage.shared, 514 * MIB);
}
END_TEST

/* The same far below the limit, by order: what the library says of itself is what is so. */
static void use_with_small_budget(const struct work *work)
{
	struct machine machine = worker_machine(work->words);
	struct upage_stats stats = { .size = sizeof(stats) };
	size_t before = mappings_of(getpid()), most = 0;
	void *address = NULL;
	need(upage_map(machine.space, &address, work->data, RW, 0, NULL, 0) == 0);
	char *data = address;
	for (size_t i = 0; i < 8000; i++) {
		data[sparse_page(i) % (work->data / PAGE) * PAGE] = 1;
		if (i % 200 == 0)
			raise_to(&most, mappings_of(getpid()));
	}
	need(upage_stats_get(machine.pool, &stats) == 0);
	need(stats.mapping_budget == 1000);
	need(stats.host_mappings_peak <= 1000);
	need(stats.host_mappings_peak >= 800);
	need(most <= before + 1000);
	need(upage_pool_verify(machine.pool) == 0);
}

START_TEST(a_budget_of_mappings_is_kept)
{
	const struct work work = { "memory=32M,mapping=remap,mapping-budget=1000", GIB, 1 };
	watch(use_with_small_budget, &work, false);
}
END_TEST

static int set_read_only(upage_space *space, char *page)
{
	return upage_protect(space, page, PAGE, PROT_READ);
}

static int drop(upage_space *space, char *page)
{
	return upage_advise(space, page, PAGE, UPAGE_DONTNEED);
}

static int unmap(upage_space *space, char *page)
{
	return upage_unmap(space, page, PAGE);
}

static int (*change)(upage_space *space, char *page);

/* One long run of resident pages, then a hole or another protection in every other of them. */
static void change_every_other_page(const struct work *work)
{
	struct machine machine = worker_machine(work->words);
	struct upage_stats stats = { .size = sizeof(stats) };
	size_t before = mappings_of(getpid()), most = 0, pages = work->data / PAGE;
	void *address = NULL;
	need(upage_map(machine.space, &address, work->data, RW, 0, NULL, 0) == 0);
	char *data = address;
	for (size_t i = 0; i < pages; i++)
		data[i * PAGE] = 1;
	for (size_t i = 0; i < pages; i += 2) {
		need(change(machine.space, data + i * PAGE) == 0);
		if (i % 256 == 0)
			raise_to(&most, mappings_of(getpid()));
	}
	for (size_t i = 1; i < pages; i += 2)
		need(data[i * PAGE] == 1);
	need(upage_stats_get(machine.pool, &stats) == 0);
	need(stats.failed == 0);
	need(stats.host_mappings_peak <= stats.mapping_budget);
	need(most <= before + stats.mapping_budget);
	need(upage_pool_verify(machine.pool) == 0);
}

START_TEST(holes_and_protections_keep_the_budget_of_mappings)
{
	static int (*const changes[])(upage_space *, char *) = { set_read_only, drop, unmap };
	const struct work work = { "memory=16M,mapping=remap,mapping-budget=1000", 16 * MIB, 1 };
	change = changes[_i];
	watch(change_every_other_page, &work, false);
}
END_TEST

/* ---- All of it ------------------------------------------------------------------------- */

int main(void)
{
	Suite *suite = suite_create("rss");
	TCase *tests = tcase_create("rss");
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, a_mapping_has_no_more_frames_than_memory, 0, 4);
	tcase_add_loop_test(tests, a_heap_has_no_more_frames_than_memory, 0, 2);
	tcase_add_loop_test(tests, more_data_takes_little_more_of_other_memory, 0, 2);
	tcase_add_loop_test(tests, a_space_of_a_tib_costs_under_a_mib, 0, 2);
	tcase_add_test(tests, sparse_data_stays_under_the_hosts_limit_of_mappings);
	tcase_add_test(tests, a_budget_of_mappings_is_kept);
	tcase_add_loop_test(tests, holes_and_protections_keep_the_budget_of_mappings, 0, 3);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
