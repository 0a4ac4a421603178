/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * upage.h - paging in user space: physical memory, address spaces, heaps
 *
 * Order of use: a pool of frames, a space over it, a mapping in the space (or a heap),
 * then plain loads and stores:
 *
 *      struct upage_config config = UPAGE_CONFIG_INIT;
 *      upage_pool *pool;
 *      upage_space *space;
 *      void *memory = NULL;
 *      upage_config_parse(&config, "memory=1M,policy=clock");
 *      upage_pool_create(&pool, &config);
 *      upage_space_create(&space, pool, NULL);
 *      upage_map(space, &memory, 64 << 20, PROT_READ | PROT_WRITE, 0, NULL, 0);
 *      memset(memory, 1, 64 << 20);             // 64 MiB, never more than 1 MiB resident
 *
 * Words: a page is virtual, a frame is physical, a host page is the kernel's; a page fault
 * is the trap that we serve, a failure is an error; a slot is a page's place in a store.
 *
 * Results: every int function returns 0 or a negative code (enum upage_error, or a negated
 * errno value that the host gave); upage_strerror() names it. Outputs and all state are as
 * before when a call fails. errno is neither used nor changed.
 *
 * Caveats
 *  - The kernel does not take our faults: a system call that is handed an address whose page
 *    is not resident fails with EFAULT. Hold such memory with upage_pin() for the call, or
 *    have all calls intercepted: upage_intercept(), which lifts the next four as well.
 *  - The first pool installs a SIGSEGV handler for good. sigaction() and signal() of this
 *    library stand in front of the C library's, so that a handler for SIGSEGV that the
 *    program installs, before or after, still gets the faults that are the program's own.
 *  - A page fault runs in the faulting thread, on its stack or its alternate signal stack:
 *    it needs up to 16 KiB of it (more where the kernel's signal frame is larger than 4 KiB, as
 *    with AMX), which must not itself be paged memory.
 *  - A signal mask with SIGSEGV in it that the kernel gets from elsewhere (sigsuspend, ppoll,
 *    pselect, epoll_pwait) blocks page faults while it holds: leave SIGSEGV out of such masks.
 *  - A pool holds two descriptors (its memory and its swap file). A program that closes
 *    descriptors that it did not open must leave these out.
 *  - fork() gives the child a copy of all paged memory, with a memory and a swap file of its own
 *    of the same size. Where none can be made (no memory, no descriptors, no room for swap) a
 *    reference to it in the child ends in one clear line and SIGBUS. A thread whose own stack
 *    is paged must not fork beside other threads, unless system calls are intercepted.
 *  - A page fault that cannot be served (the store fails, swap is full, every frame pinned)
 *    ends in one line on stderr and SIGBUS with BUS_ADRERR at the faulting instruction.
 */
#ifndef UPAGE_H
#define UPAGE_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h> /* PROT_* */
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UPAGE_VERSION "0.1.0"

typedef struct upage_pool upage_pool;   /* physical memory: frames, policy, swap    */
typedef struct upage_space upage_space; /* one virtual address space                */
typedef struct upage_store upage_store; /* where pages live that are in no frame    */
typedef struct upage_heap upage_heap;   /* an allocator whose blocks are paged      */
typedef uint64_t upage_vpn;             /* virtual page number: (address - base) / page size */
typedef uint64_t upage_pfn;             /* page frame number, in [0, frames)        */

/* ---- Errors -------------------------------------------------------------------------- */

/* name, value, text. Codes that errno has a word for keep errno's number, negated. */
#define UPAGE_ERROR_MAP(X)                                                                    \
	X(EINVAL, -EINVAL, "invalid argument")                                                \
	X(ENOMEM, -ENOMEM, "out of memory: no frame, no swap slot, or no room in the space")  \
	X(EBUSY, -EBUSY, "still in use, or pinned")                                           \
	X(EEXIST, -EEXIST, "the range is already mapped")                                     \
	X(E2BIG, -E2BIG, "the structure has fields that this library does not know")          \
	X(EPERM, -EPERM, "a privileged operation, by code that runs in a space")              \
	X(EIO, -EIO, "the backing store failed")                                              \
	X(ENOSPC, -ENOSPC, "the backing store is full")                                       \
	X(EACCES, -EACCES, "the mapping or the store does not allow this access")             \
	X(EOVERFLOW, -EOVERFLOW, "address + length, or offset + length, overflows")           \
	X(ENOTSUP, -EOPNOTSUPP, "not supported on this machine or by this store")             \
	X(ENOTMAPPED, -20001, "the range, or a part of it, is not mapped")                    \
	X(EPINS, -20002, "more pins than memory can hold")                                    \
	X(EFRAMES, -20003, "memory is under 16 frames, or over 2^31 frames")                  \
	X(EPAGESIZE, -20004, "page size is no power of two from the host's page to 2 MiB")    \
	X(EOPTION, -20005, "unknown option, or a value that the option cannot take")          \
	X(EBOUNDS, -20006, "the range is outside the address space")

enum upage_error {
	UPAGE_OK = 0,
#define X(name, value, text) UPAGE_##name = (value),
	UPAGE_ERROR_MAP(X)
#undef X
};

/**
 * upage_strerror - the text of a code
 * @code: what a function of this library returned
 *
 * Context: anywhere, signal handlers too. Cost: a search of a small table.
 * Return: a static string; for a negated errno value of the host, the host's words.
 */
const char *upage_strerror(int code);

/** upage_version - the version of the library that is linked, such as "0.1.0". */
const char *upage_version(void);

