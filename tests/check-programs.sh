#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Real programs, as they lie on the disk, must do under `upage run` what they do natively, in
# any memory.
#
#   check-programs.sh [--core|--full] [NAME]...    NAME: a file of tests/programs/
#
# Each program runs natively; then in ample memory, which tells its footprint: the most frames
# that one of its processes had in use at a time; then with 100 %, 50 % and 25 % of that as
# memory. Each run must have the native one's stdout, stderr, exit status and results. With 50 %
# and 25 % there must be evictions. --core (the default): small inputs, and without NAMEs only
# those programs that are marked core; --full: all, with large inputs.
#
# A file of tests/programs/ is read by this shell, and sets
#   title     what it is, in a few words
#   needs     commands without which it is skipped
#   command   for `sh -c`, in an empty directory that holds the input
#   core      yes: in --core, too
#   limit     seconds that a run may take (60); five times as many with --full; on a busy machine
#             thirty times what the native run took
# and defines, where it wants to, the functions (in a subshell, in the directory of the run)
#   input     makes files; $full is yes or no
#   normal    a filter for stdout and stderr: takes out what differs between two native runs
#   results   run natively afterwards: its stdout is compared too
set -u
LC_ALL=C TZ=UTC
export LC_ALL TZ
unset UPAGE_OPTIONS PYTHONSTARTUP NODE_OPTIONS JAVA_TOOL_OPTIONS MAKEFLAGS MAKELEVEL
# Not the wrappers of version managers, which are programs of their own.
PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin
ulimit -c 0

usage()
{
	echo "usage: check-programs.sh [--core|--full] [NAME]..." >&2
	exit 2
}

full=no names=
for word; do
	case $word in
	--core) full=no ;;
	--full) full=yes ;;
	-*) usage ;;
	*) names="$names $word" ;;
	esac
done
programs=$(cd "${srcdir:-.}/programs" && pwd) || exit 99
upage=${UPAGE:-$(cd ../tools 2>/dev/null && pwd)/upage}
[ -x "$upage" ] || { echo "tools/upage was not built"; exit 77; }
chosen=$names
[ -n "$names" ] || names=$(cd "$programs" && echo *)
for name in $names; do
	[ -f "$programs/$name" ] || { echo "check-programs.sh: unknown program '$name'" >&2; usage; }
done

