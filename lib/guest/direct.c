/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "direct.h"

#include <cpuid.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>

#include "call.h"
#include "compiler.h"
#include "signal_frame.h"

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1UL << 1)
#endif

/* On the region's stack, at its upper end. */
struct direct_frame {
	long flags;
	long argument[6];
	long unused;
	_Alignas(64) char state[2560]; /* of the parts that direct.S names, each as large as it can be */
};
#define FRAME_ROOM ((uintptr_t)4096)

/* direct.S has these numbers. */
#define AT(field, place)                                                                          \
	_Static_assert(offsetof(struct guest_thread, field) == (place), "direct.S")
AT(caught, 0);
AT(direct.self, 8);
AT(direct.check, 16);
AT(direct.stack, 24);
AT(direct.sp, 32);
AT(direct.result, 40);
AT(direct.back, 48);
AT(direct.number, 56);
AT(direct.by_trap, 60);
_Static_assert(offsetof(struct direct_frame, argument) == 8, "direct.S");
_Static_assert(offsetof(struct direct_frame, state) == 64, "direct.S");
_Static_assert(sizeof(struct direct_stub) == 128, "a power of two");

void direct_enter(void);
extern const char direct_trap[], direct_trap_end[];

/* What no GS of a program's has beside an address that it is less: it fits into an instruction. */
#define MAGIC 0x55504147

static uintptr_t stubs_start;
static size_t stubs_bytes;

/* ---- Stubs ------------------------------------------------------------------------------------- */

static unsigned char *put(unsigned char *to, const char *bytes, size_t count)
{
	memcpy(to, bytes, count);
	return to + count;
}

static unsigned char *put_32(unsigned char *to, uintptr_t value)
{
	const uint32_t low = (uint32_t)value;
	memcpy(to, &low, sizeof(low));
	return to + sizeof(low);
}

/* Once eax is set, nothing changes the flags, and only rcx and r11 are used, until rsp is the region's. */
void direct_make_stub(struct direct_stub *stub, uintptr_t site, uintptr_t instruction,
                      const unsigned char *copied, size_t count)
{
	const uintptr_t back = instruction + SYSCALL_BYTES;
	unsigned char *to = put(stub->code, (const char *)copied, count);
	to = put(to, "\xf3\x48\x0f\xae\xc1", 5);                 /* rdfsbase %rcx              */
	to = put(to, "\x65\x4c\x8b\x1c\x25\x10\0\0\0", 9);         /* mov %gs:16, %r11           */
	to = put_32(put(to, "\x4a\x8d\x8c\x19", 4), -(uintptr_t)MAGIC); /* lea -MAGIC(%rcx,%r11), %rcx */
	to = put(to, "\xe3\x05", 2);                               /* jrcxz 1f                   */
	to = put(to, "\xe9", 1);
	to = put_32(to, instruction - (uintptr_t)(to + 4));        /* jmp instruction            */
	to = put(to, "\x48\x8d\x0d", 3);
	to = put_32(to, back - (uintptr_t)(to + 4));               /* 1: lea back(%rip), %rcx    */
	to = put(to, "\x65\x48\x89\x24\x25\x20\0\0\0", 9);         /* mov %rsp, %gs:32           */
	to = put(to, "\x65\x48\x8b\x24\x25\x18\0\0\0", 9);         /* mov %gs:24, %rsp           */
	to = put(to, "\xff\x25", 2);
	to = put_32(to, (uintptr_t)&stub->enter - (uintptr_t)(to + 4)); /* jmp *enter(%rip)      */
	memset(to, 0xcc, (size_t)(stub->code + sizeof(stub->code) - to));
	stub->enter = direct_enter;
	stub->copied = (unsigned char)count;
	stub->longer = (unsigned char)(count - (instruction - site));
	stub->instruction = instruction;
	stub->site = site;
}

bool direct_jump(const struct direct_stub *stub, unsigned char jump[DIRECT_SITE_BYTES])
{
	const intptr_t near = (intptr_t)1 << 30; /* of all of the stub */
	intptr_t distance = (intptr_t)((uintptr_t)stub - (stub->site + DIRECT_SITE_BYTES));
	jump[0] = 0xe9;
	put_32(jump + 1, (uintptr_t)distance);
	return distance > -near && distance < near;
}

/* ---- Threads ------------------------------------------------------------------------------------ */

