/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store_swap.c - the swap file: slots for anonymous and private pages
 *
 * A bitmap says which slots are taken. A search looks first behind the slot of the page's
 * neighbour, then at a cursor that goes round by whole words, so that pages evicted one after
 * another lie one after another. When the 64 slots of a word are all free again their part of
 * the file is punched out, so that the file is never much larger than what it holds.
 *
 *      used == the number of bits set in map;  shared == the sum of more
 *
 * A child of a fork gets a file of its own, in the same directory (the default one if swap is a
 * block device), copied before the fork. If there is nothing to copy it makes the file when
 * it first writes: most children never do.
 *
 * Locking: `lock` (rank 3) guards map, more and the counts; the medium's own (rank 3) the making of a
 * file. Signal context: all but swap_create and swap_destroy.
 */
#include "store.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard.h"
#include "host.h"
#include "rlimit.h"

#define SLOTS_A_WORD 64
#define SLOTS_UNLIMITED (UINT64_C(1) << 30) /* of address space for the bitmap: 128 MiB */

struct swap_file {
	struct upage_store store;
	_Atomic int descriptor;  /* -1: not made yet */
	_Atomic int copy;        /* around a fork: the child's; else -1 */
	struct lock lock;        /* guards making it */
	char directory[PATH_MAX]; /* absolute: where children's are made */
};

struct swap {
	upage_store *medium;
	unsigned page_shift;
	uint64_t slots;    /* how many there may be                       */
	struct lock lock;
	uint64_t used;
	uint64_t words;    /* of map                                      */
	uint64_t cursor;   /* word where the next search begins           */
	uint64_t *map;     /* [words]; a set bit is a slot taken          */
	uint16_t *more;    /* [slots]: pages that have it beside the first; NULL: nobody shares */
	uint64_t shared;   /* how many such there are                     */
	_Atomic bool refused; /* the medium had no room for the last write */
};

/* ---- The medium ---------------------------------------------------------------------- */

static const char *default_directory(void)
{
	const char *path = getenv("TMPDIR");
	struct stat status;
	bool usable = path != NULL && path[0] != '\0' &&
	              syscall_4(SYS_newfstatat, AT_FDCWD, path, &status, 0) == 0 &&
	              S_ISDIR(status.st_mode);
	return usable ? path : "/tmp";
}

static int open_exclusive(const char *path)
{
	int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
	int descriptor = host_descriptor(SYS_openat, AT_FDCWD, (long)path, flags, 0600);
	if (descriptor >= 0)
		syscall_3(SYS_unlinkat, AT_FDCWD, path, 0);
	return descriptor;
}

/* Not by mkostemp: also called where no function of the C library may be. */
static int open_in_directory(const char *directory)
{
	int flags = O_RDWR | O_TMPFILE | O_CLOEXEC;
	int descriptor = host_descriptor(SYS_openat, AT_FDCWD, (long)directory, flags, 0600);
	if (descriptor != -EOPNOTSUPP && descriptor != -EISDIR && descriptor != -EINVAL)
		return descriptor;
	static const char prefix[] = "/upage-swap-"; /* a file system without O_TMPFILE */
	char path[PATH_MAX];
	size_t length = strlen(directory);
	if (length + sizeof(prefix) + 16 > sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, directory, length);
	memcpy(path + length, prefix, sizeof(prefix) - 1);
	length += sizeof(prefix) - 1;
	descriptor = -EEXIST;
	for (int attempt = 0; attempt < 100 && descriptor == -EEXIST; attempt++) {
		uint64_t number = host_ticks() * 0x9e3779b97f4a7c15u ^ (uint64_t)host_thread_id();
		for (unsigned i = 0; i < 16; i++)
			path[length + i] = "0123456789abcdef"[number >> 4 * i & 15];
		path[length + 16] = '\0';
		descriptor = open_exclusive(path);
	}
	return descriptor;
}

