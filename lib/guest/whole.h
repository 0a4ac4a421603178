/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * whole.h - the memory of a whole program: all that it maps lies in one space
 *
 * The space covers the low part of the address space. Private and anonymous memory is paged there.
 * What is not shown is not mapped. What is shared with others (MAP_SHARED, shmat, devices) is
 * *foreign*: the kernel maps it; the space's mappings only say that it is there, and each call on it
 * is made on the kernel's mapping too.
 *
 * Locking: the space's, for the whole of each call that changes mappings; before it, `lock` (rank 0)
 * for the end of the data segment and the open files.
 * Signal context: all but whole_create.
 * Source: mmap(2), brk(2), mremap(2).
 */
#ifndef UPAGE_GUEST_WHOLE_H
#define UPAGE_GUEST_WHOLE_H

#include "call.h"
#include "upage.h"

#define WHOLE_START ((uintptr_t)0x10000)         /* vm.mmap_min_addr */
#define WHOLE_END ((uintptr_t)1 << 45)           /* 32 TiB           */
#define WHOLE_LIMIT (((uintptr_t)1 << 47) - 4096) /* of any program's addresses */
#define WHOLE_PROT (PROT_READ | PROT_WRITE | PROT_EXEC)

/* The space of the whole program; NULL: a linked one. */
extern upage_space *whole_space;

/* Where things go that do not say where. */
struct whole_layout {
	uintptr_t program;       /* programs that can be anywhere; of segments: their data,
	                            with the code before it                            */
	uintptr_t mappings, end; /* of mmap, upwards                                   */
	uintptr_t low;           /* and below them, where they are full; 0: nowhere    */
	uintptr_t stack;         /* its end                                            */
	size_t stack_whole;      /* all that it ever has; 0: it grows                  */
};
extern struct whole_layout whole_layout;

/* In base and bounds, or segments, as the pool's options say; else in pages. */
int whole_create(upage_pool *pool);

/* Of a program that can be @anywhere, or not, and has an interpreter or stands @alone. Whether one can whose
 * segments are so aligned: not if its data must begin where a segment does. Before it is loaded; where it then
 * begins, if what it may write begins @data bytes behind that; and where its heap does, if its own end is @behind. */
bool whole_can_be_anywhere(uintptr_t alignment);
void whole_expect_code(bool anywhere);
uintptr_t whole_place(size_t data, bool anywhere, bool alone);
uintptr_t whole_place_heap(uintptr_t behind, bool anywhere, bool alone);

/* Where the data segment begins. */
void whole_set_break(uintptr_t start);

/* Takes and gives back `lock`: around a fork, and while names and files are looked at. */
void whole_lock(void);
void whole_unlock(void);

/* In the child of a fork, under that lock. */
void whole_fork_child(void);

/* The kernel's results, as of the calls without `guest_`. */
long whole_map(uintptr_t address, size_t length, int prot, int flags, int descriptor,
               int64_t offset);
long whole_unmap(uintptr_t address, size_t length);

/* Whether all of a range lies where the program's memory is. */
bool whole_has(uintptr_t address, size_t length);

/* MAPPING_* of what will be mapped: mlockall(2). */
extern unsigned whole_default_flags;

/* Whether as much may be locked, if @flags say that it is: 0, or what mmap(2) returns. The space's
 * lock is held. */
long whole_check_locks(size_t length, unsigned flags);

/* As MAP_POPULATE. Return: whether all of it can be there. No lock is held. */
bool whole_populate(uintptr_t start, uintptr_t end);

/* A call of the program's that makes or changes mappings which are the kernel's business. Where the process has all
 * that it may have, those of pages give way; the spare ones (host_spare.c) are not for the program. */
long whole_kernel_maps(long number, long a, long b, long c, long d, long e, long f);

/* Where a mapping without MAP_FIXED goes; 0: nowhere. The space's lock is held. */
uintptr_t whole_find_place(uintptr_t hint, size_t length, size_t alignment, int flags);

/* What a mapping is called in /proc/self/maps; NULL: nothing. Both locks are held. */
struct mapping;
const char *whole_name(const struct mapping *mapping);

/* mapped.c: the store of a file that the program maps by @descriptor. `lock` is held. Return: 0 or a negated errno value. */
struct stat;
int whole_file(int descriptor, const struct stat *status, upage_store **out);

/* The program is about to take a record lock of a file, which ends with any descriptor of the file that the process closes;
 * and this process has none: it is the child of a fork, under that lock. */
void whole_file_locked(int descriptor);
void whole_file_locked_end(void);
void whole_files_unlocked(void);

/* The program is about to close a descriptor, which ends the process's record locks of its file. */
void whole_file_closes(int descriptor);

/* Of a file that may be locked so a descriptor of ours, which stays ours; -1: it is not locked, or cannot be read. */
int whole_locked_file(const struct stat *status);

/* Before an execve, and after one that failed (@begins false): ours of such files stay open. @program: one more of ours, if
 * it is of such a file. Return: how many @numbers a successor has to take over. */
#define WHOLE_LOCKED_MAX 256
size_t whole_files_leave(int program, int numbers[WHOLE_LOCKED_MAX], bool begins);
void whole_file_take(int descriptor);

/* After each call: of files that nothing is mapped from any more our descriptors are closed, so that the program's may be
 * the last ones. One load where there can be none. */
void whole_files_idle(void);

/* The store of a mapped file; NULL: there is none. `lock` is held. */
upage_store *whole_store(uint64_t device, uint64_t inode);

/* A call of the program's has been made: a mapped file may have become shorter. */
void whole_call_done(struct guest_call *call, long result);

/* What the kernel would say of the first stack, the data segment, and the auxiliary vector. */
void whole_set_stack(uintptr_t stack, const void *auxiliary, size_t bytes);
uintptr_t whole_stack(void);
uintptr_t whole_break(void);
const void *whole_auxiliary(size_t *bytes);

guest_handler whole_mmap, whole_munmap, whole_brk, whole_shmat, whole_shmdt;

/* range.c, remap.c */
guest_handler whole_mprotect, whole_madvise, whole_mincore, whole_mlock, whole_munlock, whole_msync,
        whole_mlockall, whole_munlockall, whole_mremap, whole_remap_file_pages;

#endif
