#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The tables of system calls are the same whichever C library's headers they were compiled with: what the
# kernel reads and writes has one size. (A struct of musl's may have room behind it, into which its own
# calls never let the kernel write.)
set -u
guest=../lib/guest/.libs
test -f $guest/libupage_musl_la-table.o || { echo "the command is not linked with musl"; exit 77; }
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT || exit 99
status=0

# constants OBJECT: all of its data that does not change, but what the linker fills in
constants()
{
	for section in .rodata .rodata.str1.1 .data.rel.ro; do
		objcopy -O binary -j $section "$1" "$scratch/section" && cat "$scratch/section" || exit 99
	done
}

for table in table ioctl_table; do
	for library in fault musl; do
		constants $guest/libupage_${library}_la-$table.o >"$scratch/$library" || exit 99
	done
	test -s "$scratch/fault" || { echo "FAIL: no constants in $table"; status=1; }
	cmp "$scratch/fault" "$scratch/musl" || { echo "FAIL: guest/$table.c depends on the C library"; status=1; }
done
exit $status
