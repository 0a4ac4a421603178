/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_mapping.c - mapping=guard: pages at home, in a file where they lie by their addresses
 *
 * What other tests ask of pages in frames, in short; what is different, at length: what the host
 * has in the file, what it takes in mappings, and what becomes of a page whose memory cannot be used again
 * by another. Calls of the host are made to fail by the linker (--wrap), in this program alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "host.h"
#include "support_clone.h"
#include "support_json.h"

#define GUARD "mapping=guard,memory=64K" /* 16 frames */
#define SECRET 0x5a

static bool no_guards, no_laying, no_punching, no_joining, no_hiding;
static int protects = -1; /* so many, and the next is refused; fewer than none: all are made */

int __real_host_has_guards(void);
int __wrap_host_has_guards(void);
int __real_host_lay_guards(int file, uintptr_t start, size_t length);
int __wrap_host_lay_guards(int file, uintptr_t start, size_t length);
int __real_host_punch(int descriptor, off_t offset, size_t length);
int __wrap_host_punch(int descriptor, off_t offset, size_t length);
int __real_host_protect(uintptr_t page, size_t length, int prot);
int __wrap_host_protect(uintptr_t page, size_t length, int prot);
int __real_host_hide(uintptr_t page, size_t length);
int __wrap_host_hide(uintptr_t page, size_t length);

int __wrap_host_has_guards(void)
{
	return no_guards ? 0 : __real_host_has_guards();
}

int __wrap_host_lay_guards(int file, uintptr_t start, size_t length)
{
	return no_laying ? -ENOMEM : __real_host_lay_guards(file, start, length);
}

int __wrap_host_punch(int descriptor, off_t offset, size_t length)
{
	return no_punching ? -EIO : __real_host_punch(descriptor, offset, length);
}

int __wrap_host_protect(uintptr_t page, size_t length, int prot)
{
	bool refused = (no_joining && prot == RW) || (protects >= 0 && protects-- == 0);
	return refused ? -ENOMEM : __real_host_protect(page, length, prot);
}

int __wrap_host_hide(uintptr_t page, size_t length)
{
	return no_hiding ? -ENOMEM : __real_host_hide(page, length);
}

/* ---- What the host has ---------------------------------------------------------------------- */

/* Bytes in all files of memory of ours. */
static size_t memory_bytes(void)
{
	size_t bytes = 0;
	char path[64], name[64];
	struct stat status;
	for (int fd = 0; fd < 1 << 20; fd++) {
		fd = host_next_descriptor(fd);
		if (fd < 0)
			break;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t length = readlink(path, name, sizeof(name) - 1);
		name[length > 0 ? length : 0] = '\0';
		if (strstr(name, "memfd:upage") != NULL && fstat(fd, &status) == 0)
			bytes += (size_t)status.st_blocks * 512;
	}
	return bytes;
}

/* Of this process: mappings, as the kernel has them. */
static size_t mappings(void)
{
	size_t lines = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	ck_assert_ptr_nonnull(maps);
	for (int c; (c = getc(maps)) != EOF;)
		lines += c == '\n';
	fclose(maps);
	return lines;
}

static bool all_are(const char *memory, size_t bytes, char value)
{
	for (size_t i = 0; i < bytes; i++)
		if (((const volatile char *)memory)[i] != value)
			return false;
	return true;
}

/* ---- Content -------------------------------------------------------------------------------- */

#define THREADS 4

struct worker {
	pthread_t thread;
	char *memory;
	size_t pages;
	uint64_t random;
	uint64_t shadow[64];
};

/* Word @number of each page is this thread's. */
static void *work(void *argument)
{
	struct worker *w = argument;
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t number = random_number(&w->random);
		size_t page = number % w->pages;
		volatile uint64_t *word = (volatile uint64_t *)(void *)w->memory + page * WORDS;
		must(*word == w->shadow[page]);
		if (number & 1024)
			*word = w->shadow[page] = number;
	}
	return NULL;
}

START_TEST(threads_find_what_they_wrote_in_sixteen_frames)
{
	struct machine m = machine_make(GUARD);
	static struct worker workers[THREADS];
	char *memory = machine_map(m, 64, RW);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .memory = memory + i * 64, .pages = 64, .random = i };
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	ck_assert_uint_gt(machine_stats(m).evictions, 1000);
	ck_assert_uint_le(memory_bytes(), 16 * PAGE);
	machine_end(m);
}
END_TEST

START_TEST(what_is_resident_is_all_that_the_host_has)
{
	struct machine m = machine_make(GUARD);
	char *memory = machine_map(m, 200, RW);
	ck_assert_uint_eq(memory_bytes(), 0);
	for (size_t i = 0; i < 200; i++) {
		memset(memory + i * PAGE, SECRET, PAGE);
		ck_assert_uint_le(memory_bytes(), 16 * PAGE);
	}
	ck_assert_uint_eq(memory_bytes(), 16 * PAGE);
	ck_assert_ok(upage_unmap(m.space, memory, 200 * PAGE));
	ck_assert_uint_eq(memory_bytes(), 0);
	machine_end(m);
}
END_TEST

