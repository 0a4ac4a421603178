/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * patches.c - system calls made so often from one place that `upage run --patch on` changes the code
 *
 *     patches [NAME]
 *
 * The code is of files that are made here, so that places are many, fresh and known. The transcript
 * is that of a native run, on every run: check-patches.sh compares, and sees that places were patched.
 */
#include "patches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void make_page(char *page, long number, const char *end)
{
	memset(page, 0xcc, PAGE);
	for (unsigned i = 0; i < PLACES; i++) {
		char *at = place_at(page, i);
		const int low = (int)number;
		*at = (char)0xb8; /* mov $number, %eax */
		memcpy(at + 1, &low, 4);
		memcpy(at + 5, "\x0f\x05", 2);
		memcpy(at + 7, end, strlen(end));
	}
}

char *map_places(char *address, long number, const char *end)
{
	char page[PAGE];
	make_page(page, number, end);
	FILE *file = tmpfile();
	MUST_BE(file != NULL && fwrite(page, 1, PAGE, file) == PAGE && fflush(file) == 0);
	char *code = mmap(address, PAGE, PROT_READ | PROT_EXEC,
	                  MAP_PRIVATE | (address != NULL ? MAP_FIXED : 0), fileno(file), 0);
	MUST_BE(code != MAP_FAILED);
	fclose(file);
	return code;
}

bool is_whole(const char *code, long number, const char *end)
{
	char page[PAGE];
	make_page(page, number, end);
	return memcmp(page, code, PAGE) == 0;
}

int call_often(char *at, long a, long b, long c, long right)
{
	int wrong = 0;
	for (int i = 0; i < OFTEN; i++)
		wrong += ((place *)at)(a, b, c) != right;
	return wrong;
}

int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : NULL;
	run_tests(patch_code_tests, only);
	run_tests(patch_signal_tests, only);
	return 0;
}
