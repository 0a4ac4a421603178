/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_swap.c - where does swap lie, who owns a slot of it, and does its page come back?
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"
#include "store.h"
#include "support_directory.h"

static char page[PAGE];

static int swap_at(struct swap **out, const char *path, uint64_t bytes, unsigned page_shift, const char **used)
{
	const struct swap_config config = { .path = path, .bytes = bytes, .page_shift = page_shift };
	return swap_create(out, &config, used);
}

/* ---- Where ----------------------------------------------------------------------------- */

/* The descriptor that was opened last: what the swap file has. */
static int newest_descriptor(const bool *before, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!before[i] && fcntl((int)i, F_GETFD) >= 0)
			return (int)i;
	ck_abort_msg("no descriptor was opened");
	return -1;
}

static struct swap *swap_with_descriptor(const char *path, uint64_t bytes, unsigned page_shift,
                                         int *descriptor)
{
	bool before[4096];
	for (int i = 0; i < 4096; i++)
		before[i] = fcntl(i, F_GETFD) >= 0;
	struct swap *swap = NULL;
	const char *used;
	ck_assert_ok(swap_at(&swap, path, bytes, page_shift, &used));
	ck_assert_ptr_nonnull(swap);
	*descriptor = newest_descriptor(before, 4096);
	return swap;
}

static struct swap *swap_make(uint64_t slots)
{
	struct swap *swap = NULL;
	const char *used;
	ck_assert_ok(swap_at(&swap, directory, slots * PAGE, 12, &used));
	return swap;
}

