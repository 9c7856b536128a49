# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# A component that is built in is kept away by the kernel's command line: one line in the log says so, there
# are no realms, and ordinary VMs run.
# parameters: kvm_arm_rmi.enabled=0

. "${0%/*}/lib.sh"

[ "$component" = builtin ] || fail 'this is for the component that is built in'
dmesg | grep -F 'kvm_arm_rmi: ' >/tmp/lines || fail 'nothing in the log'
[ "$(sed 's/^\[[^]]*\] //' /tmp/lines)" = 'kvm_arm_rmi: no realms: the parameter enabled=0 says so' ] ||
	fail "the log has $(cat /tmp/lines)"
[ "$(cat /sys/module/kvm_arm_rmi/parameters/enabled)" = N ] || fail 'the parameter is not what it was set to'
[ "$(cat /sys/module/kvm/parameters/kvm_cap_arm_rmi)" = 0 ] || fail 'KVM has a number for realms'
[ "$(rmi-client capability 253)" = 0 ] || fail 'KVM says that there are realms'
[ ! -e "$component_debugfs" ] || fail "$component_debugfs is there"
realm 60 refused
rmi-client guest || fail 'an ordinary VM does not run'
realm 60 run --ordinary
pass
