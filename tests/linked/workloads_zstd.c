/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * workloads_zstd.c - zstd with windows as long as the text, fast and hard, there and back
 *
 * Level 1 with matches from any distance over the whole text; levels 3 and 19 over a part of it,
 * since their searches jump through tables at random; small records with a dictionary.
 * Run: zstd-native [MIB]
 */
#include <inttypes.h>
#include <zstd.h>
#include "workloads.h"

#define DICTIONARY 16384
#define RECORDS 400
#define RECORD 512

static size_t need(size_t result, const char *what)
{
	if (ZSTD_isError(result))
		fail("%s: %s", what, ZSTD_getErrorName(result));
	return result;
}

static void set(ZSTD_CCtx *context, ZSTD_cParameter parameter, int value)
{
	need(ZSTD_CCtx_setParameter(context, parameter, value), "ZSTD_CCtx_setParameter");
}

/* By streaming, 100,000 bytes at a time, so that the window is the decoder's own. */
static void decompress(const void *compressed, size_t length, const unsigned char *text,
                       size_t size)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	ZSTD_inBuffer in = { compressed, length, 0 };
	unsigned char *piece = allocate(100000);
	size_t done = 0;

	need(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 27), "windowLogMax");
	while (done < size) {
		ZSTD_outBuffer out = { piece, 100000, 0 };

		need(ZSTD_decompressStream(context, &out, &in), "ZSTD_decompressStream");
		if (out.pos == 0 || out.pos > size - done || memcmp(text + done, piece, out.pos))
			fail("the text came back changed, after %zu bytes", done);
		done += out.pos;
	}
	free(piece);
	ZSTD_freeDCtx(context);
}

static void there_and_back(int level, int window, const unsigned char *text, size_t size)
{
	size_t room = ZSTD_compressBound(size), length;
	ZSTD_CCtx *context = ZSTD_createCCtx();
	void *compressed = allocate(room);

	set(context, ZSTD_c_compressionLevel, level);
	set(context, ZSTD_c_checksumFlag, 1);
	if (window) {
		set(context, ZSTD_c_windowLog, window);
		set(context, ZSTD_c_enableLongDistanceMatching, 1);
		set(context, ZSTD_c_ldmHashLog, 15);
	}
	length = need(ZSTD_compress2(context, compressed, room, text, size), "ZSTD_compress2");
	ZSTD_freeCCtx(context);
	decompress(compressed, length, text, size);
	printf("level %d, window 2^%d, %zu bytes: %zu bytes, checksum %016" PRIx64 "\n", level,
	       window, size, length, checksum(compressed, length));
	free(compressed);
}

/* Small records, each with the same dictionary: the text's beginning. */
static void dictionary(const unsigned char *text)
{
	ZSTD_CDict *dict = ZSTD_createCDict(text, DICTIONARY, 6);
	ZSTD_DDict *decoder_dict = ZSTD_createDDict(text, DICTIONARY);
	ZSTD_CCtx *context = ZSTD_createCCtx();
	ZSTD_DCtx *decoder = ZSTD_createDCtx();
	size_t room = ZSTD_compressBound(RECORD), length, all = 0;
	void *compressed = allocate(room);
	unsigned char back[RECORD];

	for (size_t i = 0; i < RECORDS; i++) {
		const unsigned char *record = text + DICTIONARY + i * RECORD;

		length = need(ZSTD_compress_usingCDict(context, compressed, room, record, RECORD, dict),
		              "ZSTD_compress_usingCDict");
		need(ZSTD_decompress_usingDDict(decoder, back, RECORD, compressed, length, decoder_dict),
		     "ZSTD_decompress_usingDDict");
		if (memcmp(back, record, RECORD))
			fail("record %zu came back changed", i);
		all += length;
	}
	printf("dictionary: %d records of %d bytes in %zu\n", RECORDS, RECORD, all);
	ZSTD_freeCDict(dict);
	ZSTD_freeDDict(decoder_dict);
	ZSTD_freeCCtx(context);
	ZSTD_freeDCtx(decoder);
	free(compressed);
}

int main(int argc, char **argv)
{
	size_t mib = size_argument(argc, argv, 2, 48), size = mib * 1024 * 380;
	unsigned char *text = allocate(size);

	make_corpus(text, size, 2);
	printf("text: %zu bytes, checksum %016" PRIx64 "\n", size, checksum(text, size));
	dictionary(text);
	there_and_back(3, 0, text, size / 8);
	there_and_back(1, 24, text, size);
	there_and_back(19, 0, text, size / 128);
	free(text);
	return 0;
}
