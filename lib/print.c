/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "print.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compiler.h"
#include "rlimit.h"
#include "syscall.h"

/* ---- A line -------------------------------------------------------------------------- */

/* Of a number; the last byte of @digits is its end. Return: where it begins. */
#define DIGITS 24
static const char *digits_of(char digits[DIGITS], uint64_t n, unsigned base)
{
	char *digit = digits + DIGITS;
	*--digit = '\0';
	do {
		*--digit = "0123456789abcdef"[n % base];
		n /= base;
	} while (n != 0);
	return digit;
}

void print_text(struct line *line, const char *text)
{
	while (*text != '\0' && line->length < sizeof(line->text) - 1)
		line->text[line->length++] = *text++;
}

void print_decimal(struct line *line, uint64_t n)
{
	char digits[DIGITS];
	print_text(line, digits_of(digits, n, 10));
}

void print_hex(struct line *line, uint64_t n)
{
	char digits[DIGITS];
	print_text(line, "0x");
	print_text(line, digits_of(digits, n, 16));
}

void print_flush(struct line *line, int descriptor)
{
	line->text[line->length] = '\n';
	syscall_3(SYS_write, descriptor, line->text, line->length + 1);
	line->length = 0;
}

/* ---- A stream ------------------------------------------------------------------------ */

/* Somebody else's O_NONBLOCK on a terminal must not cut the text; a reader that is gone for good
 * must not hang us. */
static int wait_for_room(int descriptor)
{
	struct pollfd one = { .fd = descriptor, .events = POLLOUT };
	struct timespec second = { .tv_sec = 1 };
	long n = syscall_6(SYS_ppoll, (long)&one, 1, (long)&second, 0, sizeof(uint64_t), 0);
	return n > 0 || n == -EINTR ? 0 : -EAGAIN;
}

static int write_whole(int descriptor, const char *text, size_t length)
{
	while (length > 0) {
		const long call[7] = { SYS_write, descriptor, (long)text, (long)length };
		long n = rlimit_file_call(UINT64_MAX, call);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN)
			n = wait_for_room(descriptor);
		else if (n == 0)
			n = -EIO;
		if (n < 0)
			return (int)n;
		text += n;
		length -= (size_t)n;
	}
	return 0;
}

void stream_bytes(struct stream *stream, const char *bytes, size_t length)
{
	while (length > 0) {
		size_t part = stream->size - 1 - stream->length;
		if (part > length)
			part = length;
		length -= part;
		for (; part > 0; part--) /* a few, mostly: musl's memcpy takes a hundred cycles for one */
			stream->text[stream->length++] = *bytes++;
		if (length > 0 && (stream->descriptor == STREAM_KEEP || stream_end(stream) < 0))
			break;
	}
	stream->text[stream->length] = '\0';
}

void stream_text(struct stream *stream, const char *text)
{
	stream_bytes(stream, text, strlen(text));
}

void stream_decimal(struct stream *stream, uint64_t n)
{
	char digits[DIGITS];
	stream_text(stream, digits_of(digits, n, 10));
}

void stream_fixed(struct stream *stream, uint64_t n, uint64_t unit, unsigned places)
{
	uint64_t whole = n / unit, scale = 1;
	for (unsigned i = 0; i < places; i++)
		scale *= 10;
	uint64_t part = ((n % unit) * scale + unit / 2) / unit;
	stream_decimal(stream, whole + part / scale);
	if (places == 0)
		return;
	char digits[DIGITS]; /* one more in front keeps the zeros that lead */
	const char *fraction = digits_of(digits, scale + part % scale, 10);
	stream_text(stream, ".");
	stream_text(stream, fraction + 1);
}

void stream_quoted(struct stream *stream, const char *text)
{
	stream_text(stream, "\"");
	for (const char *c = text; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			stream_text(stream, "\\");
		if ((unsigned char)*c < 0x20) {
			stream_text(stream, *c < 0x10 ? "\\u000" : "\\u001");
			stream_bytes(stream, &"0123456789abcdef"[*c & 15], 1);
		} else {
			stream_bytes(stream, c, 1);
		}
	}
	stream_text(stream, "\"");
}

int stream_end(struct stream *stream)
{
	if (stream->descriptor != STREAM_KEEP) {
		if (stream->result == 0)
			stream->result = write_whole(stream->descriptor, stream->text, stream->length);
		stream->length = 0;
	}
	return stream->result;
}

#ifdef UPAGE_DEBUG
void invariant_broken(const char *file, int line_number, const char *what)
{
	struct line line = { 0 };
	print_text(&line, "upage: broken invariant: ");
	print_text(&line, what);
	print_text(&line, " at ");
	print_text(&line, file);
	print_text(&line, ":");
	print_decimal(&line, (uint64_t)line_number);
	print_flush(&line, 2);
	abort();
}
#endif
