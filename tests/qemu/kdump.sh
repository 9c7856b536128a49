# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# A host panics while one realm runs and another one waits, and a crash kernel dumps what is left: all of
# the host's memory can be read, and what is the RMM's is zeroes. In the crash kernel the component stays away. This
# runs in both kernels.
# parameters: crashkernel=320M
# time-limit: 300
# guest: own
# expect: kdump: the dump is complete

. "${0%/*}/lib.sh"

if [ -e /proc/vmcore ]; then
	: "${held:?is set by the first kernel}" "${image:?likewise}"
	if insmod /lib/kvm_arm_rmi.ko; then fail 'the component is there in a crash kernel'; fi
	dmesg | grep -q 'no realms: this kernel is there to dump another one' || fail 'nothing in the log'
	rmi-client vmcore "$held" 512 "$image" || fail 'the dump cannot be read'
	echo 'kdump: the dump is complete'
	pass
fi

load
echo 9 >"$component_debugfs/selftest/hold"
held=$(sed 's/\.\..*//' "$component_debugfs/selftest/hold")
image=0x$(awk '/Kernel code/ { sub(/-.*/, ""); print $1; exit }' /proc/iomem)
mkfifo /tmp/hold
rmi-client realm hold running </tmp/hold >/tmp/held &
exec 9>/tmp/hold
rmi-client realm victim spin >/tmp/victim &
until grep -q held /tmp/held && grep -q ready /tmp/victim; do sleep 0.1; done
(cd / && {
	printf '%s\n' dev proc sys tmp
	find init bin lib tests
} | cpio -o -H newc) >/tmp/initrd 2>/dev/null
rmi-client kexec crash /guest/Image /tmp/initrd \
	"console=hvc0 panic=-1 maxcpus=1 scenarios=kdump component=module held=$held image=$image" ||
	fail 'a crash kernel is refused'
echo "panic with two realms and 512 granules delegated at $held"
echo c >/proc/sysrq-trigger
