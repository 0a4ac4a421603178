/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel_swap.h - the kernel's own paging, as a baseline: memory cgroups, and swap on zram or in a file
 *
 * Needs root. All that is changed of the machine is undone at the end: the benchmark itself is a child
 * (kernel_swap_begin), and whoever began it waits for it, also when it fails or a signal ends it, kills what
 * is left of its process group, and restores. What there is to undo is noted in memory that
 * both share, before it is done.
 */
#ifndef UPAGE_BENCH_KERNEL_SWAP_H
#define UPAGE_BENCH_KERNEL_SWAP_H

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define KERNEL_GROUPS 2

/* To be undone; an empty name: nothing. */
static struct kernel_undo {
	char group[KERNEL_GROUPS][128]; /* directories of cgroups            */
	char control[128];              /* v2: the file that "-memory" goes to */
	char swap[128];                 /* a device, or a file                */
	bool is_file;
	int zram; /* its number plus one */
} *kernel_undo;

static bool kernel_v2;         /* cgroups are of version 2  */
static char kernel_root[100];  /* of the memory controller */

/* ---- Files of the kernel's --------------------------------------------------------------------- */

static inline bool kernel_write(const char *directory, const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int file = open(path, O_WRONLY | O_CLOEXEC);
	bool good = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
	int error = errno;
	close(file);
	errno = error;
	return good;
}

/* Return: its text; "": there is none. */
static inline const char *kernel_read(const char *directory, const char *name)
{
	static char text[4096];
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = file >= 0 ? read(file, text, sizeof(text) - 1) : 0;
	text[length > 0 ? length : 0] = '\0';
	close(file);
	return text;
}

/* ---- The end ------------------------------------------------------------------------------------ */

static inline void kernel_swap_off(void)
{
	char number[16], path[64];
	if (kernel_undo->swap[0] != '\0') {
		swapoff(kernel_undo->swap);
		if (kernel_undo->is_file)
			unlink(kernel_undo->swap);
		kernel_undo->swap[0] = '\0';
	}
	if (kernel_undo->zram > 0) {
		snprintf(number, sizeof(number), "%d", kernel_undo->zram - 1);
		snprintf(path, sizeof(path), "/sys/block/zram%s", number);
		kernel_write(path, "reset", "1");
		kernel_write("/sys/class/zram-control", "hot_remove", number);
		kernel_undo->zram = 0;
	}
}

static inline void kernel_restore(void)
{
	kernel_swap_off();
	for (unsigned i = 0; i < KERNEL_GROUPS; i++)
		for (unsigned tries = 0; kernel_undo->group[i][0] != '\0' && tries < 500; tries++) {
			if (rmdir(kernel_undo->group[i]) == 0 || errno == ENOENT)
				kernel_undo->group[i][0] = '\0';
			else
				usleep(10000); /* those who were killed are not gone yet */
		}
	if (kernel_undo->control[0] != '\0')
		kernel_write(kernel_undo->control, "cgroup.subtree_control", "-memory");
}

static pid_t kernel_child;

static inline void kernel_on_signal(int number)
{
	(void)number;
	kill(-kernel_child, SIGKILL);
}

/* Returns in a child, in a process group of its own; the caller waits for it, restores, and ends as it did. */
static inline void kernel_swap_begin(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	int status;
	sigset_t all, before;
	kernel_undo = mmap(NULL, sizeof(*kernel_undo), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need_host(kernel_undo != MAP_FAILED, "mmap");
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	fflush(NULL);
	kernel_child = fork();
	need_host(kernel_child >= 0, "fork");
	if (kernel_child == 0) {
		setpgid(0, 0);
		sigprocmask(SIG_SETMASK, &before, NULL);
		return;
	}
	setpgid(kernel_child, kernel_child);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], kernel_on_signal);
	sigprocmask(SIG_SETMASK, &before, NULL);
	while (waitpid(kernel_child, &status, 0) < 0 && errno == EINTR)
		;
	kill(-kernel_child, SIGKILL);
	kernel_restore();
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* ---- Memory cgroups --------------------------------------------------------------------------- */

