#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs the demo in small, where sqlite3 and jemalloc were found, with memory at a quarter and
# at a sixteenth of the footprint. It compares the results itself, and what /proc says.
test -x ../examples/sqlite_heap || { echo "examples/sqlite_heap was not built"; exit 77; }
../examples/sqlite_heap --quick && ../examples/sqlite_heap --quick --fraction 16
