# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# realm-movers, beside realms of one, two and four CPUs.
# time-limit: 1200
# parameters: numa=fake=2 numa_balancing=enable

. "${0%/*}/lib.sh"

load
swap_on
for cpus in 1 2 4; do
	realm 380 movers $cpus
done
realm 200 movers 2 compact
swap_off
nothing_left
unload
pass
