# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# A host panics while the RMM has memory of its, and a crash kernel dumps what is left. This runs in
# both kernels.
# parameters: crashkernel=320M
# time-limit: 300
# guest: own
# expect: kdump: the dump is complete

. "${0%/*}/lib.sh"

if [ -e /proc/vmcore ]; then
	: "${held:?is set by the first kernel}" "${image:?likewise}"
	rmi-client vmcore "$held" 512 "$image" || fail 'the dump cannot be read'
	echo 'kdump: the dump is complete'
	pass
fi

load
echo 9 >"$component_debugfs/selftest/hold"
held=$(sed 's/\.\..*//' "$component_debugfs/selftest/hold")
image=0x$(awk '/Kernel code/ { sub(/-.*/, ""); print $1; exit }' /proc/iomem)
(cd / && {
	printf '%s\n' dev proc sys tmp
	find init bin lib tests
} | cpio -o -H newc) >/tmp/initrd 2>/dev/null
rmi-client kexec crash /guest/Image /tmp/initrd \
	"console=hvc0 panic=-1 maxcpus=1 scenarios=kdump component=none held=$held image=$image" ||
	fail 'a crash kernel is refused'
echo "panic with 512 granules delegated at $held"
echo c >/proc/sysrq-trigger
