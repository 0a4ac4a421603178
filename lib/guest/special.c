/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * special.c - small system calls whose arguments say what their other arguments are
 *
 * Each works out a description as the table has them, and leaves the rest to guest_carry().
 * The larger ones of this sort are in control.c. No state; signal context: see call.h.
 * Source: the manual page of each, and the kernel's functions for sizes and order.
 */
#include "table.h"

#include <linux/mempolicy.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "host.h"
#include "syscall.h"

#define PAGE 4096u
#define LARGE (1u << 20)

static const struct guest_argument plain = { .kind = GUEST_VALUE };
static const struct guest_argument path = { .kind = GUEST_STRING, .size = PAGE };
static const struct guest_argument name = { .kind = GUEST_STRING, .size = 256 };

static struct guest_argument fixed(enum guest_kind kind, size_t size)
{
	return (struct guest_argument){ .kind = (uint8_t)kind, .size = (uint32_t)size };
}

static struct guest_argument counted(enum guest_kind kind, unsigned flags, unsigned count,
                                     size_t most)
{
	return (struct guest_argument){ .kind = (uint8_t)kind,
		                        .flags = (uint8_t)flags,
		                        .count = (uint8_t)count,
		                        .size = 1,
		                        .most = (uint32_t)most };
}

/* ---- ptrace(2): of the tracer's memory. The tracee's is read by the kernel as it is, so what
 * is not resident there is EIO. ------------------------------------------------------------- */

#define BY_ADDRESS GUEST_COUNT_LONG /* argument 2 is the size */
#define AS_RESULT (BY_ADDRESS | GUEST_RESULT | GUEST_CLAMP)

/* What argument 3 is, by the request. */
static const struct {
	uint32_t request;
	uint8_t kind;
	uint8_t flags;
	uint16_t size; /* bytes; with a flag, the most */
} trace_data[] = {
	{ PTRACE_PEEKTEXT, GUEST_OUT, 0, sizeof(long) },
	{ PTRACE_PEEKDATA, GUEST_OUT, 0, sizeof(long) },
	{ PTRACE_PEEKUSER, GUEST_OUT, 0, sizeof(long) },
	{ PTRACE_GETREGS, GUEST_OUT, 0, sizeof(struct user_regs_struct) },
	{ PTRACE_SETREGS, GUEST_IN, 0, sizeof(struct user_regs_struct) },
	{ PTRACE_GETFPREGS, GUEST_OUT, 0, sizeof(struct user_fpregs_struct) },
	{ PTRACE_SETFPREGS, GUEST_IN, 0, sizeof(struct user_fpregs_struct) },
	{ 25 /* GET_THREAD_AREA */, GUEST_OUT, 0, 16 },
	{ 26 /* SET_THREAD_AREA */, GUEST_IN, 0, 16 },
	{ PTRACE_GETEVENTMSG, GUEST_OUT, 0, sizeof(long) },
	{ PTRACE_GETSIGINFO, GUEST_OUT, 0, sizeof(siginfo_t) },
	{ PTRACE_SETSIGINFO, GUEST_IN, 0, sizeof(siginfo_t) },
	{ PTRACE_GETSIGMASK, GUEST_OUT, 0, sizeof(uint64_t) },
	{ PTRACE_SETSIGMASK, GUEST_IN, 0, sizeof(uint64_t) },
	{ 0x420d /* SECCOMP_GET_METADATA */, GUEST_INOUT, BY_ADDRESS, PAGE },
	{ 0x420e /* GET_SYSCALL_INFO */, GUEST_OUT, AS_RESULT, PAGE },
	{ 0x420f /* GET_RSEQ_CONFIGURATION */, GUEST_OUT, AS_RESULT, PAGE },
	{ 0x4210 /* SET_SYSCALL_USER_DISPATCH_CONFIG */, GUEST_IN, BY_ADDRESS, PAGE },
	{ 0x4211 /* GET_SYSCALL_USER_DISPATCH_CONFIG */, GUEST_INOUT, BY_ADDRESS, PAGE },
	{ 0x4212 /* SET_SYSCALL_INFO */, GUEST_IN, BY_ADDRESS, PAGE },
};

