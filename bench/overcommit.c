/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * overcommit.c - more pages than memory: ours against the kernel's
 *
 * Question   Memory is a half, or a quarter, of what a program uses. Whose paging gets it along faster?
 * Unit       nanoseconds an access to a page; of programs, milliseconds a run.
 * Baseline   The kernel's own, in a memory cgroup of the same size (version 1 or 2), with its defaults: of lz4
 *            with swap on zram, which compresses by lz4 too; of file with a swap file in the same directory.
 * Target     lz4-sequential: 0.6; lz4-random: 1.0; file-…: 0.5 of the kernel.
 * Repeat     make bench, or, as root, bench/overcommit [--quick] [--json FILE]. All processors, quiet machine.
 *
 * Cases, of 128 MiB of pages, where lz4 makes one out of three; every second access is a write:
 *   STORE-sequential, STORE-random, STORE-zipf   in order, again and again; any page; often the same (0.99)
 *   file         store=file with direct I/O, where the library has it
 * and, but with --quick,
 *   buffered     without, though it has: then the page cache has the pages, beside our memory
 *   -reclaimer   with reclaimers=1, where the library has them
 *   -quarter     in a quarter; not of lz4: a third does not fit into a quarter
 *   program-…    sqlite3, sort and xz under `upage run` with half of the frames that they take, with the
 *                file store; their baseline runs natively in a cgroup of as many bytes
 *
 * What counts as memory. A cgroup's charge is all that a process has (anonymous, files of memory, page cache,
 * page tables, mappings) but not what zram holds. So of lz4 the compressed pages are counted in both: the kernel's
 * limit is what is left beside zram's own, found by trying until both add up. Our frames are as many as
 * keep the charge of our process, compressed pages included, within the same sum, found by trying, too; but for
 * buffered, whose page cache is beside it. To the half, or quarter, of the pages both have SLACK, for the program.
 * Programs' files are in the page cache before, and so charged to neither.
 *
 * Both sides are processes that live through all rounds, so that these begin where the last one ended. A round is an
 * access for every fourth page, in order from where the last one ended, or as many as there is time for. Now and then,
 * while disks are busy, the kernel finds that nothing can be reclaimed in a cgroup, and kills: its worker gets a
 * successor, a few times; its program is skipped.
 */
#include "bench.h"

#include "kernel_swap.h"
#include "paged.h"
#include "programs.h"

#define PAGES_MOST 32768
#define SLACK ((size_t)2 << 20)
#define LITERALS 1300 /* bytes of a page that cannot be compressed */
#define ROUND_NS 1e9  /* there are no more accesses in a round once it has taken so long */
#define KILLS_MOST 10 /* of the kernel's worker, of a store */

static size_t pages = PAGES_MOST;

enum pattern { SEQUENTIAL, RANDOM, ZIPF, PATTERNS };
static const char *const pattern_names[] = { "sequential", "random", "zipf" };

/* ---- The work ------------------------------------------------------------------------------------ */

static char *memory;
static uint32_t written[PAGES_MOST]; /* the value of each page's first word */
static uint32_t order[PAGES_MOST / 4]; /* the pages of a round              */
static double zipf_sum[PAGES_MOST];  /* of the weights of ranks up to it    */
static uint64_t random_state = 1;

static void zipf_init(void)
{
	double sum = 0;
	for (size_t i = 0; i < pages; i++)
		zipf_sum[i] = sum += 1 / pow((double)(i + 1), 0.99);
}

/* Ranks lie anywhere: the factor is odd, and the number of pages a power of two. */
static size_t zipf_page(void)
{
	double where = (double)(bench_random(&random_state) >> 11) * 0x1p-53 * zipf_sum[pages - 1];
	size_t low = 0, high = pages - 1;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (zipf_sum[middle] < where)
			low = middle + 1;
		else
			high = middle;
	}
	return low * 2654435761u % pages;
}

static uint32_t *first_word(size_t page)
{
	return (uint32_t *)(void *)(memory + page * PAGE);
}

static void fill(void)
{
	static uint64_t words[PAGE / 8];
	for (size_t i = 0; i < pages; i++) {
		for (size_t k = 0; k < PAGE / 8; k++)
			words[k] = k < LITERALS / 8 ? bench_random(&random_state) : words[k % 8];
		memcpy(memory + i * PAGE, words, PAGE);
		*first_word(i) = 0;
	}
}

