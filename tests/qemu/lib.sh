# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Sourced by every scenario, which runs on the booted host and ends with `pass` or `fail WHY`.

set -eu

: "${component:?is set by /init}"
name=$(basename "$0" .sh)
component_debugfs=/sys/kernel/debug/kvm_arm_rmi

# Whatever stops a scenario, it ends with one of these two lines.
verdict=
trap '[ "$verdict" ] || echo "not ok $name stopped by an error"' EXIT

pass() {
	verdict=1
	echo "ok $name"
	exit 0
}

fail() {
	verdict=1
	echo "not ok $name $*"
	exit 1
}

# load, unload: no-ops where the component is part of the kernel
load() {
	if [ "$component" = module ]; then insmod /lib/kvm_arm_rmi.ko; fi
}

unload() {
	if [ "$component" = module ]; then rmmod kvm_arm_rmi; fi
}

# value FILE KEY: what the component's debugfs FILE says after "KEY: "
value() {
	sed -n "s/^$2: //p" "$component_debugfs/$1"
}

# expect_value FILE KEY WANTED
expect_value() {
	got=$(value "$1" "$2")
	[ "$got" = "$3" ] || fail "$1: $2 is '$got', not '$3'"
}

# realm SECONDS COMMAND...: what `rmi-client realm COMMAND...` does, in this time
realm() {
	seconds=$1
	shift
	timeout "$seconds" rmi-client realm "$@" ||
		fail "realm $*: status $? (143 is that it took $seconds s), see above"
}

# nothing_left: the RMM holds nothing of the host's any more
nothing_left() {
	expect_value granules delegated 0
	expect_value granules leaked 0
}