static struct guest_argument find_data(uint32_t request)
{
	size_t i = 0;
	while (i < sizeof(trace_data) / sizeof(trace_data[0]) && trace_data[i].request != request)
		i++;
	if (i == sizeof(trace_data) / sizeof(trace_data[0]))
		return plain;
	enum guest_kind kind = trace_data[i].kind;
	return trace_data[i].flags != 0 ? counted(kind, trace_data[i].flags, 2, trace_data[i].size)
	                                : fixed(kind, trace_data[i].size);
}

#define REGISTER_SET 65536 /* more than any set of registers has */

/* GETREGSET, SETREGSET: registers behind an iovec, whose length comes back as what was moved. */
static long trace_register_set(struct guest_call *call, bool get)
{
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	struct guest_argument argument[6] = { plain, plain, plain, plain };
	struct iovec *vector = guest_buffer(call, sizeof(*vector));
	void *theirs_vector = (void *)value[3], *ours = NULL;
	if (vector == NULL)
		return -ENOMEM;
	if (guest_copy_in(vector, theirs_vector, sizeof(*vector)) != 0)
		return guest_carry(call, value, argument);
	const struct iovec theirs = *vector;
	size_t bytes = theirs.iov_len < REGISTER_SET ? theirs.iov_len : REGISTER_SET;
	if (bytes > 0 && guest_is_paged(theirs.iov_base, bytes) &&
	    (!get || guest_accessible(theirs.iov_base, 1, PROT_WRITE) > 0)) {
		ours = guest_buffer(call, bytes);
		if (ours == NULL)
			return -ENOMEM;
		if (get || guest_copy_in(ours, theirs.iov_base, bytes) == 0)
			*vector = (struct iovec){ ours, bytes };
	}
	value[3] = (long)vector;
	long result = guest_carry(call, value, argument);
	if (result != 0)
		return result;
	if (get && ours != NULL && vector->iov_len <= bytes &&
	    guest_copy_out(theirs.iov_base, ours, vector->iov_len) != 0)
		return -EFAULT;
	return guest_copy_out((char *)theirs_vector + offsetof(struct iovec, iov_len),
	                      &vector->iov_len, sizeof(vector->iov_len)) == 0 ? 0 : -EFAULT;
}

/* PEEKSIGINFO: as many as the struct behind the address asks for. */
static long trace_peek_siginfo(struct guest_call *call)
{
	struct __ptrace_peeksiginfo_args *ask = guest_buffer(call, sizeof(*ask));
	struct guest_argument data = plain;
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	if (ask == NULL)
		return -ENOMEM;
	if (guest_copy_in(ask, (const void *)value[2], sizeof(*ask)) == 0) {
		if (ask->nr > (int32_t)(GUEST_PIECE / sizeof(siginfo_t)))
			ask->nr = (int32_t)(GUEST_PIECE / sizeof(siginfo_t));
		value[2] = (long)ask;
		/* The length is in the place of an argument that the call does not have. */
		value[4] = ask->nr > 0 ? ask->nr : 0;
		data = counted(GUEST_OUT, GUEST_COUNT_LONG | GUEST_RESULT, 4, GUEST_PIECE);
		data.size = sizeof(siginfo_t);
	}
	const struct guest_argument argument[6] = { plain, plain, plain, data };
	return guest_carry(call, value, argument);
}

/* SECCOMP_GET_FILTER: as long as the kernel says when it is asked without memory. */
static long trace_filter(struct guest_call *call)
{
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	struct guest_argument data = counted(GUEST_OUT, GUEST_COUNT_LONG | GUEST_RESULT, 4, LARGE);
	data.size = 8; /* struct sock_filter */
	if (value[3] != 0) {
		value[4] = guest_execute(call, call->number, value[0], value[1], value[2], 0, 0, 0);
		if (value[4] < 0)
			return value[4];
	}
	const struct guest_argument argument[6] = { plain, plain, plain, data };
	return guest_carry(call, value, argument);
}

/*
 * TRACEME: from then on each signal stops the thread until the tracer lets it go on, those by
 * which we live too. The tracer of a vfork child waits for it meanwhile, and many others expect
 * none before that of execve(2). So it is carried out right before the calls that are to be seen.
 */
