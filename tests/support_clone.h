/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_clone.h - what the tests of clones share: spaces that were cloned from each other, against
 * shadows
 */
#ifndef UPAGE_TESTS_SUPPORT_CLONE_H
#define UPAGE_TESTS_SUPPORT_CLONE_H

#include "support_fork.h"

#define SMALL "memory=64K" /* 16 frames */
#define WORDS (PAGE / sizeof(uint64_t))

static inline upage_space *clone_of(upage_space *source)
{
	upage_space *clone;
	ck_assert_ok(upage_space_clone(&clone, source, NULL));
	return clone;
}

/* Where a page of @source is in @clone. */
static inline char *in(upage_space *clone, upage_space *source, const char *memory)
{
	return (char *)upage_space_base(clone) + (memory - (char *)upage_space_base(source));
}

static inline void end(upage_space *space, struct machine m)
{
	ck_assert_ok(upage_space_destroy(space));
	ck_assert_ok(upage_pool_verify(m.pool));
}

#define SPACES 4
#define MANY 40

/* Spaces that were cloned from each other, and what two words of each of their pages should be. A
 * write is of one of them: the other comes from the copy. */
struct family {
	struct machine m;
	char *memory;
	upage_space *space[SPACES];
	uint64_t shadow[SPACES][MANY][2];
	uint64_t random;
};

static inline volatile uint64_t *page_in(const struct family *f, unsigned s, size_t page)
{
	return (volatile uint64_t *)(void *)(in(f->space[s], f->m.space, f->memory) + page * PAGE);
}

static inline void family_write(struct family *f, unsigned s, size_t page)
{
	uint64_t number = random_number(&f->random);
	page_in(f, s, page)[number % 2 * (WORDS - 1)] = number;
	f->shadow[s][page][number % 2] = number;
}

static inline bool family_holds(const struct family *f, unsigned s, size_t page)
{
	return page_in(f, s, page)[0] == f->shadow[s][page][0] &&
	       page_in(f, s, page)[WORDS - 1] == f->shadow[s][page][1];
}

static inline void family_check(const struct family *f)
{
	for (unsigned s = 0; s < SPACES; s++)
		for (size_t page = 0; f->space[s] != NULL && page < MANY; page++)
			must(family_holds(f, s, page));
}

/* Half of the pages are written to, so that a clone meets all kinds. */
static inline void family_make(struct family *f, const char *words, uint64_t seed)
{
	memset(f, 0, sizeof(*f));
	f->random = seed;
	f->m = machine_make(words);
	f->memory = machine_map(f->m, MANY, RW);
	f->space[0] = f->m.space;
	for (size_t i = 0; i < MANY / 2; i++)
		family_write(f, 0, random_number(&f->random) % MANY);
}

static inline void family_clone(struct family *f, unsigned from, unsigned to)
{
	f->space[to] = clone_of(f->space[from]);
	memcpy(f->shadow[to], f->shadow[from], sizeof(f->shadow[to]));
}

static inline void family_step(struct family *f, unsigned writes)
{
	unsigned s = (unsigned)(random_number(&f->random) % SPACES);
	size_t page = random_number(&f->random) % MANY;
	if (f->space[s] == NULL)
		return;
	must(family_holds(f, s, page));
	if (random_number(&f->random) % 100 < writes)
		family_write(f, s, page);
}

static const char *const policies[] = { "clock", "fifo", "random" };

#endif
