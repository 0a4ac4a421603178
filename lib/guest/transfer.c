/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transfer.c - bytes between descriptors, or processes, and the program's memory
 *
 * Everything bounces: no page is pinned, so that who sleeps in a call holds no frame. What the
 * program sends is copied in before the call; where it may store is checked before the call, so
 * that nothing is taken from a descriptor that would then be lost.
 *
 * Up to GUEST_PIECE bytes of paged memory are moved by one call of the kernel's. More is moved
 * piece by piece, where the descriptor allows that (enum descriptor_kind), until a piece comes
 * short. The second and later pieces of a read from a pipe or a stream take what is there: the
 * kernel would not have waited for more either. What differs: other threads' and processes'
 * transfers may come in between two pieces, and an SO_RCVLOWAT above a piece is not kept.
 *
 * Locks: none. Signal context: that of guest/call.h.
 * Source: fs/read_write.c, fs/pipe.c, mm/process_vm_access.c of Linux.
 */
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handlers.h"
#include "syscall.h"
#include "vector.h"

#define RWF_ATOMIC_WRITE 0x40 /* RWF_ATOMIC of Linux 6.11 */

struct transfer {
	struct guest_call *call;
	struct guest_arena arena;
	struct guest_vector vector;
	enum descriptor_kind kind;
	int prot;        /* what the kernel does with the program's memory */
	bool single;     /* one buffer: argument 1 is its address, else that of an array */
	bool positioned; /* argument 3 is an offset; -1 may mean the descriptor's own */
	int flags;       /* RWF_* */
};

/* The call for several buffers that does what @number does for one. */
static long vector_number(long number)
{
	switch (number) {
	case SYS_read:
		return SYS_readv;
	case SYS_write:
		return SYS_writev;
	case SYS_pread64:
		return SYS_preadv;
	case SYS_pwrite64:
		return SYS_pwritev;
	default:
		return number;
	}
}

/* The program's call with the window in place of its memory, @done bytes further on. */
static long transfer_window(const struct transfer *t, size_t done)
{
	const struct guest_vector *vector = &t->vector;
	const long *a = t->call->argument;
	long number = t->call->number, offset = a[3];
	if (t->positioned && (offset != -1 || t->single))
		offset += (long)done;
	/* What goes to a file goes on, as in the kernel, whatever signals come. */
	if (done > 0 && t->kind == DESCRIPTOR_FILE)
		return syscall_6(vector_number(number), a[0], (long)vector->ours, (long)vector->window,
		                 offset, t->single ? 0 : a[4], t->single ? 0 : a[5]);
	if (t->single && vector->window == 1)
		return guest_execute(t->call, number, a[0], (long)vector->ours[0].iov_base,
		                     (long)vector->ours[0].iov_len, offset, a[4], a[5]);
	return guest_execute(t->call, vector_number(number), a[0], (long)vector->ours,
	                     (long)vector->window, offset, t->single ? 0 : a[4], a[5]);
}

/* A further piece of a pipe: what is in it. Return: bytes, 0 or a failure: nothing is. */
static long transfer_available(struct transfer *t, size_t done)
{
	struct guest_vector *vector = &t->vector;
	long descriptor = t->call->argument[0];
	long result = guest_execute(t->call, SYS_preadv2, descriptor, (long)vector->ours,
	                            (long)vector->window, -1, -1, RWF_NOWAIT);
	if (result != -EOPNOTSUPP)
		return result;
	int available = 0;
	if (syscall_3(SYS_ioctl, descriptor, FIONREAD, &available) < 0 || available <= 0)
		return 0;
	size_t limit = (size_t)available < VECTOR_PIECE ? (size_t)available : VECTOR_PIECE;
	long bytes = vector_window(vector, done, limit, t->prot);
	return bytes <= 0 ? bytes : transfer_window(t, done);
}

/* A further piece of a stream socket. A writer that has sent something gets no SIGPIPE. */
static long transfer_socket(const struct transfer *t)
{
	const struct guest_vector *vector = &t->vector;
	struct user_msghdr message = { .msg_iov = vector->ours, .msg_iovlen = vector->window };
	bool sends = t->prot == PROT_READ;
	return guest_execute(t->call, sends ? SYS_sendmsg : SYS_recvmsg, t->call->argument[0],
	                     (long)&message, sends ? MSG_NOSIGNAL : MSG_DONTWAIT, 0, 0, 0);
}

