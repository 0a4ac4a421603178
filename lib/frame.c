/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "frame.h"

#include "guard.h"
#include "host.h"

int frame_table_init(struct frame_table *table, uint64_t frames, unsigned page_shift)
{
	INVARIANT(frames >= 1 && frames <= FRAMES_MAX);
	*table = (struct frame_table){
		.memory = -1, .copy = -1, .page_shift = page_shift, .frames = frames
	};
	for (unsigned order = 0; order < FRAME_ORDERS; order++)
		table->list[order] = FRAME_NONE;
	int memory = host_memory_create(frames << page_shift);
	int result = memory < 0 ? memory : host_keep(&table->memory, memory);
	if (result < 0)
		return result;
	table->frame = guard_metadata(frames * sizeof(struct frame), GUARDED_FRAME_TABLE);
	if (table->frame == NULL) {
		host_drop(&table->memory);
		return UPAGE_ENOMEM;
	}
	table->free = table->free_least = frames;
	return 0;
}

void frame_table_destroy(struct frame_table *table)
{
	guard_metadata_release(table->frame, table->frames * sizeof(struct frame));
	host_drop(&table->memory);
}

/* ---- Runs: the lock is held ---------------------------------------------------------- */

static void list_insert(struct frame_table *table, uint32_t head, unsigned order)
{
	struct frame *frame = &table->frame[head];
	frame->state = FRAME_FREE_HEAD;
	frame->order = (uint8_t)order;
	frame->previous = FRAME_NONE;
	frame->next = table->list[order];
	if (frame->next != FRAME_NONE)
		table->frame[frame->next].previous = head;
	table->list[order] = head;
}

static void list_remove(struct frame_table *table, uint32_t head)
{
	struct frame *frame = &table->frame[head];
	if (frame->previous != FRAME_NONE)
		table->frame[frame->previous].next = frame->next;
	else
		table->list[frame->order] = frame->next;
	if (frame->next != FRAME_NONE)
		table->frame[frame->next].previous = frame->previous;
	frame->state = FRAME_FREE_BODY;
}

static bool is_free_run(const struct frame_table *table, uint64_t head, unsigned order)
{
	return head < table->frames && table->frame[head].state == FRAME_FREE_HEAD &&
	       table->frame[head].order == order;
}

/* A run of 2^order frames becomes free, joined with its buddies as far as they are free. */
static void run_free(struct frame_table *table, uint32_t head, unsigned order)
{
	while (order + 1 < FRAME_ORDERS) {
		uint64_t buddy = head ^ (UINT64_C(1) << order);
		if (!is_free_run(table, buddy, order))
			break;
		list_remove(table, (uint32_t)buddy);
		head &= ~(UINT32_C(1) << order);
		order++;
	}
	list_insert(table, head, order);
}

/* [pfn, pfn + count) as the largest aligned runs that it is made of. */
static void range_free(struct frame_table *table, uint32_t pfn, uint64_t count)
{
	while (count > 0) {
		unsigned order = log2_floor(count);
		if (pfn != 0 && (unsigned)__builtin_ctz(pfn) < order)
			order = (unsigned)__builtin_ctz(pfn);
		run_free(table, pfn, order);
		pfn += UINT32_C(1) << order;
		count -= UINT64_C(1) << order;
	}
}

#define FRESH_FIRST 4096

/* Memory doubles, so that what a short program takes lies in a small part of the table. (A fresh one
 * says FREE_BODY everywhere.) Return: whether there was any left. */
static bool take_fresh(struct frame_table *table)
{
	uint64_t left = table->frames - table->fresh;
	uint64_t more = table->fresh > 0 ? table->fresh : FRESH_FIRST;
	if (left == 0)
		return false;
	more = more < left ? more : left;
	range_free(table, (uint32_t)table->fresh, more);
	table->fresh += more;
	return true;
}

/* The shortest free runs of at least 2^order frames; FRAME_ORDERS: there are none. */
static unsigned find_order(struct frame_table *table, unsigned order)
{
	do {
		for (unsigned at = order; at < FRAME_ORDERS; at++)
			if (table->list[at] != FRAME_NONE)
				return at;
	} while (take_fresh(table));
	return FRAME_ORDERS;
}