static _Atomic int trace_wanted; /* the thread that has asked for it */

bool guest_trace_begin(void)
{
	int self = host_thread_id();
	return atomic_compare_exchange_strong(&trace_wanted, &self, 0) &&
	       syscall_4(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0) == 0;
}

long guest_kill(struct guest_call *call)
{
	guest_trace_begin();
	return guest_generic(call, guest_table_find(call->number));
}

long guest_ptrace(struct guest_call *call)
{
	uint32_t request = (uint32_t)call->argument[0];
	bool wide = (unsigned long)call->argument[0] > UINT32_MAX;
	struct guest_argument argument[6] = { plain };
	if (call->argument[0] == PTRACE_TRACEME && atomic_load(&trace_wanted) == 0) {
		atomic_store(&trace_wanted, host_thread_id());
		return 0;
	}
	if (!wide && (request == PTRACE_GETREGSET || request == PTRACE_SETREGSET))
		return trace_register_set(call, request == PTRACE_GETREGSET);
	if (!wide && request == PTRACE_PEEKSIGINFO)
		return trace_peek_siginfo(call);
	if (!wide && request == PTRACE_SECCOMP_GET_FILTER)
		return trace_filter(call);
	if (!wide && request == 30 /* ARCH_PRCTL */ &&
	    (call->argument[3] == 0x1003 || call->argument[3] == 0x1004)) /* GET_FS, GET_GS */
		argument[2] = fixed(GUEST_OUT, sizeof(long));
	else if (!wide)
		argument[3] = find_data(request);
	return guest_carry(call, call->argument, argument);
}

/* ---- bpf(2) ---------------------------------------------------------------------------- */

/*
 * Its attributes point to memory whose length is that of a map's keys and values, which only
 * the kernel knows, and which it keeps in some cases. So a call with an address of paged memory
 * in it is refused, as to a program that has no right to it: EPERM. What is not paged goes
 * through.
 */
long guest_bpf(struct guest_call *call)
{
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	void *theirs = (void *)value[1];
	size_t size = (uint32_t)value[2];
	char *ours = NULL;
	if (size > 0 && size <= PAGE) {
		/* The kernel's copy, and what it was before. */
		ours = guest_buffer(call, 2 * size);
		if (ours == NULL)
			return -ENOMEM;
		if (guest_copy_in(ours, theirs, size) != 0)
			ours = NULL;
	}
	for (size_t at = 0; ours != NULL && at + 8 <= size; at += 8) {
		const void *nested;
		memcpy(&nested, ours + at, sizeof(nested));
		if (guest_is_paged(nested, 1))
			return -EPERM;
	}
	if (ours != NULL && guest_is_paged(theirs, size)) {
		memcpy(ours + size, ours, size);
		value[1] = (long)ours;
	} else {
		ours = NULL;
	}
	long result = guest_execute(call, call->number, value[0], value[1], value[2], 0, 0, 0);
	if (ours != NULL && result != GUEST_RESTART && memcmp(ours, ours + size, size) != 0 &&
	    guest_copy_out(theirs, ours, size) != 0)
		return -EFAULT;
	return result;
}

/* ---- Capabilities: the version in the header says how long the data is ----------------- */

static long carry_capabilities(struct guest_call *call, enum guest_kind kind)
{
	uint32_t version = 0;
	const void *header = (const void *)call->argument[0];
	bool known = guest_copy_in(&version, header, sizeof(version)) == 0 &&
	             (version == 0x19980330 || version == 0x20071026 || version == 0x20080522);
	struct guest_argument argument[6] = { fixed(known ? GUEST_IN : GUEST_INOUT, 8),
		                              fixed(kind, version == 0x19980330 ? 12 : 24) };
	if (!known) {
		argument[0].flags = GUEST_ALWAYS; /* the version that the kernel prefers */
		argument[1] = plain;
	}
	return guest_carry(call, call->argument, argument);
}

long guest_capget(struct guest_call *call)
{
	return carry_capabilities(call, GUEST_OUT);
}

