/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store_lz4.c - compressed memory as the medium of swap
 *
 * A page becomes a block of at most its own size, in steps of a 32nd of a page; one that does not become
 * smaller is kept as it is. Blocks of one size, a class, share chunks of 16 pages; a chunk without
 * blocks is any class's next, and when several are idle so, the rest is given back to the host.
 *
 *      bytes  == the sizes of all blocks in use <= bytes_most
 *      held   == the sum of touched, pages;  used of a chunk == the number of its bits that are not set
 *
 * Memory for it is private, so that a child of a fork has a copy of all blocks, on write, from the kernel. No
 * transfer is under way then (pool_fork.c), and so nobody has the lock.
 *
 * liblz4 gets all that it needs from us, and calls nothing but memcpy and memset; its stack protector looks
 * at thread-local storage, and is shown a word of ours (tls.h).
 *
 * Locking: `lock` (rank 3) guards the chunks and the counts. The block of a slot is changed only by who
 * writes to the slot, alone, and read by who reads it. Signal context: all but swap_lz4_create.
 * Source: Yann Collet, LZ4; Jeff Bonwick, "The Slab Allocator", USENIX 1994; zsmalloc of Linux.
 */
#include "store_medium.h"

#include <linux/sysinfo.h>
#include <lz4.h>
#include <string.h>

#include "buffer.h"
#include "guard.h"
#include "host.h"
#include "tls.h"

#define CLASSES 32
#define CHUNK_PAGES 16
#define BLOCKS_MAX (CHUNK_PAGES * CLASSES) /* in a chunk */
#define IDLE_MAX 16 /* chunks that are kept for the next block */
#define NO_CHUNK UINT32_MAX
#define STATE_BYTES ((size_t)1 << 15) /* for LZ4_sizeofState(); what is compressed follows it */

/* Where the page of a slot is. */
struct block {
	uint64_t chunk : 32;
	uint64_t index : 10;
	uint64_t length : 22; /* as it was compressed; 0: the slot has no content */
};

struct chunk {
	uint64_t free[BLOCKS_MAX / 64]; /* a bit for each block that is free */
	uint32_t next, previous;        /* of those of a class with a free block, or of those that nobody has */
	uint16_t used;
	uint8_t class;
	uint8_t touched; /* pages from its beginning that may have memory of the host's */
};

struct swap_lz4 {
	struct medium medium;
	unsigned page_shift;
	struct buffers states; /* a state of LZ4's and room for what it makes, for each transfer under way */
	char *memory;          /* [chunks_most], CHUNK_PAGES pages each */
	struct block *block;   /* [medium.slots] */
	struct chunk *chunk;   /* [chunks_most] */
	uint32_t chunks_most;
	struct lock lock;
	uint32_t chunks;       /* that were taken once: the rest is untouched */
	uint32_t free;         /* list of chunks that nobody has */
	uint32_t room[CLASSES]; /* lists of chunks with a free block */
	uint64_t idle;         /* chunks that are touched, but nobody's */
	_Atomic uint64_t held; /* pages that are touched */
	uint64_t bytes, bytes_most;
};

static size_t page_bytes(const struct swap_lz4 *lz4)
{
	return (size_t)1 << lz4->page_shift;
}

static size_t chunk_bytes(const struct swap_lz4 *lz4)
{
	return CHUNK_PAGES * page_bytes(lz4);
}

static size_t class_bytes(const struct swap_lz4 *lz4, unsigned class)
{
	return (class + 1) * (page_bytes(lz4) / CLASSES);
}

/* The blocks in a chunk of a class. */
static unsigned class_blocks(unsigned class)
{
	return BLOCKS_MAX / (class + 1);
}

static char *block_content(const struct swap_lz4 *lz4, struct block block)
{
	return lz4->memory + block.chunk * chunk_bytes(lz4) +
	       block.index * class_bytes(lz4, lz4->chunk[block.chunk].class);
}

/* ---- Chunks: the lock is held --------------------------------------------------------------- */

static void list_add(struct swap_lz4 *lz4, uint32_t *list, uint32_t number)
{
	struct chunk *chunk = &lz4->chunk[number];
	chunk->next = *list;
	chunk->previous = NO_CHUNK;
	if (*list != NO_CHUNK)
		lz4->chunk[*list].previous = number;
	*list = number;
}

static void list_remove(struct swap_lz4 *lz4, uint32_t *list, uint32_t number)
{
	struct chunk *chunk = &lz4->chunk[number];
	if (chunk->next != NO_CHUNK)
		lz4->chunk[chunk->next].previous = chunk->previous;
	if (chunk->previous != NO_CHUNK)
		lz4->chunk[chunk->previous].next = chunk->next;
	else
		*list = chunk->next;
}

