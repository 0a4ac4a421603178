/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory_calls_each.c - each call, flag and error, one by one */
#include "memory_calls.h"

static void map_errors(void)
{
	int directory = open("/", O_RDONLY | O_DIRECTORY), path = open("/etc/passwd", O_PATH);
	int write_only = open("/dev/null", O_WRONLY), read_only = open("/proc/self/exe", O_RDONLY);
	int null = open("/dev/null", O_RDWR), pipes[2];
	tell("== mmap: errors\n");
	if (pipe(pipes) < 0)
		_exit(1);
	T(mmap(NULL, 0, RW, ANON, -1, 0));
	T(mmap(NULL, 0, RW, MAP_PRIVATE, -1, 0));
	T(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0));
	T(mmap(NULL, PAGE, RW, MAP_PRIVATE, 999, 0));
	T(mmap(NULL, PAGE, RW, MAP_PRIVATE, 999, 1));
	T(mmap(NULL, PAGE, RW, ANON, 999, 1));
	T(mmap(NULL, PAGE, RW, ANON, 999, PAGE));
	T(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0));
	T(mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0));
	T(mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_SYNC, self->file, 0));
	T(mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | 0x8000000, self->file, 0));
	T(mmap(NULL, SIZE_MAX, RW, ANON, -1, 0));
	T(mmap(NULL, SIZE_MAX - PAGE, RW, ANON, -1, 0));
	T(mmap(NULL, (size_t)1 << 50, PROT_NONE, ANON, -1, 0));
	T(mmap(NULL, PAGE, RW, MAP_PRIVATE, self->file, -(off_t)PAGE));
	T(mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE, self->file, -(off_t)PAGE));
	T(mmap(AT(0) + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0));
	T(mmap((void *)((uintptr_t)1 << 50), PAGE, RW, ANON | MAP_FIXED, -1, 0));
	T(mmap((void *)(UINTPTR_MAX - PAGE + 1), PAGE, RW, ANON | MAP_FIXED, -1, 0));
	T(mmap(AT(0), PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	T(mmap(AT(0), PAGE, RW, ANON | MAP_FIXED_NOREPLACE | MAP_FIXED, -1, 0));
	T(mmap(AT(0), PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	T(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, directory, 0));
	T(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, path, 0));
	T(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0));
	T(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, null, 0));
	T(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, write_only, 0));
	T(mmap(NULL, PAGE, PROT_WRITE, MAP_PRIVATE, write_only, 0));
	T(mmap(NULL, PAGE, RW, MAP_SHARED, read_only, 0));
	T(mmap(AT(0), PAGE, RW, MAP_PRIVATE | MAP_FIXED, read_only, 0));
	T(mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_GROWSDOWN, self->file, 0));
	T(mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0));
	T(mmap(AT(1), PAGE, RW | 0x100, ANON | MAP_FIXED, -1, 0));
	T(munmap(AT(1) + 1, PAGE));
	T(munmap(AT(1), 0));
	T(munmap((void *)((uintptr_t)1 << 50), PAGE));
	T(munmap(AT(1), (size_t)1 << 50));
	T(munmap(AT(1), SIZE_MAX));
	T(munmap((void *)PAGE, PAGE));
	T(munmap(AT(0), 3 * PAGE + 1));
	survey("unmapped", 0, 5);
	T(munmap(AT(0), 3 * PAGE + 1));
	T(mmap(AT(0), PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	T(mmap(AT(1), PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	survey("mapped", 0, 5);
	close(directory), close(path), close(write_only), close(read_only), close(null);
	close(pipes[0]), close(pipes[1]);
}

static void map_kinds(void)
{
	int zero = open("/dev/zero", O_RDWR);
	tell("== mmap: kinds\n");
	clear();
	T(mmap((void *)(2 * PAGE), PAGE, RW, ANON, -1, 0));
	T(munmap((void *)(16 * PAGE), PAGE));
	T(mmap(AT(0), 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, zero, 0));
	T(mmap(AT(4), 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, zero, 0));
	stamp(0, 8, 0x100);
	survey("zero", 0, 9);
	T(mmap(AT(10), 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, self->memory, 0));
	T(mmap(AT(14), 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, self->memory, 0));
	T(mmap(AT(18), 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, self->memory, 0));
	stamp(10, 4, 0x200);
	survey("ring", 10, 12);
	T(mmap(AT(12), 4 * PAGE, RW, ANON | MAP_FIXED, -1, 0));
	survey("over", 10, 8);
	T(mmap(AT(11), 2 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, self->memory, 2 * (off_t)PAGE));
	survey("under", 10, 8);
	STORE(AT(11), 1), STORE(AT(13), 1), tell("\n");
	T(mmap(AT(30), 6 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, self->file, 38 * (off_t)PAGE));
	T(mmap(AT(36), 6 * PAGE, RW, MAP_SHARED | MAP_FIXED, self->file, 38 * (off_t)PAGE));
	survey("end of file", 30, 12);
	LOOK(AT(32) + 104), LOOK(AT(38) + 104), tell("\n");
	T(pwrite(self->scratch, AT(33), PAGE, 0));
	T(pwrite(self->scratch, AT(39), PAGE, 0));
	T(pwrite(self->scratch, AT(38), 2 * PAGE, 0));
	T(mmap(AT(50), PAGE, PROT_WRITE, ANON | MAP_FIXED, -1, 0));
	T(mmap(AT(51), PAGE, PROT_EXEC, ANON | MAP_FIXED, -1, 0));
	T(mmap(AT(52), PAGE, PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	survey("prot", 50, 3);
	T(mmap(AT(60), 3 * PAGE, RW, ANON | MAP_FIXED | MAP_POPULATE | MAP_LOCKED | MAP_STACK | MAP_NORESERVE, -1, 0));
	T(mmap(AT(63), 3 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE | MAP_LOCKED, -1, 0));
	survey("populated", 60, 6);
	T(madvise(AT(60), PAGE, MADV_DONTNEED));
	T(madvise(AT(63), PAGE, MADV_DONTNEED));
	T(munmap(AT(70), 4 * PAGE));
	T(mmap(AT(71) + 5, PAGE, RW, ANON, -1, 0));
	T(mmap(AT(72), PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	T(mmap(AT(73), PAGE, RW, MAP_PRIVATE, self->file, 0));
	T(mmap(AT(71), PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	char *low = mmap(NULL, PAGE, RW, ANON | MAP_32BIT, -1, 0);
	char *huge = mmap(NULL, (size_t)12 << 40, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	tell("12 TiB: %d\n", huge != MAP_FAILED);
	munmap(huge, (size_t)12 << 40);
	tell("32 bits: %d\n", low != MAP_FAILED && (uintptr_t)low < (uintptr_t)1 << 31);
	munmap(low, PAGE);
	close(zero);
}

static void grows_down(void)
{
	struct rlimit limit;
	tell("== MAP_GROWSDOWN\n");
	clear();
	T(munmap(AT(0), 900 * PAGE));
	T(mmap(AT(600), 2 * PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
	STORE(AT(599) + 8, 5), STORE(AT(590), 6), LOOK(AT(599) + 8), LOOK(AT(595)), tell("\n");
	T(munmap(AT(588), PAGE));
	T(mprotect(AT(601), PAGE, PROT_READ | PROT_GROWSDOWN));
	STORE(AT(595), 7), tell("\n");
	T(mprotect(AT(601), PAGE, RW | PROT_GROWSDOWN));
	T(mprotect(AT(601), PAGE, RW | PROT_GROWSUP));
	T(mprotect(AT(601), PAGE, RW | PROT_GROWSUP | PROT_GROWSDOWN));
	T(mmap(AT(300), 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0));
	STORE(AT(558), 1), LOOK(AT(557)), STORE(AT(302), 1), tell("\n");
	T(mprotect(AT(300), 2 * PAGE, PROT_NONE));
	STORE(AT(310), 1), STORE(AT(302), 1), LOOK(AT(301)), tell("\n");
	T(pread(self->file, AT(300), PAGE, 0));
	getrlimit(RLIMIT_STACK, &limit);
	struct rlimit little = { 64 * PAGE, limit.rlim_max };
	T(munmap(AT(300), 400 * PAGE));
	T(mmap(AT(600), 2 * PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
	setrlimit(RLIMIT_STACK, &little);
	STORE(AT(538), 1), STORE(AT(537), 1), tell("\n");
	T(pread(self->file, AT(537), PAGE, 0));
	setrlimit(RLIMIT_STACK, &limit);
	T(pread(self->file, AT(530), PAGE, 0));
	LOOK(AT(530)), LOOK(AT(529)), tell("\n");
}

/* How many mappings there are in the reservation, as /proc says. */
static unsigned count_mappings(void)
{
	static char text[1 << 20];
	int file = open("/proc/self/maps", O_RDONLY);
	unsigned count = 0;
	size_t length = 0;
	for (ssize_t n; (n = read(file, text + length, sizeof(text) - 1 - length)) > 0;)
		length += (size_t)n;
	text[length] = '\0';
	close(file);
	for (char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n'), line += line != NULL)
		count += strtoull(line, NULL, 16) - (uintptr_t)self->base < 4 * PAGES * PAGE;
	return count;
}

/* What is one again after it was several is one mapping again. */
static void joins(void)
{
	tell("== mappings that join\n");
	clear();
	mmap(AT(10), 100 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	unsigned before = count_mappings();
	for (size_t i = 0; i < 100; i += 2)
		mprotect(AT(10 + i), PAGE, PROT_READ);
	tell("split: %d more", (int)(count_mappings() - before));
	for (size_t i = 0; i < 100; i += 2)
		mprotect(AT(10 + i), PAGE, RW);
	for (size_t i = 1; i < 100; i += 3)
		madvise(AT(10 + i), PAGE, MADV_DONTNEED);
	tell(", joined: %d more", (int)(count_mappings() - before));
	for (size_t i = 0; i < 100; i += 2)
		mmap(AT(10 + i), PAGE, RW, ANON | MAP_FIXED, -1, 0);
	tell(", mapped again: %d more\n", (int)(count_mappings() - before));
}

static void protections(void)
{
	tell("== mprotect\n");
	clear();
	mmap(AT(0), 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	mmap(AT(8), 8 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	stamp(0, 16, 0x300);
	T(mprotect(AT(0) + 1, PAGE, RW));
	T(mprotect(AT(0), 0, RW));
	T(mprotect(AT(0) + 1, 0, RW));
	T(mprotect(AT(0), PAGE, 0x100));
	T(mprotect(AT(0), PAGE, 0x100 | PROT_GROWSDOWN));
	T(mprotect(AT(0), PAGE, RW | 0x8));
	T(mprotect(AT(0), SIZE_MAX, RW));
	T(mprotect(AT(0), SIZE_MAX - PAGE, RW));
	T(mprotect((void *)PAGE, PAGE, RW));
	T(mprotect(AT(6), 4 * PAGE, PROT_READ));
	STORE(AT(5), 1), STORE(AT(6), 1), STORE(AT(9), 1), STORE(AT(10), 1), tell("\n");
	T(mprotect(AT(7), 2 * PAGE, PROT_NONE));
	survey("none", 5, 6);
	T(mprotect(AT(7), 2 * PAGE, PROT_EXEC));
	survey("exec", 5, 6);
	T(mprotect(AT(7), 2 * PAGE, PROT_WRITE));
	survey("write", 5, 6);
	munmap(AT(4), PAGE);
	T(mprotect(AT(2), 4 * PAGE, PROT_READ));
	STORE(AT(2), 1), STORE(AT(3), 1), STORE(AT(5), 1), tell("\n");
	T(mprotect(AT(4), 2 * PAGE, PROT_READ));
	STORE(AT(5), 1), tell("\n");
	int read_only = open("/proc/self/exe", O_RDONLY);
	T(mmap(AT(20), PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, read_only, 0));
	T(mmap(AT(19), PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0));
	T(mprotect(AT(19), 2 * PAGE, RW));
	STORE(AT(19), 1), STORE(AT(20), 1), tell("\n");
	close(read_only);
	T(syscall(SYS_pkey_mprotect, AT(19), PAGE, PROT_READ, -1));
	STORE(AT(19), 1), tell("\n");
}

static void remaps(void)
{
	tell("== mremap\n");
	clear();
	mmap(AT(0), 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	stamp(0, 8, 0x400);
	T(mremap(AT(0) + 1, PAGE, PAGE, MREMAP_MAYMOVE));
	T(mremap(AT(0), PAGE, 0, MREMAP_MAYMOVE));
	T(mremap(AT(0), 0, PAGE, MREMAP_MAYMOVE));
	T(mremap(AT(0), PAGE, PAGE, 8));
	T(mremap(AT(0), PAGE, PAGE, MREMAP_FIXED, AT(20)));
	T(mremap(AT(0), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(20) + 1));
	T(mremap(AT(0), 2 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(1)));
	T(mremap(AT(0), PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	T(mremap(AT(0), PAGE, PAGE, MREMAP_DONTUNMAP, NULL));
	T(mremap(AT(0), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, AT(20) + 1));
	T(mremap(AT(0), PAGE, (size_t)1 << 50, MREMAP_MAYMOVE));
	T(mremap((void *)PAGE, PAGE, PAGE, MREMAP_MAYMOVE));
	T(mremap((void *)PAGE, PAGE, PAGE, 0));
	T(mremap(AT(4), 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE));
	T(mremap(AT(0), 8 * PAGE, 9 * PAGE, 0));
	T(mremap(AT(0), 8 * PAGE, 8 * PAGE, 0));
	T(mremap(AT(0), 8 * PAGE, 6 * PAGE, 0));
	survey("shrunk", 4, 5);
	T(mremap(AT(0), 6 * PAGE, 8 * PAGE, 0));
	survey("grown", 4, 5);
	T(mremap(AT(2), 2 * PAGE, 4 * PAGE, 0));
	T(mremap(AT(2), 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(20)));
	survey("from", 0, 9), survey("to", 19, 4);
	T(mremap(AT(4), 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(24)));
	survey("from", 0, 9), survey("to", 23, 6);
	T(mremap(AT(24), 4 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(30)));
	survey("from", 23, 6), survey("to", 29, 4);
	T(mremap(AT(30), 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, AT(40)));
	survey("from", 29, 4), survey("to", 39, 4);
	T(munmap(AT(50), 2 * PAGE));
	T(mremap(AT(40), 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, AT(50)));
	survey("from", 39, 4), survey("to", 49, 4);
	char *moved = mremap(AT(50), 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
	tell("moved:");
	LOOK(AT(50)), LOOK(moved), LOOK(moved + PAGE), LOOK(moved + 2 * PAGE), tell("\n");
	T(mremap(moved, 64 * PAGE, 64 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(60)));
	survey("back", 60, 3);
}

static void remaps_of_files(void)
{
	tell("-- of files, shared\n");
	clear();
	mmap(AT(0), 8 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, self->file, 0);
	stamp(2, 2, 0x500);
	T(mremap(AT(0), 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, AT(20)));
	survey("from", 0, 5), survey("to", 20, 4);
	T(munmap(AT(8), 8 * PAGE));
	T(mremap(AT(4), 4 * PAGE, 8 * PAGE, 0));
	survey("grown", 4, 9);
	mmap(AT(40), 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, self->memory, 0);
	stamp(40, 4, 0x600);
	T(mremap(AT(40), 0, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(50)));
	T(mremap(AT(40), 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(60)));
	survey("shared", 39, 6), survey("twice", 49, 4), survey("there", 59, 6);
	T(munmap(AT(64), 4 * PAGE));
	T(mremap(AT(60), 4 * PAGE, 8 * PAGE, 0));
	stamp(64, 4, 0x700);
	survey("more", 60, 9);
	T(mremap(AT(60), 8 * PAGE, 2 * PAGE, 0));
	survey("less", 60, 4);
	T(mremap(AT(60), 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, AT(70)));
	survey("kept", 60, 2), survey("too", 70, 2);
	T(munmap(AT(80), 4 * PAGE));
	T(mmap(AT(80), 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	stamp(80, 4, 0x800);
	char *moved = mremap(AT(80), 4 * PAGE, 100 * PAGE, MREMAP_MAYMOVE);
	tell("anonymous:");
	LOOK(AT(80)), LOOK(moved), LOOK(moved + 3 * PAGE), LOOK(moved + 4 * PAGE), tell("\n");
	munmap(moved, 100 * PAGE);
}

static void remaps_of_several(void)
{
	tell("-- of several\n");
	clear();
	mmap(AT(0), 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	stamp(0, 8, 0x900);
	madvise(AT(2), 2 * PAGE, MADV_WILLNEED);
	T(mremap(AT(0), 8 * PAGE, 6 * PAGE, MREMAP_MAYMOVE));
	madvise(AT(2), 2 * PAGE, MADV_RANDOM);
	T(mremap(AT(0), 6 * PAGE, 12 * PAGE, MREMAP_MAYMOVE));
	T(mremap(AT(0), 6 * PAGE, 5 * PAGE, MREMAP_MAYMOVE));
	madvise(AT(2), 2 * PAGE, MADV_NORMAL);
	T(munmap(AT(5), 4 * PAGE));
	T(mremap(AT(0), 5 * PAGE, 8 * PAGE, 0));
	T(madvise(AT(0), 8 * PAGE, MADV_DONTFORK));
	T(munmap(AT(8), 4 * PAGE));
	T(mremap(AT(0), 8 * PAGE, 12 * PAGE, 0));
	T(mremap(AT(0), 12 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(100)));
	T(mprotect(AT(104), PAGE, PROT_READ));
	T(mremap(AT(102), 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE));
	T(mremap(AT(102), 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(120)));
	T(mremap(AT(102), 4 * PAGE, 4 * PAGE, 0));
	T(mremap(AT(102), 4 * PAGE, PAGE, 0));
	survey("rest", 100, 12);
	T(mremap(AT(100), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)((uintptr_t)1 << 50)));
}

static void advices(void)
{
	tell("== madvise\n");
	for (int kind = 0; kind < 3; kind++) {
		tell("-- kind %d\n", kind);
		for (int advice = -1; advice < 110; advice++) {
			/* Broken memory is not for a test; of huge pages each kernel thinks differently. */
			if (advice == 100 || advice == 101 || advice == 25)
				continue;
			clear();
			mmap(AT(0), 4 * PAGE, RW,
			     MAP_FIXED | (kind == 0 ? ANON : kind == 1 ? MAP_PRIVATE : MAP_SHARED),
			     kind == 0 ? -1 : kind == 1 ? self->file : self->memory, 0);
			stamp(0, 4, 0x1000);
			errno = 0;
			int result = madvise(AT(1), 2 * PAGE, advice);
			tell("%d: %d E%d", advice, result, errno);
			errno = 0;
			result = madvise(AT(1) + 1, PAGE, advice);
			tell(" %d E%d", result, errno);
			errno = 0;
			result = madvise(AT(1), 0, advice);
			tell(" %d E%d", result, errno);
			errno = 0;
			result = madvise(AT(1), SIZE_MAX - 2 * PAGE, advice);
			tell(" %d E%d", result, errno);
			munmap(AT(2), PAGE);
			errno = 0;
			result = madvise(AT(1), 3 * PAGE, advice);
			tell(" %d E%d", result, errno);
			if (advice != MADV_FREE) /* which may come at any time, or never */
				LOOK(AT(0)), LOOK(AT(1)), LOOK(AT(2)), LOOK(AT(3));
			tell("\n");
			mlock(AT(0), PAGE);
			errno = 0;
			result = madvise(AT(0), PAGE, advice);
			tell(" locked %d E%d\n", result, errno);
		}
	}
	clear();
	mmap(AT(0), 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	stamp(0, 8, 0x1100);
	T(madvise(AT(2), 2 * PAGE, MADV_GUARD_INSTALL));
	survey("guards", 0, 6);
	T(pwrite(self->scratch, AT(1), 4 * PAGE, 0));
	T(mprotect(AT(0), 8 * PAGE, PROT_READ));
	T(madvise(AT(0), 8 * PAGE, MADV_DONTNEED));
	survey("guards", 0, 6);
	T(mremap(AT(0), 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(20)));
	survey("moved", 20, 6);
	T(madvise(AT(20), 8 * PAGE, MADV_GUARD_REMOVE));
	survey("taken back", 20, 6);
	T(mprotect(AT(20), 2 * PAGE, PROT_NONE));
	T(madvise(AT(20), PAGE, MADV_POPULATE_READ));
	T(madvise(AT(22), PAGE, MADV_POPULATE_WRITE));
	T(madvise(AT(22), PAGE, MADV_POPULATE_READ));
	mmap(AT(30), 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, self->file, 40 * (off_t)PAGE);
	T(madvise(AT(30), PAGE, MADV_POPULATE_WRITE));
	T(madvise(AT(31), PAGE, MADV_POPULATE_READ));
}

static void use_of_child(void)
{
	survey("child", 0, 17);
	T(mmap(AT(9), PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	T(madvise(AT(6), PAGE, MADV_DONTNEED));
	stamp(8, 1, 0x9900), stamp(10, 1, 0x9900), stamp(0, 1, 0x9900);
}

static void forks(void)
{
	tell("== fork\n");
	clear();
	mmap(AT(0), 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	mmap(AT(8), 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	mmap(AT(12), 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, self->file, 0);
	stamp(0, 13, 0x1200);
	T(madvise(AT(1), PAGE, MADV_DONTFORK));
	T(madvise(AT(9), PAGE, MADV_DONTFORK));
	T(madvise(AT(3), 2 * PAGE, 18));
	T(mlock(AT(6), PAGE));
	in_child(use_of_child);
	survey("parent", 0, 17);
	T(madvise(AT(6), PAGE, MADV_DONTNEED));
}

static void locks(void)
{
	struct rlimit limit, none = { 0, 0 }, little = { 8 * PAGE, 8 * PAGE };
	tell("== mlock\n");
	clear();
	mmap(AT(0), 16 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	T(mlock(AT(0) + 5, PAGE));
	T(mlock(AT(0), 0));
	T(mlock(AT(0), SIZE_MAX));
	T(mlock(AT(15), 2 * PAGE));
	T(munlock(AT(15), 2 * PAGE));
	munmap(AT(8), PAGE);
	T(mlock(AT(7), 3 * PAGE));
	T(munlock(AT(7), 3 * PAGE));
	T(madvise(AT(9), PAGE, MADV_DONTNEED));
	T(syscall(SYS_mlock2, AT(0), PAGE, 2));
	T(syscall(SYS_mlock2, AT(0), PAGE, 1));
	T(msync(AT(0), PAGE, MS_INVALIDATE));
	T(mlockall(0));
	T(mlockall(MCL_ONFAULT));
	T(mlockall(16));
	T(mlockall(MCL_CURRENT));
	T(munlockall());
	T(mlockall(MCL_FUTURE));
	mmap(AT(20), PAGE, RW, ANON | MAP_FIXED, -1, 0);
	T(madvise(AT(20), PAGE, MADV_DONTNEED));
	T(munlockall());
	T(madvise(AT(20), PAGE, MADV_DONTNEED));
	publish(self);
	pid_t child = fork();
	if (child == 0) {
		/* As somebody who may lock no more than the limit. */
		if (getuid() == 0 && setresuid(65534, 65534, 65534) < 0)
			_exit(1);
		getrlimit(RLIMIT_MEMLOCK, &limit);
		setrlimit(RLIMIT_MEMLOCK, &little);
		T(mlock(AT(0), 8 * PAGE));
		T(mlock(AT(9), PAGE));
		T(mlock(AT(0), 4 * PAGE));
		T(munlock(AT(0), 4 * PAGE));
		T(mlock(AT(9), 4 * PAGE));
		T(mlock(AT(9), 5 * PAGE));
		T(mmap(AT(30), PAGE, RW, ANON | MAP_FIXED | MAP_LOCKED, -1, 0));
		T(munlock(AT(4), PAGE));
		T(mmap(AT(30), PAGE, RW, ANON | MAP_FIXED | MAP_LOCKED, -1, 0));
		T(mlockall(MCL_CURRENT));
		T(mlockall(MCL_FUTURE));
		T(mmap(AT(31), PAGE, RW, ANON | MAP_FIXED, -1, 0));
		T(munlockall());
		setrlimit(RLIMIT_MEMLOCK, &none);
		T(mlock(AT(0), PAGE));
		T(mlockall(MCL_CURRENT));
		T(mmap(AT(30), PAGE, RW, ANON | MAP_FIXED | MAP_LOCKED, -1, 0));
		T(munlock(AT(0), PAGE));
		publish(self);
		_exit(0);
	}
	int status = -1;
	waitpid(child, &status, 0);
	tell("status %x\n", (unsigned)status);
}

static void others(void)
{
	static unsigned char vector[64];
	tell("== msync, mincore, brk, shm\n");
	clear();
	mmap(AT(0), 4 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	mmap(AT(4), 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, self->memory, 0);
	stamp(0, 8, 0x1300);
	T(msync(AT(0), 8 * PAGE, MS_SYNC));
	T(msync(AT(0), 8 * PAGE, MS_ASYNC | MS_SYNC));
	T(msync(AT(0), 8 * PAGE, 8));
	T(msync(AT(0) + 1, PAGE, MS_SYNC));
	T(msync(AT(0), 0, MS_SYNC));
	T(msync(AT(0), SIZE_MAX - PAGE, MS_SYNC));
	T(msync(AT(0), 8 * PAGE, 0));
	munmap(AT(3), PAGE);
	T(msync(AT(0), 8 * PAGE, MS_SYNC));
	T(msync(AT(0), 8 * PAGE, MS_INVALIDATE | MS_ASYNC));
	T(mincore(AT(0), 3 * PAGE, vector));
	T(mincore(AT(4), 4 * PAGE, vector));
	T(mincore(AT(0), 8 * PAGE, vector));
	T(mincore(AT(0) + 1, PAGE, vector));
	T(mincore(AT(0), 0, vector));
	T(mincore(AT(0), PAGE, (void *)PAGE));
	T(mincore(AT(4), PAGE, (void *)AT(3)));
	T(mincore(AT(4), 4 * PAGE, (void *)AT(0)));
	T(syscall(SYS_remap_file_pages, AT(0), PAGE, 0, 0, 0));
	T(syscall(SYS_remap_file_pages, AT(4), PAGE, 0, 2, 0));
	survey("remapped", 4, 4);

	char *start = sbrk(0), *page = (char *)(((uintptr_t)start + PAGE - 1) & ~(PAGE - 1));
	tell("brk: %d", sbrk(3 * PAGE) == start);
	STORE(page, 0x55), LOOK(page + PAGE);
	tell(" %d", brk(page + PAGE));
	tell(" %d", sbrk(0) == page + PAGE);
	tell(" %d", brk(start) == 0 && sbrk(2 * PAGE) == start);
	LOOK(page);
	tell(" %d %d\n", brk(start), sbrk(0) == start);

	T(shmat(-1, NULL, 0));
	T(shmat(self->segment, AT(20) + 1, 0));
	T(shmat(self->segment, AT(20), 0));
	T(shmat(self->segment, NULL, SHM_REMAP));
	T(shmat(self->segment, AT(20) + 5, SHM_REMAP | SHM_RND));
	stamp(20, 16, 0x1400);
	survey("segment", 19, 18);
	T(shmat(self->segment, AT(60), SHM_REMAP | SHM_RDONLY));
	STORE(AT(60), 1), LOOK(AT(61)), tell("\n");
	char *elsewhere = shmat(self->segment, NULL, 0);
	tell("elsewhere:");
	STORE(elsewhere, 0x77), LOOK(AT(20)), tell("\n");
	T(shmdt(AT(21)));
	T(shmdt(AT(20)));
	T(shmdt(AT(20)));
	survey("detached", 19, 18);
	T(munmap(AT(62), PAGE));
	T(shmdt(AT(60)));
	survey("detached", 59, 18);
	T(mmap(AT(60), PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	T(shmdt(elsewhere));
	T(shmdt(elsewhere));
}

/* None is touched, so that there need be none. Addresses are multiples of theirs, everywhere. */
static void use_huge_pages(void)
{
	const size_t huge = 2u << 20;
	const int lazy = MAP_NORESERVE, fixed = MAP_NORESERVE | MAP_FIXED;
	int file = memfd_create("huge", MFD_HUGETLB);
	T(ftruncate(file, (off_t)(4 * huge)));
	char *area = mmap(NULL, 8 * huge, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	char *at = area + (huge - (uintptr_t)area % huge);
	T(mmap(at, huge, RW, MAP_SHARED | fixed, file, 0) == at);
	T(mmap(at + PAGE, huge, RW, MAP_SHARED | fixed, file, 0));
	T(mmap(at + huge, PAGE, RW, MAP_PRIVATE | fixed, file, 0) == at + huge);
	T(mmap(at + huge + PAGE, huge, RW, MAP_PRIVATE | fixed, file, 0));
	T(mmap(at + 2 * huge, huge, RW, ANON | MAP_HUGETLB | fixed, -1, 0) == at + 2 * huge);
	T(mmap(at + 3 * huge, PAGE, RW, ANON | MAP_HUGETLB | fixed, -1, 0) == at + 3 * huge);
	T(mmap(at + PAGE, huge, RW, ANON | MAP_HUGETLB | fixed, -1, 0));
	T((uintptr_t)mmap(NULL, huge, RW, MAP_SHARED | lazy, file, 0) % huge);
	T((uintptr_t)mmap(NULL, huge, RW, MAP_PRIVATE | lazy, file, 0) % huge);
	T((uintptr_t)mmap(NULL, huge, RW, ANON | MAP_HUGETLB | lazy, -1, 0) % huge);
	T(mmap(NULL, huge, RW, MAP_SHARED | lazy, file, PAGE));
	for (size_t i = 0; i < 4; i++) {
		T(munmap(at + i * huge, PAGE));
		T(mprotect(at + i * huge, PAGE, PROT_READ));
		T(mprotect(at + i * huge, huge, PROT_READ));
		T(munmap(at + i * huge, huge));
	}
}

static void huge_pages(void)
{
	tell("== huge pages\n");
	in_child(use_huge_pages);
}

/* As root, which may mount one, else the refusals. */
static void mount_without_execution(void)
{
	T(unshare(CLONE_NEWNS));
	T(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	T(mount("none", "/mnt", "tmpfs", MS_NOEXEC, NULL));
	int file = open("/mnt", O_TMPFILE | O_RDWR, 0600);
	T(ftruncate(file, 8 * PAGE));
	T(mmap(AT(0), 8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0));
	survey("mapped", 0, 1);
	T(mprotect(AT(0), 8 * PAGE, PROT_READ | PROT_EXEC));
	T(mprotect(AT(0), 8 * PAGE, RW));
	T(mmap(AT(8), PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 0));
	survey("unchanged", 0, 9);
}

static void no_execution(void)
{
	tell("== a file system without execution\n");
	clear();
	in_child(mount_without_execution);
}

/* What the host's mappings of frames would get, which come and go: its refusals would end programs later, at a fork.
 * So there are no such calls. */
void refused_calls(void)
{
	unsigned long nodes = 1;
	clear();
	mmap(AT(0), 100 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	stamp(0, 50, 0x1800);
	T(syscall(SYS_mseal, AT(0), 100 * PAGE, 0));
	T(syscall(SYS_mbind, AT(0), 100 * PAGE, 2, &nodes, 64, 0));
	T(syscall(SYS_mbind, AT(60), PAGE, 2, &nodes, 64, 0));
	T(syscall(SYS_mbind, AT(0), 30, 2, &nodes, 64, 0));
	stamp(0, 50, 0x1800);
	in_child(use_of_child);
	survey("parent", 0, 17);
}

void each_call(void)
{
	static void (*const parts[])(void) = { map_errors, map_kinds, grows_down, joins, protections, remaps,
		                               remaps_of_files, remaps_of_several, advices, forks, locks,
		                               others, huge_pages, no_execution };
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		parts[i]();
		publish(self);
	}
	each_call_of_files();
	each_call_of_gains();
}
