/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sqlite_heap.c - an unchanged SQLite whose heap is four times as large as memory
 *
 * libsqlite3 keeps an in-memory database of what this machine's package manager knows, and
 * answers queries: indices, joins, big sorts, window functions, updates, an integrity check.
 * It does so twice, each time in a fresh process: natively, and with its allocator replaced,
 * through SQLite's own hook for that, by a heap of paged memory a quarter as large as what
 * the native run needed. Both runs must write the same results, byte for byte. How much
 * memory the paged run really holds is read from outside, in /proc.
 *
 * Run:    ./sqlite_heap            two runs at 256 MiB of tables
 *         ./sqlite_heap --quick    at 48 MiB
 *         UPAGE_OPTIONS=policy=fifo,stats ./sqlite_heap --fraction 8
 * Build:  cc -std=c11 -D_GNU_SOURCE sqlite_heap.c -lupage -lsqlite3 -pthread
 *
 * The one rule that paged memory brings: the kernel does not take our faults, so no system
 * call may be handed an address of SQLite's heap. SQLite makes none of its own on its heap as
 * long as it needs no file and waits for no lock (see open_database()); this program copies
 * what SQLite returns before it writes it (see put()).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "upage.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define WALK_ROOT "/usr/share"
#define SAMPLE_NS 20000000 /* between two looks at the paged run */
#define SHMEM_SLACK (2 * MIB)

enum kind { PARENT, NATIVE, PAGED };
static const char *const kind_names[] = { "parent", "native", "paged" };

struct options {
	uint64_t heap;     /* bytes that SQLite's heap is to have, with its indices */
	uint64_t fraction; /* memory is the footprint divided by this */
	bool keep;
	const char *dpkg;
	/* of workers only */
	enum kind kind;
	int results;     /* descriptor that query results go to */
	int report;      /* descriptor that a struct report goes to */
	uint64_t rows;   /* load this many file rows, the native run's; 0: go by heap */
	uint64_t memory; /* bytes of frames */
};

/* What a worker tells the parent. Both are the same program, so a plain struct will do. */
struct report {
	uint64_t from_dpkg, copies;
	uint64_t packages, depends, files; /* of the first copy: what the machine has */
	uint64_t rows, file_rows;          /* loaded in all */
	uint64_t loaded, highwater;        /* bytes of SQLite's heap: after loading, at most */
	uint64_t ns;
	uint64_t memory, heap_mapped, swap_peak; /* of the paged run */
	struct upage_stats stats;
};

static const char *role = "sqlite_heap";
static bool show_progress;

static void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void usage_error(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void complain(const char *format, va_list arguments)
{
	char line[2048]; /* an argument may lie in paged memory: stdio must not write from there */

	vsnprintf(line, sizeof(line), format, arguments);
	fprintf(stderr, "%s%s: %s\n", show_progress ? "\r\033[K" : "", role, line);
}

static void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complain(format, arguments);
	va_end(arguments);
	exit(1);
}

static void usage_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complain(format, arguments);
	va_end(arguments);
	fprintf(stderr, "Try --help.\n");
	exit(2);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- SQLite's allocator: seven functions in front of upage_heap ----------------------- */

static upage_heap *sqlite_heap; /* the methods have no context argument */

static void *heap_malloc(int size)
{
	return upage_heap_allocate(sqlite_heap, (size_t)size);
}

static void heap_free(void *block)
{
	upage_heap_free(sqlite_heap, block);
}

static void *heap_realloc(void *block, int size)
{
	return upage_heap_resize(sqlite_heap, block, (size_t)size);
}

static int heap_size(void *block)
{
	size_t size = upage_heap_block_size(sqlite_heap, block);

	return size > INT_MAX ? INT_MAX : (int)size;
}

static int heap_roundup(int size)
{
	return (size + 7) & ~7;
}

static int heap_init(void *heap)
{
	sqlite_heap = heap;
	return SQLITE_OK;
}

static void heap_shutdown(void *heap)
{
	(void)heap;
	sqlite_heap = NULL;
}

/* ---- The paged memory of the paged run ------------------------------------------------ */

struct paging {
	upage_pool *pool;
	upage_space *space;
	upage_heap *heap;
	uint64_t memory;
	uint64_t heap_mapped, swap_peak; /* the most that paging_look() saw */
};

static void check(int result, const char *what)
{
	if (result)
		die("%s: %s", what, upage_strerror(result));
}

static void paging_open(struct paging *paging, uint64_t memory)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	char words[64];

	snprintf(words, sizeof(words), "memory=%" PRIu64, memory);
	check(upage_config_parse(&config, words), config.message);
	check(upage_config_environment(&config), config.message); /* the user has the last word */
	paging->memory = config.memory;
	check(upage_pool_create(&paging->pool, &config), config.message);
	check(upage_space_create(&paging->space, paging->pool, NULL), "upage_space_create");
	check(upage_heap_create(&paging->heap, paging->space), "upage_heap_create");

	sqlite3_mem_methods methods = {
		.xMalloc = heap_malloc,
		.xFree = heap_free,
		.xRealloc = heap_realloc,
		.xSize = heap_size,
		.xRoundup = heap_roundup,
		.xInit = heap_init,
		.xShutdown = heap_shutdown,
		.pAppData = paging->heap,
	};
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
		die("sqlite3_config(SQLITE_CONFIG_MALLOC) failed");
}

