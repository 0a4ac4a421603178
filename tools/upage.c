/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * upage.c - the command: `upage run`, whole unmodified programs inside paged memory; and, in
 * translate.c, `upage translate`
 *
 * It is linked statically and stands high in the address space; the program gets all of the low
 * part, in which every page is ours. Exit statuses are those of env(1): 125 for a failure of upage
 * itself, 126 for a program that cannot be run, 127 for one that is not there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "error.h"
#include "guest/gain.h"
#include "guest/guest.h"
#include "guest/limit.h"
#include "guest/loader.h"
#include "guest/process.h"
#include "guest/relocate.h"
#include "guest/self.h"
#include "guest/verbose.h"
#include "guest/whole.h"
#include "host.h"
#include "options.h"
#include "report.h"
#include "signals.h"
#include "upage.h"

enum { EXIT_UPAGE = 125, EXIT_CANNOT = 126, EXIT_NOT_FOUND = 127 };

extern char **environ;

static const char help[] =
        "usage: upage run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
        "       upage translate [OPTION]... FILE [ADDRESS]...     (upage translate --help)\n"
        "\n"
        "Run runs PROGRAM, as it is, in paged memory of a chosen size, and all that it executes.\n"
        "\n"
        "Memory, of each process:\n"
        "  -m, --memory SIZE        bytes of frames (default 256M)\n"
        "      --page-size SIZE     4K; whole programs have no larger ones yet\n"
        "\n"
        "      --scheme NAME        how addresses are translated: paging, segmentation, base-bounds\n"
        "                           (default paging)\n"
        "      --bounds SIZE        with base-bounds: the size of the space (default: half of memory)\n"
        "      --compact            every 100 ms something is relocated: a run, or 64 pages\n"
        "\n"
        "Replacement:\n"
        "      --policy NAME        who is evicted: clock, fifo, random (default clock)\n"
        "      --seed N             of the random policy\n"
        "\n"
        "Where evicted pages go:\n"
        "      --store file[:PATH]  a directory, a new name, a block device (default: $TMPDIR or /tmp);\n"
        "                           with ,direct behind it past the host's page cache\n"
        "      --store lz4          memory, in which they are compressed\n"
        "      --swap-size SIZE     the most that may be swapped out (default: what fits; of lz4: half of the\n"
        "                           machine's memory)\n"
        "      --overcommit         with --swap-size: map more than memory and swap can hold\n"
        "\n"
        "How pages come in and are shown:\n"
        "      --prefetch auto|off|N  most pages that one fault brings in while frames are plenty\n"
        "      --reclaimers auto|N  threads that free frames ahead of need (default auto: none)\n"
        "      --mapping auto|remap\n"
        "      --mapping-budget N   the most host mappings\n"
        "\n"
        "How system calls of PROGRAM reach upage:\n"
        "      --patch auto|on|off  on: its code is changed where it makes many (default auto: on)\n"
        "\n"
        "What stray stores of PROGRAM can harm:\n"
        "      --guard-metadata     page tables and the like are out of its reach\n"
        "\n"
        "What is said about it, on stderr or in a file:\n"
        "      --stats              a table at the end\n"
        "      --stats-json FILE    the same as JSON; with %p, the process id, a file for each process\n"
        "      --verbose            which programs are run, which system calls are refused\n"
        "\n"
        "      --no-follow          programs that PROGRAM executes run natively\n"
        "      --help, --version\n"
        "\n"
        "Sizes have suffixes K, M, G, T (powers of 1024). The exit status is PROGRAM's own;\n"
        "125: upage failed; 126: PROGRAM cannot be run; 127: it was not found; 128+N: signal N.\n"
        "Example: upage run -m 8M --stats -- sort big.txt\n";

void fail(int status, const char *format, ...)
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
	bool follow, verbose;
	bool resumes; /* a program of this command's has executed another; `resume` tells */
	uint64_t resume[RESUMES];
	const char *locked; /* and these descriptors, of files with record locks */
	const char *words[64]; /* to be said again where the program executes another */
	size_t count;
};

