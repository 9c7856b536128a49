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
# A range is no command of RMI 1.0, nor is the end of a realm.
for other in GRANULE_RANGE_DELEGATE RTT_DATA_MAP RTT_UNPROT_MAP REALM_TERMINATE OP_MEM_DONATE; do
	if grep -q "^$other " "$component_debugfs/smcs"; then fail "$other was called"; fi
done
grep -q '^DATA_CREATE_UNKNOWN ' "$component_debugfs/smcs" || fail 'memory was mapped in another way'
unload
pass
