/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame_content.c - what is in frames: zeros, what is read and written, copies for forks
 *
 * A frame's content lies at its place in the memory file, or, at home, at its page's address in the
 * sparse one. Locks: the caller has the frame, by its page's PTE or since nobody else knows of it.
 */
#include "frame.h"

#include "host.h"

int frame_move_run(struct frame_table *table, uint32_t from, uint32_t to, uint32_t count)
{
	return host_memory_move(table->memory, frame_offset(table, from), frame_offset(table, to),
	                 (size_t)count << table->page_shift);
}

/* ---- At home --------------------------------------------------------------------------- */

/* All addresses that a process can have: the file has a place for each. */
#define HOME_BYTES (UINT64_C(1) << 47)

int frame_open_home(struct frame_table *table)
{
	int result = 0;
	lock_acquire(&table->zone[0].lock);
	if (atomic_load(&table->home) < 0) {
		int home = host_process_borrows() ? -EMFILE : host_memory_create(HOME_BYTES);
		result = home < 0 ? home : host_keep(&table->home, home);
	}
	lock_release(&table->zone[0].lock);
	return result;
}

void frame_go_home(struct frame_table *table, uint32_t pfn, uint32_t count, uintptr_t address)
{
	for (uint32_t i = 0; i < count; i++) {
		struct frame *frame = &table->frame[pfn + i];
		frame->page = address + ((uintptr_t)i << table->page_shift);
		frame->at_home = true;
		if (frame->made && host_punch(table->memory, frame_offset(table, pfn + i), frame_size(table)) == 0)
			frame->stained = frame->made = false; /* or it would have memory twice */
	}
}

void frame_clear_home(struct frame_table *table, uintptr_t address, size_t length)
{
	if (host_punch(table->home, (off_t)address, length) < 0)
		atomic_store(&table->home_stained, true);
}

void frame_leave_home(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	struct frame *frame = &table->frame[pfn];
	for (uint32_t i = 0, end; i < count; i = end) {
		end = i + 1;
		if (!frame[i].at_home)
			continue;
		uintptr_t page = frame[i].page;
		frame[i].at_home = false;
		for (; end < count && frame[end].at_home &&
		       frame[end].page == page + ((uintptr_t)(end - i) << table->page_shift); end++)
			frame[end].at_home = false;
		frame_clear_home(table, page, (size_t)(end - i) << table->page_shift);
	}
}

/* Where the content of a frame is. */
static int content_file(const struct frame_table *table, uint32_t pfn)
{
	return table->frame[pfn].at_home ? table->home : table->memory;
}

static off_t content_offset(const struct frame_table *table, uint32_t pfn)
{
	const struct frame *frame = &table->frame[pfn];
	return frame->at_home ? (off_t)frame->page : frame_offset(table, pfn);
}

/* ---- Reading and writing --------------------------------------------------------------- */

static int zero_home(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	if (!atomic_load(&table->home_stained))
		return 0;
	return host_zero(table->home, (off_t)table->frame[pfn].page, (size_t)count << table->page_shift);
}

void frame_stain(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	for (uint32_t i = 0; i < count && !table->frame[pfn].at_home; i++)
		table->frame[pfn + i].stained = table->frame[pfn + i].made = true;
}

/* Of a run the host makes its pages for a fifth less by writing zeros than when they are shown. Of one page
 * that would be another call. */
static bool needs_zeros(const struct frame *frame, bool run)
{
	return frame->stained || (run && !frame->made);
}

int frame_zero_run(struct frame_table *table, uint32_t pfn, uint32_t count)
{
	if (table->frame[pfn].at_home)
		return zero_home(table, pfn, count);
	int result = 0;
	for (uint32_t i = 0, end; i < count && result == 0; i = end) {
		bool needs = needs_zeros(&table->frame[pfn + i], count > 1);
		for (end = i + 1; end < count && needs_zeros(&table->frame[pfn + end], true) == needs;)
			end++;
		frame_stain(table, pfn + i, end - i); /* or it is zero, and handed out */
		if (needs)
			result = host_zero(table->memory, frame_offset(table, pfn + i),
			                   (size_t)(end - i) << table->page_shift);
	}
	return result;
}

int frame_zero(struct frame_table *table, uint32_t pfn)
{
	return frame_zero_run(table, pfn, 1);
}

int frame_zero_ahead(struct frame_table *table, uint64_t *hand, uint32_t most)
{
	uint32_t first, count = frame_take_stained(table, hand, most, &first);
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
	return host_read(content_file(table, pfn), buffer, (size_t)count << table->page_shift,
	                 content_offset(table, pfn));
}

bool frame_is_zero_run(const struct frame_table *table, uint32_t pfn, uint32_t count)
{
	bool zero = true;
	for (uint32_t i = 0; i < count && zero; i++)
		zero = !table->frame[pfn + i].stained;
	return zero;
}

int frame_borrow(struct frame_table *table, uint32_t pfn, uint32_t count, void **at)
{
	frame_stain(table, pfn, count);
	return host_borrow(table->memory, frame_offset(table, pfn), (size_t)count << table->page_shift, at);
}

int frame_write_run(struct frame_table *table, uint32_t pfn, uint32_t count, const void *buffer)
{
	frame_stain(table, pfn, count);
	return host_write(content_file(table, pfn), buffer, (size_t)count << table->page_shift,
	                  content_offset(table, pfn));
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
	uint64_t end = frame_table_end(table);
	for (uint64_t pfn = 0; pfn < end && result == 0;) {
		if (!has_content(&table->frame[pfn])) {
			pfn = frame_next(table, pfn);
			continue;
		}
		uint64_t first = pfn++;
		while (pfn < end && has_content(&table->frame[pfn]))
			pfn++;
		result = host_copy(table->memory, to, frame_offset(table, first),
		                   (size_t)(pfn - first) << table->page_shift);
	}
	return result;
}

/* A file for a copy. */
static int make_copy(_Atomic int *copy, uint64_t bytes)
{
	int memory = host_memory_create(bytes);
	return memory < 0 ? memory : host_keep(copy, memory);
}

int frame_copy_begin(struct frame_table *table)
{
	int result = make_copy(&table->copy, table->frames << table->page_shift);
	if (result == 0)
		result = copy_used(table, table->copy);
	if (result == 0 && table->home >= 0)
		result = make_copy(&table->home_copy, HOME_BYTES);
	if (result == 0 && table->home >= 0) /* what is no hole in it is in use */
		result = host_copy(table->home, table->home_copy, 0, HOME_BYTES);
	if (result < 0)
		frame_copy_end(table, false);
	return result;
}

void frame_copy_end(struct frame_table *table, bool shared)
{
	_Atomic int *const copies[2] = { &table->copy, &table->home_copy };
	for (int i = 0; i < 2; i++) {
		if (shared)
			host_abandon(copies[i]);
		else
			host_drop(copies[i]);
	}
}

void frame_copy_adopt(struct frame_table *table, bool shared)
{
	host_exchange(&table->memory, &table->copy);
	host_exchange(&table->home, &table->home_copy);
	frame_copy_end(table, shared);
	table->free_least = table->free;
}
