# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What realms cost, in SMCs, for each phase of a life; and that it is not more than it may be. One
# CPU and no clock but its instructions: so nothing else comes in between.
# time-limit: 600
# guest: own
# cpus: 1
# qemu: -icount shift=0
# parameters: cgroup_disable=memory

. "${0%/*}/lib.sh"

load
lines=/tmp/bench
status=0
bench >$lines || status=$?
cat $lines
[ $status = 0 ] || fail "realm bench: status $status, see above"
phases=/tmp/bench.tsv
awk -f /tests/phases.awk $lines >$phases || fail 'there are no phases'
awk -f /tests/check.awk rmm=ranges /tests/limits.tsv $phases || fail 'see above'
nothing_left
unload
pass
