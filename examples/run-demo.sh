#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run-demo.sh [COPIES [FRACTION]] - the sqlite3 of this machine, unchanged, in a part of its memory
#
# Debian's sqlite3 loads what this machine's package manager knows (COPIES times: default 1) into
# a database in memory, makes indices, joins, sorts, counts, updates and checks it. It does so
# twice: natively, which tells its footprint, and under `upage run` in FRACTION (default 4) times
# less memory. Both must write the same, and end with the same status; and memory must have been
# no more than was allowed. What is resident is read from outside, in /proc, while they run.
#
#   PASSED and status 0, or FAILED and 1; 77: there is no sqlite3, or nothing to load, or no upage run
copies=${1-1} fraction=${2-4}
upage=${UPAGE-../tools/upage}
dpkg=/var/lib/dpkg
LC_ALL=C
export LC_ALL
unset UPAGE_OPTIONS

command -v sqlite3 >/dev/null || { echo "sqlite3 is not installed"; exit 77; }
test -s $dpkg/status || { echo "there is no $dpkg/status to load"; exit 77; }
test -x "$upage" || { echo "there is no $upage"; exit 77; }
said=$("$upage" run -- true 2>&1) || case $said in
*"cannot be intercepted here"*) echo "$said"; exit 77 ;;
*) echo "FAILED: upage run true: $said"; exit 1 ;;
esac
dir=$(mktemp -d "${TMPDIR:-/tmp}/run-demo-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

# ---- The load

awk -F': ' -v OFS='\t' '
	/^Package: / { name = $2 }
	/^Section: / { section = $2 }
	/^Installed-Size: / { size = $2 }
	/^Depends: / {
		n = split($2, needs, /[,|] */)
		for (i = 1; i <= n; i++) { sub(/[ :(].*/, "", needs[i]); print name, needs[i] >depends }
	}
	/^$/ { print name, section, size }' depends="$dir/depends" $dpkg/status >"$dir/packages"
for list in $dpkg/info/*.list; do
	package=${list##*/}
	package=${package%.list}
	sed "s|^|${package%:*}	|" "$list"
done >"$dir/files"

cat >"$dir/work.sql" <<-end
	pragma temp_store = memory;
	create table package(name text, section text, size integer);
	create table depends(package text, needs text);
	create table one(package text, path text);
	create table file(id integer primary key, copy integer, package text, path text);
	.mode tabs
	.import $dir/packages package
	.import $dir/depends depends
	.import $dir/files one
	with recursive copy(n) as (select 1 union all select n + 1 from copy where n < $copies)
		insert into file(copy, package, path) select n, package, path from copy, one;
	create index file_path on file(path, copy);
	create index file_package on file(package, copy);
	create index depends_needs on depends(needs);
	select count(*), count(distinct path), sum(length(path)) from file;
	select section, count(*), sum(size) from package group by section order by 3 desc, 1;
	select p.name, count(*) files, p.size from package p join file f on f.package = p.name
		where f.copy = 1 group by p.name order by files desc, p.name limit 200;
	select d.needs, count(distinct d.package) users, (select count(*) from file f
		where f.package = d.needs) files from depends d group by 1 order by 2 desc, 1 limit 200;
	select package, path, rank from (select package, path, rank() over (partition by package
		order by length(path) desc, path) rank from file where copy = 1) where rank <= 3
		order by package, rank, path;
	with recursive reach(name) as (select 'bash' union select d.needs from depends d
		join reach r on d.package = r.name) select count(*), min(name), max(name) from reach;
	select length(path) - length(replace(path, '/', '')) depth, count(*), max(path)
		from file group by depth order by depth;
	update file set path = path || '~' where id % 7 = 0;
	delete from file where id % 11 = 0;
	select count(*), sum(length(path)), min(path), max(path) from file;
	select copy, path from file order by substr(path, -8), path, copy limit 500;
	pragma integrity_check;
	select no_such_column from file;
end

# ---- The two runs

say() { [ ! -t 2 ] || printf '\r\033[K%s' "$*" >&2; }

# run NAME [WORD]...: sets $status, $seconds, and in KiB $high (VmHWM), $shmem and $anon (the most
# of RssShmem and of RssAnon that was seen, in $looks looks). Output goes to $dir/NAME.out and .err.
run()
{
	name=$1 high=0 shmem=0 anon=0 looks=0
	shift
	began=$(date +%s%N)
	"$@" sqlite3 :memory: <"$dir/work.sql" >"$dir/$name.out" 2>"$dir/$name.err" &
	while look $!; do
		say "$name: $((($(date +%s%N) - began) / 1000000000)) s, $((high / 1024)) MiB resident at most"
		sleep 0.02
	done
	wait $!
	status=$?
	ended=$(date +%s%N)
	ms=$(((ended - began) / 1000000))
	seconds=$((ms / 1000)).$((ms / 100 % 10))
	say
}

# look PROCESS: fails when that has ended
look()
{
	alive=no
	while read -r key kib rest; do
		case $key in
		VmHWM:) [ "$kib" -le $high ] || high=$kib; alive=yes ;;
		RssAnon:) [ "$kib" -le $anon ] || anon=$kib ;;
		RssShmem:) [ "$kib" -le $shmem ] || shmem=$kib ;;
		esac
	done 2>/dev/null <"/proc/$1/status"
	looks=$((looks + 1))
	[ $alive = yes ]
}

