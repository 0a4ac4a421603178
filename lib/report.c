/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "error.h"
#include "guard.h"
#include "host.h"
#include "lock.h"
#include "options.h"
#include "print.h"
#include "signals.h"
#include "syscall.h"

#define RECORDS 2047 /* and one more for what was merged */
#define GAUGES (sizeof(struct upage_stats) / sizeof(uint64_t))

enum state { STATE_UNUSED, STATE_RUNNING, STATE_EXIT, STATE_SIGNAL, STATE_EXEC };

/* What is known of one process. Written by it alone, and read by others meanwhile. */
struct record {
	struct stats stats;
	_Atomic uint64_t gauges[GAUGES]; /* struct upage_stats, as of the last sample   */
	_Atomic uint64_t nanoseconds_end;
	_Atomic uint64_t merged;         /* processes that were added to it             */
	_Atomic int state, signal;       /* state: set when the rest is valid           */
	int process, parent;
	char program[128];
};

/* Shared by the processes of a tree, in a file of memory, so that one can be handed on by execve.
 * records[0] is that of the first program of the first process. */
struct area {
	_Atomic uint64_t taken;   /* records; may count beyond RECORDS                  */
	_Atomic uint64_t crowded; /* processes that found none                          */
	struct record records[RECORDS + 1];
};

/* A pool's, in memory of this process; guarded by `owner`. */
struct report {
	upage_pool *pool;
	struct report *next;
	struct area *area;     /* NULL: no statistics were asked for                    */
	_Atomic int file;      /* its, or -1                                            */
	struct record *record; /* of this process: in the area, or `own`                */
	struct record own;
	int process;           /* this one; else the memory is a parent's               */
	bool first, ended, written;
	int failure;           /* of writing the file                                   */
	_Atomic int terminal;  /* of --stats: stderr as it was, or -1                   */
	uint64_t terminal_file[2];
	char path[PATH_MAX + 256]; /* as configured, made absolute                      */
	char expanded[PATH_MAX];
	char text[2048];       /* on its way to a descriptor                            */
};

static struct report *reports;
static struct report_legacy legacy = { .area = -1, .terminal = -1, .first = true };
static _Atomic int reporting; /* the process whose reports these are */

static int process_id(void)
{
	return (int)syscall_1(SYS_getpid, 0);
}

/* ---- The lock: a thread's id, so that it is known who holds it ---------------------------- */

#define OWNER_WANTED 0x80000000u
static _Atomic uint32_t owner;

/* Return: false if this thread has it already. */
static bool owner_acquire(void)
{
	uint32_t me = (uint32_t)host_thread_id(), mine = me, word = 0;
	while (!atomic_compare_exchange_strong(&owner, &word, mine)) {
		if ((word & ~OWNER_WANTED) == me)
			return false;
		if ((word & OWNER_WANTED) ||
		    atomic_compare_exchange_strong(&owner, &word, word | OWNER_WANTED)) {
			futex_wait(&owner, word | OWNER_WANTED);
			mine = me | OWNER_WANTED; /* there may be others who wait */
		}
		word = 0;
	}
	return true;
}

static void owner_release(void)
{
	if (atomic_exchange(&owner, 0) & OWNER_WANTED)
		futex_wake(&owner, 1);
}

static bool fork_acquired;

void report_fork_begin(void)
{
	fork_acquired = owner_acquire();
}

void report_fork_end(void)
{
	/* A handler that forked while its thread wrote: the child has no such thread. */
	if (fork_acquired || process_id() != atomic_load(&reporting))
		owner_release();
}

/* ---- Records ------------------------------------------------------------------------------ */

static void sample(struct report *report)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	uint64_t values[GAUGES];
	if (report->process != process_id())
		return; /* the record is the parent's */
	upage_stats_get(report->pool, &stats);
	memcpy(values, &stats, sizeof(values));
	for (size_t i = 0; i < GAUGES; i++)
		atomic_store_explicit(&report->record->gauges[i], values[i], memory_order_relaxed);
}

