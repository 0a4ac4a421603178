/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioctl.h - what ioctl.c and its table have in common
 *
 * Signal context: that of guest/call.h.
 */
#ifndef UPAGE_GUEST_IOCTL_H
#define UPAGE_GUEST_IOCTL_H

#include "request.h"

/* The line of the table for a request; NULL: its number says what it is. */
const struct request_pointer *ioctl_find(uint32_t request);

/* A request whose argument is a string of at most @size bytes with its end. */
long ioctl_string(struct guest_call *call, size_t size);

#endif
