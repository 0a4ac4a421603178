#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The command: what it refuses and how it says so, whose exit status it hands on, what it shows.
. "$(dirname "$0")/support.sh"
find_upage
mkdir "$scratch/swap"
TMPDIR=$scratch/swap
export TMPDIR

# expect STATUS ERROR WORD...: that status, nothing on stdout, and one line on stderr that has ERROR
expect()
{
	wanted=$1 text=$2
	shift 2
	timeout 60 $upage "$@" >"$scratch/out" 2>"$scratch/err"
	status=$?
	test $status = "$wanted" || fail "upage $*: status $status instead of $wanted"
	test ! -s "$scratch/out" || fail "upage $*: something on stdout"
	grep -q -F -e "$text" "$scratch/err" && test "$(wc -l <"$scratch/err")" = 1 ||
		fail "upage $*: said: $(cat "$scratch/err")"
}

# same STATUS WORD...: as natively, word for word
same()
{
	wanted=$1
	shift
	"$@" >"$scratch/native" 2>"$scratch/native.err"
	timeout 60 $upage run -m 1M -- "$@" >"$scratch/out" 2>"$scratch/err"
	status=$?
	test $status = "$wanted" || fail "upage run $*: status $status instead of $wanted"
	cmp -s "$scratch/native" "$scratch/out" || fail "upage run $*: stdout differs"
	cmp -s "$scratch/native.err" "$scratch/err" || fail "upage run $*: stderr: $(cat "$scratch/err")"
}

# ---- Words in error name themselves
expect 125 "a command is missing"
expect 125 "'walk'" walk
expect 125 "a program is missing" run
expect 125 "a program is missing" run --stats
expect 125 "'--frames'" run --frames 7 true
expect 125 "'-x'" run -x true
expect 125 "'--memory'" run --memory
expect 125 "memory=12Q" run --memory 12Q true
expect 125 "memory=12Q" run -m12Q true
expect 125 "16 to" run -m 8K true
expect 125 "clock, fifo, random" run --policy=lru true
expect 125 "'--stats=yes'" run --stats=yes true
expect 125 "did you mean --policy?" run --polcy clock true
expect 125 "did you mean --stats-json?" run --statsjson x true
expect 125 "'upage run --help' lists them" run --frobnicate true
expect 125 "scheme=pages: there are paging, segmentation and base-bounds" run --scheme=pages true
expect 125 "bounds=4096: only scheme=base-bounds has bounds, and this is segmentation" \
	run --scheme segmentation --bounds 4K true
expect 125 "bounds=2097152: it must be" run -m 1M --scheme base-bounds --bounds 2M true
expect 126 "it does not fit within its bounds" run -m 1M --scheme base-bounds --bounds 64K true
expect 126 "memory cannot hold its segments" run -m 64K --scheme segmentation true
for word in page-table inject trace; do
	expect 125 "'--$word' is not there yet" run --$word x true
done
expect 125 "store=ram: there are file" run --store ram true
expect 125 "direct: is of files" run --store lz4,direct true
expect 125 "mapping=guard: for the memory of a whole program there are auto and remap" run --mapping guard true
expect 125 "mapping=maps: there are auto, remap and guard" run --mapping maps true
expect 125 "pages of 4K" run --page-size 64K true
expect 125 "'--resume=1'" run --resume=1 true
expect 125 "linked with upage-malloc" run --adopt-data true
expect 125 "no-such-directory" run --store file:/no-such-directory/x true
expect 127 "no-such-program" run no-such-program
expect 127 "no-such-program" run ./no-such-program
: >"$scratch/plain"
expect 126 "permission denied" run "$scratch/plain"
chmod +x "$scratch/plain"
expect 126 "neither an ELF program nor a script" run "$scratch/plain"
expect 126 "$scratch" run "$scratch"
printf '#!/no/such/interpreter\n' >"$scratch/script"
chmod +x "$scratch/script"
expect 127 "/no/such/interpreter" run "$scratch/script"

# ---- Statuses are the program's
same 0 true
same 1 false
same 7 sh -c 'exit 7'
same 139 sh -c 'kill -SEGV $$'
same 143 sh -c 'kill $$'
same 134 sh -c 'kill -ABRT $$'
same 127 sh -c 'no-such-program 2>/dev/null'
same 126 sh -c "$scratch 2>/dev/null"

