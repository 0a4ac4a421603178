/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "compact.h"

#include "host.h"
#include "view.h"

#define RUN_MAX 256                      /* pages that move together */
#define RUN_BYTES ((size_t)1 << 20)      /* and of those, so much: a few hundred microseconds */
#define RUN_FIRST 64                     /* until it is known how long they are held */
#define PAUSE_NS UINT64_C(600000)        /* then half as many; and twice, where it was a third of that */
#define MOVES_EACH 3                     /* moves of a pass, for each frame in use */
#define CLEARING_NS UINT64_C(300000)     /* making room for a run: then a shorter one has to do */
#define REST 16                          /* times as long as a step took, nobody makes the next */

/* A pass under way, and the pages that move just now. One a pool, in memory of its own: a page
 * fault's stack may be small. */
struct movement {
	struct upage_pool *pool;
	uint32_t floor;      /* frames below are final */
	uint32_t run_max;    /* a power of two, now */
	uint32_t run_most;   /* and at most */
	uint64_t left;       /* moves */
	uint64_t deadline;   /* host_nanoseconds(); 0: none */
	bool full;           /* no frame is free, to move a page away */
	bool blocked;        /* the page at the floor cannot move */
	struct compact_result done;
	/* Locked, beside each other, of one kind, and their frames. */
	pte_t *ptes;
	uintptr_t address;
	uint32_t count;
	uint64_t values[RUN_MAX];
	uint32_t from[RUN_MAX];
	struct references references;
	bool own[RUN_MAX];   /* of the frames from the floor on: taken, and free */
	char *buffer;        /* as long as a run */
};

static struct frame *frame_at(const struct movement *m, uint64_t pfn)
{
	return &m->pool->frames.frame[pfn];
}

/* ---- Who may move ------------------------------------------------------------------------- */

/* The one place that says whether the page in a frame may get another. Without an entry, a frame is being
 * filled, or one of a contiguous run. With several (references), each would have to be locked. */
static bool may_move(const struct frame *frame)
{
	return frame->state == FRAME_USED && atomic_load(&frame->pte) != NULL && frame->pins == 0 &&
	       frame->references == 1;
}

/* Pages that move together are shown alike. */
#define KIND (PTE_PRESENT | PTE_ACCESS | PTE_FILE)

/* An entry, if it is of this kind and not final. */
static bool is_movable(const struct movement *m, uint64_t value, uint64_t kind)
{
	return (value & PTE_PRESENT) && (value & KIND) == kind && pte_number(value) >= m->floor &&
	       may_move(frame_at(m, pte_number(value)));
}

/* The pages from @pte on that may move together, as it seems: of a block of the leaf. */
static uint32_t run_behind(const struct movement *m, pte_t *pte)
{
	uint64_t kind = atomic_load(pte) & KIND;
	uint32_t most = m->run_max - (uint32_t)(pte_index(pte) % m->run_max), n = 1;
	while (n < most && is_movable(m, atomic_load(pte + n), kind))
		n++;
	return n;
}

static uint32_t run_before(const struct movement *m, pte_t *pte)
{
	uint64_t kind = atomic_load(pte) & KIND;
	uint32_t most = (uint32_t)(pte_index(pte) % m->run_max), n = 0;
	while (n < most && is_movable(m, atomic_load(pte - n - 1), kind))
		n++;
	return n;
}

/* Locks pages from @pte on, up to @count, that may move together. Return: how many. */
static uint32_t lock_run(struct movement *m, pte_t *pte, uint32_t count)
{
	uint64_t kind = atomic_load(pte) & KIND;
	uint32_t n = 0;
	for (; n < count && pte_trylock(pte + n, &m->values[n]); n++) {
		if (!is_movable(m, m->values[n], kind)) {
			pte_unlock(pte + n, m->values[n]);
			break;
		}
		m->from[n] = (uint32_t)pte_number(m->values[n]);
	}
	m->ptes = pte;
	m->count = n;
	m->address = n > 0 ? frame_at(m, m->from[0])->page : 0;
	return n;
}

/* All but the first @count are left. */
static void unlock_behind(struct movement *m, uint32_t count)
{
	for (uint32_t i = count; i < m->count; i++)
		pte_unlock(m->ptes + i, m->values[i]);
	m->count = count;
}

/* ---- Moving a run ------------------------------------------------------------------------- */

/* Where their frames lie beside each other, too. */
static uint32_t frames_beside(const struct movement *m, uint32_t i)
{
	uint32_t end = i + 1;
	while (end < m->count && m->from[end] == m->from[end - 1] + 1)
		end++;
	return end - i;
}

