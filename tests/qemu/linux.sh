# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Linux boots, checks itself and powers off: in realms and in ordinary VMs, with one CPU and virtio-mmio,
# with several, virtio on PCI and memory without attributes. Its other ends can be told apart; its
# initial RAM disk may be anywhere; a guest can be paused; a VMM that is killed while its guest boots
# leaves nothing behind.
# time-limit: 900
# guest: own

. "${0%/*}/lib.sh"

load
for cpus in 1 4; do
	case $cpus in
	1) transport=mmio mode=v14 ;;
	4) transport=pci mode=v15 ;;
	esac
	linux_guest realm $cpus 512
	nothing_left
	linux_guest ordinary $cpus 512
done
linux_ends reset 3 --prefault --hash sha512 --rpv 0123456789abcdef --initrd-at 0x4c000123
linux_ends panic 4
nothing_left
linux_paused
nothing_left
linux_killed
nothing_left
unload
pass
