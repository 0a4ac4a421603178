/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * whole.h - the memory of a whole program: all that it maps lies in one space
 *
 * The space covers the low part of the address space. Private and anonymous memory is paged there;
 * what is shared with others (MAP_SHARED, shmat, devices) is the kernel's, unpaged, above it, and
 * its calls are handed on.
 *
 * Locking: the space's; `lock` (rank 0) for the end of the data segment and the open files.
 * Signal context: all but whole_create.
 * Source: mmap(2), brk(2), mremap(2).
 */
#ifndef UPAGE_GUEST_WHOLE_H
#define UPAGE_GUEST_WHOLE_H

#include "call.h"
#include "upage.h"

#define WHOLE_START ((uintptr_t)0x10000)         /* vm.mmap_min_addr */
#define WHOLE_END ((uintptr_t)1 << 45)           /* 32 TiB           */
#define WHOLE_PROGRAM ((uintptr_t)0x155555554000) /* of programs that can be anywhere */
#define WHOLE_MAPPINGS ((uintptr_t)0x180000000000) /* of mmap, upwards                 */
#define WHOLE_STACK (WHOLE_END - 0x1000)         /* its end          */

/* The space of the whole program; NULL: a linked one. */
extern upage_space *whole_space;

int whole_create(upage_pool *pool);

/* Where the data segment begins. */
void whole_set_break(uintptr_t start);

/* Around a fork. */
void whole_fork_begin(void);
void whole_fork_end(void);

/* The kernel's results, as of the calls without `guest_`. */
long whole_map(uintptr_t address, size_t length, int prot, int flags, int descriptor,
               int64_t offset);
long whole_unmap(uintptr_t address, size_t length);

/* Its mappings, in the form of /proc/self/maps. */
struct stream;
void whole_list(struct stream *stream);

guest_handler whole_mmap, whole_munmap, whole_mremap, whole_brk;

#endif
