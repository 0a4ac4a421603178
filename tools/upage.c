/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * upage.c - the command: `upage run`, whole unmodified programs inside paged memory
 *
 * It is linked statically and stands high in the address space; the program gets all of the low
 * part, in which every page is ours. Exit statuses are those of env(1): 125 for a failure of upage
 * itself, 126 for a program that cannot be run, 127 for one that is not there.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/guest.h"
#include "guest/loader.h"
#include "guest/whole.h"
#include "options.h"
#include "upage.h"

enum { EXIT_UPAGE = 125, EXIT_CANNOT = 126, EXIT_NOT_FOUND = 127 };

extern char **environ;

static const char help[] =
        "usage: upage run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
        "Runs PROGRAM, as it is, in paged memory of a chosen size.\n"
        "\n"
        "  -m, --memory SIZE      bytes of frames, for each process (default 256M)\n"
        "      --page-size SIZE   a power of two from 4K to 2M (default 4K)\n"
        "      --policy NAME      who is evicted: clock, fifo, random (default clock)\n"
        "      --seed N           of the random policy\n"
        "      --store file[:PATH]  where evicted pages go (default: $TMPDIR or /tmp)\n"
        "      --swap-size SIZE   the most that may be swapped out\n"
        "      --prefetch auto|off|N  most pages that one fault brings in while frames are plenty\n"
        "      --overcommit       map more than memory and swap can hold\n"
        "      --mapping auto|remap\n"
        "      --mapping-budget N the most host mappings\n"
        "      --stats            a table on stderr at the end\n"
        "      --stats-json FILE  the same as JSON; %p in FILE is the process id\n"
        "      --no-follow        programs that PROGRAM executes run natively\n"
        "      --help, --version\n"
        "\n"
        "Sizes have suffixes K, M, G, T (powers of 1024). The exit status is PROGRAM's own;\n"
        "125: upage failed; 126: PROGRAM cannot be run; 127: it was not found.\n"
        "Example: upage run -m 8M --stats -- sort big.txt\n";

