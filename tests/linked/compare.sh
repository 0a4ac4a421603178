# SPDX-License-Identifier: GPL-2.0-or-later
# What the scripts of this directory share beside ../support.sh: two runs, a native and a paged one,
# that must say the same. TMPDIR is $scratch/files, empty.
#
#   $evictions      of the last paged run
#   $whole_options  of `upage run`, beside memory and statistics
. "$(dirname "$0")/../support.sh"
whole_options=
upage=${UPAGE:-../../tools/upage}
script=$(basename "$0" .sh)
mkdir "$scratch/files"
TMPDIR=$scratch/files
export TMPDIR

# built PROGRAM...: skips the test where one of them was not
built()
{
	for program; do
		test -x "./$program" || { echo "$program was not built"; exit 77; }
	done
}

# run_native PROGRAM [ARGUMENT]...: its output is what is right
run_native()
{
	timeout -k 5 120 "./$@" > "$scratch/native" 2> "$scratch/native.err" ||
		{ echo "$script: $1 ended with $?"; tail -3 "$scratch/native"; exit 99; }
	test -s "$scratch/native" || { echo "$script: $* says nothing"; exit 99; }
	! grep WRONG "$scratch/native" || { echo "$script: $1 is wrong by itself"; exit 99; }
}

# compare STATUS PROGRAM LEAST: what the paged run said and left behind
compare()
{
	test "$1" -eq 0 || fail "$2 ended with $1 after: $(tail -1 "$scratch/paged")"
	cmp -s "$scratch/native" "$scratch/paged" || {
		fail "the transcripts of $2 differ (<: native, >: paged):"
		diff "$scratch/native" "$scratch/paged" | head -60
	}
	cmp -s "$scratch/native.err" "$scratch/paged.err" || {
		fail "$2 had this to say:"
		head -10 "$scratch/paged.err"
	}
	left=$(ls -A "$scratch/files")
	test -z "$left" || fail "$2 left files behind: $left"
	evictions=$(number evictions "$scratch/stats.json")
	test "${evictions:-0}" -ge "$3" || fail "$2: ${evictions:-no} evictions, not $3"
}

# run_paged OPTIONS LEAST PROGRAM [ARGUMENT]...: must say what the native one did, on stdout and
# on stderr, leave no file behind, and have LEAST evictions
run_paged()
{
	options=$1 least=$2
	shift 2
	rm -f "$scratch/stats.json"
	UPAGE_OPTIONS=${UPAGE_WITH-},$options,stats-json=$scratch/stats.json \
		timeout -k 5 $((270 * ${CK_TIMEOUT_MULTIPLIER:-1})) "./$@" > "$scratch/paged" 2> "$scratch/paged.err"
	compare $? "$1" "$least"
}

# run_whole MEMORY LEAST PROGRAM [ARGUMENT]...: the same of a native program, in `upage run`
run_whole()
{
	memory=$1 least=$2
	shift 2
	test -x "$upage" || return
	rm -f "$scratch/stats.json"
	timeout -k 5 $((270 * ${CK_TIMEOUT_MULTIPLIER:-1})) "$upage" run $whole_options -m "$memory" --stats-json "$scratch/stats.json" -- \
		"./$@" > "$scratch/paged" 2> "$scratch/paged.err"
	compare $? "upage run $1" "$least"
}
