/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_switch.c - spaces at the same addresses: what a switch shows, hides, keeps and costs
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <ucontext.h>

#include "support_heap.h"
#include "support_switch.h"

#define WINDOW ((void *)(UINT64_C(5) << 44)) /* a fixed address, 80 TiB */

static sigjmp_buf escape;
static void *volatile fault_address;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	fault_address = info->si_addr;
	siglongjmp(escape, 1);
}

/* Whether a reference ends in the program's own SIGSEGV. */
static bool is_fault(volatile char *at, bool write)
{
	const struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	struct sigaction before;
	volatile bool fault = true;
	sigaction(SIGSEGV, &action, &before);
	if (sigsetjmp(escape, 1) == 0) {
		if (write)
			*at = 1;
		else
			(void)*at;
		fault = false;
	}
	sigaction(SIGSEGV, &before, NULL);
	return fault && fault_address == at;
}

/* ---- What is seen --------------------------------------------------------------------------- */

START_TEST(each_space_has_its_own_contents_at_the_same_addresses)
{
	struct process all = processes_make("memory=8M", 64 * MIB, 64);
	volatile uint64_t *words = (void *)all.memory[0];
	uint64_t written[SPACES][64] = { { 0 } }, seed = 7;
	for (unsigned n = 0; n < 1000; n++) {
		unsigned now = (unsigned)(random_number(&seed) % SPACES);
		ck_assert_ok(upage_switch(all.space[now]));
		for (unsigned i = 0; i < 64; i++)
			must(words[i * PAGE / 8] == written[now][i]);
		for (unsigned k = 0; k < 8; k++) {
			unsigned i = (unsigned)(random_number(&seed) % 64);
			words[i * PAGE / 8] = written[now][i] = random_number(&seed);
		}
	}
	ck_assert_uint_eq(machine_stats(all.machine).major, 0);
	processes_end(&all);
}
END_TEST

START_TEST(a_switch_moves_pages_without_a_fault)
{
	struct process all = processes_make("memory=8M", 64 * MIB, 64);
	for (unsigned i = 0; i < SPACES; i++) {
		ck_assert_ok(upage_switch(all.space[i]));
		fill(all.memory[i], 64, i);
	}
	struct upage_stats before = machine_stats(all.machine);
	for (unsigned i = 0; i < SPACES; i++) {
		ck_assert_ok(upage_switch(all.space[i]));
		ck_assert(holds(all.memory[i], 64, i));
		ck_assert_ok(upage_switch(all.space[i])); /* is current: nothing to do */
	}
	struct upage_stats after = machine_stats(all.machine);
	ck_assert_uint_eq(after.faults, before.faults);
	ck_assert_uint_eq(after.switches, before.switches + SPACES);
	processes_end(&all);
}
END_TEST

/* Bytes of frames that the host shows in this process, wherever. */
static size_t shown_bytes(void)
{
	static char line[4096];
	size_t sum = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		size_t start, end;
		if (strstr(line, "memfd:upage") != NULL && sscanf(line, "%zx-%zx", &start, &end) == 2)
			sum += end - start;
	}
	fclose(maps);
	return sum;
}

/* Nothing is left where pages were before. */
START_TEST(each_page_is_shown_in_one_place)
{
	struct process all = processes_make("memory=8M", 64 * MIB, 64);
	for (unsigned i = 0; i < 2 * SPACES; i++) {
		ck_assert_ok(upage_switch(all.space[i % SPACES]));
		fill(all.memory[0], 64, i);
		ck_assert_uint_eq(shown_bytes(), (i < SPACES ? i + 1 : SPACES) * 64 * PAGE);
	}
	ck_assert_ok(upage_unmap(all.space[0], all.memory[0], 64 * PAGE)); /* is parked */
	ck_assert_uint_eq(shown_bytes(), (SPACES - 1) * 64 * PAGE);
	processes_end(&all);
}
END_TEST