static void paging_look(struct paging *paging)
{
	struct upage_stats stats = { .size = sizeof(stats) };

	if (!paging->pool)
		return;
	check(upage_stats_get(paging->pool, &stats), "upage_stats_get");
	if (stats.swap_slots > paging->swap_peak)
		paging->swap_peak = stats.swap_slots;
	if (upage_heap_mapped(paging->heap) > paging->heap_mapped)
		paging->heap_mapped = upage_heap_mapped(paging->heap);
}

static void paging_close(struct paging *paging, struct report *report)
{
	report->memory = paging->memory;
	report->heap_mapped = paging->heap_mapped;
	report->swap_peak = paging->swap_peak;
	report->stats.size = sizeof(report->stats);
	check(upage_stats_get(paging->pool, &report->stats), "upage_stats_get");
	check(upage_heap_destroy(paging->heap), "upage_heap_destroy");
	check(upage_space_destroy(paging->space), "upage_space_destroy");
	check(upage_pool_destroy(paging->pool), "upage_pool_destroy");
}

/* ---- Results: copied out of SQLite's heap, then written -------------------------------- */

static struct {
	int descriptor;
	size_t used;
	char bytes[1 << 16];
} out;

static void flush(void)
{
	for (size_t done = 0; done < out.used;) {
		ssize_t n = write(out.descriptor, out.bytes + done, out.used - done);

		if (n < 0 && errno != EINTR)
			die("cannot write the results: %s", strerror(errno));
		done += n > 0 ? (size_t)n : 0;
	}
	out.used = 0;
}

/* @text may be paged memory: memcpy() can fault there, write(2) would fail with EFAULT. */
static void put(const char *text, size_t length)
{
	while (length) {
		size_t n = sizeof(out.bytes) - out.used;

		if (n > length)
			n = length;
		memcpy(out.bytes + out.used, text, n);
		out.used += n;
		text += n;
		length -= n;
		if (out.used == sizeof(out.bytes))
			flush();
	}
}

static void put_string(const char *text)
{
	put(text, strlen(text));
}

/* ---- The database ---------------------------------------------------------------------- */

struct database {
	sqlite3 *db;
	sqlite3_stmt *package, *depend, *file; /* INSERT statements */
	const struct options *options;
	struct report *report;
	struct paging *paging;
	unsigned copy;
	bool full;
};

static void progress(struct database *d, const char *what)
{
	paging_look(d->paging);
	if (show_progress)
		fprintf(stderr, "\r\033[K%s: %" PRIu64 " rows, %" PRIu64 " MiB: %s", role,
		        d->report->rows, (uint64_t)sqlite3_memory_used() / MIB, what);
}

static void check_sql(struct database *d, int result, const char *what)
{
	if (result != SQLITE_OK && result != SQLITE_ROW && result != SQLITE_DONE)
		die("%s: %s", what, d->db ? sqlite3_errmsg(d->db) : sqlite3_errstr(result));
}

static void run_sql(struct database *d, const char *sql)
{
	check_sql(d, sqlite3_exec(d->db, sql, NULL, NULL, NULL), sql);
}

static sqlite3_stmt *prepare(struct database *d, const char *sql)
{
	sqlite3_stmt *statement;

	check_sql(d, sqlite3_prepare_v2(d->db, sql, -1, &statement, NULL), sql);
	return statement;
}

static void open_database(struct database *d)
{
	/* One thread: so no lock of SQLite's, which lie in its heap, is ever waited for. */
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 1); /* sqlite3_memory_used() is to count */
	check_sql(d, sqlite3_open(":memory:", &d->db), "sqlite3_open");
	/* Sorts and temporary tables stay in the heap: a file would be written from it. */
	run_sql(d, "PRAGMA temp_store = MEMORY; PRAGMA cache_spill = OFF");
	run_sql(d,
		"CREATE TABLE packages (id INTEGER PRIMARY KEY, copy INTEGER, name TEXT,"
		" version TEXT, section TEXT, size INTEGER, description TEXT);"
		"CREATE TABLE depends (id INTEGER PRIMARY KEY, copy INTEGER, package TEXT,"
		" target TEXT, relation TEXT);"
		"CREATE TABLE files (id INTEGER PRIMARY KEY, copy INTEGER, package TEXT,"
		" path TEXT, dir TEXT, base TEXT, extension TEXT, size INTEGER, mark INTEGER)");
	d->package = prepare(d, "INSERT INTO packages VALUES (NULL, ?, ?, ?, ?, ?, ?)");
	d->depend = prepare(d, "INSERT INTO depends VALUES (NULL, ?, ?, ?, ?)");
	d->file = prepare(d, "INSERT INTO files VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)");
}

static void close_database(struct database *d)
{
	check_sql(d, sqlite3_close(d->db), "sqlite3_close");
	check_sql(d, sqlite3_shutdown(), "sqlite3_shutdown");
}

static void bind_text(sqlite3_stmt *statement, int column, const char *text, size_t length)
{
	sqlite3_bind_text(statement, column, text, (int)length, SQLITE_TRANSIENT);
}

static void insert(struct database *d, sqlite3_stmt *statement)
{
	check_sql(d, sqlite3_step(statement), "INSERT");
	sqlite3_reset(statement);
	d->report->rows++;
}

static void add_package(struct database *d, const char *name, const char *version,
                        const char *section, uint64_t size, const char *description)
{
	sqlite3_bind_int64(d->package, 1, d->copy);
	bind_text(d->package, 2, name, strlen(name));
	bind_text(d->package, 3, version, strlen(version));
	bind_text(d->package, 4, section, strlen(section));
	sqlite3_bind_int64(d->package, 5, (sqlite3_int64)size + d->copy);
	bind_text(d->package, 6, description, strlen(description));
	insert(d, d->package);
	d->report->packages += d->copy == 0;
}

