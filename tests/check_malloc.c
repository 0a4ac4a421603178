/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_malloc.c - does a program whose malloc is ours notice nothing but where its blocks lie?
 */
#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "support_malloc.h"

/* Sizes that the compiler must not know: it would warn of, or leave out, what is tested. */
static volatile size_t huge = SIZE_MAX, nothing;

/* ---- Every function ------------------------------------------------------------------------ */

/* A block of a function of the family: where it lies, how it is aligned, all of it used. */
static void check_block(const char *function, void *block, size_t size, size_t alignment)
{
	ck_assert_msg(block != NULL, "%s(%zu): NULL", function, size);
	ck_assert_msg(is_inside(block, size), "%s(%zu): outside", function, size);
	ck_assert_msg((uintptr_t)block % alignment == 0, "%s(%zu): %p is no multiple of %zu",
	              function, size, block, alignment);
	size_t usable = malloc_usable_size(block);
	ck_assert_msg(usable >= size, "%s(%zu): only %zu bytes", function, size, usable);
	fill(block, usable, usable);
	ck_assert(is_filled(block, usable, usable));
}

static const size_t sizes[] = { 0, 1, 7, 8, 9, 16, 17, 100, 1000, 4095, 4096, 4097, 14336, 16384,
	                        32769, 100000, 1 << 20, (8 << 20) + 1 };
#define SIZES LENGTH(sizes)

START_TEST(test_every_function)
{
	size_t size = sizes[_i];
	void *block[9], *resized = malloc(1);
	block[0] = malloc(size);
	block[1] = calloc(3, size);
	block[2] = realloc(NULL, size);
	block[3] = reallocarray(NULL, size, 2);
	ck_assert_int_eq(posix_memalign(&block[4], 64, size), 0);
	block[5] = aligned_alloc(128, size);
	block[6] = memalign(256, size);
	block[7] = valloc(size);
	block[8] = pvalloc(size);
	check_block("malloc", block[0], size, 16);
	ck_assert(is_zero(block[1], 3 * size));
	check_block("calloc", block[1], 3 * size, 16);
	check_block("realloc", block[2], size, 16);
	check_block("reallocarray", block[3], 2 * size, 16);
	check_block("posix_memalign", block[4], size, 64);
	check_block("aligned_alloc", block[5], size, 128);
	check_block("memalign", block[6], size, 256);
	check_block("valloc", block[7], size, PAGE);
	check_block("pvalloc", block[8], (size + PAGE - 1) & ~(PAGE - 1), PAGE);
	resized = realloc(resized, size + 1);
	check_block("realloc", resized, size + 1, 16);
	for (size_t i = 0; i < 9; i++)
		free(block[i]);
	free(resized);
}
END_TEST

START_TEST(test_alignments)
{
	void *block[26];
	for (unsigned i = 0; i < 26; i++) {
		block[i] = memalign((size_t)1 << i, 100);
		check_block("memalign", block[i], 100, (size_t)1 << i);
	}
	for (unsigned i = 0; i < 26; i++)
		free(block[i]);
	/* As the C library's: the next power of two. */
	block[0] = memalign(nothing, 100);
	check_block("memalign", block[0], 100, 16);
	block[1] = memalign(nothing + 3000, 100);
	check_block("memalign", block[1], 100, 4096);
	block[2] = aligned_alloc(nothing + 48, 100);
	check_block("aligned_alloc", block[2], 100, 64);
	for (unsigned i = 0; i < 3; i++)
		free(block[i]);
}
END_TEST

