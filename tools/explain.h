/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * explain.h - the arithmetic of a translation, step by step, as a student would do it
 */
#ifndef UPAGE_EXPLAIN_H
#define UPAGE_EXPLAIN_H

#include "machine.h"

/* Prints the steps for one address, each on an indented line; numbers in hexadecimal if @hex. */
void explain(const struct machine *machine, uint64_t address, int access, bool hex);

#endif