/**
 * upage_inside - whether `upage run` runs this program
 *
 * All of its memory is paged then, and it cannot page once more: pools are refused.
 * libupage-malloc leaves the heap to the one outside.
 * Context: anywhere. Cost: a system call. Return: 1 or 0.
 */
int upage_inside(void);

/* ---- Configuration ------------------------------------------------------------------- */

/*
 * What a pool is made of. Zero (and NULL) is the default of every field. The words are those
 * of UPAGE_OPTIONS and of the command line.
 */
struct upage_config {
	size_t size;            /* sizeof(struct upage_config)                               */
	size_t memory;          /* memory=SIZE: bytes of frames; 0: 256 MiB                  */
	size_t page_size;       /* page-size=SIZE: bytes; power of two, 4 KiB to 2 MiB; 0: 4 KiB */
	size_t swap_size;       /* swap-size=SIZE: most bytes of swap, compressed ones if they are;
	                           0: what the disk holds, or of memory half of the machine's */
	size_t mapping_budget;  /* mapping-budget=N: most host mappings, at least 64;
	                           0: from vm.max_map_count, less an eighth for the program's own;
	                           where those are more, fewer are used while that is so     */
	uint64_t seed;          /* seed=N: of every random choice                            */
	unsigned stats;         /* stats: non-zero: a table on stderr at the end             */
	unsigned overcommit;    /* overcommit: with swap-size, map more than can be held: once
	                           both are full a first touch is SIGBUS, not a map UPAGE_ENOMEM */
	char policy[32];        /* policy=clock|fifo|random; "": clock                       */
	char store[256];        /* store=file[:PATH][,direct]|lz4: where swapped pages go; "": file, an
	                           unlinked temporary file in $TMPDIR or /tmp; lz4: memory, in
	                           which they are compressed; direct: see below              */
	char mapping[16];       /* mapping=auto|remap|guard: how pages are shown; "": auto.
	                           remap: a host mapping for frames that lie beside each other;
	                           guard: one for all of a space, and guards (Linux 6.15) on what is
	                           not resident: however scattered, and a fault costs less, but
	                           what is read counts as written. For anonymous memory of paged spaces that are in
	                           no window; clones copy it at once. auto: guard, with more than
	                           twice as many frames as mapping_budget, or with store=lz4 and
	                           more pages mapped than frames; else remap, until a
	                           quarter of that is in use                                 */
	char stats_json[256];   /* stats-json=FILE: statistics at the end; %p is the process id;
	                           a relative name is one in the directory at the start      */
	char message[256];      /* out: after a failure, a sentence that names the word at fault */
	char intercept[8];      /* intercept=on|off: for programs linked with upage-malloc: whether
	                           system calls are intercepted (upage_intercept()); "": on  */
	unsigned adopt_data;    /* adopt-data: for programs linked with upage-malloc: their .data
	                           and .bss become paged memory too                          */
	char prefetch[16];      /* prefetch=auto|off|N: the most pages that one fault brings in, of
	                           empty ones while a quarter of the frames is free, of swapped
	                           ones, up to 32, in order only: N from 1 to 256, auto: 256, off: 1.
	                           "": auto for programs linked with upage-malloc and for whole
	                           ones, else off: a fault a page                            */
	char scheme[16];        /* scheme=paging|segmentation|base-bounds: of its spaces; "": paging */
	size_t bounds;          /* bounds=SIZE: of `upage run` with base-bounds: the size of the space;
	                           0: half of memory                                         */
	unsigned compact;       /* compact: of `upage run`: every 100 ms something is relocated */
	unsigned guard_metadata; /* guard-metadata: page tables, frame tables and the like are out
	                           of reach while the program's code runs: a reference to them is
	                           SIGSEGV, with a line on stderr. Exact for one thread; while a
	                           call or a fault of one is under way, others reach them. For all
	                           pools of the process: the first one has to ask for it (else
	                           UPAGE_EBUSY). A fault takes two calls of mprotect(2) more     */
	char reclaimers[8];     /* reclaimers=auto|N: threads of the pool's own, up to 8, that evict
	                           pages while less than 1/128 of the frames is free, until 1/64
	                           is, and zero free frames; memories under 256 frames have none.
	                           They begin when first needed, and end when they are not; every
	                           signal is blocked in them. "": auto, which is 0               */
	unsigned direct;        /* direct: the swap file is read and written past the host's page
	                           cache (O_DIRECT), which then holds no second copy of pages.
	                           Several requests are under way at once, if the host has
	                           asynchronous I/O (io_submit(2)); else one after another       */
	char patch[8];          /* patch=auto|on|off: of `upage run`: where a program often makes
	                           system calls its code is changed so that they do not trap.
	                           The program can see that, if it reads its code; auto: on   */
};
#define UPAGE_CONFIG_INIT { .size = sizeof(struct upage_config) }

/**
 * upage_config_parse - take in options, written as in UPAGE_OPTIONS
 * @config: changed as the words say; as it was, but for message, on failure
 * @words:  comma-separated "name=value" or "name", such as "memory=64M,policy=fifo,stats";
 *          sizes are bytes, or have a suffix K, M, G or T (powers of 1024); a comma cannot
 *          stand in a value
 *
 * Context: not in a signal handler. Cost: the length of the words.
 * Return: 0, or
 *         UPAGE_EOPTION    a word is unknown or its value is none that it takes; message
 *                          names the word and what would be right
 *         UPAGE_EPAGESIZE  the same of page-size
 *         UPAGE_EINVAL     config or words is NULL, or config->size is 0
 *         UPAGE_E2BIG      config->size is larger than this library knows
 */
int upage_config_parse(struct upage_config *config, const char *words);

