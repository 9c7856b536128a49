# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Everything that races, for half an hour.
# time-limit: 2700
# cpus: 8

. "${0%/*}/lib.sh"

load
read -r uptime _ </proc/uptime
end=$((${uptime%.*} + 1800))
rounds=0
while read -r now _ </proc/uptime && [ "${now%.*}" -lt $end ]; do
	realm 400 abuse race
	realm 400 abuse unmappers
	realm 400 abuse waits
	realm 400 notifier 3
	realm 400 side-by-side
	realm 100 at-once 8
	realm 200 off 20
	nothing_left
	rounds=$((rounds + 1))
done
echo "  $rounds rounds"
unload
pass
