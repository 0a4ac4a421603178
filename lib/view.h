/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * view.h - what the host shows of the pages: shown and hidden, within a budget of mappings
 *
 * What an MMU is told by a change of its page table, the host is told by calls. They are made
 * here, and with each the access bits of the PTE change, which say what the host shows.
 *
 * The host allows so many mappings in a process. It joins pages beside each other if their frames
 * are, too, and their protection agrees; where it cannot there is a seam. The seams are counted
 * as entries change. Where they would pass the budget, pages that have some are hidden, anywhere:
 * they stay resident, and only their next reference traps.
 *
 * The budget supposes that the rest of the process has few. Where it has more, the host's limit is met
 * earlier, and what makes room needs mappings, too: spare ones are given up for that (host_spare.c). Whoever
 * finds some missing cuts the budget and hides pages until they can be laid again; it grows back. Where
 * the process has taken all others, to the last, what is shown is in those that were spare:
 * MAPPINGS_LEAST are enough for an instruction, and are had by turns, of all pools: one that has nothing left to
 * hide has the others' pages hidden. Only if other threads of the program take those, too, each in the moment between
 * the call that frees it and the next one, is a page fault refused in the end: the program is told by SIGBUS, and
 * nothing is lost.
 *
 * What is shown of a page of a private file that nobody has written to is the host's own page of
 * that file, not the frame that it takes (PTE_FILE): it need not be read, nor copied by a fork. With
 * the first access for writing comes the frame, which the caller has filled.
 *
 * Where several spaces have the same addresses (window.h), the host has the pages of those that are not
 * current elsewhere: by how much is looked up here, around each call, from the page's backing.
 *
 * Pages may be at home (home.h): then a guard hides them, and they are shown without a mapping of their own.
 *
 * A page that is shown can be aged: it stays so, but the host will tell whether it was referenced
 * since. That costs a fraction of hiding it and of the fault that shows it again.
 *
 * Invariant (upage_pool_verify):  mappings == 1 + sum over pages of view_seams_owned(), and over homes of
 * their seams. An upper
 * bound of the host's count: pages in different leaves of a page table count as never joined.
 *
 * Locks: whoever calls has the PTE's lock bit. A lock of the leaf (rank 3) guards the access bits
 * besides: two neighbours may change at once. The count is atomic, and is changed with them. Making
 * room only tries the locks of other pages.
 * Signal context: yes.
 */
#ifndef UPAGE_VIEW_H
#define UPAGE_VIEW_H

#include "physical.h"

/* What a few threads' instructions need at once. */
#define MAPPING_BUDGET_MIN 64
/* What one needs: four pages of data, one or two of code, and the space itself. */
#define MAPPINGS_LEAST 16

/* Before anything that can make two more mappings: a page shown alone, a hole in a run. All that
 * is below does it; but who is about to lock many pages, which can then not be hidden, does it
 * himself before. */
void view_make_room(struct upage_pool *pool);

/* From now on other pools' pages may be hidden where the host refuses this one's, and its own where it refuses theirs.
 * Before it ends, no more: nobody hides any of it then. Both under pools_lock, so that no fork is under way. */
void view_share(struct upage_pool *pool);
void view_share_no_more(struct upage_pool *pool);

/* For mappings of the process's own that the host refuses: gives up some of pages, if they have more than
 * MAPPING_BUDGET_MIN. Return: whether it did, and there may be room for them. */
bool view_give_way(struct upage_pool *pool);

/* Lets the host show a resident page, all of @access and no more. Return: 0, or the host's error:
 * nothing changed. */
int view_show(struct upage_pool *pool, const struct page *page, uint64_t *value, uint64_t access);

/* Shows the frame of another entry, @after, with the access that it says, in place of what is. */
int view_replace(struct upage_pool *pool, const struct page *page, uint64_t *value, uint64_t after);

/* As view_show() for @count pages beside each other, all hidden and in frames beside each other, by one
 * call. @access: with DIRTY if it is to write. @values: kept as the entries are. @borrowed: where the frames
 * are mapped for writing (frame_borrow), and are no more then, whatever becomes of it; or NULL. */
int view_show_run(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                  uintptr_t address, uint64_t access, void *borrowed);

/* No reference to the page succeeds any more until it is shown. Return: as above. */
int view_hide(struct upage_pool *pool, pte_t *pte, uintptr_t address, uint64_t *value);

