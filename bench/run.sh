# SPDX-License-Identifier: GPL-2.0-or-later
#
# run.sh [--quick] FILE: runs all benchmarks, in the directory where they were built
#
# FILE gets a line of JSON a figure (bench.h), NAME.log what each of them says. On a terminal it says meanwhile
# which of them is under way, and for how long; at the end, how long each took. It fails where one of them
# does, where a line is not as it should be, and where a case that others read by name is neither
# there nor skipped with a reason.
set -u
benches="fault phases touch threads syscall policy scattered fork translate switch compact guard resident scale overcommit"
named="fault/one-page fault/best-mapping touch/fresh touch/recycled resident/linked-geomean resident/run-geomean
	overcommit/lz4-sequential overcommit/lz4-random overcommit/file-sequential overcommit/file-random
	threads/separate-2 compact/bandwidth syscall/getppid syscall/redis scale/mappings"

quick=
[ "${1-}" != --quick ] || { quick=--quick; shift; }
[ $# = 1 ] || { echo "usage: run.sh [--quick] FILE" >&2; exit 2; }
file=$1
failed=0

fail()
{
	echo "FAIL: $*"
	failed=1
}

# now: in seconds
now()
{
	date +%s
}

# duration SECONDS: for people
duration()
{
	if [ "$1" -lt 60 ]; then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi
}

# progress TEXT: what is under way, and how long it has been, on a terminal, until progress_end
progress()
{
	progress_process=
	[ -t 2 ] || return 0
	while :; do
		printf '\r\033[K%s: %s, %s in all' "$1" "$(duration $(($(now) - start)))" "$(duration $(($(now) - first)))"
		sleep 1
	done >&2 &
	progress_process=$!
}

progress_end()
{
	[ -n "$progress_process" ] || return 0
	kill "$progress_process"
	wait "$progress_process" 2>/dev/null
	printf '\r\033[K' >&2
}

# well_formed FILE: whether each line is a figure
well_formed()
{
	awk 'BEGIN { text = "\"[^\"\\\\]+\""; number = "-?[0-9.]+(e[-+][0-9]+)?"
	             line = "^[{]\"bench\": " text ", \"case\": " text ", \"value\": " number ", \"unit\": " text \
	                    ", \"against\": " text ", \"baseline\": " number ", \"ratio\": " number "[}]$" }
	     $0 !~ line { print "not a figure: " $0; bad = 1 }
	     END { exit bad }' "$1"
}

: >"$file" || exit 1
count=0
times=
first=$(now)
progress_process=
trap 'progress_end; exit 130' INT TERM HUP
for bench in $benches; do
	count=$((count + 1))
	# Of whole programs, those that the means are of.
	case $bench in
	resident) words=mean ;;
	*) words= ;;
	esac
	start=$(now)
	progress "$count of $(echo $benches | wc -w), $bench"
	./"$bench" $quick --json "$bench.json" $words >"$bench.log" 2>&1
	status=$?
	progress_end
	[ $status = 0 ] || fail "$bench: status $status"
	cat "$bench.log"
	echo
	test -s "$bench.json" || grep -q " skipped: " "$bench.log" || fail "$bench: no figures"
	cat "$bench.json" >>"$file"
	rm -f "$bench.json"
	times="$times$(printf '%14s %4d s' "$bench" $(($(now) - start)))\n"
done
well_formed "$file" || failed=1
for name in $named; do
	grep -q "^{\"bench\": \"${name%/*}\", \"case\": \"${name#*/}\"," "$file" ||
		grep -q "^${name#*/}  *skipped: " "${name%/*}.log" || fail "$name is missing"
done
printf "$times%14s %4d s\n" "in all" $(($(now) - first))
[ $failed != 0 ] || echo "$(wc -l <"$file") figures in $file"
exit $failed
