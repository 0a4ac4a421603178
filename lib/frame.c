/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "frame.h"

#include "guard.h"
#include "host.h"

static struct frame_zone *zone_of(struct frame_table *table, uint64_t pfn)
{
	return &table->zone[pfn >> table->zone_shift];
}

int frame_table_init(struct frame_table *table, uint64_t frames, unsigned page_shift)
{
	INVARIANT(frames >= 1 && frames <= FRAMES_MAX);
	uint64_t zone_frames = larger(FRAME_ZONE_LEAST, (frames + FRAME_ZONES - 1) / FRAME_ZONES);
	*table = (struct frame_table){ .memory = -1,
		                       .copy = -1,
		                       .home = -1,
		                       .home_copy = -1,
		                       .page_shift = page_shift,
		                       .frames = frames,
		                       .zone_shift = log2_ceiling(zone_frames) };
	for (uint64_t start = 0; start < frames; table->zones++) {
		struct frame_zone *zone = zone_of(table, start);
		zone->start = zone->fresh = start;
		zone->end = start = smaller(frames, start + (UINT64_C(1) << table->zone_shift));
		for (unsigned order = 0; order < FRAME_ORDERS; order++)
			zone->list[order] = FRAME_NONE;
	}
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
	host_drop(&table->home);
}

void frame_table_lock(struct frame_table *table)
{
	for (unsigned i = 0; i < table->zones; i++)
		lock_acquire(&table->zone[i].lock);
}

void frame_table_unlock(struct frame_table *table)
{
	for (unsigned i = table->zones; i-- > 0;)
		lock_release(&table->zone[i].lock);
}

/* ---- Runs: the lock of the zone is held ------------------------------------------------- */

static void note_order(struct frame_zone *zone, unsigned order)
{
	uint32_t orders = atomic_load_explicit(&zone->orders, memory_order_relaxed);
	uint32_t bit = UINT32_C(1) << order;
	bool any = zone->list[order] != FRAME_NONE;
	atomic_store_explicit(&zone->orders, any ? orders | bit : orders & ~bit, memory_order_relaxed);
}

static void list_insert(struct frame_table *table, uint32_t head, unsigned order)
{
	struct frame_zone *zone = zone_of(table, head);
	struct frame *frame = &table->frame[head];
	frame->state = FRAME_FREE_HEAD;
	frame->order = (uint8_t)order;
	frame->previous = FRAME_NONE;
	frame->next = zone->list[order];
	if (frame->next != FRAME_NONE)
		table->frame[frame->next].previous = head;
	zone->list[order] = head;
	note_order(zone, order);
}

static void list_remove(struct frame_table *table, uint32_t head)
{
	struct frame_zone *zone = zone_of(table, head);
	struct frame *frame = &table->frame[head];
	if (frame->previous != FRAME_NONE)
		table->frame[frame->previous].next = frame->next;
	else
		zone->list[frame->order] = frame->next;
	if (frame->next != FRAME_NONE)
		table->frame[frame->next].previous = frame->previous;
	frame->state = FRAME_FREE_BODY;
	note_order(zone, frame->order);
}

static bool is_free_run(const struct frame_table *table, uint64_t head, unsigned order)
{
	return head < table->frames && table->frame[head].state == FRAME_FREE_HEAD &&
	       table->frame[head].order == order;
}

/* A run of 2^order frames becomes free, joined with its buddies as far as they are free. */
static void run_free(struct frame_table *table, uint32_t head, unsigned order)
{
	while (order < table->zone_shift) {
		uint64_t buddy = head ^ (UINT64_C(1) << order);
		if (!is_free_run(table, buddy, order))
			break;
		list_remove(table, (uint32_t)buddy);
		head &= ~(UINT32_C(1) << order);
		order++;
	}
	list_insert(table, head, order);
}

