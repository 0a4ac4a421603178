/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replace.h - replacement policies: which frame loses its page
 *
 * A policy sees frame numbers and nothing else: it never allocates, never maps, never does
 * I/O. Its state is an array that its caller provides. It is told of pages placed (insert),
 * references observed (touch), frames taken away (remove) and pages that change their frame (move),
 * and asked for candidates.
 *
 * A candidate is an offer, not a removal: the pager may find it pinned or locked and ask
 * again, and says remove when it has really taken it. Asking moves on: if touch is said of those that
 * were offered and could not be taken, REPLACE_OFFERS questions a frame offer every frame.
 *
 * A reference is seen where it is looked for. A policy that cares (it has `touch`) names the frames
 * whose reference it has forgotten (`aged`), and the host is made to forget it too. When such a
 * frame is offered, and was referenced since, the pager says touch and asks for another; if it was
 * not, it asks whether that is enough (`idle`). To look at many at a time is cheaper: those that will be
 * offered soon (`ahead`) can be looked at before, and what was found is noted for then. Where the host
 * cannot tell, the page is hidden instead: its next reference traps, which says touch.
 *
 * Some pages come along with others though nothing says that they will be used: their frames are doubted, after the
 * insertion. A policy that looks has them looked at earlier than others: they leave first, or are like all others.
 *
 * Locking: whoever says something of a frame has its page locked. Of all frames the policy's lock (rank 3)
 * is taken, where a candidate is asked for, and by policies that are not `concurrent` everywhere. Signal context: yes, but replace_init.
 * Source: OSTEP ch. 22; Babaoglu and Joy, "Converting a Swap-Based System to do Paging in an
 * Architecture Lacking Page-Referenced Bits", SOSP 1981 (reference bits by faults: the host's
 * here, or ours).
 */
#ifndef UPAGE_REPLACE_H
#define UPAGE_REPLACE_H

#include "compiler.h"
#include "lock.h"
#include "shard.h"
#include "upage.h"

/* Frames whose reference the policy has forgotten. The host is told of many at a time: each time costs
 * it a flush of all that its processor knows of the page table. */
#define REPLACE_AGED_MAX 32 /* they lie on the stack of a page fault */
struct aged {
	unsigned count;
	upage_pfn frames[REPLACE_AGED_MAX];
};

/* Frames that are looked at before they are offered. */
#define REPLACE_AHEAD_MAX 15
enum look { LOOK_NONE, LOOK_IDLE, LOOK_IN_USE };

#define REPLACE_NONE UINT64_MAX
#define REPLACE_OFFERS 8

struct replace_ops {
	const char *name;
	bool concurrent; /* many threads may call all but `candidate` at once, each for its own frame; and
	                    one of them that */
	size_t (*state_size)(uint64_t frames); /* bytes; the state starts all zero */
	void (*init)(void *state, uint64_t frames, uint64_t seed);
	void (*insert)(void *state, upage_pfn pfn);
	void (*touch)(void *state, upage_pfn pfn);  /* NULL: the policy does not care, and has no ... */
	bool (*idle)(void *state, upage_pfn pfn);   /* ... whether it stays for now */
	bool (*follows)(void *state, upage_pfn pfn); /* NULL: it offers them one by one */
	void (*doubt)(void *state, upage_pfn pfn); /* NULL: it does not care */
	void (*remove)(void *state, upage_pfn pfn);
	void (*move)(void *state, upage_pfn from, upage_pfn to); /* what is known of one is of the other */
	unsigned (*ahead)(void *state, upage_pfn *frames);
	void (*note)(void *state, upage_pfn pfn, enum look look);
	/* Adds to aged. REPLACE_NONE: no frame, or it is time to revoke. */
	upage_pfn (*candidate)(void *state, struct aged *aged, enum look *look);
};

extern const struct replace_ops replace_clock, replace_fifo, replace_random;

/* The policy of that name ("" is the default), or NULL. */
const struct replace_ops *replace_by_name(const char *name);

/* Writes "clock, fifo, random": the names that there are. */
void replace_names(char *text, size_t size);

struct replace {
	const struct replace_ops *ops;
	void *state;
	_Alignas(CACHE_LINE) struct lock lock; /* guards the state, or the choice from it */
	struct aged aged;      /* whose references the host has not forgotten yet */
	_Alignas(CACHE_LINE) _Atomic uint64_t held; /* frames inserted and not removed */
};

void replace_init(struct replace *replace, const struct replace_ops *ops, void *state,
                  uint64_t frames, uint64_t seed);
void replace_insert(struct replace *replace, upage_pfn pfn);
/* A frame that was just inserted has a page that came along for no reason. */
void replace_doubt(struct replace *replace, upage_pfn pfn);
void replace_touch(struct replace *replace, upage_pfn pfn);
/* A look found that a frame, being offered, was not referenced. Return: whether it stays for now. */
bool replace_idle(struct replace *replace, upage_pfn pfn);
/* Whether a frame would be offered next, and go, since it is idle. Then it has been offered. */
bool replace_follows(struct replace *replace, upage_pfn pfn);
/* Up to REPLACE_AHEAD_MAX frames that would be offered soon. Return: how many. */
unsigned replace_ahead(struct replace *replace, upage_pfn *frames);
/* What a look at such a frame found is told when it is offered. */
void replace_note(struct replace *replace, upage_pfn pfn, enum look look);
void replace_remove(struct replace *replace, upage_pfn pfn);
/* The page of frame @from is in frame @to now, which was not inserted. */
void replace_move(struct replace *replace, upage_pfn from, upage_pfn to);
/* @aged: out: whose references the host is to forget now; there is no candidate then, ask again.
 * @look: out: what a look ahead found. */
upage_pfn replace_candidate(struct replace *replace, struct aged *aged, enum look *look);

#endif
