/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * resident.c - what paging costs a whole program when memory is ample, and when it is short
 *
 * Question   How much longer does a program run in paged memory when no page is ever evicted, so
 *            that all that is left are start-up, first touches of pages, and system calls that trap?
 *            linked-NAME: a program linked with upage-malloc, whose heap is paged.
 *            run-NAME: an unmodified program under `upage run`, all of whose memory is.
 *            And short-NAME: how much longer in a part of the frames that it takes when they are ample?
 *            A quarter for sort, half for xz. Only where it is asked for: it takes minutes.
 * Unit       seconds of wall time a run, start-up and end included; in the JSON, milliseconds.
 * Baseline   linked: the same source with the C library's malloc. run: the same program, natively.
 * Ratio      The median of the rounds' own ratios, ours and the baseline by turns; beside it the
 *            least and the largest, and the median ratio of processor times (of all processes of
 *            a run), which other work on the machine disturbs less. The geometric means are of
 *            the programs that ran.
 * Target     run: none over 2.5. short-sort: 20; short-xz: 10. linked: none yet.
 * Repeat     make bench, or bench/resident [--quick] [--json FILE] [linked|run|short|NAME]..., quiet
 *            machine. The programs of linked are tests/linked/NAME-native, -linked: "make check"
 *            builds them. Those of run are what is installed.
 */
#include "bench.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define AMPLE "2G" /* more than any of them touches */

/* Inputs of the programs under `upage run`, made once, in the directory where they run. */
static const char input[] =
        "awk 'BEGIN { for (x = 1; i++ < 400000;) { x = (x * 69069 + 12345) % 4294967296;\n"
        "  printf \"%d line %x %d\\n\", x % 1000003, x % 65521, i } }' >lines\n"
        "cat lines lines lines lines >large\n"
        "awk 'BEGIN { for (x = 3; i++ < 2026000;) { x = (x * 69069 + 12345) % 4294967296;\n"
        "  printf \"line %d %x\\n\", x % 997, x % 65521 } }' >text\n" /* 28 MB */
        "cat >work.sql <<'E'\n"
        "create table t(a integer primary key, b, c text);\n"
        "with recursive n(x) as (select 1 union all select x + 1 from n where x < 150000)\n"
        "  insert into t select x, x * 7919 % 10007, 'text ' || x * 31 % 1009 from n;\n"
        "create index i on t(b);\n"
        "select c, avg(a) from t group by c order by 2 desc, 1 limit 3;\n"
        "E\n"
        "cat >work.lua <<'E'\n"
        "local list, words = {}, {}\n"
        "for i = 1, 60000 do list[i] = { key = (i * 7919) % 1000003, name = 'n' .. i } end\n"
        "table.sort(list, function(a, b) return a.key < b.key end)\n"
        "for _, item in ipairs(list) do words[item.name] = item.key end\n"
        "E\n"
        "cat >work.py <<'E'\n"
        "import json, re\n"
        "data = {str(i): list(range(i % 50)) for i in range(10000)}\n"
        "text = json.dumps(data)\n"
        "assert json.loads(text) == data\n"
        "print(len(re.findall('[0-9]+', text)))\n"
        "E\n"
        "cat >work.pl <<'E'\n"
        "my %h; $h{$_ % 1000} .= \"x$_,\" for 1..400000;\n"
        "my $all = join '', map { $h{$_} } sort { $a <=> $b } keys %h;\n"
        "print scalar(() = $all =~ /x(\\d*7\\d*),/g), \"\\n\";\n"
        "E\n"
        "cat >work.js <<'E'\n"
        "const items = [];\n"
        "for (let i = 0; i < 200000; i++) items.push({ key: (i * 7919) % 1000003, name: 'n' + i });\n"
        "items.sort((a, b) => a.key - b.key);\n"
        "console.log(JSON.stringify(items).length);\n"
        "E\n"
        "cat >Work.java <<'E'\n"
        "import java.util.*;\n"
        "public class Work { public static void main(String[] a) { Map<Integer, String> m = new HashMap<>();\n"
        "  for (int i = 0; i < 200000; i++) m.put(i * 7, \"v\" + i);\n"
        "  long s = 0; for (String v : m.values()) s = s * 31 + v.hashCode(); System.out.println(s); } }\n"
        "E\n"
        "if command -v javac >javac.log; then javac Work.java; fi\n"
        "for p in 1 2 3 4; do { echo '#include <stdio.h>'; echo '#include <stdlib.h>'\n"
        "  for j in $(seq 1 120); do echo \"static int f$j(int x)\" \\\n"
        "    \"{ for (int k = 0; k < x; k++) x += k * $j % $p; return x; }\"; done\n"
        "  echo \"int part$p(int x) {\"; for j in $(seq 1 120); do echo \"x ^= f$j(x & 63);\"; done\n"
        "  echo 'return x; }'; } >part$p.c; done\n"
        "printf 'all: part1.o part2.o part3.o part4.o\\n"
        "part%%.o:\\n\\t$(CC) -O2 -c part$*.c -o $@\\n' >Makefile\n"
        "mkdir tree; seq 1 200 >tree/1; for i in $(seq 2 1500); do ln tree/1 tree/$i; done\n"
        "cat >work.bash <<'E'\n"
        "declare -A table; for i in {1..3000}; do table[k$i]=$((i * i)); done\n"
        "for k in \"${!table[@]}\"; do echo \"$k ${table[$k]}\"; done | sort | cksum\n"
        "mapfile -t lines <lines; for l in \"${lines[@]:0:30000}\"; do [[ $l =~ 7+ ]] && : $((n++)); done\n"
        "f() { local n=$1; (( n > 0 )) && f $((n - 1)); return 0; }; f 200; echo $n\n"
        "E\n";