__attribute__((format(printf, 2, 3))) static void keep(struct command *command, const char *format, ...)
{
	char *word;
	va_list arguments;
	if (command->count + 1 >= sizeof(command->words) / sizeof(command->words[0]))
		fail(EXIT_UPAGE, "more options than can be handed on");
	va_start(arguments, format);
	if (vasprintf(&word, format, arguments) < 0)
		fail(EXIT_UPAGE, "out of memory");
	va_end(arguments);
	command->words[command->count++] = word;
}

/* What is planned, and what there is. */
static const struct {
	const char *name, *instead;
} planned[] = {
	{ "page-table", "there is a radix tree" },
	{ "inject", "nothing is injected" },
	{ "trace", "there are --stats and --stats-json" },
};

static const char *const names[] = { "memory",   "page-size",      "policy",     "seed",
	                             "store",    "direct", "swap-size",      "overcommit", "mapping",
	                             "stats",    "mapping-budget", "stats-json", "verbose",
	                             "no-follow", "prefetch",      "help",       "version",
	                             "scheme",    "bounds",        "compact",
	                             "guard-metadata", "reclaimers", "patch" };

/* How many letters have to be changed, taken out or put in to make one word of another. */
static size_t distance(const char *a, const char *b)
{
	size_t row[64], length = strlen(b);
	if (length >= 64)
		return 64;
	for (size_t j = 0; j <= length; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t diagonal = row[0];
		row[0] = i + 1;
		for (size_t j = 1; j <= length; j++) {
			size_t change = diagonal + (a[i] != b[j - 1]);
			diagonal = row[j];
			size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
			row[j] = change < step ? change : step;
		}
	}
	return row[length];
}

_Noreturn static void refuse_option(const char *option, const char *name)
{
	const char *nearest = NULL;
	size_t least = 3;
	for (size_t i = 0; i < sizeof(planned) / sizeof(planned[0]); i++)
		if (strcmp(name, planned[i].name) == 0)
			fail(EXIT_UPAGE, "'%s' is not there yet: %s", option, planned[i].instead);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t far = distance(name, names[i]);
		if (far < least && far < strlen(name)) {
			least = far;
			nearest = names[i];
		}
	}
	if (nearest != NULL)
		fail(EXIT_UPAGE, "unknown option '%s'; did you mean --%s?", option, nearest);
	fail(EXIT_UPAGE, "unknown option '%s'; 'upage run --help' lists them", option);
}

/* A path of an option means the same to programs executed elsewhere. */
static void make_absolute(char *path, size_t size, const char *option)
{
	char *directory, *whole;
	if (path[0] == '/' || path[0] == '\0')
		return;
	directory = getcwd(NULL, 0);
	if (directory == NULL || directory[0] != '/')
		fail(EXIT_UPAGE, "'%s': the working directory has no name: %s", option, error_words(errno));
	if (asprintf(&whole, "%s/%s", directory, path) < 0 || strlen(whole) >= size)
		fail(EXIT_UPAGE, "'%s': with the working directory, it is longer than %zu bytes", option,
		     size - 1);
	strcpy(path, whole);
	free(whole);
	free(directory);
}

/* Takes one word of the configuration, "name=value" or "name", and keeps it. */
static void take_word(struct command *command, const char *word, const char *option)
{
	struct upage_config *config = &command->config;
	if (options_word(config, word) < 0)
		fail(EXIT_UPAGE, "%s", config->message);
	/* Mappings of whole programs begin at any host page. */
	if (config->page_size > HOST_PAGE_SIZE)
		fail(EXIT_UPAGE, "'%s': whole programs have pages of 4K; larger ones are not there yet", word);
	if (strncmp(word, "stats-json=", 11) == 0) {
		make_absolute(config->stats_json, sizeof(config->stats_json), option);
		keep(command, "--stats-json=%s", config->stats_json);
	} else if (strncmp(word, "store=file:", 11) == 0) {
		make_absolute(config->store + 5, sizeof(config->store) - 5, option);
		keep(command, "--store=%s", config->store);
	} else {
		keep(command, "--%s", word);
	}
}