long guest_capset(struct guest_call *call)
{
	return carry_capabilities(call, GUEST_IN);
}

/* ---- Mounts and file systems ----------------------------------------------------------- */

/* The data is a page, or as much of one as there is. */
long guest_mount(struct guest_call *call)
{
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	void *data = (void *)value[4];
	if (data != NULL && guest_is_paged(data, PAGE)) {
		char *ours = guest_buffer(call, PAGE);
		if (ours == NULL)
			return -ENOMEM;
		size_t missing = guest_copy_in(ours, data, PAGE);
		if (missing < PAGE) {
			memset(ours + PAGE - missing, 0, missing);
			value[4] = (long)ours;
		}
	}
	const struct guest_argument argument[6] = { path, path, path };
	return guest_carry(call, value, argument);
}

long guest_fsconfig(struct guest_call *call)
{
	struct guest_argument argument[6] = { plain, plain, name, plain, plain };
	switch ((unsigned)call->argument[1]) {
	case 1: /* FSCONFIG_SET_STRING */
		argument[3] = name;
		break;
	case 3: /* FSCONFIG_SET_PATH */
	case 4: /* FSCONFIG_SET_PATH_EMPTY */
		argument[3] = path;
		break;
	case 2: /* FSCONFIG_SET_BINARY */
		argument[3] = counted(GUEST_IN, GUEST_COUNT_INT, 4, LARGE);
		break;
	}
	return guest_carry(call, call->argument, argument);
}

/* Option 1 takes the name of a file system, option 2 gives it: as long as it is. */
long guest_sysfs(struct guest_call *call)
{
	const size_t most = 256;
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	void *theirs = (void *)value[2];
	char *ours = NULL;
	struct guest_argument argument[6] = { plain };
	if ((int)value[0] == 1)
		argument[1] = path;
	if ((int)value[0] == 2 && guest_is_paged(theirs, most) &&
	    guest_accessible(theirs, 1, PROT_WRITE) > 0) {
		ours = guest_buffer(call, most);
		if (ours == NULL)
			return -ENOMEM;
		value[2] = (long)ours;
	}
	long result = guest_carry(call, value, argument);
	if (ours != NULL && result == 0 && guest_copy_out(theirs, ours, strlen(ours) + 1) != 0)
		return -EFAULT;
	return result;
}

/* struct file_handle: two words, and as many bytes as the first says. */
static struct guest_argument file_handle(enum guest_kind kind, long address)
{
	const uint32_t most = 128;
	uint32_t bytes;
	if (guest_copy_in(&bytes, (const void *)address, sizeof(bytes)) != 0)
		return plain;
	/* More than the most is refused after a look at the words. */
	return fixed(kind, 8 + (bytes <= most ? bytes : 0));
}

long guest_name_to_handle_at(struct guest_call *call)
{
	const unsigned unique = 1; /* AT_HANDLE_MNT_ID_UNIQUE */
	struct guest_argument argument[6] = { plain, path };
	argument[2] = file_handle(GUEST_INOUT, call->argument[2]);
	argument[2].flags = GUEST_ALWAYS; /* on EOVERFLOW: the size that it needs */
	argument[3] = fixed(GUEST_OUT, call->argument[4] & unique ? 8 : 4);
	argument[3].flags = GUEST_ALWAYS;
	return guest_carry(call, call->argument, argument);
}

long guest_open_by_handle_at(struct guest_call *call)
{
	const struct guest_argument argument[6] = { plain,
		                                    file_handle(GUEST_IN, call->argument[1]) };
	return guest_carry(call, call->argument, argument);
}

/* struct xattr_args of setxattrat and getxattrat. */
struct attribute {
	uint64_t value;
	uint32_t size, flags;
};

