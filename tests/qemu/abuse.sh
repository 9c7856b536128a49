# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the one at the keyboard may do wrong: each an error, and nothing lost.

. "${0%/*}/lib.sh"

hold=$component_debugfs/selftest/hold
cycle=$component_debugfs/selftest/cycle

# refused WHAT COMMAND...
refused() {
	what=$1
	shift
	if "$@" 2>/tmp/error; then fail "$what is accepted"; fi
}

# put TEXT FILE
put() {
	printf %s "$1" >"$2"
}

load
if [ "$component" = module ]; then
	refused "loading it twice" insmod /lib/kvm_arm_rmi.ko
	grep -q "File exists" /tmp/error || fail "loading it twice: $(cat /tmp/error)"
fi
# The last is longer than any word.
for text in x -1 1.5 99999999 18446744073709551616 "1 2" "$(printf '%256s' 1)"; do
	refused "'$text' for cycle" put "$text" "$cycle"
done
for text in " " x -1 10 4294967296 "--"; do
	refused "'$text' for hold" put "$text" "$hold"
done
refused "giving back what is not held" put - "$hold"
put 3 "$hold"
expect_value granules delegated 8
refused "holding twice" put 0 "$hold"
expect_value granules delegated 8
# More than one may have: it fails half way, and everything comes back.
mkdir -p /tmp/cgroup
mount -t cgroup2 none /tmp/cgroup
echo +memory >/tmp/cgroup/cgroup.subtree_control
mkdir /tmp/cgroup/small
echo 64M >/tmp/cgroup/small/memory.max
refused "delegating more memory than one may have" \
	sh -c "echo 0 >/tmp/cgroup/small/cgroup.procs && echo 256 >$cycle"
grep -q "Cannot allocate memory" /tmp/error || fail "too much memory: $(cat /tmp/error)"
expect_value granules delegated 8

if [ "$component" = module ]; then
	# An open file keeps the module; once it is closed the module goes, and held memory comes back.
	exec 9<"$component_debugfs/state"
	refused "unloading while a file is open" unload
	read -r line <&9 || fail "the open file cannot be read"
	[ "$line" = "$(head -n 1 "$component_debugfs/state")" ] || fail "the open file says: $line"
	exec 9<&-
	unload || fail "the component does not unload"
	load
	expect_value state was_active true
else
	put - "$hold"
fi
expect_value granules delegated 0
expect_value granules leaked 0
unload
pass
