/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_messages.c - cases of calls.c: sendmsg(2), recvmsg(2) and control messages
 */
#include "calls.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static unsigned char plain[300000];

#define PIECES 4
static const size_t piece_sizes[PIECES] = { 3, 5000, 0, 70000 };
#define TOTAL 75003

static struct msghdr *make_message(void)
{
	struct msghdr *message = EVICTED(struct msghdr);
	message->msg_iov = EVICTED_ARRAY(struct iovec, PIECES);
	message->msg_iovlen = PIECES;
	for (int i = 0; i < PIECES; i++) {
		message->msg_iov[i].iov_base = evicted(piece_sizes[i]);
		message->msg_iov[i].iov_len = piece_sizes[i];
	}
	return message;
}

static void dump_message(const char *what, const struct msghdr *message)
{
	say("%s: flags %x, name %u, control %zu", what, (unsigned)message->msg_flags,
	    message->msg_namelen, message->msg_controllen);
	for (size_t i = 0; i < message->msg_iovlen; i++)
		dump("piece", message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
}

static void datagram_pair(int ends[2])
{
	int room = 1 << 20;
	MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends));
	MUST(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)));
}

static void recvmsg_scattered(void)
{
	int ends[2];
	struct msghdr *message = make_message();
	datagram_pair(ends);
	fill(plain, TOTAL + 10, 60);
	MUST(send(ends[0], plain, TOTAL - 100, 0));
	MUST(send(ends[0], plain, TOTAL + 10, 0));
	MUST(send(ends[0], plain, 2, 0));
	CALL("recvmsg", recvmsg(ends[1], message, 0));
	dump_message("message", message);
	CALL("recvmsg of a longer one", recvmsg(ends[1], message, 0));
	dump_message("message", message);
	CALL("recvmsg of a shorter one", recvmsg(ends[1], message, MSG_TRUNC));
	dump_message("message", message);
	CALL("recvmsg of none", recvmsg(ends[1], message, MSG_DONTWAIT));
	close(ends[0]);
	close(ends[1]);
}

static void sendmsg_scattered(void)
{
	int ends[2];
	struct msghdr *message = make_message();
	datagram_pair(ends);
	for (unsigned i = 0; i < PIECES; i++)
		fill(message->msg_iov[i].iov_base, piece_sizes[i], 61 + i);
	CALL("sendmsg", sendmsg(ends[0], message, 0));
	dump("datagram", plain, (size_t)MUST(recv(ends[1], plain, sizeof(plain), 0)));
	message->msg_iovlen = 0;
	CALL("sendmsg of nothing", sendmsg(ends[0], message, 0));
	say("received %ld", (long)recv(ends[1], plain, 100, MSG_DONTWAIT));
	message->msg_iovlen = 2000;
	CALL("sendmsg of too many pieces", sendmsg(ends[0], message, 0));
	close(ends[0]);
	close(ends[1]);
}

static void message_addresses(void)
{
	int one = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
	int two = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
	struct sockaddr_un *address = EVICTED(struct sockaddr_un);
	struct msghdr *message = make_message();
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path, "receiver");
	MUST(bind(one, (struct sockaddr *)address, sizeof(*address)));
	strcpy(address->sun_path, "sender");
	MUST(bind(two, (struct sockaddr *)address, sizeof(*address)));
	strcpy(address->sun_path, "receiver");
	message->msg_name = address;
	message->msg_namelen = sizeof(*address);
	message->msg_iovlen = 2;
	CALL("sendmsg", sendmsg(two, message, 0));
	CALL("sendmsg", sendmsg(two, message, 0));
	memset(address, 0x5a, sizeof(*address));
	CALL("recvmsg", recvmsg(one, message, 0));
	dump_message("message", message);
	dump("address", address, sizeof(*address));
	memset(address, 0x5a, sizeof(*address));
	message->msg_namelen = 6;
	CALL("recvmsg, name cut", recvmsg(one, message, 0));
	dump_message("message", message);
	dump("address", address, 20);
	close(one);
	close(two);
	MUST(unlink("receiver"));
	MUST(unlink("sender"));
}

/* ---- Control messages ------------------------------------------------------------------ */

/* A control message with descriptors. */
static void put_descriptors(struct msghdr *message, const int *descriptors, int count)
{
	struct cmsghdr *control = message->msg_control;
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
	message->msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
	memcpy(CMSG_DATA(control), descriptors, (size_t)count * sizeof(int));
}

