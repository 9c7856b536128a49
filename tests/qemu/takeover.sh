# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Another kernel that would take over all memory, and realms, keep each other out.
# guest: own

. "${0%/*}/lib.sh"

load
no_takeover
realm 60 many 1

if [ "$component" = module ]; then
	unload
	rmi-client kexec load /guest/Image || fail 'kexec is refused without the component'
	fails_with 'Device or resource busy\|Resource busy' insmod /lib/kvm_arm_rmi.ko
	dmesg | grep -q 'no realms: a kernel is loaded for kexec' || fail 'nothing in the log'
	realm 60 refused
	# Loading it again replaces the first.
	rmi-client kexec load /guest/Image || fail 'an image cannot be replaced'
	rmi-client kexec unload
	load
	no_takeover
	realm 60 many 1
fi
nothing_left
unload
pass
