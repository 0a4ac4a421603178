/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store_medium.h - what swap keeps the pages of its slots in
 *
 * A medium is a store in which slot n has its page at offset n << page_shift. Swap knows which slots are
 * taken, and moves a page to or from those alone; the medium knows where their content is.
 */
#ifndef UPAGE_STORE_MEDIUM_H
#define UPAGE_STORE_MEDIUM_H

#include "store.h"

struct medium;

struct medium_ops {
	/* One that knows the slots one by one is told of each that is about to be free, while its last owner has
	 * it still; one that does not, of whole stretches that are. Swap's lock is held then. */
	void (*forget)(struct medium *medium, uint32_t slot);
	void (*discard)(struct medium *medium, off_t offset, size_t length);

	/* Bytes of memory that it takes now; NULL: none. */
	uint64_t (*bytes)(struct medium *medium);

	/* What is made when first needed is made now. Return: 0 or a negated errno value. NULL: nothing is. */
	int (*prepare)(struct medium *medium);

	/* A copy for the child of a fork, as swap_copy_begin() and its like: of the stretches that are
	 * taken, one by one. NULL, all four: the child has one as it is, with the rest of our memory. */
	int (*copy_begin)(struct medium *medium);
	int (*copy)(struct medium *medium, off_t offset, size_t length);
	void (*copy_end)(struct medium *medium, bool shared);
	void (*copy_adopt)(struct medium *medium);
};

struct medium {
	struct upage_store store; /* first, so that one pointer is both */
	const struct medium_ops *ops;
	uint64_t slots; /* as many there may be */
	bool gains_by_many; /* several requests at once take less time than one after another */
	bool reads_cached; /* what was written is at hand for a while: STORE_READ_CACHED */
};

/* Return: 0 or a negated errno value. */
int swap_file_create(struct medium **out, const struct swap_config *config, const char **used);
int swap_lz4_create(struct medium **out, const struct swap_config *config);

#endif
