#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Without interception: asked for (intercept=off), or because the kernel cannot do it, of which
# there is one line on stderr. What hands the kernel nothing that is out goes on as natively.
. "$(dirname "$0")/compare.sh"
built hash_join-native hash_join-linked

# run NAME OPTIONS COMMAND...: to its files; statistics must be there
run()
{
	name=$1 options=$2
	shift 2
	UPAGE_OPTIONS=${UPAGE_WITH-},$options,stats-json=$scratch/stats.json timeout -k 5 100 "$@" \
		> "$scratch/$name" 2> "$scratch/$name.err"
	status=$?
	test $status -ne 77 || { cat "$scratch/$name.err"; exit 77; }
	test $status -eq 0 || fail "$name ended with $status: $(head -3 "$scratch/$name.err")"
	cmp -s "$scratch/native" "$scratch/$name" || fail "$name: not the native run's output"
	intercepted=$(number intercepted "$scratch/stats.json")
	rm -f "$scratch/stats.json"
	test "${intercepted:-1}" -eq 0 || fail "$name: ${intercepted:-no} calls were intercepted, not 0"
}

# expect NAME LINES: what is said on stderr
expect()
{
	test "$(wc -l < "$scratch/$1.err")" -eq "$2" || {
		fail "$1: not $2 lines on stderr:"
		head -10 "$scratch/$1.err"
	}
}

run_native hash_join-native 4
run off memory=64M,intercept=off ./hash_join-linked 4
expect off 0
run without memory=64M ./dispatch --without ./hash_join-linked 4
expect without 1
grep -q '^upage: .*system calls' "$scratch/without.err" ||
	fail "it is not said that system calls are not intercepted"
run off_without memory=64M,intercept=off ./dispatch --without ./hash_join-linked 4
expect off_without 0

# The tests that need it are skipped there, by the same program.
./dispatch --without ./dispatch true > /dev/null
status=$?
test $status -eq 77 || fail "dispatch ended with $status, not 77, where there is none"
exit $failed
