/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run.h"

#include "host.h"

/* Of those that share frames, one counts them. */
static bool counts(const struct run *run)
{
	for (const struct run *other = run->sharer; other != NULL && other != run; other = other->sharer)
		if (other < run)
			return false;
	return true;
}

uint64_t runs_frames(const struct runs *runs)
{
	uint64_t frames = 0;
	for (unsigned i = 0; i < runs->count; i++)
		frames += counts(&runs->run[i]) ? run_frames(runs, &runs->run[i]) : 0;
	return frames;
}

struct run *run_of(struct runs *runs, uintptr_t address)
{
	for (unsigned i = 0; i < runs->count; i++)
		if (address >= runs->run[i].low && address < runs->run[i].high)
			return &runs->run[i];
	return NULL;
}

static uint32_t frame_at(const struct runs *runs, const struct run *run, uintptr_t address)
{
	return (uint32_t)(run->frame + runs_pages(runs, run->start, address));
}

bool run_is_pinned(const struct runs *runs, const struct run *run, uintptr_t start, uintptr_t end)
{
	const struct frame *frame = runs->pool->frames.frame;
	if (atomic_load(&runs->pool->pinned) == 0 || runs->out || start >= end)
		return false;
	for (uint32_t pfn = frame_at(runs, run, start); start < end; start += page_size(runs->pool), pfn++)
		if (frame[pfn].pins > 0)
			return true;
	return false;
}

/* ---- Registers ----------------------------------------------------------------------------- */

void runs_publish(struct runs *runs)
{
	unsigned shift = runs->pool->frames.page_shift;
	for (unsigned i = 0; i < runs->count; i++) {
		const struct run *run = &runs->run[i];
		uint64_t bytes = runs->out ? 0 : run->end - run->start, first = run->frame << shift;
		runs->segment[i] = (struct segment){ .base = first + (run->grows_down ? bytes : 0),
			                             .bounds = bytes,
			                             .prot = effective_prot(run->prot),
			                             .present = bytes > 0,
			                             .grows_down = run->grows_down };
	}
	if (runs->count == 1)
		base_bounds_init(&runs->registers, runs->segment[0].base, runs->segment[0].bounds);
}

/* ---- What the host shows --------------------------------------------------------------------- */

#define SEAMS 2 /* of a run, with what is beside it */

unsigned runs_seams(const struct runs *runs)
{
	unsigned seams = 0;
	for (unsigned i = 0; i < runs->count; i++)
		seams += run_frames(runs, &runs->run[i]) > 0 ? SEAMS : 0;
	return seams;
}

void runs_count_seams(struct runs *runs, unsigned before)
{
	physical_count_mappings(runs->pool, (int)runs_seams(runs) - (int)before);
}

int run_show(const struct runs *runs, const struct run *run, uintptr_t start, uintptr_t end)
{
	const struct frame_table *frames = &runs->pool->frames;
	start = start > runs->lowest ? start : runs->lowest;
	if (runs->out || start >= end || run->prot == PROT_NONE)
		return 0;
	uintptr_t displacement = window_enter(runs->place);
	int result = host_show_lazily(frames->memory, start + displacement,
	                              frame_offset(frames, frame_at(runs, run, start)), end - start,
	                              effective_prot(run->prot));
	window_exit(runs->place);
	return result;
}

int run_hide(const struct runs *runs, uintptr_t start, uintptr_t end)
{
	start = start > runs->lowest ? start : runs->lowest;
	uintptr_t displacement = window_enter(runs->place);
	int result = start < end ? host_hide(start + displacement, end - start) : 0;
	window_exit(runs->place);
	return result;
}

int runs_hide(struct runs *runs)
{
	int result = 0;
	for (unsigned i = 0; i < runs->count && result == 0; i++)
		result = run_hide(runs, runs->run[i].start, runs->run[i].end);
	return result;
}

int runs_show(struct runs *runs)
{
	int result = 0;
	for (unsigned i = 0; i < runs->count && result == 0; i++)
		result = run_show(runs, &runs->run[i], runs->run[i].start, runs->run[i].end);
	return result;
}

