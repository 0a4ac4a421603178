#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Signals on evicted stacks: stacks.c must say the same natively and linked with upage-malloc.
test -x ./stacks-native && test -x ./stacks-linked || { echo "stacks was not built"; exit 77; }
ulimit -c 0
unset UPAGE_OPTIONS
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
trap 'exit 99' HUP INT TERM
failed=0

timeout -k 5 120 ./stacks-native "$@" > "$scratch/native" 2> "$scratch/native.err" ||
	{ echo "check-stacks: the native run ended with $?"; tail -3 "$scratch/native"; exit 99; }
UPAGE_OPTIONS=memory=512K,stats-json=$scratch/stats.json \
	timeout -k 5 270 ./stacks-linked "$@" > "$scratch/linked" 2> "$scratch/linked.err"
status=$?
test $status -eq 0 || {
	echo "check-stacks: the linked run ended with $status after:"
	tail -1 "$scratch/linked"
	failed=1
}
cmp -s "$scratch/native" "$scratch/linked" || {
	echo "check-stacks: the transcripts differ (<: native, >: linked):"
	diff "$scratch/native" "$scratch/linked" | head -40
	failed=1
}
# The library's word on a fault that kills is all that may be added to what is said on stderr.
grep -v '^upage: segmentation fault' "$scratch/linked.err" > "$scratch/rest.err"
cmp -s "$scratch/native.err" "$scratch/rest.err" || {
	echo "check-stacks: the linked run had this to say:"
	head -10 "$scratch/linked.err"
	failed=1
}
evictions=$(sed -n 's/.*"evictions": *\([0-9][0-9]*\).*/\1/p' "$scratch/stats.json" | head -1)
test "${evictions:-0}" -ge 10000 ||
	{ echo "check-stacks: ${evictions:-no} evictions, not 10000"; failed=1; }
exit $failed
