/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * message.c - messages of sockets
 *
 * A message is had in one call of the kernel's, whole: its data, the name of the peer and the
 * control data are mirrored (guest/vector.h), and copied out afterwards, as much of them as the
 * kernel says it wrote. Stream sockets have no messages: more than GUEST_PIECE bytes go piece by
 * piece, unless control data or a flag ties them together. An SO_RCVLOWAT above a piece is not
 * kept.
 *
 * Pages that the kernel would send later are not there any more later: MSG_ZEROCOPY is left out,
 * which is what the kernel makes of it for a socket without SO_ZEROCOPY.
 *
 * Locks: none. Signal context: that of guest/call.h.
 * Source: net/socket.c of Linux, of which the order of checks and of stores is kept.
 */
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "handlers.h"
#include "request.h"
#include "syscall.h"
#include "vector.h"


#define NAME_MAX_BYTES ((int)sizeof(struct sockaddr_storage))
#define CONTROL_MAX ((size_t)1 << 20) /* far above what the kernel takes or gives */
#define MESSAGES_MAX 1024u            /* of one sendmmsg or recvmmsg */

/* Flags with which the pieces of a stream are the same as the whole. */
#define SEND_PIECE_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE | MSG_DONTROUTE | MSG_ZEROCOPY)
#define RECEIVE_PIECE_FLAGS (MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC)

/* ---- Parts of a message ------------------------------------------------------------------- */

/* A peer's name that the program gives. @copy: room for one. Return: what the kernel may have. */
static void *name_in(void *theirs, long length, struct sockaddr_storage *copy)
{
	if (length <= 0 || theirs == NULL)
		return theirs;
	size_t size = length < NAME_MAX_BYTES ? (size_t)length : (size_t)NAME_MAX_BYTES;
	if (!guest_is_paged(theirs, size) || guest_copy_in(copy, theirs, size) != 0)
		return theirs;
	return copy;
}

/* The kernel's way to store a peer's name: @size is what the program has room for, @length the
 * name's own. Return: 0 or -EFAULT. */
static long name_out(void *theirs, int size, const struct sockaddr_storage *name, int length)
{
	if (size < 0)
		return -EINVAL;
	size = size < length ? size : length;
	return guest_copy_out(theirs, name, (size_t)size) == 0 ? 0 : -EFAULT;
}

/* Control data that the program sends. Return: 0 or -ENOMEM. */
static long control_in(struct user_msghdr *ours, struct guest_arena *arena)
{
	size_t length = ours->msg_controllen;
	if (length == 0 || length > BOUNCE_MAX || !guest_is_paged(ours->msg_control, length))
		return 0;
	char *copy = arena_take(arena, length, NULL);
	if (copy == NULL)
		return -ENOMEM;
	if (guest_copy_in(copy, ours->msg_control, length) == 0)
		ours->msg_control = copy;
	return 0;
}

/* Room for control data to come, as far as the program's is good: the kernel passes over what it
 * cannot store. It begins as a copy: the kernel passes over what pads it, too. */
static long control_room(struct user_msghdr *ours, struct guest_arena *arena)
{
	size_t length = ours->msg_controllen;
	if (length == 0 || ours->msg_control == NULL || !guest_is_paged(ours->msg_control, length))
		return 0;
	length = guest_accessible(ours->msg_control, length < CONTROL_MAX ? length : CONTROL_MAX,
	                          PROT_WRITE);
	if (length == 0)
		return 0;
	char *copy = arena_take(arena, length, NULL);
	if (copy == NULL)
		return -ENOMEM;
	size_t missing = guest_copy_in(copy, ours->msg_control, length);
	memset(copy + length - missing, 0, missing);
	ours->msg_control = copy;
	ours->msg_controllen = length;
	return 0;
}

/* ---- Sending ------------------------------------------------------------------------------ */

/* The rest of a stream, behind a full first piece. Who has sent a part gets no SIGPIPE. */
static long send_rest(struct guest_call *call, struct guest_vector *vector, long flags, size_t done)
{
	while (done < vector->total) {
		long bytes = vector_window(vector, done, VECTOR_PIECE, PROT_READ);
		if (bytes < 0)
			break;
		struct user_msghdr message = { .msg_iov = vector->ours, .msg_iovlen = vector->window };
		long result = guest_execute(call, SYS_sendmsg, call->argument[0], (long)&message,
		                            flags | MSG_NOSIGNAL, 0, 0, 0);
		if (result <= 0)
			break;
		done += (size_t)result;
		if (result < bytes)
			break;
	}
	return (long)done;
}

