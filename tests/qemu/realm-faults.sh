# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# An RMM that goes wrong at any of its commands: no harm, or an error that a VMM knows; whatever the
# RMM keeps is known to be leaked and used by nobody, also when a VMM is killed, and the next realm is as good
# as the first. No other kernel takes over from one that has leaked memory, also when the component has gone.
# time-limit: 460
# rmm: fault-injection
# guest: own

. "${0%/*}/lib.sh"

load
realm 60 half-way
realm 30 kept 4
realm 350 faults
leaked=$(value granules leaked)
[ "$leaked" -gt 0 ] || fail 'nothing is leaked'
expect_value granules delegated "$leaked"
unload
if [ "$component" = module ]; then
	dmesg | grep -q "kvm_arm_rmi: $leaked granules stay with the RMM until the machine is reset" ||
		fail "nothing in the log about $leaked granules"
fi
no_takeover
pass
