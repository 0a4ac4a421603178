/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.h - the host's side: the only caller of mmap, mprotect, madvise, memfd_create
 *
 * A space is one reservation (PROT_NONE, anonymous, no swap reserved) in which pages are
 * shown by mapping their frames over it, and hidden by mapping the reservation over them
 * again; or, in the space of a whole program, by unmapping them (host_leave_holes). There is
 * nothing between shown and hidden: a page whose access is revoked is hidden, so that it
 * costs no host mapping and no second revocation when it is evicted. References to pages
 * that are shown are asked of the host, in /proc/self/pagemap.
 *
 * The host merges neighbours whose frames are neighbours too and whose protection agrees.
 * It allows vm.max_map_count mappings in a process, and past that mmap fails: the pager
 * keeps count and stays within a budget.
 *
 * Addresses, offsets and lengths are multiples of the host page unless said otherwise.
 * Results are 0 or a negated errno value. Signal context: yes, errno is never touched.
 * Source: mmap(2), memfd_create(2), process_madvise(2); proc(5) for vm.max_map_count and
 * /proc/pid/pagemap.
 */
#ifndef UPAGE_HOST_H
#define UPAGE_HOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "compiler.h"

#define HOST_PAGE_SIZE ((size_t)4096)

/* Newer than the headers of Debian 12, or of other C libraries. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

static inline uintptr_t host_page_up(uintptr_t address)
{
	return round_up(address, HOST_PAGE_SIZE);
}

static inline uintptr_t host_page_down(uintptr_t address)
{
	return round_down(address, HOST_PAGE_SIZE);
}

/* Address space. @address NULL: anywhere; else there or -EEXIST. */
int host_reserve(void *address, size_t length, void **base);
int host_release(void *base, size_t length);

/* The same anywhere, @offset bytes behind a multiple of @alignment. */
int host_reserve_aligned(size_t length, size_t alignment, size_t offset, void **base);

/* Moves the host's mappings of a range, and the tables of its pages, to where @length bytes are reserved.
 * @from keeps mappings of the same frames, but empty tables: the host fills them when they are
 * referenced. On failure a part may have been moved. Cost: O(mappings), and where both are at multiples of
 * 2 MiB, or 1 GiB, a few ns for each so many bytes. */
int host_move(uintptr_t from, uintptr_t to, size_t length);

/* Whether the host can do that with more than one mapping: since Linux 6.17. */
bool host_can_move(void);

/* Whether the process may have only so many bytes of addresses (RLIMIT_AS). */
bool host_counts_addresses(void);

/* Show frames (lazily: the host finds them when they are referenced), hide them, change what may be
 * done with them. */
int host_show(int memory, uintptr_t page, off_t offset, size_t length, int prot);
int host_show_lazily(int memory, uintptr_t page, off_t offset, size_t length, int prot);
/* Pages of a file, of which none will be written to: no frames. */
int host_show_file(int file, uintptr_t page, off_t offset, size_t length, int prot);
int host_hide(uintptr_t page, size_t length);
/* Frames at an address of our own, where they are filled; and then shown, in place of what is shown
 * there, by moving that mapping. */
int host_borrow(int memory, off_t offset, size_t length, void **at);
int host_show_borrowed(void *at, uintptr_t page, size_t length);
int host_protect(uintptr_t page, size_t length, int prot);

/* Guards: marks in the host's page table, on pages of a file's mapping. A reference to one traps, and it
 * takes no mapping of its own. Whether the host has them (Linux 6.15), by trying: 1, 0, or its error; it could not be
 * tried, and may be another time. */
int host_has_guards(void);

/* A mapping of a file, readable and writable, in which the byte of address a is that at offset a, over
 * what is at [start, start + length): with a guard on each page. Other threads see one or the other.
 * Cost: 15 us for each 2 MiB, and a page for the host's table. */
int host_lay_guards(int file, uintptr_t start, size_t length);

/* Guards on pages in there; and off again, where the host brings the pages in at once if they are
 * not to be shown @lazily. Then it says, too, if it has no memory for them: they have guards. */
int host_guard(uintptr_t page, size_t length);
int host_unguard(uintptr_t page, size_t length, bool writable, bool lazily);

/* In [start, end) what is hidden is a hole from now on, where the kernel puts nothing by itself:
 * cheaper than the reservation, now and when a page is shown there again. For a whole program, before its space
 * is made: spare mappings are laid late, then. */