START_TEST(swap_in_a_directory_has_no_name)
{
	int descriptor;
	struct swap *swap = swap_with_descriptor(directory, 64 * PAGE, 12, &descriptor);
	struct stat status, parent;
	ck_assert_uint_eq(entries(directory), 0);
	ck_assert_int_eq(fstat(descriptor, &status), 0);
	ck_assert_int_eq(stat(directory, &parent), 0);
	ck_assert_uint_eq(status.st_nlink, 0);
	ck_assert_uint_eq(status.st_dev, parent.st_dev);
	ck_assert_uint_eq(status.st_mode & 0777, 0600);
	ck_assert_int_ne(fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
	swap_destroy(swap);
	ck_assert_uint_eq(entries(directory), 0);
}
END_TEST

START_TEST(swap_of_a_new_name_loses_it_at_once)
{
	int descriptor;
	struct stat status;
	struct swap *swap = swap_with_descriptor(in_directory("file"), 64 * PAGE, 12, &descriptor);
	ck_assert_uint_eq(entries(directory), 0);
	ck_assert_int_eq(fstat(descriptor, &status), 0);
	ck_assert_uint_eq(status.st_nlink, 0);
	ck_assert_uint_eq(status.st_mode & 0777, 0600);
	ck_assert_int_ne(fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
	swap_destroy(swap);
}
END_TEST

START_TEST(swap_without_a_path_goes_to_tmpdir)
{
	int descriptor;
	char link[64], name[512] = "";
	ck_assert_int_eq(setenv("TMPDIR", directory, 1), 0);
	struct swap *swap = swap_with_descriptor("", 64 * PAGE, 12, &descriptor);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
	ck_assert_int_gt(readlink(link, name, sizeof(name) - 1), 0);
	ck_assert_int_eq(strncmp(name, directory, strlen(directory)), 0);
	swap_destroy(swap);
	const char *used = NULL;
	ck_assert_int_eq(setenv("TMPDIR", "", 1), 0);
	ck_assert_ok(swap_at(&swap, "", 64 * PAGE, 12, &used));
	ck_assert_str_eq(used, "/tmp");
	swap_destroy(swap);
	ck_assert_int_eq(unsetenv("TMPDIR"), 0);
	ck_assert_ok(swap_at(&swap, "", 64 * PAGE, 12, &used));
	ck_assert_str_eq(used, "/tmp");
	swap_destroy(swap);
}
END_TEST

/* Swap at @path is refused with @expected, says which path, and leaves nothing behind. */
static void expect_refused(const char *path, int expected)
{
	struct swap *const untouched = (struct swap *)(void *)page;
	struct swap *swap = untouched;
	const char *used = NULL;
	size_t descriptors = open_descriptors();
	size_t metadata = host_metadata_bytes();
	errno = 1234;
	ck_assert_int_eq(swap_at(&swap, path, 64 * PAGE, 12, &used), expected);
	ck_assert_int_eq(errno, 1234);
	ck_assert_str_eq(used, path);
	ck_assert_ptr_eq(swap, untouched);
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
}

START_TEST(swap_never_overwrites_a_file)
{
	expect_refused(file_make("file", 5000), -EEXIST);
	static char found[8192];
	ck_assert_uint_eq(file_read_all("file", found, sizeof(found)), 5000);
	for (size_t i = 0; i < 5000; i++)
		must(found[i] == file_byte(i));
	ck_assert_uint_eq(entries(directory), 1);
}
END_TEST

START_TEST(swap_in_a_directory_that_is_missing_is_refused)
{
	expect_refused(in_directory("none/file"), -ENOENT);
	file_make("file", 1);
	expect_refused(in_directory("file/file"), -ENOTDIR);
	ck_assert_uint_eq(entries(directory), 1);
}
END_TEST

START_TEST(swap_does_not_follow_a_link_to_nowhere)
{
	ck_assert_int_eq(symlink("other", in_directory("link")), 0);
	expect_refused(in_directory("link"), -EEXIST);
	ck_assert_int_eq(access(in_directory("other"), F_OK), -1);
}
END_TEST

/* None of the machine's devices here: a library that is broken would unlink it. */
START_TEST(swap_on_what_is_neither_disk_nor_directory_is_refused)
{
	ck_assert_int_eq(mkfifo(in_directory("fifo"), 0600), 0);
	expect_refused(in_directory("fifo"), -EEXIST);
	ck_assert_int_eq(access(in_directory("fifo"), F_OK), 0);
}
END_TEST

START_TEST(swap_that_was_destroyed_leaves_nothing)
{
	size_t descriptors = open_descriptors();
	size_t metadata = host_metadata_bytes();
	struct swap *swap = swap_make(1000);
	ck_assert_uint_eq(open_descriptors(), descriptors + 1);
	swap_destroy(swap);
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
	ck_assert_uint_eq(entries(directory), 0);
}
END_TEST

/* The map of unlimited swap is 128 MiB of address space; the rest fits into 16 MiB. */
START_TEST(swap_without_room_for_its_map_leaves_nothing)
{
	size_t descriptors = open_descriptors();
	size_t metadata = host_metadata_bytes();
	struct rlimit saved, low;
	ck_assert_int_eq(getrlimit(RLIMIT_AS, &saved), 0);
	low = saved;
	low.rlim_cur = process_size().address_space * PAGE + (16 << 20);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &low), 0);
	struct swap *swap = NULL;
	const char *used;
	int result = swap_at(&swap, directory, 0, 12, &used);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &saved), 0);
	ck_assert_int_eq(result, UPAGE_ENOMEM);
	ck_assert_ptr_null(swap);
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
}
END_TEST

/* In a child of its own: only the privileged have the limit back. */
static void make_without_room_for_a_page(void)
{
	static const rlim_t limits[] = { PAGE - 1, 0 };
	size_t metadata = host_metadata_bytes(), descriptors = open_descriptors();
	for (size_t i = 0; i < LENGTH(limits); i++) {
		const struct rlimit limit = { limits[i], limits[i] };
		struct swap *swap = NULL;
		const char *used;
		if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || swap_at(&swap, directory, 0, 12, &used) != -EFBIG ||
		    swap_at(&swap, directory, 8 * PAGE, 12, &used) != -EFBIG || swap != NULL)
			_exit(1);
	}
	_exit(host_metadata_bytes() == metadata && open_descriptors() == descriptors ? 0 : 2);
}

START_TEST(a_limit_of_files_below_a_page_is_what_refuses_swap)
{
	char said[200];
	ck_assert_int_eq(in_child(make_without_room_for_a_page, said, sizeof(said)), 0);
}
END_TEST

/* ---- Slots ----------------------------------------------------------------------------- */