/**
 * upage_config_environment - take in the options of the environment variable UPAGE_OPTIONS
 * @config: as in upage_config_parse(); unchanged if the variable is unset
 *
 * Return: as upage_config_parse().
 */
int upage_config_environment(struct upage_config *config);

/* ---- Pools: physical memory ---------------------------------------------------------- */

/**
 * upage_pool_create - make a physical memory
 * @out:    the new pool; unchanged on failure
 * @config: its make; message is written on failure. NULL: the defaults, changed by
 *          UPAGE_OPTIONS (then the message goes to stderr)
 *
 * Host memory is taken as frames are first used, never more than config->memory and a few
 * percent of tables. The first pool of a process installs the trap (see Caveats).
 *
 * Context: not in a signal handler. Cost: a few dozen system calls.
 * Return: 0, or
 *         UPAGE_EFRAMES    memory / page size is under 16, or over 2^31
 *         UPAGE_EPAGESIZE  page size is no power of two, under the host's or over 2 MiB
 *         UPAGE_ENOTSUP    mapping=guard, and the kernel has no guards
 *         UPAGE_EOPTION    policy, store or mapping is none that there is, or a size of swap
 *                          or a budget of mappings too small to work with
 *         UPAGE_E2BIG      config->size is larger than this library knows
 *         UPAGE_EBUSY      guard_metadata is set, and the process's first pool did without
 *         another -errno   the swap file cannot be made (message has its path), or the host
 *                          has no memory
 * Source: OSTEP ch. 21-22; memfd_create(2).
 */
int upage_pool_create(upage_pool **out, struct upage_config *config);

/**
 * upage_pool_destroy - give a physical memory back
 * @pool: its spaces destroyed before; NULL is allowed
 *
 * Writes the statistics that the configuration asked for.
 * Return: 0, or UPAGE_EBUSY if a space is left.
 */
int upage_pool_destroy(upage_pool *pool);

/**
 * upage_pool_verify - whether the tables of a pool agree with each other
 * @pool: no page fault and no call is under way in it
 *
 * Every frame in use knows the page, or the pages, that it belongs to, and no other has it; slots
 * count the pages and frames that have them; the policy holds just the frames of pages, free runs,
 * runs of spaces and used frames add up, mappings are in order.
 * Cost: O(frames + pages). For tests, and for programs that look for their own stray writes.
 * Return: 0, or UPAGE_EIO with a line on stderr that says what disagrees.
 */
int upage_pool_verify(upage_pool *pool);

struct upage_compaction {
	size_t size;         /* in: sizeof(struct upage_compaction)                          */
	uint64_t max_moves;  /* in: stop after so many; 0: none                              */
	uint64_t moves;      /* out: pages that got another frame                            */
	uint64_t frames_free;             /* out: frames, now                                */
	uint64_t largest_free_run_before; /* out: frames beside each other, before ...       */
	uint64_t largest_free_run_after;  /* ... and now                                     */
	uint64_t max_pause_ns; /* out: the longest time that pages were held to be moved     */
};
#define UPAGE_COMPACTION_INIT { .size = sizeof(struct upage_compaction) }

/**
 * upage_compact - move pages so that free frames lie beside each other, and neighbours too
 * @pool:   its memory, while other threads use it
 * @result: in: max_moves; out: the rest. NULL: no limit, and nothing is told
 *
 * Free frames become one run; pages beside each other in memory get frames beside each other, which
 * take fewer host mappings. Spaces in runs are moved down whole, and wait for as long as that takes.
 * External fragmentation is 1 - largest_free_run / frames_free. Pinned pages, those that share a frame, and
 * those that another thread works on just then, stay. Nothing is evicted, and at least one frame must be
 * free. The library does the same itself, a little at a time, when host mappings run short.
 *
 * Up to 256 pages, or 1 MiB, move at a time: so long a thread that writes to them waits, one that reads
 * does not. Signals of the caller wait for the end, which max_moves brings nearer.
 * Context: not in a signal handler. Waits for another compaction of the pool. Cost: of long rows of pages
 * two to three times a memcpy of them (bench/compact), of single ones ten microseconds and more each; and
 * a look at each page that stays. At most three moves for each frame in use.
 * Return: 0, or
 *         UPAGE_EINVAL   pool is NULL, or result->size is 0
 *         UPAGE_E2BIG    result->size is larger than this library knows
 *         UPAGE_ENOMEM   no memory for the pass itself
 *         UPAGE_ENOTSUP  the pool is that of a parent, which a fork could not copy
 * Source: OSTEP ch. 16-17.
 */
int upage_compact(upage_pool *pool, struct upage_compaction *result);

/** upage_pool_page_size - bytes of a page and of a frame of @pool. */
size_t upage_pool_page_size(const upage_pool *pool);

/* ---- Spaces: virtual memory ---------------------------------------------------------- */

/* How addresses are translated, and so what frames a space gets. */
enum upage_scheme {
	UPAGE_SCHEME_POOLS,        /* as the pool's configuration says                        */
	UPAGE_SCHEME_PAGING,       /* page by page, any frame; pages come and go              */
	UPAGE_SCHEME_BASE_BOUNDS,  /* one run of neighbouring frames; one permission for all  */
	UPAGE_SCHEME_SEGMENTATION, /* four of them, each with a permission and a direction    */
};

/* The quarters of a segmented space, from its beginning on. */
enum upage_segment {
	UPAGE_SEGMENT_CODE,
	UPAGE_SEGMENT_HEAP,  /* where heaps lie                                       */
	UPAGE_SEGMENT_AREA,  /* where upage_map() maps what is not to be elsewhere    */
	UPAGE_SEGMENT_STACK, /* grows down from the end of the space                  */
};

