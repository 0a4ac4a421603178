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
	/* The content of free slots beside each other is not needed any more. Swap's lock is held. */
	void (*discard)(struct medium *medium, off_t offset, size_t length);

	/* A copy for the child of a fork, as swap_copy_begin() and its like: of the stretches that are
	 * taken, one by one. */
	int (*copy_begin)(struct medium *medium);
	int (*copy)(struct medium *medium, off_t offset, size_t length);
	void (*copy_end)(struct medium *medium, bool shared);
	void (*copy_adopt)(struct medium *medium);
};

struct medium {
	struct upage_store store; /* first, so that one pointer is both */
	const struct medium_ops *ops;
	uint64_t slots; /* as many there may be */
};

int swap_file_create(struct medium **out, const struct swap_config *config, const char **used);

#endif
