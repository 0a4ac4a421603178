/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_sockets.c - cases of calls.c: datagrams, streams, addresses and options of sockets
 */
#include "calls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static unsigned char plain[MIB];

#define LARGEST (200 * 1024)

static void datagram_pair(int ends[2])
{
	int room = 4 << 20;
	MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends));
	for (int i = 0; i < 2; i++)
		MUST(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)));
}

/* ---- Datagrams ------------------------------------------------------------------------- */

static void recv_sizes(void)
{
	static const int sizes[] = { 0, 1, 100, 4095, 4096, 4097, 65535, 65536, 131072, LARGEST };
	int ends[2];
	char *buffer = evicted(LARGEST + 100);
	datagram_pair(ends);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill(plain, (size_t)sizes[i], i);
		MUST(send(ends[0], plain, (size_t)sizes[i], 0));
		long got = CALL("recv", recv(ends[1], buffer, LARGEST + 100, 0));
		dump("datagram", buffer, got > 0 ? (size_t)got : 0);
	}
	CALL("recv of none", recv(ends[1], buffer, 100, MSG_DONTWAIT));
	close(ends[0]);
	close(ends[1]);
}

static size_t nth_size(int n)
{
	return (size_t)((unsigned)n * 2654435761u % LARGEST + 1);
}

static void *send_many(void *argument)
{
	static unsigned char bytes[LARGEST];
	int *end = argument;
	for (int i = 0; i < 300; i++) {
		fill(bytes, nth_size(i), 1000 + (unsigned)i);
		MUST(send(*end, bytes, nth_size(i), 0));
	}
	return NULL;
}

/* The sender keeps the queue full, so that one lost or cut would be seen by those after. */
static void recv_many(void)
{
	int ends[2], right = 0;
	pthread_t sender;
	char *buffer = evicted(LARGEST);
	uint64_t sum = 0;
	datagram_pair(ends);
	MUST(-pthread_create(&sender, NULL, send_many, &ends[0]));
	for (int i = 0; i < 300; i++) {
		push_out();
		ssize_t got = recv(ends[1], buffer, LARGEST, i % 2 ? MSG_TRUNC : 0);
		right += got == (ssize_t)nth_size(i);
		sum = sum * 31 + hash(buffer, got > 0 ? (size_t)got : 0);
	}
	pthread_join(sender, NULL);
	say("%d of 300 had the right size, sum of hashes %016llx", right,
	    (unsigned long long)sum);
	CALL("recv of none", recv(ends[1], buffer, 100, MSG_DONTWAIT));
	close(ends[0]);
	close(ends[1]);
}

static void send_sizes(void)
{
	static const int sizes[] = { 0, 1, 4096, 65537, LARGEST };
	int ends[2];
	char *buffer = evicted(LARGEST);
	datagram_pair(ends);
	fill(buffer, LARGEST, 50);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		CALL("send", send(ends[0], buffer, (size_t)sizes[i], 0));
		ssize_t got = MUST(recv(ends[1], plain, sizeof(plain), 0));
		dump("datagram", plain, (size_t)got);
	}
	CALL("write", write(ends[0], buffer + 3, 70000));
	dump("datagram", plain, (size_t)MUST(read(ends[1], plain, sizeof(plain))));
	close(ends[0]);
	close(ends[1]);
}

static void recv_cut(void)
{
	int ends[2];
	char *buffer = evicted(5000);
	datagram_pair(ends);
	fill(plain, 9000, 51);
	for (int i = 0; i < 4; i++)
		MUST(send(ends[0], plain + i, 9000, 0));
	CALL("recv to look", recv(ends[1], buffer, 4000, MSG_PEEK));
	dump("buffer", buffer, 5000);
	CALL("recv, cut", recv(ends[1], buffer, 4000, 0));
	dump("buffer", buffer, 5000);
	CALL("recv, cut, with MSG_TRUNC", recv(ends[1], buffer, 4500, MSG_TRUNC));
	dump("buffer", buffer, 5000);
	CALL("recv of no bytes", recv(ends[1], buffer, 0, 0));
	CALL("read", read(ends[1], buffer, 5000));
	dump("buffer", buffer, 5000);
	CALL("recv of none", recv(ends[1], buffer, 5000, MSG_DONTWAIT));
	close(ends[0]);
	close(ends[1]);
}

/* ---- Streams --------------------------------------------------------------------------- */

static void *stream_sender(void *argument)
{
	int *end = argument;
	fill(plain, MIB, 52);
	for (size_t sent = 0; sent < MIB; sent += 33333)
		MUST(send(*end, plain + sent, MIB - sent < 33333 ? MIB - sent : 33333, 0));
	return NULL;
}

