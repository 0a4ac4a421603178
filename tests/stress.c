/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stress.c - many threads, little memory, every word checked against a shadow copy
 *
 * Each round makes a pool of few frames and a space with three kinds of memory:
 *
 *      common    one mapping that all threads use at once: line l of every page belongs to
 *                thread l % threads, so that threads meet on pages but never on words
 *      own       one mapping a thread, which it also unmaps, maps again, protects, drops,
 *                advises and pins (and then lets the kernel read and write it)
 *      file      one shared mapping of a file a thread, synced now and then; the file is
 *                compared at the end
 *
 * A word is 0 until it is first written; then it is a mix of its address and its version,
 * and the version is what the shadow copy keeps. A timer's signal handler writes to paged
 * memory meanwhile, and one more thread compacts at random moments. The round ends when it has seen its share of accesses and of major
 * faults; then everything is read once more, and no frame or slot may be missing.
 *
 * How pages are mapped, how many come in at once, where they go and who frees frames is chosen at random
 * in each round, by the seed, from all that there is (choices); --with has words for all rounds.
 *
 *      stress [--scale N] [--seed N] [--threads N] [--frames N] [--policy NAME] [--page-size SIZE]
 *             [--with WORDS]
 *
 * At scale 1 (make stress): at least 100 million accesses and 2 million major faults.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "upage.h"

#define RW (PROT_READ | PROT_WRITE)
#define ACCESSES UINT64_C(100000000)
#define MAJOR_FAULTS UINT64_C(2000000)
#define LINE 64           /* bytes */
#define VISIT 56          /* accesses to a page before the next one */
#define THREADS_MAX 64
#define OWN_LINES 4       /* lines of an own page that are used */

struct round {
	unsigned frames;
	const char *policy;
	const char *page_size;
};

/* Every policy, from the smallest memory that still lets eight threads move to one of 4,096
 * frames, and larger pages. */
static const struct round rounds[] = {
	{ 64, "clock", "4K" },  { 64, "fifo", "4K" },    { 256, "random", "4K" },
	{ 1024, "clock", "4K" }, { 4096, "clock", "4K" }, { 4096, "fifo", "4K" },
	{ 256, "clock", "16K" }, { 64, "random", "64K" },
};
#define ROUNDS (sizeof(rounds) / sizeof(rounds[0]))

/* One word of each line for each round. */
#define CHOICES_MAX 4
static const char *const choices[][CHOICES_MAX] = {
	{ "prefetch=off", "prefetch=auto", "prefetch=4", "prefetch=64" },
	{ "reclaimers=0", "reclaimers=1", "reclaimers=3" },
	{ "mapping=remap", "mapping=guard", "mapping=auto,mapping-budget=256" },
	{ "store=file", "store=file,direct",
#ifdef HAVE_LZ4
	  "store=lz4"
#endif
	},
};
#define CHOICES (sizeof(choices) / sizeof(choices[0]))

struct region {
	char *base;
	size_t pages;
	size_t lines; /* used in each page */
	uint32_t *version; /* [pages][lines]; 0: never written */
};

struct worker {
	pthread_t thread;
	unsigned number;
	uint64_t random;
	struct region common, own, file;
	int pipe[2];
	upage_store *store;
	FILE *backing;
};

static struct options {
	uint64_t scale, seed;
	unsigned threads, frames;
	const char *policy, *page_size, *with;
} options = { .scale = 1, .seed = 1, .threads = 8, .with = "" };

static upage_pool *pool;
static upage_space *space;
static size_t page_size;
static struct worker workers[THREADS_MAX];
static _Atomic uint64_t accesses;
static _Atomic bool stop;
static _Atomic uint64_t *signal_words; /* paged: a word a page */
static size_t signal_pages;
static _Atomic uint64_t signals_taken;

/* ---- Words ------------------------------------------------------------------------------- */

static void fail(const char *what)
{
	fprintf(stderr, "stress: %s\n", what);
	_exit(1);
}

static void must(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "stress: %s: %s\n", what, upage_strerror(result));
	_exit(1);
}

