/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls_files.c - cases of calls.c: read(2), write(2) and their families, on files and pipes
 */
#include "calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Memory of the test's own, never paged, to compare with. */
static unsigned char plain[2 * MIB];

static void end_file(int file, const char *name)
{
	close(file);
	MUST(unlink(name));
}

static void read_file(void)
{
	int file = make_file("file", 10000, 1);
	char *buffer = evicted(12000);
	CALL("read of more than there is", read(file, buffer, 12000));
	dump("all of the buffer", buffer, 12000);
	CALL("read at the end", read(file, buffer, 100));
	CALL("read of nothing", read(file, buffer, 0));
	MUST(lseek(file, 4090, SEEK_SET));
	CALL("read across", read(file, buffer + 2040, 20));
	dump("buffer", buffer + 2030, 40);
	end_file(file, "file");
}

static void read_large(void)
{
	int file = make_file("file", MIB + 123, 2);
	char *buffer = evicted(MIB + 200);
	CALL("read of 1 MiB in one call", read(file, buffer, MIB));
	dump("buffer", buffer, MIB + 200);
	CALL("read of the rest", read(file, buffer, MIB));
	dump("rest", buffer, 123);
	end_file(file, "file");
}

static void write_file(void)
{
	int file = make_file("file", 100, 3);
	char *buffer = evicted(10000);
	fill(buffer, 10000, 4);
	CALL("write", write(file, buffer, 10000));
	CALL("write more", write(file, buffer + 1, 4095));
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	dump_file("file", "file");
	end_file(file, "file");
}

static void write_large(void)
{
	int file = make_file("file", 0, 0);
	char *buffer = evicted(MIB + 77);
	fill(buffer, MIB + 77, 5);
	CALL("write of 1 MiB in one call", write(file, buffer, MIB + 77));
	dump_file("file", "file");
	end_file(file, "file");
}

static void pread_pwrite(void)
{
	int file = make_file("file", 20000, 6);
	char *buffer = evicted(9000);
	CALL("pread", pread(file, buffer, 9000, 5001));
	dump("buffer", buffer, 9000);
	CALL("pread across the end", pread(file, buffer, 9000, 19000));
	CALL("pread past the end", pread(file, buffer, 9000, 30000));
	CALL("pread at a negative offset", pread(file, buffer, 9000, -1));
	fill(buffer, 9000, 7);
	CALL("pwrite", pwrite(file, buffer, 9000, 15000));
	CALL("pwrite at a negative offset", pwrite(file, buffer, 9000, -5));
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	dump_file("file", "file");
	end_file(file, "file");
}

/* Five pieces of odd lengths, one of them empty, the vector itself evicted as well. */
#define PIECES 5
static const size_t piece_sizes[PIECES] = { 1, 5000, 0, 4096, 333 };

static struct iovec *make_pieces(unsigned seed)
{
	struct iovec *vector = EVICTED_ARRAY(struct iovec, PIECES);
	for (int i = 0; i < PIECES; i++) {
		vector[i].iov_base = evicted(piece_sizes[i]);
		vector[i].iov_len = piece_sizes[i];
		if (seed)
			fill(vector[i].iov_base, piece_sizes[i], seed + (unsigned)i);
	}
	return vector;
}

static void dump_pieces(const struct iovec *vector)
{
	for (int i = 0; i < PIECES; i++)
		dump("piece", vector[i].iov_base, vector[i].iov_len);
}

static void readv_file(void)
{
	int file = make_file("file", 9000, 8);
	struct iovec *vector = make_pieces(0);
	CALL("readv", readv(file, vector, PIECES));
	dump_pieces(vector);
	CALL("readv at the end", readv(file, vector, PIECES));
	CALL("readv of no pieces", readv(file, vector, 0));
	CALL("readv of -1 pieces", syscall(SYS_readv, file, vector, -1L));
	CALL("readv of too many pieces", readv(file, vector, IOV_MAX + 1));
	end_file(file, "file");
}

static void writev_file(void)
{
	int file = make_file("file", 0, 0);
	struct iovec *vector = make_pieces(10);
	CALL("writev", writev(file, vector, PIECES));
	CALL("writev of three", writev(file, vector + 2, 3));
	dump_file("file", "file");
	vector[1].iov_len = (size_t)-1;
	CALL("writev of a negative length", writev(file, vector, PIECES));
	end_file(file, "file");
}

