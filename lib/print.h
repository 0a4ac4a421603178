/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * print.h - text put together without stdio: one line, or a stream of any length
 *
 * A line is one write(2), so that lines of threads do not mix; text past its end is dropped.
 * A stream goes out in pieces as its buffer fills, or stays in the buffer, which then keeps
 * what fits and always ends in '\0'.
 *
 * Signal context: yes. No locale, no errno, no thread-local storage, no floating point.
 */
#ifndef UPAGE_PRINT_H
#define UPAGE_PRINT_H

#include <stddef.h>
#include <stdint.h>

struct line {
	size_t length;
	char text[512];
};

void print_text(struct line *line, const char *text);
void print_decimal(struct line *line, uint64_t n);
void print_hex(struct line *line, uint64_t n); /* with 0x */
void print_flush(struct line *line, int descriptor);

#define STREAM_KEEP INT32_MIN /* no descriptor: the text stays in the buffer */

struct stream {
	char *text; /* of @size bytes, at least one */
	size_t size, length;
	int descriptor; /* or STREAM_KEEP */
	int result;     /* 0, or the first failure: a negated errno value; nothing is written after it */
};

void stream_bytes(struct stream *stream, const char *bytes, size_t length);
void stream_text(struct stream *stream, const char *text);
void stream_decimal(struct stream *stream, uint64_t n);
void stream_quoted(struct stream *stream, const char *text); /* as a JSON string */

/* @n / @unit, rounded, with @places digits behind the point, at most 6; @unit up to 2^40. */
void stream_fixed(struct stream *stream, uint64_t n, uint64_t unit, unsigned places);

/* Writes out the rest. Return: stream->result; -EAGAIN where a descriptor that does not block
 * took nothing for a second. */
int stream_end(struct stream *stream);

#endif