/* Each of a few pages a space is written and read under eviction by the others. */
static void under_pressure(const char *words)
{
	struct process all = processes_make(words, 64 * MIB, 40);
	volatile uint64_t *memory = (void *)all.memory[0];
	static uint64_t written[SPACES][40];
	uint64_t seed = 11;
	memset(written, 0, sizeof(written));
	for (unsigned n = 0; n < 1000; n++) {
		unsigned now = (unsigned)(random_number(&seed) % SPACES);
		ck_assert_ok(upage_switch(all.space[now]));
		for (unsigned k = 0; k < 30; k++) {
			unsigned i = (unsigned)(random_number(&seed) % 40);
			must(memory[i * PAGE / 8] == written[now][i]);
			if (k % 3 == 0)
				memory[i * PAGE / 8] = written[now][i] = random_number(&seed);
		}
	}
	for (unsigned now = 0; now < SPACES; now++) {
		ck_assert_ok(upage_switch(all.space[now]));
		for (unsigned i = 0; i < 40; i++)
			ck_assert_uint_eq(memory[i * PAGE / 8], written[now][i]);
	}
	ck_assert_uint_gt(machine_stats(all.machine).evictions, 1000);
	ck_assert_ok(upage_pool_verify(all.machine.pool));
	processes_end(&all);
}

START_TEST(pages_of_parked_spaces_are_evicted_and_found_again)
{
	static const char *const words[] = { "memory=64K", "memory=256K", "memory=64K,policy=fifo",
		                             "memory=128K,policy=random" };
	under_pressure(words[_i]);
}
END_TEST

/* Whether pages were referenced is asked where they are: those of a parked space are idle, whatever is
 * done at their addresses, and leave before what is in use. */
START_TEST(what_is_parked_is_idle)
{
	struct process all = processes_make("memory=256K,policy=clock", 64 * MIB, 64);
	unsigned char parked[16], current[16];
	unsigned left = 0, stayed = 0;
	ck_assert_ok(upage_switch(all.space[0]));
	fill(all.memory[0], 16, 1);
	ck_assert_ok(upage_switch(all.space[1]));
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < 16; i++) /* in use always */
			((volatile char *)all.memory[1])[i * PAGE]++;
		fill(all.memory[1] + (16 + round % 48) * PAGE, 1, 3);
	}
	ck_assert_ok(upage_residency(all.space[0], all.memory[0], 16 * PAGE, parked));
	ck_assert_ok(upage_residency(all.space[1], all.memory[1], 16 * PAGE, current));
	for (unsigned i = 0; i < 16; i++) {
		left += !parked[i];
		stayed += current[i];
	}
	ck_assert_uint_ge(left, 14);
	ck_assert_uint_ge(stayed, 14);
	ck_assert_ok(upage_switch(all.space[0]));
	ck_assert(holds(all.memory[0], 16, 1));
	processes_end(&all);
}
END_TEST

