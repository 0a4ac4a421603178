/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_nomalloc.c - the page-fault handler never enters malloc
 *
 * This program's malloc family counts the calls made while the handler runs. To know when
 * that is, the handler that the kernel has is put inside one that marks the thread. The last
 * test shows that the count can rise.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support.h"

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static _Thread_local volatile int in_handler;
static _Atomic int calls;

static void count(void)
{
	if (in_handler)
		atomic_fetch_add(&calls, 1);
}

void *malloc(size_t size)
{
	count();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	count();
	return __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
	count();
	return __libc_realloc(block, size);
}

void free(void *block)
{
	count();
	__libc_free(block);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	count();
	return __libc_memalign(alignment, size);
}

/* ---- The marked handler ----------------------------------------------------------------- */

static struct sigaction marked;
static _Atomic int handled;

static void mark(int number, siginfo_t *info, void *context)
{
	in_handler++;
	atomic_fetch_add(&handled, 1);
	marked.sa_sigaction(number, info, context);
	in_handler--;
}

/* The C library's sigaction, past upage's, which would only take a note of it. */
static void mark_handler(void)
{
	int (*host_sigaction)(int, const struct sigaction *, struct sigaction *);
	*(void **)&host_sigaction = dlsym(dlopen("libc.so.6", RTLD_NOW), "sigaction");
	ck_assert_int_eq(host_sigaction(SIGSEGV, NULL, &marked), 0);
	struct sigaction action = marked;
	action.sa_sigaction = mark;
	ck_assert_int_eq(host_sigaction(SIGSEGV, &action, NULL), 0);
	atomic_store(&calls, 0);
	atomic_store(&handled, 0);
}

static void *use(void *memory)
{
	volatile char *page = memory;
	for (int round = 0; round < 4; round++)
		for (size_t i = 0; i < 256; i++) {
			page[i * PAGE + (size_t)round] = (char)(page[i * PAGE] + 1);
			page[0]++; /* in steady use */
		}
	return NULL;
}

static const char *const policies[] = { "memory=128K,policy=clock", "memory=128K,policy=fifo",
	                                "memory=128K,policy=random",
#ifdef HAVE_LZ4
	                                "memory=128K,store=lz4"
#endif
};

START_TEST(no_kind_of_page_fault_allocates)
{
	struct machine m = machine_make(policies[_i]);
	char name[] = "/tmp/upage-nomalloc-XXXXXX";
	int file = mkstemp(name);
	ck_assert_int_eq(ftruncate(file, 256 * PAGE), 0);
	upage_store *store;
	ck_assert_ok(upage_store_open(&store, name, UPAGE_STORE_WRITABLE));
	unlink(name);
	void *shared = NULL, *private = NULL;
	ck_assert_ok(upage_map(m.space, &shared, 256 * PAGE, RW, UPAGE_MAP_SHARED, store, 0));
	ck_assert_ok(upage_map(m.space, &private, 256 * PAGE, RW, 0, store, 0));
	ck_assert_ok(upage_advise(m.space, private, 256 * PAGE, UPAGE_SEQUENTIAL));
	char *anonymous = machine_map(m, 256, RW);
	pthread_t threads[4];
	mark_handler();
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, use,
		               i == 0 ? shared : i == 1 ? private : (void *)anonymous);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	/* A resident page whose access was taken away. */
	((volatile char *)anonymous)[0] = 1;
	ck_assert_ok(upage_protect(m.space, anonymous, 256 * PAGE, PROT_NONE));
	ck_assert_ok(upage_protect(m.space, anonymous, 256 * PAGE, RW));
	((volatile char *)anonymous)[0] = 2;
	ck_assert_int_gt(handled, 2000);
	ck_assert_int_eq(calls, 0);
	struct upage_stats stats = machine_stats(m);
	ck_assert_uint_gt(stats.zero_fill, 0);
	ck_assert_uint_gt(stats.major, 0);
	ck_assert_uint_gt(stats.write_upgrade, 0);
	ck_assert_uint_gt(stats.evictions, 0);
	ck_assert_uint_gt(stats.writebacks, 0);
	ck_assert_uint_gt(stats.soft, 0);
	ck_assert_ok(upage_unmap(m.space, shared, 256 * PAGE));
	ck_assert_ok(upage_unmap(m.space, private, 256 * PAGE));
	ck_assert_ok(upage_store_close(store));
	close(file);
	machine_end(m);
}
END_TEST

static sigjmp_buf back;

static void on_segv(int number)
{
	(void)number;
	in_handler = 0;
	siglongjmp(back, 1);
}

START_TEST(nor_does_a_refused_one)
{
	struct machine m = machine_make("memory=64K");
	volatile char *memory = machine_map(m, 1, PROT_READ);
	signal(SIGSEGV, on_segv);
	mark_handler();
	if (sigsetjmp(back, 1) == 0)
		memory[0] = 1;
	if (sigsetjmp(back, 1) == 0)
		memory[PAGE] = 1;
	ck_assert_int_eq(handled, 2);
	ck_assert_int_eq(calls, 0);
	machine_end(m);
}
END_TEST

static int read_with_malloc(void *context, void *page, size_t length, off_t offset)
{
	(void)context;
	(void)offset;
	char *volatile buffer = malloc(length);
	memset(buffer, 1, length);
	memcpy(page, buffer, length);
	free(buffer);
	return 0;
}

START_TEST(the_count_rises_for_a_store_that_does)
{
	struct machine m = machine_make("memory=64K");
	struct upage_store_ops ops = { .size = sizeof(ops), .read = read_with_malloc };
	upage_store *store;
	void *memory = NULL;
	ck_assert_ok(upage_store_create(&store, &ops, NULL));
	ck_assert_ok(upage_map(m.space, &memory, PAGE, PROT_READ, 0, store, 0));
	mark_handler();
	ck_assert_int_eq(*(volatile char *)memory, 1);
	ck_assert_int_eq(calls, 2);
	ck_assert_ok(upage_unmap(m.space, memory, PAGE));
	ck_assert_ok(upage_store_close(store));
	machine_end(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("nomalloc");
	TCase *tests = tcase_create("nomalloc");
	tcase_add_loop_test(tests, no_kind_of_page_fault_allocates, 0, LENGTH(policies));
	tcase_add_test(tests, nor_does_a_refused_one);
	tcase_add_test(tests, the_count_rises_for_a_store_that_does);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
