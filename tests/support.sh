# SPDX-License-Identifier: GPL-2.0-or-later
# What the scripts of this directory and of linked/ share, which read it at their start.
#
#   $scratch    a directory that is removed at the end
#   $failed     what to exit with
set -u
ulimit -S -c 0
unset UPAGE_OPTIONS
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
trap 'exit 99' HUP INT TERM
failed=0

fail()
{
	echo "FAIL: $*"
	failed=1
}

# find_upage: the command is $upage; the test is skipped where there can be none
find_upage()
{
	upage=${UPAGE:-$(cd ../tools 2>/dev/null && pwd)/upage}
	test -x "$upage" || { echo "tools/upage was not built"; exit 77; }
	said=$("$upage" run -- true 2>&1) && return
	case $said in
	*"cannot be intercepted here"*) echo "$said"; exit 77 ;;
	esac
	echo "FAIL: upage run true: $said"
	exit 1
}

# number NAME FILE: the first one of that name in a file of statistics
number()
{
	grep -o "\"$1\": [0-9]*" "$2" 2>/dev/null | sed -n '1s/.*: //p'
}

# progress TEXT: what is under way, on a terminal, until the next line
progress()
{
	[ ! -t 2 ] || printf '\r\033[K%s' "$*" >&2
}
