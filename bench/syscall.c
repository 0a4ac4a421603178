/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * syscall.c - what a system call costs that is intercepted
 *
 * Question   A call of a program whose system calls we intercept traps (SIGSYS, Syscall User
 *            Dispatch), unless its site is patched. How much longer does it take than natively, and how
 *            much of that is the trap's? What is left of it in a program that does little else?
 * Unit       nanoseconds a call, one thread; redis: requests a second.
 * Baseline   The same call natively. Second baseline (-bare): a bare SIGSYS handler in this program
 *            that makes the same call and nothing else. redis: redis-server natively.
 * Ratio      As bench.h says. Each round of calls is a process of its own, since none can go back.
 * Target     -bare: at most 2 of the bare handler; redis: at least 0.9 of the requests.
 * Repeat     make bench, or bench/syscall [--quick] [--json FILE]. Quiet machine; calls on one processor.
 *
 * Cases
 *   getppid    a call without pointers
 *   read       of 4 KiB of /dev/zero, into memory that is not paged
 *   getppid-patched  the same of a whole program, where its site is patched
 *   redis      redis-benchmark's SET and GET, over a socket, of 50 clients at a time
 *   redis-trapped    with `--patch off`
 */
#include "bench.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <ucontext.h>

#include "programs.h"

#if defined(__x86_64__)

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif

enum way { NATIVE, BARE, OURS };

static unsigned calls = 200000;
static int zeros;
static char buffer[4096];

/* ---- The bare handler -------------------------------------------------------------------- */

/* The one instruction from which calls pass, for calls and for the way back. */
long pass(long number, long a, long b, long c);
void restore(void);
extern const char pass_start[], pass_end[];
__asm__(".text\n"
        "pass_start:\n"
        "pass:	mov %rdi, %rax\n	mov %rsi, %rdi\n	mov %rdx, %rsi\n	mov %rcx, %rdx\n"
        "	syscall\n	ret\n"
        "restore:	mov $15, %eax\n	syscall\n	nop\n"
        "pass_end:\n");

static void on_call(int number, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	(void)number, (void)info;
	r[REG_RAX] = pass(r[REG_RAX], r[REG_RDI], r[REG_RSI], r[REG_RDX]);
}

/* The C library's sigaction has a way back of its own, which would trap. */
static void intercept_barely(void)
{
	struct {
		void (*handler)(int, siginfo_t *, void *);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = { on_call, SA_SIGINFO | SA_NODEFER | 0x04000000, restore, 0 };
	if (syscall(SYS_rt_sigaction, SIGSYS, &action, NULL, 8) < 0 ||
	    prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, pass_start,
	          pass_end - pass_start, NULL) < 0)
		bench_fail("no Syscall User Dispatch (Linux 5.11): %s", strerror(errno));
}

/* ---- Rounds --------------------------------------------------------------------------------- */

static long call_getppid(void)
{
	return syscall(SYS_getppid);
}

static long call_read(void)
{
	return syscall(SYS_read, zeros, buffer, sizeof(buffer));
}

static double measure(long (*call)(void), enum way way)
{
	int channel[2], status;
	double time;
	if (pipe(channel) < 0)
		bench_fail("pipe: %s", strerror(errno));
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		if (way == BARE)
			intercept_barely();
		if (way == OURS && upage_intercept(NULL) < 0)
			bench_fail("system calls cannot be intercepted here");
		call();
		time = bench_now();
		for (unsigned i = 0; i < calls; i++)
			if (call() < 0)
				_exit(1);
		time = (bench_now() - time) / calls;
		_exit(write(channel[1], &time, sizeof(time)) != sizeof(time));
	}
	close(channel[1]);
	if (child < 0 || read(channel[0], &time, sizeof(time)) != sizeof(time) ||
	    waitpid(child, &status, 0) < 0 || status != 0)
		bench_fail("a round failed");
	close(channel[0]);
	return time;
}

#define CASE(name)                                                                            \
	static double name##_native(void) { return measure(call_##name, NATIVE); }            \
	static double name##_bare(void) { return measure(call_##name, BARE); }                \
	static double name##_ours(void) { return measure(call_##name, OURS); }
CASE(getppid)
CASE(read)
#undef CASE

/* ---- redis ---------------------------------------------------------------------------------- */

static unsigned requests = 30000;  /* of each kind, in a round */
static char myself[PATH_MAX];

/* Its server listens at @path when this returns; it ends with us, if not before. @patch: of `upage run`; NULL:
 * natively. Return: its process. */