static void take(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct frame *frame = &table->frame[pfn + i];
		frame->page = 0;
		frame->backing = NULL;
		frame->slot = 0;
		frame->state = FRAME_USED;
	}
	table->free -= count;
	if (table->free < table->free_least)
		table->free_least = table->free;
}

/* ---- Longest runs: the lock is held ---------------------------------------------------- */

/* Free runs are aligned; what lies between two used frames may be several beside each other. */
static uint64_t stretch_start(const struct frame_table *table, uint64_t start)
{
	for (unsigned order = 0; order < FRAME_ORDERS && start >> order > 0;) {
		uint64_t before = start - (UINT64_C(1) << order);
		bool free = is_free_run(table, before, order);
		start = free ? before : start;
		order = free ? 0 : order + 1;
	}
	return start;
}

static uint64_t stretch_end(const struct frame_table *table, uint64_t end)
{
	while (end < table->fresh && table->frame[end].state == FRAME_FREE_HEAD)
		end += UINT64_C(1) << table->frame[end].order;
	return end < table->fresh ? end : table->frames;
}

/* A stretch that is longer than the longest run of the lists has one of that order or of the next one
 * below in it: only around those it is looked for, and around so many of each. */
#define STRETCHES 64

/* The longest stretch of free frames, or one that is nearly so. Return: its length. */
static uint64_t longest_stretch(const struct frame_table *table, uint64_t *start)
{
	unsigned orders = 0;
	uint64_t longest = 0;
	if (table->fresh < table->frames) {
		*start = stretch_start(table, table->fresh);
		longest = table->frames - *start;
	}
	for (unsigned order = FRAME_ORDERS; order-- > 0 && orders < 2;) {
		uint32_t head = table->list[order];
		orders += orders > 0 || head != FRAME_NONE;
		for (unsigned i = 0; i < STRETCHES && head != FRAME_NONE; i++) {
			uint64_t first = stretch_start(table, head);
			uint64_t length = stretch_end(table, head) - first;
			if (length > longest) {
				longest = length;
				*start = first;
			}
			head = table->frame[head].next;
		}
	}
	return longest;
}

/* ---- Allocation ---------------------------------------------------------------------- */

/* Frames out of the free run of 2^order frames at @head. The lock is held. */
static void take_from_run(struct frame_table *table, uint32_t head, unsigned order, uint32_t pfn,
                          uint32_t count)
{
	uint64_t end = head + (UINT64_C(1) << order);
	list_remove(table, head);
	take(table, pfn, count);
	range_free(table, head, pfn - head);
	range_free(table, pfn + count, end - pfn - count);
}

/* The order of the free run that frame @pfn is in; FRAME_ORDERS: it is in none. */
static unsigned free_run_of(const struct frame_table *table, uint64_t pfn)
{
	unsigned order = 0;
	while (order < FRAME_ORDERS && !is_free_run(table, pfn >> order << order, order))
		order++;
	return order;
}

/* As many of @count frames from @pfn on as the free run has that @pfn is in. */
static uint32_t take_at(struct frame_table *table, uint64_t pfn, uint32_t count)
{
	while (pfn >= table->fresh && pfn < table->frames)
		take_fresh(table);
	unsigned order = free_run_of(table, pfn);
	if (order == FRAME_ORDERS)
		return 0;
	uint64_t head = pfn >> order << order;
	uint64_t there = head + (UINT64_C(1) << order) - pfn;
	uint32_t taken = there < count ? (uint32_t)there : count;
	take_from_run(table, (uint32_t)head, order, (uint32_t)pfn, taken);
	return taken;
}

/* @count frames from @pfn on, as far as they are free. */
static uint32_t take_stretch(struct frame_table *table, uint64_t pfn, uint32_t count)
{
	uint32_t taken = 0, more;
	while (taken < count && (more = take_at(table, pfn + taken, count - taken)) > 0)
		taken += more;
	return taken;
}

uint32_t frame_allocate(struct frame_table *table, uint32_t count)
{
	lock_acquire(&table->lock);
	unsigned order = find_order(table, log2_ceiling(count));
	uint32_t pfn = FRAME_NONE;
	uint64_t start;
	if (order < FRAME_ORDERS) {
		pfn = table->list[order];
		take_from_run(table, pfn, order, pfn, count);
	} else if (count <= table->free && longest_stretch(table, &start) >= count) {
		pfn = (uint32_t)start;
		take_stretch(table, start, count);
	}
	lock_release(&table->lock);
	return pfn;
}

