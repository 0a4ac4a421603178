/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate.c - `upage translate`: a calculator of addresses, on a machine that a file describes
 *
 * The translators are those of the library; nothing is mapped. A fault is an answer. Nothing is
 * printed on stdout before the machine, and the addresses among the arguments, are known to be good.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "error.h"
#include "explain.h"
#include "machine.h"

static const char help[] =
        "usage: upage translate [OPTION]... FILE [ADDRESS]...\n"
        "Translates addresses, of the arguments or else of stdin, on the machine that FILE describes.\n"
        "\n"
        "      --explain    the arithmetic of each step\n"
        "      --hex        numbers in hexadecimal\n"
        "      --help\n"
        "\n"
        "ADDRESS is decimal or 0x; behind it may stand an access, as in 0x1000:w; else it is read.\n"
        "A line is printed for each, ADDRESS<TAB>PHYSICAL or ADDRESS<TAB>fault<TAB>CAUSE, where CAUSE\n"
        "is bounds, no-segment, not-mapped or protection.\n"
        "\n"
        "FILE has lines of these words, in any order; # begins a comment; - is stdin.\n"
        "  scheme base-bounds|segmentation|paging\n"
        "  memory-size BYTES    physical memory\n"
        "  space-size BYTES     the address space; of base-bounds only a limit of the bounds\n"
        "base-bounds:\n"
        "  base ADDRESS         physical\n"
        "  bounds BYTES\n"
        "segmentation, where the top bits of an address are the number of its segment:\n"
        "  segment N base ADDRESS bounds BYTES grows up|down [prot rwx]\n"
        "                       one that grows down ends at the top of its part of the space; its\n"
        "                       base is the physical address just past its end\n"
        "  segment-bits N       bits of the number; else as few as the largest segment needs\n"
        "paging:\n"
        "  page-size BYTES      a power of two, from 1\n"
        "  table linear|radix|inverted       (default linear)\n"
        "  levels N             of a radix table, 1 to 5; else nine bits a level\n"
        "  page VPN frame PFN [prot rwx] [asid A]\n"
        "  asid A               of an inverted table, the space that runs; else that of its first page\n"
        "\n"
        "Sizes have suffixes K, M, G, T (powers of 1024). The exit status is 0 if all could be\n"
        "answered, and 2 if a word, the machine or an address is in error.\n"
        "Example: upage translate --explain machine.txt 0x15 4200\n";

struct request {
	bool explain, hex;
	const char *file;
	char **addresses; /* of the arguments */
	int count;
};

static const char *const causes[] = {
	[UPAGE_CAUSE_BOUNDS] = "bounds",
	[UPAGE_CAUSE_NO_SEGMENT] = "no-segment",
	[UPAGE_CAUSE_NOT_MAPPED] = "not-mapped",
	[UPAGE_CAUSE_PROTECTION] = "protection",
};

/* "ADDRESS" or "ADDRESS:ACCESS", which stands at @where. */
static void parse_address(const char *where, const char *word, uint64_t *address, int *access)
{
	char text[80];
	size_t length = strcspn(word, ":");
	int result = UPAGE_EOPTION;
	*access = PROT_READ;
	snprintf(text, sizeof(text), "%.*s", (int)(length < sizeof(text) ? length : 0), word);
	if (length < sizeof(text))
		result = machine_number(text, address);
	if (result == 0 && word[length] == ':' && (!machine_prot(word + length + 1, access) || *access == 0))
		fail(EXIT_WRONG, "%s'%s': right behind the colon are letters of rwx", where, word);
	if (result == UPAGE_EOVERFLOW)
		fail(EXIT_WRONG, "%s'%s': more than 64 bits can hold", where, word);
	if (result < 0)
		fail(EXIT_WRONG, "%s'%s' is no address: right is a number, decimal or 0x", where, word);
}

static void print_number(const struct request *request, uint64_t n)
{
	printf(request->hex ? "0x%" PRIx64 : "%" PRIu64, n);
}

static void answer(const struct request *request, const struct machine *machine, const char *where,
                   const char *word)
{
	uint64_t address, physical;
	int access;
	parse_address(where, word, &address, &access);
	enum upage_cause cause = translate(machine->translator, address, access, &physical);
	print_number(request, address);
	printf("%s\t", word + strcspn(word, ":")); /* with the access that was said */
	if (cause == UPAGE_CAUSE_NONE)
		print_number(request, physical);
	else
		printf("fault\t%s", causes[cause]);
	putchar('\n');
	if (request->explain)
		explain(machine, address, access, request->hex);
}

static void answer_lines(const struct request *request, const struct machine *machine)
{
	char *text = NULL, where[64];
	size_t room = 0;
	for (unsigned line = 1; getline(&text, &room, stdin) >= 0; line++) {
		char *rest = NULL;
		snprintf(where, sizeof(where), "standard input:%u: ", line);
		text[strcspn(text, "#\n")] = '\0';
		for (char *word = strtok_r(text, " \t\r\f\v", &rest); word != NULL;
		     word = strtok_r(NULL, " \t\r\f\v", &rest))
			answer(request, machine, where, word);
	}
	if (ferror(stdin))
		fail(EXIT_WRONG, "standard input: %s", error_words(errno));
	free(text);
}

/* Options stand anywhere: no address begins with a dash. */
static void take_arguments(struct request *request, int argc, char **argv)
{
	bool options = true;
	request->addresses = argv;
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		if (!options || word[0] != '-' || word[1] == '\0') {
			if (request->file == NULL)
				request->file = word;
			else
				request->addresses[request->count++] = argv[i];
		} else if (strcmp(word, "--") == 0) {
			options = false;
		} else if (strcmp(word, "--explain") == 0) {
			request->explain = true;
		} else if (strcmp(word, "--hex") == 0) {
			request->hex = true;
		} else if (strcmp(word, "--help") == 0) {
			fputs(help, stdout);
			exit(0);
		} else {
			fail(EXIT_WRONG, "unknown option '%s'; there are --explain, --hex and --help", word);
		}
	}
	if (request->file == NULL)
		fail(EXIT_WRONG, "a file that describes a machine is missing; 'upage translate --help' says more");
	if (strcmp(request->file, "-") == 0 && request->count == 0)
		fail(EXIT_WRONG, "'-': stdin cannot be both the machine and the addresses");
}

int translate_command(int argc, char **argv)
{
	static struct machine machine;
	struct request request = { .file = NULL };
	uint64_t address;
	int access;
	take_arguments(&request, argc, argv);
	for (int i = 0; i < request.count; i++)
		parse_address("", request.addresses[i], &address, &access);
	bool standard = strcmp(request.file, "-") == 0;
	FILE *file = standard ? stdin : fopen(request.file, "r");
	if (file == NULL)
		fail(EXIT_WRONG, "%s: %s", request.file, error_words(errno));
	machine_read(&machine, file, standard ? "standard input" : request.file);
	if (!standard)
		fclose(file);
	for (int i = 0; i < request.count; i++)
		answer(&request, &machine, "", request.addresses[i]);
	if (request.count == 0)
		answer_lines(&request, &machine);
	if (fflush(stdout) != 0 || ferror(stdout))
		fail(EXIT_WRONG, "standard output: %s", error_words(errno));
	return 0;
}
