# SPDX-License-Identifier: GPL-2.0-or-later
#
# run.sh [--quick] FILE: runs all benchmarks, in the directory where they were built
#
# FILE gets a line of JSON a figure (bench.h), NAME.log what each of them says. It fails where one of them
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

# progress TEXT: what is under way, on a terminal, until the next line
progress()
{
	[ ! -t 2 ] || printf '\r\033[K%s' "$*" >&2
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
for bench in $benches; do
	count=$((count + 1))
	progress "$count of $(echo $benches | wc -w): $bench"
	# Of whole programs, those that the means are of.
	case $bench in
	resident) words=mean ;;
	*) words= ;;
	esac
	# These two take minutes, and say little more in full: all has to be done in ten.
	case $bench in
	compact | guard) work=--quick ;;
	*) work=$quick ;;
	esac
	start=$(date +%s)
	./"$bench" $work --json "$bench.json" $words >"$bench.log" 2>&1 || fail "$bench: status $?"
	progress
	cat "$bench.log"
	printf '%24s %s took %d s\n\n' "" "$bench" $(($(date +%s) - start))
	test -s "$bench.json" || grep -q " skipped: " "$bench.log" || fail "$bench: no figures"
	cat "$bench.json" >>"$file"
	rm -f "$bench.json"
done
well_formed "$file" || failed=1
for name in $named; do
	grep -q "^{\"bench\": \"${name%/*}\", \"case\": \"${name#*/}\"," "$file" ||
		grep -q "^${name#*/}  *skipped: " "${name%/*}.log" || fail "$name is missing"
done
[ $failed != 0 ] || echo "$(wc -l <"$file") figures in $file"
exit $failed