/* [pfn, pfn + count), of a zone or several, as the largest aligned runs that it is made of. */
static void range_free(struct frame_table *table, uint32_t pfn, uint64_t count)
{
	while (count > 0) {
		unsigned order = log2_floor(count);
		if (pfn != 0 && (unsigned)__builtin_ctz(pfn) < order)
			order = (unsigned)__builtin_ctz(pfn);
		if (order > table->zone_shift)
			order = table->zone_shift;
		run_free(table, pfn, order);
		pfn += UINT32_C(1) << order;
		count -= UINT64_C(1) << order;
	}
}

#define FRESH_FIRST 4096

/* What is in use of a zone doubles, so that what a short program takes lies in a small part of the
 * table. (A fresh one says FREE_BODY everywhere.) Return: whether there was any left. */
static bool take_fresh(struct frame_table *table, struct frame_zone *zone)
{
	uint64_t first = zone->fresh, left = zone->end - first;
	if (left == 0)
		return false;
	uint64_t more = smaller(left, larger(FRESH_FIRST, first - zone->start));
	zone->fresh = first + more;
	range_free(table, (uint32_t)first, more);
	return true;
}

/* Whether a zone has a run of at least 2^order frames, as it seems without the lock. */
static bool zone_has(const struct frame_zone *zone, unsigned order)
{
	return atomic_load_explicit(&zone->orders, memory_order_relaxed) >> order != 0 ||
	       atomic_load_explicit(&zone->fresh, memory_order_relaxed) < zone->end;
}

/* The shortest free runs of at least 2^order frames; FRAME_ORDERS: there are none. */
static unsigned find_order(struct frame_table *table, struct frame_zone *zone, unsigned order)
{
	do {
		uint32_t longer = zone->orders >> order;
		if (longer != 0)
			return order + (unsigned)__builtin_ctz(longer);
	} while (take_fresh(table, zone));
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
	uint64_t left = atomic_fetch_sub(&table->free, count) - count;
	uint64_t least = atomic_load_explicit(&table->free_least, memory_order_relaxed);
	while (left < least && !atomic_compare_exchange_weak(&table->free_least, &least, left))
		;
}

/* Frames out of the free run of 2^order frames at @head. */
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
	for (unsigned order = 0; order <= table->zone_shift; order++)
		if (is_free_run(table, pfn >> order << order, order))
			return order;
	return FRAME_ORDERS;
}

/* As many of @count frames from @pfn on as the free run has that @pfn is in. */
static uint32_t take_at(struct frame_table *table, uint64_t pfn, uint32_t count)
{
	struct frame_zone *zone = zone_of(table, pfn);
	while (pfn >= zone->fresh)
		take_fresh(table, zone);
	unsigned order = free_run_of(table, pfn);
	if (order == FRAME_ORDERS)
		return 0;
	uint64_t head = pfn >> order << order;
	uint64_t there = head + (UINT64_C(1) << order) - pfn;
	uint32_t taken = there < count ? (uint32_t)there : count;
	take_from_run(table, (uint32_t)head, order, (uint32_t)pfn, taken);
	return taken;
}

/* @count frames from @pfn on, as far as they are free and the zones go whose locks are held. */
static uint32_t take_stretch(struct frame_table *table, uint64_t pfn, uint32_t count, uint64_t end)
{
	uint32_t taken = 0, more;
	count = pfn < end ? (uint32_t)smaller(count, end - pfn) : 0;
	while (taken < count && (more = take_at(table, pfn + taken, count - taken)) > 0)
		taken += more;
	return taken;
}

/* ---- Stretches of free runs beside each other: all the locks are held ---------------------- */

struct stretch {
	uint64_t first, count;
};

/* The free frames that begin with @pfn, in a list or fresh; 0: none do. */
static uint64_t piece_at(struct frame_table *table, uint64_t pfn)
{
	if (pfn >= table->frames)
		return 0;
	const struct frame_zone *zone = zone_of(table, pfn);
	if (pfn >= zone->fresh)
		return zone->end - pfn;
	return table->frame[pfn].state == FRAME_FREE_HEAD ? UINT64_C(1) << table->frame[pfn].order : 0;
}

