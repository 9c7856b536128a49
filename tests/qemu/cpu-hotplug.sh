# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Each CPU of the host goes off and comes back, again and again, while realms are made, populated and run
# there, and the RMM on it boots again.
# time-limit: 360
# cpus: 3

. "${0%/*}/lib.sh"

cpus=$(cd /sys/devices/system/cpu && echo cpu[0-9]*)
rounds=0

# turn CPU 0|1
turn() {
	echo "$2" >"/sys/devices/system/cpu/$1/online" || fail "$1 does not go $2"
	[ "$(cat "/sys/devices/system/cpu/$1/online")" = "$2" ] || fail "$1 is not $2"
}

# round [PID]: each CPU goes off, with that process on it, and comes back
round() {
	for cpu in $cpus; do
		if [ $# -gt 0 ]; then
			for thread in "/proc/$1/task/"*; do
				taskset -p "$(printf %x $((1 << ${cpu#cpu})))" "${thread##*/}" >/dev/null 2>&1 || true
			done
		fi
		turn "$cpu" 0
		turn "$cpu" 1
	done
	rounds=$((rounds + 1))
}

load
# These have 256 MiB, and are watched for the first part of it.
for doing in populate touch; do
	victim $doing
	round $victim
	until [ "$(value granules delegated)" -gt 20000 ]; do
		kill -0 $victim || fail "$doing: it has ended"
		round $victim
	done
	killed $doing
	nothing_left
	echo "  $doing: ok, after $rounds rounds"
done
for doing in convert spin; do
	victim $doing
	round $victim
	round $victim
	killed $doing
	nothing_left
	echo "  $doing: ok, after $rounds rounds"
done

# Whole lives, which come out as ever.
rmi-client realm run --vcpus 2 --memory 64 >/tmp/run 2>&1 &
runs=$!
before=$rounds
while kill -0 $runs 2>/dev/null; do round; done
wait $runs || fail "a realm beside: $(cat /tmp/run)"
echo "  a life: ok, in $((rounds - before)) rounds"
nothing_left

# A realm that begins while there is one CPU, and one on each that has come back.
for only in $cpus; do
	for cpu in $cpus; do if [ "$cpu" != "$only" ]; then turn "$cpu" 0; fi; done
	realm 60 many 1
	for cpu in $cpus; do if [ "$cpu" != "$only" ]; then turn "$cpu" 1; fi; done
done
# The PMUs of CPUs that have been away are realms' as well.
realm 90 pmu
for cpu in $cpus; do
	timeout 60 taskset "$(printf %x $((1 << ${cpu#cpu})))" rmi-client realm many 1 || fail "a realm on $cpu"
done
nothing_left
unload
pass