/* Up to REPLACE_AGED_MAX shown pages, by their addresses: from now on view_idle() tells
 * whether they were referenced since. Where the host cannot tell, they are hidden, and
 * the next reference is a soft fault. Their values are kept as the entries are. */
struct locked_page {
	pte_t *pte;
	uintptr_t address;
	uint64_t value;
};
void view_age_each(struct upage_pool *pool, struct locked_page *pages, size_t count);

/* Which of up to 64 pages were, a bit for each. */
uint64_t view_references_each(struct upage_pool *pool, const struct locked_page *pages, unsigned count);

/* How many pages from a shown one on lie beside each other, in frames too: up to IDLE_RUN_MAX. */
#define IDLE_RUN_MAX 32 /* pages that are hidden together when they are not in use */
size_t view_run(const struct upage_pool *pool, pte_t *pte);

/* Of so many from @page on, how many from the first on were not referenced since they were aged. */
size_t view_idle(struct upage_pool *pool, const struct locked_page *page, size_t run);

/* Locks up to @count pages from a locked one on, in frames behind its own, that nobody else works on and that are
 * not pinned, and shown, or hidden, as it is. @values: the first is given. Return: how many, that one included. */
size_t view_lock_behind(struct upage_pool *pool, pte_t *pte, uint64_t *values, size_t count);

/* Hides a page that is about to leave, and by the same call up to @count from it on, in frames behind its
 * own, that nobody else works on and that are shown, or hidden, as it is. @values: the first is given.
 * Return: how many: they are locked. Where the host fails they are shown still. */
size_t view_hide_idle(struct upage_pool *pool, pte_t *pte, uintptr_t address, uint64_t *values, size_t count);

/* @count locked pages beside each other, but pinned ones, which the kernel may be using: as few
 * calls as there are stretches without a pinned page. @values: kept as the entries are. */
int view_hide_run(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                  uintptr_t address);

/* Pages beside each other, all shown with the same access and not from a file, get the frames from @to
 * on, with their content. They can be read meanwhile, not written to. Return: 0, or the host's error:
 * they are where they were, but perhaps not to be written to without a fault. */
int view_move_run(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                  uintptr_t address, uint32_t to);

/* The same where what is seen does not change: of pages that are hidden, or shown from a file. */
void view_renumber(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count, uint32_t to);

/* Which of shown pages beside each other were referenced since they were aged; and that it be so again
 * for pages that were shown anew since. */
#define REFERENCES_MAX 256
struct references {
	uint64_t bits[REFERENCES_MAX / 64];
};
void view_references(struct upage_pool *pool, const pte_t *pte, uintptr_t address, uint64_t value, size_t count,
                     struct references *references);
void view_keep_references(struct upage_pool *pool, const pte_t *pte, uintptr_t address, uint64_t value,
                          size_t count, const struct references *references);

/* @count locked pages beside each other, of one mapping: they cannot be written to any more, but
 * pinned ones; those at home are hidden. On failure some may be for which the entries say that they cannot: they are dirty. */
int view_freeze_run(struct upage_pool *pool, pte_t *ptes, uint64_t *values, size_t count,
                    uintptr_t address);

/* Of the seams between host mappings that a shown page has, those that count as its own when
 * all pages are gone through: the left one, and the right one if nothing is shown there. */
unsigned view_seams_owned(const struct upage_pool *pool, pte_t *pte, uint64_t value);

/* Around a fork, while nobody works on any page: hides what is shown, but pinned pages, though
 * entries say that it is. Return: 0, or the host's error. */
int view_cover(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address);

/* And then makes it so again, in the parent or the child, and counts mappings, from where
 * pool->mappings stands. Where there are many, pages that would take a call each are hidden, and the
 * entries say that. Return: 0, or the host's error: something of the parent's may still be shown. */
enum view_cover {
	VIEW_HIDDEN_FEW,  /* nothing is shown, in a few mappings it was */
	VIEW_HIDDEN_MANY,
	VIEW_PARENTS,     /* in a child: what its parent sees; pages of files stay as they are */
};
int view_uncover(struct upage_pool *pool, pte_t *ptes, size_t count, uintptr_t address,
                 enum view_cover cover);

/* Whether what is shown is so little that it is worth showing again one by one. */
bool view_few(const struct upage_pool *pool);

#endif
