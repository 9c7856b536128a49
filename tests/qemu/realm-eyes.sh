# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# All that a host has to look into memory, on a realm's.
# time-limit: 240

. "${0%/*}/lib.sh"

load
realm 220 eyes
nothing_left
unload
pass