int run_protect(struct runs *runs, struct run *run, int prot)
{
	int before = run->prot;
	if (prot == before)
		return 0;
	run->prot = prot;
	int result = prot == PROT_NONE ? run_hide(runs, run->start, run->end)
	                               : run_show(runs, run, run->start, run->end);
	if (result < 0)
		run->prot = before;
	runs_publish(runs);
	return result;
}

/* ---- Sharing --------------------------------------------------------------------------------- */

int run_share(struct run *run, struct run *with)
{
	struct runs *runs = run->of;
	unsigned seams = runs_seams(runs);
	if (run->start < run->end)
		return UPAGE_EBUSY;
	if (run_frames(with->of, with) == 0)
		return UPAGE_ENOTMAPPED;
	if (with->prot & PROT_WRITE)
		return UPAGE_EACCES;
	const struct run before = *run;
	run->grows_down = with->grows_down;
	run->start = run->low + (with->start - with->low);
	run->end = run->low + (with->end - with->low);
	run->frame = with->frame;
	run->prot = with->prot;
	int result = run_show(runs, run, run->start, run->end);
	if (result < 0) {
		*run = before;
		return result;
	}
	lock_acquire(&runs->pool->runs_lock);
	run->sharer = with->sharer != NULL ? with->sharer : with;
	with->sharer = run;
	lock_release(&runs->pool->runs_lock);
	runs_publish(runs);
	runs_count_seams(runs, seams);
	return 0;
}

/* Return: whether others have the frames still. */
static bool run_unshare(struct run *run)
{
	struct upage_pool *pool = run->of->pool;
	lock_acquire(&pool->runs_lock);
	bool shared = run->sharer != NULL;
	if (shared) {
		struct run *before = run->sharer;
		while (before->sharer != run)
			before = before->sharer;
		before->sharer = run->sharer != before ? run->sharer : NULL;
		run->sharer = NULL;
	}
	lock_release(&pool->runs_lock);
	return shared;
}

/* ---- Size ------------------------------------------------------------------------------------ */

/* All that may fail comes before anything is given up. */
static int grow(struct runs *runs, struct run *run, uintptr_t start, uintptr_t end)
{
	if (run->sharer != NULL)
		return UPAGE_EBUSY;
	uint32_t more = (uint32_t)(runs_pages(runs, start, end) - run_frames(runs, run));
	int result = runs->out ? 0 : run_extend(runs, run, more);
	if (result < 0)
		return result;
	uintptr_t old_start = run->start, old_end = run->end;
	run->start = start;
	run->end = end;
	result = run->grows_down ? run_show(runs, run, start, old_start) : run_show(runs, run, old_end, end);
	if (result < 0) {
		uint64_t pfn = run->grows_down ? run->frame : run->frame + runs_pages(runs, old_start, old_end);
		run->start = old_start;
		run->end = old_end;
		run->frame += run->grows_down ? more : 0;
		frame_free_run(&runs->pool->frames, (uint32_t)pfn, more);
	}
	return result;
}

static int shrink(struct runs *runs, struct run *run, uintptr_t start, uintptr_t end)
{
	uint32_t less = (uint32_t)(run_frames(runs, run) - runs_pages(runs, start, end));
	uint64_t pfn = run->grows_down ? run->frame : run->frame + runs_pages(runs, start, end);
	if (run->sharer != NULL && start < end)
		return UPAGE_EBUSY;
	int result = run->grows_down ? run_hide(runs, run->start, start) : run_hide(runs, end, run->end);
	if (result < 0)
		return result;
	bool shared = run_unshare(run);
	run->frame += run->grows_down ? less : 0;
	run->start = start;
	run->end = end;
	if (!shared)
		frame_free_run(&runs->pool->frames, (uint32_t)pfn, less);
	return 0;
}

int run_resize(struct runs *runs, struct run *run, uintptr_t start, uintptr_t end)
{
	unsigned seams = runs_seams(runs);
	if (start == run->start && end == run->end)
		return 0;
	if (start < run->low || end > run->high)
		return UPAGE_ENOMEM;
	int result = end - start > run->end - run->start ? grow(runs, run, start, end)
	                                                 : shrink(runs, run, start, end);
	runs_publish(runs);
	runs_count_seams(runs, seams);
	return result;
}

