/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory_calls_files.c - calls on files that are mapped: what changes them, whose locks they have */
#include "memory_calls.h"

#include <sys/file.h>

/* ---- Files that change ---------------------------------------------------------------------------- */

static void files(void)
{
	static char page[PAGE];
	tell("== files that change\n");
	clear();
	int file = make_file(8 * PAGE);
	mmap(AT(0), 10 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, file, 0);
	mmap(AT(10), 10 * PAGE, RW, MAP_SHARED | MAP_FIXED, file, 0);
	survey("fresh", 0, 20);
	stamp(2, 2, 0x1500);
	memset(page, 0x66, sizeof(page));
	T(pwrite(file, page, sizeof(page), PAGE));
	T(pwrite(file, page, sizeof(page), 2 * PAGE));
	survey("written", 0, 20);
	T(ftruncate(file, PAGE + 100));
	survey("short", 0, 20);
	T(ftruncate(file, 4 * PAGE));
	survey("long", 0, 20);
	T(pwrite(file, page, sizeof(page), 8 * PAGE));
	survey("longer", 0, 20);
	T(lseek(file, 3 * PAGE, SEEK_SET));
	T(write(file, page, sizeof(page)));
	survey("moved on", 0, 20);
	close(file);

	int memory = memfd_create("sealed", MFD_ALLOW_SEALING);
	T(ftruncate(memory, 4 * PAGE));
	T(mmap(AT(30), 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, memory, 0));
	survey("memory", 30, 4);
	T(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW));
	stamp(30, 2, 0x1600);
	T(mmap(AT(40), 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, memory, 0));
	T(mmap(AT(40), 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, memory, 0));
	T(mprotect(AT(40), PAGE, RW));
	T(mmap(AT(50), 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, memory, 0));
	survey("sealed", 30, 2), survey("too", 40, 2), survey("private", 50, 2);
	close(memory);
}

#define NAME "/tmp/memory_callsXXXXXX"

/* One that others can open, until it is unlinked; mapped at the beginning of a reservation that is empty else. */
static int mapped_file(char *name)
{
	clear();
	strcpy(name, NAME);
	int file = mkstemp(name);
	if (file < 0 || ftruncate(file, 2 * PAGE) < 0)
		_exit(1);
	T(mmap(AT(0), 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, file, 0));
	return file;
}

/* Each way to cut a file off; what had been written to a page goes with it. */
static void cut(unsigned way, int file, const char *name)
{
	static char path[1000];
	uint64_t how[] = { O_RDWR | O_TRUNC, 0, 0 };
	switch (way) {
	case 0:
		T(ftruncate(file, 0));
		break;
	case 1:
		T(truncate(name, 0));
		break;
	case 2: /* a path longer than what most need */
		strcpy(path, "/tmp");
		while (strlen(path) < 600)
			strcat(path, "/.");
		strcat(path, name + strlen("/tmp"));
		T(truncate(path, 0));
		break;
	case 3:
		T(close(open(name, O_RDWR | O_TRUNC)));
		break;
	case 4:
		T(close(openat(AT_FDCWD, name, O_RDWR | O_TRUNC)));
		break;
	case 5:
		T(close((int)syscall(SYS_openat2, AT_FDCWD, name, how, sizeof(how))));
		break;
	default:
		T(close(creat(name, 0600)));
	}
}

static void cut_off(void)
{
	char name[sizeof(NAME)];
	tell("== files that are cut off\n");
	for (unsigned way = 0; way <= 6; way++) {
		int file = mapped_file(name);
		stamp(1, 1, 0x1700);
		cut(way, file, name);
		survey("cut off", 0, 2);
		close(file);
		unlink(name);
	}
}

/* ---- Locks of files ------------------------------------------------------------------------------- */

/* Whether a child would have to wait for a record lock. */
static void tell_record_lock(const char *when, int file)
{
	int status = -1;
	pid_t us = getpid(), child = fork();
	if (child == 0) {
		struct flock lock = { .l_type = F_WRLCK };
		if (fcntl(file, F_GETLK, &lock) < 0)
			_exit(9);
		_exit(lock.l_type == F_UNLCK ? 0 : lock.l_pid == us ? 1 : 2);
	}
	waitpid(child, &status, 0);
	tell("%s: %x\n", when, (unsigned)status);
}

