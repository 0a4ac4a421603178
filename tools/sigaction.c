/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sigaction.c - sigaction(2) as it is, for libsigsegv
 *
 * A C library's may do more: musl's opens signals 33 and 34, with which it cancels threads, when it
 * installs the first handler. To the program that this command is executed for they are signals as
 * others, and it may have left them blocked, and pending.
 */
#include "signals.h"

#include <stddef.h>

#include "gate.h"

int sigaction(int number, const struct sigaction *restrict action, struct sigaction *restrict old)
{
	struct host_action wanted, before;
	signals_get_action(number, &before);
	if (old != NULL)
		signals_from_host(&before, old);
	if (action != NULL) {
		signals_to_host(action, &wanted);
		wanted.flags |= SA_RESTORER;
		wanted.restorer = (void *)gate_restorer;
		signals_set_action(number, &wanted);
	}
	return 0;
}