/* A frame that had a page of a space in frames has memory of its own, which goes. */
START_TEST(a_frame_has_memory_in_one_file)
{
	struct machine m = machine_make(GUARD);
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	upage_space *window;
	config.length = 2 * MIB;
	config.flags = UPAGE_SPACE_WINDOW;
	ck_assert_ok(upage_space_create(&window, m.pool, &config));
	ck_assert_ok(upage_switch(window));
	void *other = NULL;
	ck_assert_ok(upage_map(window, &other, 64 * PAGE, RW, 0, NULL, 0));
	char *memory = machine_map(m, 64, RW);
	for (size_t round = 0; round < 3; round++) {
		for (size_t i = 0; i < 64; i++)
			memset((char *)other + i * PAGE, (int)(i + round), PAGE);
		for (size_t i = 0; i < 64; i++)
			memset(memory + i * PAGE, (int)(i + round + 1), PAGE);
		ck_assert_uint_le(memory_bytes(), 16 * PAGE);
		for (size_t i = 0; i < 64; i++)
			must(all_are((char *)other + i * PAGE, PAGE, (char)(i + round)) &&
			     all_are(memory + i * PAGE, PAGE, (char)(i + round + 1)));
	}
	ck_assert_ok(upage_space_destroy(window));
	machine_end(m);
}
END_TEST