/* Where statistics were not asked for nobody reads it: the frames' lists need not be looked through. */
void report_sample(upage_pool *pool)
{
	if (pool->report->area != NULL)
		sample(pool->report);
}

static void record_begin(struct report *report, struct record *record, const char *program)
{
	report->record = record;
	report->process = process_id();
	report->pool->stats = &record->stats;
	atomic_store(&record->state, STATE_UNUSED);
	stats_init(&record->stats);
	record->process = report->process;
	record->parent = (int)syscall_1(SYS_getppid, 0);
	size_t length = strlen(program);
	if (length >= sizeof(record->program))
		length = sizeof(record->program) - 1;
	memmove(record->program, program, length);
	record->program[length] = '\0';
	atomic_store(&record->state, STATE_RUNNING);
	atomic_store(&reporting, report->process);
}

/* For a process without a record in the area. */
static void record_merge(struct report *report)
{
	struct record *record = report->record, *others = &report->area->records[RECORDS];
	others->stats.ticks_start = report->area->records[0].stats.ticks_start;
	others->stats.nanoseconds_start = report->area->records[0].stats.nanoseconds_start;
	stats_add(&others->stats, &record->stats);
	for (size_t i = 0; i < GAUGES; i++) /* memory as the last one left it */
		atomic_store(&others->gauges[i], atomic_load(&record->gauges[i]));
	atomic_store(&others->nanoseconds_end, atomic_load(&record->nanoseconds_end));
	memcpy(others->program, report->area->records[0].program, sizeof(others->program));
	atomic_store(&others->state, STATE_EXIT);
	atomic_fetch_add(&others->merged, 1);
}

static void record_end(struct report *report, int signal)
{
	struct record *record = report->record;
	if (report->ended)
		return;
	report->ended = true;
	report_sample(report->pool);
	atomic_store(&record->nanoseconds_end, host_nanoseconds());
	atomic_store(&record->signal, signal);
	atomic_store(&record->state, signal != 0 ? STATE_SIGNAL : STATE_EXIT);
	if (report->area != NULL && record == &report->own)
		record_merge(report);
}

/* One in the area, if there is room. */
static struct record *record_take(struct report *report)
{
	if (report->area == NULL)
		return &report->own;
	uint64_t taken = atomic_fetch_add(&report->area->taken, 1);
	if (taken < RECORDS)
		return &report->area->records[taken];
	atomic_fetch_add(&report->area->crowded, 1);
	return &report->own;
}

void report_fork_child(upage_pool *pool)
{
	struct report *report = pool->report;
	char program[sizeof(report->own.program)];
	memcpy(program, report->record->program, sizeof(program));
	atomic_store(&owner, 0); /* whoever had it is not here */
	fork_acquired = false;
	report->first = report->ended = report->written = false;
	host_abandon(&report->terminal); /* it would keep whoever reads from it waiting */
	record_begin(report, record_take(report), program);
	report_sample(pool);
}

/* ---- What is known of a process ----------------------------------------------------------- */

/* Also one that has ended and whose parent has not asked yet. */
static bool is_gone(int process)
{
	char text[512], *end = text;
	struct stream path = { text, sizeof(text), 0, STREAM_KEEP, 0 };
	if (syscall_2(SYS_kill, process, 0) == -ESRCH)
		return true;
	stream_text(&path, "/proc/");
	stream_decimal(&path, (uint64_t)process);
	stream_text(&path, "/stat");
	long file = syscall_4(SYS_openat, AT_FDCWD, text, O_RDONLY | O_CLOEXEC, 0);
	if (file < 0)
		return false;
	long n = syscall_3(SYS_read, file, text, sizeof(text) - 1);
	host_close((int)file);
	for (long i = 0; i < n; i++) /* "PID (NAME) STATE", with anything in NAME */
		if (text[i] == ')')
			end = text + i;
	return end + 2 < text + n && (end[2] == 'Z' || end[2] == 'X');
}

static const char *ended_name(const struct record *record)
{
	switch ((enum state)atomic_load(&record->state)) {
	case STATE_EXIT:
		return "exit";
	case STATE_SIGNAL:
		return "signal";
	case STATE_EXEC:
		return "exec";
	default:
		return is_gone(record->process) ? "killed" : "running";
	}
}