/* ---- Content --------------------------------------------------------------------------------- */

int run_zero(struct runs *runs, uintptr_t start, uintptr_t end)
{
	const struct frame_table *frames = &runs->pool->frames;
	const struct run *run = run_of(runs, start);
	return host_punch(frames->memory, frame_offset(frames, frame_at(runs, run, start)), end - start);
}

int run_read(struct runs *runs, uintptr_t page, void *buffer)
{
	return frame_read(&runs->pool->frames, frame_at(runs, run_of(runs, page), page), buffer);
}

int run_write(struct runs *runs, uintptr_t page, const void *buffer)
{
	return frame_write(&runs->pool->frames, frame_at(runs, run_of(runs, page), page), buffer);
}

/* ---- Making and ending ------------------------------------------------------------------ */

void runs_free_frames(struct runs *runs)
{
	for (unsigned i = 0; i < runs->count; i++)
		if (run_frames(runs, &runs->run[i]) > 0 && !run_unshare(&runs->run[i]))
			frame_free_run(&runs->pool->frames, (uint32_t)runs->run[i].frame,
			               run_frames(runs, &runs->run[i]));
}

static void set_part(struct runs *runs, struct run *run, uintptr_t low, uintptr_t high, bool grows_down)
{
	uintptr_t at = grows_down ? high : low;
	*run = (struct run){
		.low = low, .high = high, .start = at, .end = at, .grows_down = grows_down, .of = runs
	};
}

void run_turn(struct run *run, bool grows_down)
{
	if (run->start == run->end)
		set_part(run->of, run, run->low, run->high, grows_down);
}

bool runs_can_be_segments(size_t length, size_t page_size)
{
	return is_power_of_two(length) && length >> SEGMENT_BITS >= page_size;
}

int runs_init(struct runs *runs, upage_pool *pool, bool segments, uintptr_t origin, size_t length,
              uintptr_t lowest, size_t bounds)
{
	uint64_t part = length >> SEGMENT_BITS;
	int result = 0;
	if (segments && !runs_can_be_segments(length, frame_size(&pool->frames)))
		return UPAGE_EINVAL;
	runs->count = segments ? SEGMENTS : 1;
	runs->origin = origin;
	runs->lowest = lowest;
	runs->pool = pool;
	runs->out = false;
	for (unsigned i = 0; i < SEGMENTS && segments; i++) {
		runs->segment[i] = (struct segment){ 0 };
		set_part(runs, &runs->run[i], origin + i * part, origin + (i + 1) * part,
		         i == SEGMENT_STACK);
	}
	if (segments)
		result = segment_table_init(&runs->segments, runs->segment, SEGMENT_BITS, log2_floor(part));
	else
		set_part(runs, &runs->run[0], origin, origin + length, false);
	if (!segments)
		runs->run[0].prot = PROT_READ | PROT_WRITE | PROT_EXEC;
	runs_publish(runs);
	if (result == 0 && bounds > 0) {
		runs->run[0].high = origin + bounds;
		runs->run[0].fixed = true;
		result = run_resize(runs, &runs->run[0], origin, origin + bounds);
	}
	if (result < 0) {
		runs->count = 0;
		return result;
	}
	lock_acquire(&pool->runs_lock);
	runs->next = pool->runs;
	pool->runs = runs;
	lock_release(&pool->runs_lock);
	return 0;
}

void runs_end(struct runs *runs)
{
	struct upage_pool *pool = runs->pool;
	unsigned seams = runs_seams(runs);
	if (runs->count == 0)
		return;
	lock_acquire(&pool->runs_lock);
	for (struct runs **link = &pool->runs; *link != NULL; link = &(*link)->next) {
		if (*link == runs) {
			*link = runs->next;
			break;
		}
	}
	lock_release(&pool->runs_lock);
	if (runs->out)
		runs_forget_slots(runs);
	else
		runs_free_frames(runs);
	runs->out = true;
	runs_count_seams(runs, seams);
	runs->count = 0;
}
