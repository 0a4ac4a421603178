/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate.h - address translation: an offset into a space -> a physical address, or why not
 *
 * The interface that base/bounds, segments and page tables stand behind. A translation is
 * pure: it makes no system call and takes no lock, so that the page-fault path, the unit
 * tests and a calculator without any memory behind it run the same code.
 *
 * Signal context: yes. Source: OSTEP ch. 15, 16, 18, 20.
 */
#ifndef UPAGE_TRANSLATE_H
#define UPAGE_TRANSLATE_H

#include <stdint.h>

#include "upage.h"

struct translator;

struct translator_ops {
	const char *name;
	/* @address: bytes from the space's start; @access: PROT_* bits, at least one.
	 * *physical is written only for UPAGE_CAUSE_NONE. */
	enum upage_cause (*translate)(const struct translator *, uint64_t address, int access,
	                              uint64_t *physical);
};

/* First member of what implements it. */
struct translator {
	const struct translator_ops *ops;
};

/* The check of protection, exact: where a machine has no memory that may be written or executed
 * but not read, @prot has PROT_READ too (effective_prot). */
static inline enum upage_cause translate_check(int prot, int access)
{
	return (access & ~prot) == 0 ? UPAGE_CAUSE_NONE : UPAGE_CAUSE_PROTECTION;
}

static inline enum upage_cause translate(const struct translator *translator, uint64_t address,
                                         int access, uint64_t *physical)
{
	return translator->ops->translate(translator, address, access, physical);
}

#endif
