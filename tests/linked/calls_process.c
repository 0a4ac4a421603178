/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_process.c - cases of calls.c: executing, waiting for children, what a process is
 */
#include "calls.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Executing ------------------------------------------------------------------------- */

static int output[2];
static char **arguments, **environment;
static char *program;

#define ARGUMENTS 100

/* A hundred arguments, two of them long, and an environment, all on pages of their own or
 * across two. */
static void make_arguments(void)
{
	static char text[120000];
	arguments = EVICTED_ARRAY(char *, ARGUMENTS + 3);
	environment = EVICTED_ARRAY(char *, 4);
	program = evicted_string(self_path());
	arguments[0] = program;
	arguments[1] = evicted_string("--print-arguments");
	for (int i = 2; i < ARGUMENTS; i++) {
		snprintf(text, sizeof(text), "number %d", i);
		arguments[i] = evicted_string(text);
	}
	memset(text, 'l', sizeof(text) - 1);
	arguments[ARGUMENTS] = evicted_string(text);
	arguments[ARGUMENTS + 1] = evicted_string("");
	environment[0] = evicted_string("PATH=/bin:/usr/bin");
	environment[1] = evicted_string("NAME=a value");
	text[0] = 'L';
	text[1] = '=';
	environment[2] = evicted_string(text);
}

static void open_output(void)
{
	MUST(pipe2(output, O_CLOEXEC));
}

/* Says the lines that a child has printed, and how it ended. */
static void say_output(pid_t child)
{
	static char text[65536];
	size_t length = 0;
	ssize_t got;
	int status = 0;
	close(output[1]);
	while ((got = read(output[0], text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)got;
	close(output[0]);
	text[length] = 0;
	MUST(waitpid(child, &status, 0));
	int lines = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++)
		if (lines < 5 || strncmp(line, "argument", 8) != 0)
			say("%s", line);
	say("%d lines, %zu bytes, status %x", lines, length, (unsigned)status);
}

static void run_by_fork(void (*execute)(void))
{
	open_output();
	pid_t child = (pid_t)MUST(fork());
	if (child == 0) {
		dup2(output[1], STDOUT_FILENO);
		push_out();
		execute();
		_exit(111);
	}
	say_output(child);
}

static void by_execve(void)
{
	execve(program, arguments, environment);
}

static void by_execveat(void)
{
	int file = open(self_path(), O_RDONLY | O_CLOEXEC);
	syscall(SYS_execveat, file, "", arguments, environment, AT_EMPTY_PATH);
}

static void execute_evicted(void)
{
	make_arguments();
	run_by_fork(by_execve);
}

static void executeat_evicted(void)
{
	make_arguments();
	run_by_fork(by_execveat);
}

static void execute_script(void)
{
	make_arguments();
	int file = (int)MUST(open("script", O_CREAT | O_WRONLY, 0755));
	static const char text[] = "#!/bin/sh\necho \"$0 has $# and NAME is $NAME\"\n"
	                           "echo \"argument $3\"\nexit 9\n";
	MUST(write(file, text, sizeof(text) - 1));
	close(file);
	program = evicted_string("./script");
	run_by_fork(by_execve);
	MUST(unlink("script"));
}

static void spawn_evicted(void)
{
	pid_t child = -1;
	make_arguments();
	posix_spawn_file_actions_t *actions = EVICTED(posix_spawn_file_actions_t);
	posix_spawnattr_t *attributes = EVICTED(posix_spawnattr_t);
	MUST(-posix_spawn_file_actions_init(actions));
	MUST(-posix_spawnattr_init(attributes));
	MUST(-posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK));
	open_output();
	MUST(-posix_spawn_file_actions_adddup2(actions, output[1], STDOUT_FILENO));
	CALL("posix_spawn", posix_spawn(&child, program, actions, attributes, arguments,
	                                environment));
	if (child > 0)
		say_output(child);
	char *absent = evicted_string("/nowhere/at/all");
	CALL("posix_spawn of nothing", posix_spawn(&child, absent, NULL, NULL, arguments,
	                                           environment) == ENOENT);
	posix_spawn_file_actions_destroy(actions);
	posix_spawnattr_destroy(attributes);
}

static void vfork_evicted(void)
{
	make_arguments();
	open_output();
	push_out();
	pid_t child = vfork();
	if (child == 0) {
		dup2(output[1], STDOUT_FILENO);
		execve(program, arguments, environment);
		_exit(111);
	}
	say_output(child);
}

