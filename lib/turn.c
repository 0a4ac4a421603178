/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "turn.h"

#include <stddef.h>

#include "host.h"

static void forget_pages(struct turn *turn)
{
	for (unsigned i = 0; i < TURN_PAGES; i++)
		atomic_store(&turn->page[i], 0);
}

/* Notes a fault. Return: whether it is one of the thread's last. */
static bool note(struct turn_thread *thread, uintptr_t instruction, uintptr_t page)
{
	unsigned known = thread->count < TURN_PAGES ? thread->count : TURN_PAGES;
	for (unsigned i = 0; i < known; i++)
		if (thread->last[i].instruction == instruction && thread->last[i].page == page)
			return true;
	unsigned place = thread->count++ % TURN_PAGES;
	thread->last[place].instruction = instruction;
	thread->last[place].page = page;
	return false;
}

/* Takes the turn, if nobody has it or makes use of it. */
static bool take(struct turn *turn, struct turn_thread *thread, uintptr_t instruction)
{
	struct turn_thread *holder = atomic_load(&turn->holder);
	if (holder != NULL && host_nanoseconds() < atomic_load(&turn->ends))
		return false;
	if (!atomic_compare_exchange_strong(&turn->holder, &holder, thread))
		return false;
	atomic_store(&turn->ends, UINT64_MAX);
	forget_pages(turn);
	thread->pages = thread->elsewhere = 0;
	thread->instruction = instruction;
	return true;
}

void turn_forget(struct turn *turn)
{
	forget_pages(turn);
	atomic_store(&turn->holder, NULL);
}

static void give_up(struct turn *turn, struct turn_thread *thread)
{
	thread->count = 0;
	turn_forget(turn);
}

/* The holder's next page. */
static void keep(struct turn *turn, struct turn_thread *thread, uintptr_t page)
{
	for (unsigned i = 0; i < thread->pages; i++)
		if (atomic_load(&turn->page[i]) == page)
			return;
	if (thread->pages == TURN_PAGES)
		give_up(turn, thread);
	else
		atomic_store(&turn->page[thread->pages++], page);
}

void turn_begin(struct turn *turn, struct turn_thread *thread, uintptr_t instruction,
                uintptr_t page)
{
	bool again = note(thread, instruction, page);
	if (atomic_load(&turn->holder) != thread) {
		if (!again || !take(turn, thread, instruction))
			return;
	}
	if (instruction != thread->instruction) {
		/* Its own pages must not keep it from a frame for this one: the turn may end meanwhile. */
		if (++thread->elsewhere == TURN_ELSEWHERE)
			give_up(turn, thread);
		return;
	}
	atomic_store(&turn->ends, UINT64_MAX);
	keep(turn, thread, page);
}

void turn_end(struct turn *turn, struct turn_thread *thread)
{
	uint64_t under_way = UINT64_MAX; /* not where its fault was one elsewhere */
	if (atomic_load(&turn->holder) == thread)
		atomic_compare_exchange_strong(&turn->ends, &under_way, host_nanoseconds() + TURN_IDLE);
}

bool turn_keeps(struct turn *turn, uintptr_t page)
{
	if (atomic_load(&turn->holder) == NULL)
		return false;
	for (unsigned i = 0; i < TURN_PAGES; i++)
		if (atomic_load(&turn->page[i]) == page)
			return host_nanoseconds() < atomic_load(&turn->ends);
	return false;
}
