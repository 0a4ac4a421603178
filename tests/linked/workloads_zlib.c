/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * workloads_zlib.c - zlib at several levels, strategies and windows, there and back
 *
 * The text is compressed whole and in pieces, and must come back as it was.
 * Run: zlib-native [MIB]
 */
#include <inttypes.h>
#include <zlib.h>
#include "workloads.h"

static const struct setting {
	int level, window, memory, strategy;
	size_t piece;   /* bytes that are handed over at a time */
	unsigned share; /* of the text: all of it divided by this */
} settings[] = {
	{ 1, 15, 9, Z_DEFAULT_STRATEGY, 1 << 20, 1 },
	{ 6, 15 + 16, 8, Z_DEFAULT_STRATEGY, 70000, 4 }, /* + 16: gzip */
	{ 9, 15, 9, Z_DEFAULT_STRATEGY, 1 << 20, 8 },
	{ 6, -9, 1, Z_FILTERED, 4096, 8 }, /* negative: raw; a small window */
	{ 1, -15, 9, Z_RLE, 65536, 1 },
};

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Return: the bytes that came out. The memory grows, as a program that knows no bound does it. */
static size_t compress_text(const struct setting *s, const unsigned char *text, size_t size,
                            unsigned char **compressed)
{
	size_t room = 65536, in = 0;
	z_stream stream = { 0 };
	int result = Z_OK;

	*compressed = allocate(room);
	if (deflateInit2(&stream, s->level, Z_DEFLATED, s->window, s->memory, s->strategy) != Z_OK)
		fail("deflateInit2");
	while (result != Z_STREAM_END) {
		size_t out = stream.total_out, piece = least(s->piece, size - in);

		if (room - out < 32768) {
			room *= 2;
			*compressed = realloc(*compressed, room);
			if (!*compressed)
				fail("out of memory");
		}
		stream.next_in = (unsigned char *)text + in;
		stream.avail_in = (uInt)piece;
		stream.next_out = *compressed + out;
		stream.avail_out = (uInt)least(room - out, UINT32_MAX);
		result = deflate(&stream, in + piece == size ? Z_FINISH : Z_NO_FLUSH);
		if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
			fail("deflate: %d", result);
		in += piece - stream.avail_in;
	}
	room = stream.total_out;
	deflateEnd(&stream);
	return room;
}

static void decompress(const struct setting *s, const unsigned char *compressed, size_t length,
                       unsigned char *text, size_t size)
{
	z_stream stream = { 0 };
	size_t in = 0;
	int result = Z_OK;

	if (inflateInit2(&stream, s->window) != Z_OK)
		fail("inflateInit2");
	while (result == Z_OK && in < length) {
		size_t piece = least(s->piece, length - in);

		stream.next_in = (unsigned char *)compressed + in;
		stream.avail_in = (uInt)piece;
		stream.next_out = text + stream.total_out;
		stream.avail_out = (uInt)(size - stream.total_out);
		result = inflate(&stream, Z_NO_FLUSH);
		in += piece - stream.avail_in;
	}
	if (result != Z_STREAM_END || stream.total_out != size)
		fail("inflate: %d: %s", result, stream.msg ? stream.msg : "no message");
	inflateEnd(&stream);
}

int main(int argc, char **argv)
{
	size_t size = size_argument(argc, argv, 2, 40) * 1024 * 340; /* and twice more */
	unsigned char *text = allocate(size), *again = allocate(size), *compressed;

	make_corpus(text, size, 1);
	printf("text: %zu bytes, checksum %016" PRIx64 "\n", size, checksum(text, size));
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		const struct setting *s = &settings[i];
		size_t share = size / s->share;
		size_t length = compress_text(s, text, share, &compressed);

		memset(again, 0, size);
		decompress(s, compressed, length, again, share);
		if (memcmp(text, again, share))
			fail("level %d, window %d: the text came back changed", s->level, s->window);
		printf("level %d, window %d, %zu bytes: %zu bytes, crc %08lx\n", s->level, s->window,
		       share, length, crc32(0, compressed, (uInt)length));
		free(compressed);
	}
	free(text);
	free(again);
	return 0;
}
