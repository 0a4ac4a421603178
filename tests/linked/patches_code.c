/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * patches_code.c - tests of patches.c: what a call leaves as it was, and what becomes of changed code
 */
#include "patches.h"

#include <asm/hwcap2.h>
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Registers --------------------------------------------------------------------------------- */

/* Goes to @site, which comes back by rbx, with registers and red zone full, and stores what they
 * are afterwards: general ones, 13; flags; red zone, 16; and 16 vectors of 32 bytes, which are
 * loaded from @vectors (xmm only: @wide 0). */
struct registers {
	unsigned long general[13], flags, zone[16];
	char vector[16][32];
};
void fill_and_go(void *site, const void *vectors, struct registers *out, long wide);
__asm__(".text\n"
        "fill_and_go:\n"
        "	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
        "	sub $520, %rsp\n	mov %rdx, 504(%rsp)\n	mov %rcx, 496(%rsp)\n	mov %rdi, %rax\n"
        "	test %rcx, %rcx\n	jz 1f\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "	vmovdqu \\n*32(%rsi), %ymm\\n\n"
        ".endr\n"
        "	jmp 2f\n1:\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "	movdqu \\n*32(%rsi), %xmm\\n\n"
        ".endr\n"
        "2:\n"
        ".irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16\n"
        "	movq $1000+\\n, -8*\\n(%rsp)\n"
        ".endr\n"
        "	lea 3f(%rip), %rbx\n"
        "	mov $1, %edi\n	mov $2, %esi\n	mov $3, %edx\n	mov $4, %ebp\n	mov $5, %r8d\n"
        "	mov $6, %r9d\n	mov $7, %r10d\n	mov $8, %r12d\n	mov $9, %r13d\n	mov $10, %r14d\n"
        "	mov $11, %r15d\n	cmp $1, %edi\n	stc\n	std\n"
        "	jmp *%rax\n"
        "3:\n"
        ".irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16\n"
        "	mov -8*\\n(%rsp), %r11\n	mov %r11, 128+8*\\n(%rsp)\n"
        ".endr\n"
        "	mov 504(%rsp), %r11\n"
        "	mov %rdi, (%r11)\n	mov %rsi, 8(%r11)\n	mov %rdx, 16(%r11)\n	mov %rbp, 24(%r11)\n"
        "	mov %r8, 32(%r11)\n	mov %r9, 40(%r11)\n	mov %r10, 48(%r11)\n	mov %r12, 56(%r11)\n"
        "	mov %r13, 64(%r11)\n	mov %r14, 72(%r11)\n	mov %r15, 80(%r11)\n	mov %rsp, 88(%r11)\n"
        "	mov %rax, 96(%r11)\n"
        "	pushfq\n	pop 104(%r11)\n	cld\n"
        ".irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16\n"
        "	mov 128+8*\\n(%rsp), %rax\n	mov %rax, 104+8*\\n(%r11)\n"
        ".endr\n"
        "	cmpq $0, 496(%rsp)\n	je 1f\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "	vmovdqu %ymm\\n, 240+\\n*32(%r11)\n"
        ".endr\n"
        "	vzeroupper\n	jmp 2f\n1:\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "	movdqu %xmm\\n, 240+\\n*32(%r11)\n"
        ".endr\n"
        "2:	add $520, %rsp\n"
        "	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n	ret\n");

#define BACK_BY_RBX "\xff\xe3"

static void registers(void)
{
	struct registers first, now;
	char vectors[16][32];
	long wide = __builtin_cpu_supports("avx");
	char *at = place_at(map_places(NULL, SYS_getppid, BACK_BY_RBX), 7);
	int wrong = 0;
	for (unsigned i = 0; i < sizeof(vectors); i++)
		((char *)vectors)[i] = (char)(i * 37 + 1);
	memset(&first, 0, sizeof(first));
	fill_and_go(at, vectors, &first, wide);
	for (unsigned i = 0; i < 16; i++)
		wrong += memcmp(first.vector[i], vectors[i], wide ? 32 : 16) != 0 ||
		         first.zone[i] != 1001 + i;
	for (unsigned i = 0; i < 11; i++)
		wrong += first.general[i] != i + 1;
	say("at first wrong %d, flags %lx", wrong, first.flags & 0xcd5);
	for (int round = 0; round < OFTEN; round++) {
		now = first;
		memset(now.vector, 0, sizeof(now.vector));
		fill_and_go(at, vectors, &now, wide);
		if (!wide)
			for (unsigned i = 0; i < 16; i++)
				memcpy(now.vector[i] + 16, first.vector[i] + 16, 16);
		wrong += memcmp(&now, &first, sizeof(now)) != 0;
	}
	say("afterwards %d", wrong);
}

