/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * malloc.c - the drop-in malloc: the program's whole heap in paged memory
 *
 * This is libupage-malloc, a library of its own beside libupage, of which it uses nothing but
 * what any program may use. It has a jemalloc of its own (its symbols are private; here they
 * begin with private_), whose arenas are of two kinds:
 *
 *      arena 0                jemalloc's own: thread caches and the like, not paged
 *      HEAP arenas            the program's: their extents are mappings of one space, by the
 *                             hooks of malloc_extent.c
 *
 * A thread is bound to one of the heap arenas by its first allocation, so that it never
 * allocates from arena 0. When a thread ends, jemalloc forgets it before the last of its
 * destructors have run: for what these allocate, its arena is named in each call.
 *
 * Before start() has run, which is before any other constructor, the loader's and the C
 * library's few blocks come from `early`, and are never used again.
 *
 * Locking: jemalloc's own; no lock of ours. Signal context: no, as malloc natively.
 * Source: jemalloc(3); malloc(3), mallinfo(3), mallopt(3), posix_memalign(3), malloc_trim(3).
 */
#include "upage_malloc.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <unistd.h>

#include "adopt.h"
#include "compiler.h"
#include "malloc_extent.h"

#define HEAPS_MAX 8
#define LOGICAL_PAGE ((size_t)4096) /* jemalloc's, and what valloc aligns to */
#define ALIGNMENT ((size_t)16)      /* of every block, as natively */
#define GROWTH ((size_t)4 << 20)    /* most bytes to map ahead of need */

/* Nothing that the user says in MALLOC_CONF may change what the recipe needs: this comes last.
 * narenas: arena 0 alone is chosen by jemalloc itself. oversize_threshold: no arena of its own
 * for large blocks. lg_extent_max_active_fit: what is free is cut up, however large it is, before
 * more is mapped. zero_realloc: as natively. */
const char *malloc_conf_2_conf_harder =
        "narenas:1,percpu_arena:disabled,tcache:true,oversize_threshold:0,retain:true,"
        "dss:disabled,background_thread:false,metadata_thp:disabled,hpa:false,zero_realloc:free,"
        "lg_extent_max_active_fit:63";

/* The time that free pages wait to be used again is a matter of taste. */
const char *malloc_conf = "dirty_decay_ms:100,muzzy_decay_ms:0";

/* The functions of our jemalloc that the C library has, too (see lib/Makefile.am). */
void *private_malloc(size_t size);
void *private_calloc(size_t count, size_t size);
void *private_realloc(void *block, size_t size);
void private_free(void *block);
size_t private_malloc_usable_size(void *block);

static struct {
	upage_pool *pool;
	upage_space *space;
	unsigned arenas;
	unsigned arena[HEAPS_MAX];
	_Atomic unsigned next_arena;
	bool counted; /* what is mapped must fit into memory and swap together */
	pthread_key_t thread_end;
	_Atomic bool started;
} heap;

enum thread_state { THREAD_NEW, THREAD_BOUND, THREAD_ENDED };

static _Thread_local struct {
	enum thread_state state;
	unsigned arena;
} thread;

static bool likely(bool condition)
{
	return __builtin_expect(condition, true);
}

/* ---- Before the start --------------------------------------------------------------------- */

/* Pages that are never touched cost nothing. */
static struct {
	_Alignas(4096) char memory[(size_t)1 << 20];
	_Atomic size_t used;
} early;

static bool is_early(const void *block)
{
	return (uintptr_t)block - (uintptr_t)early.memory < sizeof(early.memory);
}

/* A block's size stands in front of it. The memory is zero. */
static size_t *early_size(void *block)
{
	return (size_t *)block - 1;
}

static void *early_allocate(size_t alignment, size_t size)
{
	size_t used = atomic_load(&early.used), start, end;
	do {
		start = round_up(used + sizeof(size_t), alignment);
		if (__builtin_add_overflow(start, size, &end) || start < used ||
		    end > sizeof(early.memory)) {
			errno = ENOMEM;
			return NULL;
		}
	} while (!atomic_compare_exchange_weak(&early.used, &used, end));
	*early_size(early.memory + start) = size;
	return early.memory + start;
}

