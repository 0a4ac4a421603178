/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host_spare.c - spare mappings: given up when the host has no more, so that room can be made
 *
 * A process that has as many mappings as the host allows is refused not only more of them: mmap fails whatever it
 * replaces, and a page can no longer be hidden, since that cuts the mapping that it is in. What would make room takes
 * some itself.
 *
 * So there are a few that nobody needs: pages anywhere, each a mapping, since it is shared with nobody but children and
 * so the host joins it with none. What takes one there takes exactly one, which a program's own mmap could, too; it is
 * given up by munmap, which the host never refuses of a whole mapping.
 *
 * A call of ours may free mappings, as what hides pages does: missing spares are laid again from those at once, before
 * anybody else has them. So what pages and spares have together becomes less only while all spares are laid, or if
 * another thread takes some just between two calls: no call gives up mappings here and takes them there.
 *
 * Locks: none. Who takes an address out of its place has the spare. Signal context: yes.
 */
#include <errno.h>

#include "host.h"
#include "syscall.h"

/* What one call may need. mremap(2) takes seven at the most, mprotect(2) in the middle of a mapping three. */
#define CALL_NEEDS 8
#define FOR_HIDING 4 /* of two threads at once: with none left nothing can be hidden, nor shown any more */

_Atomic uint64_t host_spares_from;

static _Atomic uintptr_t spares[HOST_SPARES]; /* 0: missing */
static _Atomic bool begun;

/* Return: 0: the host refuses. */
static uintptr_t lay_one(void)
{
	long made = syscall_6(SYS_mmap, 0, HOST_PAGE_SIZE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return made < 0 && made > -4096 ? 0 : (uintptr_t)made;
}

static void give_up(uintptr_t spare)
{
	syscall_2(SYS_munmap, spare, HOST_PAGE_SIZE);
}

static bool give_up_one(unsigned first)
{
	for (unsigned i = first; i < HOST_SPARES; i++) {
		uintptr_t spare = atomic_load_explicit(&spares[i], memory_order_relaxed);
		if (spare == 0 || !atomic_compare_exchange_strong(&spares[i], &spare, 0))
			continue;
		atomic_store(&host_spares_from, 0);
		give_up(spare);
		return true;
	}
	return false;
}

bool host_spares_lay(void)
{
	atomic_store(&begun, true);
	atomic_store(&host_spares_from, UINT64_MAX); /* unless one is given up meanwhile */
	for (unsigned i = 0; i < HOST_SPARES; i++) {
		uintptr_t missing = 0;
		if (atomic_load_explicit(&spares[i], memory_order_relaxed) != 0)
			continue;
		uintptr_t spare = lay_one();
		if (spare == 0) {
			atomic_store(&host_spares_from, 0);
			return false;
		}
		if (!atomic_compare_exchange_strong(&spares[i], &missing, spare))
			give_up(spare); /* another thread has laid it just now */
	}
	return true;
}

unsigned host_spares_left(void)
{
	unsigned left = 0;
	for (unsigned i = 0; i < HOST_SPARES; i++)
		left += atomic_load_explicit(&spares[i], memory_order_relaxed) != 0;
	return left;
}

bool host_has_mappings(void)
{
	uintptr_t more[CALL_NEEDS];
	unsigned n = 0;
	if (!host_spares_lay())
		return false;
	while (n < CALL_NEEDS && (more[n] = lay_one()) != 0)
		n++;
	for (unsigned i = 0; i < n; i++)
		give_up(more[i]);
	return n == CALL_NEEDS;
}

/* Spares below @first are not given up for it. */
static long call(unsigned first, long number, const long *argument)
{
	unsigned given = 0;
	long result;
	do {
		result = syscall_6(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
	} while (result == -ENOMEM && given++ < CALL_NEEDS && give_up_one(first));
	if (host_spares_are_wanted(0) && atomic_load(&begun))
		host_spares_lay();
	return result;
}

long host_mapping_call(long number, long a, long b, long c, long d, long e, long f)
{
	return call(FOR_HIDING, number, (const long[]){ a, b, c, d, e, f });
}

long host_hiding_call(long number, long a, long b, long c, long d, long e, long f)
{
	return call(0, number, (const long[]){ a, b, c, d, e, f });
}
