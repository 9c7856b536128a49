# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What realms cost, for scripts/bench to look at.

. "${0%/*}/lib.sh"

load
realm 500 bench realm-vmm --quiet --kernel /guest/Image --initrd /guest/initrd.gz \
	--memory 256 --cpus 1 --cmdline 'quiet check=none'
nothing_left
unload
pass