START_TEST(a_limit_gives_just_so_many_slots)
{
	static const uint64_t limits[] = { 1, 63, 64, 65, 1000, 4097 };
	uint64_t limit = limits[_i];
	bool *taken = calloc(limit, sizeof(*taken));
	struct swap *swap = swap_make(limit);
	ck_assert_uint_eq(swap_slots(swap), limit);
	ck_assert_uint_eq(swap_used(swap), 0);
	for (uint64_t i = 0; i < limit; i++) {
		must(!swap_is_full(swap));
		uint32_t slot = swap_allocate(swap, SWAP_NONE);
		must(slot < limit && !taken[slot]);
		taken[slot] = true;
		must(swap_used(swap) == i + 1);
	}
	ck_assert(swap_is_full(swap));
	ck_assert_uint_eq(swap_allocate(swap, SWAP_NONE), SWAP_NONE);
	ck_assert_uint_eq(swap_allocate(swap, 0), SWAP_NONE);
	ck_assert_uint_eq(swap_used(swap), limit);
	/* The one that comes free is the one that is had. */
	uint32_t middle = (uint32_t)(limit / 2);
	swap_free(swap, middle);
	ck_assert(!swap_is_full(swap));
	ck_assert_uint_eq(swap_allocate(swap, SWAP_NONE), middle);
	for (uint32_t slot = 0; slot < limit; slot++)
		swap_free(swap, slot);
	swap_destroy(swap);
	free(taken);
}
END_TEST

START_TEST(a_part_of_a_page_is_no_slot)
{
	struct swap *swap = NULL;
	const char *used;
	ck_assert_ok(swap_at(&swap, directory, 3 * PAGE + PAGE - 1, 12, &used));
	ck_assert_uint_eq(swap_slots(swap), 3);
	swap_destroy(swap);
	ck_assert_ok(swap_at(&swap, directory, 3 << 21, 21, &used));
	ck_assert_uint_eq(swap_slots(swap), 3);
	swap_destroy(swap);
}
END_TEST

START_TEST(swap_without_a_limit_goes_on_past_a_million_slots)
{
	struct swap *swap = NULL;
	const char *used;
	ck_assert_ok(swap_at(&swap, directory, 0, 12, &used));
	ck_assert_uint_gt(swap_slots(swap), 1 << 20);
	ck_assert_uint_lt(swap_slots(swap), SWAP_NONE);
	uint32_t far = swap_allocate(swap, (1 << 20) + 5);
	ck_assert_uint_eq(far, (1 << 20) + 5);
	ck_assert(!swap_is_full(swap));
	swap_free(swap, far);
	swap_destroy(swap);
}
END_TEST

START_TEST(a_slot_has_one_owner_in_a_long_life)
{
	static const uint64_t limits[] = { 100, 1000, 8192 };
	uint64_t limit = limits[_i], random = 3, count = 0;
	bool *taken = calloc(limit, sizeof(*taken));
	uint32_t *slots = calloc(limit, sizeof(*slots));
	struct swap *swap = swap_make(limit);
	for (unsigned step = 0; step < 100000; step++) {
		bool take = random_number(&random) % 8 < (step / 10000 % 2 == 0 ? 6 : 2);
		if (count == 0 || (take && random_number(&random) % 50 != 0)) {
			uint32_t near = random_number(&random) % 2 == 0
			                        ? SWAP_NONE
			                        : (uint32_t)(random_number(&random) % (limit + 10));
			uint32_t slot = swap_allocate(swap, near);
			must((slot == SWAP_NONE) == (count == limit));
			if (slot == SWAP_NONE)
				continue;
			must(slot < limit && !taken[slot]);
			must(near >= limit || taken[near] || slot == near);
			taken[slot] = true;
			slots[count++] = slot;
		} else {
			uint64_t which = random_number(&random) % count;
			uint32_t slot = slots[which];
			slots[which] = slots[--count];
			taken[slot] = false;
			swap_free(swap, slot);
		}
		must(swap_used(swap) == count);
	}
	while (count > 0)
		swap_free(swap, slots[--count]);
	ck_assert_uint_eq(swap_used(swap), 0);
	swap_destroy(swap);
	free(taken);
	free(slots);
}
END_TEST

