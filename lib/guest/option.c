/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * option.c - getsockopt(2) and setsockopt(2)
 *
 * Options are memory of a length that the program says. A few have pointers in them, and a few
 * would let the kernel use the program's pages after the call: those are refused.
 *
 * Locks: none. Signal context: that of guest/call.h. Source: net/socket.c, net/core/sock.c.
 */
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "handlers.h"
#include "request.h"
#include "syscall.h"
#include "vector.h"

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
#ifndef TCP_ZEROCOPY_RECEIVE
#define TCP_ZEROCOPY_RECEIVE 35
#endif
#define XDP_LEVEL 283         /* SOL_XDP */
#define XDP_MEMORY 4          /* XDP_UMEM_REG */
#define IP_LEVEL 0            /* SOL_IP */
#define IPV6_LEVEL 41         /* SOL_IPV6 */
#define PACKET_LEVEL 263      /* SOL_PACKET */

/* ---- getsockopt --------------------------------------------------------------------------- */

/* Bytes of an option of a length that is not negative: filters are counted in instructions. */
static size_t option_bytes(int level, int option, int length)
{
	bool filter = level == SOL_SOCKET && option == SO_GET_FILTER;
	size_t bytes = (size_t)length * (filter ? sizeof(struct sock_filter) : 1);
	return bytes < BOUNCE_MAX ? bytes : BOUNCE_MAX;
}

/* As a kernel without it: it maps the pages that it received over the program's. */
static long refuse_zerocopy(const struct guest_call *call)
{
	int type, length = sizeof(type);
	long result = syscall_6(SYS_getsockopt, call->argument[0], SOL_SOCKET, SO_TYPE, (long)&type,
	                        (long)&length, 0);
	return result < 0 ? result : -ENOPROTOOPT;
}

long guest_getsockopt(struct guest_call *call)
{
	const long *a = call->argument;
	int level = (int)a[1], option = (int)a[2], given;
	char *theirs = (char *)a[3], *ours = theirs;
	int *length = (int *)a[4];
	if (level == IPPROTO_TCP && option == TCP_ZEROCOPY_RECEIVE)
		return refuse_zerocopy(call);
	if (guest_copy_in(&given, length, sizeof(given)) != 0)
		return guest_hand_on(call);
	size_t room = given > 0 ? option_bytes(level, option, given) : 0;
	if (!guest_is_paged(theirs, room) && !guest_is_paged(length, sizeof(given)))
		return guest_hand_on(call);
	if (guest_is_paged(theirs, room) && guest_accessible(theirs, room, PROT_WRITE) > 0) {
		ours = guest_buffer(call, room);
		if (ours == NULL)
			return -ENOMEM;
		/* Some options read what is there, and some pass over a part of it. */
		size_t missing = guest_copy_in(ours, theirs, room);
		memset(ours + room - missing, 0, missing);
	}
	given = given < (int)BOUNCE_MAX ? given : (int)BOUNCE_MAX;
	int after = given;
	long result = guest_execute(call, call->number, a[0], a[1], a[2], (long)ours, (long)&after,
	                            0);
	if (result == GUEST_RESTART)
		return result;
	if (result >= 0 && ours != theirs) {
		size_t used = after > 0 ? option_bytes(level, option, after) : 0;
		if (guest_copy_out(theirs, ours, used < room ? used : room) != 0)
			return -EFAULT;
	}
	/* Some failures store the length that was needed. */
	if ((result >= 0 || after != given) && guest_copy_out(length, &after, sizeof(after)) != 0)
		return -EFAULT;
	return result;
}

/* ---- setsockopt --------------------------------------------------------------------------- */

/* A filter in the old language: a length and a pointer. */
static long set_filter(struct guest_call *call)
{
	struct sock_fprog program;
	struct guest_bounce filter;
	if (call->argument[4] != (long)sizeof(program) ||
	    guest_copy_in(&program, (void *)call->argument[3], sizeof(program)) != 0)
		return request_bounce(call, 3, (size_t)(unsigned)call->argument[4], BOUNCE_IN);
	if (bounce_begin(&filter, call, program.filter, program.len * sizeof(*program.filter),
	                 BOUNCE_IN) < 0)
		return -ENOMEM;
	program.filter = (struct sock_filter *)(void *)filter.ours;
	return request_replace(call, 3, &program);
}