/* They end when the process closes any descriptor of the file, but with no mapping. */
static void record_locks(void)
{
	struct flock lock = { .l_type = F_WRLCK };
	int file = make_file(2 * PAGE), other = make_file(2 * PAGE);
	tell("== record locks of mapped files\n");
	clear();
	T(mmap(AT(0), 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, file, 0));
	survey("mapped", 0, 2);
	T(fcntl(file, F_SETLK, &lock));
	tell_record_lock("locked", file);
	T(munmap(AT(0), 2 * PAGE));
	tell_record_lock("unmapped", file);
	T(mmap(AT(0), 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, other, 0));
	T(close(other));
	tell_record_lock("another one is mapped", file);
	T(mmap(AT(0), 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, file, 0));
	T(munmap(AT(0), 2 * PAGE));
	tell_record_lock("mapped again, and unmapped", file);
	T(close(dup(file)));
	tell_record_lock("a descriptor is closed", file);
	T(fcntl(file, F_SETLKW, &lock));
	tell_record_lock("locked again", file);
	close(file);
	other = make_file(2 * PAGE);
	T(fcntl(other, F_SETLK, &lock));
	T(mmap(AT(0), 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, other, 0));
	tell_record_lock("locked, and then mapped", other);
	survey("mapped", 0, 2);
	close(other);
}

/* Nor do they end with an execve, be it of the very file, or one that fails. */
static void execute_locked(int locked[LOCKED_FILES], int rounds)
{
	static char text[LOCKED_FILES + 1][12];
	char *words[] = { "memory_calls", "locked", text[0], text[1], text[2], text[3], text[4], NULL };
	for (int i = 0; i <= LOCKED_FILES; i++)
		sprintf(text[i], "%d", i < LOCKED_FILES ? locked[i] : rounds);
	publish(self);
	execv("/proc/self/exe", words);
	_exit(1);
}

/* Of the program, of a file that was mapped, of one that was not, and of one that cannot be. */
void what_is_locked(int locked[LOCKED_FILES], int rounds)
{
	static const char *const names[] = { "the program", "mapped", "not mapped", "a device" };
	for (int i = 0; i < LOCKED_FILES; i++)
		tell_record_lock(names[i], locked[i]);
	for (int i = 0; i < 3; i++) {
		T(mmap(AT(0), PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, locked[i], 0));
		T(munmap(AT(0), PAGE));
		tell_record_lock(names[i], locked[i]);
	}
	T(execve("/proc/self/exe", (char **)PAGE, NULL));
	tell_record_lock("not executed", locked[0]);
	if (rounds > 0)
		execute_locked(locked, rounds - 1);
}

static void lock_and_execute(void)
{
	int locked[LOCKED_FILES] = { open("/proc/self/exe", O_RDONLY), make_file(PAGE), make_file(PAGE),
		                     open("/dev/null", O_RDWR) };
	struct flock lock = { .l_type = F_RDLCK };
	clear();
	for (int i = 0; i < LOCKED_FILES; i++)
		T(fcntl(locked[i], F_SETLK, &lock));
	T(mmap(AT(0), PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, locked[1], 0));
	what_is_locked(locked, 2);
}

/* Which is refused of a file that somebody writes to; upage asks the kernel so, since Linux 6.14. */
static void busy(void)
{
	const int check = 0x10000; /* AT_EXECVE_CHECK */
	char name[sizeof(NAME)], *words[] = { name, NULL };
	if (syscall(SYS_execveat, AT_FDCWD, "/proc/self/exe", words, NULL, check) < 0)
		return;
	int file = mapped_file(name);
	fchmod(file, 0700);
	T(execv(name, words));
	close(file);
	T(execv(name, words));
	T(munmap(AT(0), 2 * PAGE));
	T(execv(name, words));
	unlink(name);
}

