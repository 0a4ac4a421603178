#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Whole programs that have all the mappings that the host allows: their memory is used on.
. "$(dirname "$0")/support.sh"
find_upage

for threads in 1 4; do
	natively=$(timeout 60 ./crowded $threads) || fail "crowded $threads, natively: status $?"
	case $natively in
	"no limit") echo "the host has no limit of mappings that can be met"; exit 77 ;;
	esac
	for words in "-m 64K" "-m 1M" "-m 64M" "-m 1M --reclaimers 1" "-m 64M --prefetch off"; do
		paged=$(timeout 100 "$upage" run $words -- ./crowded $threads 2>&1)
		test "$paged" = "$natively" || fail "crowded $threads, $words: $paged"
	done
done
exit $failed
