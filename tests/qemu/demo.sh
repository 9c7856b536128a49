# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What `make run` shows: the component starts, says what it found, and runs a realm.

. "${0%/*}/lib.sh"

load || fail "the component did not load: $(dmesg | grep kvm_arm_rmi | tail -n 1)"
echo
echo "The kernel log:"
dmesg | grep 'kvm_arm_rmi: ' | sed 's/^/  /' | tee /tmp/lines
for file in state granules; do
	echo "$component_debugfs/$file:"
	sed 's/^/  /' "$component_debugfs/$file"
done
echo
grep -q 'RMI 2\.0' /tmp/lines || fail "the kernel log does not say that RMI 2.0 is active"

echo "A realm with two vCPUs:"
timeout 100 rmi-client realm run --vcpus 2 >/tmp/realm 2>&1 || failed=1
sed 's/^/  /' /tmp/realm
[ -z "${failed:-}" ] || fail "the realm did not run as it should"
echo "$component_debugfs/granules:"
sed 's/^/  /' "$component_debugfs/granules"
nothing_left
pass
