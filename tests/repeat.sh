#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests again and again, while every processor is kept busy by a loop: what depends on who comes
# first shows.
#
#   repeat.sh N TEST...    TEST: one word for the shell: a test program of this directory, or a
#                          script of the sources, with its arguments
#
# Each test runs N times in a row, within $LIMIT seconds (300) each time. $LOOPS: how many loops, where others keep the
# processors busy; one a processor. It fails if one run does
# (a run that is skipped, 77, is none); the end of that run's output is shown.
set -u
srcdir=${srcdir:-$(dirname "$0")}
export srcdir
unset UPAGE_OPTIONS

[ $# -ge 2 ] && [ "$1" -gt 0 ] 2>/dev/null || { echo "usage: repeat.sh N TEST..." >&2; exit 2; }
times=$1
shift

log=$(mktemp "${TMPDIR:-/tmp}/repeat-XXXXXX") || exit 99
loops= failures=0
trap 'kill $loops 2>/dev/null; rm -f "$log"' EXIT
trap 'exit 99' HUP INT TERM
for processor in $(seq "${LOOPS:-$(nproc)}"); do
	sh -c 'while :; do :; done' &
	loops="$loops $!"
done

printf '%-52s %7s %7s %8s\n' test passed of longest
for test; do
	case $test in
	*.sh | *.sh\ *) set -- sh -c "exec sh \"\$srcdir\"/$test" ;;
	*) set -- sh -c "exec ./$test" ;;
	esac
	passed=0 run=0 longest=0
	while [ $run -lt "$times" ]; do
		run=$((run + 1)) began=$(date +%s)
		timeout -k 10 "${LIMIT:-300}" "$@" >"$log" 2>&1 </dev/null
		status=$?
		took=$(($(date +%s) - began))
		[ $took -le $longest ] || longest=$took
		case $status in
		0) passed=$((passed + 1)) ;;
		77) break ;;
		*)
			echo "run $run of $test: status $status"
			tail -n 20 "$log" | sed 's/^/    /'
			;;
		esac
	done
	if [ $status = 77 ] && [ $passed = $((run - 1)) ]; then
		printf '%-52s skipped: %s\n' "$test" "$(tail -n 1 "$log")"
		continue
	fi
	printf '%-52s %7s %7s %7ss\n' "$test" $passed "$times" $longest
	[ $passed = "$times" ] || failures=$((failures + 1))
done
[ $failures = 0 ]
