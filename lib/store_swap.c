/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store_swap.c - the swap file: slots for anonymous and private pages
 *
 * A bitmap says which slots are taken. A search looks first behind the slot of the page's
 * neighbour, then at a cursor that goes round by whole words, so that pages evicted one after
 * another lie one after another. When the 64 slots of a word are all free again their part of
 * the file is punched out, so that the file is never much larger than what it holds.
 *
 *      used == the number of bits set in map
 *
 * Locking: `lock` (rank 3) guards map, used and cursor. Signal context: all but swap_create
 * and swap_destroy.
 */
#include "store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"

#define SLOTS_A_WORD 64
#define SLOTS_UNLIMITED (UINT64_C(1) << 30) /* of address space for the bitmap: 128 MiB */

struct swap_file {
	struct upage_store store;
	int descriptor;
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
	_Atomic bool refused; /* the medium had no room for the last write */
};

/* ---- The medium ---------------------------------------------------------------------- */

static int open_exclusive(const char *path)
{
	int descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (descriptor >= 0)
		unlink(path);
	return descriptor;
}

static int open_in_directory(const char *directory)
{
	int descriptor = open(directory, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (descriptor >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return descriptor;
	char path[4096]; /* a file system without O_TMPFILE */
	size_t length = 0;
	while (directory[length] != '\0' && length < sizeof(path) - 32) {
		path[length] = directory[length];
		length++;
	}
	for (const char *rest = "/upage-swap-XXXXXX"; (path[length] = *rest) != '\0'; rest++)
		length++;
	descriptor = mkostemp(path, O_CLOEXEC);
	if (descriptor >= 0)
		unlink(path);
	return descriptor;
}

static int open_swap(const char *path)
{
	struct stat status;
	if (stat(path, &status) < 0)
		return errno == ENOENT ? open_exclusive(path) : -1;
	if (S_ISDIR(status.st_mode))
		return open_in_directory(path);
	if (S_ISBLK(status.st_mode))
		return open(path, O_RDWR | O_EXCL | O_CLOEXEC);
	return open_exclusive(path); /* refuses: nobody's file is overwritten */
}

static void swap_file_submit(upage_store *store, struct store_request *request)
{
	int descriptor = ((struct swap_file *)store)->descriptor;
	if (request->operation == STORE_READ)
		store_done(request, host_read(descriptor, request->buffer, request->length,
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
	host_punch(((struct swap_file *)store)->descriptor, offset, length);
}

static void swap_file_close(upage_store *store)
{
	host_close(((struct swap_file *)store)->descriptor);
	host_metadata_release(store, sizeof(struct swap_file));
}

static const struct store_ops swap_file_ops = { .name = "file",
	                                        .submit = swap_file_submit,
	                                        .sync = swap_file_sync,
	                                        .discard = swap_file_discard,
	                                        .close = swap_file_close };

static int swap_file_create(upage_store **out, const char *path)
{
	int saved = errno;
	int descriptor = open_swap(path);
	int failure = descriptor < 0 ? -errno : 0;
	errno = saved;
	if (failure < 0)
		return failure;
	struct swap_file *file = host_metadata(sizeof(*file));
	if (file == NULL) {
		host_close(descriptor);
		return UPAGE_ENOMEM;
	}
	file->store = (struct upage_store){ .ops = &swap_file_ops, .writable = true };
	file->descriptor = descriptor;
	*out = &file->store;
	return 0;
}

/* ---- Life ---------------------------------------------------------------------------- */

int swap_create(struct swap **out, const char *path, uint64_t bytes, unsigned page_shift,
                const char **used)
{
	if (path[0] == '\0')
		path = getenv("TMPDIR");
	if (path == NULL || path[0] == '\0')
		path = "/tmp";
	*used = path;
	upage_store *medium;
	int failure = swap_file_create(&medium, path);
	if (failure < 0)
		return failure;
	struct swap *swap = host_metadata(sizeof(*swap));
	uint64_t slots = bytes >> page_shift;
	if (bytes == 0 || slots > SLOTS_UNLIMITED)
		slots = SLOTS_UNLIMITED;
	if (slots > host_file_limit() >> page_shift)
		slots = host_file_limit() >> page_shift;
	uint64_t words = (slots + SLOTS_A_WORD - 1) / SLOTS_A_WORD;
	uint64_t *map = host_metadata(words * sizeof(*map));
	if (swap == NULL || map == NULL) {
		if (swap != NULL)
			host_metadata_release(swap, sizeof(*swap));
		if (map != NULL)
			host_metadata_release(map, words * sizeof(*map));
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
	host_metadata_release(swap->map, swap->words * sizeof(*swap->map));
	host_metadata_release(swap, sizeof(*swap));
}

/* ---- Slots --------------------------------------------------------------------------- */

static bool slot_is_free(const struct swap *swap, uint64_t slot)
{
	return slot < swap->slots &&
	       !(swap->map[slot / SLOTS_A_WORD] >> (slot % SLOTS_A_WORD) & 1);
}

/* The first free slot at or behind the cursor: words that are free whole are preferred, so
 * that a run can grow there. */
static uint64_t slot_search(struct swap *swap)
{
	uint64_t any = SWAP_NONE;
	for (uint64_t i = 0; i < swap->words; i++) {
		uint64_t index = (swap->cursor + i) % swap->words;
		uint64_t word = swap->map[index];
		if (~word == 0)
			continue;
		uint64_t slot = index * SLOTS_A_WORD + (uint64_t)__builtin_ctzll(~word);
		if (slot >= swap->slots)
			continue;
		if (word == 0 || i == 0) {
			swap->cursor = index;
			return slot;
		}
		if (any == SWAP_NONE)
			any = slot;
		if (i >= 1024)
			break; /* a slot in hand is worth more than a long search */
	}
	if (any != SWAP_NONE)
		swap->cursor = any / SLOTS_A_WORD;
	return any;
}

uint32_t swap_allocate(struct swap *swap, uint32_t near)
{
	lock_acquire(&swap->lock);
	uint64_t slot = SWAP_NONE;
	if (swap->used < swap->slots) {
		if (near != SWAP_NONE && slot_is_free(swap, near))
			slot = near;
		else
			slot = slot_search(swap);
	}
	if (slot != SWAP_NONE) {
		swap->map[slot / SLOTS_A_WORD] |= UINT64_C(1) << (slot % SLOTS_A_WORD);
		swap->used++;
	}
	lock_release(&swap->lock);
	return (uint32_t)slot;
}

void swap_free(struct swap *swap, uint32_t slot)
{
	lock_acquire(&swap->lock);
	INVARIANT(!slot_is_free(swap, slot));
	uint64_t *word = &swap->map[slot / SLOTS_A_WORD];
	*word &= ~(UINT64_C(1) << (slot % SLOTS_A_WORD));
	swap->used--;
	if (*word == 0 && swap->medium->ops->discard != NULL) {
		/* Before anyone can take one of them again: under the lock. */
		off_t first = (off_t)(slot / SLOTS_A_WORD * SLOTS_A_WORD) << swap->page_shift;
		swap->medium->ops->discard(swap->medium, first,
		                           (size_t)SLOTS_A_WORD << swap->page_shift);
	}
	lock_release(&swap->lock);
	atomic_store(&swap->refused, false);
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

int swap_transfer(struct swap *swap, enum store_operation operation, uint32_t slot, void *buffer)
{
	int result = store_transfer(swap->medium, operation, buffer, (size_t)1 << swap->page_shift,
	                            (off_t)slot << swap->page_shift);
	if (operation == STORE_WRITE)
		atomic_store(&swap->refused, result == -ENOSPC || result == -EDQUOT);
	return result;
}