/* The commands, for a shell whose $UPAGE is the words of `upage run` or nothing, $KIND linked or
 * native, $LINKED the directory of such programs, $SMALL 4 with --quick, else 1. */
static const struct workload {
	const char *name;
	const char *needs; /* a file, or a command */
	const char *command;
} workloads[] = {
	{ "linked-sqlite", "$LINKED/sqlite-linked", "exec $LINKED/sqlite-$KIND $((40 / SMALL))" },
	{ "linked-zlib", "$LINKED/zlib-linked", "exec $LINKED/zlib-$KIND $((40 / SMALL))" },
	{ "linked-zstd", "$LINKED/zstd-linked", "exec $LINKED/zstd-$KIND $((48 / SMALL))" },
	{ "linked-lua", "$LINKED/lua-linked",
	  "exec $LINKED/lua-$KIND $((40 / SMALL)) $SOURCES/workloads.lua" },
	{ "linked-containers", "$LINKED/containers-linked",
	  "exec $LINKED/containers-$KIND $((40 / SMALL))" },
	{ "linked-hash_join", "$LINKED/hash_join-linked",
	  "exec $LINKED/hash_join-$KIND $((40 / SMALL))" },

	{ "run-sort", "sort", "exec $UPAGE sort lines" },
	{ "run-sort-parallel", "sort", "exec $UPAGE sort --parallel=4 lines" },
	{ "run-gzip", "gzip", "exec $UPAGE gzip -c lines" },
	{ "run-pigz", "pigz", "exec $UPAGE pigz -p 4 -c large" },
	{ "run-xz", "xz", "exec $UPAGE xz -0 -c lines" },
	{ "run-xz-threads", "xz", "exec $UPAGE xz -0 -T2 --block-size=2MiB -c lines" },
	{ "run-sha256sum", "sha256sum", "exec $UPAGE sha256sum large" },
	{ "run-sqlite3", "sqlite3", "exec $UPAGE sqlite3 :memory: <work.sql" },
	{ "run-lua", "lua5.4", "exec $UPAGE lua5.4 work.lua" },
	{ "run-perl", "perl", "exec $UPAGE perl work.pl" },
	{ "run-python3", "python3", "exec $UPAGE python3 work.py" },
	{ "run-openssl", "openssl", "exec $UPAGE openssl enc -aes-256-cbc -pbkdf2 -pass pass:x -in large" },
	{ "run-awk", "awk", "exec $UPAGE awk '{ s[$1 % 1000] += $3 } END { print s[7] }' lines" },
	{ "run-sed", "sed", "exec $UPAGE sed -E 's/([0-9])([a-f])/\\2\\1/g' lines" },
	{ "run-tar", "tar", "exec $UPAGE tar --hard-dereference -cf out.tar tree large" },
	{ "run-find", "find", "exec $UPAGE find tree tree tree tree -name '*7' -exec cat {} +" },
	{ "run-bash", "bash", "exec $UPAGE bash work.bash" },
	{ "run-bash-pipes", "bash",
	  "exec $UPAGE bash -c 'for i in {1..60}; do x=$(echo $i | cat); : $((y += x)); done; echo $y'" },
	{ "run-git", "git", "$UPAGE git diff --no-index --stat lines large; [ $? = 1 ]" },
	{ "run-gcc", "gcc", "exec $UPAGE gcc -O2 -c part1.c -o one.o" },
	{ "run-make", "make", "exec $UPAGE make -B -s -j2" },
	{ "run-node", "node", "exec $UPAGE node work.js" },
	{ "run-java", "javac", "exec $UPAGE java -Xmx128m -XX:+UseSerialGC -Xshare:off Work" },

	{ "short-sort", "sort", "exec $UPAGE sort large" },
	{ "short-xz", "xz", "exec $UPAGE xz -3 -c text" },
};

