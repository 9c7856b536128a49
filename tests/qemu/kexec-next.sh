# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Realms under one kernel after another: the first, one that it starts by kexec, which finds an RMM that is
# active, and one after a reset, which finds one that is not, although a realm was running then. Each boot goes
# through this file.
# time-limit: 300
# guest: own
# parameters: irqchip.gicv3_nolpi=1
# qemu: -action reboot=reset

. "${0%/*}/lib.sh"

# A reset leaves the clock as it is: it is set to this before, and has no other way to get there.
rtc=0x09010000
long_ago=1000000000

# active true|false: realms run, and this was the RMM before that
active() {
	load
	expect_value state was_active "$1"
	realm 60 many 2
	nothing_left
}

# reset_beside VM: while that realm is there
reset_beside() {
	expect_value "$1/state" state Active
	# Shells count in 32 bits here and there; no clock of ours is beyond that.
	devmem $((rtc + 8)) 32 $long_ago
	echo "reset beside a realm, and $(value granules delegated) granules"
	reboot -f
	fail 'there was no reset'
}

if [ "${next:-}" ]; then
	active true
	hold realm running
	reset_beside "$vm"
fi
now=$(($(devmem $rtc 32)))
if [ $now -ge $long_ago ] && [ $now -lt $((long_ago + 86400)) ]; then
	active false
	pass
fi

active false
pack tests
# Tables for LPIs outlive the kernel that made them, and without EFI the next one does not know that it may
# be where they are: so nobody makes any.
next() {
	rmi-client kexec next /guest/Image /tmp/initrd \
		"console=hvc0 earlycon panic=-1 irqchip.gicv3_nolpi=1 scenarios=kexec-next component=$component next=1"
}

# A realm that is there stays; nothing takes over from it.
hold realm running
fails_with 'Operation not permitted' next
if rmi-client kexec exec 2>/tmp/error; then fail 'there is nothing to execute'; fi
# Built in, the component stays, and with it that other kernels do not.
if [ "$component" = builtin ]; then reset_beside "$vm"; fi
let_go realm
nothing_left
unload
next || fail 'kexec is refused without the component'
rmi-client kexec exec
fail 'the next kernel has not begun'