/* ---- Arenas ------------------------------------------------------------------------------- */

static bool arena_control(unsigned arena, const char *what, void *value, size_t size)
{
	char name[64];
	snprintf(name, sizeof(name), "arena.%u.%s", arena, what);
	return mallctl(name, NULL, NULL, value, size) == 0;
}

/* The arena is made with the default hooks, which so serve its metadata; then it gets ours. Where there
 * is no space of ours it keeps those. */
static bool arena_make(unsigned *arena)
{
	size_t size = sizeof(*arena), growth = GROWTH;
	extent_hooks_t *hooks = &malloc_extent_hooks;
	if (mallctl("arenas.create", arena, &size, NULL, 0) != 0)
		return false;
	return heap.space == NULL ||
	       (arena_control(*arena, "extent_hooks", &hooks, sizeof(hooks)) &&
	        arena_control(*arena, "retain_grow_limit", &growth, sizeof(growth)));
}

/* One a processor, so that threads seldom meet; few, since each has pages of every size. */
static bool arenas_make(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned wanted = processors < 1           ? 1
	                  : processors > HEAPS_MAX ? HEAPS_MAX
	                                           : (unsigned)processors;
	while (heap.arenas < wanted && arena_make(&heap.arena[heap.arenas]))
		heap.arenas++;
	return heap.arenas > 0;
}

/* ---- Threads ------------------------------------------------------------------------------ */

/* Runs just after jemalloc's own, whose key is older. */
static void thread_ended(void *unused)
{
	(void)unused;
	thread.state = THREAD_ENDED;
}

static void thread_bind(void)
{
	unsigned turn = atomic_fetch_add_explicit(&heap.next_arena, 1, memory_order_relaxed);
	thread.arena = heap.arena[turn % heap.arenas];
	/* Where either fails each allocation names the arena: slower, and as right. */
	bool bound = mallctl("thread.arena", NULL, NULL, &thread.arena, sizeof(thread.arena)) == 0 &&
	             pthread_setspecific(heap.thread_end, &heap) == 0;
	thread.state = bound ? THREAD_BOUND : THREAD_ENDED;
}

/* ---- Allocation --------------------------------------------------------------------------- */

static bool is_plain(void)
{
	return likely(thread.state == THREAD_BOUND);
}

/* Small blocks of jemalloc are aligned to 8 bytes only. */
static size_t at_least(size_t size)
{
	return size > 8 ? size : ALIGNMENT;
}

/* After a failure. Return: whether to try again, which is once: one arena's free memory may be
 * what another wants. */
static bool make_room(size_t size, bool *tried)
{
	if (*tried || !heap.counted || size > PTRDIFF_MAX)
		return false;
	*tried = true;
	return malloc_trim(0) != 0;
}

/* For a thread that jemalloc has forgotten, or cannot bind. mallocx() would take arena 0 whatever
 * it is told, because it takes the thread for a part of itself; rallocx(), which moves the block
 * since its size class changes, does as it is told. */
static void *allocate_unbound(size_t size, int flags)
{
	void *seed = mallocx(1, (flags & MALLOCX_ZERO) | MALLOCX_TCACHE_NONE);
	if (seed == NULL)
		return NULL;
	void *block = rallocx(seed, size, flags | (int)(MALLOCX_ARENA(thread.arena) | MALLOCX_TCACHE_NONE));
	if (block == NULL)
		dallocx(seed, MALLOCX_TCACHE_NONE);
	return block;
}