START_TEST(functions_work_on_a_parked_space)
{
	struct process all = processes_make("memory=1M", 64 * MIB, 16);
	char *memory = all.memory[0];
	unsigned char resident[16];
	upage_pfn frame, other;
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_ok(upage_switch(all.space[i]));
		fill(memory, 16, i);
	}
	/* The first is parked, the second current. */
	upage_space *parked = all.space[0];
	ck_assert_int_eq(upage_translate(parked, memory, PROT_READ, &frame), UPAGE_CAUSE_NONE);
	ck_assert_int_eq(upage_translate(all.space[1], memory, PROT_READ, &other), UPAGE_CAUSE_NONE);
	ck_assert_uint_ne(frame, other);
	ck_assert_ok(upage_protect(parked, memory + PAGE, PAGE, PROT_READ));
	memory[PAGE] = memory[PAGE]; /* of the current one */
	ck_assert_ok(upage_switch(parked));
	ck_assert(is_fault(memory + PAGE, true) && holds(memory, 16, 0));
	ck_assert_ok(upage_switch(all.space[1]));
	ck_assert_ok(upage_pin(parked, memory, PAGE, RW));
	ck_assert_ok(upage_advise(parked, memory, 16 * PAGE, UPAGE_PAGEOUT));
	ck_assert_ok(upage_residency(parked, memory, 16 * PAGE, resident));
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(resident[i], i == 0);
	ck_assert_ok(upage_pin(parked, memory + 2 * PAGE, PAGE, PROT_READ)); /* brought in, where it is */
	ck_assert_int_eq(upage_unmap(parked, memory, PAGE), UPAGE_EBUSY);
	ck_assert_ok(upage_unpin(parked, memory, PAGE));
	ck_assert_ok(upage_unpin(parked, memory + 2 * PAGE, PAGE));
	ck_assert_ok(upage_unmap(parked, memory + 15 * PAGE, PAGE));
	char *more = map(parked, memory + 20 * PAGE, 2);
	ck_assert(holds(memory, 16, 1)); /* and the second has noticed nothing */
	ck_assert_ok(upage_switch(parked));
	ck_assert(holds(memory, 15, 0));
	ck_assert(is_zero(more, 2));
	ck_assert_int_eq(upage_translate(parked, memory + PAGE, PROT_WRITE, NULL), UPAGE_CAUSE_PROTECTION);
	ck_assert_ok(upage_switch(all.space[1]));
	ck_assert_int_eq(upage_translate(all.space[1], more, PROT_READ, NULL), UPAGE_CAUSE_NOT_MAPPED);
	processes_end(&all);
}
END_TEST

/* A file of so many pages, each filled with its number plus @seed. */
static upage_store *file_store(size_t pages, uint64_t seed, unsigned flags)
{
	char path[] = "/tmp/check_switch_XXXXXX";
	int file = mkstemp(path);
	uint64_t words[PAGE / 8];
	upage_store *store;
	ck_assert_int_ge(file, 0);
	for (size_t i = 0; i < pages; i++) {
		for (size_t k = 0; k < PAGE / 8; k++)
			words[k] = seed + i * 1000 + k;
		ck_assert_int_eq(write(file, words, PAGE), PAGE);
	}
	close(file);
	ck_assert_ok(upage_store_open(&store, path, flags));
	unlink(path);
	return store;
}

START_TEST(several_mappings_and_files)
{
	struct process all = processes_make("memory=64K", 64 * MIB, 0);
	upage_store *private[SPACES], *shared[SPACES];
	char *base = upage_space_base(all.space[0]);
	for (unsigned i = 0; i < SPACES; i++) {
		void *a = base + MIB, *b = base + 3 * MIB;
		private[i] = file_store(8, 100 * i, 0);
		shared[i] = file_store(8, 300 * i, UPAGE_STORE_WRITABLE);
		ck_assert_ok(upage_map(all.space[i], &a, 8 * PAGE, RW, UPAGE_MAP_FIXED, private[i], 0));
		ck_assert_ok(upage_map(all.space[i], &b, 8 * PAGE, RW, UPAGE_MAP_FIXED | UPAGE_MAP_SHARED,
		                       shared[i], 0));
		map(all.space[i], base + 5 * MIB, 8);
	}
	for (unsigned n = 0; n < 3 * SPACES; n++) {
		unsigned i = n % SPACES;
		ck_assert_ok(upage_switch(all.space[i]));
		ck_assert(holds(base + MIB, 8, n < SPACES ? 100 * i : i));
		ck_assert(holds(base + 3 * MIB, 8, n < SPACES ? 300 * i : i + 1));
		ck_assert(n < SPACES ? is_zero(base + 5 * MIB, 8) : holds(base + 5 * MIB, 8, i + 2));
		fill(base + MIB, 8, i);
		fill(base + 3 * MIB, 8, i + 1);
		fill(base + 5 * MIB, 8, i + 2);
	}
	ck_assert_ok(upage_sync(all.space[0], base + 3 * MIB, 8 * PAGE)); /* it is parked */
	ck_assert_ok(upage_unmap(all.space[0], base + 3 * MIB, 8 * PAGE));
	void *again = base + 3 * MIB;
	ck_assert_ok(upage_map(all.space[0], &again, 8 * PAGE, PROT_READ, UPAGE_MAP_FIXED, shared[0], 0));
	ck_assert_ok(upage_switch(all.space[0]));
	ck_assert(holds(again, 8, 1));
	processes_end(&all);
	for (unsigned i = 0; i < SPACES; i++) {
		ck_assert_ok(upage_store_close(private[i]));
		ck_assert_ok(upage_store_close(shared[i]));
	}
}
END_TEST

