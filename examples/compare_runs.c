/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compare_runs.c - starts the two runs, watches their memory, compares their results
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "compare_runs.h"

#define SAMPLE_NS 20000000 /* between two looks at a run */
#define SHMEM_SLACK (2 * MIB)

struct options {
	struct run run;
	uint64_t fraction; /* memory is the footprint divided by this */
	bool keep;
	/* of workers only */
	bool worker;
	int report; /* descriptor that a struct report goes to */
};

/* ---- Messages -------------------------------------------------------------------------- */

static const char *program;
static const char *role; /* program, or which of its runs this process is */
static bool to_terminal; /* stderr is one */

static const char *run_name(const struct run *run)
{
	return run->paged ? "paged" : "native";
}

static void complain(const char *format, va_list arguments)
{
	char line[2048]; /* an argument may lie in paged memory: stdio must not write from there */

	vsnprintf(line, sizeof(line), format, arguments);
	fprintf(stderr, "%s%s: %s\n", to_terminal ? "\r\033[K" : "", role, line);
}

void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complain(format, arguments);
	va_end(arguments);
	exit(1);
}

static void usage_error(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void usage_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complain(format, arguments);
	va_end(arguments);
	fprintf(stderr, "Try --help.\n");
	exit(2);
}

void show_progress(const struct work_report *report, uint64_t heap_bytes, const char *what)
{
	if (to_terminal)
		fprintf(stderr, "\r\033[K%s: %" PRIu64 " rows, %" PRIu64 " MiB: %s", role,
		        report->rows, heap_bytes / MIB, what);
}

/* ---- A worker: one run, in a process of its own ---------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int worker(work_function *work, const struct options *o)
{
	struct report report = { 0 };
	uint64_t start = now_ns();

	role = run_name(&o->run);
	work(&o->run, &report);
	report.ns = now_ns() - start;
	if (to_terminal)
		fprintf(stderr, "\r\033[K");
	/* The parent is the same program, so a plain struct will do. */
	if (write(o->report, &report, sizeof(report)) != sizeof(report))
		die("cannot write the report");
	return 0;
}

/* ---- The parent: starts a run and samples its memory ------------------------------------ */

struct resident { /* the most seen in /proc/PID/status, in bytes */
	uint64_t samples, shmem, anonymous, all;
};

static void raise_to(uint64_t *most, uint64_t kib)
{
	if (kib * KIB > *most)
		*most = kib * KIB;
}

static void take_sample(struct resident *resident, pid_t pid)
{
	char name[64], line[256];
	uint64_t kib;
	bool seen = false;
	FILE *file;

	snprintf(name, sizeof(name), "/proc/%d/status", (int)pid);
	file = fopen(name, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "RssShmem: %" SCNu64, &kib) == 1) {
			raise_to(&resident->shmem, kib);
			seen = true;
		} else if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1) {
			raise_to(&resident->anonymous, kib);
		} else if (sscanf(line, "VmHWM: %" SCNu64, &kib) == 1) {
			resident->all = kib * KIB; /* the kernel keeps this peak itself */
		}
	}
	fclose(file);
	resident->samples += seen; /* a process that has ended has no such line */
}

static void become_worker(const struct run *run, int results, int report)
{
	char heap[24], rows[24], memory[24], descriptor[24];

	snprintf(heap, sizeof(heap), "%" PRIu64, run->work.heap);
	snprintf(rows, sizeof(rows), "%" PRIu64, run->work.rows);
	snprintf(memory, sizeof(memory), "%" PRIu64, run->memory);
	snprintf(descriptor, sizeof(descriptor), "%d", report);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* no run outlives the parent */
	if (dup2(results, STDOUT_FILENO) < 0)
		die("dup2: %s", strerror(errno));
	execl("/proc/self/exe", program, "--worker", run_name(run), "--dpkg", run->work.dpkg, "--heap",
	      heap, "--rows", rows, "--memory", memory, "--report", descriptor, (char *)NULL);
	die("/proc/self/exe: %s", strerror(errno));
}

/* Runs a worker to its end and looks at its memory on the way. False: it failed. */
static bool run_worker(const struct run *run, int results, struct report *report,
                       struct resident *resident)
{
	const struct timespec pause = { 0, SAMPLE_NS };
	int pipe_ends[2], status;
	ssize_t got;
	pid_t pid;