struct upage_space_config {
	size_t size;      /* sizeof(struct upage_space_config)                          */
	size_t length;    /* bytes of virtual addresses to reserve; 0: 1 TiB            */
	void *address;    /* where; NULL: anywhere                                      */
	unsigned levels;  /* levels of the page table, 1 to 5; 0: as many as 9 bits a level need */
	unsigned scheme;  /* enum upage_scheme                                          */
	size_t bounds;    /* of base and bounds: bytes of frames, at once and for good;
	                     0: as much as is mapped, at the beginning of the space     */
	unsigned flags;   /* UPAGE_SPACE_*                                              */
};
#define UPAGE_SPACE_CONFIG_INIT { .size = sizeof(struct upage_space_config) }

/* Flags of spaces. Unknown ones are refused. */
#define UPAGE_SPACE_WINDOW (1u << 0) /* others may have the same addresses: upage_switch() */

/**
 * upage_space_create - reserve a range of virtual addresses
 * @out:    the new space; unchanged on failure
 * @pool:   the physical memory that its pages will use
 * @config: NULL: the defaults
 *
 * Nothing in it is accessible before upage_map(). A reserved TiB costs under 1 MiB.
 *
 * A space in runs (base and bounds, segmentation) has frames for all that is mapped from its first
 * to its last byte, beside each other: upage_map() takes them, and fills them, and fails with UPAGE_ENOMEM
 * where memory has not as many in one place, even after it has moved other runs out of the way. No
 * page of it is ever evicted; upage_space_swap_out() takes it out whole. Under base and bounds all that
 * lies within the bounds may be read, written and executed. Segments are the quarters of the space: code,
 * heap, mmap area and stack, of which the last grows down; a segment allows what any mapping in it does.
 * What upage_protect() forbids beyond that is not enforced. What is shared with a store may only be read.
 *
 * With UPAGE_SPACE_WINDOW, several spaces may have the same address (NULL in the first, whose
 * upage_space_base() is then the others') and length, the window, which is rounded up to 2 MiB. Nothing
 * of the new space is there before upage_switch() to it. Their pools may differ.
 *
 * Context: not in a signal handler.
 * Return: 0, or
 *         UPAGE_EINVAL   config->address is no page multiple (of a window: of 2 MiB), levels is over 5, or
 *                        more than the page numbers have bits, or a flag or the scheme is unknown; or, of
 *                        segments, length is no power of two, or, of base and bounds, bounds is more
 *         UPAGE_EOVERFLOW  length is too long for an address space
 *         UPAGE_E2BIG    config->size is larger than this library knows
 *         UPAGE_EEXIST   something is mapped at config->address; or a window is there, of another length
 *         UPAGE_ENOMEM   the host has no such range (ulimit -v?)
 */
int upage_space_create(upage_space **out, upage_pool *pool, const struct upage_space_config *config);

/**
 * upage_space_clone - another space with the same content, none of which is copied until it is written
 * @out:    the new space, in the same pool; unchanged on failure
 * @source: threads may use it meanwhile; its pages can be written to again as soon as they fault
 * @config: as in upage_space_create(), but that a length of 0 is that of @source. NULL: the defaults
 *
 * Has the private mappings of @source at the same offsets from its base, with their protection and
 * advice, their pages, and a promise of room for all of them (upage_map). Pages share their frames,
 * and swapped ones their slots, until one of those that share writes: that one gets a copy then. A
 * clone can be cloned, and each be destroyed in any order.
 *
 * It is of one moment, but for pages that are pinned: these are copied while it is made. What
 * heaps have mapped in @source is left out.
 *
 * Context: not in a signal handler. Waits for page faults under way. Cost: O(mappings, and pages that
 * are resident or swapped); takes frames for pinned pages only.
 * Return: 0, or as upage_space_create(), or
 *         UPAGE_ENOTSUP  a mapping of @source is shared (UPAGE_MAP_SHARED)
 *         UPAGE_EBOUNDS  config->length is too short for the mappings
 *         UPAGE_ENOMEM   there is no room to promise (upage_map), or no frame for a copy of a pinned
 *                        page; or the host has no memory for tables
 *         UPAGE_ENOSPC, UPAGE_EIO   no page can be saved that would make room for such a copy
 * Source: OSTEP ch. 23 (copy-on-write); fork(2).
 */
int upage_space_clone(upage_space **out, upage_space *source, const struct upage_space_config *config);

/**
 * upage_space_destroy - unmap everything and give the range back
 * @space: used by no other thread any more; NULL is allowed
 *
 * Dirty pages of shared mappings are written to their stores first. Of a window: if it was the
 * current one, nothing is there until the next upage_switch(); the range goes with the last space.
 * Return: 0, or UPAGE_EBUSY (a page is pinned, or a heap lives in it), or the store's error (the
 *         space is left as it is, so that the data is not lost).
 */
int upage_space_destroy(upage_space *space);

/**
 * upage_space_swap_out - a space in runs leaves memory, whole
 * @space: one that nobody runs in: whoever references it brings it in again
 *
 * Its frames are free then, for other spaces; what is in them goes to swap.
 * Context: not in a signal handler. Cost: a write a page that is not zero.
 * Return: 0 (also if it is out), or UPAGE_EINVAL (NULL), UPAGE_ENOTSUP (it is paged), UPAGE_EBUSY (a page
 *         is pinned), UPAGE_ENOSPC (swap is full), or the error of the swap file: it is as before.
 * Source: OSTEP ch. 15; the swapping of early time-sharing systems.
 */