static void readv_many(void)
{
	int file = make_file("file", 200000, 9);
	struct iovec *vector = EVICTED_ARRAY(struct iovec, IOV_MAX);
	char *memory = evicted(200000);
	size_t used = 0;
	for (int i = 0; i < IOV_MAX; i++) {
		vector[i].iov_base = memory + used;
		vector[i].iov_len = (size_t)(i * 7 % 190 + 1);
		used += vector[i].iov_len;
	}
	CALL("readv of 1024 pieces", readv(file, vector, IOV_MAX));
	dump("memory", memory, 200000);
	MUST(lseek(file, 0, SEEK_SET));
	fill(memory, 200000, 11);
	CALL("writev of 1024 pieces", writev(file, vector, IOV_MAX));
	dump_file("file", "file");
	end_file(file, "file");
}

static void preadv_pwritev(void)
{
	int file = make_file("file", 30000, 12);
	struct iovec *vector = make_pieces(0);
	CALL("preadv", preadv(file, vector, PIECES, 7));
	dump_pieces(vector);
	CALL("preadv2 at an offset", preadv2(file, vector, PIECES, 20001, 0));
	dump_pieces(vector);
	CALL("preadv2 at the position", preadv2(file, vector, PIECES, -1, 0));
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	dump_pieces(vector);
	CALL("preadv2 with unknown flags", preadv2(file, vector, PIECES, 0, 0x40000000));
	CALL("preadv at a negative offset", preadv(file, vector, PIECES, -7));
	end_file(file, "file");
}

static void pwritev_file(void)
{
	int file = make_file("file", 3000, 13);
	struct iovec *vector = make_pieces(14);
	CALL("pwritev", pwritev(file, vector, PIECES, 1000));
	CALL("pwritev2 with RWF_DSYNC", pwritev2(file, vector, PIECES, 20000, RWF_DSYNC));
	CALL("pwritev2 with RWF_APPEND", pwritev2(file, vector, PIECES, 0, RWF_APPEND));
	CALL("pwritev2 at the position", pwritev2(file, vector, PIECES, -1, 0));
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	dump_file("file", "file");
	end_file(file, "file");
}

/* ---- Pipes ----------------------------------------------------------------------------- */

static void pipe_short(void)
{
	int ends[2];
	char *buffer = evicted(6000);
	MUST(pipe2(ends, O_NONBLOCK));
	fill(buffer, 6000, 15);
	CALL("write of 5000", write(ends[1], buffer, 5000));
	memset(buffer, 0x5a, 6000);
	CALL("read of 3000", read(ends[0], buffer, 3000));
	dump("buffer", buffer, 6000);
	CALL("read of 6000", read(ends[0], buffer, 6000));
	dump("buffer", buffer, 6000);
	CALL("read of an empty pipe", read(ends[0], buffer, 6000));
	close(ends[1]);
	CALL("read without a writer", read(ends[0], buffer, 6000));
	close(ends[0]);
}

/* More than goes into a pipe: what fits, at once; then the reader gets it as one. */
static void pipe_full(void)
{
	int ends[2];
	char *buffer = evicted(300 * 1024);
	MUST(pipe2(ends, O_NONBLOCK));
	fill(buffer, 300 * 1024, 16);
	long written = CALL("write of 300 KiB", write(ends[1], buffer, 300 * 1024));
	CALL("write into a full pipe", write(ends[1], buffer, 10));
	memset(buffer, 0, 300 * 1024);
	long got = CALL("read of 300 KiB", read(ends[0], buffer, 300 * 1024));
	check("as much as was written", got == written);
	dump("buffer", buffer, 300 * 1024);
	close(ends[0]);
	CALL("write without a reader", write(ends[1], buffer, 10));
	close(ends[1]);
}

static void *read_slowly(void *argument)
{
	int *end = argument;
	size_t got = 0;
	ssize_t length;
	while ((length = read(*end, plain + got, 30000)) > 0)
		got += (size_t)length;
	return (void *)got;
}

/* One call that blocks several times while another thread reads. */
static void pipe_blocking(void)
{
	int ends[2];
	void *got;
	pthread_t reader;
	char *buffer = evicted(MIB);
	MUST(pipe(ends));
	fill(buffer, MIB, 17);
	MUST(-pthread_create(&reader, NULL, read_slowly, &ends[0]));
	CALL("write of 1 MiB", write(ends[1], buffer, MIB));
	close(ends[1]);
	pthread_join(reader, &got);
	say("the reader got %zu", (size_t)got);
	dump("what it got", plain, MIB);
	close(ends[0]);
}

