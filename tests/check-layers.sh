#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Includes in lib/ point down the reading order of lib/Makefile.am; libsigsegv is known to the
# trap only, and the host alone maps memory. Checks first that it can fail.
set -u
srcdir=${srcdir-.}
LC_ALL=C
export LC_ALL
status=0

# layers DIRECTORY: prints the violations in it, one a line, and fails when there are some
layers()
{
	order=$(awk '/^reading_order =/ { on = 1; sub(/.*=/, "") }
		on { more = sub(/\\$/, ""); print; on = more }' "$1/Makefile.am" | xargs)
	sources=$(grep -E '^(include_HEADERS|libupage_[a-z]*_?la_SOURCES) ' "$1/Makefile.am" |
		grep -o -E '[a-z0-9_]+\.[ch]\>' | sed 's/\.[ch]$//' | uniq | xargs)
	test "$order" = "$sources" || printf '%s\n' "Makefile.am: sources are not in the reading order" \
		"  order:   $order" "  sources: $sources"

	awk -v order="$order" '
	function complain(what) { print file ":" FNR ": " what; bad = 1 }

	# The line without comments; a comment may span lines.
	function code(line,    out, at) {
		out = ""
		for (;;) {
			if (in_comment) {
				if (!(at = index(line, "*/"))) return out
				line = substr(line, at + 2); in_comment = 0
			}
			sub(/^[^"\/]*\/\/.*/, "", line)
			if (!(at = index(line, "/*"))) return out line
			out = out substr(line, 1, at - 1)
			line = substr(line, at + 2); in_comment = 1
		}
	}

	# An implementation stands just below its interface, and includes it.
	function interface_of(part) {
		if (part ~ /^(base_bounds|segment|paging|pte)$/) return "translate"
		if (part ~ /^(linear|page|inverted)_table$/) return "paging"
		if (part == "malloc") return "upage_malloc"
		if (part == "generic") return "table"
		if (part == "ioctl_table") return "ioctl"
		if (part ~ /^store_(swap_file|lz4)$/) return "store_medium"
		if (part ~ /^(replace|space|store|run|host|frame)_/) { sub(/_.*/, "", part); return part }
		return ""
	}

	BEGIN { for (i = split(order, name, " "); i > 0; i--) place[name[i]] = i }
	FNR == 1 {
		file = FILENAME; sub(/.*\//, "", file)
		own = file; sub(/\.[ch]$/, "", own)
		in_comment = 0
		if (!(own in place)) complain(file " is not in the reading order")
	}
	{
		line = code($0)
		if (line ~ /^[ \t]*#[ \t]*include[ \t]*</ && line ~ /<sigsegv\.h>/ && file != "trap.c")
			complain("only trap.c may include <sigsegv.h>")
		if (line ~ /^[ \t]*#[ \t]*include[ \t]*"/) {
			split(line, part, "\"")
			other = part[2]; sub(/\.h$/, "", other)
			if (other == "config" || other == "upage" || other == interface_of(own)) next
			if (!(other in place)) complain("\"" part[2] "\" is not in the reading order")
			else if (place[other] < place[own]) complain("\"" part[2] "\" is above " file)
			next
		}
		gsub(/\\"/, "", line); gsub(/"[^"]*"/, "", line)
		if (file != "host.c" &&
		    line ~ /(^|[^A-Za-z0-9_])(mmap|munmap|mprotect|madvise|mremap|memfd_create)[ \t]*\(/)
			complain("only host.c may map memory: " line)
		if (file !~ /^host(_[a-z]*)?\.c$/ && FILENAME !~ /\/guest\// &&
		    line ~ /SYS_(mmap|munmap|mprotect|madvise|mremap|memfd_create)([^a-z0-9_]|$)/)
			complain("only host.c may map memory: " line)
	}
	END { exit bad }' "$1"/*.[ch] "$1"/guest/*.[ch] && test "$order" = "$sources"
}

# must_catch WHAT FILE TEXT: with TEXT added to FILE, a copy of lib/ must be refused. The copy
# is checked alone, so the violation found is the one put there.
must_catch()
{
	cp -r "$srcdir"/../lib/*.[ch] "$srcdir/../lib/guest" "$srcdir/../lib/Makefile.am" "$copy" &&
		chmod -R u+w "$copy"
	printf '\n%s\n' "$3" >>"$copy/$2"
	layers "$copy" | grep -q "^${2##*/}:.*$1" || { echo "FAIL: not detected in $2: $3"; status=1; }
}

copy=$(mktemp -d) && trap 'rm -rf "$copy"' EXIT || exit 99
must_catch "is above" host.c '#include "pool.h"'
must_catch "not in the reading order" host.c '#include "no_such_layer.h"'
must_catch "may include <sigsegv.h>" host.c '#include <sigsegv.h>'
must_catch "may map memory" print.c 'void *p = mmap(0, 0, 0, 0, 0, 0);'
must_catch "may map memory" pager.c 'syscall_2(SYS_munmap, 0, 0);'
must_catch "is above" guest/memory.c '#include "guest.h"'
must_catch "not in the reading order" no_such_layer.c 'int x;'
must_catch "not in the reading order" Makefile.am 'libupage_pure_la_SOURCES += no_such_layer.c'

layers "$srcdir/../lib" || { echo "FAIL: the layers of lib/ are broken"; status=1; }
exit $status
