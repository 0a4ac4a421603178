/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "patch.h"

#include <string.h>
#include <sys/mman.h>

#include "call.h"
#include "direct.h"
#include "host.h"
#include "options.h"
#include "space.h"
#include "table.h"
#include "whole.h"

#define STUBS 512
#define TRAPS 32 /* at a place, before it is patched: that costs as much as ten to twenty */

_Atomic bool patch_is_on;

static struct lock lock;
static struct direct_stub *stubs; /* [STUBS] */
static unsigned stubs_used;

/* Places that trapped, each in the word that its address says, until another one is there:
 *
 *     |  address behind the instruction, 45 bits  |  number, 10 bits  |  traps, 9 bits  |          */
static _Atomic uint64_t places[256];
#define TRAPS_BITS 9
#define NUMBER_BITS 10

void patch_begin(upage_pool *pool)
{
	void *base;
	const size_t bytes = STUBS * sizeof(*stubs);
	struct mappings *all = &whole_space->mappings;
	uintptr_t start = whole_layout.mappings - bytes;
	if (strcmp(pool->config.patch, "on") != 0 || !space_is_paged(whole_space) ||
	    !direct_start((struct direct_stub *)start, STUBS) ||
	    host_reserve((void *)start, bytes, &base) < 0)
		return;
	space_write(whole_space);
	all->kept = start;
	all->kept_end = start + bytes;
	space_write_end(whole_space);
	stubs = base;
	atomic_store(&patch_is_on, true);
}

/* ---- Whether ------------------------------------------------------------------------------------ */

/* Whether b8 and four bytes behind @before, which were followed by a system call of their number, are
 * an instruction of their own. With another one before them, b8 is where that names a register and
 * their number is added to it, or to two: such an instruction would have had to reference what
 * lies at the number of a call, and trapped. Unless it references nothing: lea, and the long nops. And
 * with a prefix of those that choose registers they are another instruction. */
static bool is_instruction(unsigned char before)
{
	bool prefix = (before & 0xf0) == 0x40 || before == 0x66 || before == 0x67 ||
	              before == 0xf2 || before == 0xf3 || before == 0xd5 || before == 0x62;
	bool segment = before == 0x2e || before == 0x36 || before == 0x3e || before == 0x26 ||
	               before == 0x64 || before == 0x65;
	bool no_reference = before == 0x8d || (before >= 0x18 && before <= 0x1f) || before == 0x0d;
	bool two_registers = (before & 0xc7) == 0x84; /* the byte before the one that names them */
	return !prefix && !segment && !no_reference && !two_registers;
}

static bool is_meant(uintptr_t site, long number)
{
	unsigned char code[1 + DIRECT_SITE_BYTES + SYSCALL_BYTES];
	uint32_t said;
	if ((site - 1) / HOST_PAGE_SIZE != (site + sizeof(code) - 2) / HOST_PAGE_SIZE ||
	    !whole_has(site - 1, sizeof(code)) || guest_copy_in(code, (const void *)(site - 1), sizeof(code)) != 0)
		return false;
	memcpy(&said, code + 2, sizeof(said));
	return code[1] == 0xb8 && said == (uint32_t)number && code[6] == 0x0f && code[7] == 0x05 &&
	       is_instruction(code[0]) && guest_table_is_direct(number);
}

static bool is_ample(void)
{
	const struct frame_table *frames = &whole_space->pool->frames;
	return atomic_load(&frames->free) > frames->frames / 8;
}

/* ---- Patching ----------------------------------------------------------------------------------- */

/* One that is there already: the program may have had the same code there before. */
static struct direct_stub *stub_of(uintptr_t site, long number)
{
	for (unsigned i = 0; i < stubs_used; i++)
		if (stubs[i].site == site && stubs[i].number == number)
			return &stubs[i];
	if (stubs_used == STUBS)
		return NULL;
	struct direct_stub *stub = &stubs[stubs_used];
	uintptr_t page = host_page_down((uintptr_t)stub);
	if (host_protect(page, HOST_PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
		return NULL;
	direct_make_stub(stub, site, number);
	stubs_used++;
	return host_protect(page, HOST_PAGE_SIZE, PROT_READ | PROT_EXEC) == 0 ? stub : NULL;
}

static void patch(uintptr_t site, long number)
{
	unsigned char before[DIRECT_SITE_BYTES], after[DIRECT_SITE_BYTES];
	struct direct_stub *stub = stub_of(site, number);
	if (stub != NULL && direct_site(stub, before, after) &&
	    space_change_code(whole_space, site, PROT_WRITE, before, after, sizeof(after)) == 0)
		stats_count(whole_space->pool->stats, COUNT_PATCHED);
}

void patch_count(uintptr_t back, long number)
{
	const uint64_t traps = (1u << TRAPS_BITS) - 1;
	const uint64_t place = (uint64_t)back << (NUMBER_BITS + TRAPS_BITS) | (uint64_t)number << TRAPS_BITS;
	_Atomic uint64_t *word = &places[(back ^ back >> 8) % (sizeof(places) / sizeof(places[0]))];
	uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
	if (number < 0 || number >> NUMBER_BITS != 0 || back >= WHOLE_END)
		return;
	seen = (seen & ~traps) == place ? seen + 1 : place + 1;
	bool often = (seen & traps) == TRAPS;
	atomic_store_explicit(word, often ? place : seen, memory_order_relaxed);
	uintptr_t site = back - SYSCALL_BYTES - DIRECT_SITE_BYTES;
	if (!often || !is_meant(site, number) || !is_ample() || !lock_try(&lock))
		return;
	patch(site, number);
	lock_release(&lock);
}

int patch_hold(uintptr_t start, uintptr_t end)
{
	int result = 0;
	if (!patch_is_on)
		return 0;
	lock_acquire(&lock);
	for (unsigned i = 0; i < stubs_used && result == 0; i++) {
		unsigned char before[DIRECT_SITE_BYTES], after[DIRECT_SITE_BYTES];
		if (stubs[i].site < start || stubs[i].site >= end)
			continue;
		direct_site(&stubs[i], before, after);
		result = space_change_code(whole_space, stubs[i].site, 0, after, before, sizeof(after));
		result = result == UPAGE_EBUSY ? 0 : result; /* it is not there */
	}
	if (result < 0)
		lock_release(&lock);
	return result < 0 ? -ENOMEM : 0;
}

void patch_release(void)
{
	if (patch_is_on)
		lock_release(&lock);
}

void patch_fork_child(void)
{
	lock = (struct lock){ 0 };
}
