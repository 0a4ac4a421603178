/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "request.h"

#include <string.h>

static int begin(struct guest_bounce *bounce, struct guest_call *call,
                 const struct request_pointer *line)
{
	const void *theirs = (const void *)call->argument[line->argument];
	switch (line->how) {
	case REQUEST_STRING:
		return bounce_begin_string(bounce, call, theirs, line->size);
	case REQUEST_IN_LENGTH:
		return bounce_begin(bounce, call, theirs, (size_t)call->argument[line->size],
		                    BOUNCE_IN);
	case REQUEST_OUT_LENGTH:
		return bounce_begin_bounded(bounce, call, theirs,
		                            (size_t)call->argument[line->size], BOUNCE_OUT);
	default:
		return bounce_begin(bounce, call, theirs, line->size, (enum bounce_how)line->how);
	}
}

long request_execute(struct guest_call *call, const struct request_pointer *table, size_t lines,
                     uint32_t request)
{
	struct guest_bounce bounces[REQUEST_POINTERS_MAX];
	size_t count = 0;
	long a[6];
	memcpy(a, call->argument, sizeof(a));
	for (size_t i = 0; i < lines && count < REQUEST_POINTERS_MAX; i++) {
		if (table[i].request != request || table[i].how == REQUEST_VALUE)
			continue;
		if (begin(&bounces[count], call, &table[i]) < 0)
			return -ENOMEM;
		a[table[i].argument] = (long)bounces[count++].ours;
	}
	long result = guest_execute(call, call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
	while (count > 0)
		result = bounce_end(&bounces[--count], result);
	return result;
}

long request_replace(struct guest_call *call, unsigned argument, const void *ours)
{
	long a[6];
	memcpy(a, call->argument, sizeof(a));
	a[argument] = (long)ours;
	return guest_execute(call, call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

long request_bounce(struct guest_call *call, unsigned argument, size_t length, enum bounce_how how)
{
	struct guest_bounce bounce;
	if (bounce_begin(&bounce, call, (const void *)call->argument[argument], length, how) < 0)
		return -ENOMEM;
	return bounce_end(&bounce, request_replace(call, argument, bounce.ours));
}