START_TEST(heaps_have_blocks_at_the_same_addresses)
{
	struct process all = processes_make("memory=512K", 256 * MIB, 0);
	upage_heap *heap[SPACES];
	static struct block blocks[SPACES][200];
	unsigned same = 0;
	memset(blocks, 0, sizeof(blocks));
	for (unsigned i = 0; i < SPACES; i++)
		ck_assert_ok(upage_heap_create(&heap[i], all.space[i]));
	for (unsigned n = 0; n < 40 * SPACES; n++) {
		unsigned now = n % SPACES;
		uint64_t seed = 3 + n / SPACES; /* the same requests in each */
		ck_assert_ok(upage_switch(all.space[now]));
		for (unsigned k = 0; k < 30; k++) {
			struct block *b = &blocks[now][random_number(&seed) % 200];
			size_t size = random_size(&seed, 256 * KIB, 1);
			if (b->start != NULL)
				must(block_is_intact(b));
			if (k % 3 == 0) {
				upage_heap_free(heap[now], b->start);
				*b = (struct block){ NULL, 0, 0 };
				continue;
			}
			size_t before = b->size < size ? b->size : size;
			b->start = upage_heap_resize(heap[now], b->start, size);
			must(b->start != NULL && upage_heap_block_size(heap[now], b->start) >= size);
			must(block_is_intact_to(b, before));
			*b = (struct block){ b->start, size, n * 1000 + k };
			block_write(b);
		}
	}
	for (unsigned k = 0; k < 200; k++)
		same += blocks[0][k].start != NULL && blocks[0][k].start == blocks[1][k].start;
	ck_assert_uint_gt(same, 50);
	for (unsigned i = 0; i < SPACES; i++) {
		ck_assert_ok(upage_switch(all.space[i]));
		for (unsigned k = 0; k < 200; k++)
			ck_assert(blocks[i][k].start == NULL || block_is_intact(&blocks[i][k]));
	}
	/* The first is parked now: blocks come and go, but none is copied. */
	char *small = upage_heap_allocate(heap[0], 100);
	ck_assert_ptr_nonnull(small);
	ck_assert_ptr_null(upage_heap_resize(heap[0], small, 100 * KIB));
	ck_assert_ptr_null(upage_heap_allocate_aligned(heap[0], (size_t)1 << 40, 1));
	ck_assert_uint_eq((uintptr_t)upage_heap_allocate_aligned(heap[0], MIB, 1) % MIB, 0);
	upage_heap_free(heap[0], small);
	ck_assert_int_eq(upage_space_destroy(all.space[0]), UPAGE_EBUSY);
	for (unsigned i = 0; i < SPACES; i++)
		ck_assert_ok(upage_heap_destroy(heap[i]));
	processes_end(&all);
}
END_TEST

/* ---- What is refused ---------------------------------------------------------------------- */