static bool is_sent_in_pieces(const struct guest_call *call, const struct guest_vector *vector,
                              long flags)
{
	return vector->paged > GUEST_PIECE && (flags & ~(long)SEND_PIECE_FLAGS) == 0 &&
	       descriptor_kind(call->argument[0]) == DESCRIPTOR_SOCKET;
}

long guest_sendto(struct guest_call *call)
{
	const long *a = call->argument;
	void *base = (void *)a[1], *name = (void *)a[4];
	size_t length = (size_t)a[2];
	int name_length = (int)a[5];
	struct sockaddr_storage copy;
	struct guest_arena arena = arena_create(call);
	struct guest_vector vector;
	if ((!guest_is_paged(base, length) && !guest_is_paged(name, (size_t)NAME_MAX_BYTES)) ||
	    (name != NULL && (name_length < 0 || name_length > NAME_MAX_BYTES)))
		return guest_hand_on(call);
	int taken = vector_single(&vector, &arena, base, length);
	if (taken != 0)
		return taken < 0 ? taken : guest_hand_on(call);
	name = name_in(name, name_length, &copy);
	bool pieces = is_sent_in_pieces(call, &vector, (int)a[3]);
	long flags = (int)a[3] & ~MSG_ZEROCOPY;
	size_t limit = pieces ? VECTOR_PIECE : vector.total;
	long bytes = vector_window(&vector, 0, limit, PROT_READ), result;
	if (bytes < 0)
		return bytes;
	if (vector.window == 1) {
		result = guest_execute(call, SYS_sendto, a[0], (long)vector.ours[0].iov_base,
		                       (long)vector.ours[0].iov_len, flags, (long)name, a[5]);
	} else {
		struct user_msghdr message = { .msg_name = name, .msg_iov = vector.ours,
			                  .msg_namelen = name != NULL ? (socklen_t)name_length : 0,
			                  .msg_iovlen = vector.window };
		result = guest_execute(call, SYS_sendmsg, a[0], (long)&message, flags, 0, 0, 0);
	}
	return pieces && result == bytes ? send_rest(call, &vector, flags, (size_t)bytes) : result;
}

/**
 * send_message - what sendmsg(2) does with one header
 * @theirs: the program's header
 * @length: out: bytes of data in it
 * Return: bytes sent, or a negated errno value.
 */
static long send_message(struct guest_call *call, struct guest_arena *arena,
                         struct user_msghdr *theirs, long flags, size_t *length)
{
	struct user_msghdr ours;
	struct sockaddr_storage name;
	struct guest_vector vector;
	*length = SIZE_MAX;
	long socket = call->argument[0];
	if (guest_copy_in(&ours, theirs, sizeof(ours)) != 0)
		return guest_execute(call, SYS_sendmsg, socket, (long)theirs, flags, 0, 0, 0);
	ours.msg_name = name_in(ours.msg_name, (int)ours.msg_namelen, &name);
	long result = control_in(&ours, arena);
	if (result == 0)
		result = vector_take(&vector, arena, ours.msg_iov, ours.msg_iovlen);
	if (result < 0)
		return result;
	ours.msg_iov = (struct iovec *)(uintptr_t)vector.all;
	if (result == VECTOR_BAD)
		return guest_execute(call, SYS_sendmsg, socket, (long)&ours, flags, 0, 0, 0);
	bool pieces = ours.msg_controllen == 0 && is_sent_in_pieces(call, &vector, flags);
	flags &= ~(long)MSG_ZEROCOPY;
	*length = vector.total;
	long bytes = vector_window(&vector, 0, pieces ? VECTOR_PIECE : vector.total, PROT_READ);
	if (bytes < 0)
		return bytes;
	ours.msg_iov = vector.ours;
	ours.msg_iovlen = vector.window;
	result = guest_execute(call, SYS_sendmsg, socket, (long)&ours, flags, 0, 0, 0);
	return pieces && result == bytes ? send_rest(call, &vector, flags, (size_t)bytes) : result;
}

/* Whether anything that a header leads to is paged. A header that cannot be read leads nowhere. */
static bool is_message_paged(const struct user_msghdr *theirs)
{
	struct user_msghdr header;
	if (guest_is_paged(theirs, sizeof(header)))
		return true;
	if (guest_copy_in(&header, theirs, sizeof(header)) != 0)
		return false;
	size_t count = header.msg_iovlen;
	if ((header.msg_name != NULL && guest_is_paged(header.msg_name, (size_t)NAME_MAX_BYTES)) ||
	    guest_is_paged(header.msg_control, header.msg_controllen) ||
	    (count <= VECTOR_COUNT_MAX &&
	     guest_is_paged(header.msg_iov, count * sizeof(struct iovec))))
		return true;
	for (size_t i = 0; i < count && count <= VECTOR_COUNT_MAX; i++) {
		struct iovec segment;
		if (guest_copy_in(&segment, &header.msg_iov[i], sizeof(segment)) != 0)
			return false;
		if (guest_is_paged(segment.iov_base, segment.iov_len))
			return true;
	}
	return false;
}