/* Those of a list that end just before @start. */
static uint64_t piece_before(const struct frame_table *table, uint64_t start)
{
	for (unsigned order = 0; order <= table->zone_shift && start >> order > 0; order++)
		if (is_free_run(table, start - (UINT64_C(1) << order), order))
			return UINT64_C(1) << order;
	return 0;
}

/* Not beyond fresh frames on the left: around those it is asked for, too. */
static struct stretch stretch_around(struct frame_table *table, uint64_t first)
{
	uint64_t end = first, piece;
	while ((piece = piece_before(table, first)) > 0)
		first -= piece;
	while ((piece = piece_at(table, end)) > 0)
		end += piece;
	return (struct stretch){ first, end - first };
}

static struct stretch longer_of(struct stretch a, struct stretch b)
{
	return b.count > a.count ? b : a;
}

/* A stretch that is longer than the longest run of the lists has one of that order or of the next one
 * below in it: only around those it is looked for, and around so many of each in a zone. */
#define STRETCHES 64

static struct stretch longest_of_order(struct frame_table *table, const struct frame_zone *zone, unsigned order)
{
	struct stretch longest = { 0, 0 };
	uint32_t head = zone->list[order];
	for (unsigned i = 0; i < STRETCHES && head != FRAME_NONE; i++) {
		longest = longer_of(longest, stretch_around(table, head));
		head = table->frame[head].next;
	}
	return longest;
}

/* The longest stretch of free frames, or one that is nearly so. */
static struct stretch longest_stretch(struct frame_table *table)
{
	struct stretch longest = { 0, 0 };
	uint32_t all = 0;
	for (unsigned i = 0; i < table->zones; i++) {
		const struct frame_zone *zone = &table->zone[i];
		all |= zone->orders;
		if (zone->fresh < zone->end)
			longest = longer_of(longest, stretch_around(table, zone->fresh));
	}
	unsigned most = all != 0 ? log2_floor(all) : 0;
	for (unsigned order = most > 0 ? most - 1 : 0; order <= most; order++)
		for (unsigned i = 0; i < table->zones; i++)
			longest = longer_of(longest, longest_of_order(table, &table->zone[i], order));
	return longest;
}

/* ---- Allocation ---------------------------------------------------------------------- */

/* The zone that a thread takes frames from. */
static unsigned own_zone(struct frame_table *table)
{
	_Atomic uint8_t *own = &table->own_zone[shard_here()];
	uint8_t zone = atomic_load_explicit(own, memory_order_relaxed);
	if (zone == 0) { /* two threads at once: the second one wins, and both zones are good */
		zone = (uint8_t)(atomic_fetch_add(&table->owners, 1) % table->zones + 1);
		atomic_store_explicit(own, zone, memory_order_relaxed);
	}
	return zone - 1u;
}

static struct frame_zone *zone_after(struct frame_table *table, unsigned own, unsigned i)
{
	return &table->zone[(own + i) % table->zones];
}

/* @count frames out of one run of a zone. */
static uint32_t take_from_zone(struct frame_table *table, struct frame_zone *zone, uint32_t count)
{
	uint32_t pfn = FRAME_NONE;
	lock_acquire(&zone->lock);
	unsigned order = find_order(table, zone, log2_ceiling(count));
	if (order < FRAME_ORDERS) {
		pfn = zone->list[order];
		take_from_run(table, pfn, order, pfn, count);
	}
	lock_release(&zone->lock);
	return pfn;
}

/* A run that another thread takes a part of is in no list for a moment: where nothing seems to be, although frames
 * are free, the zones are asked under their locks. */