/* The child of a debugger, which sleeps in its vfork until the child executes something. */
static void traced_execution(void)
{
	int status = 0;
	make_arguments();
	arguments[0] = program = evicted_string("/bin/true");
	push_out();
	pid_t child = vfork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execve(program, arguments, environment);
		_exit(9);
	}
	CALL_OPAQUE("waitpid", waitpid(child, &status, 0));
	say("stopped by %s", WIFSTOPPED(status) ? strsignal(WSTOPSIG(status)) : "nothing");
	CALL("PTRACE_CONT", ptrace(PTRACE_CONT, child, NULL, NULL));
	CALL_OPAQUE("waitpid", waitpid(child, &status, 0));
	say("status %x", status);
}

static void execute_errors(void)
{
	make_arguments();
	char *absent = evicted_string("absent"), *directory = evicted_string("/");
	char **bad = EVICTED_ARRAY(char *, 3);
	bad[0] = program;
	bad[1] = unmapped();
	CALL("execve of nothing", execve(absent, arguments, environment));
	CALL("execve of nothing, with bad arguments", execve(absent, bad, environment));
	CALL("execve of a directory", execve(directory, arguments, environment));
	CALL("execve with a bad argument", execve(program, bad, environment));
	CALL("execve with bad arguments", execve(program, BAD, environment));
	CALL("execve with a bad environment", execve(program, arguments, bad));
	CALL("execve of a bad path", execve(BAD, arguments, environment));
	char *huge = evicted(200000);
	memset(huge, 'h', 199999);
	huge[199999] = 0;
	bad[1] = huge;
	CALL("execve with an argument that is too long", execve(program, bad, environment));
	say("still here");
}

/* ---- Children -------------------------------------------------------------------------- */

static void child_of_status_5(void)
{
	/* Some work, for the usage. */
	for (volatile int i = 0; i < 1000000; i++)
		;
	_exit(5);
}

static pid_t start(void (*function)(void))
{
	pid_t child = (pid_t)MUST(fork());
	if (child == 0)
		function();
	return child;
}

static void wait_usage(void)
{
	int *status = evicted_int(-1);
	struct rusage *usage = EVICTED(struct rusage);
	pid_t child = start(child_of_status_5);
	memset(usage, 0x5a, sizeof(*usage));
	check("wait4", CALL_OPAQUE("wait4", syscall(SYS_wait4, child, status, 0, usage)) == child);
	say("status %x", (unsigned)*status);
	check("usage", usage->ru_utime.tv_sec < 100 && usage->ru_maxrss > 0 &&
	                       usage->ru_maxrss < 1 << 24);
	child = start(child_of_status_5);
	check("waitpid", CALL_OPAQUE("waitpid", waitpid(child, status, 0)) == child);
	say("status %x", (unsigned)*status);
	CALL("wait4 of none", syscall(SYS_wait4, -1, status, 0, usage));
	CALL("wait4 with bad options", syscall(SYS_wait4, -1, BAD, 0x1000, BAD));
	child = start(child_of_status_5);
	CALL("wait4 to nowhere", syscall(SYS_wait4, child, unmapped(), 0, NULL));
	CALL("wait4 again", syscall(SYS_wait4, child, status, 0, NULL));
}

static void wait_information(void)
{
	siginfo_t *info = EVICTED(siginfo_t);
	struct rusage *usage = EVICTED(struct rusage);
	pid_t child = start(child_of_status_5);
	CALL("waitid, child left", syscall(SYS_waitid, P_PID, child, info, WEXITED | WNOWAIT,
	                                   usage));
	say("signal %d, code %d, status %d", info->si_signo, info->si_code, info->si_status);
	check("child", info->si_pid == child);
	memset(info, 0x5a, sizeof(*info));
	memset(usage, 0x5a, sizeof(*usage));
	CALL("waitid", syscall(SYS_waitid, P_PID, child, info, WEXITED, usage));
	say("signal %d, code %d, status %d", info->si_signo, info->si_code, info->si_status);
	check("usage", usage->ru_utime.tv_sec < 100 && usage->ru_maxrss > 0);
	CALL("waitid of none", syscall(SYS_waitid, P_ALL, 0, info, WEXITED, usage));
	CALL("waitid without options", syscall(SYS_waitid, P_ALL, 0, BAD, 0, BAD));
	child = start(child_of_status_5);
	CALL("waitid to nowhere", syscall(SYS_waitid, P_PID, child, BAD, WEXITED, NULL));
	CALL("waitid again", syscall(SYS_waitid, P_PID, child, info, WEXITED, NULL));
}

static void caught(int number)
{
	(void)number;
}

