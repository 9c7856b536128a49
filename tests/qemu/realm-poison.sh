# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Memory of a realm goes bad: that page is lost, and nothing else.
# time-limit: 200

. "${0%/*}/lib.sh"

load
realm 150 poison
nothing_left
unload
pass