int upage_space_swap_out(upage_space *space);

/**
 * upage_space_swap_in - and comes back, perhaps to another base
 * Return: 0 (also if it is in memory), or UPAGE_EINVAL, UPAGE_ENOTSUP, UPAGE_ENOMEM (no run of frames is
 *         as long), or the error of the swap file: it is out as before.
 */
int upage_space_swap_in(upage_space *space);

/**
 * upage_segment_share - a segment of one space becomes one of another's, too
 * @space:   segmented; what is to be its segment is empty
 * @with:    another segmented space of the same pool and length
 * @segment: enum upage_segment; of @with, where nothing in it may be written to
 *
 * Both have the same frames, at the same distance from their beginnings, and the mappings of @with. While it
 * is shared the segment neither grows nor becomes writable, and is not swapped out; it moves for all who
 * share it. The last who unmaps all of it gives up the frames.
 * Context: not in a signal handler. Cost: O(mappings) of the segment.
 * Return: 0, or UPAGE_EINVAL (NULL, no segmented spaces of one pool and length, or no such segment),
 *         UPAGE_EBUSY (not empty), UPAGE_ENOTMAPPED (@with has nothing there), UPAGE_EACCES (it may be
 *         written to), UPAGE_ENOMEM, or a host's error.
 * Source: OSTEP ch. 16, "Support for Sharing".
 */
int upage_segment_share(upage_space *space, upage_space *with, unsigned segment);

/** upage_space_base - the first address of @space. */
void *upage_space_base(const upage_space *space);

/** upage_space_length - bytes that @space has reserved. */
size_t upage_space_length(const upage_space *space);

/**
 * upage_switch - a context switch: make a space the current one of its window
 * @space: made with UPAGE_SPACE_WINDOW
 *
 * The addresses of the window mean the pages of @space from now on. Those of the space that was current
 * are out of reach: resident or in swap as they are, taking part in replacement, found again by the
 * next switch. All functions work on a space that is not current as on any, but what they answer
 * and what they are given are its addresses in the window, where its memory is not. Pins hold its pages
 * in their frames, but a system call on them wants it current. Of a heap in it blocks may be
 * allocated and freed, but not resized where that would copy (NULL).
 *
 * It is privileged. Code that runs in a space, which means with its stack there, is refused, a signal
 * handler on such a stack too: let it go back to a stack outside first (swapcontext(3)). What is called by
 * upage_on_handler_stack() is outside, as behind a kernel's gate, and trusted. No thread may be
 * inside of the window meanwhile, as a kernel switches the processor that it runs on: one that is
 * may see either space, or, in between, a reference of its own that fails. Threads in other
 * spaces are not stopped.
 *
 * Isolation: no address in the window leads to a space that is not current. Its resident pages are
 * mapped, meanwhile, at an address that the kernel chose and nobody is told. That is no barrier of the
 * hardware's: a wild reference to just there would not trap.
 *
 * Context: any stack outside of spaces, signal handlers included. Cost: three host calls (mremap,
 * mremap, mmap), and two that set the signal mask and one that asks for RLIMIT_AS, however many pages
 * are resident: about 100 microseconds; 50 for spaces in runs. The host moves its mappings one by one,
 * though: 5 to 10 microseconds more for each run of pages, of both spaces, whose frames are not beside each
 * other too. Before Linux 6.17, and where RLIMIT_AS or the number of mappings stands in the way, the
 * resident pages of both are hidden instead: O(pages), and a soft fault for each that is referenced again.
 * Return: 0, also if it was current; or
 *         UPAGE_EINVAL   NULL, or not made with UPAGE_SPACE_WINDOW
 *         UPAGE_EPERM    called on a stack in a space
 *         UPAGE_EBUSY    pages had to be hidden, and one is pinned
 *         UPAGE_ENOTSUP  the child of a fork has no copy of @space
 *         another -errno the host could neither move nor hide pages
 *         After the last three the current one is as before, but for a failure of the host's between
 *         the two moves: then there is none.
 * Source: OSTEP ch. 6, 13; mremap(2).
 */
int upage_switch(upage_space *space);

/* Flags of upage_map(). Unknown ones are refused. */
#define UPAGE_MAP_FIXED (1u << 0)  /* *address is an order, not a hint                     */
#define UPAGE_MAP_SHARED (1u << 1) /* writes go to the store; without it they stay private */

/**
 * upage_map - give pages of a space a meaning
 * @space:   the space
 * @address: in: NULL or a hint, with UPAGE_MAP_FIXED an order (page multiple);
 *           out: the first address
 * @length:  bytes, > 0; rounded up to pages
 * @prot:    PROT_READ, PROT_WRITE, PROT_EXEC bits, or PROT_NONE
 * @flags:   UPAGE_MAP_*
 * @store:   NULL: anonymous, zero when first touched; else the pages' first content, and
 *           with UPAGE_MAP_SHARED the place that changes go to
 * @offset:  bytes into @store, a page multiple; 0 if @store is NULL
 *
 * No frame is taken before the first touch. A page wholly past the end of a file raises
 * SIGBUS when touched, as natively. One range of a store can be shared-mapped once at a time.
 *
 * Context: not in a signal handler. Takes the space's lock. Cost: O(mappings).
 * Return: 0, or
 *         UPAGE_EINVAL     length 0, an address or offset that is no page multiple, an
 *                          unknown bit in prot or flags, a negative offset,
 *                          UPAGE_MAP_SHARED without a store
 *         UPAGE_EOVERFLOW  address + length or offset + length overflows
 *         UPAGE_EBOUNDS    UPAGE_MAP_FIXED outside the space
 *         UPAGE_EEXIST     UPAGE_MAP_FIXED over a mapping
 *         UPAGE_EACCES     writable, shared, and the store is read-only
 *         UPAGE_EBUSY      that part of the store is shared-mapped already
 *         UPAGE_ENOMEM     no gap in the space is that long; or memory and swap are both
 *                          full; or, with swap-size and without overcommit, both together
 *                          could not hold all private writable pages that are mapped
 * Source: mmap(2); OSTEP ch. 21.
 */