static uint64_t random_number(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint64_t expected(const volatile uint64_t *word, uint32_t version)
{
	return version == 0 ? 0 : (uint64_t)(uintptr_t)word * 0x9e3779b97f4a7c15u + version;
}

/* Line @line of a region's page, for this worker. Its last word is as good as any. */
static volatile uint64_t *word_of(const struct worker *w, const struct region *r, size_t page,
                                  size_t line)
{
	size_t place = line;
	if (r == &w->common)
		place = line * options.threads + w->number;
	return (volatile uint64_t *)(void *)(r->base + page * page_size + place * LINE);
}

static void mismatch(const struct worker *w, const volatile uint64_t *word, uint64_t found,
                     uint32_t version)
{
	fprintf(stderr, "stress: thread %u: word %p is %#llx, not %#llx (version %u)\n", w->number,
	        (void *)(uintptr_t)word, (unsigned long long)found,
	        (unsigned long long)expected(word, version), version);
	_exit(1);
}

static void check_word(const struct worker *w, const struct region *r, size_t page, size_t line)
{
	volatile uint64_t *word = word_of(w, r, page, line);
	uint32_t version = r->version[page * r->lines + line];
	uint64_t found = *word;
	if (found != expected(word, version))
		mismatch(w, word, found, version);
}

static void write_word(const struct worker *w, const struct region *r, size_t page, size_t line)
{
	volatile uint64_t *word = word_of(w, r, page, line);
	*word = expected(word, ++r->version[page * r->lines + line]);
}

static void visit(struct worker *w, const struct region *r, size_t page)
{
	uint64_t bits = random_number(&w->random);
	bool may_write = bits & 3; /* a quarter of the visits leave the page clean */
	for (unsigned i = 0; i < VISIT; i++) {
		size_t line = (size_t)(bits >> (i % 56)) % r->lines;
		if (may_write && i % 2 == 0)
			write_word(w, r, page, line);
		else
			check_word(w, r, page, line);
	}
	atomic_fetch_add_explicit(&accesses, VISIT, memory_order_relaxed);
}

/* ---- Operations on a part of the own mapping ------------------------------------------------ */

struct part {
	size_t first, pages;
};

static struct part random_part(struct worker *w)
{
	struct part part;
	part.first = random_number(&w->random) % w->own.pages;
	part.pages = 1 + random_number(&w->random) % 12;
	if (part.pages > w->own.pages - part.first)
		part.pages = w->own.pages - part.first;
	return part;
}

static void check_part(const struct worker *w, struct part part)
{
	for (size_t page = part.first; page < part.first + part.pages; page++)
		for (size_t line = 0; line < w->own.lines; line++)
			check_word(w, &w->own, page, line);
}

static void forget_part(struct worker *w, struct part part)
{
	memset(w->own.version + part.first * w->own.lines, 0,
	       part.pages * w->own.lines * sizeof(*w->own.version));
}

/* The kernel reads a word of a pinned page and writes it to another's line. */
static void pin_and_use(struct worker *w, struct part part)
{
	char *start = w->own.base + part.first * page_size;
	int result = upage_pin(space, start, part.pages * page_size, RW);
	if (result == UPAGE_EPINS)
		return; /* others hold them: allowed, and nothing of ours is pinned */
	must(result, "pin");
	for (size_t page = part.first; page < part.first + part.pages; page++) {
		volatile uint64_t *word = word_of(w, &w->own, page, 0);
		uint64_t copy = 0;
		write_word(w, &w->own, page, 0);
		if (write(w->pipe[1], (const void *)(uintptr_t)word, 8) != 8 ||
		    read(w->pipe[0], &copy, 8) != 8)
			fail("write(2) from a pinned page failed");
		if (copy != *word)
			fail("the kernel read something else from a pinned page");
		copy = expected(word, ++w->own.version[page * w->own.lines]);
		if (write(w->pipe[1], &copy, 8) != 8 ||
		    read(w->pipe[0], (void *)(uintptr_t)word, 8) != 8)
			fail("read(2) to a pinned page failed");
	}
	must(upage_unpin(space, start, part.pages * page_size), "unpin");
}

static void operate(struct worker *w)
{
	struct part part = random_part(w);
	char *start = w->own.base + part.first * page_size;
	size_t length = part.pages * page_size;
	void *again = start;
	switch (random_number(&w->random) % 9) {
	case 0:
		must(upage_unmap(space, start, length), "unmap");
		must(upage_map(space, &again, length, RW, UPAGE_MAP_FIXED, NULL, 0), "map");
		forget_part(w, part);
		check_part(w, part);
		break;
	case 1:
		must(upage_protect(space, start, length, PROT_READ), "protect");
		check_part(w, part);
		must(upage_protect(space, start, length, RW), "protect");
		break;
	case 2:
		must(upage_protect(space, start, length, PROT_NONE), "protect");
		must(upage_protect(space, start, length, RW), "protect");
		check_part(w, part);
		break;
	case 3:
		must(upage_advise(space, start, length, UPAGE_DONTNEED), "advise");
		forget_part(w, part);
		check_part(w, part);
		break;
	case 4:
		must(upage_advise(space, start, length, UPAGE_WILLNEED), "advise");
		check_part(w, part);
		break;
	case 5:
		must(upage_advise(space, start, length, UPAGE_SEQUENTIAL), "advise");
		break;
	case 6:
		must(upage_advise(space, start, length, UPAGE_NORMAL), "advise");
		break;
	case 7:
		must(upage_sync(space, w->file.base, w->file.pages * page_size), "sync");
		break;
	case 8:
		pin_and_use(w, part);
		break;
	}
}

static void *work(void *argument)
{
	struct worker *w = argument;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint64_t choice = random_number(&w->random);
		const struct region *r = choice % 8 < 5 ? &w->common : choice % 8 < 7 ? &w->own : &w->file;
		/* Half of the visits go to an eighth of the pages. */
		size_t pages = choice >> 8 & 1 ? r->pages : (r->pages + 7) / 8;
		visit(w, r, (size_t)(choice >> 16) % pages);
		if ((choice >> 10 & 63) == 0)
			operate(w);
	}
	return NULL;
}