uint32_t frame_allocate(struct frame_table *table, uint32_t count)
{
	unsigned least = log2_ceiling(count), own = own_zone(table);
	uint32_t pfn = FRAME_NONE;
	for (unsigned i = 0; i < table->zones && pfn == FRAME_NONE && least <= table->zone_shift; i++)
		if (zone_has(zone_after(table, own, i), least))
			pfn = take_from_zone(table, zone_after(table, own, i), count);
	for (unsigned i = 0; i < table->zones && pfn == FRAME_NONE && count == 1 && atomic_load(&table->free) > 0; i++)
		pfn = take_from_zone(table, zone_after(table, own, i), 1);
	if (pfn != FRAME_NONE || count == 1 || count > atomic_load(&table->free))
		return pfn;
	frame_table_lock(table);
	struct stretch stretch = longest_stretch(table);
	if (stretch.count >= count) {
		pfn = (uint32_t)stretch.first;
		take_stretch(table, pfn, count, table->frames);
	}
	frame_table_unlock(table);
	return pfn;
}

uint32_t frame_allocate_from(struct frame_table *table, uint64_t pfn, uint32_t count)
{
	uint32_t taken = 0;
	while (taken < count && pfn + taken < table->frames) {
		struct frame_zone *zone = zone_of(table, pfn + taken);
		lock_acquire(&zone->lock);
		taken += take_stretch(table, pfn + taken, count - taken, zone->end);
		lock_release(&zone->lock);
		if (pfn + taken < zone->end)
			break;
	}
	return taken;
}

bool frame_allocate_at(struct frame_table *table, uint64_t pfn)
{
	return frame_allocate_from(table, pfn, 1) == 1;
}

/* The order of the longest runs of a zone, as it seems, but no more than @most; -1: it has none. */
static int longest_order(const struct frame_zone *zone, unsigned most)
{
	if (zone_has(zone, most))
		return (int)most;
	uint32_t orders = atomic_load_explicit(&zone->orders, memory_order_relaxed);
	return orders != 0 ? (int)smaller(log2_floor(orders), most) : -1;
}

/* The zone that has them, the thread's own before others. NULL: there is nothing free. */
static struct frame_zone *zone_with_longest(struct frame_table *table, unsigned most)
{
	struct frame_zone *best = NULL;
	unsigned own = own_zone(table);
	int longest = -1;
	for (unsigned i = 0; i < table->zones && longest < (int)most; i++) {
		struct frame_zone *zone = zone_after(table, own, i);
		int order = longest_order(zone, most);
		if (order > longest) {
			longest = order;
			best = zone;
		}
	}
	return best;
}

static uint32_t take_placed(struct frame_table *table, struct frame_zone *zone, uint64_t page, unsigned place)
{
	uint32_t pfn = FRAME_NONE;
	lock_acquire(&zone->lock);
	unsigned order = find_order(table, zone, place);
	if (order == FRAME_ORDERS && zone->orders != 0) /* no run is that long: the longest that there is */
		order = log2_floor(zone->orders);
	if (order < FRAME_ORDERS) {
		uint32_t head = zone->list[order];
		unsigned span = order < place ? order : place;
		pfn = head + (uint32_t)(page & ((UINT64_C(1) << span) - 1));
		take_from_run(table, head, order, pfn, 1);
	}
	lock_release(&zone->lock);
	return pfn;
}

uint32_t frame_allocate_placed(struct frame_table *table, uint64_t page, unsigned place)
{
	uint32_t pfn = FRAME_NONE;
	struct frame_zone *zone;
	/* What was seen there may be gone; and what is there, not seen: as in frame_allocate(). */
	while (pfn == FRAME_NONE && (zone = zone_with_longest(table, place)) != NULL)
		pfn = take_placed(table, zone, page, place);
	unsigned own = own_zone(table);
	for (unsigned i = 0; i < table->zones && pfn == FRAME_NONE && atomic_load(&table->free) > 0; i++)
		pfn = take_placed(table, zone_after(table, own, i), page, place);
	return pfn;
}

