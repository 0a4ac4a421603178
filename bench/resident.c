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
 * Unit       milliseconds of wall time a run, start-up and end included.
 * Baseline   linked: the same source with the C library's malloc. run: the same program, natively.
 * Ratio      As bench.h says; in a line of its own the ratio of processor times (of all
 *            processes of all runs), which other work on the machine disturbs less. The geometric means are
 *            of the programs that the word "mean" means, as far as they ran.
 * Target     linked-geomean: 1.02. run-geomean: 1.10; none over 2.5. short-sort: 20; short-xz: 10.
 * Repeat     make bench, or bench/resident [--quick] [--json FILE] [mean|linked|run|short|NAME]..., quiet
 *            machine. The programs of linked are tests/linked/NAME-native, -linked: "make check"
 *            builds them. Those of run are what is installed.
 */
#include "bench.h"

#include "programs.h"

/* Inputs of the programs under `upage run`, made once, in the directory where they run. */
static const char input[] =
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
 * native, $LINKED the directory of such programs, $SMALL 8 with --quick, else 1. */
static const struct workload {
	enum { MEAN, MORE } part; /* whether it counts in the geometric mean */
	const char *name;
	const char *needs; /* a file, or a command */
	const char *command;
} workloads[] = {
	{ MEAN, "linked-sqlite", "$LINKED/sqlite-linked", "exec $LINKED/sqlite-$KIND $((40 / SMALL))" },
	{ MORE, "linked-zlib", "$LINKED/zlib-linked", "exec $LINKED/zlib-$KIND $((40 / SMALL))" },
	{ MEAN, "linked-zstd", "$LINKED/zstd-linked", "exec $LINKED/zstd-$KIND $((48 / SMALL))" },
	{ MEAN, "linked-lua", "$LINKED/lua-linked",
	  "exec $LINKED/lua-$KIND $((40 / SMALL)) $SOURCES/workloads.lua" },
	{ MORE, "linked-containers", "$LINKED/containers-linked",
	  "exec $LINKED/containers-$KIND $((40 / SMALL))" },
	{ MEAN, "linked-hash_join", "$LINKED/hash_join-linked",
	  "exec $LINKED/hash_join-$KIND $((40 / SMALL))" },

	{ MEAN, "run-sort", "sort", "exec $UPAGE sort lines" },
	{ MORE, "run-sort-parallel", "sort", "exec $UPAGE sort --parallel=4 lines" },
	{ MEAN, "run-gzip", "gzip", "exec $UPAGE gzip -c lines" },
	{ MORE, "run-pigz", "pigz", "exec $UPAGE pigz -p 4 -c large" },
	{ MEAN, "run-xz", "xz", "exec $UPAGE xz -0 -c lines" },
	{ MORE, "run-xz-threads", "xz", "exec $UPAGE xz -0 -T2 --block-size=2MiB -c lines" },
	{ MORE, "run-sha256sum", "sha256sum", "exec $UPAGE sha256sum large" },
	{ MEAN, "run-sqlite3", "sqlite3", "exec $UPAGE sqlite3 :memory: <work.sql" },
	{ MEAN, "run-lua", "lua5.4", "exec $UPAGE lua5.4 work.lua" },
	{ MEAN, "run-perl", "perl", "exec $UPAGE perl work.pl" },
	{ MEAN, "run-python3", "python3", "exec $UPAGE python3 work.py" },
	{ MEAN, "run-openssl", "openssl", "exec $UPAGE openssl enc -aes-256-cbc -pbkdf2 -pass pass:x -in large" },
	{ MORE, "run-awk", "awk", "exec $UPAGE awk '{ s[$1 % 1000] += $3 } END { print s[7] }' lines" },
	{ MORE, "run-sed", "sed", "exec $UPAGE sed -E 's/([0-9])([a-f])/\\2\\1/g' lines" },
	{ MORE, "run-tar", "tar", "exec $UPAGE tar --hard-dereference -cf out.tar tree large" },
	{ MORE, "run-find", "find", "exec $UPAGE find tree tree tree tree -name '*7' -exec cat {} +" },
	{ MORE, "run-bash", "bash", "exec $UPAGE bash work.bash" },
	{ MORE, "run-bash-pipes", "bash",
	  "exec $UPAGE bash -c 'for i in {1..60}; do x=$(echo $i | cat); : $((y += x)); done; echo $y'" },
	{ MORE, "run-git", "git", "$UPAGE git diff --no-index --stat lines large; [ $? = 1 ]" },
	{ MORE, "run-gcc", "gcc", "exec $UPAGE gcc -O2 -c part1.c -o one.o" },
	{ MORE, "run-make", "make", "exec $UPAGE make -B -s -j2" },
	{ MORE, "run-node", "node", "exec $UPAGE node work.js" },
	{ MORE, "run-java", "javac", "exec $UPAGE java -Xmx128m -XX:+UseSerialGC -Xshare:off Work" },

	{ MORE, "short-sort", "sort", "exec $UPAGE sort large" },
	{ MORE, "short-xz", "xz", "exec $UPAGE xz -3 -c text" },
};

