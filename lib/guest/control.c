/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.c - fcntl(2), prctl(2), keyctl(2), quotactl(2)
 *
 * A request word says which arguments are pointers, and to what: tables (guest/request.h), and
 * code for what has pointers in it. Requests that are not in a table have no pointers.
 *
 * Locks: none. Signal context: that of guest/call.h.
 * Source: the manual pages; fs/fcntl.c, kernel/sys.c, security/keys/keyctl.c, fs/quota/quota.c of
 * Linux.
 */
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/quota.h>
#include <string.h>
#include <sys/syscall.h>

#include "gain.h"
#include "handlers.h"
#include "host.h"
#include "request.h"
#include "vector.h"
#include "whole.h"

/* ---- fcntl -------------------------------------------------------------------------------- */

#define F_GETOWNER_UIDS_NUMBER 17
#define F_GETDELEG_NUMBER 1039 /* of Linux 6.19 */
#define F_SETDELEG_NUMBER 1040
#define FLOCK_SIZE ((uint16_t)sizeof(struct flock))

static const struct request_pointer fcntl_pointers[] = {
	{ F_GETLK, 2, REQUEST_BOTH, FLOCK_SIZE },
	{ F_SETLK, 2, REQUEST_IN, FLOCK_SIZE },
	{ F_SETLKW, 2, REQUEST_IN, FLOCK_SIZE },
	{ F_OFD_GETLK, 2, REQUEST_BOTH, FLOCK_SIZE },
	{ F_OFD_SETLK, 2, REQUEST_IN, FLOCK_SIZE },
	{ F_OFD_SETLKW, 2, REQUEST_IN, FLOCK_SIZE },
	{ F_GETOWN_EX, 2, REQUEST_OUT, sizeof(struct f_owner_ex) },
	{ F_SETOWN_EX, 2, REQUEST_IN, sizeof(struct f_owner_ex) },
	{ F_GETOWNER_UIDS_NUMBER, 2, REQUEST_OUT, 2 * sizeof(uint32_t) },
	{ F_GET_RW_HINT, 2, REQUEST_OUT, sizeof(uint64_t) },
	{ F_SET_RW_HINT, 2, REQUEST_IN, sizeof(uint64_t) },
	{ F_GET_FILE_RW_HINT, 2, REQUEST_OUT, sizeof(uint64_t) },
	{ F_SET_FILE_RW_HINT, 2, REQUEST_IN, sizeof(uint64_t) },
	{ F_GETDELEG_NUMBER, 2, REQUEST_BOTH, 8 },
	{ F_SETDELEG_NUMBER, 2, REQUEST_IN, 8 },
};

long guest_fcntl(struct guest_call *call)
{
	if (host_owns_descriptor((int)call->argument[0]))
		return -EBADF;
	/* Before the call: once it has the lock, another thread must not close a descriptor of ours of that file. */
	bool locks = call->argument[1] == F_SETLK || call->argument[1] == F_SETLKW;
	if (locks && whole_space != NULL)
		whole_file_locked((int)call->argument[0]);
	long result = REQUEST_EXECUTE(call, fcntl_pointers, call->argument[1]);
	if (locks && whole_space != NULL)
		whole_file_locked_end();
	return result;
}

/* ---- prctl -------------------------------------------------------------------------------- */

#define TASK_NAME_READ 15 /* bytes of a name that the kernel looks at */
#define TASK_NAME_SIZE 16
#define AREA_NAME_SIZE 80

#ifndef PR_GET_AUXV
#define PR_GET_AUXV 0x41555856
#endif

static const struct request_pointer prctl_pointers[] = {
	{ PR_GET_PDEATHSIG, 1, REQUEST_OUT, sizeof(int) },
	{ PR_GET_UNALIGN, 1, REQUEST_OUT, sizeof(int) },
	{ PR_GET_FPEMU, 1, REQUEST_OUT, sizeof(int) },
	{ PR_GET_FPEXC, 1, REQUEST_OUT, sizeof(int) },
	{ PR_GET_ENDIAN, 1, REQUEST_OUT, sizeof(int) },
	{ PR_GET_TSC, 1, REQUEST_OUT, sizeof(int) },
	{ PR_GET_CHILD_SUBREAPER, 1, REQUEST_OUT, sizeof(int) },
	{ PR_SET_NAME, 1, REQUEST_STRING, TASK_NAME_READ },
	{ PR_GET_NAME, 1, REQUEST_OUT, TASK_NAME_SIZE },
	{ PR_GET_AUXV, 1, REQUEST_OUT_LENGTH, 2 },
	{ PR_SET_VMA, 4, REQUEST_STRING, AREA_NAME_SIZE },
};

/* PR_SET_MM, by its own request in argument 1. */
static const struct request_pointer layout_pointers[] = {
	{ PR_SET_MM_MAP_SIZE, 2, REQUEST_OUT, sizeof(unsigned) },
	{ PR_SET_MM_AUXV, 2, REQUEST_IN_LENGTH, 3 },
};

