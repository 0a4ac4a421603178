#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What stress-ng verifies natively must be so under `upage run`, in half of the memory that it
# needs.
#
#   check-stress-ng.sh [--core|--full] [--percent N] [NAME]...    NAME: a stressor of the list below
#
# Each stressor runs natively, bounded by a number of operations or by a second; then in ample
# memory, which tells its footprint: the most frames that one of its processes had in use at a
# time; then in half of that, or in N percent. A run that passes natively must pass each time: the
# same exit status, no "fail:" and no "error:" line, not a worker killed, and operations done. One
# that does not pass natively is named and says nothing. In less than ample memory there must be
# evictions: what fits is run in half of that again. --core (the default): the few that are marked;
# --full: all but the exceptions, which run where a NAME asks for them.
. "$(dirname "$0")/support_runs.sh"

# Stressor, operations (or -: one second of them), options; "core" in front: in --core, too.
stressors='
# memory
core vm 40 --vm-bytes 8M
vm-addr -
vm-segv -
mmap 10 --mmap-bytes 4M
mmapaddr 100
mmapfixed -
mmaphuge -
mmapmany 1
mremap 10 --mremap-bytes 4M
munmap 10
mprotect 300
madvise 2
mincore 300
mlock 200
msync 50
msyncmany -
remap 2
rmap -
pagemove 1
pageswap -
brk 500
stack 1
stackmmap -
core bigheap 200
malloc 1000
memfd 2 --memfd-bytes 4M
shm 2 --shm-bytes 1M
shm-sysv 2 --shm-sysv-bytes 1M
dev-shm -
secretmem -
pkey -
fault -
tlb-shootdown -
matrix -
memcpy -
memthrash 8
misaligned -
qsort -
tsearch 1
skiplist -
zlib -
# processes and threads
core fork 30
vfork 100
vforkmany -
clone 20
core pthread 100
wait 20
zombie 20
daemon 10
exit-group -
session -
pidfd -
ptrace -
dynlib -
context -
longjmp -
affinity -
schedpolicy -
membarrier -
mcontend -
yield -
core futex 500
core mutex 2000
# signals and time
core sigsegv 200
core sigq 1000
core sigsuspend 300
core sigrt 300
sigfd 300
sigpending 300
sigabrt 10
sigio 50 --timeout 2
signest 100
signal 1000
sigchld 10
sigfpe 50
sigpipe 50
sigtrap 100
bad-altstack -
kill 300
alarm 2
core timer 500
timerfd 500
itimer 200
hrtimers -
nanosleep -
clock -
vdso -
# waiting and messages
core pipe 1000
pipeherd -
ring-pipe -
fifo -
poll 300
core epoll 100
eventfd 500
inotify 3
dnotify -
sem 1000 --timeout 2
sem-sysv 500
mq 500
msg 500
core switch 1000
sock 10
sockpair 100
sockfd 50
sockabuse -
sockmany -
udp 200
splice -
tee -
sendfile -
pty -
# files
hdd 100 --hdd-bytes 4M
aio -
iomix -
copy-file -
readahead -
seek -
revio -
fallocate 2
fpunch -
dir -
getdent -
fcntl -
flock -
lockf -
lockofd -
lease -
rename -
xattr -
open -
close -
dup -
fsize -
rlimit -
procfs -
# what the kernel says of bad calls
enosys -
sysbadaddr -
get -
set -
personality -
# see below
aiol 100
io-uring -
seccomp -
userfaultfd -
usersyscall -
vm-splice -
vm-rw -
'

# Those that cannot pass, and why. README.md lists them, too.
exception()
{
	case $1 in
	aiol) echo "io_setup is refused: the kernel would write to memory when it likes" ;;
	io-uring) echo "io_uring is refused, for the same reason" ;;
	seccomp) echo "filters are refused: they would see upage's own system calls" ;;
	userfaultfd) echo "userfaultfd is refused: the program's memory is not the kernel's to watch" ;;
	usersyscall) echo "Syscall User Dispatch is in use, by upage" ;;
	vm-splice) echo "vmsplice of paged memory is refused: the kernel would keep its frames" ;;
	vm-rw) echo "another process's memory: the kernel finds there only what is resident" ;;
	sockpair) echo "a process that has all the descriptors of its hard limit cannot fork: it takes two" ;;
	*) ;;
	esac
}

usage()
{
	echo "usage: check-stress-ng.sh [--core|--full] [--percent N] [NAME]..." >&2
	exit 2
}

percent=50
while [ $# -gt 0 ]; do
	case $1 in
	--core) full=no ;;
	--full) full=yes ;;
	--percent)
		percent=${2-}
		shift
		[ "$percent" -gt 0 ] 2>/dev/null || usage
		;;
	-*) usage ;;
	*) names="$names $1" ;;
	esac
	shift
