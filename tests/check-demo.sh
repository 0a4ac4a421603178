#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs the demo in small, where sqlite3 and jemalloc were found.
test -x ../examples/sqlite_heap || { echo "examples/sqlite_heap was not built"; exit 77; }
exec ../examples/sqlite_heap --quick