START_TEST(windows_that_cannot_be_are_refused)
{
	struct process all = processes_make("memory=1M", 64 * MIB, 0);
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	char *base = upage_space_base(all.space[0]);
	upage_space *space = NULL;
	config.flags = UPAGE_SPACE_WINDOW;
	config.length = 64 * MIB;
	config.address = base + PAGE;
	ck_assert_int_eq(upage_space_create(&space, all.machine.pool, &config), UPAGE_EINVAL);
	config.address = base + 2 * MIB; /* inside another */
	ck_assert_int_eq(upage_space_create(&space, all.machine.pool, &config), UPAGE_EEXIST);
	config.address = base;
	config.length = 32 * MIB;
	ck_assert_int_eq(upage_space_create(&space, all.machine.pool, &config), UPAGE_EEXIST);
	config.length = 64 * MIB;
	config.flags = 0; /* for itself */
	ck_assert_int_eq(upage_space_create(&space, all.machine.pool, &config), UPAGE_EEXIST);
	config.flags = UPAGE_SPACE_WINDOW | 0x80000000u;
	ck_assert_int_eq(upage_space_create(&space, all.machine.pool, &config), UPAGE_EINVAL);
	ck_assert_ptr_null(space);
	struct machine alone = machine_make("memory=1M");
	ck_assert_int_eq(upage_switch(NULL), UPAGE_EINVAL);
	ck_assert_int_eq(upage_switch(alone.space), UPAGE_EINVAL);
	machine_end(alone);
	processes_end(&all);
}
END_TEST

/* What a coroutine whose stack is in a space was told. */
static struct {
	ucontext_t outside, inside;
	upage_space *next;
	volatile int in_call, in_handler;
} coroutine;

static void on_user_signal(int number)
{
	(void)number;
	coroutine.in_handler = upage_switch(coroutine.next);
}

static void run_inside(void)
{
	coroutine.in_call = upage_switch(coroutine.next);
	raise(SIGUSR1);
}

START_TEST(code_that_runs_in_a_space_may_not_switch)
{
	struct process all = processes_make("memory=1M", 64 * MIB, 32);
	ck_assert_ok(upage_switch(all.space[0]));
	ck_assert_ok(upage_pin(all.space[0], all.memory[0], 32 * PAGE, RW)); /* the kernel writes there */
	signal(SIGUSR1, on_user_signal);
	coroutine.next = all.space[1];
	coroutine.in_call = coroutine.in_handler = 1;
	getcontext(&coroutine.inside);
	coroutine.inside.uc_stack.ss_sp = all.memory[0];
	coroutine.inside.uc_stack.ss_size = 32 * PAGE;
	coroutine.inside.uc_link = &coroutine.outside;
	makecontext(&coroutine.inside, run_inside, 0);
	swapcontext(&coroutine.outside, &coroutine.inside);
	ck_assert_int_eq(coroutine.in_call, UPAGE_EPERM);
	ck_assert_int_eq(coroutine.in_handler, UPAGE_EPERM);
	ck_assert_uint_eq(machine_stats(all.machine).switches, 1);
	ck_assert_ok(upage_switch(all.space[1])); /* who is outside may */
	ck_assert_ok(upage_unpin(all.space[0], all.memory[0], 32 * PAGE));
	processes_end(&all);
}
END_TEST

/* A timer's handler on a stack outside is the kernel's side: it switches, and back. */
static upage_space *volatile handler_spaces[2];
static volatile int handler_results[2];

static void on_timer(int number)
{
	(void)number;
	for (unsigned i = 0; i < 2; i++)
		handler_results[i] = upage_switch(handler_spaces[i]);
}

START_TEST(a_handler_on_a_stack_outside_may_switch)
{
	struct process all = processes_make("memory=1M", 64 * MIB, 4);
	ck_assert_ok(upage_switch(all.space[0]));
	fill(all.memory[0], 4, 5);
	handler_spaces[0] = all.space[1];
	handler_spaces[1] = all.space[0];
	signal(SIGALRM, on_timer);
	raise(SIGALRM);
	ck_assert_int_eq(handler_results[0], 0);
	ck_assert_int_eq(handler_results[1], 0);
	ck_assert(holds(all.memory[0], 4, 5));
	processes_end(&all);
}
END_TEST

/* ---- References that no space has ---------------------------------------------------------- */