/* A description of a process's areas, which has a pointer to an auxiliary vector in it. */
static long set_layout(struct guest_call *call)
{
	const void *theirs = (const void *)call->argument[2];
	struct prctl_mm_map map;
	struct guest_bounce vector;
	if (call->argument[3] != (long)sizeof(map) || guest_copy_in(&map, theirs, sizeof(map)) != 0)
		return guest_hand_on(call);
	if (bounce_begin(&vector, call, map.auxv, map.auxv_size, BOUNCE_IN) < 0)
		return -ENOMEM;
	map.auxv = (__u64 *)(void *)vector.ours;
	return request_replace(call, 2, &map);
}

long guest_prctl(struct guest_call *call)
{
	const long *a = call->argument;
	switch ((int)a[0]) {
	case HOST_IS_PAGED:
		return whole_space != NULL ? 1 : guest_hand_on(call);
	case PR_SET_SECCOMP:
	case PR_GET_SECCOMP:
	case PR_SET_SYSCALL_USER_DISPATCH:
		/* As a kernel without them: a filter would judge our calls, not the program's. */
		return -EINVAL;
	case PR_GET_TID_ADDRESS:
		/* The kernel's is a word of ours: as without CONFIG_CHECKPOINT_RESTORE. */
		return -EINVAL;
	case PR_SET_TSC:
		/* Our handlers read the clock, and would be refused it: as a processor that cannot. */
		if ((unsigned)a[1] == PR_TSC_SIGSEGV)
			return -EINVAL;
		break;
	case PR_SET_MM:
		if (a[1] == PR_SET_MM_MAP)
			return set_layout(call);
		return REQUEST_EXECUTE(call, layout_pointers, a[1]);
	case PR_SET_VMA:
		/* What the kernel has there is no area of its own: as without
		 * CONFIG_ANON_VMA_NAME. */
		if (a[1] == PR_SET_VMA_ANON_NAME && guest_is_paged((void *)a[2], (size_t)a[3]))
			return -EINVAL;
		break;
	case PR_SET_MDWE:
	case PR_GET_MDWE:
		return whole_space != NULL ? gain_prctl(call) : guest_hand_on(call);
	case PR_SCHED_CORE:
		if (a[1] == PR_SCHED_CORE_GET)
			return request_bounce(call, 4, sizeof(uint64_t), BOUNCE_OUT);
		break;
	}
	return REQUEST_EXECUTE(call, prctl_pointers, (int)a[0]);
}

/* ---- keyctl ------------------------------------------------------------------------------- */

#define KEY_TYPE_SIZE 32
#define KEY_DESCRIPTION_SIZE 4096

static const struct request_pointer key_pointers[] = {
	{ KEYCTL_JOIN_SESSION_KEYRING, 1, REQUEST_STRING, KEY_DESCRIPTION_SIZE },
	{ KEYCTL_UPDATE, 2, REQUEST_IN_LENGTH, 3 },
	{ KEYCTL_DESCRIBE, 2, REQUEST_OUT_LENGTH, 3 },
	{ KEYCTL_SEARCH, 2, REQUEST_STRING, KEY_TYPE_SIZE },
	{ KEYCTL_SEARCH, 3, REQUEST_STRING, KEY_DESCRIPTION_SIZE },
	{ KEYCTL_READ, 2, REQUEST_OUT_LENGTH, 3 },
	{ KEYCTL_INSTANTIATE, 2, REQUEST_IN_LENGTH, 3 },
	{ KEYCTL_GET_SECURITY, 2, REQUEST_OUT_LENGTH, 3 },
	{ KEYCTL_PKEY_QUERY, 3, REQUEST_STRING, KEY_DESCRIPTION_SIZE },
	{ KEYCTL_PKEY_QUERY, 4, REQUEST_OUT, sizeof(struct keyctl_pkey_query) },
	{ KEYCTL_RESTRICT_KEYRING, 2, REQUEST_STRING, KEY_TYPE_SIZE },
	{ KEYCTL_RESTRICT_KEYRING, 3, REQUEST_STRING, KEY_DESCRIPTION_SIZE },
	{ KEYCTL_CAPABILITIES, 1, REQUEST_OUT_LENGTH, 2 },
};

/* A payload in several parts. */
static long key_instantiate(struct guest_call *call)
{
	const long *a = call->argument;
	struct guest_arena arena = arena_create(call);
	struct guest_vector vector;
	int taken = vector_take(&vector, &arena, (const struct iovec *)a[2], (size_t)a[3]);
	if (taken != 0)
		return taken < 0 ? taken : guest_hand_on(call);
	long bytes = vector_window(&vector, 0, vector.total, PROT_READ);
	if (bytes < 0)
		return bytes;
	return guest_execute(call, call->number, a[0], a[1], (long)vector.ours, (long)vector.window,
	                     a[4], a[5]);
}