/* A quarter as many accesses as pages, if there is time. Every second one is a write, and the next time round the
 * others are. Return: nanoseconds an access. */
static double work(enum pattern pattern)
{
	static size_t before; /* accesses, in earlier rounds */
	size_t done = 0;
	double start, end;
	for (size_t i = 0; i < pages / 4; i++)
		order[i] = (uint32_t)(pattern == SEQUENTIAL ? (before + i) % pages :
		                      pattern == RANDOM     ? bench_random(&random_state) % pages :
		                                              zipf_page());
	start = end = bench_now();
	while (done < pages / 4 && end - start < ROUND_NS) {
		uint32_t page = order[done];
		volatile uint32_t *word = first_word(page);
		if (*word != written[page])
			bench_fail("page %u was lost", page);
		if ((before / pages + before) % 2 == 0)
			*word = ++written[page];
		before++;
		if (++done % 64 == 0)
			end = bench_now();
	}
	return (end - start) / (double)done;
}

/* ---- Both sides ----------------------------------------------------------------------------------- */

static struct worker {
	const char *group;
	pid_t process;
	int questions, answers;
} ours, kernels;
static enum pattern asked;

/* Does as it is told, to the end of the questions. @words: of the pool; NULL: memory of the kernel's. */
__attribute__((noreturn)) static void serve(const struct worker *worker, int questions, int answers,
                                            const char *words)
{
	unsigned char pattern;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	kernel_group_enter(worker->group);
	if (words != NULL) {
		static struct paged paged;
		paged_make(&paged, pages, "%s", words);
		memory = paged.memory;
	} else {
		memory = bench_anonymous(pages);
	}
	fill();
	while (read(questions, &pattern, 1) == 1) {
		double time = work((enum pattern)pattern);
		if (write(answers, &time, sizeof(time)) != (ssize_t)sizeof(time))
			break;
	}
	_exit(0);
}

static void worker_start(struct worker *worker, const char *words)
{
	int questions[2], answers[2];
	need_host(pipe2(questions, O_CLOEXEC) == 0 && pipe2(answers, O_CLOEXEC) == 0, "pipe");
	fflush(NULL);
	worker->process = fork();
	need_host(worker->process >= 0, "fork");
	if (worker->process == 0) {
		close(questions[1]);
		close(answers[0]);
		serve(worker, questions[0], answers[1], words);
	}
	close(questions[0]);
	close(answers[1]);
	worker->questions = questions[1];
	worker->answers = answers[0];
}

/* Return: nanoseconds an access; 0: it has ended. */
static double ask(const struct worker *worker, enum pattern pattern)
{
	unsigned char question = (unsigned char)pattern;
	double time;
	if (write(worker->questions, &question, 1) != 1 ||
	    read(worker->answers, &time, sizeof(time)) != (ssize_t)sizeof(time))
		return 0;
	return time;
}

static void worker_end(const struct worker *worker)
{
	close(worker->questions);
	close(worker->answers);
	kill(worker->process, SIGKILL);
	waitpid(worker->process, NULL, 0);
}

static double ask_ours(void)
{
	double time = ask(&ours, asked);
	if (time == 0)
		bench_fail("our worker ended");
	return time;
}

static unsigned kills; /* of the kernel's worker */

/* Return: NAN: it was killed too often. */
static double ask_kernels(void)
{
	bool anew = false; /* its first answer is not yet as that of its predecessor would have been */
	while (kills <= KILLS_MOST) {
		double time = ask(&kernels, asked);
		if (time != 0 && !anew)
			return time;
		anew = time == 0;
		if (time == 0 && ++kills <= KILLS_MOST) {
			printf("%24s the kernel has killed its process: another one\n", "");
			worker_end(&kernels);
			worker_start(&kernels, NULL);
		}
	}
	return NAN;
}

/* ---- Memory ----------------------------------------------------------------------------------------- */

/* Starts ours with so many bytes of frames. */
static void start_ours(const char *store, size_t frames)
{
	char words[512];
	snprintf(words, sizeof(words), "memory=%zu,prefetch=auto,%s", frames / PAGE * PAGE, store); /* as the kernel's is */
	worker_start(&ours, words);
	asked = RANDOM;
	ask_ours();
}