START_TEST(the_slot_that_is_wanted_is_given_if_it_is_free)
{
	struct swap *swap = swap_make(1000);
	ck_assert_uint_eq(swap_allocate(swap, 777), 777);
	ck_assert_uint_eq(swap_allocate(swap, 778), 778);
	uint32_t other = swap_allocate(swap, 777);
	ck_assert_uint_lt(other, 1000);
	ck_assert_uint_ne(other, 777);
	ck_assert_uint_ne(other, 778);
	uint32_t past = swap_allocate(swap, 1000); /* of the last slot's neighbour */
	ck_assert_uint_lt(past, 1000);
	swap_free(swap, 777);
	swap_free(swap, 778);
	swap_free(swap, other);
	swap_free(swap, past);
	swap_destroy(swap);
}
END_TEST

START_TEST(pages_that_leave_one_after_another_lie_one_after_another)
{
	struct swap *swap = swap_make(1000);
	uint32_t first = swap_allocate(swap, SWAP_NONE);
	for (uint32_t i = 1; i < 200; i++)
		ck_assert_uint_eq(swap_allocate(swap, SWAP_NONE), first + i);
	for (uint32_t i = 0; i < 200; i++)
		swap_free(swap, first + i);
	swap_destroy(swap);
}
END_TEST

START_TEST(a_run_of_slots_is_beside_the_neighbour_or_where_it_fits)
{
	struct swap *swap = swap_make(200);
	uint32_t first = 0;
	ck_assert_uint_eq(swap_allocate_run(swap, 100, 16, &first), 16);
	ck_assert_uint_eq(first, 100);
	ck_assert_uint_eq(swap_used(swap), 16);
	/* Across a border of words, and up to what is taken. */
	ck_assert_uint_eq(swap_allocate_run(swap, 60, 64, &first), 40);
	ck_assert_uint_eq(first, 60);
	/* What is wanted is taken: 60 in front, 84 behind. */
	ck_assert_uint_eq(swap_allocate_run(swap, 100, 64, &first), 64);
	ck_assert_uint_ge(first, 116);
	for (uint32_t slot = first; slot < first + 64; slot++)
		swap_free(swap, slot);
	/* Nothing of that length is left: the longest there is. */
	ck_assert_uint_eq(swap_allocate_run(swap, 190, 10, &first), 10);
	ck_assert_uint_eq(swap_allocate_run(swap, 130, 1, &first), 1);
	ck_assert_uint_eq(first, 130);
	/* 0 to 59, 116 to 129, 131 to 189: */
	ck_assert_uint_eq(swap_allocate_run(swap, SWAP_NONE, 64, &first), 60);
	ck_assert_uint_eq(first, 0);
	ck_assert_uint_eq(swap_allocate_run(swap, SWAP_NONE, 64, &first), 59);
	ck_assert_uint_eq(first, 131);
	ck_assert_uint_eq(swap_allocate_run(swap, SWAP_NONE, 64, &first), 14);
	ck_assert_uint_eq(first, 116);
	ck_assert_uint_eq(swap_allocate_run(swap, SWAP_NONE, 64, &first), 0);
	ck_assert(swap_is_full(swap));
	for (uint32_t slot = 0; slot < 200; slot++)
		swap_free(swap, slot);
	swap_destroy(swap);
}
END_TEST