static void *write_late(void *argument)
{
	int *end = argument;
	pause_ms(50);
	MUST(write(*end, "late bytes", 10));
	return NULL;
}

/* The buffer goes out and in while the call sleeps. */
static void pipe_sleeping_reader(void)
{
	int ends[2];
	pthread_t writer;
	char *buffer = evicted(5000);
	MUST(pipe(ends));
	MUST(-pthread_create(&writer, NULL, write_late, &ends[1]));
	CALL("read that sleeps", read(ends[0], buffer, 5000));
	pthread_join(writer, NULL);
	dump("buffer", buffer, 5000);
	close(ends[0]);
	close(ends[1]);
}

static void pipe_vectors(void)
{
	int ends[2];
	struct iovec *vector = make_pieces(18);
	MUST(pipe2(ends, O_NONBLOCK));
	CALL("writev", writev(ends[1], vector, PIECES));
	for (int i = 0; i < PIECES; i++)
		memset(vector[i].iov_base, 0, vector[i].iov_len);
	CALL("readv", readv(ends[0], vector, PIECES));
	dump_pieces(vector);
	CALL("preadv of a pipe", preadv(ends[0], vector, PIECES, 0));
	CALL("pwrite to a pipe", pwrite(ends[1], vector, 8, 0));
	close(ends[0]);
	close(ends[1]);
}

/* ---- Transfers between descriptors ----------------------------------------------------- */

static void copy_file_range_offsets(void)
{
	int from = make_file("from", 10000, 19), to = make_file("to", 100, 20);
	off_t *offsets = EVICTED_ARRAY(off_t, 2);
	offsets[0] = 1000;
	offsets[1] = 50;
	CALL("copy_file_range",
	     syscall(SYS_copy_file_range, from, &offsets[0], to, &offsets[1], 5000, 0));
	say("offsets %ld %ld", (long)offsets[0], (long)offsets[1]);
	CALL("copy_file_range with a position",
	     syscall(SYS_copy_file_range, from, NULL, to, &offsets[1], 500, 0));
	say("offset %ld, position %ld", (long)offsets[1], (long)lseek(from, 0, SEEK_CUR));
	dump_file("file", "to");
	end_file(from, "from");
	end_file(to, "to");
}

static void sendfile_offset(void)
{
	int from = make_file("from", 10000, 21), ends[2];
	off_t *offset = EVICTED(off_t);
	MUST(pipe(ends));
	*offset = 77;
	CALL("sendfile", sendfile(ends[1], from, offset, 5000));
	say("offset %ld, position %ld", (long)*offset, (long)lseek(from, 0, SEEK_CUR));
	memset(plain, 0, 6000);
	dump("pipe", plain, (size_t)read(ends[0], plain, 6000));
	*offset = -1;
	CALL("sendfile from -1", sendfile(ends[1], from, offset, 10));
	close(ends[0]);
	close(ends[1]);
	end_file(from, "from");
}

static void splice_offsets(void)
{
	int from = make_file("from", 10000, 22), to = make_file("to", 0, 0), ends[2];
	loff_t *offset = EVICTED(loff_t);
	MUST(pipe(ends));
	*offset = 4000;
	CALL("splice from a file", splice(from, offset, ends[1], NULL, 3000, 0));
	say("offset %ld", (long)*offset);
	*offset = 100;
	CALL("splice to a file", splice(ends[0], NULL, to, offset, 3000, 0));
	say("offset %ld", (long)*offset);
	CALL("splice with an offset for a pipe", splice(ends[0], offset, to, NULL, 10, 0));
	dump_file("file", "to");
	close(ends[0]);
	close(ends[1]);
	end_file(from, "from");
	end_file(to, "to");
}

/* ---- Random numbers -------------------------------------------------------------------- */

/* Every page has had bytes written to, and no two begin alike. */
static bool looks_random(const unsigned char *bytes, size_t length)
{
	uint64_t last = 0;
	for (size_t at = 0; at + 64 <= length; at += 512) {
		uint64_t sum = hash(bytes + at, 64);
		unsigned different = 0;
		for (int i = 1; i < 64; i++)
			different += bytes[at + (size_t)i] != bytes[at];
		if (sum == last || different < 32)
			return false;
		last = sum;
	}
	return true;
}