static int each_content(struct movement *m, bool write)
{
	struct frame_table *frames = &m->pool->frames;
	int result = 0;
	for (uint32_t i = 0, n; i < m->count; i += n) {
		char *part = m->buffer + ((size_t)i << frames->page_shift);
		n = frames_beside(m, i);
		int failure = write ? frame_write_run(frames, m->from[i], n, part)
		                    : frame_read_run(frames, m->from[i], n, part);
		result = result < 0 ? result : failure;
	}
	return result;
}

/* The content goes through the buffer, since the new frames may be old ones of the same run. */
static int copy_hidden(struct movement *m, uint32_t to)
{
	int result = each_content(m, false);
	if (result < 0)
		return result;
	result = frame_write_run(&m->pool->frames, to, m->count, m->buffer);
	if (result < 0)
		each_content(m, true);
	return result;
}

static int move_content(struct movement *m, uint32_t to, bool overlaps)
{
	struct upage_pool *pool = m->pool;
	uint64_t access = m->values[0] & PTE_ACCESS;
	int result = 0;
	for (uint32_t i = 0; i < m->count; i++) /* the frame is all that it gives up */
		if (frame_at(m, to + i)->at_home)
			frame_go_home(&pool->frames, to + i, 1, frame_at(m, to + i)->page);
	if (m->values[0] & PTE_FILE || frame_at(m, to)->at_home) { /* it has no content */
		view_renumber(pool, m->ptes, m->values, m->count, to);
		return 0;
	}
	if (access != 0 && !overlaps) {
		frame_stain(&pool->frames, to, m->count);
		return view_move_run(pool, m->ptes, m->values, m->count, m->address, to);
	}
	if (access != 0)
		result = view_hide_run(pool, m->ptes, m->values, m->count, m->address);
	if (result == 0)
		result = copy_hidden(m, to);
	if (result < 0)
		return result; /* what was hidden comes by a soft fault: here, and if it cannot be shown */
	view_renumber(pool, m->ptes, m->values, m->count, to);
	if (access != 0)
		view_show_run(pool, m->ptes, m->values, m->count, m->address, access, NULL);
	return 0;
}

static void describe(struct frame *frame, const struct frame *page, pte_t *pte)
{
	frame->page = page->page;
	frame->backing = page->backing;
	frame->slot = page->slot;
	frame->references = page->references;
	frame->at_home = page->at_home;
	atomic_store(&frame->pte, pte);
}

/* Of the frames that pages of the run had or get: whether it is a page's by its entry, too. */
static bool is_of_run(const struct movement *m, uint32_t pfn)
{
	const pte_t *pte = atomic_load(&frame_at(m, pfn)->pte);
	return pte_number(m->values[pte - m->ptes]) == pfn;
}

static void forget(struct movement *m, uint32_t pfn)
{
	static const struct frame none;
	describe(frame_at(m, pfn), &none, NULL);
}

static void free_old(struct movement *m)
{
	struct frame_table *frames = &m->pool->frames;
	for (uint32_t i = 0, n; i < m->count; i += n) {
		bool stays = is_of_run(m, m->from[i]);
		uint32_t most = frames_beside(m, i);
		for (n = 1; n < most && is_of_run(m, m->from[i] + n) == stays;)
			n++;
		if (stays)
			continue;
		for (uint32_t k = 0; k < n; k++)
			forget(m, m->from[i] + k);
		frame_free(frames, m->from[i], n);
	}
}

/* The pages of the run, which are locked, get the frames from @to on, and are unlocked. Each of these is
 * free, and the caller's, or the old one of a page before it in the run. Return: whether they did. */
static bool movement_run(struct movement *m, uint32_t to, bool overlaps)
{
	struct upage_pool *pool = m->pool;
	uint32_t count = m->count;
	bool sampled = pool->replace.ops->touch != NULL && (m->values[0] & PTE_ACCESS) &&
	               !(m->values[0] & PTE_FILE);
	if (sampled)
		view_references(pool, m->ptes, m->address, m->values[0], count, &m->references);
	/* In this order none is overwritten before it was read; and back in the other one. */
	for (uint32_t i = 0; i < count; i++)
		describe(frame_at(m, to + i), frame_at(m, m->from[i]), m->ptes + i);
	bool moved = move_content(m, to, overlaps) == 0;
	if (moved) {
		if (sampled && (m->values[0] & PTE_ACCESS))
			view_keep_references(pool, m->ptes, m->address, m->values[0], count, &m->references);
		for (uint32_t i = 0; i < count; i++)
			replace_move(&pool->replace, m->from[i], to + i);
		/* Who looked for something in all frames, and missed it, looks again: evict.c. */
		physical_note_placed(pool, count);
		free_old(m);
		m->left -= count;
		m->done.moves += count;
		stats_count_many(pool->stats, COUNT_MOVES, count);
	} else {
		for (uint32_t i = count; i-- > 0;)
			describe(frame_at(m, m->from[i]), frame_at(m, to + i), m->ptes + i);
		for (uint32_t i = 0; i < count; i++)
			if (!is_of_run(m, to + i))
				forget(m, to + i);
	}
	unlock_behind(m, 0);
	return moved;
}

