/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "map.h"
#include "syscall.h"
#include "whole.h"

/* ---- The kernel's own files, line by line ---------------------------------------------------- */

struct reader {
	int file;
	char *buffer, *line; /* halves of the scratch memory */
	size_t at, end;
	bool again;          /* the line is to be read once more */
};

#define HALF (PROC_SCRATCH / 2)

static int reader_open(struct reader *reader, const char *path, char *scratch)
{
	*reader = (struct reader){ .buffer = scratch, .line = scratch + HALF };
	reader->file = (int)syscall_4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	return reader->file < 0 ? reader->file : 0;
}

/* The next line, with its end. Return: whether there is one. */
static bool reader_next(struct reader *reader)
{
	size_t length = 0;
	if (reader->again) {
		reader->again = false;
		return true;
	}
	while (reader->file >= 0 && length < HALF - 1) {
		if (reader->at == reader->end) {
			long n = syscall_3(SYS_read, reader->file, reader->buffer, HALF);
			if (n <= 0)
				break;
			reader->at = 0;
			reader->end = (size_t)n;
		}
		reader->line[length++] = reader->buffer[reader->at++];
		if (reader->line[length - 1] == '\n')
			break;
	}
	reader->line[length] = '\0';
	return length > 0;
}

static void reader_close(struct reader *reader)
{
	if (reader->file >= 0)
		syscall_1(SYS_close, reader->file);
}

/* Whether a line of maps or smaps begins a mapping; and where that starts. */
static bool is_head(const char *line, uintptr_t *start)
{
	*start = 0;
	for (;; line++) {
		unsigned digit;
		if (*line >= '0' && *line <= '9')
			digit = (unsigned)(*line - '0');
		else if (*line >= 'a' && *line <= 'f')
			digit = (unsigned)(*line - 'a') + 10;
		else
			return *line == '-';
		*start = *start << 4 | digit;
	}
}

/* ---- Mappings as the program knows them -------------------------------------------------------- */

static void print_address(struct stream *stream, uint64_t n, unsigned least)
{
	char digits[17];
	unsigned at = sizeof(digits);
	digits[--at] = '\0';
	while (n != 0 || sizeof(digits) - 1 - at < least) {
		digits[--at] = "0123456789abcdef"[n & 15];
		n >>= 4;
	}
	stream_text(stream, digits + at);
}

static void print_padding(struct stream *stream, size_t from, size_t to)
{
	while (from++ < to)
		stream_text(stream, " ");
}

/* Its line in maps. */
static void print_head(struct stream *stream, const struct mapping *m, const char *name)
{
	const upage_store *store = m->backing->store;
	uint64_t device = store != NULL ? store->device : 0;
	const char access[] = { ' ', m->prot & PROT_READ ? 'r' : '-', m->prot & PROT_WRITE ? 'w' : '-',
		                m->prot & PROT_EXEC ? 'x' : '-', 'p', ' ', '\0' };
	size_t before = stream->length;
	print_address(stream, m->start, 8);
	stream_text(stream, "-");
	print_address(stream, m->end, 8);
	stream_text(stream, access);
	print_address(stream, store != NULL ? (uint64_t)((int64_t)m->start + m->backing->delta) : 0, 8);
	stream_text(stream, " ");
	print_address(stream, (device >> 8 & 0xfff) | (device >> 32 & ~0xfffull), 2);
	stream_text(stream, ":");
	print_address(stream, (device & 0xff) | (device >> 12 & 0xfff00), 2);
	stream_text(stream, " ");
	stream_decimal(stream, store != NULL ? store->inode : 0);
	stream_text(stream, " ");
	if (name != NULL) {
		/* The stream may have been emptied in between: then the column is not known. */
		print_padding(stream, stream->length > before ? stream->length - before : 72, 73);
		stream_text(stream, name);
	}
	stream_text(stream, "\n");
}

/* Bytes of a mapping, by what became of their pages. */
struct sizes {
	uint64_t size, resident, dirty, anonymous, swapped, shown, locked;
};

struct counting {
	struct sizes *sizes;
	bool file;
};

static int visit_count(upage_space *space, pte_t *ptes, size_t count, uintptr_t address,
                       void *argument)
{
	const struct counting *counting = argument;
	struct sizes *sizes = counting->sizes;
	const uint64_t page = space_page_size(space);
	(void)address;
	for (size_t i = 0; i < count; i++) {
		uint64_t value = atomic_load(&ptes[i]);
		sizes->swapped += value & PTE_SWAPPED ? page : 0;
		if (!(value & PTE_PRESENT))
			continue;
		sizes->resident += page;
		sizes->shown += value & PTE_ACCESS ? page : 0;
		sizes->dirty += value & PTE_DIRTY ? page : 0;
		sizes->anonymous += !counting->file || value & PTE_DIRTY ? page : 0;
	}
	return 0;
}