START_TEST(runs_of_slots_have_one_owner_in_a_long_life)
{
	static const uint64_t limits[] = { 70, 1000, 8192 };
	uint64_t limit = limits[_i], random = 5, count = 0, pieces = 0;
	bool *taken = calloc(limit, sizeof(*taken));
	struct swap *swap = swap_make(limit);
	for (unsigned step = 0; step < 20000; step++) {
		if (random_number(&random) % 8 < (step / 2000 % 2 == 0 ? 6 : 2)) {
			unsigned wanted = 1 + (unsigned)(random_number(&random) % SWAP_RUN_MAX);
			uint32_t first = 0, near = random_number(&random) % 2 == 0
			                                 ? SWAP_NONE
			                                 : (uint32_t)(random_number(&random) % (limit + 10));
			unsigned run = swap_allocate_run(swap, near, wanted, &first);
			must(run <= wanted && (run == 0) == (count == limit));
			must(run == 0 || near >= limit || taken[near] || first == near);
			for (uint32_t slot = first; slot < first + run; slot++) {
				must(slot < limit && !taken[slot]);
				taken[slot] = true;
			}
			count += run;
			pieces += run > 0 && run < wanted;
		} else {
			uint64_t start = random_number(&random) % limit;
			for (uint64_t slot = start; slot < limit && slot < start + 48; slot++) {
				if (!taken[slot])
					continue;
				taken[slot] = false;
				swap_free(swap, (uint32_t)slot);
				count--;
			}
		}
		must(swap_used(swap) == count);
	}
	ck_assert_uint_gt(pieces, 100); /* it was tight, too */
	for (uint32_t slot = 0; slot < limit; slot++)
		if (taken[slot])
			swap_free(swap, slot);
	swap_destroy(swap);
	free(taken);
}
END_TEST

#define THREADS 4

static struct swap *shared_swap;
static _Atomic unsigned owner[512];

static void *take_and_give(void *argument)
{
	uint64_t random = (uintptr_t)argument, clashes = 0;
	uint32_t mine[100];
	unsigned held = 0;
	for (unsigned i = 0; i < 5000 || held > 0; i++) {
		if (i < 5000 && held < 100 && random_number(&random) % 2 == 0) {
			uint32_t near = held > 0 ? mine[held - 1] + 1 : SWAP_NONE;
			uint32_t slot = swap_allocate(shared_swap, near);
			clashes += slot >= 512 || atomic_exchange(&owner[slot], 1) != 0;
			mine[held++] = slot;
		} else if (held > 0) {
			unsigned which = (unsigned)(random_number(&random) % held);
			uint32_t slot = mine[which];
			mine[which] = mine[--held];
			atomic_store(&owner[slot], 0);
			swap_free(shared_swap, slot);
		}
	}
	return (void *)(uintptr_t)clashes;
}

START_TEST(no_two_threads_get_the_same_slot)
{
	pthread_t threads[THREADS];
	shared_swap = swap_make(512);
	for (uintptr_t t = 0; t < THREADS; t++) {
		void *seed = (void *)(t + 1);
		ck_assert_int_eq(pthread_create(&threads[t], NULL, take_and_give, seed), 0);
	}
	for (unsigned t = 0; t < THREADS; t++) {
		void *clashes;
		ck_assert_int_eq(pthread_join(threads[t], &clashes), 0);
		ck_assert_ptr_null(clashes);
	}
	ck_assert_uint_eq(swap_used(shared_swap), 0);
	swap_destroy(shared_swap);
}
END_TEST

/* ---- Content --------------------------------------------------------------------------- */

START_TEST(a_slot_gives_back_its_page)
{
	static const unsigned shifts[] = { 12, 16, 21 };
	size_t size = (size_t)1 << shifts[_i];
	char *written = malloc(size), *found = malloc(size);
	struct swap *swap = NULL;
	const char *used;
	ck_assert_ok(swap_at(&swap, directory, 16 * size, shifts[_i], &used));
	for (uint32_t slot = 0; slot < 8; slot++) {
		ck_assert_uint_eq(swap_allocate(swap, slot), slot);
		random_bytes(written, size, slot);
		ck_assert_ok(swap_transfer(swap, STORE_WRITE, slot, written));
	}
	for (uint32_t slot = 8; slot-- > 0;) {
		random_bytes(written, size, slot);
		ck_assert_ok(swap_transfer(swap, STORE_READ, slot, found));
		ck_assert_mem_eq(found, written, size);
		swap_free(swap, slot);
	}
	swap_destroy(swap);
	free(written);
	free(found);
}
END_TEST