/* What a store keeps its pages in; and the trials that it takes to find the frames beside them. */
enum kind { CACHED = 0, DIRECT = 1, COMPRESSED = 3 };

/* The frames with which the charge of our process is @sum and SLACK, tables and compressed pages included: of each
 * trial the next has as many more as it was below that. The page cache cannot be counted so: it takes what is free. */
static size_t frames_within(size_t sum, const char *store, enum kind kind)
{
	double frames = kind == COMPRESSED ? (double)sum / 2 : (double)sum;
	for (unsigned trial = 0; trial < (unsigned)kind; trial++) {
		start_ours(store, (size_t)frames);
		ask_ours();
		frames += (double)(sum + SLACK) - (double)kernel_group_usage(ours.group);
		frames = fmin(fmax(frames, (double)(64 * PAGE)), (double)sum);
		worker_end(&ours);
	}
	return (size_t)frames;
}

/* Lowers or raises the kernel's limit until it and zram's memory are @sum together. */
static void balance_zram(size_t sum)
{
	for (unsigned i = 0; i < 5; i++) {
		size_t compressed = kernel_zram_usage();
		if (compressed + ((size_t)1 << 20) > sum)
			bench_fail("the compressed pages alone are more than memory");
		kernel_group_limit(kernels.group, sum - compressed + SLACK);
		ask_kernels();
	}
}

static void start_both(const char *store, enum kind kind, size_t sum)
{
	kernel_group_limit(kernels.group, (kind == COMPRESSED ? sum / 2 : sum) + SLACK);
	kills = 0;
	worker_start(&kernels, NULL);
	asked = RANDOM;
	ask_kernels();
	if (kind == COMPRESSED)
		balance_zram(sum);
	start_ours(store, frames_within(sum, store, kind));
}

/* ---- Cases --------------------------------------------------------------------------------------------- */

static void store_cases(const struct bench *bench, const char *name, const char *store, enum kind kind,
                        unsigned part)
{
	start_both(store, kind, pages * PAGE / part);
	for (asked = SEQUENTIAL; asked < PATTERNS; asked++) {
		char whole[60];
		snprintf(whole, sizeof(whole), "%s-%s%s", name, pattern_names[asked], part == 4 ? "-quarter" : "");
		bench_case(bench, whole, ask_ours, kind == COMPRESSED ? "kernel, zram" : "kernel, swap file",
		           ask_kernels);
	}
	printf("%24s memory: ours %.1f MiB, the kernel's %.1f", "", (double)kernel_group_usage(ours.group) / 0x1p20,
	       (double)kernel_group_usage(kernels.group) / 0x1p20);
	if (kind == COMPRESSED)
		printf(", and in zram %.1f", (double)kernel_zram_usage() / 0x1p20);
	putchar('\n');
	worker_end(&ours);
	worker_end(&kernels);
}

static void skip_all(const char *name, const char *reason)
{
	for (unsigned i = 0; i < PATTERNS; i++) {
		char whole[60];
		snprintf(whole, sizeof(whole), "%s-%s", name, pattern_names[i]);
		bench_skip(whole, "%s", reason);
	}
}

static void lz4_cases(const struct bench *bench)
{
	if (!paged_accepts("store=lz4"))
		skip_all("lz4", "this library has no store=lz4");
	else if (!kernel_swap_zram(2 * pages * PAGE))
		skip_all("lz4", "no swap on zram with lz4 (modprobe zram?)");
	else
		store_cases(bench, "lz4", "store=lz4", COMPRESSED, 2);
	const struct bench shorter = bench_in_short(bench, 3);
	if (kernel_undo->swap[0] != '\0' && bench->divisor == 1 && paged_accepts("store=lz4,reclaimers=1"))
		store_cases(&shorter, "lz4-reclaimer", "store=lz4,reclaimers=1", COMPRESSED, 2);
	kernel_swap_off();
}

static const char *program; /* its command */
static char program_upage[PATH_MAX + 400];

static double run_ours(void)
{
	setenv("GROUP", "/dev/null", 1);
	return programs_must_run(program, program_upage).wall;
}

