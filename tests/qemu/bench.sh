# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What realms cost, for scripts/bench to look at.

. "${0%/*}/lib.sh"

load
bench || fail "status $?, see above"
nothing_left
unload
pass
