# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Realms and ordinary VMs, each busy while the other is; and by turns in one task, whose registers
# have to stay its own. So have those of SVE that a realm has, at each length of vectors, and those of its PMU.
# time-limit: 480

. "${0%/*}/lib.sh"

load
realm 250 side-by-side
realm 60 vectors
realm 60 sve
realm 90 pmu
nothing_left
unload
pass