/* In all cases but the most frequent. @alignment: a power of two. */
static void *allocate(size_t alignment, size_t size, bool zero)
{
	if (thread.state == THREAD_NEW) {
		if (!atomic_load_explicit(&heap.started, memory_order_acquire))
			return early_allocate(alignment > ALIGNMENT ? alignment : ALIGNMENT, size);
		thread_bind();
	}
	int flags = zero ? MALLOCX_ZERO : 0;
	if (alignment > ALIGNMENT)
		flags |= (int)MALLOCX_ALIGN(alignment);
	bool tried = false;
	void *block;
	do {
		block = thread.state == THREAD_BOUND ? mallocx(at_least(size), flags)
		                                     : allocate_unbound(at_least(size), flags);
	} while (block == NULL && make_room(size, &tried));
	if (block == NULL)
		errno = ENOMEM;
	return block;
}

PUBLIC void *malloc(size_t size)
{
	void *block = NULL;
	if (is_plain())
		block = private_malloc(at_least(size));
	return likely(block != NULL) ? block : allocate(ALIGNMENT, size, false);
}

PUBLIC void *calloc(size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	void *block = NULL;
	if (is_plain())
		block = private_calloc(1, at_least(bytes));
	return likely(block != NULL) ? block : allocate(ALIGNMENT, bytes, true);
}

PUBLIC void free(void *block)
{
	if (likely(!is_early(block)))
		private_free(block);
}

static void *move_early(void *block, size_t size)
{
	size_t old = *early_size(block);
	void *moved = malloc(size);
	if (moved != NULL)
		memcpy(moved, block, old < size ? old : size);
	return moved;
}

PUBLIC void *realloc(void *block, size_t size)
{
	if (block == NULL)
		return malloc(size);
	if (size == 0) {
		free(block);
		return NULL;
	}
	if (is_early(block))
		return move_early(block, size);
	if (thread.state == THREAD_NEW)
		thread_bind();
	bool tried = false;
	void *moved;
	do {
		moved = is_plain() ? private_realloc(block, at_least(size))
		                   : rallocx(block, at_least(size),
		                             (int)(MALLOCX_ARENA(thread.arena) | MALLOCX_TCACHE_NONE));
	} while (moved == NULL && make_room(size, &tried));
	if (moved == NULL) /* jemalloc says so only of some */
		errno = ENOMEM;
	return moved;
}

PUBLIC void *reallocarray(void *block, size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(block, bytes);
}

/* ---- Aligned ------------------------------------------------------------------------------- */

PUBLIC int posix_memalign(void **out, size_t alignment, size_t size)
{
	if (!is_power_of_two(alignment) || alignment % sizeof(void *) != 0)
		return EINVAL;
	int saved = errno;
	void *block = allocate(alignment, size, false);
	errno = saved;
	if (block == NULL)
		return ENOMEM;
	*out = block;
	return 0;
}

/* As the C library's: an alignment that is no power of two becomes the next. */
PUBLIC void *memalign(size_t alignment, size_t size)
{
	if (alignment > SIZE_MAX / 2 + 1) {
		errno = EINVAL;
		return NULL;
	}
	return allocate((size_t)1 << log2_ceiling(alignment), size, false);
}

PUBLIC void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

PUBLIC void *valloc(size_t size)
{
	return allocate(LOGICAL_PAGE, size, false);
}

PUBLIC void *pvalloc(size_t size)
{
	if (size > SIZE_MAX - LOGICAL_PAGE) {
		errno = ENOMEM;
		return NULL;
	}
	return allocate(LOGICAL_PAGE, round_up(size, LOGICAL_PAGE), false);
}

/* ---- Questions and wishes ------------------------------------------------------------------ */

PUBLIC size_t malloc_usable_size(void *block)
{
	if (block != NULL && is_early(block))
		return *early_size(block);
	return private_malloc_usable_size(block);
}

PUBLIC int malloc_trim(size_t pad)
{
	(void)pad; /* of the top of a heap: there is none */
	if (!atomic_load(&heap.started))
		return 0;
	uint64_t before = malloc_extent_dropped();
	if (is_plain())
		mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
	for (unsigned i = 0; i < heap.arenas; i++)
		arena_control(heap.arena[i], "purge", NULL, 0);
	return malloc_extent_dropped() != before;
}

