# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# KVM's ordinary VMs run as before, with and without the component.

. "${0%/*}/lib.sh"

rmi-client guest || fail "before the component is loaded"
[ "$component" = none ] && pass
load || fail "the component does not load"
rmi-client guest || fail "while the component is there"
unload || fail "the component does not unload"
rmi-client guest || fail "after it has gone"
pass