/* Of those whose memory is short: the part of their footprint that is left, and the rounds. */
static const struct shortage {
	const char *name;
	unsigned percent, rounds;
} shortages[] = { { "short-sort", 25, 3 }, { "short-xz", 50, 1 } };

#define WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))

/* One run, or the sum of the logarithms of several ratios. */
struct times {
	double wall, processor; /* ms */
};

struct mean {
	double logarithms;
	unsigned count;
};

static unsigned rounds_most = 11;
static FILE *json;
static char upage_command[PATH_MAX], upage[PATH_MAX + 100]; /* the second with its options */
static char directory[] = "/tmp/upage-resident-XXXXXX";

/* Runs @command to its end. Return: whether its status was 0. */
static bool shell(const char *command, struct times *times)
{
	char *arguments[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char *)command, NULL };
	posix_spawn_file_actions_t actions;
	struct rusage usage;
	int status;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	double start = bench_now();
	int result = posix_spawn(&pid, "/bin/sh", &actions, NULL, arguments, environ);
	if (result != 0)
		bench_fail("/bin/sh: %s", strerror(result));
	while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR)
		;
	times->wall = (bench_now() - start) / 1e6;
	times->processor = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
	                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
	posix_spawn_file_actions_destroy(&actions);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static struct times run(const struct workload *workload, bool ours)
{
	struct times times;
	setenv("UPAGE", ours ? upage : "", 1);
	setenv("KIND", ours ? "linked" : "native", 1);
	if (!shell(workload->command, &times))
		bench_fail("%s failed: UPAGE='%s' KIND=%s; %s", workload->name, getenv("UPAGE"),
		           getenv("KIND"), workload->command);
	return times;
}

static bool is_there(const char *needs)
{
	struct times times;
	char command[200];
	snprintf(command, sizeof(command), "command -v %s", needs);
	return shell(command, &times);
}

/* NULL: its memory is ample. */
static const struct shortage *shortage_of(const struct workload *workload)
{
	for (size_t i = 0; i < sizeof(shortages) / sizeof(shortages[0]); i++)
		if (strcmp(shortages[i].name, workload->name) == 0)
			return &shortages[i];
	return NULL;
}

