# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Where there can be no realms the log has one line that says why, and the kernel goes on: an RMM of another
# world, a host that is told to keep away from it, and KVM in each mode without VHE. One kernel starts the
# next by kexec.
# rmm: fault-injection
# guest: own
# parameters: irqchip.gicv3_nolpi=1
# time-limit: 300

. "${0%/*}/lib.sh"

# refused WHY [PARAMETER...]: the component does not load, says so in one line, and nothing else
refused() {
	why=$1
	shift
	dmesg -c >/dev/null
	if insmod /lib/kvm_arm_rmi.ko "$@" 2>/tmp/error; then fail "it loads: $why"; fi
	grep -q 'No such device' /tmp/error || fail "$why: $(cat /tmp/error)"
	# insmod tries it in two ways, one after the other.
	dmesg | grep 'kvm_arm_rmi: ' | grep -v taint | sort -u >/tmp/lines || fail "$why: nothing in the log"
	[ "$(grep -c . /tmp/lines)" = 1 ] || fail "$why: $(cat /tmp/lines)"
	grep "no realms: .*$why" /tmp/lines || fail "$why: $(cat /tmp/lines)"
	[ ! -e "$component_debugfs" ] || fail "$why: it has left something"
	# Without KVM there are no ordinary VMs either.
	if [ "${mode:-}" != none ]; then
		realm 60 refused
		rmi-client guest || fail 'an ordinary VM does not run'
	fi
}

# answers FID X0 X1 X2: what the RMM answers to this command, as often as insmod tries
answers() {
	echo "$1,0,0,2,$2,$3,$4" >"$component_debugfs/selftest/fault" || fail 'an RMM that can go wrong is needed'
	unload
}

# kvm_is WHAT: the mode that KVM says, in the log, that it has
kvm_is() {
	dmesg | grep -q "kvm .*: $1 mode initialized successfully" || fail "KVM is not in $1 mode"
}

# next MODE: starts the next kernel, with KVM in that mode (and without LPIs, see kexec-next)
next() {
	pack tests guest
	rmi-client kexec next /guest/Image /tmp/initrd \
		"console=hvc0 earlycon panic=-1 irqchip.gicv3_nolpi=1 scenarios=refusals component=$component kvm-arm.mode=$1 mode=$1" ||
		fail 'no kexec'
	rmi-client kexec exec
	fail 'the next kernel has not begun'
}

[ "$component" = module ] || fail 'this is for the module'
case "${mode:-}" in
'')
	refused 'the parameter enabled=0 says so' enabled=0
	load
	# RMI_VERSION: nobody there, as EL3 says it; versions from 3.1 to 3.2; and 1.0, as an answer to 2.0.
	answers c4000150 ffffffffffffffff 0 0
	refused 'no RMM answers'
	load
	answers c4000150 1 30001 30002
	refused 'the RMM speaks RMI 3.1 to 3.2, this kernel 1.0 and 2.0'
	load
	answers c4000150 0 10000 10000
	refused 'the RMM speaks RMI 1.0 to 1.0, this kernel 1.0 and 2.0'
	load
	realm 60 many 1
	unload
	next none
	;;
none)
	[ ! -e /dev/kvm ] || fail 'KVM is there'
	refused 'KVM is not there'
	next nvhe
	;;
nvhe)
	kvm_is 'Hyp nVHE'
	refused 'the kernel is not at EL2 with VHE'
	# From pKVM there is no kexec.
	next protected
	;;
protected)
	kvm_is 'Protected [nh]VHE'
	refused 'the kernel is not at EL2 with VHE'
	pass
	;;
*) fail "mode $mode" ;;
esac