void host_leave_holes(uintptr_t start, uintptr_t end);

/* References, as the host's page table has them. A page that was aged stays shown, but has no entry
 * there until it is referenced, when the host makes one: that costs a tenth of a signal.
 * Address and length of each range, which are shown. Return: 0, or the host's error: it may have
 * aged none, and cannot be asked; nothing else changed. */
int host_age(const struct iovec *ranges, unsigned count);

/* Of up to 64 shown pages beside each other, of @length bytes each: a bit for each that was
 * referenced since it was shown or aged, and not long ago: the host may forget it when it needs
 * memory itself. None where it cannot be told. */
uint64_t host_references(uintptr_t page, size_t length, unsigned count);

/* The same of pages anywhere, by one call where the host can: a quarter of what one takes alone. */
uint64_t host_references_each(const uintptr_t *pages, size_t length, unsigned count);

/* In the child of a fork: what the host was asked by is the parent's. */
void host_references_fork_child(bool share_files);

/* Brings in what the host maps there itself. Return: 0, or why it cannot be referenced so. */
int host_populate(uintptr_t page, size_t length, bool write);

/* How large a stack may grow: RLIMIT_STACK. */
uint64_t host_stack_limit(void);

/* Physical memory: a memfd of @bytes. Return: its descriptor, or a negated errno value. */
int host_memory_create(uint64_t bytes);

/* Whole transfers at an offset of a descriptor; less is -EIO. host_read_file() says how many
 * bytes there were before the end, host_read_cached() -EAGAIN for what is not in memory. */
int host_read_cached(int descriptor, void *buffer, size_t length, off_t offset);
int host_read(int descriptor, void *buffer, size_t length, off_t offset);
ssize_t host_read_file(int descriptor, void *buffer, size_t length, off_t offset);
int host_write(int descriptor, const void *buffer, size_t length, off_t offset);
int host_zero(int descriptor, off_t offset, size_t length);
int host_punch(int descriptor, off_t offset, size_t length); /* give the medium back */
int host_sync(int descriptor);
int64_t host_file_size(int descriptor);
void host_close(int descriptor);

/* Bytes of a file of memory go to another place in it, which they may overlap, as memmove(3) does it; what
 * is a hole becomes one there. Return: 0, or the host's error: of a place apart from the old one, which
 * is as it was. */
int host_memory_move(int memory, off_t from, off_t to, size_t length);

/* The same bytes of another file; where the file system can share them, it does. The other
 * has holes where this one has long ones, and had nothing there before. Only before the child of a
 * fork is made: it may map memory for a while. */
int host_copy(int from, int to, off_t offset, size_t length);

/* ---- Descriptors of the library's own ----
 *
 * They live beside the program's, in one table of the process, and should never be noticed:
 * each is moved to a high number, out of the way of programs that count on low ones, and is
 * known by its number (for whoever stands before close(2)) and by its holder, the word that
 * everyone takes the number from, so that it can be given another number later. */
#define HOST_DESCRIPTORS_MAX 4096

/* A system call that makes a descriptor, also where the program has all that it may have, if the hard
 * limit is above its own. Return: it, or a negated errno value. */
int host_descriptor(long number, long a, long b, long c, long d);

/* A copy of a descriptor with such a number as host_raise() gives, if there is one. Nothing is closed for it. */
int host_copy_descriptor(int descriptor);

/* Moves a descriptor to a high number, unless it has one: above all that the program may have, where the hard limit
 * lets us. Closed by execve. Return: its number; the old one is closed unless it is that. */
int host_raise(int descriptor);

/* @descriptor, moved up, is from now on in *@holder. Return: 0, or -EMFILE: it is closed. */
int host_keep(_Atomic int *holder, int descriptor);

/* A child of vfork(2) borrows the memory, but has a table of descriptors of its own: what it opened would be a number
 * there, and something else or nothing for the process that goes on with the memory. So who opens late asks.
 * host_process_begin() is for who makes a pool, and for the child of a fork. */
void host_process_begin(void);
bool host_process_borrows(void);

/* Closes it, if there is one; *@holder is -1 then. */
void host_drop(_Atomic int *holder);

/* The same in a process whose table of descriptors is another's too, who still needs it: it
 * stays open, and is nobody's here. */
void host_abandon(_Atomic int *holder);

/* Closes those that are nobody's: in a child that has a table of its own again. */
void host_drop_abandoned(void);

