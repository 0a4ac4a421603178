# SPDX-License-Identifier: GPL-2.0-or-later
#
# All benchmarks, with little work: what they answer, and that they are there; no times.
exec "${SHELL:-/bin/sh}" "$srcdir/run.sh" --quick quick.jsonl