# ---- Cores: whether there is one, of what size, and with what in it
# cored LIMIT WORD...: how a program ends whose core has that limit; the core is $scratch/core/*
cored()
{
	limit=$1
	shift
	rm -rf "$scratch/core"
	mkdir "$scratch/core"
	(ulimit -S -c "$limit" && cd "$scratch/core" &&
		perl -e 'system { $ARGV[0] } @ARGV; printf "%x", $?' "$@" 2>/dev/null)
}
pattern=$(cat /proc/sys/kernel/core_pattern)
if test "$(ulimit -H -c)" != unlimited || ! command -v perl >/dev/null; then
	echo "cores are not tested: limited, or no perl"
else
	for limit in 0 1 unlimited; do
		for signal in ABRT SEGV TERM; do
			native=$(cored $limit sh -c "kill -$signal \$\$")
			paged=$(cored $limit "$upage" run -m 1M -- sh -c "kill -$signal \$\$")
			test "$paged" = "$native" || fail "by SIG$signal, core limit $limit: status $paged, natively $native"
		done
	done
	told=$(cored unlimited "$upage" run -m 4M --stats-json "$scratch/core.json" -- \
		perl -e '$word = "page" x 2000; $word .= "d word"; kill "ABRT", $$')
	case $pattern in
	\|* | */* | '') echo "cores are not looked into: the core pattern is '$pattern'" ;;
	*)
		test "$told" = 86 || fail "no core: $told"
		test "$(cat "$scratch"/core/* | wc -c)" -lt 8000000 || fail "a large core: $(ls -l "$scratch/core")"
		grep -q 'pagepaged word' "$scratch"/core/* || fail "the program's memory is not in its core"
		;;
	esac
	rm -rf "$scratch/core"
fi

# ---- Scripts, arguments, environment
printf '#!/bin/sh -e\necho "$0 $# $2"\n' >"$scratch/script"
same 0 "$scratch/script" one 'two words'
command -v perl >/dev/null && same 0 perl -e 'exec {"/bin/sh"} "other", "-c", "echo \$0"'
same 0 env -i A=1 env
same 0 readlink /proc/self/exe

# ---- Restartable sequences: as on a kernel without them
if LD_SHOW_AUXV=1 env true | grep -q -i -e '(0x1b)' -e RSEQ; then
	$upage run -- env LD_SHOW_AUXV=1 true | grep -q AT_PHDR || fail "no vector is shown"
	$upage run -- env LD_SHOW_AUXV=1 true | grep -i -e '(0x1[bc])' -e RSEQ && fail "AT_RSEQ_* in the vector"
fi
if command -v perl >/dev/null; then
	test "$($upage run -- perl -e 'syscall(334, 0, 0, 0, 0); print $! + 0')" = 38 || fail "rseq is not refused"
fi

# ---- Inside itself: the outer one's options hold
expect 127 "nothing-here" run -- $upage run nothing-here
expect 126 "$scratch" run -- $upage run "$scratch"
mkdir "$scratch/bin"
echo >"$scratch/bin/not-executable"
PATH=$scratch/bin:/nowhere:$PATH expect 126 "not-executable: permission denied" run not-executable
PATH=$scratch/bin:/nowhere:$PATH expect 126 "not-executable: permission denied" run -- $upage run not-executable
expect 125 "'--polcy'" run -- $upage run --polcy clock true
for program in true false "$scratch/script"; do
	$program >"$scratch/native"
	status=$?
	$upage run -m 1M -- $upage run -m 64K -- $program >"$scratch/out" 2>"$scratch/err"
	test $? = $status && cmp -s "$scratch/native" "$scratch/out" && test ! -s "$scratch/err" ||
		fail "$program inside upage run inside upage run: $(cat "$scratch/err")"
done
$upage run -m 1M -- $upage run --stats true 2>&1 | grep -q 'whose options hold' || fail "inner --stats"

# ---- Programs with rights of their own: refused, and natively where a program executes them
cp "$(command -v id)" "$(command -v ls)" "$scratch"
owned=no
if chown 65534:65534 "$scratch/id" "$scratch/ls" && chmod u+s "$scratch/id" && chmod 2755 "$scratch/ls" &&
	test "$("$scratch/id" -u)" = 65534; then
	owned=yes
	expect 126 "$scratch/id: it is set-uid" run "$scratch/id"
	expect 126 "$scratch/ls: it is set-uid, set-gid" run "$scratch/ls"
	same 0 sh -c "$scratch/id -u"
	cp "$(command -v id)" "$scratch/group-id"
	chgrp 65534 "$scratch/group-id"
	chmod 2755 "$scratch/group-id"
	same 0 sh -c "$scratch/group-id -g"
	chmod 2705 "$scratch/group-id" # for locks, not rights
	same 0 "$scratch/group-id" -g
	if setpriv --no-new-privs true; then
		out=$(setpriv --no-new-privs "$upage" run "$scratch/id" -u 2>&1)
		test "$out" = 0 || fail "a set-uid program that would get no rights: $out"
	fi
	chmod 755 "$scratch" "$scratch/group-id"
	if setcap cap_net_raw=ep "$scratch/group-id" && setpriv --reuid 65534 "$upage" --version >"$scratch/out"; then
		same 0 "$scratch/group-id" -u # root has them all
		out=$(setpriv --reuid 65534 "$upage" run "$scratch/group-id" 2>&1)
		test "$?,${out%%: its*}" = "126,upage: $scratch/group-id: it is set-uid, set-gid or has capabilities" ||
			fail "a program with capabilities: $out"
	fi
else
	echo "rights are not tested: no set-uid program can be made in $scratch"
fi 2>"$scratch/rights.err"

# ---- Descriptors of upage's own, after execve: they are not open, and cannot be closed or executed
if command -v perl >/dev/null; then
	cat >"$scratch/closes.pl" <<'EOF'
	use POSIX ();
	my ($closed, $executed) = (0, 0);
	for (3 .. 5000) {
		syscall(322, $_, my $empty = "", 0, 0, 0x1000);
		$executed++ if $! != POSIX::EBADF;
		$closed++ if defined POSIX::close($_);
	}
	print "$closed $executed\n";
	exec "/bin/sh", "-c", "echo on";
EOF
	same 0 sh -c "exec sh -c 'exec perl $scratch/closes.pl'"
	# The second execve is one that the kernel refuses when all else is done.
	same 0 perl -e 'exec "/bin/true", ("x" x 100000) x 80; exec "/bin/ls", "/proc/self/fd"'
	test $owned = no ||
		same 0 sh -c "exec perl -e 'exec \"/bin/true\", (\"x\" x 100000) x 80; exec \"$scratch/ls\", \"/proc/self/fd\"'"
fi

# ---- With base and bounds a fork needs room for a second run, in one piece
# forks MEMORY BOUNDS: whether one does
forks()
{
	timeout 60 $upage run -m "$1" --scheme base-bounds --bounds "$2" -- sh -c '(exit 7); exit $?' 2>"$scratch/err"
	test $? = 7
}
forks 32M 16M || fail "base-bounds: no fork though there is room: $(cat "$scratch/err")"
! forks 32M 17M || fail "base-bounds: a fork without room for a second run"
grep -q -i "cannot fork" "$scratch/err" || fail "base-bounds: a fork without room says: $(cat "$scratch/err")"
# A fatal signal is as natively.
timeout 60 $upage run --scheme base-bounds --stats-json "$scratch/bounds.json" -- sh -c 'kill -SEGV $$' 2>/dev/null
test $? = 139 || fail "base-bounds: killed by SIGSEGV, it ended otherwise"
test "$(grep -o '"scheme": "[a-z-]*"' "$scratch/bounds.json" | head -n 1)" = '"scheme": "base-bounds"' ||
	fail "the statistics name another scheme"

# ---- Metadata is out of reach, with --guard-metadata, and programs do not notice
# guarded WORD...: as natively, and upage says nothing
guarded()
{
	"$@" >"$scratch/native" 2>&1
	wanted=$?
	timeout 100 $upage run -m 4M --guard-metadata -- "$@" >"$scratch/out" 2>&1
	status=$?
	test $status = $wanted && cmp -s "$scratch/native" "$scratch/out" ||
		fail "upage run --guard-metadata $*: status $status, not $wanted: $(head -3 "$scratch/out")"
}
guarded sh -c 'i=0; while test $i -lt 30; do (echo $i | cat) & i=$((i + 1)); done | sort -n; wait; exit 5'
guarded sort "$0" /etc/passwd
guarded ./memory_calls calls
guarded ./memory_calls fuzz 4 2000 3
guarded sh -c 'trap "echo caught; exit 3" TERM; kill $$; sleep 1'
guarded find / -maxdepth 0 -exec sh -c 'kill -9 $$' ';'
command -v perl >/dev/null &&
	guarded perl -e 'my %h; $h{$_ % 997} .= "word$_" for 1 .. 40000; fork; print length join "", map { $h{$_} } sort keys %h; wait'
command -v python3 >/dev/null && guarded python3 -c 'import threading, sys
sums = [0] * 4
def work(i):
    sums[i] = sum(len(str(n)) for n in range(3000))
threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sums)'
# wild_says STATUS OUT LINE WORD...: "upage: LINE" is the last on stderr, after one for each look
wild_says()
{
	wanted=$1 out=$2 line=$3
	shift 3
	timeout 60 $upage run -m 1G --guard-metadata --stats-json "$scratch/wild.json" -- ./wild "$@" \
		>"$scratch/out" 2>"$scratch/said"
	status=$?
	grep -v '^Segmentation fault' "$scratch/said" >"$scratch/err" # some shells say so there
	test $status = "$wanted" && test "$(cat "$scratch/out")" = "$out" || fail "wild $*: $status $(cat "$scratch/out")"
	tail -1 "$scratch/err" | grep -q "^upage: $line, refused\$" &&
		! grep -v -q "^upage: [rw].* $metadata, refused\$" "$scratch/err" || fail "wild $*: $(cat "$scratch/err")"
	test "$(number protection "$scratch/wild.json")" = "$(wc -l <"$scratch/err")" ||
		fail "wild $*: faults that protection refused: $(number protection "$scratch/wild.json")"
}
metadata='the [a-z ]* (metadata of upage) at 0x[0-9a-f]* by the instruction at 0x[0-9a-f]* in thread [0-9]*'
./wild >"$scratch/native"
test "$?,$(cat "$scratch/native")" = '3,there is nothing' || fail "wild, natively: $(cat "$scratch/native")"
wild_says 139 '' "write to the frame table .*"
wild_says 0 'refused: 1 1' "write to the frame table .*" catch
timeout 60 $upage run -m 1G --guard-metadata -- ./wild call >"$scratch/out" 2>"$scratch/err"
test "$(cat "$scratch/out")" = "read: 0 -1 1" || fail "a system call reached metadata: $(cat "$scratch/out")"

# ---- What it prints when asked
$upage --version | grep -q '^upage [0-9]' || fail "--version"
$upage --help | grep -q -e '--memory' || fail "--help"
$upage run --help | grep -q -e '--memory' || fail "run --help"
$upage run -m 1M --stats -- true 2>&1 | grep -q 'page faults' || fail "--stats"
$upage run -m 1M --stats -- timeout 50 true >"$scratch/out" 2>&1
awk '$1 == "process" { from = NR } from && NR > from && $1 != "total" { faults += $2; told = told " " $7 " " $NF }
	$1 == "total" { total = $2; last = NR }
	END { exit !(last == NR && total == faults && told == " exit timeout exec timeout exit true") }' \
	"$scratch/out" || fail "the table of a tree: $(cat "$scratch/out")"
$upage run -m 16M --prefetch auto --stats -- true 2>&1 | grep -q 'read ahead' || fail "pages come in alone"
$upage run -m 16M --prefetch off --stats -- true >"$scratch/out" 2>&1
grep -q 'page faults' "$scratch/out" && ! grep -q 'read ahead' "$scratch/out" || fail "--prefetch off: $(cat "$scratch/out")"
rm -f "$scratch"/*.json
$upage run -m 1M --stats-json "$scratch/%p.json" -- sh -c 'true & wait' &&
	test "$(cat "$scratch"/[0-9]*.json | grep -c '"page_size": 4096')" -ge 2 || fail "--stats-json"

# ---- Statistics of a tree, in one file: programs that were forked, executed, killed
# tree TITLE WORD...: "program ended" of each object, the first one first, is TITLE
tree()
{
	wanted=$1
	shift
	rm -f "$scratch/tree.json"
	timeout 60 $upage run -m 1M --stats-json "$scratch/tree.json" "$@" >/dev/null 2>&1
	told=$(grep -o -e '"program": "[^"]*"' -e '"ended": "[^"]*"' "$scratch/tree.json" |
		cut -d'"' -f4 | paste -s -d' ')
	test "$told" = "$wanted" || fail "statistics of $*: $told"
}
tree 'sh exec true exit' -- sh -c 'exec true'
tree 'sh exec sh exec true exit' -- sh -c 'cd /; exec sh -c "exec true"'
tree 'timeout exit timeout exec true exit' -- timeout 50 true
tree 'find exit find exec sh killed' -- find / -maxdepth 0 -exec sh -c 'kill -9 $$' ';'
tree 'sh exec' --no-follow -- sh -c 'no-such-program; exec true'
tree 'timeout exit timeout exec' --no-follow -- timeout 50 true
tables=$($upage run -m 1M --stats --no-follow -- sh -c 'exec 2>/dev/null; exec true' 2>&1 | grep -c '^upage')
test "$tables" = 1 || fail "$tables tables before an execve that is not followed"
tables=$($upage run -m 1M --stats -- sh -c 'exec 2>/dev/null; cd /; (true); exec true' 2>&1 | grep -c '^upage')
test "$tables" = 1 || fail "$tables tables of a tree"
mkdir "$scratch/each"
$upage run -m 1M --stats-json "$scratch/each/%p" -- sh -c '(exit 3); cat /dev/null; exec true'
test "$(ls "$scratch/each" | wc -l)" = 3 || fail "not one file for each process: $(ls "$scratch/each")"
(cd "$scratch" && mkdir inner && "$upage" run --stats-json relative -- sh -c 'cd inner; exec true')
test -s "$scratch/relative" || fail "a relative name of a file of statistics"
expect 0 "stats-json=/dev/full: No space left" run --stats-json /dev/full true

# ---- What is said of what is run and refused
$upage run --verbose -- sh -c '/bin/true; exec /bin/sh -c "exit 3"' >"$scratch/out" 2>"$scratch/err"
test $? = 3 && test ! -s "$scratch/out" || fail "--verbose"
for text in 'sh: runs ' 'loaded by ' 'sh: executes ' 'true: runs '; do
	grep -q "^upage: [0-9]* .*$text" "$scratch/err" || fail "--verbose does not say '$text'"
done
! grep -v '^upage: ' "$scratch/err" || fail "--verbose: lines without upage:"

# ---- Limits from outside
(ulimit -v 4000000; expect 125 "RLIMIT_AS (ulimit -v)" run true; exit $failed) || failed=1
(ulimit -f 1000; expect 125 "RLIMIT_FSIZE, ulimit -f" run true; exit $failed) || failed=1

# ---- Limits of files: the program's own, and not those of its memory
cat >"$scratch/limit.sh" <<'EOF'
trap '' XFSZ
ulimit -f 20
ulimit -S -f; ulimit -H -f
head -c 20000 /dev/zero >"$0.file" 2>/dev/null
wc -c <"$0.file"
awk 'BEGIN { for (i = 0; i < 30000; i++) a[i] = i; for (i in a) s += a[i]; print s }' | cat
exec sh -c 'ulimit -H -f; echo end'
EOF
sh "$scratch/limit.sh" >"$scratch/native"
$upage run -m 1M -- sh "$scratch/limit.sh" >"$scratch/out" 2>"$scratch/err" ||
	fail "a limit of files: $(cat "$scratch/err")"
cmp "$scratch/native" "$scratch/out" || fail "a limit of files that the program sets"
out=$(ulimit -S -f 0; $upage run -m 1M --stats-json "$scratch/limit.json" -- awk \
	'BEGIN { for (i = 0; i < 30000; i++) a[i] = i; for (i in a) s += a[i]; print s }' 2>&1)
test "$out" = 449985000 || fail "a soft limit of files from outside: $out"
grep -q '"processes_dropped": 0}$' "$scratch/limit.json" || fail "statistics are not the program's files, which are limited"

test -z "$(ls -A "$scratch/swap")" || fail "files were left: $(ls -A "$scratch/swap")"
exit $failed