long guest_sendmsg(struct guest_call *call)
{
	struct user_msghdr *theirs = (struct user_msghdr *)call->argument[1];
	struct guest_arena arena = arena_create(call);
	size_t length;
	if (!is_message_paged(theirs))
		return guest_hand_on(call);
	return send_message(call, &arena, theirs, (int)call->argument[2], &length);
}

static bool are_messages_paged(const struct user_mmsghdr *theirs, unsigned count)
{
	if (guest_is_paged(theirs, count * sizeof(*theirs)))
		return true;
	for (unsigned i = 0; i < count; i++)
		if (is_message_paged(&theirs[i].msg_hdr))
			return true;
	return false;
}

/* One after the other, as the kernel does: the first failure, and the first part of a message,
 * ends it. */
long guest_sendmmsg(struct guest_call *call)
{
	const long *a = call->argument;
	struct user_mmsghdr *theirs = (struct user_mmsghdr *)a[1];
	unsigned count = (unsigned)a[2] < MESSAGES_MAX ? (unsigned)a[2] : MESSAGES_MAX;
	struct guest_arena arena = arena_create(call);
	if (count == 0 || !are_messages_paged(theirs, count))
		return guest_hand_on(call);
	unsigned done = 0;
	long result = 0;
	while (done < count) {
		size_t length;
		struct guest_arena mark = arena;
		result = send_message(call, &arena, &theirs[done].msg_hdr, (int)a[3], &length);
		arena_reset(&arena, &mark);
		if (result < 0)
			break;
		unsigned sent = (unsigned)result;
		if (guest_copy_out(&theirs[done].msg_len, &sent, sizeof(sent)) != 0) {
			result = -EFAULT;
			break;
		}
		done++;
		if ((size_t)result < length && length != SIZE_MAX)
			break;
	}
	return done != 0 ? (long)done : result;
}

/* ---- Receiving ---------------------------------------------------------------------------- */

/* What is known of a message to come, beside the header that the kernel gets. */
struct reception {
	struct user_msghdr theirs; /* as it was before */
	struct guest_vector vector;
	struct sockaddr_storage name;
};

/* What the kernel will do with the data: of streams, MSG_TRUNC counts bytes that it stores
 * nowhere. */
static int receive_prot(const struct guest_call *call, long flags)
{
	if ((flags & MSG_TRUNC) && descriptor_kind(call->argument[0]) == DESCRIPTOR_SOCKET)
		return PROT_READ | PROT_WRITE;
	return PROT_WRITE;
}

static bool is_received_in_pieces(const struct guest_call *call, const struct guest_vector *vector,
                                  long flags)
{
	return vector->paged > GUEST_PIECE && (flags & ~(long)RECEIVE_PIECE_FLAGS) == 0 &&
	       descriptor_kind(call->argument[0]) == DESCRIPTOR_SOCKET;
}

/* How much of the data one call may take. */
static size_t receive_limit(const struct guest_vector *vector, bool pieces)
{
	if (pieces)
		return VECTOR_PIECE;
	return vector->paged > GUEST_WHOLE_MAX ? GUEST_WHOLE_MAX : vector->total;
}

/* The rest of a stream: what is there, or, with MSG_WAITALL, all of it. */
static long receive_rest(struct guest_call *call, struct guest_vector *vector, long flags,
                         size_t done)
{
	if (!(flags & MSG_WAITALL))
		flags |= MSG_DONTWAIT;
	while (done < vector->total) {
		long bytes = vector_window(vector, done, VECTOR_PIECE, PROT_WRITE);
		if (bytes < 0)
			break;
		struct user_msghdr message = { .msg_iov = vector->ours, .msg_iovlen = vector->window };
		long result = guest_execute(call, SYS_recvmsg, call->argument[0], (long)&message,
		                            flags, 0, 0, 0);
		result = vector_result(vector, result);
		if (result <= 0)
			break;
		done += (size_t)result;
		if (result < bytes)
			break;
	}
	return (long)done;
}

/* Stores a received message's data. A datagram's length may be more than was asked for. */
static long receive_data(const struct guest_vector *vector, long result, size_t bytes)
{
	size_t stored = (size_t)result < bytes ? (size_t)result : bytes;
	return stored == 0 || vector_scatter(vector, stored) == stored ? result : -EFAULT;
}