static void take_resume(struct command *command, const char *numbers)
{
	char *end = (char *)(uintptr_t)numbers;
	for (unsigned i = 0; i < RESUMES; i++) {
		command->resume[i] = strtoull(end, &end, 10);
		if (*end != ',' && (i + 1 < RESUMES || *end != '\0'))
			fail(EXIT_UPAGE, "'--resume=%s' is for upage itself", numbers);
		command->locked = end;
		end++;
	}
	command->resumes = true;
}

/* The options that are this command's, and no configuration's. */
static bool take_own(struct command *command, const char *option)
{
	bool verbose = strcmp(option, "--verbose") == 0;
	if (verbose || strcmp(option, "--no-follow") == 0) {
		command->verbose = command->verbose || verbose;
		command->follow = command->follow && verbose;
		keep(command, "%s", option);
		return true;
	}
	if (strcmp(option, "--help") == 0) {
		fputs(help, stdout);
		exit(0);
	}
	if (strcmp(option, "--version") == 0) {
		printf("upage %s\n", upage_version());
		exit(0);
	}
	if (strncmp(option, "--resume=", 9) != 0)
		return false;
	take_resume(command, option + 9);
	return true;
}

/* One option, at @argv[at]. Return: how many words it took. */
static int take_option(struct command *command, char **argv, int at)
{
	char word[512];
	const char *option = argv[at], *name = option + 2, *value = strchr(option, '=');
	size_t length = value != NULL ? (size_t)(value - name) : strlen(name);
	int taken = 1;
	if (option[1] == 'm') {
		name = "memory";
		length = strlen(name);
		value = option[2] != '\0' ? option + 1 : NULL; /* one before the value */
	} else if (strncmp(option, "--", 2) != 0) {
		fail(EXIT_UPAGE, "unknown option '%s'; 'upage run --help' lists them", option);
	}
	if (take_own(command, option))
		return 1;
	snprintf(word, sizeof(word), "%.*s", (int)length, name);
	enum option_form form = options_form(word);
	if (strcmp(word, "intercept") == 0 || strcmp(word, "adopt-data") == 0)
		fail(EXIT_UPAGE, "'%s' is for programs linked with upage-malloc", option);
	if (form == OPTION_UNKNOWN)
		refuse_option(option, word);
	if (form == OPTION_FLAG && value != NULL)
		fail(EXIT_UPAGE, "'%s' takes no value", option);
	if (form == OPTION_WITH_VALUE) {
		if (value == NULL && argv[at + 1] == NULL)
			fail(EXIT_UPAGE, "'%s' needs a value", option);
		taken = value != NULL ? 1 : 2;
		snprintf(word + length, sizeof(word) - length, "=%s",
		         value != NULL ? value + 1 : argv[at + 1]);
	}
	take_word(command, word, option);
	return taken;
}

/* ---- The program's file ------------------------------------------------------------------------ */

/* As execvp(3) looks for it. */
static void find_file(const char *name, char *path, size_t size)
{
	const char *list = getenv("PATH");
	bool denied = false;
	if (strchr(name, '/') != NULL) {
		snprintf(path, size, "%s", name);
		return;
	}
	if (list == NULL)
		list = "/bin:/usr/bin";
	for (bool more = name[0] != '\0'; more; list++) {
		size_t length = strcspn(list, ":");
		struct stat file;
		snprintf(path, size, "%.*s%s%s", (int)length, list, length > 0 ? "/" : "./", name);
		if (stat(path, &file) == 0 && S_ISREG(file.st_mode)) {
			if (access(path, X_OK) == 0)
				return;
			denied = true;
		}
		list += length;
		more = list[0] != '\0';
	}
	if (denied)
		fail(EXIT_CANNOT, "%s: permission denied", name);
	fail(EXIT_NOT_FOUND, "%s: no such program", name);
}