/* Diffie-Hellman, and the function that makes keys of its result. */
static long key_compute(struct guest_call *call)
{
	const long *a = call->argument;
	struct keyctl_kdf_params derivation;
	struct guest_bounce parameters, output, hash, other;
	const void *derive = (const void *)a[4];
	if (bounce_begin(&parameters, call, (void *)a[1], sizeof(struct keyctl_dh_params),
	                 BOUNCE_IN) < 0 ||
	    bounce_begin_bounded(&output, call, (void *)a[2], (size_t)a[3], BOUNCE_OUT) < 0)
		return -ENOMEM;
	if (derive != NULL && guest_copy_in(&derivation, derive, sizeof(derivation)) == 0) {
		if (bounce_begin_string(&hash, call, derivation.hashname, KEY_TYPE_SIZE) < 0 ||
		    bounce_begin(&other, call, derivation.otherinfo, derivation.otherinfolen,
		                 BOUNCE_IN) < 0)
			return -ENOMEM;
		derivation.hashname = hash.ours;
		derivation.otherinfo = other.ours;
		derive = &derivation;
	}
	long result = guest_execute(call, call->number, a[0], (long)parameters.ours,
	                            (long)output.ours, a[3], (long)derive, 0);
	return bounce_end(&output, result);
}

/* Asymmetric keys: the lengths of argument 3 and 4 are in the parameters. */
static long key_crypt(struct guest_call *call)
{
	const long *a = call->argument;
	struct keyctl_pkey_params parameters;
	struct guest_bounce information, input, output;
	if (guest_copy_in(&parameters, (void *)a[1], sizeof(parameters)) != 0)
		return guest_hand_on(call);
	bool verifies = a[0] == KEYCTL_PKEY_VERIFY;
	if (bounce_begin_string(&information, call, (void *)a[2], KEY_DESCRIPTION_SIZE) < 0 ||
	    bounce_begin(&input, call, (void *)a[3], parameters.in_len, BOUNCE_IN) < 0 ||
	    bounce_begin_bounded(&output, call, (void *)a[4], parameters.out_len,
	                         verifies ? BOUNCE_IN : BOUNCE_OUT) < 0)
		return -ENOMEM;
	long result = guest_execute(call, call->number, a[0], (long)&parameters,
	                            (long)information.ours, (long)input.ours, (long)output.ours, 0);
	return bounce_end(&output, result);
}

long guest_keyctl(struct guest_call *call)
{
	switch ((int)call->argument[0]) {
	case KEYCTL_INSTANTIATE_IOV:
		return key_instantiate(call);
	case KEYCTL_DH_COMPUTE:
		return key_compute(call);
	case KEYCTL_PKEY_ENCRYPT:
	case KEYCTL_PKEY_DECRYPT:
	case KEYCTL_PKEY_SIGN:
	case KEYCTL_PKEY_VERIFY:
		return key_crypt(call);
	default:
		return REQUEST_EXECUTE(call, key_pointers, call->argument[0]);
	}
}

/* ---- quotactl ----------------------------------------------------------------------------- */

#define PATH_SIZE 4096

/* By the request behind the type of quota. */
static const struct request_pointer quota_pointers[] = {
	{ Q_QUOTAON, 3, REQUEST_STRING, PATH_SIZE },
	{ Q_GETFMT, 3, REQUEST_OUT, sizeof(uint32_t) },
	{ Q_GETINFO, 3, REQUEST_OUT, sizeof(struct if_dqinfo) },
	{ Q_SETINFO, 3, REQUEST_IN, sizeof(struct if_dqinfo) },
	{ Q_GETQUOTA, 3, REQUEST_OUT, sizeof(struct if_dqblk) },
	{ Q_SETQUOTA, 3, REQUEST_IN, sizeof(struct if_dqblk) },
	{ Q_GETNEXTQUOTA, 3, REQUEST_OUT, sizeof(struct if_nextdqblk) },
	{ Q_XQUOTAON, 3, REQUEST_IN, sizeof(uint32_t) },
	{ Q_XQUOTAOFF, 3, REQUEST_IN, sizeof(uint32_t) },
	{ Q_XGETQUOTA, 3, REQUEST_OUT, sizeof(struct fs_disk_quota) },
	{ Q_XSETQLIM, 3, REQUEST_IN, sizeof(struct fs_disk_quota) },
	{ Q_XGETQSTAT, 3, REQUEST_OUT, sizeof(struct fs_quota_stat) },
	{ Q_XGETQSTATV, 3, REQUEST_BOTH, sizeof(struct fs_quota_statv) },
	{ Q_XQUOTARM, 3, REQUEST_IN, sizeof(uint32_t) },
	{ Q_XGETNEXTQUOTA, 3, REQUEST_OUT, sizeof(struct fs_disk_quota) },
};

/* quotactl, of a device's path, and quotactl_fd, of a descriptor. */
long guest_quotactl(struct guest_call *call)
{
	bool by_path = call->number == SYS_quotactl;
	uint32_t request = (uint32_t)call->argument[by_path ? 0 : 1] >> SUBCMDSHIFT;
	if (!by_path)
		return REQUEST_EXECUTE(call, quota_pointers, request);
	long device = call->argument[1];
	struct guest_bounce path;
	if (bounce_begin_string(&path, call, (void *)device, PATH_SIZE) < 0)
		return -ENOMEM;
	call->argument[1] = (long)path.ours;
	long result = REQUEST_EXECUTE(call, quota_pointers, request);
	call->argument[1] = device;
	return result;
}
