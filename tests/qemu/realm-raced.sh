# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# In a kernel that detects data races (KCSAN) realms do all that they can, many at once. What others race
# for is theirs; there is no race that the component or KVM's hooks have a part in.
# cpus: 4
# parameters: log_buf_len=16M
# allow: BUG: KCSAN: data-race in
# time-limit: 2700

. "${0%/*}/lib.sh"

# watched: how many accesses were watched until now
watched() {
	sed -n 's/^setup_watchpoints: //p' /sys/kernel/debug/kcsan
}

load
echo on >/sys/kernel/debug/kcsan
before=$(watched)
rmi-client guest || fail 'an ordinary VM does not run'
realm 400 run --vcpus 2 --memory 64
realm 300 at-once 4
realm 300 many 3
realm 400 parallel 4
realm 400 notifier 5
realm 300 killed
realm 600 abuse
realm 200 debugfs
nothing_left
unload
echo off >/sys/kernel/debug/kcsan
after=$(watched)
[ "$after" -gt $((before + 10000)) ] || fail "KCSAN has watched $before accesses before, $after after"

# A report is what stands between two lines of =.
dmesg | awk '
	/====================/ { if (report ~ /KCSAN/) { all++; if (report ~ /kvm_arm_rmi|kvm_rmi|_rmi_/) { ours++; print report } }
		report = ""; next }
	{ report = report $0 "\n" }
	END { print "  of " all + 0 " reports " ours + 0 " are ours" > "/dev/stderr"; exit ours > 0 }' ||
	fail 'a race'
echo "  $((after - before)) accesses watched"
pass
