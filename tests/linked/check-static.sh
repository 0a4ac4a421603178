#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Linked with -static, and -static-pie: malloc, threads, processes, signals and system calls on
# evicted memory, by the same programs as in the other tests, must be what they are natively.
. "$(dirname "$0")/compare.sh"
built processes-static
run_native processes-native
run_paged memory=256K 1000 processes-static
run_paged memory=256K 1000 processes-static-pie
run_native stacks-native --signals 1000
run_paged memory=256K 1000 stacks-static --signals 1000
run_native calls-native
run_paged memory=256K 100 calls-static
exit $failed