/* A child that begins with no handlers (CLONE_CLEAR_SIGHAND): as fork, and as vfork, on its parent's stack. */
static void clone_without_handlers(void)
{
	struct clone_arguments {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	} *how = EVICTED(struct clone_arguments);
	const uint64_t clears = 0x100000000;
	int *status = evicted_int(-1);
	struct sigaction action = { .sa_handler = caught, .sa_flags = SA_RESTART }, got;
	sigaction(SIGUSR1, &action, NULL);
	signal(SIGUSR2, SIG_IGN);
	for (volatile int vfork = 0; vfork <= 1; vfork++) {
		long child;
		how->flags = clears | (vfork ? CLONE_VM | CLONE_VFORK : 0);
		how->exit_signal = SIGCHLD;
		push_out();
		__asm__ volatile("syscall"
		                 : "=a"(child)
		                 : "0"((long)SYS_clone3), "D"(how), "S"(sizeof(*how))
		                 : "rcx", "r11", "memory");
		if (child == 0) {
			bool ignored = sigaction(SIGUSR2, NULL, &got) == 0 && got.sa_handler == SIG_IGN;
			bool none = sigaction(SIGUSR1, NULL, &got) == 0 && got.sa_handler == SIG_DFL;
			kill(getpid(), SIGUSR2);
			push_out();
			if (ignored && none && got.sa_flags == 0)
				kill(getpid(), SIGUSR1);
			_exit(9);
		}
		CALL("waitpid", waitpid((pid_t)child, status, 0) == child);
		say("status %x", (unsigned)*status);
	}
	how->flags = clears | CLONE_SIGHAND | CLONE_VM;
	CALL("clone3 with and without handlers", syscall(SYS_clone3, how, sizeof(*how)));
	CALL("kill", kill(getpid(), SIGUSR1));
	check("handler", sigaction(SIGUSR1, NULL, &got) == 0 && got.sa_handler == caught);
	signal(SIGUSR1, SIG_DFL);
	signal(SIGUSR2, SIG_DFL);
}

/* clone as fork, with words that the kernel writes to in the parent and in the child. */
static void clone_words(void)
{
	int *words = evicted_copy((int[]){ -1, -1, -1 }, 12), *status = evicted_int(-1);
	struct clone_arguments {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size,
		        tls, set_tid, set_tid_size, cgroup;
	} *how = EVICTED(struct clone_arguments);
	how->flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_PIDFD;
	how->pidfd = (uintptr_t)&words[0];
	how->parent_tid = (uintptr_t)&words[1];
	how->child_tid = (uintptr_t)&words[2];
	how->exit_signal = SIGCHLD;
	push_out();
	long child = syscall(SYS_clone3, how, sizeof(*how));
	if (child == 0)
		_exit(words[2] == (int)syscall(SYS_getpid) ? 6 : 7);
	check("clone3", child > 0);
	check("words", words[0] > 0 && words[1] == child && words[2] == -1);
	CALL("waitpid", waitpid((pid_t)child, status, 0) == child);
	say("status %x", (unsigned)*status);
	close(words[0]);
	how->exit_signal = 999;
	CALL("clone3 with a bad signal", syscall(SYS_clone3, how, sizeof(*how)));
	CALL("clone3 of too small a structure", syscall(SYS_clone3, how, 10L));
	CALL("clone3 from nowhere", syscall(SYS_clone3, BAD, sizeof(*how)));
	words[1] = -1;
	push_out();
	child = syscall(SYS_clone, CLONE_PARENT_SETTID | SIGCHLD, NULL, &words[1], NULL, 0);
	if (child == 0)
		_exit(8);
	check("clone", child > 0 && words[1] == child);
	CALL("waitpid", waitpid((pid_t)child, status, 0) == child);
	say("status %x", (unsigned)*status);
}

/* ---- What the process and the system are ----------------------------------------------- */

static void names(void)
{
	struct utsname *name = evicted(sizeof(*name)), plain;
	char *text = evicted(100);
	CALL("uname", uname(name));
	uname(&plain);
	check("names", memcmp(name, &plain, sizeof(plain)) == 0);
	CALL("uname to nowhere", uname(unmapped()));
	CALL("gethostname", gethostname(text, 100));
	check("name", strcmp(text, plain.nodename) == 0);
	strcpy(text, "a name of sixteen or more");
	CALL("PR_SET_NAME", prctl(PR_SET_NAME, text));
	memset(text, 0x5a, 100);
	CALL("PR_GET_NAME", prctl(PR_GET_NAME, text));
	dump("name", text, 30);
	CALL("PR_SET_NAME from nowhere", prctl(PR_SET_NAME, BAD));
	int *number = evicted_int(-1);
	CALL("PR_SET_PDEATHSIG", prctl(PR_SET_PDEATHSIG, SIGUSR1));
	CALL("PR_GET_PDEATHSIG", prctl(PR_GET_PDEATHSIG, number));
	say("signal %d", *number);
	CALL("PR_SET_PDEATHSIG", prctl(PR_SET_PDEATHSIG, 0));
	CALL("an unknown one", prctl(9999, number));
}

