#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Memory calls of whole programs: the transcripts of memory_calls natively and under `upage run`, in
# little memory, are the same; and what /proc says of a program's memory is of it.
. "$(dirname "$0")/support.sh"
find_upage

# same MEMORY WORD...: of memory_calls
same()
{
	memory=$1
	shift
	timeout 60 ./memory_calls "$@" >"$scratch/native" || fail "memory_calls $*, natively: $?"
	timeout 120 $upage run -m "$memory" -- ./memory_calls "$@" >"$scratch/paged" 2>"$scratch/errors" ||
		fail "memory_calls $*, in $memory: status $?"
	cmp -s "$scratch/native" "$scratch/paged" || {
		fail "memory_calls $*, in $memory, differs:"
		diff "$scratch/native" "$scratch/paged" | head -10
	}
	test ! -s "$scratch/errors" || fail "memory_calls $*: on stderr: $(head -3 "$scratch/errors")"
}

same 64K calls
same 4M calls
for seed in 1 2 3; do
	same 128K fuzz $seed 2000 1
	same 1M fuzz 1$seed 1000 4
done

# ---- What would change the host's mappings of frames is refused, and nothing else differs
./memory_calls refused | sed 's/^\(syscall(SYS_m.*:\) .*/\1 E38/' >"$scratch/native"
timeout 60 $upage run -m 1M -- ./memory_calls refused >"$scratch/paged" 2>&1 || fail "memory_calls refused: status $?"
test "$(grep -c E38 "$scratch/native")" = 4 && cmp -s "$scratch/native" "$scratch/paged" || {
	fail "memory_calls refused (<: right, >: paged):"
	diff "$scratch/native" "$scratch/paged" | head -10
}

# ---- What is shared is counted apart: no more than the reservation of 4 MiB, and what lies elsewhere
# shared WORD...: the most bytes
shared()
{
	$upage run -m 4M --stats-json "$scratch/shared.json" -- "$@" >/dev/null
	number shared_bytes_peak "$scratch/shared.json"
}
for run in 'calls' 'fuzz 1 3000 1'; do
	most=$(shared ./memory_calls $run)
	test "$most" -gt 65536 && test "$most" -lt 6000000 || fail "memory_calls $run: at most $most bytes shared"
done
test "$(shared ./execute --count 0)" = 0 || fail "execute has shared mappings"

# ---- What /proc says
run="timeout 60 $upage run -m 4M --"
$run cat /proc/self/maps >"$scratch/maps"
grep -q '^[0-9a-f]*-[0-9a-f]* r-xp [0-9a-f]* [0-9a-f]*:[0-9a-f]* [0-9]* *.*/cat$' "$scratch/maps" ||
	fail "maps: no code of cat"
for name in '\[heap\]' '\[stack\]' '\[vdso\]'; do
	test "$(grep -c "$name\$" "$scratch/maps")" = 1 || fail "maps: $name"
done
grep -q upage "$scratch/maps" && fail "maps: upage is in it"
# And what it says of a process is that, whatever its files are called.
timeout 60 ./names >"$scratch/native" 2>&1 || fail "names, natively: status $?"
$run ./names >"$scratch/paged" 2>&1 || fail "names: status $?"
cmp -s "$scratch/native" "$scratch/paged" || {
	fail "names (<: native, >: paged):"
	diff "$scratch/native" "$scratch/paged" | head -40
}
# Rss of all is not more than memory, and the sum of sizes is VmSize.
$run cat /proc/self/smaps /proc/self/status >"$scratch/smaps"
awk '/^Rss:/ { rss += $2 } /^Size:/ { size += $2; last = $2 } /^VmRSS:/ { vmrss = $2 }
	/^VmSize:/ { vmsize = $2 } / \[v/ { special = 1 } /^Size:/ && special { other += $2; special = 0 }
	END { exit !(vmrss > 0 && vmrss <= 4096 && rss > 0 && rss <= 6000 && size - other == vmsize) }' \
	"$scratch/smaps" || fail "smaps and status: $(grep Vm "$scratch/smaps")"
test "$($run cut -d' ' -f1 /proc/self/statm)" -lt 10000 || fail "statm: $($run cat /proc/self/statm)"
exit $failed