_Noreturn static void fail_program(const struct loader *loader, int error)
{
	const struct program *program = &loader->program;
	const char *why = program->why != NULL ? program->why : error_words(-error);
	fail(error == -ENOENT || error == -ENOTDIR ? EXIT_NOT_FOUND : EXIT_CANNOT, "%s: %s",
	     program->culprit, why);
}

/* Fills all of @loader that says what is run. */
static void find_program(struct loader *loader, char **arguments)
{
	static char path[PATH_MAX];
	struct program *program = &loader->program;
	find_file(arguments[0], path, sizeof(path));
	int result = program_find(program, AT_FDCWD, path, 0, path);
	if (result < 0)
		fail_program(loader, result);
	if (program_is_privileged(program))
		fail(EXIT_CANNOT, "%s: it is set-uid, set-gid or has capabilities: its rights would be "
		                  "those of upage, which has none", path);
	loader->name = path;
	loader->arguments = arguments;
	if (program->words == 0)
		return;
	size_t count = 0, at = 0;
	while (arguments[count] != NULL)
		count++;
	loader->arguments = calloc(program->words + count, sizeof(*arguments));
	if (loader->arguments == NULL)
		fail(EXIT_UPAGE, "out of memory");
	for (size_t i = 0; i < program->words; i++)
		loader->arguments[at++] = (char *)(uintptr_t)program->word[i];
	memcpy(loader->arguments + at, arguments + 1, count * sizeof(*arguments));
}

/* As the kernel names a process: by what was executed. One executed by its descriptor has only the
 * name of its file. */
static char *short_name(const struct loader *loader)
{
	static char link[PATH_MAX];
	const char *name = loader->name;
	if (strncmp(name, "/dev/fd/", 8) == 0 && strchr(name + 8, '/') == NULL) {
		char own[PROGRAM_LINK];
		program_link(own, "/proc/self/fd/", loader->program.image.descriptor);
		ssize_t length = readlink(own, link, sizeof(link) - 1);
		link[length > 0 ? length : 0] = '\0';
		char *deleted = strstr(link, " (deleted)");
		if (deleted != NULL)
			*deleted = '\0';
		name = link;
	}
	const char *slash = strrchr(name, '/');
	return (char *)(uintptr_t)(slash != NULL ? slash + 1 : name);
}

/* ---- run ------------------------------------------------------------------------------------------ */

static int resumed(const struct command *command, enum process_resume what)
{
	return command->resumes && command->resume[what] != RESUME_NONE ? (int)command->resume[what] : -1;
}

static void set_stack_limit(uint64_t bytes)
{
	struct rlimit limit;
	getrlimit(RLIMIT_STACK, &limit);
	limit.rlim_cur = bytes;
	setrlimit(RLIMIT_STACK, &limit);
}

/* A stack without end would push this command down to where the program goes: so it has one while the
 * kernel executes this command once more. */
static void bound_stack(const struct command *command, int count, char **argv)
{
	struct rlimit limit;
	if (command->resumes && command->resume[RESUME_STACK] != RESUME_NONE)
		set_stack_limit(command->resume[RESUME_STACK]);
	if (command->resumes || getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur <= STACK_LIMIT_MOST)
		return;
	char word[16 + 21 * RESUMES] = "--resume=";
	char **words = calloc((size_t)count + 2, sizeof(*words));
	for (unsigned i = 0; i < RESUMES; i++) {
		uint64_t number = i == RESUME_STACK ? limit.rlim_cur : i == RESUME_FIRST ? 1 : RESUME_NONE;
		sprintf(word + strlen(word), "%s%llu", i > 0 ? "," : "", (unsigned long long)number);
	}
	if (words == NULL)
		fail(EXIT_UPAGE, "out of memory");
	memcpy(words, argv, 2 * sizeof(*words));
	words[2] = word;
	memcpy(words + 3, argv + 2, ((size_t)count - 1) * sizeof(*words));
	set_stack_limit(STACK_LIMIT_USUAL);
	execve("/proc/self/exe", words, environ);
	fail(EXIT_UPAGE, "a stack without limit (ulimit -s) does not go here, and /proc/self/exe cannot be "
	                 "executed to change it: %s", error_words(errno));
}