/* Saves parts of the state in a row, and none that is not in use. */
static bool has_xsavec(void)
{
	unsigned a, b, c, d;
	return __get_cpuid_count(0xd, 1, &a, &b, &c, &d) && (a & 2);
}

bool direct_start(struct direct_stub *stubs, size_t count)
{
	if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) || !has_xsavec())
		return false;
	stubs_start = (uintptr_t)stubs;
	stubs_bytes = count * sizeof(*stubs);
	return true;
}

static uintptr_t own_gs(void)
{
	uintptr_t base;
	__asm__ volatile("rdgsbase %0" : "=r"(base));
	return base;
}

static uintptr_t own_fs(void)
{
	uintptr_t base;
	__asm__ volatile("rdfsbase %0" : "=r"(base));
	return base;
}

bool direct_is_free(const struct guest_thread *self)
{
	return stubs_bytes > 0 && (own_gs() == 0 || own_gs() == (uintptr_t)self);
}

void direct_adopt(struct guest_thread *thread)
{
	struct direct *direct = &thread->direct;
	uintptr_t frame = round_down(region_scratch(thread) - FRAME_ROOM, 64);
	direct->self = (uintptr_t)thread;
	direct->check = MAGIC - own_fs();
	direct->stack = frame + sizeof(long);
	__asm__ volatile("wrgsbase %0" : : "r"(thread) : "memory");
}

void direct_refresh(struct guest_thread *thread)
{
	if (stubs_bytes > 0 && own_gs() == (uintptr_t)thread)
		thread->direct.check = MAGIC - own_fs();
}

/* ---- Signals ------------------------------------------------------------------------------------ */

/* What guest_sigsys() would leave, its frame being that of the trap behind the call. */
static void finish(struct guest_thread *thread, void *context)
{
	greg_t *r = guest_registers(context);
	const struct direct *direct = &thread->direct;
	((struct guest_context *)context)->mask = direct->mask;
	r[REG_RIP] = (greg_t)direct->back;
	r[REG_RAX] = direct->result;
	r[REG_RCX] = 0;
	r[REG_R11] = r[REG_EFL];
	if (direct->result != GUEST_RESTART)
		return;
	r[REG_RIP] -= SYSCALL_BYTES;
	r[REG_RAX] = direct->number;
	frame_set_tries(thread, context, 1);
}

static const struct direct_stub *stub_at(uintptr_t at)
{
	const struct direct_stub *all = (const struct direct_stub *)stubs_start;
	return at - stubs_start < stubs_bytes ? &all[(at - stubs_start) / sizeof(*all)] : NULL;
}

/* In a stub, on the program's stack. */
static enum direct_settled leave_stub(const struct direct_stub *stub, greg_t *r)
{
	uintptr_t offset = (uintptr_t)r[REG_RIP] - (uintptr_t)stub;
	if (offset < stub->copied) {
		offset -= offset > 7 ? stub->longer : 0;
		r[REG_RIP] = (greg_t)(stub->site + offset);
		return DIRECT_BEFORE;
	}
	r[REG_RIP] = (greg_t)stub->instruction;
	r[REG_RCX] = 0;
	return DIRECT_NOT_BEGUN;
}

enum direct_settled direct_settle(struct guest_thread *thread, void *context)
{
	greg_t *r = guest_registers(context);
	uintptr_t at = (uintptr_t)r[REG_RIP];
	if (stubs_bytes == 0 || region_has(thread, (uintptr_t)r[REG_RSP]))
		return DIRECT_NONE;
	const struct direct_stub *stub = stub_at(at);
	if (stub != NULL)
		return leave_stub(stub, r);
	if (at == (uintptr_t)direct_last) {
		r[REG_RIP] = (greg_t)thread->direct.back;
		return DIRECT_OVER;
	}
	if (at < (uintptr_t)direct_trap || at > (uintptr_t)direct_trap_end)
		return DIRECT_NONE;
	finish(thread, context);
	return DIRECT_OVER;
}

bool direct_is_step(const siginfo_t *info, void *context)
{
	const greg_t *r = guest_registers(context);
	const struct direct_stub *stub = stub_at((uintptr_t)r[REG_RIP]);
	const greg_t trap_flag = 0x100;
	return stub != NULL && (uintptr_t)r[REG_RIP] == (uintptr_t)stub && info->si_signo == SIGTRAP &&
	       info->si_code > 0 && r[REG_EFL] & trap_flag;
}