/* "libc6 (>= 2.34), default-mta | mail-transport-agent": a row for each alternative. */
static void add_depends(struct database *d, const char *package, const char *text)
{
	while (*text) {
		size_t end, target;

		text += strspn(text, " ,|\n");
		end = strcspn(text, ",|");
		target = strcspn(text, " ,|:(\n");
		if (target) {
			sqlite3_bind_int64(d->depend, 1, d->copy);
			bind_text(d->depend, 2, package, strlen(package));
			bind_text(d->depend, 3, text, target);
			bind_text(d->depend, 4, text, end);
			insert(d, d->depend);
			d->report->depends += d->copy == 0;
		}
		text += end;
	}
}

static bool is_full(const struct database *d)
{
	uint64_t rows = d->report->file_rows;

	if (d->options->rows)
		return rows >= d->options->rows;
	/* The indices, which come later, will make up somewhat more than the last fifth. */
	return (uint64_t)sqlite3_memory_used() >= d->options->heap / 5 * 4;
}

static void add_file(struct database *d, const char *package, const char *real_path, uint64_t size)
{
	char path[PATH_MAX + 32];
	uint64_t mark = 14695981039346656037u; /* FNV-1a: scatters rows when sorted by it */

	/* Each copy is a tree of its own, so that no two paths are equal. */
	if (d->copy)
		snprintf(path, sizeof(path), "/copy-%04u%s", d->copy, real_path);
	else
		snprintf(path, sizeof(path), "%s", real_path);
	for (const char *c = path; *c; c++)
		mark = (mark ^ (unsigned char)*c) * 1099511628211u;

	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.'), *extension = dot && dot > base ? dot + 1 : "";

	sqlite3_bind_int64(d->file, 1, d->copy);
	bind_text(d->file, 2, package, strlen(package));
	bind_text(d->file, 3, path, strlen(path));
	bind_text(d->file, 4, path, slash ? (size_t)(slash - path) : 0);
	bind_text(d->file, 5, base, strlen(base));
	bind_text(d->file, 6, extension, strlen(extension));
	sqlite3_bind_int64(d->file, 7, (sqlite3_int64)size);
	sqlite3_bind_int64(d->file, 8, (sqlite3_int64)((mark >> 20) % 1000000));
	insert(d, d->file);
	d->report->files += d->copy == 0;
	d->report->file_rows++;
	d->full = is_full(d);
	if (d->report->rows % 16384 == 0)
		progress(d, "loading");
}

/* ---- Source: what dpkg has recorded ---------------------------------------------------- */

struct paragraph { /* of dpkg's status file; what is longer is cut */
	char name[256], version[256], section[128], size[32], description[8192], depends[16384];
};

#define FIELD(word, member)                                                                  \
	{                                                                                     \
		word ":", offsetof(struct paragraph, member),                                 \
			sizeof(((struct paragraph *)0)->member)                               \
	}
static const struct field {
	const char *word;
	size_t offset, size;
} fields[] = {
	FIELD("Package", name),    FIELD("Version", version),         FIELD("Section", section),
	FIELD("Installed-Size", size), FIELD("Description", description), FIELD("Depends", depends),
};

static const struct field *field_find(const char *line)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strncmp(line, fields[i].word, strlen(fields[i].word)) == 0)
			return &fields[i];
	return NULL;
}

static void field_append(struct paragraph *p, const struct field *field, const char *text)
{
	char *to = (char *)p + field->offset;
	size_t used = strlen(to);

	if (used == 0)
		text += strspn(text, " ");
	if (used + 1 < field->size)
		snprintf(to + used, field->size - used, "%s", text);
}

static void paragraph_end(struct database *d, struct paragraph *p)
{
	if (p->name[0]) {
		add_package(d, p->name, p->version, p->section, strtoull(p->size, NULL, 10),
		            p->description);
		add_depends(d, p->name, p->depends);
	}
	memset(p, 0, sizeof(*p));
}

static void load_status(struct database *d, FILE *file)
{
	static struct paragraph p;
	const struct field *field = NULL;
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	while ((length = getline(&line, &room, file)) >= 0) {
		if (length && line[length - 1] == '\n')
			line[--length] = 0;
		if (length == 0) {
			paragraph_end(d, &p);
			field = NULL;
		} else if (line[0] != ' ') {
			field = field_find(line);
			if (field)
				field_append(&p, field, line + strcspn(line, " "));
		} else if (field) {
			field_append(&p, field, "\n");
			field_append(&p, field, line + 1);
		}
	}
	paragraph_end(d, &p);
	free(line);
}

static void load_list(struct database *d, const char *list, FILE *file)
{
	char package[NAME_MAX + 1];
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	/* DIR/info/libc6:amd64.list is the list of libc6. */
	snprintf(package, sizeof(package), "%s", strrchr(list, '/') + 1);
	package[strcspn(package, ":")] = 0;
	if (strlen(package) > 5 && strcmp(package + strlen(package) - 5, ".list") == 0)
		package[strlen(package) - 5] = 0;
	while (!d->full && (length = getline(&line, &room, file)) >= 0) {
		line[strcspn(line, "\n")] = 0;
		if (line[0] == '/' && strlen(line) < PATH_MAX)
			add_file(d, package, line, 0);
	}
	free(line);
}