uint32_t frame_allocate_from(struct frame_table *table, uint64_t pfn, uint32_t count)
{
	lock_acquire(&table->lock);
	uint32_t taken = take_stretch(table, pfn, count);
	lock_release(&table->lock);
	return taken;
}

bool frame_allocate_at(struct frame_table *table, uint64_t pfn)
{
	return frame_allocate_from(table, pfn, 1) == 1;
}

uint32_t frame_allocate_placed(struct frame_table *table, uint64_t page, unsigned place)
{
	lock_acquire(&table->lock);
	unsigned order = find_order(table, place);
	if (order == FRAME_ORDERS) /* no run is that long: the longest that there is */
		for (order = place; order > 0 && table->list[order] == FRAME_NONE;)
			order--;
	uint32_t head = table->list[order], pfn = FRAME_NONE;
	if (head != FRAME_NONE) {
		unsigned span = order < place ? order : place;
		pfn = head + (uint32_t)(page & ((UINT64_C(1) << span) - 1));
		take_from_run(table, head, order, pfn, 1);
	}
	lock_release(&table->lock);
	return pfn;
}

void frame_free(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	lock_acquire(&table->lock);
	for (uint32_t i = 0; i < count; i++) {
		INVARIANT(table->frame[pfn + i].pins == 0);
		table->frame[pfn + i].state = FRAME_FREE_BODY;
	}
	range_free(table, pfn, count);
	table->free += count;
	lock_release(&table->lock);
}

/* ---- Runs of spaces -------------------------------------------------------------------- */

/* A stretch of free frames, of free runs beside each other. */
struct stretch {
	uint64_t first, count;
};

/* The first of at least @count frames, or the longest. The lock is held. */
static struct stretch find_stretch(struct frame_table *table, uint64_t count, bool longest)
{
	struct stretch best = { 0, 0 }, now = { 0, 0 };
	for (uint64_t pfn = 0; pfn < table->frames;) {
		const struct frame *frame = &table->frame[pfn];
		bool fresh = pfn >= table->fresh, free = fresh || frame->state == FRAME_FREE_HEAD;
		uint64_t step = fresh ? table->frames - pfn : free ? UINT64_C(1) << frame->order : 1;
		if (free && now.count == 0)
			now.first = pfn;
		now.count = free ? now.count + step : 0;
		if (now.count > best.count)
			best = now;
		if (best.count >= count && !longest)
			break;
		pfn += step;
	}
	return best;
}

/* A run's frames are written to at any time, and never filled by us: they are zeros when it gets them.
 * Return: 0 or a host's error. */
static int clear_run(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	int result = 0;
	for (uint32_t i = 0, end; i < count && result == 0; i = end) {
		bool stained = table->frame[pfn + i].stained;
		for (end = i; end < count && table->frame[pfn + end].stained == stained; end++)
			table->frame[pfn + end].stained = true;
		if (stained)
			result = host_punch(table->memory, frame_offset(table, pfn + i),
			                    (size_t)(end - i) << table->page_shift);
	}
	return result;
}

static void give_back(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		table->frame[pfn + i].state = FRAME_FREE_BODY;
	range_free(table, pfn, count);
	table->free += count;
}

/* All of [pfn, pfn + count), or none. The lock is held. */
static bool take_run_at(struct frame_table *table, uint64_t pfn, uint32_t count)
{
	uint32_t taken = 0, more;
	if (count == 0 || pfn + count > table->frames)
		return false;
	while (taken < count && (more = take_at(table, pfn + taken, count - taken)) > 0)
		taken += more;
	if (taken < count) {
		give_back(table, (uint32_t)pfn, taken);
		return false;
	}
	for (uint32_t i = 0; i < count; i++) {
		table->frame[pfn + i].state = FRAME_RUN;
		atomic_store(&table->frame[pfn + i].pte, NULL);
	}
	atomic_fetch_add(&table->in_runs, count);
	return true;
}

