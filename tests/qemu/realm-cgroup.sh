# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# A memory control group is full: its VMM is killed in the middle of its realm's life, as any process is. Another
# realm goes on, nothing is left of the first, and there can be the next one in the same group.
# time-limit: 200
# The kernel shows who was killed for it, and where that was.
# allow: Call trace:

. "${0%/*}/lib.sh"

group=/tmp/cgroup/small

limited() {
	sh -c "echo 0 >$group/cgroup.procs && exec rmi-client realm run --vcpus 4 --memory 64" >/tmp/limited 2>&1
}

# kills: how many processes of the group were killed for memory
kills() {
	sed -n 's/^oom_kill //p' $group/memory.events
}

load
mkdir -p /tmp/cgroup
grep -q ' /tmp/cgroup ' /proc/mounts || mount -t cgroup2 none /tmp/cgroup
echo +memory >/tmp/cgroup/cgroup.subtree_control
mkdir -p $group

hold other running
before=$(value granules delegated)

# From where it has hardly begun to where it has nearly all that it wants.
for limit in 6M 10M 14M; do
	echo $limit >$group/memory.max
	killed=$(kills)
	status=0
	limited || status=$?
	[ $status = 137 ] || fail "with $limit: status $status, $(tail -n 1 /tmp/limited)"
	[ "$(kills)" -gt "$killed" ] || fail "with $limit it was killed for something else"
	all_back "$before"
	expect_value granules delegated "$before"
	expect_value granules leaked 0
	echo "  with $limit: killed"
done

echo max >$group/memory.max
limited || fail "without a limit: $(tail -n 1 /tmp/limited)"
let_go other
nothing_left
# What the realms had is not charged any more.
left=$(cat $group/memory.current)
[ "$left" -lt 4194304 ] || fail "$left bytes are charged to nobody"
unload
pass