static void load_dpkg(struct database *d)
{
	char name[PATH_MAX];
	glob_t lists;
	FILE *file;

	snprintf(name, sizeof(name), "%s/status", d->options->dpkg);
	file = fopen(name, "re");
	if (!file)
		die("%s: %s", name, strerror(errno));
	load_status(d, file);
	fclose(file);

	/* glob() sorts: rows come in the same order in every run */
	snprintf(name, sizeof(name), "%s/info/*.list", d->options->dpkg);
	if (glob(name, 0, NULL, &lists))
		die("%s: no file matches", name);
	for (size_t i = 0; i < lists.gl_pathc && !d->full; i++) {
		file = fopen(lists.gl_pathv[i], "re");
		if (!file)
			continue; /* a package was removed just now */
		load_list(d, lists.gl_pathv[i], file);
		fclose(file);
	}
	globfree(&lists);
}

/* Both halves are wanted: packages in the status file, and paths in the lists. */
static bool dpkg_usable(const char *dpkg)
{
	char name[PATH_MAX], line[256];
	bool packages = false, paths = false;
	struct stat status;
	glob_t lists;
	FILE *file;

	snprintf(name, sizeof(name), "%s/status", dpkg);
	file = fopen(name, "re");
	if (!file)
		return false;
	while (!packages && fgets(line, sizeof(line), file))
		packages = strncmp(line, "Package: ", 9) == 0;
	fclose(file);
	snprintf(name, sizeof(name), "%s/info/*.list", dpkg);
	if (!packages || glob(name, 0, NULL, &lists))
		return false;
	for (size_t i = 0; i < lists.gl_pathc && !paths; i++)
		paths = stat(lists.gl_pathv[i], &status) == 0 && status.st_size > 1;
	globfree(&lists);
	return paths;
}

/* ---- Source: a walk of the file system, where there is no dpkg -------------------------- */

static int not_dots(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
}

/* Adds what is below @path; returns its bytes. @package is NULL at the top: there each entry
 * counts as a package. */
static uint64_t walk(struct database *d, const char *path, const char *package)
{
	struct dirent **entries;
	uint64_t total = 0;
	int count = scandir(path, &entries, not_dots, alphasort);

	for (int i = 0; i < count; i++) {
		const char *owner = package ? package : entries[i]->d_name;
		char name[PATH_MAX];
		struct stat status;
		uint64_t bytes;
		int length = snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);

		if (!d->full && length < PATH_MAX && lstat(name, &status) == 0) {
			bytes = S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
			add_file(d, owner, name, bytes);
			if (S_ISDIR(status.st_mode))
				bytes += walk(d, name, owner);
			if (!package)
				add_package(d, owner, "", "share", bytes / KIB, name);
			total += bytes;
		}
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return total;
}

/* ---- Loading --------------------------------------------------------------------------- */

/* Repeats the source, as copies 0, 1, 2..., until the heap is as large as it is to be. */
static void load(struct database *d)
{
	d->report->from_dpkg = dpkg_usable(d->options->dpkg);
	run_sql(d, "BEGIN");
	for (d->copy = 0; !d->full; d->copy++) {
		uint64_t before = d->report->file_rows;

		if (d->report->from_dpkg)
			load_dpkg(d);
		else
			walk(d, WALK_ROOT, NULL);
		if (d->report->file_rows == before)
			die("neither %s nor " WALK_ROOT " has anything to load", d->options->dpkg);
	}
	run_sql(d, "COMMIT");
	sqlite3_finalize(d->package);
	sqlite3_finalize(d->depend);
	sqlite3_finalize(d->file);
	d->report->copies = d->copy;
	d->report->loaded = (uint64_t)sqlite3_memory_used();
}

/* ---- Queries --------------------------------------------------------------------------- */

/*
 * Nothing here depends on the time, an address or the heap's size, and every order is by a
 * full key: so the results are the same in every run, or memory has lied.
 */
