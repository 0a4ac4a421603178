/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory_calls_random.c - memory calls at random, by each thread in a reservation of its own */
#include "memory_calls.h"

static uint64_t any(uint64_t below)
{
	self->random ^= self->random << 13;
	self->random ^= self->random >> 7;
	self->random ^= self->random << 17;
	return (self->random >> 11) % below;
}

static int any_prot(void)
{
	static const int prots[] = { RW, RW, RW, RW, PROT_READ, PROT_READ | PROT_EXEC, PROT_NONE };
	return prots[any(sizeof(prots) / sizeof(prots[0]))];
}

static void fuzz_map(size_t page, size_t count)
{
	int prot = any_prot(), how = MAP_FIXED | (any(4) == 0 ? MAP_POPULATE : 0);
	off_t offset = (off_t)(any(48) * PAGE);
	switch (any(7)) {
	case 0:
		T(mmap(AT(page), count * PAGE, prot, how | MAP_SHARED | MAP_ANONYMOUS, -1, 0));
		break;
	case 1:
		T(mmap(AT(page), count * PAGE, prot, how | MAP_SHARED, self->other, offset));
		break;
	case 2:
		T(mmap(AT(page), count * PAGE, prot, how | MAP_SHARED, self->memory, offset));
		break;
	case 3:
		T(mmap(AT(page), count * PAGE, prot, how | MAP_PRIVATE, self->file, offset));
		break;
	case 4:
		T(mmap(AT(page), count * PAGE, prot, how | MAP_PRIVATE, self->file, 8 * (off_t)PAGE));
		break;
	default:
		T(mmap(AT(page), count * PAGE, prot, how | ANON, -1, 0));
	}
}

static void fuzz_advise(size_t page, size_t count)
{
	static const int advices[] = { MADV_NORMAL,    MADV_RANDOM,   MADV_SEQUENTIAL, MADV_WILLNEED,
		                       MADV_DONTNEED,  MADV_DONTNEED, MADV_REMOVE,     MADV_DONTFORK,
		                       MADV_DOFORK,    MADV_DONTDUMP, MADV_COLD,       MADV_PAGEOUT,
		                       MADV_PAGEOUT,   MADV_NOHUGEPAGE, MADV_POPULATE_READ,
		                       MADV_POPULATE_WRITE, MADV_DONTNEED_LOCKED, MADV_GUARD_INSTALL,
		                       MADV_GUARD_REMOVE };
	int advice = advices[any(sizeof(advices) / sizeof(advices[0]))];
	T(madvise(AT(page), count * PAGE, advice));
}

/* Only what is one mapping to every kernel, or may be several. */
static void fuzz_remap(size_t page, size_t count, bool several)
{
	size_t to = any(PAGES - count);
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (any(4) == 0 ? MREMAP_DONTUNMAP : 0);
	switch (any(4)) {
	case 0:
		T(mremap(AT(page), PAGE, count * PAGE, 0));
		break;
	case 1:
		T(mremap(AT(page), PAGE, count * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(to)));
		break;
	default:
		if (!several)
			count = 1;
		/* The kernel would unlock the whole of a mapping of which a part is moved so. */
		for (size_t i = 0; flags & MREMAP_DONTUNMAP && i < PAGES; i++)
			munlock(AT(i), PAGE);
		T(mremap(AT(page), count * PAGE, count * PAGE, flags, AT(to)));
	}
}

static void fuzz_transfer(size_t page, size_t count)
{
	off_t offset = (off_t)any(44 * PAGE);
	size_t length = count * PAGE - any(PAGE);
	char *at = AT(page) + any(PAGE);
	switch (any(6)) {
	case 0:
		T(pread(self->file, at, length, offset));
		break;
	case 1:
		T(pwrite(self->scratch, at, length, 0));
		break;
	case 2:
		T(pwrite(self->file, "changed", 8, offset));
		break;
	case 3:
		T(pwrite(self->memory, "changed", 8, offset));
		break;
	case 4:
		T(ftruncate(self->file, (off_t)(20 * PAGE + any(24 * PAGE))));
		break;
	default:
		T(ftruncate(self->memory, (off_t)(32 * PAGE + any(32 * PAGE))));
	}
}

