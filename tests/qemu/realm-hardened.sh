# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# In a kernel that looks at every indirect call, return, copy and bound while it runs, realms do all that
# they can; and kmemleak finds nothing that has been forgotten.
# parameters: kmemleak=on
# time-limit: 700

. "${0%/*}/lib.sh"

leaks=/sys/kernel/debug/kmemleak

# forgotten_nothing: an object counts when it is some seconds old
forgotten_nothing() {
	for _ in 1 2; do
		sleep 6
		echo scan >$leaks
	done
	cat $leaks >/tmp/leaks
	[ ! -s /tmp/leaks ] || fail "kmemleak: $(cat /tmp/leaks)"
}

# What is there before is not ours.
echo clear >$leaks
load
rmi-client guest || fail 'an ordinary VM does not run'
realm 200 run --vcpus 2 --memory 64
realm 60 many 3
realm 100 off 20
realm 300 abuse
realm 100 debugfs
nothing_left
forgotten_nothing
unload
forgotten_nothing
pass
