# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# A host suspends to idle, half the way and then all of it, while one realm runs and another one waits. Both
# go on.
# time-limit: 240

. "${0%/*}/lib.sh"

suspended() {
	cat /sys/power/suspend_stats/success
}

# sleep_tight: as far as pm_test says; an alarm may come too early, and is set again then
sleep_tight() {
	before=$(suspended)
	for seconds in 3 10 30; do
		echo 0 >/sys/class/rtc/rtc0/wakealarm
		echo "+$seconds" >/sys/class/rtc/rtc0/wakealarm
		if echo freeze >/sys/power/state && [ "$(suspended)" -gt "$before" ]; then return; fi
	done
	fail "the host does not suspend ($(cat /sys/power/pm_test)): $(cat /sys/power/suspend_stats/last_failed_*)"
}

load
hold realm running
victim convert

echo 1 >/sys/module/suspend/parameters/pm_test_delay
for level in freezer devices platform none; do
	echo $level >/sys/power/pm_test
	sleep_tight
	# It runs: it has had calls of the RMM made since, as a realm that converts memory does without end.
	before=$(calls smcs)
	for _ in $(seq 100); do
		if [ "$(calls smcs)" -gt "$before" ]; then break; fi
		sleep 0.1
	done
	[ "$(calls smcs)" -gt "$before" ] || fail "after $level nothing runs"
	kill -0 "$victim" || fail "after $level: the realm has ended"
	echo "  $level: ok"
done

# What was in its memory is there, and it can be used.
let_go realm
killed convert
nothing_left
realm 60 many 1
unload
pass