static long transfer_next(struct transfer *t, size_t done)
{
	if (t->kind == DESCRIPTOR_SOCKET)
		return transfer_socket(t);
	if (t->kind == DESCRIPTOR_PIPE && t->prot == PROT_WRITE)
		return transfer_available(t, done);
	return transfer_window(t, done);
}

/* Whether a file has just been written up to RLIMIT_FSIZE. The kernel ends a write there without
 * a signal; one that starts there gets SIGXFSZ. */
static bool at_size_limit(const struct transfer *t, size_t done)
{
	struct rlimit limit;
	struct stat status;
	long descriptor = t->call->argument[0];
	if (t->kind != DESCRIPTOR_FILE || t->prot != PROT_READ ||
	    syscall_4(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit) < 0 ||
	    limit.rlim_cur == RLIM_INFINITY || syscall_2(SYS_fstat, descriptor, &status) < 0)
		return false;
	long end = t->call->argument[3] + (long)done;
	if (!t->positioned || t->call->argument[3] == -1)
		end = syscall_3(SYS_lseek, descriptor, 0, SEEK_CUR);
	return S_ISREG(status.st_mode) && end >= 0 && (rlim_t)end >= limit.rlim_cur;
}

static long transfer_pieces(struct transfer *t)
{
	size_t done = 0;
	long result = 0;
	while (done < t->vector.total) {
		long bytes = vector_window(&t->vector, done, VECTOR_PIECE, t->prot);
		if (bytes < 0) {
			result = bytes;
			break;
		}
		result = done == 0 ? transfer_window(t, 0) : transfer_next(t, done);
		if (t->prot & PROT_WRITE)
			result = vector_result(&t->vector, result);
		if (result <= 0)
			break;
		done += (size_t)result;
		if (result < bytes || at_size_limit(t, done))
			break;
	}
	return done != 0 ? (long)done : result;
}

/* The rest of all handlers below, once it is known where the program's memory is. */
static long transfer(struct transfer *t)
{
	struct guest_vector *vector = &t->vector;
	if (vector->paged > GUEST_PIECE) {
		t->kind = descriptor_kind(t->call->argument[0]);
		if (t->kind != DESCRIPTOR_WHOLE && !(t->flags & RWF_ATOMIC_WRITE))
			return transfer_pieces(t);
	}
	size_t limit = vector->total;
	if (t->prot == PROT_WRITE && vector->paged > GUEST_WHOLE_MAX)
		limit = GUEST_WHOLE_MAX;
	long bytes = vector_window(vector, 0, limit, t->prot);
	if (bytes < 0)
		return bytes;
	long result = transfer_window(t, 0);
	return t->prot == PROT_WRITE ? vector_result(vector, result) : result;
}

static long transfer_single(struct guest_call *call, int prot, bool positioned)
{
	void *base = (void *)call->argument[1];
	size_t length = (size_t)call->argument[2];
	if (!guest_is_paged(base, length))
		return guest_hand_on(call);
	struct transfer t = { .call = call, .arena = arena_create(call), .prot = prot,
		              .single = true, .positioned = positioned };
	int result = vector_single(&t.vector, &t.arena, base, length);
	if (result == VECTOR_BAD)
		return guest_hand_on(call);
	return result < 0 ? result : transfer(&t);
}

static long transfer_array(struct guest_call *call, int prot, bool positioned, int flags)
{
	const struct iovec *array = (const struct iovec *)call->argument[1];
	size_t count = (size_t)call->argument[2];
	if (count == 0 || count > VECTOR_COUNT_MAX)
		return guest_hand_on(call);
	struct transfer t = { .call = call, .arena = arena_create(call), .prot = prot,
		              .positioned = positioned, .flags = flags };
	int result = vector_take(&t.vector, &t.arena, array, count);
	bool paged = guest_is_paged(array, count * sizeof(*array));
	if (result == VECTOR_BAD) {
		const long *a = call->argument;
		return guest_execute(call, call->number, a[0], (long)t.vector.all, a[2], a[3], a[4],
		                     a[5]);
	}
	if (result == 0 && t.vector.paged == 0 && !paged)
		return guest_hand_on(call);
	return result < 0 ? result : transfer(&t);
}

long guest_read(struct guest_call *call)
{
	return transfer_single(call, PROT_WRITE, false);
}

long guest_write(struct guest_call *call)
{
	return transfer_single(call, PROT_READ, false);
}

