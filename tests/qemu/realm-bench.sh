# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What realms cost, in SMCs: a line for each phase of a life.
# time-limit: 400

. "${0%/*}/lib.sh"

load
realm 350 bench
nothing_left
unload
pass
