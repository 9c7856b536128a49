# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The RMM of this boot speaks RMI 1.0, and the component does; what follows in the boot is as ever.
# rmm: rmi-1-0

. "${0%/*}/lib.sh"

load
expect_value state abi 1.0
expect_value state was_active true
dmesg | grep -q 'kvm_arm_rmi: RMI 1.0 active' || fail 'nothing in the log'
realm 60 many 1
nothing_left
# Nothing but commands that RMI 1.0 has.
known='VERSION FEATURES GRANULE_DELEGATE GRANULE_UNDELEGATE PSCI_COMPLETE'
known="$known REALM_ACTIVATE REALM_CREATE REALM_DESTROY REC_AUX_COUNT REC_CREATE REC_DESTROY REC_ENTER"
known="$known RTT_CREATE RTT_DESTROY RTT_FOLD RTT_INIT_RIPAS RTT_READ_ENTRY RTT_SET_RIPAS"
# The first of these is DATA_CREATE there.
known="$known RTT_DATA_MAP_INIT DATA_CREATE_UNKNOWN DATA_DESTROY RTT_MAP_UNPROTECTED RTT_UNMAP_UNPROTECTED"
awk -v known=" $known " '!index(known, " " $1 " ") { print $1 }' "$component_debugfs/smcs" >/tmp/others
[ ! -s /tmp/others ] || fail "called were $(cat /tmp/others)"
grep -q '^DATA_CREATE_UNKNOWN ' "$component_debugfs/smcs" || fail 'memory was mapped in another way'
unload
pass