START_TEST(what_is_not_mapped_in_the_current_space_is_a_fault)
{
	struct process all = processes_make("memory=1M", 64 * MIB, 0);
	char *base = upage_space_base(all.space[0]);
	map(all.space[0], base, 4);
	map(all.space[1], base + 8 * PAGE, 4);
	ck_assert(is_fault(base, false)); /* nothing is current */
	ck_assert_ok(upage_switch(all.space[0]));
	ck_assert(is_zero(base, 4) && is_fault(base + 8 * PAGE, false));
	ck_assert_ok(upage_switch(all.space[1]));
	ck_assert(is_zero(base + 8 * PAGE, 4) && is_fault(base, false));
	ck_assert_uint_ge(machine_stats(all.machine).bounds, 2);
	processes_end(&all);
}
END_TEST

/* ---- Destroying ----------------------------------------------------------------------------- */

START_TEST(spaces_are_destroyed_parked_and_current)
{
	struct process all = processes_make("memory=128K", 64 * MIB, 64);
	char *memory = all.memory[0];
	for (unsigned i = 0; i < SPACES; i++) {
		ck_assert_ok(upage_switch(all.space[i]));
		fill(memory, 64, i);
	}
	ck_assert_ok(upage_space_destroy(all.space[1])); /* parked */
	ck_assert(holds(memory, 64, 3));
	ck_assert_ok(upage_space_destroy(all.space[3])); /* current */
	ck_assert(is_fault(memory, false));
	ck_assert_ok(upage_pool_verify(all.machine.pool));
	/* What is made again, is where a dead one was, and finds nothing of it. */
	upage_space *again = space_in_window(all.machine.pool, upage_space_base(all.space[0]), 64 * MIB);
	ck_assert_ptr_eq(map(again, NULL, 64), memory);
	ck_assert_ok(upage_switch(all.space[2]));
	ck_assert(holds(memory, 64, 2));
	ck_assert_ok(upage_switch(again));
	ck_assert(is_zero(memory, 64));
	ck_assert_ok(upage_switch(all.space[0]));
	ck_assert(holds(memory, 64, 0));
	ck_assert_ok(upage_space_destroy(all.space[2]));
	ck_assert_ok(upage_space_destroy(again));
	machine_end(all.machine);
}
END_TEST

START_TEST(the_addresses_go_with_the_last_space)
{
	struct process_size before = { 0 };
	for (unsigned n = 0; n < 3; n++) {
		struct upage_config config = UPAGE_CONFIG_INIT;
		upage_pool *pool;
		upage_space *space[2];
		ck_assert_ok(upage_config_parse(&config, "memory=1M"));
		ck_assert_ok(upage_pool_create(&pool, &config));
		for (unsigned i = 0; i < 2; i++)
			space[i] = space_in_window(pool, WINDOW, n == 0 ? 0 : (size_t)n << 30);
		map(space[0], WINDOW, 4);
		ck_assert_ok(upage_switch(space[0]));
		fill(WINDOW, 4, n);
		for (unsigned i = 0; i < 2; i++)
			ck_assert_ok(upage_space_destroy(space[i]));
		ck_assert_ok(upage_pool_destroy(pool));
		ck_assert_int_eq(msync(WINDOW, PAGE, MS_ASYNC), -1); /* ENOMEM: nothing is there */
		before = n == 0 ? process_size() : before; /* with tables that are kept */
	}
	ck_assert_uint_lt(process_size().address_space, before.address_space + 4 * MIB / PAGE);
}
END_TEST

/* ---- Pins --------------------------------------------------------------------------------- */

