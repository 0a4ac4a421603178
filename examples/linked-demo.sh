#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# linked-demo.sh [MIB [MEMORY]] - one program linked twice: with the C library's malloc, and
# with libupage-malloc. Its heap has about MIB MiB (default 8); paged, it gets MEMORY (default
# a quarter of that). Both must write the same results.
mib=${1-8} memory=${2-$((${1-8} * 256))K}
dir=$(mktemp -d "${TMPDIR:-/tmp}/linked-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT

./sqlite_native "$mib" >"$dir/native" || exit 1
UPAGE_OPTIONS="memory=$memory,stats" ./sqlite_linked "$mib" >"$dir/linked" 2>"$dir/stats"
status=$?
cat "$dir/stats" >&2
[ $status = 0 ] || exit 1
grep -q '^ *evictions *[1-9]' "$dir/stats" || { echo "FAILED: nothing was evicted"; exit 1; }
cmp "$dir/native" "$dir/linked" || { echo "FAILED: the results differ"; exit 1; }
echo "$(wc -l <"$dir/linked") lines of results, identical"
