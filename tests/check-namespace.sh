#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What libupage.so shows to a program: all of upage.h, four functions of the C library
# (interpose.c), what it lends to libupage-malloc.so (adopt.h), nothing else. That one shows the
# malloc family and upage_malloc.h. And what they ask of the loader: no libsigsegv, jemalloc, liblz4
# or libstdc++, nothing lazy.
set -u
srcdir=${srcdir-.}
LC_ALL=C
export LC_ALL
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

# declared HEADER: its functions, names before a parenthesis, outside comments
declared()
{
	sed -e 's,/\*.*\*/,,' -e '/\/\*/,/\*\//d' -e 's,//.*,,' "$srcdir/../lib/$1" |
		grep -o 'upage_[a-z0-9_]*(' | tr -d '(' | grep . || fail "no functions found in $1"
}

# examine LIBRARY NAME...: exports these, and can be loaded under a running program
examine()
{
	library=../lib/.libs/$1
	shift
	exported=$(${NM-nm} -D --defined-only "$library" |
		awk '{ sub(/@.*/, "", $NF); print $NF }' | sort -u)
	expect "symbols that $library exports" "$(printf '%s\n' "$@" | sort -u)" "$exported"

	dynamic=$(readelf -d "$library")
	expect "private libraries of $library" "" \
		"$(echo "$dynamic" | grep NEEDED | grep -E 'sigsegv|jemalloc|lz4|stdc\+\+')"
	echo "$dynamic" | grep -q BIND_NOW || fail "$library: symbols are bound lazily"

	# Thread-local storage that the loader allocates on first use is not for signal handlers.
	${NM-nm} -D --undefined-only "$library" | grep -q -w __tls_get_addr &&
		fail "$library uses __tls_get_addr"
}

# shellcheck disable=SC2046 # lists of words
examine libupage.so $(declared upage.h) $(declared adopt.h) \
	sigaction signal sigprocmask pthread_sigmask
test ! -f ../lib/.libs/libupage-malloc.so ||
	examine libupage-malloc.so $(declared upage_malloc.h) \
		malloc calloc realloc reallocarray free cfree posix_memalign aligned_alloc memalign \
		valloc pvalloc malloc_usable_size malloc_trim malloc_stats malloc_info mallinfo \
		mallinfo2 mallopt

exit $status
