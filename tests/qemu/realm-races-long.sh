# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Everything that races, for half an hour.
# time-limit: 4500
# cpus: 8

. "${0%/*}/lib.sh"

load
read -r uptime _ </proc/uptime
end=$((${uptime%.*} + 1800))
rounds=0
while read -r now _ </proc/uptime && [ "${now%.*}" -lt $end ]; do
	realm 1000 abuse race
	realm 1000 abuse unmappers
	realm 1000 abuse waits
	realm 1000 notifier 3
	realm 1000 side-by-side
	realm 1000 at-once 8
	realm 1000 off 20
	nothing_left
	rounds=$((rounds + 1))
done
echo "  $rounds rounds"
unload
pass