/* Apart from the others: several mappings of which one is a segment cannot be moved. */
static void fuzz_segment(size_t page)
{
	switch (any(5)) {
	case 0:
		T(shmdt(AT(page)));
		break;
	case 1:
		T(munmap(AT(page), PAGE));
		break;
	case 2:
		T(mprotect(AT(page), PAGE, PROT_READ));
		break;
	case 3:
		T(mmap(AT(page), 4 * PAGE, RW, ANON | MAP_FIXED, -1, 0));
		break;
	default:
		T(shmat(self->segment, AT(page), SHM_REMAP | (any(2) ? SHM_RDONLY : 0)));
	}
	STORE(AT(page), self->random), LOOK(AT(PAGES + any(64))), tell("\n");
}

static void fuzz_step(unsigned step, bool several)
{
	size_t count = 1 + any(any(4) == 0 ? 32 : 4), page = any(PAGES - count);
	tell("%u.%u %zu+%zu ", self->number, step, page, count);
	switch (any(16)) {
	case 0:
	case 1:
		fuzz_map(page, count);
		break;
	case 2:
		T(munmap(AT(page), count * PAGE));
		break;
	case 3:
	case 4:
		T(mprotect(AT(page), count * PAGE, any_prot()));
		break;
	case 5:
	case 6:
		fuzz_remap(page, count, several);
		break;
	case 7:
	case 8:
		fuzz_advise(page, count);
		break;
	case 9:
		T(msync(AT(page), count * PAGE, any(2) ? MS_SYNC : MS_ASYNC | MS_INVALIDATE));
		break;
	case 10:
		if (any(3) == 0)
			T(mlock(AT(page), count * PAGE));
		else
			T(munlock(AT(page), count * PAGE));
		break;
	case 11:
		fuzz_transfer(page, count);
		break;
	case 12:
		fuzz_segment(PAGES + any(64));
		break;
	default:
		for (size_t i = page; i < page + count; i++)
			STORE(AT(i) + 8 * any(512), self->random);
		tell("\n");
	}
	for (int i = 0; i < 4; i++)
		LOOK(AT(any(PAGES)) + 8 * any(512));
	tell("\n");
}

/* All that can be read, in one number a page. */
static void fuzz_all(void)
{
	for (size_t page = 0; page < PAGES; page++) {
		uint64_t sum = 0, value = 0;
		for (size_t at = 0; at < PAGE; at += 8) {
			int number = reference(AT(page) + at, &value, false);
			sum = sum * 31 + (number == 0 ? value : (uint64_t)(number * 100 + self->code));
		}
		tell("%llx%c", (unsigned long long)sum, page % 8 == 7 ? '\n' : ' ');
	}
}

static unsigned steps;
static bool may_move_several;

static void *fuzz(void *argument)
{
	self = argument;
	for (unsigned step = 0; step < steps; step++) {
		fuzz_step(step, may_move_several);
		if (step % 256 == 255)
			fuzz_all();
	}
	fuzz_all();
	return NULL;
}

int random_calls(uint64_t seed, unsigned count, unsigned threads)
{
	static struct world worlds[16];
	pthread_t thread[16];
	struct utsname system;
	unsigned major = 0, minor = 0;
	steps = count;
	uname(&system);
	if (sscanf(system.release, "%u.%u", &major, &minor) == 2)
		may_move_several = major > 6 || (major == 6 && minor >= 17);
	for (unsigned i = 0; i < threads; i++)
		world_make(&worlds[i], i, seed);
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, fuzz, &worlds[i]) != 0)
			return 1;
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < threads; i++) {
		publish(&worlds[i]);
		shmctl(worlds[i].segment, IPC_RMID, NULL);
	}
	return 0;
}
