# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# KVM's ordinary VMs run as before, and are told the same, with and without the component.

. "${0%/*}/lib.sh"

rmi-client guest || fail "before the component is loaded"
[ "$component" = none ] && pass
# Thousands of registers: what they say is the same on the debug kernel, which takes minutes for them.
state() {
	case $(uname -r) in
	*-debug*) ;;
	*) rmi-client state ;;
	esac
}
state >/tmp/before || fail "before the component is loaded"
load || fail "the component does not load"
rmi-client guest || fail "while the component is there"
state >/tmp/with || fail "while the component is there"
# What may differ: that there are realms, and attributes of memory for them.
diff /tmp/before /tmp/with | grep '^[<>]' |
	grep -v -e '^. kvm cap 253 [01]$' -e '^. kvm cap 233 [08]$' -e '^. type 0x40000000 ' &&
	fail "the component changes what KVM tells of ordinary VMs"
unload || fail "the component does not unload"
rmi-client guest || fail "after it has gone"
pass