static void prepare(struct msghdr *message, void *control, size_t room)
{
	message->msg_control = control;
	message->msg_controllen = room;
	message->msg_flags = 0;
	message->msg_iovlen = 1;
	memset(control, 0x5a, room);
}

/* Says what has come, and closes the descriptors among it. */
static void take_control(struct msghdr *message)
{
	say("flags %x, control %zu", (unsigned)message->msg_flags, message->msg_controllen);
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control;
	     control = CMSG_NXTHDR(message, control)) {
		say("level %d, type %d, length %zu", control->cmsg_level, control->cmsg_type,
		    (size_t)control->cmsg_len);
		if (control->cmsg_type == SCM_CREDENTIALS) {
			struct ucred who;
			memcpy(&who, CMSG_DATA(control), sizeof(who));
			check("credentials", who.pid == getpid() && who.uid == getuid() &&
			                             who.gid == getgid());
		} else if (control->cmsg_type == SCM_RIGHTS) {
			int descriptor;
			size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			for (size_t i = 0; i < count; i++) {
				memcpy(&descriptor, CMSG_DATA(control) + i * sizeof(int),
				       sizeof(int));
				say("descriptor with flags %d", fcntl(descriptor, F_GETFD));
				close(descriptor);
			}
		}
	}
}

static void control_rights(void)
{
	int ends[2], three[3] = { 0, 1, 2 }, bad[2] = { 0, 999 };
	int before = count_descriptors();
	struct msghdr *message = make_message();
	void *control = evicted_zero(CMSG_SPACE(64));
	datagram_pair(ends);
	message->msg_control = control;
	message->msg_iovlen = 1;
	put_descriptors(message, three, 3);
	for (int i = 0; i < 5; i++)
		CALL("sendmsg with three descriptors", sendmsg(ends[0], message, 0));
	prepare(message, control, CMSG_SPACE(64));
	CALL("recvmsg", recvmsg(ends[1], message, MSG_CMSG_CLOEXEC));
	take_control(message);
	prepare(message, control, CMSG_LEN(2 * sizeof(int)));
	CALL("recvmsg with room for two", recvmsg(ends[1], message, 0));
	take_control(message);
	prepare(message, control, CMSG_LEN(0) + 2);
	CALL("recvmsg with room for none", recvmsg(ends[1], message, 0));
	take_control(message);
	prepare(message, control, 5);
	CALL("recvmsg with hardly any room", recvmsg(ends[1], message, 0));
	take_control(message);
	prepare(message, control, 0);
	CALL("recvmsg without room", recvmsg(ends[1], message, 0));
	take_control(message);
	put_descriptors(message, bad, 2);
	CALL("sendmsg with a bad descriptor", sendmsg(ends[0], message, 0));
	put_descriptors(message, three, 3);
	((struct cmsghdr *)control)->cmsg_len = 3;
	CALL("sendmsg with a bad length", sendmsg(ends[0], message, 0));
	message->msg_control = unmapped();
	CALL("sendmsg with control nowhere", sendmsg(ends[0], message, 0));
	close(ends[0]);
	close(ends[1]);
	say("descriptors left: %d", count_descriptors() - before);
}

