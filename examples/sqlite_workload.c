/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sqlite_workload.c - real data, tables, indices and queries: all that talks to SQLite only
 *
 * The data is what dpkg has recorded of this machine's packages and their files, or a walk of
 * the file system. It is loaded as often as it takes to fill the heap.
 */
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "sqlite_workload.h"

/* ---- Results: copied out of SQLite's heap, then written -------------------------------- */

static char out[1 << 16];
static size_t out_used;

static void flush(void)
{
	for (size_t done = 0; done < out_used;) {
		ssize_t n = write(STDOUT_FILENO, out + done, out_used - done);

		if (n < 0 && errno != EINTR)
			die("cannot write the results: %s", strerror(errno));
		done += n > 0 ? (size_t)n : 0;
	}
	out_used = 0;
}

/* @text may be paged memory: memcpy() can fault there, write(2) would fail with EFAULT. */
static void put(const char *text, size_t length)
{
	while (length) {
		size_t room = sizeof(out) - out_used, n = length < room ? length : room;

		memcpy(out + out_used, text, n);
		out_used += n;
		text += n;
		length -= n;
		if (out_used == sizeof(out))
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
	const struct work *work;
	struct work_report *report;
	work_progress *progress;
	unsigned copy; /* of the source: the one that is being loaded */
	bool full;
};

static void say(struct database *d, const char *what)
{
	if (d->progress)
		d->progress(d->report, (uint64_t)sqlite3_memory_used(), what);
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
	if (d->work->rows)
		return d->report->file_rows >= d->work->rows;
	/* The indices, which come later, will make up somewhat more than the last fifth. */
	return (uint64_t)sqlite3_memory_used() >= d->work->heap / 5 * 4;
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
		say(d, "loading");
}

/* ---- Source: what dpkg has recorded ---------------------------------------------------- */

enum { NAME, VERSION, SECTION, SIZE, DESCRIPTION, DEPENDS, FIELDS };
static const char *const field_words[FIELDS] = {
	"Package:", "Version:", "Section:", "Installed-Size:", "Description:", "Depends:",
};

static char fields[FIELDS][16384]; /* of the package that is being read; the rest is cut */

/* Returns FIELDS for a field that is not wanted. */
static int field_find(const char *line)
{
	int field = 0;

	while (field < FIELDS && strncmp(line, field_words[field], strlen(field_words[field])))
		field++;
	return field;
}

static void field_append(int field, const char *text)
{
	size_t used = strlen(fields[field]);

	snprintf(fields[field] + used, sizeof(fields[field]) - used, "%s", text);
}

static void end_package(struct database *d)
{
	if (fields[NAME][0]) {
		add_package(d, fields[NAME], fields[VERSION], fields[SECTION],
		            strtoull(fields[SIZE], NULL, 10), fields[DESCRIPTION]);
		add_depends(d, fields[NAME], fields[DEPENDS]);
	}
	for (int field = 0; field < FIELDS; field++)
		fields[field][0] = 0;
}

/* Lines are "Field: value"; further lines of the value start with a space; an empty line ends
 * the package. */
static void load_status(struct database *d, FILE *file)
{
	int field = FIELDS;
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, file) >= 0) {
		line[strcspn(line, "\n")] = 0;
		if (line[0] == 0) {
			end_package(d);
			field = FIELDS;
		} else if (line[0] != ' ') {
			const char *text = line + strcspn(line, " ");

			field = field_find(line);
			if (field != FIELDS)
				field_append(field, text + strspn(text, " "));
		} else if (field != FIELDS) {
			field_append(field, "\n");
			field_append(field, line + 1);
		}
	}
	end_package(d);
	free(line);
}

/* @list is DIR/info/libc6:amd64.list, the paths of libc6, or DIR/info/bash.list. */
static void load_list(struct database *d, const char *list, FILE *file)
{
	const char *name = strrchr(list, '/') + 1;
	char package[NAME_MAX + 1];
	char *line = NULL;
	size_t room = 0;

	snprintf(package, sizeof(package), "%.*s", (int)(strlen(name) - strlen(".list")), name);
	package[strcspn(package, ":")] = 0;
	while (!d->full && getline(&line, &room, file) >= 0) {
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

	snprintf(name, sizeof(name), "%s/status", d->work->dpkg);
	file = fopen(name, "re");
	if (!file)
		die("%s: %s", name, strerror(errno));
	load_status(d, file);
	fclose(file);

	/* glob() sorts: rows come in the same order in every run */
	snprintf(name, sizeof(name), "%s/info/*.list", d->work->dpkg);
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
	d->report->from_dpkg = dpkg_usable(d->work->dpkg);
	run_sql(d, "BEGIN");
	for (d->copy = 0; !d->full; d->copy++) {
		uint64_t before = d->report->file_rows;

		if (d->report->from_dpkg)
			load_dpkg(d);
		else
			walk(d, WALK_ROOT, NULL);
		if (d->report->file_rows == before)
			die("neither %s nor " WALK_ROOT " has anything to load", d->work->dpkg);
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

void run_workload(const struct work *work, struct work_report *report, work_progress *progress)
{
	struct database d = { .work = work, .report = report, .progress = progress };

	open_database(&d);
	load(&d);
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		say(&d, queries[i].title);
		answer(&d, &queries[i]);
	}
	flush();
	report->highwater = (uint64_t)sqlite3_memory_highwater(0);
	say(&d, "closing");
	close_database(&d);
}