/* The parameters that the C library knows are about its own mechanisms: taken, to no effect. */
PUBLIC int mallopt(int parameter, int value)
{
	(void)value;
	switch (parameter) {
	case M_MXFAST:
	case M_NLBLKS:
	case M_GRAIN:
	case M_KEEP:
	case M_TRIM_THRESHOLD:
	case M_TOP_PAD:
	case M_MMAP_THRESHOLD:
	case M_MMAP_MAX:
	case M_CHECK_ACTION:
	case M_PERTURB:
	case M_ARENA_TEST:
	case M_ARENA_MAX:
		return 1;
	default:
		return 0;
	}
}

static size_t arena_number(unsigned arena, const char *what)
{
	char name[64];
	size_t number = 0, size = sizeof(number);
	snprintf(name, sizeof(name), "stats.arenas.%u.%s", arena, what);
	mallctl(name, &number, &size, NULL, 0);
	return number;
}

struct use {
	size_t mapped;    /* bytes that the heap has of its space */
	size_t allocated; /* of them, in blocks; thread caches count */
	size_t dirty;     /* of them, free, and not yet given back */
};

static struct use use_now(void)
{
	struct use use = { .mapped = malloc_extent_mapped() };
	bool paged = heap.space != NULL;
	uint64_t epoch = 1;
	mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
	for (unsigned i = 0; i < heap.arenas; i++) {
		use.mapped += paged ? 0 : arena_number(heap.arena[i], "mapped");
		use.allocated += arena_number(heap.arena[i], "small.allocated") +
		                 arena_number(heap.arena[i], "large.allocated");
		use.dirty += arena_number(heap.arena[i], "pdirty") * LOGICAL_PAGE;
	}
	return use;
}

PUBLIC struct mallinfo2 mallinfo2(void)
{
	struct use use = use_now();
	return (struct mallinfo2){ .arena = use.mapped,
		                   .ordblks = 1,
		                   .uordblks = use.allocated,
		                   .fordblks = use.mapped - use.allocated,
		                   .keepcost = use.dirty };
}

/* Its fields are too small for large heaps, natively too. */
PUBLIC struct mallinfo mallinfo(void)
{
	struct mallinfo2 info = mallinfo2();
	return (struct mallinfo){ .arena = (int)info.arena,
		                  .ordblks = (int)info.ordblks,
		                  .uordblks = (int)info.uordblks,
		                  .fordblks = (int)info.fordblks,
		                  .keepcost = (int)info.keepcost };
}

PUBLIC void malloc_stats(void)
{
	struct use use = use_now();
	fprintf(stderr,
	        "Total (paged):\nsystem bytes     = %10zu\nin use bytes     = %10zu\n"
	        "free, not given back = %6zu\n",
	        use.mapped, use.allocated, use.dirty);
}

PUBLIC int malloc_info(int options, FILE *stream)
{
	if (options != 0)
		return EINVAL;
	struct use use = use_now();
	fprintf(stream,
	        "<malloc version=\"upage-" UPAGE_VERSION "\">\n"
	        "<total type=\"rest\" count=\"1\" size=\"%zu\"/>\n"
	        "<system type=\"current\" size=\"%zu\"/>\n</malloc>\n",
	        use.mapped - use.allocated, use.mapped);
	return 0;
}

/* Gone from the C library's headers; old programs still call it. */
PUBLIC void cfree(void *block);
PUBLIC void cfree(void *block)
{
	free(block);
}

PUBLIC upage_pool *upage_malloc_pool(void)
{
	return heap.pool;
}

PUBLIC upage_space *upage_malloc_space(void)
{
	return heap.space;
}

/* ---- Start --------------------------------------------------------------------------------- */

static void say(const char *what, const char *why)
{
	char line[512];
	int length = snprintf(line, sizeof(line), "upage: %s%s\n", what, why);
	/* Where stderr takes nothing, there is nobody to tell. */
	if (length > 0 && write(2, line, (size_t)length) < 0)
		return;
}

