/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "limit.h"

#include <linux/capability.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "handlers.h"
#include "pool_fork.h"
#include "rlimit.h"
#include "signals.h"
#include "space.h"
#include "syscall.h"
#include "table.h"

static struct {
	_Atomic uint64_t soft, hard;
} kept[LIMITS] = { { RLIM_INFINITY, RLIM_INFINITY },
	           { RLIM_INFINITY, RLIM_INFINITY },
	           { RLIM_INFINITY, RLIM_INFINITY } };
static const int resources[LIMITS] = { RLIMIT_AS, RLIMIT_DATA, RLIMIT_FSIZE };
static upage_space *watched;
static uintptr_t stack_end;

void limit_watch(upage_space *space, uintptr_t stack)
{
	watched = space;
	stack_end = stack;
}

void limit_begin(enum limit limit, uint64_t soft, uint64_t hard)
{
	atomic_store(&kept[limit].soft, soft);
	atomic_store(&kept[limit].hard, hard);
}

void limit_get(enum limit limit, uint64_t *soft, uint64_t *hard)
{
	*soft = atomic_load(&kept[limit].soft);
	*hard = atomic_load(&kept[limit].hard);
	struct rlimit kernel;
	if (limit == LIMIT_FILE && syscall_4(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &kernel) == 0) {
		*soft = kernel.rlim_cur;
		*hard = kernel.rlim_max < *hard ? kernel.rlim_max : *hard;
	}
}

void limit_save(struct limit_values *values)
{
	for (unsigned i = 0; i < LIMITS; i++) {
		values->soft[i] = atomic_load(&kept[i].soft);
		values->hard[i] = atomic_load(&kept[i].hard);
	}
}

void limit_restore(const struct limit_values *values)
{
	for (unsigned i = 0; i < LIMITS; i++)
		limit_begin((enum limit)i, values->soft[i], values->hard[i]);
}

void limit_to_kernel(bool begins)
{
	for (unsigned i = 0; i < LIMITS && watched != NULL; i++) {
		struct rlimit limit;
		uint64_t soft = atomic_load(&kept[i].soft);
		if (soft == RLIM_INFINITY ||
		    syscall_4(SYS_prlimit64, 0, resources[i], NULL, &limit) < 0)
			continue;
		limit.rlim_cur = begins && soft < limit.rlim_max ? soft : limit.rlim_max;
		syscall_4(SYS_prlimit64, 0, resources[i], &limit, NULL);
	}
}

/* Of a mapping, without what lies in [start, end). */
static uint64_t bytes_beside(const struct mapping *mapping, uintptr_t start, uintptr_t end)
{
	const struct mapping part = mapping_part(mapping, start, end);
	return mapping->end - mapping->start - (part.start < part.end ? part.end - part.start : 0);
}

bool limit_allows_locked(uintptr_t start, size_t length, int prot)
{
	uint64_t areas = atomic_load(&kept[LIMIT_AREAS].soft), data = atomic_load(&kept[LIMIT_DATA].soft);
	if (areas == RLIM_INFINITY && data == RLIM_INFINITY)
		return true;
	uint64_t all = length, writable = prot & PROT_WRITE ? length : 0;
	for (size_t i = 0; i < watched->mappings.count; i++) {
		const struct mapping *mapping = &watched->mappings.mapping[i];
		uint64_t bytes = bytes_beside(mapping, start, start != 0 ? start + length : 0);
		if (mapping->end == stack_end)
			continue; /* it grows by itself */
		all += bytes;
		writable += mapping->prot & PROT_WRITE ? bytes : 0;
	}
	return all <= areas && (prot & PROT_WRITE ? writable <= data : true);
}

bool limit_allows(uintptr_t start, size_t length, int prot)
{
	space_read(watched);
	bool allowed = limit_allows_locked(start, length, prot);
	space_read_end(watched);
	return allowed;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

bool limit_has_capability(unsigned capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
	return syscall_2(SYS_capget, &header, data) == 0 &&
	       data[capability / 32].effective >> capability % 32 & 1;
}

/* The kernel's hard limit only rises. */
static long set_file_limit(uint64_t soft, uint64_t hard)
{
	struct rlimit limit;
	signal_mask mask = signals_block();
	rlimit_begin();
	rlimit_file_lowered();
	long result = syscall_4(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit);
	if (result == 0) {
		limit.rlim_cur = soft;
		if (limit.rlim_max < hard)
			limit.rlim_max = hard;
		result = syscall_4(SYS_prlimit64, 0, RLIMIT_FSIZE, &limit, NULL);
	}
	if (result == 0)
		limit_begin(LIMIT_FILE, RLIM_INFINITY, hard);
	rlimit_end();
	signals_set(mask);
	return result;
}

/* Which one @resource is; LIMITS: the kernel's. */
static enum limit limit_of(long resource)
{
	unsigned i = 0;
	while (i < LIMITS && resources[i] != (int)resource)
		i++;
	return watched != NULL || i == LIMIT_FILE ? (enum limit)i : LIMITS;
}

/* @theirs: what is wanted; @old: where to say what it was; either may be NULL. */
static long exchange(enum limit limit, const void *theirs, void *old)
{
	struct { /* the kernel's struct rlimit */
		uint64_t soft, hard;
	} wanted, was;
	limit_get(limit, &was.soft, &was.hard);
	if (theirs != NULL) {
		if (guest_copy_in(&wanted, theirs, sizeof(wanted)) != 0)
			return -EFAULT;
		if (wanted.soft > wanted.hard)
			return -EINVAL;
		if (wanted.hard > was.hard && !limit_has_capability(CAP_SYS_RESOURCE))
			return -EPERM;
		long result = 0;
		if (limit == LIMIT_FILE)
			result = set_file_limit(wanted.soft, wanted.hard);
		else
			limit_begin(limit, wanted.soft, wanted.hard);
		if (result < 0)
			return result;
	}
	return old != NULL && guest_copy_out(old, &was, sizeof(was)) != 0 ? -EFAULT : 0;
}

long limit_getrlimit(struct guest_call *call)
{
	enum limit limit = limit_of(call->argument[0]);
	void *old = (void *)call->argument[1];
	if (limit == LIMITS)
		return guest_generic(call, guest_table_find(call->number));
	return old != NULL ? exchange(limit, NULL, old) : -EFAULT;
}

/* The host's limit. Of descriptors: none of ours is to be under it, where the program opens its own. */
static long pass_on(struct guest_call *call, long resource)
{
	long result = guest_generic(call, guest_table_find(call->number));
	if (result == 0 && resource == RLIMIT_NOFILE)
		pool_raise_descriptors();
	return result;
}

long limit_setrlimit(struct guest_call *call)
{
	enum limit limit = limit_of(call->argument[0]);
	const void *wanted = (const void *)call->argument[1];
	if (limit == LIMITS)
		return pass_on(call, call->argument[0]);
	return wanted != NULL ? exchange(limit, wanted, NULL) : -EFAULT;
}

long limit_prlimit64(struct guest_call *call)
{
	const long *a = call->argument;
	enum limit limit = limit_of(a[1]);
	if (a[0] != 0 && a[0] != syscall_1(SYS_getpid, 0))
		return guest_generic(call, guest_table_find(call->number));
	if (limit == LIMITS)
		return pass_on(call, a[1]);
	return exchange(limit, (const void *)a[2], (void *)a[3]);
}
