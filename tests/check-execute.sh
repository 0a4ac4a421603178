#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# execve in all its forms: execute.c says the same natively and under `upage run`.
set -u
upage=$PWD/../tools/upage execute=$PWD/execute
test -x "$upage" && test -x "$execute" || { echo "tools/upage or execute was not built"; exit 77; }
"$upage" run -- true || { echo "system calls cannot be intercepted here"; exit 77; }
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
failed=0

# compare WHERE TITLE COMMAND...: in a directory of its own
native_then()
{
	title=$1 shell=$2
	shift 2
	for run in native paged; do
		rm -rf "$scratch/work"
		mkdir "$scratch/work"
		prefix=
		test $run = native || prefix="$upage run -m 1M --"
		(cd "$scratch/work" && timeout -k 5 200 sh -c "$shell; exec $prefix $execute $*") \
			>"$scratch/$run" 2>"$scratch/$run.err" </dev/null
		echo "status $?" >>"$scratch/$run"
	done
	cmp -s "$scratch/native" "$scratch/paged" && cmp -s "$scratch/native.err" "$scratch/paged.err" || {
		echo "FAIL: $title (<: native, >: paged):"
		diff "$scratch/native" "$scratch/paged" | head -40
		head -5 "$scratch/paged.err"
		failed=1
	}
}

native_then "execve" :
native_then "execve with an endless stack" "ulimit -s unlimited"
native_then "execve with few descriptors" "ulimit -S -n 12"
native_then "1000 in a row" : 1000
exit $failed