START_TEST(test_refused_alignments)
{
	static const size_t bad[] = { 0, 1, 4, 12, 24, 100, SIZE_MAX };
	void *block = &block;
	for (size_t i = 0; i < LENGTH(bad); i++) {
		errno = 77;
		ck_assert_int_eq(posix_memalign(&block, bad[i], 100), EINVAL);
		ck_assert_int_eq(errno, 77);
	}
	ck_assert_int_eq(posix_memalign(&block, 64, huge), ENOMEM);
	ck_assert_ptr_eq(block, &block);
	errno = 0;
	ck_assert_ptr_null(memalign(huge, 100));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(test_nothing_and_null)
{
	void *a = malloc(nothing), *b = malloc(nothing), *c = calloc(nothing, 5);
	ck_assert(a != NULL && b != NULL && c != NULL && a != b && b != c);
	free(NULL);
	ck_assert_uint_eq(malloc_usable_size(NULL), 0);
	ck_assert_ptr_null(realloc(a, nothing)); /* frees it, as the C library's */
	free(b);
	free(c);
}
END_TEST

#define ck_assert_no_memory(expression)                                                       \
	do {                                                                                  \
		errno = 0;                                                                    \
		void *block_ = (expression);                                                  \
		int error_ = errno;                                                           \
		ck_assert_msg(block_ == NULL && error_ == ENOMEM, "%s: %p, errno %d",         \
		              #expression, block_, error_);                                   \
	} while (0)

START_TEST(test_overflow)
{
	size_t half = huge / 2 + 1;
	char *block = malloc(100);
	fill(block, 100, 1);
	ck_assert_no_memory(malloc(huge));
	ck_assert_no_memory(malloc(half));
	ck_assert_no_memory(malloc(huge - 7)); /* rounding up must not wrap around */
	ck_assert_no_memory(calloc(half, 2));
	ck_assert_no_memory(calloc(2, half + 1));
	ck_assert_no_memory(calloc(huge, 1));
	ck_assert_no_memory(realloc(block, huge));
	ck_assert_no_memory(reallocarray(block, half, 2));
	ck_assert_no_memory(reallocarray(block, huge, huge));
	ck_assert_no_memory(memalign(64, huge));
	ck_assert_no_memory(valloc(huge));
	ck_assert_no_memory(pvalloc(huge));
	ck_assert_no_memory(pvalloc(huge - PAGE / 2));
	ck_assert(is_filled(block, 100, 1));
	free(block);
}
END_TEST

START_TEST(test_realloc_keeps_content)
{
	uint64_t random = 1;
	for (int i = 0; i < 300; i++) {
		size_t old = 1 + random_number(&random) % (i % 10 == 0 ? 3 * MIB : 9000);
		size_t new = 1 + random_number(&random) % (i % 7 == 0 ? 3 * MIB : 9000);
		char *block = malloc(old);
		fill(block, old, random);
		block = realloc(block, new);
		ck_assert(block != NULL && is_inside(block, new));
		ck_assert(is_filled(block, old < new ? old : new, random));
		fill(block, new, 3);
		free(block);
	}
}
END_TEST

START_TEST(test_calloc_is_zero)
{
	for (size_t i = 1; i < SIZES; i++) {
		for (int turn = 0; turn < 3; turn++) {
			char *dirty = malloc(sizes[i]);
			memset(dirty, 0xff, sizes[i]);
			free(dirty);
			char *clean = calloc(sizes[i], 1);
			ck_assert(is_zero(clean, sizes[i]));
			free(clean);
		}
	}
}
END_TEST

START_TEST(test_errno_is_left_alone)
{
	for (size_t i = 0; i < SIZES; i++) {
		errno = 77;
		void *block = malloc(sizes[i]);
		block = realloc(block, sizes[i] + 10);
		free(block);
		malloc_trim(0);
		ck_assert_int_eq(errno, 77);
	}
}
END_TEST

/* ---- Given back ----------------------------------------------------------------------------- */

START_TEST(test_trim_gives_back)
{
	size_t size = 64 * MIB;
	char *large = malloc(size);
	char *small[2000];
	malloc_trim(0);
	uint64_t before = pages_held();
	fill(large, size, 1);
	for (int i = 0; i < 2000; i++)
		fill(small[i] = malloc(4000), 4000, 2);
	ck_assert(is_filled(large, size, 1) && is_filled(small[1], 4000, 2));
	ck_assert_uint_ge(pages_held(), before + (size + 2000 * 4000) / PAGE - 64);
	free(large);
	for (int i = 0; i < 2000; i++)
		free(small[i]);
	int trimmed = malloc_trim(0), again = malloc_trim(0);
	ck_assert_int_eq(trimmed, 1);
	ck_assert_int_eq(again, 0);
	ck_assert_uint_le(pages_held(), before + 64);
	ck_assert_ok(upage_pool_verify(upage_malloc_pool()));
}
END_TEST

/* Nobody asks for it: dead pages must not go to swap for ever. */
START_TEST(test_decay_gives_back)
{
	size_t size = 48 * MIB;
	malloc_trim(0);
	uint64_t before = pages_held();
	char *large = malloc(size);
	fill(large, size, 1);
	ck_assert(is_filled(large, size, 1));
	ck_assert_uint_ge(pages_held(), before + size / PAGE - 64);
	free(large);
	for (int i = 0; i < 60 && pages_held() > before + size / PAGE / 16; i++) {
		usleep(50000);
		for (int j = 0; j < 5000; j++) {
			void *volatile block = malloc(100 + (size_t)j);
			free(block);
		}
	}
	ck_assert_uint_le(pages_held(), before + size / PAGE / 16);
}
END_TEST

/* ---- Threads -------------------------------------------------------------------------------- */

#define THREADS 8
#define ALLOCATIONS 160001 /* in all */
#define SLOTS 512

/* Blocks change hands here: what one thread allocated, another frees. */
struct parcel {
	size_t size;
	uint64_t seed;
	char content[];
};

static struct parcel *_Atomic slot[SLOTS];
static _Atomic int left;
static _Atomic size_t outside, damaged, refused;

/* Mostly small; one in 2,000 up to 100 MiB, of which the ends are used. */
static size_t random_size(uint64_t *random)
{
	uint64_t dice = random_number(random);
	size_t most = dice % 2000 == 0 ? 100 * MIB : dice % 50 == 0 ? 256 * KIB : 2 * KIB;
	return sizeof(struct parcel) + 1 + (dice >> 20) % most;
}

static void parcel_ends(struct parcel *parcel, size_t *length, char **tail)
{
	size_t room = parcel->size - sizeof(*parcel);
	*length = room < 2048 ? room : 2048;
	*tail = parcel->content + room - *length;
}

static void parcel_end(struct parcel *parcel)
{
	size_t length;
	char *tail;
	if (parcel == NULL)
		return;
	parcel_ends(parcel, &length, &tail);
	if (!is_filled(tail, length, parcel->seed))
		atomic_fetch_add(&damaged, 1);
	free(parcel);
}

static struct parcel *parcel_make(uint64_t *random)
{
	size_t size = random_size(random), length;
	uint64_t how = random_number(random) % 8;
	char *tail;
	struct parcel *parcel = how == 0   ? calloc(1, size)
	                        : how == 1 ? aligned_alloc(64, size)
	                        : how == 2 ? realloc(malloc(size / 2), size)
	                                   : malloc(size);
	if (parcel == NULL) {
		atomic_fetch_add(&refused, 1);
		return NULL;
	}
	if (!is_inside(parcel, size))
		atomic_fetch_add(&outside, 1);
	parcel->size = size;
	parcel->seed = random_number(random);
	parcel_ends(parcel, &length, &tail);
	fill(tail, length, parcel->seed);
	return parcel;
}

static void *allocate_and_free(void *number)
{
	uint64_t random = (uintptr_t)number;
	while (atomic_fetch_sub(&left, 1) > 0)
		parcel_end(atomic_exchange(&slot[random_number(&random) % SLOTS], parcel_make(&random)));
	return NULL;
}

START_TEST(test_threads)
{
	pthread_t thread[THREADS];
	atomic_store(&left, ALLOCATIONS);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, allocate_and_free, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < SLOTS; i++)
		parcel_end(atomic_exchange(&slot[i], NULL));
	ck_assert_uint_eq(atomic_load(&outside), 0);
	ck_assert_uint_eq(atomic_load(&damaged), 0);
	ck_assert_uint_eq(atomic_load(&refused), 0);
	malloc_trim(0);
	ck_assert_ok(upage_pool_verify(upage_malloc_pool()));
}
END_TEST

/* What a dying thread allocates, in a destructor that runs after those of malloc itself. */
static pthread_key_t key;
static void *last_words[3];

static void destructor(void *round)
{
	uintptr_t n = (uintptr_t)round;
	last_words[n - 1] = n == 2 ? realloc(malloc(50), 5000) : calloc(10, 10);
	if (n < 3)
		pthread_setspecific(key, (void *)(n + 1));
}

static void *die(void *unused)
{
	free(malloc(100));
	pthread_setspecific(key, (void *)1);
	return unused;
}

START_TEST(test_blocks_of_dying_threads)
{
	ck_assert_int_eq(pthread_key_create(&key, destructor), 0);
	for (int turn = 0; turn < 50; turn++) {
		pthread_t thread;
		ck_assert_int_eq(pthread_create(&thread, NULL, die, NULL), 0);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
		for (int i = 0; i < 3; i++) {
			ck_assert(is_inside(last_words[i], i == 1 ? 5000 : 100));
			free(last_words[i]);
		}
	}
	pthread_key_delete(key);
}
END_TEST

static void *use_caches(void *unused)
{
	void *block[200];
	for (int i = 0; i < 200; i++)
		block[i] = memset(malloc(4096 + 64 * (size_t)i), 1, 4096);
	for (int i = 0; i < 200; i++)
		free(block[i]);
	return unused;
}

START_TEST(test_ended_threads_leave_nothing)
{
	malloc_trim(0);
	uint64_t before = pages_held();
	for (int turn = 0; turn < 100; turn++) {
		pthread_t thread;
		ck_assert_int_eq(pthread_create(&thread, NULL, use_caches, NULL), 0);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
	}
	malloc_trim(0);
	ck_assert_uint_le(pages_held(), before + 100);
}
END_TEST

/* ---- The C library's own ---------------------------------------------------------------------- */

START_TEST(test_strings_of_the_c_library)
{
	char *copy = strdup("a string"), *part = strndup("a string", 3), *printed;
	ck_assert_int_eq(asprintf(&printed, "%d %5000s", 42, "x"), 5003);
	ck_assert(is_inside(copy, 9) && is_inside(part, 4) && is_inside(printed, 5004));
	ck_assert_str_eq(copy, "a string");
	ck_assert_str_eq(part, "a s");
	ck_assert_int_eq(memcmp(printed, "42  ", 4), 0);
	free(copy);
	free(part);
	free(printed);
}
END_TEST

START_TEST(test_lines_of_a_file)
{
	FILE *file = tmpfile();
	char *line = NULL;
	size_t room = 0;
	ck_assert_ptr_nonnull(file);
	ck_assert(is_inside(file, 1));
	for (int i = 0; i < 20000; i++)
		fprintf(file, "%d %0*d\n", i, i % 100 + 1, 7);
	ck_assert_int_eq(fflush(file), 0);
	rewind(file);
	for (int i = 0; i < 20000; i++) {
		char expected[200];
		snprintf(expected, sizeof(expected), "%d %0*d\n", i, i % 100 + 1, 7);
		ck_assert(getline(&line, &room, file) > 0 && strcmp(line, expected) == 0 &&
		          is_inside(line, room));
	}
	ck_assert_int_eq(getline(&line, &room, file), -1);
	free(line);
	fclose(file);
}
END_TEST

START_TEST(test_directories)
{
	DIR *directory = opendir("/");
	ck_assert_ptr_nonnull(directory);
	ck_assert(is_inside(directory, 1));
	int entries = 0;
	while (readdir(directory) != NULL)
		entries++;
	ck_assert_int_ge(entries, 3); /* ., .. and something */
	closedir(directory);
}
END_TEST

static int compare(const void *a, const void *b)
{
	return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

/* qsort takes as much memory again: together a quarter more than there is. */
START_TEST(test_qsort)
{
	size_t count = 10 * MIB / sizeof(int);
	int *number = malloc(count * sizeof(int));
	uint64_t random = 5;
	for (size_t i = 0; i < count; i++)
		number[i] = (int)(random_number(&random) >> 33);
	qsort(number, count, sizeof(int), compare);
	size_t ordered = 1;
	while (ordered < count && number[ordered - 1] <= number[ordered])
		ordered++;
	ck_assert_uint_eq(ordered, count);
	free(number);
}
END_TEST

/* ---- Before the start -------------------------------------------------------------------------- */

/* A resolver runs while the loader relocates this program, before any constructor. */
static char *early_block[4];
static int resolved(void)
{
	return 42;
}

__attribute__((used)) static int (*resolver(void))(void)
{
	void *(*volatile allocate)(size_t) = malloc;
	for (int i = 0; i < 4; i++) {
		early_block[i] = allocate(1000);
		fill(early_block[i], 1000, (uint64_t)i);
	}
	return resolved;
}

int resolved_early(void) __attribute__((ifunc("resolver")));

START_TEST(test_blocks_from_before_the_start)
{
	ck_assert_int_eq(resolved_early(), 42);
	for (int i = 0; i < 4; i++) {
		ck_assert_ptr_nonnull(early_block[i]);
		ck_assert(!is_inside(early_block[i], 1));
		ck_assert_uint_eq((uintptr_t)early_block[i] % 16, 0);
		ck_assert_uint_ge(malloc_usable_size(early_block[i]), 1000);
		ck_assert(is_filled(early_block[i], 1000, (uint64_t)i));
	}
	char *grown = realloc(early_block[0], 3000), *cut = realloc(early_block[1], 10);
	ck_assert(is_inside(grown, 3000) && is_inside(cut, 10));
	ck_assert(is_filled(grown, 1000, 0) && is_filled(cut, 10, 1));
	ck_assert_ptr_null(realloc(early_block[2], nothing));
	free(early_block[3]);
	/* None of them comes again. */
	for (int i = 0; i < 1000; i++)
		ck_assert(is_inside(malloc(1000), 1000));
	free(grown);
	free(cut);
}
END_TEST

/* ---- Questions ---------------------------------------------------------------------------------- */

START_TEST(test_mallinfo)
{
	struct mallinfo2 before = mallinfo2();
	void *volatile block = malloc(20 * MIB);
	struct mallinfo2 after = mallinfo2();
	ck_assert_uint_ge(after.uordblks, before.uordblks + 19 * MIB);
	ck_assert_uint_ge(after.arena, after.uordblks);
	ck_assert_uint_eq(after.arena, after.uordblks + after.fordblks);
	free(block);
	ck_assert_uint_le(mallinfo2().uordblks, before.uordblks + MIB);
	ck_assert_int_eq(mallopt(M_MMAP_THRESHOLD, 1 << 20), 1);
	ck_assert_int_eq(mallopt(M_ARENA_MAX, 1), 1);
	ck_assert_int_eq(mallopt(12345, 1), 0);
}
END_TEST

START_TEST(test_malloc_info)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);
	ck_assert_int_eq(malloc_info(1, stream), EINVAL);
	ck_assert_int_eq(malloc_info(0, stream), 0);
	fclose(stream);
	ck_assert_int_eq(strncmp(text, "<malloc version=", 16), 0);
	ck_assert_ptr_nonnull(strstr(text, "</malloc>\n"));
	free(text);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("malloc");
	TCase *tcase = tcase_create("malloc");
	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, test_blocks_from_before_the_start);
	tcase_add_loop_test(tcase, test_every_function, 0, SIZES);
	tcase_add_test(tcase, test_alignments);
	tcase_add_test(tcase, test_refused_alignments);
	tcase_add_test(tcase, test_nothing_and_null);
	tcase_add_test(tcase, test_overflow);
	tcase_add_test(tcase, test_realloc_keeps_content);
	tcase_add_test(tcase, test_calloc_is_zero);
	tcase_add_test(tcase, test_errno_is_left_alone);
	tcase_add_test(tcase, test_trim_gives_back);
	tcase_add_test(tcase, test_decay_gives_back);
	tcase_add_test(tcase, test_threads);
	tcase_add_test(tcase, test_blocks_of_dying_threads);
	tcase_add_test(tcase, test_ended_threads_leave_nothing);
	tcase_add_test(tcase, test_strings_of_the_c_library);
	tcase_add_test(tcase, test_lines_of_a_file);
	tcase_add_test(tcase, test_directories);
	tcase_add_test(tcase, test_qsort);
	tcase_add_test(tcase, test_mallinfo);
	tcase_add_test(tcase, test_malloc_info);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(int count, char **arguments)
{
	(void)count;
	return run_malloc_suite(suite, arguments);
}