/* Each by itself, and several at once: the same content. */
START_TEST(a_run_of_slots_moves_by_one_request)
{
	enum { RUN = 16 };
	static char run[RUN * PAGE], found[RUN * PAGE];
	struct swap *swap = swap_make(256);
	uint32_t first = 0;
	ck_assert_uint_eq(swap_allocate_run(swap, 57, RUN, &first), RUN);
	random_bytes(run, sizeof(run), 3);
	ck_assert_ok(swap_transfer_run(swap, STORE_WRITE, first, RUN, run));
	for (uint32_t i = 0; i < RUN; i++) {
		ck_assert_ok(swap_transfer(swap, STORE_READ, first + i, page));
		ck_assert_mem_eq(page, run + i * PAGE, PAGE);
	}
	random_bytes(page, PAGE, 4);
	ck_assert_ok(swap_transfer(swap, STORE_WRITE, first + 5, page));
	memcpy(run + 5 * PAGE, page, PAGE);
	ck_assert_ok(swap_transfer_run(swap, STORE_READ, first, RUN, found));
	ck_assert_mem_eq(found, run, sizeof(run));
	for (uint32_t i = 0; i < RUN; i++)
		swap_free(swap, first + i);
	swap_destroy(swap);
}
END_TEST

/* Slots come free in random order, stretches are punched out: what is still owned stays. */
START_TEST(a_page_in_swap_outlives_the_punching_around_it)
{
	enum { SLOTS = 320 };
	uint64_t random = 9, seeds[SLOTS] = { 0 };
	static char found[PAGE];
	struct swap *swap = swap_make(SLOTS);
	for (unsigned step = 0; step < 20000; step++) {
		uint32_t slot = (uint32_t)(random_number(&random) % SLOTS);
		if (seeds[slot] == 0) {
			/* Few stretches are in use at a time, so that most empty out often. */
			if (slot / 64 != step / 100 % 5 && random_number(&random) % 40 != 0)
				continue;
			must(swap_allocate(swap, slot) == slot);
			seeds[slot] = step + 1;
			random_bytes(page, PAGE, seeds[slot]);
			must(swap_transfer(swap, STORE_WRITE, slot, page) == 0);
		} else {
			random_bytes(page, PAGE, seeds[slot]);
			must(swap_transfer(swap, STORE_READ, slot, found) == 0);
			must(memcmp(found, page, PAGE) == 0);
			seeds[slot] = 0;
			swap_free(swap, slot);
		}
	}
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		if (seeds[slot] != 0)
			swap_free(swap, slot);
	swap_destroy(swap);
}
END_TEST

static blkcnt_t blocks_of(int descriptor)
{
	struct stat status;
	ck_assert_int_eq(fsync(descriptor), 0);
	ck_assert_int_eq(fstat(descriptor, &status), 0);
	return status.st_blocks;
}

/* Whether the file system can: tried where nothing is. */
static bool can_punch(int descriptor)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	return fallocate(descriptor, mode, 1 << 30, 4096) == 0;
}

START_TEST(a_stretch_of_slots_that_is_all_free_gives_its_medium_back)
{
	int descriptor;
	struct swap *swap = swap_with_descriptor(directory, 1000 * PAGE, 12, &descriptor);
	static char found[PAGE];
	random_bytes(page, PAGE, 1);
	for (uint32_t slot = 0; slot < 192; slot++) {
		ck_assert_uint_eq(swap_allocate(swap, slot), slot);
		ck_assert_ok(swap_transfer(swap, STORE_WRITE, slot, page));
	}
	blkcnt_t full = blocks_of(descriptor);
	for (uint32_t slot = 64; slot < 127; slot++)
		swap_free(swap, slot);
	ck_assert_int_eq(blocks_of(descriptor), full); /* one slot of the stretch is still taken */
	swap_free(swap, 127);
	if (can_punch(descriptor)) /* or it is a file system that cannot */
		ck_assert_int_le(blocks_of(descriptor), full - 64 * 8 + 16);
	for (uint32_t slot = 0; slot < 192; slot++) {
		if (slot / 64 == 1)
			continue;
		ck_assert_ok(swap_transfer(swap, STORE_READ, slot, found));
		ck_assert_mem_eq(found, page, PAGE);
	}
	for (uint32_t slot = 0; slot < 192; slot++)
		if (slot / 64 != 1)
			swap_free(swap, slot);
	swap_destroy(swap);
}
END_TEST

