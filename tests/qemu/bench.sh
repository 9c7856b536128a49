# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What realms cost, for scripts/bench to look at.

. "${0%/*}/lib.sh"

load
realm 500 bench
nothing_left
unload
pass
