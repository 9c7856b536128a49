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

insmod /lib/kvm_arm_rmi.ko cap=9001 vm_type_alias=0
capability 9001 1 "with the number set at load"
capability 253 0 "for a number that is not ours"
shows 9001 9001
rmi-client vm $((1 << 8)) && fail "VM type 1 << 8 makes a VM, although it is not to"
rmi-client vm $((1 << 30)) || fail "VM type 1 << 30 is no realm"
unload
pass