static void getrandom_large(void)
{
	unsigned char *buffer = evicted(4 * MIB);
	CALL("getrandom of 4 MiB", getrandom(buffer, 4 * MIB, 0));
	check("random", looks_random(buffer, 4 * MIB));
	CALL("getrandom with unknown flags", getrandom(buffer, 10, 0x1000));
}

static void getrandom_small(void)
{
	unsigned char *buffer = evicted(256);
	CALL("getrandom of 200", getrandom(buffer, 200, GRND_NONBLOCK));
	dump("after it", buffer + 200, 56);
	CALL("getentropy", getentropy(buffer, 256));
	check("random", looks_random(buffer, 256));
}

/* ---- Directories ----------------------------------------------------------------------- */

static void make_directory(int files)
{
	char name[32];
	MUST(mkdir("directory", 0755));
	for (int i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "directory/name-%d", i);
		close((int)MUST(open(name, O_CREAT | O_WRONLY, 0644)));
	}
}

static void remove_directory(int files)
{
	char name[32];
	for (int i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "directory/name-%d", i);
		MUST(unlink(name));
	}
	MUST(rmdir("directory"));
}

static void getdents_raw(void)
{
	struct entry {
		uint64_t inode;
		int64_t offset;
		unsigned short length;
		unsigned char type;
		char name[];
	};
	char *buffer = evicted(1500);
	uint64_t names = 0;
	int count = 0;
	long got;
	make_directory(100);
	int directory = (int)MUST(open("directory", O_RDONLY | O_DIRECTORY));
	while (push_out(), (got = syscall(SYS_getdents64, directory, buffer, 1500)) > 0)
		for (long at = 0; at < got; count++) {
			struct entry *entry = (void *)(buffer + at);
			names += hash(entry->name, strlen(entry->name));
			at += entry->length;
		}
	result("getdents64 at the end", got);
	say("%d names, sum of hashes %016llx", count, (unsigned long long)names);
	MUST(lseek(directory, 0, SEEK_SET));
	CALL("getdents64 with little room", syscall(SYS_getdents64, directory, buffer, 10));
	close(directory);
	remove_directory(100);
}

/* The stream is a block of the C library's own. */
static void readdir_stream(void)
{
	struct dirent *entry;
	uint64_t names = 0;
	int count = 0;
	make_directory(300);
	DIR *stream = opendir("directory");
	if (!stream) {
		say("opendir failed");
		return;
	}
	while (push_out_range(stream, 34000), push_out(), (entry = readdir(stream)) != NULL) {
		names += hash(entry->d_name, strlen(entry->d_name));
		count++;
	}
	say("%d names, sum of hashes %016llx", count, (unsigned long long)names);
	closedir(stream);
	remove_directory(300);
}

/* Streams of the C library, whose buffers come from malloc as well. */
static void stdio_streams(void)
{
	FILE *file = fopen("file", "w+");
	uint64_t sum = 0;
	int count = 0;
	char *buffer = evicted(40000);
	if (!file || setvbuf(file, buffer, _IOFBF, 40000) != 0) {
		say("fopen failed");
		return;
	}
	for (int i = 0; i < 10000; i++) {
		fprintf(file, "line %d\n", i * 17);
		if (i % 1000 == 0)
			push_out();
	}
	push_out();
	rewind(file);
	char *line = NULL;
	size_t size = 0;
	while (getline(&line, &size, file) > 0) {
		sum += hash(line, strlen(line));
		if (count++ % 1000 == 0)
			push_out();
	}
	free(line);
	say("%d lines, sum of hashes %016llx", count, (unsigned long long)sum);
	fclose(file);
	dump_file("file", "file");
	MUST(unlink("file"));
}

const struct call_case file_cases[] = {
	CASE(read_file),
	CASE(read_large),
	CASE(write_file),
	CASE(write_large),
	CASE(pread_pwrite),
	CASE(readv_file),
	CASE(writev_file),
	CASE(readv_many),
	CASE(preadv_pwritev),
	CASE(pwritev_file),
	CASE(pipe_short),
	CASE(pipe_full),
	CASE(pipe_blocking),
	CASE(pipe_sleeping_reader),
	CASE(pipe_vectors),
	CASE(copy_file_range_offsets),
	CASE(sendfile_offset),
	CASE(splice_offsets),
	CASE(getrandom_large),
	CASE(getrandom_small),
	CASE(getdents_raw),
	EASY_CASE(readdir_stream),
	CASE(stdio_streams),
	{ 0 },
};
