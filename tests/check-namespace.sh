#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What libupage.so shows to a program: all of upage.h, four functions of the C library (signals.h), nothing else; and
# what it asks of the loader: no libsigsegv, jemalloc or libstdc++, nothing lazy.
set -u
srcdir=${srcdir-.}
LC_ALL=C
export LC_ALL
library=../lib/.libs/libupage.so
status=0

fail()
{
	echo "FAIL: $*"
	status=1
}

# expect WHAT SORTED-LIST SORTED-LIST: the lists (one word a line) are the same
expect()
{
	test "$2" = "$3" && return
	printf '%s\n' "$2" >namespace.wanted
	printf '%s\n' "$3" >namespace.found
	fail "$1 (-: missing, +: too much)"
	diff -u namespace.wanted namespace.found
	rm -f namespace.wanted namespace.found
}

# Functions of the public header: names before a parenthesis, outside comments.
declared=$(sed -e 's,/\*.*\*/,,' -e '/\/\*/,/\*\//d' -e 's,//.*,,' "$srcdir/../lib/upage.h" |
	grep -o 'upage_[a-z0-9_]*(' | tr -d '(')
exported=$(${NM-nm} -D --defined-only "$library" |
	awk '{ sub(/@.*/, "", $NF); print $NF }' | sort -u)
test -n "$declared" || fail "no functions found in upage.h"
expect "exported symbols" "$(printf '%s\n' "$declared" sigaction signal sigprocmask pthread_sigmask | sort -u)" "$exported"

dynamic=$(readelf -d "$library")
expect "private libraries" "" \
	"$(echo "$dynamic" | grep NEEDED | grep -E 'sigsegv|jemalloc|stdc\+\+')"
echo "$dynamic" | grep -q BIND_NOW || fail "symbols are bound lazily: -z now is missing"

# Thread-local storage that the loader allocates on first use is not for signal handlers.
${NM-nm} -D --undefined-only "$library" | grep -q -w __tls_get_addr && fail "__tls_get_addr is used"

exit $status
