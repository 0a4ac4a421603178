#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Real programs, as they lie on the disk, must do under `upage run` what they do natively, in
# any memory.
#
#   check-programs.sh [--core|--full|--schemes] [NAME]...    NAME: a file of tests/programs/
#
# Each program runs natively; then in ample memory, which tells its footprint: the most frames
# that one of its processes had in use at a time; then with 100 %, 50 % and 25 % of that as
# memory. Each run must have the native one's stdout, stderr, exit status and results. With 50 %
# and 25 % there must be evictions. --core (the default): small inputs, and without NAMEs only
# those programs that are marked core; --full: all, with large inputs. --schemes: instead, in pages, in
# segments, and with base and bounds; each as it is, and while it is relocated all the time (moves, in the
# place of evictions); and without NAMEs only the programs that check-schemes.sh is for.
#
# A file of tests/programs/ is read by this shell, and sets
#   title     what it is, in a few words
#   says      a basic regular expression: a line of the native stdout that has it tells that the work was done
#   needs     commands without which it is skipped
#   command   for `sh -c`, in an empty directory that holds the input
#   core      yes: in --core, too
#   limit     seconds that a run may take (60); five times as many with --full; on a busy machine
#             thirty times what the native run took
# and defines, where it wants to, the functions (in a subshell, in the directory of the run)
#   input     makes files; $full is yes or no
#   normal    a filter for stdout and stderr: takes out what differs between two native runs
#   results   run natively afterwards: its stdout is compared too
. "$(dirname "$0")/support_runs.sh"
unset PYTHONSTARTUP NODE_OPTIONS JAVA_TOOL_OPTIONS MAKEFLAGS MAKELEVEL http_proxy all_proxy ALL_PROXY

usage()
{
	echo "usage: check-programs.sh [--core|--full|--schemes] [NAME]..." >&2
	exit 2
}

for word; do
	case $word in
	--core) full=no ;;
	--schemes) schemes=yes ;;
	--full) full=yes ;;
	-*) usage ;;
	*) names="$names $word" ;;
	esac
done
programs=$(cd "${srcdir:-.}/programs" && pwd) || exit 99
find_upage
chosen=$names
[ -n "$names" ] || [ $schemes = no ] || names="sqlite lua sort xz gzip perl static bash" chosen=yes
[ -n "$names" ] || names=$(cd "$programs" && echo *)
for name in $names; do
	[ -f "$programs/$name" ] || { echo "check-programs.sh: unknown program '$name'" >&2; usage; }
done

mkdir "$scratch/tmp"
TMPDIR=$scratch/tmp HOME=$scratch/work
export TMPDIR HOME

row()
{
	progress
	printf "%-12s %${width}s %9s %9s %8s  %s\n" "$@"
}

execute()
{
	(cd "$scratch/work" && exec timeout --foreground -k 5 "$limit" "$@" sh -c "$command") \
		>"$scratch/raw.out" 2>"$scratch/raw.err" </dev/null
	echo $? >"$scratch/$to.status"
}

# run RUN [COMMAND PREFIX]...: leaves $scratch/RUN.{out,err,status,results} and $seconds. The working
# directory has the same name in every run. In the foreground: what ends this script ends it, too.
run()
{
	to=$1
	shift
	rm -rf "$scratch/work"
	cp -R "$scratch/input" "$scratch/work"
	# This shell, too, has a word to say when a program crashes.
	measure execute "$@" 2>/dev/null
	for stream in out err; do
		(cd "$scratch/work" && normal) <"$scratch/raw.$stream" >"$scratch/$to.$stream"
	done
	(cd "$scratch/work" && results) >"$scratch/$to.results" 2>&1
}

# paged RUN BYTES LABEL: a run in that much memory, and a row of the table.
paged()
{
	run_in "$@"
	complaint=
	case $(cat "$scratch/native.status") in
	124 | 137) ;;
	*)
		case $(cat "$scratch/$1.status") in
		124 | 137) complaint="no end within $limit s; " ;;
		esac
		;;
	esac
	if [ -z "$complaint" ]; then
		for stream in status out err results; do
			cmp -s "$scratch/native.$stream" "$scratch/$1.$stream" || complaint="$complaint$stream differs; "
		done
	fi
	complaint=$complaint$lacks
	row "$name" "$3" $(($2 >> 10)) "$evictions" "$seconds" "${complaint:-equal}"
	[ -n "$complaint" ] || return 0
	failures=$((failures + 1))
	case $complaint in
	*differs*)
		for stream in status out err results; do
			cmp -s "$scratch/native.$stream" "$scratch/$1.$stream" && continue
			echo "  $stream (<: native, >: under upage run):"
			diff -a "$scratch/native.$stream" "$scratch/$1.$stream" | head -n 8 | cut -c 1-150 | sed 's/^/    /'
		done
		;;
	"no end"*) head -n 4 "$scratch/$1.err" | cut -c 1-150 | sed 's/^/    /' ;;
	esac
	return 1
}

check()
{
	rm -rf "$scratch/input"
	mkdir "$scratch/input"
	(cd "$scratch/input" && input) || { row "$name" input - - - "its input could not be made"; return 1; }
	run native
	row "$name" native - - "$seconds" "$title"
	case $(cat "$scratch/native.status") in
	124 | 137) row "$name" native - - - "native: no end within $limit s"; return 1 ;;
	esac
	grep -q "$says" "$scratch/native.out" ||
		{ row "$name" native - - - "native: no line with '$says'"; head -n 8 "$scratch/native.err"; return 1; }
	[ $((ms * 30 / 1000)) -le "$limit" ] || limit=$((ms * 30 / 1000))

	if [ $schemes = yes ]; then
		for scheme in paging segmentation "base-bounds --bounds 128M"; do
			for compact in "" " --compact"; do
				ways="--scheme $scheme$compact"
				paged scheme $((256 << 20)) "${scheme%% *}$compact"
				[ -z "$compact" ] || [ "$evictions" = 0 ] || : >"$scratch/moved-${scheme%% *}"
			done
		done
		return 0
	fi
	paged ample $((4 << 30)) ample || return 0
	footprint=$(footprint)
	[ "$evictions" = 0 ] || { row "$name" ample - - - "4G is not ample"; return 1; }
	for percent in 100 50 25; do
		paged part$percent "$(part $percent)" $percent%
	done
	return 0
}

width=6 count=evictions
[ $schemes = no ] || width=22 count=moves
row program run KiB $count seconds ""
for name in $names; do
	title= says=. needs= command= core=no limit=60
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
for scheme in paging segmentation base-bounds; do
	[ $schemes = no ] || [ $ran = 0 ] || [ -e "$scratch/moved-$scheme" ] ||
		{ echo "$scheme: nothing was relocated"; failures=$((failures + 1)); }
done
finish programs "none of the programs is installed"
