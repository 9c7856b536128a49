# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# KVM_CHECK_EXTENSION tells of realms exactly while the component is there, by the number that
# is set for it, and the number shows in sysfs.

. "${0%/*}/lib.sh"

parameter=/sys/module/kvm_arm_rmi/parameters/cap
kvms=/sys/module/kvm/parameters/kvm_cap_arm_rmi

# capability NUMBER WANTED WHEN
capability() {
	got=$(rmi-client capability "$1") || fail "KVM_CHECK_EXTENSION($1) fails $3"
	[ "$got" = "$2" ] || fail "KVM_CHECK_EXTENSION($1) is $got, not $2, $3"
}

# shows NUMBER NUMBER: what the component's parameter says, and KVM's
shows() {
	[ "$(cat $parameter)" = "$1" ] || fail "$parameter is $(cat $parameter)"
	[ "$(cat $kvms)" = "$2" ] || fail "$kvms is $(cat $kvms)"
}

if [ "$component" = builtin ]; then
	capability 253 1 "with the component built in"
	shows 253 253
	pass
fi

capability 253 0 "without the component"
[ "$(cat $kvms)" = 0 ] || fail "$kvms is $(cat $kvms) without the component"
if (echo 1 >$kvms) 2>/dev/null; then fail "$kvms can be written"; fi
load
capability 253 1 "with the component"
capability 252 0 "for a neighbour"
shows 253 253
rmi-client vm $((1 << 8)) || fail "VM type 1 << 8 is no realm"
unload
capability 253 0 "after the component has gone"

# refused PARAMETERS WHY: the component does not start, and says why
refused() {
	dmesg -c >/dev/null
	# shellcheck disable=SC2086 # parameters are words
	if insmod /lib/kvm_arm_rmi.ko $1 2>/dev/null; then fail "it starts with $1"; fi
	dmesg | grep -q "$2" || fail "with $1 it says $(dmesg)"
	[ "$(cat $kvms)" = 0 ] || fail "$kvms is $(cat $kvms) after $1"
}

refused cap=250 'cap=250 is a capability of another architecture'
refused cap=251 'cap=251 is another capability of KVM'
refused 'cap=251 force_cap=1' 'cap=251 is another capability of KVM'
refused cap=0 'cap=0 is another capability of KVM'
refused gmem_attributes_cap=9 'gmem_attributes_cap=9 is another capability of KVM'
refused cap=252 'cap and gmem_attributes_cap are both 252'
insmod /lib/kvm_arm_rmi.ko cap=249 force_cap=1 gmem_attributes_cap=250
capability 249 1 "of another architecture, which is forced"
shows 249 249
unload
insmod /lib/kvm_arm_rmi.ko cap=9001 vm_type_alias=0
capability 9001 1 "with the number set at load"
capability 253 0 "for a number that is not ours"
shows 9001 9001
rmi-client vm $((1 << 8)) && fail "VM type 1 << 8 makes a VM, although it is not to"
rmi-client vm $((1 << 30)) || fail "VM type 1 << 30 is no realm"
unload
pass