done
find_upage
command -v stress-ng >/dev/null || { echo "stress-ng is not installed"; exit 77; }
# What a run may take, in seconds; stress-ng is told to stop its workers long before.
limit=90

session=

# Everything that a run left behind: its workers are in groups of their own, but in its session.
reap()
{
	[ -n "$session" ] || return 0
	for file in /proc/[0-9]*/stat; do
		{ read -r line <"$file"; } 2>/dev/null || continue
		rest=${line##*) }
		set -- $rest
		[ "$4" != "$session" ] || [ "$1" = Z ] || kill -KILL "${line%% *}" 2>/dev/null
	done
	session=
}
trap 'reap; rm -rf "$scratch"' EXIT

row()
{
	progress
	printf '%-12s %7s %9s %9s %8s %8s  %s\n' "$@"
}

execute()
{
	# shellcheck disable=SC2086 # a list of words
	(cd "$scratch/work" && exec setsid timeout -k 5 "$limit" "$@" stress-ng "--$name" 1 --verify \
		--temp-path "$scratch/work" --metrics-brief --timeout 30 $options) \
		>"$scratch/$to.out" 2>&1 </dev/null &
	session=$!
	wait $session
	status=$?
	reap
}

# run RUN [COMMAND PREFIX]...: leaves $scratch/RUN.out, $status, $operations and $seconds.
run()
{
	to=$1
	shift
	# sigio waits for ever for its first signal in one run of four, natively: again, if nothing
	# was done and nothing was wrong.
	for attempt in 1 2 3; do
		rm -rf "$scratch/work"
		mkdir "$scratch/work"
		measure execute "$@"
		# Its own figures, if it has some, are on further lines.
		operations=$(awk -v name="$name" '$2 == "metrc:" && $4 == name { print $5; exit }' "$scratch/$to.out")
		operations=${operations:-0}
		[ $status = 0 ] && [ "$operations" = 0 ] || break
	done
}

# Why the last run did not pass: nothing if it did.
complaint()
{
	case $1 in
	0) ;;
	124 | 137) printf 'no end within %s s; ' "$limit" ;;
	*) printf 'status %s; ' "$1" ;;
	esac
	grep -qE 'fail:|error:' "$2" && printf 'it says so; '
	grep -qiE 'terminated on signal|killed by signal|aborted early' "$2" && printf 'a worker was killed; '
	[ "$operations" -gt 0 ] || printf 'no operation was done; '
}

# judge RUN BYTES LABEL: a row of the table about the last run, in that much memory.
judge()
{
	wrong=$(complaint $status "$scratch/$1.out")$lacks
	row "$name" "$3" $(($2 >> 10)) "$evictions" "$operations" "$seconds" "${wrong:-passes}"
	[ -n "$wrong" ] || return 0
	failures=$((failures + 1))
	grep -vE 'metrc:|info:.*(setting to|dispatching hogs)' "$scratch/$1.out" | head -n 8 | cut -c 1-150 |
		sed 's/^/    /'
	return 1
}

check()
{
	progress "$name natively"
	run native
	wrong=$(complaint $status "$scratch/native.out")
	row "$name" native - - "$operations" "$seconds" "${wrong:+does not pass natively either: }$wrong"
	[ -z "$wrong" ] || return 0
	ran=$((ran + 1))
	run_in ample $((4 << 30)) ample
	judge ample $((4 << 30)) ample || return 0
	footprint=$(footprint) share=$percent
	run_in part "$(part "$share")" "$share%"
	# Neighbours of pages were the most of it. A run that did not pass is judged.
	while [ -z "$(complaint $status "$scratch/part.out")" ] && [ "${evictions:-0}" = 0 ] && [ "$share" -gt 5 ]; do
		share=$((share / 2))
		run_in part "$(part "$share")" "$share%"
	done
	judge part "$(part "$share")" "$share%"
}

row stressor run KiB evictions ops seconds ""
for name in $names; do
	printf '%s\n' "$stressors" | grep -qE "^(core )?$name( |\$)" ||
		{ echo "check-stress-ng.sh: unknown stressor '$name'" >&2; usage; }
done
# Descriptor 3, for the runs have no input. Options are words without blanks.
exec 3<<EOT
$stressors
EOT
while read -r name bound options <&3; do
	core=no
	case $name in
	'' | '#') continue ;;
	core) core=yes name=$bound bound=${options%% *} options=${options#"$bound"} ;;
	esac
	case $bound in
	-) options="--timeout 1" ;;
	*) options="--$name-ops $bound $options" ;;
	esac
	case " $names " in
	"  ") [ $full = yes ] || [ $core = yes ] || continue ;;
	*" $name "*) ;;
	*) continue ;;
	esac
	reason=$(exception "$name")
	if [ -n "$reason" ] && [ -z "$names" ]; then
		row "$name" - - - - - "excepted: $reason"
		continue
	fi
	check
done
finish stressors "no stressor passes natively"