static void stream_waitall(void)
{
	int ends[2];
	pthread_t sender;
	char *buffer = evicted(MIB);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	MUST(-pthread_create(&sender, NULL, stream_sender, &ends[0]));
	CALL("recv of 1 MiB with MSG_WAITALL", recv(ends[1], buffer, MIB, MSG_WAITALL));
	pthread_join(sender, NULL);
	dump("buffer", buffer, MIB);
	close(ends[0]);
	memset(buffer, 0x5a, 100);
	CALL("recv at the end", recv(ends[1], buffer, 100, 0));
	close(ends[1]);
}

static void *stream_receiver(void *argument)
{
	int *end = argument;
	size_t got = 0;
	ssize_t length;
	while ((length = recv(*end, plain + got, 12345 < MIB - got ? 12345 : MIB - got, 0)) > 0)
		got += (size_t)length;
	return (void *)got;
}

static void stream_send(void)
{
	int ends[2];
	void *got;
	pthread_t receiver;
	char *buffer = evicted(MIB);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	fill(buffer, MIB, 53);
	MUST(-pthread_create(&receiver, NULL, stream_receiver, &ends[1]));
	CALL("send of 1 MiB", send(ends[0], buffer, MIB, 0));
	close(ends[0]);
	pthread_join(receiver, &got);
	say("received %zu", (size_t)got);
	dump("received", plain, MIB);
	close(ends[1]);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	close(ends[1]);
	CALL("send to nobody", send(ends[0], buffer, 100, MSG_NOSIGNAL));
	CALL("recv from nobody", recv(ends[0], buffer, 100, 0));
	close(ends[0]);
}

/* ---- Addresses ------------------------------------------------------------------------- */

static struct sockaddr_un *unix_address(const char *path)
{
	struct sockaddr_un *address = EVICTED(struct sockaddr_un);
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path, path);
	return address;
}

static void unix_addresses(void)
{
	struct sockaddr_un *first = unix_address("first"), *second = unix_address("second");
	struct sockaddr_un *from = EVICTED(struct sockaddr_un);
	int *length = evicted_int(0);
	socklen_t full = offsetof(struct sockaddr_un, sun_path) + 7;
	char *buffer = evicted(100);
	int one = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
	int two = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
	CALL("bind", bind(one, (struct sockaddr *)first, full - 1));
	CALL("bind again", bind(two, (struct sockaddr *)first, full - 1));
	CALL("bind", bind(two, (struct sockaddr *)second, sizeof(*second)));
	for (int i = 0; i < 4; i++)
		CALL("sendto", sendto(two, "message", 7, 0, (struct sockaddr *)first, full - 1));
	*length = sizeof(*from);
	memset(from, 0x5a, sizeof(*from));
	CALL("recvfrom", recvfrom(one, buffer, 100, 0, (struct sockaddr *)from,
	                          (socklen_t *)length));
	say("length %d", *length);
	dump("address", from, sizeof(*from));
	memset(from, 0x5a, sizeof(*from));
	*length = 5;
	CALL("recvfrom, address cut", recvfrom(one, buffer, 100, 0, (struct sockaddr *)from,
	                                       (socklen_t *)length));
	say("length %d", *length);
	dump("address", from, sizeof(*from));
	*length = -1;
	CALL("recvfrom, negative length", recvfrom(one, buffer, 100, MSG_DONTWAIT,
	                                           (struct sockaddr *)from, (socklen_t *)length));
	CALL("recvfrom, no address", recvfrom(one, buffer, 100, MSG_DONTWAIT, NULL, NULL));
	CALL("recvfrom of none", recvfrom(one, buffer, 100, MSG_DONTWAIT, NULL, NULL));
	*length = 4;
	memset(from, 0x5a, sizeof(*from));
	CALL("getsockname, cut", getsockname(one, (struct sockaddr *)from,
	                                     (socklen_t *)length));
	say("length %d", *length);
	dump("address", from, 16);
	CALL("connect", connect(two, (struct sockaddr *)first, sizeof(*first)));
	*length = 100;
	CALL("getpeername", getpeername(two, (struct sockaddr *)from, (socklen_t *)length));
	say("length %d, %s", *length, from->sun_path);
	CALL("getpeername of none", getpeername(one, (struct sockaddr *)from,
	                                        (socklen_t *)length));
	CALL("sendto a bad family", sendto(one, buffer, 1, 0, (struct sockaddr *)buffer, 20));
	CALL("connect to an absent one", connect(two, (struct sockaddr *)from, 4));
	close(one);
	close(two);
	MUST(unlink("first"));
	MUST(unlink("second"));
}