static void describe(const struct report *report, struct record *record, struct upage_stats *stats,
                     struct stats_labels *labels)
{
	const upage_pool *pool = report->pool;
	uint64_t values[GAUGES];
	for (size_t i = 0; i < GAUGES; i++)
		values[i] = atomic_load_explicit(&record->gauges[i], memory_order_relaxed);
	memcpy(stats, values, sizeof(*stats));
	stats_read(&record->stats, stats);
	*labels = (struct stats_labels){
		.program = record->program,
		.scheme = options_scheme_name(options_scheme(&pool->config)),
		.policy = pool->replace.ops->name,
		.store = pool->config.store[0] != '\0' ? pool->config.store : "file",
		.mapping = atomic_load(&pool->frames.home) >= 0 ? "guard" : "remap",
		.process = record->process,
		.parent = record->parent,
		.ended = ended_name(record),
		.signal = atomic_load(&record->signal),
		.merged = atomic_load(&record->merged),
	};
	uint64_t end = atomic_load(&record->nanoseconds_end);
	if (end == 0)
		end = host_nanoseconds();
	labels->wall_ns = labels->ended[0] == 'k' ? stats_active_ns(&record->stats)
	                                          : end - record->stats.nanoseconds_start;
}

/* The next record beside @top, which is described first; *index starts at 0. NULL: none. */
static struct record *next_record(const struct report *report, const struct record *top,
                                  size_t *index)
{
	if (report->area == NULL || !report->first)
		return NULL;
	while (*index <= RECORDS) {
		if (*index < RECORDS && *index >= atomic_load(&report->area->taken))
			*index = RECORDS; /* only the merged ones are left */
		struct record *record = &report->area->records[(*index)++];
		if (record != top && atomic_load(&record->state) != STATE_UNUSED)
			return record;
	}
	return NULL;
}

/* ---- Writing ------------------------------------------------------------------------------ */

static bool has_process_id(const char *path)
{
	for (; *path != '\0'; path++)
		if (path[0] == '%' && path[1] == 'p')
			return true;
	return false;
}

/* Of the program that the user named: the process may have executed others since. */
static struct record *first_record(struct report *report)
{
	return report->first && report->area != NULL ? &report->area->records[0] : report->record;
}

typedef void writer(struct report *report, struct stream *out);

static void write_table(struct report *report, struct stream *out)
{
	struct upage_stats stats, sum = { .size = 0 };
	struct stats_labels labels;
	struct record *record, *top = first_record(report);
	size_t i = 0;
	describe(report, top, &stats, &labels);
	stats_table(out, &stats, &labels);
	if (next_record(report, top, &i) == NULL)
		return;
	stats_table_heading(out);
	i = 0;
	for (record = top; record != NULL; record = next_record(report, top, &i)) {
		describe(report, record, &stats, &labels);
		stats_table_process(out, &stats, &labels, &sum);
	}
	stats_table_total(out, &sum);
}

static void write_json(struct report *report, struct stream *out)
{
	struct upage_stats stats;
	struct stats_labels labels;
	struct record *record, *top = report->record;
	uint64_t merged = 0, crowded = 0;
	const char *between = "\n";
	if (!has_process_id(report->pool->config.stats_json)) /* else there is a file for each */
		top = first_record(report);
	describe(report, top, &stats, &labels);
	stats_json_begin(out, &stats, &labels);
	if (report->first && report->area != NULL) {
		merged = atomic_load(&report->area->records[RECORDS].merged);
		crowded = atomic_load(&report->area->crowded);
	}
	for (size_t i = 0; (record = next_record(report, top, &i)) != NULL; between = ",\n") {
		stream_text(out, between);
		describe(report, record, &stats, &labels);
		stats_json_begin(out, &stats, &labels);
		stats_json_end(out, 0);
	}
	stats_json_end(out, crowded > merged ? crowded - merged : 0);
	stream_text(out, "\n");
}

/* A reader that went away, or a limit on files, must not end the program by a signal: the kernel
 * sends them to the thread that writes, where they wait until we take them. */
