#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Reclaimers of whole programs: there are some, and the program does not see them.
. "$(dirname "$0")/support.sh"
find_upage

timeout 60 ./alone >"$scratch/native" || fail "alone, natively: status $?"
! grep WRONG "$scratch/native" || exit 99
for threads in 1 3; do
	timeout 250 "$upage" run -m 4M --reclaimers $threads --stats-json "$scratch/stats.json" -- ./alone \
		>"$scratch/paged" 2>"$scratch/errors" || fail "alone, with $threads reclaimers: status $?"
	cmp -s "$scratch/native" "$scratch/paged" || {
		fail "alone, with $threads reclaimers, differs (<: native, >: paged)"
		diff "$scratch/native" "$scratch/paged" | head -20
	}
	test ! -s "$scratch/errors" || fail "$threads reclaimers: on stderr: $(head -3 "$scratch/errors")"
	reclaimed=$(number reclaimed "$scratch/stats.json")
	test "${reclaimed:-0}" -gt 0 ||
		fail "$threads reclaimers reclaimed ${reclaimed:-no number of} pages"
done
exit $failed