int upage_map(upage_space *space, void **address, size_t length, int prot, unsigned flags,
              upage_store *store, off_t offset);

/**
 * upage_unmap - take the meaning away: content, frames and slots are gone
 * @address: page multiple
 * @length:  bytes, > 0, rounded up to pages; wholly mapped, by one mapping or several
 *
 * Dirty pages of shared mappings are written to their stores first.
 * Context: not in a signal handler. Waits for page faults under way in the range.
 * Return: 0, or UPAGE_EINVAL, UPAGE_EOVERFLOW, UPAGE_EBOUNDS, UPAGE_ENOTMAPPED (a part is not
 *         mapped), UPAGE_EBUSY (a page is pinned), or the store's error (all still mapped), or
 *         UPAGE_ENOMEM (the process has no host mapping left to make a hole with).
 */
int upage_unmap(upage_space *space, void *address, size_t length);

/**
 * upage_protect - change what may be done with pages
 * @address: page multiple
 * @length:  bytes, > 0, rounded up to pages; wholly mapped
 * @prot:    as in upage_map()
 *
 * Return: 0, or UPAGE_EINVAL, UPAGE_EOVERFLOW, UPAGE_EBOUNDS, UPAGE_ENOTMAPPED, UPAGE_EACCES
 *         (writable, shared, and the store is read-only), UPAGE_ENOMEM (pages that become
 *         writable: as in upage_map()).
 * Source: mprotect(2).
 */
int upage_protect(upage_space *space, void *address, size_t length, int prot);

enum upage_advice {
	UPAGE_NORMAL,     /* no special order of references                                */
	UPAGE_SEQUENTIAL, /* read the next pages of the store ahead, while frames are free */
	UPAGE_RANDOM,     /* read nothing ahead                                            */
	UPAGE_WILLNEED,   /* now bring in what the free frames can hold                    */
	UPAGE_DONTNEED,   /* drop: anonymous pages are zero again, private ones as in the store
	                     again, shared ones are written back and lose their frames      */
	UPAGE_PAGEOUT,    /* evict: saved where needed, and brought back by the next reference  */
};

/**
 * upage_advise - say how pages will be used
 * @address: page multiple
 * @length:  bytes, > 0, rounded up to pages; wholly mapped
 *
 * Return: 0, or UPAGE_EINVAL, UPAGE_EOVERFLOW, UPAGE_EBOUNDS, UPAGE_ENOTMAPPED, UPAGE_EBUSY
 *         (UPAGE_DONTNEED of a pinned page), or the store's error.
 * Source: madvise(2).
 */
int upage_advise(upage_space *space, void *address, size_t length, enum upage_advice advice);

/**
 * upage_pin - bring pages in and hold them in their frames, for a system call say
 * @address: any
 * @length:  bytes, > 0; every page that has a byte of [address, address + length)
 * @prot:    PROT_READ for memory that is only read, PROT_READ | PROT_WRITE for memory that
 *           is written too
 *
 * Pins count: a page pinned twice must be unpinned twice. Pins hold at most memory less 8
 * frames. A pinned page cannot be unmapped.
 * Context: not in a signal handler. May wait for the store. Cost: a page fault a page.
 * Return: 0, or (nothing is pinned then)
 *         UPAGE_EINVAL      length 0, or prot is none of the two
 *         UPAGE_EOVERFLOW, UPAGE_EBOUNDS, UPAGE_ENOTMAPPED
 *         UPAGE_EACCES      the protection forbids it
 *         UPAGE_EPINS       more than memory less 8 frames, or 65,535 pins on one page
 *         UPAGE_ENOMEM, UPAGE_ENOSPC, UPAGE_EIO   a page cannot be brought in
 */
int upage_pin(upage_space *space, const void *address, size_t length, int prot);

/**
 * upage_unpin - release what upage_pin() held
 * Return: 0, or UPAGE_EINVAL (a page of the range is not pinned; none is unpinned),
 *         UPAGE_EOVERFLOW, UPAGE_EBOUNDS.
 */
int upage_unpin(upage_space *space, const void *address, size_t length);

/**
 * upage_sync - write dirty pages of shared mappings to their stores
 * @address: page multiple
 * @length:  bytes, > 0, rounded up to pages; wholly mapped
 *
 * Pages of other mappings have nothing to write. The store is flushed to its medium.
 * Return: 0, or UPAGE_EINVAL, UPAGE_EOVERFLOW, UPAGE_EBOUNDS, UPAGE_ENOTMAPPED, or the store's
 *         first error (what was not written stays dirty).
 * Source: msync(2).
 */
int upage_sync(upage_space *space, void *address, size_t length);

enum upage_cause { /* why an address has no translation: an outcome, not an error */
	UPAGE_CAUSE_NONE,
	UPAGE_CAUSE_BOUNDS,     /* outside the space                              */
	UPAGE_CAUSE_NO_SEGMENT, /* no segment has it                              */
	UPAGE_CAUSE_NOT_MAPPED, /* no frame holds its page, or no mapping has it  */
	UPAGE_CAUSE_PROTECTION, /* this access is not allowed at present          */
};

