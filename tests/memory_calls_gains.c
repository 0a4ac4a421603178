/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory_calls_gains.c - what a process may not execute any more (PR_SET_MDWE), nor its children and successors */
#include "memory_calls.h"

#include <sys/prctl.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#define REFUSE 1UL
#define HERE 2UL /* PR_MDWE_NO_INHERIT */

#define RX (PROT_READ | PROT_EXEC)
#define RWX (RW | PROT_EXEC)
#define SHARED (MAP_SHARED | MAP_ANONYMOUS)

static void before(void)
{
	clear();
	mmap(AT(0), 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	mmap(AT(8), 2 * PAGE, RWX, ANON | MAP_FIXED, -1, 0);
	mmap(AT(10), 2 * PAGE, RX, MAP_PRIVATE | MAP_FIXED, self->file, 0);
	mmap(AT(12), 2 * PAGE, RX, MAP_SHARED | MAP_FIXED, self->file, 0);
	mmap(AT(14), 2 * PAGE, RW, SHARED | MAP_FIXED, -1, 0);
	stamp(0, 10, 0x1900);
}

static void try(void)
{
	T(prctl(PR_GET_MDWE, 0L, 0L, 0L, 0L));
	T(mmap(AT(0), PAGE, RWX, ANON | MAP_FIXED, -1, 0));
	T(mmap(AT(0), PAGE, RWX, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	T(mmap(AT(0), PAGE, RWX, SHARED | MAP_FIXED, -1, 0));
	T(mmap(AT(0), PAGE, RWX, MAP_PRIVATE | MAP_FIXED, self->file, 0));
	T(mmap(AT(0), PAGE, RWX, MAP_SHARED | MAP_FIXED, self->file, 0));
	T(mmap(AT(1), PAGE, RX, ANON | MAP_FIXED, -1, 0));
	T(mmap(AT(2), PAGE, PROT_WRITE | PROT_EXEC, ANON | MAP_FIXED, -1, 0));
	T(mprotect(AT(1), PAGE, PROT_EXEC));
	T(mprotect(AT(1), PAGE, RWX));
	T(mprotect(AT(1), PAGE, RW));
	T(mprotect(AT(1), PAGE, RX));
	T(mprotect(AT(3), PAGE, RX));
	T(mprotect(AT(7), 2 * PAGE, RX));
	T(mprotect(AT(8), PAGE, RWX));
	T(mprotect(AT(9), PAGE, RX));
	T(mprotect(AT(10), 2 * PAGE, RX));
	T(mprotect(AT(10), PAGE, RWX));
	T(mprotect(AT(12), PAGE, RWX));
	T(mprotect(AT(12), 2 * PAGE, RX));
	T(mprotect(AT(14), PAGE, RX));
	T(syscall(SYS_pkey_mprotect, AT(3), PAGE, RX, -1));
	T(mprotect(AT(11), 4 * PAGE, PROT_EXEC));
	T(shmat(self->segment, AT(20), SHM_REMAP | SHM_EXEC));
	T(shmat(self->segment, AT(40), SHM_REMAP | SHM_EXEC | SHM_RDONLY));
	survey("tried", 0, 16);
}

/* Memory comes and goes as before, in forks too. */
static void use(void)
{
	mmap(AT(50), 100 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	stamp(50, 100, 0x1a00);
	survey("used", 50, 100);
	survey("code", 8, 4);
}

void what_gains(void)
{
	before();
	in_child(try);
	in_child(use);
}

static void succeed(void)
{
	char *words[] = { "memory_calls", "gains", NULL };
	execv("/proc/self/exe", words);
	tell("no successor: %d\n", errno);
}

static void refuse(unsigned long flags)
{
	before();
	T(prctl(PR_SET_MDWE, 4L, 0L, 0L, 0L));
	T(prctl(PR_SET_MDWE, HERE, 0L, 0L, 0L));
	T(prctl(PR_SET_MDWE, REFUSE, 1L, 0L, 0L));
	T(prctl(PR_GET_MDWE, 0L, 0L, 1L, 0L));
	T(prctl(PR_SET_MDWE, flags, 0L, 0L, 0L));
	T(prctl(PR_SET_MDWE, flags, 0L, 0L, 0L));
	T(prctl(PR_SET_MDWE, REFUSE + HERE - (flags & HERE), 0L, 0L, 0L));
	T(prctl(PR_SET_MDWE, 0L, 0L, 0L, 0L));
	use();
	in_child(try);
	in_child(succeed);
	try();
	use();
}

static void refuse_from_now_on(void)
{
	refuse(REFUSE);
}

static void refuse_here(void)
{
	refuse(REFUSE | HERE);
}

void each_call_of_gains(void)
{
	tell("== what may not be executed any more\n");
	in_child(refuse_from_now_on);
	in_child(refuse_here);
	what_gains();
	publish(self);
}
