/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * table.h - every system call of Linux on x86-64, and what its arguments are
 *
 * A call either has a handler of its own, or is carried out by what the table says of its
 * arguments: guest_generic() gives the kernel copies of what lies in paged memory, and copies
 * back what the kernel wrote. Calls that the table does not know, and those that would let the
 * kernel reach paged memory behind our back, do not exist: ENOSYS.
 *
 * The table is constant. Signal context: all (see call.h).
 * Source: syscalls(2); arch/x86/entry/syscalls/syscall_64.tbl of Linux 6.18, and the functions
 * behind it, for how much is read and written, and when.
 */
#ifndef UPAGE_GUEST_TABLE_H
#define UPAGE_GUEST_TABLE_H

#include "call.h"

enum guest_kind {
	GUEST_VALUE,  /* a number, or an address that the kernel does not follow */
	GUEST_STRING, /* with an end; `size`: the most that the kernel reads */
	GUEST_IN,     /* memory that the kernel reads */
	GUEST_OUT,    /* writes: all of it, or what GUEST_RESULT says; with GUEST_ALWAYS any part */
	GUEST_INOUT,  /* reads, and then writes to any part of */
	GUEST_RANGE,  /* memory that the kernel changes itself: none that is paged, error `most` */
};

/* How long the memory is. With none of these: `size` bytes. */
#define GUEST_COUNT_LONG 0x01    /* `size` * argument `count`, which has 64 bits */
#define GUEST_COUNT_INT 0x02     /* `size` * argument `count`, which has 32 bits */
#define GUEST_COUNT_BITS 0x04    /* longs that hold as many bits as argument `count`, less one */
#define GUEST_COUNT_POINTER 0x08 /* the int that argument `count` points to; on return the int
                                    there says how much was meant to be written */
#define GUEST_COUNT_INSIDE 0x10  /* the 32 bits at offset `count` of it; 0 there means `size` */
/* How much of it is written. */
#define GUEST_RESULT 0x20 /* `size` * the result */
#define GUEST_ALWAYS 0x40 /* when the call fails, too */
/* A count for more than `most` bytes is made smaller. Else the kernel is handed it as it is,
 * with the program's pointer: it refuses such a count without a look at the memory. */
#define GUEST_CLAMP 0x80

struct guest_argument {
	uint8_t kind;  /* enum guest_kind */
	uint8_t flags; /* GUEST_* */
	uint8_t count;
	uint32_t size;
	uint32_t most; /* bytes; of counted memory only */
};

struct guest_entry {
	const char *name;
	guest_handler *handler; /* NULL: guest_generic() */
	const struct guest_argument *argument; /* [6]; apart, so that no page of them is relocated */
	bool refused;           /* ENOSYS, as by a kernel that was built without it */
};

/* The entry of a system call; NULL: there is none by this number. */
const struct guest_entry *guest_table_find(long number);

/* Whether a call needs of the program's context its arguments alone, and changes none of it but the
 * result: it may come by direct.h. O(their number). */
bool guest_table_is_direct(long number);

/* Carries out a call that has no handler. @entry: NULL for a number that is not known. */
long guest_generic(struct guest_call *call, const struct guest_entry *entry);

/* The same for a handler that has its own idea of the arguments: of their values, and of what
 * they are. The number is that of @call. */
long guest_carry(struct guest_call *call, const long value[6],
                 const struct guest_argument argument[6]);

/* Replaces *@pointer by that of a copy, if it is paged; not if it cannot be read, so that the
 * kernel finds the error. Return: false: no memory. */
bool guest_take_copy(struct guest_call *call, long *pointer, size_t bytes);

/* special.c: small ones, whose arguments depend on each other */
guest_handler guest_ptrace, guest_bpf, guest_capget, guest_capset, guest_sysfs, guest_mq_notify,
        guest_landlock_add_rule, guest_fsconfig, guest_setxattrat, guest_getxattrat,
        guest_get_mempolicy, guest_mlockall, guest_mount,
        guest_name_to_handle_at, guest_open_by_handle_at, guest_modify_ldt, guest_kill;

/* What PTRACE_TRACEME has asked for, before a call or a fault of the program's own that its tracer
 * is to see. Return: whether the thread is traced from now on. */
bool guest_trace_begin(void);

#endif
