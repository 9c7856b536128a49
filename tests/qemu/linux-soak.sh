# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Linux boots in a realm again and again, then in two at once.
# time-limit: 2400
# guest: own

. "${0%/*}/lib.sh"

load
for _ in $(seq 20); do
	linux_guest realm 4 512
	nothing_left
done
linux_guest realm 2 256 one &
one=$!
linux_guest realm 2 256 other
wait $one || fail 'two at once: see above'
nothing_left
unload
pass