/* Passes of any length, over memory in which some frames are free, and then some time without. */
static void *compact_now_and_then(void *argument)
{
	const struct region *common = argument;
	uint64_t random = options.seed;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		struct upage_compaction result = UPAGE_COMPACTION_INIT;
		size_t some = common->pages / 16 + 1, first = random_number(&random) % (common->pages - some);
		must(upage_advise(space, common->base + first * page_size, some * page_size, UPAGE_PAGEOUT),
		     "page out");
		result.max_moves = random_number(&random) % 200;
		must(upage_compact(pool, &result), "compact");
		if (result.max_moves != 0 && result.moves > result.max_moves)
			fail("more pages moved than were allowed");
		usleep((useconds_t)(random_number(&random) % 3000));
	}
	return NULL;
}

/* ---- A round ---------------------------------------------------------------------------------- */

static void on_timer(int number)
{
	(void)number;
	/* Two threads may be in here at once. */
	uint64_t nth = atomic_fetch_add(&signals_taken, 1);
	atomic_fetch_add(&signal_words[nth % signal_pages * page_size / sizeof(uint64_t)], 1);
}

static void timer(bool on)
{
	struct itimerval interval = { { 0, on ? 3000 : 0 }, { 0, on ? 3000 : 0 } };
	setitimer(ITIMER_REAL, &interval, NULL);
}

static void region_make(struct region *r, size_t pages, size_t lines, upage_store *store)
{
	void *base = NULL;
	unsigned flags = store != NULL ? UPAGE_MAP_SHARED : 0;
	must(upage_map(space, &base, pages * page_size, RW, flags, store, 0), "map");
	*r = (struct region){ base, pages, lines, calloc(pages * lines, sizeof(*r->version)) };
}

static void worker_make(struct worker *w, unsigned number, const struct region *common,
                        size_t frames)
{
	char name[] = "/tmp/upage-stress-XXXXXX";
	*w = (struct worker){ .number = number, .random = options.seed * 1000 + number };
	w->common = *common;
	w->common.version = calloc(common->pages * common->lines, sizeof(*common->version));
	int file = mkstemp(name);
	size_t file_pages = frames / 16 + 2;
	if (file < 0 || ftruncate(file, (off_t)(file_pages * page_size)) < 0 || pipe(w->pipe) < 0)
		fail("cannot make a file in /tmp");
	must(upage_store_open(&w->store, name, UPAGE_STORE_WRITABLE), "open");
	unlink(name);
	w->backing = fdopen(file, "r+");
	region_make(&w->own, frames / 8 + 8, OWN_LINES, NULL);
	region_make(&w->file, file_pages, OWN_LINES, w->store);
}

static void check_region(const struct worker *w, const struct region *r)
{
	for (size_t page = 0; page < r->pages; page++)
		for (size_t line = 0; line < r->lines; line++)
			check_word(w, r, page, line);
}