mib() { echo "$(($1 / 1024)).$(($1 * 10 / 1024 % 10)) MiB"; }

echo "sqlite3 in a part of its memory"
echo "  program    $(command -v sqlite3), unchanged; $(sqlite3 --version | cut -d ' ' -f 1)"
echo "  data       $dpkg: $(wc -l <"$dir/packages") packages, $(wc -l <"$dir/depends") dependencies," \
	"$(($(wc -l <"$dir/files") * copies)) files ($copies copies)"
run native
native_status=$status native_seconds=$seconds
memory=$((high / fraction))
echo "  footprint  $(mib $high) resident natively, code and libraries included"
run paged "$upage" run -m ${memory}K --stats-json "$dir/json" --

# number NAME: of the statistics
number() { grep -o "\"$1\": [0-9]*" "$dir/json" | head -n 1 | sed 's/.*: //'; }
failed=
cmp -s "$dir/native.out" "$dir/paged.out" || failed="${failed}the results differ; "
cmp -s "$dir/native.err" "$dir/paged.err" || failed="${failed}the errors differ; "
[ "$status" = "$native_status" ] || failed="${failed}status $status instead of $native_status; "
[ -s "$dir/json" ] || { echo "FAILED: no statistics; $(head -n 1 "$dir/paged.err")"; exit 1; }
# RssShmem has the shared pages of the statistics, too, and the kernel's count may lag a little.
[ "$shmem" -le $((memory + 256)) ] || failed="${failed}more frames were resident than memory has; "
[ "$(number evictions)" -gt 0 ] || failed="${failed}nothing was evicted; "

echo "  memory     $(mib $memory): footprint / $fraction; $(number frames) frames of 4096 bytes"
echo "  faults     $(number total): $(number zero_fill) zero fill, $(number major) major," \
	"$(number soft) soft, $(number write_upgrade) write upgrade"
echo "  evictions  $(number evictions), with $(number writebacks) write-backs"
echo "  calls      $(number intercepted) system calls intercepted"
echo "  time       native $native_seconds s, paged $seconds s"
echo "  resident   at most, in $looks looks at /proc: frames (RssShmem) $(mib $shmem)," \
	"tables (RssAnon) $(mib $anon)"
echo "  results    $(wc -l <"$dir/paged.out") lines, $(wc -c <"$dir/paged.out") bytes;" \
	"status $status as natively"
[ -z "$failed" ] || { echo "FAILED: ${failed%; }"; exit 1; }
echo PASSED