static const struct query {
	const char *title, *sql;
} queries[] = {
	{ "rows of each table",
	  "SELECT 'packages', count(*) FROM packages"
	  " UNION ALL SELECT 'depends', count(*) FROM depends"
	  " UNION ALL SELECT 'files', count(*) FROM files" },
	{ "index of packages by name", "CREATE INDEX packages_name ON packages (name, copy)" },
	{ "index of dependencies by target",
	  "CREATE INDEX depends_target ON depends (target, copy)" },
	{ "index of files by package", "CREATE INDEX files_package ON files (package, copy)" },
	{ "index of files by base name, over all rows: a big sort",
	  "CREATE INDEX files_base ON files (base, copy)" },
	{ "scan of everything: sums over each column",
	  "SELECT count(*), sum(copy), sum(size), sum(mark * (id % 1009)), sum(length(package)),"
	  " sum(length(dir) * 3 + length(base) * 5 + length(extension) * 7), min(path), max(path)"
	  " FROM files" },
	{ "sections: aggregate over all packages",
	  "SELECT section, count(*), sum(size), min(name), max(version) FROM packages"
	  " GROUP BY section ORDER BY count(*) DESC, section" },
	{ "extensions: aggregate over all files",
	  "SELECT extension, count(*), sum(mark), count(DISTINCT copy) FROM files"
	  " GROUP BY extension ORDER BY count(*) DESC, extension LIMIT 300" },
	{ "ORDER BY over an eighth of all files, with their paths: every 100th",
	  "SELECT n, mark, path FROM (SELECT path, mark,"
	  " row_number() OVER (ORDER BY mark, path) AS n"
	  " FROM files WHERE mark % 8 = 3) WHERE n % 100 = 0 ORDER BY n" },
	{ "join of packages and files",
	  "SELECT p.copy, p.name, p.version, count(f.id), sum(f.mark), sum(length(f.path))"
	  " FROM packages p JOIN files f ON f.package = p.name AND f.copy = p.copy"
	  " WHERE p.copy % 3 = 0 GROUP BY p.id ORDER BY p.copy, p.name, p.id" },
	{ "join of files by base name: who else has a file of this name",
	  "SELECT a.base, a.package, count(b.id), sum(b.mark) FROM files a JOIN files b"
	  " ON b.base = a.base AND b.copy > 0 WHERE a.copy = 0 AND a.mark % 160 = 7"
	  " AND a.base NOT IN ('changelog.Debian.gz', 'copyright', 'usr', 'share')"
	  " GROUP BY a.id ORDER BY a.base, a.package, a.id LIMIT 2000" },
	{ "join by random row numbers: no locality at all",
	  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)"
	  " SELECT count(*), sum(f.mark), sum(length(f.path)), min(f.path), max(f.path) FROM n"
	  " JOIN files f ON f.id = n.i * n.i * 7919 % (SELECT max(id) FROM files) + 1" },
	{ "joins: the size of what each package depends on",
	  "SELECT d.copy, d.package, count(*), sum(p.size) FROM depends d"
	  " JOIN packages p ON p.name = d.target AND p.copy = d.copy"
	  " GROUP BY d.copy, d.package ORDER BY sum(p.size) DESC, d.copy, d.package LIMIT 1000" },
	{ "transitive closure of dependencies, of the twelve that are wanted most",
	  "WITH RECURSIVE top(name) AS (SELECT target FROM depends WHERE copy = 0"
	  " GROUP BY target ORDER BY count(*) DESC, target LIMIT 12),"
	  " reach(root, name) AS (SELECT name, name FROM top UNION"
	  " SELECT r.root, d.package FROM reach r"
	  " JOIN depends d ON d.target = r.name AND d.copy = 0)"
	  " SELECT root, count(*), min(name), max(name) FROM reach GROUP BY root ORDER BY root" },
	{ "window functions: rank and running sum in each section",
	  "SELECT copy, section, name, size, rank() OVER w, sum(size) OVER w,"
	  " lag(name, 1, '-') OVER w FROM packages WHERE copy < 8 WINDOW w AS"
	  " (PARTITION BY copy, section ORDER BY size DESC, name, id)"
	  " ORDER BY copy, section, size DESC, name, id LIMIT 3000" },
	{ "window functions: moving average over the files of a copy",
	  "SELECT id, path, a, b FROM (SELECT id, path, avg(mark) OVER (ORDER BY id"
	  " ROWS BETWEEN 50 PRECEDING AND 50 FOLLOWING) AS a, ntile(100) OVER (ORDER BY id) AS b"
	  " FROM files WHERE copy = 0) WHERE id % 500 = 0 ORDER BY id" },
	{ "group_concat: the packages of each section, in order",
	  "SELECT section, group_concat(name, ' ') FROM (SELECT DISTINCT section, name"
	  " FROM packages ORDER BY section, name) GROUP BY section ORDER BY section" },
	{ "group_concat: one long string, and its middle",
	  "SELECT length(s), substr(s, length(s) / 2, 400) FROM"
	  " (SELECT group_concat(path, ':') AS s"
	  " FROM (SELECT path FROM files WHERE id <= 60000 ORDER BY id))" },
	{ "UPDATE of a copy's files, an indexed column among those set",
	  "UPDATE files SET mark = mark + 7, base = base || '.old', size = length(path)"
	  " WHERE copy = 0 AND mark % 4 = 1" },
	{ "after the UPDATE",
	  "SELECT count(*), sum(size), sum(mark), min(base), max(base) FROM files"
	  " WHERE base LIKE '%.old'" },
	{ "DELETE that is rolled back: begin", "BEGIN" },
	{ "DELETE that is rolled back: delete",
	  "DELETE FROM files WHERE id <= 60000 AND mark % 2 = 0" },
	{ "DELETE that is rolled back: count", "SELECT count(*), sum(mark) FROM files" },
	{ "DELETE that is rolled back: roll back", "ROLLBACK" },
	{ "DELETE that is rolled back: count again", "SELECT count(*), sum(mark) FROM files" },
	{ "DELETE",
	  "DELETE FROM files WHERE copy < 2 AND extension IN ('gz', 'html', 'mo')" },
	{ "after the DELETE",
	  "SELECT count(*), sum(copy), sum(mark), sum(length(path)), max(path) FROM files" },
	{ "integrity check of every table and index", "PRAGMA integrity_check" },
};

static void answer(struct database *d, const struct query *query)
{
	sqlite3_stmt *statement = prepare(d, query->sql);
	uint64_t rows = 0;
	char line[64];
	int result;

	put_string("== ");
	put_string(query->title);
	put_string("\n");
	while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(statement); i++) {
			const void *text = sqlite3_column_text(statement, i);

			if (i)
				put_string("|");
			if (text)
				put(text, (size_t)sqlite3_column_bytes(statement, i));
			else
				put_string("NULL");
		}
		put_string("\n");
		rows++;
	}
	check_sql(d, result, query->title);
	sqlite3_finalize(statement);
	snprintf(line, sizeof(line), "(%" PRIu64 " rows)\n\n", rows);
	put_string(line);
}

/* ---- A worker: one run, in a process of its own ---------------------------------------- */

