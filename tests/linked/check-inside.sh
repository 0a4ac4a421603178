#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A program linked with upage-malloc inside `upage run`, which pages all of it: it says what the
# native one does, and pages nothing itself.
. "$(dirname "$0")/compare.sh"
upage=../../tools/upage
built processes-native processes-linked $upage
run_native processes-native
run_paged memory=256K 0 $upage run -m 1M --stats-json "$scratch/outer.json" -- ./processes-linked
test -z "$evictions" || fail "processes-linked paged by itself inside upage run"
run_paged memory=256K 0 $upage run -m 1M -- $upage run -m 2M -- ./processes-linked
grep -q '"ended": "killed"' "$scratch/outer.json" || fail "a killed process left no counters"
exit $failed