/* Of those whose memory is short: the part of their footprint that is left, and the rounds. */
static const struct shortage {
	const char *name;
	unsigned percent, rounds;
} shortages[] = { { "short-sort", 25, 3 }, { "short-xz", 50, 1 } };

#define WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))

/* The sum of the logarithms of several ratios. */
struct mean {
	double logarithms;
	unsigned count;
};

static char upage[PATH_MAX + 100]; /* the words of `upage run` */

/* What a case runs, and the processor time that it took in all rounds, ms. */
static const struct workload *subject;
static double our_processor, their_processor;

static double paged_run(void)
{
	setenv("KIND", "linked", 1);
	struct times times = programs_must_run(subject->command, upage);
	our_processor += times.processor;
	return times.wall;
}

static double native_run(void)
{
	setenv("KIND", "native", 1);
	struct times times = programs_must_run(subject->command, "");
	their_processor += times.processor;
	return times.wall;
}

/* NULL: its memory is ample. */
static const struct shortage *shortage_of(const struct workload *workload)
{
	for (size_t i = 0; i < sizeof(shortages) / sizeof(shortages[0]); i++)
		if (strcmp(shortages[i].name, workload->name) == 0)
			return &shortages[i];
	return NULL;
}

static void choose_memory(const struct workload *workload, const struct shortage *shortage)
{
	char memory[32] = AMPLE;
	if (shortage != NULL)
		snprintf(memory, sizeof(memory), "%llu",
		         programs_footprint(workload->command) * shortage->percent / 100);
	snprintf(upage, sizeof(upage), "%s run -m %s --", programs_upage, memory);
}

static void compare(struct bench bench, const struct workload *workload, struct mean *mean)
{
	const struct shortage *shortage = shortage_of(workload);
	bool whole = strncmp(workload->name, "linked", 6) != 0;
	if (!programs_have(workload->needs) || (whole && access(programs_upage, X_OK) < 0)) {
		bench_skip(workload->name, "there is no %s, or no upage run", workload->needs);
		return;
	}
	if (shortage != NULL)
		bench.rounds = shortage->rounds;
	choose_memory(workload, shortage);
	subject = workload;
	our_processor = their_processor = 0;
	double ratio = bench_case(&bench, workload->name, paged_run, "native", native_run);
	printf("%24s processor times: %.2f\n", "", our_processor / their_processor);
	if (workload->part == MEAN) {
		mean->logarithms += log(ratio);
		mean->count++;
	}
}

static void geometric_mean(struct bench bench, const char *mode, const struct mean *mean)
{
	char name[40], against[40];
	snprintf(name, sizeof(name), "%s-geomean", mode);
	if (mean->count == 0) {
		bench_skip(name, "none of its programs was run");
		return;
	}
	bench.unit = "ratio";
	snprintf(against, sizeof(against), "native, %u programs", mean->count);
	bench_figure(&bench, name, exp(mean->logarithms / mean->count), against, 1);
}

/* Whether a word of the command line means this one: its whole name, that without the mode, the
 * mode, or "mean". */
static bool is_meant(const struct workload *workload, const char *word)
{
	size_t mode = strcspn(workload->name, "-");
	return strcmp(workload->name, word) == 0 || strcmp(workload->name + mode + 1, word) == 0 ||
	       (strlen(word) == mode && strncmp(workload->name, word, mode) == 0) ||
	       (workload->part == MEAN && strcmp(word, "mean") == 0);
}

static bool is_chosen(const struct workload *workload, char **words)
{
	bool chosen = words[0] == NULL && shortage_of(workload) == NULL;
	for (; *words != NULL && !chosen; words++)
		chosen = is_meant(workload, *words);
	return chosen;
}

static void check_words(char **words)
{
	for (; *words != NULL; words++) {
		bool known = false;
		for (size_t i = 0; i < WORKLOADS && !known; i++)
			known = is_meant(&workloads[i], *words);
		if (!known)
			bench_fail("there is no '%s'", *words);
	}
}

int main(int argc, char **argv)
{
	struct bench bench = bench_open("resident", "ms", "[mean|linked|run|short|NAME]...", argc, argv);
	struct mean linked = { 0 }, whole = { 0 };
	struct times times;
	char here[PATH_MAX - 64], directory[PATH_MAX];

	check_words(bench.words);
	bench.rounds = bench.divisor > 1 ? 1 : 5;
	programs_find(here);
	snprintf(directory, sizeof(directory), "%s/../tests/linked", here);
	setenv("LINKED", directory, 1);
	setenv("SOURCES", LINKED_SOURCES, 1);
	setenv("SMALL", bench.divisor > 1 ? "8" : "1", 1);
	setenv("UPAGE_OPTIONS", "memory=" AMPLE, 1); /* the native ones do not look at it */
	programs_enter();
	if (!programs_run(programs_inputs, &times) || !programs_run(input, &times))
		bench_fail("the inputs could not be made");
	for (size_t i = 0; i < WORKLOADS; i++)
		if (is_chosen(&workloads[i], bench.words))
			compare(bench, &workloads[i], strncmp(workloads[i].name, "run", 3) == 0 ? &whole : &linked);
	geometric_mean(bench, "linked", &linked);
	geometric_mean(bench, "run", &whole);
	bench_end(&bench);
	return 0;
}