/* Of the zones whose locks are held. */
static void give_back(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		table->frame[pfn + i].state = FRAME_FREE_BODY;
	range_free(table, pfn, count);
	atomic_fetch_add(&table->free, count);
}

void frame_free(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	frame_leave_home(table, pfn, count);
	for (uint32_t i = 0; i < count; i++)
		INVARIANT(table->frame[pfn + i].pins == 0);
	while (count > 0) {
		struct frame_zone *zone = zone_of(table, pfn);
		uint32_t part = (uint32_t)smaller(count, zone->end - pfn);
		lock_acquire(&zone->lock);
		give_back(table, pfn, part);
		lock_release(&zone->lock);
		pfn += part;
		count -= part;
	}
}

/* Of [start, end), in free runs of a zone, the first frame that is stained; @end: none. The zone's lock is
 * held. */
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

/* Free frames of a zone beside each other that are stained. The zone's lock is held. Return: how many, from
 * *@first on; the hand stands behind what was looked at. */
static uint32_t take_stained(struct frame_table *table, const struct frame_zone *zone, uint64_t *hand,
                             uint32_t most, uint32_t *first)
{
	uint64_t fresh = zone->fresh, start = smaller(*hand, fresh);
	uint64_t end = smaller(start + FRAME_ZERO_LOOK, fresh);
	uint64_t pfn = find_stained(table, start, end);
	uint32_t count = 0;
	while (count < most && pfn + count < end && table->frame[pfn + count].stained)
		count++;
	*first = (uint32_t)pfn;
	if (count > 0)
		count = take_at(table, pfn, count);
	*hand = count > 0 ? pfn + count : end < fresh ? end : zone->end;
	return count;
}

uint32_t frame_take_stained(struct frame_table *table, uint64_t *hand, uint32_t most, uint32_t *first)
{
	if (*hand >= frame_table_end(table))
		*hand = 0;
	struct frame_zone *zone = zone_of(table, *hand);
	lock_acquire(&zone->lock);
	uint32_t count = take_stained(table, zone, hand, most, first);
	lock_release(&zone->lock);
	return count;
}

/* ---- Runs of spaces -------------------------------------------------------------------- */

/* The first stretch of at least @count frames, or the longest. All the locks are held. */
static struct stretch find_stretch(struct frame_table *table, uint64_t count, bool longest)
{
	struct stretch best = { 0, 0 }, now = { 0, 0 };
	for (uint64_t pfn = 0; pfn < table->frames;) {
		uint64_t piece = piece_at(table, pfn);
		if (piece > 0 && now.count == 0)
			now.first = pfn;
		now.count = piece > 0 ? now.count + piece : 0;
		best = longer_of(best, now);
		if (best.count >= count && !longest)
			break;
		pfn += piece > 0 ? piece : 1;
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
		for (end = i + 1; end < count && table->frame[pfn + end].stained == stained;)
			end++;
		frame_stain(table, pfn + i, end - i);
		if (stained)
			result = host_punch(table->memory, frame_offset(table, pfn + i),
			                    (size_t)(end - i) << table->page_shift);
	}
	return result;
}

/* All of [pfn, pfn + count), or none. All the locks are held. */
static bool take_run_at(struct frame_table *table, uint64_t pfn, uint32_t count)
{
	if (count == 0 || pfn + count > table->frames)
		return false;
	uint32_t taken = take_stretch(table, pfn, count, table->frames);
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
	frame_table_lock(table);
	struct stretch stretch = find_stretch(table, count, middle);
	uint64_t pfn = stretch.first + (middle && stretch.count > count ? (stretch.count - count) / 2 : 0);
	bool taken = stretch.count >= count && take_run_at(table, pfn, count);
	frame_table_unlock(table);
	if (taken && clear_run(table, (uint32_t)pfn, count) < 0) {
		frame_free_run(table, (uint32_t)pfn, count);
		taken = false;
	}
	return taken ? (uint32_t)pfn : FRAME_NONE;
}

