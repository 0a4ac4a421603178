#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Processes: processes.c must say the same natively and linked with upage-malloc, and leave no
# file behind. "check-processes.sh --size 67108864" is the full size.
test -x ./processes-native && test -x ./processes-linked ||
	{ echo "processes was not built"; exit 77; }
ulimit -c 0
unset UPAGE_OPTIONS
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
trap 'exit 99' HUP INT TERM
mkdir "$scratch/files"
TMPDIR=$scratch/files
export TMPDIR
failed=0

timeout -k 5 120 ./processes-native "$@" > "$scratch/native" 2> "$scratch/native.err" || {
	echo "check-processes: the native run ended with $?"
	tail -3 "$scratch/native"
	exit 99
}
UPAGE_OPTIONS=memory=256K,stats-json=$scratch/stats.json \
	timeout -k 5 270 ./processes-linked "$@" > "$scratch/linked" 2> "$scratch/linked.err"
status=$?
test $status -eq 0 || {
	echo "check-processes: the linked run ended with $status after:"
	tail -1 "$scratch/linked"
	failed=1
}
cmp -s "$scratch/native" "$scratch/linked" || {
	echo "check-processes: the transcripts differ (<: native, >: linked):"
	diff "$scratch/native" "$scratch/linked" | head -40
	failed=1
}
left=$(ls -A "$scratch/files")
test -z "$left" || { echo "check-processes: files were left behind: $left"; failed=1; }
# The library's word on a fault that kills is all that may be added to what is said on stderr.
grep -v '^upage: segmentation fault' "$scratch/linked.err" > "$scratch/rest.err"
cmp -s "$scratch/native.err" "$scratch/rest.err" || {
	echo "check-processes: the linked run had this to say:"
	head -10 "$scratch/linked.err"
	failed=1
}
evictions=$(sed -n 's/.*"evictions": *\([0-9][0-9]*\).*/\1/p' "$scratch/stats.json" | head -1)
test "${evictions:-0}" -ge 1000 ||
	{ echo "check-processes: ${evictions:-no} evictions, not 1000"; failed=1; }
exit $failed