/**
 * upage_translate - what the translation of an address is at this moment
 * @address: any
 * @prot:    the access, one or more of PROT_READ, PROT_WRITE, PROT_EXEC
 * @pfn:     out: the frame, if the result is UPAGE_CAUSE_NONE
 *
 * The answer may be out of date at once if other threads run. No page is brought in.
 * Return: UPAGE_CAUSE_NONE, or the cause that a reference would trap with.
 */
enum upage_cause upage_translate(upage_space *space, const void *address, int prot, upage_pfn *pfn);

/**
 * upage_residency - which pages are in frames
 * @address: page multiple
 * @length:  bytes, > 0, rounded up to pages; inside the space
 * @vector:  out: a byte a page, 1 if it is resident, else 0
 *
 * Return: 0, or UPAGE_EINVAL, UPAGE_EOVERFLOW, UPAGE_EBOUNDS. Source: mincore(2).
 */
int upage_residency(upage_space *space, const void *address, size_t length, unsigned char *vector);

/* ---- Backing stores ------------------------------------------------------------------ */

#define UPAGE_STORE_WRITABLE (1u << 0) /* open the file for writing too */

/**
 * upage_store_open - a file as a backing store
 * @out:   the new store; unchanged on failure
 * @path:  an existing regular file
 * @flags: UPAGE_STORE_*
 *
 * Return: 0, UPAGE_EINVAL (unknown flag, or no regular file), or the negated errno of open(2).
 */
int upage_store_open(upage_store **out, const char *path, unsigned flags);

/*
 * A store of the program's own. The functions run in the faulting thread, in signal context:
 * no malloc, no stdio, no cancellation point in a thread that may be cancelled, no lock that a
 * thread may hold while it touches paged memory, no reference to paged memory. @page is @length
 * bytes (a page of the pool), @offset bytes into the store; to be read into, it is zero at first. They
 * return 0 or a negated errno value; the page fault or the write-back then fails with UPAGE_EIO.
 */
struct upage_store_ops {
	size_t size; /* sizeof(struct upage_store_ops) */
	int (*read)(void *context, void *page, size_t length, off_t offset);
	int (*write)(void *context, const void *page, size_t length, off_t offset); /* NULL: read-only */
	int (*sync)(void *context);   /* NULL: nothing to do              */
	void (*close)(void *context); /* NULL: nothing to do              */
};

/**
 * upage_store_create - the program's own backing store
 * @out:     the new store; unchanged on failure
 * @ops:     copied
 * @context: handed to each function
 *
 * Return: 0, UPAGE_EINVAL (no read function), UPAGE_E2BIG, UPAGE_ENOMEM.
 */
int upage_store_create(upage_store **out, const struct upage_store_ops *ops, void *context);

/**
 * upage_store_close - give a store back
 * Return: 0, or UPAGE_EBUSY while it is mapped. NULL is allowed.
 */
int upage_store_close(upage_store *store);

/* ---- Heaps --------------------------------------------------------------------------- */

/**
 * upage_heap_create - an allocator whose blocks lie in a space
 * @out:   the new heap; unchanged on failure
 * @space: where; the heap maps and unmaps there, beside others
 *
 * jemalloc arenas do the work; their metadata lies outside paged memory. Of spaces at the same addresses
 * (UPAGE_SPACE_WINDOW) each may have heaps of its own: upage_switch() says what they can do when.
 * Context: not in a signal handler, as all of upage_heap_*. Any thread.
 * Return: 0, UPAGE_EINVAL (out or space is NULL), UPAGE_ENOMEM, or UPAGE_ENOTSUP (the library was
 *         built without jemalloc).
 */
int upage_heap_create(upage_heap **out, upage_space *space);

/**
 * upage_heap_allocate - a block of at least @size bytes (0 counts as 1), aligned for any type
 * Return: the block, its content undefined; NULL if memory and swap, or the space, are full.
 */
void *upage_heap_allocate(upage_heap *heap, size_t size);

/**
 * upage_heap_allocate_aligned - a block at a multiple of @alignment, a power of two
 * Return: the block; NULL as above, or if @alignment is no power of two, or, in a window, over 2 MiB.
 */
void *upage_heap_allocate_aligned(upage_heap *heap, size_t alignment, size_t size);

/**
 * upage_heap_resize - a block of another size with the old content, as far as it fits
 * @block: of this heap; NULL: as upage_heap_allocate()
 * Return: the block, perhaps elsewhere; NULL on failure (the old one is as it was): as above, or because
 *         its content would have to be copied, and another space is current in its window.
 */
void *upage_heap_resize(upage_heap *heap, void *block, size_t size);

/** upage_heap_free - give @block, of this heap or NULL, back; from any thread. */
void upage_heap_free(upage_heap *heap, void *block);

/** upage_heap_block_size - bytes that can be used at @block, at least what was asked for. */
size_t upage_heap_block_size(upage_heap *heap, const void *block);

/** upage_heap_mapped - bytes of the space that the heap has mapped now: its footprint. */
size_t upage_heap_mapped(const upage_heap *heap);

/**
 * upage_heap_destroy - all blocks are gone, their memory unmapped
 * @heap: used by no other thread any more; NULL is allowed
 * Return: 0, or UPAGE_EBUSY if a page of it is pinned (the heap is as it was).
 */
int upage_heap_destroy(upage_heap *heap);

/* ---- System calls on paged memory ------------------------------------------------------ */