#define WRITE_SIGNALS (SIGNAL_BIT(SIGPIPE) | SIGNAL_BIT(SIGXFSZ))

static int write_to(struct report *report, int descriptor, writer *write)
{
	struct stream out = { report->text, sizeof(report->text), 0, descriptor, 0 };
	signal_mask block = WRITE_SIGNALS, before = 0, pending = 0;
	struct timespec none = { 0 };
	syscall_4(SYS_rt_sigprocmask, SIG_BLOCK, &block, &before, sizeof(block));
	syscall_2(SYS_rt_sigpending, &pending, sizeof(pending));
	write(report, &out);
	int result = stream_end(&out);
	block &= ~pending;
	if (result == -EPIPE || result == -EFBIG)
		syscall_4(SYS_rt_sigtimedwait, &block, NULL, &none, sizeof(block));
	signals_set(before);
	return result;
}

/* "%p" becomes the process id. Return: 0 or -ENAMETOOLONG. */
static int expand_path(struct report *report, const char *path)
{
	struct stream out = { report->expanded, sizeof(report->expanded), 0, STREAM_KEEP, 0 };
	size_t length = 0;
	stream_text(&out, "");
	for (; *path != '\0'; path++) {
		if (path[0] == '%' && path[1] == 'p') {
			stream_decimal(&out, (uint64_t)report->process);
			path++;
		} else {
			stream_bytes(&out, path, 1);
		}
		if (out.length == length || out.length == out.size - 1)
			return -ENAMETOOLONG;
		length = out.length;
	}
	return 0;
}