/* A table of packet rules: the kernel stores the counters of the old one where it says. */
static long set_table(struct guest_call *call)
{
	struct guest_bounce table, counters;
	size_t length = (size_t)(unsigned)call->argument[4];
	struct ipt_replace *replace;
	if (length < sizeof(*replace))
		return request_bounce(call, 3, length, BOUNCE_IN);
	if (bounce_begin(&table, call, (void *)call->argument[3], length, BOUNCE_IN) < 0)
		return -ENOMEM;
	struct ipt_replace header;
	if (guest_copy_in(&header, table.ours, sizeof(header)) != 0)
		return guest_hand_on(call);
	if (bounce_begin(&counters, call, header.counters,
	                 header.num_counters * sizeof(*header.counters), BOUNCE_OUT) < 0)
		return -ENOMEM;
	if (counters.ours == counters.theirs)
		return request_replace(call, 3, table.ours);
	if (table.ours == table.theirs) {
		table.ours = guest_buffer(call, length);
		if (table.ours == NULL)
			return -ENOMEM;
		if (guest_copy_in(table.ours, table.theirs, length) != 0)
			return guest_hand_on(call);
	}
	replace = (struct ipt_replace *)(void *)table.ours;
	replace->counters = (struct xt_counters *)(void *)counters.ours;
	return bounce_end(&counters, request_replace(call, 3, table.ours));
}

/* Pages must not be sent after the call. Off is what it is then: the kernel checks the rest. */
static long set_zerocopy(struct guest_call *call)
{
	int value = 0, off = 0;
	if ((int)call->argument[4] < (int)sizeof(value) ||
	    guest_copy_in(&value, (void *)call->argument[3], sizeof(value)) != 0)
		return guest_hand_on(call);
	long result = request_replace(call, 3, &off);
	return result == 0 && value != 0 ? -EOPNOTSUPP : result;
}

/* More than most options have. */
#define OPTION_BYTES ((size_t)64)

/* A flat option. Of a length that is too long for it, and for the memory, the kernel reads only
 * the beginning. */
static long set_option(struct guest_call *call, const void *theirs, size_t length)
{
	if (length > BOUNCE_MAX || !guest_is_paged(theirs, length))
		return guest_hand_on(call);
	char *ours = guest_buffer(call, length);
	if (ours == NULL)
		return -ENOMEM;
	size_t missing = guest_copy_in(ours, theirs, length);
	if (missing != 0 && length - missing < OPTION_BYTES)
		return guest_hand_on(call);
	memset(ours + length - missing, 0, missing);
	return request_replace(call, 3, ours);
}

long guest_setsockopt(struct guest_call *call)
{
	const long *a = call->argument;
	int level = (int)a[1], option = (int)a[2];
	if (level == SOL_SOCKET && option == SO_ZEROCOPY)
		return set_zerocopy(call);
	if ((level == SOL_SOCKET && option == SO_ATTACH_FILTER) ||
	    (level == SOL_SOCKET && option == SO_ATTACH_REUSEPORT_CBPF) ||
	    (level == PACKET_LEVEL && option == PACKET_FANOUT_DATA))
		return set_filter(call);
	if ((level == IP_LEVEL || level == IPV6_LEVEL) && option == IPT_SO_SET_REPLACE)
		return set_table(call);
	if (level == XDP_LEVEL && option == XDP_MEMORY) {
		uint64_t address = 0;
		guest_copy_in(&address, (void *)a[3], sizeof(address));
		if (guest_is_paged((void *)address, 1))
			return -ENOPROTOOPT; /* the kernel's own memory for packets to come */
	}
	return set_option(call, (void *)a[3], (int)a[4] > 0 ? (size_t)(int)a[4] : 0);
}