/* The program's own limits of addresses and data; the kernel's are as high as they can be. */
static void take_limit(const struct command *command, enum limit which, int resource,
                       enum process_resume soft, uint64_t needed)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	const char *option = resource == RLIMIT_AS ? "AS (ulimit -v)" : "DATA (ulimit -d)";
	getrlimit(resource, &limit);
	if (limit.rlim_max < needed)
		fail(EXIT_UPAGE, "RLIMIT_%s has a hard limit of %llu KiB; upage needs %llu KiB, most of it only "
		                 "addresses, and keeps a soft limit itself", option,
		     (unsigned long long)limit.rlim_max >> 10, (unsigned long long)needed >> 10);
	if (command->resumes && command->resume[soft] != RESUME_NONE)
		limit_begin(which, command->resume[soft], command->resume[soft + 1]);
	else
		limit_begin(which, limit.rlim_cur, limit.rlim_max);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(resource, &limit);
}

/* Makes the pool and the space. */
static upage_pool *make_memory(struct command *command)
{
	upage_pool *pool;
	const size_t memory = command->config.memory != 0 ? command->config.memory : (size_t)256 << 20;
	const uint64_t own = ((uint64_t)64 << 20) + command->config.memory / 8;
	take_limit(command, LIMIT_AREAS, RLIMIT_AS, RESUME_AREAS,
	           WHOLE_END + ((uint64_t)1 << 36) + command->config.memory);
	take_limit(command, LIMIT_DATA, RLIMIT_DATA, RESUME_DATA, own);
	if (command->resumes && command->resume[RESUME_FILE] != RESUME_NONE)
		limit_begin(LIMIT_FILE, RLIM_INFINITY, command->resume[RESUME_FILE_HARD]);
	gain_begin(resumed(command, RESUME_GAIN));
	const struct report_legacy legacy = { .area = resumed(command, RESUME_AREA),
		                              .terminal = resumed(command, RESUME_TERMINAL),
		                              .first = resumed(command, RESUME_FIRST) != 0 };
	report_inherit(&legacy);
	/* Counted once: what is executed from here begins as this does. */
	if (command->config.mapping_budget == 0) {
		command->config.mapping_budget = host_mapping_budget();
		keep(command, "--mapping-budget=%llu", (unsigned long long)command->config.mapping_budget);
	}
	/* What the program maps of files, with what protection, takes host mappings in any case. */
	if (strcmp(command->config.mapping, "guard") == 0)
		fail(EXIT_UPAGE, "mapping=guard: for the memory of a whole program there are auto and remap");
	if (command->config.mapping[0] == '\0' || strcmp(command->config.mapping, "auto") == 0)
		strcpy(command->config.mapping, "remap");
	if (command->config.bounds == 0 && strcmp(command->config.scheme, "base-bounds") == 0)
		command->config.bounds = host_page_down(memory / 2);
	int result = upage_pool_create(&pool, &command->config);
	if (result < 0)
		fail(EXIT_UPAGE, "%s", command->config.message);
	result = whole_create(pool);
	if (result < 0)
		fail(EXIT_UPAGE, "no address space for the program: %s", upage_strerror(result));
	if (command->config.compact)
		relocate_begin(whole_space);
	for (char *next = (char *)(uintptr_t)command->locked; next != NULL && *next == ',';)
		whole_file_take((int)strtoul(next + 1, &next, 10));
	return pool;
}

/* What the program executes is to come back here. */
static void follow(struct command *command)
{
	int self = resumed(command, RESUME_COMMAND);
	if (self < 0)
		self = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (self < 0 || host_keep(&process_command, self) < 0)
		fail(EXIT_UPAGE, "/proc/self/exe cannot be opened, which --no-follow does without: %s",
		     error_words(errno));
	command->words[command->count] = NULL;
	process_words = command->words;
}