/* Whether frame @pfn will be left by a page before that at @index of the run. */
static bool is_left_before(const struct movement *m, uint32_t pfn, uint32_t index)
{
	const pte_t *pte = atomic_load(&frame_at(m, pfn)->pte);
	return pte >= m->ptes && pte < m->ptes + index && m->from[pte - m->ptes] == pfn;
}

/* Up to @count pages from @pte on get the frames from @to on, as far as nobody else works on them. @own:
 * whether each frame is free, and the caller's, while others belong to pages of the run; NULL: all are.
 * Return: how many moved. */
static uint32_t move_run(struct movement *m, pte_t *pte, uint32_t count, uint32_t to, const bool *own)
{
	view_make_room(m->pool);
	uint64_t start = host_nanoseconds();
	uint32_t n = 0, locked = lock_run(m, pte, count);
	bool overlaps = false;
	for (; n < locked && own != NULL && (own[n] || is_left_before(m, to + n, n)); n++)
		overlaps = overlaps || !own[n];
	n = own != NULL ? n : locked;
	unlock_behind(m, n);
	if (n > 0 && !movement_run(m, to, overlaps))
		n = 0;
	uint64_t pause = host_nanoseconds() - start;
	m->done.pause_ns = larger(pause, m->done.pause_ns);
	if (pause > PAUSE_NS && m->run_max > 1)
		m->run_max /= 2;
	else if (pause < PAUSE_NS / 3 && n == m->run_max && m->run_max < m->run_most)
		m->run_max *= 2;
	return n;
}

/* ---- Room at the floor ---------------------------------------------------------------------- */

/* The page in frame @pfn gets another; with those beside it if a run of frames is free for them. Pages
 * that lie in order are fewer where only a shorter one is. Return: whether it did. */
static bool move_away(struct movement *m, uint32_t pfn)
{
	struct frame_table *frames = &m->pool->frames;
	pte_t *pte = atomic_load(&frame_at(m, pfn)->pte);
	uint64_t value = pte != NULL ? atomic_load(pte) : 0;
	if (pte == NULL || pte_number(value) != pfn || !is_movable(m, value, value & KIND) || m->left == 0)
		return false;
	uint32_t before = run_before(m, pte);
	uint32_t count = (uint32_t)smaller(before + run_behind(m, pte), m->left);
	uint32_t to = count > before ? frame_allocate(frames, count) : FRAME_NONE;
	if (to == FRAME_NONE) {
		count = (uint32_t)smaller(run_behind(m, pte), m->left);
		before = 0;
		while ((to = frame_allocate(frames, count)) == FRAME_NONE && count > 1)
			count /= 2;
	}
	m->full = to == FRAME_NONE;
	if (m->full)
		return false;
	uint32_t moved = move_run(m, pte - before, count, to, NULL);
	if (moved < count)
		frame_free(frames, to + moved, count - moved);
	return moved > before;
}

/* Takes frames from the floor on, for pages from @pte on (m->own); the others will have been left by
 * pages before. Free ones come first, so that no page is moved away to one of them. Return: how many frames
 * that are, in a row. */
static uint32_t clear(struct movement *m, const pte_t *pte, uint32_t count)
{
	struct frame_table *frames = &m->pool->frames;
	uint64_t start = host_nanoseconds();
	uint32_t n, end;
	count = (uint32_t)smaller(count, frames->frames - m->floor);
	for (n = 0; n < RUN_MAX; n++)
		m->own[n] = false;
	for (n = 0; n < count; n++)
		for (end = n + frame_allocate_from(frames, m->floor + UINT64_C(1) * n, count - n); n < end; n++)
			m->own[n] = true;
	for (n = 0; n < count; n++) {
		const pte_t *owner = atomic_load(&frame_at(m, m->floor + n)->pte);
		if (m->own[n] || (owner >= pte && owner < pte + n))
			continue;
		if ((n > 0 && host_nanoseconds() - start > CLEARING_NS) || !move_away(m, m->floor + n) ||
		    !frame_allocate_at(frames, m->floor + n))
			break;
		m->own[n] = true;
	}
	return n;
}

