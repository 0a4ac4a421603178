# SPDX-License-Identifier: GPL-2.0-or-later
#
# report.sh FILE DIRECTORY: from the figures in FILE (run.sh), results.md, overcommit.svg and threads.svg
#
# $GNUPLOT draws; "no": nobody does. The targets are here, once.
set -eu
file=$1
directory=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# name, what of it, at least or at most, how much
targets="fault/one-page ratio <= 1.10
fault/best-mapping ratio <= 0.8
touch/recycled ratio <= 0.6
resident/linked-geomean ratio <= 1.02
resident/run-geomean ratio <= 1.10
syscall/redis ratio >= 0.9
overcommit/lz4-sequential ratio <= 0.6
overcommit/lz4-random ratio <= 1.0
overcommit/file-sequential ratio <= 0.5
overcommit/file-random ratio <= 0.5
threads/separate-2 ratio >= 1.7
threads/separate-4 next >= 1.0
threads/separate-8 next >= 1.0
compact/bandwidth ratio >= 0.5
scale/mappings value <= 60000
scale/failures value <= 0
scale/frames-in-use ratio >= 0.9
scale/metadata-a-frame value <= 48
scale/tables-a-page value <= 8.1
scale/reserved-space ratio <= 1"

# The figures as words: name, value, baseline, ratio, unit, against; separated by tabs
text='"\(.*\)"'
sed "s/^{\"bench\": $text, \"case\": $text, \"value\": \(.*\), \"unit\": $text, \"against\": $text, \
\"baseline\": \(.*\), \"ratio\": \(.*\)}\$/\1\/\2\t\3\t\6\t\7\t\4\t\5/" "$file" >"$scratch/figures"

# For people: three digits that count, or all of a large one
number='function number(n) { return sprintf(n >= 1000 ? "%.0f" : "%.3g", n) } '

# skipped NAME: the reason
skipped()
{
	sed -n "s/^${1#*/}  *skipped: //p" "${1%/*}.log" 2>/dev/null | head -n 1
}

# command_of BENCH: what measures it again, in a build directory
command_of()
{
	case $1 in
	resident) echo "bench/resident mean" ;;
	*) echo "bench/$1" ;;
	esac
}

machine()
{
	echo "* processor: $(sed -n '/^model name/{s/.*: //p;q;}' /proc/cpuinfo), $(nproc) of them"
	echo "* memory: $(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)"
	echo "* kernel: $(uname -sr); $(date -u +%Y-%m-%d)"
}

# Of "next" the ratio to the figure with half as many threads.
target_rows()
{
	echo "$targets" | while read -r name what order bound; do
		awk -F '\t' -v name="$name" -v what="$what" -v order="$order" -v bound="$bound" \
			-v skipped="$(skipped "$name")" -v command="$(command_of "${name%/*}")" "$number"'
			{ value[$1] = $2; ratio[$1] = $4 }
			END {
				half = name; sub(/[0-9]+$/, "", half); threads = substr(name, length(half) + 1)
				if (!(name in value)) {
					printf "| %s | | %s %s | skipped: %s | `%s` |\n", name, order, bound, skipped, command
					exit
				}
				n = ratio[name]
				if (what == "value") { n = value[name]; of = ", value" }
				if (what == "next") { n = value[name] / value[half threads / 2]; of = " ÷ " half threads / 2 }
				met = order == "<=" ? n <= bound + 0 : n >= bound + 0
				printf "| %s%s | %s | %s %s | %s | `%s` |\n", name, of, number(n), order, bound,
				       met ? "yes" : "no", command
			}' "$scratch/figures"
	done
}

figure_rows()
{
	while IFS='	' read -r name value baseline ratio unit against; do
		printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$value" "$baseline" "$ratio" "$unit" "$against" \
			"$(command_of "${name%/*}")"
	done <"$scratch/figures" |
		awk -F '\t' "$number"'{ printf "| %s | %s %s | %s, %s | %s | `%s` |\n", $1, number($2), $5, number($3), $6,
		                         number($4), $7 }'
}

# plot NAME: by the commands on stdin
plot()
{
	if [ "${GNUPLOT:-no}" = no ]; then
		cat >/dev/null
		echo "$1.svg is left out: there is no gnuplot"
		return
	fi
	{ printf 'set terminal svg size 900,480 font "sans,12" background "white"\nset output "%s"\n' "$directory/$1.svg"
	  cat; } | "$GNUPLOT"
	echo "$directory/$1.svg"
}

plot_overcommit()
{
	awk -F '\t' '/^overcommit\// && $5 == "ns/access" { sub(/^[^\/]*\//, "", $1); print $1, $2 / 1000, $3 / 1000 }' \
		"$scratch/figures" >"$scratch/overcommit"
	test -s "$scratch/overcommit" || { echo "overcommit.svg is left out: nothing was measured"; return; }
	plot overcommit <<-end
	set title "More pages than memory: an access to a page"
	set ylabel "microseconds"
	set style data histograms
	set style fill solid 0.8
	set grid ytics
	set xtics rotate by -30
	set yrange [0:*]
	plot "$scratch/overcommit" using 2:xtic(1) title "upage", "" using 3 title "kernel"
	end
}

plot_threads()
{
	for kind in separate shared kernel-separate kernel-shared; do
		awk -F '\t' -v kind="$kind" '
			{ of = kind; sub(/^kernel-/, "", of) }
			$1 == "threads/" of "-1" { print 1, (kind == of ? $2 : $3) / 1000 }
			index($1, "threads/" kind "-") == 1 && $1 !~ /-1$/ { threads = $1; sub(/.*-/, "", threads); print threads, $2 / 1000 }' \
			"$scratch/figures" >"$scratch/$kind"
	done
	plot threads <<-end
	set title "First touches by several threads"
	set xlabel "threads"
	set ylabel "thousand pages a second"
	set logscale x 2
	set xtics (1, 2, 4, 8)
	set xrange [0.9:9]
	set yrange [0:*]
	set grid
	set key outside
	set style data linespoints
	plot "$scratch/separate" title "upage, separate pages", "$scratch/shared" title "upage, shared pages", \
	     "$scratch/kernel-separate" title "kernel, separate pages", "$scratch/kernel-shared" title "kernel, shared pages"
	end
}

cat >"$directory/results.md" <<end
# Results

Written by \`make bench\`, which does all of this; a line of it again, in a build directory: the command beside it.
A ratio is ours ÷ baseline; both were measured in one run, by turns (bench.h). What a case is: the head of bench/NAME.c.

$(machine)

## Targets

| figure | here | target | met | command |
|---|---|---|---|---|
$(target_rows)

$([ "${GNUPLOT:-no}" = no ] || echo "![overcommit](overcommit.svg) ![threads](threads.svg)")

## All figures

| figure | ours | baseline | ratio | command |
|---|---|---|---|---|
$(figure_rows)
end
echo "$directory/results.md"
plot_overcommit
plot_threads
