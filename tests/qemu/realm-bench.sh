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
# Some limits are for an RMM that takes a range in a call: this one does if 256 pages need fewer calls.
# (Afterwards: it leaves the host's free pages in another order.)
before=$(calls smcs GRANULE_RANGE_DELEGATE)
echo 1 >"$component_debugfs/selftest/cycle"
rmm=one-by-one
if [ $(($(calls smcs GRANULE_RANGE_DELEGATE) - before)) -lt 256 ]; then rmm=ranges; fi
if [ "$(value state abi)" = 1.0 ]; then rmm=1.0; fi
phases=/tmp/bench.tsv
awk -f /tests/phases.awk $lines >$phases || fail 'there are no phases'
awk -f /tests/check.awk rmm=$rmm /tests/limits.tsv $phases || fail 'see above'
nothing_left
unload
pass
