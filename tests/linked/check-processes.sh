#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Processes: processes.c must say the same natively and linked with upage-malloc.
# "check-processes.sh --size 67108864" is the full size.
. "$(dirname "$0")/compare.sh"
built processes-native processes-linked
run_native processes-native "$@"
run_paged memory=256K 1000 processes-linked "$@"
# With threads of ours, which no process may notice.
run_paged memory=1M,reclaimers=2 1000 processes-linked "$@"
test "$(number reclaimed "$scratch/stats.json")" -gt 0 || fail "nothing was reclaimed"
run_native processes-native --size 33554432 borrowers
run_paged memory=16M 0 processes-linked --size 33554432 borrowers # the evictions are its child's
exit $failed
