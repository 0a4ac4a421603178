#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Real programs, linked with libupage-malloc, must do what they do natively, in any memory.
#
#   check-workloads.sh [--full] [NAME]...      NAME: see sizes() below; default: those built
#
# Runs each NAME-native; then NAME-linked with ample memory, which tells the footprint (frames
# in use at most); then with 100 %, 25 % and 1/16 of the footprint as memory. Each linked run
# must have the native one's stdout, stderr and exit status. With less than 100 % there must be
# evictions, and ./watch, which reads /proc meanwhile, must not see
#   RssShmem above memory + 2 MiB: more frames than there are; nor
#   RssAnon above 3 MiB + 1/16 of the footprint: tables, stacks, jemalloc's own, the C library's
#   data. The footprint must be above that, or the bound could not tell whether the heap is in
#   anonymous memory.
# --full: sizes of tens of MiB, for minutes; else they are chosen to take some seconds each.
. "$(dirname "$0")/../support.sh"

usage()
{
	echo "usage: check-workloads.sh [--full] [NAME]..." >&2
	exit 2
}

full=no names=
for word; do
	case $word in
	--full) full=yes ;;
	-*) usage ;;
	*) names="$names $word" ;;
	esac
done

# The size argument, about MiB of heap: small, and for --full. It must be so large that a
# sixteenth still holds what the program uses all the time: below that a run takes minutes.
sizes()
{
	case $1 in
	sqlite) echo 5 40 ;;
	zlib) echo 16 40 ;;
	zstd) echo 20 48 ;;
	lua) echo 12 40 ;;
	containers) echo 8 30 ;;
	hash_join) echo 12 40 ;;
	*) return 1 ;;
	esac
}
all="sqlite zlib zstd lua containers hash_join"
# Under other defaults (../modes.sh) it may be in RssAnon.
case ,${UPAGE_WITH-}, in *,store=lz4,*) swap_is_memory=yes ;; *) swap_is_memory= ;; esac

if [ -z "$names" ]; then
	for name in $all; do
		if [ -x "$name-linked" ]; then
			names="$names $name"
		else
			echo "$name: was not built; left out"
		fi
	done
	[ -n "$names" ] || exit 77
fi
for name in $names; do
	sizes "$name" >/dev/null || usage
done

limit=120
[ $full = no ] || limit=1800
failures=0

bad()
{
	progress
	printf 'FAILED: %s: %s\n' "$what" "$*"
	failures=$((failures + 1))
}

# run RUN PROGRAM [ARG]...: leaves $scratch/RUN.out, .err, .status and .report. In the foreground:
# what ends this script (make's own limit) ends the program, too.
run()
{
	run=$1
	shift
	timeout --foreground -k 10 $limit ./watch "$scratch/$run.report" "$@" >"$scratch/$run.out" 2>"$scratch/$run.err"
	echo $? >"$scratch/$run.status"
}

# seen RUN WORD: what watch saw; 0 if it was killed itself
seen()
{
	value=$(sed -n "s/.*$2=\([0-9]*\).*/\1/p" "$scratch/$1.report" 2>/dev/null)
	echo "${value:-0}"
}

# counted RUN WORD: a number from the statistics; empty if there is none
counted()
{
	number "$2" "$scratch/$1.json"
}

same()
{
	for stream in status out err; do
		cmp -s "$scratch/native.$stream" "$scratch/$1.$stream" && continue
		bad "$stream is not the native run's; <: native, >: linked"
		diff "$scratch/native.$stream" "$scratch/$1.$stream" | head -n 6 | cut -c 1-200
	done
}

# linked RUN BYTES LABEL: a run with that much memory. False: it has left no statistics.
linked()
{
	what="$name with $(($2 >> 10)) KiB of memory ($3)"
	progress "$what"
	UPAGE_OPTIONS="${UPAGE_WITH-},memory=$2,stats-json=$scratch/$1.json" run "$1" "./$name-linked" $arguments
	same "$1"
	[ -n "$(counted "$1" evictions)" ] || { bad "there are no statistics"; return 1; }
}

row()
{
	progress
	printf '%-11s %6s %8s %10s %10s %9s %8s\n' "$@"
}

# bounded RUN BYTES LABEL: was less resident than there was to be, and was there enough to see it?
bounded()
{
	allowed=$((($2 >> 10) + 2048))
	[ "$(seen "$1" samples)" -ge 3 ] || bad "the run was too short to watch"
	[ "$(seen "$1" shmem)" -le $allowed ] ||
		bad "RssShmem was $(seen "$1" shmem) KiB, $allowed allowed"
	[ "$(seen "$1" anon)" -le $anon_allowed ] || [ -n "$swap_is_memory" ] ||
		bad "RssAnon was $(seen "$1" anon) KiB, $anon_allowed allowed"
	row "$name" "$3" $(($2 >> 10)) "$(seen "$1" shmem)" "$(seen "$1" anon)" \
		"$(counted "$1" evictions)" "$(seen "$1" wall)"
}

check()
{
	what="$name natively"
	progress "$what"
	run native "./$name-native" $arguments
	[ "$(cat "$scratch/native.status")" = 0 ] || { bad "status $(cat "$scratch/native.status")"; return; }
	[ -s "$scratch/native.out" ] || { bad "no output"; return; }

	linked ample $((256 << 20)) ample || return
	[ "$(counted ample evictions)" = 0 ] || { bad "256M is not ample"; return; }
	footprint=$(($(counted ample frames_peak) * $(counted ample page_size)))
	anon_allowed=$((3072 + (footprint >> 14)))
	[ $((footprint >> 10)) -gt $anon_allowed ] ||
		bad "the footprint is $((footprint >> 10)) KiB: too small to tell paged from not"
	row "$name" native "" 0 "$(seen native anon)" 0 "$(seen native wall)"
	row "$name" ample $((256 << 10)) "$(seen ample shmem)" "$(seen ample anon)" 0 \
		"$(seen ample wall)"
	for part in 1 4 16; do
		memory=$((footprint / part))
		linked part$part $memory "1/$part" || continue
		bounded part$part $memory "1/$part"
		[ $part = 1 ] || [ "$(counted part$part evictions)" -gt 0 ] || bad "nothing was evicted"
	done
}

row program run memory RssShmem RssAnon evictions ms
for name in $names; do
	rm -f "$scratch"/*
	size=$(sizes "$name")
	if [ $full = yes ]; then size=${size#* }; else size=${size% *}; fi
	arguments=$size
	[ "$name" != lua ] || arguments="$size ${srcdir:-.}/workloads.lua"
	check
done
progress
[ $failures = 0 ] || echo "$failures failures"
[ $failures = 0 ]
