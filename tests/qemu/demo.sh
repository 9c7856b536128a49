# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What `make run` shows: the component starts, and says what it found.

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
pass
