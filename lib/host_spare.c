/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host_spare.c - spare mappings: given up when the host has no more, so that room can be made
 *
 * A process that has as many mappings as the host allows is refused not only more of them: mmap fails whatever it
 * replaces, and a page can no longer be hidden, since that cuts the mapping that it is in. What would make room takes
 * some itself.
 *
 * So there is a reservation in which every other page may be read, which nobody does: each is a mapping, and so is what
 * lies between it and the next. To give one up is to take its protection back; the host joins it with its neighbours
 * then, whatever the process has. Two mappings go by that, which is what a page that is shown alone takes.
 *
 * Locks: none. A bit says that a spare is laid; who gives it up clears the bit first, who lays it sets it last. Where
 * two do that at once with one spare it may be laid in name only: giving it up gains nothing, and the next one is.
 * Signal context: yes.
 */
#include <errno.h>

#include "host.h"
#include "syscall.h"

/* What one call may need. mremap(2) takes seven at the most, mprotect(2) in the middle of a mapping three. */
#define GIVEN_MAX 4

#define ALL ((UINT32_C(1) << HOST_SPARES) - 1)

_Atomic uint64_t host_spares_from;

static _Atomic uintptr_t reservation;
static _Atomic uint32_t laid; /* a bit each */

static int set_protection(unsigned spare, int prot)
{
	uintptr_t page = atomic_load(&reservation) + (2 * spare + 1) * HOST_PAGE_SIZE;
	return (int)syscall_3(SYS_mprotect, page, HOST_PAGE_SIZE, prot);
}

static bool give_up_one(void)
{
	uint32_t before = atomic_load(&laid);
	do {
		if (before == 0)
			return false;
	} while (!atomic_compare_exchange_weak(&laid, &before, before & (before - 1)));
	atomic_store(&host_spares_from, 0);
	return set_protection((unsigned)__builtin_ctz(before), PROT_NONE) == 0;
}

static bool reserve(void)
{
	const size_t bytes = (2 * (HOST_SPARES + 1) + 1) * HOST_PAGE_SIZE; /* one more: host_has_mappings() */
	uintptr_t start = 0;
	long made = syscall_6(SYS_mmap, 0, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (made < 0 && made > -4096)
		return false;
	if (!atomic_compare_exchange_strong(&reservation, &start, (uintptr_t)made))
		syscall_2(SYS_munmap, made, bytes);
	return true;
}

bool host_spares_lay(void)
{
	if (atomic_load(&reservation) == 0 && !reserve())
		return false;
	for (uint32_t missing; (missing = ALL & ~atomic_load(&laid)) != 0;) {
		if (set_protection((unsigned)__builtin_ctz(missing), PROT_READ) < 0)
			return false;
		atomic_fetch_or(&laid, missing & -missing);
	}
	atomic_store(&host_spares_from, UINT64_MAX);
	if (atomic_load(&laid) != ALL) /* one was given up just now */
		atomic_store(&host_spares_from, 0);
	return true;
}

bool host_has_mappings(void)
{
	return host_spares_lay() && set_protection(HOST_SPARES, PROT_READ) == 0 &&
	       set_protection(HOST_SPARES, PROT_NONE) == 0;
}

long host_mapping_call(long number, long a, long b, long c, long d, long e, long f)
{
	unsigned given = 0;
	long result;
	do {
		result = syscall_6(number, a, b, c, d, e, f);
	} while (result == -ENOMEM && given++ < GIVEN_MAX && give_up_one());
	return result;
}
