# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Whatever moves pages does so with those that a realm shares, and no word of them is lost.
# time-limit: 300
# parameters: numa=fake=2 numa_balancing=enable

. "${0%/*}/lib.sh"

load
swap_on
realm 250 movers 2
swap_off
nothing_left
unload
pass