/* Return: NAN: it was killed, as likely as not again if it were tried. */
static double run_kernels(void)
{
	char procs[200];
	struct times times;
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", kernels.group);
	setenv("GROUP", procs, 1);
	setenv("UPAGE", "", 1);
	if (programs_run(program, &times))
		return times.wall;
	printf("%24s natively the kernel kills it in half of its memory\n", "");
	return NAN;
}

/* @options: of the file store. */
static void program_cases(const struct bench *bench, const char *options)
{
	static const struct {
		const char *name, *needs, *command;
	} programs[] = {
		{ "program-sqlite3", "sqlite3", "echo 0 >$GROUP; exec $UPAGE sqlite3 :memory: <work.sql" },
		{ "program-sort", "sort", "echo 0 >$GROUP; exec $UPAGE sort lines" },
		/* It goes round in its memory: of more than a part it would take minutes. */
		{ "program-xz", "xz", "echo 0 >$GROUP; exec $UPAGE xz -2 -c part" },
	};
	struct bench of_programs = bench_in_short(bench, 3);
	of_programs.unit = "ms";
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (!programs_have(programs[i].needs) || access(programs_upage, X_OK) < 0) {
			bench_skip(programs[i].name, "there is no %s, or no upage run", programs[i].needs);
			continue;
		}
		program = programs[i].command;
		setenv("GROUP", "/dev/null", 1);
		size_t half = programs_footprint(program) / 2;
		snprintf(program_upage, sizeof(program_upage), "%s run -m %zu %s --", programs_upage, half / PAGE * PAGE,
		         options);
		kernel_group_limit(kernels.group, half + SLACK);
		bench_case(&of_programs, programs[i].name, run_ours, "kernel, swap file", run_kernels);
	}
}

static void file_cases(const struct bench *bench)
{
	const char *directory = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
	const struct bench shorter = bench_in_short(bench, 3);
	char buffered[300], direct[320], reclaimer[340], options[320];
	snprintf(buffered, sizeof(buffered), "store=file:%s", directory);
	snprintf(direct, sizeof(direct), "%s,direct", buffered);
	bool has_direct = paged_accepts(direct);
	const char *store = has_direct ? direct : buffered;
	enum kind kind = has_direct ? DIRECT : CACHED;
	if (!kernel_swap_file(2 * pages * PAGE)) {
		skip_all("file", "the kernel takes no swap file here");
		kernel_swap_off();
		return;
	}
	if (!has_direct)
		printf("%24s this library has no direct I/O: the page cache has our pages too\n", "");
	store_cases(bench, "file", store, kind, 2);
	if (bench->divisor == 1) {
		store_cases(&shorter, "file", store, kind, 4);
		if (has_direct)
			store_cases(bench, "buffered", buffered, CACHED, 2);
		snprintf(reclaimer, sizeof(reclaimer), "%s,reclaimers=1", store);
		if (paged_accepts(reclaimer))
			store_cases(&shorter, "file-reclaimer", reclaimer, kind, 2);
		snprintf(options, sizeof(options), "--store file:%s%s", directory, has_direct ? ",direct" : "");
		program_cases(bench, options);
	}
	kernel_swap_off();
}

int main(int argc, char **argv)
{
	struct bench bench = bench_open("overcommit", "ns/access", NULL, argc, argv);
	char here[PATH_MAX - 64];
	struct times times;
	if (bench.divisor > 1)
		pages /= 4;
	bench.rounds = bench.divisor > 1 ? 1 : 5;
	zipf_init();
	programs_find(here);
	programs_enter();
	kernel_swap_begin();
	if (!programs_run(programs_inputs, &times))
		bench_fail("the inputs could not be made");
	const char *reason = kernel_groups_find();
	if (reason == NULL) {
		ours.group = kernel_group_make(0);
		kernels.group = kernel_group_make(1);
		if (ours.group == NULL || kernels.group == NULL)
			reason = "no memory cgroup can be made";
	}
	if (reason != NULL) {
		skip_all("lz4", reason);
		skip_all("file", reason);
	} else {
		lz4_cases(&bench);
		file_cases(&bench);
	}
	bench_end(&bench);
	return 0;
}
