#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# System calls of code that has been patched: patches.c, and the programs of the other tests, must say
# in `upage run` what they say natively; with --patch off no place is patched.
. "$(dirname "$0")/compare.sh"
built patches-native guests-native stacks-native processes-native calls-native
test -x "$upage" || { echo "tools/upage was not built"; exit 77; }

# patched LEAST: of the last run, where the processor and the kernel can
if grep -qw fsgsbase /proc/cpuinfo && grep -qw xsavec /proc/cpuinfo; then can=1; else can=0; fi
patched()
{
	sites=$(number patched_sites "$scratch/stats.json")
	test "${sites:-0}" -ge $(($1 * can)) || fail "${sites:-no} places were patched, not $1"
}

run_native patches-native "$@"
run_whole 64M 0 patches-native "$@"
test $# -gt 0 || patched 150 # 83 for certain; of those that threads race for, as many as come
run_whole 2M 500 patches-native "$@"
test $# -gt 0 || patched 50
test $# -eq 0 || exit $failed
whole_options=--patch=off
run_whole 64M 0 patches-native
sites=$(number patched_sites "$scratch/stats.json")
test "${sites:-none}" = 0 || fail "${sites:-no} places were patched, for all that it was forbidden"
whole_options=--patch=on
run_native guests-native
run_whole 64M 0 guests-native
patched 1
run_whole 1M 0 guests-native
run_native stacks-native --signals 1000
run_whole 64M 0 stacks-native --signals 1000
patched 1
run_native processes-native
run_whole 64M 0 processes-native
patched 1
run_native calls-native --without executeat_evicted,traced_execution
run_whole 64M 0 calls-native --without executeat_evicted,traced_execution
patched 1
exit $failed