static void add_sizes(struct sizes *sizes, const struct mapping *m)
{
	struct counting counting = { sizes, m->backing->store != NULL };
	sizes->size += m->end - m->start;
	sizes->locked += m->flags & MAPPING_LOCKED ? m->end - m->start : 0;
	if (!space_is_paged(whole_space)) {
		sizes->resident += m->end - m->start;
		sizes->shown += m->end - m->start;
		sizes->dirty += m->end - m->start;
		sizes->anonymous += m->end - m->start;
	} else if (!m->backing->foreign)
		space_each_run(whole_space, m->start, m->end, visit_count, &counting);
}

/* A name, and a number of at least @width places. */
static void print_kilobytes(struct stream *stream, const char *name, uint64_t bytes, size_t width)
{
	size_t digits = 1;
	for (uint64_t n = bytes / 1024; n >= 10; n /= 10)
		digits++;
	stream_text(stream, name);
	print_padding(stream, digits, width);
	stream_decimal(stream, bytes / 1024);
	stream_text(stream, " kB\n");
}

/* A line of smaps: the number ends at column 24. */
static void print_size(struct stream *stream, const char *name, uint64_t bytes)
{
	print_kilobytes(stream, name, bytes, 24 - strlen(name));
}

static void print_resident(struct stream *stream, const struct sizes *s)
{
	print_size(stream, "Rss:", s->resident);
	print_size(stream, "Pss:", s->resident);
	print_size(stream, "Pss_Dirty:", s->dirty);
	print_size(stream, "Shared_Clean:", 0);
	print_size(stream, "Shared_Dirty:", 0);
	print_size(stream, "Private_Clean:", s->resident - s->dirty);
	print_size(stream, "Private_Dirty:", s->dirty);
	print_size(stream, "Referenced:", s->shown);
	print_size(stream, "Anonymous:", s->anonymous);
	static const char *const none[] = { "KSM:", "LazyFree:", "AnonHugePages:", "ShmemPmdMapped:",
		                            "FilePmdMapped:", "Shared_Hugetlb:", "Private_Hugetlb:" };
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		print_size(stream, none[i], 0);
	print_size(stream, "Swap:", s->swapped);
	print_size(stream, "SwapPss:", s->swapped);
	print_size(stream, "Locked:", s->locked < s->resident ? s->locked : s->resident);
}

static void print_flags(struct stream *stream, const struct mapping *m)
{
	static const struct {
		unsigned flag;
		const char *text;
	} flags[] = {
		{ MAPPING_GROWS, "gd " },    { MAPPING_LOCKED, "lo " },   { MAPPING_ONFAULT, "lf " },
		{ MAPPING_DONTFORK, "dc " }, { MAPPING_NORESERVE, "nr " }, { MAPPING_WIPEFORK, "wf " },
		{ MAPPING_DONTDUMP, "dd " }, { MAPPING_HUGE, "hg " },     { MAPPING_NOHUGE, "nh " },
		{ MAPPING_MERGEABLE, "mg " },
	};
	stream_text(stream, "VmFlags: ");
	stream_text(stream, m->prot & PROT_READ ? "rd " : "");
	stream_text(stream, m->prot & PROT_WRITE ? "wr " : "");
	stream_text(stream, m->prot & PROT_EXEC ? "ex " : "");
	stream_text(stream, "mr mw me ");
	stream_text(stream, m->advice == UPAGE_SEQUENTIAL ? "sr " : m->advice == UPAGE_RANDOM ? "rr " : "");
	stream_text(stream, m->committed ? "ac " : "");
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		stream_text(stream, m->flags & flags[i].flag ? flags[i].text : "");
	stream_text(stream, "\n");
}

static void print_details(struct stream *stream, const struct mapping *m, const struct sizes *sizes)
{
	const uint64_t page = space_page_size(whole_space);
	print_size(stream, "Size:", sizes->size);
	print_size(stream, "KernelPageSize:", page);
	print_size(stream, "MMUPageSize:", page);
	print_resident(stream, sizes);
	stream_text(stream, "THPeligible:           0\n");
	print_flags(stream, m);
}

/* ---- maps, smaps --------------------------------------------------------------------------------- */

/* The kernel's lines of mappings that start in [start, end). Those before are passed over. */
static void copy_lines(struct stream *stream, struct reader *reader, uintptr_t start, uintptr_t end)
{
	bool inside = false;
	uintptr_t at;
	while (reader_next(reader)) {
		if (is_head(reader->line, &at)) {
			if (at >= end) {
				reader->again = true;
				return;
			}
			inside = at >= start;
		}
		if (inside)
			stream_text(stream, reader->line);
	}
}