static pid_t start_server(const char *path, const char *patch)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		int nowhere = open("/dev/null", O_WRONLY);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(nowhere, 1);
		dup2(nowhere, 2);
		char command[PATH_MAX + 200] = "exec ";
		if (patch != NULL)
			snprintf(command, sizeof(command), "exec %s run -m 1G %s -- ", programs_upage, patch);
		strcat(command, "redis-server --port 0 --save '' --unixsocket ");
		strcat(command, path);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	need_host(child > 0, "fork");
	strcpy(address.sun_path, path);
	for (unsigned tries = 0; tries < 1000; tries++) {
		int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool good = connect(probe, (struct sockaddr *)&address, sizeof(address)) == 0;
		close(probe);
		if (good)
			return child;
		usleep(10000);
	}
	bench_fail("redis-server%s does not answer", patch != NULL ? " under upage run" : "");
}

static void end_server(pid_t server)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

/* Return: requests a second, SET and GET together. */
static double ask_server(const char *path)
{
	char command[200], line[1000];
	double rate, seconds_a_request = 0;
	unsigned kinds = 0;
	snprintf(command, sizeof(command), "redis-benchmark -s %s -t set,get -n %u --csv", path, requests);
	FILE *answers = popen(command, "r");
	need_host(answers != NULL, command);
	while (fgets(line, sizeof(line), answers) != NULL)
		if (sscanf(line, "\"%*[^\"]\",\"%lf\"", &rate) == 1) {
			seconds_a_request += 1 / rate;
			kinds++;
		}
	if (pclose(answers) != 0 || kinds != 2)
		bench_fail("%s: no figures", command);
	return kinds / seconds_a_request;
}

static double paged_redis(void)
{
	return ask_server("paged");
}

static double trapped_redis(void)
{
	return ask_server("trapped");
}

static double native_redis(void)
{
	return ask_server("native");
}

static void redis_cases(struct bench bench)
{
	if (!programs_have("redis-server") || !programs_have("redis-benchmark")) {
		bench_skip("redis", "redis-server and redis-benchmark are not installed");
		return;
	}
	requests /= bench.divisor;
	pid_t native = start_server("native", NULL), paged = start_server("paged", "");
	bench.unit = "1/s";
	bench_case(&bench, "redis", paged_redis, "native", native_redis);
	end_server(paged);
	paged = start_server("trapped", "--patch off");
	const struct bench shorter = bench_in_short(&bench, 4);
	bench_case(&shorter, "redis-trapped", trapped_redis, "native", native_redis);
	end_server(paged);
	end_server(native);
}

/* ---- This program as the guest -------------------------------------------------------------------- */

/* What another process of it prints. */
static int one_round(unsigned count)
{
	for (unsigned i = 0; i < 1000; i++) /* often enough to be patched */
		getppid();
	double start = bench_now();
	for (unsigned i = 0; i < count; i++)
		getppid();
	printf("%f\n", (bench_now() - start) / count);
	return 0;
}

static double guest(const char *upage)
{
	char command[2 * PATH_MAX + 100];
	double time;
	snprintf(command, sizeof(command), "%s %s --one-round %u", upage, myself, calls);
	FILE *answer = popen(command, "r");
	if (answer == NULL || fscanf(answer, "%lf", &time) != 1 || pclose(answer) != 0)
		bench_fail("%s: no figure", command);
	return time;
}

static double patched_guest(void)
{
	char upage[PATH_MAX + 100];
	snprintf(upage, sizeof(upage), "%s run --", programs_upage);
	return guest(upage);
}

static double native_guest(void)
{
	return guest("");
}

static void whole_cases(const struct bench *bench)
{
	char here[PATH_MAX - 64];
	programs_find(here);
	snprintf(myself, sizeof(myself), "%s/syscall", here);
	if (access(programs_upage, X_OK) < 0) {
		bench_skip("redis", "there is no upage run");
		return;
	}
	programs_enter();
	bench_case(bench, "getppid-patched", patched_guest, "native", native_guest);
	redis_cases(*bench);
}

int main(int argc, char **argv)
{
	cpu_set_t all;
	if (argc == 3 && strcmp(argv[1], "--one-round") == 0)
		return one_round((unsigned)atoi(argv[2]));
	need_host(sched_getaffinity(0, sizeof(all), &all) == 0, "sched_getaffinity");
	struct bench bench = bench_begin("syscall", "ns/call", argc, argv);
	calls /= bench.divisor;
	zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	bench_case(&bench, "getppid", getppid_ours, "native", getppid_native);
	const struct bench shorter = bench_in_short(&bench, 2);
	bench_case(&shorter, "getppid-bare", getppid_ours, "bare SIGSYS handler", getppid_bare);
	bench_case(&shorter, "read", read_ours, "native", read_native);
	bench_case(&shorter, "read-bare", read_ours, "bare SIGSYS handler", read_bare);
	sched_setaffinity(0, sizeof(all), &all);
	whole_cases(&bench);
	bench_end(&bench);
	return 0;
}

#else

int main(int argc, char **argv)
{
	struct bench bench = bench_begin("syscall", "ns/call", argc, argv);
	bench_skip("getppid", "system calls are intercepted on x86-64 only");
	bench_skip("redis", "system calls are intercepted on x86-64 only");
	bench_end(&bench);
	return 0;
}

#endif