__attribute__((format(printf, 2, 3))) _Noreturn static void fail(int status, const char *format, ...)
{
	va_list arguments;
	fputs("upage: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(status);
}

/* ---- Options --------------------------------------------------------------------------------- */

struct command {
	struct upage_config config;
	bool follow;
	const char *own_name; /* of the program, where another command executed it */
	const char *words[64]; /* to be said again where the program executes another */
	size_t count;
};

static void keep(struct command *command, const char *word)
{
	if (command->count + 4 >= sizeof(command->words) / sizeof(command->words[0]))
		fail(EXIT_UPAGE, "more options than can be handed on");
	command->words[command->count++] = word;
}

/* One option, at @argv[at]. Return: how many words it took. */
static int take_option(struct command *command, char **argv, int at)
{
	char word[512];
	const char *option = argv[at], *name = option + 2, *value = strchr(option, '=');
	size_t length = value != NULL ? (size_t)(value - name) : strlen(name);
	int taken = 1;
	if (strcmp(option, "-m") == 0 || (option[1] == 'm' && option[0] == '-')) {
		name = "memory";
		length = strlen(name);
		value = option[2] != '\0' ? option + 1 : NULL; /* one before the value */
	} else if (strncmp(option, "--", 2) != 0) {
		fail(EXIT_UPAGE, "unknown option '%s'; 'upage run --help' lists them", option);
	}
	if (length == strlen("no-follow") && strncmp(name, "no-follow", length) == 0) {
		command->follow = false;
		return 1;
	}
	if (length == strlen("argv0") && strncmp(name, "argv0", length) == 0 && argv[at + 1] != NULL) {
		command->own_name = argv[at + 1];
		return 2;
	}
	snprintf(word, sizeof(word), "%.*s", (int)length, name);
	enum option_form form = options_form(word);
	if (strcmp(word, "intercept") == 0 || strcmp(word, "adopt-data") == 0)
		fail(EXIT_UPAGE, "'%s' is for programs linked with upage-malloc", option);
	if (form == OPTION_UNKNOWN || (form == OPTION_FLAG && value != NULL))
		fail(EXIT_UPAGE, form == OPTION_UNKNOWN
		                         ? "unknown option '%s'; 'upage run --help' lists them"
		                         : "'%s' takes no value", option);
	if (form == OPTION_WITH_VALUE) {
		if (value == NULL && argv[at + 1] == NULL)
			fail(EXIT_UPAGE, "'%s' needs a value", option);
		taken = value != NULL ? 1 : 2;
		snprintf(word + length, sizeof(word) - length, "=%s",
		         value != NULL ? value + 1 : argv[at + 1]);
	}
	if (options_word(&command->config, word) < 0)
		fail(EXIT_UPAGE, "%s", command->config.message);
	for (int i = 0; i < taken; i++)
		keep(command, argv[at + i]);
	return taken;
}

/* ---- The program's file ------------------------------------------------------------------------ */

/* As execvp(3) looks for it. Return: 0 or an exit status. */
static int find_program(const char *name, char *path, size_t size)
{
	const char *list = getenv("PATH");
	int status = EXIT_NOT_FOUND;
	if (strchr(name, '/') != NULL) {
		snprintf(path, size, "%s", name);
		return access(path, F_OK) == 0 ? 0 : EXIT_NOT_FOUND;
	}
	if (list == NULL)
		list = "/bin:/usr/bin";
	for (;;) {
		size_t length = strcspn(list, ":");
		struct stat file;
		snprintf(path, size, "%.*s%s%s", (int)length, list, length > 0 ? "/" : "./", name);
		if (stat(path, &file) == 0 && S_ISREG(file.st_mode)) {
			if (access(path, X_OK) == 0)
				return 0;
			status = EXIT_CANNOT;
		}
		if (list[length] == '\0')
			return status;
		list += length + 1;
	}
}

static int status_of(int error)
{
	return error == -ENOENT || error == -ENOTDIR ? EXIT_NOT_FOUND : EXIT_CANNOT;
}

/* ---- run ------------------------------------------------------------------------------------------ */

_Noreturn static void run(struct command *command, char **arguments)
{
	static struct loader loader;
	static char self[PATH_MAX];
	upage_pool *pool;
	int status = find_program(arguments[0], loader.path, sizeof(loader.path));
	if (status == EXIT_NOT_FOUND)
		fail(status, "%s: no such program", arguments[0]);
	if (status != 0)
		fail(status, "%s: permission denied", arguments[0]);
	loader.arguments = arguments;
	loader.environment = environ;
	if (command->own_name != NULL)
		arguments[0] = (char *)(uintptr_t)command->own_name;
	int result = loader_check(&loader);
	if (result < 0)
		fail(status_of(result), "%s", loader.message);

	const char *slash = strrchr(loader.path, '/');
	program_invocation_short_name = slash != NULL ? (char *)(uintptr_t)(slash + 1) : loader.path;
	result = upage_pool_create(&pool, &command->config);
	if (result < 0)
		fail(EXIT_UPAGE, "%s", command->config.message);
	result = whole_create(pool);
	if (result < 0)
		fail(EXIT_UPAGE, "no address space for the program: %s", upage_strerror(result));
	result = loader_load(&loader);
	if (result < 0)
		fail(status_of(result), "%s", loader.message);
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (length > 0 && command->follow) {
		keep(command, "--argv0");
		command->words[command->count] = NULL;
		whole_command = self;
		whole_words = command->words;
	}
	whole_program = loader.real_path;
	prctl(PR_SET_NAME, program_invocation_short_name);
	result = guest_run(pool, loader.entry, loader.stack);
	fail(EXIT_UPAGE, "system calls cannot be intercepted here (it takes Linux 5.11): %s",
	     upage_strerror(result));
}

int main(int argc, char **argv)
{
	static struct command command = { .config = UPAGE_CONFIG_INIT, .follow = true };
	int at = 2;
	if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
		printf("upage %s\n", upage_version());
		return 0;
	}
	if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
		fputs(help, stdout);
		return 0;
	}
	if (argc < 2 || strcmp(argv[1], "run") != 0)
		fail(EXIT_UPAGE, argc < 2 ? "a command is missing: run" : "unknown command '%s'; there is run",
		     argc < 2 ? "" : argv[1]);
	strcpy(command.config.prefetch, "auto");
	keep(&command, "upage");
	keep(&command, "run");
	while (at < argc && argv[at][0] == '-') {
		if (strcmp(argv[at], "--") == 0) {
			at++;
			break;
		}
		if (strcmp(argv[at], "--help") == 0) {
			fputs(help, stdout);
			return 0;
		}
		bool last = strcmp(argv[at], "--argv0") == 0;
		at += take_option(&command, argv, at);
		if (last)
			break;
	}
	if (at >= argc)
		fail(EXIT_UPAGE, "a program is missing; 'upage run --help' says more");
	run(&command, argv + at);
}