/* What the kernel puts into every process, and the program was told of. */
static void copy_special(struct stream *stream, struct reader *reader)
{
	static const char *const names[] = { "[vvar", "[vdso]", "[vsyscall]" };
	bool inside = false;
	uintptr_t at;
	while (reader_next(reader)) {
		if (is_head(reader->line, &at)) {
			inside = false;
			for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
				inside = inside || strstr(reader->line, names[i]) != NULL;
		}
		if (inside)
			stream_text(stream, reader->line);
	}
}

static int write_maps(struct stream *stream, const char *path, char *scratch, bool details)
{
	struct reader reader;
	int result = reader_open(&reader, path, scratch);
	if (result < 0)
		return result;
	whole_lock();
	space_read(whole_space);
	const struct mappings *all = &whole_space->mappings;
	for (size_t i = 0; i < all->count; i++) {
		struct mapping m = all->mapping[i];
		struct sizes sizes = { 0 };
		if (m.backing->foreign) {
			copy_lines(stream, &reader, m.start, m.end);
			continue;
		}
		if (details)
			add_sizes(&sizes, &m);
		for (; i + 1 < all->count && mapping_is_one(&all->mapping[i], &all->mapping[i + 1]); i++) {
			if (details)
				add_sizes(&sizes, &all->mapping[i + 1]);
			m.end = all->mapping[i + 1].end;
		}
		print_head(stream, &m, whole_name(&m));
		if (details)
			print_details(stream, &m, &sizes);
	}
	space_read_end(whole_space);
	whole_unlock();
	copy_special(stream, &reader);
	reader_close(&reader);
	return 0;
}

static int proc_maps(struct stream *stream, const char *path, char *scratch)
{
	return write_maps(stream, path, scratch, false);
}

static int proc_smaps(struct stream *stream, const char *path, char *scratch)
{
	return write_maps(stream, path, scratch, true);
}

/* ---- Sums ---------------------------------------------------------------------------------------- */

struct sums {
	struct sizes paged;
	uint64_t size, data, stack, text, libraries;
	uint64_t foreign; /* resident, of foreign mappings; by sum_all() */
	uintptr_t first, last;
};

static void sum_up(struct sums *sums)
{
	*sums = (struct sums){ .size = 0 };
	space_read(whole_space);
	const struct mappings *all = &whole_space->mappings;
	for (size_t i = 0; i < all->count; i++) {
		const struct mapping *m = &all->mapping[i];
		uint64_t bytes = m->end - m->start;
		sums->first = i == 0 ? m->start : sums->first;
		sums->last = m->end;
		sums->size += bytes;
		add_sizes(&sums->paged, m);
		bool private = !m->backing->foreign;
		if (m->flags & MAPPING_GROWS)
			sums->stack += bytes;
		else if (private && m->prot & PROT_WRITE)
			sums->data += bytes;
		else if (m->prot & PROT_EXEC && m->start < whole_layout.mappings)
			sums->text += bytes;
		else if (m->prot & PROT_EXEC)
			sums->libraries += bytes;
	}
	space_read_end(whole_space);
}

static int proc_smaps_rollup(struct stream *stream, const char *path, char *scratch)
{
	struct sums sums;
	(void)path, (void)scratch;
	sum_up(&sums);
	print_address(stream, sums.first, 8);
	stream_text(stream, "-");
	print_address(stream, sums.last, 8);
	stream_text(stream, " ---p 00000000 00:00 0");
	print_padding(stream, 22, 52);
	stream_text(stream, "[rollup]\n");
	print_resident(stream, &sums.paged);
	return 0;
}

/* The decimal number in a text, behind what is not one. */
static uint64_t number_in(const char *text)
{
	uint64_t n = 0;
	while (*text != '\0' && (*text < '0' || *text > '9'))
		text++;
	while (*text >= '0' && *text <= '9')
		n = n * 10 + (uint64_t)(*text++ - '0');
	return n;
}

/* With what of foreign mappings is resident: what the kernel counts as shared memory in us, and is no
 * frame. It stands in status below lines that need it. */
static int sum_all(struct sums *sums, char *scratch)
{
	struct reader reader;
	int result = reader_open(&reader, "/proc/self/status", scratch);
	if (result < 0)
		return result;
	sum_up(sums);
	while (reader_next(&reader)) {
		if (strncmp(reader.line, "RssShmem:", 9) != 0)
			continue;
		uint64_t counted = number_in(reader.line) * 1024, shown = sums->paged.shown;
		sums->foreign = counted > shown ? counted - shown : 0;
	}
	reader_close(&reader);
	return 0;
}

static uint64_t most_resident(uint64_t now)
{
	const struct frame_table *frames = &whole_space->pool->frames;
	uint64_t most = (frames->frames - frames->free_least) << frames->page_shift;
	return most > now ? most : now;
}