START_TEST(pinned_pages_stay_in_their_frames_and_move_along)
{
	struct process all = processes_make("memory=128K", 64 * MIB, 40);
	upage_pfn before, after;
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_ok(upage_switch(all.space[i]));
		fill(all.memory[i], 4, i);
		ck_assert_ok(upage_pin(all.space[i], all.memory[i], 4 * PAGE, RW));
	}
	ck_assert_int_eq(upage_translate(all.space[0], all.memory[0], RW, &before), UPAGE_CAUSE_NONE);
	fill(all.memory[1] + 4 * PAGE, 36, 9); /* and all else is evicted */
	ck_assert_int_eq(upage_translate(all.space[0], all.memory[0], RW, &after), UPAGE_CAUSE_NONE);
	ck_assert_uint_eq(before, after);
	struct upage_stats counted = machine_stats(all.machine);
	ck_assert_ok(upage_switch(all.space[0]));
	/* The kernel may use it at once: no fault, no EFAULT. */
	int file = open("/dev/zero", O_RDONLY);
	ck_assert(holds(all.memory[0], 4, 0));
	ck_assert_int_eq(read(file, all.memory[0] + PAGE, 2 * PAGE), 2 * PAGE);
	close(file);
	ck_assert_uint_eq(machine_stats(all.machine).faults, counted.faults);
	ck_assert(is_zero(all.memory[0] + PAGE, 2));
	for (unsigned i = 0; i < 2; i++)
		ck_assert_ok(upage_unpin(all.space[i], all.memory[i], 4 * PAGE));
	processes_end(&all);
}
END_TEST

/* ---- What it costs ------------------------------------------------------------------------- */

/* Touches pages of two spaces, and stops before and after each of two switches. */
static void counted_body(unsigned pages)
{
	struct process all = processes_make("memory=64M", 256 * MIB, pages);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_ok(upage_switch(all.space[i]));
		fill(all.memory[i], pages, i);
	}
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	for (unsigned i = 0; i < 2; i++) {
		raise(SIGSTOP);
		ck_assert_ok(upage_switch(all.space[i]));
		raise(SIGSTOP);
	}
	_exit(holds(all.memory[1], pages, 1) ? 0 : 1);
}

/* The next stop of a child at which it has raised SIGSTOP; the stops at system calls before it are
 * counted. Return: how many, -1 if it ended. */
static int stops_until_mark(pid_t child, int *status)
{
	int signal = 0;
	for (int stops = 0;; stops++) {
		if (ptrace(PTRACE_SYSCALL, child, NULL, (void *)(intptr_t)signal) < 0 ||
		    waitpid(child, status, 0) != child || !WIFSTOPPED(*status))
			return -1;
		if (WSTOPSIG(*status) == SIGSTOP)
			return stops;
		signal = WSTOPSIG(*status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(*status);
	}
}

/* Stops of a switch, those of raise() included; two are a system call. */
static int switch_stops(unsigned pages)
{
	int status, stops[2];
	fflush(NULL);
	pid_t child = fork();
	if (child == 0)
		counted_body(pages);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	if (!WIFSTOPPED(status))
		return -1;
	ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)PTRACE_O_TRACESYSGOOD);
	for (unsigned i = 0; i < 2; i++) {
		stops[i] = stops_until_mark(child, &status);
		if (i == 0)
			ck_assert_int_ge(stops_until_mark(child, &status), 0);
	}
	ptrace(PTRACE_DETACH, child, NULL, NULL);
	kill(child, SIGCONT);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_int_eq(stops[0], stops[1]);
	return stops[0];
}

START_TEST(the_number_of_system_calls_does_not_depend_on_the_pages)
{
	int few = switch_stops(16), many = switch_stops(4096), none = switch_stops(1);
	if (few < 0) {
		fputs("not counted: this process may not be traced\n", stderr);
		return;
	}
	ck_assert_int_eq(few, many);
	ck_assert_int_eq(few, none);
	ck_assert_int_lt(few, 2 * 12); /* 6 are the switch's, the rest raise()'s */
}
END_TEST

/* ---- Where the host cannot move -------------------------------------------------------------- */

