#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The program's own data in paged memory: adopted.c must say the same natively, and linked with
# upage-malloc under adopt-data with a fraction of its 20 MiB; which are then nowhere else.
test -x ./adopted-native && test -x ./adopted-linked ||
	{ echo "adopted was not built"; exit 77; }
ulimit -c 0
unset UPAGE_OPTIONS
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
trap 'exit 99' HUP INT TERM
TMPDIR=$scratch
export TMPDIR
failed=0

fail()
{
	echo "check-adopted: $*"
	failed=1
}

# anonymous FILE: KiB of it that the kernel counted
anonymous()
{
	sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "$1"
}

timeout -k 5 120 ./adopted-native "$scratch/native.memory" > "$scratch/native" 2> "$scratch/native.err" ||
	{ echo "check-adopted: the native run ended with $?"; cat "$scratch/native"; exit 99; }
grep -q WRONG "$scratch/native" && { cat "$scratch/native"; exit 99; }
UPAGE_OPTIONS=memory=512K,adopt-data,stats-json=$scratch/stats.json timeout -k 5 270 \
	./adopted-linked "$scratch/linked.memory" > "$scratch/linked" 2> "$scratch/linked.err"
status=$?
test $status -eq 0 || fail "the linked run ended with $status after: $(tail -1 "$scratch/linked")"
cmp -s "$scratch/native" "$scratch/linked" || {
	fail "the transcripts differ (<: native, >: linked):"
	diff "$scratch/native" "$scratch/linked"
}
cmp -s "$scratch/native.err" "$scratch/linked.err" || {
	fail "the linked run had this to say:"
	head -10 "$scratch/linked.err"
}
evictions=$(sed -n 's/.*"evictions": *\([0-9][0-9]*\).*/\1/p' "$scratch/stats.json" | head -1)
test "${evictions:-0}" -ge 10000 || fail "${evictions:-no} evictions, not 10000"

# Natively it is all there: that the figure shows it makes the other one worth something.
native=$(anonymous "$scratch/native.memory")
linked=$(anonymous "$scratch/linked.memory")
test "${native:-0}" -ge 20480 || fail "${native:-no} KiB of anonymous memory natively, not 20480"
test "${linked:-20480}" -le 6144 || fail "${linked:-unknown} KiB of anonymous memory, not at most 6144"
echo "check-adopted: $evictions evictions; $native KiB anonymous natively, $linked linked"
exit $failed
