# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Linux boots, checks itself and powers off: in realms and in ordinary VMs, with one CPU and virtio-mmio,
# with several, virtio on PCI and memory without attributes. Its other ends can be told apart; its
# initial RAM disk may be anywhere; a guest can be paused; a VMM that is killed while its guest boots
# leaves nothing behind; one may fork while its guest runs. A realm's token says what the VMM has worked out
# beforehand. perf counts and samples in all of them, if realms can have a PMU.
# time-limit: 900
# guest: own

. "${0%/*}/lib.sh"

# counted: the guest's PMU was there, if it was to have one
counted() {
	[ -z "$pmu" ] || grep -q '^  ok       performance counters: ' /tmp/guest.log ||
		fail "performance counters: $(grep 'performance counters' /tmp/guest.log)"
}

# forked: a VMM forks all the time while its guest checks itself. Each time the host write-protects what the guest
# shares, and so takes it away; what the VMM stores to then is copied.
forked() {
	before=$(shared_unmaps)
	linux_guest realm 2 256 forks --fork-every 4 --stats /tmp/forks.stats
	unmaps=$(($(shared_unmaps) - before))
	forks=$(sed -n 's/^forks //p' /tmp/forks.stats)
	echo "  forked $forks times; shared memory was unmapped $unmaps times"
	[ "$forks" -ge 100 ] || fail 'that is not often'
	[ $unmaps -gt "$forks" ] || fail 'the realm has kept what it shares'
}

# shared_unmaps: how often the RMM has been asked to unmap shared memory, by a command of RMI 2.0 or of 1.0
shared_unmaps() {
	calls smcs RTT_UNPROT_UNMAP RTT_UNMAP_UNPROTECTED
}

load
pmu=$(most_counters)
for cpus in 1 4; do
	challenge=$(head -c 64 /dev/urandom | xxd -p | tr -d '\n')
	case $cpus in
	1)
		transport=mmio mode=v14
		linux_guest realm $cpus 512 guest ${pmu:+--pmu "$pmu"}
		;;
	4)
		transport=pci mode=v15
		linux_guest realm $cpus 512 guest --hash sha512 --rpv 0123456789abcdef ${pmu:+--pmu 1}
		;;
	esac
	counted
	nothing_left
	challenge=
	linux_guest ordinary $cpus 512 guest ${pmu:+--pmu "$pmu"}
	counted
done
transport=mmio mode=v14
forked
nothing_left
linux_ends reset 3 --prefault --initrd-at 0x4c000123
linux_ends panic 4
nothing_left
linux_paused
nothing_left
linux_killed
nothing_left
unload
pass