static int worker(const struct options *options)
{
	struct report report = { 0 };
	struct paging paging = { 0 };
	struct database d = { .options = options, .report = &report, .paging = &paging };
	uint64_t start = now_ns();

	role = kind_names[options->kind];
	out.descriptor = options->results;
	if (options->kind == PAGED)
		paging_open(&paging, options->memory);
	open_database(&d);
	load(&d);
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		progress(&d, queries[i].title);
		answer(&d, &queries[i]);
	}
	flush();
	report.highwater = (uint64_t)sqlite3_memory_highwater(0);
	progress(&d, "closing");
	close_database(&d);
	if (options->kind == PAGED)
		paging_close(&paging, &report);
	report.ns = now_ns() - start;
	if (show_progress)
		fprintf(stderr, "\r\033[K");
	if (write(options->report, &report, sizeof(report)) != sizeof(report))
		die("cannot write the report");
	return 0;
}

/* ---- The parent: starts the runs, watches, compares ------------------------------------- */

struct watch { /* of /proc/PID/status, in bytes */
	uint64_t samples, shmem, anonymous, all;
};

static void take_sample(struct watch *watch, pid_t pid)
{
	char name[64], line[256];
	uint64_t kib;
	bool seen = false;
	FILE *file;

	snprintf(name, sizeof(name), "/proc/%d/status", (int)pid);
	file = fopen(name, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "RssShmem: %" SCNu64, &kib) == 1) {
			seen = true;
			if (kib * KIB > watch->shmem)
				watch->shmem = kib * KIB;
		} else if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1) {
			if (kib * KIB > watch->anonymous)
				watch->anonymous = kib * KIB;
		} else if (sscanf(line, "VmHWM: %" SCNu64, &kib) == 1) {
			watch->all = kib * KIB; /* the kernel keeps this peak itself */
		}
	}
	fclose(file);
	watch->samples += seen; /* a process that has ended has no such line */
}

static void become_worker(const struct options *o, enum kind kind, uint64_t rows, uint64_t memory,
                          int results, int report)
{
	char numbers[5][24];

	snprintf(numbers[0], sizeof(numbers[0]), "%" PRIu64, o->heap);
	snprintf(numbers[1], sizeof(numbers[1]), "%" PRIu64, rows);
	snprintf(numbers[2], sizeof(numbers[2]), "%" PRIu64, memory);
	snprintf(numbers[3], sizeof(numbers[3]), "%d", results);
	snprintf(numbers[4], sizeof(numbers[4]), "%d", report);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* no run outlives the parent */
	execl("/proc/self/exe", "sqlite_heap", "--worker", kind_names[kind], "--dpkg", o->dpkg,
	      "--heap", numbers[0], "--rows", numbers[1], "--memory", numbers[2], "--results",
	      numbers[3], "--report", numbers[4], (char *)NULL);
	fprintf(stderr, "sqlite_heap: /proc/self/exe: %s\n", strerror(errno));
	_exit(1);
}

/* Runs a worker to its end and looks at its memory on the way. False: it failed. */
static bool run(const struct options *o, enum kind kind, const struct report *native,
                uint64_t memory, int results, struct report *report, struct watch *watch)
{
	const struct timespec pause = { 0, SAMPLE_NS };
	int pipe_ends[2], status;
	ssize_t got;
	pid_t pid;

	if (pipe(pipe_ends))
		die("pipe: %s", strerror(errno));
	fflush(stdout); /* or the child has a copy to write as well */
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid == 0) {
		close(pipe_ends[0]);
		become_worker(o, kind, native ? native->file_rows : 0, memory, results,
		              pipe_ends[1]);
	}
	close(pipe_ends[1]);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		take_sample(watch, pid);
		nanosleep(&pause, NULL);
	}
	got = read(pipe_ends[0], report, sizeof(*report));
	close(pipe_ends[0]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && got == sizeof(*report))
		return true;
	if (WIFSIGNALED(status))
		printf("FAILED: the %s run was ended by signal %d (%s)\n", kind_names[kind],
		       WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		printf("FAILED: the %s run ended with exit status %d%s\n", kind_names[kind],
		       WEXITSTATUS(status), WEXITSTATUS(status) ? "" : " and no report");
	return false;
}

struct result_file {
	int descriptor;
	char name[PATH_MAX]; /* "" when nothing is to be left behind */
	char *bytes;
	size_t length;
};

static void result_create(struct result_file *file, const char *kind, bool keep)
{
	const char *directory = getenv("TMPDIR");

	if (!directory || !*directory)
		directory = "/tmp";
	snprintf(file->name, sizeof(file->name), "%s/sqlite_heap-%s-XXXXXX", directory, kind);
	file->descriptor = mkstemp(file->name); /* not close-on-exec: the worker inherits it */
	if (file->descriptor < 0)
		die("%s: %s", file->name, strerror(errno));
	if (!keep) {
		unlink(file->name);
		file->name[0] = 0;
	}
}

static void result_read(struct result_file *file)
{
	struct stat status;
	size_t done = 0;

	if (fstat(file->descriptor, &status))
		die("fstat: %s", strerror(errno));
	file->length = (size_t)status.st_size;
	file->bytes = malloc(file->length + 1);
	if (!file->bytes)
		die("no memory to compare the results");
	while (done < file->length) {
		ssize_t n = pread(file->descriptor, file->bytes + done, file->length - done,
		                  (off_t)done);

		if (n <= 0)
			die("cannot read the results");
		done += (size_t)n;
	}
	file->bytes[file->length] = 0;
}