static void control_credentials(void)
{
	int ends[2], on = 1, two[2] = { 0, 1 };
	int before = count_descriptors();
	struct msghdr *message = make_message();
	void *control = evicted_zero(200);
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
	MUST(setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	message->msg_control = control;
	message->msg_iovlen = 1;
	put_descriptors(message, two, 2);
	CALL("sendmsg with descriptors", sendmsg(ends[0], message, 0));
	prepare(message, control, 200);
	CALL("recvmsg of both", recvmsg(ends[1], message, 0));
	take_control(message);
	/* Both sent by ourselves, in one buffer. */
	memset(control, 0, 200);
	struct ucred who = { getpid(), getuid(), getgid() };
	put_descriptors(message, two, 2);
	size_t first = message->msg_controllen;
	struct cmsghdr *second = (void *)((char *)control + first);
	second->cmsg_level = SOL_SOCKET;
	second->cmsg_type = SCM_CREDENTIALS;
	second->cmsg_len = CMSG_LEN(sizeof(who));
	memcpy(CMSG_DATA(second), &who, sizeof(who));
	message->msg_controllen = first + CMSG_SPACE(sizeof(who));
	CALL("sendmsg with both", sendmsg(ends[0], message, 0));
	prepare(message, control, CMSG_SPACE(sizeof(who)) + CMSG_LEN(sizeof(int)));
	CALL("recvmsg with room for one and a half", recvmsg(ends[1], message, 0));
	take_control(message);
	close(ends[0]);
	close(ends[1]);
	say("descriptors left: %d", count_descriptors() - before);
}

/* ---- Many at once ---------------------------------------------------------------------- */

#define MESSAGES 4

static struct mmsghdr *make_messages(size_t size)
{
	struct mmsghdr *messages = EVICTED_ARRAY(struct mmsghdr, MESSAGES);
	for (int i = 0; i < MESSAGES; i++) {
		struct iovec *vector = EVICTED_ARRAY(struct iovec, 2);
		vector[0] = (struct iovec){ evicted((size_t)i + 1), (size_t)i + 1 };
		vector[1] = (struct iovec){ evicted(size), size };
		messages[i].msg_hdr.msg_iov = vector;
		messages[i].msg_hdr.msg_iovlen = 2;
	}
	return messages;
}

static void sendmmsg_recvmmsg(void)
{
	int ends[2];
	struct mmsghdr *messages = make_messages(30000);
	struct timespec *timeout = EVICTED(struct timespec);
	datagram_pair(ends);
	for (unsigned i = 0; i < MESSAGES; i++) {
		fill(messages[i].msg_hdr.msg_iov[0].iov_base, i + 1, 70 + i);
		fill(messages[i].msg_hdr.msg_iov[1].iov_base, 30000, 80 + i);
	}
	CALL("sendmmsg", sendmmsg(ends[0], messages, MESSAGES, 0));
	for (int i = 0; i < MESSAGES; i++) {
		say("sent %u", messages[i].msg_len);
		memset(messages[i].msg_hdr.msg_iov[1].iov_base, 0x5a, 30000);
		messages[i].msg_hdr.msg_iov[1].iov_len -= (size_t)i;
	}
	CALL("recvmmsg of three", recvmmsg(ends[1], messages, 3, 0, NULL));
	timeout->tv_sec = 100;
	CALL("recvmmsg with MSG_WAITFORONE", recvmmsg(ends[1], messages + 3, 1, MSG_WAITFORONE,
	                                              timeout));
	check("the time left", timeout->tv_sec >= 95 && timeout->tv_sec <= 100);
	for (int i = 0; i < MESSAGES; i++) {
		say("received %u, flags %x", messages[i].msg_len,
		    (unsigned)messages[i].msg_hdr.msg_flags);
		dump("piece", messages[i].msg_hdr.msg_iov[1].iov_base, 30000);
	}
	CALL("recvmmsg of none", recvmmsg(ends[1], messages, MESSAGES, MSG_DONTWAIT, NULL));
	MUST(send(ends[0], "one", 3, 0));
	CALL("recvmmsg of fewer than asked", recvmmsg(ends[1], messages, MESSAGES,
	                                              MSG_DONTWAIT, NULL));
	say("received %u", messages[0].msg_len);
	timeout->tv_nsec = -1;
	CALL("recvmmsg with a bad timeout", recvmmsg(ends[1], messages, 1, 0, timeout));
	close(ends[0]);
	close(ends[1]);
}

/* One that fails after others: how many were done. */
static void mmsg_errors(void)
{
	int ends[2];
	struct mmsghdr *messages = make_messages(50);
	datagram_pair(ends);
	messages[2].msg_hdr.msg_iov[1].iov_base = unmapped();
	CALL("sendmmsg with a bad third", sendmmsg(ends[0], messages, MESSAGES, 0));
	for (int i = 0; i < MESSAGES; i++)
		say("sent %u", messages[i].msg_len);
	for (int i = 0; i < 2; i++)
		say("received %ld", (long)recv(ends[1], plain, 100, MSG_DONTWAIT));
	for (int i = 0; i < MESSAGES; i++)
		MUST(send(ends[0], plain, 50, 0));
	CALL("recvmmsg with a bad third", recvmmsg(ends[1], messages, MESSAGES, MSG_DONTWAIT,
	                                           NULL));
	CALL("sendmmsg of no vector", sendmmsg(ends[0], unmapped(), 2, 0));
	CALL("sendmmsg of none", sendmmsg(ends[0], messages, 0, 0));
	CALL("recvmmsg on no socket", recvmmsg(-1, messages, 2, 0, NULL));
	close(ends[0]);
	close(ends[1]);
}

const struct call_case message_cases[] = {
	CASE(recvmsg_scattered),
	CASE(sendmsg_scattered),
	CASE(message_addresses),
	CASE(control_rights),
	CASE(control_credentials),
	CASE(sendmmsg_recvmmsg),
	CASE(mmsg_errors),
	{ 0 },
};