/* ---- Places that are none -------------------------------------------------------------------------- */

/* Goes to @at with @number in rax. Return: rax, or rdi with @other. */
static long go(char *at, long number, bool other)
{
	long result = number, first = 0;
	__asm__ volatile("sub $128, %%rsp\n	call *%[at]\n	add $128, %%rsp"
	                 : "+a"(result), "+D"(first)
	                 : [at] "b"(at), "S"(0), "d"(0)
	                 : "rcx", "r11", "r10", "r8", "r9", "memory", "cc");
	return other ? first : result;
}

/* A jump to the instruction itself is another call; and b8 may be the end of another instruction. */
static void jumps(void)
{
	char *at = place_at(map_places(NULL, SYS_getppid, RETURN), 3);
	int wrong = call_often(at, 0, 0, 0, getppid());
	for (int i = 0; i < OFTEN; i++)
		wrong += go(at + 5, SYS_getpid, false) != getpid();
	wrong += call_often(at, 0, 0, 0, getppid());
	say("behind it wrong %d", wrong);

	char page[PAGE];
	FILE *file = tmpfile();
	memset(page, 0xcc, PAGE);
	memcpy(page + 64, "\x8d\xb8\x27\0\0\0\x0f\x05\xc3", 9); /* lea 0x27(%rax), %edi; syscall */
	MUST_BE(file != NULL && fwrite(page, 1, PAGE, file) == PAGE && fflush(file) == 0);
	char *code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno(file), 0);
	MUST_BE(code != MAP_FAILED && SYS_getpid == 0x27);
	for (int i = 0; i < OFTEN; i++)
		wrong += go(code + 64, SYS_getpid, true) != 0x4e;
	say("lea %d, whole %d", wrong, memcmp(code, page, PAGE) == 0);
	fclose(file);
}

/* ---- Changes of the code ---------------------------------------------------------------------------- */

static void remade(void)
{
	char *code = map_places(NULL, SYS_getppid, RETURN);
	int wrong = 0;
	for (unsigned i = 0; i < 10; i++)
		wrong += call_often(place_at(code, i), 0, 0, 0, getppid());
	/* Others at the same addresses. */
	for (unsigned round = 0; round < 4; round++) {
		if (round % 2 == 0)
			MUST(munmap(code, PAGE));
		map_places(code, round % 2 ? SYS_getuid : SYS_getpid, RETURN);
		for (unsigned i = 0; i < 10; i++)
			wrong += call_often(place_at(code, i), 0, 0, 0, round % 2 ? getuid() : (unsigned)getpid());
	}
	say("mapped anew: wrong %d", wrong);
	MUST(madvise(code, PAGE, MADV_DONTNEED));
	say("read again: whole %d", is_whole(code, SYS_getuid, RETURN));
	wrong += call_often(place_at(code, 1), 0, 0, 0, getuid());
	say("wrong %d", wrong);
}

