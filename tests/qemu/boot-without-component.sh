# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The patched kernel boots as before when our component is not there.

. "${0%/*}/lib.sh"

[ -c /dev/kvm ] || fail "KVM is not there"
if dmesg | grep 'kvm_arm_rmi: '; then
	fail "the kernel log mentions a component that this kernel does not have"
fi
[ ! -e "$component_debugfs" ] || fail "$component_debugfs exists"
[ ! -e /sys/module/kvm_arm_rmi ] || fail "a module is loaded"
pass
