# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Realms and ordinary VMs, each busy while the other is.
# time-limit: 300

. "${0%/*}/lib.sh"

load
realm 250 side-by-side
nothing_left
unload
pass
