#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Signals on evicted stacks: stacks.c must say the same natively and linked with upage-malloc.
. "$(dirname "$0")/compare.sh"
built stacks-native stacks-linked
run_native stacks-native "$@"
run_paged memory=512K 10000 stacks-linked "$@"
exit $failed
