/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench.h - what the benchmarks share: rounds, medians, ratios, a table and JSON lines
 *
 * A figure is compared with a baseline that is measured in the same run, in rounds that take
 * turns, so that whatever the machine does meanwhile (clock speed, neighbours, memory that
 * gets fragmented) falls on both. The first round of each is thrown away. The ratio that is
 * printed is the median of the rounds' own ratios, not the ratio of the medians.
 *
 * --json FILE adds one line a figure:
 *      {"bench": …, "case": …, "value": …, "unit": …, "against": …, "baseline": …, "ratio": …}
 */
#ifndef UPAGE_BENCH_H
#define UPAGE_BENCH_H

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_ROUNDS_MAX 99

/* Of the figures: defined before this is included, where they are others. */
#ifndef BENCH_UNIT
#define BENCH_UNIT "ns/page"
#endif
#ifndef BENCH_DIGITS
#define BENCH_DIGITS 0 /* behind the point */
#endif

struct bench {
	const char *name;
	unsigned rounds;  /* that count, of each case */
	unsigned divisor; /* of all amounts of work: 1, or 10 for --quick */
	FILE *json;
};

/* Does one round of work. Return: nanoseconds for each unit of it. */
typedef double bench_round(void);

__attribute__((noreturn, format(printf, 1, 2))) static inline void bench_fail(const char *format,
                                                                              ...)
{
	va_list arguments;
	va_start(arguments, format);
	fputs("bench: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

static inline double bench_now(void) /* nanoseconds */
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
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

static inline void bench_json(const struct bench *bench, const char *name, double value,
                              const char *against, double baseline, double ratio)
{
	if (bench->json == NULL)
		return;
	fprintf(bench->json,
	        "{\"bench\": \"%s\", \"case\": \"%s\", \"value\": %.1f, \"unit\": \"" BENCH_UNIT "\", "
	        "\"against\": \"%s\", \"baseline\": %.1f, \"ratio\": %.3f}\n",
	        bench->name, name, value, against, baseline, ratio);
}

/* Rounds of ours and of the baseline by turns; which of them goes first alternates too. */
static inline void bench_case(const struct bench *bench, const char *name, bench_round *ours,
                              const char *against, bench_round *baseline)
{
	double our[BENCH_ROUNDS_MAX], their[BENCH_ROUNDS_MAX], ratio[BENCH_ROUNDS_MAX];
	ours();
	baseline();
	for (unsigned i = 0; i < bench->rounds; i++) {
		if (i % 2 == 0) {
			our[i] = ours();
			their[i] = baseline();
		} else {
			their[i] = baseline();
			our[i] = ours();
		}
		ratio[i] = our[i] / their[i];
	}
	double value = bench_median(our, bench->rounds);
	double base = bench_median(their, bench->rounds);
	double median = bench_median(ratio, bench->rounds);
	printf("%-18s %9.*f   %-30s %9.*f   %6.2f   %.2f to %.2f\n", name, BENCH_DIGITS, value, against,
	       BENCH_DIGITS, base, median, ratio[0], ratio[bench->rounds - 1]);
	fflush(stdout);
	bench_json(bench, name, value, against, base, median);
}

/* Takes the command line, stays on one processor, prints the head of the table. */
static inline struct bench bench_begin(const char *name, int argc, char **argv)
{
	struct bench bench = { .name = name, .rounds = 11, .divisor = 1 };
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0) {
			bench.divisor = 10;
			bench.rounds = 7;
		} else if (strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
			bench.json = fopen(argv[++i], "w");
			if (bench.json == NULL)
				bench_fail("%s: %s", argv[i], strerror(errno));
		} else {
			fprintf(stderr, "usage: %s [--quick] [--json FILE]\n", name);
			exit(2);
		}
	}
	cpu_set_t one;
	CPU_ZERO(&one);
	int here = sched_getcpu();
	CPU_SET(here >= 0 ? (size_t)here : 0, &one);
	sched_setaffinity(0, sizeof(one), &one); /* or not: it only makes the rounds agree */
	printf("%-18s %9s   %-30s %9s   %6s   %s\n", name, BENCH_UNIT, "against", BENCH_UNIT, "ratio",
	       "of single rounds");
	return bench;
}

static inline void bench_end(struct bench *bench)
{
	if (bench->json != NULL && fclose(bench->json) != 0)
		bench_fail("--json: %s", strerror(errno));
}

#endif
