#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Whole programs under each way of translating addresses, standing still and on the move.
exec sh "$(dirname "$0")/check-programs.sh" --schemes "$@"