/* Of the frames that clear() took, those that no page got. Return: whether there were some. */
static bool free_cleared(struct movement *m, uint32_t used)
{
	bool any = false;
	for (uint32_t i = used; i < RUN_MAX; i++) {
		if (m->own[i])
			frame_free(&m->pool->frames, m->floor + i, 1);
		any = any || m->own[i];
	}
	return any;
}

/* The page of @pte, and those beside it, to the floor. Return: how many. */
static uint32_t place(struct movement *m, pte_t *pte, uint32_t count)
{
	rwlock_read(&m->pool->compaction.moving);
	uint32_t room = clear(m, pte, count);
	if (room == 0 && m->full && free_cleared(m, 0))
		room = clear(m, pte, 1); /* what was taken further up, were the last free frames */
	uint32_t most = (uint32_t)smaller(room, m->left);
	uint32_t placed = most > 0 ? move_run(m, pte, most, m->floor, m->own) : 0;
	free_cleared(m, placed);
	rwlock_read_release(&m->pool->compaction.moving);
	m->blocked = room == 0;
	m->full = m->full && placed == 0; /* their old frames are free now */
	return placed;
}

/* ---- A pass --------------------------------------------------------------------------------- */

/* The pages from @pte on that move together, up to one that lies right already. */
static uint32_t run_to_place(const struct movement *m, pte_t *pte)
{
	uint32_t count = run_behind(m, pte), n = 0;
	while (n < count && pte_number(atomic_load(pte + n)) != m->floor + UINT64_C(1) * n)
		n++;
	return n;
}

static bool is_over(struct movement *m)
{
	if (m->deadline != 0 && host_nanoseconds() > m->deadline)
		m->left = 0;
	return m->left == 0 || m->full;
}

/* The pages of a leaf, from the floor on. */
static void place_leaf(struct movement *m, pte_t *leaf)
{
	for (size_t i = 0; i < PAGE_TABLE_NODE_ENTRIES;) {
		uint64_t value = atomic_load(&leaf[i]), moves = m->done.moves;
		if (!is_movable(m, value, value & KIND)) {
			i++;
			continue;
		}
		uint32_t count = run_to_place(m, &leaf[i]), placed = 0;
		if (count > 0 && is_over(m))
			return;
		if (count > 0)
			placed = place(m, &leaf[i], count);
		else
			placed = 1; /* it is there */
		m->floor += placed;
		i += placed;
		if (placed > 0 || m->done.moves > moves)
			continue;
		/* Something that cannot move, at the floor, or here. */
		m->floor += m->blocked;
		i += !m->blocked;
	}
}

/* The lowest frame from @pfn on whose page may move, or FRAME_NONE. */
static uint64_t find_movable(const struct movement *m, uint64_t pfn)
{
	const struct frame_table *frames = &m->pool->frames;
	uint64_t end = frame_table_end(frames);
	for (; pfn < end; pfn = frame_next(frames, pfn))
		if (may_move(frame_at(m, pfn)))
			return pfn;
	return FRAME_NONE;
}

/* From the floor on, until all is in place; or, if @wanted > 0, so many frames are free there. */
static void slide(struct movement *m, uint32_t wanted)
{
	uint64_t at = find_movable(m, m->floor);
	while (at != FRAME_NONE && !is_over(m)) {
		uint32_t floor = m->floor;
		uint64_t moves = m->done.moves;
		const pte_t *pte = atomic_load(&frame_at(m, at)->pte);
		if (wanted > 0 && frame_largest_run(&m->pool->frames) >= wanted)
			break;
		if (pte != NULL)
			place_leaf(m, (pte_t *)((uintptr_t)pte & ~(sizeof(pte_t) * PAGE_TABLE_NODE_ENTRIES - 1)));
		/* Where nothing could be done, the next: that page is busy. */
		bool stuck = m->floor == floor && m->done.moves == moves;
		at = find_movable(m, stuck ? at + 1 : m->floor);
	}
}

static size_t buffer_bytes(const struct upage_pool *pool)
{
	return larger(RUN_BYTES, page_size(pool));
}

