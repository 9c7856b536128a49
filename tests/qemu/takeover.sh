# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Another kernel that would take over all memory, and realms, keep each other out.
# guest: own

. "${0%/*}/lib.sh"

# refused WANTED COMMAND...: it fails, and says WANTED
refused() {
	wanted=$1
	shift
	if "$@" >/tmp/refused 2>&1; then fail "$*: it is not refused"; fi
	grep -q "$wanted" /tmp/refused || fail "$*: $(cat /tmp/refused)"
}

hibernate() {
	echo disk >/sys/power/state
}

load
refused 'Operation not permitted' rmi-client kexec load /guest/Image
refused 'Operation not permitted' hibernate
dmesg | grep -q "Can't kexec: memory may belong to realms" || fail 'nothing in the log about kexec'
dmesg | grep -q "Can't hibernate: memory may belong to realms" ||
	fail 'nothing in the log about hibernation'
realm 60 many 1

if [ "$component" = module ]; then
	unload
	rmi-client kexec load /guest/Image || fail 'kexec is refused without the component'
	refused 'Device or resource busy\|Resource busy' insmod /lib/kvm_arm_rmi.ko
	dmesg | grep -q 'no realms: a kernel is loaded for kexec' || fail 'nothing in the log'
	realm 60 refused
	# Loading it again replaces the first.
	rmi-client kexec load /guest/Image || fail 'an image cannot be replaced'
	rmi-client kexec unload
	load
	refused 'Operation not permitted' rmi-client kexec load /guest/Image
	realm 60 many 1
fi
nothing_left
unload
pass