bool frame_allocate_run_at(struct frame_table *table, uint64_t pfn, uint32_t count)
{
	frame_table_lock(table);
	bool taken = take_run_at(table, pfn, count);
	frame_table_unlock(table);
	if (taken && clear_run(table, (uint32_t)pfn, count) < 0) {
		frame_free_run(table, (uint32_t)pfn, count);
		taken = false;
	}
	return taken;
}

void frame_free_run(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	bool zeros = host_punch(table->memory, frame_offset(table, pfn), (size_t)count << table->page_shift) == 0;
	frame_table_lock(table);
	for (uint32_t i = 0; i < count && zeros; i++)
		table->frame[pfn + i].stained = table->frame[pfn + i].made = false;
	give_back(table, pfn, count);
	atomic_fetch_sub(&table->in_runs, count);
	frame_table_unlock(table);
}

/* ---- Looking ---------------------------------------------------------------------------- */

uint64_t frame_table_end(const struct frame_table *table)
{
	unsigned zone = table->zones - 1;
	while (zone > 0 && atomic_load(&table->zone[zone].fresh) == table->zone[zone].start)
		zone--;
	return atomic_load(&table->zone[zone].fresh);
}

uint64_t frame_next(const struct frame_table *table, uint64_t pfn)
{
	const struct frame_zone *zone = &table->zone[pfn >> table->zone_shift];
	const struct frame *frame = &table->frame[pfn];
	if (pfn >= atomic_load(&zone->fresh))
		return zone->end;
	return pfn + (frame->state == FRAME_FREE_HEAD ? UINT64_C(1) << frame->order : 1);
}

uint32_t frame_free_below(struct frame_table *table, uint32_t pfn)
{
	frame_table_lock(table);
	uint32_t first = pfn;
	while (first > 0 && table->frame[first - 1].state <= FRAME_FREE_HEAD)
		first--;
	frame_table_unlock(table);
	return pfn - first;
}

uint64_t frame_largest_run(struct frame_table *table)
{
	frame_table_lock(table);
	uint64_t largest = longest_stretch(table).count;
	frame_table_unlock(table);
	return largest;
}

/* Return: the free frames of a zone; or so many that it is seen that something is wrong. */
static uint64_t count_free(const struct frame_table *table, const struct frame_zone *zone)
{
	uint64_t free = zone->end - zone->fresh;
	for (unsigned order = 0; order < FRAME_ORDERS; order++) {
		bool any = zone->list[order] != FRAME_NONE;
		if (any != (zone->orders >> order & 1) || (any && order > table->zone_shift))
			return UINT64_MAX / 2 / FRAME_ZONES;
		for (uint32_t p = zone->list[order]; p != FRAME_NONE; p = table->frame[p].next) {
			if (p < zone->start || p >= zone->fresh || !is_free_run(table, p, order) ||
			    (order < table->zone_shift && is_free_run(table, p ^ (UINT64_C(1) << order), order)))
				return UINT64_MAX / 2 / FRAME_ZONES;
			free += UINT64_C(1) << order;
		}
	}
	return free;
}

bool frame_table_is_valid(struct frame_table *table)
{
	uint64_t free = 0, used = 0, unmade = 0;
	frame_table_lock(table);
	for (unsigned i = 0; i < table->zones; i++)
		free += count_free(table, &table->zone[i]);
	for (uint64_t p = 0; p < table->frames; p++) {
		const struct frame *frame = &table->frame[p];
		used += frame->state == FRAME_USED || frame->state == FRAME_RUN;
		unmade += frame->stained && !frame->made;
	}
	bool valid = free == table->free && free + used == table->frames && unmade == 0;
	frame_table_unlock(table);
	return valid;
}