static void inet_addresses(void)
{
	struct sockaddr_in *address = EVICTED(struct sockaddr_in);
	struct sockaddr_in *from = EVICTED(struct sockaddr_in);
	int *length = evicted_int(sizeof(*address));
	char *buffer = evicted(3000);
	int one = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
	int two = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
	address->sin_family = AF_INET;
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CALL("bind", bind(one, (struct sockaddr *)address, sizeof(*address)));
	CALL("getsockname", getsockname(one, (struct sockaddr *)address, (socklen_t *)length));
	check("address", *length == sizeof(*address) && address->sin_port != 0 &&
	                         address->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	fill(buffer, 3000, 54);
	CALL("sendto", sendto(two, buffer, 3000, 0, (struct sockaddr *)address,
	                      sizeof(*address)));
	memset(buffer, 0, 3000);
	CALL("recvfrom", recvfrom(one, buffer, 3000, 0, (struct sockaddr *)from,
	                          (socklen_t *)length));
	dump("buffer", buffer, 3000);
	check("from", *length == sizeof(*from) && from->sin_family == AF_INET &&
	                      from->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	close(one);
	close(two);
}

static void accept_addresses(void)
{
	struct sockaddr_un *address = unix_address("listener");
	struct sockaddr_un *from = EVICTED(struct sockaddr_un);
	int *length = evicted_int(sizeof(*from));
	int listener = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0)), peer, callers[3];
	CALL("bind", bind(listener, (struct sockaddr *)address, sizeof(*address)));
	MUST(listen(listener, 5));
	for (int i = 0; i < 3; i++) {
		callers[i] = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
		CALL("connect", connect(callers[i], (struct sockaddr *)address,
		                        sizeof(*address)));
	}
	memset(from, 0x5a, sizeof(*from));
	peer = (int)CALL_OPAQUE("accept4", accept4(listener, (struct sockaddr *)from,
	                                           (socklen_t *)length, SOCK_CLOEXEC));
	say("length %d", *length);
	dump("address", from, 16);
	close(peer);
	*length = 1;
	memset(from, 0x5a, sizeof(*from));
	peer = (int)CALL_OPAQUE("accept, cut", accept(listener, (struct sockaddr *)from,
	                                              (socklen_t *)length));
	say("length %d", *length);
	dump("address", from, 16);
	close(peer);
	peer = (int)CALL_OPAQUE("accept without an address", accept(listener, NULL, NULL));
	close(peer);
	MUST(fcntl(listener, F_SETFL, O_NONBLOCK));
	CALL("accept of none", accept(listener, (struct sockaddr *)from, (socklen_t *)length));
	*length = -4;
	CALL("accept of none, negative length",
	     accept(listener, (struct sockaddr *)from, (socklen_t *)length));
	for (int i = 0; i < 3; i++)
		close(callers[i]);
	close(listener);
	MUST(unlink("listener"));
}

/* ---- Options --------------------------------------------------------------------------- */

static void option_words(void)
{
	int *value = evicted_copy((int[]){ 12345, 0x5a5a5a5a, 0x5a5a5a5a }, 12);
	int *length = evicted_int(4);
	int peer = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
	CALL("set SO_RCVBUF", setsockopt(peer, SOL_SOCKET, SO_RCVBUF, value, 4));
	value[0] = -1;
	CALL("get SO_RCVBUF", getsockopt(peer, SOL_SOCKET, SO_RCVBUF, value,
	                                 (socklen_t *)length));
	say("value %d, length %d", value[0], *length);
	static const int lengths[] = { 12, 3, 1, 0, -1 };
	for (unsigned i = 0; i < 5; i++) {
		memset(value, 0x5a, 12);
		*length = lengths[i];
		CALL("get SO_TYPE", getsockopt(peer, SOL_SOCKET, SO_TYPE, value,
		                               (socklen_t *)length));
		say("length %d", *length);
		dump("value", value, 12);
		value[0] = 7;
		CALL("set SO_PRIORITY", setsockopt(peer, SOL_SOCKET, SO_PRIORITY, value,
		                                   (socklen_t)lengths[i]));
		CALL("set IP_TTL", setsockopt(peer, IPPROTO_IP, IP_TTL, value,
		                              (socklen_t)lengths[i]));
		value[0] = 0;
		*length = lengths[i];
		CALL("get IP_TTL", getsockopt(peer, IPPROTO_IP, IP_TTL, value,
		                              (socklen_t *)length));
		say("value %08x, length %d", (unsigned)value[0], *length);
	}
	*length = 4;
	CALL("get an unknown one", getsockopt(peer, SOL_SOCKET, 9999, value,
	                                      (socklen_t *)length));
	CALL("get of an unknown level", getsockopt(peer, 9999, 1, value, (socklen_t *)length));
	CALL("get of no socket", getsockopt(-1, SOL_SOCKET, SO_TYPE, BAD, BAD));
	CALL("get without a length", getsockopt(peer, SOL_SOCKET, SO_TYPE, value, BAD));
	CALL("get to nowhere", getsockopt(peer, SOL_SOCKET, SO_TYPE, BAD, (socklen_t *)length));
	CALL("set from nowhere", setsockopt(peer, SOL_SOCKET, SO_PRIORITY, BAD, 4));
	CALL("set of no socket", setsockopt(-1, SOL_SOCKET, SO_PRIORITY, BAD, 4));
	close(peer);
}