/* What is in the file itself, after the mapping is gone. */
static void check_file(const struct worker *w)
{
	char *page_buffer = malloc(page_size);
	for (size_t page = 0; page < w->file.pages; page++) {
		if (pread(fileno(w->backing), page_buffer, page_size, (off_t)(page * page_size)) !=
		    (ssize_t)page_size)
			fail("cannot read the mapped file");
		for (size_t line = 0; line < w->file.lines; line++) {
			const volatile uint64_t *word = word_of(w, &w->file, page, line);
			uint32_t version = w->file.version[page * w->file.lines + line];
			uint64_t found;
			memcpy(&found, page_buffer + line * LINE, sizeof(found));
			if (found != expected(word, version))
				mismatch(w, word, found, version);
		}
	}
	free(page_buffer);
}

static void worker_end(struct worker *w)
{
	check_region(w, &w->common);
	check_region(w, &w->own);
	check_region(w, &w->file);
	must(upage_unmap(space, w->own.base, w->own.pages * page_size), "unmap");
	must(upage_unmap(space, w->file.base, w->file.pages * page_size), "unmap");
	must(upage_store_close(w->store), "close");
	check_file(w);
	free(w->common.version);
	free(w->own.version);
	free(w->file.version);
	fclose(w->backing);
	close(w->pipe[0]);
	close(w->pipe[1]);
}

static struct upage_stats stats_now(void)
{
	struct upage_stats stats = { .size = sizeof(stats) };
	must(upage_stats_get(pool, &stats), "stats");
	return stats;
}

static void check_signal_words(void)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < signal_pages; i++)
		sum += atomic_load(&signal_words[i * page_size / sizeof(uint64_t)]);
	if (sum != signals_taken)
		fail("a signal handler's writes were lost");
}

static void run_until(uint64_t most_accesses, uint64_t most_major)
{
	bool terminal = isatty(2);
	struct upage_stats stats;
	do {
		usleep(10000);
		stats = stats_now();
		if (terminal)
			fprintf(stderr, "\r%5.1f million accesses, %8llu major faults ",
			        (double)accesses / 1e6, (unsigned long long)stats.major);
	} while (accesses < most_accesses || stats.major < most_major);
	if (terminal)
		fprintf(stderr, "\r%60s\r", "");
}

/* Whether the user has chosen. */
static bool is_given(const char *word)
{
	char key[32];
	snprintf(key, sizeof(key), "%.*s", (int)strcspn(word, "=") + 1, word);
	return strstr(options.with, key) != NULL;
}

/* Appends one word of each line of the choices. */
static void choose(char *words, size_t size, uint64_t *random)
{
	for (size_t i = 0; i < CHOICES; i++) {
		size_t count = 0, length = strlen(words);
		while (count < CHOICES_MAX && choices[i][count] != NULL)
			count++;
		const char *word = choices[i][random_number(random) % count];
		if (is_given(word)) /* a store may not go with its own "direct" */
			continue;
		snprintf(words + length, size - length, "%s%s", length > 0 ? "," : "", word);
	}
}

