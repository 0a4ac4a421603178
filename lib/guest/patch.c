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
	if (strcmp(pool->config.patch, "off") == 0 || !space_is_paged(whole_space) ||
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

/* What stands before `0f 05` where places are patched. glibc's read(2) has no number to load: it clears
 * eax, by two bytes, for which there is no jump. What is replaced there comes before: a look at whether
 * there are threads; or where there are, the load of a register after a call. These two are known whole. */
#define ANY (-1)
#define FORM_MOST 24
static const struct form {
	short code[FORM_MOST];      /* bytes, or ANY                         */
	unsigned char length, site; /* all of them; where in it the site begins */
	bool looks;                 /* cmpb $0, somewhere(%rip); je elsewhere */
} forms[] = {
	{ { ANY, 0xb8, ANY, ANY, ANY, ANY }, 6, 1, false },
	{ { 0x80, 0x3d, ANY, ANY, ANY, ANY, 0x00, 0x74, ANY, 0x31, 0xc0 }, 11, 0, true },
	{ { 0xe8, ANY, ANY, ANY, ANY, 0x48, 0x8b, 0x54, 0x24, 0x18, 0x48, 0x8b, 0x74, 0x24, 0x10, 0x41,
	    0x89, 0xc0, 0x8b, 0x7c, 0x24, 0x08, 0x31, 0xc0 }, 24, 10, false },
};
#define FORMS (sizeof(forms) / sizeof(forms[0]))

struct call_site {
	const struct form *form;
	uintptr_t site, instruction;
	unsigned char code[FORM_MOST]; /* all of the form */
	unsigned char copied[DIRECT_COPY_BYTES];
	size_t count; /* of them */
};

static bool fits(const struct form *form, const unsigned char *code, long number)
{
	uint32_t said;
	for (unsigned i = 0; i < form->length; i++)
		if (form->code[i] != ANY && form->code[i] != code[i])
			return false;
	if (form != &forms[0])
		return number == 0;
	memcpy(&said, code + 2, sizeof(said));
	return said == (uint32_t)number && is_instruction(code[0]);
}

/* Finds what stands before the instruction that made call @number. */
static bool find_site(struct call_site *at, uintptr_t instruction, long number)
{
	unsigned char end[SYSCALL_BYTES];
	for (unsigned i = 0; i < FORMS; i++) {
		const struct form *form = &forms[i];
		uintptr_t start = instruction - form->length, site = start + form->site;
		*at = (struct call_site){ .form = form, .site = site, .instruction = instruction };
		if (whole_has(start, form->length + SYSCALL_BYTES) &&
		    site / HOST_PAGE_SIZE == (site + DIRECT_SITE_BYTES - 1) / HOST_PAGE_SIZE &&
		    guest_copy_in(at->code, (const void *)start, form->length) == 0 &&
		    guest_copy_in(end, (const void *)instruction, sizeof(end)) == 0 &&
		    memcmp(end, "\x0f\x05", sizeof(end)) == 0 && fits(form, at->code, number))
			return true;
	}
	return false;
}

/* What the stub at @to has of it. Return: whether it reaches what the program's code does. */
static bool copy_site(struct call_site *at, uintptr_t to)
{
	const unsigned char *code = at->code + at->form->site;
	const intptr_t most = INT32_MAX;
	at->count = at->form->length - at->form->site;
	memcpy(at->copied, code, at->count);
	if (!at->form->looks)
		return true;
	int32_t word, jump;
	memcpy(&word, code + 2, sizeof(word));
	intptr_t looked = word + (intptr_t)(at->site - to);
	intptr_t elsewhere = (signed char)code[8] + (intptr_t)(at->site + 9) - (intptr_t)(to + 13);
	word = (int32_t)looked;
	jump = (int32_t)elsewhere;
	memcpy(at->copied + 2, &word, sizeof(word));
	memcpy(at->copied + 7, "\x0f\x84", 2); /* je, further */
	memcpy(at->copied + 9, &jump, sizeof(jump));
	memcpy(at->copied + 13, "\x31\xc0", 2);
	at->count = 15;
	return looked <= most && looked >= -most && elsewhere <= most && elsewhere >= -most;
}

static bool is_ample(void)
{
	const struct frame_table *frames = &whole_space->pool->frames;
	return atomic_load(&frames->free) > frames->frames / 8;
}

/* ---- Patching ----------------------------------------------------------------------------------- */

static bool is_stub_of(const struct direct_stub *stub, struct call_site *at)
{
	return stub->site == at->site && stub->instruction == at->instruction &&
	       memcmp(stub->before, at->code + at->form->site, DIRECT_SITE_BYTES) == 0 &&
	       copy_site(at, (uintptr_t)stub) && stub->copied == at->count &&
	       memcmp(stub->code, at->copied, at->count) == 0;
}

/* One that is there already, for the program may have had the same code there before; or a new one. */
static struct direct_stub *stub_of(struct call_site *at)
{
	for (unsigned i = 0; i < stubs_used; i++)
		if (is_stub_of(&stubs[i], at))
			return &stubs[i];
	if (stubs_used == STUBS)
		return NULL;
	struct direct_stub *stub = &stubs[stubs_used];
	uintptr_t page = host_page_down((uintptr_t)stub);
	if (!copy_site(at, (uintptr_t)stub) ||
	    host_protect(page, HOST_PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
		return NULL;
	memcpy(stub->before, at->code + at->form->site, DIRECT_SITE_BYTES);
	direct_make_stub(stub, at->site, at->instruction, at->copied, at->count);
	stubs_used++;
	return host_protect(page, HOST_PAGE_SIZE, PROT_READ | PROT_EXEC) == 0 ? stub : NULL;
}

static void patch(struct call_site *at)
{
	unsigned char jump[DIRECT_SITE_BYTES];
	struct direct_stub *stub = stub_of(at);
	if (stub != NULL && direct_jump(stub, jump) &&
	    space_change_code(whole_space, stub->site, PROT_WRITE, stub->before, jump, sizeof(jump)) == 0)
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
	struct call_site found;
	if (!often || !guest_table_is_direct(number) || !find_site(&found, back - SYSCALL_BYTES, number) ||
	    !is_ample() || !lock_try(&lock))
		return;
	patch(&found);
	lock_release(&lock);
}

int patch_hold(uintptr_t start, uintptr_t end)
{
	int result = 0;
	if (!patch_is_on)
		return 0;
	lock_acquire(&lock);
	for (unsigned i = 0; i < stubs_used && result == 0; i++) {
		unsigned char jump[DIRECT_SITE_BYTES];
		if (stubs[i].site >= end || stubs[i].site + DIRECT_SITE_BYTES <= start)
			continue;
		direct_jump(&stubs[i], jump);
		result = space_change_code(whole_space, stubs[i].site, 0, jump, stubs[i].before, sizeof(jump));
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
