#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs a twentieth of the stress test; "make stress" runs all of it.
exec ./stress --scale 20 --with "${UPAGE_WITH-}"
