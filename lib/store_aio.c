/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "store_aio.h"

#include <errno.h>
#include <linux/aio_abi.h>

#include "host.h"
#include "rlimit.h"

#define RINGS 16 /* batches of requests that are under way at once */

/* ABSENT: not made yet. */
enum ring_state { RING_ABSENT, RING_FREE, RING_TAKEN };

struct aio_ring {
	_Atomic unsigned state;
	uint64_t process; /* that made it, by host_fork_word() */
	aio_context_t context;
	unsigned under_way;
	struct iocb calls[STORE_MANY];
	struct iocb *list[STORE_MANY];
	struct io_event events[STORE_MANY];
};

static struct aio_ring rings[RINGS];
static _Atomic bool refused; /* the host makes no more */

/* ---- Rings --------------------------------------------------------------------------------- */

/* How the memory of a ring begins, as Linux has it: its size can be told from that. */
struct ring_head {
	unsigned id, events, head, tail, magic, compatible, incompatible, length;
};
#define RING_MAGIC 0xa10a10a1u

static uint64_t process_word(void)
{
	const _Atomic uint64_t *word = host_fork_word();
	return word != NULL ? atomic_load(word) : 0;
}

static bool ring_make(struct aio_ring *ring)
{
	ring->context = 0;
	ring->process = process_word();
	if (ring->process == 0 || syscall_2(SYS_io_setup, STORE_MANY, &ring->context) < 0) {
		atomic_store(&refused, true);
		return false;
	}
	const struct ring_head *head = (const struct ring_head *)ring->context;
	if (head->magic == RING_MAGIC)
		host_keep_from_children((void *)ring->context,
		                        head->length + head->events * sizeof(struct io_event));
	return true;
}

static bool ring_take(struct aio_ring *ring, enum ring_state from)
{
	unsigned state = from;
	return atomic_load_explicit(&ring->state, memory_order_relaxed) == state &&
	       atomic_compare_exchange_strong(&ring->state, &state, RING_TAKEN);
}

/* One that is there before one that has to be made. NULL: none. A process that forked past us, by a system call of its
 * own, finds its parent's: whose numbers may be those of its own by now. */
static struct aio_ring *take_ring(void)
{
	for (unsigned i = 0; i < RINGS; i++) {
		if (!ring_take(&rings[i], RING_FREE))
			continue;
		if (rings[i].process == process_word())
			return &rings[i];
		atomic_store(&rings[i].state, RING_ABSENT);
	}
	for (unsigned i = 0; i < RINGS && !atomic_load(&refused); i++) {
		if (!ring_take(&rings[i], RING_ABSENT))
			continue;
		if (ring_make(&rings[i]))
			return &rings[i];
		atomic_store(&rings[i].state, RING_ABSENT);
	}
	return NULL;
}

bool store_aio_is_available(void)
{
	struct aio_ring *ring = take_ring();
	if (ring != NULL)
		atomic_store(&ring->state, RING_FREE);
	return ring != NULL || !atomic_load(&refused); /* or all are taken */
}

void store_aio_fork_child(void)
{
	for (unsigned i = 0; i < RINGS; i++)
		atomic_store(&rings[i].state, RING_ABSENT);
	atomic_store(&refused, false);
}

/* ---- Requests -------------------------------------------------------------------------------- */

/* A write past the program's limit of files would be refused, by a signal: it has to be made beside the
 * program (rlimit.h). */
static bool can_be_submitted(const struct store_request *request)
{
	return request->operation == STORE_READ ||
	       (request->operation == STORE_WRITE &&
	        !rlimit_file_is_in_the_way((uint64_t)request->offset + request->length));
}

static void submit(struct aio_ring *ring, int descriptor, struct store_request *requests, unsigned count)
{
	unsigned wanted = 0;
	for (unsigned i = 0; i < count; i++) {
		struct store_request *request = &requests[i];
		if (!can_be_submitted(request))
			continue;
		ring->calls[wanted] = (struct iocb){
			.aio_data = (uintptr_t)request,
			.aio_lio_opcode = request->operation == STORE_READ ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
			.aio_fildes = (uint32_t)descriptor,
			.aio_buf = (uintptr_t)request->buffer,
			.aio_nbytes = request->length,
			.aio_offset = request->offset
		};
		ring->list[wanted] = &ring->calls[wanted];
		wanted++;
	}
	while (ring->under_way < wanted) {
		long n = syscall_3(SYS_io_submit, ring->context, wanted - ring->under_way, ring->list + ring->under_way);
		if (n <= 0 && n != -EINTR)
			break;
		ring->under_way += n > 0 ? (unsigned)n : 0;
	}
}

/* Ends those that were done whole. Return: whether the ring is as good as before. */
static bool reap(struct aio_ring *ring)
{
	for (unsigned count = ring->under_way; count > 0;) {
		long n = syscall_6(SYS_io_getevents, (long)ring->context, count, count, (long)ring->events, 0, 0);
		if (n == -EINTR)
			continue;
		if (n < 0) { /* it waits for what is under way: the buffers are the caller's then */
			syscall_1(SYS_io_destroy, ring->context);
			return false;
		}
		for (long i = 0; i < n; i++) {
			struct store_request *request = (struct store_request *)(uintptr_t)ring->events[i].data;
			if (ring->events[i].res == (int64_t)request->length)
				store_done(request, 0);
		}
		count -= (unsigned)n;
	}
	return true;
}

struct aio_ring *store_aio_begin(int descriptor, struct store_request *requests, unsigned count)
{
	struct aio_ring *ring = take_ring();
	if (ring == NULL)
		return NULL;
	ring->under_way = 0;
	submit(ring, descriptor, requests, count);
	if (ring->under_way > 0)
		return ring;
	atomic_store(&ring->state, RING_FREE);
	return NULL;
}

/* In a child that its parent's library knows nothing of: the requests are the parent's, and are not to be made again. */
static void disown(struct aio_ring *ring)
{
	for (unsigned i = 0; i < ring->under_way; i++) {
		struct store_request *request = (struct store_request *)(uintptr_t)ring->list[i]->aio_data;
		store_done(request, request->operation == STORE_WRITE ? 0 : -EIO);
	}
}

unsigned store_aio_end(struct aio_ring *ring)
{
	unsigned under_way = ring->under_way;
	bool good = ring->process == process_word();
	if (good)
		good = reap(ring);
	else
		disown(ring);
	atomic_store(&ring->state, good ? RING_FREE : RING_ABSENT);
	return under_way;
}
