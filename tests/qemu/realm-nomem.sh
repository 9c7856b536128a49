# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Any allocation of the kernel's fails that a VMM with a realm causes: nothing is lost.
# time-limit: 600

. "${0%/*}/lib.sh"

load
realm 550 nomem
nothing_left
unload
pass
