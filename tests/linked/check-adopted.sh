#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The program's own data in paged memory: adopted.c must say the same natively, and linked with
# upage-malloc under adopt-data with a fraction of its 20 MiB; which are then nowhere else.
. "$(dirname "$0")/compare.sh"
built adopted-native adopted-linked

# anonymous FILE: KiB of it that the kernel counted
anonymous()
{
	sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "$1"
}

run_native adopted-native "$scratch/native.memory"
run_paged memory=512K,adopt-data,store=file 10000 adopted-linked "$scratch/paged.memory"

# Natively it is all there: that the figure shows it makes the other one worth something.
native=$(anonymous "$scratch/native.memory")
linked=$(anonymous "$scratch/paged.memory")
test "${native:-0}" -ge 20480 || fail "${native:-no} KiB of anonymous memory natively, not 20480"
test "${linked:-20480}" -le 6144 || fail "${linked:-unknown} KiB of anonymous memory, not at most 6144"
echo "$script: $evictions evictions; $native KiB anonymous natively, $linked linked"
exit $failed