long guest_recvfrom(struct guest_call *call)
{
	const long *a = call->argument;
	void *base = (void *)a[1], *name = (void *)a[4];
	int *name_length = (int *)a[5], size;
	struct sockaddr_storage copy;
	struct guest_arena arena = arena_create(call);
	struct guest_vector vector;
	if (!guest_is_paged(base, (size_t)a[2]) &&
	    (name == NULL || (!guest_is_paged(name, (size_t)NAME_MAX_BYTES) &&
	                      !guest_is_paged(name_length, sizeof(*name_length)))))
		return guest_hand_on(call);
	int taken = vector_single(&vector, &arena, base, (size_t)a[2]);
	if (taken != 0)
		return taken < 0 ? taken : guest_hand_on(call);
	long flags = (int)a[3];
	bool pieces = is_received_in_pieces(call, &vector, flags);
	long bytes = vector_window(&vector, 0, receive_limit(&vector, pieces),
	                           receive_prot(call, flags));
	if (bytes < 0)
		return bytes;
	struct user_msghdr message = { .msg_name = name != NULL ? &copy : NULL,
		                  .msg_namelen = name != NULL ? (socklen_t)NAME_MAX_BYTES : 0,
		                  .msg_iov = vector.ours, .msg_iovlen = vector.window };
	long result = guest_execute(call, SYS_recvmsg, a[0], (long)&message, flags, 0, 0, 0);
	if (result < 0)
		return result;
	result = receive_data(&vector, result, (size_t)bytes);
	if (pieces && result == bytes)
		result = receive_rest(call, &vector, flags, (size_t)bytes);
	if (result < 0 || name == NULL)
		return result;
	int length = (int)message.msg_namelen;
	if (guest_copy_in(&size, name_length, sizeof(size)) != 0)
		return -EFAULT;
	long stored = name_out(name, size, &copy, length);
	if (stored == 0 && guest_copy_out(name_length, &length, sizeof(length)) != 0)
		stored = -EFAULT;
	return stored == 0 ? result : stored;
}

/* Makes @ours of the program's header. Return: 0, VECTOR_BAD (but its header is good), -EFAULT
 * (it is not), or -ENOMEM. */
static long receive_begin(struct reception *reception, struct guest_arena *arena,
                          const struct user_msghdr *theirs, struct user_msghdr *ours)
{
	if (guest_copy_in(ours, theirs, sizeof(*ours)) != 0)
		return -EFAULT;
	reception->theirs = *ours;
	if (ours->msg_name != NULL && (int)ours->msg_namelen >= 0)
		ours->msg_name = &reception->name;
	long result = control_room(ours, arena);
	if (result < 0)
		return result;
	result = vector_take(&reception->vector, arena, ours->msg_iov, ours->msg_iovlen);
	ours->msg_iov = (struct iovec *)(uintptr_t)reception->vector.all;
	return result;
}

/* Stores what was received with a header but the data. Return: 0 or -EFAULT. */
static long receive_end(const struct reception *reception, struct user_msghdr *theirs,
                        const struct user_msghdr *ours)
{
	const struct user_msghdr *before = &reception->theirs;
	if (before->msg_name != NULL) {
		long result = name_out(before->msg_name, (int)before->msg_namelen, &reception->name,
		                       (int)ours->msg_namelen);
		if (result < 0)
			return result;
		if (guest_copy_out(&theirs->msg_namelen, &ours->msg_namelen, sizeof(int)) != 0)
			return -EFAULT;
	}
	if (ours->msg_control != before->msg_control &&
	    guest_copy_out(before->msg_control, ours->msg_control, ours->msg_controllen) != 0)
		return -EFAULT;
	if (guest_copy_out(&theirs->msg_flags, &ours->msg_flags, sizeof(int)) != 0 ||
	    guest_copy_out(&theirs->msg_controllen, &ours->msg_controllen, sizeof(size_t)) != 0)
		return -EFAULT;
	return 0;
}