static void print_line_of(const char *label, const struct result_file *file, size_t start)
{
	size_t length = strcspn(file->bytes + start, "\n");

	printf("    %-7s %.*s%s\n", label, length > 160 ? 160 : (int)length, file->bytes + start,
	       length > 160 ? "..." : "");
}

/* Compares byte by byte and prints the outcome. */
static bool compare(struct result_file *native, struct result_file *paged)
{
	size_t lines = 0, line_start = 0, i;

	result_read(native);
	result_read(paged);
	for (i = 0; i < native->length && i < paged->length; i++) {
		if (native->bytes[i] != paged->bytes[i])
			break;
		if (native->bytes[i] == '\n') {
			lines++;
			line_start = i + 1;
		}
	}
	if (i == native->length && i == paged->length && i > 0) {
		printf("  results      %zu lines, %zu bytes: identical\n", lines, i);
		return true;
	}
	printf("  results      DIFFERENT: native %zu bytes, paged %zu bytes; first difference at"
	       " byte %zu, line %zu:\n", native->length, paged->length, i, lines + 1);
	print_line_of("native", native, line_start);
	print_line_of("paged", paged, line_start);
	return false;
}

static double mib(uint64_t bytes)
{
	return (double)bytes / (double)MIB;
}

static void print_runs(const struct report *native, const struct report *paged)
{
	const struct upage_stats *s = &paged->stats;

	printf("  footprint    %.1f MiB: SQLite's heap at its highest, natively; %.1f MiB were"
	       " tables\n", mib(native->highwater), mib(native->loaded));
	/* not the option's N: UPAGE_OPTIONS may have set another size */
	printf("  memory       %.1f MiB: footprint / %.1f; %" PRIu64 " frames of %" PRIu64
	       " bytes for a heap of %.1f MiB\n", mib(paged->memory),
	       (double)native->highwater / (double)paged->memory, s->frames, s->page_size,
	       mib(paged->heap_mapped));
	printf("  faults       %" PRIu64 ": %" PRIu64 " zero fill, %" PRIu64 " major, %" PRIu64
	       " soft, %" PRIu64 " write upgrade\n", s->faults, s->zero_fill, s->major, s->soft,
	       s->write_upgrade);
	printf("  evictions    %" PRIu64 ", with %" PRIu64 " write-backs; %" PRIu64
	       " swap slots (%.1f MiB) in use at most\n", s->evictions, s->writebacks,
	       paged->swap_peak, mib(paged->swap_peak * s->page_size));
	printf("  time         native %.1f s, paged %.1f s: %.1f times as long\n",
	       (double)native->ns / 1e9, (double)paged->ns / 1e9,
	       (double)paged->ns / (double)native->ns);
}

static void print_source(const struct options *o, const struct report *r)
{
	printf("SQLite in paged memory, compared with SQLite in the C library's\n");
	printf("  source       %s: %" PRIu64 " packages, %" PRIu64 " dependencies, %" PRIu64
	       " files\n", r->from_dpkg ? o->dpkg : "a walk of " WALK_ROOT, r->packages, r->depends,
	       r->files);
	printf("  data         %" PRIu64 " rows, %" PRIu64 " of them files; copies of the source: %"
	       PRIu64 ", the last cut short\n", r->rows, r->file_rows, r->copies);
}

static bool verdict(bool identical, const struct report *paged, const struct watch *watch)
{
	bool within = watch->samples && watch->shmem <= paged->memory + SHMEM_SLACK;
	bool evicted = paged->stats.evictions > 0;

	printf("  resident     at most, in %" PRIu64 " looks at /proc: RssShmem %.1f MiB,"
	       " RssAnon %.1f MiB, all (VmHWM) %.1f MiB\n", watch->samples, mib(watch->shmem),
	       mib(watch->anonymous), mib(watch->all));
	printf("  memory was never more than %.1f MiB (limit %.1f MiB)\n", mib(watch->shmem),
	       mib(paged->memory));
	if (!identical)
		printf("FAILED: the results differ\n");
	if (!evicted)
		printf("FAILED: no page was evicted, so nothing was shown\n");
	if (!within)
		printf("FAILED: more memory was resident than the limit, or none was seen\n");
	if (identical && evicted && within)
		printf("PASSED\n");
	return identical && evicted && within;
}

static int parent(const struct options *o)
{
	struct upage_config config = UPAGE_CONFIG_INIT;
	struct report native = { 0 }, paged = { 0 };
	struct watch native_watch = { 0 }, watch = { 0 };
	static struct result_file native_file, paged_file;
	uint64_t memory;
	bool passed;

	if (upage_config_environment(&config)) /* rather now than after the native run */
		usage_error("UPAGE_OPTIONS: %s", config.message);
	result_create(&native_file, "native", o->keep);
	result_create(&paged_file, "paged", o->keep);
	if (o->keep)
		printf("Results: %s and %s\n", native_file.name, paged_file.name);
	if (!run(o, NATIVE, NULL, 0, native_file.descriptor, &native, &native_watch))
		return 1;
	print_source(o, &native);
	memory = native.highwater / o->fraction / MIB * MIB;
	if (memory == 0)
		memory = MIB;
	if (!run(o, PAGED, &native, memory, paged_file.descriptor, &paged, &watch))
		return 1;
	print_runs(&native, &paged);
	passed = compare(&native_file, &paged_file);
	passed = verdict(passed, &paged, &watch);
	free(native_file.bytes);
	free(paged_file.bytes);
	if (fflush(stdout))
		die("cannot write the summary: %s", strerror(errno));
	return passed ? 0 : 1;
}