/* A chunk becomes one of a class. Return: whether there was one. */
static bool chunk_take(struct swap_lz4 *lz4, unsigned class)
{
	uint32_t number = lz4->free;
	if (number != NO_CHUNK)
		list_remove(lz4, &lz4->free, number);
	else if (lz4->chunks < lz4->chunks_most)
		number = lz4->chunks++;
	else
		return false;
	struct chunk *chunk = &lz4->chunk[number];
	lz4->idle -= chunk->touched > 0;
	*chunk = (struct chunk){ .class = (uint8_t)class, .touched = chunk->touched };
	for (unsigned i = 0; i < class_blocks(class); i++)
		chunk->free[i / 64] |= UINT64_C(1) << i % 64;
	list_add(lz4, &lz4->room[class], number);
	return true;
}

/* It has no blocks, and is nobody's. */
static void chunk_give(struct swap_lz4 *lz4, uint32_t number)
{
	struct chunk *chunk = &lz4->chunk[number];
	list_remove(lz4, &lz4->room[chunk->class], number);
	if (lz4->idle < IDLE_MAX) {
		lz4->idle++;
	} else {
		host_empty(lz4->memory + number * chunk_bytes(lz4), chunk_bytes(lz4));
		lz4->held -= chunk->touched;
		chunk->touched = 0;
	}
	list_add(lz4, &lz4->free, number);
}

/* ---- Blocks --------------------------------------------------------------------------------- */

/* Return: 0, or -ENOSPC. */
static int block_allocate(struct swap_lz4 *lz4, size_t length, struct block *block)
{
	unsigned class = (unsigned)((length - 1) / class_bytes(lz4, 0));
	lock_acquire(&lz4->lock);
	bool there = lz4->bytes + class_bytes(lz4, class) <= lz4->bytes_most &&
	             (lz4->room[class] != NO_CHUNK || chunk_take(lz4, class));
	if (there) {
		uint32_t number = lz4->room[class];
		struct chunk *chunk = &lz4->chunk[number];
		unsigned word = 0;
		while (chunk->free[word] == 0)
			word++;
		unsigned index = word * 64 + (unsigned)__builtin_ctzll(chunk->free[word]);
		chunk->free[word] &= chunk->free[word] - 1;
		if (++chunk->used == class_blocks(class))
			list_remove(lz4, &lz4->room[class], number);
		uint8_t end = (uint8_t)(((index + 1) * class_bytes(lz4, class) - 1) >> lz4->page_shift) + 1;
		if (end > chunk->touched) {
			lz4->held += end - chunk->touched;
			chunk->touched = end;
		}
		lz4->bytes += class_bytes(lz4, class);
		*block = (struct block){ .chunk = number, .index = index, .length = length };
	}
	lock_release(&lz4->lock);
	return there ? 0 : -ENOSPC;
}

static void block_free(struct swap_lz4 *lz4, struct block *block)
{
	if (block->length == 0)
		return;
	lock_acquire(&lz4->lock);
	struct chunk *chunk = &lz4->chunk[block->chunk];
	INVARIANT(chunk->used > 0 && !(chunk->free[block->index / 64] >> block->index % 64 & 1));
	chunk->free[block->index / 64] |= UINT64_C(1) << block->index % 64;
	lz4->bytes -= class_bytes(lz4, chunk->class);
	if (chunk->used-- == class_blocks(chunk->class))
		list_add(lz4, &lz4->room[chunk->class], (uint32_t)block->chunk);
	if (chunk->used == 0)
		chunk_give(lz4, (uint32_t)block->chunk);
	lock_release(&lz4->lock);
	*block = (struct block){ 0 };
}

/* ---- Transfers ------------------------------------------------------------------------------ */

/* What a stack protector sees for the time of a call of liblz4's: below the word, nothing is looked at. */
static const uintptr_t no_tls[16];

/* Return: the length, or 0: it would save less than a step. */
static size_t compress(const struct swap_lz4 *lz4, char *state, const char *page)
{
	int room = (int)(page_bytes(lz4) - class_bytes(lz4, 0));
	uintptr_t tls = tls_exchange((uintptr_t)no_tls);
	int length = LZ4_compress_fast_extState(state, page, state + STATE_BYTES, (int)page_bytes(lz4), room, 1);
	tls_exchange(tls);
	return length > 0 ? (size_t)length : 0;
}

static bool decompress(const struct swap_lz4 *lz4, const char *from, size_t length, char *page)
{
	uintptr_t tls = tls_exchange((uintptr_t)no_tls);
	int whole = LZ4_decompress_safe(from, page, (int)length, (int)page_bytes(lz4));
	tls_exchange(tls);
	return whole == (int)page_bytes(lz4);
}

/* A page that cannot be kept leaves its slot without content: the old one is of no use any more. */
static int write_page(struct swap_lz4 *lz4, struct block *block, const char *page)
{
	char *state = buffer_take(&lz4->states);
	size_t length = compress(lz4, state, page);
	block_free(lz4, block);
	int result = block_allocate(lz4, length > 0 ? length : page_bytes(lz4), block);
	if (result == 0)
		memcpy(block_content(lz4, *block), length > 0 ? state + STATE_BYTES : page, block->length);
	buffer_give(&lz4->states, state);
	return result;
}

static int read_page(const struct swap_lz4 *lz4, struct block block, char *page)
{
	if (block.length == 0)
		return -EIO;
	const char *content = block_content(lz4, block);
	if (block.length < page_bytes(lz4))
		return decompress(lz4, content, block.length, page) ? 0 : -EIO;
	memcpy(page, content, page_bytes(lz4));
	return 0;
}