START_TEST(swap_on_a_medium_without_room_is_full_until_a_slot_comes_free)
{
	int descriptor, full = open("/dev/full", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(full, 0);
	struct swap *swap = swap_with_descriptor(directory, 100 * PAGE, 12, &descriptor);
	int medium = dup(descriptor);
	uint32_t first = swap_allocate(swap, SWAP_NONE), second = swap_allocate(swap, SWAP_NONE);
	ck_assert_ok(swap_transfer(swap, STORE_WRITE, first, page));
	ck_assert(!swap_is_full(swap));
	ck_assert_int_eq(dup2(full, descriptor), descriptor);
	ck_assert_int_eq(swap_transfer(swap, STORE_WRITE, second, page), -ENOSPC);
	ck_assert(swap_is_full(swap));
	swap_free(swap, second);
	ck_assert(!swap_is_full(swap));
	second = swap_allocate(swap, SWAP_NONE);
	ck_assert_int_eq(swap_transfer(swap, STORE_WRITE, second, page), -ENOSPC);
	ck_assert(swap_is_full(swap));
	ck_assert_int_eq(dup2(medium, descriptor), descriptor); /* somebody made room */
	ck_assert_ok(swap_transfer(swap, STORE_WRITE, second, page));
	ck_assert(!swap_is_full(swap));
	swap_free(swap, first);
	swap_free(swap, second);
	swap_destroy(swap);
}
END_TEST

/* ---- Past the page cache --------------------------------------------------------------- */

/* NULL: the file system cannot. */
static struct swap *swap_direct(int *descriptor)
{
	bool before[4096];
	for (int i = 0; i < 4096; i++)
		before[i] = fcntl(i, F_GETFD) >= 0;
	const struct swap_config config = { .direct = true, .path = directory, .page_shift = 12 };
	struct swap *swap = NULL;
	const char *used;
	int result = swap_create(&swap, &config, &used);
	if (result == UPAGE_ENOTSUP)
		return NULL;
	ck_assert_ok(result);
	*descriptor = newest_descriptor(before, 4096);
	return swap;
}

/* Of the first of a file, in the host's page cache. */
static size_t cached_pages(int descriptor, size_t pages)
{
	char name[64];
	unsigned char there[256];
	size_t count = 0;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", descriptor);
	int again = open(name, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(again, 0);
	void *shown = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, again, 0);
	ck_assert_ptr_ne(shown, MAP_FAILED);
	ck_assert_int_eq(mincore(shown, pages * PAGE, there), 0);
	for (size_t i = 0; i < pages; i++)
		count += there[i] & 1;
	munmap(shown, pages * PAGE);
	close(again);
	return count;
}

START_TEST(what_is_swapped_directly_is_on_the_disk_alone)
{
	enum { RUN = 16 };
	static _Alignas(PAGE) char written[RUN * PAGE], found[RUN * PAGE];
	int descriptor;
	struct swap *swap = swap_direct(&descriptor);
	if (swap == NULL)
		return;
	ck_assert_int_ne(fcntl(descriptor, F_GETFL) & O_DIRECT, 0);
	for (uint32_t slot = 0; slot < 64; slot += RUN) {
		uint32_t first;
		ck_assert_uint_eq(swap_allocate_run(swap, slot, RUN, &first), RUN);
		random_bytes(written, sizeof(written), slot);
		ck_assert_ok(swap_transfer_run(swap, STORE_WRITE, first, RUN, written));
	}
	for (uint32_t slot = 0; slot < 64; slot += RUN) {
		random_bytes(written, sizeof(written), slot);
		ck_assert_ok(swap_transfer(swap, STORE_READ, slot + 5, found));
		ck_assert_mem_eq(found, written + 5 * PAGE, PAGE);
		ck_assert_ok(swap_transfer_run(swap, STORE_READ, slot, RUN, found));
		ck_assert_mem_eq(found, written, sizeof(written));
		ck_assert_int_eq(swap_transfer(swap, STORE_READ_CACHED, slot, found), -EAGAIN);
	}
	ck_assert_uint_eq(cached_pages(descriptor, 64), 0);
	for (uint32_t slot = 0; slot < 64; slot++)
		swap_free(swap, slot);
	swap_destroy(swap);
}
END_TEST

START_TEST(a_file_system_that_is_its_page_cache_is_refused)
{
	/* In a namespace of its own: the mount goes with this process. Who may make none skips it. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", directory, "ramfs", 0, NULL) < 0)
		return;
	struct swap *swap = NULL;
	const char *used;
	const struct swap_config config = { .direct = true, .path = directory, .page_shift = 12 };
	size_t descriptors = open_descriptors(), metadata = host_metadata_bytes();
	ck_assert_int_eq(swap_create(&swap, &config, &used), UPAGE_ENOTSUP);
	ck_assert_ptr_null(swap);
	ck_assert_str_eq(used, directory);
	ck_assert_uint_eq(open_descriptors(), descriptors);
	ck_assert_uint_eq(host_metadata_bytes(), metadata);
	ck_assert_uint_eq(entries(directory), 0);
	struct upage_config pool = UPAGE_CONFIG_INIT;
	upage_pool *made = NULL;
	snprintf(pool.store, sizeof(pool.store), "file:%.200s,direct", directory);
	ck_assert_int_eq(upage_pool_create(&made, &pool), UPAGE_ENOTSUP);
	ck_assert_ptr_nonnull(strstr(pool.message, "direct"));
	ck_assert_ptr_nonnull(strstr(pool.message, directory));
	ck_assert_int_eq(umount(directory), 0);
}
END_TEST

static Suite *swap_suite(void)
{
	Suite *suite = suite_create("swap");
	TCase *where = tcase_with_directory(suite, "where");
	tcase_add_test(where, swap_in_a_directory_has_no_name);
	tcase_add_test(where, swap_of_a_new_name_loses_it_at_once);
	tcase_add_test(where, swap_without_a_path_goes_to_tmpdir);
	tcase_add_test(where, swap_never_overwrites_a_file);
	tcase_add_test(where, swap_in_a_directory_that_is_missing_is_refused);
	tcase_add_test(where, swap_does_not_follow_a_link_to_nowhere);
	tcase_add_test(where, swap_on_what_is_neither_disk_nor_directory_is_refused);
	tcase_add_test(where, swap_that_was_destroyed_leaves_nothing);
	tcase_add_test(where, swap_without_room_for_its_map_leaves_nothing);
	tcase_add_test(where, a_limit_of_files_below_a_page_is_what_refuses_swap);

	TCase *slots = tcase_with_directory(suite, "slots");
	tcase_set_timeout(slots, 60);
	tcase_add_loop_test(slots, a_limit_gives_just_so_many_slots, 0, 6);
	tcase_add_test(slots, a_part_of_a_page_is_no_slot);
	tcase_add_test(slots, swap_without_a_limit_goes_on_past_a_million_slots);
	tcase_add_loop_test(slots, a_slot_has_one_owner_in_a_long_life, 0, 3);
	tcase_add_test(slots, the_slot_that_is_wanted_is_given_if_it_is_free);
	tcase_add_test(slots, pages_that_leave_one_after_another_lie_one_after_another);
	tcase_add_test(slots, a_run_of_slots_is_beside_the_neighbour_or_where_it_fits);
	tcase_add_loop_test(slots, runs_of_slots_have_one_owner_in_a_long_life, 0, 3);
	tcase_add_test(slots, no_two_threads_get_the_same_slot);

	TCase *content = tcase_with_directory(suite, "content");
	tcase_set_timeout(content, 60);
	tcase_add_loop_test(content, a_slot_gives_back_its_page, 0, 3);
	tcase_add_test(content, a_run_of_slots_moves_by_one_request);
	tcase_add_test(content, a_page_in_swap_outlives_the_punching_around_it);
	tcase_add_test(content, a_stretch_of_slots_that_is_all_free_gives_its_medium_back);
	tcase_add_test(content, swap_on_a_medium_without_room_is_full_until_a_slot_comes_free);

	TCase *direct = tcase_with_directory(suite, "direct");
	tcase_add_test(direct, what_is_swapped_directly_is_on_the_disk_alone);
	tcase_add_test(direct, a_file_system_that_is_its_page_cache_is_refused);
	return suite;
}

int main(void)
{
	return run_suite(swap_suite());
}