/* Return: NULL, or why there are none. */
static inline const char *kernel_groups_find(void)
{
	char line[1024], type[32], options[512];
	if (geteuid() != 0)
		return "a memory cgroup is root's to make";
	FILE *mounts = fopen("/proc/self/mounts", "r");
	need_host(mounts != NULL, "/proc/self/mounts");
	kernel_root[0] = '\0';
	while (kernel_root[0] == '\0' && fgets(line, sizeof(line), mounts) != NULL) {
		char root[100];
		if (sscanf(line, "%*s %99s %31s %511s", root, type, options) != 3)
			continue;
		kernel_v2 = strcmp(type, "cgroup2") == 0;
		if ((strcmp(type, "cgroup") == 0 && strstr(options, "memory") != NULL) ||
		    (kernel_v2 && strstr(kernel_read(root, "cgroup.controllers"), "memory") != NULL))
			strcpy(kernel_root, root);
	}
	fclose(mounts);
	if (kernel_root[0] == '\0')
		return "the kernel has no memory cgroups";
	if (kernel_v2 && strstr(kernel_read(kernel_root, "cgroup.subtree_control"), "memory") == NULL) {
		strcpy(kernel_undo->control, kernel_root);
		if (!kernel_write(kernel_root, "cgroup.subtree_control", "+memory"))
			return "the memory controller is not ours to use";
	}
	return NULL;
}

/* Return: its directory; NULL: it cannot be made. */
static inline const char *kernel_group_make(unsigned number)
{
	char *name = kernel_undo->group[number];
	snprintf(name, sizeof(kernel_undo->group[0]), "%s/upage-bench-%d-%u", kernel_root, (int)getpid(), number);
	if (mkdir(name, 0700) == 0)
		return name;
	name[0] = '\0';
	return NULL;
}

static inline void kernel_group_limit(const char *group, size_t bytes)
{
	char text[32];
	snprintf(text, sizeof(text), "%zu", bytes / PAGE * PAGE);
	/* What cannot be reclaimed at once is EBUSY: once more. */
	for (unsigned tries = 0; tries < 100; tries++) {
		if (kernel_write(group, kernel_v2 ? "memory.max" : "memory.limit_in_bytes", text))
			return;
		usleep(10000);
	}
	bench_fail("%s: no limit of %s bytes: %s", group, text, strerror(errno));
}

/* What its processes have: anonymous memory, files of memory, page cache, page tables. */
static inline size_t kernel_group_usage(const char *group)
{
	return strtoull(kernel_read(group, kernel_v2 ? "memory.current" : "memory.usage_in_bytes"), NULL, 10);
}

static inline void kernel_group_enter(const char *group)
{
	need_host(kernel_write(group, "cgroup.procs", "0"), group);
}

/* ---- Swap -------------------------------------------------------------------------------------- */

/* Writes what mkswap(8) writes, and begins to use it before all other swap. Return: whether it could. */
static inline bool kernel_swap_on(const char *path, size_t bytes, bool is_file)
{
	static union {
		char page[4096];
		struct {
			char boot[1024];
			uint32_t version, last_page, bad_pages;
		} head;
	} first;
	first.head.version = 1;
	first.head.last_page = (uint32_t)(bytes / PAGE) - 1;
	memcpy(first.page + PAGE - 10, "SWAPSPACE2", 10);
	int file = open(path, O_RDWR | O_CLOEXEC | (is_file ? O_CREAT | O_EXCL : 0), 0600);
	if (file < 0)
		return false;
	strcpy(kernel_undo->swap, path);
	kernel_undo->is_file = is_file;
	bool good = (!is_file || posix_fallocate(file, 0, (off_t)bytes) == 0) &&
	            pwrite(file, first.page, PAGE, 0) == (ssize_t)PAGE && fsync(file) == 0;
	close(file);
	return good && swapon(path, SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK) == 0;
}

static inline bool kernel_swap_file(size_t bytes)
{
	const char *directory = getenv("TMPDIR");
	char path[120];
	snprintf(path, sizeof(path), "%s/upage-bench-swap-%d", directory ? directory : "/tmp", (int)getpid());
	return kernel_swap_on(path, bytes, true);
}

/* On a compressed memory of its own. */
static inline bool kernel_swap_zram(size_t bytes)
{
	char system[64], device[64], text[32];
	int number;
	if (sscanf(kernel_read("/sys/class/zram-control", "hot_add"), "%d", &number) != 1)
		return false;
	kernel_undo->zram = number + 1;
	snprintf(system, sizeof(system), "/sys/block/zram%d", number);
	snprintf(device, sizeof(device), "/dev/zram%d", number);
	snprintf(text, sizeof(text), "%zu", bytes);
	return kernel_write(system, "comp_algorithm", "lz4") && kernel_write(system, "disksize", text) &&
	       kernel_swap_on(device, bytes, false);
}

/* The memory that the compressed pages take. */
static inline size_t kernel_zram_usage(void)
{
	char system[64];
	size_t used = 0;
	snprintf(system, sizeof(system), "/sys/block/zram%d", kernel_undo->zram - 1);
	sscanf(kernel_read(system, "mm_stat"), "%*u %*u %zu", &used);
	return used;
}

#endif