static void log_begin(const struct command *command, const struct loader *loader)
{
	const char *interpreter = loader->program.interpreter.descriptor >= 0 ? loader->program.path : "";
	if (!command->verbose)
		return;
	int file = resumed(command, RESUME_VERBOSE);
	if (file < 0)
		file = fcntl(2, F_DUPFD_CLOEXEC, 0);
	if (file < 0)
		return;
	verbose_begin(file, program_invocation_short_name);
	verbose_say("runs ", loader->name, interpreter[0] != '\0' ? ", loaded by " : "", interpreter,
	            loader->program.words > 0 ? ", the interpreter is " : "",
	            loader->program.words > 0 ? loader->program.word[0] : "", NULL);
}

/* Takes page faults, for which SIGSEGV must not be blocked: the program may have been given it so. */
static int load(struct loader *loader)
{
	signal_mask before = signals_block();
	signals_set(before & ~SIGNAL_BIT(SIGSEGV));
	int result = loader_load(loader);
	signals_set(before);
	return result;
}

/* Inside another `upage run` all is paged already: the program is executed, and its options hold. */
_Noreturn static void pass_on(const struct command *command, char **arguments)
{
	char path[PATH_MAX];
	find_file(arguments[0], path, sizeof(path));
	if (command->verbose || command->config.stats || command->config.stats_json[0] != '\0')
		fprintf(stderr, "upage: this is inside another upage run, whose options hold\n");
	execve(path, arguments, environ);
	bool missing = errno == ENOENT || errno == ENOTDIR;
	fail(missing ? EXIT_NOT_FOUND : EXIT_CANNOT, "%s: %s", arguments[0],
	     missing ? "no such program" : error_words(errno));
}

_Noreturn static void run(struct command *command, char **arguments)
{
	static struct loader loader;
	int result = 0, given = resumed(command, RESUME_PROGRAM);
	loader.environment = environ;
	if (given >= 0) {
		loader.name = arguments[0];
		loader.arguments = arguments + 1;
		result = program_take(&loader.program, given);
		if (result < 0)
			fail_program(&loader, result);
	} else {
		find_program(&loader, arguments);
	}
	program_invocation_short_name = short_name(&loader);
	log_begin(command, &loader);
	upage_pool *pool = make_memory(command);
	result = load(&loader);
	if (result < 0)
		fail(EXIT_CANNOT, "%s", loader.message);
	if (command->follow)
		follow(command);
	self_begin(host_copy_descriptor(loader.program.image.descriptor));
	program_close(&loader.program);
	loader_present(&loader);
	prctl(PR_SET_NAME, program_invocation_short_name);
	result = guest_run(pool, loader.entry, loader.stack);
	fail(EXIT_UPAGE, "system calls cannot be intercepted here (it takes Linux 5.11): %s",
	     upage_strerror(result));
}

int main(int argc, char **argv)
{
	static struct command command = { .config = UPAGE_CONFIG_INIT, .follow = true };
	int at = 2;
	strcpy(command.config.prefetch, "auto");
	if (argc >= 2 && argv[1][0] == '-' && take_own(&command, argv[1]))
		return EXIT_UPAGE;
	if (argc >= 2 && strcmp(argv[1], "translate") == 0)
		return translate_command(argc - 1, argv + 1);
	if (argc < 2)
		fail(EXIT_UPAGE, "a command is missing: run or translate");
	if (strcmp(argv[1], "run") != 0)
		fail(EXIT_UPAGE, "unknown command '%s'; there are run and translate", argv[1]);
	keep(&command, "upage");
	keep(&command, "run");
	while (at < argc && argv[at][0] == '-' && argv[at][1] != '\0') {
		if (strcmp(argv[at], "--") == 0) {
			at++;
			break;
		}
		at += take_option(&command, argv, at);
		if (resumed(&command, RESUME_PROGRAM) >= 0)
			break; /* the rest is the program's */
	}
	if (at >= argc)
		fail(EXIT_UPAGE, "a program is missing; 'upage run --help' says more");
	if (host_is_paged())
		pass_on(&command, argv + at);
	bound_stack(&command, argc, argv);
	run(&command, argv + at);
}