/* A child that has this memory has descriptors of its own, which end with it: what it maps or executes is
 * none of the parent's business. */
static void borrowed(void)
{
	static volatile bool mapped;
	char name[sizeof(NAME)], *const words[] = { name, NULL };
	struct flock lock = { .l_type = F_RDLCK };
	int status = -1, file = mapped_file(name);
	fchmod(file, 0700);
	T(pwrite(file, "\1\2\3", 3, 0));
	close(file);
	T(munmap(AT(0), 2 * PAGE));
	file = open(name, O_RDONLY);
	for (int way = 0; way < 2; way++) {
		if (way == 1)
			T(fcntl(file, F_SETLK, &lock));
		pid_t child = vfork();
		if (child == 0) {
			if (way == 0)
				mapped = mmap(AT(4), PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0) == AT(4);
			else
				execve(name, words, NULL); /* it is no program */
			_exit(7);
		}
		waitpid(child, &status, 0);
		tell("the child: %x, mapped %d\n", (unsigned)status, mapped);
		close(open("/dev/null", O_RDONLY));
		T(mmap(AT(0), 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0));
		survey("and the parent", 0, 6);
		T(munmap(AT(0), 6 * PAGE));
	}
	close(file);
	unlink(name);
}

static void executed_files(void)
{
	tell("== files that are locked, or written to, and executed\n");
	in_child(lock_and_execute);
	borrowed();
	busy();
}

/* Whether somebody else could lock the file. */
static void tell_lock(const char *when, const char *name)
{
	int file = open(name, O_RDONLY);
	tell("%s: %s\n", when, flock(file, LOCK_EX | LOCK_NB) < 0 ? "locked" : "free");
	close(file);
}

/* Each way in which the mapping of mapped_file() goes. */
static void unmap(unsigned way)
{
	switch (way) {
	case 0:
		T(munmap(AT(0), 2 * PAGE));
		break;
	case 1:
		T(mmap(AT(0), 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0));
		break;
	default:
		T(mremap(AT(10), 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(0)));
	}
}

/* They end with the last descriptor or mapping, whichever goes last. */
static void descriptor_locks(void)
{
	char name[sizeof(NAME)];
	tell("== locks of mapped files\n");
	for (unsigned i = 0; i < 12; i++) {
		bool mapping_last = i % 2;
		struct flock record = { .l_type = F_WRLCK };
		int file = mapped_file(name);
		T(flock(file, LOCK_EX));
		if (i >= 6) /* which ends with the descriptor */
			T(fcntl(file, F_SETLK, &record));
		survey("mapped", 0, 2);
		if (mapping_last)
			T(close(file));
		else
			unmap(i % 6 / 2);
		tell_lock("one has gone", name);
		if (mapping_last)
			unmap(i % 6 / 2);
		else
			T(close(file));
		tell_lock("both have gone", name);
		unlink(name);
	}
}

/* ---- Many ------------------------------------------------------------------------------------------- */

/* More mapped files than a process can have descriptors, as a rule: each is closed at once. */
static void many_files(void)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	const size_t count = limit.rlim_max >= 4096 ? 1500 : 500;
	size_t mapped = 0, right = 0;
	uint64_t value = 0;
	tell("== many files\n");
	char *area = mmap(NULL, count * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	for (size_t i = 0; i < count; i++) {
		int file = make_file(0);
		value = i + 1;
		if (write(file, &value, sizeof(value)) < 0)
			_exit(1);
		mapped += mmap(area + i * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0) != MAP_FAILED;
		close(file);
	}
	for (size_t i = 0; i < count; i++)
		right += reference(area + i * PAGE, &value, false) == 0 && value == i + 1;
	tell("mapped %zu, right %zu\n", mapped, right);
	T(munmap(area, count * PAGE));
}

void each_call_of_files(void)
{
	static void (*const parts[])(void) = { files, cut_off, record_locks,
		                               executed_files, descriptor_locks, many_files };
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		parts[i]();
		publish(self);
	}
}
