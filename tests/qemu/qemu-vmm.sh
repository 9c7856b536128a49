# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What `make run VMM=...` shows: Linux boots in a realm that a QEMU makes, which somebody brought, and
# checks itself. Parameters: cpus=N and memory=MIB of the guest.
# time-limit: 300
# guest: own
# vmm: needed

. "${0%/*}/lib.sh"

load || fail "the component did not load: $(dmesg | grep kvm_arm_rmi | tail -n 1)"
echo
echo 'The host, Linux at EL2:'
dmesg | grep 'kvm_arm_rmi: RMI 2\.0' | sed 's/^/  /'
qemu_has_realms

echo
echo "The guest, Linux in a realm with ${cpus:=2} vCPUs and ${memory:=256} MiB, made by"
vmm --version | sed -n 's/^/  /; 1p'
realm-check make-disk /tmp/disk 8
{
	status=0
	LINUX_DISK=/tmp/disk qemu-realm "$cpus" "$memory" "quiet check=realm cpus=$cpus" \
		</dev/null 2>&1 || status=$?
	echo $status >/tmp/status
} | tr -d '\r' | tee /tmp/log | while IFS= read -r line; do echo "  | $line"; done
status=$(cat /tmp/status)
[ "$status" = 0 ] || fail "QEMU's exit status is $status"
grep -q '^realm-check: .* 0 failed' /tmp/log || fail 'the guest did not pass its own checks'
realm-check verify-disk /tmp/disk || fail 'the disk does not have what the guest wrote'

echo
echo "Summary: $(sed -n 's/^realm-check: //p' /tmp/log); $(($(value granules delegated_peak) * 4 / 1024)) MiB delegated at most, $(value granules delegated) at the end"
nothing_left
unload
pass
