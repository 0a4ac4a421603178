/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.h - the one parser of the words of UPAGE_OPTIONS and of the command line
 *
 * Signal context: no.
 */
#ifndef UPAGE_OPTIONS_H
#define UPAGE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "upage.h"

/* "4096", "64K", "16M", "2G", "1T". Return: 0, or UPAGE_EOPTION (*bytes unchanged). */
int options_size(const char *text, uint64_t *bytes);

/* Takes one word, "name=value" or "name". Return: 0, or UPAGE_EOPTION and config->message. */
int options_word(struct upage_config *config, const char *word);

/* The most pages that one fault may bring in; 0: the value of `prefetch` is none. */
#define PREFETCH_AUTO 256
unsigned options_prefetch(const struct upage_config *config);

/* Threads that evict and zero ahead of need; more than RECLAIMERS_MAX: the value of `reclaimers` is none. */
#define RECLAIMERS_AUTO 0
#if defined(__x86_64__)
#define RECLAIMERS_MAX 8
#else
#define RECLAIMERS_MAX 0 /* gate.h has no clone there */
#endif
unsigned options_reclaimers(const struct upage_config *config);

/* What `scheme` says. */
enum upage_scheme options_scheme(const struct upage_config *config);
const char *options_scheme_name(enum upage_scheme scheme);

/* What `store` and `direct` say. Return: 0, or UPAGE_EOPTION: there is no such store. */
struct store_choice {
	bool lz4, direct;
	char path[sizeof(((struct upage_config *)0)->store)]; /* of a file; "": none was named */
};
int options_store(const struct upage_config *config, struct store_choice *out);

/* Checks what parsing one word alone cannot. Return: 0 or an error, and config->message. */
int options_check(struct upage_config *config);

/* What there is to @name, without dashes and value. */
enum option_form { OPTION_UNKNOWN, OPTION_FLAG, OPTION_WITH_VALUE };
enum option_form options_form(const char *name);

#endif
