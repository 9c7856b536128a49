# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# A host panics while one realm runs and another one waits, and a crash kernel dumps what is left: all of
# the host's memory can be read, what is the RMM's is zeroes, and the dump says where realms are. What the
# realm that waits has written to its private memory is nowhere, and what it shares is there. In the crash
# kernel the component stays away. This runs in both kernels.
# parameters: crashkernel=320M
# time-limit: 300
# guest: own
# expect: kdump: the dump is complete

. "${0%/*}/lib.sh"

if [ -e /proc/vmcore ]; then
	: "${held:?is set by the first kernel}" "${image:?likewise}" "${realms:?likewise}"
	if insmod /lib/kvm_arm_rmi.ko; then fail 'the component is there in a crash kernel'; fi
	dmesg | grep -q 'no realms: this kernel is there to dump another one' || fail 'nothing in the log'
	rmi-client vmcore realms >/tmp/realms || fail 'the realms cannot be found'
	found=$(sort /tmp/realms | tr '\n' ,)
	[ "$found" = "$realms" ] || fail "the dump has $found, of $realms"
	rmi-client vmcore "$held" 512 "$image" || fail 'the dump cannot be read'
	echo 'kdump: the dump is complete'
	pass
fi

# realms: those that there are, each as its RD, the number of its RECs, and those of its tables by level
realms() {
	for state in "$component_debugfs"/vm-*/state; do
		awk -F ': ' '
			{ has[$1] = $2 }
			END {
				has["tables_at_level_" has["start_level"]] = has["start_tables"]
				printf "%s:%s", has["rd"], has["recs"]
				for (level = 0; level < 4; level++) printf ":%d", has["tables_at_level_" level]
				print ""
			}' "$state"
	done | sort | tr '\n' ,
}

load
echo 9 >"$component_debugfs/selftest/hold"
held=$(sed 's/\.\..*//' "$component_debugfs/selftest/hold")
image=0x$(awk '/Kernel code/ { sub(/-.*/, ""); print $1; exit }' /proc/iomem)
hold realm seen
victim spin
# It spins when it has got that far, and nothing of it changes any more.
sleep 2
realms=$(realms)
pack tests
rmi-client kexec crash /guest/Image /tmp/initrd \
	"console=hvc0 panic=-1 maxcpus=1 scenarios=kdump component=module held=$held image=$image realms=$realms" ||
	fail 'a crash kernel is refused'
[ "$(realms)" = "$realms" ] || fail 'the realms are not still'
echo "panic with realms $realms and 512 granules delegated at $held"
echo c >/proc/sysrq-trigger