/**
 * upage_intercept - from now on, system calls see paged memory as any other
 * @pool: NULL, or the pool whose statistics count the calls; it cannot be destroyed any more
 *
 * Every system call of the process is intercepted by Syscall User Dispatch, in this thread and
 * those that come later, whoever starts them: what is in paged memory is copied in before, and
 * out after the call. Signals are delivered as natively on stacks in paged memory too, and fork()
 * gives the child a copy of all paged memory. libupage-malloc calls this for the program.
 *
 * Once on, interception stays. Costs about two microseconds a system call.
 * Context: not in a signal handler; the process has one thread.
 * Return: 0, or UPAGE_ENOTSUP (no Linux 5.11 or later on x86-64, or forbidden here), UPAGE_EBUSY
 *         (there are other threads), UPAGE_ENOMEM. It is off then, and upage_pin() remains.
 * Source: prctl(2), PR_SET_SYSCALL_USER_DISPATCH.
 */
int upage_intercept(upage_pool *pool);

/**
 * upage_on_handler_stack - call a function on a stack that is not paged memory
 *
 * For functions of this library that are called where the stack is paged memory itself, as that
 * of a coroutine from malloc() may be: they hold locks. Where nothing is intercepted the function
 * is called as it is. Costs as much as a system call.
 * Context: not in a signal handler of this library. Return: the function's result.
 */
long upage_on_handler_stack(long (*function)(void *), void *argument);

/* ---- Statistics ---------------------------------------------------------------------- */

/* Counts since the pool was made, unless "now" is said. faults = zero_fill + major + soft +
 * write_upgrade; protection and bounds are the program's own and counted apart. */
struct upage_stats {
	size_t size;           /* in: sizeof(struct upage_stats)                     */
	uint64_t page_size;    /* bytes                                              */
	uint64_t frames;       /* all                                                */
	uint64_t frames_peak;  /* most in use at a time                              */
	uint64_t frames_free;  /* now                                                */
	uint64_t frames_pinned;    /* now                                            */
	uint64_t largest_free_run; /* frames, now                                    */
	uint64_t table_bytes;      /* page tables, now                               */
	uint64_t metadata_bytes;   /* tables of frames, policy, slots: bytes set up  */
	uint64_t faults;
	uint64_t zero_fill;     /* first touch                                       */
	uint64_t major;         /* content read from a store                         */
	uint64_t soft;          /* resident; access was revoked                      */
	uint64_t write_upgrade; /* resident and readable; first write                */
	uint64_t protection;    /* against a mapping's protection                    */
	uint64_t bounds;        /* in a space, but in no mapping                     */
	uint64_t failed;        /* faults that could not be served                   */
	uint64_t evictions;     /* pages that lost their frame to another            */
	uint64_t writebacks;    /* pages written to a store                          */
	uint64_t writeback_failures;
	uint64_t prefetched;    /* pages read ahead, or that came along with another */
	uint64_t prefetch_used; /* of them, those of which a reference was seen since: by a fault, by a look
	                           of the policy's, or by what they have when they leave. In the child of
	                           a fork also of those that its parent has prefetched */
	uint64_t swap_slots;    /* in use now                                        */
	uint64_t host_mappings; /* of spaces, now: an upper bound                    */
	uint64_t host_mappings_peak;
	uint64_t mapping_budget;
	uint64_t pinned_pages;  /* pages pinned, in all                              */
	uint64_t fault_ns_p50, fault_ns_p99, fault_ns_max; /* inside the handler     */
	uint64_t intercepted;   /* system calls that were intercepted, in the whole process */
	uint64_t shared_bytes;  /* of a whole program, mapped now by the host itself (MAP_SHARED, ...)  */
	uint64_t shared_bytes_peak;
	uint64_t unenforced;    /* of spaces in runs: changes of protection that are not enforced */
	uint64_t compactions;   /* passes over the frames: upage_compact(), and the library's own   */
	uint64_t moves;         /* of pages to other frames, by these                */
	uint64_t pause_ns_max;  /* the longest time that pages were held to be moved */
	uint64_t switches;      /* of spaces of a window, to one of this pool              */
	uint64_t copied;        /* pages copied, since they were shared (upage_space_clone()): most
	                           are the write upgrades of pages that could be read          */
	uint64_t reclaimed;     /* of the evictions, those ahead of need: option reclaimers    */
	uint64_t zeroed_ahead;  /* free frames that were zeroed ahead of need, by the same     */
	uint64_t store_bytes;   /* that swapped pages take, on the disk or, compressed, in memory   */
	uint64_t patched_sites; /* places of a whole program where system calls no longer trap    */
	uint64_t store_at_once; /* requests to swap under way beside others, or while nobody waited: option direct */
};

/**
 * upage_stats_get - the counters of a pool
 * @stats: size set by the caller; that many bytes are filled
 *
 * Context: anywhere. Cost: about 10 microseconds. Not one instant: the counters go on.
 * Return: 0, or UPAGE_EINVAL (size 0).
 */
int upage_stats_get(upage_pool *pool, struct upage_stats *stats);

/**
 * upage_stats_json - write the statistics as one JSON object
 * @path: file to create or replace; "%p" in it becomes the process id
 *
 * Return: 0, or the negated errno of open(2) or write(2), -ENAMETOOLONG, or UPAGE_EBUSY (called
 *         by a signal handler that interrupted it).
 */
int upage_stats_json(upage_pool *pool, const char *path);

/**
 * upage_stats_print - a table for people
 * @descriptor: where, 2 for stderr
 *
 * Return: 0, or the negated errno of write(2).
 */
int upage_stats_print(upage_pool *pool, int descriptor);

#ifdef __cplusplus
}
#endif
#endif /* UPAGE_H */
