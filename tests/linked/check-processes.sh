#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Processes: processes.c must say the same natively and linked with upage-malloc.
# "check-processes.sh --size 67108864" is the full size.
. "$(dirname "$0")/compare.sh"
built processes-native processes-linked
run_native processes-native "$@"
run_paged memory=256K 1000 processes-linked "$@"
exit $failed