	if (pipe(pipe_ends))
		die("pipe: %s", strerror(errno));
	fflush(stdout); /* or the child has a copy to write as well */
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid == 0) {
		close(pipe_ends[0]);
		become_worker(run, results, pipe_ends[1]);
	}
	close(pipe_ends[1]);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		take_sample(resident, pid);
		nanosleep(&pause, NULL);
	}
	got = read(pipe_ends[0], report, sizeof(*report));
	close(pipe_ends[0]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && got == sizeof(*report))
		return true;
	if (WIFSIGNALED(status))
		printf("FAILED: the %s run was ended by signal %d (%s)\n", run_name(run),
		       WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		printf("FAILED: the %s run ended with exit status %d%s\n", run_name(run),
		       WEXITSTATUS(status), WEXITSTATUS(status) ? "" : " and no report");
	return false;
}

/* ---- Comparing the results -------------------------------------------------------------- */

struct result_file {
	int descriptor;
	char name[PATH_MAX];
	const char *bytes;
	size_t length;
};

static void result_create(struct result_file *file, const char *run, bool keep)
{
	const char *directory = getenv("TMPDIR");

	if (!directory || !*directory)
		directory = "/tmp";
	snprintf(file->name, sizeof(file->name), "%s/%s-%s-XXXXXX", directory, program, run);
	file->descriptor = mkstemp(file->name);
	if (file->descriptor < 0)
		die("%s: %s", file->name, strerror(errno));
	if (!keep)
		unlink(file->name);
}

static void result_map(struct result_file *file)
{
	struct stat status;

	if (fstat(file->descriptor, &status))
		die("fstat: %s", strerror(errno));
	file->length = (size_t)status.st_size;
	/* + 1: an empty mapping is refused */
	file->bytes = mmap(NULL, file->length + 1, PROT_READ, MAP_PRIVATE, file->descriptor, 0);
	if (file->bytes == MAP_FAILED)
		die("cannot read the results: %s", strerror(errno));
}

static void print_line_of(const char *label, const struct result_file *file, size_t start)
{
	const char *line = file->bytes + start;
	size_t length = 0;

	while (start + length < file->length && line[length] != '\n')
		length++;
	printf("    %-7s %.*s%s\n", label, length > 160 ? 160 : (int)length, line,
	       length > 160 ? "..." : "");
}

/* Compares byte by byte and prints the outcome. */
static bool compare(struct result_file *native, struct result_file *paged)
{
	size_t lines = 0, line_start = 0, i;

	result_map(native);
	result_map(paged);
	for (i = 0; i < native->length && i < paged->length; i++) {
		if (native->bytes[i] != paged->bytes[i])
			break;
		if (native->bytes[i] == '\n') {
			lines++;
			line_start = i + 1;
		}
	}
	if (i == native->length && i == paged->length && i > 0) {
		printf("  results      %zu lines, %zu bytes: identical\n", lines, i);
		return true;
	}
	printf("  results      DIFFERENT: native %zu bytes, paged %zu bytes; first difference at"
	       " byte %zu, line %zu:\n", native->length, paged->length, i, lines + 1);
	print_line_of("native", native, line_start);
	print_line_of("paged", paged, line_start);
	return false;
}

/* ---- The summary ----------------------------------------------------------------------- */

static double mib(uint64_t bytes)
{
	return (double)bytes / (double)MIB;
}

static void print_runs(const struct report *native, const struct report *paged)
{
	const struct upage_stats *s = &paged->stats;

	printf("  footprint    %.1f MiB: SQLite's heap at its highest, natively; %.1f MiB were"
	       " tables\n", mib(native->work.highwater), mib(native->work.loaded));
	/* not the option's N: UPAGE_OPTIONS may have set another size */
	printf("  memory       %.1f MiB: footprint / %.1f; %" PRIu64 " frames of %" PRIu64
	       " bytes for a heap of %.1f MiB\n", mib(paged->memory),
	       (double)native->work.highwater / (double)paged->memory, s->frames, s->page_size,
	       mib(paged->heap_mapped));
	printf("  faults       %" PRIu64 ": %" PRIu64 " zero fill, %" PRIu64 " major, %" PRIu64
	       " soft, %" PRIu64 " write upgrade\n", s->faults, s->zero_fill, s->major, s->soft,
	       s->write_upgrade);
	printf("  evictions    %" PRIu64 ", with %" PRIu64 " write-backs; %" PRIu64
	       " swap slots (%.1f MiB) in use at most\n", s->evictions, s->writebacks,
	       paged->swap_peak, mib(paged->swap_peak * s->page_size));
	printf("  time         native %.1f s, paged %.1f s: %.1f times as long\n",
	       (double)native->ns / 1e9, (double)paged->ns / 1e9,
	       (double)paged->ns / (double)native->ns);
}

