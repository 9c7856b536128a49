# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What a page or a call costs when 1, 2, 4, 8 and 16 vCPUs do the same at once, on a host with as many CPUs.
# QEMU has them execute by turns; a timer that fires every 16,000 instructions makes the turns so short (1000)
# that they meet wherever they have something in common.
# time-limit: 300
# cpus: 16
# qemu: -icount shift=0 -netdev hubport,id=turns,hubid=0 -object filter-buffer,id=turn,netdev=turns,interval=16
# parameters: cgroup_disable=memory

. "${0%/*}/lib.sh"

load; echo 2097152 >/sys/module/kvm_arm_rmi/parameters/fault_around
lines=/tmp/parallel
realm 280 parallel 1 2 4 8 16 >$lines || {
	cat $lines
	fail 'see above'
}
cat $lines
awk -f /tests/parallel.awk /tests/parallel.tsv $lines || fail 'see above'
nothing_left
unload
pass