/* What is given up, in all ways, at the addresses where it was: there is nothing else that could find it. */
static void write_and_give_up(struct machine m, char *memory, size_t pages)
{
	memset(memory, SECRET, pages * PAGE);
	ck_assert_ok(upage_advise(m.space, memory, pages * PAGE, UPAGE_DONTNEED));
	must(all_are(memory, pages * PAGE, 0));
	memset(memory, SECRET, pages * PAGE);
	ck_assert_ok(upage_unmap(m.space, memory, pages * PAGE));
	void *again = memory;
	ck_assert_ok(upage_map(m.space, &again, pages * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
	must(all_are(memory, pages * PAGE, 0));
}

START_TEST(nothing_of_an_earlier_owner_is_seen)
{
	struct machine m = machine_make(GUARD ",prefetch=16");
	char *few = machine_map(m, 8, RW), *many = machine_map(m, 1200, RW);
	write_and_give_up(m, few, 8);
	write_and_give_up(m, many, 1200);
	/* The same addresses in another space, after this one. */
	upage_space *space;
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	config.length = 4 * MIB;
	for (int round = 0; round < 3; round++) {
		ck_assert_ok(upage_space_create(&space, m.pool, &config));
		config.address = upage_space_base(space);
		void *memory = config.address;
		ck_assert_ok(upage_map(space, &memory, 64 * PAGE, RW, UPAGE_MAP_FIXED, NULL, 0));
		must(all_are(memory, 64 * PAGE, 0));
		memset(memory, SECRET, 64 * PAGE);
		ck_assert_ok(upage_space_destroy(space));
	}
	machine_end(m);
}
END_TEST

START_TEST(where_no_hole_can_be_made_pages_are_zeroed)
{
	struct machine m = machine_make(GUARD ",prefetch=16");
	char *few = machine_map(m, 8, RW), *many = machine_map(m, 64, RW);
	no_punching = true;
	write_and_give_up(m, few, 8);
	write_and_give_up(m, many, 64);
	no_punching = false;
	machine_end(m);
}
END_TEST

/* A page that was only read is dirty, as far as anybody knows; but zeros need no slot. */
START_TEST(pages_that_were_only_read_find_swap_full)
{
	struct machine m = machine_make(GUARD ",swap-size=16K,overcommit");
	char *written = machine_map(m, 19, RW), *read = machine_map(m, 16, RW), *more = machine_map(m, 16, RW);
	for (size_t i = 0; i < 19; i++)
		memset(written + i * PAGE, (int)i + 1, PAGE);
	usleep(20000); /* nothing stays for its turn any more (turn.h) */
	must(all_are(read, 16 * PAGE, 0) && all_are(more, 16 * PAGE, 0));
	for (size_t i = 0; i < 19; i++)
		must(all_are(written + i * PAGE, PAGE, (char)(i + 1)));
	ck_assert_uint_eq(machine_stats(m).failed, 0);
	machine_end(m);
}
END_TEST

/* They are compared with their slots. */
START_TEST(pages_that_were_only_read_are_not_written_again)
{
	struct machine m = machine_make(GUARD ",store=file");
	char *memory = machine_map(m, 32, RW);
	for (size_t i = 0; i < 32; i++)
		memset(memory + i * PAGE, (int)i + 1, PAGE);
	ck_assert_ok(upage_advise(m.space, memory, 32 * PAGE, UPAGE_PAGEOUT));
	uint64_t before = machine_stats(m).writebacks;
	for (size_t round = 0; round < 10; round++)
		for (size_t i = 0; i < 32; i++)
			must(memory[i * PAGE + 100] == (char)(i + 1));
	ck_assert_uint_lt(machine_stats(m).writebacks - before, 64); /* of 320 that left */
	machine_end(m);
}
END_TEST

/* ---- Host mappings -------------------------------------------------------------------------- */

#define ISOLATED 41000

START_TEST(scattered_pages_take_few_host_mappings)
{
	struct machine m = machine_make("mapping=guard,memory=176M,prefetch=off");
	char *memory = machine_map(m, 2 * ISOLATED, RW);
	size_t before = mappings();
	for (size_t i = 0; i < ISOLATED; i++)
		*(volatile uint64_t *)(void *)(memory + 2 * i * PAGE) = i + 1;
	ck_assert_uint_le(mappings() - before, 8);
	ck_assert_uint_le(machine_stats(m).host_mappings_peak, 8);
	for (size_t i = 0; i < ISOLATED; i++)
		must(*(volatile uint64_t *)(void *)(memory + 2 * i * PAGE) == i + 1);
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_eq(stats.soft + stats.evictions, 0);
	ck_assert_uint_eq(machine_resident(m), ISOLATED);
	machine_end(m);
}
END_TEST

/* Leaves that lie apart take mappings, too. Loop: always at home; or once a quarter is in use. */
START_TEST(scattered_leaves_stay_within_the_budget)
{
	struct machine m = machine_make(_i == 0 ? "mapping=guard,memory=16M,mapping-budget=200"
	                                        : "mapping=auto,memory=16M,mapping-budget=2048");
	const size_t leaves = 4096; /* 8 GiB */
	char *memory = machine_map(m, leaves * 512, RW);
	size_t before = mappings();
	uint64_t random = 1;
	for (size_t i = 0; i < 2000; i++)
		*(volatile uint64_t *)(void *)(memory + random_number(&random) % (leaves * 512) * PAGE) = i + 1;
	random = 1;
	for (size_t i = 0; i < 2000; i++) {
		volatile uint64_t *word =
		        (volatile uint64_t *)(void *)(memory + random_number(&random) % (leaves * 512) * PAGE);
		must(*word > i);
	}
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_le(mappings() - before, stats.host_mappings);
	ck_assert_uint_le(stats.host_mappings_peak, stats.mapping_budget);
	ck_assert_uint_eq(stats.evictions + stats.failed, 0);
	ck_assert_uint_le(stats.soft, _i == 0 ? 0 : 100);
	machine_end(m);
}
END_TEST

/* With many frames for each mapping, nothing waits until mappings are short; nor where pages will leave to memory. */
START_TEST(many_frames_are_at_home_by_themselves)
{
	static const struct {
		const char *words;
		bool at_home;
	} all[] = { { "memory=16M,mapping-budget=2000,mapping=auto", true },
		    { "memory=16M,mapping-budget=2048,mapping=auto", false },
		    { "memory=16M,mapping-budget=2000,mapping=remap", false },
		    { "memory=1M,mapping=auto,store=lz4", true },
		    { "memory=2M,mapping=auto,store=lz4", false },
		    { "memory=1M,mapping=remap,store=lz4", false },
		    { "memory=1M,mapping=auto,store=file", false } };
	for (size_t i = 0; i < LENGTH(all); i++) {
		char words[100];
		snprintf(words, sizeof(words), "%s,prefetch=off", all[i].words);
		if (!machine_can_be(words))
			continue;
		struct machine m = machine_make(words);
		char *memory = machine_map(m, 400, RW);
		for (size_t page = 0; page < 200; page++)
			memory[2 * page * PAGE] = 1;
		ck_assert_int_eq(machine_stats(m).host_mappings < 100, all[i].at_home);
		machine_end(m);
	}
}
END_TEST

/* And where all pages are in frames: they are hidden and shown again, in any order, and none is lost. */
START_TEST(frames_that_cannot_all_be_shown_come_by_soft_faults)
{
	struct machine m = machine_make("mapping=remap,memory=8M,mapping-budget=64,prefetch=off");
	char *memory = machine_map(m, 4000, RW);
	for (size_t i = 0; i < 2000; i++)
		*(volatile uint64_t *)(void *)(memory + 2 * i * PAGE) = i + 1;
	uint64_t random = 1;
	for (size_t i = 0; i < 20000; i++) {
		size_t page = random_number(&random) % 2000;
		must(*(volatile uint64_t *)(void *)(memory + 2 * page * PAGE) == page + 1);
	}
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_le(stats.host_mappings_peak, 64);
	ck_assert_uint_gt(stats.soft, 1000);
	ck_assert_uint_eq(stats.evictions + stats.failed, 0);
	machine_end(m);
}
END_TEST

/* What is unmapped gives back what the host had for it. */
START_TEST(unmapped_leaves_are_forgotten)
{
	struct machine m = machine_make(GUARD);
	char *memory = machine_map(m, 64 * 512, RW);
	size_t before = mappings();
	for (size_t leaf = 0; leaf < 64; leaf += 2)
		memory[leaf * 512 * PAGE] = 1;
	ck_assert_uint_ge(mappings(), before + 60);
	ck_assert_ok(upage_unmap(m.space, memory, 64 * 512 * PAGE));
	ck_assert_uint_le(mappings(), before + 2);
	machine_end(m);
}
END_TEST

/* ---- Protection, pins, locks ---------------------------------------------------------------- */

static sigjmp_buf escape;
static volatile int caught;

static void on_fault(int number)
{
	caught = number;
	siglongjmp(escape, 1);
}

static bool traps(volatile char *at, bool write)
{
	const struct sigaction action = { .sa_handler = on_fault };
	struct sigaction before;
	caught = 0;
	sigaction(SIGSEGV, &action, &before);
	if (sigsetjmp(escape, 1) == 0) {
		if (write)
			*at = 1;
		else
			(void)*at;
	}
	sigaction(SIGSEGV, &before, NULL);
	return caught == SIGSEGV;
}

START_TEST(protection_takes_mappings_only_while_it_differs)
{
	struct machine m = machine_make(GUARD);
	char *memory = machine_map(m, 64, RW);
	for (size_t i = 0; i < 64; i++)
		memset(memory + i * PAGE, (int)i + 1, PAGE);
	size_t before = mappings();
	for (int round = 0; round < 3; round++) {
		ck_assert_ok(upage_protect(m.space, memory + 20 * PAGE, 16 * PAGE, PROT_READ));
		for (size_t i = 0; i < 64; i++)
			must(all_are(memory + i * PAGE, PAGE, (char)(i + 1)));
		ck_assert(traps(memory + 25 * PAGE, true) && traps(memory + 35 * PAGE, true));
		must(!traps(memory + 36 * PAGE, true));
		must(memory[36 * PAGE] == 1);
		memory[36 * PAGE] = 37;
		ck_assert_ok(upage_pool_verify(m.pool));
		ck_assert_ok(upage_protect(m.space, memory + 22 * PAGE, 4 * PAGE, PROT_NONE));
		ck_assert(traps(memory + 22 * PAGE, false) && traps(memory + 25 * PAGE, false));
		must(all_are(memory + 21 * PAGE, PAGE, 22) && all_are(memory + 26 * PAGE, PAGE, 27));
		ck_assert_ok(upage_protect(m.space, memory, 64 * PAGE, RW));
		for (size_t i = 0; i < 64; i++)
			must(all_are(memory + i * PAGE, PAGE, (char)(i + 1)));
		for (size_t i = 0; i < 64; i++)
			memory[i * PAGE + 7] = (char)(i + 1);
		ck_assert_uint_le(mappings() - before, 2);
		ck_assert_ok(upage_pool_verify(m.pool));
	}
	machine_end(m);
}
END_TEST

/* Loop: what leaves has the protection of the others again; or the host refuses that. */
START_TEST(what_leaves_takes_no_mapping)
{
	struct machine m = machine_make(GUARD);
	char *memory = machine_map(m, 64, RW);
	memset(memory, 1, 64 * PAGE);
	size_t before = mappings();
	for (size_t i = 0; i < 64; i += 2)
		ck_assert_ok(upage_protect(m.space, memory + i * PAGE, PAGE, PROT_READ));
	must(all_are(memory, 64 * PAGE, 1));
	ck_assert_uint_gt(mappings(), before + 8);
	no_joining = _i == 1;
	ck_assert_ok(upage_advise(m.space, memory, 64 * PAGE, UPAGE_PAGEOUT));
	if (_i == 0)
		ck_assert_uint_le(mappings(), before + 2);
	no_joining = false;
	ck_assert_ok(upage_protect(m.space, memory, 64 * PAGE, RW));
	memset(memory, 2, 64 * PAGE);
	must(all_are(memory, 64 * PAGE, 2));
	machine_end(m);
}
END_TEST

START_TEST(pages_that_may_only_be_read_or_executed)
{
	struct machine m = machine_make(GUARD);
	char *read = machine_map(m, 40, PROT_READ), *run = machine_map(m, 2, RW | PROT_EXEC);
	must(all_are(read, 40 * PAGE, 0));
	ck_assert(traps(read + PAGE, true));
#ifdef __x86_64__
	static const unsigned char answer[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov $42, %eax; ret */
	memcpy(run + 100, answer, sizeof(answer));
	must(all_are(read, 40 * PAGE, 0)); /* it leaves, and comes back */
	int (*call)(void);
	void *code = run + 100;
	memcpy(&call, &code, sizeof(call));
	ck_assert_int_eq(call(), 42);
#endif
	ck_assert_ok(upage_protect(m.space, read, 40 * PAGE, RW));
	memset(read, 3, 40 * PAGE);
	must(all_are(read, 40 * PAGE, 3));
	machine_end(m);
}
END_TEST

/* The kernel uses a pinned page meanwhile. Loop: for reading or for writing. */
START_TEST(pinned_pages_stay_where_they_are)
{
	struct machine m = machine_make(GUARD);
	int pipes[2];
	char *memory = machine_map(m, 64, RW);
	memset(memory, 1, 64 * PAGE);
	ck_assert_ok(upage_pin(m.space, memory + PAGE, 2 * PAGE, _i == 0 ? PROT_READ : RW));
	ck_assert_int_eq(pipe(pipes), 0);
	for (int round = 0; round < 20; round++) {
		for (size_t i = 3; i < 64; i++)
			memory[i * PAGE] = (char)round;
		ck_assert_int_eq(write(pipes[1], memory + PAGE, 2 * PAGE), 2 * PAGE);
		ck_assert_int_eq(read(pipes[0], memory + PAGE, 2 * PAGE), 2 * PAGE);
	}
	ck_assert_int_eq(upage_unmap(m.space, memory, 64 * PAGE), UPAGE_EBUSY);
	ck_assert_ok(upage_unpin(m.space, memory + PAGE, 2 * PAGE));
	must(all_are(memory + PAGE, 2 * PAGE, 1));
	close(pipes[0]);
	close(pipes[1]);
	machine_end(m);
}
END_TEST

/* The host refuses guards there: what is to leave is unlocked, as it is where it is mapped over. */
START_TEST(locked_memory_can_leave)
{
	struct machine m = machine_make(GUARD ",prefetch=off");
	char *memory = machine_map(m, 64, RW), *more = machine_map(m, 1024, RW);
	memset(memory, 1, 4 * PAGE);
	if (mlock(memory, 4 * PAGE) == 0) {
		ck_assert_ok(upage_advise(m.space, memory, 4 * PAGE, UPAGE_PAGEOUT));
		ck_assert_uint_eq(machine_resident(m), 0);
		memset(memory, 2, 64 * PAGE);
		must(all_are(memory, 64 * PAGE, 2));
	}
	if (mlockall(MCL_FUTURE) == 0) {
		size_t bytes = memory_bytes();
		more[600 * PAGE] = 1; /* a leaf is laid */
		ck_assert_uint_le(memory_bytes(), bytes + PAGE);
		memset(more, 3, 1024 * PAGE);
		must(all_are(more, 1024 * PAGE, 3));
		for (size_t i = 0; i < 16; i++)
			more[2 * i * PAGE] = 4;
		ck_assert_uint_le(machine_stats(m).host_mappings, 8);
		munlockall();
	}
	ck_assert_uint_le(memory_bytes(), 16 * PAGE);
	machine_end(m);
}
END_TEST

/* ---- Forks, clones -------------------------------------------------------------------------- */

/* Loop: with another thread or without; nothing or something pinned; many or few frames. */
START_TEST(a_child_has_a_copy)
{
	struct machine m = machine_make(_i & 4 ? "mapping=guard,memory=4M" : GUARD);
	struct bystander bystander;
	char *memory = machine_map(m, 128, RW);
	for (size_t i = 0; i < 128; i += 1 + i % 3)
		memset(memory + i * PAGE, (int)i + 1, PAGE);
	if (_i & 1)
		bystander_begin(&bystander);
	if (_i & 2)
		ck_assert_ok(upage_pin(m.space, memory + PAGE, PAGE, RW));
	pid_t child = fork();
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < 128; i += 1 + i % 3) {
			int owner = child == 0 ? 100 : 0, now = (int)i + 1 + round * owner;
			if (child == 0)
				child_must(all_are(memory + i * PAGE, PAGE, (char)now));
			else
				must(all_are(memory + i * PAGE, PAGE, (char)((int)i + 1 + round * 7)));
			memset(memory + i * PAGE, (int)i + 1 + (child == 0 ? 100 : 7), PAGE);
		}
	if (child == 0) {
		child_must(upage_pool_verify(m.pool) == 0);
		child_must(memory_bytes() <= (_i & 4 ? 4 * MIB : 64 * KIB));
		pid_t grandchild = fork();
		if (grandchild == 0)
			_exit(memory[PAGE] == 102 ? 0 : 1);
		int status;
		child_must(waitpid(grandchild, &status, 0) == grandchild && status == 0);
		_exit(0);
	}
	must_end_well(child);
	if (_i & 2)
		ck_assert_ok(upage_unpin(m.space, memory + PAGE, PAGE));
	if (_i & 1)
		bystander_end(&bystander);
	machine_end(m);
}
END_TEST

#define SCATTERED 2000 /* pages in frames, of which none has a neighbour: twice the frames */

/* There is no child that could be trusted then; but what the program is shown still is not taken for hidden. */
START_TEST(a_fork_that_cannot_hide_mixes_up_no_pages)
{
	struct machine m = machine_make("memory=4M,mapping=remap");
	volatile uint64_t *memory = (volatile uint64_t *)(void *)machine_map(m, 2 * SCATTERED, RW);
	struct bystander bystander;
	for (size_t i = 0; i < SCATTERED; i++)
		memory[2 * i * WORDS] = i;
	bystander_begin(&bystander);
	no_hiding = true;
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	no_hiding = false;
	if (child > 0)
		ck_assert_int_eq(waitpid(child, NULL, 0), child);
	for (size_t round = 0; round < 3; round++)
		for (size_t i = 0; i < SCATTERED; i++) {
			must(memory[2 * i * WORDS] == i + round * SCATTERED);
			memory[2 * i * WORDS] += SCATTERED;
		}
	bystander_end(&bystander);
	machine_end(m);
}
END_TEST

/* Each fails a step later, until one succeeds: what the source was still shown for writing, because the host refused
 * to take that back, is taken back then. */
START_TEST(after_clones_that_failed_one_is_a_copy)
{
	enum { WRITTEN = 1000 };
	struct machine m = machine_make("memory=32M,mapping=remap,prefetch=off");
	char *memory = machine_map(m, 4096, RW);
	upage_space *clone;
	int failed = 0, result;
	for (size_t i = 0; i < WRITTEN; i++)
		memory[i * PAGE] = (char)i;
	do {
		protects = failed;
		result = upage_space_clone(&clone, m.space, NULL);
	} while (result == UPAGE_ENOMEM && ++failed < 64);
	protects = -1;
	ck_assert_int_ge(failed, 2); /* WRITTEN pages are of two leaves */
	ck_assert_ok(result);
	ck_assert_ok(upage_pool_verify(m.pool));
	for (size_t i = 0; i < WRITTEN; i++)
		memory[i * PAGE]++;
	char *copy = in(clone, m.space, memory);
	for (size_t i = 0; i < WRITTEN; i++)
		must(copy[i * PAGE] == (char)i && memory[i * PAGE] == (char)(i + 1));
	end(clone, m);
	machine_end(m);
}
END_TEST

/* Loop: frames for both, or for few. */
START_TEST(a_clone_is_a_copy)
{
	struct machine m = machine_make(_i == 0 ? "mapping=guard,memory=1M" : GUARD);
	char *memory = machine_map(m, 40, RW);
	for (size_t i = 0; i < 40; i += 2)
		memset(memory + i * PAGE, (int)i + 1, PAGE);
	upage_space *clone = clone_of(m.space);
	char *copy = in(clone, m.space, memory);
	for (size_t i = 0; i < 40; i++) {
		must(all_are(copy + i * PAGE, PAGE, (char)(i % 2 ? 0 : i + 1)));
		memset(i % 3 ? copy + i * PAGE : memory + i * PAGE, 99, PAGE);
	}
	for (size_t i = 0; i < 40; i++) {
		char before = (char)(i % 2 ? 0 : i + 1);
		must(all_are(copy + i * PAGE, PAGE, (char)(i % 3 ? 99 : before)));
		must(all_are(memory + i * PAGE, PAGE, (char)(i % 3 ? before : 99)));
	}
	upage_space *second = clone_of(clone);
	ck_assert_ok(upage_space_destroy(clone));
	for (size_t i = 0; i < 40; i++)
		must(all_are(in(second, m.space, memory) + i * PAGE, PAGE,
		             (char)(i % 3 ? 99 : i % 2 ? 0 : i + 1)));
	end(second, m);
	machine_end(m);
}
END_TEST

/* Frames are moved as before; what is at home stays where it is. */
START_TEST(compaction_moves_frames_not_content)
{
	struct machine m = machine_make("mapping=guard,memory=4M");
	char *memory = machine_map(m, 1000, RW);
	for (size_t i = 0; i < 1000; i++)
		memory[i * PAGE] = (char)i;
	for (size_t i = 0; i < 1000; i += 2)
		ck_assert_ok(upage_advise(m.space, memory + i * PAGE, PAGE, UPAGE_DONTNEED));
	size_t bytes = memory_bytes();
	struct upage_compaction done = UPAGE_COMPACTION_INIT;
	ck_assert_ok(upage_compact(m.pool, &done));
	ck_assert_uint_gt(done.moves, 100);
	ck_assert_uint_eq(done.largest_free_run_after, done.frames_free);
	ck_assert_uint_eq(memory_bytes(), bytes);
	ck_assert_ok(upage_pool_verify(m.pool));
	for (size_t i = 0; i < 1000; i++)
		must(memory[i * PAGE] == (char)(i % 2 ? i : 0));
	machine_end(m);
}
END_TEST

/* Pages of stores that are beside others, in one leaf: a private one and a shared one. Loop: the store's
 * pages come in first, or the others. */
START_TEST(pages_of_stores_are_beside_others)
{
	struct machine m = machine_make(GUARD);
	char path[] = "/tmp/check_mapping-XXXXXX", page[PAGE];
	int file = mkstemp(path);
	upage_store *store, *other;
	for (int i = 0; i < 64; i++) {
		memset(page, i + 1, PAGE);
		ck_assert_int_eq(pwrite(file, page, PAGE, (off_t)(i * PAGE)), PAGE);
	}
	ck_assert_ok(upage_store_open(&store, path, UPAGE_STORE_WRITABLE));
	ck_assert_ok(upage_store_open(&other, path, UPAGE_STORE_WRITABLE));
	char *memory = machine_map(m, 32, RW);
	void *private = memory + 32 * PAGE, *shared = memory + 64 * PAGE;
	ck_assert_ok(upage_map(m.space, &private, 32 * PAGE, RW, UPAGE_MAP_FIXED, store, 0));
	ck_assert_ok(upage_map(m.space, &shared, 32 * PAGE, RW, UPAGE_MAP_FIXED | UPAGE_MAP_SHARED, other, 32 * PAGE));
	for (int round = 0; round < 4; round++) {
		for (size_t i = 0; i < 32 && (round > 0 || _i == 0); i++)
			memory[i * PAGE] = (char)(i + (size_t)round);
		for (size_t i = 0; i < 64; i++)
			must(memory[(32 + i) * PAGE + 9] == (char)(i + 1));
		for (size_t i = 0; i < 64; i += 3)
			memory[(32 + i) * PAGE] = (char)round;
		for (size_t i = 0; i < 64; i += 3)
			must(memory[(32 + i) * PAGE] == (char)round);
		for (size_t i = 0; i < 32 && (round > 0 || _i == 0); i++)
			must(memory[i * PAGE] == (char)(i + (size_t)round));
		ck_assert_ok(upage_pool_verify(m.pool));
	}
	ck_assert_ok(upage_unmap(m.space, memory, 96 * PAGE));
	for (size_t i = 0; i < 64; i++) {
		ck_assert_int_eq(pread(file, page, PAGE, (off_t)(i * PAGE)), PAGE);
		must(page[0] == (char)(i >= 32 && i % 3 == 0 ? 3 : i + 1) && page[9] == (char)(i + 1));
	}
	ck_assert_ok(upage_store_close(store));
	ck_assert_ok(upage_store_close(other));
	close(file);
	unlink(path);
	machine_end(m);
}
END_TEST

static int read_nothing(void *context, void *page, size_t length, off_t offset)
{
	(void)context, (void)page, (void)length, (void)offset;
	return -EIO;
}

/* A frame that was to be at home, and is free again, is that of a page which is not. */
START_TEST(what_cannot_be_read_leaves_nothing_behind)
{
	static const struct upage_store_ops ops = { .size = sizeof(ops), .read = read_nothing };
	struct machine m = machine_make(GUARD);
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	upage_space *window;
	upage_store *store;
	char *memory = machine_map(m, 1, RW);
	void *bad = memory + PAGE, *other = NULL;
	memory[0] = 1;
	ck_assert_ok(upage_store_create(&store, &ops, NULL));
	ck_assert_ok(upage_map(m.space, &bad, 8 * PAGE, PROT_READ, UPAGE_MAP_FIXED, store, 0));
	for (size_t i = 0; i < 8; i++)
		ck_assert(is_bus_error((char *)bad + i * PAGE, false));
	config.length = 2 * MIB;
	config.flags = UPAGE_SPACE_WINDOW;
	ck_assert_ok(upage_space_create(&window, m.pool, &config));
	ck_assert_ok(upage_switch(window));
	ck_assert_ok(upage_map(window, &other, 15 * PAGE, RW, 0, NULL, 0));
	memset(other, 1, 15 * PAGE);
	ck_assert_ok(upage_pool_verify(m.pool));
	must(all_are(other, 15 * PAGE, 1) && memory[0] == 1);
	ck_assert_ok(upage_space_destroy(window));
	ck_assert_ok(upage_unmap(m.space, bad, 8 * PAGE));
	ck_assert_ok(upage_store_close(store));
	machine_end(m);
}
END_TEST

/* ---- Who is not at home --------------------------------------------------------------------- */

START_TEST(spaces_in_runs_have_frames)
{
	struct machine m = machine_make("mapping=guard,memory=4M");
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	upage_space *space;
	void *memory = NULL;
	config.scheme = UPAGE_SCHEME_BASE_BOUNDS;
	config.length = 64 * MIB;
	config.bounds = MIB;
	ck_assert_ok(upage_space_create(&space, m.pool, &config));
	ck_assert_ok(upage_map(space, &memory, 64 * PAGE, RW, 0, NULL, 0));
	memset(memory, 5, 64 * PAGE);
	must(all_are(memory, 64 * PAGE, 5));
	ck_assert_ok(upage_space_destroy(space));
	machine_end(m);
}
END_TEST

START_TEST(where_guards_cannot_be_laid_frames_are_mapped)
{
	struct machine m = machine_make(GUARD);
	char *memory = machine_map(m, 1024, RW);
	no_laying = true;
	memset(memory, 1, 32 * PAGE);
	no_laying = false;
	memset(memory + 512 * PAGE, 2, 32 * PAGE);
	must(all_are(memory, 32 * PAGE, 1) && all_are(memory + 512 * PAGE, 32 * PAGE, 2));
	pid_t child = fork();
	if (child == 0)
		_exit(all_are(memory, 32 * PAGE, 1) && all_are(memory + 512 * PAGE, 32 * PAGE, 2) ? 0 : 1);
	must_end_well(child);
	machine_end(m);
}
END_TEST

START_TEST(a_kernel_without_guards_is_told_of)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	upage_pool *pool;
	no_guards = true;
	strcpy(config.mapping, "guard");
	ck_assert_int_eq(upage_pool_create(&pool, &config), UPAGE_ENOTSUP);
	ck_assert_ptr_nonnull(strstr(config.message, "mapping=guard"));
	struct machine m = machine_make("mapping=auto,memory=4M,mapping-budget=64");
	char *memory = machine_map(m, 800, RW);
	for (size_t i = 0; i < 400; i++)
		memory[2 * i * PAGE] = (char)i;
	for (size_t i = 0; i < 400; i++)
		must(memory[2 * i * PAGE] == (char)i);
	machine_end(m);
}
END_TEST

START_TEST(statistics_say_which_it_is)
{
	static char text[8192];
	static const char *const words[] = { "mapping=guard,memory=64K", "mapping=remap,memory=64K",
		                             "mapping=auto,memory=64K" };
	for (size_t i = 0; i < LENGTH(words); i++) {
		struct machine m = machine_make(words[i]);
		char path[] = "/tmp/check_mapping-XXXXXX";
		int file = mkstemp(path);
		*machine_map(m, 1, RW) = 1;
		ck_assert_ok(upage_stats_json(m.pool, path));
		drain(file, text, sizeof(text));
		ck_assert_str_eq(json_find(text, "mapping"), i == 0 ? "\"guard\"" : "\"remap\"");
		close(file);
		unlink(path);
		machine_end(m);
	}
}
END_TEST

/* A child that borrows the memory (vfork) finds that mappings are short. What it opened would be gone with it. */
START_TEST(who_borrows_the_memory_opens_nothing)
{
	struct machine m = machine_make("mapping=auto,memory=4M,mapping-budget=64,prefetch=off");
	char *memory = machine_map(m, 1600, RW);
	size_t before = open_descriptors();
	pid_t child = vfork();
	if (child == 0) {
		for (size_t i = 0; i < 800; i++)
			memory[2 * i * PAGE] = (char)(i + 1);
		_exit(open_descriptors() == before ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < 800; i++)
			must(memory[2 * i * PAGE] == (char)(i + 1));
		for (size_t i = 0; i < 400; i++) /* and now there are some at home */
			memory[(2 * i + 1) * PAGE] = 1;
		ck_assert_ok(upage_pool_verify(m.pool));
	}
	ck_assert_uint_eq(machine_stats(m).failed, 0);
	machine_end(m);
}
END_TEST

int main(void)
{
	if (host_has_guards() <= 0)
		return 77;
	Suite *suite = suite_create("mapping");
	TCase *tests = tcase_create("content");
	tcase_add_test(tests, threads_find_what_they_wrote_in_sixteen_frames);
	tcase_add_test(tests, what_is_resident_is_all_that_the_host_has);
	tcase_add_test(tests, a_frame_has_memory_in_one_file);
	tcase_add_test(tests, nothing_of_an_earlier_owner_is_seen);
	tcase_add_test(tests, where_no_hole_can_be_made_pages_are_zeroed);
	tcase_add_test(tests, pages_that_were_only_read_find_swap_full);
	tcase_add_test(tests, pages_that_were_only_read_are_not_written_again);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	tests = tcase_create("host mappings");
	tcase_add_test(tests, scattered_pages_take_few_host_mappings);
	tcase_add_loop_test(tests, scattered_leaves_stay_within_the_budget, 0, 2);
	tcase_add_test(tests, many_frames_are_at_home_by_themselves);
	tcase_add_test(tests, frames_that_cannot_all_be_shown_come_by_soft_faults);
	tcase_add_test(tests, unmapped_leaves_are_forgotten);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	tests = tcase_create("protection, pins, locks");
	tcase_add_test(tests, protection_takes_mappings_only_while_it_differs);
	tcase_add_loop_test(tests, what_leaves_takes_no_mapping, 0, 2);
	tcase_add_test(tests, pages_that_may_only_be_read_or_executed);
	tcase_add_loop_test(tests, pinned_pages_stay_where_they_are, 0, 2);
	tcase_add_test(tests, locked_memory_can_leave);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	tests = tcase_create("forks, clones, compaction");
	tcase_add_loop_test(tests, a_child_has_a_copy, 0, 8);
	tcase_add_test(tests, a_fork_that_cannot_hide_mixes_up_no_pages);
	tcase_add_test(tests, after_clones_that_failed_one_is_a_copy);
	tcase_add_loop_test(tests, a_clone_is_a_copy, 0, 2);
	tcase_add_test(tests, compaction_moves_frames_not_content);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	tests = tcase_create("in frames");
	tcase_add_loop_test(tests, pages_of_stores_are_beside_others, 0, 2);
	tcase_add_test(tests, what_cannot_be_read_leaves_nothing_behind);
	tcase_add_test(tests, spaces_in_runs_have_frames);
	tcase_add_test(tests, where_guards_cannot_be_laid_frames_are_mapped);
	tcase_add_test(tests, a_kernel_without_guards_is_told_of);
	tcase_add_test(tests, who_borrows_the_memory_opens_nothing);
	tcase_add_test(tests, statistics_say_which_it_is);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