long guest_recvmsg(struct guest_call *call)
{
	const long *a = call->argument;
	struct user_msghdr *theirs = (struct user_msghdr *)a[1], ours;
	struct guest_arena arena = arena_create(call);
	struct reception reception;
	struct guest_vector *vector = &reception.vector;
	if (!is_message_paged(theirs))
		return guest_hand_on(call);
	long result = receive_begin(&reception, &arena, theirs, &ours);
	if (result == -EFAULT)
		return guest_hand_on(call);
	if (result == VECTOR_BAD)
		return guest_execute(call, SYS_recvmsg, a[0], (long)&ours, a[2], 0, 0, 0);
	if (result < 0)
		return result;
	long flags = (int)a[2];
	bool pieces = ours.msg_controllen == 0 && is_received_in_pieces(call, vector, flags);
	long bytes = vector_window(vector, 0, receive_limit(vector, pieces),
	                           receive_prot(call, flags));
	if (bytes < 0)
		return bytes;
	ours.msg_iov = vector->ours;
	ours.msg_iovlen = vector->window;
	result = guest_execute(call, SYS_recvmsg, a[0], (long)&ours, flags, 0, 0, 0);
	if (result < 0)
		return result;
	result = receive_data(vector, result, (size_t)bytes);
	if (pieces && result == bytes)
		result = receive_rest(call, vector, flags, (size_t)bytes);
	if (result < 0)
		return result;
	long stored = receive_end(&reception, theirs, &ours);
	return stored < 0 ? stored : result;
}

/* ---- recvmmsg ----------------------------------------------------------------------------- */

/* The mirror of all messages: the kernel itself watches the time and keeps late errors. */
struct receptions {
	struct reception *each;
	struct user_mmsghdr *ours;
	unsigned count;
};

/* Return: 0 or a negated errno value, -EFAULT for a first header that is bad. */
static long receptions_begin(struct receptions *r, struct guest_call *call,
                             struct guest_arena *arena, const struct user_mmsghdr *theirs,
                             unsigned count)
{
	int prot = receive_prot(call, (int)call->argument[3]);
	r->each = arena_take(arena, count * sizeof(*r->each), NULL);
	r->ours = arena_take(arena, count * sizeof(*r->ours), NULL);
	if (r->each == NULL || r->ours == NULL)
		return -ENOMEM;
	for (r->count = 0; r->count < count; r->count++) {
		struct reception *reception = &r->each[r->count];
		struct user_msghdr *ours = &r->ours[r->count].msg_hdr;
		r->ours[r->count].msg_len = 0;
		long result = receive_begin(reception, arena, &theirs[r->count].msg_hdr, ours);
		/* Those before it are received; nobody can be told of this one. */
		if (result == -EFAULT)
			return r->count > 0 ? 0 : -EFAULT;
		if (result < 0)
			return result;
		if (result == VECTOR_BAD) {
			reception->vector = (struct guest_vector){ .window = 0 };
			continue;
		}
		struct guest_vector *vector = &reception->vector;
		if (vector_window(vector, 0, receive_limit(vector, false), prot) < 0)
			return -ENOMEM;
		ours->msg_iov = vector->ours;
		ours->msg_iovlen = vector->window;
	}
	return 0;
}

/* Stores the messages received. Return: how many of them reached the program, or -EFAULT. */
static long receptions_end(const struct receptions *r, struct user_mmsghdr *theirs, unsigned received)
{
	unsigned i;
	for (i = 0; i < received; i++) {
		const struct reception *reception = &r->each[i];
		unsigned length = r->ours[i].msg_len;
		if (receive_data(&reception->vector, (long)length, reception->vector.total) < 0 ||
		    receive_end(reception, &theirs[i].msg_hdr, &r->ours[i].msg_hdr) < 0 ||
		    guest_copy_out(&theirs[i].msg_len, &length, sizeof(length)) != 0)
			break;
	}
	return i > 0 || received == 0 ? (long)i : -EFAULT;
}

/* Who asks for more than MESSAGES_MAX gets no more, as if only so many had come. */
long guest_recvmmsg(struct guest_call *call)
{
	const long *a = call->argument;
	struct user_mmsghdr *theirs = (struct user_mmsghdr *)a[1];
	unsigned count = (unsigned)a[2] < MESSAGES_MAX ? (unsigned)a[2] : MESSAGES_MAX;
	struct guest_arena arena = arena_create(call);
	struct guest_bounce timeout;
	struct receptions receptions;
	if (count == 0 || (!are_messages_paged(theirs, count) &&
	                   !guest_is_paged((void *)a[4], sizeof(struct timespec))))
		return guest_hand_on(call);
	if (bounce_begin(&timeout, call, (void *)a[4], sizeof(struct timespec), BOUNCE_BOTH) < 0)
		return -ENOMEM;
	long result = receptions_begin(&receptions, call, &arena, theirs, count);
	if (result == -EFAULT)
		return request_replace(call, 4, timeout.ours);
	if (result < 0)
		return result;
	result = guest_execute(call, SYS_recvmmsg, a[0], (long)receptions.ours,
	                       (long)receptions.count, a[3], (long)timeout.ours, 0);
	if (result <= 0)
		return result;
	return bounce_end(&timeout, receptions_end(&receptions, theirs, (unsigned)result));
}
