#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Linked with -static, and -static-pie: malloc, threads, processes, signals and system calls on
# evicted memory, by the same programs as in the other tests, must be what they are natively.
test -x ./processes-static || { echo "no static program was built"; exit 77; }
ulimit -c 0
unset UPAGE_OPTIONS
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
trap 'exit 99' HUP INT TERM
mkdir "$scratch/files"
TMPDIR=$scratch/files
export TMPDIR
failed=0

fail()
{
	echo "check-static: $*"
	failed=1
}

# check NATIVE STATIC EVICTIONS [ARGUMENT]...: at least so many evictions
check()
{
	native=$1 static=$2 least=$3
	shift 3
	timeout -k 5 120 "./$native" "$@" > "$scratch/native" 2> "$scratch/native.err" ||
		{ echo "check-static: $native ended with $?"; tail -3 "$scratch/native"; exit 99; }
	UPAGE_OPTIONS=memory=256K,stats-json=$scratch/stats.json \
		timeout -k 5 200 "./$static" "$@" > "$scratch/static" 2> "$scratch/static.err"
	status=$?
	test $status -eq 0 || fail "$static ended with $status after: $(tail -1 "$scratch/static")"
	cmp -s "$scratch/native" "$scratch/static" || {
		fail "the transcripts of $static differ (<: native, >: static):"
		diff "$scratch/native" "$scratch/static" | head -20
	}
	# The library's word on a fault that kills is all that may be added to what is said on stderr.
	grep -v '^upage: segmentation fault' "$scratch/static.err" > "$scratch/rest.err"
	cmp -s "$scratch/native.err" "$scratch/rest.err" || {
		fail "$static had this to say:"
		head -10 "$scratch/static.err"
	}
	evictions=$(sed -n 's/.*"evictions": *\([0-9][0-9]*\).*/\1/p' "$scratch/stats.json" | head -1)
	rm -f "$scratch/stats.json"
	test "${evictions:-0}" -ge "$least" || fail "$static: ${evictions:-no} evictions, not $least"
}

check processes-native processes-static 1000
check processes-native processes-static-pie 1000
check stacks-native stacks-static 1000 --signals 1000
check calls-native calls-static 100
left=$(ls -A "$scratch/files")
test -z "$left" || fail "files were left behind: $left"
exit $failed
