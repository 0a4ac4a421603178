# SPDX-License-Identifier: GPL-2.0-or-later
# What check-programs.sh and check-stress-ng.sh share: runs natively and in less and less memory,
# and a row of a table for each. Read at their start.
. "$(dirname "$0")/support.sh"
LC_ALL=C TZ=UTC
export LC_ALL TZ
# Not the wrappers of version managers, which are programs of their own.
PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin
full=no names='' ways='' schemes=no failures=0 ran=0

# measure RUN...: leaves $ms and $seconds
measure()
{
	began=$(date +%s%N)
	"$@"
	ms=$((($(date +%s%N) - began) / 1000000))
	seconds=$((ms / 1000)).$(printf %03d $((ms % 1000)))
}

# The largest, and the sum, of a number in the statistics of all processes. Each has left a file;
# that of the first one holds those of its children too, which count once here.
largest()
{
	cat "$json"/* 2>/dev/null | grep -o "\"$1\": [0-9]*" | sed 's/.*: //' | sort -n | tail -n 1
}
sum()
{
	for file in "$json"/*; do
		number "$1" "$file"
	done | awk '{ sum += $1 } END { print sum + 0 }'
}

runs=0

# run_in RUN BYTES LABEL: run() in that much memory, with the options $ways; leaves $evictions, and in $lacks what the
# statistics should show: less than ample memory, or than the footprint, makes evictions; where LABEL is a scheme, it is
# that one, and $evictions are moves
run_in()
{
	progress "$name with $(($2 >> 10)) KiB ($3)"
	# A process may outlive the run that it is of.
	json=$scratch/json$((runs += 1))
	rm -rf "$scratch/json"*
	mkdir "$json"
	run "$1" "$upage" run -m "$2" $ways --stats-json "$json/%p" --
	evictions=$(sum evictions) lacks=
	[ -n "$(largest frames_peak)" ] || lacks="no statistics; "
	case $3 in
	ample | 100%) ;;
	paging* | base-bounds* | segmentation*)
		evictions=$(sum moves)
		[ -z "$(grep -L "\"scheme\": \"${3%% *}\"" "$json"/*)" ] || lacks="${lacks}another scheme; "
		;;
	*) [ "$evictions" -gt 0 ] || lacks="${lacks}nothing was evicted; " ;;
	esac
}

# footprint: of the last run, in bytes; part PERCENT: of $footprint, but 64 KiB at least
footprint()
{
	echo $(($(largest frames_peak) * $(largest page_size)))
}
part()
{
	bytes=$((footprint * $1 / 100))
	[ $bytes -ge 65536 ] || bytes=65536
	echo $bytes
}

# finish WHAT NONE: how many ran; NONE: what to say where none did
finish()
{
	progress
	[ $ran -gt 0 ] || { echo "$2"; exit 77; }
	echo "$ran $1, $failures failures"
	[ $failures = 0 ]
}