static void set_memory(const char *options)
{
	snprintf(upage, sizeof(upage), "%s run %s --", upage_command, options);
}

/* The frames that a run takes where they are ample, in bytes. */
static unsigned long long footprint(const struct workload *workload)
{
	static const char field[] = "\"frames_peak\": ";
	char line[4096] = "";
	set_memory("--stats-json footprint.json -m " AMPLE);
	run(workload, true);
	FILE *file = fopen("footprint.json", "r");
	const char *found = NULL;
	while (found == NULL && file != NULL && fgets(line, sizeof(line), file) != NULL)
		found = strstr(line, field);
	if (found == NULL)
		bench_fail("footprint.json says nothing of frames_peak");
	fclose(file);
	return strtoull(found + sizeof(field) - 1, NULL, 10) * 4096;
}

static void choose_memory(const struct workload *workload, const struct shortage *shortage)
{
	char options[64] = "-m " AMPLE;
	if (shortage != NULL)
		snprintf(options, sizeof(options), "-m %llu", footprint(workload) * shortage->percent / 100);
	set_memory(options);
}

static void row(const char *name, double value, double base, double *ratio, unsigned rounds,
                double processor)
{
	double median = bench_median(ratio, rounds);
	printf("%-18s %9.3f   %9.3f   %6.2f   %5.2f to %5.2f   %9.2f\n", name, value / 1e3, base / 1e3,
	       median, ratio[0], ratio[rounds - 1], processor);
	fflush(stdout);
	if (json != NULL)
		fprintf(json,
		        "{\"bench\": \"resident\", \"case\": \"%s\", \"value\": %.3f, \"unit\": \"ms\", "
		        "\"against\": \"native\", \"baseline\": %.3f, \"ratio\": %.3f, \"cpu_ratio\": %.3f}\n",
		        name, value, base, median, processor);
}

static void compare(const struct workload *workload, struct mean *mean)
{
	double our[BENCH_ROUNDS_MAX], their[BENCH_ROUNDS_MAX], ratio[BENCH_ROUNDS_MAX];
	double processor[BENCH_ROUNDS_MAX];
	const struct shortage *shortage = shortage_of(workload);
	unsigned rounds = shortage != NULL ? shortage->rounds : rounds_most;

	if (!is_there(workload->needs)) {
		printf("%-18s skipped: there is no %s\n", workload->name, workload->needs);
		return;
	}
	choose_memory(workload, shortage);
	if (rounds > 1) {
		run(workload, true);
		run(workload, false);
	}
	for (unsigned i = 0; i < rounds; i++) {
		struct times ours, theirs;
		if (i % 2 == 0) {
			ours = run(workload, true);
			theirs = run(workload, false);
		} else {
			theirs = run(workload, false);
			ours = run(workload, true);
		}
		our[i] = ours.wall;
		their[i] = theirs.wall;
		ratio[i] = ours.wall / theirs.wall;
		processor[i] = theirs.processor > 0 ? ours.processor / theirs.processor : 1;
	}
	row(workload->name, bench_median(our, rounds), bench_median(their, rounds), ratio, rounds,
	    bench_median(processor, rounds));
	mean->logarithms += log(ratio[rounds / 2]);
	mean->count++;
}

static void geometric_mean(const char *mode, const struct mean *mean)
{
	double value = mean->count > 0 ? exp(mean->logarithms / mean->count) : 0;
	if (mean->count == 0)
		return;
	printf("%s-%-*s geometric mean of %u programs: %.2f\n", mode, (int)(17 - strlen(mode)),
	       "geomean", mean->count, value);
	if (json != NULL)
		fprintf(json,
		        "{\"bench\": \"resident\", \"case\": \"%s-geomean\", \"value\": %.3f, \"unit\": "
		        "\"ratio\", \"against\": \"native\", \"baseline\": 1, \"ratio\": %.3f}\n",
		        mode, value, value);
}

