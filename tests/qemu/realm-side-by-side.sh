# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Realms and ordinary VMs, each busy while the other is; and by turns in one task, whose registers
# have to stay its own. So have those of SVE that a realm has, at each length of vectors.
# time-limit: 420

. "${0%/*}/lib.sh"

load
realm 250 side-by-side
realm 60 vectors
realm 60 sve
nothing_left
unload
pass
