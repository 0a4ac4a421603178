/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "share.h"

bool share_reserve(struct shares *shares, struct table_memory *memory, size_t count)
{
	lock_acquire(&shares->lock);
	while (shares->spare < count) {
		lock_release(&shares->lock);
		struct share *slab = table_memory_node(memory, PAGE_TABLE_NODE_BITS, false);
		if (slab == NULL)
			return false;
		lock_acquire(&shares->lock);
		size_t records = (sizeof(uint64_t) << PAGE_TABLE_NODE_BITS) / sizeof(*slab);
		for (size_t i = 0; i < records; i++) {
			slab[i].next = shares->free;
			shares->free = &slab[i];
		}
		shares->spare += records;
	}
	lock_release(&shares->lock);
	return true;
}

/* ---- Lists: the lock is held ---------------------------------------------------------------- */

static void add(struct shares *shares, struct share **link, pte_t *pte, uintptr_t page,
                struct backing *backing)
{
	struct share *share = shares->free;
	INVARIANT(share != NULL);
	shares->free = share->next;
	shares->spare--;
	*share = (struct share){ .pte = pte, .page = page, .backing = backing, .next = *link };
	*link = share;
}

static void drop(struct shares *shares, struct share **link)
{
	struct share *share = *link;
	*link = share->next;
	share->next = shares->free;
	shares->free = share;
	shares->spare++;
}

static struct share **find(struct frame *frame, const pte_t *pte)
{
	struct share **link = &frame->shares;
	while ((*link)->pte != pte)
		link = &(*link)->next;
	return link;
}

const struct backing *share_backing(struct shares *shares, const struct frame *frame, const pte_t *pte)
{
	lock_acquire(&shares->lock);
	const struct backing *backing = share_first_backing(frame);
	for (const struct share *share = share_list(frame); share != NULL; share = share->next)
		if (share->pte == pte)
			backing = share->backing;
	lock_release(&shares->lock);
	return backing;
}

/* What the frame says itself is the first page. */
static void name_first(struct frame *frame)
{
	const struct share *first = frame->shares;
	frame->page = first->page;
	atomic_store(&frame->pte, first->pte);
}

/* Who asks without the lock whether there is a list finds a whole one, or the backing. */
static void set_references(struct frame *frame, uint16_t references)
{
	__atomic_store_n(&frame->references, references, __ATOMIC_RELEASE);
}

/* ---- Pages come and go ---------------------------------------------------------------------- */

void share_join(struct shares *shares, struct frame *frame, pte_t *pte, uintptr_t page,
                struct backing *backing)
{
	lock_acquire(&shares->lock);
	struct share *list = share_list(frame);
	if (list == NULL)
		add(shares, &list, atomic_load(&frame->pte), frame->page, frame->backing);
	add(shares, &list->next, pte, page, backing);
	frame->shares = list;
	set_references(frame, (uint16_t)(frame->references + 1));
	lock_release(&shares->lock);
}

bool share_leave(struct shares *shares, struct frame *frame, const pte_t *pte)
{
	lock_acquire(&shares->lock);
	bool others = share_list(frame) != NULL;
	if (others) {
		drop(shares, find(frame, pte));
		name_first(frame);
		struct share *first = frame->shares;
		struct backing *backing = first->backing;
		bool alone = frame->references == 2;
		if (alone) {
			drop(shares, &first);
			frame->backing = backing;
		}
		set_references(frame, (uint16_t)(frame->references - 1));
	}
	lock_release(&shares->lock);
	return others;
}

bool share_is_alone(struct shares *shares, const struct frame *frame)
{
	lock_acquire(&shares->lock);
	bool alone = share_list(frame) == NULL;
	lock_release(&shares->lock);
	return alone;
}

void share_move(struct shares *shares, struct frame *frame, const pte_t *from, pte_t *to,
                uintptr_t page, struct backing *backing)
{
	lock_acquire(&shares->lock);
	if (share_list(frame) != NULL) {
		struct share *share = *find(frame, from);
		share->pte = to;
		share->page = page;
		share->backing = backing;
		name_first(frame);
	} else {
		frame->page = page;
		frame->backing = backing;
		atomic_store(&frame->pte, to);
	}
	lock_release(&shares->lock);
}

/* ---- All of them ---------------------------------------------------------------------------- */

/* The entries before @end, but @own. The lock is held: who leaves next changes the list. */
static void unlock_before(const struct frame *frame, const struct share *end, const pte_t *own)
{
	for (const struct share *share = share_list(frame); share != end; share = share->next)
		if (share->pte != own)
			pte_unlock(share->pte, pte_value(share->pte));
}

bool share_trylock(struct shares *shares, const struct frame *frame, const pte_t *own, pte_t **busy)
{
	lock_acquire(&shares->lock);
	const struct share *share = share_list(frame);
	uint64_t value;
	while (share != NULL && (share->pte == own || pte_trylock(share->pte, &value)))
		share = share->next;
	if (share != NULL) {
		*busy = share->pte;
		unlock_before(frame, share, own);
	}
	lock_release(&shares->lock);
	return share == NULL;
}

void share_unlock(struct shares *shares, const struct frame *frame, const pte_t *own)
{
	lock_acquire(&shares->lock);
	unlock_before(frame, NULL, own);
	lock_release(&shares->lock);
}

void share_end(struct shares *shares, struct frame *frame, const pte_t *own, uint64_t value)
{
	lock_acquire(&shares->lock);
	struct share *list = share_list(frame);
	set_references(frame, 0);
	frame->backing = NULL;
	while (list != NULL) {
		pte_t *pte = list->pte;
		drop(shares, &list);
		if (pte != own)
			pte_unlock(pte, value);
	}
	lock_release(&shares->lock);
}

static bool is_listed_before(const struct frame *frame, const struct share *share)
{
	for (const struct share *other = share_list(frame); other != share; other = other->next)
		if (other->pte == share->pte)
			return true;
	return false;
}

bool share_is_valid(const struct frame *frame, uint64_t pfn)
{
	uint64_t first = frame->pte != NULL ? pte_value(frame->pte) : 0;
	unsigned length = 0;
	if (!(first & PTE_PRESENT) || pte_number(first) != pfn)
		return false;
	const struct share *list = share_list(frame);
	if (list == NULL)
		return frame->references == 1;
	for (const struct share *share = list; share != NULL; share = share->next, length++) {
		uint64_t value = pte_value(share->pte);
		if (!(value & PTE_PRESENT) || pte_number(value) != pfn || !(value & PTE_SHARED) ||
		    ((value ^ first) & PTE_DIRTY) || is_listed_before(frame, share))
			return false;
	}
	return length > 1 && length == frame->references && list->pte == frame->pte &&
	       frame->pins == 0 && frame->slot == 0;
}