dir=$(mktemp -d "${TMPDIR:-/tmp}/programs-XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 99' HUP INT TERM
mkdir "$dir/tmp"
TMPDIR=$dir/tmp HOME=$dir/work
export TMPDIR HOME
failures=0 ran=0

progress()
{
	[ ! -t 2 ] || printf '\r\033[K%s' "$*" >&2
}

row()
{
	progress
	printf '%-12s %6s %9s %9s %8s  %s\n' "$@"
}

# run RUN [COMMAND PREFIX]...: leaves $dir/RUN.{out,err,status,results} and $seconds. The working
# directory has the same name in every run. In the foreground: what ends this script ends it, too.
run()
{
	to=$1
	shift
	rm -rf "$dir/work"
	cp -R "$dir/input" "$dir/work"
	began=$(date +%s%N)
	# The braces: this shell, too, has a word to say when a program crashes.
	{
		(cd "$dir/work" && exec timeout --foreground -k 5 "$limit" "$@" sh -c "$command") \
			>"$dir/raw.out" 2>"$dir/raw.err" </dev/null
		echo $? >"$dir/$to.status"
	} 2>/dev/null
	ended=$(date +%s%N)
	ms=$(((ended - began) / 1000000))
	seconds=$((ms / 1000)).$(printf %03d $((ms % 1000)))
	for stream in out err; do
		(cd "$dir/work" && normal) <"$dir/raw.$stream" >"$dir/$to.$stream"
	done
	(cd "$dir/work" && results) >"$dir/$to.results" 2>&1
}

# The largest, and the sum, of a number in the statistics of all processes. Each has left a file;
# that of the first one holds those of its children too, which count once here.
largest()
{
	cat "$dir"/json/* 2>/dev/null | grep -o "\"$1\": [0-9]*" | sed 's/.*: //' | sort -n | tail -n 1
}
sum()
{
	for file in "$dir"/json/*; do
		[ ! -f "$file" ] || grep -o "\"$1\": [0-9]*" "$file" | sed -n '1s/.*: //p'
	done | awk '{ sum += $1 } END { print sum + 0 }'
}

# paged RUN BYTES LABEL: a run in that much memory, and a row of the table.
paged()
{
	progress "$name with $(($2 >> 10)) KiB ($3)"
	rm -rf "$dir/json"
	mkdir "$dir/json"
	run "$1" "$upage" run -m "$2" --stats-json "$dir/json/%p" --
	evictions=$(sum evictions) complaint=
	case $(cat "$dir/native.status") in
	124 | 137) ;;
	*)
		case $(cat "$dir/$1.status") in
		124 | 137) complaint="no end within $limit s; " ;;
		esac
		;;
	esac
	if [ -z "$complaint" ]; then
		for stream in status out err results; do
			cmp -s "$dir/native.$stream" "$dir/$1.$stream" || complaint="$complaint$stream differs; "
		done
	fi
	[ -n "$(largest frames_peak)" ] || complaint="${complaint}no statistics; "
	case $3 in
	50% | 25%)
		[ "$evictions" -gt 0 ] || complaint="${complaint}nothing was evicted; "
		;;
	esac
	row "$name" "$3" $(($2 >> 10)) "$evictions" "$seconds" "${complaint:-equal}"
	[ -n "$complaint" ] || return 0
	failures=$((failures + 1))
	case $complaint in
	*differs*)
		for stream in status out err results; do
			cmp -s "$dir/native.$stream" "$dir/$1.$stream" && continue
			echo "  $stream (<: native, >: under upage run):"
			diff -a "$dir/native.$stream" "$dir/$1.$stream" | head -n 8 | cut -c 1-150 | sed 's/^/    /'
		done
		;;
	"no end"*) head -n 4 "$dir/$1.err" | cut -c 1-150 | sed 's/^/    /' ;;
	esac
	return 1
}

check()
{
	rm -rf "$dir/input"
	mkdir "$dir/input"
	(cd "$dir/input" && input) || { row "$name" input - - - "its input could not be made"; return 1; }
	run native
	row "$name" native - - "$seconds" "$title"
	case $(cat "$dir/native.status") in
	124 | 137) row "$name" native - - - "native: no end within $limit s"; return 1 ;;
	esac
	[ -s "$dir/native.out" ] || [ -s "$dir/native.err" ] || [ -s "$dir/native.results" ] ||
		[ "$(cat "$dir/native.status")" != 0 ] ||
		{ row "$name" native - - - "native: nothing to compare"; return 1; }
	[ $((ms * 30 / 1000)) -le "$limit" ] || limit=$((ms * 30 / 1000))

	paged ample $((4 << 30)) ample || return 0
	footprint=$(($(largest frames_peak) * $(largest page_size)))
	[ "$evictions" = 0 ] || { row "$name" ample - - - "4G is not ample"; return 1; }
	for percent in 100 50 25; do
		memory=$((footprint * percent / 100))
		[ $memory -ge 65536 ] || memory=65536
		paged part$percent $memory $percent%
	done
	return 0
}

row program run KiB evictions seconds ""
for name in $names; do
	title= needs= command= core=no limit=60
	input() { :; }
	normal() { cat; }
	results() { :; }
	. "$programs/$name"
	[ $full = no ] || limit=$((limit * 5))
	[ $full = yes ] || [ -n "$chosen" ] || [ "$core" = yes ] || continue
	missing=
	for tool in $needs; do
		command -v "$tool" >/dev/null || missing="$missing $tool"
	done
	if [ -n "$missing" ]; then
		row "$name" - - - - "skipped: not installed:$missing"
		continue
	fi
	ran=$((ran + 1))
	check || failures=$((failures + 1))
done
progress
[ $ran -gt 0 ] || { echo "none of the programs is installed"; exit 77; }
echo "$ran programs, $failures failures"
[ $failures = 0 ]
