/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * request.h - the pointers of a system call whose request word decides them
 *
 * A table has a line for each pointer of each request. Requests that have none are not in it.
 *
 * Signal context: that of guest/call.h.
 */
#ifndef UPAGE_GUEST_REQUEST_H
#define UPAGE_GUEST_REQUEST_H

#include "call.h"
#include "vector.h"

enum request_how {
	REQUEST_IN = BOUNCE_IN,      /* the kernel reads `size` bytes */
	REQUEST_OUT = BOUNCE_OUT,    /* writes */
	REQUEST_BOTH = BOUNCE_BOTH,
	REQUEST_STRING,              /* reads a string of at most `size` bytes with its end */
	REQUEST_IN_LENGTH,           /* reads as many bytes as argument number `size` says */
	REQUEST_OUT_LENGTH,
	REQUEST_VALUE                /* no pointer, whatever the general rule would say */
};

struct request_pointer {
	uint32_t request;
	uint8_t argument; /* its number, from 0 */
	uint8_t how;
	uint16_t size;
};

#define REQUEST_POINTERS_MAX 4 /* of one request */

/* Carries out a call, all of whose pointers for @request are in the table. */
long request_execute(struct guest_call *call, const struct request_pointer *table, size_t lines,
                     uint32_t request);

#define REQUEST_EXECUTE(call, table, request)                                                  \
	request_execute(call, table, sizeof(table) / sizeof((table)[0]), (uint32_t)(request))

/* A call with a bounce for one of its arguments. Return: the call's result or a failure. */
long request_bounce(struct guest_call *call, unsigned argument, size_t length, enum bounce_how how);

/* The call with @ours in place of an argument. */
long request_replace(struct guest_call *call, unsigned argument, const void *ours);

#endif
