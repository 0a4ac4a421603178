/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * workloads.h - what the workloads share: random numbers, a text to compress, a checksum
 *
 * A workload NAME is a plain program that is built twice from the same source: NAME-native with
 * the C library's malloc, NAME-linked with libupage-malloc; check-workloads.sh compares them.
 * Its first argument is about how many MiB of heap it is to need; what it prints depends on
 * that only. Here and in the sources is nothing that has to do with paging.
 */
#ifndef WORKLOADS_H
#define WORKLOADS_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noreturn, format(printf, 1, 2))) static inline void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

static inline void *allocate(size_t size)
{
	void *block = malloc(size);

	if (!block)
		fail("out of memory: %zu bytes", size);
	return block;
}

/* The number of MiB, from the first argument; exits with 2 if it is none. */
static inline size_t size_argument(int argc, char **argv, int most, size_t otherwise)
{
	char *end;
	unsigned long mib;

	if (argc < 2)
		return otherwise;
	mib = strtoul(argv[1], &end, 10);
	if (argc > most || *end || mib < 1 || mib > 65536) {
		fprintf(stderr, "usage: %s [MIB]\n", argv[0]);
		exit(2);
	}
	return mib;
}

static inline uint64_t next_random(uint64_t *state) /* splitmix64 */
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static inline uint64_t checksum(const void *data, size_t size) /* FNV-1a */
{
	const unsigned char *bytes = data;
	uint64_t value = 14695981039346656037u;

	for (size_t i = 0; i < size; i++)
		value = (value ^ bytes[i]) * 1099511628211u;
	return value;
}

/*
 * Fills @text with what compresses like prose and records: words, of which some are much more
 * frequent than others; numbers; here and there a passage from far back, to be found only with a
 * long window; a part that does not compress.
 */
static inline void make_corpus(unsigned char *text, size_t size, uint64_t seed)
{
	static const char letters[] = "etaoinshrdlucmfwypvbgkjqxz";
	size_t at = 0;

	while (at < size) {
		uint64_t random = next_random(&seed);
		unsigned kind = random % 256;
		size_t room = size - at, length;

		if (kind < 2 && at > 4096) {
			size_t from = (size_t)(next_random(&seed) % (at - 2048));

			length = 64 + (random >> 8) % 1984;
			length = length < room ? length : room;
			memcpy(text + at, text + from, length);
		} else if (kind < 4) {
			for (length = 0; length < 24 && length < room; length++)
				text[at + length] = (unsigned char)next_random(&seed);
		} else if (kind < 16) {
			char number[32];

			length = (size_t)snprintf(number, sizeof(number), "%u;\n",
			                          (unsigned)(random >> 8) % 100000);
			length = length < room ? length : room;
			memcpy(text + at, number, length);
		} else {
			/* the word's number, small ones being more frequent, is its spelling */
			uint64_t word = 1 + ((random >> 8) % 4096) * ((random >> 24) % 4096) % 8191;

			for (length = 0; word && length + 1 < room; word /= 7, length++)
				text[at + length] = (unsigned char)letters[word % 23];
			text[at + length++] = ' ';
		}
		at += length;
	}
}

#endif