static void usage_and_limits(void)
{
	struct sysinfo *system = EVICTED(struct sysinfo);
	struct rusage *usage = EVICTED(struct rusage);
	struct rlimit *limits = EVICTED_ARRAY(struct rlimit, 2), plain;
	CALL("sysinfo", sysinfo(system));
	check("system", system->totalram > 0 && system->procs > 0 && system->mem_unit > 0);
	memset(usage, 0x5a, sizeof(*usage));
	CALL("getrusage", getrusage(RUSAGE_SELF, usage));
	check("usage", usage->ru_utime.tv_sec < 10000 && usage->ru_maxrss < 1 << 24);
	CALL("getrusage of whom", getrusage(77, usage));
	CALL("getrusage of whom, to nowhere", getrusage(77, BAD));
	CALL("getrusage to nowhere", getrusage(RUSAGE_SELF, BAD));
	getrlimit(RLIMIT_STACK, &plain);
	CALL("getrlimit", syscall(SYS_getrlimit, RLIMIT_STACK, limits));
	check("limit", limits[0].rlim_cur == plain.rlim_cur);
	getrlimit(RLIMIT_CORE, &plain);
	limits[0].rlim_cur = 0;
	limits[0].rlim_max = plain.rlim_max;
	CALL("prlimit64", syscall(SYS_prlimit64, 0, RLIMIT_CORE, &limits[0], &limits[1]));
	check("old limit", limits[1].rlim_cur == plain.rlim_cur);
	CALL("setrlimit", syscall(SYS_setrlimit, RLIMIT_CORE, &limits[1]));
	CALL("prlimit64 of an unknown one", syscall(SYS_prlimit64, 0, 99, NULL, &limits[1]));
	CALL("prlimit64 from nowhere", syscall(SYS_prlimit64, 0, RLIMIT_CORE, BAD, NULL));
	limits[0].rlim_cur = 2;
	limits[0].rlim_max = 1;
	CALL("prlimit64 turned round", syscall(SYS_prlimit64, 0, RLIMIT_CORE, &limits[0], NULL));
}

static void identities(void)
{
	uid_t *ids = EVICTED_ARRAY(uid_t, 3);
	gid_t *groups = evicted(70000 * sizeof(gid_t)), plain[256];
	struct __user_cap_header_struct *header = EVICTED(struct __user_cap_header_struct);
	struct __user_cap_data_struct *sets = EVICTED_ARRAY(struct __user_cap_data_struct, 2);
	int count = getgroups(256, plain);
	CALL("getgroups for the number", getgroups(0, NULL));
	CALL("getgroups", getgroups(65536, groups));
	check("groups", count >= 0 && memcmp(groups, plain, sizeof(gid_t) * (size_t)count) == 0);
	CALL("getresuid", getresuid(&ids[0], &ids[1], &ids[2]));
	check("users", ids[0] == getuid() && ids[1] == geteuid());
	CALL("getresgid to nowhere", getresgid(&ids[0], BAD, &ids[2]));
	header->version = _LINUX_CAPABILITY_VERSION_3;
	memset(sets, 0x5a, 2 * sizeof(*sets));
	CALL("capget", syscall(SYS_capget, header, sets));
	check("sets", (sets[0].effective & ~sets[0].permitted) == 0);
	header->version = 1;
	CALL("capget of another version", syscall(SYS_capget, header, sets));
	check("version", header->version == _LINUX_CAPABILITY_VERSION_3);
}