static void written(void)
{
	char *code = map_places(NULL, SYS_getppid, RETURN), *at = place_at(code, 5);
	int wrong = call_often(at, 0, 0, 0, getppid());
	MUST(mprotect(code, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
	say("writable: whole %d", is_whole(code, SYS_getppid, RETURN));
	wrong += call_often(at, 0, 0, 0, getppid());
	say("and called: whole %d", is_whole(code, SYS_getppid, RETURN));
	at[1] = SYS_getpid; /* as those do that turn calls elsewhere */
	wrong += call_often(at, 0, 0, 0, getpid());
	MUST(mprotect(code, PAGE, PROT_READ | PROT_EXEC));
	wrong += call_often(at, 0, 0, 0, getpid());
	say("wrong %d", wrong);
}

static void moved(void)
{
	char *code = map_places(NULL, SYS_getppid, RETURN);
	char *to = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int wrong = call_often(place_at(code, 2), 0, 0, 0, getppid());
	MUST_BE(mremap(code, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	say("moved: whole %d", is_whole(to, SYS_getppid, RETURN));
	wrong += call_often(place_at(to, 2), 0, 0, 0, getppid());
	say("wrong %d", wrong);
}

/* Other pages take all frames, where they are few: what was changed comes back from swap. */
static void evicted(void)
{
	const size_t bytes = (size_t)6 << 20;
	char *code = map_places(NULL, SYS_getppid, RETURN);
	int wrong = call_often(place_at(code, 0), 0, 0, 0, getppid());
	for (int round = 0; round < 3; round++) {
		volatile char *large = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		MUST_BE(large != MAP_FAILED);
		for (size_t i = 0; i < bytes; i += PAGE)
			large[i] = 1;
		for (unsigned i = 0; i < 10; i++)
			wrong += call_often(place_at(code, i), 0, 0, 0, getppid());
		MUST(munmap((void *)large, bytes));
		for (unsigned i = 0; i < 20; i++)
			wrong += call_often(place_at(code, i), 0, 0, 0, getppid());
	}
	say("wrong %d", wrong);
}

/* ---- Threads and processes ---------------------------------------------------------------------------- */

#define THREADS 4
static char *shared_code;
static long shared_right;
static pthread_barrier_t barrier;

static void *call_all(void *argument)
{
	long wrong = 0;
	(void)argument;
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < 40; i++)
		wrong += call_often(place_at(shared_code, i), 0, 0, 0, shared_right);
	return (void *)wrong;
}

/* Places are patched in a page where other threads execute; and pages go in between. */
static void threads(void)
{
	long wrong = 0;
	shared_code = map_places(NULL, SYS_getppid, RETURN);
	MUST_BE(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
	for (unsigned round = 0; round < 6; round++) {
		pthread_t thread[THREADS];
		map_places(shared_code, round % 2 ? SYS_getppid : SYS_getpid, RETURN);
		shared_right = round % 2 ? getppid() : getpid();
		for (unsigned i = 0; i < THREADS; i++)
			MUST_BE(pthread_create(&thread[i], NULL, call_all, NULL) == 0);
		for (unsigned i = 0; i < THREADS; i++) {
			void *found;
			MUST_BE(pthread_join(thread[i], &found) == 0);
			wrong += (long)found;
		}
	}
	say("wrong %ld", wrong);
}

extern char **environ;

static void processes(void)
{
	char *at = place_at(map_places(NULL, SYS_getppid, RETURN), 9);
	char *own = place_at(map_places(NULL, SYS_getpid, RETURN), 9);
	int wrong = call_often(at, 0, 0, 0, getppid()) + call_often(own, 0, 0, 0, getpid()), status;
	pid_t parent = getpid();
	/* So much is shown in pieces that a fork hides all of it at once. */
	volatile char *pieces = mmap(NULL, 2000 * PAGE, PROT_READ | PROT_WRITE,
	                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST_BE(pieces != MAP_FAILED);
	for (size_t i = 0; i < 2000; i += 2)
		MUST(mprotect((void *)(pieces + i * PAGE), PAGE, PROT_READ));
	for (size_t i = 1; i < 2000; i += 2)
		pieces[i * PAGE] = pieces[(i - 1) * PAGE];
	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(call_often(at, 0, 0, 0, parent) + call_often(own, 0, 0, 0, getpid()) != 0);
		MUST_BE(child > 0 && waitpid(child, &status, 0) == child);
		wrong += status != 0;
		child = vfork();
		if (child == 0)
			_exit(((place *)at)(0, 0, 0) != parent || ((place *)own)(0, 0, 0) == parent);
		MUST_BE(child > 0 && waitpid(child, &status, 0) == child);
		wrong += status != 0;
		char *words[] = { (char[]){ "true" }, NULL };
		MUST_BE(posix_spawnp(&child, "true", NULL, NULL, words, environ) == 0);
		MUST_BE(waitpid(child, &status, 0) == child);
		wrong += status != 0 || call_often(own, 0, 0, 0, parent) != 0;
	}
	MUST(munmap((void *)pieces, 2000 * PAGE));
	say("wrong %d", wrong);
}

/* ---- GS ------------------------------------------------------------------------------------------- */

/* It is the program's, whatever it has there. */
static void segment(void)
{
	char *at = place_at(map_places(NULL, SYS_getppid, RETURN), 4);
	static unsigned long words[64];
	unsigned long base = 1, word;
	int wrong = call_often(at, 0, 0, 0, getppid());
	MUST(syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
	say("at first %lx, wrong %d", base, wrong);
	words[1] = 4711;
	MUST(syscall(SYS_arch_prctl, ARCH_SET_GS, words));
	wrong += call_often(at, 0, 0, 0, getppid());
	__asm__ volatile("mov %%gs:8, %0" : "=r"(word));
	MUST(syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
	say("ours %d, word %lu, wrong %d", base == (unsigned long)words, word, wrong);
	MUST(syscall(SYS_arch_prctl, ARCH_SET_GS, 0x100000)); /* where nothing is */
	wrong += call_often(at, 0, 0, 0, getppid());
	MUST(syscall(SYS_arch_prctl, ARCH_SET_GS, 0));
	wrong += call_often(at, 0, 0, 0, getppid());
	__asm__ volatile("mov %0, %%gs" : : "r"(0)); /* which makes the base 0, on some processors */
	wrong += call_often(at, 0, 0, 0, getppid());
	MUST(syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
	say("none %lx, wrong %d", base, wrong);
}

/* A thread may have the GS of another one: by libraries that save and restore it with the other registers, say. */
static unsigned long copied_gs;

static void *call_with_copied_gs(void *at)
{
	long wrong = 0;
	pid_t thread = (pid_t)syscall(SYS_gettid);
	__asm__ volatile("wrgsbase %0" : : "r"(copied_gs) : "memory");
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < 200; i++)
		wrong += call_often(at, 0, 0, 0, thread);
	return (void *)wrong;
}

static void copied(void)
{
	char *at = place_at(map_places(NULL, SYS_gettid, RETURN), 4);
	long wrong = call_often(at, 0, 0, 0, getpid());
	void *of_thread;
	pthread_t thread;
	if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)) {
		say("wrong 0"); /* then no place is changed */
		return;
	}
	__asm__ volatile("rdgsbase %0" : "=r"(copied_gs));
	MUST_BE(pthread_barrier_init(&barrier, NULL, 2) == 0);
	MUST_BE(pthread_create(&thread, NULL, call_with_copied_gs, at) == 0);
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < 200; i++)
		wrong += call_often(at, 0, 0, 0, getpid());
	MUST_BE(pthread_join(thread, &of_thread) == 0);
	say("wrong %ld", wrong + (long)of_thread);
}

/* ---- Alignment ------------------------------------------------------------------------------------- */

/* What checks the alignment of a program's references (AC) does not check ours, of which this call makes some that are not. */
static void aligned(void)
{
	char *at = place_at(map_places(NULL, SYS_ioctl, RETURN), 8);
	char terminal[64];
	int wrong = 0, file = (int)MUST(open("/dev/null", O_RDONLY));
	for (int i = 0; i < OFTEN; i++) {
		long result, flags = (long)terminal;
		__asm__ volatile("sub $128, %%rsp\n	pushf\n	orl $0x40000, (%%rsp)\n	popf\n"
		                 "	call *%[at]\n"
		                 "	pushf\n	mov (%%rsp), %[flags]\n	andl $~0x40000, (%%rsp)\n	popf\n"
		                 "	add $128, %%rsp"
		                 : "=&a"(result), [flags] "+d"(flags)
		                 : [at] "b"(at), "D"((long)file), "S"((long)TCGETS)
		                 : "rcx", "r11", "memory", "cc");
		wrong += result != -ENOTTY || !(flags & 0x40000);
	}
	close(file);
	say("wrong %d", wrong);
}

/* ---- Places ------------------------------------------------------------------------------------------ */

/* What lies near may be unmapped with everything around it. */
static void around(void)
{
	char *code = map_places(NULL, SYS_getppid, RETURN), *at = place_at(code, 6);
	int wrong = call_often(at, 0, 0, 0, getppid());
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end, lowest = 0;
	char line[400];
	MUST_BE(maps != NULL);
	/* The gap below the mapping that is lowest of those within 64 GiB below ours. */
	while (fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 && lowest == 0 &&
		    start + (64ul << 30) > (unsigned long)code)
			lowest = start;
	fclose(maps);
	if (lowest > (1ul << 40))
		munmap((void *)(lowest - (64 << 20)), 64 << 20);
	wrong += call_often(at, 0, 0, 0, getppid());
	say("wrong %d", wrong);
}

const struct test patch_code_tests[] = {
	{ "registers", registers }, { "jumps", jumps },     { "remade", remade },
	{ "written", written },     { "moved", moved },     { "evicted", evicted },
	{ "threads", threads },
	{ "processes", processes }, { "segment", segment }, { "copied", copied },
	{ "aligned", aligned },     { "around", around },
	{ NULL, NULL },
};