/* ---- Options --------------------------------------------------------------------------- */

static void help(void)
{
	printf("Usage: sqlite_heap [--heap SIZE | --quick] [--fraction N] [--keep] [--dpkg DIR]\n"
	       "\n"
	       "Runs the same queries over an in-memory SQLite database twice: natively, and with\n"
	       "SQLite's heap in paged memory that is only a part as large. Compares the results\n"
	       "byte by byte and says what paging did.\n"
	       "\n"
	       "  --heap SIZE   what SQLite's heap is to be, tables and indices together; suffix\n"
	       "                K, M or G; 1M to 64G; default 256M. Sorts need more for a while.\n"
	       "  --quick       the same as --heap 48M\n"
	       "  --fraction N  memory is the native run's footprint / N; 2 to 1024; default 4\n"
	       "  --keep        keep the two result files and say where they are\n"
	       "  --dpkg DIR    where dpkg keeps its records; default /var/lib/dpkg. If there are\n"
	       "                none, " WALK_ROOT " is walked instead.\n"
	       "  --help        this text\n"
	       "\n"
	       "UPAGE_OPTIONS in the environment sets the rest of the paged run, for example\n"
	       "  UPAGE_OPTIONS=policy=fifo,stats sqlite_heap --quick\n"
	       "\n"
	       "Exit status: 0 if the results are identical, pages were evicted, and no more\n"
	       "memory was resident than there was to be; 1 if not; 2 for a wrong option.\n");
}

static uint64_t number(const char *option, const char *word, const char *suffixes,
                       uint64_t least, uint64_t most)
{
	char *end;
	uint64_t value;
	const char *suffix;
	unsigned shift = 0;

	errno = 0;
	value = strtoull(word, &end, 10);
	if (*end && (suffix = strchr(suffixes, *end))) {
		shift = 10 * (unsigned)(suffix - suffixes + 1);
		end++;
	}
	if (!errno && !*end && *word >= '0' && *word <= '9' && value <= most >> shift &&
	    value << shift >= least)
		return value << shift;
	if (*suffixes)
		usage_error("--%s: '%s' is no size from %" PRIu64 "M to %" PRIu64 "M; K, M or G may"
		            " follow the number", option, word, least / MIB, most / MIB);
	usage_error("--%s: '%s' is no number from %" PRIu64 " to %" PRIu64, option, word, least,
	            most);
}

enum { HEAP, QUICK, FRACTION, KEEP, DPKG, HELP, WORKER, RESULTS, REPORT, ROWS, MEMORY };
static const struct option long_options[] = {
	{ "heap", 1, NULL, HEAP },         { "quick", 0, NULL, QUICK },
	{ "fraction", 1, NULL, FRACTION }, { "keep", 0, NULL, KEEP },
	{ "dpkg", 1, NULL, DPKG },         { "help", 0, NULL, HELP },
	/* from the parent to its workers */
	{ "worker", 1, NULL, WORKER },     { "results", 1, NULL, RESULTS },
	{ "report", 1, NULL, REPORT },     { "rows", 1, NULL, ROWS },
	{ "memory", 1, NULL, MEMORY },     { NULL, 0, NULL, 0 },
};
#define CHOICES "the options are --heap SIZE, --quick, --fraction N, --keep, --dpkg DIR, --help"

static enum kind worker_kind(const char *word)
{
	for (enum kind kind = NATIVE; kind <= PAGED; kind++)
		if (strcmp(word, kind_names[kind]) == 0)
			return kind;
	usage_error("--worker: '%s' is neither native nor paged", word);
}

static void parse_options(struct options *o, int argc, char **argv)
{
	const char *word = argv[1];
	int option, index;

	opterr = 0; /* our own words name the choices */
	for (; (option = getopt_long(argc, argv, "+:", long_options, &index)) != -1;
	     word = argv[optind]) {
		const char *name = option == '?' || option == ':' ? "" : long_options[index].name;

		switch (option) {
		case HEAP: o->heap = number(name, optarg, "KMG", MIB, 64 * KIB * MIB); break;
		case QUICK: o->heap = 48 * MIB; break;
		case FRACTION: o->fraction = number(name, optarg, "", 2, 1024); break;
		case KEEP: o->keep = true; break;
		case DPKG: o->dpkg = optarg; break;
		case HELP: help(); exit(0);
		case WORKER: o->kind = worker_kind(optarg); break;
		case RESULTS: o->results = (int)number(name, optarg, "", 0, INT_MAX); break;
		case REPORT: o->report = (int)number(name, optarg, "", 0, INT_MAX); break;
		case ROWS: o->rows = number(name, optarg, "", 0, UINT64_MAX); break;
		case MEMORY: o->memory = number(name, optarg, "", 0, UINT64_MAX); break;
		case ':': usage_error("'%s' wants a value; " CHOICES, word);
		default: usage_error("unknown option '%s'; " CHOICES, word);
		}
	}
	if (optind < argc)
		usage_error("'%s' is not an option; " CHOICES, argv[optind]);
}

int main(int argc, char **argv)
{
	struct options options = {
		.heap = 256 * MIB,
		.fraction = 4,
		.dpkg = "/var/lib/dpkg",
		.results = 1,
		.report = -1,
	};

	parse_options(&options, argc, argv);
	show_progress = isatty(2);
	return options.kind == PARENT ? parent(&options) : worker(&options);
}
