/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * adopt.c - the program's own .data and .bss in paged memory, at their addresses
 *
 * What the kernel mapped there is copied away, unmapped, and a space made in its place, into
 * which the copy is written by ordinary page faults. Pages of .bss that nobody touched yet are
 * known from /proc/self/pagemap, and are not looked at: gigabytes of them cost nothing. Where
 * that file is missing they are read, which costs little more.
 *
 * Nothing that a page fault needs may lie there. The library's own data does not, unless it was
 * linked statically; and variables of the C library that the linker has copied into the
 * program's (environ, stdout, ...) are none that we use in the handler.
 *
 * Locking: none; the process has one thread. Signal context: no.
 * Source: elf(5); dl_iterate_phdr(3); proc(5), pagemap.
 */
#include "adopt.h"

#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#include "compiler.h"
#include "host.h"

#define SEGMENTS_MAX 4

struct segment {
	uintptr_t start, end; /* host pages */
	uintptr_t file_end;   /* below it, an untouched page has content all the same */
};

struct program {
	struct segment segment[SEGMENTS_MAX];
	size_t segments;
	bool executable; /* data that may be executed is none for us */
};

/* ---- Where it is ---------------------------------------------------------------------------- */

static void cut_relro(struct segment *segment, uintptr_t start, uintptr_t end)
{
	/* The loader protects whole pages. */
	end = host_page_down(end);
	if (start < segment->end && end > segment->start)
		segment->start = end;
}

/* Called for the program first, then for its libraries. */
static int read_headers(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct program *program = argument;
	(void)size;
	for (size_t i = 0; i < info->dlpi_phnum && program->segments < SEGMENTS_MAX; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + header->p_vaddr;
		if (header->p_type != PT_LOAD || !(header->p_flags & PF_W))
			continue;
		program->executable = program->executable || (header->p_flags & PF_X);
		program->segment[program->segments++] = (struct segment){
			.start = host_page_down(start),
			.end = host_page_up(start + header->p_memsz),
			.file_end = host_page_up(start + header->p_filesz),
		};
	}
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + header->p_vaddr;
		if (header->p_type == PT_GNU_RELRO)
			for (size_t j = 0; j < program->segments; j++)
				cut_relro(&program->segment[j], start, start + header->p_memsz);
	}
	return 1;
}

/* ---- What is in it --------------------------------------------------------------------------- */

/* The kernel's words on pages: each 8 bytes, of which the two highest bits say that it is in
 * memory, or in the machine's swap. */
#define PAGEMAP_WORDS 512
#define PAGEMAP_IS_THERE (UINT64_C(3) << 62)

struct pagemap {
	int descriptor; /* or -1 */
	uintptr_t first; /* page number that word[0] is about */
	size_t words;
	uint64_t word[PAGEMAP_WORDS];
};

static bool was_touched(struct pagemap *map, uintptr_t address)
{
	uintptr_t number = address / HOST_PAGE_SIZE;
	if (map->descriptor < 0)
		return true;
	if (number < map->first || number - map->first >= map->words) {
		ssize_t n = host_read_file(map->descriptor, map->word, sizeof(map->word),
		                           (off_t)(number * sizeof(uint64_t)));
		map->first = number;
		map->words = n > 0 ? (size_t)n / sizeof(uint64_t) : 0;
	}
	return map->words == 0 || (map->word[number - map->first] & PAGEMAP_IS_THERE) != 0;
}

static bool is_zero(uintptr_t address)
{
	const uint64_t *word = (const uint64_t *)address;
	for (size_t i = 0; i < HOST_PAGE_SIZE / sizeof(*word); i++)
		if (word[i] != 0)
			return false;
	return true;
}

struct page_copy {
	uintptr_t address;
	unsigned char content[HOST_PAGE_SIZE];
};

/* Pages of a segment with content; the first @room of them are copied. */
static size_t collect(struct pagemap *map, const struct segment *segment, struct page_copy *copy,
                      size_t room)
{
	size_t pages = 0;
	for (uintptr_t at = segment->start; at < segment->end; at += HOST_PAGE_SIZE) {
		if (at >= segment->file_end && !was_touched(map, at))
			continue;
		if (is_zero(at))
			continue;
		if (pages < room) {
			copy[pages].address = at;
			memcpy(copy[pages].content, (const void *)at, HOST_PAGE_SIZE);
		}
		pages++;
	}
	return pages;
}

/* ---- The change ------------------------------------------------------------------------------ */

static int replace_segment(upage_pool *pool, const struct segment *segment,
                           const struct page_copy *copy, size_t pages)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	size_t length = segment->end - segment->start;
	void *start = (void *)segment->start;
	upage_space *space;
	config.address = start;
	config.length = length;
	int result = host_release(start, length);
	if (result == 0)
		result = upage_space_create(&space, pool, &config);
	if (result == 0)
		result = upage_map(space, &start, length, PROT_READ | PROT_WRITE, UPAGE_MAP_FIXED,
		                   NULL, 0);
	for (size_t i = 0; i < pages && result == 0; i++)
		memcpy((void *)copy[i].address, copy[i].content, HOST_PAGE_SIZE);
	return result;
}

static int adopt_segment(upage_pool *pool, struct pagemap *map, const struct segment *segment)
{
	size_t pages = collect(map, segment, NULL, 0);
	size_t bytes = (pages + 1) * sizeof(struct page_copy);
	struct page_copy *copy = host_metadata(bytes);
	if (copy == NULL)
		return UPAGE_ENOMEM;
	map->words = 0; /* what was asked about the pages is asked again */
	pages = collect(map, segment, copy, pages);
	int result = replace_segment(pool, segment, copy, pages);
	host_metadata_release(copy, bytes);
	return result;
}

PUBLIC int upage_adopt_data(upage_pool *pool)
{
	static char ours; /* in the library's own data */
	struct program program = { .segments = 0 };
	struct pagemap map = { .words = 0 };
	int result = 0;
	if (pool == NULL)
		return UPAGE_EINVAL;
	if (upage_pool_page_size(pool) != HOST_PAGE_SIZE)
		return UPAGE_EPAGESIZE;
	dl_iterate_phdr(read_headers, &program);
	for (size_t i = 0; i < program.segments; i++) {
		const struct segment *segment = &program.segment[i];
		uintptr_t own = (uintptr_t)&ours;
		if (program.executable || (own >= segment->start && own < segment->end))
			return UPAGE_ENOTSUP;
	}
	map.descriptor = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < program.segments && result == 0; i++)
		if (program.segment[i].start < program.segment[i].end)
			result = adopt_segment(pool, &map, &program.segment[i]);
	if (map.descriptor >= 0)
		host_close(map.descriptor);
	return result;
}
