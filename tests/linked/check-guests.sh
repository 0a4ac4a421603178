#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What programs do with signals (guests.c), natively, linked with upage-malloc, and as they are in
# `upage run`, must be the same; and so what the programs of the other tests say.
. "$(dirname "$0")/compare.sh"
built guests-native guests-linked stacks-native processes-native calls-native

run_native guests-native "$@"
run_paged memory=64K 100 guests-linked "$@"
run_whole 64K 1000 guests-native "$@"
run_whole 1M 0 guests-native "$@"
test $# -eq 0 || exit $failed
run_native stacks-native --signals 1000
run_whole 256K 1000 stacks-native --signals 1000
run_native processes-native
run_whole 256K 1000 processes-native
# A descriptor that execve closes cannot be executed there, and a tracer sees our signals.
run_native calls-native --without executeat_evicted,traced_execution
run_whole 256K 1000 calls-native --without executeat_evicted,traced_execution
exit $failed