long guest_pread64(struct guest_call *call)
{
	return transfer_single(call, PROT_WRITE, true);
}

long guest_pwrite64(struct guest_call *call)
{
	return transfer_single(call, PROT_READ, true);
}

long guest_readv(struct guest_call *call)
{
	return transfer_array(call, PROT_WRITE, false, 0);
}

long guest_writev(struct guest_call *call)
{
	return transfer_array(call, PROT_READ, false, 0);
}

long guest_preadv(struct guest_call *call)
{
	return transfer_array(call, PROT_WRITE, true, 0);
}

long guest_pwritev(struct guest_call *call)
{
	return transfer_array(call, PROT_READ, true, 0);
}

long guest_preadv2(struct guest_call *call)
{
	return transfer_array(call, PROT_WRITE, true, (int)call->argument[5]);
}

long guest_pwritev2(struct guest_call *call)
{
	return transfer_array(call, PROT_READ, true, (int)call->argument[5]);
}

/* Random bytes: a failure is one of the first piece. */
long guest_getrandom(struct guest_call *call)
{
	const long *a = call->argument;
	struct guest_arena arena = arena_create(call);
	struct guest_vector vector;
	if (!guest_is_paged((void *)a[0], (size_t)a[1]))
		return guest_hand_on(call);
	int taken = vector_single(&vector, &arena, (void *)a[0], (size_t)a[1]);
	if (taken != 0)
		return taken < 0 ? taken : guest_hand_on(call);
	size_t done = 0;
	long result = 0;
	while (done < vector.total) {
		long bytes = vector_window(&vector, done, VECTOR_PIECE, PROT_WRITE);
		result = bytes;
		if (bytes < 0)
			break;
		/* Behind the first inaccessible byte is nothing: there the kernel stops, too. */
		result = guest_execute(call, SYS_getrandom, (long)vector.ours[0].iov_base,
		                       (long)vector.ours[0].iov_len, a[2], 0, 0, 0);
		result = vector_result(&vector, result);
		if (result <= 0)
			break;
		done += (size_t)result;
		if (result < bytes)
			break;
	}
	return done != 0 ? (long)done : result;
}

/* The pages would be in the pipe after the call, and evicted under it: as a kernel without it. */
long guest_vmsplice(struct guest_call *call)
{
	const struct iovec *array = (const struct iovec *)call->argument[1];
	size_t count = (size_t)call->argument[2];
	struct guest_arena arena = arena_create(call);
	struct guest_vector vector;
	if (count == 0 || count > VECTOR_COUNT_MAX)
		return guest_hand_on(call);
	int result = vector_take(&vector, &arena, array, count);
	if (result < 0)
		return result;
	if (result == 0 && (vector.paged != 0 || guest_is_paged(array, count * sizeof(*array))))
		return -ENOSYS;
	return guest_hand_on(call);
}

/* ---- Other processes' memory -------------------------------------------------------------- */

/* Both sides of process_vm_readv(2) and process_vm_writev(2). */
struct copy {
	struct guest_call *call;
	struct guest_arena arena;
	struct guest_vector local, remote;
	bool writes; /* to the remote side */
};

/* Whether a process id means this process: its own, or that of one of its threads. */
static bool is_ourselves(long id)
{
	long process = syscall_1(SYS_getpid, 0);
	return id == process ||
	       (id > 0 && id <= INT_MAX && syscall_3(SYS_tgkill, process, id, 0) == 0);
}

/* Moves up to @limit bytes from the run at @skip of one vector to the same of the other, segment
 * by segment through @buffer. Return: bytes moved before the first fault. */
static size_t copy_piece(const struct guest_vector *to, const struct guest_vector *from,
                         size_t skip, size_t limit, char *buffer)
{
	size_t taken = 0, given = 0, at = skip;
	for (size_t i = 0; i < from->count && taken < limit; i++) {
		size_t length = from->all[i].iov_len, here = at < length ? at : length;
		at -= here;
		length = length - here < limit - taken ? length - here : limit - taken;
		size_t missing = guest_copy_in(buffer + taken, (char *)from->all[i].iov_base + here,
		                               length);
		taken += length - missing;
		if (missing != 0)
			break;
	}
	at = skip;
	for (size_t i = 0; i < to->count && given < taken; i++) {
		size_t length = to->all[i].iov_len, here = at < length ? at : length;
		at -= here;
		length = length - here < taken - given ? length - here : taken - given;
		size_t missing = guest_copy_out((char *)to->all[i].iov_base + here, buffer + given,
		                                length);
		given += length - missing;
		if (missing != 0)
			break;
	}
	return given;
}

