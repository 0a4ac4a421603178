/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bare.h - a SIGSEGV handler that does what paging asks of the host, and nothing else
 *
 * It is installed by the C library's sigaction itself, since upage stands in front of that, and
 * only while it is measured.
 */
#ifndef UPAGE_BENCH_BARE_H
#define UPAGE_BENCH_BARE_H

#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

typedef void bare_handler(int, siginfo_t *, void *);

static struct bare {
	char *arena;     /* [pages] of reserved addresses */
	size_t pages;
	int file;        /* the memfd */
	size_t frames;   /* of it */
	struct sigaction before;
} bare;

static inline int bare_sigaction(const struct sigaction *new, struct sigaction *old)
{
	static int (*libc_sigaction)(int, const struct sigaction *, struct sigaction *);
	if (libc_sigaction == NULL) {
		void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
		need_host(libc != NULL, "libc.so.6");
		*(void **)&libc_sigaction = dlsym(libc, "sigaction");
		need_host(libc_sigaction != NULL, "sigaction");
	}
	return libc_sigaction(SIGSEGV, new, old);
}

static inline void bare_make(size_t frames, size_t pages)
{
	bare.pages = pages;
	bare.frames = frames;
	bare.file = memfd_create("bench", MFD_CLOEXEC);
	need_host(bare.file >= 0 && ftruncate(bare.file, (off_t)(frames * PAGE)) == 0, "memfd");
	bare.arena = mmap(NULL, pages * PAGE, PROT_NONE,
	                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	need_host(bare.arena != MAP_FAILED, "mmap");
}

static inline void bare_end(void)
{
	munmap(bare.arena, bare.pages * PAGE);
	close(bare.file);
}

static inline void bare_install(bare_handler *handler)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	sigfillset(&action.sa_mask);
	need_host(bare_sigaction(&action, &bare.before) == 0, "sigaction");
}

static inline void bare_remove(void)
{
	need_host(bare_sigaction(&bare.before, NULL) == 0, "sigaction");
}

static inline void bare_hide(size_t page, size_t count)
{
	mmap(bare.arena + page * PAGE, count * PAGE, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static inline void bare_hide_all(size_t batch)
{
	for (size_t i = 0; i < bare.pages; i += batch)
		bare_hide(i, batch < bare.pages - i ? batch : bare.pages - i);
}

static inline void bare_show(size_t page, size_t frame, int prot)
{
	mmap(bare.arena + page * PAGE, PAGE, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, bare.file,
	     (off_t)(frame * PAGE));
}

static inline void bare_zero(size_t frame)
{
	static const char zeros[4096];
	if (pwrite(bare.file, zeros, PAGE, (off_t)(frame * PAGE)) != (ssize_t)PAGE)
		_exit(3);
}

static inline size_t bare_page_of(const siginfo_t *info)
{
	size_t page = (size_t)((char *)info->si_addr - bare.arena) / PAGE;
	if (page >= bare.pages)
		_exit(3);
	return page;
}

/* First touch: of page n in frame n, which was never used, or whose content has to go. */
static inline void bare_on_fresh(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	size_t page = bare_page_of(info);
	bare_show(page, page, RW);
}

static inline void bare_on_recycled(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	size_t page = bare_page_of(info);
	bare_zero(page);
	bare_show(page, page, RW);
}

#endif