static void print_source(const struct work *work, const struct work_report *r)
{
	printf("SQLite in paged memory, compared with SQLite in the C library's\n");
	printf("  source       %s: %" PRIu64 " packages, %" PRIu64 " dependencies, %" PRIu64
	       " files\n", r->from_dpkg ? work->dpkg : "a walk of " WALK_ROOT, r->packages,
	       r->depends, r->files);
	printf("  data         %" PRIu64 " rows, %" PRIu64 " of them files; copies of the source: %"
	       PRIu64 ", the last cut short\n", r->rows, r->file_rows, r->copies);
}

static bool verdict(bool identical, const struct report *paged,
                    const struct resident *resident)
{
	bool within = resident->samples && resident->shmem <= paged->memory + SHMEM_SLACK;
	bool evicted = paged->stats.evictions > 0;

	printf("  resident     at most, in %" PRIu64 " looks at /proc: RssShmem %.1f MiB,"
	       " RssAnon %.1f MiB, all (VmHWM) %.1f MiB\n", resident->samples, mib(resident->shmem),
	       mib(resident->anonymous), mib(resident->all));
	printf("  memory was never more than %.1f MiB (limit %.1f MiB)\n", mib(resident->shmem),
	       mib(paged->memory));
	if (!identical)
		printf("FAILED: the results differ\n");
	if (!evicted)
		printf("FAILED: no page was evicted, so nothing was shown\n");
	if (!within)
		printf("FAILED: more memory was resident than the limit, or none was seen\n");
	if (identical && evicted && within)
		printf("PASSED\n");
	return identical && evicted && within;
}

/* Returns the exit status. */
static int parent(const struct options *o)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	static struct result_file native_file, paged_file;
	struct run native_run = o->run, paged_run = o->run;
	struct report native, paged;
	struct resident native_resident = { 0 }, resident = { 0 };
	bool passed;

	if (upage_config_environment(&config)) /* rather now than after the native run */
		usage_error("UPAGE_OPTIONS: %s", config.message);
	result_create(&native_file, "native", o->keep);
	result_create(&paged_file, "paged", o->keep);
	if (o->keep)
		printf("Results: %s and %s\n", native_file.name, paged_file.name);
	if (!run_worker(&native_run, native_file.descriptor, &native, &native_resident))
		return 1;
	print_source(&native_run.work, &native.work);
	paged_run.paged = true;
	paged_run.work.rows = native.work.file_rows;
	paged_run.memory = native.work.highwater / o->fraction / MIB * MIB;
	if (paged_run.memory == 0)
		paged_run.memory = MIB;
	if (!run_worker(&paged_run, paged_file.descriptor, &paged, &resident))
		return 1;
	print_runs(&native, &paged);
	passed = compare(&native_file, &paged_file);
	passed = verdict(passed, &paged, &resident);
	if (fflush(stdout))
		die("cannot write the summary: %s", strerror(errno));
	return passed ? 0 : 1;
}

/* ---- Options --------------------------------------------------------------------------- */

static void help(void)
{
	printf("Usage: %s [--heap SIZE | --quick] [--fraction N] [--keep] [--dpkg DIR]\n"
	       "\n"
	       "Runs the same queries over an in-memory SQLite database twice: natively, and with\n"
	       "SQLite's heap in paged memory that is only a part as large. Compares the results\n"
	       "byte by byte and says what paging did.\n"
	       "\n"
	       "  --heap SIZE   what SQLite's heap is to be, tables and indices together; suffix\n"
	       "                K, M or G; 1M to 64G; default 256M. Sorts need more for a while.\n"
	       "  --quick       the same as --heap 48M\n"
	       "  --fraction N  memory is the native run's footprint / N; 2 to 1024; default 4\n"
	       "  --keep        keep the two result files and say where they are\n"
	       "  --dpkg DIR    where dpkg keeps its records; default /var/lib/dpkg. If there are\n"
	       "                none, " WALK_ROOT " is walked instead.\n"
	       "  --help        this text\n"
	       "\n"
	       "UPAGE_OPTIONS in the environment sets the rest of the paged run, for example\n"
	       "  UPAGE_OPTIONS=policy=fifo,stats %s --quick\n"
	       "\n"
	       "Exit status: 0 if the results are identical, pages were evicted, and no more\n"
	       "memory was resident than there was to be; 1 if not; 2 for a wrong option.\n",
	       program, program);
}