_Noreturn static void refuse(const char *what, const char *why)
{
	say(what, why);
	_exit(125);
}

/* The C library's own view of the environment is not there yet. A program that runs with more
 * rights than its user had takes no options from him. */
static const char *options_of(char **environment)
{
	static const char name[] = "UPAGE_OPTIONS=";
	if (getauxval(AT_SECURE) != 0)
		return "";
	for (; environment != NULL && *environment != NULL; environment++)
		if (strncmp(*environment, name, sizeof(name) - 1) == 0)
			return *environment + sizeof(name) - 1;
	return "";
}

/* Without it the program can still go on: what it hands to the kernel must be pinned. */
static void intercept(const struct upage_config *config)
{
	if (strcmp(config->intercept, "off") == 0)
		return;
	int result = upage_intercept(heap.pool);
	if (result < 0)
		say("system calls on paged memory will fail, unless it is pinned: ",
		    upage_strerror(result));
}

static void adopt_data(void)
{
	int result = upage_adopt_data(heap.pool);
	if (result < 0)
		refuse("adopt-data: ", upage_strerror(result));
}

/* A sanitizer has a malloc, a shadow of the memory and handlers of signals that ours cannot go
 * with; its own start comes after this one, and what it wraps crashes until then. */
extern void __asan_init(void) __attribute__((weak));
extern void __msan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

static bool is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return false; /* so are we */
#else
	return __asan_init != NULL || __msan_init != NULL || __tsan_init != NULL;
#endif
}

#define SPACE_USUAL ((rlim_t)1 << 40) /* bytes of addresses */

/* A program that may have fewer addresses than that: half of them are for the heap. */
static int make_space(void)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	struct rlimit limit;
	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur / 2 < SPACE_USUAL)
		config.length = (size_t)(limit.rlim_cur / 2) & ~(GROWTH - 1);
	return upage_space_create(&heap.space, heap.pool, &config);
}

/* The pool and the space of the heap. */
static void make_memory(struct upage_config *config)
{
	if (upage_pool_create(&heap.pool, config) < 0)
		refuse("UPAGE_OPTIONS: ", config->message);
	int result = make_space();
	if (result < 0)
		refuse("no address space for the heap: ", upage_strerror(result));
	heap.counted = config->swap_size != 0 && !config->overcommit;
	/* A part of a larger page cannot be mapped. */
	malloc_extent_init(heap.pool, heap.space,
	                   heap.counted && upage_pool_page_size(heap.pool) == LOGICAL_PAGE);
}

static void start(int count, char **arguments, char **environment)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	(void)count, (void)arguments;
	if (environ == NULL) /* the C library comes to it later; TMPDIR is asked for */
		environ = environment;
	if (is_sanitized())
		refuse("this program was built with a sanitizer, which needs a heap of its own", "");
	strcpy(config.prefetch, "auto");
	if (upage_config_parse(&config, options_of(environment)) < 0)
		refuse("UPAGE_OPTIONS: ", config.message);
	bool inside = upage_inside(); /* then all memory is paged already */
	if (!inside)
		make_memory(&config);
	if (!arenas_make() || pthread_key_create(&heap.thread_end, thread_ended) != 0)
		refuse("no memory for the heap's own tables", "");
	atomic_store_explicit(&heap.started, true, memory_order_release);
	if (inside)
		return;
	intercept(&config);
	if (config.adopt_data)
		adopt_data();
}

/* The first code that runs after the loader's. In a library: the first constructor of the first
 * library (-z initfirst). In a static program: before the constructors. */
#ifdef UPAGE_STATIC
__attribute__((section(".preinit_array"), used)) static void (*const start_early)(int, char **,
                                                                                  char **) = start;
#else
__attribute__((constructor(101))) static void start_early(int count, char **arguments,
                                                          char **environment)
{
	start(count, arguments, environment);
}
#endif
