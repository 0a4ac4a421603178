#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# gdb as the manual page says: one that is paged, of a native program; and one outside, of a paged
# program. Both say what they say of a native program.
. "$(dirname "$0")/support.sh"
find_upage
test -x ./memory_calls || { echo "memory_calls was not built"; exit 77; }
command -v gdb >/dev/null || { echo "there is no gdb"; exit 77; }
program=
trap 'test -z "$program" || kill "$program"; rm -rf "$scratch"' EXIT
unset LD_PRELOAD DEBUGINFOD_URLS

# told FILE: what was seen of the program
told()
{
	sed -n -e '/^#[01] .*\(tell\|random_calls\|main\)/s/^\(#[0-9]*\).*\(tell\|random_calls\|main\) (.*/\1 \2/p' \
		-e '/^\$[0-9]* = /p' -e '/exited /s/process [0-9]*/process/p' "$1"
}

# ---- A paged gdb of a native program
cat >"$scratch/whole" <<'EOF'
set pagination off
handle SIGSEGV SIGBUS nostop noprint pass
break random_calls
run
bt
delete
continue
EOF
for prefix in '' "$upage run -m 16M --no-follow --"; do
	test -s "$scratch/native" && run=paged || run=native
	timeout 200 $prefix gdb -nx -batch -x "$scratch/whole" --args ./memory_calls fuzz 1 10 1 \
		>"$scratch/$run" 2>&1 </dev/null
	told "$scratch/$run" >"$scratch/$run.told"
done
grep -q random_calls "$scratch/native.told" && grep -q 'exited normally' "$scratch/native.told" ||
	{ echo "gdb cannot run a program here: $(tail -3 "$scratch/native")"; exit 77; }
cmp "$scratch/native.told" "$scratch/paged.told" || fail "a paged gdb: $(cat "$scratch/paged")"

# ---- A gdb outside, of a paged program that runs already. Its code may be out: breakpoints are those
# of the processor.
cat >"$scratch/attach" <<'EOF'
set pagination off
handle SIGSEGV SIGBUS SIGSYS nostop noprint pass
hbreak tell
continue
continue 100
bt
delete
kill
EOF
for run in native paged; do
	prefix=
	test $run = native || prefix="$upage run -m 1M --"
	$prefix ./memory_calls fuzz 1 100000000 1 >/dev/null &
	program=$!
	sleep 1
	timeout 100 gdb -nx -batch -iex 'set exec-file-mismatch off' -x "$scratch/attach" \
		-p $program ./memory_calls >"$scratch/$run" 2>&1 </dev/null
	kill $program 2>/dev/null
	wait $program 2>/dev/null
	program=
	told "$scratch/$run" >"$scratch/$run.told"
done
if grep -q '^#0 tell' "$scratch/native.told"; then
	cmp "$scratch/native.told" "$scratch/paged.told" || fail "gdb of a paged program: $(cat "$scratch/paged")"
else
	echo "gdb cannot attach, or stop at a breakpoint of the processor, here: $(tail -3 "$scratch/native")"
fi
exit $failed