/* The remote memory is this process's: the kernel need not be asked. */
static long copy_within(const struct copy *c)
{
	const struct guest_vector *to = c->writes ? &c->remote : &c->local;
	const struct guest_vector *from = c->writes ? &c->local : &c->remote;
	size_t total = to->total < from->total ? to->total : from->total, done = 0;
	size_t piece = total < VECTOR_PIECE ? total : VECTOR_PIECE;
	char *buffer = guest_buffer(c->call, piece + 1);
	if (buffer == NULL)
		return -ENOMEM;
	while (done < total) {
		size_t bytes = total - done < piece ? total - done : piece;
		size_t moved = copy_piece(to, from, done, bytes, buffer);
		done += moved;
		if (moved < bytes)
			break;
	}
	return done != 0 || total == 0 ? (long)done : -EFAULT;
}

/* The run of @bytes at @skip of the remote segments, into @slice. Return: segments. */
static size_t remote_slice(const struct guest_vector *remote, size_t skip, size_t bytes,
                           struct iovec *slice)
{
	size_t count = 0;
	for (size_t i = 0; i < remote->count && bytes > 0; i++) {
		size_t length = remote->all[i].iov_len, here = skip < length ? skip : length;
		skip -= here;
		length = length - here < bytes ? length - here : bytes;
		if (length == 0)
			continue;
		slice[count++] = (struct iovec){ .iov_base = (char *)remote->all[i].iov_base + here,
			                         .iov_len = length };
		bytes -= length;
	}
	return count;
}

static long copy_between(struct copy *c, struct iovec *slice)
{
	const long *a = c->call->argument;
	struct guest_vector *local = &c->local;
	size_t total = local->total < c->remote.total ? local->total : c->remote.total, done = 0;
	long result = 0;
	do {
		int prot = c->writes ? PROT_READ : PROT_WRITE;
		size_t limit = total - done < VECTOR_PIECE ? total - done : VECTOR_PIECE;
		long bytes = vector_window(local, done, limit, prot);
		result = bytes;
		if (bytes < 0)
			break;
		size_t count = remote_slice(&c->remote, done, limit, slice);
		result = guest_execute(c->call, c->call->number, a[0], (long)local->ours,
		                       (long)local->window, (long)slice, (long)count, a[5]);
		if (!c->writes)
			result = vector_result(local, result);
		if (result <= 0)
			break;
		done += (size_t)result;
		if (result < bytes)
			break;
	} while (done < total);
	return done != 0 ? (long)done : result;
}

static long copy_processes(struct guest_call *call, bool writes)
{
	const long *a = call->argument;
	struct copy c = { .call = call, .arena = arena_create(call), .writes = writes };
	size_t locals = (size_t)a[2], remotes = (size_t)a[4];
	if (a[5] != 0 || locals == 0 || locals > VECTOR_COUNT_MAX ||
	    remotes > VECTOR_COUNT_MAX)
		return guest_hand_on(call);
	/* The remote array first: what is taken after the local one goes with its first window. */
	int remote = vector_take(&c.remote, &c.arena, (const struct iovec *)a[3], remotes);
	int local = vector_take(&c.local, &c.arena, (const struct iovec *)a[1], locals);
	if (remote < 0 || local < 0)
		return -ENOMEM;
	if (remote == VECTOR_BAD || local == VECTOR_BAD)
		/* Refused before any data is touched, for the first of the two that is bad. */
		return guest_execute(call, call->number, a[0], (long)c.local.all, a[2],
		                     (long)c.remote.all, a[4], 0);
	bool own = is_ourselves(a[0]);
	if (own && (c.local.paged != 0 || c.remote.paged != 0))
		return copy_within(&c);
	if (c.local.paged == 0 && !guest_is_paged((void *)a[1], locals * sizeof(struct iovec)) &&
	    !guest_is_paged((void *)a[3], remotes * sizeof(struct iovec)))
		return guest_hand_on(call);
	return copy_between(&c, c.remote.ours);
}

long guest_process_vm_readv(struct guest_call *call)
{
	return copy_processes(call, false);
}

long guest_process_vm_writev(struct guest_call *call)
{
	return copy_processes(call, true);
}
