# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Several realms at the same time.
# time-limit: 300

. "${0%/*}/lib.sh"

load
realm 250 at-once 8
nothing_left
unload
pass
