# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What it costs to boot Linux in a realm of 256 MiB, and what of the host's memory that takes at most, by how
# much a fault brings in.
# time-limit: 600
# guest: own
# cpus: 1
# qemu: -icount shift=0
# parameters: cgroup_disable=memory

. "${0%/*}/lib.sh"

# boot NAME BYTES ADAPTIVE
boot() {
	load
	echo "$2" >/sys/module/kvm_arm_rmi/parameters/fault_around
	echo "$3" >/sys/module/kvm_arm_rmi/parameters/fault_adaptive
	linux-realm --quiet --memory 256 --cpus 1 --cmdline 'quiet check=none' >/tmp/boot.log 2>&1 ||
		fail "$1: $(tail -n 5 /tmp/boot.log)"
	nothing_left
	echo "$1: $(value granules delegated_peak) granules at most," \
		"$(awk '{ all += $2 } $1 ~ /REC_ENTER/ { entries = $2 } END { print all + 0 " SMCs, " entries + 0 " entries" }' \
			"$component_debugfs/smcs")"
	unload
}

boot never 65536 N
boot adaptive 2097152 Y
boot always 2097152 N
pass
