# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# A hundred times, or on a kernel that looks at all it does as often as goes in a minute, but 30 times at least: load,
# delegate 4 MiB and take them back, unload; each tenth time it is 64 MiB. Built in: the same without loading.
# time-limit: 900

. "${0%/*}/lib.sh"

cycles=100
i=0
start=$(date +%s)
while [ $i -lt $cycles ]; do
	if [ $i -ge 30 ] && [ $(($(date +%s) - start)) -gt 60 ]; then break; fi
	i=$((i + 1))
	load || fail "cycle $i: the component does not load"
	expect_value state abi 2.0
	expect_value state granule_size 4096
	mib=4
	[ $((i % 10)) != 0 ] || mib=64
	echo $mib >"$component_debugfs/selftest/cycle" || fail "cycle $i: cannot delegate $mib MiB"
	expect_value granules delegated 0
	expect_value granules leaked 0
	unload || fail "cycle $i: the component does not unload"
	[ $((i % 10)) != 0 ] || echo "  $i of $cycles cycles"
done
pass
