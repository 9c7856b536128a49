# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Realms and ordinary VMs, each busy while the other is; and by turns in one task, whose registers
# have to stay its own.
# time-limit: 360

. "${0%/*}/lib.sh"

load
realm 250 side-by-side
realm 60 vectors
nothing_left
unload
pass
