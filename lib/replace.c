/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replace.h"

#include <stdio.h>
#include <string.h>

static const struct replace_ops *const policies[] = { &replace_clock, &replace_fifo,
	                                              &replace_random };
#define POLICIES (sizeof(policies) / sizeof(policies[0]))

const struct replace_ops *replace_by_name(const char *name)
{
	if (name[0] == '\0')
		return policies[0];
	for (size_t i = 0; i < POLICIES; i++)
		if (strcmp(policies[i]->name, name) == 0)
			return policies[i];
	return NULL;
}

void replace_names(char *text, size_t size)
{
	size_t length = 0;
	text[0] = '\0';
	for (size_t i = 0; i < POLICIES && length < size; i++)
		length += (size_t)snprintf(text + length, size - length, "%s%s", i ? ", " : "",
		                           policies[i]->name);
}

void replace_init(struct replace *replace, const struct replace_ops *ops, void *state,
                  uint64_t frames, uint64_t seed)
{
	*replace = (struct replace){ .ops = ops, .state = state };
	ops->init(state, frames, seed);
}

static void enter(struct replace *replace)
{
	if (!replace->ops->concurrent)
		lock_acquire(&replace->lock);
}

static void leave(struct replace *replace)
{
	if (!replace->ops->concurrent)
		lock_release(&replace->lock);
}

void replace_insert(struct replace *replace, upage_pfn pfn)
{
	enter(replace);
	replace->ops->insert(replace->state, pfn);
	leave(replace);
	atomic_fetch_add(&replace->held, 1);
}

void replace_doubt(struct replace *replace, upage_pfn pfn)
{
	if (replace->ops->doubt == NULL)
		return;
	enter(replace);
	replace->ops->doubt(replace->state, pfn);
	leave(replace);
}

void replace_touch(struct replace *replace, upage_pfn pfn)
{
	if (replace->ops->touch == NULL)
		return;
	enter(replace);
	replace->ops->touch(replace->state, pfn);
	leave(replace);
}

bool replace_idle(struct replace *replace, upage_pfn pfn)
{
	enter(replace);
	bool stays = replace->ops->idle(replace->state, pfn);
	leave(replace);
	return stays;
}

void replace_remove(struct replace *replace, upage_pfn pfn)
{
	atomic_fetch_sub(&replace->held, 1);
	enter(replace);
	replace->ops->remove(replace->state, pfn);
	leave(replace);
}

void replace_move(struct replace *replace, upage_pfn from, upage_pfn to)
{
	enter(replace);
	replace->ops->move(replace->state, from, to);
	leave(replace);
}

bool replace_follows(struct replace *replace, upage_pfn pfn)
{
	lock_acquire(&replace->lock);
	bool follows = replace->ops->follows(replace->state, pfn);
	lock_release(&replace->lock);
	return follows;
}

unsigned replace_ahead(struct replace *replace, upage_pfn *frames)
{
	enter(replace);
	unsigned count = replace->ops->ahead(replace->state, frames);
	leave(replace);
	return count;
}

void replace_note(struct replace *replace, upage_pfn pfn, enum look look)
{
	enter(replace);
	replace->ops->note(replace->state, pfn, look);
	leave(replace);
}

upage_pfn replace_candidate(struct replace *replace, struct aged *aged, enum look *look)
{
	*look = LOOK_NONE;
	lock_acquire(&replace->lock);
	upage_pfn pfn = replace->ops->candidate(replace->state, &replace->aged, look);
	aged->count = 0;
	if (pfn == REPLACE_NONE && replace->aged.count > 0) {
		*aged = replace->aged;
		replace->aged.count = 0;
	}
	lock_release(&replace->lock);
	return pfn;
}
