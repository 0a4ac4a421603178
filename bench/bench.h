/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench.h - what the benchmarks share: rounds, medians, ratios, a table and JSON lines
 *
 * A figure is compared with a baseline that is measured in the same run, in rounds that take
 * turns, so that whatever the machine does meanwhile (clock speed, neighbours, memory that
 * gets fragmented) falls on both. The first round of each is thrown away. The ratio that is
 * printed is the median of the rounds' own ratios, not the ratio of the medians.
 *
 * A case has a budget of time, so that all of them take minutes on a slow machine too: when it is used up there are
 * no more rounds than the least. That is five for what has a target (report.sh), and may be three for the rest.
 *
 * --json FILE has one line a figure; the ratio is always ours ÷ baseline, whatever the unit:
 *      {"bench": …, "case": …, "value": …, "unit": …, "against": …, "baseline": …, "ratio": …}
 * A case that this machine or this library cannot have is a line "CASE skipped: REASON" of the table.
 */
#ifndef UPAGE_BENCH_H
#define UPAGE_BENCH_H

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "upage.h"

#define BENCH_ROUNDS_MAX 99
#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)

struct bench {
	const char *name;
	const char *unit;      /* of the figures that follow                      */
	unsigned rounds;       /* that count, of each case, where there is time   */
	unsigned least;        /* of them, however long they take                 */
	double seconds;        /* of a case                                       */
	unsigned divisor;      /* of all amounts of work: 1, or 16 for --quick    */
	FILE *json;
	char **words;          /* of the command line that are no options         */
};

/* Does one round of work. Return: how much of the unit; NAN: it cannot be done, and there are no more rounds. */
typedef double bench_round(void);

