#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The cases of calls.c, whose memory is all out when a system call is made:
#  1. linked with upage-malloc, in 64 frames, they must say what they say natively;
#  2. without interception each that is marked as needing it must say something else, or the
#     case could not fail and would prove nothing.
. "$(dirname "$0")/compare.sh"
built calls-native calls-linked
unset CALLS_FLOOD CALLS_LIMIT

# With a soft limit just under the number where ours should end, they are above it.
if (ulimit -S -n 4090) 2>/dev/null; then
	(ulimit -S -n 4090
		run_native calls-native --case select_sets
		run_whole 1M 0 calls-native --case select_sets
		exit $failed) || failed=1
fi

run_native calls-native
# At least one page was evicted a case, so the memory was really out.
cases=$(./calls-native --list | wc -l)
run_paged memory=256K "$cases" calls-linked

# Without interception, one process a case; with frames that change, which the kernel knows futexes by.
# Return: whether it says the same as natively.
without()
{
	CALLS_FLOOD=1 CALLS_LIMIT=3 UPAGE_OPTIONS=${UPAGE_WITH-},memory=256K,intercept=off,mapping=remap \
		timeout -k 1 20 ./calls-linked --case "$1" > "$scratch/$1.off" 2> /dev/null
	status=$?
	grep "^$1: " "$scratch/native" > "$scratch/$1.want"
	grep "^$1: " "$scratch/$1.off" > "$scratch/$1.got"
	test $status -eq 0 && cmp -s "$scratch/$1.want" "$scratch/$1.got"
}

# Every second of the cases that need it, those that hang without it being slow.
prove()
{
	./calls-native --list | sed -n 's/^+//p' | sed -n "$1~2p" | while read -r name; do
		if without "$name" < /dev/null; then
			echo "$name passes without interception: it proves nothing"
		else
			echo "$name" >> "$scratch/proved.$1"
		fi
	done > "$scratch/unproved.$1"
}

# What needs none must still work, or all would differ for another reason.
without bad_descriptors || fail "bad_descriptors differs without interception, and needs none"
prove 1 &
prove 2
wait
proved=$(cat "$scratch"/proved.* | wc -l)
cat "$scratch"/unproved.*
test "$proved" -eq "$(./calls-native --list | grep -c '^+')" ||
	fail "$proved cases were proved to need interception, not all that say so"
echo "$script: $cases cases, $proved proved to need interception, $evictions evictions"
exit $failed
