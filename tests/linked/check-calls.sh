#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The cases of calls.c, whose memory is all out when a system call is made:
#  1. linked with upage-malloc, in 64 frames, they must say what they say natively;
#  2. without interception each that is marked as needing it must say something else, or the
#     case could not fail and would prove nothing.
test -x ./calls-native && test -x ./calls-linked || { echo "calls was not built"; exit 77; }
ulimit -c 0
unset UPAGE_OPTIONS CALLS_FLOOD CALLS_LIMIT
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
trap 'exit 99' HUP INT TERM
TMPDIR=$scratch
export TMPDIR
limit="timeout -k 5 200"
failed=0

fail()
{
	echo "check-calls: $*"
	failed=1
}

./calls-native > "$scratch/native" 2> "$scratch/native.err" ||
	{ echo "check-calls: the native run ended with $?"; tail -3 "$scratch/native"; exit 99; }

UPAGE_OPTIONS=memory=256K,stats-json=$scratch/stats.json $limit ./calls-linked \
	> "$scratch/linked" 2> "$scratch/linked.err"
status=$?
test $status -eq 0 || fail "the linked run ended with $status after: $(tail -1 "$scratch/linked")"
cmp -s "$scratch/native" "$scratch/linked" || {
	fail "the transcripts differ (<: native, >: linked):"
	# Up to where it ended, if it did not come to the end.
	head -n "$(wc -l < "$scratch/linked")" "$scratch/native" > "$scratch/want"
	diff "$scratch/want" "$scratch/linked" | head -60
}
cmp -s "$scratch/native.err" "$scratch/linked.err" || {
	fail "the linked run had this to say:"
	head -10 "$scratch/linked.err"
}

# At least one page was evicted a case, so the memory was really out.
cases=$(./calls-native --list | wc -l)
evictions=$(sed -n 's/.*"evictions": *\([0-9][0-9]*\).*/\1/p' "$scratch/stats.json" | head -1)
test "${evictions:-0}" -ge "$cases" ||
	fail "${evictions:-no} evictions were counted, with $cases cases"

# Without interception, one process a case.
# Return: whether it says the same as natively.
without()
{
	CALLS_FLOOD=1 CALLS_LIMIT=3 UPAGE_OPTIONS=memory=256K,intercept=off \
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
echo "check-calls: $cases cases, $proved proved to need interception, $evictions evictions"
exit $failed