static void scheduling(void)
{
	cpu_set_t *set = evicted(1024);
	struct sched_param *parameters = EVICTED(struct sched_param);
	struct timespec *interval = EVICTED(struct timespec);
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
		uint32_t low, high;
	} *attributes = evicted_zero(sizeof(*attributes));
	unsigned *numbers = EVICTED_ARRAY(unsigned, 2);
	CALL("sched_getaffinity", syscall(SYS_sched_getaffinity, 0, 1024L, set));
	dump("set", set, 1024);
	CALL("sched_setaffinity", sched_setaffinity(0, 128, set));
	CALL("sched_getaffinity with little room", syscall(SYS_sched_getaffinity, 0, 1L, set));
	memset(set, 0, 1024);
	CALL("sched_setaffinity to none", sched_setaffinity(0, 128, set));
	CALL("sched_getparam", sched_getparam(0, parameters));
	say("priority %d", parameters->sched_priority);
	CALL("sched_setscheduler", sched_setscheduler(0, SCHED_OTHER, parameters));
	CALL("sched_rr_get_interval", sched_rr_get_interval(0, interval));
	check("interval", interval->tv_sec == 0);
	CALL("sched_getattr", syscall(SYS_sched_getattr, 0, attributes, sizeof(*attributes), 0));
	say("policy %u, nice %d", attributes->policy, attributes->nice);
	CALL("getcpu", syscall(SYS_getcpu, &numbers[0], &numbers[1], NULL));
	check("processor", numbers[0] < 100000 && numbers[1] < 10000);
}

static void other_memory(void)
{
	static char plain[10000], target[10000];
	struct iovec *local = EVICTED_ARRAY(struct iovec, 2);
	struct iovec *remote = EVICTED_ARRAY(struct iovec, 2);
	unsigned char *vector = evicted(10);
	void **pointer = EVICTED(void *);
	size_t *size = EVICTED(size_t);
	char *block = evicted(10000);
	fill(block, 10000, 95);
	local[0] = (struct iovec){ target, 3000 };
	local[1] = (struct iovec){ target + 3000, 7000 };
	remote[0] = (struct iovec){ block, 10000 };
	CALL("process_vm_readv", process_vm_readv(getpid(), local, 2, remote, 1, 0));
	dump("read", target, 10000);
	fill(plain, 10000, 96);
	local[0] = (struct iovec){ plain, 10000 };
	CALL("process_vm_writev", process_vm_writev(getpid(), local, 1, remote, 1, 0));
	dump("written", block, 10000);
	remote[0].iov_base = unmapped();
	CALL("process_vm_readv of nothing", process_vm_readv(getpid(), local, 1, remote, 1, 0));
	char *area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	                  -1, 0);
	area[PAGE] = 1;
	CALL("mincore", mincore(area, 4 * PAGE, vector));
	/* In little memory it may be gone again by then. */
	for (int i = 0; i < 1000 && !(vector[1] & 1); i++) {
		((volatile char *)area)[PAGE] = 1;
		MUST(mincore(area, 4 * PAGE, vector));
	}
	say("pages %d %d, then %02x", vector[0] & 1, vector[1] & 1, vector[4]);
	munmap(area, 4 * PAGE);
	CALL("get_robust_list", syscall(SYS_get_robust_list, 0, pointer, size));
	say("size %zu", *size);
}

/* What has a word to store, as the kernel knows it, or knows none. */
static void architecture(void)
{
	static const struct {
		const char *name;
		int option;
	} words[] = {
		{ "ARCH_GET_GS", 0x1004 },          { "ARCH_GET_XCOMP_SUPP", 0x1021 },
		{ "ARCH_GET_XCOMP_PERM", 0x1022 },  { "ARCH_GET_XCOMP_GUEST_PERM", 0x1024 },
		{ "ARCH_GET_UNTAG_MASK", 0x4001 },  { "ARCH_GET_MAX_TAG_BITS", 0x4003 },
		{ "ARCH_SHSTK_STATUS", 0x5005 },    { "none", 0x1ff0 },
	};
	unsigned long *word = EVICTED(unsigned long);
	CALL("ARCH_GET_FS", syscall(SYS_arch_prctl, 0x1003, word));
	check("pointer", *word != 0);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		*word = 0x5a5a;
		CALL(words[i].name, syscall(SYS_arch_prctl, words[i].option, word));
		say("word %lx", *word);
		CALL("to nowhere", syscall(SYS_arch_prctl, words[i].option, unmapped()));
		CALL("to a bad address", syscall(SYS_arch_prctl, words[i].option, BAD));
	}
}

const struct call_case process_cases[] = {
	CASE(execute_evicted),
	CASE(executeat_evicted),
	CASE(execute_script),
	CASE(spawn_evicted),
	CASE(vfork_evicted),
	CASE(traced_execution),
	CASE(execute_errors),
	CASE(wait_usage),
	CASE(wait_information),
	CASE(clone_without_handlers),
	CASE(clone_words),
	CASE(names),
	CASE(usage_and_limits),
	CASE(identities),
	CASE(scheduling),
	CASE(other_memory),
	CASE(architecture),
	{ 0 },
};
