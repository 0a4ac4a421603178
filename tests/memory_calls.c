/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory_calls.c - memory calls, told as a transcript: run natively and by `upage run` it is the same
 *
 *      memory_calls calls                        each call, flag and error, one by one
 *      memory_calls fuzz SEED STEPS THREADS      random ones
 *      memory_calls gains                        what is refused of gains of execution
 *      memory_calls refused                      those that `upage run` refuses: not the same
 *
 * All mappings lie in reservations of the program's own, and addresses are told as distances from
 * them in pages. What a reference meets is told too: its value, or the signal, its code and address.
 * Nothing is allocated meanwhile: the C library must not map anything into a hole.
 */
#include "memory_calls.h"

/* ---- The transcript -------------------------------------------------------------------------- */

_Thread_local struct world *self;

void tell(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	if (self->length + 512 < self->size)
		self->length += (size_t)vsnprintf(self->text + self->length, 512, format, arguments);
	va_end(arguments);
}

void publish(struct world *world)
{
	for (size_t done = 0; done < world->length;) {
		ssize_t n = write(1, world->text + done, world->length - done);
		if (n <= 0)
			_exit(1);
		done += (size_t)n;
	}
	world->length = 0;
}

static void trap(int number, siginfo_t *info, void *context)
{
	(void)context;
	self->trapped = number;
	self->code = info->si_code;
	self->where = (uintptr_t)info->si_addr;
	siglongjmp(self->escape, 1);
}

/* Reads 8 bytes, or writes them. Return: 0, or the signal. */
int reference(char *address, uint64_t *value, bool write)
{
	self->trapped = 0;
	if (sigsetjmp(self->escape, 0) == 0) {
		if (write)
			*(volatile uint64_t *)(void *)address = *value;
		else
			*value = *(volatile uint64_t *)(void *)address;
	}
	return self->trapped;
}

void tell_reference(const char *what, char *address, uint64_t value, bool write)
{
	int number = reference(address, &value, write);
	if (number == 0)
		tell(" %s=%llx", what, (unsigned long long)value);
	else
		tell(" %s:%s%d%s", what, number == SIGSEGV ? "segv" : "bus", (int)self->code,
		     self->where == (uintptr_t)address ? "" : "@elsewhere");
}

/* A result: an address in the reservation as a page, another one as such, an error by its number. */
void tell_result(long result, int failure)
{
	uintptr_t distance = (uintptr_t)result - (uintptr_t)self->base;
	if (result == -1)
		tell(" E%d", failure);
	else if (distance < 4 * PAGES * PAGE)
		tell(" +%zu.%zu", (size_t)distance / PAGE, (size_t)distance % PAGE);
	else
		tell((uintptr_t)result > 1 << 20 ? " elsewhere" : " %ld", result);
}

/* Several pages of a range, each by its first word. */
void survey(const char *name, size_t first, size_t count)
{
	tell("%s", name);
	for (size_t i = first; i < first + count; i++)
		LOOK(AT(i));
	tell("\n");
}

void stamp(size_t first, size_t count, uint64_t value)
{
	for (size_t i = first; i < first + count; i++)
		*(volatile uint64_t *)(void *)AT(i) = value + i;
}

int make_file(size_t bytes)
{
	char name[] = "/tmp/memory_callsXXXXXX", page[PAGE];
	int file = mkstemp(name);
	if (file < 0)
		_exit(1);
	unlink(name);
	for (size_t done = 0; done < bytes; done += PAGE) {
		memset(page, (int)(1 + done / PAGE), sizeof(page));
		if (write(file, page, bytes - done < PAGE ? bytes - done : PAGE) < 0)
			_exit(1);
	}
	return file;
}

void clear(void)
{
	mmap(self->base, 4 * PAGES * PAGE, PROT_NONE, ANON | MAP_FIXED | MAP_NORESERVE, -1, 0);
}

void in_child(void (*part)(void))
{
	int status = -1;
	publish(self);
	pid_t child = fork();
	if (child == 0) {
		part();
		publish(self);
		_exit(0);
	}
	waitpid(child, &status, 0);
	tell("status %x\n", (unsigned)status);
}

void world_make(struct world *world, unsigned number, uint64_t seed)
{
	world->number = number;
	world->random = seed * 2654435761u + number * 40503u + 1;
	world->size = (size_t)16 << 20;
	world->text = mmap(NULL, world->size, RW, ANON, -1, 0);
	world->base = mmap(NULL, 4 * PAGES * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	world->file = make_file(40 * PAGE + 100);
	/* Of a page that is there in part, the rest is zero again whenever the kernel writes it out. */
	world->other = make_file(40 * PAGE);
	world->scratch = make_file(0);
	world->memory = memfd_create("memory_calls", MFD_ALLOW_SEALING);
	world->segment = shmget(IPC_PRIVATE, 16 * PAGE, IPC_CREAT | 0600);
	if (world->text == MAP_FAILED || world->base == MAP_FAILED || world->memory < 0 ||
	    ftruncate(world->memory, 64 * PAGE) < 0)
		_exit(1);
}

int main(int argc, char **argv)
{
	static struct world world;
	struct sigaction action = { .sa_sigaction = trap, .sa_flags = SA_SIGINFO | SA_NODEFER };
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	if (argc == 5 && strcmp(argv[1], "fuzz") == 0) {
		unsigned count = (unsigned)atoi(argv[3]), threads = (unsigned)atoi(argv[4]);
		return threads <= 16 ? random_calls(strtoull(argv[2], NULL, 0), count, threads) : 2;
	}
	self = &world;
	world_make(&world, 0, 1);
	if (argc == LOCKED_FILES + 3 && strcmp(argv[1], "locked") == 0) {
		int locked[LOCKED_FILES];
		for (int i = 0; i < LOCKED_FILES; i++)
			locked[i] = atoi(argv[2 + i]);
		what_is_locked(locked, atoi(argv[2 + LOCKED_FILES]));
		publish(&world);
		return 0;
	}
	static const struct {
		const char *word;
		void (*part)(void);
	} parts[] = { { "calls", each_call }, { "gains", what_gains }, { "refused", refused_calls } };
	void (*part)(void) = NULL;
	for (size_t i = 0; argc == 2 && i < sizeof(parts) / sizeof(parts[0]); i++)
		part = strcmp(argv[1], parts[i].word) == 0 ? parts[i].part : part;
	if (part == NULL) {
		fputs("usage: memory_calls calls | fuzz SEED STEPS THREADS | gains | refused\n", stderr);
		return 2;
	}
	part();
	publish(&world);
	shmctl(world.segment, IPC_RMID, NULL);
	return 0;
}