static long carry_attribute(struct guest_call *call, bool set)
{
	const size_t most = 65536, size = (size_t)call->argument[5];
	const struct guest_argument argument[6] = { plain, path, plain, name, plain, plain };
	long value[6], inner;
	memcpy(value, call->argument, sizeof(value));
	if (size < sizeof(struct attribute) || size > PAGE)
		return guest_carry(call, value, argument);
	struct attribute *ours = guest_buffer(call, size);
	if (ours == NULL)
		return -ENOMEM;
	if (guest_copy_in(ours, (const void *)value[4], size) != 0)
		return guest_carry(call, value, argument);
	value[4] = (long)ours;
	void *theirs = (void *)(uintptr_t)ours->value, *out = NULL;
	size_t bytes = ours->size < most ? ours->size : most;
	if (set && ours->size <= most) {
		inner = (long)ours->value;
		if (!guest_take_copy(call, &inner, bytes))
			return -ENOMEM;
		ours->value = (uint64_t)inner;
	} else if (!set && bytes > 0 && guest_is_paged(theirs, bytes) &&
	           guest_accessible(theirs, 1, PROT_WRITE) > 0) {
		out = guest_buffer(call, bytes);
		if (out == NULL)
			return -ENOMEM;
		ours->value = (uintptr_t)out;
		ours->size = (uint32_t)bytes;
	}
	long result = guest_carry(call, value, argument);
	if (out == NULL || result < 0)
		return result;
	return guest_copy_out(theirs, out, (size_t)result) == 0 ? result : -EFAULT;
}

long guest_setxattrat(struct guest_call *call)
{
	return carry_attribute(call, true);
}

long guest_getxattrat(struct guest_call *call)
{
	return carry_attribute(call, false);
}

/* ---- Memory policy, descriptors of segments -------------------------------------------- */

/* The kernel looks at the page of an address: it is brought in, and again if it went meanwhile.
 * A bound, because another argument may be what is bad. */
long guest_get_mempolicy(struct guest_call *call)
{
	const struct guest_argument argument[6] = {
		fixed(GUEST_OUT, sizeof(int)),
		counted(GUEST_OUT, GUEST_COUNT_BITS, 2, PAGE),
	};
	const void *address = (const void *)call->argument[3];
	bool looks = (call->argument[4] & MPOL_F_ADDR) && guest_is_paged(address, 1);
	long result;
	for (int i = 0; i < 100; i++) {
		char byte;
		bool there = looks && guest_copy_in(&byte, address, 1) == 0;
		result = guest_carry(call, call->argument, argument);
		if (result != -EFAULT || !there)
			break;
		host_yield();
	}
	return result;
}

/* Its errors are positive: the kernel cuts the result to 32 bits. */
long guest_modify_ldt(struct guest_call *call)
{
	int function = (int)call->argument[0];
	bool writes = function == 1 || function == 0x11;
	const struct guest_argument argument[6] = {
		plain,
		writes ? counted(GUEST_IN, GUEST_COUNT_LONG, 2, 16)
		       : counted(GUEST_INOUT, GUEST_COUNT_LONG | GUEST_CLAMP, 2, 65536),
	};
	return guest_carry(call, call->argument, argument);
}

/* ---- Others ---------------------------------------------------------------------------- */

/* With SIGEV_THREAD the value is the address of a cookie of 32 bytes. */
long guest_mq_notify(struct guest_call *call)
{
	const size_t cookie = 32;
	long value[6];
	memcpy(value, call->argument, sizeof(value));
	const struct guest_argument argument[6] = { plain };
	if (value[1] != 0) {
		struct sigevent *ours = guest_buffer(call, sizeof(*ours));
		if (ours == NULL)
			return -ENOMEM;
		if (guest_copy_in(ours, (const void *)value[1], sizeof(*ours)) == 0) {
			long inner = (long)ours->sigev_value.sival_ptr;
			if (ours->sigev_notify == SIGEV_THREAD &&
			    !guest_take_copy(call, &inner, cookie))
				return -ENOMEM;
			ours->sigev_value.sival_ptr = (void *)inner;
			value[1] = (long)ours;
		}
	}
	return guest_carry(call, value, argument);
}

/* LANDLOCK_RULE_PATH_BENEATH is a packed struct, LANDLOCK_RULE_NET_PORT is not. */
long guest_landlock_add_rule(struct guest_call *call)
{
	struct guest_argument argument[6] = { plain };
	argument[2] = fixed(GUEST_IN, (int)call->argument[1] == 2 ? 16 : 12);
	return guest_carry(call, call->argument, argument);
}
