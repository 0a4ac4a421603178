#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests under other defaults than the library's: what a test leaves open is as the mode says.
#
#   modes.sh TEST...       TEST: a test program of this directory, or a script of the sources
#   MODES="WORDS..."       modes other than those below: words of UPAGE_OPTIONS, as many as go together with commas
#                          between them
#
# A line a mode: how many passed, and the names of those that did not, whose output follows. Programs make their pools
# with UPAGE_WITH (support_with.h), which is also before what scripts give to linked programs. To whole programs it goes
# as options of `upage run`, but mapping=guard, which is not for them, and with 512 mappings in place of 64, with which
# some take minutes. What depends on an option states it: then
# no mode changes it.
set -u
srcdir=${srcdir:-$(dirname "$0")}
export srcdir
unset UPAGE_OPTIONS
# Some modes are slow.
CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-5}
export CK_TIMEOUT_MULTIPLIER

# Ways to map; pages that come in at once; threads that free frames; stores; and all of it together.
modes=${MODES:-mapping=guard mapping=remap mapping-budget=64 prefetch=off prefetch=64 reclaimers=2 store=lz4 store=file,direct
	mapping=guard,prefetch=64,reclaimers=2,store=lz4 mapping=remap,prefetch=auto,reclaimers=8,store=file,direct
	mapping-budget=64,prefetch=4,reclaimers=1,policy=random}

[ $# -ge 1 ] || { echo "usage: modes.sh TEST..." >&2; exit 2; }
scratch=$(mktemp -d "${TMPDIR:-/tmp}/modes-XXXXXX") || exit 99
trap 'rm -rf "$scratch"' EXIT
trap 'exit 99' HUP INT TERM
tests=$*
failures=0 command=
for up in .. ../..; do
	[ ! -x $up/tools/upage ] || command=$(cd $up/tools && pwd)/upage
done

# The command with the mode's options, for scripts, which skip what needs it where there is none.
wrap()
{
	[ -n "$command" ] || return
	options=$(echo "$UPAGE_WITH" | tr , '\n' | sed -e '/^mapping=guard$/d' -e 's/^mapping-budget=64$/mapping-budget=512/' -e 's/^/--/' | tr '\n' ' ')
	UPAGE=$scratch/upage
	cat >"$UPAGE" <<-end
	#!/bin/sh
	[ "\$1" = run ] || exec "$command" "\$@"
	shift
	exec "$command" run $options "\$@"
	end
	chmod +x "$UPAGE"
	export UPAGE
}

for UPAGE_WITH in $modes; do
	export UPAGE_WITH
	wrap
	passed=0 failed= skipped=0
	: >"$scratch/failures"
	for test in $tests; do
		case $test in
		*.sh) set -- sh "$srcdir/$test" ;;
		*) set -- "./$test" ;;
		esac
		timeout -k 10 "${LIMIT:-1800}" "$@" >"$scratch/log" 2>&1 </dev/null
		status=$?
		case $status in
		0) passed=$((passed + 1)) ;;
		77) skipped=$((skipped + 1)) ;;
		*)
			failed="$failed $test"
			echo "$test: status $status" >>"$scratch/failures"
			tail -n 20 "$scratch/log" | sed 's/^/    /' >>"$scratch/failures"
			;;
		esac
	done
	echo "$UPAGE_WITH: $passed passed, $skipped skipped, failed:${failed:- none}"
	cat "$scratch/failures"
	[ -z "$failed" ] || failures=$((failures + 1))
done
[ $failures = 0 ]