/* compaction.lock is held. Return: NULL: there is no memory for a pass. */
static struct movement *begin(struct upage_pool *pool, uint64_t max_moves)
{
	struct compaction *compaction = &pool->compaction;
	size_t bytes = buffer_bytes(pool);
	if (compaction->movement == NULL)
		compaction->movement = host_metadata(sizeof(struct movement) + bytes);
	struct movement *m = compaction->movement;
	if (m == NULL)
		return NULL;
	uint64_t frames = pool->frames.frames, used = frames - atomic_load(&pool->frames.free);
	uint64_t most = MOVES_EACH * used, run = smaller(smaller(RUN_MAX, frames / 16), bytes / page_size(pool));
	*m = (struct movement){ .pool = pool,
		                .run_max = UINT32_C(1) << log2_floor(smaller(run, RUN_FIRST)),
		                .run_most = UINT32_C(1) << log2_floor(run),
		                .left = max_moves > 0 ? smaller(max_moves, most) : most,
		                .buffer = (char *)(m + 1) };
	return m;
}

static struct compact_result end(struct movement *m)
{
	struct compact_result done = m->done;
	stats_count(m->pool->stats, COUNT_COMPACTIONS);
	stats_pause(m->pool->stats, done.pause_ns);
	return done;
}

void compact_destroy(struct upage_pool *pool)
{
	if (pool->compaction.movement != NULL)
		host_metadata_release(pool->compaction.movement,
		                      sizeof(struct movement) + buffer_bytes(pool));
}

static int pass(struct upage_pool *pool, uint64_t max_moves, uint32_t wanted, struct compact_result *result)
{
	lock_acquire(&pool->compaction.lock);
	struct movement *m = begin(pool, max_moves);
	if (m != NULL) {
		slide(m, wanted);
		*result = end(m);
	}
	lock_release(&pool->compaction.lock);
	return m != NULL ? 0 : UPAGE_ENOMEM;
}

int compact_pool(struct upage_pool *pool, uint64_t max_moves, struct compact_result *result)
{
	return pass(pool, max_moves, 0, result);
}

int compact_make_run(struct upage_pool *pool, uint32_t count, struct compact_result *result)
{
	return pass(pool, 0, count, result);
}

/* ---- Stirring ---------------------------------------------------------------------------------- */

uint64_t compact_stir(struct upage_pool *pool, uint64_t most)
{
	struct compaction *compaction = &pool->compaction;
	uint64_t moved = 0;
	if (!lock_try(&compaction->lock))
		return 0;
	struct movement *m = begin(pool, most);
	uint64_t at = m != NULL ? find_movable(m, compaction->stirred) : FRAME_NONE;
	for (; at != FRAME_NONE && !is_over(m); at = find_movable(m, at + 1)) {
		rwlock_read(&compaction->moving);
		move_away(m, (uint32_t)at);
		rwlock_read_release(&compaction->moving);
	}
	compaction->stirred = at != FRAME_NONE ? at : 0;
	if (m != NULL)
		moved = end(m).moves;
	lock_release(&compaction->lock);
	return moved;
}

/* ---- When host mappings run short ------------------------------------------------------------- */

#define LOOK 256u /* frames at a time */
#define LOOKS 8u

/* Whether a quarter of the shown pages here would be joined to the one on the left, if its frame were. */
static bool is_scattered(const struct movement *m, uint64_t pfn)
{
	unsigned shown = 0, apart = 0;
	for (uint64_t last = smaller(pfn + LOOK, frame_table_end(&m->pool->frames)); pfn < last; pfn++) {
		pte_t *pte = atomic_load(&frame_at(m, pfn)->pte);
		uint64_t value = pte != NULL ? atomic_load(pte) : 0;
		if (!(value & PTE_ACCESS) || (value & PTE_FILE) || pte_number(value) != pfn)
			continue;
		uint64_t left = pte_left(pte);
		shown++;
		apart += ((value ^ left) & KIND) == 0 && pte_number(left) + 1 != pfn;
	}
	return apart > shown / 4;
}

void compact_relieve(struct upage_pool *pool)
{
	struct compaction *compaction = &pool->compaction;
	uint64_t now = host_nanoseconds();
	atomic_store(&compaction->wanted, false);
	if (!lock_try(&compaction->lock))
		return;
	struct movement *m = begin(pool, 0);
	if (m != NULL && now >= compaction->rest) {
		uint64_t hand = compaction->hand;
		uint64_t end_of_frames = frame_table_end(&pool->frames);
		unsigned looks = 0;
		for (; looks < LOOKS && !is_scattered(m, hand); looks++)
			hand = hand + LOOK < end_of_frames ? hand + LOOK : 0;
		m->floor = (uint32_t)hand;
		m->deadline = now + COMPACT_STEP_NS;
		if (looks < LOOKS)
			slide(m, 0);
		compaction->hand = m->floor < end_of_frames ? m->floor : 0;
		if (m->done.moves > 0)
			end(m);
		uint64_t after = host_nanoseconds();
		compaction->rest = after + REST * (after - now);
	}
	lock_release(&compaction->lock);
}