/* @directory: out: where the file is, absolute. */
static int open_swap(const char *path, char *directory)
{
	struct stat status;
	long found = syscall_4(SYS_newfstatat, AT_FDCWD, path, &status, 0);
	if (found < 0 && found != -ENOENT)
		return (int)found;
	bool is_directory = found == 0 && S_ISDIR(status.st_mode);
	const char *place = path;
	size_t length = strlen(path), start = 0;
	if (found == 0 && S_ISBLK(status.st_mode)) {
		place = default_directory();
		length = strlen(place);
	} else if (!is_directory) {
		while (length > 0 && path[length - 1] != '/')
			length--;
	}
	if (place[0] != '/') {
		long n = syscall_2(SYS_getcwd, directory, PATH_MAX);
		start = n > 0 ? (size_t)n - 1 : 0;
		directory[start++] = '/';
	}
	if (start + length >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(directory + start, place, length);
	directory[start + length] = '\0';
	if (is_directory)
		return open_in_directory(path);
	if (found == 0 && S_ISBLK(status.st_mode))
		return (int)syscall_4(SYS_openat, AT_FDCWD, path, O_RDWR | O_EXCL | O_CLOEXEC, 0);
	return open_exclusive(path); /* refuses what exists: nobody's file is overwritten */
}

/* The file; made now if there is none yet. Return: a descriptor or a negated errno value. */
static int swap_file_open(struct swap_file *file)
{
	lock_acquire(&file->lock);
	int descriptor = file->descriptor;
	if (descriptor < 0) {
		descriptor = open_in_directory(file->directory);
		int result = descriptor < 0 ? descriptor : host_keep(&file->descriptor, descriptor);
		descriptor = result < 0 ? result : file->descriptor;
	}
	lock_release(&file->lock);
	return descriptor;
}

static void swap_file_submit(upage_store *store, struct store_request *request)
{
	struct swap_file *file = (struct swap_file *)store;
	int descriptor = file->descriptor;
	if (descriptor < 0)
		descriptor = swap_file_open(file);
	if (descriptor < 0)
		store_done(request, descriptor);
	else if (request->operation == STORE_READ)
		store_done(request, host_read(descriptor, request->buffer, request->length,
		                              request->offset));
	else if (request->operation == STORE_READ_CACHED)
		store_done(request, host_read_cached(descriptor, request->buffer, request->length,
		                                     request->offset));
	else
		store_done(request, host_write(descriptor, request->buffer, request->length,
		                               request->offset));
}

static int swap_file_sync(upage_store *store)
{
	(void)store; /* nobody reads it after us */
	return 0;
}

static void swap_file_discard(upage_store *store, off_t offset, size_t length)
{
	int descriptor = ((struct swap_file *)store)->descriptor;
	if (descriptor >= 0)
		host_punch(descriptor, offset, length);
}

static void swap_file_close(upage_store *store)
{
	host_drop(&((struct swap_file *)store)->descriptor);
	host_metadata_release(store, sizeof(struct swap_file));
}

static const struct store_ops swap_file_ops = { .name = "file",
	                                        .submit = swap_file_submit,
	                                        .sync = swap_file_sync,
	                                        .discard = swap_file_discard,
	                                        .close = swap_file_close };

static int swap_file_create(upage_store **out, const char *path)
{
	struct swap_file *file = host_metadata(sizeof(*file));
	if (file == NULL)
		return UPAGE_ENOMEM;
	file->store = (struct upage_store){ .ops = &swap_file_ops, .writable = true };
	file->descriptor = file->copy = -1;
	int descriptor = open_swap(path, file->directory);
	int failure = descriptor < 0 ? descriptor : host_keep(&file->descriptor, descriptor);
	if (failure < 0) {
		host_metadata_release(file, sizeof(*file));
		return failure;
	}
	*out = &file->store;
	return 0;
}

/* ---- Life ---------------------------------------------------------------------------- */

int swap_create(struct swap **out, const char *path, uint64_t bytes, unsigned page_shift,
                const char **used)
{
	bool chosen = path[0] != '\0';
	if (!chosen)
		path = default_directory();
	upage_store *medium;
	int failure = swap_file_create(&medium, path);
	if (failure < 0 && !chosen) { /* nobody meant that directory for us */
		path = "/tmp";
		failure = swap_file_create(&medium, path);
	}
	*used = path;
	if (failure < 0)
		return failure;
	struct swap *swap = host_metadata(sizeof(*swap));
	uint64_t slots = bytes >> page_shift;
	if (bytes == 0 || slots > SLOTS_UNLIMITED)
		slots = SLOTS_UNLIMITED;
	if (slots > rlimit_file_hard() >> page_shift)
		slots = rlimit_file_hard() >> page_shift;
	uint64_t words = (slots + SLOTS_A_WORD - 1) / SLOTS_A_WORD;
	uint64_t *map = guard_metadata(words * sizeof(*map), GUARDED_SLOTS);
	if (swap == NULL || map == NULL) {
		if (swap != NULL)
			host_metadata_release(swap, sizeof(*swap));
		if (map != NULL)
			guard_metadata_release(map, words * sizeof(*map));
		medium->ops->close(medium);
		return UPAGE_ENOMEM;
	}
	*swap = (struct swap){ .medium = medium,
		               .page_shift = page_shift,
		               .slots = slots,
		               .words = words,
		               .map = map };
	*out = swap;
	return 0;
}

void swap_destroy(struct swap *swap)
{
	INVARIANT(swap->used == 0);
	swap->medium->ops->close(swap->medium);
	guard_metadata_release(swap->map, swap->words * sizeof(*swap->map));
	if (swap->more != NULL)
		host_metadata_release(swap->more, swap->slots * sizeof(*swap->more));
	host_metadata_release(swap, sizeof(*swap));
}

/* ---- Slots --------------------------------------------------------------------------- */

static bool slot_is_free(const struct swap *swap, uint64_t slot)
{
	return slot < swap->slots &&
	       !(swap->map[slot / SLOTS_A_WORD] >> (slot % SLOTS_A_WORD) & 1);
}

/* How many slots are free from @slot on, at most @count. */
static unsigned free_run(const struct swap *swap, uint64_t slot, unsigned count)
{
	unsigned run = 0;
	while (run < count && slot_is_free(swap, slot + run))
		run++;
	return run;
}

/* The longest stretch of free slots that begins in a word, or the first of @count. */
static unsigned longest_in_word(const struct swap *swap, uint64_t index, unsigned count, uint64_t *first)
{
	unsigned longest = 0, run = 1;
	for (uint64_t free = ~swap->map[index]; free != 0 && run > 0 && longest < count;) {
		unsigned bit = (unsigned)__builtin_ctzll(free);
		uint64_t slot = index * SLOTS_A_WORD + bit;
		run = free_run(swap, slot, count); /* 0: past the last slot */
		if (run > longest) {
			longest = run;
			*first = slot;
		}
		free = bit + run < SLOTS_A_WORD ? free & (~UINT64_C(0) << (bit + run)) : 0;
	}
	return longest;
}

/* Free slots at or behind the cursor, beside each other: words that are free whole are preferred,
 * so that a run can grow there. */
static unsigned slot_search(struct swap *swap, unsigned count, uint64_t *first)
{
	unsigned longest = 0;
	for (uint64_t i = 0; i < swap->words; i++) {
		uint64_t index = (swap->cursor + i) % swap->words, slot = 0;
		bool settles = swap->map[index] == 0 || i == 0;
		unsigned run = settles || longest < count ? longest_in_word(swap, index, count, &slot) : 0;
		if (run > longest || (settles && run == count)) {
			longest = run;
			*first = slot;
		}
		if (settles && run == count)
			break;
		if (longest > 0 && i >= 1024)
			break; /* a slot in hand is worth more than a long search */
	}
	if (longest > 0)
		swap->cursor = *first / SLOTS_A_WORD;
	return longest;
}

unsigned swap_allocate_run(struct swap *swap, uint32_t near, unsigned count, uint32_t *first)
{
	INVARIANT(count > 0 && count <= SWAP_RUN_MAX);
	lock_acquire(&swap->lock);
	uint64_t slot = near;
	unsigned run = near != SWAP_NONE ? free_run(swap, near, count) : 0;
	if (run == 0 && swap->used < swap->slots)
		run = slot_search(swap, count, &slot);
	for (uint64_t i = slot; i < slot + run; i++)
		swap->map[i / SLOTS_A_WORD] |= UINT64_C(1) << (i % SLOTS_A_WORD);
	swap->used += run;
	lock_release(&swap->lock);
	*first = (uint32_t)slot;
	return run;
}

/* The lock is held, here and below. Return: whether others have the slot too: one less does. */
static bool leave(struct swap *swap, uint32_t slot)
{
	INVARIANT(!slot_is_free(swap, slot));
	if (swap->more == NULL || swap->more[slot] == 0)
		return false;
	swap->more[slot]--;
	swap->shared--;
	return true;
}

static void release(struct swap *swap, uint32_t slot)
{
	uint64_t *word = &swap->map[slot / SLOTS_A_WORD];
	*word &= ~(UINT64_C(1) << (slot % SLOTS_A_WORD));
	swap->used--;
	if (*word == 0 && swap->medium->ops->discard != NULL) {
		/* Before anyone can take one of them again: under the lock. */
		off_t first = (off_t)(slot / SLOTS_A_WORD * SLOTS_A_WORD) << swap->page_shift;
		swap->medium->ops->discard(swap->medium, first,
		                           (size_t)SLOTS_A_WORD << swap->page_shift);
	}
}

void swap_free(struct swap *swap, uint32_t slot)
{
	lock_acquire(&swap->lock);
	bool others = leave(swap, slot);
	if (!others)
		release(swap, slot);
	lock_release(&swap->lock);
	if (!others)
		atomic_store(&swap->refused, false);
}

bool swap_leave(struct swap *swap, uint32_t slot)
{
	lock_acquire(&swap->lock);
	bool others = leave(swap, slot);
	lock_release(&swap->lock);
	return others;
}

int swap_share_begin(struct swap *swap)
{
	lock_acquire(&swap->lock);
	if (swap->more == NULL)
		swap->more = host_metadata(swap->slots * sizeof(*swap->more));
	int result = swap->more != NULL ? 0 : UPAGE_ENOMEM;
	lock_release(&swap->lock);
	return result;
}

void swap_share(struct swap *swap, uint32_t slot, unsigned more)
{
	lock_acquire(&swap->lock);
	INVARIANT(!slot_is_free(swap, slot) && swap->more[slot] + more <= UINT16_MAX);
	swap->more[slot] = (uint16_t)(swap->more[slot] + more);
	swap->shared += more;
	lock_release(&swap->lock);
}

uint64_t swap_references(struct swap *swap)
{
	lock_acquire(&swap->lock);
	uint64_t references = swap->used + swap->shared;
	lock_release(&swap->lock);
	return references;
}

uint64_t swap_used(struct swap *swap)
{
	lock_acquire(&swap->lock);
	uint64_t used = swap->used;
	lock_release(&swap->lock);
	return used;
}

uint64_t swap_slots(struct swap *swap)
{
	return swap->slots;
}

bool swap_is_full(struct swap *swap)
{
	return atomic_load(&swap->refused) || swap_used(swap) >= swap->slots;
}

int swap_transfer_run(struct swap *swap, enum store_operation operation, uint32_t slot, unsigned count,
                      void *buffer)
{
	int result = store_transfer(swap->medium, operation, buffer, (size_t)count << swap->page_shift,
	                            (off_t)slot << swap->page_shift);
	if (operation == STORE_WRITE)
		atomic_store(&swap->refused, result == -ENOSPC || result == -EDQUOT);
	return result;
}

/* ---- Copies for forks ------------------------------------------------------------------ */

void swap_fork_begin(struct swap *swap)
{
	lock_acquire(&swap->lock);
}

void swap_fork_end(struct swap *swap)
{
	lock_release(&swap->lock);
}

/* In runs of slots beside each other. */
static int copy_slots(const struct swap *swap, int from, int to)
{
	int result = 0;
	uint64_t left = swap->used;
	for (uint64_t slot = 0; left > 0 && result == 0;) {
		if (swap->map[slot / SLOTS_A_WORD] == 0) {
			slot += SLOTS_A_WORD - slot % SLOTS_A_WORD;
		} else if (slot_is_free(swap, slot)) {
			slot++;
		} else {
			uint64_t end = slot + 1;
			while (end < swap->slots && !slot_is_free(swap, end))
				end++;
			if (end << swap->page_shift > rlimit_file_hard())
				return -EFBIG; /* a write would say it by SIGXFSZ */
			result = host_copy(from, to, (off_t)(slot << swap->page_shift),
			                   (size_t)(end - slot) << swap->page_shift);
			left -= end - slot;
			slot = end;
		}
	}
	return result;
}

int swap_copy_begin(struct swap *swap)
{
	struct swap_file *file = (struct swap_file *)swap->medium;
	if (swap->used == 0)
		return 0;
	int descriptor = open_in_directory(file->directory);
	int result = descriptor < 0 ? descriptor : host_keep(&file->copy, descriptor);
	if (result == 0)
		result = copy_slots(swap, file->descriptor, file->copy);
	if (result < 0)
		host_drop(&file->copy);
	return result;
}

void swap_copy_end(struct swap *swap, bool shared)
{
	struct swap_file *file = (struct swap_file *)swap->medium;
	if (shared)
		host_abandon(&file->copy);
	else
		host_drop(&file->copy);
}

void swap_copy_adopt(struct swap *swap, bool shared)
{
	struct swap_file *file = (struct swap_file *)swap->medium;
	host_exchange(&file->descriptor, &file->copy);
	swap_copy_end(swap, shared);
	atomic_store(&swap->refused, false);
}