/* The lines of status that tell of memory; the others are the kernel's. */
static bool print_status(struct stream *stream, const char *line, const struct sums *sums)
{
	static _Atomic uint64_t size_peak;
	uint64_t files = sums->paged.resident - sums->paged.anonymous;
	uint64_t resident = sums->paged.resident + sums->foreign;
	if (sums->size > atomic_load(&size_peak))
		atomic_store(&size_peak, sums->size);
	const struct {
		const char *name;
		uint64_t bytes;
	} lines[] = {
		{ "VmPeak:\t", atomic_load(&size_peak) },
		{ "VmSize:\t", sums->size },
		{ "VmLck:\t", sums->paged.locked },
		{ "VmPin:\t", 0 },
		{ "VmHWM:\t", most_resident(resident) },
		{ "VmRSS:\t", resident },
		{ "RssAnon:\t", sums->paged.anonymous },
		{ "RssFile:\t", files },
		{ "RssShmem:\t", sums->foreign },
		{ "VmData:\t", sums->data },
		{ "VmStk:\t", sums->stack },
		{ "VmExe:\t", sums->text },
		{ "VmLib:\t", sums->libraries },
		{ "VmPTE:\t", whole_space->pool->tables.bytes },
		{ "VmSwap:\t", sums->paged.swapped },
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (strncmp(line, lines[i].name, strlen(lines[i].name)) != 0)
			continue;
		print_kilobytes(stream, lines[i].name, lines[i].bytes, 8);
		return true;
	}
	return false;
}

static int proc_status(struct stream *stream, const char *path, char *scratch)
{
	struct sums sums;
	struct reader reader;
	int result = sum_all(&sums, scratch);
	if (result == 0)
		result = reader_open(&reader, path, scratch);
	if (result < 0)
		return result;
	while (reader_next(&reader))
		if (!print_status(stream, reader.line, &sums))
			stream_text(stream, reader.line);
	reader_close(&reader);
	return 0;
}

static int proc_statm(struct stream *stream, const char *path, char *scratch)
{
	const uint64_t page = space_page_size(whole_space);
	struct sums sums;
	(void)path;
	int result = sum_all(&sums, scratch);
	if (result < 0)
		return result;
	uint64_t files = sums.paged.resident - sums.paged.anonymous;
	const uint64_t words[] = { sums.size, sums.paged.resident + sums.foreign, files + sums.foreign,
		                   sums.text, 0, sums.data + sums.stack, 0 };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		stream_text(stream, i > 0 ? " " : "");
		stream_decimal(stream, words[i] / page);
	}
	stream_text(stream, "\n");
	return 0;
}

/* One line of words; the second, in brackets, may have anything in it. */
static int proc_stat(struct stream *stream, const char *path, char *scratch)
{
	enum { SIZE = 23, RESIDENT = 24, STACK = 28, BREAK = 47 };
	struct sums sums;
	struct reader reader;
	int result = sum_all(&sums, scratch);
	if (result == 0)
		result = reader_open(&reader, path, scratch);
	if (result < 0)
		return result;
	if (!reader_next(&reader))
		reader.line[0] = '\0';
	char *end = strrchr(reader.line, ')');
	int word = 2;
	for (char *c = reader.line; *c != '\0';) {
		bool behind = end != NULL && c > end;
		if (behind && *c == ' ') {
			word++;
			stream_text(stream, " ");
			c++;
		}
		bool ours = behind && (word == SIZE || word == RESIDENT || word == STACK || word == BREAK);
		if (ours)
			stream_decimal(stream, word == SIZE     ? sums.size
			                       : word == RESIDENT ? (sums.paged.resident + sums.foreign) /
			                                            space_page_size(whole_space)
			                       : word == STACK    ? whole_stack()
			                                          : whole_break());
		do {
			if (!ours)
				stream_bytes(stream, c, 1);
			c++;
		} while (*c != '\0' && !(c > end && *c == ' '));
	}
	if (end != NULL && word >= BREAK && reader.line[strlen(reader.line) - 1] != '\n')
		stream_text(stream, "\n");
	reader_close(&reader);
	return 0;
}

static int proc_auxv(struct stream *stream, const char *path, char *scratch)
{
	size_t bytes;
	const void *words = whole_auxiliary(&bytes);
	(void)path, (void)scratch;
	stream_bytes(stream, words, bytes);
	return 0;
}

proc_writer *proc_find(const char *name)
{
	static const struct {
		const char *name;
		proc_writer *writer;
	} files[] = {
		{ "maps", proc_maps },     { "smaps", proc_smaps }, { "smaps_rollup", proc_smaps_rollup },
		{ "status", proc_status }, { "statm", proc_statm }, { "stat", proc_stat },
		{ "auxv", proc_auxv },
	};
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (strcmp(name, files[i].name) == 0)
			return files[i].writer;
	return NULL;
}
