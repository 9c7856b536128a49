# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# KVM_CHECK_EXTENSION tells of realms exactly while the component is there, by the number that
# is set for it, and the number shows in sysfs.

. "${0%/*}/lib.sh"

parameter=/sys/module/kvm_arm_rmi/parameters/cap

# capability NUMBER WANTED WHEN
capability() {
	got=$(rmi-client capability "$1") || fail "KVM_CHECK_EXTENSION($1) fails $3"
	[ "$got" = "$2" ] || fail "KVM_CHECK_EXTENSION($1) is $got, not $2, $3"
}

if [ "$component" = builtin ]; then
	capability 253 1 "with the component built in"
	[ "$(cat $parameter)" = 253 ] || fail "$parameter is $(cat $parameter)"
	pass
fi

capability 253 0 "without the component"
load
capability 253 1 "with the component"
capability 252 0 "for a neighbour"
[ "$(cat $parameter)" = 253 ] || fail "$parameter is $(cat $parameter)"
unload
capability 253 0 "after the component has gone"

insmod /lib/kvm_arm_rmi.ko cap=9001
capability 9001 1 "with the number set at load"
capability 253 0 "for a number that is not ours"
[ "$(cat $parameter)" = 9001 ] || fail "$parameter is $(cat $parameter)"
unload
pass
