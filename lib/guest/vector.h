/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vector.h - memory that takes the place of the program's while the kernel works on it
 *
 * Three forms of it:
 * - an arena: scratch memory of one call, from few guest_buffers, which the next piece of a long
 *   transfer may use again;
 * - a vector: an array of struct iovec, of which a window (a run of bytes) at a time is mirrored.
 *   Each segment in paged memory has a place in the arena; a segment elsewhere stands for itself;
 * - a bounce: one object of known length.
 *
 * Where the program may not access a byte, the mirror has the program's own address from there
 * on: the kernel meets the fault where it would have met it, and does what it does there.
 *
 * Signal context: that of guest/call.h.
 */
#ifndef UPAGE_GUEST_VECTOR_H
#define UPAGE_GUEST_VECTOR_H

#include <sys/mman.h>
#include <sys/uio.h>

#include "call.h"

/* The most that the kernel moves in one call: INT_MAX without its part of a host page. */
#define VECTOR_BYTES_MAX ((size_t)0x7ffff000)
#define VECTOR_COUNT_MAX ((size_t)1024) /* UIO_MAXIOV */

/* A piece of a long transfer, which fits in GUEST_PIECE bytes wherever it begins in a page. */
#define VECTOR_PIECE (GUEST_PIECE - 4096)

/* No message is longer, and nothing else that must be had in one call is longer and sane. */
#define GUEST_WHOLE_MAX ((size_t)64 << 20)

/* ---- Arenas ------------------------------------------------------------------------------- */

struct guest_arena {
	struct guest_call *call;
	char *base; /* the newest chunk; all older ones stay as they are */
	size_t size, used;
};

static inline struct guest_arena arena_create(struct guest_call *call)
{
	return (struct guest_arena){ .call = call };
}

/* @like: 512 bytes and more get the same place in a host page as this address, so that transfers
 * past the page cache (O_DIRECT) are aligned exactly as far as the program's. NULL: no memory. */
void *arena_take(struct guest_arena *arena, size_t bytes, const void *like);

/* Gives back what was taken since the arena was @mark. */
static inline void arena_reset(struct guest_arena *arena, const struct guest_arena *mark)
{
	arena->used = arena->base == mark->base ? mark->used : 0;
}

/* ---- Vectors ------------------------------------------------------------------------------ */

struct guest_vector {
	struct guest_arena *arena;
	struct guest_arena mark;
	const struct iovec *all; /* the program's array, in our memory if it could be read */
	size_t count;
	size_t total;            /* bytes in all, VECTOR_BYTES_MAX at most */
	size_t paged;            /* of these in segments that touch paged memory */
	struct iovec *theirs;    /* the window, as the program has it, */
	struct iovec *ours;      /* and as the kernel gets it */
	size_t window;           /* segments in it */
};

/* The kernel's struct msghdr and mmsghdr: of C libraries' a part may be narrower, and padded. */
struct user_msghdr {
	void *msg_name;
	int msg_namelen;
	struct iovec *msg_iov;
	size_t msg_iovlen;
	void *msg_control;
	size_t msg_controllen;
	unsigned msg_flags;
};

struct user_mmsghdr {
	struct user_msghdr msg_hdr;
	unsigned msg_len;
};

/* Results of vector_take: 0 or a negated errno value, or */
#define VECTOR_BAD 1 /* not readable or not valid: the kernel shall see `all`, and refuse it */

int vector_take(struct guest_vector *vector, struct guest_arena *arena, const struct iovec *theirs,
                size_t count);

/* The same for one buffer, as of read(2). */
int vector_single(struct guest_vector *vector, struct guest_arena *arena, void *base,
                  size_t length);

/**
 * vector_window - mirror the bytes [@skip, @skip + @limit)
 * @prot: PROT_READ: the kernel will read them, so they are copied in; PROT_WRITE: it will write
 *        them; both: it will write some that cannot be told
 * Return: bytes in the window (inaccessible ones included), or -ENOMEM.
 */
long vector_window(struct guest_vector *vector, size_t skip, size_t limit, int prot);

/* Copies the first @bytes of the window out. Return: @bytes, less if some could not be copied. */
size_t vector_scatter(const struct guest_vector *vector, size_t bytes);

/* vector_scatter for the result of a system call. Return: it, or as much as reached the program. */
long vector_result(const struct guest_vector *vector, long result);

/* ---- Bounces ------------------------------------------------------------------------------ */

enum bounce_how { BOUNCE_IN = 1, BOUNCE_OUT = 2, BOUNCE_BOTH = 3 };

struct guest_bounce {
	char *theirs;
	char *ours;    /* what the kernel gets; equal to theirs: nothing to do */
	char *before;  /* BOUNCE_OUT: a copy of what was there */
	size_t length;
};

/* Objects longer than this are not copied whole; the kernel limits them all far below. */
#define BOUNCE_MAX ((size_t)16 << 20)

/* Return: 0 or -ENOMEM. */
int bounce_begin(struct guest_bounce *bounce, struct guest_call *call, const void *theirs,
                 size_t length, enum bounce_how how);

/* The same for an object that is only known to have at most @length bytes: it is cut where the
 * program's memory ends. */
int bounce_begin_bounded(struct guest_bounce *bounce, struct guest_call *call, const void *theirs,
                         size_t length, enum bounce_how how);

/* A string of at most @size bytes with its end. */
int bounce_begin_string(struct guest_bounce *bounce, struct guest_call *call, const void *theirs,
                        size_t size);

/* Copies out the bytes that changed. Return: @result, or -EFAULT. */
long bounce_end(const struct guest_bounce *bounce, long result);

/* ---- Descriptors --------------------------------------------------------------------------- */

/* How a descriptor's long transfers may be cut. */
enum descriptor_kind {
	DESCRIPTOR_WHOLE, /* not at all: what one call moves is a message */
	DESCRIPTOR_FILE,  /* anywhere: no call waits for another process */
	DESCRIPTOR_PIPE,  /* anywhere; what is there now ends a read */
	DESCRIPTOR_SOCKET /* the same, a stream socket */
};
enum descriptor_kind descriptor_kind(long descriptor);

#endif