/* RLIMIT_AS, as it stands: a move would need twice the addresses for a moment. */
START_TEST(with_limited_addresses_pages_are_hidden_instead)
{
	struct process all = filled_processes(_i == 0 ? "memory=4M" : "memory=128K");
	struct rlimit before, limit;
	getrlimit(RLIMIT_AS, &before);
	limit = before;
	limit.rlim_cur = process_size().address_space * PAGE + 4 * MIB;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	struct upage_stats counted = machine_stats(all.machine);
	switch_and_look(&all, 3 * SPACES);
	ck_assert_uint_gt(machine_stats(all.machine).soft + machine_stats(all.machine).major,
	                  counted.soft + counted.major);
	ck_assert_ok(upage_pin(all.space[3], all.memory[3], PAGE, PROT_READ)); /* is current */
	ck_assert_int_eq(upage_switch(all.space[0]), UPAGE_EBUSY);
	ck_assert(holds(all.memory[3], 64, 3));
	ck_assert_ok(upage_unpin(all.space[3], all.memory[3], PAGE));
	setrlimit(RLIMIT_AS, &before);
	switch_and_look(&all, 2 * SPACES); /* and moved again */
	processes_end(&all);
}
END_TEST

/* So many mappings of the program's own that a move fails in the middle: nothing is lost. */
START_TEST(a_move_that_fails_loses_nothing)
{
	struct process all = processes_make("memory=4M,mapping-budget=2000", 64 * MIB, 512);
	const size_t most = 70000;
	char *own = mmap(NULL, 2 * most * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(own, MAP_FAILED);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_ok(upage_switch(all.space[i]));
		for (unsigned k = 0; k < 512; k += 2) /* a mapping each */
			fill(all.memory[i] + k * PAGE, 1, i + k);
	}
	size_t made = 0;
	while (made < most && mprotect(own + 2 * made * PAGE, PAGE, PROT_READ) == 0)
		made++;
	ck_assert_uint_lt(made, most);
	/* Room for some of them, but not for all. */
	for (unsigned k = 0; k < 100 && k < made; k++)
		ck_assert_int_eq(mprotect(own + 2 * k * PAGE, PAGE, PROT_NONE), 0);
	struct upage_stats before = machine_stats(all.machine);
	for (unsigned n = 0; n < 6; n++) {
		unsigned now = n % 2;
		ck_assert_ok(upage_switch(all.space[now]));
		for (unsigned k = 0; k < 512; k += 2)
			ck_assert(holds(all.memory[now] + k * PAGE, 1, now + k));
	}
	ck_assert_uint_gt(machine_stats(all.machine).soft, before.soft);
	munmap(own, 2 * most * PAGE);
	processes_end(&all);
}
END_TEST

/* ------------------------------------------------------------------------------------------------ */

int main(void)
{
	Suite *suite = suite_create("switch");
	TCase *tests = tcase_create("switch");
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, each_space_has_its_own_contents_at_the_same_addresses);
	tcase_add_test(tests, a_switch_moves_pages_without_a_fault);
	tcase_add_test(tests, each_page_is_shown_in_one_place);
	tcase_add_loop_test(tests, pages_of_parked_spaces_are_evicted_and_found_again, 0, 4);
	tcase_add_test(tests, what_is_parked_is_idle);
	tcase_add_test(tests, functions_work_on_a_parked_space);
	tcase_add_test(tests, several_mappings_and_files);
	if (is_supported())
		tcase_add_test(tests, heaps_have_blocks_at_the_same_addresses);
	tcase_add_test(tests, windows_that_cannot_be_are_refused);
	tcase_add_test(tests, code_that_runs_in_a_space_may_not_switch);
	tcase_add_test(tests, a_handler_on_a_stack_outside_may_switch);
	tcase_add_test(tests, what_is_not_mapped_in_the_current_space_is_a_fault);
	tcase_add_test(tests, spaces_are_destroyed_parked_and_current);
	tcase_add_test(tests, the_addresses_go_with_the_last_space);
	tcase_add_test(tests, pinned_pages_stay_in_their_frames_and_move_along);
	tcase_add_test(tests, the_number_of_system_calls_does_not_depend_on_the_pages);
	tcase_add_loop_test(tests, with_limited_addresses_pages_are_hidden_instead, 0, 2);
	tcase_add_test(tests, a_move_that_fails_loses_nothing);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