static void option_structures(void)
{
	struct linger *linger = EVICTED(struct linger);
	struct timeval *timeout = EVICTED(struct timeval);
	struct tcp_info *info = EVICTED(struct tcp_info);
	struct ucred *who = EVICTED(struct ucred);
	char *name = evicted(40);
	int *length = evicted_int(sizeof(*linger)), ends[2];
	int peer = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
	*linger = (struct linger){ 1, 17 };
	CALL("set SO_LINGER", setsockopt(peer, SOL_SOCKET, SO_LINGER, linger, sizeof(*linger)));
	memset(linger, 0, sizeof(*linger));
	CALL("get SO_LINGER", getsockopt(peer, SOL_SOCKET, SO_LINGER, linger,
	                                 (socklen_t *)length));
	say("linger %d %d, length %d", linger->l_onoff, linger->l_linger, *length);
	CALL("set SO_LINGER, too short", setsockopt(peer, SOL_SOCKET, SO_LINGER, linger, 4));
	*length = sizeof(*info);
	CALL("get TCP_INFO", getsockopt(peer, IPPROTO_TCP, TCP_INFO, info, (socklen_t *)length));
	say("state %d, length %d", info->tcpi_state, *length);
	*length = 40;
	memset(name, 0x5a, 40);
	CALL("get TCP_CONGESTION", getsockopt(peer, IPPROTO_TCP, TCP_CONGESTION, name,
	                                      (socklen_t *)length));
	dump("name", name, 40);
	CALL("set TCP_CONGESTION", setsockopt(peer, IPPROTO_TCP, TCP_CONGESTION, name,
	                                      (socklen_t)strnlen(name, 40)));
	strcpy(name, "unheard-of");
	CALL("set an unknown one", setsockopt(peer, IPPROTO_TCP, TCP_CONGESTION, name, 10));
	strcpy(name, "lo");
	close(peer);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	timeout->tv_usec = 20000;
	CALL("set SO_RCVTIMEO", setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, timeout,
	                                   sizeof(*timeout)));
	CALL("recv that times out", recv(ends[0], name, 10, 0));
	*length = sizeof(*who);
	CALL("get SO_PEERCRED", getsockopt(ends[0], SOL_SOCKET, SO_PEERCRED, who,
	                                   (socklen_t *)length));
	check("the peer", who->pid == getpid() && who->uid == getuid() && *length == 12);
	close(ends[0]);
	close(ends[1]);
}

/* A structure with a pointer to an array. */
static void option_filter(void)
{
	struct sock_fprog *program = EVICTED(struct sock_fprog);
	struct sock_filter *code = EVICTED_ARRAY(struct sock_filter, 2);
	char *buffer = evicted(100);
	int ends[2];
	datagram_pair(ends);
	code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0);
	code[1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 5);
	program->len = 2;
	program->filter = code;
	CALL("SO_ATTACH_FILTER", setsockopt(ends[1], SOL_SOCKET, SO_ATTACH_FILTER, program,
	                                    sizeof(*program)));
	MUST(send(ends[0], "more than five", 14, 0));
	CALL("recv of what it leaves", recv(ends[1], buffer, 100, 0));
	program->len = 0;
	CALL("an empty filter", setsockopt(ends[1], SOL_SOCKET, SO_ATTACH_FILTER, program,
	                                   sizeof(*program)));
	program->len = 2;
	program->filter = unmapped();
	CALL("a filter that is not there", setsockopt(ends[1], SOL_SOCKET, SO_ATTACH_FILTER,
	                                              program, sizeof(*program)));
	CALL("too short a structure", setsockopt(ends[1], SOL_SOCKET, SO_ATTACH_FILTER, program,
	                                         8));
	close(ends[0]);
	close(ends[1]);
}

const struct call_case socket_cases[] = {
	CASE(recv_sizes),
	CASE(recv_many),
	CASE(send_sizes),
	CASE(recv_cut),
	CASE(stream_waitall),
	CASE(stream_send),
	CASE(unix_addresses),
	CASE(inet_addresses),
	CASE(accept_addresses),
	CASE(option_words),
	CASE(option_structures),
	CASE(option_filter),
	{ 0 },
};