/* Two holders exchange what they hold. */
void host_exchange(_Atomic int *a, _Atomic int *b);

bool host_owns_descriptor(int descriptor);

/* The lowest of ours that is not under @from, or -1. */
int host_next_descriptor(int from);

/* Where ours begin, as the limits are now: above the program's soft limit, where the hard one lets us, else among the
 * highest under it. But not so high that the kernel's table of descriptors, which every fork copies, becomes large. */
int host_descriptors_begin(void);

/* Gives one of ours another number. The old one stays open, for threads that have read it from
 * the holder already; the caller closes it when there can be none. One call at a time.
 * Return: 0, or -EBADF (not ours, or nobody's here), or the host's error. */
int host_renumber(int descriptor);

/* The library's own memory: zeroed, taken from the machine as it is touched. NULL: none. */
void *host_metadata(size_t bytes);
void host_metadata_release(void *memory, size_t bytes);
size_t host_metadata_bytes(void); /* set up now, touched or not */

/* A part of a reservation becomes such memory, never in large pages if it is @sparse. Return: 0, or the
 * host's error. What is given up in there is zero again; what is @length bytes from a multiple of the
 * host's large page on is put into large pages, if the host can. */
#define HOST_LARGE_PAGE ((size_t)2 << 20)
int host_commit(uintptr_t start, size_t bytes, bool sparse);
void host_collapse(uintptr_t start, size_t length);
void host_empty(void *memory, size_t bytes);

/* A mapping that the host made for us is not in the children of a fork. */
void host_keep_from_children(void *start, size_t bytes);

/* Memory that children of a fork share: zeroed; ended by host_release(). NULL: none. */
void *host_shared(size_t bytes);

/* The same, of a file of memory: for whoever has its descriptor. */
void *host_share(int descriptor, size_t bytes);

/* A word that is not 0, and not what it is in any other process, until the process forks; in
 * the child it is 0 before any of its code runs, until the child asks for it. NULL: no memory. */
_Atomic uint64_t *host_fork_word(void);

/* How many mappings spaces may have: what the host allows, less those that the process has
 * now and a reserve for its own later ones. */
uint64_t host_mapping_budget(void);

/* Spare mappings: as many pages, which are given up for a call of ours that the host refuses
 * because the process has all that it may have, whoever took them. The call is made again. So none of
 * ours fails for that while there are spares, and that some are missing says that room must be made. */
#define HOST_SPARES 32

/* Lays those that are missing. Return: whether all are laid; else the host refuses.
 * Cost: 2 us each, and where all are laid a few loads. */
bool host_spares_lay(void);

/* How many there are. */
unsigned host_spares_left(void);

/* Whether that is to be done, by how many mappings spaces have: because some are missing, or because
 * they are more than a few now, in a whole program. Most of those end before. */
#define HOST_SPARES_LATE 128
extern _Atomic uint64_t host_spares_from;
static inline bool host_spares_are_wanted(uint64_t mappings)
{
	return mappings >= atomic_load_explicit(&host_spares_from, memory_order_relaxed);
}

/* Whether the process can have as many more mappings as a call of its own may need, by trying: what the host refuses
 * then, it refuses for another reason. */
bool host_has_mappings(void);

/* A system call that makes, changes or ends mappings, with the spares given up that it needs. Those that are missing
 * then are laid again from what it freed. */
long host_mapping_call(long number, long a, long b, long c, long d, long e, long f);

/* The same of one that hides pages, or ends mappings: the last ones are for these. */
long host_hiding_call(long number, long a, long b, long c, long d, long e, long f);

/* A clock that costs a few cycles, and its rate. */
uint64_t host_ticks(void);
uint64_t host_nanoseconds(void);

void host_yield(void);
int host_thread_id(void);

/* Whether the process has other threads than the caller and @ours, or may have. */
bool host_has_threads(unsigned ours);

/* The exit status of the first thread of the process, if that has ended, and others are left; else 0. */
int host_first_thread_status(void);

/* Asks whoever carries out our system calls whether it pages all of the memory: `upage run` answers
 * 1, a kernel -EINVAL. A request of prctl(2). */
#define HOST_IS_PAGED 0x55504745 /* "UPGE" */
bool host_is_paged(void);

/* The end, at once and without a word: for when going on would harm another process. */
_Noreturn void host_die(void);

#endif