uint32_t frame_allocate_run(struct frame_table *table, uint32_t count, bool middle)
{
	lock_acquire(&table->lock);
	struct stretch stretch = find_stretch(table, count, middle);
	uint64_t pfn = stretch.first + (middle && stretch.count > count ? (stretch.count - count) / 2 : 0);
	bool taken = stretch.count >= count && take_run_at(table, pfn, count);
	lock_release(&table->lock);
	if (taken && clear_run(table, (uint32_t)pfn, count) < 0) {
		frame_free_run(table, (uint32_t)pfn, count);
		taken = false;
	}
	return taken ? (uint32_t)pfn : FRAME_NONE;
}

bool frame_allocate_run_at(struct frame_table *table, uint64_t pfn, uint32_t count)
{
	lock_acquire(&table->lock);
	bool taken = take_run_at(table, pfn, count);
	lock_release(&table->lock);
	if (taken && clear_run(table, (uint32_t)pfn, count) < 0) {
		frame_free_run(table, (uint32_t)pfn, count);
		taken = false;
	}
	return taken;
}

void frame_free_run(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	bool zeros = host_punch(table->memory, frame_offset(table, pfn), (size_t)count << table->page_shift) == 0;
	lock_acquire(&table->lock);
	for (uint32_t i = 0; i < count && zeros; i++)
		table->frame[pfn + i].stained = false;
	give_back(table, pfn, count);
	atomic_fetch_sub(&table->in_runs, count);
	lock_release(&table->lock);
}

uint32_t frame_free_below(struct frame_table *table, uint32_t pfn)
{
	lock_acquire(&table->lock);
	uint32_t first = pfn;
	while (first > 0 && table->frame[first - 1].state <= FRAME_FREE_HEAD)
		first--;
	lock_release(&table->lock);
	return pfn - first;
}

uint64_t frame_largest_run(struct frame_table *table)
{
	uint64_t start;
	lock_acquire(&table->lock);
	uint64_t largest = longest_stretch(table, &start);
	lock_release(&table->lock);
	return largest;
}

bool frame_table_is_valid(struct frame_table *table)
{
	bool valid = true;
	lock_acquire(&table->lock);
	uint64_t free = table->frames - table->fresh, used = 0;
	for (unsigned order = 0; order < FRAME_ORDERS; order++) {
		for (uint32_t p = table->list[order]; p != FRAME_NONE; p = table->frame[p].next) {
			valid = valid && is_free_run(table, p, order) &&
			        !is_free_run(table, p ^ (UINT64_C(1) << order), order);
			free += UINT64_C(1) << order;
		}
	}
	for (uint64_t p = 0; p < table->frames; p++)
		used += table->frame[p].state == FRAME_USED || table->frame[p].state == FRAME_RUN;
	valid = valid && free == table->free && free + used == table->frames;
	lock_release(&table->lock);
	return valid;
}

/* ---- Content ------------------------------------------------------------------------- */

int frame_move_run(struct frame_table *table, uint32_t from, uint32_t to, uint32_t count)
{
	return host_memory_move(table->memory, frame_offset(table, from), frame_offset(table, to),
	                 (size_t)count << table->page_shift);
}

static void stain(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		table->frame[pfn + i].stained = true;
}

/* A run that was never written to, too: the host makes its pages for a fifth less by this than when they
 * are shown. Of one page that would be another call. */
int frame_zero_run(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	stain(table, pfn, count);
	return host_zero(table->memory, frame_offset(table, pfn), (size_t)count << table->page_shift);
}

int frame_zero(struct frame_table *table, uint32_t pfn)
{
	if (table->frame[pfn].stained)
		return frame_zero_run(table, pfn, 1);
	table->frame[pfn].stained = true; /* it is zero now, or will be, and handed out */
	return 0;
}

/* Of [start, end), in free runs, the first frame that is stained; @end: none. The lock is held. */
static uint64_t find_stained(const struct frame_table *table, uint64_t start, uint64_t end)
{
	unsigned order = free_run_of(table, start);
	uint64_t run_end = start;
	if (order < FRAME_ORDERS)
		run_end = (start >> order << order) + (UINT64_C(1) << order);
	for (uint64_t pfn = start; pfn < end; pfn++) {
		const struct frame *frame = &table->frame[pfn];
		if (frame->state == FRAME_FREE_HEAD)
			run_end = pfn + (UINT64_C(1) << frame->order);
		if (pfn < run_end && frame->stained)
			return pfn;
	}
	return end;
}

/* Free frames beside each other that are stained. The lock is held. Return: how many, from *@first on;
 * the hand stands behind what was looked at. */