__attribute__((noreturn, format(printf, 1, 2))) static inline void bench_fail(const char *format,
                                                                              ...)
{
	va_list arguments;
	va_start(arguments, format);
	fflush(stdout);
	fputs("bench: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

/* Of calls of the library, and of the host. */
static inline void need(int result, const char *what)
{
	if (result < 0)
		bench_fail("%s: %s", what, upage_strerror(result));
}

static inline void need_host(bool good, const char *what)
{
	if (!good)
		bench_fail("%s: %s", what, strerror(errno));
}

static inline double bench_now(void) /* nanoseconds */
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* splitmix64 */
static inline uint64_t bench_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Return: nanoseconds a page, to store a byte in each, in order of address. */
static inline double bench_touch(char *memory, size_t pages)
{
	double start = bench_now();
	for (size_t i = 0; i < pages; i++)
		*(volatile char *)(memory + i * PAGE) = 1;
	return (bench_now() - start) / (double)pages;
}

/* Memory of the kernel's, in pages of 4 KiB. */
static inline char *bench_anonymous(size_t pages)
{
	char *memory = mmap(NULL, pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	need_host(memory != MAP_FAILED, "mmap");
	madvise(memory, pages * PAGE, MADV_NOHUGEPAGE); /* or, without huge pages, not */
	return memory;
}

static inline int bench_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Sorts them. */
static inline double bench_median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), bench_compare);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* ---- Figures ------------------------------------------------------------------------------- */

static inline int bench_digits(double value)
{
	return value == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
}

/* A figure that was measured in @rounds, whose ratios are sorted; 0: in one go. */
static inline void bench_print(const struct bench *bench, const char *name, double value,
                               const char *against, double baseline, double ratio,
                               const double *ratios, unsigned rounds)
{
	if (!isfinite(value) || !isfinite(baseline) || !isfinite(ratio))
		bench_fail("%s: no number", name);
	printf("%-24s %9.*f   %-30s %9.*f %-9s %7.*f", name, bench_digits(value), value, against,
	       bench_digits(baseline), baseline, bench->unit, ratio < 0.1 ? 4 : 2, ratio);
	if (rounds > 1)
		printf("   %.2f to %.2f", ratios[0], ratios[rounds - 1]);
	putchar('\n');
	fflush(stdout);
	if (bench->json != NULL)
		fprintf(bench->json,
		        "{\"bench\": \"%s\", \"case\": \"%s\", \"value\": %.7g, \"unit\": \"%s\", "
		        "\"against\": \"%s\", \"baseline\": %.7g, \"ratio\": %.4g}\n",
		        bench->name, name, value, bench->unit, against, baseline, ratio);
}

/* One that needs no rounds: a count, or what a limit allows. */
static inline void bench_figure(const struct bench *bench, const char *name, double value,
                                const char *against, double baseline)
{
	bench_print(bench, name, value, against, baseline, value / baseline, NULL, 0);
}

/* What this machine, or this library, does not have. */
__attribute__((format(printf, 2, 3))) static inline void bench_skip(const char *name,
                                                                    const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	printf("%-24s skipped: ", name);
	vprintf(format, arguments);
	putchar('\n');
	fflush(stdout);
	va_end(arguments);
}

/* Round @i, both halves: which of them goes first alternates. Return: whether it could be done. */
static inline bool bench_round_of(unsigned i, bench_round *ours, double *our, bench_round *baseline,
                                  double *their)
{
	if (i % 2 == 0) {
		*our = ours();
		*their = isnan(*our) ? NAN : baseline();
	} else {
		*their = baseline();
		*our = isnan(*their) ? NAN : ours();
	}
	return !isnan(*our) && !isnan(*their);
}

/* For cases that have no target: @seconds for each, and three rounds at least. */
static inline struct bench bench_in_short(const struct bench *bench, double seconds)
{
	struct bench shorter = *bench;
	shorter.least = shorter.least < 3 ? shorter.least : 3;
	shorter.seconds = fmin(shorter.seconds, seconds);
	return shorter;
}

/* Rounds of ours and of the baseline by turns. Return: the ratio; NAN: fewer than the least could be done, so
 * that there is no figure. */
static inline double bench_case(const struct bench *bench, const char *name, bench_round *ours,
                                const char *against, bench_round *baseline)
{
	double our[BENCH_ROUNDS_MAX], their[BENCH_ROUNDS_MAX], ratios[BENCH_ROUNDS_MAX];
	unsigned n = 0, least = bench->least < bench->rounds ? bench->least : bench->rounds;
	double end = bench_now() + bench->seconds * 1e9;
	bool good = bench->rounds == 1 || bench_round_of(0, ours, our, baseline, their);
	while (good && n < bench->rounds && (n < least || bench_now() < end)) {
		good = bench_round_of(n, ours, &our[n], baseline, &their[n]);
		if (good) {
			ratios[n] = our[n] / their[n];
			n++;
		}
	}
	if (n < least) {
		bench_skip(name, "only %u rounds could be done, against %s", n, against);
		return NAN;
	}
	double value = bench_median(our, n);
	double base = bench_median(their, n);
	double ratio = bench_median(ratios, n);
	bench_print(bench, name, value, against, base, ratio, ratios, n);
	return ratio;
}

/* ---- Beginning and end ---------------------------------------------------------------------- */

/* Takes the command line, prints the head of the table. @words: what may stand there beside options; NULL:
 * nothing. */
static inline struct bench bench_open(const char *name, const char *unit, const char *words, int argc,
                                      char **argv)
{
	struct bench bench = { .name = name, .unit = unit, .rounds = 7, .least = 5, .seconds = 8, .divisor = 1 };
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--quick") == 0) {
			bench.divisor = 16;
			bench.rounds = 3;
			bench.least = 1;
			bench.seconds = 0.5;
		} else if (strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
			bench.json = fopen(argv[++i], "w");
			need_host(bench.json != NULL, argv[i]);
		} else {
			break;
		}
	}
	if (i < argc && (words == NULL || argv[i][0] == '-')) {
		fprintf(stderr, "usage: %s [--quick] [--json FILE]%s%s\n", name, words ? " " : "",
		        words ? words : "");
		exit(2);
	}
	bench.words = argv + i;
	printf("%-24s %9s   %-30s %9s %-9s %7s   %s\n", name, "ours", "against", "", "unit", "ratio",
	       "of single rounds");
	return bench;
}

/* The same, of a benchmark that stays on one processor. */
static inline struct bench bench_begin(const char *name, const char *unit, int argc, char **argv)
{
	struct bench bench = bench_open(name, unit, NULL, argc, argv);
	cpu_set_t one;
	CPU_ZERO(&one);
	int here = sched_getcpu();
	CPU_SET(here >= 0 ? (size_t)here : 0, &one);
	sched_setaffinity(0, sizeof(one), &one); /* or not: it only makes the rounds agree */
	return bench;
}

static inline void bench_end(struct bench *bench)
{
	if (bench->json != NULL && fclose(bench->json) != 0)
		bench_fail("--json: %s", strerror(errno));
}

#endif