static uint64_t number(const char *option, const char *word, const char *suffixes,
                       uint64_t least, uint64_t most)
{
	char *end;
	uint64_t value;
	const char *suffix;
	unsigned shift = 0;

	errno = 0;
	value = strtoull(word, &end, 10);
	if (*end && (suffix = strchr(suffixes, *end))) {
		shift = 10 * (unsigned)(suffix - suffixes + 1);
		end++;
	}
	if (!errno && !*end && *word >= '0' && *word <= '9' && value <= most >> shift &&
	    value << shift >= least)
		return value << shift;
	if (*suffixes)
		usage_error("--%s: '%s' is no size from %" PRIu64 "M to %" PRIu64 "M; K, M or G may"
		            " follow the number", option, word, least / MIB, most / MIB);
	usage_error("--%s: '%s' is no number from %" PRIu64 " to %" PRIu64, option, word, least,
	            most);
}

enum { HEAP, QUICK, FRACTION, KEEP, DPKG, HELP, WORKER, REPORT, ROWS, MEMORY };
static const struct option long_options[] = {
	{ "heap", 1, NULL, HEAP },         { "quick", 0, NULL, QUICK },
	{ "fraction", 1, NULL, FRACTION }, { "keep", 0, NULL, KEEP },
	{ "dpkg", 1, NULL, DPKG },         { "help", 0, NULL, HELP },
	/* from the parent to its workers */
	{ "worker", 1, NULL, WORKER },     { "report", 1, NULL, REPORT },
	{ "rows", 1, NULL, ROWS },         { "memory", 1, NULL, MEMORY },
	{ NULL, 0, NULL, 0 },
};
#define CHOICES "the options are --heap SIZE, --quick, --fraction N, --keep, --dpkg DIR, --help"

static bool is_paged(const char *word)
{
	if (strcmp(word, "native") && strcmp(word, "paged"))
		usage_error("--worker: '%s' is neither native nor paged", word);
	return strcmp(word, "paged") == 0;
}

static void parse_options(struct options *o, int argc, char **argv)
{
	const char *word = argv[1];
	int option, index;

	opterr = 0; /* our own words name the choices */
	for (; (option = getopt_long(argc, argv, "+:", long_options, &index)) != -1;
	     word = argv[optind]) {
		const char *name = option == '?' || option == ':' ? "" : long_options[index].name;

		switch (option) {
		case HEAP: o->run.work.heap = number(name, optarg, "KMG", MIB, 64 * KIB * MIB); break;
		case QUICK: o->run.work.heap = 48 * MIB; break;
		case FRACTION: o->fraction = number(name, optarg, "", 2, 1024); break;
		case KEEP: o->keep = true; break;
		case DPKG: o->run.work.dpkg = optarg; break;
		case HELP: help(); exit(0);
		case WORKER: o->worker = true; o->run.paged = is_paged(optarg); break;
		case REPORT: o->report = (int)number(name, optarg, "", 0, INT_MAX); break;
		case ROWS: o->run.work.rows = number(name, optarg, "", 0, UINT64_MAX); break;
		case MEMORY: o->run.memory = number(name, optarg, "", 0, UINT64_MAX); break;
		case ':': usage_error("'%s' wants a value; " CHOICES, word);
		default: usage_error("unknown option '%s'; " CHOICES, word);
		}
	}
	if (optind < argc)
		usage_error("'%s' is not an option; " CHOICES, argv[optind]);
}

int compare_runs(const char *program_name, work_function *work, int argc, char **argv)
{
	struct options options = {
		.run.work = { .heap = 256 * MIB, .dpkg = "/var/lib/dpkg" },
		.fraction = 4,
		.report = -1,
	};

	program = role = program_name;
	parse_options(&options, argc, argv);
	to_terminal = isatty(STDERR_FILENO);
	return options.worker ? worker(work, &options) : parent(&options);
}