static uint32_t take_stained(struct frame_table *table, uint64_t *hand, uint32_t most, uint32_t *first)
{
	uint64_t start = *hand < table->fresh ? *hand : 0;
	uint64_t end = start + FRAME_ZERO_LOOK < table->fresh ? start + FRAME_ZERO_LOOK : table->fresh;
	uint64_t pfn = find_stained(table, start, end);
	uint32_t count = 0;
	while (count < most && pfn + count < end && table->frame[pfn + count].stained)
		count++;
	*first = (uint32_t)pfn;
	if (count > 0)
		count = take_at(table, pfn, count);
	*hand = count > 0 ? pfn + count : end < table->fresh ? end : 0;
	return count;
}

int frame_zero_ahead(struct frame_table *table, uint64_t *hand, uint32_t most)
{
	uint32_t first = 0;
	lock_acquire(&table->lock);
	uint32_t count = take_stained(table, hand, most, &first);
	lock_release(&table->lock);
	if (count == 0)
		return 0;
	int result = host_zero(table->memory, frame_offset(table, first), (size_t)count << table->page_shift);
	for (uint32_t i = 0; i < count && result == 0; i++)
		table->frame[first + i].stained = false;
	frame_free(table, first, count);
	return result < 0 ? result : (int)count;
}

int frame_read(const struct frame_table *table, uint32_t pfn, void *buffer)
{
	return frame_read_run(table, pfn, 1, buffer);
}

int frame_read_run(const struct frame_table *table, uint32_t pfn, uint32_t count, void *buffer)
{
	return host_read(table->memory, buffer, (size_t)count << table->page_shift,
	                 frame_offset(table, pfn));
}

bool frame_is_fresh_run(const struct frame_table *table, uint32_t pfn, uint32_t count)
{
	bool fresh = true;
	for (uint32_t i = 0; i < count && fresh; i++)
		fresh = !table->frame[pfn + i].stained;
	return fresh;
}

int frame_borrow(struct frame_table *table, uint32_t pfn, uint32_t count, void **at)
{
	stain(table, pfn, count);
	return host_borrow(table->memory, frame_offset(table, pfn), (size_t)count << table->page_shift, at);
}

int frame_write_run(struct frame_table *table, uint32_t pfn, uint32_t count, const void *buffer)
{
	stain(table, pfn, count);
	return host_write(table->memory, buffer, (size_t)count << table->page_shift,
	                  frame_offset(table, pfn));
}

int frame_write(struct frame_table *table, uint32_t pfn, const void *buffer)
{
	return frame_write_run(table, pfn, 1, buffer);
}

/* ---- Copies for forks ------------------------------------------------------------------ */

/* What was never written to is zero in the copy too: a page that is shown from its file, for one. */
static bool has_content(const struct frame *frame)
{
	return frame->state >= FRAME_USED && frame->stained;
}

/* A pass over the frames that knows free runs by their heads: O(used frames and free runs). */
static int copy_used(struct frame_table *table, int to)
{
	int result = 0;
	for (uint64_t pfn = 0; pfn < table->fresh && result == 0;) {
		const struct frame *frame = &table->frame[pfn];
		if (frame->state < FRAME_USED) {
			INVARIANT(frame->state == FRAME_FREE_HEAD);
			pfn += UINT64_C(1) << frame->order;
			continue;
		}
		uint64_t first = pfn++;
		if (!frame->stained)
			continue;
		while (pfn < table->fresh && has_content(&table->frame[pfn]))
			pfn++;
		result = host_copy(table->memory, to, frame_offset(table, first),
		                   (size_t)(pfn - first) << table->page_shift);
	}
	return result;
}

int frame_copy_begin(struct frame_table *table)
{
	int memory = host_memory_create(table->frames << table->page_shift);
	int result = memory < 0 ? memory : host_keep(&table->copy, memory);
	if (result == 0)
		result = copy_used(table, table->copy);
	if (result < 0)
		host_drop(&table->copy);
	return result;
}

void frame_copy_end(struct frame_table *table, bool shared)
{
	if (shared)
		host_abandon(&table->copy);
	else
		host_drop(&table->copy);
}

void frame_copy_adopt(struct frame_table *table, bool shared)
{
	host_exchange(&table->memory, &table->copy);
	frame_copy_end(table, shared);
	table->free_least = table->free;
}
