#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Whole programs that have all the mappings that the host allows: their memory is used on, and they have had as many.
. "$(dirname "$0")/support.sh"
find_upage

# same THREADS PAGES OPTION...
same()
{
	threads=$1 pages=$2
	shift 2
	natively=$(timeout 60 ./crowded $threads $pages) || fail "crowded $threads $pages, natively: status $?"
	test "$natively" != "no limit" || { echo "the host has no limit of mappings that can be met"; exit 77; }
	paged=$(timeout 100 "$upage" run "$@" -- ./crowded $threads $pages 2>&1)
	test "$paged" = "$natively" || fail "crowded $threads $pages, $*: $paged; natively: $natively"
}

same 1 6000 -m 64K
same 1 6000 -m 1M --prefetch off
same 1 70000 -m 512M
same 4 6000 -m 64K
same 4 6000 -m 1M --reclaimers 1
same 4 6000 -m 64M
exit $failed