/* Whether a word of the command line means this one: its whole name, that without the mode, or
 * the mode. */
static bool is_meant(const struct workload *workload, const char *word)
{
	size_t mode = strcspn(workload->name, "-");
	return strcmp(workload->name, word) == 0 || strcmp(workload->name + mode + 1, word) == 0 ||
	       (strlen(word) == mode && strncmp(workload->name, word, mode) == 0);
}

static bool is_chosen(const struct workload *workload, char **words)
{
	bool chosen = words[0] == NULL && shortage_of(workload) == NULL;
	for (; *words != NULL && !chosen; words++)
		chosen = is_meant(workload, *words);
	return chosen;
}

__attribute__((noreturn)) static void usage(void)
{
	fprintf(stderr, "usage: resident [--quick] [--json FILE] [linked|run|short|NAME]...\n");
	exit(2);
}

/* Return: the words that are no options. */
static char **options(char **words)
{
	setenv("SMALL", "1", 1);
	for (; *words != NULL && (*words)[0] == '-'; words++) {
		if (strcmp(*words, "--quick") == 0) {
			setenv("SMALL", "4", 1);
			rounds_most = 5;
		} else if (strcmp(*words, "--json") == 0 && words[1] != NULL) {
			json = fopen(*++words, "w");
			if (json == NULL)
				bench_fail("%s: %s", *words, strerror(errno));
		} else {
			usage();
		}
	}
	for (char **word = words; *word != NULL; word++) {
		bool known = false;
		for (size_t i = 0; i < WORKLOADS && !known; i++)
			known = is_meant(&workloads[i], *word);
		if (!known)
			usage();
	}
	return words;
}

/* What is run is found from where we are ourselves: build/bench. */
static void find_programs(void)
{
	char here[PATH_MAX - 64], linked[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", here, sizeof(here) - 1);
	if (length < 0)
		bench_fail("/proc/self/exe: %s", strerror(errno));
	here[length] = '\0';
	*strrchr(here, '/') = '\0';
	snprintf(upage_command, sizeof(upage_command), "%s/../tools/upage", here);
	snprintf(linked, sizeof(linked), "%s/../tests/linked", here);
	setenv("LINKED", linked, 1);
	setenv("SOURCES", LINKED_SOURCES, 1);
	setenv("UPAGE_OPTIONS", "memory=" AMPLE, 1); /* the native ones do not look at it */
	/* Not the wrappers of version managers, which are programs of their own. */
	setenv("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", 1);
	setenv("LC_ALL", "C", 1);
}

static void clean_up(void)
{
	char command[64];
	struct times times;
	snprintf(command, sizeof(command), "cd / && rm -r %s", directory);
	shell(command, &times);
}

int main(int argc, char **argv)
{
	struct mean linked = { 0 }, whole = { 0 }, scarce = { 0 };
	struct times times;
	char **words = options(argv + (argc > 0));

	find_programs();
	if (mkdtemp(directory) == NULL || chdir(directory) < 0)
		bench_fail("%s: %s", directory, strerror(errno));
	atexit(clean_up);
	if (!shell(input, &times))
		bench_fail("the inputs could not be made");
	printf("%-18s %9s   %9s   %6s   %14s   %9s\n", "resident", "paged s", "native s", "ratio",
	       "single rounds", "cpu ratio");
	for (size_t i = 0; i < WORKLOADS; i++)
		if (is_chosen(&workloads[i], words))
			compare(&workloads[i], shortage_of(&workloads[i]) != NULL              ? &scarce
			                       : strncmp(workloads[i].name, "run", 3) == 0 ? &whole
			                                                                   : &linked);
	geometric_mean("linked", &linked);
	geometric_mean("run", &whole);
	if (json != NULL && fclose(json) != 0)
		bench_fail("--json: %s", strerror(errno));
	return 0;
}
