/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_crowd.h - all the mappings that the host allows a process
 */
#ifndef UPAGE_TESTS_SUPPORT_CROWD_H
#define UPAGE_TESTS_SUPPORT_CROWD_H

#include <sys/mman.h>

#include "support.h"

/* Mappings of the test's own, until the host has no more for this process. They take neither memory nor promises of it. */
struct crowd {
	char *pages;
	size_t length;
	char *last[4];
};

/* Return: whether there is a limit that can be met. */
static inline bool crowd_begin(struct crowd *crowd)
{
	size_t most = (size_t)1 << 20, i = 1;
	*crowd = (struct crowd){ .length = 2 * most * PAGE };
	crowd->pages = mmap(NULL, crowd->length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (crowd->pages == MAP_FAILED)
		return false;
	while (i < 2 * most && mprotect(crowd->pages + i * PAGE, PAGE, PROT_READ) == 0)
		i += 2;
	for (i = 0; i < LENGTH(crowd->last); i++) {
		crowd->last[i] = mmap(NULL, PAGE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (crowd->last[i] == MAP_FAILED)
			return true;
	}
	return false;
}

static inline void crowd_end(struct crowd *crowd)
{
	if (crowd->pages != MAP_FAILED)
		munmap(crowd->pages, crowd->length);
	for (size_t i = 0; i < LENGTH(crowd->last) && crowd->last[i] != MAP_FAILED; i++)
		munmap(crowd->last[i], PAGE);
}

#endif
