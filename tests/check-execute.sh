#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# execve in all its forms: execute.c says the same natively and under `upage run`; and aligned.c.
. "$(dirname "$0")/support.sh"
find_upage
execute=$PWD/execute
test -x "$execute" || { echo "execute was not built"; exit 77; }

# native_then TITLE SHELL [ARGUMENT]...: after SHELL, $execute ARGUMENT... in a directory of its own
native_then()
{
	title=$1 shell=$2
	shift 2
	for run in native paged; do
		rm -rf "$scratch/work"
		mkdir "$scratch/work"
		prefix=
		test $run = native || prefix="$upage run -m 1M --"
		(cd "$scratch/work" && timeout -k 5 200 sh -c "$shell; exec $prefix $execute $*") \
			>"$scratch/$run" 2>"$scratch/$run.err" </dev/null
		status=$?
		echo "status $status" >>"$scratch/$run"
		case $run,$status in
		paged,* | native,0 | native,44) ;; # 44: a chain's end
		*) fail "$title, natively: status $status: $(head -3 "$scratch/native.err")" ;;
		esac
	done
	cmp -s "$scratch/native" "$scratch/paged" && cmp -s "$scratch/native.err" "$scratch/paged.err" || {
		fail "$title (<: native, >: paged):"
		diff "$scratch/native" "$scratch/paged" | head -40
		head -5 "$scratch/paged.err"
	}
}

native_then "execve" :
if (ulimit -s unlimited) 2>/dev/null; then
	native_then "execve with an endless stack" "ulimit -s unlimited"
else
	echo "no endless stack: it is limited"
fi
native_then "execve with few descriptors" "ulimit -S -n 12"
native_then "1000 in a row" : 1000

execute=$PWD/aligned
native_then "static data that is aligned" :
for scheme in base-bounds "base-bounds --bounds 8M" segmentation; do
	$upage run -m 64M --scheme $scheme -- ./aligned >"$scratch/paged" 2>&1
	test "$(cat "$scratch/paged")" = "$(./aligned)" || fail "aligned data, --scheme $scheme: $(cat "$scratch/paged")"
done

# ---- Limits that the program sets, and passes on
cat >"$scratch/limits" <<'END'
ulimit -S -v 300000
ulimit -v; ulimit -Hv
sh -c 'ulimit -v'
python3 -c 'x = bytearray(600 << 20)' 2>&1 | tail -n 1
ulimit -v 200000 && ulimit -v && ulimit -d 50000 && ulimit -d
sh -c 'ulimit -v; ulimit -Hv; ulimit -d'
perl -e 'my $x = "x" x 20000000; print length $x, "\n"'
(ulimit -s unlimited; ulimit -s; sh -c 'ulimit -s')
(ulimit -s 200; sh -c 'ulimit -s')
ulimit -n 64; ulimit -S -n 20; ulimit -n
i=3; while [ $i -lt 10 ]; do eval "exec $i</dev/null"; i=$((i + 1)); done
cat /proc/self/limits | grep 'open files'
END
# All descriptors taken, under a soft limit that is high: a fork has its own above.
cat >"$scratch/full" <<'END'
perl -e 'while (open(my $file, "<", "/dev/null")) { push @all, $file } print "full\n";
	my $child = fork; exit 7 unless $child; waitpid $child, 0; print defined $child ? $? >> 8 : $!, "\n"'
END
execute=/bin/sh
native_then "limits" : "$scratch/limits"
test "$(ulimit -H -n)" = unlimited || test "$(ulimit -H -n)" -lt 6000 ||
	native_then "no descriptors left" "ulimit -S -n 5000" "$scratch/full"
native_then "soft limits from outside" "ulimit -S -v 400000; ulimit -S -n 12; ulimit -c 0" "$scratch/limits"
exit $failed