/* @chosen: words, those that the user gave last, so that they count. */
static struct upage_stats round_run(const struct round *round, const char *chosen)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	char words[512];
	snprintf(words, sizeof(words), "policy=%s,page-size=%s,seed=%llu,%s", round->policy,
	         round->page_size, (unsigned long long)options.seed, chosen);
	if (upage_config_parse(&config, words) < 0)
		fail(config.message);
	config.memory = round->frames * config.page_size;
	int made = upage_pool_create(&pool, &config);
	if (made == UPAGE_ENOTSUP && config.direct) { /* not every file system can */
		config.direct = false;
		made = upage_pool_create(&pool, &config);
	}
	if (made < 0)
		fail(config.message);
	must(upage_space_create(&space, pool, NULL), "space");
	page_size = upage_pool_page_size(pool);

	struct region common;
	region_make(&common, 2 * round->frames, page_size / LINE / options.threads, NULL);
	if (common.lines > 8)
		common.lines = 8;
	void *words_base = NULL;
	signal_pages = round->frames / 4;
	signals_taken = 0;
	must(upage_map(space, &words_base, signal_pages * page_size, RW, 0, NULL, 0), "map");
	signal_words = words_base;
	for (unsigned i = 0; i < options.threads; i++)
		worker_make(&workers[i], i, &common, round->frames);

	atomic_store(&accesses, 0);
	atomic_store(&stop, false);
	for (unsigned i = 0; i < options.threads; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			fail("cannot make a thread");
	pthread_t compactor;
	if (pthread_create(&compactor, NULL, compact_now_and_then, &common) != 0)
		fail("cannot make a thread");
	timer(true);
	run_until(ACCESSES / ROUNDS / options.scale + 1, MAJOR_FAULTS / ROUNDS / options.scale + 1);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < options.threads; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_join(compactor, NULL);
	timer(false);

	struct upage_stats stats = stats_now();
	must(upage_pool_verify(pool), "verify");
	check_signal_words();
	for (unsigned i = 0; i < options.threads; i++)
		worker_end(&workers[i]);
	must(upage_pool_verify(pool), "verify");
	must(upage_space_destroy(space), "destroy");
	struct upage_stats end = stats_now();
	if (end.frames_free != end.frames || end.swap_slots != 0 || end.frames_pinned != 0)
		fail("frames, slots or pins were lost");
	if (end.failed != 0 || end.protection != 0 || end.bounds != 0)
		fail("page faults were refused");
	must(upage_pool_destroy(pool), "destroy");
	free(common.version);
	return stats;
}

/* ---- The command line ------------------------------------------------------------------------- */

static uint64_t number_of(const char *name, const char *text, uint64_t least, uint64_t most)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);
	if (*text == '\0' || *end != '\0' || n < least || n > most) {
		fprintf(stderr, "stress: %s '%s': a number from %llu to %llu is right\n", name, text,
		        (unsigned long long)least, (unsigned long long)most);
		exit(2);
	}
	return n;
}

static void parse(int argc, char **argv)
{
	for (int i = 1; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		if (strcmp(argv[i], "--scale") == 0)
			options.scale = number_of(argv[i], value, 1, 1000000);
		else if (strcmp(argv[i], "--seed") == 0)
			options.seed = number_of(argv[i], value, 0, UINT32_MAX);
		else if (strcmp(argv[i], "--threads") == 0)
			options.threads = (unsigned)number_of(argv[i], value, 1, THREADS_MAX / 2);
		else if (strcmp(argv[i], "--frames") == 0)
			options.frames = (unsigned)number_of(argv[i], value, 16, 1 << 20);
		else if (strcmp(argv[i], "--policy") == 0)
			options.policy = value;
		else if (strcmp(argv[i], "--page-size") == 0)
			options.page_size = value;
		else if (strcmp(argv[i], "--with") == 0)
			options.with = value;
		else {
			fprintf(stderr,
			        "stress: unknown option '%s'; there are --scale, --seed, --threads, "
			        "--frames, --policy, --page-size, --with\n",
			        argv[i]);
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	uint64_t all_accesses = 0, all_major = 0;
	parse(argc, argv);
	uint64_t random = options.seed;
	struct sigaction action = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
	sigaction(SIGALRM, &action, NULL);
	for (size_t i = 0; i < ROUNDS; i++) {
		struct round round = rounds[i];
		round.frames = options.frames != 0 ? options.frames : round.frames;
		round.policy = options.policy != NULL ? options.policy : round.policy;
		round.page_size = options.page_size != NULL ? options.page_size : round.page_size;
		char words[400] = "";
		choose(words, sizeof(words), &random);
		if (options.with[0] != '\0')
			snprintf(words + strlen(words), sizeof(words) - strlen(words), ",%s", options.with);
		struct upage_stats stats = round_run(&round, words);
		printf("%4u frames of %3s, %-6s: %10llu accesses, %7llu major faults, %7llu soft, "
		       "%7llu evictions, %7llu write-backs, %7llu moves, %4llu signals; %s\n",
		       round.frames, round.page_size, round.policy, (unsigned long long)accesses,
		       (unsigned long long)stats.major, (unsigned long long)stats.soft,
		       (unsigned long long)stats.evictions, (unsigned long long)stats.writebacks,
		       (unsigned long long)stats.moves,
		       (unsigned long long)signals_taken, words);
		fflush(stdout);
		all_accesses += accesses;
		all_major += stats.major;
	}
	printf("%llu accesses and %llu major faults: every word was right, no frame was lost\n",
	       (unsigned long long)all_accesses, (unsigned long long)all_major);
	return 0;
}