static int write_file(struct report *report, const char *path)
{
	int result = expand_path(report, path);
	if (result < 0)
		return result;
	long file;
	do
		file = syscall_4(SYS_openat, AT_FDCWD, report->expanded,
		                 O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
	while (file == -EINTR);
	if (file < 0)
		return (int)file;
	result = write_to(report, (int)file, write_json);
	long closed = syscall_1(SYS_close, file); /* where NFS tells of a full disk */
	return result == 0 && closed < 0 && closed != -EINTR ? (int)closed : result;
}

static void write_failure(struct report *report, struct stream *out)
{
	stream_text(out, "upage: stats-json=");
	stream_text(out, report->pool->config.stats_json);
	stream_text(out, ": ");
	const char *cause = error_words(-report->failure); /* of a file: our own words are of stores */
	stream_text(out, cause != NULL ? cause : "unknown error");
	stream_text(out, "\n");
}

/* ---- stderr, which programs close before they end ------------------------------------------ */

static bool file_identity(int descriptor, uint64_t identity[2])
{
	struct stat status;
	if (descriptor < 0 || syscall_2(SYS_fstat, descriptor, &status) < 0)
		return false;
	identity[0] = (uint64_t)status.st_dev;
	identity[1] = (uint64_t)status.st_ino;
	return true;
}

static void terminal_open(struct report *report, bool keep)
{
	atomic_store(&report->terminal, -1);
	bool inherited = legacy.terminal >= 0;
	if (!file_identity(inherited ? legacy.terminal : 2, report->terminal_file) || !keep)
		return;
	long copy = inherited ? legacy.terminal : syscall_3(SYS_fcntl, 2, F_DUPFD_CLOEXEC, 0);
	if (copy >= 0)
		host_keep(&report->terminal, (int)copy);
}

/* Where system calls are not intercepted it may have been closed, and its number be that of a file
 * of the program's by now. */
static bool is_terminal(const struct report *report, int descriptor)
{
	uint64_t now[2];
	return file_identity(descriptor, now) && now[0] == report->terminal_file[0] &&
	       now[1] == report->terminal_file[1];
}

/* Return: -1 if there is none any more. */
static int terminal(const struct report *report)
{
	int descriptor = atomic_load(&report->terminal);
	return is_terminal(report, descriptor) ? descriptor : is_terminal(report, 2) ? 2 : -1;
}

/* ---- The end ------------------------------------------------------------------------------ */

/* What is written may be written by none but the first call. */
static void write_all(struct report *report)
{
	const struct upage_config *config = &report->pool->config;
	if (report->written)
		return;
	report->written = true;
	if (config->stats && report->first)
		write_to(report, terminal(report), write_table);
	if (config->stats_json[0] == '\0' || (!report->first && !has_process_id(config->stats_json)))
		return;
	report->failure = write_file(report, report->path);
	if (report->failure < 0)
		write_to(report, terminal(report), write_failure);
}

/* Owned. */
static void finish(struct report *report, int signal)
{
	if (report->process != process_id())
		return; /* a parent's */
	record_end(report, signal);
	write_all(report);
}

static void end_all(int signal)
{
	if (process_id() != atomic_load(&reporting) || !owner_acquire())
		return;
	for (struct report *report = reports; report != NULL; report = report->next)
		finish(report, signal);
	owner_release();
}

void report_exit(void)
{
	end_all(0);
}

void report_signal(int number)
{
	end_all(number);
}

/* ---- execve -------------------------------------------------------------------------------- */

void report_exec(bool begins, bool followed)
{
	if (process_id() != atomic_load(&reporting) || !owner_acquire())
		return;
	for (struct report *report = reports; report != NULL; report = report->next) {
		if (report->process != process_id() || report->ended)
			continue;
		if (begins)
			report_sample(report->pool);
		atomic_store(&report->record->nanoseconds_end, begins ? host_nanoseconds() : 0);
		atomic_store(&report->record->state, begins ? STATE_EXEC : STATE_RUNNING);
		if (begins && !followed)
			write_all(report); /* there will be nobody to do it */
		else if (!begins)
			report->written = false;
	}
	owner_release();
}

static void hand_on(int descriptor, bool begins)
{
	if (descriptor >= 0)
		syscall_3(SYS_fcntl, descriptor, F_SETFD, begins ? 0 : FD_CLOEXEC);
}

void report_hand_over(struct report_legacy *out, bool begins)
{
	*out = (struct report_legacy){ .area = -1, .terminal = -1, .first = true };
	const struct report *report = reports;
	if (report == NULL || report->area == NULL)
		return;
	/* A vfork child, in the memory of the first one, is another. */
	bool first = report->first && report->process == process_id();
	out->area = atomic_load(&report->file);
	out->first = first || out->area < 0;
	out->terminal = first ? atomic_load(&report->terminal) : -1;
	hand_on(out->area, begins);
	hand_on(out->terminal, begins);
}

void report_inherit(const struct report_legacy *from)
{
	legacy = *from;
}

/* ---- Making and ending --------------------------------------------------------------------- */

/* The program may change its directory before it ends. */
static void remember_path(struct report *report, const char *path)
{
	struct stream out = { report->path, sizeof(report->path), 0, STREAM_KEEP, 0 };
	long length = path[0] == '/' ? 0 : syscall_2(SYS_getcwd, report->expanded, PATH_MAX);
	if (length > 1 && report->expanded[0] == '/') { /* else it is out of reach by name */
		stream_text(&out, report->expanded);
		stream_text(&out, "/");
	}
	stream_text(&out, path);
}

/* The C library does not know it yet where a constructor of ours runs before its own. */
static const char *program_name(char *buffer, size_t size)
{
	if (program_invocation_short_name[0] != '\0')
		return program_invocation_short_name;
	long length = syscall_4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", buffer, size - 1);
	buffer[length > 0 ? length : 0] = '\0';
	const char *slash = strrchr(buffer, '/');
	return slash != NULL ? slash + 1 : buffer;
}

#define AREA_BYTES round_up(sizeof(struct area), HOST_PAGE_SIZE)

/* Where there is no room for a file (RLIMIT_FSIZE), memory that no execve hands on. */
static bool area_open(struct report *report)
{
	bool inherited = legacy.area >= 0;
	int file = inherited ? legacy.area : host_memory_create(AREA_BYTES);
	atomic_store(&report->file, -1);
	if (file >= 0 && host_keep(&report->file, file) == 0 &&
	    host_file_size(report->file) == (int64_t)AREA_BYTES)
		report->area = host_share(report->file, AREA_BYTES);
	if (report->area == NULL && !inherited) {
		host_drop(&report->file);
		report->area = host_shared(AREA_BYTES);
	}
	return report->area != NULL;
}

int report_open(upage_pool *pool)
{
	char name[PATH_MAX];
	const struct upage_config *config = &pool->config;
	struct report *report = host_metadata(sizeof(*report));
	if (report == NULL)
		return UPAGE_ENOMEM;
	report->pool = pool;
	report->first = legacy.first;
	atomic_store(&report->file, -1);
	if ((config->stats || config->stats_json[0] != '\0') && !area_open(report)) {
		host_drop(&report->file);
		host_metadata_release(report, sizeof(*report));
		return UPAGE_ENOMEM;
	}
	terminal_open(report, config->stats && report->first);
	remember_path(report, config->stats_json);
	pool->report = report;
	record_begin(report, record_take(report), program_name(name, sizeof(name)));
	owner_acquire();
	report->next = reports;
	reports = report;
	owner_release();
	return 0;
}

void report_close(upage_pool *pool)
{
	struct report *report = pool->report;
	owner_acquire();
	finish(report, 0);
	for (struct report **link = &reports; *link != NULL; link = &(*link)->next) {
		if (*link == report) {
			*link = report->next;
			break;
		}
	}
	owner_release();
	if (is_terminal(report, atomic_load(&report->terminal)))
		host_drop(&report->terminal);
	else
		host_abandon(&report->terminal);
	if (report->area != NULL)
		host_release(report->area, AREA_BYTES);
	host_drop(&report->file);
	host_metadata_release(report, sizeof(*report));
}

/* ---- Asked for by the program --------------------------------------------------------------- */

PUBLIC int upage_stats_get(upage_pool *pool, struct upage_stats *out)
{
	if (pool == NULL || out == NULL || out->size == 0)
		return UPAGE_EINVAL;
	struct upage_stats stats = { .size = out->size };
	stats_read(pool->stats, &stats);
	stats.page_size = frame_size(&pool->frames);
	stats.frames = pool->frames.frames;
	stats.frames_peak = pool->frames.frames - pool->frames.free_least;
	stats.frames_free = atomic_load(&pool->frames.free);
	stats.frames_pinned = atomic_load(&pool->pinned);
	stats.table_bytes = pool->tables.bytes;
	stats.metadata_bytes = pool->frames.frames * sizeof(struct frame) +
	                       pool->replace.ops->state_size(pool->frames.frames) +
	                       buffers_bytes(pool->buffers.page_shift);
	stats.host_mappings = atomic_load(&pool->mappings);
	stats.host_mappings_peak = pool->mappings_peak;
	stats.mapping_budget = atomic_load(&pool->mapping_budget);
	stats.shared_bytes = atomic_load(&pool->foreign_bytes);
	stats.shared_bytes_peak = atomic_load(&pool->foreign_bytes_peak);
	signal_mask mask = signals_block();
	guard_open();
	stats.largest_free_run = frame_largest_run(&pool->frames);
	guard_close();
	stats.swap_slots = swap_used(pool->swap);
	stats.store_bytes = swap_bytes(pool->swap);
	signals_set(mask);
	memcpy(out, &stats, out->size < sizeof(stats) ? out->size : sizeof(stats));
	return 0;
}

PUBLIC int upage_stats_print(upage_pool *pool, int descriptor)
{
	if (pool == NULL)
		return UPAGE_EINVAL;
	if (descriptor < 0)
		return -EBADF;
	if (!owner_acquire())
		return UPAGE_EBUSY;
	sample(pool->report);
	int result = write_to(pool->report, descriptor, write_table);
	owner_release();
	return result;
}

PUBLIC int upage_stats_json(upage_pool *pool, const char *path)
{
	if (pool == NULL || path == NULL)
		return UPAGE_EINVAL;
	if (!owner_acquire())
		return UPAGE_EBUSY;
	sample(pool->report);
	int result = write_file(pool->report, path);
	owner_release();
	return result;
}