static void swap_lz4_submit(upage_store *store, struct store_request *request)
{
	struct swap_lz4 *lz4 = (struct swap_lz4 *)store;
	struct block *block = &lz4->block[request->offset >> lz4->page_shift];
	char *page = request->buffer;
	int result = 0;
	for (size_t done = 0; done < request->length && result == 0; done += page_bytes(lz4)) {
		result = request->operation == STORE_WRITE ? write_page(lz4, block, page)
		                                           : read_page(lz4, *block, page);
		block++;
		page += page_bytes(lz4);
	}
	store_done(request, result);
}

static int swap_lz4_sync(upage_store *store)
{
	(void)store; /* nobody reads it after us */
	return 0;
}

static void swap_lz4_forget(struct medium *medium, uint32_t slot)
{
	struct swap_lz4 *lz4 = (struct swap_lz4 *)medium;
	block_free(lz4, &lz4->block[slot]);
}

static uint64_t swap_lz4_bytes(struct medium *medium)
{
	struct swap_lz4 *lz4 = (struct swap_lz4 *)medium;
	return atomic_load(&lz4->held) << lz4->page_shift;
}

/* ---- Life ----------------------------------------------------------------------------------- */

static size_t states_shift(unsigned page_shift)
{
	unsigned shift = 16; /* state and page, both 32 KiB at most */
	while ((size_t)1 << shift < STATE_BYTES + ((size_t)1 << page_shift))
		shift++;
	return shift;
}

static void release(struct swap_lz4 *lz4)
{
	if (lz4->states.memory != NULL)
		host_metadata_release(lz4->states.memory, buffers_bytes(lz4->states.page_shift));
	if (lz4->memory != NULL)
		host_metadata_release(lz4->memory, lz4->chunks_most * chunk_bytes(lz4));
	if (lz4->block != NULL)
		guard_metadata_release(lz4->block, lz4->medium.slots * sizeof(*lz4->block));
	if (lz4->chunk != NULL)
		guard_metadata_release(lz4->chunk, lz4->chunks_most * sizeof(*lz4->chunk));
	host_metadata_release(lz4, sizeof(*lz4));
}

static void swap_lz4_close(upage_store *store)
{
	struct swap_lz4 *lz4 = (struct swap_lz4 *)store;
	INVARIANT(lz4->bytes == 0);
	release(lz4);
}

static const struct store_ops swap_lz4_store = { .name = "lz4",
	                                         .submit = swap_lz4_submit,
	                                         .sync = swap_lz4_sync,
	                                         .close = swap_lz4_close };
static const struct medium_ops swap_lz4_medium = { .forget = swap_lz4_forget,
	                                           .bytes = swap_lz4_bytes };

/* Half of the machine's memory: with more of it full of blocks, there is none for what they are of. */
static uint64_t default_bytes(void)
{
	struct sysinfo machine;
	return syscall_1(SYS_sysinfo, &machine) == 0 ? machine.totalram / 2 * machine.mem_unit : 0;
}

int swap_lz4_create(struct medium **out, const struct swap_config *config)
{
	struct swap_lz4 *lz4 = host_metadata(sizeof(*lz4));
	if (lz4 == NULL)
		return UPAGE_ENOMEM;
	unsigned state_shift = (unsigned)states_shift(config->page_shift);
	lz4->medium.store = (struct upage_store){ .ops = &swap_lz4_store, .writable = true };
	lz4->medium.ops = &swap_lz4_medium;
	lz4->medium.reads_cached = true;
	lz4->page_shift = config->page_shift;
	lz4->bytes_most = config->bytes != 0 ? config->bytes : default_bytes();
	/* No block is smaller than a class's step. Chunks are never all full: twice as many, and one a class. */
	lz4->medium.slots = smaller(lz4->bytes_most / class_bytes(lz4, 0), SWAP_NONE - 1);
	lz4->bytes_most = smaller(lz4->bytes_most, lz4->medium.slots << lz4->page_shift);
	lz4->chunks_most = (uint32_t)(2 * lz4->bytes_most / chunk_bytes(lz4)) + 2 * CLASSES;
	lz4->free = NO_CHUNK;
	for (unsigned class = 0; class < CLASSES; class++)
		lz4->room[class] = NO_CHUNK;
	char *states = host_metadata(buffers_bytes(state_shift));
	buffers_init(&lz4->states, states, state_shift);
	lz4->memory = host_metadata(lz4->chunks_most * chunk_bytes(lz4));
	lz4->block = guard_metadata(lz4->medium.slots * sizeof(*lz4->block), GUARDED_SLOTS);
	lz4->chunk = guard_metadata(lz4->chunks_most * sizeof(*lz4->chunk), GUARDED_SLOTS);
	if (states == NULL || lz4->memory == NULL || lz4->block == NULL || lz4->chunk == NULL) {
		release(lz4);
		return UPAGE_ENOMEM;
	}
	*out = &lz4->medium;
	return 0;
}
